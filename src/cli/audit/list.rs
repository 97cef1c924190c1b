//! `pforte audit list`.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::super::{Failure, files};
use super::chosen::{self, Amount, Chosen, Selection};
use super::forms::{self, Release};
use super::place::Place;
use super::table::{Colours, Table};
use super::{Stop, ended};
use crate::ledger::{Kept, Reader};

/// How often new events are looked for.
const GLANCE: Duration = Duration::from_millis(500);

/// Most events that are read at a glance.
const HANDFUL: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    place: Place,
    /// At most so many of the events that fit, the oldest ones.
    #[arg(long, value_name = "N", conflicts_with = "last")]
    limit: Option<usize>,
    /// At most so many of them, the newest ones.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Go on with events as they are recorded, until interrupted.
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    /// How they are printed.
    #[arg(long, default_value = "auto")]
    format: Format,
    /// The release of FHIR whose AuditEvents are printed.
    #[arg(long, value_name = "VERSION", default_value = "4.0")]
    fhir_version: Release,
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `table` on a terminal, else `fhir`.
    Auto,
    /// For people; times in this machine's time zone.
    Table,
    /// Facts by name, with sequence, hash and id: one JSON object a line.
    Json,
    /// AuditEvents, one a line.
    Fhir,
}

/// Prints events in one of the formats.
enum Printer {
    Fhir(Release),
    Json,
    Table(Box<Table>),
}

impl Printer {
    fn print(&mut self, kept: &Kept, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Fhir(release) => writeln!(out, "{}", forms::fhir(kept, *release)),
            Self::Json => writeln!(out, "{}", forms::flat(kept)),
            Self::Table(table) => table.add(kept, out),
        }
    }

    /// Shows everything that was printed so far.
    fn show(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Self::Table(table) = self {
            table.write(out)?;
        }
        out.flush()
    }
}

impl List {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let selection = self.chosen.by(&files::now().to_zoned(TimeZone::system()))?;
        let reader = self.place.reader()?;
        ended(self.print(&selection, &reader)).map(|()| 0)
    }

    fn print(&self, selection: &Selection, reader: &Reader) -> Result<(), Stop> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut printer = self.printer();
        let amount = match (self.limit, self.last) {
            (Some(most), _) => Amount::First(most),
            (None, Some(most)) => Amount::Last(most),
            (None, None) => Amount::All,
        };
        let mut seen = if self.follow { chosen::newest(reader)? } else { 0 };
        selection.each(reader, amount, &mut |kept| {
            seen = seen.max(kept.sequence);
            Ok(printer.print(kept, &mut out)?)
        })?;
        printer.show(&mut out)?;
        // Whatever came before `seen` and fits was printed: events come in order.
        if self.follow { follow(selection, reader, seen, (&mut printer, &mut out)) } else { Ok(()) }
    }

    fn printer(&self) -> Printer {
        let terminal = io::stdout().is_terminal();
        match self.format {
            Format::Fhir => Printer::Fhir(self.fhir_version),
            Format::Json => Printer::Json,
            Format::Auto if !terminal => Printer::Fhir(self.fhir_version),
            Format::Auto | Format::Table => {
                let width = terminal.then(terminal_size::terminal_size).flatten();
                let width = width.map(|(terminal_size::Width(width), _)| usize::from(width));
                let colours = if terminal && colourful() { Colours::Some } else { Colours::None };
                Printer::Table(Box::new(Table::new(TimeZone::system(), width, colours)))
            }
        }
    }
}

/// Prints what is recorded after a number, as it comes.
fn follow(
    selection: &Selection,
    reader: &Reader,
    mut seen: u64,
    (printer, out): (&mut Printer, &mut dyn Write),
) -> Result<(), Stop> {
    loop {
        let events = reader.after(seen, HANDFUL)?;
        seen = events.last().map_or(seen, |last| last.sequence);
        for kept in events.iter().filter(|kept| selection.takes(&kept.entry)) {
            printer.print(kept, out)?;
        }
        printer.show(out)?;
        if events.len() < HANDFUL {
            std::thread::sleep(GLANCE);
        }
    }
}

/// Whether the user has nothing against colours (no-color.org).
#[expect(clippy::disallowed_methods, reason = "a convention of terminals, no setting of the gateway")]
fn colourful() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}
