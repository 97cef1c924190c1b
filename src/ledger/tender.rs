//! Work on the files that no request waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use crate::ledger::LedgerError;
use crate::ledger::segment::{self, Finish};

/// What there is to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Take the log over into the file, while others write.
    Checkpoint(PathBuf),
    /// Finish a segment that is written to no more.
    Finish(PathBuf),
}

/// A thread beside the writer. Dropped, it does what it was given and ends.
#[derive(Debug)]
pub(super) struct Tender {
    tasks: Option<Sender<Task>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Tender {
    pub(super) fn start() -> Result<Self, LedgerError> {
        let (tasks, given) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("audit-tender".to_owned())
            .spawn(move || {
                for task in given {
                    work(&task);
                    done.fetch_sub(1, Ordering::AcqRel);
                }
            })
            .map_err(|cause| LedgerError::io("audit-tender".as_ref(), cause))?;
        Ok(Self { tasks: Some(tasks), waiting, thread: Some(thread) })
    }

    pub(super) fn give(&self, task: Task) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.tasks.as_ref().is_none_or(|tasks| tasks.send(task).is_err()) {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether everything it was given is done.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}

impl Drop for Tender {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn work(task: &Task) {
    match task {
        Task::Checkpoint(path) => {
            let checkpoint = || {
                let connection = segment::writing(path)?;
                segment::keep_log(&connection)?;
                segment::checkpoint(&connection, "PASSIVE")
            };
            if let Err(error) = checkpoint() {
                tracing::warn!(%error, file = %path.display(), "the log of audit events is not taken over");
            }
        }
        Task::Finish(path) => match segment::finish(path) {
            Ok(Finish::Done) => tracing::info!(file = %path.display(), "a file of audit events is closed"),
            Ok(Finish::InUse) => {
                tracing::debug!(file = %path.display(), "a file of audit events is read; it is closed later");
            }
            Err(error) => tracing::warn!(%error, "a file of audit events cannot be closed yet"),
        },
    }
}
