//! Our part of the CapabilityStatement, in JSON and XML (DISC-17 … DISC-19).
//!
//! The backend's statement says what the server can do; the gateway says where it is, how access is secured, and takes
//! out what it always refuses. Software, messaging end points, counts and internal addresses do not leave, nor does the
//! narrative, which tells of the statement as it was before. What is not known here stays.

use serde_json::{Map, Value, json};

use super::address::Addresses;
use super::json::Json;
use super::smart::Endpoints;
use super::tree::{self, Element};
use crate::fhir::{FhirVersion, Format, Level, OperationTable, element};

const SECURITY_SERVICE: &str = "http://terminology.hl7.org/CodeSystem/restful-security-service";
const IUA_TYPES: &str = "http://profiles.ihe.net/fhir/ihe.securityTypes/CodeSystem/securityTypes";
const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
/// Extensions that do not leave: a channel that is not forwarded, and how much is stored (HAPI FHIR).
const HIDDEN: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket",
    "http://hl7api.sourceforge.net/hapi-fhir/res/extdefs.html#resourceCount",
];

/// Forms of patches that are applied; others are 415 (contract §7).
const PATCHES: [&str; 3] = ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"];

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

    /// Whether an operation listed for a type, or for the server as a whole, has a row.
    fn operation(&self, name: Option<&str>, of: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let name = format!("${}", name.trim_start_matches('$'));
        let Some(of) = of else { return self.operations.row(&name, Level::System, None).is_some() };
        let of = self.version.resource_type(of);
        of.is_some()
            && [Level::Type, Level::Instance]
                .into_iter()
                .any(|level| self.operations.row(&name, level, of).is_some())
    }

    /// Whether requests for a type are forwarded at all.
    fn resource_type(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.version.resource_type(name).is_some())
    }

    fn addresses(&self) -> Result<Addresses, Unshowable> {
        Addresses::new(self.backend_base, self.public_base).ok_or(Unshowable::Unreadable)
    }
}

fn is_shown(extension: Option<&str>) -> bool {
    extension.is_none_or(|url| !HIDDEN.contains(&url))
}

fn is_read(format: Option<&str>) -> bool {
    format.is_some_and(|format| Format::of(format).is_some())
}

fn is_applied(patch: Option<&str>) -> bool {
    patch.is_some_and(|patch| PATCHES.contains(&patch))
}

/// The statement in JSON.
///
/// # Errors
/// See [`Unshowable`]; such a document is not passed on.
pub fn json(backend: &[u8], truth: &Truth<'_>) -> Result<Vec<u8>, Unshowable> {
    let mut root = Json::read(backend).ok_or(Unshowable::Unreadable)?;
    if root.text("resourceType") != Some("CapabilityStatement") {
        return Err(Unshowable::Other);
    }
    let addresses = truth.addresses()?;
    root.rewrite(&|text| addresses.published(text));
    root.remove(&["text", "software", "messaging", "_implementation", "_kind"]);
    for contained in list(&mut root, "contained") {
        contained.remove(&["text"]);
    }
    sift(&mut root, "extension", |extension| is_shown(extension.text("url")));
    sift(&mut root, "format", |format| is_read(format.as_text()));
    sift(&mut root, "patchFormat", |patch| is_applied(patch.as_text()));
    // R4 cpb-14: an instance has an implementation; other kinds must not.
    root.set("kind", &json!("instance"));
    root.set("implementation", &json!({"description": DESCRIPTION, "url": truth.public_base}));
    for rest in list(&mut root, "rest") {
        rest_json(rest, truth);
    }
    let mut out = Vec::with_capacity(backend.len());
    root.write(&mut out);
    Ok(out)
}

fn list<'v>(of: &'v mut Json, name: &str) -> impl Iterator<Item = &'v mut Json> {
    of.items_mut(name).into_iter().flatten()
}

/// Keeps the entries of a list, and drops the list when none is left: FHIR has no empty arrays.
fn sift(of: &mut Json, name: &str, keep: impl Fn(&Json) -> bool) {
    let Some(items) = of.items_mut(name) else { return };
    let before = items.len();
    items.retain(keep);
    let after = items.len();
    if after == 0 {
        of.remove(&[name]);
    }
    if after != before {
        // Extensions of primitives stand at the same places in a list beside it, and are no more in step.
        of.remove(&[&format!("_{name}")]);
    }
}

fn rest_json(rest: &mut Json, truth: &Truth<'_>) {
    rest.set("security", &security_json(truth.endpoints));
    sift(rest, "extension", |extension| is_shown(extension.text("url")));
    sift(rest, "resource", |resource| truth.resource_type(resource.text("type")));
    sift(rest, "interaction", |entry| truth.interaction(entry.text("code")));
    sift(rest, "operation", |entry| truth.operation(entry.text("name"), None));
    for resource in list(rest, "resource") {
        let of = resource.text("type").map(str::to_owned);
        sift(resource, "extension", |extension| is_shown(extension.text("url")));
        sift(resource, "interaction", |entry| truth.interaction(entry.text("code")));
        sift(resource, "operation", |entry| truth.operation(entry.text("name"), of.as_deref()));
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
    let source = std::str::from_utf8(backend).map_err(|_invalid| Unshowable::Unreadable)?;
    let (before, mut root) = tree::read(source).ok_or(Unshowable::Unreadable)?;
    if root.name() != "CapabilityStatement" {
        return Err(Unshowable::Other);
    }
    // What two readers could read as two statements is refused: prefixes, other namespaces, something after the end.
    element::Document::read(backend, Format::Xml).map_err(|_ambiguous| Unshowable::Unreadable)?;
    let addresses = truth.addresses()?;
    root.rewrite(&|value| addresses.published(value));
    root.retain(|child| match child.name().as_str() {
        "text" | "software" | "messaging" | "implementation" | "kind" => false,
        "extension" => is_shown(child.attribute("url").as_deref()),
        "format" => is_read(child.attribute("value").as_deref()),
        "patchFormat" => is_applied(child.attribute("value").as_deref()),
        _ => true,
    });
    for contained in root.all_mut("contained") {
        contained.each_mut(|resource| resource.retain(|child| child.name() != "text"));
    }
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
    rest.retain(|child| match child.name().as_str() {
        "security" => false,
        "extension" => is_shown(child.attribute("url").as_deref()),
        "resource" => truth.resource_type(child.value("type").as_deref()),
        "interaction" => truth.interaction(child.value("code").as_deref()),
        "operation" => truth.operation(child.value("name").as_deref(), None),
        _ => true,
    });
    let after = ["resource", "interaction", "searchParam", "operation", "compartment"];
    rest.put_before(security_xml(truth.endpoints), &after);
    for resource in rest.all_mut("resource") {
        let of = resource.value("type");
        resource.retain(|child| match child.name().as_str() {
            "extension" => is_shown(child.attribute("url").as_deref()),
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
        ];
        let missing: Vec<_> = there.iter().filter(|part| !out.contains(**part)).collect();
        assert!(missing.is_empty(), "not in {out}: {missing:#?}");
        let gone = ["upstream.internal", "HAPI", "magic", "expunge", "graphql", "value=\"internal\"", "<div"];
        let left: Vec<_> = gone.iter().filter(|part| out.contains(**part)).collect();
        assert!(left.is_empty(), "still in {out}: {left:?}");
    }

    /// Every element and value of a statement, by path; the same for both formats.
    fn told(bytes: &[u8], format: Format) -> Vec<String> {
        fn walk(of: element::Element<'_>, path: &str, out: &mut Vec<String>) {
            let path = format!("{path}/{}", of.name());
            out.push(format!("{path}={}", of.value().unwrap_or_default()));
            of.all().for_each(|child| walk(child, &path, out));
        }
        let document = element::Document::read(bytes, format).unwrap();
        let mut out = Vec::new();
        walk(document.root(), "", &mut out);
        // An added member stands last in JSON, and where the schema wants it in XML.
        out.sort();
        out
    }

    /// DISC-17: one statement, two formats, one result; what HAPI FHIR says, cut down, and a statement of few words.
    #[test]
    fn both_formats_tell_the_same() {
        let small = r#"{"resourceType":"CapabilityStatement","status":"active","kind":"requirements",
            "_date":{"extension":[{"url":"https://ex.test/why","valueString":"a\tb & \"c\" <d>"}]},
            "format":["text/turtle"],"contained":[{"resourceType":"Basic","id":"b",
            "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"}}],
            "rest":[{"mode":"client"}]}"#;
        let small_xml = r#"<CapabilityStatement xmlns="http://hl7.org/fhir"><contained><Basic><id value="b"/><text>
            <status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">x</div></text></Basic></contained>
            <status value="active"/><date><extension url="https://ex.test/why">
            <valueString value="a&#9;b &amp; &quot;c&quot; &lt;d>"/></extension></date><kind value="requirements"/>
            <format value="text/turtle"/><rest><mode value="client"/></rest></CapabilityStatement>"#;
        let hapi = include_str!("testdata/hapi.json");
        let pairs = [(small, small_xml), (hapi, include_str!("testdata/hapi.xml"))];
        for (in_json, in_xml) in pairs {
            let (a, b) = (told(in_json.as_bytes(), Format::Json), told(in_xml.as_bytes(), Format::Xml));
            let narrative = |line: &String| !line.contains("/text");
            assert!(a.iter().filter(|line| narrative(line)).eq(b.iter().filter(|line| narrative(line))));
            let a = with(&endpoints(), |truth| json(in_json.as_bytes(), truth)).unwrap();
            let b = with(&endpoints(), |truth| xml(in_xml.as_bytes(), truth)).unwrap();
            let (one, other) = (told(&a, Format::Json), told(&b, Format::Xml));
            let differ: Vec<_> = one.iter().zip(&other).filter(|(one, other)| one != other).collect();
            assert!(one.len() == other.len() && differ.is_empty(), "{differ:#?}");
            for (bytes, again) in [(&a, Format::Json), (&b, Format::Xml)] {
                let twice = with(&endpoints(), |truth| match again {
                    Format::Json => json(bytes, truth),
                    Format::Xml => xml(bytes, truth),
                });
                assert_eq!(told(&twice.unwrap(), again), told(bytes, again), "twice is once");
            }
        }
    }

    /// DISC-17, DISC-19, INFO-006: what is left of HAPI FHIR's statement, and what is gone.
    #[test]
    fn a_real_statement() {
        let source = include_str!("testdata/hapi.json");
        let before = told(source.as_bytes(), Format::Json);
        let out = with(&endpoints(), |truth| json(source.as_bytes(), truth)).unwrap();
        let after = told(&out, Format::Json);
        let rest = "/CapabilityStatement/rest";
        let gone = [
            "/CapabilityStatement/format=ttl".to_owned(),
            "/CapabilityStatement/format=application/x-turtle".to_owned(),
            "/CapabilityStatement/patchFormat=application/xml-patch+xml".to_owned(),
            "/CapabilityStatement/software/version=8.8.0".to_owned(),
            format!("{rest}/operation/name=graphql"),
            format!("{rest}/operation/name=expunge"),
            format!("{rest}/resource/operation/name=expunge"),
            format!("{rest}/resource/type=Contraption"),
            format!("{rest}/resource/extension/valueDecimal=1234"),
            format!("{rest}/extension/valueUri=ws://upstream.internal/websocket"),
        ];
        let kept = [
            "/CapabilityStatement/format=application/fhir+xml".to_owned(),
            "/CapabilityStatement/format=json".to_owned(),
            "/CapabilityStatement/patchFormat=application/json-patch+json".to_owned(),
            "/CapabilityStatement/fhirVersion=4.0.1".to_owned(),
            format!("{rest}/operation/name=meta"),
            format!("{rest}/extension/url=https://example.org/kept"),
            format!("{rest}/extension/valueDecimal=1.50"),
            format!("{rest}/resource/operation/name=everything"),
            format!("{rest}/resource/type=Patient"),
            format!("{rest}/resource/searchInclude=*"),
            format!("{rest}/interaction/code=transaction"),
        ];
        for line in &gone {
            assert!(before.contains(line) && !after.contains(line), "{line} should be gone");
        }
        for line in &kept {
            assert!(before.contains(line) && after.contains(line), "{line} should be kept");
        }
        let xml_out = with(&endpoints(), |truth| xml(include_bytes!("testdata/hapi.xml"), truth)).unwrap();
        for text in [out, xml_out].map(|bytes| String::from_utf8(bytes).unwrap()) {
            assert!(!text.contains("upstream.internal") && !text.contains("8.8.0"), "{text}");
        }
    }

    /// REST-10: two readers must see one statement.
    #[test]
    fn ambiguous_statements_are_not_shown() {
        let table = [
            r#"{"resourceType":"CapabilityStatement","kind":"instance","KIND":"capability"}"#,
            r#"{"resourceType":"CapabilityStatement","rest":[],"rest":[{"mode":"server"}]}"#,
            r#"<CapabilityStatement xmlns="http://hl7.org/fhir"/><CapabilityStatement/>"#,
            r#"<f:CapabilityStatement xmlns:f="http://hl7.org/fhir"/>"#,
            r#"<CapabilityStatement xmlns="urn:other"/>"#,
        ];
        for text in table {
            let judged = with(&endpoints(), |truth| match text.starts_with('{') {
                true => json(text.as_bytes(), truth),
                false => xml(text.as_bytes(), truth),
            });
            assert_eq!(judged, Err(Unshowable::Unreadable), "{text}");
        }
    }

    /// DISC-19: each level has its own rows.
    #[test]
    fn operations_by_level() {
        with(&endpoints(), |truth| {
            let table = [
                (Some("export"), None, true),
                (Some("$export"), None, true),
                (Some("graphql"), None, false),
                (Some("everything"), None, false),
                (Some("everything"), Some("Patient"), true),
                (Some("everything"), Some("Group"), false),
                (Some("everything"), Some("Nothing"), false),
                (Some("validate"), Some("Group"), true),
                (None, Some("Group"), false),
            ];
            for (name, of, shown) in table {
                assert_eq!(truth.operation(name, of), shown, "{name:?} of {of:?}");
            }
        });
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
