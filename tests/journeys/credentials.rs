//! What the gateway shows the backend: tokens of its own, users' tokens exchanged, certificates (contract §8, TLS-8;
//! RFC 6749 §4.4, RFC 8693).

use std::sync::Arc;
use std::time::{Duration, Instant};

use pforte::demo::authorization::Claims;
use pforte::demo::fhir_server::{self, FhirServer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::guard::{Guard, MARK, Mode};
use crate::house::{House, Plan};
use crate::support::Answer;

/// Longest wait for something to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

const UNAVAILABLE: &str = "backend_credentials_unavailable";

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A plan with tokens of this endpoint.
fn plan(guard: &Guard, kind: &str) -> Plan {
    let line = format!(
        "credentials = {{ kind = \"{kind}\", token_url = \"{}\", client_id = \"pforte\", client_secret_file = \"secret\", \
         scope = \"system/*.cruds\", resource = \"https://fhir.example\", timeout = \"2s\" }}",
        guard.token_url()
    );
    Plan { backend: leaked(line), secrets: &[("secret", "s3cret-at-the-double")], ..Plan::default() }
}

/// A house whose backend is the guard.
async fn guarded(guard: &Guard, plan: Plan) -> House {
    let mut house = House::open(plan).await;
    let url = |base: &str| format!("url = \"{base}\"");
    let text = house.settings(&url(house.demo.fhir.base()), &url(&guard.base()));
    house.rewrite(&text);
    let findings = house.findings.clone();
    house.gateway.restart(&findings);
    guard.forget();
    house
}

/// No secret of either side is logged, and the house is in order.
fn close(house: House) {
    let log = house.gateway.log();
    for secret in [MARK, "s3cret-at-the-double"] {
        house.findings.check(!log.contains(secret), format!("the log has `{secret}` in it"));
    }
    house.close();
}

/// Asks until it is answered with this status.
async fn until(status: u16, ask: impl AsyncFn() -> Answer) {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if answer.status == status || begun.elapsed() > PATIENCE {
            answer.is(status);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every request at the backend carries exactly one `Authorization`, of these.
fn shown(house: &House, words: &str, expected: impl Fn(&str) -> bool) {
    let log = house.demo.fhir.log();
    house.findings.check(!log.is_empty(), format!("{words}: nothing at the backend"));
    for seen in log {
        let fields: Vec<_> = seen.headers.get_all("authorization").iter().collect();
        let fits = matches!(fields.as_slice(), [only] if only.to_str().is_ok_and(&expected));
        house.findings.check(fits, format!("{words}: `{} {}` has {fields:?}", seen.method, seen.target));
        house.findings.check(!seen.headers.contains_key("dpop"), format!("{words}: a proof at the backend"));
    }
    house.demo.fhir.forget();
}

fn batch() -> Value {
    let entry = |url: &str| json!({"request": {"method": "GET", "url": url}});
    json!({"resourceType": "Bundle", "type": "batch",
        "entry": [entry("Patient/pat-01"), entry("Observation?_count=1"), entry("Patient/pat-02")]})
}

/// Reads, searches, batches, writes that are checked first, and searches that become several.
async fn a_round(house: &House, subject: &str) {
    let wide = house.claiming(Claims::new("system/*.cruds").with("sub", subject));
    let narrow =
        house.claiming(Claims::new("patient/*.cruds").with("sub", subject).with("patient", "pat-01"));
    let ask = |method: &str, target: &str, token: &str| {
        house.client.ask(method, target).bearer(token).field("dpop", "proof").with(subject)
    };
    ask("GET", "Patient/pat-01", &wide).send().await.is(200);
    ask("GET", "Observation?_count=1", &wide).send().await.is(200);
    ask("POST", "", &wide).json(&batch()).send().await.is(200);
    ask("GET", "Observation?_count=1", &narrow).send().await.is(200);
    ask("POST", "", &narrow).json(&batch()).send().await.is(200);
    let observation = json!({"resourceType": "Observation", "id": "round", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/pat-01"}});
    ask("PUT", "Observation/round", &wide).json(&observation).send().await.one_of(&[200, 201]);
    ask("PUT", "Observation/round", &narrow).json(&observation).send().await.is(200);
}

/// RFC 6749 §4.4: the gateway's own token goes with everything, metadata included, and nobody else's ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_its_own() {
    let guard = Guard::start(Mode::Issue(3600)).await;
    let house = House::open(plan(&guard, "client_credentials")).await;
    a_round(&house, "ann").await;
    house.client.ask("GET", "metadata").send().await.is(200);
    let token = format!("Bearer {MARK}own-1");
    shown(&house, "client_credentials", |field| field == token);
    let asked = guard.tokens();
    house.findings.check(asked.len() == 1, format!("one call for a token, not {asked:?}"));
    let form = asked.first().map(|asked| asked.form.clone()).unwrap_or_default();
    let said = |name: &str| form.get(name).map_or("", String::as_str);
    let expected = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.cruds"),
        ("resource", "https://fhir.example"),
        ("subject_token", ""),
    ];
    for (name, value) in expected {
        house.findings.check(said(name) == value, format!("`{name}={value}`, not {form:?}"));
    }
    // A reload goes on with it.
    house.gateway.signal("HUP");
    let begun = Instant::now();
    while !house.gateway.log().contains("configuration reloaded") {
        assert!(begun.elapsed() < PATIENCE, "no reload:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
    shown(&house, "after a reload", |field| field == token);
    house.findings.check(guard.tokens().len() == 1, "a reload asked for another token");
    close(house);
}

/// Not one request fails while tokens that live three seconds come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_under_load() {
    const TOKENS: usize = 4;
    let guard = Arc::new(Guard::start(Mode::Issue(3)).await);
    let house = guarded(&guard, plan(&guard, "client_credentials")).await;
    let token = house.token("system/*.rs");
    let mut flying = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (client, token, guard) = (house.client.clone(), token.clone(), Arc::clone(&guard));
        flying.spawn(async move {
            let begun = Instant::now();
            let mut served = 0;
            while guard.tokens().len() < TOKENS && begun.elapsed() < PATIENCE {
                client.read("Patient/pat-01", &token).await.is(200);
                served += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            served
        });
    }
    let mut served = 0;
    while let Some(more) = flying.join_next().await {
        served += more.expect("a count");
    }
    let requests = guard.requests();
    let refused = requests.iter().filter(|asked| asked.status != 200).count();
    house.findings.check(
        refused == 0,
        format!("{refused} of {} requests came with a token that had ended", requests.len()),
    );
    let own = format!("Bearer {MARK}own-");
    let foreign = requests
        .iter()
        .find(|asked| !matches!(asked.authorization.as_slice(), [only] if only.starts_with(&own)));
    house.findings.check(foreign.is_none(), format!("another token at the backend: {foreign:?}"));
    house
        .findings
        .check(requests.len() == served, format!("{served} answers of {} requests", requests.len()));
    let tokens = guard.tokens().len();
    house.findings.check((TOKENS..=TOKENS + 1).contains(&tokens), format!("{tokens} calls for tokens"));
    close(house);
}

/// No token, no request: 503 with `Retry-After`, and the way back is found. A token in hand serves to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_to_be_had() {
    for kind in ["client_credentials", "token_exchange"] {
        let down = Mode::Answer(500, json!({}));
        let guard = Guard::start(down.clone()).await;
        let house = guarded(&guard, plan(&guard, kind)).await;
        let token = house.token("system/*.rs");
        let ask = async || house.client.ask("GET", "Patient/pat-01").bearer(&token).with(kind).send().await;
        let wrong = [
            down.clone(),
            Mode::Answer(401, json!({"error": "invalid_client"})),
            Mode::Answer(
                200,
                json!({"access_token": "t", "token_type": "N_A", "expires_in": 60,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}),
            ),
            Mode::Answer(200, json!({"token_type": "Bearer"})),
        ];
        for mode in wrong {
            guard.set(mode);
            ask().await.refused(503, UNAVAILABLE).has("retry-after", "").without("www-authenticate");
        }
        house
            .findings
            .check(guard.requests().is_empty(), format!("{kind}: {:?} at the backend", guard.requests()));
        guard.set(Mode::Issue(3600));
        until(200, &ask).await;
        guard.set(down);
        for _ in 0..3 {
            ask().await.is(200);
        }
        house.findings.check(
            guard.requests().iter().all(|asked| asked.status == 200),
            format!("{kind}: refused requests"),
        );
        // What needs nobody's token is served all the time.
        house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
        close(house);
    }
}

/// A backend that no longer takes a token gets another one: a read at once, a write the next time; one that takes none does
/// not make the gateway ask in a loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_the_backend_refuses() {
    for kind in ["client_credentials", "token_exchange"] {
        let guard = Guard::start(Mode::Issue(3600)).await;
        let house = guarded(&guard, plan(&guard, kind)).await;
        let token = house.token("system/*.cruds");
        let read = async || house.client.ask("GET", "Patient/pat-01").bearer(&token).with(kind).send().await;
        read().await.is(200);
        guard.revoke_all();
        read().await.is(200);
        let statuses: Vec<_> = guard.requests().iter().map(|asked| asked.status).collect();
        house
            .findings
            .check(statuses == [200, 401, 200], format!("{kind}: the backend answered {statuses:?}"));
        guard.revoke_all();
        guard.forget();
        for _ in 0..5 {
            read().await.refused(502, "backend_refused_gateway").without("www-authenticate");
        }
        house
            .findings
            .check(guard.tokens().is_empty(), format!("{kind}: {} calls for tokens", guard.tokens().len()));
        close(house);

        let house = guarded(&guard, plan(&guard, kind)).await;
        let token = house.token("system/*.cruds");
        let write = async || {
            let asked = house.client.ask("POST", "Patient").bearer(&token).with(kind);
            asked.json(&json!({"resourceType": "Patient"})).send().await
        };
        write().await.is(201);
        guard.revoke_all();
        write().await.refused(502, "backend_refused_gateway");
        write().await.is(201);
        let statuses: Vec<_> = guard.requests().iter().map(|asked| asked.status).collect();
        house
            .findings
            .check(statuses == [201, 401, 201], format!("{kind}: the backend answered {statuses:?}"));
        close(house);
    }
}

/// RFC 8693: each user gets what was exchanged for that user; the client's own token reaches nobody but the
/// authorization server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_each_user() {
    let guard = Guard::start(Mode::Issue(3600)).await;
    let house = House::open(plan(&guard, "token_exchange")).await;
    // On nobody's behalf: without anybody's token.
    house.client.ask("GET", "metadata").send().await.is(200);
    let log = house.demo.fhir.log();
    house.findings.check(
        !log.is_empty() && log.iter().all(|seen| !seen.headers.contains_key("authorization")),
        "metadata carries a token",
    );
    house.demo.fhir.forget();
    for _ in 0..2 {
        for user in ["ann", "bob"] {
            a_round(&house, user).await;
            let start = format!("Bearer {MARK}{user}-");
            shown(&house, user, |field| field.starts_with(&start));
        }
    }
    // Two tokens for each user and round.
    let tokens = guard.tokens();
    house.findings.check(tokens.len() == 8, format!("{} calls for tokens", tokens.len()));
    let type_of = "urn:ietf:params:oauth:token-type:access_token";
    for asked in tokens {
        let said = |name: &str| asked.form.get(name).map_or("", String::as_str);
        let fits = said("subject_token_type") == type_of
            && said("requested_token_type") == type_of
            && said("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange"
            && !said("subject_token").is_empty();
        house.findings.check(fits, format!("the exchange asked {:?}", asked.form.keys()));
    }
    // At once, and of the same two.
    let (ann, bob) = (
        house.claiming(Claims::new("system/*.rs").with("sub", "ann")),
        house.claiming(Claims::new("system/*.rs").with("sub", "bob")),
    );
    let mut flying = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (token, family) = if number % 2 == 0 { (&ann, "ann") } else { (&bob, "bob") };
        let asked = house.client.ask("GET", &format!("Patient?family={family}")).bearer(token);
        flying.spawn(async move { asked.send().await });
    }
    while let Some(answer) = flying.join_next().await {
        answer.expect("an answer").is(200);
    }
    for seen in house.demo.fhir.log() {
        let user = if seen.target.contains("family=ann") { "ann" } else { "bob" };
        let fits = seen
            .header("authorization")
            .is_some_and(|field| field.starts_with(&format!("Bearer {MARK}{user}-")));
        house.findings.check(fits, format!("`{}` came with {:?}", seen.target, seen.header("authorization")));
    }
    house.findings.check(guard.tokens().len() == 10, "calls for two tokens are shared");
    close(house);
}

/// A user whom the authorization server refuses gets nothing; others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_without_a_token() {
    let guard = Guard::start(Mode::Issue(3600)).await;
    let house = guarded(&guard, plan(&guard, "token_exchange")).await;
    let of = |user: &str| house.claiming(Claims::new("system/*.rs").with("sub", user));
    let ann = of("ann");
    house.client.read("Patient/pat-01", &ann).await.is(200);
    for error in ["invalid_target", "invalid_request", "invalid_grant"] {
        guard.set(Mode::Answer(400, json!({"error": error, "error_description": "secret words"})));
        guard.forget();
        let answer = house.client.read("Patient/pat-01", &of(error)).await;
        answer
            .refused(403, "token_exchange_refused")
            .lacks(error)
            .lacks("secret words")
            .without("www-authenticate");
        house.findings.check(guard.requests().is_empty(), format!("{error}: a request at the backend"));
    }
    house.client.read("Patient/pat-01", &ann).await.is(200);
    close(house);
}

#[expect(clippy::disallowed_methods, reason = "a token that ends while the test runs")]
fn seconds_ahead(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

/// What is kept for a user serves nobody whose token is no longer good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whose_token_has_ended() {
    let guard = Guard::start(Mode::Issue(3600)).await;
    let exchange = plan(&guard, "token_exchange");
    let issuer = "validation = \"introspection\"\nintrospection_cache = \"0s\"\nclock_skew = \"0s\"\n\
                  client = { id = \"pforte\", secret_file = \"client\" }";
    let secrets = &[("secret", "s3cret-at-the-double"), ("client", "pforte-demo-secret")];
    let house = guarded(&guard, Plan { issuer, secrets, ..exchange }).await;
    let revoked = house.claiming(Claims::new("system/*.rs").with("sub", "ann"));
    house.client.read("Patient/pat-01", &revoked).await.is(200);
    house.demo.authorization.revoke(&revoked);
    let ended = house.claiming(Claims::new("system/*.rs").with("sub", "bob").with("exp", seconds_ahead(2)));
    house.client.read("Patient/pat-01", &ended).await.is(200);
    until(401, async || house.client.read("Patient/pat-01", &ended).await).await;
    guard.forget();
    house.client.read("Patient/pat-01", &revoked).await.refused(401, "token_inactive");
    house.client.read("Patient/pat-01", &ended).await.is(401);
    house.client.ask("GET", "Patient/pat-01").send().await.is(401);
    let seen = (guard.requests(), guard.tokens());
    house.findings.check(seen.0.is_empty() && seen.1.is_empty(), format!("asked for nobody: {seen:?}"));
    close(house);
}

/// `forward`: everything carries the client's token, and never its proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_own_token() {
    let house =
        House::open(Plan { backend: "credentials = { kind = \"forward\" }", ..Plan::default() }).await;
    a_round(&house, "ann").await;
    let tokens = house.client.tokens();
    shown(&house, "forward", |field| {
        field.strip_prefix("Bearer ").is_some_and(|token| tokens.iter().any(|sent| sent == token))
    });
    house.client.ask("GET", "metadata").send().await.is(200);
    let log = house.demo.fhir.log();
    house.findings.check(
        log.iter().all(|seen| !seen.headers.contains_key("authorization")),
        "metadata carries a token",
    );
    house.close();
}

/// A fixed token is taken from its file as soon as that changes, without a signal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_change() {
    let backend = "credentials = { kind = \"bearer\", token_file = \"secret\" }";
    let house = House::open(Plan { backend, secrets: &[("secret", "before")], ..Plan::default() }).await;
    house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
    shown(&house, "before", |field| field == "Bearer before");
    std::fs::write(house.gateway.folder.join("secret"), "after-that").expect("written");
    let begun = Instant::now();
    loop {
        house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
        let taken = house
            .demo
            .fhir
            .log()
            .iter()
            .any(|seen| seen.header("authorization") == Some("Bearer after-that"));
        if taken {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the new secret is not taken:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.close();
}

/// A certification authority of this test, and what it issues: chain and key as PEM.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA"))
    }

    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).expect("PEM")).expect("an anchor");
        Arc::new(roots)
    }

    /// A server of its own that wants a certificate of its own.
    fn server(&self) -> Arc<rustls::ServerConfig> {
        let (chain, key) = self.issue("127.0.0.1");
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"));
        Arc::new(config.with_single_cert(chain, key).expect("a server"))
    }
}

/// TLS-8: a backend that wants a certificate gets the gateway's, beside any credentials; a changed pair is taken at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let options = fhir_server::Options { tls: Some(authority.server()), ..Default::default() };
    let fhir = FhirServer::start(options).await.expect("the FHIR server starts");
    let mut house = House::open(Plan { secrets: &[("secret", "beside")], ..Plan::default() }).await;
    let folder = house.gateway.folder.clone();
    let put = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        // Whole at once, as tools that renew certificates do it.
        let (path, made) = (folder.join(name), folder.join("new"));
        std::fs::write(&made, text).expect("written");
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600)).expect("permitted");
        std::fs::rename(made, path).expect("renamed");
    };
    let put_pair = |(chain, key): (String, String)| {
        put("own.pem", &chain);
        put("own.key", &key);
    };
    put("ca.pem", &authority.pem());
    put_pair(authority.issue("pforte.test"));
    let url = format!("url = \"{}\"", house.demo.fhir.base());
    let tls = format!("url = \"{}\"\nca = \"ca.pem\"", fhir.base());
    let own = "client_certificate = \"own.pem\"\nclient_key = \"own.key\"";
    let bearer = "credentials = { kind = \"bearer\", token_file = \"secret\" }";
    let findings = house.findings.clone();

    house.rewrite(&house.settings(&url, &tls));
    house.gateway.restart(&findings);
    let token = house.token("system/*.rs");
    let answer = house.client.ask("GET", "Patient/pat-01").bearer(&token).with("no certificate").send().await;
    answer.refused(502, "backend_unreachable");
    findings.check(fhir.log().is_empty(), "the backend lets in who has no certificate");

    house.rewrite(&house.settings(&url, &format!("{tls}\n{own}\n{bearer}")));
    house.gateway.restart(&findings);
    let ask =
        async |words: &str| house.client.ask("GET", "Patient/pat-01").bearer(&token).with(words).send().await;
    ask("with a certificate").await.is(200);
    let seen = fhir.log();
    let fits = matches!(seen.as_slice(), [only] if only.header("authorization") == Some("Bearer beside"));
    findings.check(fits, format!("one request with a token beside the certificate, not {seen:?}"));
    let text = tokio::task::block_in_place(|| checked(&house));
    findings.check(text.contains("fits  FHIR 4.0.1"), format!("the check is not let in:\n{text}"));

    // No signal is sent.
    put_pair(other.issue("pforte.test"));
    until(502, async || ask("with one of another CA").await).await;
    put_pair(authority.issue("pforte.test"));
    until(200, async || ask("with a new one").await).await;
    house.close();
}

/// What `check --online` says of the settings of a house.
fn checked(house: &House) -> String {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["check", "--online", "--config"])
        .arg(house.gateway.folder.join("gateway.toml"))
        .output()
        .expect("the check runs");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// `check --online` authenticates with every kind, and says what a token endpoint makes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_by_every_kind() {
    let guard = Guard::start(Mode::Issue(3600)).await;
    let refused = |error: &str| Mode::Answer(400, json!({"error": error}));
    let own = format!("Bearer {MARK}own-");
    // The kind, how the token endpoint answers, what is said, and what begins the field that the backend sees.
    let table = [
        ("client_credentials", Mode::Issue(3600), "fits  a token as `pforte`", Some(own.as_str())),
        ("client_credentials", refused("invalid_client"), "MEND  no token for the backend", None),
        ("token_exchange", refused("invalid_request"), "fits  token exchange as `pforte`", Some("")),
        ("token_exchange", refused("invalid_client"), "MEND  no token for the backend", None),
        ("token_exchange", Mode::Issue(3600), "exchanges a token that nobody issued", None),
    ];
    for (kind, mode, said, shown) in table {
        guard.set(mode);
        let house = House::open(plan(&guard, kind)).await;
        house.demo.fhir.forget();
        let text = tokio::task::block_in_place(|| checked(&house));
        house.findings.check(text.contains(said), format!("{kind}: `{said}` is not in\n{text}"));
        house.findings.check(!text.contains(MARK), format!("{kind}: a token is shown\n{text}"));
        let log = house.demo.fhir.log();
        let fits = match shown {
            Some(start) => {
                !log.is_empty()
                    && log
                        .iter()
                        .all(|seen| seen.header("authorization").unwrap_or_default().starts_with(start))
            }
            None => log.is_empty(),
        };
        let fields: Vec<_> = log.iter().map(|seen| seen.header("authorization")).collect();
        house.findings.check(fits, format!("{kind}: the backend saw {fields:?}"));
        close(house);
    }
}
