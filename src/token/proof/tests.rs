use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::Presented;

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://gw.test:8443/fhir/Observation/o1v";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

/// RFC 9449 §7.1, figure 13: the proof for `TOKEN`.
const RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

/// RFC 9449 §4.1, figure 2: a proof for a token endpoint, which has no `ath`.
const TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

/// A key pair of ES256.
struct Holder {
    key: EncodingKey,
    jwk: Value,
}

impl Holder {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256",
                         "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        Self { key, jwk }
    }

    /// The good proof, with members of header (`h:name`) and claims changed; `"-"` takes one away.
    fn proof(&self, change: &Value) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk});
        let mut claims = json!({"jti": "j-1", "htm": "GET", "htu": URL, "iat": NOW, "ath": ath(TOKEN)});
        for (name, value) in change.as_object().unwrap() {
            let (part, name) = match name.strip_prefix("h:") {
                Some(name) => (&mut header, name),
                None => (&mut claims, name.as_str()),
            };
            if value == "-" {
                part.as_object_mut().unwrap().remove(name);
            } else {
                part[name] = value.clone();
            }
        }
        self.signed(&header.to_string(), &claims.to_string())
    }

    fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let made = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{message}.{made}")
    }
}

fn ath(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

fn sent(method: &Method) -> Sent<'_> {
    let now = Timestamp::from_second(NOW).unwrap();
    Sent { method, url: URL, now, window: Duration::from_secs(60) }
}

fn check(proof: &str, sent: &Sent<'_>) -> Result<Proven, TokenError> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("DPoP {TOKEN}")).unwrap());
    headers.insert("dpop", HeaderValue::from_str(proof).unwrap());
    match Presented::from_request(&headers, false)? {
        Presented::Dpop { token, proof } => proof.check(&token, sent),
        other @ (Presented::Bearer(_) | Presented::None) => panic!("{other:?}"),
    }
}

fn judged(proof: &str) -> &'static str {
    check(proof, &sent(&Method::GET)).map_or_else(|refusal| refusal.reason_id(), |_| "ok")
}

/// RFC 9449 §4.1, §6.1 and §7.1: the examples, and what they were not made for.
#[test]
fn examples_of_the_rfc() {
    let at = |method, url, second| Sent {
        method,
        url,
        now: Timestamp::from_second(second).unwrap(),
        window: Duration::from_secs(60),
    };
    let (get, post) = (&Method::GET, &Method::POST);
    let url = "https://resource.example.org/protectedresource";
    let proven = check(RESOURCE, &at(get, url, 1_562_262_620)).unwrap();
    assert_eq!(proven.key().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(ath(TOKEN), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    let table = [
        (RESOURCE, at(post, url, 1_562_262_620), "dpop_proof_method"),
        (RESOURCE, at(get, "https://resource.example.org/other", 1_562_262_620), "dpop_proof_url"),
        (RESOURCE, at(get, url, 1_562_262_679), "dpop_proof_time"),
        (TOKEN_REQUEST, at(post, "https://server.example.com/token", 1_562_262_616), "dpop_proof_malformed"),
    ];
    for (proof, sent, means) in table {
        assert_eq!(check(proof, &sent).unwrap_err().reason_id(), means, "{sent:?}");
    }
}

/// Judges the good proof with each of these changes.
fn judge_all(holder: &Holder, table: &[(Value, &str)]) {
    let wrong: Vec<_> = table
        .iter()
        .map(|(change, means)| (change.to_string(), judged(&holder.proof(change)), means))
        .filter(|(_, is, means)| is != *means)
        .collect();
    assert!(wrong.is_empty(), "misjudged: {wrong:?}");
}

/// TOK-63; RFC 9449 §4.3 checks 3 to 7, each beside the proof it was made from.
#[test]
fn claims_and_header() {
    let (holder, other) = (Holder::new(), Holder::new());
    let mut private = holder.jwk.clone();
    private["d"] = json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "q".repeat(342)});
    let table = [
        (json!({}), "ok"),
        (json!({"nonce": "n", "exp": NOW + 9, "more": true, "h:kid": "1"}), "ok"),
        // 3: claims
        (json!({"jti": "-"}), "dpop_proof_malformed"),
        (json!({"jti": ""}), "dpop_proof_malformed"),
        (json!({"jti": 7}), "dpop_proof_malformed"),
        (json!({"jti": "j".repeat(256)}), "ok"),
        (json!({"jti": "j".repeat(257)}), "dpop_proof_malformed"),
        (json!({"htm": "-"}), "dpop_proof_malformed"),
        (json!({"htu": "-"}), "dpop_proof_malformed"),
        (json!({"iat": "-"}), "dpop_proof_malformed"),
        (json!({"iat": NOW.to_string()}), "dpop_proof_malformed"),
        (json!({"iat": null}), "dpop_proof_malformed"),
        (json!({"nonce": null}), "dpop_proof_malformed"),
        (json!({"nonce": ["n"]}), "dpop_proof_malformed"),
        (json!({"ath": "-"}), "dpop_proof_malformed"),
        // 4 to 7: header
        (json!({"h:typ": "-"}), "dpop_proof_malformed"),
        (json!({"h:typ": "JWT"}), "dpop_proof_malformed"),
        (json!({"h:typ": "at+jwt"}), "dpop_proof_malformed"),
        (json!({"h:alg": "none"}), "dpop_proof_malformed"),
        (json!({"h:alg": "HS256"}), "dpop_proof_malformed"),
        (json!({"h:alg": "ES384"}), "dpop_proof_malformed"),
        (json!({"h:alg": "RS256"}), "dpop_proof_malformed"),
        (json!({"h:crit": ["exp"]}), "dpop_proof_malformed"),
        (json!({"h:b64": false}), "dpop_proof_malformed"),
        (json!({"h:jwk": "-"}), "dpop_proof_malformed"),
        (json!({"h:jwk": holder.jwk.to_string()}), "dpop_proof_malformed"),
        (json!({"h:jwk": private}), "dpop_proof_malformed"),
        (json!({"h:jwk": {"kty": "oct", "k": "c2VjcmV0"}}), "dpop_proof_malformed"),
        (json!({"h:jwk": rsa}), "dpop_proof_malformed"),
        (json!({"h:jwk": "-", "h:jku": "https://evil.example/jwks"}), "dpop_proof_malformed"),
        (json!({"h:jwk": other.jwk}), "dpop_proof_signature_invalid"),
    ];
    judge_all(&holder, &table);
}

/// TOK-63; RFC 9449 §4.3 checks 8 to 12, each beside the proof it was made from; POP-004 … POP-007.
#[test]
fn method_url_time_and_token() {
    let table = [
        // 8: method
        (json!({"htm": "POST"}), "dpop_proof_method"),
        (json!({"htm": "HEAD"}), "dpop_proof_method"),
        (json!({"htm": "get"}), "dpop_proof_method"),
        // 9: URL
        (json!({"htu": "HTTPS://GW.TEST:8443/fhir/%4Fbservation/./o1v"}), "ok"),
        (json!({"htu": "https://gw.test/fhir/Observation/o1v"}), "dpop_proof_url"),
        (json!({"htu": "http://gw.test:8443/fhir/Observation/o1v"}), "dpop_proof_url"),
        (json!({"htu": "https://gw.test:8443/fhir/Observation/o2"}), "dpop_proof_url"),
        (json!({"htu": "https://gw.test:8443/fhir/observation/o1v"}), "dpop_proof_url"),
        (json!({"htu": format!("{URL}/")}), "dpop_proof_url"),
        (json!({"htu": format!("{URL}?x=1")}), "dpop_proof_url"),
        (json!({"htu": format!("{URL}?")}), "dpop_proof_url"),
        (json!({"htu": format!("{URL}#x")}), "dpop_proof_url"),
        (json!({"htu": "/fhir/Observation/o1v"}), "dpop_proof_url"),
        // 11: time
        (json!({"iat": NOW - 60}), "ok"),
        (json!({"iat": NOW + 60}), "ok"),
        (json!({"iat": NOW as f64 - 59.5}), "ok"),
        (json!({"iat": NOW - 61}), "dpop_proof_time"),
        (json!({"iat": NOW + 61}), "dpop_proof_time"),
        (json!({"iat": NOW as f64 - 60.5}), "dpop_proof_time"),
        (json!({"iat": i64::MIN}), "dpop_proof_malformed"),
        (json!({"iat": -1}), "dpop_proof_time"),
        // 12: token
        (json!({"ath": ath("another")}), "dpop_proof_token"),
        (json!({"ath": format!("{}=", ath(TOKEN))}), "dpop_proof_token"),
        (json!({"ath": TOKEN}), "dpop_proof_token"),
    ];
    judge_all(&Holder::new(), &table);
}

/// TOK-63, TOK-29: what is no JWS with one meaning, and sizes.
#[test]
fn forms() {
    let holder = Holder::new();
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": holder.jwk}).to_string();
    let claims = format!(r#"{{"jti":"j","htm":"GET","htu":"{URL}","iat":{NOW},"ath":"{}"}}"#, ath(TOKEN));
    let again = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let good = holder.signed(&header, &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let table = [
        (good.clone(), "ok"),
        (holder.signed(&again(&header, r#""alg":"ES256""#), &claims), "dpop_proof_malformed"),
        (holder.signed(&header, &again(&claims, r#""htm":"POST""#)), "dpop_proof_malformed"),
        (holder.signed(&header, &again(&claims, r#""ht\u006d":"POST""#)), "dpop_proof_malformed"),
        (holder.signed(&header, &format!("{claims} x")), "dpop_proof_malformed"),
        (holder.signed(&header, "[]"), "dpop_proof_malformed"),
        (holder.proof(&json!({"x": "x".repeat(5000)})), "ok"),
        (holder.proof(&json!({"x": "x".repeat(7000)})), "dpop_proof_malformed"),
        (format!("{good}, {good}"), "dpop_proof_malformed"),
        (format!("{good}="), "dpop_proof_signature_invalid"),
        (format!("{good}.x"), "dpop_proof_malformed"),
        (message.to_owned(), "dpop_proof_malformed"),
        (format!("{message}."), "dpop_proof_signature_invalid"),
        (format!("{message}.{}", &signature.replacen(|_| true, "", 4)), "dpop_proof_signature_invalid"),
        ("x".to_owned(), "dpop_proof_malformed"),
    ];
    for (proof, means) in table {
        assert_eq!(judged(&proof), means, "{proof}");
    }
}

/// The other algorithms that are announced; a key of one does not serve another.
#[test]
fn kinds_of_keys() {
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(edwards.public_key_raw())});
    let key = EncodingKey::from_ed_pem(edwards.serialize_pem().as_bytes()).unwrap();
    let made = |alg: &str, jwk: &Value| {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk}).to_string();
        let claims = json!({"jti": "j", "htm": "GET", "htu": URL, "iat": NOW, "ath": ath(TOKEN)}).to_string();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let made = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        format!("{message}.{made}")
    };
    assert_eq!(judged(&made("EdDSA", &jwk)), "ok");
    assert_eq!(judged(&made("Ed25519", &jwk)), "ok");
    assert_eq!(judged(&made("ES256", &jwk)), "dpop_proof_malformed");
    assert_eq!(judged(&made("EdDSA", &Holder::new().jwk)), "dpop_proof_malformed");
}

/// TOK-64, RFC 9449 §11.1: what makes two proofs one, and for how long.
#[test]
fn what_is_remembered() {
    let (holder, other) = (Holder::new(), Holder::new());
    let proven = |holder: &Holder, change: Value| check(&holder.proof(&change), &sent(&Method::GET)).unwrap();
    let first = proven(&holder, json!({}));
    for (same, change) in [
        (true, json!({"iat": NOW - 1})),
        (true, json!({"more": 1, "nonce": "n"})),
        (true, json!({"htu": "https://GW.test:8443/fhir/Observation/o1v"})),
        (false, json!({"jti": "j-2"})),
    ] {
        assert_eq!(proven(&holder, change.clone()).digest() == first.digest(), same, "{change}");
    }
    assert_ne!(proven(&other, json!({})).digest(), first.digest());
    let skew = 30;
    for (iat, seconds) in [(NOW, 60), (NOW - 60, 0), (NOW + 60, 120), (NOW - 30, 30)] {
        let lifetime = proven(&holder, json!({"iat": iat})).lifetime();
        assert_eq!(lifetime, Duration::from_secs(seconds + skew), "{iat}");
    }
    assert_eq!(proven(&holder, json!({"nonce": "n"})).nonce(), Some("n"));
    assert_eq!(first.nonce(), None);
}

/// Invariant 4 of the architecture: a proof is a credential while it lasts.
#[test]
fn faults_show_no_proof() {
    let holder = Holder::new();
    for change in [json!({"htm": "POST"}), json!({"htu": "https://x.test"}), json!({"h:alg": "none"})] {
        let proof = holder.proof(&change);
        let refusal = check(&proof, &sent(&Method::GET)).unwrap_err();
        let signature = proof.rsplit('.').next().unwrap();
        for text in [refusal.detail(), format!("{refusal:?}"), refusal.client_text().to_owned()] {
            assert!(!text.contains(signature) && !text.contains(TOKEN), "{text}");
        }
    }
}

proptest! {
    /// No mutation of a good proof is accepted: any byte, anywhere.
    #[test]
    fn no_changed_byte_passes(at in 0_usize..10_000, to in 0x21_u8..0x7f) {
        let mut bytes = RESOURCE.as_bytes().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let sent = Sent {
            url: "https://resource.example.org/protectedresource",
            now: Timestamp::from_second(1_562_262_618).unwrap(),
            ..sent(&Method::GET)
        };
        prop_assert!(check(RESOURCE, &sent).is_ok());
        prop_assert!(check(std::str::from_utf8(&bytes).unwrap(), &sent).is_err());
    }

    /// Nor one with a part of another good proof in its place.
    #[test]
    fn no_mixture_passes(from in proptest::array::uniform3(any::<bool>())) {
        let holder = Holder::new();
        let proofs = [holder.proof(&json!({})), Holder::new().proof(&json!({"jti": "j-2"}))];
        let part = |place: usize| proofs[usize::from(from[place])].split('.').nth(place).unwrap();
        let mixed = format!("{}.{}.{}", part(0), part(1), part(2));
        let whole = from[0] == from[1] && from[1] == from[2];
        prop_assert_eq!(judged(&mixed) == "ok", whole);
    }
}
