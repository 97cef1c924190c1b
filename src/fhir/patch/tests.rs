use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json as value};

use super::*;
use crate::fhir::element::Element;
use crate::fhir::outline::Limits;

mod fhirpath_patch;
mod json_patch;

/// What results, or the variant of the error.
fn outcome(result: Result<Vec<u8>, PatchError>) -> Result<Value, String> {
    match result {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).expect("JSON")),
        Err(error) => {
            let shown = format!("{error:?}");
            Err(shown.split(['(', ' ', '{']).next().unwrap_or_default().to_owned())
        }
    }
}

/// What a table says should result: members of a resource that begins like this, or the variant of an error.
fn expected(begun: &str, after: &str) -> Result<Value, String> {
    if after.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Err(after.to_owned());
    }
    Ok(serde_json::from_str(&resource_of(begun, after)).expect(after))
}

fn resource_of(begun: &str, members: &str) -> String {
    if members.is_empty() { format!("{{{begun}}}") } else { format!("{{{begun},{members}}}") }
}

fn document(text: String, format: Format) -> Document {
    Document::read(Bytes::from(text), format, Limits::default()).expect("a document")
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in "[{}\\[\\]\"a:,/~01]{0,60}") {
        let _ = json(br#"{"resourceType":"Basic"}"#, text.as_bytes());
        let _ = json(text.as_bytes(), b"[]");
        let _ = path::Path::read(&text);
        let _ = path::Path::read(&format!("Patient.{text}"));
    }
}
