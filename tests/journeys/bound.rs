//! Tokens bound to a client certificate (RFC 8705 §3; TOK-60, TOK-61): by the connection, by one that is resumed, and by
//! what a trusted proxy says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use pforte::demo::authorization::Claims;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::house::{HOST, House, Plan};
use crate::proof::Holder;
use crate::raw::statuses;

const TARGET: &str = "/fhir/Patient/pat-01";

/// A key pair with a certificate that it signed itself (RFC 8705 §2.2).
struct Identity {
    made: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Identity {
    fn new(name: &str) -> Self {
        Self { made: rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate") }
    }

    fn der(&self) -> &[u8] {
        self.made.cert.der()
    }

    /// What a token bound to it has as `cnf`.
    fn cnf(&self) -> serde_json::Value {
        json!({"x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, self.der()))})
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::try_from(self.made.signing_key.serialize_der()).expect("a key");
        let chain = vec![self.made.cert.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).expect("a key that fits"))
    }
}

/// Shows one of these certificates, or none; which one may change between two connections of one session.
#[derive(Debug)]
struct Wardrobe {
    certificates: Vec<Arc<CertifiedKey>>,
    worn: AtomicUsize,
}

impl ResolvesClientCert for Wardrobe {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificates.get(self.worn.load(Ordering::Relaxed)).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client with certificates that remembers sessions.
struct Visitor {
    config: Arc<ClientConfig>,
    wardrobe: Arc<Wardrobe>,
}

impl Visitor {
    fn new(house: &House, identities: &[&Identity], version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        let ours = CertificateDer::from_pem_slice(house.gateway.certificate().as_bytes());
        roots.add(ours.expect("a certificate")).expect("a trust anchor");
        let certificates = identities.iter().map(|identity| identity.certified()).collect();
        let wardrobe = Arc::new(Wardrobe { certificates, worn: AtomicUsize::new(0) });
        let provider = Arc::new(default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&wardrobe) as Arc<dyn ResolvesClientCert>);
        Self { config: Arc::new(config), wardrobe }
    }

    /// Shows this certificate at the next full handshake; one that there is not is none.
    fn wear(&self, number: usize) {
        self.wardrobe.worn.store(number, Ordering::Relaxed);
    }

    /// Sends one request on a connection of its own; gives the answer, and whether the session was resumed.
    async fn get(&self, house: &House, token: &str, fields: &[(&str, &str)]) -> (u16, String, HandshakeKind) {
        let stream = TcpStream::connect(house.address).await.expect("a connection");
        let name = ServerName::try_from(HOST).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector.connect(name, stream).await.expect("TLS");
        let scheme = if fields.iter().any(|(name, _)| *name == "DPoP") { "DPoP" } else { "Bearer" };
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "GET {TARGET} HTTP/1.1\r\nHost: {HOST}:{}\r\nAuthorization: {scheme} {token}\r\n{fields}Connection: close\r\n\r\n",
            house.address.port()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut all = Vec::new();
        // A close without notice ends it as well.
        drop(stream.read_to_end(&mut all).await);
        let text = String::from_utf8_lossy(&all).into_owned();
        let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
        (statuses(&text).first().copied().unwrap_or_default(), text, kind)
    }

    /// The answer must be this one; nothing of a refused request reaches the backend.
    async fn finds(
        &self,
        house: &House,
        words: &str,
        (token, fields): (&str, &[(&str, &str)]),
        expected: &str,
    ) {
        house.demo.fhir.forget();
        let (status, text, _) = self.get(house, token, fields).await;
        let log = house.demo.fhir.log();
        let fits = match expected {
            "" => status == 200 && log.len() == 1,
            "client_certificate_unreadable" => status == 400 && text.contains(expected) && log.is_empty(),
            reason => status == 401 && text.contains(&format!("reason {reason},")) && log.is_empty(),
        };
        let head: String = text.chars().take(900).collect();
        house.findings.check(fits, format!("{words}: expected `{expected}`, got {status} {head}"));
        for seen in log {
            for name in ["client-cert", "x-ssl-client-cert", "dpop"] {
                let leaked = seen.headers.contains_key(name);
                house.findings.check(!leaked, format!("{words}: the backend sees the field `{name}`"));
            }
        }
    }
}

/// A house that asks clients for certificates, with further lines of `[server]`.
async fn asking(lines: &str) -> House {
    let mut house = House::open(Plan::default()).await;
    let tls = "key = \"server.key\", client_certificates = \"optional\", client_ca = \"server.pem\"";
    let settings = house.settings("key = \"server.key\"", tls);
    house.rewrite(&settings.replacen("[server]", &format!("[server]\n{lines}"), 1));
    let findings = house.findings.clone();
    house.gateway.restart(&findings);
    house
}

fn ours() -> &'static Identity {
    static OURS: OnceLock<Identity> = OnceLock::new();
    OURS.get_or_init(|| Identity::new("client.test"))
}

/// TOK-60; POP-014, POP-015, JWT-078: with the certificate, without, with another; and bound to a key as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_the_connection() {
    let house = asking("").await;
    let (other, holder) = (Identity::new("other.test"), Holder::new(Algorithm::ES256));
    let visitor = |identity: &Identity| Visitor::new(&house, &[identity], &rustls::version::TLS13);
    let none = Visitor::new(&house, &[], &rustls::version::TLS13);
    let token = |cnf: serde_json::Value| house.claiming(Claims::new("system/*.rs").with("cnf", cnf));
    let bound = token(ours().cnf());
    visitor(ours()).finds(&house, "its own", (&bound, &[]), "").await;
    visitor(&other).finds(&house, "another", (&bound, &[]), "token_certificate_mismatch").await;
    none.finds(&house, "none", (&bound, &[]), "token_certificate_missing").await;
    let der = STANDARD.encode(ours().der());
    let field = [("Client-Cert", format!(":{der}:"))];
    let field = field.each_ref().map(|(name, value)| (*name, value.as_str()));
    none.finds(&house, "in a field", (&bound, &field), "token_certificate_missing").await;
    let free = house.token("system/*.rs");
    visitor(&other).finds(&house, "a token that is not bound", (&free, &[]), "").await;

    let url = format!("{}/Patient/pat-01", house.client.base());
    let prove = |token: &str| holder.proof("GET", &url, Some(token), |_| ());
    let mut cnf = ours().cnf();
    cnf["jkt"] = json!(holder.thumbprint());
    let both = token(cnf);
    visitor(ours()).finds(&house, "both", (&both, &[("DPoP", &prove(&both))]), "").await;
    visitor(ours()).finds(&house, "no proof", (&both, &[]), "token_bound").await;
    let proof = prove(&both);
    let reason = "token_certificate_mismatch";
    visitor(&other).finds(&house, "proof, other certificate", (&both, &[("DPoP", &proof)]), reason).await;
    let reason = "token_certificate_missing";
    none.finds(&house, "proof, no certificate", (&both, &[("DPoP", &prove(&both))]), reason).await;
    house.findings.check(metadata(&house).await == json!(true), "the metadata does not tell of certificates");
    house.close();
}

fn cut(field: &str) -> &str {
    field.get(..200).expect("a long field")
}

async fn metadata(house: &House) -> serde_json::Value {
    let document = house.client.ask("GET", "/.well-known/oauth-protected-resource/fhir").send().await.json();
    document["tls_client_certificate_bound_access_tokens"].clone()
}

/// POP-017, RFC 8446 §2.2: a resumed session has the certificate of its first handshake, whatever the client would show
/// now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_sessions() {
    let house = asking("").await;
    let other = Identity::new("other.test");
    let token = |identity: &Identity| house.claiming(Claims::new("system/*.rs").with("cnf", identity.cnf()));
    let (bound, others) = (token(ours()), token(&other));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let visitor = Visitor::new(&house, &[ours(), &other], version);
        let mut resumed = 0;
        for (number, token, expected) in
            [(0, &bound, 200), (1, &bound, 200), (1, &others, 401), (2, &bound, 200), (2, &others, 401)]
        {
            visitor.wear(number);
            let (status, text, kind) = visitor.get(&house, token, &[]).await;
            resumed += u32::from(kind == HandshakeKind::Resumed);
            let head: String = text.chars().take(300).collect();
            house.findings.check(
                status == expected,
                format!("{version:?} {kind:?} wearing {number}: expected {expected}, got {status} {head}"),
            );
        }
        house.findings.check(resumed == 4, format!("{version:?}: {resumed} of 4 sessions were resumed"));
    }
    house.close();
}

/// TOK-61: what a trusted proxy says counts, and only that; from anybody else it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_in_a_field() {
    let other = Identity::new("other.test");
    let sequence = |identity: &Identity| format!(":{}:", STANDARD.encode(identity.der()));
    let escaped = |identity: &Identity| {
        identity
            .made
            .cert
            .pem()
            .replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
            .replace('=', "%3D")
    };
    let (missing, mismatch) = ("token_certificate_missing", "token_certificate_mismatch");
    let unreadable = "client_certificate_unreadable";
    for (name, good, bad) in [
        ("Client-Cert", sequence(ours()), sequence(&other)),
        ("X-SSL-Client-Cert", escaped(ours()), escaped(&other)),
    ] {
        let lines = format!("trusted_proxies = [\"127.0.0.1\"]\nclient_certificate_header = \"{name}\"");
        let house = asking(&lines).await;
        let bound = house.claiming(Claims::new("system/*.rs").with("cnf", ours().cnf()));
        let plain = Visitor::new(&house, &[], &rustls::version::TLS13);
        let proxy = Visitor::new(&house, &[ours()], &rustls::version::TLS13);
        plain.finds(&house, "its own", (&bound, &[(name, &good)]), "").await;
        plain.finds(&house, "another", (&bound, &[(name, &bad)]), mismatch).await;
        plain.finds(&house, "none", (&bound, &[]), missing).await;
        plain.finds(&house, "empty", (&bound, &[(name, "")]), missing).await;
        plain.finds(&house, "two", (&bound, &[(name, &good), (name, &good)]), unreadable).await;
        plain.finds(&house, "cut", (&bound, &[(name, cut(&good))]), unreadable).await;
        plain.finds(&house, "(null)", (&bound, &[(name, "(null)")]), unreadable).await;
        proxy.finds(&house, "the proxy's own", (&bound, &[]), missing).await;
        proxy.finds(&house, "another than the proxy's", (&bound, &[(name, &bad)]), mismatch).await;
        house.findings.check(metadata(&house).await == json!(true), "the metadata does not tell");
        house.close();
    }
    let lines = "trusted_proxies = [\"192.0.2.0/24\"]\nclient_certificate_header = \"Client-Cert\"";
    let house = asking(lines).await;
    let bound = house.claiming(Claims::new("system/*.rs").with("cnf", ours().cnf()));
    let free = house.token("system/*.rs");
    let stranger = Visitor::new(&house, &[], &rustls::version::TLS13);
    let holder = Visitor::new(&house, &[ours()], &rustls::version::TLS13);
    let (good, bad) = (sequence(ours()), sequence(&other));
    stranger.finds(&house, "a stranger's word", (&bound, &[("Client-Cert", &good)]), missing).await;
    holder.finds(&house, "its own connection", (&bound, &[("Client-Cert", &bad)]), "").await;
    stranger.finds(&house, "nonsense of a stranger", (&free, &[("Client-Cert", "x")]), "").await;
    house.close();
}
