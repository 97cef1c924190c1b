//! Tokens, authorization servers, and what replicas share: counted elsewhere, shown here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::Durations;

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
struct Ended {
    issuer: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finding {
    finding: &'static str,
}

/// What was asked of an authorization server.
#[derive(Debug, Clone, Default)]
pub struct IssuerFigures {
    /// The age of its keys, if there are any.
    pub keys_age: Option<Duration>,
    /// Fetches of keys: new, unchanged, failed.
    pub key_fetches: [u64; 3],
    /// Introspections that began.
    pub introspections: u64,
    /// Those of them without a usable answer.
    pub introspections_failed: u64,
    /// Requests that needed none of their own.
    pub introspections_avoided: u64,
    /// How long introspections took; absent for a server that is not asked.
    pub introspection_durations: Option<Durations>,
}

/// What is remembered of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenFigures {
    /// Requests whose token was known.
    pub hits: u64,
    /// Requests whose token was not.
    pub misses: u64,
    /// Good tokens that are remembered.
    pub good: u64,
    /// Refused tokens that are remembered.
    pub refused: u64,
}

/// Tokens, and who stands behind them.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    lookups: Family<Outcome, Counter>,
    remembered: Family<Finding, Gauge>,
    keys_age: Family<Issuer, Gauge<f64, AtomicU64>>,
    key_fetches: Family<Ended, Counter>,
    introspections: Family<Ended, Counter>,
    avoided: Family<Issuer, Counter>,
    durations: ByIssuer,
    shared_up: Family<Kind, Gauge>,
    shared_asked: Family<Kind, Counter>,
    shared_failed: Family<Kind, Counter>,
}

impl Issuers {
    pub(super) fn register(&self, to: &mut Registry) {
        let text = "Tokens looked up among those seen before";
        to.register("token_cache_lookups", text, self.lookups.clone());
        to.register("token_cache_entries", "Findings about tokens that are kept", self.remembered.clone());
        let text = "Since the keys of an authorization server were last found to be so";
        to.register_with_unit("issuer_keys_age", text, Unit::Seconds, self.keys_age.clone());
        let text = "Fetches of an authorization server's keys";
        to.register("issuer_key_fetches", text, self.key_fetches.clone());
        to.register("introspections", "Introspections", self.introspections.clone());
        let text = "Requests with tokens to introspect that needed no call of their own";
        to.register("introspections_avoided", text, self.avoided.clone());
        let text =
            "From asking an authorization server about a token to its answer, the wait for a turn included";
        to.register_with_unit("introspection_duration", text, Unit::Seconds, self.durations.clone());
        to.register("shared_state_up", "Whether what replicas share can be had", self.shared_up.clone());
        let text = "Questions to the server that replicas share by";
        to.register("shared_state_questions", text, self.shared_asked.clone());
        let text = "Questions to the server that replicas share by without a usable answer";
        to.register("shared_state_errors", text, self.shared_failed.clone());
    }

    pub(super) fn shared(&self, up: bool, asked: u64, failed: u64) {
        self.shared_up.get_or_create(&REDIS).set(i64::from(up));
        set(&self.shared_asked.get_or_create(&REDIS), asked);
        set(&self.shared_failed.get_or_create(&REDIS), failed);
    }

    pub(super) fn tokens(&self, figures: &TokenFigures) {
        for (outcome, count) in [("hit", figures.hits), ("miss", figures.misses)] {
            set(&self.lookups.get_or_create(&Outcome { outcome }), count);
        }
        for (finding, count) in [("good", figures.good), ("refused", figures.refused)] {
            let entries = self.remembered.get_or_create(&Finding { finding });
            entries.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn issuer(&self, issuer: &str, figures: &IssuerFigures) {
        let label = Issuer { issuer: issuer.to_owned() };
        match figures.keys_age {
            Some(age) => drop(self.keys_age.get_or_create(&label).set(age.as_secs_f64())),
            None => drop(self.keys_age.remove(&label)),
        }
        for (outcome, fetches) in ["new", "unchanged", "failed"].into_iter().zip(figures.key_fetches) {
            let label = Ended { issuer: issuer.to_owned(), outcome };
            set(&self.key_fetches.get_or_create(&label), fetches);
        }
        if let Some(durations) = &figures.introspection_durations {
            let failed = figures.introspections_failed;
            let answered = figures.introspections.saturating_sub(failed);
            for (outcome, count) in [("answered", answered), ("failed", failed)] {
                let label = Ended { issuer: issuer.to_owned(), outcome };
                set(&self.introspections.get_or_create(&label), count);
            }
            set(&self.avoided.get_or_create(&label), figures.introspections_avoided);
            self.durations.show(issuer, durations);
        }
    }
}

fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

/// Histograms that belong to somebody else, by issuer.
#[derive(Debug, Clone, Default)]
struct ByIssuer(Arc<Mutex<BTreeMap<String, Durations>>>);

impl ByIssuer {
    fn show(&self, issuer: &str, durations: &Durations) {
        self.lock().insert(issuer.to_owned(), durations.clone());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Durations>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for ByIssuer {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (issuer, durations) in self.lock().iter() {
            let label = Issuer { issuer: issuer.clone() };
            durations.encode(encoder.encode_family(&label)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Durations::TYPE
    }
}

impl TypedMetric for ByIssuer {
    const TYPE: MetricType = Durations::TYPE;
}
