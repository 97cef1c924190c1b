//! Searchsets, histories and operation bundles: entries that may not be shown are cut, and leave no trace.

use http::StatusCode;

use super::{Case, Terms, faults, keeps_total, links, shows};
use crate::fhir::outline::{Bundle, Edits, Entry, Kind, Resource, Step};
use crate::fhir::{ResourceType, Target};

/// The type a bundle says it is of.
pub(super) fn type_of<'b>(bundle: &'b Bundle<'_>) -> &'b str {
    bundle.bundle_type.as_ref().map_or("", |written| written.text.as_ref())
}

/// The resources directly inside a container.
pub(super) fn resources<'r, 'a>(
    resource: &'r Resource<'a>,
) -> Box<dyn Iterator<Item = &'r Resource<'a>> + 'r> {
    match &resource.kind {
        Kind::Bundle(bundle) => {
            let entries = bundle.entries.iter().flat_map(|entry| entry.resource.iter().chain(outcome(entry)));
            Box::new(entries.chain(bundle.issues.as_deref()))
        }
        Kind::Parameters(inner) => Box::new(inner.iter()),
        Kind::Other => Box::new(std::iter::empty()),
    }
}

fn outcome<'e, 'a>(entry: &'e Entry<'a>) -> Option<&'e Resource<'a>> {
    entry.response.as_ref().and_then(|response| response.outcome.as_deref())
}

/// Cuts what may not be shown from a bundle; says whether something went.
pub(super) fn release(bundle: &Bundle<'_>, case: Case<'_>, edits: &mut Edits) -> bool {
    let mut inside = Edits::new(case.format);
    let kept: Vec<bool> =
        bundle.entries.iter().map(|entry| keeps(entry, type_of(bundle), case, &mut inside)).collect();
    let removed = kept.iter().filter(|kept| !**kept).count();
    let step = |at: usize| if kept.get(at) == Some(&true) { Step::Keep } else { Step::Drop };
    edits.entries(bundle, |at, _| step(at), &[]);
    edits.merge(inside);
    if let Some(issues) = &bundle.issues {
        edits.remove(issues.member.clone());
    }
    if let Some(total) = bundle.total.as_ref().filter(|_| !keeps_total(case.duties, removed)) {
        edits.remove(total.member.clone());
    }
    links(bundle, case, edits);
    removed > 0
}

/// Rewrites and seals the links of a bundle that is shown.
pub(super) fn links(bundle: &Bundle<'_>, case: Case<'_>, edits: &mut Edits) {
    let on = links::sealing(case.duties, case.terms);
    links::bundle(bundle, edits, on.as_ref(), case.terms);
}

/// Says again, clean, every outcome inside a container that is shown (RESP-3).
pub(super) fn clean_outcomes(container: &Resource<'_>, case: Case<'_>, edits: &mut Edits) {
    for resource in resources(container) {
        if resource.resource_type == "OperationOutcome" {
            // One that cannot be read says nothing that could be shown.
            let cleaned = faults::cleaned(case.bytes(resource), StatusCode::OK, case);
            let cleaned = cleaned.unwrap_or_else(|| faults::nothing_to_say().write(case.format));
            edits.replace(resource.range.clone(), cleaned);
        } else {
            clean_outcomes(resource, case, edits);
        }
    }
}

fn keeps(entry: &Entry<'_>, bundle_type: &str, case: Case<'_>, edits: &mut Edits) -> bool {
    if let Some(outcome) = outcome(entry) {
        // In principle any resource can stand here; only an outcome means something.
        match faults::cleaned(case.bytes(outcome), StatusCode::OK, case) {
            Some(cleaned) => edits.replace(outcome.range.clone(), cleaned),
            None => return false,
        }
    }
    let admit = &case.duties.admit;
    match &entry.resource {
        Some(resource) if resource.resource_type == "OperationOutcome" => {
            // A search's own warnings; nothing else of that type belongs here (SRCH-28).
            let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
            let cleaned =
                faults::unsuspicious(case.bytes(resource), case).filter(|_| mode == Some("outcome"));
            cleaned.map(|cleaned| edits.replace(resource.range.clone(), cleaned)).is_some()
        }
        Some(resource) => shows(resource, admit),
        // A deletion in a history says only what was deleted (REST-18).
        None => {
            bundle_type == "history"
                && deleted_type(entry, case.terms).is_some_and(|deleted| admit.shows(deleted.as_str()))
        }
    }
}

/// The type a history entry without content speaks of.
fn deleted_type(entry: &Entry<'_>, terms: &Terms<'_>) -> Option<ResourceType> {
    let url = entry.request.as_ref()?.url.as_ref()?.text.as_ref();
    let target = Target::relative(links::below(url, terms)?).ok()?;
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let ([name] | [name, _] | [name, _, "_history", _]) = segments.as_slice() else { return None };
    terms.version.resource_type(name)
}
