//! How the parts of an entry are kept that are no text of their own, and what of a request's words is never kept.
//!
//! A credential never reaches the disk: values of parameters that are named like one, and values that look like a
//! signed token, are replaced by `***` before anything is kept, and what is too long is cut.

use std::borrow::Cow;

use serde::Serializer;

use crate::fhir::decode;

/// Bytes of a target that are kept; the listener's own limit is below.
const TARGET: usize = 16 << 10;
/// Bytes of a form that are kept.
const FORM: usize = 64 << 10;

/// Names of parameters whose values are credentials. They have no business in a query, and none in a record.
const CREDENTIALS: [&str; 13] = [
    "access_token",
    "actor_token",
    "api_key",
    "assertion",
    "authorization",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "id_token",
    "password",
    "refresh_token",
    "subject_token",
    "token",
];

/// The target as it is kept.
pub(super) fn target(raw: &str) -> Cow<'_, str> {
    cut(blotted(raw), TARGET)
}

/// The form as it is kept.
pub(super) fn form(raw: &str) -> Cow<'_, str> {
    cut(blotted(raw), FORM)
}

/// Writes a target.
pub(super) fn write_target<S: Serializer>(raw: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&target(raw))
}

/// Writes a form.
pub(super) fn write_form<S: Serializer>(raw: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match raw {
        Some(raw) => serializer.serialize_str(&form(raw)),
        None => serializer.serialize_none(),
    }
}

/// The words, the values of credentials replaced.
fn blotted(raw: &str) -> Cow<'_, str> {
    if !raw.contains('=') {
        return Cow::Borrowed(raw);
    }
    // More than `&` separates: what some server would take for the name of a credential is one.
    let parts = raw.split_inclusive(SEPARATORS);
    if !parts.clone().any(is_secret) {
        return Cow::Borrowed(raw);
    }
    let written = parts.flat_map(|part| {
        let (name, end) = match part.split_once('=') {
            Some((name, value)) if is_secret(part) => (name, value),
            Some(_) | None => return [part, "", ""],
        };
        let separator = end.strip_prefix(end.trim_end_matches(SEPARATORS)).unwrap_or("");
        [name, "=***", separator]
    });
    Cow::Owned(written.collect())
}

const SEPARATORS: [char; 6] = ['?', '&', ';', '#', '\r', '\n'];

/// Whether one part, `name=value`, carries a credential.
fn is_secret(part: &str) -> bool {
    let Some((name, value)) = part.split_once('=') else { return false };
    // Signed tokens begin with a JSON object in base64url, and have three parts or more.
    let signed = value.contains("eyJ") && value.bytes().filter(|byte| *byte == b'.').count() >= 2;
    // A name that does not decode is no name any server would take for a credential's, but its neighbours may be.
    let read = if name.contains(['%', '+']) {
        Cow::Owned(decode(name).unwrap_or_default())
    } else {
        Cow::Borrowed(name)
    };
    let read = read.split(':').next().unwrap_or("").trim();
    signed || CREDENTIALS.iter().any(|credential| read.eq_ignore_ascii_case(credential))
}

/// At most so many bytes, and a mark that says how many there were.
fn cut(words: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    match words.get(..words.floor_char_boundary(limit)) {
        Some(start) if start.len() < words.len() => {
            Cow::Owned(format!("{start} [cut: {} bytes in all]", words.len()))
        }
        Some(_) | None => words,
    }
}

/// An interaction by its name.
pub(super) mod interaction {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::audit::Interaction;

    pub(in crate::audit) fn serialize<S: Serializer>(
        interaction: &Interaction,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(interaction.name())
    }

    pub(in crate::audit) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Interaction, D::Error> {
        let name = Cow::<'_, str>::deserialize(deserializer)?;
        Interaction::named(&name).ok_or_else(|| de::Error::custom("expected the name of an interaction"))
    }
}

/// A resource type by its name.
pub(super) mod resource {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::fhir::{FhirVersion, ResourceType};

    pub(in crate::audit) fn serialize<S: Serializer>(
        resource: &Option<ResourceType>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match resource {
            Some(resource) => serializer.serialize_str(resource.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::audit) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ResourceType>, D::Error> {
        let Some(name) = Option::<Cow<'_, str>>::deserialize(deserializer)? else { return Ok(None) };
        let versions = [FhirVersion::R4, FhirVersion::R5, FhirVersion::R4B];
        let found = versions.into_iter().find_map(|version| version.resource_type(&name));
        found.map(Some).ok_or_else(|| de::Error::custom("expected the name of a resource type"))
    }
}
