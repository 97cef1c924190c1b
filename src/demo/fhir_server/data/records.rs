//! The record of one patient: encounters, conditions, observations, prescriptions, documents and the rest.

use serde_json::{Value, json};

use super::{encoded, patient_id};

/// Everything in the compartment of one patient, in an order in which references lead backwards.
pub(super) fn of(number: usize) -> Vec<Value> {
    let mut all = encounters(number);
    all.extend(conditions(number));
    all.extend(observations(number));
    all.extend(treatments(number));
    all.extend(documents(number));
    all
}

fn subject(number: usize) -> Value {
    json!({"reference": format!("Patient/{}", patient_id(number))})
}

fn encounter(number: usize, which: usize) -> Value {
    json!({"reference": format!("Encounter/enc-{number:02}-{which}")})
}

fn practitioner(number: usize) -> Value {
    json!({"reference": format!("Practitioner/prac-{}", 1 + number % 3)})
}

fn day(number: usize, month: usize) -> String {
    format!("2024-{month:02}-{:02}", 1 + number % 28)
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}], "text": display})
}

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";

fn encounters(number: usize) -> Vec<Value> {
    let one = |which: usize, class: &str, status: &str, month: usize| {
        json!({"resourceType": "Encounter", "id": format!("enc-{number:02}-{which}"), "status": status,
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class},
            "subject": subject(number), "participant": [{"individual": practitioner(number)}],
            "period": {"start": format!("{}T09:00:00+02:00", day(number, month)), "end": format!("{}T17:00:00+02:00", day(number, month))},
            "location": [{"location": {"reference": format!("Location/loc-{which}")}}],
            "serviceProvider": {"reference": "Organization/org-2"}})
    };
    vec![
        one(1, "IMP", "finished", 6),
        one(2, "AMB", if number.is_multiple_of(4) { "in-progress" } else { "finished" }, 9),
    ]
}

fn conditions(number: usize) -> Vec<Value> {
    let problems = [
        ("44054006", "Diabetes mellitus type 2"),
        ("38341003", "Hypertensive disorder"),
        ("195967001", "Asthma"),
        ("13645005", "Chronic obstructive lung disease"),
        ("55822004", "Hyperlipidemia"),
    ];
    let one = |which: usize, category: &str, clinical: &str| {
        let (code, display) =
            problems.get((number + which * 2) % problems.len()).copied().unwrap_or_default();
        json!({"resourceType": "Condition", "id": format!("cond-{number:02}-{which}"),
            "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", clinical, clinical),
            "verificationStatus": concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed", "Confirmed"),
            "category": [concept("http://terminology.hl7.org/CodeSystem/condition-category", category, category)],
            "code": concept(SNOMED, code, display), "subject": subject(number), "encounter": encounter(number, which),
            "onsetDateTime": day(number, which), "recordedDate": day(number, 6)})
    };
    vec![
        one(1, "problem-list-item", "active"),
        one(2, "encounter-diagnosis", if number.is_multiple_of(3) { "resolved" } else { "active" }),
    ]
}

fn observation(number: usize, which: usize, category: &str, code: (&str, &str)) -> Value {
    json!({"resourceType": "Observation", "id": format!("obs-{number:02}-{which}"),
        "status": if number.is_multiple_of(7) && which == 4 { "preliminary" } else { "final" },
        "category": [concept("http://terminology.hl7.org/CodeSystem/observation-category", category, category)],
        "code": concept(LOINC, code.0, code.1), "subject": subject(number), "encounter": encounter(number, 1 + which % 2),
        "effectiveDateTime": format!("{}T10:{:02}:00+02:00", day(number, 6 + which % 4), which * 5),
        "performer": [practitioner(number)]})
}

fn with(mut resource: Value, name: &str, value: Value) -> Value {
    if let Some(map) = resource.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
    resource
}

fn quantity(amount: f64, unit: &str) -> Value {
    json!({"value": (amount * 10.0).round() / 10.0, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit})
}

fn observations(number: usize) -> Vec<Value> {
    let share = number as f64;
    let measured = |which: usize, category: &str, code: (&str, &str), amount: f64, unit: &str| {
        with(observation(number, which, category, code), "valueQuantity", quantity(amount, unit))
    };
    let pressure = |code: &str, name: &str, amount: f64| json!({"code": concept(LOINC, code, name), "valueQuantity": quantity(amount, "mm[Hg]")});
    let smoker =
        if number.is_multiple_of(5) { ("77176002", "Smoker") } else { ("266919005", "Never smoked tobacco") };
    vec![
        measured(1, "vital-signs", ("8867-4", "Heart rate"), 58.0 + share, "/min"),
        measured(2, "vital-signs", ("29463-7", "Body weight"), 52.5 + share * 1.7, "kg"),
        with(
            observation(number, 3, "vital-signs", ("85354-9", "Blood pressure panel")),
            "component",
            json!([
                pressure("8480-6", "Systolic blood pressure", 110.0 + share),
                pressure("8462-4", "Diastolic blood pressure", 70.0 + share / 2.0)
            ]),
        ),
        measured(4, "laboratory", ("2339-0", "Glucose"), 80.0 + share * 3.0, "mg/dL"),
        measured(5, "laboratory", ("4548-4", "Hemoglobin A1c"), 4.8 + share / 10.0, "%"),
        with(
            observation(number, 6, "social-history", ("72166-2", "Tobacco smoking status")),
            "valueCodeableConcept",
            concept(SNOMED, smoker.0, smoker.1),
        ),
    ]
}

fn treatments(number: usize) -> Vec<Value> {
    let mut all = vec![
        json!({"resourceType": "MedicationRequest", "id": format!("mr-{number:02}-1"), "status": "active", "intent": "order",
            "medicationReference": {"reference": format!("Medication/med-{}", 1 + number % 4)},
            "subject": subject(number), "encounter": encounter(number, 1), "authoredOn": day(number, 6), "requester": practitioner(number),
            "dosageInstruction": [{"text": "1-0-1", "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}}]}),
        json!({"resourceType": "MedicationRequest", "id": format!("mr-{number:02}-2"), "status": "stopped", "intent": "order",
            "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Ibuprofen 400 mg"}}],
            "medicationReference": {"reference": "#m"}, "subject": subject(number), "authoredOn": day(number, 3),
            "requester": practitioner(number)}),
        json!({"resourceType": "Procedure", "id": format!("proc-{number:02}"), "status": "completed",
            "code": concept(SNOMED, "29303009", "Electrocardiographic procedure"), "subject": subject(number),
            "encounter": encounter(number, 1), "performedDateTime": day(number, 6), "performer": [{"actor": practitioner(number)}]}),
        json!({"resourceType": "Immunization", "id": format!("imm-{number:02}"), "status": "completed",
            "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", "140", "Influenza"), "patient": subject(number),
            "occurrenceDateTime": day(number, 10)}),
        json!({"resourceType": "DiagnosticReport", "id": format!("rep-{number:02}"), "status": "final",
            "category": [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB", "Laboratory")],
            "code": concept(LOINC, "24323-8", "Comprehensive metabolic panel"), "subject": subject(number),
            "encounter": encounter(number, 1), "effectiveDateTime": day(number, 8), "performer": [practitioner(number)],
            "result": [{"reference": format!("Observation/obs-{number:02}-4")}, {"reference": format!("Observation/obs-{number:02}-5")}]}),
    ];
    if number % 4 == 1 {
        all.push(json!({"resourceType": "AllergyIntolerance", "id": format!("all-{number:02}"), "type": "allergy",
            "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active", "Active"),
            "code": concept(SNOMED, "91936005", "Allergy to penicillin"), "criticality": "high", "patient": subject(number),
            "recordedDate": day(number, 2)}));
    }
    all
}

fn documents(number: usize) -> Vec<Value> {
    let text = format!("Demo document: discharge letter of patient {number}. Synthetic, nobody was ill.");
    vec![
        json!({"resourceType": "Binary", "id": format!("bin-{number:02}"), "contentType": "text/plain",
            "securityContext": subject(number), "data": encoded(&text)}),
        json!({"resourceType": "DocumentReference", "id": format!("doc-{number:02}"), "status": "current",
            "type": concept(LOINC, "18842-5", "Discharge summary"),
            "category": [concept(LOINC, "47039-3", "Inpatient Admission history and physical note")],
            "subject": subject(number), "date": format!("{}T12:00:00Z", day(number, 6)), "author": [practitioner(number)],
            "content": [{"attachment": {"contentType": "text/plain", "url": format!("Binary/bin-{number:02}"), "title": "Discharge letter",
                "size": text.len()}}],
            "context": {"encounter": [encounter(number, 1)], "period": {"start": day(number, 6)}}}),
    ]
}
