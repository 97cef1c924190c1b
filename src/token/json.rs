//! Reads a JSON object so that two readers cannot disagree about it.
//!
//! RFC 7519 §4 lets a parser keep the last of two equal names. A backend or an authorization server may keep the
//! first, so a repeated name, at any depth, is refused (TOK-29). Depth is bounded by the JSON reader (128 levels).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not an object that can be trusted to mean one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// A name occurs twice in one object.
    #[error("a member name occurs twice")]
    Duplicate,
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotObject,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not JSON, too deep, or a number out of range.
    #[error("not well-formed JSON")]
    Syntax,
}

/// Reads one JSON object, and nothing after it.
///
/// # Errors
/// Whatever makes its meaning doubtful: [`JsonFault`].
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
    let duplicate = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict(&duplicate).deserialize(&mut reader);
    let fault = if duplicate.get() { JsonFault::Duplicate } else { JsonFault::Syntax };
    let value = value.map_err(|_| fault)?;
    reader.end().map_err(|_| JsonFault::Syntax)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonFault::NotObject)
        }
    }
}

/// Builds a value and notes a repeated name.
#[derive(Clone, Copy)]
struct Strict<'c>(&'c Cell<bool>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.insert(name, value).is_some() {
                self.0.set(true);
                return Err(A::Error::custom("repeated member"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TOK-29, RFC 8725 §2.4.
    #[test]
    fn one_meaning_or_none() {
        let deep = "[".repeat(5000);
        let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        let table: [(&[u8], Result<usize, JsonFault>); 14] = [
            (br#"{}"#, Ok(0)),
            (br#"{"a":1,"b":[{"a":2}]}"#, Ok(2)),
            (br#"{"a":1,"a":1}"#, Err(JsonFault::Duplicate)),
            (br#"{"a":1,"\u0061":2}"#, Err(JsonFault::Duplicate)),
            (br#"{"x":{"a":1,"a":2}}"#, Err(JsonFault::Duplicate)),
            (br#"{"x":[{"a":1,"a":2}]}"#, Err(JsonFault::Duplicate)),
            (br#"[]"#, Err(JsonFault::NotObject)),
            (br#""a""#, Err(JsonFault::NotObject)),
            (b"{\"a\":\"\xff\"}", Err(JsonFault::NotUtf8)),
            (br#"{"a":1} x"#, Err(JsonFault::Syntax)),
            (br#"{"a":1e400}"#, Err(JsonFault::Syntax)),
            (b"", Err(JsonFault::Syntax)),
            (deep.as_bytes(), Err(JsonFault::Syntax)),
            (nested.as_bytes(), Ok(1)),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .filter(|(bytes, means)| object(bytes).map(|members| members.len()) != *means)
            .map(|(bytes, _)| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:?}");
    }
}
