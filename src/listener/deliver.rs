//! Response bodies on their way to a client, in pieces, with a watch on clients that do not take them.
//!
//! Over HTTP/2 a slow reader is invisible on the socket: it merely gives no window. The connection therefore watches
//! how long each body has not been asked for its next piece (HTTP-14).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::telemetry::Present;

/// Largest piece handed to the connection at once: what a reader that never reads can make us hold per stream. With a head
/// or the frame of a chunk around it, it is what the TLS library takes in one go, so that no crumb is written after it.
const PIECE: usize = 63 * 1024;

/// Smaller pieces wait for those behind them that are there already: each costs a frame and a place in a write.
const SMALL: usize = 16 * 1024;

/// So many requests may be left alone on one connection before it takes no more. They go on to their ends and are no longer
/// counted among its streams: a client that resets each at once would otherwise have any number at work (CVE-2023-44487).
const LEFT_ALONE: usize = 100;

/// Then it is closed: a client that has been told and goes on does not want to know.
const TOO_MANY: usize = 2 * LEFT_ALONE;

/// Never, as an instant of [`Pulse`].
const NEVER: u64 = u64::MAX;

/// The life signs of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    active: AtomicUsize,
    /// When the last request ended, in milliseconds since `born`.
    quiet_since: AtomicU64,
    bodies: std::sync::Mutex<Vec<Arc<AtomicU64>>>,
    /// How many requests the client has left alone.
    left_alone: AtomicUsize,
    weary: Notify,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            active: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            bodies: std::sync::Mutex::default(),
            left_alone: AtomicUsize::new(0),
            weary: Notify::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// A request begins; it lasts until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, counted: Present) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self), counted)
    }

    /// Whether no request has been in flight for so long.
    pub(super) fn idle_for(&self, idle: Duration) -> bool {
        self.active.load(Ordering::Acquire) == 0
            && self.now().saturating_sub(self.quiet_since.load(Ordering::Acquire)) >= millis(idle)
    }

    /// Whether no request has come yet.
    pub(super) fn is_new(&self) -> bool {
        self.is_quiet() && self.quiet_since.load(Ordering::Acquire) == 0
    }

    /// For how long no request has been in flight; absent while one is.
    pub(super) fn quiet_for(&self) -> Option<Duration> {
        let since = || self.now().saturating_sub(self.quiet_since.load(Ordering::Acquire));
        self.is_quiet().then(|| Duration::from_millis(since()))
    }

    /// A client has left a request alone that goes on.
    pub(super) fn left_alone(&self) {
        let count = self.left_alone.fetch_add(1, Ordering::AcqRel) + 1;
        if [LEFT_ALONE, TOO_MANY].contains(&count) {
            self.weary.notify_one();
        }
    }

    /// Ready when the client has left too many alone, and again when it has gone on after that.
    pub(super) async fn weary(&self) {
        self.weary.notified().await;
    }

    /// Whether it has gone on.
    pub(super) fn is_spent(&self) -> bool {
        self.left_alone.load(Ordering::Acquire) >= TOO_MANY
    }

    /// Whether nothing is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }

    /// Whether a body has not been taken for so long.
    pub(super) fn stuck_for(&self, idle: Duration) -> bool {
        let now = self.now();
        let mut bodies = self.bodies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bodies.retain(|body| Arc::strong_count(body) > 1);
        bodies.iter().any(|given| {
            let given = given.load(Ordering::Acquire);
            given != NEVER && now.saturating_sub(given) >= millis(idle)
        })
    }

    fn watch(&self) -> Arc<AtomicU64> {
        let given = Arc::new(AtomicU64::new(self.now()));
        let mut bodies = self.bodies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bodies.retain(|body| Arc::strong_count(body) > 1);
        bodies.push(Arc::clone(&given));
        given
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER - 1)
}

/// A request in flight, until its answer's body is gone.
#[derive(Debug)]
pub(super) struct Active(Arc<Pulse>, #[expect(dead_code, reason = "it counts until it is dropped")] Present);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.now().max(1), Ordering::Release);
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response body being delivered.
#[derive(Debug)]
pub(super) struct Delivery<B: Body> {
    body: Pin<Box<B>>,
    /// What has come and is not handed on yet.
    rest: Bytes,
    /// How it ended, behind the rest.
    end: Option<Result<(), B::Error>>,
    given: Option<Arc<AtomicU64>>,
    active: Active,
}

/// The body is in a box, and nothing else is ever pinned.
impl<B: Body> Unpin for Delivery<B> {}

impl<B: Body<Data = Bytes>> Delivery<B> {
    pub(super) fn new(body: B, active: Active) -> Self {
        let small = body.size_hint().exact().is_some_and(|size| size <= PIECE as u64);
        let given = (!small).then(|| active.0.watch());
        Self { body: Box::pin(body), rest: Bytes::new(), end: None, given, active }
    }

    fn mark(&self, instant: u64) {
        if let Some(given) = &self.given {
            given.store(instant, Ordering::Release);
        }
    }

    /// The next bytes; none after the end.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        }
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let end = match ready!(self.body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Poll::Ready(Some(data)),
                // HTTP-11: trailers of an answer go no further.
                Err(_trailers) => Ok(()),
            },
            None => Ok(()),
            Some(Err(error)) => Err(error),
        };
        self.end = Some(end);
        Poll::Ready(None)
    }

    /// These bytes, with what is there behind them already.
    fn gather(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        if first.len() >= SMALL || self.is_end_stream() {
            return first;
        }
        let Poll::Ready(Some(second)) = self.pull(cx) else { return first };
        let mut gathered = BytesMut::with_capacity(PIECE);
        gathered.extend_from_slice(&first);
        let mut next = second;
        while gathered.len() + next.len() <= PIECE {
            gathered.extend_from_slice(&next);
            match self.pull(cx) {
                Poll::Ready(Some(data)) => next = data,
                Poll::Ready(None) | Poll::Pending => return gathered.freeze(),
            }
        }
        self.rest = next;
        gathered.freeze()
    }
}

impl<B: Body<Data = Bytes>> Body for Delivery<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        this.mark(NEVER);
        let Some(first) = ready!(this.pull(cx)) else {
            return Poll::Ready(match this.end.replace(Ok(())) {
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(())) | None => None,
            });
        };
        let mut data = this.gather(first, cx);
        if data.len() > PIECE {
            this.rest = data.split_off(PIECE);
        }
        this.mark(this.active.0.now());
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.end {
            None => self.body.is_end_stream(),
            Some(end) => end.is_ok(),
        };
        self.rest.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn large_frames_leave_in_pieces() {
        let pulse = Pulse::new();
        let whole: Bytes = (0..PIECE * 2 + 7).map(|n| n as u8).collect();
        let mut delivery = Delivery::new(Full::new(whole.clone()), pulse.begin(Metrics::new().in_flight()));
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        assert_eq!(delivery.size_hint().exact(), Some(whole.len() as u64));
        while let Some(frame) = delivery.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            sizes.push(data.len());
            seen.extend_from_slice(&data);
            assert_eq!(delivery.size_hint().exact(), Some((whole.len() - seen.len()) as u64));
        }
        assert_eq!((sizes, Bytes::from(seen)), (vec![PIECE, PIECE, 7], whole));
    }

    /// Bytes that are there, in pieces of these sizes, and then an end.
    struct Pieces(Vec<usize>, Option<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            if self.0.is_empty() {
                return Poll::Ready(self.1.take().map(Err));
            }
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; self.0.remove(0)])))))
        }
    }

    #[tokio::test]
    async fn small_frames_leave_together() {
        let table: [(&[usize], Option<&str>, &[usize]); 6] = [
            (&[1, 2, 3], None, &[6]),
            (&[1, 2, 3], Some("broken"), &[6]),
            (&[SMALL, 1, SMALL], None, &[SMALL, 1 + SMALL]),
            (&[5, PIECE, 5], None, &[5, PIECE, 5]),
            (&[5, PIECE + 5, 5], None, &[5, PIECE, 10]),
            (&[PIECE - 1, 1, 1], Some("broken"), &[PIECE - 1, 2]),
        ];
        for (given, end, wanted) in table {
            let active = Pulse::new().begin(Metrics::new().in_flight());
            let mut delivery = Delivery::new(Pieces(given.to_vec(), end), active);
            let (mut sizes, mut broken) = (Vec::new(), None);
            while let Some(frame) = delivery.frame().await {
                match frame {
                    Ok(frame) => sizes.push(frame.into_data().unwrap().len()),
                    Err(error) => broken = Some(error),
                }
            }
            assert_eq!((sizes.as_slice(), broken), (wanted, end), "{given:?}");
        }
    }

    #[tokio::test]
    async fn a_body_nobody_takes_is_stuck() {
        let pulse = Pulse::new();
        let mut delivery = Delivery::new(
            Full::new(Bytes::from(vec![0; PIECE + 1])),
            pulse.begin(Metrics::new().in_flight()),
        );
        assert!(!pulse.stuck_for(Duration::from_secs(60)));
        assert!(pulse.stuck_for(Duration::ZERO));
        assert!(!pulse.is_quiet());
        while delivery.frame().await.is_some() {}
        assert!(!pulse.stuck_for(Duration::ZERO), "a body that is asked for is not stuck");
        drop(delivery);
        assert!(pulse.is_quiet() && pulse.idle_for(Duration::ZERO));
        assert!(!pulse.idle_for(Duration::from_secs(60)));
    }
}
