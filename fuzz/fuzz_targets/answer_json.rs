//! Answers in JSON: what is shown is JSON, part of what came, and of no type outside the grant. `serde_json` is the judge.
//! Input: a byte that chooses the request, then the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pforte::fhir::Format;
use pforte_fuzz::{caller, passed, shown};
use serde_json::Value;

const ASKED: [&str; 6] = [
    "Observation?code=x",
    "Observation/1",
    "Observation/_history",
    "Observation/1/_history",
    "Observation/$lastn",
    "Observation?code=x&_include=Observation:subject",
];

/// Names of all resources in a value, wherever a reader could find one. What stands in an Observation is a part of it, as `contained` is.
fn named<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            let name = members.get("resourceType").and_then(Value::as_str);
            found.extend(name);
            if name != Some("Observation") {
                members.values().for_each(|inner| named(inner, found));
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| named(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn entries(value: &Value) -> Vec<&Value> {
    value.get("entry").and_then(Value::as_array).into_iter().flatten().collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let target = ASKED[usize::from(*choice) % ASKED.len()];
    for scope in ["system/Observation.rs", "patient/Observation.rs"] {
        let Some(passage) = passed(&http::Method::GET, target, (Format::Json, b""), &caller(scope)) else {
            continue;
        };
        let Some((out, held)) = shown(&passage, Format::Json, body) else { continue };
        // An empty answer shows nothing.
        if !held || out.is_empty() {
            continue;
        }
        let out: Value =
            serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: shown of {target}"));
        // What was shown could be read by another reader as well.
        let came: Value =
            serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: taken of {target}"));
        let mut names = Vec::new();
        named(&out, &mut names);
        let listed = out["resourceType"] == "Bundle";
        for (at, name) in names.iter().enumerate() {
            let carrier = matches!(*name, "OperationOutcome" | "Parameters")
                || (listed && at == 0 && *name == "Bundle");
            assert!(carrier || *name == "Observation", "{name} under {scope} at {target}");
        }
        // Resources are never written anew: each was there as it is, but for addresses.
        if listed {
            assert!(entries(&out).len() <= entries(&came).len());
            let ids: Vec<_> = entries(&came).iter().map(|entry| entry["resource"]["id"].clone()).collect();
            for entry in entries(&out) {
                let resource = &entry["resource"];
                assert!(resource["resourceType"] != "Observation" || ids.contains(&resource["id"]));
            }
        }
    }
});
