//! Which elements are choices, and what they are called in JSON.
//!
//! FHIRPath knows `Observation.value`, JSON `valueQuantity` or `valueString`. From the name alone it cannot be told
//! whether an element is one of these (`Identifier.value` is not), so HL7's definitions are asked.

use super::PatchError;
use super::choices;
use super::tree::{Member, find};
use crate::fhir::FhirVersion;

/// Where an element stands in HL7's definitions: its path without positions, `Observation.component`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    version: FhirVersion,
    path: String,
}

/// A data type, as it ends the name of a choice: `Quantity`, `String`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataType {
    pub(super) suffix: &'static str,
    pub(super) primitive: bool,
}

/// A child that is there, in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Its place among the members.
    pub(super) place: usize,
    /// The type of a choice.
    pub(super) choice: Option<DataType>,
}

impl DataType {
    pub(super) fn of(suffix: &str) -> Option<Self> {
        let known = |list: &'static [&'static str]| list.iter().copied().find(|name| *name == suffix);
        let complex = known(choices::COMPLEX).map(|suffix| Self { suffix, primitive: false });
        complex.or_else(|| known(choices::PRIMITIVE).map(|suffix| Self { suffix, primitive: true }))
    }

    /// Whether FHIRPath calls it so: `Quantity`, `string`.
    pub(super) fn is(self, name: &str) -> bool {
        if self.primitive {
            let mut letters = self.suffix.chars();
            let first = letters.next().map(|first| first.to_ascii_lowercase());
            name.chars().eq(first.into_iter().chain(letters))
        } else {
            self.suffix == name
        }
    }

    /// Whether an element of this type may have a child of that name that has children itself, or an extension.
    pub(super) fn may_hold(self, child: &str) -> bool {
        let children: &[&str] = match self.suffix {
            "Address" | "ContactPoint" | "HumanName" => &["period"],
            "Age" | "Attachment" | "Coding" | "Count" | "Distance" | "Duration" | "Money" | "Period"
            | "Quantity" => &[],
            "CodeableConcept" => &["coding"],
            "CodeableReference" => &["concept", "reference"],
            "Identifier" => &["assigner", "period", "type"],
            "Meta" => &["security", "tag"],
            "Range" => &["high", "low"],
            "Ratio" => &["denominator", "numerator"],
            "Reference" => &["identifier"],
            _ => return true,
        };
        children.contains(&child) || matches!(child, "extension" | "modifierExtension")
    }
}

impl Site {
    /// The resource of a type of this version.
    pub(super) fn resource(version: FhirVersion, name: &str) -> Result<Self, PatchError> {
        if version.resource_type(name).is_none() {
            return Err(PatchError::unsupported(name, "a resource type of the served FHIR version"));
        }
        Ok(Self { version, path: name.to_owned() })
    }

    /// Where the child of a name stands; `choice` is its type when it is a choice.
    pub(super) fn child(&self, name: &str, choice: Option<DataType>) -> Self {
        let path = match choice {
            Some(found) => found.suffix.to_owned(),
            None if matches!(name, "extension" | "modifierExtension") => "Extension".to_owned(),
            None => format!("{}.{name}", self.path),
        };
        let again = match self.version {
            FhirVersion::R4 => choices::R4_AGAIN,
            FhirVersion::R4B => choices::R4B_AGAIN,
            FhirVersion::R5 => choices::R5_AGAIN,
        };
        let path = match again.binary_search_by(|(from, _)| (*from).cmp(&path)) {
            Ok(at) => again.get(at).map_or(path, |(_, like)| (*like).to_owned()),
            Err(_) => path,
        };
        Self { version: self.version, path }
    }

    /// Where a resource stands that an element holds.
    pub(super) fn held_resource(&self, name: &str) -> Result<Self, PatchError> {
        Self::resource(self.version, name)
    }

    fn is_choice(&self, name: &str) -> bool {
        let path = format!("{}.{name}", self.path);
        let own = match self.version {
            FhirVersion::R4 => choices::R4,
            FhirVersion::R4B => choices::R4B,
            FhirVersion::R5 => choices::R5,
        };
        [choices::ALL, own].into_iter().any(|list| list.binary_search(&path.as_str()).is_ok())
    }

    /// Refuses `valueQuantity` for `value`: some servers know both names, some one.
    fn spelled(&self, name: &str) -> Result<(), PatchError> {
        let types = choices::COMPLEX.iter().chain(choices::PRIMITIVE);
        let mut bases = types.filter_map(|suffix| name.strip_suffix(suffix));
        if bases.any(|base| self.is_choice(base)) {
            return Err(PatchError::unsupported(name, "the name of the choice without its type"));
        }
        Ok(())
    }

    /// What a child of this name and type is called in JSON.
    pub(super) fn key(&self, name: &str, of: Option<DataType>) -> Result<String, PatchError> {
        self.spelled(name)?;
        match of {
            _ if !self.is_choice(name) => Ok(name.to_owned()),
            Some(of) => Ok(format!("{name}{}", of.suffix)),
            None => Err(PatchError::unsupported(name, "a value of one data type for a choice")),
        }
    }

    /// The child of this name among the members of an object.
    pub(super) fn held(&self, members: &[Member], name: &str) -> Result<Option<Held>, PatchError> {
        self.spelled(name)?;
        if !self.is_choice(name) {
            let place = find(members, name)?;
            if place.is_none() && find(members, &format!("_{name}"))?.is_some() {
                return Err(PatchError::unsupported(
                    name,
                    "an element with a value, not with extensions only",
                ));
            }
            return Ok(place.map(|place| Held { place, choice: None }));
        }
        let mut found = None;
        for (place, (key, _)) in members.iter().enumerate() {
            let bare = key.strip_prefix('_').unwrap_or(key);
            let Some((head, suffix)) = bare.split_at_checked(name.len()) else { continue };
            let Some(choice) = DataType::of(suffix).filter(|_| head.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let companion = key.starts_with('_');
            if companion && find(members, bare)?.is_some() {
                continue;
            }
            if companion || head != name || found.is_some() {
                return Err(PatchError::ambiguous(name));
            }
            found = Some(Held { place, choice: Some(choice) });
        }
        Ok(found)
    }
}
