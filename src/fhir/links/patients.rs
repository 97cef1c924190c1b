//! The patients that a document names (AUD-7).
//!
//! A document names a patient by a resource of the type with its id, contained ones included, by a `reference`, and by
//! the `fullUrl` of an entry, which is all that a history says of a deleted one. A reference counts when it is relative,
//! or absolute below one of the bases: what another server calls `Patient/1` is nobody here. Ids are FHIR's: what is no
//! id names nobody.

use std::collections::HashMap;

use super::Mapping;

/// Most patients that are remembered as named. Beyond, those of before are forgotten, and may be told again.
const REMEMBERED: usize = 100_000;

/// Longest id (FHIR R4 §2.24.0.1, `id`).
const LONGEST: usize = 64;

/// A patient that a document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The id.
    pub id: String,
    /// The place, from 0, of the entry of the outermost Bundle that names it, where that was asked for.
    pub entry: Option<usize>,
}

/// The patients that a document names, each once, in the order of their first mention.
#[derive(Debug, Clone, Default)]
pub struct Patients {
    grouping: Grouping,
    seen: HashMap<Box<str>, Option<usize>>,
    /// What was mentioned last: mostly it is mentioned again.
    last: Option<(Id, Option<usize>)>,
    fresh: Vec<Mention>,
}

/// Of what each patient is told once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Grouping {
    /// The whole document.
    #[default]
    Document,
    /// Each entry of the outermost Bundle.
    Entry,
}

impl Patients {
    /// None so far.
    #[must_use]
    pub fn by(grouping: Grouping) -> Self {
        Self { grouping, ..Self::default() }
    }

    /// Those named since this was last asked.
    pub fn take(&mut self) -> Vec<Mention> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether nobody was named since they were last taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Notes whom a reference names, by its value.
    pub fn refer(&mut self, value: &str, mapping: &Mapping) {
        if let Some(id) = named(value.as_bytes(), mapping) {
            self.note(id, None);
        }
    }

    /// Notes an id. Nothing is allocated for one that was noted before.
    pub(super) fn note(&mut self, id: Id, entry: Option<usize>) {
        let entry = entry.filter(|_| self.grouping == Grouping::Entry);
        if self.last.as_ref().is_some_and(|(last, of)| *last == id && *of == entry) {
            return;
        }
        self.last = Some((id, entry));
        // Entries follow one another, so the last one that named it tells whether this one has.
        match self.seen.get_mut(id.as_str()) {
            Some(of) if *of == entry => return,
            Some(of) => *of = entry,
            None => {
                if self.seen.len() == REMEMBERED {
                    self.seen.clear();
                }
                self.seen.insert(id.as_str().into(), entry);
            }
        }
        self.fresh.push(Mention { id: id.as_str().to_owned(), entry });
    }
}

/// An id, without a place on the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Id {
    /// The id that these bytes are.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| crate::fhir::is_id(text))?;
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: text.len() })
    }

    fn as_str(&self) -> &str {
        // An id was read from ASCII.
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// The patient that the value of a reference names. What follows the id, or the beginning of what does, is enough to
/// tell where it ends.
pub(super) fn named(value: &[u8], mapping: &Mapping) -> Option<Id> {
    let rest = value.strip_prefix(b"Patient/").or_else(|| mapping.below(value, b"/Patient/"))?;
    let ends = |byte: &u8| matches!(byte, b'/' | b'#' | b'?' | b'|');
    Id::read(rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?)
}

/// What a value could say of a patient, going by the name it stands under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// The entries of a Bundle, if it stands where they do.
    Entries,
    /// The id of a resource.
    Id,
    #[default]
    None,
    /// An address of a resource.
    Reference,
    /// The type of a resource.
    Type,
}

impl Role {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"id" => Self::Id,
            b"entry" => Self::Entries,
            b"fullUrl" | b"reference" => Self::Reference,
            b"resourceType" => Self::Type,
            _ => Self::None,
        }
    }

    /// Whether a value in this role may be text that says something.
    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Id | Self::Reference | Self::Type)
    }
}

/// A value that says something and was not all in one chunk. What was read of it is not passed on before all is known.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    role: Role,
    start: u64,
    raw: Vec<u8>,
}

impl Gathered {
    /// A value that begins at this offset.
    pub(super) fn begin(&mut self, role: Role, start: u64) {
        self.raw.clear();
        (self.role, self.start) = (role, start);
    }

    pub(super) fn undecided(&self) -> Option<u64> {
        (self.role != Role::None).then_some(self.start)
    }

    /// Takes what comes next; says whether it is enough to judge by, however the rest goes on. Each character may be
    /// written with 16 bytes.
    pub(super) fn extend(&mut self, bytes: &[u8], mapping: &Mapping) -> bool {
        let most = 16 * (mapping.longest() + 2 * LONGEST);
        let room = most.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        self.raw.len() == most
    }

    /// Ends it; gives its role and what was read, as written.
    pub(super) fn end(&mut self) -> (Role, Vec<u8>) {
        (std::mem::take(&mut self.role), std::mem::take(&mut self.raw))
    }
}

#[cfg(test)]
mod tests;
