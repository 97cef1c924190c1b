//! `gateway.toml` → [`Settings`], or every complaint at once with line, column and the mend.
//!
//! [`File`] mirrors the file and is where keys are described; `pforte schema` prints what it generates. The checks turn
//! it into [`Settings`], which cannot be inconsistent, so that no other room checks again. Secrets come from files or the
//! environment, never from the file itself; a key that this version cannot honour is refused, never ignored.

mod check;
mod complaint;
mod file;
mod settings;
mod shape;
mod source;
mod staple;
mod surroundings;
mod validity;
mod values;

use std::path::Path;

pub use self::check::Checked;
pub use self::complaint::{Complaint, Finding, Place};
pub use self::file::File;
pub use self::settings::*;
pub use self::shape::schema;
pub use self::source::Source;
pub use self::staple::{StapleError, staple};
pub use self::surroundings::Surroundings;
pub use self::validity::{Standing, Validity};

/// Reads and checks a configuration file; the second part of a good result is warnings.
///
/// Reads the files and environment variables that it names, and the clock. Contacts nothing.
///
/// # Errors
///
/// Everything that must be mended, in the order of the file.
pub fn load(path: &Path) -> Checked {
    load_in(path, Surroundings::of_file(path))
}

/// As [`load`], for a gateway that serves: what is past its time but can be left out, a stapled OCSP response, or does no
/// more than refuse, a revocation list, is warned of. A gateway must not stay down for it.
///
/// # Errors
///
/// Everything that must be mended, in the order of the file.
pub fn load_to_serve(path: &Path) -> Checked {
    load_in(path, Surroundings::of_file(path).serving())
}

/// Reads `[audit]` of a configuration file, for who reads what was recorded: whatever else must be mended there does not
/// keep anybody from that.
///
/// # Errors
///
/// Everything in `[audit]` that must be mended, and a file that cannot be read at all.
pub fn load_audit(path: &Path) -> Result<Audit, Vec<Complaint>> {
    Settings::check_audit(&source(path)?, &Surroundings::of_file(path).serving())
}

fn load_in(path: &Path, surroundings: Surroundings) -> Checked {
    Settings::check(&source(path)?, &surroundings)
}

fn source(path: &Path) -> Result<Source, Vec<Complaint>> {
    let name = path.display().to_string();
    let bytes = surroundings::read(path).map_err(|error| {
        let finding = Finding::Text(format!("the file cannot be read ({})", error.kind()));
        vec![whole(&name, finding, "a configuration file", "name it with `--config`, or make `gateway.toml`")]
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let finding = Finding::Text("the file is not UTF-8".to_owned());
        vec![whole(&name, finding, "a TOML document in UTF-8", "save it as UTF-8")]
    })?;
    Ok(Source::new(name, text))
}

/// Reads and checks a configuration file for decisions only: certificates, keys, secrets and trust anchors that it names
/// are not looked at, so that a file can be tried where they are not.
///
/// # Errors
///
/// Everything that must be mended, in the order of the file.
pub fn load_rules(path: &Path) -> Checked {
    load_in(path, Surroundings::of_file(path).without_files())
}

fn whole(file: &str, finding: Finding, expected: &str, mend: &str) -> Complaint {
    Complaint {
        file: file.to_owned(),
        place: None,
        finding,
        expected: expected.to_owned(),
        mend: mend.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings of a small file, with more tables at its end.
    pub(crate) fn settings(more: &str) -> Settings {
        let text = format!(
            "[server]\npublic_url = \"http://127.0.0.1:8443/fhir\"\ninsecure_http = true\n\
             [backend]\nurl = \"http://127.0.0.1:8080/fhir\"\n\
             [[authorization_server]]\nissuer = \"https://as.example/realms/ward\"\n{more}"
        );
        settings_of(&text)
    }

    /// Settings of a whole file.
    pub(crate) fn settings_of(text: &str) -> Settings {
        let surroundings = Surroundings::new("", jiff::Timestamp::UNIX_EPOCH);
        match Settings::check(&Source::new("gateway.toml", text), &surroundings) {
            Ok((settings, _)) => settings,
            Err(complaints) => panic!("{complaints:#?}"),
        }
    }

    /// Contract §10: `profile` sets defaults, and a written key wins over it.
    #[test]
    fn profiles_set_defaults() {
        use crate::policy::{EncounterContext, Malformed};
        let smart = settings("");
        assert!(smart.rules.scopes.v1);
        assert_eq!(smart.rules.patient.encounter, EncounterContext::Hint);
        assert_eq!(smart.rules.malformed, Malformed::Ignore);
        let source = |first: &str, more: &str| {
            let rest = "[server]\npublic_url = \"http://127.0.0.1/\"\ninsecure_http = true\n\
                        [backend]\nurl = \"http://127.0.0.1:8080/fhir/\"\n\
                        [[authorization_server]]\nissuer = \"https://as.example\"\n";
            Source::new("f", format!("{first}{rest}{more}"))
        };
        let here = Surroundings::new("", jiff::Timestamp::UNIX_EPOCH);
        let (isik, _) = Settings::check(&source("profile = \"isik\"\n", ""), &here).expect("sound");
        assert!(!isik.rules.scopes.v1);
        assert_eq!(isik.rules.patient.encounter, EncounterContext::Restrict);
        assert_eq!(isik.rules.malformed, Malformed::Refuse);
        assert_eq!(isik.rules.backend_base, "http://127.0.0.1:8080/fhir");
        assert_eq!(isik.rules.public_base, "http://127.0.0.1");
        let written = "[scopes]\nv1 = true\nmalformed = \"ignore\"\n[patient]\nencounter = \"hint\"\n";
        let (isik, _) = Settings::check(&source("profile = \"isik\"\n", written), &here).expect("sound");
        assert!(isik.rules.scopes.v1);
        assert_eq!(isik.rules.patient.encounter, EncounterContext::Hint);
        assert_eq!(isik.rules.malformed, Malformed::Ignore);
    }

    /// COMP-15: whether compartments are searched is told by the file, or left to the CapabilityStatement.
    #[test]
    fn compartment_search() {
        use crate::policy::CompartmentSearch;
        let table = [
            ("", CompartmentSearch::Auto),
            ("compartment_search = \"auto\"", CompartmentSearch::Auto),
            ("compartment_search = true", CompartmentSearch::On),
            ("compartment_search = false", CompartmentSearch::Off),
        ];
        for (line, expected) in table {
            let found = settings_of(&format!(
                "[server]\npublic_url = \"http://127.0.0.1/\"\ninsecure_http = true\n\
                 [backend]\nurl = \"http://127.0.0.1:8080/fhir/\"\n{line}\n\
                 [[authorization_server]]\nissuer = \"https://as.example\"\n"
            ));
            assert_eq!(found.rules.compartment_search, expected, "{line}");
        }
    }

    /// COMP-6: linked patients are hidden unless the file says otherwise.
    #[test]
    fn linked_patients() {
        use crate::policy::LinkedPatients;
        let table = [
            ("", LinkedPatients::Hidden),
            ("[patient]\nlinked_patients = false\n", LinkedPatients::Hidden),
            ("[patient]\nlinked_patients = true\n", LinkedPatients::Visible),
        ];
        for (more, expected) in table {
            assert_eq!(settings(more).rules.patient.linked, expected, "{more}");
        }
    }

    /// `audience` defaults to the public URL; opaque tokens go to the only server that introspects.
    #[test]
    fn defaults_that_depend_on_other_keys() {
        let found = settings("");
        let server = found.authorization_servers.first().expect("one");
        assert_eq!(server.audience, ["http://127.0.0.1:8443/fhir"]);
        assert!(!server.opaque);
        assert_eq!(server.introspection_cache, std::time::Duration::ZERO);
        assert_eq!(found.admin, None);
    }

    /// OPS-7: a row in the file does not open an operation that is reserved as delivered.
    #[test]
    fn reserved_operations_stay_reserved() {
        use crate::fhir::{Answer, Level, Reserved};
        let found = settings(
            "[[operation]]\nname = \"$export\"\nlevel = \"system\"\nneeds = [{ type = \"*\", letter = \"s\" }]\n\
             [[operation]]\nname = \"$book\"\nlevel = \"type\"\ntype = \"Appointment\"\n\
             needs = [{ type = \"Appointment\", letter = \"c\" }]\n\
             [[operation]]\nname = \"$ping\"\nlevel = \"system\"\nneeds = []\nanswer = \"pass\"\n",
        );
        let row = |name, level, on: Option<&str>| {
            let on = on.and_then(|on| found.rules.version().resource_type(on));
            found.rules.operations.row(name, level, on).map(|row| (row.reserved, row.answer))
        };
        assert_eq!(row("$export", Level::System, None), Some((Reserved::SystemOnly, Answer::Check)));
        assert_eq!(row("$book", Level::Type, Some("Appointment")), Some((Reserved::No, Answer::Check)));
        assert_eq!(row("$ping", Level::System, None), Some((Reserved::Unconstrained, Answer::Pass)));
        assert_eq!(row("$book", Level::Type, Some("Slot")), None);
    }
}
