//! The scan of JSON.

use std::ops::Range;

use super::{Broken, Carried, Comparison, DEPTH, Name, Progress, Rule};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escaped {
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
enum End {
    At(usize),
    Beyond(Escaped),
}

impl Scan {
    pub(super) fn chunk(
        &mut self,
        bytes: &[u8],
        offset: u64,
        rule: &Rule<'_>,
        finds: &mut Vec<Range<u64>>,
    ) -> Result<(), Broken> {
        let mut at = 0;
        while at < bytes.len() {
            at = match std::mem::take(&mut self.state) {
                State::Between => self.between(bytes, at, offset, rule)?,
                State::Compare => {
                    let Some(compared) = self.compared.take() else { continue };
                    let (find, at) = self.compare(compared, (bytes, at), offset, rule)?;
                    finds.extend(find);
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
        self.compared.as_ref().map(|(comparison, _)| comparison.start)
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        let between = self.state == State::Between;
        if between && self.depth == 0 && self.begun { Ok(()) } else { Err(Broken::Truncated) }
    }

    /// Passes over structure and over strings that are not of interest.
    #[inline]
    fn between(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        offset: u64,
        rule: &Rule<'_>,
    ) -> Result<usize, Broken> {
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' if self.key_next => match string_end(bytes, at, Escaped::No)? {
                    End::At(end) => {
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
                    match bytes.get(at).map(u8::to_ascii_lowercase) {
                        Some(first) if first != rule.mapping.first && first != b'\\' => {
                            let end = string_end(bytes, at, Escaped::No)?;
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
                b'{' => self.open(1)?,
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
            End::At(end) => end + 1,
            End::Beyond(escaped) => {
                self.state = State::Skip(escaped);
                length
            }
        }
    }

    #[inline]
    fn open(&mut self, object: u128) -> Result<(), Broken> {
        if self.depth == 0 && self.begun {
            return Err(Broken::Malformed);
        }
        if self.depth == DEPTH {
            return Err(Broken::TooDeep);
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
        self.depth -= 1;
        self.objects >>= 1;
        self.key_next = false;
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
            End::At(end) => {
                self.carried.extend(bytes.get(at..end).unwrap_or_default());
                self.name = Name::Judged(judge(&self.carried.0, rule));
                Ok(end + 1)
            }
            End::Beyond(escaped) => {
                self.carried.extend(bytes.get(at..).unwrap_or_default());
                self.state = State::Key(escaped);
                Ok(bytes.len())
            }
        }
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

#[inline]
fn string_end(bytes: &[u8], mut at: usize, escaped: Escaped) -> Result<End, Broken> {
    if escaped == Escaped::Yes {
        at += 1;
    }
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return Ok(End::At(at)),
            Some(b'\\') if at + 1 == bytes.len() => return Ok(End::Beyond(Escaped::Yes)),
            Some(b'\\') => at += 2,
            Some(_) => return Err(Broken::Malformed),
            None => return Ok(End::Beyond(Escaped::No)),
        }
    }
}
