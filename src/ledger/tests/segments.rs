//! New files, closed files, removed files.
#![expect(clippy::disallowed_methods, reason = "the test reads the files as they lie there")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::super::queue::{Job, Rejection};
use super::super::store::{Spool as _, Store};
use super::super::{Ledger, Reader, Rules, settle_rejected};
use super::{Folder, at, entry, faults, ids, record, settled, store};
use crate::config::{Audit, Rotation};

const DAY: Duration = Duration::from_secs(86_400);

fn names(folder: &Folder) -> Vec<String> {
    let files = fs::read_dir(&folder.path).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn rules(store: &Store, change: impl FnOnce(&mut Rules)) {
    change(&mut store.rules.lock().unwrap());
}

/// A file that is large enough, or whose first event is old enough, is followed by another; an empty one is not.
#[test]
fn rotation_is_by_size_and_age() {
    let table = [
        ("2026-03-02T10:00:00Z", 1 << 20, DAY, "a day old, to the second", 1),
        ("2026-03-02T10:00:01Z", 1 << 20, DAY, "older than a day", 2),
        ("2026-02-01T10:00:00Z", 1 << 20, DAY, "a clock that went back", 1),
        ("2026-03-01T10:00:00Z", 2000, DAY, "large", 2),
        ("2026-03-01T10:00:00Z", 10_000, DAY, "not that large", 1),
    ];
    for (now, bytes, age, what, files) in table {
        let folder = Folder::new();
        let mut store = store(&folder.settings()).unwrap();
        rules(&store, |rules| rules.rotation = Rotation { bytes, age });
        store.tend(at("2030-01-01T00:00:00Z"));
        assert_eq!(store.current.at, 1, "an empty file is not followed by another");
        for _ in 0..10 {
            record(&mut store, &["a"]);
        }
        store.tend(at(now));
        assert_eq!(store.current.at, files, "{what}");
        record(&mut store, &["b"]);
        assert_eq!(ids(&folder.path).len(), 11, "{what}");
        assert_eq!(faults(&folder.path), [""; 0], "{what}");
    }
}

/// A closed file is whole by itself and for nobody to write to; it can be read alone.
#[test]
fn a_closed_file_is_an_archive() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    record(&mut store, &["a", "b"]);
    store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
    settled(&store);
    assert_eq!(
        names(&folder),
        ["audit-000001.db", "audit-000002.db", "audit-000002.db-shm", "audit-000002.db-wal", "head", "lock"]
    );
    let mode = |name: &str| folder.path.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        names(&folder).iter().map(|name| mode(name)).collect::<Vec<_>>(),
        [0o400, 0o600, 0o600, 0o600, 0o600, 0o600]
    );
    let archive = Folder::new();
    fs::create_dir(&archive.path).unwrap();
    fs::copy(folder.path.join("audit-000001.db"), archive.path.join("audit-000001.db")).unwrap();
    assert_eq!(ids(&archive.path), ["a", "b"]);
    assert_eq!(faults(&archive.path), ["is not there: whether events are missing at the end cannot be told"]);
    store.close().unwrap();
    assert_eq!(names(&folder), ["audit-000001.db", "audit-000002.db", "head", "lock"], "one file each");
}

/// What sinks have, what they rejected and what was announced goes along into the new file.
#[test]
fn a_new_file_takes_over() {
    let folder = Folder::new();
    let mut first = store(&folder.settings()).unwrap();
    record(&mut first, &["a", "b"]);
    let rejected = vec![Rejection { sequence: 1, reason: "no".into() }];
    first.apply(&[&Job::Delivered { sink: "s".into(), through: 9, rejected: rejected.clone() }]).unwrap();
    first.apply(&[&Job::Intend(super::Fact::of(&entry("w")))]).unwrap();
    first.rotate(at("2026-03-01T12:00:00Z")).unwrap();
    let reader = Reader::open(&folder.path).unwrap();
    assert_eq!(reader.delivered("s").unwrap(), 2, "no more than there is");
    assert_eq!((reader.rejected("s").unwrap(), reader.delivered("t").unwrap()), (rejected, 0));
    settle_rejected(&folder.path, "s", &[1]).unwrap();
    assert_eq!(reader.rejected("s").unwrap(), []);
    drop((reader, first));
    drop(store(&folder.settings()).unwrap());
    assert_eq!(ids(&folder.path), ["a", "b", "w"]);
    assert_eq!(faults(&folder.path), [""; 0]);
}

/// A reader that is held sees what is recorded, whatever file it is in, and does not hold an old one.
#[test]
fn a_reader_follows() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    let reader = Reader::open(&folder.path).unwrap();
    let (mut seen, mut after) = (Vec::new(), 0);
    for number in 0..40 {
        record(&mut store, &[&format!("a{number}"), &format!("b{number}")]);
        if number % 3 == 0 {
            store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
        }
        if number % 5 != 0 {
            let events = reader.after(after, 7).unwrap();
            after = events.last().map_or(after, |event| event.sequence);
            seen.extend(events.iter().map(super::id));
        }
    }
    seen.extend(reader.after(after, 99).unwrap().iter().map(super::id));
    assert_eq!(seen, ids(&folder.path));
    assert_eq!(seen.len(), 80);
    for from in 0..=80 {
        let found: Vec<u64> = reader.after(from, 3).unwrap().iter().map(|event| event.sequence).collect();
        assert_eq!(found, (from + 1..=80.min(from + 3)).collect::<Vec<_>>());
    }
    // Those that were read while they should have been finished are finished by the next upkeep.
    settled(&store);
    store.upkeep(at("2026-03-01T12:00:00Z"));
    drop(store);
    assert!((1..=14).all(|at| super::super::segment::is_finished(&reader.path(at)).unwrap()));
}

/// Old events go once every sink that is configured has them, the oldest first; the chain is joined where they were.
#[test]
fn retention() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    for ids in [["a", "b"], ["c", "d"], ["e", "f"]] {
        record(&mut store, &ids);
        store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
        settled(&store);
    }
    record(&mut store, &["g"]);
    let reason = || "no".to_owned();
    let rejected =
        vec![Rejection { sequence: 2, reason: reason() }, Rejection { sequence: 5, reason: reason() }];
    store.apply(&[&Job::Delivered { sink: "s".into(), through: 6, rejected }]).unwrap();
    store.apply(&[&Job::Delivered { sink: "gone".into(), through: 1, rejected: Vec::new() }]).unwrap();
    let second = Reader::open(&folder.path).unwrap().after(1, 1).unwrap().remove(0);
    let sinks = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let table = [
        ("2026-04-01T00:00:00Z", None, sinks(&["s"]), 7, "never"),
        ("2026-03-02T10:00:00Z", Some(DAY), sinks(&["s"]), 7, "not old enough"),
        ("2026-01-01T00:00:00Z", Some(DAY), sinks(&["s"]), 7, "a clock that went back"),
        ("2026-04-01T00:00:00Z", Some(DAY), sinks(&["s", "gone"]), 7, "one sink lags"),
        ("2026-04-01T00:00:00Z", Some(DAY), sinks(&["s", "new"]), 7, "one sink has nothing"),
        ("2026-03-02T10:00:01Z", Some(DAY), sinks(&["s"]), 1, "all closed ones"),
    ];
    for (now, retention, sinks, left, what) in table {
        rules(&store, |rules| (rules.retention, rules.sinks) = (retention, sinks));
        store.upkeep(at(now));
        assert_eq!(ids(&folder.path).len(), left, "{what}");
        assert_eq!(faults(&folder.path), [""; 0], "{what}");
    }
    let reader = Reader::open(&folder.path).unwrap();
    assert_eq!(reader.event(2).unwrap(), Some(second), "a rejected event outlives its file");
    assert_eq!((reader.event(1).unwrap(), reader.rejected("s").unwrap().len()), (None, 2));
    let verified = reader.verify(&[], &mut |_| {}).unwrap();
    assert_eq!((verified.first, verified.last, verified.events), (7, 7, 1));
    let figures = store.figures();
    assert_eq!((figures.segments, figures.head, figures.free.is_some()), (1, 7, true));
    assert_eq!(figures.oldest, Some(at("2026-03-01T10:00:00Z").as_millisecond()));
    // A crash between the note and the removal leaves the file for a while.
    drop(reader);
    store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
    settled(&store);
    let kept = fs::read(folder.path.join("audit-000004.db")).unwrap();
    rules(&store, |rules| rules.sinks.clear());
    store.upkeep(at("2026-04-01T00:00:00Z"));
    assert!(!folder.path.join("audit-000004.db").exists());
    fs::write(folder.path.join("audit-000004.db"), kept).unwrap();
    assert_eq!(faults(&folder.path), [""; 0]);
}

/// New settings take effect while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn rules_change() {
    let folder = Folder::new();
    let ledger = Ledger::open(&folder.settings()).unwrap();
    ledger.record(&[entry("a")]).await.unwrap();
    let rotation = Rotation { bytes: 1, age: DAY };
    ledger.change(&Audit { rotation, ..folder.settings() });
    ledger.record(&[entry("b")]).await.unwrap();
    ledger.record(&[entry("c")]).await.unwrap();
    ledger.close().await.unwrap();
    assert!(folder.path.join("audit-000002.db").exists());
    assert_eq!(ids(&folder.path), ["a", "b", "c"]);
    assert_eq!(faults(&folder.path), [""; 0]);
}

/// Events are verified and read while a gateway writes, rotates and removes.
#[test]
fn everything_at_once() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    let path = folder.path.clone();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = std::sync::Arc::clone(&done);
    let reading = std::thread::spawn(move || {
        let (reader, mut verified, mut after) = (Reader::open(&path).unwrap(), 0, 0);
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            let found = reader.verify(&[], &mut |_| {}).unwrap();
            assert_eq!(found.faults, [], "after {verified}");
            verified += 1;
            for event in reader.after(after, 50).unwrap() {
                assert!(event.sequence > after);
                after = event.sequence;
            }
        }
        verified
    });
    rules(&store, |rules| {
        rules.rotation = Rotation { bytes: 20_000, age: DAY * 10_000 };
        rules.retention = Some(DAY);
    });
    for number in 0..400 {
        record(&mut store, &[&number.to_string()]);
        store.tend(at("2026-03-01T12:00:00Z"));
        if number % 50 == 0 {
            store.upkeep(at("2026-05-01T12:00:00Z"));
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reading.join().unwrap() > 0);
    assert_eq!(faults(&folder.path), [""; 0]);
}
