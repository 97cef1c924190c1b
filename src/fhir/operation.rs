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

/// Whether an operation is known to change nothing that is stored, `$document` aside when it is asked to store what it
/// makes. Of any other nobody knows. An export leaves files behind, and no record changed.
#[must_use]
pub fn only_reads(name: &str) -> bool {
    matches!(
        name,
        "$docref"
            | "$document"
            | "$everything"
            | "$expand"
            | "$export"
            | "$lastn"
            | "$lookup"
            | "$match"
            | "$meta"
            | "$subsumes"
            | "$translate"
            | "$validate"
            | "$validate-code"
            | "$versions"
    )
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
    let mut rows = records();
    rows.extend(exports());
    for (name, levels, types) in TERMINOLOGY {
        for level in *levels {
            let rs = need(NeedOf::Subject, &[Read, Search]);
            rows.push(row((name, *level, OnTypes::Only(types)), vec![rs], Reserved::No, Answer::Check));
        }
    }
    rows
}

/// Operations on clinical records.
fn records() -> Vec<Row> {
    use Answer::Check;
    use Level::{Instance, System, Type};
    use NeedOf::Subject;
    use OnTypes::{Any, Only};
    use Reserved::{No, NotPatient, Unconstrained};
    const RECORD: OnTypes = Only(&["Patient", "Encounter"]);
    const COMPOSITION: OnTypes = Only(&["Composition"]);
    let any = |letters: &[Letter]| need(Subject, letters);
    vec![
        row(("$everything", Instance, RECORD), vec![any(&[Read, Search])], No, Check),
        row(("$everything", Type, RECORD), vec![any(&[Read, Search])], Unconstrained, Check),
        row(("$validate", Type, Any), vec![any(&[Create, Update])], No, Check),
        row(("$validate", Instance, Any), vec![any(&[Create, Update]), any(&[Read])], No, Check),
        row(("$lastn", Type, Only(&["Observation"])), vec![any(&[Search])], No, Check),
        row(("$document", Instance, COMPOSITION), vec![any(&[Read])], No, Check),
        row(("$document", Type, COMPOSITION), vec![any(&[Read])], No, Check),
        row(("$docref", Type, Only(&["DocumentReference"])), vec![any(&[Search])], No, Check),
        row(("$meta", Instance, Any), vec![any(&[Read])], No, Check),
        row(("$meta", Type, Any), vec![any(&[Read])], Unconstrained, Check),
        row(("$meta", System, Any), vec![any(&[Read])], Unconstrained, Check),
        row(("$meta-add", Instance, Any), vec![any(&[Update])], No, Check),
        row(("$meta-delete", Instance, Any), vec![any(&[Update])], No, Check),
        row(("$match", Type, Only(&["Patient"])), vec![any(&[Search])], NotPatient, Check),
    ]
}

/// Bulk exports (OPS-7), and what says nothing about anybody.
fn exports() -> Vec<Row> {
    use Answer::Pass;
    use Level::{Instance, System, Type};
    use NeedOf::{EachNamed, Word};
    use OnTypes::{Any, Only};
    use Reserved::{No, SystemOnly};
    let each = || need(EachNamed, &[Search]);
    let group = need(Word("Group"), &[Read]);
    vec![
        row(("$export", System, Any), vec![each()], SystemOnly, Pass),
        row(("$export", Type, Only(&["Patient"])), vec![each()], SystemOnly, Pass),
        row(("$export", Instance, Only(&["Group"])), vec![each(), group], SystemOnly, Pass),
        row(("$versions", System, Any), vec![], No, Pass),
    ]
}

fn need(of: NeedOf, letters: &[Letter]) -> OperationNeed {
    OperationNeed { of, letters: letters.to_vec() }
}

fn row(
    (name, level, types): (&str, Level, OnTypes),
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

    /// What is not known to only read may change anything.
    #[test]
    fn operations_that_only_read() {
        for row in OperationTable::delivered().rows() {
            let changes = matches!(row.name.as_str(), "$meta-add" | "$meta-delete");
            assert_eq!(only_reads(&row.name), !changes, "{}", row.name);
        }
        assert!(!only_reads("$graphql") && !only_reads("$process-message") && !only_reads("everything"));
    }

    /// Contract §6: `[[operation]]` adds or changes a row.
    #[test]
    fn a_row_added_later_wins() {
        let mut table = OperationTable::delivered();
        let observation = FhirVersion::R4.resource_type("Observation").expect("a type");
        table.put(row(
            ("$lastn", Level::Type, OnTypes::One(observation)),
            vec![],
            Reserved::No,
            Answer::Pass,
        ));
        assert_eq!(table.row("$lastn", Level::Type, Some(observation)).map(|r| r.answer), Some(Answer::Pass));
    }
}
