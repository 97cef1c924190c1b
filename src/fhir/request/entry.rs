//! Reads a Bundle's entries as the requests they stand for (REST-30 … REST-40).

use std::collections::HashSet;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH};

use crate::fhir::outline::{Bundle, Entry, Text};
use crate::fhir::request::{Asked, Body, BundleAction, FhirRequest, Reading, Unreadable};
use crate::fhir::{Document, Kind, Target};

/// Reads one entry.
pub(super) fn read(
    entry: &Entry<'_>,
    bundle: &Document,
    action: BundleAction,
    reading: Reading<'_>,
) -> Result<FhirRequest, Unreadable> {
    let request = entry.request.as_ref().ok_or(Unreadable::Entry)?;
    let method = request.method.as_ref().ok_or(Unreadable::Entry)?;
    let method = Method::from_bytes(method.text.as_bytes()).map_err(|_| Unreadable::Entry)?;
    let url = request.url.as_ref().ok_or(Unreadable::Entry)?;
    let target = Target::relative(relative(&url.text, reading.public_base)?)?;
    let headers = headers(entry)?;
    let asked = Asked::classify(reading.version, &method, target, &headers)?;
    if matches!(asked.kind(), Kind::Batch | Kind::Capabilities) {
        // A batch inside a batch, or a public document: neither belongs here (REST-38).
        return Err(Unreadable::Entry);
    }
    let body = body(&asked, entry, bundle)?;
    let request = FhirRequest { asked, body };
    full_url(&request, entry, reading)?;
    if action == BundleAction::Batch
        && request.document().is_some_and(|document| !document.conditional_references().is_empty())
    {
        return Err(Unreadable::ConditionalReference);
    }
    Ok(request)
}

/// Refuses entries that share an identity with an earlier one, whichever way it is named (REST-39).
pub(super) fn distinct(
    bundle: &Bundle<'_>,
    entries: Vec<Result<FhirRequest, Unreadable>>,
) -> Vec<Result<FhirRequest, Unreadable>> {
    let mut full_urls = HashSet::new();
    let mut targets = HashSet::new();
    entries
        .into_iter()
        .zip(&bundle.entries)
        .map(|(read, entry)| {
            let request = read?;
            let named = entry.full_url.as_ref().map(|url| url.text.to_string());
            let written = (request.kind().writes() && request.kind() != Kind::Create)
                .then(|| request.asked().target().to_string());
            let repeated = named.is_some_and(|url| request.kind().writes() && !full_urls.insert(url))
                || written.is_some_and(|target| !targets.insert(target));
            if repeated { Err(Unreadable::FullUrl) } else { Ok(request) }
        })
        .collect()
}

/// An entry's URL relative to the base; its own absolute base is tolerated, anything else is not (REST-33).
fn relative<'a>(url: &'a str, public_base: &str) -> Result<&'a str, Unreadable> {
    let rest = match url.strip_prefix(public_base) {
        Some(rest) if rest.starts_with('/') => rest.get(1..).unwrap_or(""),
        Some(rest) if rest.is_empty() || rest.starts_with('?') => rest,
        _ => url,
    };
    let path = rest.split('?').next().unwrap_or("");
    if rest.starts_with('/') || path.contains(':') { Err(Unreadable::Entry) } else { Ok(rest) }
}

/// The members of `request` that stand for header fields (REST-17).
fn headers(entry: &Entry<'_>) -> Result<HeaderMap, Unreadable> {
    let mut headers = HeaderMap::new();
    let Some(request) = &entry.request else { return Ok(headers) };
    let members = [
        (IF_MATCH, &request.if_match),
        (IF_NONE_MATCH, &request.if_none_match),
        (IF_MODIFIED_SINCE, &request.if_modified_since),
        (HeaderName::from_static("if-none-exist"), &request.if_none_exist),
    ];
    for (name, text) in members {
        if let Some(Text { text, .. }) = text {
            headers.insert(name, HeaderValue::from_str(text).map_err(|_| Unreadable::Entry)?);
        }
    }
    Ok(headers)
}

fn body(asked: &Asked, entry: &Entry<'_>, bundle: &Document) -> Result<Body, Unreadable> {
    let Some(resource) = &entry.resource else {
        let needed = matches!(
            asked.kind(),
            Kind::Create | Kind::Update | Kind::UpdateConditional | Kind::Patch | Kind::PatchConditional
        );
        return if needed { Err(Unreadable::MissingBody) } else { Ok(Body::Empty) };
    };
    if !asked.takes_body() {
        return Err(Unreadable::UnexpectedBody);
    }
    let document = Document::part(bundle, resource);
    match asked.kind() {
        Kind::Create | Kind::Update | Kind::UpdateConditional => {
            asked.fits(&document)?;
            Ok(Body::Resource(document))
        }
        Kind::Patch | Kind::PatchConditional => patch(document),
        Kind::Operation => Ok(Body::Resource(document)),
        kind if kind.searches() => {
            // A POSTed search inside a bundle carries its form in no standard way.
            Err(Unreadable::UnexpectedBody)
        }
        Kind::Batch
        | Kind::Capabilities
        | Kind::Delete
        | Kind::DeleteConditional
        | Kind::HistoryInstance
        | Kind::HistorySystem
        | Kind::HistoryType
        | Kind::Read
        | Kind::SearchCompartment
        | Kind::SearchSystem
        | Kind::SearchType
        | Kind::Vread => Err(Unreadable::UnexpectedBody),
    }
}

/// A patch inside a bundle is a Parameters, or a Binary that holds a JSON Patch (REST-40).
fn patch(document: Document) -> Result<Body, Unreadable> {
    if document.resource_type() != "Binary" {
        super::fhirpath_patch(&document)?;
        return Ok(Body::Resource(document));
    }
    let content_type = document.values_of("contentType").into_iter().next().unwrap_or_default();
    if content_type != "application/json-patch+json" {
        return Err(Unreadable::MediaType { expected: "a JSON Patch in a Binary, or a FHIRPath Patch" });
    }
    let data = document.values_of("data").into_iter().next().unwrap_or_default();
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data.trim())
        .map_err(|_| Unreadable::Patch("the Binary's data is not base64"))?;
    super::json_patch(&decoded)?;
    Ok(Body::JsonPatch(decoded.into()))
}

/// REST-39: servers replace references equal to an entry's fullUrl, so it must name what the entry writes.
fn full_url(request: &FhirRequest, entry: &Entry<'_>, reading: Reading<'_>) -> Result<(), Unreadable> {
    let Some(url) = entry.full_url.as_ref().map(|url| url.text.as_ref()) else { return Ok(()) };
    if url.starts_with("urn:uuid:") || url.starts_with("urn:oid:") || !request.kind().writes() {
        return Ok(());
    }
    let named = url.strip_prefix(reading.public_base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(url);
    let asked = request.asked();
    let target = match (asked.resource_type(), asked.found().id.as_deref()) {
        (Some(resource_type), Some(id)) => format!("{resource_type}/{id}"),
        // A create has no identity yet: only a urn names it without claiming one.
        _ => return Err(Unreadable::FullUrl),
    };
    // A foreign server's URL may end in the same type and id: it denotes another resource, unless it ends exactly so
    // and the server replaces it by what is written here, which is what was checked.
    let same = named == target || named.ends_with(&format!("/{target}"));
    if same { Ok(()) } else { Err(Unreadable::FullUrl) }
}

impl Document {
    /// The resource of an entry, by its own bytes.
    fn part(bundle: &Self, resource: &crate::fhir::outline::Resource<'_>) -> Self {
        Self::sliced(
            bundle.bytes().slice(resource.range.clone()),
            bundle.format(),
            resource.resource_type.to_string(),
            resource.id.as_ref().map(|id| id.text.to_string()),
        )
    }
}
