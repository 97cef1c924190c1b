//! A file of AuditEvents, one JSON object a line.
//!
//! Each batch is appended with one write and one sync, to the file that has the name at that moment: whoever rotates may
//! rename it away. A write that fails is taken back. After a start, and after any failure, the end of the file is read: a
//! line that a crash tore is cut off, and an event that is there is not written again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::config::FileSink;
use crate::ledger::Kept;
use crate::sink::SinkError;
use crate::sink::outlet::{Faith, Sent};

/// What is written at once; one event alone may be larger.
const WRITE_BYTES: usize = 4 << 20;

/// How much of the end is looked through for events: more than was ever written without being noted.
const TAIL_BYTES: u64 = 64 << 20;

/// How every line begins.
const BEGINNING: &[u8] = br#"{"resourceType":"AuditEvent""#;

/// Waits for another process that writes.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// A file.
pub(super) struct Lines {
    settings: FileSink,
    faith: Faith,
    look: Look,
}

/// What is looked through for events before writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Everything,
    Nowhere,
    Tail,
}

impl Lines {
    /// The most events that are written at once.
    pub(super) const BATCH: usize = 500;

    /// Opens nothing yet. Whoever writes old events (`Faith::Full`) may find them anywhere in the file.
    pub(super) fn new(settings: &FileSink, faith: Faith) -> Self {
        Self { settings: settings.clone(), faith, look: first_look(faith) }
    }

    /// Appends events; not always all of them.
    pub(super) async fn send(&mut self, events: Vec<Kept>) -> Sent {
        let (settings, look) = (self.settings.clone(), self.look);
        let written = tokio::task::spawn_blocking(move || append(&settings, &events, look)).await;
        let ended = |_| SinkError::file(&self.settings.path, &io::Error::other("the writer ended badly"));
        match written.map_err(ended).and_then(|written| written) {
            Ok(through) => {
                self.look = if self.faith == Faith::Full { Look::Everything } else { Look::Nowhere };
                Sent { out: through, settled: through, ..Sent::default() }
            }
            Err(trouble) => {
                self.look = first_look(self.faith);
                Sent::none(trouble)
            }
        }
    }

    /// Whether it can be written; leaves nothing behind.
    pub(super) async fn try_out(&self) -> Result<(), SinkError> {
        let path = self.settings.path.clone();
        let tried = tokio::task::spawn_blocking(move || {
            if path.exists() {
                return open(&path).map(drop);
            }
            let trial = path.with_extension(format!("trial-{}", std::process::id()));
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&trial);
            made.and_then(|_| std::fs::remove_file(&trial)).map_err(|cause| SinkError::file(&path, &cause))
        });
        let ended = |_| SinkError::file(&self.settings.path, &io::Error::other("the trial ended badly"));
        tried.await.map_err(ended)?
    }
}

fn first_look(faith: Faith) -> Look {
    match faith {
        Faith::Full => Look::Everything,
        Faith::Wary => Look::Tail,
    }
}

/// Appends as many events as fit into one write; the number of the last one that is there then.
fn append(settings: &FileSink, events: &[Kept], look: Look) -> Result<Option<u64>, SinkError> {
    let say = |cause: io::Error| SinkError::file(&settings.path, &cause);
    let mut file = open(&settings.path)?;
    locked(&file, &settings.path)?;
    let before = mended(&mut file).map_err(say)?;
    let known = match look {
        Look::Everything => known(&mut file, 0, events).map_err(say)?,
        Look::Nowhere => HashSet::new(),
        Look::Tail => known(&mut file, before.saturating_sub(TAIL_BYTES), events).map_err(say)?,
    };
    let mut text = Vec::new();
    let mut through = None;
    for event in events {
        let id = event.id();
        if !known.contains(&id) {
            let line = event.entry.to_audit_event_in(settings.fhir_version, Some(&id)).to_string();
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        through = Some(event.sequence);
        if text.len() >= WRITE_BYTES {
            break;
        }
    }
    if let Err(cause) = kept(&mut file, &text, (&settings.path, before)) {
        // What was not synced may be lost although it can be read.
        drop(file.set_len(before));
        return Err(say(cause));
    }
    Ok(through)
}

/// Writes, and returns once it is durable; of a new file also its name.
fn kept(file: &mut File, text: &[u8], (path, before): (&Path, u64)) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    file.write_all(text)?;
    file.sync_data()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if before == 0 {
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, SinkError> {
    // To open a pipe would wait for its reader.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(SinkError::file(path, &io::Error::other("it is no regular file")));
    }
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    opened.map_err(|cause| SinkError::file(path, &cause))
}

/// Waits for another process that writes, such as `pforte audit resend`; the lock ends with the file.
fn locked(file: &File, path: &Path) -> Result<(), SinkError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN),
            Err(TryLockError::Error(cause)) => return Err(SinkError::file(path, &cause)),
        }
    }
    Err(SinkError::Locked { path: path.to_owned() })
}

/// Cuts off a last line that was not written to its end; gives the length of the file.
fn mended(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(length.saturating_sub(1)))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == [b'\n'] {
        return Ok(length);
    }
    let from = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut tail)?;
    let line = memchr::memrchr(b'\n', &tail).map_or(0, |at| at.saturating_add(1));
    let torn = tail.get(line..).unwrap_or_default();
    // Some other file must not lose its end to a mistyped path.
    let blank = torn.iter().all(|byte| *byte == 0);
    if !(blank || torn.starts_with(BEGINNING) || BEGINNING.starts_with(torn)) {
        return Err(io::Error::other("its last line is no AuditEvent: it is another's file"));
    }
    let whole = from.saturating_add(u64::try_from(line).unwrap_or(0));
    file.set_len(whole)?;
    file.sync_data()?;
    Ok(whole)
}

/// Which of the events are in the file from there on.
fn known(file: &mut File, from: u64, events: &[Kept]) -> io::Result<HashSet<String>> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
    }
    let wanted: HashSet<String> = events.iter().map(Kept::id).collect();
    let mut found = HashSet::new();
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        // The first line may be a half, and others may be of another's.
        let id = serde_json::from_slice::<Line>(&line).map(|line| line.id);
        found.extend(id.ok().filter(|id| wanted.contains(id)));
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::fhir::FhirVersion;
    use crate::sink::tests::{Folder, event, text};

    fn settings(path: PathBuf) -> FileSink {
        FileSink { path, fhir_version: FhirVersion::R4 }
    }

    fn ids(path: &Path) -> Vec<String> {
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone();
        text(path).lines().map(|line| id(line).as_str().unwrap().to_owned()).collect()
    }

    async fn sent(lines: &mut Lines, numbers: std::ops::RangeInclusive<u64>) -> Sent {
        lines.send(numbers.map(event).collect()).await
    }

    /// Once each, whatever was torn or written without being noted; only the owner reads.
    #[tokio::test]
    async fn each_event_is_there_once() {
        let folder = Folder::new();
        let path = folder.path.join("audit.ndjson");
        let all: Vec<String> = (1..=4).map(|number| event(number).id()).collect();
        let mut lines = Lines::new(&settings(path.clone()), Faith::Wary);
        assert_eq!(sent(&mut lines, 1..=2).await.settled, Some(2));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let whole = text(&path);
        let torn: [&[u8]; 4] =
            [b"", br#"{"resourceTy"#, br#"{"resourceType":"AuditEvent","id":"x"#, &[0; 700]];
        for end in torn {
            std::fs::write(&path, [whole.as_bytes(), end].concat()).unwrap();
            let mut lines = Lines::new(&settings(path.clone()), Faith::Wary);
            assert_eq!(sent(&mut lines, 1..=4).await.settled, Some(4));
            assert_eq!(ids(&path), all, "after {}", String::from_utf8_lossy(end));
        }
    }

    /// Renamed away, the next batch begins a new file; a failure is no loss.
    #[tokio::test]
    async fn the_name_is_what_counts() {
        let folder = Folder::new();
        let (path, old) = (folder.path.join("audit.ndjson"), folder.path.join("audit.ndjson.1"));
        let mut lines = Lines::new(&settings(path.clone()), Faith::Wary);
        sent(&mut lines, 1..=2).await;
        std::fs::rename(&path, &old).unwrap();
        sent(&mut lines, 3..=3).await;
        assert_eq!((ids(&old).len(), ids(&path)), (2, vec![event(3).id()]));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let failed = sent(&mut lines, 4..=4).await;
        assert!(failed.settled.is_none() && failed.trouble.is_some());
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(sent(&mut lines, 4..=4).await.settled, Some(4));
        assert_eq!(ids(&path), [event(4).id()]);
    }

    /// A mistyped path costs nobody the end of a file; events of old are found wherever they are.
    #[tokio::test]
    async fn a_file_of_another_is_left_alone() {
        let folder = Folder::new();
        let path = folder.path.join("notes.txt");
        std::fs::write(&path, "first\nsecond").unwrap();
        let mut lines = Lines::new(&settings(path.clone()), Faith::Wary);
        assert!(sent(&mut lines, 1..=1).await.trouble.is_some());
        assert_eq!(text(&path), "first\nsecond");
        std::fs::write(&path, "first\n").unwrap();
        let mut again = Lines::new(&settings(path.clone()), Faith::Full);
        sent(&mut again, 1..=2).await;
        sent(&mut again, 1..=3).await;
        assert_eq!(text(&path).lines().count(), 4);
    }

    /// Whoever else writes is waited for.
    #[tokio::test]
    async fn two_writers_take_turns() {
        let folder = Folder::new();
        let path = folder.path.join("audit.ndjson");
        let held = open(&path).unwrap();
        held.lock().unwrap();
        let mut lines = Lines::new(&settings(path.clone()), Faith::Wary);
        let sending = tokio::spawn(async move { sent(&mut lines, 1..=1).await });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(sending.await.unwrap().settled, Some(1));
        assert_eq!(ids(&path).len(), 1);
    }
}
