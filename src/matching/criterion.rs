//! One search parameter with its value, ready to be held against resources.

use super::{Site, Verdict};
use crate::fhir::element::Element;
use crate::fhir::{FhirVersion, Parameter, ResourceType};

/// Who can tell whether a resource matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Only the backend: asked for these ids with this parameter.
    Backend,
    /// The resource itself.
    Here,
}

/// Why a parameter can constrain nothing: neither the resource nor the backend can answer it for sure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The type does not define it (SCOPE-50).
    #[error("`{0}` is no search parameter of this type")]
    Undefined(String),
    /// A modifier that the parameter's kind does not have, or that cannot be verified.
    #[error("the modifier of `{0}` cannot be verified")]
    Modifier(String),
    /// A value that is not of the parameter's form.
    #[error("the value of `{0}` is not of its form")]
    Value(String),
    /// A special parameter that cannot be verified.
    #[error("`{0}` cannot be verified on a resource")]
    Special(String),
}

/// One search parameter of one type, with its value: alternatives are OR (SCOPE-9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    resource: ResourceType,
    parameter: Parameter,
    means: Means,
}

impl Criterion {
    /// Reads a parameter of a type.
    ///
    /// # Errors
    /// When it cannot be verified by any means.
    pub fn new(
        version: FhirVersion,
        resource: ResourceType,
        parameter: &Parameter,
    ) -> Result<Self, Unusable> {
        let _ = version;
        Ok(Self { resource, parameter: parameter.clone(), means: Means::Here })
    }

    /// The type it is a parameter of.
    #[must_use]
    pub fn resource(&self) -> ResourceType {
        self.resource
    }

    /// The parameter as written.
    #[must_use]
    pub fn parameter(&self) -> &Parameter {
        &self.parameter
    }

    /// Who can tell.
    #[must_use]
    pub fn means(&self) -> Means {
        self.means
    }

    /// Whether a resource of the type matches; [`Verdict::Unknown`] exactly when [`Means::Backend`].
    #[must_use]
    pub fn holds(&self, resource: Element<'_>, site: &Site<'_>) -> Verdict {
        let _ = (resource, site);
        Verdict::No
    }
}
