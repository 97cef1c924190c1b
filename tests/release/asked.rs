//! Criteria that only the backend can evaluate (contract §5): it is asked for the ids of its answer, and believed only
//! while it finds nothing for what nothing has.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pforte::policy::Question;
use pforte::release::{self, Answer};

use super::setting::*;

const SCOPE: &str = "system/Observation.rs?code:in=http://hl7.org/fhir/ValueSet/observation-vitalsignresult";

fn observations(ids: &[&str]) -> String {
    let entries: Vec<_> =
        ids.iter().map(|id| entry(JSON, &resource(JSON, "Observation", id), "match")).collect();
    bundle(JSON, "searchset", "", &entries)
}

fn answer(body: &str) -> Answer {
    let headers = fields(&[("content-type", "application/fhir+json")]);
    Answer { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
}

/// What the client gets of an answer, where the backend says of the ids what `of_ids` is, and of the impossible value
/// what `of_impossible` is.
fn seen(target: &str, body: &str, of_ids: (u16, &str), of_impossible: (u16, &str)) -> Result<String, String> {
    let route = route();
    let mut passage = passed(&route, &get(SCOPE, target)).unwrap();
    let questions = release::questions(&answer(body), &passage.duties, &route.terms(&passage, now()));
    assert_eq!(questions.len(), 2, "{questions:?}");
    for question in questions {
        let Question::Found(_, query) = &question else { panic!("{question:?}") };
        let (status, body) = if query.first("_id").is_some() { of_ids } else { of_impossible };
        let status = StatusCode::from_u16(status).unwrap();
        passage.facts.answered(question, status, &HeaderMap::new(), &Bytes::copy_from_slice(body.as_bytes()));
    }
    released_bytes(&route, &passage, answer(body))
        .map(|shown| shown.body)
        .map_err(|error| format!("{error:?}"))
}

/// SCOPE-48, SCOPE-51: what the backend confirms is shown, and nothing when it cannot be believed.
#[test]
fn the_backend_is_asked_and_not_believed_blindly() {
    let (both, first, none) = (observations(&["o1", "o2"]), observations(&["o1"]), observations(&[]));
    let refused = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    let table: &[(&str, (u16, &str), (u16, &str), &[&str])] = &[
        ("it finds one of two", (200, &first), (200, &none), &["o1"]),
        ("it finds both", (200, &both), (200, &none), &["o1", "o2"]),
        ("it refuses the impossible value", (200, &first), (400, refused), &["o1"]),
        ("it finds none", (200, &none), (200, &none), &[]),
        ("it ignores the parameter", (200, &both), (200, &both), &[]),
        ("it refuses the question", (400, refused), (400, refused), &[]),
        ("it fails", (500, ""), (200, &none), &[]),
        ("it cannot be read", (200, "{"), (200, &none), &[]),
        ("the impossible value fails", (200, &both), (500, ""), &[]),
    ];
    for (what, of_ids, of_impossible, expected) in table {
        let shown = seen("Observation", &both, *of_ids, *of_impossible).unwrap();
        let ids: Vec<_> =
            ["o1", "o2"].into_iter().filter(|id| shown.contains(&format!("\"id\":\"{id}\""))).collect();
        assert_eq!(ids, *expected, "{what}: {shown}");
    }
    let one = resource(JSON, "Observation", "o1");
    assert!(seen("Observation/o1", &one, (200, &first), (200, &none)).unwrap().contains("o1"));
    let hidden = seen("Observation/o1", &one, (200, &none), (200, &none)).unwrap_err();
    assert!(hidden.starts_with("Unmatched"), "{hidden}");
}

/// An old version is nothing that a search could find: such a criterion never holds for it.
#[test]
fn unasked_criteria_hold_of_nothing() {
    let route = route();
    let passage = passed(&route, &get(SCOPE, "Observation")).unwrap();
    let shown = released_bytes(&route, &passage, answer(&observations(&["o1"]))).unwrap();
    assert!(!shown.body.contains("o1"), "{}", shown.body);
}
