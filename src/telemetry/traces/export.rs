//! Spans on their way to the collector: a bounded queue, and one task that sends.
//!
//! Nothing waits for it. While the collector is away, spans are lost and counted; the log tells once that it is away, and once
//! that it is there again.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::telemetry::{Metrics, Spans, TelemetryError};

/// Spans that may wait.
const QUEUE: usize = 4096;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others to go with it.
const LINGER: Duration = Duration::from_secs(1);
/// Longest wait for the collector.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes spans that ended.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    metrics: Metrics,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.try_send(span).is_err() {
            self.metrics.spans(Spans::Dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what is in the queue.
#[derive(Debug)]
pub(super) struct Courier {
    waiting: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    metrics: Metrics,
    closing: CancellationToken,
    away: bool,
}

/// A queue, and who empties it until `closing`. Call within a runtime.
///
/// # Errors
/// The collector's address cannot be used.
pub(super) fn queue(
    collector: &Url,
    resource: &Resource,
    metrics: &Metrics,
    closing: CancellationToken,
) -> Result<(Queue, Courier), TelemetryError> {
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(collector.as_str())
        .with_timeout(PATIENCE)
        // A batch that is not taken is lost: the next one is on its way already.
        .with_retry_policy(RetryPolicy::disabled());
    if collector.scheme() == "https" {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    let mut exporter = builder.build().map_err(|cause| TelemetryError::Collector {
        collector: collector.to_string(),
        cause: cause.to_string(),
    })?;
    exporter.set_resource(resource);
    // A counter that begins with its first loss would not show it as one.
    for spans in [Spans::Dropped, Spans::Exported, Spans::Failed] {
        metrics.spans(spans, 0);
    }
    let (send, waiting) = mpsc::channel(QUEUE);
    let courier = Courier { waiting, exporter, metrics: metrics.clone(), closing, away: false };
    Ok((Queue { waiting: send, metrics: metrics.clone() }, courier))
}

impl Courier {
    /// Sends until told to close, and then what is left.
    pub(super) async fn run(mut self) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            let closing = self.closing.clone();
            tokio::select! {
                () = closing.cancelled() => self.waiting.close(),
                taken = self.waiting.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            }
            if closing.is_cancelled() {
                return self.rest(batch).await;
            }
            let gather = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if self.waiting.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                () = closing.cancelled() => {}
                _ = tokio::time::timeout(LINGER, gather) => {}
            }
            self.send(batch).await;
        }
    }

    async fn rest(&mut self, mut batch: Vec<SpanData>) {
        self.waiting.close();
        loop {
            let room = BATCH.saturating_sub(batch.len());
            if room > 0 && self.waiting.recv_many(&mut batch, room).await > 0 {
                continue;
            }
            if batch.is_empty() {
                return;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        let sent = tokio::time::timeout(PATIENCE, self.exporter.export(batch)).await;
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_elapsed) => Some(format!("no answer within {PATIENCE:?}")),
        };
        match failed {
            None => {
                self.metrics.spans(Spans::Exported, count);
                if std::mem::take(&mut self.away) {
                    tracing::info!("traces are exported again");
                }
            }
            Some(cause) => {
                self.metrics.spans(Spans::Failed, count);
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(cause, "traces cannot be exported; spans are lost until they can");
                }
            }
        }
    }
}
