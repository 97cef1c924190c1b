//! What the gateway tells its operators: audit, health and metrics, logs.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::Check;
use super::web::{PlainHttp, Query};
use crate::config::file;
use crate::config::settings::{Audit, LogFormat, OnAuditFailure, Telemetry, Traces};
use crate::fhir::FhirVersion;

impl Check<'_> {
    pub(super) fn audit(&mut self, audit: file::Audit, version: FhirVersion) -> Audit {
        let path = audit.path.unwrap_or_else(|| PathBuf::from("audit"));
        if path.as_os_str().is_empty() {
            self.wrong("audit.path", "a folder", "write `path = \"audit\"`");
        }
        let path = self.path(&path);
        // The spool makes the folder when it is not there.
        if path.exists() && !path.is_dir() {
            self.wrong("audit.path", "a folder, not a file", "name another path");
        }
        let on_failure = match audit.on_failure {
            Some(file::OnFailure::Continue) => {
                let mend = "keep `refuse` unless availability outweighs a complete record";
                self.warn("audit.on_failure", "`refuse`: answers can go unrecorded", mend);
                OnAuditFailure::Continue
            }
            Some(file::OnFailure::Refuse) | None => OnAuditFailure::Refuse,
        };
        let rotation = self.rotation(audit.rotate_bytes, audit.rotate_age);
        let sinks = self.sinks(audit.sink, version);
        let retention = self.retention(audit.retention, &sinks);
        Audit { path, on_failure, rotation, retention, sinks }
    }

    pub(super) fn admin(&mut self, admin: file::Admin, public: &[SocketAddr]) -> Option<SocketAddr> {
        let text = admin.listen.filter(|text| text != "off")?;
        let address = self.address("admin.listen", &text)?;
        let clash = |public: &SocketAddr| {
            public.port() == address.port()
                && (public.ip() == address.ip()
                    || public.ip().is_unspecified()
                    || address.ip().is_unspecified())
        };
        if address.port() != 0 && public.iter().any(clash) {
            let mend = "choose another port: these pages are never on the public listener";
            self.wrong("admin.listen", "an address that `server.listen` does not use", mend);
        } else if !address.ip().is_loopback() {
            let mend = "let only monitoring reach this port: it asks for no credentials";
            self.warn("admin.listen", "a loopback address", mend);
        }
        Some(address)
    }

    pub(super) fn telemetry(&mut self, telemetry: file::Telemetry) -> Telemetry {
        let log = telemetry.log.unwrap_or_else(|| "info".to_owned());
        // A single word is a level; `EnvFilter` alone would take a misspelt level for the name of a crate.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let bare = |part: &str| !part.contains(['=', '[']) && !levels.contains(&part.trim());
        if log.split(',').any(bare) || EnvFilter::builder().parse(&log).is_err() {
            let mend = "write `info`, or a filter such as `info,pforte=debug`";
            self.wrong(
                "telemetry.log",
                "one of `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter",
                mend,
            );
        }
        let log_format = match telemetry.log_format {
            Some(file::LogFormat::Auto) | None => LogFormat::Auto,
            Some(file::LogFormat::Json) => LogFormat::Json,
            Some(file::LogFormat::Text) => LogFormat::Text,
        };
        let traces = self.traces(telemetry.otlp.as_deref(), telemetry.trace_ratio);
        Telemetry { log, log_format, access_log: telemetry.access_log.unwrap_or(true), traces }
    }

    fn traces(&mut self, otlp: Option<&str>, ratio: Option<f64>) -> Option<Traces> {
        let ratio = ratio.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&ratio) {
            let mend = "write 1 for every request, or 0.01 for one in a hundred";
            self.wrong("telemetry.trace_ratio", "a number from 0 to 1", mend);
        }
        // What is traced names no patient, but it tells who asks for what and when.
        let collector = self.url("telemetry.otlp", otlp?, (PlainHttp::Warned, Query::Refused))?;
        if collector.path() != "/" {
            let mend = "write `otlp = \"http://127.0.0.1:4317\"`: OTLP over gRPC has no path";
            self.wrong("telemetry.otlp", "a URL without a path", mend);
        }
        Some(Traces { collector, ratio })
    }
}
