//! What the tests of this room share: each resource is written in JSON, and asked in JSON and in XML.

mod compartments;
mod criteria;
mod dates;
mod expressions;
mod numbers;
mod properties;
mod references;
mod texts;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value as Json;

use super::{Criterion, Means, Site, Unusable, Verdict};
use crate::fhir::element::{Document, Element};
use crate::fhir::{FhirVersion, Format, Parameter, ResourceType};

/// What is written as `parameter=value`, and whether a resource matches it.
type Rows = &'static [(&'static str, bool)];

const VERSIONS: [FhirVersion; 3] = [FhirVersion::R4, FhirVersion::R4B, FhirVersion::R5];

fn site(version: FhirVersion, urns: Option<&BTreeMap<String, String>>) -> Site<'_> {
    Site {
        version,
        public_base: "https://gateway.test/fhir",
        backend_base: "http://backend.test:8080/base",
        urns,
    }
}

fn ty(version: FhirVersion, name: &str) -> ResourceType {
    version.resource_type(name).unwrap_or_else(|| panic!("{name} is no type of {version}"))
}

fn criterion(version: FhirVersion, on: &str, written: &str) -> Result<Criterion, Unusable> {
    let (name, value) = written.split_once('=').unwrap();
    Criterion::new(version, ty(version, on), &Parameter::new(name, value))
}

/// What `ask` says of a resource, which must be the same in both formats.
fn both<T: PartialEq + std::fmt::Debug>(json: &str, ask: impl Fn(Element<'_>) -> T) -> T {
    let tree: Json = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let xml = xml(&tree);
    let [first, second] = [(json, Format::Json), (xml.as_str(), Format::Xml)].map(|(text, format)| {
        let document = Document::read(text.as_bytes(), format).unwrap_or_else(|e| panic!("{e}: {text}"));
        ask(document.root())
    });
    assert_eq!(first, second, "{json}\n{xml}");
    first
}

/// Whether a resource matches what is written as `parameter=value`.
fn matches(version: FhirVersion, json: &str, written: &str) -> bool {
    let tree: Json = serde_json::from_str(json).unwrap();
    let criterion = criterion(version, tree["resourceType"].as_str().unwrap(), written)
        .unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(criterion.means(), Means::Here, "{written}");
    both(json, |root| criterion.holds(root, &site(version, None))) == Verdict::Yes
}

/// Asserts of each row whether the resource matches.
fn check(version: FhirVersion, json: &str, table: &[(&str, bool)]) {
    let wrong: Vec<_> =
        table.iter().filter(|(written, expected)| matches(version, json, written) != *expected).collect();
    assert!(wrong.is_empty(), "{version} {json}\nnot so: {wrong:#?}");
}

/// A resource in FHIR's XML.
fn xml(resource: &Json) -> String {
    let mut out = String::new();
    held(resource, &mut out);
    out
}

fn held(resource: &Json, out: &mut String) {
    let name = resource["resourceType"].as_str().unwrap();
    write!(out, "<{name}>").unwrap();
    members(resource, out);
    write!(out, "</{name}>").unwrap();
}

fn members(object: &Json, out: &mut String) {
    for (name, value) in object.as_object().unwrap() {
        let plain = name.trim_start_matches('_');
        // A shadow is written with its value, unless it has none.
        let alone = name != plain && object.get(plain).is_none();
        if name == "resourceType" || name != plain && !alone {
            continue;
        }
        let shadow = object.get(format!("_{plain}")).filter(|_| name == plain || alone);
        match value {
            Json::Array(items) => items.iter().for_each(|item| element(plain, item, None, out)),
            Json::Bool(_) | Json::Null | Json::Number(_) | Json::Object(_) | Json::String(_) => {
                element(plain, value, shadow, out);
            }
        }
    }
}

fn element(name: &str, value: &Json, shadow: Option<&Json>, out: &mut String) {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    match value {
        Json::Object(object) if object.contains_key("resourceType") => {
            write!(out, "<{name}>").unwrap();
            held(value, out);
            write!(out, "</{name}>").unwrap();
        }
        Json::Object(object) => {
            let mut inner = value.clone();
            let url = if name == "extension" { inner.as_object_mut().unwrap().remove("url") } else { None };
            let url = url.map_or(String::new(), |url| format!(" url=\"{}\"", url.as_str().unwrap()));
            write!(out, "<{name}{url}>").unwrap();
            if !object.is_empty() {
                members(&inner, out);
            }
            write!(out, "</{name}>").unwrap();
        }
        Json::String(text) => primitive(name, &escaped(text), shadow, out),
        Json::Array(_) | Json::Null => {}
        Json::Bool(_) | Json::Number(_) => primitive(name, &value.to_string(), shadow, out),
    }
}

fn primitive(name: &str, value: &str, shadow: Option<&Json>, out: &mut String) {
    write!(out, "<{name} value=\"{value}\">").unwrap();
    if let Some(shadow) = shadow {
        members(shadow, out);
    }
    write!(out, "</{name}>").unwrap();
}
