//! Misbehaviour on demand: what tests of the gateway rely on.

use std::sync::Arc;

use bytes::Bytes;
use pforte::demo::authorization::{AuthorizationServer, Endpoint, Misbehaviour as Bad};
use pforte::demo::fhir_server::{Contents, FhirServer, Misbehaviour, Options};
use pforte::demo::trouble::Canned;
use pforte::demo::{Demo, Options as DemoOptions, authorization};
use serde_json::json;

use crate::client::{client, get, send};

async fn fhir() -> FhirServer {
    FhirServer::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn every_request_is_written_down() {
    let server = FhirServer::start(Options { content: Contents::Empty, ..Options::default() }).await.unwrap();
    let url = format!("{}/Patient?name=a%20b", server.base());
    client().post(&url).header("x-mark", "1").body("body").send().await.unwrap();
    let log = server.log();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].method.as_str(), &*log[0].target, log[0].header("x-mark")),
        ("POST", "/fhir/Patient?name=a%20b", Some("1"))
    );
    assert_eq!(log[0].body, Bytes::from("body"));
    server.forget();
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_bad_backend_returns_everyone() {
    let server = fhir().await;
    let url = format!("{}/Patient?_id=pat-01", server.base());
    assert_eq!(get(&url).await.json()["total"], 1);
    server.misbehave(Misbehaviour::IgnoreParameters);
    assert_eq!(get(&url).await.json()["total"], 24);
    server.behave();
    assert_eq!(get(&url).await.json()["total"], 1);
}

#[tokio::test]
async fn a_bad_backend_writes_to_whoever_comes_first() {
    let server = fhir().await;
    let url = format!("{}/Patient?identifier=urn:n|nobody", server.base());
    let deleted = || async { send(client().delete(&url)).await.text };
    assert!(deleted().await.contains("Nothing matched"));
    server.misbehave(Misbehaviour::IgnoreConditions);
    assert!(deleted().await.contains("Patient/pat-01 is deleted"));
    server.behave();
    assert!(deleted().await.contains("Nothing matched"));
}

#[tokio::test]
async fn answers_are_canned_wrong_or_huge() {
    let server = fhir().await;
    let url = format!("{}/Patient/pat-01", server.base());
    server.next(Misbehaviour::Answer(
        Canned::new(503, "busy").header("set-cookie", "a=b").header("retry-after", "7"),
    ));
    server.next(Misbehaviour::Answer(Canned::html()));
    server.next(Misbehaviour::WrongResource(json!({"resourceType": "Patient", "id": "pat-02"})));
    server.next(Misbehaviour::Huge(1_000_000));
    let busy = get(&url).await;
    assert_eq!((busy.status, busy.header("set-cookie"), &*busy.text), (503, "a=b", "busy"));
    assert!(get(&url).await.header("content-type").starts_with("text/html"));
    assert_eq!(get(&url).await.json()["id"], "pat-02");
    assert!(get(&url).await.text.len() > 1_000_000);
    assert_eq!(get(&url).await.json()["id"], "pat-01", "then all is well again");
}

#[tokio::test]
async fn connections_break_or_are_refused() {
    let server = fhir().await;
    let url = format!("{}/Patient/pat-01", server.base());
    server.next(Misbehaviour::Close);
    assert!(client().get(&url).send().await.is_err());
    server.next(Misbehaviour::Truncate);
    let cut = client().get(&url).send().await.unwrap();
    assert_eq!(cut.status(), 200);
    assert!(cut.bytes().await.is_err(), "half a body is no body");
    server.refuse_connections().await;
    assert!(client().get(&url).send().await.unwrap_err().is_connect());
    server.accept_connections().await.unwrap();
    assert_eq!(get(&url).await.status, 200);
}

#[tokio::test]
async fn what_hangs_is_answered_in_the_end() {
    let server = fhir().await;
    let url = format!("{}/Patient/pat-01", server.base());
    server.misbehave(Misbehaviour::Hang);
    let asked = tokio::spawn(async move { get(url).await.status });
    while server.seen() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished());
    server.behave();
    assert_eq!(asked.await.unwrap(), 200);
}

#[tokio::test]
async fn endpoints_of_the_authorization_server_misbehave_one_by_one() {
    let server = AuthorizationServer::start(authorization::Options::default()).await.unwrap();
    server.misbehave(Endpoint::Jwks, Bad::down());
    assert_eq!(get(server.url(Endpoint::Jwks)).await.status, 500);
    assert_eq!(get(server.url(Endpoint::OAuthMetadata)).await.status, 200);
    server.misbehave(Endpoint::Jwks, Bad::huge_jwks(1000));
    assert_eq!(get(server.url(Endpoint::Jwks)).await.json()["keys"].as_array().unwrap().len(), 1000);
    server.misbehave(Endpoint::Jwks, Bad::garbage());
    assert!(serde_json::from_str::<serde_json::Value>(&get(server.url(Endpoint::Jwks)).await.text).is_err());
    server.misbehave(Endpoint::Introspection, Bad::json(200, &json!({"active": "yes"})));
    assert_eq!(
        client().post(server.url(Endpoint::Introspection)).send().await.unwrap().text().await.unwrap(),
        "{\"active\":\"yes\"}"
    );
    server.misbehave(Endpoint::Jwks, Bad::Hold);
    let held = tokio::spawn(get(server.url(Endpoint::Jwks)));
    while server.calls(Endpoint::Jwks) < 4 {
        tokio::task::yield_now().await;
    }
    server.behave();
    assert_eq!(held.await.unwrap().status, 200);
    server.refuse_connections().await;
    assert!(client().get(server.url(Endpoint::Jwks)).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config =
        config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server =
        FhirServer::start(Options { tls: Some(Arc::new(config)), ..Options::default() }).await.unwrap();
    assert!(server.base().starts_with("https://"));
    let root = reqwest::Certificate::from_der(made.cert.der()).unwrap();
    for (only_first, version) in [(false, reqwest::Version::HTTP_2), (true, reqwest::Version::HTTP_11)] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let client = if only_first { builder.http1_only() } else { builder }.build().unwrap();
        let response = client.get(format!("{}/Patient/pat-01", server.base())).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
    assert_eq!(server.log()[0].authority, server.address().to_string());
}

#[tokio::test]
async fn the_demo_comes_up_whole() {
    let demo = Demo::start(DemoOptions::behind("https://127.0.0.1:1/fhir")).await.unwrap();
    assert!(get(demo.app_url()).await.text.contains("https://127.0.0.1:1/fhir"));
    assert_eq!(get(format!("{}/metadata", demo.fhir.base())).await.json()["experimental"], true);
    assert_eq!(demo.token("user/*.rs").split('.').count(), 3);
}
