//! What stands in Authorization and DPoP, and the JWTs in there: read without panic; what is taken has one meaning, and no proof
//! that the fuzzer makes up is accepted. Input: an Authorization field on one line, then a DPoP field.
#![no_main]

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use pforte::token::{AccessToken, Jws, Presented, Sent, TokenError, TokenShape};
use pforte_fuzz::line;

fn looked_at(token: &AccessToken) {
    let _ = Jws::introspection_answer(token.reveal());
    let _ = Jws::unverified_issuer(token);
    let read = Jws::read(token);
    if let Ok(jws) = &read {
        assert!(token.shape() != TokenShape::Opaque);
        assert_eq!(format!("{}.{}", jws.signed(), jws.signature()), token.reveal());
        assert_eq!(token.reveal().matches('.').count(), 2);
        let _ = (jws.algorithm(), jws.kid());
    }
    // A token is never in what is written of it.
    if token.reveal().len() > 8 {
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((field, proof)) = line(data) else { return };
    let mut headers = HeaderMap::new();
    let Ok(field) = HeaderValue::from_str(field) else { return };
    headers.append(AUTHORIZATION, field);
    if let Ok(proof) = HeaderValue::from_bytes(proof) {
        headers.append("dpop", proof);
    }
    assert!(matches!(Presented::from_request(&headers, true), Err(TokenError::SeveralCredentials)));
    match Presented::from_request(&headers, false) {
        Ok(Presented::Bearer(token)) => looked_at(&token),
        Ok(Presented::Dpop { token, proof }) => {
            looked_at(&token);
            let now = jiff::Timestamp::from_second(1_800_000_000).expect("an instant");
            let sent = Sent {
                method: &Method::GET,
                url: "https://gw.test/fhir/Observation",
                now,
                window: Duration::from_secs(60),
            };
            assert!(proof.check(&token, &sent).is_err());
        }
        Ok(Presented::None) => panic!("there is a field"),
        Err(_) => {}
    }
});
