//! What a sink takes after all is noted beside a gateway that may be writing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};

use crate::ledger::LedgerError;
use crate::ledger::fact::number;
use crate::ledger::folder::{self, Listing};
use crate::ledger::segment;

/// Longest wait for the writer of a gateway, which never holds the store for long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Notes that a sink has taken events that it had refused: [`Reader::rejected`](crate::ledger::Reader::rejected) has them no
/// more. The folder need not be free.
///
/// # Errors
/// When that cannot be written.
pub fn settle_rejected(folder: &Path, sink: &str, sequences: &[u64]) -> Result<(), LedgerError> {
    if sequences.is_empty() {
        return Ok(());
    }
    let Some(mut path) = newest(folder)? else { return Ok(()) };
    loop {
        settle(&path, sink, sequences).map_err(|cause| LedgerError::store(&path, cause))?;
        // A file that was begun meanwhile may have taken over what was not settled yet.
        match newest(folder)? {
            Some(now) if now != path => path = now,
            Some(_) | None => return Ok(()),
        }
    }
}

fn newest(folder: &Path) -> Result<Option<PathBuf>, LedgerError> {
    Ok(Listing::of(folder)?.segments.last().map(|at| folder::segment(folder, *at)))
}

fn settle(path: &Path, sink: &str, sequences: &[u64]) -> rusqlite::Result<()> {
    let mut connection: Connection = segment::writing(path)?;
    connection.busy_timeout(PATIENCE)?;
    let transaction = connection.transaction()?;
    let mut delete = transaction.prepare("DELETE FROM rejected WHERE sink = ?1 AND sequence = ?2")?;
    for sequence in sequences {
        delete.execute(params![sink, number(*sequence)])?;
    }
    drop(delete);
    transaction.commit()
}
