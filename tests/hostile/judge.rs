//! What is held against every answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::backend::Seen;
use crate::case::{Asked, Case};
use crate::fixture::{NUMBER, VICTIM};
use crate::house::House;
use crate::wire::{Answer, Protocol};

/// Fields of a client's that may reach the backend as they are.
const MAY_PASS: &[&str] = &[
    "accept",
    "accept-language",
    "content-type",
    "content-length",
    "prefer",
    "if-match",
    "if-none-match",
    "if-none-exist",
    "if-modified-since",
    "user-agent",
    "traceparent",
    "tracestate",
    "host",
    "connection",
    "authorization",
];

/// Cases that are decided otherwise than the catalogue expects: the statuses, and why.
const DECIDED: &[(&str, &[u16], &str)] = &[
    (
        "PATH-030",
        &[400],
        "the target says http, the connection is TLS: it is refused before anything is decided",
    ),
    ("PATH-041", &[200], "a history is cut version by version, like any answer"),
    ("HDR-032", &[415], "a body without a media type is not read"),
    ("HDR-036", &[415], "a body without a media type is not read"),
    ("HDR-050", &[403], "XML is read as JSON is, and names another patient"),
    ("PAR-028", &[405], "there is no GET of _search"),
    ("PAR-036", &[405], "there is no GET of _search"),
    ("WRIT-020", &[412], "the backend finds several that are her own; what is not hers does not count"),
    ("WRIT-022", &[412], "the backend finds several that are her own; what is not hers does not count"),
    ("WRIT-029", &[405], "there is no DELETE of a version in R4"),
    ("OPS-007", &[400, 403], "a target with characters that RFC 3986 excludes is no target"),
    ("SBX-002", &[502], "the backend exports at once, uncut, in place of 202"),
    ("SBX-021", &[400], "an upgrade is refused before the target is looked at"),
    (
        "SCOP-031",
        &[200],
        "`:not` in a scope is evaluated on the record itself, and lets laboratory values through",
    ),
    ("SCOP-034", &[404], "both must hold, and the record is of another patient: as if it were not there"),
    ("PARS-021", &[400], "XML is read, without document types"),
    ("PARS-022", &[400], "XML is read, without document types"),
    ("PARS-023", &[403], "it has no subject"),
    ("PARS-026", &[403], "it has no subject that can be read"),
    ("PARS-027", &[403], "it has no subject that can be read"),
    ("PARS-028", &[403], "its subject is no patient"),
];

/// Cases in which the backend is asked although the catalogue has it see nothing, or one request.
const ASKED: &[(&str, &str)] = &[
    ("PATH-041", "the history comes whole, and is cut"),
    ("SCOP-031", "the scope is understood"),
    ("SCOP-034", "what the record says must be seen"),
];

/// How a class ended.
#[derive(Debug, Default)]
pub struct Tally {
    pub elsewhere: usize,
    tried: usize,
    refused: usize,
    unseen: usize,
    answered: usize,
}

impl Tally {
    pub fn count(&mut self, answer: &Answer, seen: &[Seen]) {
        self.tried += 1;
        if (200..400).contains(&answer.status) {
            self.answered += 1;
        } else {
            self.refused += 1;
        }
        self.unseen += usize::from(seen.is_empty());
    }
}

/// Holds one answer against the case and against what always holds.
pub fn hold(
    house: &House,
    case: &Case,
    asked: &Asked,
    (protocol, answer): (Protocol, &Answer),
    seen: &[Seen],
) {
    let said: String = answer.body.chars().take(300).collect();
    let wrong = |expected: String| {
        let targets: Vec<String> = seen.iter().map(|it| format!("{} {}", it.method, it.target)).collect();
        house.findings.add(format!(
            "{} over {protocol:?}\n    expected {expected}\n    got      {} {said}\n    backend  {targets:?}",
            asked.words, answer.status
        ));
    };
    let decided = DECIDED.iter().find(|(id, ..)| *id == case.id).map(|(_, statuses, _)| statuses.to_vec());
    let allowed: Vec<u16> = decided.unwrap_or_else(|| {
        case.expected.status.iter().filter_map(|it| u16::try_from(it.as_u64()?).ok()).collect()
    });
    // A connection that is closed, or a stream that is reset, is a refusal of what is no HTTP.
    let closed = answer.status == 0 && allowed.iter().all(|status| *status >= 400) && seen.is_empty();
    if !allowed.contains(&answer.status) && !closed {
        wrong(format!("status {allowed:?}"));
    }
    let count = seen.len();
    // What a write would change is looked at before it is refused; nothing is changed by that.
    let looked = asked.method != "GET" && seen.iter().all(|it| it.method == "GET");
    let asked_anyway = looked || ASKED.iter().any(|(id, _)| *id == case.id);
    match case.expected.upstream.as_str() {
        "none" if count > 0 && !asked_anyway => wrong("nothing at the backend".to_owned()),
        "one" if count != 1 && !asked_anyway => wrong(format!("one request at the backend, not {count}")),
        _ => {}
    }
    let shown = unlinked(&answer.body);
    if !asked.holder.sees_all {
        for secret in [VICTIM, NUMBER] {
            if shown.contains(secret) {
                wrong(format!("nothing of the victim's, not `{secret}`"));
            }
        }
    }
    let literal =
        case.expected.must_not_contain.iter().filter(|text| !text.contains(' ') || text.contains("o1l"));
    for text in literal.map(|text| text.trim_end_matches(" content")) {
        if shown.contains(&format!("\"{text}\"")) || (text.contains('.') && shown.contains(text)) {
            wrong(format!("no `{text}` in the answer"));
        }
    }
    for text in ["upstream.internal".to_owned(), house.backend.address.to_string()] {
        let fields =
            answer.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(&text));
        if answer.body.contains(&text) || fields {
            wrong(format!("nothing of the backend's address, not `{text}`"));
        }
    }
    // The SMART configuration is no FHIR.
    let outcome = asked.method != "HEAD" && !asked.target.contains(".well-known");
    if answer.status >= 400 && outcome && !answer.body.contains("OperationOutcome") {
        wrong("an OperationOutcome".to_owned());
    }
    for it in seen {
        hold_forwarded(asked, it, &wrong);
    }
}

/// What reached the backend is plain, below its base, and has nothing of the client's that could mean something there.
fn hold_forwarded(asked: &Asked, seen: &Seen, wrong: &dyn Fn(String)) {
    let path = seen.target.split('?').next().unwrap_or_default();
    let odd = ["..", "//", "\\", "%", ";", "#"].iter().find(|odd| path.contains(*odd));
    if !(path == "/fhir" || path.starts_with("/fhir/")) || odd.is_some() {
        wrong(format!("a plain path below the base at the backend, not `{}`", seen.target));
    }
    for (name, value) in &asked.headers {
        let name = name.to_ascii_lowercase();
        let passed = seen.headers.get(name.as_str()).is_some_and(|it| it.as_bytes() == value.as_slice());
        if passed && !MAY_PASS.contains(&name.as_str()) {
            wrong(format!("no `{name}` of the client's at the backend"));
        }
        if name == "authorization" && passed {
            wrong("no token at the backend".to_owned());
        }
    }
}

/// An answer without the links that repeat what the client asked.
fn unlinked(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut map)) => {
            map.remove("link");
            serde_json::Value::Object(map).to_string()
        }
        Ok(_) | Err(_) => body.to_owned(),
    }
}

/// The table of `docs/SECURITY.md`.
pub fn table(tallies: &BTreeMap<String, Tally>) -> String {
    let mut text = "<!-- Written by tests/hostile.rs, which holds it against each run. -->\n\n\
        | class | requests sent | refused | backend saw nothing | answered, nothing foreign in it | cases shown by other tests |\n\
        | --- | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (class, tally) in tallies {
        let Tally { elsewhere, tried, refused, unseen, answered } = tally;
        writeln!(text, "| {class} | {tried} | {refused} | {unseen} | {answered} | {elsewhere} |")
            .expect("a text");
    }
    text
}
