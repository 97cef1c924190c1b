//! The scan of XML.

use std::ops::Range;

use super::patients::{Gathered, Id, Role, named};
use super::{Broken, Carried, Comparison, DEPTH, Found, Progress, Rule};
use crate::fhir::xml::one_reference;

/// Where in the grammar the scan stands. Kept from chunk to chunk.
#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    depth: u32,
    /// How many elements were open where the narrative began.
    narrative: Option<u32>,
    /// The root has been begun.
    begun: bool,
    /// Whether the values of the element that is open are uris.
    element: Verdict,
    /// The beginning of a name that was not all in one chunk.
    carried: Carried,
    /// The part of a reference that has been read.
    reference: Vec<u8>,
    /// The value that is being compared; kept apart to keep the state small.
    compared: Option<Comparison>,
    /// What the value of the element that is open is.
    role: Role,
    /// Of the patients that are open, how deep their elements stand, the innermost last.
    patients: Vec<u32>,
    /// A value that the chunk before began, and the quote that ends it.
    gathered: (Gathered, u8),
    /// How many entries of the outermost Bundle have begun, and whether one is open.
    entries: (usize, Within),
}

/// Whether an entry of the outermost Bundle is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    Entry,
    #[default]
    None,
}

/// What an attribute's value could be, going by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Other,
    /// Not a uri, but it says something of a patient.
    Told,
    Uri,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// In an attribute's name.
    Attribute,
    /// After `<!`, so much of what follows having been read.
    Bang(u8),
    /// In a CDATA section, after so many `]`.
    Cdata(u8),
    /// In a comment, after so many `-`.
    Comment(u8),
    /// Comparing a value with the bases, until this quote.
    Compare(u8),
    /// In an end tag.
    EndTag,
    /// After an attribute's name.
    Equals(Verdict),
    /// In a processing instruction; whether after `?`.
    Instruction(bool),
    /// After `<`.
    Less,
    /// In a start tag's name.
    Name,
    /// In a value that is not of interest, or no more, until this quote.
    Skip(u8),
    /// In a start tag after `/`.
    Slash,
    /// In a start tag between attributes.
    Tag,
    /// Between tags.
    #[default]
    Text,
}

impl Scan {
    pub(super) fn chunk(
        &mut self,
        bytes: &[u8],
        offset: u64,
        rule: &Rule<'_>,
        found: &mut Found,
    ) -> Result<(), Broken> {
        let mut at = 0;
        if self.gathered.0.undecided().is_some() {
            self.gather(bytes, rule, found);
        }
        while let Some(byte) = bytes.get(at).copied() {
            let rest = bytes.get(at..).unwrap_or_default();
            let taken = match std::mem::take(&mut self.state) {
                State::Text => self.text(rest),
                State::Less => self.less(rest, rule)?,
                State::Name => self.name(rest, rule)?,
                State::EndTag => self.end_tag(rest)?,
                State::Tag => self.tag(rest, rule)?,
                State::Slash => self.slash(byte)?,
                State::Attribute => self.attribute(rest, rule)?,
                State::Equals(verdict) => {
                    let taken = self.equals(byte, verdict, offset + at as u64, rule)?;
                    if matches!(self.state, State::Compare(_) | State::Skip(_)) && verdict != Verdict::Other {
                        let begin = offset + at as u64 + 1;
                        self.value((bytes.get(at + 1..).unwrap_or_default(), byte), begin, rule, found);
                    }
                    taken
                }
                State::Skip(quote) => self.skip(rest, quote),
                State::Compare(quote) => {
                    let Some(comparison) = self.compared.take() else { continue };
                    let (find, taken) = self.compare((comparison, quote), rest, offset + at as u64, rule)?;
                    found.ranges.extend(find);
                    taken
                }
                State::Bang(read) => self.bang(byte, read)?,
                State::Comment(dashes) => self.comment(byte, dashes)?,
                State::Cdata(brackets) => self.cdata(byte, brackets),
                State::Instruction(question) => self.instruction(byte, question),
            };
            at += taken;
        }
        Ok(())
    }

    pub(super) fn undecided(&self) -> Option<u64> {
        let compared = self.compared.as_ref().map(|comparison| comparison.start);
        compared.or_else(|| self.gathered.0.undecided())
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        let between = self.state == State::Text;
        if between && self.depth == 0 && self.begun { Ok(()) } else { Err(Broken::Truncated) }
    }

    #[inline]
    fn text(&mut self, rest: &[u8]) -> usize {
        // Between FHIR's elements there is mostly nothing.
        let next = if rest.first() == Some(&b'<') { Some(0) } else { memchr::memchr(b'<', rest) };
        match next {
            Some(at) => {
                self.state = State::Less;
                at + 1
            }
            None => rest.len(),
        }
    }

    #[inline]
    fn less(&mut self, rest: &[u8], rule: &Rule<'_>) -> Result<usize, Broken> {
        self.state = match rest.first() {
            Some(b'/') => State::EndTag,
            Some(b'!') => State::Bang(0),
            Some(b'?') => State::Instruction(false),
            _ if self.depth == 0 && self.begun => return Err(Broken::Malformed),
            _ if self.depth == DEPTH => return Err(Broken::TooDeep),
            _ => {
                self.begun = true;
                self.carried.0.clear();
                return self.name(rest, rule);
            }
        };
        Ok(1)
    }

    /// Reads to the end of a name; gives it when it ends in this chunk.
    #[inline]
    fn name_end<'b>(&'b mut self, rest: &'b [u8]) -> (Option<&'b [u8]>, usize) {
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'/' | b'>' | b'=');
        match rest.iter().position(ends) {
            Some(length) if self.carried.0.is_empty() => (rest.get(..length), length),
            Some(length) => {
                self.carried.extend(rest.get(..length).unwrap_or_default());
                (Some(&self.carried.0), length)
            }
            None => {
                self.carried.extend(rest);
                (None, rest.len())
            }
        }
    }

    #[inline]
    fn name(&mut self, rest: &[u8], rule: &Rule<'_>) -> Result<usize, Broken> {
        let inside = self.narrative.is_some();
        let (name, taken) = self.name_end(rest);
        let Some(name) = name else {
            self.state = State::Name;
            return Ok(taken);
        };
        if name.is_empty() {
            return Err(Broken::Malformed);
        }
        let narrative = !inside && name == b"div";
        // Judged even when the element has no value: cheaper than carrying the
        // name, since most elements that are no leaves fail at once.
        let named = !inside && std::str::from_utf8(name).is_ok_and(rule.is_uri);
        let role = if inside { Role::None } else { role(name) };
        self.role = self.stands(role);
        let told = if self.role.reads() { Verdict::Told } else { Verdict::Other };
        self.element = if named { Verdict::Uri } else { told };
        if narrative {
            self.narrative = Some(self.depth);
        }
        self.depth += 1;
        self.state = State::Tag;
        Ok(taken)
    }

    #[inline]
    fn tag(&mut self, rest: &[u8], rule: &Rule<'_>) -> Result<usize, Broken> {
        // The usual ways on are taken at once, the others byte by byte.
        self.state = match rest {
            [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] => match rest {
                [b'a'..=b'z', ..] => {
                    self.carried.0.clear();
                    return Ok(self.attribute(rest, rule)? + 1);
                }
                _ => State::Tag,
            },
            [b'/', b'>', ..] => {
                self.leave()?;
                return Ok(2);
            }
            [b'>', ..] => State::Text,
            [b'/', ..] => State::Slash,
            [b'<' | b'=' | b'"' | b'\'', ..] => return Err(Broken::Malformed),
            _ => {
                self.carried.0.clear();
                return self.attribute(rest, rule);
            }
        };
        Ok(1)
    }

    fn slash(&mut self, byte: u8) -> Result<usize, Broken> {
        if byte != b'>' {
            return Err(Broken::Malformed);
        }
        self.leave()?;
        Ok(1)
    }

    fn leave(&mut self) -> Result<(), Broken> {
        self.depth = self.depth.checked_sub(1).ok_or(Broken::Unbalanced)?;
        if self.narrative == Some(self.depth) {
            self.narrative = None;
        }
        if self.patients.last() == Some(&self.depth) {
            self.patients.pop();
        }
        if self.depth == 1 {
            self.entries.1 = Within::None;
        }
        Ok(())
    }

    #[inline]
    fn end_tag(&mut self, rest: &[u8]) -> Result<usize, Broken> {
        match memchr::memchr(b'>', rest) {
            Some(at) => {
                self.leave()?;
                Ok(at + 1)
            }
            None => {
                self.state = State::EndTag;
                Ok(rest.len())
            }
        }
    }

    #[inline]
    fn attribute(&mut self, rest: &[u8], rule: &Rule<'_>) -> Result<usize, Broken> {
        let (inside, element) = (self.narrative.is_some(), self.element);
        let (name, taken) = self.name_end(rest);
        let Some(name) = name else {
            self.state = State::Attribute;
            return Ok(taken);
        };
        let verdict = match name {
            _ if inside => Verdict::Other,
            b"value" => element,
            b"url" if (rule.is_uri)("url") => Verdict::Uri,
            _ => Verdict::Other,
        };
        self.state = match (rest.get(taken..), verdict) {
            (Some([b'=', b'"', value @ ..]), Verdict::Other) => {
                return Ok(taken + 2 + self.skip(value, b'"'));
            }
            _ => State::Equals(verdict),
        };
        Ok(taken)
    }

    #[inline]
    fn equals(&mut self, byte: u8, verdict: Verdict, here: u64, rule: &Rule<'_>) -> Result<usize, Broken> {
        self.state = match (byte, verdict) {
            (b'=' | b' ' | b'\t' | b'\n' | b'\r', _) => State::Equals(verdict),
            (b'"' | b'\'', Verdict::Other | Verdict::Told) => State::Skip(byte),
            (b'"' | b'\'', Verdict::Uri) => {
                self.reference.clear();
                self.compared = Some(Comparison::begin(rule.mapping, here + 1));
                State::Compare(byte)
            }
            _ => return Err(Broken::Malformed),
        };
        Ok(1)
    }

    /// What the value of an element is, going by where it stands.
    #[inline]
    fn stands(&mut self, role: Role) -> Role {
        match role {
            Role::Type => self.patients.push(self.depth),
            Role::Entries if self.depth == 1 => self.entries = (self.entries.0 + 1, Within::Entry),
            Role::Id if self.depth.checked_sub(1).is_some_and(|over| self.patients.last() == Some(&over)) => {
                return Role::Id;
            }
            Role::Reference => return Role::Reference,
            Role::Entries | Role::Id | Role::None => {}
        }
        Role::None
    }

    /// Reads a value that may say something of a patient, or begins to gather it.
    fn value(&mut self, (rest, quote): (&[u8], u8), begin: u64, rule: &Rule<'_>, found: &mut Found) {
        if !self.role.reads() {
            return;
        }
        match memchr::memchr(quote, rest) {
            Some(end) => {
                let raw = rest.get(..end).unwrap_or_default();
                match memchr::memchr(b'&', raw) {
                    Some(_) => self.note(self.role, &decoded(raw), rule, found),
                    None => self.note(self.role, raw, rule, found),
                }
            }
            None => {
                self.gathered.0.begin(self.role, begin);
                self.gathered.1 = quote;
                self.more(rest, rule, found);
            }
        }
    }

    /// Goes on with a value that the chunk before began.
    fn gather(&mut self, bytes: &[u8], rule: &Rule<'_>, found: &mut Found) {
        let end = memchr::memchr(self.gathered.1, bytes);
        self.more(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default(), rule, found);
        if end.is_some() {
            self.gathered(rule, found);
        }
    }

    fn more(&mut self, bytes: &[u8], rule: &Rule<'_>, found: &mut Found) {
        if self.gathered.0.extend(bytes, rule.mapping) {
            self.gathered(rule, found);
        }
    }

    fn gathered(&mut self, rule: &Rule<'_>, found: &mut Found) {
        let (role, raw) = self.gathered.0.end();
        self.note(role, &decoded(&raw), rule, found);
    }

    fn note(&self, role: Role, value: &[u8], rule: &Rule<'_>, found: &mut Found) {
        let id = match role {
            Role::Id => Id::read(value),
            Role::Reference => named(value, rule.mapping),
            Role::Entries | Role::None | Role::Type => None,
        };
        let (begun, within) = self.entries;
        let entry = begun.checked_sub(1).filter(|_| within == Within::Entry);
        if let Some(id) = id {
            found.patients.note(id, entry);
        }
    }

    #[inline]
    fn skip(&mut self, rest: &[u8], quote: u8) -> usize {
        match memchr::memchr(quote, rest) {
            Some(at) => {
                self.state = State::Tag;
                at + 1
            }
            None => {
                self.state = State::Skip(quote);
                rest.len()
            }
        }
    }

    fn compare(
        &mut self,
        (mut comparison, quote): (Comparison, u8),
        rest: &[u8],
        offset: u64,
        rule: &Rule<'_>,
    ) -> Result<(Option<Range<u64>>, usize), Broken> {
        for (at, byte) in rest.iter().copied().enumerate() {
            let here = offset + at as u64;
            if byte == quote {
                if !self.reference.is_empty() {
                    return Err(Broken::Malformed);
                }
                self.state = State::Tag;
                let end = comparison.end(rule.mapping, here);
                return Ok((end.map(|end| comparison.start..end), at + 1));
            }
            let start = here - self.reference.len() as u64;
            if let Some(decoded) = self.decode(byte)?
                && comparison.feed(rule.mapping, decoded, start) == Progress::Decided
            {
                self.state = State::Skip(quote);
                return Ok((comparison.best.map(|end| comparison.start..end), at + 1));
            }
        }
        self.compared = Some(comparison);
        self.state = State::Compare(quote);
        Ok((None, rest.len()))
    }

    /// Takes the next byte of a value; gives a decoded byte when there is one.
    /// What is not ASCII comes as 0xFF, which no base holds.
    fn decode(&mut self, byte: u8) -> Result<Option<u8>, Broken> {
        if self.reference.is_empty() && byte != b'&' {
            return Ok(Some(if byte.is_ascii() { byte } else { 0xFF }));
        }
        self.reference.push(byte);
        if byte != b';' {
            return if self.reference.len() > 16 { Err(Broken::Malformed) } else { Ok(None) };
        }
        let (decoded, _) = one_reference(&self.reference).ok_or(Broken::Malformed)?;
        self.reference.clear();
        Ok(Some(u8::try_from(decoded).ok().filter(u8::is_ascii).unwrap_or(0xFF)))
    }

    /// Tells comments and CDATA sections from document types, which are refused.
    fn bang(&mut self, byte: u8, read: u8) -> Result<usize, Broken> {
        const CDATA: &[u8] = b"[CDATA[";
        // CDATA's letters are counted from 8, so that one number tells both words.
        self.state = match (read, byte) {
            (0, b'-') => State::Bang(1),
            (1, b'-') => State::Comment(0),
            (0, b'[') => State::Bang(9),
            (9.., _) if CDATA.get(usize::from(read) - 8) == Some(&byte) => {
                if usize::from(read) - 8 == CDATA.len() - 1 { State::Cdata(0) } else { State::Bang(read + 1) }
            }
            _ => return Err(Broken::Malformed),
        };
        Ok(1)
    }

    fn comment(&mut self, byte: u8, dashes: u8) -> Result<usize, Broken> {
        self.state = match (byte, dashes) {
            (b'>', 2) => State::Text,
            (_, 2) => return Err(Broken::Malformed),
            (b'-', _) => State::Comment(dashes + 1),
            _ => State::Comment(0),
        };
        Ok(1)
    }

    fn cdata(&mut self, byte: u8, brackets: u8) -> usize {
        self.state = match (byte, brackets) {
            (b'>', 2) => State::Text,
            (b']', _) => State::Cdata((brackets + 1).min(2)),
            _ => State::Cdata(0),
        };
        1
    }

    fn instruction(&mut self, byte: u8, question: bool) -> usize {
        self.state = match (byte, question) {
            (b'>', true) => State::Text,
            _ => State::Instruction(byte == b'?'),
        };
        1
    }
}

/// What an element is, going by its name without its prefix. Whoever writes one is not read otherwise, but names whom it
/// names.
#[inline]
fn role(name: &[u8]) -> Role {
    // Most names are told by their last letter.
    if !matches!(name.last(), Some(b'd' | b'e' | b'l' | b't' | b'y')) {
        return Role::None;
    }
    match memchr::memrchr(b':', name).map_or(Some(name), |at| name.get(at + 1..)) {
        // Only resources are called so.
        Some(b"Patient") => Role::Type,
        Some(b"entry") => Role::Entries,
        Some(b"fullUrl" | b"reference") => Role::Reference,
        Some(b"id") => Role::Id,
        Some(_) | None => Role::None,
    }
}

/// The text of a value as far as it is ASCII, up to a reference that is none.
fn decoded(raw: &[u8]) -> Vec<u8> {
    let mut scan = Scan::default();
    raw.iter().map_while(|byte| scan.decode(*byte).ok()).flatten().collect()
}
