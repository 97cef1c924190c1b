//! Requests at a steady rate, and the introspection calls that they become: identical ones in flight share a call, and an
//! answer is reused as long as the settings say.

#![expect(clippy::print_stdout, reason = "what a bench measures goes to stdout")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pforte::token::{AccessToken, Presented};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::server::{ANSWERS_AFTER, Server};

const SECONDS: u64 = 5;

/// Requests in a second.
const RATE: u64 = 1000;

/// Prints a line for each setting.
pub fn table() {
    println!("\nan answer takes {ANSWERS_AFTER:?} and loopback; {RATE} requests a second for {SECONDS} s\n");
    println!("| `introspection_cache` | tokens in use | requests/s | calls/s | avoided |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for cache in [0, 2, 60] {
        for tokens in [1, 10, 100, 1000] {
            let (requests, calls) = runtime.block_on(measure(Duration::from_secs(cache), tokens));
            let avoided = 100.0 * (1.0 - calls / requests);
            println!("| {cache} s | {tokens} | {requests:.0} | {calls:.0} | {avoided:.1} % |");
        }
    }
}

/// Requests and calls in a second.
async fn measure(cache: Duration, tokens: u64) -> (f64, f64) {
    let server = Server::start(&[]).await;
    let issuers = Arc::new(server.issuers(server.opaque(cache)));
    issuers.refresh().await;
    let served = Arc::new(AtomicU64::new(0));
    let mut flying = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for number in 0..RATE * SECONDS {
        pace.tick().await;
        let (issuers, served) = (Arc::clone(&issuers), Arc::clone(&served));
        // Spread over the tokens without a pattern: a multiplier of Knuth's.
        let token = number.wrapping_mul(2_654_435_761) % 1_000_003 % tokens;
        flying.spawn(async move {
            let token = AccessToken::new(&format!("opaque-{token:030}")).expect("a token");
            issuers.verify(&Presented::Bearer(token), super::now()).await.expect("an active token");
            served.fetch_add(1, Ordering::Relaxed);
        });
        while flying.try_join_next().is_some() {}
    }
    while let Some(done) = flying.join_next().await {
        done.expect("served");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let each = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
    (each(served.load(Ordering::Relaxed)), each(server.asked()))
}
