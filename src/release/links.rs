//! Backend URLs become public ones, and cursors leave sealed (RESP-6, SRCH-24, SRCH-25).

use bytes::Bytes;
use http::Method;

use super::{Terms, Withheld};
use crate::fhir::links::{Grouping, Mention, Patients};
use crate::fhir::outline::{Bundle, Edits};
use crate::fhir::{Format, Kind, Target, classify};
use crate::policy::{self, Duties, LINK_PARAMETER, Leads, Link, Reached};

/// What of a URL lies below the backend's base; relative ones do. Nothing when it leads elsewhere.
pub(super) fn below<'u>(url: &'u str, terms: &Terms<'_>) -> Option<&'u str> {
    let rest = if has_scheme(url) {
        // Backends that believe `X-Forwarded-Host` write public URLs themselves. The longer base is the one meant.
        let candidates = [under(url, terms.public_base), under_backend(url, terms)];
        candidates.into_iter().flatten().min_by_key(|rest| rest.len())?
    } else if url.starts_with("//") {
        return None;
    } else if url.starts_with('/') {
        let candidates = [terms.backend_base, terms.public_base].map(|base| under(url, path_of(base)));
        candidates.into_iter().flatten().next()?
    } else {
        url
    };
    stays_below(rest).then_some(rest)
}

/// RFC 3986 §4.2: a colon before any of `/`, `?` and `#` ends a scheme.
fn has_scheme(url: &str) -> bool {
    url.find([':', '/', '?', '#']).and_then(|at| url.get(at..)).is_some_and(|rest| rest.starts_with(':'))
}

/// The path of a base, without a trailing slash.
fn path_of(base: &str) -> &str {
    let host = base.find("://").map_or(0, |at| at + 3);
    let path = base.get(host..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| host + at);
    base.get(path..).unwrap_or("")
}

fn under<'u>(url: &'u str, base: &str) -> Option<&'u str> {
    let rest = url.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| rest.strip_prefix('/').unwrap_or(rest))
}

fn under_backend<'u>(url: &'u str, terms: &Terms<'_>) -> Option<&'u str> {
    terms.mapping.apply(url)?;
    // The mapping compared scheme and host without case and with default ports; what follows them is the path.
    let host = url.find("://").map(|at| at + 3)?;
    let path = url.get(host..)?.find(['/', '?']).map_or(url.len(), |at| host + at);
    under(url.get(path..)?, path_of(terms.backend_base))
}

/// Whether a path climbs nowhere, however a server may read it.
fn stays_below(rest: &str) -> bool {
    let path = rest.split(['?', '#']).next().unwrap_or("").to_ascii_lowercase().replace("%2e", ".");
    !path.contains(['\\', ';'])
        && !path.contains("%2f")
        && !path.contains("%5c")
        && path.split('/').all(|segment| !matches!(segment, "." | ".."))
}

/// The public form of a URL in a header field; nothing when it leads elsewhere.
pub(super) fn public(url: &str, terms: &Terms<'_>) -> Option<String> {
    below(url, terms).map(|rest| join(terms.public_base, rest))
}

pub(super) fn join(base: &str, rest: &str) -> String {
    if rest.is_empty() || rest.starts_with('?') {
        format!("{base}{rest}")
    } else {
        format!("{base}/{}", rest.strip_prefix('/').unwrap_or(rest))
    }
}

/// The terms on which links leave with an answer.
pub(super) fn sealing(duties: &Duties, terms: &Terms<'_>) -> Option<policy::Terms> {
    Some(policy::Terms {
        binding: duties.binding.clone()?,
        needs: duties.needs.clone(),
        by: duties.by,
        search: duties.search.clone(),
        extent: duties.extent,
        expires: terms.links_expire,
    })
}

/// A sealed public URL for a target below the backend's base.
pub(super) fn sealed(rest: &str, leads: Leads, on: &policy::Terms, terms: &Terms<'_>) -> Option<String> {
    let text = terms.seal.seal(&Link::new(leads, rest.to_owned(), on))?;
    Some(format!("{}?{LINK_PARAMETER}={text}", terms.public_base))
}

/// What becomes of a bundle's own links: `self` is shown in public words, a link that says all it means stays readable
/// and is asked for like any request, a cursor is sealed, and what leads elsewhere goes.
pub(super) fn bundle(bundle: &Bundle<'_>, edits: &mut Edits, on: Option<&policy::Terms>, terms: &Terms<'_>) {
    // What a narrowed search leads to is not what its words say to another grant.
    let seals = on.is_some_and(|on| on.extent == Reached::Part);
    let mut gone = Vec::new();
    for (at, link) in bundle.links.iter().enumerate() {
        let Some(url) = &link.url else {
            gone.push(at);
            continue;
        };
        let Some(rest) = below(&url.text, terms) else {
            gone.push(at);
            continue;
        };
        let relation = link.relation.as_ref().map_or("", |relation| relation.text.as_ref());
        let readable =
            if relation == "self" { names_no_cursor(rest) } else { !seals && speaks_for_itself(rest, terms) };
        if readable {
            edits.set(url, &join(terms.public_base, rest));
            continue;
        }
        match on.and_then(|on| sealed(rest, Leads::Page, on, terms)) {
            Some(public) => edits.set(url, &public),
            None => gone.push(at),
        }
    }
    let mut at = 0;
    edits.links(bundle, |_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

/// Whether a `self` link shows what was asked (SRCH-24) and no cursor that only the backend understands: every
/// control parameter in it is one of FHIR's.
fn names_no_cursor(rest: &str) -> bool {
    const CONTROLS: [&str; 29] = [
        "_at",
        "_contained",
        "_containedType",
        "_content",
        "_count",
        "_elements",
        "_filter",
        "_format",
        "_has",
        "_id",
        "_include",
        "_language",
        "_lastUpdated",
        "_list",
        "_maxresults",
        "_offset",
        "_pretty",
        "_profile",
        "_revinclude",
        "_score",
        "_security",
        "_since",
        "_sort",
        "_source",
        "_summary",
        "_tag",
        "_text",
        "_total",
        "_type",
    ];
    let of_fhir = |code: &str| !code.starts_with('_') || CONTROLS.contains(&code);
    Target::relative(rest)
        .is_ok_and(|target| target.query().iter().all(|parameter| of_fhir(parameter.code())))
}

/// Whether a link is a search or history by parameters that every request may carry.
fn speaks_for_itself(rest: &str, terms: &Terms<'_>) -> bool {
    let Ok(target) = Target::relative(rest) else { return false };
    let version = terms.version;
    let searches = classify(version, &Method::GET, &target)
        .is_ok_and(|found| found.shape.kind.searches() || found.shape.kind.is_history());
    let known = |code: &str| {
        matches!(
            code,
            "_count"
                | "_offset"
                | "_sort"
                | "_total"
                | "_format"
                | "_pretty"
                | "_summary"
                | "_elements"
                | "_since"
                | "_type"
                | "_id"
                | "_lastUpdated"
                | "_tag"
                | "_security"
                | "_profile"
        ) || target.segments().first().and_then(|name| version.resource_type(name)).is_some_and(|resource| {
            !code.starts_with('_') && version.search_parameter(resource, code).is_some()
        })
    };
    searches
        && terms.kind != Kind::Operation
        && target.query().iter().all(|parameter| known(parameter.code()))
}

/// Rewrites the backend's base in the elements that hold URIs; tells whom the body names (AUD-7), in a batch by its
/// entries.
pub(super) fn rewrite(
    body: Bytes,
    format: Format,
    terms: &Terms<'_>,
) -> Result<(Bytes, Vec<Mention>), Withheld> {
    let grouping = if terms.kind == Kind::Batch { Grouping::Entry } else { Grouping::Document };
    let mut patients = Patients::by(grouping);
    let edits = crate::fhir::links::edits(&body, format, (terms.mapping, terms.is_uri), &mut patients)
        .map_err(|error| Withheld::Unreadable(error.to_string()))?;
    let body = if edits.is_empty() { body } else { Bytes::from(edits.apply(&body)) };
    Ok((body, patients.take()))
}
