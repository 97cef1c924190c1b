//! How the gateway is watched: log lines, metrics and request ids.
//!
//! Logs go to stderr; what they say is the business of the rooms that log. Metrics carry no value that a client or
//! backend can choose, so that nobody outside can make their number grow.

mod log;
mod metrics;
mod request_id;

pub use log::{Guard, TelemetryError, start};
pub use metrics::{IssuerFigures, Metrics, OpenConnection, SinkFigures};
pub use request_id::RequestId;
