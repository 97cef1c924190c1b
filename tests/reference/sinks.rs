//! HAPI as an audit record repository (AUD-11): every event is there once, however often it is sent and in whichever way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pforte::config::{AuditSink, AuditSinkKind, BackendCredentials, FhirSink, SinkWrite};
use pforte::fhir::FhirVersion;
use pforte::ledger::{Kept, Reader};
use pforte::sink::{Fate, Reached, deliver_once, reach};

use crate::house::{Change, House};

const PATIENCE: Duration = Duration::from_secs(60);

/// By `PUT`, by `POST` with `If-None-Exist`, sent again by hand, and by a sink of another name.
pub async fn all(house: &mut House<'_>) {
    let hapi = house.stack.setting("HAPI_URL").to_owned();
    let sinks = |name: &str, write: &str| {
        format!("[[audit.sink]]\nkind = \"fhir\"\nname = \"{name}\"\nurl = \"{hapi}\"\nwrite = \"{write}\"\n")
    };
    let first = sinks("first", "update");
    house.change(Change { tables: &first, ..Change::NONE });
    let token = house.stack.jwt("system/*.rs").await;
    for number in 0..40 {
        let target = if number % 2 == 0 { "Patient/pat-in" } else { "Observation?_count=2" };
        house.client.read(target, &token).await.is(200);
    }
    house.gateway.kill();
    house.gateway.start();
    arrived(house, "first").await;
    let events = recorded(house);
    once(house, &events, SinkWrite::Update).await;

    let sink = |write| sink(&hapi, write);
    match reach(&sink(SinkWrite::Update)).await {
        Ok(Reached::Repository(statement)) => {
            house.findings.check(statement["fhirVersion"] == "4.0.1", format!("HAPI serves {statement}"));
        }
        other => house.findings.add(format!("HAPI is a repository: {other:?}")),
    }
    for write in [SinkWrite::Update, SinkWrite::Create] {
        let told = deliver_once(&sink(write), &events).await.expect("sent");
        let taken = told.iter().filter(|delivery| delivery.fate == Fate::Taken).count();
        house.findings.check(taken == events.len(), format!("{write:?} again: {told:?}"));
        once(house, &events, SinkWrite::Update).await;
    }

    // A new name begins with the oldest event: those that are there are found by their tag.
    let second = sinks("second", "create");
    house.change(Change { tables: &second, ..Change::NONE });
    for _ in 0..5 {
        house.client.read("Patient/pat-in", &token).await.is(200);
    }
    arrived(house, "second").await;
    let all = recorded(house);
    let (before, after) = all.split_at(events.len());
    once(house, before, SinkWrite::Update).await;
    once(house, after, SinkWrite::Create).await;
    let again = deliver_once(&sink(SinkWrite::Create), after).await.expect("sent");
    house.findings.check(again.iter().all(|delivery| delivery.fate == Fate::Taken), format!("{again:?}"));
    once(house, after, SinkWrite::Create).await;
    let folder = spool(house);
    for name in ["first", "second"] {
        let rejected = Reader::open(&folder).expect("a spool").rejected(name).expect("rejections");
        house.findings.check(rejected.is_empty(), format!("HAPI refuses {rejected:?}"));
    }
}

fn sink(url: &str, write: SinkWrite) -> AuditSink {
    let fhir = FhirSink {
        url: url.parse().expect("a URL"),
        fhir_version: FhirVersion::R4,
        write,
        credentials: BackendCredentials::None,
        ca: None,
        client_certificate: None,
        timeout: Duration::from_secs(30),
        batch: 100,
    };
    AuditSink { name: "by-hand".to_owned(), kind: AuditSinkKind::Fhir(Box::new(fhir)) }
}

fn spool(house: &House<'_>) -> PathBuf {
    house.gateway.folder.join("audit")
}

fn recorded(house: &House<'_>) -> Vec<Kept> {
    let reader = Reader::open(&spool(house)).expect("a spool");
    reader.after(0, usize::MAX).expect("events")
}

/// Waits until the sink's place is at the end.
async fn arrived(house: &House<'_>, sink: &str) {
    let reader = Reader::open(&spool(house)).expect("a spool");
    let begun = Instant::now();
    while reader.delivered(sink).expect("a place") < recorded(house).last().map_or(0, |event| event.sequence)
    {
        if begun.elapsed() > PATIENCE {
            house.findings.add(format!("not everything arrives:\n{}", house.gateway.log()));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Each is there once, in its first version, found by its tag; by its own id as well where that is how it was written.
async fn once(house: &House<'_>, events: &[Kept], written: SinkWrite) {
    for event in events {
        let id = event.id();
        let (status, found) =
            house.stack.hapi("GET", &format!("AuditEvent?_tag=urn:pforte:audit-event%7C{id}"), None).await;
        let entries = found["entry"].as_array().cloned().unwrap_or_default();
        let [only] = entries.as_slice() else {
            house.findings.add(format!(
                "event {}: {} in HAPI, status {status}",
                event.sequence,
                entries.len()
            ));
            continue;
        };
        let resource = &only["resource"];
        let version = resource["meta"]["versionId"].as_str().unwrap_or_default();
        house.findings.check(version == "1", format!("event {}: version {version}", event.sequence));
        let own = resource["id"] == id.as_str();
        house.findings.check(
            own == (written == SinkWrite::Update),
            format!("event {} is called {}", event.sequence, resource["id"]),
        );
    }
}
