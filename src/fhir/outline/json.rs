//! The outline of a JSON body.

use std::borrow::Cow;
use std::ops::Range;

use super::{
    Allowance, Bundle, Entry, EntryRequest, EntryResponse, Kind, Limits, Link, Member, OutlineError,
    Resource, Text, Total, is_type_name,
};
use crate::fhir::json::{JsonError, JsonErrorKind, Lexeme, Lexer, Token};

pub(super) fn read(bytes: &[u8], limits: Limits) -> Result<Resource<'_>, OutlineError> {
    let mut reader = Reader { lexer: Lexer::new(bytes, limits.depth)?, allowance: Allowance::new(limits) };
    let begun = reader.next()?;
    let root = reader.resource(begun.range.start, &begun, 0)?;
    // Asked once more so that trailing content is refused.
    match reader.lexer.token()? {
        None => Ok(root),
        Some(more) => shape(&more, "nothing after the resource"),
    }
}

/// As many members as most resources have at most.
const MEMBERS: usize = 16;

struct Reader<'a> {
    lexer: Lexer<'a>,
    allowance: Allowance,
}

/// Which members of a resource are opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Bundle,
    Neither,
    Parameters,
}

fn shape<T>(found: &Lexeme, expected: &'static str) -> Result<T, OutlineError> {
    Err(OutlineError::Shape { offset: found.range.start, expected })
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Lexeme, OutlineError> {
        let offset = self.lexer.position();
        Ok(self.lexer.token()?.ok_or(JsonError { offset, kind: JsonErrorKind::UnexpectedEnd })?)
    }

    /// The next key of the object that is open, or `None` at its end.
    fn key(&mut self) -> Result<Option<(Lexeme, Cow<'a, str>)>, OutlineError> {
        let next = self.next()?;
        if next.token == Token::Key {
            let name = self.lexer.text(&next);
            return Ok(Some((next, name)));
        }
        Ok(None)
    }

    fn skip(&mut self) -> Result<usize, OutlineError> {
        let begun = self.next()?;
        Ok(self.lexer.skip(&begun)?)
    }

    /// Passes over a member of a carrier of resources that no rule looks into. A resource in there would be
    /// shown unchecked, so none may be (RESP-1).
    fn pass_over(&mut self) -> Result<usize, OutlineError> {
        let begun = self.next()?;
        let mut open = usize::from(matches!(begun.token, Token::ObjectStart | Token::ArrayStart));
        while open > 0 {
            let lexeme = self.next()?;
            match lexeme.token {
                Token::ObjectStart | Token::ArrayStart => open += 1,
                Token::ObjectEnd | Token::ArrayEnd => open -= 1,
                Token::Key if self.lexer.text(&lexeme) == "resourceType" => {
                    return shape(&lexeme, "no resource where none is looked for");
                }
                Token::Key | Token::False | Token::Null | Token::Number | Token::String | Token::True => {}
            }
        }
        Ok(self.lexer.position())
    }

    /// The same for a member of a part of a carrier, which is no resource itself.
    fn pass_part(&mut self, key: &Lexeme, name: &str) -> Result<usize, OutlineError> {
        if name == "resourceType" {
            return shape(key, "no resource where none is looked for");
        }
        self.pass_over()
    }

    fn object(&mut self, expected: &'static str) -> Result<Lexeme, OutlineError> {
        let begun = self.next()?;
        if begun.token == Token::ObjectStart { Ok(begun) } else { shape(&begun, expected) }
    }

    /// The next item of the array that is open, which must be an object; `None`
    /// at the array's end.
    fn item(&mut self, expected: &'static str) -> Result<Option<Lexeme>, OutlineError> {
        let next = self.next()?;
        match next.token {
            Token::ArrayEnd => Ok(None),
            Token::ObjectStart => Ok(Some(next)),
            Token::ArrayStart
            | Token::False
            | Token::Key
            | Token::Null
            | Token::Number
            | Token::ObjectEnd
            | Token::String
            | Token::True => shape(&next, expected),
        }
    }

    fn array(&mut self, expected: &'static str) -> Result<(), OutlineError> {
        let begun = self.next()?;
        if begun.token == Token::ArrayStart { Ok(()) } else { shape(&begun, expected) }
    }

    fn string(&mut self, key: &Lexeme) -> Result<Text<'a>, OutlineError> {
        let found = self.next()?;
        if found.token != Token::String {
            return shape(&found, "a string");
        }
        Ok(Text {
            text: self.lexer.text(&found),
            value: found.range.start + 1..found.range.end - 1,
            member: key.range.start..found.range.end,
        })
    }

    /// Reads the resource that `begun` begins; `member` is where its name stands.
    fn resource(
        &mut self,
        member: usize,
        begun: &Lexeme,
        nesting: usize,
    ) -> Result<Resource<'a>, OutlineError> {
        if begun.token != Token::ObjectStart {
            return shape(begun, "a resource, which is an object");
        }
        let resource_type = self.type_of(begun)?;
        let container = match &*resource_type {
            "Bundle" => Container::Bundle,
            "Parameters" => Container::Parameters,
            _ => Container::Neither,
        };
        if container != Container::Neither {
            self.allowance.container(nesting)?;
        }
        let (mut id, mut contained) = (None, Vec::new());
        let (mut bundle, mut held) = (Bundle::default(), Vec::new());
        let mut tail = begun.range.end;
        let (unusual, mut members) = (self.lexer.unusual(), Vec::with_capacity(MEMBERS));
        while let Some((key, name)) = self.key()? {
            let from = self.lexer.position();
            tail = match (container, &*name) {
                (_, "id") => {
                    let text = self.string(&key)?;
                    let end = text.member.end;
                    id = Some(text);
                    end
                }
                (_, "contained") => self.contained(&mut contained)?,
                (Container::Bundle, _) => self.bundle_member(&key, &name, &mut bundle, nesting)?,
                (Container::Parameters, "parameter") => self.parameters(&mut held, nesting)?,
                (Container::Parameters, _) => self.pass_over()?,
                (Container::Neither, _) => self.skip()?,
            };
            if container == Container::Neither {
                members.extend(self.member(name, from..tail));
            }
        }
        bundle.tail = tail;
        let kind = match container {
            Container::Bundle => Kind::Bundle(Box::new(bundle)),
            Container::Parameters => Kind::Parameters(held),
            Container::Neither => Kind::Other,
        };
        let end = self.lexer.position();
        let plain = container == Container::Neither && self.lexer.unusual() == unusual;
        Ok(Resource {
            resource_type,
            id,
            range: begun.range.start..end,
            member: member..end,
            contained,
            members: plain.then_some(members),
            kind,
        })
    }

    /// A member as a view of elements reads it. A name with escapes has none, and is unusual to the lexer.
    fn member(&self, name: Cow<'a, str>, value: Range<usize>) -> Option<Member<'a>> {
        let Cow::Borrowed(name) = name else { return None };
        let value = self.lexer.source().get(value)?;
        (name != "resourceType").then_some(Member { name, value })
    }

    /// Reads the value of a member that holds a resource.
    fn held(&mut self, key: &Lexeme, nesting: usize) -> Result<Resource<'a>, OutlineError> {
        let begun = self.next()?;
        self.resource(key.range.start, &begun, nesting)
    }

    /// The type of the resource that `begun` begins. The order of members is
    /// free, so it may stand last, after what can only be read knowing it.
    fn type_of(&self, begun: &Lexeme) -> Result<Cow<'a, str>, OutlineError> {
        if let Some(name) = self.first_type(begun) {
            return Ok(Cow::Borrowed(name));
        }
        let mut ahead = self.lexer.ahead(begun.range.start);
        ahead.token()?;
        while let Some(key) = ahead.token()?.filter(|next| next.token == Token::Key) {
            let Some(value) = ahead.token()? else { break };
            if ahead.text(&key) == "resourceType" {
                let name = ahead.text(&value);
                if value.token != Token::String || !is_type_name(&name) {
                    return shape(&value, "a resource type's name");
                }
                return Ok(name);
            }
            ahead.skip(&value)?;
        }
        shape(begun, "a resource with `resourceType`")
    }

    /// The type when it stands first and plain, as most write it. The lexer has
    /// still to pass these bytes, so nothing is taken on trust.
    fn first_type(&self, begun: &Lexeme) -> Option<&'a str> {
        let rest = self.lexer.source().get(begun.range.end..)?;
        let rest = rest.trim_start().strip_prefix("\"resourceType\"")?;
        let rest = rest.trim_start().strip_prefix(':')?;
        let (name, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        is_type_name(name).then_some(name)
    }

    fn contained(&mut self, types: &mut Vec<Cow<'a, str>>) -> Result<usize, OutlineError> {
        self.array("`contained` to be an array")?;
        while let Some(begun) = self.item("a contained resource")? {
            types.push(self.type_of(&begun)?);
            self.lexer.skip(&begun)?;
        }
        Ok(self.lexer.position())
    }

    fn bundle_member(
        &mut self,
        key: &Lexeme,
        name: &str,
        bundle: &mut Bundle<'a>,
        nesting: usize,
    ) -> Result<usize, OutlineError> {
        let from = key.range.start;
        match name {
            "type" => bundle.bundle_type = Some(self.string(key)?),
            "total" => bundle.total = Some(self.total(key)?),
            "link" => {
                bundle.links = self.links()?;
                bundle.link_member = Some(from..self.lexer.position());
            }
            "entry" => {
                self.array("`entry` to be an array")?;
                while let Some(begun) = self.item("an entry, which is an object")? {
                    self.allowance.entry()?;
                    bundle.entries.push(self.entry(&begun, nesting)?);
                }
                bundle.entry_member = Some(from..self.lexer.position());
            }
            "issues" => bundle.issues = Some(Box::new(self.held(key, nesting + 1)?)),
            _ => return self.pass_over(),
        }
        Ok(self.lexer.position())
    }

    fn total(&mut self, key: &Lexeme) -> Result<Total, OutlineError> {
        let found = self.next()?;
        match (found.token, self.lexer.text(&found).parse()) {
            (Token::Number, Ok(number)) => {
                Ok(Total { number, value: found.range.clone(), member: key.range.start..found.range.end })
            }
            _ => shape(&found, "a total, which is a number not below 0"),
        }
    }

    fn links(&mut self) -> Result<Vec<Link<'a>>, OutlineError> {
        self.array("`link` to be an array")?;
        let mut links = Vec::new();
        while let Some(begun) = self.item("a link, which is an object")? {
            let (mut relation, mut url) = (None, None);
            while let Some((key, name)) = self.key()? {
                match &*name {
                    "relation" => relation = Some(self.string(&key)?),
                    "url" => url = Some(self.string(&key)?),
                    _ => {
                        self.pass_part(&key, &name)?;
                    }
                }
            }
            links.push(Link { relation, url, range: self.since(&begun) });
        }
        Ok(links)
    }

    fn entry(&mut self, begun: &Lexeme, nesting: usize) -> Result<Entry<'a>, OutlineError> {
        let mut entry = Entry::default();
        while let Some((key, name)) = self.key()? {
            match &*name {
                "fullUrl" => entry.full_url = Some(self.string(&key)?),
                "resource" => entry.resource = Some(self.held(&key, nesting + 1)?),
                "search" => entry.search_mode = self.search_mode()?,
                "request" => entry.request = Some(Box::new(self.request(&key)?)),
                "response" => entry.response = Some(Box::new(self.response(&key, nesting)?)),
                _ => {
                    self.pass_part(&key, &name)?;
                }
            }
        }
        entry.range = self.since(begun);
        Ok(entry)
    }

    fn search_mode(&mut self) -> Result<Option<Text<'a>>, OutlineError> {
        self.object("`search` to be an object")?;
        let mut mode = None;
        while let Some((key, name)) = self.key()? {
            if name == "mode" {
                mode = Some(self.string(&key)?);
            } else {
                self.pass_part(&key, &name)?;
            }
        }
        Ok(mode)
    }

    fn request(&mut self, key: &Lexeme) -> Result<EntryRequest<'a>, OutlineError> {
        self.object("`request` to be an object")?;
        let mut request = EntryRequest::default();
        while let Some((key, name)) = self.key()? {
            let place = match &*name {
                "method" => &mut request.method,
                "url" => &mut request.url,
                "ifMatch" => &mut request.if_match,
                "ifNoneMatch" => &mut request.if_none_match,
                "ifNoneExist" => &mut request.if_none_exist,
                "ifModifiedSince" => &mut request.if_modified_since,
                _ => {
                    self.pass_part(&key, &name)?;
                    continue;
                }
            };
            *place = Some(self.string(&key)?);
        }
        request.member = self.since(key);
        Ok(request)
    }

    fn response(&mut self, key: &Lexeme, nesting: usize) -> Result<EntryResponse<'a>, OutlineError> {
        self.object("`response` to be an object")?;
        let mut response = EntryResponse::default();
        while let Some((key, name)) = self.key()? {
            let place = match &*name {
                "status" => &mut response.status,
                "location" => &mut response.location,
                "etag" => &mut response.etag,
                "lastModified" => &mut response.last_modified,
                "outcome" => {
                    response.outcome = Some(Box::new(self.held(&key, nesting + 1)?));
                    continue;
                }
                _ => {
                    self.pass_part(&key, &name)?;
                    continue;
                }
            };
            *place = Some(self.string(&key)?);
        }
        response.member = self.since(key);
        Ok(response)
    }

    /// Collects the resources of an array of parameters or parts.
    fn parameters(&mut self, held: &mut Vec<Resource<'a>>, nesting: usize) -> Result<usize, OutlineError> {
        self.array("`parameter` and `part` to be arrays")?;
        while self.item("a parameter, which is an object")?.is_some() {
            while let Some((key, name)) = self.key()? {
                match &*name {
                    "resource" => held.push(self.held(&key, nesting + 1)?),
                    // Bounded: the lexer limits the depth of the document.
                    "part" => {
                        self.parameters(held, nesting)?;
                    }
                    _ => {
                        self.pass_part(&key, &name)?;
                    }
                }
            }
        }
        Ok(self.lexer.position())
    }

    fn since(&self, begun: &Lexeme) -> Range<usize> {
        begun.range.start..self.lexer.position()
    }
}
