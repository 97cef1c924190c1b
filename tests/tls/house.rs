//! A gateway as a process, with a CA of its own, and clients that trust that CA.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SanType, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The gateway's name; `OTHER` is in its certificates too, and is not its own.
pub const HOST: &str = "gw.test";
pub const OTHER: &str = "other.test";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a gateway is run.
pub struct Plan {
    /// The kind of its key.
    pub kind: &'static SignatureAlgorithm,
    /// Lines of `[server.tls]`.
    pub tls: &'static str,
    /// How many days its certificate lasts.
    pub days: i64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { kind: &PKCS_ECDSA_P256_SHA256, tls: "", days: 300 }
    }
}

/// A running gateway. It is ended when this is dropped.
pub struct House {
    pub folder: PathBuf,
    pub address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl House {
    pub fn open(plan: &Plan) -> Self {
        Self::prepared(plan, |_, _| ())
    }

    /// Opens one after more files have been written; they are given the folder and the certificate.
    pub fn prepared(plan: &Plan, prepare: impl FnOnce(&Path, &CertificateDer<'static>)) -> Self {
        let (address, admin) = (free(), free());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "tls-{}-{}",
            std::process::id(),
            address.port()
        ));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "The tests' CA");
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
        let leaf = issue(&ca, &folder, "server", plan);
        std::fs::write(folder.join("ca.pem"), ca.pem()).expect("written");
        prepare(&folder, &leaf);
        std::fs::write(folder.join("gateway.toml"), settings(address, admin, plan.tls)).expect("written");
        let child = spawn(&folder);
        let mut house = Self { folder, address, admin, child, ca };
        house.await_listening();
        house
    }

    /// Replaces certificate and key, one after the other as tools do, each at once.
    pub fn renew(&self, name: &str, plan: &Plan) -> CertificateDer<'static> {
        issue(&self.ca, &self.folder, name, plan)
    }

    /// Writes other lines of `[server.tls]`.
    pub fn rewrite(&self, tls: &str) {
        let text = settings(self.address, self.admin, tls);
        replace(&self.folder.join("gateway.toml"), text.as_bytes());
    }

    /// A client that trusts the CA, speaks HTTP/1.1, and resumes nothing.
    pub fn client(&self) -> ClientConfig {
        self.client_with(rustls::crypto::aws_lc_rs::default_provider())
    }

    pub fn client_with(&self, provider: rustls::crypto::CryptoProvider) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).expect("a trust anchor");
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        config
    }

    /// The status and head of the answer to a request, and the certificate that was shown.
    pub fn asked(&self, config: &Arc<ClientConfig>, sni: &str, host: &str) -> std::io::Result<Asked> {
        let name = ServerName::try_from(sni.to_owned()).expect("a name");
        let client = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut stream = StreamOwned::new(client, self.wire()?);
        let request = format!("GET /fhir/Patient/1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut head = String::new();
        stream.read_to_string(&mut head)?;
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first).expect("a certificate").clone();
        Ok(Asked { head, shown: shown.into_owned() })
    }

    /// The same under its own name.
    pub fn ask(&self, config: &Arc<ClientConfig>) -> std::io::Result<Asked> {
        self.asked(config, HOST, &format!("{HOST}:{}", self.address.port()))
    }

    /// Waits until a certificate is shown; says how long that took.
    pub fn await_shown(&self, certificate: &CertificateDer<'_>) -> Duration {
        let (begun, client) = (Instant::now(), Arc::new(self.client()));
        while self.ask(&client).expect("a handshake").shown != *certificate {
            assert!(begun.elapsed() < PATIENCE, "the new certificate is not shown:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }

    pub fn wire(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("a connection");
        let host = self.admin;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.folder.join("log"))
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("a log");
        text
    }

    /// Waits until the log has a text so often.
    pub fn await_logged(&self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(begun.elapsed() < PATIENCE, "`{text}` is not logged {times} times:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn await_listening(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("a process");
            assert!(ended.is_none(), "the gateway ended with {ended:?}:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "the gateway does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// What came of a request.
pub struct Asked {
    pub head: String,
    pub shown: CertificateDer<'static>,
}

impl Asked {
    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

fn issue(
    ca: &CertifiedIssuer<'static, KeyPair>,
    folder: &Path,
    name: &str,
    plan: &Plan,
) -> CertificateDer<'static> {
    let key = KeyPair::generate_for(plan.kind).expect("a key");
    let mut params = CertificateParams::new(vec![HOST.to_owned(), OTHER.to_owned()]).expect("parameters");
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let now = jiff::Timestamp::now();
    let day = |days: i64| {
        let date = (now + jiff::SignedDuration::from_hours(24 * days)).to_zoned(jiff::tz::TimeZone::UTC);
        let part = |part: i8| u8::try_from(part).expect("a calendar");
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    // As if it had been issued a year ago, so that its end is far or near by the days that are left.
    (params.not_before, params.not_after) = (day(-365), day(plan.days));
    let leaf = params.signed_by(&key, ca).expect("signed");
    replace(&folder.join(format!("{name}.pem")), (leaf.pem() + &ca.pem()).as_bytes());
    replace(&folder.join(format!("{name}.key")), key.serialize_pem().as_bytes());
    leaf.der().clone()
}

/// Puts a file in the place of another at once, readable by its owner only.
pub fn replace(path: &Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("permitted");
    std::fs::rename(&new, path).expect("renamed");
}

fn spawn(folder: &Path) -> Child {
    let log = File::create(folder.join("log")).expect("a file for the log");
    Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway runs")
}

/// A port of loopback that nothing listens on. It lies outside of what the system gives to those who do not mind.
fn free() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() % 15).unwrap_or_default() * 100;
        let address = SocketAddr::from(([127, 0, 0, 1], 30_500 + start + step));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn settings(address: SocketAddr, admin: SocketAddr, tls: &str) -> String {
    let files = if tls.contains("certificate = ") {
        String::new()
    } else {
        "certificate = \"server.pem\"\nkey = \"server.key\"\n".to_owned()
    };
    let port = address.port();
    format!(
        "[server]\nlisten = \"{address}\"\npublic_url = \"https://{HOST}:{port}/fhir\"\n\
         [server.tls]\n{files}{tls}\n\
         [backend]\nurl = \"http://127.0.0.1:9/fhir\"\n\
         [[authorization_server]]\nissuer = \"https://127.0.0.1:9\"\n\
         [limits]\nheader_timeout = \"2s\"\n\
         [admin]\nlisten = \"{admin}\"\n\
         [telemetry]\nlog = \"warn\"\nlog_format = \"json\"\n"
    )
}
