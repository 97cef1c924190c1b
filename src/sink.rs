//! Sends recorded events on: to a FHIR repository, to syslog over TLS, to a file.
//!
//! The ledger is the queue. Each sink has a worker of its own that reads what follows the sink's place, sends it in order,
//! and notes the place durably once the sink has it. So a sink may be away for as long as it likes: it loses nothing, and
//! no request and no other sink waits for it. What is sent twice after a crash or a lost answer has the same id each time,
//! which a repository and a file turn into exactly once; syslog, which acknowledges nothing, is at least once.
//!
//! A sink that refuses an event for its content is not asked again and again: the event is noted with the sink's words,
//! for `pforte audit resend`, and the others go on. Everything else is tried again for ever.

mod error;
mod fhir;
mod file;
mod outlet;
mod pause;
mod status;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Audit, AuditSink};
use crate::ledger::Ledger;
use crate::sink::outlet::{Faith, Outlet};
use crate::sink::status::Tally;
use crate::sink::worker::Worker;

pub use error::SinkError;
pub use outlet::{Delivery, Fate, Reached, deliver_once, reach};
pub use status::Status;

/// The sinks of a running gateway.
pub struct Sinks {
    ledger: Arc<Ledger>,
    folder: PathBuf,
    running: Mutex<Vec<Running>>,
}

/// One sink's worker.
struct Running {
    tally: Arc<Tally>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sinks {
    /// Starts a worker for each sink. It goes on where the sink of that name was; a name that was never there begins with the
    /// oldest event that is kept.
    ///
    /// # Errors
    /// Certificates, keys or credentials that cannot be used. A sink that is away is no error.
    pub fn start(settings: &Audit, ledger: Arc<Ledger>) -> Result<Self, SinkError> {
        let sinks = Self { ledger, folder: settings.path.clone(), running: Mutex::default() };
        sinks.replace(&settings.sinks)?;
        Ok(sinks)
    }

    /// Goes on with these sinks, in place of those before; each keeps its place by its name. Files are read again, and those
    /// that were left alone after a failure are tried at once.
    ///
    /// # Errors
    /// As [`Sinks::start`]; then those before go on.
    pub fn replace(&self, settings: &[AuditSink]) -> Result<(), SinkError> {
        let outlets: Vec<(&AuditSink, Outlet)> = settings
            .iter()
            .map(|sink| Ok((sink, Outlet::new(&sink.kind, Faith::Wary)?)))
            .collect::<Result<_, SinkError>>()?;
        let mut running = self.running();
        let mut before: Vec<Running> = std::mem::take(&mut *running);
        before.iter().for_each(|running| running.stop.cancel());
        for (sink, outlet) in outlets {
            let known = before.iter().position(|before| before.tally.name() == sink.name);
            let (tally, previous) = match known.map(|at| before.swap_remove(at)) {
                Some(before) => (before.tally, Some(before.task)),
                None => (Arc::new(Tally::new(&sink.name)), None),
            };
            let stop = CancellationToken::new();
            let worker = Worker::new(
                outlet,
                (Arc::clone(&self.ledger), self.folder.clone()),
                Arc::clone(&tally),
                stop.clone(),
            );
            let task = tokio::spawn(async move {
                // Two workers of one sink would send everything twice.
                if let Some(previous) = previous {
                    let _ended = previous.await;
                }
                worker.run().await;
            });
            running.push(Running { tally, stop, task });
        }
        Ok(())
    }

    /// How each is doing, from memory, in the order of the settings.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let head = *self.ledger.head().borrow();
        self.running().iter().map(|running| running.tally.status(head)).collect()
    }

    /// Ends the workers: what is on its way is finished within a few seconds, and what is not is sent again at the next start.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.running());
        running.iter().for_each(|running| running.stop.cancel());
        for running in running {
            let _ended = running.task.await;
        }
    }

    // No invariant spans a panic in here.
    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
