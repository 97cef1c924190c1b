//! A backend that cannot be reached is left alone for a moment, and found again within seconds (FLT-033).

use std::time::{Duration, Instant};

use pforte::demo::fhir_server::Misbehaviour;

use crate::house::{House, Plan};
use crate::place::{people, t1};
use crate::support::Answer;

const PLAN: Plan = Plan {
    backend: "timeout = \"300ms\"",
    issuer: "",
    tables: "[limits]\nbackend_failures = 3\nbackend_pause = \"1s\"",
    secrets: &[],
};

async fn read(house: &House, words: &str) -> Answer {
    house.client.ask("GET", "Patient/p1").bearer(&t1(house)).with(words).send().await
}

/// Three failures, then refusals at once, without a request to the backend; and the way back.
async fn rests(house: &House, failure: (u16, &str)) {
    for _ in 0..3 {
        read(house, "a failure").await.refused(failure.0, failure.1);
    }
    let before = house.demo.fhir.seen();
    let answer = read(house, "left alone").await;
    answer.refused(503, "backend_resting").has("retry-after", "1");
    let seen = house.demo.fhir.seen() - before;
    house.findings.check(seen == 0, format!("left alone, the backend saw {seen} requests"));
}

async fn comes_back(house: &House) {
    let begun = Instant::now();
    while read(house, "again").await.status != 200 {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(15), "not back after {waited:?}:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..5 {
        read(house, "as before").await.is(200).holds("Grant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_away() {
    let house = House::open(PLAN).await;
    people(&house);
    house.demo.fhir.refuse_connections().await;
    rests(&house, (502, "backend_unreachable")).await;
    house.demo.fhir.accept_connections().await.expect("the port is still free");
    comes_back(&house).await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    rests(&house, (504, "backend_timeout")).await;
    house.demo.fhir.behave();
    comes_back(&house).await;
    // One that hangs up, or answers with errors, is there.
    house.demo.fhir.misbehave(Misbehaviour::Close);
    for _ in 0..6 {
        read(&house, "hangs up").await.refused(502, "backend_unreachable");
    }
    house.demo.fhir.behave();
    read(&house, "well").await.is(200);
    house.close();
}
