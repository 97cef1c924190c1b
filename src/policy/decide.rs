//! The decision: a total function of request, caller, rules and facts. It reads no clock and waits for nothing.

use std::sync::Arc;

use http::Method;

use crate::fhir::{
    Asked, Body, BundleAction, BundleRequest, CompartmentKind, FhirRequest, Kind, Letter, Level, Permission,
    ResourceType, SearchQuery,
};
use crate::matching::Site;
use crate::policy::admission::{Admit, By, Seen};
use crate::policy::denial::{Denial, EntryRefusal, Extent, Need, Refused};
use crate::policy::facts::{Facts, Question, Stored};
use crate::policy::needs::Needs;
use crate::policy::permit::{Duties, EntryDuty, Expects, Permit, SearchDuty, Total};
use crate::policy::reach::Holder;
use crate::policy::rules::Rules;
use crate::policy::seal::{Leads, Link};
use crate::policy::search::{Inspection, Place, Reached};
use crate::policy::term::{Access, Purpose, Scene};
use crate::policy::urns::{self, Urns};
use crate::token::{Caller, Grant};

/// Yes, with what must be done for it, or no, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for the length of one call, most of them the large one"
)]
pub enum Decision {
    /// It may be sent, as the permit says.
    Allow(Permit),
    /// It depends on what the backend holds: these facts are missing.
    Ask(Vec<Question>),
    /// It may not.
    Deny(Refused),
}

/// Why a decision stops before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Facts are missing.
    Ask(Vec<Question>),
    /// The answer is no.
    Deny(Denial),
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Deny(denial)
    }
}

/// Decides on a request that was read whole.
#[must_use]
pub fn decide(request: &FhirRequest, caller: &Caller, rules: &Arc<Rules>, facts: &Facts) -> Decision {
    let asked = request.asked();
    if asked.kind() == Kind::Capabilities {
        return Decision::Allow(Permit::public(asked.target().query().clone()));
    }
    let Caller::Holder(grant) = caller else { return refuse(Denial::Anonymous, Vec::new()) };
    let holder = Holder::new(grant, rules);
    match request.body() {
        Body::Bundle(bundle) => decide_bundle(bundle, holder, facts),
        Body::Empty | Body::Form(_) | Body::JsonPatch(_) | Body::Raw(_) | Body::Resource(_) => {
            let seen = Seen::of(holder);
            settle(Deciding { request, needs: Needs::new(holder), facts, seen: &seen, urns: None }, holder)
        }
    }
}

/// Refuses what no body could save: a type that no scope names with the letters of the interaction, an operation
/// without a row. `None` means that it depends on the rest.
#[must_use]
pub fn before_body(asked: &Asked, caller: &Caller, rules: &Arc<Rules>) -> Option<Refused> {
    let Caller::Holder(grant) = caller else {
        return Some(Refused { denial: Denial::Anonymous, needs: Vec::new() });
    };
    let holder = Holder::new(grant, rules);
    let mut needs = Needs::new(holder);
    match asked.found().shape.permission {
        Permission::Letter(letter) if asked.resource_type().is_some() => {
            needs.demand(asked.resource_type(), &[letter]);
        }
        Permission::Letters(first, second) => {
            needs.demand(asked.resource_type(), &[first]);
            needs.demand(asked.resource_type(), &[second]);
        }
        Permission::EachEntry if grant.scopes().granted().is_empty() => needs.demand(None, &Letter::ALL),
        Permission::OperationRow => {
            let found = asked.found();
            let (name, level) = (found.operation.clone().unwrap_or_default(), level(asked));
            if rules.operations.row(&name, level, found.resource_type).is_none() {
                return Some(Refused { denial: Denial::OperationUnknown { name, level }, needs: Vec::new() });
            }
        }
        Permission::EachEntry | Permission::Letter(_) | Permission::Public => {}
    }
    let (needs, denial) = needs.settle();
    // A grant that reaches part of it is looked at with the whole request.
    denial.filter(|denial| *denial != Denial::Constrained).map(|denial| Refused { denial, needs })
}

pub(super) fn level(asked: &Asked) -> Level {
    match (&asked.found().resource_type, &asked.found().id) {
        (None, _) => Level::System,
        (Some(_), None) => Level::Type,
        (Some(_), Some(_)) => Level::Instance,
    }
}

/// Decides on following a sealed link: by its binding and its needs, both as of now (SRCH-25, SRCH-26). What it leads
/// to is held against the grant that follows it, not the one that it was made under.
#[must_use]
pub fn decide_link(link: &Link, method: &Method, grant: &Grant, rules: &Arc<Rules>) -> Decision {
    let holder = Holder::new(grant, rules);
    let allowed = match link.leads {
        Leads::Export => [Method::GET, Method::DELETE].contains(method),
        Leads::Page => method == Method::GET,
    };
    let needs =
        link.needs(rules.version()).filter(|_| allowed && link.binding == crate::policy::Binding::of(grant));
    let Some(demanded) = needs else { return refuse(Denial::Link, Vec::new()) };
    let mut needs = Needs::new(holder);
    for (resource, letters) in &demanded {
        match link.leads {
            Leads::Export => needs.demand(*resource, letters),
            // Every resource of a page is checked.
            Leads::Page => needs.demand_kept(*resource, letters),
        }
    }
    let (needs, denial) = needs.settle();
    if let Some(denial) = denial {
        return refuse(denial, needs);
    }
    let partly = needs.iter().any(|need| need.extent == Extent::Limited);
    let mut duties = Duties::sending(SearchQuery::default(), Admit::All);
    duties.extent = if partly { Reached::Part } else { Reached::Whole };
    // What this page or status leads to is bound as this link was.
    duties.binding = Some(link.binding.clone());
    match link.leads {
        Leads::Export => {
            duties.expects = Expects::Export;
        }
        Leads::Page => {
            duties.expects = Expects::Bundle(&["searchset", "history"]);
            let Some((by, search)) = link.search(rules.version()) else { return refuse(Denial::Link, needs) };
            let Some(parts) = link.parts(rules.version()) else { return refuse(Denial::Link, needs) };
            duties.by = by;
            let searched = search.as_ref().is_some_and(|search| !search.searched.is_empty());
            duties.admit = Seen::of(holder).by(if searched { By::Search } else { by });
            duties.total = match (partly, &duties.admit) {
                (true, _) => Total::Seen,
                (false, Admit::All) => Total::Kept,
                (false, Admit::Some(_)) => Total::Dropped,
            };
            duties.search = search.map(Arc::new);
            duties.parts = parts;
        }
    }
    Decision::Allow(Permit::new(needs, duties))
}

pub(super) fn refuse(denial: Denial, needs: Vec<Need>) -> Decision {
    Decision::Deny(Refused { denial, needs })
}

fn settle(mut deciding: Deciding<'_, '_>, holder: Holder<'_>) -> Decision {
    let decided = deciding.duties().and_then(|duties| deciding.context().map(|()| duties));
    let head = deciding.request.asked().method();
    let (needs, unmet) = deciding.needs.settle();
    let decided = match decided {
        Err(Stop::Ask(questions)) => match unmet {
            // What is not granted is refused before anything is asked (REST-6).
            Some(denial) => return refuse(denial, needs),
            None => return Decision::Ask(questions),
        },
        Err(Stop::Deny(denial)) => Err(denial),
        Ok(duties) => Ok(duties),
    };
    match (decided, unmet) {
        // What the client lacks is more use to it than which parameter needed it.
        (Err(denial @ Denial::Chain { .. }), None | Some(Denial::InsufficientScope)) => refuse(denial, needs),
        // What was not kept to the grant's part has its own reason, where one was found.
        (Err(denial), Some(Denial::Constrained)) => refuse(denial, needs),
        (_, Some(denial)) | (Err(denial), None) => refuse(denial, needs),
        (Ok(mut duties), None) => {
            duties.binding = Some(crate::policy::Binding::of(holder.grant()));
            duties.extent = if needs.iter().any(|need| need.extent == Extent::Limited) {
                Reached::Part
            } else {
                Reached::Whole
            };
            // HEAD brings fields and no content; what must be checked is read like GET.
            if *head == Method::HEAD && !duties.reads_content() {
                duties.expects = Expects::Anything;
            }
            Decision::Allow(Permit::new(needs, duties))
        }
    }
}

fn decide_bundle(bundle: &BundleRequest, holder: Holder<'_>, facts: &Facts) -> Decision {
    let mut entries = Vec::with_capacity(bundle.entries.len());
    let mut needs: Vec<Need> = Vec::new();
    let mut missing: Vec<Question> = Vec::new();
    let seen = Seen::of(holder);
    let urns = (bundle.action == BundleAction::Transaction).then(|| urns::of(bundle));
    for (index, entry) in bundle.entries.iter().enumerate() {
        let duty = match entry {
            Err(unreadable) => EntryDuty::Refuse(EntryRefusal::Unreadable(unreadable.clone())),
            Ok(request) => {
                let deciding =
                    Deciding { request, needs: Needs::new(holder), facts, seen: &seen, urns: urns.as_ref() };
                match decide_entry(deciding, bundle.action, holder) {
                    Decision::Allow(permit) => EntryDuty::Forward(Box::new(permit)),
                    Decision::Deny(refused) => EntryDuty::Refuse(EntryRefusal::Denied(Box::new(refused))),
                    Decision::Ask(questions) => {
                        missing.extend(questions);
                        continue;
                    }
                }
            }
        };
        for need in duty.needs() {
            if !needs.contains(need) {
                needs.push(need.clone());
            }
        }
        if let (BundleAction::Transaction, EntryDuty::Refuse(why)) = (bundle.action, &duty) {
            return refuse(Denial::Entry { index, why: why.clone() }, needs);
        }
        entries.push(duty);
    }
    if !missing.is_empty() {
        return Decision::Ask(missing);
    }
    let mut duties = Duties::sending(SearchQuery::default(), seen.by(By::Either));
    duties.expects = Expects::Bundle(match bundle.action {
        BundleAction::Batch => &["batch-response"],
        BundleAction::Transaction => &["transaction-response"],
    });
    if needs.iter().any(|need| need.extent == Extent::Limited) {
        duties.extent = Reached::Part;
    }
    duties.entries = entries;
    duties.binding = Some(crate::policy::Binding::of(holder.grant()));
    Decision::Allow(Permit::new(needs, duties))
}

/// One entry, as if sent alone (REST-30); in a transaction conditional references are searches (REST-16).
fn decide_entry(deciding: Deciding<'_, '_>, action: BundleAction, holder: Holder<'_>) -> Decision {
    let request = deciding.request;
    let decision = settle(deciding, holder);
    let (BundleAction::Transaction, Decision::Allow(permit)) = (action, &decision) else {
        return decision;
    };
    let mut needs = Needs::new(holder);
    let references =
        request.document().map(crate::fhir::Document::conditional_references).unwrap_or_default();
    for reference in references {
        if let Err(denial) = conditional_reference(&reference, holder.rules(), &mut needs) {
            return refuse(denial, permit.needs().to_vec());
        }
    }
    let (more, denial) = needs.settle();
    let all: Vec<_> = permit.needs().iter().cloned().chain(more).collect();
    match denial {
        Some(denial) => refuse(denial, all),
        None => Decision::Allow(permit.clone().with_needs(all)),
    }
}

fn conditional_reference<'a>(reference: &str, rules: &'a Rules, needs: &mut Needs<'a>) -> Result<(), Denial> {
    let refused = || Denial::Parameter { parameter: "reference".to_owned() };
    let (name, query) = reference.split_once('?').ok_or_else(refused)?;
    let resource = rules.version().resource_type(name).ok_or_else(refused)?;
    let query = SearchQuery::parse(query).map_err(|_| refused())?;
    needs.demand(Some(resource), &[Letter::Search]);
    let types = [resource];
    let mut inspection = Inspection {
        version: rules.version(),
        public_base: &rules.public_base,
        types: &types,
        place: Place::Search,
        needs,
        extent: Reached::Whole,
        duty: &mut SearchDuty::default(),
        added: Vec::new(),
    };
    // It is sent as it stands, so it must be one that needs no rewriting.
    if inspection.query(&query)? == query { Ok(()) } else { Err(refused()) }
}

/// A decision being made.
pub(super) struct Deciding<'r, 'a> {
    pub(super) request: &'r FhirRequest,
    pub(super) needs: Needs<'a>,
    pub(super) facts: &'r Facts,
    pub(super) seen: &'r Seen,
    /// What urns stand for, within a transaction.
    pub(super) urns: Option<&'r Urns>,
}

impl Deciding<'_, '_> {
    pub(super) fn rules(&self) -> &Rules {
        self.needs.holder().rules()
    }

    pub(super) fn resource(&self) -> Option<ResourceType> {
        self.request.asked().resource_type()
    }

    fn duties(&mut self) -> Result<Duties, Stop> {
        match self.request.kind() {
            Kind::Read | Kind::Vread => self.read(),
            Kind::HistoryInstance => self.history(Letter::Read),
            Kind::HistoryType => self.history(Letter::Search),
            Kind::HistorySystem => self.history_system(),
            Kind::SearchType => self.search_type(),
            Kind::SearchSystem => self.search_system(),
            Kind::SearchCompartment => self.search_compartment(),
            Kind::Create => self.create(),
            Kind::Update => self.update(),
            Kind::Patch => self.patch(),
            Kind::UpdateConditional | Kind::PatchConditional | Kind::DeleteConditional => self.conditional(),
            Kind::Delete => self.delete(),
            Kind::Operation => self.operation(),
            // A Bundle without entries to decide on has nothing to do here.
            Kind::Batch | Kind::Capabilities => Err(Denial::InsufficientScope.into()),
        }
    }

    /// CTX-8: a launch encounter that is known to be another patient's makes the token unusable for `patient/` scopes.
    fn context(&mut self) -> Result<(), Stop> {
        let holder = self.needs.holder();
        let (Some(patient), Some(encounter)) = (holder.grant().patient(), holder.narrowing_encounter())
        else {
            return Ok(());
        };
        if !self.needs.granted_by_patient_scopes() {
            return Ok(());
        }
        match self.facts.context(encounter) {
            None => Err(Stop::Ask(vec![Question::Context(encounter.to_owned())])),
            Some(Stored::Present(version)) => {
                let own = version.tree().is_some_and(|tree| {
                    crate::matching::belongs(CompartmentKind::Patient, patient, tree.root(), &self.site())
                });
                if own { Ok(()) } else { Err(Denial::ContradictoryContext.into()) }
            }
            // Nothing is in the compartment of an encounter that there is not.
            Some(Stored::Absent | Stored::Unclear) => Ok(()),
        }
    }

    pub(super) fn site(&self) -> Site<'_> {
        let rules = self.needs.holder().rules();
        Site {
            version: rules.version(),
            public_base: &rules.public_base,
            backend_base: &rules.backend_base,
            urns: self.urns.map(|urns| &urns.0),
        }
    }

    pub(super) fn scene(&self, purpose: Purpose) -> Scene<'_> {
        Scene { site: self.site(), facts: self.facts, purpose }
    }

    /// What the grant reaches of the request's type with a letter; the need is kept by who calls this.
    pub(super) fn reached(&mut self, letter: Letter) -> Access {
        let resource = self.resource();
        self.needs.demand_kept(resource, &[letter]);
        resource.map_or(Access::None, |resource| self.needs.holder().access(resource, &[letter]))
    }

    pub(super) fn unmatched(&self) -> Denial {
        Denial::Unmatched(self.rules().patient.unmatched)
    }

    /// The current version of a resource, asked for when it is not known yet.
    pub(super) fn stored(&self, resource: ResourceType, id: &str) -> Result<&Stored, Stop> {
        let question = || Stop::Ask(vec![Question::Stored(resource, id.to_owned())]);
        self.facts.stored(resource, id).ok_or_else(question)
    }

    /// What the query may say, on these types.
    pub(super) fn inspect(
        &mut self,
        query: &SearchQuery,
        types: &[ResourceType],
        (place, extent): (Place, Reached),
    ) -> Result<(SearchQuery, SearchDuty), Denial> {
        let rules = self.needs.holder().rules();
        let mut duty = SearchDuty { searched: types.to_vec(), ..SearchDuty::default() };
        let mut inspection = Inspection {
            version: rules.version(),
            public_base: &rules.public_base,
            types,
            place,
            needs: &mut self.needs,
            extent,
            duty: &mut duty,
            added: Vec::new(),
        };
        let sent = inspection.query(query)?;
        Ok((sent, duty))
    }

    fn read(&mut self) -> Result<Duties, Stop> {
        let (resource, id) = (self.resource(), self.request.asked().found().id.clone());
        let access = self.reached(Letter::Read);
        let extent = Reached::of(&access);
        let (query, _) = self.inspect(&self.request.query(), &[], (Place::Instance, extent))?;
        let mut duties = Duties::sending(query, self.seen.by(By::Read));
        duties.expects = Expects::Resource(resource, id.clone());
        duties.by = By::Read;
        let (Access::Part(_), Some(resource), Some(id)) = (&access, resource, id) else { return Ok(duties) };
        if resource == ResourceType::BINARY {
            self.needs_settled()?;
            // What an old version belonged to is not known.
            if self.request.kind() == Kind::Vread || !self.reaches_binary(&id, &access)? {
                return Err(self.unmatched().into());
            }
            duties.admit = duties.admit.and_known(resource, &id);
        } else if access.excludes(resource, &id) {
            return Err(self.unmatched().into());
        }
        duties.masks = Some(self.rules().patient.unmatched);
        Ok(duties)
    }

    /// Nothing is asked of the backend on behalf of a grant that does not name what is needed.
    pub(super) fn needs_settled(&self) -> Result<(), Stop> {
        self.needs.denial().map_or(Ok(()), |denial| Err(Stop::Deny(denial)))
    }

    fn history(&mut self, letter: Letter) -> Result<Duties, Stop> {
        let access = self.reached(letter);
        let extent = Reached::of(&access);
        let (query, _) = self.inspect(&self.request.query(), &[], (Place::History, extent))?;
        let by = if letter == Letter::Read { By::Read } else { By::Search };
        let mut duties = Duties::sending(query, self.seen.by(by));
        duties.expects = Expects::Bundle(&["history"]);
        duties.by = by;
        if let (Access::Part(_), Some(resource)) = (&access, self.resource()) {
            duties.search = Some(Arc::new(SearchDuty::default()));
            duties.total = Total::Seen;
            if let Some(id) = &self.request.asked().found().id {
                if access.excludes(resource, id) {
                    return Err(self.unmatched().into());
                }
                duties.masks = Some(self.rules().patient.unmatched);
            }
        }
        Ok(duties)
    }
}
