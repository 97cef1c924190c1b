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
mod sinks;

use std::io::{self, Write};
use std::path::Path;

use crate::config::{self, BackendCredentials, ClientCertificates, Complaint, Settings, TlsSuites};
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
    let tls = match settings.server.tls.as_ref().map(|tls| tls.suites) {
        Some(TlsSuites::BsiTr021022) => "TLS by BSI TR-02102-2",
        Some(TlsSuites::Modern) => "TLS",
        None => "no TLS",
    };
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
    writeln!(out, "  bound tokens {}", bound_tokens(settings))?;
    grants(settings, out)?;
    if let Some(shared) = &settings.shared_state {
        writeln!(out, "  replicas     share through {}", shared.url)?;
    }
    writeln!(out, "  audit        {}", settings.audit.path.display())?;
    settings.audit.sinks.iter().try_for_each(|sink| writeln!(out, "  audit sink   {}", sinks::named(sink)))
}

/// What the holder of a bound token must show.
fn bound_tokens(settings: &Settings) -> String {
    let mut shown = Vec::new();
    if settings.dpop.enabled {
        let nonce = if settings.dpop.nonce { " with a nonce" } else { "" };
        shown.push(format!("DPoP proofs{nonce}, at most {} s old", settings.dpop.window.as_secs()));
    }
    if settings.server.tls.as_ref().is_some_and(|tls| tls.client_certificates != ClientCertificates::Off) {
        shown.push("client certificates".to_owned());
    }
    if let Some(proxies) = &settings.server.proxies {
        shown.push(format!("certificates in `{}` of trusted proxies", proxies.header));
    }
    if shown.is_empty() { "are refused".to_owned() } else { format!("by {}", shown.join("; ")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{settings, settings_of};

    /// TOK-60 … TOK-66: what is accepted of bound tokens is said before anybody asks.
    #[test]
    fn bound_tokens_are_told() {
        let table = [
            ("", "by DPoP proofs, at most 60 s old"),
            (
                "[dpop]\nnonce = \"required\"\nclock_window = \"90s\"\n",
                "by DPoP proofs with a nonce, at most 90 s old",
            ),
            ("[dpop]\nenabled = false\n", "are refused"),
        ];
        for (more, means) in table {
            assert_eq!(bound_tokens(&settings(more)), means, "{more}");
        }
        let behind = settings_of(
            "[server]\npublic_url = \"https://gw.example/fhir\"\ninsecure_http = true\ntrusted_proxies = [\"10.0.0.1\"]\n\
             client_certificate_header = \"Client-Cert\"\n[backend]\nurl = \"http://127.0.0.1:8080/fhir\"\n\
             [[authorization_server]]\nissuer = \"https://as.example\"\n[dpop]\nenabled = false\n",
        );
        assert_eq!(bound_tokens(&behind), "by certificates in `client-cert` of trusted proxies");
    }
}
