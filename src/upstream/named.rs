//! What a failure is called (HTTP-15).

use std::error::Error as StdError;
use std::io::{Error as IoError, ErrorKind};

use super::UpstreamError;

/// Why no connection could be made.
pub(super) fn connecting(cause: &(dyn StdError + 'static)) -> UpstreamError {
    let text = chain(cause);
    if let Some(known) = known(cause, &text) {
        return known;
    }
    match find::<IoError>(cause) {
        Some(io) if io.kind() == ErrorKind::ConnectionRefused => UpstreamError::Refused(text),
        // rustls hands its errors on inside an `InvalidData`.
        Some(io) if io.kind() == ErrorKind::InvalidData => UpstreamError::Tls(text),
        _ => UpstreamError::Connect(text),
    }
}

/// Why no answer came over a connection.
pub(super) fn sending(cause: &hyper::Error) -> UpstreamError {
    let text = chain(cause);
    match known(cause, &text) {
        Some(known) => known,
        None if cause.is_timeout() => UpstreamError::Timeout,
        None if cause.is_parse() => UpstreamError::Garbage(text),
        None => UpstreamError::Closed(text),
    }
}

fn known(cause: &(dyn StdError + 'static), text: &str) -> Option<UpstreamError> {
    if find::<IoError>(cause).is_some_and(|io| io.kind() == ErrorKind::TimedOut) {
        return Some(UpstreamError::Timeout);
    }
    find::<rustls::Error>(cause).map(|_| UpstreamError::Tls(text.to_owned()))
}

/// An error of a kind in the chain of causes, also inside `io::Error`, which hides what it wraps from `source`.
fn find<'e, E: StdError + 'static>(cause: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(cause);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// The whole chain of causes in one line, for the operator.
pub(super) fn chain(cause: &(dyn StdError + 'static)) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
