//! What the tests here share: people, tokens, and a look at the process.

use std::time::{Duration, Instant};

use pforte::demo::authorization::Claims;
use serde_json::json;

use crate::house::{HOST, House, Plan};
use crate::wire::PATIENCE;

/// A house with the two patients of the hostile catalogue: `p1`, for whom tokens are, and `p2`, the victim.
pub async fn besieged(tables: &'static str) -> House {
    let house = House::open(Plan { tables, ..Plan::default() }).await;
    people(&house);
    house
}

/// Stores them.
pub fn people(house: &House) {
    for (id, family) in [("p1", "Grant"), ("p2", "Victim")] {
        let patient = json!({"resourceType": "Patient", "id": id, "name": [{"family": family}]});
        house.demo.fhir.put(patient).expect("a patient");
    }
}

/// A token in the words of the catalogue: everything of p1, to be read.
pub fn t1(house: &House) -> String {
    house.claiming(Claims::new("patient/*.rs").with("patient", "p1"))
}

/// The same for p2.
pub fn t2(house: &House) -> String {
    house.claiming(Claims::new("patient/*.rs").with("patient", "p2"))
}

/// The authority of the public base.
pub fn authority(house: &House) -> String {
    format!("{HOST}:{}", house.address.port())
}

/// A GET over HTTP/1.1 that keeps the connection.
pub fn get(house: &House, target: &str, token: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", authority(house))
}

/// Another client is served, as if nothing had happened.
pub async fn serves(house: &House, after: &str) {
    let asked = house.client.ask("GET", "Patient/p1").bearer(&t1(house)).with(after);
    let begun = Instant::now();
    asked.send().await.is(200).holds("Grant");
    house.findings.check(
        begun.elapsed() < Duration::from_secs(5),
        format!("after {after}: another client waited {:?}", begun.elapsed()),
    );
}

/// Sends many requests that nobody writes down: the house's client looks at each again when the house closes.
pub struct Crowd {
    http: reqwest::Client,
    base: String,
}

/// A request of a crowd.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub token: &'a str,
    pub id: &'a str,
    pub body: &'a str,
}

impl Crowd {
    pub fn of(house: &House) -> Self {
        let base = house.client.base();
        Self {
            http: crate::support::Client::transport(base, house.address, house.gateway.certificate(), None),
            base: base.to_owned(),
        }
    }

    /// The status and the body of an answer that came whole; what went wrong with one that did not.
    pub async fn ask(&self, asked: Asked<'_>) -> Result<(u16, String), String> {
        let method = http::Method::from_bytes(asked.method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}/{}", self.base, asked.target));
        if !asked.token.is_empty() {
            request = request.bearer_auth(asked.token);
        }
        if !asked.id.is_empty() {
            request = request.header("x-request-id", asked.id);
        }
        if !asked.body.is_empty() {
            request = request.header("content-type", "application/fhir+json").body(asked.body.to_owned());
        }
        let told = |error: reqwest::Error| format!("{error:?}");
        let answer = request.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(told)?))
    }
}

/// Waits until this holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Memory of the process that is resident, in KiB.
pub fn resident(house: &House) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.gateway.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Files and sockets that the process has open.
pub fn descriptors(house: &House) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", house.gateway.id())).expect("a process").count()
}

/// Processor time of the process so far, in hundredths of a second.
pub fn processor(house: &House) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", house.gateway.id())).expect("a process");
    let (_, behind) = stat.rsplit_once(") ").expect("a name in brackets");
    let field =
        |at: usize| behind.split(' ').nth(at).and_then(|text| text.parse::<u64>().ok()).expect("a number");
    field(11) + field(12)
}
