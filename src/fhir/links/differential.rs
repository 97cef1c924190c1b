//! What skims is held against what reads each byte in its turn, over bodies made to mislead it.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::patients::{Grouping, Mention, Patients};
use super::{Broken, Mapping, Rewriter, Scan, is_uri, model};
use crate::fhir::outline::Format;

const BASES: [&str; 2] = ["http://upstream.internal/fhir", "http://upstream.internal:8080/fhir/v2/"];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

const KEYS: &[&str] = &[
    "reference",
    "id",
    "resourceType",
    "entry",
    "fullUrl",
    "url",
    "display",
    "div",
    "ix",
    "xd",
    "system",
    "profile",
    "Patient",
    "http",
    "i",
    "",
    "id\\",
    "h",
    "P",
];

const VALUES: &[&str] = &[
    "Patient",
    "Patient/a",
    "Patient/b/_history/1",
    "Patients",
    "Patient/",
    "Practitioner/a",
    "Group",
    "a",
    "b1",
    "id",
    "http://upstream.internal/fhir",
    "http://upstream.internal/fhir/Patient/c",
    "HTTP://Upstream.internal/fhir/x",
    "http://upstream.internal:80/fhir/Patient/d|1",
    "http://upstream.internal:8080/fhir/v2/Patient/e?f",
    "http://upstream.internal/fhirx",
    "http://upstream.interna",
    "http://upstream.internal:8080/fhir/v3",
    "urn:uuid:1",
    "http://loinc.org",
    "h",
    "",
    "\\",
    "\"",
    "\\\\\"id\":\"x",
    "\"reference\":\"Patient/z\"",
    "{\"resourceType\":\"Patient\"",
    "[{}]}}",
    "é€😀",
    "x{",
    "kg",
    "\n\t",
    "reference",
    "resourceType",
    "Patient/q\\\"",
    "a long text in which nothing can be, and which goes on and on, longer than a block of bytes, to its end",
];

fn string(dice: &mut Dice, text: &str, out: &mut String) {
    let spelling = dice.below(6);
    out.push('"');
    for letter in text.chars() {
        let plain = !matches!(letter, '"' | '\\' | '\0'..='\x1F');
        match (spelling, dice.below(4)) {
            (0, 0) if u32::from(letter) < 0x10000 => *out += &format!("\\u{:04x}", u32::from(letter)),
            (1, 0) if u32::from(letter) < 0x10000 => *out += &format!("\\u{:04X}", u32::from(letter)),
            (0..3, _) if letter == '/' => *out += "\\/",
            _ if plain => out.push(letter),
            _ if letter == '\n' => *out += "\\n",
            _ if letter == '\t' => *out += "\\t",
            _ => out.extend(['\\', letter]),
        }
    }
    out.push('"');
}

fn space(dice: &mut Dice, out: &mut String) {
    if dice.below(8) == 0 {
        let much = dice.below(4) * dice.below(12);
        out.extend(std::iter::repeat_n(if much.is_multiple_of(2) { ' ' } else { '\n' }, much));
    }
}

fn value(dice: &mut Dice, depth: usize, out: &mut String) {
    space(dice, out);
    match dice.below(if depth > 5 { 6 } else { 10 }) {
        0 => *out += dice.pick(&["1", "-2.5e+3", "true", "null", "false"]),
        1..6 => {
            let text = dice.pick(VALUES);
            string(dice, text, out);
        }
        6 | 7 => {
            out.push('[');
            for at in 0..dice.below(5) {
                if at > 0 {
                    out.push(',');
                }
                value(dice, depth + 1, out);
            }
            space(dice, out);
            out.push(']');
        }
        _ => object(dice, depth, out),
    }
    space(dice, out);
}

fn object(dice: &mut Dice, depth: usize, out: &mut String) {
    out.push('{');
    let patient = dice.below(3);
    for at in 0..dice.below(7) {
        if at > 0 {
            out.push(',');
        }
        space(dice, out);
        let key = match (patient, at) {
            (0, 0) | (1, 3) => "resourceType",
            (0, 2) | (1, 0) => "id",
            _ => dice.pick(KEYS),
        };
        string(dice, key, out);
        space(dice, out);
        out.push(':');
        match key {
            "resourceType" if dice.below(3) > 0 => string(dice, "Patient", out),
            "id" if dice.below(3) > 0 => {
                let id = dice.pick(&["a", "b2", "c-3.d"]);
                string(dice, id, out);
            }
            _ => value(dice, depth + 1, out),
        }
    }
    out.push('}');
}

fn body(dice: &mut Dice) -> String {
    let mut out = String::from("{\"resourceType\":\"Bundle\",\"entry\":[");
    for at in 0..dice.below(12) {
        if at > 0 {
            out.push(',');
        }
        object(dice, 2, &mut out);
    }
    out += "]}";
    out
}

/// What one chunk after the other makes known.
type Steps = Vec<(Vec<u8>, Vec<Mention>, usize)>;

fn read(scan: Scan, text: &[u8], cuts: &[usize], grouping: Grouping) -> (Steps, Result<(), Broken>) {
    let mapping = Arc::new(Mapping::new(&BASES, "https://gw.test/fhir").unwrap());
    let mut rewriter = Rewriter { scan, ..Rewriter::new(Format::Json, mapping, is_uri) };
    rewriter.found.patients = Patients::by(grouping);
    let (mut steps, mut at) = (Steps::new(), 0);
    for cut in cuts.iter().copied().chain([text.len()]) {
        let mut out = Vec::new();
        let chunk = Bytes::copy_from_slice(&text[at..cut]);
        if let Err(broken) = rewriter.push(chunk, &mut |bytes| out.extend_from_slice(&bytes)) {
            return (steps, Err(broken));
        }
        steps.push((out, rewriter.patients().take(), rewriter.held()));
        at = cut;
    }
    (steps, rewriter.finish())
}

fn scans(lines: bool) -> [Scan; 2] {
    match lines {
        true => [Scan::Json(super::json::Scan::of_many()), Scan::Model(model::Scan::of_many())],
        false => [Scan::Json(super::json::Scan::default()), Scan::Model(model::Scan::default())],
    }
}

fn compare(text: &[u8], cuts: &[usize], grouping: Grouping) -> Result<(), TestCaseError> {
    let shown = || format!("{} cut at {cuts:?}", String::from_utf8_lossy(text));
    let [new, old] = scans(false);
    let (new, old) = (read(new, text, cuts, grouping), read(old, text, cuts, grouping));
    // Of what is no JSON nobody can tell what a reader would take from it.
    if serde_json::from_slice::<serde_json::Value>(text).is_ok() {
        prop_assert_eq!(new, old, "{}", shown());
    }
    Ok(())
}

proptest! {
    #[test]
    fn skims_like_the_reader_of_each_byte(seed in 1u64.., pieces in 0usize..6, entries in any::<bool>()) {
        let mut dice = Dice(seed);
        let text = body(&mut dice);
        let mut cuts: Vec<_> = (0..pieces).map(|_| dice.below(text.len() + 1)).collect();
        cuts.sort_unstable();
        let grouping = if entries { Grouping::Entry } else { Grouping::Document };
        compare(text.as_bytes(), &cuts, grouping)?;
        compare(text.as_bytes(), &[], grouping)?;
        let lines = [&*text, &text.replace("Patient/a", "Patient/z"), &*text].map(|text| text.replace('\n', " ")).join("\n");
        let [new, old] = scans(true).map(|scan| read(scan, lines.as_bytes(), &cuts, grouping));
        prop_assert_eq!(new, old, "{}", lines);
    }

    /// Whatever breaks a document: what is still one is read alike, and what the reader of each byte takes for cut short
    /// or for closing what it did not open is so taken.
    #[test]
    fn breaks_like_the_reader_of_each_byte(seed in 1u64.., pieces in 0usize..3) {
        let mut dice = Dice(seed);
        let mut text = body(&mut dice).into_bytes();
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len().max(1));
            match dice.below(3) {
                0 if text.len() > 1 => drop(text.remove(at)),
                1 if !text.is_empty() => text[at] = *b"{}[]\"\\:, \nPhi".get(dice.below(13)).unwrap(),
                _ => text.truncate(at.max(1)),
            }
        }
        let mut cuts: Vec<_> = (0..pieces).map(|_| dice.below(text.len() + 1)).collect();
        cuts.sort_unstable();
        compare(&text, &cuts, Grouping::Document)?;
        let [new, old] = scans(false).map(|scan| read(scan, &text, &cuts, Grouping::Document).1);
        if matches!(old, Err(Broken::Truncated | Broken::Unbalanced | Broken::TooDeep)) {
            prop_assert!(new.is_err(), "{}", String::from_utf8_lossy(&text));
        }
    }
}
