//! Chains and `_has`, which only the backend can answer: whether they mean anything.
//!
//! A server may ignore a parameter it does not know, and an ignored constraint constrains nothing. So every step must
//! be a reference parameter that is defined, lead to a type, and the last must be a parameter that is usable on one of
//! the types it leads to (FHIR R4 §3.1.1, "Chained Parameters" and "Reverse Chaining").

use super::Unusable;
use super::criterion::Criterion;
use crate::fhir::{FhirVersion, Parameter, ResourceType, SearchParameterKind};

/// More steps than anybody takes.
const STEPS: usize = 8;

/// Whether the parameter looks at other resources.
pub(super) fn is_chain(parameter: &Parameter) -> bool {
    parameter.code() == "_has" || parameter.chain().is_some()
}

/// Follows a chain to its end.
pub(super) fn check(version: FhirVersion, from: ResourceType, parameter: &Parameter) -> Result<(), Unusable> {
    let name = || parameter.name().to_owned();
    let (mut types, mut rest) = (vec![from], parameter.clone());
    for _ in 0..STEPS {
        if !is_chain(&rest) {
            let usable = |resource| Criterion::new(version, resource, &rest).map(drop);
            return types
                .into_iter()
                .map(usable)
                .reduce(Result::or)
                .unwrap_or_else(|| Err(Unusable::Undefined(name())));
        }
        let (next, left) = step(version, &types, rest.name()).ok_or_else(|| Unusable::Undefined(name()))?;
        (types, rest) = (next, Parameter::new(left, parameter.value()));
    }
    Err(Unusable::Special(name()))
}

/// The types that the first step leads to, and what is left of the name.
fn step(version: FhirVersion, types: &[ResourceType], name: &str) -> Option<(Vec<ResourceType>, String)> {
    if let Some(reversed) = name.strip_prefix("_has:") {
        let mut parts = reversed.splitn(3, ':');
        let source = version.resource_type(parts.next()?)?;
        let targets = targets(version, source, parts.next()?)?;
        let leads = targets.is_empty() || types.iter().any(|it| targets.contains(it));
        return leads.then_some((vec![source], parts.next()?.to_owned()));
    }
    let (first, left) = name.split_once('.')?;
    let (code, wanted) = match first.split_once(':') {
        Some((code, wanted)) => (code, Some(version.resource_type(wanted)?)),
        None => (first, None),
    };
    let mut found: Vec<_> =
        types.iter().filter_map(|it| targets(version, *it, code)).flatten().copied().collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|it| wanted.is_none_or(|wanted| wanted == *it));
    (!found.is_empty()).then(|| (found, left.to_owned()))
}

/// What a reference parameter of a type may point at.
fn targets(version: FhirVersion, resource: ResourceType, code: &str) -> Option<&'static [ResourceType]> {
    let parameter = version.search_parameter(resource, code)?;
    (parameter.kind == SearchParameterKind::Reference).then_some(parameter.targets)
}
