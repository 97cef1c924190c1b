//! The FHIRPath that occurs in search parameters, and what it selects.
//!
//! HL7 writes the expressions of search parameters in a small part of FHIRPath (N1 2.0.0): paths, `as` and `ofType`,
//! three kinds of `where`, `extension`, `first` and one `exists() and … != false`. That part is understood here, and
//! anything else is not: a parameter whose expression is not understood cannot be evaluated (SCOPE-48). All expressions
//! of all versions are read once, when the first is asked for.
//!
//! A choice element stands in the tree under its full name (`valueQuantity`). Where an expression names the type, that
//! child is selected; where it does not (`Observation.effective`), every type is, and the type is kept with what was
//! selected. Which untyped paths are choices is not in the expressions: `CHOICES` lists them, from HL7's
//! StructureDefinitions.

mod read;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::fhir::element::Element;
use crate::fhir::{FhirVersion, SearchParameter};

use super::Site;
use super::identity::kind_of;

/// Every expression of every version: those that are not understood are not in it.
static EXPRESSIONS: LazyLock<HashMap<&'static str, Expression>> = LazyLock::new(|| {
    let versions = [FhirVersion::R4, FhirVersion::R4B, FhirVersion::R5];
    let parameters = versions.into_iter().flat_map(|version| {
        version.resource_types().flat_map(move |resource| version.search_parameters(resource))
    });
    let texts = parameters.flat_map(|parameter: &'static SearchParameter| {
        let parts = parameter.components.iter().map(|component| component.expression);
        std::iter::once(parameter.expression).chain(parts)
    });
    let mut all = HashMap::new();
    for text in texts {
        if !all.contains_key(text)
            && let Some(expression) = read::expression(text)
        {
            all.insert(text, expression);
        }
    }
    all
});

/// What a parameter or a component of one looks at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expression(Vec<Path>);

/// One alternative of an expression.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    origin: Origin,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// The element that the expression is asked of.
    Context,
    /// What a bracket selects: `(start | requestedPeriod.start)`.
    Group(Expression),
    /// `%resource`: the resource that the context is part of.
    Resource,
    /// The resource itself, if it is of this type; `Resource` and `DomainResource` are every type.
    Type(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Children of this name.
    Child(&'static str),
    /// A choice element of any type.
    Choice(&'static str),
    /// Extensions with this URL.
    Extension(&'static str),
    /// The first of all.
    First,
    /// Resources of this type.
    Holds(&'static str),
    /// `exists() and … != false`.
    Present,
    /// References to this type: `where(resolve() is Patient)`.
    Refers(&'static str),
    /// A choice element of one type.
    Typed(&'static str, &'static str),
    /// Those with a child of this name and value.
    Where(&'static str, &'static str),
    /// Those with an extension of this URL.
    WithExtension(&'static str),
}

/// Something an expression selected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'d> {
    /// The element. For a truth, the element it is a truth about.
    pub(super) element: Element<'d>,
    /// The data type, where a choice element's name tells it: `Quantity`, `DateTime`.
    pub(super) datatype: Option<&'static str>,
    /// What the expression computed, where it selects nothing but computes.
    pub(super) truth: Option<bool>,
    /// Whether it is selected for sure.
    pub(super) certainty: Certainty,
}

/// Whether something is known for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    Doubtful,
    Sure,
}

/// The resource that is looked at, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'d, 's> {
    pub(super) root: Element<'d>,
    pub(super) site: &'s Site<'s>,
}

/// The expression of this text, if it is one of HL7's and understood.
pub(super) fn expression(text: &'static str) -> Option<&'static Expression> {
    EXPRESSIONS.get(text)
}

impl Expression {
    /// What is selected from the context, which is the resource itself or a part of it.
    pub(super) fn select<'d>(&self, context: Element<'d>, scene: Scene<'d, '_>) -> Vec<Item<'d>> {
        let paths = self.0.iter();
        paths.flat_map(|path| path.select(&path.steps, context, scene)).collect()
    }

    /// Whether an element that this expression ends in stands more than once in one parent, whatever it refers to.
    pub(super) fn is_crowded(&self, scene: Scene<'_, '_>) -> bool {
        self.0.iter().any(|path| {
            let steps: Vec<_> =
                path.steps.iter().filter(|step| !matches!(step, Step::Refers(_))).cloned().collect();
            let Some((Step::Child(last), before)) = steps.split_last() else { return false };
            let parents = path.select(before, scene.root, scene);
            parents.into_iter().any(|parent| parent.element.children(last).nth(1).is_some())
        })
    }
}

impl Path {
    fn select<'d>(&self, steps: &[Step], context: Element<'d>, scene: Scene<'d, '_>) -> Vec<Item<'d>> {
        let mut items = match &self.origin {
            Origin::Context => vec![Item::of(context)],
            Origin::Group(inner) => inner.select(context, scene),
            Origin::Resource => vec![Item::of(scene.root)],
            Origin::Type(name) => {
                let is = matches!(*name, "Resource" | "DomainResource")
                    || context.resource_type().is_some_and(|found| found == *name);
                is.then(|| Item::of(context)).into_iter().collect()
            }
        };
        for step in steps {
            items = step.take(&items, scene);
        }
        items
    }
}

impl Step {
    fn take<'d>(&self, items: &[Item<'d>], scene: Scene<'d, '_>) -> Vec<Item<'d>> {
        match self {
            Self::First => items.first().copied().into_iter().collect(),
            Self::Present => vec![present(items, scene)],
            Self::Child(_)
            | Self::Choice(_)
            | Self::Extension(_)
            | Self::Holds(_)
            | Self::Refers(_)
            | Self::Typed(..)
            | Self::Where(..)
            | Self::WithExtension(_) => {
                let mut next = Vec::new();
                for item in items {
                    self.follow(*item, scene, &mut next);
                }
                next
            }
        }
    }

    /// Where the step leads from one item.
    fn follow<'d>(&self, from: Item<'d>, scene: Scene<'d, '_>, to: &mut Vec<Item<'d>>) {
        let children = |name| from.element.starting(name);
        let item = |element| Item { element, datatype: None, ..from };
        match *self {
            Self::Child(name) => to.extend(from.element.children(name).map(item)),
            Self::Choice(name) => to.extend(children(name).filter_map(|child| {
                let rest = child.name().strip_prefix(name)?;
                let datatype = DATATYPES.iter().find(|datatype| **datatype == rest);
                (rest.is_empty() || datatype.is_some())
                    .then(|| Item { datatype: datatype.copied(), ..item(child) })
            })),
            Self::Extension(url) => {
                to.extend(from.element.children("extension").filter(|it| it.url() == Some(url)).map(item));
            }
            Self::Holds(name) => to.extend((from.element.resource_type() == Some(name)).then_some(from)),
            Self::Refers(name) => match kind_of(from.element, scene) {
                Some(found) => to.extend((found.as_str() == name).then_some(from)),
                None => to.push(Item { certainty: Certainty::Doubtful, ..from }),
            },
            Self::Typed(name, datatype) => to.extend(children(name).filter_map(|child| {
                let rest = child.name().strip_prefix(name)?;
                let found = if is_suffix(rest, datatype) { Some(datatype) } else { narrower(rest, datatype) };
                Some(Item { datatype: Some(found?), ..item(child) })
            })),
            Self::Where(name, value) => {
                let has = from.element.children(name).any(|child| child.value() == Some(value));
                to.extend(has.then_some(from));
            }
            Self::WithExtension(url) => {
                let has = from.element.children("extension").any(|it| it.url() == Some(url));
                to.extend(has.then_some(from));
            }
            Self::First | Self::Present => {}
        }
    }
}

impl<'d> Item<'d> {
    pub(super) fn of(element: Element<'d>) -> Self {
        Self { element, datatype: None, truth: None, certainty: Certainty::Sure }
    }

    /// Whether it is of one of these data types, as far as the name of a choice element tells.
    pub(super) fn may_be(&self, datatypes: &[&str]) -> bool {
        self.datatype.is_none_or(|known| datatypes.iter().any(|it| it.eq_ignore_ascii_case(known)))
    }
}

/// `Patient.deceased.exists() and Patient.deceased != false`: true for a time or `true`, false for `false`, and false
/// where there is nothing (FHIRPath N1, "Boolean logic": `false and {}` is false).
fn present<'d>(items: &[Item<'d>], scene: Scene<'d, '_>) -> Item<'d> {
    match items {
        [] => Item { truth: Some(false), ..Item::of(scene.root) },
        [only] if only.element.value().is_some() => {
            Item { truth: Some(only.element.value() != Some("false")), ..*only }
        }
        // An element without a value exists, and what it says is not known; nor what two of them say.
        [first, ..] => Item { certainty: Certainty::Doubtful, ..*first },
    }
}

/// Whether `rest` is how a data type ends the name of a choice element: `dateTime` as `DateTime`.
fn is_suffix(rest: &str, datatype: &str) -> bool {
    let (mut rest, mut datatype) = (rest.chars(), datatype.chars());
    let capital = datatype.next().map(|first| first.to_ascii_uppercase());
    rest.next() == capital && rest.as_str() == datatype.as_str()
}

/// The data type that ends the name of a choice element, if it specialises the one that is asked for (FHIR R4 §2.24,
/// "Data Types").
fn narrower(rest: &str, datatype: &str) -> Option<&'static str> {
    let all: &[&str] = match datatype {
        "integer" => &["PositiveInt", "UnsignedInt"],
        "Quantity" => &["Age", "Count", "Distance", "Duration"],
        "string" => &["Code", "Id", "Markdown"],
        "uri" => &["Canonical", "Oid", "Url", "Uuid"],
        _ => &[],
    };
    all.iter().find(|it| **it == rest).copied()
}

/// The data types that choice elements may have in R4, R4B or R5, as they end an element's name.
const DATATYPES: &[&str] = &[
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "Availability",
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "CodeableConcept",
    "CodeableReference",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Date",
    "DateTime",
    "Decimal",
    "Distance",
    "Dosage",
    "Duration",
    "Expression",
    "ExtendedContactDetail",
    "HumanName",
    "Id",
    "Identifier",
    "Instant",
    "Integer",
    "Integer64",
    "Markdown",
    "Meta",
    "Money",
    "Oid",
    "ParameterDefinition",
    "Period",
    "PositiveInt",
    "Quantity",
    "Range",
    "Ratio",
    "RatioRange",
    "Reference",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "String",
    "Time",
    "Timing",
    "TriggerDefinition",
    "UnsignedInt",
    "Uri",
    "Url",
    "UsageContext",
    "Uuid",
];
