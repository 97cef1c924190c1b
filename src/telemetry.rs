//! How the gateway is watched: log lines, metrics, traces and request ids.
//!
//! Logs go to stderr; what they say is the business of the rooms that log. Metrics carry no value that a client or
//! backend can choose, so that nobody outside can make their number grow.

mod durations;
mod log;
mod metrics;
mod request_id;
mod traces;

pub use durations::Durations;
pub use log::{Guard, TelemetryError, lines_dropped, start};
pub use metrics::{
    Answered, Asking, Handshake, IssuerFigures, LedgerFigures, Meter, Metrics, Present, Reload, SinkFigures,
    Spans, TokenFigures,
};
pub use request_id::RequestId;
pub use traces::{Facts, Parent, Step, Trace, Traces, carried, known};
