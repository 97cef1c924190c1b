//! The trace context that a request brings, read strictly (W3C Trace Context, level 2).
//!
//! What is not exactly as the standard writes it does not count and goes no further (§3.2.2.3): a new trace begins. Baggage is
//! not read and not passed on: whatever a client writes there could be about a patient.

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Longest `tracestate` that is passed on (§3.3.1.5 asks for 512 at least).
const STATE_BYTES: usize = 512;

/// The sampled flag (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// A valid trace context, in fields that may be passed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    pub(super) context: SpanContext,
    /// `traceparent`, in the form of version 00.
    pub traceparent: HeaderValue,
    /// `tracestate`, if there is a valid one.
    pub tracestate: Option<HeaderValue>,
}

impl Parent {
    /// What these fields say; `None` when they say nothing or not properly.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all("traceparent").iter();
        let only = fields.next().filter(|_| fields.next().is_none())?.to_str().ok()?;
        let (trace, span, flags) = identity(only)?;
        let state = state(headers).unwrap_or_default();
        Self::of(SpanContext::new(trace, span, flags, true, state))
    }

    /// The fields that tell the next one of this span.
    pub(super) fn of(context: SpanContext) -> Option<Self> {
        let flags = context.trace_flags().to_u8() & SAMPLED;
        let written = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
        let traceparent = HeaderValue::try_from(written).ok()?;
        let state = context.trace_state().header();
        let tracestate = HeaderValue::try_from(state).ok().filter(|state| !state.is_empty());
        Some(Self { context, traceparent, tracestate })
    }

    /// The id of the trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.context.trace_id().to_string()
    }
}

/// Trace, parent and flags of a `traceparent` (§3.2.2). Of a later version the first four parts are read (§3.2.2.1).
fn identity(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, further) = text.split_at_checked(55)?;
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return None };
    let lengths = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
    let lower = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !lengths || !parts.iter().all(lower) || *version == "ff" {
        return None;
    }
    if if *version == "00" { !further.is_empty() } else { !further.is_empty() && !further.starts_with('-') } {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & SAMPLED);
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span, flags))
}

/// All `tracestate` fields as one (§3.3.1).
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let fields: Option<Vec<&str>> =
        headers.get_all("tracestate").iter().map(|field| field.to_str().ok()).collect();
    let joined = fields.filter(|fields| !fields.is_empty())?.join(",");
    if joined.len() > STATE_BYTES {
        return None;
    }
    joined.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// W3C Trace Context §3.2: what is passed on of a `traceparent`.
    #[test]
    fn traceparents() {
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let table = [
            (valid.clone(), Some(valid.clone())),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), Some(format!("00-{TRACE}-b7ad6b7169203331-00"))),
            // Other flags than the first mean nothing here and are not passed on.
            (format!("00-{TRACE}-b7ad6b7169203331-ff"), Some(valid.clone())),
            // A later version.
            (format!("cc-{TRACE}-b7ad6b7169203331-01"), Some(valid.clone())),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-what-the-future"), Some(valid.clone())),
            (format!("cc-{TRACE}-b7ad6b7169203331-01.what"), None),
            (format!("00-{TRACE}-b7ad6b7169203331-01-what"), None),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), None),
            (valid.to_uppercase(), None),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-b7ad6b7169203331"), None),
            (format!("00-{TRACE}-b7ad6b716920333-011"), None),
            (format!("00-{TRACE}-b7ad6b71692033g1-01"), None),
            (format!(" {valid}"), None),
            ("x".to_owned(), None),
            (String::new(), None),
        ];
        for (sent, passed) in table {
            let read = Parent::read(&headers(&[("traceparent", &sent)]));
            let told = read.as_ref().map(|parent| parent.traceparent.to_str().unwrap());
            assert_eq!(told, passed.as_deref(), "{sent}");
        }
        let twice = headers(&[("traceparent", &valid), ("traceparent", &valid)]);
        assert_eq!((Parent::read(&twice), Parent::read(&HeaderMap::new())), (None, None));
    }

    /// W3C Trace Context §3.3: a `tracestate` goes with a valid `traceparent` only, and only when it is valid itself.
    #[test]
    fn tracestates() {
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let long = format!("a={}", "x".repeat(600));
        let table: [(&[&str], Option<&str>); 7] = [
            (&["a=1,b@c=2"], Some("a=1,b@c=2")),
            (&["a=1", "b=2"], Some("a=1,b=2")),
            (&["a"], None),
            (&["A=1"], None),
            (&[&long], None),
            (&[""], None),
            (&[], None),
        ];
        for (sent, passed) in table {
            let mut fields = headers(&[("traceparent", &valid)]);
            for state in sent {
                fields.append("tracestate", HeaderValue::from_str(state).unwrap());
            }
            let read = Parent::read(&fields).unwrap();
            let told = read.tracestate.as_ref().map(|state| state.to_str().unwrap());
            assert_eq!(told, passed, "{sent:?}");
        }
        assert_eq!(Parent::read(&headers(&[("traceparent", "x"), ("tracestate", "a=1")])), None);
    }
}
