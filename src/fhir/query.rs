//! Reads and writes a search query as FHIR reads it.
//!
//! Order and repeats matter: `code=a&code=b` is AND, `code=a,b` is OR, so a query is a list and never a map. Follows
//! FHIR R4 §3.1.1 and the form encoding of the URL standard, strictly: what one decoder might read differently from
//! another is refused (SRCH-23). Whatever was parsed is written again in one canonical form, so that the string decided
//! on is the string sent (HTTP-7).

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that every server reads as themselves inside a query name or value.
const KEEP: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b'$')
    .remove(b'*')
    .remove(b'@')
    .remove(b'!')
    .remove(b'(')
    .remove(b')');

/// One `name=value` of a query, decoded once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameter {
    name: String,
    value: String,
}

impl Parameter {
    /// A parameter of our own making, from decoded text.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// The whole name, modifiers and chain included: `subject:Patient.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, FHIR escapes (`\,` `\|` `\$` `\\`) still in it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The search parameter's code: the name up to the first `:` or `.`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.name.split([':', '.']).next().unwrap_or("")
    }

    /// What follows the first `:` of the name, up to a `.`; absent when there is none.
    #[must_use]
    pub fn modifier(&self) -> Option<&str> {
        let first = self.name.split('.').next()?;
        first.split_once(':').map(|(_, modifier)| modifier)
    }

    /// What follows the first `.` of the name: the rest of a chain.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        self.name.split_once('.').map(|(_, rest)| rest)
    }

    /// The alternatives of the value: split at commas that are not escaped, escapes left in place.
    pub fn alternatives(&self) -> impl Iterator<Item = &str> {
        split_unescaped(&self.value, ',')
    }
}

/// Splits at `separator` where no odd number of backslashes stands before it.
pub fn split_unescaped(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c: char| {
        let splits = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
}

/// Why a query cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `%` without two hexadecimal digits.
    #[error("the query has a `%` that is not followed by two hexadecimal digits")]
    BadEscape,
    /// Decoded bytes are not UTF-8.
    #[error("the query is not UTF-8 once decoded")]
    NotUtf8,
    /// A control character, raw or encoded.
    #[error("the query contains a control character")]
    Control,
    /// A pair with a value but no name.
    #[error("the query has a value without a parameter name")]
    NoName,
    /// More parameters than any client has reason to send.
    #[error("the query has more than {MOST} parameters")]
    TooMany,
}

/// Most parameters of one query; a form could hold millions.
const MOST: usize = 1000;

/// A query: parameters in the order they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SearchQuery(Vec<Parameter>);

impl SearchQuery {
    /// Reads a raw query string or form body.
    ///
    /// # Errors
    /// When an escape is broken, the text is not UTF-8, holds control characters, or a pair has no name.
    pub fn parse(raw: &str) -> Result<Self, QueryError> {
        let pairs = || raw.split('&').filter(|pair| !pair.is_empty());
        if pairs().nth(MOST).is_some() {
            return Err(QueryError::TooMany);
        }
        pairs().map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The parameters, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter> {
        self.0.iter()
    }

    /// Whether nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first parameter of exactly this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|parameter| parameter.name == name)
    }

    /// All parameters of exactly this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Parameter> {
        self.0.iter().filter(move |parameter| parameter.name == name)
    }

    /// Adds a parameter at the end: AND.
    pub fn push(&mut self, parameter: Parameter) {
        self.0.push(parameter);
    }

    /// This query and then the other's parameters: AND.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// The same query without parameters that `drop` names.
    #[must_use]
    pub fn without(mut self, drop: impl Fn(&Parameter) -> bool) -> Self {
        self.0.retain(|parameter| !drop(parameter));
        self
    }

    /// The same query with absolute references below one base moved below another.
    #[must_use]
    pub fn rebased(self, from: &str, to: &str) -> Self {
        let alternative = |value: &str| match value.strip_prefix(from) {
            Some(rest) if rest.starts_with('/') => format!("{to}{rest}"),
            Some(_) | None => value.to_owned(),
        };
        self.map(|parameter| {
            if from == to || !parameter.value().contains(from) {
                return parameter;
            }
            let value: Vec<_> = parameter.alternatives().map(alternative).collect();
            Parameter::new(parameter.name(), value.join(","))
        })
    }

    /// The same query with each parameter passed through `change`.
    #[must_use]
    pub fn map(self, change: impl Fn(Parameter) -> Parameter) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }
}

impl<'a> IntoIterator for &'a SearchQuery {
    type Item = &'a Parameter;
    type IntoIter = std::slice::Iter<'a, Parameter>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Parameter> for SearchQuery {
    fn from_iter<I: IntoIterator<Item = Parameter>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

/// The canonical encoded form, without a leading `?`.
impl fmt::Display for SearchQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, parameter) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("&")?;
            }
            write!(
                f,
                "{}={}",
                utf8_percent_encode(&parameter.name, KEEP),
                utf8_percent_encode(&parameter.value, KEEP)
            )?;
        }
        Ok(())
    }
}

fn pair(raw: &str) -> Result<Parameter, QueryError> {
    // A name without `=` is an empty value: servers ignore both alike (SRCH-18).
    let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
    let name = decode(name)?;
    if name.is_empty() {
        return Err(QueryError::NoName);
    }
    Ok(Parameter { name, value: decode(value)? })
}

/// Decodes `%XX` and `+` once, strictly.
///
/// # Errors
/// When an escape is broken, the text is not UTF-8, or holds control characters.
pub fn decode(raw: &str) -> Result<String, QueryError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let high = hex(bytes.next()).ok_or(QueryError::BadEscape)?;
                let low = hex(bytes.next()).ok_or(QueryError::BadEscape)?;
                high << 4 | low
            }
            other => other,
        };
        if byte < 0x20 || byte == 0x7f {
            return Err(QueryError::Control);
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| QueryError::NotUtf8)
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: Option<u8>) -> Option<u8> {
    match digit? {
        d @ b'0'..=b'9' => Some(d - b'0'),
        d @ b'a'..=b'f' => Some(d - b'a' + 10),
        d @ b'A'..=b'F' => Some(d - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SRCH-18, SRCH-23, SCOPE-9: one decoding, order and repeats kept.
    #[test]
    fn queries_are_read_once_and_written_canonically() {
        let table = [
            ("code=a&code=b", Ok("code=a&code=b")),
            ("code=http://loinc.org|8480-6", Ok("code=http://loinc.org%7C8480-6")),
            ("code=http%3A%2F%2Floinc.org%7C1,x", Ok("code=http://loinc.org%7C1,x")),
            ("%5Finclude=A:b", Ok("_include=A:b")),
            ("_has%3AObservation%3Apatient%3Acode=1", Ok("_has:Observation:patient:code=1")),
            ("name=a+b", Ok("name=a%20b")),
            ("name=a%2Bb", Ok("name=a%2Bb")),
            ("a=1;b=2", Ok("a=1%3Bb%3D2")),
            ("_count", Ok("_count=")),
            ("&&a=1&", Ok("a=1")),
            ("a=%2525", Ok("a=%2525")),
            ("", Ok("")),
            ("a=%4", Err(QueryError::BadEscape)),
            ("a=%zz", Err(QueryError::BadEscape)),
            ("a=%ff", Err(QueryError::NotUtf8)),
            ("a=%00", Err(QueryError::Control)),
            ("a=%0d%0aX", Err(QueryError::Control)),
            ("=b", Err(QueryError::NoName)),
        ];
        for (raw, written) in table {
            let read = SearchQuery::parse(raw).map(|query| query.to_string());
            assert_eq!(read, written.map(str::to_owned), "{raw}");
        }
    }

    /// HTTP-14: what a query may hold is bounded.
    #[test]
    fn queries_are_bounded() {
        let of = |count: usize| SearchQuery::parse(&"a=1&".repeat(count));
        assert_eq!(of(MOST).map(|query| query.iter().count()), Ok(MOST));
        assert_eq!(of(MOST + 1), Err(QueryError::TooMany));
    }

    /// FHIR R4 §3.1.1.4: names carry modifiers and chains, values alternatives and escapes.
    #[test]
    fn parts_of_a_parameter() {
        let p = Parameter::new("subject:Patient.name:exact", r"a,b\,c,d\\,e");
        assert_eq!((p.code(), p.modifier(), p.chain()), ("subject", Some("Patient"), Some("name:exact")));
        assert_eq!(p.alternatives().collect::<Vec<_>>(), ["a", r"b\,c", r"d\\", "e"]);
        let plain = Parameter::new("code", "x");
        assert_eq!((plain.code(), plain.modifier(), plain.chain()), ("code", None, None));
    }
}
