//! `pforte audit verify`.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::Failure;
use super::place::Place;
use super::progress::Progress;
use super::{Stop, ended, safe};
use crate::ledger::{Hash, LedgerError, Reader, Verification};

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    #[command(flatten)]
    place: Place,
    /// A head that was printed before, and noted elsewhere: the event of this number must still have this hash. May be
    /// given several times.
    #[arg(long, value_name = "SEQUENCE:HASH", value_parser = head)]
    known: Vec<(u64, Hash)>,
    /// How the result is printed.
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

fn head(text: &str) -> Result<(u64, Hash), String> {
    let (sequence, hash) = text.split_once(':').unwrap_or((text, ""));
    match (sequence.parse(), hash.parse()) {
        (Ok(sequence), Ok(hash)) => Ok((sequence, hash)),
        _ => {
            Err("expected a number, a colon and 64 hexadecimal digits, as `pforte audit verify` prints them"
                .to_owned())
        }
    }
}

/// A verification with the times of the oldest and newest event, as far as they can be read.
struct Verified {
    of: Verification,
    times: Option<(Timestamp, Timestamp)>,
}

impl Verify {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let reader = self.place.reader()?;
        let mut progress = Progress::new("verified");
        let of = reader.verify(&self.known, &mut |reached| progress.show(reached)).map_err(Failure::work)?;
        drop(progress);
        let times = of.events.checked_sub(1).and_then(|_| times(&reader, &of).ok().flatten());
        let verified = Verified { of, times };
        let mut out = io::stdout().lock();
        ended(match self.format {
            Format::Json => verified.json(&mut out),
            Format::Text => verified.text(&mut out),
        })?;
        Ok(if verified.of.faults.is_empty() { 0 } else { 1 })
    }
}

fn times(reader: &Reader, of: &Verification) -> Result<Option<(Timestamp, Timestamp)>, LedgerError> {
    let at = |sequence: u64| -> Result<Option<Timestamp>, LedgerError> {
        let found = reader.after(sequence.saturating_sub(1), 1)?;
        Ok(found.first().map(|kept| kept.entry.recorded))
    };
    Ok(at(of.first)?.zip(at(of.last)?))
}

impl Verified {
    fn head(&self) -> String {
        format!("{}:{}", self.of.last, self.of.hash)
    }

    fn json(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let faults: Vec<Value> = self
            .of
            .faults
            .iter()
            .map(|fault| {
                json!({ "sequence": fault.sequence, "file": fault.file.display().to_string(), "what": fault.what })
            })
            .collect();
        let shown = json!({
            "sound": faults.is_empty(),
            "events": self.of.events,
            "first": self.of.first,
            "last": self.of.last,
            "oldest": self.times.map(|(oldest, _)| oldest.to_string()),
            "newest": self.times.map(|(_, newest)| newest.to_string()),
            "head": self.head(),
            "faults": faults,
        });
        writeln!(out, "{}", safe::json(shown.to_string()))?;
        Ok(())
    }

    fn text(&self, out: &mut dyn Write) -> Result<(), Stop> {
        for fault in &self.of.faults {
            let line = format!("{}: event {}: {}", fault.file.display(), fault.sequence, fault.what);
            writeln!(out, "{}", safe::plain(&line))?;
        }
        let Verification { first, last, events, .. } = self.of;
        let span =
            self.times.map(|(oldest, newest)| format!(", {oldest:.0} to {newest:.0}")).unwrap_or_default();
        let what = match events {
            0 => "no events".to_owned(),
            1 => format!("1 event, number {first}{span}"),
            _ => format!("{events} events, numbers {first} to {last}{span}"),
        };
        match self.of.faults.len() {
            0 => writeln!(out, "sound: {what}")?,
            1 => writeln!(out, "NOT SOUND: 1 fault in {what}")?,
            faults => writeln!(out, "NOT SOUND: {faults} faults in {what}")?,
        }
        if events > 0 && self.of.faults.is_empty() {
            writeln!(out, "head: {}", self.head())?;
            // The chain alone cannot tell when its end was cut off, or all of it was written anew.
            writeln!(
                out,
                "keep the head elsewhere: `--known` finds out later whether anything up to it was changed"
            )?;
        }
        Ok(())
    }
}
