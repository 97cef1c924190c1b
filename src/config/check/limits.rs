//! Bounds: none may be zero, and none so large that it bounds nothing.

use std::time::Duration;

use super::Check;
use crate::config::file;
use crate::config::settings::{AuditSink, Limits, Rotation};
use crate::config::values::{MaybePeriod, Period, Size};

/// A default and what is sane around it.
#[derive(Clone, Copy)]
pub(super) struct Sane<T> {
    pub(super) least: T,
    pub(super) usual: T,
    pub(super) most: T,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn seconds(least: Duration, usual: u64, most: u64) -> Sane<Duration> {
    Sane { least, usual: Duration::from_secs(usual), most: Duration::from_secs(most) }
}

/// Below this nothing answers, and a zero would mean "never" to one library and "for ever" to another.
const SHORTEST: Duration = Duration::from_millis(10);

pub(super) const BACKEND_TIMEOUT: Sane<Duration> = seconds(SHORTEST, 30, 3600);
pub(super) const ISSUER_TIMEOUT: Sane<Duration> = seconds(SHORTEST, 5, 60);
pub(super) const CLOCK_SKEW: Sane<Duration> = seconds(Duration::ZERO, 30, 60);
pub(super) const CLOCK_WINDOW: Sane<Duration> = seconds(Duration::from_secs(1), 60, 300);
/// An answer reused for longer would let a revoked token live on (TOK-31).
pub(super) const INTROSPECTION_CACHE: Sane<Duration> = seconds(Duration::ZERO, 0, 600);
/// Whoever removes a key wants it to stop working soon (TOK-30).
pub(super) const REFRESH: Sane<Duration> = seconds(Duration::from_secs(1), 300, 3600);
pub(super) const MAX_LIFETIME: Sane<Duration> = seconds(Duration::from_secs(1), 3600, 30 * 86_400);
/// Requests wait for it: long enough for a neighbour in the same network, short enough to be refused by.
pub(super) const SHARED_TIMEOUT: Sane<Duration> =
    Sane { least: SHORTEST, usual: Duration::from_millis(500), most: Duration::from_secs(5) };
/// Nobody waits for a sink but its own events.
pub(super) const SINK_TIMEOUT: Sane<Duration> = seconds(SHORTEST, 30, 300);
const ROTATE_BYTES: Sane<u64> = Sane { least: MIB, usual: 256 * MIB, most: 16 * GIB };
const ROTATE_AGE: Sane<Duration> = seconds(Duration::from_secs(60), 86_400, 366 * 86_400);
/// What is removed sooner nobody has looked at.
const RETENTION: Duration = Duration::from_secs(86_400);
const HEADER_TIMEOUT: Sane<Duration> = seconds(SHORTEST, 10, 300);
const IDLE_TIMEOUT: Sane<Duration> = seconds(SHORTEST, 60, 3600);
const DRAIN_TIMEOUT: Sane<Duration> = seconds(Duration::ZERO, 30, 3600);
const HEADER_BYTES: Sane<u64> = Sane { least: KIB, usual: 32 * KIB, most: MIB };
const TARGET_BYTES: Sane<u64> = Sane { least: 64, usual: 8 * KIB, most: 64 * KIB };
const BODY_BYTES: Sane<u64> = Sane { least: 64, usual: 16 * MIB, most: GIB };
const ANSWER_BYTES: Sane<u64> = Sane { least: 64, usual: 64 * MIB, most: 4 * GIB };
const BUNDLE_ENTRIES: Sane<u64> = Sane { least: 1, usual: 1000, most: 100_000 };
const CONNECTIONS: Sane<u64> = Sane { least: 1, usual: 10_000, most: 1_000_000 };
const BACKEND_REQUESTS: Sane<u64> = Sane { least: 1, usual: 512, most: 65_536 };
const BACKEND_FAILURES: Sane<u64> = Sane { least: 0, usual: 10, most: 10_000 };
/// A backend that comes back is noticed within seconds (FLT-033).
const BACKEND_PAUSE: Sane<Duration> = seconds(SHORTEST, 2, 60);

impl Check<'_> {
    pub(super) fn rotation(&mut self, bytes: Option<Size>, age: Option<Period>) -> Rotation {
        let Size(bytes) = bytes.unwrap_or(Size(ROTATE_BYTES.usual));
        if !(ROTATE_BYTES.least..=ROTATE_BYTES.most).contains(&bytes) {
            let expected =
                format!("between `{}` and `{}`", size(ROTATE_BYTES.least), size(ROTATE_BYTES.most));
            self.wrong(
                "audit.rotate_bytes",
                expected,
                format!("write `{}` or the like", size(ROTATE_BYTES.usual)),
            );
        }
        Rotation { bytes, age: self.period("audit.rotate_age", age, ROTATE_AGE) }
    }

    pub(super) fn retention(
        &mut self,
        written: Option<MaybePeriod>,
        sinks: &[AuditSink],
    ) -> Option<Duration> {
        let MaybePeriod(retention) = written?;
        let kept = retention?;
        if kept < RETENTION {
            self.wrong(
                "audit.retention",
                format!("`off`, or at least `{}`", period(RETENTION)),
                "write how long events must be kept, or `off`",
            );
        } else if sinks.is_empty() {
            let mend = "copy closed files to an archive in time, name a sink, or write `off`";
            self.warn("audit.retention", "a sink: events that are removed here are nowhere else", mend);
        }
        Some(kept)
    }

    pub(super) fn limits(&mut self, limits: file::Limits) -> Limits {
        let header_bytes = self.size("header_bytes", limits.header_bytes, HEADER_BYTES);
        let target_bytes = self.size("target_bytes", limits.target_bytes, TARGET_BYTES);
        if target_bytes > header_bytes {
            let mend = "raise `limits.header_bytes`, or lower this";
            let key = if self.is_written("limits.target_bytes") {
                "limits.target_bytes"
            } else {
                "limits.header_bytes"
            };
            self.wrong(key, "a `target_bytes` no larger than `header_bytes`", mend);
        }
        Limits {
            header_bytes,
            target_bytes,
            body_bytes: self.size("body_bytes", limits.body_bytes, BODY_BYTES),
            checked_answer_bytes: self.size(
                "checked_answer_bytes",
                limits.checked_answer_bytes,
                ANSWER_BYTES,
            ),
            bundle_entries: self.count("bundle_entries", limits.bundle_entries, BUNDLE_ENTRIES),
            connections: self.count("connections", limits.connections, CONNECTIONS),
            backend_requests: self.count("backend_requests", limits.backend_requests, BACKEND_REQUESTS),
            backend_failures: u32::try_from(self.count(
                "backend_failures",
                limits.backend_failures,
                BACKEND_FAILURES,
            ))
            .unwrap_or(u32::MAX),
            backend_pause: self.period("limits.backend_pause", limits.backend_pause, BACKEND_PAUSE),
            header_timeout: self.period("limits.header_timeout", limits.header_timeout, HEADER_TIMEOUT),
            idle_timeout: self.period("limits.idle_timeout", limits.idle_timeout, IDLE_TIMEOUT),
            drain_timeout: self.period("limits.drain_timeout", limits.drain_timeout, DRAIN_TIMEOUT),
            requests_per_client: limits.requests_per_client.and_then(|rate| rate.0),
        }
    }

    /// A length of time within its bounds, or the default.
    pub(super) fn period(&mut self, key: &str, written: Option<Period>, sane: Sane<Duration>) -> Duration {
        let Some(Period(length)) = written else { return sane.usual };
        if length < sane.least || length > sane.most {
            let expected = format!("between `{}` and `{}`", period(sane.least), period(sane.most));
            self.wrong(key, expected, format!("write `{}` or the like", period(sane.usual)));
        }
        length
    }

    fn size(&mut self, name: &str, written: Option<Size>, sane: Sane<u64>) -> usize {
        let bytes = written.map_or(sane.usual, |Size(bytes)| bytes);
        self.within(name, (bytes, sane), size)
    }

    fn count(&mut self, name: &str, written: Option<u64>, sane: Sane<u64>) -> usize {
        self.within(name, (written.unwrap_or(sane.usual), sane), |number| number.to_string())
    }

    fn within(&mut self, name: &str, (number, sane): (u64, Sane<u64>), show: fn(u64) -> String) -> usize {
        if number < sane.least || number > sane.most {
            let expected = format!("between `{}` and `{}`", show(sane.least), show(sane.most));
            self.wrong(
                &format!("limits.{name}"),
                expected,
                format!("write `{}` or the like", show(sane.usual)),
            );
        }
        usize::try_from(number).unwrap_or(usize::MAX)
    }
}

fn period(length: Duration) -> String {
    let (seconds, millis) = (length.as_secs(), length.subsec_millis());
    match (seconds, millis) {
        (seconds, 0) if seconds > 0 && seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        (seconds, 0) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds > 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", length.as_millis()),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= GIB && bytes % GIB == 0 => format!("{}GiB", bytes / GIB),
        bytes if bytes >= MIB && bytes % MIB == 0 => format!("{}MiB", bytes / MIB),
        bytes if bytes >= KIB && bytes % KIB == 0 => format!("{}KiB", bytes / KIB),
        bytes => format!("{bytes}B"),
    }
}
