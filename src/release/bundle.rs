//! Searchsets, histories and operation bundles: entries that may not be shown are cut, and leave no trace.

use bytes::Bytes;

use super::{Checked, Terms, Withheld, faults, keeps_total, links, shows};
use crate::fhir::outline::{Bundle, Edits, Entry, Kind, Outline, Resource, Step};
use crate::policy::{Admit, Duties};

/// The resources directly inside a container.
pub(super) fn resources<'r, 'a>(
    resource: &'r Resource<'a>,
) -> Box<dyn Iterator<Item = &'r Resource<'a>> + 'r> {
    match &resource.kind {
        Kind::Bundle(bundle) => Box::new(bundle.entries.iter().flat_map(|entry| {
            let outcome = entry.response.as_ref().and_then(|response| response.outcome.as_deref());
            entry.resource.iter().chain(outcome)
        })),
        Kind::Parameters(inner) => Box::new(inner.iter()),
        Kind::Other => Box::new(std::iter::empty()),
    }
}

/// Cuts what may not be shown from the bundle that is the answer.
pub(super) fn release(
    outline: &Outline<'_>,
    bundle: &Bundle<'_>,
    body: &Bytes,
    duties: &Duties,
    terms: &Terms<'_>,
) -> Result<Checked, Withheld> {
    let mut edits = Edits::new(outline.format);
    let removed = filter(bundle, &mut edits, body, duties, terms);
    let on = links::sealing(duties, terms);
    links::bundle(bundle, &mut edits, on.as_ref(), terms);
    let body = if edits.is_empty() { body.clone() } else { Bytes::from(edits.apply(body)) };
    Ok(Checked { body: Some(body), altered: removed > 0 })
}

/// Notes the cuts of one bundle; says how many entries go.
pub(super) fn filter(
    bundle: &Bundle<'_>,
    edits: &mut Edits,
    body: &[u8],
    duties: &Duties,
    terms: &Terms<'_>,
) -> usize {
    let mut removed = 0;
    edits.entries(
        bundle,
        |_, entry| {
            if keeps(entry, body, &duties.admit, terms) {
                Step::Keep
            } else {
                removed += 1;
                Step::Drop
            }
        },
        &[],
    );
    if let Some(issues) = &bundle.issues {
        edits.remove(issues.member.clone());
    }
    if let Some(total) = bundle.total.as_ref().filter(|_| !keeps_total(duties, removed)) {
        edits.remove(total.member.clone());
    }
    removed
}

fn keeps(entry: &Entry<'_>, body: &[u8], admit: &Admit, terms: &Terms<'_>) -> bool {
    match &entry.resource {
        Some(resource) if resource.resource_type == "OperationOutcome" => {
            // A search's own warnings; nothing else of that type belongs here (SRCH-28).
            let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
            mode == Some("outcome")
                && !faults::names_backend(body.get(resource.range.clone()).unwrap_or_default(), terms)
        }
        Some(resource) => shows(resource, admit),
        // A deletion in a history says only what was deleted (REST-18).
        None => terms.kind.is_history() && deleted_type(entry).is_some_and(|name| admit.shows(&name)),
    }
}

/// The type a history entry without content speaks of.
fn deleted_type(entry: &Entry<'_>) -> Option<String> {
    let url = entry.request.as_ref()?.url.as_ref()?.text.as_ref();
    let path = url.split('?').next()?;
    // `Type/id`, below a base or not.
    let mut segments = path.rsplit('/').skip_while(|segment| *segment == "_history");
    let last = segments.next()?;
    let before = segments.next();
    before.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).or(Some(last)).map(str::to_owned)
}
