//! Every way a token is refused.
//!
//! [`TokenError::client_text`] is for the client and reveals nothing about the cause; [`TokenError::detail`] is for
//! the operator, may name claims and issuers, and never holds a token.

use std::fmt;
use std::time::Duration;

use super::json::JsonFault;

/// Text from a token or an answer, made fit for one line of a log: escaped and cut at 80 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Quotes untrusted text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        if text.chars().nth(80).is_some() {
            quoted.push('…');
        }
        Self(quoted)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a refusal means to the client: it decides status and challenge (RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenClass {
    /// 400, `error="invalid_request"`.
    InvalidRequest,
    /// 401, `error="invalid_token"`.
    InvalidToken,
    /// 401 with a challenge that carries no `error`.
    NoCredentials,
    /// 503 with `Retry-After`: the token may be good, its issuer cannot be asked (TOK-45).
    Unavailable,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// TOK-4: no credentials where some are needed.
    #[error("no access token was sent")]
    NoCredentials,
    /// TOK-2: the only credential is a query parameter.
    #[error("the access token was sent in the query, which is not accepted")]
    TokenInQuery,
    /// TOK-10: neither Bearer nor DPoP.
    #[error("authorization scheme `{scheme}`: expected `Bearer`")]
    SchemeUnsupported {
        /// The scheme that was sent.
        scheme: Quoted,
    },
    /// TOK-63: proofs of possession are not checked here yet, so nothing rests on them.
    #[error("the `DPoP` scheme is not accepted by this gateway")]
    DpopUnsupported,
    /// TOK-63: `DPoP` credentials with no, or more than one, `DPoP` field.
    #[error("`DPoP` credentials need exactly one `DPoP` header field")]
    DpopProofMissing,
    /// TOK-3: more than one credential.
    #[error("more than one credential was sent")]
    SeveralCredentials,
    /// TOK-1: not `Bearer` and a b64token.
    #[error("the `Authorization` field is not a scheme and one token")]
    CredentialsMalformed,
    /// TOK-29: longer than any token we read.
    #[error("the token has {bytes} bytes: expected at most {limit}")]
    TokenOversized {
        /// Its length.
        bytes: usize,
        /// The longest that is read.
        limit: usize,
    },
    /// Not three parts of base64url.
    #[error("the token is no compact JWS")]
    JwsMalformed,
    /// TOK-22: JWE.
    #[error("the token is encrypted (JWE), which is not supported")]
    JweUnsupported,
    /// TOK-29: header or payload is no object with one meaning.
    #[error("token {part}: {fault}")]
    JsonRefused {
        /// `header` or `payload`.
        part: &'static str,
        /// What is wrong with it.
        fault: JsonFault,
    },
    /// TOK-22, -23: a header parameter that is not understood or has the wrong type.
    #[error("token header `{parameter}` is not acceptable")]
    HeaderRefused {
        /// Its name.
        parameter: &'static str,
    },
    /// TOK-20: `none`, HMAC, unknown, or not on the issuer's list.
    #[error("token algorithm `{algorithm}` is not accepted")]
    AlgorithmRefused {
        /// The `alg` header.
        algorithm: Quoted,
    },
    /// TOK-23: another kind of JWT, or no kind where one is demanded.
    #[error("token type `{typ}` is not accepted")]
    TypeRefused {
        /// The `typ` header or claim; empty when absent.
        typ: Quoted,
    },
    /// TOK-24: no configured issuer has this name.
    #[error("token issuer `{issuer}` is not trusted")]
    IssuerUnknown {
        /// The `iss` claim.
        issuer: Quoted,
    },
    /// TOK-46: an opaque token, and nobody to ask about it.
    #[error("the token is no JWT and no authorization server is configured for such tokens")]
    OpaqueUnsupported,
    /// TOK-21: the issuer publishes no key of that `kid`.
    #[error("issuer `{issuer}` has no key `{kid}` fit for this token")]
    KeyUnknown {
        /// The issuer.
        issuer: String,
        /// The `kid` header; empty when absent.
        kid: Quoted,
    },
    /// The signature is not the issuer's.
    #[error("the signature does not verify with the keys of `{issuer}`")]
    SignatureInvalid {
        /// The issuer.
        issuer: String,
    },
    /// TOK-28: a required claim is absent.
    #[error("claim `{claim}` is missing")]
    ClaimMissing {
        /// Its name.
        claim: Quoted,
    },
    /// A claim has a type or value that cannot be used.
    #[error("claim `{claim}` is unusable: expected {expected}")]
    ClaimUnusable {
        /// Its name.
        claim: Quoted,
        /// What would have been usable.
        expected: &'static str,
    },
    /// TOK-25.
    #[error("the token is for another audience than `{expected}`")]
    AudienceMismatch {
        /// The accepted audiences.
        expected: String,
    },
    /// TOK-24, -43: the answer names another issuer.
    #[error("the token is of issuer `{issuer}`: expected `{expected}`")]
    IssuerMismatch {
        /// The `iss` found.
        issuer: Quoted,
        /// The configured issuer.
        expected: String,
    },
    /// TOK-27.
    #[error("not an access token: {sign}")]
    NotAnAccessToken {
        /// What gives it away.
        sign: &'static str,
    },
    /// CTX-10: its `authorization_details` say nothing about this base, or nothing clear.
    #[error("authorization_details: {cause}")]
    DetailsRefused {
        /// What is wrong with them.
        cause: &'static str,
    },
    /// TOK-26.
    #[error("the token expired at {exp}")]
    Expired {
        /// Its `exp`.
        exp: jiff::Timestamp,
    },
    /// TOK-26.
    #[error("the token is not valid before {nbf}")]
    NotYetValid {
        /// Its `nbf`.
        nbf: jiff::Timestamp,
    },
    /// TOK-26.
    #[error("the token was issued in the future, at {iat}")]
    IssuedInFuture {
        /// Its `iat`.
        iat: jiff::Timestamp,
    },
    /// TOK-26.
    #[error("the token expires at {exp}: later than the longest accepted lifetime")]
    LifetimeTooLong {
        /// Its `exp`.
        exp: jiff::Timestamp,
    },
    /// TOK-62: bound to a key or certificate, and no proof of it was checked.
    #[error("the token is bound (`cnf`) and came without a proof that was checked")]
    Bound,
    /// TOK-41.
    #[error("issuer `{issuer}` says the token is not active")]
    Inactive {
        /// The issuer.
        issuer: String,
    },
    /// `validation = "both"`: the signed claims and the introspection answer differ.
    #[error("token and introspection answer disagree on `{claim}`")]
    Disagreement {
        /// The claim they differ in.
        claim: Quoted,
    },
    /// TOK-45: no answer from the issuer.
    #[error("authorization server `{issuer}` cannot be used: {cause}")]
    IssuerUnavailable {
        /// The issuer.
        issuer: String,
        /// What happened; names hosts, holds no token.
        cause: String,
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// TOK-47: too many questions to the issuer at once.
    #[error("too many calls to authorization server `{issuer}` are waiting")]
    IssuerOverloaded {
        /// The issuer.
        issuer: String,
        /// When asking again makes sense.
        retry_after: Duration,
    },
}

impl TokenError {
    /// A name for this refusal that stays the same between versions.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::TokenInQuery => "token_in_query",
            Self::SchemeUnsupported { .. } => "scheme_unsupported",
            Self::DpopUnsupported => "dpop_unsupported",
            Self::DpopProofMissing => "dpop_proof_missing",
            Self::SeveralCredentials => "several_credentials",
            Self::CredentialsMalformed => "credentials_malformed",
            Self::TokenOversized { .. } => "token_oversized",
            Self::JwsMalformed => "token_malformed",
            Self::JweUnsupported => "token_encrypted",
            Self::JsonRefused { .. } => "token_json_refused",
            Self::HeaderRefused { .. } => "token_header_refused",
            Self::AlgorithmRefused { .. } => "token_algorithm_refused",
            Self::TypeRefused { .. } => "token_type_refused",
            Self::IssuerUnknown { .. } => "token_issuer_unknown",
            Self::OpaqueUnsupported => "token_opaque_unsupported",
            Self::KeyUnknown { .. } => "token_key_unknown",
            Self::SignatureInvalid { .. } => "token_signature_invalid",
            Self::ClaimMissing { .. } => "token_claim_missing",
            Self::ClaimUnusable { .. } => "token_claim_unusable",
            Self::AudienceMismatch { .. } => "token_audience_mismatch",
            Self::IssuerMismatch { .. } => "token_issuer_mismatch",
            Self::NotAnAccessToken { .. } => "not_an_access_token",
            Self::DetailsRefused { .. } => "token_details_refused",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::IssuedInFuture { .. } => "token_issued_in_future",
            Self::LifetimeTooLong { .. } => "token_lifetime_too_long",
            Self::Bound => "token_bound",
            Self::Inactive { .. } => "token_inactive",
            Self::Disagreement { .. } => "token_disagreement",
            Self::IssuerUnavailable { .. } => "issuer_unavailable",
            Self::IssuerOverloaded { .. } => "issuer_overloaded",
        }
    }

    /// Decides status and challenge.
    #[must_use]
    pub fn class(&self) -> TokenClass {
        match self {
            Self::NoCredentials
            | Self::TokenInQuery
            | Self::SchemeUnsupported { .. }
            | Self::DpopUnsupported => TokenClass::NoCredentials,
            Self::SeveralCredentials | Self::CredentialsMalformed => TokenClass::InvalidRequest,
            Self::IssuerUnavailable { .. } | Self::IssuerOverloaded { .. } => TokenClass::Unavailable,
            Self::DpopProofMissing
            | Self::TokenOversized { .. }
            | Self::JwsMalformed
            | Self::JweUnsupported
            | Self::JsonRefused { .. }
            | Self::HeaderRefused { .. }
            | Self::AlgorithmRefused { .. }
            | Self::TypeRefused { .. }
            | Self::IssuerUnknown { .. }
            | Self::OpaqueUnsupported
            | Self::KeyUnknown { .. }
            | Self::SignatureInvalid { .. }
            | Self::ClaimMissing { .. }
            | Self::ClaimUnusable { .. }
            | Self::AudienceMismatch { .. }
            | Self::IssuerMismatch { .. }
            | Self::NotAnAccessToken { .. }
            | Self::DetailsRefused { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInFuture { .. }
            | Self::LifetimeTooLong { .. }
            | Self::Bound
            | Self::Inactive { .. }
            | Self::Disagreement { .. } => TokenClass::InvalidToken,
        }
    }

    /// What the client reads: ASCII without quotes, fit for `error_description` (TOK-8).
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self.class() {
            TokenClass::InvalidRequest => "the request must carry exactly one well-formed credential",
            TokenClass::InvalidToken => "the access token is not valid",
            TokenClass::NoCredentials => "an access token is required in the Authorization header",
            TokenClass::Unavailable => "access tokens cannot be checked at the moment",
        }
    }

    /// What the operator reads; may name hosts and claims, never a token.
    #[must_use]
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// When the client may try again; present for [`TokenClass::Unavailable`] only.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::IssuerUnavailable { retry_after, .. } | Self::IssuerOverloaded { retry_after, .. } = self
        {
            return Some(*retry_after);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operator's line stays one line, whatever a token holds (JWT-025).
    #[test]
    fn untrusted_text_is_escaped_and_cut() {
        let table = [
            ("plain", "plain"),
            ("a\nlevel=info", "a\\nlevel=info"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("caf\u{e9}", "caf\u{e9}"),
        ];
        for (text, shown) in table {
            assert_eq!(Quoted::new(text).to_string(), shown);
        }
        assert_eq!(Quoted::new(&"x".repeat(80)).to_string(), "x".repeat(80));
        assert_eq!(Quoted::new(&"x".repeat(81)).to_string(), format!("{}…", "x".repeat(80)));
    }

    /// TOK-8: what the client reads is fit for a quoted string and names no cause.
    #[test]
    fn client_text_reveals_nothing() {
        let kid = Quoted::new("secret-kid");
        let refusals = [
            TokenError::NoCredentials,
            TokenError::SeveralCredentials,
            TokenError::KeyUnknown { issuer: "https://as.test".to_owned(), kid },
            TokenError::IssuerUnavailable {
                issuer: "https://as.test".to_owned(),
                cause: "refused".to_owned(),
                retry_after: Duration::from_secs(1),
            },
        ];
        for refusal in refusals {
            let text = refusal.client_text();
            assert!(text.is_ascii() && !text.contains(['"', '\\']), "{text}");
            assert!(!text.contains("as.test") && !text.contains("kid"), "{text}");
            assert_eq!(refusal.retry_after().is_some(), refusal.class() == TokenClass::Unavailable);
        }
    }
}
