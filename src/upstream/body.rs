//! Bodies as they come: bounded in size, and in the time between pieces.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::UpstreamError;
use super::pool::Answer;

/// Slower than this on average, a body is given up.
const BYTES_PER_SECOND: u64 = 128;

/// The body of the backend's answer. It holds its place among the waiting requests until it is read or dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    inner: Answer,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl UpstreamBody {
    pub(super) fn new(inner: Answer, timeout: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { inner, timeout, timer: None, _place: place }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(next) => {
                this.timer = None;
                Poll::Ready(match next {
                    // HTTP-11: trailers are dropped.
                    Some(Ok(frame)) => frame.into_data().ok().map(|data| Ok(Frame::data(data))),
                    Some(Err(cause)) => Some(Err(broken(&cause))),
                    None => None,
                })
            }
            Poll::Pending => {
                let timeout = this.timeout;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                timer.as_mut().poll(cx).map(|()| Some(Err(UpstreamError::Timeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn broken(cause: &hyper::Error) -> UpstreamError {
    if cause.is_timeout() {
        UpstreamError::Timeout
    } else if cause.is_parse() {
        UpstreamError::Garbage(cause.to_string())
    } else {
        UpstreamError::Truncated(super::named::chain(cause))
    }
}

/// Why a body could not be collected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit<E> {
    /// It failed on the way.
    #[error("the body broke off")]
    Broken(E),
    /// It is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It stood still for too long, or trickled.
    #[error("the body comes too slowly")]
    TooSlow,
}

/// Reads a whole body of at most `limit` bytes; no silence longer than `idle`, and no trickle. For the backend's and
/// for clients' bodies alike: over HTTP/2 a slow upload shows nowhere else (HTTP-14).
///
/// # Errors
/// See [`Unfit`]. Nothing of an unfit body is kept.
pub async fn collect<B>(body: B, limit: usize, idle: Duration) -> Result<Bytes, Unfit<B::Error>>
where
    B: Body<Data = Bytes>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Unfit::TooLarge(limit));
    }
    let declared = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let mut body = std::pin::pin!(body);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let (mut size, began) = (0_usize, Instant::now());
    loop {
        let earned = Duration::from_secs(size as u64 / BYTES_PER_SECOND);
        let allowed = idle.saturating_add(earned).saturating_sub(began.elapsed()).min(idle);
        let Ok(next) = tokio::time::timeout(allowed, body.frame()).await else { return Err(Unfit::TooSlow) };
        let data = match next {
            None => break,
            Some(Err(cause)) => return Err(Unfit::Broken(cause)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(_trailers) => continue,
            },
        };
        size = size.saturating_add(data.len());
        if size > limit {
            return Err(Unfit::TooLarge(limit));
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            // Most bodies are one piece and never copied.
            if rest.is_empty() {
                // At most `limit`, as tested above; what nobody sends takes no memory.
                rest.reserve(declared.unwrap_or_default());
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn sizes() {
        let idle = Duration::from_secs(5);
        let full = |n| Full::new(Bytes::from(vec![7; n]));
        assert_eq!(collect(full(10), 10, idle).await.map(|b| b.len()), Ok(10));
        assert_eq!(collect(full(11), 10, idle).await, Err(Unfit::TooLarge(10)));
        assert_eq!(collect(full(0), 0, idle).await.map(|b| b.len()), Ok(0));
    }

    /// A body fed through a channel: pieces, and then silence.
    struct Fed(mpsc::Receiver<Bytes>);

    impl Body for Fed {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn pieces_join_and_unannounced_size_is_bounded() {
        let fed = |n: usize| {
            let (give, take) = mpsc::channel(8);
            for piece in 0..n {
                give.try_send(Bytes::from(vec![piece as u8; 4])).unwrap();
            }
            Fed(take)
        };
        let idle = Duration::from_secs(5);
        assert_eq!(collect(fed(2), 8, idle).await.unwrap(), Bytes::from_static(&[0, 0, 0, 0, 1, 1, 1, 1]));
        assert_eq!(collect(fed(3), 8, idle).await, Err(Unfit::TooLarge(8)));
    }

    #[tokio::test]
    async fn silence_is_given_up() {
        let (give, take) = mpsc::channel(1);
        give.try_send(Bytes::from_static(b"a")).unwrap();
        assert_eq!(collect(Fed(take), 10, Duration::from_millis(20)).await, Err(Unfit::TooSlow));
        drop(give);
    }
}
