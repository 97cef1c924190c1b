//! Reads a configuration for a command, and makes what commands need of it.

use std::path::Path;

use super::Failure;
use super::explain::Explainer;
use crate::config::{self, Complaint, Keys, Settings, Source, Surroundings};
use crate::gateway::Route;
use crate::release::Credentials;

/// What `explain` decides by when no configuration is named: an R4 server with all defaults.
const DEFAULTS: &str = r#"
[server]
public_url = "https://gw.example/fhir"
insecure_http = true

[backend]
url = "http://127.0.0.1:8080/fhir"

[[authorization_server]]
issuer = "https://as.example"
"#;

/// The settings of a file to serve by, and warnings.
pub(super) fn settings(path: &Path) -> Result<(Settings, Vec<Complaint>), Failure> {
    config::load_to_serve(path).map_err(|complaints| mend(&complaints))
}

/// What a file says of audit events; the rest of it need not be in order.
pub(super) fn audit(path: &Path) -> Result<config::Audit, Failure> {
    config::load_audit(path).map_err(|complaints| mend(&complaints))
}

/// Logs warnings of a configuration; once there is a log.
pub(super) fn warn(warnings: &[Complaint]) {
    for warning in warnings {
        tracing::warn!(complaint = %warning, "configuration");
    }
}

fn mend(complaints: &[Complaint]) -> Failure {
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    Failure::configuration(format!("the configuration must be mended\n{}", lines.join("\n")))
}

/// An explainer by a file, or by the defaults.
pub(super) fn explainer(path: Option<&Path>) -> Result<Explainer, Failure> {
    let now = now();
    let checked = match path {
        Some(path) => config::load_rules(path),
        None => Settings::check(&Source::new("defaults", DEFAULTS), &Surroundings::new(".", now)),
    };
    let (settings, _warnings) = checked.map_err(|complaints| mend(&complaints))?;
    let names =
        settings.authorization_servers.first().map(|server| server.claims.clone()).unwrap_or_default();
    let route =
        Route::new(settings.rules, keys()?.seal, Credentials::Gateway).map_err(Failure::configuration)?;
    Ok(Explainer::new(route, names, now))
}

/// Keys that live as long as the process.
pub(super) fn keys() -> Result<Keys, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::work("the system gives no random bytes"))?;
    Keys::new(&bytes).ok_or_else(|| Failure::work("the cipher for page links is not available"))
}

/// The time, for work that is no request.
#[expect(clippy::disallowed_methods, reason = "commands have no listener that reads the clock")]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
