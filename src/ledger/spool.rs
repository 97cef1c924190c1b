//! Files of lines, appended durably.
//!
//! `audit-2026-03-01-000001.ndjson`: a day in UTC and a number, so that names sort by time. A file is closed when it is
//! large or its day is over. Only the newest is ever written to, and only whole lines stay in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::ledger::LedgerError;

/// A file this large is closed.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Takes lines and keeps them.
pub(super) trait Spool: Send {
    /// Appends whole lines; they are durable when this returns, and gone when it fails.
    fn append(&mut self, lines: &[u8], day: Date) -> Result<(), LedgerError>;

    /// Tries whether lines could be kept now.
    fn probe(&mut self) -> Result<(), LedgerError>;
}

/// A day and a number: which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    day: Date,
    number: u32,
}

impl Name {
    pub(super) fn read(name: &str) -> Option<Self> {
        let (day, number) = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?.rsplit_once('-')?;
        let read = Self { day: day.parse().ok()?, number: number.parse().ok()? };
        (read.to_string() == name).then_some(read)
    }

    /// The file after this one. Days never go back, even when the clock does.
    fn next(self, day: Date) -> Self {
        if day > self.day {
            return Self { day, number: 1 };
        }
        Self { day: self.day, number: self.number.saturating_add(1) }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "audit-{}-{:06}.ndjson", self.day, self.number)
    }
}

/// The spool files in a folder, oldest first.
pub(super) fn names(folder: &Path) -> Result<Vec<Name>, LedgerError> {
    let listed = || -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for found in folder.read_dir()? {
            names.extend(found?.file_name().to_str().and_then(Name::read));
        }
        names.sort_unstable();
        Ok(names)
    };
    listed().map_err(|cause| LedgerError::io(folder, cause))
}

/// The file written to.
#[derive(Debug)]
struct Current {
    name: Name,
    file: File,
    /// Length of what is durable.
    kept: u64,
    /// Whether something that is not may stand behind it.
    torn: bool,
    /// Whether nothing more goes in: what a failed sync leaves in memory is not to be built upon.
    ended: bool,
}

impl Current {
    /// Whether lines of this day go in here. Not into a file that somebody removed: it ends when we do.
    fn takes(&self, day: Date, file_bytes: u64) -> bool {
        let removed = || self.file.metadata().map_or(true, |metadata| metadata.nlink() == 0);
        !self.ended && self.kept < file_bytes && day <= self.name.day && !removed()
    }
}

/// Spool files in one folder, locked for this process.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    current: Option<Current>,
    file_bytes: u64,
    _lock: File,
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self, LedgerError> {
        Self::open_with(folder, FILE_BYTES)
    }

    pub(super) fn open_with(folder: &Path, file_bytes: u64) -> Result<Self, LedgerError> {
        let say = |cause| LedgerError::io(folder, cause);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(say)?;
        let mode = folder.metadata().map_err(say)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(folder = %folder.display(), "others can look into the folder of audit events");
        }
        let lock = locked(folder)?;
        let mut files = Self { folder: folder.to_owned(), current: None, file_bytes, _lock: lock };
        if let Some(newest) = names(folder)?.last() {
            files.current = Some(files.resume(*newest)?);
        }
        Ok(files)
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// Opens the newest file and cuts off a line that a crash left unfinished.
    fn resume(&self, name: Name) -> Result<Current, LedgerError> {
        let path = self.path(name);
        let resumed = || -> io::Result<Current> {
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            let length = file.metadata()?.len();
            let kept = whole_lines(&file, length)?;
            if kept < length {
                file.set_len(kept)?;
                file.sync_all()?;
                let bytes = length.saturating_sub(kept);
                tracing::warn!(file = %path.display(), bytes, "cut off an unfinished audit event");
            }
            file.seek(SeekFrom::Start(kept))?;
            Ok(Current { name, file, kept, torn: false, ended: false })
        };
        resumed().map_err(|cause| LedgerError::io(&path, cause))
    }

    /// The file that lines of this day go into.
    fn fit(&mut self, day: Date) -> Result<&mut Current, LedgerError> {
        self.mend()?;
        let next = match self.current.take() {
            Some(current) if current.takes(day, self.file_bytes) => return Ok(self.current.insert(current)),
            Some(current) => {
                let next = current.name.next(day);
                // Kept until its successor stands, so that another attempt goes on from here.
                self.current = Some(current);
                next
            }
            None => Name { day, number: 1 },
        };
        let created = self.create(next)?;
        Ok(self.current.insert(created))
    }

    fn create(&self, name: Name) -> Result<Current, LedgerError> {
        let path = self.path(name);
        let created = || -> io::Result<Current> {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            // The name must be as durable as the lines under it.
            if let Err(cause) = File::open(&self.folder).and_then(|folder| folder.sync_all()) {
                // Empty, and in the way of the next attempt.
                let _ = std::fs::remove_file(&path);
                return Err(cause);
            }
            Ok(Current { name, file, kept: 0, torn: false, ended: false })
        };
        created().map_err(|cause| LedgerError::io(&path, cause))
    }

    /// Cuts off what a failed attempt may have left.
    fn mend(&mut self) -> Result<(), LedgerError> {
        let Some(current) = self.current.as_mut().filter(|current| current.torn) else { return Ok(()) };
        let kept = current.kept;
        let cut = |file: &mut File| -> io::Result<()> {
            file.set_len(kept)?;
            file.seek(SeekFrom::Start(kept))?;
            file.sync_all()
        };
        match cut(&mut current.file) {
            Ok(()) => {
                current.torn = false;
                Ok(())
            }
            Err(cause) => {
                let name = current.name;
                Err(LedgerError::io(&self.path(name), cause))
            }
        }
    }
}

impl Spool for Files {
    fn append(&mut self, lines: &[u8], day: Date) -> Result<(), LedgerError> {
        let current = self.fit(day)?;
        current.torn = true;
        let mut written = current.file.write_all(lines);
        if written.is_ok() {
            written = current.file.sync_data();
            current.ended = written.is_err();
        }
        match written {
            Ok(()) => {
                current.torn = false;
                current.kept = current.kept.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
                Ok(())
            }
            Err(cause) => {
                let name = current.name;
                // At once if possible, or else before the next line: what failed must not stay.
                let _ = self.mend();
                Err(LedgerError::io(&self.path(name), cause))
            }
        }
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        self.mend()?;
        let path = self.folder.join("probe");
        let kept = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&[b'\n'; 4096])?;
            file.sync_data()?;
            std::fs::remove_file(&path)
        };
        kept().map_err(|cause| LedgerError::io(&path, cause))
    }
}

/// Keeps a second gateway, or the old one still draining, out of the folder.
fn locked(folder: &Path) -> Result<File, LedgerError> {
    let path = folder.join("lock");
    let say = |cause| LedgerError::io(&path, cause);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(say)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(say(cause)),
    }
}

/// The length up to and including the last line feed.
fn whole_lines(file: &File, length: u64) -> io::Result<u64> {
    let mut block = [0; 8192];
    let size = u64::try_from(block.len()).unwrap_or(u64::MAX);
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(size);
        let part = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let read = block.get_mut(..part).unwrap_or_default();
        file.read_exact_at(read, start)?;
        if let Some(place) = memchr::memrchr(b'\n', read) {
            return Ok(start.saturating_add(u64::try_from(place).unwrap_or(0)).saturating_add(1));
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    use std::path::Path;

    use jiff::civil::{Date, date};

    use super::{Files, Name, Spool as _};
    use crate::ledger::LedgerError;
    use crate::ledger::tests::Folder;

    const DAY: Date = date(2026, 3, 1);

    fn files(folder: &Path) -> Vec<(String, String)> {
        let names = super::names(folder).unwrap();
        names.iter().map(|name| (name.to_string(), content(&folder.join(name.to_string())))).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the test looks at what was written")]
    fn content(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn names_sort_by_time() {
        let table = [
            ("audit-2026-03-01-000001.ndjson", true),
            ("audit-2026-03-01-1.ndjson", false),
            ("audit-2026-02-30-000001.ndjson", false),
            ("audit-2026-03-01-000001.ndjson.gz", false),
            ("lock", false),
        ];
        for (name, read) in table {
            assert_eq!(
                Name::read(name).map(|name| name.to_string()),
                read.then(|| name.to_owned()),
                "{name}"
            );
        }
        let first = Name { day: DAY, number: 1 };
        let second = first.next(DAY);
        let tomorrow = second.next(date(2026, 3, 2));
        let back = tomorrow.next(DAY);
        let names = [first, second, tomorrow, back].map(|name| name.to_string());
        assert!(names.is_sorted(), "{names:?}");
    }

    /// By size, by day, and never back when the clock goes back.
    #[test]
    fn rotates() {
        let folder = Folder::new();
        let mut spool = Files::open_with(&folder.path, 6).unwrap();
        for (line, day) in [("1\n", 1), ("2\n", 1), ("3\n", 1), ("4\n", 1), ("5\n", 2), ("6\n", 1)] {
            spool.append(line.as_bytes(), date(2026, 3, day)).unwrap();
        }
        let expected = [
            ("audit-2026-03-01-000001.ndjson", "1\n2\n3\n"),
            ("audit-2026-03-01-000002.ndjson", "4\n"),
            ("audit-2026-03-02-000001.ndjson", "5\n6\n"),
        ];
        assert_eq!(files(&folder.path), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert_eq!(mode(&folder.path), 0o700);
        assert_eq!(mode(&folder.path.join(expected[0].0)), 0o600);
    }

    /// A crash may leave part of a line, of any length; what stands before it stays.
    #[test]
    fn mends_a_torn_line() {
        let whole = format!("{}\n", "x".repeat(20_000));
        let long = format!("{whole}{{\"torn");
        let table = [
            ("{}\n{}\n", "{}\n{}\n"),
            ("{}\n{\"a\":", "{}\n"),
            ("{\"a\":", ""),
            ("", ""),
            ("{}\n\0\0\0\0", "{}\n"),
            (&long, &whole),
        ];
        for (left, stays) in table {
            let folder = Folder::new();
            drop(Files::open(&folder.path).unwrap());
            let name = "audit-2026-03-01-000001.ndjson";
            let mut file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(folder.path.join(name))
                .unwrap();
            file.write_all(left.as_bytes()).unwrap();
            let mut spool = Files::open(&folder.path).unwrap();
            spool.append(b"new\n", DAY).unwrap();
            assert_eq!(files(&folder.path), [(name.to_owned(), format!("{stays}new\n"))]);
        }
    }

    /// A full disk (`/dev/full` refuses every byte): the error is told, and nothing of it is left when it works again.
    #[test]
    fn a_full_disk_leaves_nothing() {
        let folder = Folder::new();
        let mut spool = Files::open(&folder.path).unwrap();
        spool.append(b"1\n", DAY).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut spool.current.as_mut().unwrap().file, full);
        // As when the device took half a line before it was full.
        (&good).write_all(b"{\"half").unwrap();
        // `/dev/full` always links, so the spool stays with it.
        for _ in 0..2 {
            let Err(LedgerError::Io { .. }) = spool.append(b"2\n", DAY) else {
                panic!("kept on a full disk")
            };
        }
        assert!(spool.probe().is_err());
        spool.current.as_mut().unwrap().file = good;
        spool.probe().unwrap();
        spool.append(b"3\n", DAY).unwrap();
        assert_eq!(files(&folder.path), [("audit-2026-03-01-000001.ndjson".to_owned(), "1\n3\n".to_owned())]);
    }

    /// After a failed sync the file is left alone, and the next lines go to a new one.
    #[test]
    fn a_failed_sync_ends_the_file() {
        let folder = Folder::new();
        let mut spool = Files::open(&folder.path).unwrap();
        spool.append(b"1\n", DAY).unwrap();
        let current = spool.current.as_mut().unwrap();
        current.file.write_all(b"2\n").unwrap();
        (current.torn, current.ended) = (true, true);
        spool.append(b"3\n", DAY).unwrap();
        let contents: Vec<_> = files(&folder.path).into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, ["1\n", "3\n"]);
    }

    /// Lines never go into a file that is gone; when no new one can be made, that is told, and tried again.
    #[test]
    fn a_removed_file_is_not_written_to() {
        let folder = Folder::new();
        let mut spool = Files::open(&folder.path).unwrap();
        spool.append(b"1\n", DAY).unwrap();
        std::fs::remove_file(folder.path.join("audit-2026-03-01-000001.ndjson")).unwrap();
        spool.append(b"2\n", DAY).unwrap();
        assert_eq!(files(&folder.path), [("audit-2026-03-01-000002.ndjson".to_owned(), "2\n".to_owned())]);

        std::fs::remove_dir_all(&folder.path).unwrap();
        assert!(spool.append(b"3\n", DAY).is_err() && spool.probe().is_err());
        std::fs::create_dir(&folder.path).unwrap();
        spool.append(b"4\n", DAY).unwrap();
        assert_eq!(files(&folder.path), [("audit-2026-03-01-000003.ndjson".to_owned(), "4\n".to_owned())]);
    }

    #[test]
    fn one_writer_per_folder() {
        let folder = Folder::new();
        let first = Files::open(&folder.path).unwrap();
        let Err(LedgerError::Locked { path }) = Files::open(&folder.path) else { panic!("two writers") };
        assert_eq!(path, folder.path);
        drop(first);
        Files::open(&folder.path).unwrap();
    }
}
