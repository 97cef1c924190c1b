//! Spends a permit: turns a request into one that may leave.
//!
//! What leaves is written anew from what was decided on: the path, the query, the few header fields that mean
//! something to a FHIR server, and a body that is the submitted bytes, or a bundle with refused entries cut out.

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use http::{HeaderMap, Method};

use crate::fhir::outline::{Edits, EntryRequest, Limits, Outline, Step};
use crate::fhir::{Asked, Body, BundleRequest, FhirRequest, Format, Kind, SearchQuery, Target, Wanted};
use crate::policy::{Content, Duties, EntryDuty, Expects, Leads, Link, Part, Permit, Question, State};

/// A request that may leave. Only a permit buys one.
#[derive(Debug, Clone)]
pub struct Outbound {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Outbound {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target below the backend's base, without a leading slash unless the backend wrote it.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The FHIR header fields; transport adds its own.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// What `rewrite` must know besides request and permit.
#[derive(Debug, Clone, Copy)]
pub struct Bases<'a> {
    /// The public FHIR base, without a trailing slash.
    pub public: &'a str,
    /// The backend's FHIR base, without a trailing slash.
    pub backend: &'a str,
}

/// The request that may leave, and what its answer will be held against. Nothing leaves when every entry of a batch is
/// answered here.
#[must_use]
pub fn confine(request: &FhirRequest, permit: Permit, bases: Bases<'_>) -> (Option<Outbound>, Duties) {
    let asked = request.asked();
    let duties = permit.into_duties();
    let mut headers = headers(asked, &duties, bases);
    let (path, query) = aim(asked, &duties);
    let query = in_backend_words(query, bases);
    let posts_form = asked.kind().searches() && path.last().is_some_and(|last| last == "_search");
    let (query, body) = match request.body() {
        _ if posts_form => {
            content_type(&mut headers, "application/x-www-form-urlencoded");
            // All of it in the body: some servers read only that (REST-4).
            (SearchQuery::default(), Bytes::from(query.to_string()))
        }
        Body::Empty | Body::Form(_) => (query, Bytes::new()),
        Body::JsonPatch(patch) => {
            content_type(&mut headers, "application/json-patch+json");
            (query, patch.clone())
        }
        Body::Raw(raw) => {
            content_type(&mut headers, asked.content_type().unwrap_or("application/octet-stream"));
            (query, raw.clone())
        }
        Body::Resource(document) => {
            content_type(&mut headers, document.format().media_type());
            (query, duties.write.body.clone().unwrap_or_else(|| document.bytes().clone()))
        }
        Body::Bundle(bundle) => {
            content_type(&mut headers, bundle.document.format().media_type());
            match forwarded(bundle, &duties.entries, bases) {
                Some(body) => (query, body),
                None => return (None, duties),
            }
        }
    };
    let method = method(asked, &duties, posts_form);
    let target = Target::from_parts(path, query).to_string();
    (Some(Outbound { method, target, headers, body }), duties)
}

/// The request for one part of a search that became several: the first one's, aimed at the part.
#[must_use]
pub fn part(first: &Outbound, part: &Part, bases: Bases<'_>) -> Option<Outbound> {
    let mut outbound = first.clone();
    match &part.state {
        State::Done => return None,
        State::Begin if first.method == Method::POST => {
            let mut path = part.path.clone();
            path.push("_search".to_owned());
            outbound.target = Target::from_parts(path, SearchQuery::default()).to_string();
            outbound.body = Bytes::from(in_backend_words(part.query.clone(), bases).to_string());
        }
        State::Begin => {
            let query = in_backend_words(part.query.clone(), bases);
            outbound.target = Target::from_parts(part.path.clone(), query).to_string();
        }
        State::Page(target, _) => {
            outbound.method = Method::GET;
            outbound.target.clone_from(target);
            outbound.headers.remove(CONTENT_TYPE);
            outbound.body = Bytes::new();
        }
    }
    Some(outbound)
}

/// Path and query to send: the client's own, the first part of a narrowed search, or the instance that criteria found.
fn aim(asked: &Asked, duties: &Duties) -> (Vec<String>, SearchQuery) {
    let path = asked.target().segments().to_vec();
    if let (Some(id), Some(resource)) = (&duties.write.instance, asked.resource_type()) {
        return (vec![resource.as_str().to_owned(), id.clone()], duties.query.clone());
    }
    let Some(part) = duties.parts.first() else { return (path, duties.query.clone()) };
    let mut path = part.path.clone();
    // Few servers have a POST for a search within a compartment: only where the client itself asked so.
    if *asked.method() == Method::POST && (path.len() < 3 || asked.found().compartment.is_some()) {
        path.push("_search".to_owned());
    }
    (path, part.query.clone())
}

/// What must be checked is asked for like GET (REST-3).
fn method(asked: &Asked, duties: &Duties, posts_form: bool) -> Method {
    match *asked.method() {
        Method::HEAD if duties.reads_content() => Method::GET,
        Method::POST if asked.kind().searches() && !posts_form => Method::GET,
        ref method => method.clone(),
    }
}

/// The request that asks a question. What it brings is looked at by policy and never shown.
#[must_use]
pub fn inquire(question: &Question, bases: Bases<'_>) -> Outbound {
    let (resource, id, query) = question.target();
    let path = std::iter::once(resource.as_str()).chain(id).map(str::to_owned).collect();
    let query = in_backend_words(query.cloned().unwrap_or_default(), bases);
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(Format::Json.media_type()));
    // A parameter that is not understood must not be passed over (SCOPE-51).
    headers.insert(HeaderName::from_static("prefer"), HeaderValue::from_static("handling=strict"));
    let target = Target::from_parts(path, query).to_string();
    Outbound { method: Method::GET, target, headers, body: Bytes::new() }
}

/// The request behind a sealed link.
#[must_use]
pub fn follow(link: &Link, method: &Method, wanted: Wanted, permit: Permit) -> (Outbound, Duties) {
    let mut headers = HeaderMap::new();
    if link.leads == Leads::Page {
        headers.insert(ACCEPT, HeaderValue::from_static(wanted.for_outcome().media_type()));
    } else {
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    }
    let duties = permit.into_duties();
    // Parts that are united are asked for one by one; the link's own target is the client's search.
    let page = duties.parts.iter().find_map(|part| match &part.state {
        State::Page(target, _) => Some(target.clone()),
        State::Begin | State::Done => None,
    });
    // What must be checked is asked for like GET (REST-3).
    let method =
        if *method == Method::HEAD && link.leads == Leads::Page { Method::GET } else { method.clone() };
    let target = page.unwrap_or_else(|| link.target.clone());
    (Outbound { method, target, headers, body: Bytes::new() }, duties)
}

/// Public absolute references in values become the backend's own.
fn in_backend_words(query: SearchQuery, bases: Bases<'_>) -> SearchQuery {
    query.rebased(bases.public, bases.backend)
}

fn headers(asked: &Asked, duties: &Duties, bases: Bases<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    };
    let conditions = asked.conditions();
    put(ACCEPT, Some(accept(asked).to_owned()));
    put(IF_MATCH, duties.write.if_match.clone().or_else(|| conditions.if_match.clone()));
    if duties.write.if_absent {
        put(IF_NONE_MATCH, Some("*".to_owned()));
    } else if reveals_nothing_unchanged(asked.kind(), duties) {
        put(IF_NONE_MATCH, conditions.if_none_match.clone());
        put(IF_MODIFIED_SINCE, conditions.if_modified_since.clone());
    }
    let criteria = duties.if_none_exist.clone().map(|criteria| in_backend_words(criteria, bases).to_string());
    put(HeaderName::from_static("if-none-exist"), criteria);
    put(HeaderName::from_static("prefer"), prefer(asked, duties));
    if asked.kind().writes() {
        put(HeaderName::from_static("x-provenance"), conditions.provenance.clone());
    }
    headers
}

/// A decision that needs the body must not be cut short by a 304 (RESP-4); on a write it is part of the request.
fn reveals_nothing_unchanged(kind: Kind, duties: &Duties) -> bool {
    duties.streams() || kind.writes() || (kind == Kind::Read && duties.masks.is_none())
}

fn accept(asked: &Asked) -> &str {
    match asked.wanted() {
        Wanted::Fhir(format) => format.media_type(),
        // Only raw Binary content is wanted in another form.
        Wanted::Other => "*/*",
    }
}

/// The client's preferences, without those that would change what is answered here (REST-12, OPS-21).
fn prefer(asked: &Asked, duties: &Duties) -> Option<String> {
    let written = asked.conditions().prefer.as_deref().unwrap_or("");
    let mut kept: Vec<&str> = written
        .split(',')
        .map(str::trim)
        .filter(|preference| !preference.is_empty())
        .filter(|preference| duties.expects == Expects::Export || !is_preference(preference, "respond-async"))
        .collect();
    if duties.content == Content::Withheld {
        kept.retain(|preference| !is_preference(preference, "return"));
        kept.push("return=minimal");
    }
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// RFC 7240 §2: names of preferences are tokens without regard to case; values and parameters may follow.
fn is_preference(written: &str, name: &str) -> bool {
    written.split(['=', ';']).next().is_some_and(|token| token.trim().eq_ignore_ascii_case(name))
}

fn content_type(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(CONTENT_TYPE, value);
    }
}

/// The bundle with refused entries cut out and every URL as it was decided on; `None` when nothing is left.
fn forwarded(bundle: &BundleRequest, duties: &[EntryDuty], bases: Bases<'_>) -> Option<Bytes> {
    let document = &bundle.document;
    let limits = Limits { entries: usize::MAX, ..Limits::default() };
    // It was read before, so it reads again; if not, nothing leaves.
    let outline = Outline::read(document.bytes(), document.format(), limits).ok()?;
    let outlined = outline.bundle()?;
    let mut edits = Edits::new(document.format());
    let mut left = 0;
    for ((entry, read), duty) in outlined.entries.iter().zip(&bundle.entries).zip(duties) {
        let (Ok(request), EntryDuty::Forward(permit)) = (read, duty) else { continue };
        let written = entry.request.as_ref()?;
        left += 1;
        let asked = request.asked();
        let (path, query) = aim(asked, permit.duties());
        let target = Target::from_parts(path, in_backend_words(query, bases)).to_string();
        edits.set(written.url.as_ref()?, &target);
        pin(written, permit.duties(), &mut edits)?;
        if let (Some(resource), Some(body)) = (&entry.resource, &permit.duties().write.body) {
            edits.replace(resource.range.clone(), body.to_vec());
        }
        if !reveals_nothing_unchanged(asked.kind(), permit.duties()) {
            // Both go, or the backend would answer what could not be checked (RESP-4).
            let conditions = [&written.if_none_match, &written.if_modified_since];
            conditions.into_iter().flatten().for_each(|text| edits.remove(text.member.clone()));
        }
        if let (Some(text), Some(criteria)) = (&written.if_none_exist, &permit.duties().if_none_exist) {
            edits.set(text, &in_backend_words(criteria.clone(), bases).to_string());
        }
    }
    if left == 0 {
        return None;
    }
    let step = |at: usize| match duties.get(at) {
        Some(EntryDuty::Forward(_)) => Step::Keep,
        Some(EntryDuty::Refuse(_)) | None => Step::Drop,
    };
    edits.entries(outlined, |at, _| step(at), &[]);
    Some(Bytes::from(edits.apply(document.bytes())))
}

/// Puts the version that was checked into an entry (REST-13, REST-17).
fn pin(written: &EntryRequest<'_>, duties: &Duties, edits: &mut Edits) -> Option<()> {
    let (name, value, there, after) = match (&duties.write.if_match, duties.write.if_absent) {
        // FHIR's order: url, ifNoneMatch, ifModifiedSince, ifMatch, ifNoneExist.
        (Some(version), _) => {
            let before = written.if_modified_since.as_ref().or(written.if_none_match.as_ref());
            ("ifMatch", version.as_str(), &written.if_match, before)
        }
        (None, true) => ("ifNoneMatch", "*", &written.if_none_match, None),
        (None, false) => return Some(()),
    };
    if let Some(there) = there {
        edits.set(there, value);
        return Some(());
    }
    edits.insert_after(after.or(written.url.as_ref())?, name, value);
    Some(())
}

/// The format a body that is answered here is written in.
#[must_use]
pub fn answer_format(asked: &Asked) -> Format {
    asked.wanted().for_outcome()
}
