//! Events as a table for people, as wide as their terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::forms;
use super::safe;
use crate::audit::Outcome;
use crate::ledger::Kept;

const COLUMNS: usize = 9;

/// What a column is called, and how far it gives way when the terminal is narrow.
const HEADS: [(&str, Shrinks); COLUMNS] = [
    ("no", Shrinks::Never),
    ("time", Shrinks::Never),
    ("outcome", Shrinks::Never),
    ("request", Shrinks::To { comfortable: 32, least: 14 }),
    ("patient", Shrinks::To { comfortable: 12, least: 6 }),
    ("user", Shrinks::To { comfortable: 16, least: 6 }),
    ("reason", Shrinks::To { comfortable: 20, least: 8 }),
    ("client", Shrinks::To { comfortable: 12, least: 6 }),
    // Half of it is of no use.
    ("request id", Shrinks::Never),
];

const TIME: usize = 1;
const OUTCOME: usize = 2;

#[derive(Clone, Copy)]
enum Shrinks {
    Never,
    /// The widths at which it is read well, and at all.
    To {
        comfortable: usize,
        least: usize,
    },
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    None,
    Some,
}

struct Row {
    outcome: Outcome,
    cells: [String; COLUMNS],
}

/// Events gathered to a page, so that columns can be as wide as what is in them.
pub(super) struct Table {
    zone: TimeZone,
    /// Columns of the terminal; absent: as wide as need be.
    width: Option<usize>,
    colours: Colours,
    page: Vec<Row>,
    /// The widest cell of each column so far; 0: nothing was in it, and it is left out.
    widest: [usize; COLUMNS],
    shown: Option<[usize; COLUMNS]>,
}

/// Most rows that wait for a page.
const PAGE: usize = 500;

impl Table {
    pub(super) fn new(zone: TimeZone, width: Option<usize>, colours: Colours) -> Self {
        Self { zone, width, colours, page: Vec::new(), widest: [0; COLUMNS], shown: None }
    }

    /// Adds an event; writes a page when it is full.
    pub(super) fn add(&mut self, kept: &Kept, out: &mut dyn Write) -> io::Result<()> {
        self.page.push(self.row(kept));
        if self.page.len() < PAGE { Ok(()) } else { self.write(out) }
    }

    /// Writes what waits, with a head when columns changed.
    pub(super) fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        for row in &self.page {
            for ((widest, cell), (head, _)) in self.widest.iter_mut().zip(&row.cells).zip(&HEADS) {
                let length = letters(cell);
                if length > 0 {
                    *widest = (*widest).max(length).max(letters(head));
                }
            }
        }
        let zone = format!("time ({})", self.zone.iana_name().unwrap_or("local"));
        if let Some(widest) = self.widest.get_mut(TIME) {
            *widest = (*widest).max(letters(&zone));
        }
        let widths = fitted(self.widest, self.width);
        if self.shown != Some(widths) {
            let mut heads = HEADS.map(|(head, _)| head.to_owned());
            if let Some(time) = heads.get_mut(TIME) {
                *time = zone;
            }
            let bold = (self.colours == Colours::Some).then_some("1");
            self.line(&heads, &widths, |_| bold, out)?;
            self.shown = Some(widths);
        }
        for row in std::mem::take(&mut self.page) {
            let colour = match (self.colours, row.outcome) {
                (Colours::None, _) => None,
                (Colours::Some, Outcome::Success) => Some("32"),
                (Colours::Some, Outcome::Refused) => Some("33"),
                (Colours::Some, Outcome::Failed) => Some("31"),
            };
            self.line(&row.cells, &widths, |column| colour.filter(|_| column == OUTCOME), out)?;
        }
        Ok(())
    }

    fn row(&self, kept: &Kept) -> Row {
        let entry = &kept.entry;
        let local = entry.recorded.to_zoned(self.zone.clone());
        let text = |text: Option<&str>| safe::plain(text.unwrap_or("")).into_owned();
        let outcome = match entry.status {
            0 => forms::outcome(entry.outcome()).to_owned(),
            status => format!("{status} {}", forms::outcome(entry.outcome())),
        };
        let request = format!("{} {}", entry.method, entry.target);
        let request = match entry.batch_entry {
            Some(index) => format!("[{index}] {request}"),
            None => request,
        };
        let cells = [
            kept.sequence.to_string(),
            local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            outcome,
            text(Some(request.trim())),
            text(entry.subject_patient().as_deref()),
            text(entry.fhir_user.as_deref().or(entry.subject.as_deref())),
            text(entry.reason.as_deref()),
            text(entry.client.as_deref()),
            text(Some(&entry.request_id)),
        ];
        Row { outcome: entry.outcome(), cells }
    }

    fn line(
        &self,
        cells: &[String; COLUMNS],
        widths: &[usize; COLUMNS],
        colour: impl Fn(usize) -> Option<&'static str>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let last = widths.iter().rposition(|width| *width > 0);
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate().filter(|(_, (_, w))| **w > 0) {
            let cell = cut(cell, *width);
            let gap = if Some(column) == last { 0 } else { width.saturating_sub(letters(&cell)) + 2 };
            match colour(column) {
                Some(code) => write!(out, "\u{1b}[{code}m{cell}\u{1b}[0m")?,
                None => write!(out, "{cell}")?,
            }
            write!(out, "{:gap$}", "")?;
        }
        writeln!(out)
    }
}

/// How many columns of a terminal a text takes: near enough for what stands in requests.
fn letters(text: &str) -> usize {
    text.chars().count()
}

/// A text of at most so many letters.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if letters(text) <= width {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    Cow::Owned(format!("{kept}…"))
}

/// Widths of columns that fit. Before others become hard to read, the last ones go.
fn fitted(widest: [usize; COLUMNS], terminal: Option<usize>) -> [usize; COLUMNS] {
    let Some(terminal) = terminal else { return widest };
    let comfortable = |shrinks: Shrinks| match shrinks {
        Shrinks::Never => usize::MAX,
        Shrinks::To { comfortable, .. } => comfortable,
    };
    let least = |shrinks: Shrinks| match shrinks {
        Shrinks::Never => usize::MAX,
        Shrinks::To { least, .. } => least,
    };
    let mut widths = widest;
    for kept in [COLUMNS, COLUMNS - 1, COLUMNS - 2] {
        widths.iter_mut().skip(kept).for_each(|width| *width = 0);
        if let Some(fits) = shrunk(widths, terminal, comfortable) {
            return fits;
        }
    }
    for kept in (1..COLUMNS - 2).rev() {
        if let Some(fits) = shrunk(widths, terminal, least) {
            return fits;
        }
        widths.iter_mut().skip(kept).for_each(|width| *width = 0);
    }
    widths
}

/// The widths with the widest shrunk first, none beyond its bound; `None` when that does not do.
fn shrunk(
    mut widths: [usize; COLUMNS],
    terminal: usize,
    bound: impl Fn(Shrinks) -> usize,
) -> Option<[usize; COLUMNS]> {
    loop {
        let columns = widths.iter().filter(|width| **width > 0).count();
        if widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) <= terminal {
            return Some(widths);
        }
        let wide = widths.iter_mut().zip(&HEADS).filter(|(width, (_, shrinks))| **width > bound(*shrinks));
        *wide.map(|(width, _)| width).max()? -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::ledger::Hash;

    fn kept(sequence: u64, target: &str) -> Kept {
        let mut entry = Entry::open(
            &"https://gw.example/fhir".into(),
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            ("2026-07-01T10:00:00Z".parse().unwrap(), "192.0.2.7"),
            ("GET", target),
        );
        entry.fhir_user = Some("https://gw.example/fhir/Practitioner/dr-müller".to_owned());
        entry.client = Some("ward-app".to_owned());
        if sequence.is_multiple_of(2) {
            entry.refused(403, "insufficient_scope")
        } else {
            entry.answered(200)
        }
        Kept { sequence, hash: Hash::NONE, entry }
    }

    fn shown(width: Option<usize>, colours: Colours, targets: &[&str]) -> String {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let mut table = Table::new(zone, width, colours);
        let mut out = Vec::new();
        for (sequence, target) in (1..).zip(targets) {
            table.add(&kept(sequence, target), &mut out).unwrap();
        }
        table.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = format!("Observation?code={}", "x".repeat(300));
        for width in [40, 60, 80, 100, 132, 200] {
            let text = shown(Some(width), Colours::None, &["Patient/p1", &long, "Patient/p1\u{1b}[31m"]);
            assert_eq!(text.lines().count(), 4, "{text}");
            for line in text.lines() {
                assert!(letters(line) <= width, "{width}: {} {line}", letters(line));
            }
            assert!(text.contains("2026-07-01 12:00:00"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        let whole = shown(None, Colours::None, &[&long]);
        assert!(whole.contains(&long) && whole.contains("dr-müller"), "{whole}");
    }

    #[test]
    fn heads_come_again_when_columns_change_and_colours_only_when_asked() {
        let text = shown(None, Colours::Some, &["Patient/p1", "Patient/p2"]);
        assert!(
            text.contains("\u{1b}[32m200 success\u{1b}[0m") && text.contains("\u{1b}[33m403 refused"),
            "{text}"
        );
        assert!(text.contains("time (Europe/Berlin)") && text.contains("insufficient_scope"), "{text}");
        let one = shown(None, Colours::None, &["Patient/p1"]);
        assert!(!one.contains("reason") && !one.contains("patient "), "nothing stands in them: {one}");
    }
}
