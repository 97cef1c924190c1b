//! An event as a DICOM audit message: the XML that ATNA sends by syslog (ITI-20, AUD-11).
//!
//! Follows the schema of DICOM PS3.15 A.5.1: attributes in any order, elements in its order only. Whatever a client
//! could have put in is escaped, and characters that XML cannot hold are replaced by U+FFFD.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::escape;

use crate::audit::agents;
use crate::audit::codes;
use crate::audit::entities;
use crate::audit::entry::{Entry, Pattern};

/// The code systems' short names, as DICOM and IHE write them.
const DCM: &str = "DCM";
const RFC_3881: &str = "RFC-3881";

/// A code, its system and its words.
type Coded<'t> = (&'t str, &'t str, &'t str);

const QUERY: Coded<'static> = ("110112", DCM, "Query");
const PATIENT_RECORD: Coded<'static> = ("110110", DCM, "Patient Record");
const REST: Coded<'static> = ("rest", codes::EVENT_TYPE, "RESTful Operation");
const PATIENT_NUMBER: Coded<'static> = ("2", RFC_3881, "Patient Number");
const SEARCH_CRITERIA: Coded<'static> = ("10", RFC_3881, "Search Criteria");
const URI: Coded<'static> = ("12", RFC_3881, "URI");
const REQUEST: Coded<'static> = ("XrequestId", codes::BALP_ENTITY, "X-Request-Id");

/// The message of an event; `id` is the event's own.
pub(super) fn message(entry: &Entry, id: &str) -> String {
    let mut xml = Xml(String::with_capacity(2048));
    xml.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    xml.element("AuditMessage", &[], |xml| {
        event(xml, entry);
        participants(xml, entry);
        let source = [("AuditSourceID", &*entry.observer)];
        // 4: application server.
        xml.element("AuditSourceIdentification", &source, |xml| {
            xml.element("AuditSourceTypeCode", &[("csd-code", "4")], |_| {});
        });
        objects(xml, entry, id);
    });
    xml.0
}

fn event(xml: &mut Xml, entry: &Entry) {
    let pattern = entry.interaction.pattern();
    let kind = match pattern {
        Pattern::Query => QUERY,
        Pattern::Create | Pattern::Delete | Pattern::Read | Pattern::Update
            if entry.subject_patient().is_some() =>
        {
            PATIENT_RECORD
        }
        Pattern::Create | Pattern::Delete | Pattern::Other | Pattern::Read | Pattern::Update => REST,
    };
    let attributes = [
        ("EventActionCode", pattern.action()),
        ("EventDateTime", &format!("{:.3}", entry.recorded)),
        ("EventOutcomeIndicator", entry.outcome().code()),
    ];
    xml.element("EventIdentification", &attributes, |xml| {
        xml.coded("EventID", kind);
        if let Some(code) = entry.interaction.code() {
            xml.coded("EventTypeCode", (code, codes::INTERACTION, code));
        }
        if let Some(description) = entry.outcome_description() {
            xml.text("EventOutcomeDescription", &description);
        }
    });
}

/// Client, server and user (AUD-4).
fn participants(xml: &mut Xml, entry: &Entry) {
    let (client, server, user) = agents::roles(entry.interaction.pattern());
    let attributes = [
        ("UserID", entry.client.as_deref().unwrap_or("unidentified client")),
        ("UserIsRequestor", "false"),
        ("NetworkAccessPointID", &entry.peer),
        ("NetworkAccessPointTypeCode", "2"),
    ];
    xml.element("ActiveParticipant", &attributes, |xml| xml.coded("RoleIDCode", client.dicom()));
    let attributes = [
        ("UserID", &*entry.observer),
        ("UserIsRequestor", "false"),
        ("NetworkAccessPointID", &entry.observer),
        ("NetworkAccessPointTypeCode", "5"),
    ];
    xml.element("ActiveParticipant", &attributes, |xml| xml.coded("RoleIDCode", server.dicom()));
    if agents::has_user(entry) {
        let subject = entry.subject.as_deref().unwrap_or("");
        let known = match &entry.issuer {
            Some(issuer) => format!("<{subject}@{issuer}>"),
            None => subject.to_owned(),
        };
        let user_id = entry.fhir_user.as_deref().unwrap_or(subject);
        let attributes = [("UserID", user_id), ("UserName", &known), ("UserIsRequestor", "true")];
        xml.element("ActiveParticipant", &attributes, |xml| xml.coded("RoleIDCode", user.dicom()));
    }
}

fn objects(xml: &mut Xml, entry: &Entry, id: &str) {
    let observer = &*entry.observer;
    object(xml, (&entry.request_id, "4", None), REQUEST, |xml| {
        xml.text("ParticipantObjectName", "X-Request-Id");
        xml.detail(codes::EVENT_TAG, id);
        xml.detail("method", &entry.method);
        xml.detail("status", &entry.status.to_string());
        if let Some(index) = entry.batch_entry {
            xml.detail("entry", &index.to_string());
        }
    });
    if let Some(reference) = entities::reference(entry) {
        object(xml, (&format!("{observer}/{reference}"), "2", Some("4")), URI, |xml| {
            xml.text("ParticipantObjectName", &reference);
        });
    }
    if entities::asks(entry) {
        let path = entry.target.split('?').next().unwrap_or("");
        object(xml, (&format!("{observer}/{path}"), "2", Some("24")), SEARCH_CRITERIA, |xml| {
            xml.text("ParticipantObjectQuery", &STANDARD.encode(entities::raw(entry)));
        });
    }
    if let Some(patient) = entry.subject_patient() {
        // HL7's CX, whose own delimiters are escaped.
        let authority = observer.replace('\\', "\\E\\").replace('&', "\\T\\").replace('^', "\\S\\");
        object(xml, (&format!("{patient}^^^&{authority}&URI"), "1", Some("1")), PATIENT_NUMBER, |xml| {
            xml.text("ParticipantObjectName", &format!("Patient/{patient}"));
        });
    }
}

fn object(
    xml: &mut Xml,
    (id, kind, role): (&str, &str, Option<&str>),
    id_type: Coded<'_>,
    content: impl FnOnce(&mut Xml),
) {
    let mut attributes = vec![("ParticipantObjectID", id), ("ParticipantObjectTypeCode", kind)];
    attributes.extend(role.map(|role| ("ParticipantObjectTypeCodeRole", role)));
    xml.element("ParticipantObjectIdentification", &attributes, |xml| {
        xml.coded("ParticipantObjectIDTypeCode", id_type);
        content(xml);
    });
}

/// XML as far as it is written.
struct Xml(String);

impl Xml {
    fn element(&mut self, name: &str, attributes: &[(&str, &str)], content: impl FnOnce(&mut Self)) {
        self.0.push('<');
        self.0.push_str(name);
        for (key, value) in attributes {
            self.0.push(' ');
            self.0.push_str(key);
            self.0.push_str("=\"");
            self.0.push_str(&written(value));
            self.0.push('"');
        }
        self.0.push('>');
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.element(name, &[], |xml| xml.0.push_str(&written(text)));
    }

    fn coded(&mut self, name: &str, (code, system, words): Coded<'_>) {
        let attributes = [("csd-code", code), ("codeSystemName", system), ("originalText", words)];
        self.element(name, &attributes, |_| {});
    }

    /// A detail, whose value the schema wants in base64.
    fn detail(&mut self, kind: &str, value: &str) {
        let attributes = [("type", kind), ("value", &*STANDARD.encode(value))];
        self.element("ParticipantObjectDetail", &attributes, |_| {});
    }
}

/// Text as XML 1.0 can hold it.
fn written(text: &str) -> String {
    let held = |letter: char| !matches!(letter, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}') || letter == '\t';
    let text: Cow<'_, str> = match text.chars().all(held) {
        true => Cow::Borrowed(text),
        false => text.chars().map(|letter| if held(letter) { letter } else { '\u{fffd}' }).collect(),
    };
    escape(text).into_owned()
}
