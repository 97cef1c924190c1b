//! The whole program on loopback, beside HAProxy on the same work: TLS from a load generator, plain HTTP to nginx with
//! static FHIR answers. Run with `cargo bench --bench loopback`; needs nginx, haproxy and wrk.
//!
//! Two figures count: answers per second with everything on this machine, and CPU time per answer of the proxy alone,
//! which does not depend on what the load generator takes.
//!
//! Then what the audit costs: the same serving code with the ledger and with one that keeps nothing, measured by turns.
//! `cargo bench --bench loopback -- audit` measures that alone, `-- proxies` the rest.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people: it ends with words, prints a table and reads /proc"
)]

#[path = "loopback/audit.rs"]
mod audit;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use pforte::demo::authorization::{AuthorizationServer, Claims, Options};

const SECONDS: u32 = 8;
const CONNECTIONS: u32 = 32;

/// Ends a process that this program started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

struct Bench {
    folder: PathBuf,
    backend: u16,
    certificate: String,
    key: String,
}

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if let Some(ledger) = audit::Kept::asked_for() {
        return audit::serve(ledger);
    }
    let missing: Vec<_> = ["nginx", "haproxy", "wrk"]
        .into_iter()
        .filter(|tool| {
            Command::new(tool).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
        })
        .collect();
    if !missing.is_empty() {
        eprintln!("missing: {}; on Debian: apt-get install nginx-light haproxy wrk", missing.join(", "));
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let authorization =
        runtime.block_on(AuthorizationServer::start(Options::default())).expect("demo server");
    let bench = Bench::prepare();
    let _nginx = bench.nginx();
    let named: Vec<String> =
        std::env::args().filter(|it| ["audit", "proxies"].contains(&it.as_str())).collect();
    let asked = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if asked("proxies") {
        proxies(&bench, &authorization);
    }
    if asked("audit") {
        audit::measure(&bench, &authorization);
    }
    ExitCode::SUCCESS
}

/// Pforte beside HAProxy.
fn proxies(bench: &Bench, authorization: &AuthorizationServer) {
    let haproxy_port = free_port();
    let pforte_port = free_port();
    authorization.set_audience(&format!("https://127.0.0.1:{pforte_port}/fhir"));
    let haproxy = bench.haproxy(haproxy_port);
    let pforte = bench.pforte(pforte_port, authorization.issuer());
    let everything = authorization.mint(Claims::new("system/*.rs"));
    let limited = authorization.mint(Claims::new("system/Patient.rs system/Observation.rs"));
    println!("| work | proxy | answers/s | CPU µs/answer | p50 | p99 |");
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for (work, path) in [("read, 2 KiB", "Patient/pat-01"), ("search, 100 KiB", "Observation")] {
        for (name, port, child, token) in [
            ("HAProxy", haproxy_port, &haproxy, &everything),
            ("Pforte, grant for everything (streams)", pforte_port, &pforte, &everything),
            ("Pforte, grant by type (checked)", pforte_port, &pforte, &limited),
        ] {
            let before = cpu(child.0.id());
            let load = load(port, path, token, SECONDS);
            let used = cpu(child.0.id()).saturating_sub(before);
            let each = used.as_secs_f64() * 1e6 / f64::from(load.answers.max(1));
            println!(
                "| {work} | {name} | {:.0} | {each:.0} | {} | {} |",
                f64::from(load.answers) / f64::from(SECONDS),
                load.p50,
                load.p99
            );
            assert_eq!(load.refused, 0, "answers other than 2xx: the figures mean nothing");
        }
    }
}

impl Bench {
    fn prepare() -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pforte-bench-{}", std::process::id()));
        let site = folder.join("site/fhir");
        fs::create_dir_all(site.join("Patient")).expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let backend = free_port();
        fs::write(site.join("Patient/pat-01"), patient(2048)).expect("a file");
        fs::write(site.join("Observation"), searchset(backend, 100 * 1024)).expect("a file");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(folder.join("server.pem"), &certificate).expect("a file");
        fs::write(folder.join("server.key"), &key).expect("a file");
        fs::write(folder.join("both.pem"), format!("{certificate}{key}")).expect("a file");
        Self { folder, backend, certificate, key }
    }

    fn nginx(&self) -> Running {
        let config = format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr warn; worker_processes 1;\nevents {{ worker_connections 1024; }}\nhttp {{ access_log off; keepalive_requests 1000000; default_type application/fhir+json; types {{}}\n server {{ listen 127.0.0.1:{1}; root {0}/site; }} }}\n",
            self.folder.display(),
            self.backend
        );
        let path = self.folder.join("nginx.conf");
        fs::write(&path, config).expect("a file");
        self.start(Command::new("nginx").arg("-c").arg(&path), self.backend)
    }

    fn haproxy(&self, port: u16) -> Running {
        let config = format!(
            "global\n nbthread 2\n maxconn 1000\ndefaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n http-reuse always\nfrontend f\n bind 127.0.0.1:{port} ssl crt {}/both.pem alpn h2,http/1.1\n default_backend b\nbackend b\n server s 127.0.0.1:{}\n",
            self.folder.display(),
            self.backend
        );
        let path = self.folder.join("haproxy.cfg");
        fs::write(&path, config).expect("a file");
        self.start(Command::new("haproxy").arg("-db").arg("-f").arg(&path), port)
    }

    fn pforte(&self, port: u16, issuer: &str) -> Running {
        let path = self.settings(port, issuer, "audit");
        self.start(Command::new(env!("CARGO_BIN_EXE_pforte")).arg("run").arg("--config").arg(&path), port)
    }

    /// A configuration whose events are kept in this folder.
    fn settings(&self, port: u16, issuer: &str, audit: &str) -> PathBuf {
        let _named = (&self.certificate, &self.key);
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"https://127.0.0.1:{port}/fhir\"\n[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n[backend]\nurl = \"http://127.0.0.1:{}/fhir\"\n[[authorization_server]]\nissuer = \"{issuer}\"\n[audit]\npath = \"{audit}\"\n[telemetry]\nlog = \"warn\"\n",
            self.backend
        );
        let path = self.folder.join(format!("gateway-{port}.toml"));
        fs::write(&path, config).expect("a file");
        path
    }

    fn start(&self, command: &mut Command, port: u16) -> Running {
        let child = command.current_dir(&self.folder).stdout(Stdio::null()).spawn().expect("it starts");
        let running = Running(child);
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
            assert!(Instant::now() < until, "nothing listens on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.folder);
    }
}

struct Load {
    answers: u32,
    refused: u32,
    p50: String,
    p99: String,
}

fn load(port: u16, path: &str, token: &str, seconds: u32) -> Load {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "--latency"])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://127.0.0.1:{port}/fhir/{path}"))
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = |line: &str, at: usize| {
        let line = text.lines().find(|l| l.trim_start().starts_with(line)).unwrap_or("");
        line.split_whitespace().nth(at).unwrap_or("?").to_owned()
    };
    let answers = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok());
    let refused = word("Non-2xx", 4).parse().unwrap_or(0);
    Load { answers: answers.unwrap_or(0), refused, p50: word("50%", 1), p99: word("99%", 1) }
}

/// User and system time of a process so far.
fn cpu(process: u32) -> Duration {
    let stat =
        fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat")).unwrap_or_default();
    // Fields 14 and 15, counted behind the name in parentheses, in hundredths of a second.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn patient(bytes: usize) -> String {
    let note = "x".repeat(bytes.saturating_sub(200));
    format!(
        r#"{{"resourceType":"Patient","id":"pat-01","text":{{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">{note}</div>"}},"name":[{{"family":"Muster"}}]}}"#
    )
}

fn searchset(backend: u16, bytes: usize) -> String {
    let mut entries = String::new();
    let mut id = 0;
    while entries.len() < bytes {
        if id > 0 {
            entries.push(',');
        }
        entries.push_str(&format!(
            r#"{{"fullUrl":"http://127.0.0.1:{backend}/fhir/Observation/{id}","resource":{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}}]}},"subject":{{"reference":"Patient/pat-01"}},"effectiveDateTime":"2024-05-01T10:00:00Z","valueQuantity":{{"value":13.7,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}}}},"search":{{"mode":"match"}}}}"#
        ));
        id += 1;
    }
    format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{entries}]}}"#)
}
