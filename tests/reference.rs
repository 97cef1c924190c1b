//! The whole house over real TLS: the gateway as a process in front of HAPI FHIR, with tokens of Keycloak and
//! oidc-provider.
//!
//! `cargo test --features reference` runs it; without the feature it is not built, so that it can never pass by being
//! skipped. It starts the reference stack, fetching and building what is missing, and fails when it cannot. Parts run
//! one after the other, because some take a server away; `-- tokens paging` runs only parts whose names have one of these
//! words in them.
#![cfg(test)]

#[path = "reference/bound.rs"]
mod bound;
#[path = "reference/confined.rs"]
mod confined;
#[path = "reference/confined_changes.rs"]
mod confined_changes;
#[path = "reference/confined_pages.rs"]
mod confined_pages;
#[path = "reference/documents.rs"]
mod documents;
#[path = "reference/gematik.rs"]
mod gematik;
#[path = "reference/granular.rs"]
mod granular;
#[path = "reference/house.rs"]
mod house;
#[path = "reference/interactions.rs"]
mod interactions;
#[path = "reference/introspection.rs"]
mod introspection;
#[path = "reference/operations.rs"]
mod operations;
#[path = "reference/outages.rs"]
mod outages;
#[path = "reference/outbound.rs"]
mod outbound;
#[path = "support/proof.rs"]
mod proof;
#[path = "reference/revocation.rs"]
mod revocation;
#[path = "reference/rotation.rs"]
mod rotation;
#[path = "reference/row.rs"]
mod row;
#[path = "reference/searches.rs"]
mod searches;
#[path = "reference/sinks.rs"]
mod sinks;
#[path = "reference/stack.rs"]
mod stack;
#[expect(dead_code, reason = "journeys use the rest")]
mod support;
#[path = "reference/tokens.rs"]
mod tokens;
#[path = "reference/writes.rs"]
mod writes;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use house::House;
use stack::Stack;

/// A part of the test: sends requests and writes down what is wrong.
type Part = for<'a> fn(&'a mut House<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

const PARTS: [(&str, Part); 24] = [
    ("documents", |house| Box::pin(documents::all(house))),
    ("tokens", |house| Box::pin(tokens::accepted(house))),
    ("tokens refused", |house| Box::pin(tokens::refused(house))),
    ("token expiry", |house| Box::pin(tokens::expiry(house))),
    ("bound tokens", |house| Box::pin(bound::all(house))),
    ("introspection", |house| Box::pin(introspection::all(house))),
    ("revocation", |house| Box::pin(revocation::all(house))),
    ("rotation of keys", |house| Box::pin(rotation::all(house))),
    ("client credentials", |house| Box::pin(outbound::own(house))),
    ("token exchange", |house| Box::pin(outbound::exchanged(house))),
    ("interactions", |house| Box::pin(interactions::all(house))),
    ("writes", |house| Box::pin(writes::all(house))),
    ("operations", |house| Box::pin(operations::all(house))),
    ("searches and paging", |house| Box::pin(searches::all(house))),
    ("sinks of audit events", |house| Box::pin(sinks::all(house))),
    ("gematik", |house| Box::pin(gematik::all(house))),
    ("granular scopes", |house| Box::pin(granular::all(house))),
    ("confined reads", |house| Box::pin(confined::all(house))),
    ("confined pages", |house| Box::pin(confined_pages::all(house))),
    ("confined changes", |house| Box::pin(confined_changes::all(house))),
    ("outage of oidc-provider", |house| Box::pin(outages::oidc(house))),
    ("outage of Keycloak", |house| Box::pin(outages::keycloak(house))),
    ("shutdown with requests in flight", |house| Box::pin(outages::shutdown(house))),
    ("outage of HAPI", |house| Box::pin(outages::hapi(house))),
];

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.iter().any(|argument| argument == "--list") {
        PARTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = given.iter().filter(|argument| !argument.starts_with('-')).collect();
    let begun = Instant::now();
    let stack = match Stack::start() {
        Ok(stack) => stack,
        Err(error) => {
            say(&format!("the reference stack does not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    say(&format!("the reference stack serves after {:.1?}", begun.elapsed()));
    let chosen = PARTS
        .iter()
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())));
    let wrong: usize = chosen.map(|(name, part)| run(&stack, name, *part)).sum();
    stack.leave();
    say(&format!("{wrong} findings in {:.1?}", begun.elapsed()));
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one part; how many findings there are.
fn run(stack: &Stack, name: &str, part: Part) -> usize {
    let begun = Instant::now();
    let findings = support::Findings::default();
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut house = House::open(stack, &findings);
            part(&mut house).await;
            house.close();
        });
    }));
    if ran.is_err() {
        findings.add("the part did not come to its end; the panic stands above");
        stack.mend();
    }
    let found = findings.take();
    let verdict = if found.is_empty() { "ok".to_owned() } else { format!("{} FINDINGS", found.len()) };
    say(&format!("{name}: {verdict} in {:.1?}", begun.elapsed()));
    found.iter().for_each(|finding| say(&format!("  {finding}")));
    found.len()
}

/// Progress goes straight to stderr.
fn say(line: &str) {
    writeln!(std::io::stderr(), "reference: {line}").expect("stderr");
}
