//! Ways for a demo server to misbehave, so that tests can watch the gateway cope.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use super::serving::{Body, full, with_headers};

/// An answer written by a test, given as it stands.
#[derive(Clone, Debug)]
pub struct Canned {
    /// The status code; what is none becomes 500.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Canned {
    /// An answer without header fields.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An error page as a proxy or servlet container writes it.
    pub fn html() -> Self {
        Self::new(200, "<html><body><h1>It works!</h1><p>Apache Tomcat at backend.internal</p></body></html>")
            .header("content-type", "text/html;charset=utf-8")
    }

    pub(super) fn response(&self) -> Response<Body> {
        self.with_body(full(self.body.clone()))
    }

    /// Announces the whole body, sends half of it, and hangs up.
    pub(super) fn cut(&self) -> Response<Body> {
        let half = self.body.slice(..self.body.len() / 2);
        let body = Cut { half: Some(half), turns: 8 }.boxed_unsync();
        with_headers(self.with_body(body), [("content-length", self.body.len().to_string().as_str())])
    }

    /// Sends one byte, waits, sends the next.
    pub(super) fn trickle(&self, pause: Duration) -> Response<Body> {
        let body = Trickle { left: self.body.clone(), pause, sleep: Box::pin(tokio::time::sleep(pause)) };
        self.with_body(body.boxed_unsync())
    }

    fn with_body(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_headers(response, self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

struct Cut {
    half: Option<Bytes>,
    turns: u8,
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // A few turns of the scheduler, so that the first half is on the wire before the connection breaks.
        if self.turns > 0 {
            self.turns -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof))))
    }
}

struct Trickle {
    left: Bytes,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl http_body::Body for Trickle {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.sleep.as_mut().poll(context));
        let next = Instant::now() + self.pause;
        self.sleep.as_mut().reset(next);
        let byte = self.left.split_to(1);
        Poll::Ready(Some(Ok(Frame::data(byte))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left.len() as u64)
    }
}
