//! HTTP/1.1 as bytes: class `h1-framing` of the hostile catalogue (HTTP-3, HTTP-6, HTTP-11). Each row is refused as it says,
//! nothing that stands behind an ambiguous message is read as a request, and the backend sees no request of a stranger's.

use std::time::Duration;

use serde_json::Value;

use crate::cases;
use crate::house::House;
use crate::place::{authority, besieged, get, serves, t1, t2};
use crate::wire::{End, PATIENCE, Wire, statuses};

/// The bytes of a row.
fn bytes(house: &House, case: &Value) -> Vec<u8> {
    let raw = case["request"]["raw"].as_str().expect("raw bytes");
    let raw = raw
        .replace("<T1>", &t1(house))
        .replace("<TS>", &house.token("system/*.rs"))
        .replace("Host: gw.test", &format!("Host: {}", authority(house)));
    cases::unescaped(&raw)
}

/// What a row leaves to be made.
fn made(house: &House, id: &str) -> Option<Vec<u8>> {
    let head = format!(
        "POST /fhir HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        authority(house),
        t1(house)
    );
    let with = |target: &str| get(house, target, &t1(house)).into_bytes();
    match id {
        "H1-027" => Some(format!("{head}1;{}", "a".repeat(16 * 1024)).into_bytes()),
        "H1-042" => Some(with("/fhir/Patient/p2")),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing() {
    let house = besieged("").await;
    for case in cases::of("h1-framing") {
        let id = case["id"].as_str().expect("an id");
        if id == "H1-037" {
            pipelined(&house).await;
            continue;
        }
        if id == "H1-042" {
            // Somebody who may see p2 was here before, over connections that are used again.
            house.client.ask("GET", "Patient/p2").bearer(&t2(&house)).send().await.is(200).holds("Victim");
        }
        house.demo.fhir.forget();
        let sent = made(&house, id).unwrap_or_else(|| bytes(&house, &case));
        let mut wire = Wire::open(&house, "http/1.1").await;
        wire.say(&sent).await;
        let must_close = case["expected"]["conn"] == "close";
        let quiet = if must_close { PATIENCE } else { Duration::from_millis(700) };
        let (read, end) = wire.rest(quiet).await;
        judge(&house, &case, &String::from_utf8_lossy(&read), end);
    }
    serves(&house, "h1-framing").await;
    house.close();
}

fn judge(house: &House, case: &Value, read: &str, end: End) {
    let (id, expected) = (case["id"].as_str().unwrap_or_default(), &case["expected"]);
    let wrong = |what: String| {
        let head: String = read.chars().take(400).collect();
        house.findings.add(format!("{id}: {what}\n    {}\n    got {head}", case["request"]["raw"]));
    };
    let got = statuses(read);
    let allowed: Vec<u64> =
        expected["status"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if !got.first().is_some_and(|first| allowed.contains(&u64::from(*first))) {
        wrong(format!("expected {allowed:?}, got {got:?}"));
    }
    if got.iter().skip(1).any(|status| *status < 400) {
        wrong(format!("what follows is answered with success: {got:?}"));
    }
    if expected["conn"] == "close" && end != End::Closed {
        wrong("the connection stays open".to_owned());
    }
    if read.contains("Victim") {
        wrong("somebody else's data".to_owned());
    }
    let seen = house.demo.fhir.log();
    let most = usize::from(expected["upstream"] != "none");
    if seen.len() > most {
        wrong(format!("expected at most {most} requests at the backend, got {}", seen.len()));
    }
    for request in seen {
        let foreign = request.target.contains("p2")
            || ["upgrade", "http2-settings", "trailer", "transfer-encoding"]
                .iter()
                .any(|name| request.headers.contains_key(*name))
            || request.headers.get_all("authorization").iter().count() > 1;
        if foreign {
            wrong(format!("the backend saw {} {:?}", request.target, request.headers));
        }
    }
}

/// H1-037: a hundred requests at once are answered in order, each as if it were alone.
async fn pipelined(house: &House) {
    let with = get(house, "/fhir/Patient/p1", &t1(house));
    let without = format!("GET /fhir/Patient/p1 HTTP/1.1\r\nHost: {}\r\n\r\n", authority(house));
    let last = without.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut all: String = (0..49).map(|_| format!("{with}{without}")).collect();
    all.push_str(&with);
    all.push_str(&last);
    let mut wire = Wire::open(house, "http/1.1").await;
    wire.say(all.as_bytes()).await;
    let (read, _) = wire.rest(PATIENCE).await;
    let got = statuses(&String::from_utf8_lossy(&read));
    let expected: Vec<u16> = (0..100).map(|at| if at % 2 == 0 { 200 } else { 401 }).collect();
    house.findings.check(got == expected, format!("H1-037: a hundred in order, got {} {got:?}", got.len()));
}
