//! How the gateway authenticates at an authorization server, and whether that is who it says (TOK-40, KEYS-010).

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::double::Reply;
use super::*;
use crate::config::{AssertionKey, CertificateFiles};
use crate::issuer::keys::{KeySet, Verdict};
use crate::token::Jws;

fn introspecting(double: &Double, auth: IssuerClientAuth) -> AuthorizationServer {
    let client = Some(IssuerClient { id: "pforte".to_owned(), auth });
    AuthorizationServer { client, ..configured(double, Validation::Introspection) }
}

fn active() -> Value {
    json!({"active": true, "scope": "user/*.rs", "client_id": "app", "exp": NOW + 3000})
}

/// RFC 7523 §3, SMART App Launch "client-confidential-asymmetric": an assertion of each call's own, that the public key
/// verifies.
#[tokio::test]
async fn private_key_jwt() {
    let algorithms =
        [Algorithm::ES256, Algorithm::ES384, Algorithm::RS384, Algorithm::PS256, Algorithm::EdDSA];
    for algorithm in algorithms {
        let double = Double::start().await;
        double.answer("/introspect", active());
        let signer = Signer::new(algorithm, "client-key");
        let pem = Secret::new(signer.pem.clone());
        let key = AssertionKey { pem, kid: Some("client-key".to_owned()), algorithm };
        let server = introspecting(&double, IssuerClientAuth::PrivateKeyJwt(key));
        let issuers = issuers(&[server], &Hand::default());
        let mut ids = Vec::new();
        for _ in 0..3 {
            assert_eq!(outcome(&issuers, "abc").await, "ok", "{algorithm:?}");
            let asked = double.last();
            assert_eq!(asked.authorization, None);
            let form: Vec<(String, String)> =
                url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
            let field = |name: &str| {
                let mut found = form.iter().filter(|(field, _)| field == name);
                assert!(found.clone().count() == 1, "{name} in {}", asked.body);
                found.next().unwrap().1.clone()
            };
            assert_eq!(field("client_id"), "pforte");
            assert_eq!(
                field("client_assertion_type"),
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            let assertion = AccessToken::new(&field("client_assertion")).unwrap();
            let jws = Jws::read(&assertion).unwrap();
            assert_eq!((jws.algorithm(), jws.kid()), (algorithm, Some("client-key")));
            let url = double.issuer().parse().unwrap();
            let published = KeySet::read(key_set(&[&signer]).as_bytes(), &url).unwrap();
            assert_eq!(published.verify(&jws), Verdict::Verified, "{algorithm:?}");
            let claims = jws.unverified();
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("pforte"), &json!("pforte")));
            assert_eq!(claims["aud"], json!(double.issuer()));
            let (made, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
            assert!((1..=300).contains(&(ends - made)), "SMART: at most five minutes");
            ids.push(claims["jti"].clone());
        }
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        assert_eq!(ids.len(), 3, "each assertion has an id of its own");
    }
}

/// A certificate authority with a folder for what it issues.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pforte-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn issue(&self, name: &str) -> (CertificateFiles, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let issued =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.folder.join(format!("{name}.{end}"));
        let files = CertificateFiles { certificate: at("pem"), key: at("key") };
        std::fs::write(&files.certificate, issued.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        (files, issued.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// TLS as `name`; clients may present a certificate of this authority.
    fn tls(&self, name: &str) -> ServerConfig {
        let (_, leaf, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(vec![leaf], key)
            .unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn trusting(server: AuthorizationServer, ca: &Path) -> AuthorizationServer {
    AuthorizationServer { ca: Some(ca.to_owned()), ..server }
}

/// RFC 8705 §2, §5: the certificate goes with the handshake, to the address for such clients.
#[tokio::test]
async fn mutual_tls() {
    let authority = Authority::new("mutual");
    let double = Double::start_tls(authority.tls("localhost")).await;
    let issuer = double.issuer();
    for path in ["/introspect", "/mtls/introspect"] {
        double.answer(path, active());
    }
    let (files, own, _) = authority.issue("pforte");
    let by_certificate = || {
        let server = introspecting(&double, IssuerClientAuth::Tls(files.clone()));
        issuers(&[trusting(server, &authority.ca())], &Hand::default())
    };
    assert_eq!(outcome(&by_certificate(), "abc").await, "ok");
    let asked = double.last();
    assert_eq!((asked.path.as_str(), asked.certificate.as_deref()), ("/introspect", Some(own.as_ref())));
    assert_eq!(asked.body, "token=abc&token_type_hint=access_token&client_id=pforte");
    assert_eq!(asked.authorization, None);

    let aliases = |address: &str| {
        let metadata = json!({
            "issuer": issuer, "introspection_endpoint": format!("{issuer}/introspect"),
            "mtls_endpoint_aliases": {"introspection_endpoint": address}
        });
        double.answer("/.well-known/oauth-authorization-server", metadata);
    };
    aliases(&format!("{issuer}/mtls/introspect"));
    assert_eq!(outcome(&by_certificate(), "abc").await, "ok");
    assert_eq!(double.last().path, "/mtls/introspect");
    // Without a certificate the alias is not for us.
    let secret = IssuerClientAuth::SecretBasic(Secret::new("s3cret".to_owned()));
    let server = trusting(introspecting(&double, secret), &authority.ca());
    assert_eq!(outcome(&issuers(&[server], &Hand::default()), "abc").await, "ok");
    assert_eq!((double.last().path.as_str(), double.last().certificate), ("/introspect", None));
    // KEYS-013: another host is for the configuration to name, not for metadata.
    aliases("https://mtls.evil.test/introspect");
    assert_eq!(outcome(&by_certificate(), "abc").await, "issuer_unavailable");
}

/// A reload takes a new certificate, and lets a server alone whose files only look new.
#[tokio::test]
async fn a_renewed_certificate_is_presented() {
    let authority = Authority::new("renewed");
    let double = Double::start_tls(authority.tls("localhost")).await;
    double.answer("/introspect", active());
    let (files, first, _) = authority.issue("pforte");
    let server = trusting(introspecting(&double, IssuerClientAuth::Tls(files)), &authority.ca());
    let servers = [AuthorizationServer { introspection_cache: Duration::from_secs(60), ..server }];
    let before = issuers(&servers, &Hand::default());
    assert_eq!(outcome(&before, "abc").await, "ok");
    assert_eq!(double.last().certificate.as_deref(), Some(first.as_ref()));
    let same = Issuers::new(&servers, &Reading::sample(), Some(&before)).unwrap();
    assert_eq!((outcome(&same, "abc").await, double.count("/introspect")), ("ok", 1));
    let (_, second, _) = authority.issue("pforte");
    let renewed = Issuers::new(&servers, &Reading::sample(), Some(&same)).unwrap();
    assert_eq!((outcome(&renewed, "abc").await, double.count("/introspect")), ("ok", 2));
    assert_eq!(double.last().certificate.as_deref(), Some(second.as_ref()));
}

/// KEYS-010, TOK-30: keys from a server that is not who it should be are no keys.
#[tokio::test]
async fn the_server_must_be_who_it_says() {
    let (authority, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let signer = Signer::new(Algorithm::ES256, "k1");
    let table = [
        (authority.tls("localhost"), Some(authority.ca()), "ok"),
        (authority.tls("localhost"), Some(stranger.ca()), "issuer_unavailable"),
        (authority.tls("localhost"), None, "issuer_unavailable"),
        (authority.tls("other.test"), Some(authority.ca()), "issuer_unavailable"),
    ];
    for (number, (tls, ca, means)) in table.into_iter().enumerate() {
        let double = Double::start_tls(tls).await;
        double.answer("/jwks", key_set(&[&signer]));
        let server = AuthorizationServer { ca, ..configured(&double, Validation::Jwt) };
        let issuers = issuers(&[server], &Hand::default());
        assert_eq!(outcome(&issuers, &signer.token(&double.issuer())).await, means, "{number}");
    }
}

/// A refusal of the gateway itself is not the client's fault (TOK-45).
#[tokio::test]
async fn refused_credentials_are_our_trouble() {
    let double = Double::start().await;
    for status in [400, 401, 403] {
        let body = json!({"error": "invalid_client"}).to_string();
        double.set("/introspect", Reply::Answer(status, body));
        let secret = IssuerClientAuth::SecretPost(Secret::new("wrong".to_owned()));
        let issuers = issuers(&[introspecting(&double, secret)], &Hand::default());
        assert_eq!(outcome(&issuers, "abc").await, "issuer_unavailable", "{status}");
    }
}
