//! What a sink takes after all is noted beside a gateway that may be writing.

use std::path::Path;

use rusqlite::params;

use crate::ledger::fact::number;
use crate::ledger::folder::{self, Listing};
use crate::ledger::{LedgerError, segment};

/// The words of a rejection that is none any more. It stands in the newest file for those before it, which nobody may
/// write to.
pub(super) const SETTLED: &str = "";

/// Notes that a sink has taken events that it had refused: [`Reader::rejected`](crate::ledger::Reader::rejected) has them no
/// more. The folder need not be free.
///
/// # Errors
/// When that cannot be written.
pub fn settle_rejected(folder: &Path, sink: &str, sequences: &[u64]) -> Result<(), LedgerError> {
    let Some(newest) = Listing::of(folder)?.segments.last().copied() else { return Ok(()) };
    if sequences.is_empty() {
        return Ok(());
    }
    let path = folder::segment(folder, newest);
    let settle = || -> rusqlite::Result<()> {
        let mut connection = segment::writing(&path)?;
        // A gateway looks after its log itself.
        segment::keep_log(&connection)?;
        let transaction = connection.transaction()?;
        {
            let put = "INSERT OR REPLACE INTO rejected VALUES (?1, ?2, ?3, NULL, NULL)";
            let mut put = transaction.prepare(put)?;
            for sequence in sequences {
                put.execute(params![sink, number(*sequence), SETTLED])?;
            }
        }
        transaction.commit()
    };
    settle().map_err(|cause| LedgerError::store(&path, cause))
}
