//! Pforte beside nginx, HAProxy and Apache, each with one worker on one core; load, FHIR server and authorization server on
//! another. `deploy/bench/run` obtains what it needs and runs it; `--help` there says what it takes.
//!
//! The figure that counts is CPU time for an answer, of the contestant alone: it does not depend on what the load costs, and
//! little on the neighbours. Contestants take turns, and ratios are those of turns that follow one another.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for people: it ends with words, and prints tables"
)]

#[path = "peers/audit.rs"]
mod audit;
#[path = "peers/authority.rs"]
mod authority;
#[path = "peers/client.rs"]
mod client;
#[path = "peers/contestant.rs"]
mod contestant;
#[path = "peers/limits.rs"]
mod limits;
#[path = "peers/load.rs"]
mod load;
#[path = "peers/machine.rs"]
mod machine;
#[path = "peers/options.rs"]
mod options;
#[path = "peers/plot.rs"]
mod plot;
#[path = "../tests/support/proof.rs"]
mod proof;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/rounds.rs"]
mod rounds;
#[path = "peers/setting.rs"]
mod setting;
#[path = "peers/standing.rs"]
mod standing;
#[path = "peers/work.rs"]
mod work;

use std::process::ExitCode;

use client::Client;
use contestant::Peer;
use options::Options;
use report::Results;
use setting::Setting;
use standing::{PARTS, Stand};
use tokio::task::LocalSet;
use work::{Purse, WORKS, Work};

/// The product's: what serves with and without the ledger must not differ from it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if let Some(ledger) = audit::Kept::asked_for() {
        return audit::serve(ledger);
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("peers: {complaint}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        print!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    if options.list {
        for (name, title) in WORKS.iter().map(|work| (work.name, work.title)).chain(others()) {
            println!("{name:14} {title}");
        }
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("peers: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The parts that are not works.
fn others() -> impl Iterator<Item = (&'static str, &'static str)> {
    PARTS.iter().copied().chain([audit::PART])
}

fn run(options: &Options) -> Result<(), String> {
    let known = |name: &str| {
        WORKS.iter().map(|work| work.name).chain(others().map(|(name, _)| name)).any(|known| known == name)
    };
    if let Some(name) = options.only.iter().find(|name| !known(name)) {
        return Err(format!("`{name}` is no part: --list shows them"));
    }
    let asked = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let works: Vec<&Work> = WORKS.iter().filter(|work| asked(work.name)).collect();
    let present = present()?;
    let (core, load_core) = options.cores;
    machine::pin(load_core);
    let gateway = options.gateway.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_pforte").to_owned());
    let gateway = std::path::absolute(&gateway).map_err(|error| error.to_string())?.display().to_string();
    let setting = Setting::prepare(gateway, core, load_core);
    let purse = Purse::filled(&setting, &works);
    let client = Client::new(rustls::crypto::aws_lc_rs::kx_group::X25519);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut results = Results::default();
    for (number, work) in works.iter().enumerate() {
        eprintln!("peers: work {} of {}: {} …", number + 1, works.len(), work.name);
        let measuring = rounds::measure((&setting, &client, &purse), work, &present, options.effort);
        let figures = LocalSet::new().block_on(&runtime, measuring)?;
        println!("\n{}", report::work(work, &figures));
        results.works.push((work.name, figures));
    }
    let stand = Stand {
        setting: &setting,
        client: &client,
        purse: &purse,
        present: &present,
        effort: options.effort,
    };
    for (part, title) in PARTS.iter().filter(|(name, _)| asked(name)) {
        eprintln!("peers: {title} …");
        let figures = LocalSet::new().block_on(&runtime, stand.measure(part))?;
        println!("\n{}", report::figures(&figures));
        results.figures.extend(figures);
    }
    if asked(audit::PART.0) {
        eprintln!("peers: audit on and off …");
        let (table, figures) = LocalSet::new().block_on(&runtime, audit::measure(&stand))?;
        println!("\n{table}");
        results.audit = Some(table);
        results.figures.extend(figures);
    }
    println!("\n{}", report::limits(&results));
    let whole = !options.quick && options.only.is_empty();
    if whole || options.write { report::write(&results, &present) } else { Ok(()) }
}

/// Who can take part: nginx must, for the FHIR server is one.
fn present() -> Result<Vec<Peer>, String> {
    let there = |peer: &Peer| *peer == Peer::Pforte || machine::version(peer.program()).is_some();
    let present: Vec<Peer> = Peer::ALL.into_iter().filter(there).collect();
    if !present.contains(&Peer::Nginx) {
        return Err("nginx is not installed: apt-get install nginx-light".to_owned());
    }
    for absent in Peer::ALL.iter().filter(|peer| !present.contains(peer)) {
        eprintln!("peers: without {}, which is not installed", absent.name());
    }
    Ok(present)
}
