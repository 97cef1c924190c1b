//! Records in SQLite.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::ledger::fact::Hash;
use crate::ledger::folder::{self, Identity, Lock};
use crate::ledger::head::{Head, Noted};
use crate::ledger::queue::{Done, Fate, Job};
use crate::ledger::segment::{self, Meta};
use crate::ledger::tender::Tender;
use crate::ledger::write::{Transaction, Writing, open_intents};
use crate::ledger::{Figures, LedgerError, Rules, opening};

/// What must fit on the disk before it counts as writable again.
static SCRATCH: [u8; 256 * 1024] = [0x55; 256 * 1024];

/// Takes jobs and keeps what they say.
pub(super) trait Spool: Send {
    /// Does all of these together; all of it is durable when this returns, and none of it when it fails.
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError>;

    /// Tries whether something could be kept now.
    fn probe(&mut self) -> Result<(), LedgerError>;

    /// What is due after a commit, once the waiters were told.
    fn tend(&mut self, _now: Timestamp) {}

    /// What is due now and then.
    fn upkeep(&mut self, _now: Timestamp) {}

    /// How large it is, from memory.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Leaves everything in files that need no mending.
    fn close(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// What became of jobs.
#[derive(Debug)]
pub(super) struct Applied {
    /// One for each job, in order.
    pub(super) done: Vec<Done>,
    /// The number of the newest event.
    pub(super) head: u64,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) at: u64,
    pub(super) path: PathBuf,
    pub(super) meta: Meta,
    /// Absent while it cannot be opened.
    pub(super) connection: Option<Connection>,
    /// The database and what belongs to it.
    pub(super) identities: Vec<Identity>,
    /// When its first event was recorded, in milliseconds since the epoch.
    pub(super) first: Option<i64>,
    /// How large it is, about.
    pub(super) bytes: u64,
    /// How much its log has grown since it was taken over, about.
    pub(super) log: u64,
}

/// A folder of databases, locked for this process.
pub(super) struct Store {
    pub(super) folder: PathBuf,
    pub(super) rules: Arc<Mutex<Rules>>,
    pub(super) current: Current,
    pub(super) head: u64,
    pub(super) hash: Hash,
    pub(super) intents: u64,
    /// Whether the connection is as good as new. After an error it is replaced: what it remembers may not be what the file says.
    pub(super) trusted: bool,
    pub(super) note: Head,
    pub(super) figures: Figures,
    pub(super) later: crate::ledger::upkeep::Later,
    /// Ends after everything above is closed and before the lock is given up.
    pub(super) tender: Tender,
    pub(super) lock: Lock,
}

impl Store {
    pub(super) fn open(
        folder: PathBuf,
        rules: Arc<Mutex<Rules>>,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let mut store = opening::open(folder, rules, now)?;
        store.recover()?;
        store.upkeep(now);
        Ok(store)
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn rules(&self) -> Rules {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn noted(&self) -> Noted {
        Noted { segment: self.current.at, sequence: self.head, hash: self.hash }
    }

    fn say(&self, cause: rusqlite::Error) -> LedgerError {
        LedgerError::store(&self.current.path, cause)
    }

    /// Records the writes that were announced and whose end is not known.
    fn recover(&mut self) -> Result<(), LedgerError> {
        let open = self.current.connection.as_ref().map_or(Ok(Vec::new()), open_intents);
        let open = open.map_err(|cause| self.say(cause))?;
        if open.is_empty() {
            return Ok(());
        }
        tracing::warn!(writes = open.len(), "writes were interrupted; their audit events say so");
        self.intents = open.iter().copied().max().unwrap_or(0);
        let abandon = Job::Abandon(open.into_iter().map(|intent| (intent, Fate::Interrupted)).collect());
        self.apply(&[&abandon]).map(drop)
    }

    /// Whether the files are still those that were opened. What is written into a file that has lost its name is lost.
    fn in_place(&self) -> Result<(), LedgerError> {
        self.lock.check()?;
        self.current.identities.iter().try_for_each(Identity::check)
    }

    /// Makes sure that the connection can be relied on.
    pub(super) fn ready(&mut self) -> Result<(), LedgerError> {
        self.in_place()?;
        if self.trusted && self.current.connection.is_some() {
            return Ok(());
        }
        folder::sync(&self.folder)?;
        let path = self.current.path.clone();
        let open = || {
            let connection = segment::writing(&path)?;
            let last = segment::last(&connection, &self.current.meta)?;
            Ok((connection, last))
        };
        let (connection, (head, hash)) = open().map_err(|cause| LedgerError::store(&path, cause))?;
        if (head, hash) != (self.head, self.hash) {
            tracing::error!(head, believed = self.head, "the audit events on disk are not those in memory");
        }
        // The old connection is closed only now: had it been the last one, the next would have read again from the log what
        // failed, as if it had been committed.
        self.current.connection = Some(connection);
        (self.head, self.hash) = (head, hash);
        self.current.identities = identities(&path)?;
        self.trusted = true;
        Ok(())
    }

    fn write(&mut self, jobs: &[&Job]) -> Result<Vec<Done>, LedgerError> {
        let Some(connection) = &self.current.connection else { return Err(LedgerError::Writer) };
        let write = || -> rusqlite::Result<_> {
            let transaction = Transaction::begin(connection)?;
            let mut writing = Writing::within(&transaction, (self.head, self.hash, self.intents))?;
            let done: rusqlite::Result<Vec<_>> = jobs.iter().map(|job| writing.job(job)).collect();
            let (head, hash, intents) = (writing.head, writing.hash, writing.intents);
            drop(writing);
            let done = done?;
            transaction.commit()?;
            Ok((done, head, hash, intents))
        };
        let (done, head, hash, intents) =
            write().map_err(|cause| LedgerError::store(&self.current.path, cause))?;
        self.in_place()?;
        (self.head, self.hash, self.intents) = (head, hash, intents);
        Ok(done)
    }
}

/// The files that a segment in use consists of; all of them are there once it has been read.
pub(super) fn identities(path: &std::path::Path) -> Result<Vec<Identity>, LedgerError> {
    ["", "-wal", "-shm"]
        .into_iter()
        .map(|suffix| folder::beside(path, suffix))
        .map(|file| Identity::of(&file).map_err(|cause| LedgerError::io(&file, cause)))
        .collect()
}

impl Spool for Store {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        self.ready()?;
        let done = self.write(jobs).inspect_err(|_| self.trusted = false)?;
        self.note.note(&self.noted());
        let grown = jobs.iter().map(|job| job.grows()).sum();
        self.current.bytes = self.current.bytes.saturating_add(grown);
        let logged: usize = jobs.iter().map(|job| job.bytes()).sum();
        let logged = u64::try_from(logged).unwrap_or(u64::MAX).saturating_add(2 * 4096);
        self.current.log = self.current.log.saturating_add(logged);
        if self.current.first.is_none() {
            self.current.first = jobs.iter().find_map(|job| job.first());
        }
        Ok(Applied { done, head: self.head })
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        self.ready()?;
        let path = self.folder.join("probe");
        let room = || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&SCRATCH)?;
            file.sync_all()
        };
        let room = room();
        let gone = std::fs::remove_file(&path);
        room.and(gone).map_err(|cause| LedgerError::io(&path, cause))?;
        // Nothing reads this number; writing it goes the way of every commit and leaves nothing behind.
        let Some(connection) = &self.current.connection else { return Err(LedgerError::Writer) };
        let written = connection.pragma_update(None, "user_version", 1);
        written.map_err(|cause| self.say(cause)).inspect_err(|_| self.trusted = false)?;
        self.in_place()
    }

    fn tend(&mut self, now: Timestamp) {
        self.after_commit(now);
    }

    fn upkeep(&mut self, now: Timestamp) {
        self.now_and_then(now);
    }

    fn figures(&self) -> Figures {
        let bytes = self.figures.bytes.saturating_add(self.current.bytes);
        Figures { bytes, head: self.head, oldest: self.figures.oldest.or(self.current.first), ..self.figures }
    }

    fn close(&mut self) -> Result<(), LedgerError> {
        let Some(connection) = self.current.connection.take() else { return Ok(()) };
        let say = |cause| LedgerError::store(&self.current.path, cause);
        // Everything that was committed is durable already: what fails here is done at the next start.
        let (log, _) = segment::checkpoint(&connection, "TRUNCATE").map_err(say)?;
        if log != 0 {
            tracing::info!(
                "somebody reads the audit events: their log stays beside them until the next start"
            );
        }
        connection.close().map_err(|(_, cause)| say(cause))
    }
}

/// Keeps nothing.
#[derive(Debug, Default)]
pub(super) struct Discard {
    head: u64,
    intents: u64,
}

impl Spool for Discard {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        let mut done = Vec::with_capacity(jobs.len());
        for job in jobs {
            done.push(match job {
                Job::Abandon(_) | Job::Delivered { .. } => Done::Noted,
                Job::Intend(_) => {
                    self.intents = self.intents.saturating_add(1);
                    Done::Intended(self.intents)
                }
                Job::Record { facts, .. } => {
                    let events = u64::try_from(facts.len()).unwrap_or(0);
                    self.head = self.head.saturating_add(events);
                    Done::Noted
                }
            });
        }
        Ok(Applied { done, head: self.head })
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }
}
