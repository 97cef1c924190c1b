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
mod reached;
mod union;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};

use crate::fhir::links::{Mapping, Mention};
use crate::fhir::outline::{Bundle, Edits, Limits, Outline, Resource};
use crate::fhir::{BundleAction, FhirVersion, Format, Kind, ResourceType, is_utf8};
use crate::matching::Site;
use crate::policy::{Admit, By, Content, Duties, Expects, Facts, Question, SealKey, Total};

pub use faults::Withheld;
pub use union::Union;

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
    patients: Vec<Mention>,
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

    /// The patients that the body names (AUD-7), in a batch by its entries; gives them away.
    #[must_use]
    pub fn take_patients(&mut self) -> Vec<Mention> {
        std::mem::take(&mut self.patients)
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
    /// What the backend was asked already.
    pub facts: &'a Facts,
    /// What of an answer the client has already (RESP-4).
    pub unless: &'a Unless,
}

impl Terms<'_> {
    /// Whose references are whose in the answer.
    fn site(&self) -> Site<'_> {
        Site {
            version: self.version,
            public_base: self.public_base,
            backend_base: self.backend_base,
            urns: None,
        }
    }
}

/// What the client has already, where only the checked answer may tell whether it is still current.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unless {
    /// `If-None-Match`.
    pub none_match: Option<String>,
    /// `If-Modified-Since`.
    pub modified_since: Option<String>,
}

/// Whose credentials the backend saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The client's own token.
    Client,
    /// A token that the gateway got for the client's user.
    Exchanged,
    /// The gateway's, or none.
    Gateway,
}

impl Credentials {
    /// Whether a refusal with this status says something to the client. Its scopes were found to be enough, so otherwise the
    /// backend means the gateway.
    fn tell_the_client(self, refusal: StatusCode) -> bool {
        match self {
            Self::Client => matches!(refusal, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            // 401 is about a token that the client has never seen, 403 about its user.
            Self::Exchanged => refusal == StatusCode::FORBIDDEN,
            Self::Gateway => false,
        }
    }
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
    if status == StatusCode::NOT_MODIFIED && !duties.reads_content() {
        return not_modified(&answer, terms);
    }
    if duties.expects == Expects::Export && status.is_success() {
        return export::release(&answer, duties, terms);
    }
    if !status.is_success() {
        return faults::release(&answer, duties, terms);
    }
    if *terms.method == Method::HEAD && !duties.reads_content() {
        let headers = fields::shown(&answer.headers, status, terms, fields::Body::Absent);
        return Ok(Released { status, headers, body: Bytes::new(), altered: false, patients: Vec::new() });
    }
    if answer.body.is_empty() {
        return empty(&answer, duties, terms);
    }
    let format = format(&answer.headers).ok_or(Withheld::NotFhir)?;
    let outline = outlined(&answer.body, format)?;
    let checked = content(&outline, &answer.body, duties, terms)?;
    let mut headers = fields::shown(&answer.headers, status, terms, fields::Body::Rewritten);
    let own =
        matches!(duties.expects, Expects::Written(Some(of)) if outline.root.resource_type == of.as_str());
    if !fields::may_name_record(status, duties, terms, own && checked.body.is_some()) {
        fields::forget_record(&mut headers);
    }
    if duties.masks.is_some() && fields::is_current(&headers, terms) {
        headers.remove(CONTENT_TYPE);
        let status = StatusCode::NOT_MODIFIED;
        return Ok(Released { status, headers, body: Bytes::new(), altered: false, patients: Vec::new() });
    }
    let (mut body, mut patients) = match checked.body {
        Some(bytes) => links::rewrite(bytes, format, terms)?,
        None => (Bytes::new(), Vec::new()),
    };
    if body.is_empty() {
        headers.remove(CONTENT_TYPE);
    } else {
        fields::content_type(&mut headers, format);
    }
    if *terms.method == Method::HEAD {
        // It was asked for like GET, so that it could be checked.
        body = Bytes::new();
        patients.clear();
    }
    Ok(Released { status, headers, body, altered: checked.altered, patients })
}

fn outlined(body: &[u8], format: Format) -> Result<Outline<'_>, Withheld> {
    Outline::read(body, format, Limits { entries: 1_000_000, ..Limits::default() })
        .map_err(|error| Withheld::Unreadable(error.to_string()))
}

/// What must be asked of the backend before the answer can be checked; mostly nothing.
#[must_use]
pub fn questions(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Vec<Question> {
    let entries = duties.entries.iter().filter_map(|entry| match entry {
        crate::policy::EntryDuty::Forward(permit) => permit.duties().search.as_deref(),
        crate::policy::EntryDuty::Refuse(_) => None,
    });
    let joins = duties.search.as_deref().into_iter().chain(entries).any(|duty| !duty.joins.is_empty());
    if !(joins || duties.admit.asks()) || !answer.status.is_success() {
        return Vec::new();
    }
    let Some(format) = format(&answer.headers) else { return Vec::new() };
    let Ok(outline) = outlined(&answer.body, format) else { return Vec::new() };
    let case = Case { body: &answer.body, format, duties, terms };
    let mut asking = reached::Asking::default();
    for resource in outline.resources() {
        asking.look(resource, case);
    }
    asking.questions()
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

impl<'c> Case<'c> {
    /// The bytes of a resource.
    fn bytes(&self, resource: &Resource<'_>) -> &'c [u8] {
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
            match (right, reached::shows(root, duties.by, case)) {
                (false, _) => Err(Withheld::WrongShape),
                (true, false) => Err(duties.masks.map_or(Withheld::OutOfScope, Withheld::Unmatched)),
                (true, true) => Ok(Fate::Shown { altered: false }),
            }
        }
        Expects::Bundle(_) => {
            let released = bundle::release(bundle(root, duties)?, case, edits);
            match duties.masks {
                // A history of which nothing is within the grant is that of a resource that does not exist.
                Some(unmatched) if released.kept == 0 => Err(Withheld::Unmatched(unmatched)),
                Some(_) | None => Ok(Fate::Shown { altered: released.altered }),
            }
        }
        Expects::Written(_) if duties.content == Content::Withheld => Ok(Fate::Gone),
        Expects::Written(wanted) => match (is(wanted), reached::shows(root, duties.by, case)) {
            (false, _) => Err(Withheld::WrongShape),
            // The write is done; what it left behind may not be read.
            (true, false) => Ok(Fate::Gone),
            (true, true) => Ok(Fate::Shown { altered: false }),
        },
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

/// An operation's answer: a Bundle is filtered, anything else is shown whole or not at all (OPS-9).
fn anything(root: &Resource<'_>, case: Case<'_>, edits: &mut Edits) -> Result<Fate, Withheld> {
    let duties = case.duties;
    let unreached = || duties.masks.map_or(Withheld::OutOfScope, Withheld::Unmatched);
    if let Some(bundle) = root.bundle().filter(|_| root.contained.is_empty()) {
        // A document or message says something as a whole; with parts missing it says something else.
        if !matches!(bundle::type_of(bundle), "document" | "message") {
            return Ok(Fate::Shown { altered: bundle::release(bundle, case, edits).altered });
        }
        let resources = || bundle.entries.iter().all(|entry| entry.resource.is_some());
        if !resources() || !bundle::resources(root).all(|inner| reached::shows(inner, By::Either, case)) {
            return Err(unreached());
        }
        bundle::links(bundle, case, edits);
        return Ok(Fate::Shown { altered: false });
    }
    let carrier = root.resource_type == "Parameters" && root.contained.is_empty();
    let inside = bundle::resources(root).all(|inner| reached::shows(inner, By::Either, case));
    if !(inside && (carrier || reached::shows(root, By::Either, case))) {
        return Err(unreached());
    }
    if duties.admit != Admit::All {
        bundle::clean_outcomes(root, case, edits);
    }
    Ok(Fate::Shown { altered: false })
}

fn not_modified(answer: &Answer, terms: &Terms<'_>) -> Result<Released, Withheld> {
    if terms.kind.writes() || *terms.method == Method::POST {
        return Err(Withheld::WrongShape);
    }
    let headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Unchanged);
    Ok(Released { status: answer.status, headers, body: Bytes::new(), altered: false, patients: Vec::new() })
}

/// No body: fine for a write, no answer to a question (RESP-2).
fn empty(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    match duties.expects {
        Expects::Written(_) | Expects::Anything => {
            let mut headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Absent);
            if !fields::may_name_record(answer.status, duties, terms, false) {
                fields::forget_record(&mut headers);
            }
            headers.remove(CONTENT_TYPE);
            Ok(Released {
                status: answer.status,
                headers,
                body: Bytes::new(),
                altered: false,
                patients: Vec::new(),
            })
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
