//! What a request may change, and whom that concerns: told by what is submitted and by what was found to be stored.

use crate::fhir::links::{self, Mapping, Mention, Patients};
use crate::fhir::{Body, FhirRequest, Format, Kind, Letter, ResourceType, only_reads};
use crate::policy::{Duties, EntryDuty, Facts, Need, Stored, Version};

/// What a request does to what the backend stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may change it: it is announced before it leaves.
    Changes,
    /// It changes nothing.
    Reads,
}

impl Effect {
    /// The effect of a request that was permitted.
    pub(super) fn of(request: &FhirRequest, needs: &[Need], duties: &Duties) -> Self {
        let changes = match request.body() {
            Body::Bundle(bundle) => bundle.entries.iter().zip(&duties.entries).any(|entry| match entry {
                (Ok(request), EntryDuty::Forward(permit)) => {
                    Self::of(request, permit.needs(), permit.duties()) == Self::Changes
                }
                (Ok(_) | Err(_), _) => false,
            }),
            Body::Empty | Body::Form(_) | Body::JsonPatch(_) | Body::Raw(_) | Body::Resource(_) => {
                let operates = request.kind() == Kind::Operation && !operation_reads(request, needs);
                request.kind().writes() || operates
            }
        };
        if changes { Self::Changes } else { Self::Reads }
    }
}

/// What is not known to only read may do anything. Policy asks for c where a document is to be stored.
fn operation_reads(request: &FhirRequest, needs: &[Need]) -> bool {
    let Some(name) = request.asked().found().operation.as_deref() else { return false };
    let stores = name == "$document" && needs.iter().any(|need| need.letters.contains(&Letter::Create));
    only_reads(name) && !stores
}

/// The patients that a request which changes something concerns, of a bundle by its entries.
pub(super) fn written(
    request: &FhirRequest,
    duties: &Duties,
    (facts, mapping): (&Facts, &Mapping),
) -> Vec<Mention> {
    let Body::Bundle(bundle) = request.body() else {
        let mut patients = Patients::default();
        one(request, duties, (facts, mapping), &mut patients);
        return patients.take();
    };
    let mut all = Vec::new();
    for (at, entry) in bundle.entries.iter().zip(&duties.entries).enumerate() {
        let (Ok(request), EntryDuty::Forward(permit)) = entry else { continue };
        if Effect::of(request, permit.needs(), permit.duties()) == Effect::Changes {
            let of_entry = written(request, permit.duties(), (facts, mapping));
            all.extend(of_entry.into_iter().map(|mention| Mention { entry: Some(at), ..mention }));
        }
    }
    all
}

fn one(
    request: &FhirRequest,
    duties: &Duties,
    (facts, mapping): (&Facts, &Mapping),
    patients: &mut Patients,
) {
    match request.body() {
        Body::Resource(document) => links::look(document.bytes(), document.format(), mapping, patients),
        Body::JsonPatch(patch) => {
            links::look(patch, Format::Json, mapping, patients);
            patched(patch, mapping, patients);
        }
        Body::Empty | Body::Form(_) | Body::Raw(_) | Body::Bundle(_) => {}
    }
    let found = request.asked().found();
    let id = duties.write.instance.as_deref().or(found.id.as_deref());
    if let (Some(resource), Some(id)) = (found.resource_type, id) {
        if resource == ResourceType::PATIENT {
            patients.refer(&format!("Patient/{id}"), mapping);
        }
        if let Some(Stored::Present(version)) = facts.stored(resource, id) {
            links::look(&version.body, version.format, mapping, patients);
        }
    }
}

/// The values of a JSON Patch stand beside the path that says what they are: any that reads as a reference counts.
fn patched(patch: &[u8], mapping: &Mapping, patients: &mut Patients) {
    let steps: Vec<serde_json::Value> = serde_json::from_slice(patch).unwrap_or_default();
    for value in steps.iter().filter_map(|step| step.get("value")?.as_str()) {
        patients.refer(value, mapping);
    }
}

/// The patients that content which is no FHIR is about, as far as deciding on it has told: by its `securityContext`, or by
/// the documents that it is attached to (OPS-40).
pub(super) fn of_binary(id: &str, facts: &Facts, mapping: &Mapping) -> Vec<Mention> {
    let mut versions: Vec<&Version> = facts.versions().filter(|version| tells_of(version, id)).collect();
    versions.sort_by(|one, two| (one.resource.as_str(), &one.id).cmp(&(two.resource.as_str(), &two.id)));
    let mut patients = Patients::default();
    for tree in versions.iter().filter_map(|version| version.tree()) {
        if let (Some("Patient"), Some(id)) = (tree.root().resource_type(), tree.root().id()) {
            patients.refer(&format!("Patient/{id}"), mapping);
        }
        for name in ["securityContext", "subject", "patient"] {
            for reference in tree.root().children(name).filter_map(|named| named.text("reference")) {
                patients.refer(reference, mapping);
            }
        }
    }
    patients.take()
}

/// Whether a version was looked at because of this Binary. A search that the backend did not keep to brings others.
fn tells_of(version: &Version, id: &str) -> bool {
    let attached = format!("Binary/{id}");
    let names = |text: &[u8]| memchr::memmem::find(text, attached.as_bytes()).is_some();
    version.resource.as_str() != "DocumentReference" || names(&version.body)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::fhir::{FhirVersion, Parameter, SearchQuery};
    use crate::policy::Question;

    /// OPS-40: a Binary is about whom its `securityContext` leads to, or the documents that have it.
    #[test]
    fn ops_40_whom_content_is_about() {
        let of = |name: &str| FhirVersion::R4.resource_type(name).unwrap();
        let stored = |name: &str, id: &str| Question::Stored(of(name), id.to_owned());
        let mut query = SearchQuery::default();
        query.push(Parameter::new("location", "Binary/b".to_owned()));
        let found = Question::Found(of("DocumentReference"), query);
        let binary = |context: &str| {
            format!(
                r#"{{"resourceType":"Binary","id":"b","securityContext":{{"reference":"{context}"}},"data":"eA=="}}"#
            )
        };
        let document = |id: &str, patient: &str, url: &str| {
            format!(
                r#"{{"resource":{{"resourceType":"DocumentReference","id":"{id}","subject":{{"reference":"Patient/{patient}"}},
                "author":[{{"reference":"Patient/writer"}}],"content":[{{"attachment":{{"url":"{url}"}}}}]}}}}"#
            )
        };
        let documents = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{},{}]}}"#,
            document("d1", "attached", "Binary/b"),
            document("d2", "other", "Binary/c")
        );
        let encounter = r#"{"resourceType":"Encounter","id":"e","subject":{"reference":"Patient/met"}}"#;
        type Answers = Vec<(Question, String)>;
        let table: [(Answers, &[&str]); 5] = [
            (vec![], &[]),
            (vec![(stored("Binary", "b"), binary("Patient/own"))], &["own"]),
            (
                vec![
                    (stored("Binary", "b"), binary("Encounter/e")),
                    (stored("Encounter", "e"), encounter.to_owned()),
                ],
                &["met"],
            ),
            (
                vec![
                    (stored("Binary", "b"), r#"{"resourceType":"Binary","id":"b"}"#.to_owned()),
                    (found, documents),
                ],
                &["attached"],
            ),
            (
                vec![(stored("Patient", "own"), r#"{"resourceType":"Patient","id":"own"}"#.to_owned())],
                &["own"],
            ),
        ];
        let mapping = Mapping::new(&["http://backend/fhir"], "https://gw.test/fhir").unwrap();
        for (answers, expected) in table {
            let mut facts = Facts::default();
            for (question, body) in &answers {
                let body = Bytes::copy_from_slice(body.as_bytes());
                facts.answered(question.clone(), StatusCode::OK, &HeaderMap::new(), &body);
            }
            let about: Vec<_> =
                of_binary("b", &facts, &mapping).into_iter().map(|mention| mention.id).collect();
            assert_eq!(about, expected, "{answers:?}");
        }
    }
}
