//! A FHIR body that a client sent: its bytes, which resource it is, and what in it must be known before it is sent on.

use bytes::Bytes;

use crate::fhir::json;
use crate::fhir::outline::{Limits, Outline, OutlineError};
use crate::fhir::xml;
use crate::fhir::{Format, SearchQuery};

/// A resource as submitted. The bytes checked are the bytes sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Bytes,
    format: Format,
    resource_type: String,
    id: Option<String>,
}

impl Document {
    /// Reads a body strictly (REST-10, REST-11).
    ///
    /// # Errors
    /// When it is not one resource in this format, or two readers could understand it differently.
    pub fn read(bytes: Bytes, format: Format, limits: Limits) -> Result<Self, OutlineError> {
        let outline = Outline::read(&bytes, format, limits)?;
        let resource_type = outline.root.resource_type.to_string();
        let id = outline.root.id.as_ref().map(|id| id.text.to_string());
        Ok(Self { bytes, format, resource_type, id })
    }

    /// A resource whose bytes were read as part of a larger body.
    pub(super) fn sliced(bytes: Bytes, format: Format, resource_type: String, id: Option<String>) -> Self {
        Self { bytes, format, resource_type, id }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The format they are in.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The type it says it is.
    #[must_use]
    pub fn resource_type(&self) -> &str {
        &self.resource_type
    }

    /// The id it says it has.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Conditional references in it: `"reference": "Patient?identifier=x"` is a search (REST-16).
    #[must_use]
    pub fn conditional_references(&self) -> Vec<String> {
        let mut found = self.values_of("reference");
        found.retain(|reference| reference.contains('?'));
        found
    }

    /// The values of all elements of a name, in document order, wherever they stand.
    #[must_use]
    pub fn values_of(&self, name: &str) -> Vec<String> {
        match self.format {
            Format::Json => json_values(&self.bytes, name),
            Format::Xml => xml_values(&self.bytes, name),
        }
    }

    /// The primitive parameters of a Parameters resource at its top level, as a query: name and value as text.
    #[must_use]
    pub fn parameters(&self) -> SearchQuery {
        match self.format {
            Format::Json => json_parameters(&self.bytes),
            Format::Xml => xml_parameters(&self.bytes),
        }
        .unwrap_or_default()
    }
}

fn json_values(bytes: &[u8], name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(mut lexer) = json::Lexer::new(bytes, json::DEPTH) else { return found };
    let mut named = false;
    while let Ok(Some(lexeme)) = lexer.token() {
        match lexeme.token {
            json::Token::Key => named = lexer.text(&lexeme) == name,
            json::Token::String => {
                if std::mem::take(&mut named) {
                    found.push(lexer.text(&lexeme).into_owned());
                }
            }
            json::Token::ArrayStart
            | json::Token::ArrayEnd
            | json::Token::ObjectStart
            | json::Token::ObjectEnd
            | json::Token::False
            | json::Token::True
            | json::Token::Null
            | json::Token::Number => named = false,
        }
    }
    found
}

fn xml_values(bytes: &[u8], wanted: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(mut lexer) = xml::Lexer::within(bytes, json::DEPTH) else { return found };
    while let Ok(Some(token)) = lexer.token() {
        if let xml::Token::Start { name, .. } = token
            && name == wanted
            && let Some(value) = lexer.attribute("value")
        {
            found.push(lexer.value(value).into_owned());
        }
    }
    found
}

fn json_parameters(bytes: &[u8]) -> Option<SearchQuery> {
    let body: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let parameters = body.get("parameter")?.as_array()?;
    let pairs = parameters.iter().filter_map(|parameter| {
        let name = parameter.get("name")?.as_str()?;
        let value = parameter.as_object()?.iter().find(|(key, _)| key.starts_with("value"))?.1;
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
            serde_json::Value::Array(_) | serde_json::Value::Null | serde_json::Value::Object(_) => {
                return None;
            }
        };
        Some(crate::fhir::Parameter::new(name, value))
    });
    Some(pairs.collect())
}

fn xml_parameters(bytes: &[u8]) -> Option<SearchQuery> {
    let mut lexer = xml::Lexer::within(bytes, json::DEPTH).ok()?;
    let mut depth = 0_usize;
    let mut name = String::new();
    let mut pairs = SearchQuery::default();
    while let Some(token) = lexer.token().ok()? {
        match token {
            xml::Token::Start { name: element, .. } => {
                depth += 1;
                // Parameters / parameter / name, value[x]
                let value = lexer.attribute("value").map(|value| lexer.value(value).into_owned());
                if let (3, Some(value)) = (depth, value) {
                    if element == "name" {
                        name = value;
                    } else if element.starts_with("value") {
                        pairs.push(crate::fhir::Parameter::new(std::mem::take(&mut name), value));
                    }
                }
            }
            xml::Token::End { .. } => depth = depth.saturating_sub(1),
            xml::Token::Text { .. } => {}
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &'static str) -> Document {
        let format = if text.starts_with('<') { Format::Xml } else { Format::Json };
        Document::read(Bytes::from_static(text.as_bytes()), format, Limits::default()).expect(text)
    }

    /// REST-16: conditional references are found in either format, plain ones are not.
    #[test]
    fn conditional_references_are_found() {
        let table = [
            (r#"{"resourceType":"Observation","subject":{"reference":"Patient?identifier=x"}}"#, 1),
            (r#"{"resourceType":"Observation","subject":{"reference":"Patient\u003fidentifier=x"}}"#, 1),
            (
                r#"{"resourceType":"Observation","subject":{"reference":"Patient/1"},"note":[{"text":"reference?"}]}"#,
                0,
            ),
            (
                r#"<Observation xmlns="http://hl7.org/fhir"><subject><reference value="Patient?identifier=x"/></subject></Observation>"#,
                1,
            ),
            (
                r#"<Observation xmlns="http://hl7.org/fhir"><subject><reference value="Patient/1"/></subject></Observation>"#,
                0,
            ),
        ];
        for (text, count) in table {
            assert_eq!(document(text).conditional_references().len(), count, "{text}");
        }
    }

    /// Both formats give the same parameters.
    #[test]
    fn parameters_as_a_query() {
        let json = r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"Patient,Group"},{"valueBoolean":true,"name":"x"},{"name":"r","resource":{"resourceType":"Patient"}}]}"#;
        let xml = r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="_type"/><valueString value="Patient,Group"/></parameter><parameter><name value="x"/><valueBoolean value="true"/></parameter></Parameters>"#;
        for text in [json, xml] {
            assert_eq!(document(text).parameters().to_string(), "_type=Patient,Group&x=true", "{text}");
        }
    }
}
