//! JSON Patch and FHIRPath Patch on a stored resource: what comes of it is JSON and the same resource.
//! Input: the stored resource on one line, then the patch.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pforte::fhir::outline::Limits;
use pforte::fhir::{Document, FhirVersion, Format, patch};
use pforte_fuzz::line;
use serde_json::Value;

fn same(stored: &[u8], made: &[u8]) {
    let stored: Value = serde_json::from_slice(stored).expect("what was taken is JSON");
    let made: Value = serde_json::from_slice(made).expect("what was made is JSON");
    assert_eq!(stored["resourceType"], made["resourceType"]);
    assert_eq!(stored["id"], made["id"]);
}

fuzz_target!(|data: &[u8]| {
    let Some((stored, change)) = line(data) else { return };
    if let Ok(made) = patch::json(stored.as_bytes(), change) {
        same(stored.as_bytes(), &made);
    }
    for format in [Format::Json, Format::Xml] {
        let Ok(document) = Document::read(Bytes::copy_from_slice(change), format, Limits::default()) else {
            continue;
        };
        if let Ok(made) = patch::fhirpath(stored.as_bytes(), &document, FhirVersion::R4) {
            same(stored.as_bytes(), &made);
        }
    }
});
