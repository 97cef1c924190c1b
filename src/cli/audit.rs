//! `pforte audit`: what was recorded, for those who must answer for it.
//!
//! Reads the folder of events while a gateway writes to it, or a copy of it elsewhere. Nothing here changes an event. What is
//! printed for people has no control characters in it: targets and names come from whoever sent a request, and must not
//! move a reader's cursor.

mod chosen;
mod export;
mod forms;
mod list;
mod place;
mod progress;
mod resend;
mod safe;
mod status;
mod table;
mod verify;
mod when;

use std::io;

use clap::Subcommand;

use super::Failure;
use crate::ledger::LedgerError;

/// What to do with recorded events.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print recorded events, oldest first: a table on a terminal, else AuditEvents, one a line.
    List(list::List),
    /// Compute the chain of all events again: exit code 0 when nothing was changed, taken out or put in, else 1.
    Verify(verify::Verify),
    /// Write recorded events to a file that others read: NDJSON, a FHIR Bundle, JSON or CSV.
    Export(export::Export),
    /// Send recorded events to a sink again, beside a gateway that may be running; each has the same id there as before.
    Resend(resend::Resend),
    /// Tell how many events there are, and what each sink has taken.
    Status(status::Status),
}

/// Runs one of them.
pub(super) fn run(what: &AuditCommand) -> Result<u8, Failure> {
    match what {
        AuditCommand::List(list) => list.run(),
        AuditCommand::Verify(verify) => verify.run(),
        AuditCommand::Export(export) => export.run(),
        AuditCommand::Resend(resend) => resend.run(),
        AuditCommand::Status(status) => status.run(),
    }
}

/// Why going through events ended before their end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// The events cannot be read.
    #[error(transparent)]
    Read(#[from] LedgerError),
    /// What they are written to does not take them.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl Stop {
    /// Whoever reads has gone away, as `head` does: no failure.
    fn is_enough(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The end of a command that prints.
fn ended(went: Result<(), Stop>) -> Result<(), Failure> {
    match went {
        Err(stop) if !stop.is_enough() => Err(Failure::work(stop)),
        Ok(()) | Err(_) => Ok(()),
    }
}
