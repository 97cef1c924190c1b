//! With an arbitrary, hostile backend, nothing outside the grant leaves: generated grants, requests and answers, held
//! against a second evaluator that was written from the standards alone.
//!
//! `cargo test` tries ten thousand cases, always the same. The long run is
//! `PFORTE_LAW_CASES=1000000 cargo test --release --test enforcement`; `PFORTE_LAW_SEED` is the first seed, so that one
//! case can be tried by itself. A case that breaks a law is printed with its configuration, as `pforte explain --jsonl`
//! reads it.
#![cfg(test)]

#[path = "enforcement/ask.rs"]
mod ask;
#[path = "enforcement/backend.rs"]
mod backend;
#[path = "enforcement/bundles.rs"]
mod bundles;
#[path = "enforcement/case.rs"]
mod case;
#[path = "enforcement/chance.rs"]
mod chance;
#[path = "enforcement/checks.rs"]
mod checks;
#[path = "enforcement/compartment.rs"]
mod compartment;
#[path = "enforcement/config.rs"]
mod config;
#[path = "enforcement/criteria.rs"]
mod criteria;
#[path = "enforcement/doubles.rs"]
mod doubles;
#[path = "enforcement/grants.rs"]
mod grants;
#[path = "enforcement/honest.rs"]
mod honest;
#[path = "enforcement/laws.rs"]
mod laws;
#[path = "enforcement/mended.rs"]
mod mended;
#[path = "enforcement/naive.rs"]
mod naive;
#[path = "enforcement/queries.rs"]
mod queries;
#[path = "enforcement/records.rs"]
mod records;
#[path = "enforcement/requests.rs"]
mod requests;
#[path = "enforcement/run.rs"]
mod run;
#[path = "enforcement/tables.rs"]
mod tables;
#[path = "enforcement/time.rs"]
mod time;
#[path = "enforcement/useful.rs"]
mod useful;
#[path = "enforcement/vocabulary.rs"]
mod vocabulary;
#[path = "enforcement/world.rs"]
mod world;
#[path = "enforcement/writes.rs"]
mod writes;
#[path = "enforcement/writing.rs"]
mod writing;

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "how long to try is up to whoever runs the test")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// All laws, on as many cases as there is time for.
#[test]
fn nothing_outside_the_grant_leaves() {
    let configs = run::configs();
    let (first, cases) = (number("PFORTE_LAW_SEED", 0), number("PFORTE_LAW_CASES", 10_000));
    let report = run::run(&run::Program::new(&configs), &configs, first..first + cases);
    println!("{:#?}", report.tally);
    assert!(report.broken.is_empty(), "{}", report.text(&configs));
}
