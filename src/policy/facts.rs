//! What a decision must know of the backend's records: asked for by policy, looked up by the shell, read here.
//!
//! A decision that lacks a fact answers with the questions. The shell asks them and decides again; nothing is guessed
//! in between. An answer that cannot be read is a fact too: [`Stored::Unclear`] decides for no.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, StatusCode};

use crate::fhir::element::Document as Tree;
use crate::fhir::outline::{Limits, Outline};
use crate::fhir::{Format, Parameter, ResourceType, SearchQuery};
use crate::matching::{Criterion, Verdict};
use crate::policy::term::impossible;

/// Something that must be asked of the backend before a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whose the launch encounter of this id is (CTX-8). The answer may be some time old.
    Context(String),
    /// The current version of a resource.
    Stored(ResourceType, String),
    /// Resources of a type that a search finds: all on the first page.
    Found(ResourceType, SearchQuery),
}

/// The current version of a resource, as the backend holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// There is none, or none any more.
    Absent,
    /// This one.
    Present(Arc<Version>),
    /// The backend's answer says neither.
    Unclear,
}

/// One version of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The resource.
    pub body: Bytes,
    /// What it is written in: JSON, as it is asked for.
    pub format: Format,
    /// Its type.
    pub resource: ResourceType,
    /// Its id.
    pub id: String,
    /// What `If-Match` says of it; absent when the backend keeps no versions (REST-13).
    pub etag: Option<String>,
}

impl Version {
    /// A resource of this type, when the bytes are one; its version by the header field, or by itself.
    #[must_use]
    pub fn new(
        (body, format): (Bytes, Format),
        resource: ResourceType,
        etag: Option<String>,
    ) -> Option<Self> {
        let tree = Tree::read(&body, format).ok()?;
        let root = tree.root();
        if root.resource_type() != Some(resource.as_str()) {
            return None;
        }
        let id = root.id()?.to_owned();
        let named = root.only("meta").and_then(|meta| meta.text("versionId"));
        let etag = etag.or_else(|| named.map(|version| format!("W/\"{version}\"")));
        Some(Self { resource, id, etag, body, format })
    }

    /// The resource, read.
    #[must_use]
    pub fn tree(&self) -> Option<Tree<'_>> {
        Tree::read(&self.body, self.format).ok()
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These, and whether there are no more of them.
    Versions(Vec<Arc<Version>>, Complete),
    /// The backend refused the search.
    Refused,
    /// Its answer cannot be read.
    Unclear,
}

/// Whether an answer was all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// There are further pages.
    No,
    /// It was.
    Yes,
}

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    context: HashMap<String, Stored>,
    stored: HashMap<(ResourceType, String), Stored>,
    found: HashMap<Question, Found>,
    /// Whether the backend is known to search by compartment.
    pub compartment_search: bool,
}

impl Question {
    /// The searches that tell which of these resources match a criterion, and whether the backend looks at it at all.
    #[must_use]
    pub fn matching(criterion: &Criterion, ids: &[String]) -> [Self; 2] {
        [Self::of(criterion.resource(), ids, criterion.parameter().clone()), Self::honoured(criterion)]
    }

    fn of(resource: ResourceType, ids: &[String], parameter: Parameter) -> Self {
        let mut query = SearchQuery::default();
        query.push(Parameter::new("_id", ids.join(",")));
        query.push(parameter);
        query.push(Parameter::new("_count", ids.len().to_string()));
        Self::Found(resource, query)
    }

    /// Nothing may be found with a value that nothing has. A backend that finds something ignores the parameter, and
    /// would say yes to everything (SCOPE-51).
    fn honoured(criterion: &Criterion) -> Self {
        let mut query = SearchQuery::default();
        query.push(impossible(criterion.parameter()));
        query.push(Parameter::new("_count", "1"));
        Self::Found(criterion.resource(), query)
    }

    /// The resource type and the query of the request that asks it; a read has none.
    #[must_use]
    pub fn target(&self) -> (ResourceType, Option<&str>, Option<&SearchQuery>) {
        match self {
            Self::Context(id) => (ResourceType::ENCOUNTER, Some(id), None),
            Self::Stored(resource, id) => (*resource, Some(id), None),
            Self::Found(resource, query) => (*resource, None, Some(query)),
        }
    }
}

impl Facts {
    /// What is known of a stored resource; nothing when it was not asked.
    #[must_use]
    pub fn stored(&self, resource: ResourceType, id: &str) -> Option<&Stored> {
        self.stored.get(&(resource, id.to_owned()))
    }

    /// What is known of a launch encounter; nothing when it was not asked.
    #[must_use]
    pub fn context(&self, id: &str) -> Option<&Stored> {
        self.context.get(id)
    }

    /// What a search found; nothing when it was not asked.
    #[must_use]
    pub fn found(&self, question: &Question) -> Option<&Found> {
        self.found.get(question)
    }

    /// Every version that was seen, launch encounters aside, in no order.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        let stored = self.stored.values().filter_map(|stored| match stored {
            Stored::Present(version) => Some(version),
            Stored::Absent | Stored::Unclear => None,
        });
        let found = self.found.values().flat_map(|found| match found {
            Found::Versions(versions, _) => versions.as_slice(),
            Found::Refused | Found::Unclear => &[],
        });
        stored.chain(found).map(Arc::as_ref)
    }

    /// Whether this was answered.
    #[must_use]
    pub fn knows(&self, question: &Question) -> bool {
        match question {
            Question::Context(id) => self.context.contains_key(id),
            Question::Stored(resource, id) => self.stored(*resource, id).is_some(),
            Question::Found(..) => self.found.contains_key(question),
        }
    }

    /// Adds a stored resource, or that there is none.
    pub fn put_stored(&mut self, question: Question, stored: Stored) {
        match question {
            Question::Context(id) => drop(self.context.insert(id, stored)),
            Question::Stored(resource, id) => drop(self.stored.insert((resource, id), stored)),
            Question::Found(..) => {}
        }
    }

    /// Adds what a search found.
    pub fn put_found(&mut self, question: Question, found: Found) {
        self.found.insert(question, found);
    }

    /// Adds the backend's answer to a question.
    pub fn answered(&mut self, question: Question, status: StatusCode, headers: &HeaderMap, body: &Bytes) {
        match question.target() {
            (resource, Some(id), _) => {
                let stored = stored(resource, id, (status, headers, body));
                self.put_stored(question, stored);
            }
            (resource, None, _) => {
                let found = found(resource, status, body);
                self.put_found(question, found);
            }
        }
    }

    /// Whether the backend says that a resource matches a criterion; unknown when it was not asked of this id.
    #[must_use]
    pub fn matches(&self, criterion: &Criterion, id: &str) -> Verdict {
        let asked = |question: &&Question| {
            let Question::Found(resource, query) = question else { return false };
            *resource == criterion.resource()
                && query.iter().any(|parameter| parameter == criterion.parameter())
                && query.first("_id").is_some_and(|ids| ids.value().split(',').any(|asked| asked == id))
        };
        let Some(found) = self.found.iter().find(|(question, _)| asked(question)).map(|(_, found)| found)
        else {
            return Verdict::Unknown;
        };
        let honoured = match self.found.get(&Question::honoured(criterion)) {
            None => return Verdict::Unknown,
            Some(Found::Versions(none, _)) => none.is_empty(),
            Some(Found::Refused) => true,
            Some(Found::Unclear) => false,
        };
        let Found::Versions(versions, _) = found else { return Verdict::No };
        (honoured && versions.iter().any(|version| version.id == id)).into()
    }
}

/// Reads the answer to a read.
fn stored(
    resource: ResourceType,
    id: &str,
    (status, headers, body): (StatusCode, &HeaderMap, &Bytes),
) -> Stored {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Stored::Absent,
        StatusCode::OK => {
            let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
            match Version::new((body.clone(), Format::Json), resource, etag)
                .filter(|version| version.id == id)
            {
                Some(version) => Stored::Present(Arc::new(version)),
                None => Stored::Unclear,
            }
        }
        _ => Stored::Unclear,
    }
}

/// Reads the answer to a search: its matches of the type.
fn found(resource: ResourceType, status: StatusCode, body: &Bytes) -> Found {
    if status.is_client_error() {
        return Found::Refused;
    }
    let outline = (status == StatusCode::OK)
        .then(|| Outline::read(body, Format::Json, Limits::default()).ok())
        .flatten();
    let Some(bundle) = outline.as_ref().and_then(Outline::bundle) else { return Found::Unclear };
    if bundle.bundle_type.as_ref().is_none_or(|written| written.text != "searchset") {
        return Found::Unclear;
    }
    let mut versions = Vec::new();
    for entry in &bundle.entries {
        let Some(found) = &entry.resource else { continue };
        let mode = entry.search_mode.as_ref().map_or("match", |mode| mode.text.as_ref());
        if mode != "match" || found.resource_type == "OperationOutcome" {
            continue;
        }
        match Version::new((body.slice(found.range.clone()), Format::Json), resource, None) {
            Some(version) => versions.push(Arc::new(version)),
            None => return Found::Unclear,
        }
    }
    let more = bundle
        .links
        .iter()
        .any(|link| link.relation.as_ref().is_some_and(|relation| relation.text == "next"));
    Found::Versions(versions, if more { Complete::No } else { Complete::Yes })
}
