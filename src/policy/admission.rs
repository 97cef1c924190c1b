//! What of an answer may be shown, type by type.

use std::sync::Arc;

use crate::fhir::{Letter, ResourceType};
use crate::policy::reach::Holder;
use crate::policy::term::Access;

/// What may be shown of what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Everything.
    All,
    /// What the grant reaches of each type.
    Some(Arc<Admission>),
}

/// What the grant reaches of each type, by reading and by searching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Sorted by type; types of which nothing is reached are not there.
    types: Vec<(ResourceType, Access, Access)>,
    /// Instances that were found to be reached by other means than their content (OPS-40).
    known: Vec<(ResourceType, String)>,
}

/// By which permission a resource may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// r.
    Read,
    /// r or s: it came along.
    Either,
    /// s: it was searched for.
    Search,
}

impl Admit {
    /// The same, and this instance, found to be reached by other means than its content.
    #[must_use]
    pub(super) fn and_known(self, resource: ResourceType, id: &str) -> Self {
        match self {
            Self::All => Self::All,
            Self::Some(admission) => {
                let mut admission = Arc::unwrap_or_clone(admission);
                admission.known.push((resource, id.to_owned()));
                Self::Some(Arc::new(admission))
            }
        }
    }

    /// What is reached of a type, by name.
    #[must_use]
    pub fn access(&self, resource_type: &str, by: By) -> Access {
        match self {
            Self::All => Access::Whole,
            Self::Some(admission) => admission.access(resource_type, by),
        }
    }

    /// Whether this instance is shown whatever it holds.
    #[must_use]
    pub fn knows(&self, resource_type: &str, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(admission) => {
                admission.known.iter().any(|(known, its)| known.as_str() == resource_type && its == id)
            }
        }
    }

    /// Whether the backend must be asked about some of it.
    #[must_use]
    pub fn asks(&self) -> bool {
        match self {
            Self::All => false,
            Self::Some(admission) => admission
                .types
                .iter()
                .any(|(_, read, search)| read.asked().next().is_some() || search.asked().next().is_some()),
        }
    }

    /// Whether every type that is shown is shown whole, so that no content must be looked at.
    #[must_use]
    pub fn is_by_type(&self) -> bool {
        let whole = |access: &Access| !matches!(access, Access::Part(_));
        match self {
            Self::All => true,
            Self::Some(admission) => {
                admission.types.iter().all(|(_, read, search)| whole(read) && whole(search))
            }
        }
    }
}

/// What a grant may see, before it is known by which permission.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    some: Admit,
    reads_all: bool,
    searches_all: bool,
}

impl Seen {
    /// What this grant may see.
    pub(super) fn of(holder: Holder<'_>) -> Self {
        let reads_all = holder.reaches_all(None, &[Letter::Read]);
        let searches_all = holder.reaches_all(None, &[Letter::Search]);
        if reads_all && searches_all {
            return Self { some: Admit::All, reads_all, searches_all };
        }
        let version = holder.rules().version();
        let access = |resource: ResourceType| {
            let (read, search) =
                (holder.access(resource, &[Letter::Read]), holder.access(resource, &[Letter::Search]));
            (read != Access::None || search != Access::None).then_some((resource, read, search))
        };
        let types = version.resource_types().filter_map(access).collect();
        let some = Admit::Some(Arc::new(Admission { types, known: Vec::new() }));
        Self { some, reads_all, searches_all }
    }

    /// What may be shown by this permission. What is searched for needs s (SCOPE-21, SCOPE-45), whatever may be read.
    pub(super) fn by(&self, by: By) -> Admit {
        let all = match by {
            By::Read => self.reads_all,
            By::Search => self.searches_all,
            By::Either => self.reads_all || self.searches_all,
        };
        if all { Admit::All } else { self.some.clone() }
    }
}

impl Admission {
    fn access(&self, resource_type: &str, by: By) -> Access {
        let Ok(at) = self.types.binary_search_by(|(of, ..)| of.as_str().cmp(resource_type)) else {
            return Access::None;
        };
        match (self.types.get(at), by) {
            (None, _) => Access::None,
            (Some((_, read, _)), By::Read) => read.clone(),
            (Some((_, _, search)), By::Search) => search.clone(),
            (Some((_, read, search)), By::Either) => read.or(search),
        }
    }
}
