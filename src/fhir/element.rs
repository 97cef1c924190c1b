//! One resource as a tree of named elements, the same from JSON and from XML.
//!
//! Rules on content (compartments, search parameters) are written against this
//! view once. It shows what FHIR means, not how it is written: an array is
//! elements of one name; JSON's `_birthDate` gives its content to `birthDate`;
//! XML's attributes `id` and `url` are children like any other; a resource held
//! by an element (`contained`, `resource`) is that element. Choice types appear
//! under their full name, `valueQuantity`. Follows FHIR R4 §2.1.4.
//!
//! The tree is one vector; names and values are borrowed where they hold no
//! escapes. Cardinalities are not known here: an element that FHIR allows once
//! may be there twice, and who asks for one must look at all.

mod json;
mod lazy;
mod xml;

use std::borrow::Cow;

use crate::fhir::json::{DEPTH, JsonError};
use crate::fhir::outline::{Format, Resource};
use crate::fhir::xml::XmlError;

/// Why a resource cannot be viewed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    /// Not the JSON we accept.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not the XML we accept.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Well-formed, but not what FHIR puts there.
    #[error("byte {offset}: expected {expected}")]
    Shape {
        /// Where the wrong thing begins.
        offset: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// More elements than can be counted.
    #[error("expected fewer elements")]
    TooMany,
}

/// A resource and all its elements. Borrows from the source.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    nodes: Vec<Node<'a>>,
    /// Where the members of the root are not read before they are asked for.
    later: Option<lazy::Members<'a>>,
}

#[derive(Debug, Clone, Default)]
struct Node<'a> {
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    /// The type, when a resource stands here.
    resource: Option<Cow<'a, str>>,
    /// The first child; 0 for none, since the root is nobody's child.
    first: u32,
    /// The next child of the same parent; 0 for none.
    next: u32,
}

impl<'a> Document<'a> {
    /// Reads a resource that is the whole of `bytes`, or a range of an outline.
    /// In XML a range is taken to be in FHIR's namespace, as its bundle is.
    pub fn read(bytes: &'a [u8], format: Format) -> Result<Self, ElementError> {
        match format {
            Format::Json => json::read(bytes, DEPTH),
            Format::Xml => xml::read(bytes, DEPTH),
        }
    }

    /// Views a resource of an outline of `bytes`. It shows what [`read`](Self::read) of the resource's range shows and
    /// fails where that fails; members of a JSON resource are read when they are asked for.
    pub fn of(resource: &'a Resource<'a>, bytes: &'a [u8], format: Format) -> Result<Self, ElementError> {
        let Some(members) = &resource.members else {
            return Self::read(bytes.get(resource.range.clone()).unwrap_or_default(), format);
        };
        let name = Cow::Borrowed(&*resource.resource_type);
        let root = Node { resource: Some(name.clone()), name, ..Node::default() };
        Ok(Self { nodes: vec![root], later: Some(lazy::Members::new(members)) })
    }

    /// The resource itself.
    pub fn root(&self) -> Element<'_> {
        let later = self.later.as_ref().map(|members| members as &dyn lazy::Later);
        Element { nodes: &self.nodes, at: 0, later }
    }
}

/// An element of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Element<'d> {
    nodes: &'d [Node<'d>],
    at: u32,
    /// For a root whose members are read when they are asked for, and which has no other children.
    later: Option<&'d dyn lazy::Later>,
}

impl<'d> Element<'d> {
    fn node(self) -> Option<&'d Node<'d>> {
        self.nodes.get(usize::try_from(self.at).ok()?)
    }

    /// Its name; the resource type for the root.
    pub fn name(self) -> &'d str {
        self.node().map_or("", |node| &node.name)
    }

    /// The value of a primitive, as text: a decimal as written, a boolean as
    /// `true` or `false`, the narrative's `div` as XHTML. `None` for what only has
    /// children, or only extensions.
    pub fn value(self) -> Option<&'d str> {
        self.node()?.value.as_deref()
    }

    /// The type of the resource that stands here, if one does.
    pub fn resource_type(self) -> Option<&'d str> {
        self.node()?.resource.as_deref()
    }

    /// All children, those of one name in their order.
    pub fn all(self) -> impl Iterator<Item = Element<'d>> {
        self.named(|_| true)
    }

    /// The children whose names begin so, those of one name in their order: a choice element of any type.
    pub fn starting<'n>(self, start: &'n str) -> impl Iterator<Item = Element<'d>> + use<'d, 'n> {
        self.named(move |name| name.starts_with(start))
    }

    fn named<W: Fn(&str) -> bool + Copy>(self, wanted: W) -> impl Iterator<Item = Element<'d>> + use<'d, W> {
        let read = self.read().filter(move |child| wanted(child.name()));
        read.chain(self.later.into_iter().flat_map(move |later| lazy::select(later, wanted)))
    }

    /// The children that are read already.
    fn read(self) -> impl Iterator<Item = Element<'d>> {
        let follow = move |at: u32| (at != 0).then_some(Element { nodes: self.nodes, at, later: None });
        let first = self.node().and_then(|node| follow(node.first));
        std::iter::successors(first, move |child| follow(child.node()?.next))
    }

    /// The children of this name, in order.
    pub fn children<'n>(self, name: &'n str) -> impl Iterator<Item = Element<'d>> + use<'d, 'n> {
        self.named(move |found| found == name)
    }

    /// The child of this name, if there is exactly one.
    pub fn only(self, name: &str) -> Option<Element<'d>> {
        let mut children = self.children(name);
        children.next().filter(|_| children.next().is_none())
    }

    /// The value of the one child of this name.
    pub fn text(self, name: &str) -> Option<&'d str> {
        self.only(name)?.value()
    }

    /// The element's or resource's `id`.
    pub fn id(self) -> Option<&'d str> {
        self.text("id")
    }

    /// An extension's `url`.
    pub fn url(self) -> Option<&'d str> {
        self.text("url")
    }
}

/// Puts a tree together.
#[derive(Debug, Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, name: Cow<'a, str>) -> Result<u32, ElementError> {
        let at = u32::try_from(self.nodes.len()).map_err(|_| ElementError::TooMany)?;
        self.nodes.push(Node { name, ..Node::default() });
        Ok(at)
    }

    fn node(&mut self, at: u32) -> Option<&mut Node<'a>> {
        self.nodes.get_mut(usize::try_from(at).ok()?)
    }

    /// Makes `children` the children of `parent`, behind those it has.
    fn adopt(&mut self, parent: u32, children: &[u32]) {
        let mut last = 0;
        let mut at = self.node(parent).map_or(0, |node| node.first);
        while at != 0 {
            last = at;
            at = self.node(at).map_or(0, |node| node.next);
        }
        for child in children {
            let before = if last == 0 {
                self.node(parent).map(|it| &mut it.first)
            } else {
                self.node(last).map(|it| &mut it.next)
            };
            if let Some(place) = before {
                *place = *child;
            }
            last = *child;
        }
    }

    fn children(&self, parent: u32) -> Vec<u32> {
        let document = Element { nodes: &self.nodes, at: parent, later: None };
        document.all().map(|child| child.at).collect()
    }

    fn done(self) -> Document<'a> {
        Document { nodes: self.nodes, later: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use super::*;
    use crate::fhir::outline::{Limits, Outline};

    /// The tree as text, children of different names sorted.
    fn shown(element: Element<'_>) -> String {
        let mut children: Vec<_> = element.all().map(|child| (child.name(), shown(child))).collect();
        children.sort_by(|left, right| left.0.cmp(right.0));
        let children: Vec<_> = children.into_iter().map(|(_, child)| child).collect();
        let resource = element.resource_type().map_or(String::new(), |it| format!(":{it}"));
        let value = element.value().map_or(String::new(), |it| format!("={it}"));
        format!("{}{resource}{value}({})", element.name(), children.join(" "))
    }

    fn view(text: &str, format: Format) -> Result<String, ElementError> {
        Ok(shown(Document::read(text.as_bytes(), format)?.root()))
    }

    #[test]
    fn both_formats_give_the_same_view() {
        let table = [
            (
                r#"{"resourceType":"Patient","id":"p1","active":true,"name":[{"given":["A","B"]},{"family":"C\u00e9"}]}"#,
                r#"<Patient xmlns="http://hl7.org/fhir"><id value="p1"/><active value="true"/><name><given value="A"/><given value="B"/></name><name><family value="C&#233;"/></name></Patient>"#,
            ),
            (
                r#"{"birthDate":"2000","_birthDate":{"id":"b","extension":[{"url":"u","valueDateTime":"t"}]},"resourceType":"Patient"}"#,
                r#"<Patient xmlns="http://hl7.org/fhir"><birthDate id="b" value="2000"><extension url="u"><valueDateTime value="t"/></extension></birthDate></Patient>"#,
            ),
            (
                r#"{"resourceType":"Patient","name":[{"_given":[null,{"id":"g"}],"given":["A",null]}],"_gender":{"extension":[{"url":"x"}]}}"#,
                r#"<Patient xmlns="http://hl7.org/fhir"><name><given value="A"/><given id="g"/></name><gender><extension url="x"/></gender></Patient>"#,
            ),
            (
                r##"{"resourceType":"Observation","contained":[{"resourceType":"Device","id":"d"}],"valueQuantity":{"value":1.50},"device":{"reference":"#d"}}"##,
                r##"<Observation xmlns="http://hl7.org/fhir"><contained><Device><id value="d"/></Device></contained><device><reference value="#d"/></device><valueQuantity><value value="1.50"/></valueQuantity></Observation>"##,
            ),
            (
                r#"{"resourceType":"Basic","text":{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a &amp; <b>b</b></div>"}}"#,
                r#"<Basic xmlns="http://hl7.org/fhir"><text><status value="empty"/><div xmlns="http://www.w3.org/1999/xhtml">a &amp; <b>b</b></div></text></Basic>"#,
            ),
            (
                r#"{"resourceType":"ExampleScenario","instance":[{"resourceType":"Patient"}]}"#,
                r#"<ExampleScenario xmlns="http://hl7.org/fhir"><instance><resourceType value="Patient"/></instance></ExampleScenario>"#,
            ),
            (
                r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"1"},"response":{"outcome":{"resourceType":"OperationOutcome"}}}]}"#,
                r#"<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Patient><id value="1"/></Patient></resource><response><outcome><OperationOutcome/></outcome></response></entry></Bundle>"#,
            ),
        ];
        for (json, xml) in table {
            assert_eq!(view(json, Format::Json).unwrap(), view(xml, Format::Xml).unwrap());
        }
        let seen = view(table[1].0, Format::Json).unwrap();
        assert_eq!(seen, "Patient:Patient(birthDate=2000(extension(url=u() valueDateTime=t()) id=b()))");
    }

    #[test]
    fn one_is_only_given_when_there_is_one() {
        let text = r#"<Observation><id value="o"/><subject><reference value="a"/></subject><subject/></Observation>"#;
        let document = Document::read(text.as_bytes(), Format::Xml).unwrap();
        let root = document.root();
        assert_eq!(
            (root.name(), root.resource_type(), root.id()),
            ("Observation", Some("Observation"), Some("o"))
        );
        assert!(root.only("subject").is_none() && root.only("code").is_none());
        assert_eq!(root.children("subject").count(), 2);
        assert_eq!(root.children("subject").next().and_then(|it| it.text("reference")), Some("a"));
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        let table = [
            (Format::Json, "[]"),
            (Format::Json, "{}"),
            (Format::Json, r#"{"resourceType":null}"#),
            (Format::Json, r#"{"resourceType":"A","a":[[1]]}"#),
            (Format::Json, r#"{"resourceType":"A","a":1,"A":1}"#),
            (Format::Xml, "<patient/>"),
            (Format::Xml, "<A><b><C/><D/></b></A>"),
            (Format::Xml, "<A><b><c/><D/></b></A>"),
            (Format::Xml, "<A><B><C/></B></A>"),
            (Format::Xml, "<A xmlns='urn:x'/>"),
            (Format::Xml, "<A/><A/>"),
        ];
        let accepted: Vec<_> =
            table.into_iter().filter(|(format, text)| view(text, *format).is_ok()).collect();
        assert!(accepted.is_empty(), "accepted: {accepted:?}");
    }

    /// Whether a resource shows the same read at once and read when asked, and what is refused is refused in both ways.
    fn shows_the_same(text: &str) -> Result<(), TestCaseError> {
        let outline = Outline::read(text.as_bytes(), Format::Json, Limits::default());
        let Ok(outline) = outline else { return Ok(()) };
        let whole = Document::read(text.as_bytes(), Format::Json);
        let asked = Document::of(&outline.root, text.as_bytes(), Format::Json);
        let (whole, asked) = match (whole, asked) {
            (Ok(whole), Ok(asked)) => (whole, asked),
            (whole, asked) => {
                prop_assert_eq!(whole.err(), asked.err(), "{}", text);
                return Ok(());
            }
        };
        let inner = |element: Element<'_>| element.all().map(shown).collect::<Vec<_>>();
        let names: Vec<_> = whole.root().all().map(Element::name).chain(["", "x"]).collect();
        for name in names {
            let of = |document: &Document<'_>| document.root().children(name).map(shown).collect::<Vec<_>>();
            prop_assert_eq!(of(&whole), of(&asked), "{} of {}", name, text);
            let start = name.get(..1).unwrap_or_default();
            let of = |document: &Document<'_>| document.root().starting(start).map(shown).collect::<Vec<_>>();
            prop_assert_eq!(of(&whole), of(&asked), "{} of {}", start, text);
            prop_assert_eq!(whole.root().text(name), asked.root().text(name));
        }
        prop_assert_eq!(inner(whole.root()), inner(asked.root()), "{}", text);
        prop_assert_eq!(shown(whole.root()), shown(asked.root()));
        Ok(())
    }

    #[test]
    fn what_is_read_when_asked_is_the_same() {
        let table = [
            r#"{"resourceType":"A"}"#,
            r#"{ "a" : [ {"b":[1,null,"x"],"_b":[null,{"id":"i"},null,{"id":"j"}]} ] , "resourceType" : "A" , "id" : "1" }"#,
            r#"{"_a":[null,{"id":"s"},{"id":"t"}],"resourceType":"A","a":["1"],"ab":2,"_ab":{"id":"u"},"__a":{"id":"v"},"_":{"id":"w"},"":1}"#,
            r#"{"resourceType":"A","a":[[1]]}"#,
            r#"{"resourceType":"A","a":{"b":[{"c":[[]]}]}}"#,
            r#"{"resourceType":"A","contained":[{"resourceType":5}]}"#,
            r#"{"resourceType":"A","x":{"contained":{"resourceType":null}}}"#,
            r#"{"resourceType":"A","x":{"resource":{"resource\u0054ype":["B"]}}}"#,
            r#"{"resourceType":"A","x":{"y":{"resourceType":["B"]}}}"#,
            r#"{"resourceType":"A","contained":[{"resourceType":"B","id":"\ud83d\ude00\u0000"}]}"#,
            r#"{"resource\u0054ype":"A","su\u0062ject":{"reference":"Patient/1"}}"#,
            r#"{"resourceType":"A","subject":{"reference":"a"},"Subject":{"reference":"b"}}"#,
        ];
        for text in table {
            shows_the_same(text).unwrap();
        }
    }

    /// Resources with much that is hostile: shadows, arrays in arrays, escaped keys, types that are none.
    fn resource() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "a",
            "_a",
            "__a",
            "b",
            "_b",
            "ab",
            "_",
            "",
            "id",
            "contained",
            "resource",
            "resourceType",
            "\\u0061",
            "_\\u0061",
            "resource\\u0054ype",
            "value",
            "_value",
            "valueCode",
        ]);
        let leaf =
            prop::sample::select(vec!["null", "1.50", "\"x\"", "\"\\u0041\"", "true", "[]", "{}", " \"A\" "]);
        let value = leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, move |inner| {
            let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\" :{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
                prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(", "))),
            ]
        });
        let key = prop::sample::select(vec![
            "a",
            "_a",
            "__a",
            "b",
            "_b",
            "ab",
            "_ab",
            "",
            "id",
            "contained",
            "\\u0062",
        ]);
        let members = prop::collection::vec((key, value), 0..7);
        (members, any::<prop::sample::Index>()).prop_map(|(members, at)| {
            let mut all: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            all.insert(at.index(all.len() + 1), "\"resourceType\": \"A\"".to_owned());
            format!("{{{}}}", all.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn read_when_asked_or_at_once_is_the_same(text in resource()) {
            shows_the_same(&text)?;
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "[{}\\[\\]\"a_:,1<>/A= ]{0,40}") {
            for format in [Format::Json, Format::Xml] {
                let _ = view(&text, format);
                let _ = view(&format!("{{\"resourceType\":\"A\",{text}"), format);
                let _ = view(&format!("<A>{text}"), format);
            }
        }
    }
}
