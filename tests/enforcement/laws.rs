//! Laws of two requests: what changes when a scope goes, when a request is asked again as it was sent on, when a record
//! is out of reach, when a page link is followed.

use serde_json::{Value, json};

use crate::ask::{Ask, Kind};
use crate::backend::{Answer, Backend};
use crate::case::{Case, constrained, grant};
use crate::chance::Chance;
use crate::checks::{Checked, secrets};
use crate::config::Config;
use crate::naive::{Reach, Role, Truth};
use crate::records::Records;
use crate::run::Gateway;
use crate::world::{BACKEND, PUBLIC};

/// The laws that are broken when something is asked beside the case.
pub fn faults(gateway: &dyn Gateway, checked: &Checked<'_>, configs: &[Config]) -> Vec<String> {
    let mut faults = fewer_scopes(gateway, checked);
    faults.extend(narrowed_twice(gateway, checked));
    faults.extend(as_if_absent(gateway, checked));
    faults.extend(as_if_never_there(gateway, checked));
    faults.extend(pages(gateway, checked, configs));
    faults
}

/// Removing a scope never permits more.
fn fewer_scopes(gateway: &dyn Gateway, checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    let written = case.claims.get("scope").and_then(Value::as_str).unwrap_or("");
    let mut scopes: Vec<&str> = written.split(' ').collect();
    let gone = scopes.remove(Chance::new(case.seed).below(scopes.len()));
    let mut claims = case.claims.clone();
    // A refusal by contradiction is of the token as a whole.
    if claims.is_null() || checked.decision["reason_id"] == "contradictory_context" || !told_apart(&case.ask)
    {
        return Vec::new();
    }
    claims["scope"] = scopes.join(" ").into();
    let fewer = case.with_claims(claims);
    let decision = gateway.explain(case.config, &fewer.value());
    let after = Checked { case: &fewer, grant: checked.grant, decision: &decision };
    let mut faults = Vec::new();
    // A compartment and criteria may be more than one search can say for many scopes at once.
    let unspeakable =
        case.ask.kind == Kind::SearchCompartment && checked.decision["reason_id"] == "constrained_grant";
    if after.forward().is_some() && checked.forward().is_none() && !unspeakable {
        faults.push(format!("fewer: without `{gone}` it is asked for, with it not"));
    }
    let before = checked.output().unwrap_or_default();
    let mut more = secrets(&after.output().unwrap_or_default());
    let of_resource = |secret: &String| {
        case.answer.items.iter().any(|item| !item.readings.is_empty() && item.raw.contains(secret))
    };
    more.retain(|secret| !before.contains(secret.as_str()) && of_resource(secret));
    // What the backend sends unasked may be held against the client's own words by one grant and not by the other.
    if !more.is_empty() && (case.ask.query.plain || !case.ask.kind.searches()) && !case.answer.names_twice() {
        faults.push(format!("fewer: without `{gone}` {more:?} are shown, with it not"));
    }
    faults
}

/// Whether a request says itself what it is about. One that speaks of everything there is may be narrowed to what is
/// reached wholly, and refused when there is something that is reached in part.
fn told_apart(ask: &Ask) -> bool {
    let everything = ask.target.ends_with("/*")
        || matches!(ask.kind, Kind::Cursor | Kind::HistorySystem | Kind::SearchSystem);
    if ask.kind.is_bundle() {
        return ask
            .entries
            .iter()
            .all(|entry| told_apart(entry) && (entry.query.plain || !entry.kind.searches()));
    }
    // What a Binary belongs to may have to be fetched by one grant and not by the other, and there is nothing to fetch.
    let fetched = ask.resource == "Binary";
    !everything && !fetched && !ask.query.reserved && !ask.query.names_another && !ask.query.counts
}

/// Narrowing twice is narrowing once: what was sent on is sent on as it is.
fn narrowed_twice(gateway: &dyn Gateway, checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    let Some(once) = checked.forward().filter(|_| !case.ask.kind.is_bundle() && !case.ask.kind.writes())
    else {
        return Vec::new();
    };
    // A chain that a scope brings in is none that the client may ask for.
    let words = format!("{}&{}", once["target"].as_str().unwrap_or(""), once["body"].as_str().unwrap_or(""));
    let names = words.split(['?', '&']).skip(1).filter_map(|pair| pair.split('=').next());
    if case.ask.kind.searches() && names.into_iter().any(|name| name.contains('.')) {
        return Vec::new();
    }
    let mut again = json!({
        "method": once["method"], "target": once["target"], "headers": once["headers"], "claims": case.claims,
        "response": case.answer.value(),
    });
    if let Some(body) = once.get("body") {
        again["body"] = body.clone();
    }
    if let Some(stored) = &case.stored {
        again["stored"] = stored.clone();
    }
    // A client that says the same says it with the public base.
    let again: Value = serde_json::from_str(&again.to_string().replace(BACKEND, PUBLIC)).expect("as it was");
    let decision = gateway.explain(case.config, &again);
    let public = |sent: &Value| sent.to_string().replace(BACKEND, PUBLIC);
    let (once, twice) = (public(once), public(&decision["forward"]));
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("as it was");
    let (once, twice) = (&read(&once), &read(&twice));
    let same = twice["target"] == once["target"] && twice["body"] == once["body"];
    if same || grown(once, twice) {
        return Vec::new();
    }
    let said = [&decision["reason_id"], &twice["target"], &twice["body"]];
    vec![format!("twice: {} {} becomes {said:?}", once["target"], once["body"])]
}

/// Whether nothing was lost on the way: with the client's own words in place of the compartment in the path, or with
/// what other scopes ask for besides.
fn grown(once: &Value, twice: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let words = |sent: &Value| format!("{}&{}", text(&sent["target"]), text(&sent["body"]));
    let split = |words: &str| -> Vec<String> {
        words.split_once(['?', '&']).map_or("", |(_, rest)| rest).split('&').map(str::to_owned).collect()
    };
    let path = |sent: &Value| text(&sent["target"]).split('?').next().unwrap_or("").to_owned();
    let (before, after) = (split(&words(once)), split(&words(twice)));
    let kept = before.iter().all(|part| after.contains(part));
    kept && !path(twice).is_empty()
        && (path(once) == path(twice) || path(once).ends_with(&format!("/{}", path(twice))))
}

/// REST-7: what is outside is answered as what does not exist.
fn as_if_absent(gateway: &dyn Gateway, checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    let reads = matches!(case.ask.kind, Kind::HistoryInstance | Kind::Read | Kind::Vread);
    let whole = case.answer.tame && case.answer.status == 200 && !case.answer.items.is_empty();
    let outside = || case.answer.items.iter().all(|item| checked.allowed(item) == Truth::No);
    if !reads
        || !whole
        || checked.grant.config().forbidden
        || !constrained(&case.ask, checked.grant)
        || !outside()
    {
        return Vec::new();
    }
    let nothing = Answer {
        status: 404,
        headers: Vec::new(),
        body: String::new(),
        items: Vec::new(),
        tame: true,
        repeats: false,
        deletions: 0,
    };
    let absent = case.with_answer(nothing);
    differences(checked.decision, &gateway.explain(case.config, &absent.value()))
}

/// The same of writes: what is outside cannot be told from what does not exist.
fn as_if_never_there(gateway: &dyn Gateway, checked: &Checked<'_>) -> Vec<String> {
    let case = checked.case;
    let Some(letter) = case.ask.kind.changes() else { return Vec::new() };
    let config = checked.grant.config();
    let outside = |stored: &Value| {
        let unseen = checked.grant.sees(stored, "rs", Role::Read) == Truth::No;
        unseen && checked.grant.sees(stored, letter, Role::Stored) == Truth::No
    };
    let limited = checked.grant.reach(&case.ask.resource, letter) == Reach::Part;
    if config.forbidden || config.update_creates || !limited || !case.stored.as_ref().is_some_and(outside) {
        return Vec::new();
    }
    let absent = Case { stored: None, ..case.clone() };
    differences(checked.decision, &gateway.explain(case.config, &absent.value()))
}

/// What tells two decisions apart.
fn differences(outside: &Value, absent: &Value) -> Vec<String> {
    if outside["reason_id"] == "contradictory_context" {
        // It is about the token, and the client knows what it may be about.
        return Vec::new();
    }
    let members = ["decision", "status", "reason_id", "reason", "returned"];
    let differs = members.iter().filter(|member| outside.get(**member) != absent.get(**member));
    let said = |decision: &Value, member: &str| decision.get(member).map(Value::to_string);
    differs
        .map(|member| {
            format!(
                "absent: `{member}` is {:?}, and {:?} when it does not exist",
                said(outside, member),
                said(absent, member)
            )
        })
        .collect()
}

/// SRCH-25, SRCH-26: a page is checked like the first, and a link is of no use to others.
fn pages(gateway: &dyn Gateway, checked: &Checked<'_>, configs: &[Config]) -> Vec<String> {
    let case = checked.case;
    let Some(target) = checked.body().and_then(|body| link(&body)) else { return Vec::new() };
    let mut chance = Chance::new(!case.seed);
    let mut markers = 5000;
    let records = Records { chance: &mut chance, markers: &mut markers };
    let searched = Ask { kind: Kind::SearchType, ..case.ask.clone() };
    let asked = if case.ask.kind.is_history() || matches!(case.ask.kind, Kind::Operation(_)) {
        &case.ask
    } else {
        &searched
    };
    let answer = Backend::new(records, case.ask.format).answer(asked);
    let next = Case {
        ask: Ask {
            method: "GET",
            target,
            body: String::new(),
            headers: Vec::new(),
            entries: Vec::new(),
            ..asked.clone()
        },
        stored: None,
        answer,
        ..case.clone()
    };
    let decision = gateway.explain(case.config, &next.value());
    let faults = crate::checks::faults(&Checked { case: &next, grant: checked.grant, decision: &decision });
    let mut faults: Vec<_> =
        faults.into_iter().map(|fault| format!("{fault} (on the next page, {})", next.answer.body)).collect();
    for (name, value) in [("patient", "p2"), ("client_id", "other"), ("sub", "mallory")] {
        let mut claims = case.claims.clone();
        if claims.get(name).and_then(Value::as_str) == Some(value) {
            continue;
        }
        claims[name] = value.into();
        let other = next.with_claims(claims);
        let decision = gateway.explain(case.config, &other.value());
        let grant = grant(&other, configs);
        if (Checked { case: &other, grant: &grant, decision: &decision }).forward().is_some() {
            faults.push(format!("page: a link is followed with another `{name}`"));
        }
    }
    faults
}

/// The first sealed link of a bundle, as a target.
fn link(body: &str) -> Option<String> {
    let rest = body.split(&format!("{PUBLIC}?_link=")).nth(1)?;
    let sealed: String =
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_=.~".contains(*c)).collect();
    Some(format!("?_link={sealed}"))
}
