//! A FHIR request, read in two steps: its head, and then, for a caller who was admitted, its body.
//!
//! What a [`FhirRequest`] holds is what will be sent: targets and queries are written again from it, bodies are the
//! bytes that were read here.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, Method};

use crate::fhir::outline::{Limits, Outline, OutlineError};
use crate::fhir::{
    Classified, Document, FhirVersion, Format, Kind, NoInteraction, QueryError, ResourceType, SearchQuery,
    Target, TargetError, Wanted, classify, is_utf8,
};

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The target is not unambiguous.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Method and path have no row.
    #[error(transparent)]
    Interaction(#[from] NoInteraction),
    /// Neither JSON nor XML is wanted.
    #[error("only FHIR JSON and XML are served here")]
    NotAcceptable,
    /// The body is in no format that fits the interaction.
    #[error("the body must be {expected}")]
    MediaType {
        /// What is understood here.
        expected: &'static str,
    },
    /// A body where none belongs.
    #[error("this interaction takes no body")]
    UnexpectedBody,
    /// No body where one belongs.
    #[error("this interaction needs a body")]
    MissingBody,
    /// The form body is no query.
    #[error("the form body cannot be read: {0}")]
    Form(QueryError),
    /// The body cannot be read.
    #[error("the body cannot be read: {0}")]
    Body(#[from] OutlineError),
    /// More entries than allowed.
    #[error("a bundle may have at most {0} entries")]
    TooManyEntries(usize),
    /// The body is another type than the URL says (REST-5).
    #[error("the body must be a {0}")]
    WrongType(String),
    /// The body has another id than the URL, or none (REST-5).
    #[error("the body must have the id of the URL")]
    WrongId,
    /// A Bundle that is neither batch nor transaction posted to the base (REST-36).
    #[error("a Bundle posted here must be a batch or a transaction")]
    NotABatch,
    /// A conditional reference outside a transaction (REST-16).
    #[error("conditional references are for transactions only")]
    ConditionalReference,
    /// `If-None-Exist` cannot be read.
    #[error("`If-None-Exist` cannot be read: {0}")]
    IfNoneExist(QueryError),
    /// A patch that is not of its form, or touches type or id (REST-14).
    #[error("the patch cannot be applied: {0}")]
    Patch(&'static str),
    /// An entry without method or URL, or with an URL that is not relative to this base (REST-33).
    #[error("the entry's request is not one of this server")]
    Entry,
    /// Two entries with one identity, or a fullUrl that names another resource (REST-39).
    #[error("the entry's fullUrl and request do not name one resource")]
    FullUrl,
    /// A header that must be FHIR text is not.
    #[error("the header `{0}` cannot be read")]
    Header(&'static str),
}

/// Header fields that change what a request means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<String>,
    /// `If-None-Exist`, the criteria of a conditional create.
    pub if_none_exist: Option<SearchQuery>,
    /// `X-Provenance`: a Provenance that is stored beside a write (REST-24).
    pub provenance: Option<String>,
    /// `Prefer`, as written.
    pub prefer: Option<String>,
}

/// A request whose head was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    found: Classified,
    target: Target,
    wanted: Wanted,
    conditions: Conditions,
    content_type: Option<String>,
}

/// What stands in the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Search parameters (REST-4).
    Form(SearchQuery),
    /// A JSON Patch (RFC 6902), as sent.
    JsonPatch(Bytes),
    /// Binary content that is no FHIR.
    Raw(Bytes),
    /// A resource: submitted, a FHIRPath Patch's Parameters, or an operation's input.
    Resource(Document),
    /// A batch or transaction.
    Bundle(BundleRequest),
}

/// A batch or transaction, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRequest {
    /// The Bundle as sent.
    pub document: Document,
    /// Which of the two.
    pub action: BundleAction,
    /// The entries in order; those that cannot be read are kept with the reason.
    pub entries: Vec<Result<FhirRequest, Unreadable>>,
}

/// What a posted Bundle asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleAction {
    /// Entries that stand alone.
    Batch,
    /// All or nothing.
    Transaction,
}

/// A request that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirRequest {
    asked: Asked,
    body: Body,
}

/// What a reader of requests must know.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The served version.
    pub version: FhirVersion,
    /// The public FHIR base, for absolute URLs in entries.
    pub public_base: &'a str,
    /// Most entries of a bundle.
    pub bundle_entries: usize,
}

impl Asked {
    /// Reads a request's head.
    ///
    /// # Errors
    /// When method and target have no row in the table, or the answer is wanted in a format that cannot be checked.
    pub fn classify(
        version: FhirVersion,
        method: &Method,
        target: Target,
        headers: &HeaderMap,
    ) -> Result<Self, Unreadable> {
        let found = classify(version, method, &target)?;
        let wanted = Wanted::by(headers, target.query(), version);
        let content = found.resource_type.is_some_and(|t| t.as_str() == "Binary")
            && matches!(found.shape.kind, Kind::Read | Kind::Vread);
        if wanted == Wanted::Other && !content {
            return Err(Unreadable::NotAcceptable);
        }
        let content_type = text(headers, CONTENT_TYPE, "Content-Type")?;
        let coded = headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity");
        if coded || content_type.as_deref().is_some_and(|written| !is_utf8(written)) {
            // What is packed or in another character set is not the bytes that were checked.
            return Err(Unreadable::MediaType { expected: "UTF-8 without a content coding" });
        }
        Ok(Self {
            method: method.clone(),
            found,
            target,
            wanted,
            conditions: conditions(headers)?,
            content_type,
        })
    }

    /// The interaction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.found.shape.kind
    }

    /// The method, HEAD as HEAD.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The row and what the path named.
    #[must_use]
    pub fn found(&self) -> &Classified {
        &self.found
    }

    /// The type in the path.
    #[must_use]
    pub fn resource_type(&self) -> Option<ResourceType> {
        self.found.resource_type
    }

    /// Where it points.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What the client wants to read.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// The header fields that change what it means.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The body's media type as sent.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Whether a body may follow.
    #[must_use]
    pub fn takes_body(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When it does not fit the interaction or could be read in two ways.
    pub fn with_body(self, body: Bytes, reading: Reading<'_>) -> Result<FhirRequest, Unreadable> {
        let body = match self.kind() {
            _ if !self.takes_body() => empty(&body)?,
            kind if kind.searches() => self.form(&body)?,
            Kind::Batch => Body::Bundle(bundle(self.resource(body, reading)?, reading)?),
            Kind::Patch | Kind::PatchConditional => self.patch(body, reading)?,
            Kind::Operation => self.input(body, reading)?,
            Kind::Create | Kind::Update | Kind::UpdateConditional => self.submitted(body, reading)?,
            Kind::Capabilities
            | Kind::Delete
            | Kind::DeleteConditional
            | Kind::HistoryInstance
            | Kind::HistorySystem
            | Kind::HistoryType
            | Kind::Read
            | Kind::SearchCompartment
            | Kind::SearchSystem
            | Kind::SearchType
            | Kind::Vread => empty(&body)?,
        };
        Ok(FhirRequest { asked: self, body })
    }

    fn form(&self, body: &Bytes) -> Result<Body, Unreadable> {
        if body.is_empty() {
            return Ok(Body::Empty);
        }
        let media_type = self.content_type.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Unreadable::MediaType { expected: "application/x-www-form-urlencoded" });
        }
        let text = std::str::from_utf8(body).map_err(|_| Unreadable::Form(QueryError::NotUtf8))?;
        SearchQuery::parse(text.trim_end()).map(Body::Form).map_err(Unreadable::Form)
    }

    fn resource(&self, body: Bytes, reading: Reading<'_>) -> Result<Document, Unreadable> {
        if body.is_empty() {
            return Err(Unreadable::MissingBody);
        }
        let format = self
            .content_type
            .as_deref()
            .and_then(Format::of)
            .ok_or(Unreadable::MediaType { expected: "application/fhir+json or application/fhir+xml" })?;
        let limits = Limits { entries: reading.bundle_entries, ..Limits::default() };
        Document::read(body, format, limits).map_err(|error| {
            if let OutlineError::TooManyEntries(most) = error {
                Unreadable::TooManyEntries(most)
            } else {
                Unreadable::Body(error)
            }
        })
    }

    fn submitted(&self, body: Bytes, reading: Reading<'_>) -> Result<Body, Unreadable> {
        let binary = self.resource_type().is_some_and(|t| t.as_str() == "Binary");
        if binary && self.content_type.as_deref().and_then(Format::of).is_none() {
            return if self.content_type.is_some() && !body.is_empty() {
                Ok(Body::Raw(body))
            } else {
                Err(Unreadable::MissingBody)
            };
        }
        let document = self.resource(body, reading)?;
        self.fits(&document)?;
        alone(&document)?;
        Ok(Body::Resource(document))
    }

    /// REST-5: type and id of the body are those of the URL.
    fn fits(&self, document: &Document) -> Result<(), Unreadable> {
        let resource_type = self.resource_type().map_or("", |t| t.as_str());
        if document.resource_type() != resource_type {
            return Err(Unreadable::WrongType(resource_type.to_owned()));
        }
        if self.kind() == Kind::Update && document.id() != self.found.id.as_deref() {
            return Err(Unreadable::WrongId);
        }
        Ok(())
    }

    fn patch(&self, body: Bytes, reading: Reading<'_>) -> Result<Body, Unreadable> {
        let media_type = self.content_type.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/json-patch+json") {
            json_patch(&body)?;
            return Ok(Body::JsonPatch(body));
        }
        if Format::of(media_type).is_none() {
            return Err(Unreadable::MediaType {
                expected: "a JSON Patch (application/json-patch+json) or a FHIRPath Patch (Parameters)",
            });
        }
        let document = self.resource(body, reading)?;
        fhirpath_patch(&document)?;
        alone(&document)?;
        Ok(Body::Resource(document))
    }

    fn input(&self, body: Bytes, reading: Reading<'_>) -> Result<Body, Unreadable> {
        if body.is_empty() {
            return Ok(Body::Empty);
        }
        let document = self.resource(body, reading)?;
        alone(&document)?;
        Ok(Body::Resource(document))
    }
}

impl FhirRequest {
    /// Its head.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The interaction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.asked.kind()
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Everything that is searched by: the URL's parameters, then the form's (REST-4).
    #[must_use]
    pub fn query(&self) -> SearchQuery {
        let query = self.asked.target.query().clone();
        match &self.body {
            Body::Form(form) => query.and(form),
            Body::Empty | Body::JsonPatch(_) | Body::Raw(_) | Body::Resource(_) | Body::Bundle(_) => query,
        }
    }

    /// The submitted resource.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        match &self.body {
            Body::Resource(document) => Some(document),
            Body::Bundle(bundle) => Some(&bundle.document),
            Body::Empty | Body::Form(_) | Body::JsonPatch(_) | Body::Raw(_) => None,
        }
    }

    /// Whether a patch asks about what is stored, not only changes it (REST-12).
    #[must_use]
    pub fn patch_reads(&self) -> bool {
        match &self.body {
            Body::JsonPatch(patch) => json_patch(patch).is_ok_and(|reads| reads),
            Body::Resource(document) => fhirpath_patch(document).is_ok_and(|reads| reads),
            Body::Empty | Body::Form(_) | Body::Raw(_) | Body::Bundle(_) => false,
        }
    }
}

/// REST-16: a server would search for what a conditional reference names, so it belongs where that search is decided on.
fn alone(document: &Document) -> Result<(), Unreadable> {
    if document.conditional_references().is_empty() { Ok(()) } else { Err(Unreadable::ConditionalReference) }
}

fn empty(body: &Bytes) -> Result<Body, Unreadable> {
    if body.is_empty() { Ok(Body::Empty) } else { Err(Unreadable::UnexpectedBody) }
}

fn text(headers: &HeaderMap, name: HeaderName, shown: &'static str) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Unreadable::Header(shown));
    }
    first.to_str().map(|value| Some(value.trim().to_owned())).map_err(|_| Unreadable::Header(shown))
}

fn conditions(headers: &HeaderMap) -> Result<Conditions, Unreadable> {
    let if_none_exist = text(headers, HeaderName::from_static("if-none-exist"), "If-None-Exist")?;
    let prefer: Vec<_> = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).collect();
    Ok(Conditions {
        if_match: text(headers, IF_MATCH, "If-Match")?,
        if_none_match: text(headers, IF_NONE_MATCH, "If-None-Match")?,
        if_modified_since: text(headers, IF_MODIFIED_SINCE, "If-Modified-Since")?,
        if_none_exist: if_none_exist.map(|criteria| if_none_exist_query(&criteria)).transpose()?,
        provenance: text(headers, HeaderName::from_static("x-provenance"), "X-Provenance")?,
        prefer: (!prefer.is_empty()).then(|| prefer.join(", ")),
    })
}

/// The criteria may be written with or without a leading `?`.
fn if_none_exist_query(criteria: &str) -> Result<SearchQuery, Unreadable> {
    let query = SearchQuery::parse(criteria.strip_prefix('?').unwrap_or(criteria))
        .map_err(Unreadable::IfNoneExist)?;
    if query.iter().all(|parameter| parameter.value().is_empty()) {
        return Err(Unreadable::Interaction(NoInteraction::NoCriteria));
    }
    Ok(query)
}

/// Checks a JSON Patch's form; says whether it asks about what is stored (`test`).
fn json_patch(patch: &[u8]) -> Result<bool, Unreadable> {
    const FORM: Unreadable = Unreadable::Patch("a JSON Patch is an array of operations (RFC 6902)");
    // The strict reader first: no duplicate keys, no trailing text.
    let mut lexer =
        crate::fhir::json::Lexer::new(patch, crate::fhir::json::DEPTH).map_err(OutlineError::from)?;
    while lexer.token().map_err(OutlineError::from)?.is_some() {}
    let operations: serde_json::Value = serde_json::from_slice(patch).map_err(|_| FORM)?;
    let operations = operations.as_array().filter(|operations| !operations.is_empty()).ok_or(FORM)?;
    let mut reads = false;
    for operation in operations {
        let member = |name| operation.get(name).and_then(serde_json::Value::as_str);
        let (op, path) = (member("op").ok_or(FORM)?, member("path").ok_or(FORM)?);
        // RFC 6901 §3: what is no pointer a lenient server might still follow.
        let pointer = |path: &str| path.is_empty() || path.starts_with('/');
        if !pointer(path) || member("from").is_some_and(|from| !pointer(from)) {
            return Err(FORM);
        }
        if operation.get("value").is_some_and(|value| refers(path.rsplit('/').next().unwrap_or(""), value)) {
            return Err(Unreadable::ConditionalReference);
        }
        match op {
            "test" => reads = true,
            "add" | "remove" | "replace" | "copy" | "move" => {
                let touched = [Some(path), member("from").filter(|_| op == "move")];
                if touched.into_iter().flatten().any(|path| matches!(path, "" | "/id" | "/resourceType")) {
                    return Err(Unreadable::Patch("a patch must not touch `/resourceType` or `/id`"));
                }
            }
            _ => return Err(FORM),
        }
    }
    Ok(reads)
}

/// Whether a value that is to stand under a name has a conditional reference in it (REST-16).
fn refers(name: &str, value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => name == "reference" && text.contains('?'),
        Value::Array(items) => items.iter().any(|item| refers(name, item)),
        Value::Object(members) => members.iter().any(|(name, value)| refers(name, value)),
        Value::Bool(_) | Value::Null | Value::Number(_) => false,
    }
}

/// Checks a FHIRPath Patch's form; says whether a path asks about what is stored (a condition in it).
fn fhirpath_patch(document: &Document) -> Result<bool, Unreadable> {
    if document.resource_type() != "Parameters" {
        return Err(Unreadable::WrongType("Parameters".to_owned()));
    }
    let paths = document.values_of("valueString");
    let touches_identity = |path: &String| {
        let mut steps = path.split('.');
        // `Observation.id`, or `id` alone: as a path, or as the name of what is added.
        matches!(
            (steps.next(), steps.next(), steps.next()),
            (Some("id" | "resourceType"), None, _) | (_, Some("id" | "resourceType"), None)
        )
    };
    if paths.iter().any(touches_identity) {
        return Err(Unreadable::Patch("a patch must not touch the type or the id"));
    }
    // `Patient?identifier=x` as the new value of a `reference` (REST-16); no path holds a `?`.
    let searches = |text: &String| {
        text.split_once('?')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()))
    };
    let values = [paths.as_slice(), &document.values_of("valueUri"), &document.values_of("valueUrl")];
    if values.into_iter().flatten().any(searches) {
        return Err(Unreadable::ConditionalReference);
    }
    Ok(paths.iter().any(|path| path.contains(['(', '=', '<', '>', '~', '|'])))
}

fn bundle(document: Document, reading: Reading<'_>) -> Result<BundleRequest, Unreadable> {
    if document.resource_type() != "Bundle" {
        return Err(Unreadable::WrongType("Bundle".to_owned()));
    }
    let limits = Limits { entries: reading.bundle_entries, ..Limits::default() };
    let outline = Outline::read(document.bytes(), document.format(), limits)?;
    let bundle = outline.bundle().ok_or(Unreadable::NotABatch)?;
    let action = match bundle.bundle_type.as_ref().map(|t| t.text.as_ref()) {
        Some("batch") => BundleAction::Batch,
        Some("transaction") => BundleAction::Transaction,
        _ => return Err(Unreadable::NotABatch),
    };
    let entries: Vec<_> =
        bundle.entries.iter().map(|entry| entry::read(entry, &document, action, reading)).collect();
    let entries = entry::distinct(bundle, entries);
    Ok(BundleRequest { document, action, entries })
}

mod entry;

#[cfg(test)]
mod tests;
