//! Whether narrowing a search at the backend narrows it (SRCH-18, COMP-15).
//!
//! Nothing is written and nothing of anybody is asked for: every search is for what cannot be there, so that whatever
//! it finds shows a parameter that was ignored. The gateway cuts out what a grant does not reach all the same; a
//! backend that ignores parameters makes answers slow and pages empty, one that refuses them makes searches fail.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::backend::{Fhir, server_part};
use super::constraints::some;
use super::probe::{Answer, Report};
use super::questions::{Proves, Question, UNKNOWN_ID, questions};
use crate::config::{CompartmentSearch, Settings};
use crate::fhir::ResourceType;

/// Asks whatever constrained grants will rest on.
pub(super) async fn narrowing(fhir: &Fhir<'_>, settings: &Settings, statement: &Value, report: &mut Report) {
    let patient = match fhir.read("Patient?_count=1").await {
        Ok(answer) if found(&answer).is_some() => {
            let id = answer.json().pointer("/entry/0/resource/id").and_then(Value::as_str).map(str::to_owned);
            id.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)))
        }
        Ok(answer) => {
            let status = answer.status;
            return report.misfit(format_args!(
                "`Patient?_count=1`: status {status}, no Bundle; check its credentials"
            ));
        }
        Err(problem) => return report.misfit(format_args!("`Patient?_count=1`: {problem}")),
    };
    match fhir.read("Patient?pforte-check=1").await.ok().map(|answer| (found(&answer), answer.status)) {
        Some((Some(_), _)) => report.note(
            "it ignores search parameters it does not know; misspelt ones find everything that the grant may see",
        ),
        Some((None, status)) => report.fits(format_args!("unknown search parameters are refused ({status})")),
        None => {}
    }
    match &patient {
        Some(id) => of_patient(fhir, id, report).await,
        None => report.note("it holds no Patient, so repeated parameters were not tried"),
    }
    parameters(fhir, &questions(settings, statement), report).await;
    compartments(fhir, (settings, statement), patient.as_deref(), report).await;
}

/// How much a search found, when the answer is a search result: the entries, or the total where it says more.
fn found(answer: &Answer) -> Option<u64> {
    let bundle = answer.json();
    if answer.status != 200 || bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return None;
    }
    let entries = bundle.get("entry").and_then(Value::as_array).into_iter().flatten();
    let matches = entries.filter(|entry| {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
        text("/resource/resourceType") != Some("OperationOutcome")
            && text("/search/mode").is_none_or(|mode| mode == "match")
    });
    let matches = u64::try_from(matches.count()).unwrap_or(u64::MAX);
    Some(bundle.get("total").and_then(Value::as_u64).unwrap_or(0).max(matches))
}

/// SRCH-18, SRCH-19: a repeated parameter is AND, or narrowing would widen. REST-13: a read tells its version.
async fn of_patient(fhir: &Fhir<'_>, id: &str, report: &mut Report) {
    let mut anded = true;
    for (first, second) in [(id, UNKNOWN_ID), (UNKNOWN_ID, id)] {
        let query = format!("Patient?_id={first}&_id={second}");
        match fhir.read(&query).await.ok().as_ref().and_then(found) {
            Some(0) => {}
            Some(_) => {
                anded = false;
                report.misfit(
                    "`Patient?_id=a&_id=b` finds a or b: it does not AND repeated parameters; use a server that does, \
                     narrowing rests on it",
                );
                break;
            }
            None => {
                anded = false;
                report.misfit(
                    "`Patient?_id=a&_id=b` is refused; use a server that ANDs repeated parameters, narrowing rests on it",
                );
                break;
            }
        }
    }
    if anded {
        report.fits("repeated search parameters are ANDed");
    }
    let Ok(answer) = fhir.read(&format!("Patient/{id}")).await else { return };
    let version = answer.headers.contains_key(http::header::ETAG)
        || answer.json().pointer("/meta/versionId").is_some_and(Value::is_string);
    if version {
        report.fits("reads tell the version that constrained writes will name");
    } else {
        report.misfit(
            "a read has neither `ETag` nor `meta.versionId`; switch versioning on: writes under a constrained grant \
             cannot be bound to what was checked",
        );
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    Accepted,
    Honoured,
    Ignored,
    Refused(u16),
    Unanswered(String),
}

/// Asks, and reports by parameter: one line for many types.
async fn parameters(fhir: &Fhir<'_>, questions: &[Question], report: &mut Report) {
    let mut came: BTreeMap<(Came, String), BTreeSet<ResourceType>> = BTreeMap::new();
    for question in questions {
        let outcome = match fhir.read(&format!("{}?{}", question.resource, question.query)).await {
            Ok(answer) => match (found(&answer), question.proves) {
                (Some(0), Proves::Honoured) => Came::Honoured,
                (Some(0), Proves::Accepted) => Came::Accepted,
                (Some(_), _) => Came::Ignored,
                (None, _) => Came::Refused(answer.status),
            },
            Err(problem) => Came::Unanswered(problem),
        };
        came.entry((outcome, question.name.clone())).or_default().insert(question.resource);
    }
    let mut honoured = Vec::new();
    for ((outcome, name), types) in &came {
        let types = some(types);
        match outcome {
            Came::Honoured => honoured.push(format!("`{name}`")),
            Came::Accepted => report.note(format_args!(
                "`{name}` of {types} is taken, and nothing shows that it is ignored; that it is honoured cannot be told \
                 without knowing the records"
            )),
            Came::Ignored => report.misfit(format_args!(
                "`{name}` of {types} finds something where nothing can be: it ignores the parameter; load its search \
                 parameters, or searches under a constraint by it fetch everything"
            )),
            Came::Refused(status) => report.misfit(format_args!(
                "`{name}` of {types} is answered with status {status}: it refuses this parameter; load its search \
                 parameters, or searches under a constraint by it fail"
            )),
            Came::Unanswered(problem) => {
                report.misfit(format_args!("`{name}` of {types}: {problem}"));
            }
        }
    }
    if !honoured.is_empty() {
        report.fits(format_args!("parameters that narrow are honoured: {}", honoured.join(", ")));
    }
}

/// Whether compartments are searched, whether the CapabilityStatement says so, and what the setting makes of it.
async fn compartments(
    fhir: &Fhir<'_>,
    (settings, statement): (&Settings, &Value),
    patient: Option<&str>,
    report: &mut Report,
) {
    let mut served = false;
    for id in std::iter::once(UNKNOWN_ID).chain(patient) {
        let Ok(answer) = fhir.read(&format!("Patient/{id}/Observation?_count=1")).await else { continue };
        match found(&answer) {
            Some(count) if count > 0 && id == UNKNOWN_ID => {
                return report.misfit(
                    "`Patient/id/Observation` of nobody finds something: it ignores the compartment; write \
                     `compartment_search = false` under `[backend]`",
                );
            }
            Some(_) => served = true,
            // Some servers have no compartment of a patient they do not know.
            None => {}
        }
    }
    let told = server_part(statement)
        .filter_map(|part| part.get("compartment")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .any(|url| url.split('|').next().unwrap_or(url).ends_with("/CompartmentDefinition/patient"));
    compartment_search(settings.backend.compartment_search, (served, told), report);
}

fn compartment_search(setting: CompartmentSearch, (served, told): (bool, bool), report: &mut Report) {
    const SEVERAL: &str =
        "types that belong to a patient by several parameters are asked for with one search each";
    match (setting, served, told) {
        (CompartmentSearch::Auto, true, true) => {
            report.fits("`Patient/id/Observation` is served and its CapabilityStatement says so: `\"auto\"` uses it");
        }
        (CompartmentSearch::Auto, true, false) => report.note(format_args!(
            "`Patient/id/Observation` is served, but `rest.compartment` of its CapabilityStatement does not say so: \
             `\"auto\"` does not use it and {SEVERAL}; `compartment_search = true` uses it"
        )),
        (CompartmentSearch::Auto, false, true) => report.misfit(
            "its CapabilityStatement lists the Patient compartment, but `Patient/id/Observation` is not served, and \
             `\"auto\"` would use it; write `compartment_search = false` under `[backend]`",
        ),
        (CompartmentSearch::Auto, false, false) => report.note(format_args!(
            "`Patient/id/Observation` is not served, and `\"auto\"` does not use it: {SEVERAL}"
        )),
        (CompartmentSearch::On, true, _) => report.fits("`Patient/id/Observation` is served"),
        (CompartmentSearch::On, false, _) => report.misfit(
            "`Patient/id/Observation` is not served; write `compartment_search = false` or `\"auto\"` under `[backend]`",
        ),
        (CompartmentSearch::Off, true, _) => report.note(format_args!(
            "`Patient/id/Observation` is served but switched off: {SEVERAL}; `compartment_search = true` uses it"
        )),
        (CompartmentSearch::Off, false, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::backend::backend;
    use crate::cli::check::probe::client;
    use crate::config::tests::settings_of;
    use crate::demo::fhir_server::{FhirServer, Misbehaviour, Options, Unknown};
    use crate::demo::trouble::Canned;

    fn settings(base: &str, on_backend: &str, more: &str) -> Settings {
        settings_of(&format!(
            "[server]\npublic_url = \"http://127.0.0.1/fhir\"\ninsecure_http = true\n\
             [backend]\nurl = \"{base}\"\n{on_backend}\n\
             [[authorization_server]]\nissuer = \"https://as.example\"\n{more}"
        ))
    }

    /// What a report on the demo's FHIR server says, and how much is to mend.
    async fn said(server: &FhirServer, on_backend: &str, more: &str) -> (usize, String) {
        let settings = settings(server.base(), on_backend, more);
        let http = client(None, None, settings.backend.timeout).expect("a client");
        let mut report = Report::default();
        backend(&http, &settings, &mut report).await;
        let mut out = Vec::new();
        report.print(&mut out).expect("written");
        (report.misfits(), String::from_utf8(out).expect("text"))
    }

    async fn demo(unknown: Unknown) -> FhirServer {
        FhirServer::start(Options { unknown, ..Options::default() }).await.expect("started")
    }

    const RULES: &str = "[patient]\nencounter = \"restrict\"\n\
        [[rule]]\nlimit = [\"Patient?general-practitioner={fhirUser}\", \"*?_security:not=R\"]\n\
        [[rule]]\nlimit = [\"Observation?subject:Patient.gender=male\", \"Observation?encounter:missing=false\"]\n\
        [discovery]\nscopes_supported = [\"patient/Observation.rs?category=laboratory&date=ge2020\", \
        \"patient/Observation.rs?value-quantity=5\", \"patient/DocumentReference.rs?location=x\"]\n";

    /// The demo's server does what constrained grants need, and nothing is written to find that out.
    #[tokio::test]
    async fn a_server_that_fits() {
        let server = demo(Unknown::Refuse).await;
        let (misfits, text) = said(&server, "", RULES).await;
        assert_eq!(misfits, 0, "{text}");
        let table = [
            "fits  repeated search parameters are ANDed",
            "fits  unknown search parameters are refused (400)",
            "fits  reads tell the version",
            "fits  versions are kept, and writes honour `If-Match`",
            "says so: `\"auto\"` uses it",
            "note  `subject:Patient.gender` of Observation is taken, and nothing shows",
            "note  `_security:not` of Account, ",
        ];
        for expected in table {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let honoured =
            text.lines().find(|line| line.contains("parameters that narrow are honoured")).unwrap_or("");
        for name in [
            "_id",
            "patient",
            "subject",
            "performer",
            "encounter",
            "general-practitioner",
            "encounter:missing",
            "category",
            "date",
            "value-quantity",
            "location",
        ] {
            assert!(honoured.contains(&format!("`{name}`")), "{name} is not in\n{honoured}");
        }
        assert!(server.log().iter().all(|seen| seen.method == http::Method::GET), "nothing but GET");
    }

    /// Each way to misfit is to mend, and says what.
    #[tokio::test]
    async fn servers_that_do_not_fit() {
        let server = demo(Unknown::Refuse).await;
        server.misbehave(Misbehaviour::IgnoreParameters);
        let (misfits, text) = said(&server, "", RULES).await;
        assert!(misfits > 5, "{text}");
        let table = [
            "MEND  `Patient?_id=a&_id=b` finds a or b: it does not AND repeated parameters",
            "MEND  `_id` of Patient finds something where nothing can be: it ignores the parameter",
            "MEND  `_security:not` of ",
            "MEND  `general-practitioner` of Patient finds something",
            "MEND  `category` of Observation finds something",
            "MEND  `encounter:missing` of Observation finds something",
            "note  it ignores search parameters it does not know",
        ];
        for expected in table {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let lenient = demo(Unknown::Ignore).await;
        let unheard = "[[rule]]\nlimit = [\"Observation?value-quantity=5\", \"Patient?phonetic=x\"]\n";
        let (misfits, text) = said(&lenient, "", unheard).await;
        assert_eq!(misfits, 1, "{text}");
        assert!(text.contains("MEND  `phonetic` of Patient finds something"), "{text}");
        let strict = demo(Unknown::Refuse).await;
        let (misfits, text) = said(&strict, "", unheard).await;
        assert_eq!(misfits, 1, "{text}");
        assert!(
            text.contains("MEND  `phonetic` of Patient is answered with status 400: it refuses"),
            "{text}"
        );
        server.behave();
        server.next(Misbehaviour::Answer(Canned::new(401, "")));
        let (misfits, text) = said(&server, "", "").await;
        assert_eq!(misfits, 1, "{text}");
        assert!(text.contains("`metadata` is refused with status 401"), "{text}");
    }

    /// COMP-15: what the setting makes of what is served and of what is told.
    #[test]
    fn compartment_searches() {
        use CompartmentSearch::{Auto, Off, On};
        let table = [
            (Auto, (true, true), 0, "fits  "),
            (Auto, (true, false), 0, "`compartment_search = true` uses it"),
            (Auto, (false, true), 1, "write `compartment_search = false`"),
            (Auto, (false, false), 0, "one search each"),
            (On, (true, false), 0, "fits  "),
            (On, (false, true), 1, "is not served"),
            (Off, (true, true), 0, "switched off"),
            (Off, (false, false), 0, ""),
        ];
        for (setting, known, misfits, expected) in table {
            let mut report = Report::default();
            compartment_search(setting, known, &mut report);
            let mut out = Vec::new();
            report.print(&mut out).expect("written");
            let text = String::from_utf8(out).expect("text");
            assert_eq!(report.misfits(), misfits, "{setting:?} {known:?}: {text}");
            assert!(text.contains(expected), "{setting:?} {known:?}: {text}");
        }
    }
}
