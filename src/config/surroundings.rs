//! What the checks may look at outside the file: the folder it lies in, the environment and the time.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The folder that relative paths start from, and the instant that certificates must be valid at.
#[derive(Debug, Clone)]
pub struct Surroundings {
    folder: PathBuf,
    now: Timestamp,
    files: Files,
    stale: Stale,
}

/// What becomes of a file that is past its time, where the gateway can serve without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// It must be mended.
    Refused,
    /// It is warned of.
    Warned,
}

/// Whether certificates, keys and secrets that a file names are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// They are taken to be there and in order.
    Assumed,
    /// They are read.
    Read,
}

impl Surroundings {
    /// Paths in the file are relative to `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, now: Timestamp) -> Self {
        Self { folder: folder.into(), now, files: Files::Read, stale: Stale::Refused }
    }

    /// The surroundings of a file, now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a file is checked at start and on reload, outside any request"
    )]
    pub(super) fn of_file(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self { folder, now: Timestamp::now(), files: Files::Read, stale: Stale::Refused }
    }

    /// The same, but what the file names is taken to be there: for decisions, which need none of it.
    #[must_use]
    pub(super) fn without_files(self) -> Self {
        Self { files: Files::Assumed, ..self }
    }

    /// The same, for a gateway that must not stay down for a file it can do without.
    #[must_use]
    pub(super) fn serving(self) -> Self {
        Self { stale: Stale::Warned, ..self }
    }

    pub(super) fn stale(&self) -> Stale {
        self.stale
    }

    pub(super) fn files(&self) -> Files {
        self.files
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// A path of the file, seen from the working folder.
    pub(super) fn path(&self, written: &Path) -> PathBuf {
        self.folder.join(written)
    }
}

/// The bytes of a file.
#[expect(clippy::disallowed_methods, reason = "the one place where config reads files")]
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The value of an environment variable; absent and unreadable are the same.
#[expect(clippy::disallowed_methods, reason = "the one place where config reads the environment")]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether users other than the owner and its group may read the file.
#[cfg(unix)]
pub(super) fn read_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// Whether users other than the owner may read the file: not told here.
#[cfg(not(unix))]
pub(super) fn read_by_all(_: &Path) -> bool {
    false
}
