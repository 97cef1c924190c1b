//! Where the events are.

use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, files};
use crate::config::Audit;
use crate::ledger::Reader;

/// The folder of events, by the configuration or by itself.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration; only its `[audit]` must be in order.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The folder of events, whatever the configuration says; without it none is needed.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

impl Place {
    /// What the configuration says of audit events, with this folder.
    pub(super) fn settings(&self) -> Result<Audit, Failure> {
        let mut audit = files::audit(&self.config)?;
        if let Some(path) = &self.path {
            audit.path.clone_from(path);
        }
        Ok(audit)
    }

    /// The folder.
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.path {
            Some(path) => Ok(path.clone()),
            None => Ok(self.settings()?.path),
        }
    }

    /// The names of the sinks; none are known of a folder without its configuration.
    pub(super) fn sinks(&self) -> Result<Vec<String>, Failure> {
        if self.path.is_some() && !self.config.exists() {
            return Ok(Vec::new());
        }
        Ok(self.settings()?.sinks.into_iter().map(|sink| sink.name).collect())
    }

    /// Reads the events in it.
    pub(super) fn reader(&self) -> Result<Reader, Failure> {
        Reader::open(&self.folder()?).map_err(Failure::work)
    }
}
