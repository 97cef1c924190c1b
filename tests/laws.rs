//! Laws of the pure rooms, tried on generated requests and answers.
//!
//! The generators do not know what the rooms know: what may be shown is worked out here a second time, naively, over
//! the whole document, and the two must agree.

#![cfg(test)]

#[path = "release/setting.rs"]
#[expect(dead_code, reason = "the tables use the rest")]
mod setting;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pforte::fhir::Format;
use pforte::fhir::outline::{Limits, Outline};
use pforte::gateway::Route;
use pforte::release::Answer;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use setting::*;

const TYPES: [&str; 6] = ["Observation", "Patient", "Condition", "Encounter", "Practitioner", "Bundle"];

/// Scopes for some of the types, with some of the letters.
fn scopes() -> impl Strategy<Value = Vec<String>> {
    let types = select(vec!["Observation", "Patient", "Condition", "Encounter", "Bundle", "*"]);
    let letters = select(vec!["r", "s", "rs", "c", "u", "d", "cud", "cruds", "us", "ds", "cs"]);
    let level = select(vec!["system", "user", "patient"]);
    prop::collection::vec((level, types, letters).prop_map(|(l, t, x)| format!("{l}/{t}.{x}")), 0..5)
}

/// Whether these scopes show resources of a type: the rule once more, in one line.
fn sees(scopes: &[String], name: &str) -> bool {
    scopes.iter().filter(|scope| !scope.starts_with("patient/")).any(|scope| {
        let (types, letters) = scope.split_once('/').and_then(|(_, rest)| rest.split_once('.')).unwrap();
        (types == "*" || types == name) && letters.contains(['r', 's'])
    })
}

#[derive(Debug, Clone)]
enum Held {
    Plain(&'static str),
    Nested(Vec<Held>),
    Parameters(Vec<Held>),
    Warning(&'static str),
}

fn held() -> impl Strategy<Value = Held> {
    let leaf = prop_oneof![
        8 => select(TYPES[..5].to_vec()).prop_map(Held::Plain),
        1 => select(vec!["outcome", "match", "include"]).prop_map(Held::Warning),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Held::Nested),
            prop::collection::vec(inner, 0..3).prop_map(Held::Parameters),
        ]
    })
}

fn write(held: &Held, format: Format, id: usize) -> String {
    let inside = |items: &[Held]| -> Vec<String> {
        items.iter().enumerate().map(|(at, inner)| write(inner, format, id * 10 + at)).collect()
    };
    match held {
        Held::Plain(name) => resource(format, name, &format!("i{id}")),
        Held::Warning(_) => outcome(format, "a warning"),
        Held::Nested(items) => {
            let entries: Vec<_> = inside(items).iter().map(|inner| entry(format, inner, "match")).collect();
            bundle(format, "collection", "", &entries)
        }
        Held::Parameters(items) => {
            let parts: Vec<_> = inside(items)
                .iter()
                .map(|inner| match format {
                    Format::Json => format!(r#"{{"name":"p","resource":{inner}}}"#),
                    Format::Xml => {
                        format!(r#"<parameter><name value="p"/><resource>{inner}</resource></parameter>"#)
                    }
                })
                .collect();
            match format {
                Format::Json => format!(
                    r#"{{"resourceType":"Parameters","id":"i{id}","parameter":[{}]}}"#,
                    parts.join(",")
                ),
                Format::Xml => format!(
                    r#"<Parameters xmlns="http://hl7.org/fhir"><id value="i{id}"/>{}</Parameters>"#,
                    parts.concat()
                ),
            }
        }
    }
}

/// Whether all of it may be shown.
fn may_be_shown(held: &Held, scopes: &[String]) -> bool {
    match held {
        Held::Plain(name) => sees(scopes, name),
        Held::Nested(items) => {
            sees(scopes, "Bundle") && items.iter().all(|inner| may_be_shown(inner, scopes))
        }
        Held::Parameters(items) => items.iter().all(|inner| may_be_shown(inner, scopes)),
        Held::Warning(_) => true,
    }
}

/// Each entry of a bundle, to the byte.
fn entries(body: &str, format: Format) -> Vec<String> {
    let outline = Outline::read(body.as_bytes(), format, Limits::default()).unwrap();
    outline
        .bundle()
        .unwrap()
        .entries
        .iter()
        .map(|entry| body.get(entry.range.clone()).unwrap().to_owned())
        .collect()
}

/// Every resource in a value that is none that its holder contains: wherever a reader could find one.
fn foreign(value: &Value, scopes: &[String], found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(name)) = members.get("resourceType") {
                let carrier = matches!(name.as_str(), "OperationOutcome" | "Parameters");
                if !carrier && !sees(scopes, name) {
                    found.push(name.clone());
                }
            }
            members.values().for_each(|inner| foreign(inner, scopes, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| foreign(inner, scopes, found)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// Values as a hostile backend might write them: FHIR's names in and out of their places.
fn hostile() -> impl Strategy<Value = Value> {
    let named = |name: &str| json!({"resourceType": name, "id": "1"});
    let leaf = prop_oneof![
        4 => select(TYPES.to_vec()).prop_map(named),
        1 => Just(json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "x"}]})),
        1 => select(vec![json!(null), json!(1), json!("x"), json!([]), json!({})]),
    ];
    leaf.prop_recursive(5, 48, 4, move |inner| {
        let items = prop::collection::vec(inner.clone(), 0..4);
        let kind = select(vec!["searchset", "history", "batch-response", "collection", "document", "batch", ""]);
        let entry = (items.clone(), select(vec!["match", "include", "outcome"])).prop_map(|(resources, mode)| {
            let mut entry = json!({"search": {"mode": mode}});
            if let Some(first) = resources.first() {
                entry["resource"] = first.clone();
            }
            if let Some(second) = resources.get(1) {
                entry["response"] = json!({"status": "200", "outcome": second});
            }
            entry
        });
        prop_oneof![
            6 => (kind, prop::collection::vec(entry, 0..4), prop::option::weighted(0.1, inner.clone())).prop_map(
                |(kind, entries, issues)| {
                    let mut bundle = json!({"resourceType": "Bundle", "id": "1", "type": kind, "entry": entries, "total": 3});
                    if let Some(issues) = issues {
                        bundle["issues"] = issues;
                    }
                    bundle
                }
            ),
            3 => items.clone().prop_map(|resources| {
                let parts: Vec<_> = resources.iter().map(|it| json!({"name": "p", "part": [{"name": "q", "resource": it}]})).collect();
                json!({"resourceType": "Parameters", "id": "1", "parameter": parts})
            }),
            1 => (inner.clone(), select(TYPES.to_vec())).prop_map(|(it, name)| {
                json!({"resourceType": "Bundle", "type": "searchset", "id": name, "contained": [it]})
            }),
            1 => items.prop_map(|contained| {
                json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "x"}], "contained": contained})
            }),
        ]
    })
}

/// Requests whose answers show something, and a write.
const ASKED: [&str; 8] = [
    "Observation?code=x",
    "Observation/1",
    "Bundle/1",
    "Observation/_history",
    "Patient/1/$everything",
    "?_type=Observation",
    "Composition/1/$document",
    "Observation/1/_history",
];

/// Every interaction, for laws of decisions.
const REQUESTS: [(&str, &str); 22] = [
    ("GET", "Observation/1"),
    ("HEAD", "Observation/1"),
    ("GET", "Observation/1/_history/2"),
    ("GET", "Observation/1/_history"),
    ("GET", "Observation/_history"),
    ("GET", "_history"),
    ("GET", "Observation?code=x&_include=Observation:subject"),
    ("GET", "Observation?subject.name=x"),
    ("GET", "Observation?subject:Patient.name=x"),
    ("GET", "Patient?_has:Observation:patient:code=x"),
    ("GET", "Observation?_sort=-date&_count=3&_total=accurate"),
    ("GET", "?_type=Observation,Patient"),
    ("GET", ""),
    ("GET", "Patient/1/Observation?code=a+b"),
    ("GET", "Patient/1/*"),
    ("GET", "Patient/1/$everything?_since=2020"),
    ("GET", "Observation/$lastn?max=1"),
    ("GET", "$export"),
    ("DELETE", "Observation/1"),
    ("DELETE", "Observation?code=x"),
    ("POST", "Observation"),
    ("PUT", "Observation?code=x"),
];

fn ask<'a>(scope: &'a str, (method, target): (&'a str, &'a str)) -> Ask<'a> {
    let body = if matches!(method, "POST" | "PUT") { r#"{"resourceType":"Observation"}"# } else { "" };
    Ask { method, ..post(scope, target, body) }
}

fn holds_no_foreign(
    route: &Route,
    scopes: &[String],
    target: &str,
    body: &Value,
) -> Result<(), TestCaseError> {
    let scope = scopes.join(" ");
    let Ok(passage) = passed(route, &get(&scope, target)) else { return Ok(()) };
    if passage.duties.admit == pforte::policy::Admit::All {
        return Ok(());
    }
    let Ok(shown) = released(route, &passage, ok(&body.to_string())) else { return Ok(()) };
    let mut body = shown.json();
    if body["resourceType"] == "Bundle" && !target.starts_with("Bundle/") {
        // The list that was asked for is no resource of its own.
        body["resourceType"] = Value::Null;
    }
    let mut found = Vec::new();
    foreign(&body, scopes, &mut found);
    prop_assert!(found.is_empty(), "{} {}: {:?} in {}", scope, target, found, shown.body);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// `release` shows exactly the entries that may be shown, as they were and in their order.
    #[test]
    fn what_is_released_is_what_may_be_shown(items in prop::collection::vec(held(), 0..6), mut scopes in scopes()) {
        scopes.push("system/Observation.s".to_owned());
        let scope = scopes.join(" ");
        for format in BOTH {
            let given: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    // A match of a type that nobody searched would go (SRCH-28); what comes along may be any.
                    let mode = match item {
                        Held::Warning(mode) => mode,
                        Held::Plain(name) if *name == "Observation" => "match",
                        Held::Nested(_) | Held::Parameters(_) | Held::Plain(_) => "include",
                    };
                    entry(format, &write(item, format, at + 1), mode)
                })
                .collect();
            let body = bundle(format, "searchset", "", &given);
            let shown = shown(&route(), &get(&scope, "Observation?code=x"), ok(&body));
            let shown = shown.map_err(TestCaseError::fail)?;
            if shown.streamed {
                prop_assert_eq!(shown.body, body);
                continue;
            }
            let kept = |item: &Held| match item {
                Held::Warning(mode) => *mode == "outcome",
                Held::Nested(_) | Held::Parameters(_) | Held::Plain(_) => may_be_shown(item, &scopes),
            };
            let left: Vec<_> = items.iter().zip(&given).filter(|(item, _)| kept(item)).collect();
            let out = entries(&shown.body, format);
            prop_assert_eq!(out.len(), left.len(), "{} made of {} under {}", shown.body, body, scope);
            for (out, (item, given)) in out.iter().zip(left) {
                // Outcomes are said anew; everything else is the same to the byte.
                prop_assert!(matches!(item, Held::Warning(_)) || out == given, "{} made of {}", out, given);
            }
        }
    }

    /// Whatever a backend sends, nothing of a type outside the grant leaves.
    #[test]
    fn nothing_foreign_leaves(body in hostile(), scopes in scopes(), target in select(ASKED.to_vec())) {
        holds_no_foreign(&route(), &scopes, target, &body)?;
        let scopes = vec!["system/Observation.rs".to_owned(), "system/Composition.r".to_owned()];
        holds_no_foreign(&route(), &scopes, target, &body)?;
        let scopes = [scopes, vec!["system/Patient.rs".to_owned(), "system/Bundle.r".to_owned()]].concat();
        holds_no_foreign(&route(), &scopes, target, &body)?;
    }

    /// The same for the answers of a batch.
    #[test]
    fn nothing_foreign_leaves_in_a_batch(parts in prop::collection::vec((hostile(), hostile(), select(vec!["200 OK", "404", "201", "304", "x"])), 1..4)) {
        let scopes = vec!["system/Observation.crs".to_owned()];
        let urls = ["Observation?code=x", "Observation/1", "Observation/$lastn"];
        let entries: Vec<_> = parts.iter().zip(urls).map(|(_, url)| json!({"request": {"method": "GET", "url": url}})).collect();
        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string();
        let answers: Vec<_> = parts
            .iter()
            .zip(urls)
            .map(|((resource, outcome, status), _)| {
                json!({"resource": resource, "response": {"status": status, "outcome": outcome}})
            })
            .collect();
        let answer = json!({"resourceType": "Bundle", "type": "batch-response", "entry": answers}).to_string();
        if let Ok(shown) = shown(&route(), &post(&scopes[0], "", &batch), ok(&answer)) {
            let body = shown.json();
            prop_assert_eq!(body["entry"].as_array().map(Vec::len), Some(entries.len()));
            let mut found = Vec::new();
            foreign(&json!(body["entry"].as_array()), &scopes, &mut found);
            found.retain(|name| name != "Bundle");
            prop_assert!(found.is_empty(), "{:?} in {}", found, shown.body);
        }
    }

    /// Taking a scope away never turns a no into a yes.
    #[test]
    fn fewer_scopes_permit_less(scopes in scopes(), gone in any::<prop::sample::Index>()) {
        let route = route();
        let mut fewer = scopes.clone();
        if !fewer.is_empty() {
            fewer.remove(gone.index(fewer.len()));
        }
        let (all, fewer) = (scopes.join(" "), fewer.join(" "));
        for request in REQUESTS {
            let (before, after) = (passed(&route, &ask(&all, request)), passed(&route, &ask(&fewer, request)));
            prop_assert!(before.is_ok() || after.is_err(), "{:?}: `{}` no, `{}` yes", request, all, fewer);
        }
    }

    /// `confine` twice is the same as once: what was sent is what would be sent for it.
    #[test]
    fn what_is_confined_stays_as_it_is(scopes in scopes()) {
        let route = route();
        let scope = scopes.join(" ");
        for (method, target) in REQUESTS {
            let Ok(once) = passed(&route, &ask(&scope, (method, target))) else { continue };
            let once = once.outbound.map(|sent| sent.target().to_owned()).unwrap_or_default();
            let twice = passed(&route, &ask(&scope, (method, &once)));
            let twice = twice.map(|passage| passage.outbound.map(|sent| sent.target().to_owned()).unwrap_or_default());
            prop_assert_eq!(twice, Ok(once), "{} {} under {}", method, target, scope);
        }
    }

    /// No request makes anything panic.
    #[test]
    fn no_request_panics(
        method in "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|[A-Z]{1,8}",
        target in "[ -~]{0,60}|(Observation|Patient|_search|[$]export)?[/?&=_a-zA-Z0-9:.%$|,-]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..60),
        accept in "[ -~]{0,30}",
    ) {
        let route = route();
        let headers = fields(&[("accept", accept.trim()), ("content-type", "application/fhir+json"), ("prefer", accept.trim())]);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let _ = route.ask(&method, &format!("/fhir/{target}"), &headers);
        if let Ok(target) = pforte::fhir::Target::relative(&target)
            && let Ok(question) = route.ask_target(&method, target, &headers)
        {
            let caller = caller("system/*.cruds user/Patient.rs", "alice");
            let _ = route.before_body(&question, &caller);
            let _ = passage(&route, question, Bytes::from(body), &caller);
        }
    }

    /// No answer makes anything panic, and what is no FHIR is not shown.
    #[test]
    fn no_answer_panics(
        status in 100u16..600,
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            hostile().prop_map(|value| value.to_string().into_bytes()),
            (hostile(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
                let mut bytes = value.to_string().into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }),
        ],
        media in select(vec!["application/fhir+json", "application/fhir+xml", "text/html", ""]),
        location in "[!-~]{0,40}",
        request in select(REQUESTS.to_vec()),
        scope in select(vec!["system/*.cruds", "system/Observation.cruds", "system/Observation.cuds"]),
    ) {
        let route = route();
        let Ok(passage) = passed(&route, &ask(scope, request)) else { return Ok(()) };
        let headers: HeaderMap = fields(&[("content-type", media), ("location", &location), ("content-location", &location)]);
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
        if let Ok(shown) = released_bytes(&route, &passage, answer) {
            let readable = shown.body.is_empty()
                || shown.streamed
                || serde_json::from_str::<Value>(&shown.body).is_ok()
                || Outline::read(shown.body.as_bytes(), Format::Xml, Limits::default()).is_ok();
            prop_assert!(readable, "{}", shown.body);
        }
    }
}
