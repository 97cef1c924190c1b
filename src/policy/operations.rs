//! Decisions on operations, each by its row in the table (OPS-1 … OPS-9).
//!
//! A grant that reaches a part of what an operation is about is kept to it: an instance must be within the grant, what
//! is submitted as well, and every resource of the answer is checked. Where an operation says something that is no
//! resource (a count, a label, a translation) about more than one instance, nothing could be checked: it is refused.

use std::sync::Arc;

use crate::fhir::outline::{Kind as Held, Limits, Outline};
use crate::fhir::{Answer, Document, Letter, NeedOf, Reserved, ResourceType, Row, SearchQuery};
use crate::matching::Verdict;
use crate::policy::admission::{Admit, By};
use crate::policy::decide::{Deciding, Stop, level};
use crate::policy::denial::{Denial, Extent, Need};
use crate::policy::facts::Stored;
use crate::policy::permit::{Duties, Expects};
use crate::policy::search::{Place, named_types};
use crate::policy::term::{Access, Alternative, Purpose};
use crate::scope::Level as Context;

/// Operations whose answer at type level is resources, each of which can be checked.
const ANSWERED_BY_RESOURCES: [&str; 3] = ["$docref", "$lastn", "$match"];

impl Deciding<'_, '_> {
    pub(super) fn operation(&mut self) -> Result<Duties, Stop> {
        let found = self.request.asked().found();
        let name = found.operation.clone().unwrap_or_default();
        let level = level(self.request.asked());
        let row = self.rules().operations.row(&name, level, found.resource_type).cloned();
        let row = row.ok_or_else(|| Denial::OperationUnknown { name: name.clone(), level })?;
        if self.resource().is_some_and(|t| t.as_str() == "AuditEvent")
            && matches!(name.as_str(), "$meta-add" | "$meta-delete")
        {
            return Err(Denial::AuditProtected.into());
        }
        let input = self.request.document().map(Document::parameters).unwrap_or_default();
        let query = self.request.query();
        let named = named_types(&query.clone().and(&input), self.rules().version())?;
        self.operation_needs(&row, &named);
        if name == "$document"
            && query.iter().chain(&input).any(|p| p.name() == "persist" && p.value() != "false")
        {
            let bundle = self.rules().version().resource_type("Bundle");
            self.needs.demand(bundle, &[Letter::Create]);
        }
        if !self.open_to_grant(&row, &named) {
            return Err(Denial::OperationReserved { name }.into());
        }
        let types: Vec<_> = self.resource().into_iter().collect();
        let extent = self.extent();
        let (sent, _) = self.inspect(&query, &types, (Place::Operation, extent))?;
        self.inspect(&input, &types, (Place::Operation, extent))?;
        let mut duties = Duties::sending(sent, self.seen.by(By::Either));
        duties.expects = if name == "$export" { Expects::Export } else { Expects::Anything };
        if row.answer == Answer::Pass {
            duties.admit = Admit::All;
        }
        self.kept(&row, &query.and(&input), &mut duties)?;
        Ok(duties)
    }

    fn operation_needs(&mut self, row: &Row, named: &[ResourceType]) {
        for need in &row.needs {
            for resource in self.of(need.of, named) {
                self.needs.demand(resource, &need.letters);
            }
        }
    }

    /// The types one need of a row speaks of.
    fn of(&self, of: NeedOf, named: &[ResourceType]) -> Vec<Option<ResourceType>> {
        match of {
            NeedOf::Subject => vec![self.resource()],
            NeedOf::Named(resource) => vec![Some(resource)],
            NeedOf::Word(name) => self.rules().version().resource_type(name).map(Some).into_iter().collect(),
            NeedOf::EachNamed if named.is_empty() => vec![None],
            NeedOf::EachNamed => named.iter().copied().map(Some).collect(),
        }
    }

    /// Keeps the needs that the grant meets in part, or refuses (contract §7).
    fn kept(&mut self, row: &Row, input: &SearchQuery, duties: &mut Duties) -> Result<(), Stop> {
        let limited: Vec<Need> =
            self.needs.iter().filter(|need| need.extent == Extent::Limited).cloned().collect();
        if limited.is_empty() {
            return Ok(());
        }
        self.not_refused()?;
        // From here on each is kept, or the request is refused.
        for need in &limited {
            self.needs.keep(need.resource, &need.letters);
        }
        let reserved = || Stop::Deny(Denial::OperationReserved { name: row.name.clone() });
        if row.answer == Answer::Pass || matches!(row.name.as_str(), "$meta-add" | "$meta-delete") {
            // Labels may be what a grant is limited by; an answer that is passed unread cannot be kept.
            return Err(reserved());
        }
        self.names_no_other(input).ok_or_else(reserved)?;
        let (resource, id) = (self.resource(), self.request.asked().found().id.clone());
        for need in &limited {
            let Some(of) = need.resource else { return Err(reserved()) };
            let letters = &need.letters;
            let access = self.needs.holder().access(of, letters);
            let writes =
                letters.iter().any(|l| matches!(l, Letter::Create | Letter::Update | Letter::Delete));
            let at_instance = id.as_deref().filter(|_| Some(of) == resource);
            match (writes, at_instance) {
                (true, _) => self.submits(of, &access)?.then_some(()).ok_or_else(reserved)?,
                (false, Some(id)) => self.reaches_instance(of, id, &access)?,
                (false, None) if ANSWERED_BY_RESOURCES.contains(&row.name.as_str()) => {}
                // A row of the configuration says that its answer is resources to be checked.
                (false, None) if !self.is_delivered(row) => {}
                (false, None) => return Err(reserved()),
            }
            if writes && let Some(id) = at_instance {
                self.reaches_instance(of, id, &access)?;
            }
        }
        duties.by = By::Either;
        duties.search = Some(Arc::default());
        duties.total = crate::policy::permit::Total::Seen;
        if id.is_some() {
            duties.masks = Some(self.rules().patient.unmatched);
        }
        Ok(())
    }

    /// What is missing altogether is refused before anything is asked of the backend.
    fn not_refused(&self) -> Result<(), Stop> {
        match self.needs.denial() {
            None | Some(Denial::Constrained) => Ok(()),
            Some(denial) => Err(denial.into()),
        }
    }

    fn is_delivered(&self, row: &Row) -> bool {
        let delivered = crate::fhir::OperationTable::delivered();
        delivered.row(&row.name, row.level, self.resource()) == Some(row)
    }

    /// The instance must be within the grant, or it is as if it did not exist.
    fn reaches_instance(&self, resource: ResourceType, id: &str, access: &Access) -> Result<(), Stop> {
        if access.excludes(resource, id) {
            return Err(self.unmatched().into());
        }
        let own = access.is_focus(resource, id);
        if own {
            return Ok(());
        }
        let reached = match self.stored(resource, id)? {
            Stored::Absent => false,
            Stored::Unclear => return Err(Denial::StoredUnclear.into()),
            Stored::Present(version) => version
                .tree()
                .is_some_and(|tree| access.reaches(tree.root(), &self.scene(Purpose::See)) == Verdict::Yes),
        };
        if reached { Ok(()) } else { Err(self.unmatched().into()) }
    }

    /// Whether resources of the type are submitted, and all of them are within the grant.
    fn submits(&self, resource: ResourceType, access: &Access) -> Result<bool, Stop> {
        let Some(document) = self.request.document() else { return Ok(false) };
        let outline = Outline::read(document.bytes(), document.format(), Limits::default());
        let outline = outline.map_err(|_| Denial::OutsideGrant)?;
        let mut submitted = Vec::new();
        let mut open = vec![&outline.root];
        while let Some(held) = open.pop() {
            if held.resource_type == resource.as_str() {
                submitted.push(held);
            }
            match &held.kind {
                Held::Parameters(inner) => open.extend(inner),
                Held::Bundle(_) => return Err(Denial::OutsideGrant.into()),
                Held::Other => {}
            }
        }
        for held in &submitted {
            let bytes = document.bytes().get(held.range.clone()).unwrap_or_default();
            self.within(bytes, document.format(), access)?;
        }
        Ok(!submitted.is_empty())
    }

    /// Whether every parameter that says whose data it is about says the grant's own patient (OPS-4).
    fn names_no_other(&self, input: &SearchQuery) -> Option<()> {
        let holder = self.needs.holder();
        let about = |code: &str| matches!(code, "patient" | "subject");
        // Whose compartments every way to it leads through; none where one leads past them.
        let mut own: Vec<String> = Vec::new();
        let mut bound = false;
        for need in self.needs.iter() {
            let Some(resource) = need.resource else { continue };
            let access = holder.access(resource, &need.letters);
            let patients: Vec<Option<&str>> =
                access.alternatives().iter().map(Alternative::patient).collect();
            bound |= !patients.is_empty() && patients.iter().all(Option::is_some);
            own.extend(patients.into_iter().flatten().map(str::to_owned));
        }
        if !bound {
            return Some(());
        }
        let mut named = input.iter().filter(|parameter| about(parameter.code()));
        let names_own = |value: &str| {
            let relative =
                value.strip_prefix(&holder.rules().public_base).and_then(|rest| rest.strip_prefix('/'));
            let relative = relative.unwrap_or(value);
            let id = relative.strip_prefix("Patient/").unwrap_or(relative);
            own.iter().any(|own| own == id)
        };
        // What is submitted to be judged is judged as such.
        let submits = |need: &Need| need.letters.iter().any(|l| !matches!(l, Letter::Read | Letter::Search));
        let document = self.request.document().filter(|_| !self.needs.iter().any(submits));
        let references = document.map(|d| d.values_of("reference")).unwrap_or_default();
        let foreign =
            references.iter().any(|reference| reference.contains("Patient/") && !names_own(reference));
        (named.all(|parameter| parameter.alternatives().all(names_own)) && !foreign).then_some(())
    }

    /// Whether the row lets this kind of grant invoke it.
    fn open_to_grant(&self, row: &Row, named: &[ResourceType]) -> bool {
        let holder = self.needs.holder();
        let granted_by = |wanted: fn(Context) -> bool, part: bool| {
            row.needs.iter().all(|need| {
                self.of(need.of, named).into_iter().all(|resource| {
                    need.letters.iter().any(|letter| {
                        let reach = holder.reach(resource, *letter);
                        let limited = reach.limited.iter().map(|(scope, _)| *scope).filter(|_| part);
                        reach.all.iter().copied().chain(limited).any(|scope| wanted(scope.level()))
                    })
                })
            })
        };
        let in_full = || {
            let unmet = |need: &Need| need.extent != Extent::All;
            !self.needs.iter().any(unmet)
        };
        match row.reserved {
            Reserved::No => true,
            // What is not granted at all is refused as such.
            Reserved::Unconstrained => in_full() || self.nothing_granted(),
            Reserved::NotPatient => {
                granted_by(|level| level != Context::Patient, true) || self.nothing_granted()
            }
            Reserved::SystemOnly => {
                granted_by(|level| level == Context::System, false) || self.nothing_granted()
            }
        }
    }

    fn nothing_granted(&self) -> bool {
        self.needs.iter().any(|need| need.granted.is_none())
    }
}
