//! The one way from here to the backend: with what it wants to see of the gateway, and once more when that had become
//! invalid.

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::{Gateway, fault};
use crate::gateway::access::{Errand, Pass};
use crate::gateway::fields;
use crate::gateway::record::Record;
use crate::oauth::Again;
use crate::reject::Rejection;
use crate::rewrite::Outbound;
use crate::token::Grant;
use crate::upstream::UpstreamBody;

impl Gateway {
    /// What goes with everything that is asked of the backend for one request.
    pub(super) fn errand(&self, head: &Parts, grant: Option<&Grant>, record: &Record) -> Errand {
        let ours = fields::ours(&self.settings, head, grant, record.peer(), record.request_id());
        self.access.errand(ours, head, (grant, record.now()))
    }

    /// Sends one request. A read is sent once more when the backend refuses a token that can be replaced; for anything
    /// else the next request will have another one.
    pub(super) async fn send(
        &self,
        outbound: &Outbound,
        errand: &Errand,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let pass = self.access.pass(errand).await?;
        let response = self.forward(outbound, errand, &pass).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let again = self.access.refused(errand, &pass).await;
        if again == Again::Same || ![Method::GET, Method::HEAD].contains(outbound.method()) {
            return Ok(response);
        }
        // Its place among the requests that wait for the backend is given back first.
        drop(response);
        let pass = self.access.pass(errand).await?;
        self.forward(outbound, errand, &pass).await
    }

    async fn forward(
        &self,
        outbound: &Outbound,
        errand: &Errand,
        pass: &Pass,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let started = std::time::Instant::now();
        match self.upstream.forward(outbound, &errand.told(pass)).await {
            Ok(response) => {
                self.lasting.metrics.backend_answered(started.elapsed());
                Ok(response)
            }
            Err(error) => {
                let rejection = fault(error);
                self.lasting.metrics.backend_failed(rejection.reason_id());
                Err(rejection)
            }
        }
    }
}
