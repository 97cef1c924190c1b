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

    /// Adds a text element behind another one of the same object.
    pub fn insert_after(&mut self, element: &Text<'_>, name: &str, value: &str) {
        let mut bytes = Vec::with_capacity(name.len() + value.len() + 12);
        match self.format {
            Format::Json => {
                bytes.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
                json::escape_into(value, &mut bytes);
                bytes.push(b'"');
            }
            Format::Xml => {
                bytes.extend_from_slice(format!("<{name} value=\"").as_bytes());
                xml::escape_into(value, &mut bytes);
                bytes.extend_from_slice(b"\"/>");
            }
        }
        let end = element.member.end;
        self.replace(end..end, bytes);
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
        let new: Vec<_> = plan.iter().filter_map(Item::added).collect();
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
    fn added(&self) -> Option<&'b [u8]> {
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
fn widen_json(source: &[u8], gone: Vec<Range<usize>>, all: &mut Vec<(Range<usize>, &[u8])>) {
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
                run.start = before(source, comma - 1);
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
                let outcome = entry.response.as_ref().and_then(|response| response.outcome.as_deref());
                for resource in entry.resource.iter().chain(outcome).filter(|_| *kept) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fhir::outline::Limits;

    fn outline(text: &str, format: Format) -> Outline<'_> {
        Outline::read(text.as_bytes(), format, Limits::default()).unwrap()
    }

    fn applied(edits: &Edits, text: &str) -> String {
        String::from_utf8(edits.apply(text.as_bytes())).unwrap()
    }

    const JSON: &str = "{\"resourceType\":\"Bundle\",\n \"total\": 3, \"entry\": [\n  {\"fullUrl\":\"a\"},\n  {\"fullUrl\":\"b\",\"resource\":{\"resourceType\":\"Basic\"}} ,\n  {\"fullUrl\":\"c\"}\n ]\n}";
    const XML: &str = "<Bundle xmlns=\"http://hl7.org/fhir\">\n <type value=\"searchset\"/>\n <total value=\"3\"/>\n <entry><fullUrl value=\"a\"/></entry>\n <entry><fullUrl value=\"b\"/><resource><Basic/></resource></entry>\n <entry><fullUrl value=\"c\"/></entry>\n</Bundle>";

    fn names(outline: &Outline<'_>) -> String {
        let entries = outline.bundle().map(|bundle| bundle.entries.as_slice()).unwrap_or_default();
        entries.iter().map(|entry| entry.full_url.as_ref().map_or("-", |url| &url.text).to_owned()).collect()
    }

    /// RESP-7: what is removed leaves no trace.
    #[test]
    fn removed_entries_take_their_separators_along() {
        let head = "{\"resourceType\":\"Bundle\",\n \"total\": 3";
        let b = "{\"fullUrl\":\"b\",\"resource\":{\"resourceType\":\"Basic\"}}";
        let table = [
            ("abc", JSON.to_owned()),
            ("b", format!("{head}, \"entry\": [\n  {b}\n ]\n}}")),
            (
                "ac",
                format!("{head}, \"entry\": [\n  {{\"fullUrl\":\"a\"}},\n  {{\"fullUrl\":\"c\"}}\n ]\n}}"),
            ),
            ("a", format!("{head}, \"entry\": [\n  {{\"fullUrl\":\"a\"}}\n ]\n}}")),
            ("", format!("{head}\n}}")),
        ];
        for (keep, means) in table {
            let outline = outline(JSON, Format::Json);
            let edits = cut(&outline, |entry| keep.contains(&*entry.full_url.as_ref().unwrap().text));
            assert_eq!(applied(&edits, JSON), means, "keeping {keep:?}");
        }
        let outline = outline(XML, Format::Xml);
        let edits = cut(&outline, |entry| entry.full_url.as_ref().unwrap().text == "b");
        let means = "<Bundle xmlns=\"http://hl7.org/fhir\">\n <type value=\"searchset\"/>\n <total value=\"3\"/>\n <entry><fullUrl value=\"b\"/><resource><Basic/></resource></entry>\n</Bundle>";
        assert_eq!(applied(&edits, XML), means);
    }

    #[test]
    fn members_are_removed_and_set() {
        for (text, format) in [(JSON, Format::Json), (XML, Format::Xml)] {
            let outline = outline(text, format);
            let bundle = outline.bundle().unwrap();
            let mut edits = Edits::new(format);
            edits.remove(bundle.total.as_ref().unwrap().member.clone());
            edits.remove(bundle.entries[1].resource.as_ref().unwrap().member.clone());
            edits.set(bundle.entries[0].full_url.as_ref().unwrap(), "<\"&\\>");
            let out = applied(&edits, text);
            let after = super::tests::outline(&out, format);
            assert_eq!(names(&after), "<\"&\\>bc");
            let bundle = after.bundle().unwrap();
            assert!(bundle.total.is_none() && bundle.entries[1].resource.is_none(), "{out}");
        }
        let both = r#"{"resourceType":"Bundle","total":1,"entry":[{}]}"#;
        let read = outline(both, Format::Json);
        let bundle = read.bundle().unwrap();
        let mut edits = cut(&read, |_| false);
        edits.remove(bundle.total.as_ref().unwrap().member.clone());
        assert_eq!(applied(&edits, both), r#"{"resourceType":"Bundle"}"#);
        let mut edits = Edits::new(Format::Json);
        edits.set_total(bundle.total.as_ref().unwrap(), 0);
        assert_eq!(applied(&edits, both), r#"{"resourceType":"Bundle","total":0,"entry":[{}]}"#);
    }

    #[test]
    fn links_go_and_the_last_takes_the_array_along() {
        let text = r#"{"resourceType":"Bundle","link":[{"relation":"self"},{"relation":"next"}],"type":"searchset"}"#;
        let outline = outline(text, Format::Json);
        let mut edits = Edits::new(Format::Json);
        edits.links(outline.bundle().unwrap(), |link| link.relation.as_ref().unwrap().text == "self");
        let means = r#"{"resourceType":"Bundle","link":[{"relation":"self"}],"type":"searchset"}"#;
        assert_eq!(applied(&edits, text), means);
        let mut edits = Edits::new(Format::Json);
        edits.links(outline.bundle().unwrap(), |_| false);
        assert_eq!(applied(&edits, text), r#"{"resourceType":"Bundle","type":"searchset"}"#);
    }

    #[test]
    fn an_entry_is_added_where_there_was_none() {
        let table = [
            (Format::Json, r#"{"type":"batch-response","resourceType":"Bundle" }"#, r#"{"fullUrl":"n"}"#),
            (Format::Json, r#"{"resourceType":"Bundle","entry":[]}"#, r#"{"fullUrl":"n"}"#),
            (
                Format::Xml,
                r#"<Bundle xmlns="http://hl7.org/fhir"><type value="a"/><signature/></Bundle>"#,
                r#"<entry><fullUrl value="n"/></entry>"#,
            ),
        ];
        for (format, text, new) in table {
            let read = outline(text, format);
            let mut edits = Edits::new(format);
            edits.entries(read.bundle().unwrap(), |_, _| Step::Keep, &[(0, new.into())]);
            let out = applied(&edits, text);
            assert_eq!(names(&outline(&out, format)), "n", "{out}");
            assert!(!out.contains("<signature/><entry>"), "{out}");
        }
    }

    #[test]
    fn what_is_inside_a_removed_range_goes_with_it() {
        let outline = outline(JSON, Format::Json);
        let bundle = outline.bundle().unwrap();
        let mut edits = Edits::new(Format::Json);
        edits.set(bundle.entries[0].full_url.as_ref().unwrap(), "changed");
        edits.merge(cut(&outline, |entry| entry.full_url.as_ref().unwrap().text != "a"));
        assert!(!applied(&edits, JSON).contains("changed"));
    }

    /// A bundle of named entries; some hold bundles.
    fn written(format: Format, names: &[Vec<u8>], blank: &str) -> String {
        let bundle = |entries: &[String]| match format {
            Format::Json if entries.is_empty() => r#"{"resourceType":"Bundle"}"#.to_owned(),
            Format::Json => {
                let entries = entries.join(&format!("{blank},{blank}"));
                format!(
                    "{{{blank}\"entry\":[{blank}{entries}{blank}],{blank}\"resourceType\":\"Bundle\"{blank}}}"
                )
            }
            Format::Xml => format!("<Bundle><type value='a'/>{}{blank}</Bundle>", entries.concat()),
        };
        let entry = |name: &str, inner: Option<String>| match format {
            Format::Json => {
                let resource = inner.map_or(String::new(), |inner| format!(",\"resource\":{inner}"));
                format!("{{\"fullUrl\":\"{name}\"{resource}}}")
            }
            Format::Xml => {
                let resource = inner.map_or(String::new(), |inner| format!("<resource>{inner}</resource>"));
                format!("{blank}<entry><fullUrl value='{name}'/>{resource}</entry>")
            }
        };
        let outer: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, inner)| {
                let inner: Vec<_> = inner.iter().map(|it| entry(&format!("{at}.{it}"), None)).collect();
                entry(&format!("{at}"), (!inner.is_empty()).then(|| bundle(&inner)))
            })
            .collect();
        bundle(&outer).replacen("<Bundle>", "<Bundle xmlns='http://hl7.org/fhir'>", 1)
    }

    fn all_names<'a>(kind: &'a Kind<'_>, keep: &dyn Fn(&str) -> bool, into: &mut Vec<&'a str>) {
        if let Kind::Bundle(bundle) = kind {
            for entry in &bundle.entries {
                let name = &*entry.full_url.as_ref().unwrap().text;
                if keep(name) {
                    into.push(name);
                    if let Some(resource) = &entry.resource {
                        all_names(&resource.kind, keep, into);
                    }
                }
            }
        }
    }

    proptest! {
        /// A law of `release`: the rest is a subset, in the same order, and reads.
        #[test]
        fn cutting_any_subset_leaves_the_rest_in_order(
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6),
            chosen in any::<u64>(), blank in "[ \n]{0,2}",
        ) {
            for format in [Format::Json, Format::Xml] {
                let text = written(format, &names, &blank);
                let keep = |name: &str| name.bytes().fold(chosen, |hash, byte| hash.rotate_left(7) ^ u64::from(byte)) & 4 == 0;
                let before = outline(&text, format);
                let edits = cut(&before, |entry| keep(&entry.full_url.as_ref().unwrap().text));
                let out = applied(&edits, &text);
                let after = Outline::read(out.as_bytes(), format, Limits::default());
                prop_assert!(after.is_ok(), "{:?} made of {} is {}", after, text, out);
                let after = after.unwrap();
                let (mut expected, mut got) = (Vec::new(), Vec::new());
                all_names(&before.root.kind, &keep, &mut expected);
                all_names(&after.root.kind, &|_| true, &mut got);
                prop_assert_eq!(expected, got);
                prop_assert!(!out.contains("[]"), "{}", out);
            }
        }

        /// Entries dropped, replaced and added at once come out as planned.
        #[test]
        fn any_plan_for_the_entries_is_carried_out(
            steps in prop::collection::vec(0u8..3, 0..6),
            added in prop::collection::vec(0usize..8, 0..5), blank in "[ \n]{0,2}",
        ) {
            let mut added = added;
            added.sort_unstable();
            for format in [Format::Json, Format::Xml] {
                let text = written(format, &vec![Vec::new(); steps.len()], &blank);
                let new = |name: &str| match format {
                    Format::Json => format!("{{\"fullUrl\":\"{name}\"}}").into_bytes(),
                    Format::Xml => format!("<entry><fullUrl value='{name}'/></entry>").into_bytes(),
                };
                let before = outline(&text, format);
                let mut edits = Edits::new(format);
                let step = |at: usize| match steps[at] {
                    0 => Step::Drop,
                    1 => Step::Keep,
                    _ => Step::Replace(new("r")),
                };
                let extra: Vec<_> = added.iter().map(|at| (*at, new("n"))).collect();
                edits.entries(before.bundle().unwrap(), |at, _| step(at), &extra);
                let mut expected = String::new();
                for at in 0..9 {
                    expected.push_str(&"n".repeat(added.iter().filter(|it| (**it).min(8) == at).count()));
                    match steps.get(at) {
                        Some(1) => expected.push_str(&at.to_string()),
                        Some(2) => expected.push('r'),
                        _ => {}
                    }
                }
                let out = applied(&edits, &text);
                let after = Outline::read(out.as_bytes(), format, Limits::default());
                prop_assert!(after.is_ok(), "{:?} made of {} is {}", after, text, out);
                prop_assert_eq!(super::tests::names(&after.unwrap()), expected, "{}", out);
                prop_assert!(steps.is_empty() || !out.contains("[]"), "{}", out);
            }
        }
    }
}
