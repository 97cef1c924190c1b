//! `pforte check`: what a configuration file means, or everything that must be mended in it.
//!
//! Offline it reads the file and what the file names, and contacts nothing. `--online` then asks the authorization
//! servers and the backend whether they fit.

mod backend;
mod constraints;
mod introspection;
mod narrowing;
mod online;
mod probe;
mod questions;

use std::io::{self, Write};
use std::path::Path;

use crate::config::{self, BackendCredentials, Complaint, Settings};
use crate::policy::{EncounterContext, LinkedPatients, Malformed, Unmatched, UpdateCreates};

pub use self::online::online;

/// How a check ended, as exit codes count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything fits.
    Fits,
    /// Something outside the file does not fit it.
    Misfits,
    /// The file must be mended.
    Mend,
}

impl Outcome {
    /// The exit code of contract section 1.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Fits => 0,
            Self::Misfits => 1,
            Self::Mend => 2,
        }
    }
}

/// Checks the file by itself: prints a summary and warnings, or every complaint. Gives the settings when they are
/// sound; without them the outcome is [`Outcome::Mend`].
///
/// # Errors
///
/// When `out` cannot be written.
pub fn check(path: &Path, out: &mut dyn Write) -> io::Result<Option<Settings>> {
    match config::load(path) {
        Ok((settings, warnings)) => {
            warn(&warnings, out)?;
            summary(path, &settings, out)?;
            Ok(Some(settings))
        }
        Err(complaints) => {
            for complaint in &complaints {
                writeln!(out, "{complaint}")?;
            }
            let things = if complaints.len() == 1 { "thing" } else { "things" };
            writeln!(out, "{} {things} to mend in {}", complaints.len(), path.display())?;
            Ok(None)
        }
    }
}

fn warn(warnings: &[Complaint], out: &mut dyn Write) -> io::Result<()> {
    warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
}

/// What the file means, in a few lines.
fn summary(path: &Path, settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    let profile = match settings.profile {
        config::Profile::Isik => "isik",
        config::Profile::Smart => "smart",
    };
    let tls = if settings.server.tls.is_some() { "TLS" } else { "no TLS" };
    let listen: Vec<String> = settings.server.listen.iter().map(ToString::to_string).collect();
    writeln!(out, "{} is sound (profile {profile})", path.display())?;
    writeln!(out, "  clients use  {} on {} ({tls})", settings.server.public_url, listen.join(", "))?;
    let backend = &settings.backend;
    let credentials = match &backend.credentials {
        BackendCredentials::Basic { .. } => "with Basic credentials",
        BackendCredentials::Bearer { .. } => "with a bearer token",
        BackendCredentials::ClientCredentials(_) => "with a token of its own",
        BackendCredentials::TokenExchange(_) => "with the client's token, exchanged",
        BackendCredentials::Forward => "with the client's own token",
        BackendCredentials::None => "without credentials",
    };
    writeln!(out, "  backend      {} (FHIR {}), {credentials}", backend.url, backend.fhir_version)?;
    for server in &settings.authorization_servers {
        let how = match server.validation {
            config::Validation::Both => "signature and introspection",
            config::Validation::Introspection => "introspection",
            config::Validation::Jwt => "signature",
        };
        let opaque = if server.opaque { ", opaque tokens too" } else { "" };
        let audience = server.audience.join(", ");
        writeln!(out, "  issuer       {} by {how}{opaque}, for {audience}", server.issuer)?;
    }
    grants(settings, out)?;
    writeln!(out, "  audit        {}", settings.audit.path.display())
}

/// What grants reach.
fn grants(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    let rules = &settings.rules;
    let v1 = if rules.scopes.v1 { "SMART v2 and v1" } else { "SMART v2" };
    let malformed = match rules.malformed {
        Malformed::Ignore => "malformed ones grant nothing",
        Malformed::Refuse => "malformed ones grant nothing and are named",
    };
    writeln!(out, "  scopes       {v1}; {malformed}")?;
    let mut patient = vec![match rules.patient.encounter {
        EncounterContext::Hint => "the launch patient's compartment".to_owned(),
        EncounterContext::Restrict => "the launch patient's and launch encounter's compartments".to_owned(),
    }];
    if !rules.patient.shared_types.is_empty() {
        let shared: Vec<&str> = rules.patient.shared_types.iter().map(|resource| resource.as_str()).collect();
        patient.push(format!("shared types {}", shared.join(", ")));
    }
    if rules.patient.linked == LinkedPatients::Visible {
        patient.push("Patient resources that link to the launch patient".to_owned());
    }
    if rules.patient.update_creates == UpdateCreates::Yes {
        patient.push("creating by PUT".to_owned());
    }
    if rules.patient.unmatched == Unmatched::Forbidden {
        patient.push("403 for what does not match".to_owned());
    }
    writeln!(out, "  patient/     {}", patient.join("; "))?;
    for rule in &rules.limits {
        let contexts: Vec<&str> = rule.contexts.iter().map(|level| level.as_str()).collect();
        let limits: Vec<String> = rule
            .limit
            .iter()
            .map(|limit| {
                format!("{}?{}", limit.resource.map_or("*", |resource| resource.as_str()), limit.only)
            })
            .collect();
        let when = rule.when.as_ref().map_or_else(String::new, |when| format!(" when `{}` fits", when.claim));
        writeln!(out, "  rule         {} reach only {}{when}", contexts.join(", "), limits.join(" and "))?;
    }
    constraints::print(settings, out)
}
