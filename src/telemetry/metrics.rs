//! What is counted, in OpenMetrics text.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// How one request ended. Every value is one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    interaction: &'static str,
    status: &'static str,
    reason: &'static str,
}

/// How the backend answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    outcome: &'static str,
}

/// Everything that is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Ending, Counter>,
    seconds: Histogram,
    backend_seconds: Histogram,
    backend: Family<Answered, Counter>,
    audit_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        // From half a millisecond to sixteen seconds.
        let latency = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut registry = Registry::with_prefix("pforte");
        let metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            seconds: latency(),
            backend_seconds: latency(),
            backend: Family::default(),
            audit_failures: Counter::default(),
        };
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", build);
        registry.register(
            "requests",
            "Requests by interaction, status class and reason",
            metrics.requests.clone(),
        );
        let help = "From the request's head to its recorded answer";
        registry.register_with_unit("request", help, Unit::Seconds, metrics.seconds.clone());
        let help = "From sending to the head of the backend's answer";
        registry.register_with_unit("backend", help, Unit::Seconds, metrics.backend_seconds.clone());
        registry.register("backend_answers", "Requests to the backend by outcome", metrics.backend.clone());
        registry.register(
            "audit_failures",
            "Audit events that could not be recorded",
            metrics.audit_failures.clone(),
        );
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// A request ended.
    pub fn request(
        &self,
        interaction: &'static str,
        status: StatusCode,
        reason: Option<&'static str>,
        took: Duration,
    ) {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&Ending { interaction, status, reason: reason.unwrap_or("none") }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// The backend answered, or did not.
    pub fn backend(&self, took: Duration, answered: bool) {
        let outcome = if answered { "answer" } else { "failure" };
        self.backend.get_or_create(&Answered { outcome }).inc();
        self.backend_seconds.observe(took.as_secs_f64());
    }

    /// An audit event could not be recorded.
    pub fn audit_failed(&self) {
        self.audit_failures.inc();
    }

    /// All of it as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _always = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_shows() {
        let metrics = Metrics::new();
        metrics.request("read", StatusCode::OK, None, Duration::from_millis(3));
        metrics.request("read", StatusCode::FORBIDDEN, Some("insufficient_scope"), Duration::from_millis(1));
        metrics.backend(Duration::from_millis(2), true);
        metrics.audit_failed();
        let text = metrics.encode();
        for line in [
            r#"pforte_requests_total{interaction="read",status="2xx",reason="none"} 1"#,
            r#"pforte_requests_total{interaction="read",status="4xx",reason="insufficient_scope"} 1"#,
            r#"pforte_backend_answers_total{outcome="answer"} 1"#,
            "pforte_audit_failures_total 1",
            "pforte_request_seconds_count 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
