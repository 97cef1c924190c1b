//! Where audit entries are kept: on disk before the answer goes out.
//!
//! One thread writes. It takes everything that waits, appends it with one write and one sync, and only then lets the
//! waiters go on: many requests share one sync, and none is answered before its record is durable (AUD-1). A record is
//! one AuditEvent on one line. What a failed write left behind is cut off again, so a record is there exactly when its
//! waiter was told so; when power fails, it may also be there without anybody having been told.
//!
//! Sending records elsewhere, deleting old ones and proving that none was changed are not done here.

mod queue;
mod read;
mod spool;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::oneshot;

use crate::audit::Entry;
use crate::config::Audit;
use crate::ledger::queue::{Pending, Queue, Worker};
use crate::ledger::spool::{Files, Spool};

pub use read::{Events, read};

/// Why something was not recorded, or a record not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The ledger was closed.
    #[error("the audit ledger is closed")]
    Closed,
    /// Too much waits to be written.
    #[error("too many audit events wait to be written")]
    Full,
    /// The operating system says no.
    #[error("`{path}`: {cause}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Its words.
        cause: Arc<std::io::Error>,
    },
    /// Another process writes to the folder.
    #[error("`{path}`: another process keeps its audit events here")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The disk neither took the record nor refused it in time. It may still be written.
    #[error("the disk did not take an audit event in {0:?}")]
    Slow(Duration),
    /// The writer broke down.
    #[error("the audit writer ended badly")]
    Writer,
    /// A recorded line is no JSON object.
    #[error("`{path}`:{line}: expected an AuditEvent on one line")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
}

impl LedgerError {
    fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause: Arc::new(cause) }
    }
}

/// How the ledger is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Events that wait to be written.
    pub queued: usize,
    /// Events that could not be written or queued since the start.
    pub failed: u64,
    /// Why the last attempt to write failed; absent when it did not.
    pub last_error: Option<String>,
}

/// Bounds of a ledger.
#[derive(Debug, Clone)]
struct Bounds {
    /// Events that may wait.
    waiting_events: usize,
    /// Bytes that may wait.
    waiting_bytes: usize,
    /// Longest wait of a request for its record.
    patience: Duration,
    /// Time between attempts to write again while the disk fails and nobody asks.
    probe: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting_events: 16 * 1024,
            waiting_bytes: 32 * 1024 * 1024,
            patience: Duration::from_secs(10),
            probe: Duration::from_secs(1),
        }
    }
}

/// Records audit entries durably. Shared by reference; one per process and folder.
#[derive(Debug)]
pub struct Ledger {
    queue: Arc<Queue>,
    observer: String,
    patience: Duration,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the spool in its folder, makes the folder when it is missing, and mends what a crash left torn.
    ///
    /// `observer` is the gateway's public base. The folder is locked against other processes while the ledger lives.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub fn open(settings: &Audit, observer: &str) -> Result<Self, LedgerError> {
        Self::start(Files::open(&settings.path)?, observer, Bounds::default())
    }

    fn start(spool: impl Spool + 'static, observer: &str, bounds: Bounds) -> Result<Self, LedgerError> {
        let patience = bounds.patience;
        let queue = Arc::new(Queue::new(bounds));
        let worker = Worker::new(Arc::clone(&queue), spool);
        let writer = std::thread::Builder::new()
            .name("audit-ledger".to_owned())
            .spawn(move || worker.run())
            .map_err(|cause| LedgerError::io(Path::new("audit-ledger"), cause))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self { queue, observer: observer.to_owned(), patience, writer })
    }

    /// Records these entries, together or not at all, and returns once they are durable.
    ///
    /// A caller that stops waiting does not take its entries back.
    ///
    /// # Errors
    /// When they could not be recorded. After [`LedgerError::Slow`] they may be recorded still.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let mut lines = Vec::new();
        for entry in &entries {
            // JSON text never holds a bare line feed, so one event stays one line.
            lines.extend_from_slice(entry.to_audit_event(&self.observer).to_string().as_bytes());
            lines.push(b'\n');
        }
        let day = last.recorded.to_zoned(TimeZone::UTC).date();
        let (done, told) = oneshot::channel();
        self.queue.push(Pending { lines, events: entries.len(), day, done })?;
        match tokio::time::timeout(self.patience, told).await {
            Ok(told) => told.unwrap_or(Err(LedgerError::Closed)),
            Err(_) => Err(LedgerError::Slow(self.patience)),
        }
    }

    /// How it is doing, from memory.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        self.queue.status()
    }

    /// Takes no more entries, writes what waits, and returns when the writer has ended and the folder is free.
    ///
    /// # Errors
    /// When the last attempt to write failed.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            ended.map_err(|_| LedgerError::Writer)?.map_err(|_| LedgerError::Writer)?;
        }
        self.queue.failing().map_or(Ok(()), Err)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // The writer still writes what waits; whoever must know when it is done calls `close`.
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
