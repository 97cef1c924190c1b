//! Hostile requests as bytes (HTTP-3, HTTP-6, HTTP-7, REST-22): each is refused, the backend sees nothing of it, and what
//! follows it on the connection is not read as a request.

use crate::house::{HOST, House, Plan};
use crate::raw::{Wire, statuses};

/// `T` is a token for Observation only, `A` one for everything.
fn fill(house: &House, text: &str) -> String {
    let text = text
        .replace("<T>", &house.token("system/Observation.rs"))
        .replace("<A>", &house.token("system/*.cruds"));
    let host = format!("{HOST}:{}", house.address.port());
    text.replace("<host>", &host).replace("~", "\r\n")
}

async fn send(house: &House, text: &str) -> String {
    let mut wire = Wire::open(house.address, house.gateway.certificate()).await;
    wire.say(fill(house, text).as_bytes()).await;
    wire.rest().await
}

/// What comes first is refused so, and no answer is a success.
async fn refused(house: &House, text: &str, allowed: &[u16]) {
    house.demo.fhir.forget();
    let read = send(house, text).await;
    let got = statuses(&read);
    let fits =
        got.first().is_some_and(|first| allowed.contains(first)) && got.iter().all(|status| *status >= 400);
    let head: String = read.chars().take(300).collect();
    house
        .findings
        .check(fits, format!("{text}\n    expected {allowed:?} and no success\n    got      {got:?} {head}"));
    let seen: Vec<String> =
        house.demo.fhir.log().iter().map(|it| format!("{} {}", it.method, it.target)).collect();
    house.findings.check(
        seen.is_empty(),
        format!("{text}\n    expected nothing at the backend\n    got      {seen:?}"),
    );
}

/// Targets that must not lead to a Patient, nor anywhere beside the base.
const TARGETS: &[&str] = &[
    "/fhir/Observation/../Patient/pat-02",
    "/fhir/Observation/./../Patient/pat-02",
    "/fhir/Observation/%2e%2e/Patient/pat-02",
    "/fhir/Observation/%2E%2e%2fPatient%2fpat-02",
    "/fhir/Observation/%252e%252e/Patient/pat-02",
    "/fhir/Patient%2Fpat-02",
    "/fhir/Observation%2f..%2fPatient/pat-02",
    "//fhir/Patient/pat-02",
    "/fhir//Patient/pat-02",
    "/fhir/Patient//pat-02",
    "/fhir/Patient;x=1/pat-02",
    "/fhir/Observation/..;/Patient/pat-02",
    "/fhir/Patient/pat-02.",
    "/fhir/Patient/pat-02%20",
    "/fhir/patient/pat-02",
    "/fhir/PATIENT/pat-02",
    "/FHIR/Patient/pat-02",
    "/fhir/Patient/pat-0%32",
    "/fhir/%50atient/pat-02",
    "/fhir/Observation/o%00/Patient/pat-02",
    "/fhir/Observation/o%0d%0aX-A:%20b",
    "/fhir\\Patient\\pat-02",
    "/fhir/Observation/o\\..\\..\\Patient\\pat-02",
    "/fhir/%EF%BC%B0atient/pat-02",
    "/fhir/Patient/%C0%AEpat-02",
    "/fhir/Observation/o%3f/../../Patient/pat-02",
    "/fhir/Observation/o/_history/../../../Patient/pat-02",
    "/fhir/Patient/_history?_since=2020-01-01",
    "/fhir/UnknownType/1",
    "/fhir/metadata/../Patient/pat-02",
    "/fhir/metadata/Patient/pat-02",
    "/fhir/metadata;/..;/Patient/pat-02",
    "/fhir/.well-known/smart-configuration/../../Patient/pat-02",
    "/fhir/swagger-ui/",
    "/fhirx/Patient/pat-02",
    "/fhir/../fhir/Patient/pat-02",
    "/",
    "/actuator/env",
    "/fhir/Patient/pat-02%",
    "/fhir/Patient/pat-02%zz",
    "/fhir/$graphql?query={Patient(id:1){id}}",
    "*",
    "Patient/pat-02",
    "http://evil.example/fhir/Patient/pat-02",
    "https://evil.example/fhir/Patient/pat-02",
];

/// HTTP-7, HTTP-8, REST-1: a path that two parties could read differently. The token reaches no Patient however it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths() {
    let house = House::open(Plan::default()).await;
    for target in TARGETS {
        let request =
            format!("GET {target} HTTP/1.1~Host: <host>~Authorization: Bearer <T>~Connection: close~~");
        refused(&house, &request, &[400, 401, 403, 404, 405, 421]).await;
    }
    for target in [
        "/fhir/metadata/../Patient/pat-02",
        "/fhir/Patient/pat-02?x=/metadata",
        "/fhir/Patient/pat-02#/metadata",
    ] {
        let request =
            format!("GET {target} HTTP/1.1~Host: <host>~X-Forwarded-Uri: /fhir/metadata~Connection: close~~");
        refused(&house, &request, &[400, 401, 404]).await;
    }
    house.close();
}

/// With a token for everything, what leaves is what was read: plain, and below the backend's base.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_targets() {
    let house = House::open(Plan::default()).await;
    for target in [
        "/fhir/Observation/%2e%2e/Patient/pat-02",
        "/fhir/Patient/pat-02/../../../admin",
        "/fhir/Patient/pat-0%32",
        "/fhir/Patient%2Fpat-02",
        "/fhir/Patient/pat-02;jsessionid=1",
        "/fhir/Patient/pat-02/",
        "/fhir/Patient/?_id=pat-02",
        "/fhir/Patient?_id=pat-02#/../admin",
        "/fhir/Patient?_id=%70at-02",
        "/fhir/Patient/pat-02?_format=json%26_id=x",
        "http://<host>/fhir/Patient/pat-02",
        "https://<host>/fhir/Patient/pat-02",
    ] {
        house.demo.fhir.forget();
        let request =
            format!("GET {target} HTTP/1.1~Host: <host>~Authorization: Bearer <A>~Connection: close~~");
        let read = send(&house, &request).await;
        for seen in house.demo.fhir.log() {
            let path = seen.path();
            let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._$".contains(&byte));
            let fits = path.starts_with("/fhir/Patient")
                && plain
                && !path.contains("..")
                && !path.contains("//")
                && !seen.target.contains('#');
            house.findings.check(
                fits,
                format!("{target}\n    expected a plain target below the base\n    got      {}", seen.target),
            );
        }
        let got = statuses(&read);
        house
            .findings
            .check(got.len() == 1, format!("{target}\n    expected one answer\n    got      {got:?}"));
    }
    house.close();
}

/// HTTP-3, HTTP-6, HTTP-11: framing that two parties could read differently ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing() {
    let house = House::open(Plan::default()).await;
    let next = "GET /fhir/Patient/pat-02 HTTP/1.1~Host: <host>~Authorization: Bearer <A>~Connection: close~~";
    let head = "POST /fhir/Observation/_search HTTP/1.1~Host: <host>~Authorization: Bearer <A>~Content-Type: application/x-www-form-urlencoded~";
    let bodies = [
        ("Content-Length: 4~Transfer-Encoding: chunked~~0~~", true),
        ("Content-Length: 5~Content-Length: 6~~abcdef", false),
        ("Content-Length: 5, 5~~abcde", false),
        ("Content-Length: +5~~abcde", false),
        ("Content-Length: 0x5~~abcde", false),
        ("Content-Length: 5 5~~abcde", false),
        ("Content-Length: -1~~", false),
        ("Content-Length: 18446744073709551621~~abcde", false),
        ("Content-Length : 5~~abcde", false),
        ("Transfer-Encoding: chunked, identity~~0~~", true),
        ("Transfer-Encoding: chunked~Transfer-Encoding: identity~~0~~", true),
        ("Transfer-Encoding: gzip, chunked~~0~~", true),
        ("Transfer-Encoding:\u{b}chunked~~0~~", true),
        ("X: y\rTransfer-Encoding: chunked~~0~~", true),
        ("Transfer-Encoding:~ chunked~~0~~", true),
        ("Transfer-Encoding: chunked~~3;a=\n~abc~0~~", true),
        ("Transfer-Encoding: chunked~~0x3~abc~0~~", true),
        ("Transfer-Encoding: chunked~~10000000000000003~abc~0~~", true),
        ("Transfer-Encoding: chunked~~3~abcX~0~~", true),
        ("Transfer-Encoding: chunked~~-1~abc~0~~", true),
        ("Transfer_Encoding: chunked~Content-Length: 5~~0~~", true),
    ];
    for (body, smuggles) in bodies {
        let request = format!("{head}{body}{}", if smuggles { next } else { "" });
        refused(&house, &request, &[400, 411, 413, 415, 501]).await;
    }
    house.close();
}

/// HTTP-3, HTTP-6, HTTP-17, REST-22: heads that are no request to this server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads() {
    let house = House::open(Plan::default()).await;
    let token = "Authorization: Bearer <A>~";
    for (request, allowed) in [
        (format!("POST /fhir HTTP/1.0~Host: <host>~{token}Transfer-Encoding: chunked~~0~~"), &[400, 505][..]),
        ("GET /fhir/Patient/pat-01 HTTP/1.0~~".to_owned(), &[400, 401, 505]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~{token}Connection: close~~"), &[400]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~Host: <host>~{token}~"), &[400]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~Host: ~{token}~"), &[400]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~Host: evil.example~{token}~"), &[400, 421]),
        (format!("GET http://evil.example/fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}~"), &[400, 421]),
        (format!("GET /fhir/Patient/pat-01~Host: <host>~{token}~"), &[400]),
        (format!(" GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}~"), &[400]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}X-A: a\0b~~"), &[400]),
        (format!("GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token} X-Folded: b~~"), &[400]),
        (
            format!("get /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}Connection: close~~"),
            &[400, 405, 501],
        ),
        (format!("TRACE /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}Connection: close~~"), &[405, 501]),
        (
            format!("CONNECT backend.internal:80 HTTP/1.1~Host: backend.internal:80~{token}~"),
            &[400, 405, 421, 501],
        ),
        (
            format!(
                "GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~{token}Content-Length: 4~Connection: close~~abcd"
            ),
            &[400, 413],
        ),
        ("PRI * HTTP/2.0~~SM~~".to_owned(), &[400, 505]),
    ] {
        refused(&house, &request, allowed).await;
    }
    house.close();
}

/// TOK-2, TOK-3, HTTP-9, HTTP-17, REST-4, REST-23: header fields with a meaning of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields() {
    let house = House::open(Plan::default()).await;
    let get = "GET /fhir/Patient/pat-02 HTTP/1.1~Host: <host>~Connection: close~";
    let search = "POST /fhir/Observation/_search HTTP/1.1~Host: <host>~Authorization: Bearer <T>~Connection: close~Content-Length: 8~";
    for (request, allowed) in [
        (format!("{get}Authorization: Bearer <A>~Authorization: Bearer <T>~~"), &[400, 401][..]),
        (format!("{get}Authorization: Bearer <A>, Bearer <T>~~"), &[400, 401]),
        (format!("{get}Authorization: Bearer~~"), &[400, 401]),
        (format!("{get}Authorization: Basic cGZvcnRlOng=~~"), &[400, 401]),
        (format!("{get}Authorization: DPoP <A>~~"), &[400, 401]),
        (format!("{get}Proxy-Authorization: Bearer <A>~~"), &[400, 401]),
        (format!("{get}Cookie: access_token=<A>~~"), &[400, 401]),
        (
            format!(
                "{get}Authorization: Bearer <T>~X-Original-URL: /fhir/Observation~X-Rewrite-URL: /fhir/Observation~~"
            ),
            &[400, 403],
        ),
        (
            format!("{get}Authorization: Bearer <T>~X-Forwarded-For: 127.0.0.1~Forwarded: for=127.0.0.1~~"),
            &[400, 403],
        ),
        (format!("{get}X-Forwarded-Uri: /fhir/metadata~X-Forwarded-Method: GET~~"), &[401]),
        (
            format!("{get}Authorization: Bearer <T>~If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT~~"),
            &[403],
        ),
        (format!("{get}Authorization: Bearer <T>~Expect: something-else~~"), &[403, 417]),
        (
            "GET /fhir/Patient/pat-02?access_token=<A> HTTP/1.1~Host: <host>~Connection: close~~".to_owned(),
            &[400, 401],
        ),
        (
            "GET /fhir/Patient/pat-02?access%5Ftoken=<A> HTTP/1.1~Host: <host>~Connection: close~~"
                .to_owned(),
            &[400, 401],
        ),
        (format!("{search}Content-Type: text/plain~~code=abc"), &[400, 415]),
        (format!("{search}Content-Type: multipart/form-data; boundary=x~~code=abc"), &[400, 415]),
        (format!("{search}~code=abc"), &[400, 415]),
    ] {
        refused(&house, &request, allowed).await;
    }
    // HTTP-14.
    refused(&house, &format!("{get}Authorization: Bearer <T>~X-Big: {}~~", "x".repeat(40_000)), &[431]).await;
    let many: String = (0..300).map(|number| format!("X-{number}: x~")).collect();
    refused(&house, &format!("{get}Authorization: Bearer <T>~{many}~"), &[431]).await;
    // HTTP-9: who may not is told so before the body is asked for.
    let request = "POST /fhir/Patient HTTP/1.1~Host: <host>~Authorization: Bearer <T>~Content-Type: application/fhir+json~Content-Length: 100000~Expect: 100-continue~~";
    refused(&house, request, &[403]).await;
    house.close();
}

/// A form says what its bytes say: whoever calls them something else is refused, or what leaves is called what it is.
async fn relabelled(house: &House) {
    let search = "POST /fhir/Observation/_search HTTP/1.1~Host: <host>~Authorization: Bearer <T>~Connection: close~Content-Length: 8~";
    let form = "Content-Type: application/x-www-form-urlencoded";
    for label in [
        "; charset=utf-16le",
        "; charset=ibm037",
        "~Content-Encoding: gzip",
        "~Content-Encoding: identity, gzip",
    ] {
        house.demo.fhir.forget();
        let read = send(house, &format!("{search}{form}{label}~~code=abc")).await;
        let got = statuses(&read);
        house.findings.check(
            matches!(got.as_slice(), [200 | 400 | 415]),
            format!("{form}{label}\n    expected one answer\n    got      {got:?}"),
        );
        for seen in house.demo.fhir.log() {
            let media = seen.header("content-type").unwrap_or_default();
            let plain =
                media == "application/x-www-form-urlencoded" && seen.header("content-encoding").is_none();
            house
                .findings
                .check(plain, format!("{form}{label}: the backend got `{media}` and {:?}", seen.headers));
        }
    }
}

/// Fields that change nothing, and forms under a wrong name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_change_nothing() {
    let house = House::open(Plan::default()).await;
    harmless(&house).await;
    relabelled(&house).await;
    pipelined(&house).await;
    house.close();
}

/// The request goes on without them.
async fn harmless(house: &House) {
    let get = "GET /fhir/Observation/obs-01-1 HTTP/1.1~Host: <host>~Authorization: Bearer <T>~";
    for field in [
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: PUT",
        "X-Original-URL: /fhir/Patient/pat-02",
        "X-Forwarded-Host: evil.example",
        "Connection: close, Authorization",
        "Upgrade: h2c~Connection: Upgrade, HTTP2-Settings~HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Upgrade: websocket~Connection: Upgrade~Sec-WebSocket-Version: 13~Sec-WebSocket-Key: x",
        "Accept-Encoding: br, zstd, gzip;q=1, identity;q=0",
        "Expect: 100-continue",
        "Origin: null",
        "Range: bytes=0-3",
    ] {
        house.demo.fhir.forget();
        let read = send(house, &format!("{get}{field}~Connection: close~~")).await;
        let got = statuses(&read);
        let fits = matches!(got.as_slice(), [200 | 400 | 403 | 406 | 417] | [100, 200]);
        house
            .findings
            .check(fits, format!("{field}\n    expected one plain answer\n    got      {got:?} {read}"));
        house
            .findings
            .check(!read.contains("allow-origin: null"), format!("{field}: `null` is an allowed origin"));
        let name = field.split(':').next().unwrap_or_default().to_lowercase();
        for seen in house.demo.fhir.log() {
            let plain = seen.method == "GET" && seen.path() == "/fhir/Observation/obs-01-1";
            house.findings.check(plain, format!("{field}: the backend got {} {}", seen.method, seen.target));
            let ours = ["connection", "accept-encoding", "x-forwarded-host"].contains(&name.as_str());
            house
                .findings
                .check(ours || seen.header(&name).is_none(), format!("{field}: the backend got the field"));
            let host = seen.header("x-forwarded-host").unwrap_or_default();
            house
                .findings
                .check(!host.contains("evil"), format!("{field}: the backend got the client's host"));
        }
    }
}

/// HTTP/1.1 keeps answers in order, and each request its own token.
async fn pipelined(house: &House) {
    let one = "GET /fhir/Observation/obs-01-1 HTTP/1.1~Host: <host>~Authorization: Bearer <T>~~";
    let none = "GET /fhir/Observation/obs-01-1 HTTP/1.1~Host: <host>~~";
    let last = "GET /fhir/Patient/pat-01 HTTP/1.1~Host: <host>~Authorization: Bearer <T>~Connection: close~~";
    let got = statuses(&send(house, &format!("{}{last}", format!("{one}{none}").repeat(20))).await);
    let expected: Vec<u16> = [200, 401].repeat(20).into_iter().chain([403]).collect();
    house.findings.check(got == expected, format!("pipelined: expected {expected:?}, got {got:?}"));
}
