//! One interaction attempt, from its opening to its AuditEvent.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::codes::{self, Code};
use crate::audit::{agents, entities};
use crate::fhir::{Kind, Parameter, ResourceType, SearchQuery, is_id};

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
    fn action(self) -> &'static str {
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

/// One interaction attempt. Opened when the request arrives, filled in as more is known.
///
/// Everything here may be written to disk: a token must never be put in. Credentials that clients wrongly put into
/// queries or forms are blotted out when the event is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Identifies the request in answers, logs and here.
    pub request_id: String,
    /// The instant of the request.
    pub recorded: Timestamp,
    /// The IP address at the other end of the connection.
    pub peer: String,
    /// The HTTP method.
    pub method: String,
    /// The request target below the base as it was sent, query included: `Observation?code=x`.
    pub target: String,
    /// The form of a `POST _search` as it was sent (AUD-6).
    pub form: Option<String>,
    /// What was asked for.
    pub interaction: Interaction,
    /// The type acted on.
    pub resource: Option<ResourceType>,
    /// The id acted on: asked for, or given by a create.
    pub id: Option<String>,
    /// The version asked for by a vread, or made by a write.
    pub version: Option<String>,
    /// The launch context's patient.
    pub patient: Option<String>,
    /// The OAuth client.
    pub client: Option<String>,
    /// The token's `sub`.
    pub subject: Option<String>,
    /// The token's `iss`.
    pub issuer: Option<String>,
    /// The token's `fhirUser`.
    pub fhir_user: Option<String>,
    /// The token's `jti`.
    pub jti: Option<String>,
    /// The HTTP status of the answer; 0 while there is none.
    pub status: u16,
    /// The reason id of a refusal.
    pub reason: Option<&'static str>,
    /// The place in its Bundle, from 0, when this is an entry of a batch (AUD-7).
    pub batch_entry: Option<usize>,
}

impl Entry {
    /// An attempt of which only the arrival is known.
    #[must_use]
    pub fn open(request_id: &str, recorded: Timestamp, peer: &str, method: &str, target: &str) -> Self {
        Self {
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
            patient: None,
            client: None,
            subject: None,
            issuer: None,
            fhir_user: None,
            jti: None,
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
        self.reason = Some(reason);
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
            status: 0,
            reason: None,
            batch_entry: Some(index),
            ..self.clone()
        }
    }

    /// The AuditEvent. `observer` is the gateway's public base, which stands for server and recorder (AUD-10).
    #[must_use]
    pub fn to_audit_event(&self, observer: &str) -> Value {
        let mut event = Map::new();
        event.insert("resourceType".to_owned(), json!("AuditEvent"));
        let profiles = self.profiles();
        if !profiles.is_empty() {
            event.insert("meta".to_owned(), json!({ "profile": profiles }));
        }
        event.insert("type".to_owned(), Code::new(codes::EVENT_TYPE, "rest", "RESTful Operation").coding());
        if let Some(code) = self.interaction.code() {
            event.insert("subtype".to_owned(), json!([Code::new(codes::INTERACTION, code, code).coding()]));
        }
        event.insert("action".to_owned(), json!(self.interaction.pattern().action()));
        // Milliseconds: enough to order by, and what archives commonly keep.
        event.insert("recorded".to_owned(), json!(format!("{:.3}", self.recorded)));
        event.insert("outcome".to_owned(), json!(self.outcome()));
        if let Some(description) = self.outcome_description() {
            event.insert("outcomeDesc".to_owned(), json!(description));
        }
        event.insert("agent".to_owned(), Value::Array(agents::of(self, observer)));
        event.insert("source".to_owned(), agents::source(observer));
        event.insert("entity".to_owned(), Value::Array(entities::of(self)));
        Value::Object(event)
    }

    /// AUD-2: `0` success, `4` the request was at fault or refused, `8` we or the backend were.
    fn outcome(&self) -> &'static str {
        match self.status {
            500.. => "8",
            100..400 if self.reason.is_none() => "0",
            0 if self.reason.is_none() => "8",
            _ => "4",
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.outcome() == "0"
    }

    fn outcome_description(&self) -> Option<String> {
        match self.reason {
            Some(reason) => Some(reason.to_owned()),
            None if self.succeeded() => None,
            None if self.status == 0 => Some("no answer".to_owned()),
            None => Some(format!("HTTP status {}", self.status)),
        }
    }

    /// The patient this is about, when that is known without looking into resources (AUD-3, AUD-9).
    ///
    /// What a refused request named says nothing about a patient: only the launch context counts then.
    pub(super) fn subject_patient(&self) -> Option<String> {
        self.succeeded().then(|| self.named_patient()).flatten().or_else(|| self.patient.clone())
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
