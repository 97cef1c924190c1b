//! The other half of the promise: what is inside the grant is shown, and what may be written is sent.

use serde_json::Value;

use crate::ask::{Ask, Kind};
use crate::backend::{Item, Place};
use crate::case::constrained;
use crate::checks::Checked;
use crate::naive::Truth;
use crate::run::Gateway;
use crate::world::{text, type_of};
use crate::writes;

/// Whether the program enforces grants that reach only a part, and does not refuse them altogether.
pub const ENFORCED: bool = true;

/// What should have been shown or sent, and was not; nothing when the case says nothing about it.
pub fn faults(gateway: &dyn Gateway, checked: &Checked<'_>) -> Option<Vec<String>> {
    let ask = &checked.case.ask;
    let known = gateway.enforces() || !constrained(ask, checked.grant);
    if !known || checked.decision["reason_id"] == "contradictory_context" {
        return None;
    }
    if ask.kind.writes() { unsent(checked) } else { unshown(checked) }
}

/// A write of what is inside to what is inside leaves.
fn unsent(checked: &Checked<'_>) -> Option<Vec<String>> {
    let case = checked.case;
    let ask = &case.ask;
    let (verdict, _) = writes::verdict(ask, case.stored.as_ref(), checked.grant)?;
    if verdict != Truth::Yes
        || crate::case::unreached(ask, checked.grant)
        || !straight(ask, case.stored.as_ref())
    {
        return None;
    }
    if checked.forward().is_some() {
        return Some(Vec::new());
    }
    Some(vec![format!(
        "unsent: it is inside, but {} {}",
        checked.decision["reason_id"], checked.decision["reason"]
    )])
}

/// Whether a write has no other reason to be refused.
fn straight(ask: &Ask, stored: Option<&Value>) -> bool {
    let header =
        |wanted: &str| ask.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let version = stored.and_then(|stored| text(stored, "meta.versionId"));
    let pinned = version.map(|version| format!("W/\"{version}\""));
    let ids = match (ask.kind, &ask.submitted, stored) {
        (Kind::ConditionalUpdate, Some(sent), Some(stored)) => {
            text(sent, "id").is_none_or(|id| Some(id) == text(stored, "id"))
        }
        _ => true,
    };
    let creates = ask.kind.creates().is_some();
    let patched = ask.patch.is_none() || header("content-type") == Some("application/json-patch+json");
    // A reference with a query is a search, which has no place here; what calls itself a Bundle must be one.
    let plain = ask.submitted.as_ref().is_none_or(|sent| !sent.to_string().contains("?"));
    ids && patched
        && plain
        && ask.resource != "Bundle"
        && header("x-provenance").is_none()
        && header("if-none-match").is_none()
        && (creates || pinned.is_some())
        && header("if-match").is_none_or(|written| pinned.as_deref() == Some(written))
}

/// What the grant reaches of what was asked for is in the answer.
fn unshown(checked: &Checked<'_>) -> Option<Vec<String>> {
    let case = checked.case;
    let (ask, answer) = (&case.ask, &case.answer);
    let conditional =
        ask.headers.iter().any(|(name, _)| matches!(*name, "if-none-match" | "if-modified-since"));
    let named = |value: &Value| {
        type_of(value) == ask.resource && (ask.id.is_empty() || text(value, "id") == Some(&ask.id))
    };
    let owed_version = |value: &Value| {
        named(value) && (ask.kind != Kind::Vread || text(value, "meta.versionId") == Some("7"))
    };
    let place = owed(ask)?;
    let sent_as_asked =
        answer.body.trim_start().starts_with('<') == (ask.format == pforte::fhir::Format::Xml);
    if !answer.tame || answer.status != 200 || conditional || ask.method == "HEAD" || !sent_as_asked {
        return None;
    }
    let inside: Vec<_> = answer
        .items
        .iter()
        .filter(|item| {
            item.place == place
                && !item.readings.is_empty()
                && item.readings.iter().all(owed_version)
                && checked.allowed(item) == Truth::Yes
        })
        .collect();
    // A search that becomes several shows what it finds twice once.
    let name = |item: &Item| {
        (type_of(&item.readings[0]).to_owned(), text(&item.readings[0], "id").map(str::to_owned))
    };
    let twice = |item: &&&Item| {
        let same =
            answer.items.iter().filter(|other| !other.readings.is_empty() && name(other) == name(item));
        ask.kind.searches() && same.count() > 1
    };
    let inside: Vec<_> = inside.iter().filter(|item| !twice(item)).collect();
    if inside.is_empty() || crate::case::unreached(ask, checked.grant) {
        return None;
    }
    let output = checked.output().unwrap_or_default();
    let missing = inside.iter().filter(|item| !output.contains(&item.marker));
    let said = [&checked.decision["reason_id"], &checked.decision["returned"]["status"]];
    Some(missing.map(|item| format!("unshown: {} is inside the grant ({said:?})", item.marker)).collect())
}

/// What of an answer must be shown when it is inside the grant.
fn owed(ask: &Ask) -> Option<Place> {
    if matches!(ask.kind, Kind::Read | Kind::Vread) && ask.resource != "Binary" {
        return Some(Place::Root);
    }
    if matches!(ask.kind, Kind::HistoryInstance | Kind::HistoryType) {
        return Some(Place::Version);
    }
    (ask.kind == Kind::SearchType && ask.query.plain && !ask.query.counts).then_some(Place::Match)
}
