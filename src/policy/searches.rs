//! Decisions on searches: narrowed before they leave, and every match checked when it comes back (SRCH).

use std::sync::Arc;

use crate::fhir::{CompartmentKind, Letter, Parameter, ResourceType, SearchQuery};
use crate::policy::admission::{Admit, By};
use crate::policy::decide::{Deciding, Stop};
use crate::policy::denial::Denial;
use crate::policy::permit::{Counting, Duties, Expects, SearchDuty, Total};
use crate::policy::plan::{Part, Plan};
use crate::policy::reach::Holder;
use crate::policy::rules::CompartmentSearch;
use crate::policy::search::{Place, Reached, named_types};
use crate::policy::term::Access;

const SEARCH: [Letter; 1] = [Letter::Search];

/// Most matches that are counted here.
const COUNTED: &str = "1000";

/// Most types that a search over several may become one query each for.
const MOST_TYPES: usize = 16;

impl Reached {
    pub(super) fn of(access: &Access) -> Self {
        match access {
            Access::Part(_) => Self::Part,
            Access::None | Access::Whole => Self::Whole,
        }
    }
}

impl Deciding<'_, '_> {
    pub(super) fn search_type(&mut self) -> Result<Duties, Stop> {
        let Some(resource) = self.resource() else { return Err(Denial::InsufficientScope.into()) };
        let access = self.reached(Letter::Search);
        let (query, duty) =
            self.inspect(&self.request.query(), &[resource], (Place::Search, self.extent()))?;
        self.searching(query, duty, &[(resource, access)])
    }

    pub(super) fn search_compartment(&mut self) -> Result<Duties, Stop> {
        let Some((kind, _)) = self.anchor() else { return Err(Denial::InsufficientScope.into()) };
        match self.resource() {
            Some(resource) if self.in_compartment(kind, resource) => self.search_type(),
            // A type that is not in the compartment: there is no such search.
            Some(_) => Err(Denial::Parameter { parameter: "compartment".to_owned() }.into()),
            None => self.search_system(),
        }
    }

    fn anchor(&self) -> Option<(CompartmentKind, String)> {
        self.request.asked().found().compartment.clone()
    }

    fn in_compartment(&self, kind: CompartmentKind, resource: ResourceType) -> bool {
        self.rules().version().compartment_parameters(kind, resource).is_some()
    }

    /// Searches over types: each named one is needed, none named means the permitted ones (REST-20).
    pub(super) fn search_system(&mut self) -> Result<Duties, Stop> {
        let asked = self.request.query();
        let named = named_types(&asked, self.rules().version())?;
        let every = self.needs.may(None, &SEARCH);
        let types = if named.is_empty() { self.searchable(every) } else { named.clone() };
        let unnamed = named.is_empty() && every;
        if unnamed || types.is_empty() {
            self.needs.demand(None, &SEARCH);
        } else {
            types.iter().for_each(|resource| self.needs.demand_kept(Some(*resource), &SEARCH));
        }
        let holder = self.needs.holder();
        let accesses: Vec<(ResourceType, Access)> = if unnamed {
            Vec::new()
        } else {
            types.iter().map(|resource| (*resource, holder.access(*resource, &SEARCH))).collect()
        };
        let partly = accesses.iter().any(|(_, access)| matches!(access, Access::Part(_)));
        // `_type` was looked at above.
        let rest = asked.without(|p| p.name() == "_type");
        let (mut query, duty) = self.inspect(&rest, &types, (Place::Search, self.extent()))?;
        if partly {
            return self.searching(query, duty, &accesses);
        }
        if !unnamed && !types.is_empty() {
            query.push(of_types(&types));
        }
        let mut duties = Duties::sending(query, self.seen.by(By::Search));
        duties.expects = Expects::Bundle(&["searchset"]);
        duties.search = self.held(duty);
        if duties.admit != Admit::All {
            // A backend that ignores `_type` counts what may not be known (SRCH-16).
            duties.total = Total::Dropped;
        }
        Ok(duties)
    }

    pub(super) fn history_system(&mut self) -> Result<Duties, Stop> {
        let asked = self.request.query();
        let named = named_types(&asked, self.rules().version())?;
        let every = self.needs.may(None, &SEARCH);
        let types = if named.is_empty() { self.searchable(every) } else { named.clone() };
        // It cannot be narrowed to a part of a type (REST-21), so nothing here is kept.
        if (named.is_empty() && every) || types.is_empty() {
            self.needs.demand(None, &SEARCH);
        } else {
            types.iter().for_each(|resource| self.needs.demand(Some(*resource), &SEARCH));
        }
        let rest = asked.without(|p| p.name() == "_type");
        let (query, _) = self.inspect(&rest, &types, (Place::History, Reached::Whole))?;
        let mut duties = Duties::sending(query, self.seen.by(By::Search));
        duties.by = By::Search;
        duties.expects = Expects::Bundle(&["history"]);
        if duties.admit != Admit::All {
            duties.total = Total::Dropped;
        }
        Ok(duties)
    }

    /// The types a search without `_type` is narrowed to.
    fn searchable(&self, every: bool) -> Vec<ResourceType> {
        let holder = self.needs.holder();
        let anchor = self.anchor().map(|(kind, _)| kind);
        let all: Vec<_> = if every {
            holder.rules().version().resource_types().collect()
        } else {
            holder.types_reached(&SEARCH)
        };
        all.into_iter().filter(|t| anchor.is_none_or(|kind| self.in_compartment(kind, *t))).collect()
    }

    /// A search over types of which some are reached in part.
    fn searching(
        &mut self,
        query: SearchQuery,
        duty: SearchDuty,
        accesses: &[(ResourceType, Access)],
    ) -> Result<Duties, Stop> {
        let partly = accesses.iter().any(|(_, access)| matches!(access, Access::Part(_)));
        let counting = duty.counting == Counting::Only;
        let verified = !(duty.joins.is_empty() && duty.pins.is_empty());
        let mut duties = Duties::sending(query, self.seen.by(By::Search));
        duties.expects = Expects::Bundle(&["searchset"]);
        duties.search = self.held(duty);
        if counting || verified {
            // What the backend counts may be what a parameter found out of sight.
            duties.total = Total::Seen;
        }
        if !partly {
            if counting {
                duties.query.push(Parameter::new("_count", COUNTED));
            }
            return Ok(duties);
        }
        if accesses.len() > MOST_TYPES {
            return Err(Denial::Constrained.into());
        }
        duties.total = Total::Seen;
        let mut parts: Vec<Part> = Vec::new();
        for (resource, access) in accesses {
            parts.extend(self.plan(*resource, access, &duties.query).ok_or(Denial::Constrained)?);
        }
        if counting {
            // Only what is on one page can be counted.
            parts.iter_mut().for_each(|part| part.query.push(Parameter::new("_count", COUNTED)));
        }
        duties.parts = parts;
        Ok(duties)
    }

    fn plan(&self, resource: ResourceType, access: &Access, query: &SearchQuery) -> Option<Vec<Part>> {
        let holder = self.needs.holder();
        let anchor = self.anchor();
        let plan = Plan {
            version: holder.rules().version(),
            public_base: &holder.rules().public_base,
            backend_base: &holder.rules().backend_base,
            resource,
            asked: query,
            anchor: anchor.as_ref().map(|(kind, id)| (*kind, id.as_str())),
            compartments: match holder.rules().compartment_search {
                CompartmentSearch::On => true,
                CompartmentSearch::Off => false,
                CompartmentSearch::Auto => self.facts.compartment_search,
            },
        };
        plan.parts(access)
    }

    /// Whether answers must be checked by content: anything may come along with a search.
    pub(super) fn extent(&self) -> Reached {
        if self.seen.by(By::Search).is_by_type() { Reached::Whole } else { Reached::Part }
    }

    /// The duty to look at matches; none where everything may be shown.
    fn held(&self, duty: SearchDuty) -> Option<Arc<SearchDuty>> {
        (self.seen.by(By::Search) != Admit::All).then(|| Arc::new(duty))
    }
}

fn of_types(types: &[ResourceType]) -> Parameter {
    let names: Vec<_> = types.iter().map(|t| t.as_str()).collect();
    Parameter::new("_type", names.join(","))
}

/// The same narrowing for criteria that must be one query: a conditional interaction's.
pub(super) fn narrowed(
    holder: Holder<'_>,
    resource: ResourceType,
    access: &Access,
    query: &SearchQuery,
) -> Option<Vec<SearchQuery>> {
    let plan = Plan {
        version: holder.rules().version(),
        public_base: &holder.rules().public_base,
        backend_base: &holder.rules().backend_base,
        resource,
        asked: query,
        anchor: None,
        compartments: false,
    };
    Some(plan.parts(access)?.into_iter().map(|part| part.query).collect())
}
