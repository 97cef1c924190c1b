//! Reads recorded events back, oldest first, also while a gateway writes.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::audit::{Entry, Outcome};
use crate::ledger::LedgerError;
use crate::ledger::fact::{Hash, Kept};
use crate::ledger::store::file;

/// Which events; those that all set members fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this patient: the id.
    pub patient: Option<String>,
    /// By this user: the token's `sub`, or its `fhirUser`.
    pub user: Option<String>,
    /// By this OAuth client.
    pub client: Option<String>,
    /// With this request id.
    pub request_id: Option<String>,
    /// Recorded at this instant or later.
    pub since: Option<Timestamp>,
    /// Recorded before this instant.
    pub until: Option<Timestamp>,
    /// Ended so.
    pub outcome: Option<Outcome>,
}

impl Filter {
    /// Whether an entry fits.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, found: &[Option<&str>]| {
            wanted.as_deref().is_none_or(|wanted| found.contains(&Some(wanted)))
        };
        same(&self.patient, &[entry.subject_patient().as_deref()])
            && same(&self.user, &[entry.subject.as_deref(), entry.fhir_user.as_deref()])
            && same(&self.client, &[entry.client.as_deref()])
            && same(&self.request_id, &[Some(&entry.request_id)])
            && self.since.is_none_or(|since| entry.recorded >= since)
            && self.until.is_none_or(|until| entry.recorded < until)
            && self.outcome.is_none_or(|outcome| entry.outcome() == outcome)
    }
}

/// Reads a folder of events.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Option<Connection>,
}

impl Reader {
    /// Opens a folder for reading; one in which nothing was ever recorded holds no events.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = file(folder);
        if !path.exists() {
            folder.read_dir().map_err(|cause| LedgerError::io(folder, cause))?;
            return Ok(Self { path, connection: None });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|cause| LedgerError::store(&path, cause))?;
        Ok(Self { path, connection: Some(connection) })
    }

    /// The events after a number, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// When the store or one of them cannot be read.
    pub fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Kept>, LedgerError> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let say = |cause| LedgerError::store(&self.path, cause);
        let from = i64::try_from(sequence).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "SELECT sequence, kept, hash FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let mut found = connection.prepare_cached(sql).map_err(say)?;
        let rows = found.query_map([from, limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let mut events = Vec::new();
        for row in rows.map_err(say)? {
            let (sequence, kept, hash) = row.map_err(say)?;
            let sequence = u64::try_from(sequence).unwrap_or(0);
            let unreadable = || LedgerError::Unreadable { path: self.path.clone(), sequence };
            let entry = Entry::read(&kept).map_err(|_| unreadable())?;
            let hash = Hash::from_slice(&hash).ok_or_else(unreadable)?;
            events.push(Kept { sequence, hash, entry });
        }
        Ok(events)
    }

    /// Gives each event that the filter takes, oldest first, until `each` says that it is enough.
    ///
    /// # Errors
    /// When the store or one of them cannot be read.
    pub fn find(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(Kept) -> std::ops::ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let mut after = 0;
        loop {
            let events = self.after(after, 1000)?;
            let Some(last) = events.last() else { return Ok(()) };
            after = last.sequence;
            for event in events {
                if filter.takes(&event.entry) && each(event).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// The number up to which a sink has taken the events.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn delivered(&self, sink: &str) -> Result<u64, LedgerError> {
        let Some(connection) = &self.connection else { return Ok(0) };
        let sql = "SELECT through FROM progress WHERE sink = ?1";
        let through: Option<i64> = connection
            .query_row(sql, [sink], |row| row.get(0))
            .optional()
            .map_err(|cause| LedgerError::store(&self.path, cause))?;
        Ok(through.and_then(|through| u64::try_from(through).ok()).unwrap_or(0))
    }

    /// The events that a sink did not take.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rejected(&self, sink: &str) -> Result<Vec<super::Rejection>, LedgerError> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let say = |cause| LedgerError::store(&self.path, cause);
        let sql = "SELECT sequence, reason FROM rejected WHERE sink = ?1 ORDER BY sequence";
        let mut found = connection.prepare_cached(sql).map_err(say)?;
        let rows = found
            .query_map([sink], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .map_err(say)?;
        rows.map(|row| {
            let (sequence, reason) = row.map_err(say)?;
            Ok(super::Rejection { sequence: u64::try_from(sequence).unwrap_or(0), reason })
        })
        .collect()
    }
}
