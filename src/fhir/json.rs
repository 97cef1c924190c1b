//! Reads JSON strictly, token by token, over bytes that are all there.
//!
//! Two readers that disagree about a document are how a check is passed with one
//! meaning and acted on with another. So this one takes RFC 8259 at its
//! narrowest: UTF-8 without a byte order mark, one value, no control characters
//! in strings, no half surrogates, bounded depth, and no key twice in an object,
//! not even in another case or another spelling (REST-10). What it accepts, every
//! other reader understands the same way.
//!
//! Nothing is copied: a token is a range of the source, and text is decoded when
//! it is asked for. Values are not interpreted; numbers stay text, because
//! FHIR's decimals keep their written precision.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// How deep objects and arrays may nest when the caller has no opinion.
pub const DEPTH: usize = 100;

/// Longest number that is read. FHIR's decimals have 18 digits; a megabyte of
/// them is an attack on whoever converts it.
const NUMBER: usize = 256;

/// From this many keys on, an object's keys are hashed rather than compared.
const MANY_KEYS: usize = 24;

/// What a lexeme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// `false`
    False,
    /// The name of a member.
    Key,
    /// `null`
    Null,
    /// A number, by the grammar of RFC 8259 §6.
    Number,
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// A string that is a value.
    String,
    /// `true`
    True,
}

/// One token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub token: Token,
    /// Its bytes, quotes included.
    pub range: Range<usize>,
    /// Whether a string or key holds escapes.
    pub escaped: bool,
}

/// Why bytes are not the JSON we accept, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct JsonError {
    /// Offset of the first byte that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: JsonErrorKind,
}

/// The ways bytes fail to be JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text begins with a UTF-8 byte order mark.
    #[error("byte order mark: expected UTF-8 without one")]
    ByteOrderMark,
    /// A raw control character inside a string.
    #[error("control character inside a string: expected an escape")]
    ControlCharacter,
    /// A key that the same object has already.
    #[error("key `{0}` appears twice in one object, in this or another spelling")]
    DuplicateKey(String),
    /// A backslash that begins no escape.
    #[error("expected one of the escapes of RFC 8259 after the backslash")]
    Escape,
    /// Bytes that are not UTF-8.
    #[error("expected UTF-8")]
    NotUtf8,
    /// A number that the grammar does not know.
    #[error("expected a number as RFC 8259 writes it")]
    Number,
    /// A number of absurd length.
    #[error("expected a number of at most {NUMBER} characters")]
    NumberTooLong,
    /// A `\u` escape that is half of a surrogate pair.
    #[error("surrogate escape without its other half")]
    Surrogate,
    /// More nesting than allowed.
    #[error("expected objects and arrays nested at most {0} deep")]
    TooDeep(usize),
    /// Something after the end of the document.
    #[error("expected nothing after the value")]
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

/// What the grammar allows next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    CommaOrEnd,
    End,
    Key,
    KeyOrEnd,
    Value,
    ValueOrEnd,
}

#[derive(Debug)]
struct Frame {
    object: bool,
    /// Where this object's keys begin in `Lexer::keys`.
    keys: usize,
    /// The folded keys, once there are many.
    many: Option<HashSet<String>>,
}

#[derive(Debug)]
struct SeenKey {
    hash: u64,
    range: Range<usize>,
    escaped: bool,
}

impl SeenKey {
    fn text<'a>(&self, source: &'a str) -> Cow<'a, str> {
        let raw = source.get(inside(&self.range)).unwrap_or_default();
        if self.escaped { unescape(raw) } else { Cow::Borrowed(raw) }
    }
}

/// Yields the tokens of one document. After an error it must not be asked again.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    expect: Expect,
    stack: Vec<Frame>,
    keys: Vec<SeenKey>,
    depth: usize,
    unusual: usize,
}

impl<'a> Lexer<'a> {
    /// Begins a document in which objects and arrays nest at most `depth` deep.
    pub fn new(bytes: &'a [u8], depth: usize) -> Result<Self, JsonError> {
        let fail = |offset, kind| Err(JsonError { offset, kind });
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => return fail(0, JsonErrorKind::ByteOrderMark),
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, _, ..] | [_, 0, ..] => {
                return fail(0, JsonErrorKind::Utf16);
            }
            _ => {}
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::over(text, 0, depth)),
            Err(error) => fail(error.valid_up_to(), JsonErrorKind::NotUtf8),
        }
    }

    /// The whole document.
    pub(super) fn source(&self) -> &'a str {
        self.text
    }

    /// A second reader that begins at the value at `offset`; for looking ahead.
    /// It reads to the end of the source only if asked to.
    pub(super) fn ahead(&self, offset: usize) -> Self {
        Self::over(self.text, offset, self.depth)
    }

    /// A reader of a value that a lexer has passed before.
    pub(super) fn again(value: &'a str) -> Self {
        Self::over(value, 0, usize::MAX)
    }

    /// How often so far something stood there that FHIR never writes, and that the views of elements refuse or read in
    /// their own way: an array in an array, a `resourceType` that is no string, a key with escapes.
    pub(super) fn unusual(&self) -> usize {
        self.unusual
    }

    fn over(text: &'a str, at: usize, depth: usize) -> Self {
        Self { text, at, expect: Expect::Value, stack: Vec::new(), keys: Vec::new(), depth, unusual: 0 }
    }

    /// The next token; `None` once the document has ended and nothing follows.
    #[inline]
    pub fn token(&mut self) -> Result<Option<Lexeme>, JsonError> {
        self.whitespace();
        let Some(mut byte) = self.peek() else {
            return if self.expect == Expect::End {
                Ok(None)
            } else {
                self.fail(JsonErrorKind::UnexpectedEnd)
            };
        };
        if self.expect == Expect::CommaOrEnd && byte == b',' {
            self.at += 1;
            self.expect = if self.in_object() { Expect::Key } else { Expect::Value };
            self.whitespace();
            match self.peek() {
                Some(next) => byte = next,
                None => return self.fail(JsonErrorKind::UnexpectedEnd),
            }
        }
        match self.expect {
            Expect::Value => self.value(byte).map(Some),
            Expect::ValueOrEnd if byte == b']' => Ok(Some(self.close())),
            Expect::ValueOrEnd => self.value(byte).map(Some),
            Expect::Key if byte == b'"' => self.key().map(Some),
            Expect::KeyOrEnd if byte == b'"' => self.key().map(Some),
            Expect::KeyOrEnd if byte == b'}' => Ok(Some(self.close())),
            Expect::Key => self.fail(JsonErrorKind::Unexpected("a key in double quotes")),
            Expect::KeyOrEnd => self.fail(JsonErrorKind::Unexpected("a key in double quotes or `}`")),
            Expect::CommaOrEnd if self.in_object() && byte == b'}' => Ok(Some(self.close())),
            Expect::CommaOrEnd if !self.in_object() && byte == b']' => Ok(Some(self.close())),
            Expect::CommaOrEnd if self.in_object() => self.fail(JsonErrorKind::Unexpected("`,` or `}`")),
            Expect::CommaOrEnd => self.fail(JsonErrorKind::Unexpected("`,` or `]`")),
            Expect::End => self.fail(JsonErrorKind::TrailingContent),
        }
    }

    /// Passes over what is left of the value that `begun` began, checking it,
    /// and says where it ends.
    pub fn skip(&mut self, begun: &Lexeme) -> Result<usize, JsonError> {
        if !matches!(begun.token, Token::ObjectStart | Token::ArrayStart) {
            return Ok(begun.range.end);
        }
        let outside = self.stack.len().saturating_sub(1);
        while self.stack.len() > outside {
            if self.token()?.is_none() {
                return self.fail(JsonErrorKind::UnexpectedEnd);
            }
        }
        Ok(self.at)
    }

    /// How far the document has been read: the end of the last token, or of the
    /// colon after a key.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text of a string or key with its escapes resolved; of any other
    /// token, its bytes as they stand.
    pub fn text(&self, lexeme: &Lexeme) -> Cow<'a, str> {
        let range = match lexeme.token {
            Token::Key | Token::String => inside(&lexeme.range),
            Token::ArrayStart
            | Token::ArrayEnd
            | Token::False
            | Token::Null
            | Token::Number
            | Token::ObjectStart
            | Token::ObjectEnd
            | Token::True => lexeme.range.clone(),
        };
        let raw = self.text.get(range).unwrap_or_default();
        if lexeme.escaped { unescape(raw) } else { Cow::Borrowed(raw) }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.stack.last().is_some_and(|frame| frame.object)
    }

    fn fail<T>(&self, kind: JsonErrorKind) -> Result<T, JsonError> {
        Err(JsonError { offset: self.at, kind })
    }

    #[inline]
    fn after_value(&mut self) {
        self.expect = if self.stack.is_empty() { Expect::End } else { Expect::CommaOrEnd };
    }

    #[inline]
    fn value(&mut self, byte: u8) -> Result<Lexeme, JsonError> {
        let start = self.at;
        let (token, escaped) = match byte {
            b'"' => {
                self.at += 1;
                (Token::String, self.string()?)
            }
            b'{' => return self.open(Token::ObjectStart),
            b'[' => return self.open(Token::ArrayStart),
            b't' => (self.literal("true", Token::True)?, false),
            b'f' => (self.literal("false", Token::False)?, false),
            b'n' => (self.literal("null", Token::Null)?, false),
            b'-' | b'0'..=b'9' => (self.number()?, false),
            _ => return self.fail(JsonErrorKind::Unexpected("a value")),
        };
        self.after_value();
        Ok(Lexeme { token, range: start..self.at, escaped })
    }

    #[inline]
    fn open(&mut self, token: Token) -> Result<Lexeme, JsonError> {
        if self.stack.len() >= self.depth {
            return self.fail(JsonErrorKind::TooDeep(self.depth));
        }
        let object = token == Token::ObjectStart;
        let nested = !object && self.stack.last().is_some_and(|frame| !frame.object);
        self.unusual += usize::from(nested);
        self.stack.push(Frame { object, keys: self.keys.len(), many: None });
        self.expect = if object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
        self.at += 1;
        Ok(Lexeme { token, range: self.at - 1..self.at, escaped: false })
    }

    #[inline]
    fn close(&mut self) -> Lexeme {
        let mut token = Token::ArrayEnd;
        if let Some(frame) = self.stack.pop() {
            self.keys.truncate(frame.keys);
            if frame.object {
                token = Token::ObjectEnd;
            }
        }
        self.at += 1;
        self.after_value();
        Lexeme { token, range: self.at - 1..self.at, escaped: false }
    }

    fn literal(&mut self, word: &'static str, token: Token) -> Result<Token, JsonError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.fail(JsonErrorKind::Unexpected("`true`, `false` or `null`"));
        }
        self.at += word.len();
        Ok(token)
    }

    fn number(&mut self) -> Result<Token, JsonError> {
        let length =
            self.rest().iter().take(NUMBER + 1).take_while(|byte| b"+-.0123456789Ee".contains(byte)).count();
        if length > NUMBER {
            return self.fail(JsonErrorKind::NumberTooLong);
        }
        if !is_number(self.rest().get(..length).unwrap_or_default()) {
            return self.fail(JsonErrorKind::Number);
        }
        self.at += length;
        Ok(Token::Number)
    }

    #[inline]
    fn key(&mut self) -> Result<Lexeme, JsonError> {
        let start = self.at;
        self.at += 1;
        let escaped = self.string()?;
        let lexeme = Lexeme { token: Token::Key, range: start..self.at, escaped };
        self.remember(&lexeme)?;
        self.whitespace();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return self.fail(JsonErrorKind::Unexpected("`:`")),
            None => return self.fail(JsonErrorKind::UnexpectedEnd),
        }
        let names_type = || self.text.get(lexeme.range.clone()) == Some("\"resourceType\"");
        if escaped || names_type() {
            self.whitespace();
            self.unusual += usize::from(escaped || self.peek() != Some(b'"'));
        }
        self.expect = Expect::Value;
        Ok(lexeme)
    }

    /// Refuses a key that this object has already (REST-10). Keys that differ
    /// only in case count as the same: readers in Go and .NET take them so.
    #[inline]
    fn remember(&mut self, key: &Lexeme) -> Result<(), JsonError> {
        let text = self.text(key);
        let Some(frame) = self.stack.last_mut() else {
            return self.fail(JsonErrorKind::Unexpected("a value"));
        };
        let source = self.text;
        let hash = fold_hash(text.as_bytes());
        let seen = self.keys.get(frame.keys..).unwrap_or_default();
        let again = match &mut frame.many {
            Some(many) => !many.insert(text.to_ascii_lowercase()),
            None => {
                seen.iter().any(|other| other.hash == hash && other.text(source).eq_ignore_ascii_case(&text))
            }
        };
        if again {
            let kind = JsonErrorKind::DuplicateKey(text.chars().take(64).collect());
            return Err(JsonError { offset: key.range.start, kind });
        }
        if frame.many.is_none() {
            if seen.len() >= MANY_KEYS {
                let mut many: HashSet<_> =
                    seen.iter().map(|other| other.text(source).to_ascii_lowercase()).collect();
                many.insert(text.to_ascii_lowercase());
                frame.many = Some(many);
            }
            self.keys.push(SeenKey { hash, range: key.range.clone(), escaped: key.escaped });
        }
        Ok(())
    }

    /// Passes over a string whose opening quote has been read; says whether it
    /// holds escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, JsonError> {
        let mut escaped = false;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail(JsonErrorKind::ControlCharacter),
                None => return self.fail(JsonErrorKind::UnexpectedEnd),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.rest() {
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [b'\\', b'u', rest @ ..] => match hex4(rest) {
                Some(0xD800..=0xDBFF) => match rest.get(4..) {
                    Some([b'\\', b'u', low @ ..]) if matches!(hex4(low), Some(0xDC00..=0xDFFF)) => {
                        self.at += 12;
                    }
                    _ => return self.fail(JsonErrorKind::Surrogate),
                },
                Some(0xDC00..=0xDFFF) => return self.fail(JsonErrorKind::Surrogate),
                Some(_) => self.at += 6,
                None => return self.fail(JsonErrorKind::Escape),
            },
            [_] => return self.fail(JsonErrorKind::UnexpectedEnd),
            _ => return self.fail(JsonErrorKind::Escape),
        }
        Ok(())
    }
}

/// Resolves the escapes of a string's inside. Meant for text that a [`Lexer`]
/// has passed; what is no escape is left as it stands.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut text = String::with_capacity(raw.len());
    let (plain, mut rest) = raw.split_at_checked(first).unwrap_or((raw, ""));
    text.push_str(plain);
    while !rest.is_empty() {
        let (decoded, length) = one_escape(rest.as_bytes());
        text.push(decoded);
        rest = rest.get(length..).unwrap_or_default();
        let next = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        let (plain, later) = rest.split_at_checked(next).unwrap_or((rest, ""));
        text.push_str(plain);
        rest = later;
    }
    Cow::Owned(text)
}

/// Appends `text` as the inside of a JSON string.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Reads the escape that `rest` begins with: its character and its length.
fn one_escape(rest: &[u8]) -> (char, usize) {
    let simple = match rest {
        [_, b'b', ..] => '\u{8}',
        [_, b'f', ..] => '\u{c}',
        [_, b'n', ..] => '\n',
        [_, b'r', ..] => '\r',
        [_, b't', ..] => '\t',
        [_, b'u', digits @ ..] => return unicode_escape(digits),
        [_, byte @ (b'"' | b'\\' | b'/'), ..] => char::from(*byte),
        _ => return ('\\', 1),
    };
    (simple, 2)
}

fn unicode_escape(digits: &[u8]) -> (char, usize) {
    let Some(high) = hex4(digits) else { return ('\\', 1) };
    let low = match digits.get(4..) {
        Some([b'\\', b'u', low @ ..]) => hex4(low),
        _ => None,
    };
    match (high, low) {
        (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
            let code = 0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(low) - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

fn hex4(digits: &[u8]) -> Option<u16> {
    let digits = digits.first_chunk::<4>()?;
    let mut value = 0u16;
    for digit in digits {
        let digit = char::from(*digit).to_digit(16)?;
        value = (value << 4) | u16::try_from(digit).ok()?;
    }
    Some(value)
}

fn inside(quoted: &Range<usize>) -> Range<usize> {
    quoted.start + 1..quoted.end.saturating_sub(1).max(quoted.start + 1)
}

/// RFC 8259 §6: `[ minus ] int [ frac ] [ exp ]`.
fn is_number(bytes: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// How many leading bytes are neither quote, backslash nor control character.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let hit = specials(u64::from_le_bytes(*word));
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Sets the high bit of each byte that ends a plain run. Bits above the lowest
/// one set may be wrong (a borrow runs upwards); only the lowest is used.
#[inline]
fn specials(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & (ONES * 0x80)
}

/// Equal for keys that are equal but for ASCII case; verified by comparison.
#[inline]
fn fold_hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| {
        (hash.rotate_left(23) ^ (word | (ONES * 0x20))).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let tail = rest.iter().fold(0, |tail, byte| (tail << 8) | u64::from(*byte));
    mix(hash, tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(Token, String)>, JsonError> {
        let mut lexer = Lexer::new(bytes, DEPTH)?;
        let mut tokens = Vec::new();
        while let Some(lexeme) = lexer.token()? {
            tokens.push((lexeme.token, lexer.text(&lexeme).into_owned()));
        }
        Ok(tokens)
    }

    fn refused(bytes: &[u8]) -> String {
        read(bytes).err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    }

    #[test]
    fn tokens_come_in_order_with_their_text() {
        let tokens = read(br#" {"a" : [1, -2.5e+3, "x\u0041\n", true, false, null], "b":{}} "#).unwrap();
        let text: Vec<_> = tokens.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            text,
            ["{", "a", "[", "1", "-2.5e+3", "xA\n", "true", "false", "null", "]", "b", "{", "}", "}"]
        );
        assert_eq!(tokens[1].0, Token::Key);
        assert_eq!(tokens[5].0, Token::String);
    }

    /// RFC 8259 and REST-10: each rule with an accepted neighbour.
    const RULES: &[(&[u8], &str)] = &[
        (b"{}", "accepted"),
        (b"", "byte 0: the document ends too early"),
        (b"  ", "byte 2: the document ends too early"),
        (b"\xEF\xBB\xBF{}", "byte 0: byte order mark: expected UTF-8 without one"),
        (b"\xFF\xFE{\0}\0", "byte 0: UTF-16: expected UTF-8"),
        (b"{\0}\0", "byte 0: UTF-16: expected UTF-8"),
        (b"\0{\0}", "byte 0: UTF-16: expected UTF-8"),
        (b"[\"\xC3\xA9\"]", "accepted"),
        (b"[\"\xC3\"]", "byte 2: expected UTF-8"),
        (b"[\"\xED\xA0\x80\"]", "byte 2: expected UTF-8"),
        (b"{} {}", "byte 3: expected nothing after the value"),
        (b"{}\n\t \r", "accepted"),
        (b"{},", "byte 2: expected nothing after the value"),
        (b"[1,]", "byte 3: expected a value"),
        (b"[,1]", "byte 1: expected a value"),
        (b"[1 2]", "byte 3: expected `,` or `]`"),
        (b"[1}", "byte 2: expected `,` or `]`"),
        (b"{\"a\":1]", "byte 6: expected `,` or `}`"),
        (b"{\"a\":1,}", "byte 7: expected a key in double quotes"),
        (b"{\"a\" 1}", "byte 5: expected `:`"),
        (b"{\"a\"", "byte 4: the document ends too early"),
        (b"{\"a\":", "byte 5: the document ends too early"),
        (b"{\"a\":1", "byte 6: the document ends too early"),
        (b"{\"a\":1,", "byte 7: the document ends too early"),
        (b"{1:1}", "byte 1: expected a key in double quotes or `}`"),
        (b"{'a':1}", "byte 1: expected a key in double quotes or `}`"),
        (b"// c\n{}", "byte 0: expected a value"),
        (b"[\"\x01\"]", "byte 2: control character inside a string: expected an escape"),
        (b"[\"a\nb\"]", "byte 3: control character inside a string: expected an escape"),
        (b"[\"\x7f\"]", "accepted"),
        (b"[\"\\x\"]", "byte 2: expected one of the escapes of RFC 8259 after the backslash"),
        (b"[\"\\u12G4\"]", "byte 2: expected one of the escapes of RFC 8259 after the backslash"),
        (b"[\"\\", "byte 2: the document ends too early"),
        (b"[\"\\ud83d\\ude00\"]", "accepted"),
        (b"[\"\\ud800\"]", "byte 2: surrogate escape without its other half"),
        (b"[\"\\ud800\\u0041\"]", "byte 2: surrogate escape without its other half"),
        (b"[\"\\udc00\"]", "byte 2: surrogate escape without its other half"),
        (b"[NaN]", "byte 1: expected a value"),
        (b"[-Infinity]", "byte 1: expected a number as RFC 8259 writes it"),
        (b"[nul]", "byte 1: expected `true`, `false` or `null`"),
        (b"[truely]", "byte 5: expected `,` or `]`"),
        (b"{\"a\":1,\"b\":1}", "accepted"),
        (b"{\"a\":{\"a\":1},\"b\":{\"a\":1}}", "accepted"),
        (b"{\"a\":1,\"a\":1}", "byte 7: key `a` appears twice in one object, in this or another spelling"),
        (
            b"{\"url\":1,\"\\u0075rl\":1}",
            "byte 9: key `url` appears twice in one object, in this or another spelling",
        ),
        (
            b"{\"subject\":1,\"Subject\":1}",
            "byte 13: key `Subject` appears twice in one object, in this or another spelling",
        ),
        (b"{\"birthDate\":1,\"_birthDate\":1}", "accepted"),
    ];

    #[test]
    fn what_is_refused_and_what_is_not() {
        let wrong: Vec<_> = RULES
            .iter()
            .map(|(bytes, means)| (String::from_utf8_lossy(bytes), refused(bytes), *means))
            .filter(|(_, got, means)| got != means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
    }

    #[test]
    fn numbers_follow_the_grammar() {
        let table = [
            ("0", true),
            ("-0", true),
            ("10", true),
            ("1.0", true),
            ("1e5", true),
            ("1E-5", true),
            ("-1.25e+10", true),
            ("01", false),
            ("-", false),
            ("+1", false),
            (".5", false),
            ("1.", false),
            ("1e", false),
            ("1e+", false),
            ("0x10", false),
            ("1.2.3", false),
            ("1-2", false),
        ];
        let wrong: Vec<_> =
            table.into_iter().filter(|(written, ok)| read(written.as_bytes()).is_ok() != *ok).collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
        let long = "1".repeat(NUMBER);
        assert!(read(long.as_bytes()).is_ok());
        assert!(refused(format!("{long}1").as_bytes()).contains("at most 256"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(DEPTH).as_bytes()).is_ok());
        assert!(refused(nested(DEPTH + 1).as_bytes()).contains("at most 100 deep"));
        assert!(refused("{\"a\":".repeat(100_000).as_bytes()).contains("at most 100 deep"));
    }

    #[test]
    fn duplicates_are_found_among_many_keys() {
        let keys = |last: &str| {
            let mut text = String::from("{");
            for at in 0..5000 {
                text.push_str(&format!("\"key{at}\":{at},"));
            }
            text + &format!("\"{last}\":0}}")
        };
        assert_eq!(refused(keys("key5000").as_bytes()), "accepted");
        for again in ["key0", "KEY23", "key24", "k\\u0065y25", "key4999"] {
            assert!(refused(keys(again).as_bytes()).contains("appears twice"), "{again}");
        }
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        let text = "q\" b\\ n\n t\t c\u{1} e\u{e9} \u{1F600} /";
        let mut written = Vec::new();
        escape_into(text, &mut written);
        let written = String::from_utf8(written).unwrap();
        assert_eq!(unescape(&written), text);
        assert_eq!(unescape("\\/\\u002f\\ud83d\\ude00\\b\\f\\r"), "//\u{1F600}\u{8}\u{c}\r");
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,40}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[a-z]{1,6}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever a common reader writes is read; strings come out the same.
        #[test]
        fn agrees_with_another_reader(value in value()) {
            for written in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
                prop_assert!(read(&written).is_ok());
            }
            if let serde_json::Value::String(text) = &value {
                let written = serde_json::to_vec(&value).unwrap();
                prop_assert_eq!(&read(&written).unwrap()[0].1, text);
            }
        }

        /// Whatever is accepted here, a common reader accepts too.
        #[test]
        fn accepts_no_more_than_another_reader(text in "[\\[\\]{}\",:0-9a\\\\ue.\\- \n]{0,24}") {
            if read(text.as_bytes()).is_ok() {
                let other = serde_json::from_str::<serde_json::Value>(&text);
                // Only the range of numbers differs: ours stay text.
                let range = other.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
                prop_assert!(other.is_ok() || range, "{}", text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
