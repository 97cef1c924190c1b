//! Holds a decision against what a case expects of it.

use serde_json::Value;

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
        "decision" | "reason_id" | "interaction" | "types" | "constrained" | "reason" => {
            equal(at(&format!("/{name}")))
        }
        "status" => one_of(expected, at("/status")).map(|value| context(&value, got)),
        "needs" => equal(&needs(got)),
        "granted_by" => equal(&granted_by(got)),
        "no_forward" => got.get("forward").map(|forward| context(forward, got)),
        "forward_method" => equal(at("/forward/method")),
        "forward_target" => equal(at("/forward/target")),
        "forward_body" => equal(at("/forward/body")),
        "forward_contains" => contains(expected, at("/forward/target")),
        "forward_lacks" => lacks(expected, at("/forward/target")),
        "forward_body_contains" => contains(expected, at("/forward/body")),
        "forward_body_lacks" => lacks(expected, at("/forward/body")),
        "forward_headers" => headers(expected, at("/forward/headers")),
        "returned_status" => one_of(expected, at("/returned/status")).map(|value| context(&value, got)),
        "returned_headers" => headers(expected, at("/returned/headers")),
        "returned_body" => equal(at("/returned/body")),
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

/// Each header field as given; `null` means that it is not there.
fn headers(expected: &Value, got: &Value) -> Option<String> {
    let fields = expected.as_object().expect("header fields");
    fields.iter().any(|(name, value)| got.get(name).unwrap_or(&Value::Null) != value).then(|| got.to_string())
}

/// Each entry by an `expect` of its own.
fn entries(expected: &Value, got: &Value) -> Option<String> {
    let expected = expected.as_array().expect("a list");
    let entries = got.as_array().map_or(&[][..], Vec::as_slice);
    let fitting = entries.len() == expected.len()
        && expected.iter().zip(entries).all(|(expected, got)| faults(expected, got).is_empty());
    (!fitting).then(|| got.to_string())
}
