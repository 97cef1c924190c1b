//! What the system knows of this process, by the names that Prometheus has for it. From `/proc`, so on Linux only.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Ticks a second in `/proc/*/stat` (`USER_HZ`): 100 on every architecture of Linux that Rust's tier 1 and 2 name.
const TICKS: f64 = 100.0;

/// Asked at each scrape.
#[derive(Debug)]
pub(super) struct Process;

/// What was found; what cannot be read is not shown.
#[derive(Debug, Default, PartialEq)]
struct Found {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let found = Found::now();
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        #[expect(clippy::cast_precision_loss, reason = "sizes and counts are far below 2^52")]
        let real = |count: Option<u64>| count.map(|count| count as f64);
        let text = "When the process started, since the epoch";
        gauge("process_start_time", text, Some(&Unit::Seconds), found.start_seconds)?;
        gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), real(found.resident_bytes))?;
        gauge("process_open_fds", "Open file descriptors", None, real(found.open_fds))?;
        gauge("process_max_fds", "File descriptors that may be open", None, real(found.max_fds))?;
        if let Some(seconds) = found.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let text = "Time on processors, for the program and for the system";
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor("process_cpu", text, Some(&Unit::Seconds), kind)?)?;
        }
        Ok(())
    }
}

impl Found {
    fn now() -> Self {
        let of = |name: &str| read(&format!("/proc/self/{name}"));
        let booted = read("/proc/stat").as_deref().and_then(booted);
        let (cpu_seconds, started) = of("stat").as_deref().and_then(times).unzip();
        let resident = of("status").as_deref().and_then(resident);
        Self {
            cpu_seconds,
            start_seconds: booted.zip(started).map(|(booted, started)| booted + started),
            resident_bytes: resident,
            // One of them is the folder that is being read.
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| (open.count() as u64).saturating_sub(1)),
            max_fds: of("limits").as_deref().and_then(most_fds),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what the system tells of this process")]
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Seconds on processors, and seconds from boot to the start, of `/proc/*/stat` (proc(5)).
fn times(stat: &str) -> Option<(f64, f64)> {
    // The second field is the name in brackets, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first one here is the third there.
    let ticks = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<f64>().ok();
    Some(((ticks(14)? + ticks(15)?) / TICKS, ticks(22)? / TICKS))
}

/// When the system was booted, since the epoch.
fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Resident memory of `/proc/*/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn most_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 250 150 0 0 20 0 9 0 12345 99 88";
        assert_eq!(times(stat), Some((4.0, 123.45)));
        assert_eq!(times("7 (a) S 1"), None);
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024   4096   files\n";
        assert_eq!(most_fds(limits), Some(1024));
        assert_eq!(most_fds("Max open files   unlimited  unlimited  files"), None);
    }
}
