//! How long we wait for a peer that is owed, or owes, bytes.
//!
//! hyper waits for ever for a slow body and a slow reader. A pace ends both: no silence longer than the idle timeout,
//! and over the whole message at least [`Pace::BYTES_PER_SECOND`] (HTTP-14). Only time spent waiting for the peer
//! counts; back pressure of our own does not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Slower than this on average is an attack or a broken line.
    const BYTES_PER_SECOND: u64 = 128;

    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, bytes: 0, waited: Duration::ZERO, since: None, timer: None }
    }

    /// A new message begins: its average starts afresh.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.idle);
    }

    /// The peer took or gave so many bytes.
    pub(super) fn progressed(&mut self, bytes: usize) {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.bytes += bytes as u64;
        self.timer = None;
    }

    /// The peer lets us wait. Ready once it has done so for too long.
    pub(super) fn waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.since.get_or_insert_with(Instant::now);
        let allowed = allowed(self.idle, self.bytes / Self::BYTES_PER_SECOND, self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
        timer.as_mut().poll(cx).map(|()| io::Error::new(io::ErrorKind::TimedOut, "the peer is too slow"))
    }
}

/// How long the next silence may last.
fn allowed(idle: Duration, earned_seconds: u64, waited: Duration) -> Duration {
    let budget = idle.saturating_add(Duration::from_secs(earned_seconds)).saturating_sub(waited);
    budget.min(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_average_are_bounded() {
        let s = Duration::from_secs;
        let table = [
            // idle, earned, waited, allowed
            (s(60), 0, s(0), s(60)),
            (s(60), 0, s(50), s(10)),
            (s(60), 100, s(50), s(60)),
            (s(60), 1, s(61), s(0)),
            (s(60), 0, s(100), s(0)),
        ];
        let wrong: Vec<_> = table.into_iter().filter(|(i, e, w, a)| allowed(*i, *e, *w) != *a).collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
    }
}
