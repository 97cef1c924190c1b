//! The listener over real sockets and real TLS.

mod certificates;
mod clients;
#[path = "../../tests/support/ocsp.rs"]
mod ocsp;
mod profiles;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;
use crate::config::{ClientCertificates, Limits, ServerTls, TlsSuites};

/// Longest any step may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers with what it saw. `/fhir/wait` answers when told to, `/fhir/thread` with who serves, `/fhir/big` with much.
struct Double {
    events: mpsc::UnboundedSender<&'static str>,
    go: Notify,
}

impl Service for Double {
    type Body = Full<Bytes>;

    async fn serve(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
        _now: jiff::Timestamp,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let text = match head.uri.path() {
            "/fhir/wait" => {
                let _sent = self.events.send("begun");
                self.go.notified().await;
                let _sent = self.events.send("done");
                "waited".to_owned()
            }
            "/fhir/thread" => std::thread::current().name().unwrap_or_default().to_owned(),
            "/fhir/big" => "x".repeat(16 * 1024 * 1024),
            "/fhir/who" => {
                let tls = connection.tls.clone();
                let certificate = tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
                let thumbprint = tls.as_ref().and_then(|tls| tls.client_certificate_sha256);
                let fits = certificate.map(|der| digest(&SHA256, der)).as_ref().map(|it| it.as_ref())
                    == thumbprint.as_ref().map(|it| it.as_slice());
                assert!(fits, "the thumbprint is another certificate's");
                format!(
                    "{:?} {} {:?} cert={}",
                    connection.protocol,
                    tls.as_ref().map_or("", |tls| &tls.version),
                    tls.as_ref().and_then(|tls| tls.sni.as_deref()),
                    certificate.is_some()
                )
            }
            path => match body.collect().await {
                Ok(body) => {
                    format!("{} {path} {}", head.method, String::from_utf8_lossy(&body.to_bytes()))
                }
                Err(_broken) => {
                    let _sent = self.events.send("body broke");
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    return response;
                }
            },
        };
        Response::new(Full::from(text))
    }

    async fn refuse(
        &self,
        refusal: Refusal,
        _head: Option<Parts>,
        _connection: Arc<Connection>,
        _now: jiff::Timestamp,
    ) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(refusal.reason_id()));
        *response.status_mut() = refusal.status();
        response
    }
}

fn limits() -> Limits {
    Limits {
        header_bytes: 8192,
        target_bytes: 1024,
        body_bytes: 1 << 20,
        checked_answer_bytes: 1 << 20,
        bundle_entries: 10,
        connections: 100,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        requests_per_client: None,
        drain_timeout: PATIENCE,
        backend_requests: 10,
        backend_failures: 0,
        backend_pause: Duration::ZERO,
    }
}

/// A listener at work.
struct House {
    address: SocketAddr,
    service: Arc<Double>,
    events: mpsc::UnboundedReceiver<&'static str>,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<Drained>,
}

impl House {
    fn open(limits: Limits, tls: Option<Arc<CertificateStore>>) -> Self {
        Self::with(limits, tls, NonZeroUsize::new(2).unwrap())
    }

    fn with(limits: Limits, tls: Option<Arc<CertificateStore>>, workers: NonZeroUsize) -> Self {
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let public = Url::parse("https://gw.test/fhir").unwrap();
        let bounds = Bounds { target: limits.target_bytes, fields: limits.header_bytes };
        let rules = Rules::new(&public, vec![address.port()], bounds);
        let (events, seen) = mpsc::unbounded_channel();
        let service = Arc::new(Double { events, go: Notify::new() });
        let shutdown = CancellationToken::new();
        let metrics = crate::telemetry::Metrics::new();
        let options = Options { rules, limits, tls, metrics, workers };
        let serving = serve(listeners, options, Arc::clone(&service), shutdown.clone());
        let ended = tokio::spawn(async { serving.await.unwrap() });
        Self { address, service, events: seen, shutdown, ended }
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn tls(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("gw.test").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.plain().await).await
    }

    async fn event(&mut self) -> &'static str {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }
}

/// All that comes until the server closes.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut seen = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut seen)).await;
    assert!(read.is_ok(), "still open after {:?}", String::from_utf8_lossy(&seen));
    String::from_utf8_lossy(&seen).into_owned()
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads until a text has come.
async fn until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "closed after {seen:?}");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\n\r\n")
}

const CLOSE: &str = "Host: gw.test\r\nConnection: close\r\n";

/// Sends bytes; the answers must be these, in order, and then the connection must end.
async fn exchange(table: Vec<(String, Vec<&str>)>) {
    let house = House::open(limits(), None);
    for (bytes, wanted) in table {
        let mut stream = house.plain().await;
        say(&mut stream, bytes.as_bytes()).await;
        let seen = to_end(&mut stream).await;
        let answers: Vec<String> = seen
            .split("HTTP/1.")
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (head, body) = part.split_once("\r\n\r\n").unwrap();
                format!("{}|{body}", head.split(' ').nth(1).unwrap())
            })
            .collect();
        assert_eq!(answers, wanted, "after {bytes:?}");
    }
}

/// The hostile class `h1-framing` as raw bytes.
#[tokio::test]
async fn raw_framing() {
    let last = format!("GET /fhir/b HTTP/1.1\r\n{CLOSE}\r\n");
    exchange(vec![
        (last.clone(), vec!["200|GET /fhir/b "]),
        (format!("{}{last}", get("/fhir/a")), vec!["200|GET /fhir/a ", "200|GET /fhir/b "]),
        (format!("\r\n{last}"), vec!["200|GET /fhir/b "]),
        (
            format!("POST /fhir/a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 3\r\n\r\nabc{last}"),
            vec!["200|POST /fhir/a abc", "200|GET /fhir/b "],
        ),
        (
            format!(
                "POST /fhir/a HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n1;x\r\nd\r\n0\r\nAuthorization: Bearer x\r\n\r\n{last}"
            ),
            vec!["200|POST /fhir/a abcd", "200|GET /fhir/b "],
        ),
        (
            format!("{}GET /fhir/b HTTP/1.1\r\nHost : gw.test\r\n\r\n{last}", get("/fhir/a")),
            vec!["200|GET /fhir/a ", "400|head_malformed"],
        ),
        (
            format!(
                "POST /fhir/a HTTP/1.1\r\n{CLOSE}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{last}"
            ),
            vec!["400|framing_ambiguous"],
        ),
        ("GET /fhir/Patient/p2\r\n".to_owned(), vec!["400|head_malformed"]),
    ])
    .await;
}

/// Heads that are well framed and still inadmissible, or too large.
#[tokio::test]
async fn raw_heads() {
    exchange(vec![
        ("GET /fhir HTTP/1.0\r\n\r\n".to_owned(), vec!["400|host_missing"]),
        ("GET /fhir HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned(), vec!["421|authority_foreign"]),
        ("get /fhir HTTP/1.1\r\nHost: gw.test\r\n\r\n".to_owned(), vec!["405|method_unknown"]),
        ("TRACE /fhir HTTP/1.1\r\nHost: gw.test\r\n\r\n".to_owned(), vec!["405|method_forbidden"]),
        (
            "CONNECT gw.test:443 HTTP/1.1\r\nHost: gw.test:443\r\n\r\n".to_owned(),
            vec!["405|method_forbidden"],
        ),
        (
            "GET /fhir HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                .to_owned(),
            vec!["400|upgrade_refused"],
        ),
        (format!("GET /{} HTTP/1.1\r\n{CLOSE}\r\n", "x".repeat(2000)), vec!["414|target_too_long"]),
        (
            format!("GET / HTTP/1.1\r\n{CLOSE}X-Big: {}\r\n\r\n", "x".repeat(5000)),
            vec!["431|headers_too_large"],
        ),
        (format!("GET / HTTP/1.1\r\n{CLOSE}{}\r\n", "X: y\r\n".repeat(300)), vec!["431|headers_too_large"]),
        (
            format!("POST /fhir/a HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n"),
            vec!["400|"],
        ),
    ])
    .await;
}

/// A self-signed certificate and its key, in a folder of its own.
struct Papers {
    folder: PathBuf,
    der: CertificateDer<'static>,
}

impl Papers {
    fn new(name: &str) -> Self {
        Self::of(name, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// With a key of another kind.
    fn of(name: &str, kind: &'static rcgen::SignatureAlgorithm) -> Self {
        let folder = std::env::temp_dir().join(format!("pforte-listener-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut papers = Self { folder, der: CertificateDer::from(Vec::new()) };
        papers.renew(kind);
        papers
    }

    fn renew(&mut self, kind: &'static rcgen::SignatureAlgorithm) {
        let key = KeyPair::generate_for(kind).unwrap();
        let certificate =
            CertificateParams::new(vec!["gw.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        self.write("server.pem", certificate.pem().as_bytes());
        self.write("server.key", key.serialize_pem().as_bytes());
        self.der = certificate.der().clone();
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn settings(&self) -> ServerTls {
        ServerTls {
            certificate: self.folder.join("server.pem"),
            key: self.folder.join("server.key"),
            client_certificates: ClientCertificates::Off,
            client_ca: None,
            client_crl: None,
            ocsp: None,
            suites: TlsSuites::Modern,
        }
    }

    fn store(&self) -> Arc<CertificateStore> {
        Arc::new(CertificateStore::open(self.settings()).unwrap())
    }

    fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_with(alpn, aws_lc_rs::default_provider(), rustls::ALL_VERSIONS)
    }

    fn client_with(
        &self,
        alpn: &[&str],
        provider: rustls::crypto::CryptoProvider,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        self.client_auth(alpn, provider, versions, None)
    }

    fn client_auth(
        &self,
        alpn: &[&str],
        provider: rustls::crypto::CryptoProvider,
        versions: &[&'static rustls::SupportedProtocolVersion],
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asks who it is over HTTP/1.1 bytes.
async fn who(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    say(stream, format!("GET /fhir/who HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).await;
    let seen = until(stream, "cert=").await;
    seen.split_once("\r\n\r\n").unwrap().1.to_owned()
}

const SHORT: Duration = Duration::from_millis(150);

/// HTTP-14: silence in the handshake, the head, and the body ends the connection.
#[tokio::test]
async fn slow_clients_are_closed() {
    let papers = Papers::new("slow");
    let short = Limits { header_timeout: SHORT, idle_timeout: SHORT, ..limits() };
    let secure = House::open(short.clone(), Some(papers.store()));
    assert_eq!(to_end(&mut secure.plain().await).await, "", "a silent handshake");
    let mut house = House::open(short, None);
    for start in ["", "GET /fhir HTTP/1.1\r\nHo", &get("/fhir/a")] {
        let mut stream = house.plain().await;
        say(&mut stream, start.as_bytes()).await;
        to_end(&mut stream).await;
    }
    let mut stream = house.plain().await;
    say(&mut stream, b"POST /fhir/a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n\r\nabc").await;
    assert_eq!(house.event().await, "body broke");
    to_end(&mut stream).await;
}

/// HTTP-14: a client that does not read is let go, over either protocol.
#[tokio::test]
async fn slow_readers_are_closed() {
    let papers = Papers::new("reader");
    let short = Limits { idle_timeout: SHORT, ..limits() };
    let house = House::open(short.clone(), None);
    let mut stream = house.plain().await;
    say(&mut stream, get("/fhir/big").as_bytes()).await;
    tokio::time::timeout(PATIENCE, async {
        // Its place among the connections comes back although it never reads.
        house.shutdown.cancel();
        house.ended.await.unwrap()
    })
    .await
    .unwrap();

    let house = House::open(short, Some(papers.store()));
    let stream = house.tls(papers.client(&["h2"])).await.unwrap();
    let (mut send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(driver);
    let request = Request::get("https://gw.test/fhir/big").body(Empty::<Bytes>::new()).unwrap();
    let unread = send.send_request(request).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, driving).await;
    assert!(closed.is_ok(), "a stream without window is kept for ever");
    drop(unread);
}

/// An HTTP/2 connection without requests is ended with GOAWAY.
#[tokio::test]
async fn idle_http2_is_closed() {
    let papers = Papers::new("idle");
    let house = House::open(Limits { idle_timeout: SHORT, ..limits() }, Some(papers.store()));
    let stream = house.tls(papers.client(&["h2"])).await.unwrap();
    let (_send, driver) = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(stream),
    )
    .await
    .unwrap();
    assert!(tokio::time::timeout(PATIENCE, driver).await.unwrap().is_ok());
}

/// HTTP-14: over the limit a client waits, and is served when a place is free.
#[tokio::test]
async fn connections_are_limited() {
    let mut house = House::open(Limits { connections: 1, ..limits() }, None);
    let mut first = house.plain().await;
    say(&mut first, get("/fhir/wait").as_bytes()).await;
    assert_eq!(house.event().await, "begun");
    let mut second = house.plain().await;
    say(&mut second, get("/fhir/wait").as_bytes()).await;
    assert!(house.events.try_recv().is_err());
    house.service.go.notify_one();
    assert_eq!(house.event().await, "done");
    until(&mut first, "waited").await;
    drop(first);
    assert_eq!(house.event().await, "begun");
    house.service.go.notify_one();
    until(&mut second, "waited").await;
}

/// HTTP-22: a request in flight is answered, idle connections go, nobody new is let in.
#[tokio::test]
async fn drain() {
    for secure in [false, true] {
        let papers = Papers::new(&format!("drain-{secure}"));
        let mut house = House::open(limits(), secure.then(|| papers.store()));
        let idle = house.plain().await;
        let answer = if secure {
            let stream = house.tls(papers.client(&["h2"])).await.unwrap();
            let (mut send, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            tokio::spawn(driver);
            let request = Request::get("https://gw.test/fhir/wait").body(Empty::<Bytes>::new()).unwrap();
            tokio::spawn(async move {
                let body = send.send_request(request).await.unwrap().into_body().collect().await.unwrap();
                String::from_utf8_lossy(&body.to_bytes()).into_owned()
            })
        } else {
            let mut stream = house.plain().await;
            say(&mut stream, get("/fhir/wait").as_bytes()).await;
            tokio::spawn(async move { to_end(&mut stream).await })
        };
        assert_eq!(house.event().await, "begun");
        house.shutdown.cancel();
        // The listening socket closes before the drain ends.
        let refused = async { while TcpStream::connect(house.address).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, refused).await.unwrap();
        assert!(!house.ended.is_finished());
        house.service.go.notify_one();
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert!(answer.ends_with("waited"), "{answer}");
        drop(idle);
        let ended = tokio::time::timeout(PATIENCE, house.ended).await.unwrap().unwrap();
        assert_eq!(ended, Drained::Complete);
    }
}

/// HTTP-22: what does not finish in time is cut off.
#[tokio::test]
async fn drain_is_bounded() {
    let mut house = House::open(Limits { drain_timeout: SHORT, ..limits() }, None);
    let mut stream = house.plain().await;
    say(&mut stream, get("/fhir/wait").as_bytes()).await;
    assert_eq!(house.event().await, "begun");
    house.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, house.ended).await.unwrap().unwrap();
    assert_eq!(ended, Drained::TimedOut);
    assert_eq!(to_end(&mut stream).await, "");
}

/// A client that hangs up cancels nothing that has begun.
#[tokio::test]
async fn hanging_up_cancels_nothing() {
    let mut house = House::open(limits(), None);
    let mut stream = house.plain().await;
    say(&mut stream, get("/fhir/wait").as_bytes()).await;
    assert_eq!(house.event().await, "begun");
    drop(stream);
    house.service.go.notify_one();
    assert_eq!(house.event().await, "done");
}

/// The same when its connection ends without a word, and the drain waits for it.
#[tokio::test]
async fn drain_waits_for_requests_without_a_client() {
    for secure in [false, true] {
        let papers = Papers::new(&format!("left-{secure}"));
        let mut house = House::open(limits(), secure.then(|| papers.store()));
        if secure {
            let stream = house.tls(papers.client(&["h2"])).await.unwrap();
            let (mut send, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            let driving = tokio::spawn(driver);
            let request = Request::get("https://gw.test/fhir/wait").body(Empty::<Bytes>::new()).unwrap();
            let waiting = tokio::spawn(send.send_request(request));
            assert_eq!(house.event().await, "begun");
            waiting.abort();
            driving.abort();
        } else {
            let mut stream = house.plain().await;
            say(&mut stream, get("/fhir/wait").as_bytes()).await;
            assert_eq!(house.event().await, "begun");
            drop(stream);
        }
        house.shutdown.cancel();
        assert!(tokio::time::timeout(SHORT, &mut house.ended).await.is_err(), "ended before the request");
        house.service.go.notify_one();
        assert_eq!(house.event().await, "done");
        let ended = tokio::time::timeout(PATIENCE, house.ended).await.unwrap().unwrap();
        assert_eq!(ended, Drained::Complete);
    }
}

/// Each worker gets its share of connections, all of them serve, and all of them drain.
#[tokio::test]
async fn every_worker_serves() {
    let mut house = House::with(limits(), None, NonZeroUsize::new(3).unwrap());
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = house.plain().await;
        say(&mut stream, get("/fhir/thread").as_bytes()).await;
        let seen = until(&mut stream, "worker-").await;
        streams.push((stream, seen.split_once("\r\n\r\n").unwrap().1.to_owned()));
    }
    let mut named: Vec<_> = streams.iter().map(|(_, named)| named.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["worker-0", "worker-0", "worker-1", "worker-1", "worker-2", "worker-2"]);
    for (stream, _) in &mut streams {
        say(stream, get("/fhir/wait").as_bytes()).await;
        assert_eq!(house.event().await, "begun");
    }
    house.shutdown.cancel();
    for _ in &streams {
        house.service.go.notify_one();
        assert_eq!(house.event().await, "done");
    }
    for (mut stream, _) in streams {
        assert!(to_end(&mut stream).await.ends_with("waited"));
    }
    let ended = tokio::time::timeout(PATIENCE, house.ended).await.unwrap().unwrap();
    assert_eq!(ended, Drained::Complete);
}

#[tokio::test]
async fn bind_errors_name_the_address() {
    let taken = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = taken[0].local_addr().unwrap();
    let error = bind(&[address]).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("server.listen"), "{error}");
}
