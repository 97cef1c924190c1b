//! The one way from here to the backend: with what it wants to see of the gateway, and once more when that had become
//! invalid.

use std::pin::pin;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::{Gateway, fault};
use crate::gateway::access::{Errand, Pass};
use crate::gateway::record::Record;
use crate::oauth::Again;
use crate::reject::{BackendFault, Rejection};
use crate::rewrite::Outbound;
use crate::telemetry::Asking;
use crate::token::Grant;
use crate::upstream::UpstreamBody;

impl Gateway {
    /// What goes with everything that is asked of the backend for one request.
    pub(super) fn errand(&self, head: &Parts, grant: Option<&Grant>, record: &Record) -> Errand {
        let ours = self.standing.ours(head, grant, (record.peer(), record.request_id()));
        self.access.errand(ours, head, (grant, record.now(), record.watch()))
    }

    /// Sends one request. A read is sent once more when the backend refuses a token that can be replaced; for anything
    /// else the next request will have another one.
    pub(super) async fn send(
        &self,
        outbound: &Outbound,
        (errand, asking): (&Errand, Asking),
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let pass = self.pass_of(errand).await?;
        let response = self.forward(outbound, (errand, asking), &pass).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let again = Box::pin(self.access.refused(errand, &pass)).await;
        if again == Again::Same || ![Method::GET, Method::HEAD].contains(outbound.method()) {
            return Ok(response);
        }
        // Its place among the requests that wait for the backend is given back first.
        drop(response);
        let pass = self.pass_of(errand).await?;
        self.forward(outbound, (errand, asking), &pass).await
    }

    async fn pass_of(&self, errand: &Errand) -> Result<Pass, Rejection> {
        if !self.access.is_asked_for() {
            return self.access.configured(errand);
        }
        let step = errand.watch().trace().step("backend credentials");
        Box::pin(step.within(pin!(self.access.pass(errand)))).await
    }

    async fn forward(
        &self,
        outbound: &Outbound,
        (errand, asking): (&Errand, Asking),
        pass: &Pass,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let (watch, host) = (errand.watch(), self.settings.backend.url.host_str());
        let step = watch.trace().call(outbound.method(), host.unwrap_or_default(), asking.code());
        let mut ours = errand.told(pass);
        if let Some(parent) = watch.trace().told(&step) {
            let ours = ours.to_mut();
            (ours.traceparent, ours.tracestate) = (Some(parent.traceparent), parent.tracestate);
        }
        let started = std::time::Instant::now();
        match watch.backend(pin!(self.upstream.forward(outbound, &ours))).await {
            Ok(response) => {
                self.lasting.metrics.backend_answered(asking, started.elapsed());
                step.answered(response.status());
                self.backend_seen(None);
                Ok(response)
            }
            Err(error) => {
                let rejection = fault(error);
                self.lasting.metrics.backend_failed(rejection.reason_id());
                step.failed(rejection.reason_id());
                self.backend_seen(Some(&rejection));
                Err(rejection)
            }
        }
    }

    /// Remembers whether the backend could be asked the last time; only for those who look after the gateway.
    fn backend_seen(&self, rejection: Option<&Rejection>) {
        match rejection {
            // As many wait as may, or nobody asked: that tells nothing of the backend.
            Some(Rejection::Backend(BackendFault::Overloaded | BackendFault::Resting { .. })) => {}
            Some(rejection) => self.backend_amiss.store(Some(Arc::new(rejection.detail()))),
            None if self.backend_amiss.load().is_some() => self.backend_amiss.store(None),
            None => {}
        }
    }
}
