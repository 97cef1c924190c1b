//! Reads the operations of a FHIRPath Patch from its Parameters.
//!
//! The profile of these Parameters is closed: what is not named here is refused, because a server that knows it (an
//! `allowMultipleMatches`) would do something else.

use super::naming::DataType;
use super::path::Path;
use super::tree::Tree;
use super::{OPERATIONS, PatchError, number};

const FORM: PatchError = PatchError::Form(
    "Parameters of operations: type, path, and what that type takes of name, value and positions",
);

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Add { path: Path, name: String, value: Value },
    Delete { path: Path },
    Insert { path: Path, index: usize, value: Value },
    Move { path: Path, source: usize, destination: usize },
    Replace { path: Path, value: Value },
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// An element without a type of its own, from its parts.
    Built(Vec<(String, Value)>),
    /// A value of a data type.
    Typed(DataType, Tree),
}

pub(super) fn read(parameters: &Tree) -> Result<Vec<Operation>, PatchError> {
    const KNOWN: [&str; 5] = ["id", "language", "meta", "parameter", "resourceType"];
    if parameters.members().iter().any(|(name, _)| !KNOWN.contains(&name.as_str())) {
        return Err(FORM);
    }
    let operations = items(parameters.member("parameter"));
    if operations.len() > OPERATIONS {
        return Err(PatchError::TooMuch);
    }
    operations.iter().map(operation).collect()
}

/// XML does not tell a list of one from one.
fn items(tree: Option<&Tree>) -> &[Tree] {
    match tree {
        None => &[],
        Some(Tree::List(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

fn operation(parameter: &Tree) -> Result<Operation, PatchError> {
    let (name, Value::Built(parts)) = part(parameter)? else { return Err(FORM) };
    if name != "operation" {
        return Err(FORM);
    }
    let mut parts = Parts(parts);
    let path = |parts: &mut Parts| Path::read(&parts.text("path")?);
    let operation = match parts.text("type")?.as_str() {
        "add" => {
            Operation::Add { path: path(&mut parts)?, name: parts.text("name")?, value: parts.take("value")? }
        }
        "delete" => Operation::Delete { path: path(&mut parts)? },
        "insert" => Operation::Insert {
            path: path(&mut parts)?,
            index: parts.number("index")?,
            value: parts.take("value")?,
        },
        "move" => Operation::Move {
            path: path(&mut parts)?,
            source: parts.number("source")?,
            destination: parts.number("destination")?,
        },
        "replace" => Operation::Replace { path: path(&mut parts)?, value: parts.take("value")? },
        _ => return Err(FORM),
    };
    if parts.0.is_empty() { Ok(operation) } else { Err(FORM) }
}

struct Parts(Vec<(String, Value)>);

impl Parts {
    fn take(&mut self, wanted: &str) -> Result<Value, PatchError> {
        let at = self.0.iter().position(|(name, _)| name == wanted).ok_or(FORM)?;
        Ok(self.0.remove(at).1)
    }

    fn text(&mut self, wanted: &str) -> Result<String, PatchError> {
        match self.take(wanted)? {
            Value::Typed(of, Tree::Text(text)) if matches!(of.suffix, "Code" | "String") => Ok(text),
            Value::Built(_) | Value::Typed(..) => Err(FORM),
        }
    }

    fn number(&mut self, wanted: &str) -> Result<usize, PatchError> {
        match self.take(wanted)? {
            Value::Typed(of, Tree::Number(text)) if of.suffix == "Integer" => number(&text).ok_or(FORM),
            Value::Built(_) | Value::Typed(..) => Err(FORM),
        }
    }
}

/// Reads a parameter or part. Bounded: the reader limits the depth of the document.
fn part(tree: &Tree) -> Result<(String, Value), PatchError> {
    let name = tree.member("name").and_then(Tree::text).ok_or(FORM)?.to_owned();
    let mut others = tree.members().iter().filter(|(key, _)| key != "name");
    let (Some((key, content)), None) = (others.next(), others.next()) else { return Err(FORM) };
    let value = match key.strip_prefix("value").and_then(DataType::of) {
        Some(of) => Value::Typed(of, typed(of, content)?),
        None if key == "part" => {
            Value::Built(items(Some(content)).iter().map(part).collect::<Result<_, _>>()?)
        }
        None => return Err(FORM),
    };
    Ok((name, value))
}

/// The value as its data type writes it in JSON.
fn typed(of: DataType, tree: &Tree) -> Result<Tree, PatchError> {
    let is_number = |text: &str| matches!(Tree::json(text.as_bytes()), Ok(Tree::Number(_)));
    match (of.suffix, tree) {
        (_, Tree::Object(members)) if !of.primitive && !members.is_empty() => Ok(tree.clone()),
        ("Boolean", Tree::Bool(_)) => Ok(tree.clone()),
        ("Boolean", Tree::Untyped(text)) if text == "true" => Ok(Tree::Bool(true)),
        ("Boolean", Tree::Untyped(text)) if text == "false" => Ok(Tree::Bool(false)),
        ("Decimal" | "Integer" | "PositiveInt" | "UnsignedInt", Tree::Number(_)) => Ok(tree.clone()),
        ("Decimal" | "Integer" | "PositiveInt" | "UnsignedInt", Tree::Untyped(text)) if is_number(text) => {
            Ok(Tree::Number(text.clone()))
        }
        ("Boolean" | "Decimal" | "Integer" | "PositiveInt" | "UnsignedInt", _) => Err(FORM),
        (_, Tree::Text(text) | Tree::Untyped(text)) if of.primitive => Ok(Tree::Text(text.clone())),
        _ => Err(FORM),
    }
}
