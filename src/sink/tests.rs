//! Events and settings that the tests of this room share; workers against doubles.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Entry;
use crate::config::{BackendCredentials, FhirSink, SinkWrite};
use crate::fhir::FhirVersion;
use crate::ledger::{Hash, Kept};

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
