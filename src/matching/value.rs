//! One value of a search parameter, ready to be held against what the parameter selects.
//!
//! Alternatives are split before this, composites here, escapes are taken away last of all (FHIR R4 §3.1.1, "Escaping
//! Search Parameters"): a `\,` never separates. A value that is not of the kind's form is none.

use crate::fhir::element::Element;
use crate::fhir::{FhirVersion, ResourceType, SearchParameter, SearchParameterKind, split_unescaped};

use super::date::Dates;
use super::number::{Numbers, Quantities};
use super::path::{Certainty, Expression, Item, Scene, expression};
use super::reference::Referred;
use super::text::{Text, Way};
use super::token::{OfType, Token};
use super::uri::Uri;

/// Whether one element, or any of several, matches one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// It does not.
    No,
    /// It cannot be told: neither the parameter nor its `:not` holds.
    Doubtful,
    /// It does.
    Yes,
}

impl From<bool> for Match {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// One alternative of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Composite(Vec<Part>),
    Date(Dates),
    /// `:identifier`: what is said in `Reference.identifier`.
    Identifier(Token),
    Number(Numbers),
    OfType(OfType),
    Quantity(Quantities),
    Reference(Referred),
    Text(Text),
    Token(Token),
    /// `:text` of a token or a reference.
    Words(Text),
    Uri(Uri),
}

/// One component of a composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    expression: &'static Expression,
    value: Value,
}

/// What a value is read by: the parameter and the modifiers that change its form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) version: FhirVersion,
    pub(super) resource: ResourceType,
    pub(super) parameter: &'static SearchParameter,
    pub(super) modifier: Modifier,
}

/// A modifier that is evaluated here, except `:missing` and `:not`, which leave the form of a value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modifier {
    Above,
    Below,
    Contains,
    Exact,
    Identifier,
    None,
    OfType,
    Text,
    Type(ResourceType),
}

impl Value {
    /// Reads one alternative, escapes still in it.
    pub(super) fn read(raw: &str, form: Form) -> Option<Self> {
        use SearchParameterKind as K;
        if raw.is_empty() {
            return None;
        }
        match (form.parameter.kind, form.modifier) {
            (K::Token, Modifier::OfType) => OfType::read(raw).map(Self::OfType),
            (K::Token | K::Reference, Modifier::Text) => Text::read(raw, Way::Begins).map(Self::Words),
            (K::Token, _) => Token::read(raw).map(Self::Token),
            (K::Reference, Modifier::Identifier) => Token::read(raw).map(Self::Identifier),
            (K::Reference, _) => Referred::read(raw, form).map(Self::Reference),
            (K::String, modifier) => Text::read(raw, Way::of(modifier)).map(Self::Text),
            (K::Uri, modifier) => Uri::read(raw, modifier).map(Self::Uri),
            (K::Composite, _) => composite(raw, form).map(Self::Composite),
            (K::Date, _) => Dates::read(raw).map(Self::Date),
            (K::Number, _) => Numbers::read(raw).map(Self::Number),
            (K::Quantity, _) => Quantities::read(raw).map(Self::Quantity),
            (K::Special, _) => None,
        }
    }

    /// The best that any of the items gives: several values of an element are alternatives.
    pub(super) fn among(&self, items: &[Item<'_>], scene: Scene<'_, '_>) -> Match {
        items.iter().map(|item| self.of(item, scene)).max().unwrap_or(Match::No)
    }

    fn of(&self, item: &Item<'_>, scene: Scene<'_, '_>) -> Match {
        let found = match self {
            Self::Composite(parts) => together(parts, item.element, scene),
            Self::Date(dates) => dates.matches(item).into(),
            Self::Identifier(token) => token.matches_identifier_of(item.element),
            Self::Number(numbers) => numbers.matches(item).into(),
            Self::OfType(of_type) => of_type.matches(item.element).into(),
            Self::Quantity(quantities) => quantities.matches(item).into(),
            Self::Reference(referred) => referred.matches(item.element, scene.site).into(),
            Self::Text(text) => text.matches(item.element).into(),
            Self::Token(token) => token.matches(item),
            Self::Words(text) => text.labels(item.element).into(),
            Self::Uri(uri) => uri.matches(item.element).into(),
        };
        match item.certainty {
            Certainty::Doubtful => found.min(Match::Doubtful),
            Certainty::Sure => found,
        }
    }
}

/// All parts, each on something that the same element has (FHIR R4 §3.1.1, "composite").
fn together(parts: &[Part], context: Element<'_>, scene: Scene<'_, '_>) -> Match {
    let of = |part: &Part| part.value.among(&part.expression.select(context, scene), scene);
    parts.iter().map(of).min().unwrap_or(Match::No)
}

fn composite(raw: &str, form: Form) -> Option<Vec<Part>> {
    let components = form.parameter.components;
    let values: Vec<_> = split_unescaped(raw, '$').collect();
    if values.len() != components.len() {
        return None;
    }
    let parts = components.iter().zip(values).map(|(component, raw)| {
        let parameter = form.version.search_parameter(form.resource, component.code)?;
        let form = Form { parameter, modifier: Modifier::None, ..form };
        let nested = parameter.kind == SearchParameterKind::Composite;
        let value = Value::read(raw, form).filter(|_| !nested)?;
        Some(Part { expression: expression(component.expression)?, value })
    });
    parts.collect()
}

/// Takes the escapes away: `\,` `\|` `\$` and `\\`. A backslash before anything else is itself.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let escapes =
            character == '\\' && rest.peek().is_some_and(|next| matches!(next, ',' | '|' | '$' | '\\'));
        match rest.next_if(|_| escapes) {
            Some(escaped) => plain.push(escaped),
            None => plain.push(character),
        }
    }
    plain
}
