//! The gateway is killed at random points under load, again and again, over the same folder of audit events; what clients
//! and the backend saw of it is then held against what was recorded (AUD-1, AUD-7).
//!
//! - Every answer that a client received to its end has its events, with the status and reason that the client saw.
//! - No event is torn, none is there twice, and the chain holds; nothing that was once verified changes later.
//! - Every write that reached the backend has an event, be it one that says that its end is not known.
//!
//! `PFORTE_CRASH_SEED` repeats a run's choices (not its timing), `PFORTE_CRASH_ROUNDS` makes it longer than a hundred
//! kills. Runs for about a minute.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "a seed is taken from the environment, or else from the clock"
)]

#[expect(dead_code, reason = "enforcement uses the rest")]
#[path = "enforcement/chance.rs"]
mod chance;
#[expect(dead_code, reason = "journeys use the rest")]
#[path = "journeys/house.rs"]
mod house;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/told.rs"]
mod told;
#[path = "crash/torn.rs"]
mod torn;

#[expect(dead_code, reason = "journeys use the rest")]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chance::Chance;
use house::{House, Plan};
use load::Load;
use serde_json::Value;
use support::Findings;
use told::Told;

/// Kills of a run.
const ROUNDS: usize = 100;

/// Shortest and longest time under load before a kill.
const LOAD: (usize, usize) = (120, 420);

/// In so many of a hundred rounds the gateway is killed while it starts as well.
const AT_START: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seed() -> u64 {
    let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.subsec_nanos().into());
    let seed = number("PFORTE_CRASH_SEED").unwrap_or_else(clock);
    println!("crash: PFORTE_CRASH_SEED={seed}");
    seed
}

/// A house whose gateway logs no more than it must: it is killed before it could be asked.
async fn quiet_house() -> House {
    let mut house = House::open(Plan::default()).await;
    house.rewrite(&house.settings("log = \"debug\"", "log = \"warn\""));
    house.gateway.restart(&Findings::default());
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_hundred_kills_lose_nothing() {
    let rounds =
        number("PFORTE_CRASH_ROUNDS").and_then(|count| usize::try_from(count).ok()).unwrap_or(ROUNDS);
    let (mut chance, begun) = (Chance::new(seed()), Instant::now());
    let mut house = quiet_house().await;
    let folder = house.gateway.folder.join("audit");
    let load = Arc::new(Load::new(&house));
    let (mut told, mut known, mut at_start) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        if round > 0 {
            tokio::task::block_in_place(|| house.gateway.start());
        }
        let workers = load.begin(round, &mut chance);
        tokio::time::sleep(Duration::from_millis(between(&mut chance, LOAD))).await;
        // In the middle of whatever it does.
        tokio::task::block_in_place(|| {
            house.gateway.signal("KILL");
            house.gateway.ended(&Findings::default());
        });
        told.extend(workers.end().await);
        if chance.percent(AT_START) {
            tokio::task::block_in_place(|| killed_at_start(&house.gateway.folder, &mut chance));
            at_start += 1;
        }
        if round % 8 == 7 {
            known.push(verified(&folder, &known, &house.findings));
        }
    }
    // What the last kill interrupted is recorded at the next start.
    tokio::task::block_in_place(|| house.gateway.start());
    house.gateway.terminate(&house.findings);
    verified(&folder, &known, &house.findings);
    let tally = told::hold(&told, &house.demo.fhir.log(), &folder, &house.findings);
    tally.has_every_kind(&house.findings);
    println!(
        "crash: {rounds} kills under load and {at_start} at the start in {:.1?}: {tally}",
        begun.elapsed()
    );
    finish(&house);
}

fn between(chance: &mut Chance, (least, most): (usize, usize)) -> u64 {
    u64::try_from(least + chance.below(most - least)).expect("a small number")
}

/// Starts the gateway and kills it before, while or shortly after it opens its events.
fn killed_at_start(folder: &Path, chance: &mut Chance) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the gateway runs");
    std::thread::sleep(Duration::from_millis(between(chance, (0, 150))));
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
}

/// Lets the program verify the chain, and that it goes on from what was verified before; gives its head.
fn verified(folder: &Path, known: &[String], findings: &Findings) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pforte"));
    command.args(["audit", "verify", "--format", "json", "--path"]).arg(folder);
    known.iter().for_each(|head| {
        command.args(["--known", head]);
    });
    let output = command.output().expect("the program runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    findings.check(
        output.status.code() == Some(0),
        format!("`audit verify` ends with {}: {said}", output.status),
    );
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    verified["head"].as_str().unwrap_or("no head").to_owned()
}

/// Fails with everything that was found.
fn finish(house: &House) {
    let found = house.findings.take();
    let log = house.gateway.log();
    assert!(!log.contains("panicked"), "the log tells of a panic:\n{log}");
    assert!(found.is_empty(), "{} findings\n  {}", found.len(), found.join("\n  "));
}

/// Every told answer of a round, for the tests beside this one.
async fn one_round(house: &mut House, chance: &mut Chance) -> Vec<Told> {
    let load = Arc::new(Load::new(house));
    let workers = load.begin(0, chance);
    tokio::time::sleep(Duration::from_millis(600)).await;
    tokio::task::block_in_place(|| {
        house.gateway.signal("KILL");
        house.gateway.ended(&Findings::default());
    });
    workers.end().await
}
