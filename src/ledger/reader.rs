//! Reads recorded events back, oldest first, also while a gateway writes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::audit::Entry;
use crate::ledger::fact::{Hash, Kept, natural, number};
use crate::ledger::folder::{self, Listing};
use crate::ledger::segment::{self, Meta, Span};
use crate::ledger::{LedgerError, Rejection};

/// Reads a folder of events. One file at a time is open: the one that was read last.
///
/// A reader may be held for long; it sees what is recorded meanwhile.
pub struct Reader {
    pub(super) folder: PathBuf,
    listed: RefCell<Vec<u64>>,
    /// What never changes once it was read.
    limits: RefCell<HashMap<u64, (Meta, Option<Span>)>>,
    open: RefCell<Option<(u64, Connection)>>,
}

/// A segment that may have gone since it was listed.
enum Looked<T> {
    Found(T),
    Gone,
}

impl Reader {
    /// Opens a folder for reading; one in which nothing was ever recorded holds no events.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let reader = Self {
            folder: folder.to_owned(),
            listed: RefCell::default(),
            limits: RefCell::default(),
            open: RefCell::default(),
        };
        reader.list()?;
        Ok(reader)
    }

    /// The segments that are there now, ascending.
    pub(super) fn list(&self) -> Result<Vec<u64>, LedgerError> {
        let segments = Listing::of(&self.folder)?.segments;
        self.listed.replace(segments.clone());
        Ok(segments)
    }

    pub(super) fn path(&self, at: u64) -> PathBuf {
        folder::segment(&self.folder, at)
    }

    /// Asks one segment.
    pub(super) fn with<T>(
        &self,
        at: u64,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let path = self.path(at);
        let say = |cause| LedgerError::store(&path, cause);
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_none_or(|(number, _)| *number != at) {
            // First closed, then opened: a finished segment must not be held.
            *open = None;
            *open = Some((at, segment::reading(&path).map_err(say)?));
        }
        match open.as_ref() {
            Some((_, connection)) => ask(connection).map_err(say),
            None => Err(LedgerError::Closed),
        }
    }

    /// Where a segment begins, and where it ends when it is finished.
    pub(super) fn limits(&self, at: u64) -> Result<(Meta, Option<Span>), LedgerError> {
        if let Some(limits) = self.limits.borrow().get(&at) {
            return Ok(*limits);
        }
        let path = self.path(at);
        let (meta, span) =
            self.with(at, |connection| Ok((Meta::of(&path, connection), segment::span(connection))))?;
        let meta = meta?;
        let limits = (meta, span.map_err(|cause| LedgerError::store(&path, cause))?);
        // One that is not finished will be.
        if limits.1.is_some() {
            self.limits.borrow_mut().insert(at, limits);
        }
        Ok(limits)
    }

    /// The same, for a segment that retention may have removed.
    fn look(&self, at: u64) -> Result<Looked<Meta>, LedgerError> {
        match self.limits(at) {
            Ok((meta, _)) => Ok(Looked::Found(meta)),
            Err(_) if !self.path(at).exists() => Ok(Looked::Gone),
            Err(error) => Err(error),
        }
    }

    /// The segment that the event after this one is in, or the first one; as far as the list goes.
    fn holding(&self, after: u64) -> Result<Option<u64>, LedgerError> {
        let mut candidates = self.listed.borrow().clone();
        // The last one that begins at or before the event; halved, because each may have to be opened.
        let (mut low, mut high) = (0, candidates.len());
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            let Some(at) = candidates.get(middle).copied() else { break };
            match self.look(at)? {
                Looked::Found(meta) if meta.before <= after => low = middle,
                Looked::Found(_) => high = middle,
                Looked::Gone => {
                    candidates = self.list()?;
                    (low, high) = (0, candidates.len());
                }
            }
        }
        Ok(candidates.get(low).copied())
    }

    /// The events after a number, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// When the store or one of them cannot be read.
    pub fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Kept>, LedgerError> {
        let mut events = Vec::new();
        let mut after = sequence;
        let Some(mut at) = self.start(after)? else { return Ok(events) };
        while events.len() < limit {
            // Listed before it is read: a segment that has a successor gets no more events.
            let successor = self.successor(at)?;
            let before = events.len();
            self.read(at, after, limit.saturating_sub(before), &mut events)?;
            after = events.last().map_or(after, |event: &Kept| event.sequence);
            if events.len() >= limit {
                break;
            }
            match successor {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(events)
    }

    /// The segment to begin with.
    pub(super) fn start(&self, after: u64) -> Result<Option<u64>, LedgerError> {
        if self.listed.borrow().is_empty() {
            self.list()?;
        }
        self.holding(after)
    }

    /// The segment after this one.
    pub(super) fn successor(&self, at: u64) -> Result<Option<u64>, LedgerError> {
        let next = |listed: &[u64]| listed.iter().copied().find(|next| *next > at);
        let known = next(&self.listed.borrow());
        if known.is_some() {
            return Ok(known);
        }
        self.list().map(|listed| next(&listed))
    }

    fn read(&self, at: u64, after: u64, limit: usize, events: &mut Vec<Kept>) -> Result<(), LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "SELECT sequence, kept, hash FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let read = self.with(at, |connection| {
            let mut found = connection.prepare_cached(sql)?;
            let rows = found.query_map([number(after), limit], stored)?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        match read {
            Ok(rows) => {
                for row in rows {
                    events.push(self.kept(at, row)?);
                }
                Ok(())
            }
            // Removed since it was listed: it goes on with the next.
            Err(_) if !self.path(at).exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn kept(&self, at: u64, (sequence, kept, hash): Stored) -> Result<Kept, LedgerError> {
        let sequence = natural(sequence);
        let unreadable = || LedgerError::Unreadable { path: self.path(at), sequence };
        let entry = Entry::read(&kept).map_err(|_| unreadable())?;
        let hash = Hash::from_slice(&hash).ok_or_else(unreadable)?;
        Ok(Kept { sequence, hash, entry })
    }

    /// The number up to which a sink has taken the events.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn delivered(&self, sink: &str) -> Result<u64, LedgerError> {
        let Some(at) = self.list()?.last().copied() else { return Ok(0) };
        let sql = "SELECT through FROM progress WHERE sink = ?1";
        let through: Option<i64> =
            self.with(at, |connection| connection.query_row(sql, [sink], |row| row.get(0)).optional())?;
        Ok(through.map_or(0, natural))
    }

    /// The events that a sink did not take.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rejected(&self, sink: &str) -> Result<Vec<Rejection>, LedgerError> {
        let Some(at) = self.list()?.last().copied() else { return Ok(Vec::new()) };
        let sql = "SELECT sequence, reason FROM rejected WHERE sink = ?1 ORDER BY sequence";
        self.with(at, |connection| {
            let mut found = connection.prepare_cached(sql)?;
            let rows = found.query_map([sink], |row| {
                Ok(Rejection { sequence: natural(row.get(0)?), reason: row.get(1)? })
            })?;
            rows.collect()
        })
    }

    /// An event by its number: also one that a sink rejected and that retention has removed since.
    ///
    /// # Errors
    /// When the store or the event cannot be read.
    pub fn event(&self, sequence: u64) -> Result<Option<Kept>, LedgerError> {
        let found = self.after(sequence.saturating_sub(1), 1)?.pop().filter(|kept| kept.sequence == sequence);
        if found.is_some() {
            return Ok(found);
        }
        let Some(at) = self.list()?.last().copied() else { return Ok(None) };
        let sql =
            "SELECT sequence, kept, hash FROM rejected WHERE sequence = ?1 AND kept IS NOT NULL LIMIT 1";
        let copy =
            self.with(at, |connection| connection.query_row(sql, [number(sequence)], stored).optional())?;
        copy.map(|copy| self.kept(at, copy)).transpose()
    }
}

/// A row as it is stored: its number, what is kept, its hash.
pub(super) type Stored = (i64, Vec<u8>, Vec<u8>);

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
