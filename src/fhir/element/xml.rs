//! The view of XML.

use std::borrow::Cow;
use std::ops::Range;

use super::{Builder, Document, ElementError};
use crate::fhir::xml::{Lexer, Token, XmlError, XmlErrorKind};

pub(super) fn read(bytes: &[u8], depth: usize) -> Result<Document<'_>, ElementError> {
    let lexer = Lexer::within(bytes, depth)?;
    let mut reader = Reader { bytes, lexer, builder: Builder::default() };
    let (name, range) = reader.first()?;
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return shape(range.start, "a resource");
    }
    let root = reader.builder.add(Cow::Borrowed(name))?;
    if let Some(node) = reader.builder.node(root) {
        node.resource = Some(Cow::Borrowed(name));
    }
    reader.inside(root)?;
    // Asked once more so that trailing content is refused.
    reader.lexer.token()?;
    Ok(reader.builder.done())
}

struct Reader<'a> {
    bytes: &'a [u8],
    lexer: Lexer<'a>,
    builder: Builder<'a>,
}

fn shape<T>(offset: usize, expected: &'static str) -> Result<T, ElementError> {
    Err(ElementError::Shape { offset, expected })
}

impl<'a> Reader<'a> {
    fn first(&mut self) -> Result<(&'a str, Range<usize>), ElementError> {
        match self.lexer.token()? {
            Some(Token::Start { name, range }) => Ok((name, range)),
            Some(Token::End { .. } | Token::Text { .. }) | None => self.ends_early(),
        }
    }

    fn ends_early<T>(&self) -> Result<T, ElementError> {
        let kind = XmlErrorKind::UnexpectedEnd;
        Err(XmlError { offset: self.lexer.position(), kind }.into())
    }

    /// The attributes `id` and `url` of the tag just read, as children.
    fn attributes(&mut self, children: &mut Vec<u32>) -> Result<(), ElementError> {
        for name in ["id", "url"] {
            if let Some(attribute) = self.lexer.attribute(name) {
                let value = self.lexer.value(attribute);
                let at = self.builder.add(Cow::Borrowed(name))?;
                if let Some(node) = self.builder.node(at) {
                    node.value = Some(value);
                }
                children.push(at);
            }
        }
        Ok(())
    }

    /// Reads the children of the open element into the node at `parent`.
    fn inside(&mut self, parent: u32) -> Result<(), ElementError> {
        let mut children = Vec::new();
        self.attributes(&mut children)?;
        loop {
            let (name, range) = match self.lexer.token()? {
                Some(Token::Start { name, range }) => (name, range),
                Some(Token::End { .. }) => break,
                Some(Token::Text { range }) => return shape(range.start, "an element"),
                None => return self.ends_early(),
            };
            if name.starts_with(|first: char| first.is_ascii_uppercase()) {
                self.held(parent, name, range.start)?;
                if !children.is_empty() {
                    return shape(range.start, "nothing beside a resource");
                }
                return Ok(());
            }
            children.push(self.element(name, range)?);
        }
        self.builder.adopt(parent, &children);
        Ok(())
    }

    /// Reads the resource that the element at `parent` holds and nothing else.
    fn held(&mut self, parent: u32, name: &'a str, offset: usize) -> Result<(), ElementError> {
        match self.builder.node(parent) {
            Some(node) if node.resource.is_none() => node.resource = Some(Cow::Borrowed(name)),
            _ => return shape(offset, "an element that may hold a resource"),
        }
        self.inside(parent)?;
        match self.lexer.token()? {
            Some(Token::End { .. }) => Ok(()),
            Some(Token::Start { range, .. } | Token::Text { range }) => shape(range.start, "one resource"),
            None => self.ends_early(),
        }
    }

    fn element(&mut self, name: &'a str, range: Range<usize>) -> Result<u32, ElementError> {
        let at = self.builder.add(Cow::Borrowed(name))?;
        if name == "div" {
            let end = self.lexer.skip()?;
            let xhtml = self.bytes.get(range.start..end).map(String::from_utf8_lossy);
            if let Some(node) = self.builder.node(at) {
                node.value = xhtml;
            }
            return Ok(at);
        }
        let value = self.lexer.attribute("value").map(|attribute| self.lexer.value(attribute));
        if let Some(node) = self.builder.node(at) {
            node.value = value;
        }
        self.inside(at)?;
        Ok(at)
    }
}
