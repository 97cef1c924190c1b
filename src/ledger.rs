//! Where audit entries are kept: on disk before the answer goes out.
//!
//! One thread writes. It takes everything that waits, keeps it in one transaction of SQLite with one sync of its log, and
//! only then lets the waiters go on: many requests share one sync, and none is answered before its record is durable
//! (AUD-1). What a failed write or a crash left behind is not there, so a record is there exactly when its waiter was
//! told so; when power fails, it may also be there without anybody having been told.
//!
//! Each record carries the hash of the one before it: a record that was changed, taken out or put in breaks the chain.
//! A write at the backend is announced before it is sent ([`Ledger::intend`]), so that one that a crash interrupted has
//! its record too.

mod desk;
mod fact;
mod find;
mod folder;
mod head;
mod opening;
mod queue;
mod reader;
mod segment;
mod settle;
mod store;
mod tender;
mod upkeep;
mod verify;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::audit::Entry;
use crate::config::{Audit, Rotation};
use crate::ledger::desk::Desk;
use crate::ledger::fact::Fact;
use crate::ledger::queue::{Job, Pending, Queue, Told, Worker};
use crate::ledger::store::{Discard, Spool, Store};
use crate::telemetry::Durations;

pub use fact::{Hash, Kept, NoHash};
pub use find::Filter;
pub use queue::{Intent, Rejection};
pub use reader::Reader;
pub use settle::settle_rejected;
pub use verify::{Fault, Verification};

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
    /// A file was removed, or another put in its place, while it was written to.
    #[error("`{path}`: was removed or replaced while in use; put it back, or restart the gateway")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The disk neither took the record nor refused it in time. It may still be written.
    #[error("the disk did not take an audit event in {0:?}")]
    Slow(Duration),
    /// A file is not what was written.
    #[error(
        "`{path}`: {what}; move this file, and those with its name and `-wal` or `-shm`, out of the folder and keep them: \
         a new file then goes on, and `pforte audit verify` names the events that are missing"
    )]
    Spoilt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// SQLite says no.
    #[error("`{path}`: {cause}")]
    Store {
        /// The file.
        path: PathBuf,
        /// Its words.
        cause: Arc<rusqlite::Error>,
    },
    /// The writer broke down.
    #[error("the audit writer ended badly")]
    Writer,
    /// A record cannot be read.
    #[error("`{path}`: audit event {sequence} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Its number.
        sequence: u64,
    },
}

impl LedgerError {
    fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause: Arc::new(cause) }
    }

    fn store(path: &Path, cause: rusqlite::Error) -> Self {
        Self::Store { path: path.to_owned(), cause: Arc::new(cause) }
    }
}

/// How the ledger is doing. What concerns files is looked up each minute or so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Events that wait to be written.
    pub queued: usize,
    /// Events that could not be written or queued since the start.
    pub failed: u64,
    /// Why the last attempt to write failed; absent when it did not.
    pub last_error: Option<String>,
    /// The number of the newest durable event, 0 while there is none.
    pub head: u64,
    /// How many files the events are in.
    pub segments: usize,
    /// How large these are together, about, in bytes.
    pub bytes: u64,
    /// When the oldest event that is kept was recorded.
    pub oldest: Option<Timestamp>,
    /// Bytes that are free on their disk; absent when that cannot be told.
    pub free: Option<u64>,
    /// How long commits took.
    pub commits: Durations,
}

/// The part of the status that a spool knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Figures {
    head: u64,
    segments: usize,
    bytes: u64,
    /// Milliseconds since the epoch.
    oldest: Option<i64>,
    free: Option<u64>,
}

/// What a reload may change.
#[derive(Debug, Clone)]
struct Rules {
    rotation: Rotation,
    retention: Option<Duration>,
    sinks: Vec<String>,
}

impl Rules {
    fn of(settings: &Audit) -> Self {
        let sinks = settings.sinks.iter().map(|sink| sink.name.clone()).collect();
        Self { rotation: settings.rotation, retention: settings.retention, sinks }
    }
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
    /// Time between looks after the files.
    upkeep: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting_events: 16 * 1024,
            waiting_bytes: 32 * 1024 * 1024,
            patience: Duration::from_secs(10),
            probe: Duration::from_secs(1),
            upkeep: Duration::from_secs(60),
        }
    }
}

/// Records audit entries durably. Shared by reference; one per process and folder.
#[derive(Debug)]
pub struct Ledger {
    queue: Arc<Queue>,
    patience: Duration,
    head: watch::Receiver<u64>,
    writer: Mutex<Option<JoinHandle<()>>>,
    rules: Option<Arc<Mutex<Rules>>>,
    keeps: Keeps,
}

/// What becomes of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    Nothing,
}

impl Ledger {
    /// Opens the spool in its folder, makes the folder when it is missing, and records what a crash interrupted.
    ///
    /// The folder is locked against other processes while the ledger lives.
    ///
    /// # Errors
    /// When the folder cannot be used, another process uses it, or its newest file is spoilt.
    pub fn open(settings: &Audit) -> Result<Self, LedgerError> {
        let rules = Arc::new(Mutex::new(Rules::of(settings)));
        let store = Store::open(settings.path.clone(), Arc::clone(&rules), queue::now())?;
        let head = store.head();
        let mut ledger = Self::start(store, head, Bounds::default())?;
        ledger.rules = Some(rules);
        Ok(ledger)
    }

    /// Takes over what new settings say of rotation, retention and the sinks that events are kept for. The folder stays.
    pub fn change(&self, settings: &Audit) {
        if let Some(rules) = &self.rules {
            *rules.lock().unwrap_or_else(PoisonError::into_inner) = Rules::of(settings);
        }
    }

    /// A ledger that keeps nothing and answers at once: for benchmarks of everything else.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn discarding() -> Result<Self, LedgerError> {
        let mut ledger = Self::start(Discard::default(), 0, Bounds::default())?;
        ledger.keeps = Keeps::Nothing;
        Ok(ledger)
    }

    fn start(spool: impl Spool + 'static, head: u64, bounds: Bounds) -> Result<Self, LedgerError> {
        let patience = bounds.patience;
        let queue = Arc::new(Queue::new(bounds));
        let (newest, head) = watch::channel(head);
        let worker = Worker::new(Arc::clone(&queue), spool, newest);
        let writer = std::thread::Builder::new()
            .name("audit-ledger".to_owned())
            .spawn(move || worker.run())
            .map_err(|cause| LedgerError::io(Path::new("audit-ledger"), cause))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self { queue, patience, head, writer, rules: None, keeps: Keeps::All })
    }

    /// Records these entries, together or not at all, and returns once they are durable.
    ///
    /// A caller that stops waiting does not take its entries back.
    ///
    /// # Errors
    /// When they could not be recorded. After [`LedgerError::Slow`] they may be recorded still.
    pub async fn record(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        self.settle(None, entries).await
    }

    /// Announces a write before it is sent, and returns once that is durable.
    ///
    /// # Errors
    /// When it could not be recorded: then nothing may be sent.
    pub async fn intend(&self, entry: &Entry) -> Result<Intent, LedgerError> {
        match self.ask(Job::Intend(Fact::of(entry))).await? {
            Told::Intended(intent) => Ok(intent),
            Told::Noted => Err(LedgerError::Writer),
        }
    }

    /// Records how an announced write ended, as [`Ledger::record`] does, in place of the announcement.
    ///
    /// # Errors
    /// When that could not be recorded. The announcement then stays, and becomes an event of its own that says that the end is
    /// not known, as soon as anything can be recorded.
    pub async fn conclude(&self, intent: Intent, entries: &[Entry]) -> Result<(), LedgerError> {
        self.settle(Some(intent), entries).await
    }

    /// Records entries as [`Ledger::conclude`] does when something was announced, else as [`Ledger::record`] does.
    ///
    /// # Errors
    /// As they have.
    pub async fn settle(&self, intent: Option<Intent>, entries: &[Entry]) -> Result<(), LedgerError> {
        if intent.is_none() && (entries.is_empty() || self.keeps == Keeps::Nothing) {
            return Ok(());
        }
        let facts = entries.iter().map(Fact::of).collect();
        let intent = intent.map(Intent::take);
        self.ask(Job::Record { facts, intent }).await.map(drop)
    }

    /// Notes durably that a sink has taken everything up to and including `through`, but for these.
    ///
    /// # Errors
    /// When that could not be kept; the sink is then given the same events again.
    pub async fn delivered(
        &self,
        sink: &str,
        through: u64,
        rejected: Vec<Rejection>,
    ) -> Result<(), LedgerError> {
        self.ask(Job::Delivered { sink: sink.to_owned(), through, rejected }).await.map(drop)
    }

    async fn ask(&self, job: Job) -> Result<Told, LedgerError> {
        let (done, told) = oneshot::channel();
        self.queue.push(Pending { job, done, desk: Desk::here() })?;
        match tokio::time::timeout(self.patience, told).await {
            Ok(told) => told.unwrap_or(Err(LedgerError::Closed)),
            Err(_) => Err(LedgerError::Slow(self.patience)),
        }
    }

    /// The number of the newest durable event, 0 while there is none; whoever sends events on waits for it to change.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
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
