//! `pforte audit` as those use it who must answer for what was recorded: filters, forms, verification, export.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "exported files are read")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pforte::audit::{Entry, Interaction};
use pforte::config::{Audit, OnAuditFailure, Rotation};
use pforte::demo::fhir_server::{Contents, FhirServer, Misbehaviour, Options};
use pforte::demo::trouble::Canned;
use pforte::fhir::{FhirVersion, Kind};
use pforte::ledger::{Ledger, Reader, Rejection};
use serde_json::Value;

/// A folder for one test, with a folder of events in it.
struct Place(PathBuf);

impl Place {
    async fn with(name: &str, entries: &[Entry]) -> Self {
        let place = Self(
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}-{name}", std::process::id())),
        );
        drop(fs::remove_dir_all(&place.0));
        fs::create_dir_all(&place.0).expect("a folder");
        let ledger = Ledger::open(&place.settings()).expect("a ledger");
        for entry in entries {
            ledger.record(std::slice::from_ref(entry)).await.expect("recorded");
        }
        ledger.close().await.expect("closed");
        place
    }

    fn settings(&self) -> Audit {
        Audit {
            path: self.events(),
            on_failure: OnAuditFailure::Refuse,
            rotation: Rotation { bytes: 1 << 30, age: Duration::from_secs(86_400 * 36_500) },
            retention: None,
            sinks: Vec::new(),
        }
    }

    fn events(&self) -> PathBuf {
        self.0.join("audit")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs `pforte audit` on the events, in Berlin.
    fn audit(&self, arguments: &[&str]) -> Output {
        let events = self.events();
        pforte(&[arguments, &["--path", text(&events)]].concat())
    }

    /// What it prints, line by line; it must end with 0.
    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.audit(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let lines = self.lines(arguments);
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn pforte(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pforte"))
        .arg("audit")
        .args(arguments)
        .env("TZ", "Europe/Berlin")
        .output()
        .expect("the program runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn entry(id: &str, at: &str, (kind, target): (Kind, &str)) -> Entry {
    let mut entry = Entry::open(
        &"https://gw.example/fhir".into(),
        id,
        (at.parse().expect("an instant"), "192.0.2.7"),
        ("GET", target),
    );
    entry.interaction = Interaction::Known(kind);
    entry.resource = target.split(['/', '?']).next().and_then(|name| FhirVersion::R4.resource_type(name));
    entry.client = Some("ward-app".to_owned());
    entry.subject = Some("u-1".to_owned());
    entry.fhir_user = Some("https://gw.example/fhir/Practitioner/dr-1".to_owned());
    entry.answered(200);
    entry
}

/// Five events of three days; the third has a target that would clear a terminal.
fn some() -> Vec<Entry> {
    let mut read = entry("req-1", "2026-03-01T10:00:00Z", (Kind::Read, "Patient/p1"));
    read.id = Some("p1".to_owned());
    let search = entry("req-2", "2026-03-01T23:30:00Z", (Kind::SearchType, "Observation?patient=p2&code=x"))
        .of_patient("p2");
    let mut hostile = entry("req-3", "2026-03-02T08:00:00Z", (Kind::Read, "=cmd|'\u{1b}[2J\",\u{9b}1m"));
    hostile.refused(403, "insufficient_scope");
    (hostile.client, hostile.subject) = (Some("other-app".to_owned()), Some("u-2".to_owned()));
    hostile.fhir_user = None;
    let mut failed = entry("req-4", "2026-03-02T09:00:00Z", (Kind::SearchType, "Patient?name=x"));
    failed.refused(502, "backend_unreachable");
    let mut late = entry("req-5", "2026-03-03T09:00:00Z", (Kind::Create, "Observation"));
    (late.method, late.id, late.about) = ("POST".to_owned(), Some("o1".to_owned()), Some("p1".to_owned()));
    late.answered(201);
    vec![read, search, hostile, failed, late]
}

#[tokio::test]
async fn every_filter_takes_what_it_says() {
    let place = Place::with("filters", &some()).await;
    let table: [(&[&str], &[u64]); 26] = [
        (&[], &[1, 2, 3, 4, 5]),
        (&["--patient", "p1"], &[1, 5]),
        (&["--patient", "Patient/p2"], &[2]),
        (&["--patient", "nobody"], &[]),
        (&["--user", "u-2"], &[3]),
        (&["--user", "https://gw.example/fhir/Practitioner/dr-1"], &[1, 2, 4, 5]),
        (&["--client", "other-app"], &[3]),
        (&["--request", "req-4"], &[4]),
        (&["--outcome", "success"], &[1, 2, 5]),
        (&["--outcome", "refused"], &[3]),
        (&["--outcome", "failed"], &[4]),
        (&["--reason", "insufficient_scope"], &[3]),
        (&["--type", "Observation"], &[2, 5]),
        (&["--interaction", "search-type"], &[2, 4]),
        (&["--interaction", "search"], &[2, 4]),
        (&["--interaction", "create"], &[5]),
        (&["--since", "2026-03-02T08:00:00Z"], &[3, 4, 5]),
        (&["--until", "2026-03-02T08:00:00Z"], &[1, 2]),
        // A day of this machine: the second event was after midnight in Berlin.
        (&["--since", "2026-03-02"], &[2, 3, 4, 5]),
        (&["--until", "2026-03-01"], &[1]),
        (&["--since", "2026-03-02", "--until", "2026-03-02"], &[2, 3, 4]),
        (&["--since", "1h"], &[]),
        (&["--limit", "2"], &[1, 2]),
        (&["--last", "2"], &[4, 5]),
        (&["--last", "1", "--type", "Patient"], &[4]),
        (&["--patient", "p1", "--outcome", "refused"], &[]),
    ];
    for (arguments, expected) in table {
        let found = place.json(&[&["list", "--format", "json"], arguments].concat());
        let found: Vec<u64> = found.iter().filter_map(|it| it["sequence"].as_u64()).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }
    for (arguments, word) in [
        (["--since", "yesterday"], "expected an instant"),
        (["--patient", "a b"], "expected a FHIR id"),
        (["--type", "Nonsense"], "expected a FHIR resource type"),
        (["--interaction", "look"], "search-type"),
        (["--outcome", "bad"], "refused"),
    ] {
        let output = place.audit(&[&["list"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(word), "{}", said(&output));
    }
}

#[tokio::test]
async fn forms() {
    let place = Place::with("forms", &some()).await;
    let events = place.json(&["list"]);
    assert!(events.iter().all(|event| event["resourceType"] == "AuditEvent"), "no terminal: AuditEvents");
    let facts = place.json(&["list", "--format", "json"]);
    assert_eq!(facts[0]["patient"], "p1");
    assert_eq!(facts[2]["target"], "=cmd|'\u{1b}[2J\",\u{9b}1m");
    assert_eq!((&facts[2]["outcome"], &facts[2]["status"]), (&"refused".into(), &403.into()));
    assert_eq!(facts[0]["id"], events[0]["id"]);
    let table = place.lines(&["list", "--format", "table"]);
    assert_eq!(table.len(), 6, "{table:#?}");
    assert!(table[0].contains("Europe/Berlin") && table[1].contains("2026-03-01 11:00:00"), "{table:#?}");
    for format in ["table", "json", "fhir"] {
        let shown = place.lines(&["list", "--format", format]).join("\n");
        let wild = shown.chars().find(|letter| letter.is_control() && *letter != '\n');
        assert_eq!(wild, None, "{format}: {shown}");
    }
}

#[tokio::test]
async fn verification() {
    let place = Place::with("verify", &some()).await;
    let sound = place.json(&["verify", "--format", "json"]);
    assert_eq!((&sound[0]["sound"], &sound[0]["events"]), (&true.into(), &5.into()));
    let head = sound[0]["head"].as_str().expect("a head");
    assert!(place.lines(&["verify"]).contains(&format!("head: {head}")));
    assert!(place.lines(&["verify", "--known", head])[0].starts_with("sound: 5 events"));
    let zeros = "0".repeat(64);
    for known in [format!("5:{zeros}"), format!("6:{}", head.get(2..).expect("a hash"))] {
        let output = place.audit(&["verify", "--known", &known]);
        assert_eq!(output.status.code(), Some(1), "{known}: {}", said(&output));
        assert!(said(&output).contains("NOT SOUND: 1 fault"), "{}", said(&output));
    }
    let output = place.audit(&["verify", "--known", "5"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));

    // Somebody makes another user of it.
    let file = place.events().join("audit-000001.db");
    let store = rusqlite::Connection::open(&file).expect("the store");
    let change =
        "UPDATE event SET kept = CAST(replace(CAST(kept AS TEXT), 'u-2', 'u-1') AS BLOB) WHERE sequence = 3";
    assert_eq!(store.execute(change, []).expect("a change"), 1);
    drop(store);
    let output = place.audit(&["verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("audit-000001.db: event 3: "), "{}", said(&output));
    assert!(said(&output).contains("NOT SOUND") && !said(&output).contains("head:"), "{}", said(&output));
    let listed: Value =
        serde_json::from_slice(&place.audit(&["verify", "--format", "json"]).stdout).expect("JSON");
    assert_eq!((&listed["sound"], &listed["faults"][0]["sequence"]), (&false.into(), &3.into()));
}

#[tokio::test]
async fn export() {
    let place = Place::with("export", &some()).await;
    let file = place.file("out");
    let export = |more: &[&str]| place.audit(&[&["export", "--output", text(&file)], more].concat());
    let done = export(&["--outcome", "success"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(
        said(&done).contains("3 events exported") && said(&done).contains("numbers 1 to 5"),
        "{}",
        said(&done)
    );
    let written = fs::read_to_string(&file).expect("a file");
    assert_eq!(written.lines().count(), 3);

    let again = export(&[]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    assert!(said(&again).contains("--force"), "{}", said(&again));
    assert_eq!(fs::read_to_string(&file).expect("a file"), written, "it stays as it was");

    assert!(export(&["--force", "--format", "csv"]).status.success());
    let csv = fs::read_to_string(&file).expect("a file");
    assert_eq!(csv.split("\r\n").count(), 7, "{csv}");
    assert!(csv.contains(r#","'=cmd|'\u{1b}[2J"",\u{9b}1m","#), "{csv}");

    assert!(export(&["--force", "--format", "bundle"]).status.success());
    let bundle: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(bundle["entry"].as_array().map(Vec::len), Some(5));
    assert!(export(&["--force", "--format", "bundle", "--patient", "nobody"]).status.success());
    let empty: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(empty["entry"], Value::Null);

    let nowhere = place.audit(&["export", "--output", text(&place.file("none/out"))]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", said(&nowhere));
    assert_eq!(place.json(&["export", "--output", "-"]).len(), 5);
    let left: Vec<_> =
        fs::read_dir(&place.0).expect("a folder").map(|it| it.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left beside it: {left:?}");
}

#[tokio::test]
async fn places() {
    let place = Place::with("places", &some()).await;
    let file = place.file("gateway.toml");
    // Much must be mended there, but not what is needed.
    fs::write(&file, "[server]\npublic_url = 7\n[audit]\npath = \"audit\"\n").expect("a file");
    let listed = pforte(&["list", "--config", text(&file)]);
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 5);
    let status = pforte(&["status", "--config", text(&file)]);
    assert!(said(&status).contains("events  5, numbers 1 to 5"), "{}", said(&status));
    for (text_of_file, word) in [("[audit]\npath = 7\n", "audit.path"), ("[audit\n", "gateway.toml:1")] {
        fs::write(&file, text_of_file).expect("a file");
        let refused = pforte(&["list", "--config", text(&file)]);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(word) && !said(&refused).contains("server"), "{}", said(&refused));
    }
    let nowhere = pforte(&["list", "--path", text(&place.file("nowhere"))]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", said(&nowhere));
}

/// Only what is asked for is sent, and what a sink takes after all is refused no more.
#[tokio::test]
async fn resend_to_a_file() {
    let place = Place::with("resend", &some()).await;
    let (file, archive) = (place.file("gateway.toml"), place.file("archive.ndjson"));
    let config = "[audit]\npath = \"audit\"\n[[audit.sink]]\nkind = \"file\"\nname = \"archive\"\npath = \"archive.ndjson\"\n";
    fs::write(&file, config).expect("a file");
    // As a running gateway has it: the folder is locked.
    let ledger = Ledger::open(&place.settings()).expect("a ledger");
    let reason = "422 not like that".to_owned();
    let rejected = [2, 4].map(|sequence| Rejection { sequence, reason: reason.clone() });
    ledger.delivered("archive", 5, rejected.to_vec()).await.expect("noted");
    let refused =
        || Reader::open(&place.events()).and_then(|reader| reader.rejected("archive")).expect("readable");
    assert_eq!(refused().len(), 2);
    let resend =
        |more: &[&str]| pforte(&[&["resend", "--config", text(&file), "--sink", "archive"], more].concat());
    let ids = || -> Vec<u64> {
        let written = fs::read_to_string(&archive).unwrap_or_default();
        let events = place.json(&["list", "--format", "json"]);
        let number = |line: &str| events.iter().find(|it| line.contains(it["id"].as_str().expect("an id")));
        written.lines().filter_map(|line| number(line)?["sequence"].as_u64()).collect()
    };
    let status = pforte(&["status", "--config", text(&file)]);
    assert!(
        said(&status).contains("sink    archive: has taken events up to 5; 2 rejected"),
        "{}",
        said(&status)
    );

    for (arguments, code) in [(&["--to", "2", "--rejected"][..], 2), (&[], 2), (&["--from", "9"], 0)] {
        assert_eq!(resend(arguments).status.code(), Some(code), "{arguments:?}");
        assert_eq!(ids(), [0; 0], "{arguments:?}");
    }
    let other = pforte(&["resend", "--config", text(&file), "--sink", "other", "--rejected"]);
    assert_eq!(other.status.code(), Some(2), "{}", said(&other));
    assert!(said(&other).contains("the configuration has archive"), "{}", said(&other));
    let done = resend(&["--from", "1", "--to", "2"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("archive: 2 events taken"), "{}", said(&done));
    assert_eq!((ids(), refused().len()), (vec![1, 2], 1));
    let done = resend(&["--rejected"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!((ids(), refused().len()), (vec![1, 2, 4], 0));
    let done = resend(&["--since", "2026-03-03"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(ids(), [1, 2, 4, 5]);
    ledger.close().await.expect("closed");
}

/// What is refused again, and what does not get there, is said and no success.
#[tokio::test(flavor = "multi_thread")]
async fn resend_to_a_repository() {
    let place = Place::with("refused", &some()).await;
    let server = FhirServer::start(Options { content: Contents::Empty, ..Options::default() })
        .await
        .expect("a server");
    let file = place.file("gateway.toml");
    let config = format!(
        "[audit]\npath = \"audit\"\n[[audit.sink]]\nkind = \"fhir\"\nurl = \"{}\"\ntimeout = \"2s\"\n",
        server.base()
    );
    fs::write(&file, config).expect("a file");
    let resend =
        || pforte(&["resend", "--config", text(&file), "--sink", "fhir", "--from", "1", "--to", "3"]);
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    let canned = Canned::new(422, outcome).header("content-type", "application/fhir+json");
    server.misbehave(Misbehaviour::Answer(canned));
    let refused = tokio::task::block_in_place(resend);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("event 1: refused: "), "{}", said(&refused));
    assert!(said(&refused).contains("fhir: 0 events taken, 3 refused"), "{}", said(&refused));
    server.behave();
    let taken = tokio::task::block_in_place(resend);
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    assert!(said(&taken).contains("fhir: 3 events taken"), "{}", said(&taken));
    server.refuse_connections().await;
    let away = tokio::task::block_in_place(resend);
    assert_eq!(away.status.code(), Some(1), "{}", said(&away));
    assert!(said(&away).contains("it went no further"), "{}", said(&away));
}

/// What is recorded while somebody watches is shown as it comes, filtered as what was there before.
#[tokio::test(flavor = "multi_thread")]
async fn following() {
    let place = Place::with("follow", &some()).await;
    let ledger = Ledger::open(&place.settings()).expect("a ledger");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args([
            "audit", "list", "--follow", "--format", "json", "--last", "1", "--client", "ward-app", "--path",
        ])
        .arg(place.events())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || -> Value {
        let line = tokio::task::block_in_place(|| lines.next()).expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["request_id"], "req-5");
    for (id, client) in [("new-1", "ward-app"), ("new-2", "other-app"), ("new-3", "ward-app")] {
        let mut new = entry(id, "2026-03-04T10:00:00Z", (Kind::Read, "Patient/p1"));
        new.client = Some(client.to_owned());
        ledger.record(&[new]).await.expect("recorded");
    }
    assert_eq!(
        (next()["request_id"].clone(), next()["request_id"].clone()),
        ("new-1".into(), "new-3".into())
    );
    child.kill().expect("it can be ended");
    child.wait().expect("it has ended");
    ledger.close().await.expect("closed");
}

/// A reader that has seen enough is no failure.
#[tokio::test]
async fn a_broken_pipe_is_no_failure() {
    let many: Vec<Entry> = (0..300)
        .map(|n| entry(&format!("r-{n}"), "2026-03-01T10:00:00Z", (Kind::Read, "Patient/p1")))
        .collect();
    let place = Place::with("pipe", &many).await;
    for form in ["list --format table", "list --format fhir", "export --output -"] {
        let line = format!("set -o pipefail; \"$0\" audit {form} --path \"$1\" | head -n 1 >/dev/null",);
        let output = Command::new("bash")
            .args(["-c", &line, env!("CARGO_BIN_EXE_pforte"), text(&place.events())])
            .output()
            .expect("bash");
        assert!(output.status.success(), "{form}: {}", said(&output));
        assert!(!said(&output).contains("error"), "{form}: {}", said(&output));
    }
}
