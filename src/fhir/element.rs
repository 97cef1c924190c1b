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
mod xml;

use std::borrow::Cow;

use crate::fhir::json::{DEPTH, JsonError};
use crate::fhir::outline::Format;
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

    /// The resource itself.
    pub fn root(&self) -> Element<'_> {
        Element { nodes: &self.nodes, at: 0 }
    }
}

/// An element of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Element<'d> {
    nodes: &'d [Node<'d>],
    at: u32,
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
        let follow = move |at: u32| (at != 0).then_some(Element { nodes: self.nodes, at });
        let first = self.node().and_then(|node| follow(node.first));
        std::iter::successors(first, move |child| follow(child.node()?.next))
    }

    /// The children of this name, in order.
    pub fn children<'n>(self, name: &'n str) -> impl Iterator<Item = Element<'d>> + use<'d, 'n> {
        self.all().filter(move |child| child.name() == name)
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
        let document = Element { nodes: &self.nodes, at: parent };
        document.all().map(|child| child.at).collect()
    }

    fn done(self) -> Document<'a> {
        Document { nodes: self.nodes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
