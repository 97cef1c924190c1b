//! The text of a configuration file, read as TOML with every value's place kept.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaint::{Complaint, Finding, Place, shown};

/// The text of a configuration file and the name it goes by in complaints.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
}

/// Where a value stands and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) value: String,
}

/// Every key and list member of a file by its path.
pub(super) type Writings = BTreeMap<String, Written>;

impl Source {
    /// Takes the text of a file that goes by `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        // A byte order mark is no part of the text (TOML 1.1, "Spec").
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Self { name: name.into(), text }
    }

    /// The name it goes by in complaints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the text as TOML; every fault of the syntax is a complaint.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Vec<Complaint>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Ok(table);
        }
        let mut faults: Vec<_> = errors.iter().map(|error| self.syntax(error)).collect();
        faults.sort_by_key(|fault| fault.place);
        Err(faults)
    }

    fn syntax(&self, error: &toml::de::Error) -> Complaint {
        let message = error.message().replace('\n', ", ");
        let (finding, expected) = match message.split_once(", expected ") {
            Some((finding, expected)) => (finding.to_owned(), expected.to_owned()),
            None => (message, "a TOML document".to_owned()),
        };
        let (expected, mend) = if finding.contains("duplicate key") {
            ("each key once".to_owned(), "keep one of the two")
        } else {
            (expected, "mend the syntax here: `key = value` with text in double quotes, and `[table]` lines")
        };
        Complaint {
            file: self.name.clone(),
            place: error.span().map(|span| self.place(span.start)),
            finding: Finding::Text(finding),
            expected,
            mend: mend.to_owned(),
        }
    }

    /// The line and column of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line, column: before.get(start..).unwrap_or_default().chars().count() + 1 }
    }

    /// How a value reads in a complaint.
    pub(super) fn written(&self, value: &Spanned<DeValue<'_>>) -> Written {
        let text = match value.get_ref() {
            DeValue::String(text) => shown(text),
            // Tables may hold a secret in the wrong place, so they are not shown.
            DeValue::Table(_) => "{…}".to_owned(),
            DeValue::Array(members) if members.iter().any(|member| member.get_ref().is_table()) => {
                "[{…}]".to_owned()
            }
            DeValue::Array(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Float(_)
            | DeValue::Integer(_) => shown(self.slice(value.span())),
        };
        Written { place: self.place(value.span().start), value: text }
    }

    fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let source = Source::new("f", "a = 1\nä = \"ü\"\n");
        let table = [(0, (1, 1)), (4, (1, 5)), (6, (2, 1)), (8, (2, 2)), (999, (3, 1))];
        for (offset, (line, column)) in table {
            assert_eq!(source.place(offset), Place { line, column }, "{offset}");
        }
    }

    #[test]
    fn every_fault_of_the_syntax_is_a_complaint_with_a_place() {
        let faults = Source::new("f", "a = \nb = 2\nc = [1\nd = 3\n").parse().err().unwrap_or_default();
        assert!(faults.len() >= 2, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.place.is_some()), "{faults:?}");
        assert!(Source::new("f", "\u{feff}a = 1").parse().is_ok());
    }
}
