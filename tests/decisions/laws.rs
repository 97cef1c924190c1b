//! What holds of every decision, whatever was asked.

use serde_json::Value;

use crate::answer;
use crate::case::BACKEND;

/// The laws that a decision breaks.
pub fn faults(got: &Value) -> Vec<String> {
    let mut faults = members(got);
    faults.extend(entries(got));
    let refused = got["decision"] == "deny";
    if refused && got.get("forward").is_some_and(|forward| !forward.is_null()) {
        faults.push(format!("law: refused, but forwarded: {}", got["forward"]));
    }
    if let Some(target) = got.pointer("/forward/target").and_then(Value::as_str) {
        faults.extend(forwarded(target));
    }
    let returned = got["returned"].to_string();
    if returned.contains(BACKEND) {
        faults.push(format!("law: the backend's host is shown: {returned}"));
    }
    // SRCH-25: a page of part of the records is a capability, and leaves sealed.
    let pages = ["first", "last", "next", "prev", "previous"];
    let body = got.pointer("/returned/body").unwrap_or(&Value::Null);
    if got["constrained"] == true && pages.iter().any(|page| answer::kind_of_link(body, page) == "open") {
        faults.push(format!("law: a page link is open: {body}"));
    }
    faults
}

/// Contract §9: the members of every decision, and those of a refusal.
fn members(got: &Value) -> Vec<String> {
    let always = ["id", "decision", "reason", "interaction", "types", "needs", "constrained"];
    let refusal = ["status", "reason_id"];
    let wanted = always.into_iter().chain(refusal.into_iter().filter(|_| got["decision"] == "deny"));
    let mut faults: Vec<_> = wanted
        .filter(|name| {
            let value = got.get(name);
            let may_be_null = ["id", "interaction"].contains(name);
            value.is_none_or(|value| value.is_null() && !may_be_null)
        })
        .map(|name| format!("law: the decision has no `{name}`: {got}"))
        .collect();
    if !matches!(got["decision"].as_str(), Some("permit" | "deny")) {
        faults.push(format!("law: neither permit nor deny: {got}"));
    }
    faults
}

fn entries(got: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for entry in got["entries"].as_array().into_iter().flatten() {
        if entry["decision"] == "deny" && entry.get("forward").is_some() {
            faults.push(format!("law: a refused entry is forwarded: {entry}"));
        }
        if let Some(target) = entry.pointer("/forward/target").and_then(Value::as_str) {
            faults.extend(forwarded(target));
        }
    }
    faults
}

/// HTTP-7, TOK-3: a path that everybody reads alike, and no credential.
fn forwarded(target: &str) -> Vec<String> {
    let path = target.split('?').next().unwrap_or("");
    let mut faults = Vec::new();
    if path.split('/').any(|segment| matches!(segment, "." | "..")) || path.contains("//") {
        faults.push(format!("law: an ambiguous path is forwarded: {target}"));
    }
    if path.starts_with('/') || path.contains(['%', '\\', ';', '#']) {
        faults.push(format!("law: a path that is not canonical is forwarded: {target}"));
    }
    if target.contains("access_token") || target.contains("_link=") {
        faults.push(format!("law: a credential is forwarded: {target}"));
    }
    faults
}
