//! The outline of an XML body.

use std::borrow::Cow;
use std::ops::Range;

use super::{
    Allowance, Bundle, Entry, EntryRequest, EntryResponse, Kind, Limits, Link, OutlineError, Resource, Text,
    Total, is_type_name,
};
use crate::fhir::xml::{Lexer, Token, XmlError, XmlErrorKind};

pub(super) fn read(bytes: &[u8], limits: Limits) -> Result<Resource<'_>, OutlineError> {
    let mut reader = Reader { lexer: Lexer::new(bytes, limits.depth)?, allowance: Allowance::new(limits) };
    let Some(root) = reader.child()? else { return reader.ends_early() };
    let root = reader.resource(root.range.start, &root, 0)?;
    // Asked once more so that trailing content is refused.
    match reader.lexer.token()? {
        None => Ok(root),
        Some(_) => shape(root.range.end, "nothing after the resource"),
    }
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    allowance: Allowance,
}

/// A start tag.
struct Tag<'a> {
    name: &'a str,
    range: Range<usize>,
}

fn shape<T>(offset: usize, expected: &'static str) -> Result<T, OutlineError> {
    Err(OutlineError::Shape { offset, expected })
}

/// Puts the one value there that an element may have (REST-10).
fn once<T>(place: &mut Option<T>, value: T, offset: usize, name: &'static str) -> Result<(), OutlineError> {
    if place.replace(value).is_some() {
        return Err(OutlineError::Repeated { offset, name });
    }
    Ok(())
}

impl<'a> Reader<'a> {
    fn ends_early<T>(&self) -> Result<T, OutlineError> {
        let kind = XmlErrorKind::UnexpectedEnd;
        Err(XmlError { offset: self.lexer.position(), kind }.into())
    }

    /// The next child of the element that is open, or `None` at its end.
    fn child(&mut self) -> Result<Option<Tag<'a>>, OutlineError> {
        loop {
            match self.lexer.token()? {
                Some(Token::Start { name, range }) => return Ok(Some(Tag { name, range })),
                Some(Token::End { .. }) => return Ok(None),
                // Text stands only in the narrative, which is skipped whole.
                Some(Token::Text { .. }) => {}
                None => return self.ends_early(),
            }
        }
    }

    fn since(&self, tag: &Tag<'_>) -> Range<usize> {
        tag.range.start..self.lexer.position()
    }

    /// Reads a primitive and passes over its extensions.
    fn text(&mut self, tag: &Tag<'a>) -> Result<Text<'a>, OutlineError> {
        let Some(attribute) = self.lexer.attribute("value").cloned() else {
            return shape(tag.range.start, "an element with `value`");
        };
        let text = self.lexer.value(&attribute);
        self.lexer.skip()?;
        Ok(Text { text, value: attribute.value, member: self.since(tag) })
    }

    fn put(
        &mut self,
        tag: &Tag<'a>,
        place: &mut Option<Text<'a>>,
        name: &'static str,
    ) -> Result<(), OutlineError> {
        let text = self.text(tag)?;
        once(place, text, tag.range.start, name)
    }

    /// Reads the resource that `tag` begins; `member` is where what holds it begins.
    fn resource(
        &mut self,
        member: usize,
        tag: &Tag<'a>,
        nesting: usize,
    ) -> Result<Resource<'a>, OutlineError> {
        if !is_type_name(tag.name) {
            return shape(tag.range.start, "a resource");
        }
        let (mut id, mut contained) = (None, Vec::new());
        let kind = match tag.name {
            "Bundle" => self.bundle(tag, &mut id, nesting)?,
            "Parameters" => {
                self.allowance.container(nesting)?;
                let mut held = Vec::new();
                while let Some(child) = self.child()? {
                    match child.name {
                        "id" => self.put(&child, &mut id, "id")?,
                        "parameter" => self.parameter(&mut held, nesting)?,
                        _ => {
                            self.pass_over(&child)?;
                        }
                    }
                }
                Kind::Parameters(held)
            }
            _ => {
                while let Some(child) = self.child()? {
                    match child.name {
                        "id" => self.put(&child, &mut id, "id")?,
                        "contained" => contained.push(self.contained(&child)?),
                        _ => {
                            self.lexer.skip()?;
                        }
                    }
                }
                Kind::Other
            }
        };
        let range = self.since(tag);
        Ok(Resource {
            resource_type: Cow::Borrowed(tag.name),
            id,
            member: member..range.end,
            range,
            contained,
            members: None,
            kind,
        })
    }

    /// Reads the resource inside the element that `holder` began.
    fn held(&mut self, holder: &Tag<'a>, nesting: usize) -> Result<Resource<'a>, OutlineError> {
        let Some(tag) = self.child()? else { return shape(holder.range.start, "an element with a resource") };
        let mut resource = self.resource(holder.range.start, &tag, nesting)?;
        if let Some(second) = self.child()? {
            return shape(second.range.start, "one resource");
        }
        resource.member = self.since(holder);
        Ok(resource)
    }

    /// Passes over an element of a carrier of resources that no rule looks into. A resource in there would be
    /// shown unchecked, so none may be (RESP-1).
    fn pass_over(&mut self, tag: &Tag<'a>) -> Result<(), OutlineError> {
        const NOWHERE: &str = "no resource where none is looked for";
        if is_type_name(tag.name) {
            return shape(tag.range.start, NOWHERE);
        }
        let mut open = 1_usize;
        while open > 0 {
            match self.lexer.token()? {
                Some(Token::Start { name, range }) if is_type_name(name) => {
                    return shape(range.start, NOWHERE);
                }
                Some(Token::Start { .. }) => open += 1,
                Some(Token::End { .. }) => open -= 1,
                Some(Token::Text { .. }) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn contained(&mut self, holder: &Tag<'a>) -> Result<Cow<'a, str>, OutlineError> {
        let Some(tag) = self.child()?.filter(|tag| is_type_name(tag.name)) else {
            return shape(holder.range.start, "a contained resource");
        };
        self.lexer.skip()?;
        match self.child()? {
            Some(second) => shape(second.range.start, "one resource in each `contained`"),
            None => Ok(Cow::Borrowed(tag.name)),
        }
    }

    fn bundle(
        &mut self,
        tag: &Tag<'a>,
        id: &mut Option<Text<'a>>,
        nesting: usize,
    ) -> Result<Kind<'a>, OutlineError> {
        self.allowance.container(nesting)?;
        let mut bundle = Bundle { tail: tag.range.end, ..Bundle::default() };
        while let Some(child) = self.child()? {
            let at = child.range.start;
            match child.name {
                "id" => self.put(&child, id, "id")?,
                "type" => self.put(&child, &mut bundle.bundle_type, "type")?,
                "total" => {
                    let total = self.total(&child)?;
                    once(&mut bundle.total, total, at, "total")?;
                }
                "link" => bundle.links.push(self.link(&child)?),
                "entry" => {
                    self.allowance.entry()?;
                    bundle.entries.push(self.entry(&child, nesting)?);
                }
                "issues" => {
                    let issues = Box::new(self.held(&child, nesting + 1)?);
                    once(&mut bundle.issues, issues, at, "issues")?;
                }
                "contained" => return shape(at, "no `contained`: a Bundle has none"),
                _ => {
                    self.pass_over(&child)?;
                }
            }
            // The order of elements is fixed; entries stand before these.
            if !matches!(child.name, "signature" | "issues") {
                bundle.tail = self.lexer.position();
            }
        }
        if bundle.tail == tag.range.end {
            // `<Bundle/>` has no inside to put anything into, and no type.
            return shape(tag.range.start, "a Bundle with elements");
        }
        Ok(Kind::Bundle(Box::new(bundle)))
    }

    fn total(&mut self, tag: &Tag<'a>) -> Result<Total, OutlineError> {
        let text = self.text(tag)?;
        match text.text.parse() {
            Ok(number) => Ok(Total { number, value: text.value, member: text.member }),
            Err(_) => shape(tag.range.start, "a total, which is a number not below 0"),
        }
    }

    fn link(&mut self, tag: &Tag<'a>) -> Result<Link<'a>, OutlineError> {
        let (mut relation, mut url) = (None, None);
        while let Some(child) = self.child()? {
            match child.name {
                "relation" => self.put(&child, &mut relation, "relation")?,
                "url" => self.put(&child, &mut url, "url")?,
                _ => {
                    self.pass_over(&child)?;
                }
            }
        }
        Ok(Link { relation, url, range: self.since(tag) })
    }

    fn entry(&mut self, tag: &Tag<'a>, nesting: usize) -> Result<Entry<'a>, OutlineError> {
        let mut entry = Entry::default();
        let mut searched = None;
        while let Some(child) = self.child()? {
            let at = child.range.start;
            match child.name {
                "fullUrl" => self.put(&child, &mut entry.full_url, "fullUrl")?,
                "resource" => {
                    let resource = self.held(&child, nesting + 1)?;
                    once(&mut entry.resource, resource, at, "resource")?;
                }
                "search" => {
                    once(&mut searched, (), at, "search")?;
                    self.search_mode(&mut entry.search_mode)?;
                }
                "request" => {
                    let request = Box::new(self.request(&child)?);
                    once(&mut entry.request, request, at, "request")?;
                }
                "response" => {
                    let response = Box::new(self.response(&child, nesting)?);
                    once(&mut entry.response, response, at, "response")?;
                }
                _ => {
                    self.pass_over(&child)?;
                }
            }
        }
        entry.range = self.since(tag);
        Ok(entry)
    }

    fn search_mode(&mut self, mode: &mut Option<Text<'a>>) -> Result<(), OutlineError> {
        while let Some(child) = self.child()? {
            match child.name {
                "mode" => self.put(&child, mode, "mode")?,
                _ => {
                    self.pass_over(&child)?;
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, tag: &Tag<'a>) -> Result<EntryRequest<'a>, OutlineError> {
        let mut request = EntryRequest::default();
        while let Some(child) = self.child()? {
            let (place, name) = match child.name {
                "method" => (&mut request.method, "method"),
                "url" => (&mut request.url, "url"),
                "ifMatch" => (&mut request.if_match, "ifMatch"),
                "ifNoneMatch" => (&mut request.if_none_match, "ifNoneMatch"),
                "ifNoneExist" => (&mut request.if_none_exist, "ifNoneExist"),
                "ifModifiedSince" => (&mut request.if_modified_since, "ifModifiedSince"),
                _ => {
                    self.pass_over(&child)?;
                    continue;
                }
            };
            self.put(&child, place, name)?;
        }
        request.member = self.since(tag);
        Ok(request)
    }

    fn response(&mut self, tag: &Tag<'a>, nesting: usize) -> Result<EntryResponse<'a>, OutlineError> {
        let mut response = EntryResponse::default();
        while let Some(child) = self.child()? {
            let at = child.range.start;
            let (place, name) = match child.name {
                "status" => (&mut response.status, "status"),
                "location" => (&mut response.location, "location"),
                "etag" => (&mut response.etag, "etag"),
                "lastModified" => (&mut response.last_modified, "lastModified"),
                "outcome" => {
                    let outcome = Box::new(self.held(&child, nesting + 1)?);
                    once(&mut response.outcome, outcome, at, "outcome")?;
                    continue;
                }
                _ => {
                    self.pass_over(&child)?;
                    continue;
                }
            };
            self.put(&child, place, name)?;
        }
        response.member = self.since(tag);
        Ok(response)
    }

    /// Collects the resources of the parameter or part that is open.
    fn parameter(&mut self, held: &mut Vec<Resource<'a>>, nesting: usize) -> Result<(), OutlineError> {
        while let Some(child) = self.child()? {
            match child.name {
                "resource" => held.push(self.held(&child, nesting + 1)?),
                // Bounded: the lexer limits the depth of the document.
                "part" => self.parameter(held, nesting)?,
                _ => {
                    self.pass_over(&child)?;
                }
            }
        }
        Ok(())
    }
}
