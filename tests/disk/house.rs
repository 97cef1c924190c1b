//! A gateway that keeps its events on such a disk.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pforte::demo::authorization::Claims;
use pforte::demo::{Demo, Options, Received};

use crate::chance::Chance;
use crate::ground::Ground;
use crate::journeys::{HOST, free};
use crate::load::{Errand, Load};
use crate::support::{Client, Findings, folder};
use crate::told::{self, Told};

/// Longest wait for the gateway to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(40);

const PFORTE: &str = env!("CARGO_BIN_EXE_pforte");

pub struct House {
    pub demo: Demo,
    pub client: Client,
    pub findings: Findings,
    pub ground: Ground,
    folder: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
    load: Option<Arc<Load>>,
    told: Vec<Told>,
    backend: Vec<Received>,
    sent: usize,
}

impl House {
    pub async fn open(ground: Ground, on_failure: &str) -> Self {
        let (findings, folder, address, admin) = (Findings::default(), folder(), free(), free());
        let base = format!("https://{HOST}:{}/fhir", address.port());
        let demo = Demo::start(Options::behind(&base)).await.expect("the demo servers start");
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let written = [
            ("server.pem", made.cert.pem()),
            ("server.key", made.signing_key.serialize_pem()),
            ("gateway.toml", settings(&base, &demo, (address, admin), (&ground, on_failure))),
        ];
        for (name, text) in &written {
            let file =
                std::fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name));
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        }
        let client = Client::new(&base, address, &made.cert.pem(), &[], &findings);
        let mut house = Self {
            demo,
            client,
            findings,
            ground,
            folder,
            address,
            admin,
            child: None,
            log: Arc::default(),
            load: None,
            told: Vec::new(),
            backend: Vec::new(),
            sent: 0,
        };
        house.load = Some(Arc::new(Load::new(&house)));
        house.start().await;
        house
    }

    pub fn token(&self, scope: &str) -> String {
        self.demo.authorization.mint(Claims::new(scope))
    }

    /// Starts the gateway; it must serve.
    pub async fn start(&mut self) {
        if let Err(said) = self.try_start().await {
            panic!("the gateway does not start: {said}");
        }
    }

    /// Starts the gateway; what it says when it ends instead.
    pub async fn try_start(&mut self) -> Result<(), String> {
        let mut command = self.ground.command(PFORTE);
        command.args(["run", "--config"]).arg(self.folder.join("gateway.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the gateway runs");
        // Through a pipe: a file would be bounded like every other.
        let mut said = child.stderr.take().expect("its log");
        self.log = Arc::default();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = said.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        let child = self.child.insert(child);
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = child.try_wait().expect("a process to wait for") {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Err(format!("{status}: {}", self.log().trim()));
            }
            assert!(begun.elapsed() < PATIENCE, "the gateway neither listens nor ends:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends the gateway, however.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        self.keep_backend();
    }

    fn keep_backend(&mut self) {
        self.backend.extend(self.demo.fhir.log());
        self.demo.fhir.forget();
    }

    /// What it logged since it was started.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn process(&self) -> u32 {
        // nsenter and sh become the gateway: it is the same process.
        self.child.as_ref().map_or(0, Child::id)
    }

    pub fn fill(&mut self) {
        self.keep_backend();
        self.ground.fill(self.process());
    }

    pub fn empty(&self) {
        self.ground.empty(self.process());
    }

    /// Sends one request; what the client was told, when it was told anything to the end.
    pub async fn send(&mut self, errand: Errand) -> Option<&Told> {
        let id = format!("d{}", self.sent);
        self.sent += 1;
        let asked = self.load.as_ref().expect("clients").ask(errand, 0);
        let answer = asked.with(errand.name()).field("x-request-id", &id).send().await;
        if answer.status == 503 {
            answer.refused(503, "audit_unavailable").has("retry-after", "");
        }
        self.told.push(Told::of(errand, id, &answer)?);
        self.told.last()
    }

    /// The disk is full for a moment in the middle of everything.
    pub async fn full_under_load(&mut self, round: usize) {
        let load = Arc::clone(self.load.as_ref().expect("clients"));
        let workers = load.begin(round, &mut Chance::new(u64::try_from(round).expect("a number")));
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| self.ground.fill(self.process()));
        // What was allocated before has room for a while.
        self.is_ready(false, PATIENCE).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.empty();
        self.is_ready(true, PATIENCE).await;
        let told = workers.end().await;
        let refused = told.iter().filter(|told| told.is_unrecorded()).count();
        println!(
            "disk: under load {refused} of {} answers were refusals because nothing could be recorded",
            told.len()
        );
        self.findings.check(refused > 0, "nobody noticed under load that the disk was full");
        self.told.extend(told);
        self.keep_backend();
    }

    /// What was told so far is not held against the events.
    pub fn forget_told(&mut self) {
        self.told.clear();
        self.backend.clear();
        self.demo.fhir.forget();
    }

    /// Waits until `/ready` says yes or no; gives what it says.
    pub async fn is_ready(&self, ready: bool, patience: Duration) -> String {
        let begun = Instant::now();
        loop {
            let (status, text) = self.page("ready").await;
            if (status == 200) == ready {
                return text;
            }
            if begun.elapsed() > patience {
                self.findings.add(format!("`/ready` should be {ready} after {patience:?}, and says {text}"));
                return text;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}/{path}", self.admin)).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }

    /// A counter of `/metrics`, all its labels together.
    pub async fn counted(&self, name: &str) -> u64 {
        let (_, text) = self.page("metrics").await;
        let values = text.lines().filter(|line| line.starts_with(name));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// The chain holds.
    pub fn verify(&self, when: &str) {
        let mut command = self.ground.command(PFORTE);
        let output =
            command.args(["audit", "verify", "--path"]).arg(self.ground.place.join("audit")).output();
        let output = output.expect("the program runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        self.findings.check(output.status.success(), format!("not sound {when}: {said}"));
    }

    /// Ends the gateway as operators do, starts it once more so that it records what was interrupted, and holds everything
    /// against the events; fails with all that was found.
    pub fn close(mut self) {
        self.keep_backend();
        let ended = tokio::task::block_in_place(|| {
            let first = self.terminate();
            tokio::runtime::Handle::current().block_on(self.start());
            first && self.terminate()
        });
        self.findings.check(ended, "SIGTERM: expected exit code 0");
        self.verify("at the end");
        let copy = self.folder.join("copy");
        self.ground.copy(&copy);
        let tally = told::hold(&self.told, &self.backend, &copy, &self.findings);
        println!("disk: {tally}");
        self.findings.check(!self.log().contains("panicked"), "the log tells of a panic");
        let found = self.findings.take();
        assert!(found.is_empty(), "{} findings\n  {}", found.len(), found.join("\n  "));
    }

    fn terminate(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        drop(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status());
        child.wait().is_ok_and(|status| status.code() == Some(0))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn settings(
    base: &str,
    demo: &Demo,
    (address, admin): (SocketAddr, SocketAddr),
    (ground, on_failure): (&Ground, &str),
) -> String {
    format!(
        r#"
[server]
listen = "{address}"
public_url = "{base}"
tls = {{ certificate = "server.pem", key = "server.key" }}

[backend]
url = "{backend}"

[[authorization_server]]
issuer = "{issuer}"

[audit]
path = "{audit}"
on_failure = "{on_failure}"

[admin]
listen = "{admin}"

[telemetry]
log = "warn"
log_format = "json"
"#,
        backend = demo.fhir.base(),
        issuer = demo.authorization.issuer(),
        audit = ground.place.join("audit").display(),
    )
}
