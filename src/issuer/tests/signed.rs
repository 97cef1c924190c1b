//! Signed introspection answers (RFC 9701, TOK-48).

use super::double::Reply;
use super::*;
use crate::issuer::Health;
use crate::token::TokenClass;

const MEDIA: &str = "application/token-introspection+jwt";

fn demanding(double: &Double) -> AuthorizationServer {
    AuthorizationServer {
        introspection_response: IntrospectionResponse::Jwt,
        ..configured(double, Validation::Introspection)
    }
}

fn as_jwt(text: String) -> Reply {
    Reply::With(200, vec![("content-type", MEDIA.to_owned())], text)
}

fn header(signer: &Signer) -> Value {
    json!({"alg": format!("{:?}", signer.algorithm), "kid": signer.kid, "typ": "token-introspection+jwt"})
}

/// RFC 9701 §5, with some members changed; `"-"` takes one away.
fn claims(double: &Double, change: Value) -> Value {
    let mut claims = json!({
        "iss": double.issuer(), "aud": "pforte", "iat": NOW,
        "token_introspection": {"active": true, "scope": "user/*.rs", "client_id": "app", "exp": NOW + 3000}
    });
    for (name, value) in change.as_object().unwrap() {
        if value == "-" {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// Each claim beside the neighbour that is refused: with 503, for nothing was learned of the token.
#[tokio::test]
async fn what_an_answer_must_say() {
    let table = [
        (json!({}), "ok"),
        (json!({"aud": ["other", "pforte"]}), "ok"),
        (json!({"iat": NOW - 40}), "ok"),
        (json!({"iat": NOW + 50}), "ok"),
        (json!({"token_introspection": {"active": false}}), "token_inactive"),
        (json!({"token_introspection": {"active": "true"}}), "token_inactive"),
        (json!({"token_introspection": {"active": true, "aud": "other"}}), "token_audience_mismatch"),
        (json!({"token_introspection": [], "active": true}), "issuer_unavailable"),
        (json!({"token_introspection": "-", "active": true}), "issuer_unavailable"),
        (json!({"iss": "https://evil.test"}), "issuer_unavailable"),
        (json!({"iss": "-"}), "issuer_unavailable"),
        (json!({"aud": "other"}), "issuer_unavailable"),
        (json!({"aud": "https://gw.test/fhir"}), "issuer_unavailable"),
        (json!({"aud": []}), "issuer_unavailable"),
        (json!({"aud": "-"}), "issuer_unavailable"),
        (json!({"iat": NOW - 41}), "issuer_unavailable"),
        (json!({"iat": NOW + 51}), "issuer_unavailable"),
        (json!({"iat": NOW.to_string()}), "issuer_unavailable"),
        (json!({"iat": "-"}), "issuer_unavailable"),
    ];
    let signer = Signer::new(Algorithm::ES256, "k1");
    for (change, means) in table {
        let double = Double::start().await;
        double.answer("/jwks", key_set(&[&signer]));
        double.set("/introspect", as_jwt(signer.sign(&header(&signer), &claims(&double, change.clone()))));
        let issuers = issuers(&[demanding(&double)], &Hand::default());
        assert_eq!(outcome(&issuers, "abc").await, means, "{change}");
        let asked = double.asked("/introspect");
        assert_eq!(asked[0].accept.as_deref(), Some(MEDIA));
    }
}

/// The header of an answer, changed.
fn other(signer: &Signer, change: Value) -> Value {
    let mut header = header(signer);
    for (name, value) in change.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

/// Replies and what becomes of them.
async fn replied(double: &Double, table: Vec<(&str, Reply, &str)>) {
    for (words, reply, means) in table {
        double.set("/introspect", reply);
        let issuers = issuers(&[demanding(double)], &Hand::default());
        assert_eq!(outcome(&issuers, "abc").await, means, "{words}");
    }
}

/// Who may have signed it, and how: as strict as for tokens.
#[tokio::test]
async fn who_must_have_signed() {
    let double = Double::start().await;
    let (ours, theirs) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::ES256, "k1"));
    double.answer("/jwks", key_set(&[&ours]));
    let good = claims(&double, json!({}));
    let hmac = Signer::hmac(Algorithm::HS256, b"s3cret", "k1");
    let unlisted = Signer::new(Algorithm::RS512, "k1");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(&other(&ours, json!({"alg": "none"}))), part(&good));
    let changed = |change: Value| as_jwt(ours.sign(&other(&ours, change), &good));
    let table = vec![
        ("ours", changed(json!({})), "ok"),
        ("long name", changed(json!({"typ": MEDIA})), "ok"),
        ("theirs", as_jwt(theirs.sign(&header(&theirs), &good)), "issuer_unavailable"),
        ("unknown key", changed(json!({"kid": "k9"})), "issuer_unavailable"),
        ("HMAC", as_jwt(hmac.sign(&header(&hmac), &good)), "issuer_unavailable"),
        ("none", as_jwt(none), "issuer_unavailable"),
        ("not on the list", as_jwt(unlisted.sign(&header(&unlisted), &good)), "issuer_unavailable"),
        ("access token", changed(json!({"typ": "at+jwt"})), "issuer_unavailable"),
        ("plain JWT", changed(json!({"typ": "JWT"})), "issuer_unavailable"),
        ("critical extension", changed(json!({"crit": ["x"], "x": 1})), "issuer_unavailable"),
    ];
    replied(&double, table).await;
}

/// RFC 9701 §5, TOK-48: what it must be called; plain JSON where a signed answer is due is none.
#[tokio::test]
async fn what_it_must_be_called() {
    let double = Double::start().await;
    let ours = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&ours]));
    let good = claims(&double, json!({}));
    let signed = ours.sign(&header(&ours), &good);
    let plain = good["token_introspection"].to_string();
    let called =
        |name: &str, text: &str| Reply::With(200, vec![("content-type", name.to_owned())], text.to_owned());
    let table = vec![
        ("its name", called(MEDIA, &signed), "ok"),
        ("with a parameter", called(&format!("{MEDIA}; charset=utf-8"), &signed), "ok"),
        ("in capitals", called(&MEDIA.to_uppercase(), &signed), "ok"),
        ("another name", called("application/json", &signed), "issuer_unavailable"),
        ("a name beside it", called("application/token-introspection+jwtx", &signed), "issuer_unavailable"),
        ("no name", Reply::Answer(200, signed), "issuer_unavailable"),
        ("plain JSON", called("application/json", &plain), "issuer_unavailable"),
        ("plain JSON by that name", called(MEDIA, &plain), "issuer_unavailable"),
        ("nothing", called(MEDIA, ""), "issuer_unavailable"),
    ];
    replied(&double, table).await;
}

/// Keys are fetched for answers too, a new one included, and without keys nothing is believed.
#[tokio::test]
async fn keys_of_answers() {
    let (double, hand) = (Double::start().await, Hand::default());
    let (old, new) = (Signer::new(Algorithm::ES256, "old"), Signer::new(Algorithm::ES256, "new"));
    let issuers = issuers(&[demanding(&double)], &hand);
    let say = |signer: &Signer| {
        double.set("/introspect", as_jwt(signer.sign(&header(signer), &claims(&double, json!({})))));
    };
    say(&old);
    let refusal = admitted(&issuers, "abc").await.unwrap_err();
    assert_eq!(refusal.class(), TokenClass::Unavailable);
    assert_eq!(issuers.status()[0].health, Health::Away);
    double.answer("/jwks", key_set(&[&old]));
    hand.forward(5);
    issuers.refresh().await;
    assert_eq!(issuers.status()[0].health, Health::Ready);
    assert_eq!(outcome(&issuers, "abc").await, "ok");
    double.answer("/jwks", key_set(&[&new]));
    say(&new);
    assert_eq!(outcome(&issuers, "abc").await, "ok");
    assert_eq!(double.count("/jwks"), 3);
}

/// TOK-23, TOK-48: such an answer is no access token, whoever checks it.
#[tokio::test]
async fn an_answer_is_no_token() {
    let double = Double::start().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    double.answer("/jwks", key_set(&[&signer]));
    double.answer("/introspect", json!({"active": false}));
    let mut everything = payload(&double.issuer());
    everything["token_introspection"] = claims(&double, json!({}))["token_introspection"].clone();
    let answer = signer.sign(&header(&signer), &everything);
    let table = [
        (Validation::Jwt, TokenType::AccessToken, "token_type_refused"),
        (Validation::Jwt, TokenType::Any, "token_type_refused"),
        (Validation::Both, TokenType::Any, "token_type_refused"),
        (Validation::Introspection, TokenType::Any, "token_inactive"),
    ];
    for (validation, token_type, means) in table {
        let server = AuthorizationServer { token_type, ..configured(&double, validation) };
        assert_eq!(outcome(&issuers(&[server], &Hand::default()), &answer).await, means, "{validation:?}");
    }
    assert_eq!(double.count("/introspect"), 1);
}
