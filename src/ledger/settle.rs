//! What a sink takes after all is noted beside a gateway that may be writing.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use crate::ledger::LedgerError;
use crate::ledger::store::file;

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
    let path = file(folder);
    let settle = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction()?;
        {
            let mut delete = transaction.prepare("DELETE FROM rejected WHERE sink = ?1 AND sequence = ?2")?;
            for sequence in sequences {
                delete.execute(params![sink, i64::try_from(*sequence).unwrap_or(i64::MAX)])?;
            }
        }
        transaction.commit()
    };
    settle().map_err(|cause| LedgerError::store(&path, cause))
}
