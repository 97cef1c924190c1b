//! Search parameters, as scopes, rules and clients write them.

use crate::chance::Chance;

const CATEGORY: &[&str] = &[
    "category=laboratory",
    "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    "category=vital-signs,survey",
    "category=http://terminology.hl7.org/CodeSystem/observation-category|",
    "category=|laboratory",
    "category:not=survey",
    "category:not=laboratory,vital-signs",
    "category:missing=true",
    "category:missing=false",
];
const CODE: &[&str] = &[
    "code=x",
    "code=urn:codes|y",
    "code=urn:codes|x,urn:codes|z",
    "code:text=alpha",
    "code:not=z",
    "code:in=http://hl7.org/fhir/ValueSet/x",
    "code:below=x",
];
const DATE: &[&str] = &[
    "date=ge2024-01-01",
    "date=lt2024-06-15",
    "date=2024",
    "date=le2024-01",
    "date=gt2024-06-15T12:00:00Z",
    "date=sa2024-01-01",
    "date=eb2024-06-01",
    "date=ne2024-06-15",
    "date=ge2024-01-01&date=le2024-12-31",
];
const IDENTIFIER: &[&str] = &[
    "identifier=i1",
    "identifier=urn:x|i1",
    "identifier=urn:x|",
    "identifier=urn:x|a\\,b",
    "identifier:missing=true",
];
const ENCOUNTER: &[&str] = &[
    "encounter=Encounter/e1",
    "encounter=e1",
    "encounter:missing=true",
    "encounter:Encounter=e2",
    "encounter.status=finished",
];
const SUBJECT: &[&str] = &[
    "subject=Patient/p1",
    "subject=p2",
    "subject:Patient=p1",
    "patient=p1",
    "patient=Patient/p2",
    "patient=https://gw.test/fhir/Patient/p1",
    "subject:identifier=urn:x|p1",
    "subject:missing=true",
    "patient.family=Adler",
];
const STATUS: &[&str] = &["status=final", "status:not=entered-in-error", "status=active,current,finished"];
const CLINICAL: &[&str] =
    &["clinical-status=active", "clinical-status=urn:clinical|resolved", "clinical-status:not=resolved"];
const COMMON: &[&str] = &[
    "_id=o1",
    "_id=p1,o1,o2",
    "_tag=urn:tags|a",
    "_tag=b",
    "_tag:not=a",
    "_tag=urn:tags|",
    "_security=R",
    "_security:not=R",
    "_security=http://terminology.hl7.org/CodeSystem/v3-Confidentiality|N",
    "_security:missing=true",
];
const QUANTITY: &[&str] = &[
    "value-quantity=gt5",
    "value-quantity=5",
    "value-quantity=le5.2|http://unitsofmeasure.org|mg",
    "value-quantity=9||g",
];
const PATIENT: &[&str] = &[
    "gender=female",
    "family=adler",
    "family:exact=Adler",
    "family:contains=DLER",
    "birthdate=lt2000",
    "general-practitioner=Practitioner/dr1",
    "general-practitioner=dr2",
    "general-practitioner:missing=true",
];
const DEVICE: &[&str] = &["status=active", "patient=Patient/p1", "patient:missing=true"];
const GROUP: &[&str] = &["type=person", "member=Patient/p1"];
const PROVENANCE: &[&str] = &["target=Patient/p1", "target=Observation/o1", "patient=p1"];
const PERFORMER: &[&str] = &["performer=Practitioner/dr1", "performer:Patient=p1", "performer=Patient/p2"];
const CLASS: &[&str] = &["class=AMB", "class=urn:class|IMP", "class:not=IMP"];
const RECORDED: &[&str] = &["recorded-date=ge2024-01-01", "onset-date=2024", "recorded-date:missing=true"];
const AUTHORED: &[&str] = &["authoredon=ge2024-01-01", "intent=order", "intent:not=plan"];
const KIND: &[&str] = &["type=x", "type=urn:codes|y", "type:not=x"];
const SOURCE: &[&str] = &["source=Practitioner/dr1", "source=Patient/p1"];
const OWNED: &[&str] = &["patient=Patient/p1", "patient=p2", "patient:Patient=p1"];

/// The parameters that a type has, by themes.
fn themes(kind: &str) -> &'static [&'static [&'static str]] {
    match kind {
        "AllergyIntolerance" => &[CODE, CLINICAL, IDENTIFIER, OWNED, COMMON],
        "Composition" => &[CATEGORY, KIND, SUBJECT, ENCOUNTER, STATUS, DATE, COMMON],
        "Condition" => &[CATEGORY, CATEGORY, CODE, CLINICAL, SUBJECT, ENCOUNTER, RECORDED, COMMON],
        "Device" => &[IDENTIFIER, DEVICE, COMMON],
        "DocumentReference" => &[CATEGORY, KIND, SUBJECT, ENCOUNTER, STATUS, DATE, COMMON],
        "Encounter" => &[CLASS, STATUS, SUBJECT, IDENTIFIER, DATE, COMMON],
        "Group" => &[IDENTIFIER, GROUP, COMMON],
        "List" => &[CODE, STATUS, SUBJECT, SOURCE, DATE, COMMON],
        "Medication" => &[CODE, STATUS, IDENTIFIER, COMMON],
        "MedicationRequest" => &[CATEGORY, AUTHORED, STATUS, SUBJECT, ENCOUNTER, COMMON],
        "Observation" => {
            &[CATEGORY, CATEGORY, CODE, DATE, STATUS, SUBJECT, PERFORMER, ENCOUNTER, QUANTITY, COMMON]
        }
        "Patient" => &[PATIENT, PATIENT, IDENTIFIER, COMMON],
        "Provenance" => &[PROVENANCE, COMMON],
        _ => &[COMMON],
    }
}

/// A parameter of a type, or of all; sometimes with characters encoded.
pub fn parameter(chance: &mut Chance, kind: &str) -> String {
    let theme = chance.pick(themes(kind));
    let written = chance.pick(theme);
    if chance.percent(30) { encoded(written) } else { written.to_owned() }
}

/// What may stand encoded in a query, encoded.
fn encoded(written: &str) -> String {
    written.replace('|', "%7C").replace('/', "%2F").replace(',', "%2C").replace('\\', "%5C")
}

/// Parameters that nothing can be granted by.
pub const UNUSABLE: [&str; 8] = [
    "_count=1",
    "_include=Observation:subject",
    "nonsense=1",
    "code:not-in=http://hl7.org/fhir/ValueSet/x",
    "_filter=code eq x",
    "_list=l1",
    "category",
    "category=",
];
