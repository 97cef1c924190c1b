//! Every way a token is refused.
//!
//! [`TokenError::client_text`] is for the client and reveals nothing about the cause; [`TokenError::detail`] is for
//! the operator, may name claims and issuers, and never holds a token.

use std::fmt;
use std::time::Duration;

use super::json::JsonFault;
use super::proof::ProofFault;

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
    /// 401, `DPoP error="invalid_dpop_proof"` (RFC 9449 §7.1).
    InvalidProof,
    /// 401, `error="invalid_token"`.
    InvalidToken,
    /// 401 with a challenge that carries no `error`.
    NoCredentials,
    /// 401, `DPoP error="use_dpop_nonce"` (RFC 9449 §9).
    NonceNeeded,
    /// 503 with `Retry-After`: the token may be good, whoever must be asked about it cannot be (TOK-45).
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
    #[error("authorization scheme `{scheme}`: expected `Bearer` or `DPoP`")]
    SchemeUnsupported {
        /// The scheme that was sent.
        scheme: Quoted,
    },
    /// TOK-63: switched off, so nothing rests on proofs.
    #[error("the `DPoP` scheme is not accepted by this gateway")]
    DpopUnsupported,
    /// TOK-63: `DPoP` credentials with no, or more than one, `DPoP` field.
    #[error("`DPoP` credentials need exactly one `DPoP` header field")]
    DpopProofMissing,
    /// TOK-63: the proof does not pass.
    #[error("DPoP proof: {0}")]
    DpopProofRefused(ProofFault),
    /// TOK-64: the proof was used before.
    #[error("DPoP proof: it was used before")]
    DpopProofReplayed,
    /// TOK-65: no nonce of ours, or one that is too old.
    #[error("DPoP proof: without a nonce of this gateway that is still good")]
    DpopNonceNeeded,
    /// TOK-64: it cannot be known whether the proof was used before.
    #[error("used DPoP proofs cannot be looked up: {cause}")]
    ReplayMemoryUnavailable {
        /// What happened.
        cause: String,
    },
    /// TOK-61: what a trusted proxy says of the client's certificate is not understood.
    #[error("the field `{field}` of a trusted proxy is not one certificate in the expected form")]
    CertificateFieldUnreadable {
        /// Its name.
        field: String,
    },
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
    /// TOK-62: bound to a key, and not sent by the `DPoP` scheme with a proof of it.
    #[error("the token is bound to a key (`cnf.jkt`) and came without a DPoP proof")]
    Bound,
    /// TOK-66: not bound to any key, and sent by the `DPoP` scheme.
    #[error("the token came by the `DPoP` scheme and is bound to no key (`cnf.jkt`)")]
    NotBound,
    /// TOK-63: bound to another key than the proof's.
    #[error("DPoP proof: its key is not the one that the token is bound to (`cnf.jkt`)")]
    KeyMismatch,
    /// TOK-60: bound to a certificate, and the client showed none.
    #[error("the token is bound to a certificate (`cnf.x5t#S256`) and the client showed none")]
    CertificateMissing,
    /// TOK-60: bound to another certificate than the client's.
    #[error("the token is bound to another certificate (`cnf.x5t#S256`) than the client's")]
    CertificateMismatch,
    /// TOK-62: bound to something that is not understood.
    #[error("claim `cnf` is unusable: expected `jkt`, `x5t#S256` or both, each a SHA-256 thumbprint")]
    ConfirmationUnusable,
    /// TOK-31, JWT-075: told by another replica or an operator.
    #[error("the token is revoked")]
    Revoked,
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

/// When a request may come again that the memory of used proofs was not there for.
const REPLAY_MEMORY_BACK: Duration = Duration::from_secs(1);

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
            Self::DpopProofRefused(fault) => fault.reason_id(),
            Self::DpopProofReplayed => "dpop_proof_replayed",
            Self::DpopNonceNeeded => "dpop_nonce_needed",
            Self::ReplayMemoryUnavailable { .. } => "replay_memory_unavailable",
            Self::CertificateFieldUnreadable { .. } => "client_certificate_unreadable",
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
            Self::NotBound => "token_not_bound",
            Self::KeyMismatch => "dpop_proof_key",
            Self::CertificateMissing => "token_certificate_missing",
            Self::CertificateMismatch => "token_certificate_mismatch",
            Self::ConfirmationUnusable => "token_confirmation_unusable",
            Self::Inactive { .. } => "token_inactive",
            Self::Revoked => "token_revoked",
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
            Self::SeveralCredentials
            | Self::CredentialsMalformed
            | Self::CertificateFieldUnreadable { .. } => TokenClass::InvalidRequest,
            Self::IssuerUnavailable { .. }
            | Self::IssuerOverloaded { .. }
            | Self::ReplayMemoryUnavailable { .. } => TokenClass::Unavailable,
            Self::DpopProofMissing
            | Self::DpopProofRefused(_)
            | Self::DpopProofReplayed
            | Self::KeyMismatch => TokenClass::InvalidProof,
            Self::DpopNonceNeeded => TokenClass::NonceNeeded,
            Self::TokenOversized { .. }
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
            | Self::NotBound
            | Self::CertificateMissing
            | Self::CertificateMismatch
            | Self::ConfirmationUnusable
            | Self::Inactive { .. }
            | Self::Revoked
            | Self::Disagreement { .. } => TokenClass::InvalidToken,
        }
    }

    /// What the client reads: ASCII without quotes, fit for `error_description` (TOK-8).
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self.class() {
            TokenClass::InvalidRequest => "the request must carry exactly one well-formed credential",
            TokenClass::InvalidProof => "the DPoP proof is not valid",
            TokenClass::InvalidToken => "the access token is not valid",
            TokenClass::NoCredentials => "an access token is required in the Authorization header",
            TokenClass::NonceNeeded => "the DPoP proof must carry the nonce of this answer",
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
        matches!(self, Self::ReplayMemoryUnavailable { .. }).then_some(REPLAY_MEMORY_BACK)
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
