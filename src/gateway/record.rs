//! What is written down of one request while it takes its path.
//!
//! An attempt that succeeded is one event for each patient that it disclosed or changed, or one event when there is none
//! (AUD-7, AUD-8); a refused one is one event, about nobody whom only the request named (AUD-9). Each entry of a batch is
//! an attempt of its own, and the bundle another, about those whom no entry names.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;

use super::evidence;
use super::route::{Passage, Question};
use super::watch::{Told, Watch};
use crate::audit::{Entry, Interaction, Outcome};
use crate::fhir::links::Mention;
use crate::fhir::outline::{Limits, Outline};
use crate::fhir::{BundleAction, FhirRequest, Format, Kind};
use crate::ledger::Intent;
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
    /// Whom the request changes something about, and whom its answer names.
    patients: Vec<Mention>,
    /// What was announced and has not ended.
    intent: Option<Intent>,
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
            patients: Vec::new(),
            intent: None,
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
        evidence::of_token(&mut self.own, grant);
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
        self.patients.clone_from(&passage.written);
        self.entries_of(&passage.entries, &passage.duties.entries);
    }

    /// The answer names these patients.
    pub fn discloses(&mut self, patients: Vec<Mention>) {
        if self.patients.is_empty() {
            self.patients = patients;
        } else {
            self.patients.extend(patients);
        }
    }

    /// What is announced before something is sent that may change what is stored: the request, about the first patient
    /// whom it concerns.
    #[must_use]
    pub fn announcement(&self) -> Entry {
        self.patients.first().map_or_else(|| self.own.clone(), |patient| self.own.of_patient(&patient.id))
    }

    /// It was announced.
    pub fn announced(&mut self, intent: Intent) {
        self.intent = Some(intent);
    }

    /// What was announced, for its end to be recorded.
    pub fn take_intent(&mut self) -> Option<Intent> {
        self.intent.take()
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
        if self.kind.is_some_and(|kind| kind.writes()) && answer.status.is_success() {
            let location = answer.headers.get("location").and_then(|url| url.to_str().ok()).unwrap_or("");
            made(&mut self.own, location);
            let etag = answer.headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or("");
            tagged(&mut self.own, etag);
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
            let Some(response) = entry.response.as_deref() else { continue };
            let status = response.status.as_ref().and_then(|status| status.text.get(..3)?.parse().ok());
            let (Some(recorded), Some(status)) = (self.bundle.get_mut(*index), status) else { continue };
            recorded.answered(status);
            let writes = matches!(recorded.interaction, Interaction::Known(kind) if kind.writes());
            if let Some(location) = response.location.as_ref().filter(|_| writes && status < 300) {
                made(recorded, &location.text);
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

    /// The event of the request, patient aside.
    #[must_use]
    pub fn own(&self) -> &Entry {
        &self.own
    }

    /// The only event there is, when there is one: mostly.
    pub fn only(&mut self) -> Option<&Entry> {
        if !self.bundle.is_empty() || self.patients.len() > 1 {
            return None;
        }
        if succeeded(&self.own) {
            self.own.about = self.patients.pop().map(|patient| patient.id);
        }
        Some(&self.own)
    }

    /// All events, each an entry and the patient it is about, if there is one: the request's own first, then those of its
    /// bundle in their order; patients in the order they were first mentioned.
    #[must_use]
    pub fn events(&self) -> Vec<(&Entry, Option<&str>)> {
        let mut about: Vec<Vec<&str>> = vec![Vec::new(); self.bundle.len() + 1];
        for patient in &self.patients {
            let place = patient.entry.map_or(0, |entry| entry.saturating_add(1));
            // Whoever is named where no entry of the request stands is named by the bundle.
            let place = if place < about.len() { place } else { 0 };
            about.get_mut(place).into_iter().for_each(|about| about.push(&patient.id));
        }
        let mut events = Vec::with_capacity(self.patients.len() + about.len());
        for (entry, patients) in std::iter::once(&self.own).chain(&self.bundle).zip(about) {
            let before = events.len();
            if succeeded(entry) {
                let mut known = HashSet::with_capacity(patients.len());
                let first = patients.into_iter().filter(|patient| known.insert(*patient));
                events.extend(first.map(|patient| (entry, Some(patient))));
            }
            if events.len() == before {
                events.push((entry, None));
            }
        }
        events
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

fn succeeded(entry: &Entry) -> bool {
    entry.outcome() == Outcome::Success
}

/// Id and version of what a write made, by its address (AUD-6).
fn made(entry: &mut Entry, location: &str) {
    let mut segments = location.trim_end_matches('/').rsplit('/');
    let last = segments.next();
    let (id, version) = match segments.next() {
        Some("_history") => (segments.next(), last),
        _ => (last, None),
    };
    if let Some(id) = id.filter(|id| crate::fhir::is_id(id)) {
        entry.id = Some(id.to_owned());
        entry.version = version.map(str::to_owned);
    }
}

/// The version of what a write made, by its tag: updates have no `Location` as a rule (FHIR R4 §3.1.0.4). What a delete
/// leaves is no version of the resource.
fn tagged(entry: &mut Entry, etag: &str) {
    let deletes = matches!(entry.interaction, Interaction::Known(Kind::Delete | Kind::DeleteConditional));
    if entry.id.is_some() && entry.version.is_none() && !deletes {
        let version = etag.strip_prefix("W/\"").and_then(|tag| tag.strip_suffix('"'));
        entry.version = version.filter(|version| crate::fhir::is_id(version)).map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: u16, bundle: &[u16], patients: &[(&str, Option<usize>)]) -> Record {
        let (head, ()) = http::Request::new(()).into_parts();
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let watch = Watch::open(&crate::telemetry::Traces::off(), &head, "");
        let origin = ([192, 0, 2, 7].into(), now);
        let mut record = Record::open(&"https://fhir.example/fhir".into(), "r-1", (&head, &watch), origin);
        record.own.answered(status);
        for (index, status) in bundle.iter().enumerate() {
            let mut entry = record.own.entry(index, "GET", "Patient");
            entry.answered(*status);
            record.bundle.push(entry);
        }
        let mention = |(id, entry): &(&str, _)| Mention { id: (*id).to_owned(), entry: *entry };
        record.discloses(patients.iter().map(mention).collect());
        record
    }

    /// AUD-7 … AUD-9: an event for each patient of an attempt that succeeded, one for any other.
    #[test]
    fn aud_7_events_by_patient() {
        type Case = (u16, &'static [u16], &'static [(&'static str, Option<usize>)], &'static str);
        let table: &[Case] = &[
            (200, &[], &[], "own -"),
            (200, &[], &[("a", None)], "own a"),
            (200, &[], &[("b", None), ("a", None), ("b", None)], "own b, own a"),
            (404, &[], &[("a", None)], "own -"),
            (503, &[], &[("a", None), ("b", None)], "own -"),
            (
                200,
                &[200, 404, 201],
                &[("a", Some(0)), ("b", Some(1)), ("b", Some(2)), ("a", Some(0))],
                "own -, 0 a, 1 -, 2 b",
            ),
            (200, &[200], &[("a", Some(0)), ("b", Some(0)), ("c", None)], "own c, 0 a, 0 b"),
            (200, &[200], &[("a", Some(7))], "own a, 0 -"),
            (503, &[503, 503], &[("a", Some(0))], "own -, 0 -, 1 -"),
        ];
        let name = |entry: &Entry, about: Option<&str>| {
            let place = entry.batch_entry.map_or("own".to_owned(), |at| at.to_string());
            format!("{place} {}", about.unwrap_or("-"))
        };
        for (status, bundle, patients, expected) in table {
            let mut record = record(*status, bundle, patients);
            let got: Vec<_> = record.events().into_iter().map(|(entry, about)| name(entry, about)).collect();
            assert_eq!(got.join(", "), *expected, "{status} {bundle:?} {patients:?}");
            if let Some(only) = record.only() {
                assert_eq!(name(only, only.about.as_deref()), *expected);
            }
        }
    }

    /// AUD-6: what a write made, by where it says that it is.
    #[test]
    fn aud_6_locations() {
        let table = [
            ("https://gw.test/fhir/Patient/p1/_history/3", Some("p1"), Some("3")),
            ("Patient/p1", Some("p1"), None),
            ("https://gw.test/fhir/Patient/p1/", Some("p1"), None),
            ("", None, None),
            ("Patient/no id/_history/3", None, None),
        ];
        for (location, id, version) in table {
            let mut record = record(201, &[], &[]);
            made(&mut record.own, location);
            assert_eq!(
                (record.own.id.as_deref(), record.own.version.as_deref()),
                (id, version),
                "{location}"
            );
        }
    }

    /// AUD-6: the version of what was updated, by its tag where the address names none.
    #[test]
    fn aud_6_tags() {
        let table = [
            (Kind::Update, Some("p1"), None, "W/\"3\"", Some("3")),
            (Kind::Patch, Some("p1"), None, "W/\"3\"", Some("3")),
            (Kind::Create, Some("p1"), Some("1"), "W/\"3\"", Some("1")),
            (Kind::Update, None, None, "W/\"3\"", None),
            (Kind::Delete, Some("p1"), None, "W/\"3\"", None),
            (Kind::Update, Some("p1"), None, "\"3\"", None),
            (Kind::Update, Some("p1"), None, "W/\"3 4\"", None),
            (Kind::Update, Some("p1"), None, "", None),
        ];
        for (kind, id, before, etag, version) in table {
            let mut own = record(200, &[], &[]).own;
            own.interaction = Interaction::Known(kind);
            (own.id, own.version) = (id.map(str::to_owned), before.map(str::to_owned));
            tagged(&mut own, etag);
            assert_eq!(own.version.as_deref(), version, "{kind} {id:?} {etag}");
        }
    }
}
