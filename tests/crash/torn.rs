//! A disk that kept only part of what was written last: the log of the store is cut off at any point, as a loss of power
//! can leave it. What is there is then a beginning of what was recorded, and gone on from; what is missing is said.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use pforte::audit::Entry;
use pforte::config::{Audit, OnAuditFailure, Rotation};
use pforte::ledger::{Hash, Ledger, Reader};

use crate::chance::Chance;
use crate::{finish, one_round, quiet_house, seed};

/// How often the log is cut.
const CUTS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_torn_log_is_a_shorter_one() {
    let mut chance = Chance::new(seed());
    let mut house = quiet_house().await;
    let told = one_round(&mut house, &mut chance).await;
    let folder = house.gateway.folder.join("audit");
    let copy = house.gateway.folder.join("torn");
    let whole = hashes(&copied(&folder, &copy));
    house.findings.check(whole.len() >= told.len(), "fewer events than answers");
    let mut lengths = Vec::new();
    for _ in 0..CUTS {
        tear(&copied(&folder, &copy), &mut chance);
        let torn = hashes(&copy);
        house.findings.check(whole.starts_with(&torn), "a torn log is no beginning of the whole one");
        let missing = torn.len() < whole.len();
        house.findings.check(only_missing(&copy, missing), "a torn log is at fault beyond what it lost");
        let ledger = Ledger::open(&settings(&copy)).expect("a torn log opens");
        let event = Entry::open(
            &"https://gw.test/fhir".into(),
            "after-the-tear",
            ("2026-03-01T10:00:00Z".parse().expect("an instant"), "192.0.2.7"),
            ("GET", "Patient/p1"),
        );
        ledger.record(&[event]).await.expect("it goes on");
        ledger.close().await.expect("it closes");
        house.findings.check(only_missing(&copy, missing), "after a torn log more than that is at fault");
        lengths.push(torn.len());
    }
    println!("crash: torn to {lengths:?} of {} events", whole.len());
    house.findings.check(lengths.iter().any(|length| *length < whole.len()), "no cut took an event away");
    finish(&house);
}

/// Whether nothing is wrong but that events are missing at one place, if any may be.
fn only_missing(folder: &Path, may_be: bool) -> bool {
    let verification = Reader::open(folder).and_then(|reader| reader.verify(&[], &mut |_| {}));
    let faults = verification.expect("a readable folder").faults;
    faults.len() <= usize::from(may_be) && faults.iter().all(|fault| fault.what.contains("are missing"))
}

fn settings(folder: &Path) -> Audit {
    Audit {
        path: folder.to_owned(),
        on_failure: OnAuditFailure::Refuse,
        rotation: Rotation { bytes: 1 << 30, age: std::time::Duration::from_secs(86_400) },
        retention: None,
        sinks: Vec::new(),
    }
}

/// A fresh copy of a folder.
fn copied(from: &Path, to: &Path) -> PathBuf {
    if to.exists() {
        fs::remove_dir_all(to).expect("the old copy goes");
    }
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
    to.to_owned()
}

/// Cuts the newest log at some point, and sometimes leaves other bytes where its end was.
fn tear(folder: &Path, chance: &mut Chance) {
    let logs = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut logs: Vec<PathBuf> = logs.filter(|path| path.to_string_lossy().ends_with("-wal")).collect();
    logs.sort();
    let log = logs.last().expect("a log that was not tidied away");
    let length = log.metadata().expect("a file").len();
    let file = File::options().write(true).open(log).expect("a log");
    if chance.percent(20) {
        // A page that nobody was told of, half written.
        return file
            .set_len(length + 1 + u64::try_from(chance.below(6000)).expect("a number"))
            .expect("more");
    }
    let keep = chance.below(usize::try_from(length).expect("a small file") + 1);
    file.set_len(u64::try_from(keep).expect("a number")).expect("a cut");
    if chance.percent(50) {
        file.set_len(length).expect("zeros at the end");
    }
}

fn hashes(folder: &Path) -> Vec<Hash> {
    let events =
        Reader::open(folder).and_then(|reader| reader.after(0, usize::MAX)).expect("readable events");
    events.into_iter().map(|kept| kept.hash).collect()
}
