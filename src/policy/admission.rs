//! What of an answer may be shown, type by type.

use std::sync::{Arc, OnceLock};

use crate::fhir::{Letter, ResourceType};
use crate::policy::reach::Holder;
use crate::policy::rules::Rules;
use crate::policy::term::Access;
use crate::scope::{Level, Scope};
use crate::token::{Grant, UserContext, UserType};

/// What may be shown of what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Everything.
    All,
    /// What the grant reaches of each type.
    Some(Arc<Admission>),
}

/// What the grant reaches of each type, by reading and by searching: found out for a type when it is asked for, because
/// an answer holds a few of the many that there are.
#[derive(Debug, Clone)]
pub struct Admission {
    grant: Grant,
    rules: Arc<Rules>,
    found: OnceLock<Box<Found>>,
    /// Instances that were found to be reached by other means than their content (OPS-40).
    known: Vec<(ResourceType, String)>,
}

/// What was found out about one type, and about the others after it.
#[derive(Debug, Clone)]
struct Found {
    resource: ResourceType,
    read: Access,
    search: Access,
    either: Access,
    next: OnceLock<Box<Self>>,
}

/// Two that show the same of everything.
impl PartialEq for Admission {
    fn eq(&self, other: &Self) -> bool {
        let same = |resource: ResourceType| {
            let (one, two) = (self.of(resource), other.of(resource));
            (&one.read, &one.search) == (&two.read, &two.search)
        };
        self.known == other.known && self.rules.version().resource_types().all(same)
    }
}

impl Eq for Admission {}

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
            Self::Some(admission) => admission.asks(),
        }
    }

    /// Whether every type that is shown is shown whole, so that no content must be looked at.
    #[must_use]
    pub fn is_by_type(&self) -> bool {
        match self {
            Self::All => true,
            Self::Some(admission) => admission.is_by_type(),
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
        let (grant, rules) = (holder.grant().clone(), Arc::clone(holder.rules()));
        let some = Admission { grant, rules, found: OnceLock::new(), known: Vec::new() };
        let some = Admit::Some(Arc::new(some));
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
        let Some(resource) = self.rules.version().resource_type(resource_type) else { return Access::None };
        let found = self.of(resource);
        match by {
            By::Either => found.either.clone(),
            By::Read => found.read.clone(),
            By::Search => found.search.clone(),
        }
    }

    fn of(&self, resource: ResourceType) -> &Found {
        let mut place = &self.found;
        loop {
            // Somebody else may have put another type here meanwhile.
            let found = place.get_or_init(|| Box::new(self.find(resource)));
            if found.resource == resource {
                return found;
            }
            place = &found.next;
        }
    }

    fn find(&self, resource: ResourceType) -> Found {
        let holder = Holder::new(&self.grant, &self.rules);
        let read = holder.access(resource, &[Letter::Read]);
        let search = holder.access(resource, &[Letter::Search]);
        let either = read.or(&search);
        Found { resource, read, search, either, next: OnceLock::new() }
    }

    /// The scopes that may show something in part, by what they and the rules say.
    fn partial(&self) -> impl Iterator<Item = &Scope> {
        let limited = |level: Level| self.rules.limits.iter().any(|rule| rule.contexts.contains(&level));
        let by_user =
            matches!(self.grant.user(), UserContext::Local(user) if user.kind() == UserType::Patient);
        self.grant.scopes().granted().iter().filter(move |scope| {
            let shows = [Letter::Read, Letter::Search].iter().any(|letter| scope.letters().has(*letter));
            let whole = match scope.level() {
                Level::Patient => false,
                Level::System => true,
                Level::User => !by_user,
            };
            shows && !(whole && scope.only().is_empty() && !limited(scope.level()))
        })
    }

    fn is_by_type(&self) -> bool {
        let whole = |resource: ResourceType| {
            let found = self.of(resource);
            !matches!(found.read, Access::Part(_)) && !matches!(found.search, Access::Part(_))
        };
        // One type that is shown in part is enough; all are looked at only where scopes overlap.
        match self.partial().next() {
            None => true,
            Some(scope) if !whole(scope.resource().unwrap_or(ResourceType::PATIENT)) => false,
            Some(_) => self.rules.version().resource_types().all(whole),
        }
    }

    fn asks(&self) -> bool {
        let asks = |resource: ResourceType| {
            let found = self.of(resource);
            found.read.asked().next().is_some() || found.search.asked().next().is_some()
        };
        // Only parameters are asked about: those of scopes and rules, and the two that the gateway adds.
        let scopes = self.partial().filter(|scope| !scope.only().is_empty()).map(Scope::resource);
        let rules = self.rules.limits.iter().flat_map(|rule| &rule.limit).map(|limit| limit.resource);
        let added = [ResourceType::DEVICE, ResourceType::PATIENT].map(Some);
        scopes.chain(rules).chain(added).any(|resource| match resource {
            Some(resource) => asks(resource),
            None => self.rules.version().resource_types().any(asks),
        })
    }
}
