//! The scan of JSON.

mod skim;

use std::ops::Range;

use super::patients::{Gathered, Id, Role, named};
use super::{Broken, Carried, Comparison, DEPTH, Found, Name, Progress, Rule};
use crate::fhir::json::{plain_run, unescape};

/// Where in the grammar the scan stands. Kept from chunk to chunk.
#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    /// Which of the open containers are objects, the innermost in the lowest bit.
    objects: u128,
    depth: u32,
    /// The next string is a key.
    key_next: bool,
    /// A value has been begun.
    begun: bool,
    /// The key that the current value belongs to.
    name: Name,
    carried: Carried,
    /// The value that is being compared; kept apart to keep the state small.
    compared: Option<(Comparison, Escape)>,
    /// What the value of the last key is.
    role: Role,
    /// Of the open objects, those that may be a patient, the innermost last.
    frames: Vec<Frame>,
    /// A value that the chunk before began, and whether it goes on after a backslash.
    gathered: (Gathered, Escaped),
    /// Which entry of the outermost Bundle is open: how many have begun.
    entries: Option<usize>,
    documents: Documents,
}

/// An object that says of itself that it is a patient, or which id it has.
#[derive(Debug)]
struct Frame {
    depth: u32,
    is_patient: bool,
    id: Option<Id>,
}

/// How many documents follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Documents {
    Many,
    #[default]
    One,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// Comparing a value with the bases.
    Compare,
    /// Inside a key that the chunk before began.
    Key(Escaped),
    /// Inside a value that is not of interest, or no more.
    Skip(Escaped),
}

/// Whether the next byte follows a backslash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escaped {
    #[default]
    No,
    Yes,
}

/// An escape that is being read.
#[derive(Debug, Clone, Copy)]
struct Escape {
    /// Where it begins.
    start: u64,
    /// How many of its bytes have been read; 0 when there is none.
    read: u8,
    code: u32,
}

/// Where a string ends.
#[derive(Clone, Copy)]
enum End {
    /// Here, and whether there are escapes in it.
    At(usize, Spelling),
    Beyond(Escaped),
}

/// How a string is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Escaped,
    Plain,
}

impl Scan {
    /// A scan of several documents, one after the other.
    pub(super) fn of_many() -> Self {
        Self { documents: Documents::Many, ..Self::default() }
    }

    pub(super) fn chunk(
        &mut self,
        bytes: &[u8],
        offset: u64,
        rule: &Rule<'_>,
        found: &mut Found,
    ) -> Result<(), Broken> {
        let mut at = 0;
        if self.gathered.0.undecided().is_some() && !bytes.is_empty() {
            self.gather(bytes, rule, found)?;
        }
        while at < bytes.len() {
            at = match std::mem::take(&mut self.state) {
                State::Between => self.between((bytes, at), offset, rule, found)?,
                State::Compare => {
                    let Some(compared) = self.compared.take() else { continue };
                    let (find, at) = self.compare(compared, (bytes, at), offset, rule)?;
                    found.ranges.extend(find);
                    at
                }
                State::Key(escaped) => self.key_goes_on(bytes, at, escaped, rule)?,
                State::Skip(escaped) => {
                    let end = string_end(bytes, at, escaped)?;
                    self.skipped(end, bytes.len())
                }
            };
        }
        if let Name::Here(range) = &self.name {
            self.name = Name::Judged(judge(bytes.get(range.clone()).unwrap_or_default(), rule));
        }
        Ok(())
    }

    pub(super) fn undecided(&self) -> Option<u64> {
        let compared = self.compared.as_ref().map(|(comparison, _)| comparison.start);
        compared.or_else(|| self.gathered.0.undecided())
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        let between = self.state == State::Between;
        let begun = self.begun || self.documents == Documents::Many;
        if between && self.depth == 0 && begun { Ok(()) } else { Err(Broken::Truncated) }
    }

    /// Passes over structure and over strings that are not of interest.
    #[inline]
    fn between(
        &mut self,
        (bytes, mut at): (&[u8], usize),
        offset: u64,
        rule: &Rule<'_>,
        found: &mut Found,
    ) -> Result<usize, Broken> {
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' if self.key_next => match string_end(bytes, at, Escaped::No)? {
                    End::At(end, spelling) => {
                        self.role = role(bytes.get(at..end).unwrap_or_default(), spelling);
                        self.name = Name::Here(at..end);
                        at = end + 1;
                    }
                    End::Beyond(escaped) => {
                        self.carried.0.clear();
                        self.carried.extend(bytes.get(at..).unwrap_or_default());
                        self.state = State::Key(escaped);
                        return Ok(bytes.len());
                    }
                },
                b'"' => {
                    self.begun = true;
                    let end = match std::mem::take(&mut self.role) {
                        role if role.reads() => {
                            Some(self.value((bytes, at), role, offset, (rule, &mut *found))?)
                        }
                        _ => None,
                    };
                    match bytes.get(at).map(u8::to_ascii_lowercase) {
                        Some(first) if first != rule.mapping.first && first != b'\\' => {
                            let end = end.map_or_else(|| string_end(bytes, at, Escaped::No), Ok)?;
                            at = self.skipped(end, bytes.len());
                        }
                        _ => {
                            let comparison = Comparison::begin(rule.mapping, offset + at as u64);
                            self.compared = Some((comparison, Escape::NONE));
                            self.state = State::Compare;
                            return Ok(at);
                        }
                    }
                }
                b':' => self.key_next = false,
                b',' => self.key_next = self.objects & 1 == 1,
                b'{' => {
                    self.open(1)?;
                    at = self.skim((bytes, at), offset, rule, found)?;
                }
                b'[' => self.open(0)?,
                b'}' => self.close(1)?,
                b']' => self.close(0)?,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => self.begun = true,
            }
        }
        Ok(at)
    }

    /// Goes on after a string that ended, or waits for its end.
    fn skipped(&mut self, end: End, length: usize) -> usize {
        match end {
            End::At(end, _) => end + 1,
            End::Beyond(escaped) => {
                self.state = State::Skip(escaped);
                length
            }
        }
    }

    #[inline]
    fn open(&mut self, object: u128) -> Result<(), Broken> {
        if self.depth == 0 && self.begun && self.documents == Documents::One {
            return Err(Broken::Malformed);
        }
        if self.depth == DEPTH {
            return Err(Broken::TooDeep);
        }
        let role = std::mem::take(&mut self.role);
        match (self.depth, object) {
            (1, 0) if role == Role::Entries => self.entries = Some(0),
            (2, 1) => self.entries = self.entries.map(|begun| begun + 1),
            _ => {}
        }
        self.begun = true;
        self.depth += 1;
        self.objects = (self.objects << 1) | object;
        self.key_next = object == 1;
        Ok(())
    }

    #[inline]
    fn close(&mut self, object: u128) -> Result<(), Broken> {
        if self.depth == 0 || self.objects & 1 != object {
            return Err(Broken::Unbalanced);
        }
        if self.frames.last().is_some_and(|frame| frame.depth == self.depth) {
            self.frames.pop();
        }
        self.depth -= 1;
        if self.depth == 1 {
            self.entries = None;
        }
        self.objects >>= 1;
        self.key_next = false;
        self.role = Role::None;
        // What follows in an outer array does not belong to a key in here.
        self.name = Name::None;
        Ok(())
    }

    fn key_goes_on(
        &mut self,
        bytes: &[u8],
        at: usize,
        escaped: Escaped,
        rule: &Rule<'_>,
    ) -> Result<usize, Broken> {
        match string_end(bytes, at, escaped)? {
            End::At(end, _) => {
                self.carried.extend(bytes.get(at..end).unwrap_or_default());
                self.name = Name::Judged(judge(&self.carried.0, rule));
                self.role = role(&self.carried.0, Spelling::Escaped);
                Ok(end + 1)
            }
            End::Beyond(escaped) => {
                self.carried.extend(bytes.get(at..).unwrap_or_default());
                self.state = State::Key(escaped);
                Ok(bytes.len())
            }
        }
    }

    /// Reads a value that says something of a patient, or begins to gather it; says where it ends.
    fn value(
        &mut self,
        (bytes, at): (&[u8], usize),
        role: Role,
        offset: u64,
        (rule, found): (&Rule<'_>, &mut Found),
    ) -> Result<End, Broken> {
        let end = string_end(bytes, at, Escaped::No)?;
        match end {
            End::At(end, Spelling::Plain) => {
                self.note(role, bytes.get(at..end).unwrap_or_default(), rule, found)?;
            }
            End::At(end, Spelling::Escaped) => {
                self.note(role, &decoded(bytes.get(at..end).unwrap_or_default()), rule, found)?;
            }
            End::Beyond(escaped) => {
                self.gathered.0.begin(role, offset + at as u64);
                self.gathered.1 = escaped;
                self.more(bytes.get(at..).unwrap_or_default(), rule, found)?;
            }
        }
        Ok(end)
    }

    /// Goes on with a value that the chunk before began.
    fn gather(&mut self, bytes: &[u8], rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        match string_end(bytes, 0, self.gathered.1)? {
            End::At(end, _) => {
                self.more(bytes.get(..end).unwrap_or_default(), rule, found)?;
                self.gathered(rule, found)
            }
            End::Beyond(escaped) => {
                self.gathered.1 = escaped;
                self.more(bytes, rule, found)
            }
        }
    }

    fn more(&mut self, bytes: &[u8], rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        if self.gathered.0.extend(bytes, rule.mapping) { self.gathered(rule, found) } else { Ok(()) }
    }

    fn gathered(&mut self, rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        let (role, raw) = self.gathered.0.end();
        self.note(role, &decoded(&raw), rule, found)
    }

    /// Notes what a value says.
    #[inline]
    fn note(&mut self, role: Role, value: &[u8], rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        let entry = self.entries.and_then(|begun| begun.checked_sub(1));
        let depth = self.depth;
        let frame = self.frames.last_mut().filter(|frame| frame.depth == depth);
        match role {
            Role::Reference => {
                if let Some(id) = named(value, rule.mapping) {
                    found.patients.note(id, entry);
                }
            }
            Role::Type if value == b"Patient" => match frame {
                Some(frame) => {
                    frame.is_patient = true;
                    if let Some(id) = frame.id {
                        found.patients.note(id, entry);
                    }
                }
                None => self.frames.push(Frame { depth, is_patient: true, id: None }),
            },
            Role::Id => match (Id::read(value), frame) {
                (None, _) => {}
                (Some(id), None) => self.frames.push(Frame { depth, is_patient: false, id: Some(id) }),
                (Some(id), Some(frame)) if frame.is_patient => found.patients.note(id, entry),
                // Of two ids nobody could tell which one a reader takes.
                (Some(id), Some(frame)) if frame.id != Some(id) => return Err(Broken::Malformed),
                (Some(_), Some(_)) => {}
            },
            Role::Entries | Role::None | Role::Type => {}
        }
        Ok(())
    }

    fn compare(
        &mut self,
        (mut comparison, mut escape): (Comparison, Escape),
        (bytes, mut at): (&[u8], usize),
        offset: u64,
        rule: &Rule<'_>,
    ) -> Result<(Option<Range<u64>>, usize), Broken> {
        while let Some(byte) = bytes.get(at) {
            let here = offset + at as u64;
            if *byte == b'"' && escape.read == 0 {
                let end = comparison.end(rule.mapping, here);
                return Ok((self.find(&comparison, end, bytes, rule), at + 1));
            }
            if *byte < 0x20 {
                return Err(Broken::Malformed);
            }
            at += 1;
            let start = if escape.read == 0 { here } else { escape.start };
            if let Some(decoded) = escape.take(*byte, here)?
                && comparison.feed(rule.mapping, decoded, start) == Progress::Decided
            {
                self.state = State::Skip(Escaped::No);
                return Ok((self.find(&comparison, comparison.best, bytes, rule), at));
            }
        }
        self.compared = Some((comparison, escape));
        self.state = State::Compare;
        Ok((None, at))
    }

    fn find(
        &self,
        comparison: &Comparison,
        end: Option<u64>,
        bytes: &[u8],
        rule: &Rule<'_>,
    ) -> Option<Range<u64>> {
        let end = end?;
        let named = match &self.name {
            Name::Here(range) => judge(bytes.get(range.clone()).unwrap_or_default(), rule),
            Name::Judged(named) => *named,
            Name::None => false,
        };
        named.then_some(comparison.start..end)
    }
}

impl Escape {
    const NONE: Self = Self { start: 0, read: 0, code: 0 };

    /// Takes the next byte of a string; gives a decoded byte when there is one.
    /// What is not ASCII comes as 0xFF, which no base holds.
    fn take(&mut self, byte: u8, offset: u64) -> Result<Option<u8>, Broken> {
        match (self.read, byte) {
            (0, b'\\') => *self = Self { start: offset, read: 1, code: 0 },
            (0, 0x80..) => return Ok(Some(0xFF)),
            (0, _) => return Ok(Some(byte)),
            (1, b'u') => self.read = 2,
            (1, _) => {
                self.read = 0;
                // Of the other escapes only these stand for what a URL may hold.
                return Ok(Some(if matches!(byte, b'/' | b'"' | b'\\') { byte } else { 0xFF }));
            }
            _ => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken::Malformed)?;
                self.code = (self.code << 4) | digit;
                self.read += 1;
                if self.read == 6 {
                    self.read = 0;
                    return Ok(Some(u8::try_from(self.code).ok().filter(u8::is_ascii).unwrap_or(0xFF)));
                }
            }
        }
        Ok(None)
    }
}

fn judge(raw: &[u8], rule: &Rule<'_>) -> bool {
    std::str::from_utf8(raw).is_ok_and(|raw| (rule.is_uri)(&unescape(raw)))
}

/// What a key's value is; of one in pieces it is not known how it is spelt.
#[inline]
fn role(raw: &[u8], spelling: Spelling) -> Role {
    match spelling {
        Spelling::Escaped => Role::of(&decoded(raw)),
        Spelling::Plain => Role::of(raw),
    }
}

/// The text of a string as far as it is ASCII, up to an escape that is none.
fn decoded(raw: &[u8]) -> Vec<u8> {
    let mut escape = Escape::NONE;
    raw.iter().map_while(|byte| escape.take(*byte, 0).ok()).flatten().collect()
}

#[inline]
fn string_end(bytes: &[u8], mut at: usize, escaped: Escaped) -> Result<End, Broken> {
    let mut spelling = Spelling::Plain;
    if escaped == Escaped::Yes {
        at += 1;
    }
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return Ok(End::At(at, spelling)),
            Some(b'\\') if at + 1 == bytes.len() => return Ok(End::Beyond(Escaped::Yes)),
            Some(b'\\') => {
                spelling = Spelling::Escaped;
                at += 2;
            }
            Some(_) => return Err(Broken::Malformed),
            None => return Ok(End::Beyond(Escaped::No)),
        }
    }
}
