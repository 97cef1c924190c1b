//! Holds a decision against what a case expects of it.

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::answer;

/// What is not as expected; a member that is not known here is a fault too.
pub fn faults(expected: &Value, got: &Value) -> Vec<String> {
    let Some(members) = expected.as_object() else { return vec!["`expect` is no object".into()] };
    members
        .iter()
        .filter_map(|(name, expected)| {
            fault(name, expected, got).map(|got| format!("{name}: expected {expected}, got {got}"))
        })
        .collect()
}

/// What was got instead.
fn fault(name: &str, expected: &Value, got: &Value) -> Option<String> {
    let at = |pointer: &str| got.pointer(pointer).unwrap_or(&Value::Null);
    let equal = |value: &Value| (value != expected).then(|| context(value, got));
    match name {
        "decision" | "interaction" | "types" | "constrained" | "reason" => equal(at(&format!("/{name}"))),
        "status" | "reason_id" => one_of(expected, at(&format!("/{name}"))).map(|value| context(&value, got)),
        "seen_status" => one_of(expected, seen_status(got)).map(|value| context(&value, got)),
        // Held against the other case, which only the suite knows.
        "same_as" => None,
        "needs" => equal(&needs(got)),
        "granted_by" => equal(&granted_by(got)),
        "no_forward" => got.get("forward").map(|forward| context(forward, got)),
        "forward_method" => equal(at("/forward/method")),
        "forward_target" => one_of(expected, at("/forward/target")).map(|value| context(&value, got)),
        "forward_path" => one_of(expected, &path(at("/forward/target"))).map(|value| context(&value, got)),
        "forward_has" => has(expected, &sent(got)),
        "forward_has_not" => has_not(expected, &sent(got)),
        "if_none_exist_has" => has(expected, &pairs(&text(at("/forward/headers/if-none-exist")))),
        "forward_body" => equal(at("/forward/body")),
        "forward_contains" => contains(expected, at("/forward/target")),
        "forward_lacks" => lacks(expected, at("/forward/target")),
        "forward_body_contains" => contains(expected, at("/forward/body")),
        "forward_body_lacks" => lacks(expected, at("/forward/body")),
        "forward_headers" => headers(expected, at("/forward/headers")),
        "returned_status" => one_of(expected, at("/returned/status")).map(|value| context(&value, got)),
        "returned_headers" => headers(expected, at("/returned/headers")),
        "returned_body" => equal(at("/returned/body")),
        "returned_ids" => equal(&answer::ids(at("/returned/body")).into()),
        "returned_entries" => {
            one_of(expected, &answer::entries(at("/returned/body"))).map(|value| context(&value, got))
        }
        "returned_total" => {
            one_of(expected, &answer::total(at("/returned/body"))).map(|value| context(&value, got))
        }
        "returned_next" => equal(&answer::kind_of_link(at("/returned/body"), "next")),
        "returned_contains" => contains(expected, at("/returned/body")),
        "returned_lacks" => lacks(expected, at("/returned/body")),
        "entries" => entries(expected, at("/entries")),
        _ => Some("no expectation of that name".into()),
    }
}

/// A value with the reason beside it, which is what one wants to read of a failure.
fn context(value: &Value, got: &Value) -> String {
    format!("{value} ({} {} {})", got["decision"], got["reason_id"], got["reason"])
}

/// The status the client sees: of the refusal, or of the answer.
fn seen_status(got: &Value) -> &Value {
    if got["decision"] == "deny" { &got["status"] } else { &got["returned"]["status"] }
}

/// How what a client sees of one decision differs from what it sees of another. `explain` shows of a refusal no answer,
/// but what is in it: such a one is held by status, reason and text against an answer that was made here.
pub fn unlike(this: &Value, that: &Value) -> Option<String> {
    let refused = |got: &Value| got["decision"] == "deny";
    let (this, that) = if refused(this) || refused(that) {
        (refusal(this), refusal(that))
    } else {
        (this["returned"].clone(), that["returned"].clone())
    };
    (this != that).then(|| format!("this shows {this}, the other {that}"))
}

fn refusal(got: &Value) -> Value {
    if got["decision"] == "deny" {
        return json!({"status": got["status"], "reason_id": got["reason_id"], "reason": got["reason"]});
    }
    let returned = &got["returned"];
    let issue = &returned["body"]["issue"][0];
    let diagnostics = issue["diagnostics"].as_str().and_then(|text| text.strip_prefix("reason "));
    let reason_id =
        diagnostics.and_then(|text| text.split_once(", request ")).map(|(reason_id, _)| reason_id);
    json!({"status": returned["status"], "reason_id": reason_id, "reason": issue["details"]["text"]})
}

fn path(target: &Value) -> Value {
    target.as_str().and_then(|target| target.split('?').next()).map_or(Value::Null, Value::from)
}

/// What the backend gets as parameters, in its URL or as a form, decoded once.
fn sent(got: &Value) -> Vec<(String, String)> {
    let target = text(&got["forward"]["target"]);
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let form = got["forward"]["headers"]["content-type"] == "application/x-www-form-urlencoded";
    let body = if form { text(&got["forward"]["body"]) } else { String::new() };
    pairs(query).into_iter().chain(pairs(&body)).collect()
}

fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Each of the parameters `name=value`; a list in the list is any one of them.
fn has(expected: &Value, sent: &[(String, String)]) -> Option<String> {
    let there = |wanted: &Value| sent.iter().any(|(name, value)| *wanted == format!("{name}={value}"));
    let any =
        |wanted: &Value| wanted.as_array().map_or_else(|| there(wanted), |several| several.iter().any(there));
    let wanted = expected.as_array().expect("a list of parameters");
    (!wanted.iter().all(any)).then(|| format!("{sent:?}"))
}

/// None of the parameters: `name`, or `name=value`.
fn has_not(expected: &Value, sent: &[(String, String)]) -> Option<String> {
    let there = |unwanted: &str| {
        sent.iter().any(|(name, value)| name == unwanted || format!("{name}={value}") == unwanted)
    };
    pieces(expected).any(there).then(|| format!("{sent:?}"))
}

fn one_of(expected: &Value, got: &Value) -> Option<Value> {
    let met = expected.as_array().map_or(expected == got, |several| several.contains(got));
    (!met).then(|| got.clone())
}

/// `[["Type", "letter"], …]`, in order.
fn needs(got: &Value) -> Value {
    list(got).map(|need| Value::from(vec![need["type"].clone(), need["letter"].clone()])).collect()
}

/// Every scope that counted, once.
fn granted_by(got: &Value) -> Value {
    let mut scopes: Vec<Value> = Vec::new();
    for scope in list(got).filter_map(|need| need["granted_by"].as_array()).flatten() {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes.into()
}

fn list(got: &Value) -> impl Iterator<Item = &Value> {
    got["needs"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pieces(expected: &Value) -> impl Iterator<Item = &str> {
    let list = expected.as_array().expect("a list of texts");
    list.iter().map(|piece| piece.as_str().expect("a text"))
}

fn contains(expected: &Value, got: &Value) -> Option<String> {
    let shown = text(got);
    pieces(expected).any(|piece| !shown.contains(piece)).then_some(shown)
}

fn lacks(expected: &Value, got: &Value) -> Option<String> {
    let shown = text(got);
    pieces(expected).any(|piece| shown.contains(piece)).then_some(shown)
}

/// Each header field as given; `null` means that it is not there, a list that it is one of these.
fn headers(expected: &Value, got: &Value) -> Option<String> {
    let fields = expected.as_object().expect("header fields");
    let other =
        |(name, value): (&String, &Value)| one_of(value, got.get(name).unwrap_or(&Value::Null)).is_some();
    fields.iter().any(other).then(|| got.to_string())
}

/// Each entry by an `expect` of its own.
fn entries(expected: &Value, got: &Value) -> Option<String> {
    let expected = expected.as_array().expect("a list");
    let entries = got.as_array().map_or(&[][..], Vec::as_slice);
    let fitting = entries.len() == expected.len()
        && expected.iter().zip(entries).all(|(expected, got)| faults(expected, got).is_empty());
    (!fitting).then(|| got.to_string())
}
