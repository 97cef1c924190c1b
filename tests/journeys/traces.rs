//! Traces: the client's goes on to the backend, and a collector sees what was waited for. Nothing of a patient, a token or a
//! body is in them (W3C Trace Context; HTTP-21).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use pforte::demo::Received;
use pforte::demo::authorization::Claims;

use crate::collector::{Collector, attribute, hexadecimal};
use crate::house::{House, Plan, free};
use crate::support::Findings;

/// Longest wait for spans.
const PATIENCE: Duration = Duration::from_secs(20);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Tokens that the gateway asks about.
const INTROSPECTS: &str = "validation = \"introspection\"\nintrospection_cache = \"0s\"\n\
                           client = { id = \"pforte\", secret_file = \"secret\" }";

async fn open(collector: SocketAddr, ratio: f64) -> House {
    let secrets = &[("secret", "pforte-demo-secret")];
    let mut house = House::open(Plan { issuer: INTROSPECTS, secrets, ..Plan::default() }).await;
    let traced = format!("log = \"info\"\notlp = \"http://{collector}\"\ntrace_ratio = {ratio:?}");
    house.rewrite(&house.settings("log = \"debug\"", &traced));
    house.gateway.terminate(&Findings::default());
    // What it said before, it said by other settings.
    std::fs::write(house.gateway.folder.join("log"), "").expect("an empty log");
    house.gateway.start();
    house
}

fn sampled(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn field<'r>(seen: Option<&'r Received>, name: &str) -> &'r str {
    seen.and_then(|seen| seen.header(name)).unwrap_or_default()
}

/// The spans of a trace, once there are so many.
async fn spans(collector: &Collector, trace: &str, count: usize) -> Vec<Span> {
    let begun = Instant::now();
    loop {
        let spans = collector.spans().into_iter().filter(|span| hexadecimal(&span.trace_id) == trace);
        let spans: Vec<Span> = spans.collect();
        if spans.len() >= count || begun.elapsed() > PATIENCE {
            return spans;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    let [one] = found.as_slice() else { panic!("not one `{name}` in {names:?}") };
    one
}

/// From the client through the gateway to the backend: one trace, each span below the one that waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_from_client_to_backend() {
    let address = free();
    let collector = Collector::start(address).await;
    let house = open(address, 0.0).await;
    let token = house.claiming(Claims::new("patient/*.rs").with("patient", "pat-01"));
    let asked = house.client.ask("GET", "Observation?patient=pat-01&code=s3cret-code").bearer(&token);
    let asked = asked.field("traceparent", &sampled("01")).field("tracestate", "vendor=1,other@v=2");
    let (answer, seen) = house.let_in(asked.field("baggage", "patient=pat-01")).await;
    answer.is(200);
    let spans = spans(&collector, TRACE, 5).await;
    let server = named(&spans, "GET search-type");
    assert_eq!((server.kind(), hexadecimal(&server.parent_span_id).as_str()), (SpanKind::Server, PARENT));
    let below = [
        ("verify token", "GET search-type", SpanKind::Internal),
        ("POST authorization server", "verify token", SpanKind::Client),
        ("GET backend", "GET search-type", SpanKind::Client),
        ("record audit", "GET search-type", SpanKind::Internal),
    ];
    for (name, parent, kind) in below {
        let (span, parent) = (named(&spans, name), named(&spans, parent));
        assert_eq!((span.kind(), &span.parent_span_id), (kind, &parent.span_id), "{name}");
        assert!(span.start_time_unix_nano >= parent.start_time_unix_nano, "{name}");
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{name}");
    }
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let told = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "https"),
        ("server.address", "gw.test"),
        ("pforte.interaction", "search-type"),
        ("pforte.resource_type", "Observation"),
        ("pforte.request_id", answer.field("x-request-id")),
    ];
    for (key, value) in told {
        assert_eq!(attribute(&server.attributes, key).as_deref(), Some(value), "{key}");
    }
    let call = named(&spans, "GET backend");
    assert_eq!(attribute(&call.attributes, "pforte.kind").as_deref(), Some("request"));
    let expected = format!("00-{TRACE}-{}-01", hexadecimal(&call.span_id));
    assert_eq!(field(seen.as_ref(), "traceparent"), expected);
    assert_eq!(field(seen.as_ref(), "tracestate"), "vendor=1,other@v=2");
    assert_eq!(field(seen.as_ref(), "baggage"), "");
    assert_eq!(collector.resource("service.name").as_deref(), Some("pforte"));
    assert_eq!(collector.resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    house.close();
}

/// Whether a trace is sampled is the client's word, else the ratio's; the backend is told of it in either case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling() {
    let (valid, unsampled) = (sampled("01"), sampled("00"));
    // What is sent, whether the backend sees the client's trace, and whether it is told that it is sampled.
    let table = [
        (0.0, "", false, "-00"),
        (0.0, valid.as_str(), true, "-01"),
        (0.0, "00-malformed", false, "-00"),
        (1.0, "", false, "-01"),
        (1.0, unsampled.as_str(), true, "-00"),
        (1.0, "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-00", false, "-01"),
    ];
    for ratio in [0.0, 1.0] {
        let address = free();
        let collector = Collector::start(address).await;
        let house = open(address, ratio).await;
        let mut traces = Vec::new();
        for (_, sent, continued, flags) in table.iter().filter(|(of, ..)| *of == ratio) {
            let mut asked = house.ask("GET", "Patient/pat-01", "system/*.rs");
            if !sent.is_empty() {
                asked = asked.field("traceparent", sent);
            }
            let (answer, seen) = house.let_in(asked).await;
            answer.is(200);
            let told = field(seen.as_ref(), "traceparent").to_owned();
            let fits = told.len() == 55 && told.contains(TRACE) == *continued && told.ends_with(flags);
            house.findings.check(fits, format!("ratio {ratio}, sent `{sent}`: the backend is told `{told}`"));
            traces.push((told.get(3..35).unwrap_or_default().to_owned(), *flags == "-01"));
        }
        // Its end sends what waits.
        house.close();
        for (trace, expected) in traces {
            let spans = collector.spans().into_iter().filter(|span| hexadecimal(&span.trace_id) == trace);
            assert_eq!(spans.count() > 0, expected, "ratio {ratio}: {trace}");
        }
    }
}

/// HTTP-21: whatever is asked, and however it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_patients_and_tokens() {
    let address = free();
    let collector = Collector::start(address).await;
    let house = open(address, 1.0).await;
    let token = house.claiming(Claims::new("patient/*.cruds").with("patient", "pat-01"));
    let ask = |method: &str, target: &str| house.client.ask(method, target).bearer(&token);
    ask("GET", "Patient/pat-01").send().await.is(200);
    ask("GET", "Patient/pat-02").send().await.refused(404, "not_found");
    ask("GET", "Observation?patient=pat-01&code:text=s3cret-code").send().await;
    ask("GET", "Observation?s3cret-parameter=1&_contained=true").send().await;
    ask("POST", "Observation/_search")
        .body("application/x-www-form-urlencoded", "patient=pat-01")
        .send()
        .await;
    let observation = serde_json::json!({"resourceType": "Observation", "status": "final",
        "code": {"text": "s3cret-text"}, "subject": {"reference": "Patient/pat-02"}});
    ask("POST", "Observation").json(&observation).send().await.is(403);
    ask("S3CRET", "Patient").send().await.is(405);
    house.client.ask("GET", "S3cret/pat-01").bearer(&token).send().await.is(404);
    house.client.ask("GET", "Patient/pat-01").bearer("s3cret-opaque-token-of-nobody").send().await.is(401);
    house.client.ask("GET", "Patient/pat-01").token("s3cret-scheme", "x").send().await.is(401);
    house.client.ask("GET", "metadata").send().await.is(200);
    house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
    let requests = house.client.requests().len();
    house.gateway.signal("TERM");
    let begun = Instant::now();
    while collector.spans().iter().filter(|span| span.kind() == SpanKind::Server).count() < requests + 2
        && begun.elapsed() < PATIENCE
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = collector.text();
    let log = house.gateway.log();
    let fragment = token.get(..30).expect("a long token");
    for never in ["pat-0", "s3cret", "S3cret", "S3CRET", fragment, "/fhir/", "Observation?"] {
        assert!(!text.contains(never), "`{never}` in a trace:\n{text}");
        let line = log.lines().find(|line| line.contains(never) && !line.contains("\"serving\""));
        assert_eq!(line, None, "`{never}` in the log");
    }
    let refused: Vec<_> =
        collector.spans().iter().filter_map(|span| attribute(&span.attributes, "pforte.reason_id")).collect();
    assert!(refused.contains(&"token_inactive".to_owned()), "{refused:?}");
}

/// Without a collector a client's context passes unchanged, and only a valid one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_that_are_others_business() {
    let house = House::open(Plan::default()).await;
    let valid = sampled("01");
    let table = [(valid.as_str(), valid.as_str(), "vendor=1"), ("00-x", "", ""), ("", "", "")];
    for (sent, passed, state) in table {
        let mut asked = house.ask("GET", "Patient/pat-01", "system/*.rs").field("tracestate", "vendor=1");
        if !sent.is_empty() {
            asked = asked.field("traceparent", sent);
        }
        let (answer, seen) = house.let_in(asked.field("baggage", "patient=pat-01")).await;
        answer.is(200);
        let told = ["traceparent", "tracestate", "baggage"].map(|name| field(seen.as_ref(), name).to_owned());
        house.findings.check(told == [passed, state, ""], format!("sent `{sent}`, told {told:?}"));
    }
    house.close();
}

/// A collector that is away costs spans, which are counted, and one line of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away() {
    let address = free();
    let mut house = open(address, 1.0).await;
    for _ in 0..3 {
        house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
        // More than one batch.
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    let collector = Collector::start(address).await;
    let begun = Instant::now();
    while !house.gateway.log().contains("exported again") && begun.elapsed() < PATIENCE {
        house.ask("GET", "Patient/pat-01", "system/*.rs").send().await.is(200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    house.gateway.terminate(&house.findings);
    let log = house.gateway.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines("traces cannot be exported"), lines("traces are exported again")), (1, 1), "{log}");
    assert_eq!(lines("opentelemetry"), 0, "the library says nothing itself");
    assert!(!collector.spans().is_empty());
}
