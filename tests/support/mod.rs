//! What the whole-house tests share: the gateway as a process, a client that trusts only its certificate, and a list
//! of findings, so that one run shows everything that is wrong.

mod answer;
mod client;
mod gateway;

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use answer::Answer;
pub use client::{Ask, Client};
pub use gateway::Gateway;

/// What was found to be wrong. A test goes on after a finding and fails at its end, with all of them.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Vec<String>>>);

impl Findings {
    /// Writes one down.
    pub fn add(&self, finding: impl Display) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(finding.to_string());
    }

    /// Writes one down unless this holds.
    pub fn check(&self, holds: bool, finding: impl Display) {
        if !holds {
            self.add(finding);
        }
    }

    /// Takes all out.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A new folder for one gateway, below the one Cargo gives to tests.
pub fn folder() -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("house-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder for the gateway");
    path
}
