//! Gateways that break the laws, so that it shows that the laws notice.

use serde_json::{Value, json};

use crate::run::{Gateway, configs, run};

/// How a gateway is wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// Each request is sent on with a parameter more.
    Adding,
    /// What it permits, it refuses when there is one scope more.
    Contrary,
    /// Of every bundle, it shows the last entry only.
    Cutting,
    /// Its links lead on for everybody.
    Linking,
    /// It passes everything on.
    Open,
    /// Entries leave in another order.
    Reversing,
    /// It refuses everything.
    Shut,
}

struct Double(Wrong);

impl Gateway for Double {
    fn explain(&self, _config: usize, case: &Value) -> Value {
        let refused =
            json!({"decision": "deny", "status": 403, "reason_id": "insufficient_scope", "reason": "no"});
        let scopes = case.pointer("/claims/scope").and_then(Value::as_str).unwrap_or("").split(' ').count();
        let mut passed = passed(case);
        match self.0 {
            Wrong::Adding => {
                let target = passed["forward"]["target"].as_str().unwrap_or("").to_owned();
                passed["forward"]["target"] = format!("{target}&more").into();
            }
            Wrong::Cutting => {
                alter(&mut passed, |entries| drop(entries.drain(..entries.len().saturating_sub(1))))
            }
            Wrong::Contrary if scopes.is_multiple_of(2) => return refused,
            Wrong::Linking => passed["returned"]["body"] = "https://gw.test/fhir?_link=abc".into(),
            Wrong::Reversing => alter(&mut passed, |entries| entries.reverse()),
            Wrong::Shut => return refused,
            Wrong::Contrary | Wrong::Open => {}
        }
        passed
    }
}

/// What a proxy without any thought of its own would do.
fn passed(case: &Value) -> Value {
    let mut forward = json!({"method": case["method"], "target": case["target"], "headers": case["headers"]});
    if let Some(body) = case.get("body").and_then(Value::as_str) {
        forward["body"] = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    }
    json!({"decision": "permit", "forward": forward, "returned": case["response"]})
}

/// Does something to the entries that are shown.
fn alter(passed: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    let body = passed["returned"]["body"].as_str().unwrap_or("");
    if let Ok(mut bundle) = serde_json::from_str::<Value>(body) {
        if let Some(entries) = bundle["entry"].as_array_mut() {
            change(entries);
        }
        passed["returned"]["body"] = bundle.to_string().into();
    }
}

/// Each law finds the gateway that breaks it.
#[test]
fn laws_notice_what_breaks_them() {
    let table: [(Wrong, &[&str]); 7] = [
        (Wrong::Adding, &["twice"]),
        (Wrong::Contrary, &["fewer"]),
        (Wrong::Cutting, &["document"]),
        (Wrong::Linking, &["page"]),
        (Wrong::Open, &["absent", "asked", "bytes", "entry", "foreign", "internal", "pin", "total", "write"]),
        (Wrong::Reversing, &["order"]),
        (Wrong::Shut, &["unsent", "unshown"]),
    ];
    let configs = configs();
    for (wrong, expected) in table {
        let found = run(&Double(wrong), &configs, 0..600).by_law();
        let missed: Vec<_> = expected.iter().filter(|law| !found.contains_key(**law)).collect();
        assert!(missed.is_empty(), "{wrong:?} is not noticed by {missed:?}, only by {found:?}");
    }
}
