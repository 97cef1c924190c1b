//! Faults of what stands behind and beside the gateway, as far as tests of their own rooms do not show them already
//! (`src/upstream/tests.rs`, `tests/journeys/backend.rs`, `issuer.rs`, `sinks.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, Plan};
use crate::place::{besieged, serves};

/// FLT-017: a repository that takes everything and acknowledges nothing holds up nobody, and counts as away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_never_answers() {
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = hole.local_addr().expect("an address");
    let swallowed = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let swallowed = Arc::clone(&swallowed);
        async move {
            while let Ok((stream, _)) = hole.accept().await {
                tokio::spawn(swallow(stream, Arc::clone(&swallowed)));
            }
        }
    });
    let sink =
        format!("[[audit.sink]]\nkind = \"fhir\"\nurl = \"http://{address}/fhir\"\ntimeout = \"500ms\"\n");
    let house = besieged(Box::leak(sink.into_boxed_str())).await;
    for _ in 0..20 {
        serves(&house, "a repository that never answers").await;
    }
    let begun = Instant::now();
    while swallowed.load(Ordering::SeqCst) == 0 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.findings.check(swallowed.load(Ordering::SeqCst) > 0, "nothing was sent to the repository");
    let reader = pforte::ledger::Reader::open(&house.gateway.folder.join("audit")).expect("a spool");
    let delivered = reader.delivered("fhir").unwrap_or_default();
    house.findings.check(delivered == 0, format!("{delivered} events count as delivered"));
    house.close();
}

async fn swallow(mut stream: TcpStream, swallowed: Arc<AtomicUsize>) {
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut some).await {
        swallowed.fetch_add(count, Ordering::SeqCst);
    }
}

/// A backend that says nothing of it and closes each connection after one answer: just then the next request is sent. Reads
/// go through; a write is done once or told to have failed, never twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_close() {
    const BODY: &str = r#"{"resourceType":"Patient","id":"p1"}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let writes = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let writes = Arc::clone(&writes);
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let writes = Arc::clone(&writes);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_closed) => return,
                        }
                    }
                    if head.starts_with(b"PUT") {
                        writes.fetch_add(1, Ordering::SeqCst);
                    }
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{BODY}",
                        BODY.len()
                    );
                    drop(stream.write_all(answer.as_bytes()).await);
                });
            }
        }
    });
    let mut house = House::open(Plan::default()).await;
    house.rewrite(&house.settings(house.demo.fhir.base(), &format!("http://{address}/fhir")));
    house.gateway.restart(&house.findings.clone());
    let mut done = 0;
    for number in 0..60 {
        if number % 3 == 0 {
            let patient = serde_json::json!({"resourceType": "Patient", "id": "p1"});
            let answer = house.ask("PUT", "Patient/p1", "system/Patient.u").json(&patient).send().await;
            answer.one_of(&[200, 502]);
            done += usize::from(answer.status == 200);
        } else {
            house.ask("GET", "Patient/p1", "system/*.rs").send().await.is(200);
        }
    }
    let writes = writes.load(Ordering::SeqCst);
    house.findings.check(writes >= done && writes <= 20, format!("20 writes, {done} told of, {writes} done"));
    house.close();
}
