//! An event as a DICOM audit message: the XML that ATNA sends by syslog (ITI-20, AUD-11).
//!
//! Follows the schema of DICOM PS3.15 A.5.1: attributes in any order, elements in its order only. Whatever a client
//! could have put in is escaped, and characters that XML cannot hold are replaced by U+FFFD. IHE adds a purpose of use to
//! that schema; here it is a detail of the request, so that the message stays valid without IHE's addition.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::escape;

use crate::audit::Entry;
use crate::audit::agents::{self, Agent, Network};
use crate::audit::attributes::Coding;
use crate::audit::codes::{self, Code};
use crate::audit::entities::{self, Entity, What};
use crate::audit::interaction::Pattern;
use crate::audit::stored;

/// The code systems' short names, as DICOM and IHE write them.
const DCM: &str = "DCM";
const RFC_3881: &str = "RFC-3881";

/// A code, its system and its words.
type Coded<'t> = (&'t str, &'t str, &'t str);

const QUERY: Coded<'static> = ("110112", DCM, "Query");
const PATIENT_RECORD: Coded<'static> = ("110110", DCM, "Patient Record");
const PATIENT_NUMBER: Coded<'static> = ("2", RFC_3881, "Patient Number");
const SEARCH_CRITERIA: Coded<'static> = ("10", RFC_3881, "Search Criteria");
const URI: Coded<'static> = ("12", RFC_3881, "URI");

/// The message of an event; `id` is the event's own.
pub(super) fn message(entry: &Entry, id: &str) -> String {
    let mut xml = Xml(String::with_capacity(4096));
    xml.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    xml.element("AuditMessage", &[], |xml| {
        event(xml, entry);
        for agent in agents::of(entry) {
            participant(xml, &agent);
        }
        let source = [("AuditSourceID", &*entry.observer)];
        xml.element("AuditSourceIdentification", &source, |xml| {
            xml.element("AuditSourceTypeCode", &[("csd-code", codes::APPLICATION_SERVER.code)], |_| {});
        });
        for entity in entities::of(entry) {
            object(xml, entry, &entity, id);
        }
    });
    xml.0
}

/// DICOM knows queries and what is done to the record of a patient; for the rest it has FHIR's own word.
fn event(xml: &mut Xml, entry: &Entry) {
    let pattern = entry.interaction.pattern();
    let kind = match pattern {
        Pattern::Query => QUERY,
        Pattern::Create | Pattern::Delete | Pattern::Read | Pattern::Update
            if entry.subject_patient().is_some() =>
        {
            PATIENT_RECORD
        }
        Pattern::Create | Pattern::Delete | Pattern::Other | Pattern::Read | Pattern::Update => {
            coded(codes::REST)
        }
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

fn participant(xml: &mut Xml, of: &Agent<'_>) {
    let who = of.who;
    let names = [who.identifier.map(|(_, value)| value), who.reference, who.display, who.alternative];
    let mut attributes = vec![("UserID", names.into_iter().flatten().next().unwrap_or("unknown"))];
    let alternative = who.reference.or(who.alternative);
    attributes.extend(alternative.map(|alternative| ("AlternativeUserID", alternative)));
    // A user known by a token: `alias<user@issuer>` (IUA, ITI TF-2 3.72.5.1).
    let name = match who.identifier {
        Some((Some(issuer), user)) if of.requestor => {
            Some(format!("{}<{user}@{issuer}>", who.display.unwrap_or("")))
        }
        Some(_) | None => who.display.map(str::to_owned),
    };
    attributes.extend(name.as_deref().map(|name| ("UserName", name)));
    attributes.push(("UserIsRequestor", if of.requestor { "true" } else { "false" }));
    match of.network {
        Some(Network::Address(address)) => {
            attributes.extend([("NetworkAccessPointID", address), ("NetworkAccessPointTypeCode", "2")]);
        }
        Some(Network::Uri(uri)) => {
            attributes.extend([("NetworkAccessPointID", uri), ("NetworkAccessPointTypeCode", "5")]);
        }
        None => {}
    }
    xml.element("ActiveParticipant", &attributes, |xml| {
        for kind in &of.types {
            xml.coded("RoleIDCode", coded(*kind));
        }
        for role in of.roles {
            xml.coded("RoleIDCode", claimed(role));
        }
    });
}

fn object(xml: &mut Xml, entry: &Entry, of: &Entity<'_>, id: &str) {
    let observer = &*entry.observer;
    let of_patient = entry.subject_patient().filter(|_| of.kind.code == "1");
    let (identity, kind) = match (&of.what, of_patient) {
        // HL7's CX, whose own delimiters are escaped.
        (_, Some(patient)) => {
            let authority = observer.replace('\\', "\\E\\").replace('&', "\\T\\").replace('^', "\\S\\");
            (format!("{patient}^^^&{authority}&URI"), PATIENT_NUMBER)
        }
        (What::Instance(reference), None) => (format!("{observer}/{reference}"), URI),
        (What::Type(name), None) => (format!("{observer}/{name}"), URI),
        (What::Request(request), None) => ((*request).to_owned(), coded(of.kind)),
        (What::Query(_), None) => {
            let target = stored::target(&entry.target);
            let path = target.split('?').next().unwrap_or("");
            (format!("{observer}/{path}"), SEARCH_CRITERIA)
        }
    };
    let mut attributes = vec![("ParticipantObjectID", &*identity)];
    // 4: other, where the kind is no code of DICOM's.
    let dicom = of.kind.system == codes::ENTITY_TYPE;
    attributes.push(("ParticipantObjectTypeCode", if dicom { of.kind.code } else { "4" }));
    attributes.extend(of.role.map(|role| ("ParticipantObjectTypeCodeRole", role.code)));
    xml.element("ParticipantObjectIdentification", &attributes, |xml| {
        xml.coded("ParticipantObjectIDTypeCode", kind);
        match &of.what {
            What::Instance(name) => xml.text("ParticipantObjectName", name),
            What::Type(name) => xml.text("ParticipantObjectName", name),
            What::Request(_) => xml.text("ParticipantObjectName", "X-Request-Id"),
            What::Query(raw) => xml.text("ParticipantObjectQuery", &STANDARD.encode(raw)),
        }
        for (kind, value) in &of.details {
            xml.detail(kind, value);
        }
        if matches!(of.what, What::Request(_)) {
            evidence(xml, entry, id);
        }
    });
}

/// What the schema has no place for: the event's own id, the token's name and the purposes.
fn evidence(xml: &mut Xml, entry: &Entry, id: &str) {
    xml.detail(codes::EVENT_TAG, id);
    if let Some(policy) = agents::of(entry).into_iter().find_map(|agent| agent.policy) {
        xml.detail("policy", &policy);
    }
    for purpose in &entry.purpose {
        let system = purpose.system.as_deref().unwrap_or("");
        xml.detail("purposeOfUse", &format!("{system}|{}", purpose.code));
    }
}

fn coded(of: Code) -> Coded<'static> {
    (of.code, if of.system == codes::DICOM { DCM } else { of.system }, of.display)
}

fn claimed(of: &Coding) -> Coded<'_> {
    let words = of.display.as_deref().unwrap_or(&of.code);
    (&of.code, of.system.as_deref().unwrap_or("unknown"), words)
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
    let held = |letter: char| !matches!(letter, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let text: Cow<'_, str> = if text.chars().all(held) {
        Cow::Borrowed(text)
    } else {
        text.chars().map(|letter| if held(letter) { letter } else { '\u{fffd}' }).collect()
    };
    escape(text).into_owned()
}
