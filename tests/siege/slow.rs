//! Clients that take their time: on the head, on the body, on the answer (HTTP-14; DOS-008 … DOS-010), and clients that say
//! one protocol and speak another. What they hold is given back, and others are served meanwhile.

use std::time::{Duration, Instant};

use pforte::demo::fhir_server::Misbehaviour;
use tokio::task::JoinSet;

use crate::house::House;
use crate::place::{authority, besieged, get, resident, serves, t1};
use crate::wire::{Wire, statuses};

const LIMITS: &str = "[limits]\nheader_timeout = \"2s\"\nidle_timeout = \"3s\"";

/// Clients at once.
const MANY: usize = 60;

/// Longest that a slow client may hold its connection here: several times what the settings say, on a busy machine.
const HOLD: Duration = Duration::from_secs(25);

/// Each opens a connection, says the beginning, then one byte a while. None may go on.
async fn crumbs(house: &House, name: &'static str, beginning: String) {
    let mut clients = JoinSet::new();
    let (at, certificate) = (house.address, house.gateway.certificate().to_owned());
    for _ in 0..MANY {
        let (certificate, beginning) = (certificate.clone(), beginning.clone());
        clients.spawn(async move {
            let Ok(mut wire) = Wire::to(at, &certificate, "http/1.1").await else { return Duration::ZERO };
            let begun = Instant::now();
            wire.say(beginning.as_bytes()).await;
            while begun.elapsed() < HOLD && wire.say(b"x").await {
                if wire.closes_within(Duration::from_millis(400)).await {
                    break;
                }
            }
            begun.elapsed()
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    serves(house, name).await;
    let longest = clients.join_all().await.into_iter().max().unwrap_or_default();
    house.findings.check(longest < HOLD, format!("{name}: one holds its connection for {longest:?}"));
    serves(house, name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads() {
    let house = besieged(LIMITS).await;
    let head = format!("GET /fhir/Patient/p1 HTTP/1.1\r\nHost: {}\r\nX-A: ", authority(&house));
    crumbs(&house, "slow heads", head).await;
    house.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    let house = besieged(LIMITS).await;
    let head = format!(
        "POST /fhir/Observation/_search HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\n",
        authority(&house),
        t1(&house)
    );
    crumbs(&house, "slow bodies", head).await;
    house
        .findings
        .check(house.demo.fhir.log().iter().all(|it| !it.target.contains("_search")), "a part was sent on");
    house.close();
}

/// The answer is large and read five bytes at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers() {
    let house = besieged(LIMITS).await;
    let before = resident(&house);
    let token = house.token("system/*.rs");
    let mut clients = JoinSet::new();
    let (at, certificate) = (house.address, house.gateway.certificate().to_owned());
    for _ in 0..8 {
        house.demo.fhir.next(Misbehaviour::Huge(8 << 20));
        let (certificate, request) = (certificate.clone(), get(&house, "/fhir/Patient?_count=10", &token));
        clients.spawn(async move {
            use tokio::io::AsyncReadExt as _;
            let mut wire = Wire::to(at, &certificate, "http/1.1").await.expect("TLS");
            wire.say(request.as_bytes()).await;
            let (begun, mut few) = (Instant::now(), [0; 5]);
            while begun.elapsed() < HOLD && wire.0.read(&mut few).await.is_ok_and(|count| count > 0) {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            // What the system has taken already may be read for long; the gateway has let go when the connection is gone.
            drop(wire);
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    serves(&house, "slow readers").await;
    // All are let go: only then are the requests recorded as broken off.
    let begun = Instant::now();
    while !house.demo.fhir.log().is_empty() && begun.elapsed() < HOLD {
        let open = sockets(&house);
        if open <= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let open = sockets(&house);
    house
        .findings
        .check(open <= 2, format!("slow readers: {open} connections are still held after {HOLD:?}"));
    let grown = resident(&house).saturating_sub(before);
    house.findings.check(grown < 96 * 1024, format!("slow readers: grew by {grown} KiB"));
    clients.abort_all();
    serves(&house, "slow readers").await;
    house.close();
}

/// Established connections at the gateway's address.
fn sockets(house: &House) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!("0100007F:{:04X}", house.address.port());
    // 01 is ESTABLISHED.
    let held = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01")
    };
    table.lines().filter(held).count()
}

/// TLS-006: ALPN decides, and bytes do not contradict it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocols() {
    let house = besieged(LIMITS).await;
    let request = get(&house, "/fhir/Patient/p1", &t1(&house));
    let quiet = Duration::from_millis(700);
    for (alpn, bytes, expected) in [
        ("", request.as_bytes(), &[200][..]),
        ("http/1.1", request.as_bytes(), &[200]),
        ("h2", request.as_bytes(), &[]),
        ("http/1.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[505]),
    ] {
        let mut wire = Wire::open(&house, alpn).await;
        wire.say(bytes).await;
        let (read, end) = wire.rest(quiet).await;
        let got = statuses(&String::from_utf8_lossy(&read));
        house
            .findings
            .check(got == expected, format!("ALPN `{alpn}`: expected {expected:?}, got {got:?} {end:?}"));
    }
    let unknown = Wire::to(house.address, house.gateway.certificate(), "spdy/3").await;
    house.findings.check(unknown.is_err(), "an unknown protocol is agreed upon");
    serves(&house, "protocols").await;
    house.close();
}
