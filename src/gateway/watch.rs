//! What is measured of one request on its way, and told when it is answered: in metrics, its trace and its log line.
//!
//! The log line has no target, no id of a resource, no patient, no user and no address: the audit has those, and `request_id`
//! is the way there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;

use super::body::ResponseBody;
use crate::config::Settings;
use crate::telemetry::{Answered, Facts, Metrics, Step, Trace, Traces, known};

/// One request under way. Shared by all that wait for somebody on its behalf.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    /// Nanoseconds.
    backend: AtomicU64,
    /// Nanoseconds.
    audit: AtomicU64,
    method: &'static str,
    tls: &'static str,
    trace: Trace,
}

/// What is told of a request besides what was measured. Codes of this program, but for the request's and the client's id.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// The request's id.
    pub request_id: &'t str,
    /// The interaction's code.
    pub interaction: &'static str,
    /// The type that the request names.
    pub resource: Option<&'static str>,
    /// The reason id of a refusal.
    pub reason: Option<&'static str>,
    /// Why it was refused, for operators.
    pub detail: Option<&'t str>,
    /// The OAuth client.
    pub client: Option<&'t str>,
}

impl<'t> Told<'t> {
    /// A public document, or the answer to a browser's preflight.
    #[must_use]
    pub fn public(request_id: &'t str, status: StatusCode) -> Self {
        // Only metadata of an authorization server that is away can keep one from being built.
        let reason = status.is_server_error().then_some("issuer_unavailable");
        Self { request_id, interaction: "public", resource: None, reason, detail: None, client: None }
    }
}

impl Watch {
    /// A request has arrived, by this version of TLS.
    #[must_use]
    pub fn open(traces: &Traces, head: &Parts, tls: &'static str) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            backend: AtomicU64::new(0),
            audit: AtomicU64::new(0),
            method: known(&head.method),
            tls,
            trace: traces.request(&head.method, &head.headers),
        })
    }

    /// The trace that it is part of.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Waits for the backend.
    pub async fn backend<F: Future>(&self, waiting: Pin<&mut F>) -> F::Output {
        let started = Instant::now();
        let output = waiting.await;
        add(&self.backend, started.elapsed());
        output
    }

    /// Waits for the audit ledger; gives how long, too.
    pub async fn audit<F: Future>(&self, step: &Step, waiting: Pin<&mut F>) -> (F::Output, Duration) {
        let started = Instant::now();
        let output = step.within(waiting).await;
        let took = started.elapsed();
        add(&self.audit, took);
        (output, took)
    }

    /// Tells how it was answered.
    pub fn answered(
        &self,
        response: &Response<ResponseBody>,
        told: &Told<'_>,
        (settings, metrics): (&Settings, &Metrics),
    ) {
        let took = self.started.elapsed();
        let backend = self.waited(&self.backend);
        let (status, interaction) = (response.status(), told.interaction);
        let answered = Answered { interaction, status, reason: told.reason, took, backend };
        metrics.answered(&answered);
        let public_url = &settings.server.public_url;
        let facts = Facts {
            method: self.method,
            scheme: if public_url.scheme() == "http" { "http" } else { "https" },
            server: public_url.host_str().unwrap_or_default(),
            resource: told.resource,
            request_id: told.request_id,
        };
        self.trace.answered(&answered, &facts);
        if settings.telemetry.access_log || told.reason.is_some() {
            self.log(status, told, (took, backend, response.body().size_hint().exact()));
        }
    }

    fn log(
        &self,
        status: StatusCode,
        told: &Told<'_>,
        (took, backend, bytes): (Duration, Duration, Option<u64>),
    ) {
        let trace_id = self.trace.id();
        let milliseconds = |took: Duration| (took.as_secs_f64() * 1e6).round() / 1e3;
        let message = if told.reason.is_some() { "request refused" } else { "request answered" };
        tracing::info!(
            target: "pforte::access",
            request_id = told.request_id,
            method = self.method,
            interaction = told.interaction,
            resource_type = told.resource,
            status = status.as_u16(),
            reason_id = told.reason,
            detail = told.detail,
            client_id = told.client,
            duration_ms = milliseconds(took),
            backend_ms = milliseconds(backend),
            audit_ms = milliseconds(self.waited(&self.audit)),
            bytes,
            tls = self.tls,
            trace_id,
            "{message}"
        );
    }

    fn waited(&self, clock: &AtomicU64) -> Duration {
        Duration::from_nanos(clock.load(Ordering::Relaxed))
    }
}

fn add(clock: &AtomicU64, took: Duration) {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    clock.fetch_add(nanoseconds, Ordering::Relaxed);
}
