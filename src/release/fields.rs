//! Which header fields of an answer are shown, and in which words (RESP-5, RESP-6, RESP-9).

use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use http::{HeaderMap, StatusCode};

use super::{Terms, links};
use crate::fhir::{Format, Kind, ResourceType};
use crate::policy::{Access, By, Duties, Expects};

/// What happened to the body that the fields speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    Absent,
    /// URLs in it may have been rewritten, entries cut.
    Rewritten,
    /// It is passed on byte for byte.
    Unchanged,
}

const SHOWN: [HeaderName; 5] = [CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER, CONTENT_DISPOSITION];

/// The fields that are shown.
pub(super) fn shown(headers: &HeaderMap, status: StatusCode, terms: &Terms<'_>, body: Body) -> HeaderMap {
    let mut shown = HeaderMap::new();
    for name in SHOWN {
        if let Some(value) = headers.get(&name) {
            shown.insert(name, value.clone());
        }
    }
    // A strong validator is of bytes that are not sent; a version's is weak and stays true.
    let strong = shown.get(ETAG).is_some_and(|etag| !etag.as_bytes().starts_with(b"W/"));
    if strong && body != Body::Unchanged {
        shown.remove(ETAG);
    }
    if body == Body::Absent && status != StatusCode::OK {
        shown.remove(CONTENT_TYPE);
    }
    if body == Body::Unchanged
        && status != StatusCode::NOT_MODIFIED
        && let Some(length) = headers.get(CONTENT_LENGTH)
    {
        shown.insert(CONTENT_LENGTH, length.clone());
    }
    for name in [LOCATION, CONTENT_LOCATION] {
        let public =
            headers.get(&name).and_then(|url| url.to_str().ok()).and_then(|url| links::public(url, terms));
        if let Some(url) = public.and_then(|url| HeaderValue::from_str(&url).ok()) {
            shown.insert(name, url);
        }
    }
    shown
}

/// The content type of a FHIR body that was read or rewritten here.
pub(super) fn content_type(headers: &mut HeaderMap, format: Format) {
    let value = match format {
        Format::Json => "application/fhir+json; charset=utf-8",
        Format::Xml => "application/fhir+xml; charset=utf-8",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
}

/// RESP-9: whether the answer may name the record it is about. A new record belongs to whom created it; an existing one
/// is named only to who may see it: told by its type, or by its content that is `shown`.
pub(super) fn may_name_record(status: StatusCode, duties: &Duties, terms: &Terms<'_>, shown: bool) -> bool {
    let Expects::Written(Some(resource)) = duties.expects else { return true };
    let created =
        status == StatusCode::CREATED && terms.kind == Kind::Create && duties.if_none_exist.is_none();
    let addressed = matches!(terms.kind, Kind::Update | Kind::Patch | Kind::Delete);
    created || addressed || names_existing(resource, duties, shown)
}

/// Whether an existing record may be named.
pub(super) fn names_existing(resource: ResourceType, duties: &Duties, shown: bool) -> bool {
    match duties.admit.access(resource.as_str(), By::Either) {
        Access::None => false,
        Access::Part(_) => shown,
        Access::Whole => true,
    }
}

/// Whether the client has this version already (RFC 9110 §13.1).
pub(super) fn is_current(headers: &HeaderMap, terms: &Terms<'_>) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let opaque = |etag: &str| etag.trim().strip_prefix("W/").unwrap_or(etag.trim()).to_owned();
    match (&terms.unless.none_match, &terms.unless.modified_since) {
        (Some(tags), _) => text(ETAG)
            .is_some_and(|etag| tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(etag))),
        (None, Some(since)) => {
            let read = |date: &str| jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp());
            match (text(LAST_MODIFIED).and_then(read), read(since)) {
                (Some(modified), Some(since)) => modified <= since,
                (Some(_) | None, _) => false,
            }
        }
        (None, None) => false,
    }
}

/// Takes out what names a record.
pub(super) fn forget_record(headers: &mut HeaderMap) {
    for name in [LOCATION, CONTENT_LOCATION, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
}
