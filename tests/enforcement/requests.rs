//! Requests of every kind.

use pforte::fhir::Format;
use serde_json::Value;

use crate::ask::{Ask, Kind};
use crate::case::unreached;
use crate::chance::Chance;
use crate::naive::Grant;
use crate::queries::{self, Query};
use crate::records::Records;
use crate::world::TYPES;
use crate::writing::Pen;

/// The types that scopes name, so that requests are not all refused.
pub fn named_types(claims: &Value) -> Vec<&'static str> {
    let scope = claims.get("scope").and_then(Value::as_str).unwrap_or("");
    let named = |kind: &&&str| scope.contains(&format!("/{kind}."));
    TYPES.iter().chain(&["Binary", "Bundle"]).filter(named).copied().collect()
}

/// An id of the kind that references name.
pub fn id_of(chance: &mut Chance, kind: &str) -> &'static str {
    match kind {
        "Patient" => chance.weighted(&[(60, "p1"), (25, "p2"), (10, "p3"), (5, "p1x")]),
        "Encounter" => chance.weighted(&[(60, "e1"), (25, "e2"), (15, "e3")]),
        "Practitioner" => chance.pick(&["dr1", "dr2"]),
        _ => chance.pick(&["o1", "o2", "o3"]),
    }
}

/// Makes requests.
pub struct Requests<'c> {
    pub records: Records<'c>,
    /// The types to prefer.
    pub types: Vec<&'static str>,
    /// Who asks.
    pub grant: &'c Grant<'c>,
}

impl Requests<'_> {
    fn chance(&mut self) -> &mut Chance {
        self.records.chance
    }

    fn type_name(&mut self) -> &'static str {
        if !self.types.is_empty() && self.records.chance.percent(75) {
            return self.records.chance.pick(&self.types);
        }
        self.chance().pick(&TYPES)
    }

    /// A request of any kind.
    pub fn any(&mut self) -> Ask {
        let mut ask = match self.chance().below(100) {
            0..=6 => self.bundle(),
            7..=9 => self.operation(),
            10 => queries::cursor(self.chance()),
            11..=12 => self.system(),
            _ => self.likely(),
        };
        if ask.format == Format::Json && !ask.kind.is_bundle() && self.chance().percent(25) {
            ask.format = Format::Xml;
            ask = ask.header("accept", "application/fhir+xml");
        }
        if ask.method == "GET" && self.chance().percent(4) {
            ask.method = "HEAD";
        }
        ask
    }

    /// Mostly something that scopes cover: there is little to see in the rest.
    fn likely(&mut self) -> Ask {
        let mut ask = self.single();
        for _ in 0..12 {
            if !unreached(&ask, self.grant) || self.chance().percent(3) {
                break;
            }
            ask = self.single();
        }
        ask
    }

    /// One that may stand in a batch as well.
    fn single(&mut self) -> Ask {
        let kind = self.type_name();
        match self.chance().below(100) {
            0..=17 => self.read(kind),
            18..=23 => self.history(kind),
            24..=59 => self.search(kind),
            60..=67 => self.compartment(kind),
            68..=75 => self.create(kind),
            76..=84 => self.update(kind),
            85..=91 => self.patch(kind),
            92..=96 => self.delete(kind),
            _ => self.validate(kind),
        }
    }

    fn read(&mut self, kind: &'static str) -> Ask {
        let kind = if self.chance().percent(5) { "Binary" } else { kind };
        let id = id_of(self.chance(), kind);
        let mut ask = if self.chance().percent(15) {
            Ask::new(Kind::Vread, "GET", format!("{kind}/{id}/_history/7"))
        } else {
            Ask::new(Kind::Read, "GET", format!("{kind}/{id}"))
        };
        ask = ask.on(kind, id).needs("r");
        match self.chance().below(20) {
            // As the answer will have it: the first that is made for it has the first marker.
            0 => ask.header("if-none-match", "W/\"zqmk0001qz\""),
            1 => ask.header("if-modified-since", "Sat, 01 Jun 2024 10:00:00 GMT"),
            2 if kind == "Binary" => ask.header("accept", "text/plain"),
            _ => ask,
        }
    }

    fn history(&mut self, kind: &'static str) -> Ask {
        if self.chance().percent(50) {
            return Ask::new(Kind::HistoryType, "GET", format!("{kind}/_history")).on(kind, "").needs("s");
        }
        let id = id_of(self.chance(), kind);
        Ask::new(Kind::HistoryInstance, "GET", format!("{kind}/{id}/_history")).on(kind, id).needs("r")
    }

    fn system(&mut self) -> Ask {
        if self.chance().percent(30) {
            return Ask::new(Kind::HistorySystem, "GET", "_history".into());
        }
        let mut ask = Ask::new(Kind::SearchSystem, "GET", String::new());
        let mut query = Query::default();
        if self.chance().percent(70) {
            let count = 1 + self.chance().below(2);
            let named: Vec<_> = (0..count).map(|_| self.type_name()).collect();
            query.push(format!("_type={}", named.join(",")));
            ask.needs = named.iter().map(|kind| ((*kind).to_owned(), "s")).collect();
            query.searched = named.iter().map(|kind| (*kind).to_owned()).collect();
        }
        if self.chance().percent(40) {
            query.push("_tag=a".into());
        }
        queries::finish(ask, query, self.chance())
    }

    fn search(&mut self, kind: &'static str) -> Ask {
        let query = queries::query(self.chance(), kind);
        let ask = Ask::new(Kind::SearchType, "GET", kind.into()).on(kind, "").needs("s");
        queries::finish(ask, query, self.chance())
    }

    fn compartment(&mut self, kind: &'static str) -> Ask {
        let anchors =
            ["Patient/p1", "Patient/p1", "Patient/p1", "Patient/p2", "Encounter/e1", "Practitioner/dr1"];
        let anchor = self.chance().pick(&anchors);
        if self.chance().percent(15) {
            return Ask::new(Kind::SearchCompartment, "GET", format!("{anchor}/*"));
        }
        let query = queries::query(self.chance(), kind);
        let ask =
            Ask::new(Kind::SearchCompartment, "GET", format!("{anchor}/{kind}")).on(kind, "").needs("s");
        queries::finish(ask, query, self.chance())
    }

    fn operation(&mut self) -> Ask {
        let operation = |name, target: String| Ask::new(Kind::Operation(name), "GET", target);
        let patient = self.chance().pick(&[
            "",
            "?patient=Patient/p1",
            "?patient=p1",
            "?patient=Patient/p2",
            "?subject=Patient/p2",
        ]);
        let mut ask = match self.chance().below(6) {
            0 | 1 => {
                let kind = self.chance().pick(&["Patient", "Patient", "Encounter"]);
                let id = id_of(self.chance(), kind);
                let more = self.chance().pick(&["", "?_type=Observation,Condition", "?_count=5"]);
                operation("$everything", format!("{kind}/{id}/$everything{more}")).on(kind, id).needs("rs")
            }
            2 => operation("$lastn", format!("Observation/$lastn{patient}")).on("Observation", "").needs("s"),
            3 => {
                let kind = "DocumentReference";
                operation("$docref", format!("{kind}/$docref{patient}")).on(kind, "").needs("s")
            }
            4 => operation("$document", "Composition/o1/$document".into()).on("Composition", "o1").needs("r"),
            _ => {
                let kind = self.type_name();
                let id = id_of(self.chance(), kind);
                operation("$meta", format!("{kind}/{id}/$meta")).on(kind, id).needs("r")
            }
        };
        ask.query.names_another = ask.target.contains("=Patient/p2");
        ask
    }

    /// A resource to be sent, with what a client sees fit for it.
    fn submitted(&mut self, ask: Ask, value: &Value) -> Ask {
        let pen = Pen::plain(if self.chance().percent(20) { Format::Xml } else { Format::Json });
        let mut ask = Ask { body: pen.resource(value), submitted: Some(value.clone()), ..ask };
        if self.chance().percent(4) {
            self.double(&mut ask, pen);
        }
        ask = ask.header("content-type", pen.format.media_type());
        if self.chance().percent(15) {
            let prefer =
                self.chance().pick(&["return=representation", "return=minimal", "return=OperationOutcome"]);
            ask = ask.header("prefer", prefer);
        }
        ask
    }

    /// Says a thing twice that can be said once: as it is, and otherwise.
    fn double(&mut self, ask: &mut Ask, pen: Pen) {
        let Some(sent) = ask.submitted.clone() else { return };
        let other = self.records.patient_reference();
        let members = [("subject", other), ("status", "other".into())];
        let (member, other) = &members[self.chance().below(members.len())];
        if sent.get(*member).is_none() || sent[*member] == *other {
            return;
        }
        ask.body = pen.doubled(&sent, member, other);
        let mut second = sent;
        second[*member] = other.clone();
        ask.otherwise = Some(second);
    }

    fn create(&mut self, kind: &'static str) -> Ask {
        let id = if self.chance().percent(30) { id_of(self.chance(), kind) } else { "new" };
        let (mut value, _) = self.records.resource(kind, id);
        if self.chance().percent(50) {
            value.as_object_mut().expect("an object").shift_remove("id");
        }
        let ask = Ask::new(Kind::Create, "POST", kind.into()).on(kind, "").needs("c");
        let mut ask = self.submitted(ask, &value);
        if self.chance().percent(20) {
            ask.kind = Kind::ConditionalCreate;
            ask = ask.header("if-none-exist", "identifier=urn:x|i1").needs("s");
        } else if self.chance().percent(5) {
            let (provenance, _) = self.records.resource("Provenance", "new");
            ask = ask.header("x-provenance", provenance.to_string());
            ask.needs.push(("Provenance".into(), "c"));
        }
        ask
    }

    fn update(&mut self, kind: &'static str) -> Ask {
        let id = id_of(self.chance(), kind);
        let (value, _) = self.records.resource(kind, id);
        if self.chance().percent(20) {
            let target = format!("{kind}?identifier=urn:x%7Ci1");
            let ask = Ask::new(Kind::ConditionalUpdate, "PUT", target).on(kind, "").needs("u").needs("s");
            return self.submitted(ask, &value);
        }
        let ask = Ask::new(Kind::Update, "PUT", format!("{kind}/{id}")).on(kind, id).needs("u");
        let ask = self.submitted(ask, &value);
        self.with_version(ask)
    }

    fn with_version(&mut self, ask: Ask) -> Ask {
        match self.chance().below(12) {
            0 => ask.header("if-match", "W/\"7\""),
            1 => ask.header("if-match", "W/\"999\""),
            2 if ask.method == "PUT" => ask.header("if-none-match", "*"),
            _ => ask,
        }
    }

    fn patch(&mut self, kind: &'static str) -> Ask {
        let (id, mut ask) = if self.chance().percent(20) {
            let target = format!("{kind}?identifier=urn:x%7Ci1");
            ("", Ask::new(Kind::ConditionalPatch, "PATCH", target))
        } else {
            let id = id_of(self.chance(), kind);
            (id, Ask::new(Kind::Patch, "PATCH", format!("{kind}/{id}")))
        };
        ask = ask.on(kind, id);
        ask.needs = if id.is_empty() {
            vec![(kind.into(), "u"), (kind.into(), "s")]
        } else {
            vec![(kind.into(), "u")]
        };
        let whose = if kind == "AllergyIntolerance" { "patient" } else { "subject" };
        let other = self.chance().pick(&["Patient/p1", "Patient/p2", "urn:uuid:1"]);
        let (path, value): (&'static [&'static str], Value) = match self.chance().below(4) {
            0 if whose == "patient" => (&["patient"], serde_json::json!({"reference": other})),
            0 => (&["subject"], serde_json::json!({"reference": other})),
            1 => (&["encounter"], serde_json::json!({"reference": "Encounter/e2"})),
            2 => (&["language"], "de".into()),
            _ => (&["status"], "final".into()),
        };
        let pen = Pen::plain(Format::Json);
        if self.chance().percent(70) {
            let operations =
                serde_json::json!([{"op": "add", "path": format!("/{}", path.join("/")), "value": value}]);
            ask.body = operations.to_string();
            ask = ask.header("content-type", "application/json-patch+json");
        } else {
            ask.body = pen.resource(&fhir_patch(kind, path[0], &value));
            ask = ask.header("content-type", pen.format.media_type());
        }
        ask.patch = Some((path, value));
        self.with_version(ask)
    }

    fn delete(&mut self, kind: &'static str) -> Ask {
        if self.chance().percent(20) {
            let target = format!("{kind}?identifier=urn:x%7Ci1");
            return Ask::new(Kind::ConditionalDelete, "DELETE", target).on(kind, "").needs("d").needs("s");
        }
        let id = id_of(self.chance(), kind);
        let ask = Ask::new(Kind::Delete, "DELETE", format!("{kind}/{id}")).on(kind, id).needs("d");
        self.with_version(ask)
    }

    fn validate(&mut self, kind: &'static str) -> Ask {
        let (value, _) = self.records.resource(kind, "new");
        let ask = Ask::new(Kind::Validate, "POST", format!("{kind}/$validate")).on(kind, "").needs("cu");
        self.submitted(ask, &value)
    }

    fn bundle(&mut self) -> Ask {
        let transaction = self.chance().percent(45);
        let (kind, name) =
            if transaction { (Kind::Transaction, "transaction") } else { (Kind::Batch, "batch") };
        let count = 1 + self.chance().below(4);
        let mut entries: Vec<Ask> = (0..count)
            .map(|_| {
                let mut ask = self.likely();
                while matches!(ask.kind, Kind::SearchCompartment | Kind::Validate)
                    || ask.headers.iter().any(|(name, _)| *name == "x-provenance")
                    || ask.otherwise.is_some()
                    || ask.resource == "Binary"
                    || ask.method == "POST" && ask.kind.searches()
                {
                    ask = self.likely();
                }
                ask
            })
            .collect();
        let urn = "urn:uuid:5f2b1c1e-6f1c-4a43-9d5e-2f6f3a1d1c55";
        let written: Vec<String> = self.entries(&mut entries, transaction, urn);
        let mut ask = Ask::new(kind, "POST", String::new());
        ask.body = format!(r#"{{"resourceType":"Bundle","type":"{name}","entry":[{}]}}"#, written.join(","));
        ask.entries = entries;
        ask.header("content-type", "application/fhir+json")
    }

    /// The entries as they are sent. In some, `Patient/p1` is put under a urn that another entry refers to.
    fn entries(&mut self, entries: &mut Vec<Ask>, transaction: bool, urn: &str) -> Vec<String> {
        let mut written = Vec::new();
        if transaction && self.chance().percent(30) {
            let known = self.chance().percent(60);
            let (patient, _) = self.records.resource("Patient", "p1");
            let (method, target, resolved) =
                if known { ("PUT", "Patient/p1", "Patient/p1") } else { ("POST", "Patient", "Patient/new") };
            let kind = if known { Kind::Update } else { Kind::Create };
            let mut put = Ask::new(kind, method, target.into()).on("Patient", if known { "p1" } else { "" });
            put = put.needs(if known { "u" } else { "c" });
            put.submitted = Some(patient.clone());
            written.push(entry(&put, Some(&patient), Some(urn)));
            entries.retain(|ask| matches!(ask.kind, Kind::Create | Kind::Update));
            for ask in entries.iter_mut() {
                let asked = refer(ask, urn, resolved);
                written.push(entry(ask, Some(&asked), None));
            }
            entries.insert(0, put);
            return written;
        }
        entries.iter().map(|ask| entry(ask, ask.submitted.as_ref(), None)).collect()
    }
}

/// Puts a urn in place of the subject of what is sent, which the laws know resolved.
fn refer(ask: &mut Ask, urn: &str, resolved: &str) -> Value {
    let mut asked = ask.submitted.clone().expect("content");
    if let Some(sent) = ask.submitted.as_mut().filter(|sent| sent.get("subject").is_some()) {
        asked["subject"] = serde_json::json!({"reference": urn});
        sent["subject"] = serde_json::json!({"reference": resolved});
    }
    asked
}

/// A FHIRPath Patch that replaces one element.
fn fhir_patch(kind: &str, name: &str, value: &Value) -> Value {
    let typed = if value.is_object() { "valueReference" } else { "valueCode" };
    serde_json::json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": format!("{kind}.{name}")},
        {"name": "value", typed: value}]}]})
}

/// An entry of a batch.
fn entry(ask: &Ask, sent: Option<&Value>, full_url: Option<&str>) -> String {
    let mut request = serde_json::json!({"method": ask.method, "url": ask.target});
    let members =
        [("if-match", "ifMatch"), ("if-none-match", "ifNoneMatch"), ("if-none-exist", "ifNoneExist")];
    for (name, member) in members {
        if let Some((_, value)) = ask.headers.iter().find(|(header, _)| *header == name) {
            request[member] = value.clone().into();
        }
    }
    let mut entry = serde_json::Map::new();
    if let Some(url) = full_url {
        entry.insert("fullUrl".into(), url.into());
    }
    let patch = ask.patch.as_ref().map(|(path, value)| fhir_patch(&ask.resource, path[0], value));
    if let Some(resource) = patch.as_ref().or(sent) {
        entry.insert("resource".into(), resource.clone());
    }
    entry.insert("request".into(), request);
    Value::Object(entry).to_string()
}
