//! Records under concurrency, failure and shutdown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::fact::{Fact, Kept};
use super::queue::{Done, Job, Pending, Queue, Worker};
use super::store::{Applied, Spool, Store};
use super::{Bounds, Ledger, LedgerError, LedgerStatus, Reader, Rules};
use crate::audit::Entry;
use crate::config::{Audit, OnAuditFailure, Rotation};

const OBSERVER: &str = "https://fhir.example/fhir";

/// A folder of its own, gone after the test.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pforte-ledger-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        Self { path: std::env::temp_dir().join(name) }
    }

    pub(super) fn settings(&self) -> Audit {
        Audit {
            path: self.path.clone(),
            on_failure: OnAuditFailure::Refuse,
            rotation: Rotation { bytes: 1 << 30, age: Duration::from_secs(100 * 365 * 86_400) },
            retention: None,
            sinks: Vec::new(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub(super) fn entry(id: &str) -> Entry {
    let mut entry = Entry::open(
        &OBSERVER.into(),
        id,
        ("2026-03-01T10:00:00Z".parse().unwrap(), "192.0.2.7"),
        ("GET", "Patient/p1"),
    );
    entry.answered(200);
    entry
}

pub(super) fn id(event: &Kept) -> String {
    event.entry.request_id.clone()
}

pub(super) fn read(path: &std::path::Path) -> Vec<Kept> {
    Reader::open(path).unwrap().after(0, usize::MAX).unwrap()
}

pub(super) fn job(id: &str) -> Job {
    Job::Record { facts: vec![Fact::of(&entry(id))], intent: None }
}

/// How often each request id was recorded.
fn counted(ids: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    let mut counted = HashMap::new();
    for id in ids {
        *counted.entry(id).or_insert(0) += 1;
    }
    counted
}

/// A disk that fails every third time, and keeps the lines of the other times.
#[derive(Clone, Default)]
struct Flaky {
    attempts: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<String>>>,
}

pub(super) fn broken() -> LedgerError {
    LedgerError::io("disk".as_ref(), std::io::Error::other("broken"))
}

impl Spool for Flaky {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        if self.attempts.fetch_add(1, Ordering::SeqCst) % 3 == 1 {
            return Err(broken());
        }
        self.kept.lock().unwrap().extend(jobs.iter().flat_map(|job| match job {
            Job::Record { facts, .. } => {
                facts.iter().map(|fact| Entry::read(&fact.kept).unwrap().request_id).collect()
            }
            Job::Abandon(_) | Job::Delivered { .. } | Job::Intend(_) => vec![],
        }));
        Ok(Applied { done: vec![Done::Noted; jobs.len()], head: 0 })
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// A disk that tells when it is written to, and waits for a word before it does it.
struct Gated {
    begun: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl Spool for Gated {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        let _ = self.begun.send(());
        self.go.recv().map_err(|_| broken())?;
        Ok(Applied { done: vec![Done::Noted; jobs.len()], head: 0 })
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn gated(bounds: Bounds) -> (Arc<Ledger>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let ledger = Ledger::start(Gated { begun, go: goes }, 0, bounds).unwrap();
    (Arc::new(ledger), begins, go)
}

async fn record_all(ledger: &Arc<Ledger>, count: usize) -> Vec<(String, Result<(), LedgerError>)> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let ledger = Arc::clone(ledger);
        tasks.spawn(async move {
            let id = format!("r-{number}");
            let result = ledger.record(&[entry(&id)]).await;
            (id, result)
        });
    }
    tasks.join_all().await
}

/// AUD-1: none lost, none twice, in files that can be read back; what was recorded before a restart stays.
#[tokio::test(flavor = "multi_thread")]
async fn aud_1_a_thousand_at_once() {
    let folder = Folder::new();
    let ledger = Arc::new(Ledger::open(&folder.settings()).unwrap());
    let told = record_all(&ledger, 1000).await;
    assert!(told.iter().all(|(_, result)| result.is_ok()));
    let status = ledger.status();
    assert_eq!((status.queued, status.failed, status.last_error), (0, 0, None));
    assert_eq!((status.head, status.segments), (1000, 1));
    ledger.close().await.unwrap();

    let again = Ledger::open(&folder.settings()).unwrap();
    again.record(&[entry("b-0"), entry("b-1")]).await.unwrap();
    again.record(&[]).await.unwrap();
    again.close().await.unwrap();

    let events = read(&folder.path);
    let ids = counted(events.iter().map(id));
    assert_eq!((ids.len(), events.len()), (1002, 1002));
    assert!(told.iter().all(|(id, _)| ids.contains_key(id)));
    assert_eq!((id(&events[1000]), id(&events[1001])), ("b-0".to_owned(), "b-1".to_owned()));
}

/// AUD-1: with a disk that fails at times, a record is there exactly when its waiter was told so.
#[tokio::test(flavor = "multi_thread")]
async fn aud_1_told_is_kept_and_untold_is_not() {
    let spool = Flaky::default();
    let kept = Arc::clone(&spool.kept);
    let ledger = Arc::new(Ledger::start(spool, 0, Bounds::default()).unwrap());
    let mut told = record_all(&ledger, 1000).await;
    // However few syncs a thousand shared, these bring a failure and a success.
    for number in 0..3 {
        let id = format!("s-{number}");
        let result = ledger.record(&[entry(&id)]).await;
        told.push((id, result));
    }
    let closed = ledger.close().await;
    assert_eq!(closed.is_ok(), told.last().unwrap().1.is_ok(), "{closed:?}");

    let ids = counted(kept.lock().unwrap().clone());
    for (id, result) in &told {
        assert_eq!(ids.get(id).copied().unwrap_or(0), usize::from(result.is_ok()), "{id}: {result:?}");
    }
    let failed = told.iter().filter(|(_, result)| result.is_err()).count();
    assert!(failed > 0 && failed < told.len(), "{failed} failed");
    let status = ledger.status();
    assert_eq!((status.queued, status.failed), (0, u64::try_from(failed).unwrap()));
}

/// What waits together is written together.
#[test]
fn one_write_for_all_that_wait() {
    let queue = Arc::new(Queue::new(Bounds::default()));
    let spool = Flaky::default();
    let (attempts, kept) = (Arc::clone(&spool.attempts), Arc::clone(&spool.kept));
    let mut worker = Worker::new(Arc::clone(&queue), spool, watch::channel(0).0);
    let mut waiters: Vec<_> = (1..=3)
        .map(|number| {
            let (done, told) = oneshot::channel();
            queue.push(Pending { job: job(&number.to_string()), done, desk: None }).unwrap();
            told
        })
        .collect();
    assert!(worker.step());
    assert!(waiters.iter_mut().all(|told| told.try_recv().unwrap().is_ok()));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(*kept.lock().unwrap(), ["1", "2", "3"]);
}

/// What waits, what failed, and why.
fn plain(status: LedgerStatus) -> (usize, u64, Option<String>) {
    (status.queued, status.failed, status.last_error)
}

/// The status tells of a failure, and a probe finds out that it is over without anybody recording.
#[test]
fn failure_and_recovery_show() {
    let bounds = Bounds { probe: Duration::ZERO, ..Bounds::default() };
    let queue = Arc::new(Queue::new(bounds));
    let spool = Flaky { attempts: Arc::new(AtomicUsize::new(1)), ..Flaky::default() };
    let mut worker = Worker::new(Arc::clone(&queue), spool, watch::channel(0).0);
    let (done, mut told) = oneshot::channel();
    queue.push(Pending { job: job("a"), done, desk: None }).unwrap();
    assert_eq!(plain(queue.status()), (1, 0, None));

    assert!(worker.step());
    assert!(told.try_recv().unwrap().is_err());
    let last_error = Some("`disk`: broken".to_owned());
    assert_eq!(plain(queue.status()), (0, 1, last_error));

    assert!(worker.step(), "a probe");
    assert_eq!(plain(queue.status()), (0, 1, None));
    queue.close();
    assert!(!worker.step());
}

/// Neither too many events nor too many bytes wait; a large batch alone is taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded() {
    let bounds = [
        Bounds { waiting_events: 1, ..Bounds::default() },
        Bounds { waiting_bytes: 500, ..Bounds::default() },
    ];
    for bounds in bounds {
        let (ledger, begins, go) = gated(bounds);
        let first = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.record(&[entry("a"), entry("b"), entry("c")]).await }
        });
        tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
        let Err(LedgerError::Full) = ledger.record(&[entry("d")]).await else { panic!("taken") };
        assert_eq!(ledger.status().queued, 3);
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        go.send(()).unwrap();
        ledger.record(&[entry("d")]).await.unwrap();
    }
}

/// A disk that hangs makes nobody wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_disk_is_not_waited_for() {
    let (ledger, _begins, go) = gated(Bounds { patience: Duration::ZERO, ..Bounds::default() });
    let Err(LedgerError::Slow(_)) = ledger.record(&[entry("a")]).await else { panic!("told in no time") };
    go.send(()).unwrap();
    ledger.close().await.unwrap();
    assert_eq!(plain(ledger.status()), (0, 0, None));
}

/// What waits at the close is written; later entries are refused.
#[tokio::test(flavor = "multi_thread")]
async fn close_writes_what_waits() {
    let (ledger, begins, go) = gated(Bounds::default());
    let record = |id: &'static str| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.record(&[entry(id)]).await })
    };
    let first = record("a");
    let begins = tokio::task::spawn_blocking(move || begins.recv().map(|()| begins)).await.unwrap().unwrap();
    let second = record("b");
    while ledger.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn({
        let ledger = Arc::clone(&ledger);
        async move { ledger.close().await }
    });
    go.send(()).unwrap();
    go.send(()).unwrap();
    closing.await.unwrap().unwrap();
    drop(begins);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let Err(LedgerError::Closed) = ledger.record(&[entry("c")]).await else {
        panic!("taken after the close")
    };
    ledger.close().await.unwrap();
}

/// A record goes on when its request does not wait any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_gone_waiter_loses_nothing() {
    let folder = Folder::new();
    let ledger = Ledger::open(&folder.settings()).unwrap();
    {
        let entries = [entry("a")];
        let mut record = std::pin::pin!(ledger.record(&entries));
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(record.as_mut().poll(context))).await;
        assert!(polled.is_pending() || polled.is_ready());
    }
    ledger.close().await.unwrap();
    assert_eq!(read(&folder.path).iter().map(id).collect::<Vec<_>>(), ["a"]);
}

/// A hash is read as it is written; anything else is none.
#[test]
fn hashes_are_read() {
    let hash = super::Hash::of(super::Hash::NONE, 1, b"x");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    let text = hash.to_string();
    for wrong in [
        "",
        text.strip_prefix(|_: char| true).unwrap(),
        &format!("{text}00"),
        &text.replace(|c: char| c.is_ascii_digit(), "g"),
    ] {
        assert!(wrong.parse::<super::Hash>().is_err(), "{wrong}");
    }
}

/// Benchmarks get a ledger that answers like any other; what is recorded does not even reach its writer.
#[tokio::test(flavor = "multi_thread")]
async fn discarding_counts_and_forgets() {
    let ledger = Ledger::discarding().unwrap();
    ledger.record(&[entry("a"), entry("b")]).await.unwrap();
    let intent = ledger.intend(&entry("c")).await.unwrap();
    ledger.conclude(intent, &[entry("c")]).await.unwrap();
    assert_eq!(*ledger.head().borrow(), 1);
    ledger.close().await.unwrap();
}

/// A store of its own in a folder, by settings.
pub(super) fn store(settings: &Audit) -> Result<Store, LedgerError> {
    Store::open(settings.path.clone(), Arc::new(Mutex::new(Rules::of(settings))), at("2026-03-01T12:00:00Z"))
}

pub(super) fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// Records events of these ids, in one commit.
pub(super) fn record(store: &mut Store, ids: &[&str]) {
    let facts = ids.iter().map(|id| Fact::of(&entry(id))).collect();
    store.apply(&[&Job::Record { facts, intent: None }]).unwrap();
}

/// Waits until nothing is left to be done beside the writer.
pub(super) fn settled(store: &Store) {
    while !store.tender.is_idle() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn ids(path: &std::path::Path) -> Vec<String> {
    read(path).iter().map(id).collect()
}

/// What is wrong in a folder.
pub(super) fn faults(path: &std::path::Path) -> Vec<String> {
    let reader = Reader::open(path).unwrap();
    reader.verify(&[], &mut |_| {}).unwrap().faults.into_iter().map(|fault| fault.what).collect()
}

mod crash;
mod intents;
mod lookup;
mod segments;
mod tampering;
