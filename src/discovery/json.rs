//! A small JSON tree: enough to change a CapabilityStatement and print the rest as it was.
//!
//! Numbers stay text, because FHIR's decimals keep their written precision (FHIR R4 §2.1.4 JSON), and members keep
//! their order.

use serde_json::Value;

use crate::fhir::json::{DEPTH, Lexeme, Lexer, Token, escape_into};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    /// Items.
    Array(Vec<Json>),
    /// A number, a boolean or `null`, as written.
    Literal(String),
    /// Members, in order.
    Object(Vec<(String, Json)>),
    /// A string.
    Text(String),
}

impl Json {
    /// Reads a document; nothing for what two readers could read differently, such as a key that comes twice.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(bytes, DEPTH).ok()?;
        let first = lexer.token().ok()??;
        let value = Self::value(&mut lexer, &first)?;
        // Asked once more so that trailing content is refused.
        lexer.token().ok()?.is_none().then_some(value)
    }

    /// INVARIANT: recursion is bounded by the lexer's depth.
    fn value(lexer: &mut Lexer<'_>, first: &Lexeme) -> Option<Self> {
        match first.token {
            Token::ObjectStart => {
                let mut members = Vec::new();
                loop {
                    let key = lexer.token().ok()??;
                    if key.token == Token::ObjectEnd {
                        return Some(Self::Object(members));
                    }
                    let name = lexer.text(&key).into_owned();
                    let next = lexer.token().ok()??;
                    members.push((name, Self::value(lexer, &next)?));
                }
            }
            Token::ArrayStart => {
                let mut items = Vec::new();
                loop {
                    let next = lexer.token().ok()??;
                    if next.token == Token::ArrayEnd {
                        return Some(Self::Array(items));
                    }
                    items.push(Self::value(lexer, &next)?);
                }
            }
            Token::String => Some(Self::Text(lexer.text(first).into_owned())),
            Token::True | Token::False | Token::Null | Token::Number => {
                Some(Self::Literal(lexer.text(first).into_owned()))
            }
            Token::ArrayEnd | Token::Key | Token::ObjectEnd => None,
        }
    }

    /// Prints it without blanks.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Literal(written) => out.extend_from_slice(written.as_bytes()),
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    quoted(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
            Self::Text(text) => quoted(text, out),
        }
    }

    /// The member of a name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Array(_) | Self::Literal(_) | Self::Text(_) => None,
        }
    }

    /// The string of a value.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Array(_) | Self::Literal(_) | Self::Object(_) => None,
        }
    }

    /// The string of the member of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_text()
    }

    /// The items of the array that the member of a name is.
    pub(super) fn items_mut(&mut self, name: &str) -> Option<&mut Vec<Self>> {
        let Self::Object(members) = self else { return None };
        match members.iter_mut().find(|(key, _)| key == name) {
            Some((_, Self::Array(items))) => Some(items),
            Some((_, Self::Literal(_) | Self::Object(_) | Self::Text(_))) | None => None,
        }
    }

    /// Takes members out.
    pub(super) fn remove(&mut self, names: &[&str]) {
        if let Self::Object(members) = self {
            members.retain(|(key, _)| !names.contains(&key.as_str()));
        }
    }

    /// Sets a member, in its place or at the end.
    pub(super) fn set(&mut self, name: &str, value: &Value) {
        let Self::Object(members) = self else { return };
        let value = Self::from(value);
        match members.iter_mut().find(|(key, _)| key == name) {
            Some((_, place)) => *place = value,
            None => members.push((name.to_owned(), value)),
        }
    }

    /// Changes every string, here and below.
    pub(super) fn rewrite(&mut self, change: &impl Fn(&str) -> Option<String>) {
        match self {
            Self::Array(items) => items.iter_mut().for_each(|item| item.rewrite(change)),
            Self::Literal(_) => {}
            Self::Object(members) => members.iter_mut().for_each(|(_, value)| value.rewrite(change)),
            Self::Text(text) => {
                if let Some(new) = change(text) {
                    *text = new;
                }
            }
        }
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Bool(_) | Value::Null | Value::Number(_) => Self::Literal(value.to_string()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect())
            }
            Value::String(text) => Self::Text(text.clone()),
        }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_into(text, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not changed is printed as it was, numbers to the digit.
    #[test]
    fn what_is_read_is_written() {
        let table = [
            (
                r#"{"b":[1.50,-2e3,true,null,"\u00e4\n\"\\"],"a":{}}"#,
                Some("{\"b\":[1.50,-2e3,true,null,\"\u{e4}\\n\\\"\\\\\"],\"a\":{}}"),
            ),
            (r#" { "a" : [ ] } "#, Some(r#"{"a":[]}"#)),
            (r#"{"a":1,"A":2}"#, None),
            (r#"{"a":1} {}"#, None),
            (r#"{"a":1"#, None),
            ("", None),
        ];
        for (source, expected) in table {
            let written = Json::read(source.as_bytes()).map(|json| {
                let mut out = Vec::new();
                json.write(&mut out);
                String::from_utf8(out).unwrap()
            });
            assert_eq!(written.as_deref(), expected, "{source}");
        }
    }
}
