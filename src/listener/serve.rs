//! Accepting connections, and ending in good order.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ListenerError;
use super::admissible::{Refusal, Rules};
use super::connection::Connection;
use super::tls::CertificateStore;
use super::workers::{Arrived, Worker};
use crate::config::Limits;
use crate::telemetry::Metrics;

/// Connections the kernel may keep for us while all ours are taken.
const BACKLOG: i32 = 1024;

/// What answers requests. Both methods run to their end whether or not the client stays.
pub trait Service: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send>
        + Send
        + 'static;

    /// Answers a request whose head is admissible. `now` is the only clock reading for this request.
    fn serve(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
        now: jiff::Timestamp,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers a request that is not admissible. The head is absent when it could not even be read.
    fn refuse(
        &self,
        refusal: Refusal,
        head: Option<Parts>,
        connection: Arc<Connection>,
        now: jiff::Timestamp,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How to listen.
#[derive(Debug)]
pub struct Options {
    /// What request heads are compared with.
    pub rules: Rules,
    /// Bounds of connections.
    pub limits: Limits,
    /// Certificates; absent: plain HTTP/1.1.
    pub tls: Option<Arc<CertificateStore>>,
    /// Where connections are counted.
    pub metrics: Metrics,
    /// How many threads serve.
    pub workers: NonZeroUsize,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request in flight was answered.
    Complete,
    /// The drain timeout passed first.
    TimedOut,
}

/// What all connections of one worker share.
pub(super) struct House<S> {
    pub(super) service: Arc<S>,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) tls: Option<Arc<CertificateStore>>,
    /// No new requests; those begun are finished.
    pub(super) draining: CancellationToken,
    /// Everything ends now.
    pub(super) closing: CancellationToken,
    /// Those whose connection has gone.
    pub(super) requests: TaskTracker,
}

/// Takes the addresses: sockets that are handed over (`LISTEN_FDS`, as systemd's socket units do), and new ones for the
/// others. Clients of a socket that is handed over wait in its queue while the gateway is started anew.
///
/// # Errors
/// The first address that cannot be had, or a socket that is handed over for none of them.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenerError> {
    let mut handed = handed_over(addresses)?;
    let one = |address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for old connections in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    addresses
        .iter()
        .map(|address| match handed.iter().position(|(at, _)| at == address) {
            Some(at) => Ok(handed.swap_remove(at).1),
            None => one(*address).map_err(|cause| ListenerError::Bind { address: *address, cause }),
        })
        .collect()
}

/// The sockets that are handed over, each for one of the addresses: one that nobody serves would keep its clients waiting.
fn handed_over(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, ListenerError> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let failed = |cause: io::Error| ListenerError::HandedOver { number, cause };
        let Some(socket) = passed.take_tcp_listener(number).map_err(failed)? else { continue };
        let address = socket.local_addr().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        if !addresses.contains(&address) {
            let cause = io::Error::other(format!("it listens at `{address}`, which is not there"));
            return Err(failed(cause));
        }
        sockets.push((address, socket));
    }
    Ok(sockets)
}

/// Serves until `shutdown`, then lets requests in flight finish within the drain timeout (HTTP-22).
///
/// # Errors
/// When the threads to serve with cannot be had.
pub async fn serve<S: Service>(
    listeners: Vec<TcpListener>,
    options: Options,
    service: Arc<S>,
    shutdown: CancellationToken,
) -> Result<Drained, ListenerError> {
    let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
    // Threads that were started before an error end.
    let close = closing.clone().drop_guard();
    let house = || House {
        service: Arc::clone(&service),
        rules: options.rules.clone(),
        tls: options.tls.clone(),
        // Of its own, so that workers do not meet at one lock.
        draining: draining.child_token(),
        closing: closing.child_token(),
        requests: TaskTracker::new(),
        limits: options.limits.clone(),
        metrics: options.metrics.clone(),
    };
    let workers: Vec<_> =
        (0..options.workers.get()).map(|number| Worker::start(number, house())).collect::<Result<_, _>>()?;
    let workers = Arc::new(workers);
    options.metrics.connections_limit(options.limits.connections);
    let room = Arc::new(Semaphore::new(options.limits.connections));
    let accepting = TaskTracker::new();
    if let Some(first) = workers.first() {
        for listener in listeners {
            let reception = Reception { room: Arc::clone(&room), workers: Arc::clone(&workers) };
            let accept = reception.accept(listener, options.metrics.clone());
            let accept = draining.clone().run_until_cancelled_owned(accept);
            accepting.spawn_on(accept, first.handle());
        }
    }
    shutdown.cancelled().await;
    draining.cancel();
    accepting.close();
    accepting.wait().await;
    workers.iter().for_each(Worker::close);
    let all = async {
        for worker in workers.iter() {
            worker.drained().await;
        }
    };
    let drained = tokio::time::timeout(options.limits.drain_timeout, all).await;
    drop(close);
    if drained.is_err() {
        for worker in workers.iter() {
            worker.disconnected().await;
        }
        return Ok(Drained::TimedOut);
    }
    for worker in Arc::into_inner(workers).into_iter().flatten() {
        worker.ended().await;
    }
    Ok(Drained::Complete)
}

/// Lets clients in.
struct Reception<S> {
    room: Arc<Semaphore>,
    workers: Arc<Vec<Worker<S>>>,
}

impl<S: Service> Reception<S> {
    /// Accepts for ever. Runs on a worker: when it is the only one, nothing changes threads.
    async fn accept(self, listener: TcpListener, metrics: Metrics) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(cause) => {
                tracing::error!(%cause, "cannot accept connections");
                return;
            }
        };
        loop {
            // A place first, then a client: over the limit clients wait in the kernel's queue and cost us nothing.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return };
            let (socket, peer) = accepted(&listener, &metrics).await;
            let fewest = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.load());
            match fewest {
                None => return,
                Some((0, first)) => first.take(Arrived::Here(socket), peer, place),
                Some((_, other)) => match socket.into_std() {
                    Ok(socket) => other.take(Arrived::Elsewhere(socket), peer, place),
                    Err(cause) => tracing::debug!(%peer, %cause, "connection lost"),
                },
            }
        }
    }
}

/// The next client. Errors of single clients are theirs; when descriptors run out, waiting is all that helps.
async fn accepted(listener: &tokio::net::TcpListener, metrics: &Metrics) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(cause) if its_own(&cause) => {}
            Err(cause) => {
                tracing::warn!(%cause, "cannot accept connections");
                metrics.not_accepted();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn its_own(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&cause.kind())
}
