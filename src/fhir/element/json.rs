//! The view of JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Builder, Document, ElementError, Node};
use crate::fhir::json::{JsonError, JsonErrorKind, Lexeme, Lexer, Token};

pub(super) fn read(bytes: &[u8], depth: usize) -> Result<Document<'_>, ElementError> {
    let mut reader = Reader { lexer: Lexer::new(bytes, depth)?, builder: Builder::default() };
    let root = reader.builder.add(Cow::Borrowed(""))?;
    let begun = reader.next()?;
    if begun.token != Token::ObjectStart {
        return shape(&begun, "a resource, which is an object");
    }
    reader.object(root, Holds::Resource)?;
    if let Some(more) = reader.lexer.token()? {
        return shape(&more, "nothing after the resource");
    }
    match reader.builder.node(root) {
        Some(node) if node.resource.is_some() => node.name = node.resource.clone().unwrap_or_default(),
        _ => return shape(&begun, "a resource with `resourceType`"),
    }
    Ok(reader.builder.done())
}

/// Reads one member and the one with an underscore before the same name, each perhaps not there, as children of a nameless
/// node; says how many elements the first one gives.
pub(super) fn group<'a>(
    name: &'a str,
    own: Option<&'a str>,
    shadow: Option<&'a str>,
) -> Result<(Vec<Node<'a>>, usize), ElementError> {
    let mut reader = Reader { lexer: Lexer::again(own.unwrap_or_default()), builder: Builder::default() };
    let root = reader.builder.add(Cow::Borrowed(""))?;
    let (mut children, mut shadows) = (Vec::new(), Vec::new());
    if own.is_some() {
        reader.member(Cow::Borrowed(name), &mut children)?;
    }
    let count = children.len();
    if let Some(value) = shadow {
        reader.lexer = Lexer::again(value);
        reader.member(Cow::Borrowed(name), &mut shadows)?;
    }
    reader.cast(vec![(Cow::Borrowed(name), shadows)], &mut children);
    reader.builder.adopt(root, &children);
    Ok((reader.builder.nodes, count))
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    builder: Builder<'a>,
}

/// Whether an object may be a resource. `resourceType` is the name of an ordinary
/// element too (ExampleScenario.instance).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Element,
    Resource,
}

fn shape<T>(found: &Lexeme, expected: &'static str) -> Result<T, ElementError> {
    Err(ElementError::Shape { offset: found.range.start, expected })
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Lexeme, ElementError> {
        let offset = self.lexer.position();
        Ok(self.lexer.token()?.ok_or(JsonError { offset, kind: JsonErrorKind::UnexpectedEnd })?)
    }

    /// Reads the members of the open object into the node at `parent`.
    fn object(&mut self, parent: u32, holds: Holds) -> Result<(), ElementError> {
        let mut children: Vec<u32> = Vec::new();
        let mut shadows: Vec<(Cow<'a, str>, Vec<u32>)> = Vec::new();
        loop {
            let key = self.next()?;
            if key.token != Token::Key {
                break;
            }
            let name = self.lexer.text(&key);
            if holds == Holds::Resource && name == "resourceType" {
                let found = self.next()?;
                if found.token != Token::String {
                    return shape(&found, "a resource type's name");
                }
                let resource = self.lexer.text(&found);
                if let Some(node) = self.builder.node(parent) {
                    node.resource = Some(resource);
                }
                continue;
            }
            match shadow(name.clone()) {
                Some(of) => {
                    let mut nodes = Vec::new();
                    self.member(of.clone(), &mut nodes)?;
                    shadows.push((of, nodes));
                }
                None => self.member(name, &mut children)?,
            }
        }
        self.cast(shadows, &mut children);
        self.builder.adopt(parent, &children);
        Ok(())
    }

    /// Reads a member's value into new nodes, one for each item of an array.
    fn member(&mut self, name: Cow<'a, str>, into: &mut Vec<u32>) -> Result<(), ElementError> {
        let found = self.next()?;
        if found.token != Token::ArrayStart {
            into.push(self.value(name, &found)?);
            return Ok(());
        }
        loop {
            let found = self.next()?;
            match found.token {
                Token::ArrayEnd => return Ok(()),
                Token::ArrayStart => return shape(&found, "no array in an array"),
                Token::False
                | Token::Key
                | Token::Null
                | Token::Number
                | Token::ObjectEnd
                | Token::ObjectStart
                | Token::String
                | Token::True => into.push(self.value(name.clone(), &found)?),
            }
        }
    }

    fn value(&mut self, name: Cow<'a, str>, found: &Lexeme) -> Result<u32, ElementError> {
        let holds = match &*name {
            "contained" | "resource" | "outcome" | "issues" => Holds::Resource,
            _ => Holds::Element,
        };
        let at = self.builder.add(name)?;
        let value = match found.token {
            Token::False | Token::Number | Token::String | Token::True => Some(self.lexer.text(found)),
            Token::ObjectStart => {
                self.object(at, holds)?;
                None
            }
            Token::ArrayEnd | Token::ArrayStart | Token::Key | Token::Null | Token::ObjectEnd => None,
        };
        if let Some(node) = self.builder.node(at) {
            node.value = value;
        }
        Ok(at)
    }

    /// Gives the content of each `_name`, item by item, to the elements called
    /// `name`. One look at the children serves all: an object may have many of both.
    fn cast(&mut self, shadows: Vec<(Cow<'a, str>, Vec<u32>)>, children: &mut Vec<u32>) {
        if shadows.iter().all(|(_, nodes)| nodes.is_empty()) {
            return;
        }
        let mut named: HashMap<Cow<'a, str>, Vec<u32>> = HashMap::new();
        for child in children.iter() {
            if let Some(node) = self.builder.node(*child) {
                named.entry(node.name.clone()).or_default().push(*child);
            }
        }
        for (name, nodes) in shadows {
            let of = named.get(&name).map(Vec::as_slice).unwrap_or_default();
            for (index, shadow) in nodes.into_iter().enumerate() {
                match of.get(index) {
                    Some(element) => {
                        let content = self.builder.children(shadow);
                        self.builder.adopt(*element, &content);
                    }
                    None => children.push(shadow),
                }
            }
        }
    }
}

/// The name of the primitive that a member like `_birthDate` is about.
fn shadow(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match name {
        Cow::Borrowed(name) => name.strip_prefix('_').map(Cow::Borrowed),
        Cow::Owned(name) => name.strip_prefix('_').map(|name| Cow::Owned(name.to_owned())),
    }
}
