//! How the parts of an entry are kept that are no text of their own.

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
