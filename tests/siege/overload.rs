//! Too much of everything: connections, descriptors, handshakes, large answers, junk. What is beyond the limits is refused or
//! waits; what is within them goes on (HTTP-14).

use std::time::{Duration, Instant};

use pforte::demo::fhir_server::Misbehaviour;
use tokio::task::JoinSet;

use crate::house::{House, Plan};
use crate::place::{besieged, descriptors, get, people, processor, resident, serves, t1, until};
use crate::wire::{Wire, statuses};

/// DOS-013, small: what an idle connection costs, and that it costs others nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections() {
    const MANY: usize = 300;
    let house = besieged("").await;
    serves(&house, "nothing").await;
    let (before, files) = (resident(&house), descriptors(&house));
    let mut idle = Vec::new();
    for _ in 0..MANY {
        idle.push(Wire::open(&house, "http/1.1").await);
    }
    serves(&house, "idle connections").await;
    let each = resident(&house).saturating_sub(before) / MANY as u64;
    house.findings.check(each < 100, format!("an idle connection costs {each} KiB"));
    drop(idle);
    until("the descriptors come back", || descriptors(&house) <= files + 10).await;
    house.close();
}

/// DOS-014: without descriptors nobody new comes in, the processor rests, and it goes on as soon as there are some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_descriptors_left() {
    let house = besieged("").await;
    serves(&house, "nothing").await;
    let most = descriptors(&house) + 20;
    let limited = std::process::Command::new("prlimit")
        .args([format!("--pid={}", house.gateway.id()), format!("--nofile={most}:{most}")])
        .status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit (util-linux) is needed");
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(tokio::net::TcpStream::connect(house.address).await.expect("the kernel takes it"));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (begun, busy) = (Instant::now(), processor(&house));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = processor(&house) - busy;
    let share = u128::from(spent) * 1000 / begun.elapsed().as_millis().max(1);
    house.findings.check(share < 50, format!("without descriptors it spends {share} % of a processor"));
    house
        .findings
        .check(house.gateway.log().contains("cannot accept"), "nothing tells that there are none left");
    drop(held);
    let begun = Instant::now();
    house.client.ask("GET", "Patient/p1").bearer(&t1(&house)).with("descriptors again").send().await.is(200);
    house.findings.check(begun.elapsed() < Duration::from_secs(10), "it takes long to recover");
    house.close();
}

/// DOS-016: keys of a session that are changed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_updates() {
    let house = besieged("").await;
    let before = resident(&house);
    let mut wire = Wire::open(&house, "http/1.1").await;
    let busy = processor(&house);
    for _ in 0..2000 {
        let (_, session) = wire.0.get_mut();
        if session.refresh_traffic_keys().is_err() || !wire.say(b"").await {
            break;
        }
    }
    serves(&house, "key updates").await;
    let (spent, grown) = (processor(&house) - busy, resident(&house).saturating_sub(before));
    house.findings.check(spent < 500, format!("2000 key updates cost {spent} hundredths of a second"));
    house.findings.check(grown < 16 * 1024, format!("key updates: grew by {grown} KiB"));
    house.close();
}

/// DOS-017, DOS-018, FLT-028: large answers to many at once stream, or are refused before they are held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers() {
    const MANY: usize = 12;
    let house = besieged("[limits]\nchecked_answer_bytes = \"1MiB\"").await;
    serves(&house, "nothing").await;
    for (scope, expected) in [("system/*.rs", 200), ("system/Patient.rs", 502)] {
        let before = resident(&house);
        house.demo.fhir.misbehave(Misbehaviour::Huge(6 << 20));
        let mut clients = JoinSet::new();
        for _ in 0..MANY {
            let asked = house.ask("GET", "Patient?_count=5", scope).with("large");
            clients.spawn(async move { asked.send().await });
        }
        for answer in clients.join_all().await {
            answer.is(expected);
            if expected == 200 && (answer.body.len() < 6 << 20 || answer.broken.is_some()) {
                answer.wrong("the whole answer");
            }
        }
        house.demo.fhir.behave();
        let grown = resident(&house).saturating_sub(before);
        house.findings.check(grown < 48 * 1024, format!("{scope}: 72 MiB of answers, grew by {grown} KiB"));
    }
    serves(&house, "large answers").await;
    house.close();
}

/// DOS-022, FLT-003: as many wait for a slow backend as may, the others are told so at once; what needs no backend goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_is_full() {
    const PLACES: usize = 4;
    let house = besieged("[limits]\nbackend_requests = 4").await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let mut clients = JoinSet::new();
    for _ in 0..PLACES {
        let asked = house.client.ask("GET", "Patient/p1").bearer(&t1(&house)).with("has a place");
        clients.spawn(async move { asked.send().await });
    }
    until("four wait", || house.demo.fhir.seen() == PLACES).await;
    for _ in 0..8 {
        let begun = Instant::now();
        let answer = house.client.ask("GET", "Patient/p1").bearer(&t1(&house)).with("has none").send().await;
        answer.refused(503, "overloaded").has("retry-after", "");
        house.findings.check(begun.elapsed() < Duration::from_secs(5), "a refusal waits");
    }
    let seen = house.demo.fhir.seen();
    house.findings.check(seen == PLACES, format!("{seen} requests at the backend of {PLACES}"));
    house.client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
    house.demo.fhir.behave();
    for answer in clients.join_all().await {
        answer.is(200).holds("Grant");
    }
    serves(&house, "a full backend").await;
    house.close();
}

/// DOS-023, DOS-024: tokens that nobody signed and long targets that nobody may ask for; what each leaves on disk is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk() {
    const MANY: usize = 300;
    let house = House::open(Plan::default()).await;
    people(&house);
    let good = t1(&house);
    let signature = "A".repeat(512);
    let (head, _) = good.rsplit_once('.').expect("a signature");
    let forged = format!("{head}.{signature}");
    let long = format!("/fhir/Observation?code={}", "x".repeat(6000));
    let before = house.gateway.spool().len();
    let mut clients = JoinSet::new();
    let (at, certificate) = (house.address, house.gateway.certificate().to_owned());
    for request in [get(&house, "/fhir/Patient/p1", &forged), get(&house, &long, &forged)] {
        let certificate = certificate.clone();
        clients.spawn(async move {
            let mut wire = Wire::to(at, &certificate, "http/1.1").await.expect("TLS");
            let mut refused = 0;
            for _ in 0..MANY {
                wire.say(request.as_bytes()).await;
                let piece = wire.piece().await;
                refused += usize::from(statuses(&String::from_utf8_lossy(&piece)).first() == Some(&401));
            }
            refused
        });
    }
    for _ in 0..20 {
        serves(&house, "junk").await;
    }
    let refused = clients.join_all().await;
    house.findings.check(refused == [MANY, MANY], format!("junk is answered: {refused:?}"));
    let each = (house.gateway.spool().len() - before) / (2 * MANY);
    house.findings.check(each < 12 * 1024, format!("a refusal leaves {each} bytes of events"));
    house.close();
}

/// DOS-025: many handshakes do not starve a connection that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes() {
    let house = besieged("").await;
    serves(&house, "nothing").await;
    let mut clients = JoinSet::new();
    let (at, certificate) = (house.address, house.gateway.certificate().to_owned());
    for _ in 0..4 {
        let certificate = certificate.clone();
        clients.spawn(async move {
            let mut failed = 0;
            for _ in 0..50 {
                failed += usize::from(Wire::to(at, &certificate, "http/1.1").await.is_err());
            }
            failed
        });
    }
    for _ in 0..20 {
        serves(&house, "handshakes").await;
    }
    let failed: usize = clients.join_all().await.into_iter().sum();
    house.findings.check(failed == 0, format!("{failed} handshakes failed"));
    house.close();
}
