//! Synthetic people and their records, the same at every start. Nobody here ever lived.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{Key, Store};

mod records;

/// How many patients there are.
pub const PATIENTS: usize = 24;

/// How many encounters each patient has.
pub const ENCOUNTERS_PER_PATIENT: usize = 2;

const FAMILIES: [&str; 12] = [
    "Ahrens", "Böhm", "Çelik", "Dvořák", "Eriksen", "Fuchs", "García", "Hansen", "Ivanova", "Jäger",
    "Kowalski", "O'Neill",
];
const WOMEN: [&str; 6] = ["Anna", "Beate", "Clara", "Dörte", "Elif", "Frieda"];
const MEN: [&str; 6] = ["Anton", "Bruno", "Cem", "David", "Emil", "Finn"];
const CITIES: [(&str, &str); 4] =
    [("Musterstadt", "01234"), ("Beispielhausen", "12345"), ("Probedorf", "23456"), ("Testingen", "34567")];

/// The tag on every synthetic resource.
fn tag() -> Value {
    json!([{"system": "https://pforte.example/CodeSystem/demo", "code": "synthetic", "display": "Demo: synthetic data"},
           {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data"}])
}

/// The logical id of the patient with this number, from 1 to [`PATIENTS`]: `pat-01`.
pub fn patient_id(number: usize) -> String {
    format!("pat-{number:02}")
}

/// Everybody who can be picked at a login: id, name and birth date.
pub fn people() -> impl Iterator<Item = (String, String, String)> {
    (1..=PATIENTS).map(|number| {
        let (given, family) = name(number);
        (patient_id(number), format!("{given} {family}"), birth_date(number))
    })
}

fn name(number: usize) -> (&'static str, &'static str) {
    let firsts = if female(number) { WOMEN } else { MEN };
    let pick = |list: &[&'static str], place: usize| list.get(place % list.len()).copied().unwrap_or("Nemo");
    (pick(&firsts, number / 2), pick(&FAMILIES, number * 5))
}

fn female(number: usize) -> bool {
    number % 2 == 1
}

fn birth_date(number: usize) -> String {
    format!("{}-{:02}-{:02}", 1930 + number * 3, 1 + number % 12, 1 + number * 7 % 28)
}

/// Puts everything into the store.
pub(super) fn fill(store: &mut Store) {
    let mut minute = 0;
    let mut put = |mut resource: Value| {
        // Written one after the other on a fixed day, so that `_lastUpdated` and histories are the same at every start.
        minute += 1;
        let when = Timestamp::from_second(1_735_722_000 + minute * 60).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut meta = resource.get("meta").cloned().unwrap_or_else(|| json!({}));
        if let (Some(meta), Some(map)) = (meta.as_object_mut(), resource.as_object_mut()) {
            meta.insert("tag".to_owned(), tag());
            map.insert("meta".to_owned(), Value::Object(std::mem::take(meta)));
        }
        if let Some(key) = Key::of(&resource) {
            store.put(&key, resource, when);
        }
    };
    house().into_iter().for_each(&mut put);
    for number in 1..=PATIENTS {
        put(patient(number));
        records::of(number).into_iter().for_each(&mut put);
    }
    collections().into_iter().for_each(&mut put);
}

/// Who and what belongs to the hospital: in nobody's compartment.
fn house() -> Vec<Value> {
    let mut all = vec![
        json!({"resourceType": "Organization", "id": "org-1", "name": "Demo-Klinikum Musterstadt", "active": true,
               "identifier": [{"system": "https://pforte.example/sid/org", "value": "1"}]}),
        json!({"resourceType": "Organization", "id": "org-2", "name": "Klinik für Innere Medizin", "active": true,
               "partOf": {"reference": "Organization/org-1"}}),
        json!({"resourceType": "Location", "id": "loc-1", "name": "Ward 7", "status": "active",
               "managingOrganization": {"reference": "Organization/org-2"}}),
        json!({"resourceType": "Location", "id": "loc-2", "name": "Outpatients", "status": "active",
               "managingOrganization": {"reference": "Organization/org-1"}}),
    ];
    for (number, (given, family, gender)) in
        [("Paula", "Petersen", "female"), ("Quentin", "Quast", "male"), ("Rosa", "Richter", "female")]
            .iter()
            .enumerate()
    {
        let id = number + 1;
        all.push(json!({"resourceType": "Practitioner", "id": format!("prac-{id}"), "active": true, "gender": gender,
            "identifier": [{"system": "https://pforte.example/sid/lanr", "value": format!("99900000{id}")}],
            "name": [{"family": family, "given": [given], "prefix": ["Dr."]}]}));
        all.push(json!({"resourceType": "PractitionerRole", "id": format!("role-{id}"), "active": true,
            "practitioner": {"reference": format!("Practitioner/prac-{id}")},
            "organization": {"reference": "Organization/org-2"}, "location": [{"reference": "Location/loc-1"}]}));
    }
    for (number, (code, name)) in [
        ("860975", "metformin 500 MG"),
        ("197361", "amlodipine 5 MG"),
        ("314076", "lisinopril 10 MG"),
        ("617314", "atorvastatin 10 MG"),
    ]
    .iter()
    .enumerate()
    {
        all.push(json!({"resourceType": "Medication", "id": format!("med-{}", number + 1), "status": "active",
            "code": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": code, "display": name}], "text": name}}));
    }
    all.push(json!({"resourceType": "ValueSet", "id": "vitals", "url": "https://pforte.example/ValueSet/vitals", "status": "active",
        "name": "DemoVitals", "compose": {"include": [{"system": "http://loinc.org",
            "concept": [{"code": "8867-4"}, {"code": "85354-9"}, {"code": "29463-7"}]}]}}));
    all
}

fn patient(number: usize) -> Value {
    let (given, family) = name(number);
    let gender = if female(number) { "female" } else { "male" };
    let (city, code) = CITIES.get(number % CITIES.len()).copied().unwrap_or(("Nirgendwo", "00000"));
    let security = if number % 8 == 5 {
        json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R", "display": "restricted"}])
    } else {
        json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N", "display": "normal"}])
    };
    json!({
        "resourceType": "Patient", "id": patient_id(number), "meta": {"security": security},
        "text": {"status": "generated", "div": format!(
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Demo patient <b>{given} {family}</b><br/>born {}</p></div>", birth_date(number))},
        "identifier": [{"use": "usual", "system": "https://pforte.example/sid/mrn", "value": format!("{:06}", 4711 + number * 13),
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}}],
        "active": !number.is_multiple_of(12),
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [{"system": "phone", "value": format!("+49 30 23125 {number:03}"), "use": "home"},
                    {"system": "email", "value": format!("patient{number:02}@demo.example")}],
        "gender": gender,
        "birthDate": birth_date(number),
        "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
            "valueDateTime": format!("{}T06:30:00+01:00", birth_date(number))}]},
        "address": [{"use": "home", "line": [format!("Demoweg {number}")], "city": city, "postalCode": code, "country": "DE"}],
        "generalPractitioner": [{"reference": format!("Practitioner/prac-{}", 1 + number % 3)}],
        "managingOrganization": {"reference": "Organization/org-1"}
    })
}

/// A ward's patients, a list, and a document: resources about several people or several resources.
fn collections() -> Vec<Value> {
    let ward: Vec<Value> = (1..=6)
        .map(|number| json!({"entity": {"reference": format!("Patient/{}", patient_id(number))}}))
        .collect();
    let listed = ["obs-01-1", "obs-01-2", "obs-02-1"]
        .map(|id| json!({"item": {"reference": format!("Observation/{id}")}}));
    vec![
        json!({"resourceType": "Group", "id": "ward-7", "type": "person", "actual": true, "active": true, "name": "Ward 7",
            "quantity": 6, "member": ward}),
        json!({"resourceType": "List", "id": "list-1", "status": "current", "mode": "working", "title": "To look at again",
            "source": {"reference": "Practitioner/prac-1"}, "entry": listed}),
        json!({"resourceType": "List", "id": "list-2", "status": "current", "mode": "working", "title": "Current problems",
            "subject": {"reference": "Patient/pat-01"}, "entry": [{"item": {"reference": "Condition/cond-01-1"}}]}),
        json!({"resourceType": "Composition", "id": "comp-1", "status": "final", "title": "Discharge letter", "date": "2024-06-03",
            "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5", "display": "Discharge summary"}]},
            "subject": {"reference": "Patient/pat-01"}, "encounter": {"reference": "Encounter/enc-01-1"},
            "author": [{"reference": "Practitioner/prac-1"}],
            "section": [{"title": "Findings", "entry": [{"reference": "Observation/obs-01-1"}, {"reference": "Condition/cond-01-1"}]}]}),
        json!({"resourceType": "RelatedPerson", "id": "rel-1", "active": true, "patient": {"reference": "Patient/pat-01"},
            "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "DAU"}]}],
            "name": [{"family": "Fuchs", "given": ["Greta"]}]}),
        json!({"resourceType": "Provenance", "id": "prov-1", "recorded": "2024-06-03T12:00:00Z",
            "target": [{"reference": "Observation/obs-01-1"}, {"reference": "Patient/pat-01"}],
            "agent": [{"who": {"reference": "Practitioner/prac-1"}}]}),
    ]
}

/// The text of a document as `Binary.data`.
fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::operation::references;
    use super::*;

    #[test]
    fn every_start_gives_the_same_records() {
        let (mut one, mut other) = (Store::default(), Store::default());
        fill(&mut one);
        fill(&mut other);
        let text = |store: &Store| store.all(None).map(|(_, it)| it.to_string()).collect::<Vec<_>>();
        assert_eq!(text(&one), text(&other));
    }

    #[test]
    fn there_is_enough_of_everything_and_every_reference_leads_somewhere() {
        let mut store = Store::default();
        fill(&mut store);
        let mut counts = BTreeMap::new();
        for (key, resource) in store.all(None) {
            *counts.entry(key.kind.clone()).or_insert(0) += 1;
            for text in references(resource) {
                assert!(
                    text.starts_with('#')
                        || Key::parse(text, "").is_some_and(|key| store.live(&key).is_some()),
                    "{text}"
                );
            }
        }
        for (kind, least) in [
            ("Patient", 20),
            ("Observation", 120),
            ("Condition", 24),
            ("Encounter", 48),
            ("MedicationRequest", 24),
            ("DocumentReference", 24),
            ("Binary", 24),
            ("Practitioner", 3),
            ("Organization", 2),
            ("Location", 2),
            ("Group", 1),
            ("List", 1),
            ("Composition", 1),
            ("Medication", 4),
        ] {
            assert!(counts.get(kind).is_some_and(|count| *count >= least), "{kind}: {counts:?}");
        }
    }
}
