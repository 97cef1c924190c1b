//! What is there when a ledger is opened: whole, cut, or spoilt.
//!
//! A log that was cut leaves a database that is whole and too short; only the note of the newest event tells. Then a new
//! segment begins after the noted event: a number is never given twice, and the gap is there to be verified for as long as the
//! file beside it. A newest segment that cannot be read is not written around: the operator moves it away, and the gap says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::ledger::fact::{Hash, natural, number};
use crate::ledger::folder::{self, Listing, Lock};
use crate::ledger::head::{self, Found, Head, Noted};
use crate::ledger::segment::{self, Carry, Meta};
use crate::ledger::store::{Current, Store, identities};
use crate::ledger::tender::Tender;
use crate::ledger::upkeep::Later;
use crate::ledger::{Figures, LedgerError, Rules};

/// How many of the newest events are read again at each start.
const READ_AGAIN: i64 = 1000;

/// The newest segment as it was found.
struct End {
    at: u64,
    path: PathBuf,
    meta: Meta,
    last: u64,
    hash: Hash,
    connection: Connection,
    finished: bool,
}

/// Where the chain goes on.
enum Onward {
    /// In the newest segment.
    Here,
    /// In a new segment of this number, after this event.
    New { at: u64, before: u64, hash: Hash },
}

impl Current {
    /// A segment that is not open yet.
    pub(super) fn new(folder: &Path, at: u64, meta: Meta) -> Self {
        let path = folder::segment(folder, at);
        Self { at, path, meta, connection: None, identities: Vec::new(), first: None, bytes: 0, log: 0 }
    }
}

/// Locks the folder and finds the end of the chain, or makes one.
pub(super) fn open(folder: PathBuf, rules: Arc<Mutex<Rules>>, now: Timestamp) -> Result<Store, LedgerError> {
    folder::make(&folder)?;
    let lock = Lock::take(&folder)?;
    let listing = Listing::of(&folder)?;
    for debris in listing.debris {
        std::fs::remove_file(&debris).map_err(|cause| LedgerError::io(&debris, cause))?;
    }
    let found = head::find(&folder)?;
    let end = listing.segments.last().map(|at| examine(&folder, *at)).transpose()?;
    let onward = onward(&folder, &found, end.as_ref())?;
    let (current, head, hash) = match (onward, end) {
        (Onward::Here, Some(end)) => resume(end)?,
        (Onward::Here, None) => begin(&folder, now, (1, 0, Hash::NONE), &Carry::default())?,
        (Onward::New { at, before, hash }, end) => {
            let carry = carried(end, &found)?;
            begin(&folder, now, (at, before, hash), &carry)?
        }
    };
    let noted = Noted { segment: current.at, sequence: head, hash };
    let note = Head::create(&folder, &noted)?;
    let figures = Figures { head, ..Figures::default() };
    let tender = Tender::start()?;
    let later = Later::default();
    Ok(Store {
        folder,
        rules,
        current,
        head,
        hash,
        intents: 0,
        trusted: true,
        note,
        figures,
        later,
        tender,
        lock,
    })
}

/// Looks at the newest segment: the newest events in any case, everything after a crash.
fn examine(folder: &Path, at: u64) -> Result<End, LedgerError> {
    let path = folder::segment(folder, at);
    let finished = segment::is_finished(&path)?;
    let crashed = folder::beside(&path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
    let say = |cause: rusqlite::Error| {
        if segment::is_spoilt(&cause) {
            LedgerError::Spoilt { path: path.clone(), what: cause.to_string() }
        } else {
            LedgerError::store(&path, cause)
        }
    };
    let opened = if finished { segment::reading(&path) } else { segment::writing(&path) };
    let connection = opened.map_err(say)?;
    let meta = Meta::of(&path, &connection)?;
    if crashed {
        let sound: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(say)?;
        if sound != "ok" {
            return Err(LedgerError::Spoilt { path: path.clone(), what: sound });
        }
    }
    let (last, hash) = segment::last(&connection, &meta).map_err(say)?;
    if let Some(sequence) = unchained(&connection, &meta, last).map_err(say)? {
        let what = format!("event {sequence} does not follow the one before it");
        return Err(LedgerError::Spoilt { path: path.clone(), what });
    }
    Ok(End { at, path, meta, last, hash, connection, finished })
}

/// The first of the newest events that does not fit the one before it.
fn unchained(connection: &Connection, meta: &Meta, last: u64) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT sequence, kept, hash FROM event WHERE sequence >= ?1 ORDER BY sequence";
    let from = number(last).saturating_sub(READ_AGAIN);
    let mut found = connection.prepare(sql)?;
    let mut rows = found.query([from])?;
    let mut before = (from <= number(meta.before)).then_some((meta.before, meta.hash));
    while let Some(row) = rows.next()? {
        let (sequence, kept) = (natural(row.get(0)?), row.get_ref(1)?);
        let kept = kept.as_blob().map_err(|_| rusqlite::Error::InvalidQuery)?;
        let hash: Vec<u8> = row.get(2)?;
        let Some(hash) = Hash::from_slice(&hash) else { return Ok(Some(sequence)) };
        let fits = before.is_none_or(|(number, of)| {
            number.checked_add(1) == Some(sequence) && Hash::of(of, sequence, kept) == hash
        });
        if !fits {
            return Ok(Some(sequence));
        }
        before = Some((sequence, hash));
    }
    Ok(None)
}

/// Compares the note with what is there, and says where the chain goes on.
fn onward(folder: &Path, found: &Found, end: Option<&End>) -> Result<Onward, LedgerError> {
    let (at, last, hash) = end.map_or((0, 0, Hash::NONE), |end| (end.at, end.last, end.hash));
    let next = |before, hash, at: u64| Onward::New { at: at.saturating_add(1), before, hash };
    let here = match end {
        Some(end) if end.finished => next(last, hash, at),
        Some(_) | None => Onward::Here,
    };
    let noted = match found {
        Found::Noted(noted) => noted,
        Found::Absent if last == 0 => return Ok(here),
        Found::Absent => {
            tracing::error!(last, "the file `head` is gone: audit events may be missing at the end");
            head::set_aside(folder, "absent\n")?;
            return Ok(here);
        }
        Found::Garbled(text) => {
            tracing::error!(last, "the file `head` cannot be read: audit events may be missing at the end");
            head::set_aside(folder, text)?;
            return Ok(here);
        }
    };
    if noted.sequence > last || noted.segment > at {
        tracing::error!(
            noted = noted.sequence,
            last,
            "audit events are missing at the end; a new file goes on after the newest that was noted"
        );
        let (before, hash) = if noted.sequence >= last { (noted.sequence, noted.hash) } else { (last, hash) };
        return Ok(next(before, hash, at.max(noted.segment)));
    }
    if let Some(end) = end {
        let there = event_hash(end, noted.sequence)?;
        if there.is_some_and(|there| there != noted.hash) {
            tracing::error!(noted = noted.sequence, "an audit event is not the one that was noted");
            head::set_aside(folder, &format!("{} {}\n", noted.sequence, noted.hash))?;
        }
    }
    Ok(here)
}

/// The hash of an event, as far as this segment knows it.
fn event_hash(end: &End, sequence: u64) -> Result<Option<Hash>, LedgerError> {
    if sequence == end.meta.before {
        return Ok(Some(end.meta.hash));
    }
    let sql = "SELECT hash FROM event WHERE sequence = ?1";
    let found = end.connection.query_row(sql, [number(sequence)], |row| row.get::<_, Vec<u8>>(0)).optional();
    let found = found.map_err(|cause| LedgerError::store(&end.path, cause))?;
    Ok(found.and_then(|hash| Hash::from_slice(&hash)))
}

fn resume(end: End) -> Result<(Current, u64, Hash), LedgerError> {
    let say = |cause| LedgerError::store(&end.path, cause);
    let sql = "SELECT recorded FROM event ORDER BY sequence LIMIT 1";
    let first = end.connection.query_row(sql, [], |row| row.get(0)).optional().map_err(say)?;
    let length = |suffix| folder::beside(&end.path, suffix).metadata().map_or(0, |found| found.len());
    let (bytes, log) = (length(""), length("-wal"));
    let current = Current {
        at: end.at,
        identities: identities(&end.path)?,
        path: end.path,
        meta: end.meta,
        connection: Some(end.connection),
        first,
        bytes,
        log,
    };
    Ok((current, end.last, end.hash))
}

fn begin(
    folder: &Path,
    now: Timestamp,
    (at, before, hash): (u64, u64, Hash),
    carry: &Carry,
) -> Result<(Current, u64, Hash), LedgerError> {
    let meta = Meta { before, hash, begun: now.as_millisecond() };
    segment::begin(folder, at, &meta, carry)?;
    folder::sync(folder)?;
    let mut current = Current::new(folder, at, meta);
    let say = |cause| LedgerError::store(&current.path, cause);
    let connection = segment::writing(&current.path).map_err(say)?;
    segment::last(&connection, &meta).map_err(say)?;
    current.identities = identities(&current.path)?;
    current.connection = Some(connection);
    Ok((current, before, hash))
}

/// What a new segment takes over from the newest that is there.
fn carried(end: Option<End>, found: &Found) -> Result<Carry, LedgerError> {
    let Some(end) = end else { return Ok(Carry::default()) };
    let mut carry = Carry::of(&end.connection).map_err(|cause| LedgerError::store(&end.path, cause))?;
    if matches!(found, Found::Noted(noted) if noted.segment > end.at) {
        // What was announced here was taken over by the segment that is gone, and ended there if it did.
        carry.intents.clear();
    }
    Ok(carry)
}
