//! What is shown to clients, and how it changes while connections are open.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime;

use super::ocsp::{Says, response};
use super::profiles::shake;
use super::*;

/// TLS-1, and TLS-006 of the hostile catalogue: ALPN decides the protocol, and bytes cannot contradict it.
#[tokio::test]
async fn alpn_and_versions() {
    let papers = Papers::new("alpn");
    let house = House::open(limits(), Some(papers.store()));
    for (alpn, versions, wanted) in [
        (&["http/1.1"][..], rustls::ALL_VERSIONS, "Http1 TLSv1_3 Some(\"gw.test\")"),
        (&[], rustls::ALL_VERSIONS, "Http1 TLSv1_3 Some(\"gw.test\")"),
        (&["foo", "http/1.1"], &[&rustls::version::TLS12], "Http1 TLSv1_2 Some(\"gw.test\")"),
    ] {
        let config = papers.client_with(alpn, aws_lc_rs::default_provider(), versions);
        let mut stream = house.tls(config).await.unwrap();
        assert!(who(&mut stream).await.starts_with(wanted), "{alpn:?}");
    }
    assert!(house.tls(papers.client(&["foo"])).await.is_err(), "no common protocol");

    let stream = house.tls(papers.client(&["h2", "http/1.1"])).await.unwrap();
    let (mut send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(driver);
    for (path, status, text) in [("/fhir/who", 200, "Http2 TLSv1_3"), ("/fhir/x", 200, "GET /fhir/x")] {
        let request = Request::get(format!("https://gw.test{path}")).body(Empty::<Bytes>::new()).unwrap();
        let answer = send.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (status, Version::HTTP_2));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).starts_with(text));
    }
    let foreign = Request::get("https://evil.test/fhir").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(send.send_request(foreign).await.unwrap().status(), 421);
    drop(send);
    driving.abort();

    let mut lied = house.tls(papers.client(&["h2"])).await.unwrap();
    say(&mut lied, get("/fhir/who").as_bytes()).await;
    let seen = to_end(&mut lied).await;
    assert!(!seen.contains("HTTP/1.1"), "h2 was agreed, HTTP/1.1 answered: {seen:?}");
}

/// TLS-9: a new certificate serves new handshakes; a broken one changes nothing.
#[tokio::test]
async fn reload() {
    let mut papers = Papers::new("reload");
    let store = papers.store();
    let house = House::open(limits(), Some(Arc::clone(&store)));
    let mut before = house.tls(papers.client(&[])).await.unwrap();
    let old = papers.client(&[]);
    papers.renew(&rcgen::PKCS_ECDSA_P256_SHA256);
    store.reload().unwrap();
    assert!(house.tls(papers.client(&[])).await.is_ok());
    assert!(house.tls(old).await.is_err(), "the old certificate is still served");
    assert!(who(&mut before).await.contains("Http1"), "connections outlive a reload");

    std::fs::write(papers.folder.join("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = store.reload().unwrap_err().to_string();
    assert!(error.contains("server.tls"), "{error}");
    std::fs::write(papers.folder.join("server.pem"), "nothing").unwrap();
    let error = store.reload().unwrap_err().to_string();
    assert!(error.contains("server.tls.certificate"), "{error}");
    assert!(house.tls(papers.client(&[])).await.is_ok(), "a bad reload must change nothing");
}

/// A reload may name other files, another profile and other client certificates; open connections stay.
#[tokio::test]
async fn replaced_settings() {
    let (papers, others) = (Papers::new("replaced"), Papers::new("replacing"));
    let store = papers.store();
    let house = House::open(limits(), Some(Arc::clone(&store)));
    let mut before = house.tls(papers.client(&[])).await.unwrap();
    store.replace(ServerTls { suites: TlsSuites::BsiTr021022, ..others.settings() }).unwrap();
    assert!(house.tls(papers.client(&[])).await.is_err(), "the old certificate is still served");
    assert!(house.tls(others.client(&[])).await.is_ok());
    let refused = store.replace(ServerTls { key: papers.folder.join("server.key"), ..others.settings() });
    assert!(refused.unwrap_err().to_string().contains("server.tls"));
    assert!(house.tls(others.client(&[])).await.is_ok(), "a bad reload must change nothing");
    assert!(who(&mut before).await.contains("Http1"), "connections outlive a reload");
}

/// TLS-9: what is in force and ends, and when.
#[test]
fn what_ends() {
    let papers = Papers::new("ends");
    let client_ca = Some(papers.folder.join("server.pem"));
    let ocsp = response(&papers.der, Says::Good, 0, Some(4_000_000_000));
    let ocsp = Some(papers.write("server.ocsp", &ocsp));
    let settings = || ServerTls { client_ca: client_ca.clone(), ocsp: ocsp.clone(), ..papers.settings() };
    let store = CertificateStore::open(settings()).unwrap();
    let keys: Vec<_> = store.ends().iter().map(|ends| ends.key).collect();
    assert_eq!(keys, ["server.tls.certificate", "server.tls.client_ca", "server.tls.ocsp"]);
    assert_eq!(store.ends()[2].validity.until.as_second(), 4_000_000_000);
    assert_eq!(store.expires(), store.ends()[0].validity.until);

    let year = |year: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["gw.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        papers.write("server.pem", params.self_signed(&key).unwrap().pem().as_bytes());
        papers.write("server.key", key.serialize_pem().as_bytes());
    };
    year(3000);
    store.replace(papers.settings()).unwrap();
    assert_eq!(store.expires().to_string(), "3000-01-01T00:00:00Z");
    year(2021);
    let error = store.reload().unwrap_err().to_string();
    assert!(error.contains("ended at 2021"), "{error}");
    assert_eq!(store.expires().to_string(), "3000-01-01T00:00:00Z");
}

/// Believes everything and keeps what was stapled.
#[derive(Debug, Default)]
struct Stapled(std::sync::Mutex<Vec<u8>>);

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A response is stapled when it is good, for this certificate, and holds now. One past its time, or of the certificate
/// before, is left out; what says anything else is refused, and the old configuration stays.
#[test]
fn stapling() {
    let (papers, other) = (Papers::new("stapled"), Papers::new("not-stapled"));
    let stapled = |store: &CertificateStore| {
        let seen = Arc::new(Stapled::default());
        let mut client = papers.client(&[]);
        client.dangerous().set_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>);
        shake(store, &Arc::new(client)).ok().unwrap();
        std::mem::take(&mut *seen.0.lock().unwrap())
    };
    let far = Some(4_000_000_000);
    let good = response(&papers.der, Says::Good, 0, far);
    let file = papers.write("server.ocsp", &good);
    let settings = || ServerTls { ocsp: Some(file.clone()), ..papers.settings() };
    let store = CertificateStore::open(settings()).unwrap();
    assert_eq!(stapled(&store), good);
    let left_out = [
        ("ended", response(&papers.der, Says::Good, 0, Some(1_000_000_000))),
        ("not begun", response(&papers.der, Says::Good, 3_900_000_000, far)),
        ("of another certificate", response(&other.der, Says::Good, 0, far)),
    ];
    for (what, response) in left_out {
        papers.write("server.ocsp", &response);
        store.reload().unwrap();
        assert_eq!(stapled(&store), b"", "{what}");
    }
    papers.write("server.ocsp", &good);
    store.reload().unwrap();
    let refused = [
        ("revoked", response(&papers.der, Says::Revoked, 0, far)),
        ("unknown", response(&papers.der, Says::Unknown, 0, far)),
        ("nextUpdate", response(&papers.der, Says::Good, 0, None)),
        ("not a successful answer", vec![0x30, 3, 0x0a, 1, 3]),
        ("no OCSP response", b"nothing".to_vec()),
    ];
    for (what, response) in refused {
        papers.write("server.ocsp", &response);
        let error = store.reload().unwrap_err().to_string();
        assert!(error.contains("server.tls.ocsp") && error.contains(what), "{what}: {error}");
        assert_eq!(stapled(&store), good, "{what}: the old one stays");
    }
}
