//! Nobody's data passes before the event that says so is durable.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::config::{Audit, OnAuditFailure, Rotation};
use crate::fhir::Format;
use crate::gateway::is_uri;
use crate::ledger::{Ledger, Reader};
use crate::telemetry::Metrics;

/// A body fed through a channel.
struct Fed(mpsc::UnboundedReceiver<Result<Bytes, UpstreamError>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

type Feed = mpsc::UnboundedSender<Result<Bytes, UpstreamError>>;

fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping::new(&["http://backend/fhir"], "https://gw.test/fhir").unwrap())
}

fn fhir() -> Content {
    Content::Fhir(Rewriter::new(Format::Json, mapping(), is_uri))
}

fn passing(content: Content) -> (Passing<Fed>, Feed) {
    let (feed, fed) = mpsc::unbounded_channel();
    (Passing::new(Fed(fed), content), feed)
}

fn give(feed: &Feed, text: &str) {
    feed.send(Ok(Bytes::copy_from_slice(text.as_bytes()))).unwrap();
}

/// A ledger in a folder of its own, gone after the test.
struct House {
    folder: PathBuf,
    ledger: Arc<Ledger>,
    recorder: Recorder,
}

impl House {
    fn open(on_failure: OnAuditFailure) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pforte-body-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let rotation = Rotation { bytes: 1 << 30, age: Duration::from_secs(86_400) };
        let settings =
            Audit { path: folder.clone(), on_failure, rotation, retention: None, sinks: Vec::new() };
        let ledger = Arc::new(Ledger::open(&settings).unwrap());
        let recorder = Recorder::new(&ledger, &Metrics::new(), on_failure);
        Self { folder, ledger, recorder }
    }

    fn recorded(&self) -> Vec<String> {
        let events = Reader::open(&self.folder).unwrap().after(0, usize::MAX).unwrap();
        events.into_iter().filter_map(|kept| kept.entry.about).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn entry() -> Entry {
    let mut entry = Entry::open(
        &"https://gw.test/fhir".into(),
        "r-1",
        ("2026-03-01T10:00:00Z".parse().unwrap(), "192.0.2.7"),
        ("GET", "Observation"),
    );
    entry.answered(200);
    entry
}

async fn next(passing: &mut Passing<Fed>) -> Option<Result<Bytes, BrokenOff>> {
    poll_fn(|cx| passing.poll(cx)).await
}

/// What can be had without waiting.
fn now(passing: &mut Passing<Fed>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
    passing.poll(&mut Context::from_waker(Waker::noop()))
}

fn ids(patients: &[Mention]) -> Vec<&str> {
    patients.iter().map(|patient| patient.id.as_str()).collect()
}

/// A small answer is known whole before its head leaves; one that drips is not waited for.
#[tokio::test]
async fn the_beginning_is_known_first() {
    let (mut small, feed) = passing(fhir());
    give(&feed, r#"{"reference":"Patient/a","x":{"refer"#);
    give(&feed, r#"ence":"Patient/b"}}"#);
    drop(feed);
    small.begin().await.unwrap();
    assert_eq!(ids(&small.patients()), ["a", "b"]);
    assert!(small.ended);

    let (mut dripping, feed) = passing(fhir());
    give(&feed, r#"{"reference":"Patient/a","#);
    dripping.begin().await.unwrap();
    assert_eq!(ids(&dripping.patients()), ["a"]);
    assert!(!dripping.ended);

    let (mut cut, feed) = passing(fhir());
    give(&feed, r#"{"reference":"#);
    drop(feed);
    assert!(matches!(cut.begin().await, Err(BrokenOff::Document(Broken::Truncated))));
    let (mut broken, feed) = passing(fhir());
    feed.send(Err(UpstreamError::Timeout)).unwrap();
    assert!(matches!(broken.begin().await, Err(BrokenOff::Backend(UpstreamError::Timeout))));
}

/// AUD-7: whoever is named in what has left has an event by then.
#[tokio::test(flavor = "multi_thread")]
async fn aud_7_no_byte_before_its_event() {
    let house = House::open(OnAuditFailure::Refuse);
    let (mut passing, feed) = passing(fhir());
    give(&feed, r#"[{"x":1}"#);
    passing.begin().await.unwrap();
    assert!(passing.patients().is_empty());
    passing.disclose(&house.recorder, entry);
    let feeding = tokio::spawn(async move {
        for number in 0..300 {
            let padding = "y".repeat(number % 7 * 40);
            // Each id comes in two pieces, most of them twice.
            give(&feed, &format!(r#",{{"p":"{padding}","reference":"Patient/pat-{}"#, number / 2));
            tokio::task::yield_now().await;
            give(&feed, "z\"}");
        }
        give(&feed, "]");
    });
    let mut text = String::new();
    while let Some(bytes) = next(&mut passing).await {
        text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        let recorded = house.recorded();
        for named in text.split("Patient/").skip(1) {
            let id = named.split('"').next().unwrap();
            // The last one may have come in part.
            assert!(recorded.iter().any(|known| known.starts_with(id)), "`{id}` left before its event");
        }
    }
    feeding.await.unwrap();
    assert!(text.ends_with("z\"}]"));
    let expected: Vec<_> = (0..150).map(|number| format!("pat-{number}z")).collect();
    assert_eq!(house.recorded(), expected, "each once, in their order");
}

/// An answer whose events cannot be recorded never ends well, unless the settings say that it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_ledger_breaks_the_answer_off() {
    for on_failure in [OnAuditFailure::Refuse, OnAuditFailure::Continue] {
        let house = House::open(on_failure);
        let (mut passing, feed) = passing(fhir());
        give(&feed, r#"[{"reference":"Patient/a"}"#);
        passing.begin().await.unwrap();
        assert_eq!(ids(&passing.patients()), ["a"]);
        passing.disclose(&house.recorder, entry);
        assert!(next(&mut passing).await.unwrap().is_ok());
        give(&feed, r#",{"reference":"Patient/b"}"#);
        assert!(next(&mut passing).await.unwrap().is_ok());
        house.ledger.close().await.unwrap();
        give(&feed, r#",{"reference":"Patient/b"},{"x":1}"#);
        assert!(next(&mut passing).await.unwrap().is_ok(), "nobody new");
        give(&feed, r#",{"reference":"Patient/c"}]"#);
        drop(feed);
        let last = next(&mut passing).await.unwrap();
        match on_failure {
            OnAuditFailure::Continue => {
                assert!(last.unwrap().ends_with(b"Patient/c\"}]"));
                assert!(next(&mut passing).await.is_none());
            }
            OnAuditFailure::Refuse => assert!(matches!(last, Err(BrokenOff::Unrecorded(_)))),
        }
        assert_eq!(house.recorded(), ["b"]);
    }
}

/// What was handed to the ledger is kept, whether or not the client stays to see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_changes_nothing() {
    let house = House::open(OnAuditFailure::Refuse);
    let (mut passing, feed) = passing(fhir());
    give(&feed, "[");
    passing.begin().await.unwrap();
    passing.disclose(&house.recorder, entry);
    assert!(now(&mut passing).is_ready());
    give(&feed, r#"{"reference":"Patient/a"}"#);
    while passing.flight.is_none() {
        let _ = now(&mut passing);
    }
    drop(passing);
    house.ledger.close().await.unwrap();
    assert_eq!(house.recorded(), ["a"]);
}

/// While events are on their way the backend is read on, up to a limit.
#[tokio::test]
async fn reading_ahead_is_bounded() {
    let house = House::open(OnAuditFailure::Refuse);
    let (mut passing, feed) = passing(fhir());
    give(&feed, "[0");
    passing.begin().await.unwrap();
    passing.disclose(&house.recorder, entry);
    assert!(now(&mut passing).is_ready());
    passing.flight = Some(Box::pin(std::future::pending()));
    let piece = format!(",\"{}\"", "x".repeat(10_000));
    for number in 0..100 {
        give(&feed, &piece);
        give(&feed, &format!(",{{\"reference\":\"Patient/{number}\"}}"));
    }
    assert!(now(&mut passing).is_pending());
    assert!(passing.waiting() >= AHEAD && passing.waiting() < AHEAD + piece.len(), "{}", passing.waiting());
    // The one before ends well: what waited for it leaves, and the next takes all others.
    passing.flight = Some(Box::pin(std::future::ready(Ok(()))));
    let Poll::Ready(Some(Ok(first))) = now(&mut passing) else { panic!("nothing leaves") };
    assert_eq!(first, piece.as_bytes());
    give(&feed, "]");
    drop(feed);
    let mut all = first.len();
    while let Some(bytes) = next(&mut passing).await {
        all += bytes.unwrap().len();
    }
    assert!(all > 100 * piece.len(), "{all}");
    house.ledger.close().await.unwrap();
    assert_eq!(house.recorded().len(), 100);
}

/// OPS-7: files of an export pass as they are; those of resources tell whom they name.
#[tokio::test]
async fn files_of_exports() {
    let resources = "{\"resourceType\":\"Patient\",\"id\":\"a\",\"u\":\"http://backend/fhir/x\"}\n{\"reference\":\"Patient/b\"}\n";
    let table: [(&str, &[&str]); 4] = [
        (resources, &["a", "b"]),
        ("\u{FEFF} {\"reference\":\"Patient/a\"}", &["a"]),
        ("patient,name\nPatient/a,\"x\n", &[]),
        ("", &[]),
    ];
    for (text, named) in table {
        let (mut passing, feed) = passing(Content::File(mapping()));
        for at in 0..text.len() {
            feed.send(Ok(Bytes::copy_from_slice(&text.as_bytes()[at..=at]))).unwrap();
        }
        drop(feed);
        passing.begin().await.unwrap();
        assert_eq!(ids(&passing.patients()), named, "{text}");
        let mut out = Vec::new();
        while let Some(bytes) = next(&mut passing).await {
            out.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(out, text.as_bytes());
    }
    let (mut other, feed) = passing(Content::Other);
    give(&feed, r#"{"reference":"Patient/a"}"#);
    drop(feed);
    other.begin().await.unwrap();
    assert!(other.patients().is_empty());
}

/// Whoever forgets to say how events are recorded shows nobody.
#[tokio::test]
async fn nobody_is_shown_unrecorded() {
    let (mut passing, feed) = passing(fhir());
    give(&feed, r#"[{"reference":"Patient/a"}"#);
    passing.begin().await.unwrap();
    assert!(matches!(now(&mut passing), Poll::Ready(Some(Err(BrokenOff::Unrecorded(_))))));
}
