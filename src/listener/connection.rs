//! One client connection, from handshake to close.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::admissible::{Over, Protocol, admissible};
use super::deliver::{Active, Delivery, Pulse};
use super::framing::HeadLimits;
use super::guard::{Guard, Refused, Waits};
use super::serve::{House, Service};
use crate::telemetry::Handshake;

/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 100;

/// HTTP/2 flow-control windows and send buffer: what one stream, and one connection, can make us hold.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// A client that has just come is about to ask: when serving ends, it has so long to do so. Without that a request on a new
/// connection would be lost with each restart.
const FIRST: Duration = Duration::from_secs(1);

/// A year (RFC 6797 §6.1). Other names below this one are their owners' business.
const BY_TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What is known of the connection that a request came over.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client's address as the socket tells it.
    pub peer: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// The protocol, settled by ALPN.
    pub protocol: Protocol,
    /// What the TLS handshake told; absent without TLS.
    pub tls: Option<TlsSession>,
}

/// What a TLS handshake told.
#[derive(Debug, Clone)]
pub struct TlsSession {
    /// The protocol version, such as `TLSv1_3`.
    pub version: String,
    /// The cipher suite.
    pub suite: String,
    /// The server name asked for.
    pub sni: Option<String>,
    /// The client's certificate, DER, whose key it proved to hold.
    pub client_certificate: Option<Vec<u8>>,
    /// Its SHA-256: what `x5t#S256` of a certificate-bound token names (RFC 8705 §3.1).
    pub client_certificate_sha256: Option<[u8; 32]>,
}

impl TlsSession {
    /// The protocol version as a number, such as `1.3`.
    #[must_use]
    pub fn version_number(&self) -> &'static str {
        match self.version.as_str() {
            "TLSv1_2" => "1.2",
            "TLSv1_3" => "1.3",
            _ => "",
        }
    }

    fn of(session: &rustls::ServerConnection) -> Self {
        let leaf = session.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.as_ref());
        let thumbprint = |leaf: &[u8]| digest(&SHA256, leaf).as_ref().try_into().ok();
        Self {
            version: session.protocol_version().map(|v| format!("{v:?}")).unwrap_or_default(),
            suite: session.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite())).unwrap_or_default(),
            sni: session.server_name().map(str::to_owned),
            client_certificate: leaf.map(<[u8]>::to_vec),
            client_certificate_sha256: leaf.and_then(thumbprint),
        }
    }
}

impl Connection {
    /// The version of TLS, such as `1.3`; empty without TLS.
    #[must_use]
    pub fn tls_version(&self) -> &'static str {
        self.tls.as_ref().map_or("", TlsSession::version_number)
    }

    fn over<'a>(&'a self) -> Over<'a> {
        Over {
            protocol: self.protocol,
            scheme: self.tls.as_ref().map(|_| &Scheme::HTTPS),
            sni: self.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
        }
    }
}

/// Ready when serving has ended for as long as somebody who has just come may still ask.
async fn late(draining: &CancellationToken) {
    draining.cancelled().await;
    tokio::time::sleep(FIRST).await;
}

/// Serves one accepted socket to its end.
pub(super) async fn run<S: Service>(socket: TcpStream, peer: SocketAddr, house: Arc<House<S>>) {
    let Ok(local) = socket.local_addr() else { return };
    let _open = house.metrics.connected();
    let _refused = socket.set_nodelay(true);
    let Some(store) = &house.tls else {
        let connection = Connection { peer, local, protocol: Protocol::Http1, tls: None };
        return serve_http1(socket, connection, house).await;
    };
    let current = store.current();
    let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(&current.config)).accept(socket);
    // In a box, as what follows: a connection holds no room for what it does not do.
    let handshake = Box::pin(tokio::time::timeout(house.limits.header_timeout, handshake));
    let done = tokio::select! {
        done = handshake => done,
        () = Box::pin(late(&house.draining)) => return,
        () = house.closing.cancelled() => return,
    };
    let stream = match done {
        Ok(Ok(stream)) => stream,
        Ok(Err(cause)) => {
            tracing::debug!(%peer, %cause, "handshake failed");
            house.metrics.shaken(Handshake::Failed);
            return;
        }
        Err(_elapsed) => {
            tracing::debug!(%peer, "handshake took too long");
            house.metrics.shaken(Handshake::Slow);
            return;
        }
    };
    let (_, session) = stream.get_ref();
    // ALPN decides: hyper-util's own detection would let bytes contradict it (ALPACA).
    let protocol = if session.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    if session.handshake_kind() == Some(HandshakeKind::Resumed)
        && !current.still_accepts(session.peer_certificates())
    {
        tracing::debug!(%peer, "the certificate of a resumed session is accepted no more");
        house.metrics.shaken(Handshake::Refused);
        return;
    }
    let tls = TlsSession::of(session);
    house.metrics.shaken(Handshake::Done(tls.version_number()));
    let connection = Connection { peer, local, protocol, tls: Some(tls) };
    match protocol {
        Protocol::Http1 => Box::pin(serve_http1(stream, connection, house)).await,
        Protocol::Http2 => Box::pin(serve_http2(stream, connection, house)).await,
    }
}

async fn serve_http1<S: Service, T>(io: T, connection: Connection, house: Arc<House<S>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &house.limits;
    let refused: Refused = Arc::new(OnceLock::new());
    let heads = HeadLimits { target: limits.target_bytes, fields: limits.header_bytes };
    let pulse = Pulse::new();
    let waits = Waits { header: limits.header_timeout, idle: limits.idle_timeout, pulse: Arc::clone(&pulse) };
    let guard = Guard::http1(io, heads, waits, Arc::clone(&refused)).metered(house.metrics.meter());
    let front = Front::new(&house, connection, &pulse, Some(refused));
    let mut builder = http1::Builder::new();
    builder
        // The guard tells a head that was begun from one that nobody has begun; hyper does not.
        .header_read_timeout(None)
        // hyper's floor is 8 KiB; the guard has judged the size before.
        .max_buf_size((limits.header_bytes + limits.target_bytes + 1024).max(16 * 1024));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(guard), front));
    tokio::select! {
        ended = serving.as_mut() => return log_end(ended),
        () = house.draining.cancelled() => {}
        () = house.closing.cancelled() => return,
    }
    let asked = async {
        while pulse.is_new() {
            tokio::time::sleep(FIRST / 50).await;
        }
    };
    tokio::select! {
        ended = serving.as_mut() => return log_end(ended),
        _either = Box::pin(tokio::time::timeout(FIRST, asked)) => {}
        () = house.closing.cancelled() => return,
    }
    if pulse.is_quiet() {
        return;
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        ended = serving => log_end(ended),
        () = house.closing.cancelled() => {}
    }
}

async fn serve_http2<S: Service, T>(io: T, connection: Connection, house: Arc<House<S>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &house.limits;
    let pulse = Pulse::new();
    let front = Front::new(&house, connection, &pulse, None);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.header_timeout);
    let guard = Guard::http2(io, limits.idle_timeout).metered(house.metrics.meter());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(guard), front));
    let idle = limits.idle_timeout;
    let mut tick = tokio::time::interval((idle / 4).max(Duration::from_millis(5)));
    let mut ending = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => return log_end(ended),
            () = house.closing.cancelled() => return,
            () = house.draining.cancelled(), if !ending => {
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
            () = pulse.weary() => {
                if pulse.is_spent() {
                    return;
                }
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
            _ = tick.tick() => {
                if pulse.stuck_for(idle) || (ending && pulse.idle_for(idle * 2)) {
                    return;
                }
                if !ending && pulse.idle_for(idle) {
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(cause) = ended {
        tracing::debug!(%cause, "connection ended");
    }
}

/// Stands between hyper and the service, and judges heads.
struct Front<S: Service> {
    house: Arc<House<S>>,
    connection: Arc<Connection>,
    pulse: Arc<Pulse>,
    refused: Option<Refused>,
    ordinal: AtomicU64,
}

impl<S: Service> Front<S> {
    fn new(
        house: &Arc<House<S>>,
        connection: Connection,
        pulse: &Arc<Pulse>,
        refused: Option<Refused>,
    ) -> Self {
        Self {
            house: Arc::clone(house),
            connection: Arc::new(connection),
            pulse: Arc::clone(pulse),
            refused,
            ordinal: AtomicU64::new(0),
        }
    }
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Front<S> {
    type Response = Response<Delivery<S::Body>>;
    type Error = io::Error;
    type Future = Answering<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let active = self.pulse.begin(self.house.metrics.in_flight());
        let ordinal = self.ordinal.fetch_add(1, Ordering::AcqRel) + 1;
        let broken = self.refused.as_ref().and_then(|refused| refused.get()).filter(|(at, _)| *at == ordinal);
        let (house, connection) = (Arc::clone(&self.house), Arc::clone(&self.connection));
        let broken = broken.map(|(_, refusal)| *refusal);
        let request = Box::pin(answer(request, broken, connection, Arc::clone(&house)));
        Answering { begun: Some((request, active)), pulse: Arc::clone(&self.pulse), house }
    }
}

type Begun<B> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// A request being answered. It runs within its connection, which costs no task; when the connection goes, it goes on by
/// itself: the step between a write at the backend and its record must not be cancelled.
struct Answering<S: Service> {
    begun: Option<(Begun<S::Body>, Active)>,
    pulse: Arc<Pulse>,
    house: Arc<House<S>>,
}

impl<S: Service> Future for Answering<S> {
    type Output = io::Result<Response<Delivery<S::Body>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out meanwhile: one that panics does not go on.
        let Some((mut request, active)) = self.begun.take() else {
            return Poll::Ready(Err(io::Error::other("answered already")));
        };
        match request.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Ok(response.map(|body| Delivery::new(body, active)))),
            Poll::Pending => {
                self.begun = Some((request, active));
                Poll::Pending
            }
        }
    }
}

impl<S: Service> Drop for Answering<S> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let (Some((request, _active)), Ok(runtime)) = (self.begun.take(), Handle::try_current()) {
            self.pulse.left_alone();
            self.house.requests.spawn_on(request, &runtime);
        }
    }
}

async fn answer<S: Service>(
    request: Request<Incoming>,
    broken: Option<super::Refusal>,
    connection: Arc<Connection>,
    house: Arc<House<S>>,
) -> Response<S::Body> {
    let (http1, tls) = (connection.protocol == Protocol::Http1, connection.tls.is_some());
    let (mut response, trusted) = judged(request, broken, connection, &house).await;
    let fields = response.headers_mut();
    if tls && house.rules.by_tls_only() {
        // HTTP-19; on every answer, whatever the service or the backend say.
        fields.insert(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
    }
    if http1 && trusted == Head::Broken {
        // What follows a head that cannot be trusted cannot be trusted either.
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a request's head could be interpreted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Broken,
    Sound,
}

async fn judged<S: Service>(
    request: Request<Incoming>,
    broken: Option<super::Refusal>,
    connection: Arc<Connection>,
    house: &House<S>,
) -> (Response<S::Body>, Head) {
    let now = now();
    let (head, body) = request.into_parts();
    let (refusal, head) = match broken {
        Some(refusal) => (refusal, None),
        None => match admissible(&head, &house.rules, connection.over()) {
            Ok(()) => {
                let request = Request::from_parts(head, body);
                return (house.service.serve(request, connection, now).await, Head::Sound);
            }
            Err(refusal) => (refusal, Some(head)),
        },
    };
    (house.service.refuse(refusal, head, connection, now).await, Head::Broken)
}

#[expect(clippy::disallowed_methods, reason = "the one reading of the clock for a request")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
