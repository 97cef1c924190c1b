//! What the gateway says of itself: ready or not, configured when, watched how.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    check: &'static str,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spans {
    /// More of them ended than may wait to be sent.
    Dropped,
    /// The collector took them.
    Exported,
    /// The collector was away or refused them.
    Failed,
}

/// The gateway itself.
#[derive(Debug, Default)]
pub(super) struct State {
    ready: Gauge,
    checks: Family<Named, Gauge>,
    reloads: Family<Outcome, Counter>,
    reloaded: Gauge<f64, AtomicU64>,
    spans: Family<Outcome, Counter>,
    lines_dropped: Counter,
}

impl State {
    pub(super) fn register(&self, to: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The running version", build);
        to.register("ready", "Whether requests may be sent here", self.ready.clone());
        let text = "Whether a check of `/ready` is well; not every one keeps requests away";
        to.register("check", text, self.checks.clone());
        for outcome in ["ok", "failed"] {
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
        to.register("config_reloads", "Reloads of the configuration", self.reloads.clone());
        to.register_with_unit(
            "config_last_reload_success_timestamp",
            "When the configuration in force was taken, since the epoch",
            Unit::Seconds,
            self.reloaded.clone(),
        );
        to.register("trace_spans", "Spans, by what became of them", self.spans.clone());
        let text = "Log lines that nobody took in time";
        to.register("log_lines_dropped", text, self.lines_dropped.clone());
    }

    pub(super) fn checked(&self, name: &'static str, well: bool) {
        self.checks.get_or_create(&Named { check: name }).set(i64::from(well));
    }

    pub(super) fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    pub(super) fn taken(&self, at: Timestamp) {
        self.reloaded.set(at.as_duration().as_secs_f64());
    }

    pub(super) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn spans(&self, spans: Spans, count: usize) {
        let outcome = match spans {
            Spans::Dropped => "dropped",
            Spans::Exported => "exported",
            Spans::Failed => "failed",
        };
        self.spans.get_or_create(&Outcome { outcome }).inc_by(count as u64);
    }

    pub(super) fn lines_dropped(&self, count: u64) {
        self.lines_dropped.inner().store(count, Ordering::Relaxed);
    }
}
