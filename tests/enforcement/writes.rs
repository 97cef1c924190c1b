//! What must hold of writes: nothing outside the grant is stored, changed, moved or deleted.

use serde_json::Value;

use crate::ask::{Ask, Kind};
use crate::case::{Case, constrained};
use crate::checks::Checked;
use crate::criteria;
use crate::naive::{Grant, Reach, Role, Truth};
use crate::world::{text, type_of};

/// The laws of writes that are broken.
pub fn faults(checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    if case.ask.kind.is_bundle() {
        return in_bundle(checked);
    }
    let Some(forward) = checked.forward() else { return Vec::new() };
    let mut faults = outside(&case.ask, case, checked.grant);
    faults.extend(unpinned(case, checked.grant, forward));
    faults
}

/// Why a write may not be forwarded.
fn outside(ask: &Ask, case: &Case, grant: &Grant<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut refuse = |why: String| faults.push(format!("write: {why} is forwarded"));
    if let Some((_, provenance)) = ask.headers.iter().find(|(name, _)| *name == "x-provenance") {
        let provenance: Value = serde_json::from_str(provenance).expect("JSON");
        if grant.sees(&provenance, "c", Role::Submitted) == Truth::No {
            refuse("a provenance outside the grant".into());
        }
    }
    match verdict(ask, case.stored.as_ref(), grant) {
        Some((Truth::No, why)) => refuse(why.to_owned()),
        Some((Truth::Maybe | Truth::Yes, _)) | None => {}
    }
    faults
}

/// Whether a write may be carried out, and what decides it; nothing for what is none, or needs no look at content.
pub fn verdict(ask: &Ask, stored: Option<&Value>, grant: &Grant<'_>) -> Option<(Truth, &'static str)> {
    if matches!(ask.kind, Kind::Operation(_)) && !ask.id.is_empty() {
        return called(ask, stored?, grant);
    }
    let letter = ask.kind.creates().or_else(|| ask.kind.changes());
    let letter = letter.or_else(|| (ask.kind == Kind::Validate).then_some("cu"))?;
    let by_search = ask.kind.is_conditional() && grant.reach(&ask.resource, "s") != Reach::All;
    if grant.reach(&ask.resource, letter) == Reach::All && !by_search {
        return None;
    }
    // What can be read in two ways must be right in both, and may be refused for that alone.
    let both = ask.submitted.iter().chain(&ask.otherwise);
    let body = both.map(|sent| grant.sees(sent, letter, Role::Submitted)).min().unwrap_or(Truth::Yes);
    let body = if ask.otherwise.is_some() { body.min(Truth::Maybe) } else { body };
    if ask.kind.creates().is_some() || ask.kind == Kind::Validate {
        return Some((body, "content outside the grant"));
    }
    let of_target = |stored: &&Value| {
        let right = ask.kind.is_conditional() || text(stored, "id") == Some(&ask.id);
        right && type_of(stored) == ask.resource
    };
    let Some(stored) = stored.filter(of_target) else {
        let creates = grant.config().update_creates && ask.kind == Kind::Update;
        let made = if creates { body.min(Truth::Maybe) } else { Truth::No };
        return Some((made, "what does not exist"));
    };
    let mut changed = grant.sees(stored, letter, Role::Stored);
    if by_search {
        changed = changed.min(grant.sees(stored, "s", Role::Read));
    }
    if ask.kind.is_conditional() {
        // A backend that finds what was not searched for need not be believed.
        changed = changed.min(criteria::holds(stored, "identifier", "urn:x|i1").max(Truth::Maybe));
    }
    let result =
        patched(ask, stored).map_or(Truth::Yes, |result| grant.sees(&result, letter, Role::Submitted));
    let least = body.min(changed).min(result);
    let why = if body == least {
        "content outside the grant"
    } else if changed == least {
        "a change of what is outside the grant"
    } else {
        "a change to what is outside the grant"
    };
    Some((least, why))
}

/// An operation on an instance that is not reached tells of it.
fn called(ask: &Ask, stored: &Value, grant: &Grant<'_>) -> Option<(Truth, &'static str)> {
    let letters = ask.needs.first()?.1;
    let right = text(stored, "id") == Some(&ask.id) && type_of(stored) == ask.resource;
    (right && grant.reach(&ask.resource, letters) == Reach::Part)
        .then(|| (grant.sees(stored, letters, Role::Read), "a call on what is outside the grant"))
}

/// What a patch makes of the stored resource.
fn patched(ask: &Ask, stored: &Value) -> Option<Value> {
    let (path, value) = ask.patch.as_ref()?;
    let mut result = stored.clone();
    result[path[0]] = value.clone();
    Some(result)
}

/// A write that was decided on by a version is of that version.
fn unpinned(case: &Case, grant: &Grant<'_>, forward: &Value) -> Vec<String> {
    let ask = &case.ask;
    if ask.kind.changes().is_none() || !constrained(ask, grant) {
        return Vec::new();
    }
    let pin = forward.pointer("/headers/if-match").and_then(Value::as_str);
    let creates = forward.pointer("/headers/if-none-match").and_then(Value::as_str) == Some("*");
    let version = case.stored.as_ref().and_then(|stored| text(stored, "meta.versionId"));
    let expected = version.map(|version| format!("W/\"{version}\""));
    match (case.stored.as_ref(), expected) {
        (None, _) if !creates => vec!["pin: a write to nothing creates".into()],
        (Some(_), Some(expected)) if pin != Some(&expected) && !creates => {
            vec![format!("pin: the write carries {pin:?}, not {expected}")]
        }
        (Some(_) | None, _) => Vec::new(),
    }
}

/// In a bundle each entry is as if alone, and a transaction is all or nothing.
fn in_bundle(checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    let sent = checked.forward().and_then(|forward| forward["body"]["entry"].as_array());
    let Some(sent) = sent else { return Vec::new() };
    let mut faults = Vec::new();
    for ask in &case.ask.entries {
        let refused = match verdict(ask, case.stored.as_ref(), checked.grant) {
            Some((Truth::No, why)) => Some(why),
            Some((Truth::Maybe | Truth::Yes, _)) | None => None,
        };
        let unmet = crate::case::unreached(ask, checked.grant).then_some("what no scope covers");
        let Some(why) = refused.or(unmet) else { continue };
        if case.ask.kind == Kind::Transaction {
            faults.push(format!("write: a transaction with {why} is forwarded"));
        } else if sent.iter().any(|entry| is(entry, ask)) && !twin(ask, &case.ask.entries) {
            faults.push(format!("write: {why} is forwarded in a batch"));
        }
    }
    faults
}

/// Whether an entry that is sent is the one that was asked for.
fn is(entry: &Value, ask: &Ask) -> bool {
    if let Some(marker) = ask.submitted.as_ref().and_then(|sent| text(sent, "extension.valueString")) {
        return entry["resource"].to_string().contains(marker);
    }
    let request = &entry["request"];
    let url = request["url"].as_str().unwrap_or("");
    let path = |url: &str| url.split('?').next().unwrap_or("").to_owned();
    request["method"] == ask.method && path(url) == path(&ask.target)
}

/// Whether another entry looks the same from outside.
fn twin(ask: &Ask, entries: &[Ask]) -> bool {
    let same =
        |other: &&Ask| other.method == ask.method && other.resource == ask.resource && other.id == ask.id;
    ask.submitted.is_none() && entries.iter().filter(same).count() > 1
}
