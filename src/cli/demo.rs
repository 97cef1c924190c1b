//! `pforte demo`: the gateway between an embedded authorization server and an embedded FHIR server, at once.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::run::{House, Signals, runtime};
use super::{Failure, files};
use crate::config::{Settings, Source, Surroundings};
use crate::demo::authorization::Claims;
use crate::demo::{Demo, Options};
use crate::telemetry;

/// Whose codes say of an observation whether it is a laboratory result.
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Serves the demo until SIGTERM or SIGINT.
pub(super) fn demo(listen: SocketAddr) -> Result<u8, Failure> {
    if !listen.ip().is_loopback() {
        return Err(Failure::configuration(format!(
            "`--listen {listen}`: the demo knows no secrets, so it serves loopback only; choose 127.0.0.1 or [::1]"
        )));
    }
    let log = crate::config::Telemetry {
        log: "warn".to_owned(),
        log_format: crate::config::LogFormat::Auto,
        access_log: false,
        traces: None,
    };
    let _guard = telemetry::start(&log).map_err(Failure::configuration)?;
    runtime()?.block_on(async {
        let signals = Signals::take()?;
        let folder = Folder::make()?;
        let listen = free(listen).await;
        let public_url = format!("https://{listen}/fhir");
        let demo = Demo::start(Options::behind(&public_url)).await?;
        certificate(&folder.0, listen)?;
        let settings = settings(&folder.0, &demo, listen)?;
        let stop = CancellationToken::new();
        let house = House::open(settings, stop.clone()).await?;
        tokio::spawn(signals.stop(stop));
        let mut out = io::stdout();
        out.write_all(greeting(&folder.0, &demo, listen).as_bytes())?;
        out.flush()?;
        house.serve().await
    })
}

/// A folder of its own for certificate and audit events; gone with the demo.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("pforte-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// The address asked for, or a free port beside it when something listens there already.
async fn free(listen: SocketAddr) -> SocketAddr {
    if tokio::net::TcpListener::bind(listen).await.is_ok() {
        return listen;
    }
    let any = SocketAddr::new(listen.ip(), 0);
    match tokio::net::TcpListener::bind(any).await.and_then(|socket| socket.local_addr()) {
        Ok(free) => free,
        Err(_) => listen,
    }
}

/// A throw-away certificate for this address.
fn certificate(folder: &Path, listen: SocketAddr) -> Result<(), Failure> {
    let names = vec![listen.ip().to_string(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(Failure::work)?;
    std::fs::write(folder.join("server.pem"), made.cert.pem())?;
    std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.join("server.key"), std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// The same settings that a file would give, checked by the same code.
fn settings(folder: &Path, demo: &Demo, listen: SocketAddr) -> Result<Settings, Failure> {
    let origin = demo.authorization.origin();
    let text = format!(
        "[server]\nlisten = \"{listen}\"\npublic_url = \"https://{listen}/fhir\"\n\
         [server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [backend]\nurl = \"{}\"\n\
         [[authorization_server]]\nissuer = \"{}\"\n\
         [discovery]\ncapabilities = [\"launch-standalone\", \"client-public\", \"context-standalone-patient\", \
         \"permission-patient\", \"permission-user\", \"permission-v1\", \"permission-v2\"]\n\
         [cors]\norigins = [\"{origin}\"]\n[audit]\npath = \"audit\"\n",
        demo.fhir.base(),
        demo.authorization.issuer(),
    );
    let checked = Settings::check(&Source::new("demo", text), &Surroundings::new(folder, files::now()));
    match checked {
        Ok((settings, _)) => Ok(settings),
        Err(complaints) => {
            let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
            Err(Failure::work(lines.join("\n")))
        }
    }
}

fn greeting(folder: &Path, demo: &Demo, listen: SocketAddr) -> String {
    let base = format!("https://{listen}/fhir");
    let curl = format!("curl --silent --show-error --cacert {}", folder.join("server.pem").display());
    let mut text = format!(
        "Pforte demo: synthetic people, throw-away certificate, nothing is kept. Ctrl-C ends it.\n\n\
         FHIR base            {base}\nauthorization server {}\nFHIR server behind   {}\n\n",
        demo.authorization.issuer(),
        demo.fhir.base()
    );
    for (what, line) in whole(demo, &curl, &base).into_iter().chain(constrained(demo, &curl, &base)) {
        // Writing to a String does not fail.
        let _always = writeln!(text, "# {what}\n{line}\n");
    }
    let _always = writeln!(
        text,
        "# a SMART app: open the first address once and accept the certificate, then the second\n{base}/metadata\n{}",
        demo.app_url()
    );
    text
}

/// What a line to paste shows, and the line.
type Line = (&'static str, String);

/// Lines with grants for whole types, or for nothing.
fn whole(demo: &Demo, curl: &str, base: &str) -> Vec<Line> {
    let bearer = |scope: &str| format!("-H 'Authorization: Bearer {}'", demo.token(scope));
    let patients = bearer("system/Patient.rs");
    let everything = bearer("system/*.rs");
    vec![
        ("anybody may read where to get a token", format!("{curl} {base}/.well-known/smart-configuration")),
        ("permitted: a patient, with system/Patient.rs", format!("{curl} {patients} {base}/Patient/pat-01")),
        (
            "permitted: the same in XML",
            format!("{curl} {patients} -H 'Accept: application/fhir+xml' {base}/Patient/pat-01"),
        ),
        (
            "permitted: observations with their patients, with system/*.rs",
            format!("{curl} {everything} '{base}/Observation?_count=2&_include=Observation:subject'"),
        ),
        ("refused, 401: no token", format!("{curl} {base}/Patient/pat-01")),
        (
            "refused, 403: system/Patient.rs does not name Observation",
            format!("{curl} {patients} '{base}/Observation?patient=pat-01'"),
        ),
        (
            "refused, 403: a chain into a type that is not granted",
            format!("{curl} {patients} '{base}/Patient?organization.name=x'"),
        ),
        (
            "refused, 403: reading is not deleting",
            format!("{curl} {everything} -X DELETE {base}/Patient/pat-01"),
        ),
    ]
}

/// Lines with grants that reach a type in part.
fn constrained(demo: &Demo, curl: &str, base: &str) -> Vec<Line> {
    let launched = |scope: &str| {
        let token = demo.authorization.mint(Claims::new(scope).with("patient", "pat-01"));
        format!("-H 'Authorization: Bearer {token}'")
    };
    let own = launched("patient/*.rs");
    let laboratory = launched(&format!("patient/Observation.rs?category={CATEGORY}|laboratory"));
    vec![
        (
            "narrowed: of all observations those of pat-01, with patient/*.rs and that launch patient",
            format!("{curl} {own} '{base}/Observation?_count=2'"),
        ),
        (
            "narrowed: nothing is found of another patient",
            format!("{curl} {own} '{base}/Observation?patient=pat-02'"),
        ),
        ("refused, 404: another patient is not there", format!("{curl} {own} {base}/Patient/pat-02")),
        (
            "narrowed: laboratory results only, with patient/Observation.rs?category=…|laboratory",
            format!("{curl} {laboratory} '{base}/Observation?_count=2'"),
        ),
        (
            "refused, 404: a heart rate is no laboratory result",
            format!("{curl} {laboratory} {base}/Observation/obs-01-1"),
        ),
    ]
}
