//! The decision: a total function of request, caller and rules. It reads no clock and waits for nothing.

use http::Method;

use crate::fhir::{
    Asked, Body, BundleAction, BundleRequest, CompartmentKind, FhirRequest, Kind, Letter, Level, NeedOf,
    Parameter, Permission, Reserved, ResourceType, Row, SearchQuery,
};
use crate::policy::denial::{Denial, EntryRefusal, Extent, Need, Refused};
use crate::policy::needs::Needs;
use crate::policy::permit::{Admit, Content, Duties, EntryDuty, Expects, Permit, Total};
use crate::policy::reach::Holder;
use crate::policy::rules::Rules;
use crate::policy::seal::{Leads, Link};
use crate::policy::search::{Inspection, Place, named_types};
use crate::scope::Level as Context;
use crate::token::{Caller, Grant};

/// Yes, with what must be done for it, or no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for the length of one call, most of them the large one"
)]
pub enum Decision {
    /// It may be sent, as the permit says.
    Allow(Permit),
    /// It may not.
    Deny(Refused),
}

/// Decides on a request that was read whole.
#[must_use]
pub fn decide(request: &FhirRequest, caller: &Caller, rules: &Rules) -> Decision {
    let asked = request.asked();
    if asked.kind() == Kind::Capabilities {
        return Decision::Allow(Permit::public(asked.target().query().clone()));
    }
    let Caller::Holder(grant) = caller else { return refuse(Denial::Anonymous, Vec::new()) };
    let holder = Holder::new(grant, rules);
    match request.body() {
        Body::Bundle(bundle) => decide_bundle(bundle, caller, holder),
        Body::Empty | Body::Form(_) | Body::JsonPatch(_) | Body::Raw(_) | Body::Resource(_) => {
            settle(Deciding { request, needs: Needs::new(holder) }, holder)
        }
    }
}

/// Refuses what no body could save: a type that no scope names with the letters of the interaction, an operation
/// without a row. `None` means that it depends on the rest.
#[must_use]
pub fn before_body(asked: &Asked, caller: &Caller, rules: &Rules) -> Option<Refused> {
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

fn level(asked: &Asked) -> Level {
    match (&asked.found().resource_type, &asked.found().id) {
        (None, _) => Level::System,
        (Some(_), None) => Level::Type,
        (Some(_), Some(_)) => Level::Instance,
    }
}

/// Decides on following a sealed link: by its binding and its needs, both as of now (SRCH-25, SRCH-26).
#[must_use]
pub fn decide_link(link: &Link, method: &Method, grant: &Grant, rules: &Rules) -> Decision {
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
        needs.demand(*resource, letters);
    }
    let (needs, denial) = needs.settle();
    if let Some(denial) = denial {
        return refuse(denial, needs);
    }
    let mut duties = Duties::sending(SearchQuery::default(), admitted(holder, None));
    // What this page or status leads to is bound as this link was.
    duties.binding = Some(link.binding.clone());
    match link.leads {
        Leads::Export => {
            duties.expects = Expects::Export;
            duties.admit = Admit::All;
        }
        Leads::Page => {
            duties.expects = Expects::Bundle(&["searchset", "history"]);
            duties.total = if duties.admit == Admit::All { Total::Kept } else { Total::Dropped };
        }
    }
    Decision::Allow(Permit::new(needs, duties))
}

fn refuse(denial: Denial, needs: Vec<Need>) -> Decision {
    Decision::Deny(Refused { denial, needs })
}

fn settle(mut deciding: Deciding<'_, '_>, holder: Holder<'_>) -> Decision {
    let decided = deciding.duties();
    let head = deciding.request.asked().method();
    let (needs, unmet) = deciding.needs.settle();
    match (decided, unmet) {
        // What the client lacks is more use to it than which parameter needed it.
        (Err(denial @ Denial::Chain { .. }), None | Some(Denial::InsufficientScope)) => refuse(denial, needs),
        (_, Some(denial)) | (Err(denial), None) => refuse(denial, needs),
        (Ok(mut duties), None) => {
            duties.binding = Some(crate::policy::Binding::of(holder.grant()));
            // HEAD brings fields and no content, also as an entry of a batch.
            if *head == Method::HEAD {
                duties.expects = Expects::Anything;
            }
            Decision::Allow(Permit::new(needs, duties))
        }
    }
}

/// What may be shown: everything, or the types of which every instance may be read or searched.
fn admitted(holder: Holder<'_>, also: Option<ResourceType>) -> Admit {
    const SEEING: [Letter; 2] = [Letter::Read, Letter::Search];
    if holder.reaches_all(None, &SEEING) {
        return Admit::All;
    }
    let mut types = holder.types_reached(&SEEING);
    types.extend(also.filter(|also| !types.contains(also)));
    Admit::Types(types)
}

fn decide_bundle(bundle: &BundleRequest, caller: &Caller, holder: Holder<'_>) -> Decision {
    let mut entries = Vec::with_capacity(bundle.entries.len());
    let mut needs: Vec<Need> = Vec::new();
    for (index, entry) in bundle.entries.iter().enumerate() {
        let duty = match entry {
            Err(unreadable) => EntryDuty::Refuse(EntryRefusal::Unreadable(unreadable.clone())),
            Ok(request) => match decide_entry(request, bundle.action, caller, holder.rules()) {
                Decision::Allow(permit) => EntryDuty::Forward(Box::new(permit)),
                Decision::Deny(refused) => EntryDuty::Refuse(EntryRefusal::Denied(Box::new(refused))),
            },
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
    let admit = admitted(holder, None);
    let mut duties = Duties::sending(SearchQuery::default(), admit);
    duties.expects = Expects::Bundle(match bundle.action {
        BundleAction::Batch => &["batch-response"],
        BundleAction::Transaction => &["transaction-response"],
    });
    duties.entries = entries;
    duties.binding = Some(crate::policy::Binding::of(holder.grant()));
    Decision::Allow(Permit::new(needs, duties))
}

/// One entry, as if sent alone (REST-30); in a transaction conditional references are searches (REST-16).
fn decide_entry(request: &FhirRequest, action: BundleAction, caller: &Caller, rules: &Rules) -> Decision {
    let decision = decide(request, caller, rules);
    let (BundleAction::Transaction, Caller::Holder(grant), Decision::Allow(permit)) =
        (action, caller, &decision)
    else {
        return decision;
    };
    let mut needs = Needs::new(Holder::new(grant, rules));
    let references =
        request.document().map(crate::fhir::Document::conditional_references).unwrap_or_default();
    for reference in references {
        if let Err(denial) = conditional_reference(&reference, rules, &mut needs) {
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
    };
    // It is sent as it stands, so it must be one that needs no rewriting.
    if inspection.query(&query)? == query { Ok(()) } else { Err(refused()) }
}

/// A decision being made.
struct Deciding<'r, 'a> {
    request: &'r FhirRequest,
    needs: Needs<'a>,
}

impl Deciding<'_, '_> {
    fn rules(&self) -> &Rules {
        self.needs.holder().rules()
    }

    fn resource(&self) -> Option<ResourceType> {
        self.request.asked().resource_type()
    }

    fn duties(&mut self) -> Result<Duties, Denial> {
        match self.request.kind() {
            Kind::Read | Kind::Vread => self.read(),
            Kind::HistoryInstance => self.history(Letter::Read),
            Kind::HistoryType => self.history(Letter::Search),
            Kind::HistorySystem => self.many_types(Place::History),
            Kind::SearchType => self.search_type(),
            Kind::SearchSystem => self.many_types(Place::Search),
            Kind::SearchCompartment => self.search_compartment(),
            Kind::Create => self.write(&[Letter::Create]),
            Kind::Update => self.write(&[Letter::Update]),
            Kind::Patch => self.write(&[Letter::Update]),
            Kind::UpdateConditional | Kind::PatchConditional => self.write(&[Letter::Update, Letter::Search]),
            Kind::Delete => self.write(&[Letter::Delete]),
            Kind::DeleteConditional => self.write(&[Letter::Delete, Letter::Search]),
            Kind::Operation => self.operation(),
            // A Bundle without entries to decide on has nothing to do here.
            Kind::Batch | Kind::Capabilities => Err(Denial::InsufficientScope),
        }
    }

    /// What the query may say, on these types.
    fn inspect(
        &mut self,
        query: &SearchQuery,
        types: &[ResourceType],
        place: Place,
    ) -> Result<SearchQuery, Denial> {
        let rules = self.needs.holder().rules();
        let mut inspection = Inspection {
            version: rules.version(),
            public_base: &rules.public_base,
            types,
            place,
            needs: &mut self.needs,
        };
        inspection.query(query)
    }

    fn read(&mut self) -> Result<Duties, Denial> {
        let resource = self.resource();
        self.needs.demand(resource, &[Letter::Read]);
        let query = self.inspect(&self.request.query(), &[], Place::Instance)?;
        let mut duties = Duties::sending(query, admitted(self.needs.holder(), resource));
        duties.expects = Expects::Resource(resource, self.request.asked().found().id.clone());
        Ok(duties)
    }

    fn history(&mut self, letter: Letter) -> Result<Duties, Denial> {
        let resource = self.resource();
        self.needs.demand(resource, &[letter]);
        let query = self.inspect(&self.request.query(), &[], Place::History)?;
        let mut duties = Duties::sending(query, admitted(self.needs.holder(), resource));
        duties.expects = Expects::Bundle(&["history"]);
        Ok(duties)
    }

    fn search_type(&mut self) -> Result<Duties, Denial> {
        let types: Vec<_> = self.resource().into_iter().collect();
        self.needs.demand(self.resource(), &[Letter::Search]);
        let query = self.inspect(&self.request.query(), &types, Place::Search)?;
        let mut duties = Duties::sending(query, admitted(self.needs.holder(), None));
        duties.expects = Expects::Bundle(&["searchset"]);
        Ok(duties)
    }

    fn search_compartment(&mut self) -> Result<Duties, Denial> {
        let Some((kind, _)) = self.request.asked().found().compartment.clone() else {
            return Err(Denial::InsufficientScope);
        };
        match self.resource() {
            Some(resource) if self.in_compartment(kind, resource) => self.search_type(),
            // A type that is not in the compartment: there is no such search.
            Some(_) => Err(Denial::Parameter { parameter: "compartment".to_owned() }),
            None => self.many_types(Place::Search),
        }
    }

    fn in_compartment(&self, kind: CompartmentKind, resource: ResourceType) -> bool {
        self.rules().version().compartment_parameters(kind, resource).is_some()
    }

    /// Searches and histories over types: each named one is needed, none named means the permitted ones (REST-20).
    fn many_types(&mut self, place: Place) -> Result<Duties, Denial> {
        const SEARCH: [Letter; 1] = [Letter::Search];
        let query = self.request.query();
        let version = self.rules().version();
        let named = named_types(&query, version)?;
        let every = self.needs.may(None, &SEARCH);
        let types = if named.is_empty() { self.searchable(every) } else { named.clone() };
        match (named.is_empty(), every) {
            (true, true) => self.needs.demand(None, &SEARCH),
            (true, false) if types.is_empty() => self.needs.demand(None, &SEARCH),
            _ => types.iter().for_each(|resource| self.needs.demand(Some(*resource), &SEARCH)),
        }
        // `_type` was looked at above; a history has no such parameter in R4, though servers may.
        let rest = query.without(|p| p.name() == "_type");
        let mut sent = self.inspect(&rest, &types, place)?;
        if place == Place::Search && !(named.is_empty() && every) && !types.is_empty() {
            let names: Vec<_> = types.iter().map(|t| t.as_str()).collect();
            sent.push(Parameter::new("_type", names.join(",")));
        }
        let mut duties = Duties::sending(sent, admitted(self.needs.holder(), None));
        duties.expects = Expects::Bundle(match place {
            Place::History => &["history"],
            Place::Search | Place::Operation | Place::Instance => &["searchset"],
        });
        if duties.admit != Admit::All {
            // A backend that ignores `_type` counts what may not be known (SRCH-16).
            duties.total = Total::Dropped;
        }
        Ok(duties)
    }

    /// The types a search without `_type` is narrowed to.
    fn searchable(&self, every: bool) -> Vec<ResourceType> {
        let holder = self.needs.holder();
        let anchor = self.request.asked().found().compartment.as_ref().map(|(kind, _)| *kind);
        let all: Vec<_> = if every {
            holder.rules().version().resource_types().collect()
        } else {
            holder.types_reached(&[Letter::Search])
        };
        all.into_iter().filter(|t| anchor.is_none_or(|kind| self.in_compartment(kind, *t))).collect()
    }

    fn write(&mut self, letters: &[Letter]) -> Result<Duties, Denial> {
        let resource = self.resource();
        for letter in letters {
            self.needs.demand(resource, &[*letter]);
        }
        if resource.is_some_and(|t| t.as_str() == "AuditEvent") {
            return Err(Denial::AuditProtected);
        }
        if self.request.patch_reads() {
            self.needs.demand(resource, &[Letter::Read]);
        }
        self.subscription()?;
        self.provenance()?;
        let types: Vec<_> = resource.into_iter().collect();
        let place = if self.request.kind().is_conditional_write() { Place::Search } else { Place::Instance };
        let query = self.inspect(&self.request.query(), &types, place)?;
        let criteria = self.request.asked().conditions().if_none_exist.clone();
        let criteria = match (criteria, self.request.kind()) {
            (Some(criteria), Kind::Create) => {
                self.needs.demand(resource, &[Letter::Search]);
                Some(self.inspect(&criteria, &types, Place::Search)?)
            }
            _ => None,
        };
        let mut duties = Duties::sending(query, admitted(self.needs.holder(), None));
        duties.if_none_exist = criteria;
        duties.expects = Expects::Written(resource);
        // Writing is not reading (REST-12): without r the content does not come back.
        if !self.needs.may(resource, &[Letter::Read]) {
            duties.content = Content::Withheld;
        }
        Ok(duties)
    }

    /// A subscription delivers what its criteria match, past the gateway (OPS-30).
    fn subscription(&mut self) -> Result<(), Denial> {
        if self.resource().is_none_or(|t| t.as_str() != "Subscription") || !self.request.asked().takes_body()
        {
            return Ok(());
        }
        let document = self.request.document().filter(|d| d.resource_type() == "Subscription");
        let criteria = document.map(|document| document.values_of("criteria")).unwrap_or_default();
        if criteria.is_empty() {
            // A patch, or a topic whose resources are not known here: only who may see everything may have it.
            self.needs.demand(None, &[Letter::Search]);
            self.needs.demand(None, &[Letter::Read]);
        }
        for criterion in criteria {
            let (name, query) = criterion.split_once('?').unwrap_or((&criterion, ""));
            let resource = self.rules().version().resource_type(name).ok_or(Denial::Subscription)?;
            self.needs.demand(Some(resource), &[Letter::Search]);
            self.needs.demand(Some(resource), &[Letter::Read]);
            let query = SearchQuery::parse(query).map_err(|_| Denial::Subscription)?;
            // They are sent as they stand, so they must be such that need no rewriting.
            if self.inspect(&query, &[resource], Place::Search)? != query {
                return Err(Denial::Subscription);
            }
        }
        Ok(())
    }

    /// `X-Provenance` creates a Provenance (REST-24).
    fn provenance(&mut self) -> Result<(), Denial> {
        let Some(text) = self.request.asked().conditions().provenance.clone() else { return Ok(()) };
        let document = crate::fhir::Document::read(
            text.into_bytes().into(),
            crate::fhir::Format::Json,
            crate::fhir::outline::Limits::default(),
        );
        let document = document.map_err(|_| Denial::Provenance)?;
        // It is stored as it stands: no search may hide in it (REST-16).
        if document.resource_type() != "Provenance" || !document.conditional_references().is_empty() {
            return Err(Denial::Provenance);
        }
        let provenance = self.rules().version().resource_type("Provenance");
        self.needs.demand(provenance, &[Letter::Create]);
        Ok(())
    }

    fn operation(&mut self) -> Result<Duties, Denial> {
        let found = self.request.asked().found();
        let name = found.operation.clone().unwrap_or_default();
        let level = level(self.request.asked());
        let row = self.rules().operations.row(&name, level, found.resource_type).cloned();
        let row = row.ok_or_else(|| Denial::OperationUnknown { name: name.clone(), level })?;
        if self.resource().is_some_and(|t| t.as_str() == "AuditEvent")
            && matches!(name.as_str(), "$meta-add" | "$meta-delete")
        {
            return Err(Denial::AuditProtected);
        }
        let input = self.request.document().map(crate::fhir::Document::parameters).unwrap_or_default();
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
            return Err(Denial::OperationReserved { name });
        }
        let types: Vec<_> = self.resource().into_iter().collect();
        let sent = self.inspect(&query, &types, Place::Operation)?;
        self.inspect(&input, &types, Place::Operation)?;
        let mut duties = Duties::sending(sent, admitted(self.needs.holder(), None));
        duties.expects = if name == "$export" { Expects::Export } else { Expects::Anything };
        if row.answer == crate::fhir::Answer::Pass {
            duties.admit = Admit::All;
        }
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

    /// Whether the row lets this kind of grant invoke it.
    fn open_to_grant(&self, row: &Row, named: &[ResourceType]) -> bool {
        let holder = self.needs.holder();
        let granted_by = |wanted: fn(Context) -> bool| {
            row.needs.iter().all(|need| {
                self.of(need.of, named).into_iter().all(|resource| {
                    need.letters.iter().any(|letter| {
                        holder.reach(resource, *letter).all.iter().any(|scope| wanted(scope.level()))
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
            Reserved::Unconstrained => in_full() || self.needs.iter().any(|n| n.granted.is_none()),
            Reserved::NotPatient => granted_by(|level| level != Context::Patient) || self.nothing_granted(),
            Reserved::SystemOnly => granted_by(|level| level == Context::System) || self.nothing_granted(),
        }
    }

    fn nothing_granted(&self) -> bool {
        self.needs.iter().any(|need| need.granted.is_none())
    }
}
