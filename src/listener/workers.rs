//! The threads that serve, each with a runtime of its own.
//!
//! A connection belongs to one worker from its handshake to its end, and its requests run there too, with connections to the
//! backend that are this worker's: nothing of a request crosses from core to core. New connections go to the worker that has
//! the fewest.
//!
//! One socket for each address is accepted from, by the first worker. A socket for each worker (`SO_REUSEPORT`) would let the
//! kernel deal by a hash, so that long connections meet on one core; clients that the limit of connections keeps waiting
//! would wait in several queues; and a second gateway started by mistake would take half of the clients unnoticed.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::TaskTracker;

use super::ListenerError;
use super::connection;
use super::serve::{House, Service};

/// A connection as it was accepted.
pub(super) enum Arrived {
    /// On another worker's runtime; not waited for anywhere.
    Elsewhere(std::net::TcpStream),
    /// On the runtime of the worker that takes it.
    Here(TcpStream),
}

/// One thread that serves.
pub(super) struct Worker<S> {
    house: Arc<House<S>>,
    handle: Handle,
    connections: TaskTracker,
    ended: oneshot::Receiver<()>,
}

impl<S: Service> Worker<S> {
    /// Starts one for each house.
    ///
    /// # Errors
    /// When the system gives no thread, or nothing to wait for sockets with.
    pub(super) fn start(number: usize, house: House<S>) -> Result<Self, ListenerError> {
        let failed = |cause: io::Error| ListenerError::Worker { cause };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (house, connections) = (Arc::new(house), TaskTracker::new());
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let work = {
            let (house, connections) = (Arc::clone(&house), connections.clone());
            move || work(runtime, &house, &connections, end)
        };
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(work).map_err(failed)?;
        Ok(Self { house, handle, connections, ended })
    }

    /// How many connections it has.
    pub(super) fn load(&self) -> usize {
        self.connections.len()
    }

    /// Its runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Serves this connection to its end; then its place is free.
    pub(super) fn take(&self, socket: Arrived, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let house = Arc::clone(&self.house);
        let serving = async move {
            let socket = match socket {
                Arrived::Here(socket) => Ok(socket),
                Arrived::Elsewhere(socket) => TcpStream::from_std(socket),
            };
            match socket {
                Ok(socket) => connection::run(socket, peer, house).await,
                Err(cause) => tracing::debug!(%peer, %cause, "connection lost"),
            }
            drop(place);
        };
        self.connections.spawn_on(serving, &self.handle);
    }

    /// From here on it can be waited for.
    pub(super) fn close(&self) {
        self.connections.close();
        self.house.requests.close();
    }

    /// Ready when no connection and no request is left.
    pub(super) async fn drained(&self) {
        self.connections.wait().await;
        self.house.requests.wait().await;
    }

    /// Ready when no connection is left.
    pub(super) async fn disconnected(&self) {
        self.connections.wait().await;
    }

    /// Ready when its thread has ended; it does so when everything is closing and nothing is left.
    pub(super) async fn ended(self) {
        let _ended = self.ended.await;
    }
}

/// How many there are when the settings do not say: one for each core that the process may use.
#[must_use]
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The life of a worker. Requests that outlast the drain go on for as long as the process does.
fn work<S: Service>(runtime: Runtime, house: &House<S>, connections: &TaskTracker, end: oneshot::Sender<()>) {
    runtime.block_on(async {
        house.closing.cancelled().await;
        connections.wait().await;
        house.requests.wait().await;
    });
    drop(runtime);
    let _nobody_waits = end.send(());
}
