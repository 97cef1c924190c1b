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

#[path = "peers/authority.rs"]
mod authority;
#[path = "peers/client.rs"]
mod client;
#[path = "peers/contestant.rs"]
mod contestant;
#[path = "peers/load.rs"]
mod load;
#[path = "peers/machine.rs"]
mod machine;
#[path = "peers/options.rs"]
mod options;
#[path = "../tests/support/proof.rs"]
mod proof;
#[path = "peers/rounds.rs"]
mod rounds;
#[path = "peers/setting.rs"]
mod setting;
#[path = "peers/work.rs"]
mod work;

use std::process::ExitCode;

use client::Client;
use contestant::Peer;
use options::Options;
use rounds::Figures;
use setting::Setting;
use tokio::task::LocalSet;
use work::{Purse, WORKS, Work};

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
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
        for work in WORKS {
            println!("{:16} {}", work.name, work.title);
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

fn run(options: &Options) -> Result<(), String> {
    let works = chosen(options)?;
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
    for (number, work) in works.iter().enumerate() {
        eprintln!("peers: {} of {}: {} …", number + 1, works.len(), work.name);
        let measuring = rounds::measure((&setting, &client, &purse), work, &present, options.effort);
        let figures = LocalSet::new().block_on(&runtime, measuring)?;
        show(work, &figures);
    }
    Ok(())
}

/// The works that were asked for.
fn chosen(options: &Options) -> Result<Vec<&'static Work>, String> {
    let unknown = options.only.iter().find(|name| !WORKS.iter().any(|work| work.name == **name));
    if let Some(name) = unknown {
        return Err(format!("`{name}` is no part: --list shows them"));
    }
    let asked = |work: &&Work| options.only.is_empty() || options.only.iter().any(|name| name == work.name);
    Ok(WORKS.iter().filter(asked).collect())
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

fn show(work: &Work, figures: &[Figures]) {
    println!("\n{}\n", work.title);
    println!("| contestant | CPU µs/answer | times nginx | answers/s | p50 | p99 |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let nginx = figures.iter().find(|figures| figures.entrant.peer == Peer::Nginx);
    for one in figures {
        let ratio = nginx.map_or(0.0, |nginx| rounds::median(&one.cpu) / rounds::median(&nginx.cpu));
        let latency = |at: Option<std::time::Duration>| {
            at.map_or("–".to_owned(), |time| format!("{:.2} ms", time.as_secs_f64() * 1e3))
        };
        println!(
            "| {} | {:.1} | {ratio:.2} | {:.0} | {} | {} |",
            one.entrant.name(),
            rounds::median(&one.cpu),
            rounds::median(&one.rate),
            latency(one.latency.map(|(half, _)| half)),
            latency(one.latency.map(|(_, most)| most)),
        );
    }
}
