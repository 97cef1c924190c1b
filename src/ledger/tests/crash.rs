//! What a crash, a torn write or a vanished file leaves.
#![expect(clippy::disallowed_methods, reason = "the test reads the files as they lie there")]

use std::fs;
use std::path::{Path, PathBuf};

use super::super::fact::Fact;
use super::super::queue::{Fate, Job};
use super::super::store::{Spool as _, Store};
use super::super::{LedgerError, Reader};
use super::{Folder, at, entry, faults, ids, record, settled, store};

/// What a process that is killed now would leave.
fn copied(from: &Path) -> Folder {
    let copy = Folder::new();
    fs::create_dir(&copy.path).unwrap();
    for file in from.read_dir().unwrap() {
        let file = file.unwrap();
        // The memory that processes share is made anew by the first one.
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), copy.path.join(file.file_name())).unwrap();
        }
    }
    copy
}

fn log(folder: &Path) -> PathBuf {
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.to_string_lossy().ends_with("-wal")).max().unwrap()
}

/// Opens what was left, and records one more event.
fn goes_on(folder: &Folder) -> Vec<String> {
    let mut again = store(&folder.settings()).unwrap();
    record(&mut again, &["after"]);
    again.close().unwrap();
    drop(again);
    let mut ids = ids(&folder.path);
    assert_eq!(ids.pop().as_deref(), Some("after"));
    ids
}

/// One step in the life of a store.
type Step = (&'static str, fn(&mut Store));

const STEPS: [Step; 9] = [
    ("a record", |store| record(store, &["a"])),
    ("a batch", |store| record(store, &["b", "c", "d"])),
    ("an intent", |store| drop(store.apply(&[&Job::Intend(Fact::of(&entry("i")))]).unwrap())),
    ("a conclusion", |store| {
        let facts = vec![Fact::of(&entry("i"))];
        drop(store.apply(&[&Job::Record { facts, intent: Some(1) }]).unwrap());
    }),
    ("a rotation", |store| store.rotate(at("2026-03-01T12:00:00Z")).unwrap()),
    ("a delivery", |store| {
        let job = Job::Delivered { sink: "s".into(), through: 4, rejected: Vec::new() };
        drop(store.apply(&[&job]).unwrap());
    }),
    ("another record", |store| record(store, &["e"])),
    ("another rotation", |store| {
        store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
        settled(store);
    }),
    ("a last record", |store| record(store, &["f"])),
];

/// AUD-1: at whatever point it is killed, everything that was told durable is there, and nothing is torn.
#[test]
fn killed_between_any_two_steps() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    for (name, step) in STEPS {
        step(&mut store);
        let told = ids(&folder.path);
        let left = copied(&folder.path);
        assert_eq!(faults(&left.path), [""; 0], "after {name}");
        assert_eq!(ids(&left.path), told, "after {name}");
        let mut found = goes_on(&left);
        if name == "an intent" {
            assert_eq!(found.pop().as_deref(), Some("i"), "the announced write has its event");
        }
        assert_eq!(found, told, "after {name}");
        assert_eq!(faults(&left.path), [""; 0], "gone on after {name}");
    }
}

/// AUD-1: a commit of which any part reached the disk is there as a whole or not at all, and those before it are.
#[test]
fn torn_at_any_sector() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    record(&mut store, &["a", "b"]);
    let before = copied(&folder.path);
    record(&mut store, &["c", "d", "e"]);
    let (old, new) = (fs::read(log(&before.path)).unwrap(), fs::read(log(&folder.path)).unwrap());
    let mut seen = [false, false];
    for written in (0..new.len()).step_by(512).chain([new.len()]) {
        let torn = copied(&before.path);
        let rest = old.get(written..).unwrap_or_default();
        fs::write(log(&torn.path), [&new[..written], rest].concat()).unwrap();
        let found = ids(&torn.path);
        let whole = found.len() == 5;
        seen[usize::from(whole)] = true;
        assert!(whole || found == ["a", "b"], "{written}: {found:?}");
        assert_eq!(faults(&torn.path), [""; 0], "{written}");
        assert_eq!(goes_on(&torn), found, "{written}");
        assert_eq!(faults(&torn.path), [""; 0], "{written}");
    }
    assert_eq!(seen, [true, true]);
}

/// A log that was cut or spoilt after its events were told durable: what is left is a beginning, and the rest is missed, now and
/// after going on. No number is given twice.
#[test]
fn a_cut_log_is_noticed() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    for id in ["a", "b", "c", "d", "e"] {
        record(&mut store, &[id]);
    }
    let whole = ids(&folder.path);
    let bytes = fs::read(log(&folder.path)).unwrap();
    let cut = (0..bytes.len()).step_by(512).map(|length| bytes[..length].to_vec());
    let spoilt = (100..bytes.len()).step_by(1009).map(|at| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x20;
        bytes
    });
    let mut lost = 0;
    for (number, log_now) in cut.chain(spoilt).enumerate() {
        let left = copied(&folder.path);
        fs::write(log(&left.path), log_now).unwrap();
        let found = ids(&left.path);
        assert!(whole.starts_with(&found), "{number}: {found:?}");
        let missing = found.len() < whole.len();
        lost += usize::from(missing);
        let first = found.len() + 1;
        let at_end = format!("events {first} to 5 are missing at the end");
        let in_between = format!("events {first} to 5 are missing before this file");
        assert_eq!(faults(&left.path), vec![at_end; usize::from(missing)], "{number}");
        assert_eq!(goes_on(&left), found, "{number}");
        assert_eq!(faults(&left.path), vec![in_between; usize::from(missing)], "{number}");
        assert_eq!(Reader::open(&left.path).unwrap().after(5, 9).unwrap()[0].sequence, 6, "{number}");
    }
    assert!(lost > 20, "{lost}");
}

/// A newest file that is spoilt stops the start with words that help; moved away it is missed, put back all is well.
#[test]
fn a_spoilt_newest_file_is_not_written_around() {
    let folder = Folder::new();
    let mut first = store(&folder.settings()).unwrap();
    record(&mut first, &["a", "b"]);
    first.rotate(at("2026-03-01T12:00:00Z")).unwrap();
    record(&mut first, &["c", "d"]);
    first.close().unwrap();
    drop(first);
    let newest = folder.path.join("audit-000002.db");
    let whole = fs::read(&newest).unwrap();
    for spoilt in [Vec::new(), whole[..5000].to_vec(), [&[7; 4096], &whole[4096..]].concat()] {
        fs::write(&newest, spoilt).unwrap();
        let Err(error) = store(&folder.settings()) else { panic!("opened") };
        let said = error.to_string();
        assert!(said.contains("audit-000002.db") && said.contains("move this file"), "{said}");
        assert!(!faults(&folder.path).is_empty());
    }
    fs::remove_file(&newest).unwrap();
    assert_eq!(faults(&folder.path), ["events 3 to 4 are missing at the end"]);
    assert_eq!(goes_on(&folder), ["a", "b"]);
    assert_eq!(faults(&folder.path), ["events 3 to 4 are missing before this file"]);
    fs::write(&newest, whole).unwrap();
    assert_eq!(faults(&folder.path), [""; 0]);
    assert_eq!(ids(&folder.path), ["a", "b", "c", "d", "after"]);
}

/// What a crash leaves of a file in the making is no file.
#[test]
fn debris_goes() {
    let folder = Folder::new();
    drop(store(&folder.settings()).unwrap());
    for name in ["audit-000002.db.new", "audit-000002.db.new-journal", "head.new", "probe"] {
        fs::write(folder.path.join(name), "half").unwrap();
    }
    assert_eq!(faults(&folder.path), [""; 0]);
    assert_eq!(goes_on(&folder), [""; 0]);
    let left =
        fs::read_dir(&folder.path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("new") || name == "probe").count(), 0);
}

/// A crash before an old file was closed: that is done at the next start.
#[test]
fn closing_is_done_again() {
    let folder = Folder::new();
    let mut first = store(&folder.settings()).unwrap();
    record(&mut first, &["a"]);
    let reader = Reader::open(&folder.path).unwrap();
    assert_eq!(reader.after(0, 9).unwrap().len(), 1);
    // Somebody reads it: it cannot be closed yet.
    first.rotate(at("2026-03-01T12:00:00Z")).unwrap();
    settled(&first);
    let left = copied(&folder.path);
    let old = super::super::folder::segment(&left.path, 1);
    assert!(!super::super::segment::is_finished(&old).unwrap());
    goes_on(&left);
    assert!(super::super::segment::is_finished(&old).unwrap());
    drop(reader);
    first.upkeep(at("2026-03-01T12:01:00Z"));
    drop(first);
    assert!(super::super::segment::is_finished(&super::super::folder::segment(&folder.path, 1)).unwrap());
}

/// Nothing is written into a file that has lost its name; put back, it goes on.
#[test]
fn files_that_vanish_are_missed() {
    let names = ["audit-000001.db", "audit-000001.db-wal", "audit-000001.db-shm", "lock"];
    for name in names {
        let folder = Folder::new();
        let mut store = store(&folder.settings()).unwrap();
        record(&mut store, &["a"]);
        let (path, away) = (folder.path.join(name), folder.path.join("away"));
        for replace in [false, true] {
            fs::rename(&path, &away).unwrap();
            if replace {
                fs::copy(&away, &path).unwrap();
            }
            let job = Job::Record { facts: vec![Fact::of(&entry("lost"))], intent: None };
            let failed = store.apply(&[&job]);
            assert!(matches!(failed, Err(LedgerError::Replaced { .. })), "{name}: {failed:?}");
            assert!(store.probe().is_err(), "{name}");
            fs::rename(&away, &path).unwrap();
        }
        store.probe().unwrap();
        record(&mut store, &["b"]);
        store.close().unwrap();
        assert_eq!(ids(&folder.path), ["a", "b"], "{name}");
        assert_eq!(faults(&folder.path), [""; 0], "{name}");
    }
}

/// A disk that is full takes nothing of a batch; what is in memory is what is in the file; with room again it goes on.
#[test]
fn a_full_disk_takes_all_or_nothing() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    record(&mut store, &["a"]);
    let (head, hash) = (store.head, store.hash);
    let pages = |store: &Store, most: i64| {
        let connection = store.current.connection.as_ref().unwrap();
        connection.pragma_update(None, "max_page_count", most).unwrap();
    };
    pages(&store, 1);
    let facts = (0..400).map(|number| Fact::of(&entry(&format!("n{number}")))).collect();
    let large = Job::Record { facts, intent: None };
    let abandon = Job::Abandon(vec![(1, Fate::Interrupted)]);
    assert!(store.apply(&[&large, &abandon]).is_err());
    assert_eq!((store.head, store.hash, ids(&folder.path)), (head, hash, vec!["a".to_owned()]));
    // The next attempt does not rely on the connection that failed.
    store.probe().unwrap();
    assert!(!folder.path.join("probe").exists());
    store.apply(&[&large]).unwrap();
    assert_eq!(store.head, 401);
    assert_eq!(faults(&folder.path), [""; 0]);
}
