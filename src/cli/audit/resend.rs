//! `pforte audit resend`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::{ArgGroup, Args};
use jiff::tz::TimeZone;
use tokio::runtime::Runtime;

use super::super::{Failure, files, run};
use super::chosen::{Amount, Selection};
use super::place::Place;
use super::progress::Progress;
use super::when::{self, When};
use super::{Stop, safe};
use crate::config::{Audit, AuditSink};
use crate::ledger::{self, Kept, Reader};
use crate::sink::{Delivery, Fate, deliver_once};

/// Events that are sent at a time.
const BATCH: usize = 500;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["rejected", "from", "to", "since", "until"]))]
pub(in crate::cli) struct Resend {
    #[command(flatten)]
    place: Place,
    /// The sink, by the name that the configuration gives it.
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// Those that the sink refused; the ones it takes now are noted as refused no more.
    #[arg(long, conflicts_with_all = ["from", "to", "since", "until"])]
    rejected: bool,
    /// From this number on.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Up to this number.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// From then on: an instant, a day of this machine, or a time back from now (`2026-03-01T10:00:00Z`, `2026-03-01`, `24h`).
    #[arg(long, value_name = "WHEN", value_parser = when::read)]
    since: Option<When>,
    /// Until then, in the same words; a day is included.
    #[arg(long, value_name = "WHEN", value_parser = when::read)]
    until: Option<When>,
}

/// Sends events in batches, and counts.
struct Sending<'a> {
    runtime: Runtime,
    settings: &'a Audit,
    sink: &'a AuditSink,
    /// What the sink refused before.
    refused: BTreeSet<u64>,
    progress: Progress,
    waiting: Vec<Kept>,
    taken: u64,
    /// Refused again, and with which words.
    rejected: Vec<(u64, String)>,
    /// Why it went no further.
    failed: Option<String>,
}

impl Resend {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let settings = self.place.settings()?;
        let sink = self.sink(&settings)?;
        let reader = Reader::open(&settings.path).map_err(Failure::work)?;
        let refused = reader.rejected(&self.sink).map_err(Failure::work)?;
        let mut sending = Sending {
            runtime: run::runtime()?,
            settings: &settings,
            sink,
            refused: refused.into_iter().map(|one| one.sequence).collect(),
            progress: Progress::new("sent"),
            waiting: Vec::new(),
            taken: 0,
            rejected: Vec::new(),
            failed: None,
        };
        let gone = if self.rejected {
            sending.refused(&reader)?
        } else {
            self.chosen(&reader, &mut sending)?;
            0
        };
        sending.flush()?;
        sending.say(gone)
    }

    fn sink<'a>(&self, settings: &'a Audit) -> Result<&'a AuditSink, Failure> {
        settings.sinks.iter().find(|sink| sink.name == self.sink).ok_or_else(|| {
            let names: Vec<&str> = settings.sinks.iter().map(|sink| sink.name.as_str()).collect();
            let known = match names.is_empty() {
                true => "the configuration has none".to_owned(),
                false => format!("the configuration has {}", names.join(", ")),
            };
            Failure::configuration(format!("`--sink {}`: no such sink; {known}", self.sink))
        })
    }

    /// Those of a range of numbers and time.
    fn chosen(&self, reader: &Reader, sending: &mut Sending<'_>) -> Result<(), Failure> {
        let now = files::now().to_zoned(TimeZone::system());
        let selection = Selection::between(self.since, self.until, &now)?;
        let (from, to) = (self.from.unwrap_or(0), self.to.unwrap_or(u64::MAX));
        let went = selection.each(reader, Amount::All, &mut |kept| {
            if (from..=to).contains(&kept.sequence) && sending.failed.is_none() {
                sending.add(kept.clone())?;
            }
            Ok(())
        });
        went.map_err(Failure::work)
    }
}

impl Sending<'_> {
    /// Those that were refused; how many of them are no longer kept.
    fn refused(&mut self, reader: &Reader) -> Result<u64, Failure> {
        let mut gone = 0;
        for sequence in self.refused.clone() {
            match reader.event(sequence).map_err(Failure::work)? {
                Some(kept) => self.add(kept).map_err(Failure::work)?,
                None => gone += 1,
            }
        }
        Ok(gone)
    }

    fn add(&mut self, kept: Kept) -> Result<(), Stop> {
        self.waiting.push(kept);
        if self.waiting.len() < BATCH { Ok(()) } else { self.send() }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.send().map_err(Failure::work)
    }

    fn send(&mut self) -> Result<(), Stop> {
        let events = std::mem::take(&mut self.waiting);
        if events.is_empty() || self.failed.is_some() {
            return Ok(());
        }
        let deliveries = match self.runtime.block_on(deliver_once(self.sink, &events)) {
            Ok(deliveries) => deliveries,
            Err(error) => {
                self.failed = Some(error.to_string());
                return Ok(());
            }
        };
        let mut settled = Vec::new();
        for Delivery { sequence, fate } in deliveries {
            match fate {
                Fate::Taken => {
                    self.taken += 1;
                    settled.extend(self.refused.contains(&sequence).then_some(sequence));
                }
                Fate::Rejected(why) => self.rejected.push((sequence, why)),
                Fate::Failed(why) => {
                    self.failed.get_or_insert(why);
                }
            }
        }
        self.progress.show(self.taken);
        ledger::settle_rejected(&self.settings.path, &self.sink.name, &settled)?;
        Ok(())
    }

    fn say(self, gone: u64) -> Result<u8, Failure> {
        drop(self.progress);
        let mut out = io::stdout().lock();
        for (sequence, why) in &self.rejected {
            writeln!(out, "event {sequence}: refused: {}", safe::plain(why))?;
        }
        if gone > 0 {
            writeln!(out, "{gone} that were refused are no longer kept")?;
        }
        let refused = match self.rejected.len() {
            0 => String::new(),
            some => format!(", {some} refused"),
        };
        writeln!(out, "{}: {} events taken{refused}", safe::plain(&self.sink.name), self.taken)?;
        if let Some(why) = &self.failed {
            return Err(Failure::work(format!("it went no further: {}", safe::plain(why))));
        }
        Ok(if self.rejected.is_empty() { 0 } else { 1 })
    }
}
