//! What a grant in part comes down to: alternatives, each a conjunction of terms on one resource.

use std::fmt;
use std::sync::Arc;

use crate::fhir::element::Element;
use crate::fhir::{CompartmentKind, Parameter, ResourceType};
use crate::matching::{self, Criterion, Means, Site, Verdict};
use crate::policy::facts::Facts;

/// One thing that must be true of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// It is in this compartment, or its focus.
    Compartment(CompartmentKind, String),
    /// It matches a search parameter.
    Matches(Criterion),
}

/// What a resource is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown: any role in the compartment counts (COMP-4).
    See,
    /// To be stored, changed or removed: only being its subject counts (COMP-10).
    Write,
}

/// One way to be within a grant: all terms hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// What must hold.
    pub terms: Vec<Term>,
}

/// What a grant reaches of a type with some letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// No instance.
    #[default]
    None,
    /// Instances within one of these.
    Part(Arc<[Alternative]>),
    /// Every instance.
    Whole,
}

/// What a term is held against, besides the resource.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'s> {
    /// Whose references are whose.
    pub site: Site<'s>,
    /// What the backend was asked already.
    pub facts: &'s Facts,
    /// What it is looked at for.
    pub purpose: Purpose,
}

impl Term {
    /// Whether it holds of a resource.
    #[must_use]
    pub fn holds(&self, resource: Element<'_>, scene: &Scene<'_>) -> Verdict {
        match self {
            Self::Compartment(CompartmentKind::Patient, id) if scene.purpose == Purpose::Write => {
                matching::belongs_by_subject(id, resource, &scene.site).into()
            }
            Self::Compartment(kind, id) => matching::belongs(*kind, id, resource, &scene.site).into(),
            Self::Matches(criterion) => match criterion.means() {
                Means::Here => criterion.holds(resource, &scene.site),
                Means::Backend => match resource.id() {
                    Some(id) => scene.facts.matches(criterion, id),
                    None => Verdict::No,
                },
            },
        }
    }

    /// The parameter that only the backend can evaluate, if this is one.
    #[must_use]
    pub fn asked(&self) -> Option<&Criterion> {
        match self {
            Self::Matches(criterion) if criterion.means() == Means::Backend => Some(criterion),
            Self::Compartment(..) | Self::Matches(_) => None,
        }
    }

    /// Whether no resource of that type and id can satisfy it, whatever its content.
    fn excludes(&self, resource: ResourceType, id: &str) -> bool {
        match self {
            Self::Compartment(kind, focus) => kind.resource_type() == resource && focus != id,
            Self::Matches(criterion) => {
                let parameter = criterion.parameter();
                parameter.name() == "_id" && parameter.alternatives().all(|value| value != id)
            }
        }
    }
}

impl Alternative {
    /// The alternative of these terms, each once.
    #[must_use]
    pub fn new(terms: Vec<Term>) -> Self {
        let mut once: Vec<Term> = Vec::with_capacity(terms.len());
        for term in terms {
            if !once.contains(&term) {
                once.push(term);
            }
        }
        Self { terms: once }
    }

    /// Whether all terms hold of a resource.
    #[must_use]
    pub fn holds(&self, resource: Element<'_>, scene: &Scene<'_>) -> Verdict {
        let mut verdict = Verdict::Yes;
        for term in &self.terms {
            verdict = verdict.and(term.holds(resource, scene));
            if verdict == Verdict::No {
                break;
            }
        }
        verdict
    }

    /// The patient whose compartment it demands, among other things.
    #[must_use]
    pub fn patient(&self) -> Option<&str> {
        self.terms.iter().find_map(|term| match term {
            Term::Compartment(CompartmentKind::Patient, id) => Some(id.as_str()),
            Term::Compartment(..) | Term::Matches(_) => None,
        })
    }

    /// Whether it demands a compartment of this kind, among other things.
    #[must_use]
    pub fn confined_to(&self, kind: CompartmentKind) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Compartment(is, _) if *is == kind))
    }

    /// Whether all it demands is one compartment.
    #[must_use]
    pub fn is_compartment(&self, kind: CompartmentKind) -> bool {
        matches!(self.terms.as_slice(), [Term::Compartment(is, _)] if *is == kind)
    }
}

impl Access {
    /// Both together: what either reaches.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Whole, _) | (_, Self::Whole) => Self::Whole,
            (Self::None, access) | (access, Self::None) => access.clone(),
            (Self::Part(one), Self::Part(two)) if one == two => Self::Part(one.clone()),
            (Self::Part(one), Self::Part(two)) => {
                let mut all = one.to_vec();
                all.extend(two.iter().filter(|alternative| !one.contains(alternative)).cloned());
                Self::Part(all.into())
            }
        }
    }

    /// Whether a resource is reached.
    #[must_use]
    pub fn reaches(&self, resource: Element<'_>, scene: &Scene<'_>) -> Verdict {
        match self {
            Self::None => Verdict::No,
            Self::Whole => Verdict::Yes,
            Self::Part(alternatives) => {
                let mut verdict = Verdict::No;
                for alternative in alternatives.iter() {
                    verdict = verdict.or(alternative.holds(resource, scene));
                    if verdict == Verdict::Yes {
                        break;
                    }
                }
                verdict
            }
        }
    }

    /// The alternatives, when it is reached in part.
    #[must_use]
    pub fn alternatives(&self) -> &[Alternative] {
        match self {
            Self::None | Self::Whole => &[],
            Self::Part(alternatives) => alternatives,
        }
    }

    /// Whether no instance of that id can be reached, whatever its content (REST-6, REST-7).
    #[must_use]
    pub fn excludes(&self, resource: ResourceType, id: &str) -> bool {
        match self {
            Self::None => true,
            Self::Whole => false,
            Self::Part(alternatives) => alternatives
                .iter()
                .all(|alternative| alternative.terms.iter().any(|term| term.excludes(resource, id))),
        }
    }

    /// Whether the resource is the focus of a compartment that is reached as a whole.
    #[must_use]
    pub fn is_focus(&self, resource: ResourceType, id: &str) -> bool {
        self.alternatives().iter().any(|alternative| {
            matches!(alternative.terms.as_slice(),
                [Term::Compartment(kind, focus)] if kind.resource_type() == resource && focus == id)
        })
    }

    /// The criteria that only the backend can evaluate.
    pub fn asked(&self) -> impl Iterator<Item = &Criterion> {
        self.alternatives().iter().flat_map(|alternative| alternative.terms.iter().filter_map(Term::asked))
    }

    /// Whether a criterion speaks of one of these parameters.
    #[must_use]
    pub fn speaks_of(&self, codes: &[&str]) -> bool {
        self.alternatives().iter().flat_map(|alternative| &alternative.terms).any(|term| match term {
            Term::Compartment(..) => false,
            Term::Matches(criterion) => codes.contains(&criterion.parameter().code()),
        })
    }
}

/// The alternatives, each once; none of them is none.
impl From<Vec<Alternative>> for Access {
    fn from(alternatives: Vec<Alternative>) -> Self {
        if alternatives.is_empty() {
            return Self::None;
        }
        if alternatives.iter().any(|alternative| alternative.terms.is_empty()) {
            return Self::Whole;
        }
        let mut once: Vec<Alternative> = Vec::with_capacity(alternatives.len());
        for alternative in alternatives {
            if !once.contains(&alternative) {
                once.push(alternative);
            }
        }
        Self::Part(once.into())
    }
}

/// In the words of a search: `Patient/p1/*`, `category=laboratory`.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compartment(kind, id) => write!(f, "{}/{id}/*", kind.resource_type()),
            Self::Matches(criterion) => {
                write!(f, "{}={}", criterion.parameter().name(), criterion.parameter().value())
            }
        }
    }
}

/// A parameter whose value no resource has: a backend that finds something for it does not look at it.
#[must_use]
pub fn impossible(parameter: &Parameter) -> Parameter {
    Parameter::new(parameter.name(), "urn:uuid:00000000-0000-4000-8000-70666f727465")
}
