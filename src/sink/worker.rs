//! Sends to one sink what the ledger has, for as long as the gateway runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Kept, Ledger, LedgerError, Reader, Rejection};
use crate::sink::SinkError;
use crate::sink::outlet::{Outlet, Sent};
use crate::sink::pause::Pauses;
use crate::sink::status::Tally;

/// How long what is on its way may take once the gateway is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Sends to one sink.
pub(super) struct Worker {
    outlet: Outlet,
    ledger: Arc<Ledger>,
    folder: PathBuf,
    tally: Arc<Tally>,
    stop: CancellationToken,
    pauses: Pauses,
    /// The last event that is on its way or there.
    sent: u64,
    /// Everything up to here is there, or refused for good, and noted as such.
    noted: u64,
    /// The most events that are sent at once: fewer after what may have been too much.
    most: usize,
    /// Events that were sent and are not noted yet: when each was recorded.
    recorded: Vec<(u64, Timestamp)>,
}

/// What comes next.
enum Next {
    /// The gateway ends.
    End,
    /// There are events to send.
    More,
    /// Up to here they are there.
    Settled(u64),
    /// What was on its way is not there.
    Trouble(SinkError),
}

/// What was read of the ledger.
enum Read {
    Events(Vec<Kept>),
    /// This record cannot be read, whoever asks.
    Unreadable(u64),
}

impl Worker {
    pub(super) fn new(
        outlet: Outlet,
        (ledger, folder): (Arc<Ledger>, PathBuf),
        tally: Arc<Tally>,
        stop: CancellationToken,
    ) -> Self {
        let most = outlet.batch();
        let pauses = Pauses::default();
        Self { outlet, ledger, folder, tally, stop, pauses, sent: 0, noted: 0, most, recorded: Vec::new() }
    }

    /// Until told to stop.
    pub(super) async fn run(mut self) {
        let mut head = self.ledger.head();
        while !self.stop.is_cancelled() {
            match self.place().await {
                Ok(()) => break,
                Err(cause) => self.pause(cause.to_string(), None).await,
            }
        }
        loop {
            match self.next(&mut head).await {
                Next::End => break,
                Next::More => self.step().await,
                Next::Settled(through) => self.stood(through).await,
                Next::Trouble(trouble) => self.away(&trouble).await,
            }
        }
        if let Some(through) = self.outlet.close().await {
            self.took(through, Vec::new()).await;
        }
    }

    /// Where the sink is: after the last event that it has, or before the oldest that is kept.
    async fn place(&mut self) -> Result<(), LedgerError> {
        let (folder, name) = (self.folder.clone(), self.tally.name().to_owned());
        let read = move || {
            let reader = Reader::open(&folder)?;
            let through = reader.delivered(&name)?;
            // One that cannot be read is met again when it is sent.
            Ok((through, reader.after(through, 1).unwrap_or_default().pop()))
        };
        let (through, first) = blocking(read).await?;
        // What was never there is not lagged behind.
        let begins = first.as_ref().map_or(through, |first| first.sequence.saturating_sub(1).max(through));
        (self.sent, self.noted) = (begins, begins);
        self.tally.begins(begins, first.map(|first| first.entry.recorded));
        Ok(())
    }

    async fn next(&mut self, head: &mut watch::Receiver<u64>) -> Next {
        let sent = self.sent;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Next::End,
            settled = self.outlet.settled() => settled.map_or_else(Next::Trouble, Next::Settled),
            // The ledger ends after its sinks; should it not, there is nothing more to come.
            more = head.wait_for(|head| *head > sent) => more.map_or(Next::End, |_| Next::More),
        }
    }

    /// Sends the next events.
    async fn step(&mut self) {
        let events = match self.read().await {
            Ok(Read::Events(events)) => events,
            Ok(Read::Unreadable(sequence)) => return self.give_up(sequence).await,
            Err(cause) => return self.pause(cause.to_string(), None).await,
        };
        if events.is_empty() {
            // They were there a moment ago, and are told of again when there are more.
            self.sent = *self.ledger.head().borrow();
            return;
        }
        if let Some(first) = events.first() {
            self.tally.waits(first.entry.recorded);
        }
        self.recorded.extend(events.iter().map(|event| (event.sequence, event.entry.recorded)));
        let Some(sent) = self.finished(events).await else { return };
        self.sent = sent.out.unwrap_or(self.sent);
        if let Some(through) = sent.settled {
            self.took(through, sent.rejected).await;
        }
        if let Some(trouble) = sent.trouble {
            self.away(&trouble).await;
        } else {
            self.most = self.most.saturating_mul(2).min(self.outlet.batch());
            if sent.settled.is_some() {
                self.back();
            }
        }
    }

    /// What came of sending, if it comes to an end soon enough once the gateway stops.
    async fn finished(&mut self, events: Vec<Kept>) -> Option<Sent> {
        let stop = self.stop.clone();
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            sent = self.outlet.send(events) => Some(sent),
            () = late => None,
        }
    }

    async fn read(&self) -> Result<Read, LedgerError> {
        let (folder, after, most) = (self.folder.clone(), self.sent, self.most.max(1));
        blocking(move || {
            let reader = Reader::open(&folder)?;
            let mut most = most;
            loop {
                match reader.after(after, most) {
                    Err(LedgerError::Unreadable { sequence, .. }) if most == 1 => {
                        return Ok(Read::Unreadable(sequence));
                    }
                    Err(LedgerError::Unreadable { .. }) => most /= 2,
                    read => return read.map(Read::Events),
                }
            }
        })
        .await
    }

    /// A damaged record is nothing to wait for. `pforte audit verify` tells of it, too.
    async fn give_up(&mut self, sequence: u64) {
        if self.noted < self.sent {
            // What is on its way comes first: places are noted in order.
            return self.wait_for_settled().await;
        }
        tracing::error!(
            sink = self.tally.name(),
            sequence,
            "an audit event cannot be read, so it is not sent"
        );
        self.sent = sequence;
        let reason = "the record cannot be read".to_owned();
        self.took(sequence, vec![Rejection { sequence, reason }]).await;
        self.back();
    }

    async fn wait_for_settled(&mut self) {
        let settled = tokio::select! {
            () = self.stop.cancelled() => return,
            settled = self.outlet.settled() => settled,
        };
        match settled {
            Ok(through) => self.stood(through).await,
            Err(trouble) => self.away(&trouble).await,
        }
    }

    /// What was on its way up to here is there.
    async fn stood(&mut self, through: u64) {
        self.took(through, Vec::new()).await;
        self.back();
    }

    /// Notes what the sink has, for as long as it takes: what is not noted would be sent again.
    async fn took(&mut self, through: u64, rejected: Vec<Rejection>) {
        let name = self.tally.name().to_owned();
        loop {
            match self.ledger.delivered(&name, through, rejected.clone()).await {
                Ok(()) => break,
                Err(LedgerError::Closed) => return,
                Err(cause) => self.pause(cause.to_string(), None).await,
            }
            if self.stop.is_cancelled() {
                return;
            }
        }
        self.noted = through;
        self.recorded.retain(|(sequence, _)| *sequence > through);
        let oldest = self.recorded.first().map(|(_, recorded)| *recorded);
        self.tally.took(through, rejected.len(), oldest);
        if !rejected.is_empty() {
            // Their words may quote the event.
            let sequences: Vec<u64> = rejected.iter().map(|one| one.sequence).take(10).collect();
            tracing::warn!(
                sink = self.tally.name(),
                rejected = rejected.len(),
                ?sequences,
                "audit events refused by a sink; `pforte audit resend` sends them again"
            );
        }
    }

    /// It takes what it is sent; says so when it did not before.
    fn back(&mut self) {
        self.pauses.over();
        if self.tally.works() {
            let waiting = self.ledger.head().borrow().saturating_sub(self.noted);
            tracing::info!(sink = self.tally.name(), waiting, "audit sink back");
        }
    }

    /// Begins again after the last event that is known to be there, in a while.
    async fn away(&mut self, trouble: &SinkError) {
        self.outlet.reset();
        self.recorded.clear();
        self.sent = self.noted;
        if trouble.may_be_too_much() {
            self.most = (self.most / 2).max(1);
        }
        self.pause(trouble.to_string(), trouble.retry_after()).await;
    }

    /// Waits after a failure; says so at the first.
    async fn pause(&mut self, cause: String, asked: Option<Duration>) {
        let name = self.tally.name().to_owned();
        if self.tally.failed(cause.clone()) {
            tracing::warn!(sink = name, cause, "audit sink away: its events are kept until it is back");
        }
        let pause = self.pauses.next(asked);
        // Waiting is over either way.
        let _stopped = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(read).await.map_err(|_| LedgerError::Writer)?
}
