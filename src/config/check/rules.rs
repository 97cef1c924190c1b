//! What decisions rest on besides the token: scopes, patients, rules and operations, as checked values.

use super::Check;
use crate::config::file;
use crate::config::settings::{self, Profile};
use crate::config::values::OneOrMany;
use crate::fhir::{
    Answer, CompartmentKind, FhirVersion, Letter, Level, NeedOf, OnTypes, OperationNeed, OperationTable,
    Reserved, ResourceType, Row,
};
use crate::policy::{
    EncounterContext, Limit, LinkedPatients, Malformed, PatientRules, Rule, Rules, Test, Unmatched,
    UpdateCreates, When,
};
use crate::scope::{Level as Context, Reader, Scope};

/// The tables that make up the rules, as written.
pub(super) struct Written {
    pub(super) malformed: Option<file::Malformed>,
    pub(super) patient: file::Patient,
    pub(super) rules: Vec<file::Rule>,
    pub(super) operations: Vec<file::Operation>,
}

/// The two bases that URLs are rewritten between, and the bound on bundles.
pub(super) struct Frame<'a> {
    pub(super) server: Option<&'a settings::Server>,
    pub(super) backend: Option<&'a settings::Backend>,
    pub(super) bundle_entries: usize,
}

impl Check<'_> {
    pub(super) fn rules(
        &mut self,
        written: Written,
        profile: Profile,
        reader: Reader,
        frame: &Frame<'_>,
    ) -> Option<Rules> {
        let malformed = match (written.malformed, profile) {
            (Some(file::Malformed::Refuse), _) | (None, Profile::Isik) => Malformed::Refuse,
            (Some(file::Malformed::Ignore), _) | (None, Profile::Smart) => Malformed::Ignore,
        };
        let patient = self.patient(written.patient, profile, reader.version);
        let limits = written.rules.into_iter().enumerate();
        let limits: Vec<_> =
            limits.filter_map(|(i, rule)| self.rule(&format!("rule[{}]", i + 1), rule, reader)).collect();
        let mut operations = OperationTable::delivered();
        for (i, operation) in written.operations.into_iter().enumerate() {
            if let Some(row) = self.operation(&format!("operation[{}]", i + 1), operation, reader.version) {
                let row = kept_reserved(&operations, row);
                operations.put(row);
            }
        }
        let text = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        Some(Rules {
            scopes: reader,
            malformed,
            patient,
            limits,
            operations,
            public_base: text(&frame.server?.public_url),
            backend_base: text(&frame.backend?.url),
            bundle_entries: frame.bundle_entries,
            compartment_search: frame.backend?.compartment_search,
        })
    }

    fn patient(&mut self, written: file::Patient, profile: Profile, version: FhirVersion) -> PatientRules {
        let shared = written.shared_types.unwrap_or_default();
        let shared = shared.iter().enumerate();
        let shared_types = shared
            .filter_map(|(i, name)| {
                let key = format!("patient.shared_types[{}]", i + 1);
                let resource = self.resource_type(&key, name, version)?;
                self.shareable(&key, resource, version);
                Some(resource)
            })
            .collect();
        PatientRules {
            encounter: match (written.encounter, profile) {
                (Some(file::Encounter::Restrict), _) | (None, Profile::Isik) => EncounterContext::Restrict,
                (Some(file::Encounter::Hint), _) | (None, Profile::Smart) => EncounterContext::Hint,
            },
            shared_types,
            update_creates: match written.update_creates {
                Some(true) => UpdateCreates::Yes,
                Some(false) | None => UpdateCreates::No,
            },
            unmatched: match written.unmatched {
                Some(file::Unmatched::Forbidden) => {
                    let mend = "write `not_found` unless clients expect 403 for what does not exist, too";
                    self.warn(
                        "patient.unmatched",
                        "`not_found`: an app may take 403 for a missing scope",
                        mend,
                    );
                    Unmatched::Forbidden
                }
                Some(file::Unmatched::NotFound) | None => Unmatched::NotFound,
            },
            linked: match written.linked_patients {
                Some(true) => LinkedPatients::Visible,
                Some(false) | None => LinkedPatients::Hidden,
            },
        }
    }

    /// COMP-8: sharing is for types that belong to no patient.
    fn shareable(&mut self, key: &str, resource: ResourceType, version: FhirVersion) {
        let personal = resource == ResourceType::PATIENT
            || resource == ResourceType::BINARY
            || version
                .compartment_parameters(CompartmentKind::Patient, resource)
                .is_some_and(|by| !by.is_empty());
        if personal {
            let expected = "a type outside the patient compartment, such as `Practitioner` or `Organization`";
            self.wrong(key, expected, "remove it: it would open every patient's resources of this type");
        }
    }

    fn resource_type(&mut self, key: &str, name: &str, version: FhirVersion) -> Option<ResourceType> {
        let resource = version.resource_type(name);
        if resource.is_none() {
            let known = version.resource_types().map(ResourceType::as_str);
            let mend = match crate::config::shape::nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write the type's name as FHIR does".to_owned(),
            };
            self.wrong(key, format!("a resource type of FHIR {version}"), mend);
        }
        resource
    }

    fn rule(&mut self, key: &str, written: file::Rule, reader: Reader) -> Option<Rule> {
        let limited = written.when.is_some();
        let when = written.when.and_then(|when| self.when(&format!("{key}.when"), when));
        let contexts = match written.contexts {
            None => Context::ALL.to_vec(),
            Some(contexts) => contexts.into_iter().map(context).collect(),
        };
        if contexts.is_empty() {
            self.wrong(&format!("{key}.contexts"), "at least one context", "remove the key for all of them");
        }
        let written = written.limit?;
        if written.is_empty() {
            let mend = "write a search such as `Patient?general-practitioner={fhirUser}`";
            self.wrong(&format!("{key}.limit"), "at least one search", mend);
        }
        let limit = written
            .iter()
            .enumerate()
            .filter_map(|(i, line)| self.limit(&format!("{key}.limit[{}]", i + 1), line, reader))
            .collect();
        // A condition that could not be read has its complaint; the rule must not come to hold for everybody.
        (when.is_some() == limited).then_some(Rule { when, contexts, limit })
    }

    fn when(&mut self, key: &str, written: file::When) -> Option<When> {
        let mut tests = Vec::new();
        tests.extend(written.equals.map(Test::Equals));
        tests.extend(written.contains.map(Test::Contains));
        for (name, flag, test) in
            [("exists", written.exists, Test::Exists), ("absent", written.absent, Test::Absent)]
        {
            match flag {
                Some(true) => tests.push(test),
                Some(false) => {
                    let mend = "turn it round: `exists = true` or `absent = true`";
                    self.wrong(&format!("{key}.{name}"), "`true`", mend);
                    return None;
                }
                None => {}
            }
        }
        let (claim, test) = (written.claim?, tests.pop());
        match test {
            Some(test) if tests.is_empty() && !claim.is_empty() => Some(When { claim, test }),
            _ => {
                let mend = "write `{ claim = \"groups\", contains = \"ward-7\" }` or the like";
                self.wrong(key, "a claim and one of `equals`, `contains`, `exists`, `absent`", mend);
                None
            }
        }
    }

    /// A limit is written like a scope's parameters, and read by the same reader (SCOPE-8, SCOPE-48 … 50).
    fn limit(&mut self, key: &str, line: &str, reader: Reader) -> Option<Limit> {
        let Some((name, query)) = line.split_once('?') else {
            self.wrong(key, "a search `Type?parameter=value`", "write the type, `?`, and what is left of it");
            return None;
        };
        let scope = match Scope::parse(&format!("system/{name}.cruds?{query}"), reader) {
            Some(Ok(scope)) => scope,
            Some(Err(error)) => {
                let mend = "write it as in a FHIR search: `Patient?general-practitioner={fhirUser}`";
                self.wrong(key, format!("a search `Type?parameter=value` ({error})"), mend);
                return None;
            }
            None => return None,
        };
        let version = reader.version;
        let anywhere = |code| version.resource_types().any(|ty| version.search_parameter(ty, code).is_some());
        if let Some(unknown) = scope.only().iter().find(|parameter| !anywhere(parameter.code())) {
            let expected = format!("search parameters of FHIR {version} (`{}` is none)", unknown.code());
            self.wrong(key, expected, "write one that the types have");
        }
        if !scope.only().iter().all(|parameter| sound_template(parameter.value())) {
            self.wrong(key, "templates such as `{fhirUser}`", "close the brace after the claim's name");
        }
        Some(Limit { resource: scope.resource(), only: scope.only().clone() })
    }

    fn operation(&mut self, key: &str, written: file::Operation, version: FhirVersion) -> Option<Row> {
        let name = written.name.as_deref().and_then(|name| self.operation_name(&format!("{key}.name"), name));
        let level = match written.level? {
            file::Level::Instance => Level::Instance,
            file::Level::System => Level::System,
            file::Level::Type => Level::Type,
        };
        let type_key = format!("{key}.type");
        let types = match (level, written.r#type.as_deref()) {
            (Level::System, None) | (Level::Type | Level::Instance, Some("*")) => Some(OnTypes::Any),
            (Level::System, Some(_)) => {
                self.wrong(&type_key, "no type at system level", "remove it, or change `level`");
                None
            }
            (Level::Type | Level::Instance, Some(name)) => {
                self.resource_type(&type_key, name, version).map(OnTypes::One)
            }
            (Level::Type | Level::Instance, None) => {
                let mend = "add `type = \"…\"`, or `type = \"*\"` for every type";
                self.missing(&type_key, "the type it is called on", mend);
                None
            }
        };
        let needs = written.needs?;
        if needs.is_empty() {
            let mend = "name the permissions, unless it touches no patient data";
            self.warn(
                &format!("{key}.needs"),
                "a permission: with none, every valid token may call it",
                mend,
            );
        }
        let count = needs.len();
        let needs: Vec<_> = (1..)
            .zip(needs)
            .filter_map(|(i, need)| self.need(&format!("{key}.needs[{i}]"), need, (level, version)))
            .collect();
        // An answer that is passed unread cannot be kept to one patient, so a constrained grant does not get it.
        let (answer, reserved) = match written.answer {
            Some(file::Answer::Pass) => (Answer::Pass, Reserved::Unconstrained),
            Some(file::Answer::Check) | None => (Answer::Check, Reserved::No),
        };
        let whole = needs.len() == count;
        Some(Row { name: name?, level, types: types?, needs: whole.then_some(needs)?, reserved, answer })
    }

    fn operation_name(&mut self, key: &str, name: &str) -> Option<String> {
        let code = name.strip_prefix('$');
        let sound = |code: &str| {
            !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if code.is_some_and(sound) {
            return Some(name.to_owned());
        }
        let mend = if code.is_none() && sound(name) {
            format!("write `${name}`")
        } else {
            "write `$name`".to_owned()
        };
        self.wrong(key, "an operation's name with its `$`", mend);
        None
    }

    fn need(
        &mut self,
        key: &str,
        written: file::Need,
        (level, version): (Level, FhirVersion),
    ) -> Option<OperationNeed> {
        let of = match written.r#type.as_deref() {
            None => Some(NeedOf::Subject),
            // At system level the subject is every type.
            Some("*") if level == Level::System => Some(NeedOf::Subject),
            Some("*") => {
                let mend = "name the type, or leave it out for the type in the URL";
                self.wrong(&format!("{key}.type"), "a resource type; `*` is for system level", mend);
                None
            }
            Some(name) => self.resource_type(&format!("{key}.type"), name, version).map(NeedOf::Named),
        };
        let letter_key = format!("{key}.letter");
        let written = written.letter.map(OneOrMany::into_vec)?;
        let letters: Vec<Letter> = written.iter().filter_map(|text| letter(text)).collect();
        if letters.len() != written.len() || letters.is_empty() {
            self.wrong(
                &letter_key,
                "one of `c`, `r`, `u`, `d`, `s`, or a list of which one is enough",
                "write `\"r\"` or the like",
            );
            return None;
        }
        Some(OperationNeed { of: of?, letters })
    }
}

/// A row in the file may change what an operation needs, but not open one that is reserved as delivered.
fn kept_reserved(table: &OperationTable, row: Row) -> Row {
    let on = match row.types {
        OnTypes::One(resource) => Some(resource),
        OnTypes::Any | OnTypes::Only(_) => None,
    };
    match table.row(&row.name, row.level, on).map(|delivered| delivered.reserved) {
        Some(reserved @ (Reserved::NotPatient | Reserved::SystemOnly | Reserved::Unconstrained)) => {
            Row { reserved, ..row }
        }
        Some(Reserved::No) | None => row,
    }
}

fn letter(text: &str) -> Option<Letter> {
    let mut letters = text.chars();
    let letter = letters.next().and_then(Letter::from_char)?;
    letters.next().is_none().then_some(letter)
}

fn context(context: file::Context) -> Context {
    match context {
        file::Context::Patient => Context::Patient,
        file::Context::System => Context::System,
        file::Context::User => Context::User,
    }
}

/// Braces come in pairs around a name.
fn sound_template(value: &str) -> bool {
    let mut rest = value;
    while let Some(at) = rest.find(['{', '}']) {
        let Some(after) = rest.get(at..).and_then(|open| open.strip_prefix('{')) else { return false };
        let Some((name, tail)) = after.split_once('}') else { return false };
        if name.is_empty() || name.contains('{') {
            return false;
        }
        rest = tail;
    }
    true
}
