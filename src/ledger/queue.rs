//! What waits to be written, and the thread that writes it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::ledger::desk::{self, Answer, Desk, Waiter};
use crate::ledger::fact::Fact;
use crate::ledger::store::Spool;
use crate::ledger::{Bounds, Figures, LedgerError, LedgerStatus};
use crate::telemetry::Durations;

/// An event that a sink did not take, and never will as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The number of the event.
    pub sequence: u64,
    /// The sink's words, without anything secret.
    pub reason: String,
}

/// How an announced write ends that nobody concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may have been sent; its end is not known.
    Interrupted,
    /// It was not sent: nobody was told that it might be.
    Unsent,
}

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Job {
    /// These announced writes are not concluded by anybody.
    Abandon(Vec<(u64, Fate)>),
    /// A sink has taken everything up to a number, but for some.
    Delivered { sink: String, through: u64, rejected: Vec<Rejection> },
    /// A write is about to be sent.
    Intend(Fact),
    /// These happened; they end what was announced.
    Record { facts: Vec<Fact>, intent: Option<u64> },
}

/// Where many wait, so long passes from one commit to the next: each has a price, however many it is for.
const GATHERING: Duration = Duration::from_millis(1);

/// So many jobs in one commit are many. One client alone, or a few that take turns, wait for nobody.
const MANY: usize = 4;

/// What an event takes in the file beside what is kept of it, about.
const ROW: u64 = 160;

impl Job {
    fn events(&self) -> usize {
        match self {
            Self::Abandon(_) | Self::Delivered { .. } => 0,
            Self::Intend(_) => 1,
            Self::Record { facts, .. } => facts.len(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Abandon(_) | Self::Delivered { .. } => 0,
            Self::Intend(fact) => fact.kept.len(),
            Self::Record { facts, .. } => facts.iter().map(|fact| fact.kept.len()).sum(),
        }
    }

    /// How much a segment grows by it, about.
    pub(super) fn grows(&self) -> u64 {
        let Self::Record { facts, .. } = self else { return 0 };
        let row = |fact: &Fact| u64::try_from(fact.kept.len()).unwrap_or(u64::MAX).saturating_add(ROW);
        facts.iter().map(row).sum()
    }

    /// When its first event was recorded.
    pub(super) fn first(&self) -> Option<i64> {
        let Self::Record { facts, .. } = self else { return None };
        facts.first().map(|fact| fact.recorded)
    }

    /// What it would have ended.
    fn concludes(&self) -> Option<u64> {
        match self {
            Self::Record { intent, .. } => *intent,
            Self::Abandon(_) | Self::Delivered { .. } | Self::Intend(_) => None,
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

/// A write that was announced and whose end is not recorded yet.
///
/// Dropped without [`Ledger::conclude`](crate::ledger::Ledger::conclude), it becomes an event of its own that says that its end
/// is not known: at once, or when the ledger is opened the next time.
#[derive(Debug)]
#[must_use = "a write that was announced is concluded"]
pub struct Intent {
    id: u64,
    /// Absent once somebody else answers for it.
    queue: Option<Arc<Queue>>,
}

impl Intent {
    /// Its number; whoever takes it answers for it.
    pub(super) fn take(mut self) -> u64 {
        self.queue = None;
        self.id
    }

    /// Nobody heard of it.
    pub(super) fn withdraw(mut self) {
        if let Some(queue) = self.queue.take() {
            queue.abandon(self.id, Fate::Unsent);
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.abandon(self.id, Fate::Interrupted);
        }
    }
}

/// What a waiter is told.
#[derive(Debug)]
pub(super) enum Told {
    /// Its write was announced.
    Intended(Intent),
    /// It is kept.
    Noted,
}

/// A job, and who waits for it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) job: Job,
    pub(super) done: Waiter,
    /// Where it is told; at once when there is none.
    pub(super) desk: Option<Arc<Desk>>,
}

/// Tells many what became of their jobs, and wakes each desk once.
#[derive(Default)]
struct Round(Vec<Arc<Desk>>);

impl Round {
    fn tell(&mut self, (waiter, desk): (Waiter, Option<Arc<Desk>>), answer: Answer) {
        let Some(desk) = desk else { return desk::tell(waiter, answer) };
        desk.leave(waiter, answer);
        if !self.0.iter().any(|known| Arc::ptr_eq(known, &desk)) {
            self.0.push(desk);
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.0.iter().for_each(|desk| desk.ring());
    }
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
    /// Announced writes that nobody concludes.
    abandoned: Vec<(u64, Fate)>,
    figures: Figures,
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
    /// How long commits took, for those who watch.
    commits: Durations,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), bounds, commits: Durations::default() }
    }

    pub(super) fn push(&self, pending: Pending) -> Result<(), LedgerError> {
        let mut waiting = self.lock();
        if waiting.closed {
            waiting.abandoned.extend(pending.job.concludes().map(|intent| (intent, Fate::Interrupted)));
            return Err(LedgerError::Closed);
        }
        let events = waiting.events.saturating_add(pending.job.events());
        let bytes = waiting.bytes.saturating_add(pending.job.bytes());
        // One caller may exceed the bounds when nothing else waits: a large batch could never be recorded otherwise.
        if waiting.events > 0 && (events > self.bounds.waiting_events || bytes > self.bounds.waiting_bytes) {
            waiting.fail(pending.job.events());
            waiting.abandoned.extend(pending.job.concludes().map(|intent| (intent, Fate::Interrupted)));
            return Err(LedgerError::Full);
        }
        (waiting.events, waiting.bytes) = (events, bytes);
        waiting.pending.push(pending);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Leaves it to the writer to end an announced write.
    fn abandon(&self, intent: u64, fate: Fate) {
        self.lock().abandoned.push((intent, fate));
        self.changed.notify_one();
    }

    pub(super) fn status(&self) -> LedgerStatus {
        let waiting = self.lock();
        let figures = waiting.figures;
        LedgerStatus {
            queued: waiting.events,
            failed: waiting.failed,
            last_error: waiting.failing.as_ref().map(LedgerError::to_string),
            head: figures.head,
            segments: figures.segments,
            bytes: figures.bytes,
            oldest: figures.oldest.and_then(|oldest| Timestamp::from_millisecond(oldest).ok()),
            free: figures.free,
            commits: self.commits.clone(),
        }
    }

    pub(super) fn show(&self, figures: Figures) {
        self.lock().figures = figures;
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
    fn next(&self, upkeep: Instant) -> Work {
        let mut waiting = self.lock();
        loop {
            let works = waiting.failing.is_none();
            if !waiting.pending.is_empty() || works && !waiting.abandoned.is_empty() {
                return Work::Write(mem::take(&mut waiting.pending), mem::take(&mut waiting.abandoned));
            }
            if waiting.closed {
                return Work::End;
            }
            let now = Instant::now();
            if works && now >= upkeep {
                return Work::Upkeep;
            }
            let patience = if works { upkeep.duration_since(now) } else { self.bounds.probe };
            let (again, waited) =
                self.changed.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = again;
            if !works && waited.timed_out() && waiting.pending.is_empty() && !waiting.closed {
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
    Upkeep,
    Write(Vec<Pending>, Vec<(u64, Fate)>),
}

/// The one who writes.
pub(super) struct Worker<S> {
    queue: Arc<Queue>,
    pub(super) spool: S,
    head: watch::Sender<u64>,
    /// When the files are looked after again.
    upkeep: Instant,
    /// Many waited for the last commit: the next one begins no sooner.
    gathering: Option<Instant>,
}

impl<S: Spool> Worker<S> {
    pub(super) fn new(queue: Arc<Queue>, spool: S, head: watch::Sender<u64>) -> Self {
        let upkeep = Instant::now() + queue.bounds.upkeep;
        queue.show(spool.figures());
        Self { queue, spool, head, upkeep, gathering: None }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // Ends the queue when this thread ends, however it ends: nobody shall wait for a writer that is gone.
        let _end = End(Arc::clone(&self.queue));
        while self.step() {}
        if let Err(error) = self.spool.close() {
            tracing::warn!(%error, "the audit events are not all in their main file; the next start sees to it");
        }
    }

    /// Does the next piece of work; false when there will be none.
    pub(super) fn step(&mut self) -> bool {
        if let Some(rest) = self.gathering.take().and_then(|end| end.checked_duration_since(Instant::now())) {
            // Not by the queue's condition: it would be woken for each that comes.
            std::thread::sleep(rest);
        }
        match self.queue.next(self.upkeep) {
            Work::End => return false,
            // Readiness keeps requests away while writing fails, so nobody would notice that it works again.
            Work::Probe => {
                let result = self.spool.probe();
                self.queue.settle(0, 0, result.as_ref().map(drop));
            }
            Work::Upkeep => self.keep_up(now()),
            Work::Write(batch, abandoned) => {
                self.write(batch, abandoned);
                let now = now();
                self.spool.tend(now);
                // Requests that never pause must not keep it from the rest.
                if Instant::now() >= self.upkeep {
                    self.keep_up(now);
                }
                self.queue.show(self.spool.figures());
            }
        }
        true
    }

    fn keep_up(&mut self, now: Timestamp) {
        self.upkeep = Instant::now() + self.queue.bounds.upkeep;
        self.spool.upkeep(now);
        self.queue.show(self.spool.figures());
    }

    fn write(&mut self, batch: Vec<Pending>, abandoned: Vec<(u64, Fate)>) {
        let bytes = batch.iter().map(|pending| pending.job.bytes()).sum();
        let events = batch.iter().map(|pending| pending.job.events()).sum();
        let last = (!abandoned.is_empty()).then_some(Job::Abandon(abandoned));
        let jobs: Vec<&Job> = batch.iter().map(|pending| &pending.job).chain(&last).collect();
        let began = Instant::now();
        self.gathering = (jobs.len() >= MANY).then(|| began + GATHERING);
        let result = self.spool.apply(&jobs);
        self.queue.commits.took(began.elapsed());
        // First the state, then the waiters: who was told finds it in the status.
        self.queue.show(self.spool.figures());
        self.queue.settle(events, bytes, result.as_ref().map(drop));
        // One alone is woken from here as well as from its desk.
        let (mut round, many) = (Round::default(), batch.len() > 1);
        match result {
            Ok(applied) => {
                self.head.send_replace(applied.head);
                for (pending, done) in batch.into_iter().zip(applied.done) {
                    let told = match done {
                        Done::Intended(id) => {
                            Told::Intended(Intent { id, queue: Some(Arc::clone(&self.queue)) })
                        }
                        Done::Noted => Told::Noted,
                    };
                    round.tell((pending.done, pending.desk.filter(|_| many)), Ok(told));
                }
            }
            Err(error) => {
                if let Some(Job::Abandon(abandoned)) = last {
                    self.queue.lock().abandoned.extend(abandoned);
                }
                for pending in batch {
                    if let Some(intent) = pending.job.concludes() {
                        self.queue.abandon(intent, Fate::Interrupted);
                    }
                    round.tell((pending.done, pending.desk), Err(error.clone()));
                }
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "old files are known by their age, also while no request comes"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        let left = mem::take(&mut waiting.pending);
        drop(waiting);
        // What is dropped with them may come back to the queue.
        drop(left);
    }
}
