//! The code systems that an AuditEvent draws on.

use serde_json::{Value, json};

/// DICOM's controlled terminology, where BALP takes agent roles from.
pub(super) const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// BALP's own codes for what is no resource.
pub(super) const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// BALP's codes for users known by a token.
pub(super) const BALP_AGENT: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes";
/// BALP's extension for identifiers of a user beside the token's subject.
pub(super) const BALP_OTHER_ID: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/ihe-otherId";
/// Where BALP's profiles live.
pub(super) const BALP_PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
/// XCA's code for the community a request comes from, as BALP's value set has it.
pub(super) const COMMUNITY: &str = "urn:ihe:iti:xca:2010";
/// FHIR's names of interactions.
pub(super) const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
/// HL7 V3 roles of participants.
pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
/// HL7 V3 classes of roles.
pub(super) const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
/// Roles of those who keep data.
pub(super) const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
/// HL7 V2 kinds of identifiers.
pub(super) const IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
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
/// How an R5 event ended.
pub(super) const ISSUE_SEVERITY: &str = "http://hl7.org/fhir/issue-severity";
/// The tag that carries an event's own id, for archives that give resources ids of their choosing.
pub(super) const EVENT_TAG: &str = "urn:pforte:audit-event";

/// What every event is: a RESTful operation (AUD-2).
pub(super) const REST: Code = Code::new(EVENT_TYPE, "rest", "RESTful Operation");
/// What the gateway is among those who record (AUD-10).
pub(super) const APPLICATION_SERVER: Code = Code::new(SOURCE_TYPE, "4", "Application Server");

/// One code of one system, with the words people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) system: &'static str,
    pub(super) code: &'static str,
    pub(super) display: &'static str,
}

impl Code {
    /// A code.
    pub(super) const fn new(system: &'static str, code: &'static str, display: &'static str) -> Self {
        Self { system, code, display }
    }

    /// As a FHIR `Coding`.
    pub(super) fn coding(self) -> Value {
        json!({ "system": self.system, "code": self.code, "display": self.display })
    }

    /// As a FHIR `CodeableConcept`.
    pub(super) fn concept(self) -> Value {
        json!({ "coding": [self.coding()] })
    }
}
