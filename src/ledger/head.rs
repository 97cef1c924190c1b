//! The newest event's number and hash, noted outside the database.
//!
//! A log of SQLite that was cut is a shorter log: the events in it are gone without a trace. This note is written after each
//! commit, into the same bytes of a small file and without a sync of its own: it outlives the process, so that missing
//! events are noticed. After a power cut it may be older than the events, never newer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::ledger::LedgerError;
use crate::ledger::fact::Hash;
use crate::ledger::folder::{self, Identity};

/// What is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    /// The number of the segment that was written to.
    pub(super) segment: u64,
    /// The number of the newest event.
    pub(super) sequence: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

impl Noted {
    /// One line of always the same length, with a checksum.
    fn line(&self) -> String {
        let check = self.check();
        format!("{:010} {:020} {} {check}\n", self.segment, self.sequence, self.hash)
    }

    fn check(&self) -> Hash {
        Hash::of(self.hash, self.sequence, &self.segment.to_be_bytes())
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (segment, sequence) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (hash, check): (Hash, Hash) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let noted = Self { segment, sequence, hash };
        (words.next().is_none() && noted.check() == check).then_some(noted)
    }
}

/// What was found in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// No file.
    Absent,
    /// Something else than a note.
    Garbled(String),
    /// A note.
    Noted(Noted),
}

/// Looks for the note in a folder.
#[expect(clippy::disallowed_methods, reason = "the spool's own file")]
pub(super) fn find(folder: &Path) -> Result<Found, LedgerError> {
    let path = folder.join("head");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(Noted::read(&text).map_or(Found::Garbled(text), Found::Noted))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
        Err(cause) => Err(LedgerError::io(&path, cause)),
    }
}

/// Keeps for [`Reader::verify`](crate::ledger::Reader::verify) that a note did not fit the events.
pub(super) fn set_aside(folder: &Path, what: &str) -> Result<(), LedgerError> {
    for number in 1..1000 {
        let path = folder.join(format!("head-{number:03}.amiss"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(what.as_bytes()).and_then(|()| file.sync_all());
                return written.map_err(|cause| LedgerError::io(&path, cause));
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(LedgerError::io(&path, cause)),
        }
    }
    Ok(())
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Head {
    folder: PathBuf,
    file: File,
    identity: Identity,
    failing: bool,
}

impl Head {
    /// Makes the file anew, durably.
    pub(super) fn create(folder: &Path, noted: &Noted) -> Result<Self, LedgerError> {
        let (new, path) = (folder.join("head.new"), folder.join("head"));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(noted.line().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok((file, Identity::of(&path)?))
        };
        let (file, identity) = write().map_err(|cause| LedgerError::io(&path, cause))?;
        folder::sync(folder)?;
        Ok(Self { folder: folder.to_owned(), file, identity, failing: false })
    }

    /// Notes what was committed. A failure is logged and no more: the events themselves are durable.
    pub(super) fn note(&mut self, noted: &Noted) {
        match self.file.write_all_at(noted.line().as_bytes(), 0) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(%error, "the newest audit event's number cannot be noted");
            }
            Err(_) => {}
        }
    }

    /// Makes the file anew when it is gone.
    pub(super) fn upkeep(&mut self, noted: &Noted) {
        if self.identity.check().is_ok() && !self.failing {
            return;
        }
        match Self::create(&self.folder, noted) {
            Ok(head) => {
                tracing::warn!(folder = %self.folder.display(), "the file `head` was gone and is made anew");
                *self = head;
            }
            Err(error) => tracing::warn!(%error, "the newest audit event's number cannot be noted"),
        }
    }
}
