//! A client over TLS that trusts the gateway's certificate and nothing else. What holds for every answer is looked at
//! here, once for all tests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::{Answer, Findings};

/// Longest wait for any answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was sent and came back, to be held against log and audit spool.
#[derive(Default)]
struct Seen {
    tokens: BTreeSet<String>,
    requests: Vec<(String, String)>,
}

/// The client of one gateway.
#[derive(Clone)]
pub struct Client {
    /// What carries the requests.
    pub http: reqwest::Client,
    base: String,
    origin: String,
    never: Arc<Vec<String>>,
    seen: Arc<Mutex<Seen>>,
    findings: Findings,
}

impl Client {
    /// A client for this public base at this address; `never` is what no answer may have in it.
    pub fn new(base: &str, at: SocketAddr, certificate: &str, never: &[&str], findings: &Findings) -> Self {
        Self {
            http: Self::transport(base, at, certificate, None),
            base: base.to_owned(),
            origin: base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
            never: Arc::new(never.iter().map(|text| (*text).to_owned()).collect()),
            seen: Arc::default(),
            findings: findings.clone(),
        }
    }

    /// Connections to this address that trust this certificate only, and show one of their own: certificate and key, PEM.
    pub fn transport(base: &str, at: SocketAddr, certificate: &str, own: Option<&str>) -> reqwest::Client {
        let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
        let host = base.split('/').nth(2).and_then(|authority| authority.split(':').next()).expect("a host");
        let mut http = reqwest::Client::builder()
            .tls_certs_only([certificate])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve(host, at)
            .timeout(PATIENCE);
        if let Some(own) = own {
            http = http
                .identity(reqwest::Identity::from_pem(own.as_bytes()).expect("a certificate and its key"));
        }
        http.build().expect("a client")
    }

    /// The public base.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request relative to the base; `?…` for the base itself with a query, an absolute URL as it stands, and a
    /// target that begins with a slash below the origin.
    pub fn ask(&self, method: &str, target: &str) -> Ask {
        let url = match target {
            "" => self.base.clone(),
            target if target.starts_with("https://") => target.to_owned(),
            target if target.starts_with('/') => format!("{}{target}", self.origin),
            target if target.starts_with('?') => format!("{}{target}", self.base),
            target => format!("{}/{target}", self.base),
        };
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = format!("{method} {target}");
        Ask { client: self.clone(), request, url, method, headers: HeaderMap::new(), body: None }
    }

    /// `GET` with a token.
    pub async fn read(&self, target: &str, token: &str) -> Answer {
        self.ask("GET", target).bearer(token).send().await
    }

    /// Every token that was sent.
    pub fn tokens(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tokens.iter().cloned().collect()
    }

    /// Request and request id of every answer, public documents and preflights aside.
    pub fn requests(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    fn note(&self, answer: &Answer, method: &Method, url: &str) {
        let public = url.contains("/.well-known/") || url.contains("/metadata") || *method == Method::OPTIONS;
        let id = answer.field("x-request-id").to_owned();
        if !public && answer.status != 0 {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.requests.push((answer.request.clone(), id));
        }
        if answer.status != 0 && *method != Method::OPTIONS {
            self.every_answer(answer);
        }
    }

    /// HTTP-13, HTTP-18, HTTP-19, RESP-6.
    fn every_answer(&self, answer: &Answer) {
        answer.has("x-content-type-options", "nosniff").has("x-request-id", "");
        answer.has("strict-transport-security", "max-age=").has("referrer-policy", "no-referrer");
        answer.without("set-cookie").without("server").without("x-powered-by").without("x-demo");
        for text in self.never.iter() {
            answer.lacks(text);
            let field = answer
                .headers
                .iter()
                .find(|(_, value)| String::from_utf8_lossy(value.as_bytes()).contains(text.as_str()));
            if let Some((name, _)) = field {
                answer.wrong(&format!("no `{text}` in the header field `{name}`"));
            }
        }
    }
}

/// A request in the making.
pub struct Ask {
    client: Client,
    request: String,
    url: String,
    method: Method,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Ask {
    /// With this token.
    pub fn bearer(self, token: &str) -> Self {
        self.token("Bearer", token)
    }

    /// With this token, under this scheme.
    pub fn token(self, scheme: &str, token: &str) -> Self {
        let mut seen = self.client.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.tokens.insert(token.to_owned());
        drop(seen);
        self.field("authorization", &format!("{scheme} {token}"))
    }

    /// Shows this beside the request in findings.
    pub fn with(mut self, words: &str) -> Self {
        self.request = format!("{} [{words}]", self.request);
        self
    }

    /// With one more header field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let name = http::HeaderName::try_from(name).expect("a field name");
        self.headers.append(name, value.try_into().expect("a field value"));
        self
    }

    /// With this body of this media type.
    pub fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.field("content-type", media)
    }

    /// With this resource as JSON.
    pub fn json(self, resource: &Value) -> Self {
        self.body("application/fhir+json", resource.to_string())
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self) -> Answer {
        let Self { client, request, url, method, headers, body } = self;
        let mut sent = client.http.request(method.clone(), &url).headers(headers);
        if let Some(body) = body {
            sent = sent.body(body);
        }
        let nothing = Answer {
            request,
            status: 0,
            headers: HeaderMap::new(),
            body: Vec::new(),
            broken: None,
            findings: client.findings.clone(),
        };
        let mut response = match sent.send().await {
            Ok(response) => response,
            Err(error) => return Answer { broken: Some(format!("{error:?}")), ..nothing },
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = Answer { status, headers, ..nothing };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    answer.broken = Some(format!("{error:?}"));
                    break;
                }
            }
        }
        client.note(&answer, &method, &url);
        answer
    }
}
