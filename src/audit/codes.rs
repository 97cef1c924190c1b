//! The code systems that an AuditEvent draws on.

use serde_json::{Value, json};

/// DICOM's controlled terminology, where BALP takes agent roles from.
pub(super) const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// BALP's own codes for what is no resource.
pub(super) const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// BALP's codes for users known by a token.
pub(super) const BALP_AGENT: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes";
/// Where BALP's profiles live.
pub(super) const BALP_PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
/// FHIR's names of interactions.
pub(super) const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
/// HL7 V3 roles of participants.
pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
/// Roles of those who keep data.
pub(super) const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
/// Kinds of audit events.
pub(super) const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
/// Kinds of things acted on.
pub(super) const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
/// Roles of things acted on.
pub(super) const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
/// Kinds of systems that record.
pub(super) const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
/// URIs as identifiers.
pub(super) const URI: &str = "urn:ietf:rfc:3986";

/// The tag that carries an event's own id, for archives that give resources ids of their choosing.
pub(super) const EVENT_TAG: &str = "urn:pforte:audit-event";

/// One code of one system, with the words people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    system: &'static str,
    code: &'static str,
    display: &'static str,
}

impl Code {
    /// A code.
    pub(super) const fn new(system: &'static str, code: &'static str, display: &'static str) -> Self {
        Self { system, code, display }
    }

    /// Code, system and words as DICOM writes them.
    pub(super) fn dicom(self) -> (&'static str, &'static str, &'static str) {
        (self.code, if self.system == DICOM { "DCM" } else { self.system }, self.display)
    }

    /// As a FHIR `Coding`.
    pub(super) fn coding(self) -> Value {
        json!({ "system": self.system, "code": self.code, "display": self.display })
    }
}
