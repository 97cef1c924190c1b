//! One file of the spool.
//!
//! A segment is built under another name and renamed when it is whole: a file with a segment's name and without a segment's
//! content was spoilt, and never is the debris of a crash. While it is written to it has no indexes but its key: events come in
//! order, and an index by patient would multiply what each commit writes. They are built when it is finished; then it becomes one
//! self-contained file that nobody writes to any more.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use crate::ledger::LedgerError;
use crate::ledger::fact::{Hash, natural, number};
use crate::ledger::folder;

/// The version of what follows.
const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    format INTEGER NOT NULL,
    before INTEGER NOT NULL,
    hash BLOB NOT NULL,
    begun INTEGER NOT NULL
) STRICT;
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    recorded INTEGER NOT NULL,
    patient TEXT,
    user TEXT,
    fhir_user TEXT,
    client TEXT,
    kept BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE intent (id INTEGER PRIMARY KEY, kept BLOB NOT NULL) STRICT;
CREATE TABLE progress (sink TEXT PRIMARY KEY, through INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rejected (
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    kept BLOB,
    hash BLOB,
    PRIMARY KEY (sink, sequence)
) STRICT;
CREATE TABLE removed (through INTEGER PRIMARY KEY, hash BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE span (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL,
    hash BLOB NOT NULL,
    earliest INTEGER NOT NULL,
    latest INTEGER NOT NULL
) STRICT;
";

const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS event_patient ON event (patient) WHERE patient IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_user ON event (user) WHERE user IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_fhir_user ON event (fhir_user) WHERE fhir_user IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_client ON event (client) WHERE client IS NOT NULL;
";

/// Longest wait for another connection's lock.
const BUSY: Duration = Duration::from_secs(5);

/// A log that grew larger than this while a reader kept it from being reused is cut again.
const LOG_BYTES: i64 = 64 << 20;

/// Where a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The number of the event before its first.
    pub(super) before: u64,
    /// That event's hash.
    pub(super) hash: Hash,
    /// When it was begun, in milliseconds since the epoch.
    pub(super) begun: i64,
}

/// Where a finished segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The number of its last event; that of the event before when it has none.
    pub(super) last: u64,
    /// That event's hash.
    pub(super) hash: Hash,
    /// The least instant of its events, in milliseconds since the epoch.
    pub(super) earliest: i64,
    /// The greatest.
    pub(super) latest: i64,
}

/// What a new segment takes over.
#[derive(Debug, Default)]
pub(super) struct Carry {
    pub(super) intents: Vec<(i64, Vec<u8>)>,
    pub(super) progress: Vec<(String, i64)>,
    pub(super) removed: Vec<(i64, Vec<u8>, i64)>,
    pub(super) rejected: Vec<Rejected>,
}

/// What a sink did not take: sink, number, why, and once its segment is removed the kept fact and its hash.
pub(super) type Rejected = (String, i64, String, Option<Vec<u8>>, Option<Vec<u8>>);

impl Carry {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut intents = connection.prepare("SELECT id, kept FROM intent")?;
        let mut progress = connection.prepare("SELECT sink, through FROM progress")?;
        let mut removed = connection.prepare("SELECT through, hash, at FROM removed")?;
        let mut rejected = connection.prepare("SELECT sink, sequence, reason, kept, hash FROM rejected")?;
        let rejected = rejected
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?;
        Ok(Self {
            intents: intents
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?,
            progress: progress
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?,
            removed: removed
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?,
            rejected: rejected.collect::<Result<_, _>>()?,
        })
    }
}

/// Builds a segment beside its place and puts it there. It is durable when this returns, but for the folder's knowledge of it.
pub(super) fn begin(folder: &Path, at: u64, meta: &Meta, carry: &Carry) -> Result<(), LedgerError> {
    let path = folder::segment(folder, at);
    let new = folder::beside(&path, ".new");
    let say = |cause| LedgerError::io(&new, cause);
    for debris in [new.clone(), folder::beside(&new, "-journal")] {
        if debris.exists() {
            std::fs::remove_file(&debris).map_err(|cause| LedgerError::io(&debris, cause))?;
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(say)?;
    build(&new, meta, carry).map_err(|cause| LedgerError::store(&new, cause))?;
    std::fs::rename(&new, &path).map_err(say)
}

fn build(path: &Path, meta: &Meta, carry: &Carry) -> rusqlite::Result<()> {
    let mut connection = open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO meta VALUES (1, ?1, ?2, ?3, ?4)",
        params![FORMAT, number(meta.before), meta.hash.as_bytes(), meta.begun],
    )?;
    for (id, kept) in &carry.intents {
        transaction.execute("INSERT INTO intent VALUES (?1, ?2)", params![id, kept])?;
    }
    for (sink, through) in &carry.progress {
        transaction.execute("INSERT INTO progress VALUES (?1, ?2)", params![sink, through])?;
    }
    for (through, hash, at) in &carry.removed {
        transaction.execute("INSERT INTO removed VALUES (?1, ?2, ?3)", params![through, hash, at])?;
    }
    for (sink, sequence, reason, kept, hash) in &carry.rejected {
        let mut insert = transaction.prepare_cached("INSERT INTO rejected VALUES (?1, ?2, ?3, ?4, ?5)")?;
        insert.execute(params![sink, sequence, reason, kept, hash])?;
    }
    transaction.commit()?;
    connection.close().map_err(|(_, cause)| cause)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// A connection that writes; checkpoints are its owner's business.
pub(super) fn writing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// A connection that leaves everything as it is.
///
/// It is opened for writing all the same: the log of a gateway that was killed can be read in no other way.
pub(super) fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    keep_log(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Lets the connection close without a checkpoint.
pub(super) fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Whether the file itself is at fault, and not the disk or its permissions.
pub(super) fn is_spoilt(cause: &rusqlite::Error) -> bool {
    match cause.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        // A column of another type, a row that is not there.
        None => true,
    }
}

impl Meta {
    /// Where a segment begins; says in words what is wrong with it when it is none.
    pub(super) fn of(path: &Path, connection: &Connection) -> Result<Self, LedgerError> {
        let spoilt = |what: String| LedgerError::Spoilt { path: path.to_owned(), what };
        let say = |cause: rusqlite::Error| {
            if is_spoilt(&cause) { spoilt(cause.to_string()) } else { LedgerError::store(path, cause) }
        };
        let found = shape(connection).map_err(say)?;
        if found.is_empty() {
            return Err(spoilt("is empty".to_owned()));
        }
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?, row.get(3)?));
        let sql = "SELECT format, before, hash, begun FROM meta";
        let row: Option<(i64, i64, Vec<u8>, i64)> =
            connection.query_row(sql, [], read).optional().map_err(say)?;
        let Some((format, before, hash, begun)) = row else {
            return Err(spoilt("does not say where it begins".to_owned()));
        };
        if format != FORMAT {
            return Err(spoilt(format!("has format {format}, and this version reads format {FORMAT}")));
        }
        let whole = ours(SCHEMA).all(|definition| found.iter().any(|found| found == definition));
        if !whole || !found.iter().all(|found| is_ours(found)) {
            return Err(spoilt("has other tables than a file of audit events".to_owned()));
        }
        let hash = Hash::from_slice(&hash).ok_or_else(|| spoilt("begins with no hash".to_owned()))?;
        Ok(Self { before: natural(before), hash, begun })
    }
}

/// The definitions of everything in the file.
fn shape(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    found.query_map([], |row| row.get(0))?.collect()
}

fn ours(definitions: &str) -> impl Iterator<Item = &str> {
    definitions.split(';').map(str::trim).filter(|definition| !definition.is_empty())
}

/// Whether this is a definition from here; a trigger or a view would change what the tables say.
fn is_ours(found: &str) -> bool {
    // SQLite keeps what was written, without `IF NOT EXISTS`.
    ours(SCHEMA).any(|definition| definition == found)
        || ours(INDEXES).any(|definition| definition.replace("IF NOT EXISTS ", "") == found)
}

/// The newest event in a segment, or the one before it.
pub(super) fn last(connection: &Connection, meta: &Meta) -> rusqlite::Result<(u64, Hash)> {
    let sql = "SELECT sequence, hash FROM event ORDER BY sequence DESC LIMIT 1";
    let found = connection
        .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    Ok(match found {
        None => (meta.before, meta.hash),
        Some((sequence, hash)) => (natural(sequence), Hash::from_slice(&hash).unwrap_or(Hash::NONE)),
    })
}

/// Where a finished segment ends; nothing while it is not finished.
pub(super) fn span(connection: &Connection) -> rusqlite::Result<Option<Span>> {
    let sql = "SELECT last, hash, earliest, latest FROM span";
    connection
        .query_row(sql, [], |row| {
            let hash: Vec<u8> = row.get(1)?;
            Ok(Span {
                last: natural(row.get(0)?),
                hash: Hash::from_slice(&hash).unwrap_or(Hash::NONE),
                earliest: row.get(2)?,
                latest: row.get(3)?,
            })
        })
        .optional()
}

/// Whether a segment is one self-contained file that nobody writes to any more.
pub(super) fn is_finished(path: &Path) -> Result<bool, LedgerError> {
    let found = path.metadata().map_err(|cause| LedgerError::io(path, cause))?;
    Ok(found.permissions().mode() & 0o222 == 0)
}

/// Takes what is in the log over into the file as far as nobody waits for it: what was written, and what of it was taken over.
pub(super) fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<(i64, i64)> {
    let sql = format!("PRAGMA wal_checkpoint({how})");
    connection.query_row(&sql, [], |row| {
        let busy: i64 = row.get(0)?;
        let log: i64 = row.get(1)?;
        // Of a checkpoint that was kept from its work the log is as large as before.
        Ok(if busy == 0 { (log, row.get(2)?) } else { (log.max(1), 0) })
    })
}

/// What came of the attempt to finish a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It is finished.
    Done,
    /// Somebody reads it; later.
    InUse,
}

/// Finishes a segment that is written to no more: builds its indexes, takes it out of the mode in which it needs files beside it,
/// and takes away the permission to write. Where a crash interrupted this, it is done again.
pub(super) fn finish(path: &Path) -> Result<Finish, LedgerError> {
    if is_finished(path)? {
        return Ok(Finish::Done);
    }
    let connection = writing(path).map_err(|cause| LedgerError::store(path, cause))?;
    let meta = Meta::of(path, &connection)?;
    connection.busy_timeout(Duration::from_millis(200)).map_err(|cause| LedgerError::store(path, cause))?;
    match settle(&connection, &meta) {
        Ok(Finish::Done) => {}
        Ok(Finish::InUse) => return Ok(Finish::InUse),
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(Finish::InUse),
        Err(cause) => return Err(LedgerError::store(path, cause)),
    }
    connection.close().map_err(|(_, cause)| LedgerError::store(path, cause))?;
    // Never opened here for a sync: closing that descriptor would take SQLite's locks off the file.
    std::fs::set_permissions(path, Permissions::from_mode(0o400))
        .map_err(|cause| LedgerError::io(path, cause))?;
    Ok(Finish::Done)
}

fn settle(connection: &Connection, meta: &Meta) -> rusqlite::Result<Finish> {
    // Without its indexes it is slower to search, and nothing else.
    if let Err(error) = connection.execute_batch(INDEXES) {
        tracing::warn!(%error, "a closed file of audit events has no indexes yet");
    }
    let (last, hash) = last(connection, meta)?;
    let sql = "SELECT min(recorded), max(recorded) FROM event";
    let (earliest, latest): (Option<i64>, Option<i64>) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.execute(
        "INSERT OR REPLACE INTO span VALUES (1, ?1, ?2, ?3, ?4)",
        params![number(last), hash.as_bytes(), earliest.unwrap_or(meta.begun), latest.unwrap_or(meta.begun)],
    )?;
    let (log, _) = checkpoint(connection, "TRUNCATE")?;
    if log != 0 {
        return Ok(Finish::InUse);
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    Ok(if mode == "delete" { Finish::Done } else { Finish::InUse })
}
