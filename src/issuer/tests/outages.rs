//! Servers that are away, busy or flooded (TOK-45, TOK-47, KEYS-023, FLT-009, FLT-033).

use super::double::Reply;
use super::*;

fn asked_about(double: &Double, cap: u64) -> AuthorizationServer {
    AuthorizationServer {
        introspection_cache: Duration::from_secs(cap),
        ..configured(double, Validation::Introspection)
    }
}

fn active() -> Value {
    json!({"active": true, "scope": "user/*.rs", "client_id": "app", "exp": NOW + 3000})
}

/// Whoever asks for a pause gets it, and clients are told of it; no longer than a minute, and only with 429 and 503.
#[tokio::test]
async fn retry_after_is_honoured() {
    let date = "Fri, 31 Dec 9999 23:59:59 GMT";
    let table = [
        (429, "7", 7, 1),
        (503, "20", 20, 1),
        (503, "86400", 60, 1),
        (429, date, 60, 1),
        (429, "soon", 1, 2),
        (500, "7", 1, 2),
        (401, "7", 1, 2),
    ];
    for (status, field, seconds, calls) in table {
        let (double, hand) = (Double::start().await, Hand::default());
        let issuers = issuers(&[asked_about(&double, 0)], &hand);
        double
            .set("/introspect", Reply::With(status, vec![("retry-after", field.to_owned())], String::new()));
        for _ in 0..2 {
            let refusal = admitted(&issuers, "abc").await.unwrap_err();
            let told = refusal.retry_after().unwrap();
            assert_eq!(told, Duration::from_secs(seconds), "{status} {field}");
        }
        assert_eq!(double.count("/introspect"), calls, "{status} {field}");
        double.answer("/introspect", active());
        hand.forward(seconds);
        assert_eq!(outcome(&issuers, "abc").await, "ok", "{status} {field}");
    }
}

/// The same where keys are.
#[tokio::test]
async fn retry_after_of_keys() {
    let (double, hand) = (Double::start().await, Hand::default());
    let signer = Signer::new(Algorithm::ES256, "k1");
    let issuers = issuers(&[configured(&double, Validation::Jwt)], &hand);
    double.set("/jwks", Reply::With(503, vec![("retry-after", "30".to_owned())], String::new()));
    let token = signer.token(&double.issuer());
    for seconds in [30, 20, 10] {
        let refusal = admitted(&issuers, &token).await.unwrap_err();
        assert_eq!(refusal.retry_after(), Some(Duration::from_secs(seconds)));
        hand.forward(10);
    }
    assert_eq!(double.count("/jwks"), 1);
    double.answer("/jwks", key_set(&[&signer]));
    assert_eq!(outcome(&issuers, &token).await, "ok");
}

/// FLT-033: after a pause one call goes first. The others are refused, and all are served once it is answered.
#[tokio::test]
async fn one_call_finds_out_whether_a_server_is_back() {
    let (double, hand) = (Double::start().await, Hand::default());
    let issuers = Arc::new(issuers(&[asked_about(&double, 0)], &hand));
    double.set("/introspect", Reply::Answer(500, String::new()));
    for number in 0..10 {
        assert_eq!(outcome(&issuers, &format!("t{number}")).await, "issuer_unavailable");
    }
    let before = double.count("/introspect");
    double.set("/introspect", Reply::Gated(active().to_string()));
    hand.forward(4);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let issuers = Arc::clone(&issuers);
        requests.spawn(async move { outcome(&issuers, "first").await });
    }
    while issuers.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    for number in 0..100 {
        assert_eq!(outcome(&issuers, &format!("other{number}")).await, "issuer_unavailable");
    }
    double.open_gate();
    assert!(requests.join_all().await.iter().all(|outcome| *outcome == "ok"));
    assert_eq!(double.count("/introspect"), before + 1);
    assert_eq!(outcome(&issuers, "other").await, "ok");
}

/// KEYS-019, KEYS-023: of a flood of junk 32 calls are made at once and 1024 wait; the rest is refused at once, and whoever
/// is known already notices nothing.
#[tokio::test]
async fn a_flood_of_junk_is_bounded() {
    let (double, hand) = (Double::start().await, Hand::default());
    let issuers = Arc::new(issuers(&[asked_about(&double, 60)], &hand));
    double.answer("/introspect", active());
    assert_eq!(outcome(&issuers, "good").await, "ok");
    double.set("/introspect", Reply::Gated(json!({"active": false}).to_string()));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..3000 {
        let issuers = Arc::clone(&issuers);
        flood.spawn(async move { outcome(&issuers, &format!("junk{number}")).await });
    }
    while double.count("/introspect") < 33 || issuers.waiting() < 1024 {
        tokio::task::yield_now().await;
        assert_eq!(outcome(&issuers, "good").await, "ok");
    }
    assert_eq!((double.count("/introspect"), issuers.waiting()), (33, 1024));
    double.open_gate();
    let outcomes = flood.join_all().await;
    let of = |means: &str| outcomes.iter().filter(|outcome| **outcome == means).count();
    assert_eq!((of("token_inactive"), of("issuer_overloaded")), (1024, 1976));
    assert_eq!(outcome(&issuers, "good").await, "ok");
    assert_eq!(double.count("/introspect"), 1025);
    let figures = issuers.status()[0].figures;
    assert_eq!(figures.introspections, 1025);
    assert!(figures.introspections_avoided > 1, "{figures:?}");
}

/// FLT-009: signed tokens are served while their issuer is away, opaque ones as long as their answers last; then 503.
#[tokio::test]
async fn away_after_a_good_start() {
    let (double, hand) = (Double::start().await, Hand::default());
    let signer = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&signer]));
    double.answer("/introspect", active());
    let signed = issuers(&[configured(&double, Validation::Jwt)], &hand);
    let asking = issuers(&[asked_about(&double, 60)], &hand);
    let token = signer.token(&double.issuer());
    assert_eq!((outcome(&signed, &token).await, outcome(&asking, "abc").await), ("ok", "ok"));
    for path in ["/jwks", "/introspect", "/.well-known/oauth-authorization-server"] {
        double.set(path, Reply::Answer(503, String::new()));
    }
    hand.forward(59);
    signed.refresh().await;
    assert_eq!((outcome(&signed, &token).await, outcome(&asking, "abc").await), ("ok", "ok"));
    hand.forward(1);
    assert_eq!((outcome(&signed, &token).await, outcome(&asking, "abc").await), ("ok", "issuer_unavailable"));
    // A token that was never seen is none the less checked by keys that are there.
    let mut other = payload(&double.issuer());
    other["jti"] = json!("t-2");
    assert_eq!(outcome(&signed, &signer.sign(&signer.header(), &other)).await, "ok");
    hand.forward(3540);
    assert_eq!(outcome(&signed, &token).await, "issuer_unavailable");
}

/// A server that says 200 and then `piece`, again and again.
async fn endless(piece: &'static str, pause: Duration) -> url::Url {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _asked = stream.read(&mut [0; 4096]).await;
                let mut next = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"keys\":[";
                while stream.write_all(next.as_bytes()).await.is_ok() {
                    next = piece;
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    url
}

/// KEYS-006, KEYS-007, KEYS-020: an answer without end is cut off by size, a slow one by time, of keys and of introspection.
#[tokio::test]
async fn answers_without_end() {
    let double = Double::start().await;
    let token = Signer::new(Algorithm::ES256, "k1").token(&double.issuer());
    let long: &'static str = Box::leak("0,".repeat(32 * 1024).into_boxed_str());
    for (piece, pause) in [(long, Duration::ZERO), ("0,", Duration::from_millis(5))] {
        let url = endless(piece, pause).await;
        let timeout = if pause.is_zero() { Duration::from_secs(20) } else { Duration::from_millis(100) };
        let keys = AuthorizationServer {
            jwks_url: Some(url.clone()),
            timeout,
            ..configured(&double, Validation::Jwt)
        };
        let asking = AuthorizationServer {
            introspection_url: Some(url),
            timeout,
            ..configured(&double, Validation::Introspection)
        };
        for server in [keys, asking] {
            let issuers = issuers(&[server], &Hand::default());
            let refusal = admitted(&issuers, &token).await.unwrap_err();
            assert_eq!(refusal.reason_id(), "issuer_unavailable");
            let why = if pause.is_zero() { "answered with more than" } else { "in time" };
            assert!(refusal.detail().contains(why), "{}", refusal.detail());
        }
    }
}
