//! How many instructions the steps of a request take. Instructions are exact where times are not, so that a step that
//! became dearer is seen at once: `cargo bench --bench counts` runs every case under valgrind, compares with
//! `benches/counts/baseline.txt` and fails where one takes over three per cent more. `-- --renew` writes the baseline
//! anew, `-- NAME…` counts some cases only.
//!
//! Another compiler makes other instructions: the baseline names the one it was made by, and under another the limit is
//! wider and the output says so. Counted is what happens in [`counted`], so setting up is free.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for people; a case whose setting does not hold has nothing to count"
)]

#[path = "counts/baseline.rs"]
mod baseline;
#[path = "counts/bodies.rs"]
mod bodies;
#[path = "counts/cases.rs"]
mod cases;
#[path = "tokens/server.rs"]
#[expect(dead_code, reason = "nobody is asked about tokens here")]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use baseline::{Baseline, Verdict};
use cases::CASES;

/// What a child is told to do.
const COUNT: &str = "--count";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.split_first() {
        Some((word, _)) if word == "--test" => ExitCode::SUCCESS,
        Some((word, rest)) if word == COUNT => {
            let name = rest.first().expect("a case");
            let (_, case) = CASES.iter().find(|(known, _)| known == name).expect("a known case");
            case();
            ExitCode::SUCCESS
        }
        Some(_) | None => measure(&arguments),
    }
}

/// The one function whose instructions count, with those of all it calls.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

/// A token is valid now.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn measure(arguments: &[String]) -> ExitCode {
    let (options, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    let renew = options.iter().any(|option| *option == "--renew");
    if let Some(wrong) = options.iter().find(|option| *option != &"--renew") {
        eprintln!("counts: `{wrong}` is no option: expected --renew, or names of cases");
        return ExitCode::from(2);
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("counts: valgrind is not installed; on Debian: apt-get install valgrind");
        return ExitCode::FAILURE;
    }
    let mut found = Vec::new();
    for (name, _) in CASES.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        eprintln!("counts: {name} …");
        match instructions(name) {
            Ok(count) => found.push((*name, count)),
            Err(cause) => {
                eprintln!("counts: {name}: {cause}");
                return ExitCode::FAILURE;
            }
        }
    }
    if renew {
        baseline::write(&found);
        println!("counts: wrote {}", baseline::PATH);
        return ExitCode::SUCCESS;
    }
    report(&found)
}

fn report(found: &[(&str, u64)]) -> ExitCode {
    let baseline = Baseline::read();
    if let Some(other) = baseline.other_compiler() {
        println!(
            "counts: the baseline was made by {other}, this is {}: the limit is {} %",
            baseline::compiler(),
            baseline.limit()
        );
    }
    println!("| step | instructions | baseline | apart |");
    println!("| --- | ---: | ---: | ---: |");
    let mut dearer = Vec::new();
    for (name, count) in found {
        let verdict = baseline.judge(name, *count);
        let (before, apart) = match &verdict {
            Verdict::New => ("-".to_owned(), "new".to_owned()),
            Verdict::Within { before, apart } | Verdict::Dearer { before, apart } => {
                (before.to_string(), format!("{apart:+.1} %"))
            }
        };
        println!("| {name} | {count} | {before} | {apart} |");
        if !matches!(verdict, Verdict::Within { .. }) {
            dearer.push(*name);
        }
    }
    if dearer.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "counts: over {} % more than the baseline, or not in it: {}\ncounts: mend: find out why (`valgrind --tool=callgrind`), or say why it must be and renew it: cargo bench --bench counts -- --renew",
        baseline.limit(),
        dearer.join(", ")
    );
    ExitCode::FAILURE
}

/// Runs one case under callgrind.
fn instructions(name: &str) -> Result<u64, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let out: PathBuf = folder.join(format!("counts-{}-{name}.out", std::process::id()));
    let this = std::env::current_exe().map_err(|cause| cause.to_string())?;
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counts::counted*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args([COUNT, name])
        .output()
        .map_err(|cause| cause.to_string())?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let text = std::fs::read_to_string(&out).map_err(|cause| format!("{}: {cause}", out.display()))?;
    let _left = std::fs::remove_file(&out);
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    let total = total.and_then(|total| total.trim().parse().ok()).filter(|total| *total > 0);
    total.ok_or_else(|| "callgrind counted nothing".to_owned())
}
