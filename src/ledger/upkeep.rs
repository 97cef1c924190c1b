//! New segments, and the end of old ones.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use crate::ledger::fact::{natural, number};
use crate::ledger::folder::{self, Listing};
use crate::ledger::segment::{self, Carry, Meta, Span};
use crate::ledger::store::{Current, Store};
use crate::ledger::tender::Task;
use crate::ledger::{Figures, LedgerError};

/// The log is taken over into the file when it has grown by this.
const LOG: u64 = 4 << 20;

/// What is put off.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// A rotation that failed is tried again after this instant, in milliseconds since the epoch.
    rotation: Option<i64>,
    /// The log was being taken over while it grew; the rest of it is to follow.
    rest_of_log: bool,
}

/// The number of a rejected event, and what goes with its segment.
type Copied = (i64, Vec<u8>, Vec<u8>);

impl Store {
    /// What is due after a commit: cheap when it is nothing.
    pub(super) fn after_commit(&mut self, now: Timestamp) {
        if self.rotation_due(now) {
            if let Err(error) = self.rotate(now) {
                tracing::warn!(%error, "no new file for audit events; the old one grows on");
                self.later.rotation = Some(now.as_millisecond().saturating_add(60_000));
            }
            return;
        }
        if self.current.log < LOG || !self.tender.is_idle() {
            return;
        }
        if !self.later.rest_of_log {
            // Most of it is taken over beside the writer, which makes no commit wait.
            self.tender.give(Task::Checkpoint(self.current.path.clone()));
            self.later.rest_of_log = true;
            return;
        }
        // The little that came meanwhile is taken over here: only when all of it is, the log begins anew.
        let Some(connection) = &self.current.connection else { return };
        self.later.rest_of_log = false;
        self.current.log = 0;
        if let Err(error) = segment::checkpoint(connection, "PASSIVE") {
            tracing::warn!(%error, "the log of audit events is not taken over");
        }
    }

    fn rotation_due(&self, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        let Some(first) = self.current.first else { return false };
        if !self.trusted
            || self.later.rotation.is_some_and(|later| now < later && later <= now.saturating_add(60_000))
        {
            return false;
        }
        let rotation = self.rules().rotation;
        self.current.bytes > rotation.bytes || now.saturating_sub(first) > millis(rotation.age)
    }

    /// Begins a new segment that goes on where this one ends.
    pub(super) fn rotate(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let Some(connection) = &self.current.connection else { return Err(LedgerError::Writer) };
        let say = |cause| LedgerError::store(&self.current.path, cause);
        let carry = Carry::of(connection).map_err(say)?;
        let meta = Meta { before: self.head, hash: self.hash, begun: now.as_millisecond() };
        let at = self.current.at.saturating_add(1);
        segment::begin(&self.folder, at, &meta, &carry)?;
        // From here on the new one is the newest, whatever happens: the old one must not be written to again.
        let old = std::mem::replace(&mut self.current, Current::new(&self.folder, at, meta));
        self.later.rotation = None;
        self.later.rest_of_log = false;
        let opened = self.ready();
        if opened.is_ok() {
            self.note.note(&self.noted());
            tracing::info!(file = %self.current.path.display(), "a new file for audit events");
        }
        if let Some(connection) = old.connection {
            // Its log is taken over beside the writer.
            let _kept = segment::keep_log(&connection);
        }
        self.look();
        self.tender.give(Task::Finish(old.path));
        opened
    }

    /// What is due each minute or so.
    pub(super) fn now_and_then(&mut self, now: Timestamp) {
        if self.trusted && self.current.connection.is_some() {
            self.after_commit(now);
            self.note.upkeep(&self.noted());
            if let Err(error) = self.retire(now) {
                tracing::warn!(%error, "old audit events cannot be removed");
            }
            if self.current.log > 0 && self.tender.is_idle() {
                self.tender.give(Task::Checkpoint(self.current.path.clone()));
            }
        }
        self.look();
    }

    /// Looks how large the spool is, and for segments that are still to be finished.
    fn look(&mut self) {
        let Ok(listing) = Listing::of(&self.folder) else { return };
        // Before anything is finished: a file that is read is finished later.
        let oldest = match listing.segments.first() {
            Some(at) if *at != self.current.at => self.oldest_in(*at),
            Some(_) | None => None,
        };
        let mut bytes = 0_u64;
        let idle = self.tender.is_idle();
        for at in listing.segments.iter().filter(|at| **at != self.current.at) {
            let path = folder::segment(&self.folder, *at);
            bytes = bytes.saturating_add(path.metadata().map_or(0, |found| found.len()));
            if matches!(segment::is_finished(&path), Ok(false)) && idle {
                self.tender.give(Task::Finish(path));
            }
        }
        self.figures = Figures {
            bytes,
            segments: listing.segments.len(),
            head: self.head,
            oldest,
            free: rustix::fs::statvfs(&self.folder)
                .ok()
                .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        };
    }

    fn oldest_in(&self, at: u64) -> Option<i64> {
        let connection = segment::reading(&folder::segment(&self.folder, at)).ok()?;
        let sql = "SELECT recorded FROM event ORDER BY sequence LIMIT 1";
        connection.query_row(sql, [], |row| row.get(0)).ok()
    }

    /// Removes finished segments whose events are old enough and were taken by every sink, the oldest first.
    pub(super) fn retire(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let rules = self.rules();
        let Some(retention) = rules.retention else { return Ok(()) };
        let listing = Listing::of(&self.folder)?;
        let Some(connection) = &self.current.connection else { return Ok(()) };
        let carry = Carry::of(connection).map_err(|cause| LedgerError::store(&self.current.path, cause))?;
        let (taken, current) = (taken(&carry, &rules.sinks), self.current.at);
        for at in listing.segments.into_iter().filter(|at| *at < current) {
            let path = folder::segment(&self.folder, at);
            if !segment::is_finished(&path)? {
                return Ok(());
            }
            let say = |cause| LedgerError::store(&path, cause);
            let connection = segment::reading(&path).map_err(say)?;
            let Some(span) = segment::span(&connection).map_err(say)? else { return Ok(()) };
            let old = now.as_millisecond().saturating_sub(span.latest) > millis(retention);
            if !old || taken < span.last {
                return Ok(());
            }
            let copies = copies(&connection, &carry).map_err(say)?;
            drop(connection);
            self.removed(&span, &copies, now).inspect_err(|_| self.trusted = false)?;
            std::fs::remove_file(&path).map_err(|cause| LedgerError::io(&path, cause))?;
            folder::sync(&self.folder)?;
            tracing::info!(file = %path.display(), through = span.last, "old audit events are removed");
        }
        Ok(())
    }

    /// Notes durably what is about to be removed; the chain is joined there.
    fn removed(&mut self, span: &Span, copies: &[Copied], now: Timestamp) -> Result<(), LedgerError> {
        let Some(connection) = &mut self.current.connection else { return Err(LedgerError::Writer) };
        let mut write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO removed VALUES (?1, ?2, ?3)",
                params![number(span.last), span.hash.as_bytes(), now.as_millisecond()],
            )?;
            for (sequence, kept, hash) in copies {
                let sql = "UPDATE rejected SET kept = ?2, hash = ?3 WHERE sequence = ?1";
                transaction.execute(sql, params![sequence, kept, hash])?;
            }
            transaction.commit()
        };
        write().map_err(|cause| LedgerError::store(&self.current.path, cause))
    }
}

/// Up to where every sink has taken the events. One that is configured no more holds nothing back.
fn taken(carry: &Carry, sinks: &[String]) -> u64 {
    let through = |sink: &String| {
        carry.progress.iter().find(|(name, _)| name == sink).map_or(0, |(_, through)| natural(*through))
    };
    sinks.iter().map(through).min().unwrap_or(u64::MAX)
}

/// What sinks have rejected of a segment that goes.
fn copies(connection: &rusqlite::Connection, carry: &Carry) -> rusqlite::Result<Vec<Copied>> {
    let mut find = connection.prepare("SELECT kept, hash FROM event WHERE sequence = ?1")?;
    let mut copies = Vec::new();
    for (_, sequence, ..) in carry.rejected.iter().filter(|(.., kept, _)| kept.is_none()) {
        let found = find.query_row([sequence], |row| Ok((*sequence, row.get(0)?, row.get(1)?))).optional()?;
        copies.extend(found);
    }
    Ok(copies)
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
