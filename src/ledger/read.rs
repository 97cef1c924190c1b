//! Reads recorded events back, oldest first.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::vec;

use serde_json::Value;

use crate::ledger::LedgerError;
use crate::ledger::spool::{Name, names};

/// The events in a folder, oldest first. A file is opened when it is its turn.
#[derive(Debug)]
pub struct Events {
    folder: PathBuf,
    files: vec::IntoIter<Name>,
    current: Option<Lines>,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: usize,
}

/// The events recorded in `folder`, also while a gateway writes there: a line it has not finished is left out.
///
/// # Errors
/// When the folder cannot be listed.
pub fn read(folder: &Path) -> Result<Events, LedgerError> {
    Ok(Events { folder: folder.to_owned(), files: names(folder)?.into_iter(), current: None })
}

impl Iterator for Events {
    /// A line that cannot be read is an error, and the next item is the next line.
    type Item = Result<Value, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(lines) = &mut self.current {
                match lines.next() {
                    Some(Ok(event)) => return Some(Ok(event)),
                    Some(Err(error)) => {
                        // A file that cannot be read on would fail for ever.
                        if matches!(error, LedgerError::Io { .. }) {
                            self.current = None;
                        }
                        return Some(Err(error));
                    }
                    None => self.current = None,
                }
            }
            let path = self.folder.join(self.files.next()?.to_string());
            match File::open(&path) {
                Ok(file) => self.current = Some(Lines { path, reader: BufReader::new(file), line: 0 }),
                Err(cause) => return Some(Err(LedgerError::io(&path, cause))),
            }
        }
    }
}

impl Lines {
    fn next(&mut self) -> Option<Result<Value, LedgerError>> {
        let mut line = Vec::new();
        if let Err(cause) = self.reader.read_until(b'\n', &mut line) {
            return Some(Err(LedgerError::io(&self.path, cause)));
        }
        if line.last() != Some(&b'\n') {
            return None;
        }
        self.line = self.line.saturating_add(1);
        let event = serde_json::from_slice::<Value>(&line).ok().filter(Value::is_object);
        Some(event.ok_or_else(|| LedgerError::Unreadable { path: self.path.clone(), line: self.line }))
    }
}
