//! From what the file says to settings that cannot be inconsistent, or every complaint at once.
//!
//! Each part returns what it could make and leaves its complaints in [`Check`]; only when there is none are the parts put
//! together. A key that already has a complaint is treated as absent, with its default.

mod backend;
mod certificate;
mod client;
mod discovery;
mod issuer;
mod limits;
mod outlets;
mod revocation;
mod rules;
mod seal;
mod secret;
mod server;
mod shared;
mod sink;
mod unbuilt;
mod web;

use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use super::complaint::{Complaint, Finding, Place};
use super::file::{File, Profile};
use super::settings::{self, Settings};
use super::shape::shape;
use super::source::{Source, Writings};
use super::surroundings::Surroundings;
use crate::scope::Reader;

/// Settings with the warnings that came up, or every complaint.
pub type Checked = Result<(Settings, Vec<Complaint>), Vec<Complaint>>;

impl Settings {
    /// Checks a configuration file: its syntax, every key, and what the keys mean together.
    ///
    /// # Errors
    ///
    /// Everything that must be mended, in the order of the file.
    pub fn check(source: &Source, surroundings: &Surroundings) -> Checked {
        let (mut check, file) = Check::begin(source, surroundings)?;
        let settings = check.settings(file);
        check.complaints.sort_by_key(|complaint| complaint.place);
        check.warnings.sort_by_key(|warning| warning.place);
        match settings {
            Some(settings) if check.complaints.is_empty() => Ok((settings, check.warnings)),
            _ => Err(check.complaints),
        }
    }

    /// Checks what a configuration file says of audit events, and nothing else.
    ///
    /// # Errors
    ///
    /// What must be mended there, in the order of the file.
    pub(super) fn check_audit(
        source: &Source,
        surroundings: &Surroundings,
    ) -> Result<settings::Audit, Vec<Complaint>> {
        let (mut check, file) = Check::begin(source, surroundings)?;
        let _other_complaints = check.settings(file);
        check.complaints.retain(Complaint::is_about_audit);
        check.complaints.sort_by_key(|complaint| complaint.place);
        match check.audit {
            Some(audit) if check.complaints.is_empty() => Ok(audit),
            _ => Err(check.complaints),
        }
    }
}

/// The types and their schema disagree: a defect here, said rather than hidden.
fn unread(source: &Source, error: &serde_json::Error) -> Complaint {
    Complaint {
        file: source.name().to_owned(),
        place: None,
        finding: Finding::Text(format!("the file fits the schema but was not read: {error}")),
        expected: "both to agree".to_owned(),
        mend: "report this as a defect of Pforte".to_owned(),
    }
}

/// Where complaints and warnings gather.
struct Check<'a> {
    source: &'a Source,
    surroundings: &'a Surroundings,
    writings: Writings,
    complaints: Vec<Complaint>,
    warnings: Vec<Complaint>,
    /// The files that were read.
    files: Vec<PathBuf>,
    /// What was made of `[audit]`, which some need although the rest must be mended.
    audit: Option<settings::Audit>,
}

impl<'a> Check<'a> {
    /// The file as far as it fits its schema, and complaints about what does not.
    fn begin(source: &'a Source, surroundings: &'a Surroundings) -> Result<(Self, File), Vec<Complaint>> {
        let table = source.parse()?;
        let shaped = shape(source, &table);
        let file = File::deserialize(&shaped.fitting).map_err(|error| vec![unread(source, &error)])?;
        let check = Check {
            source,
            surroundings,
            writings: shaped.writings,
            complaints: shaped.complaints,
            warnings: Vec::new(),
            files: Vec::new(),
            audit: None,
        };
        Ok((check, file))
    }
}

impl Check<'_> {
    fn settings(&mut self, file: File) -> Option<Settings> {
        self.refuse_unbuilt(&file);
        let profile = match file.profile {
            Some(Profile::Isik) => settings::Profile::Isik,
            Some(Profile::Smart) | None => settings::Profile::Smart,
        };
        let scopes = file.scopes.unwrap_or_default();
        let reader = Reader {
            version: backend::version(file.backend.as_ref()),
            v1: scopes.v1.unwrap_or(profile == settings::Profile::Smart),
        };
        let server = file.server.and_then(|server| self.server(server, profile));
        let public_url = server.as_ref().map(|server| &server.public_url);
        let servers = self.authorization_servers(file.authorization_server, public_url, profile);
        let backend = file.backend.and_then(|backend| self.backend(backend));
        let discovery = self.discovery(&file.discovery.unwrap_or_default(), profile, reader);
        let limits = self.limits(file.limits.unwrap_or_default());
        let written = rules::Written {
            malformed: scopes.malformed,
            patient: file.patient.unwrap_or_default(),
            rules: file.rule.unwrap_or_default(),
            operations: file.operation.unwrap_or_default(),
        };
        let frame = rules::Frame {
            server: server.as_ref(),
            backend: backend.as_ref(),
            bundle_entries: limits.bundle_entries,
        };
        let rules = self.rules(written, profile, reader, &frame);
        let cors_origins = self.origins(file.cors.unwrap_or_default());
        let audit = self.audit(file.audit.unwrap_or_default(), reader.version);
        self.audit = Some(audit.clone());
        let listen = server.as_ref().map(|server| server.listen.as_slice()).unwrap_or_default();
        let admin = self.admin(file.admin.unwrap_or_default(), listen);
        let telemetry = self.telemetry(file.telemetry.unwrap_or_default());
        let dpop = self.dpop(&file.dpop.unwrap_or_default());
        self.bound_tokens(backend.as_ref(), &dpop);
        let shared = file.shared_state.unwrap_or_default();
        let seal_key = self.seal_key(&shared);
        let shared_state = self.shared_state(&shared);
        Some(Settings {
            profile,
            server: server?,
            backend: backend?,
            authorization_servers: servers?,
            discovery: discovery?,
            rules: rules?,
            dpop,
            cors_origins,
            limits,
            audit,
            seal_key,
            shared_state,
            admin,
            telemetry,
            files: std::mem::take(&mut self.files),
        })
    }

    /// The key has a value that does not do.
    fn wrong(&mut self, key: &str, expected: impl Into<String>, mend: impl Into<String>) {
        let complaint = self.about(key, expected.into(), mend.into());
        self.complaints.push(complaint);
    }

    /// The key's value does, but somebody should look at it.
    fn warn(&mut self, key: &str, expected: impl Into<String>, mend: impl Into<String>) {
        let warning = self.about(key, expected.into(), mend.into());
        self.warnings.push(warning);
    }

    /// The key is demanded by others, and is not there.
    fn missing(&mut self, key: &str, expected: impl Into<String>, mend: impl Into<String>) {
        // A key whose value was taken out already has its complaint.
        if !self.is_written(key) {
            self.wrong(key, expected, mend);
        }
    }

    /// Whether the key is in the file, fitting or not.
    fn is_written(&self, key: &str) -> bool {
        self.writings.contains_key(key)
    }

    /// Whether the key's value has been complained of.
    fn has_complaint(&self, key: &str) -> bool {
        self.complaints.iter().any(|complaint| match &complaint.finding {
            Finding::Missing { key: of } | Finding::Unknown { key: of } | Finding::Value { key: of, .. } => {
                of == key
            }
            Finding::Text(_) => false,
        })
    }

    fn about(&self, key: &str, expected: String, mend: String) -> Complaint {
        let (place, finding) = match self.writings.get(key) {
            Some(written) => {
                (written.place, Finding::Value { key: key.to_owned(), value: written.value.clone() })
            }
            None => (self.nearest_place(key), Finding::Missing { key: key.to_owned() }),
        };
        Complaint { file: self.source.name().to_owned(), place: Some(place), finding, expected, mend }
    }

    /// The place of the innermost table or list around a key that is not there.
    fn nearest_place(&self, key: &str) -> Place {
        let mut around = key;
        while let Some(cut) = around.rfind(['.', '[']) {
            around = around.get(..cut).unwrap_or_default();
            if let Some(written) = self.writings.get(around) {
                return written.place;
            }
        }
        Place { line: 1, column: 1 }
    }

    /// A path of the file, seen from the working folder.
    fn path(&self, written: &Path) -> PathBuf {
        self.surroundings.path(written)
    }
}
