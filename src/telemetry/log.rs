//! Log lines on stderr, and their filter.

mod lines;

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

pub use self::lines::lines_dropped;

use self::lines::Lines;
use crate::config::{LogFormat, Telemetry};

/// Why logging cannot begin, or not change.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address of the collector cannot be used.
    #[error("`telemetry.otlp` is `{collector}`: {cause}")]
    Collector {
        /// As configured.
        collector: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The filter is no filter.
    #[error(
        "`telemetry.log` is `{filter}`: expected a level or a filter such as `info` or `pforte=debug`: {cause}"
    )]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        cause: ParseError,
    },
    /// The system gives no thread for the log.
    #[error("the log cannot be written: {0}")]
    Thread(std::io::Error),
    /// Logging was started before in this process.
    #[error("log output was already started")]
    Started,
}

/// Holds the running log. When it is dropped, what was logged so far is written out.
#[must_use = "lines that wait are lost without it"]
pub struct Guard {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: Option<Lines>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}

impl Guard {
    /// Lets the lines through that `filter` names from now on.
    ///
    /// # Errors
    /// When it cannot be read; the old filter then stays.
    pub fn refilter(&self, filter: &str) -> Result<(), TelemetryError> {
        self.filter.reload(parse(filter)?).map_err(|_| TelemetryError::Started)
    }
}

/// Starts logging to stderr, for the whole process.
///
/// # Errors
/// When the filter cannot be read, or something started logging before.
pub fn start(settings: &Telemetry) -> Result<Guard, TelemetryError> {
    let lines = Lines::to(std::io::stderr()).map_err(TelemetryError::Thread)?;
    let reader = std::io::stderr().is_terminal().into();
    let (subscriber, mut guard) = subscriber(settings, lines.clone(), reader)?;
    guard.lines = Some(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Started)?;
    Ok(guard)
}

/// What reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Program,
    Terminal,
}

impl From<bool> for Reader {
    fn from(terminal: bool) -> Self {
        if terminal { Self::Terminal } else { Self::Program }
    }
}

fn subscriber<W>(
    settings: &Telemetry,
    writer: W,
    reader: Reader,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(&settings.log)?);
    let json = match settings.log_format {
        LogFormat::Auto => reader == Reader::Program,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(reader == Reader::Terminal);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    Ok((Registry::default().with(filter).with(lines), Guard { filter: handle, lines: None }))
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|cause| TelemetryError::Filter { filter: filter.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::{Reader, TelemetryError, subscriber};
    use crate::config::{LogFormat, Telemetry};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn settings(log: &str, log_format: LogFormat) -> Telemetry {
        Telemetry { log: log.to_owned(), log_format, access_log: true, traces: None }
    }

    #[test]
    fn formats() {
        let table = [
            (LogFormat::Auto, Reader::Terminal, false),
            (LogFormat::Auto, Reader::Program, true),
            (LogFormat::Json, Reader::Terminal, true),
            (LogFormat::Text, Reader::Program, false),
        ];
        for (format, reader, json) in table {
            let lines = Lines::default();
            let to = lines.clone();
            let (subscriber, _guard) =
                subscriber(&settings("info", format), move || to.clone(), reader).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(reason_id = "insufficient_scope", "request denied");
                tracing::debug!("hidden");
            });
            let text = lines.text();
            let object = serde_json::from_str::<serde_json::Value>(&text).ok();
            assert_eq!(
                object.as_ref().map(|line| line["reason_id"] == "insufficient_scope"),
                json.then_some(true)
            );
            assert_eq!(text.contains('\u{1b}'), reader == Reader::Terminal && !json, "{text}");
            assert!(text.contains("request denied") && !text.contains("hidden"), "{text}");
        }
    }

    /// One event is one line, whatever is in its fields.
    #[test]
    fn no_forged_lines() {
        let lines = Lines::default();
        let to = lines.clone();
        let (subscriber, _guard) =
            subscriber(&settings("info", LogFormat::Text), move || to.clone(), Reader::Program).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target_sent = "a\n2026-01-01T00:00:00Z  INFO forged", "request denied");
        });
        assert_eq!(lines.text().lines().count(), 1, "{}", lines.text());
    }

    #[test]
    fn the_filter_is_read_and_changed() {
        let refused = subscriber(&settings("pforte=loud", LogFormat::Text), io::sink, Reader::Program);
        let Err(TelemetryError::Filter { filter, .. }) = refused.map(|_| ()) else { panic!("accepted") };
        assert_eq!(filter, "pforte=loud");

        let lines = Lines::default();
        let to = lines.clone();
        let (subscriber, guard) =
            subscriber(&settings("warn", LogFormat::Text), move || to.clone(), Reader::Program).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            guard.refilter("info").unwrap();
            tracing::info!("after");
            guard.refilter("a=b=c").unwrap_err();
            tracing::info!("still");
        });
        let text = lines.text();
        assert!(!text.contains("before") && text.contains("after") && text.contains("still"), "{text}");
    }
}
