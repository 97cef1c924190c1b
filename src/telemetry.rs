//! Log format, metrics and request ids.
//!
//! Logs go to stderr: text on a terminal, JSON lines otherwise. Neither logs nor metrics hold tokens, queries or bodies
//! (HTTP-21), and no label has a value that a client can choose.

mod metrics;

use std::io::IsTerminal;

use http::HeaderMap;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Telemetry};

pub use metrics::Metrics;

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("`telemetry.log` is `{0}`: expected a level such as `info`, or `pforte=debug`")]
    Filter(String),
    /// Somebody else has taken the log already.
    #[error("the log is taken already")]
    Taken,
}

/// Starts logging as the settings say.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(settings: &Telemetry) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|_| TelemetryError::Filter(settings.log.clone()))?;
    let json = match settings.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        builder.json().flatten_event(true).finish().try_init()
    } else {
        builder.with_target(false).finish().try_init()
    };
    started.map_err(|_| TelemetryError::Taken)
}

/// Identifies one request in answers, logs and audit events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new one: 128 random bits in hexadecimal.
    #[must_use]
    pub fn fresh() -> Self {
        let mut bytes = [0_u8; 16];
        // Without random bytes ids repeat, which is a nuisance and no danger.
        let _poor = aws_lc_rs::rand::fill(&mut bytes);
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The client's own, when it is a plain word (HTTP-18): `X-Request-Id`, or else `X-Correlation-Id`.
    #[must_use]
    pub fn from_client(headers: &HeaderMap) -> Option<Self> {
        let plain = |text: &&str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        ["x-request-id", "x-correlation-id"]
            .into_iter()
            .find_map(|name| headers.get(name)?.to_str().ok().filter(plain).map(|text| Self(text.to_owned())))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HTTP-18: a client's id is taken only when it is a plain word.
    #[test]
    fn request_ids() {
        let table = [
            ("abc-1.2_X", Some("abc-1.2_X")),
            ("", None),
            ("a b", None),
            ("<script>", None),
            ("\"x\"", None),
        ];
        for (sent, taken) in table {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", sent.parse().expect("a value"));
            assert_eq!(RequestId::from_client(&headers).as_ref().map(RequestId::as_str), taken, "{sent}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-correlation-id", "c1".parse().expect("a value"));
        assert_eq!(RequestId::from_client(&headers).as_ref().map(RequestId::as_str), Some("c1"));
        headers.insert("x-request-id", "x".repeat(129).parse().expect("a value"));
        assert_eq!(RequestId::from_client(&headers).as_ref().map(RequestId::as_str), Some("c1"));
        assert_ne!(RequestId::fresh(), RequestId::fresh());
    }
}
