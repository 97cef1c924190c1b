//! Which signatures count (TOK-20 … TOK-29, hostile class `jwt`).

use super::*;

/// TOK-20, JWT-012: every offered algorithm verifies, and none survives a changed payload.
#[tokio::test]
async fn each_algorithm_and_its_forgery() {
    let algorithms =
        [Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA];
    for algorithm in algorithms {
        let double = Double::start().await;
        let issuers = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
        let signer = Signer::new(algorithm, "k1");
        double.answer("/jwks", key_set(&[&signer]));
        let good = signer.token(&double.issuer());
        assert_eq!(outcome(&issuers, &good).await, "ok", "{algorithm:?}");
        let mut claims = payload(&double.issuer());
        claims["patient"] = json!("p2");
        let mut parts: Vec<_> = good.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
        let forged = parts.join(".");
        assert_eq!(outcome(&issuers, &forged).await, "token_signature_invalid", "{algorithm:?}");
    }
}

/// A grant carries what the claims said.
#[tokio::test]
async fn a_verified_token_is_a_grant() {
    let double = Double::start().await;
    let issuers = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
    let signer = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&signer]));
    for _ in 0..2 {
        let grant = admitted(&issuers, &signer.token(&double.issuer())).await.unwrap();
        assert_eq!(grant.issuer(), Some(double.issuer().as_str()));
        assert_eq!((grant.client(), grant.patient()), (Some("app"), Some("p1")));
    }
    let anonymous = issuers.verify(&Presented::None, now()).await.unwrap();
    assert!(anonymous.is_none());
}

/// TOK-20 … TOK-27; JWT-001 … JWT-036: JOSE attacks by somebody who knows all that is public.
#[tokio::test]
async fn attacks_on_the_header() {
    let double = Double::start().await;
    let issuers = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
    let (ours, theirs) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k1"));
    let rsa = Signer::new(Algorithm::RS256, "r1");
    let mut pss_only = rsa.jwk();
    pss_only["alg"] = json!("PS256");
    let mut encryption = Signer::new(Algorithm::ES256, "enc").jwk();
    encryption["use"] = json!("enc");
    let symmetric = json!({"kty": "oct", "kid": "h1", "k": "c2VjcmV0"});
    double.answer("/jwks", json!({"keys": [ours.jwk(), pss_only, encryption, symmetric]}));
    let claims = payload(&double.issuer());
    let with = |change: Value| {
        let mut header = ours.header();
        for (name, value) in change.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let published = Signer::hmac(Algorithm::HS256, b"secret", "h1");
    let jwk = json!({"jwk": theirs.jwk()});
    let jku =
        json!({"jku": format!("{}/attacker", double.issuer()), "x5u": format!("{}/x", double.issuer())});
    let table = [
        ("plain", ours.sign(&ours.header(), &claims), "ok"),
        ("other key, same kid", theirs.sign(&theirs.header(), &claims), "token_signature_invalid"),
        ("embedded jwk", theirs.sign(&with(jwk.clone()), &claims), "token_signature_invalid"),
        ("embedded jwk beside our key", ours.sign(&with(jwk), &claims), "ok"),
        ("jku", theirs.sign(&with(jku), &claims), "token_signature_invalid"),
        ("no kid", ours.sign(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims), "ok"),
        ("no typ", ours.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims), "token_type_refused"),
        ("JWT", ours.sign(&with(json!({"typ": "JWT"})), &claims), "token_type_refused"),
        ("crit", ours.sign(&with(json!({"crit": ["exp"]})), &claims), "token_header_refused"),
        ("path as kid", ours.sign(&with(json!({"kid": "../../dev/null"})), &claims), "token_key_unknown"),
        ("SQL as kid", ours.sign(&with(json!({"kid": "' UNION SELECT 'k1"})), &claims), "token_key_unknown"),
        (
            "key file as kid",
            theirs.sign(&with(json!({"kid": "/proc/self/environ"})), &claims),
            "token_key_unknown",
        ),
        ("x5c", theirs.sign(&with(json!({"x5c": ["MIIB"]})), &claims), "token_signature_invalid"),
        ("b64", ours.sign(&with(json!({"crit": ["b64"], "b64": false})), &claims), "token_header_refused"),
        ("nested", ours.sign(&with(json!({"cty": "JWT"})), &claims), "token_header_refused"),
        ("symmetric key", ours.sign(&with(json!({"kid": "h1"})), &claims), "token_key_unknown"),
        (
            "HMAC by a published secret",
            published.sign(&published.header(), &claims),
            "token_algorithm_refused",
        ),
        ("escape as kid", ours.sign(&with(json!({"kid": "\n\u{1b}[2J"})), &claims), "token_key_unknown"),
        ("key of another kind", ours.sign(&with(json!({"kid": "r1"})), &claims), "token_key_unknown"),
        ("alg of the key differs", rsa.sign(&rsa.header(), &claims), "token_key_unknown"),
        ("encryption key", ours.sign(&with(json!({"kid": "enc"})), &claims), "token_key_unknown"),
    ];
    for (attack, token, means) in table {
        assert_eq!(outcome(&issuers, &token).await, means, "{attack}");
    }
    assert_eq!(double.count("/attacker") + double.count("/x"), 0, "a header caused a call");
}

/// TOK-20; JWT-001 … JWT-012: no signature, a symmetric one, or one in a wrong form.
#[tokio::test]
async fn attacks_on_the_signature() {
    let double = Double::start().await;
    let issuers = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
    let ours = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&ours]));
    let claims = payload(&double.issuer());
    let good = ours.sign(&ours.header(), &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &raw[..32], &[0x02, 0x20], &raw[32..]].concat();
    // The order of the curve: r = s = n, as good as zero to whoever does not look (CVE-2022-21449).
    let order = URL_SAFE_NO_PAD.decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap().repeat(2);
    let public = ours.jwk().to_string();
    let rsa = Signer::new(Algorithm::RS256, "k1");
    let modulus = URL_SAFE_NO_PAD.decode(rsa.jwk()["n"].as_str().unwrap()).unwrap();
    let by_modulus = Signer::hmac(Algorithm::HS256, &modulus, "k1");
    let point = [&[4][..], &URL_SAFE_NO_PAD.decode(ours.jwk()["x"].as_str().unwrap()).unwrap()].concat();
    let by_point = Signer::hmac(Algorithm::HS384, &point, "k1");
    let confused = Signer::hmac(Algorithm::HS256, public.as_bytes(), "k1");
    let coordinate = Signer::hmac(Algorithm::HS512, ours.jwk()["x"].as_str().unwrap().as_bytes(), "k1");
    let unsigned = |alg: &str, signature: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt"}).to_string());
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let table = [
        ("good", good.clone(), "ok"),
        ("none", unsigned("none", ""), "token_algorithm_refused"),
        ("none with junk", unsigned("none", "AAAA"), "token_algorithm_refused"),
        ("ES256 without", unsigned("ES256", ""), "token_signature_invalid"),
        ("signature cut off", format!("{message}."), "token_signature_invalid"),
        ("zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])), "token_signature_invalid"),
        ("order", format!("{message}.{}", URL_SAFE_NO_PAD.encode(order)), "token_signature_invalid"),
        ("modulus as secret", by_modulus.token(&double.issuer()), "token_algorithm_refused"),
        ("point as secret", by_point.token(&double.issuer()), "token_algorithm_refused"),
        ("trailing part", format!("{good}."), "token_malformed"),
        ("encrypted", format!("{good}.AAAA.AAAA"), "token_encrypted"),
        ("DER", format!("{message}.{}", URL_SAFE_NO_PAD.encode(der)), "token_signature_invalid"),
        ("padded", format!("{good}=="), "token_signature_invalid"),
        ("public key as secret", confused.token(&double.issuer()), "token_algorithm_refused"),
        ("coordinate as secret", coordinate.token(&double.issuer()), "token_algorithm_refused"),
        (
            "not on the list",
            Signer::new(Algorithm::RS512, "k1").token(&double.issuer()),
            "token_algorithm_refused",
        ),
    ];
    for (attack, token, means) in table {
        assert_eq!(outcome(&issuers, &token).await, means, "{attack}");
    }
}

/// TOK-27, JWT-031: an ID token passes neither rule, its access token passes both that it should.
#[tokio::test]
async fn id_tokens_are_no_access_tokens() {
    let double = Double::start().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&signer]));
    let lenient = AuthorizationServer { token_type: TokenType::Any, ..configured(&double, Validation::Jwt) };
    let strict = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
    let lenient = issuers(&[lenient], &Hand::default());
    let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
    let mut id_token = payload(&double.issuer());
    id_token.as_object_mut().unwrap().remove("scope");
    id_token["nonce"] = json!("n");
    id_token["at_hash"] = json!("h");
    let table = [
        (signer.sign(&header, &payload(&double.issuer())), "token_type_refused", "ok"),
        (signer.sign(&header, &id_token), "token_type_refused", "not_an_access_token"),
        (signer.token(&double.issuer()), "ok", "ok"),
    ];
    for (token, by_strict, by_lenient) in table {
        assert_eq!(outcome(&strict, &token).await, by_strict);
        assert_eq!(outcome(&lenient, &token).await, by_lenient);
    }
}

/// TOK-24; JWT-055 … JWT-058: each issuer vouches for its own tokens, and strangers are not even looked up.
#[tokio::test]
async fn keys_are_bound_to_their_issuer() {
    let (a, b) = (Double::start().await, Double::start().await);
    let (key_a, key_b) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k1"));
    a.answer("/jwks", key_set(&[&key_a]));
    b.answer("/jwks", key_set(&[&key_b]));
    let servers = [configured(&a, Validation::Jwt), configured(&b, Validation::Jwt)];
    let issuers = issuers(&servers, &Hand::default());
    let stranger = Double::start().await;
    let table = [
        (key_a.token(&a.issuer()), "ok"),
        (key_b.token(&b.issuer()), "ok"),
        (key_a.token(&b.issuer()), "token_signature_invalid"),
        (key_a.token(&stranger.issuer()), "token_issuer_unknown"),
        (key_a.token(&format!("{}/", a.issuer())), "token_issuer_unknown"),
        (key_a.token(&format!("{}.evil.example", a.issuer())), "token_issuer_unknown"),
    ];
    for (token, means) in table {
        assert_eq!(outcome(&issuers, &token).await, means);
    }
    assert_eq!(stranger.total(), 0);
}

/// TOK-63: a token is verified alike by whatever scheme it came; its proof is not this room's to judge.
#[tokio::test]
async fn dpop_tokens_are_verified() {
    let double = Double::start().await;
    let (key, other) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k1"));
    double.answer("/jwks", key_set(&[&key]));
    let issuers = issuers(&[configured(&double, Validation::Jwt)], &Hand::default());
    for (token, means) in
        [(key.token(&double.issuer()), "ok"), (other.token(&double.issuer()), "token_signature_invalid")]
    {
        let mut headers = http::HeaderMap::new();
        headers.append("authorization", http::HeaderValue::from_str(&format!("DPoP {token}")).unwrap());
        headers.append("dpop", http::HeaderValue::from_static("p.q.r"));
        let presented = Presented::from_request(&headers, false).unwrap();
        let verified = issuers.verify(&presented, now()).await;
        assert_eq!(verified.map_or_else(|refusal| refusal.reason_id(), |_| "ok"), means);
    }
}
