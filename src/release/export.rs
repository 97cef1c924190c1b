//! Bulk exports: status and manifest in public words, files as they are, every address sealed (OPS-7, OPS-20).

use http::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::{Answer, Released, Terms, Withheld, fields, links};
use crate::policy::{Duties, Leads};

/// Whether a 200 is the manifest of an export; anything else is a file.
pub(super) fn is_manifest(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    media_type.split(';').next().unwrap_or("").trim() == "application/json"
}

/// Shows the start, the progress, the manifest or the cancellation of an export.
pub(super) fn release(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    let on = links::sealing(duties, terms).ok_or(Withheld::WrongShape)?;
    let sealed =
        |url: &str| links::below(url, terms).and_then(|rest| links::sealed(rest, Leads::Export, &on, terms));
    let mut headers = fields::shown(&answer.headers, answer.status, terms, fields::Body::Absent);
    headers.remove(CONTENT_LOCATION);
    for name in ["x-progress", "retry-after"] {
        if let Some(value) = answer.headers.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if answer.status == StatusCode::OK {
        let body = manifest(&answer.body, sealed, terms).ok_or(Withheld::WrongShape)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(Released { status: answer.status, headers, body: body.into(), altered: true });
    }
    let status_url = answer.headers.get(CONTENT_LOCATION).and_then(|url| url.to_str().ok());
    if let Some(url) = status_url {
        // An export that nobody could ask about would only burden the backend.
        let url = sealed(url).ok_or(Withheld::WrongShape)?;
        headers.insert(CONTENT_LOCATION, HeaderValue::from_str(&url).map_err(|_| Withheld::WrongShape)?);
    }
    headers.remove(CONTENT_TYPE);
    Ok(Released { status: answer.status, headers, body: bytes::Bytes::new(), altered: true })
}

fn manifest(body: &[u8], sealed: impl Fn(&str) -> Option<String>, terms: &Terms<'_>) -> Option<Vec<u8>> {
    let mut manifest: serde_json::Value = serde_json::from_slice(body).ok()?;
    let members = manifest.as_object_mut()?;
    if let Some(request) = members.get_mut("request") {
        *request = links::public(request.as_str()?, terms)?.into();
    }
    for name in ["output", "deleted", "error"] {
        let Some(files) = members.get_mut(name) else { continue };
        for file in files.as_array_mut()? {
            let url = file.get_mut("url")?;
            // Addresses of another host are the backend's choice of a store; they carry their own authorisation.
            if let Some(public) = sealed(url.as_str()?) {
                *url = public.into();
            }
        }
    }
    members.remove("link");
    serde_json::to_vec(&manifest).ok()
}
