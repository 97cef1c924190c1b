//! What `urn:uuid:` and `urn:oid:` URLs stand for within a transaction (REST-35).

use std::collections::BTreeMap;

use crate::fhir::outline::{Limits, Outline};
use crate::fhir::{BundleRequest, Kind};

/// Urns of entries that write a named resource, and that resource as `Type/id`. An entry that creates one has no
/// identity yet: its urn is not here, and denotes nothing that could be within a compartment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Urns(pub(super) BTreeMap<String, String>);

/// Reads them from a transaction's entries.
pub(super) fn of(bundle: &BundleRequest) -> Urns {
    let limits = Limits { entries: usize::MAX, ..Limits::default() };
    let document = &bundle.document;
    let Ok(outline) = Outline::read(document.bytes(), document.format(), limits) else {
        return Urns::default();
    };
    let Some(outlined) = outline.bundle() else { return Urns::default() };
    let mut urns = BTreeMap::new();
    let mut twice = Vec::new();
    for (entry, request) in outlined.entries.iter().zip(&bundle.entries) {
        let Some(url) = entry.full_url.as_ref().map(|url| url.text.to_string()) else { continue };
        if !url.starts_with("urn:") {
            continue;
        }
        let named =
            request.as_ref().ok().filter(|request| request.kind() == Kind::Update).and_then(|request| {
                let asked = request.asked();
                Some(format!("{}/{}", asked.resource_type()?, asked.found().id.as_deref()?))
            });
        // One urn for two entries means neither.
        match named {
            Some(named) if !urns.contains_key(&url) => drop(urns.insert(url, named)),
            Some(_) | None => twice.push(url),
        }
    }
    twice.iter().for_each(|url| drop(urns.remove(url)));
    Urns(urns)
}
