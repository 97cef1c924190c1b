//! Reads what a client would get: resources, counts and links of an answer in JSON or XML.

use serde_json::Value;

/// `Type/id` of every resource, in order: those of a bundle, of the bundles in it, or of `Parameters`; else the one that
/// it is. An `OperationOutcome` is not counted: a server may add one anywhere.
pub fn ids(body: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    match body.as_str() {
        Some(xml) => ids_of_xml(xml, &mut ids),
        None => ids_of_json(body, &mut ids),
    }
    ids
}

fn ids_of_json(resource: &Value, ids: &mut Vec<String>) {
    match resource["resourceType"].as_str() {
        None | Some("OperationOutcome") => {}
        Some("Bundle") => list(&resource["entry"]).for_each(|entry| ids_of_json(&entry["resource"], ids)),
        Some("Parameters") => parameters(resource, ids),
        Some(name) => ids.push(format!("{name}/{}", resource["id"].as_str().unwrap_or(""))),
    }
}

fn parameters(holder: &Value, ids: &mut Vec<String>) {
    for parameter in list(&holder["parameter"]).chain(list(&holder["part"])) {
        ids_of_json(&parameter["resource"], ids);
        parameters(parameter, ids);
    }
}

/// The tables write XML without prefixes and with a resource's `id` as its first element.
fn ids_of_xml(xml: &str, ids: &mut Vec<String>) {
    let holders = ["Bundle", "Parameters", "OperationOutcome"];
    let resource = |text: &str| {
        let name: String = text
            .trim_start()
            .trim_start_matches('<')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        let id = text
            .split_once("<id value=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or("", |(id, _)| id);
        (!name.is_empty() && !holders.contains(&name.as_str())).then(|| format!("{name}/{id}"))
    };
    match outermost(xml) {
        "Bundle" | "Parameters" => ids.extend(xml.split("<resource>").skip(1).filter_map(resource)),
        _ => ids.extend(resource(xml)),
    }
}

fn outermost(xml: &str) -> &str {
    let at = xml.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(xml.len());
    let name = xml.get(at..).unwrap_or("");
    name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("")
}

/// How many entries a bundle has; `null` for what is none.
pub fn entries(body: &Value) -> Value {
    match body.as_str() {
        Some(xml) if outermost(xml) == "Bundle" => xml.matches("<entry>").count().into(),
        None if body["resourceType"] == "Bundle" => list(&body["entry"]).count().into(),
        _ => Value::Null,
    }
}

/// `Bundle.total`; `null` when there is none.
pub fn total(body: &Value) -> Value {
    let Some(xml) = body.as_str() else { return body["total"].clone() };
    let written = xml.split_once("<total value=\"").and_then(|(_, rest)| rest.split_once('"'));
    written.and_then(|(number, _)| number.parse::<u64>().ok()).map_or(Value::Null, Value::from)
}

/// The URL of a link by its relation.
pub fn link(body: &Value, relation: &str) -> Option<String> {
    match body.as_str() {
        Some(xml) => {
            let (_, rest) = xml.split_once(&format!("<relation value=\"{relation}\"/><url value=\""))?;
            rest.split_once('"').map(|(url, _)| url.replace("&amp;", "&"))
        }
        None => {
            let link = list(&body["link"]).find(|link| link["relation"] == relation)?;
            link["url"].as_str().map(str::to_owned)
        }
    }
}

/// What a link is: `sealed`, `open`, or `null` when there is none.
pub fn kind_of_link(body: &Value, relation: &str) -> Value {
    match link(body, relation) {
        None => Value::Null,
        Some(url) if url.contains("_link=") => "sealed".into(),
        Some(_) => "open".into(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
