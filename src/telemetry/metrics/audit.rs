//! The audit ledger and the sinks behind it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::Durations;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: String,
}

/// No labels: of what may have no value, and is not shown then.
type Bare = [(&'static str, &'static str); 0];

/// How the audit ledger is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Events that wait to be written.
    pub waiting: usize,
    /// The number of the newest event on disk.
    pub newest: u64,
    /// When the oldest event on disk was recorded.
    pub oldest: Option<Timestamp>,
    /// The files that they are in.
    pub files: usize,
    /// How large these are together.
    pub bytes: u64,
    /// Bytes that are free on their disk, if that can be told.
    pub free: Option<u64>,
    /// How long commits took.
    pub commits: Durations,
}

/// How a sink of audit events is doing.
#[derive(Debug, Clone, Default)]
pub struct SinkFigures {
    /// Its name.
    pub name: String,
    /// Events that it does not have yet.
    pub lag: u64,
    /// The age of the oldest of them.
    pub oldest: Duration,
    /// Events that it took.
    pub delivered: u64,
    /// Events that it refused for good.
    pub rejected: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// Audit events.
#[derive(Debug, Default)]
pub(super) struct Audit {
    waiting: Gauge,
    newest: Gauge,
    oldest: Family<Bare, Gauge<f64, AtomicU64>>,
    files: Gauge,
    bytes: Gauge,
    free: Family<Bare, Gauge>,
    commits: Lent,
    pub(super) recorded: Counter,
    pub(super) failed: Counter,
    pub(super) waits: Durations,
    sinks: Sinks,
}

impl Audit {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("audit_events", "Audit events recorded for answered requests", self.recorded.clone());
        to.register("audit_failed", "Audit events that could not be written", self.failed.clone());
        to.register("audit_waiting", "Audit events not yet written", self.waiting.clone());
        let text = "The number of the newest audit event on disk";
        to.register("audit_newest_event", text, self.newest.clone());
        let text = "When the oldest audit event on disk was recorded, since the epoch";
        to.register_with_unit("audit_oldest_event_timestamp", text, Unit::Seconds, self.oldest.clone());
        to.register("audit_spool_files", "Files of audit events", self.files.clone());
        let text = "Size of the files of audit events, about";
        to.register_with_unit("audit_spool", text, Unit::Bytes, self.bytes.clone());
        let text = "Room on the disk of the files of audit events";
        to.register_with_unit("audit_spool_free", text, Unit::Bytes, self.free.clone());
        let text = "Commits of audit events, many requests together";
        to.register_with_unit("audit_commit_duration", text, Unit::Seconds, self.commits.clone());
        let text = "What a request waited for its audit events to be on disk";
        to.register_with_unit("audit_wait", text, Unit::Seconds, self.waits.clone());
        self.sinks.register(to);
    }

    pub(super) fn ledger(&self, figures: &LedgerFigures) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(count(figures.waiting as u64));
        self.newest.set(count(figures.newest));
        self.files.set(count(figures.files as u64));
        self.bytes.set(count(figures.bytes));
        match figures.oldest {
            Some(oldest) => drop(self.oldest.get_or_create(&[]).set(oldest.as_duration().as_secs_f64())),
            None => drop(self.oldest.remove(&[])),
        }
        match figures.free {
            Some(free) => drop(self.free.get_or_create(&[]).set(count(free))),
            None => drop(self.free.remove(&[])),
        }
        self.commits.lend(&figures.commits);
    }

    pub(super) fn sinks(&self, sinks: &[SinkFigures]) {
        self.sinks.show(sinks);
    }
}

/// A histogram that belongs to the ledger.
#[derive(Debug, Clone, Default)]
struct Lent(Arc<Mutex<Durations>>);

impl Lent {
    fn lend(&self, durations: &Durations) {
        self.lock().clone_from(durations);
    }

    fn lock(&self) -> MutexGuard<'_, Durations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Lent {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.lock().encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Durations::TYPE
    }
}

impl TypedMetric for Lent {
    const TYPE: MetricType = Durations::TYPE;
}

/// The sinks of audit events.
#[derive(Debug, Default)]
struct Sinks {
    shown: Mutex<Vec<String>>,
    lag_events: Family<Sink, Gauge>,
    lag_seconds: Family<Sink, Gauge<f64, AtomicU64>>,
    delivered: Family<Sink, Counter>,
    rejected: Family<Sink, Counter>,
    failures: Family<Sink, Counter>,
}

impl Sinks {
    fn register(&self, to: &mut Registry) {
        let text = "Audit events that a sink does not have yet";
        to.register("audit_sink_lag_events", text, self.lag_events.clone());
        let text = "The age of the oldest audit event that a sink does not have yet";
        to.register_with_unit("audit_sink_lag", text, Unit::Seconds, self.lag_seconds.clone());
        to.register("audit_sink_delivered", "Audit events that a sink took", self.delivered.clone());
        let text = "Audit events that a sink refused for good";
        to.register("audit_sink_rejected", text, self.rejected.clone());
        to.register("audit_sink_failures", "Failed attempts to send to a sink", self.failures.clone());
    }

    fn show(&self, sinks: &[SinkFigures]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.drain(..).filter(|name| sinks.iter().all(|sink| sink.name != *name)) {
            let label = Sink { sink: gone };
            self.lag_events.remove(&label);
            self.lag_seconds.remove(&label);
            for counter in [&self.delivered, &self.rejected, &self.failures] {
                counter.remove(&label);
            }
        }
        for sink in sinks {
            let label = Sink { sink: sink.name.clone() };
            self.lag_events.get_or_create(&label).set(i64::try_from(sink.lag).unwrap_or(i64::MAX));
            self.lag_seconds.get_or_create(&label).set(sink.oldest.as_secs_f64());
            let counts = [sink.delivered, sink.rejected, sink.failures];
            for (counter, count) in [&self.delivered, &self.rejected, &self.failures].into_iter().zip(counts)
            {
                counter.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
            shown.push(sink.name.clone());
        }
    }
}
