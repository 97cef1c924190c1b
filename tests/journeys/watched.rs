//! What those who look after the gateway see: a line for each request, pages on an address of their own (HTTP-21).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pforte::demo::authorization::Claims;
use pforte::demo::fhir_server::Misbehaviour;
use serde_json::Value;

use crate::house::{House, Plan, free};
use crate::raw::Wire;
use crate::support::Findings;

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

async fn open(telemetry: &str) -> (House, SocketAddr) {
    let admin = free();
    let tables = leaked(format!("[admin]\nlisten = \"{admin}\"\n"));
    let mut house = House::open(Plan { tables, ..Plan::default() }).await;
    house.rewrite(&house.settings("log = \"debug\"", telemetry));
    house.gateway.terminate(&Findings::default());
    // What it said before, it said by other settings.
    std::fs::write(house.gateway.folder.join("log"), "").expect("an empty log");
    house.gateway.start();
    (house, admin)
}

async fn page(admin: SocketAddr, path: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("http://{admin}{path}")).send().await.expect("an answer");
    answer.text().await.expect("text")
}

/// The access log's lines, by request id.
fn lines(house: &House) -> BTreeMap<String, Value> {
    let log = house.gateway.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["target"] == "pforte::access");
    lines.map(|line| (line["request_id"].as_str().unwrap_or_default().to_owned(), line)).collect()
}

/// One line for each answer, whoever gave it, with what an operator needs and nothing of a patient.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_for_each_request() {
    let (mut house, _) = open("log = \"info\"").await;
    let claims = Claims::new("patient/*.rs").with("patient", "pat-01").with("client_id", "app-1");
    let token = house.claiming(claims.with("sub", "user-of-app"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = house.client.ask("GET", "Patient/pat-01?_format=json").bearer(&token);
    let read = asked.field("traceparent", trace).send().await;
    let missing = house.client.ask("GET", "Patient/pat-02").bearer(&token).send().await;
    let anonymous = house.client.ask("GET", "Patient/pat-01").send().await;
    let public = house.client.ask("GET", ".well-known/smart-configuration").send().await;
    let preflight = house.client.ask("OPTIONS", "metadata").field("origin", "https://app.test");
    let preflight = preflight.field("access-control-request-method", "GET").send().await;
    let lost = house.client.ask("GET", "/elsewhere").bearer(&token).send().await;
    let mut wire = Wire::open(house.address, house.gateway.certificate()).await;
    wire.say(b"GET /fhir/Patient/pat-01 HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    let refused = wire.rest().await;
    house.gateway.terminate(&house.findings);
    let lines = lines(&house);
    let line =
        |id: &str| lines.get(id).cloned().unwrap_or_else(|| panic!("no line for `{id}` in {lines:#?}"));
    let of = |answer: &crate::support::Answer| line(answer.field("x-request-id"));

    let shown = of(&read);
    let expected = [
        ("level", "INFO"),
        ("message", "request answered"),
        ("method", "GET"),
        ("interaction", "read"),
        ("resource_type", "Patient"),
        ("client_id", "app-1"),
        ("tls", "1.3"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
    ];
    for (key, value) in expected {
        assert_eq!(shown[key], value, "{key} in {shown}");
    }
    let number = |key: &str| shown[key].as_f64().unwrap_or_else(|| panic!("no {key} in {shown}"));
    assert!(number("duration_ms") >= number("backend_ms") && number("backend_ms") > 0.0, "{shown}");
    assert_eq!((number("status"), number("bytes") as usize), (200.0, read.body.len()));
    assert!(shown.get("reason_id").is_none() && shown.get("detail").is_none(), "{shown}");

    let table = [
        (of(&missing), 404, "read", "not_found"),
        (of(&anonymous), 401, "read", "no_credentials"),
        (of(&lost), 404, "none", "outside_base"),
    ];
    for (shown, status, interaction, reason) in table {
        assert_eq!(shown["message"], "request refused", "{shown}");
        assert_eq!(
            (shown["status"].as_u64(), shown["interaction"].as_str()),
            (Some(status), Some(interaction))
        );
        assert_eq!(shown["reason_id"], reason);
        assert!(shown["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{shown}");
    }
    for public in [&public, &preflight] {
        assert_eq!(of(public)["interaction"], "public");
    }
    let misdirected = lines.values().find(|line| line["status"] == 421);
    assert!(misdirected.is_some(), "no line for a refusal of the listener: {refused}\n{lines:#?}");
    assert_eq!(lines.len(), 7, "{lines:#?}");
    let log = house.gateway.log();
    for never in ["pat-0", "user-of-app", "_format", "127.0.0.1:", "evil.example"] {
        let line = log.lines().find(|line| line.contains(never) && !line.contains("\"serving\""));
        assert_eq!(line, None, "`{never}` in the log");
    }
    house.gateway.start();
    house.close();
}

/// Refusals are logged in any case, unless the filter says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_log_that_is_off() {
    for (telemetry, expected) in [
        ("log = \"info\"\naccess_log = false", vec!["request refused"]),
        ("log = \"info,pforte::access=off\"", vec![]),
        ("log = \"info\"\naccess_log = true", vec!["request answered", "request refused"]),
    ] {
        let (mut house, _) = open(telemetry).await;
        house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
        house.client.ask("GET", "Patient/pat-01").send().await.is(401);
        house.gateway.terminate(&house.findings);
        let lines = lines(&house);
        let mut messages: Vec<_> = lines.values().filter_map(|line| line["message"].as_str()).collect();
        messages.sort_unstable();
        assert_eq!(messages, expected, "{telemetry}");
        house.gateway.start();
        house.close();
    }
}

/// Pages for operators are not among those for clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_on_the_admin_address_only() {
    let (house, admin) = open("log = \"info\"").await;
    let token = house.token("system/*.cruds");
    for path in ["/health", "/ready", "/metrics", "/fhir/health", "/fhir/ready", "/fhir/metrics"] {
        let answer = house.kept_out(house.client.ask("GET", path).bearer(&token)).await;
        answer.is(404).holds("OperationOutcome");
    }
    house.client.ask("GET", "/metrics").send().await.is(404);
    assert_eq!(page(admin, "/health").await, "ok\n");
    assert!(page(admin, "/ready").await.contains("\"ready\":true"));
    house.close();
}

/// A backend that cannot be asked is a weakness, until it can be asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_the_backend() {
    let (house, admin) = open("log = \"info\"").await;
    let check = async || {
        let ready: Value = serde_json::from_str(&page(admin, "/ready").await).expect("JSON");
        assert_eq!(ready["ready"], true, "{ready}");
        let checks = ready["checks"].as_array().expect("checks").clone();
        checks.into_iter().find(|check| check["name"] == "backend").expect("a check")
    };
    // The first one waits for the keys.
    house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
    assert_eq!(check().await.get("degraded"), None);
    house.demo.fhir.misbehave(Misbehaviour::Close);
    house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(502);
    assert!(check().await["degraded"].is_string());
    let metrics = page(admin, "/metrics").await;
    assert!(metrics.contains("pforte_check{check=\"backend\"} 0\n") && metrics.contains("pforte_ready 1\n"));
    house.demo.fhir.behave();
    house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
    assert_eq!(check().await.get("degraded"), None);
    house.close();
}
