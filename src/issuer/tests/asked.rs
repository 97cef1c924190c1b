//! Asking about tokens (RFC 7662, TOK-31, TOK-40 … TOK-47, hostile class `jwks-introspection`).

use super::double::Reply;
use super::*;
use crate::issuer::Health;
use crate::token::TokenClass;

struct Scene {
    double: Double,
    hand: Hand,
    issuers: Arc<Issuers>,
}

async fn scene(cap: u64) -> Scene {
    let (double, hand) = (Double::start().await, Hand::default());
    let server = AuthorizationServer {
        introspection_cache: Duration::from_secs(cap),
        ..configured(&double, Validation::Introspection)
    };
    let issuers = Arc::new(issuers(&[server], &hand));
    Scene { double, hand, issuers }
}

fn active(change: Value) -> Value {
    let mut answer = json!({"active": true, "scope": "user/*.rs", "client_id": "app", "exp": NOW + 3000});
    for (name, value) in change.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer
}

/// TOK-40: how the question is put.
#[tokio::test]
async fn the_question() {
    let scene = scene(0).await;
    scene.double.answer("/introspect", active(json!({})));
    assert_eq!(outcome(&scene.issuers, "a+b/c==").await, "ok");
    let asked = scene.double.last();
    assert_eq!(asked.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    assert_eq!(asked.authorization.as_deref(), Some("Basic cGZvcnRlOnMzY3JldA=="));

    let double = Double::start().await;
    double.answer("/introspect", active(json!({})));
    let mut server = configured(&double, Validation::Introspection);
    let auth = IssuerClientAuth::SecretPost(Secret::new("s3&cret".to_owned()));
    server.client = Some(IssuerClient { id: "pforte".to_owned(), auth });
    assert_eq!(outcome(&issuers(&[server], &Hand::default()), "abc").await, "ok");
    let asked = double.last();
    assert_eq!(asked.body, "token=abc&token_type_hint=access_token&client_id=pforte&client_secret=s3%26cret");
    assert_eq!(asked.authorization, None);
}

/// TOK-41, TOK-43; KEYS-014 … KEYS-016.
#[tokio::test]
async fn the_answer() {
    let table = [
        (active(json!({})), "ok"),
        (json!({"active": true}), "ok"), // and nothing granted
        (json!({"active": false}), "token_inactive"),
        (active(json!({"active": "true"})), "token_inactive"),
        (active(json!({"active": 1})), "token_inactive"),
        (json!({"scope": "user/*.rs"}), "token_inactive"),
        (active(json!({"exp": NOW - 60})), "token_expired"),
        (active(json!({"aud": "other"})), "token_audience_mismatch"),
        (active(json!({"iss": "https://evil.test"})), "token_issuer_mismatch"),
        (active(json!({"cnf": {"jkt": "x"}})), "token_confirmation_unusable"),
        (active(json!({"token_type": "refresh_token"})), "token_type_refused"),
    ];
    let scene = scene(0).await;
    for (answer, means) in table {
        scene.double.answer("/introspect", &answer);
        assert_eq!(outcome(&scene.issuers, "abc").await, means, "{answer}");
    }
}

/// TOK-45, KEYS-020: whatever is wrong with the server says nothing about the token.
#[tokio::test]
async fn a_server_that_fails() {
    let replies = [
        Reply::Answer(500, String::new()),
        Reply::Answer(401, active(json!({})).to_string()),
        Reply::Answer(403, String::new()),
        Reply::Answer(404, String::new()),
        Reply::Answer(429, String::new()),
        Reply::Answer(201, active(json!({})).to_string()),
        Reply::Answer(200, "<html>".to_owned()),
        Reply::Answer(200, "[true]".to_owned()),
        Reply::Answer(200, String::new()),
        Reply::Answer(200, r#"{"active":false,"active":true}"#.to_owned()),
        Reply::Answer(200, format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(1024 * 1024))),
        Reply::Redirect("/other".to_owned()),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let scene = scene(60).await;
        scene.double.set("/introspect", reply);
        scene.double.answer("/other", active(json!({})));
        let refusal = admitted(&scene.issuers, "abc").await.unwrap_err();
        assert_eq!(refusal.class(), TokenClass::Unavailable, "reply {number}");
        assert!(refusal.retry_after().is_some() && !refusal.detail().contains("s3cret"));
        // A good answer afterwards counts at once: failures are never remembered as the token's.
        scene.double.answer("/introspect", active(json!({})));
        assert_eq!(outcome(&scene.issuers, "abc").await, "ok", "reply {number}");
    }
}

/// KEYS-019: a hanging server costs its timeout, and nothing listens is as bad.
#[tokio::test]
async fn a_server_that_is_away() {
    let double = Double::start().await;
    double.set("/introspect", Reply::Hang);
    let hasty = AuthorizationServer {
        timeout: Duration::from_millis(50),
        ..configured(&double, Validation::Introspection)
    };
    assert_eq!(outcome(&issuers(&[hasty], &Hand::default()), "abc").await, "issuer_unavailable");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Some(format!("http://{free}/introspect").parse().unwrap());
    let gone =
        AuthorizationServer { introspection_url: url, ..configured(&double, Validation::Introspection) };
    assert_eq!(outcome(&issuers(&[gone], &Hand::default()), "abc").await, "issuer_unavailable");
}

/// TOK-47: after some failures in a row the server is left alone for a moment, and then asked again.
#[tokio::test]
async fn a_failing_server_is_left_alone() {
    let scene = scene(0).await;
    scene.double.set("/introspect", Reply::Answer(500, String::new()));
    for number in 0..20 {
        assert_eq!(outcome(&scene.issuers, &format!("t{number}")).await, "issuer_unavailable");
    }
    assert_eq!(scene.double.count("/introspect"), 4);
    assert_eq!(scene.issuers.status()[0].health, Health::Away);
    scene.double.answer("/introspect", active(json!({})));
    scene.hand.forward(4);
    assert_eq!(outcome(&scene.issuers, "abc").await, "ok");
    assert_eq!(scene.issuers.status()[0].health, Health::Ready);
}

/// TOK-31, TOK-44: with a cap of zero every request asks, so a revocation counts at once.
#[tokio::test]
async fn without_cap_every_request_asks() {
    let scene = scene(0).await;
    scene.double.answer("/introspect", active(json!({})));
    for _ in 0..3 {
        assert_eq!(outcome(&scene.issuers, "abc").await, "ok");
    }
    scene.double.answer("/introspect", json!({"active": false}));
    assert_eq!(outcome(&scene.issuers, "abc").await, "token_inactive");
    scene.double.answer("/introspect", active(json!({})));
    assert_eq!(outcome(&scene.issuers, "abc").await, "ok");
    assert_eq!(scene.double.count("/introspect"), 5);
}

/// TOK-44, KEYS-027: answers serve until the cap or `exp`, whichever is first, and never without `exp`.
#[tokio::test]
async fn with_cap_answers_serve_for_a_while() {
    let table = [
        (active(json!({})), 59, 1),
        (active(json!({})), 60, 2),
        (active(json!({"exp": NOW + 10})), 9, 1),
        (active(json!({"exp": NOW + 10})), 10, 2),
        (active(json!({"exp": NOW})), 0, 2),
        (json!({"active": true, "scope": "user/*.rs"}), 0, 2),
        (json!({"active": false}), 9, 1),
        (json!({"active": false}), 10, 2), // KEYS-025: it may have become active
    ];
    for (answer, seconds, calls) in table {
        let scene = scene(60).await;
        scene.double.answer("/introspect", &answer);
        let first = outcome(&scene.issuers, "abc").await;
        scene.hand.forward(seconds);
        assert_eq!(outcome(&scene.issuers, "abc").await, first);
        assert_eq!(scene.double.count("/introspect"), calls, "{answer} after {seconds} s");
        assert_ne!(scene.double.total(), 0);
    }
}

/// KEYS-021, KEYS-028: an answer is for its own token and no other, cached or not.
#[tokio::test]
async fn answers_are_not_mixed_up() {
    let scene = scene(60).await;
    scene.double.set("/introspect", Reply::Mirror);
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..60 {
        let issuers = Arc::clone(&scene.issuers);
        requests.spawn(async move {
            let token = format!("token-{}", number % 20);
            let grant = admitted(&issuers, &token).await.unwrap();
            grant.subject() == Some(token.as_str())
        });
    }
    while scene.issuers.waiting() < 60 {
        tokio::task::yield_now().await;
    }
    scene.double.open_gate();
    assert!(requests.join_all().await.into_iter().all(|own| own));
    assert_eq!(scene.double.count("/introspect"), 20);
}

/// TOK-47, KEYS-022: a thousand requests with one new token are one call, even with a cap of zero.
#[tokio::test]
async fn one_call_in_flight_per_token() {
    let scene = scene(0).await;
    scene.double.set("/introspect", Reply::Gated(active(json!({})).to_string()));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let issuers = Arc::clone(&scene.issuers);
        requests.spawn(async move { outcome(&issuers, "abc").await });
    }
    while scene.issuers.waiting() < 1000 {
        tokio::task::yield_now().await;
    }
    scene.double.open_gate();
    assert!(requests.join_all().await.iter().all(|outcome| *outcome == "ok"));
    assert_eq!(scene.double.count("/introspect"), 1);
    assert_eq!(outcome(&scene.issuers, "abc").await, "ok");
    assert_eq!(scene.double.count("/introspect"), 2, "the next request asks again");
}

/// TOK-46, KEYS-029: the issuer's configuration decides who is asked, not the looks or faults of a token.
#[tokio::test]
async fn a_client_cannot_choose_the_check() {
    let (jwt, opaque) = (Double::start().await, Double::start().await);
    let signer = Signer::new(Algorithm::ES256, "k1");
    jwt.answer("/jwks", key_set(&[&signer]));
    opaque.answer("/introspect", active(json!({})));
    let servers = [configured(&jwt, Validation::Jwt), configured(&opaque, Validation::Introspection)];
    let both = issuers(&servers, &Hand::default());
    let good = signer.token(&jwt.issuer());
    let forged = Signer::new(Algorithm::ES256, "k1").token(&jwt.issuer());
    let no_issuer = signer.sign(&signer.header(), &json!({"sub": "x"}));
    let table = [
        (good.as_str(), "ok", 0),
        (forged.as_str(), "token_signature_invalid", 0),
        (no_issuer.as_str(), "token_claim_missing", 0),
        ("eyJhbGciOiJFUzI1NiJ9.junk.sig", "token_json_refused", 0),
        ("abc", "ok", 1),
    ];
    for (token, means, asked) in table {
        assert_eq!(outcome(&both, token).await, means);
        assert_eq!(opaque.count("/introspect"), asked, "{means}");
    }
    let hs256 = Signer::hmac(Algorithm::HS256, b"as", "h");
    let only_jwt = issuers(&servers[..1], &Hand::default());
    assert_eq!(outcome(&only_jwt, "abc").await, "token_opaque_unsupported");
    // A JWT of the introspecting issuer is that issuer's to judge, by asking.
    assert_eq!(outcome(&both, &signer.token(&opaque.issuer())).await, "ok");
    assert_eq!(outcome(&both, &hs256.token(&opaque.issuer())).await, "ok");
    assert_eq!(opaque.count("/introspect"), 3);
}

/// `validation = "both"`: no question about a token that is not signed, and no trust in one that is revoked.
#[tokio::test]
async fn both_must_say_yes() {
    let double = Double::start().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&signer]));
    double.answer("/introspect", active(json!({"scope": "patient/*.rs"})));
    let issuers = issuers(&[configured(&double, Validation::Both)], &Hand::default());
    let token = signer.token(&double.issuer());
    let forged = Signer::new(Algorithm::ES256, "k1").token(&double.issuer());
    assert_eq!(outcome(&issuers, &forged).await, "token_signature_invalid");
    assert_eq!(double.count("/introspect"), 0);
    assert_eq!(admitted(&issuers, &token).await.unwrap().patient(), Some("p1"));
    double.answer("/introspect", active(json!({"scope": "system/*.cruds"})));
    assert_eq!(outcome(&issuers, &token).await, "token_disagreement");
    double.answer("/introspect", json!({"active": false}));
    assert_eq!(outcome(&issuers, &token).await, "token_inactive");
    double.set("/introspect", Reply::Answer(500, String::new()));
    assert_eq!(outcome(&issuers, &token).await, "issuer_unavailable");
}
