//! Records in SQLite.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::audit::Entry;
use crate::config::Audit;
use crate::ledger::LedgerError;
use crate::ledger::fact::{Fact, Hash};
use crate::ledger::queue::{Done, Job};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS event (
    sequence INTEGER PRIMARY KEY,
    recorded INTEGER NOT NULL,
    patient TEXT,
    user TEXT,
    client TEXT,
    kept BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_patient ON event (patient, sequence) WHERE patient IS NOT NULL;
CREATE TABLE IF NOT EXISTS intent (id INTEGER PRIMARY KEY AUTOINCREMENT, kept BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS progress (sink TEXT PRIMARY KEY, through INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rejected (
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (sink, sequence)
) STRICT;
";

/// Takes jobs and keeps what they say.
pub(super) trait Spool: Send {
    /// Does all of these together; all of it is durable when this returns, and none of it when it fails.
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError>;

    /// Tries whether something could be kept now.
    fn probe(&mut self) -> Result<(), LedgerError>;
}

/// What became of jobs.
#[derive(Debug)]
pub(super) struct Applied {
    /// One for each job, in order.
    pub(super) done: Vec<Done>,
    /// The number of the newest event.
    pub(super) head: u64,
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
                Job::Delivered { .. } => Done::Noted,
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

/// The file in a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("audit.db")
}

/// A database in a folder that is locked for this process.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    head: u64,
    hash: Hash,
    _lock: File,
}

impl Store {
    pub(super) fn open(settings: &Audit) -> Result<Self, LedgerError> {
        let folder = &settings.path;
        let say = |cause| LedgerError::io(folder, cause);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(say)?;
        let mode = folder.metadata().map_err(say)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(folder = %folder.display(), "others can look into the folder of audit events");
        }
        let lock = locked(folder)?;
        let path = file(folder);
        let opened = || -> rusqlite::Result<(Connection, u64, Hash)> {
            let connection = Connection::open(&path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(SCHEMA)?;
            let last = connection
                .query_row("SELECT sequence, hash FROM event ORDER BY sequence DESC LIMIT 1", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()?;
            let (head, hash) = last.map_or((0, Hash::NONE), |(sequence, hash)| {
                (u64::try_from(sequence).unwrap_or(0), Hash::from_slice(&hash).unwrap_or(Hash::NONE))
            });
            Ok((connection, head, hash))
        };
        let (connection, head, hash) = opened().map_err(|cause| LedgerError::store(&path, cause))?;
        let mut store = Self { path, connection, head, hash, _lock: lock };
        store.recover()?;
        Ok(store)
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Records the writes that were announced and whose end is not known.
    fn recover(&mut self) -> Result<(), LedgerError> {
        let interrupted = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
            let mut found = self.connection.prepare("SELECT id, kept FROM intent ORDER BY id")?;
            found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let found = interrupted().map_err(|cause| LedgerError::store(&self.path, cause))?;
        let jobs: Vec<Job> = found
            .into_iter()
            .filter_map(|(id, kept)| {
                let mut entry = Entry::read(&kept).ok()?;
                entry.interrupted();
                Some(Job::Record { facts: vec![Fact::of(&entry)], intent: u64::try_from(id).ok() })
            })
            .collect();
        self.apply(&jobs.iter().collect::<Vec<_>>()).map(drop)
    }
}

impl Spool for Store {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        let (mut head, mut hash) = (self.head, self.hash);
        let mut apply = || -> rusqlite::Result<Vec<Done>> {
            let transaction = self.connection.transaction()?;
            let mut done = Vec::with_capacity(jobs.len());
            for job in jobs {
                done.push(one(&transaction, job, (&mut head, &mut hash))?);
            }
            transaction.commit()?;
            Ok(done)
        };
        let done = apply().map_err(|cause| LedgerError::store(&self.path, cause))?;
        (self.head, self.hash) = (head, hash);
        Ok(Applied { done, head })
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        let probe = || -> rusqlite::Result<()> {
            self.connection.execute(
                "INSERT INTO progress VALUES ('', 0) ON CONFLICT DO UPDATE SET through = through + 1",
                [],
            )?;
            Ok(())
        };
        probe().map_err(|cause| LedgerError::store(&self.path, cause))
    }
}

fn one(
    transaction: &Transaction<'_>,
    job: &Job,
    (head, hash): (&mut u64, &mut Hash),
) -> rusqlite::Result<Done> {
    let number = |sequence: u64| i64::try_from(sequence).unwrap_or(i64::MAX);
    match job {
        Job::Record { facts, intent } => {
            let mut insert =
                transaction.prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for fact in facts {
                *head = head.saturating_add(1);
                *hash = Hash::of(*hash, *head, &fact.kept);
                insert.execute(params![
                    number(*head),
                    fact.recorded,
                    fact.patient,
                    fact.user,
                    fact.client,
                    fact.kept,
                    hash.as_bytes()
                ])?;
            }
            if let Some(intent) = intent {
                transaction.prepare_cached("DELETE FROM intent WHERE id = ?1")?.execute([number(*intent)])?;
            }
            Ok(Done::Noted)
        }
        Job::Intend(fact) => {
            transaction.prepare_cached("INSERT INTO intent (kept) VALUES (?1)")?.execute([&fact.kept])?;
            Ok(Done::Intended(u64::try_from(transaction.last_insert_rowid()).unwrap_or(0)))
        }
        Job::Delivered { sink, through, rejected } => {
            let set = "INSERT INTO progress VALUES (?1, ?2) ON CONFLICT DO UPDATE SET through = ?2";
            transaction.prepare_cached(set)?.execute(params![sink, number(*through)])?;
            for rejection in rejected {
                let put = "INSERT OR REPLACE INTO rejected VALUES (?1, ?2, ?3)";
                transaction.prepare_cached(put)?.execute(params![
                    sink,
                    number(rejection.sequence),
                    rejection.reason
                ])?;
            }
            Ok(Done::Noted)
        }
    }
}

/// Keeps a second gateway, or the old one still draining, out of the folder.
fn locked(folder: &Path) -> Result<File, LedgerError> {
    let path = folder.join("lock");
    let say = |cause| LedgerError::io(&path, cause);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(say)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(say(cause)),
    }
}
