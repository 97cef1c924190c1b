//! One search parameter with its value, ready to be held against resources.

use super::chain;
use super::compartment::is_doubled;
use super::path::{Certainty, Expression, Item, Scene, expression};
use super::value::{Form, Match, Modifier, Value};
use super::{Site, Verdict};
use crate::fhir::definitions::Component;
use crate::fhir::element::Element;
use crate::fhir::{FhirVersion, Parameter, ResourceType, SearchParameter, SearchParameterKind};

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
    /// How it is answered here; none when only the backend can.
    plan: Option<Plan>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    kind: SearchParameterKind,
    expression: &'static Expression,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// `:missing=true`.
    Absent,
    /// One of the values matches.
    Any(Vec<Value>),
    /// `:not`: none of the values matches, which holds as well where there is nothing to match (FHIR R4 §3.1.1,
    /// "Modifiers", SCOPE-47).
    None(Vec<Value>),
    /// `:missing=false`.
    Present,
}

/// What a modifier asks for.
enum Reading {
    Backend,
    Form(Modifier),
    Missing,
    Not,
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
        let plan = if chain::is_chain(parameter) {
            chain::check(version, resource, parameter)?;
            None
        } else {
            Plan::new(version, resource, parameter)?
        };
        Ok(Self { resource, parameter: parameter.clone(), plan })
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
        if self.plan.is_some() { Means::Here } else { Means::Backend }
    }

    /// Whether a resource of the type matches; [`Verdict::Unknown`] exactly when [`Means::Backend`].
    #[must_use]
    pub fn holds(&self, resource: Element<'_>, site: &Site<'_>) -> Verdict {
        let Some(plan) = &self.plan else { return Verdict::Unknown };
        let same = resource.resource_type() == Some(self.resource.as_str());
        let scene = Scene { root: resource, site };
        (same && !is_doubled((self.resource, self.parameter.code()), scene) && plan.holds(scene)).into()
    }
}

impl Plan {
    /// How the parameter is answered here; none when only the backend can.
    fn new(
        version: FhirVersion,
        resource: ResourceType,
        parameter: &Parameter,
    ) -> Result<Option<Self>, Unusable> {
        let name = || parameter.name().to_owned();
        let code = parameter.code();
        let defined = version.search_parameter(resource, code).ok_or_else(|| Unusable::Undefined(name()))?;
        if matches!(code, "_content" | "_text") {
            // Full text: only who keeps an index of it can tell.
            if parameter.modifier().is_some() {
                return Err(Unusable::Modifier(name()));
            }
            let said = parameter.alternatives().all(|value| !value.trim().is_empty());
            return if said { Ok(None) } else { Err(Unusable::Value(name())) };
        }
        let expression = evaluated(version, resource, defined).ok_or_else(|| Unusable::Special(name()))?;
        let reading =
            reading(version, defined, parameter.modifier()).ok_or_else(|| Unusable::Modifier(name()))?;
        let form = Form { version, resource, parameter: defined, modifier: Modifier::None };
        let read = |modifier| {
            let values = parameter.alternatives().map(|raw| Value::read(raw, Form { modifier, ..form }));
            values.collect::<Option<Vec<_>>>().ok_or_else(|| Unusable::Value(name()))
        };
        let test = match reading {
            Reading::Backend => {
                let said = parameter.alternatives().all(|value| !value.is_empty());
                return if said { Ok(None) } else { Err(Unusable::Value(name())) };
            }
            Reading::Form(modifier) => Test::Any(read(modifier)?),
            Reading::Not => Test::None(read(Modifier::None)?),
            Reading::Missing => match parameter.value() {
                "true" => Test::Absent,
                "false" => Test::Present,
                _ => return Err(Unusable::Value(name())),
            },
        };
        Ok(Some(Self { kind: defined.kind, expression, test }))
    }

    fn holds(&self, scene: Scene<'_, '_>) -> bool {
        let items = self.expression.select(scene.root, scene);
        let best = |values: &[Value]| values.iter().map(|value| value.among(&items, scene)).max();
        match &self.test {
            Test::Absent => items.is_empty(),
            Test::Any(values) => best(values) == Some(Match::Yes),
            Test::None(values) => best(values) == Some(Match::No),
            Test::Present => items.iter().any(|item| self.is_indexed(item)),
        }
    }

    /// Whether there is something to search. An element that only says why it has no value, or whose content is not of
    /// the parameter's kind, is neither missing nor present.
    fn is_indexed(&self, item: &Item<'_>) -> bool {
        let says = match self.kind {
            SearchParameterKind::Date => super::date::is_indexed(item),
            SearchParameterKind::Number => super::number::is_number(item),
            SearchParameterKind::Quantity => super::number::is_quantity(item),
            SearchParameterKind::Reference => {
                item.element.resource_type().is_some() || super::identity::literal(item.element).is_some()
            }
            SearchParameterKind::String => super::text::texts(item.element).next().is_some(),
            SearchParameterKind::Token => super::token::is_indexed(item),
            SearchParameterKind::Uri => item.element.value().is_some(),
            SearchParameterKind::Composite | SearchParameterKind::Special => false,
        };
        says && item.certainty == Certainty::Sure
    }
}

/// Parameters whose definition at HL7 does not say what it should, so that no resource can be held against it:
/// components in the wrong order, or an element that is no reference but has one.
const MISTAKEN: &[(&str, &str, &str)] = &[
    (
        "ClinicalUseDefinition",
        "contraindication-reference",
        "ClinicalUseDefinition.contraindication.diseaseSymptomProcedure",
    ),
    (
        "ClinicalUseDefinition",
        "effect-reference",
        "ClinicalUseDefinition.undesirableEffect.symptomConditionEffect",
    ),
    (
        "ClinicalUseDefinition",
        "indication-reference",
        "ClinicalUseDefinition.indication.diseaseSymptomProcedure",
    ),
    ("Device", "code-value-concept", "Device"),
    ("DocumentReference", "relationship", "DocumentReference.relatesTo"),
    ("Ingredient", "manufacturer", "Ingredient.manufacturer"),
];

/// The expression of a parameter that can be evaluated on a resource.
///
/// Not so: special parameters; those that say something about the search and not the resource, though HL7 lists them
/// (`_list`, `_query`, `_in` …); phonetic search, whose algorithm is the server's own; composites of a parameter that
/// is not defined.
pub(super) fn evaluated(
    version: FhirVersion,
    resource: ResourceType,
    parameter: &SearchParameter,
) -> Option<&'static Expression> {
    let understood = |component: &Component| {
        let of = version.search_parameter(resource, component.code)?;
        (of.kind != SearchParameterKind::Special).then_some(expression(component.expression)?)
    };
    let unknown = parameter.kind == SearchParameterKind::Special
        || matches!(parameter.code, "_filter" | "_has" | "_in" | "_list" | "_query" | "_type" | "phonetic")
        || MISTAKEN.contains(&(resource.as_str(), parameter.code, parameter.expression))
        || parameter.components.iter().any(|component| understood(component).is_none());
    if unknown { None } else { expression(parameter.expression) }
}

/// What a modifier means for a parameter (FHIR R4 §3.1.1 and R5 §3.2.1, "Modifiers"); none for one that its kind does
/// not have, and for `:not-in`, which no answer to a search can verify.
fn reading(version: FhirVersion, parameter: &SearchParameter, modifier: Option<&str>) -> Option<Reading> {
    use SearchParameterKind as K;
    let kind = parameter.kind;
    let Some(modifier) = modifier else { return Some(Reading::Form(Modifier::None)) };
    let newer = version == FhirVersion::R5;
    Some(match (modifier, kind) {
        ("missing", K::Composite | K::Special) => return None,
        ("missing", _) => Reading::Missing,
        ("not", K::Token) => Reading::Not,
        ("text", K::Token) => Reading::Form(Modifier::Text),
        ("text", K::Reference) if newer => Reading::Form(Modifier::Text),
        ("of-type", K::Token) => Reading::Form(Modifier::OfType),
        ("in" | "above" | "below", K::Token) | ("above" | "below", K::Reference) => Reading::Backend,
        ("code-text" | "text-advanced", K::Token | K::Reference) if newer => Reading::Backend,
        ("exact", K::String) => Reading::Form(Modifier::Exact),
        ("contains", K::String) => Reading::Form(Modifier::Contains),
        ("above", K::Uri) => Reading::Form(Modifier::Above),
        ("below", K::Uri) => Reading::Form(Modifier::Below),
        ("identifier", K::Reference) => Reading::Form(Modifier::Identifier),
        (name, K::Reference) => {
            let wanted = version.resource_type(name)?;
            let may = parameter.targets.is_empty() || parameter.targets.contains(&wanted);
            may.then_some(Reading::Form(Modifier::Type(wanted)))?
        }
        _ => return None,
    })
}
