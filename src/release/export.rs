//! Bulk exports: status and manifest in public words, files as they are, every address sealed (OPS-7, OPS-20).

use http::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::faults::names_backend;
use super::{Answer, Released, Terms, Withheld, fields, links};
use crate::fhir::Format;
use crate::policy::{Duties, Leads};

/// Whether a 200 that is no FHIR resource is a file of an export. A page for people is none: it is what a backend shows
/// when something went wrong.
pub(super) fn is_file(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map_or(Some(""), |value| value.to_str().ok());
    media_type.is_some_and(|written| {
        let name = written.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        !matches!(name.as_str(), "text/html" | "application/xhtml+xml" | "text/xml" | "application/xml")
    })
}

/// Shows the start, the progress, the manifest or the cancellation of an export.
pub(super) fn release(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    let on = links::sealing(duties, terms).ok_or(Withheld::WrongShape)?;
    let sealed =
        |url: &str| links::below(url, terms).and_then(|rest| links::sealed(rest, Leads::Export, &on, terms));
    let mut headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Absent);
    headers.remove(CONTENT_LOCATION);
    for name in ["x-progress", "retry-after"] {
        if let Some(value) = answer.headers.get(name).filter(|text| !names_backend(text.as_bytes(), terms)) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if *terms.method == Method::HEAD {
        return Ok(Released {
            status: answer.status,
            headers,
            body: bytes::Bytes::new(),
            altered: false,
            patients: Vec::new(),
        });
    }
    if answer.status == StatusCode::OK {
        if super::format(&answer.headers) != Some(Format::Json) {
            return Err(Withheld::NotFhir);
        }
        let body = manifest(&answer.body, sealed, terms).ok_or(Withheld::WrongShape)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(Released {
            status: answer.status,
            headers,
            body: body.into(),
            altered: true,
            patients: Vec::new(),
        });
    }
    let status_url = answer.headers.get(CONTENT_LOCATION).and_then(|url| url.to_str().ok());
    if let Some(url) = status_url {
        // An export that nobody could ask about would only burden the backend.
        let url = sealed(url).ok_or(Withheld::WrongShape)?;
        headers.insert(CONTENT_LOCATION, HeaderValue::from_str(&url).map_err(|_| Withheld::WrongShape)?);
    }
    headers.remove(CONTENT_TYPE);
    Ok(Released {
        status: answer.status,
        headers,
        body: bytes::Bytes::new(),
        altered: true,
        patients: Vec::new(),
    })
}

fn manifest(body: &[u8], sealed: impl Fn(&str) -> Option<String>, terms: &Terms<'_>) -> Option<Vec<u8>> {
    // The members of Bulk Data, "Response - Complete Status". A resource is no manifest, nor is anything that lists no
    // files: a backend that answers at once with what it was to export has cut nothing.
    const MEMBERS: [&str; 6] =
        ["transactionTime", "request", "requiresAccessToken", "output", "deleted", "error"];
    let mut manifest: serde_json::Value = serde_json::from_slice(body).ok()?;
    let members = manifest.as_object_mut()?;
    if !members.get("output").is_some_and(serde_json::Value::is_array) {
        return None;
    }
    members.retain(|name, _| MEMBERS.contains(&name.as_str()));
    if let Some(request) = members.get_mut("request") {
        *request = links::public(request.as_str()?, terms)?.into();
    }
    let mut any_sealed = false;
    for name in ["output", "deleted", "error"] {
        let Some(files) = members.get_mut(name) else { continue };
        for file in files.as_array_mut()? {
            let url = file.get_mut("url")?;
            // Addresses of another host are the backend's choice of a store; they carry their own authorisation.
            if let Some(public) = sealed(url.as_str()?) {
                *url = public.into();
                any_sealed = true;
            }
        }
    }
    if any_sealed {
        // They lead here now, and here a token is always needed (Bulk Data, "Response - Complete Status").
        members.insert("requiresAccessToken".to_owned(), true.into());
    }
    serde_json::to_vec(&manifest).ok()
}
