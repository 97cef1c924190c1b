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
        self.tables().layers(row).into_iter().find_map(|layer| {
            let at = layer.binary_search_by(|parameter| parameter.code.cmp(code)).ok()?;
            layer.get(at)
        })
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
        uri_elements::NAMES.binary_search(&name).is_ok()
    }

    fn tables(self) -> &'static Tables {
        match self {
            FhirVersion::R4 => &r4::TABLES,
            FhirVersion::R4B => &r4b::TABLES,
            FhirVersion::R5 => &r5::TABLES,
        }
    }

    fn row(self, name: &str) -> Option<&'static Row> {
        let rows = self.tables().rows;
        let at = rows.binary_search_by(|row| row.resource_type.as_str().cmp(name)).ok()?;
        rows.get(at)
    }
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
