//! A small XML tree: enough to change a CapabilityStatement and print the rest as it was.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::Writer;
use quick_xml::XmlVersion;
use quick_xml::events::attributes::{Attr, Attribute};
use quick_xml::events::{BytesEnd, BytesStart, Event};

use crate::fhir::xml;

/// Deepest nesting read: FHIR's own documents stay far below.
const DEPTH: usize = 64;

/// A node: an element, or anything else as it stood.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// An element.
    Element(Element),
    /// Text, declaration: kept as read.
    Other(Event<'static>),
}

/// An element with its attributes as written.
#[derive(Debug, Clone)]
pub(super) struct Element {
    start: BytesStart<'static>,
    pub(super) children: Vec<Node>,
}

impl Element {
    /// An element with attributes, whose values are escaped.
    pub(super) fn new(name: &'static str, attributes: &[(&str, &str)], children: Vec<Self>) -> Self {
        let mut start = BytesStart::new(name);
        for (key, value) in attributes {
            start.push_attribute((*key, *value));
        }
        Self { start, children: children.into_iter().map(Node::Element).collect() }
    }

    /// The name without prefix.
    pub(super) fn name(&self) -> String {
        self.start.local_name().as_ref().to_owned()
    }

    /// The attribute of a name, unescaped.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let found = self.start.try_get_attribute(name).ok().flatten()?;
        found.normalized_value(XmlVersion::Implicit1_0).ok().map(Cow::into_owned)
    }

    /// Child elements of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.elements().filter(move |child| child.name() == name)
    }

    /// The `value` of the first child of a name: how FHIR writes primitives.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.all(name).next()?.attribute("value")
    }

    fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Other(_) => None,
        })
    }

    /// Child elements of a name, to be changed.
    pub(super) fn all_mut(&mut self, name: &str) -> impl Iterator<Item = &mut Self> {
        self.children.iter_mut().filter_map(move |node| match node {
            Node::Element(element) if element.name() == name => Some(element),
            Node::Element(_) | Node::Other(_) => None,
        })
    }

    /// Keeps the child elements that `keep` likes; text between them stays.
    pub(super) fn retain(&mut self, keep: impl Fn(&Self) -> bool) {
        self.children.retain(|node| match node {
            Node::Element(element) => keep(element),
            Node::Other(_) => true,
        });
    }

    /// Puts an element before the first child of one of `followers`, or at the end: FHIR's XML has an order.
    pub(super) fn put_before(&mut self, element: Self, followers: &[&str]) {
        let at = self.children.iter().position(|node| match node {
            Node::Element(child) => followers.contains(&child.name().as_str()),
            Node::Other(_) => false,
        });
        self.children.insert(at.unwrap_or(self.children.len()), Node::Element(element));
    }

    /// Does something to every child element.
    pub(super) fn each_mut(&mut self, mut change: impl FnMut(&mut Self)) {
        for node in &mut self.children {
            if let Node::Element(element) = node {
                change(element);
            }
        }
    }

    /// Rewrites attribute values, here and below. What does not change stays as it was written.
    pub(super) fn rewrite(&mut self, change: &impl Fn(&str) -> Option<String>) {
        let mut attributes = Vec::new();
        let mut changes = false;
        for attribute in self.start.attributes().flatten() {
            let written = attribute.value.clone().into_owned();
            let new =
                attribute.normalized_value(XmlVersion::Implicit1_0).ok().and_then(|value| change(&value));
            changes |= new.is_some();
            attributes.push((attribute.key.as_ref().to_owned(), new.map_or(written, |new| escaped(&new))));
        }
        if changes {
            self.start.clear_attributes();
            for (key, value) in &attributes {
                self.start.push_attribute(Attribute::from(Attr::DoubleQ(key.as_str(), value.as_str())));
            }
        }
        for node in &mut self.children {
            if let Node::Element(child) = node {
                child.rewrite(change);
            }
        }
    }
}

/// As the inside of a value between double quotes; tabs and line breaks survive.
fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    xml::escape_into(text, &mut out);
    // INVARIANT: escaping text gives text.
    String::from_utf8(out).unwrap_or_default()
}

/// Reads a document into what stands before the root, and the root. Nothing for what is not well-formed, has a
/// document type (entities could hide anything) or nests too deep.
pub(super) fn read(xml: &str) -> Option<(Vec<Node>, Element)> {
    let mut reader = Reader::from_str(xml);
    let (mut before, mut open): (Vec<Node>, Vec<Element>) = (Vec::new(), Vec::new());
    loop {
        let done = match reader.read_event().ok()? {
            Event::Start(start) if open.len() < DEPTH => {
                open.push(Element { start: start.into_owned(), children: Vec::new() });
                continue;
            }
            Event::Empty(start) => Element { start: start.into_owned(), children: Vec::new() },
            Event::End(_) => open.pop()?,
            Event::Start(_) | Event::DocType(_) | Event::Eof => return None,
            // A comment is for those who run the backend.
            Event::Comment(_) => continue,
            other @ (Event::Text(_)
            | Event::CData(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_)) => {
                let siblings = open.last_mut().map_or(&mut before, |parent| &mut parent.children);
                siblings.push(Node::Other(other.into_owned()));
                continue;
            }
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(done)),
            None => return Some((before, done)),
        }
    }
}

/// Prints a document.
pub(super) fn write(before: &[Node], root: &Element) -> Option<String> {
    let mut writer = Writer::new(Vec::new());
    for node in before {
        if let Node::Other(event) = node {
            writer.write_event(event.borrow()).ok()?;
        }
    }
    element(&mut writer, root)?;
    String::from_utf8(writer.into_inner()).ok()
}

fn element(writer: &mut Writer<Vec<u8>>, of: &Element) -> Option<()> {
    if of.children.is_empty() {
        return writer.write_event(Event::Empty(of.start.borrow())).ok();
    }
    writer.write_event(Event::Start(of.start.borrow())).ok()?;
    for node in &of.children {
        match node {
            Node::Element(child) => element(writer, child)?,
            Node::Other(event) => writer.write_event(event.borrow()).ok()?,
        }
    }
    let name = of.start.name();
    writer.write_event(Event::End(BytesEnd::new(name.as_ref()))).ok()
}
