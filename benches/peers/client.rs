//! A client that costs little: it speaks just enough HTTP/1.1 over TLS 1.3 to tell one answer from the next. HTTP/2 is hyper's.
//!
//! It offers one cipher suite and one key exchange, so that all contestants do the same cryptography.

mod body;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::setting::HOST;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// One request, in the form that its protocol needs.
pub enum Ask {
    Http1(Bytes),
    Http2(Box<http::Request<Full<Bytes>>>),
}

/// A request in words.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// Path and query.
    pub target: &'a str,
    /// The media type asked for, and sent.
    pub media: &'a str,
    /// The value of `Authorization`.
    pub authorization: String,
    /// The proof that goes with a bound token.
    pub dpop: Option<String>,
    /// Sent with POST when there is one.
    pub body: Option<Bytes>,
}

impl Words<'_> {
    /// Ready to be sent.
    pub fn ask(&self, protocol: Protocol) -> Ask {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let mut fields = vec![("accept", self.media), ("authorization", &self.authorization)];
        if let Some(proof) = &self.dpop {
            fields.push(("dpop", proof));
        }
        if self.body.is_some() {
            fields.push(("content-type", self.media));
        }
        let body = self.body.clone().unwrap_or_default();
        match protocol {
            Protocol::Http1 => {
                let mut text = format!("{method} {} HTTP/1.1\r\nhost: {HOST}\r\n", self.target);
                for (name, value) in fields {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                if self.body.is_some() {
                    text.push_str(&format!("content-length: {}\r\n", body.len()));
                }
                text.push_str("\r\n");
                Ask::Http1([text.into_bytes(), body.to_vec()].concat().into())
            }
            Protocol::Http2 => {
                let request = http::Request::builder().method(method);
                let request = request.uri(format!("https://{HOST}{}", self.target));
                let request =
                    fields.into_iter().fold(request, |so_far, (name, value)| so_far.header(name, value));
                Ask::Http2(Box::new(request.body(Full::new(body)).expect("a request")))
            }
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    /// Of the body.
    pub bytes: usize,
}

/// Opens connections.
#[derive(Clone)]
pub struct Client {
    http1: TlsConnector,
    http2: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    /// With one key exchange: `X25519`, or the one with ML-KEM beside it.
    pub fn new(exchange: &'static dyn rustls::crypto::SupportedKxGroup) -> Self {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![exchange],
            ..aws_lc_rs::default_provider()
        };
        let provider = Arc::new(provider);
        let connector = |protocol: &[u8]| {
            let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
            let config = config.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
            let believes = Arc::new(BelievesAll(Arc::clone(&provider)));
            let config = config.dangerous().with_custom_certificate_verifier(believes);
            let mut config = config.with_no_client_auth();
            // Each handshake is a full one.
            config.resumption = rustls::client::Resumption::disabled();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        let name = ServerName::try_from(HOST).expect("a name");
        Self { http1: connector(b"http/1.1"), http2: connector(b"h2"), name }
    }

    /// A connection after its handshake; from a source address of one's choice, for there are 28,000 ports to each.
    ///
    /// # Errors
    /// When the other side doesn't want it.
    pub async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Connection> {
        let stream = self.stream(to, from, &self.http1).await?;
        Ok(Connection { stream, held: Vec::new() })
    }

    async fn stream(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        connector: &TlsConnector,
    ) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        connector.connect(self.name.clone(), stream).await
    }

    /// As many slots as asked for, each of which can have one request in flight: connections of HTTP/1.1, or eight streams
    /// on each connection of HTTP/2.
    ///
    /// # Errors
    /// When the other side doesn't want them.
    pub async fn slots(&self, to: SocketAddr, protocol: Protocol, count: usize) -> io::Result<Vec<Slot>> {
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            match protocol {
                Protocol::Http1 => {
                    let buffer = vec![0; 128 << 10];
                    let connection = Box::new(self.connect(to, None).await?);
                    slots.push(Slot::Http1 { connection, buffer });
                }
                Protocol::Http2 => {
                    let stream = TokioIo::new(self.stream(to, None, &self.http2).await?);
                    let mut builder = http2::Builder::new(Local);
                    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(8 << 20);
                    let (send, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
                    tokio::task::spawn_local(connection);
                    slots.extend((0..8).map(|_| Slot::Http2(send.clone())));
                }
            }
        }
        slots.truncate(count);
        Ok(slots)
    }

    /// One request on a connection of its own, with the whole answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn fetch(&self, to: SocketAddr, ask: &Ask) -> io::Result<(u16, Vec<u8>)> {
        let protocol = match ask {
            Ask::Http1(_) => Protocol::Http1,
            Ask::Http2(_) => Protocol::Http2,
        };
        let mut kept = Vec::new();
        let mut slots = self.slots(to, protocol, 1).await?;
        let slot = slots.first_mut().ok_or(io::ErrorKind::NotConnected)?;
        let answer = slot.exchange(ask, |bytes| kept.extend_from_slice(bytes)).await?;
        Ok((answer.status, kept))
    }
}

/// A place for one request in flight.
pub enum Slot {
    Http1 { connection: Box<Connection>, buffer: Vec<u8> },
    Http2(SendRequest<Full<Bytes>>),
}

impl Slot {
    /// Sends and reads the answer to its end; `each` sees the bytes of the body as they come.
    ///
    /// # Errors
    /// When the connection ends before the answer.
    pub async fn exchange(&mut self, ask: &Ask, mut each: impl FnMut(&[u8])) -> io::Result<Answer> {
        match (self, ask) {
            (Self::Http1 { connection, buffer }, Ask::Http1(wire)) => {
                connection.exchange(wire, buffer, each).await
            }
            (Self::Http2(send), Ask::Http2(request)) => {
                send.ready().await.map_err(io::Error::other)?;
                let answer =
                    send.send_request(http::Request::clone(request)).await.map_err(io::Error::other)?;
                let status = answer.status().as_u16();
                let mut body = answer.into_body();
                let mut bytes = 0;
                while let Some(frame) = body.frame().await {
                    if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
                        bytes += piece.len();
                        each(&piece);
                    }
                }
                Ok(Answer { status, bytes })
            }
            (Self::Http1 { .. }, Ask::Http2(_)) | (Self::Http2(_), Ask::Http1(_)) => {
                Err(io::Error::other("a request of the other protocol"))
            }
        }
    }
}

/// A connection of HTTP/1.1.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    /// The start of a head that has not ended yet; empty nearly always.
    held: Vec<u8>,
}

impl Connection {
    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// When the connection ends before the answer, or it isn't HTTP.
    pub async fn exchange(
        &mut self,
        wire: &[u8],
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Answer> {
        self.stream.write_all(wire).await?;
        self.stream.flush().await?;
        let mut reading: Option<(u16, Body)> = None;
        let mut bytes = 0;
        let mut take = |piece: &[u8]| {
            bytes += piece.len();
            each(piece);
        };
        loop {
            let read = self.stream.read(buffer).await?;
            let piece = buffer.get(..read).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some((_, body)) = &mut reading {
                body.take(piece, &mut take)?;
            } else {
                self.held.extend_from_slice(piece);
                let Some(end) = memmem::find(&self.held, b"\r\n\r\n") else { continue };
                let (head, rest) = self.held.split_at_checked(end + 4).unwrap_or_default();
                let (status, mut body) = body::head(head)?;
                body.take(rest, &mut take)?;
                self.held.clear();
                reading = Some((status, body));
            }
            if let Some((status, body)) = &reading
                && body.ended()
            {
                let status = *status;
                return Ok(Answer { status, bytes });
            }
        }
    }

    /// Says farewell, as TLS has it, and closes.
    pub async fn close(mut self) {
        let _said = self.stream.shutdown().await;
    }

    /// Reads a little of an answer on its way, as a slow client does; nothing is left when it is 0.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn sip(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Sends without waiting for an answer.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn send(&mut self, wire: &[u8]) -> io::Result<()> {
        self.stream.write_all(wire).await?;
        self.stream.flush().await
    }
}

/// Runs what a connection of HTTP/2 does besides on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Who is at the other end was settled when this program started it.
#[derive(Debug)]
struct BelievesAll(Arc<CryptoProvider>);

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Many requests that take turns.
pub type Asks = Rc<[Ask]>;
