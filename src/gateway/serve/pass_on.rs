//! From the backend's answer to the client's: held against the duties, or let pass where they allow it; and whom it names.

use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::{Answered, Content, FAULT_BYTES, Gateway, fault, whole};
use crate::fhir::ResourceType;
use crate::fhir::links::{Mention, Rewriter};
use crate::gateway::access::Errand;
use crate::gateway::body::{self, BrokenOff, Passing, ResponseBody};
use crate::gateway::concerned;
use crate::gateway::record::Record;
use crate::gateway::route::{Passage, is_uri};
use crate::policy::Expects;
use crate::reject::Rejection;
use crate::release::{self, Answer, Opening, Withheld};
use crate::upstream::UpstreamBody;

impl Gateway {
    /// Holds the backend's answer against the duties, or lets it pass where they allow it.
    pub(super) async fn check(
        &self,
        response: Response<UpstreamBody>,
        mut passage: Box<Passage>,
        (errand, record): (&Errand, &mut Record),
    ) -> Result<Answered, Rejection> {
        let (head, body) = response.into_parts();
        let terms = self.route.terms(&passage, record.now());
        let opening = release::open(head.status, &head.headers, &passage.duties, &terms);
        // A body that has ended already is looked at like any that is here whole: an empty answer is none (RESP-2).
        let opening = opening.map_err(Rejection::Withheld)?;
        if let (Opening::Stream { status, headers, format }, false) = (opening, body.is_end_stream()) {
            let content = match (format, &passage.duties.expects) {
                (Some(format), _) => {
                    body::Content::Fhir(Rewriter::new(format, self.route.mapping().clone(), is_uri))
                }
                (None, Expects::Export) => body::Content::File(self.route.mapping().clone()),
                (None, _) => body::Content::Other,
            };
            let body = self.begun(Box::new(Passing::new(body, content)), &passage, record).await?;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            return Ok(Answered { response, content: Content::Plain });
        }
        let limit = if head.status.is_success() {
            self.settings.limits.checked_answer_bytes
        } else {
            FAULT_BYTES.min(self.settings.limits.checked_answer_bytes)
        };
        let body = self.whole_body(body, limit, errand).await?;
        let answer = Answer { status: head.status, headers: head.headers, body };
        record.answer(&answer);
        let questions = release::questions(&answer, &passage.duties, &terms);
        if !questions.is_empty() {
            Box::pin(self.gather(questions, errand, &mut passage.facts)).await?;
        }
        let terms = self.route.terms(&passage, record.now());
        let mut released = release::check(answer, &passage.duties, &terms).map_err(Rejection::Withheld)?;
        record.discloses(released.take_patients());
        if released.status() == StatusCode::OK && *terms.method == Method::GET {
            record.discloses(self.attached(&passage));
        }
        let content = if released.altered() { Content::Altered } else { Content::Plain };
        Ok(whole(released.into_parts(), content))
    }

    /// A body that passes, of which the beginning is here and was looked at. What breaks off before anything has left is
    /// answered like any other failure.
    async fn begun(
        &self,
        mut passing: Box<Passing>,
        passage: &Passage,
        record: &mut Record,
    ) -> Result<ResponseBody, Rejection> {
        passing.begin().await.map_err(|broken| match broken {
            BrokenOff::Backend(error) => fault(error),
            BrokenOff::Document(broken) => Rejection::Withheld(Withheld::Unreadable(broken.to_string())),
            BrokenOff::Unrecorded(_) => Rejection::AuditUnavailable,
        })?;
        record.discloses(passing.patients());
        record.discloses(self.attached(passage));
        Ok(ResponseBody::Passing(passing))
    }

    /// Whom a Binary is about, which need not name anybody itself.
    fn attached(&self, passage: &Passage) -> Vec<Mention> {
        match &passage.duties.expects {
            Expects::Resource(Some(resource), Some(id)) if *resource == ResourceType::BINARY => {
                concerned::of_binary(id, &passage.facts, self.route.mapping())
            }
            Expects::Anything
            | Expects::Bundle(_)
            | Expects::Export
            | Expects::Resource(..)
            | Expects::Written(_) => Vec::new(),
        }
    }
}
