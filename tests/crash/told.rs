//! What clients were told, held against what was recorded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use pforte::demo::Received;
use pforte::ledger::{Kept, Reader};
use serde_json::Value;

use crate::load::{ERRANDS, Errand, is_whole};
use crate::support::{Answer, Findings};

/// An answer that a client received to its end.
pub struct Told {
    pub errand: Errand,
    pub id: String,
    pub status: u16,
    /// The reason id of a refusal.
    pub reason: Option<String>,
    /// The statuses of a bundle's entries.
    pub entries: Vec<u16>,
}

impl Told {
    pub fn of(errand: Errand, id: String, answer: &Answer) -> Option<Self> {
        if !is_whole(answer) {
            return None;
        }
        let text = answer.text();
        let reason = text.split_once("reason ").and_then(|(_, rest)| rest.split(',').next());
        let reason = reason.filter(|_| answer.status >= 400).map(str::to_owned);
        let bundle = matches!(errand, Errand::Batch | Errand::Transaction) && answer.status == 200;
        let entries = if bundle { answer.entries().iter().map(status).collect() } else { Vec::new() };
        Some(Self { errand, id, status: answer.status, reason, entries })
    }
}

impl Told {
    /// Whether the client was told that nothing could be recorded.
    pub fn is_unrecorded(&self) -> bool {
        self.status == 503 && self.reason.as_deref() == Some("audit_unavailable")
    }
}

fn status(entry: &Value) -> u16 {
    let status = entry["response"]["status"].as_str().unwrap_or_default();
    status.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// How much of what there was.
pub struct Tally {
    answers: usize,
    events: usize,
    written: usize,
    interrupted: usize,
    kinds: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Nobody learns anything of what was never answered.
    pub fn has_every_kind(&self, findings: &Findings) {
        for (_, errand) in ERRANDS {
            let answered = self.kinds.contains_key(errand.name());
            findings.check(answered, format!("nobody was ever answered: {}", errand.name()));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers, events, written, interrupted, kinds } = self;
        write!(f, "{answers} answers, {events} events, {written} writes at the backend, ")?;
        write!(f, "{interrupted} with an end that is not known; {kinds:?}")
    }
}

/// Holds all of it together.
pub fn hold(told: &[Told], backend: &[Received], folder: &Path, findings: &Findings) -> Tally {
    let events =
        Reader::open(folder).and_then(|reader| reader.after(0, usize::MAX)).expect("readable events");
    let mut of_request: HashMap<&str, Vec<&Kept>> = HashMap::new();
    for (number, kept) in (1..).zip(&events) {
        findings.check(kept.sequence == number, format!("event {number} has the number {}", kept.sequence));
        of_request.entry(kept.entry.request_id.as_str()).or_default().push(kept);
    }
    for (id, events) in &of_request {
        let mut places = HashSet::new();
        for kept in events {
            let place = (kept.entry.batch_entry, kept.entry.about.as_deref());
            findings.check(places.insert(place), format!("{id}: recorded twice: {}", line(kept)));
        }
    }
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    for one in told {
        *kinds.entry(one.errand.name()).or_default() += 1;
        answered(one, of_request.get(one.id.as_str()).map_or(&[], Vec::as_slice), findings);
    }
    let (written, interrupted) = writes(backend, &of_request, findings);
    Tally { answers: told.len(), events: events.len(), written, interrupted, kinds }
}

/// An answer has its events: each with its status and reason, none that says anything else.
fn answered(told: &Told, events: &[&Kept], findings: &Findings) {
    // That it could not be recorded is all that this one says.
    if told.is_unrecorded() {
        return;
    }
    let say = |what: &str| {
        let lines: Vec<String> = events.iter().map(|kept| line(kept)).collect();
        let (name, id, status) = (told.errand.name(), &told.id, told.status);
        findings.add(format!("{name} {id}, answered with {status} {:?}: {what}: {lines:?}", told.reason));
    };
    let own: Vec<_> = events.iter().filter(|kept| kept.entry.batch_entry.is_none()).collect();
    if own.is_empty() {
        return say("no event");
    }
    if own.iter().any(|kept| kept.entry.status != told.status) {
        return say("another status is recorded");
    }
    if own.iter().any(|kept| kept.entry.reason.as_deref() != told.reason.as_deref()) {
        return say("another reason is recorded");
    }
    for (index, status) in told.entries.iter().enumerate() {
        let mut of_entry = events.iter().filter(|kept| kept.entry.batch_entry == Some(index)).peekable();
        if of_entry.peek().is_none() {
            return say(&format!("no event of entry {index}"));
        }
        if of_entry.any(|kept| kept.entry.status != *status) {
            return say(&format!("another status of entry {index} than {status}"));
        }
    }
}

/// Every write at the backend has an event. How many there were, and how many of them with an end that is not known.
fn writes(
    backend: &[Received],
    of_request: &HashMap<&str, Vec<&Kept>>,
    findings: &Findings,
) -> (usize, usize) {
    let writes: Vec<&Received> =
        backend.iter().filter(|received| ["POST", "PUT"].contains(&received.method.as_str())).collect();
    let mut interrupted = 0;
    for write in &writes {
        let id = write.header("x-request-id").unwrap_or("none");
        let Some(events) = of_request.get(id) else {
            findings.add(format!("{} {} reached the backend as {id}: no event", write.method, write.target));
            continue;
        };
        let open = events.iter().any(|kept| kept.entry.reason.as_deref() == Some("interrupted"));
        interrupted += usize::from(open);
    }
    (writes.len(), interrupted)
}

fn line(kept: &Kept) -> String {
    let entry = &kept.entry;
    format!(
        "{} {} {} [{:?}] {:?} {} {:?}",
        kept.sequence, entry.method, entry.target, entry.batch_entry, entry.about, entry.status, entry.reason
    )
}
