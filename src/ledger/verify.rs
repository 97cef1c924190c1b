//! Whether what is kept is what was recorded.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::audit::Entry;
use crate::ledger::fact::{Fact, Hash};
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

/// One row, with what it is found by.
struct Row {
    sequence: u64,
    fact: Fact,
    hash: Vec<u8>,
}

impl Reader {
    /// Reads everything, computes the chain again, and compares. `known` are numbers and hashes that somebody noted
    /// elsewhere. `progress` is told the number of the event that was reached, now and then.
    ///
    /// Goes on after a fault. A gateway may write meanwhile.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn verify(
        &self,
        known: &[(u64, Hash)],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verification, LedgerError> {
        let mut found = Verification { first: 0, last: 0, hash: Hash::NONE, events: 0, faults: Vec::new() };
        let Some(connection) = &self.connection else { return Ok(found) };
        let fault = |sequence, what: String, faults: &mut Vec<Fault>| {
            if faults.len() < NAMED {
                faults.push(Fault { sequence, file: self.path.clone(), what });
            }
        };
        loop {
            let rows = rows(connection, found.last).map_err(|cause| LedgerError::store(&self.path, cause))?;
            let Some(newest) = rows.last() else { break };
            let reached = newest.sequence;
            for row in rows {
                if row.sequence != found.last.saturating_add(1) {
                    fault(
                        row.sequence,
                        format!("events after {} are missing", found.last),
                        &mut found.faults,
                    );
                }
                let hash = Hash::of(found.hash, row.sequence, &row.fact.kept);
                if hash.as_bytes() != row.hash {
                    fault(row.sequence, "was changed, or follows another event".into(), &mut found.faults);
                }
                match Entry::read(&row.fact.kept) {
                    Ok(entry) if Fact::of(&entry).found_by() == row.fact.found_by() => {}
                    Ok(_) => fault(row.sequence, "is indexed as another".into(), &mut found.faults),
                    Err(_) => fault(row.sequence, "cannot be read".into(), &mut found.faults),
                }
                let stored = Hash::from_slice(&row.hash).unwrap_or(hash);
                if known.iter().any(|(sequence, known)| *sequence == row.sequence && *known != stored) {
                    fault(row.sequence, "is not the one that was known".into(), &mut found.faults);
                }
                found.first = if found.events == 0 { row.sequence } else { found.first };
                (found.last, found.hash) = (row.sequence, stored);
                found.events = found.events.saturating_add(1);
            }
            progress(reached);
        }
        for (sequence, _) in known.iter().filter(|(sequence, _)| *sequence > found.last) {
            fault(*sequence, "is known, but not there".into(), &mut found.faults);
        }
        Ok(found)
    }
}

fn rows(connection: &Connection, after: u64) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT sequence, recorded, patient, user, client, kept, hash FROM event \
               WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut found = connection.prepare_cached(sql)?;
    let rows = found.query_map([after, STRIDE], |row| {
        let fact = Fact {
            kept: row.get(5)?,
            recorded: row.get(1)?,
            patient: row.get(2)?,
            user: row.get(3)?,
            client: row.get(4)?,
        };
        Ok(Row { sequence: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), fact, hash: row.get(6)? })
    })?;
    rows.collect()
}
