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

/// What a choice is, and what it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) of: DataType,
    types: &'static str,
}

/// A child that is there, in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Its place among the members.
    pub(super) place: usize,
    /// What it is, when it is a choice.
    pub(super) choice: Option<Choice>,
}

impl Choice {
    /// Whether it may be of that type.
    pub(super) fn takes(self, of: DataType) -> bool {
        takes(self.types, of)
    }
}

/// HAPI takes a `code` where only a `string` may stand, and writes a string.
fn takes(types: &str, of: DataType) -> bool {
    types == "*" || types.split(' ').any(|name| name == of.suffix)
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

    /// Where the child of a name stands; `of` is its type when it is a choice.
    pub(super) fn child(&self, name: &str, of: Option<DataType>) -> Self {
        let path = match of {
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

    /// The types of a choice; `None` for what is no choice.
    fn types(&self, name: &str) -> Option<&'static str> {
        let path = format!("{}.{name}", self.path);
        let own = match self.version {
            FhirVersion::R4 => choices::R4,
            FhirVersion::R4B => choices::R4B,
            FhirVersion::R5 => choices::R5,
        };
        [choices::ALL, own].into_iter().find_map(|list| {
            let at = list.binary_search_by(|(choice, _)| (*choice).cmp(&path)).ok()?;
            list.get(at).map(|(_, types)| *types)
        })
    }

    /// Refuses `valueQuantity` for `value`: some servers know both names, some one.
    fn spelled(&self, name: &str) -> Result<(), PatchError> {
        let types = choices::COMPLEX.iter().chain(choices::PRIMITIVE);
        let mut bases = types.filter_map(|suffix| name.strip_suffix(suffix));
        if bases.any(|base| self.types(base).is_some()) {
            return Err(PatchError::unsupported(name, "the name of the choice without its type"));
        }
        Ok(())
    }

    /// What a child of this name and type is called in JSON.
    pub(super) fn key(&self, name: &str, of: Option<DataType>) -> Result<String, PatchError> {
        self.spelled(name)?;
        match (self.types(name), of) {
            (None, _) => Ok(name.to_owned()),
            (Some(types), Some(of)) if takes(types, of) => Ok(format!("{name}{}", of.suffix)),
            (Some(_), _) => Err(PatchError::unsupported(name, "a value of a type that the choice has")),
        }
    }

    /// The child of this name among the members of an object.
    pub(super) fn held(&self, members: &[Member], name: &str) -> Result<Option<Held>, PatchError> {
        self.spelled(name)?;
        let Some(types) = self.types(name) else {
            let place = find(members, name)?;
            if place.is_none() && find(members, &format!("_{name}"))?.is_some() {
                return Err(PatchError::unsupported(
                    name,
                    "an element with a value, not with extensions only",
                ));
            }
            return Ok(place.map(|place| Held { place, choice: None }));
        };
        let mut found = None;
        for (place, (key, _)) in members.iter().enumerate() {
            let bare = key.strip_prefix('_').unwrap_or(key);
            let Some((head, suffix)) = bare.split_at_checked(name.len()) else { continue };
            let Some(of) = DataType::of(suffix).filter(|_| head.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let companion = key.starts_with('_');
            if companion && find(members, bare)?.is_some() {
                continue;
            }
            if companion || head != name || found.is_some() {
                return Err(PatchError::ambiguous(name));
            }
            found = Some(Held { place, choice: Some(Choice { of, types }) });
        }
        Ok(found)
    }
}
