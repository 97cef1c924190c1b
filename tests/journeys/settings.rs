//! What the settings change: limits, credentials, identity headers; and settings that change while requests come
//! (contract §8, §10).

use std::time::{Duration, Instant};

use pforte::demo::authorization::Claims;
use pforte::demo::fhir_server::Misbehaviour;
use serde_json::json;

use crate::house::{HOST, House, Plan};
use crate::raw::Wire;

/// Longest wait for a reload to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

/// HTTP-14: 413, 414 or 431, 429, each with an outcome; the neighbour within the limit passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits() {
    let tables = "[limits]\nbody_bytes = \"4KiB\"\ntarget_bytes = \"1KiB\"\nheader_bytes = \"8KiB\"\nbundle_entries = 3\n\
                  requests_per_client = \"1/s burst 3\"";
    let house = House::open(Plan { tables, ..Plan::default() }).await;
    // The limit is for each client, so each case is a client of its own.
    let ask = |client: &str, method: &str, target: &str| {
        let token = house.claiming(Claims::new("system/*.cruds").with("client_id", client));
        house.client.ask(method, target).bearer(&token).with(client)
    };
    let text = |bytes: usize| json!({"resourceType": "Patient", "name": [{"family": "x".repeat(bytes)}]});
    ask("short body", "POST", "Patient").json(&text(1000)).send().await.is(201);
    house
        .kept_out(ask("long body", "POST", "Patient").json(&text(5000)))
        .await
        .refused(413, "body_too_large");
    let bundle = |entries: usize| {
        let entry = json!({"request": {"method": "GET", "url": "Patient/pat-01"}});
        json!({"resourceType": "Bundle", "type": "batch", "entry": vec![entry; entries]})
    };
    ask("3 entries", "POST", "").json(&bundle(3)).send().await.is(200);
    house.kept_out(ask("4 entries", "POST", "").json(&bundle(4))).await.refused(413, "too_many_entries");
    ask("short target", "GET", &format!("Patient?family={}", "x".repeat(500))).send().await.is(200);
    let long = format!("Patient?family={}", "x".repeat(1500));
    house.kept_out(ask("long target", "GET", &long)).await.is(414).holds("OperationOutcome");
    for _ in 0..3 {
        ask("often", "GET", "Patient/pat-01").send().await.is(200);
    }
    let answer = house.kept_out(ask("often", "GET", "Patient/pat-01")).await;
    answer.refused(429, "throttled").has("retry-after", "");
    ask("another client", "GET", "Patient/pat-01").send().await.is(200);
    house.close();
}

/// HTTP-12: who asks, in words the client cannot say itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_headers_and_credentials() {
    let names = "identity_headers = { user = \"X-Forwarded-User\", patient = \"X-Patient\", client = \"X-Client-Id\", \
                 scopes = \"X-Scopes\" }\n";
    let basic = "credentials = { kind = \"basic\", username = \"pforte\", password_file = \"secret\" }";
    let bearer = "credentials = { kind = \"bearer\", token_file = \"secret\" }";
    let both: &'static str = Box::leak(format!("{names}{basic}").into_boxed_str());
    let house =
        House::open(Plan { backend: both, secrets: &[("secret", "open sesame\n")], ..Plan::default() }).await;
    let claims =
        Claims::new("system/*.rs").with("client_id", "app-1").with("fhirUser", "Practitioner/prac-1");
    let token = house.claiming(claims);
    let mut asked = house.client.ask("GET", "Patient/pat-01").bearer(&token);
    for name in
        ["x-forwarded-user", "x-patient", "x-client-id", "x-scopes", "x-forwarded-for", "x-real-ip", "cookie"]
    {
        asked = asked.field(name, "forged");
    }
    for name in
        ["x_client_id", "x_forwarded_user", "x-http-method-override", "x-original-url", "proxy-authorization"]
    {
        asked = asked.field(name, "forged");
    }
    let (answer, seen) = house.let_in(asked).await;
    answer.is(200);
    let seen = seen.expect("a request at the backend");
    let told = |name: &str| seen.header(name).unwrap_or_default().to_owned();
    // pforte:open sesame
    let expected = [
        ("authorization", "Basic cGZvcnRlOm9wZW4gc2VzYW1l"),
        ("x-forwarded-user", "Practitioner/prac-1"),
        ("x-client-id", "app-1"),
        ("x-scopes", "system/*.rs"),
        ("x-patient", ""),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
    ];
    for (name, value) in expected {
        if told(name) != value {
            answer.wrong(&format!("the backend to see `{name}: {value}`, not `{}`", told(name)));
        }
    }
    let forged = seen.headers.iter().find(|(_, value)| value.as_bytes() == b"forged");
    if let Some((name, _)) = forged {
        answer.wrong(&format!("no forged `{name}` at the backend"));
    }
    if !told("via").contains("pforte") || told("accept-encoding").contains("gzip") {
        answer.wrong("a Via, and no packed answer asked for");
    }
    house.close();
    let house =
        House::open(Plan { backend: bearer, secrets: &[("secret", "backend-token")], ..Plan::default() })
            .await;
    let (answer, seen) = house.let_in(house.ask("GET", "Patient/pat-01", "system/*.rs")).await;
    let sent = seen.and_then(|seen| seen.header("authorization").map(str::to_owned));
    if sent.as_deref() != Some("Bearer backend-token") {
        answer.wrong(&format!("`Bearer backend-token` at the backend, not {sent:?}"));
    }
    house.close();
    let house =
        House::open(Plan { backend: "credentials = { kind = \"forward\" }", ..Plan::default() }).await;
    let token = house.token("system/*.rs");
    let (answer, seen) = house.let_in(house.client.ask("GET", "Patient/pat-01").bearer(&token)).await;
    let sent = seen.and_then(|seen| seen.header("authorization").map(str::to_owned));
    if sent != Some(format!("Bearer {token}")) {
        answer.wrong("the client's own token at the backend");
    }
    house.close();
    let house = House::open(Plan::default()).await;
    let (answer, seen) = house.let_in(house.ask("GET", "Patient/pat-01", "system/*.rs")).await;
    if seen.is_none_or(|seen| seen.headers.contains_key("authorization")) {
        answer.wrong("no Authorization at the backend");
    }
    house.close();
}

/// HTTP-22, contract §10: a good file takes effect, a bad one is reported and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload() {
    let house =
        House::open(Plan { tables: "[cors]\norigins = [\"https://one.example\"]", ..Plan::default() }).await;
    let token = house.token("system/*.rs");
    let allowed = async |origin: &str| {
        let asked = house.client.ask("GET", "Patient/pat-01").bearer(&token).field("origin", origin);
        let answer = asked.send().await;
        answer.is(200);
        answer.field("access-control-allow-origin") == origin
    };
    house.findings.check(allowed("https://one.example").await, "the first origin is not allowed");
    house.findings.check(!allowed("https://two.example").await, "an origin that is not listed is allowed");
    house.rewrite(&house.settings("https://one.example", "https://two.example"));
    house.gateway.signal("HUP");
    let begun = Instant::now();
    while !allowed("https://two.example").await {
        assert!(
            begun.elapsed() < PATIENCE,
            "the new origin is not allowed after SIGHUP:\n{}",
            house.gateway.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.findings.check(!allowed("https://one.example").await, "the old origin is still allowed");
    let log = house.gateway.log().len();
    house.rewrite(&house.settings("[cors]", "[cors]\norigns = []"));
    house.gateway.signal("HUP");
    let begun = Instant::now();
    while !house.gateway.log().get(log..).is_some_and(|log| log.contains("origns")) {
        assert!(begun.elapsed() < PATIENCE, "the bad file is not reported:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.findings.check(allowed("https://two.example").await, "a bad file changed the settings in force");
    house.close();
}

/// FLT-009, HTTP-22: a reload costs nothing while the authorization server is away; what rests on what it said before is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_without_authorization_server() {
    let introspects = "validation = \"introspection\"\nopaque = true\nintrospection_cache = \"5m\"\n\
                       client = { id = \"pforte\", auth = \"client_secret_basic\", secret_file = \"secret\" }";
    let plans = [("jwt", ""), ("introspection", introspects)];
    for (words, issuer) in plans {
        let tables = "[cors]\norigins = [\"https://one.example\"]";
        let secrets: &[_] = if issuer.is_empty() { &[] } else { &[("secret", "pforte-demo-secret")] };
        let house = House::open(Plan { tables, issuer, secrets, ..Plan::default() }).await;
        let server = &house.demo.authorization;
        let claims = || Claims::new("system/*.rs");
        let token = if issuer.is_empty() { server.mint(claims()) } else { server.mint_opaque(claims()) };
        let fresh = server.mint(claims());
        let read = async |token: &str, origin: &str| {
            let asked = house.client.ask("GET", "Patient/pat-01").bearer(token).with(words);
            asked.field("origin", origin).send().await
        };
        read(&token, "https://one.example").await.is(200);
        house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
        server.refuse_connections().await;
        house.rewrite(&house.settings("https://one.example", "https://two.example"));
        house.gateway.signal("HUP");
        let begun = Instant::now();
        loop {
            let answer = read(&token, "https://two.example").await;
            answer.is(200);
            if answer.field("access-control-allow-origin") == "https://two.example" {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "not reloaded:\n{}", house.gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Not what was remembered of one token: the keys are still there, and so is the public document.
        if issuer.is_empty() {
            read(&fresh, "").await.is(200);
        }
        house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
        house.close();
    }
}

/// HTTP-22: reload and shutdown do not touch what is in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_flight() {
    const REQUESTS: usize = 10;
    let mut house = House::open(Plan::default()).await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let mut flying = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let scope = if number % 2 == 0 { "system/*.rs" } else { "system/Patient.rs" };
        let asked = house.ask("GET", "Patient/pat-01", scope).with("in flight");
        flying.spawn(async move { asked.send().await });
    }
    while house.demo.fhir.seen() < REQUESTS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.gateway.signal("HUP");
    house.gateway.signal("TERM");
    let begun = Instant::now();
    // New connections are refused while the old ones are served to their end.
    while std::net::TcpStream::connect(house.address).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "new connections are still taken after SIGTERM");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.demo.fhir.behave();
    while let Some(answer) = flying.join_next().await {
        let answer = answer.expect("an answer");
        answer.is(200).holds("\"pat-01\"");
        if answer.broken.is_some() {
            answer.wrong("a whole answer");
        }
    }
    let findings = house.findings.clone();
    house.gateway.ended(&findings);
    house.gateway.start();
    house.ask("GET", "Patient/pat-01", "system/*.rs").with("started again").send().await.is(200);
    house.close();
}

/// A client that hangs up does not take back what it asked for, and what was done is on record (AUD-1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_up() {
    let mut house = House::open(Plan::default()).await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let mut wire = Wire::open(house.address, house.gateway.certificate()).await;
    let body = r#"{"resourceType":"Observation","id":"hung-up","status":"final","code":{"text":"x"}}"#;
    let head = format!(
        "PUT /fhir/Observation/hung-up HTTP/1.1\r\nHost: {HOST}:{}\r\nAuthorization: Bearer {}\r\n\
         X-Request-Id: hung-up-1\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
        house.address.port(),
        house.token("system/Observation.u"),
        body.len()
    );
    wire.say(format!("{head}{body}").as_bytes()).await;
    while house.demo.fhir.seen() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(wire);
    // Time for the gateway to see that nobody listens any more: a few round trips.
    for _ in 0..5 {
        house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
    }
    house.demo.fhir.behave();
    let findings = house.findings.clone();
    house.gateway.terminate(&findings);
    let stored = house.demo.fhir.stored("Observation/hung-up").is_some();
    let events = house.gateway.spool().lines().filter(|line| line.contains("hung-up-1")).count();
    findings.check(stored, "the backend did not get what was sent to it");
    findings
        .check(events == 1, format!("PUT by a client that hung up: expected one audit event, got {events}"));
    house.gateway.start();
    house.ask("GET", "Observation/hung-up", "system/*.rs").send().await.is(200);
    house.close();
}

/// From the moment it listens, SIGTERM ends it well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_at_once() {
    for _ in 0..3 {
        House::open(Plan::default()).await.close();
    }
}

/// The interactions once each, with the doubles: a quick look before the reference stack has its say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permitted_and_refused() {
    let house = House::open(Plan::default()).await;
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}});
    let cases = [
        ("GET", "Patient/pat-01", "system/Patient.r", "system/Patient.s"),
        ("HEAD", "Patient/pat-01", "system/Patient.r", "system/Patient.s"),
        ("GET", "Patient/pat-01/_history", "system/Patient.r", "system/Patient.s"),
        ("GET", "Patient/pat-01/_history/1", "system/Patient.r", "system/Patient.s"),
        ("GET", "Patient?_count=2", "system/Patient.s", "system/Patient.r"),
        (
            "GET",
            "Observation?_count=2&_include=Observation:subject",
            "system/Observation.s",
            "system/Observation.r",
        ),
        ("GET", "Patient/pat-01/Observation", "system/*.s", "system/*.r"),
        ("GET", "Patient/pat-01/$everything", "system/Patient.r", "system/Observation.rs"),
        ("POST", "Observation", "system/Observation.c", "system/Observation.u"),
        ("DELETE", "Binary/bin-01", "system/Binary.d", "system/Binary.u"),
    ];
    for (method, target, enough, short) in cases {
        let with_body =
            |asked: crate::support::Ask| if method == "POST" { asked.json(&observation) } else { asked };
        let answer = house.kept_out(with_body(house.ask(method, target, short))).await;
        answer.is(403).has("www-authenticate", "Bearer ");
        let challenge = answer.field("www-authenticate").to_owned();
        if !challenge.contains("error=\"insufficient_scope\"") {
            answer.wrong(&format!("a challenge with insufficient_scope, not {challenge}"));
        }
        let (answer, _) = house.let_in(with_body(house.ask(method, target, enough))).await;
        answer.one_of(&[200, 201, 204]).lacks(&house.demo.fhir.address().to_string());
    }
    let nobody = house.kept_out(house.client.ask("GET", "Patient/pat-01")).await;
    nobody.refused(401, "no_credentials");
    // A grant in part: its own, and as good as nothing of anybody else's.
    let token = house.claiming(Claims::new("patient/*.rs").with("patient", "pat-01"));
    let own = house.client.ask("GET", "Patient/pat-01").bearer(&token).send().await;
    own.is(200);
    let other = house.client.ask("GET", "Patient/pat-02").bearer(&token).with("patient/*.rs");
    house.kept_out(other).await.refused(404, "not_found");
    house.close();
}
