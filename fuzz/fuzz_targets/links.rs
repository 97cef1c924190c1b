//! Addresses in a body, rewritten as it streams: of a document the outcome is the same in one piece and in many, and `serde_json`
//! finds the same with other addresses. What is no JSON may be read in more than one way; then only nothing may go wrong. Input: a byte that cuts, a byte that chooses the format, then the body.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pforte::fhir::Format;
use pforte::fhir::links::{Mapping, Mention, Rewriter};
use pforte::gateway::is_uri;
use pforte_fuzz::{BACKEND, PUBLIC};
use serde_json::Value;

fn rewritten(body: &[u8], format: Format, size: usize) -> Option<(Vec<u8>, Vec<Mention>)> {
    let mapping = Arc::new(Mapping::new(&[BACKEND], PUBLIC).expect("a base"));
    let mut rewriter = Rewriter::new(format, mapping, is_uri);
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        rewriter.push(Bytes::copy_from_slice(chunk), &mut |part| out.extend_from_slice(&part)).ok()?;
    }
    let mentions = rewriter.patients().take();
    rewriter.finish().ok()?;
    Some((out, mentions))
}

/// Whether two documents differ in strings only.
fn alike(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::String(before), Value::String(after)) => before == after || after.starts_with(PUBLIC),
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| alike(before, after))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|((a, before), (b, after))| a == b && alike(before, after))
        }
        _ => before == after,
    }
}

fuzz_target!(|data: &[u8]| {
    let [size, format, body @ ..] = data else { return };
    let format = if format % 2 == 0 { Format::Json } else { Format::Xml };
    let whole = rewritten(body, format, body.len().max(1));
    let pieces = rewritten(body, format, usize::from(*size).max(1));
    let bytewise = rewritten(body, format, 1);
    if format == Format::Xml {
        assert_eq!(whole, pieces, "in pieces of {size}");
        assert_eq!(whole, bytewise, "byte by byte");
        return;
    }
    let Ok(before) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(whole, pieces, "in pieces of {size}");
    assert_eq!(whole, bytewise, "byte by byte");
    let Some((out, _)) = whole else { return };
    let after: Value = serde_json::from_slice(&out).expect("still JSON");
    assert!(alike(&before, &after));
});
