use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::telemetry::Durations;

fn answered(
    interaction: &'static str,
    (status, reason): (StatusCode, Option<&'static str>),
    (took, backend): (u64, u64),
) -> Answered {
    let (took, backend) = (Duration::from_micros(took), Duration::from_micros(backend));
    Answered { interaction, status, reason, took, backend }
}

/// Tells of everything there is.
fn told() -> Metrics {
    let metrics = Metrics::new();
    metrics.answered(&answered("read", (StatusCode::OK, None), (3000, 2200)));
    metrics.answered(&answered("read", (StatusCode::NO_CONTENT, None), (3000, 0)));
    let refused = (StatusCode::FORBIDDEN, Some("insufficient_scope"));
    metrics.answered(&answered("search-type", refused, (100, 200)));
    metrics.backend_answered(Asking::Fact, Duration::from_millis(3));
    metrics.backend_failed("backend_timeout");
    metrics.audit_recorded(3, Duration::from_micros(700));
    metrics.audit_failed(2);
    let commits = Durations::default();
    commits.took(Duration::from_millis(2));
    metrics.ledger(&LedgerFigures {
        waiting: 7,
        newest: 42,
        oldest: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        files: 2,
        bytes: 4096,
        free: Some(1 << 30),
        commits,
    });
    let sink = |name: &str| SinkFigures {
        name: name.to_owned(),
        lag: 4,
        oldest: Duration::from_millis(1500),
        delivered: 38,
        rejected: 1,
        failures: 3,
    };
    metrics.audit_sinks(&[sink("arr"), sink("gone")]);
    metrics.audit_sinks(&[sink("arr")]);
    metrics.connections_limit(1024);
    metrics.not_accepted();
    metrics.shaken(Handshake::Done("1.3"));
    metrics.shaken(Handshake::Slow);
    metrics.meter().received(10);
    metrics.meter().sent(20);
    metrics.certificate_expires("2027-01-01T00:00:00Z".parse().unwrap());
    metrics.shared_state(false, 3, 1);
    metrics.shared_state(true, 5, 2);
    let durations = Durations::default();
    durations.took(Duration::from_millis(40));
    let mut figures = IssuerFigures {
        keys_age: Some(Duration::from_millis(2500)),
        key_fetches: [1, 40, 2],
        introspections: 5,
        introspections_failed: 2,
        introspections_avoided: 95,
        introspection_durations: Some(durations),
    };
    metrics.issuer("https://as.test", &figures);
    (figures.keys_age, figures.introspection_durations) = (None, None);
    metrics.issuer("https://other.test", &figures);
    metrics.tokens(&TokenFigures { hits: 9, misses: 3, good: 2, refused: 1 });
    metrics.checked("audit", false);
    metrics.ready(true);
    metrics.configured("2026-01-01T00:00:00Z".parse().unwrap());
    metrics.reloaded(Reload::Failed);
    metrics.spans(Spans::Dropped, 8);
    metrics.lines_dropped(6);
    metrics
}

/// Nothing is shown of what there may never be.
#[test]
fn before_anything_happened() {
    let text = Metrics::new().encode();
    let shown = |name: &str| text.contains(name);
    assert!(
        shown("pforte_connections 0\n") && shown("pforte_config_reloads_total{outcome=\"failed\"} 0\n"),
        "{text}"
    );
    assert!(!shown("pforte_requests_total") && !shown("pforte_shared_state_up{"), "{text}");
}

/// What is shown of it.
const LINES: &[&str] = &[
    concat!("pforte_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    "pforte_ready 1",
    "pforte_check{check=\"audit\"} 0",
    "pforte_config_reloads_total{outcome=\"failed\"} 1",
    "pforte_config_reloads_total{outcome=\"ok\"} 0",
    "pforte_config_last_reload_success_timestamp_seconds 1767225600.0",
    "pforte_trace_spans_total{outcome=\"dropped\"} 8",
    "pforte_log_lines_dropped_total 6",
    "pforte_requests_total{interaction=\"read\",status=\"2xx\",reason=\"\"} 2",
    "pforte_requests_total{interaction=\"search-type\",status=\"4xx\",reason=\"insufficient_scope\"} 1",
    "pforte_requests_in_flight 1",
    "pforte_request_duration_seconds_bucket{le=\"0.0025\",interaction=\"read\"} 0",
    "pforte_request_duration_seconds_bucket{le=\"0.005\",interaction=\"read\"} 2",
    "pforte_request_duration_seconds_sum{interaction=\"read\"} 0.006",
    "pforte_gateway_duration_seconds_bucket{le=\"0.001\",interaction=\"read\"} 1",
    "pforte_gateway_duration_seconds_bucket{le=\"+Inf\",interaction=\"read\"} 2",
    "pforte_gateway_duration_seconds_sum{interaction=\"search-type\"} 0.0",
    "pforte_backend_duration_seconds_count{kind=\"fact\"} 1",
    "pforte_backend_errors_total{reason=\"backend_timeout\"} 1",
    "pforte_audit_events_total 3",
    "pforte_audit_failed_total 2",
    "pforte_audit_waiting 7",
    "pforte_audit_newest_event 42",
    "pforte_audit_oldest_event_timestamp_seconds{} 1767225600.0",
    "pforte_audit_spool_files 2",
    "pforte_audit_spool_bytes 4096",
    "pforte_audit_spool_free_bytes{} 1073741824",
    "pforte_audit_commit_duration_seconds_bucket{le=\"0.0025\"} 1",
    "pforte_audit_wait_seconds_bucket{le=\"0.001\"} 1",
    "pforte_audit_sink_lag_events{sink=\"arr\"} 4",
    "pforte_audit_sink_lag_seconds{sink=\"arr\"} 1.5",
    "pforte_audit_sink_delivered_total{sink=\"arr\"} 38",
    "pforte_audit_sink_rejected_total{sink=\"arr\"} 1",
    "pforte_audit_sink_failures_total{sink=\"arr\"} 3",
    "pforte_connections 1",
    "pforte_connections_accepted_total 2",
    "pforte_connections_limit 1024",
    "pforte_connections_accept_errors_total 1",
    "pforte_received_bytes_total 10",
    "pforte_sent_bytes_total 20",
    "pforte_tls_handshakes_total{version=\"1.3\",outcome=\"done\"} 1",
    "pforte_tls_handshakes_total{version=\"\",outcome=\"slow\"} 1",
    "pforte_certificate_expiry_timestamp_seconds 1798761600.0",
    "pforte_shared_state_up{kind=\"redis\"} 1",
    "pforte_shared_state_questions_total{kind=\"redis\"} 5",
    "pforte_shared_state_errors_total{kind=\"redis\"} 2",
    "pforte_issuer_keys_age_seconds{issuer=\"https://as.test\"} 2.5",
    "pforte_issuer_key_fetches_total{issuer=\"https://as.test\",outcome=\"unchanged\"} 40",
    "pforte_introspections_total{issuer=\"https://as.test\",outcome=\"answered\"} 3",
    "pforte_introspections_total{issuer=\"https://as.test\",outcome=\"failed\"} 2",
    "pforte_introspections_avoided_total{issuer=\"https://as.test\"} 95",
    "pforte_introspection_duration_seconds_bucket{le=\"0.05\",issuer=\"https://as.test\"} 1",
    "pforte_token_cache_lookups_total{outcome=\"hit\"} 9",
    "pforte_token_cache_entries{finding=\"refused\"} 1",
    "# EOF",
];

/// Every metric shows what was told, and nothing untold.
#[test]
fn each_metric_counts() {
    let metrics = told();
    let (open, flight) = (metrics.connected(), metrics.in_flight());
    drop(metrics.clone().connected());
    let text = metrics.encode();
    drop((open, flight));
    for line in LINES {
        assert!(text.lines().any(|found| found == *line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains("sink=\"gone\""), "{text}");
    assert!(!text.contains("keys_age_seconds{issuer=\"https://other.test\""), "{text}");
    assert!(!text.contains("introspections_total{issuer=\"https://other.test\""), "{text}");
    assert!(metrics.encode().contains("pforte_connections 0\n"));
    #[cfg(target_os = "linux")]
    for name in ["cpu_seconds_total", "start_time_seconds", "resident_memory_bytes", "open_fds", "max_fds"] {
        assert!(text.contains(&format!("\nprocess_{name} ")), "no process_{name} in\n{text}");
    }
}
