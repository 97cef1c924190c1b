//! Who takes part, each in one process on one core with one worker: how it is configured and started.

use std::fs;

use crate::machine::{self, Running};
use crate::setting::{BASE, HOST, Setting};

/// A program in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Nginx,
    /// With larger buffers, so that a large answer needs fewer turns and no file.
    NginxWide,
    Haproxy,
    HaproxyJwt,
    Apache,
    Pforte,
}

impl Peer {
    pub const ALL: [Self; 6] =
        [Self::Nginx, Self::NginxWide, Self::Haproxy, Self::HaproxyJwt, Self::Apache, Self::Pforte];

    /// How tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxWide => "nginx, 64 KiB buffers",
            Self::Haproxy => "HAProxy",
            Self::HaproxyJwt => "HAProxy, jwt_verify",
            Self::Apache => "Apache, mod_auth_openidc",
            Self::Pforte => "Pforte",
        }
    }

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Nginx | Self::NginxWide => "nginx",
            Self::Haproxy | Self::HaproxyJwt => "haproxy",
            Self::Apache => "apache2",
            Self::Pforte => "pforte",
        }
    }
}

/// One that is running.
pub struct Contestant {
    pub port: u16,
    running: Running,
}

impl Contestant {
    /// Starts one and waits until it listens.
    pub fn start(peer: Peer, setting: &Setting) -> Self {
        let (mut running, port) = Self::launch(peer, setting);
        if let Err(problem) = running.listening(port) {
            let said = machine::text(&setting.folder.join("started.log"));
            let from = said.len().saturating_sub(2000);
            eprintln!("{}", said.get(from..).unwrap_or(&said));
            eprintln!("peers: {} does not start: {problem}", peer.name());
            std::process::exit(1);
        }
        Self { port, running }
    }

    /// Starts a command that serves by the file named last, and waits until it listens.
    pub fn serving(command: &[&str], setting: &Setting) -> Self {
        let port = machine::free_port();
        let file = setting.folder.join(format!("serving-{port}.toml"));
        fs::write(&file, pforte(setting, port)).expect("a file");
        let file = file.display().to_string();
        let mut running = Running::start(setting.core, &[command, &[&file]].concat(), &setting.folder);
        running.listening(port).expect("it listens");
        Self { port, running }
    }

    /// Starts one and does not wait.
    pub fn launch(peer: Peer, setting: &Setting) -> (Running, u16) {
        let port = machine::free_port();
        let file = setting.folder.join(format!("{}-{port}.conf", peer.program()));
        let text = match peer {
            Peer::Nginx => nginx(setting, port, ""),
            Peer::NginxWide => nginx(setting, port, WIDE),
            Peer::Haproxy => haproxy(setting, port, ""),
            Peer::HaproxyJwt => haproxy(setting, port, VERIFIES),
            Peer::Apache => apache(setting, port),
            Peer::Pforte => pforte(setting, port),
        };
        fs::write(&file, text).expect("a file");
        let file = file.display().to_string();
        let command: &[&str] = match peer {
            Peer::Nginx | Peer::NginxWide => &["nginx", "-c", &file],
            Peer::Haproxy | Peer::HaproxyJwt => &["haproxy", "-db", "-f", &file],
            // One process, which does not fork.
            Peer::Apache => &["apache2", "-X", "-f", &file],
            Peer::Pforte => &[&setting.gateway, "run", "--config", &file],
        };
        (Running::start(setting.core, command, &setting.folder), port)
    }

    /// The process.
    pub fn process(&self) -> u32 {
        self.running.process()
    }
}

const WIDE: &str =
    "proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;";

fn nginx(setting: &Setting, port: u16, more: &str) -> String {
    let (folder, upstream) = (setting.folder.display(), setting.upstream);
    format!(
        "daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log stderr warn; worker_processes 1; worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
 access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 16m;
 client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
 upstream fhir {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
 server {{
  listen 127.0.0.1:{port} ssl http2 backlog=4096; server_name {HOST};
  ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key; ssl_protocols TLSv1.3;
  http2_max_concurrent_streams 128;
  location / {{ proxy_pass http://fhir; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; {more} }}
 }}
}}
"
    )
}

/// Issuer, time and signature; HAProxy keeps no token it has verified.
const VERIFIES: &str = " http-request set-var(txn.bearer) http_auth_bearer
 http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
 http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
 http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
 http-request set-var(txn.now) date()
 http-request deny deny_status 401 unless { var(txn.alg) -m str RS256 ES256 }
 http-request deny deny_status 401 unless { var(txn.iss) -m str https://as.bench.test }
 http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
 http-request deny deny_status 401 if { var(txn.alg) -m str RS256 } !{ var(txn.bearer),jwt_verify(txn.alg,\"rs256.pem\") -m int 1 }
 http-request deny deny_status 401 if { var(txn.alg) -m str ES256 } !{ var(txn.bearer),jwt_verify(txn.alg,\"es256.pem\") -m int 1 }
";

fn haproxy(setting: &Setting, port: u16, verifies: &str) -> String {
    let (folder, upstream) = (setting.folder.display(), setting.upstream);
    format!(
        "global
 nbthread 1
 maxconn 9900
defaults
 mode http
 timeout connect 5s
 timeout client 600s
 timeout server 30s
 timeout http-keep-alive 600s
 http-reuse always
frontend f
 bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3 backlog 4096
{verifies} default_backend b
backend b
 server s 127.0.0.1:{upstream}
"
    )
}

fn apache(setting: &Setting, port: u16) -> String {
    let (folder, upstream) = (setting.folder.display(), setting.upstream);
    let modules = "/usr/lib/apache2/modules";
    let loaded: String = [
        "mpm_event",
        "authn_core",
        "authz_core",
        "authz_user",
        "auth_openidc",
        "proxy",
        "proxy_http",
        "socache_shmcb",
        "ssl",
        "unixd",
    ]
    .iter()
    .filter(|name| fs::exists(format!("{modules}/mod_{name}.so")).unwrap_or(false))
    .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
    .collect();
    format!(
        "ServerRoot {folder}
PidFile {folder}/apache-{port}.pid
DefaultRuntimeDir {folder}
{loaded}Listen 127.0.0.1:{port}
ServerName {HOST}
User www-data
Group www-data
ErrorLog /dev/stderr
LogLevel warn
StartServers 1
ServerLimit 1
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
SSLEngine on
SSLProtocol TLSv1.3
SSLCertificateFile {folder}/server.pem
SSLCertificateKeyFile {folder}/server.key
SSLSessionCache none
OIDCCryptoPassphrase bench
OIDCOAuthVerifyCertFiles RS256#{folder}/rs256.crt
OIDCOAuthRemoteUserClaim sub
<Location />
 AuthType oauth20
 Require claim iss:https://as.bench.test
</Location>
ProxyPass / http://127.0.0.1:{upstream}/ keepalive=On
"
    )
}

/// As shipped, with the audit spool on disk and metrics on, and no log line for each request: nor has any other.
fn pforte(setting: &Setting, port: u16) -> String {
    let (upstream, issuers) = (setting.upstream, setting.authority.settings());
    let admin = machine::free_port();
    format!(
        "[server]
listen = \"127.0.0.1:{port}\"
public_url = \"{BASE}\"
[server.tls]
certificate = \"server.pem\"
key = \"server.key\"
[backend]
url = \"http://127.0.0.1:{upstream}/fhir\"
compartment_search = true
{issuers}
[limits]
connections = 20000
idle_timeout = \"10m\"
header_timeout = \"5m\"
[audit]
path = \"audit-{port}\"
[admin]
listen = \"127.0.0.1:{admin}\"
[telemetry]
log = \"warn\"
"
    )
}
