//! `pforte audit export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::super::{Failure, files};
use super::chosen::{Amount, Chosen, Selection};
use super::forms::{self, Release};
use super::place::Place;
use super::progress::Progress;
use super::{Stop, ended};
use crate::ledger::{Kept, Reader};

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    place: Place,
    /// The file, which is there only once it is whole, readable for its owner alone; `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Take the place of a file that is there.
    #[arg(long)]
    force: bool,
    /// What is written.
    #[arg(long, default_value = "ndjson")]
    format: Format,
    /// The release of FHIR whose AuditEvents are written.
    #[arg(long, value_name = "VERSION", default_value = "4.0")]
    fhir_version: Release,
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// AuditEvents, one a line.
    Ndjson,
    /// AuditEvents in one Bundle of type `collection`.
    Bundle,
    /// Facts by name, with sequence, hash and id: one JSON object a line.
    Json,
    /// The same facts as a table for spreadsheets (RFC 4180, UTF-8); what a spreadsheet would take for a formula begins with
    /// an apostrophe.
    Csv,
}

/// What was written.
#[derive(Debug, Default)]
struct Summary {
    events: u64,
    first: Option<(u64, jiff::Timestamp)>,
    last: Option<(u64, jiff::Timestamp)>,
}

impl Export {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let selection = self.chosen.by(&files::now().to_zoned(TimeZone::system()))?;
        let reader = self.place.reader()?;
        if self.output.as_os_str() == "-" {
            let mut summary = Summary::default();
            ended(self.write(&selection, &reader, &mut io::stdout().lock(), &mut summary))?;
            return self.say(&summary);
        }
        let summary = self.to_file(&selection, &reader).map_err(|stop| match stop {
            Stop::Read(_) => Failure::work(stop),
            Stop::Write(error) => Failure::work(format!("`{}`: {error}", self.output.display())),
        })?;
        self.say(&summary)
    }

    fn to_file(&self, selection: &Selection, reader: &Reader) -> Result<Summary, Stop> {
        if !self.force && self.output.symlink_metadata().is_ok() {
            return Err(taken().into());
        }
        let part = Part::begin(&self.output)?;
        let mut summary = Summary::default();
        self.write(selection, reader, &mut &part.file, &mut summary)?;
        part.finish(&self.output, self.force)?;
        Ok(summary)
    }

    fn write(
        &self,
        selection: &Selection,
        reader: &Reader,
        out: &mut dyn Write,
        summary: &mut Summary,
    ) -> Result<(), Stop> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let mut progress = Progress::new("exported");
        match self.format {
            Format::Bundle => write!(out, r#"{{"resourceType":"Bundle","type":"collection""#)?,
            Format::Csv => write!(out, "{}\r\n", forms::FACTS.join(","))?,
            Format::Json | Format::Ndjson => {}
        }
        selection.each(reader, Amount::All, &mut |kept| {
            self.one(kept, summary.events == 0, &mut out)?;
            summary.add(kept);
            progress.show(summary.events);
            Ok(())
        })?;
        if self.format == Format::Bundle {
            writeln!(out, "{}}}", if summary.events > 0 { "]" } else { "" })?;
        }
        out.flush()?;
        Ok(())
    }

    fn one(&self, kept: &Kept, first: bool, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Bundle => {
                let before = if first { r#","entry":["# } else { "," };
                let event = forms::fhir(kept, self.fhir_version);
                write!(out, "{before}\n{{\"fullUrl\":\"urn:uuid:{}\",\"resource\":{event}}}", kept.id())
            }
            Format::Csv => write!(out, "{}\r\n", forms::csv(kept)),
            Format::Json => writeln!(out, "{}", forms::flat(kept)),
            Format::Ndjson => writeln!(out, "{}", forms::fhir(kept, self.fhir_version)),
        }
    }

    fn say(&self, summary: &Summary) -> Result<u8, Failure> {
        let mut err = io::stderr();
        let to = match self.output.as_os_str() == "-" {
            true => String::new(),
            false => format!(" to {}", self.output.display()),
        };
        let told = match (&summary.first, &summary.last) {
            (Some((first, from)), Some((last, until))) => writeln!(
                err,
                "{} events exported{to}: numbers {first} to {last}, {from:.0} to {until:.0}",
                summary.events
            ),
            _ => writeln!(err, "no event fits: nothing exported{to}"),
        };
        told?;
        Ok(0)
    }
}

impl Summary {
    fn add(&mut self, kept: &Kept) {
        let here = (kept.sequence, kept.entry.recorded);
        self.events += 1;
        self.first.get_or_insert(here);
        self.last = Some(here);
    }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "the file is there already; `--force` takes its place")
}

/// A file in the making, beside the one that it will be; gone when it is not finished.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn begin(output: &Path) -> io::Result<Self> {
        let name = output.file_name().ok_or_else(|| io::Error::other("this names no file"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let path = output.with_file_name(hidden);
        // Health data: for nobody else to read.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    fn finish(self, output: &Path, force: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if force {
            return std::fs::rename(&self.path, output);
        }
        // A second name is given only where there is none: what came in between stays.
        std::fs::hard_link(&self.path, output)
            .map_err(|error| if error.kind() == io::ErrorKind::AlreadyExists { taken() } else { error })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _gone = std::fs::remove_file(&self.path);
    }
}
