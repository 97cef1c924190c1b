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
mod surroundings;
mod values;

use std::path::Path;

pub use self::check::Checked;
pub use self::complaint::{Complaint, Finding, Place};
pub use self::file::File;
pub use self::settings::*;
pub use self::shape::schema;
pub use self::source::Source;
pub use self::surroundings::Surroundings;

/// Reads and checks a configuration file; the second part of a good result is warnings.
///
/// Reads the files and environment variables that it names, and the clock. Contacts nothing.
///
/// # Errors
///
/// Everything that must be mended, in the order of the file.
pub fn load(path: &Path) -> Checked {
    let name = path.display().to_string();
    let bytes = surroundings::read(path).map_err(|error| {
        let finding = Finding::Text(format!("the file cannot be read ({})", error.kind()));
        vec![whole(&name, finding, "a configuration file", "name it with `--config`, or make `gateway.toml`")]
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let finding = Finding::Text("the file is not UTF-8".to_owned());
        vec![whole(&name, finding, "a TOML document in UTF-8", "save it as UTF-8")]
    })?;
    Settings::check(&Source::new(name, text), &Surroundings::of_file(path))
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
