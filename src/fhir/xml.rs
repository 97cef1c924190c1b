//! Reads FHIR's XML strictly, tag by tag, over bytes that are all there.
//!
//! This is not XML at large. FHIR needs elements, attributes and, inside the
//! narrative's `div`, text; whatever else XML offers has been used to make two
//! readers see two documents, and is refused: document types, entities beyond the
//! five and the numeric ones, processing instructions, other encodings than UTF-8,
//! and prefixes. A prefix could name FHIR's namespace or any other, so that
//! `f:Patient` is a Patient to one reader and unknown to another; documents that
//! bind FHIR to a prefix are legal XML, but no sender is known to need them
//! (FHIR R4 §2.1.4 XML, REST-10). The default namespace is FHIR's, and XHTML's
//! inside `div`; the one extra that is tolerated is `xsi:schemaLocation` on the root.
//!
//! It is written here because what is needed beyond a general reader (ranges of
//! attribute values, and these refusals) is most of the work; the tests compare
//! it with one.

use std::borrow::Cow;
use std::ops::Range;

/// FHIR's namespace.
pub const FHIR: &str = "http://hl7.org/fhir";
/// The namespace of the narrative.
pub const XHTML: &str = "http://www.w3.org/1999/xhtml";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Most attributes one element may have.
const ATTRIBUTES: usize = 32;

/// One tag or piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A start tag, or an empty element's only tag. Its attributes are in
    /// [`Lexer::attribute`] until the next token. An empty element is followed by
    /// an `End` without bytes.
    Start {
        /// The element's name.
        name: &'a str,
        /// The tag.
        range: Range<usize>,
    },
    /// The end of an element.
    End {
        /// The end tag.
        range: Range<usize>,
    },
    /// Text inside the narrative.
    Text {
        /// The text as written.
        range: Range<usize>,
    },
}

/// An attribute and where its value stands, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value as written.
    pub value: Range<usize>,
}

/// Why bytes are not the XML we accept, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct XmlError {
    /// Offset of what is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: XmlErrorKind,
}

/// The ways bytes fail to be FHIR's XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlErrorKind {
    /// The text begins with a UTF-8 byte order mark.
    #[error("byte order mark: expected UTF-8 without one")]
    ByteOrderMark,
    /// A character that XML does not know.
    #[error("expected no control characters")]
    Character,
    /// A document type, and with it entities.
    #[error("document type: expected none")]
    Doctype,
    /// An attribute that the element has already.
    #[error("attribute `{0}` appears twice in one element")]
    DuplicateAttribute(String),
    /// A declaration that asks for something else than XML 1.0 in UTF-8.
    #[error("expected the declaration of XML 1.0 in UTF-8")]
    Declaration,
    /// A reference to something else than a character.
    #[error("expected `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;` or a character reference")]
    Entity,
    /// An end tag that closes another element than the open one.
    #[error("expected the end tag of `{0}`")]
    Mismatch(String),
    /// A namespace that does not belong there.
    #[error("expected the namespace `{0}`")]
    Namespace(&'static str),
    /// Bytes that are not UTF-8.
    #[error("expected UTF-8")]
    NotUtf8,
    /// A name with a prefix.
    #[error("expected names without prefix, in the default namespace")]
    Prefix,
    /// A processing instruction.
    #[error("processing instruction: expected none")]
    ProcessingInstruction,
    /// Text where FHIR has only elements.
    #[error("text outside the narrative: expected only elements")]
    Text,
    /// More nesting than allowed.
    #[error("expected elements nested at most {0} deep")]
    TooDeep(usize),
    /// Something after the root element.
    #[error("expected nothing after the root element")]
    TrailingContent,
    /// Something else than the grammar asks for.
    #[error("expected {0}")]
    Unexpected(&'static str),
    /// The bytes end inside the document.
    #[error("the document ends too early")]
    UnexpectedEnd,
    /// The text is UTF-16.
    #[error("UTF-16: expected UTF-8")]
    Utf16,
}

/// Yields the tokens of one document. After an error it must not be asked again.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    attributes: Vec<Attribute<'a>>,
    /// How many elements were open where the narrative began.
    narrative: Option<usize>,
    /// An empty element has been begun and must be ended.
    empty: bool,
    /// The root has been begun.
    begun: bool,
    /// Where the root's namespace comes from.
    root: Root,
    depth: usize,
}

/// Whether the root declares its namespace or stands where FHIR's is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Declares,
    Inherits,
}

impl<'a> Lexer<'a> {
    /// Begins a document in which elements nest at most `depth` deep.
    pub fn new(bytes: &'a [u8], depth: usize) -> Result<Self, XmlError> {
        let fail = |offset, kind| Err(XmlError { offset, kind });
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => return fail(0, XmlErrorKind::ByteOrderMark),
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, _, ..] | [_, 0, ..] => {
                return fail(0, XmlErrorKind::Utf16);
            }
            _ => {}
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return fail(error.valid_up_to(), XmlErrorKind::NotUtf8),
        };
        if let Some(offset) = control_character(bytes) {
            return fail(offset, XmlErrorKind::Character);
        }
        let attributes = Vec::with_capacity(4);
        let mut lexer = Self {
            text,
            at: 0,
            open: Vec::new(),
            attributes,
            narrative: None,
            empty: false,
            begun: false,
            root: Root::Declares,
            depth,
        };
        lexer.declaration()?;
        Ok(lexer)
    }

    /// Begins an element that was cut out of a document in FHIR's namespace.
    pub fn within(bytes: &'a [u8], depth: usize) -> Result<Self, XmlError> {
        Ok(Self { root: Root::Inherits, ..Self::new(bytes, depth)? })
    }

    /// The next token; `None` once the root has ended and nothing follows.
    pub fn token(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        if std::mem::take(&mut self.empty) {
            self.leave();
            return Ok(Some(Token::End { range: self.at..self.at }));
        }
        loop {
            if let Some(text) = self.characters()? {
                return Ok(Some(text));
            }
            match self.rest() {
                [] if self.open.is_empty() && self.begun => return Ok(None),
                [] => return self.fail(XmlErrorKind::UnexpectedEnd),
                [b'<', b'/', ..] => return self.end().map(Some),
                [b'<', b'?', ..] => return self.fail(XmlErrorKind::ProcessingInstruction),
                [b'<', b'!', rest @ ..] => {
                    if rest.starts_with(b"--") {
                        self.comment()?;
                    } else if rest.starts_with(b"[CDATA[") {
                        return self.cdata().map(Some);
                    } else {
                        return self.fail(XmlErrorKind::Doctype);
                    }
                }
                _ => return self.start().map(Some),
            }
        }
    }

    /// Passes over what is left of the element whose `Start` was the last token,
    /// checking it, and says where it ends.
    pub fn skip(&mut self) -> Result<usize, XmlError> {
        let outside = self.open.len().saturating_sub(1);
        while self.open.len() > outside {
            if self.token()?.is_none() {
                return self.fail(XmlErrorKind::UnexpectedEnd);
            }
        }
        Ok(self.at)
    }

    /// An attribute of the start tag that was the last token.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The value of an attribute with its references resolved.
    pub fn value(&self, attribute: &Attribute<'a>) -> Cow<'a, str> {
        unescape(self.text.get(attribute.value.clone()).unwrap_or_default())
    }

    /// How far the document has been read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn fail<T>(&self, kind: XmlErrorKind) -> Result<T, XmlError> {
        Err(XmlError { offset: self.at, kind })
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn declaration(&mut self) -> Result<(), XmlError> {
        if !matches!(self.rest(), [b'<', b'?', b'x', b'm', b'l', b' ' | b'\t' | b'\n' | b'\r', ..]) {
            return Ok(());
        }
        self.at += "<?xml".len();
        self.read_attributes()?;
        let mut names = Vec::new();
        for attribute in std::mem::take(&mut self.attributes) {
            let value = self.text.get(attribute.value).unwrap_or_default();
            let fine = match attribute.name {
                "version" => value == "1.0",
                "encoding" => value.eq_ignore_ascii_case("utf-8"),
                "standalone" => value == "yes" || value == "no",
                _ => false,
            };
            if !fine {
                return self.fail(XmlErrorKind::Declaration);
            }
            names.push(attribute.name);
        }
        if !names
            .is_sorted_by_key(|name| ["version", "encoding", "standalone"].iter().position(|it| it == name))
            || names.first() != Some(&"version")
            || !self.rest().starts_with(b"?>")
        {
            return self.fail(XmlErrorKind::Declaration);
        }
        self.at += "?>".len();
        Ok(())
    }

    /// Text up to the next tag. Outside the narrative there is only whitespace.
    fn characters(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        if self.narrative.is_none() {
            self.whitespace();
            return match self.peek() {
                None | Some(b'<') => Ok(None),
                Some(_) if self.open.is_empty() && self.begun => self.fail(XmlErrorKind::TrailingContent),
                Some(_) => self.fail(XmlErrorKind::Text),
            };
        }
        let start = self.at;
        while let Some(found) = memchr::memchr3(b'<', b'&', b'>', self.rest()) {
            self.at += found;
            match self.peek() {
                Some(b'&') => self.reference()?,
                Some(b'>') => {
                    // `]]>` may not stand in text: XML 1.0 §2.4.
                    let text = self.text.as_bytes().get(start..self.at).unwrap_or_default();
                    if text.ends_with(b"]]") {
                        return self.fail(XmlErrorKind::Unexpected("no `]]>` in text"));
                    }
                    self.at += 1;
                }
                _ => break,
            }
        }
        if self.peek() != Some(b'<') {
            self.at = self.text.len();
        }
        let range = start..self.at;
        Ok((!range.is_empty()).then_some(Token::Text { range }))
    }

    fn comment(&mut self) -> Result<(), XmlError> {
        let inside = self.rest().get("<!--".len()..).unwrap_or_default();
        let Some(dashes) = memchr::memmem::find(inside, b"--") else {
            return self.fail(XmlErrorKind::UnexpectedEnd);
        };
        if inside.get(dashes + 2) != Some(&b'>') {
            return self.fail(XmlErrorKind::Unexpected("no `--` inside a comment"));
        }
        self.at += "<!--".len() + dashes + "-->".len();
        Ok(())
    }

    fn cdata(&mut self) -> Result<Token<'a>, XmlError> {
        if self.narrative.is_none() {
            return self.fail(XmlErrorKind::Text);
        }
        let start = self.at;
        match memchr::memmem::find(self.rest(), b"]]>") {
            Some(length) => self.at += length + "]]>".len(),
            None => return self.fail(XmlErrorKind::UnexpectedEnd),
        }
        Ok(Token::Text { range: start..self.at })
    }

    fn end(&mut self) -> Result<Token<'a>, XmlError> {
        let start = self.at;
        let Some(open) = self.open.last().copied() else {
            return self.fail(XmlErrorKind::TrailingContent);
        };
        self.at += "</".len();
        if self.name()? != open {
            self.at = start;
            return self.fail(XmlErrorKind::Mismatch(open.to_owned()));
        }
        self.whitespace();
        if self.peek() != Some(b'>') {
            return self.fail(XmlErrorKind::Unexpected("`>`"));
        }
        self.at += 1;
        self.leave();
        Ok(Token::End { range: start..self.at })
    }

    fn leave(&mut self) {
        self.open.pop();
        if self.narrative == Some(self.open.len()) {
            self.narrative = None;
        }
    }

    fn start(&mut self) -> Result<Token<'a>, XmlError> {
        let start = self.at;
        if self.open.is_empty() && self.begun {
            return self.fail(XmlErrorKind::TrailingContent);
        }
        if self.open.len() >= self.depth {
            return self.fail(XmlErrorKind::TooDeep(self.depth));
        }
        self.at += 1;
        let name = self.name()?;
        self.read_attributes()?;
        self.namespaces(name)?;
        match self.rest() {
            [b'/', b'>', ..] => {
                self.at += 2;
                self.empty = true;
            }
            [b'>', ..] => self.at += 1,
            [] => return self.fail(XmlErrorKind::UnexpectedEnd),
            _ => return self.fail(XmlErrorKind::Unexpected("an attribute, `>` or `/>`")),
        }
        self.open.push(name);
        self.begun = true;
        Ok(Token::Start { name, range: start..self.at })
    }

    /// Element names here are ASCII, which is all that FHIR and XHTML use.
    fn name(&mut self) -> Result<&'a str, XmlError> {
        let length = self
            .rest()
            .iter()
            .take_while(
                |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':'),
            )
            .count();
        let name = self.text.get(self.at..self.at + length).unwrap_or_default();
        match name.as_bytes().first() {
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => {}
            Some(_) => return self.fail(XmlErrorKind::Unexpected("a name")),
            None if self.rest().is_empty() => return self.fail(XmlErrorKind::UnexpectedEnd),
            None => return self.fail(XmlErrorKind::Unexpected("a name of ASCII letters")),
        }
        self.at += length;
        Ok(name)
    }

    fn read_attributes(&mut self) -> Result<(), XmlError> {
        self.attributes.clear();
        loop {
            let before = self.at;
            self.whitespace();
            if matches!(self.peek(), None | Some(b'>' | b'/' | b'?')) {
                return Ok(());
            }
            if self.at == before {
                return self.fail(XmlErrorKind::Unexpected("a blank before an attribute"));
            }
            let attribute = self.read_attribute()?;
            if self.attribute(attribute.name).is_some() || self.attributes.len() >= ATTRIBUTES {
                return self
                    .fail(XmlErrorKind::DuplicateAttribute(attribute.name.chars().take(64).collect()));
            }
            self.attributes.push(attribute);
        }
    }

    fn read_attribute(&mut self) -> Result<Attribute<'a>, XmlError> {
        let name = self.name()?;
        self.whitespace();
        if self.peek() != Some(b'=') {
            return self.fail(XmlErrorKind::Unexpected("`=`"));
        }
        self.at += 1;
        self.whitespace();
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => quote,
            Some(_) => return self.fail(XmlErrorKind::Unexpected("a quoted value")),
            None => return self.fail(XmlErrorKind::UnexpectedEnd),
        };
        self.at += 1;
        let start = self.at;
        loop {
            let Some(found) = memchr::memchr3(quote, b'&', b'<', self.rest()) else {
                return self.fail(XmlErrorKind::UnexpectedEnd);
            };
            self.at += found;
            match self.peek() {
                Some(b'&') => self.reference()?,
                Some(b'<') => return self.fail(XmlErrorKind::Unexpected("no `<` in a value")),
                _ => break,
            }
        }
        self.at += 1;
        Ok(Attribute { name, value: start..self.at - 1 })
    }

    fn reference(&mut self) -> Result<(), XmlError> {
        match one_reference(self.rest()) {
            Some((_, length)) => {
                self.at += length;
                Ok(())
            }
            None => self.fail(XmlErrorKind::Entity),
        }
    }

    /// Checks the names of a start tag: no prefixes, FHIR's namespace outside the
    /// narrative, XHTML's inside.
    fn namespaces(&mut self, name: &'a str) -> Result<(), XmlError> {
        let root = self.open.is_empty();
        let inside = self.narrative.is_some();
        if name.contains(':') {
            return self.fail(XmlErrorKind::Prefix);
        }
        for attribute in self.attributes.iter().filter(|attribute| attribute.name.contains(':')) {
            let value = self.value(attribute);
            let fine = match attribute.name {
                "xmlns:xsi" => root && value == XSI,
                "xsi:schemaLocation" => root && self.attribute("xmlns:xsi").is_some(),
                "xml:lang" | "xml:space" => inside || name == "div",
                _ => false,
            };
            if !fine {
                return self.fail(XmlErrorKind::Prefix);
            }
        }
        let declared = self.attribute("xmlns").map(|attribute| self.value(attribute));
        let expected = if inside || (name == "div" && !root) { XHTML } else { FHIR };
        let must_declare = (root && self.root == Root::Declares) || (name == "div" && !inside);
        match declared {
            Some(declared) if declared != expected => return self.fail(XmlErrorKind::Namespace(expected)),
            None if must_declare => return self.fail(XmlErrorKind::Namespace(expected)),
            _ => {}
        }
        if !inside && expected == XHTML {
            self.narrative = Some(self.open.len());
        }
        Ok(())
    }
}

/// Resolves the references of an attribute's value and its line breaks, as XML
/// 1.0 §3.3.3 says. Meant for text that a [`Lexer`] has passed.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let Some(first) = bytes.iter().position(|byte| matches!(byte, b'&' | b'\t' | b'\n' | b'\r')) else {
        return Cow::Borrowed(raw);
    };
    let (plain, mut rest) = raw.split_at_checked(first).unwrap_or((raw, ""));
    let mut text = String::with_capacity(raw.len());
    text.push_str(plain);
    while let Some(next) = rest.chars().next() {
        let (decoded, length) = match next {
            '&' => one_reference(rest.as_bytes()).unwrap_or(('&', 1)),
            '\r' if rest.starts_with("\r\n") => (' ', 2),
            '\t' | '\n' | '\r' => (' ', 1),
            _ => (next, next.len_utf8()),
        };
        text.push(decoded);
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(text)
}

/// Appends `text` as the inside of an attribute's value.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'\t' => out.extend_from_slice(b"&#9;"),
            b'\n' => out.extend_from_slice(b"&#10;"),
            b'\r' => out.extend_from_slice(b"&#13;"),
            // XML cannot carry the other control characters in any form.
            0..0x20 => out.extend_from_slice("\u{FFFD}".as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Reads the reference that `rest` begins with: its character and its length.
pub(super) fn one_reference(rest: &[u8]) -> Option<(char, usize)> {
    let end = rest.iter().take(16).position(|byte| *byte == b';')?;
    let decoded = match rest.get(1..end)? {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    Some((decoded, end + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let mut code = 0u32;
    for digit in digits {
        code = code.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)?;
    }
    let decoded = char::from_u32(code).filter(|_| !digits.is_empty())?;
    // XML 1.0 §2.2, Char.
    let known = decoded >= ' ' || matches!(decoded, '\t' | '\n' | '\r');
    (known && !matches!(decoded, '\u{FFFE}' | '\u{FFFF}')).then_some(decoded)
}

/// The first byte that XML does not allow, looked for in blocks so that the
/// common case is one comparison after another without a branch.
fn control_character(bytes: &[u8]) -> Option<usize> {
    let bad = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    for (at, block) in bytes.chunks(64).enumerate() {
        if block.iter().fold(false, |found, byte| found | bad(byte)) {
            return block.iter().position(bad).map(|within| at * 64 + within);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::events::Event;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<String>, XmlError> {
        let mut lexer = Lexer::new(bytes, 100)?;
        let mut seen = Vec::new();
        while let Some(token) = lexer.token()? {
            seen.push(match token {
                Token::Start { name, .. } => {
                    let attributes: Vec<_> = lexer
                        .attributes
                        .iter()
                        .map(|attribute| format!(" {}={}", attribute.name, lexer.value(attribute)))
                        .collect();
                    format!("<{name}{}", attributes.concat())
                }
                Token::End { .. } => ">".to_owned(),
                Token::Text { range } => format!("{:?}", lexer.text.get(range).unwrap()),
            });
        }
        Ok(seen)
    }

    fn refused(bytes: &[u8]) -> String {
        read(bytes).err().map_or_else(|| "accepted".to_owned(), |error| error.kind.to_string())
    }

    const PATIENT: &str = r#"<Patient xmlns="http://hl7.org/fhir">"#;
    const DIV: &str = r#"<div xmlns="http://www.w3.org/1999/xhtml">"#;

    #[test]
    fn tokens_come_in_order_with_their_values() {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c -->{PATIENT}<id value='a&amp;b&#x41;&#66;'/>\
             <text>{DIV}a &lt; <b>c</b><![CDATA[<x>]]></div></text></Patient>\n"
        );
        let seen = read(text.as_bytes()).unwrap();
        assert_eq!(
            seen,
            [
                "<Patient xmlns=http://hl7.org/fhir",
                "<id value=a&bAB",
                ">",
                "<text",
                "<div xmlns=http://www.w3.org/1999/xhtml",
                "\"a &lt; \"",
                "<b",
                "\"c\"",
                ">",
                "\"<![CDATA[<x>]]>\"",
                ">",
                ">",
                ">"
            ]
        );
    }

    const FHIR_EXPECTED: &str = "expected the namespace `http://hl7.org/fhir`";
    const XHTML_EXPECTED: &str = "expected the namespace `http://www.w3.org/1999/xhtml`";
    const PREFIX: &str = "expected names without prefix, in the default namespace";
    const ENTITY: &str = "expected `&amp;`, `&lt;`, `&gt;`, `&quot;`, `&apos;` or a character reference";
    const DECLARATION: &str = "expected the declaration of XML 1.0 in UTF-8";

    fn in_patient(inside: &str) -> String {
        format!("{PATIENT}{inside}</Patient>")
    }

    fn in_div(inside: &str) -> String {
        in_patient(&format!("<text>{DIV}{inside}</div></text>"))
    }

    fn check(table: &[(String, &str)]) {
        let wrong: Vec<_> = table
            .iter()
            .map(|(text, means)| (text, refused(text.as_bytes()), *means))
            .filter(|(_, got, means)| got != means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
    }

    /// REST-10, PARS-007 … 011, PARS-021, PARS-022: each with a neighbour.
    #[test]
    fn what_stands_around_the_root() {
        check(&[
            (in_patient(""), "accepted"),
            (String::new(), "the document ends too early"),
            (PATIENT.to_owned(), "the document ends too early"),
            (in_patient("") + " <!-- end --> ", "accepted"),
            (in_patient("") + "x", "expected nothing after the root element"),
            (in_patient("") + &in_patient(""), "expected nothing after the root element"),
            (in_patient("") + "</Patient>", "expected nothing after the root element"),
            ("\u{FEFF}".to_owned() + &in_patient(""), "byte order mark: expected UTF-8 without one"),
            ("<?xml version=\"1.0\"?>".to_owned() + &in_patient(""), "accepted"),
            ("<?xml version=\"1.1\"?>".to_owned() + &in_patient(""), DECLARATION),
            (
                "<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes' ?>".to_owned() + &in_patient(""),
                "accepted",
            ),
            ("<?xml version=\"1.0\" encoding=\"UTF-7\"?>".to_owned() + &in_patient(""), DECLARATION),
            ("<?xml encoding=\"UTF-8\" version=\"1.0\"?>".to_owned() + &in_patient(""), DECLARATION),
            (
                " <?xml version=\"1.0\"?>".to_owned() + &in_patient(""),
                "processing instruction: expected none",
            ),
            (in_patient("<?php ?>"), "processing instruction: expected none"),
            (
                "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///\">]>".to_owned() + &in_patient(""),
                "document type: expected none",
            ),
            ("<!doctype x>".to_owned() + &in_patient(""), "document type: expected none"),
        ]);
    }

    /// XML 1.0 as far as FHIR R4 §2.1.4 needs it.
    #[test]
    fn tags_attributes_and_text() {
        check(&[
            (in_patient("<id value=\"&e;\"/>"), ENTITY),
            (in_patient("<id value=\"&nbsp;\"/>"), ENTITY),
            (in_patient("<id value=\"a & b\"/>"), ENTITY),
            (in_patient("<id value=\"&#0;\"/>"), ENTITY),
            (in_patient("<id value=\"&#xD800;\"/>"), ENTITY),
            (in_patient("<id value=\"&#;\"/>"), ENTITY),
            (in_patient("<id value=\"&#x1F600;&apos;&quot;&gt;\"/>"), "accepted"),
            (in_patient("<id value=\"\u{1}\"/>"), "expected no control characters"),
            (in_patient("<id value=\"a<b\"/>"), "expected no `<` in a value"),
            (in_patient("<id value=a/>"), "expected a quoted value"),
            (in_patient("<id value/>"), "expected `=`"),
            (in_patient("<id value='a'id='b'/>"), "expected a blank before an attribute"),
            (in_patient("<id value='a' value='b'/>"), "attribute `value` appears twice in one element"),
            (in_patient("<id value='a' Value='b'/>"), "accepted"),
            (in_patient("<id value='a'></id>"), "accepted"),
            (in_patient("<id value='a'></Id>"), "expected the end tag of `id`"),
            (in_patient("<id value='a'>"), "expected the end tag of `id`"),
            (in_patient("<\u{e4} value='a'/>"), "expected a name of ASCII letters"),
            (in_patient("text"), "text outside the narrative: expected only elements"),
            (in_patient("<![CDATA[x]]>"), "text outside the narrative: expected only elements"),
            (in_patient("<!-- a -->"), "accepted"),
            (in_patient("<!-- a -- b -->"), "expected no `--` inside a comment"),
            (in_patient("<!-- a"), "the document ends too early"),
        ]);
    }

    /// One default namespace, and XHTML's inside the narrative.
    #[test]
    fn namespaces_are_those_of_fhir() {
        check(&[
            ("<Patient/>".to_owned(), FHIR_EXPECTED),
            ("<Patient xmlns='http://hl7.org/fhir/'/>".to_owned(), FHIR_EXPECTED),
            ("<Patient xmlns='http://hl7.org/fhir'/>".to_owned(), "accepted"),
            ("<f:Patient xmlns:f='http://hl7.org/fhir'/>".to_owned(), PREFIX),
            ("<f:Patient xmlns='http://hl7.org/fhir' xmlns:f='urn:x'/>".to_owned(), PREFIX),
            (in_patient("<id xmlns='http://hl7.org/fhir' value='a'/>"), "accepted"),
            (in_patient("<id xmlns='urn:x' value='a'/>"), FHIR_EXPECTED),
            (in_patient("<id xmlns='' value='a'/>"), FHIR_EXPECTED),
            (in_patient("<x:id value='a'/>"), PREFIX),
            (in_patient("<id x:value='a'/>"), PREFIX),
            (
                "<Patient xmlns='http://hl7.org/fhir' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' \
                 xsi:schemaLocation='http://hl7.org/fhir ../fhir-all.xsd'/>"
                    .to_owned(),
                "accepted",
            ),
            ("<Patient xmlns='http://hl7.org/fhir' xmlns:xsi='http://hl7.org/fhir'/>".to_owned(), PREFIX),
            ("<div xmlns='http://www.w3.org/1999/xhtml'/>".to_owned(), FHIR_EXPECTED),
            (in_patient("<text><div/></text>"), XHTML_EXPECTED),
            (in_div("<p xml:lang='de' class='x'>text</p>"), "accepted"),
            (in_div("<div>nested</div>after"), "accepted"),
            (in_div("<p xmlns='http://hl7.org/fhir'/>"), XHTML_EXPECTED),
            (in_div("<svg:p/>"), PREFIX),
            (in_div("a ]]> b"), "expected no `]]>` in text"),
            (in_div("a & b"), ENTITY),
            (
                in_div("x").replace("</text>", "y</text>"),
                "text outside the narrative: expected only elements",
            ),
        ]);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            format!("{PATIENT}{}{}</Patient>", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1))
        };
        assert_eq!(refused(nested(100).as_bytes()), "accepted");
        assert!(refused(nested(101).as_bytes()).contains("at most 100 deep"));
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        let text = "<a href=\"x\">'b' & c</a>\n\t\r\u{e9}";
        let mut written = Vec::new();
        escape_into(text, &mut written);
        assert_eq!(unescape(std::str::from_utf8(&written).unwrap()), text);
        assert_eq!(unescape("a\r\nb\tc\nd"), "a b c d");
    }

    /// The same document through a general reader, in the words of `read`.
    fn other(text: &str) -> Vec<String> {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut seen = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    let attributes: Vec<_> = tag
                        .attributes()
                        .map(|attribute| {
                            let attribute = attribute.unwrap();
                            let name = attribute.key.as_ref().to_owned();
                            let value = attribute.value.into_owned();
                            format!(" {name}={}", quick_xml::escape::unescape(&value).unwrap())
                        })
                        .collect();
                    let name = tag.name().as_ref().to_owned();
                    seen.push(format!("<{name}{}", attributes.concat()));
                }
                Event::End(_) => seen.push(">".to_owned()),
                Event::Eof => return seen,
                Event::Empty(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
    }

    proptest! {
        /// Whatever is accepted, a general reader understands the same way.
        #[test]
        fn agrees_with_another_reader(parts in prop::collection::vec(prop_oneof![
            Just("<a>".to_owned()), Just("</a>".to_owned()), Just("<b/>".to_owned()), Just(" ".to_owned()),
            Just("<!-- x -->".to_owned()), Just("<b c='".to_owned()), Just("'/>".to_owned()),
            "[a-c&;#x1-9<>'\" =/-]{0,6}",
            Just(" d=\"&amp;&#65;\"".to_owned()), Just("<e".to_owned()), Just(">".to_owned()),
        ], 0..12)) {
            let text = format!("{PATIENT}{}</Patient>", parts.concat());
            if let Ok(seen) = read(text.as_bytes()) {
                prop_assert_eq!(seen, other(&text));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..300) {
            let _ = read(&bytes);
            let text = [PATIENT.as_bytes(), &bytes].concat();
            let _ = read(&text);
            let whole = format!("{PATIENT}<text>{DIV}<p>&amp;</p></div></text><id value=\"\u{e9}&#65;\"/></Patient>");
            let _ = read(whole.as_bytes().get(..cut.min(whole.len())).unwrap());
        }
    }
}
