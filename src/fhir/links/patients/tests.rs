//! Whom documents name: every form, against readers of whole documents, and whatever the chunks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::fhir::json::escape_into as escape_json_into;
use crate::fhir::links::{Broken, Rewriter, is_uri, patients};
use crate::fhir::outline::Format;
use crate::fhir::xml::escape_into as escape_xml_into;

const BACKEND: &str = "http://upstream.internal/fhir";
const PUBLIC: &str = "https://gw.test/fhir";

fn mapping() -> Mapping {
    Mapping::new(&[BACKEND, PUBLIC], PUBLIC).unwrap()
}

fn told(text: &str, format: Format) -> Vec<String> {
    patients(text.as_bytes(), format, &mapping(), Grouping::Document).into_iter().map(|m| m.id).collect()
}

/// What passes and who is told, chunk by chunk. Whoever is named in what has passed has been told of.
fn streamed(
    mut rewriter: Rewriter,
    text: &[u8],
    mut cuts: Vec<usize>,
    ids: &BTreeSet<String>,
) -> Result<(Vec<u8>, Vec<String>), Broken> {
    cuts.iter_mut().for_each(|cut| *cut %= text.len() + 1);
    cuts.sort_unstable();
    cuts.push(text.len());
    let (mut out, mut known, mut at) = (Vec::new(), Vec::new(), 0);
    for cut in cuts {
        let chunk = Bytes::copy_from_slice(&text[at..cut]);
        rewriter.push(chunk, &mut |bytes| out.extend_from_slice(&bytes))?;
        known.extend(rewriter.patients().take().into_iter().map(|mention| mention.id));
        let passed = String::from_utf8_lossy(&out);
        for id in ids.iter().filter(|id| !known.contains(id)) {
            assert!(!passed.contains(&format!("Patient/{id}")), "`{id}` passed unnoticed in {passed}");
        }
        at = cut;
    }
    rewriter.finish().map(|()| (out, known))
}

/// The patient that the value of a reference names.
const VALUES: &[(&str, Option<&str>)] = &[
    ("Patient/p1", Some("p1")),
    ("Patient/P-2.x", Some("P-2.x")),
    ("Patient/p3/_history/7", Some("p3")),
    ("Patient/p4#part", Some("p4")),
    ("http://upstream.internal/fhir/Patient/p5", Some("p5")),
    ("HTTP://Upstream.internal:80/fhir/Patient/p6/_history/1", Some("p6")),
    ("https://gw.test/fhir/Patient/p7", Some("p7")),
    ("https://gw.test:443/fhir/Patient/p8|1", Some("p8")),
    (
        "Patient/1234567890123456789012345678901234567890123456789012345678901234",
        Some("1234567890123456789012345678901234567890123456789012345678901234"),
    ),
    ("Patient/98765432109876543210987654321098765432109876543210987654321098765", None),
    ("http://elsewhere.test/fhir/Patient/f1", None),
    ("http://upstream.internal/other/Patient/f2", None),
    ("http://upstream.internal/fhirx/Patient/f3", None),
    ("http://upstream.internal/fhir/Group/Patient/f4", None),
    ("Patient/", None),
    ("Patient", None),
    ("patient/f5", None),
    ("Patient?identifier=f6", None),
    ("Patient/f 7", None),
    ("Patient/f_8", None),
    ("Patient/fü9", None),
    ("Practitioner/f10", None),
    ("xPatient/f11", None),
    ("#f12", None),
    ("urn:uuid:f13", None),
    ("", None),
];

#[test]
fn references_name_patients_of_this_server() {
    for (value, names) in VALUES {
        let names: Vec<String> = names.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(told(&format!(r#"{{"reference":"{value}"}}"#), Format::Json), names, "{value}");
        assert_eq!(told(&format!("<a><reference value='{value}'/></a>"), Format::Xml), names, "{value}");
    }
}

#[test]
fn documents_name_patients() {
    let table: &[(Format, &str, &[&str])] = &[
        (Format::Json, r#"{"resourceType":"Patient","id":"a"}"#, &["a"]),
        (Format::Json, r#"{"id":"a","name":[{"id":"n"}],"resourceType":"Patient"}"#, &["a"]),
        (Format::Json, r#"{"resourceType":"Patient","name":[{"id":"n"}],"id":"a"}"#, &["a"]),
        (Format::Json, r#"{"resourceType":"Patients","id":"a"}"#, &[]),
        (Format::Json, r#"{"resourceType":"Group","id":"a"}"#, &[]),
        (Format::Json, r#"{"resourceType":"Patient"}"#, &[]),
        (Format::Json, r#"{"resourceType":"Patient","id":7}"#, &[]),
        (Format::Json, r#"{"resourceType":"Patient","id":["a"]}"#, &[]),
        (Format::Json, r#"{"resourceType":"Patient","id":"a_b"}"#, &[]),
        (Format::Json, r#"{"resourceType":"Group","x":{"id":"a"},"y":{"resourceType":"Patient"}}"#, &[]),
        (Format::Json, r#"{"resource\u0054ype":"P\u0061tient","\u0069d":"\u0061"}"#, &["a"]),
        (Format::Json, r#"{"contained":[{"resourceType":"Patient","id":"c"}],"id":"x"}"#, &["c"]),
        (Format::Json, r#"{"s":{"reference":"Patient\/a"},"t":{"reference":"Patient\u002fb"}}"#, &["a", "b"]),
        (
            Format::Json,
            r#"[{"reference":"Patient/b"},{"reference":"Patient/a"},{"reference":"Patient/b"}]"#,
            &["b", "a"],
        ),
        (Format::Json, r#"{"reference":{"reference":"Patient/a"},"x":"Patient/b"}"#, &["a"]),
        (Format::Json, r#"{"reference":["Patient/a"],"x":["reference","Patient/b"]}"#, &[]),
        (Format::Json, r#"{"reference":7,"x":"Patient/b"}"#, &[]),
        (Format::Json, r#"[{"reference":7},"Patient/b"]"#, &[]),
        (Format::Json, r#"{"div":"\"reference\":\"Patient/a\"","display":"Patient/b"}"#, &[]),
        (Format::Json, r#"{"fullUrl":"http://upstream.internal/fhir/Patient/a"}"#, &["a"]),
        (Format::Json, r#"{"url":"Patient/a"}"#, &[]),
        (Format::Xml, "<Patient xmlns='http://hl7.org/fhir'><id value='a'/></Patient>", &["a"]),
        (
            Format::Xml,
            "<Patient><name><id value='n'/></name><id id='x' value = \"a\"></id></Patient>",
            &["a"],
        ),
        (
            Format::Xml,
            "<Group><id value='g'/><Patient><id value='a'/></Patient><id value='h'/></Group>",
            &["a"],
        ),
        (
            Format::Xml,
            "<f:Patient><f:id value='a'/><f:x><f:reference value='Patient/b'/></f:x></f:Patient>",
            &["a", "b"],
        ),
        (Format::Xml, "<a><contained><Patient><id value='c'/></Patient></contained></a>", &["c"]),
        (Format::Xml, "<a><reference value='Pati&#101;nt&#x2f;a'/></a>", &["a"]),
        (
            Format::Xml,
            "<a><div><reference value='Patient/a'/><Patient><id value='b'/></Patient></div></a>",
            &[],
        ),
        (Format::Xml, "<a><!-- <reference value='Patient/a'/> --><display value='Patient/b'/></a>", &[]),
        (Format::Xml, "<a><reference id='Patient/a'/><Patient/><id value='b'/></a>", &[]),
        (Format::Xml, "<a><fullUrl value='https://gw.test/fhir/Patient/a'/></a>", &["a"]),
    ];
    let wrong: Vec<_> = table
        .iter()
        .map(|(format, text, names)| (text, told(text, *format), names))
        .filter(|(_, got, names)| got != *names)
        .collect();
    assert!(wrong.is_empty(), "misread: {wrong:#?}");
}

/// AUD-7: each entry of a batch is about the patients in its own answer.
#[test]
fn entries_name_their_own() {
    let json = r#"{"resourceType":"Bundle","id":"b","link":[{"x":{"reference":"Patient/z"}}],"entry":[
        {"resource":{"resourceType":"Patient","id":"a","entry":[{"y":1},{"reference":"Patient/b"}]}},
        {"response":{"status":"204"}},
        {"resource":{"subject":{"reference":"Patient/a"},"performer":[{"reference":"Patient/a"}]}}
        ],"issues":{"x":{"reference":"Patient/y"}}}"#;
    let xml = "<Bundle><link><x><reference value='Patient/z'/></x></link>
        <entry><resource><Patient><id value='a'/><entry><reference value='Patient/b'/></entry></Patient></resource></entry>
        <entry><response><status value='204'/></response></entry>
        <entry><resource><O><subject><reference value='Patient/a'/></subject></O></resource></entry>
        <issues><reference value='Patient/y'/></issues></Bundle>";
    let expected = [("z", None), ("a", Some(0)), ("b", Some(0)), ("a", Some(2)), ("y", None)];
    for (format, text) in [(Format::Json, json), (Format::Xml, xml)] {
        let told = patients(text.as_bytes(), format, &mapping(), Grouping::Entry);
        let told: Vec<_> = told.iter().map(|mention| (mention.id.as_str(), mention.entry)).collect();
        assert_eq!(told, expected);
    }
}

/// OPS-7: a file of an export is one resource a line, and passes as it is.
#[test]
fn lines_name_patients() {
    let text = "{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":\"http://upstream.internal/fhir\"}\n{\"subject\":{\"reference\":\"Patient/b\"}}\n\n";
    for text in [text, "", "\n"] {
        let cuts = (0..text.len()).collect();
        let (out, known) =
            streamed(Rewriter::of_lines(Arc::new(mapping())), text.as_bytes(), cuts, &BTreeSet::new())
                .unwrap();
        assert_eq!(out, text.as_bytes());
        assert_eq!(known.join(" "), if text.len() > 1 { "a b" } else { "" });
    }
    let cut = streamed(Rewriter::of_lines(Arc::new(mapping())), b"{}\n{\"a\"", vec![], &BTreeSet::new());
    assert_eq!(cut.err(), Some(Broken::Truncated));
}

/// Memory is bounded: whoever was forgotten is told again, nobody is left out.
#[test]
fn many_patients() {
    let mut patients = Patients::default();
    for round in 0..2 {
        for number in 0..=REMEMBERED {
            patients.note(Id::read(number.to_string().as_bytes()).unwrap(), None);
        }
        assert_eq!(patients.take().len(), REMEMBERED + 1, "round {round}");
        assert!(patients.seen.len() <= REMEMBERED);
    }
    let long = format!("{{\"reference\":\"Patient/{}\"}}", "1".repeat(100_000));
    let mut rewriter = Rewriter::new(Format::Json, Arc::new(mapping()), is_uri);
    rewriter.push(Bytes::from(long), &mut drop).unwrap();
    let mut rewriter = Rewriter::new(Format::Json, Arc::new(mapping()), is_uri);
    rewriter.push(Bytes::from_static(b"{\"reference\":\"Patient/a#"), &mut drop).unwrap();
    assert!(rewriter.held() > 0 && rewriter.patients().is_empty());
    for _ in 0..100 {
        rewriter.push(Bytes::from(vec![b'1'; 100]), &mut drop).unwrap();
    }
    assert_eq!((rewriter.held(), rewriter.patients().take().len()), (0, 1));
}

/// An id of two values would be another one to another reader.
#[test]
fn doubled_ids_are_noticed() {
    let read = |text: &'static str| {
        let mut rewriter = Rewriter::new(Format::Json, Arc::new(mapping()), is_uri);
        rewriter.push(Bytes::from_static(text.as_bytes()), &mut drop)
    };
    assert_eq!(read(r#"{"id":"a","id":"b","resourceType":"Patient"}"#), Err(Broken::Malformed));
    assert_eq!(read(r#"{"id":"a","x":{"id":"b"},"y":[{"id":"c"},{"id":"d"}]}"#), Ok(()));
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Number,
    Object(Vec<(&'static str, Node)>),
    Array(Vec<Node>),
}

fn node() -> impl Strategy<Value = Node> {
    const NAMES: [&str; 9] =
        ["reference", "id", "resourceType", "entry", "fullUrl", "display", "div", "contained", "Patient"];
    let text = prop_oneof![
        4 => prop::sample::select(VALUES).prop_map(|(value, _)| value.to_owned()),
        2 => prop::sample::select(vec!["Patient", "Group", "x1", "x2", "x3", "reference", "h\\\"/é&<"]).prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![8 => text.prop_map(Node::Text), 1 => Just(Node::Number)];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let members = prop::collection::vec((prop::sample::select(NAMES.to_vec()), inner.clone()), 0..6);
        let object = members.prop_map(|mut members| {
            let mut names = BTreeSet::new();
            members.retain(|(name, _)| names.insert(*name));
            Node::Object(members)
        });
        prop_oneof![3 => object, 1 => prop::collection::vec(inner, 0..4).prop_map(Node::Array)]
    })
}

fn in_json(node: &Node, spelling: u8, out: &mut String) {
    let spelt = |text: &str| {
        let mut escaped = Vec::new();
        escape_json_into(text, &mut escaped);
        let plain = String::from_utf8(escaped).unwrap();
        match spelling {
            0 => plain,
            1 => plain.replace('/', "\\/"),
            _ => plain.replace('P', "\\u0050").replace("id", "i\\u0064").replace('1', "\\u0031"),
        }
    };
    match node {
        Node::Number => out.push_str(" 7"),
        Node::Text(text) => *out += &format!("\"{}\"", spelt(text)),
        Node::Object(members) => {
            out.push('{');
            for (at, (name, node)) in members.iter().enumerate() {
                *out += &format!("{} \"{}\" :", if at == 0 { "" } else { "," }, spelt(name));
                in_json(node, spelling, out);
            }
            out.push('}');
        }
        Node::Array(nodes) => {
            out.push('[');
            for (at, node) in nodes.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                in_json(node, spelling, out);
            }
            out.push(']');
        }
    }
}

fn names(value: &str) -> Option<&str> {
    VALUES.iter().find(|(written, _)| *written == value).and_then(|(_, names)| *names)
}

/// What a reader of the whole document finds.
fn walk_json(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if members.get("resourceType").is_some_and(|name| name == "Patient")
                && let Some(id) =
                    members.get("id").and_then(Value::as_str).filter(|id| crate::fhir::is_id(id))
            {
                into.insert(id.to_owned());
            }
            for (name, member) in members {
                let reference = member.as_str().filter(|_| matches!(name.as_str(), "reference" | "fullUrl"));
                into.extend(reference.and_then(names).map(str::to_owned));
                walk_json(member, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk_json(item, into)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

fn in_xml(name: &str, node: &Node, spelling: u8, out: &mut String) {
    let spelt = |text: &str| {
        let mut escaped = Vec::new();
        escape_xml_into(text, &mut escaped);
        let plain = String::from_utf8(escaped).unwrap();
        if spelling == 0 { plain } else { plain.replace('P', "&#80;").replace('1', "&#x0031;") }
    };
    match node {
        Node::Number => *out += &format!("<{name}/>"),
        Node::Text(text) => *out += &format!("<{name} id='q' value=\"{}\"/>", spelt(text)),
        Node::Object(members) => {
            *out += &format!("<{name}>");
            members.iter().for_each(|(name, node)| in_xml(name, node, spelling, out));
            *out += &format!("</{name}>");
        }
        Node::Array(nodes) => nodes.iter().for_each(|node| in_xml(name, node, spelling, out)),
    }
}

fn walk_xml(text: &str) -> BTreeSet<String> {
    use quick_xml::events::{BytesStart, Event};
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut open, mut found) = (Vec::<String>::new(), BTreeSet::new());
    let mut look = |tag: &BytesStart<'_>, open: &[String]| {
        let name = tag.name().as_ref().to_owned();
        let value = tag
            .try_get_attribute("value")
            .unwrap()
            .map(|value| value.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned());
        if let Some(value) = value.filter(|_| !open.iter().any(|name| name == "div") && name != "div") {
            let reference = matches!(name.as_str(), "reference" | "fullUrl");
            found.extend(reference.then(|| names(&value)).flatten().map(str::to_owned));
            let own = name == "id" && open.last().is_some_and(|over| over == "Patient");
            found.extend(Some(value).filter(|value| own && crate::fhir::is_id(value)));
        }
        name
    };
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                let name = look(&tag, &open);
                open.push(name);
            }
            Event::Empty(tag) => drop(look(&tag, &open)),
            Event::End(_) => drop(open.pop()),
            Event::Eof => return found,
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::DocType(_)
            | Event::GeneralRef(_)
            | Event::PI(_)
            | Event::Text(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_readers_of_whole_documents(
        node in node(), spelling in 0u8..3, cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (mut json, mut xml) = (String::from("{\"root\":"), String::from("<root>"));
        in_json(&node, spelling, &mut json);
        json.push('}');
        in_xml("top", &node, spelling, &mut xml);
        xml.push_str("</root>");
        let mut in_tree = BTreeSet::new();
        walk_json(&serde_json::from_str(&json).unwrap(), &mut in_tree);
        for (format, text, expected) in [(Format::Json, &json, in_tree), (Format::Xml, &xml, walk_xml(&xml))] {
            let whole = told(text, format);
            prop_assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), expected.clone(), "{}", text);
            prop_assert_eq!(whole.len(), expected.len(), "twice in {}", text);
            for cuts in [cuts.clone(), (0..text.len()).collect()] {
                let rewriter = Rewriter::new(format, Arc::new(mapping()), is_uri);
                let (_, known) = streamed(rewriter, text.as_bytes(), cuts, &BTreeSet::new()).unwrap();
                prop_assert_eq!(&known, &whole, "{}", text);
            }
        }
    }

    #[test]
    fn nobody_passes_unnoticed(
        values in prop::collection::vec(prop::sample::select(VALUES), 0..6), cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let ids: BTreeSet<String> = values.iter().filter_map(|(_, names)| names.map(str::to_owned)).collect();
        let json: Vec<_> = values.iter().map(|(value, _)| format!("{{\"reference\":\"{value}\"}}")).collect();
        let xml: Vec<_> = values.iter().map(|(value, _)| format!("<reference value='{value}'/>")).collect();
        let texts = [(Format::Json, format!("[{}]", json.join(","))), (Format::Xml, format!("<a>{}</a>", xml.concat()))];
        for (format, text) in texts {
            for cuts in [cuts.clone(), (0..text.len()).collect()] {
                let rewriter = Rewriter::new(format, Arc::new(mapping()), is_uri);
                let (_, known) = streamed(rewriter, text.as_bytes(), cuts, &ids).unwrap();
                prop_assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), ids.clone());
            }
        }
    }
}
