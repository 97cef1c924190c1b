//! Every refusal → status, header fields, OperationOutcome.
//!
//! What a client reads and what an operator reads are different texts: [`Rejection::outcome`] reveals nothing about
//! hosts, claims or records; [`Rejection::detail`] gives the cause. Statuses follow RFC 6750 §3.1, RFC 9110 §15 and the
//! requirements TOK-3 … TOK-10, REST-0, HTTP-14 and HTTP-15.

use std::time::Duration;

use http::StatusCode;
use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::fhir::outcome::{Issue, OperationOutcome, sentence};
use crate::fhir::{NoInteraction, TargetError, Unreadable};
use crate::policy::{Denial, EntryRefusal, Refused, Unmatched};
use crate::release::Withheld;
use crate::token::{ProofFault, Scheme, TokenClass, TokenError};

/// Every way a request ends without the backend's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// What happens could not be recorded, so it does not happen.
    AuditUnavailable,
    /// The backend could not be asked.
    Backend(BackendFault),
    /// The request's body ended early or stalled.
    BodyBroken,
    /// The request's body is longer than allowed.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The decision was no.
    Denied(Refused),
    /// The request is not one HTTP message that everybody reads alike, or not for this server.
    Framing {
        /// Its status.
        status: StatusCode,
        /// Its stable id.
        reason_id: &'static str,
        /// What the client reads.
        text: &'static str,
    },
    /// The client sends more requests than allowed.
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// The token was not accepted.
    Unauthenticated(TokenError),
    /// The request cannot be read.
    Unreadable(Unreadable),
    /// The backend's answer may not be shown.
    Withheld(Withheld),
}

/// Why the backend could not be asked, or its answer not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendFault {
    /// What came back is no HTTP.
    #[error("the backend's answer is broken: {0}")]
    Broken(String),
    /// The authorization server gives no token for this user, so the backend gives nothing (RFC 8693 §2.2.2).
    #[error("{0}")]
    ExchangeRefused(String),
    /// The credentials that it wants cannot be had now.
    #[error("{cause}")]
    NoCredentials {
        /// Why.
        cause: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// As many requests wait for it as may.
    #[error("too many requests wait for the backend")]
    Overloaded,
    /// It could not be reached lately, and nobody asks it now.
    #[error("the backend is left alone after several failures")]
    Resting {
        /// When to try again.
        retry_after: Duration,
    },
    /// It did not answer in time.
    #[error("the backend did not answer in time")]
    Timeout,
    /// Its answer is larger than what may be checked.
    #[error("the backend's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It cannot be reached.
    #[error("the backend cannot be reached: {0}")]
    Unreachable(String),
}

/// What challenges say besides the error (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1).
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The URL of the protected resource metadata.
    pub resource_metadata: String,
    /// Algorithms of proofs, separated by spaces; absent: there is no `DPoP` scheme.
    pub proof_algorithms: Option<String>,
}

impl Challenge {
    /// The challenge of a scheme, before any error.
    fn of(&self, scheme: Scheme) -> String {
        let about = format!(r#"realm="fhir", resource_metadata="{}""#, self.resource_metadata);
        match (scheme, &self.proof_algorithms) {
            (Scheme::Dpop, Some(algorithms)) => format!(r#"DPoP {about}, algs="{algorithms}""#),
            (Scheme::Bearer, _) | (Scheme::Dpop, None) => format!("Bearer {about}"),
        }
    }

    /// The schemes to name: the one that the request came by, and the other one.
    fn schemes(&self, scheme: Scheme) -> (Scheme, Option<Scheme>) {
        match (scheme, &self.proof_algorithms) {
            (_, None) => (Scheme::Bearer, None),
            (Scheme::Bearer, Some(_)) => (Scheme::Bearer, Some(Scheme::Dpop)),
            (Scheme::Dpop, Some(_)) => (Scheme::Dpop, Some(Scheme::Bearer)),
        }
    }
}

/// What a challenge says of the request.
enum Told {
    /// Nothing: there were no credentials.
    Nothing,
    /// This `error`, with further parameters.
    Error(&'static str, String),
}

/// What the client reads of a refusal.
#[derive(Debug, Clone)]
struct Words {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl Words {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }
}

impl Rejection {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.words().status
    }

    /// What the client reads.
    #[must_use]
    pub fn outcome(&self, request_id: &str) -> OperationOutcome {
        let words = self.words();
        let issue = Issue::error(words.code).details(words.text);
        OperationOutcome {
            issues: vec![issue.diagnostics(format!("reason {}, request {request_id}", self.reason_id()))],
        }
    }

    /// The sentence a client reads.
    #[must_use]
    pub fn text(&self) -> String {
        self.words().text
    }

    /// What the operator reads; may name hosts, issuers and parameters. Never a token, nor what tells of a patient: an id, a
    /// URL, a query or a piece of a body.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::AuditUnavailable => "the audit ledger cannot record".to_owned(),
            Self::Backend(fault) => fault.to_string(),
            Self::Denied(refused) => denial_detail(&refused.denial),
            Self::Unauthenticated(TokenError::DpopProofRefused(ProofFault::Url(_))) => {
                "DPoP proof: `htu` is not the request's URL without query".to_owned()
            }
            // Without a scheme the first word may be the token itself.
            Self::Unauthenticated(TokenError::SchemeUnsupported { .. }) => {
                "another authorization scheme than `Bearer` and `DPoP`".to_owned()
            }
            Self::Unauthenticated(error) => error.detail(),
            Self::Unreadable(unreadable) => unquoted(&unreadable.to_string()),
            Self::Withheld(withheld) => unquoted(&withheld.to_string()),
            Self::BodyBroken | Self::BodyTooLarge { .. } | Self::Framing { .. } | Self::Throttled { .. } => {
                self.words().text
            }
        }
    }

    /// A stable id of the reason: the same in outcome, log, metrics and audit.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::AuditUnavailable => "audit_unavailable",
            Self::Backend(BackendFault::Broken(_)) => "backend_broken",
            Self::Backend(BackendFault::ExchangeRefused(_)) => "token_exchange_refused",
            Self::Backend(BackendFault::NoCredentials { .. }) => "backend_credentials_unavailable",
            Self::Backend(BackendFault::Overloaded) => "overloaded",
            Self::Backend(BackendFault::Resting { .. }) => "backend_resting",
            Self::Backend(BackendFault::Timeout) => "backend_timeout",
            Self::Backend(BackendFault::TooLarge(_)) => "answer_too_large",
            Self::Backend(BackendFault::Unreachable(_)) => "backend_unreachable",
            Self::BodyBroken => "body_broken",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Denied(refused) => denial_id(&refused.denial),
            Self::Framing { reason_id, .. } => reason_id,
            Self::Throttled { .. } => "throttled",
            Self::Unauthenticated(error) => error.reason_id(),
            Self::Unreadable(unreadable) => unreadable_id(unreadable),
            Self::Withheld(withheld) => withheld_id(withheld),
        }
    }

    /// The header fields that belong to the refusal of a request whose credential came by this scheme.
    #[must_use]
    pub fn headers(&self, challenge: &Challenge, scheme: Scheme) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(name, value);
            }
        };
        for challenge in self.challenges(challenge, scheme) {
            put(WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = self.retry_after() {
            put(RETRY_AFTER, after.as_secs().max(1).to_string());
        }
        if let Self::Unreadable(Unreadable::Interaction(NoInteraction::UnknownMethod(_))) = self {
            put(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE".to_owned());
        }
        if let Self::Unreadable(Unreadable::Interaction(NoInteraction::MethodNotAllowed { allow })) = self {
            let mut allow: Vec<_> = allow.iter().map(|method| method.as_str()).collect();
            if allow.contains(&"GET") {
                allow.push("HEAD");
            }
            put(ALLOW, allow.join(", "));
        }
        headers
    }

    fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_secs(5);
        match self {
            Self::Unauthenticated(error) => error.retry_after(),
            Self::Backend(
                BackendFault::NoCredentials { retry_after, .. } | BackendFault::Resting { retry_after },
            )
            | Self::Throttled { retry_after } => Some(*retry_after),
            Self::AuditUnavailable | Self::Backend(BackendFault::Overloaded) => Some(SOON),
            Self::Backend(
                BackendFault::Broken(_)
                | BackendFault::ExchangeRefused(_)
                | BackendFault::Timeout
                | BackendFault::TooLarge(_)
                | BackendFault::Unreachable(_),
            )
            | Self::BodyBroken
            | Self::BodyTooLarge { .. }
            | Self::Denied(_)
            | Self::Framing { .. }
            | Self::Unreadable(_)
            | Self::Withheld(_) => None,
        }
    }

    /// RFC 6750 §3, RFC 9449 §7.1: the challenges of a refusal that is about the token. What is wrong is told by the
    /// scheme that the token came by; a 401 names the other one as well (TOK-66).
    fn challenges(&self, challenge: &Challenge, scheme: Scheme) -> Vec<String> {
        let Some(told) = self.told() else { return Vec::new() };
        let (own, other) = challenge.schemes(scheme);
        let mut first = challenge.of(own);
        if let Told::Error(error, more) = told {
            first.push_str(&format!(r#", error="{error}", error_description="{}"{more}"#, self.ascii_text()));
        }
        let other = other.filter(|_| self.status() == StatusCode::UNAUTHORIZED);
        std::iter::once(first).chain(other.map(|other| challenge.of(other))).collect()
    }

    fn told(&self) -> Option<Told> {
        let error = |error| Some(Told::Error(error, String::new()));
        match self {
            Self::Unauthenticated(token) => match token.class() {
                TokenClass::NoCredentials => Some(Told::Nothing),
                TokenClass::InvalidProof => error("invalid_dpop_proof"),
                TokenClass::InvalidToken => error("invalid_token"),
                TokenClass::InvalidRequest => error("invalid_request"),
                TokenClass::NonceNeeded => error("use_dpop_nonce"),
                TokenClass::Unavailable => None,
            },
            Self::Denied(Refused { denial: Denial::Anonymous, .. }) => Some(Told::Nothing),
            // What is out of reach looks like what is not there, and neither is the token's fault (REST-7).
            Self::Denied(Refused { denial: Denial::Unmatched(_), .. }) => None,
            Self::Denied(_) if self.status() != StatusCode::FORBIDDEN => None,
            Self::Denied(refused) => {
                let scope = needed(refused);
                let scope = if scope.is_empty() { scope } else { format!(r#", scope="{scope}""#) };
                Some(Told::Error("insufficient_scope", scope))
            }
            Self::AuditUnavailable
            | Self::Backend(_)
            | Self::BodyBroken
            | Self::BodyTooLarge { .. }
            | Self::Framing { .. }
            | Self::Throttled { .. }
            | Self::Unreadable(_)
            | Self::Withheld(_) => None,
        }
    }

    /// `error_description` has no quotes, backslashes or characters beyond ASCII (RFC 6750 §3).
    fn ascii_text(&self) -> String {
        self.words().text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
    }

    fn words(&self) -> Words {
        match self {
            Self::AuditUnavailable => Words::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "transient",
                "What happened cannot be recorded, so it is not told. A change may have been carried out. Try again later.",
            ),
            Self::Backend(fault) => backend_words(fault),
            Self::BodyBroken => {
                Words::new(StatusCode::BAD_REQUEST, "incomplete", "The request's body did not arrive whole.")
            }
            Self::BodyTooLarge { limit } => Words::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-long",
                format!("The request's body is longer than {limit} bytes."),
            ),
            Self::Denied(refused) => denial_words(refused),
            Self::Framing { status, text, .. } => Words::new(*status, "structure", *text),
            Self::Throttled { .. } => Words::new(
                StatusCode::TOO_MANY_REQUESTS,
                "throttled",
                "This client sends more requests than it may. Try again later.",
            ),
            Self::Unauthenticated(error) => token_words(error),
            Self::Unreadable(unreadable) => unreadable_words(unreadable),
            Self::Withheld(withheld) => withheld_words(withheld),
        }
    }
}

/// A text without what it quotes: from the first backtick to the last, for what is quoted may have backticks.
fn unquoted(text: &str) -> String {
    match (text.split_once('`'), text.rsplit_once('`')) {
        (Some((before, _)), Some((_, after))) => format!("{before}`…`{after}"),
        _ => text.to_owned(),
    }
}

/// The name of a parameter or operation, if it looks like one: a client may send anything in its place.
fn named(text: &str) -> &str {
    let fits = |c: char| c.is_ascii_alphanumeric() || "$_-.:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || "$_".contains(c));
    if begins && text.len() <= 64 && text.chars().all(fits) { text } else { "…" }
}

/// A denial for the operator.
fn denial_detail(denial: &Denial) -> String {
    let text = match denial {
        Denial::Anonymous => "no access token was sent",
        Denial::AuditProtected => "audit events are not written here",
        Denial::Chain { parameter } => {
            return format!("`{}` reaches into what is not granted whole", named(parameter));
        }
        Denial::Constrained => "it needs all of a type, and the grant reaches a part",
        Denial::ContradictoryContext => "the launch encounter is not the launch patient's",
        Denial::Entry { index, why: EntryRefusal::Denied(refused) } => {
            return format!("entry {index}: {}", denial_detail(&refused.denial));
        }
        Denial::Entry { index, why: EntryRefusal::Unreadable(unreadable) } => {
            return format!("entry {index}: {}", unquoted(&unreadable.to_string()));
        }
        Denial::InsufficientScope => "no scope grants it",
        Denial::Link => "the link was not made for this grant, or holds no longer",
        Denial::MalformedScope { error, .. } => {
            return format!("a scope that cannot be read: {}", unquoted(error));
        }
        Denial::MultipleMatches => "the criteria find several resources",
        Denial::NoLaunchPatient => "the token names no usable launch patient",
        Denial::OperationReserved { name } => {
            return format!("`{}` is not for this kind of grant", named(name));
        }
        Denial::OperationUnknown { name, level } => {
            return format!("`{}` has no row at {level} level", named(name));
        }
        Denial::OutsideGrant => "what is written, or would come of it, is outside of the grant",
        Denial::Parameter { parameter } => return format!("`{}` cannot be judged here", named(parameter)),
        Denial::PatchNotApplicable(_) => "the patch does not fit what is stored",
        Denial::Provenance => "X-Provenance is not one Provenance that may be created",
        Denial::StoredUnclear => "the backend's answer about what is stored cannot be used",
        Denial::Subscription => "the subscription's criteria cannot be held against the grant",
        Denial::Unmatched(_) => "the grant does not reach it, or it does not exist",
        Denial::VersionConflict => "the version is not the stored one",
    };
    text.to_owned()
}

/// The scopes that would be enough, by type and letter only (TOK-6).
fn needed(refused: &Refused) -> String {
    let missing = refused.needs.iter().filter(|need| need.granted.is_none());
    let written = missing.filter_map(|need| {
        need.letter().map(|letter| format!("user/{}.{}", need.type_name(), letter.as_char()))
    });
    written.collect::<Vec<_>>().join(" ")
}

fn token_words(error: &TokenError) -> Words {
    let (status, code) = match error.class() {
        TokenClass::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid"),
        TokenClass::InvalidProof
        | TokenClass::InvalidToken
        | TokenClass::NoCredentials
        | TokenClass::NonceNeeded => (StatusCode::UNAUTHORIZED, "login"),
        TokenClass::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "transient"),
    };
    Words::new(status, code, sentence(error.client_text()))
}

fn backend_words(fault: &BackendFault) -> Words {
    let (status, code, text) = match fault {
        BackendFault::Broken(_) => {
            (StatusCode::BAD_GATEWAY, "exception", "The FHIR server's answer could not be read.")
        }
        BackendFault::ExchangeRefused(_) => {
            (StatusCode::FORBIDDEN, "forbidden", "The FHIR server is not open to this user of this app.")
        }
        BackendFault::NoCredentials { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "The gateway cannot authenticate to the FHIR server now. Try again later.",
        ),
        BackendFault::Overloaded => {
            (StatusCode::SERVICE_UNAVAILABLE, "transient", "Too many requests are waiting. Try again later.")
        }
        BackendFault::Resting { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "The FHIR server cannot be reached now. Try again later.",
        ),
        BackendFault::Timeout => {
            (StatusCode::GATEWAY_TIMEOUT, "timeout", "The FHIR server did not answer in time.")
        }
        BackendFault::TooLarge(_) => (
            StatusCode::BAD_GATEWAY,
            "too-costly",
            "The FHIR server's answer is too large to be checked. Ask for less at once.",
        ),
        BackendFault::Unreachable(_) => {
            (StatusCode::BAD_GATEWAY, "transient", "The FHIR server cannot be reached.")
        }
    };
    Words::new(status, code, text)
}

fn withheld_words(withheld: &Withheld) -> Words {
    let text = match withheld {
        Withheld::Unmatched(unmatched) => return unmatched_words(*unmatched),
        Withheld::OutOfScope => {
            let text = "The answer holds resources that the scopes of the access token do not permit.";
            return Words::new(StatusCode::FORBIDDEN, "forbidden", text);
        }
        Withheld::BackendFailed(StatusCode::SERVICE_UNAVAILABLE) => {
            let text = "The FHIR server is not available.";
            return Words::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text);
        }
        Withheld::BackendFailed(StatusCode::NOT_IMPLEMENTED) => {
            let text = "The FHIR server does not support this.";
            return Words::new(StatusCode::NOT_IMPLEMENTED, "not-supported", text);
        }
        Withheld::BackendFailed(StatusCode::GATEWAY_TIMEOUT) => {
            let text = "The FHIR server did not answer in time.";
            return Words::new(StatusCode::GATEWAY_TIMEOUT, "timeout", text);
        }
        Withheld::PartRefused(status) if status.is_client_error() => {
            let text = "The FHIR server refused the search.";
            return Words::new(*status, "invalid", text);
        }
        Withheld::BackendFailed(_) | Withheld::PartRefused(_) => "The FHIR server failed.",
        Withheld::BackendRefused(_) => "The FHIR server does not let the gateway in.",
        Withheld::Redirected(_) => "The FHIR server answered with a redirect.",
        Withheld::Empty
        | Withheld::Encoded
        | Withheld::NotFhir
        | Withheld::Unreadable(_)
        | Withheld::WrongShape => "The FHIR server's answer is not what was asked for.",
    };
    Words::new(StatusCode::BAD_GATEWAY, "exception", text)
}

fn withheld_id(withheld: &Withheld) -> &'static str {
    match withheld {
        Withheld::BackendFailed(_) => "backend_failed",
        Withheld::BackendRefused(_) => "backend_refused_gateway",
        Withheld::Empty => "answer_empty",
        Withheld::Encoded => "answer_encoded",
        Withheld::NotFhir => "answer_not_fhir",
        Withheld::OutOfScope => "answer_out_of_scope",
        Withheld::PartRefused(_) => "backend_refused_search",
        Withheld::Redirected(_) => "answer_redirected",
        Withheld::Unmatched(unmatched) => unmatched_id(*unmatched),
        Withheld::Unreadable(_) => "answer_unreadable",
        Withheld::WrongShape => "answer_wrong_shape",
    }
}

fn denial_id(denial: &Denial) -> &'static str {
    match denial {
        Denial::Anonymous => "no_credentials",
        Denial::AuditProtected => "audit_protected",
        Denial::Chain { .. } => "parameter_reaches_further",
        Denial::Constrained => "constrained_grant",
        Denial::ContradictoryContext => "contradictory_context",
        Denial::Entry { why: EntryRefusal::Denied(refused), .. } => denial_id(&refused.denial),
        Denial::Entry { why: EntryRefusal::Unreadable(unreadable), .. } => unreadable_id(unreadable),
        Denial::InsufficientScope => "insufficient_scope",
        Denial::Link => "link_refused",
        Denial::MalformedScope { .. } => "malformed_scope",
        Denial::MultipleMatches => "multiple_matches",
        Denial::NoLaunchPatient => "no_launch_patient",
        Denial::OperationReserved { .. } => "operation_reserved",
        Denial::OperationUnknown { .. } => "operation_unknown",
        Denial::OutsideGrant => "outside_grant",
        Denial::Parameter { .. } => "parameter_refused",
        Denial::PatchNotApplicable(_) => "patch_not_applicable",
        Denial::Provenance => "provenance_refused",
        Denial::StoredUnclear => "stored_unclear",
        Denial::Subscription => "subscription_refused",
        Denial::Unmatched(unmatched) => unmatched_id(*unmatched),
        Denial::VersionConflict => "version_conflict",
    }
}

fn unmatched_id(unmatched: Unmatched) -> &'static str {
    match unmatched {
        Unmatched::Forbidden => "not_reached",
        Unmatched::NotFound => "not_found",
    }
}

/// What stands for a resource that the grant does not reach, and for one that does not exist (REST-7).
fn unmatched_words(unmatched: Unmatched) -> Words {
    match unmatched {
        Unmatched::Forbidden => {
            let text = "The scopes of the access token do not permit this resource.";
            Words::new(StatusCode::FORBIDDEN, "forbidden", text)
        }
        Unmatched::NotFound => Words::new(StatusCode::NOT_FOUND, "not-found", "The resource was not found."),
    }
}

fn denial_words(refused: &Refused) -> Words {
    let text = match &refused.denial {
        Denial::Anonymous => {
            let text = "An access token is needed. Send it as `Authorization: Bearer`.";
            return Words::new(StatusCode::UNAUTHORIZED, "login", text);
        }
        Denial::Entry { why: EntryRefusal::Unreadable(unreadable), index } => {
            let words = unreadable_words(unreadable);
            return Words { text: format!("Entry {index} of the transaction: {}", words.text), ..words };
        }
        Denial::Entry { why: EntryRefusal::Denied(inner), index } => {
            format!("Entry {index} of the transaction: {}", denial_words(inner).text)
        }
        Denial::AuditProtected => "Audit events cannot be written or changed here.".to_owned(),
        Denial::Chain { parameter } => {
            format!(
                "The parameter {parameter} reaches resources that the scopes of the access token do not permit."
            )
        }
        Denial::Constrained => {
            "This concerns all resources of a type, and the access token reaches only part of \
                                them, by patient, parameters or rules."
                .to_owned()
        }
        Denial::ContradictoryContext => {
            "The launch encounter of the access token is not one of its launch patient.".to_owned()
        }
        Denial::OutsideGrant => {
            "The content, as submitted or as it would become, is not within what the access token permits."
                .to_owned()
        }
        denial @ (Denial::MultipleMatches
        | Denial::PatchNotApplicable(_)
        | Denial::StoredUnclear
        | Denial::Unmatched(_)
        | Denial::VersionConflict) => return stored_words(denial),
        Denial::InsufficientScope => insufficient(refused),
        Denial::Link => "This link was not made for this access token, or is no longer valid.".to_owned(),
        Denial::MalformedScope { scope, error } => format!("The scope {scope} grants nothing: {error}."),
        Denial::NoLaunchPatient => "The access token has patient scopes but no launch patient.".to_owned(),
        Denial::OperationReserved { name } => {
            format!("The operation {name} is not for this kind of access token.")
        }
        Denial::OperationUnknown { name, level } => {
            format!("The operation {name} is not permitted at {level} level here.")
        }
        Denial::Parameter { parameter } => format!("The parameter {parameter} is not permitted here."),
        Denial::Provenance => "X-Provenance must be one Provenance resource in JSON.".to_owned(),
        Denial::Subscription => {
            "The subscription's criteria cannot be held against the access token.".to_owned()
        }
    };
    Words::new(StatusCode::FORBIDDEN, "forbidden", text)
}

/// Refusals that rest on what is stored.
fn stored_words(denial: &Denial) -> Words {
    match denial {
        Denial::MultipleMatches => {
            let text = "The criteria find more than one resource.";
            Words::new(StatusCode::PRECONDITION_FAILED, "multiple-matches", text)
        }
        Denial::PatchNotApplicable(_) => {
            // Why it cannot would tell what is stored (REST-12).
            let text = "The patch cannot be applied to what is stored.";
            Words::new(StatusCode::UNPROCESSABLE_ENTITY, "processing", text)
        }
        Denial::Unmatched(unmatched) => unmatched_words(*unmatched),
        Denial::VersionConflict => {
            let text = "The stored version is not the one that the request names.";
            Words::new(StatusCode::PRECONDITION_FAILED, "conflict", text)
        }
        Denial::Anonymous
        | Denial::AuditProtected
        | Denial::Chain { .. }
        | Denial::Constrained
        | Denial::ContradictoryContext
        | Denial::Entry { .. }
        | Denial::InsufficientScope
        | Denial::Link
        | Denial::MalformedScope { .. }
        | Denial::NoLaunchPatient
        | Denial::OperationReserved { .. }
        | Denial::OperationUnknown { .. }
        | Denial::OutsideGrant
        | Denial::Parameter { .. }
        | Denial::Provenance
        | Denial::StoredUnclear
        | Denial::Subscription => {
            let text = "What is stored could not be read from the FHIR server.";
            Words::new(StatusCode::BAD_GATEWAY, "exception", text)
        }
    }
}

fn insufficient(refused: &Refused) -> String {
    let missing = refused.needs.iter().filter(|need| need.granted.is_none());
    let names: Vec<_> = missing
        .map(|need| {
            let letters: Vec<_> = need.letters.iter().map(|letter| letter.as_char().to_string()).collect();
            format!("{}.{}", need.type_name(), letters.join(" or "))
        })
        .collect();
    format!("The scopes of the access token do not permit this; it needs {}.", names.join(" and "))
}

fn unreadable_id(unreadable: &Unreadable) -> &'static str {
    match unreadable {
        Unreadable::Target(TargetError::OutsideBase) => "outside_base",
        Unreadable::Target(TargetError::Query(_)) => "query_malformed",
        Unreadable::Target(_) => "target_malformed",
        Unreadable::Interaction(NoInteraction::UnknownMethod(_)) => "method_unknown",
        Unreadable::Interaction(NoInteraction::MethodNotAllowed { .. }) => "method_not_allowed",
        Unreadable::Interaction(NoInteraction::UnknownPath) => "path_unknown",
        Unreadable::Interaction(NoInteraction::UnknownType(_)) => "type_unknown",
        Unreadable::Interaction(NoInteraction::BadId) => "id_malformed",
        Unreadable::Interaction(NoInteraction::NoCriteria) => "criteria_missing",
        Unreadable::NotAcceptable => "not_acceptable",
        Unreadable::MediaType { .. } => "media_type",
        Unreadable::UnexpectedBody => "body_unexpected",
        Unreadable::MissingBody => "body_missing",
        Unreadable::Form(_) => "form_malformed",
        Unreadable::Body(_) => "body_malformed",
        Unreadable::TooManyEntries(_) => "too_many_entries",
        Unreadable::WrongType(_) => "type_mismatch",
        Unreadable::WrongId => "id_mismatch",
        Unreadable::NotABatch => "not_a_batch",
        Unreadable::ConditionalReference => "conditional_reference",
        Unreadable::IfNoneExist(_) => "if_none_exist_malformed",
        Unreadable::Patch(_) => "patch_malformed",
        Unreadable::Entry => "entry_malformed",
        Unreadable::FullUrl => "full_url_mismatch",
        Unreadable::Header(_) => "header_malformed",
    }
}

fn unreadable_words(unreadable: &Unreadable) -> Words {
    let (status, code) = match unreadable {
        Unreadable::Target(TargetError::OutsideBase)
        | Unreadable::Interaction(NoInteraction::UnknownPath | NoInteraction::UnknownType(_)) => {
            (StatusCode::NOT_FOUND, "not-found")
        }
        Unreadable::Interaction(NoInteraction::UnknownMethod(_) | NoInteraction::MethodNotAllowed { .. }) => {
            (StatusCode::METHOD_NOT_ALLOWED, "not-supported")
        }
        Unreadable::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-supported"),
        Unreadable::MediaType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported"),
        Unreadable::TooManyEntries(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
        Unreadable::Target(_)
        | Unreadable::Interaction(NoInteraction::BadId | NoInteraction::NoCriteria)
        | Unreadable::UnexpectedBody
        | Unreadable::MissingBody
        | Unreadable::Form(_)
        | Unreadable::Body(_)
        | Unreadable::WrongType(_)
        | Unreadable::WrongId
        | Unreadable::NotABatch
        | Unreadable::ConditionalReference
        | Unreadable::IfNoneExist(_)
        | Unreadable::Patch(_)
        | Unreadable::Entry
        | Unreadable::FullUrl
        | Unreadable::Header(_) => (StatusCode::BAD_REQUEST, "invalid"),
    };
    Words::new(status, code, sentence(&unreadable.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: TokenError, algorithms: Option<&str>, scheme: Scheme) -> Vec<String> {
        let challenge =
            Challenge { resource_metadata: "M".to_owned(), proof_algorithms: algorithms.map(str::to_owned) };
        let headers = Rejection::Unauthenticated(error).headers(&challenge, scheme);
        headers.get_all(WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// TOK-3 … TOK-5, TOK-63, TOK-65, TOK-66; RFC 9449 §7.1: who reads what, and in which order.
    #[test]
    fn challenges() {
        let bearer = r#"Bearer realm="fhir", resource_metadata="M""#;
        let dpop = r#"DPoP realm="fhir", resource_metadata="M", algs="ES256 EdDSA""#;
        let with = |start: &str, error: &str, text: &str| {
            format!(r#"{start}, error="{error}", error_description="{text}.""#)
        };
        let (token, proof) = ("The access token is not valid", "The DPoP proof is not valid");
        let nonce = "The DPoP proof must carry the nonce of this answer";
        let request = "The request must carry exactly one well-formed credential";
        let both = Some("ES256 EdDSA");
        let refused = || TokenError::DpopProofRefused(ProofFault::Method);
        let table = [
            (TokenError::NoCredentials, both, Scheme::Bearer, vec![bearer.into(), dpop.into()]),
            (TokenError::NoCredentials, None, Scheme::Bearer, vec![bearer.into()]),
            (TokenError::DpopUnsupported, None, Scheme::Dpop, vec![bearer.into()]),
            (
                TokenError::Bound,
                both,
                Scheme::Bearer,
                vec![with(bearer, "invalid_token", token), dpop.into()],
            ),
            (
                TokenError::NotBound,
                both,
                Scheme::Dpop,
                vec![with(dpop, "invalid_token", token), bearer.into()],
            ),
            (refused(), both, Scheme::Dpop, vec![with(dpop, "invalid_dpop_proof", proof), bearer.into()]),
            (
                TokenError::DpopNonceNeeded,
                both,
                Scheme::Dpop,
                vec![with(dpop, "use_dpop_nonce", nonce), bearer.into()],
            ),
            (
                TokenError::SeveralCredentials,
                both,
                Scheme::Bearer,
                vec![with(bearer, "invalid_request", request)],
            ),
            (
                TokenError::ReplayMemoryUnavailable { cause: "away".to_owned() },
                both,
                Scheme::Dpop,
                Vec::new(),
            ),
        ];
        for (error, algorithms, scheme, means) in table {
            assert_eq!(told(error.clone(), algorithms, scheme), means, "{error}");
        }
    }

    /// HTTP-21: what a client sends in the place of a name stays out of the log.
    #[test]
    fn details_tell_of_no_patient() {
        let denied = |denial| Rejection::Denied(Refused { denial, needs: Vec::new() });
        let parameter = |name: &str| denied(Denial::Parameter { parameter: name.to_owned() });
        let table = [
            (parameter("_contained"), "`_contained` cannot be judged here"),
            (
                parameter("_has:Observation:patient:code"),
                "`_has:Observation:patient:code` cannot be judged here",
            ),
            (parameter("patient=Patient/p1"), "`…` cannot be judged here"),
            (parameter(""), "`…` cannot be judged here"),
            (
                denied(Denial::PatchNotApplicable("`/name/0/family` is Smith".to_owned())),
                "the patch does not fit what is stored",
            ),
            (
                Rejection::Unreadable(Unreadable::Interaction(NoInteraction::UnknownType(
                    "Smi`th".to_owned(),
                ))),
                "`…` is no resource type of this FHIR version",
            ),
            (
                Rejection::Unauthenticated(TokenError::DpopProofRefused(ProofFault::Url(
                    "https://gw.test/fhir/Patient/p1".to_owned(),
                ))),
                "DPoP proof: `htu` is not the request's URL without query",
            ),
            (
                Rejection::Throttled { retry_after: Duration::ZERO },
                "This client sends more requests than it may. Try again later.",
            ),
        ];
        for (rejection, means) in table {
            assert_eq!(rejection.detail(), means);
        }
    }

    /// TOK-6: what is missing is told by the scheme that the token came by.
    #[test]
    fn insufficient_scope_is_told_by_the_same_scheme() {
        let challenge =
            Challenge { resource_metadata: "M".to_owned(), proof_algorithms: Some("ES256".to_owned()) };
        let refused = Refused { denial: Denial::InsufficientScope, needs: Vec::new() };
        for (scheme, begin) in [(Scheme::Bearer, "Bearer "), (Scheme::Dpop, "DPoP ")] {
            let headers = Rejection::Denied(refused.clone()).headers(&challenge, scheme);
            let all: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
            let [one] = all.as_slice() else { panic!("{all:?}") };
            let one = one.to_str().unwrap();
            assert!(one.starts_with(begin) && one.contains(r#"error="insufficient_scope""#), "{one}");
        }
    }
}
