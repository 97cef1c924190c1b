//! Cutting, replacing and inserting by byte range.
//!
//! The ranges come from an outline of the same bytes. Edits may be collected in
//! any order and from several places (a filter, a URL rewriter); they are applied
//! in one pass. What lies inside a range that goes, goes with it. In JSON the
//! separators go along, and no empty array is left behind, which FHIR does not
//! allow (§2.1.4 JSON). What is removed leaves no trace: no blank, no `null`.

use std::cmp::Reverse;
use std::ops::Range;

use super::{Bundle, Entry, Format, Kind, Link, Outline, Text, Total};
use crate::fhir::{json, xml};

/// What becomes of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes.
    Drop,
    /// It stays as it is, edits inside it aside.
    Keep,
    /// Other bytes take its place: an entry, in the format of the body.
    Replace(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Edit {
    range: Range<usize>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Put these bytes in place of the range.
    Replace(Vec<u8>),
    /// Take a member or item out, with its separator.
    Remove,
}

/// Changes to one body, to be applied together.
#[derive(Debug, Clone)]
pub struct Edits {
    format: Format,
    edits: Vec<Edit>,
}

impl Edits {
    /// No changes yet, to a body of this format.
    pub fn new(format: Format) -> Self {
        Self { format, edits: Vec::new() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `bytes`, as they are, in place of a range.
    pub fn replace(&mut self, range: Range<usize>, bytes: Vec<u8>) {
        self.edits.push(Edit { range, what: What::Replace(bytes) });
    }

    /// Gives a text element another value, escaped as the format asks.
    pub fn set(&mut self, element: &Text<'_>, value: &str) {
        let mut bytes = Vec::with_capacity(value.len());
        match self.format {
            Format::Json => json::escape_into(value, &mut bytes),
            Format::Xml => xml::escape_into(value, &mut bytes),
        }
        self.replace(element.value.clone(), bytes);
    }

    /// Gives `total` another number.
    pub fn set_total(&mut self, total: &Total, number: u64) {
        self.replace(total.value.clone(), number.to_string().into_bytes());
    }

    /// Takes out a member of an object, an item of an array, or an element: a
    /// `member` or `range` of the outline. In JSON an array must keep an item;
    /// remove its member otherwise.
    pub fn remove(&mut self, member: Range<usize>) {
        self.edits.push(Edit { range: member, what: What::Remove });
    }

    /// Adds the changes of another collection for the same body.
    pub fn merge(&mut self, other: Self) {
        self.edits.extend(other.edits);
    }

    /// Decides on each entry of a bundle. `steps` is asked once per entry, in
    /// order; `added` are whole entries in the format of the body, each with the
    /// index of the entry it goes before (any greater index means the end), in
    /// ascending order. Call at most once per bundle; bundles inside kept entries
    /// may be treated separately.
    pub fn entries(
        &mut self,
        bundle: &Bundle<'_>,
        mut steps: impl FnMut(usize, &Entry<'_>) -> Step,
        added: &[(usize, Vec<u8>)],
    ) {
        let mut plan: Vec<Item<'_>> = Vec::with_capacity(bundle.entries.len() + added.len());
        let mut added = added.iter().peekable();
        for (at, entry) in bundle.entries.iter().enumerate() {
            while let Some((_, bytes)) = added.next_if(|(before, _)| *before <= at) {
                plan.push(Item::New(bytes));
            }
            match steps(at, entry) {
                Step::Drop => plan.push(Item::Gone(entry.range.clone())),
                Step::Keep => plan.push(Item::Kept),
                Step::Replace(bytes) => {
                    self.replace(entry.range.clone(), bytes);
                    plan.push(Item::Kept);
                }
            }
        }
        plan.extend(added.map(|(_, bytes)| Item::New(bytes)));
        match self.format {
            Format::Json => self.json_entries(bundle, &plan),
            Format::Xml => self.xml_entries(bundle, &plan),
        }
    }

    fn json_entries(&mut self, bundle: &Bundle<'_>, plan: &[Item<'_>]) {
        let new: Vec<_> = plan.iter().filter_map(Item::new).collect();
        let stays = plan.iter().any(|item| matches!(item, Item::Kept));
        let joined = new.join(&b',');
        match (&bundle.entry_member, stays, new.is_empty()) {
            // An array with anything left in it is never removed as a whole.
            (Some(_), true, _) => self.json_items(bundle, plan),
            (Some(member), false, true) if !plan.is_empty() => self.remove(member.clone()),
            (_, false, true) => {}
            (Some(member), false, false) => {
                self.replace(member.clone(), [b"\"entry\":[", joined.as_slice(), b"]"].concat());
            }
            (None, _, _) => {
                let member = [b",\"entry\":[", joined.as_slice(), b"]"].concat();
                self.replace(bundle.tail..bundle.tail, member);
            }
        }
    }

    /// Some entry stays: each gone one goes with a separator, each new one
    /// brings one.
    fn json_items(&mut self, bundle: &Bundle<'_>, plan: &[Item<'_>]) {
        let mut ranges = bundle.entries.iter().map(|entry| entry.range.clone());
        let mut last_kept = None;
        // New entries wait for the next kept one to stand before, so that they
        // do not vanish with a neighbour that goes.
        let mut waiting = Vec::new();
        for item in plan {
            match item {
                Item::Gone(range) => {
                    ranges.next();
                    self.remove(range.clone());
                }
                Item::Kept => {
                    let Some(range) = ranges.next() else { continue };
                    if !waiting.is_empty() {
                        self.replace(range.start..range.start, std::mem::take(&mut waiting));
                    }
                    last_kept = Some(range);
                }
                Item::New(bytes) => {
                    waiting.extend_from_slice(bytes);
                    waiting.push(b',');
                }
            }
        }
        if let Some(range) = last_kept.filter(|_| !waiting.is_empty()) {
            waiting.pop();
            waiting.insert(0, b',');
            self.replace(range.end..range.end, waiting);
        }
    }

    fn xml_entries(&mut self, bundle: &Bundle<'_>, plan: &[Item<'_>]) {
        let mut ranges = bundle.entries.iter().map(|entry| entry.range.clone());
        let mut place = bundle.tail;
        let mut waiting = Vec::new();
        for item in plan {
            match item {
                Item::Gone(range) => {
                    place = ranges.next().map_or(place, |range| range.end);
                    self.remove(range.clone());
                }
                Item::Kept => {
                    let Some(range) = ranges.next() else { continue };
                    if !waiting.is_empty() {
                        self.replace(range.start..range.start, std::mem::take(&mut waiting));
                    }
                    place = range.end;
                }
                Item::New(bytes) => waiting.extend_from_slice(bytes),
            }
        }
        if !waiting.is_empty() {
            self.replace(place..place, waiting);
        }
    }

    /// Keeps the links of a bundle that `keep` likes.
    pub fn links(&mut self, bundle: &Bundle<'_>, mut keep: impl FnMut(&Link<'_>) -> bool) {
        let gone: Vec<_> =
            bundle.links.iter().filter(|link| !keep(link)).map(|link| link.range.clone()).collect();
        match &bundle.link_member {
            Some(member) if gone.len() == bundle.links.len() && !gone.is_empty() => {
                self.remove(member.clone())
            }
            _ => gone.into_iter().for_each(|range| self.remove(range)),
        }
    }

    /// The body with all changes made. `source` must be the bytes that the
    /// ranges speak of.
    pub fn apply(&self, source: &[u8]) -> Vec<u8> {
        let mut edits = self.widened(source);
        edits.sort_by_key(|(range, _)| (range.start, !range.is_empty(), Reverse(range.end)));
        let added: usize = edits.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut out = Vec::with_capacity(source.len() + added);
        let mut at = 0;
        for (range, bytes) in edits {
            // What lies inside something that went before has gone with it.
            if range.start < at {
                continue;
            }
            out.extend_from_slice(source.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(bytes);
            at = range.end;
        }
        out.extend_from_slice(source.get(at..).unwrap_or_default());
        out
    }

    /// All edits as replacements, removals widened by the separators that go.
    fn widened(&self, source: &[u8]) -> Vec<(Range<usize>, &[u8])> {
        let mut all = Vec::with_capacity(self.edits.len());
        let mut removals = Vec::new();
        for edit in &self.edits {
            match &edit.what {
                What::Replace(bytes) => all.push((edit.range.clone(), bytes.as_slice())),
                What::Remove => removals.push(edit.range.clone()),
            }
        }
        removals.sort_by_key(|range| (range.start, Reverse(range.end)));
        // A removal inside another must not take a separator outside it.
        let mut outer: Vec<Range<usize>> = Vec::with_capacity(removals.len());
        for range in removals {
            if outer.last().is_none_or(|last| last.end <= range.start) {
                outer.push(range);
            }
        }
        match self.format {
            Format::Json => widen_json(source, outer, &mut all),
            Format::Xml => all.extend(outer.into_iter().map(|range| {
                let blank = before(source, range.start);
                (blank..range.end, b"".as_slice())
            })),
        }
        all
    }
}

/// What the entries become, in their new order.
enum Item<'b> {
    Gone(Range<usize>),
    Kept,
    New(&'b [u8]),
}

impl<'b> Item<'b> {
    fn new(&self) -> Option<&'b [u8]> {
        match self {
            Self::New(bytes) => Some(bytes),
            Self::Gone(_) | Self::Kept => None,
        }
    }
}

/// The start of the whitespace that ends at `at`.
fn before(source: &[u8], at: usize) -> usize {
    let head = source.get(..at).unwrap_or_default();
    head.trim_ascii_end().len()
}

/// The end of the whitespace that begins at `at`.
fn after(source: &[u8], at: usize) -> usize {
    let tail = source.get(at..).unwrap_or_default();
    source.len() - tail.trim_ascii_start().len()
}

/// Joins neighbours that go together and adds one separator: the comma behind
/// them, or the one before when they were last.
fn widen_json<'b>(source: &[u8], gone: Vec<Range<usize>>, all: &mut Vec<(Range<usize>, &'b [u8])>) {
    let comma_after = |end: usize| {
        let comma = after(source, end);
        (source.get(comma) == Some(&b',')).then(|| after(source, comma + 1))
    };
    let mut gone = gone.into_iter().peekable();
    while let Some(mut run) = gone.next() {
        let mut next = comma_after(run.end);
        while let Some(neighbour) = gone.next_if(|range| Some(range.start) == next) {
            run.end = neighbour.end;
            next = comma_after(run.end);
        }
        if let Some(next) = next {
            run.end = next;
        } else {
            let comma = before(source, run.start);
            if comma > 0 && source.get(comma - 1) == Some(&b',') {
                run.start = comma - 1;
            }
        }
        all.push((run, b""));
    }
}

/// Keeps the entries that `keep` likes, in nested bundles too, in their order.
/// Only entries are touched: totals and links are the caller's to judge.
pub fn cut<'a>(outline: &Outline<'a>, mut keep: impl FnMut(&Entry<'a>) -> bool) -> Edits {
    let mut edits = Edits::new(outline.format);
    cut_kind(&outline.root.kind, &mut keep, &mut edits);
    edits
}

fn cut_kind<'a>(kind: &Kind<'a>, keep: &mut impl FnMut(&Entry<'a>) -> bool, edits: &mut Edits) {
    match kind {
        Kind::Bundle(bundle) => {
            let kept: Vec<bool> = bundle.entries.iter().map(&mut *keep).collect();
            for (entry, kept) in bundle.entries.iter().zip(&kept) {
                if let Some(resource) = entry.resource.as_ref().filter(|_| *kept) {
                    cut_kind(&resource.kind, keep, edits);
                }
            }
            let step = |at: usize| if kept.get(at) == Some(&true) { Step::Keep } else { Step::Drop };
            edits.entries(bundle, |at, _| step(at), &[]);
        }
        Kind::Parameters(held) => {
            for resource in held {
                cut_kind(&resource.kind, keep, edits);
            }
        }
        Kind::Other => {}
    }
}
