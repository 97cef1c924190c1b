//! Writes that were announced have an event, whatever happens.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::super::fact::Fact;
use super::super::queue::{Done, Intent, Job, Pending, Queue, Told, Worker};
use super::super::store::{Applied, Spool, Store};
use super::super::{Bounds, Figures, Ledger, LedgerError};
use super::{Folder, broken, entry, faults, read, store};
use crate::audit::{Entry, Interaction};
use crate::fhir::{Kind, ResourceType};

/// A disk that fails when it is told to.
struct Failing {
    store: Store,
    fails: bool,
}

impl Spool for Failing {
    fn apply(&mut self, jobs: &[&Job]) -> Result<Applied, LedgerError> {
        if std::mem::take(&mut self.fails) { Err(broken()) } else { self.store.apply(jobs) }
    }

    fn probe(&mut self) -> Result<(), LedgerError> {
        self.store.probe()
    }

    fn figures(&self) -> Figures {
        self.store.figures()
    }
}

type Answer = oneshot::Receiver<Result<Told, LedgerError>>;

fn ask(queue: &Queue, job: Job) -> Answer {
    let (done, told) = oneshot::channel();
    queue.push(Pending { job, done, desk: None }).unwrap();
    told
}

fn intended(mut told: Answer) -> Intent {
    match told.try_recv().unwrap().unwrap() {
        Told::Intended(intent) => intent,
        Told::Noted => panic!("nothing was announced"),
    }
}

fn put() -> Entry {
    let mut entry = entry("w");
    (entry.method, entry.target) = ("PUT".into(), "Patient/p7".into());
    entry.interaction = Interaction::Known(Kind::Update);
    (entry.resource, entry.id) = (Some(ResourceType::PATIENT), Some("p7".into()));
    (entry.client, entry.subject, entry.status) = (Some("app".into()), Some("u1".into()), 0);
    entry
}

/// What was announced and not concluded, for any reason, is an event by itself as soon as anything can be recorded; what nobody
/// was told of was not sent and is none.
#[test]
fn nobody_concludes() {
    type Case = fn(&Arc<Queue>, &mut Worker<Failing>);
    let table: [(&str, Case, &[&str]); 4] = [
        (
            "dropped",
            |queue, worker| {
                let told = ask(queue, Job::Intend(Fact::of(&put())));
                assert!(worker.step());
                drop(intended(told));
                assert!(worker.step());
            },
            &["interrupted"],
        ),
        (
            "the conclusion failed",
            |queue, worker| {
                let told = ask(queue, Job::Intend(Fact::of(&put())));
                assert!(worker.step());
                let intent = Some(intended(told).take());
                let mut told = ask(queue, Job::Record { facts: vec![Fact::of(&put())], intent });
                worker.spool.fails = true;
                assert!(worker.step());
                assert!(told.try_recv().unwrap().is_err());
                assert!(worker.step(), "a probe");
                assert!(worker.step(), "the event");
            },
            &["interrupted"],
        ),
        (
            "nobody waited",
            |queue, worker| {
                drop(ask(queue, Job::Intend(Fact::of(&put()))));
                assert!(worker.step());
                assert!(worker.step());
            },
            &[],
        ),
        (
            "concluded",
            |queue, worker| {
                let told = ask(queue, Job::Intend(Fact::of(&put())));
                assert!(worker.step());
                let intent = Some(intended(told).take());
                drop(ask(queue, Job::Record { facts: vec![Fact::of(&put())], intent }));
                assert!(worker.step());
            },
            &[""],
        ),
    ];
    for (name, case, expected) in table {
        let folder = Folder::new();
        let bounds = Bounds { probe: std::time::Duration::ZERO, ..Bounds::default() };
        let queue = Arc::new(Queue::new(bounds));
        let spool = Failing { store: store(&folder.settings()).unwrap(), fails: false };
        let mut worker = Worker::new(Arc::clone(&queue), spool, watch::channel(0).0);
        case(&queue, &mut worker);
        assert_eq!(left(&folder, &worker), (expected.iter().map(ToString::to_string).collect(), 0), "{name}");
        assert_eq!(faults(&folder.path), [""; 0], "{name}");
    }
}

/// The reasons of what is recorded, and how much is still announced.
fn left(folder: &Folder, worker: &Worker<Failing>) -> (Vec<String>, i64) {
    let reason = |kept: &super::super::Kept| kept.entry.reason.clone().unwrap_or_default().into_owned();
    let connection = worker.spool.store.current.connection.as_ref().unwrap();
    let announced = connection.query_row("SELECT count(*) FROM intent", [], |row| row.get(0)).unwrap();
    (read(&folder.path).iter().map(reason).collect(), announced)
}

/// What a crash interrupted keeps what it was about, and is found by it.
#[test]
fn interrupted_by_a_crash() {
    let folder = Folder::new();
    let mut first = store(&folder.settings()).unwrap();
    let told = first.apply(&[&Job::Intend(Fact::of(&put()))]).unwrap();
    assert_eq!(told.done, [Done::Intended(1)]);
    drop(first);
    drop(store(&folder.settings()).unwrap());
    let event = read(&folder.path).remove(0).entry;
    let about =
        (event.method.as_str(), event.target.as_str(), event.client.as_deref(), event.subject.as_deref());
    assert_eq!(about, ("PUT", "Patient/p7", Some("app"), Some("u1")));
    assert_eq!(
        (event.subject_patient().as_deref(), event.reason.as_deref()),
        (Some("p7"), Some("interrupted"))
    );
    assert_eq!(read(&folder.path).len(), 1, "once");
}

/// Through the front door: a concluded write is one event, a dropped one says that it was interrupted, before the next start.
#[tokio::test(flavor = "multi_thread")]
async fn the_running_gateway_sees_to_it() {
    let folder = Folder::new();
    let ledger = Ledger::open(&folder.settings()).unwrap();
    let (one, other) = (ledger.intend(&put()).await.unwrap(), ledger.intend(&put()).await.unwrap());
    ledger.conclude(one, &[entry("done")]).await.unwrap();
    drop(other);
    ledger.record(&[entry("next")]).await.unwrap();
    ledger.close().await.unwrap();
    let mut ids = super::ids(&folder.path);
    ids.sort();
    assert_eq!(ids, ["done", "next", "w"]);
}
