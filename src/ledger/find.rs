//! Looks for events: with the indexes of finished segments, and past those that cannot hold any.

use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::audit::{Entry, Outcome};
use crate::ledger::LedgerError;
use crate::ledger::fact::{Kept, natural};
use crate::ledger::reader::{Reader, Stored, stored};
use crate::ledger::segment::Span;

/// Events that are read at a time: a gateway that writes waits for no reader that is slow.
const STRIDE: usize = 500;

/// Which events; those that all set members fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this patient: the id.
    pub patient: Option<String>,
    /// By this user: the token's `sub`, or its `fhirUser`.
    pub user: Option<String>,
    /// By this OAuth client.
    pub client: Option<String>,
    /// With this request id.
    pub request_id: Option<String>,
    /// Recorded at this instant or later.
    pub since: Option<Timestamp>,
    /// Recorded before this instant.
    pub until: Option<Timestamp>,
    /// Ended so.
    pub outcome: Option<Outcome>,
}

impl Filter {
    /// Whether an entry fits.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, found: &[Option<&str>]| {
            wanted.as_deref().is_none_or(|wanted| found.contains(&Some(wanted)))
        };
        same(&self.patient, &[entry.subject_patient().as_deref()])
            && same(&self.user, &[entry.subject.as_deref(), entry.fhir_user.as_deref()])
            && same(&self.client, &[entry.client.as_deref()])
            && same(&self.request_id, &[Some(&entry.request_id)])
            && self.since.is_none_or(|since| entry.recorded >= since)
            && self.until.is_none_or(|until| entry.recorded < until)
            && self.outcome.is_none_or(|outcome| entry.outcome() == outcome)
    }

    /// Whether a finished segment may hold some. Milliseconds are what a segment knows; the rest is the entry's.
    fn may_be_in(&self, span: &Span) -> bool {
        self.since.is_none_or(|since| span.latest >= since.as_millisecond())
            && self.until.is_none_or(|until| span.earliest <= until.as_millisecond())
    }

    /// Whether the stored bytes may say so: spares reading what cannot fit.
    fn may_say(&self, kept: &[u8]) -> bool {
        let plain =
            |id: &&str| id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        let wanted = self.request_id.as_deref().filter(plain);
        wanted.is_none_or(|id| memchr::memmem::find(kept, id.as_bytes()).is_some())
    }

    /// The rows of one segment after a number that may fit, in order.
    fn query(&self) -> (String, Vec<Value>) {
        let mut values = vec![Value::Integer(0)];
        let mut conditions = vec!["sequence > ?1".to_owned()];
        let mut add = |column: &str, value: Value| {
            values.push(value);
            conditions.push(format!("{column} ?{}", values.len()));
        };
        if let Some(patient) = &self.patient {
            add("patient =", Value::Text(patient.clone()));
        }
        if let Some(client) = &self.client {
            add("client =", Value::Text(client.clone()));
        }
        if let Some(since) = self.since {
            add("recorded >=", Value::Integer(since.as_millisecond()));
        }
        if let Some(until) = self.until {
            add("recorded <=", Value::Integer(until.as_millisecond()));
        }
        let rows = |more: &str| {
            format!("SELECT sequence, kept, hash FROM event WHERE {}{more}", conditions.join(" AND "))
        };
        let found = match &self.user {
            None => rows(""),
            Some(user) => {
                values.push(Value::Text(user.clone()));
                let place = values.len();
                // Two indexes, read side by side in order.
                let (sub, fhir) = (format!(" AND user = ?{place}"), format!(" AND fhir_user = ?{place}"));
                format!("{} UNION {}", rows(&sub), rows(&fhir))
            }
        };
        (format!("{found} ORDER BY sequence LIMIT {STRIDE}"), values)
    }
}

impl Reader {
    /// Gives each event that the filter takes, oldest first, until `each` says that it is enough.
    ///
    /// # Errors
    /// When the store or one of them cannot be read.
    pub fn find(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let Some(mut at) = self.start(0)? else { return Ok(()) };
        let (sql, mut values) = filter.query();
        loop {
            // Listed before it is read: a segment that has a successor gets no more events.
            let successor = self.successor(at)?;
            match self.find_in(at, (&sql, &mut values), filter, each) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                // Retention has removed it.
                Err(_) if !self.path(at).exists() => {}
                Err(error) => return Err(error),
            }
            match successor {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    fn find_in(
        &self,
        at: u64,
        (sql, values): (&str, &mut [Value]),
        filter: &Filter,
        each: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, LedgerError> {
        let (_, span) = self.limits(at)?;
        if span.is_some_and(|span| !filter.may_be_in(&span)) {
            return Ok(ControlFlow::Continue(()));
        }
        let mut after = 0;
        loop {
            if let Some(first) = values.first_mut() {
                *first = Value::Integer(after);
            }
            let rows = self.with(at, |connection| rows(connection, sql, values))?;
            let last = rows.last().map(|(sequence, ..)| *sequence);
            let full = rows.len() >= STRIDE;
            for row in rows.into_iter().filter(|(_, kept, _)| filter.may_say(kept)) {
                let event = self.kept(at, row)?;
                if filter.takes(&event.entry) && each(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            match last {
                Some(last) if full && natural(last) > 0 => after = last,
                Some(_) | None => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

fn rows(connection: &Connection, sql: &str, values: &[Value]) -> rusqlite::Result<Vec<Stored>> {
    let mut found = connection.prepare_cached(sql)?;
    let rows = found.query_map(params_from_iter(values), stored)?;
    rows.collect()
}
