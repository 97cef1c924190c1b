//! Log lines on their way out: a bounded queue, and one thread that writes.
//!
//! A reader of stderr that is slow or stuck must not keep requests waiting. While the queue is full, lines of no more than
//! `info` are dropped and counted; warnings and errors wait for room instead, for they are few and matter.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUE: usize = 16 * 1024;
/// Bytes that are written at once, and a line more.
const PIECE: usize = 64 * 1024;
/// Longest wait for the reader when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// There is one log in a process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the start.
#[must_use]
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Message {
    Flush(SyncSender<()>),
    Line(Vec<u8>),
}

/// The queue's entrance.
#[derive(Clone)]
pub(super) struct Lines(SyncSender<Message>);

/// Writes one line into the queue.
pub(super) struct Line<'l> {
    lines: &'l Lines,
    level: Level,
}

impl Lines {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (entrance, exit) = sync_channel(QUEUE);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&exit, out))?;
        Ok(Self(entrance))
    }

    /// Returns when what was logged so far is written, or the reader takes too long.
    pub(super) fn flush(&self) {
        let (done, told) = sync_channel(1);
        if self.0.try_send(Message::Flush(done)).is_ok() {
            let _written = told.recv_timeout(FAREWELL);
        }
    }

    fn put(&self, line: &[u8], level: Level) {
        let message = Message::Line(line.to_vec());
        // `Level` orders by verbosity.
        if level <= Level::WARN {
            let _ended = self.0.send(message);
            return;
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.0.try_send(message) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what comes, as much at once as there is.
fn write(exit: &Receiver<Message>, mut out: impl Write) {
    let mut piece = Vec::with_capacity(PIECE);
    while let Ok(first) = exit.recv() {
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(message) = next {
            match message {
                Message::Flush(done) => {
                    flushed = Some(done);
                    break;
                }
                Message::Line(line) => piece.extend_from_slice(&line),
            }
            next = if piece.len() < PIECE { exit.try_recv().ok() } else { None };
        }
        // Whom could one tell that nobody reads the log?
        let _unread = out.write_all(&piece).and_then(|()| out.flush());
        piece.clear();
        if let Some(done) = flushed {
            let _gone = done.try_send(());
        }
    }
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line { lines: self, level: Level::INFO }
    }

    fn make_writer_for(&'l self, metadata: &Metadata<'_>) -> Line<'l> {
        Line { lines: self, level: *metadata.level() }
    }
}

/// The formatter writes each line with one call.
impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.put(bytes, self.level);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A reader that takes a line when it is told to.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (take, taken) = channel();
        let text = Arc::<Mutex<Vec<u8>>>::default();
        (Lines::to(Slow(taken, Arc::clone(&text))).unwrap(), take, text)
    }

    /// A reader that stands still costs lines, not time; a warning is not among them.
    #[test]
    fn a_full_queue_drops_what_matters_least() {
        let (lines, take, text) = slow();
        let before = lines_dropped();
        // So long that the writer takes few along before it waits for the reader.
        let line = [&[b'.'; PIECE / 64][..], b"i\n"].concat();
        for _ in 0..2 * QUEUE {
            lines.put(&line, Level::INFO);
        }
        let dropped = lines_dropped() - before;
        assert!(dropped > 0 && dropped <= QUEUE as u64, "{dropped}");
        let warning = std::thread::spawn({
            let lines = lines.clone();
            move || lines.put(b"w\n", Level::WARN)
        });
        for _ in 0..QUEUE {
            let _more = take.send(());
        }
        warning.join().unwrap();
        lines.flush();
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("i\n").count() as u64 + dropped, 2 * QUEUE as u64);
        assert!(text.ends_with("w\n"));
    }

    /// What was logged is written when the process ends.
    #[test]
    fn flushed_in_order() {
        let (lines, take, text) = slow();
        for _ in 0..3 {
            take.send(()).unwrap();
        }
        for line in ["a\n", "b\n", "c\n"] {
            lines.put(line.as_bytes(), Level::INFO);
        }
        lines.flush();
        assert_eq!(*text.lock().unwrap(), b"a\nb\nc\n");
    }
}
