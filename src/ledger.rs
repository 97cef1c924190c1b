//! Where audit events are written: a folder of NDJSON files, durable before an answer leaves (AUD-1).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::audit::Entry;
use crate::config::Audit;

const QUEUE: usize = 4096;
const BATCH: usize = 512;

/// Why an event was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The folder cannot be written to.
    #[error("`audit.path` is `{0}`: {1}")]
    Folder(PathBuf, String),
    /// The disk refused.
    #[error("the audit file cannot be written: {0}")]
    Write(String),
    /// Too many events wait.
    #[error("too many audit events wait to be written")]
    Full,
    /// The ledger is closed.
    #[error("the ledger is closed")]
    Closed,
}

struct Waiting {
    lines: Vec<u8>,
    done: oneshot::Sender<Result<(), LedgerError>>,
}

/// The open ledger.
pub struct Ledger {
    queue: Mutex<Option<SyncSender<Waiting>>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    last_error: Arc<Mutex<Option<String>>>,
    observer: String,
}

/// How the ledger is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// What went wrong at the last write.
    pub last_error: Option<String>,
}

impl Ledger {
    /// Opens the folder.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn open(settings: &Audit, observer: &str) -> Result<Self, LedgerError> {
        let wrong = |error: io::Error| LedgerError::Folder(settings.path.clone(), error.to_string());
        std::fs::create_dir_all(&settings.path).map_err(wrong)?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(settings.path.join("audit.ndjson"))
            .map_err(wrong)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let last_error = Arc::new(Mutex::new(None));
        let errors = Arc::clone(&last_error);
        let writer = std::thread::spawn(move || write(file, &waiting, &errors));
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            last_error,
            observer: observer.into(),
        })
    }

    /// Records events; returns when they are durable.
    ///
    /// # Errors
    /// When they are not.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        let mut lines = Vec::new();
        for entry in entries {
            lines.extend_from_slice(entry.to_audit_event(&self.observer).to_string().as_bytes());
            lines.push(b'\n');
        }
        let (done, wait) = oneshot::channel();
        let queue = self.queue.lock().ok().and_then(|queue| queue.clone()).ok_or(LedgerError::Closed)?;
        queue.try_send(Waiting { lines, done }).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Full,
            TrySendError::Disconnected(_) => LedgerError::Closed,
        })?;
        drop(queue);
        wait.await.map_err(|_| LedgerError::Closed)?
    }

    /// Writes what waits and closes.
    ///
    /// # Errors
    /// Never, so far.
    pub async fn close(&self) -> Result<(), LedgerError> {
        drop(self.queue.lock().ok().and_then(|mut queue| queue.take()));
        let writer = self.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(writer) = writer {
            let _joined = tokio::task::spawn_blocking(move || writer.join()).await;
        }
        Ok(())
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { last_error: self.last_error.lock().ok().and_then(|error| error.clone()) }
    }
}

fn write(mut file: File, waiting: &Receiver<Waiting>, errors: &Mutex<Option<String>>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match waiting.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|w| w.lines.iter().copied()).collect();
        let outcome = file
            .write_all(&bytes)
            .and_then(|()| file.sync_data())
            .map_err(|e| LedgerError::Write(e.to_string()));
        if let Ok(mut last) = errors.lock() {
            *last = outcome.as_ref().err().map(ToString::to_string);
        }
        for w in batch {
            let _gone = w.done.send(outcome.clone());
        }
    }
}

/// The recorded events, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let file = File::open(path.join("audit.ndjson"))?;
    Ok(BufReader::new(file).lines())
}
