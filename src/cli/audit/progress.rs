//! How far a long piece of work is, on one line of a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Time between two sayings.
const PAUSE: Duration = Duration::from_millis(200);

/// Says it on standard error when that is a terminal, else not at all; takes the line away at its end.
pub(super) struct Progress {
    verb: &'static str,
    terminal: bool,
    said: Instant,
    shown: bool,
}

impl Progress {
    pub(super) fn new(verb: &'static str) -> Self {
        Self { verb, terminal: io::stderr().is_terminal(), said: Instant::now(), shown: false }
    }

    /// So many events are done.
    pub(super) fn show(&mut self, events: u64) {
        if self.terminal && self.said.elapsed() > PAUSE {
            let _unseen = write!(io::stderr(), "\r{events} events {}\u{1b}[K", self.verb);
            (self.said, self.shown) = (Instant::now(), true);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _unseen = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
