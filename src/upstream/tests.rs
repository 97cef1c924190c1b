//! The pool against backends that misbehave, each on a socket of its own (HTTP-15, HTTP-16).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::*;
use crate::config::{Backend, BackendCredentials, CompartmentSearch, IdentityHeaders};
use crate::fhir::FhirVersion;

const TIMEOUT: Duration = Duration::from_millis(200);

fn backend(url: &str, ca: Option<PathBuf>) -> Backend {
    Backend {
        url: Url::parse(url).unwrap(),
        fhir_version: FhirVersion::R4,
        credentials: BackendCredentials::None,
        ca,
        client_certificate: None,
        compartment_search: CompartmentSearch::Auto,
        timeout: TIMEOUT,
        identity_headers: IdentityHeaders::default(),
    }
}

fn pool(address: SocketAddr) -> Upstream {
    Upstream::new(&backend(&format!("http://{address}/fhir"), None), 10).unwrap()
}

async fn ask(
    pool: &Upstream,
    method: Method,
    target: &str,
) -> Result<http::Response<UpstreamBody>, UpstreamError> {
    pool.send(&client::Asked { method: &method, target, body: &Bytes::new(), fields: &HeaderMap::new }).await
}

/// What a double does with one request on a connection.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Says these bytes and keeps the connection.
    Say(&'static str),
    /// Says these bytes and closes.
    SayAndClose(&'static str),
    /// Says these bytes and then nothing.
    SayAndHang(&'static str),
}

/// A backend that acts by a script, one act a request, over all its connections; it counts and keeps what it was asked.
struct Double {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    heads: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Double {
    async fn play(script: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, heads) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let double = Self { address, asked: Arc::clone(&asked), heads: Arc::clone(&heads) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(act(stream, script, Arc::clone(&asked), Arc::clone(&heads)));
            }
        });
        double
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn act(
    mut stream: TcpStream,
    script: &'static [Act],
    asked: Arc<AtomicUsize>,
    heads: Arc<std::sync::Mutex<Vec<String>>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_closed) => return,
            }
        }
        heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
        let number = asked.fetch_add(1, Ordering::SeqCst);
        match script[number.min(script.len() - 1)] {
            Act::Say(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Act::SayAndClose(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                return;
            }
            Act::SayAndHang(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            }
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How a whole exchange ended, by name.
async fn outcome(pool: &Upstream, method: Method) -> String {
    let name = |error: UpstreamError| format!("{error:?}").split('(').next().unwrap_or_default().to_owned();
    match ask(pool, method, "/Patient/1").await {
        Err(error) => name(error),
        Ok(response) => match response.into_body().collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(error) => format!("body {}", name(error)),
        },
    }
}

/// HTTP-15 and the hostile class `fault`: each misbehaviour has a name.
#[tokio::test]
async fn misbehaving_backends() {
    let table: &[(&'static [Act], &str)] = &[
        (&[Act::Say(OK)], "ok"),
        (&[Act::SayAndHang("")], "Timeout"),
        (&[Act::SayAndHang("HTTP/1.1 200 OK\r\nContent-")], "Timeout"),
        (&[Act::SayAndHang("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")], "body Timeout"),
        (&[Act::SayAndClose("")], "Closed"),
        (&[Act::SayAndClose("garbage from the machine room\r\n\r\n")], "Garbage"),
        (&[Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")], "body Truncated"),
        (
            &[Act::SayAndClose("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")],
            "body Truncated",
        ),
        (
            &[Act::SayAndClose("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab")],
            "body Truncated",
        ),
        (
            &[Act::SayAndClose(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )],
            "ok",
        ),
    ];
    for (script, wanted) in table {
        let double = Double::play(script).await;
        assert_eq!(outcome(&pool(double.address), Method::POST).await, *wanted, "{script:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(outcome(&pool(free), Method::GET).await, "Refused");
}

/// HTTP-16: once more, and only for safe methods, and only before a byte of the answer.
#[tokio::test]
async fn retries() {
    const LATE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
    let table: &[(Method, &'static [Act], &str, usize)] = &[
        (Method::GET, &[Act::SayAndClose(""), Act::Say(OK)], "ok", 2),
        (Method::POST, &[Act::SayAndClose(""), Act::Say(OK)], "Closed", 1),
        (Method::PUT, &[Act::SayAndClose(""), Act::Say(OK)], "Closed", 1),
        (Method::GET, &[Act::SayAndClose(""), Act::SayAndClose(""), Act::Say(OK)], "Closed", 2),
        (Method::GET, &[Act::SayAndClose(LATE), Act::Say(OK)], "body Truncated", 1),
    ];
    for (method, script, wanted, times) in table {
        let double = Double::play(script).await;
        let seen = outcome(&pool(double.address), method.clone()).await;
        assert_eq!((seen.as_str(), double.asked()), (*wanted, *times), "{method} {script:?}");
    }
}

/// A connection that was closed while unused does not fail the next request.
#[tokio::test]
async fn connections_are_reused() {
    let double = Double::play(&[Act::Say(OK)]).await;
    let pool = pool(double.address);
    for _ in 0..3 {
        assert_eq!(outcome(&pool, Method::GET).await, "ok");
    }
    assert_eq!(double.asked(), 3);
}

/// HTTP-6, -8: a target stays below the base, byte for byte.
#[tokio::test]
async fn targets() {
    let double = Double::play(&[Act::Say(OK)]).await;
    let pool = pool(double.address);
    for (target, line) in [
        ("/Patient/1", "GET /fhir/Patient/1 HTTP/1.1"),
        ("/Patient?name=M%C3%BCller&a=b%7Cc", "GET /fhir/Patient?name=M%C3%BCller&a=b%7Cc HTTP/1.1"),
        ("/", "GET /fhir HTTP/1.1"),
        ("/?_type=Patient", "GET /fhir?_type=Patient HTTP/1.1"),
    ] {
        ask(&pool, Method::GET, target).await.unwrap();
        let heads = double.heads.lock().unwrap().clone();
        let head = heads.last().unwrap();
        assert!(head.starts_with(line), "{target}: {head}");
        assert!(head.contains(&format!("host: {}", double.address)), "{head}");
    }
    // What names a server is a path like any other.
    for (target, line) in [
        ("http://evil.test/fhir", "GET /fhir/http://evil.test/fhir HTTP/1.1"),
        ("//evil.test/fhir", "GET /fhir//evil.test/fhir HTTP/1.1"),
        ("@evil.test", "GET /fhir/@evil.test HTTP/1.1"),
    ] {
        ask(&pool, Method::GET, target).await.unwrap();
        let heads = double.heads.lock().unwrap().clone();
        assert!(heads.last().unwrap().starts_with(line), "{target}: {heads:?}");
    }
    let broken = ask(&pool, Method::GET, "/Patient/1 HTTP/1.1\r\nx: y").await;
    assert!(matches!(broken, Err(UpstreamError::Target(_))));
}

/// More than allowed do not wait; an answer's body keeps its place until it is dropped.
#[tokio::test]
async fn overload() {
    let double = Double::play(&[Act::Say(OK)]).await;
    let pool = Upstream::new(&backend(&format!("http://{}/fhir", double.address), None), 1).unwrap();
    let held = ask(&pool, Method::GET, "/Patient/1").await.unwrap();
    assert_eq!(outcome(&pool, Method::GET).await, "Overloaded");
    drop(held);
    assert_eq!(outcome(&pool, Method::GET).await, "ok");
}

/// TLS-8: verified by the extra anchor, never without, and no way back to plain HTTP.
#[tokio::test]
async fn tls() {
    let folder = std::env::temp_dir().join(format!("pforte-upstream-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = folder.join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                let _sent = stream.write_all(OK.as_bytes()).await;
            }
        }
    });
    let of = |host: &str, ca: Option<&PathBuf>| {
        Upstream::new(&backend(&format!("https://{host}:{port}/fhir"), ca.cloned()), 10).unwrap()
    };
    assert_eq!(outcome(&of("localhost", Some(&ca)), Method::GET).await, "ok");
    assert_eq!(outcome(&of("localhost", None), Method::GET).await, "Tls");
    assert_eq!(outcome(&of("127.0.0.1", Some(&ca)), Method::GET).await, "Tls", "the name is checked");
    let plain = Double::play(&[Act::SayAndClose(OK)]).await;
    let confused = Upstream::new(&backend(&format!("https://{}/fhir", plain.address), None), 10).unwrap();
    let seen = outcome(&confused, Method::GET).await;
    assert!(["Tls", "Connect", "Timeout"].contains(&seen.as_str()), "{seen}");

    std::fs::write(&ca, "nothing").unwrap();
    let broken = Upstream::new(&backend("https://localhost/fhir", Some(ca)), 10).unwrap_err().to_string();
    assert!(broken.contains("backend.ca"), "{broken}");
    let _gone = std::fs::remove_dir_all(folder);
}
