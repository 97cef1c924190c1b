//! Resources of anybody: own ones, other people's, and those that look like own ones.

use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::world::{BACKEND, PUBLIC, canary};

/// Code system of categories.
pub const CATEGORIES: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
/// Code system of security labels.
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// References that are nearly one to the launch patient (COMP-7).
const TRICKY: [&str; 34] = [
    "Patient/p1x",
    "Patient/P1",
    "patient/p1",
    "PATIENT/p1",
    "#p1",
    "#",
    "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
    "urn:oid:1.2.3",
    "Patient?identifier=urn:x%7Cp1",
    "https://other.test/fhir/Patient/p1",
    "https://gw.test:8443/fhir/Patient/p1",
    "https://gw.test/fhir2/Patient/p1",
    "https://gw.test/Patient/p1",
    "https://gw.test/fhir/fhir/Patient/p1",
    "https://gw.test/fhir/../fhir/Patient/p1",
    "https://gw.test.evil.test/fhir/Patient/p1",
    "https://evil.test@gw.test/fhir/Patient/p1",
    "https://gw.test/fhir/Patient/p1/Observation",
    "//gw.test/fhir/Patient/p1",
    "ftp://gw.test/fhir/Patient/p1",
    "Practitioner/p1",
    "/Patient/p1",
    "Patient/p1/",
    "Patient/p1#x",
    "Patient/p1?x=1",
    " Patient/p1",
    "Patient/p1 ",
    "Patient//p1",
    "Patient/p1/_history",
    "Patient/p1/_history/",
    "Patient/%701",
    "Patient/p2/../p1",
    "Patient/p1|2",
    "p1",
];

/// Makes resources.
pub struct Records<'c> {
    /// Where choices come from.
    pub chance: &'c mut Chance,
    /// How many markers were given out.
    pub markers: &'c mut usize,
}

impl Records<'_> {
    /// A text that stands in one resource only.
    pub fn marker(&mut self) -> String {
        *self.markers += 1;
        format!("zqmk{:04}qz", *self.markers)
    }

    /// A resource with this id, and a marker of its own.
    pub fn resource(&mut self, kind: &str, id: &str) -> (Value, String) {
        let marker = self.marker();
        let mut resource = json!({"resourceType": kind, "id": id, "meta": self.meta()});
        let members = resource.as_object_mut().expect("an object");
        if kind == "Binary" {
            self.binary(members, &marker);
            return (resource, marker);
        }
        self.domain(members, &marker);
        match kind {
            "Patient" => self.patient(members, id),
            "Practitioner" => {
                members.insert("name".into(), json!([{"family": self.family()}]));
            }
            "Device" => self.device(members),
            "Group" => self.group(members),
            "Provenance" => self.provenance(members),
            "Medication" => {
                self.code(members, "code");
                self.word(members, "status", &["active", "inactive"]);
            }
            _ => self.clinical(members, kind),
        }
        (resource, marker)
    }

    fn meta(&mut self) -> Value {
        let mut meta = Map::new();
        meta.insert("versionId".into(), self.chance.pick(&["1", "2", "7"]).into());
        if self.chance.percent(30) {
            let system = self.chance.pick(&[CONFIDENTIALITY, "urn:other"]);
            meta.insert(
                "security".into(),
                json!([{"system": system, "code": self.chance.pick(&["R", "N", "V"])}]),
            );
        }
        if self.chance.percent(30) {
            meta.insert("tag".into(), json!([{"system": "urn:tags", "code": self.chance.pick(&["a", "b"])}]));
        }
        Value::Object(meta)
    }

    /// What every domain resource may have.
    fn domain(&mut self, members: &mut Map<String, Value>, marker: &str) {
        if self.chance.percent(20) {
            let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{marker}</div>");
            members.insert("text".into(), json!({"status": "generated", "div": div}));
        }
        if self.chance.percent(12) {
            let inner = self.marker();
            let kind = self.chance.pick(&["Patient", "Observation", "Practitioner"]);
            members.insert(
                "contained".into(),
                json!([{"resourceType": kind, "id": self.chance.pick(&["p1", "c1"]), "extension": [{"url": "urn:m", "valueString": inner}],
                    "subject": {"reference": "Patient/p1"}, "name": [{"given": [canary("p2")]}]}]),
            );
        }
        members.insert("extension".into(), json!([{"url": "urn:m", "valueString": marker}]));
        if self.chance.percent(40) {
            let value = self.chance.pick(&["i1", "i2", "a,b"]);
            members.insert(
                "identifier".into(),
                json!([{"system": self.chance.pick(&["urn:x", "urn:y"]), "value": value}]),
            );
        }
    }

    /// A reference to somebody, or to what looks like somebody.
    pub fn patient_reference(&mut self) -> Value {
        let other = self.chance.pick(&["p2", "p2", "p3", "p1x"]);
        let form = self.chance.below(100);
        let text = match form {
            0..=37 => "Patient/p1".to_owned(),
            38..=41 => format!("{PUBLIC}/Patient/p1"),
            42 => "http://gw.test/fhir/Patient/p1".to_owned(),
            43..=46 => format!("{BACKEND}/Patient/p1"),
            47..=48 => "Patient/p1/_history/3".to_owned(),
            49 => format!("{BACKEND}/Patient/p1/_history/3"),
            50..=74 => format!("Patient/{other}"),
            75..=77 => format!("{PUBLIC}/Patient/{other}"),
            78..=80 => format!("{BACKEND}/Patient/{other}"),
            81 => return json!({"identifier": {"system": "urn:x", "value": "p1"}}),
            82 => return json!({"display": canary(other)}),
            83 => return json!({"type": "Patient", "display": "p1"}),
            _ => self.chance.pick(&TRICKY).to_owned(),
        };
        let mut reference = json!({"reference": text});
        if self.chance.percent(5) {
            reference["identifier"] = json!({"system": "urn:x", "value": "i1"});
        }
        if self.chance.percent(10) {
            reference["display"] = canary(other).into();
        }
        if self.chance.percent(5) {
            reference["type"] = self.chance.pick(&["Patient", "Practitioner"]).into();
        }
        reference
    }

    /// A reference to the patient of the record, or to somebody else who had to do with it.
    fn person(&mut self) -> Value {
        if self.chance.percent(50) {
            return json!({"reference": self.chance.pick(&["Practitioner/dr1", "Practitioner/p1", "Organization/p1"])});
        }
        self.patient_reference()
    }

    fn encounter_reference(&mut self) -> Value {
        let forms = [
            (40, "Encounter/e1"),
            (5, "https://gw.test/fhir/Encounter/e1"),
            (5, "http://upstream.internal/fhir/Encounter/e1/_history/1"),
            (20, "Encounter/e2"),
            (10, "Encounter/e3"),
            (4, "Encounter/e1x"),
            (4, "https://other.test/fhir/Encounter/e1"),
            (4, "Location/e1"),
        ];
        json!({"reference": self.chance.weighted(&forms)})
    }

    fn code(&mut self, members: &mut Map<String, Value>, name: &str) {
        let code = self.chance.pick(&["x", "y", "z"]);
        let mut concept = json!({"coding": [{"system": "urn:codes", "code": code}]});
        if self.chance.percent(30) {
            concept["coding"][0]["display"] = self.chance.pick(&["Alpha wave", "Beta wave"]).into();
        }
        if self.chance.percent(30) {
            concept["text"] = self.chance.pick(&["Alpha measured", "Gamma measured"]).into();
        }
        members.insert(name.into(), concept);
    }

    fn word(&mut self, members: &mut Map<String, Value>, name: &str, words: &[&str]) {
        if self.chance.percent(85) {
            members.insert(name.into(), self.chance.pick(words).into());
        }
    }

    fn family(&mut self) -> Value {
        self.chance.pick(&["Adler", "Adlerson", "adler", "Zander"]).into()
    }

    /// A moment: a day, a second, a month or a year.
    fn moment(&mut self) -> &'static str {
        self.chance.pick(&[
            "2023",
            "2023-12-31",
            "2024-01",
            "2024-01-01",
            "2024-06-15",
            "2024-06-15T12:00:00Z",
            // The same day everywhere: which zone a day without one is in is not laid down.
            "2024-06-15T13:30:00-02:00",
            "2025-03-01T08:15:30+01:00",
        ])
    }

    fn when(&mut self, members: &mut Map<String, Value>, point: &str, period: &str) {
        match self.chance.below(10) {
            0..=6 => {
                members.insert(point.into(), self.moment().into());
            }
            7..=8 => {
                let mut span = Map::new();
                if self.chance.percent(80) {
                    span.insert("start".into(), "2024-01-01".into());
                }
                if self.chance.percent(60) {
                    span.insert("end".into(), self.chance.pick(&["2024-03-31", "2025-06-30"]).into());
                }
                if !span.is_empty() {
                    members.insert(period.into(), Value::Object(span));
                }
            }
            _ => {}
        }
    }

    fn patient(&mut self, members: &mut Map<String, Value>, id: &str) {
        members.insert("name".into(), json!([{"family": self.family(), "given": [canary(id)]}]));
        self.word(members, "gender", &["female", "male"]);
        self.word(members, "birthDate", &["1980-05-05", "2001"]);
        if self.chance.percent(50) {
            let practitioner = [
                (50, "Practitioner/dr1"),
                (10, "https://gw.test/fhir/Practitioner/dr1"),
                (20, "Practitioner/dr2"),
                (10, "Practitioner/dr1x"),
                (10, "Organization/dr1"),
            ];
            members.insert(
                "generalPractitioner".into(),
                json!([{"reference": self.chance.weighted(&practitioner)}]),
            );
        }
        if self.chance.percent(25) {
            let other = self.patient_reference();
            members.insert("link".into(), json!([{"other": other, "type": "seealso"}]));
        }
    }

    fn binary(&mut self, members: &mut Map<String, Value>, marker: &str) {
        members.insert("contentType".into(), "text/plain".into());
        if self.chance.percent(60) {
            let reference = if self.chance.percent(80) {
                self.patient_reference()
            } else {
                json!({"reference": "Observation/o1"})
            };
            members.insert("securityContext".into(), reference);
        }
        members.insert("data".into(), marker.into());
    }

    fn device(&mut self, members: &mut Map<String, Value>) {
        self.word(members, "status", &["active", "inactive"]);
        if self.chance.percent(60) {
            members.insert("patient".into(), self.patient_reference());
        }
    }

    fn group(&mut self, members: &mut Map<String, Value>) {
        members.insert("type".into(), "person".into());
        let count = self.chance.below(3);
        let list: Vec<_> = (0..count).map(|_| json!({"entity": self.patient_reference()})).collect();
        if !list.is_empty() {
            members.insert("member".into(), list.into());
        }
    }

    fn provenance(&mut self, members: &mut Map<String, Value>) {
        let count = 1 + self.chance.below(2);
        let targets: Vec<_> = (0..count)
            .map(|_| {
                if self.chance.percent(60) {
                    self.patient_reference()
                } else {
                    json!({"reference": "Observation/o1"})
                }
            })
            .collect();
        members.insert("target".into(), targets.into());
        members.insert("agent".into(), json!([{"who": {"reference": "Practitioner/dr1"}}]));
    }

    fn clinical(&mut self, members: &mut Map<String, Value>, kind: &str) {
        let whose = if kind == "AllergyIntolerance" { "patient" } else { "subject" };
        if self.chance.percent(95) {
            members.insert(whose.into(), self.patient_reference());
        }
        if self.chance.percent(25) {
            let (name, person) = match kind {
                "AllergyIntolerance" => (self.chance.pick(&["recorder", "asserter"]), self.person()),
                "Condition" => (self.chance.pick(&["asserter", "recorder"]), self.person()),
                "List" => ("source", self.person()),
                "DocumentReference" => ("author", json!([self.person()])),
                "Composition" if self.chance.percent(30) => {
                    ("attester", json!([{"mode": "legal", "party": self.person()}]))
                }
                "Composition" => ("author", json!([self.person()])),
                "Encounter" => ("participant", json!([{"individual": self.person()}])),
                "MedicationRequest" => ("performer", self.person()),
                _ if self.chance.percent(20) => ("focus", json!([self.person()])),
                _ => ("performer", json!([self.person()])),
            };
            members.insert(name.into(), person);
        }
        if self.chance.percent(80) {
            match kind {
                "Composition" | "Condition" | "MedicationRequest" | "Observation" => {
                    members.insert("encounter".into(), self.encounter_reference());
                }
                "DocumentReference" => {
                    members.insert("context".into(), json!({"encounter": [self.encounter_reference()]}));
                }
                _ => {}
            }
        }
        self.coded(members, kind);
    }

    fn coded(&mut self, members: &mut Map<String, Value>, kind: &str) {
        let category = |code: &str| json!({"coding": [{"system": CATEGORIES, "code": code}]});
        if kind == "AllergyIntolerance" {
            members.insert("category".into(), json!([self.chance.pick(&["food", "medication"])]));
        } else if kind != "Encounter" && kind != "List" {
            let code = self.chance.pick(&["laboratory", "vital-signs", "survey"]);
            let mut categories = vec![category(code)];
            if self.chance.percent(15) {
                categories.push(category("survey"));
            }
            if self.chance.percent(90) {
                members.insert("category".into(), categories.into());
            }
        }
        match kind {
            "AllergyIntolerance" | "Condition" => {
                let status = self.chance.pick(&["active", "resolved"]);
                members.insert(
                    "clinicalStatus".into(),
                    json!({"coding": [{"system": "urn:clinical", "code": status}]}),
                );
                self.code(members, "code");
                self.when(members, "recordedDate", "onsetPeriod");
            }
            "Encounter" => {
                self.word(members, "status", &["in-progress", "finished"]);
                members.insert(
                    "class".into(),
                    json!({"system": "urn:class", "code": self.chance.pick(&["AMB", "IMP"])}),
                );
                self.when(members, "x", "period");
                members.remove("x");
            }
            "MedicationRequest" => {
                self.word(members, "status", &["active", "completed"]);
                self.word(members, "intent", &["order", "plan"]);
                members.insert("authoredOn".into(), self.moment().into());
            }
            "Observation" => {
                self.word(members, "status", &["final", "preliminary", "entered-in-error"]);
                self.code(members, "code");
                self.when(members, "effectiveDateTime", "effectivePeriod");
                if self.chance.percent(40) {
                    let value = self.chance.pick(&[1.0, 5.0, 5.2, 9.0]);
                    members.insert(
                        "valueQuantity".into(),
                        json!({"value": value, "unit": "mg", "system": "http://unitsofmeasure.org", "code": self.chance.pick(&["mg", "g"])}),
                    );
                }
            }
            _ => {
                self.word(members, "status", &["current", "final"]);
                self.code(members, if kind == "List" { "code" } else { "type" });
                members.insert("date".into(), self.moment().into());
            }
        }
    }
}
