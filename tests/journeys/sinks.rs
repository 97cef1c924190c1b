//! Sinks of audit events that are away, slow, wrong or cut off: every event arrives, once where the sink can tell, and no
//! request waits for it (AUD-1, AUD-11).

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pforte::config::{AuditSink, AuditSinkKind, BackendCredentials, FhirSink, SinkWrite};
use pforte::fhir::FhirVersion;
use pforte::ledger::{Kept, Reader};
use pforte::sink::{Fate, deliver_once};
use serde_json::Value;

use crate::guard::{Guard, MARK, Mode as Issuing};
use crate::house::{House, Plan, free};
use crate::receiver::Receiver;
use crate::repository::{Identity, Mode, POISON, Repository};

/// Longest wait for something to be seen.
const PATIENCE: Duration = Duration::from_secs(40);

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A gateway with sinks and an admin address.
struct Watched {
    house: House,
    admin: SocketAddr,
    http: reqwest::Client,
}

impl Watched {
    async fn open(sinks: &str, files: &[(&str, &str)]) -> Self {
        let admin = free();
        let tables = leaked(format!("{sinks}\n[admin]\nlisten = \"{admin}\"\n"));
        let files: Vec<(&'static str, &'static str)> = files
            .iter()
            .map(|(name, text)| (leaked((*name).to_owned()), leaked((*text).to_owned())))
            .collect();
        let house = House::open(Plan { tables, secrets: files.leak(), ..Plan::default() }).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { house, admin, http }
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("http://{}{path}", self.admin)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    /// What `/ready` says is weak about the sinks; it is ready all the same.
    async fn weakness(&self) -> Option<String> {
        let (status, page) = self.page("/ready").await;
        self.house.findings.check(status == 200, format!("not ready: {page}"));
        let page: Value = serde_json::from_str(&page).expect("JSON");
        let checks = page["checks"].as_array().expect("checks").clone();
        let check =
            checks.into_iter().find(|check| check["name"] == "audit_sinks").expect("a check of the sinks");
        check["degraded"].as_str().map(str::to_owned)
    }

    /// A figure of a sink.
    async fn figure(&self, name: &str, sink: &str) -> f64 {
        let (_, page) = self.page("/metrics").await;
        let begin = format!("pforte_audit_sink_{name}{{sink=\"{sink}\"}} ");
        let found = page.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok());
        found.unwrap_or_else(|| panic!("no `{begin}` in\n{page}"))
    }

    /// So many requests, which nothing holds up.
    async fn requests(&self, count: usize) {
        let begun = Instant::now();
        for _ in 0..count {
            self.house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
        }
        let took = begun.elapsed();
        self.house.findings.check(took < PATIENCE / 4, format!("{count} requests took {took:?}"));
    }

    /// Everything that was recorded.
    fn recorded(&self) -> Vec<Kept> {
        let reader = Reader::open(&self.house.gateway.folder.join("audit")).expect("a spool");
        reader.after(0, usize::MAX).expect("events")
    }

    /// Waits until the place of a sink is noted to be at the end.
    async fn noted(&self, sink: &str) {
        let reader = Reader::open(&self.house.gateway.folder.join("audit")).expect("a spool");
        let last = self.recorded().last().map_or(0, |event| event.sequence);
        self.until("the sink's place is at the end", async || {
            reader.delivered(sink).expect("a place") == last
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < PATIENCE, "never: {what}\n{}", self.house.gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all that was recorded is stored; and each was created once.
    async fn all_in(&self, repository: &Repository, but: usize) {
        let recorded: BTreeSet<String> = self.recorded().iter().map(Kept::id).collect();
        let arrived = async || repository.stored().len() + but >= recorded.len();
        self.until("everything arrives", arrived).await;
        let stored = repository.stored();
        let strange: Vec<_> = stored.keys().filter(|id| !recorded.contains(*id)).collect();
        self.house.findings.check(strange.is_empty(), format!("stored and never recorded: {strange:?}"));
        self.house.findings.check(
            stored.len() + but == recorded.len() && stored.values().all(|times| *times == 1),
            format!("{} recorded, stored: {stored:?}", recorded.len()),
        );
    }

    fn lines_of_log(&self, text: &str) -> usize {
        self.house.gateway.log().lines().filter(|line| line.contains(text)).count()
    }
}

fn fhir(repository: &Repository, more: &str) -> String {
    format!(
        "[[audit.sink]]\nkind = \"fhir\"\nurl = \"{}\"\nca = \"repository.pem\"\ntimeout = \"1s\"\n{more}\n",
        repository.base()
    )
}

/// A repository that is down at the start, comes, goes and comes back: nothing is lost, nobody waits, one line for each change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_comes_and_goes() {
    let repository = Repository::new("localhost");
    let watched =
        Watched::open(&fhir(&repository, ""), &[("repository.pem", repository.certificate())]).await;
    watched.requests(30).await;
    watched.until("it is told to be away", async || watched.weakness().await.is_some()).await;
    let findings = &watched.house.findings;
    findings.check(watched.figure("lag_events", "fhir").await >= 30.0, "no lag while it is away");
    findings.check(watched.figure("lag_seconds", "fhir").await > 0.0, "no age of the oldest event");
    repository.up().await;
    watched.all_in(&repository, 0).await;
    watched.until("it is told to be back", async || watched.weakness().await.is_none()).await;
    watched.noted("fhir").await;
    repository.down().await;
    watched.requests(3).await;
    watched.until("it is told to be away again", async || watched.weakness().await.is_some()).await;
    watched.until("it is tried again", async || watched.figure("failures_total", "fhir").await >= 4.0).await;
    repository.up().await;
    watched.all_in(&repository, 0).await;
    watched.until("nothing lags", async || watched.figure("lag_events", "fhir").await == 0.0).await;
    let delivered = watched.figure("delivered_total", "fhir").await;
    findings.check(delivered == watched.recorded().len() as f64, format!("delivered {delivered}"));
    findings.check(watched.figure("lag_seconds", "fhir").await == 0.0, "an age of what is not there");
    let lines = (watched.lines_of_log("audit sink away"), watched.lines_of_log("audit sink back"));
    findings.check(lines == (2, 2), format!("lines of the log for two changes each: {lines:?}"));
    watched.house.close();
}

/// Answers that say nothing of the events, and lost ones: they are sent again, by both ways of writing, and are there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_lose_nothing() {
    let other = Repository::new("localhost");
    other.up().await;
    let none = || ("x-none", String::new());
    let bundle = br#"{"resourceType":"Bundle","type":"transaction-response","entry":[]}"#;
    let outcome = br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled"}]}"#;
    let modes = [
        Mode::Answer(500, none(), b"Exception".to_vec()),
        Mode::Answer(503, ("retry-after", "1".to_owned()), Vec::new()),
        Mode::Answer(429, ("retry-after", "1".to_owned()), outcome.to_vec()),
        Mode::Answer(401, ("www-authenticate", "Basic".to_owned()), outcome.to_vec()),
        Mode::Answer(403, none(), outcome.to_vec()),
        Mode::Answer(404, none(), outcome.to_vec()),
        Mode::Answer(400, none(), b"<html>".to_vec()),
        Mode::Answer(307, ("location", other.base()), Vec::new()),
        Mode::Answer(200, none(), b"<html>".to_vec()),
        Mode::Answer(200, none(), bundle.to_vec()),
        Mode::Answer(200, none(), vec![b' '; 20 << 20]),
        Mode::Close,
        Mode::StoreAndClose,
        Mode::Slow(Duration::from_secs(3)),
    ];
    for write in ["update", "create"] {
        let repository = Repository::new("localhost");
        repository.up().await;
        let sink = fhir(&repository, &format!("write = \"{write}\""));
        let watched = Watched::open(&sink, &[("repository.pem", repository.certificate())]).await;
        for mode in &modes {
            let failures = watched.figure("failures_total", "fhir").await;
            repository.once(mode.clone());
            watched.requests(1).await;
            watched.all_in(&repository, 0).await;
            watched.noted("fhir").await;
            let again = watched.figure("failures_total", "fhir").await - failures;
            watched.house.findings.check(again >= 1.0, format!("{write}: {mode:?} is no failure"));
        }
        let rejected = watched.figure("rejected_total", "fhir").await;
        watched.house.findings.check(rejected == 0.0, format!("{write}: {rejected} given up"));
        watched.house.findings.check(other.seen().is_empty(), "a redirect was followed");
        watched.house.close();
    }
}

/// One event of a hundred is refused: the others go through, and that one waits for `pforte audit resend`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_hundred_is_refused() {
    let repository = Repository::new("localhost");
    let watched =
        Watched::open(&fhir(&repository, ""), &[("repository.pem", repository.certificate())]).await;
    watched.requests(61).await;
    watched.house.ask("GET", POISON, "system/*.rs").send().await.is(404);
    watched.requests(38).await;
    repository.up().await;
    watched.all_in(&repository, 1).await;
    watched.noted("fhir").await;
    let folder = watched.house.gateway.folder.join("audit");
    let rejected = Reader::open(&folder).expect("a spool").rejected("fhir").expect("rejections");
    let findings = watched.house.findings.clone();
    findings.check(
        rejected.len() == 1 && rejected[0].reason == format!("422: a {POISON} is not taken"),
        format!("one is noted in the repository's words: {rejected:?}"),
    );
    findings.check(watched.figure("rejected_total", "fhir").await == 1.0, "one is counted");
    let posted = repository.seen().len();
    findings.check(posted < 25, format!("{posted} transactions to find one of a hundred"));
    findings.check(!watched.house.gateway.log().contains("is not taken"), "its words are in the log");

    let kept: Vec<Kept> =
        watched.recorded().into_iter().filter(|event| event.sequence == rejected[0].sequence).collect();
    let sink = AuditSink {
        name: "fhir".to_owned(),
        kind: AuditSinkKind::Fhir(Box::new(sink(&repository, &watched))),
    };
    let told = deliver_once(&sink, &kept).await.expect("sent");
    let refused = Fate::Rejected(format!("422: a {POISON} is not taken"));
    findings.check(told.len() == 1 && told[0].fate == refused, format!("refused again: {told:?}"));
    repository.once(Mode::Answer(500, ("x-none", String::new()), Vec::new()));
    let told = deliver_once(&sink, &kept).await.expect("sent");
    findings.check(matches!(&told[0].fate, Fate::Failed(_)), format!("failed: {told:?}"));
    let again = deliver_once(&sink, &watched.recorded()[..5]).await.expect("sent");
    let taken = again.iter().all(|delivery| delivery.fate == Fate::Taken);
    findings.check(again.len() == 5 && taken, format!("taken again: {again:?}"));
    watched.all_in(&repository, 1).await;
    watched.house.close();
}

/// The sink of a gateway, as its settings say.
fn sink(repository: &Repository, watched: &Watched) -> FhirSink {
    FhirSink {
        url: repository.base().parse().expect("a URL"),
        fhir_version: FhirVersion::R4,
        write: SinkWrite::Update,
        credentials: BackendCredentials::None,
        ca: Some(watched.house.gateway.folder.join("repository.pem")),
        client_certificate: None,
        timeout: Duration::from_secs(5),
        batch: 100,
    }
}

/// A repository that refuses whatever it is sent is amiss itself: nothing is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_everything_is_not_believed() {
    let repository = Repository::new("localhost");
    repository.always(Mode::Refuse);
    let watched =
        Watched::open(&fhir(&repository, ""), &[("repository.pem", repository.certificate())]).await;
    watched.requests(15).await;
    repository.up().await;
    let told =
        async || watched.weakness().await.is_some_and(|why| why.contains("refuses every event (status 422)"));
    watched.until("it is told to refuse everything", told).await;
    let folder = watched.house.gateway.folder.join("audit");
    let rejected = Reader::open(&folder).expect("a spool").rejected("fhir").expect("rejections");
    watched.house.findings.check(rejected.is_empty(), format!("given up: {rejected:?}"));
    repository.always(Mode::Store);
    watched.all_in(&repository, 0).await;
    watched.house.close();
}

/// RFC 6749 §4.4: a token of the gateway's own; one that is refused is replaced once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_the_repository() {
    let guard = Guard::start(Issuing::Issue(3600)).await;
    let repository = Repository::new("localhost");
    repository.up().await;
    let credentials = format!(
        "credentials = {{ kind = \"client_credentials\", token_url = \"{}\", client_id = \"pforte\", \
         client_secret_file = \"secret\" }}",
        guard.token_url()
    );
    let files = [("repository.pem", repository.certificate()), ("secret", "s3cret-at-the-double")];
    let watched = Watched::open(&fhir(&repository, &credentials), &files).await;
    watched.requests(1).await;
    watched.all_in(&repository, 0).await;
    watched.noted("fhir").await;
    repository.once(Mode::Answer(401, ("www-authenticate", "Bearer".to_owned()), Vec::new()));
    watched.requests(1).await;
    watched.all_in(&repository, 0).await;
    let seen: Vec<String> = repository.seen().into_iter().map(|(authorization, _)| authorization).collect();
    let token = |number: usize| format!("Bearer {MARK}own-{number}");
    let findings = &watched.house.findings;
    findings.check(seen == [token(1), token(1), token(2)], format!("tokens: {seen:?}"));
    findings.check(watched.figure("failures_total", "fhir").await == 0.0, "one new token is no failure");
    let log = watched.house.gateway.log();
    findings.check(!log.contains(MARK) && !log.contains("s3cret-at"), "a secret is in the log");
    watched.house.close();
}

/// A certificate for another name is refused, and so is one by nobody who is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_it_does_not_know_it_tells_nothing() {
    let wrong = Repository::new("other.test");
    let stranger = Repository::new("localhost");
    wrong.up().await;
    stranger.up().await;
    let sinks = format!("{}name = \"wrong\"\n{}name = \"stranger\"\n", fhir(&wrong, ""), fhir(&stranger, ""));
    let watched = Watched::open(&sinks, &[("repository.pem", wrong.certificate())]).await;
    watched.requests(2).await;
    let both = async || {
        let why = watched.weakness().await.unwrap_or_default();
        why.contains("wrong: ") && why.contains("stranger: ")
    };
    watched.until("both are told of", both).await;
    let seen = (wrong.seen(), stranger.seen());
    watched.house.findings.check(seen.0.is_empty() && seen.1.is_empty(), format!("told: {seen:?}"));
    watched.house.close();
}

/// A gateway that is killed while its sink is away, and while it sends, sends all of it once when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_it_forgets_nothing() {
    let repository = Repository::new("localhost");
    let sinks = format!(
        "{}[[audit.sink]]\nkind = \"file\"\npath = \"audit.ndjson\"\n",
        fhir(&repository, "batch = 5")
    );
    let mut watched = Watched::open(&sinks, &[("repository.pem", repository.certificate())]).await;
    watched.requests(40).await;
    watched.house.gateway.kill();
    watched.house.gateway.start();
    watched.requests(1).await;
    repository.always(Mode::Slow(Duration::from_millis(100)));
    repository.up().await;
    watched.until("some have arrived", async || repository.stored().len() > 10).await;
    watched.house.gateway.kill();
    watched.house.gateway.start();
    watched.requests(1).await;
    watched.all_in(&repository, 0).await;
    watched.noted("file").await;
    once_each(&watched, &watched.house.gateway.folder.join("audit.ndjson"), &[]);
    watched.house.close();
}

/// What is in a file.
fn text(path: &Path) -> String {
    let mut text = String::new();
    File::open(path).and_then(|mut file| file.read_to_string(&mut text)).expect("a file of lines");
    text
}

fn once_each(watched: &Watched, file: &Path, older: &[PathBuf]) {
    let mut counted: HashMap<String, usize> = HashMap::new();
    for path in older.iter().map(PathBuf::as_path).chain([file]) {
        let text = text(path);
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["resourceType"], "AuditEvent", "{line}");
            *counted.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let recorded = watched.recorded();
    let fits =
        recorded.len() == counted.len() && recorded.iter().all(|event| counted.get(&event.id()) == Some(&1));
    watched.house.findings.check(fits, format!("{} recorded, in the file: {counted:?}", recorded.len()));
}

/// A file may be renamed away at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_rotated() {
    let watched = Watched::open("[[audit.sink]]\nkind = \"file\"\npath = \"audit.ndjson\"\n", &[]).await;
    let file = watched.house.gateway.folder.join("audit.ndjson");
    let mut older = Vec::new();
    for turn in 0..3 {
        watched.requests(3).await;
        watched.noted("file").await;
        let rotated = file.with_extension(format!("ndjson.{turn}"));
        std::fs::rename(&file, &rotated).expect("renamed");
        older.push(rotated);
    }
    watched.requests(1).await;
    watched.noted("file").await;
    once_each(&watched, &file, &older);
    watched.house.close();
}

/// A reload starts, stops and replaces sinks; each keeps its place by its name, and a new one begins with the oldest event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_every_place() {
    let (first, second) = (Repository::new("localhost"), Repository::new("localhost"));
    first.up().await;
    second.up().await;
    let files = [("repository.pem", first.certificate()), ("second.pem", second.certificate())];
    let watched = Watched::open(&fhir(&first, "name = \"one\""), &files).await;
    watched.requests(5).await;
    watched.all_in(&first, 0).await;
    watched.noted("one").await;
    let posted = first.seen().len();
    let begin = "[[audit.sink]]";
    let both = format!(
        "{}\n[[audit.sink]]",
        fhir(&second, "name = \"two\"").replace("repository.pem", "second.pem")
    );
    watched.house.rewrite(&watched.house.settings(begin, &both));
    watched.all_in(&second, 0).await;
    watched.house.findings.check(first.seen().len() == posted, "the first was sent something again");
    watched.requests(2).await;
    watched.all_in(&first, 0).await;
    watched.all_in(&second, 0).await;
    // The second is a file now; its place goes with the name.
    let changed = "[[audit.sink]]\nkind = \"file\"\nname = \"two\"\npath = \"audit.ndjson\"\n[[audit.sink]]";
    watched.noted("two").await;
    second.down().await;
    watched.house.rewrite(&watched.house.settings(begin, changed));
    watched.requests(1).await;
    watched.noted("two").await;
    let text = text(&watched.house.gateway.folder.join("audit.ndjson"));
    watched.house.findings.check(text.lines().count() == 1, format!("one new event in the file:\n{text}"));
    watched
        .house
        .findings
        .check(second.stored().len() == watched.recorded().len() - 1, "a repository that is gone");
    watched.house.close();
}

/// RFC 5425 and ATNA: both ends show certificates; what was on its way when the connection broke is sent again, and what the
/// receiver has read to the end is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syslog_over_tls() {
    let own = Identity::of("pforte.test");
    let receiver = Receiver::new(&own.certificate);
    let sink = |format: &str, shown: &str| {
        format!(
            "[[audit.sink]]\nkind = \"syslog\"\nurl = \"{}\"\nca = \"receiver.pem\"\nformat = \"{format}\"\n{shown}",
            receiver.url()
        )
    };
    let shown = "client_certificate = \"own.pem\"\nclient_key = \"own.key\"\n";
    let both = format!("{}{}name = \"anonymous\"\n", sink("fhir", shown), sink("fhir", ""));
    let files =
        [("receiver.pem", receiver.certificate()), ("own.pem", &own.certificate), ("own.key", own.key())];
    let mut watched = Watched::open(&both, &files).await;
    let received = || -> HashMap<String, usize> {
        let mut counted = HashMap::new();
        for message in receiver.messages() {
            let (_, content) = message.split_once("] \u{feff}").expect("structured data and content");
            let event: Value = serde_json::from_str(content).expect("an AuditEvent");
            *counted.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        counted
    };
    watched.requests(20).await;
    receiver.cut_after(20_000);
    receiver.up().await;
    let all = |watched: &Watched| watched.recorded().iter().all(|event| received().contains_key(&event.id()));
    watched.until("everything arrives", async || all(&watched)).await;
    // It stands for a while, and then it counts.
    let reader = Reader::open(&watched.house.gateway.folder.join("audit")).expect("a spool");
    let findings = watched.house.findings.clone();
    findings.check(reader.delivered("syslog").expect("a place") == 0, "delivered before it has stood");
    watched.noted("syslog").await;
    let away = watched.weakness().await.unwrap_or_default();
    findings.check(away.contains("anonymous: ") && !away.contains("syslog: "), format!("away: {away}"));
    findings.check(reader.delivered("anonymous").expect("a place") == 0, "an anonymous sender is let in");
    // What is sent just before the end: the receiver has read it, so it is not sent again.
    watched.requests(3).await;
    watched.until("the last arrive", async || all(&watched)).await;
    watched.house.gateway.terminate(&findings);
    let last = watched.recorded().last().map_or(0, |event| event.sequence);
    findings.check(
        reader.delivered("syslog").expect("a place") == last,
        "the end of the connection says nothing",
    );
    let before = receiver.messages().len();
    watched.house.gateway.start();
    watched.requests(1).await;
    watched.until("it goes on", async || all(&watched)).await;
    findings.check(receiver.messages().len() == before + 1, "something was sent twice after a good end");
    findings.check(receiver.faults().is_empty(), format!("{:?}", receiver.faults()));
    let header = receiver.messages()[0].starts_with("<85>1 ");
    findings.check(header, format!("a header: {:?}", receiver.messages()[0]));
    watched.house.close();
}
