//! Passes over text in which nothing can be, 64 bytes at a time.
//!
//! Within what was read of one chunk, from behind a `{` on, each block of 64 bytes becomes a few masks of one bit a byte:
//! quotes that are not escaped, what is inside strings, brackets outside of them. Only these places are then looked at
//! one by one, in their order:
//!
//! - each bracket outside of strings, by the same [`Scan::open`] and [`Scan::close`] as elsewhere;
//! - a string that begins with `P` and goes on as `Patient` does, or begins with `h` in either case and goes on as one of
//!   the bases does in its first bytes;
//! - a string of two bytes that is `id`;
//! - a string with an escape that may stand for ASCII: `\/` or `\u`.
//!
//! All other text may be skipped, for what is read from it would be nothing: a value says something when it is, decoded,
//! `Patient`, begins with `Patient/`, or begins with a base, or when its key is, decoded, `id`. Bases begin with `http`.
//! Whatever is ASCII is spelt by itself or as one of the two escapes; other escapes stand for nothing that is in a base, in
//! these words or in an id. So a string that matters begins as above or has such an escape in it.
//!
//! What stands around such a string is read off the text before it: its key, when there is a colon, and of which key it is
//! an element, when nothing was closed since that key. Both lie behind the last bracket that closed, or behind a `{`, and
//! thus behind the place where the skimming began.
//!
//! Strings that do not end in this chunk are left to be read in the usual way, as is all that follows the last bracket:
//! the scan goes on behind it as if it had come there by itself. What was found behind it is found again; ranges are
//! forgotten before, and to note a patient twice is to note it once.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::super::patients::Role;
use super::super::{Broken, Comparison, Found, Name, Rule};
use super::{End, Escape, Escaped, Scan, Spelling, State, decoded, judge, role, string_end};

/// Less is not worth beginning.
const LEAST: usize = 256;

/// A chunk that is skimmed.
#[derive(Clone, Copy)]
struct Chunk<'b> {
    bytes: &'b [u8],
    /// Where it begins in the stream.
    offset: u64,
    /// Where the skimming began in it: behind a `{`.
    from: usize,
}

/// What a block of 64 bytes holds, one bit a byte.
struct Masks {
    backslash: u64,
    quote: u64,
    /// What opens and what closes.
    brackets: u64,
    open: u64,
    /// Of the brackets, which are curly; other bytes have it as well.
    curly: u64,
    control: u64,
    /// What the strings that matter begin with.
    initial: u64,
}

/// Where to look in a block, one bit a byte.
struct Places {
    brackets: u64,
    /// Bytes behind a backslash.
    escapes: u64,
    /// The first bytes of strings that may matter, and the last quotes of those that are two bytes.
    strings: u64,
    /// Quotes that open a string.
    opening: u64,
}

/// What is known from the blocks before.
#[derive(Default)]
struct Carry {
    /// All bits when a string is open.
    inside: u64,
    /// Whether the first byte is escaped.
    escaped: u64,
    /// Where strings had their first bytes in the block before; the byte behind it as well.
    firsts: u64,
    /// Whether the last byte was a quote that opens.
    opened: u64,
    /// Where the last quote stands that opens.
    quote: usize,
    seen: Seen,
}

/// What was looked at last.
#[derive(Default)]
struct Seen {
    /// A string, by its first quote.
    string: Option<usize>,
    /// An element of an array, by its first quote, and the key of the array: elements before it need no second look.
    element: Option<(usize, Option<Place>)>,
}

/// Of which key something is a value.
#[derive(Debug, Clone)]
struct Place {
    key: Range<usize>,
    within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Array,
    Member,
}

impl Scan {
    /// Goes on behind a `{` to behind the last bracket of this chunk, or the one that ends the document. Gives where the
    /// scan stands then.
    pub(super) fn skim(
        &mut self,
        (bytes, from): (&[u8], usize),
        offset: u64,
        rule: &Rule<'_>,
        found: &mut Found,
    ) -> Result<usize, Broken> {
        if bytes.len().saturating_sub(from) < LEAST {
            return Ok(from);
        }
        let chunk = Chunk { bytes, offset, from };
        let last = dispatch!(Level::new(), simd => blocks(simd, self, chunk, (rule, &mut *found)))?;
        // Where there was none it is still the one behind which the skimming began.
        let Some(last) = last.or(from.checked_sub(1)) else { return Ok(from) };
        let behind = offset + last as u64;
        while found.ranges.pop_if(|range| range.start > behind).is_some() {}
        self.role = Role::None;
        self.name = match bytes.get(last) {
            Some(b'[') => chunk.place(last + 1, &None).map_or(Name::None, |place| Name::Here(place.key)),
            _ => Name::None,
        };
        Ok(last + 1)
    }

    /// Takes a bracket, by whether it opens and whether it is curly.
    #[inline(always)]
    fn bracket(&mut self, chunk: Chunk<'_>, at: usize, (opens, curly): (u64, u64)) -> Result<(), Broken> {
        if opens == 0 {
            return self.close(u128::from(curly));
        }
        if self.depth == 1 && curly == 0 {
            self.role = chunk.role_of_array(at);
        }
        self.open(u128::from(curly))
    }

    /// Looks at the first byte of a string, or the last quote of one of two bytes.
    fn begins(
        &mut self,
        chunk: Chunk<'_>,
        at: usize,
        seen: &mut Seen,
        (rule, found): (&Rule<'_>, &mut Found),
    ) -> Result<(), Broken> {
        let rest = chunk.bytes.get(at..).unwrap_or_default();
        match rest {
            [b'"', ..] if chunk.bytes.get(at.saturating_sub(2)..at) == Some(b"id") => {
                self.id(chunk, at + 1, rule, found)
            }
            [b'"', ..] => Ok(()),
            [b'P', b'a', b't', b'i', b'e', b'n', b't', b'/' | b'"', ..] => {
                self.string(chunk, at.saturating_sub(1), seen, (rule, found))
            }
            [b'h' | b'H', ..] if rule.mapping.may_begin(rest) => {
                self.string(chunk, at.saturating_sub(1), seen, (rule, found))
            }
            _ => Ok(()),
        }
    }

    /// Reads a string, by its first quote, unless it is not all here.
    fn string(
        &mut self,
        chunk: Chunk<'_>,
        quote: usize,
        seen: &mut Seen,
        (rule, found): (&Rule<'_>, &mut Found),
    ) -> Result<(), Broken> {
        if seen.string.replace(quote) == Some(quote) {
            return Ok(());
        }
        let place = chunk.place(quote, &seen.element);
        if place.as_ref().is_none_or(|place| place.within == Within::Array) {
            seen.element = Some((quote, place.clone()));
        }
        let begin = quote + 1;
        let Some(Place { key, within }) = place else {
            // Perhaps a key.
            return match string_end(chunk.bytes, begin, Escaped::No)? {
                End::At(end, Spelling::Escaped) if decoded(chunk.slice(begin..end)) == b"id" => {
                    self.id(chunk, end + 1, rule, found)
                }
                End::At(..) | End::Beyond(_) => Ok(()),
            };
        };
        let role = match within {
            Within::Member => role(chunk.slice(key.clone()), Spelling::Escaped),
            Within::Array => Role::None,
        };
        let uri = judge(chunk.slice(key.clone()), rule);
        if !uri && !matches!(role, Role::Reference | Role::Type) {
            return Ok(());
        }
        let End::At(end, spelling) = string_end(chunk.bytes, begin, Escaped::No)? else { return Ok(()) };
        if matches!(role, Role::Reference | Role::Type) {
            self.told(role, chunk.slice(begin..end), spelling, (rule, &mut *found))?;
        }
        if uri && spelling == Spelling::Plain {
            let start = chunk.offset + begin as u64;
            let length = rule.mapping.base_of(chunk.slice(begin..end));
            found.ranges.extend(length.map(|length| start..start + length as u64));
        } else if uri {
            self.name = Name::Here(key);
            let comparison = Comparison::begin(rule.mapping, chunk.offset + begin as u64);
            let (find, _) =
                self.compare((comparison, Escape::NONE), (chunk.bytes, begin), chunk.offset, rule)?;
            self.state = State::Between;
            found.ranges.extend(find);
        }
        Ok(())
    }

    /// Reads the value of a key `id` that ends before here.
    fn id(&mut self, chunk: Chunk<'_>, at: usize, rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        let rest = chunk.bytes.get(at..).unwrap_or_default().trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b":") else { return Ok(()) };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"") else { return Ok(()) };
        match string_end(rest, 0, Escaped::No)? {
            End::At(end, spelling) => {
                self.told(Role::Id, rest.get(..end).unwrap_or_default(), spelling, (rule, found))
            }
            End::Beyond(_) => Ok(()),
        }
    }

    fn told(
        &mut self,
        role: Role,
        raw: &[u8],
        spelling: Spelling,
        (rule, found): (&Rule<'_>, &mut Found),
    ) -> Result<(), Broken> {
        match spelling {
            Spelling::Plain => self.note(role, raw, rule, found),
            Spelling::Escaped => self.note(role, &decoded(raw), rule, found),
        }
    }
}

/// Takes one block after the other; gives where the last bracket was.
#[inline(always)]
fn blocks<S: Simd>(
    simd: S,
    scan: &mut Scan,
    chunk: Chunk<'_>,
    (rule, found): (&Rule<'_>, &mut Found),
) -> Result<Option<usize>, Broken> {
    let mut carry = Carry::default();
    let mut last = None;
    let mut base = chunk.from;
    let (blocks, _) = chunk.bytes.get(chunk.from..).unwrap_or_default().as_chunks::<64>();
    for block in blocks {
        let masks = Masks::of(simd, block);
        let places = carry.places(&masks)?;
        let mut left = places.brackets | places.strings | places.escapes;
        while left != 0 {
            let bit = left.trailing_zeros();
            let one = left & left.wrapping_neg();
            left ^= one;
            let at = base.wrapping_add(bit as usize);
            if places.brackets & one != 0 {
                last = Some(at);
                scan.bracket(chunk, at, (masks.open & one, masks.curly >> bit & 1))?;
                if scan.depth == 0 {
                    return Ok(last);
                }
            } else if places.strings & one != 0 {
                scan.begins(chunk, at, &mut carry.seen, (rule, &mut *found))?;
            } else if chunk.may_be_ascii(at) {
                let before = places.opening & one.wrapping_sub(1);
                let quote = before.checked_ilog2().map_or(carry.quote, |bit| base.wrapping_add(bit as usize));
                scan.string(chunk, quote, &mut carry.seen, (rule, &mut *found))?;
            }
        }
        if let Some(bit) = places.opening.checked_ilog2() {
            carry.quote = base.wrapping_add(bit as usize);
        }
        base = base.wrapping_add(64);
    }
    Ok(last)
}

impl Masks {
    #[inline(always)]
    fn of<S: Simd>(simd: S, block: &[u8; 64]) -> Self {
        let bytes = u8x64::from_slice(simd, block);
        let is = |bytes: u8x64<S>, byte: u8| bytes.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        // Without their fifth bit, `{` is `[`, `}` is `]`; with it, `H` is `h`.
        let bit = u8x64::splat(simd, 0x20);
        let (square, lower) = (bytes & u8x64::splat(simd, 0xDF), bytes | bit);
        let open = is(square, b'[');
        Self {
            backslash: is(bytes, b'\\'),
            quote: is(bytes, b'"'),
            brackets: open | is(square, b']'),
            open,
            curly: is(bytes & bit, 0x20),
            control: bytes.simd_lt(bit).to_bitmask(),
            initial: is(bytes, b'P') | is(lower, b'h'),
        }
    }
}

impl Carry {
    #[inline(always)]
    fn places(&mut self, masks: &Masks) -> Result<Places, Broken> {
        let escaped = self.escaped(masks.backslash);
        let quote = masks.quote & !escaped;
        let inside = parity(quote) ^ self.inside;
        // INVARIANT: a backslash is inside a string, so what it escapes is as well.
        if masks.control & inside & !escaped != 0 || masks.backslash & !inside != 0 {
            return Err(Broken::Malformed);
        }
        let opening = quote & inside;
        let firsts = opening << 1 | self.opened;
        let third = firsts << 2 | self.firsts >> 62;
        self.inside = 0u64.wrapping_sub(inside >> 63);
        self.opened = opening >> 63;
        self.firsts = firsts;
        Ok(Places {
            brackets: masks.brackets & !inside,
            escapes: escaped,
            strings: firsts & masks.initial | third & quote & !inside,
            opening,
        })
    }

    /// Which bytes stand behind a backslash that is not itself escaped. Adds up runs of backslashes as is usual:
    /// <https://arxiv.org/abs/1902.08318>, §3.1.1.
    #[inline(always)]
    fn escaped(&mut self, backslash: u64) -> u64 {
        const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let before = std::mem::take(&mut self.escaped);
        if backslash == 0 {
            return before;
        }
        let escapes = backslash & !before;
        let either = (escapes << 1 | ODD).wrapping_sub(escapes) ^ ODD;
        self.escaped = (either & backslash) >> 63;
        either ^ (backslash | before)
    }
}

/// Of each bit, whether the number of those set up to it is odd.
#[inline(always)]
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

impl Chunk<'_> {
    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Whether the byte behind a backslash may stand for ASCII that matters, or begin what does.
    fn may_be_ascii(&self, at: usize) -> bool {
        matches!(self.bytes.get(at), Some(b'/' | b'u'))
    }

    #[cold]
    fn role_of_array(&self, at: usize) -> Role {
        match self.place(at, &None) {
            Some(Place { key, within: Within::Member }) => role(self.slice(key), Spelling::Escaped),
            Some(_) | None => Role::None,
        }
    }

    /// Of which key it is a value that begins here; `None` when of none, or when it is a key.
    fn place(&self, begin: usize, known: &Option<(usize, Option<Place>)>) -> Option<Place> {
        let (mut at, mut within, mut element) = (begin, Within::Member, false);
        loop {
            at = self.trimmed(at);
            let before = at.checked_sub(1).filter(|before| *before >= self.from)?;
            at = match self.bytes.get(before)? {
                b':' if !element => break,
                b'[' => {
                    (within, element) = (Within::Array, false);
                    before
                }
                b',' => {
                    element = true;
                    before
                }
                b'"' if element => match (self.opening(before)?, known) {
                    (open, Some((last, place))) if open == *last => return place.clone(),
                    (open, _) => open,
                },
                // Numbers and the like.
                b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if element => before,
                _ => return None,
            };
        }
        let close = self.trimmed(at - 1).checked_sub(1)?;
        if self.bytes.get(close) != Some(&b'"') {
            return None;
        }
        Some(Place { key: self.opening(close)? + 1..close, within })
    }

    /// Where the text before this ends, spaces aside.
    fn trimmed(&self, at: usize) -> usize {
        self.from + self.slice(self.from..at).trim_ascii_end().len()
    }

    /// Where the string begins that ends with this quote.
    fn opening(&self, close: usize) -> Option<usize> {
        let mut end = close;
        loop {
            let text = self.slice(self.from..end);
            let quote = memchr::memrchr(b'"', text)?;
            let slashes = text.get(..quote)?.iter().rev().take_while(|byte| **byte == b'\\').count();
            if slashes % 2 == 0 {
                return Some(self.from + quote);
            }
            end = self.from + quote;
        }
    }
}
