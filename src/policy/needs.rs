//! Collects what a request needs and what the grant says to each.

use crate::fhir::{Letter, ResourceType};
use crate::policy::denial::{Denial, Extent, Need};
use crate::policy::reach::{Barred, Holder};
use crate::policy::rules::Malformed;
use crate::scope::Scope;

/// The needs of one request, in the order they arose, each once.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    holder: Holder<'a>,
    needs: Vec<Need>,
    /// Needs that are met by being kept to the part that the grant reaches.
    kept: Vec<(Option<ResourceType>, Vec<Letter>)>,
}

impl<'a> Needs<'a> {
    pub(super) fn new(holder: Holder<'a>) -> Self {
        Self { holder, needs: Vec::new(), kept: Vec::new() }
    }

    pub(super) fn holder(&self) -> Holder<'a> {
        self.holder
    }

    /// Whether every instance is reached by one of the letters.
    pub(super) fn may(&self, resource: Option<ResourceType>, letters: &[Letter]) -> bool {
        self.holder.reaches_all(resource, letters)
    }

    /// Adds a need: any one of the letters on the type, or on every type.
    pub(super) fn demand(&mut self, resource: Option<ResourceType>, letters: &[Letter]) {
        if self.needs.iter().any(|need| need.resource == resource && need.letters == letters) {
            return;
        }
        let mut need =
            Need { resource, letters: letters.to_vec(), granted: None, extent: Extent::None(Vec::new()) };
        let mut barred = Vec::new();
        for letter in letters {
            let reach = self.holder.reach(resource, *letter);
            if !reach.all.is_empty() {
                need.granted = Some((*letter, written(reach.all.iter().copied())));
                need.extent = Extent::All;
                break;
            }
            if !reach.limited.is_empty() && need.granted.is_none() {
                need.granted = Some((*letter, written(reach.limited.iter().map(|(scope, _)| *scope))));
                need.extent = Extent::Limited;
            }
            barred.extend(reach.barred);
        }
        if need.granted.is_none() {
            need.extent = Extent::None(barred);
        }
        self.needs.push(need);
    }

    /// Says that a need which the grant meets in part is kept to that part: by what is sent and what is shown. A need
    /// that nobody keeps refuses the request.
    pub(super) fn keep(&mut self, resource: Option<ResourceType>, letters: &[Letter]) {
        self.kept.push((resource, letters.to_vec()));
    }

    /// Adds a need that is kept to the part which the grant reaches.
    pub(super) fn demand_kept(&mut self, resource: Option<ResourceType>, letters: &[Letter]) {
        self.demand(resource, letters);
        self.keep(resource, letters);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter()
    }

    /// All needs, and why the request is refused when one is not met in full.
    pub(super) fn settle(self) -> (Vec<Need>, Option<Denial>) {
        let denial = self.denial();
        (self.needs, denial)
    }

    /// Whether a `patient/` scope grants something of it.
    pub(super) fn granted_by_patient_scopes(&self) -> bool {
        let patient = |scope: &String| scope.starts_with("patient/");
        self.needs
            .iter()
            .any(|need| need.granted.as_ref().is_some_and(|(_, scopes)| scopes.iter().any(patient)))
    }

    /// Why the request is refused as far as it was looked at, if it is.
    pub(super) fn denial(&self) -> Option<Denial> {
        let unmet = self.needs.iter().find_map(|need| match &need.extent {
            Extent::None(barred) => Some((need, barred)),
            Extent::All | Extent::Limited => None,
        });
        let Some((need, barred)) = unmet else {
            let kept = |need: &Need| {
                self.kept.iter().any(|(of, letters)| *of == need.resource && *letters == need.letters)
            };
            let limited = self.needs.iter().any(|need| need.extent == Extent::Limited && !kept(need));
            return limited.then_some(Denial::Constrained);
        };
        if barred.contains(&Barred::NoLaunchPatient) {
            return Some(Denial::NoLaunchPatient);
        }
        Some(self.malformed(need).unwrap_or(Denial::InsufficientScope))
    }

    /// SCOPE-3: names the unreadable scope that begins as one that would have covered the need.
    fn malformed(&self, need: &Need) -> Option<Denial> {
        if self.holder.rules().malformed == Malformed::Ignore {
            return None;
        }
        let names_type = |scope: &str| {
            let named = scope.split_once('/').map_or("", |(_, rest)| rest);
            let named = named.split(['.', '?']).next().unwrap_or("");
            named == "*" || need.resource.is_none_or(|resource| resource.as_str().eq_ignore_ascii_case(named))
        };
        let (scope, error) =
            self.holder.grant().scopes().ignored().iter().find(|(scope, _)| names_type(scope))?;
        Some(Denial::MalformedScope { scope: scope.clone(), error: error.to_string() })
    }
}

fn written<'s>(scopes: impl Iterator<Item = &'s Scope>) -> Vec<String> {
    scopes.map(|scope| scope.written().to_owned()).collect()
}
