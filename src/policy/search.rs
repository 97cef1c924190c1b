//! What the parameters of a search need, and which of them are let through (SRCH-0 … SRCH-28).
//!
//! Every parameter that reads or returns a resource of another type than the searched one discloses it. A forward edge
//! (a chain) needs r or s of the type it leads to, a reverse edge (`_has`) needs s of the type it comes from. Where the
//! grant reaches only a part of that type, a predicate over instances out of sight is an oracle: then the edge is
//! followed only if what it led to can be held against the grant on what comes back.

use crate::fhir::{
    CompartmentKind, FhirVersion, Letter, Parameter, ResourceType, SearchParameterKind, SearchQuery,
};
use crate::matching::{Criterion, Means};
use crate::policy::denial::Denial;
use crate::policy::needs::Needs;
use crate::policy::permit::{Counting, Join, SearchDuty};
use crate::policy::plan::names_member;
use crate::policy::term::Access;

/// Where a query stands: which parameters make sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A search, or the criteria of a conditional interaction.
    Search,
    /// A history.
    History,
    /// An operation's input.
    Operation,
    /// A read or a write.
    Instance,
}

/// Parameters that shape any answer.
const ANYWHERE: &[&str] = &["_elements", "_format", "_pretty", "_summary"];
/// Parameters that shape or page a search result; values need no look.
const RESULT: &[&str] =
    &["_contained", "_containedType", "_count", "_maxresults", "_offset", "_score", "_total", "_type"];
/// Parameters that select by metadata of the searched resource itself.
const META: &[&str] =
    &["_content", "_id", "_language", "_lastUpdated", "_profile", "_security", "_source", "_tag", "_text"];
/// Parameters of histories (FHIR R4 §3.1.0.14).
const HISTORY: &[&str] = &["_at", "_count", "_list", "_since", "_sort"];
/// Parameters of operations as delivered that begin with `_`.
const OPERATION: &[&str] = &["_count", "_outputFormat", "_since", "_type", "_typeFilter", "_until"];

/// Cursors that servers put into their page links. To a grant for everything they show nothing new, and its answers
/// stream with their links readable; to any other grant links come sealed, and raw cursors are refused (SRCH-25).
const CURSORS: &[&str] = &[
    "__page-id",
    "__t",
    "__token",
    "_bundletype",
    "_continuation",
    "_cursor",
    "_getpages",
    "_getpagesoffset",
    "_page",
    "_pageId",
    "_skip",
    "_skiptoken",
    "_token",
];

/// Modifiers that compare elements of the searched resource (SRCH-2 … SRCH-4), R4 to R5.
const MODIFIERS: &[&str] = &[
    "above",
    "below",
    "code-text",
    "contains",
    "exact",
    "identifier",
    "in",
    "missing",
    "not",
    "not-in",
    "of-type",
    "text",
    "text-advanced",
];

/// Where canonical URLs of value sets may point for `:in` and `:not-in`: what a server resolves from what it holds.
/// Another host could make the backend fetch from it (SRCH-2).
const VALUE_SETS: &[&str] = &[
    "http://hl7.org/fhir/",
    "http://terminology.hl7.org/",
    "http://loinc.org/",
    "http://snomed.info/",
    "http://cts.nlm.nih.gov/fhir/",
    "http://fhir.de/",
    "https://gematik.de/fhir/",
    "https://fhir.kbv.de/",
    "https://www.medizininformatik-initiative.de/fhir/",
    "urn:",
];

/// Longest chain that is followed: each step multiplies what a backend has to join.
const STEPS: usize = 6;

/// Looks at the parameters of one query on these types.
pub(super) struct Inspection<'n, 'a> {
    pub(super) version: FhirVersion,
    pub(super) public_base: &'a str,
    pub(super) types: &'n [ResourceType],
    pub(super) place: Place,
    pub(super) needs: &'n mut Needs<'a>,
    /// Whether the grant reaches what is asked for in part only.
    pub(super) extent: Reached,
    /// What the matches are held against, on account of the parameters.
    pub(super) duty: &'n mut SearchDuty,
    /// What is asked besides, so that a parameter reaches nothing out of sight.
    pub(super) added: Vec<Parameter>,
}

/// How much of what a request is about the grant reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Some instances.
    Part,
    /// All.
    Whole,
}

impl Inspection<'_, '_> {
    /// The query as it may be sent on, with what it needs added to the needs.
    pub(super) fn query(&mut self, query: &SearchQuery) -> Result<SearchQuery, Denial> {
        let mut sent = SearchQuery::default();
        for parameter in query {
            if let Some(parameter) = self.parameter(parameter)? {
                sent.push(parameter);
            }
        }
        for parameter in std::mem::take(&mut self.added) {
            if !sent.iter().any(|asked| *asked == parameter) {
                sent.push(parameter);
            }
        }
        Ok(sent)
    }

    fn parameter(&mut self, parameter: &Parameter) -> Result<Option<Parameter>, Denial> {
        let same = || Ok(Some(parameter.clone()));
        let refused = || Err(Denial::Parameter { parameter: parameter.name().to_owned() });
        let code = parameter.code();
        // A credential is never sent on, whoever's it is (TOK-2).
        if code.eq_ignore_ascii_case("access_token") {
            return refused();
        }
        if ANYWHERE.contains(&code) {
            return if parameter.name() == code { Ok(self.shaping(parameter)) } else { refused() };
        }
        match self.place {
            Place::Instance if code.starts_with('_') => refused(),
            // Reads and writes take no search parameters; what has no meaning is not sent.
            Place::Instance => Ok(None),
            Place::History if code == "_list" => self.list(parameter).map(|()| Some(parameter.clone())),
            Place::History if HISTORY.contains(&parameter.name()) => same(),
            Place::History if code.starts_with('_') => refused(),
            Place::History => Ok(None),
            Place::Operation if OPERATION.contains(&parameter.name()) => {
                self.type_filter(parameter).and_then(|()| same())
            }
            Place::Operation if code.starts_with('_') && code != "_has" && !META.contains(&code) => refused(),
            Place::Operation | Place::Search => self.search(parameter),
        }
    }

    /// A parameter that only shapes the answer. What must be checked is asked for whole, and counted here: a server may
    /// decline `_elements` and `_summary`, and what was left out could be what the check needs (SRCH-15, SRCH-17).
    fn shaping(&mut self, parameter: &Parameter) -> Option<Parameter> {
        let shapes = matches!(parameter.name(), "_elements" | "_summary");
        if self.extent == Reached::Whole || !shapes {
            return Some(parameter.clone());
        }
        if parameter.name() == "_summary" && parameter.value() == "count" && self.place == Place::Search {
            self.duty.counting = Counting::Only;
        }
        None
    }

    fn search(&mut self, parameter: &Parameter) -> Result<Option<Parameter>, Denial> {
        let (name, code) = (parameter.name(), parameter.code());
        let refused = || Err(Denial::Parameter { parameter: name.to_owned() });
        match code {
            "_include" | "_revinclude" => match parameter.modifier() {
                // What they bring is checked entry by entry (SRCH-7, SRCH-8).
                None | Some("iterate" | "recurse") if parameter.chain().is_none() => {
                    self.brings(parameter);
                    Ok(Some(parameter.clone()))
                }
                _ => refused(),
            },
            // What is contained in another resource cannot be placed (SRCH-13).
            "_contained" | "_containedType"
                if self.extent == Reached::Part && !matches!(parameter.value(), "" | "false") =>
            {
                refused()
            }
            "_count" if self.extent == Reached::Part && parameter.value().trim() == "0" => {
                self.duty.counting = Counting::Only;
                Ok(None)
            }
            "_count" if name == "_count" => {
                self.duty.count = parameter.value().trim().parse().ok();
                Ok(Some(parameter.clone()))
            }
            "_sort" if name == "_sort" => {
                self.duty.sort.extend(parameter.value().split(',').map(str::to_owned));
                self.sort(parameter)
            }
            "_list" if name == "_list" => self.list(parameter).map(|()| Some(parameter.clone())),
            "_has" if !name.starts_with("_has:") => refused(),
            "_has" => self.path(name, self.types, STEPS, parameter).map(|_| Some(parameter.clone())),
            _ if RESULT.contains(&name) => Ok(Some(parameter.clone())),
            _ if CURSORS.contains(&name) && self.sees_everything() => Ok(Some(parameter.clone())),
            _ if META.contains(&code) || !code.starts_with('_') => {
                let name = self.path(name, self.types, STEPS, parameter)?;
                self.pin(parameter);
                Ok(Some(Parameter::new(name, parameter.value())))
            }
            _ => refused(),
        }
    }

    /// SRCH-8: what comes by a reverse include was enumerated, so it needs s.
    fn brings(&mut self, parameter: &Parameter) {
        if parameter.code() != "_revinclude" {
            return;
        }
        let source = parameter.value().split(':').next().unwrap_or("");
        let named = self.version.resource_type(source);
        let reversed: Vec<_> = match named {
            Some(named) => vec![named],
            None => self.version.resource_types().collect(),
        };
        self.duty.reversed.extend(reversed);
    }

    /// SRCH-19: the client's own literal reference into the compartment is verified on the matches as well, so that a
    /// search for somebody else's data stays empty whatever the backend makes of it.
    fn pin(&mut self, parameter: &Parameter) {
        let ([resource], Reached::Part) = (self.types, self.extent) else { return };
        let kind = CompartmentKind::Patient;
        let nominated = self.version.compartment_parameters(kind, *resource).unwrap_or_default();
        let literal = match parameter.modifier() {
            None => true,
            Some(modifier) => self.version.resource_type(modifier).is_some(),
        };
        if !literal || parameter.chain().is_some() || !names_member(parameter.code(), kind, nominated) {
            return;
        }
        if let Ok(criterion) = Criterion::new(self.version, *resource, parameter)
            && criterion.means() == Means::Here
        {
            self.duty.pins.push(criterion);
        }
    }

    fn sees_everything(&self) -> bool {
        self.needs.may(None, &[Letter::Search]) && self.needs.may(None, &[Letter::Read])
    }

    /// Follows a parameter's name on these types; gives it back as it may be sent.
    fn path(
        &mut self,
        name: &str,
        types: &[ResourceType],
        steps: usize,
        parameter: &Parameter,
    ) -> Result<String, Denial> {
        let chain = || Denial::Chain { parameter: parameter.name().to_owned() };
        let steps = steps.checked_sub(1).ok_or_else(chain)?;
        if let Some(rest) = name.strip_prefix("_has:") {
            return self.reverse(rest, types, steps, parameter).map(|rest| format!("_has:{rest}"));
        }
        let Some((link, rest)) = name.split_once('.') else {
            self.plain(name, types, parameter)?;
            return Ok(name.to_owned());
        };
        let (code, named) = link.split_once(':').map_or((link, None), |(code, named)| (code, Some(named)));
        let targets = self.targets(code, named, types).ok_or_else(chain)?;
        let seen: Vec<_> = targets
            .iter()
            .copied()
            .filter(|t| self.needs.may(Some(*t), &[Letter::Read, Letter::Search]))
            .collect();
        if seen.len() == targets.len() {
            for target in &targets {
                self.needs.demand(Some(*target), &[Letter::Read, Letter::Search]);
            }
            let rest = self.path(rest, &targets, steps, parameter)?;
            return Ok(format!("{link}.{rest}"));
        }
        // SRCH-5: where the grant reaches one type only of those it can mean, an untyped chain is kept to that one.
        let next = rest.split([':', '.']).next().unwrap_or("");
        let holder = self.needs.holder();
        let some = |t: &&ResourceType| holder.reaches_some(**t, &[Letter::Read, Letter::Search]);
        let defined = |t: &&ResourceType| self.version.search_parameter(**t, next).is_some();
        let reached: Vec<ResourceType> = targets.iter().filter(some).copied().collect();
        let meant: Vec<ResourceType> = if reached == targets {
            targets.clone()
        } else {
            reached.iter().filter(defined).copied().collect()
        };
        if meant != targets && (meant.len() != 1 || named.is_some()) {
            for target in targets {
                self.needs.demand(Some(target), &[Letter::Read, Letter::Search]);
            }
            return Err(chain());
        }
        for target in &meant {
            self.needs.demand(Some(*target), &[Letter::Read, Letter::Search]);
            if !seen.contains(target) {
                self.join(code, *target, (types, rest)).ok_or_else(chain)?;
            }
        }
        let rest = self.path(rest, &meant, steps, parameter)?;
        match meant.as_slice() {
            [target] if meant != targets || named.is_some() => Ok(format!("{code}:{target}.{rest}")),
            _ => Ok(format!("{link}.{rest}")),
        }
    }

    /// A chain into a type that is reached in part: one step, from the searched type, and what it leads to is held
    /// against the grant on what comes back (SRCH-5).
    fn join(
        &mut self,
        code: &str,
        target: ResourceType,
        (types, rest): (&[ResourceType], &str),
    ) -> Option<()> {
        let ([from], true) = (types, types == self.types) else { return None };
        if rest.contains('.') || rest.starts_with("_has:") || self.place != Place::Search {
            return None;
        }
        self.needs.keep(Some(target), &[Letter::Read, Letter::Search]);
        self.duty.joins.push(Join { from: *from, code: code.to_owned(), to: target });
        Some(())
    }

    /// `B:ref:rest` of a `_has` (SRCH-6).
    fn reverse(
        &mut self,
        rest: &str,
        types: &[ResourceType],
        steps: usize,
        parameter: &Parameter,
    ) -> Result<String, Denial> {
        let chain = || Denial::Chain { parameter: parameter.name().to_owned() };
        let mut parts = rest.splitn(3, ':');
        let (Some(from), Some(link), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(chain());
        };
        let source = self.version.resource_type(from).ok_or_else(chain)?;
        let leads_here = self
            .targets(link, None, &[source])
            .is_some_and(|targets| targets.iter().any(|target| types.contains(target)));
        if !leads_here {
            return Err(chain());
        }
        self.needs.demand(Some(source), &[Letter::Search]);
        let plain = !rest.contains('.') && !rest.starts_with("_has:");
        let patient = self.only_of_patient(source, link).filter(|_| plain && types == self.types);
        if let Some(patient) = patient {
            self.needs.keep(Some(source), &[Letter::Search]);
            self.only(Parameter::new("_id", patient));
        } else if matches!(self.needs.holder().access(source, &[Letter::Search]), Access::Part(_)) {
            return Err(chain());
        }
        let rest = self.path(rest, &[source], steps, parameter)?;
        Ok(format!("{from}:{link}:{rest}"))
    }

    /// SRCH-6: the one Patient that can be found through a type of which the grant reaches that patient's compartment:
    /// what points at it by a parameter of the compartment is in it, and of others nothing is in sight.
    fn only_of_patient(&self, source: ResourceType, link: &str) -> Option<String> {
        let kind = CompartmentKind::Patient;
        let by = self.version.compartment_parameters(kind, source)?;
        let access = self.needs.holder().access(source, &[Letter::Search]);
        // Other alternatives reach more, of which nobody can say whose it is: nothing is asked for by them.
        let mut patients = access.alternatives().iter().filter(|it| it.is_compartment(kind));
        let patient = patients.next()?.patient()?.to_owned();
        let same = patients.all(|alternative| alternative.patient() == Some(&patient));
        let found = self.types == [ResourceType::PATIENT] && names_member(link, kind, by);
        (same && found).then_some(patient)
    }

    /// Asks for no more than this, and holds the matches against it.
    fn only(&mut self, parameter: Parameter) {
        if let [resource] = self.types
            && let Ok(criterion) = Criterion::new(self.version, *resource, &parameter)
        {
            self.duty.pins.push(criterion);
        }
        self.added.push(parameter);
    }

    /// The types a reference parameter leads to.
    fn targets(&self, code: &str, named: Option<&str>, types: &[ResourceType]) -> Option<Vec<ResourceType>> {
        let mut targets: Vec<ResourceType> = types
            .iter()
            .filter_map(|t| self.version.search_parameter(*t, code))
            .filter(|p| p.kind == SearchParameterKind::Reference)
            .flat_map(|p| p.targets.iter().copied())
            .collect();
        targets.sort_unstable();
        targets.dedup();
        if let Some(named) = named {
            let named = self.version.resource_type(named)?;
            targets.retain(|target| *target == named);
        }
        (!targets.is_empty()).then_some(targets)
    }

    /// A parameter that compares elements of these types themselves (SRCH-1 … SRCH-4).
    fn plain(&mut self, name: &str, types: &[ResourceType], parameter: &Parameter) -> Result<(), Denial> {
        let refused = || Denial::Parameter { parameter: parameter.name().to_owned() };
        let Some((code, modifier)) = name.split_once(':') else { return Ok(()) };
        if matches!(modifier, "in" | "not-in") && !self.local_value_sets(parameter) {
            return Err(refused());
        }
        let is_type = || {
            self.version.resource_type(modifier).is_some()
                && types.iter().all(|t| {
                    self.version
                        .search_parameter(*t, code)
                        .is_none_or(|p| p.kind == SearchParameterKind::Reference)
                })
        };
        if MODIFIERS.contains(&modifier) || is_type() { Ok(()) } else { Err(refused()) }
    }

    fn local_value_sets(&self, parameter: &Parameter) -> bool {
        parameter.alternatives().all(|value| {
            !value.contains("://") && !value.starts_with("//")
                || VALUE_SETS.iter().any(|known| value.starts_with(known))
                || value.strip_prefix(self.public_base).is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// SRCH-14: sorting over a chain reads what the chain leads to.
    fn sort(&mut self, parameter: &Parameter) -> Result<Option<Parameter>, Denial> {
        for key in parameter.value().split(',') {
            let key = key.strip_prefix('-').unwrap_or(key);
            if key.contains('.') {
                self.path(key, self.types, STEPS, parameter)?;
            }
        }
        Ok(Some(parameter.clone()))
    }

    /// SRCH-11: a list's members are a disclosure of the list.
    fn list(&mut self, parameter: &Parameter) -> Result<(), Denial> {
        if parameter.name() != "_list" || parameter.value().contains('$') {
            return Err(Denial::Parameter { parameter: parameter.name().to_owned() });
        }
        let list = self.version.resource_type("List");
        self.needs.demand(list, &[Letter::Read, Letter::Search]);
        Ok(())
    }

    /// The inner queries of an export.
    fn type_filter(&mut self, parameter: &Parameter) -> Result<(), Denial> {
        if parameter.name() != "_typeFilter" {
            return Ok(());
        }
        let refused = || Denial::Parameter { parameter: parameter.name().to_owned() };
        for filter in parameter.alternatives() {
            let (name, inner) = filter.split_once('?').ok_or_else(refused)?;
            let resource = self.version.resource_type(name).ok_or_else(refused)?;
            let inner = SearchQuery::parse(inner).map_err(|_| refused())?;
            self.needs.demand(Some(resource), &[Letter::Search]);
            let types = [resource];
            let mut inspection = Inspection {
                version: self.version,
                public_base: self.public_base,
                types: &types,
                place: Place::Search,
                needs: &mut *self.needs,
                extent: self.extent,
                duty: &mut *self.duty,
                added: Vec::new(),
            };
            if inspection.query(&inner)? != inner {
                return Err(refused());
            }
        }
        Ok(())
    }
}

/// The types that `_type` names, or a refusal when one is unknown.
pub(super) fn named_types(query: &SearchQuery, version: FhirVersion) -> Result<Vec<ResourceType>, Denial> {
    let refused = || Denial::Parameter { parameter: "_type".to_owned() };
    let mut named = query.iter().filter(|p| p.name() == "_type" && !p.value().is_empty());
    let Some(parameter) = named.next() else { return Ok(Vec::new()) };
    // Repeats mean AND, which no server reads alike.
    if named.next().is_some() {
        return Err(refused());
    }
    parameter.value().split(',').map(|name| version.resource_type(name).ok_or_else(refused)).collect()
}
