//! Accepting connections, and ending in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ListenerError;
use super::admissible::{Refusal, Rules};
use super::connection::{self, Connection};
use super::tls::CertificateStore;
use crate::config::Limits;
use crate::telemetry::Metrics;

/// Connections the kernel may keep for us while all ours are taken.
const BACKLOG: u32 = 1024;

/// What answers requests. Both methods run on a task of their own that a client cannot cancel.
pub trait Service: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

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
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request in flight was answered.
    Complete,
    /// The drain timeout passed first.
    TimedOut,
}

/// What all connections share.
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
    pub(super) requests: TaskTracker,
}

/// Takes the addresses. Call within a runtime.
///
/// # Errors
/// The first address that cannot be had.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenerError> {
    let one = |address: SocketAddr| -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for old connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    addresses
        .iter()
        .map(|address| one(*address).map_err(|cause| ListenerError::Bind { address: *address, cause }))
        .collect()
}

/// Serves until `shutdown`, then lets requests in flight finish within the drain timeout (HTTP-22).
pub async fn serve<S: Service>(
    listeners: Vec<TcpListener>,
    options: Options,
    service: Arc<S>,
    shutdown: CancellationToken,
) -> Drained {
    let house = Arc::new(House {
        service,
        rules: options.rules,
        tls: options.tls,
        draining: CancellationToken::new(),
        closing: CancellationToken::new(),
        requests: TaskTracker::new(),
        limits: options.limits,
        metrics: options.metrics,
    });
    house.metrics.connections_limit(house.limits.connections);
    let room = Arc::new(Semaphore::new(house.limits.connections));
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        let (house, room, connections) = (Arc::clone(&house), Arc::clone(&room), connections.clone());
        accepting.spawn(accept(listener, house, room, connections));
    }
    shutdown.cancelled().await;
    house.draining.cancel();
    accepting.close();
    accepting.wait().await;
    connections.close();
    house.requests.close();
    let all = async {
        connections.wait().await;
        house.requests.wait().await;
    };
    let drained = tokio::time::timeout(house.limits.drain_timeout, all).await;
    house.closing.cancel();
    match drained {
        Ok(()) => Drained::Complete,
        Err(_elapsed) => {
            connections.wait().await;
            Drained::TimedOut
        }
    }
}

async fn accept<S: Service>(
    listener: TcpListener,
    house: Arc<House<S>>,
    room: Arc<Semaphore>,
    connections: TaskTracker,
) {
    loop {
        // A place first, then a client: over the limit clients wait in the kernel's queue and cost us nothing.
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((place, accepted(&listener, &house.metrics).await))
        };
        let (place, (socket, peer)) = tokio::select! {
            next = next => match next {
                Some(next) => next,
                None => return,
            },
            () = house.draining.cancelled() => return,
        };
        let house = Arc::clone(&house);
        connections.spawn(async move {
            connection::run(socket, peer, house).await;
            drop(place);
        });
    }
}

/// The next client. Errors of single clients are theirs; when descriptors run out, waiting is all that helps.
async fn accepted(listener: &TcpListener, metrics: &Metrics) -> (TcpStream, SocketAddr) {
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
