//! The gateway as operators run it: the program, a file, signals, an exit code.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pforte::audit::Entry;
use pforte::ledger::Reader;
use serde_json::Value;

use super::{Client, Findings, folder};

/// Longest wait for the gateway to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running gateway with a folder of its own. It is ended when this is dropped.
pub struct Gateway {
    /// Where its files lie.
    pub folder: PathBuf,
    child: Child,
    address: SocketAddr,
    certificate: String,
}

impl Gateway {
    /// Writes the file and runs the gateway on it. Certificate and key lie beside the file under `server.pem` and
    /// `server.key`, `secrets` under their names; the log goes to a file there.
    pub fn run(address: SocketAddr, host: &str, settings: &str, secrets: &[(&str, &str)]) -> Self {
        let folder = folder();
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        std::fs::write(folder.join("server.pem"), &certificate).expect("the certificate is written");
        private(&folder.join("server.key"), &made.signing_key.serialize_pem());
        for (name, secret) in secrets {
            private(&folder.join(name), secret);
        }
        std::fs::write(folder.join("gateway.toml"), settings).expect("the settings are written");
        let child = spawn(&folder);
        let mut gateway = Self { child, folder, address, certificate };
        gateway.await_listening();
        gateway
    }

    /// Runs the same again, once it has ended.
    pub fn start(&mut self) {
        self.child = spawn(&self.folder);
        self.await_listening();
    }

    /// Ends this one and runs the same again.
    pub fn restart(&mut self, findings: &Findings) {
        self.terminate(findings);
        self.start();
    }

    /// The certificate it shows, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        text(&self.folder.join("log"))
    }

    /// Everything in the audit spool.
    pub fn spool(&self) -> String {
        spool(&self.folder.join("audit"))
    }

    /// The events of one request that are durable by now.
    pub fn events(&self, request_id: &str) -> Vec<Entry> {
        let Ok(reader) = Reader::open(&self.folder.join("audit")) else { return Vec::new() };
        let events = reader.after(0, usize::MAX).expect("readable events");
        events.into_iter().map(|kept| kept.entry).filter(|entry| entry.request_id == request_id).collect()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.id());
        let sent = Command::new("sh").args(["-c", &line]).status().expect("a shell");
        assert!(sent.success(), "{line}: {sent}");
    }

    /// Ends it where it stands, as SIGKILL does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Waits until it has ended by itself; it must end with 0.
    pub fn ended(&mut self, findings: &Findings) {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().expect("a process to wait for") {
                Some(status) => {
                    findings.check(
                        status.code() == Some(0),
                        format!("SIGTERM: expected exit code 0, got {status}"),
                    );
                    return;
                }
                None if begun.elapsed() > PATIENCE => {
                    findings.add(format!("SIGTERM: the gateway still runs after {PATIENCE:?}"));
                    return;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Ends it by SIGTERM; it must end with 0.
    pub fn terminate(&mut self, findings: &Findings) {
        self.signal("TERM");
        self.ended(findings);
    }

    /// Ends it and looks at what it wrote: an event for each request, and no token anywhere (AUD-1, HTTP-21).
    pub fn close(&mut self, client: &Client, findings: &Findings) {
        self.terminate(findings);
        let (log, spool) = (self.log(), self.spool());
        for token in client.tokens() {
            // What stands behind the last point of a JWT is enough to forge it back together from what else is logged.
            let parts: Vec<&str> = token.split('.').collect();
            let secret = if let [_, _, signature] = parts.as_slice() { signature } else { token.as_str() };
            if secret.len() < 16 {
                continue;
            }
            for (name, text) in [("log", &log), ("audit spool", &spool)] {
                findings.check(!text.contains(secret), format!("the {name} has the token {token} in it"));
            }
        }
        for line in spool.lines().filter(|line| !line.trim().is_empty()) {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            findings.check(
                event["resourceType"] == "AuditEvent",
                format!("the audit spool has a line that is no AuditEvent: {line}"),
            );
        }
        for (request, id) in client.requests() {
            let events: Vec<&str> = spool.lines().filter(|line| line.contains(&id)).collect();
            let outcome = |line: &&str| {
                let event: Value = serde_json::from_str(line).unwrap_or_default();
                event["outcome"].as_str().unwrap_or_default().to_owned()
            };
            let outcomes: BTreeSet<String> = events.iter().map(outcome).collect();
            // One for each patient that was disclosed; of a batch also for each entry, which end as they end (AUD-7).
            let fits = outcomes.len() == 1 || (outcomes.len() > 1 && request.starts_with("POST  "));
            findings.check(
                fits,
                format!(
                    "{request}: expected audit events with the id {id} and one outcome, got {} with {outcomes:?}",
                    events.len()
                ),
            );
        }
        findings.check(!log.contains("panicked"), format!("the log tells of a panic:\n{}", panic(&log)));
    }

    fn await_listening(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("a process to wait for");
            assert!(ended.is_none(), "the gateway ended with {ended:?}:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "the gateway does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn spawn(folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a file for the log");
    Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway runs")
}

/// Writes what only the owner may read.
fn private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("permitted");
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        file.read_to_end(&mut bytes).expect("a file that can be read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All files of the spool, one after the other.
/// The events as R4 AuditEvents, one a line.
fn spool(folder: &Path) -> String {
    let Ok(reader) = Reader::open(folder) else { return String::new() };
    let events = reader.after(0, usize::MAX).expect("readable events");
    events.iter().map(|kept| format!("{}\n", kept.entry.to_audit_event(Some(&kept.id())))).collect()
}

/// What a panic said, and the lines around it.
fn panic(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().position(|line| line.contains("panicked")).unwrap_or_default();
    lines.iter().skip(at.saturating_sub(5)).take(20).copied().collect::<Vec<_>>().join("\n")
}
