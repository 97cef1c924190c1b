//! A gateway that keeps every law because it is made of the naive evaluator: it shows that the laws can be kept, all of
//! them at once, and that they ask for no more than the standards do.

use serde_json::{Value, json};

use crate::ask::{Ask, Kind};
use crate::case::{Case, asked, constrained, unreached};
use crate::checks::{Checked, faults};
use crate::config::Config;
use crate::naive::{Grant, Reach, Truth};
use crate::run::{Gateway, configs, run};
use crate::world::{BACKEND, PUBLIC, text};
use crate::writes::verdict;

struct Honest(Vec<Config>);

impl Gateway for Honest {
    fn explain(&self, config: usize, written: &Value) -> Value {
        let seed = written["id"].as_str().and_then(|id| id.strip_prefix("seed ")?.parse().ok());
        let Some(seed) = seed else {
            // What it sent on it sends on again.
            return json!({"decision": "permit", "forward": {"target": written["target"], "body": written.get("body")}});
        };
        let case = Case::of(seed, &self.0).with_claims(written["claims"].clone());
        let grant = Grant::new(&case.claims, &self.0[config]);
        let limited = constrained(&case.ask, &grant);
        let mut decision =
            json!({"decision": "permit", "constrained": limited, "forward": forward(&case, limited)});
        let checked = Checked { case: &case, grant: &grant, decision: &decision };
        let refused = !faults(&checked).is_empty() || refuses(&case.ask, &case, &grant);
        if refused {
            return json!({"decision": "deny", "status": 403, "reason_id": "outside_grant", "reason": "no"});
        }
        let as_made = written["response"] == case.answer.value();
        let shown: Vec<String> = case
            .answer
            .items
            .iter()
            .filter(|item| as_made && !item.raw.is_empty() && checked.allowed(item) == Truth::Yes)
            .map(|item| item.raw.replace(BACKEND, PUBLIC))
            .collect();
        let part = case.answer.is_document() && shown.len() < case.answer.items.len();
        let returned =
            if part || shown.is_empty() || case.ask.method == "HEAD" || shown.concat().contains("upstream") {
                json!({"status": 404, "headers": {}, "body": ""})
            } else {
                json!({"status": 200, "headers": {}, "body": shown.join("\n")})
            };
        decision["returned"] = returned;
        decision
    }
}

/// The request as it is sent on: a write with the version that was looked at.
fn forward(case: &Case, limited: bool) -> Value {
    let mut forward = asked(&case.ask, &Value::Null);
    forward.as_object_mut().expect("an object").shift_remove("claims");
    let version = case.stored.as_ref().and_then(|stored| text(stored, "meta.versionId"));
    if let Some(version) = version.filter(|_| limited) {
        forward["headers"]["if-match"] = format!("W/\"{version}\"").into();
    }
    forward
}

/// Whether it may not be sent on, by the naive evaluator alone.
fn refuses(ask: &Ask, case: &Case, grant: &Grant<'_>) -> bool {
    if ask.kind.is_bundle() {
        return ask.entries.iter().any(|entry| refuses(entry, case, grant));
    }
    let uncertain = matches!(verdict(ask, case.stored.as_ref(), grant), Some((Truth::No | Truth::Maybe, _)));
    let everything = grant.reach("Patient", "s") == Reach::All;
    let vague = matches!(ask.kind, Kind::Cursor | Kind::HistorySystem | Kind::SearchSystem) && !everything;
    unreached(ask, grant) || uncertain || vague
}

/// The laws can be kept.
#[test]
fn an_honest_gateway_keeps_every_law() {
    let configs = configs();
    let report = run(&Honest(configs.clone()), &configs, 0..3000);
    assert!(report.broken.is_empty(), "{}", report.text(&configs));
    let tried = ["limited and forwarded", "items shown", "something owed under a limit"];
    let seldom: Vec<_> =
        tried.iter().filter(|what| report.tally.get(**what).is_none_or(|times| *times < 100)).collect();
    assert!(seldom.is_empty(), "{seldom:?} of {:?}", report.tally);
}
