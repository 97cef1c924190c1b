//! `pforte audit status`.

use std::io::{self, Write};
use std::path::Path;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::Failure;
use super::chosen::newest;
use super::place::Place;
use super::{Stop, ended, safe};
use crate::ledger::{LedgerError, Reader};

#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    place: Place,
    /// How it is printed.
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

/// A number, and when it was recorded.
type Point = (u64, Timestamp);

/// What is in a folder, and what its sinks have taken.
struct Standing {
    folder: String,
    files: usize,
    bytes: u64,
    ends: Option<(Point, Point)>,
    sinks: Vec<Sink>,
}

struct Sink {
    name: String,
    through: u64,
    /// Events it was not given yet, and when the oldest of them was recorded.
    lag: u64,
    since: Option<Timestamp>,
    rejected: usize,
}

impl Status {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let sinks = self.place.sinks()?;
        let standing = Standing::of(&self.place.folder()?, &sinks)?;
        let mut out = io::stdout().lock();
        ended(match self.format {
            Format::Json => standing.json(&mut out),
            Format::Text => standing.text(&mut out),
        })?;
        Ok(0)
    }
}

impl Standing {
    fn of(folder: &Path, sinks: &[String]) -> Result<Self, Failure> {
        let reader = Reader::open(folder).map_err(Failure::work)?;
        let (mut files, mut bytes) = (0, 0);
        for entry in folder.read_dir()? {
            let found = entry?.metadata()?;
            if found.is_file() && found.len() > 0 {
                files += 1;
                bytes += found.len();
            }
        }
        let ends = ends(&reader).map_err(Failure::work)?;
        let last = ends.map_or(0, |(_, (last, _))| last);
        let sinks = sinks.iter().map(|name| Sink::of(&reader, name, last)).collect::<Result<_, _>>();
        let sinks = sinks.map_err(Failure::work)?;
        Ok(Self { folder: folder.display().to_string(), files, bytes, ends, sinks })
    }

    fn json(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let point = |point: Option<Point>| {
            point.map(|(number, at)| json!({ "sequence": number, "recorded": at.to_string() }))
        };
        let sinks: Vec<Value> = self
            .sinks
            .iter()
            .map(|sink| {
                json!({
                    "name": sink.name, "delivered_through": sink.through, "waiting": sink.lag,
                    "waiting_since": sink.since.map(|since| since.to_string()), "rejected": sink.rejected,
                })
            })
            .collect();
        let shown = json!({
            "folder": self.folder, "files": self.files, "bytes": self.bytes, "events": self.events(),
            "oldest": point(self.ends.map(|(oldest, _)| oldest)),
            "newest": point(self.ends.map(|(_, newest)| newest)),
            "sinks": sinks,
        });
        writeln!(out, "{}", safe::json(shown.to_string()))?;
        Ok(())
    }

    fn text(&self, out: &mut dyn Write) -> Result<(), Stop> {
        let (folder, size) = (safe::plain(&self.folder), size(self.bytes));
        writeln!(out, "folder  {folder}: {size} in {} files", self.files)?;
        match self.ends {
            None => writeln!(out, "events  none")?,
            Some(((first, from), (last, until))) => {
                writeln!(out, "events  {}, numbers {first} to {last}", self.events())?;
                writeln!(out, "oldest  {from:.0}")?;
                writeln!(out, "newest  {until:.0}")?;
            }
        }
        for sink in &self.sinks {
            write!(out, "sink    {}: has taken events up to {}", safe::plain(&sink.name), sink.through)?;
            if sink.lag > 0 {
                write!(out, ", {} wait", sink.lag)?;
            }
            if let Some(since) = sink.since {
                write!(out, " since {since:.0}")?;
            }
            match sink.rejected {
                0 => writeln!(out)?,
                some => writeln!(out, "; {some} rejected (`pforte audit resend --rejected`)")?,
            }
        }
        Ok(())
    }

    fn events(&self) -> u64 {
        self.ends.map_or(0, |((first, _), (last, _))| last.saturating_sub(first).saturating_add(1))
    }
}

impl Sink {
    fn of(reader: &Reader, name: &str, last: u64) -> Result<Self, LedgerError> {
        let through = reader.delivered(name)?;
        let oldest = reader.after(through, 1)?;
        Ok(Self {
            name: name.to_owned(),
            through,
            lag: last.saturating_sub(through),
            since: oldest.first().map(|kept| kept.entry.recorded),
            rejected: reader.rejected(name)?.len(),
        })
    }
}

fn ends(reader: &Reader) -> Result<Option<(Point, Point)>, LedgerError> {
    let point = |after: u64| -> Result<Option<Point>, LedgerError> {
        Ok(reader.after(after, 1)?.first().map(|kept| (kept.sequence, kept.entry.recorded)))
    };
    let last = newest(reader)?;
    Ok(point(0)?.zip(point(last.saturating_sub(1))?))
}

/// Bytes for people: three digits matter.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = bytes.saturating_mul(10) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}
