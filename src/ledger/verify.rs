//! Whether what is kept is what was recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::audit::Entry;
use crate::ledger::fact::{Fact, Hash, natural};
use crate::ledger::folder::Listing;
use crate::ledger::head::{self, Found};
use crate::ledger::segment::{Carry, Meta, Span};
use crate::ledger::{LedgerError, Reader};

/// Events that are read at a time.
const STRIDE: i64 = 1000;

/// Faults that are named, at most.
const NAMED: usize = 1000;

/// What was found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The event it was found at, or the last one before it.
    pub sequence: u64,
    /// The file.
    pub file: PathBuf,
    /// What is wrong, for people.
    pub what: String,
}

/// What was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The number of the oldest event that is there; 0 when there is none.
    pub first: u64,
    /// The number of the newest event that is there; 0 when there never was one.
    pub last: u64,
    /// The newest event's hash. Whoever notes number and hash elsewhere can have them looked for later.
    pub hash: Hash,
    /// How many events are there.
    pub events: u64,
    /// What is wrong, in the order of the events; not more than a thousand. Empty: every event fits the one before it.
    pub faults: Vec<Fault>,
}

impl Reader {
    /// Reads everything, computes the chain again, and compares. `known` are numbers and hashes that somebody noted
    /// elsewhere. `progress` is told the number of the event that was reached, now and then.
    ///
    /// Looks at the chain from the first event or from where retention has removed events, within and across files; at what
    /// events are found by; at each file as a whole; at the newest number that the gateway noted beside them, by which missing
    /// events at the end are known. Goes on after a fault. A gateway may write meanwhile: what it adds is not looked at.
    ///
    /// The chain has no key: somebody who can write to the folder can compute all of it anew. Only `known` tells then.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn verify(
        &self,
        known: &[(u64, Hash)],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verification, LedgerError> {
        // What is noted first may be older than the events that are found, never newer.
        let noted = head::find(&self.folder)?;
        let listing = Listing::of(&self.folder)?;
        let mut walk = Walk { known: BTreeMap::new(), ..Walk::default() };
        for (sequence, hash) in known {
            walk.known.entry(*sequence).or_default().push(*hash);
        }
        if let Found::Noted(noted) = &noted {
            walk.noted = Some((noted.sequence, noted.hash));
        }
        walk.file = self.folder.join("head");
        walk.set_aside(&listing);
        if let Some(newest) = listing.segments.last() {
            self.states(*newest, &mut walk);
        }
        for at in &listing.segments {
            self.segment(*at, &mut walk, progress)?;
        }
        walk.file = self.folder.join("head");
        walk.end(&noted);
        Ok(walk.found())
    }

    /// Reads what the newest segment says of sinks and of what was removed, before its events: these go on meanwhile.
    fn states(&self, newest: u64, walk: &mut Walk) {
        // What cannot be read is a fault when its events are read.
        let Ok(carry) = self.with(newest, Carry::of) else { return };
        walk.progress = carry.progress.into_iter().map(|(sink, through)| (sink, natural(through))).collect();
        walk.removed = carry
            .removed
            .into_iter()
            .filter_map(|(through, hash, _)| Some((natural(through), Hash::from_slice(&hash)?)))
            .collect();
        for (id, kept) in carry.intents {
            if Entry::read(&kept).is_err() {
                walk.file = self.path(newest);
                walk.fault(0, format!("the announced write {id} cannot be read"));
            }
        }
    }

    fn segment(&self, at: u64, walk: &mut Walk, progress: &mut dyn FnMut(u64)) -> Result<(), LedgerError> {
        walk.file = self.path(at);
        let looked = self.limits(at).and_then(|(meta, span)| {
            walk.join(&meta);
            let mut cursor = i64::MIN;
            loop {
                let rows = self.with(at, |connection| rows(connection, cursor))?;
                let Some(last) = rows.last() else { break };
                cursor = last.number;
                rows.into_iter().for_each(|row| walk.event(row));
                progress(walk.at.0);
            }
            if let Some(span) = span {
                walk.span(&span);
            }
            let sound = self.with(at, sound)?;
            sound.into_iter().for_each(|what| walk.fault(walk.at.0, what));
            Ok(())
        });
        match looked {
            Ok(()) => {}
            // Retention has removed it meanwhile, and has said so.
            Err(_) if !walk.file.exists() => {
                let newest = self.list()?.last().copied();
                if let Some(newest) = newest.filter(|newest| *newest != at) {
                    self.states(newest, walk);
                }
                walk.broken = true;
            }
            Err(error) => {
                let what = match &error {
                    LedgerError::Spoilt { what, .. } => what.clone(),
                    LedgerError::Store { cause, .. } => format!("cannot be read: {cause}"),
                    LedgerError::Closed
                    | LedgerError::Full
                    | LedgerError::Io { .. }
                    | LedgerError::Locked { .. }
                    | LedgerError::Replaced { .. }
                    | LedgerError::Slow(_)
                    | LedgerError::Unreadable { .. }
                    | LedgerError::Writer => error.to_string(),
                };
                walk.fault(walk.at.0, what);
                walk.broken = true;
            }
        }
        Ok(())
    }
}

/// One row, with what it is found by.
struct Row {
    number: i64,
    fact: Fact,
    hash: Vec<u8>,
}

fn rows(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT sequence, recorded, patient, user, fhir_user, client, kept, hash FROM event \
               WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let mut found = connection.prepare_cached(sql)?;
    let rows = found.query_map([after, STRIDE], |row| {
        let fact = Fact {
            kept: row.get(6)?,
            recorded: row.get(1)?,
            patient: row.get(2)?,
            user: row.get(3)?,
            fhir_user: row.get(4)?,
            client: row.get(5)?,
        };
        Ok(Row { number: row.get(0)?, fact, hash: row.get(7)? })
    })?;
    rows.collect()
}

/// What SQLite finds wrong with a file.
fn sound(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut check = connection.prepare("PRAGMA integrity_check(20)")?;
    let found = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().filter(|what| what != "ok").collect())
}

/// A walk along the chain.
#[derive(Default)]
struct Walk {
    file: PathBuf,
    known: BTreeMap<u64, Vec<Hash>>,
    noted: Option<(u64, Hash)>,
    progress: BTreeMap<String, u64>,
    removed: BTreeMap<u64, Hash>,
    /// Whether anything was passed.
    begun: bool,
    /// Whether a file before could not be read: what follows it cannot be compared.
    broken: bool,
    first: u64,
    /// What the chain goes on with, also where no event has been.
    at: (u64, Option<Hash>),
    events: u64,
    faults: Vec<Fault>,
}

impl Walk {
    fn fault(&mut self, sequence: u64, what: String) {
        if self.faults.len() < NAMED {
            self.faults.push(Fault { sequence, file: self.file.clone(), what });
        }
    }

    /// What the folder itself says is wrong.
    fn set_aside(&mut self, listing: &Listing) {
        for (files, what) in [
            (&listing.strange, "is named like a file of events, and is none"),
            (
                &listing.amiss,
                "at a start of the gateway, the file `head` was missing or did not fit the events",
            ),
        ] {
            for file in files {
                self.faults.push(Fault { sequence: 0, file: file.clone(), what: what.to_owned() });
            }
        }
    }

    /// A segment begins.
    fn join(&mut self, meta: &Meta) {
        let (at, hash) = self.at;
        let joins = if self.begun {
            at == meta.before && hash.is_none_or(|hash| hash == meta.hash)
        } else if meta.before == 0 {
            meta.hash == Hash::NONE
        } else {
            self.removed.get(&meta.before) == Some(&meta.hash)
        };
        // Where a file could not be read it was said already.
        if !joins && !self.broken {
            let what = match self.begun {
                _ if meta.before > at => {
                    format!("events {} to {} are missing before this file", at + 1, meta.before)
                }
                true if meta.before == at => "does not follow the file before it".to_owned(),
                true => format!("begins after event {}, and the file before it ends with {at}", meta.before),
                false => "does not begin with the first event".to_owned(),
            };
            self.fault(meta.before, what);
        }
        self.pass(meta.before, meta.hash);
        self.at = (meta.before, Some(meta.hash));
        (self.begun, self.broken) = (true, false);
    }

    fn event(&mut self, row: Row) {
        let sequence = natural(row.number);
        let (before, of) = self.at;
        if before.checked_add(1) != Some(sequence) {
            let what = if sequence > before {
                format!("events {} to {} are missing", before + 1, sequence - 1)
            } else {
                format!("event {} is out of place", row.number)
            };
            self.fault(sequence, what);
        }
        let hash = Hash::of(of.unwrap_or(Hash::NONE), sequence, &row.fact.kept);
        let stored = Hash::from_slice(&row.hash);
        if stored != Some(hash) {
            self.fault(sequence, "was changed, or follows another event than it did".to_owned());
        }
        match Entry::read(&row.fact.kept) {
            Ok(entry) if Fact::of(&entry).found_by() == row.fact.found_by() => {}
            Ok(_) => self.fault(sequence, "is found by other words than it says".to_owned()),
            Err(_) => self.fault(sequence, "cannot be read".to_owned()),
        }
        let stored = stored.unwrap_or(hash);
        self.pass(sequence, stored);
        self.first = if self.events == 0 { sequence } else { self.first };
        self.events = self.events.saturating_add(1);
        self.at = (sequence, Some(stored));
    }

    /// Compares with what somebody noted.
    fn pass(&mut self, sequence: u64, hash: Hash) {
        for known in self.known.remove(&sequence).unwrap_or_default() {
            if known != hash {
                self.fault(sequence, format!("is not the event that was known by {known}"));
            }
        }
        if let Some((_, noted)) = self.noted.take_if(|(noted, _)| *noted == sequence)
            && noted != hash
        {
            self.fault(sequence, "is not the event that `head` names".to_owned());
        }
    }

    /// What a finished segment says of itself.
    fn span(&mut self, span: &Span) {
        if (span.last, Some(span.hash)) != self.at {
            self.fault(self.at.0, format!("was closed after event {}", span.last));
        }
    }

    /// What is only known at the end.
    fn end(&mut self, noted: &Found) {
        let (last, _) = self.at;
        match noted {
            Found::Noted(noted) if noted.sequence > last => {
                self.fault(last, format!("events {} to {} are missing at the end", last + 1, noted.sequence));
            }
            Found::Absent if last > 0 => {
                self.fault(
                    last,
                    "is not there: whether events are missing at the end cannot be told".to_owned(),
                );
            }
            Found::Garbled(_) => {
                self.fault(
                    last,
                    "cannot be read: whether events are missing at the end cannot be told".to_owned(),
                );
            }
            Found::Noted(_) | Found::Absent => {}
        }
        // What retention removed cannot be compared any more.
        let gone = self.removed.keys().next_back().copied().unwrap_or(0);
        for sequence in std::mem::take(&mut self.known).into_keys().filter(|sequence| *sequence > gone) {
            self.fault(sequence, format!("event {sequence} is known, and is not there"));
        }
        for (sink, through) in std::mem::take(&mut self.progress) {
            if through > last {
                self.fault(last, format!("`{sink}` has taken events up to {through}, which are not there"));
            }
        }
    }

    fn found(self) -> Verification {
        let (last, hash) = self.at;
        Verification {
            first: self.first,
            last,
            hash: hash.unwrap_or(Hash::NONE),
            events: self.events,
            faults: self.faults,
        }
    }
}
