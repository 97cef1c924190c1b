//! Reads a compact JWS without believing it (RFC 7515 §7.1, RFC 8725 §3).
//!
//! What is found here is unverified until a key of the right issuer has checked the signature. Everything that would
//! let the token choose its own check is refused or ignored: unsigned and symmetric algorithms, critical extensions,
//! compression, encryption, nesting and keys inside the header (TOK-20 … TOK-23).

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::{Map, Value};

use super::claims::TypeRule;
use super::error::{Quoted, TokenError};
use super::json::object;
use super::presented::AccessToken;

/// A compact JWS whose header is acceptable. Its signature is not yet checked.
#[derive(Debug)]
pub struct Jws<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    signed: &'t str,
    signature: &'t str,
    claims: Map<String, Value>,
}

impl<'t> Jws<'t> {
    /// Reads header and payload.
    ///
    /// # Errors
    /// Not three parts, JSON with more than one meaning, or a header that asks for more than a plain asymmetric
    /// signature.
    pub fn read(token: &'t AccessToken) -> Result<Self, TokenError> {
        Self::of(token.reveal()).map(|(jws, _)| jws)
    }

    /// The same for any JWS; gives its header as well.
    pub(super) fn of(text: &'t str) -> Result<(Self, Map<String, Value>), TokenError> {
        let (header, payload, signature) = parts(text)?;
        let header = part(header, "header")?;
        let algorithm = acceptable(&header)?;
        let (signed, _) = text.rsplit_once('.').ok_or(TokenError::JwsMalformed)?;
        let jws = Self {
            algorithm,
            kid: text_parameter(&header, "kid")?,
            typ: text_parameter(&header, "typ")?,
            signed,
            signature,
            claims: part(payload, "payload")?,
        };
        Ok((jws, header))
    }

    /// Reads a signed introspection answer: held to the same as a token, and of its own kind (RFC 9701 §5).
    ///
    /// # Errors
    /// As of a token, or another kind of JWT.
    pub fn introspection_answer(text: &'t str) -> Result<Self, TokenError> {
        let (jws, _) = Self::of(text)?;
        let typ = jws.typ.as_deref().unwrap_or_default();
        let short = typ.to_ascii_lowercase();
        if short.strip_prefix("application/").unwrap_or(&short) == "token-introspection+jwt" {
            return Ok(jws);
        }
        Err(TokenError::TypeRefused { typ: Quoted::new(typ) })
    }

    /// The signature algorithm; asymmetric.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Which of the issuer's keys is said to have signed.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Which kind of JWT it says to be.
    pub(super) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn signed(&self) -> &'t str {
        self.signed
    }

    /// The signature in base64url.
    #[must_use]
    pub fn signature(&self) -> &'t str {
        self.signature
    }

    /// The claims, worth nothing until the signature is checked.
    #[must_use]
    pub fn unverified(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims, for whoever has checked the signature.
    #[must_use]
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// The `iss` claim of a JWT, read from its payload alone, for finding the issuer that must vouch for it (TOK-24).
    ///
    /// # Errors
    /// Encrypted, unreadable, or `iss` is absent or no string.
    pub fn unverified_issuer(token: &AccessToken) -> Result<String, TokenError> {
        let (_, payload, _) = parts(token.reveal())?;
        match part(payload, "payload")?.remove("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenError::ClaimUnusable { claim: Quoted::new("iss"), expected: "a string" }),
            None => Err(TokenError::ClaimMissing { claim: Quoted::new("iss") }),
        }
    }

    /// Checks the kind of JWT (TOK-23, RFC 8725 §3.11). Media types compare without case (RFC 7515 §4.1.9).
    ///
    /// # Errors
    /// A foreign kind, or no kind where `at+jwt` is demanded.
    pub fn check_type(&self, rule: TypeRule) -> Result<(), TokenError> {
        let typ = self.typ.as_deref().unwrap_or_default();
        let short = typ.to_ascii_lowercase();
        let short = short.strip_prefix("application/").unwrap_or(&short);
        let accepted = match rule {
            TypeRule::AccessTokenOnly => short == "at+jwt",
            TypeRule::AnyButForeign => short == "at+jwt" || short == "jwt" || self.typ.is_none(),
        };
        if accepted { Ok(()) } else { Err(TokenError::TypeRefused { typ: Quoted::new(typ) }) }
    }
}

/// Header, payload and signature.
fn parts(text: &str) -> Result<(&str, &str, &str), TokenError> {
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(TokenError::JwsMalformed);
    };
    match parts.count() {
        0 => Ok((header, payload, signature)),
        2 => Err(TokenError::JweUnsupported),
        _ => Err(TokenError::JwsMalformed),
    }
}

fn part(text: &str, part: &'static str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::JwsMalformed)?;
    object(&bytes).map_err(|fault| TokenError::JsonRefused { part, fault })
}

/// Refuses headers that change how the token must be read, and yields the algorithm.
///
/// `jku`, `x5u`, `jwk` and `x5c` are not read at all: keys of tokens come from the issuer only (TOK-21).
fn acceptable(header: &Map<String, Value>) -> Result<Algorithm, TokenError> {
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => name.as_str(),
        Some(_) | None => return Err(TokenError::HeaderRefused { parameter: "alg" }),
    };
    // `crit` lists what must be understood; no extension is (RFC 7515 §4.1.11, RFC 7797 for `b64`).
    for parameter in ["crit", "b64", "zip", "enc"] {
        if header.contains_key(parameter) {
            return Err(TokenError::HeaderRefused { parameter });
        }
    }
    if let Some(content) = text_parameter(header, "cty")?
        && ["jwt", "application/jwt"].contains(&content.to_ascii_lowercase().as_str())
    {
        return Err(TokenError::HeaderRefused { parameter: "cty" });
    }
    let refused = || TokenError::AlgorithmRefused { algorithm: Quoted::new(algorithm) };
    // RFC 9864 gives Ed25519 a name of its own; Ed25519 is all that `EdDSA` means here.
    let name = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
    let known = Algorithm::from_str(name).map_err(|_| refused())?;
    if known.family() == AlgorithmFamily::Hmac { Err(refused()) } else { Ok(known) }
}

fn text_parameter(header: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenError> {
    match header.get(name) {
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::HeaderRefused { parameter: name }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn reason(token: &str) -> &'static str {
        let token = AccessToken::new(token).unwrap();
        Jws::read(&token).map_or_else(|refusal| refusal.reason_id(), |_| "ok")
    }

    /// TOK-20, TOK-21, TOK-22; JWT-001 … JWT-037: each attack beside the header it was made from.
    #[test]
    fn headers() {
        let deep = format!(r#"{{"alg":"ES256","x":{}}}"#, "[".repeat(4000));
        let table = [
            (r#"{"alg":"ES256"}"#, "ok"),
            (r#"{"alg":"RS256","kid":"1","typ":"at+jwt"}"#, "ok"),
            (r#"{"alg":"PS512"}"#, "ok"),
            (r#"{"alg":"EdDSA"}"#, "ok"),
            (r#"{"alg":"Ed25519"}"#, "ok"),
            (r#"{"alg":"none"}"#, "token_algorithm_refused"),
            (r#"{"alg":"None"}"#, "token_algorithm_refused"),
            (r#"{"alg":""}"#, "token_algorithm_refused"),
            (r#"{"alg":"HS256"}"#, "token_algorithm_refused"),
            (r#"{"alg":"HS512"}"#, "token_algorithm_refused"),
            (r#"{"alg":"es256"}"#, "token_algorithm_refused"),
            (r#"{"alg":"RS256 "}"#, "token_algorithm_refused"),
            (r#"{"alg":["RS256"]}"#, "token_header_refused"),
            (r#"{"alg":null}"#, "token_header_refused"),
            (r#"{}"#, "token_header_refused"),
            (r#"{"alg":"ES256","crit":["exp2"],"exp2":1}"#, "token_header_refused"),
            (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "token_header_refused"),
            (r#"{"alg":"ES256","b64":true}"#, "token_header_refused"),
            (r#"{"alg":"ES256","crit":[]}"#, "token_header_refused"),
            (r#"{"alg":"ES256","crit":["alg"]}"#, "token_header_refused"),
            (r#"{"alg":"ES256","zip":"DEF"}"#, "token_header_refused"),
            (r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#, "token_header_refused"),
            (r#"{"alg":"ES256","cty":"JWT"}"#, "token_header_refused"),
            (r#"{"alg":"ES256","cty":"json"}"#, "ok"),
            (r#"{"alg":"ES256","kid":1}"#, "token_header_refused"),
            (r#"{"alg":"ES256","typ":["at+jwt"]}"#, "token_header_refused"),
            (r#"{"alg":"ES256","jku":"http://127.0.0.1/x","x5u":"http://127.0.0.1/y"}"#, "ok"),
            (r#"{"alg":"ES256","alg":"none"}"#, "token_json_refused"),
            (r#"["ES256"]"#, "token_json_refused"),
            (&deep, "token_json_refused"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(header, means)| (header, reason(&compact(header, "{}")), means))
            .filter(|(_, is, means)| is != *means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }

    /// TOK-29; JWT-034, JWT-035, JWT-059, JWT-060, JWT-064, JWT-067.
    #[test]
    fn parts_and_payloads() {
        let deep = compact(r#"{"alg":"ES256"}"#, &format!(r#"{{"x":{}"#, "[".repeat(9000)));
        let es = |payload: &str| compact(r#"{"alg":"ES256"}"#, payload);
        let table = [
            (es(r#"{"patient":"p1"}"#), "ok"),
            (es(r#"{"patient":"p1","patient":"p2"}"#), "token_json_refused"),
            (es(r#"{"scope":"a","sc\u006fpe":"b"}"#), "token_json_refused"),
            (es(r#""text""#), "token_json_refused"),
            (es("eyJhbGciOiJFUzI1NiJ9.e30.c2ln"), "token_json_refused"),
            (deep, "token_json_refused"),
            (es("{}").replace("e30", "e3+"), "token_malformed"),
            (es("{}").replace("e30", "e31"), "token_malformed"), // stray bits behind the last byte
            (es("{}").replace("e30", ""), "token_json_refused"),
            ("eyJhbGciOiJFUzI1NiJ9.e30".to_owned(), "token_malformed"),
            ("eyJhbGciOiJFUzI1NiJ9.a.b.c".to_owned(), "token_malformed"),
            ("eyJhbGciOiJFUzI1NiJ9.a.b.c.d".to_owned(), "token_encrypted"),
            ("eyJhbGciOiJFUzI1NiJ9.a.b.c.d.e".to_owned(), "token_malformed"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(token, means)| (token, reason(token), means))
            .filter(|(_, is, means)| is != *means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }

    /// TOK-23, RFC 9068 §4: `typ` and the issuer's rule.
    #[test]
    fn kinds_of_jwt() {
        let table = [
            (r#""at+jwt""#, true, true),
            (r#""AT+JWT""#, true, true),
            (r#""application/at+jwt""#, true, true),
            (r#""JWT""#, false, true),
            (r#""application/jwt""#, false, true),
            (r#""dpop+jwt""#, false, false),
            (r#""token-introspection+jwt""#, false, false),
            (r#""logout+jwt""#, false, false),
            (r#""secevent+jwt""#, false, false),
            (r#""kb+jwt""#, false, false),
            (r#""client-authentication+jwt""#, false, false),
            (r#""""#, false, false),
        ];
        for (typ, strict, any) in table {
            let token =
                AccessToken::new(&compact(&format!(r#"{{"alg":"ES256","typ":{typ}}}"#), "{}")).unwrap();
            let jws = Jws::read(&token).unwrap();
            assert_eq!(jws.check_type(TypeRule::AccessTokenOnly).is_ok(), strict, "strict {typ}");
            assert_eq!(jws.check_type(TypeRule::AnyButForeign).is_ok(), any, "any {typ}");
        }
        let token = AccessToken::new(&compact(r#"{"alg":"ES256"}"#, "{}")).unwrap();
        let jws = Jws::read(&token).unwrap();
        assert!(jws.check_type(TypeRule::AccessTokenOnly).is_err());
        assert!(jws.check_type(TypeRule::AnyButForeign).is_ok());
    }

    /// TOK-24; JWT-057: `iss` is one string.
    #[test]
    fn unverified_issuer_is_a_string() {
        let table = [
            (r#"{"iss":"https://as.test"}"#, Some("https://as.test")),
            (r#"{"iss":["https://as.test"]}"#, None),
            (r#"{"iss":null}"#, None),
            (r#"{}"#, None),
        ];
        for (payload, means) in table {
            let token = AccessToken::new(&compact(r#"{"alg":"ES256"}"#, payload)).unwrap();
            assert_eq!(Jws::unverified_issuer(&token).ok().as_deref(), means, "{payload}");
        }
    }
}
