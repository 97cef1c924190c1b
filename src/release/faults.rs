//! Answers that say no: what of them is shown (RESP-3, RESP-9, HTTP-15).

use bytes::Bytes;
use http::StatusCode;

use super::{Answer, Case, Released, Terms, fields, format};
use crate::fhir::outcome::{Issue, OperationOutcome, Severity};
use crate::policy::{Admit, Content, Duties, Reached, Unmatched};

/// Why an answer is withheld.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The backend failed.
    #[error("the backend answered {0}")]
    BackendFailed(StatusCode),
    /// The backend asked the gateway for other credentials.
    #[error("the backend answered {0} to the gateway's credentials")]
    BackendRefused(StatusCode),
    /// 200 without a body.
    #[error("the backend answered without a body")]
    Empty,
    /// A content coding that was not asked for.
    #[error("the backend's answer is packed, though nothing packed was asked for")]
    Encoded,
    /// Not FHIR JSON or XML.
    #[error("the backend's answer is not FHIR")]
    NotFhir,
    /// An operation's answer holds what the grant does not reach (OPS-9).
    #[error("the backend's answer holds resources beyond the grant")]
    OutOfScope,
    /// The backend refused one of the searches that a search became.
    #[error("the backend answered {0} to a narrowed search")]
    PartRefused(StatusCode),
    /// It leads elsewhere.
    #[error("the backend answered with the redirect {0}")]
    Redirected(StatusCode),
    /// The grant does not reach what was named, or there is no such thing: which of them is not told (REST-7).
    #[error("nothing that the grant reaches is there")]
    Unmatched(Unmatched),
    /// It cannot be read.
    #[error("the backend's answer cannot be read: {0}")]
    Unreadable(String),
    /// It is not what was asked for (RESP-2).
    #[error("the backend's answer is not what was asked for")]
    WrongShape,
}

/// Statuses that are shown as they are; the rest is the gateway's own business with the backend.
fn is_shown(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::CONFLICT
            | StatusCode::GONE
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::LOCKED
            | StatusCode::FAILED_DEPENDENCY
            | StatusCode::PRECONDITION_REQUIRED
            | StatusCode::TOO_MANY_REQUESTS
    )
}

/// Shows a refusal or failure of the backend in clean words.
pub(super) fn release(answer: &Answer, duties: &Duties, terms: &Terms<'_>) -> Result<Released, Withheld> {
    let status = answer.status;
    if let (StatusCode::NOT_FOUND | StatusCode::GONE, Some(unmatched)) = (status, duties.masks) {
        return Err(Withheld::Unmatched(unmatched));
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if terms.credentials.tell_the_client(status) => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(Withheld::BackendRefused(status));
        }
        // A duplicate was found: FHIR lets a server point there (RESP-9).
        StatusCode::SEE_OTHER if terms.kind.writes() => {}
        status if status.is_redirection() => return Err(Withheld::Redirected(status)),
        status if !is_shown(status) => return Err(Withheld::BackendFailed(status)),
        _ => {}
    }
    let mut headers = fields::shown(&answer.headers, status, terms, fields::Body::Absent);
    if !status.is_redirection()
        || !fields::may_name_record(status, duties, terms, false)
        || duties.content == Content::Withheld
    {
        fields::forget_record(&mut headers);
    }
    if *terms.method == http::Method::HEAD || status.is_redirection() {
        return Ok(Released { status, headers, body: Bytes::new(), altered: false, patients: Vec::new() });
    }
    let outcome = format(&answer.headers)
        .and_then(|format| OperationOutcome::parse(&answer.body, format).ok())
        .map(|outcome| clean(outcome, status, duties, terms))
        .filter(|outcome| !outcome.issues.is_empty())
        .unwrap_or_else(|| plain(status));
    fields::content_type(&mut headers, terms.format);
    Ok(Released {
        status,
        headers,
        body: outcome.write(terms.format).into(),
        altered: true,
        patients: Vec::new(),
    })
}

/// An OperationOutcome inside an answer, cleaned; nothing when it is none.
pub(super) fn cleaned(body: &[u8], status: StatusCode, case: Case<'_>) -> Option<Vec<u8>> {
    let outcome = OperationOutcome::parse(body, case.format).ok()?;
    let outcome = clean(outcome, status, case.duties, case.terms);
    Some(if outcome.issues.is_empty() { nothing_to_say() } else { outcome }.write(case.format))
}

/// The same for a warning that nobody asked for: nothing when it speaks of the backend.
pub(super) fn unsuspicious(body: &[u8], case: Case<'_>) -> Option<Vec<u8>> {
    let outcome = OperationOutcome::parse(body, case.format).ok()?;
    let names = |text: &String| names_backend(text.as_bytes(), case.terms);
    let suspicious = |issue: &Issue| {
        let texts = issue.details.iter().chain(&issue.diagnostics);
        texts.chain(&issue.location).chain(&issue.expression).any(names)
    };
    if names_backend(body, case.terms) || outcome.issues.iter().any(suspicious) {
        return None;
    }
    cleaned(body, StatusCode::OK, case)
}

/// FHIR asks for an issue even where there is nothing to say.
pub(super) fn nothing_to_say() -> OperationOutcome {
    let issue = Issue { severity: Severity::Information, ..Issue::error("informational") };
    OperationOutcome { issues: vec![issue] }
}

/// Whether text names the backend.
pub(super) fn names_backend(text: &[u8], terms: &Terms<'_>) -> bool {
    let authority = terms.backend_base.split("://").nth(1).unwrap_or("").split('/').next().unwrap_or("");
    let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority }
    });
    let folded = text.to_ascii_lowercase();
    let names = |needle: &str| {
        !needle.is_empty() && memchr::memmem::find(&folded, needle.to_ascii_lowercase().as_bytes()).is_some()
    };
    if host.contains('.') {
        return names(host);
    }
    // A host of one label may be a word like any other (`hapi`, `fhir`): only as it is written, and by itself.
    (host != authority && names(authority)) || (host != "localhost" && stands_alone(text, host.as_bytes()))
}

fn stands_alone(text: &[u8], word: &[u8]) -> bool {
    let goes_on = |at: Option<usize>| {
        let byte = at.and_then(|at| text.get(at));
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    !word.is_empty()
        && memchr::memmem::find_iter(text, word)
            .any(|at| !goes_on(at.checked_sub(1)) && !goes_on(Some(at + word.len())))
}

/// Issues without what a backend says of itself. Texts stay where they speak of the client's own input, or where the
/// grant reaches everything anyway; a conflict, say, names the record it is with.
fn clean(
    mut outcome: OperationOutcome,
    status: StatusCode,
    duties: &Duties,
    terms: &Terms<'_>,
) -> OperationOutcome {
    let speaks_of_input =
        matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::OK);
    // Under a grant in part even a complaint about the input may quote what it collides with.
    let shows = duties.admit == Admit::All
        || (speaks_of_input && duties.content == Content::Shown && duties.extent == Reached::Whole);
    let keep = |text: Option<String>| text.filter(|text| shows && !names_backend(text.as_bytes(), terms));
    for issue in &mut outcome.issues {
        issue.details = keep(issue.details.take());
        issue.diagnostics = keep(issue.diagnostics.take());
        if shows {
            let own = |text: &String| !names_backend(text.as_bytes(), terms);
            issue.expression.retain(own);
            issue.location.retain(own);
        } else {
            issue.expression.clear();
            issue.location.clear();
        }
    }
    outcome
}

/// What a status means, where the backend's words are not shown.
fn plain(status: StatusCode) -> OperationOutcome {
    let (code, text) = match status {
        StatusCode::NOT_FOUND => ("not-found", "The resource was not found."),
        StatusCode::GONE => ("deleted", "The resource has been deleted."),
        StatusCode::CONFLICT => ("conflict", "The request is in conflict with what is stored."),
        StatusCode::PRECONDITION_FAILED => ("conflict", "A precondition of the request does not hold."),
        StatusCode::UNPROCESSABLE_ENTITY => ("processing", "The FHIR server could not process the content."),
        StatusCode::TOO_MANY_REQUESTS => ("throttled", "The FHIR server asks for fewer requests."),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ("forbidden", "The FHIR server refused the request.")
        }
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("not-supported", "The FHIR server does not support this.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("too-long", "The FHIR server found the request too large."),
        _ => ("invalid", "The FHIR server refused the request."),
    };
    OperationOutcome { issues: vec![Issue::error(code).details(text)] }
}

/// The outcome that stands for a withheld or refused entry of a batch.
pub(super) fn entry_outcome(code: &str, text: &str) -> OperationOutcome {
    OperationOutcome { issues: vec![Issue::error(code).details(text)] }
}
