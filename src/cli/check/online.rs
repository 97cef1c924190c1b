//! Whether the authorization servers, the backend and the sinks fit the file; what is asked of an authorization server.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, DATE};
use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::{Map, Value};
use url::Url;

use super::Outcome;
use super::backend::backend;
use super::introspection::{introspection, support};
use super::probe::{Answer, Report, ask, client};
use super::sinks::{named, reached};
use crate::config::{
    AuthorizationServer, IntrospectionResponse, Profile, ServerTls, Settings, SharedState, TlsSuites,
    Validation,
};
use crate::issuer::metadata_addresses;
use crate::oauth::{Fetcher, Setup};
use crate::shared::Shared;
use crate::token::Quoted;

/// Asks every authorization server, the backend and the sinks of audit events, and prints what fits and what does not.
///
/// # Errors
///
/// When `out` cannot be written.
pub async fn online(settings: &Settings, out: &mut dyn Write) -> io::Result<Outcome> {
    let mut misfits = 0;
    for server in &settings.authorization_servers {
        writeln!(out, "authorization server {}", server.issuer)?;
        let mut report = Report::default();
        // The very client that the gateway uses, certificate included (RFC 8705).
        let setup = Setup {
            server: &server.issuer,
            timeout: server.timeout,
            ca: server.ca.as_deref(),
            client: server.client.as_ref(),
        };
        match Fetcher::new(setup) {
            Ok(fetcher) => authorization_server(fetcher.http(), server, settings, &mut report).await,
            Err(problem) => report.misfit(problem),
        }
        report.print(out)?;
        misfits += report.misfits();
    }
    writeln!(out, "backend {}", settings.backend.url)?;
    let mut report = Report::default();
    let behind = &settings.backend;
    match client(behind.ca.as_deref(), behind.client_certificate.as_ref(), behind.timeout) {
        Ok(http) => backend(&http, settings, &mut report).await,
        Err(problem) => report.misfit(problem),
    }
    report.print(out)?;
    misfits += report.misfits();
    if let Some(shared) = &settings.shared_state {
        writeln!(out, "shared state {}", shared.url)?;
        let report = shared_state(shared).await;
        report.print(out)?;
        misfits += report.misfits();
    }
    for sink in &settings.audit.sinks {
        writeln!(out, "audit sink {}", named(sink))?;
        let report = reached(sink).await;
        report.print(out)?;
        misfits += report.misfits();
    }
    if misfits == 0 {
        return Ok(Outcome::Fits);
    }
    writeln!(out, "{misfits} to mend")?;
    Ok(Outcome::Misfits)
}

/// Whether replicas can share anything: asked as the gateway asks, without taking part in what they have agreed upon.
async fn shared_state(settings: &SharedState) -> Report {
    let mut report = Report::default();
    let watching = SharedState { keeps_key: false, ..settings.clone() };
    let shared = match Shared::new(Some(&watching)) {
        Ok(shared) => shared,
        Err(problem) => {
            report.misfit(problem);
            return report;
        }
    };
    shared.settled().await;
    match shared.status().and_then(|status| status.amiss) {
        None => report.fits("it answers, and takes what is written"),
        Some(cause) => report.misfit(format_args!(
            "{cause}; mend `shared_state`, or the server: until then DPoP proofs are refused, and replicas share nothing"
        )),
    }
    report
}

async fn authorization_server(
    http: &Client,
    server: &AuthorizationServer,
    settings: &Settings,
    report: &mut Report,
) {
    let metadata = metadata(http, server, report).await;
    published(&metadata, settings, report);
    support(&metadata, server, settings, report);
    let signed = server.introspection_response == IntrospectionResponse::Jwt;
    if server.validation != Validation::Introspection || signed {
        keys(http, server, &metadata, (settings.server.tls.as_ref(), report)).await;
    }
    if let Some(own) = &server.client
        && server.validation != Validation::Jwt
    {
        introspection(http, (server, own), &metadata, report).await;
    }
}

/// Where metadata is looked for.
fn metadata_urls(server: &AuthorizationServer) -> Vec<Url> {
    server.metadata_url.clone().map_or_else(|| metadata_addresses(&server.issuer), |url| vec![url])
}

/// DISC-21: the document of exactly this issuer.
async fn metadata(http: &Client, server: &AuthorizationServer, report: &mut Report) -> Map<String, Value> {
    let mut answered = Vec::new();
    for url in metadata_urls(server) {
        let answer = match ask(http.get(url.clone()).header(ACCEPT, "application/json")).await {
            Ok(answer) => answer,
            Err(problem) => {
                answered.push(format!("{url}: {problem}"));
                continue;
            }
        };
        skew(&answer, server.clock_skew, report);
        let Value::Object(document) = answer.json() else {
            answered.push(format!("{url}: status {}, no JSON object", answer.status));
            continue;
        };
        match document.get("issuer").and_then(Value::as_str) {
            Some(issuer) if answer.status == 200 && issuer == server.issuer => {
                report.fits(format_args!("metadata at {url}"));
                return document;
            }
            Some(issuer) if answer.status == 200 => {
                report.misfit(format_args!(
                    "metadata at {url} is of issuer `{issuer}`: expected `{}`; write that issuer in the file, or mend \
                     the server's public address",
                    server.issuer
                ));
                return Map::new();
            }
            Some(_) | None => answered.push(format!("{url}: status {}", answer.status)),
        }
    }
    report.misfit(format_args!(
        "no metadata ({}); set `metadata_url`, or mend the way to the server",
        answered.join("; ")
    ));
    Map::new()
}

#[expect(clippy::disallowed_methods, reason = "the clock is what is compared")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn skew(answer: &Answer, tolerated: Duration, report: &mut Report) {
    let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
    let ours = now();
    let apart = ours.duration_since(theirs).unwrap_or_else(|error| error.duration());
    // `Date` has whole seconds.
    if apart > tolerated + Duration::from_secs(1) {
        report.misfit(format_args!(
            "its clock and ours are {}s apart: `clock_skew` tolerates {}s; synchronise both with one time server",
            apart.as_secs(),
            tolerated.as_secs()
        ));
    }
}

fn words<'a>(metadata: &'a Map<String, Value>, member: &str) -> Option<Vec<&'a str>> {
    Some(metadata.get(member)?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// What apps will read in the discovery document, `[discovery]` included (DISC-4 … DISC-8).
fn published(metadata: &Map<String, Value>, settings: &Settings, report: &mut Report) {
    if metadata.is_empty() {
        return;
    }
    let mut document = metadata.clone();
    document.extend(settings.discovery.clone());
    if !document.get("token_endpoint").is_some_and(Value::is_string) {
        report.misfit("no `token_endpoint` (DISC-4); set it under `[discovery]`");
    }
    let capabilities = words(&document, "capabilities").unwrap_or_default();
    let launches = capabilities.iter().any(|name| name.starts_with("launch-"));
    if (launches || settings.profile == Profile::Isik)
        && !document.get("authorization_endpoint").is_some_and(Value::is_string)
    {
        report.misfit("no `authorization_endpoint` (DISC-5); set it under `[discovery]`");
    }
    match words(&document, "code_challenge_methods_supported") {
        Some(methods) if !methods.contains(&"S256") => {
            report.misfit("PKCE by `S256` is not offered (DISC-8); switch it on at the server");
        }
        Some(methods) if methods.contains(&"plain") => report.note(
            "PKCE `plain` is offered beside `S256`; the gateway does not publish it, switch it off at the server too",
        ),
        Some(_) => report.fits("PKCE by S256"),
        None => report.misfit(
            "it does not say which PKCE methods it offers (DISC-8); switch `S256` on, or set \
             `code_challenge_methods_supported = [\"S256\"]` under `[discovery]`",
        ),
    }
}

/// TOK-21, TOK-30: there is a key for the algorithms that are allowed.
async fn keys(
    http: &Client,
    server: &AuthorizationServer,
    metadata: &Map<String, Value>,
    (tls, report): (Option<&ServerTls>, &mut Report),
) {
    let told = metadata.get("jwks_uri").and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
    let Some(url) = server.jwks_url.clone().or(told) else {
        return report.misfit("no `jwks_uri` in the metadata; set `jwks_url`");
    };
    let answer = match ask(http.get(url.clone()).header(ACCEPT, "application/json")).await {
        Ok(answer) => answer,
        Err(problem) => {
            return report.misfit(format_args!("keys at {url}: {problem}; mend `jwks_url` or the way there"));
        }
    };
    let document = answer.json();
    let Some(keys) = document.get("keys").and_then(Value::as_array).filter(|_| answer.status == 200) else {
        let status = answer.status;
        return report.misfit(format_args!("keys at {url}: status {status}, no key set; mend `jwks_url`"));
    };
    let usable = |algorithm: &Algorithm| keys.iter().any(|key| fits(key, *algorithm));
    let served: Vec<String> =
        server.algorithms.iter().filter(|algorithm| usable(algorithm)).map(|a| format!("{a:?}")).collect();
    if served.is_empty() {
        report.misfit(format_args!(
            "none of the {} keys at {url} serves one of the allowed algorithms {:?}; change `algorithms`, or the \
             server's keys (RSA from 2048 bits)",
            keys.len(),
            server.algorithms
        ));
    } else {
        report.fits(format_args!("keys for {}", served.join(", ")));
    }
    if tls.is_some_and(|tls| tls.suites == TlsSuites::BsiTr021022) {
        short_keys(keys, report);
    }
}

/// TOK-30: BSI TR-02102-1 wants 3000 bits of RSA.
fn short_keys(keys: &[Value], report: &mut Report) {
    let member =
        |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // Base64url without padding: 3000 bits are 500 characters.
    let short = |key: &&Value| member(key, "kty") == "RSA" && member(key, "n").len() < 500;
    let names: Vec<String> =
        keys.iter().filter(short).map(|key| Quoted::new(&member(key, "kid")).to_string()).collect();
    if !names.is_empty() {
        report.note(format_args!(
            "RSA keys of fewer than 3000 bits (`{}`): BSI TR-02102-1 wants 3000; replace them at the server",
            names.join("`, `")
        ));
    }
}

/// Whether a JSON Web Key can verify this algorithm (RFC 7517, RFC 7518 §3.1).
fn fits(key: &Value, algorithm: Algorithm) -> bool {
    let member = |name: &str| key.get(name).and_then(Value::as_str);
    let name = format!("{algorithm:?}");
    let signs =
        member("use").is_none_or(|usage| usage == "sig") && member("alg").is_none_or(|alg| alg == name);
    // Base64url without padding: 2048 bits are 342 characters.
    let long = || member("n").is_some_and(|modulus| modulus.len() >= 342);
    signs
        && match algorithm {
            Algorithm::ES256 => member("kty") == Some("EC") && member("crv") == Some("P-256"),
            Algorithm::ES384 => member("kty") == Some("EC") && member("crv") == Some("P-384"),
            Algorithm::EdDSA => member("kty") == Some("OKP") && member("crv") == Some("Ed25519"),
            Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512
            | Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512 => member("kty") == Some("RSA") && long(),
            // HMAC; and the enum is open: what a later library adds is not on the allow-list either.
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IssuerClient;
    use crate::config::tests::{settings, settings_of};
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Both servers in one, at a port of its own: the answers by the beginning of the request line.
    async fn double(routes: Vec<(String, Value)>) -> (u16, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let answering = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                let mut piece = [0; 4096];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut piece).await {
                        Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
                        _ => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let body = routes.iter().find(|(start, _)| head.starts_with(start.as_str()));
                let (status, body) = body.map_or((404, String::new()), |(_, body)| {
                    (200, body.to_string().replace("PORT", &port.to_string()))
                });
                let date = httpdate::fmt_http_date(now());
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ndate: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    date,
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        (port, tokio::spawn(answering))
    }

    /// Everything as it should be.
    fn good() -> Vec<(String, Value)> {
        let bundle = |ids: &[&str]| {
            let entries: Vec<_> =
                ids.iter().map(|id| json!({"resource": {"resourceType": "Patient", "id": id}})).collect();
            json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
        };
        let metadata = json!({
            "issuer": "http://127.0.0.1:PORT", "token_endpoint": "http://127.0.0.1:PORT/token",
            "jwks_uri": "http://127.0.0.1:PORT/jwks", "introspection_endpoint": "http://127.0.0.1:PORT/introspect",
            "code_challenge_methods_supported": ["S256"]
        });
        let statement =
            json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "format": ["json", "xml"]});
        [
            ("GET /.well-known/oauth-authorization-server ", metadata),
            ("GET /jwks ", json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]})),
            ("POST /introspect ", json!({"active": false})),
            ("GET /fhir/metadata ", statement),
            ("GET /fhir/Patient?_count=1 ", bundle(&["a"])),
            ("GET /fhir/Patient?_id=", bundle(&[])),
            (
                "GET /fhir/Patient/a ",
                json!({"resourceType": "Patient", "id": "a", "meta": {"versionId": "1"}}),
            ),
            ("GET /fhir/", bundle(&[])),
        ]
        .map(|(start, body)| (start.to_owned(), body))
        .into()
    }

    async fn said(routes: Vec<(String, Value)>) -> (Outcome, String) {
        let (port, answering) = double(routes).await;
        let mut settings = settings_of(&format!(
            "[server]\npublic_url = \"http://127.0.0.1/fhir\"\ninsecure_http = true\n\
             [backend]\nurl = \"http://127.0.0.1:{port}/fhir\"\n\
             [[authorization_server]]\nissuer = \"http://127.0.0.1:{port}\"\n"
        ));
        let server = settings.authorization_servers.first_mut().expect("one");
        server.validation = Validation::Both;
        let auth =
            crate::config::IssuerClientAuth::SecretBasic(crate::config::Secret::new("s3cret".to_owned()));
        server.client = Some(IssuerClient { id: "pforte".to_owned(), auth });
        let mut out = Vec::new();
        let outcome = online(&settings, &mut out).await.expect("written");
        answering.abort();
        (outcome, String::from_utf8(out).expect("text"))
    }

    /// Each question has an answer that fits and a neighbour that does not.
    #[tokio::test]
    async fn what_does_not_fit_is_said_with_the_mend() {
        let (outcome, text) = said(good()).await;
        assert_eq!(outcome, Outcome::Fits, "{text}");
        let of_others = json!({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "a"}}]});
        let table = [
            ("GET /.well-known/oauth", json!({"issuer": "http://other"}), "is of issuer `http://other`"),
            ("GET /.well-known/oauth", json!({}), "no metadata"),
            ("GET /jwks ", json!({"keys": [{"kty": "oct"}]}), "none of the 1 keys"),
            ("GET /jwks ", json!({}), "no key set"),
            ("POST /introspect ", json!({"active": true}), "calls a token active"),
            ("POST /introspect ", json!({"active": "false"}), "without `active`"),
            ("GET /fhir/metadata ", json!({"resourceType": "OperationOutcome"}), "no CapabilityStatement"),
            (
                "GET /fhir/metadata ",
                json!({"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0", "format": ["json"]}),
                "serves FHIR `5.0.0`",
            ),
            ("GET /fhir/Patient?_id=", of_others, "does not AND repeated parameters"),
        ];
        for (start, body, expected) in table {
            let mut routes = good();
            let route = routes.iter_mut().find(|(route, _)| route.starts_with(start)).expect("a route");
            route.1 = body;
            let (outcome, text) = said(routes).await;
            assert_eq!(outcome, Outcome::Misfits, "{start}: {text}");
            assert!(text.contains(expected), "{expected} is not in: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    /// DISC-8: `plain` is told of, and its absence of `S256` is to mend.
    #[test]
    fn pkce_methods() {
        let table = [
            (json!(["S256"]), 0),
            (json!(["S256", "plain"]), 0),
            (json!(["plain"]), 1),
            (json!([]), 1),
            (json!(null), 1),
        ];
        for (methods, misfits) in table {
            let document = json!({"token_endpoint": "https://as.example/token", "code_challenge_methods_supported": methods});
            let mut report = Report::default();
            published(document.as_object().expect("an object"), &settings(""), &mut report);
            assert_eq!(report.misfits(), misfits, "{methods}: {report:?}");
        }
    }

    /// RFC 8414 §3.1, OpenID Connect Discovery §4.
    #[test]
    fn metadata_is_looked_for_before_and_behind_the_path() {
        let server = settings("").authorization_servers.remove(0);
        let urls: Vec<String> = metadata_urls(&server).iter().map(ToString::to_string).collect();
        assert_eq!(
            urls,
            [
                "https://as.example/.well-known/oauth-authorization-server/realms/ward",
                "https://as.example/realms/ward/.well-known/openid-configuration",
            ]
        );
    }

    /// TOK-30.
    #[test]
    fn short_keys_are_noted() {
        let table = [(500, 0), (499, 1), (342, 1)];
        for (characters, notes) in table {
            let key = json!({"kty": "RSA", "kid": "k\n1", "n": "A".repeat(characters)});
            let mut report = Report::default();
            short_keys(&[key, json!({"kty": "EC", "crv": "P-256"})], &mut report);
            let text = format!("{report:?}");
            assert_eq!(text.matches("fewer than 3000").count(), notes, "{text}");
            assert_eq!(report.misfits(), 0);
        }
    }

    /// TOK-21, TOK-30.
    #[test]
    fn keys_serve_algorithms() {
        let long = "A".repeat(342);
        let short = "A".repeat(171);
        let table = [
            (json!({"kty": "EC", "crv": "P-256"}), Algorithm::ES256, true),
            (json!({"kty": "EC", "crv": "P-256", "use": "enc"}), Algorithm::ES256, false),
            (json!({"kty": "EC", "crv": "P-384"}), Algorithm::ES256, false),
            (json!({"kty": "EC", "crv": "P-256", "alg": "ES384"}), Algorithm::ES256, false),
            (json!({"kty": "RSA", "n": long}), Algorithm::RS256, true),
            (json!({"kty": "RSA", "n": long, "alg": "PS256"}), Algorithm::RS256, false),
            (json!({"kty": "RSA", "n": short}), Algorithm::RS256, false),
            (json!({"kty": "oct", "k": "AAAA"}), Algorithm::HS256, false),
            (json!({"kty": "OKP", "crv": "Ed25519"}), Algorithm::EdDSA, true),
            (json!({"kty": "OKP", "crv": "X25519"}), Algorithm::EdDSA, false),
        ];
        for (key, algorithm, expected) in table {
            assert_eq!(fits(&key, algorithm), expected, "{key} {algorithm:?}");
        }
    }
}
