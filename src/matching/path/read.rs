//! Reads an expression.

use super::{Expression, Origin, Path, Step};

/// The paths that end in a choice element without naming its type. `value` is the one in a component
/// (`Group.characteristic-value`).
const CHOICES: &[&str] = &[
    "CarePlan.activity.detail.scheduled",
    "ChargeItem.occurrence",
    "Consent.source",
    "DetectedIssue.identified",
    "DiagnosticReport.effective",
    "Immunization.occurrence",
    "Media.created",
    "MedicationAdministration.effective",
    "MedicationStatement.effective",
    "MedicinalProductDefinition.characteristic.value",
    "MessageDefinition.event",
    "MessageHeader.event",
    "Observation.effective",
    "Patient.deceased",
    "Person.deceased",
    "PlanDefinition.action.definition",
    "Practitioner.deceased",
    "Procedure.performed",
    "RiskAssessment.prediction.probability",
    "ServiceRequest.occurrence",
    "Specimen.collection.collected",
    "value",
];

/// Reads an expression; none when it is empty or not understood.
pub(super) fn expression(text: &'static str) -> Option<Expression> {
    split(text, " | ").into_iter().map(path).collect::<Option<Vec<_>>>().map(Expression)
}

fn path(text: &'static str) -> Option<Path> {
    let text = text.trim();
    if let [exists, differs] = split(text, " and ").as_slice() {
        let what = exists.strip_suffix(".exists()")?;
        let mut path = path(what)?;
        path.steps.push(Step::Present);
        return (differs.strip_suffix(" != false") == Some(what)).then_some(path);
    }
    if let [what, datatype] = split(text, " as ").as_slice() {
        let mut path = path(what)?;
        cast(&mut path.steps, name(datatype)?)?;
        return Some(path);
    }
    let mut segments = split(text, ".").into_iter();
    let mut path = origin(segments.next()?)?;
    for segment in segments {
        step(&mut path.steps, segment)?;
    }
    if CHOICES.contains(&text)
        && let Some(last) = path.steps.last_mut()
        && let Step::Child(name) = *last
    {
        *last = Step::Choice(name);
    }
    Some(path)
}

/// The first segment: a bracket, a type, `%resource` or already a step.
fn origin(segment: &'static str) -> Option<Path> {
    if let Some(inner) = segment.strip_prefix('(') {
        let Expression(mut paths) = expression(inner.strip_suffix(')')?)?;
        return match paths.len() {
            1 => paths.pop(),
            _ => Some(Path { origin: Origin::Group(Expression(paths)), steps: Vec::new() }),
        };
    }
    if segment == "%resource" {
        return Some(Path { origin: Origin::Resource, steps: Vec::new() });
    }
    if segment.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Some(Path { origin: Origin::Type(name(segment)?), steps: Vec::new() });
    }
    let mut steps = Vec::new();
    step(&mut steps, segment)?;
    Some(Path { origin: Origin::Context, steps })
}

fn step(steps: &mut Vec<Step>, segment: &'static str) -> Option<()> {
    if let Some((function, rest)) = segment.split_once('(') {
        let argument = rest.strip_suffix(')')?;
        match function {
            "as" | "ofType" => return cast(steps, name(argument)?),
            "extension" => steps.push(Step::Extension(literal(argument)?)),
            "first" if argument.is_empty() => steps.push(Step::First),
            "where" => steps.push(condition(argument)?),
            _ => return None,
        }
        return Some(());
    }
    let (child, first) = match segment.strip_suffix("[0]") {
        Some(child) => (child, true),
        None => (segment, false),
    };
    let child = name(child)?;
    // An extension's value is a choice of every type.
    let choice = child == "value" && matches!(steps.last(), Some(Step::Extension(_)));
    steps.push(if choice { Step::Choice(child) } else { Step::Child(child) });
    steps.extend(first.then_some(Step::First));
    Some(())
}

/// `as` and `ofType`: of a choice element they name the type, of a held resource they ask for it.
fn cast(steps: &mut Vec<Step>, datatype: &'static str) -> Option<()> {
    let last = steps.last_mut()?;
    match *last {
        Step::Child("resource") => steps.push(Step::Holds(datatype)),
        Step::Child(name) | Step::Choice(name) => *last = Step::Typed(name, datatype),
        Step::Extension(_)
        | Step::First
        | Step::Holds(_)
        | Step::Present
        | Step::Refers(_)
        | Step::Typed(..)
        | Step::Where(..)
        | Step::WithExtension(_) => return None,
    }
    Some(())
}

/// What stands in `where(…)`.
fn condition(text: &'static str) -> Option<Step> {
    if let Some(kind) = text.strip_prefix("resolve() is ") {
        return Some(Step::Refers(name(kind)?));
    }
    if let Some(rest) = text.strip_prefix("extension(") {
        return Some(Step::WithExtension(literal(rest.strip_suffix(").exists()")?)?));
    }
    let (child, value) = text.split_once('=')?;
    Some(Step::Where(name(child)?, literal(value)?))
}

fn literal(text: &'static str) -> Option<&'static str> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains(['\'', '\\'])).then_some(inner)
}

fn name(text: &'static str) -> Option<&'static str> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(text)
}

/// Splits outside brackets and quotes.
fn split(text: &'static str, separator: &str) -> Vec<&'static str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    let (mut depth, mut quoted, mut from) = (0_i32, false, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        let splits = depth == 0 && !quoted && at >= from;
        if splits && text.get(at..).is_some_and(|tail| tail.starts_with(separator)) {
            parts.extend(text.get(from..at));
            from = at + separator.len();
            rest = text.get(from..).unwrap_or_default();
        }
    }
    parts.push(rest);
    parts
}
