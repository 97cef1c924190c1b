//! The search parameters this server knows, the types of R4, and who is in which compartment.
//!
//! A part of HL7's definitions, enough for a demo: a hand-picked set of parameters, and all by which a type belongs to a
//! patient or an encounter. The gateway itself uses the published definitions.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The type of a search parameter (FHIR R4 §3.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Number,
    Quantity,
    Reference,
    String,
    Token,
    Uri,
}

impl Kind {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Number => "number",
            Self::Quantity => "quantity",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Token => "token",
            Self::Uri => "uri",
        }
    }

    fn of(code: &str) -> Self {
        match code {
            "date" => Self::Date,
            "number" => Self::Number,
            "quantity" => Self::Quantity,
            "string" => Self::String,
            "token" => Self::Token,
            "uri" => Self::Uri,
            _ => Self::Reference,
        }
    }
}

/// One search parameter of one type.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The only type a reference may point to, for parameters like `patient`.
    pub(super) target: Option<&'static str>,
    /// Where the values stand.
    pub(super) paths: Vec<&'static str>,
}

/// Every resource type of FHIR R4.
pub(super) static TYPES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| R4_TYPES.split_whitespace().collect());

static TABLE: LazyLock<HashMap<&'static str, Vec<Parameter>>> = LazyLock::new(|| {
    PARAMETERS
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(kind, rest)| (kind.trim(), rest.split_whitespace().filter_map(parameter_of).collect()))
        .collect()
});

fn parameter_of(text: &'static str) -> Option<Parameter> {
    let (name, rest) = text.split_once('=')?;
    let (kind, paths) = rest.split_once('@')?;
    let target = (kind == "patient").then_some("Patient").or((kind == "encounter").then_some("Encounter"));
    Some(Parameter { name, kind: Kind::of(kind), target, paths: paths.split('|').collect() })
}

/// Whether R4 has this type.
pub(super) fn known_type(name: &str) -> bool {
    TYPES.contains(&name)
}

/// The definition of a parameter for a type.
pub(super) fn parameter(kind: &str, name: &str) -> Option<&'static Parameter> {
    parameters(kind).find(|parameter| parameter.name == name)
}

/// All parameters of a type, the common ones last.
pub(super) fn parameters(kind: &str) -> impl Iterator<Item = &'static Parameter> {
    let of = |key: &str| TABLE.get(key).map(Vec::as_slice).unwrap_or_default();
    let beside = of(&format!("+{kind}"));
    let own = if TABLE.contains_key(kind) { of(kind) } else { of("?") };
    let own = own.iter().filter(|one| beside.iter().all(|other| other.name != one.name));
    beside.iter().chain(own).chain(of("*"))
}

/// The parameters by which a type belongs to a compartment; empty when it does not.
pub(super) fn compartment(compartment: &str, kind: &str) -> Vec<&'static str> {
    let lines = match compartment {
        "Patient" => PATIENT_COMPARTMENT,
        "Encounter" => ENCOUNTER_COMPARTMENT,
        "Practitioner" => PRACTITIONER_COMPARTMENT,
        _ => return Vec::new(),
    };
    let entry = lines.split(';').find_map(|entry| entry.trim().strip_prefix(kind)?.strip_prefix(' '));
    entry.into_iter().flat_map(str::split_whitespace).collect()
}

/// The types in a compartment.
pub(super) fn members(name: &str) -> impl Iterator<Item = &'static str> {
    TYPES.iter().copied().filter(move |kind| !compartment(name, kind).is_empty())
}

// type: name=kind@path|path …   `patient` and `encounter` are references to that type only. `*` is every type, `?` those
// without a line of their own, `+type` goes beside `?`.
const PARAMETERS: &str = "
*: _id=token@id _lastUpdated=date@meta.lastUpdated _tag=token@meta.tag _security=token@meta.security _profile=uri@meta.profile _source=uri@meta.source
?: identifier=token@identifier status=token@status code=token@code category=token@category date=date@date|created|issued|occurrenceDateTime|performedDateTime|recorded patient=patient@patient|subject|for|beneficiary subject=reference@subject encounter=encounter@encounter|context name=string@name url=uri@url title=string@title type=token@type version=token@version author=reference@author performer=reference@performer.actor|performer
Patient: active=token@active address=string@address address-city=string@address.city address-country=string@address.country address-postalcode=string@address.postalCode birthdate=date@birthDate death-date=date@deceasedDateTime deceased=token@deceasedBoolean email=token@telecom family=string@name.family gender=token@gender general-practitioner=reference@generalPractitioner given=string@name.given identifier=token@identifier language=token@communication.language link=reference@link.other name=string@name organization=reference@managingOrganization phone=token@telecom telecom=token@telecom
Practitioner: active=token@active address=string@address family=string@name.family gender=token@gender given=string@name.given identifier=token@identifier name=string@name telecom=token@telecom
PractitionerRole: active=token@active date=date@period identifier=token@identifier location=reference@location organization=reference@organization practitioner=reference@practitioner role=token@code specialty=token@specialty
Organization: active=token@active address=string@address address-city=string@address.city identifier=token@identifier name=string@name partof=reference@partOf type=token@type
Location: address=string@address address-city=string@address.city identifier=token@identifier name=string@name organization=reference@managingOrganization partof=reference@partOf status=token@status type=token@type
RelatedPerson: active=token@active identifier=token@identifier name=string@name patient=patient@patient relationship=token@relationship
Encounter: class=token@class date=date@period diagnosis=reference@diagnosis.condition identifier=token@identifier location=reference@location.location part-of=encounter@partOf participant=reference@participant.individual patient=patient@subject practitioner=reference@participant.individual reason-code=token@reasonCode service-provider=reference@serviceProvider status=token@status subject=reference@subject type=token@type
Condition: asserter=reference@asserter category=token@category clinical-status=token@clinicalStatus code=token@code encounter=encounter@encounter identifier=token@identifier onset-date=date@onsetDateTime|onsetPeriod patient=patient@subject recorded-date=date@recordedDate severity=token@severity subject=reference@subject verification-status=token@verificationStatus
Observation: based-on=reference@basedOn category=token@category code=token@code combo-code=token@code|component.code component-code=token@component.code component-value-quantity=quantity@component.valueQuantity date=date@effectiveDateTime|effectivePeriod|effectiveInstant derived-from=reference@derivedFrom encounter=encounter@encounter focus=reference@focus has-member=reference@hasMember identifier=token@identifier patient=patient@subject performer=reference@performer status=token@status subject=reference@subject value-concept=token@valueCodeableConcept value-date=date@valueDateTime|valuePeriod value-quantity=quantity@valueQuantity value-string=string@valueString
MedicationRequest: authoredon=date@authoredOn category=token@category code=token@medicationCodeableConcept encounter=encounter@encounter identifier=token@identifier intent=token@intent medication=reference@medicationReference patient=patient@subject requester=reference@requester status=token@status subject=reference@subject
MedicationStatement: category=token@category code=token@medicationCodeableConcept context=reference@context effective=date@effectiveDateTime|effectivePeriod identifier=token@identifier medication=reference@medicationReference patient=patient@subject status=token@status subject=reference@subject
MedicationAdministration: code=token@medicationCodeableConcept context=reference@context effective-time=date@effectiveDateTime|effectivePeriod identifier=token@identifier medication=reference@medicationReference patient=patient@subject performer=reference@performer.actor status=token@status subject=reference@subject
Medication: code=token@code form=token@form identifier=token@identifier ingredient-code=token@ingredient.itemCodeableConcept manufacturer=reference@manufacturer status=token@status
AllergyIntolerance: asserter=reference@asserter category=token@category clinical-status=token@clinicalStatus code=token@code criticality=token@criticality date=date@recordedDate identifier=token@identifier patient=patient@patient recorder=reference@recorder type=token@type verification-status=token@verificationStatus
Immunization: date=date@occurrenceDateTime identifier=token@identifier patient=patient@patient performer=reference@performer.actor status=token@status vaccine-code=token@vaccineCode
Procedure: category=token@category code=token@code date=date@performedDateTime|performedPeriod encounter=encounter@encounter identifier=token@identifier patient=patient@subject performer=reference@performer.actor status=token@status subject=reference@subject
DiagnosticReport: category=token@category code=token@code date=date@effectiveDateTime|effectivePeriod encounter=encounter@encounter identifier=token@identifier issued=date@issued patient=patient@subject performer=reference@performer result=reference@result status=token@status subject=reference@subject
DocumentReference: author=reference@author category=token@category custodian=reference@custodian date=date@date encounter=encounter@context.encounter facility=token@context.facilityType identifier=token@masterIdentifier|identifier location=uri@content.attachment.url patient=patient@subject period=date@context.period related=reference@context.related security-label=token@securityLabel status=token@status subject=reference@subject type=token@type
Composition: attester=reference@attester.party author=reference@author category=token@category date=date@date encounter=encounter@encounter entry=reference@section.entry identifier=token@identifier patient=patient@subject section=token@section.code status=token@status subject=reference@subject title=string@title type=token@type
Group: actual=token@actual code=token@code identifier=token@identifier managing-entity=reference@managingEntity member=reference@member.entity type=token@type
List: code=token@code date=date@date encounter=encounter@encounter identifier=token@identifier item=reference@entry.item patient=patient@subject source=reference@source status=token@status subject=reference@subject title=string@title
CarePlan: category=token@category date=date@period encounter=encounter@encounter identifier=token@identifier patient=patient@subject performer=reference@activity.detail.performer status=token@status subject=reference@subject
CareTeam: category=token@category date=date@period encounter=encounter@encounter identifier=token@identifier participant=reference@participant.member patient=patient@subject status=token@status subject=reference@subject
Goal: identifier=token@identifier lifecycle-status=token@lifecycleStatus patient=patient@subject start-date=date@startDate subject=reference@subject
ServiceRequest: authored=date@authoredOn category=token@category code=token@code encounter=encounter@encounter identifier=token@identifier intent=token@intent patient=patient@subject performer=reference@performer requester=reference@requester status=token@status subject=reference@subject
Appointment: actor=reference@participant.actor date=date@start identifier=token@identifier patient=patient@participant.actor practitioner=reference@participant.actor status=token@status
Coverage: beneficiary=reference@beneficiary identifier=token@identifier patient=patient@beneficiary payor=reference@payor policy-holder=reference@policyHolder status=token@status subscriber=reference@subscriber
Provenance: agent=reference@agent.who entity=reference@entity.what patient=patient@target recorded=date@recorded target=reference@target
AuditEvent: action=token@action agent=reference@agent.who date=date@recorded entity=reference@entity.what outcome=token@outcome patient=patient@agent.who|entity.what type=token@type
Consent: actor=reference@provision.actor.reference category=token@category date=date@dateTime identifier=token@identifier patient=patient@patient status=token@status
QuestionnaireResponse: author=reference@author authored=date@authored encounter=encounter@encounter identifier=token@identifier patient=patient@subject questionnaire=uri@questionnaire source=reference@source status=token@status subject=reference@subject
Schedule: active=token@active actor=reference@actor date=date@planningHorizon identifier=token@identifier
Slot: identifier=token@identifier schedule=reference@schedule start=date@start status=token@status
Task: code=token@code encounter=encounter@encounter focus=reference@focus identifier=token@identifier owner=reference@owner patient=patient@for requester=reference@requester status=token@status subject=reference@for
RiskAssessment: code=token@code date=date@occurrenceDateTime probability=number@prediction.probabilityDecimal patient=patient@subject subject=reference@subject
Binary: contenttype=token@contentType
ValueSet: identifier=token@identifier name=string@name status=token@status title=string@title url=uri@url version=token@version
CodeSystem: identifier=token@identifier name=string@name status=token@status title=string@title url=uri@url version=token@version
+AppointmentResponse: actor=reference@actor
+ChargeItem: context=reference@context
+Claim: payee=reference@payee.party encounter=encounter@item.encounter
+Communication: sender=reference@sender recipient=reference@recipient
+CommunicationRequest: sender=reference@sender recipient=reference@recipient requester=reference@requester
+DocumentManifest: recipient=reference@recipient related-ref=reference@related.ref
+EnrollmentRequest: subject=patient@candidate
+ExplanationOfBenefit: payee=reference@payee.party encounter=encounter@item.encounter
+Invoice: recipient=reference@recipient
+MedicationDispense: receiver=reference@receiver
+Person: patient=patient@link.target
+RequestGroup: participant=reference@action.participant
+ResearchSubject: individual=patient@individual
+SupplyRequest: subject=reference@deliverTo
";

const PATIENT_COMPARTMENT: &str = "Account subject; AdverseEvent subject; AllergyIntolerance patient recorder asserter; Appointment actor; \
    AppointmentResponse actor; AuditEvent patient; Basic patient author; BodyStructure patient; CarePlan patient \
    performer; CareTeam patient participant; ChargeItem subject; Claim patient payee; ClaimResponse patient; \
    ClinicalImpression subject; Communication subject sender recipient; CommunicationRequest subject sender \
    recipient requester; Composition subject author attester; Condition patient asserter; Consent patient; Coverage \
    policy-holder subscriber beneficiary payor; CoverageEligibilityRequest patient; CoverageEligibilityResponse \
    patient; DetectedIssue patient; DeviceRequest subject performer; DeviceUseStatement subject; DiagnosticReport \
    subject; DocumentManifest subject author recipient; DocumentReference subject author; Encounter patient; \
    EnrollmentRequest subject; EpisodeOfCare patient; ExplanationOfBenefit patient payee; FamilyMemberHistory \
    patient; Flag patient; Goal patient; Group member; ImagingStudy patient; Immunization patient; \
    ImmunizationEvaluation patient; ImmunizationRecommendation patient; Invoice subject patient recipient; List \
    subject source; MeasureReport patient; Media subject; MedicationAdministration patient performer subject; \
    MedicationDispense subject patient receiver; MedicationRequest subject; MedicationStatement subject; \
    MolecularSequence patient; NutritionOrder patient; Observation subject performer; Patient link; Person patient; \
    Procedure patient performer; Provenance patient; QuestionnaireResponse subject author; RelatedPerson patient; \
    RequestGroup subject participant; ResearchSubject individual; RiskAssessment subject; Schedule actor; \
    ServiceRequest subject performer; Specimen subject; SupplyDelivery patient; SupplyRequest subject; \
    VisionPrescription patient";

const ENCOUNTER_COMPARTMENT: &str = "CarePlan encounter; CareTeam encounter; ChargeItem context; Claim encounter; ClinicalImpression encounter; \
    Communication encounter; CommunicationRequest encounter; Composition encounter; Condition encounter; \
    DeviceRequest encounter; DiagnosticReport encounter; DocumentManifest related-ref; DocumentReference encounter; \
    ExplanationOfBenefit encounter; Media encounter; MedicationAdministration context; MedicationRequest encounter; \
    NutritionOrder encounter; Observation encounter; Procedure encounter; QuestionnaireResponse encounter; \
    RequestGroup encounter; ServiceRequest encounter; VisionPrescription encounter";

const PRACTITIONER_COMPARTMENT: &str = "AllergyIntolerance recorder asserter; Appointment actor; Composition subject author attester; \
    Condition asserter; DiagnosticReport performer; DocumentReference subject author; Encounter practitioner participant; \
    Group member; List source; MedicationRequest requester; Observation performer; Patient general-practitioner; \
    PractitionerRole practitioner; Procedure performer; Schedule actor; ServiceRequest performer requester";

const R4_TYPES: &str = "Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic \
    Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem \
    ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest \
    CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest \
    CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement \
    DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest \
    EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit \
    FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization \
    ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List Location \
    Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest \
    MedicationStatement MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication \
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured \
    MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition MessageHeader \
    MolecularSequence NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition OperationOutcome \
    Organization OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition \
    Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson RequestGroup \
    ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis Schedule \
    SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition StructureMap Subscription Substance \
    SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial \
    SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport TestScript ValueSet \
    VerificationResult VisionPrescription";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_real_types_and_parameters() {
        assert_eq!(TYPES.len(), 146);
        let strangers: Vec<_> =
            TABLE.keys().filter(|kind| kind.len() > 1 && !known_type(kind.trim_start_matches('+'))).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        assert_eq!(parameter("Observation", "patient").map(|found| found.target), Some(Some("Patient")));
        assert!(parameter("Observation", "birthdate").is_none());
        assert!(parameter("Observation", "_id").is_some());
    }

    #[test]
    fn compartments_follow_the_definition() {
        assert_eq!(compartment("Patient", "Observation"), ["subject", "performer"]);
        assert!(compartment("Patient", "Practitioner").is_empty());
        assert!(compartment("Patient", "MedicationRequestX").is_empty());
        assert!(members("Patient").any(|kind| kind == "DocumentReference"));
        for name in ["Patient", "Encounter", "Practitioner"] {
            for kind in members(name) {
                let unknown: Vec<_> =
                    compartment(name, kind).into_iter().filter(|by| parameter(kind, by).is_none()).collect();
                assert!(unknown.is_empty(), "{name}: {kind} {unknown:?}");
            }
        }
    }
}
