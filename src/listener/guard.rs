//! The wire as hyper may see it: strictly framed, and neither fed nor drained too slowly.
//!
//! A faulty HTTP/1.1 head is replaced by a plain request that the service wrapper recognises by its ordinal, so that
//! the refusal is answered in order behind pipelined requests and recorded like any other.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::admissible::Refusal;
use super::deliver::Pulse;
use super::framing::{Fault, Framer, HeadLimits};
use super::pace::Pace;
use crate::telemetry::Meter;

/// What stands in for a head that hyper must not see.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Bytes thrown away at most when a connection closes, so that the answer is not lost to a reset.
const LINGER_BYTES: usize = 256 * 1024;

/// Which request of a connection, counted from 1, is refused and why; set once, because none follows.
pub(super) type Refused = Arc<OnceLock<(u64, Refusal)>>;

/// How long a client may let us wait for a request.
#[derive(Debug)]
pub(super) struct Waits {
    /// For a head: from the connection's begin for the first, from its first byte for those that follow.
    pub(super) header: Duration,
    /// Between two requests, and inside a body.
    pub(super) idle: Duration,
    /// Whether a request is being answered: then nobody waits for the next.
    pub(super) pulse: Arc<Pulse>,
}

impl Waits {
    /// How much longer bytes of a head may stay away.
    fn left(&self, first: bool, begun: Option<Instant>) -> Duration {
        let Some(quiet) = self.pulse.quiet_for() else { return self.header.min(self.idle) };
        match begun {
            Some(begun) => self.header.saturating_sub(quiet.min(begun.elapsed())),
            None if first => self.header.saturating_sub(quiet),
            None => self.idle.saturating_sub(quiet),
        }
    }
}

/// An HTTP/1.1 or HTTP/2 byte stream under guard.
#[derive(Debug)]
pub(super) struct Guard<T> {
    inner: T,
    http1: Option<Strict>,
    reading: Pace,
    writing: Pace,
    meter: Meter,
}

#[derive(Debug)]
struct Strict {
    framer: Framer,
    /// Bytes read but not yet handed on; the first `approved` of them may be.
    held: BytesMut,
    approved: usize,
    refused: Refused,
    /// The requests already handed on when writing last began.
    written_for: u64,
    waits: Waits,
    /// When the first byte came of a head that is not complete.
    begun: Option<Instant>,
    /// Looks after heads that do not come. It is left as it is while requests follow each other quickly.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Guard<T> {
    /// Guards an HTTP/1.1 connection.
    pub(super) fn http1(inner: T, limits: HeadLimits, waits: Waits, refused: Refused) -> Self {
        let idle = waits.idle;
        let strict = Strict {
            framer: Framer::new(limits),
            held: BytesMut::new(),
            approved: 0,
            refused,
            written_for: 0,
            waits,
            begun: None,
            timer: None,
        };
        Self {
            inner,
            http1: Some(strict),
            reading: Pace::new(idle),
            writing: Pace::new(idle),
            meter: Meter::default(),
        }
    }

    /// Guards an HTTP/2 connection: the h2 crate is strict about frames, so only the pace is watched.
    pub(super) fn http2(inner: T, idle: Duration) -> Self {
        Self {
            inner,
            http1: None,
            reading: Pace::new(idle),
            writing: Pace::new(idle),
            meter: Meter::default(),
        }
    }

    /// Counts its bytes there.
    pub(super) fn metered(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }
}

impl Strict {
    /// Hands approved bytes over; whether there were any.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.approved.min(buf.remaining()).min(self.held.len());
        if count == 0 {
            return false;
        }
        buf.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.approved -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        true
    }

    /// Remembers since when a head is incomplete; `heads` had been handed on before.
    fn mark(&mut self, heads: u64) {
        if self.held.is_empty() || self.approved > 0 || self.framer.in_body() {
            self.begun = None;
        } else if self.framer.heads() != heads || self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    /// Ready when a head has let us wait for too long.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = self.waits.left(self.framer.heads() == 0, self.begun);
            if left.is_zero() {
                return Poll::Ready(());
            }
            let due = tokio::time::Instant::now() + left;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.is_elapsed() || timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// Judges the held bytes again.
    fn judge(&mut self) -> io::Result<()> {
        match self.framer.advance(&self.held) {
            Ok(count) => self.approved = count,
            Err(Fault::Body) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the body is not framed as announced",
                ));
            }
            Err(Fault::Head(refusal)) => {
                let _already = self.refused.set((self.framer.heads() + 1, refusal));
                self.held = BytesMut::from(STAND_IN);
                self.approved = STAND_IN.len();
            }
        }
        Ok(())
    }

    /// Judges bytes just read into `buf` from `start`, and keeps back what may not be handed on.
    fn sift(&mut self, buf: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        let read = buf.filled().get(start..).unwrap_or_default();
        if self.held.is_empty() {
            // The usual case: the whole read may pass where it is, without a copy.
            if let Ok(count) = self.framer.advance(read) {
                self.held.extend_from_slice(read.get(count..).unwrap_or_default());
                buf.set_filled(start + count);
                return Ok(());
            }
        }
        self.held.extend_from_slice(read);
        buf.set_filled(start);
        self.judge()?;
        self.hand_over(buf);
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> Guard<T> {
    fn poll_strict(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(strict) = &mut self.http1 else { return Poll::Ready(Ok(())) };
        loop {
            if strict.hand_over(buf) {
                return Poll::Ready(Ok(()));
            }
            if strict.refused.get().is_some() {
                // What follows a refused head has no meaning; the answer closes the connection.
                ready!(discard(&mut self.inner, cx, LINGER_BYTES));
                return Poll::Pending;
            }
            if !strict.held.is_empty() {
                strict.judge()?;
                if strict.approved > 0 {
                    continue;
                }
            }
            let start = buf.filled().len();
            match Pin::new(&mut self.inner).poll_read(cx, buf) {
                Poll::Pending if strict.framer.in_body() => {
                    return self.reading.waiting(cx).map(Err);
                }
                // As if the client had closed: then the connection ends in order.
                Poll::Pending => return strict.overdue(cx).map(Ok),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            let read = buf.filled().len() - start;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            self.meter.received(read);
            let heads = strict.framer.heads();
            strict.sift(buf, start)?;
            strict.mark(heads);
            self.reading.progressed(read);
            if strict.framer.heads() != heads {
                self.reading.restart();
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Reads and drops what is there; pending when nothing is, ready at the end of the stream or the bound.
fn discard<T: AsyncRead + Unpin>(inner: &mut T, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
    let mut scrap = [0_u8; 4096];
    let mut seen = 0;
    while seen < limit {
        let mut buf = ReadBuf::new(&mut scrap);
        match ready!(Pin::new(&mut *inner).poll_read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => seen += buf.filled().len(),
            Ok(()) | Err(_) => return Poll::Ready(()),
        }
    }
    Poll::Ready(())
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.http1.is_some() {
            return self.poll_strict(cx, buf);
        }
        let start = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.meter.received(buf.filled().len() - start);
        read
    }
}

impl<T> Guard<T> {
    /// The average of an answer starts with its first byte.
    fn begin_write(&mut self) {
        if let Some(strict) = &mut self.http1
            && strict.written_for != strict.framer.heads()
        {
            strict.written_for = strict.framer.heads();
            self.writing.restart();
        }
    }

    /// What came of an attempt to write.
    fn written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => {
                self.writing.progressed(count);
                self.meter.sent(count);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.writing.waiting(cx).map(Err),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.begin_write();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.begin_write();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces);
        this.written(written, cx)
    }

    /// Then hyper hands over head and body as they lie, and copies neither.
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_flush(cx) {
            Poll::Ready(result) => {
                this.writing.progressed(0);
                Poll::Ready(result)
            }
            Poll::Pending => this.writing.waiting(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_shutdown(cx) {
            Poll::Pending => this.writing.waiting(cx).map(Err),
            Poll::Ready(result) => {
                // Unread bytes at close make the kernel send a reset, which can destroy the answer on its way.
                let _drained = discard(&mut this.inner, cx, LINGER_BYTES);
                Poll::Ready(result)
            }
        }
    }
}
