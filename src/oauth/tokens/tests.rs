//! Tokens for the backend, against a token endpoint in this process.

mod double;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Again, Exchange, NoToken, OwnToken, Subject, TokenFault};
use crate::config::{AssertionKey, IssuerClient, IssuerClientAuth, Secret, TokenRequest};
use crate::oauth::Clock;
use crate::token::AccessToken;
use double::{Double, Mode, whole};

/// A clock that is set by hand.
#[derive(Clone)]
struct Hand(Arc<Mutex<Instant>>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn pass(&self, seconds: f64) {
        *self.0.lock().unwrap() += Duration::from_secs_f64(seconds);
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || *hand.0.lock().unwrap())
    }
}

fn request(double: &Double) -> TokenRequest {
    let auth = IssuerClientAuth::SecretBasic(Secret::new("s3cret".to_owned()));
    TokenRequest {
        token_url: Url::parse(&double.url()).unwrap(),
        client: IssuerClient { id: "pforte".to_owned(), auth },
        scope: Some("system/*.cruds".to_owned()),
        audience: Some("fhir".to_owned()),
        resource: Some("https://fhir.test/fhir".to_owned()),
        timeout: Duration::from_millis(500),
        ca: None,
    }
}

fn own(double: &Double, hand: &Hand) -> OwnToken {
    OwnToken::new(&request(double), hand.clock()).unwrap()
}

fn exchange(double: &Double, hand: &Hand) -> Exchange {
    Exchange::new(&request(double), hand.clock()).unwrap()
}

fn subject(token: &str, seconds: Option<u64>) -> Subject {
    Subject::new(AccessToken::new(token).unwrap(), seconds.map(Duration::from_secs))
}

/// The token, or what is said of it.
fn shown(result: Result<Arc<super::Issued>, NoToken>) -> String {
    match result {
        Ok(issued) => issued.token().reveal().to_owned(),
        Err(NoToken::Refused(_)) => "refused".to_owned(),
        Err(NoToken::Unavailable { retry_after, .. }) => {
            assert!(retry_after >= Duration::from_secs(1), "{retry_after:?}");
            "unavailable".to_owned()
        }
    }
}

/// RFC 6749 §4.4.2, RFC 8707 §2; RFC 8693 §2.1.
#[tokio::test]
async fn what_is_asked() {
    let double = Double::start(Mode::Issue(json!(60))).await;
    let hand = Hand::new();
    assert_eq!(shown(own(&double, &hand).current().await), "own-1");
    let asked = double.last();
    // pforte:s3cret
    assert_eq!(asked.authorization.as_deref(), Some("Basic cGZvcnRlOnMzY3JldA=="));
    let mut expected = vec![
        ("audience", "fhir"),
        ("grant_type", "client_credentials"),
        ("resource", "https://fhir.test/fhir"),
        ("scope", "system/*.cruds"),
    ];
    let said = |asked: &double::Asked| {
        let mut form: Vec<_> = asked.form.clone().into_iter().collect();
        form.sort();
        form
    };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(said(&asked), owned(&expected));

    assert_eq!(shown(exchange(&double, &hand).of(&subject("users", None)).await), "for-users-2");
    expected[1].1 = super::EXCHANGE;
    expected.insert(2, ("requested_token_type", super::ACCESS_TOKEN));
    expected.push(("subject_token", "users"));
    expected.push(("subject_token_type", super::ACCESS_TOKEN));
    assert_eq!(said(&double.last()), owned(&expected));
}

/// RFC 7523 §3: an assertion is for the token endpoint, and each is another one.
#[tokio::test]
async fn assertions_name_the_endpoint() {
    let double = Double::start(Mode::Issue(json!(60))).await;
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let key = AssertionKey {
        pem: Secret::new(key),
        kid: Some("k1".to_owned()),
        algorithm: jsonwebtoken::Algorithm::ES256,
    };
    let client = IssuerClient { id: "pforte".to_owned(), auth: IssuerClientAuth::PrivateKeyJwt(key) };
    let request = TokenRequest { client, ..request(&double) };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        OwnToken::new(&request, Hand::new().clock()).unwrap().current().await.unwrap();
        let asked = double.last();
        assert_eq!((asked.authorization, asked.form["client_id"].as_str()), (None, "pforte"));
        let payload = asked.form["client_assertion"].split('.').nth(1).unwrap().to_owned();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!(double.url()), &json!("pforte")));
        seen.insert(claims["jti"].to_string());
    }
    assert_eq!(seen.len(), 2, "one id for two assertions");
}

/// RFC 6749 §5.1, RFC 8693 §2.2.1: what is a token for the backend; by the client's own grant and by exchange.
#[tokio::test]
async fn what_is_taken_for_a_token() {
    let with = |changes: Value| {
        let mut answer: Value = serde_json::from_str(&whole("t", &json!(60))).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer.to_string()
    };
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let table = [
        (200, with(json!({})), "t", "t"),
        (200, with(json!({"token_type": "bearer"})), "t", "t"),
        (200, with(json!({"token_type": "DPoP"})), "unavailable", "unavailable"),
        (200, with(json!({"token_type": "N_A"})), "unavailable", "unavailable"),
        (200, with(json!({"token_type": null})), "unavailable", "unavailable"),
        (200, with(json!({"issued_token_type": jwt})), "t", "t"),
        (200, with(json!({"issued_token_type": refresh})), "t", "unavailable"),
        (200, with(json!({"issued_token_type": null})), "t", "unavailable"),
        (200, with(json!({"access_token": "a b"})), "unavailable", "unavailable"),
        (200, with(json!({"access_token": "a\r\nX-Evil: 1"})), "unavailable", "unavailable"),
        (200, with(json!({"access_token": ""})), "unavailable", "unavailable"),
        (200, with(json!({"access_token": 7})), "unavailable", "unavailable"),
        (200, with(json!({"access_token": "x".repeat(20_000)})), "unavailable", "unavailable"),
        // The client's own token is not for the backend.
        (200, with(json!({"access_token": "users"})), "users", "unavailable"),
        (200, with(json!({"expires_in": "60"})), "t", "t"),
        (200, with(json!({"expires_in": null})), "t", "t"),
        (200, with(json!({"expires_in": 1e30})), "t", "t"),
        (200, with(json!({"expires_in": 0})), "unavailable", "unavailable"),
        (200, with(json!({"expires_in": -60})), "unavailable", "unavailable"),
        (200, with(json!({"expires_in": "soon"})), "unavailable", "unavailable"),
        (200, with(json!({"expires_in": [60]})), "unavailable", "unavailable"),
        (
            200,
            r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#.to_owned(),
            "unavailable",
            "unavailable",
        ),
        (200, "<html>".to_owned(), "unavailable", "unavailable"),
        (200, "[]".to_owned(), "unavailable", "unavailable"),
        (201, with(json!({})), "unavailable", "unavailable"),
        (302, String::new(), "unavailable", "unavailable"),
        (500, "oops".to_owned(), "unavailable", "unavailable"),
    ];
    judged(&table).await;
}

/// RFC 6749 §5.2, RFC 8693 §2.2.2: who is meant by a refusal.
#[tokio::test]
async fn whom_a_refusal_means() {
    let says = |error: &str| json!({"error": error}).to_string();
    let table = [
        (400, says("invalid_request"), "unavailable", "refused"),
        (400, says("invalid_target"), "unavailable", "refused"),
        (400, says("invalid_grant"), "unavailable", "refused"),
        (400, says("invalid_scope"), "unavailable", "refused"),
        (403, says("access_denied"), "unavailable", "refused"),
        (400, says("invalid_client"), "unavailable", "unavailable"),
        (401, says("invalid_client"), "unavailable", "unavailable"),
        (401, says("invalid_request"), "unavailable", "unavailable"),
        (400, says("unauthorized_client"), "unavailable", "unavailable"),
        (400, says("unsupported_grant_type"), "unavailable", "unavailable"),
        (503, says("invalid_grant"), "unavailable", "unavailable"),
        (400, "{}".to_owned(), "unavailable", "unavailable"),
    ];
    judged(&table).await;
}

/// Holds what comes of answers against what is expected, for the gateway itself and for a user.
async fn judged(table: &[(u16, String, &str, &str)]) {
    let double = Double::start(Mode::Hang).await;
    let mut wrong = Vec::new();
    for (status, answer, for_own, for_user) in table {
        double.set(Mode::Answer(*status, answer.clone()));
        let hand = Hand::new();
        let is = (
            shown(own(&double, &hand).current().await),
            shown(exchange(&double, &hand).of(&subject("users", None)).await),
        );
        if (is.0.as_str(), is.1.as_str()) != (*for_own, *for_user) {
            wrong.push((status, answer, is));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// When a token is renewed and when it ends, by its `expires_in`.
#[tokio::test]
async fn lives() {
    let table = [
        (json!(3600), 3540.0, 3600.0),
        (json!(180), 120.0, 180.0),
        (json!(90), 60.0, 90.0),
        (json!(3), 2.0, 3.0),
        (json!(3.9), 2.0, 3.0),
        (json!(1_000_000), 86_340.0, 86_400.0),
        // Not said: five minutes.
        (Value::Null, 240.0, 300.0),
    ];
    for (expires_in, renewal, end) in table {
        let double = Double::start(Mode::Issue(expires_in.clone())).await;
        let (hand, moment) = (Hand::new(), 0.01);
        let own = own(&double, &hand);
        own.current().await.unwrap();
        hand.pass(renewal - moment);
        assert!(!own.is_due(), "{expires_in} is renewed too early");
        hand.pass(2.0 * moment);
        assert!(own.is_due(), "{expires_in} is not renewed");
        hand.pass(end - renewal - 2.0 * moment);
        assert_eq!(shown(own.current().await), "own-1", "{expires_in}");
        hand.pass(2.0 * moment);
        assert_eq!(shown(own.current().await), "own-2", "{expires_in} is used after its end");
    }
}

/// However many ask, the endpoint is asked once; who asks later gets what is kept.
#[tokio::test]
async fn one_flight() {
    let double = Double::start(Mode::Gated(json!(60))).await;
    let hand = Hand::new();
    let (own, exchange) = (own(&double, &hand), exchange(&double, &hand));
    let (ann, bob) = (subject("ann", None), subject("bob", None));
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..60 {
        let (own, exchange, ann, bob) = (own.clone(), exchange.clone(), ann.clone(), bob.clone());
        waiting.spawn(async move {
            match number % 3 {
                0 => shown(own.current().await),
                1 => shown(exchange.of(&ann).await),
                _ => shown(exchange.of(&bob).await),
            }
        });
    }
    while double.count() < 3 || own.waiting() < 20 || exchange.waiting() < 40 {
        tokio::task::yield_now().await;
    }
    double.open_gate();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(token) = waiting.join_next().await {
        let token = token.unwrap();
        seen.insert(token.rsplit_once('-').unwrap().0.to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["for-ann", "for-bob", "own"]);
    own.current().await.unwrap();
    exchange.of(&ann).await.unwrap();
    assert_eq!(double.count(), 3);
}

/// A server that fails is left alone for a moment, and one that comes back is noticed; a token in hand serves to its end.
#[tokio::test]
async fn failures() {
    let double = Double::start(Mode::Issue(json!(90))).await;
    let hand = Hand::new();
    let own = own(&double, &hand);
    assert!(own.amiss().is_none(), "nothing was tried");
    assert_eq!(shown(own.current().await), "own-1");
    double.set(Mode::Answer(503, String::new()));
    hand.pass(61.0);
    assert_eq!(shown(own.renewed().await), "unavailable");
    assert_eq!(shown(own.renewed().await), "unavailable");
    assert_eq!(double.count(), 2, "asked within the pause");
    assert_eq!(shown(own.current().await), "own-1", "the old one still lives");
    assert!(own.amiss().is_none());
    hand.pass(30.0);
    assert_eq!(shown(own.current().await), "unavailable");
    assert!(matches!(own.amiss(), Some(TokenFault::Call(_))), "{:?}", own.amiss());
    double.set(Mode::Hang);
    hand.pass(5.0);
    assert_eq!(shown(own.current().await), "unavailable", "a server that never answers");
    double.set(Mode::Issue(json!(90)));
    assert_eq!(shown(own.current().await), "unavailable", "within the pause");
    hand.pass(5.0);
    assert_eq!(shown(own.current().await), format!("own-{}", double.count()));
}

/// The token is there before it is needed, is renewed before it ends, and is asked for anew when it is refused.
#[tokio::test]
async fn kept_fresh() {
    let double = Double::start(Mode::Issue(json!(1))).await;
    let own = OwnToken::new(&request(&double), Arc::new(Instant::now)).unwrap();
    let stop = CancellationToken::new();
    let tending = tokio::spawn({
        let (own, stop) = (own.clone(), stop.clone());
        async move { own.keep_fresh(stop).await }
    });
    let soon = Duration::from_millis(5);
    let until = async |count: usize| {
        let asked = async {
            while double.count() < count {
                tokio::time::sleep(soon).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("the call that is waited for");
    };
    until(1).await;
    let first = own.current().await.unwrap();
    until(3).await;
    let asked = double.count();
    assert!(own.kept().is_some_and(|kept| *kept != *first), "an old token");
    // A long-lived one is not asked for again, until the backend refuses it.
    double.set(Mode::Issue(json!(3600)));
    until(asked + 1).await;
    // The call is counted before its answer is here, and one for a short-lived token may have been under way.
    let long = loop {
        let kept = own.current().await.unwrap();
        if kept.expiry > Instant::now() + Duration::from_secs(600) {
            break kept;
        }
        tokio::time::sleep(soon).await;
    };
    let asked = double.count();
    assert_eq!(own.refused(&long), Again::Another);
    until(asked + 1).await;
    assert_ne!(shown(own.current().await), long.token().reveal());
    stop.cancel();
    tending.await.unwrap();
}

/// A backend that refuses every token does not make the gateway ask in a loop.
#[tokio::test]
async fn refused_by_the_backend() {
    let double = Double::start(Mode::Issue(json!(3600))).await;
    let hand = Hand::new();
    let (own, exchange) = (own(&double, &hand), exchange(&double, &hand));
    let (ann, bob) = (subject("ann", None), subject("bob", None));
    let first = own.current().await.unwrap();
    assert_eq!(own.refused(&first), Again::Another);
    assert_eq!(own.refused(&first), Again::Another, "another request had it too");
    let second = own.current().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(own.refused(&first), Again::Another, "a late answer to the first");
    assert_eq!(own.refused(&second), Again::Same);
    assert_eq!(own.current().await.unwrap(), second);
    hand.pass(10.0);
    assert_eq!(own.refused(&second), Again::Another);

    let first = exchange.of(&ann).await.unwrap();
    let of_bob = exchange.of(&bob).await.unwrap();
    assert_eq!(exchange.refused(&ann, &first).await, Again::Another);
    let second = exchange.of(&ann).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(exchange.refused(&ann, &first).await, Again::Another);
    assert_eq!(exchange.refused(&ann, &second).await, Again::Same);
    assert_eq!(exchange.of(&ann).await.unwrap(), second);
    assert_eq!(exchange.of(&bob).await.unwrap(), of_bob, "bob has nothing to do with it");
    assert_eq!(exchange.refused(&bob, &of_bob).await, Again::Another);
}

/// An exchanged token is kept no longer than it lives, and no longer than the user's token.
#[tokio::test]
async fn exchanged_tokens_end() {
    // Of the exchanged token, of the user's, and when it is used for the last time.
    let table = [
        (json!(100), None, Some(90.0)),
        (json!(1000), None, Some(990.0)),
        (json!(100), Some(1000), Some(90.0)),
        (json!(100), Some(30), Some(30.0)),
        // Its last moments, by tolerance for clocks that differ.
        (json!(100), Some(0), None),
        (Value::Null, None, Some(290.0)),
    ];
    for (expires_in, own, last) in table {
        let double = Double::start(Mode::Issue(expires_in.clone())).await;
        let hand = Hand::new();
        let exchange = exchange(&double, &hand);
        assert_eq!(shown(exchange.of(&subject("ann", own)).await), "for-ann-1");
        if let Some(last) = last {
            hand.pass(last - 0.1);
            assert_eq!(shown(exchange.of(&subject("ann", None)).await), "for-ann-1", "{expires_in} {own:?}");
            hand.pass(0.2);
        }
        assert_eq!(shown(exchange.of(&subject("ann", None)).await), "for-ann-2", "{expires_in} {own:?}");
    }
}

/// A user who is refused is not asked about with every request, others are; failures of the server concern all.
#[tokio::test]
async fn users_that_are_refused() {
    let double = Double::start(Mode::Answer(400, json!({"error": "invalid_target"}).to_string())).await;
    let hand = Hand::new();
    let exchange = exchange(&double, &hand);
    let (ann, bob) = (subject("ann", None), subject("bob", None));
    assert_eq!(shown(exchange.of(&ann).await), "refused");
    assert_eq!(shown(exchange.of(&ann).await), "refused");
    assert_eq!(double.count(), 1);
    double.set(Mode::Issue(json!(60)));
    assert_eq!(shown(exchange.of(&bob).await), "for-bob-2");
    hand.pass(5.1);
    assert_eq!(shown(exchange.of(&ann).await), "for-ann-3");
    double.set(Mode::Answer(500, String::new()));
    for name in ["carl", "dora", "emil", "fay", "gus"] {
        assert_eq!(shown(exchange.of(&subject(name, None)).await), "unavailable");
    }
    assert_eq!(double.count(), 7, "four failures, then a pause");
    assert_eq!(shown(exchange.of(&ann).await), "for-ann-3", "what is kept is used");
}

/// A reload keeps tokens of the same request, and none of another.
#[tokio::test]
async fn taken_over() {
    let double = Double::start(Mode::Issue(json!(60))).await;
    let hand = Hand::new();
    let (before, users) = (own(&double, &hand), exchange(&double, &hand));
    before.current().await.unwrap();
    users.of(&subject("ann", None)).await.unwrap();
    let same = request(&double);
    let other = TokenRequest { scope: None, ..same.clone() };
    for (request, taken) in [(same, true), (other, false)] {
        let own = OwnToken::new(&request, hand.clock()).unwrap();
        own.take_over(&before);
        assert_eq!(shown(own.current().await) == "own-1", taken);
        let mut exchange = Exchange::new(&request, hand.clock()).unwrap();
        exchange.take_over(&users);
        assert_eq!(shown(exchange.of(&subject("ann", None)).await) == "for-ann-2", taken);
    }
}

/// Invariant 4 of the architecture.
#[tokio::test]
async fn nothing_shows_a_token() {
    let double = Double::start(Mode::Issue(json!(60))).await;
    let hand = Hand::new();
    let (own, exchange, ann) = (own(&double, &hand), exchange(&double, &hand), subject("ann-secret", None));
    let issued = own.current().await.unwrap();
    exchange.of(&ann).await.unwrap();
    double.set(Mode::Answer(
        400,
        json!({"error": "invalid_grant", "error_description": "ann-secret"}).to_string(),
    ));
    let refused = exchange.of(&subject("ann-secret-2", None)).await.unwrap_err();
    let text = format!("{own:?} {exchange:?} {ann:?} {issued:?} {refused:?} {refused}");
    for secret in ["own-1", "ann-secret", "s3cret"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("invalid_grant"), "{text}");
}
