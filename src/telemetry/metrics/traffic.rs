//! Requests, and what the backend took of them.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::Durations;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    kind: &'static str,
}

/// What the backend is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// What a decision or a check rests on.
    Fact,
    /// One of the searches that a search became.
    Part,
    /// What the client asked for.
    Request,
    /// The CapabilityStatement.
    Statement,
}

impl Asking {
    /// Its name in metrics and traces.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::Part => "part",
            Self::Request => "request",
            Self::Statement => "statement",
        }
    }
}

/// How a request was answered. Every text is a code of this program, never what a client sent.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The interaction's code.
    pub interaction: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// The reason id of a refusal.
    pub reason: Option<&'static str>,
    /// From the request's header fields to the answer's.
    pub took: Duration,
    /// What of that was waiting for the backend.
    pub backend: Duration,
}

/// Requests.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    requests: Family<Answer, Counter>,
    whole: Family<Interaction, Durations>,
    own: Family<Interaction, Durations>,
    backend: Family<Asked, Durations>,
    backend_errors: Family<Reason, Counter>,
    pub(super) in_flight: Gauge,
}

impl Traffic {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("requests", "Requests answered", self.requests.clone());
        to.register("requests_in_flight", "Requests being answered now", self.in_flight.clone());
        let text = "From a request's header fields to its answer's";
        to.register_with_unit("request_duration", text, Unit::Seconds, self.whole.clone());
        let text = "The part of a request's duration in which the backend was not waited for";
        to.register_with_unit("gateway_duration", text, Unit::Seconds, self.own.clone());
        let text = "From sending to the backend to its answer's header fields";
        to.register_with_unit("backend_duration", text, Unit::Seconds, self.backend.clone());
        let text = "Requests the backend did not usably answer";
        to.register("backend_errors", text, self.backend_errors.clone());
    }

    pub(super) fn answered(&self, answered: &Answered) {
        let Answered { interaction, status, reason, took, backend } = *answered;
        let answer = Answer { interaction, status: class(status), reason: reason.unwrap_or("") };
        self.requests.get_or_create(&answer).inc();
        let interaction = Interaction { interaction };
        self.whole.get_or_create(&interaction).took(took);
        self.own.get_or_create(&interaction).took(took.saturating_sub(backend));
    }

    pub(super) fn backend_answered(&self, asking: Asking, took: Duration) {
        self.backend.get_or_create(&Asked { kind: asking.code() }).took(took);
    }

    pub(super) fn backend_failed(&self, reason: &'static str) {
        self.backend_errors.get_or_create(&Reason { reason }).inc();
    }
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
