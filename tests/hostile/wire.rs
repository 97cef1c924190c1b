//! Requests as they are written in a case: HTTP/1.1 byte by byte, HTTP/2 by a client that mends nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::case::Asked;
use crate::house::{HOST, House};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What came back; status 0 when the connection was closed or the stream reset without an answer.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Sends a request; nothing when it cannot be written in this protocol.
pub async fn send(house: &House, asked: &Asked, protocol: Protocol) -> Option<Answer> {
    let answer = match protocol {
        Protocol::Http1 => Some(http1(house, asked).await),
        Protocol::Http2 => http2(house, asked).await,
    };
    if let Some(answer) = &answer
        && let Some(id) = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok())
        && asked.is_audited()
    {
        house.answered.lock().expect("no panic").push((asked.words.clone(), id.to_owned()));
    }
    answer
}

async fn connect(house: &House, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_slice(house.gateway.certificate().as_bytes()).expect("a certificate");
    roots.add(certificate).expect("a trust anchor");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(house.address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let name = ServerName::try_from(HOST).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
}

async fn http1(house: &House, asked: &Asked) -> Answer {
    let mut head = format!("{} {} HTTP/1.1\r\n", asked.method, asked.target).into_bytes();
    for (name, value) in &asked.headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    let has = |wanted: &str| asked.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !has("host") {
        head.extend_from_slice(format!("Host: {}\r\n", house.authority()).as_bytes());
    }
    if !has("connection") {
        head.extend_from_slice(b"Connection: close\r\n");
    }
    let chunked = has("transfer-encoding");
    if let Some(body) = asked.body.as_ref().filter(|_| !chunked) {
        head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    let mut stream = connect(house, b"http/1.1").await;
    // The gateway may answer and close before it has everything.
    drop(stream.write_all(&head).await);
    if let Some(body) = &asked.body {
        let framed = if chunked {
            [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
        } else {
            body.to_vec()
        };
        drop(stream.write_all(&framed).await);
    }
    drop(stream.flush().await);
    let mut all = Vec::new();
    let mut piece = [0; 16 * 1024];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await {
        all.extend_from_slice(&piece[..count]);
    }
    parsed(&all)
}

/// The last answer's head that is not informational, and everything after it.
fn parsed(bytes: &[u8]) -> Answer {
    let mut rest = bytes;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(rest) else { return Answer::default() };
        let status = head.code.unwrap_or_default();
        if (100..200).contains(&status) {
            rest = &rest[length..];
            continue;
        }
        let mut headers = HeaderMap::new();
        for field in head.headers.iter() {
            let name = HeaderName::try_from(field.name).expect("a field name");
            headers.append(name, HeaderValue::from_bytes(field.value).expect("a field value"));
        }
        let body = &rest[length..];
        let chunked = headers.get("transfer-encoding").is_some();
        let body = if chunked { dechunked(body) } else { body.to_vec() };
        return Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() };
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok(httparse::Status::Complete((at, size @ 1..))) = httparse::parse_chunk_size(bytes) {
        let size = usize::try_from(size).expect("a size");
        let end = (at + size).min(bytes.len());
        out.extend_from_slice(&bytes[at..end]);
        bytes = bytes.get(end + 2..).unwrap_or_default();
    }
    out
}

async fn http2(house: &House, asked: &Asked) -> Option<Answer> {
    let url = format!("https://{}{}", house.authority(), asked.target);
    let mut request = Request::builder().method(asked.method.as_str()).uri(url);
    for (name, value) in &asked.headers {
        request =
            request.header(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    let body = Bytes::from(asked.body.clone().unwrap_or_default());
    let request = request.body(Full::new(body)).ok()?;
    let stream = TokioIo::new(connect(house, b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let answered = tokio::time::timeout(PATIENCE, async {
        let response = sender.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
    });
    let answer = answered.await.ok().flatten().unwrap_or_default();
    driver.abort();
    Some(answer)
}
