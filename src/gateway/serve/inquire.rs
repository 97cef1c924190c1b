//! What a request needs of the backend besides its own answer: facts to decide by and to check by, and the parts of a
//! search that became several.

use std::pin::pin;

use bytes::Bytes;
use http::request::Parts;

use super::{Answered, BackendFault, Content, Gateway, ROUNDS, collect, fault, whole};
use crate::gateway::access::Errand;
use crate::gateway::record::Record;
use crate::gateway::route::{Passage, Question, Step};
use crate::policy::{Denial, Facts, Question as Inquiry, Refused};
use crate::reject::Rejection;
use crate::release::{self, Answer};
use crate::rewrite::Outbound;
use crate::telemetry::Asking;
use crate::token::{Caller, TokenError};
use crate::upstream::{Unfit, UpstreamBody};

impl Gateway {
    /// Asks for the parts of a search that became several, and shows them as one (SCOPE-44).
    pub(super) async fn unite(
        &self,
        mut union: release::Union<'_>,
        passage: &Passage,
        (errand, record): (&Errand, &mut Record),
    ) -> Result<Answered, Rejection> {
        let mut facts = passage.facts.clone();
        let mut room = self.settings.limits.checked_answer_bytes;
        while let Some((at, part)) = union.wants() {
            let wrong = || Rejection::Withheld(release::Withheld::WrongShape);
            let outbound = self.route.part(passage, part).ok_or_else(wrong)?;
            let answer = self.answer_to(&outbound, (errand, Asking::Part), room).await?;
            // All parts together are one answer, and no larger than one may be.
            room = room.saturating_sub(answer.body.len());
            let terms = self.route.terms(passage, record.now());
            let questions = release::questions(&answer, &passage.duties, &terms);
            self.gather(questions, errand, &mut facts).await?;
            let terms = release::Terms { facts: &facts, ..terms };
            record.answer(&answer);
            union.add(at, &answer, &terms).map_err(Rejection::Withheld)?;
        }
        let terms = release::Terms { facts: &facts, ..self.route.terms(passage, record.now()) };
        let mut released = union.finish(&passage.own, &terms).map_err(Rejection::Withheld)?;
        record.discloses(released.take_patients());
        Ok(whole(released.into_parts(), Content::Altered))
    }

    /// Decides, and asks the backend what the decision rests on until it is made.
    pub(super) async fn pass(
        &self,
        question: Question,
        body: Bytes,
        caller: &Caller,
        (head, record): (&Parts, &Record),
    ) -> Result<Box<Passage>, Rejection> {
        let asked = match question {
            Question::Link { link, method, wanted } => {
                return self.route.follow(&link, (&method, wanted), caller, record.now()).map(Box::new);
            }
            Question::Fhir(asked) => asked,
        };
        let request = self.route.read(*asked, body)?;
        let mut facts = Facts::default();
        facts.compartment_search = self.documents.compartment_search();
        for _ in 0..ROUNDS {
            let questions = match self.route.pass(&request, caller, &facts)? {
                Step::Pass(passage) => return Ok(passage),
                Step::Ask(questions) => questions,
            };
            let Caller::Holder(grant) = caller else {
                return Err(Rejection::Unauthenticated(TokenError::NoCredentials));
            };
            let errand = self.errand(head, Some(grant), record);
            Box::pin(self.gather(questions, &errand, &mut facts)).await?;
        }
        // A decision that never ends is none.
        Err(Rejection::Denied(Refused { denial: Denial::StoredUnclear, needs: Vec::new() }))
    }

    /// Asks the backend what a decision or a check rests on.
    pub(super) async fn gather(
        &self,
        questions: Vec<Inquiry>,
        errand: &Errand,
        facts: &mut Facts,
    ) -> Result<(), Rejection> {
        let mut asked: Vec<Inquiry> = Vec::with_capacity(questions.len());
        for question in questions {
            if !facts.knows(&question) && !asked.contains(&question) {
                asked.push(question);
            }
        }
        for question in asked {
            if let Some(known) = self.contexts.get(&question).await {
                facts.put_stored(question, known);
                continue;
            }
            let limit = self.settings.limits.checked_answer_bytes;
            let answer =
                self.answer_to(&self.route.inquire(&question), (errand, Asking::Fact), limit).await?;
            facts.answered(question.clone(), answer.status, &answer.headers, &answer.body);
            if let Inquiry::Context(id) = &question
                && let Some(known) = facts.context(id)
            {
                self.contexts.insert(question.clone(), known.clone()).await;
            }
        }
        Ok(())
    }

    /// Sends one request and reads its answer whole.
    pub(super) async fn answer_to(
        &self,
        outbound: &Outbound,
        (errand, asking): (&Errand, Asking),
        limit: usize,
    ) -> Result<Answer, Rejection> {
        let (head, body) = self.send(outbound, (errand, asking)).await?.into_parts();
        let body = self.whole_body(body, limit, errand).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    pub(super) async fn whole_body(
        &self,
        body: UpstreamBody,
        limit: usize,
        errand: &Errand,
    ) -> Result<Bytes, Rejection> {
        let whole = pin!(collect(body, limit, self.settings.backend.timeout));
        errand.watch().backend(whole).await.map_err(|unfit| match unfit {
            Unfit::Broken(error) => fault(error),
            Unfit::TooSlow => Rejection::Backend(BackendFault::Timeout),
            Unfit::TooLarge(limit) => Rejection::Backend(BackendFault::TooLarge(limit)),
        })
    }
}
