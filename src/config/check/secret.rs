//! Secrets: read from a file or the environment, never from the configuration file itself.

use std::path::Path;

use super::Check;
use crate::config::settings::Secret;
use crate::config::surroundings::{self, Files};

/// Where a secret is kept, as written.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    /// The key's path without `_file` or `_env`.
    pub(super) key: &'a str,
    /// The value of `…_file`.
    pub(super) file: Option<&'a Path>,
    /// The value of `…_env`.
    pub(super) environment: Option<&'a str>,
}

const LONGEST: usize = 64 * 1024;

impl Check<'_> {
    /// Reads the one secret that is named.
    pub(super) fn secret(&mut self, kept: Kept<'_>) -> Option<Secret> {
        let (file_key, environment_key) = (format!("{}_file", kept.key), format!("{}_env", kept.key));
        match (kept.file, kept.environment) {
            (Some(_), None) | (None, Some(_)) if self.surroundings.files() == Files::Assumed => {
                Some(Secret::new(String::new()))
            }
            (Some(file), None) => self.secret_in_file(&file_key, file),
            (None, Some(name)) => self.secret_in_environment(&environment_key, name),
            (Some(_), Some(_)) => {
                self.wrong(
                    &environment_key,
                    "one place for the secret",
                    "keep either the file or the variable",
                );
                None
            }
            (None, None) => {
                let last = file_key.rsplit('.').next().unwrap_or_default();
                // A secret written right here has its complaint already.
                if !self.is_written(&environment_key) && !self.is_written(kept.key) {
                    self.missing(
                        &file_key,
                        "a file with the secret",
                        format!("add `{last} = \"secrets/…\"`"),
                    );
                }
                None
            }
        }
    }

    fn secret_in_file(&mut self, key: &str, file: &Path) -> Option<Secret> {
        let bytes = self.secret_bytes(key, file)?;
        self.secret_text(key, String::from_utf8(bytes).ok())
    }

    /// The bytes of a file that only the gateway should read.
    pub(super) fn secret_bytes(&mut self, key: &str, file: &Path) -> Option<Vec<u8>> {
        let path = self.path(file);
        let bytes = self.bytes(key, file)?;
        if surroundings::read_by_all(&path) {
            self.warn(
                key,
                "a secret that only the gateway can read",
                "take the read permission of others away",
            );
        }
        Some(bytes)
    }

    fn secret_in_environment(&mut self, key: &str, name: &str) -> Option<Secret> {
        match surroundings::environment(name) {
            Some(text) => self.secret_text(key, Some(text)),
            None => {
                self.wrong(key, "an environment variable that is set", "set it, or use a file");
                None
            }
        }
    }

    /// Editors end files with a newline; anything else in a secret is meant.
    fn secret_text(&mut self, key: &str, text: Option<String>) -> Option<Secret> {
        let text = text.as_deref().map(|text| text.trim_end_matches(['\r', '\n']));
        match text {
            Some(text) if !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control) => {
                Some(Secret::new(text.to_owned()))
            }
            Some(_) | None => {
                self.wrong(key, "one line of text with the secret", "put only the secret in there");
                None
            }
        }
    }

    /// The bytes of a file that must be there.
    pub(super) fn bytes(&mut self, key: &str, file: &Path) -> Option<Vec<u8>> {
        if self.surroundings.files() == Files::Assumed {
            return None;
        }
        let path = self.path(file);
        match surroundings::read(&path) {
            Ok(bytes) => {
                self.files.push(path);
                Some(bytes)
            }
            Err(error) => {
                let mend = "mend the path (relative ones start at this file's folder) or the permissions";
                self.wrong(key, format!("a readable file ({})", error.kind()), mend);
                None
            }
        }
    }
}
