//! What a grant reaches, worked out a second time: one resource, one letter, yes or no.
//!
//! Written from SMART App Launch 2.2, FHIR R4 and the contract, on plain JSON values, without a look at the rooms that
//! do the same for a living. Where the standards leave something open, or only a backend could tell, it says `Maybe`,
//! and neither answer is held against the gateway.

use serde_json::Value;

use crate::compartment::{
    belongs_to_patients, binary_of, denotes, encounter_element, free_device, in_encounter, in_patient, is_id,
};
use crate::config::Config;
use crate::criteria::{self, Usable};
use crate::world::{PUBLIC, TYPES, type_of};

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It does not.
    No,
    /// Both answers are right.
    Maybe,
    /// It does.
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What a resource is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A version that may not be the current one.
    OldVersion,
    /// To be shown.
    Read,
    /// To be changed or deleted.
    Stored,
    /// To be stored.
    Submitted,
}

/// How much of a type is reached with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Nothing.
    None,
    /// Some of it.
    Part,
    /// Every instance.
    All,
}

/// One of the things that must hold together.
#[derive(Debug, Clone)]
enum Term {
    BinaryOf(String),
    Encounter(String),
    FreeDevice(String),
    Patient { id: String, linked: bool },
    Search { name: String, value: String },
}

/// A scope, taken apart.
struct Scope {
    level: &'static str,
    /// Or `*`.
    kind: String,
    letters: String,
    only: Vec<(String, String)>,
}

/// A token's claims, read by a configuration.
pub struct Grant<'c> {
    claims: &'c Value,
    config: &'c Config,
    scopes: Vec<Scope>,
}

impl<'c> Grant<'c> {
    /// Reads claims; `null` is a request without a token.
    pub fn new(claims: &'c Value, config: &'c Config) -> Self {
        let written = claims.get("scope").and_then(Value::as_str).unwrap_or("");
        let scopes = written.split(' ').filter_map(Scope::read).collect();
        Self { claims, config, scopes }
    }

    /// The configuration it is read by.
    pub fn config(&self) -> &'c Config {
        self.config
    }

    /// Whether one of the letters reaches a resource.
    pub fn sees(&self, resource: &Value, letters: &str, role: Role) -> Truth {
        let kind = type_of(resource);
        letters.chars().map(|letter| self.one(resource, (kind, letter), role)).max().unwrap_or(Truth::No)
    }

    fn one(&self, resource: &Value, (kind, letter): (&str, char), role: Role) -> Truth {
        let alternatives = self.alternatives(kind, letter);
        let holds = |terms: &Vec<Term>| {
            terms.iter().map(|term| term.holds(resource, letter, role)).min().unwrap_or(Truth::Yes)
        };
        let seen = alternatives.iter().map(holds).max().unwrap_or(Truth::No);
        // What contradicts itself may be refused.
        if contradictory(resource) { seen.min(Truth::Maybe) } else { seen }
    }

    /// How much of a type one of the letters reaches.
    pub fn reach(&self, kind: &str, letters: &str) -> Reach {
        let of = |letter: char| {
            let alternatives = self.alternatives(kind, letter);
            let whole = alternatives.iter().any(Vec::is_empty);
            if whole {
                Reach::All
            } else if alternatives.is_empty() {
                Reach::None
            } else {
                Reach::Part
            }
        };
        letters.chars().map(of).max().unwrap_or(Reach::None)
    }

    /// Whether everything is reached, so that nothing has to be checked.
    pub fn sees_everything(&self) -> bool {
        // A type that no table names stands for all of them.
        TYPES.iter().chain(&["Binary", "Bundle", "Slot"]).all(|kind| self.reach(kind, "rs") == Reach::All)
    }

    /// Whether the id alone shows that a resource is outside: another patient, or another encounter.
    pub fn excludes(&self, kind: &str, id: &str, letters: &str) -> bool {
        let elsewhere = |terms: &Vec<Term>| {
            terms.iter().any(|term| match term {
                Term::Patient { id: own, linked: false } => kind == "Patient" && own != id,
                Term::Encounter(own) => kind == "Encounter" && own != id,
                Term::BinaryOf(_) | Term::FreeDevice(_) | Term::Patient { .. } | Term::Search { .. } => false,
            })
        };
        letters.chars().all(|letter| self.alternatives(kind, letter).iter().all(elsewhere))
    }

    /// Whether the type is reached within compartments only, none of them this patient's.
    pub fn bound_elsewhere(&self, kind: &str, letters: &str, patient: &str) -> bool {
        let elsewhere = |terms: &Vec<Term>| {
            terms.iter().any(|term| matches!(term, Term::Patient { id, .. } if id != patient))
        };
        letters.chars().all(|letter| self.alternatives(kind, letter).iter().all(elsewhere))
    }

    /// Whether the type is reached through nothing but the plain compartment of one patient, and of which.
    pub fn plain_patient(&self, kind: &str, letters: &str) -> Option<String> {
        let alternatives: Vec<_> =
            letters.chars().flat_map(|letter| self.alternatives(kind, letter)).collect();
        let mut patients = alternatives.iter().map(|terms| match terms.as_slice() {
            [Term::Patient { id, linked: false }] => Some(id.clone()),
            _ => None,
        });
        let first = patients.next()??;
        patients.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }

    /// Each way by which the letter reaches the type.
    fn alternatives(&self, kind: &str, letter: char) -> Vec<Vec<Term>> {
        let named = |scope: &&Scope| scope.kind == "*" || scope.kind == kind;
        let scopes = self.scopes.iter().filter(named).filter(|scope| scope.letters.contains(letter));
        scopes.filter_map(|scope| self.terms(scope, kind, letter)).collect()
    }

    /// What must hold for a scope to reach something; nothing when it reaches nothing.
    fn terms(&self, scope: &Scope, kind: &str, letter: char) -> Option<Vec<Term>> {
        let mut terms = match scope.level {
            "patient" => self.of_patient(kind, letter)?,
            "user" => self.of_user(kind)?,
            _ => Vec::new(),
        };
        terms.extend(searches(kind, &scope.only)?);
        for (of, query) in self.config.limits(scope.level, self.claims) {
            if of == "*" || of == kind {
                let only: Option<Vec<_>> = query
                    .iter()
                    .map(|(name, value)| Some(((*name).to_owned(), self.filled(value)?)))
                    .collect();
                terms.extend(searches(kind, &only?)?);
            }
        }
        Some(terms)
    }

    /// `patient/`: the compartments of the launch context, and shared types to read.
    fn of_patient(&self, kind: &str, letter: char) -> Option<Vec<Term>> {
        let id = context(self.claims.get("patient")?, "Patient")?;
        let encounter = match self.claims.get("encounter").filter(|_| self.config.restrict) {
            Some(written) => Some(context(written, "Encounter")?),
            None => None,
        };
        if belongs_to_patients(kind) {
            let mut terms = vec![Term::Patient { id, linked: self.config.linked }];
            let bound = kind == "Encounter" || encounter_element(kind).is_some();
            terms.extend(encounter.filter(|_| bound).map(Term::Encounter));
            return Some(terms);
        }
        if kind == "Binary" && letter == 'r' {
            return Some(vec![Term::BinaryOf(id)]);
        }
        let shared = self.config.shared.contains(&kind) && "rs".contains(letter);
        match kind {
            _ if !shared => None,
            "Device" => Some(vec![Term::FreeDevice(id)]),
            _ => Some(Vec::new()),
        }
    }

    /// `user/`: everything, unless the user is a patient.
    fn of_user(&self, kind: &str) -> Option<Vec<Term>> {
        let Some(user) = self.claims.get("fhirUser") else { return Some(Vec::new()) };
        let user = user.as_str()?;
        let local = user.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('/')).unwrap_or(user);
        if local.contains("://") {
            // Somebody of another server: nobody here, and a patient of nobody's has no records.
            let kind = local.rsplit('/').nth(1)?;
            return (kind != "Patient").then(Vec::new);
        }
        match denotes(local).filter(|_| !local.contains("_history"))? {
            ("Patient", id) => belongs_to_patients(kind)
                .then(|| vec![Term::Patient { id: id.to_owned(), linked: self.config.linked }]),
            ("Practitioner" | "PractitionerRole" | "RelatedPerson" | "Person", _) => Some(Vec::new()),
            _ => None,
        }
    }

    /// A rule's value with claims in place of `{claim}`; nothing when one is missing.
    fn filled(&self, value: &str) -> Option<String> {
        let Some((before, rest)) = value.split_once('{') else { return Some(value.to_owned()) };
        let (name, after) = rest.split_once('}')?;
        let claim = self.claims.get(name)?;
        let words: Option<Vec<String>> = crate::world::each(claim)
            .into_iter()
            .map(|word| Some(format!("{before}{}{after}", escaped(word.as_str()?))))
            .collect();
        words.filter(|words| !words.is_empty()).map(|words| words.join(","))
    }
}

/// A claim's text is data: what has a meaning in a search has none in it.
fn escaped(text: &str) -> String {
    let special = |c: char| matches!(c, '\\' | ',' | '|' | '$');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The terms of search parameters; nothing when one cannot be used.
fn searches(kind: &str, only: &[(String, String)]) -> Option<Vec<Term>> {
    let usable = |name: &str| criteria::usable(kind, name) != Usable::Never;
    let term = |(name, value): &(String, String)| {
        usable(name).then(|| Term::Search { name: name.clone(), value: value.clone() })
    };
    only.iter().map(term).collect()
}

/// CTX-3: a bare id, or `Kind/id`.
fn context(claim: &Value, kind: &str) -> Option<String> {
    let text = claim.as_str()?;
    let id = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
    is_id(id).then(|| id.to_owned())
}

/// Whether a reference says that it is to another type than its URL does.
fn contradictory(value: &Value) -> bool {
    let said = value.get("type").and_then(Value::as_str);
    let denoted = value.get("reference").and_then(Value::as_str).and_then(denotes);
    let here = said.zip(denoted).is_some_and(|(said, (kind, _))| said != kind);
    let inner = value.as_object().into_iter().flat_map(|members| members.values());
    here || inner.chain(value.as_array().into_iter().flatten()).any(contradictory)
}

impl Term {
    fn holds(&self, resource: &Value, letter: char, role: Role) -> Truth {
        match self {
            Self::BinaryOf(patient) => binary_of(resource, patient),
            // What is created gets an id of the server's choice.
            Self::Encounter(_) if letter == 'c' && type_of(resource) == "Encounter" => Truth::No,
            Self::Patient { .. } if letter == 'c' && type_of(resource) == "Patient" => Truth::No,
            Self::Encounter(encounter) => Truth::from(in_encounter(resource, encounter)),
            Self::FreeDevice(patient) => Truth::from(free_device(resource, patient)),
            Self::Patient { id, linked } => in_patient(resource, id, *linked, role),
            Self::Search { name, value } => searched(resource, (name, value), letter, role),
        }
    }
}

fn searched(resource: &Value, (name, value): (&str, &str), letter: char, role: Role) -> Truth {
    let asked = criteria::usable(type_of(resource), name) == Usable::Asked;
    match role {
        // A backend can be asked about what it has now, not about what was or will be.
        Role::OldVersion | Role::Stored | Role::Submitted if asked => Truth::No,
        // The server writes these itself.
        Role::Submitted if name == "_lastUpdated" || (name == "_id" && letter == 'c') => Truth::Maybe,
        Role::OldVersion | Role::Read | Role::Stored | Role::Submitted => {
            criteria::holds(resource, name, value)
        }
    }
}

impl Scope {
    /// Takes a scope apart; what is not of the form grants nothing.
    fn read(written: &str) -> Option<Self> {
        let (level, rest) = ["patient", "user", "system"]
            .into_iter()
            .find_map(|level| Some((level, written.strip_prefix(level)?.strip_prefix('/')?)))?;
        let (head, query) = rest.split_once('?').map_or((rest, None), |(head, query)| (head, Some(query)));
        let (kind, permissions) = head.split_once('.')?;
        let letters = match permissions {
            "read" | "write" | "*" if query.is_some() => return None,
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => in_order(letters)?,
        };
        let known = kind == "*" || TYPES.contains(&kind) || matches!(kind, "Binary" | "Bundle" | "Slot");
        let pairs = query.map_or(Some(Vec::new()), |query| query.split('&').map(pair).collect())?;
        known.then(|| Self { level, kind: kind.to_owned(), letters: letters.to_owned(), only: pairs })
    }
}

/// SCOPE-2: a subset of `cruds` in that order, each letter once.
fn in_order(letters: &str) -> Option<&str> {
    let mut rest = "cruds".chars();
    (!letters.is_empty() && letters.chars().all(|letter| rest.any(|other| other == letter)))
        .then_some(letters)
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty() && !value.is_empty()).then(|| (decoded(name), decoded(value)))
}

/// Percent-encoding and `+` taken back.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).expect("two digits");
        bytes.push(match byte {
            b'%' => u8::try_from(digit() * 16 + digit()).expect("a byte"),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}
