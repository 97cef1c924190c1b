//! Bodies on their way to a client: held ones, and ones that pass while they come in.
//!
//! Of a body that passes, no byte leaves that names a patient before the event of that patient is durable (AUD-7). What
//! comes in meanwhile is read on and waits, up to a limit; one commit is in flight at a time, and everybody who was named
//! since goes into the next one.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::recorder::{Recorder, Unrecorded};
use crate::audit::Entry;
use crate::fhir::links::{Broken, Mapping, Mention, Rewriter};
use crate::upstream::{UpstreamBody, UpstreamError};

/// So much of what has come already is looked at before the head leaves.
const FIRST: usize = 64 * 1024;

/// Most bytes that are read ahead while events are being recorded.
const AHEAD: usize = 256 * 1024;

/// A piece of so many bytes leaves as it is; smaller ones are copied together.
const PIECE: usize = 16 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// It comes in from the backend and goes out rewritten.
    Passing(Box<Passing>),
    /// It is all here.
    Whole(Option<Bytes>),
}

/// What passes through.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for the length of one call, most of them the large one"
)]
pub enum Content {
    /// FHIR: URLs are rewritten, patients noted.
    Fhir(Rewriter),
    /// A file of an export: when it is resources line by line their patients are noted, with these bases.
    File(Arc<Mapping>),
    /// What nobody can read here.
    Other,
}

/// A body that passes through.
pub struct Passing<B = UpstreamBody> {
    inner: B,
    rewriter: Option<Rewriter>,
    /// The bases of a file of which nothing has come yet.
    file: Option<Arc<Mapping>>,
    /// Whether the bytes go out as they came in, so that their number is known.
    rewrites: Rewrites,
    /// What may leave.
    ready: VecDeque<Bytes>,
    /// What waits for the events in flight.
    behind: VecDeque<Bytes>,
    /// What waits for the events after those.
    next: VecDeque<Bytes>,
    /// How many bytes that is altogether.
    queued: usize,
    /// Patients whose events are not in flight yet.
    named: Vec<String>,
    flight: Option<Flight>,
    disclosure: Option<Disclosure>,
    begun: bool,
    ended: bool,
}

type Flight = Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send>>;

/// What one look at the backend's bytes lets go. A rewritten URL cuts them into pieces, of which each would be a chunk with
/// a head of its own and a buffer of a system call: small ones are copied together.
struct Gathered {
    whole: VecDeque<Bytes>,
    small: BytesMut,
    /// As many bytes as came in, about.
    expected: usize,
}

impl Gathered {
    fn new(expected: usize) -> Self {
        Self { whole: VecDeque::new(), small: BytesMut::new(), expected }
    }

    fn add(&mut self, bytes: Bytes) {
        if bytes.len() >= PIECE {
            self.close();
            self.whole.push_back(bytes);
            return;
        }
        if self.small.capacity() == 0 {
            // A URL in place of a shorter one needs room, too.
            self.small.reserve(self.expected.saturating_add(self.expected / 8).max(bytes.len()));
        }
        self.small.extend_from_slice(&bytes);
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.whole.push_back(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> VecDeque<Bytes> {
        self.close();
        self.whole
    }
}

/// Whether bytes may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrites {
    No,
    Yes,
}

/// How events of an answer that is on its way are recorded.
#[derive(Debug)]
struct Disclosure {
    recorder: Recorder,
    /// The event, patient aside.
    entry: Arc<Entry>,
}

/// Why a body that was passing through ended early. The client sees an aborted answer, never a clean end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenOff {
    /// The backend's bytes stopped.
    #[error(transparent)]
    Backend(#[from] UpstreamError),
    /// The bytes are no whole document.
    #[error("the backend's answer is no whole document: {0}")]
    Document(#[from] Broken),
    /// It names patients whose events cannot be recorded.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

impl ResponseBody {
    /// A body that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    /// Records whom the rest of the body names as it comes in: each with this event.
    pub(super) fn disclose(&mut self, recorder: &Recorder, entry: impl FnOnce() -> Entry) {
        if let Self::Passing(passing) = self {
            passing.disclose(recorder, entry);
        }
    }
}

impl<B: Body<Data = Bytes, Error = UpstreamError> + Unpin> Passing<B> {
    /// A body that passes through. Whoever it names from now on must be recorded by [`ResponseBody::disclose`], or by
    /// whoever asks for [`Self::patients`].
    pub fn new(inner: B, content: Content) -> Self {
        let rewrites = if matches!(content, Content::Fhir(_)) { Rewrites::Yes } else { Rewrites::No };
        let (rewriter, file) = match content {
            Content::Fhir(rewriter) => (Some(rewriter), None),
            Content::File(mapping) => (None, Some(mapping)),
            Content::Other => (None, None),
        };
        Self {
            inner,
            rewriter,
            file,
            rewrites,
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            next: VecDeque::new(),
            queued: 0,
            named: Vec::new(),
            flight: None,
            disclosure: None,
            begun: false,
            ended: false,
        }
    }

    /// Waits for the first bytes, and takes what has come with them: of a small answer that is all.
    ///
    /// # Errors
    /// When the body breaks off within them.
    pub async fn begin(&mut self) -> Result<(), BrokenOff> {
        poll_fn(|cx| {
            while !self.ended && self.waiting() < FIRST {
                match self.pull(cx) {
                    Poll::Pending if self.begun => break,
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(pulled) => pulled?,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Whom the body has named so far; asked once, before anything of it leaves.
    pub fn patients(&mut self) -> Vec<Mention> {
        std::mem::take(&mut self.named).into_iter().map(|id| Mention { id, entry: None }).collect()
    }

    fn disclose(&mut self, recorder: &Recorder, entry: impl FnOnce() -> Entry) {
        if !self.ended {
            self.disclosure = Some(Disclosure { recorder: recorder.clone(), entry: Arc::new(entry()) });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Err(unrecorded) = self.record(cx) {
                return self.break_off(unrecorded.into());
            }
            if let Some(bytes) = self.ready.pop_front() {
                self.queued = self.queued.saturating_sub(bytes.len());
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.flight.is_some() && (self.ended || self.waiting() >= AHEAD) {
                return Poll::Pending;
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.pull(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.break_off(error),
            }
        }
    }

    /// Brings the events on their way: lets go what waited for those that are durable, and sends off the next.
    fn record(&mut self, cx: &mut Context<'_>) -> Result<(), Unrecorded> {
        let Some(disclosure) = &self.disclosure else {
            // Nobody said how to record them.
            return if self.named.is_empty() { Ok(()) } else { Err(Unrecorded) };
        };
        loop {
            if let Some(flight) = &mut self.flight {
                let Poll::Ready(recorded) = flight.as_mut().poll(cx) else { return Ok(()) };
                self.flight = None;
                recorded?;
                self.ready.append(&mut self.behind);
            }
            if self.named.is_empty() {
                return Ok(());
            }
            let (recorder, entry) = (disclosure.recorder.clone(), Arc::clone(&disclosure.entry));
            // The events are the ledger's from the first poll on, whether or not the client stays.
            self.flight = Some(Box::pin(recorder.add(entry, std::mem::take(&mut self.named))));
            self.behind.append(&mut self.next);
        }
    }

    /// Takes the next bytes of the backend's, or its end.
    fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokenOff>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                let taken = frame.into_data().map_or(Ok(()), |bytes| self.take(bytes));
                Poll::Ready(taken.map_err(BrokenOff::from))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error.into())),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(self.rewriter.take().map_or(Ok(()), Rewriter::finish).map_err(BrokenOff::from))
            }
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Broken> {
        self.begun |= !bytes.is_empty();
        self.look(&bytes);
        let mut gathered = Gathered::new(bytes.len());
        match &mut self.rewriter {
            Some(rewriter) => {
                rewriter.push(bytes, &mut |bytes| gathered.add(bytes))?;
                let named = rewriter.patients().take();
                self.named.extend(named.into_iter().map(|mention| mention.id));
            }
            None => gathered.add(bytes),
        }
        let mut arrived = gathered.finish();
        let waits = match (self.disclosure.is_some(), self.named.is_empty(), &self.flight) {
            (true, false, _) => &mut self.next,
            (true, true, Some(_)) => &mut self.behind,
            (true, true, None) | (false, _, _) => &mut self.ready,
        };
        self.queued = arrived.iter().map(Bytes::len).fold(self.queued, usize::saturating_add);
        waits.append(&mut arrived);
        Ok(())
    }

    /// Tells by its first byte whether a file is resources line by line. Others pass unread: a backend may export tables.
    fn look(&mut self, bytes: &Bytes) {
        let Some(mapping) = &self.file else { return };
        // Spaces and a byte order mark come before it.
        let says = |byte: &&u8| !byte.is_ascii_whitespace() && !matches!(byte, 0xEF | 0xBB | 0xBF);
        let Some(first) = bytes.iter().find(says) else { return };
        if *first == b'{' {
            self.rewriter = Some(Rewriter::of_lines(Arc::clone(mapping)));
        }
        self.file = None;
    }

    fn break_off(&mut self, error: BrokenOff) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.ended = true;
        self.flight = None;
        self.named.clear();
        self.queued = 0;
        [&mut self.ready, &mut self.behind, &mut self.next].into_iter().for_each(VecDeque::clear);
        tracing::warn!(reason_id = "answer_broken_off", cause = %error, "answer aborted on its way to the client");
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Passing<B> {
    /// Bytes that were taken and have not left.
    fn waiting(&self) -> usize {
        self.queued.saturating_add(self.rewriter.as_ref().map_or(0, Rewriter::held))
    }
}

impl<B> fmt::Debug for Passing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            ),
            Self::Passing(passing) => passing.poll(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Passing(passing) => passing.ended && passing.waiting() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(passing) if passing.rewrites == Rewrites::No => {
                let waiting = passing.waiting() as u64;
                passing
                    .inner
                    .size_hint()
                    .exact()
                    .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest.saturating_add(waiting)))
            }
            Self::Passing(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
