//! OpenTelemetry traces: a span for each request, and below it one for each thing that was waited for.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions for HTTP, with one difference: no path, query or URL is
//! ever told, for they hold ids of patients. No token, body or client's text is told either; the request's id is the way from
//! a trace to the audit.
//!
//! A request whose trace nobody samples costs no spans, and without a collector it costs the look into an `Option`.

mod context;
mod export;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{
    FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::context::Parent;

use super::{Metrics, TelemetryError};
use crate::config;

/// Longest wait for the collector when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// Where spans go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Running>>);

#[derive(Debug)]
struct Running {
    tracer: SdkTracer,
    /// Spans end nowhere without it.
    _provider: SdkTracerProvider,
    closing: CancellationToken,
    courier: Mutex<Option<JoinHandle<()>>>,
}

impl Traces {
    /// Nothing is traced.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Traces are sent from here on. Call within a runtime; connects to nothing yet.
    ///
    /// # Errors
    /// The collector's address cannot be used.
    pub fn start(settings: &config::Traces, metrics: &Metrics) -> Result<Self, TelemetryError> {
        let resource = resource();
        let closing = CancellationToken::new();
        let (queue, courier) = export::queue(&settings.collector, &resource, metrics, closing.clone())?;
        let ratio = Sampler::TraceIdRatioBased(settings.ratio);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let courier = Mutex::new(Some(tokio::spawn(courier.run())));
        Ok(Self(Some(Arc::new(Running {
            tracer: provider.tracer("pforte"),
            _provider: provider,
            closing,
            courier,
        }))))
    }

    /// The trace of a request with these fields: the client's if it brought one.
    #[must_use]
    pub fn request(&self, method: &Method, headers: &HeaderMap) -> Trace {
        let parent = Parent::read(headers);
        let Some(running) = &self.0 else { return Trace { span: None, told: parent } };
        let outer = match &parent {
            Some(parent) => Context::new().with_remote_span_context(parent.context.clone()),
            None => Context::new(),
        };
        let attributes = [KeyValue::new("http.request.method", known(method))];
        let builder = running
            .tracer
            .span_builder(known(method))
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        let span = running.tracer.build_with_context(builder, &outer);
        let context = outer.with_span(span).with_value(running.tracer.clone());
        let told = Parent::of(context.span().span_context().clone());
        let span = context.span().is_recording().then(|| Step(Some(context)));
        Trace { span, told }
    }

    /// Sends what waits, for no longer than a few seconds.
    pub async fn close(&self) {
        let Some(running) = &self.0 else { return };
        running.closing.cancel();
        let courier = running.courier.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(courier) = courier {
            let _ended = tokio::time::timeout(FAREWELL, courier).await;
        }
    }
}

/// The trace that a request is part of.
#[derive(Debug, Default)]
pub struct Trace {
    /// Its span here, if it is sampled.
    span: Option<Step>,
    /// What the next one is told where no span of its own is told of.
    told: Option<Parent>,
}

impl Trace {
    /// The trace's id, if there is a trace.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.told.as_ref().map(Parent::trace_id)
    }

    /// A part of the request, by a name of this program.
    #[must_use]
    pub fn step(&self, name: &'static str) -> Step {
        self.child(|| name.into(), SpanKind::Internal, Vec::new)
    }

    /// A call to the backend.
    #[must_use]
    pub fn call(&self, method: &Method, server: &str, kind: &'static str) -> Step {
        let name = || format!("{} backend", known(method)).into();
        self.child(name, SpanKind::Client, || {
            vec![
                KeyValue::new("http.request.method", known(method)),
                KeyValue::new("server.address", server.to_owned()),
                KeyValue::new("pforte.kind", kind),
            ]
        })
    }

    fn child(
        &self,
        name: impl FnOnce() -> Cow<'static, str>,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Step {
        match &self.span {
            Some(Step(Some(context))) => child(context, name(), kind, attributes()),
            Some(Step(None)) | None => Step::default(),
        }
    }

    /// What the backend is told: of this step if it is one, else what is known of the trace.
    #[must_use]
    pub fn told(&self, step: &Step) -> Option<Parent> {
        match &step.0 {
            Some(context) => Parent::of(context.span().span_context().clone()),
            None => self.told.clone(),
        }
    }

    /// Ends the request's span. Every text is a code of this program or its settings.
    pub fn answered(&self, answered: &super::Answered, facts: &Facts<'_>) {
        let Some(Step(Some(context))) = &self.span else { return };
        let span = context.span();
        span.update_name(format!("{} {}", facts.method, answered.interaction));
        let mut attributes = vec![
            KeyValue::new("url.scheme", facts.scheme),
            KeyValue::new("server.address", facts.server.to_owned()),
            KeyValue::new("pforte.interaction", answered.interaction),
            KeyValue::new("pforte.request_id", facts.request_id.to_owned()),
        ];
        attributes.extend(facts.resource.map(|resource| KeyValue::new("pforte.resource_type", resource)));
        attributes.extend(answered.reason.map(|reason| KeyValue::new("pforte.reason_id", reason)));
        span.set_attributes(attributes);
        end(context, answered.status, Fault::FromServer, answered.reason);
    }
}

/// What a request's span tells besides how it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// A method that HTTP or FHIR knows, or `_OTHER`.
    pub method: &'static str,
    /// The scheme of the public base.
    pub scheme: &'static str,
    /// The host of the public base.
    pub server: &'f str,
    /// The type that the request names.
    pub resource: Option<&'static str>,
    /// The request's id.
    pub request_id: &'f str,
}

/// One span, until it is dropped. It is none at all where nothing is traced.
#[derive(Debug, Default)]
pub struct Step(Option<Context>);

impl Step {
    /// A call to an authorization server, as part of what runs now (see [`Step::within`]).
    #[must_use]
    pub fn to_issuer(method: &Method, url: &url::Url) -> Self {
        let current = Context::current();
        if !current.span().is_recording() {
            return Self::default();
        }
        let name = format!("{} authorization server", known(method));
        child(
            &current,
            name,
            SpanKind::Client,
            vec![
                KeyValue::new("http.request.method", known(method)),
                KeyValue::new("server.address", url.host_str().unwrap_or_default().to_owned()),
            ],
        )
    }

    /// Runs something as part of this, so that calls within it become spans below it. It is pinned where it is: each
    /// future that takes another one by value holds it twice.
    pub async fn within<F: Future>(&self, future: Pin<&mut F>) -> F::Output {
        match &self.0 {
            Some(context) => future.with_context(context.clone()).await,
            None => future.await,
        }
    }

    /// The call was answered.
    pub fn answered(&self, status: StatusCode) {
        if let Some(context) = &self.0 {
            end(context, status, Fault::OfEither, None);
        }
    }

    /// It failed; `reason` is a code of this program.
    pub fn failed(&self, reason: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", reason));
            context.span().set_status(Status::error(""));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            // A flight that was begun within it may still know of it.
            context.span().end();
        }
    }
}

/// Lets a task go on as part of what runs now.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.with_context(Context::current())
}

/// Whose fault a status tells of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// For a client each status from 400 is an error.
    OfEither,
    /// For a server those from 500 are.
    FromServer,
}

fn end(context: &Context, status: StatusCode, fault: Fault, reason: Option<&'static str>) {
    let span = context.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    let least = if fault == Fault::OfEither { 400 } else { 500 };
    if status.as_u16() >= least {
        let kind = reason.map_or_else(|| status.as_str().to_owned(), str::to_owned);
        span.set_attribute(KeyValue::new("error.type", kind));
        span.set_status(Status::error(""));
    }
    span.end();
}

fn child(
    context: &Context,
    name: impl Into<Cow<'static, str>>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
) -> Step {
    let Some(tracer) = context.get::<SdkTracer>() else { return Step::default() };
    let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    let span = tracer.build_with_context(builder, context);
    Step(Some(context.with_span(span)))
}

/// The method, if it is one that HTTP or FHIR knows: a client may write anything in its place.
#[must_use]
pub fn known(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// Who sends the spans. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count, as everywhere with OpenTelemetry.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::new("service.name")).map(|name| name.to_string());
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    match name {
        Some(name) if !name.starts_with("unknown_service") => builder.build(),
        Some(_) | None => builder.with_service_name("pforte").build(),
    }
}
