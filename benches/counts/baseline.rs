//! What the steps took when they were last agreed on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/baseline.txt");

/// Per cent, with the compiler that made the baseline, and with another.
const LIMITS: (f64, f64) = (3.0, 10.0);

pub struct Baseline {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

pub enum Verdict {
    Dearer { before: u64, apart: f64 },
    New,
    Within { before: u64, apart: f64 },
}

impl Baseline {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(PATH).unwrap_or_default();
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let counts = lines
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)))
            .collect();
        Self { compiler, counts }
    }

    pub fn other_compiler(&self) -> Option<&str> {
        (self.compiler != compiler()).then_some(&self.compiler)
    }

    pub fn limit(&self) -> f64 {
        if self.other_compiler().is_none() { LIMITS.0 } else { LIMITS.1 }
    }

    pub fn judge(&self, name: &str, count: u64) -> Verdict {
        let Some(before) = self.counts.get(name).copied() else { return Verdict::New };
        let apart = (count as f64 / before as f64 - 1.0) * 100.0;
        if apart > self.limit() {
            Verdict::Dearer { before, apart }
        } else {
            Verdict::Within { before, apart }
        }
    }
}

/// Writes what was found over what was known.
pub fn write(found: &[(&str, u64)]) {
    let mut counts = Baseline::read().counts;
    counts.retain(|name, _| crate::CASES.iter().any(|(known, _)| known == name));
    counts.extend(found.iter().map(|(name, count)| ((*name).to_owned(), *count)));
    let mut text = format!("# {}\n", compiler());
    for (name, count) in counts {
        writeln!(text, "{name} {count}").expect("a string takes it");
    }
    std::fs::write(PATH, text).expect("the baseline");
}

/// The compiler in use, such as `rustc 1.95.0`.
pub fn compiler() -> String {
    let said =
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
