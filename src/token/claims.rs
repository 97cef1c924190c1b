//! Claims that their issuer vouches for, checked against what this gateway demands of that issuer.
//!
//! Everything that does not change with time is checked once, when [`VerifiedClaims`] are made, so that a cached token
//! costs no more than a comparison of instants. Times and proofs of possession are `Caller::admit`'s business.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::binding::Binding;
use super::details::{self, DETAILS, DetailsRule};
use super::error::{Quoted, TokenError};
use super::grant::{Grant, Reading, client, text};
use super::names::{ClaimNames, first_claim};

/// Which kinds of JWT an issuer's access tokens may be (TOK-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeRule {
    /// RFC 9068 only, with all its required claims (TOK-28).
    AccessTokenOnly,
    /// Also `JWT` and none, for issuers older than RFC 9068; other kinds and ID tokens are refused.
    AnyButForeign,
}

/// What the gateway demands of one issuer's tokens.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// The issuer identifier, compared exactly (TOK-24).
    pub issuer: String,
    /// Accepted audiences, compared exactly (TOK-25).
    pub audience: Vec<String>,
    /// Tolerated clock difference.
    pub skew: Duration,
    /// Tokens whose `exp` lies further ahead are refused.
    pub max_lifetime: Option<Duration>,
    /// Which kinds of JWT are accepted.
    pub types: TypeRule,
    /// Which claims carry what.
    pub names: ClaimNames,
    /// How scopes and users are read.
    pub reading: Reading,
    /// What `authorization_details` mean (CTX-10).
    pub details: DetailsRule,
}

/// Claims their issuer vouches for. Cheap to clone; only the `issuer` room has reason to make one.
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    pub(super) grant: Grant,
    pub(super) times: Times,
    pub(super) binding: Binding,
}

/// The times of a token and how they are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) exp: Option<Timestamp>,
    pub(super) nbf: Option<Timestamp>,
    pub(super) iat: Option<Timestamp>,
    pub(super) skew: Duration,
    pub(super) max_lifetime: Option<Duration>,
}

impl VerifiedClaims {
    /// Takes the payload of a JWT whose signature was verified with a key of this issuer and whose `typ` was checked.
    ///
    /// # Errors
    /// A required claim is missing or unusable, another issuer or audience, or signs of an ID token.
    pub(crate) fn from_jwt(
        claims: &Map<String, Value>,
        requirements: &Requirements,
    ) -> Result<Self, TokenError> {
        let (claims, requirements) = &details::apply(claims, requirements)?;
        for name in ["iss", "exp", "aud"] {
            require(claims.contains_key(name), name)?;
        }
        check_issuer(claims, requirements)?;
        check_audience(claims, requirements)?;
        check_purpose(claims, requirements)?;
        require(text(claims, "sub")?.is_some(), "sub")?;
        require(client(claims, &requirements.names)?.is_some(), "client_id")?;
        match requirements.types {
            TypeRule::AccessTokenOnly => {
                require(claims.contains_key("iat"), "iat")?;
                require(text(claims, "jti")?.is_some(), "jti")?;
            }
            TypeRule::AnyButForeign if first_claim(claims, &requirements.names.scope).is_none() => {
                return Err(TokenError::NotAnAccessToken { sign: "it carries no scopes" });
            }
            TypeRule::AnyButForeign => (),
        }
        Self::read(claims.clone().into_owned(), requirements)
    }

    /// Takes an introspection answer of this issuer (RFC 7662 §2.2).
    ///
    /// # Errors
    /// Not active, or a member that is present and does not fit (TOK-41, -43).
    pub(crate) fn from_introspection(
        answer: &Map<String, Value>,
        requirements: &Requirements,
    ) -> Result<Self, TokenError> {
        // Only the JSON boolean counts, and nothing else in an inactive answer does (TOK-41).
        if answer.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenError::Inactive { issuer: requirements.issuer.clone() });
        }
        let (answer, requirements) = &details::apply(answer, requirements)?;
        if answer.contains_key("iss") {
            check_issuer(answer, requirements)?;
        }
        if answer.contains_key("aud") {
            check_audience(answer, requirements)?;
        }
        check_purpose(answer, requirements)?;
        check_token_type(answer)?;
        let mut claims = answer.clone().into_owned();
        claims.entry("iss").or_insert_with(|| Value::String(requirements.issuer.clone()));
        Self::read(claims, requirements)
    }

    /// Takes the verified payload of a JWT and the introspection answer about it: both must be good, must agree where
    /// both speak, and count together.
    ///
    /// # Errors
    /// As the other two, or [`TokenError::Disagreement`].
    pub(crate) fn from_both(
        jwt: &Map<String, Value>,
        answer: &Map<String, Value>,
        requirements: &Requirements,
    ) -> Result<Self, TokenError> {
        Self::from_introspection(answer, requirements)?;
        let names = &requirements.names;
        let ours = ["iss", "sub", "aud", "exp", "nbf", "jti", "cnf"];
        let ours = ours.into_iter().chain(names.scope.iter().chain(&names.client).map(String::as_str));
        let context = [&names.patient, &names.encounter, &names.fhir_user].map(String::as_str);
        let details = (requirements.details == DetailsRule::SmartOnFhir).then_some(DETAILS);
        for name in ours.chain(context).chain(details) {
            if let (Some(signed), Some(told)) = (jwt.get(name), answer.get(name))
                && !agree(signed, told)
            {
                return Err(TokenError::Disagreement { claim: Quoted::new(name) });
            }
        }
        let mut claims = jwt.clone();
        for (name, value) in answer {
            claims.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        Self::from_jwt(&claims, requirements)
    }

    fn read(claims: Map<String, Value>, requirements: &Requirements) -> Result<Self, TokenError> {
        let times = Times {
            exp: date(&claims, "exp")?,
            nbf: date(&claims, "nbf")?,
            iat: date(&claims, "iat")?,
            skew: requirements.skew,
            max_lifetime: requirements.max_lifetime,
        };
        let binding = Binding::read(&claims);
        let grant = Grant::from_claims(&claims, &requirements.names, &requirements.reading)?;
        Ok(Self { grant, times, binding })
    }

    /// The same, of a token with this SHA-256: what names it in the audit when it has no `jti` (AUD-5).
    #[must_use]
    pub(crate) fn of_token(self, digest: [u8; 32]) -> Self {
        Self { grant: self.grant.of_token(digest), ..self }
    }

    /// The issuer, as the token has it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.grant.issuer()
    }

    /// The id that its issuer gave the token.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.grant.jti()
    }

    /// When the token stops being valid, if it says so.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.times.exp
    }
}

fn require(present: bool, name: &str) -> Result<(), TokenError> {
    if present { Ok(()) } else { Err(TokenError::ClaimMissing { claim: Quoted::new(name) }) }
}

fn check_issuer(claims: &Map<String, Value>, requirements: &Requirements) -> Result<(), TokenError> {
    let issuer = text(claims, "iss")?.unwrap_or_default();
    if issuer == requirements.issuer {
        return Ok(());
    }
    Err(TokenError::IssuerMismatch { issuer: Quoted::new(&issuer), expected: requirements.issuer.clone() })
}

/// One of ours must be among them, character for character (TOK-25, JWT-048 … JWT-052).
fn check_audience(claims: &Map<String, Value>, requirements: &Requirements) -> Result<(), TokenError> {
    let unusable = || TokenError::ClaimUnusable {
        claim: Quoted::new("aud"),
        expected: "a string or an array of strings",
    };
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().ok_or_else(unusable)).collect::<Result<_, _>>()?
        }
        Some(_) | None => return Err(unusable()),
    };
    if requirements.audience.iter().any(|ours| audiences.contains(&ours.as_str())) {
        return Ok(());
    }
    Err(TokenError::AudienceMismatch { expected: requirements.audience.join("`, `") })
}

/// Signs that the claims are an ID token, a refresh token or an event of the same issuer (TOK-27).
fn check_purpose(claims: &Map<String, Value>, requirements: &Requirements) -> Result<(), TokenError> {
    // Keycloak names the kind of token in a claim, also in its introspection answers.
    if let Some(Value::String(kind)) = claims.get("typ") {
        let kind = kind.to_ascii_lowercase();
        if !["bearer", "dpop", "jwt", "at+jwt"].contains(&kind.as_str()) {
            return Err(TokenError::TypeRefused { typ: Quoted::new(&kind) });
        }
    }
    let has = |name: &str| claims.contains_key(name);
    if has("at_hash") || has("c_hash") {
        return Err(TokenError::NotAnAccessToken { sign: "it carries a hash of other tokens" });
    }
    if has("events") {
        return Err(TokenError::NotAnAccessToken { sign: "it carries security events" });
    }
    if has("nonce") && first_claim(claims, &requirements.names.scope).is_none() {
        return Err(TokenError::NotAnAccessToken { sign: "it carries a nonce and no scopes" });
    }
    Ok(())
}

/// `token_type` of an introspection answer is that of RFC 6749 §5.1 and compares without case (TOK-43).
fn check_token_type(answer: &Map<String, Value>) -> Result<(), TokenError> {
    match answer.get("token_type") {
        None => Ok(()),
        Some(Value::String(kind)) if ["bearer", "dpop"].contains(&kind.to_ascii_lowercase().as_str()) => {
            Ok(())
        }
        Some(Value::String(kind)) => Err(TokenError::TypeRefused { typ: Quoted::new(kind) }),
        Some(_) => Err(TokenError::ClaimUnusable { claim: Quoted::new("token_type"), expected: "a string" }),
    }
}

/// Reads a NumericDate: a number, perhaps fractional, never text (TOK-26, RFC 7519 §2).
pub(super) fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let instant = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => Timestamp::from_second(seconds).ok(),
        (None, Some(seconds)) => SignedDuration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|span| Timestamp::from_duration(span).ok()),
        (None, None) => None,
    };
    instant.map(Some).ok_or_else(|| TokenError::ClaimUnusable {
        claim: Quoted::new(name),
        expected: "seconds since 1970 as a number",
    })
}

/// Whether two spellings of a claim say the same: numbers by value, a list of words in any order.
fn agree(signed: &Value, told: &Value) -> bool {
    if signed == told {
        return true;
    }
    if let (Some(signed), Some(told)) = (signed.as_f64(), told.as_f64()) {
        // Answers may round NumericDates to whole seconds.
        return (signed - told).abs() < 1.0;
    }
    match (words(signed), words(told)) {
        (Some(signed), Some(told)) => signed == told,
        (Some(_) | None, _) => false,
    }
}

fn words(value: &Value) -> Option<Vec<&str>> {
    let mut words: Vec<&str> = match value {
        Value::String(text) => text.split(' ').filter(|word| !word.is_empty()).collect(),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    words.sort_unstable();
    words.dedup();
    Some(words)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::binding::tests::KEY;
    use crate::token::{Caller, Possession};

    const NOW: i64 = 1_800_000_000;

    /// What the tests demand of `https://as.test`.
    pub(in crate::token) fn demands() -> Requirements {
        Requirements {
            issuer: "https://as.test".to_owned(),
            audience: vec!["https://gw.test/fhir".to_owned(), "urn:gw".to_owned()],
            skew: Duration::from_secs(30),
            max_lifetime: None,
            types: TypeRule::AccessTokenOnly,
            names: ClaimNames::default(),
            reading: Reading::sample(),
            details: DetailsRule::Ignore,
        }
    }

    /// A complete RFC 9068 payload with some members changed; `"-"` takes one away.
    pub(in crate::token) fn claims(change: &Value) -> Map<String, Value> {
        let mut claims = object(&json!({
            "iss": "https://as.test", "sub": "user-1", "aud": "https://gw.test/fhir", "client_id": "app",
            "exp": NOW + 300, "iat": NOW - 5, "jti": "t-1", "scope": "patient/*.rs", "patient": "p1"
        }));
        for (name, value) in object(change) {
            if value == "-" {
                claims.remove(&name);
            } else {
                claims.insert(name, value);
            }
        }
        claims
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn judged(result: Result<VerifiedClaims, TokenError>) -> &'static str {
        let now = Timestamp::from_second(NOW).unwrap();
        match result.and_then(|claims| Caller::admit(Some(claims), &Possession::default(), now)) {
            Ok(_) => "ok",
            Err(refusal) => refusal.reason_id(),
        }
    }

    /// TOK-24, TOK-25; JWT-048 … JWT-058: exact comparison, present, of the right type.
    #[test]
    fn issuer_and_audience() {
        let table = [
            (json!({}), "ok"),
            (json!({"iss": "https://as.test/"}), "token_issuer_mismatch"),
            (json!({"iss": "https://as.test.evil.example"}), "token_issuer_mismatch"),
            (json!({"iss": "HTTPS://as.test"}), "token_issuer_mismatch"),
            (json!({"iss": ["https://as.test"]}), "token_claim_unusable"),
            (json!({"iss": null}), "token_claim_unusable"),
            (json!({"iss": "-"}), "token_claim_missing"),
            (json!({"aud": "urn:gw"}), "ok"),
            (json!({"aud": ["other", "https://gw.test/fhir"]}), "ok"),
            (json!({"aud": "other"}), "token_audience_mismatch"),
            (json!({"aud": "https://gw.test/fhir/"}), "token_audience_mismatch"),
            (json!({"aud": "https://gw.test/fhir urn:gw"}), "token_audience_mismatch"),
            (json!({"aud": ["other", "https://gw.test/fhir/../x"]}), "token_audience_mismatch"),
            (json!({"aud": []}), "token_audience_mismatch"),
            (json!({"aud": ["https://gw.test/fhir", 1]}), "token_claim_unusable"),
            (json!({"aud": {"https://gw.test/fhir": 1}}), "token_claim_unusable"),
            (json!({"aud": null}), "token_claim_unusable"),
            (json!({"aud": "-"}), "token_claim_missing"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(change, means)| {
                (change, judged(VerifiedClaims::from_jwt(&claims(change), &demands())), means)
            })
            .filter(|(_, is, means)| is != *means)
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
    }

    /// TOK-28, TOK-42; JWT-040, JWT-077: what must be there under the strict and the lenient rule.
    #[test]
    fn required_claims() {
        let table = [
            (json!({"exp": "-"}), "token_claim_missing", "token_claim_missing"),
            (json!({"sub": "-"}), "token_claim_missing", "token_claim_missing"),
            (json!({"sub": ""}), "token_claim_unusable", "token_claim_unusable"),
            (json!({"sub": 7}), "token_claim_unusable", "token_claim_unusable"),
            (json!({"client_id": "-"}), "token_claim_missing", "token_claim_missing"),
            (json!({"client_id": "-", "azp": "app"}), "ok", "ok"),
            (json!({"client_id": ["app"]}), "token_claim_unusable", "token_claim_unusable"),
            (json!({"iat": "-"}), "token_claim_missing", "ok"),
            (json!({"jti": "-"}), "token_claim_missing", "ok"),
            (json!({"scope": "-"}), "ok", "not_an_access_token"),
            (json!({"scope": "-", "scp": ["patient/*.rs"]}), "ok", "ok"),
        ];
        let any = Requirements { types: TypeRule::AnyButForeign, ..demands() };
        for (change, strict, lenient) in table {
            let claims = claims(&change);
            assert_eq!(judged(VerifiedClaims::from_jwt(&claims, &demands())), strict, "strict {change}");
            assert_eq!(judged(VerifiedClaims::from_jwt(&claims, &any)), lenient, "lenient {change}");
        }
    }

    /// TOK-27; JWT-031: an ID token is no access token, even for our audience.
    #[test]
    fn id_tokens_and_their_kin() {
        let table = [
            (json!({"nonce": "n"}), "ok"),
            (json!({"nonce": "n", "scope": "-"}), "not_an_access_token"),
            (json!({"at_hash": "h"}), "not_an_access_token"),
            (json!({"c_hash": "h"}), "not_an_access_token"),
            (json!({"nonce": "n", "at_hash": "h", "scope": "-", "aud": "app"}), "token_audience_mismatch"),
            (json!({"events": {}}), "not_an_access_token"),
            (json!({"typ": "Bearer"}), "ok"),
            (json!({"typ": "ID"}), "token_type_refused"),
            (json!({"typ": "Refresh"}), "token_type_refused"),
            (json!({"typ": "Offline"}), "token_type_refused"),
        ];
        let any = Requirements { types: TypeRule::AnyButForeign, ..demands() };
        for (change, means) in table {
            assert_eq!(judged(VerifiedClaims::from_jwt(&claims(&change), &any)), means, "{change}");
        }
    }

    /// TOK-41, TOK-42, TOK-43; KEYS-014 … KEYS-016.
    #[test]
    fn introspection_answers() {
        let table = [
            (json!({"active": true}), "ok"),
            (json!({"active": true, "scope": "user/*.rs", "client_id": "app", "exp": NOW + 9}), "ok"),
            (json!({"active": false, "scope": "user/*.rs"}), "token_inactive"),
            (json!({"active": "true"}), "token_inactive"),
            (json!({"active": 1}), "token_inactive"),
            (json!({"active": null}), "token_inactive"),
            (json!({"scope": "user/*.rs"}), "token_inactive"),
            (json!({"active": true, "exp": NOW - 31}), "token_expired"),
            (json!({"active": true, "exp": "soon"}), "token_claim_unusable"),
            (json!({"active": true, "nbf": NOW + 31}), "token_not_yet_valid"),
            (json!({"active": true, "aud": "urn:gw"}), "ok"),
            (json!({"active": true, "aud": "other"}), "token_audience_mismatch"),
            (json!({"active": true, "iss": "https://as.test"}), "ok"),
            (json!({"active": true, "iss": "https://as2.test"}), "token_issuer_mismatch"),
            (json!({"active": true, "token_type": "bearer"}), "ok"),
            (json!({"active": true, "token_type": "refresh_token"}), "token_type_refused"),
            (json!({"active": true, "token_type": 1}), "token_claim_unusable"),
            (json!({"active": true, "typ": "Refresh"}), "token_type_refused"),
            (json!({"active": true, "cnf": {"jkt": KEY}}), "token_bound"),
            (json!({"active": true, "cnf": {"jkt": "x"}}), "token_confirmation_unusable"),
            (json!({"active": true, "token_type": "DPoP"}), "token_confirmation_unusable"),
            (json!({"active": true, "token_type": "DPoP", "cnf": {"jkt": KEY}}), "token_bound"),
            (json!({"active": true, "scope": 1}), "token_claim_unusable"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(answer, means)| {
                (answer, judged(VerifiedClaims::from_introspection(&object(answer), &demands())), means)
            })
            .filter(|(_, is, means)| is != *means)
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
    }

    /// `validation = "both"`: both speak the truth or neither is believed; a lightweight JWT is completed.
    #[test]
    fn both_must_agree() {
        let whole = json!({});
        let light = json!({"sub": "-", "scope": "-", "patient": "-", "aud": "-"});
        let bound = json!({"cnf": {"jkt": KEY}});
        let told = |change: Value| {
            let mut answer = claims(&change);
            answer.insert("active".to_owned(), Value::Bool(true));
            answer
        };
        let table = [
            (&whole, told(json!({})), "ok"),
            (&light, told(json!({})), "ok"),
            (&whole, object(&json!({"active": true})), "ok"),
            (&light, object(&json!({"active": true})), "token_claim_missing"),
            (&whole, object(&json!({"active": false})), "token_inactive"),
            (&whole, told(json!({"scope": "user/*.rs"})), "token_disagreement"),
            (&whole, told(json!({"sub": "user-2"})), "token_disagreement"),
            (&whole, told(json!({"client_id": "app2"})), "token_disagreement"),
            (&whole, told(json!({"patient": "p2"})), "token_disagreement"),
            (&whole, told(json!({"jti": "t-2"})), "token_disagreement"),
            (&whole, told(json!({"exp": NOW + 3000})), "token_disagreement"),
            (&whole, told(json!({"exp": NOW as f64 + 300.4})), "ok"),
            (&whole, told(json!({"aud": ["https://gw.test/fhir"]})), "ok"),
            (&whole, told(json!({"cnf": {"jkt": KEY}})), "token_bound"),
            (&bound, told(json!({})), "token_bound"),
            (&bound, told(json!({"cnf": {"jkt": "x"}})), "token_disagreement"),
        ];
        for (jwt, answer, means) in table {
            let verified = VerifiedClaims::from_both(&claims(jwt), &answer, &demands());
            assert_eq!(judged(verified), means, "{jwt} beside {answer:?}");
        }
    }

    /// What the answer adds counts for the grant.
    #[test]
    fn both_together_make_the_grant() {
        let light = claims(&json!({"patient": "-", "scope": "-"}));
        let mut answer = claims(&json!({}));
        answer.insert("active".to_owned(), Value::Bool(true));
        let verified = VerifiedClaims::from_both(&light, &answer, &demands()).unwrap();
        assert_eq!(verified.grant.patient(), Some("p1"));
        assert_eq!(verified.grant.issuer(), Some("https://as.test"));
    }
}
