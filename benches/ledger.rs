//! What recording costs: the processor time of the writing thread for each event, and how many requests a second it serves.
//!
//! `cargo bench --bench ledger [-- FOLDER]` on a quiet machine; FOLDER, by default the one for temporary files, is on the disk to be
//! measured. Each row has its number of requests that wait for their record at once; the next comes as soon as one is told.

#![expect(clippy::print_stdout, reason = "a program for people: it prints a table")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pforte::audit::{Entry, Interaction};
use pforte::config::{Audit, OnAuditFailure, Rotation};
use pforte::fhir::{Kind, ResourceType};
use pforte::ledger::{Filter, Ledger, Reader};

/// How long each row is measured.
const ROW: Duration = Duration::from_secs(3);

fn entry(number: u64) -> Entry {
    let observer: Arc<str> = "https://gw.example/fhir".into();
    let at = jiff::Timestamp::from_second(1_780_000_000).unwrap_or_default();
    let (id, target) =
        (format!("{number:032x}"), format!("Observation?patient=p{}&code=8867-4", number % 5000));
    let mut entry = Entry::open(&observer, &id, (at, "192.0.2.7"), ("GET", &target));
    entry.interaction = Interaction::Known(Kind::SearchType);
    entry.resource = Some(ResourceType::PATIENT);
    entry.patient = Some(format!("p{}", number % 5000));
    entry.client = Some(format!("app-{}", number % 20));
    entry.subject = Some(format!("8b1f5d5e-0000-4000-8000-{:012}", number % 300));
    entry.fhir_user = Some(format!("https://gw.example/fhir/Practitioner/dr-{}", number % 300));
    entry.issuer = Some("https://as.example/realms/hospital".into());
    entry.jti = Some(format!("{:032x}", number / 10));
    entry.answered(200);
    entry
}

fn settings(path: &Path) -> Audit {
    Audit {
        path: path.to_owned(),
        on_failure: OnAuditFailure::Refuse,
        rotation: Rotation { bytes: 256 << 20, age: Duration::from_secs(100 * 365 * 86_400) },
        retention: None,
        sinks: Vec::new(),
    }
}

/// The processor time that threads of this name have had.
#[expect(clippy::disallowed_methods, reason = "the kernel's figures")]
fn spent(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|figures| figures.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

async fn row(folder: &Path, waiting: u64) {
    let Ok(ledger) = Ledger::open(&settings(folder)).map(Arc::new) else { return };
    let (begun, before) = (Instant::now(), (spent("audit-ledger"), *ledger.head().borrow()));
    let tasks: Vec<_> = (0..waiting)
        .map(|task| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                let mut number = task;
                while begun.elapsed() < ROW {
                    let asked = Instant::now();
                    if ledger.record(&[entry(number)]).await.is_err() {
                        break;
                    }
                    longest = longest.max(asked.elapsed());
                    number += waiting;
                }
                longest
            })
        })
        .collect();
    let mut longest = Duration::ZERO;
    for task in tasks {
        longest = longest.max(task.await.unwrap_or_default());
    }
    let events = *ledger.head().borrow() - before.1;
    let writer = spent("audit-ledger") - before.0;
    let each = writer.as_secs_f64() * 1e6 / events as f64;
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    let tender = spent("audit-tender").as_secs_f64() * 1e6 / events as f64;
    println!("{waiting:>8} {rate:>12.0} {each:>12.2} {tender:>12.2} {longest:>14.1?}");
    if ledger.close().await.is_err() {
        println!("the ledger did not close");
    }
}

fn find(folder: &Path) {
    let Ok(reader) = Reader::open(folder) else { return };
    for (what, filter) in [
        ("patient", Filter { patient: Some("p77".into()), ..Filter::default() }),
        (
            "user",
            Filter { user: Some("https://gw.example/fhir/Practitioner/dr-77".into()), ..Filter::default() },
        ),
        ("request id", Filter { request_id: Some(format!("{:032x}", 77)), ..Filter::default() }),
    ] {
        let (begun, mut found) = (Instant::now(), 0);
        let each = &mut |_| {
            found += 1;
            std::ops::ControlFlow::Continue(())
        };
        if reader.find(&filter, each).is_ok() {
            println!("find by {what}: {found} in {:.1?}", begun.elapsed());
        }
    }
    let begun = Instant::now();
    if let Ok(verified) = reader.verify(&[], &mut |_| {}) {
        println!(
            "verify: {} events, {} faults, {:.1?}",
            verified.events,
            verified.faults.len(),
            begun.elapsed()
        );
    }
}

fn main() {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = place.map_or_else(std::env::temp_dir, PathBuf::from).join("pforte-bench-ledger");
    let _none = std::fs::remove_dir_all(&folder);
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return };
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>14}",
        "waiting", "events/s", "writer µs", "tender µs", "longest wait"
    );
    for waiting in [1, 20, 100, 500] {
        runtime.block_on(row(&folder, waiting));
    }
    find(&folder);
    let _gone = std::fs::remove_dir_all(&folder);
}
