//! What lies in the folder: the segments by number, the lock, and what a crash left.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::ledger::LedgerError;

/// The file of a segment.
pub(super) fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("audit-{number:06}.db"))
}

/// A file that SQLite keeps beside another.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The number in the name of a segment.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".db")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (format!("{number:06}") == digits).then_some(number)
}

/// The files of a folder that matter here.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The numbers of the segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Segments that were begun and never completed, and scratch files.
    pub(super) debris: Vec<PathBuf>,
    /// Heads that did not fit the events at a start.
    pub(super) amiss: Vec<PathBuf>,
    /// Files that look like segments and are none.
    pub(super) strange: Vec<PathBuf>,
}

impl Listing {
    pub(super) fn of(folder: &Path) -> Result<Self, LedgerError> {
        let say = |cause| LedgerError::io(folder, cause);
        let mut listing = Self::default();
        for file in folder.read_dir().map_err(say)? {
            let file = file.map_err(say)?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            if let Some(number) = number(&name) {
                listing.segments.push(number);
            } else if name == "probe"
                || name == "head.new"
                || name.starts_with("audit-") && name.contains(".new")
            {
                listing.debris.push(file.path());
            } else if name.starts_with("head-") && name.ends_with(".amiss") {
                listing.amiss.push(file.path());
            } else if name.starts_with("audit-") && name.contains(".db") && !is_beside(&name) {
                listing.strange.push(file.path());
            }
        }
        listing.segments.sort_unstable();
        listing.amiss.sort_unstable();
        listing.strange.sort_unstable();
        Ok(listing)
    }
}

/// Whether SQLite keeps this beside a segment.
fn is_beside(name: &str) -> bool {
    ["-wal", "-shm", "-journal"]
        .into_iter()
        .any(|end| name.strip_suffix(end).is_some_and(|of| number(of).is_some()))
}

/// Makes the folder when it is not there; only its owner can look into it.
pub(super) fn make(folder: &Path) -> Result<(), LedgerError> {
    let say = |cause| LedgerError::io(folder, cause);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(say)?;
    let mode = folder.metadata().map_err(say)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(folder = %folder.display(), "others can look into the folder of audit events");
    }
    Ok(())
}

/// Makes durable which files the folder has.
pub(super) fn sync(folder: &Path) -> Result<(), LedgerError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| LedgerError::io(folder, cause))
}

/// Which file a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    path: PathBuf,
    file: (u64, u64),
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self { path: path.to_owned(), file: (found.dev(), found.ino()) })
    }

    /// Whether the path still leads to the same file.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        match self.path.metadata() {
            Ok(found) if (found.dev(), found.ino()) == self.file => Ok(()),
            Ok(_) => Err(LedgerError::Replaced { path: self.path.clone() }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                Err(LedgerError::Replaced { path: self.path.clone() })
            }
            Err(cause) => Err(LedgerError::io(&self.path, cause)),
        }
    }
}

/// Keeps a second gateway, or the old one still draining, out of the folder.
#[derive(Debug)]
pub(super) struct Lock {
    identity: Identity,
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join("lock");
        let say = |cause| LedgerError::io(&path, cause);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(say)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { identity: Identity::of(&path).map_err(say)?, _file: file }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(say(cause)),
        }
    }

    /// Whether the folder is still the one that was locked.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        self.identity.check()
    }
}
