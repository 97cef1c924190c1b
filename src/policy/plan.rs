//! How a search over part of a type is put to the backend, so that totals and pages are right (SCOPE-44, COMP-15).
//!
//! Narrowing is the first of two locks and only ever adds: what comes back is checked again. Each alternative of the
//! grant becomes parameters beside the client's own, repeated rather than replaced (SRCH-18, SRCH-19). Where a
//! compartment is entered by several parameters, or alternatives differ in more than one value, one query cannot say
//! "or": then there are several, and their answers are united.

use crate::fhir::{CompartmentKind, FhirVersion, Parameter, ResourceType, SearchQuery};
use crate::matching::Criterion;
use crate::policy::term::{Access, Alternative, Term};

/// Most queries that one search may become.
const MOST: usize = 16;

/// One of the queries that a search becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The path below the base.
    pub path: Vec<String>,
    /// The query.
    pub query: SearchQuery,
    /// The searched type.
    pub resource: ResourceType,
    /// What tells that a resource is among what this part finds, of all that the client's search finds.
    pub finds: Vec<Term>,
    /// How far it was shown.
    pub state: State,
}

/// How far a part was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Not yet.
    #[default]
    Begin,
    /// Up to this many entries of the page at this target, as the backend wrote it.
    Page(String, usize),
    /// To its end.
    Done,
}

/// What narrowing must know of the search.
pub(super) struct Plan<'p> {
    pub(super) version: FhirVersion,
    pub(super) public_base: &'p str,
    pub(super) backend_base: &'p str,
    pub(super) resource: ResourceType,
    /// What the client asked, as it may be sent.
    pub(super) asked: &'p SearchQuery,
    /// The compartment that the client searches.
    pub(super) anchor: Option<(CompartmentKind, &'p str)>,
    /// Whether the backend searches by compartment.
    pub(super) compartments: bool,
}

/// One way to narrow: a compartment to search in, and parameters to add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Branch {
    within: Option<(CompartmentKind, String)>,
    added: Vec<Parameter>,
}

impl Plan<'_> {
    /// The parts; `None` when there would be too many.
    pub(super) fn parts(&self, access: &Access) -> Option<Vec<Part>> {
        let branches = match access {
            Access::None => return Some(Vec::new()),
            Access::Whole => self.branches(&[])?,
            Access::Part(alternatives) => self.of_all(alternatives)?,
        };
        Some(branches.into_iter().map(|branch| self.part(branch)).collect())
    }

    fn of_all(&self, alternatives: &[Alternative]) -> Option<Vec<Branch>> {
        let mut all = Vec::new();
        for alternative in alternatives {
            all.extend(self.branches(&alternative.terms)?);
        }
        let all = joined(all);
        let common: Vec<Term> = alternatives.first().map_or(Vec::new(), |first| {
            let everywhere =
                |term: &&Term| alternatives.iter().all(|alternative| alternative.terms.contains(term));
            first.terms.iter().filter(everywhere).cloned().collect()
        });
        let confined = common.iter().any(|term| matches!(term, Term::Compartment(..)));
        if confined && alternatives.len() > 1 {
            // One compartment is little: a wider query there keeps order and pages, and the check does the rest.
            let wider = joined(self.branches(&common)?);
            if wider.len() < all.len() {
                return Some(wider);
            }
        }
        (all.len() <= MOST).then_some(all)
    }

    /// The ways to narrow by all these terms together.
    fn branches(&self, terms: &[Term]) -> Option<Vec<Branch>> {
        let mut branches = vec![Branch::default()];
        if let Some((kind, id)) = self.anchor {
            branches = self.within(branches, kind, id);
        }
        for term in terms {
            branches = match term {
                Term::Compartment(kind, id) => self.within(branches, *kind, id),
                Term::Matches(criterion) => {
                    branches.into_iter().map(|branch| branch.and(criterion.parameter().clone())).collect()
                }
            };
            if branches.len() > MOST {
                return None;
            }
        }
        Some(branches)
    }

    fn within(&self, branches: Vec<Branch>, kind: CompartmentKind, id: &str) -> Vec<Branch> {
        if self.asks_within(kind, id) {
            return branches;
        }
        let focus = kind.resource_type();
        if self.resource == focus {
            let own = Parameter::new("_id", id);
            return branches.into_iter().map(|branch| branch.and(own.clone())).collect();
        }
        let parameters = self.version.compartment_parameters(kind, self.resource).unwrap_or_default();
        let reference = format!("{focus}/{id}");
        let one_way = |branch: Branch| -> Vec<Branch> {
            let same = |(within, its): &(CompartmentKind, String)| *within == kind && its == id;
            match &branch.within {
                Some(within) if same(within) => vec![branch],
                None if self.compartments => {
                    vec![Branch { within: Some((kind, id.to_owned())), ..branch }]
                }
                Some(_) | None => parameters
                    .iter()
                    .map(|code| branch.clone().and(Parameter::new(*code, reference.clone())))
                    .collect(),
            }
        };
        branches.into_iter().flat_map(one_way).collect()
    }

    /// Whether the client itself asks for no more than this compartment.
    fn asks_within(&self, kind: CompartmentKind, id: &str) -> bool {
        let focus = kind.resource_type();
        let nominated = self.version.compartment_parameters(kind, self.resource).unwrap_or_default();
        self.asked.iter().any(|parameter| {
            if self.resource == focus {
                return parameter.name() == "_id" && parameter.value() == id;
            }
            let (code, modifier) = (parameter.code(), parameter.modifier());
            if parameter.chain().is_some() || !names_member(code, kind, nominated) {
                return false;
            }
            let targets = self.version.search_parameter(self.resource, code).map_or(&[][..], |p| p.targets);
            let typed = modifier == Some(focus.as_str()) || (modifier.is_none() && targets == [focus]);
            let below = |base: &str| parameter.value().strip_prefix(base)?.strip_prefix('/');
            let reference =
                below(self.public_base).or_else(|| below(self.backend_base)).unwrap_or(parameter.value());
            let named = reference.strip_prefix(focus.as_str()).and_then(|rest| rest.strip_prefix('/'));
            named == Some(id) && (modifier.is_none() || typed) || (typed && parameter.value() == id)
        })
    }

    fn part(&self, branch: Branch) -> Part {
        let mut finds: Vec<Term> = branch
            .added
            .iter()
            .filter_map(|parameter| Criterion::new(self.version, self.resource, parameter).ok())
            .map(Term::Matches)
            .collect();
        let mut path = Vec::new();
        if let Some((kind, id)) = branch.within {
            path.extend([kind.resource_type().as_str().to_owned(), id.clone()]);
            finds.push(Term::Compartment(kind, id));
        }
        path.push(self.resource.as_str().to_owned());
        let mut query = self.asked.clone();
        for parameter in branch.added {
            // Narrowing what is narrow already changes nothing.
            if !query.iter().any(|asked| *asked == parameter) {
                query.push(parameter);
            }
        }
        // As the backend knows them: what a link keeps of it is sent as it is.
        let query = query.rebased(self.public_base, self.backend_base);
        Part { path, query, resource: self.resource, finds, state: State::Begin }
    }
}

impl Branch {
    fn and(mut self, parameter: Parameter) -> Self {
        if !self.added.contains(&parameter) {
            self.added.push(parameter);
        }
        self
    }

    /// One branch for both, where they differ in the value of one parameter that may have alternatives.
    fn joined(&self, other: &Self) -> Option<Self> {
        if self.within != other.within || self.added.len() != other.added.len() {
            return None;
        }
        let mut differing =
            self.added.iter().zip(&other.added).enumerate().filter(|(_, (one, two))| one != two);
        let Some((at, (one, two))) = differing.next() else { return Some(self.clone()) };
        // "Not a or not b" is no list of values.
        let plain = !matches!(one.modifier(), Some("not" | "missing" | "not-in"));
        if differing.next().is_some() || one.name() != two.name() || !plain {
            return None;
        }
        let mut both = self.clone();
        *both.added.get_mut(at)? = Parameter::new(one.name(), format!("{},{}", one.value(), two.value()));
        Some(both)
    }
}

/// Whether a parameter selects by membership of the compartment: a nominated one, or its twin. `patient` and `subject`
/// speak of one element wherever a type has both.
pub(super) fn names_member(code: &str, kind: CompartmentKind, nominated: &[&str]) -> bool {
    let twin = match (kind, code) {
        (CompartmentKind::Patient, "patient") => "subject",
        (CompartmentKind::Patient, "subject") => "patient",
        _ => code,
    };
    nominated.contains(&code) || nominated.contains(&twin)
}

/// The branches, those that differ in one value as one.
fn joined(branches: Vec<Branch>) -> Vec<Branch> {
    let mut joined: Vec<Branch> = Vec::with_capacity(branches.len());
    for branch in branches {
        let place = joined.iter().enumerate().find_map(|(at, one)| Some((at, one.joined(&branch)?)));
        match place.and_then(|(at, both)| Some((joined.get_mut(at)?, both))) {
            Some((one, both)) => *one = both,
            None => joined.push(branch),
        }
    }
    joined
}
