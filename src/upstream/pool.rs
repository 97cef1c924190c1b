//! Connections to the backend, kept by the thread that made them.
//!
//! A connection of HTTP/1.1 has no task of its own: whoever waits for its answer moves it ahead, and while nobody uses it,
//! it stands still. So a request costs no hop between tasks, and on a thread that serves nothing of it crosses to another.
//! A connection of HTTP/2 carries many requests at once and runs by itself.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tower_service::Service as _;

use super::UpstreamError;
use super::named::{connecting, sending};

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes of an answer's head, and of what is read of a body at once.
const HEAD_BYTES: usize = 64 * 1024;

/// Threads that share no lock here; more may be.
const LANES: usize = 64;

type Ask = Request<Full<Bytes>>;
type Line = http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Full<Bytes>>;

/// The connections to one backend.
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    base: Uri,
    lanes: [Mutex<Lane>; LANES],
}

/// What a thread keeps.
#[derive(Default)]
struct Lane {
    /// The one used last is at the end, and used first.
    idle: Vec<Idle>,
    shared: Option<http2::SendRequest<Full<Bytes>>>,
    /// Whether somebody looks after the idle ones.
    swept: bool,
}

struct Idle {
    open: Box<Open>,
    since: Instant,
}

/// A connection of HTTP/1.1.
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None when it has ended.
    line: Option<Line>,
}

/// A connection, new or used before.
enum Way {
    Fresh(Box<Open>),
    Used(Box<Open>),
    Shared(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no answer.
enum Failed {
    /// Nothing of the request was sent; here it is again.
    Unsent(Box<Ask>, UpstreamError),
    /// All or some of it may have been.
    Sent(UpstreamError),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Pool {
    /// Connects to nothing yet. `base` names the server.
    pub(super) fn new(connector: HttpsConnector<HttpConnector>, base: Uri) -> Arc<Self> {
        let lanes = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { connector, base, lanes })
    }

    /// Asks; over a connection that was kept, if there is one. One that turns out to have been closed meanwhile, before
    /// anything of the request was sent, is replaced.
    ///
    /// # Errors
    /// When no connection can be had, or no answer comes over it.
    pub(super) async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Response<Answer>, UpstreamError> {
        let mut ask = ask;
        loop {
            let way = match self.kept() {
                Some(way) => way,
                None => self.connect().await?,
            };
            let fresh = matches!(way, Way::Fresh(_));
            match self.over(way, ask).await {
                Ok(response) => return Ok(response),
                Err(Failed::Unsent(unsent, _)) if !fresh => ask = *unsent,
                Err(Failed::Unsent(_, error) | Failed::Sent(error)) => return Err(error),
            }
        }
    }

    async fn over(self: &Arc<Self>, way: Way, ask: Ask) -> Result<Response<Answer>, Failed> {
        let failed = |mut error: hyper::client::conn::TrySendError<Ask>| {
            let unsent = error.take_message();
            let named = sending(error.error());
            match unsent {
                Some(unsent) => Failed::Unsent(Box::new(unsent), named),
                None => Failed::Sent(named),
            }
        };
        let (mut open, mut ask) = match way {
            Way::Fresh(open) | Way::Used(open) => (open, ask),
            Way::Shared(mut sender) => {
                let response = sender.try_send_request(self.absolute(ask)).await.map_err(failed)?;
                return Ok(response.map(|body| Answer { body, ended: false, over: None }));
            }
        };
        *ask.version_mut() = http::Version::HTTP_11;
        let mut answer = pin!(open.sender.try_send_request(ask));
        let line = &mut open.line;
        let response = poll_fn(|cx| {
            advance(line, cx);
            // Nobody but the line can make it ready.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        let response = response.await.map_err(failed)?;
        Ok(response.map(|body| Answer { body, ended: false, over: Some((open, Arc::clone(self))) }))
    }

    /// Over HTTP/2 a request names its server in its target.
    fn absolute(&self, mut ask: Ask) -> Ask {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = ask.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(parts) {
            *ask.uri_mut() = uri;
        }
        ask.headers_mut().remove(http::header::HOST);
        ask
    }

    fn kept(&self) -> Option<Way> {
        let mut lane = self.lane();
        if let Some(shared) = &lane.shared {
            if !shared.is_closed() {
                return Some(Way::Shared(shared.clone()));
            }
            lane.shared = None;
        }
        while let Some(Idle { mut open, since }) = lane.idle.pop() {
            // What the backend has closed meanwhile is seen now.
            advance(&mut open.line, &mut Context::from_waker(Waker::noop()));
            if since.elapsed() < IDLE && open.is_ready() {
                return Some(Way::Used(open));
            }
        }
        None
    }

    async fn connect(&self) -> Result<Way, UpstreamError> {
        let mut connector = self.connector.clone();
        let failed = |cause: Box<dyn StdError + Send + Sync>| connecting(cause.as_ref());
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(failed)?;
        let stream = connector.call(self.base.clone()).await.map_err(failed)?;
        if stream.connected().is_negotiated_h2() {
            let (sender, line) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(HEAD_BYTES as u32)
                .keep_alive_interval(IDLE)
                .adaptive_window(true)
                .handshake(stream)
                .await
                .map_err(|cause| connecting(&cause))?;
            tokio::spawn(line);
            self.lane().shared = Some(sender.clone());
            return Ok(Way::Shared(sender));
        }
        let (sender, line) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(stream)
            .await
            .map_err(|cause| connecting(&cause))?;
        Ok(Way::Fresh(Box::new(Open { sender, line: Some(line) })))
    }

    /// Keeps a connection for the next request.
    fn keep(self: &Arc<Self>, open: Box<Open>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut lane = self.lane();
        lane.idle.push(Idle { open, since: Instant::now() });
        if !lane.swept {
            lane.swept = true;
            runtime.spawn(sweep(Arc::downgrade(self), seat()));
        }
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane_of(seat())
    }

    fn lane_of(&self, seat: usize) -> MutexGuard<'_, Lane> {
        let [first, ..] = &self.lanes;
        self.lanes.get(seat % LANES).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has not been used for long, until nothing is left.
async fn sweep(pool: Weak<Pool>, seat: usize) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut lane = pool.lane_of(seat);
        lane.idle.retain_mut(|idle| {
            advance(&mut idle.open.line, &mut Context::from_waker(Waker::noop()));
            idle.since.elapsed() < IDLE && idle.open.line.is_some()
        });
        if lane.idle.is_empty() {
            lane.swept = false;
            return;
        }
    }
}

impl Open {
    fn is_ready(&self) -> bool {
        self.line.is_some() && self.sender.is_ready()
    }
}

/// Moves a connection ahead as far as it goes. One that has ended is dropped: then its request learns of it.
fn advance(line: &mut Option<Line>, cx: &mut Context<'_>) {
    if let Some(open) = line
        && Pin::new(open).poll(cx).is_ready()
    {
        *line = None;
    }
}

/// Which lane is this thread's.
fn seat() -> usize {
    static SEATS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SEAT: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SEAT.with(|seat| {
        seat.get().unwrap_or_else(|| {
            let taken = SEATS.fetch_add(1, Ordering::Relaxed);
            seat.set(Some(taken));
            taken
        })
    })
}

/// The body of an answer. Its connection is kept for the next request once it has been read to its end.
pub(super) struct Answer {
    body: Incoming,
    ended: bool,
    over: Option<(Box<Open>, Arc<Pool>)>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Answer {
    fn give_back(&mut self) {
        if let Some((open, pool)) = self.over.take()
            && open.is_ready()
        {
            pool.keep(open);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some((open, _)) = &mut this.over else {
            return if this.ended { Poll::Ready(None) } else { Pin::new(&mut this.body).poll_frame(cx) };
        };
        // Nobody but the line can make the body ready.
        let mut silent = Context::from_waker(Waker::noop());
        let mut next = Pin::new(&mut this.body).poll_frame(&mut silent);
        if next.is_pending() {
            advance(&mut open.line, cx);
            next = Pin::new(&mut this.body).poll_frame(&mut silent);
        }
        if matches!(next, Poll::Ready(None)) {
            this.ended = true;
            this.give_back();
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.give_back();
        }
    }
}
