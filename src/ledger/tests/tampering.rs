//! Whoever changes what is kept is found out.
#![expect(clippy::disallowed_methods, reason = "the test reads the files as they lie there")]

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::store::Spool as _;
use super::super::{Hash, Reader};
use super::{Folder, at, faults, record, settled, store};

/// Three files with two events each; the first two are closed.
fn three() -> Folder {
    three_of([["a", "b"], ["c", "d"], ["e", "f"]])
}

fn three_of(events: [[&str; 2]; 3]) -> Folder {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    for ids in events {
        if store.head > 0 {
            store.rotate(at("2026-03-01T12:00:00Z")).unwrap();
            settled(&store);
        }
        record(&mut store, &ids);
    }
    store.close().unwrap();
    folder
}

fn file(folder: &Folder, number: u64) -> PathBuf {
    super::super::folder::segment(&folder.path, number)
}

fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Each change in the database has its fault, at its event, and the neighbours are not accused.
#[test]
fn changed_rows() {
    let table = [
        (
            1,
            "UPDATE event SET kept = CAST(replace(CAST(kept AS TEXT), 'GET', 'PUT') AS BLOB) WHERE sequence = 2",
            2,
            "was changed",
        ),
        (2, "UPDATE event SET hash = zeroblob(32) WHERE sequence = 3", 3, "was changed"),
        (2, "UPDATE event SET hash = zeroblob(3) WHERE sequence = 3", 3, "was changed"),
        (2, "UPDATE event SET kept = CAST('{}' AS BLOB) WHERE sequence = 4", 4, "cannot be read"),
        (1, "DELETE FROM event WHERE sequence = 1", 2, "events 1 to 1 are missing"),
        (1, "DELETE FROM event WHERE sequence = 2", 1, "was closed after event 2"),
        (3, "DELETE FROM event WHERE sequence = 6", 5, "events 6 to 6 are missing at the end"),
        (1, "UPDATE event SET patient = 'another' WHERE sequence = 1", 1, "is found by other words"),
        (1, "UPDATE event SET client = 'another' WHERE sequence = 1", 1, "is found by other words"),
        (1, "UPDATE event SET user = 'another' WHERE sequence = 1", 1, "is found by other words"),
        (1, "UPDATE event SET recorded = 7 WHERE sequence = 2", 2, "is found by other words"),
        (2, "UPDATE meta SET before = 1", 1, "begins after event 1, and the file before it ends with 2"),
        (2, "UPDATE meta SET before = 9", 9, "events 3 to 9 are missing before this file"),
        (2, "UPDATE meta SET hash = zeroblob(32)", 2, "does not follow the file before it"),
        (1, "UPDATE meta SET hash = randomblob(32)", 0, "does not begin with the first event"),
        (2, "DELETE FROM meta", 2, "does not say where it begins"),
        (2, "UPDATE meta SET format = 9", 2, "has format 9"),
        (2, "UPDATE span SET last = 3", 4, "was closed after event 3"),
        (2, "CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM event; END", 2, "has other tables"),
        (2, "DROP TABLE rejected", 2, "has other tables"),
        (3, "INSERT INTO progress VALUES ('s', 7)", 6, "`s` has taken events up to 7"),
        (3, "INSERT INTO intent VALUES (1, x'00')", 0, "the announced write 1 cannot be read"),
        (
            1,
            "INSERT INTO event SELECT -3, recorded, patient, user, fhir_user, client, kept, hash FROM event LIMIT 1",
            0,
            "event -3 is out of place",
        ),
    ];
    for (number, change, at, what) in table {
        let folder = three();
        assert_eq!(faults(&folder.path), [""; 0]);
        sql(&file(&folder, number), change);
        let found = Reader::open(&folder.path).unwrap().verify(&[], &mut |_| {}).unwrap().faults;
        let named = |of: u64| found.iter().any(|fault| fault.sequence == of && fault.what.contains(what));
        assert!(named(at), "{change}: {found:?}");
        assert!(found.len() <= 3, "{change}: {found:?}");
    }
}

/// Events that are all computed anew are found out by who knows an older hash, and by what was noted beside them.
#[test]
fn noted_elsewhere() {
    let (folder, other) = (three(), three_of([["x", "y"], ["z", "e"], ["f", "g"]]));
    let reader = Reader::open(&folder.path).unwrap();
    let sound = reader.verify(&[], &mut |_| {}).unwrap();
    assert_eq!((sound.first, sound.last, sound.events), (1, 6, 6));
    let third = reader.after(2, 1).unwrap()[0].hash;
    for (known, expected) in [
        (vec![(6, sound.hash), (3, third), (0, Hash::NONE)], vec![]),
        (vec![(6, third)], vec![6]),
        (vec![(3, third), (3, sound.hash)], vec![3]),
        (vec![(7, third)], vec![7]),
    ] {
        let found = reader.verify(&known, &mut |_| {}).unwrap().faults;
        assert_eq!(found.iter().map(|fault| fault.sequence).collect::<Vec<_>>(), expected, "{found:?}");
    }
    // Another chain in the place of the first.
    fs::copy(folder.path.join("head"), other.path.join("head")).unwrap();
    assert_eq!(faults(&other.path), ["is not the event that `head` names"]);
    drop(store(&other.settings()).unwrap());
    assert!(faults(&other.path)[0].starts_with("at a start of the gateway"), "it stays known");
}

/// Files that are gone, garbled or too many.
#[test]
fn changed_files() {
    type Change = fn(&Folder);
    let table: [(Change, &str); 11] = [
        (|folder| fs::remove_file(file(folder, 1)).unwrap(), "does not begin with the first event"),
        (|folder| fs::remove_file(file(folder, 1)).unwrap(), "events 1 to 2 are missing before this file"),
        (|folder| fs::remove_file(file(folder, 2)).unwrap(), "events 3 to 4 are missing before this file"),
        (|folder| fs::remove_file(file(folder, 3)).unwrap(), "events 5 to 6 are missing at the end"),
        (|folder| fs::write(file(folder, 2), "").unwrap(), "is empty"),
        (
            |folder| fs::write(file(folder, 2), "no database, whatever its name").unwrap(),
            "file is not a database",
        ),
        (|folder| fs::remove_file(folder.path.join("head")).unwrap(), "whether events are missing"),
        (|folder| fs::write(folder.path.join("head"), "0").unwrap(), "whether events are missing"),
        (|folder| assert!(fs::copy(file(folder, 1), folder.path.join("audit-2.db")).is_ok()), "is none"),
        (
            |folder| assert!(fs::copy(file(folder, 1), folder.path.join("audit-000004.db")).is_ok()),
            "begins after event 0",
        ),
        (|folder| fs::rename(file(folder, 1), file(folder, 9)).unwrap(), "begins after event 0"),
    ];
    for (at, (change, what)) in table.into_iter().enumerate() {
        let folder = three();
        change(&folder);
        let found = faults(&folder.path);
        // A first file that is gone is missed by its events.
        let expected = if at == 0 { "events 1 to 2 are missing before this file" } else { what };
        assert!(found.iter().any(|found| found.contains(expected)), "{at} {what}: {found:?}");
    }
    let gone = Folder::new();
    assert!(Reader::open(&gone.path).is_err());
}

/// No byte of a closed file changes what is read without a fault.
#[test]
fn flipped_bytes() {
    let folder = three();
    let path = file(&folder, 1);
    let whole = fs::read(&path).unwrap();
    let before = super::read(&folder.path);
    let mut found = 0;
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, bytes).unwrap();
        let same =
            Reader::open(&folder.path).and_then(|reader| reader.after(0, 99)).ok() == Some(before.clone());
        let faults = faults(&folder.path);
        found += usize::from(!faults.is_empty());
        assert!(same || !faults.is_empty(), "byte {at}");
    }
    assert!(found > 10, "{found}");
}
