//! Response bodies on their way to a client, in pieces, with a watch on clients that do not take them.
//!
//! Over HTTP/2 a slow reader is invisible on the socket: it merely gives no window. The connection therefore watches
//! how long each body has not been asked for its next piece (HTTP-14).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::telemetry::Present;

/// Largest piece handed to the connection at once: what a reader that never reads can make us hold per stream.
const PIECE: usize = 64 * 1024;

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
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            active: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            bodies: std::sync::Mutex::default(),
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
        self.0.quiet_since.store(self.0.now(), Ordering::Release);
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response body being delivered.
#[derive(Debug)]
pub(super) struct Delivery<B> {
    body: Pin<Box<B>>,
    /// The rest of a frame that was too large for one piece.
    rest: Bytes,
    given: Option<Arc<AtomicU64>>,
    active: Active,
}

impl<B: Body<Data = Bytes>> Delivery<B> {
    pub(super) fn new(body: B, active: Active) -> Self {
        let small = body.size_hint().exact().is_some_and(|size| size <= PIECE as u64);
        let given = (!small).then(|| active.0.watch());
        Self { body: Box::pin(body), rest: Bytes::new(), given, active }
    }

    fn mark(&self, instant: u64) {
        if let Some(given) = &self.given {
            given.store(instant, Ordering::Release);
        }
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
        let mut data = if this.rest.is_empty() {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    // HTTP-11: trailers of an answer go no further.
                    Err(_trailers) => return Poll::Ready(None),
                },
            }
        } else {
            std::mem::take(&mut this.rest)
        };
        if data.len() > PIECE {
            this.rest = data.split_off(PIECE);
        }
        this.mark(this.active.0.now());
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
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
