//! Bodies on their way to a client: held ones, and ones that pass while they come in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::fhir::links::{Broken, Rewriter};
use crate::upstream::{UpstreamBody, UpstreamError};

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// It comes in from the backend and goes out rewritten.
    Passing(Box<Passing>),
    /// It is all here.
    Whole(Option<Bytes>),
}

/// A body that passes through.
#[derive(Debug)]
pub struct Passing {
    inner: UpstreamBody,
    rewriter: Option<Rewriter>,
    ready: VecDeque<Bytes>,
    ended: bool,
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
}

impl ResponseBody {
    /// A body that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    /// A body that passes through, URLs rewritten when a rewriter is given.
    #[must_use]
    pub fn passing(inner: UpstreamBody, rewriter: Option<Rewriter>) -> Self {
        Self::Passing(Box::new(Passing { inner, rewriter, ready: VecDeque::new(), ended: false }))
    }
}

impl Passing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if let Err(broken) = self.take(bytes) {
                        return self.break_off(broken.into());
                    }
                }
                Poll::Ready(Some(Err(error))) => return self.break_off(error.into()),
                Poll::Ready(None) => {
                    self.ended = true;
                    if let Some(Err(broken)) = self.rewriter.take().map(Rewriter::finish) {
                        return self.break_off(broken.into());
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Broken> {
        let ready = &mut self.ready;
        match &mut self.rewriter {
            Some(rewriter) => rewriter.push(bytes, &mut |bytes| ready.push_back(bytes)),
            None => {
                ready.push_back(bytes);
                Ok(())
            }
        }
    }

    fn break_off(&mut self, error: BrokenOff) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.ended = true;
        self.ready.clear();
        tracing::warn!(reason_id = "answer_broken_off", cause = %error, "answer aborted on its way to the client");
        Poll::Ready(Some(Err(error)))
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
            Self::Passing(passing) => passing.ended && passing.ready.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(passing) if passing.rewriter.is_none() && passing.ready.is_empty() => {
                passing.inner.size_hint()
            }
            Self::Passing(_) => SizeHint::default(),
        }
    }
}
