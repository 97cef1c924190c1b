//! Events and settings that the tests of this room share; workers against doubles.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Entry;
use crate::config::tests::settings;
use crate::config::{AuditSinkKind, BackendCredentials, FhirSink, FileSink, SinkWrite};
use crate::fhir::FhirVersion;
use crate::ledger::{Hash, Kept, Ledger, Reader};
use crate::sink::Sinks;

/// A folder of its own, gone after the test.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pforte-sink-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What is in a file.
pub(super) fn text(path: &Path) -> String {
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// The entry of an event, by its number.
pub(super) fn entry(number: u64) -> Entry {
    let begun: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let recorded = begun + Duration::from_secs(number);
    let mut entry = Entry::open(
        &"https://fhir.example/fhir".into(),
        &format!("r-{number}"),
        (recorded, "192.0.2.7"),
        ("GET", "Patient/p1"),
    );
    entry.answered(200);
    entry
}

/// An event, by its number.
pub(super) fn event(number: u64) -> Kept {
    let entry = entry(number);
    Kept { sequence: number, hash: Hash::of(Hash::NONE, number, &entry.kept()), entry }
}

/// A repository with these defaults.
pub(super) fn repository(url: &str) -> FhirSink {
    FhirSink {
        url: url.parse().unwrap(),
        fhir_version: FhirVersion::R4,
        write: SinkWrite::Update,
        credentials: BackendCredentials::None,
        ca: None,
        client_certificate: None,
        timeout: Duration::from_secs(5),
        batch: 100,
    }
}

/// A damaged record holds nobody up: it is noted as rejected, and what follows is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_holds_nothing_up() {
    let folder = Folder::new();
    let spool = folder.path.join("audit");
    let mut audit = settings("[[audit.sink]]\nkind = \"file\"\npath = \"x\"\n").audit;
    audit.path = spool.clone();
    let lines = folder.path.join("audit.ndjson");
    audit.sinks[0].kind =
        AuditSinkKind::File(FileSink { path: lines.clone(), fhir_version: FhirVersion::R4 });
    let ledger = Arc::new(Ledger::open(&audit).unwrap());
    let entries: Vec<Entry> = (1..=20).map(entry).collect();
    ledger.record(&entries).await.unwrap();
    for file in std::fs::read_dir(&spool).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|kind| kind == "db") {
            let store = rusqlite::Connection::open(file).unwrap();
            store.execute("UPDATE event SET kept = x'00' WHERE sequence = 13", []).unwrap();
        }
    }
    let sinks = Sinks::start(&audit, Arc::clone(&ledger)).unwrap();
    let reader = Reader::open(&spool).unwrap();
    while reader.delivered("file").unwrap() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rejected: Vec<u64> = reader.rejected("file").unwrap().iter().map(|one| one.sequence).collect();
    assert_eq!(rejected, [13]);
    assert_eq!(text(&lines).lines().count(), 19);
    sinks.stop().await;
    let status = sinks.status();
    assert_eq!(status, [], "stopped");
    ledger.close().await.unwrap();
}

/// What comes while a sink is stopped is sent at its next start, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_outlives_its_worker() {
    let folder = Folder::new();
    let mut audit = settings("[[audit.sink]]\nkind = \"file\"\npath = \"x\"\n").audit;
    audit.path = folder.path.join("audit");
    let lines = folder.path.join("audit.ndjson");
    audit.sinks[0].kind =
        AuditSinkKind::File(FileSink { path: lines.clone(), fhir_version: FhirVersion::R5 });
    let ledger = Arc::new(Ledger::open(&audit).unwrap());
    for turn in 1..=3 {
        let entries: Vec<Entry> = (0..700).map(entry).collect();
        ledger.record(&entries).await.unwrap();
        let sinks = Sinks::start(&audit, Arc::clone(&ledger)).unwrap();
        let status = || sinks.status().pop().unwrap();
        while status().delivered < 700 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((status().lag, status().oldest, status().last_error), (0, None, None));
        sinks.stop().await;
        assert_eq!(text(&lines).lines().count(), 700 * turn);
    }
    ledger.close().await.unwrap();
}
