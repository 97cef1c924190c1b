//! Which client certificates are let in (RFC 8705; TLS-008 of the hostile catalogue), over real sockets.

use rcgen::{
    BasicConstraints, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, NameConstraints, PKCS_ED25519, PKCS_RSA_SHA256,
    RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use ClientCertificates::{Off, Optional, Required};
use TlsSuites::{BsiTr021022, Modern};

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Identity = Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>;

const PLAIN: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;

fn authority(name: &str, kind: &'static SignatureAlgorithm) -> Issuer {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, name);
    let subtree = GeneralSubtree::DnsName("clients.test".to_owned());
    ca.name_constraints =
        Some(NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: Vec::new() });
    Issuer::self_signed(ca, KeyPair::generate_for(kind).unwrap()).unwrap()
}

/// A certificate with serial number 7, for years from 2000 to 4000, unless changed.
fn certificate(issuer: Option<&Issuer>, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    keyed(issuer, PLAIN, change)
}

fn keyed(
    issuer: Option<&Issuer>,
    kind: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    let key = KeyPair::generate_for(kind).unwrap();
    let mut params = CertificateParams::new(vec!["one.clients.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(7));
    change(&mut params);
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Some((made.unwrap().der().clone(), key))
}

fn again(identity: &Identity) -> Identity {
    identity.as_ref().map(|(certificate, key)| (certificate.clone(), key.clone_key()))
}

/// A list that revokes these serial numbers, good until a year.
fn revokes(issuer: &Issuer, serials: &[u64], until: i32) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().pem().unwrap()
}

fn ended(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2021, 1, 1);
}

fn coming(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(3000, 1, 1);
}

fn for_servers(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

fn wildcard(params: &mut CertificateParams) {
    let name = "*.elsewhere.test".try_into().unwrap();
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
}

fn numbered(serial: u64) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.serial_number = Some(SerialNumber::from(serial))
}

/// What a client is answered who shows this, after the kind of the handshake; nothing when it is refused.
async fn answered(house: &House, papers: &Papers, shown: Identity) -> Option<String> {
    let config = papers.client_auth(&[], aws_lc_rs::default_provider(), rustls::ALL_VERSIONS, shown);
    asked(house, config).await
}

async fn asked(house: &House, config: ClientConfig) -> Option<String> {
    let answer = async {
        let mut stream = house.tls(config).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind()?;
        stream.write_all(format!("GET /fhir/who HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).await.ok()?;
        let mut seen = String::new();
        stream.read_to_string(&mut seen).await.ok()?;
        Some(format!("{kind:?} {seen}"))
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap()
}

/// Each certificate under each mode: let in with it, let in without, or refused at the handshake.
#[tokio::test]
async fn modes() {
    let papers = Papers::new("clients");
    let (ca, other) = (authority("ours", PLAIN), authority("theirs", PLAIN));
    let client_ca = papers.write("clients.pem", ca.pem().as_bytes());
    let calls_itself_ca = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let own_as_server = certificate(None, for_servers);
    let table = [
        // what                       shown                                   off   optional required
        ("none", None, ["false", "false", "-"]),
        ("ours", certificate(Some(&ca), |_| ()), ["false", "true", "true"]),
        ("ours, ended", certificate(Some(&ca), ended), ["false", "-", "-"]),
        ("ours, coming", certificate(Some(&ca), coming), ["false", "-", "-"]),
        ("ours, for servers", certificate(Some(&ca), for_servers), ["false", "-", "-"]),
        ("ours, outside its names", certificate(Some(&ca), wildcard), ["false", "-", "-"]),
        ("of another CA", certificate(Some(&other), |_| ()), ["false", "-", "-"]),
        ("own", certificate(None, |_| ()), ["false", "true", "-"]),
        ("own, as tools make it", certificate(None, calls_itself_ca), ["false", "true", "-"]),
        ("own, for servers", own_as_server, ["false", "true", "-"]),
        ("own, ended", certificate(None, ended), ["false", "-", "-"]),
        ("own, coming", certificate(None, coming), ["false", "-", "-"]),
    ];
    for (asked, column) in [(Off, 0), (Optional, 1), (Required, 2)] {
        let client_ca = Some(client_ca.clone());
        let settings = ServerTls { client_certificates: asked, client_ca, ..papers.settings() };
        let house = House::open(limits(), Some(Arc::new(CertificateStore::open(settings).unwrap())));
        for (what, shown, wanted) in &table {
            let seen = answered(&house, &papers, again(shown)).await;
            let found = seen.as_deref().and_then(|seen| seen.rsplit_once("cert=")).map_or("-", |(_, it)| it);
            assert_eq!(found, wanted[column], "{asked:?} {what}: {seen:?}");
        }
    }
}

/// Revoked is refused, and so is what no list in force speaks of.
#[tokio::test]
async fn revocation_lists() {
    let papers = Papers::new("revoked");
    let (ca, second) = (authority("ours", PLAIN), authority("ours too", PLAIN));
    let client_ca = papers.write("clients.pem", format!("{}{}", ca.pem(), second.pem()).as_bytes());
    let shown = [
        certificate(Some(&ca), numbered(7)),
        certificate(Some(&ca), numbered(8)),
        certificate(Some(&second), numbered(7)),
        certificate(None, numbered(7)),
    ];
    let both = format!("{}{}", revokes(&ca, &[7], 4000), revokes(&second, &[], 4000));
    let table = [
        // lists                                       revoked, not, another CA's, own
        ("7 of the first CA", both, [false, true, true, true]),
        ("none of the second", revokes(&ca, &[7], 4000), [false, true, false, true]),
        ("past its time", revokes(&ca, &[], 2021), [false, false, false, true]),
    ];
    for (what, lists, wanted) in table {
        let client_crl = Some(papers.write("clients.crl", lists.as_bytes()));
        for mode in [Optional, Required] {
            let settings = ServerTls {
                client_certificates: mode,
                client_ca: Some(client_ca.clone()),
                client_crl: client_crl.clone(),
                ..papers.settings()
            };
            let house = House::open(limits(), Some(Arc::new(CertificateStore::open(settings).unwrap())));
            for (i, shown) in shown.iter().enumerate() {
                let wanted = wanted[i] && (mode == Optional || i != 3);
                let seen = answered(&house, &papers, again(shown)).await;
                assert_eq!(seen.is_some(), wanted, "{what}, {mode:?}, certificate {i}: {seen:?}");
            }
        }
    }
    for broken in ["", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
        let settings = ServerTls {
            client_certificates: Required,
            client_ca: Some(client_ca.clone()),
            client_crl: Some(papers.write("clients.crl", broken.as_bytes())),
            ..papers.settings()
        };
        let error = CertificateStore::open(settings).unwrap_err().to_string();
        assert!(error.contains("server.tls.client_crl"), "{error}");
    }
}

/// TLS-5: what clients and their CAs sign with.
#[tokio::test]
async fn signatures_of_clients() {
    let papers = Papers::new("client-schemes");
    let (ecdsa, rsa) = (authority("ecdsa", PLAIN), authority("rsa", &PKCS_RSA_SHA256));
    let client_ca = papers.write("clients.pem", format!("{}{}", ecdsa.pem(), rsa.pem()).as_bytes());
    let table = [
        // what                                 shown                                            modern bsi
        ("ECDSA by ECDSA", keyed(Some(&ecdsa), PLAIN, |_| ()), [true, true]),
        ("RSA by ECDSA", keyed(Some(&ecdsa), &PKCS_RSA_SHA256, |_| ()), [true, true]),
        ("Ed25519 by ECDSA", keyed(Some(&ecdsa), &PKCS_ED25519, |_| ()), [true, false]),
        ("ECDSA by PKCS#1 v1.5", keyed(Some(&rsa), PLAIN, |_| ()), [true, false]),
    ];
    for (suites, column) in [(Modern, 0), (BsiTr021022, 1)] {
        let settings = ServerTls {
            client_certificates: Required,
            client_ca: Some(client_ca.clone()),
            suites,
            ..papers.settings()
        };
        let house = House::open(limits(), Some(Arc::new(CertificateStore::open(settings).unwrap())));
        for (what, shown, wanted) in &table {
            let seen = answered(&house, &papers, again(shown)).await;
            assert_eq!(seen.is_some(), wanted[column], "{suites:?} {what}: {seen:?}");
        }
    }
}

/// TOK-60: a resumed session keeps its certificate and the thumbprint; under another CA, another list or another mode it is
/// not resumed.
#[tokio::test]
async fn resumed_sessions() {
    let papers = Papers::new("resumed");
    let (ca, other) = (authority("ours", PLAIN), authority("theirs", PLAIN));
    let lists = papers.write("clients.crl", revokes(&ca, &[7], 4000).as_bytes());
    let settings = |client_ca, mode, client_crl| ServerTls {
        client_certificates: mode,
        client_ca: Some(client_ca),
        client_crl,
        ..papers.settings()
    };
    let ours = papers.write("ours.pem", ca.pem().as_bytes());
    let theirs = papers.write("theirs.pem", other.pem().as_bytes());
    let first = || settings(ours.clone(), Required, None);
    let table = [
        // the configuration after       let in, with the certificate
        ("the same", first(), Some("true")),
        ("another CA", settings(theirs.clone(), Required, None), None),
        ("a list", settings(ours.clone(), Required, Some(lists)), None),
        ("optional, another CA", settings(theirs, Optional, None), None),
        ("off", settings(ours.clone(), Off, None), Some("false")),
    ];
    for (what, after, wanted) in table {
        let store = Arc::new(CertificateStore::open(first()).unwrap());
        let house = House::open(limits(), Some(Arc::clone(&store)));
        let shown = certificate(Some(&ca), |_| ());
        let client = papers.client_auth(&[], aws_lc_rs::default_provider(), rustls::ALL_VERSIONS, shown);
        for kind in ["Full", "Resumed"] {
            let seen = asked(&house, client.clone()).await;
            let as_wanted = |seen: &str| seen.starts_with(kind) && seen.ends_with("cert=true");
            assert!(seen.as_deref().is_some_and(as_wanted), "{what}, {kind}: {seen:?}");
        }
        store.replace(after).unwrap();
        let seen = asked(&house, client).await;
        let found = seen.as_deref().and_then(|seen| seen.rsplit_once("cert=")).map(|(_, it)| it);
        assert_eq!(found, wanted, "{what}: {seen:?}");
        assert!(seen.is_none_or(|seen| seen.starts_with("Full")), "{what}: resumed");
    }
}

/// A ticket outlives a certificate, so the certificate is judged again when a session is resumed.
#[test]
fn resumption_judges_again() {
    let papers = Papers::new("judged");
    let ca = authority("ours", PLAIN);
    let client_ca = Some(papers.write("clients.pem", ca.pem().as_bytes()));
    let (good, gone) = (certificate(Some(&ca), |_| ()), certificate(Some(&ca), ended));
    let own = certificate(None, |_| ());
    let table = [
        (Off, [true, true, true, true]),
        (Optional, [true, true, false, true]),
        (Required, [false, true, false, false]),
    ];
    for (mode, wanted) in table {
        let settings =
            ServerTls { client_certificates: mode, client_ca: client_ca.clone(), ..papers.settings() };
        let store = CertificateStore::open(settings).unwrap();
        let judged = [&None, &good, &gone, &own].map(|identity| {
            let chain = identity.as_ref().map(|(certificate, _)| std::slice::from_ref(certificate));
            store.current().still_accepts(chain)
        });
        assert_eq!(judged, wanted, "{mode:?}: none, good, ended, own");
    }
}
