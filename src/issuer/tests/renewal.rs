//! How what is kept stays young, and how it comes through a reload (TOK-30, FLT-009).

use super::double::Reply;
use super::rotation::{METADATA, scene};
use super::*;
use crate::issuer::Health;

/// FLT-009: what a reload keeps, by what it changed, while the issuer is away.
#[tokio::test]
async fn a_reload_keeps_what_still_holds() {
    let double = Double::start().await;
    let (ours, next) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k2"));
    let before = configured(&double, Validation::Jwt);
    let anchors = std::env::temp_dir().join(format!("pforte-anchors-{}.pem", std::process::id()));
    let own = rcgen::generate_simple_self_signed(vec!["as.test".to_owned()]).unwrap();
    std::fs::write(&anchors, own.cert.pem()).unwrap();
    let elsewhere = |path: &str| Some(format!("{}{path}", double.issuer()).parse().unwrap());
    let change = |change: &dyn Fn(&mut AuthorizationServer)| {
        let mut after = before.clone();
        change(&mut after);
        after
    };
    let table = [
        ("nothing", change(&|_| ()), "ok"),
        ("clock skew", change(&|after| after.clock_skew = Duration::from_secs(1)), "ok"),
        ("refresh", change(&|after| after.refresh = Duration::from_secs(60)), "ok"),
        (
            "audience",
            change(&|after| after.audience = vec!["urn:other".to_owned()]),
            "token_audience_mismatch",
        ),
        ("algorithms", change(&|after| after.algorithms = vec![Algorithm::RS256]), "token_algorithm_refused"),
        ("key address", change(&|after| after.jwks_url = elsewhere("/other")), "issuer_unavailable"),
        ("metadata address", change(&|after| after.metadata_url = elsewhere("/other")), "issuer_unavailable"),
        ("trust anchors", change(&|after| after.ca = Some(anchors.clone())), "issuer_unavailable"),
    ];
    for (words, after, means) in table {
        double.answer("/jwks", key_set(&[&ours, &next]));
        let hand = Hand::default();
        let first = issuers(std::slice::from_ref(&before), &hand);
        assert_eq!(outcome(&first, &ours.token(&double.issuer())).await, "ok");
        double.set("/jwks", Reply::Answer(503, String::new()));
        double.set(METADATA, Reply::Answer(503, String::new()));
        let second = Issuers::new(&[after], &Reading::sample(), Some(&first)).unwrap();
        // One token that was seen before, and one that was not.
        for signer in [&ours, &next] {
            assert_eq!(outcome(&second, &signer.token(&double.issuer())).await, means, "{words}");
        }
        let document = json!({"issuer": double.issuer(), "jwks_uri": format!("{}/jwks", double.issuer())});
        double.answer(METADATA, document);
    }
    let gone = Issuers::new(&[], &Reading::sample(), Some(&issuers(&[before], &Hand::default()))).unwrap();
    assert_eq!(outcome(&gone, &ours.token(&double.issuer())).await, "token_issuer_unknown");
    std::fs::remove_file(anchors).unwrap();
}

/// A finding is of the server that made it, as it was configured: another reading finds anew.
#[tokio::test]
async fn findings_do_not_outlive_their_server() {
    let double = Double::start().await;
    double.answer("/introspect", json!({"active": true, "scope": "user/*.rs", "exp": NOW + 3000}));
    let before = AuthorizationServer {
        introspection_cache: Duration::from_secs(600),
        ..configured(&double, Validation::Introspection)
    };
    let first = issuers(std::slice::from_ref(&before), &Hand::default());
    assert_eq!(outcome(&first, "abc").await, "ok");
    let same = Issuers::new(std::slice::from_ref(&before), &Reading::sample(), Some(&first)).unwrap();
    assert_eq!((outcome(&same, "abc").await, double.count("/introspect")), ("ok", 1));
    let mut other_base = Reading::sample();
    other_base.base = "https://gw.test/other".to_owned();
    let other = Issuers::new(std::slice::from_ref(&before), &other_base, Some(&same)).unwrap();
    assert_eq!((outcome(&other, "abc").await, double.count("/introspect")), ("ok", 2));
    let secret = IssuerClientAuth::SecretBasic(Secret::new("another".to_owned()));
    let client = Some(IssuerClient { id: "pforte".to_owned(), auth: secret });
    let renamed = AuthorizationServer { client, ..before };
    let renamed = Issuers::new(&[renamed], &other_base, Some(&other)).unwrap();
    assert_eq!((outcome(&renamed, "abc").await, double.count("/introspect")), ("ok", 3));
}

/// TOK-30: what has not changed is not sent again, and a 304 makes it as young as if it had been.
#[tokio::test]
async fn unchanged_keys_and_metadata_are_renewed() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let (tag, date) = ("\"v1\"", "Sun, 06 Nov 1994 08:49:37 GMT");
    let replies: [&dyn Fn(String) -> Reply; 3] =
        [&|body| Reply::Tagged(body, tag, vec![]), &|body| Reply::Dated(body, date), &|body| {
            Reply::Answer(200, body)
        }];
    for (number, reply) in replies.into_iter().enumerate() {
        let scene = scene().await;
        scene.double.set_metadata(reply);
        scene.double.set("/jwks", reply(key_set(&[&signer])));
        scene.issuers.refresh().await;
        for round in 2..20 {
            scene.hand.forward(300);
            scene.issuers.refresh().await;
            assert_eq!(scene.double.count("/jwks"), round, "reply {number}");
            assert_eq!(scene.double.count(METADATA), round, "reply {number}");
        }
        // Far older than keys may become, if they were not renewed.
        assert_eq!(scene.issuers.status()[0].health, Health::Ready);
        assert_eq!(scene.outcome(&signer).await, "ok", "reply {number}");
        let figures = scene.issuers.status()[0].figures;
        assert_eq!(figures.key_fetches, if number < 2 { [1, 18, 0] } else { [19, 0, 0] });
        assert_eq!(figures.keys_age, Some(Duration::ZERO));
        let conditional = scene.double.with_status(304);
        assert_eq!(conditional, if number < 2 { 36 } else { 0 }, "reply {number}");
        // Another set under another tag is taken, and the old tag is no longer sent.
        let next = Signer::new(Algorithm::ES256, "k2");
        scene.double.set("/jwks", Reply::Tagged(key_set(&[&next]), "\"v2\"", vec![]));
        scene.hand.forward(300);
        scene.issuers.refresh().await;
        assert_eq!(scene.outcome(&signer).await, "token_key_unknown");
        assert_eq!(scene.outcome(&next).await, "ok");
    }
}

/// A 304 says nothing to whoever keeps nothing, or asked elsewhere before.
#[tokio::test]
async fn unchanged_is_no_answer_to_a_new_question() {
    let scene = scene().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    scene.double.set("/jwks", Reply::Answer(304, String::new()));
    assert_eq!(scene.outcome(&signer).await, "issuer_unavailable");
    scene.double.set("/jwks", Reply::Tagged(key_set(&[&signer]), "\"v1\"", vec![]));
    scene.hand.forward(1);
    assert_eq!(scene.outcome(&signer).await, "ok");
    let issuer = scene.double.issuer();
    scene.double.answer(METADATA, json!({"issuer": issuer, "jwks_uri": format!("{issuer}/moved")}));
    scene.double.set("/moved", Reply::Tagged(key_set(&[]), "\"v1\"", vec![]));
    scene.hand.forward(300);
    scene.issuers.refresh().await;
    // The same tag at another address is another thing; that one was asked for whole, and is no key set.
    assert_eq!((scene.double.count("/moved"), scene.double.with_status(304)), (1, 1));
    assert!(scene.issuers.status()[0].complaint.as_ref().unwrap().contains("no usable signature key"));
}

/// How soon keys are fetched anew: by `refresh`, by what the server says if that is sooner, and not within ten seconds.
#[tokio::test]
async fn freshness_is_the_shorter_of_two() {
    let table = [
        (300, "", 300),
        (60, "", 60),
        (300, "max-age=3600", 300),
        (300, "max-age=60", 60),
        (300, "max-age=0, no-store", 10),
        (5, "max-age=0", 5),
    ];
    for (refresh, control, means) in table {
        let (double, hand) = (Double::start().await, Hand::default());
        let signer = Signer::new(Algorithm::ES256, "k1");
        let fields = || vec![("cache-control", control.to_owned())];
        double.set("/jwks", Reply::With(200, fields(), key_set(&[&signer])));
        double.set_metadata(|document| Reply::With(200, fields(), document));
        let refresh = Duration::from_secs(refresh);
        let server = AuthorizationServer { refresh, ..configured(&double, Validation::Jwt) };
        let issuers = issuers(&[server], &hand);
        issuers.refresh().await;
        // Replicas renew up to a tenth ahead.
        hand.forward_millis(means * 900 - 1);
        issuers.refresh().await;
        assert_eq!((double.count("/jwks"), double.count(METADATA)), (1, 1), "{refresh:?} {control}");
        hand.forward_millis(means * 100 + 1);
        issuers.refresh().await;
        assert_eq!((double.count("/jwks"), double.count(METADATA)), (2, 2), "{refresh:?} {control}");
    }
}

/// Keys are renewed in the background, so that no request of a busy gateway waits for them, whatever happens there.
#[tokio::test]
async fn renewal_keeps_nobody_waiting() {
    let scene = scene().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    scene.double.answer("/jwks", key_set(&[&signer]));
    assert_eq!(scene.outcome(&signer).await, "ok");
    scene.double.set("/jwks", Reply::Gated(key_set(&[&signer])));
    scene.hand.forward(300);
    let refreshing = Arc::clone(&scene.issuers);
    let refreshing = tokio::spawn(async move { refreshing.refresh().await });
    while scene.double.count("/jwks") < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.outcome(&signer).await, "ok");
    let mut other = payload(&scene.double.issuer());
    other["jti"] = json!("never seen");
    assert_eq!(outcome(&scene.issuers, &signer.sign(&signer.header(), &other)).await, "ok");
    scene.double.open_gate();
    refreshing.await.unwrap();
}
