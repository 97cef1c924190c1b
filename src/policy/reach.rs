//! What a grant reaches: type and letter → the scopes that grant it, and whether one of them grants all of it.
//!
//! Grants are alternatives (SCOPE-24). An alternative without any limit makes the request unconstrained (SCOPE-45).
//! What a scope cannot be used for is remembered with the reason, so that a refusal can say more than "no".

use crate::fhir::{CompartmentKind, Letter, ResourceType};
use crate::policy::rules::{EncounterContext, Rules};
use crate::scope::{Level, Scope};
use crate::token::{Grant, LaunchContext, UserContext, UserType};

/// A grant together with the rules it is read by.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    grant: &'a Grant,
    rules: &'a Rules,
}

/// What the grant reaches of a type with one letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach<'a> {
    /// Scopes that grant every instance.
    pub all: Vec<&'a Scope>,
    /// Scopes that grant some instances: by compartment, parameters or rules.
    pub limited: Vec<&'a Scope>,
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
    /// A parameter that the type does not define (SCOPE-50).
    ParameterUnknown,
    /// `user/` while `fhirUser` is a Patient that is nobody here, or cannot be read.
    NoUser,
}

/// How much of what it names one scope grants.
enum Part {
    All,
    Limited,
    Nothing(Barred),
}

impl<'a> Holder<'a> {
    /// The grant read by these rules.
    #[must_use]
    pub fn new(grant: &'a Grant, rules: &'a Rules) -> Self {
        Self { grant, rules }
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> &'a Grant {
        self.grant
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &'a Rules {
        self.rules
    }

    /// What is reached of a type; no type stands for all of them.
    #[must_use]
    pub fn reach(&self, resource: Option<ResourceType>, letter: Letter) -> Reach<'a> {
        let mut reach = Reach::default();
        for scope in self.grant.scopes().granted() {
            if !scope.covers(resource, letter) {
                continue;
            }
            match self.part(scope, resource, letter) {
                Part::All => reach.all.push(scope),
                Part::Limited => reach.limited.push(scope),
                Part::Nothing(why) => reach.barred.push(why),
            }
        }
        reach
    }

    /// Whether every instance of the type is reached by one of the letters.
    #[must_use]
    pub fn reaches_all(&self, resource: Option<ResourceType>, letters: &[Letter]) -> bool {
        letters.iter().any(|letter| !self.reach(resource, *letter).all.is_empty())
    }

    /// The types of which every instance is reached by one of the letters.
    #[must_use]
    pub fn types_reached(&self, letters: &[Letter]) -> Vec<ResourceType> {
        self.rules
            .version()
            .resource_types()
            .filter(|resource| self.reaches_all(Some(*resource), letters))
            .collect()
    }

    fn part(&self, scope: &Scope, resource: Option<ResourceType>, letter: Letter) -> Part {
        let undefined = |resource: ResourceType| {
            let version = self.rules.version();
            scope.only().iter().any(|p| version.search_parameter(resource, p.code()).is_none())
        };
        if resource.is_some_and(undefined) {
            return Part::Nothing(Barred::ParameterUnknown);
        }
        let context = match scope.level() {
            Level::System => Part::All,
            Level::User => self.user(resource),
            Level::Patient => self.patient(resource, letter),
        };
        let limited = !scope.only().is_empty() || self.ruled(scope.level(), resource);
        match context {
            Part::All if limited => Part::Limited,
            Part::All => Part::All,
            Part::Limited => Part::Limited,
            Part::Nothing(why) => Part::Nothing(why),
        }
    }

    /// `user/`: everything, unless the user is a patient.
    fn user(&self, resource: Option<ResourceType>) -> Part {
        match self.grant.user() {
            UserContext::Absent => Part::All,
            UserContext::Local(user) if user.kind() == UserType::Patient => {
                if self.outside_compartment(resource) {
                    Part::Nothing(Barred::OutsideCompartment)
                } else {
                    Part::Limited
                }
            }
            UserContext::Local(_) => Part::All,
            UserContext::Foreign(UserType::Patient) | UserContext::Invalid => Part::Nothing(Barred::NoUser),
            UserContext::Foreign(
                UserType::Person
                | UserType::Practitioner
                | UserType::PractitionerRole
                | UserType::RelatedPerson,
            ) => Part::All,
        }
    }

    /// `patient/`: the compartment of the launch patient, and reading of shared types.
    fn patient(&self, resource: Option<ResourceType>, letter: Letter) -> Part {
        if self.grant.patient().is_none() {
            return Part::Nothing(Barred::NoLaunchPatient);
        }
        let narrows = self.rules.patient.encounter == EncounterContext::Restrict;
        if narrows && *self.grant.encounter_context() == LaunchContext::Invalid {
            return Part::Nothing(Barred::NoLaunchEncounter);
        }
        if !self.outside_compartment(resource) {
            return Part::Limited;
        }
        let shared = resource.is_some_and(|resource| self.rules.patient.shared_types.contains(&resource));
        if shared && matches!(letter, Letter::Read | Letter::Search) {
            // COMP-9: devices may belong to a patient.
            if resource.is_some_and(|r| r.as_str() == "Device") { Part::Limited } else { Part::All }
        } else {
            Part::Nothing(Barred::OutsideCompartment)
        }
    }

    fn outside_compartment(&self, resource: Option<ResourceType>) -> bool {
        let version = self.rules.version();
        resource.is_some_and(|resource| {
            resource.as_str() != "Patient"
                && version
                    .compartment_parameters(CompartmentKind::Patient, resource)
                    .is_none_or(<[_]>::is_empty)
        })
    }

    /// Whether a `[[rule]]` limits this context for the type.
    fn ruled(&self, level: Level, resource: Option<ResourceType>) -> bool {
        self.rules
            .limits
            .iter()
            .filter(|rule| rule.contexts.contains(&level))
            .filter(|rule| rule.when.as_ref().is_none_or(|when| when.holds(self.grant.claims())))
            .flat_map(|rule| &rule.limit)
            .any(|limit| limit.resource.is_none() || resource.is_none() || limit.resource == resource)
    }
}
