//! Clients that ask for everything at once, and note what they received to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::house::House;
use crate::support::{Answer, Ask, Client};
use crate::told::Told;

/// Clients at once.
const WORKERS: usize = 10;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    Batch,
    BeyondScope,
    Create,
    Page,
    Read,
    Search,
    StreamedRead,
    Transaction,
    Unread,
    Update,
    WithoutToken,
}

pub const ERRANDS: [(usize, Errand); 11] = [
    (10, Errand::Batch),
    (8, Errand::BeyondScope),
    (16, Errand::Create),
    (4, Errand::Page),
    (16, Errand::Read),
    (10, Errand::Search),
    (16, Errand::StreamedRead),
    (6, Errand::Transaction),
    (4, Errand::Unread),
    (12, Errand::Update),
    (8, Errand::WithoutToken),
];

impl Errand {
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BeyondScope => "beyond the scope",
            Self::Create => "create",
            Self::Page => "large search",
            Self::Read => "read",
            Self::Search => "search",
            Self::StreamedRead => "streamed read",
            Self::Transaction => "transaction",
            Self::Unread => "no interaction",
            Self::Update => "update",
            Self::WithoutToken => "without a token",
        }
    }
}

/// One gateway's clients, and the tokens they have.
pub struct Load {
    client: Client,
    everything: String,
    patients: String,
    writing: String,
}

/// Clients at work.
pub struct Workers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Told>>,
}

impl Workers {
    /// Waits until each has its last answer, or knows that it gets none.
    pub async fn end(self) -> Vec<Told> {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

impl Load {
    pub fn new(house: &House) -> Self {
        Self {
            client: house.client.clone(),
            everything: house.token("system/*.cruds"),
            patients: house.token("system/Patient.rs"),
            writing: house.token("system/Patient.rs system/Observation.cruds"),
        }
    }

    /// Lets the clients begin.
    pub fn begin(self: &Arc<Self>, round: usize, chance: &mut Chance) -> Workers {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for worker in 0..WORKERS {
            let (load, stop) = (Arc::clone(self), Arc::clone(&stop));
            let mut chance = Chance::new(u64::try_from(chance.below(usize::MAX >> 1)).expect("a number"));
            tasks.spawn(async move {
                let mut told = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let id = format!("r{round}w{worker}n{number}");
                    let errand = chance.weighted(&ERRANDS);
                    let answer = load.ask(errand, worker).field("x-request-id", &id).send().await;
                    match Told::of(errand, id, &answer) {
                        Some(one) => told.push(one),
                        // It is gone. Whoever asks on at once only finds the same.
                        None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    }
                }
                told
            });
        }
        Workers { stop, tasks }
    }

    /// A request of this kind.
    pub fn ask(&self, errand: Errand, worker: usize) -> Ask {
        let own = format!("Observation/crash-{worker}");
        match errand {
            Errand::Batch => self.client.ask("POST", "").bearer(&self.writing).json(&bundle(
                "batch",
                &[
                    ("GET", "Patient/pat-01", None),
                    ("POST", "Observation", Some(observation(None))),
                    ("GET", "Condition?patient=pat-01", None),
                    ("PUT", &own, Some(observation(Some(worker)))),
                ],
            )),
            Errand::BeyondScope => {
                self.client.ask("GET", "Observation?patient=pat-01").bearer(&self.patients)
            }
            Errand::Create => {
                self.client.ask("POST", "Observation").bearer(&self.writing).json(&observation(None))
            }
            Errand::Page => self.client.ask("GET", "Patient?_count=200").bearer(&self.everything),
            Errand::Read => self.client.ask("GET", "Patient/pat-01").bearer(&self.patients),
            Errand::Search => self.client.ask("GET", "Patient?_count=10").bearer(&self.patients),
            Errand::StreamedRead => self.client.ask("GET", "Patient/pat-02").bearer(&self.everything),
            Errand::Transaction => self.client.ask("POST", "").bearer(&self.writing).json(&bundle(
                "transaction",
                &[
                    ("POST", "Observation", Some(observation(None))),
                    ("PUT", &own, Some(observation(Some(worker)))),
                ],
            )),
            Errand::Unread => self.client.ask("GET", "Nonsense/1").bearer(&self.everything),
            Errand::Update => {
                self.client.ask("PUT", &own).bearer(&self.writing).json(&observation(Some(worker)))
            }
            Errand::WithoutToken => self.client.ask("GET", "Patient/pat-01"),
        }
    }
}

fn observation(worker: Option<usize>) -> Value {
    let mut resource = json!({"resourceType": "Observation", "status": "final",
        "code": {"text": "crash"}, "subject": {"reference": "Patient/pat-01"}});
    if let Some(worker) = worker {
        resource["id"] = format!("crash-{worker}").into();
    }
    resource
}

fn bundle(kind: &str, entries: &[(&str, &str, Option<Value>)]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(method, url, resource)| {
            let mut entry = json!({"request": {"method": method, "url": url}});
            if let Some(resource) = resource {
                entry["resource"] = resource.clone();
            }
            entry
        })
        .collect();
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

/// Whether an answer came to its end.
pub fn is_whole(answer: &Answer) -> bool {
    answer.status > 0 && answer.broken.is_none()
}
