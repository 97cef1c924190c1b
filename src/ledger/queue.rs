//! What waits to be written, and the thread that writes it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::ledger::fact::Fact;
use crate::ledger::store::Spool;
use crate::ledger::{Bounds, LedgerError, LedgerStatus};

/// An event that a sink did not take, and never will as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The number of the event.
    pub sequence: u64,
    /// The sink's words, without anything secret.
    pub reason: String,
}

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Job {
    /// A sink has taken everything up to a number, but for some.
    Delivered { sink: String, through: u64, rejected: Vec<Rejection> },
    /// A write is about to be sent.
    Intend(Fact),
    /// These happened; they end what was announced.
    Record { facts: Vec<Fact>, intent: Option<u64> },
}

impl Job {
    fn events(&self) -> usize {
        match self {
            Self::Delivered { .. } => 0,
            Self::Intend(_) => 1,
            Self::Record { facts, .. } => facts.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Delivered { .. } => 0,
            Self::Intend(fact) => fact.kept.len(),
            Self::Record { facts, .. } => facts.iter().map(|fact| fact.kept.len()).sum(),
        }
    }
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// A write was announced under this number.
    Intended(u64),
    /// It is kept.
    Noted,
}

/// A job, and who waits for it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) job: Job,
    pub(super) done: oneshot::Sender<Result<Done, LedgerError>>,
}

#[derive(Debug, Default)]
struct Waiting {
    pending: Vec<Pending>,
    /// Events not yet written, those the writer holds included.
    events: usize,
    bytes: usize,
    closed: bool,
    failed: u64,
    failing: Option<LedgerError>,
}

impl Waiting {
    fn fail(&mut self, events: usize) {
        self.failed = self.failed.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
    }
}

/// The bounded queue between requests and the writer. Its lock is held for a push or a take, never over I/O.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    bounds: Bounds,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), bounds }
    }

    pub(super) fn push(&self, pending: Pending) -> Result<(), LedgerError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(LedgerError::Closed);
        }
        let events = waiting.events.saturating_add(pending.job.events());
        let bytes = waiting.bytes.saturating_add(pending.job.bytes());
        // One caller may exceed the bounds when nothing else waits: a large batch could never be recorded otherwise.
        if waiting.events > 0 && (events > self.bounds.waiting_events || bytes > self.bounds.waiting_bytes) {
            waiting.fail(pending.job.events());
            return Err(LedgerError::Full);
        }
        (waiting.events, waiting.bytes) = (events, bytes);
        waiting.pending.push(pending);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn status(&self) -> LedgerStatus {
        let waiting = self.lock();
        LedgerStatus {
            queued: waiting.events,
            failed: waiting.failed,
            last_error: waiting.failing.as_ref().map(LedgerError::to_string),
        }
    }

    pub(super) fn failing(&self) -> Option<LedgerError> {
        self.lock().failing.clone()
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    // No invariant spans a panic in here: pushes and takes are single steps.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until there is something to do.
    fn next(&self) -> Work {
        let mut waiting = self.lock();
        loop {
            if !waiting.pending.is_empty() {
                return Work::Write(mem::take(&mut waiting.pending));
            }
            if waiting.closed {
                return Work::End;
            }
            if waiting.failing.is_none() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (again, waited) =
                self.changed.wait_timeout(waiting, self.bounds.probe).unwrap_or_else(PoisonError::into_inner);
            waiting = again;
            if waited.timed_out() && waiting.pending.is_empty() && !waiting.closed {
                return Work::Probe;
            }
        }
    }

    /// Notes how writing went: this many events and bytes wait no more.
    fn settle(&self, events: usize, bytes: usize, result: Result<(), &LedgerError>) {
        let mut waiting = self.lock();
        waiting.events = waiting.events.saturating_sub(events);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        match result {
            Ok(()) => {
                if waiting.failing.take().is_some() {
                    tracing::info!("audit events are recorded again");
                }
            }
            Err(error) => {
                waiting.fail(events);
                if waiting.failing.is_none() {
                    tracing::error!(%error, events, "audit events cannot be recorded");
                }
                waiting.failing = Some(error.clone());
            }
        }
    }
}

enum Work {
    End,
    Probe,
    Write(Vec<Pending>),
}

/// The one who writes.
pub(super) struct Worker<S> {
    queue: Arc<Queue>,
    spool: S,
    head: watch::Sender<u64>,
}

impl<S: Spool> Worker<S> {
    pub(super) fn new(queue: Arc<Queue>, spool: S, head: watch::Sender<u64>) -> Self {
        Self { queue, spool, head }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // Ends the queue when this thread ends, however it ends: nobody shall wait for a writer that is gone.
        let _end = End(Arc::clone(&self.queue));
        while self.step() {}
    }

    /// Does the next piece of work; false when there will be none.
    pub(super) fn step(&mut self) -> bool {
        match self.queue.next() {
            Work::End => return false,
            // Readiness keeps requests away while writing fails, so nobody would notice that it works again.
            Work::Probe => {
                let result = self.spool.probe();
                self.queue.settle(0, 0, result.as_ref().map(drop));
            }
            Work::Write(batch) => self.write(batch),
        }
        true
    }

    fn write(&mut self, batch: Vec<Pending>) {
        let bytes = batch.iter().map(|pending| pending.job.bytes()).sum();
        let events = batch.iter().map(|pending| pending.job.events()).sum();
        let jobs: Vec<&Job> = batch.iter().map(|pending| &pending.job).collect();
        let result = self.spool.apply(&jobs);
        // First the state, then the waiters: who was told of a failure finds it in the status.
        self.queue.settle(events, bytes, result.as_ref().map(drop));
        // A waiter that is gone needs no answer.
        match result {
            Ok(applied) => {
                self.head.send_replace(applied.head);
                for (pending, done) in batch.into_iter().zip(applied.done) {
                    let _ = pending.done.send(Ok(done));
                }
            }
            Err(error) => {
                for pending in batch {
                    let _ = pending.done.send(Err(error.clone()));
                }
            }
        }
    }
}

struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        waiting.pending.clear();
    }
}
