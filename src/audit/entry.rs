//! One interaction attempt, from its opening to its AuditEvent.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit::codes::{self, Code};
use crate::audit::{agents, dicom, entities, stored};
use crate::fhir::{FhirVersion, Kind, Parameter, ResourceType, SearchQuery, is_id};

/// What was asked for, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// One row of the interaction table; a `Kind::Batch` here is a batch.
    Known(Kind),
    /// A Bundle that succeeds or fails as one.
    Transaction,
    /// The request could not be read as any interaction.
    Unread,
}

impl From<Kind> for Interaction {
    fn from(kind: Kind) -> Self {
        Self::Known(kind)
    }
}

/// What the roles of the agents and the shape of the entities depend on (AUD-3, AUD-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Create,
    Delete,
    Other,
    Query,
    Read,
    Update,
}

impl Interaction {
    /// The interaction's own name, which no other has; as it is kept.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Known(kind) => kind.code(),
            Self::Transaction => "transaction",
            Self::Unread => "unread",
        }
    }

    /// The interaction of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "transaction" => Some(Self::Transaction),
            "unread" => Some(Self::Unread),
            _ => Kind::ALL.into_iter().find(|kind| kind.code() == name).map(Self::Known),
        }
    }

    /// The code of FHIR's `restful-interaction` that is closest (AUD-2, AUD-3); absent when unread.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        let Self::Known(kind) = self else {
            return (self == Self::Transaction).then_some("transaction");
        };
        Some(match kind {
            Kind::DeleteConditional => "delete",
            Kind::PatchConditional => "patch",
            Kind::UpdateConditional => "update",
            Kind::SearchCompartment => "search",
            Kind::Batch
            | Kind::Capabilities
            | Kind::Create
            | Kind::Delete
            | Kind::HistoryInstance
            | Kind::HistorySystem
            | Kind::HistoryType
            | Kind::Operation
            | Kind::Patch
            | Kind::Read
            | Kind::SearchSystem
            | Kind::SearchType
            | Kind::Update
            | Kind::Vread => kind.code(),
        })
    }

    pub(super) fn pattern(self) -> Pattern {
        let Self::Known(kind) = self else { return Pattern::Other };
        match kind {
            Kind::Create => Pattern::Create,
            Kind::Delete | Kind::DeleteConditional => Pattern::Delete,
            Kind::Read | Kind::Vread | Kind::Capabilities => Pattern::Read,
            Kind::SearchCompartment | Kind::SearchSystem | Kind::SearchType => Pattern::Query,
            Kind::Update | Kind::UpdateConditional | Kind::Patch | Kind::PatchConditional => Pattern::Update,
            Kind::Batch
            | Kind::HistoryInstance
            | Kind::HistorySystem
            | Kind::HistoryType
            | Kind::Operation => Pattern::Other,
        }
    }
}

impl Pattern {
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Delete => "D",
            Self::Other | Self::Query => "E",
            Self::Read => "R",
            Self::Update => "U",
        }
    }

    fn profile(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("Create"),
            Self::Delete => Some("Delete"),
            Self::Other => None,
            Self::Query => Some("Query"),
            Self::Read => Some("Read"),
            Self::Update => Some("Update"),
        }
    }
}

/// A purpose of use that the token claims (IUA; BALP 3:5.7.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// The code system, a URI.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The code.
    #[serde(rename = "c")]
    pub code: String,
}

/// One interaction attempt. Opened when the request arrives, filled in as more is known.
///
/// Everything here may be written to disk: a token must never be put in. Credentials that clients wrongly put into
/// queries or forms are blotted out when the event is kept.
///
/// Kept as JSON with short names; a name is never given another meaning, so that old records stay readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The gateway's public base, which stands for server and recorder (AUD-10).
    #[serde(rename = "ob")]
    pub observer: Arc<str>,
    /// Identifies the request in answers, logs and here.
    #[serde(rename = "rq")]
    pub request_id: String,
    /// The instant of the request.
    #[serde(rename = "at")]
    pub recorded: Timestamp,
    /// The IP address at the other end of the connection.
    #[serde(rename = "ip")]
    pub peer: String,
    /// The HTTP method.
    #[serde(rename = "m")]
    pub method: String,
    /// The request target below the base as it was sent, query included: `Observation?code=x`.
    #[serde(rename = "t")]
    pub target: String,
    /// The form of a `POST _search` as it was sent (AUD-6).
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// What was asked for.
    #[serde(rename = "i", with = "stored::interaction")]
    pub interaction: Interaction,
    /// The type acted on.
    #[serde(rename = "rt", default, skip_serializing_if = "Option::is_none", with = "stored::resource")]
    pub resource: Option<ResourceType>,
    /// The id acted on: asked for, or given by a create.
    #[serde(rename = "id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The version asked for by a vread, or made by a write.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The patient this very event is about: disclosed by the answer or named by what was written (AUD-7).
    #[serde(rename = "pt", default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The launch context's patient.
    #[serde(rename = "lp", default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The OAuth client.
    #[serde(rename = "cl", default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The token's `sub`.
    #[serde(rename = "su", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The token's `iss`.
    #[serde(rename = "is", default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The token's `fhirUser`.
    #[serde(rename = "fu", default, skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
    /// The token's `jti`.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What the token says the access is for.
    #[serde(rename = "pu", default, skip_serializing_if = "Vec::is_empty")]
    pub purpose: Vec<Purpose>,
    /// The HTTP status of the answer; 0 while there is none.
    #[serde(rename = "st")]
    pub status: u16,
    /// The reason id of a refusal.
    #[serde(rename = "rs", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The place in its Bundle, from 0, when this is an entry of a batch (AUD-7).
    #[serde(rename = "be", default, skip_serializing_if = "Option::is_none")]
    pub batch_entry: Option<usize>,
}

/// How an attempt ended (AUD-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Success,
    /// The request was at fault, or refused.
    Refused,
    /// The gateway or the backend was.
    Failed,
}

impl Outcome {
    /// FHIR R4's code: `0`, `4` or `8`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "0",
            Self::Refused => "4",
            Self::Failed => "8",
        }
    }
}

impl Entry {
    /// An attempt of which only the arrival is known.
    #[must_use]
    pub fn open(
        observer: &Arc<str>,
        request_id: &str,
        (recorded, peer): (Timestamp, &str),
        (method, target): (&str, &str),
    ) -> Self {
        Self {
            observer: Arc::clone(observer),
            request_id: request_id.to_owned(),
            recorded,
            peer: peer.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            form: None,
            interaction: Interaction::Unread,
            resource: None,
            id: None,
            version: None,
            about: None,
            patient: None,
            client: None,
            subject: None,
            issuer: None,
            fhir_user: None,
            jti: None,
            purpose: Vec::new(),
            status: 0,
            reason: None,
            batch_entry: None,
        }
    }

    /// The attempt ended with the backend's answer.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The attempt was refused.
    pub fn refused(&mut self, status: u16, reason: &'static str) {
        self.status = status;
        self.reason = Some(Cow::Borrowed(reason));
    }

    /// The same attempt as one event about this patient (AUD-7).
    #[must_use]
    pub fn of_patient(&self, id: &str) -> Self {
        Self { about: Some(id.to_owned()), ..self.clone() }
    }

    /// As it is kept: one JSON object.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        // Every member is text or a number, which JSON can always write.
        serde_json::to_vec(&*self.without_credentials()).unwrap_or_default()
    }

    /// The same without the credentials that a client put where they have no business (AUD-5).
    fn without_credentials(&self) -> Cow<'_, Self> {
        let target = entities::without_credentials(&self.target);
        let form = self.form.as_deref().map(entities::blotted);
        if *target == self.target && form == self.form {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { target: target.into_owned(), form, ..self.clone() })
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// When it is no such record.
    pub fn read(kept: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(kept)
    }

    /// An entry of this request's Bundle: same caller, same request, an interaction of its own.
    #[must_use]
    pub fn entry(&self, index: usize, method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            form: None,
            interaction: Interaction::Unread,
            resource: None,
            id: None,
            version: None,
            about: None,
            status: 0,
            reason: None,
            batch_entry: Some(index),
            ..self.clone()
        }
    }

    /// The AuditEvent in the form of a version of FHIR; `id` is its id when it has one.
    ///
    /// An event with an id also carries it as a tag of the system `urn:pforte:audit-event`, by which it is found in
    /// archives that give resources ids of their own.
    #[must_use]
    pub fn to_audit_event_in(&self, version: FhirVersion, id: Option<&str>) -> Value {
        match version {
            FhirVersion::R4 | FhirVersion::R4B | FhirVersion::R5 => self.to_audit_event(id),
        }
    }

    /// The event as a DICOM audit message: XML, in the schema of PS3.15 A.5.1, for ATNA's syslog (AUD-11).
    #[must_use]
    pub fn to_dicom(&self, id: &str) -> String {
        dicom::message(self, id)
    }

    /// The AuditEvent, in the form of FHIR R4; `id` is its id when it has one.
    #[must_use]
    pub fn to_audit_event(&self, id: Option<&str>) -> Value {
        let observer = &*self.observer;
        let mut event = Map::new();
        event.insert("resourceType".to_owned(), json!("AuditEvent"));
        if let Some(id) = id {
            event.insert("id".to_owned(), json!(id));
        }
        let profiles = self.profiles();
        let mut meta = Map::new();
        if !profiles.is_empty() {
            meta.insert("profile".to_owned(), json!(profiles));
        }
        if let Some(id) = id {
            meta.insert("tag".to_owned(), json!([{ "system": codes::EVENT_TAG, "code": id }]));
        }
        if !meta.is_empty() {
            event.insert("meta".to_owned(), Value::Object(meta));
        }
        event.insert("type".to_owned(), Code::new(codes::EVENT_TYPE, "rest", "RESTful Operation").coding());
        if let Some(code) = self.interaction.code() {
            event.insert("subtype".to_owned(), json!([Code::new(codes::INTERACTION, code, code).coding()]));
        }
        event.insert("action".to_owned(), json!(self.interaction.pattern().action()));
        // Milliseconds: enough to order by, and what archives commonly keep.
        event.insert("recorded".to_owned(), json!(format!("{:.3}", self.recorded)));
        event.insert("outcome".to_owned(), json!(self.outcome().code()));
        if let Some(description) = self.outcome_description() {
            event.insert("outcomeDesc".to_owned(), json!(description));
        }
        event.insert("agent".to_owned(), Value::Array(agents::of(self, observer)));
        event.insert("source".to_owned(), agents::source(observer));
        event.insert("entity".to_owned(), Value::Array(entities::of(self)));
        Value::Object(event)
    }

    /// How it ended (AUD-2).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.status {
            500.. => Outcome::Failed,
            100..400 if self.reason.is_none() => Outcome::Success,
            0 if self.reason.is_none() => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.outcome() == Outcome::Success
    }

    pub(super) fn outcome_description(&self) -> Option<String> {
        match &self.reason {
            Some(reason) => Some(reason.to_string()),
            None if self.succeeded() => None,
            None if self.status == 0 => Some("no answer".to_owned()),
            None => Some(format!("HTTP status {}", self.status)),
        }
    }

    /// The patient this is about (AUD-3, AUD-9): one that was disclosed, else one that was named.
    ///
    /// What a refused request named says nothing about a patient: only the launch context counts then.
    #[must_use]
    pub fn subject_patient(&self) -> Option<String> {
        let named = || self.succeeded().then(|| self.named_patient()).flatten();
        self.about.clone().or_else(named).or_else(|| self.patient.clone())
    }

    fn named_patient(&self) -> Option<String> {
        if self.resource.is_some_and(|resource| resource == ResourceType::PATIENT) && self.id.is_some() {
            return self.id.clone();
        }
        if self.interaction.pattern() != Pattern::Query {
            return None;
        }
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let form = self.form.as_deref().unwrap_or("");
        let mut named = [query, form]
            .into_iter()
            .filter_map(|part| SearchQuery::parse(part).ok())
            .flat_map(|part| part.iter().filter_map(patient_of).collect::<Vec<_>>());
        let first = named.next()?;
        named.all(|other| other == first).then_some(first)
    }

    /// The profiles this event meets (AUD-3). BALP's profiles are for what succeeded.
    fn profiles(&self) -> Vec<String> {
        let known = match self.interaction {
            Interaction::Known(kind) => !kind.is_conditional_write() && kind != Kind::Capabilities,
            Interaction::Transaction | Interaction::Unread => false,
        };
        let pattern = self.interaction.pattern();
        let whole = pattern == Pattern::Query || (self.resource.is_some() && self.id.is_some());
        let mut profiles = Vec::new();
        if let (true, Some(profile)) = (known && whole && self.succeeded(), pattern.profile()) {
            let patient = if self.subject_patient().is_some() { "Patient" } else { "" };
            profiles.push(format!("{}{patient}{profile}", codes::BALP_PROFILE));
        }
        if agents::has_user(self) && self.jti.is_some() {
            profiles.push(format!("{}OAUTHaccessTokenUse.Minimal", codes::BALP_PROFILE));
        }
        profiles
    }
}

/// The one patient a search parameter names, if it names one.
fn patient_of(parameter: &Parameter) -> Option<String> {
    let reference = match parameter.name() {
        "patient" | "patient:Patient" | "subject:Patient" => {
            parameter.value().strip_prefix("Patient/").unwrap_or(parameter.value())
        }
        "subject" => parameter.value().strip_prefix("Patient/")?,
        _ => return None,
    };
    is_id(reference).then(|| reference.to_owned())
}
