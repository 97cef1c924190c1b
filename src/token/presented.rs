//! What a request presents as its credential (RFC 6750 §2.1, RFC 9110 §11.4, RFC 9449 §7.1).
//!
//! Only the `Authorization` field counts. A token elsewhere is never a credential, and two credentials are none
//! (TOK-1 … TOK-4, TOK-10).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::error::{Quoted, TokenError};

/// The longest token that is read (TOK-29).
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// An access token as it was sent. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Box<str>);

impl AccessToken {
    /// Takes a b64token (RFC 6750 §2.1): `1*( ALPHA / DIGIT / "-._~+/" ) *"="`.
    ///
    /// # Errors
    /// Another syntax, or longer than [`MAX_TOKEN_BYTES`].
    pub fn new(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TokenOversized { bytes: text.len(), limit: MAX_TOKEN_BYTES });
        }
        let body = text.trim_end_matches('=');
        // All of it is looked at, whatever is found: a token has a thousand bytes, and a loop without an exit is quick.
        let plain = body.bytes().fold(true, |plain, byte| plain & is_plain(byte));
        if body.is_empty() || !plain {
            return Err(TokenError::CredentialsMalformed);
        }
        Ok(Self(text.into()))
    }

    /// The token itself, for the places that verify, introspect or forward it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// How the token looks, which decides who is asked about it.
    ///
    /// A token whose first of several parts is a base64url object is a JWT and is checked as one, even if it turns out
    /// to be a bad one: a client cannot choose the check by spoiling its token (TOK-46).
    #[must_use]
    pub fn shape(&self) -> TokenShape {
        let header = self.0.split_once('.').and_then(|(first, _)| URL_SAFE_NO_PAD.decode(first).ok());
        if header.is_some_and(|bytes| bytes.trim_ascii_start().starts_with(b"{")) {
            TokenShape::Jwt
        } else {
            TokenShape::Opaque
        }
    }
}

/// Whether a byte stands in a b64token before its padding.
fn is_plain(byte: u8) -> bool {
    let marks =
        (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'/');
    (byte | 0x20).is_ascii_lowercase() | byte.is_ascii_digit() | marks
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a token looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenShape {
    /// A JWS or JWE in compact form, well-formed or not.
    Jwt,
    /// Anything else.
    Opaque,
}

/// A DPoP proof as it was sent, unchecked. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(Box<str>);

impl Proof {
    /// The proof itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The credential of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// `Authorization: Bearer`.
    Bearer(AccessToken),
    /// `Authorization: DPoP` with its one proof.
    Dpop {
        /// The token.
        token: AccessToken,
        /// The proof of possession of its key, unchecked.
        proof: Proof,
    },
    /// No credential.
    None,
}

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// How a credential is presented, well-formed or not: it decides which challenge tells of the error (RFC 9449 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer`, another one, or none.
    Bearer,
    /// `DPoP`.
    Dpop,
}

impl Scheme {
    /// That of the first `Authorization` field.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let field = headers.get(AUTHORIZATION).map(scheme_and_token);
        match field {
            Some(Ok((scheme, _))) if scheme.eq_ignore_ascii_case("dpop") => Self::Dpop,
            Some(_) | None => Self::Bearer,
        }
    }
}

impl Presented {
    /// Finds the credential of a request.
    ///
    /// `query_has_access_token` says whether the query or a form body holds the parameter `access_token`, decoded.
    ///
    /// # Errors
    /// More than one credential, another scheme, or a token that is none.
    pub fn from_request(headers: &HeaderMap, query_has_access_token: bool) -> Result<Self, TokenError> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return if query_has_access_token { Err(TokenError::TokenInQuery) } else { Ok(Self::None) };
        };
        if fields.next().is_some() || query_has_access_token {
            return Err(TokenError::SeveralCredentials);
        }
        let (scheme, credential) = scheme_and_token(field)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(AccessToken::new(credential)?));
        }
        if scheme.eq_ignore_ascii_case("dpop") {
            return Ok(Self::Dpop { token: AccessToken::new(credential)?, proof: one_proof(headers)? });
        }
        Err(TokenError::SchemeUnsupported { scheme: Quoted::new(scheme) })
    }
}

/// Splits at the first space; the scheme is an RFC 9110 token.
fn scheme_and_token(field: &HeaderValue) -> Result<(&str, &str), TokenError> {
    let text = field.to_str().map_err(|_| TokenError::CredentialsMalformed)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if scheme.is_empty() || !scheme.bytes().all(tchar) {
        return Err(TokenError::CredentialsMalformed);
    }
    Ok((scheme, rest.trim_start_matches(' ')))
}

fn one_proof(headers: &HeaderMap) -> Result<Proof, TokenError> {
    let mut fields = headers.get_all(DPOP).iter();
    match (fields.next().map(HeaderValue::to_str), fields.next()) {
        (Some(Ok(proof)), None) if !proof.is_empty() => Ok(Proof(proof.into())),
        (Some(_) | None, _) => Err(TokenError::DpopProofMissing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenClass;

    fn presented(lines: &[&str], in_query: bool) -> Result<Presented, TokenError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        Presented::from_request(&headers, in_query)
    }

    /// TOK-1, TOK-2, TOK-3, TOK-4, TOK-10; HDR-014 … HDR-018, JWT-068, JWT-070.
    #[test]
    fn one_credential_in_one_place() {
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        let full = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES));
        let table: [(&[&str], bool, &str); 26] = [
            (&["Bearer abc"], false, "ok"),
            (&["bearer abc"], false, "ok"),
            (&["BEARER   a.b-c_d~e+f/g=="], false, "ok"),
            (&[&full], false, "ok"),
            (&[], false, "none"),
            (&[], true, "token_in_query"),
            (&["Bearer abc"], true, "several_credentials"),
            (&["Bearer abc", "Bearer def"], false, "several_credentials"),
            (&["Bearer abc", "Basic def"], false, "several_credentials"),
            (&["Bearer abc, Bearer def"], false, "credentials_malformed"),
            (&["Bearer abc,def"], false, "credentials_malformed"),
            (&["Bearer"], false, "credentials_malformed"),
            (&["Bearer "], false, "credentials_malformed"),
            (&["Bearer ="], false, "credentials_malformed"),
            (&["Bearer a=b"], false, "credentials_malformed"),
            (&["Bearer abc "], false, "credentials_malformed"),
            (&["Bearer abc def"], false, "credentials_malformed"),
            (&["Bearer\tabc"], false, "credentials_malformed"),
            (&["Bearer \"abc\""], false, "credentials_malformed"),
            (&["Bearer {\"payload\":\"e30\"}"], false, "credentials_malformed"),
            (&[""], false, "credentials_malformed"),
            (&[&long], false, "token_oversized"),
            (&["Basic dXNlcjpwdw=="], false, "scheme_unsupported"),
            (&["Digest username=x"], false, "scheme_unsupported"),
            (&["abc"], false, "scheme_unsupported"),
            (&["BearerX abc"], false, "scheme_unsupported"),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .map(|(lines, in_query, means)| {
                let is = match presented(lines, in_query) {
                    Ok(Presented::Bearer(_)) => "ok",
                    Ok(Presented::None) => "none",
                    Ok(Presented::Dpop { .. }) => "dpop",
                    Err(refusal) => refusal.reason_id(),
                };
                (lines, is, means)
            })
            .filter(|(_, is, means)| is != means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }

    /// RFC 6750 §3.1: which refusals are 400, and which 401 carry no `error`.
    #[test]
    fn classes_of_bad_presentation() {
        let table: [(&[&str], bool, TokenClass); 5] = [
            (&[], true, TokenClass::NoCredentials),
            (&["Basic eA=="], false, TokenClass::NoCredentials),
            (&["Bearer a", "Bearer b"], false, TokenClass::InvalidRequest),
            (&["Bearer a b"], false, TokenClass::InvalidRequest),
            (&["Bearer a"], true, TokenClass::InvalidRequest),
        ];
        for (lines, in_query, class) in table {
            assert_eq!(presented(lines, in_query).unwrap_err().class(), class, "{lines:?}");
        }
    }

    /// TOK-63: exactly one proof comes with the DPoP scheme.
    #[test]
    fn dpop_needs_one_proof() {
        let table: [(&[&str], &str); 4] =
            [(&["p.q.r"], "dpop"), (&[], "refused"), (&["p", "q"], "refused"), (&[""], "refused")];
        for (proofs, means) in table {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, HeaderValue::from_static("DPoP abc"));
            for proof in proofs {
                headers.append(DPOP, HeaderValue::from_static(proof));
            }
            let is = match Presented::from_request(&headers, false) {
                Ok(Presented::Dpop { proof, .. }) if proof.reveal() == "p.q.r" => "dpop",
                Err(TokenError::DpopProofMissing) => "refused",
                other => panic!("{other:?}"),
            };
            assert_eq!(is, means, "{proofs:?}");
        }
    }

    /// TOK-46: what looks like a JWT is checked as one.
    #[test]
    fn shapes() {
        let table = [
            ("eyJhbGciOiJub25lIn0.e30.", TokenShape::Jwt),
            ("eyJhbGciOiJub25lIn0.x", TokenShape::Jwt),
            ("eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", TokenShape::Jwt),
            ("e30.", TokenShape::Jwt),
            ("eyJhbGciOiJub25lIn0", TokenShape::Opaque),
            ("a..b", TokenShape::Opaque),
            ("....", TokenShape::Opaque),
            ("2YotnFZFEjr1zCsicMWpAA", TokenShape::Opaque),
        ];
        for (token, shape) in table {
            assert_eq!(AccessToken::new(token).unwrap().shape(), shape, "{token}");
        }
    }

    /// Invariant 4 of the architecture.
    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", presented(&["Bearer abc123"], false));
        assert!(!shown.contains("abc123") && shown.contains("***"), "{shown}");
    }
}
