//! What is counted and timed. Names follow OpenMetrics; every label's values are fixed in this program or its settings.
//!
//! On the path of a request nothing is locked but for reading: counters and durations are atomic, and what has a label is
//! found in a map that grows only while the program meets something for the first time. Figures that other rooms count
//! for themselves are copied when they are asked for.

mod audit;
mod connections;
mod issuers;
mod process;
mod state;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use audit::{LedgerFigures, SinkFigures};
pub use connections::{Handshake, Meter};
pub use issuers::{IssuerFigures, TokenFigures};
pub use state::Spans;
pub use traffic::{Answered, Asking};

use self::audit::Audit;
use self::connections::Connections;
use self::issuers::Issuers;
use self::process::Process;
use self::state::State;
use self::traffic::Traffic;

/// The handle through which every room counts. Cheap to clone; all clones count into the same place.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    traffic: Traffic,
    connections: Connections,
    audit: Audit,
    issuers: Issuers,
    state: State,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counts from zero.
    #[must_use]
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            traffic: Traffic::default(),
            connections: Connections::default(),
            audit: Audit::default(),
            issuers: Issuers::default(),
            state: State::default(),
        };
        // By the names that Prometheus has for what every process has.
        inner.registry.register_collector(Box::new(Process));
        let ours = inner.registry.sub_registry_with_prefix("pforte");
        inner.state.register(ours);
        inner.traffic.register(ours);
        inner.connections.register(ours);
        inner.issuers.register(ours);
        inner.audit.register(ours);
        Self(Arc::new(inner))
    }

    /// A request was answered.
    pub fn answered(&self, answered: &Answered) {
        self.0.traffic.answered(answered);
    }

    /// A request is being answered until the value is dropped.
    #[must_use]
    pub fn in_flight(&self) -> Present {
        Present::of(&self.0.traffic.in_flight)
    }

    /// The backend answered, after so long.
    pub fn backend_answered(&self, asking: Asking, took: Duration) {
        self.0.traffic.backend_answered(asking, took);
    }

    /// The backend did not answer, or not so that it could be used; `reason` is a reason id.
    pub fn backend_failed(&self, reason: &'static str) {
        self.0.traffic.backend_failed(reason);
    }

    /// A request waited so long for its audit events to be on disk, of which there are so many.
    pub fn audit_recorded(&self, events: usize, waited: Duration) {
        self.0.audit.recorded.inc_by(events as u64);
        self.0.audit.waits.took(waited);
    }

    /// So many audit events could not be written.
    pub fn audit_failed(&self, events: usize) {
        self.0.audit.failed.inc_by(events as u64);
    }

    /// How the audit ledger is doing.
    pub fn ledger(&self, figures: &LedgerFigures) {
        self.0.audit.ledger(figures);
    }

    /// How the sinks of audit events are doing; counted elsewhere, shown here. What is not among them is shown no more.
    pub fn audit_sinks(&self, sinks: &[SinkFigures]) {
        self.0.audit.sinks(sinks);
    }

    /// A client connected; it counts as open until the value is dropped.
    #[must_use]
    pub fn connected(&self) -> Present {
        self.0.connections.accepted.inc();
        Present::of(&self.0.connections.open)
    }

    /// So many connections may be open.
    pub fn connections_limit(&self, limit: usize) {
        self.0.connections.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// The system could not accept a connection.
    pub fn not_accepted(&self) {
        self.0.connections.not_accepted.inc();
    }

    /// A TLS handshake ended.
    pub fn shaken(&self, handshake: Handshake) {
        self.0.connections.shaken(handshake);
    }

    /// Counts the bytes of connections.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.0.connections.meter.clone()
    }

    /// The certificate served now ends at this instant. Kept as an instant: an age would be wrong between changes.
    pub fn certificate_expires(&self, at: Timestamp) {
        self.0.connections.certificate_expiry.set(at.as_duration().as_secs_f64());
    }

    /// Whether the server that replicas share by can be used, how many questions it was asked so far, and how many of them
    /// had no usable answer. Nothing is shown of it before the first call.
    pub fn shared_state(&self, up: bool, asked: u64, failed: u64) {
        self.0.issuers.shared(up, asked, failed);
    }

    /// What an authorization server has been asked so far; counted elsewhere, shown here.
    pub fn issuer(&self, issuer: &str, figures: &IssuerFigures) {
        self.0.issuers.issuer(issuer, figures);
    }

    /// What is remembered of tokens; counted elsewhere, shown here.
    pub fn tokens(&self, figures: &TokenFigures) {
        self.0.issuers.tokens(figures);
    }

    /// How a check of readiness went.
    pub fn checked(&self, name: &'static str, well: bool) {
        self.0.state.checked(name, well);
    }

    /// Whether requests may be sent here.
    pub fn ready(&self, ready: bool) {
        self.0.state.ready(ready);
    }

    /// A configuration was put in force at this instant.
    pub fn configured(&self, at: Timestamp) {
        self.0.state.taken(at);
    }

    /// The configuration was read again, and this came of it.
    pub fn reloaded(&self, reload: Reload) {
        self.0.state.reloaded(match reload {
            Reload::Failed => "failed",
            Reload::Taken => "ok",
        });
    }

    /// What became of spans.
    pub fn spans(&self, spans: Spans, count: usize) {
        self.0.state.spans(spans, count);
    }

    /// So many log lines were lost since the start.
    pub fn lines_dropped(&self, count: u64) {
        self.0.state.lines_dropped(count);
    }

    /// All of it as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // INVARIANT: writing to a `String` cannot fail, and no metric of ours has an encoder that does.
        if text::encode(&mut out, &self.0.registry).is_err() {
            tracing::error!("metrics could not be encoded");
            out.clear();
        }
        out
    }
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The old one stays in force.
    Failed,
    /// It is in force.
    Taken,
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub struct Present(Gauge);

impl Present {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
