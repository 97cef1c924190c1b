//! A long time under mixed load with faults: nothing grows, and every answer is accounted for (FLT-040).
//!
//! Twenty seconds with the other tests; `PFORTE_SOAK_SECONDS=600 cargo test --test siege soak -- --nocapture` for ten minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pforte::demo::fhir_server::Misbehaviour;
use pforte::demo::trouble::Canned;
use pforte::ledger::Reader;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::frames::{END_HEADERS, END_STREAM, H2, HEADERS, RST_STREAM, block, frame};
use crate::house::{House, Plan};
use crate::place::{Asked, Crowd, authority, descriptors, people, resident, serves, t1};

/// What is left of each client: ids of the answers that came whole, and their statuses.
type Told = Vec<(String, u16)>;

#[expect(clippy::disallowed_methods, reason = "how long to go on is up to whoever runs the test")]
fn seconds() -> u64 {
    std::env::var("PFORTE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

async fn client(house: Arc<House>, number: usize, stop: Arc<AtomicBool>) -> Told {
    let (crowd, everything, own) = (Crowd::of(&house), house.token("system/*.cruds"), t1(&house));
    let (resource, body) = (format!("Observation/soak-{number}"), observation(number).to_string());
    let mut told = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("soak-{number}-{round}");
        let read = Asked { method: "GET", target: "Patient/p1", token: &own, id: &id, body: "" };
        let asked = match (round + number) % 7 {
            0 => Asked { target: "Patient?_count=20", token: &everything, ..read },
            1 => Asked { method: "PUT", target: &resource, token: &everything, body: &body, ..read },
            2 => Asked { target: "Patient/p2", ..read },
            3 => Asked { token: "", ..read },
            4 => Asked { target: "Observation?patient=p1", ..read },
            _ => read,
        };
        if let Ok((status, body)) = crowd.ask(asked).await {
            let leaks = asked.token == own && body.contains("Victim");
            house.findings.check(!leaks, format!("{id}: somebody else's data"));
            house.findings.check(status != 500, format!("{id}: 500"));
            told.push((id, status));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told
}

fn observation(number: usize) -> Value {
    json!({"resourceType": "Observation", "id": format!("soak-{number}"), "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"}})
}

/// One trouble after the other: of the backend, of the authorization server, of clients, of operators.
async fn troubles(house: Arc<House>, stop: Arc<AtomicBool>) {
    let fhir = &house.demo.fhir;
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        match round % 8 {
            0 => fhir.misbehave(Misbehaviour::Hang),
            1 => fhir.misbehave(Misbehaviour::Truncate),
            2 => fhir.misbehave(Misbehaviour::Close),
            3 => fhir.misbehave(Misbehaviour::Answer(Canned::html())),
            4 => fhir.misbehave(Misbehaviour::Huge(1 << 20)),
            5 => house.gateway.signal("HUP"),
            6 => house.demo.authorization.refuse_connections().await,
            _ => resets(&house).await,
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        fhir.behave();
        if round % 8 == 6 {
            house.demo.authorization.accept_connections().await.expect("the port is still free");
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// Streams that are taken back at once.
async fn resets(house: &House) {
    let (authority, token) = (authority(house), format!("Bearer {}", t1(house)));
    let head = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/fhir/Patient/p1"),
        ("authorization", &token),
    ]);
    let mut h2 = H2::open(house).await;
    h2.flood(200, |number| {
        let stream = u32::try_from(number * 2 + 1).expect("a stream");
        let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        [opened, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let plan = Plan {
        backend: "timeout = \"2s\"",
        tables: "[limits]\nheader_timeout = \"2s\"\nidle_timeout = \"5s\"\nbackend_pause = \"200ms\"",
        ..Plan::default()
    };
    let mut house = House::open(plan).await;
    people(&house);
    house.rewrite(&house.settings("log = \"debug\"", "log = \"error\""));
    house.gateway.restart(&house.findings.clone());
    let (house, stop) = (Arc::new(house), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for number in 0..6 {
        clients.spawn(client(Arc::clone(&house), number, Arc::clone(&stop)));
    }
    let trouble = tokio::spawn(troubles(Arc::clone(&house), Arc::clone(&stop)));
    let (begun, whole) = (Instant::now(), Duration::from_secs(seconds()));
    // A third to warm up.
    tokio::time::sleep(whole / 3).await;
    let (files, memory) = (descriptors(&house), resident(&house));
    tokio::time::sleep(whole.saturating_sub(begun.elapsed())).await;
    stop.store(true, Ordering::SeqCst);
    trouble.await.expect("the troubles end");
    let told: Told = clients.join_all().await.into_iter().flatten().collect();
    let (open, grown) = (descriptors(&house), resident(&house).saturating_sub(memory));
    house.findings.check(open <= files + 40, format!("soak: {files} descriptors became {open}"));
    house.findings.check(grown < 40 * 1024, format!("soak: grew by {grown} KiB"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    serves(&house, "a soak").await;
    let mut house = Arc::into_inner(house).expect("nobody else has it");
    house.gateway.terminate(&house.findings.clone());
    recorded(&house, &told);
    println!(
        "soak: {} answers in {:.0?}, {files} → {open} descriptors, {memory} + {grown} KiB",
        told.len(),
        begun.elapsed()
    );
    house.gateway.start();
    house.close();
}

/// Every answer has its events, with the status that the client saw.
fn recorded(house: &House, told: &Told) {
    let reader = Reader::open(&house.gateway.folder.join("audit")).expect("a spool");
    let mut events: BTreeMap<String, usize> = BTreeMap::new();
    for kept in reader.after(0, usize::MAX).expect("events") {
        *events.entry(kept.entry.request_id.clone()).or_default() += 1;
    }
    let missing: Vec<_> = told.iter().filter(|(id, _)| !events.contains_key(id)).take(10).collect();
    house.findings.check(missing.is_empty(), format!("answers that are not on record: {missing:?}"));
    house.findings.check(told.len() > 100, format!("{} answers are no load", told.len()));
}
