//! What each FHIR version defines: resource types, search parameters, compartments.
//!
//! HL7 publishes these as SearchParameter, CompartmentDefinition and StructureDefinition resources with R4 (4.0.1),
//! R4B (4.3.0) and R5 (5.0.0). `definitions/generate` turns them into the sorted static tables below this file;
//! nothing is typed by hand. Here are the questions that may be asked of them. Every look-up is one or two binary
//! searches in memory that is part of the program, so it may be done for each request.
//!
//! Left out: parameters defined by implementation guides or by a backend of its own, and what the tables do not say
//! about a parameter (HL7 publishes no modifiers, and lists the same comparators for every ordered kind).

use std::fmt;

use serde::Serialize;

#[rustfmt::skip]
mod r4;
#[rustfmt::skip]
mod r4b;
#[rustfmt::skip]
mod r5;
#[rustfmt::skip]
mod uri_elements;

/// The FHIR version that a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FhirVersion {
    /// FHIR R4, 4.0.1.
    R4,
    /// FHIR R4B, 4.3.0.
    R4B,
    /// FHIR R5, 5.0.0.
    R5,
}

impl FhirVersion {
    /// The version written `4.0`, `4.3` or `5.0`, as in the `fhirVersion` MIME parameter; nothing else is known.
    pub fn from_label(label: &str) -> Option<FhirVersion> {
        match label {
            "4.0" => Some(FhirVersion::R4),
            "4.3" => Some(FhirVersion::R4B),
            "5.0" => Some(FhirVersion::R5),
            _ => None,
        }
    }

    /// How the version is written: `4.0`, `4.3` or `5.0`.
    pub fn label(self) -> &'static str {
        match self {
            FhirVersion::R4 => "4.0",
            FhirVersion::R4B => "4.3",
            FhirVersion::R5 => "5.0",
        }
    }

    /// The concrete resource type of that name. Case counts; abstract types (`Resource`, `DomainResource`, …) and
    /// data types are none.
    pub fn resource_type(self, name: &str) -> Option<ResourceType> {
        self.row(name).map(|row| row.resource_type)
    }

    /// Every concrete resource type, in the order of their names.
    pub fn resource_types(self) -> impl Iterator<Item = ResourceType> {
        self.tables().rows.iter().map(|row| row.resource_type)
    }

    /// The parameter `code` of a type, those that all resources share (`_id`, `_tag`, …) included. `code` has
    /// neither modifier nor chain. None also when the type is not one of this version.
    pub fn search_parameter(self, ty: ResourceType, code: &str) -> Option<&'static SearchParameter> {
        let row = self.row(ty.as_str())?;
        self.tables().layers(row).into_iter().find_map(|layer| named(layer, code, |parameter| parameter.code))
    }

    /// Every parameter that [`search_parameter`](Self::search_parameter) finds for a type: its own first, then the
    /// shared ones, each part in the order of the codes.
    pub fn search_parameters(self, ty: ResourceType) -> impl Iterator<Item = &'static SearchParameter> {
        let layers = self.row(ty.as_str()).map(|row| self.tables().layers(row));
        let all = layers.into_iter().flatten().flatten();
        // A code defined in two layers (R5 has two `_text`) counts once, as the look-up has it.
        all.filter(move |parameter| {
            self.search_parameter(ty, parameter.code).is_some_and(|p| std::ptr::eq(p, *parameter))
        })
    }

    /// A compartment as this version defines it.
    pub fn compartment(self, kind: CompartmentKind) -> Compartment {
        let tables = self.tables();
        let members = match kind {
            CompartmentKind::Device => tables.device,
            CompartmentKind::Encounter => tables.encounter,
            CompartmentKind::Patient => tables.patient,
            CompartmentKind::Practitioner => tables.practitioner,
            CompartmentKind::RelatedPerson => tables.related_person,
        };
        Compartment { kind, members }
    }

    /// The parameters through which an instance of `ty` comes to be in a compartment; see [`Compartment::parameters`].
    pub fn compartment_parameters(
        self,
        kind: CompartmentKind,
        ty: ResourceType,
    ) -> Option<&'static [&'static str]> {
        self.compartment(kind).parameters(ty)
    }

    /// Whether elements of that name hold a URI: types uri, url and canonical, and `Reference.reference`. Choice
    /// elements have their type in the name (`valueUri`). One list serves all versions.
    ///
    /// The name alone cannot tell `Bundle.entry.response.location` from `OperationOutcome.issue.location`. Names used
    /// more often for text than for URIs (`name`, `type`, `message`, …) are not in the list; for the others the caller
    /// still has to look at the value: only one that as a whole is an absolute URL may be taken for one.
    pub fn is_uri_element(self, name: &str) -> bool {
        named(uri_elements::NAMES, name, |name| name).is_some()
    }

    fn tables(self) -> &'static Tables {
        match self {
            FhirVersion::R4 => &r4::TABLES,
            FhirVersion::R4B => &r4b::TABLES,
            FhirVersion::R5 => &r5::TABLES,
        }
    }

    fn row(self, name: &str) -> Option<&'static Row> {
        named(self.tables().rows, name, |row| row.resource_type.as_str())
    }
}

/// Finds a name among sorted ones. Asked for every key of every answer, most often in vain: so the first byte leads to
/// the few that share it, and of those only one that is as long is compared.
fn named<'a, T>(sorted: &'a [T], name: &str, key: impl Fn(&T) -> &str) -> Option<&'a T> {
    let first = name.as_bytes().first();
    let from = sorted.partition_point(|entry| key(entry).as_bytes().first() < first);
    let alike = sorted.get(from..)?.iter().take_while(|entry| key(entry).as_bytes().first() == first);
    alike.into_iter().find(|entry| key(entry) == name)
}

impl fmt::Display for FhirVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The name of a concrete resource type that some FHIR version defines.
///
/// Made by [`FhirVersion::resource_type`] only, so holding one means that the name was checked. The same name is the
/// same type in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ResourceType(&'static str);

impl ResourceType {
    /// `Binary`, whose content is not a resource on the wire.
    pub const BINARY: ResourceType = ResourceType("Binary");
    /// `Bundle`, the container of every search answer.
    pub const BUNDLE: ResourceType = ResourceType("Bundle");
    /// `Device`, the focus of a compartment.
    pub const DEVICE: ResourceType = ResourceType("Device");
    /// `Encounter`, the focus of a compartment.
    pub const ENCOUNTER: ResourceType = ResourceType("Encounter");
    /// `OperationOutcome`, the body of every refusal.
    pub const OPERATION_OUTCOME: ResourceType = ResourceType("OperationOutcome");
    /// `Parameters`, what operations take and give.
    pub const PARAMETERS: ResourceType = ResourceType("Parameters");
    /// `Patient`, the focus of a compartment.
    pub const PATIENT: ResourceType = ResourceType("Patient");
    /// `Practitioner`, the focus of a compartment.
    pub const PRACTITIONER: ResourceType = ResourceType("Practitioner");
    /// `RelatedPerson`, the focus of a compartment.
    pub const RELATED_PERSON: ResourceType = ResourceType("RelatedPerson");

    /// The name as it stands in URLs and in `resourceType`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A search parameter as one resource type has it.
#[derive(Debug, PartialEq, Eq)]
pub struct SearchParameter {
    /// The name used in URLs.
    pub code: &'static str,
    /// How values are written and compared.
    pub kind: SearchParameterKind,
    /// FHIRPath in HL7's words, with the alternatives of this type only, joined by ` | `. Nearly all alternatives begin
    /// with the type's name; the few that do not are relative to the resource, which FHIRPath allows as well. Those of
    /// shared parameters begin with `Resource`. Empty where HL7 gives none (`_content`, `_has`, …): such a parameter
    /// cannot be evaluated on a resource.
    pub expression: &'static str,
    /// The types a reference parameter may point at, sorted. Empty for other kinds, and for the rare reference
    /// parameter whose targets are not listed.
    pub targets: &'static [ResourceType],
    /// The parts of a composite parameter, in the order of the `$`-separated value. Empty for other kinds.
    pub components: &'static [Component],
}

/// One part of a composite search parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct Component {
    /// The code of the parameter that says how this part is compared. A few composites of R5 name a parameter that
    /// R5 does not define; then the look-up of this code finds nothing.
    pub code: &'static str,
    /// FHIRPath relative to what the composite's own expression selects.
    pub expression: &'static str,
}

/// The types of search parameter of FHIR R4 §3.1.1.4, "Search Parameter Types".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchParameterKind {
    /// Several parameters that must match on the same element.
    Composite,
    /// A date, time or period.
    Date,
    /// A number.
    Number,
    /// A number with a unit.
    Quantity,
    /// A reference to another resource.
    Reference,
    /// Compared in a way of its own.
    Special,
    /// Text, compared without regard to case and accents.
    String,
    /// A code or identifier.
    Token,
    /// A URI, compared exactly.
    Uri,
}

/// The five compartments that FHIR defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompartmentKind {
    /// What a device did or is about.
    Device,
    /// What belongs to one visit.
    Encounter,
    /// What belongs to one patient.
    Patient,
    /// What a practitioner had a part in.
    Practitioner,
    /// What a related person had a part in.
    RelatedPerson,
}

impl CompartmentKind {
    /// All five.
    pub const ALL: [CompartmentKind; 5] = [
        CompartmentKind::Device,
        CompartmentKind::Encounter,
        CompartmentKind::Patient,
        CompartmentKind::Practitioner,
        CompartmentKind::RelatedPerson,
    ];

    /// The compartment whose focus is of this type: the first segment of `Patient/123/Observation`.
    pub fn of(ty: ResourceType) -> Option<CompartmentKind> {
        CompartmentKind::ALL.into_iter().find(|kind| kind.resource_type() == ty)
    }

    /// The type of the resource that the compartment is named after.
    pub fn resource_type(self) -> ResourceType {
        match self {
            CompartmentKind::Device => ResourceType::DEVICE,
            CompartmentKind::Encounter => ResourceType::ENCOUNTER,
            CompartmentKind::Patient => ResourceType::PATIENT,
            CompartmentKind::Practitioner => ResourceType::PRACTITIONER,
            CompartmentKind::RelatedPerson => ResourceType::RELATED_PERSON,
        }
    }
}

/// One compartment of one FHIR version.
#[derive(Debug, Clone, Copy)]
pub struct Compartment {
    kind: CompartmentKind,
    members: &'static [Member],
}

impl Compartment {
    /// Which of the five it is.
    pub fn kind(self) -> CompartmentKind {
        self.kind
    }

    /// The types of which instances can be in the compartment, sorted, with what [`parameters`](Self::parameters)
    /// says of each.
    pub fn members(self) -> impl Iterator<Item = (ResourceType, &'static [&'static str])> {
        self.members.iter().copied()
    }

    /// The search parameters of `ty` of which one at least must point at the focus for an instance to be a member;
    /// none when no instance can be.
    ///
    /// The focus itself, a resource of the compartment's own type with the compartment's id, is always a member and
    /// needs no parameter (HL7 writes `{def}`). So the answer for that type may be an empty list: the focus and
    /// nothing else. A Patient is also in the compartment of another one that it links to.
    pub fn parameters(self, ty: ResourceType) -> Option<&'static [&'static str]> {
        let at = self.members.binary_search_by(|(member, _)| member.cmp(&ty)).ok()?;
        self.members.get(at).map(|(_, parameters)| *parameters)
    }
}

type Member = (ResourceType, &'static [&'static str]);

/// All that one version defines. INVARIANT: every slice is sorted by its key, which the tests check.
struct Tables {
    rows: &'static [Row],
    domain_resource: &'static [SearchParameter],
    resource: &'static [SearchParameter],
    device: &'static [Member],
    encounter: &'static [Member],
    patient: &'static [Member],
    practitioner: &'static [Member],
    related_person: &'static [Member],
}

impl Tables {
    /// A type's own parameters, then what it inherits.
    fn layers(&'static self, row: &'static Row) -> [&'static [SearchParameter]; 3] {
        let domain: &[SearchParameter] = match row.above {
            Above::Domain => self.domain_resource,
            Above::Resource => &[],
        };
        [row.parameters, domain, self.resource]
    }
}

struct Row {
    resource_type: ResourceType,
    above: Above,
    parameters: &'static [SearchParameter],
}

/// The abstract type that a resource type specialises, as far as search knows.
enum Above {
    Domain,
    Resource,
}

// The tables have thousands of rows: short names keep them readable.
const fn row(resource_type: ResourceType, above: Above, parameters: &'static [SearchParameter]) -> Row {
    Row { resource_type, above, parameters }
}

const fn p(
    code: &'static str,
    kind: SearchParameterKind,
    expression: &'static str,
    targets: &'static [ResourceType],
    components: &'static [Component],
) -> SearchParameter {
    SearchParameter { code, kind, expression, targets, components }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: [FhirVersion; 3] = [FhirVersion::R4, FhirVersion::R4B, FhirVersion::R5];

    fn ty(version: FhirVersion, name: &str) -> ResourceType {
        version.resource_type(name).unwrap_or_else(|| panic!("no type {name} in {version}"))
    }

    fn parameter(version: FhirVersion, name: &str, code: &str) -> &'static SearchParameter {
        version
            .search_parameter(ty(version, name), code)
            .unwrap_or_else(|| panic!("no parameter {name}.{code} in {version}"))
    }

    fn names(targets: &[ResourceType]) -> Vec<&'static str> {
        targets.iter().map(|t| t.as_str()).collect()
    }

    /// `Type(code, code); Type(code)` as the members of a compartment.
    fn written(compartment: Compartment) -> Vec<String> {
        compartment.members().map(|(ty, codes)| format!("{ty}({})", codes.join(", "))).collect()
    }

    #[test]
    fn versions_are_known_by_their_label() {
        for version in VERSIONS {
            assert_eq!(FhirVersion::from_label(&version.to_string()), Some(version));
        }
        for label in ["", "4", "4.0.1", "3.0", "4.1", "R4", " 4.0", "5.0 "] {
            assert_eq!(FhirVersion::from_label(label), None, "{label}");
        }
    }

    /// HL7's StructureDefinitions: every concrete resource type and nothing else.
    #[test]
    fn each_version_has_its_own_types() {
        let counts: Vec<_> = VERSIONS.map(|v| v.resource_types().count()).into();
        assert_eq!(counts, [146, 141, 158]);
        let table = [
            // name                      R4     R4B    R5
            ("Patient", [true, true, true]),
            ("Binary", [true, true, true]),
            ("Bundle", [true, true, true]),
            ("Parameters", [true, true, true]),
            ("OperationOutcome", [true, true, true]),
            ("Account", [true, true, true]),
            ("VisionPrescription", [true, true, true]),
            ("Media", [true, true, false]),
            ("EffectEvidenceSynthesis", [true, false, false]),
            ("MedicinalProduct", [true, false, false]),
            ("SubscriptionStatus", [false, true, true]),
            ("Citation", [false, true, true]),
            ("DeviceUsage", [false, false, true]),
            ("Resource", [false; 3]),
            ("DomainResource", [false; 3]),
            ("CanonicalResource", [false; 3]),
            ("MetadataResource", [false; 3]),
            ("HumanName", [false; 3]),
            ("vitalsigns", [false; 3]),
            ("patient", [false; 3]),
            ("PATIENT", [false; 3]),
            ("Patients", [false; 3]),
            ("Patien", [false; 3]),
            (" Patient", [false; 3]),
            ("", [false; 3]),
        ];
        for (name, expected) in table {
            let found = VERSIONS.map(|v| v.resource_type(name).is_some());
            assert_eq!(found, expected, "{name}");
        }
    }

    /// INVARIANT of the binary searches, and of the names that stand as constants.
    #[test]
    fn tables_are_sorted_and_closed() {
        fn sorted<T: Ord>(what: &str, keys: Vec<T>) {
            assert!(keys.is_sorted_by(|a, b| a < b), "{what} is not sorted");
        }
        sorted("uri elements", uri_elements::NAMES.to_vec());
        for version in VERSIONS {
            let tables = version.tables();
            sorted("types", version.resource_types().collect());
            sorted("Resource", tables.resource.iter().map(|p| p.code).collect());
            sorted("DomainResource", tables.domain_resource.iter().map(|p| p.code).collect());
            for row in tables.rows {
                sorted(row.resource_type.as_str(), row.parameters.iter().map(|p| p.code).collect());
                for p in version.search_parameters(row.resource_type) {
                    sorted(p.code, p.targets.to_vec());
                    let strange: Vec<_> =
                        p.targets.iter().filter(|t| version.resource_type(t.as_str()) != Some(**t)).collect();
                    assert!(strange.is_empty(), "{version} {}.{}: {strange:?}", row.resource_type, p.code);
                    let composite = p.kind == SearchParameterKind::Composite;
                    assert_eq!(composite, p.components.len() > 1, "{}.{}", row.resource_type, p.code);
                    let round_trip = version.search_parameter(row.resource_type, p.code);
                    assert_eq!(round_trip, Some(p));
                }
            }
            for kind in CompartmentKind::ALL {
                let compartment = version.compartment(kind);
                sorted("compartment", compartment.members().map(|(ty, _)| ty).collect());
                for (member, codes) in compartment.members() {
                    assert_eq!(version.resource_type(member.as_str()), Some(member));
                    assert!(
                        !codes.is_empty() || member == kind.resource_type(),
                        "{version} {kind:?} {member}"
                    );
                    for code in codes {
                        let found = version.search_parameter(member, code).map(|p| p.kind);
                        assert_eq!(found, Some(SearchParameterKind::Reference), "{version} {member}.{code}");
                    }
                }
                assert_eq!(CompartmentKind::of(kind.resource_type()), Some(kind));
            }
            for constant in [
                ResourceType::BINARY,
                ResourceType::BUNDLE,
                ResourceType::OPERATION_OUTCOME,
                ResourceType::PARAMETERS,
            ] {
                assert_eq!(version.resource_type(constant.as_str()), Some(constant));
                assert_eq!(CompartmentKind::of(constant), None);
            }
        }
    }

    #[test]
    fn counts_of_parameters_per_version() {
        let own = VERSIONS.map(|v| v.tables().rows.iter().map(|row| row.parameters.len()).sum::<usize>());
        let shared = VERSIONS.map(|v| v.tables().resource.len() + v.tables().domain_resource.len());
        assert_eq!(own, [1697, 1731, 1972]);
        assert_eq!(shared, [9, 14, 16]);
    }

    /// One expression for many types is cut so that each type keeps its own alternatives.
    #[test]
    fn expressions_are_those_of_the_type() {
        use FhirVersion::{R4, R4B, R5};
        let table = [
            (R4, "Condition", "code", "Condition.code"),
            (
                R4,
                "AllergyIntolerance",
                "code",
                "AllergyIntolerance.code | AllergyIntolerance.reaction.substance",
            ),
            (R4, "Observation", "patient", "Observation.subject.where(resolve() is Patient)"),
            (R4, "Immunization", "patient", "Immunization.patient"),
            (R4, "Condition", "category", "Condition.category"),
            (R4, "Patient", "phone", "Patient.telecom.where(system='phone')"),
            (R4, "Patient", "_id", "Resource.id"),
            (R4, "Bundle", "_tag", "Resource.meta.tag"),
            (R4, "Patient", "_text", ""),
            (R4, "InsurancePlan", "name", "name | alias"),
            (R4B, "Observation", "patient", "Observation.subject.where(resolve() is Patient)"),
            (R5, "Observation", "patient", "Observation.subject.where(resolve() is Patient)"),
            (R5, "Appointment", "date", "(start | requestedPeriod.start).first()"),
            (R5, "CareTeam", "date", ""),
            (R5, "Patient", "_lastUpdated", "Resource.meta.lastUpdated"),
        ];
        for (version, name, code, expression) in table {
            assert_eq!(parameter(version, name, code).expression, expression, "{version} {name}.{code}");
        }
        for version in VERSIONS {
            for ty in version.resource_types() {
                for p in version.search_parameters(ty) {
                    let alien = p.expression.split(" | ").find(|branch| {
                        let path = branch.trim_start_matches('(');
                        let head = path.split(['.', ' ', ')']).next().unwrap_or_default();
                        version.resource_type(head).is_some_and(|other| other != ty)
                    });
                    assert_eq!(alien, None, "{version} {ty}.{}", p.code);
                }
            }
        }
    }

    #[test]
    fn kinds_are_hl7s() {
        use SearchParameterKind as K;
        let table = [
            ("Condition", "category", K::Token),
            ("Observation", "date", K::Date),
            ("Observation", "subject", K::Reference),
            ("Observation", "value-quantity", K::Quantity),
            ("Observation", "code-value-quantity", K::Composite),
            ("Patient", "name", K::String),
            ("ValueSet", "url", K::Uri),
            ("RiskAssessment", "probability", K::Number),
            ("Location", "near", K::Special),
            ("Patient", "_id", K::Token),
            ("Patient", "_lastUpdated", K::Date),
            ("Patient", "_profile", K::Uri),
            ("Patient", "_security", K::Token),
            ("Patient", "_source", K::Uri),
            ("Patient", "_content", K::String),
        ];
        for (name, code, kind) in table {
            assert_eq!(parameter(FhirVersion::R4, name, code).kind, kind, "{name}.{code}");
        }
    }

    /// `where(resolve() is X)` says more than the published target list (`Patient`, `Group` for R4's `patient`).
    #[test]
    fn targets_follow_the_expression() {
        let table = [
            ("Observation", "patient", vec!["Patient"]),
            ("Observation", "subject", vec!["Device", "Group", "Location", "Patient"]),
            ("Encounter", "patient", vec!["Patient"]),
            ("Patient", "organization", vec!["Organization"]),
            ("Patient", "general-practitioner", vec!["Organization", "Practitioner", "PractitionerRole"]),
            ("Patient", "name", vec![]),
        ];
        for (name, code, targets) in table {
            assert_eq!(names(parameter(FhirVersion::R4, name, code).targets), targets, "{name}.{code}");
        }
        for version in VERSIONS {
            assert_eq!(names(parameter(version, "Observation", "patient").targets), ["Patient"], "{version}");
        }
    }

    #[test]
    fn composites_name_their_components() {
        for (version, value) in
            [(FhirVersion::R4, "value.as(Quantity)"), (FhirVersion::R5, "value.ofType(Quantity)")]
        {
            let composite = parameter(version, "Observation", "code-value-quantity");
            let parts: Vec<_> = composite.components.iter().map(|c| (c.code, c.expression)).collect();
            assert_eq!(composite.expression, "Observation");
            assert_eq!(parts, [("code", "code"), ("value-quantity", value)], "{version}");
            for part in composite.components {
                parameter(version, "Observation", part.code);
            }
        }
    }

    #[test]
    fn unknown_parameters_are_none() {
        let table = [
            ("Observation", "nonsense"),
            ("Observation", "Code"),
            ("Observation", "CODE"),
            ("Observation", "code:in"),
            ("Observation", "subject.name"),
            ("Observation", "_ID"),
            ("Observation", "_lastupdated"),
            ("Observation", ""),
            ("Observation", "clinical-code"),
            ("Observation", "general-practitioner"),
            ("Binary", "_text"),
            ("Parameters", "url"),
        ];
        for (name, code) in table {
            let found = FhirVersion::R4.search_parameter(ty(FhirVersion::R4, name), code);
            assert_eq!(found, None, "{name}.{code}");
        }
        // A type of another version has no parameters here.
        let usage = ty(FhirVersion::R5, "DeviceUsage");
        assert!(FhirVersion::R5.search_parameter(usage, "_id").is_some());
        assert_eq!(FhirVersion::R4.search_parameter(usage, "_id"), None);
        assert_eq!(FhirVersion::R4.search_parameters(usage).count(), 0);
    }

    #[test]
    fn every_type_lists_own_and_shared_parameters() {
        for version in VERSIONS {
            for ty in version.resource_types() {
                let mut codes: Vec<_> = version.search_parameters(ty).map(|p| p.code).collect();
                for shared in ["_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"] {
                    assert!(codes.contains(&shared), "{version} {ty} {shared}");
                }
                let all = codes.len();
                codes.sort_unstable();
                codes.dedup();
                assert_eq!(codes.len(), all, "{version} {ty} lists a code twice");
            }
        }
    }

    const R4_PATIENT: &str = "\
Account(subject); AdverseEvent(subject); AllergyIntolerance(patient, recorder, asserter); Appointment(actor); \
AppointmentResponse(actor); AuditEvent(patient); Basic(patient, author); BodyStructure(patient); \
CarePlan(patient, performer); CareTeam(patient, participant); ChargeItem(subject); Claim(patient, payee); \
ClaimResponse(patient); ClinicalImpression(subject); Communication(subject, sender, recipient); \
CommunicationRequest(subject, sender, recipient, requester); Composition(subject, author, attester); \
Condition(patient, asserter); Consent(patient); Coverage(policy-holder, subscriber, beneficiary, payor); \
CoverageEligibilityRequest(patient); CoverageEligibilityResponse(patient); DetectedIssue(patient); \
DeviceRequest(subject, performer); DeviceUseStatement(subject); DiagnosticReport(subject); \
DocumentManifest(subject, author, recipient); DocumentReference(subject, author); Encounter(patient); \
EnrollmentRequest(subject); EpisodeOfCare(patient); ExplanationOfBenefit(patient, payee); \
FamilyMemberHistory(patient); Flag(patient); Goal(patient); Group(member); ImagingStudy(patient); \
Immunization(patient); ImmunizationEvaluation(patient); ImmunizationRecommendation(patient); \
Invoice(subject, patient, recipient); List(subject, source); MeasureReport(patient); Media(subject); \
MedicationAdministration(patient, performer, subject); MedicationDispense(subject, patient, receiver); \
MedicationRequest(subject); MedicationStatement(subject); MolecularSequence(patient); NutritionOrder(patient); \
Observation(subject, performer); Patient(link); Person(patient); Procedure(patient, performer); \
Provenance(patient); QuestionnaireResponse(subject, author); RelatedPerson(patient); \
RequestGroup(subject, participant); ResearchSubject(individual); RiskAssessment(subject); Schedule(actor); \
ServiceRequest(subject, performer); Specimen(subject); SupplyDelivery(patient); SupplyRequest(subject); \
VisionPrescription(patient)";

    /// requirements, appendix A: 66 types, the same in R4 and R4B.
    #[test]
    fn patient_compartment_of_r4() {
        for version in [FhirVersion::R4, FhirVersion::R4B] {
            let compartment = version.compartment(CompartmentKind::Patient);
            assert_eq!(compartment.kind(), CompartmentKind::Patient);
            assert_eq!(compartment.members().count(), 66);
            assert_eq!(written(compartment), R4_PATIENT.split("; ").collect::<Vec<_>>(), "{version}");
        }
        let outside = [
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "Location",
            "Medication",
            "Device",
            "Task",
            "Binary",
            "Bundle",
            "Questionnaire",
            "ValueSet",
            "Contract",
            "GuidanceResponse",
            "Linkage",
            "Slot",
            "Parameters",
        ];
        for name in outside {
            let ty = ty(FhirVersion::R4, name);
            assert_eq!(FhirVersion::R4.compartment_parameters(CompartmentKind::Patient, ty), None, "{name}");
        }
    }

    /// requirements, appendix A: the elements behind the membership parameters.
    #[test]
    fn patient_compartment_elements_of_r4() {
        let table = [
            (
                "AuditEvent",
                "patient",
                "AuditEvent.agent.who.where(resolve() is Patient) | AuditEvent.entity.what.where(resolve() is Patient)",
            ),
            ("Coverage", "payor", "Coverage.payor"),
            ("Claim", "payee", "Claim.payee.party"),
            ("EnrollmentRequest", "subject", "EnrollmentRequest.candidate"),
            ("Group", "member", "Group.member.entity"),
            ("Patient", "link", "Patient.link.other"),
            ("Person", "patient", "Person.link.target.where(resolve() is Patient)"),
            ("Procedure", "performer", "Procedure.performer.actor"),
            ("SupplyRequest", "subject", "SupplyRequest.deliverTo"),
        ];
        for (name, code, expression) in table {
            assert_eq!(parameter(FhirVersion::R4, name, code).expression, expression, "{name}.{code}");
        }
    }

    const R5_CHANGED: &str = "\
BiologicallyDerivedProductDispense(patient); Contract(patient); DeviceAssociation(subject, operator); \
DeviceUsage(patient); EncounterHistory(patient); GenomicStudy(patient); GuidanceResponse(patient); \
ImagingSelection(patient); NutritionIntake(subject, source); RequestOrchestration(subject, participant); \
Task(patient, focus); AllergyIntolerance(patient, participant); CarePlan(patient); \
CommunicationRequest(subject, information-provider, recipient, requester); Condition(patient, participant-actor); \
Consent(subject); Coverage(policy-holder, subscriber, beneficiary, paymentby-party); \
MedicationAdministration(patient, subject); MolecularSequence(subject); Patient(link); ResearchSubject(subject)";

    /// requirements, appendix A, "R5 differences": added, changed, removed, and nothing else.
    #[test]
    fn patient_compartment_of_r5() {
        let found = written(FhirVersion::R5.compartment(CompartmentKind::Patient));
        let old: Vec<_> = R4_PATIENT.split("; ").map(str::to_owned).collect();
        let changed: Vec<_> = R5_CHANGED.split("; ").map(str::to_owned).collect();
        assert_eq!(found.len(), 73);
        for row in &changed {
            assert!(found.contains(row), "missing {row}");
        }
        let neither: Vec<_> =
            found.iter().filter(|row| !old.contains(row) && !changed.contains(row)).collect();
        assert!(neither.is_empty(), "unexpected: {neither:?}");
        for name in ["DeviceUseStatement", "DocumentManifest", "Media", "RequestGroup"] {
            assert!(!found.iter().any(|row| row.starts_with(&format!("{name}("))), "{name}");
        }
    }

    const R4_ENCOUNTER: &str = "\
CarePlan(encounter); CareTeam(encounter); ChargeItem(context); Claim(encounter); ClinicalImpression(encounter); \
Communication(encounter); CommunicationRequest(encounter); Composition(encounter); Condition(encounter); \
DeviceRequest(encounter); DiagnosticReport(encounter); DocumentManifest(related-ref); \
DocumentReference(encounter); Encounter(); ExplanationOfBenefit(encounter); Media(encounter); \
MedicationAdministration(context); MedicationRequest(encounter); NutritionOrder(encounter); \
Observation(encounter); Procedure(encounter); QuestionnaireResponse(encounter); RequestGroup(encounter); \
ServiceRequest(encounter); VisionPrescription(encounter)";

    /// requirements, appendix B. `{def}` is the encounter itself: a member without a parameter.
    #[test]
    fn encounter_compartment_of_r4() {
        for version in [FhirVersion::R4, FhirVersion::R4B] {
            let found = written(version.compartment(CompartmentKind::Encounter));
            assert_eq!(found, R4_ENCOUNTER.split("; ").collect::<Vec<_>>(), "{version}");
        }
        let of = |name| {
            let ty = ty(FhirVersion::R4, name);
            FhirVersion::R4.compartment_parameters(CompartmentKind::Encounter, ty)
        };
        assert_eq!(of("Encounter"), Some(&[][..]));
        assert_eq!(of("Observation"), Some(&["encounter"][..]));
        assert_eq!(of("AllergyIntolerance"), None);
        assert_eq!(of("Patient"), None);
    }

    #[test]
    fn compartment_sizes_per_version() {
        let sizes = VERSIONS.map(|v| CompartmentKind::ALL.map(|kind| v.compartment(kind).members().count()));
        assert_eq!(sizes, [[32, 25, 66, 59, 32], [32, 25, 66, 59, 32], [30, 26, 73, 57, 30]]);
        let practitioner = FhirVersion::R4.compartment(CompartmentKind::Practitioner);
        let appointment = practitioner.parameters(ty(FhirVersion::R4, "Appointment"));
        assert_eq!(appointment, Some(&["actor"][..]));
        assert_eq!(practitioner.parameters(ty(FhirVersion::R4, "Organization")), None);
    }

    /// RESP-6: the elements whose URLs are rewritten.
    #[test]
    fn uri_elements_are_known_by_name() {
        let uris = [
            "reference",
            "url",
            "fullUrl",
            "uri",
            "location",
            "address",
            "implicitRules",
            "instantiatesCanonical",
            "instantiatesUri",
            "valueUri",
            "valueUrl",
            "valueCanonical",
            "profile",
            "supportedProfile",
            "definition",
            "system",
            "source",
            "questionnaire",
        ];
        let others = [
            "div",
            "text",
            "display",
            "description",
            "comment",
            "data",
            "valueString",
            "valueMarkdown",
            "valueBase64Binary",
            "valueReference",
            "diagnostics",
            "name",
            "title",
            "id",
            "code",
            "message",
            "type",
            "Reference",
            "URL",
            "fullurl",
            "",
        ];
        for version in VERSIONS {
            for name in uris {
                assert!(version.is_uri_element(name), "{name}");
            }
            for name in others {
                assert!(!version.is_uri_element(name), "{name}");
            }
        }
    }

    #[test]
    fn types_serialise_as_their_name() {
        assert_eq!(serde_json::to_string(&ResourceType::PATIENT).unwrap(), "\"Patient\"");
        assert_eq!(ResourceType::PATIENT, ty(FhirVersion::R5, "Patient"));
    }
}
