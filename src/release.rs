//! Spends the duties: turns an answer into one that may be shown.
//!
//! What a backend sends is not trusted to be what was asked for. A grant for everything may stream; anything else is
//! read whole, held against the duties, cut by byte range and only then shown. An answer that cannot be read is
//! withheld (RESP-1, RESP-2). Error texts are written anew, without what a backend says about itself (RESP-3).

mod bundle;
mod entries;
mod export;
mod faults;
mod fields;
mod links;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};

use crate::fhir::links::Mapping;
use crate::fhir::outline::{Bundle, Edits, Kind as ResourceKind, Limits, Outline, Resource};
use crate::fhir::{BundleAction, FhirVersion, Format, Kind, ResourceType, is_utf8};
use crate::policy::{Admit, Content, Duties, Expects, SealKey, Total};

pub use faults::Withheld;

/// A backend's answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// An answer that may be shown. Only `release` makes one.
#[derive(Debug, Clone)]
pub struct Released {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    altered: bool,
}

impl Released {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether something was removed or replaced, URLs aside (HTTP-23).
    #[must_use]
    pub fn altered(&self) -> bool {
        self.altered
    }

    /// The parts, to be sent.
    #[must_use]
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Bytes) {
        (self.status, self.headers, self.body)
    }
}

/// What an answer is released under, besides its duties.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The served version.
    pub version: FhirVersion,
    /// The interaction that was asked for.
    pub kind: Kind,
    /// The method that was sent.
    pub method: &'a Method,
    /// The format the client wants.
    pub format: Format,
    /// The public FHIR base, without a trailing slash.
    pub public_base: &'a str,
    /// The backend's FHIR base, without a trailing slash.
    pub backend_base: &'a str,
    /// Backend URLs to public ones.
    pub mapping: &'a Mapping,
    /// Which element names hold URIs.
    pub is_uri: fn(&str) -> bool,
    /// What page links are sealed with.
    pub seal: &'a SealKey,
    /// When links that leave now stop working, in seconds since 1970.
    pub links_expire: i64,
    /// Whose credentials the backend saw.
    pub credentials: Credentials,
    /// Batch or transaction, when it was one.
    pub action: Option<BundleAction>,
}

/// Whose credentials the backend saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The client's own token.
    Client,
    /// The gateway's, or none.
    Gateway,
}

/// How an answer must be handled, told by its head.
#[derive(Debug, Clone)]
pub enum Opening {
    /// It must be read whole and checked.
    Hold,
    /// It may be passed on while it comes in, URLs rewritten in this format if it is FHIR.
    Stream {
        /// Its status.
        status: StatusCode,
        /// The header fields that may be shown.
        headers: HeaderMap,
        /// The format whose URLs are rewritten; absent for content that is no FHIR.
        format: Option<Format>,
    },
}

/// Looks at an answer's head.
///
/// # Errors
/// When nothing of it may be shown.
pub fn open(
    status: StatusCode,
    headers: &HeaderMap,
    duties: &Duties,
    terms: &Terms<'_>,
) -> Result<Opening, Withheld> {
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        // Only identity was asked for; what is packed cannot be checked (RESP-5).
        return Err(Withheld::Encoded);
    }
    if status != StatusCode::OK || *terms.method == Method::HEAD {
        return Ok(Opening::Hold);
    }
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        // Two readers could take it for two things.
        return Err(Withheld::NotFhir);
    }
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0") {
        return Ok(Opening::Hold);
    }
    let format = format(headers);
    let content = match (&duties.expects, format) {
        (Expects::Resource(Some(resource), _), None) => resource.as_str() == "Binary",
        (Expects::Export, None) => export::is_file(headers),
        (
            Expects::Anything
            | Expects::Bundle(_)
            | Expects::Export
            | Expects::Resource(..)
            | Expects::Written(_),
            _,
        ) => false,
    };
    if content {
        let headers = fields::shown(headers, status, terms, fields::Body::Unchanged);
        return Ok(Opening::Stream { status, headers, format: None });
    }
    if duties.streams() && !terms.kind.writes() && terms.kind != Kind::Batch {
        let format = format.ok_or(Withheld::NotFhir)?;
        let mut headers = fields::shown(headers, status, terms, fields::Body::Rewritten);
        fields::content_type(&mut headers, format);
        return Ok(Opening::Stream { status, headers, format: Some(format) });
    }
    Ok(Opening::Hold)
}

/// Holds a whole answer against the duties.
///
/// # Errors
/// When nothing of it may be shown.
pub fn check(answer: Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    let status = answer.status;
    if status == StatusCode::NOT_MODIFIED {
        return not_modified(&answer, terms);
    }
    if duties.expects == Expects::Export && status.is_success() {
        return export::release(&answer, duties, terms);
    }
    if !status.is_success() {
        return faults::release(&answer, duties, terms);
    }
    if *terms.method == Method::HEAD {
        let headers = fields::shown(&answer.headers, status, terms, fields::Body::Absent);
        return Ok(Released { status, headers, body: Bytes::new(), altered: false });
    }
    if answer.body.is_empty() {
        return empty(&answer, duties, terms);
    }
    let format = format(&answer.headers).ok_or(Withheld::NotFhir)?;
    let outline = Outline::read(&answer.body, format, Limits { entries: 1_000_000, ..Limits::default() })
        .map_err(|error| Withheld::Unreadable(error.to_string()))?;
    let checked = content(&outline, &answer.body, duties, terms)?;
    let mut headers = fields::shown(&answer.headers, status, terms, fields::Body::Rewritten);
    if !fields::may_name_record(status, duties, terms) {
        fields::forget_record(&mut headers);
    }
    let body = match checked.body {
        Some(bytes) => links::rewrite(bytes, format, terms)?,
        None => Bytes::new(),
    };
    if body.is_empty() {
        headers.remove(CONTENT_TYPE);
    } else {
        fields::content_type(&mut headers, format);
    }
    Ok(Released { status, headers, body, altered: checked.altered })
}

/// What is left of a body.
struct Checked {
    /// The bytes; nothing when the content may not be shown.
    body: Option<Bytes>,
    altered: bool,
}

/// A body, or one entry's part of it, and what it is held against.
#[derive(Clone, Copy)]
struct Case<'c> {
    /// The whole body; ranges are within it.
    body: &'c [u8],
    format: Format,
    duties: &'c Duties,
    terms: &'c Terms<'c>,
}

impl Case<'_> {
    /// The bytes of a resource.
    fn bytes(&self, resource: &Resource<'_>) -> &[u8] {
        self.body.get(resource.range.clone()).unwrap_or_default()
    }
}

/// What becomes of a resource that is an answer.
enum Fate {
    /// It may not be shown, and nobody asked for it.
    Gone,
    /// It is shown, with the edits that were noted.
    Shown {
        /// Whether something was taken out.
        altered: bool,
    },
}

fn content(
    outline: &Outline<'_>,
    body: &Bytes,
    duties: &Duties,
    terms: &Terms<'_>,
) -> Result<Checked, Withheld> {
    let case = Case { body, format: outline.format, duties, terms };
    let mut edits = Edits::new(outline.format);
    let fate = match (&duties.expects, terms.kind) {
        (Expects::Bundle(_), Kind::Batch) => {
            let altered = entries::release(bundle(&outline.root, duties)?, case, &mut edits)?;
            Fate::Shown { altered }
        }
        _ => judge(&outline.root, case, &mut edits)?,
    };
    Ok(match fate {
        Fate::Gone => Checked { body: None, altered: true },
        Fate::Shown { altered } if edits.is_empty() => Checked { body: Some(body.clone()), altered },
        Fate::Shown { altered } => Checked { body: Some(Bytes::from(edits.apply(body))), altered },
    })
}

/// Holds the resource that is an answer against the duties: of the whole request, or of one entry.
fn judge(root: &Resource<'_>, case: Case<'_>, edits: &mut Edits) -> Result<Fate, Withheld> {
    let duties = case.duties;
    if root.resource_type == "OperationOutcome"
        && !matches!(duties.expects, Expects::Resource(..) | Expects::Bundle(_))
    {
        let outcome = faults::cleaned(case.bytes(root), StatusCode::OK, case).ok_or(Withheld::WrongShape)?;
        edits.replace(root.range.clone(), outcome);
        return Ok(Fate::Shown { altered: false });
    }
    let is = |wanted: &Option<ResourceType>| wanted.is_some_and(|t| root.resource_type == t.as_str());
    match &duties.expects {
        Expects::Resource(wanted, id) => {
            let named = |id: &str| root.id.as_ref().is_some_and(|found| found.text == id);
            let right = is(wanted) && id.as_deref().is_none_or(named);
            whole(root, right, &duties.admit)
        }
        Expects::Bundle(_) => {
            let altered = bundle::release(bundle(root, duties)?, case, edits);
            Ok(Fate::Shown { altered })
        }
        Expects::Written(_) if duties.content == Content::Withheld => Ok(Fate::Gone),
        Expects::Written(wanted) => whole(root, is(wanted), &duties.admit),
        Expects::Anything => anything(root, case, edits),
        Expects::Export => Err(Withheld::WrongShape),
    }
}

/// The bundle that a resource is, if it is of a type that was asked for.
fn bundle<'r, 'a>(root: &'r Resource<'a>, duties: &Duties) -> Result<&'r Bundle<'a>, Withheld> {
    let bundle = root.bundle().filter(|_| root.contained.is_empty()).ok_or(Withheld::WrongShape)?;
    let Expects::Bundle(types) = &duties.expects else { return Err(Withheld::WrongShape) };
    if types.contains(&bundle::type_of(bundle)) { Ok(bundle) } else { Err(Withheld::WrongShape) }
}

fn whole(root: &Resource<'_>, right: bool, admit: &Admit) -> Result<Fate, Withheld> {
    match (right, shows(root, admit)) {
        (false, _) => Err(Withheld::WrongShape),
        (true, false) => Err(Withheld::OutOfScope),
        (true, true) => Ok(Fate::Shown { altered: false }),
    }
}

/// An operation's answer: a Bundle is filtered, anything else is shown whole or not at all (OPS-9).
fn anything(root: &Resource<'_>, case: Case<'_>, edits: &mut Edits) -> Result<Fate, Withheld> {
    let admit = &case.duties.admit;
    if let Some(bundle) = root.bundle().filter(|_| root.contained.is_empty()) {
        // A document or message says something as a whole; with parts missing it says something else.
        if !matches!(bundle::type_of(bundle), "document" | "message") {
            return Ok(Fate::Shown { altered: bundle::release(bundle, case, edits) });
        }
        let resources = || bundle.entries.iter().all(|entry| entry.resource.is_some());
        if !resources() || !bundle::resources(root).all(|resource| shows(resource, admit)) {
            return Err(Withheld::OutOfScope);
        }
        bundle::links(bundle, case, edits);
        return Ok(Fate::Shown { altered: false });
    }
    let carrier = root.resource_type == "Parameters" && root.contained.is_empty();
    let inside = bundle::resources(root).all(|resource| shows(resource, admit));
    if !(inside && (carrier || shows(root, admit))) {
        return Err(Withheld::OutOfScope);
    }
    if *admit != Admit::All {
        bundle::clean_outcomes(root, case, edits);
    }
    Ok(Fate::Shown { altered: false })
}

/// Whether a resource may be shown: by its type, and for containers by all they contain. A container is never altered
/// inside another answer, so one part too many withholds all of it.
fn shows(resource: &Resource<'_>, admit: &Admit) -> bool {
    if *admit == Admit::All {
        return true;
    }
    let carrier = matches!(resource.resource_type.as_ref(), "OperationOutcome" | "Parameters");
    // Only a domain resource may contain others as parts of itself; Bundle and Parameters are none.
    let honest = resource.kind == ResourceKind::Other || resource.contained.is_empty();
    honest
        && (carrier || admit.shows(&resource.resource_type))
        && bundle::resources(resource).all(|inner| shows(inner, admit))
}

fn not_modified(answer: &Answer, terms: &Terms<'_>) -> Result<Released, Withheld> {
    if terms.kind.writes() || *terms.method == Method::POST {
        return Err(Withheld::WrongShape);
    }
    let headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Unchanged);
    Ok(Released { status: answer.status, headers, body: Bytes::new(), altered: false })
}

/// No body: fine for a write, no answer to a question (RESP-2).
fn empty(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    match duties.expects {
        Expects::Written(_) | Expects::Anything => {
            let mut headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Absent);
            if !fields::may_name_record(answer.status, duties, terms) {
                fields::forget_record(&mut headers);
            }
            headers.remove(CONTENT_TYPE);
            Ok(Released { status: answer.status, headers, body: Bytes::new(), altered: false })
        }
        Expects::Bundle(_) | Expects::Export | Expects::Resource(..) => Err(Withheld::Empty),
    }
}

/// The FHIR format of a body, told by its media type. FHIR is written in UTF-8; whoever says otherwise is not read.
fn format(headers: &HeaderMap) -> Option<Format> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (only, None) = (types.next()?, types.next()) else { return None };
    let written = only.to_str().ok()?;
    Format::of(written).filter(|_| is_utf8(written))
}

/// Answers a batch of which nothing was sent on.
#[must_use]
pub fn refused_batch(duties: &Duties, terms: &Terms<'_>) -> Released {
    entries::all_refused(duties, terms)
}

/// Whether the count of a bundle may be shown after `removed` entries were cut (SRCH-16).
fn keeps_total(duties: &Duties, removed: usize) -> bool {
    // What an operation counts lies on other pages too, and may be of any type.
    let counts_all = duties.expects == Expects::Anything && duties.admit != Admit::All;
    removed == 0 && duties.total == Total::Kept && !counts_all
}
