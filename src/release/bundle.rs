//! Searchsets, histories and operation bundles: entries that may not be shown are cut, and leave no trace.

use http::StatusCode;

use super::reached::{Came, came, shows, shows_found};
use super::{Case, Terms, faults, keeps_total, links};
use crate::fhir::outline::{Bundle, Edits, Entry, Kind, Resource, Step};
use crate::fhir::{ResourceType, Target};
use crate::policy::{Access, Counting, Total};

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

/// What became of a bundle.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// How many entries are left.
    pub(super) kept: usize,
    /// Whether something was taken out.
    pub(super) altered: bool,
}

/// Cuts what may not be shown from a bundle.
pub(super) fn release(bundle: &Bundle<'_>, case: Case<'_>, edits: &mut Edits) -> Cut {
    let mut inside = Edits::new(case.format);
    let mut kept: Vec<bool> =
        bundle.entries.iter().map(|entry| keeps(entry, type_of(bundle), case, &mut inside)).collect();
    deletions(bundle, case, &mut kept);
    let left = kept.iter().filter(|kept| **kept).count();
    let removed = kept.len() - left;
    if let Some(issues) = &bundle.issues {
        edits.remove(issues.member.clone());
    }
    if counts(case) {
        count(bundle, case, &kept, edits);
        return Cut { kept: left, altered: true };
    }
    let step = |at: usize| if kept.get(at) == Some(&true) { Step::Keep } else { Step::Drop };
    edits.entries(bundle, |at, _| step(at), &[]);
    edits.merge(inside);
    let keeps = match case.duties.total {
        Total::Seen => removed == 0 && counts_this(bundle, case),
        Total::Dropped | Total::Kept => keeps_total(case.duties, removed),
    };
    if let Some(total) = bundle.total.as_ref().filter(|_| !keeps) {
        edits.remove(total.member.clone());
    }
    links(bundle, case, edits);
    Cut { kept: left, altered: removed > 0 }
}

fn counts(case: Case<'_>) -> bool {
    case.duties.search.as_deref().is_some_and(|duty| duty.counting == Counting::Only)
}

/// Leaves only the number of matches, where all of them are on this page (SRCH-15).
fn count(bundle: &Bundle<'_>, case: Case<'_>, kept: &[bool], edits: &mut Edits) {
    let matches = matches(bundle, case).zip(kept).filter(|(matches, kept)| *matches && **kept).count();
    edits.entries(bundle, |_, _| Step::Drop, &[]);
    if let Some(total) = &bundle.total {
        match u64::try_from(matches) {
            Ok(number) if !goes_on(bundle) => edits.set_total(total, number),
            Ok(_) | Err(_) => edits.remove(total.member.clone()),
        }
    }
    // A number has no further pages.
    edits.links(bundle, |_| false);
}

/// Whether there are further pages.
fn goes_on(bundle: &Bundle<'_>) -> bool {
    bundle.links.iter().any(|link| {
        let relation = link.relation.as_ref().map_or("", |relation| relation.text.as_ref());
        !matches!(relation, "self" | "first" | "last")
    })
}

/// Which entries are matches.
fn matches<'b>(bundle: &'b Bundle<'_>, case: Case<'b>) -> impl Iterator<Item = bool> + 'b {
    bundle.entries.iter().map(move |entry| {
        let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
        let Some(resource) = &entry.resource else { return type_of(bundle) == "history" };
        match case.duties.search.as_deref() {
            Some(duty) if !duty.searched.is_empty() => {
                came(&resource.resource_type, mode, duty) == Came::Match
            }
            Some(_) | None => !matches!(mode, Some("include" | "outcome")),
        }
    })
}

/// Whether the total counts the matches of this page, and there are no others (SRCH-16).
fn counts_this(bundle: &Bundle<'_>, case: Case<'_>) -> bool {
    let here = u64::try_from(matches(bundle, case).filter(|matches| *matches).count());
    !goes_on(bundle) && bundle.total.as_ref().is_some_and(|total| Ok(total.number) == here)
}

/// A deletion says nothing of its content: under a grant in part it stays when the version before it does (REST-18).
fn deletions(bundle: &Bundle<'_>, case: Case<'_>, kept: &mut [bool]) {
    if type_of(bundle) != "history" {
        return;
    }
    let identity = |entry: &Entry<'_>| -> Option<(String, String)> {
        let of = entry.resource.as_ref().map(|resource| {
            (resource.resource_type.to_string(), resource.id.as_ref().map_or("", |id| &id.text).to_owned())
        });
        of.or_else(|| deleted(entry, case.terms).map(|(of, id)| (of.to_string(), id.unwrap_or_default())))
    };
    for (at, entry) in bundle.entries.iter().enumerate().rev() {
        let Some((of, _)) = deleted(entry, case.terms).filter(|_| entry.resource.is_none()) else { continue };
        let access = case.duties.admit.access(of.as_str(), case.duties.by);
        if !matches!(access, Access::Part(_)) {
            continue;
        }
        let this = identity(entry);
        let older =
            bundle.entries.iter().zip(kept.iter()).skip(at + 1).find(|(other, _)| identity(other) == this);
        let stays = older.is_some_and(|(_, kept)| *kept);
        if let Some(kept) = kept.get_mut(at) {
            *kept = *kept && stays;
        }
    }
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

pub(super) fn keeps(entry: &Entry<'_>, bundle_type: &str, case: Case<'_>, edits: &mut Edits) -> bool {
    if let Some(outcome) = outcome(entry) {
        // In principle any resource can stand here; only an outcome means something.
        match faults::cleaned(case.bytes(outcome), StatusCode::OK, case) {
            Some(cleaned) => edits.replace(outcome.range.clone(), cleaned),
            None => return false,
        }
    }
    match &entry.resource {
        Some(resource) if resource.resource_type == "OperationOutcome" => {
            // A search's own warnings; nothing else of that type belongs here (SRCH-28).
            let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
            let cleaned =
                faults::unsuspicious(case.bytes(resource), case).filter(|_| mode == Some("outcome"));
            cleaned.map(|cleaned| edits.replace(resource.range.clone(), cleaned)).is_some()
        }
        Some(resource) => {
            let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
            match case.duties.search.as_deref() {
                Some(duty) if bundle_type != "history" => shows_found(resource, mode, duty, case),
                Some(_) | None => shows(resource, case.duties.by, case),
            }
        }
        // A deletion in a history says only what was deleted (REST-18).
        None => {
            bundle_type == "history"
                && deleted(entry, case.terms).is_some_and(|(of, _)| {
                    case.duties.admit.access(of.as_str(), case.duties.by) != Access::None
                })
        }
    }
}

/// The type and id a history entry without content speaks of.
fn deleted(entry: &Entry<'_>, terms: &Terms<'_>) -> Option<(ResourceType, Option<String>)> {
    let url = entry.request.as_ref()?.url.as_ref()?.text.as_ref();
    let target = Target::relative(links::below(url, terms)?).ok()?;
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let (name, id) = match segments.as_slice() {
        [name] => (name, None),
        [name, id] | [name, id, "_history", _] => (name, Some((*id).to_owned())),
        _ => return None,
    };
    Some((terms.version.resource_type(name)?, id))
}
