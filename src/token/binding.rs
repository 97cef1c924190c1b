//! What a token is bound to, and whether its sender showed it (RFC 7800 `cnf`, RFC 8705 §3, RFC 9449 §6).
//!
//! A binding that is not understood whole is one that cannot be met: the token is refused (TOK-62).

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::error::TokenError;
use super::proof::Proven;

/// The SHA-256 thumbprint of a key (RFC 7638) or certificate (RFC 8705 §3.1). Shown as base64url; no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// That of a certificate, from its DER.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self::of(der)
    }

    /// One that was computed where the key or certificate was seen.
    #[must_use]
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Reads 43 characters of base64url, without padding and stray bits.
    fn read(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the sender of a request showed that it holds, besides the token. Nothing, by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Possession {
    key: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
}

impl Possession {
    /// `proven` is there exactly when the token came by the `DPoP` scheme.
    #[must_use]
    pub fn of(proven: Option<&Proven>, certificate: Option<Thumbprint>) -> Self {
        Self { key: proven.map(Proven::key), certificate }
    }
}

/// What verified claims bind their token to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// Nothing: whoever bears it may use it.
    Free,
    /// All that is named, and at least one is.
    To { key: Option<Thumbprint>, certificate: Option<Thumbprint> },
    /// Something that is not understood.
    Unusable,
}

impl Binding {
    /// Reads `cnf` of a JWT's payload or an introspection answer; both have it in the same place (RFC 7662, RFC 8705
    /// §3.2, RFC 9449 §6.2).
    pub(super) fn read(claims: &Map<String, Value>) -> Self {
        let binding = match claims.get("cnf") {
            None => Some(Self::Free),
            Some(Value::Object(methods)) => Self::methods(methods),
            Some(_) => None,
        };
        match binding {
            // The issuer says it is bound to a key, and does not say to which.
            Some(Self::Free | Self::To { key: None, .. }) if is_dpop(claims) => Self::Unusable,
            Some(binding) => binding,
            None => Self::Unusable,
        }
    }

    fn methods(methods: &Map<String, Value>) -> Option<Self> {
        let (mut key, mut certificate) = (None, None);
        for (method, value) in methods {
            let thumbprint = Thumbprint::read(value.as_str()?)?;
            match method.as_str() {
                "jkt" => key = Some(thumbprint),
                "x5t#S256" => certificate = Some(thumbprint),
                _ => return None,
            }
        }
        (key.is_some() || certificate.is_some()).then_some(Self::To { key, certificate })
    }

    /// Compares with what was shown: everything named must be there, and the scheme must fit (TOK-60, -62, -66).
    pub(super) fn check(&self, shown: &Possession) -> Result<(), TokenError> {
        let (key, certificate) = match self {
            Self::Free => (None, None),
            Self::To { key, certificate } => (*key, *certificate),
            Self::Unusable => return Err(TokenError::ConfirmationUnusable),
        };
        match (key, shown.key) {
            (Some(bound), Some(proven)) if bound != proven => return Err(TokenError::KeyMismatch),
            // RFC 9449 §7.2: a bound token is no bearer token.
            (Some(_), None) => return Err(TokenError::Bound),
            (None, Some(_)) => return Err(TokenError::NotBound),
            (Some(_), Some(_)) | (None, None) => (),
        }
        match (certificate, shown.certificate) {
            (Some(bound), Some(held)) if bound != held => Err(TokenError::CertificateMismatch),
            (Some(_), None) => Err(TokenError::CertificateMissing),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }
}

/// Whether the issuer calls the token one of DPoP: in an answer (RFC 9449 §6.2), or in Keycloak's claim.
fn is_dpop(claims: &Map<String, Value>) -> bool {
    let says = |name: &str| claims.get(name).and_then(Value::as_str);
    ["token_type", "typ"].into_iter().filter_map(says).any(|kind| kind.eq_ignore_ascii_case("dpop"))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// The thumbprint of RFC 9449 §6.1, and the one of the certificate of RFC 8705 appendix A.
    pub(in crate::token) const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    pub(in crate::token) const CERTIFICATE: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn read(claims: &Value) -> Binding {
        Binding::read(claims.as_object().unwrap())
    }

    /// TOK-60, TOK-62; RFC 7800 §3.1, RFC 8705 §3.1, RFC 9449 §6.1.
    #[test]
    fn confirmations() {
        let to = |key: Option<&str>, certificate: Option<&str>| {
            let read = |text| Thumbprint::read(text).unwrap();
            Binding::To { key: key.map(read), certificate: certificate.map(read) }
        };
        let table = [
            (json!({}), Binding::Free),
            (json!({"cnf": {"jkt": KEY}}), to(Some(KEY), None)),
            (json!({"cnf": {"x5t#S256": CERTIFICATE}}), to(None, Some(CERTIFICATE))),
            (json!({"cnf": {"jkt": KEY, "x5t#S256": CERTIFICATE}}), to(Some(KEY), Some(CERTIFICATE))),
            (json!({"cnf": {}}), Binding::Unusable),
            (json!({"cnf": null}), Binding::Unusable),
            (json!({"cnf": []}), Binding::Unusable),
            (json!({"cnf": KEY}), Binding::Unusable),
            (json!({"cnf": {"jkt": null}}), Binding::Unusable),
            (json!({"cnf": {"jkt": ""}}), Binding::Unusable),
            (json!({"cnf": {"jkt": "x"}}), Binding::Unusable),
            (json!({"cnf": {"jkt": [KEY]}}), Binding::Unusable),
            (json!({"cnf": {"jkt": format!("{KEY}=")}}), Binding::Unusable),
            (json!({"cnf": {"jkt": KEY.replace("4I", "4J")}}), Binding::Unusable), // stray bits
            (json!({"cnf": {"jkt": KEY.replace('-', "+")}}), Binding::Unusable),
            (json!({"cnf": {"jkt": KEY.trim_start_matches('0')}}), Binding::Unusable),
            (json!({"cnf": {"JKT": KEY}}), Binding::Unusable),
            (json!({"cnf": {"x5t": CERTIFICATE}}), Binding::Unusable),
            (json!({"cnf": {"jwk": {"kty": "EC"}}}), Binding::Unusable),
            (json!({"cnf": {"jkt": KEY, "kid": "1"}}), Binding::Unusable),
            (json!({"cnf": {"jkt": KEY, "x5t#S256": "x"}}), Binding::Unusable),
            (json!({"token_type": "DPoP"}), Binding::Unusable),
            (json!({"typ": "DPoP", "cnf": {"x5t#S256": CERTIFICATE}}), Binding::Unusable),
            (json!({"token_type": "dpop", "cnf": {"jkt": KEY}}), to(Some(KEY), None)),
            (json!({"token_type": "Bearer"}), Binding::Free),
        ];
        for (claims, means) in table {
            assert_eq!(read(&claims), means, "{claims}");
        }
    }

    /// TOK-60, TOK-62, TOK-66; POP-001, POP-014, POP-015, JWT-078: every binding against everything that may be shown.
    #[test]
    fn bindings_against_what_was_shown() {
        let print = |text: &str| Some(Thumbprint::read(text).unwrap());
        let (key, certificate, other) = (print(KEY), print(CERTIFICATE), print(&"A".repeat(43)));
        let shown = |key, certificate| Possession { key, certificate };
        let free = json!({});
        let keyed = json!({"cnf": {"jkt": KEY}});
        let certified = json!({"cnf": {"x5t#S256": CERTIFICATE}});
        let both = json!({"cnf": {"jkt": KEY, "x5t#S256": CERTIFICATE}});
        let table = [
            (&free, shown(None, None), "ok"),
            (&free, shown(None, certificate), "ok"),
            (&free, shown(key, None), "token_not_bound"),
            (&keyed, shown(key, None), "ok"),
            (&keyed, shown(key, other), "ok"),
            (&keyed, shown(None, None), "token_bound"),
            (&keyed, shown(None, certificate), "token_bound"),
            (&keyed, shown(other, None), "dpop_proof_key"),
            (&certified, shown(None, certificate), "ok"),
            (&certified, shown(None, None), "token_certificate_missing"),
            (&certified, shown(None, other), "token_certificate_mismatch"),
            (&certified, shown(key, certificate), "token_not_bound"),
            (&both, shown(key, certificate), "ok"),
            (&both, shown(None, certificate), "token_bound"),
            (&both, shown(key, None), "token_certificate_missing"),
            (&both, shown(other, certificate), "dpop_proof_key"),
            (&both, shown(key, other), "token_certificate_mismatch"),
            (&both, shown(certificate, key), "dpop_proof_key"),
            (&json!({"cnf": {}}), shown(key, certificate), "token_confirmation_unusable"),
        ];
        for (claims, shown, means) in table {
            let is = read(claims).check(&shown).map_or_else(|refusal| refusal.reason_id(), |()| "ok");
            assert_eq!(is, means, "{claims} with {shown:?}");
        }
    }

    /// RFC 8705 §3.1 and appendix A: base64url of SHA-256 over the DER, no padding.
    #[test]
    fn certificate_thumbprints() {
        let der = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
        let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
        let thumbprint = Thumbprint::of_certificate(&der);
        assert_eq!(thumbprint.to_string(), CERTIFICATE);
        assert_eq!(Thumbprint::read(CERTIFICATE), Some(thumbprint));
    }
}
