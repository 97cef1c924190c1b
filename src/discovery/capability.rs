//! Our part of the CapabilityStatement, in JSON and XML (DISC-17 … DISC-19).
//!
//! The backend's statement says what the server can do; the gateway says where it is, how access is secured, and takes
//! out what it always refuses. Software, messaging end points and internal addresses do not leave.

use serde_json::{Map, Value, json};

use super::smart::Endpoints;
use super::tree::{self, Element};
use crate::fhir::{FhirVersion, Level, OnTypes, OperationTable};

const SECURITY_SERVICE: &str = "http://terminology.hl7.org/CodeSystem/restful-security-service";
const IUA_TYPES: &str = "http://profiles.ihe.net/fhir/ihe.securityTypes/CodeSystem/securityTypes";
const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
const WEBSOCKET: &str = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket";

/// What describes the endpoint in place of the backend's own words.
const DESCRIPTION: &str = "FHIR endpoint protected with SMART on FHIR";

/// Interactions that have a row in the gateway's table; others are never forwarded.
const INTERACTIONS: [&str; 13] = [
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
    "transaction",
    "batch",
    "search-system",
    "history-system",
];

/// What the statement is made true of.
#[derive(Debug, Clone)]
pub struct Truth<'a> {
    /// The public FHIR base, without a trailing slash.
    pub public_base: &'a str,
    /// The backend's FHIR base, without a trailing slash.
    pub backend_base: &'a str,
    /// The FHIR version served.
    pub version: FhirVersion,
    /// The operations that are not refused.
    pub operations: &'a OperationTable,
    /// The OAuth endpoints of the SMART configuration.
    pub endpoints: &'a Endpoints,
}

/// Why a statement cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unshowable {
    /// It is not JSON or XML of the announced kind.
    #[error("the backend's CapabilityStatement cannot be read")]
    Unreadable,
    /// It is another resource.
    #[error("the backend answered `metadata` with something other than a CapabilityStatement")]
    Other,
}

impl Truth<'_> {
    fn interaction(&self, code: Option<&str>) -> bool {
        code.is_some_and(|code| INTERACTIONS.contains(&code))
    }

    /// Whether an operation listed for a type, or for the server, has a row.
    fn operation(&self, name: Option<&str>, of: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let name = format!("${}", name.trim_start_matches('$'));
        let Some(of) = of else { return self.operations.rows().any(|row| row.name == name) };
        let Some(of) = self.version.resource_type(of) else { return false };
        self.operations.rows().any(|row| {
            let speaks = match row.types {
                OnTypes::Any => true,
                OnTypes::Only(names) => names.contains(&of.as_str()),
                OnTypes::One(one) => one == of,
            };
            row.name == name && row.level != Level::System && speaks
        })
    }

    /// A text with the backend's addresses made public; nothing when there are none in it.
    fn public(&self, text: &str) -> Option<String> {
        let origin = |base: &str| url::Url::parse(base).ok().map(|url| url.origin().ascii_serialization());
        let (from, to) = (origin(self.backend_base)?, origin(self.public_base)?);
        text.contains(&from).then(|| text.replace(self.backend_base, self.public_base).replace(&from, &to))
    }
}

/// The statement in JSON.
///
/// # Errors
/// See [`Unshowable`]; such a document is not passed on.
pub fn json(backend: &[u8], truth: &Truth<'_>) -> Result<Vec<u8>, Unshowable> {
    let mut root: Value = serde_json::from_slice(backend).map_err(|_invalid| Unshowable::Unreadable)?;
    if root.get("resourceType").and_then(Value::as_str) != Some("CapabilityStatement") {
        return Err(Unshowable::Other);
    }
    publish(&mut root, truth);
    let statement = root.as_object_mut().ok_or(Unshowable::Unreadable)?;
    statement.shift_remove("software");
    statement.shift_remove("messaging");
    // R4 cpb-14: an instance has an implementation; other kinds must not.
    statement.insert("kind".to_owned(), json!("instance"));
    statement
        .insert("implementation".to_owned(), json!({"description": DESCRIPTION, "url": truth.public_base}));
    for rest in list(statement, "rest") {
        rest_json(rest, truth);
    }
    Ok(root.to_string().into_bytes())
}

fn publish(value: &mut Value, truth: &Truth<'_>) {
    match value {
        Value::String(text) => {
            if let Some(new) = truth.public(text) {
                *text = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| publish(item, truth)),
        Value::Object(members) => members.values_mut().for_each(|member| publish(member, truth)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn list<'v>(of: &'v mut Map<String, Value>, name: &str) -> impl Iterator<Item = &'v mut Map<String, Value>> {
    of.get_mut(name)
        .and_then(Value::as_array_mut)
        .map_or(&mut [] as &mut [Value], |items| items)
        .iter_mut()
        .filter_map(Value::as_object_mut)
}

fn text<'v>(of: &'v Value, name: &str) -> Option<&'v str> {
    of.get(name).and_then(Value::as_str)
}

/// Keeps the entries of a list, and drops the list when none is left: FHIR has no empty arrays.
fn sift(of: &mut Map<String, Value>, name: &str, keep: impl Fn(&Value) -> bool) {
    let Some(items) = of.get_mut(name).and_then(Value::as_array_mut) else { return };
    items.retain(keep);
    if items.is_empty() {
        of.shift_remove(name);
    }
}

fn rest_json(rest: &mut Map<String, Value>, truth: &Truth<'_>) {
    if rest.get("mode").and_then(Value::as_str) == Some("server") {
        rest.insert("security".to_owned(), security_json(truth.endpoints));
    }
    sift(rest, "extension", |extension| text(extension, "url") != Some(WEBSOCKET));
    sift(rest, "interaction", |entry| truth.interaction(text(entry, "code")));
    sift(rest, "operation", |entry| truth.operation(text(entry, "name"), None));
    for resource in list(rest, "resource") {
        let of = resource.get("type").and_then(Value::as_str).map(str::to_owned);
        sift(resource, "interaction", |entry| truth.interaction(text(entry, "code")));
        sift(resource, "operation", |entry| truth.operation(text(entry, "name"), of.as_deref()));
    }
}

fn security_json(endpoints: &Endpoints) -> Value {
    let mut security = Map::new();
    if !endpoints.is_empty() {
        let uris: Vec<_> =
            endpoints.iter().map(|(name, url)| json!({"url": name, "valueUri": url})).collect();
        security.insert("extension".to_owned(), json!([{"url": OAUTH_URIS, "extension": uris}]));
    }
    security.insert("cors".to_owned(), json!(true));
    security.insert(
        "service".to_owned(),
        json!([
            {"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]},
            {"coding": [{"system": IUA_TYPES, "code": "IUA"}]}
        ]),
    );
    Value::Object(security)
}

/// The statement in XML.
///
/// # Errors
/// See [`Unshowable`]; such a document is not passed on.
pub fn xml(backend: &[u8], truth: &Truth<'_>) -> Result<Vec<u8>, Unshowable> {
    let backend = std::str::from_utf8(backend).map_err(|_invalid| Unshowable::Unreadable)?;
    let (before, mut root) = tree::read(backend).ok_or(Unshowable::Unreadable)?;
    if root.name() != "CapabilityStatement" {
        return Err(Unshowable::Other);
    }
    root.rewrite(&|value| truth.public(value));
    root.retain(|child| {
        !["software", "messaging", "implementation", "kind"].contains(&child.name().as_str())
    });
    // FHIR's XML has an order: kind, …, implementation, fhirVersion.
    let rest =
        ["fhirVersion", "format", "patchFormat", "acceptLanguage", "implementationGuide", "rest", "document"];
    let implementation = vec![
        Element::new("description", &[("value", DESCRIPTION)], vec![]),
        Element::new("url", &[("value", truth.public_base)], vec![]),
    ];
    root.put_before(Element::new("implementation", &[], implementation), &rest);
    let after_kind = ["instantiates", "imports", "implementation"];
    root.put_before(Element::new("kind", &[("value", "instance")], vec![]), &after_kind);
    for rest in root.all_mut("rest") {
        rest_xml(rest, truth);
    }
    tree::write(&before, &root).map(String::into_bytes).ok_or(Unshowable::Unreadable)
}

fn rest_xml(rest: &mut Element, truth: &Truth<'_>) {
    let server = rest.value("mode").as_deref() == Some("server");
    rest.retain(|child| match child.name().as_str() {
        "security" => !server,
        "extension" => child.attribute("url").as_deref() != Some(WEBSOCKET),
        "interaction" => truth.interaction(child.value("code").as_deref()),
        "operation" => truth.operation(child.value("name").as_deref(), None),
        _ => true,
    });
    if server {
        let after = ["resource", "interaction", "searchParam", "operation", "compartment"];
        rest.put_before(security_xml(truth.endpoints), &after);
    }
    for resource in rest.all_mut("resource") {
        let of = resource.value("type");
        resource.retain(|child| match child.name().as_str() {
            "interaction" => truth.interaction(child.value("code").as_deref()),
            "operation" => truth.operation(child.value("name").as_deref(), of.as_deref()),
            _ => true,
        });
    }
}

fn security_xml(endpoints: &Endpoints) -> Element {
    let mut children = Vec::new();
    if !endpoints.is_empty() {
        let uri = |(name, url)| {
            Element::new(
                "extension",
                &[("url", name)],
                vec![Element::new("valueUri", &[("value", url)], vec![])],
            )
        };
        let uris = endpoints.iter().map(uri).collect();
        children.push(Element::new("extension", &[("url", OAUTH_URIS)], uris));
    }
    children.push(Element::new("cors", &[("value", "true")], vec![]));
    for (system, code) in [(SECURITY_SERVICE, "SMART-on-FHIR"), (IUA_TYPES, "IUA")] {
        let coding = vec![
            Element::new("system", &[("value", system)], vec![]),
            Element::new("code", &[("value", code)], vec![]),
        ];
        children.push(Element::new("service", &[], vec![Element::new("coding", &[], coding)]));
    }
    Element::new("security", &[], children)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"resourceType":"CapabilityStatement","url":"http://upstream.internal/fhir/metadata",
        "kind":"capability","software":{"name":"HAPI","version":"8.8.0"},
        "implementation":{"description":"internal","url":"http://upstream.internal/fhir"},
        "fhirVersion":"4.0.1","format":["json"],
        "messaging":[{"endpoint":[{"address":"http://upstream.internal/msg"}]}],
        "rest":[{"mode":"server","security":{"description":"ask http://upstream.internal/login"},
          "extension":[{"url":"http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket","valueUri":"ws://x"}],
          "resource":[{"type":"Patient","profile":"http://hl7.org/fhir/StructureDefinition/Patient",
             "interaction":[{"code":"read"},{"code":"magic"}],
             "operation":[{"name":"everything"},{"name":"$expunge"}]},
            {"type":"Group","operation":[{"name":"everything"}]}],
          "interaction":[{"code":"transaction"},{"code":"magic"}],
          "operation":[{"name":"graphql"},{"name":"export"}]}]}"#;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<CapabilityStatement xmlns="http://hl7.org/fhir"><url value="http://upstream.internal/fhir/metadata"/>
<text><div xmlns="http://www.w3.org/1999/xhtml">a &amp; b <a href="http://upstream.internal/x">x</a></div></text>
<kind value="capability"/><software><name value="HAPI"/></software>
<implementation><description value="i"/><url value="http://upstream.internal/fhir"/></implementation>
<fhirVersion value="4.0.1"/><format value="xml"/>
<rest><mode value="server"/><security><description value="internal"/></security>
<resource><type value="Patient"/><interaction><code value="read"/></interaction><interaction><code value="magic"/></interaction>
<operation><name value="everything"/></operation><operation><name value="$expunge"/></operation></resource>
<interaction><code value="transaction"/></interaction><interaction><code value="magic"/></interaction>
<operation><name value="graphql"/></operation><operation><name value="export"/></operation></rest></CapabilityStatement>"#;

    fn endpoints() -> Endpoints {
        let smart = json!({"authorization_endpoint": "https://as.test/auth", "token_endpoint": "https://as.test/token?a=1&b=2"});
        Endpoints::of(smart.as_object().unwrap())
    }

    fn with<R>(endpoints: &Endpoints, run: impl FnOnce(&Truth<'_>) -> R) -> R {
        run(&Truth {
            public_base: "https://gw.test/fhir",
            backend_base: "http://upstream.internal/fhir",
            version: FhirVersion::R4,
            operations: &OperationTable::delivered(),
            endpoints,
        })
    }

    /// DISC-17, -18, -19 in JSON.
    #[test]
    fn statement_in_json() {
        let out = with(&endpoints(), |truth| json(JSON.as_bytes(), truth)).unwrap();
        let read: Value = serde_json::from_slice(&out).unwrap();
        let rest = &read["rest"][0];
        let table = [
            (&read["implementation"]["url"], json!("https://gw.test/fhir")),
            (&read["url"], json!("https://gw.test/fhir/metadata")),
            (&read["kind"], json!("instance")),
            (&read["software"], Value::Null),
            (&read["messaging"], Value::Null),
            (&read["fhirVersion"], json!("4.0.1")),
            (&rest["extension"], Value::Null),
            (&rest["security"]["cors"], json!(true)),
            (&rest["security"]["description"], Value::Null),
            (&rest["security"]["service"][0]["coding"][0]["code"], json!("SMART-on-FHIR")),
            (&rest["security"]["service"][1]["coding"][0]["code"], json!("IUA")),
            (
                &rest["security"]["extension"][0]["extension"][1],
                json!({"url": "token", "valueUri": "https://as.test/token?a=1&b=2"}),
            ),
            (&rest["resource"][0]["interaction"], json!([{"code": "read"}])),
            (&rest["resource"][0]["operation"], json!([{"name": "everything"}])),
            (&rest["resource"][0]["profile"], json!("http://hl7.org/fhir/StructureDefinition/Patient")),
            (&rest["resource"][1]["operation"], Value::Null),
            (&rest["interaction"], json!([{"code": "transaction"}])),
            (&rest["operation"], json!([{"name": "export"}])),
        ];
        let wrong: Vec<_> = table.iter().filter(|(found, wanted)| *found != wanted).collect();
        assert!(wrong.is_empty(), "untrue: {wrong:#?}");
        assert!(!String::from_utf8(out).unwrap().contains("upstream.internal"));
    }

    /// DISC-18: no endpoints, no extension.
    #[test]
    fn no_endpoints_no_extension() {
        let out = with(&Endpoints::default(), |truth| json(JSON.as_bytes(), truth)).unwrap();
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["rest"][0]["security"]["extension"], Value::Null);
    }

    /// DISC-17, -18, -19 in XML: same truths, FHIR's element order kept.
    #[test]
    fn statement_in_xml() {
        let out = with(&endpoints(), |truth| xml(XML.as_bytes(), truth)).unwrap();
        let out = String::from_utf8(out).unwrap();
        let there = [
            r#"<kind value="instance"/><implementation><description value="FHIR endpoint protected with SMART on FHIR"/><url value="https://gw.test/fhir"/></implementation><fhirVersion value="4.0.1"/>"#,
            r#"<url value="https://gw.test/fhir/metadata"/>"#,
            r#"<extension url="token"><valueUri value="https://as.test/token?a=1&amp;b=2"/></extension>"#,
            r#"<cors value="true"/><service><coding>"#,
            r#"<code value="IUA"/></coding></service></security><resource><type value="Patient"/>"#,
            r#"<operation><name value="everything"/></operation>"#,
            r#"<operation><name value="export"/></operation>"#,
            r#"<div xmlns="http://www.w3.org/1999/xhtml">a &amp; b <a href="https://gw.test/x">x</a></div>"#,
        ];
        let missing: Vec<_> = there.iter().filter(|part| !out.contains(**part)).collect();
        assert!(missing.is_empty(), "not in {out}: {missing:#?}");
        let gone = ["upstream.internal", "HAPI", "magic", "expunge", "graphql", "value=\"internal\""];
        let left: Vec<_> = gone.iter().filter(|part| out.contains(**part)).collect();
        assert!(left.is_empty(), "still in {out}: {left:?}");
    }

    /// What cannot be read, or is something else, is not shown.
    #[test]
    fn unshowable() {
        let table: &[(&str, Unshowable)] = &[
            ("{}", Unshowable::Other),
            (r#"{"resourceType":"Patient"}"#, Unshowable::Other),
            ("<html>", Unshowable::Unreadable),
        ];
        let judged = |text: &str| with(&endpoints(), |truth| json(text.as_bytes(), truth)).err();
        let wrong: Vec<_> = table.iter().filter(|(text, why)| judged(text) != Some(*why)).collect();
        assert!(wrong.is_empty(), "shown: {wrong:?}");
        let table: &[(&str, Unshowable)] = &[
            ("<html/>", Unshowable::Other),
            ("<CapabilityStatement>", Unshowable::Unreadable),
            ("<!DOCTYPE x [<!ENTITY e 'v'>]><CapabilityStatement/>", Unshowable::Unreadable),
            ("{}", Unshowable::Unreadable),
        ];
        let judged = |text: &str| with(&endpoints(), |truth| xml(text.as_bytes(), truth)).err();
        let wrong: Vec<_> = table.iter().filter(|(text, why)| judged(text) != Some(*why)).collect();
        assert!(wrong.is_empty(), "shown: {wrong:?}");
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        assert_eq!(judged(&deep), Some(Unshowable::Unreadable));
    }
}
