"""Synthetic records for the reference backend: the same bytes on every run.

Invented people only. The ids are what tests rely on; README.md lists the ones
that matter. `bundle()` is one transaction of PUTs, so loading twice changes
nothing; `once()` makes what a PUT cannot state: histories and a deleted resource.
"""

import base64

CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
CORE_CONDITION = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
CORE = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
MRN = "https://hospital.example/mrn"

PATIENTS = [
    # id, family, given, gender, born, practitioner
    ("pat-in", "Inwood", "Ida", "female", "1961-04-12", "prac-1"),
    ("pat-out", "Outhwaite", "Otto", "male", "1974-11-30", "prac-2"),
    ("pat-3", "Drei", "Thea", "female", "1988-02-29", "prac-1"),
    ("pat-4", "Vier", "Viktor", "male", "2001-07-07", "prac-2"),
    ("pat-5", "Fünf", "Fenna", "other", "2019-01-01", "prac-1"),
]
ENCOUNTERS = [  # id, patient, start, status
    ("enc-1", "pat-in", "2024-03-01", "in-progress"),
    ("enc-2", "pat-in", "2023-06-15", "finished"),
    ("enc-3", "pat-out", "2024-03-02", "in-progress"),
    ("enc-4", "pat-out", "2022-01-20", "finished"),
    ("enc-5", "pat-3", "2024-02-10", "finished"),
    ("enc-6", "pat-4", "2024-02-11", "finished"),
    ("enc-7", "pat-5", "2024-02-12", "finished"),
]
CONDITIONS = [
    ("problem", CONDITION, "problem-list-item", "38341003", "Hypertensive disorder"),
    ("diagnosis", CONDITION, "encounter-diagnosis", "195967001", "Asthma"),
    ("concern", CORE_CONDITION, "health-concern", "73595000", "Stress"),
]
OBSERVATIONS = [
    ("lab", OBSERVATION, "laboratory", "2339-0", "Glucose", 95, "mg/dL"),
    ("vital", OBSERVATION, "vital-signs", "8867-4", "Heart rate", 72, "/min"),
    ("social", OBSERVATION, "social-history", "72166-2", "Tobacco smoking status", None, None),
    ("survey", OBSERVATION, "survey", "44249-1", "PHQ-9 assessment", 4, "{score}"),
    ("sdoh", CORE, "sdoh", "71802-3", "Housing status", None, None),
]


def ref(target):
    return {"reference": target}


def concept(system, code, display=None):
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding]}


def label(patient_id):
    """`pat-in` is `in` in the ids of what belongs to that patient."""
    return patient_id.split("-")[1]


def places():
    for number, name in ((1, "Northgate Hospital"), (2, "Southgate Clinic")):
        yield {"resourceType": "Organization", "id": f"org-{number}", "active": True, "name": name}
        yield {"resourceType": "Location", "id": f"loc-{number}", "status": "active", "name": f"Ward {number + 6}",
               "managingOrganization": ref(f"Organization/org-{number}")}
        yield {"resourceType": "Practitioner", "id": f"prac-{number}", "active": True,
               "name": [{"family": ("Prantl", "Quist")[number - 1], "given": [("Paula", "Quentin")[number - 1]]}]}
        yield {"resourceType": "PractitionerRole", "id": f"role-{number}", "active": True,
               "practitioner": ref(f"Practitioner/prac-{number}"), "organization": ref(f"Organization/org-{number}")}
    yield {"resourceType": "Medication", "id": "med-1",
           "code": concept("http://www.nlm.nih.gov/research/umls/rxnorm", "197361", "Amlodipine 5 MG Oral Tablet")}


def people():
    for number, (ident, family, given, gender, born, doctor) in enumerate(PATIENTS, 1):
        patient = {
            "resourceType": "Patient", "id": ident, "active": True,
            "identifier": [{"system": MRN, "value": f"MRN-{number:04}"}],
            "name": [{"family": family, "given": [given]}], "gender": gender, "birthDate": born,
            "generalPractitioner": [ref(f"Practitioner/{doctor}")],
            "managingOrganization": ref(f"Organization/org-{doctor[-1]}"),
        }
        if ident == "pat-in":  # another record of the same person
            patient["link"] = [{"other": ref("Patient/pat-4"), "type": "seealso"}]
        yield patient
    yield {"resourceType": "RelatedPerson", "id": "rel-in", "patient": ref("Patient/pat-in"),
           "name": [{"family": "Inwood", "given": ["Ian"]}]}


def visits():
    for ident, patient, start, status in ENCOUNTERS:
        doctor = next(p[5] for p in PATIENTS if p[0] == patient)
        yield {"resourceType": "Encounter", "id": ident, "status": status, "subject": ref(f"Patient/{patient}"),
               "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
               "period": {"start": f"{start}T09:00:00Z"},
               "participant": [{"individual": ref(f"Practitioner/{doctor}")}],
               "location": [{"location": ref(f"Location/loc-{doctor[-1]}")}],
               "serviceProvider": ref(f"Organization/org-{doctor[-1]}")}
        about = {"subject": ref(f"Patient/{patient}"), "encounter": ref(f"Encounter/{ident}")}
        for kind, system, category, code, display in CONDITIONS:
            yield {"resourceType": "Condition", "id": f"cond-{kind}-{ident}", **about,
                   "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
                   "category": [concept(system, category)], "code": concept(SNOMED, code, display),
                   "recordedDate": start}
        for kind, system, category, code, display, value, unit in OBSERVATIONS:
            observation = {
                "resourceType": "Observation", "id": f"obs-{kind}-{ident}", "status": "final", **about,
                "category": [concept(system, category)], "code": concept(LOINC, code, display),
                "effectiveDateTime": f"{start}T09:30:00Z", "performer": [ref(f"Practitioner/{doctor}")],
            }
            if value is None:
                observation["valueString"] = "never"
            else:
                observation["valueQuantity"] = {
                    "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
            yield observation


def papers():
    for patient, encounter in (("pat-in", "enc-1"), ("pat-out", "enc-3")):
        tag, who, when = label(patient), ref(f"Patient/{patient}"), "2024-03-03"
        note = base64.b64encode(f"Discharge note of {patient}\n".encode()).decode()
        yield {"resourceType": "Binary", "id": f"bin-{tag}", "contentType": "text/plain", "securityContext": who,
               "data": note}
        yield {"resourceType": "DocumentReference", "id": f"doc-{tag}", "status": "current", "subject": who,
               "type": concept(LOINC, "18842-5", "Discharge summary"), "date": f"{when}T10:00:00Z",
               "category": [concept("http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                                    "clinical-note")],
               "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/bin-{tag}"}}],
               "context": {"encounter": [ref(f"Encounter/{encounter}")]}}
        yield {"resourceType": "MedicationRequest", "id": f"mr-{tag}", "status": "active", "intent": "order",
               "subject": who, "encounter": ref(f"Encounter/{encounter}"),
               "medicationReference": ref("Medication/med-1"), "requester": ref("Practitioner/prac-1"),
               "authoredOn": when}
        yield {"resourceType": "AllergyIntolerance", "id": f"alg-{tag}", "patient": who,
               "code": concept(SNOMED, "91936005", "Allergy to penicillin")}
        yield {"resourceType": "Procedure", "id": f"proc-{tag}", "status": "completed", "subject": who,
               "encounter": ref(f"Encounter/{encounter}"), "code": concept(SNOMED, "80146002", "Appendectomy")}
        yield {"resourceType": "Immunization", "id": f"imm-{tag}", "status": "completed", "patient": who,
               "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", "140"), "occurrenceDateTime": when}
        yield {"resourceType": "DiagnosticReport", "id": f"rep-{tag}", "status": "final", "subject": who,
               "encounter": ref(f"Encounter/{encounter}"), "code": concept(LOINC, "24323-8"),
               "result": [ref(f"Observation/obs-lab-{encounter}")]}
        yield {"resourceType": "Composition", "id": f"comp-{tag}", "status": "final", "subject": who,
               "encounter": ref(f"Encounter/{encounter}"), "type": concept(LOINC, "18842-5"), "date": when,
               "author": [ref("Practitioner/prac-1")], "title": f"Summary of {patient}",
               "section": [{"title": "Results", "entry": [ref(f"Observation/obs-lab-{encounter}")]}]}
        yield {"resourceType": "Device", "id": f"dev-{tag}", "patient": who, "status": "active"}
        yield {"resourceType": "List", "id": f"list-{tag}", "status": "current", "mode": "working", "subject": who,
               "entry": [{"item": ref(f"Observation/obs-lab-{encounter}")},
                         {"item": ref(f"Condition/cond-problem-{encounter}")}]}
        yield {"resourceType": "Appointment", "id": f"app-{tag}", "status": "booked",
               "participant": [{"actor": who, "status": "accepted"},
                               {"actor": ref("Practitioner/prac-1"), "status": "accepted"}]}
        yield {"resourceType": "Provenance", "id": f"prov-{tag}", "recorded": f"{when}T10:00:00Z",
               "target": [ref(f"Observation/obs-lab-{encounter}")],
               "agent": [{"who": ref("Practitioner/prac-1")}]}
    yield {"resourceType": "Group", "id": "grp-1", "type": "person", "actual": True,
           "member": [{"entity": ref("Patient/pat-in")}, {"entity": ref("Patient/pat-out")}]}


def traps():
    """Records that a careless gateway lets through or hides."""
    heart = concept(LOINC, "8867-4", "Heart rate")
    both = {"resourceType": "Observation", "status": "final", "code": heart, "valueString": "see title"}
    yield {**both, "id": "obs-focus-in-out", "subject": ref("Patient/pat-in"), "focus": [ref("Patient/pat-out")]}
    yield {**both, "id": "obs-focus-out-in", "subject": ref("Patient/pat-out"), "focus": [ref("Patient/pat-in")]}
    yield {**both, "id": "obs-nobody"}
    yield {**both, "id": "obs-lookalike", "subject": ref("Patient/pat-in"),
           "category": [concept("https://elsewhere.example/category", "vital-signs")]}
    yield {**both, "id": "obs-secret", "subject": ref("Patient/pat-in"), "meta": {"security": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}}
    yield {"resourceType": "Binary", "id": "bin-free", "contentType": "text/plain",
           "data": base64.b64encode(b"belongs to nobody\n").decode()}


def bundle():
    """One transaction that puts every record in its place."""
    records = [*places(), *people(), *visits(), *papers(), *traps()]
    return {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": record, "request": {"method": "PUT", "url": f"{record['resourceType']}/{record['id']}"}}
        for record in records]}


def once():
    """(method, path, resource) in order; run only while `Observation/obs-moved` does not exist."""
    moved = {"resourceType": "Observation", "id": "obs-moved", "status": "final",
             "code": concept(LOINC, "8867-4", "Heart rate"), "valueString": "version 1 of pat-out, version 2 of pat-in"}
    gone = {"resourceType": "Patient", "id": "pat-gone", "active": False}
    return [
        ("PUT", "Patient/pat-gone", gone),
        ("DELETE", "Patient/pat-gone", None),
        ("PUT", "Observation/obs-moved", {**moved, "subject": ref("Patient/pat-out")}),
        ("PUT", "Observation/obs-moved", {**moved, "subject": ref("Patient/pat-in")}),
    ]
