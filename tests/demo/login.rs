//! The authorization server: the code flow with PKCE, client credentials, introspection, keys.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pforte::demo::authorization::{AuthorizationServer, Claims, Endpoint, Options};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Got, client, get, send};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn server() -> AuthorizationServer {
    AuthorizationServer::start(Options { audience: "https://gw.example/fhir".into(), ..Options::default() })
        .await
        .unwrap()
}

fn request<'a>(server: &AuthorizationServer, changes: &[(&'a str, Option<&'a str>)]) -> Url {
    let redirect = format!("{}/app", server.origin());
    let mut all: Vec<(&str, Option<&str>)> = vec![
        ("response_type", Some("code")),
        ("client_id", Some("demo-app")),
        ("redirect_uri", Some(&redirect)),
        ("scope", Some("openid fhirUser launch/patient patient/*.rs offline_access system/*.rs")),
        ("state", Some("st")),
        ("aud", Some("https://gw.example/fhir")),
        ("code_challenge", Some(CHALLENGE)),
        ("code_challenge_method", Some("S256")),
    ];
    for (name, value) in changes {
        all.retain(|(known, _)| known != name);
        all.push((name, *value));
    }
    let given = all.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    Url::parse_with_params(&server.url(Endpoint::Authorization), given).unwrap()
}

fn flow_of(page: &str) -> String {
    page.split("name=\"flow\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn form(server: &AuthorizationServer, path: &str, fields: &[(&str, &str)]) -> Got {
    send(client().post(format!("{}{path}", server.origin())).form(fields)).await
}

fn answers(got: &Got) -> HashMap<String, String> {
    Url::parse(got.header("location")).unwrap().query_pairs().into_owned().collect()
}

/// Logs in as somebody and gives the code.
async fn code(server: &AuthorizationServer, user: &str, patient: Option<&str>) -> String {
    let page = get(request(server, &[])).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let fields = [("flow", &*flow_of(&page.text)), ("user", user), ("password", "demo")];
    let mut got = form(server, "/authorize/login", &fields).await;
    if let Some(patient) = patient {
        assert_eq!(got.status, 200, "the picker");
        got =
            form(server, "/authorize/patient", &[("flow", &flow_of(&got.text)), ("patient", patient)]).await;
    }
    assert_eq!(got.status, 303, "{}", got.text);
    let answers = answers(&got);
    assert_eq!((answers["state"].as_str(), answers["iss"].as_str()), ("st", server.issuer()));
    answers["code"].clone()
}

async fn exchange(server: &AuthorizationServer, code: &str, verifier: &str) -> Got {
    let redirect = format!("{}/app", server.origin());
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect),
        ("client_id", "demo-app"),
        ("code_verifier", verifier),
    ];
    form(server, "/token", &fields).await
}

fn part(token: &str, place: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(place).unwrap()).unwrap()).unwrap()
}

async fn introspect(server: &AuthorizationServer, token: &str) -> Value {
    let request =
        client().post(server.url(Endpoint::Introspection)).basic_auth("pforte", Some("pforte-demo-secret"));
    let got = send(request.form(&[("token", token)])).await;
    assert_eq!(got.status, 200);
    got.json()
}

#[tokio::test]
async fn a_practitioner_picks_a_patient_and_gets_a_token_for_them() {
    let server = server().await;
    let code = code(&server, "petersen", Some("pat-03")).await;
    let got = exchange(&server, &code, VERIFIER).await;
    assert_eq!(
        (got.status, got.header("cache-control"), got.header("access-control-allow-origin")),
        (200, "no-store", "*")
    );
    let body = got.json();
    assert_eq!(body["patient"], "pat-03");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(
        body["scope"], "openid fhirUser launch/patient patient/*.rs offline_access",
        "system/ is not for people"
    );
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(part(token, 0)["typ"], "at+jwt");
    let claims = part(token, 1);
    for (name, value) in [
        ("iss", server.issuer()),
        ("aud", "https://gw.example/fhir"),
        ("client_id", "demo-app"),
        ("sub", "petersen"),
        ("patient", "pat-03"),
        ("fhirUser", "https://gw.example/fhir/Practitioner/prac-1"),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let id = body["id_token"].as_str().unwrap();
    assert_eq!((&part(id, 0)["typ"], &part(id, 1)["aud"]), (&json!("JWT"), &json!("demo-app")));
    assert_eq!(introspect(&server, token).await["active"], true);
}

#[tokio::test]
async fn a_patient_is_their_own_context() {
    let server = server().await;
    let code = code(&server, "patient2", None).await;
    assert_eq!(exchange(&server, &code, VERIFIER).await.json()["patient"], "pat-02");
}

#[tokio::test]
async fn a_code_is_good_once_and_only_with_its_verifier() {
    let server = server().await;
    let first = code(&server, "patient1", None).await;
    let token = exchange(&server, &first, VERIFIER).await.json()["access_token"].as_str().unwrap().to_owned();
    let again = exchange(&server, &first, VERIFIER).await;
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_grant")));
    assert_eq!(
        introspect(&server, &token).await,
        json!({"active": false}),
        "RFC 6749 §4.1.2: what the code gave is revoked"
    );

    let second = code(&server, "patient1", None).await;
    let wrong = exchange(&server, &second, &VERIFIER.replace('d', "e")).await;
    assert_eq!((wrong.status, &wrong.json()["error"]), (400, &json!("invalid_grant")));
    assert_eq!(exchange(&server, &second, VERIFIER).await.status, 400, "no second guess");
}

#[tokio::test]
async fn requests_out_of_order_get_no_login() {
    let server = server().await;
    // (what is changed, sent back to the app with this error; None: a page, for there is nowhere to send it)
    let table = [
        (vec![("client_id", Some("nobody"))], None),
        (vec![("redirect_uri", Some("https://evil.example/"))], None),
        (vec![("redirect_uri", None)], None),
        (vec![("response_type", Some("token"))], Some("unsupported_response_type")),
        (vec![("code_challenge_method", Some("plain"))], Some("invalid_request")),
        (vec![("code_challenge", None)], Some("invalid_request")),
        (vec![("state", None)], Some("invalid_request")),
        (vec![("aud", Some("https://other.example/fhir"))], Some("invalid_request")),
        (vec![("launch", Some("unheard-of"))], Some("invalid_request")),
        (vec![("scope", Some("system/*.rs"))], Some("invalid_scope")),
    ];
    for (changes, error) in table {
        let got = get(request(&server, &changes)).await;
        match error {
            None => assert_eq!((got.status, got.header("location")), (400, ""), "{changes:?}"),
            Some(error) => assert_eq!((got.status, &*answers(&got)["error"]), (303, error), "{changes:?}"),
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_refusing_goes_back() {
    let server = server().await;
    let page = get(request(&server, &[])).await;
    let got = form(
        &server,
        "/authorize/login",
        &[("flow", &flow_of(&page.text)), ("user", "petersen"), ("password", "x")],
    )
    .await;
    assert_eq!(got.status, 401);
    let got = form(&server, "/authorize/login", &[("flow", &flow_of(&got.text)), ("decision", "deny")]).await;
    assert_eq!((got.status, &*answers(&got)["error"]), (303, "access_denied"));
}

#[tokio::test]
async fn a_launch_gives_its_context() {
    let server = server().await;
    let launch = server.launch("pat-09", Some("enc-09-2"));
    let page =
        get(request(&server, &[("launch", Some(&launch)), ("scope", Some("launch patient/*.rs"))])).await;
    let got = form(
        &server,
        "/authorize/login",
        &[("flow", &flow_of(&page.text)), ("user", "quast"), ("password", "demo")],
    )
    .await;
    let body = exchange(&server, &answers(&got)["code"], VERIFIER).await.json();
    assert_eq!((&body["patient"], &body["encounter"]), (&json!("pat-09"), &json!("enc-09-2")));
}

#[tokio::test]
async fn a_refresh_token_is_replaced_at_every_use() {
    let server = server().await;
    let code = code(&server, "patient1", None).await;
    let old = exchange(&server, &code, VERIFIER).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let fields = |token: &str| {
        [
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.to_owned()),
            ("client_id", "demo-app".to_owned()),
        ]
    };
    let ask = async |token: &str| send(client().post(server.url(Endpoint::Token)).form(&fields(token))).await;
    let new = ask(&old).await.json();
    assert_eq!(new["patient"], "pat-01");
    assert_eq!(ask(&old).await.status, 400);
    assert_eq!(ask(new["refresh_token"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn clients_prove_themselves_one_way() {
    let server = server().await;
    let base = [("grant_type", "client_credentials"), ("scope", "system/Patient.rs patient/*.rs")];
    // basic, client_id and client_secret in the form, status
    let table = [
        (Some(("demo-service", "demo-service-secret")), vec![], 200),
        (None, vec![("client_id", "demo-service"), ("client_secret", "demo-service-secret")], 200),
        (Some(("demo-service", "wrong")), vec![], 401),
        (None, vec![("client_id", "demo-service")], 401),
        (Some(("demo-service", "demo-service-secret")), vec![("client_secret", "demo-service-secret")], 401),
        (Some(("demo-service", "demo-service-secret")), vec![("client_id", "demo-app")], 401),
        (None, vec![("client_id", "demo-app")], 400),
        (None, vec![], 401),
    ];
    for (basic, fields, status) in table {
        let mut request = client().post(server.url(Endpoint::Token));
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let fields: Vec<_> = base.iter().chain(&fields).collect();
        let got = send(request.form(&fields)).await;
        assert_eq!(got.status, status, "{basic:?} {fields:?} {}", got.text);
        if status == 200 {
            assert_eq!(got.json()["scope"], "system/Patient.rs");
        }
    }
}

#[tokio::test]
async fn introspection_knows_every_token_and_tells_clients_only() {
    let server = server().await;
    let opaque = server.mint_opaque(Claims::new("patient/*.rs").with("patient", "pat-01"));
    assert!(!opaque.contains('.'));
    let said = introspect(&server, &opaque).await;
    assert_eq!(
        (&said["active"], &said["patient"], &said["scope"]),
        (&json!(true), &json!("pat-01"), &json!("patient/*.rs"))
    );
    let old = server.mint(Claims::new("user/*.rs").with("exp", 1_000_000));
    assert_eq!(introspect(&server, &old).await, json!({"active": false}));
    assert_eq!(introspect(&server, "unheard-of").await, json!({"active": false}));
    server.revoke(&opaque);
    assert_eq!(introspect(&server, &opaque).await, json!({"active": false}));
    let stranger = send(
        client().post(server.url(Endpoint::Introspection)).form(&[("token", "x"), ("client_id", "demo-app")]),
    )
    .await;
    assert_eq!(stranger.status, 401, "a public client may not ask");
    assert_eq!(server.calls(Endpoint::Introspection), 5);

    let own = server.mint(Claims::new("system/*.rs").with("client_id", "demo-service"));
    let foreign = server.mint(Claims::new("system/*.rs").with("client_id", "another"));
    for token in [&own, &foreign] {
        let request = client()
            .post(server.url(Endpoint::Revocation))
            .basic_auth("demo-service", Some("demo-service-secret"));
        assert_eq!(send(request.form(&[("token", token)])).await.status, 200);
    }
    assert_eq!(introspect(&server, &own).await["active"], false);
    assert_eq!(introspect(&server, &foreign).await["active"], true);
}

#[tokio::test]
async fn metadata_and_keys_are_where_they_belong() {
    let server = server().await;
    for endpoint in [Endpoint::OAuthMetadata, Endpoint::OpenIdMetadata] {
        let got = get(server.url(endpoint)).await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (200, "*"));
        let body = got.json();
        assert_eq!(body["issuer"], server.issuer());
        assert_eq!(body["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(body["jwks_uri"], server.url(Endpoint::Jwks));
    }
    server.override_metadata(&json!({"issuer": "https://other.example", "jwks_uri": null}));
    let body = get(server.url(Endpoint::OAuthMetadata)).await.json();
    assert_eq!((&body["issuer"], body.get("jwks_uri")), (&json!("https://other.example"), None));
    let new = server.rotate_key().unwrap();
    let keys = get(server.url(Endpoint::Jwks)).await.json()["keys"].as_array().unwrap().clone();
    assert_eq!((keys.len(), &keys[1]["kid"]), (2, &json!(new)));
    assert_eq!(part(&server.mint(Claims::new("x")), 0)["kid"], new.as_str());
    let app = get(server.url(Endpoint::App)).await;
    assert!(app.text.contains("https://gw.example/fhir") && app.text.contains("DEMO"));
}

#[tokio::test]
async fn an_issuer_with_a_path_is_found_at_both_places() {
    let options = Options { issuer: Some("http://as.example/tenant".into()), ..Options::default() };
    let server = AuthorizationServer::start(options).await.unwrap();
    for place in
        ["/.well-known/oauth-authorization-server/tenant", "/tenant/.well-known/openid-configuration"]
    {
        assert_eq!(
            get(format!("{}{place}", server.origin())).await.json()["issuer"],
            "http://as.example/tenant",
            "{place}"
        );
    }
}
