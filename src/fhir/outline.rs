//! What must be known of a body to decide on it: which resources it holds, and
//! the byte ranges they stand in.
//!
//! Bundles and Parameters are containers and are opened, to any permitted depth;
//! every other resource is a name, an id and a range. Both wire formats give the
//! same outline, so that a rule on bundles is written once. One pass reads it,
//! text is borrowed, and nothing is re-serialised: what leaves is the source with
//! [`Edits`] applied, so that what was not touched is the same to the byte.
//!
//! Follows FHIR R4 to R5 §3.1.6 (Bundle), §3.1.7 (Parameters), §2.1.4 (JSON and
//! XML). Whether a bundle is a sensible one is not asked here.

mod edits;
mod json;
mod xml;

use std::borrow::Cow;
use std::ops::Range;

use crate::fhir::json::JsonError;
use crate::fhir::xml::XmlError;

pub use edits::{Edits, Step, cut};

/// The wire format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `application/fhir+json`
    Json,
    /// `application/fhir+xml`
    Xml,
}

/// What a body may ask of us before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep objects, arrays or elements may nest.
    pub depth: usize,
    /// Entries of all bundles in the body together.
    pub entries: usize,
    /// How deep containers may hold containers; 1 is a Bundle of Bundles.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: crate::fhir::json::DEPTH, entries: 10_000, nesting: 4 }
    }
}

/// Why a body has no outline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// Not the JSON we accept.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not the XML we accept.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// An element that may stand once stands twice (REST-10).
    #[error("byte {offset}: expected `{name}` only once")]
    Repeated {
        /// Where the second one begins.
        offset: usize,
        /// Which element.
        name: &'static str,
    },
    /// Well-formed, but not what FHIR puts there.
    #[error("byte {offset}: expected {expected}")]
    Shape {
        /// Where the wrong thing begins.
        offset: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// More entries than allowed.
    #[error("expected at most {0} entries")]
    TooManyEntries(usize),
    /// Containers in containers beyond the limit.
    #[error("expected containers nested at most {0} deep")]
    TooNested(usize),
}

/// What a body holds. Borrows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline<'a> {
    /// The format it is written in.
    pub format: Format,
    /// The resource that is the body.
    pub root: Resource<'a>,
}

impl<'a> Outline<'a> {
    /// Reads the outline of a complete body. Anything that two readers could
    /// understand differently is an error.
    pub fn read(bytes: &'a [u8], format: Format, limits: Limits) -> Result<Self, OutlineError> {
        let root = match format {
            Format::Json => json::read(bytes, limits)?,
            Format::Xml => xml::read(bytes, limits)?,
        };
        Ok(Self { format, root })
    }

    /// The bundle that the body is, if it is one.
    pub fn bundle(&self) -> Option<&Bundle<'a>> {
        self.root.bundle()
    }

    /// Every resource in the body, the containers before what they hold:
    /// entries, outcomes, issues and parameters at any depth. Contained resources
    /// are part of theirs.
    pub fn resources(&self) -> Vec<&Resource<'a>> {
        let mut all = Vec::new();
        self.root.collect(&mut all);
        all
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<'a> {
    /// Its type, as written; a name in form, not necessarily a type of FHIR's.
    pub resource_type: Cow<'a, str>,
    /// Its logical id.
    pub id: Option<Text<'a>>,
    /// The bytes of the resource's object or element.
    pub range: Range<usize>,
    /// What goes when the resource is dropped from what holds it: the member
    /// with its name, or the wrapping element. The same as `range` for the root.
    pub member: Range<usize>,
    /// The types of the contained resources, in order.
    pub contained: Vec<Cow<'a, str>>,
    /// JSON, for what is no container and written as FHIR writes: its members without `resourceType`, in order, so
    /// that a view of its elements need not read it again.
    pub members: Option<Vec<Member<'a>>>,
    /// What is inside.
    pub kind: Kind<'a>,
}

impl<'a> Resource<'a> {
    /// The bundle that this is, if it is one.
    pub fn bundle(&self) -> Option<&Bundle<'a>> {
        match &self.kind {
            Kind::Bundle(bundle) => Some(bundle),
            Kind::Parameters(_) | Kind::Other => None,
        }
    }
}

impl<'a> Resource<'a> {
    fn collect<'r>(&'r self, all: &mut Vec<&'r Resource<'a>>) {
        all.push(self);
        match &self.kind {
            Kind::Bundle(bundle) => {
                for entry in &bundle.entries {
                    let outcome = entry.response.as_ref().and_then(|response| response.outcome.as_deref());
                    entry.resource.iter().chain(outcome).for_each(|held| held.collect(all));
                }
                bundle.issues.iter().for_each(|issues| issues.collect(all));
            }
            Kind::Parameters(held) => held.iter().for_each(|held| held.collect(all)),
            Kind::Other => {}
        }
    }
}

/// A member of a resource's object. Only an outline makes one, of bytes that it has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, which is written without escapes.
    pub(super) name: &'a str,
    /// Its value as it stands.
    pub(super) value: &'a str,
}

/// Which containers are opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// A Bundle.
    Bundle(Box<Bundle<'a>>),
    /// A Parameters, with every resource in its parameters and their parts, in
    /// the order of the document.
    Parameters(Vec<Resource<'a>>),
    /// Any other resource.
    Other,
}

/// A primitive element that is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    /// The decoded value.
    pub text: Cow<'a, str>,
    /// The bytes of the value, without its quotes.
    pub value: Range<usize>,
    /// What goes when the element is dropped.
    pub member: Range<usize>,
}

/// `Bundle.total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// The number.
    pub number: u64,
    /// The bytes of the number, without quotes.
    pub value: Range<usize>,
    /// What goes when the element is dropped.
    pub member: Range<usize>,
}

/// A Bundle.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bundle<'a> {
    /// `searchset`, `batch-response` …
    pub bundle_type: Option<Text<'a>>,
    /// `total`, as the sender counts.
    pub total: Option<Total>,
    /// The links of the bundle itself.
    pub links: Vec<Link<'a>>,
    /// JSON: the whole `link` member. Goes when all links go.
    pub link_member: Option<Range<usize>>,
    /// The entries, in order.
    pub entries: Vec<Entry<'a>>,
    /// JSON: the whole `entry` member. Goes when all entries go.
    pub entry_member: Option<Range<usize>>,
    /// `issues`, an OperationOutcome that R5 allows here.
    pub issues: Option<Box<Resource<'a>>>,
    /// Where an `entry` goes when there is none.
    pub tail: usize,
}

/// A link of a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Link<'a> {
    /// `next`, `self` …
    pub relation: Option<Text<'a>>,
    /// Where it points.
    pub url: Option<Text<'a>>,
    /// The bytes of the link.
    pub range: Range<usize>,
}

/// An entry of a bundle.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry<'a> {
    /// The bytes of the entry.
    pub range: Range<usize>,
    /// `fullUrl`.
    pub full_url: Option<Text<'a>>,
    /// The resource.
    pub resource: Option<Resource<'a>>,
    /// `search.mode`: `match`, `include` or `outcome`.
    pub search_mode: Option<Text<'a>>,
    /// What a batch, transaction or history entry asks or asked.
    pub request: Option<Box<EntryRequest<'a>>>,
    /// What was answered to it.
    pub response: Option<Box<EntryResponse<'a>>>,
}

/// `entry.request`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntryRequest<'a> {
    /// `GET`, `POST` …, as written.
    pub method: Option<Text<'a>>,
    /// The target, as written.
    pub url: Option<Text<'a>>,
    /// `ifMatch`.
    pub if_match: Option<Text<'a>>,
    /// `ifNoneMatch`.
    pub if_none_match: Option<Text<'a>>,
    /// `ifNoneExist`.
    pub if_none_exist: Option<Text<'a>>,
    /// `ifModifiedSince`.
    pub if_modified_since: Option<Text<'a>>,
    /// What goes when the request is dropped.
    pub member: Range<usize>,
}

/// `entry.response`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntryResponse<'a> {
    /// `201 Created` …, as written.
    pub status: Option<Text<'a>>,
    /// The new version's address.
    pub location: Option<Text<'a>>,
    /// `etag`.
    pub etag: Option<Text<'a>>,
    /// `lastModified`.
    pub last_modified: Option<Text<'a>>,
    /// `outcome`, in principle any resource.
    pub outcome: Option<Box<Resource<'a>>>,
    /// What goes when the response is dropped.
    pub member: Range<usize>,
}

/// Whether a name has the form of a resource type's.
fn is_type_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= 64
        && bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.iter().all(u8::is_ascii_alphanumeric)
}

/// Counts what a body may only hold so many of, across all its bundles.
#[derive(Debug)]
struct Allowance {
    limits: Limits,
    entries: usize,
}

impl Allowance {
    fn new(limits: Limits) -> Self {
        Self { limits, entries: 0 }
    }

    fn entry(&mut self) -> Result<(), OutlineError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(OutlineError::TooManyEntries(self.limits.entries));
        }
        Ok(())
    }

    fn container(&self, nesting: usize) -> Result<(), OutlineError> {
        if nesting > self.limits.nesting {
            return Err(OutlineError::TooNested(self.limits.nesting));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Result<Outline<'_>, OutlineError> {
        Outline::read(text.as_bytes(), Format::Json, Limits::default())
    }

    fn xml(text: &str) -> Result<Outline<'_>, OutlineError> {
        Outline::read(text.as_bytes(), Format::Xml, Limits::default())
    }

    /// An outline without its ranges, so that formats can be compared.
    fn shown(resource: &Resource<'_>) -> String {
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or("-".to_owned(), |it| it.text.to_string());
        let held = |it: &Option<Box<Resource<'_>>>| it.as_ref().map_or("-".to_owned(), |it| shown(it));
        let inside = match &resource.kind {
            Kind::Other => String::new(),
            Kind::Parameters(held) => held.iter().map(shown).collect::<Vec<_>>().join(" "),
            Kind::Bundle(bundle) => {
                let mut out = text(&bundle.bundle_type);
                out +=
                    &bundle.total.as_ref().map_or(String::new(), |total| format!(" total={}", total.number));
                for link in &bundle.links {
                    out += &format!(" {}->{}", text(&link.relation), text(&link.url));
                }
                for entry in &bundle.entries {
                    out += &format!(" {{{} {}", text(&entry.full_url), text(&entry.search_mode));
                    out += &entry.resource.as_ref().map_or(String::new(), |it| format!(" {}", shown(it)));
                    if let Some(asked) = &entry.request {
                        let parts = [
                            &asked.method,
                            &asked.url,
                            &asked.if_match,
                            &asked.if_none_match,
                            &asked.if_none_exist,
                            &asked.if_modified_since,
                        ];
                        out += &format!(" ?{}", parts.map(text).join(","));
                    }
                    if let Some(said) = &entry.response {
                        let parts = [&said.status, &said.location, &said.etag, &said.last_modified];
                        out += &format!(" !{},{}", parts.map(text).join(","), held(&said.outcome));
                    }
                    out += "}";
                }
                out + " issues=" + &held(&bundle.issues)
            }
        };
        format!("{}/{}{:?}[{inside}]", resource.resource_type, text(&resource.id), resource.contained)
    }

    const BATCH: &str = r#"{"type":"batch-response","total":2,"id":"b\u0031",
      "link":[{"relation":"self","url":"http://h/a?b&c"},{"url":"http://h/n","relation":"next"}],
      "entry":[
        {"fullUrl":"urn:uuid:1","search":{"mode":"match","score":1},
         "resource":{"id":"p1","active":true,"resourceType":"Patient","contained":[{"resourceType":"Organization"}]},
         "request":{"method":"PUT","url":"Patient/p1","ifMatch":"W/\"1\"","ifNoneMatch":"*","ifNoneExist":"a=b","ifModifiedSince":"2020"},
         "response":{"status":"200 OK","location":"l","etag":"e","lastModified":"m","outcome":{"resourceType":"OperationOutcome"}}},
        {"resource":{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Observation","id":"o1"}}]}},
        {"resource":{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Group"}},
          {"name":"b","part":[{"name":"c","part":[{"name":"d","resource":{"resourceType":"List","id":"l"}}]}]}]}}],
      "issues":{"resourceType":"OperationOutcome","id":"i"},"resourceType":"Bundle"}"#;

    const BATCH_XML: &str = r#"<?xml version="1.0"?><Bundle xmlns="http://hl7.org/fhir"><id value="b1"/><type value="batch-response"/>
      <total value="2"/><link><relation value="self"/><url value="http://h/a?b&amp;c"/></link>
      <link><relation value="next"><extension url="x"/></relation><url value="http://h/n"/></link>
      <entry><fullUrl value="urn:uuid:1"/><resource><Patient xmlns="http://hl7.org/fhir"><id value="p1"/>
        <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>a</p></div></text>
        <contained><Organization/></contained><active value="true"/></Patient></resource>
        <search><mode value="match"/><score value="1"/></search>
        <request><method value="PUT"/><url value="Patient/p1"/><ifNoneMatch value="*"/><ifModifiedSince value="2020"/>
          <ifMatch value="W/&quot;1&quot;"/><ifNoneExist value="a=b"/></request>
        <response><status value="200 OK"/><location value="l"/><etag value="e"/><lastModified value="m"/>
          <outcome><OperationOutcome/></outcome></response></entry>
      <entry><resource><Bundle><type value="collection"/><entry><resource><Observation><id value="o1"/></Observation></resource></entry></Bundle></resource></entry>
      <entry><resource><Parameters><parameter><name value="a"/><resource><Group/></resource></parameter>
        <parameter><name value="b"/><part><name value="c"/><part><name value="d"/><resource><List><id value="l"/></List></resource></part></part></parameter></Parameters></resource></entry>
      <issues><OperationOutcome><id value="i"/></OperationOutcome></issues></Bundle>"#;

    /// RESP-023: the order of members is free.
    #[test]
    fn both_formats_give_the_same_outline() {
        let (from_json, from_xml) = (json(BATCH).unwrap(), xml(BATCH_XML).unwrap());
        assert_eq!(shown(&from_json.root), shown(&from_xml.root));
        let text = shown(&from_json.root);
        for part in
            ["Bundle/b1", "Organization", "http://h/a?b&c", "PUT,Patient/p1,W/\"1\",*,a=b,2020", "List/l"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    fn part(text: &str, range: Range<usize>) -> &str {
        text.get(range).unwrap()
    }

    #[test]
    fn every_resource_is_found() {
        let types = |outline: &Outline<'_>| -> Vec<String> {
            outline.resources().iter().map(|resource| resource.resource_type.to_string()).collect()
        };
        let expected = [
            "Bundle",
            "Patient",
            "OperationOutcome",
            "Bundle",
            "Observation",
            "Parameters",
            "Group",
            "List",
            "OperationOutcome",
        ];
        assert_eq!(types(&json(BATCH).unwrap()), expected);
        assert_eq!(types(&xml(BATCH_XML).unwrap()), expected);
    }

    #[test]
    fn ranges_are_those_of_the_source() {
        for (text, outline) in [(BATCH, json(BATCH).unwrap()), (BATCH_XML, xml(BATCH_XML).unwrap())] {
            let bundle = outline.bundle().unwrap();
            let next = bundle.links[1].url.as_ref().unwrap();
            assert_eq!(part(text, next.value.clone()), "http://h/n");
            let patient = bundle.entries[0].resource.as_ref().unwrap();
            let (whole, member) = (part(text, patient.range.clone()), part(text, patient.member.clone()));
            assert!(whole.starts_with("{\"id\":\"p1\"") || whole.starts_with("<Patient"));
            assert!(member.starts_with("\"resource\":{\"id\"") || member.starts_with("<resource>"));
            assert!(member.ends_with('}') || member.ends_with("</resource>"));
            assert_eq!(part(text, bundle.total.as_ref().unwrap().value.clone()), "2");
            assert!(part(text, bundle.entries[1].range.clone()).ends_with(['}', '>']));
        }
    }

    /// BNDL-029, PARS-026, PARS-031, REST-10 and their like.
    #[test]
    fn what_is_no_outline_is_refused() {
        let one = r#"{"resourceType":"Bundle","entry":[X]}"#;
        let table: Vec<(String, &str)> = [
            ("null", "byte 0: expected a resource, which is an object"),
            ("[]", "byte 0: expected a resource, which is an object"),
            ("{}", "byte 0: expected a resource with `resourceType`"),
            (r#"{"resourceType":1}"#, "byte 16: expected a resource type's name"),
            (r#"{"resourceType":"patient"}"#, "byte 16: expected a resource type's name"),
            (r#"{"resourceType":"Pat ient"}"#, "byte 16: expected a resource type's name"),
            (r#"{"resourceType":"Patient","id":5}"#, "byte 31: expected a string"),
            (r#"{"resourceType":"Patient","contained":{}}"#, "byte 38: expected `contained` to be an array"),
            (r#"{"resourceType":"Bundle","entry":{}}"#, "byte 33: expected `entry` to be an array"),
            (r#"{"resourceType":"Bundle","entry":null}"#, "byte 33: expected `entry` to be an array"),
            (
                r#"{"resourceType":"Bundle","total":-1}"#,
                "byte 33: expected a total, which is a number not below 0",
            ),
            (
                r#"{"resourceType":"Bundle","total":"1"}"#,
                "byte 33: expected a total, which is a number not below 0",
            ),
            ("{\u{a0}\"resourceType\":\"Patient\"}", "byte 1: expected a key in double quotes or `}`"),
            (
                r#"{"resourceType":"Patient","resourceType":"Basic"}"#,
                "byte 26: key `resourceType` appears twice in one object, in this or another spelling",
            ),
            (r#"{"resourceType":"Bundle"} x"#, "byte 26: expected nothing after the value"),
        ]
        .map(|(text, means)| (text.to_owned(), means))
        .into_iter()
        .chain(
            [
                ("null", "byte 34: expected an entry, which is an object"),
                (r#"{"resource":null}"#, "byte 46: expected a resource, which is an object"),
                (r#"{"resource":{"id":"a"}}"#, "byte 46: expected a resource with `resourceType`"),
                (r#"{"request":[]}"#, "byte 45: expected `request` to be an object"),
                (r#"{"request":{"url":null}}"#, "byte 52: expected a string"),
                (
                    r#"{"request":{"\u0075rl":"a","url":"b"}}"#,
                    "byte 61: key `url` appears twice in one object, in this or another spelling",
                ),
            ]
            .map(|(entry, means)| (one.replace('X', entry), means)),
        )
        .collect();
        let wrong: Vec<_> = table
            .iter()
            .map(|(text, means)| (text, json(text).err().map(|error| error.to_string()), *means))
            .filter(|(_, got, means)| got.as_deref() != Some(*means))
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
        assert!(json(&one.replace('X', "{}")).is_ok());
    }

    /// What no rule looks at shows no resource.
    #[test]
    fn no_resource_stands_where_none_is_looked_for() {
        let table = [
            (r#"{"resourceType":"Bundle","link":[{"resource":{"resourceType":"Patient"}}]}"#, Some(46)),
            (r#"{"resourceType":"Bundle","link":[{"resourceType":"Patient"}]}"#, Some(34)),
            (r#"{"resourceType":"Bundle","x":[{"resource\u0054ype":"Patient"}]}"#, Some(31)),
            (r#"{"resourceType":"Parameters","x":{"y":{"resourceType":"Patient"}}}"#, Some(39)),
            (r#"{"resourceType":"Bundle","link":[{"relation":"self"}]}"#, None),
            (
                r#"{"resourceType":"Bundle","entry":[{"response":{"outcome":{"resourceType":"OperationOutcome"}}}]}"#,
                None,
            ),
            (r#"{"resourceType":"Bundle","issues":{"resourceType":"OperationOutcome"}}"#, None),
            (
                r#"{"resourceType":"Parameters","parameter":[{"name":"a","resource":{"resourceType":"Patient"}}]}"#,
                None,
            ),
            (
                r#"{"resourceType":"ExampleScenario","instance":[{"resourceId":"a","resourceType":"Patient"}]}"#,
                None,
            ),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .map(|(text, at)| {
                (text, at.map(|at| format!("byte {at}: expected no resource where none is looked for")))
            })
            .filter(|(text, means)| json(text).err().map(|error| error.to_string()) != *means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
    }

    #[test]
    fn xml_elements_are_not_repeated_nor_misplaced() {
        let bundle = |inside: &str| {
            format!("<Bundle xmlns=\"http://hl7.org/fhir\"><type value='batch'/>{inside}</Bundle>")
        };
        let table = [
            ("<entry><fullUrl value='a'/></entry>", "accepted"),
            ("<type value='transaction'/>", "expected `type` only once"),
            ("<total value='1'/><total value='1'/>", "expected `total` only once"),
            ("<total value='a'/>", "expected a total, which is a number not below 0"),
            ("<total/>", "expected an element with `value`"),
            (
                "<entry><request><url value='a'/><url value='b'/></request></entry>",
                "expected `url` only once",
            ),
            ("<entry><request/><request/></entry>", "expected `request` only once"),
            ("<entry><resource/></entry>", "expected an element with a resource"),
            ("<entry><resource><Patient/><Patient/></resource></entry>", "expected one resource"),
            ("<entry><resource><patient/></resource></entry>", "expected a resource"),
            (
                "<entry><resource><Patient><contained/></Patient></resource></entry>",
                "expected a contained resource",
            ),
            ("<link><relation value='next'/><url value='a'/><extension url='x'/></link>", "accepted"),
            ("<entry><search><Patient/></search></entry>", "expected no resource where none is looked for"),
            (
                "<link><x><Patient><id value='1'/></Patient></x></link>",
                "expected no resource where none is looked for",
            ),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(inside, means)| {
                let got = xml(&bundle(inside)).err().map_or("accepted".to_owned(), |error| error.to_string());
                (inside, got, *means)
            })
            .filter(|(_, got, means)| !got.ends_with(means))
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
        assert!(xml("<Bundle xmlns=\"http://hl7.org/fhir\"/>").is_err());
    }

    /// BNDL-030, PARS-017.
    #[test]
    fn entries_and_nesting_are_bounded() {
        let entries = |count: usize| {
            format!(r#"{{"resourceType":"Bundle","entry":[{}]}}"#, vec!["{}"; count].join(","))
        };
        assert!(json(&entries(10_000)).is_ok());
        assert_eq!(json(&entries(10_001)), Err(OutlineError::TooManyEntries(10_000)));
        let nested = |depth: usize| {
            let open = r#"{"resourceType":"Bundle","entry":[{"resource":"#.repeat(depth);
            format!(r#"{open}{{"resourceType":"Bundle"}}{}"#, "}]}".repeat(depth))
        };
        assert!(json(&nested(4)).is_ok());
        assert_eq!(json(&nested(5)), Err(OutlineError::TooNested(4)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..3000, byte in any::<u8>(), cut in 0usize..3000) {
            for (text, format) in [(BATCH, Format::Json), (BATCH_XML, Format::Xml)] {
                let mut bytes = text.as_bytes().to_vec();
                let length = bytes.len();
                bytes[at % length] = byte;
                let _ = Outline::read(&bytes, format, Limits::default());
                bytes.truncate(cut % length);
                prop_assert!(Outline::read(&bytes, format, Limits::default()).is_err());
            }
        }
    }
}
