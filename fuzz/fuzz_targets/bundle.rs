//! Batches and transactions: what leaves is a bundle of entries that were submitted, none of which the grant refuses.
//! Input: a byte that chooses format and grant, then the bundle.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use pforte::fhir::Format;
use pforte_fuzz::{caller, passed};
use serde_json::Value;

const SCOPES: [&str; 4] = [
    "system/Observation.rs",
    "system/*.cruds",
    "patient/Observation.cruds",
    "system/Observation.cuds user/Patient.r",
];

fn entries(bundle: &Value) -> Vec<&Value> {
    bundle.get("entry").and_then(Value::as_array).into_iter().flatten().collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let format = if choice & 128 == 0 { Format::Json } else { Format::Xml };
    let scope = SCOPES[usize::from(*choice) % SCOPES.len()];
    let Some(passage) = passed(&Method::POST, "", (format, body), &caller(scope)) else { return };
    let Some(sent) = passage.outbound else { return };
    if format == Format::Xml {
        return;
    }
    let came: Value = serde_json::from_slice(body).expect("what was taken is JSON");
    let sent: Value = serde_json::from_slice(sent.body()).expect("what is sent is JSON");
    assert_eq!(sent["resourceType"], "Bundle");
    assert_eq!(sent["type"], came["type"]);
    let (came, sent) = (entries(&came), entries(&sent));
    assert!(sent.len() <= came.len());
    for entry in sent {
        let method = entry["request"]["method"].as_str().expect("a method");
        let url = entry["request"]["url"].as_str().expect("an address");
        assert!(scope.contains('u') || matches!(method, "GET" | "HEAD"), "{method} {url} under {scope}");
        assert!(
            scope.contains("*.") || !url.trim_start_matches('/').starts_with("Condition"),
            "{method} {url} under {scope}"
        );
    }
});
