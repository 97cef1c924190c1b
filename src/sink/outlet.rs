//! What all kinds of sinks have in common, and sending outside of a worker.

use serde_json::Value;

use crate::config::{AuditSink, AuditSinkKind};
use crate::ledger::{Kept, Rejection};
use crate::sink::SinkError;
use crate::sink::fhir::Repository;
use crate::sink::file::Lines;
use crate::sink::syslog::Receiver;

/// A sink, ready to be sent to.
pub(super) enum Outlet {
    Fhir(Box<Repository>),
    File(Lines),
    Syslog(Box<Receiver>),
}

/// What came of sending some events.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The last event that is on its way or there; absent when none is.
    pub(super) out: Option<u64>,
    /// The last event up to which the sink has them all, but for those rejected; absent when that is not known (yet).
    pub(super) settled: Option<u64>,
    /// What the sink refused for good, in order; none lies behind `settled`.
    pub(super) rejected: Vec<Rejection>,
    /// Why it went no further.
    pub(super) trouble: Option<SinkError>,
}

impl Sent {
    /// Nothing went out.
    pub(super) fn none(trouble: SinkError) -> Self {
        Self { trouble: Some(trouble), ..Self::default() }
    }
}

/// How much faith is put into a sink that refuses events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Faith {
    /// Each refusal is taken for what it says.
    Full,
    /// One that refuses whatever it is sent is taken to be amiss itself.
    Wary,
}

impl Outlet {
    /// Connects to nothing yet.
    pub(super) fn new(kind: &AuditSinkKind, faith: Faith) -> Result<Self, SinkError> {
        Ok(match kind {
            AuditSinkKind::Fhir(sink) => Self::Fhir(Box::new(Repository::new(sink, faith)?)),
            AuditSinkKind::File(sink) => Self::File(Lines::new(sink, faith)),
            AuditSinkKind::Syslog(sink) => Self::Syslog(Box::new(Receiver::new(sink)?)),
        })
    }

    /// The most events that are sent at once.
    pub(super) fn batch(&self) -> usize {
        match self {
            Self::Fhir(repository) => repository.batch(),
            Self::File(_) => Lines::BATCH,
            Self::Syslog(_) => Receiver::BATCH,
        }
    }

    /// Sends events, in order.
    pub(super) async fn send(&mut self, events: Vec<Kept>) -> Sent {
        match self {
            Self::Fhir(repository) => repository.send(&events).await,
            Self::File(lines) => lines.send(events).await,
            Self::Syslog(receiver) => receiver.send(&events).await,
        }
    }

    /// Waits until more of what is on its way is known to be there; for ever when nothing is on its way. May be dropped and
    /// called again.
    pub(super) async fn settled(&mut self) -> Result<u64, SinkError> {
        match self {
            Self::Fhir(_) | Self::File(_) => std::future::pending().await,
            Self::Syslog(receiver) => receiver.settled().await,
        }
    }

    /// Forgets what is on its way, after a failure: it is sent again.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Fhir(_) | Self::File(_) => {}
            Self::Syslog(receiver) => receiver.reset(),
        }
    }

    /// Ends, within a few seconds; the last event that turned out to be there.
    pub(super) async fn close(&mut self) -> Option<u64> {
        match self {
            Self::Fhir(_) | Self::File(_) => None,
            Self::Syslog(receiver) => receiver.close().await,
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It did not get there, and may the next time.
    Failed(String),
    /// The sink refused it, in these words.
    Rejected(String),
    /// The sink has it.
    Taken,
}

/// One event, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The number of the event.
    pub sequence: u64,
    /// What became of it.
    pub fate: Fate,
}

/// Sends events to a sink, once and in the order of their numbers, beside the worker of a gateway that may be running: each
/// event has the same id there. Nothing is noted in the ledger. Gives what became of each; after a failure nothing more is
/// tried.
///
/// # Errors
/// Certificates, keys or credentials that cannot be used.
pub async fn deliver_once(sink: &AuditSink, events: &[Kept]) -> Result<Vec<Delivery>, SinkError> {
    let mut outlet = Outlet::new(&sink.kind, Faith::Full)?;
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.sequence);
    let mut rest = events.as_slice();
    let mut deliveries = Vec::with_capacity(rest.len());
    // On their way; known to be there only when the connection is closed well.
    let mut open: Vec<u64> = Vec::new();
    let mut words = "it was not confirmed that they arrived".to_owned();
    while !rest.is_empty() {
        let now = rest.get(..outlet.batch()).unwrap_or(rest);
        let sent = outlet.send(now.to_vec()).await;
        let gone = now.iter().take_while(|event| sent.out >= Some(event.sequence)).count();
        for event in now.iter().take(gone) {
            let sequence = event.sequence;
            match sent.rejected.iter().find(|one| one.sequence == sequence) {
                Some(one) => deliveries.push(Delivery { sequence, fate: Fate::Rejected(one.reason.clone()) }),
                None if sent.settled >= Some(sequence) => {
                    deliveries.push(Delivery { sequence, fate: Fate::Taken });
                }
                None => open.push(sequence),
            }
        }
        rest = rest.get(gone..).unwrap_or_default();
        if let Some(cause) = sent.trouble {
            words = cause.to_string();
            break;
        }
    }
    let arrived = if open.is_empty() { None } else { outlet.close().await };
    let fate = |sequence| if arrived >= Some(sequence) { Fate::Taken } else { Fate::Failed(words.clone()) };
    deliveries.extend(open.into_iter().map(|sequence| Delivery { sequence, fate: fate(sequence) }));
    let failed = |event: &Kept| Delivery { sequence: event.sequence, fate: Fate::Failed(words.clone()) };
    deliveries.extend(rest.iter().map(failed));
    deliveries.sort_by_key(|delivery| delivery.sequence);
    Ok(deliveries)
}

/// What a sink is like before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// A file that can be written.
    File,
    /// A server that answered with this: its CapabilityStatement, if it is FHIR.
    Repository(Box<Value>),
    /// A receiver whose certificate is as it should be.
    Receiver,
}

/// Looks whether a sink can be used, and leaves nothing behind there.
///
/// # Errors
/// Why it cannot.
pub async fn reach(sink: &AuditSink) -> Result<Reached, SinkError> {
    match Outlet::new(&sink.kind, Faith::Full)? {
        Outlet::Fhir(repository) => repository.statement().await.map(Box::new).map(Reached::Repository),
        Outlet::File(lines) => lines.try_out().await.map(|()| Reached::File),
        Outlet::Syslog(mut receiver) => receiver.try_out().await.map(|()| Reached::Receiver),
    }
}
