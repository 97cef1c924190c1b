//! The operation table: which `$operations` are known, at which level, and what each needs (OPS-1 … OPS-9).
//!
//! An operation without a row is refused: an operation can do anything, and only its definition tells what. Rows as
//! delivered follow contract §6; `[[operation]]` adds or replaces rows.

use std::fmt;

use crate::fhir::{Letter, ResourceType};

/// Where an operation is invoked (FHIR R4 §3.2.0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// `[base]/T/id/$name`.
    Instance,
    /// `[base]/$name`.
    System,
    /// `[base]/T/$name`.
    Type,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "instance",
            Self::System => "system",
            Self::Type => "type",
        })
    }
}

/// Of which types an operation's row speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTypes {
    /// Every type, or no type at system level.
    Any,
    /// These names.
    Only(&'static [&'static str]),
    /// This type.
    One(ResourceType),
}

/// One permission an operation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationNeed {
    /// Of which type.
    pub of: NeedOf,
    /// Any one of these letters is enough.
    pub letters: Vec<Letter>,
}

/// Of which type a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedOf {
    /// Every type named in `_type`; all types when none is named.
    EachNamed,
    /// This type, whatever the URL names.
    Named(ResourceType),
    /// This type, whatever the URL names, by the name every version has.
    Word(&'static str),
    /// The type in the URL; all types at system level.
    Subject,
}

/// Which grants may invoke an operation at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// Any context; a constrained grant is kept by checking the answer.
    No,
    /// Never by `patient/` scopes.
    NotPatient,
    /// Only by `system/` scopes without constraint.
    SystemOnly,
    /// Only by grants without constraint on the type.
    Unconstrained,
}

/// What happens to an operation's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Every resource in it is checked like a read.
    Check,
    /// It is passed on: it carries no stored resource, or the row says so.
    Pass,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name with its `$`.
    pub name: String,
    /// Where it is invoked.
    pub level: Level,
    /// On which types; meaningless at system level.
    pub types: OnTypes,
    /// All of these are needed.
    pub needs: Vec<OperationNeed>,
    /// Which grants may invoke it.
    pub reserved: Reserved,
    /// What happens to its answer.
    pub answer: Answer,
}

/// All rows in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationTable(Vec<Row>);

impl OperationTable {
    /// The table as delivered.
    #[must_use]
    pub fn delivered() -> Self {
        Self(delivered())
    }

    /// Adds a row, or replaces the one of the same name, level and type.
    pub fn put(&mut self, row: Row) {
        // Looked up from the end, so the newest row wins.
        self.0.push(row);
    }

    /// The row for an invocation.
    #[must_use]
    pub fn row(&self, name: &str, level: Level, on: Option<ResourceType>) -> Option<&Row> {
        self.0.iter().rev().find(|row| row.name == name && row.level == level && speaks_of(row.types, on))
    }

    /// All rows, those added last first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().rev()
    }
}

fn speaks_of(types: OnTypes, on: Option<ResourceType>) -> bool {
    match (types, on) {
        (OnTypes::Any, _) | (_, None) => true,
        (OnTypes::Only(names), Some(on)) => names.contains(&on.as_str()),
        (OnTypes::One(one), Some(on)) => one == on,
    }
}

use Letter::{Create, Read, Search, Update};

const TERMINOLOGY: &[(&str, &[Level], &[&str])] = &[
    ("$expand", &[Level::Type, Level::Instance], &["ValueSet"]),
    ("$lookup", &[Level::Type, Level::Instance], &["CodeSystem"]),
    ("$validate-code", &[Level::Type, Level::Instance], &["CodeSystem", "ValueSet"]),
    ("$subsumes", &[Level::Type, Level::Instance], &["CodeSystem"]),
    ("$translate", &[Level::Type, Level::Instance], &["ConceptMap"]),
];

fn delivered() -> Vec<Row> {
    use Answer::{Check, Pass};
    use NeedOf::{EachNamed, Subject, Word};
    use Reserved::{No, NotPatient, SystemOnly, Unconstrained};
    const RECORD: OnTypes = OnTypes::Only(&["Patient", "Encounter"]);
    let read = || need(Subject, &[Read]);
    let rs = || need(Subject, &[Read, Search]);
    let mut rows = vec![
        row("$everything", Level::Instance, RECORD, vec![rs()], No, Check),
        row("$everything", Level::Type, RECORD, vec![rs()], Unconstrained, Check),
        row("$validate", Level::Type, OnTypes::Any, vec![need(Subject, &[Create, Update])], No, Check),
        row(
            "$validate",
            Level::Instance,
            OnTypes::Any,
            vec![need(Subject, &[Create, Update]), read()],
            No,
            Check,
        ),
        row(
            "$lastn",
            Level::Type,
            OnTypes::Only(&["Observation"]),
            vec![need(Subject, &[Search])],
            No,
            Check,
        ),
        row("$document", Level::Instance, OnTypes::Only(&["Composition"]), vec![read()], No, Check),
        row("$document", Level::Type, OnTypes::Only(&["Composition"]), vec![read()], No, Check),
        row(
            "$docref",
            Level::Type,
            OnTypes::Only(&["DocumentReference"]),
            vec![need(Subject, &[Search])],
            No,
            Check,
        ),
        row("$meta", Level::Instance, OnTypes::Any, vec![read()], No, Check),
        row("$meta", Level::Type, OnTypes::Any, vec![read()], Unconstrained, Check),
        row("$meta", Level::System, OnTypes::Any, vec![read()], Unconstrained, Check),
        row("$meta-add", Level::Instance, OnTypes::Any, vec![need(Subject, &[Update])], No, Check),
        row("$meta-delete", Level::Instance, OnTypes::Any, vec![need(Subject, &[Update])], No, Check),
        row(
            "$match",
            Level::Type,
            OnTypes::Only(&["Patient"]),
            vec![need(Subject, &[Search])],
            NotPatient,
            Check,
        ),
        row("$export", Level::System, OnTypes::Any, vec![need(EachNamed, &[Search])], SystemOnly, Pass),
        row(
            "$export",
            Level::Type,
            OnTypes::Only(&["Patient"]),
            vec![need(EachNamed, &[Search])],
            SystemOnly,
            Pass,
        ),
        row(
            "$export",
            Level::Instance,
            OnTypes::Only(&["Group"]),
            vec![need(EachNamed, &[Search]), need(Word("Group"), &[Read])],
            SystemOnly,
            Pass,
        ),
        row("$versions", Level::System, OnTypes::Any, vec![], No, Pass),
    ];
    for (name, levels, types) in TERMINOLOGY {
        for level in *levels {
            rows.push(row(name, *level, OnTypes::Only(types), vec![rs()], No, Check));
        }
    }
    rows
}

fn need(of: NeedOf, letters: &[Letter]) -> OperationNeed {
    OperationNeed { of, letters: letters.to_vec() }
}

#[expect(clippy::too_many_arguments, reason = "a row has six columns")]
fn row(
    name: &str,
    level: Level,
    types: OnTypes,
    needs: Vec<OperationNeed>,
    reserved: Reserved,
    answer: Answer,
) -> Row {
    Row { name: name.into(), level, types, needs, reserved, answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::FhirVersion;

    /// OPS-1 … OPS-7, contract §6: what has a row, and the neighbour that has none.
    #[test]
    fn rows_as_delivered() {
        let table = OperationTable::delivered();
        let cases = [
            ("$everything", Level::Instance, Some("Patient"), true),
            ("$everything", Level::Instance, Some("Encounter"), true),
            ("$everything", Level::Instance, Some("Group"), false),
            ("$everything", Level::System, None, false),
            ("$validate", Level::Type, Some("Observation"), true),
            ("$validate", Level::System, None, false),
            ("$lastn", Level::Type, Some("Observation"), true),
            ("$lastn", Level::Type, Some("Condition"), false),
            ("$match", Level::Type, Some("Patient"), true),
            ("$match", Level::Type, Some("Practitioner"), false),
            ("$expand", Level::Type, Some("ValueSet"), true),
            ("$expand", Level::Type, Some("CodeSystem"), false),
            ("$export", Level::System, None, true),
            ("$export", Level::Instance, Some("Group"), true),
            ("$export", Level::Instance, Some("Patient"), false),
            ("$versions", Level::System, None, true),
            ("$graphql", Level::System, None, false),
            ("$expunge", Level::Instance, Some("Patient"), false),
            ("$Everything", Level::Instance, Some("Patient"), false),
        ];
        for (name, level, on, known) in cases {
            let on = on.and_then(|name| FhirVersion::R4.resource_type(name));
            assert_eq!(table.row(name, level, on).is_some(), known, "{name} at {level} level of {on:?}");
        }
    }

    /// Contract §6: `[[operation]]` adds or changes a row.
    #[test]
    fn a_row_added_later_wins() {
        let mut table = OperationTable::delivered();
        let observation = FhirVersion::R4.resource_type("Observation").expect("a type");
        table.put(row("$lastn", Level::Type, OnTypes::One(observation), vec![], Reserved::No, Answer::Pass));
        assert_eq!(table.row("$lastn", Level::Type, Some(observation)).map(|r| r.answer), Some(Answer::Pass));
    }
}
