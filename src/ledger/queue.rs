//! What waits to be written, and the thread that writes it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use tokio::sync::oneshot;

use crate::ledger::spool::Spool;
use crate::ledger::{Bounds, LedgerError, LedgerStatus};

/// The entries of one caller, as lines.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) lines: Vec<u8>,
    pub(super) events: usize,
    pub(super) day: Date,
    pub(super) done: oneshot::Sender<Result<(), LedgerError>>,
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
        let events = waiting.events.saturating_add(pending.events);
        let bytes = waiting.bytes.saturating_add(pending.lines.len());
        // One caller may exceed the bounds when nothing else waits: a large batch could never be recorded otherwise.
        if waiting.events > 0 && (events > self.bounds.waiting_events || bytes > self.bounds.waiting_bytes) {
            waiting.fail(pending.events);
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
    fn settle(&self, events: usize, bytes: usize, result: &Result<(), LedgerError>) {
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
}

impl<S: Spool> Worker<S> {
    pub(super) fn new(queue: Arc<Queue>, spool: S) -> Self {
        Self { queue, spool }
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
                self.queue.settle(0, 0, &result);
            }
            Work::Write(batch) => self.write(batch),
        }
        true
    }

    fn write(&mut self, batch: Vec<Pending>) {
        let bytes = batch.iter().map(|pending| pending.lines.len()).sum();
        let events = batch.iter().map(|pending| pending.events).sum();
        let mut lines = Vec::with_capacity(bytes);
        for pending in &batch {
            lines.extend_from_slice(&pending.lines);
        }
        let Some(day) = batch.iter().map(|pending| pending.day).max() else { return };
        let result = self.spool.append(&lines, day);
        // First the state, then the waiters: who was told of a failure finds it in the status.
        self.queue.settle(events, bytes, &result);
        for pending in batch {
            // A waiter that is gone needs no answer.
            let _ = pending.done.send(result.clone());
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
