//! What is written down of one request while it takes its path.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;

use super::route::{Passage, Question};
use super::watch::{Told, Watch};
use crate::audit::{Entry, Interaction};
use crate::fhir::outline::{Limits, Outline};
use crate::fhir::{BundleAction, FhirRequest, Format, Kind};
use crate::policy::{EntryDuty, EntryRefusal};
use crate::reject::Rejection;
use crate::release::Answer;
use crate::token::Grant;

/// One request's audit entries: its own, and one for each entry of a batch (AUD-1, AUD-7).
#[derive(Debug)]
pub struct Record {
    own: Entry,
    bundle: Vec<Entry>,
    /// Places in `bundle` of the entries that were sent on, in order.
    forwarded: Vec<usize>,
    peer: IpAddr,
    kind: Option<Kind>,
    watch: Arc<Watch>,
    nonce: Option<String>,
    reason: Option<(&'static str, String)>,
}

impl Record {
    /// A request that has just arrived.
    #[must_use]
    pub fn open(
        observer: &Arc<str>,
        request_id: &str,
        (head, watch): (&Parts, &Arc<Watch>),
        (peer, now): (IpAddr, Timestamp),
    ) -> Self {
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        Self {
            own: Entry::open(observer, request_id, (now, &peer.to_string()), (head.method.as_str(), target)),
            bundle: Vec::new(),
            forwarded: Vec::new(),
            peer,
            kind: None,
            watch: Arc::clone(watch),
            nonce: None,
            reason: None,
        }
    }

    /// The interaction was classified.
    pub fn asked(&mut self, question: &Question) {
        self.kind = Some(question.kind());
        self.own.interaction = Interaction::Known(question.kind());
        if let Question::Fhir(asked) = question {
            self.own.target = asked.target().to_string();
            self.own.resource = asked.resource_type();
            self.own.id.clone_from(&asked.found().id);
            self.own.version.clone_from(&asked.found().version);
        }
    }

    /// The caller is known.
    pub fn caller(&mut self, grant: &Grant) {
        self.own.patient = grant.patient().map(str::to_owned);
        self.own.client = grant.client().map(str::to_owned);
        self.own.subject = grant.subject().map(str::to_owned);
        self.own.issuer = grant.issuer().map(str::to_owned);
        self.own.fhir_user = grant.fhir_user().map(ToString::to_string);
        self.own.jti = grant.jti().map(str::to_owned);
    }

    /// The answer brings this nonce for the client's next proof; nobody writes it down.
    pub fn offer(&mut self, nonce: String) {
        self.nonce = Some(nonce);
    }

    /// The nonce that the answer brings.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The body was read: the form of a POSTed search is part of the query (AUD-6).
    pub fn body(&mut self, question: &Question, body: &Bytes) {
        if question.kind().searches() && !body.is_empty() {
            self.own.form = Some(String::from_utf8_lossy(body).into_owned());
        }
    }

    /// The decision was yes.
    pub fn passing(&mut self, passage: &Passage) {
        if passage.action() == Some(BundleAction::Transaction) {
            self.own.interaction = Interaction::Transaction;
        }
        self.entries_of(&passage.entries, &passage.duties.entries);
    }

    /// The entries of a batch or transaction, each an interaction of its own.
    fn entries_of(
        &mut self,
        requests: &[Result<FhirRequest, crate::fhir::Unreadable>],
        duties: &[EntryDuty],
    ) {
        for (index, (request, duty)) in requests.iter().zip(duties).enumerate() {
            let mut entry = match request {
                Ok(request) => {
                    let asked = request.asked();
                    let mut entry =
                        self.own.entry(index, asked.method().as_str(), &asked.target().to_string());
                    entry.interaction = Interaction::Known(asked.kind());
                    entry.resource = asked.resource_type();
                    entry.id.clone_from(&asked.found().id);
                    entry
                }
                Err(_) => self.own.entry(index, "", ""),
            };
            match duty {
                EntryDuty::Forward(_) => self.forwarded.push(index),
                EntryDuty::Refuse(why) => {
                    let rejection = match why {
                        EntryRefusal::Denied(refused) => Rejection::Denied((**refused).clone()),
                        EntryRefusal::Unreadable(unreadable) => Rejection::Unreadable(unreadable.clone()),
                    };
                    entry.refused(rejection.status().as_u16(), rejection.reason_id());
                }
            }
            self.bundle.push(entry);
        }
    }

    /// The backend answered: what a write made, and how each entry ended.
    pub fn answer(&mut self, answer: &Answer) {
        if self.kind == Some(Kind::Create) {
            let location = answer.headers.get("location").and_then(|url| url.to_str().ok()).unwrap_or("");
            let mut segments = location.trim_end_matches('/').rsplit('/');
            let last = segments.next();
            let (id, version) = match segments.next() {
                Some("_history") => (segments.next(), last),
                _ => (last, None),
            };
            self.own.id = id.filter(|id| crate::fhir::is_id(id)).map(str::to_owned);
            self.own.version = version.map(str::to_owned);
        }
        if self.bundle.is_empty() {
            return;
        }
        let format =
            answer.headers.get("content-type").and_then(|value| value.to_str().ok()).and_then(Format::of);
        let limits = Limits { entries: 1_000_000, ..Limits::default() };
        let outline = format.and_then(|format| Outline::read(&answer.body, format, limits).ok());
        let Some(bundle) = outline.as_ref().and_then(Outline::bundle) else { return };
        for (entry, index) in bundle.entries.iter().zip(&self.forwarded) {
            let status = entry.response.as_ref().and_then(|response| response.status.as_ref());
            let status = status.and_then(|status| status.text.get(..3)?.parse().ok());
            if let (Some(recorded), Some(status)) = (self.bundle.get_mut(*index), status) {
                recorded.answered(status);
            }
        }
    }

    /// The request ended with this status.
    pub fn status(&mut self, status: StatusCode) {
        if self.own.reason.is_none() {
            self.own.answered(status.as_u16());
        }
        for entry in self.bundle.iter_mut().filter(|entry| entry.status == 0) {
            entry.answered(status.as_u16());
        }
    }

    /// The request was refused.
    pub fn refused(&mut self, rejection: &Rejection) {
        self.own.refused(rejection.status().as_u16(), rejection.reason_id());
        self.reason = Some((rejection.reason_id(), rejection.detail()));
    }

    /// What is written down.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        std::iter::once(&self.own).chain(&self.bundle).cloned().collect()
    }

    /// The interaction's name, for logs and metrics.
    #[must_use]
    pub fn interaction(&self) -> &'static str {
        match (self.own.interaction, self.kind) {
            (Interaction::Transaction, _) => "transaction",
            (_, Some(kind)) => kind.code(),
            (_, None) => "none",
        }
    }

    /// What is told of it in logs, metrics and traces.
    #[must_use]
    pub fn told(&self) -> Told<'_> {
        Told {
            request_id: &self.own.request_id,
            interaction: self.interaction(),
            resource: self.own.resource.map(crate::fhir::ResourceType::as_str),
            reason: self.reason.as_ref().map(|(id, _)| *id),
            detail: self.reason.as_ref().map(|(_, detail)| detail.as_str()),
            client: self.own.client.as_deref(),
        }
    }

    /// The id of the request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.own.request_id
    }

    /// The instant of the request.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.own.recorded
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// What is measured of it.
    #[must_use]
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}
