//! Puts single values into a body and leaves every other byte as it is.

use std::ops::Range;

use bytes::Bytes;

use crate::fhir::json;
use crate::fhir::outline::Edits;
use crate::fhir::xml;
use crate::fhir::{Document, Format, is_id};

/// The same resource with this logical id: put in where there is none, in place of another that is there. All other
/// bytes stay. `None` when `id` is no id, or the resource has one that is not plain text.
#[must_use]
pub fn with_id(document: &Document, id: &str) -> Option<Bytes> {
    if !is_id(id) {
        return None;
    }
    let source = document.bytes();
    let (range, written) = match document.format() {
        Format::Json => json_id(source, id)?,
        Format::Xml => xml_id(source, id)?,
    };
    let mut edits = Edits::new(document.format());
    edits.replace(range, written.into_bytes());
    Some(edits.apply(source).into())
}

/// The body with other texts in the elements of a name, wherever they stand: `with` is asked for each text, in order,
/// and says what takes its place, or `None` to leave it. All other bytes stay. The narrative is not looked into, its
/// elements are XHTML's. `None` when the body cannot be read.
#[must_use]
pub fn replace_values(
    body: &Bytes,
    format: Format,
    name: &str,
    with: &dyn Fn(&str) -> Option<String>,
) -> Option<Bytes> {
    let values = match format {
        Format::Json => json_values(body, name)?,
        Format::Xml => xml_values(body, name)?,
    };
    let mut edits = Edits::new(format);
    for (range, text) in values {
        let Some(text) = with(&text) else { continue };
        let mut written = Vec::with_capacity(text.len());
        match format {
            Format::Json => json::escape_into(&text, &mut written),
            Format::Xml => xml::escape_into(&text, &mut written),
        }
        edits.replace(range, written);
    }
    if edits.is_empty() { Some(body.clone()) } else { Some(edits.apply(body).into()) }
}

/// What takes which place, so that the resource has this id.
type Splice = (Range<usize>, String);

fn json_id(source: &[u8], id: &str) -> Option<Splice> {
    let mut lexer = json::Lexer::new(source, json::DEPTH).ok()?;
    let begun = lexer.token().ok()??;
    let after = begun.range.end;
    let mut found = None;
    while let Some(key) = lexer.token().ok()?.filter(|next| next.token == json::Token::Key) {
        let value = lexer.token().ok()??;
        if lexer.text(&key) == "id" {
            found = Some(value.clone());
        }
        lexer.skip(&value).ok()?;
    }
    match found {
        Some(value) if value.token == json::Token::String => {
            Some((value.range.start + 1..value.range.end - 1, id.to_owned()))
        }
        Some(_) => None,
        // INVARIANT: a Document has a `resourceType`, so a member follows.
        None => Some((after..after, format!("\"id\":\"{id}\","))),
    }
}

fn xml_id(source: &[u8], id: &str) -> Option<Splice> {
    let mut lexer = xml::Lexer::within(source, json::DEPTH).ok()?;
    let Some(xml::Token::Start { name: root, range: tag }) = lexer.token().ok()? else { return None };
    let mut found = None;
    while let Some(xml::Token::Start { name, .. }) = lexer.token().ok()? {
        if name == "id" {
            let value = lexer.attribute("value")?.value.clone();
            if found.replace(value).is_some() {
                return None;
            }
        }
        lexer.skip().ok()?;
    }
    if let Some(value) = found {
        return Some((value, id.to_owned()));
    }
    let element = format!("<id value=\"{id}\"/>");
    if source.get(tag.clone())?.ends_with(b"/>") {
        return Some((tag.end - 2..tag.end, format!(">{element}</{root}>")));
    }
    Some((tag.end..tag.end, element))
}

fn json_values(body: &[u8], name: &str) -> Option<Vec<(Range<usize>, String)>> {
    let mut lexer = json::Lexer::new(body, json::DEPTH).ok()?;
    let mut found = Vec::new();
    // Whether the value to come, or the list that is open, has the name.
    let mut named = false;
    while let Some(lexeme) = lexer.token().ok()? {
        match lexeme.token {
            json::Token::Key => named = lexer.text(&lexeme) == name,
            json::Token::String if named => {
                found.push((lexeme.range.start + 1..lexeme.range.end - 1, lexer.text(&lexeme).into_owned()));
            }
            json::Token::ArrayEnd | json::Token::ObjectEnd | json::Token::ObjectStart => named = false,
            json::Token::ArrayStart
            | json::Token::False
            | json::Token::Null
            | json::Token::Number
            | json::Token::String
            | json::Token::True => {}
        }
    }
    Some(found)
}

fn xml_values(body: &[u8], wanted: &str) -> Option<Vec<(Range<usize>, String)>> {
    let mut lexer = xml::Lexer::within(body, json::DEPTH).ok()?;
    let mut found = Vec::new();
    while let Some(token) = lexer.token().ok()? {
        let xml::Token::Start { name, .. } = token else { continue };
        if name == "div" {
            lexer.skip().ok()?;
        } else if name == wanted
            && let Some(value) = lexer.attribute("value")
        {
            found.push((value.value.clone(), lexer.value(value).into_owned()));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fhir::element;
    use crate::fhir::outline::Limits;

    fn document(text: &str) -> Document {
        let format = if text.contains('<') { Format::Xml } else { Format::Json };
        Document::read(Bytes::copy_from_slice(text.as_bytes()), format, Limits::default()).expect(text)
    }

    fn text(bytes: Option<Bytes>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    /// The id is put in or exchanged, and nothing else moves.
    #[test]
    fn an_id_is_put_in() {
        let table = [
            (r#"{"resourceType":"Patient"}"#, Some(r#"{"id":"new","resourceType":"Patient"}"#)),
            (
                " { \"gender\" : \"male\",\n\t\"resourceType\":\"Patient\" } ",
                Some(" {\"id\":\"new\", \"gender\" : \"male\",\n\t\"resourceType\":\"Patient\" } "),
            ),
            (
                r#"{"resourceType":"Patient","id" : "old","_id":{"id":"x"},"name":[{"id":"n"}]}"#,
                Some(r#"{"resourceType":"Patient","id" : "new","_id":{"id":"x"},"name":[{"id":"n"}]}"#),
            ),
            (
                r#"{"resourceType":"Patient","contained":[{"resourceType":"Device","id":"d"}],"\u0069d":"\u006fld"}"#,
                Some(
                    r#"{"resourceType":"Patient","contained":[{"resourceType":"Device","id":"d"}],"\u0069d":"new"}"#,
                ),
            ),
            (
                r#"<Patient xmlns="http://hl7.org/fhir"/>"#,
                Some(r#"<Patient xmlns="http://hl7.org/fhir"><id value="new"/></Patient>"#),
            ),
            (
                r#"<Patient xmlns="http://hl7.org/fhir" />"#,
                Some(r#"<Patient xmlns="http://hl7.org/fhir" ><id value="new"/></Patient>"#),
            ),
            (
                "<?xml version=\"1.0\"?>\n<Patient xmlns='http://hl7.org/fhir'>\n <gender value='male'/>\n</Patient>\n",
                Some(
                    "<?xml version=\"1.0\"?>\n<Patient xmlns='http://hl7.org/fhir'><id value=\"new\"/>\n <gender value='male'/>\n</Patient>\n",
                ),
            ),
            (
                r#"<Patient xmlns="http://hl7.org/fhir"><!-- id --><id value = 'old' id="x"><extension url="u"/></id><name id="n"><id value="m"/></name></Patient>"#,
                Some(
                    r#"<Patient xmlns="http://hl7.org/fhir"><!-- id --><id value = 'new' id="x"><extension url="u"/></id><name id="n"><id value="m"/></name></Patient>"#,
                ),
            ),
        ];
        for (before, after) in table {
            assert_eq!(text(with_id(&document(before), "new")).as_deref(), after, "{before}");
        }
        for id in ["", "a b", "a\"", "<", "a/b", &"x".repeat(65)] {
            assert_eq!(with_id(&document(r#"{"resourceType":"Patient"}"#), id), None, "{id}");
        }
    }

    /// A resource that was cut out of a bundle inherits its namespace.
    #[test]
    fn an_id_for_an_entry() {
        let bytes = Bytes::from_static(br#"<Patient><gender value="x"/></Patient>"#);
        let entry = Document::sliced(bytes, Format::Xml, "Patient".to_owned(), None);
        let expected = r#"<Patient><id value="new"/><gender value="x"/></Patient>"#;
        assert_eq!(text(with_id(&entry, "new")).as_deref(), Some(expected));
        let twice = Bytes::from_static(br#"<Patient><id value="x"/><id value="y"/></Patient>"#);
        assert_eq!(with_id(&Document::sliced(twice, Format::Xml, "Patient".to_owned(), None), "new"), None);
        let nothing = Bytes::from_static(br#"<Patient><id/></Patient>"#);
        assert_eq!(with_id(&Document::sliced(nothing, Format::Xml, "Patient".to_owned(), None), "new"), None);
    }

    /// REST-16: only the texts of that name change, escaped as the format asks.
    #[test]
    fn values_are_replaced() {
        let table = [
            (
                r#"{"resourceType":"A", "subject":{"reference":"P?a=b&c"},"reference":["P?x",1,{"P?":"P?"},"P?y"],"note":"P?"}"#,
                r#"{"resourceType":"A", "subject":{"reference":"<\"P?a=b&c\">"},"reference":["<\"P?x\">",1,{"P?":"P?"},"P?y"],"note":"P?"}"#,
            ),
            (
                r#"{"reference" : "Patient/1","x":{"r\u0065ference":"P\u003f"}}"#,
                r#"{"reference" : "Patient/1","x":{"r\u0065ference":"<\"P?\">"}}"#,
            ),
            (
                r#"<A><s><reference id="P?" value = 'P?a=b&amp;c'/></s><reference><x value="P?"/></reference></A>"#,
                r#"<A><s><reference id="P?" value = '&lt;&quot;P?a=b&amp;c&quot;&gt;'/></s><reference><x value="P?"/></reference></A>"#,
            ),
            (
                r#"<A><text><div xmlns="http://www.w3.org/1999/xhtml"><reference value="P?"/></div></text><reference value="P?"/></A>"#,
                r#"<A><text><div xmlns="http://www.w3.org/1999/xhtml"><reference value="P?"/></div></text><reference value="&lt;&quot;P?&quot;&gt;"/></A>"#,
            ),
        ];
        let with = |text: &str| text.contains('?').then(|| format!("<\"{text}\">"));
        for (before, after) in table {
            let format = if before.starts_with('<') { Format::Xml } else { Format::Json };
            let body = Bytes::from_static(before.as_bytes());
            assert_eq!(text(replace_values(&body, format, "reference", &with)).as_deref(), Some(after));
            assert_eq!(
                replace_values(&body, format, "reference", &|_| None).as_deref(),
                Some(before.as_bytes())
            );
        }
        for (broken, format) in
            [("{\"reference\":\"P?\"", Format::Json), ("<A><reference value='P?'>", Format::Xml)]
        {
            assert_eq!(
                replace_values(&Bytes::from_static(broken.as_bytes()), format, "reference", &with),
                None
            );
        }
    }

    proptest! {
        /// Replaced by itself a value is the same to a reader; and any text survives.
        #[test]
        fn what_is_put_in_is_what_is_read(old in "[a-z\"<&'\\\\ \u{e9}]{0,8}", new in "[a-z\"<&'\\\\\t \u{e9}]{0,8}") {
            let json = serde_json::json!({"resourceType":"A","reference":old}).to_string();
            let mut escaped = Vec::new();
            xml::escape_into(&old, &mut escaped);
            let xml = format!("<A><reference value=\"{}\"/></A>", String::from_utf8(escaped).expect("UTF-8"));
            for (body, format) in [(json, Format::Json), (xml, Format::Xml)] {
                let bytes = replace_values(&Bytes::from(body), format, "reference", &|text| {
                    assert_eq!(text, old);
                    Some(new.clone())
                });
                let bytes = bytes.expect("readable");
                let document = element::Document::read(&bytes, format).expect("a resource");
                prop_assert_eq!(document.root().text("reference"), Some(new.as_str()));
            }
        }
    }
}
