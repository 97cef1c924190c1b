//! How keys and metadata are fetched, kept and given up (TOK-30, DISC-21, hostile class `jwks-introspection`).

use super::double::Reply;
use super::*;
use crate::issuer::{Health, IssuerError};
use crate::oauth::CallError;
use crate::token::TokenClass;

pub(super) const METADATA: &str = "/.well-known/oauth-authorization-server";

pub(super) struct Scene {
    pub(super) double: Double,
    pub(super) hand: Hand,
    pub(super) issuers: Arc<Issuers>,
}

pub(super) async fn scene() -> Scene {
    let (double, hand) = (Double::start().await, Hand::default());
    let issuers = Arc::new(issuers(&[configured(&double, Validation::Jwt)], &hand));
    Scene { double, hand, issuers }
}

impl Scene {
    pub(super) async fn outcome(&self, signer: &Signer) -> &'static str {
        outcome(&self.issuers, &signer.token(&self.double.issuer())).await
    }
}

/// JWT-074, TOK-30: a new key works after one fetch, a removed one stops after the next.
#[tokio::test]
async fn keys_come_and_go() {
    let scene = scene().await;
    let (old, new) = (Signer::new(Algorithm::ES256, "old"), Signer::new(Algorithm::ES256, "new"));
    scene.double.answer("/jwks", key_set(&[&old]));
    assert_eq!(scene.outcome(&old).await, "ok");
    scene.double.answer("/jwks", key_set(&[&old, &new]));
    assert_eq!(scene.outcome(&new).await, "ok");
    assert_eq!(scene.double.count("/jwks"), 2);
    scene.double.answer("/jwks", key_set(&[&new]));
    assert_eq!(scene.outcome(&old).await, "ok", "still within the life of the fetched set");
    scene.hand.forward(300);
    scene.issuers.refresh().await;
    assert_eq!(scene.outcome(&old).await, "token_key_unknown", "remembered, but its key is gone");
    assert_eq!(scene.outcome(&new).await, "ok");
}

/// KEYS-001, KEYS-003: unknown key ids cause one fetch in ten seconds, and good tokens do not notice.
#[tokio::test]
async fn unknown_kids_cause_no_storm() {
    let scene = scene().await;
    let good = Signer::new(Algorithm::ES256, "k1");
    scene.double.answer("/jwks", key_set(&[&good]));
    assert_eq!(scene.outcome(&good).await, "ok");
    let claims = payload(&scene.double.issuer());
    for round in 2..4 {
        for number in 0..50 {
            let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("{round}-{number}")});
            assert_eq!(outcome(&scene.issuers, &good.sign(&header, &claims)).await, "token_key_unknown");
        }
        assert_eq!(scene.outcome(&good).await, "ok");
        assert_eq!(scene.double.count("/jwks"), round);
        scene.hand.forward(10);
    }
}

/// TOK-30: the first requests after a start wait for one fetch together.
#[tokio::test]
async fn first_requests_share_a_fetch() {
    let scene = scene().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    scene.double.set("/jwks", Reply::Gated(key_set(&[&signer])));
    let token = signer.token(&scene.double.issuer());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (issuers, token) = (Arc::clone(&scene.issuers), token.clone());
        requests.spawn(async move { outcome(&issuers, &token).await });
    }
    while scene.issuers.waiting() < 40 {
        tokio::task::yield_now().await;
    }
    scene.double.open_gate();
    assert!(requests.join_all().await.iter().all(|outcome| *outcome == "ok"));
    assert_eq!((scene.double.count("/jwks"), scene.double.count(METADATA)), (1, 1));
}

/// KEYS-005, KEYS-007, KEYS-008: whatever the endpoint becomes, good keys serve for an hour and no longer.
#[tokio::test]
async fn good_keys_outlive_a_bad_endpoint() {
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    let endpoints = [
        Reply::Answer(500, String::new()),
        Reply::Answer(200, "<html>login</html>".to_owned()),
        Reply::Answer(200, r#"{"keys":[]}"#.to_owned()),
        Reply::Answer(200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_owned()),
        Reply::Answer(200, huge),
        Reply::Redirect("/elsewhere".to_owned()),
    ];
    for endpoint in endpoints {
        let scene = scene().await;
        let (signer, late) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k2"));
        scene.double.answer("/jwks", key_set(&[&signer]));
        scene.double.answer("/elsewhere", key_set(&[&late]));
        assert_eq!(scene.outcome(&signer).await, "ok");
        scene.double.set("/jwks", endpoint);
        scene.hand.forward(3599);
        scene.issuers.refresh().await;
        assert_eq!(scene.outcome(&signer).await, "ok");
        assert_eq!(scene.issuers.status()[0].health, Health::Stale);
        scene.hand.forward(5);
        assert_eq!(scene.outcome(&signer).await, "issuer_unavailable");
        assert_eq!(scene.issuers.status()[0].health, Health::Away);
        scene.double.answer("/jwks", key_set(&[&signer]));
        scene.hand.forward(5);
        assert_eq!(scene.outcome(&signer).await, "ok");
        assert_eq!(scene.issuers.status()[0].health, Health::Ready);
    }
}

/// TOK-45: an issuer that was never there is 503 with Retry-After, and is left alone between attempts.
#[tokio::test]
async fn an_absent_issuer_is_not_hammered() {
    let scene = scene().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    scene.double.set("/jwks", Reply::Answer(503, String::new()));
    let token = signer.token(&scene.double.issuer());
    for _ in 0..20 {
        let refusal = admitted(&scene.issuers, &token).await.unwrap_err();
        assert_eq!(refusal.class(), TokenClass::Unavailable);
        assert!(refusal.retry_after().unwrap() >= Duration::from_secs(1));
        assert!(refusal.detail().contains("503"), "{}", refusal.detail());
    }
    assert_eq!(scene.double.count("/jwks"), 1);
    scene.double.answer("/jwks", key_set(&[&signer]));
    scene.hand.forward(5);
    assert_eq!(scene.outcome(&signer).await, "ok");
}

/// KEYS-006: nobody waits beyond the configured timeout.
#[tokio::test]
async fn a_slow_issuer_is_unavailable() {
    let double = Double::start().await;
    double.set("/jwks", Reply::Hang);
    let hasty =
        AuthorizationServer { timeout: Duration::from_millis(50), ..configured(&double, Validation::Jwt) };
    let issuers = issuers(&[hasty], &Hand::default());
    let token = Signer::new(Algorithm::ES256, "k1").token(&double.issuer());
    assert_eq!(outcome(&issuers, &token).await, "issuer_unavailable");
}

/// DISC-21, KEYS-012, KEYS-013: metadata counts when it names the issuer and stays on its host.
#[tokio::test]
async fn metadata_must_be_the_issuers_own() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let table = [
        ("{}", "ok"),
        (r#"{"issuer":"https://evil.test"}"#, "issuer_unavailable"),
        (r#"{"jwks_uri":"https://evil.test/jwks"}"#, "issuer_unavailable"),
        (r#"{"jwks_uri":"http://as.test/jwks"}"#, "issuer_unavailable"),
        (r#"{"jwks_uri":null}"#, "issuer_unavailable"),
    ];
    for (change, means) in table {
        let scene = scene().await;
        scene.double.answer("/jwks", key_set(&[&signer]));
        let issuer = scene.double.issuer();
        let mut document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")});
        let change: Value = serde_json::from_str(change).unwrap();
        for (name, value) in change.as_object().unwrap() {
            document[name] = value.clone();
        }
        scene.double.answer(METADATA, document);
        assert_eq!(scene.outcome(&signer).await, means, "{change}");
    }
}

/// DISC-21: OpenID Discovery serves where RFC 8414 is not known, and an address in the configuration needs neither.
#[tokio::test]
async fn metadata_is_found_where_it_is() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let scene = scene().await;
    let issuer = scene.double.issuer();
    scene.double.answer("/jwks", key_set(&[&signer]));
    scene.double.set(METADATA, Reply::Answer(404, String::new()));
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")});
    scene.double.answer("/.well-known/openid-configuration", document);
    assert_eq!(scene.outcome(&signer).await, "ok");

    let double = Double::start().await;
    double.set(METADATA, Reply::Answer(404, String::new()));
    double.answer("/elsewhere", key_set(&[&signer]));
    let jwks_url = Some(format!("{}/elsewhere", double.issuer()).parse().unwrap());
    let server = AuthorizationServer { jwks_url, ..configured(&double, Validation::Jwt) };
    let issuers = issuers(&[server], &Hand::default());
    assert_eq!(outcome(&issuers, &signer.token(&double.issuer())).await, "ok");
    assert_eq!(double.total(), 1);
}

/// The discovery room gets the last good metadata while its server is away.
#[tokio::test]
async fn metadata_is_kept() {
    let scene = scene().await;
    let issuer = scene.double.issuer();
    assert!(scene.issuers.metadata("https://stranger.test").await.is_none());
    let first = scene.issuers.metadata(&issuer).await.unwrap();
    assert_eq!(first["issuer"], json!(issuer));
    scene.double.set(METADATA, Reply::Answer(500, String::new()));
    scene.hand.forward(100_000);
    scene.issuers.refresh().await;
    assert_eq!(scene.issuers.metadata(&issuer).await, Some(first));
    assert!(scene.issuers.status()[0].complaint.is_some());
}

/// One bad key does not spoil the set, and a bad key does not verify (JWT-014, JWT-015, JWT-017, JWT-076).
#[tokio::test]
async fn bad_keys_are_left_out() {
    let signer = Signer::new(Algorithm::RS256, "k1");
    let changes = [
        (json!({}), "ok"),
        (json!({"use": "enc"}), "token_key_unknown"),
        (json!({"use": ["sig"]}), "token_key_unknown"),
        (json!({"key_ops": ["verify"]}), "ok"),
        (json!({"key_ops": ["encrypt"]}), "token_key_unknown"),
        (json!({"alg": "RS512"}), "token_key_unknown"),
        (json!({"alg": 7}), "token_key_unknown"),
        (json!({"d": "AQAB"}), "token_key_unknown"),
        (json!({"e": "AQ"}), "token_key_unknown"),
        (json!({"e": "AAEAAA"}), "token_key_unknown"),
        (json!({"n": URL_SAFE_NO_PAD.encode([0xff; 128])}), "token_key_unknown"),
        (json!({"n": URL_SAFE_NO_PAD.encode([0xfe; 256])}), "token_key_unknown"),
        (json!({"e": "Ag"}), "token_key_unknown"),
        (json!({"e": "AQAAAAAAAQ"}), "token_key_unknown"),
        (json!({"n": URL_SAFE_NO_PAD.encode([0xff; 1025])}), "token_key_unknown"),
        (json!({"kty": "EC"}), "token_key_unknown"),
        (json!({"kid": 1}), "token_key_unknown"),
        (json!({"kid": "other"}), "token_key_unknown"),
    ];
    let spare = Signer::new(Algorithm::ES256, "spare");
    for (change, means) in changes {
        let scene = scene().await;
        let mut jwk = signer.jwk();
        for (name, value) in change.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        scene.double.answer("/jwks", json!({"keys": ["junk", jwk, spare.jwk()]}));
        assert_eq!(scene.outcome(&signer).await, means, "{change}");
        assert_eq!(scene.outcome(&spare).await, "ok", "{change}");
    }
}

/// Settings that cannot work are errors at the start.
#[tokio::test]
async fn impossible_settings() {
    let double = Double::start().await;
    let server = configured(&double, Validation::Introspection);
    let twice = [server.clone(), server.clone()];
    let no_client = [AuthorizationServer { client: None, ..server.clone() }];
    let no_anchor = [AuthorizationServer { ca: Some("/nowhere/ca.pem".into()), ..server.clone() }];
    let new = |servers: &[AuthorizationServer]| Issuers::new(servers, &Reading::sample(), None);
    assert!(new(&[server]).is_ok());
    assert!(matches!(new(&twice), Err(IssuerError::SeveralOpaque { .. })));
    assert!(matches!(new(&no_client), Err(IssuerError::ClientMissing { .. })));
    assert!(matches!(new(&no_anchor), Err(IssuerError::Call(CallError::AnchorUnreadable { .. }))));
}
