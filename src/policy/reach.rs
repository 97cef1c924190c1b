//! What a grant reaches: type and letter → the scopes that grant it, and on which terms.
//!
//! Grants are alternatives (SCOPE-24). An alternative without any term makes the request unconstrained (SCOPE-45).
//! What a scope cannot be used for is remembered with the reason, so that a refusal can say more than "no".

use std::sync::Arc;

use crate::fhir::{CompartmentKind, Letter, Parameter, ResourceType};
use crate::matching::Criterion;
use crate::policy::rules::{EncounterContext, Limit, LinkedPatients, Rules};
use crate::policy::template;
use crate::policy::term::{Access, Alternative, Term};
use crate::scope::{Level, Scope};
use crate::token::{Grant, LaunchContext, UserContext, UserType};

/// A grant together with the rules it is read by.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    grant: &'a Grant,
    rules: &'a Arc<Rules>,
}

/// What the grant reaches of a type with one letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach<'a> {
    /// Scopes that grant every instance.
    pub all: Vec<&'a Scope>,
    /// Scopes that grant some instances, and on which terms: one of the alternatives must hold.
    pub limited: Vec<(&'a Scope, Vec<Alternative>)>,
    /// Why scopes that name type and letter grant nothing.
    pub barred: Vec<Barred>,
}

/// Why a scope that names type and letter grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// `patient/` without a usable launch patient (CTX-1).
    NoLaunchPatient,
    /// `patient/` while the launch encounter is unusable and would narrow (CTX-3, CTX-6).
    NoLaunchEncounter,
    /// `patient/` on a type outside the compartment that is not shared, or is written (COMP-8).
    OutsideCompartment,
    /// A parameter that the type does not define, or that nobody can verify (SCOPE-48, SCOPE-50).
    ParameterUnusable,
    /// A `[[rule]]` names a claim that the token does not have.
    ClaimMissing,
    /// `user/` while `fhirUser` is a Patient that is nobody here, or cannot be read.
    NoUser,
}

impl Barred {
    /// Why, for who reads the configuration or a token.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::NoLaunchPatient => "the token has no usable launch patient",
            Self::NoLaunchEncounter => "the token's launch encounter cannot be used",
            Self::OutsideCompartment => "the type is outside the patient compartment, or is written",
            Self::ParameterUnusable => "a parameter is not defined for the type, or nobody can verify it",
            Self::ClaimMissing => "a rule needs a claim that the token does not have",
            Self::NoUser => "the token's user is nobody here",
        }
    }
}

/// How much of what it names one scope grants: any of these alternatives. One without terms is everything.
type Part = Result<Vec<Vec<Term>>, Barred>;

impl Reach<'_> {
    /// What is reached, by all its scopes together.
    #[must_use]
    pub fn access(&self) -> Access {
        if !self.all.is_empty() {
            return Access::Whole;
        }
        self.limited
            .iter()
            .flat_map(|(_, alternatives)| alternatives.iter().cloned())
            .collect::<Vec<_>>()
            .into()
    }
}

impl<'a> Holder<'a> {
    /// The grant read by these rules.
    #[must_use]
    pub fn new(grant: &'a Grant, rules: &'a Arc<Rules>) -> Self {
        Self { grant, rules }
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> &'a Grant {
        self.grant
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &'a Arc<Rules> {
        self.rules
    }

    /// What is reached of a type; no type stands for all of them.
    #[must_use]
    pub fn reach(&self, resource: Option<ResourceType>, letter: Letter) -> Reach<'a> {
        let mut reach = Reach::default();
        for scope in self.grant.scopes().naming(resource) {
            if !scope.covers(resource, letter) {
                continue;
            }
            match self.part(scope, resource, letter) {
                Ok(part) if part.iter().any(Vec::is_empty) => reach.all.push(scope),
                Ok(part) => reach.limited.push((scope, part.into_iter().map(Alternative::new).collect())),
                Err(why) => reach.barred.push(why),
            }
        }
        reach
    }

    /// What is reached of a type with any of these letters.
    #[must_use]
    pub fn access(&self, resource: ResourceType, letters: &[Letter]) -> Access {
        letters.iter().fold(Access::None, |access, letter| {
            if access == Access::Whole {
                access
            } else {
                access.or(&self.reach(Some(resource), *letter).access())
            }
        })
    }

    /// Whether every instance of the type is reached by one of the letters.
    #[must_use]
    pub fn reaches_all(&self, resource: Option<ResourceType>, letters: &[Letter]) -> bool {
        letters.iter().any(|letter| !self.reach(resource, *letter).all.is_empty())
    }

    /// Whether something of the type is reached by one of the letters.
    #[must_use]
    pub fn reaches_some(&self, resource: ResourceType, letters: &[Letter]) -> bool {
        letters.iter().any(|letter| {
            let reach = self.reach(Some(resource), *letter);
            !reach.all.is_empty() || !reach.limited.is_empty()
        })
    }

    /// The types of which some instance is reached by one of the letters.
    #[must_use]
    pub fn types_reached(&self, letters: &[Letter]) -> Vec<ResourceType> {
        let version = self.rules.version();
        version.resource_types().filter(|resource| self.reaches_some(*resource, letters)).collect()
    }

    /// The launch encounter, where it narrows (CTX-5).
    #[must_use]
    pub fn narrowing_encounter(&self) -> Option<&'a str> {
        let narrows = self.rules.patient.encounter == EncounterContext::Restrict;
        self.grant.encounter().filter(|_| narrows)
    }

    fn part(&self, scope: &Scope, resource: Option<ResourceType>, letter: Letter) -> Part {
        let contexts = match scope.level() {
            Level::System => vec![Vec::new()],
            Level::User => self.user(resource, letter)?,
            Level::Patient => self.patient(resource, letter)?,
        };
        let mut common = self.criteria(resource, scope.only().iter())?;
        common.extend(self.ruled(scope.level(), resource)?);
        let joined = |mut terms: Vec<Term>| {
            terms.extend(common.iter().cloned());
            terms
        };
        Ok(contexts.into_iter().map(joined).collect())
    }

    /// Parameters as terms. For all types at once they are only known to limit.
    fn criteria<'p>(
        &self,
        resource: Option<ResourceType>,
        parameters: impl Iterator<Item = &'p Parameter>,
    ) -> Result<Vec<Term>, Barred> {
        let Some(resource) = resource else {
            return Ok(parameters.map(|_| self.unspecified()).collect());
        };
        let version = self.rules.version();
        let criterion = |parameter: &Parameter| {
            // A result parameter never comes here: the grammar refuses it (SCOPE-49).
            Criterion::new(version, resource, parameter).map(Term::Matches)
        };
        parameters.map(criterion).collect::<Result<_, _>>().map_err(|_| Barred::ParameterUnusable)
    }

    /// Stands for "some limit" where no type is named; such a reach is never evaluated on a resource.
    fn unspecified(&self) -> Term {
        Term::Compartment(CompartmentKind::Patient, self.grant.patient().unwrap_or_default().to_owned())
    }

    /// `user/`: everything, unless the user is a patient.
    fn user(&self, resource: Option<ResourceType>, letter: Letter) -> Part {
        match self.grant.user() {
            UserContext::Absent => Ok(vec![Vec::new()]),
            UserContext::Local(user) if user.kind() == UserType::Patient => {
                if self.outside_compartment(resource) {
                    return Err(Barred::OutsideCompartment);
                }
                Ok(self.of_patient(resource, user.id(), letter))
            }
            UserContext::Local(_) => Ok(vec![Vec::new()]),
            UserContext::Foreign(UserType::Patient) | UserContext::Invalid => Err(Barred::NoUser),
            UserContext::Foreign(
                UserType::Person
                | UserType::Practitioner
                | UserType::PractitionerRole
                | UserType::RelatedPerson,
            ) => Ok(vec![Vec::new()]),
        }
    }

    /// `patient/`: the compartment of the launch patient, and reading of shared types.
    fn patient(&self, resource: Option<ResourceType>, letter: Letter) -> Part {
        let Some(patient) = self.grant.patient() else { return Err(Barred::NoLaunchPatient) };
        let narrows = self.rules.patient.encounter == EncounterContext::Restrict;
        if narrows && *self.grant.encounter_context() == LaunchContext::Invalid {
            return Err(Barred::NoLaunchEncounter);
        }
        let reads = matches!(letter, Letter::Read | Letter::Search);
        if !self.outside_compartment(resource) {
            let mut part = self.of_patient(resource, patient, letter);
            let encounter =
                self.narrowing_encounter().filter(|_| resource.is_some_and(|r| self.of_encounters(r)));
            if let Some(encounter) = encounter {
                let term = Term::Compartment(CompartmentKind::Encounter, encounter.to_owned());
                part.iter_mut().for_each(|terms| terms.push(term.clone()));
            }
            if letter == Letter::Create && resource == Some(ResourceType::PATIENT) {
                // COMP-11: a new Patient is another one.
                return Err(Barred::OutsideCompartment);
            }
            return Ok(part);
        }
        let Some(resource) = resource.filter(|_| reads) else { return Err(Barred::OutsideCompartment) };
        if resource == ResourceType::BINARY && letter == Letter::Read {
            // OPS-40: what it belongs to is found out for each.
            return Ok(vec![vec![self.unspecified()]]);
        }
        if !self.rules.patient.shared_types.contains(&resource) {
            return Err(Barred::OutsideCompartment);
        }
        self.shared(resource, patient)
    }

    /// COMP-9: devices may belong to a patient.
    fn shared(&self, resource: ResourceType, patient: &str) -> Part {
        let version = self.rules.version();
        if resource != ResourceType::DEVICE || version.search_parameter(resource, "patient").is_none() {
            return Ok(vec![Vec::new()]);
        }
        let unassigned = Parameter::new("patient:missing", "true");
        let own = Parameter::new("patient", format!("Patient/{patient}"));
        [unassigned, own]
            .iter()
            .map(|parameter| self.criteria(Some(resource), [parameter].into_iter()))
            .collect()
    }

    /// The compartment of a patient, and Patients that link to it where those are shown (COMP-6).
    fn of_patient(&self, resource: Option<ResourceType>, patient: &str, letter: Letter) -> Vec<Vec<Term>> {
        let own = vec![Term::Compartment(CompartmentKind::Patient, patient.to_owned())];
        let links = self.rules.patient.linked == LinkedPatients::Visible;
        let reads = matches!(letter, Letter::Read | Letter::Search);
        if !links || !reads || resource != Some(ResourceType::PATIENT) {
            return vec![own];
        }
        let link = Parameter::new("link", format!("Patient/{patient}"));
        let linked = self.criteria(resource, [&link].into_iter()).unwrap_or_default();
        if linked.is_empty() { vec![own] } else { vec![own, linked] }
    }

    fn outside_compartment(&self, resource: Option<ResourceType>) -> bool {
        let version = self.rules.version();
        resource.is_some_and(|resource| {
            resource != ResourceType::PATIENT
                && version
                    .compartment_parameters(CompartmentKind::Patient, resource)
                    .is_none_or(<[_]>::is_empty)
        })
    }

    /// Whether the type has a place in encounters' compartments (CTX-7).
    fn of_encounters(&self, resource: ResourceType) -> bool {
        resource == ResourceType::ENCOUNTER
            || self
                .rules
                .version()
                .compartment_parameters(CompartmentKind::Encounter, resource)
                .is_some_and(|by| !by.is_empty())
    }

    /// What the `[[rule]]`s demand of this context for the type.
    fn ruled(&self, level: Level, resource: Option<ResourceType>) -> Result<Vec<Term>, Barred> {
        let mut terms = Vec::new();
        let rules = self.rules.limits.iter().filter(|rule| rule.contexts.contains(&level));
        // Most rules are about other types: that is seen before any claim is looked at.
        let about =
            |limit: &Limit| resource.is_none() || limit.resource.is_none() || limit.resource == resource;
        let rules = rules.filter(|rule| rule.limit.iter().any(about));
        let rules =
            rules.filter(|rule| rule.when.as_ref().is_none_or(|when| when.holds(self.grant.claims())));
        for limit in rules.flat_map(|rule| &rule.limit) {
            match (limit.resource, resource) {
                (Some(of), Some(resource)) if of != resource => continue,
                (_, None) => terms.push(self.unspecified()),
                (_, Some(_)) => {
                    let filled = template::filled(&limit.only, self.grant).ok_or(Barred::ClaimMissing)?;
                    terms.extend(self.criteria(resource, filled.iter())?);
                }
            }
        }
        Ok(terms)
    }
}
