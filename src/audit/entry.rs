//! One interaction attempt, from its opening to its AuditEvent.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::attributes::{Attributes, Coding};
use crate::audit::interaction::{Interaction, Pattern};
use crate::audit::{agents, codes, dicom, r4, r5, stored};
use crate::fhir::{FhirVersion, Kind, Parameter, ResourceType, SearchQuery, is_id};

/// The reason of a write whose end is not known.
const INTERRUPTED: &str = "interrupted";

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
    #[serde(rename = "t", serialize_with = "stored::write_target")]
    pub target: String,
    /// The form of a `POST _search` as it was sent (AUD-6).
    #[serde(
        rename = "f",
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "stored::write_form"
    )]
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
    /// The launch context's encounter.
    #[serde(rename = "en", default, skip_serializing_if = "Option::is_none")]
    pub encounter: Option<String>,
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
    /// A name for a token without `jti`: the first half of its SHA-256, 32 hex digits. Never a part of the token.
    #[serde(rename = "tk", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the token says the access is for.
    #[serde(rename = "pu", default, skip_serializing_if = "Vec::is_empty")]
    pub purpose: Vec<Coding>,
    /// What else the token says of the user.
    #[serde(rename = "us", default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Arc<Attributes>>,
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
            encounter: None,
            client: None,
            subject: None,
            issuer: None,
            fhir_user: None,
            jti: None,
            token: None,
            purpose: Vec::new(),
            attributes: None,
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

    /// A write was announced and its end is not known: the gateway ended before it heard.
    pub fn interrupted(&mut self) {
        self.status = 0;
        self.reason = Some(Cow::Borrowed(INTERRUPTED));
    }

    /// The same attempt as one event about this patient (AUD-7).
    #[must_use]
    pub fn of_patient(&self, id: &str) -> Self {
        Self { about: Some(id.to_owned()), ..self.clone() }
    }

    /// As it is kept: one JSON object, without credentials in target and form, and with a bound to both.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        // Most are shorter.
        let mut kept = Vec::with_capacity(1024);
        // Every member is text or a number, which JSON can always write.
        if serde_json::to_writer(&mut kept, self).is_err() {
            kept.clear();
        }
        kept
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
            FhirVersion::R4 | FhirVersion::R4B => r4::event(self, id),
            FhirVersion::R5 => r5::event(self, id),
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
        r4::event(self, id)
    }

    /// How it ended (AUD-2).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.status {
            500.. => Outcome::Failed,
            100..400 if self.reason.is_none() => Outcome::Success,
            0 if self.reason.as_deref().is_none_or(|reason| reason == INTERRUPTED) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.outcome() == Outcome::Success
    }

    pub(super) fn outcome_description(&self) -> Option<String> {
        match self.reason.as_deref() {
            Some(INTERRUPTED) => {
                Some(format!("{INTERRUPTED}: sent to the backend, whether it was done is not known"))
            }
            Some(reason) => Some(reason.to_owned()),
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

    /// BALP's profiles that the event meets in R4 (AUD-3, AUD-5). Those of interactions are for what succeeded.
    pub(super) fn profiles(&self) -> Vec<String> {
        let known = match self.interaction {
            Interaction::Known(kind) => !kind.is_conditional_write() && kind != Kind::Capabilities,
            Interaction::Transaction | Interaction::Unread => false,
        };
        let pattern = self.interaction.pattern();
        let whole = pattern == Pattern::Query || (self.resource.is_some() && self.id.is_some());
        let of_patient = if self.subject_patient().is_some() { "Patient" } else { "" };
        let own = pattern.profile().filter(|_| known && whole && self.succeeded());
        let own = own.map(|profile| format!("{}{of_patient}{profile}", codes::BALP_PROFILE));
        let token = agents::profiles(self).map(|profile| format!("{}{profile}", codes::BALP_PROFILE));
        own.into_iter().chain(token).collect()
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
