//! Writes events down before what they tell of happens to anybody: a write before it is sent, an answer before it leaves.

use std::pin::{Pin, pin};
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use crate::audit::Entry;
use crate::config::OnAuditFailure;
use crate::ledger::{Intent, Ledger, LedgerError};
use crate::telemetry::Metrics;

use super::record::Record;
use super::watch::Watch;

/// Most events that are handed to the ledger at once.
const PIECE: usize = 1000;

/// The way to the ledger, and what follows when it takes nothing.
#[derive(Debug, Clone)]
pub struct Recorder {
    ledger: Arc<Ledger>,
    metrics: Metrics,
    on_failure: OnAuditFailure,
}

/// What was to be written down is not, and the settings refuse to go on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit events of the answer could not be recorded")]
pub struct Unrecorded;

impl Recorder {
    /// Records in this ledger.
    pub(super) fn new(ledger: &Arc<Ledger>, metrics: &Metrics, on_failure: OnAuditFailure) -> Self {
        Self { ledger: Arc::clone(ledger), metrics: metrics.clone(), on_failure }
    }

    /// Nothing is sent on while it is known that it could not be recorded; the ledger looks for itself whether it can.
    pub(super) fn ready(&self) -> Result<(), Unrecorded> {
        let refuses = self.on_failure == OnAuditFailure::Refuse;
        if refuses && self.ledger.status().last_error.is_some() { Err(Unrecorded) } else { Ok(()) }
    }

    /// Announces what may change something before it is sent, so that it has its event whatever happens to us.
    pub(super) async fn announce(&self, record: &mut Record) -> Result<(), Unrecorded> {
        let watch = Arc::clone(record.watch());
        let announcement = record.announcement();
        // What is announced is no event yet.
        match self.kept(&watch, 0, pin!(self.ledger.intend(&announcement))).await {
            Ok(intent) => {
                record.announced(intent);
                Ok(())
            }
            Err(error) => self.failed(record.request_id(), watch.trace().id(), &error, 1),
        }
    }

    /// Records how a request ended: all of its events, or those of a streaming answer that are known so far.
    pub(super) async fn conclude(&self, record: &mut Record) -> Result<(), Unrecorded> {
        let intent = record.take_intent();
        let watch = Arc::clone(record.watch());
        if let Some(only) = record.only() {
            let only = slice::from_ref(only);
            let kept = self.kept(&watch, 1, pin!(self.ledger.settle(intent, only))).await;
            return kept.or_else(|error| self.failed(record.request_id(), watch.trace().id(), &error, 1));
        }
        // Few requests have several events, and a future is as large as the largest of what it may wait for.
        Box::pin(self.conclude_all(record, intent)).await
    }

    async fn conclude_all(&self, record: &Record, mut intent: Option<Intent>) -> Result<(), Unrecorded> {
        let watch = record.watch();
        let events = record.events();
        let mut left = events.len();
        for piece in events.chunks(PIECE) {
            let entries: Vec<Entry> = piece.iter().map(event).collect();
            // The announcement goes with the last piece: until then it is not known how all of it ends.
            let last = intent.take_if(|_| left <= PIECE);
            let kept = self.kept(watch, piece.len(), pin!(self.ledger.settle(last, &entries))).await;
            if let Err(error) = kept {
                return self.failed(record.request_id(), watch.trace().id(), &error, left);
            }
            left -= piece.len();
        }
        Ok(())
    }

    /// Records that an answer on its way names these patients too.
    pub(super) async fn add(self, entry: Arc<Entry>, patients: Vec<String>) -> Result<(), Unrecorded> {
        let mut left = patients.len();
        for piece in patients.chunks(PIECE) {
            let entries: Vec<Entry> = piece.iter().map(|id| entry.of_patient(id)).collect();
            let started = Instant::now();
            if let Err(error) = self.ledger.record(&entries).await {
                return self.failed(&entry.request_id, None, &error, left);
            }
            self.metrics.audit_recorded(piece.len(), started.elapsed());
            left -= piece.len();
        }
        Ok(())
    }

    /// Waits until so many events are kept, on behalf of a request.
    async fn kept<T>(
        &self,
        watch: &Watch,
        events: usize,
        keeping: Pin<&mut impl Future<Output = Result<T, LedgerError>>>,
    ) -> Result<T, LedgerError> {
        let step = watch.trace().step("record audit");
        let (kept, waited) = watch.audit(&step, keeping).await;
        match &kept {
            Ok(_) => self.metrics.audit_recorded(events, waited),
            Err(_) => step.failed("audit_unavailable"),
        }
        kept
    }

    /// Counts and logs what could not be recorded; goes on where the settings say so.
    fn failed(
        &self,
        request_id: &str,
        trace_id: Option<String>,
        error: &LedgerError,
        events: usize,
    ) -> Result<(), Unrecorded> {
        self.metrics.audit_failed(events);
        tracing::error!(request_id, trace_id, cause = %error, "audit event not recorded");
        match self.on_failure {
            OnAuditFailure::Continue => Ok(()),
            OnAuditFailure::Refuse => Err(Unrecorded),
        }
    }
}

fn event((entry, about): &(&Entry, Option<&str>)) -> Entry {
    about.map_or_else(|| (*entry).clone(), |id| entry.of_patient(id))
}
