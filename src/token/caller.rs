//! Who is asking: nobody in particular, or the holder of a token that is good at this instant.

use jiff::{SignedDuration, Timestamp};

use super::binding::Possession;
use super::claims::{Times, VerifiedClaims};
use super::error::TokenError;
use super::grant::Grant;

/// Who is asking.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The request came without a token.
    Anonymous,
    /// The request came with a token that is good now.
    Holder(Grant),
}

impl Caller {
    /// Admits verified claims at `now`, the one instant of the request, from a sender who showed this.
    ///
    /// # Errors
    /// Expired, not yet valid, issued in the future, valid for too long (TOK-26), bound to a key or certificate that was
    /// not shown (TOK-60, TOK-62), or shown with a proof although bound to no key (TOK-66).
    pub fn admit(
        claims: Option<VerifiedClaims>,
        shown: &Possession,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        let Some(claims) = claims else { return Ok(Self::Anonymous) };
        check_times(&claims.times, now)?;
        claims.binding.check(shown)?;
        Ok(Self::Holder(claims.grant))
    }

    /// The grant, when there is a token.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Anonymous => None,
            Self::Holder(grant) => Some(grant),
        }
    }
}

/// A span that does not fit is longer than any that does.
fn between(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from)
}

fn check_times(times: &Times, now: Timestamp) -> Result<(), TokenError> {
    let span = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let skew = span(times.skew);
    if let Some(exp) = times.exp {
        // RFC 7519 §4.1.4: not accepted on or after `exp`.
        if between(exp, now) >= skew {
            return Err(TokenError::Expired { exp });
        }
        if let Some(limit) = times.max_lifetime
            && between(now, exp) > span(limit).saturating_add(skew)
        {
            return Err(TokenError::LifetimeTooLong { exp });
        }
    }
    if let Some(nbf) = times.nbf.filter(|nbf| between(now, *nbf) > skew) {
        return Err(TokenError::NotYetValid { nbf });
    }
    if let Some(iat) = times.iat.filter(|iat| between(now, *iat) > skew) {
        return Err(TokenError::IssuedInFuture { iat });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::token::binding::tests::{CERTIFICATE, KEY};
    use crate::token::claims::tests::{claims, demands};
    use crate::token::{Requirements, TypeRule};

    const NOW: i64 = 1_800_000_000;

    fn admitted(change: &Value, requirements: &Requirements) -> &'static str {
        let verified = VerifiedClaims::from_jwt(&claims(change), requirements);
        let now = Timestamp::from_second(NOW).unwrap();
        match verified.and_then(|verified| Caller::admit(Some(verified), &Possession::default(), now)) {
            Ok(Caller::Holder(_)) => "ok",
            Ok(Caller::Anonymous) => "anonymous",
            Err(refusal) => refusal.reason_id(),
        }
    }

    /// TOK-26, RFC 7519 §4.1; JWT-038 … JWT-047: each limit on both sides, with 30 s of skew.
    #[test]
    fn times_against_one_now() {
        let table = [
            (json!({"exp": NOW + 300}), "ok"),
            (json!({"exp": NOW + 1}), "ok"),
            (json!({"exp": NOW}), "ok"),
            (json!({"exp": NOW - 29}), "ok"),
            (json!({"exp": NOW - 30}), "token_expired"),
            (json!({"exp": NOW - 31}), "token_expired"),
            (json!({"exp": NOW - 3600}), "token_expired"),
            (json!({"exp": -1}), "token_expired"),
            (json!({"exp": 1.9e9}), "ok"),
            (json!({"exp": NOW as f64 + 0.5}), "ok"),
            (json!({"exp": NOW as f64 - 30.5}), "token_expired"),
            (json!({"exp": (NOW + 300).to_string()}), "token_claim_unusable"),
            (json!({"exp": null}), "token_claim_unusable"),
            (json!({"exp": [NOW + 300]}), "token_claim_unusable"),
            (json!({"exp": i64::MAX}), "token_claim_unusable"),
            (json!({"exp": u64::MAX}), "token_claim_unusable"),
            (json!({"exp": 1e300}), "token_claim_unusable"),
            (json!({"exp": NOW + 50 * 365 * 86400}), "ok"),
            (json!({"nbf": NOW + 30}), "ok"),
            (json!({"nbf": NOW + 31}), "token_not_yet_valid"),
            (json!({"nbf": NOW + 3600}), "token_not_yet_valid"),
            (json!({"nbf": "0"}), "token_claim_unusable"),
            (json!({"iat": NOW + 30}), "ok"),
            (json!({"iat": NOW + 31}), "token_issued_in_future"),
            (json!({"iat": NOW + 86400}), "token_issued_in_future"),
            (json!({"iat": true}), "token_claim_unusable"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(change, means)| (change, admitted(change, &demands()), means))
            .filter(|(_, is, means)| is != *means)
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
    }

    /// TOK-26: the longest accepted lifetime, when one is set.
    #[test]
    fn lifetime_limit() {
        let limited = Requirements { max_lifetime: Some(Duration::from_secs(3600)), ..demands() };
        assert_eq!(admitted(&json!({"exp": NOW + 3630}), &limited), "ok");
        assert_eq!(admitted(&json!({"exp": NOW + 3631}), &limited), "token_lifetime_too_long");
        assert_eq!(admitted(&json!({"exp": NOW + 3631}), &demands()), "ok");
    }

    /// TOK-62; JWT-078, POP-001, POP-014: whatever the method, a bound token is no bearer token.
    #[test]
    fn bound_tokens_are_refused() {
        let table = [
            (json!({}), "ok"),
            (json!({"cnf": {"jkt": KEY}}), "token_bound"),
            (json!({"cnf": {"x5t#S256": CERTIFICATE}}), "token_certificate_missing"),
            (json!({"cnf": {"unknown": "x"}}), "token_confirmation_unusable"),
            (json!({"cnf": {}}), "token_confirmation_unusable"),
            (json!({"cnf": null}), "token_confirmation_unusable"),
        ];
        for (change, means) in table {
            assert_eq!(admitted(&change, &demands()), means, "{change}");
        }
    }

    /// A verified token is judged anew at every instant it is used.
    #[test]
    fn a_token_grows_old() {
        let any = Requirements { types: TypeRule::AnyButForeign, ..demands() };
        let verified = VerifiedClaims::from_jwt(&claims(&json!({"exp": NOW + 10})), &any).unwrap();
        let shown = Possession::default();
        let at =
            |second| Caller::admit(Some(verified.clone()), &shown, Timestamp::from_second(second).unwrap());
        assert!(at(NOW + 39).is_ok());
        assert!(matches!(at(NOW + 40), Err(TokenError::Expired { .. })));
    }

    /// No token makes nobody, never a holder.
    #[test]
    fn nobody_is_anonymous() {
        let caller =
            Caller::admit(None, &Possession::default(), Timestamp::from_second(NOW).unwrap()).unwrap();
        assert!(caller.grant().is_none());
    }
}
