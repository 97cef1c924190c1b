//! A backend that does what it is told, by whomever, and answers every search with all it has of the type.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fixture;

/// A request that reached it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
}

/// What it says next, whatever it is asked.
#[derive(Debug, Clone)]
pub struct Canned {
    pub status: u16,
    pub media: &'static str,
    pub fields: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Canned {
    /// A resource or a bundle, as JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, media: "application/fhir+json", fields: Vec::new(), body: body.to_string().into() }
    }
}

#[derive(Default)]
struct State {
    log: Vec<Seen>,
    canned: Option<Canned>,
}

/// The running backend; it ends with the test.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Backend {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let kept = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&kept);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, Arc::clone(&state), address));
                    // A connection that ends is none of the test's business.
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(socket), service)
                            .await,
                    );
                });
            }
        });
        Self { address, state }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }

    pub fn forget(&self) {
        self.say(None);
    }

    /// Forgets what it saw, and says this until it is told otherwise.
    pub fn say(&self, canned: Option<Canned>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.log.clear();
        state.canned = canned;
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    address: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let target = head.uri.to_string();
    let head_accept =
        head.headers.get("accept").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let seen = Seen { method: head.method.to_string(), target: target.clone(), headers: head.headers };
    let canned = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.log.push(seen);
        state.canned.clone()
    };
    if let Some(canned) = canned {
        let mut response = Response::builder().status(canned.status).header("content-type", canned.media);
        for (name, value) in &canned.fields {
            response = response.header(*name, value);
        }
        return Ok(response.body(Full::new(canned.body)).expect("a response"));
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let wants = |name: &str| seen_xml(&target, name, &head_accept);
    if target.contains("/metadata") && wants("xml") {
        let xml = "<CapabilityStatement xmlns=\"http://hl7.org/fhir\"><status value=\"active\"/><date value=\"2024-01-01\"/><kind value=\"instance\"/>\
            <implementation><description value=\"backend\"/><url value=\"http://upstream.internal/fhir\"/></implementation>\
            <fhirVersion value=\"4.0.1\"/><format value=\"xml\"/><rest><mode value=\"server\"/></rest></CapabilityStatement>";
        let response = Response::builder().header("content-type", "application/fhir+xml");
        return Ok(response.body(Full::new(xml.into())).expect("a response"));
    }
    let (status, value) = act(head.method.as_str(), &target, &body, address);
    let mut response = Response::builder()
        .status(status)
        .header("server", "upstream.internal")
        .header("x-powered-by", "upstream.internal");
    if let Some(id) = value["id"].as_str().filter(|_| status == 201) {
        let kind = value["resourceType"].as_str().unwrap_or_default();
        response = response.header("location", format!("http://{address}/fhir/{kind}/{id}/_history/1"));
    }
    let text = if value.is_null() { String::new() } else { value.to_string() };
    let response =
        response.header("content-type", "application/fhir+json;charset=UTF-8").header("etag", "W/\"1\"");
    Ok(response.body(Full::new(text.into())).expect("a response"))
}

fn seen_xml(target: &str, name: &str, accept: &str) -> bool {
    target.split_once('?').is_some_and(|(_, query)| query.contains(name)) || accept.contains(name)
}

fn act(method: &str, target: &str, body: &[u8], address: SocketAddr) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let parts: Vec<&str> =
        path.trim_start_matches("/fhir").split('/').filter(|part| !part.is_empty()).collect();
    let stored = |kind: &str, id: &str| {
        fixture::all().into_iter().find(|it| it["resourceType"] == kind && it["id"] == id)
    };
    match (method, parts.as_slice()) {
        ("GET" | "HEAD", ["metadata"]) => (
            200,
            json!({
                "resourceType": "CapabilityStatement", "status": "active", "date": "2024-01-01", "kind": "instance", "fhirVersion": "4.0.1",
                "format": ["json"], "implementation": {"description": "backend", "url": format!("http://{address}/fhir")},
                "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}, {"code": "search-type"}]}]}],
            }),
        ),
        ("GET" | "HEAD", [kind, id]) if !id.starts_with(['_', '$']) => match stored(kind, id) {
            Some(it) => (200, it),
            None if *id == "deleted2" => (410, outcome("deleted")),
            None => (404, outcome("not-found")),
        },
        ("GET" | "HEAD", [kind, id, "_history", _]) => {
            stored(kind, id).map_or_else(|| (404, outcome("not-found")), |it| (200, it))
        }
        ("GET", [kind, id, "_history"]) => (200, versions(Some((kind, id)))),
        ("GET", ["_history"] | [_, "_history"]) => (200, versions(None)),
        ("GET", [_, _, kind]) | ("POST", [_, _, kind, "_search"]) if !kind.starts_with('$') => {
            (200, searchset(kind, address))
        }
        ("GET", [kind]) | ("POST", [kind, "_search"]) if !kind.starts_with(['$', '_']) => {
            (200, searchset(kind, address))
        }
        ("POST", []) => (200, batch(&sent, address)),
        ("POST", [kind]) if !kind.starts_with(['$', '_']) => {
            let mut made = sent;
            made["id"] = "new1".into();
            (201, made)
        }
        ("PUT", [_, _]) => (200, sent),
        ("PATCH", [kind, id]) => stored(kind, id).map_or_else(|| (404, outcome("not-found")), |it| (200, it)),
        ("DELETE", _) => (204, Value::Null),
        _ if query.contains("_getpages") || method == "GET" || method == "POST" => {
            (200, searchset("*", address))
        }
        _ => (405, outcome("not-supported")),
    }
}

fn outcome(code: &str) -> Value {
    let words = format!("{} of {} at upstream.internal", code, fixture::VICTIM);
    json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": words}]})
}

fn searchset(kind: &str, address: SocketAddr) -> Value {
    let entry = |it: Value| {
        let kind_of = it["resourceType"].as_str().unwrap_or_default().to_owned();
        let mode = if kind == "*" || kind_of == kind { "match" } else { "include" };
        let url = format!("http://{address}/fhir/{kind_of}/{}", it["id"].as_str().unwrap_or_default());
        json!({"fullUrl": url, "resource": it, "search": {"mode": mode}})
    };
    // All of the type, and both patients beside.
    let all = fixture::all()
        .into_iter()
        .filter(|it| kind == "*" || it["resourceType"] == kind || it["resourceType"] == "Patient");
    let entries: Vec<Value> = all.map(entry).collect();
    let next = format!(
        "http://{address}/fhir?_getpages=11111111-2222-3333-4444-555555555555&_getpagesoffset=20&_count=20&_bundletype=searchset"
    );
    json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len(), "link": [{"relation": "next", "url": next}], "entry": entries})
}

/// A version of each as it is, and one from when it was the victim's.
fn versions(of: Option<(&str, &str)>) -> Value {
    let fits = |it: &Value| of.is_none_or(|(kind, id)| it["resourceType"] == kind && it["id"] == id);
    let entry = |it: Value| {
        let url = format!(
            "{}/{}",
            it["resourceType"].as_str().unwrap_or_default(),
            it["id"].as_str().unwrap_or_default()
        );
        json!({"resource": it, "request": {"method": "PUT", "url": url}, "response": {"status": "200"}})
    };
    let both = fixture::all().into_iter().filter(fits).flat_map(|it| {
        let mut before = it.clone();
        if it.get("subject").is_some() {
            before["subject"] = json!({"reference": "Patient/p2"});
            before["code"] = json!({"text": fixture::VICTIM});
        }
        [entry(it), entry(before)]
    });
    json!({"resourceType": "Bundle", "type": "history", "entry": both.collect::<Vec<_>>()})
}

fn batch(sent: &Value, address: SocketAddr) -> Value {
    let entries = sent["entry"].as_array().cloned().unwrap_or_default();
    let answers = entries.iter().map(|entry| {
        let (method, url) = (
            entry["request"]["method"].as_str().unwrap_or_default(),
            entry["request"]["url"].as_str().unwrap_or_default(),
        );
        let body = entry["resource"].to_string();
        let (status, value) = act(method, &format!("/fhir/{url}"), body.as_bytes(), address);
        let mut answer = json!({"response": {"status": status.to_string()}});
        if !value.is_null() {
            answer["resource"] = value;
        }
        answer
    });
    let kind = if sent["type"] == "transaction" { "transaction-response" } else { "batch-response" };
    json!({"resourceType": "Bundle", "type": kind, "entry": answers.collect::<Vec<_>>()})
}
