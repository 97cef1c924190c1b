//! The audit ledger and the sinks behind it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::Durations;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: String,
}

/// How the audit ledger is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Events that wait to be written.
    pub waiting: usize,
    /// The number of the newest event on disk.
    pub newest: u64,
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
        let text = "What a request waited for its audit events to be on disk";
        to.register_with_unit("audit_wait", text, Unit::Seconds, self.waits.clone());
        self.sinks.register(to);
    }

    pub(super) fn ledger(&self, figures: &LedgerFigures) {
        self.waiting.set(i64::try_from(figures.waiting).unwrap_or(i64::MAX));
        self.newest.set(i64::try_from(figures.newest).unwrap_or(i64::MAX));
    }

    pub(super) fn sinks(&self, sinks: &[SinkFigures]) {
        self.sinks.show(sinks);
    }
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
