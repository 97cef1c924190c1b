//! A resource as a value that can be changed.
//!
//! Numbers stay as they are written: a decimal that went through a float would be another one. Reading is the strict
//! reader's, so that no key stands twice; members keep their order.

use std::collections::HashMap;

use super::PatchError;
use crate::fhir::element::Element;
use crate::fhir::json::{DEPTH, JsonError, JsonErrorKind, Lexeme, Lexer, Token, escape_into};

/// A member of an object.
pub(super) type Member = (String, Tree);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Bool(bool),
    List(Vec<Tree>),
    Null,
    Number(String),
    Object(Vec<Member>),
    Text(String),
    /// A primitive from XML, which does not say whether it is a number, a boolean or text.
    Untyped(String),
}

impl Tree {
    pub(super) fn json(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut lexer = Lexer::new(bytes, DEPTH)?;
        let begun = next(&mut lexer)?;
        let tree = value(&mut lexer, &begun)?;
        // Asked once more so that trailing content is refused.
        lexer.token()?;
        Ok(tree)
    }

    /// What an XML element holds. A name that stands once is one value, for XML does not tell lists.
    pub(super) fn element(element: Element<'_>) -> Result<Self, PatchError> {
        const HELD: PatchError =
            PatchError::Form("values without resources and without extensions of primitives");
        let mut members: Vec<Member> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for child in element.all() {
            if child.resource_type().is_some() {
                return Err(HELD);
            }
            let tree = Self::element(child)?;
            let place = *places.entry(child.name()).or_insert(members.len());
            match members.get_mut(place) {
                None => members.push((child.name().to_owned(), tree)),
                Some((_, Self::List(items))) => items.push(tree),
                Some((_, first)) => {
                    let first_item = std::mem::replace(first, Self::Null);
                    *first = Self::List(vec![first_item, tree]);
                }
            }
        }
        match element.value() {
            Some(_) if !members.is_empty() => Err(HELD),
            Some(text) => Ok(Self::Untyped(text.to_owned())),
            None => Ok(Self::Object(members)),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Null => out.extend_from_slice(b"null"),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Text(text) | Self::Untyped(text) => quoted(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, member)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    quoted(name, out);
                    out.push(b':');
                    member.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// How deep objects and lists nest in it.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => 1 + members.iter().map(|(_, member)| member.depth()).max().unwrap_or(0),
            Self::Bool(_) | Self::Null | Self::Number(_) | Self::Text(_) | Self::Untyped(_) => 0,
        }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        const NODE: usize = 32;
        NODE + match self {
            Self::List(items) => items.iter().map(Self::weight).sum(),
            Self::Object(members) => members.iter().map(|(name, member)| name.len() + member.weight()).sum(),
            Self::Number(text) | Self::Text(text) | Self::Untyped(text) => text.len(),
            Self::Bool(_) | Self::Null => 0,
        }
    }

    /// Whether it is one value, and not an object or a list.
    pub(super) fn is_primitive(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Untyped(_) => true,
            Self::List(_) | Self::Null | Self::Object(_) => false,
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Untyped(text) => Some(text),
            Self::Bool(_) | Self::List(_) | Self::Null | Self::Number(_) | Self::Object(_) => None,
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        match self {
            Self::Object(members) => members,
            Self::Bool(_)
            | Self::List(_)
            | Self::Null
            | Self::Number(_)
            | Self::Text(_)
            | Self::Untyped(_) => &[],
        }
    }

    /// The member of exactly this name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(key, _)| key == name).map(|(_, member)| member)
    }

    /// Equal as RFC 6902 §4.6 has it: numbers by value, objects in any order.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => {
                let value = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
                one == two || value(one).is_some_and(|one| Some(one) == value(two))
            }
            (Self::List(one), Self::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
            }
            (Self::Object(one), Self::Object(two)) => {
                let (one, two) = (sorted(one), sorted(two));
                one.len() == two.len()
                    && one.iter().zip(&two).all(|(one, two)| one.0 == two.0 && one.1.same(&two.1))
            }
            (one, two) => one == two,
        }
    }
}

/// Where the member of this name stands. A name that is there in another case only is one to a server that does not
/// tell cases apart, and another to one that does (REST-10).
pub(super) fn find(members: &[Member], name: &str) -> Result<Option<usize>, PatchError> {
    match members.iter().position(|(key, _)| key.eq_ignore_ascii_case(name)) {
        Some(at) if members.get(at).is_some_and(|(key, _)| key == name) => Ok(Some(at)),
        Some(_) => Err(PatchError::ambiguous(name)),
        None => Ok(None),
    }
}

/// Whether FHIR could call an element so; JSON's `_name` for a primitive's extensions included.
pub(super) fn is_name(name: &str) -> bool {
    let bytes = name.strip_prefix('_').unwrap_or(name).as_bytes();
    bytes.first().is_some_and(u8::is_ascii_lowercase) && bytes.iter().all(u8::is_ascii_alphanumeric)
}

fn sorted(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|one, two| one.0.cmp(&two.0));
    members
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_into(text, out);
    out.push(b'"');
}

fn next(lexer: &mut Lexer<'_>) -> Result<Lexeme, JsonError> {
    let offset = lexer.position();
    lexer.token()?.ok_or(JsonError { offset, kind: JsonErrorKind::UnexpectedEnd })
}

fn value(lexer: &mut Lexer<'_>, begun: &Lexeme) -> Result<Tree, JsonError> {
    Ok(match begun.token {
        Token::ArrayStart => {
            let mut items = Vec::new();
            loop {
                let begun = next(lexer)?;
                if begun.token == Token::ArrayEnd {
                    break Tree::List(items);
                }
                items.push(value(lexer, &begun)?);
            }
        }
        Token::ObjectStart => {
            let mut members = Vec::new();
            loop {
                let key = next(lexer)?;
                if key.token != Token::Key {
                    break Tree::Object(members);
                }
                let begun = next(lexer)?;
                members.push((lexer.text(&key).into_owned(), value(lexer, &begun)?));
            }
        }
        Token::False => Tree::Bool(false),
        Token::True => Tree::Bool(true),
        Token::Number => Tree::Number(lexer.text(begun).into_owned()),
        Token::String => Tree::Text(lexer.text(begun).into_owned()),
        Token::ArrayEnd | Token::Key | Token::Null | Token::ObjectEnd => Tree::Null,
    })
}
