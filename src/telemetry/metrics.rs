//! What is counted and timed. Names follow OpenMetrics; every label's values are fixed in this program or its settings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: from a refusal in memory to the longest wait for a backend.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    interaction: &'static str,
    status: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interaction {
    interaction: &'static str,
}

/// What is shown once there is one of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The one kind of server that replicas share by.
const REDIS: Kind = Kind { kind: "redis" };

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyFetch {
    issuer: String,
    outcome: &'static str,
}

/// How fetches of keys end.
const OUTCOMES: [&str; 3] = ["new", "unchanged", "failed"];

/// What was asked of an authorization server.
#[derive(Debug, Clone, Copy, Default)]
pub struct IssuerFigures {
    /// The age of its keys, if there are any.
    pub keys_age: Option<Duration>,
    /// Fetches of keys: new, unchanged, failed.
    pub key_fetches: [u64; 3],
    /// Introspections.
    pub introspections: u64,
    /// Requests that needed none of their own.
    pub introspections_avoided: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: String,
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
        to.register(
            "audit_sink_rejected",
            "Audit events that a sink refused for good",
            self.rejected.clone(),
        );
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

/// The handle through which every room counts. Cheap to clone; all clones count into the same place.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<Answer, Counter>,
    request_seconds: Family<Interaction, Histogram>,
    backend_seconds: Histogram,
    backend_errors: Family<Reason, Counter>,
    audit_waiting: Gauge,
    audit_failed: Counter,
    connections: Gauge,
    certificate_expiry: Gauge<f64, AtomicU64>,
    shared_up: Family<Kind, Gauge>,
    shared_asked: Family<Kind, Counter>,
    shared_failed: Family<Kind, Counter>,
    keys_age: Family<Issuer, Gauge<f64, AtomicU64>>,
    key_fetches: Family<KeyFetch, Counter>,
    introspections: Family<Issuer, Counter>,
    introspections_avoided: Family<Issuer, Counter>,
    sinks: Sinks,
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
            registry: Registry::with_prefix("pforte"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            backend_seconds: seconds(),
            backend_errors: Family::default(),
            audit_waiting: Gauge::default(),
            audit_failed: Counter::default(),
            connections: Gauge::default(),
            certificate_expiry: Gauge::default(),
            shared_up: Family::default(),
            shared_asked: Family::default(),
            shared_failed: Family::default(),
            keys_age: Family::default(),
            key_fetches: Family::default(),
            introspections: Family::default(),
            introspections_avoided: Family::default(),
            sinks: Sinks::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// A request was answered. `interaction` and `reason` are codes of this program, never what a client sent;
    /// `took` is the time from the request's headers to the answer's.
    pub fn answered(
        &self,
        interaction: &'static str,
        status: StatusCode,
        reason: Option<&'static str>,
        took: Duration,
    ) {
        let answer = Answer { interaction, status: class(status), reason: reason.unwrap_or("") };
        self.0.requests.get_or_create(&answer).inc();
        self.0.request_seconds.get_or_create(&Interaction { interaction }).observe(took.as_secs_f64());
    }

    /// The backend answered, after so long.
    pub fn backend_answered(&self, took: Duration) {
        self.0.backend_seconds.observe(took.as_secs_f64());
    }

    /// The backend did not answer, or not so that it could be used; `reason` is a reason id.
    pub fn backend_failed(&self, reason: &'static str) {
        self.0.backend_errors.get_or_create(&Reason { reason }).inc();
    }

    /// So many audit events wait to be written.
    pub fn audit_waiting(&self, events: usize) {
        self.0.audit_waiting.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// So many audit events could not be written.
    pub fn audit_failed(&self, events: usize) {
        self.0.audit_failed.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// A client connected; it counts until the value is dropped.
    #[must_use]
    pub fn connected(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.clone())
    }

    /// The certificate served now ends at this instant. Kept as an instant: an age would be wrong between changes.
    pub fn certificate_expires(&self, at: Timestamp) {
        self.0.certificate_expiry.set(at.as_duration().as_secs_f64());
    }

    /// Whether the server that replicas share by can be used, how many questions it was asked so far, and how many of them
    /// had no usable answer. Nothing is shown of it before the first call.
    pub fn shared_state(&self, up: bool, asked: u64, failed: u64) {
        self.0.shared_up.get_or_create(&REDIS).set(i64::from(up));
        for (counter, number) in [(&self.0.shared_asked, asked), (&self.0.shared_failed, failed)] {
            counter.get_or_create(&REDIS).inner().store(number, Ordering::Relaxed);
        }
    }

    /// What an authorization server has been asked so far; counted elsewhere, shown here.
    pub fn issuer(&self, issuer: &str, figures: &IssuerFigures) {
        let label = Issuer { issuer: issuer.to_owned() };
        match figures.keys_age {
            Some(age) => drop(self.0.keys_age.get_or_create(&label).set(age.as_secs_f64())),
            None => drop(self.0.keys_age.remove(&label)),
        }
        let count = |counter: &Counter, count: u64| counter.inner().store(count, Ordering::Relaxed);
        for (outcome, fetches) in OUTCOMES.into_iter().zip(figures.key_fetches) {
            let label = KeyFetch { issuer: issuer.to_owned(), outcome };
            count(&self.0.key_fetches.get_or_create(&label), fetches);
        }
        count(&self.0.introspections.get_or_create(&label), figures.introspections);
        count(&self.0.introspections_avoided.get_or_create(&label), figures.introspections_avoided);
    }

    /// How the sinks of audit events are doing; counted elsewhere, shown here. What is not among them is shown no more.
    pub fn audit_sinks(&self, sinks: &[SinkFigures]) {
        self.0.sinks.show(sinks);
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

impl Inner {
    fn register(&mut self) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let to = &mut self.registry;
        to.register("build", "The running version", build);
        to.register("requests", "Requests answered", self.requests.clone());
        let text = "From a request's headers to its answer's";
        to.register_with_unit("request_duration", text, Unit::Seconds, self.request_seconds.clone());
        let text = "From sending to the backend to its answer's headers";
        to.register_with_unit("backend_duration", text, Unit::Seconds, self.backend_seconds.clone());
        to.register(
            "backend_errors",
            "Requests the backend did not usably answer",
            self.backend_errors.clone(),
        );
        to.register("audit_waiting", "Audit events not yet written", self.audit_waiting.clone());
        to.register("audit_failed", "Audit events that could not be written", self.audit_failed.clone());
        self.sinks.register(to);
        to.register("connections", "Client connections open now", self.connections.clone());
        to.register("shared_state_up", "Whether what replicas share can be had", self.shared_up.clone());
        let text = "Questions to the server that replicas share by";
        to.register("shared_state_questions", text, self.shared_asked.clone());
        let text = "Questions to the server that replicas share by without a usable answer";
        to.register("shared_state_errors", text, self.shared_failed.clone());
        let text = "When the served certificate ends, since the epoch";
        to.register_with_unit(
            "certificate_expiry_timestamp",
            text,
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
        self.register_issuers();
    }

    fn register_issuers(&mut self) {
        let to = &mut self.registry;
        to.register_with_unit(
            "issuer_keys_age",
            "Since the keys of an authorization server were last found to be so",
            Unit::Seconds,
            self.keys_age.clone(),
        );
        let text = "Fetches of an authorization server's keys";
        to.register("issuer_key_fetches", text, self.key_fetches.clone());
        to.register("introspections", "Introspections", self.introspections.clone());
        to.register(
            "introspections_avoided",
            "Requests with tokens to introspect that needed no call of their own",
            self.introspections_avoided.clone(),
        );
    }
}

/// One open client connection.
#[derive(Debug)]
pub struct OpenConnection(Metrics);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.dec();
    }
}

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{IssuerFigures, Metrics, SinkFigures};

    /// Every metric shows what was told, and nothing untold.
    #[test]
    fn each_metric_counts() {
        let metrics = Metrics::new();
        let before = metrics.encode();
        assert!(
            before.contains("pforte_connections 0\n")
                && !before.contains("pforte_requests_total")
                && !before.contains("pforte_shared_state_up{"),
            "{before}"
        );

        let took = Duration::from_millis(3);
        metrics.answered("read", StatusCode::OK, None, took);
        metrics.answered("read", StatusCode::NO_CONTENT, None, took);
        metrics.answered("search-type", StatusCode::FORBIDDEN, Some("insufficient_scope"), took);
        metrics.backend_answered(took);
        metrics.backend_failed("upstream_timeout");
        metrics.audit_waiting(7);
        metrics.audit_failed(2);
        metrics.certificate_expires("2027-01-01T00:00:00Z".parse().unwrap());
        metrics.shared_state(false, 3, 1);
        metrics.shared_state(true, 5, 2);
        let mut figures = IssuerFigures {
            keys_age: Some(Duration::from_millis(2500)),
            key_fetches: [1, 40, 2],
            introspections: 5,
            introspections_avoided: 95,
        };
        metrics.issuer("https://as.test", &figures);
        figures.keys_age = None;
        metrics.issuer("https://other.test", &figures);
        let open = metrics.connected();
        let closed = metrics.clone().connected();
        drop(closed);

        let text = metrics.encode();
        drop(open);
        let lines = [
            concat!("pforte_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "pforte_requests_total{interaction=\"read\",status=\"2xx\",reason=\"\"} 2",
            "pforte_requests_total{interaction=\"search-type\",status=\"4xx\",reason=\"insufficient_scope\"} 1",
            "pforte_request_duration_seconds_bucket{le=\"0.0025\",interaction=\"read\"} 0",
            "pforte_request_duration_seconds_bucket{le=\"0.005\",interaction=\"read\"} 2",
            "pforte_backend_duration_seconds_count 1",
            "pforte_backend_errors_total{reason=\"upstream_timeout\"} 1",
            "pforte_audit_waiting 7",
            "pforte_audit_failed_total 2",
            "pforte_connections 1",
            "pforte_shared_state_up{kind=\"redis\"} 1",
            "pforte_shared_state_questions_total{kind=\"redis\"} 5",
            "pforte_shared_state_errors_total{kind=\"redis\"} 2",
            "pforte_certificate_expiry_timestamp_seconds 1798761600.0",
            "pforte_issuer_keys_age_seconds{issuer=\"https://as.test\"} 2.5",
            "pforte_issuer_key_fetches_total{issuer=\"https://as.test\",outcome=\"unchanged\"} 40",
            "pforte_introspections_total{issuer=\"https://as.test\"} 5",
            "pforte_introspections_avoided_total{issuer=\"https://as.test\"} 95",
            "# EOF",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        assert!(!text.contains("keys_age_seconds{issuer=\"https://other.test\""), "{text}");
        assert!(metrics.encode().contains("pforte_connections 0\n"));
    }

    /// A sink is shown while there is one.
    #[test]
    fn sinks_come_and_go() {
        let metrics = Metrics::new();
        let sink = |name: &str| SinkFigures {
            name: name.to_owned(),
            lag: 12,
            oldest: Duration::from_millis(1500),
            delivered: 88,
            rejected: 1,
            failures: 3,
        };
        metrics.audit_sinks(&[sink("fhir"), sink("gone")]);
        metrics.audit_sinks(&[sink("fhir")]);
        let text = metrics.encode();
        let lines = [
            "pforte_audit_sink_lag_events{sink=\"fhir\"} 12",
            "pforte_audit_sink_lag_seconds{sink=\"fhir\"} 1.5",
            "pforte_audit_sink_delivered_total{sink=\"fhir\"} 88",
            "pforte_audit_sink_rejected_total{sink=\"fhir\"} 1",
            "pforte_audit_sink_failures_total{sink=\"fhir\"} 3",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        assert!(!text.contains("sink=\"gone\""), "{text}");
    }
}
