//! Connections that are kept between requests: `idle_timeout` is theirs, `header_timeout` that of a head that was begun
//! (HTTP-14).

use std::time::{Duration, Instant};

use crate::house::House;
use crate::place::{besieged, get, t1};
use crate::wire::{End, PATIENCE, Wire, statuses};

/// Asks, and reads the answer.
async fn asked(house: &House, wire: &mut Wire) -> Vec<u16> {
    wire.say(get(house, "/fhir/Patient/p1", &t1(house)).as_bytes()).await;
    let (read, _) = wire.rest(Duration::from_millis(500)).await;
    statuses(&String::from_utf8_lossy(&read))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections() {
    let house = besieged("[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"8s\"").await;
    let mut wire = Wire::open(&house, "http/1.1").await;
    house.findings.check(asked(&house, &mut wire).await == [200], "the first request is not answered");
    // Longer than a head may take, and shorter than a connection may be idle.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let again = asked(&house, &mut wire).await;
    house.findings.check(again == [200], format!("after 3 s of 8 the connection gives {again:?}"));
    // A head that was begun has less time.
    let begun = Instant::now();
    wire.say(b"GET /fhir/Patient/p1 HTTP/1.1\r\nHo").await;
    let (_, end) = wire.rest(PATIENCE).await;
    let took = begun.elapsed();
    house.findings.check(
        end == End::Closed && took < Duration::from_secs(7),
        format!("half a head: {end:?} after {took:?}"),
    );
    // One that comes a byte at a time has no more.
    let mut wire = Wire::open(&house, "http/1.1").await;
    asked(&house, &mut wire).await;
    let begun = Instant::now();
    for byte in get(&house, "/fhir/Patient/p1", "x").bytes().cycle() {
        if begun.elapsed() > Duration::from_secs(7) || !wire.say(&[byte]).await {
            break;
        }
        if wire.closes_within(Duration::from_millis(200)).await {
            break;
        }
    }
    let took = begun.elapsed();
    house.findings.check(took < Duration::from_secs(6), format!("a head in crumbs may take {took:?}"));
    // And one that nobody begins ends too, in order: TLS says so.
    let mut wire = Wire::open(&house, "http/1.1").await;
    asked(&house, &mut wire).await;
    let begun = Instant::now();
    let (_, end) = wire.rest(PATIENCE).await;
    let took = begun.elapsed();
    house.findings.check(
        end == End::Closed && took > Duration::from_secs(5),
        format!("an idle connection: {end:?} after {took:?}"),
    );
    house.close();
}

/// An answer that takes longer than a head may does not count as a wait for the next head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer() {
    let house = besieged("[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"2s\"").await;
    house.demo.fhir.misbehave(pforte::demo::fhir_server::Misbehaviour::Hang);
    let mut wire = Wire::open(&house, "http/1.1").await;
    // Half of the next request is there already.
    let both = format!("{}GET /fhir/Pat", get(&house, "/fhir/Patient/p1", &t1(&house)));
    wire.say(both.as_bytes()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    house.demo.fhir.behave();
    let (read, _) = wire.rest(PATIENCE).await;
    let got = statuses(&String::from_utf8_lossy(&read));
    house.findings.check(got == [200], format!("a slow answer before half a head: {got:?}"));
    house.close();
}
