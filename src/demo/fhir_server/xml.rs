//! FHIR JSON written as FHIR XML (FHIR R4 §2.6.1, §2.6.2).
//!
//! No definitions are needed this way round: `id` of an element and `url` of an extension become attributes, primitive
//! values become `value`, the narrative goes in as it stands. The order of elements is that of the JSON.

use serde_json::{Map, Value};

/// One resource as a document.
pub fn write(resource: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    element(&mut out, resource, " xmlns=\"http://hl7.org/fhir\"");
    out
}

fn element(out: &mut String, resource: &Value, attributes: &str) {
    let Some(map) = resource.as_object() else { return };
    let name = map.get("resourceType").and_then(Value::as_str).unwrap_or("Basic");
    out.push_str(&format!("<{name}{attributes}>"));
    children(out, map, &["resourceType"]);
    out.push_str(&format!("</{name}>"));
}

fn children(out: &mut String, map: &Map<String, Value>, leave_out: &[&str]) {
    for (name, value) in map {
        if leave_out.contains(&name.as_str()) {
            continue;
        }
        match name.strip_prefix('_') {
            // The companion of a primitive is written with it, or alone when the primitive has no value.
            Some(bare) if map.contains_key(bare) => {}
            Some(bare) => repeated(out, bare, &Value::Null, Some(value)),
            None => repeated(out, name, value, map.get(&format!("_{name}"))),
        }
    }
}

fn repeated(out: &mut String, name: &str, value: &Value, companion: Option<&Value>) {
    let items: &[Value] = value.as_array().map_or(&[], Vec::as_slice);
    let extras: &[Value] = companion.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    if !value.is_array() && extras.is_empty() {
        return single(out, name, value, companion);
    }
    for place in 0..items.len().max(extras.len()) {
        single(out, name, items.get(place).unwrap_or(&Value::Null), extras.get(place));
    }
}

fn single(out: &mut String, name: &str, value: &Value, companion: Option<&Value>) {
    match value {
        Value::Object(map) if map.contains_key("resourceType") => {
            out.push_str(&format!("<{name}>"));
            element(out, value, "");
            out.push_str(&format!("</{name}>"));
        }
        Value::Object(map) => complex(out, name, map, ""),
        Value::String(text) if name == "div" => out.push_str(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text =
                value.as_str().map(str::to_owned).or_else(|| (!value.is_null()).then(|| value.to_string()));
            let value = text.map(|text| format!(" value=\"{}\"", escaped(&text))).unwrap_or_default();
            match companion.and_then(Value::as_object) {
                Some(map) => complex(out, name, map, &value),
                None if value.is_empty() => {}
                None => out.push_str(&format!("<{name}{value}/>")),
            }
        }
        Value::Array(_) => {}
    }
}

fn complex(out: &mut String, name: &str, map: &Map<String, Value>, value: &str) {
    let attributes: &[&str] =
        if matches!(name, "extension" | "modifierExtension") { &["id", "url"] } else { &["id"] };
    out.push_str(&format!("<{name}"));
    for attribute in attributes {
        if let Some(text) = map.get(*attribute).and_then(Value::as_str) {
            out.push_str(&format!(" {attribute}=\"{}\"", escaped(text)));
        }
    }
    out.push_str(value);
    if map.keys().all(|key| attributes.contains(&key.as_str())) {
        return out.push_str("/>");
    }
    out.push('>');
    children(out, map, attributes);
    out.push_str(&format!("</{name}>"));
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            // XML 1.0 has no way to write other control characters.
            control if control.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_becomes_xml_by_the_rules() {
        let table = [
            (json!({"id": "x"}), "<id value=\"x\"/>"),
            (json!({"active": true}), "<active value=\"true\"/>"),
            (
                json!({"name": [{"id": "n1", "given": ["A & B", "C"]}]}),
                "<name id=\"n1\"><given value=\"A &amp; B\"/><given value=\"C\"/></name>",
            ),
            (
                json!({"extension": [{"url": "urn:e", "valueCode": "c"}]}),
                "<extension url=\"urn:e\"><valueCode value=\"c\"/></extension>",
            ),
            (
                json!({"birthDate": "1970", "_birthDate": {"id": "b", "extension": [{"url": "urn:t", "valueString": "x"}]}}),
                "<birthDate id=\"b\" value=\"1970\"><extension url=\"urn:t\"><valueString value=\"x\"/></extension></birthDate>",
            ),
            (
                json!({"_gender": {"extension": [{"url": "urn:a", "valueCode": "unknown"}]}}),
                "<gender><extension url=\"urn:a\"><valueCode value=\"unknown\"/></extension></gender>",
            ),
            (
                json!({"given": ["a", null], "_given": [null, {"id": "g"}]}),
                "<given value=\"a\"/><given id=\"g\"/>",
            ),
            (
                json!({"text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">a<br/>b</div>"}}),
                "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\">a<br/>b</div></text>",
            ),
            (
                json!({"contained": [{"resourceType": "Medication", "id": "m"}]}),
                "<contained><Medication><id value=\"m\"/></Medication></contained>",
            ),
            (json!({"url": "urn:not-an-attribute-here"}), "<url value=\"urn:not-an-attribute-here\"/>"),
            (json!({"note": "a\nb\"c"}), "<note value=\"a&#10;b&quot;c\"/>"),
        ];
        for (rest, expected) in table {
            let mut resource = json!({"resourceType": "Patient"});
            resource.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
            let written = write(&resource);
            let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Patient xmlns=\"http://hl7.org/fhir\">";
            assert_eq!(written, format!("{start}{expected}</Patient>"));
        }
    }
}
