//! Which events are meant.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use jiff::{Timestamp, Zoned};

use super::super::Failure;
use super::Stop;
use super::when::{self, End, When};
use crate::audit::{self, Entry, Interaction};
use crate::fhir::{FhirVersion, Kind, ResourceType};
use crate::ledger::{Filter, Kept, LedgerError, Reader};

/// Filters; events that fit all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which events (all that are given must fit)")]
pub(super) struct Chosen {
    /// About this patient.
    #[arg(long, value_name = "ID", value_parser = patient)]
    patient: Option<String>,
    /// By this user: the token's `sub`, or its `fhirUser`.
    #[arg(long, value_name = "SUB|FHIRUSER")]
    user: Option<String>,
    /// By this OAuth client.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Of this request, as `X-Request-Id`, log and OperationOutcome name it.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// From then on: an instant (`2026-03-01T10:00:00Z`), a day or time of day in this machine's time zone (`2026-03-01`,
    /// `2026-03-01T10:00`), or a time back from now (`24h`, `7d`).
    #[arg(long, value_name = "WHEN", value_parser = when::read)]
    since: Option<When>,
    /// Until then, in the same words; a day is included.
    #[arg(long, value_name = "WHEN", value_parser = when::read)]
    until: Option<When>,
    /// Which ended so: `refused` was the request's fault, `failed` the gateway's or the backend's.
    #[arg(long)]
    outcome: Option<Outcome>,
    /// With this reason id, such as `insufficient_scope`.
    #[arg(long, value_name = "ID")]
    reason: Option<String>,
    /// On this resource type.
    #[arg(long = "type", value_name = "TYPE", value_parser = resource)]
    resource: Option<ResourceType>,
    /// Of this interaction, such as `read`, `search-type`, `create`; `search`, `history` and `update` stand for all their kinds.
    #[arg(long, value_name = "NAME", value_parser = interaction)]
    interaction: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// It was answered.
    Success,
    /// The request was at fault, or refused.
    Refused,
    /// The gateway or the backend was.
    Failed,
}

fn patient(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("Patient/").unwrap_or(text);
    if crate::fhir::is_id(id) { Ok(id.to_owned()) } else { Err("expected a FHIR id".to_owned()) }
}

fn resource(text: &str) -> Result<ResourceType, String> {
    let versions = [FhirVersion::R4, FhirVersion::R5, FhirVersion::R4B];
    let found = versions.into_iter().find_map(|version| version.resource_type(text));
    found.ok_or_else(|| "expected a FHIR resource type, such as `Observation`".to_owned())
}

fn interactions() -> impl Iterator<Item = Interaction> {
    let others = [Interaction::Transaction, Interaction::Unread];
    Kind::ALL.into_iter().map(Interaction::Known).chain(others)
}

fn is_called(interaction: Interaction, name: &str) -> bool {
    interaction.name().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn interaction(text: &str) -> Result<String, String> {
    if interactions().any(|interaction| is_called(interaction, text)) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = interactions().map(Interaction::name).collect();
    Err(format!("expected the name of an interaction, or what it begins with: {}", names.join(", ")))
}

/// Two points in time, in order.
fn settled(
    since: Option<When>,
    until: Option<When>,
    now: &Zoned,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
    let at = |when: Option<When>, end: End, name: &str| {
        when.map(|when| when.at(now, end))
            .transpose()
            .map_err(|error| Failure::configuration(format!("`--{name}`: {error}")))
    };
    let (since, until) = (at(since, End::Since, "since")?, at(until, End::Until, "until")?);
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Failure::configuration("`--since` is not before `--until`: nothing lies between"));
    }
    Ok((since, until))
}

impl Chosen {
    /// The same as a filter, by this clock and time zone.
    pub(super) fn by(&self, now: &Zoned) -> Result<Selection, Failure> {
        let (since, until) = settled(self.since, self.until, now)?;
        let outcome = self.outcome.map(|outcome| match outcome {
            Outcome::Success => audit::Outcome::Success,
            Outcome::Refused => audit::Outcome::Refused,
            Outcome::Failed => audit::Outcome::Failed,
        });
        let filter = Filter {
            patient: self.patient.clone(),
            user: self.user.clone(),
            client: self.client.clone(),
            request_id: self.request.clone(),
            since,
            until,
            outcome,
        };
        let (reason, resource) = (self.reason.clone(), self.resource);
        Ok(Selection { filter, reason, resource, interaction: self.interaction.clone() })
    }
}

/// Filters with every time settled.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) filter: Filter,
    reason: Option<String>,
    resource: Option<ResourceType>,
    interaction: Option<String>,
}

/// How many of the events that fit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Amount {
    All,
    /// The oldest ones.
    First(usize),
    /// The newest ones.
    Last(usize),
}

impl Selection {
    /// Those of a time.
    pub(super) fn between(since: Option<When>, until: Option<When>, now: &Zoned) -> Result<Self, Failure> {
        let (since, until) = settled(since, until, now)?;
        Ok(Self { filter: Filter { since, until, ..Filter::default() }, ..Self::default() })
    }

    /// Whether an event fits.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        self.filter.takes(entry) && self.takes_further(entry)
    }

    fn takes_further(&self, entry: &Entry) -> bool {
        self.reason.as_deref().is_none_or(|reason| entry.reason.as_deref() == Some(reason))
            && self.resource.is_none_or(|resource| entry.resource == Some(resource))
            && self.interaction.as_deref().is_none_or(|name| is_called(entry.interaction, name))
    }

    /// Gives the events that fit, oldest first.
    pub(super) fn each(
        &self,
        reader: &Reader,
        amount: Amount,
        take: &mut dyn FnMut(&Kept) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let most = match amount {
            Amount::All => usize::MAX,
            Amount::First(0) | Amount::Last(0) => return Ok(()),
            Amount::First(most) => most,
            Amount::Last(most) => return self.last(reader, most)?.iter().try_for_each(take),
        };
        let (mut given, mut went) = (0, Ok(()));
        reader.find(&self.filter, &mut |kept| {
            if !self.takes_further(&kept.entry) {
                return ControlFlow::Continue(());
            }
            went = take(&kept);
            given += 1;
            if went.is_err() || given >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        went
    }

    /// The newest ones that fit, oldest first.
    fn last(&self, reader: &Reader, most: usize) -> Result<VecDeque<Kept>, Stop> {
        let mut found = VecDeque::new();
        // From the newest back: as a rule they are not far.
        let (mut end, mut stretch) = (newest(reader)?, STRETCH);
        while end > 0 && found.len() < most {
            let begin = end.saturating_sub(stretch);
            let events = reader.after(begin, usize::try_from(end - begin).unwrap_or(usize::MAX))?;
            let events = events.into_iter().rev().filter(|kept| kept.sequence <= end);
            for kept in events.filter(|kept| self.takes(&kept.entry)).take(most - found.len()) {
                found.push_front(kept);
            }
            (end, stretch) = (begin, (stretch * 2).min(LONGEST_STRETCH));
        }
        Ok(found)
    }
}

/// How many events are read at a time on the way back.
const STRETCH: u64 = 500;

/// The same after a while.
const LONGEST_STRETCH: u64 = 10_000;

/// The number of the newest event; 0 when there is none.
pub(super) fn newest(reader: &Reader) -> Result<u64, LedgerError> {
    let Some(first) = reader.after(0, 1)?.first().map(|kept| kept.sequence) else { return Ok(0) };
    let reaches = |number: u64| reader.after(number - 1, 1).map(|found| !found.is_empty());
    let (mut low, mut step) = (first, 1);
    while reaches(low.saturating_add(step))? {
        low = low.saturating_add(step);
        step = step.saturating_mul(2);
    }
    // INVARIANT: `low` is there, `low + step` is not.
    while step > 1 {
        step /= 2;
        if reaches(low.saturating_add(step))? {
            low = low.saturating_add(step);
        }
    }
    Ok(low)
}
