//! The FHIRPath of a patch: the part of the language that selects by name, position and literal (HL7 FHIRPath N1).
//!
//! A path is a resource type and then, with dots between them, element names, each followed by filters: `[n]`,
//! `first()`, `last()`, `where(name = 'literal' and …)`, `ofType(T)`, `extension('url')`. Everything else is refused.
//!
//! Servers read paths with engines of different ages, and some take a path apart with means of their own before they
//! `delete` or `replace`. [`Path::for_delete`] and [`Path::for_replace`] refuse what is known to come out differently.

use super::{PatchError, is_identity};

/// Longest path that is read.
const LENGTH: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Child(String),
    Extension(String),
    First,
    Index(usize),
    Last,
    OfType(String),
    Where(Vec<Condition>),
}

/// `name.name = 'literal'`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) names: Vec<String>,
    pub(super) literal: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) text: String,
    pub(super) resource_type: String,
    pub(super) steps: Vec<Step>,
}

impl Path {
    pub(super) fn read(text: &str) -> Result<Self, PatchError> {
        if text.len() > LENGTH {
            return Err(PatchError::TooMuch);
        }
        let mut scanner = Scanner { rest: text, text };
        let resource_type = scanner.word().to_owned();
        if !resource_type.starts_with(|first: char| first.is_ascii_uppercase()) {
            return scanner.fail("a path that begins with the type of the resource");
        }
        let mut steps = Vec::new();
        while !scanner.rest.is_empty() {
            if !steps.is_empty() && scanner.takes("[") {
                steps.push(Step::Index(scanner.index()?));
            } else if scanner.takes(".") {
                steps.push(scanner.step()?);
            } else {
                return scanner.fail("element names and filters, with dots between them");
            }
        }
        Ok(Self { text: text.to_owned(), resource_type, steps })
    }

    /// Refuses a path to the resource itself, its id, its type, or anything in these (REST-14).
    pub(super) fn spares_identity(&self) -> Result<(), PatchError> {
        match self.steps.first() {
            None => Err(PatchError::Identity),
            Some(Step::Child(name)) if is_identity(name) => Err(PatchError::Identity),
            Some(_) => Ok(()),
        }
    }

    /// The list that the path ends in by name, and the path to what holds it.
    pub(super) fn list(&self) -> Result<(&[Step], &str), PatchError> {
        self.spares_identity()?;
        match self.steps.split_last() {
            Some((Step::Child(name), parents)) => Ok((parents, name)),
            _ => self.unsupported("the name of a list at the end of the path"),
        }
    }

    /// Refuses what servers would not all delete.
    pub(super) fn for_delete(&self) -> Result<(), PatchError> {
        self.spares_identity()?;
        let groups = self.groups()?;
        // HAPI looks for what holds the element by the path without its functions, which is another path when there
        // are functions further up than the last two names.
        let (early, late) = groups.split_at(groups.len().saturating_sub(2));
        if early.iter().any(Group::calls) {
            return self.unsupported("functions at the last two names only, to delete");
        }
        // It takes the last name in the condition for the name of the list.
        match late.last() {
            Some(last) if last.extension || last.nested() => {
                self.unsupported("no extension() and no path in where() at the end, to delete")
            }
            _ => Ok(()),
        }
    }

    /// Refuses what servers would not all replace.
    pub(super) fn for_replace(&self) -> Result<(), PatchError> {
        self.spares_identity()?;
        let groups = self.groups()?;
        // HAPI walks the names of a path, those in conditions among them, and filters each list once.
        if groups.iter().any(|group| group.nested() || group.filters.len() + usize::from(group.extension) > 1)
        {
            return self.unsupported("one filter for each name, and no path in where(), to replace");
        }
        // It finds its place in the path by searching for a name.
        let within = groups.windows(2).any(|pair| match pair {
            [Group { name, filters: [Step::First | Step::Index(_) | Step::Last], .. }, next] => {
                name.contains(next.name)
            }
            _ => false,
        });
        let found_before = groups.split_last().is_some_and(|(last, before)| {
            let words = before.iter().flat_map(Group::words).chain([self.resource_type.as_str()]);
            matches!(last.filters, [Step::Where(_)]) && words.into_iter().any(|word| word.contains(last.name))
        });
        if within || found_before {
            return self.unsupported("no name that is part of an earlier one, to replace");
        }
        Ok(())
    }

    fn groups(&self) -> Result<Vec<Group<'_>>, PatchError> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            let (name, extension) = match step {
                Step::Child(name) => (name.as_str(), false),
                Step::Extension(_) => ("extension", true),
                Step::First | Step::Index(_) | Step::Last | Step::OfType(_) | Step::Where(_) => {
                    return self.unsupported("a name before a filter");
                }
            };
            let rest = self.steps.get(at + 1..).unwrap_or_default();
            let length = rest.iter().take_while(|step| step.filters()).count();
            let filters = rest.get(..length).unwrap_or_default();
            if filters.iter().any(|step| matches!(step, Step::OfType(_))) {
                return self.unsupported("no ofType() and as(), to delete or replace");
            }
            groups.push(Group { name, extension, filters });
            at += 1 + length;
        }
        Ok(groups)
    }

    fn unsupported<T>(&self, expected: &'static str) -> Result<T, PatchError> {
        Err(PatchError::unsupported(&self.text, expected))
    }
}

impl Step {
    /// The element name that it steps to.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Child(name) => Some(name),
            Self::Extension(_) => Some("extension"),
            Self::First | Self::Index(_) | Self::Last | Self::OfType(_) | Self::Where(_) => None,
        }
    }

    fn filters(&self) -> bool {
        match self {
            Self::Child(_) | Self::Extension(_) => false,
            Self::First | Self::Index(_) | Self::Last | Self::OfType(_) | Self::Where(_) => true,
        }
    }
}

/// An element name and the filters behind it.
struct Group<'p> {
    name: &'p str,
    /// Written as `extension('url')`.
    extension: bool,
    filters: &'p [Step],
}

impl<'p> Group<'p> {
    fn calls(&self) -> bool {
        self.extension || self.filters.iter().any(|step| !matches!(step, Step::Index(_)))
    }

    fn conditions(&self) -> impl Iterator<Item = &'p Condition> {
        self.filters.iter().flat_map(|step| match step {
            Step::Where(conditions) => conditions.as_slice(),
            Step::Child(_)
            | Step::Extension(_)
            | Step::First
            | Step::Index(_)
            | Step::Last
            | Step::OfType(_) => &[],
        })
    }

    fn nested(&self) -> bool {
        self.conditions().any(|condition| condition.names.len() > 1)
    }

    fn words(&self) -> impl Iterator<Item = &'p str> {
        let conditions = self.conditions().flat_map(|condition| {
            condition.names.iter().map(String::as_str).chain([condition.literal.as_str()])
        });
        [self.name, "where", "first", "last"].into_iter().chain(conditions)
    }
}

struct Scanner<'p> {
    rest: &'p str,
    text: &'p str,
}

impl<'p> Scanner<'p> {
    fn fail<T>(&self, expected: &'static str) -> Result<T, PatchError> {
        Err(PatchError::unsupported(self.text, expected))
    }

    fn takes(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, prefix: &'static str) -> Result<(), PatchError> {
        if self.takes(prefix) { Ok(()) } else { self.fail(prefix) }
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn word(&mut self) -> &'p str {
        let length = self.rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (word, rest) = self.rest.split_at_checked(length).unwrap_or(("", self.rest));
        self.rest = rest;
        word
    }

    fn name(&mut self) -> Result<&'p str, PatchError> {
        let name = self.word();
        if name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Ok(name);
        }
        self.fail("the name of an element")
    }

    fn index(&mut self) -> Result<usize, PatchError> {
        let digits = self.word();
        self.expect("]")?;
        match super::number(digits) {
            Some(index) => Ok(index),
            None => self.fail("a position, counted from 0"),
        }
    }

    /// A step after its dot.
    fn step(&mut self) -> Result<Step, PatchError> {
        let name = self.name()?;
        if !self.takes("(") {
            return Ok(Step::Child(name.to_owned()));
        }
        let step = match name {
            "as" | "ofType" => Step::OfType(self.word().to_owned()),
            "extension" => Step::Extension(self.literal()?),
            "first" => Step::First,
            "last" => Step::Last,
            "where" => Step::Where(self.conditions()?),
            _ => {
                return self
                    .fail("no functions but first(), last(), where(), ofType(), as() and extension()");
            }
        };
        self.expect(")")?;
        Ok(step)
    }

    fn conditions(&mut self) -> Result<Vec<Condition>, PatchError> {
        let mut conditions = Vec::new();
        loop {
            self.spaces();
            let mut names = vec![self.name()?.to_owned()];
            while self.takes(".") {
                names.push(self.name()?.to_owned());
            }
            self.spaces();
            self.expect("=")?;
            self.spaces();
            let literal = self.literal()?;
            conditions.push(Condition { names, literal });
            let before = self.rest;
            self.spaces();
            if self.rest == before || !self.takes("and ") {
                return Ok(conditions);
            }
        }
    }

    /// Text in single quotes. What would need an escape, or could end the path for a simpler reader, is refused.
    fn literal(&mut self) -> Result<String, PatchError> {
        self.expect("'")?;
        let Some((literal, rest)) = self.rest.split_once('\'') else {
            return self.fail("a literal in single quotes");
        };
        let plain = |it: char| !it.is_control() && !matches!(it, '\\' | '"' | '`' | '(' | ')' | '[' | ']');
        if literal.is_empty() || !literal.chars().all(plain) {
            return self.fail("a literal without escapes, quotes and brackets");
        }
        self.rest = rest;
        Ok(literal.to_owned())
    }
}
