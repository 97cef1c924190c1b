//! The audit ledger and the sinks behind it.

use std::sync::atomic::{AtomicU64, Ordering};
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkFigures {
    /// Events that it has not taken yet.
    pub lag_events: u64,
    /// The age of the oldest of them.
    pub lag: Duration,
    /// Events that it took since the start.
    pub delivered: u64,
    /// Events that it will never take, since the start.
    pub rejected: u64,
}

/// Audit events.
#[derive(Debug, Default)]
pub(super) struct Audit {
    waiting: Gauge,
    newest: Gauge,
    pub(super) recorded: Counter,
    pub(super) failed: Counter,
    pub(super) waits: Durations,
    lag_events: Family<Sink, Gauge>,
    lag: Family<Sink, Gauge<f64, AtomicU64>>,
    delivered: Family<Sink, Counter>,
    rejected: Family<Sink, Counter>,
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
        let text = "Audit events that a sink has not taken yet";
        to.register("audit_sink_lag_events", text, self.lag_events.clone());
        let text = "The age of the oldest audit event that a sink has not taken yet";
        to.register_with_unit("audit_sink_lag", text, Unit::Seconds, self.lag.clone());
        to.register("audit_sink_delivered", "Audit events that a sink took", self.delivered.clone());
        let text = "Audit events that a sink will never take as they are";
        to.register("audit_sink_rejected", text, self.rejected.clone());
    }

    pub(super) fn ledger(&self, figures: &LedgerFigures) {
        self.waiting.set(i64::try_from(figures.waiting).unwrap_or(i64::MAX));
        self.newest.set(i64::try_from(figures.newest).unwrap_or(i64::MAX));
    }

    pub(super) fn sink(&self, name: &str, figures: &SinkFigures) {
        let label = Sink { sink: name.to_owned() };
        let lag = i64::try_from(figures.lag_events).unwrap_or(i64::MAX);
        self.lag_events.get_or_create(&label).set(lag);
        self.lag.get_or_create(&label).set(figures.lag.as_secs_f64());
        let count = |counter: &Counter, count: u64| counter.inner().store(count, Ordering::Relaxed);
        count(&self.delivered.get_or_create(&label), figures.delivered);
        count(&self.rejected.get_or_create(&label), figures.rejected);
    }
}
