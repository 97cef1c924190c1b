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
    pub request: Option<EntryRequest<'a>>,
    /// What was answered to it.
    pub response: Option<EntryResponse<'a>>,
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
