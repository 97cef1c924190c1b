//! Each profile works with what it lists and with nothing beside it (TLS-1, TLS-3 … TLS-6), handshake by handshake.

use std::fmt::Debug;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms};
use rustls::{
    ClientConnection, Connection as Side, HandshakeKind, ServerConnection, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use super::*;
use TlsSuites::{BsiTr021022, Modern};

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

impl Papers {
    fn under(&self, suites: TlsSuites) -> CertificateStore {
        CertificateStore::open(ServerTls { suites, ..self.settings() }).unwrap()
    }
}

/// The server's end of a handshake that both agreed on.
pub(super) struct Agreed {
    server: ServerConnection,
}

impl Agreed {
    fn suite(&self) -> String {
        format!("{:?}", self.server.negotiated_cipher_suite().unwrap().suite())
    }

    fn group(&self) -> String {
        format!("{:?}", self.server.negotiated_key_exchange_group().unwrap().name())
    }

    fn resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// A handshake in memory, and what follows it at once, such as tickets.
pub(super) fn shake(store: &CertificateStore, client: &Arc<ClientConfig>) -> Result<Agreed, rustls::Error> {
    let name = ServerName::try_from("gw.test").unwrap();
    let mut client = Side::from(ClientConnection::new(Arc::clone(client), name)?);
    let mut server = Side::from(ServerConnection::new(Arc::clone(&store.current().config))?);
    loop {
        let moved = carry(&mut client, &mut server)? + carry(&mut server, &mut client)?;
        if moved == 0 {
            break;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "neither agreed nor refused");
    match server {
        Side::Server(server) => Ok(Agreed { server }),
        Side::Client(_) => panic!("a server became a client"),
    }
}

fn carry(from: &mut Side, to: &mut Side) -> Result<usize, rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(wire.len())
}

/// What a client offers; everything where nothing is said.
#[derive(Default)]
struct Offer {
    versions: Option<&'static SupportedProtocolVersion>,
    suites: Option<Vec<SupportedCipherSuite>>,
    groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    schemes: Option<Vec<SignatureScheme>>,
}

impl Offer {
    fn to(self, papers: &Papers) -> Arc<ClientConfig> {
        let mut provider = CryptoProvider {
            cipher_suites: self.suites.unwrap_or_else(|| aws_lc_rs::ALL_CIPHER_SUITES.to_vec()),
            kx_groups: self.groups.unwrap_or_else(|| aws_lc_rs::ALL_KX_GROUPS.to_vec()),
            ..aws_lc_rs::default_provider()
        };
        if let Some(schemes) = self.schemes {
            let WebPkiSupportedAlgorithms { all, mapping } = provider.signature_verification_algorithms;
            let mapping: Vec<_> =
                mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
            provider.signature_verification_algorithms =
                WebPkiSupportedAlgorithms { all, mapping: mapping.leak() };
        }
        let versions = self.versions.map_or(vec![TLS13, TLS12], |version| vec![version]);
        Arc::new(papers.client_with(&[], provider, &versions))
    }
}

/// What of `all` works when it is all that a client offers.
fn working<T: Copy>(all: &[T], name: impl Fn(T) -> String, mut shakes: impl FnMut(T) -> bool) -> Vec<String> {
    all.iter().copied().filter(|one| shakes(*one)).map(name).collect()
}

fn named<T: Debug>(one: T) -> String {
    format!("{one:?}")
}

/// TLS-3: the suites of a profile, and no other.
#[test]
fn suites() {
    let kinds = [("ECDSA", &PKCS_ECDSA_P256_SHA256), ("RSA", &PKCS_RSA_SHA256)];
    let keys = kinds.map(|(name, kind)| (name, Papers::of(&format!("suites-{name}"), kind)));
    for (profile, chacha) in [(Modern, true), (BsiTr021022, false)] {
        for (name, papers) in &keys {
            let store = papers.under(profile);
            let found = working(
                aws_lc_rs::ALL_CIPHER_SUITES,
                |suite| named(suite.suite()),
                |suite| {
                    let offer = Offer { suites: Some(vec![suite]), ..Offer::default() };
                    let versions = Some(if suite.tls13().is_some() { TLS13 } else { TLS12 });
                    shake(&store, &Offer { versions, ..offer }.to(papers)).is_ok()
                },
            );
            let mut expected =
                vec!["TLS13_AES_256_GCM_SHA384".to_owned(), "TLS13_AES_128_GCM_SHA256".to_owned()];
            expected.extend(chacha.then(|| "TLS13_CHACHA20_POLY1305_SHA256".to_owned()));
            expected.push(format!("TLS_ECDHE_{name}_WITH_AES_256_GCM_SHA384"));
            expected.push(format!("TLS_ECDHE_{name}_WITH_AES_128_GCM_SHA256"));
            expected.extend(chacha.then(|| format!("TLS_ECDHE_{name}_WITH_CHACHA20_POLY1305_SHA256")));
            assert_eq!(found, expected, "{profile:?} with a key for {name}");
        }
    }
}

/// TLS-4: the groups of a profile, and no other.
#[test]
fn groups() {
    let papers = Papers::new("groups");
    let hybrid = &["X25519MLKEM768"][..];
    let (curves, nist) = (&["X25519", "secp256r1", "secp384r1"][..], &["secp256r1", "secp384r1"][..]);
    let table = [
        (Modern, TLS13, [hybrid, curves].concat()),
        (Modern, TLS12, curves.to_vec()),
        (BsiTr021022, TLS13, nist.to_vec()),
        (BsiTr021022, TLS12, nist.to_vec()),
    ];
    for (profile, version, expected) in table {
        let store = papers.under(profile);
        let found = working(
            aws_lc_rs::ALL_KX_GROUPS,
            |group| named(group.name()),
            |group| {
                let offer = Offer { groups: Some(vec![group]), ..Offer::default() };
                shake(&store, &Offer { versions: Some(version), ..offer }.to(&papers)).is_ok()
            },
        );
        assert_eq!(found, expected, "{profile:?} {version:?}");
    }
}

/// Hybrid post-quantum key exchange is agreed on with every client that offers it first, at the price of a round trip when its
/// key share is another; and a client that cannot do it is served.
#[test]
fn hybrid_key_exchange_is_preferred() {
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let papers = Papers::new("hybrid");
    let (modern, bsi) = (papers.under(Modern), papers.under(BsiTr021022));
    let offers: [(Vec<&'static dyn SupportedKxGroup>, &str, &str); 3] = [
        (vec![X25519MLKEM768, X25519, SECP256R1], "X25519MLKEM768", "secp256r1"),
        (vec![X25519, SECP384R1], "X25519", "secp384r1"),
        (vec![SECP384R1, SECP256R1], "secp384r1", "secp384r1"),
    ];
    for (groups, by_modern, by_bsi) in offers {
        let client = || Offer { groups: Some(groups.clone()), ..Offer::default() }.to(&papers);
        assert_eq!(shake(&modern, &client()).ok().unwrap().group(), by_modern, "{groups:?}");
        assert_eq!(shake(&bsi, &client()).ok().unwrap().group(), by_bsi, "{groups:?}");
    }
    let library = Arc::new(papers.client(&[]));
    assert_eq!(shake(&modern, &library).ok().unwrap().group(), "X25519MLKEM768");
}

/// TLS-5: what our key signs with. PKCS#1 v1.5 and Ed25519 are not in BSI's tables.
#[test]
fn signature_schemes() {
    let (rsa, p256, p384) = (&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384);
    let pss = &["RSA_PSS_SHA512", "RSA_PSS_SHA384", "RSA_PSS_SHA256"][..];
    let pkcs1 = &["RSA_PKCS1_SHA512", "RSA_PKCS1_SHA384", "RSA_PKCS1_SHA256"][..];
    let table = [
        (Modern, rsa, TLS13, pss.to_vec()),
        (Modern, rsa, TLS12, [pss, pkcs1].concat()),
        (BsiTr021022, rsa, TLS13, pss.to_vec()),
        (BsiTr021022, rsa, TLS12, pss.to_vec()),
        (Modern, p256, TLS13, vec!["ECDSA_NISTP256_SHA256"]),
        (BsiTr021022, p256, TLS13, vec!["ECDSA_NISTP256_SHA256"]),
        (BsiTr021022, p384, TLS13, vec!["ECDSA_NISTP384_SHA384"]),
        (Modern, &PKCS_ED25519, TLS13, vec!["ED25519"]),
    ];
    let all: Vec<SignatureScheme> =
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes();
    for (profile, kind, version, expected) in table {
        let papers = Papers::of("schemes", kind);
        let store = papers.under(profile);
        let found = working(&all, named, |scheme| {
            let offer = Offer { schemes: Some(vec![scheme]), ..Offer::default() };
            shake(&store, &Offer { versions: Some(version), ..offer }.to(&papers)).is_ok()
        });
        assert_eq!(found, expected, "{profile:?} {kind:?} {version:?}");
    }
    let papers = Papers::of("schemes-ed25519", &PKCS_ED25519);
    let settings = ServerTls { suites: BsiTr021022, ..papers.settings() };
    let error = CertificateStore::open(settings).unwrap_err().to_string();
    assert!(error.contains("server.tls") && error.contains("ECDSA or RSA-PSS"), "{error}");
}

/// TLS-3: under BSI the server chooses among what the client offers; otherwise the client does, which knows whether it has
/// AES in hardware.
#[test]
fn who_chooses_the_suite() {
    use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
    let papers = Papers::new("order");
    let offered = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384];
    for (profile, expected) in
        [(Modern, "TLS13_AES_128_GCM_SHA256"), (BsiTr021022, "TLS13_AES_256_GCM_SHA384")]
    {
        let client = Offer { suites: Some(offered.clone()), ..Offer::default() }.to(&papers);
        assert_eq!(shake(&papers.under(profile), &client).ok().unwrap().suite(), expected, "{profile:?}");
    }
}

/// TLS-6: a session is resumed under its configuration and under no other, and never with early data.
#[test]
fn tickets_end_with_their_configuration() {
    let papers = Papers::new("tickets");
    for version in [TLS13, TLS12] {
        let store = papers.under(Modern);
        let mut client = (*Offer { versions: Some(version), ..Offer::default() }.to(&papers)).clone();
        client.enable_early_data = true;
        let client = Arc::new(client);
        let resumed = || shake(&store, &client).ok().unwrap().resumed();
        assert_eq!([resumed(), resumed()], [false, true], "{version:?}");
        let mut again =
            ClientConnection::new(Arc::clone(&client), ServerName::try_from("gw.test").unwrap()).unwrap();
        assert!(again.early_data().is_none(), "{version:?}: early data is offered");
        store.reload().unwrap();
        assert_eq!([resumed(), resumed()], [false, true], "{version:?} after a reload");
        store.replace(ServerTls { suites: BsiTr021022, ..papers.settings() }).unwrap();
        assert!(!resumed(), "{version:?} under another profile");
    }
}
