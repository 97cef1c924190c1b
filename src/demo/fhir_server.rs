//! An in-memory FHIR R4 server: the backend of `pforte demo` and of the tests.
//!
//! It enforces nothing: whoever reaches it may do everything. Every request it sees is written down, so that a test can
//! assert that the backend saw nothing, and it can be told to misbehave. JSON in; JSON and XML out.

mod batch;
mod call;
mod capability;
mod data;
mod fault;
mod moment;
mod operation;
mod page;
mod parameters;
mod patch;
mod search;
mod store;
mod values;
mod world;
mod write;
pub mod xml;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use data::{ENCOUNTERS_PER_PATIENT, PATIENTS, patient_id, people};
pub use fault::Fault;
pub use search::Unknown;

use super::chance;
use super::serving::{Body, Bound, Received, Serving};
use super::trouble::Canned;
use call::{Answer, Call, Content};
use store::{Key, Store};
use world::{Heeds, World};

/// What a demo FHIR server starts with.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Plain HTTP when there is none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The path of the base, such as `/fhir`; may be empty.
    pub root: String,
    /// What is in it.
    pub content: Contents,
    /// What happens with search parameters it does not know.
    pub unknown: Unknown,
}

impl Default for Options {
    fn default() -> Self {
        let (tls, root) = (None, "/fhir".to_owned());
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            root,
            content: Contents::Synthetic,
            unknown: Unknown::Refuse,
        }
    }
}

/// The data a server starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Empty,
    /// Synthetic people and their records.
    Synthetic,
}

/// How to misbehave.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// Answers this instead.
    Answer(Canned),
    /// Closes the connection without an answer.
    Close,
    /// Answers nothing until [`FhirServer::behave`] is called, then answers properly.
    Hang,
    /// Answers a Bundle, or what else was asked for, of at least so many bytes.
    Huge(usize),
    /// Carries conditional writes out on the first resource of the type, whatever the condition says.
    IgnoreConditions,
    /// Ignores every search parameter and returns everyone.
    IgnoreParameters,
    /// Answers properly, one byte a pause.
    Trickle(Duration),
    /// Announces the whole answer and sends half of it.
    Truncate,
    /// Answers 200 with this resource, whatever was asked for.
    WrongResource(Value),
}

/// A running FHIR server; it ends when this is dropped.
pub struct FhirServer {
    shared: Arc<Shared>,
    serving: Serving,
    base: String,
}

struct Shared {
    root: String,
    world: Mutex<World>,
    log: Mutex<Vec<Received>>,
    trouble: Mutex<Trouble>,
    behaved: watch::Sender<u64>,
}

#[derive(Default)]
struct Trouble {
    next: VecDeque<Misbehaviour>,
    lasting: Option<Misbehaviour>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FhirServer {
    /// Binds, fills and serves.
    pub async fn start(options: Options) -> io::Result<Self> {
        let bound = Bound::bind(options.address, options.tls).await?;
        let root = options.root.trim_end_matches('/').to_owned();
        let base = format!("{}{root}", bound.origin());
        let mut store = Store::default();
        if options.content == Contents::Synthetic {
            data::fill(&mut store);
        }
        let world = World { store, base: base.clone(), unknown: options.unknown, heeds: Heeds::All };
        let (world, log, trouble) = (Mutex::new(world), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { root, world, log, trouble, behaved: watch::Sender::new(0) });
        let handler = shared.clone();
        let serving = bound.serve(move |received| Box::pin(respond(handler.clone(), received)));
        Ok(Self { shared, serving, base })
    }

    /// The base URL, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// Stores a resource under its own type and id (a fresh id when it has none), without a request; gives `Type/id`.
    ///
    /// # Errors
    /// When there is no `resourceType` of R4.
    pub fn put(&self, mut resource: Value) -> Result<String, Fault> {
        let mut world = locked(&self.shared.world);
        let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !parameters::known_type(&kind) {
            return Err(Fault::invalid(format!("\"{kind}\" is no resource type of R4")));
        }
        if resource.get("id").is_none() {
            let id = world.store.free_id(&kind);
            if let Some(map) = resource.as_object_mut() {
                map.insert("id".to_owned(), id.into());
            }
        }
        let key = Key::of(&resource).ok_or_else(|| Fault::invalid("The id is no string"))?;
        world.store.put(&key, resource, chance::now());
        Ok(key.reference())
    }

    /// The live content of `Type/id`, without a request.
    pub fn stored(&self, reference: &str) -> Option<Value> {
        let key = Key::parse(reference, "")?;
        locked(&self.shared.world).store.live(&key).map(|it| Value::clone(it))
    }

    /// Deletes `Type/id`, without a request.
    pub fn remove(&self, reference: &str) {
        if let Some(key) = Key::parse(reference, "") {
            locked(&self.shared.world).store.delete(&key, chance::now());
        }
    }

    /// Every request seen since the start or the last [`forget`](Self::forget), in order.
    pub fn log(&self) -> Vec<Received> {
        locked(&self.shared.log).clone()
    }

    /// How many requests were seen.
    pub fn seen(&self) -> usize {
        locked(&self.shared.log).len()
    }

    /// Empties the log.
    pub fn forget(&self) {
        locked(&self.shared.log).clear();
    }

    /// Misbehaves once, for the next request; several are taken in turn.
    pub fn next(&self, misbehaviour: Misbehaviour) {
        locked(&self.shared.trouble).next.push_back(misbehaviour);
    }

    /// Misbehaves until [`behave`](Self::behave).
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        locked(&self.shared.trouble).lasting = Some(misbehaviour);
    }

    /// Ends all misbehaviour; requests that hang are answered.
    pub fn behave(&self) {
        *locked(&self.shared.trouble) = Trouble::default();
        self.shared.behaved.send_modify(|times| *times += 1);
    }

    /// Closes the socket: connections are refused until [`accept_connections`](Self::accept_connections).
    pub async fn refuse_connections(&self) {
        self.serving.refuse().await;
    }

    /// Listens again where it did.
    pub async fn accept_connections(&self) -> io::Result<()> {
        self.serving.resume().await
    }
}

async fn respond(shared: Arc<Shared>, received: Received) -> io::Result<Response<Body>> {
    // Subscribed before the misbehaviour is read: a `behave` in between is not missed.
    let mut behaved = shared.behaved.subscribe();
    locked(&shared.log).push(received.clone());
    let trouble = {
        let mut trouble = locked(&shared.trouble);
        trouble.next.pop_front().or_else(|| trouble.lasting.clone())
    };
    match trouble {
        None => Ok(shared.proper(&received, Heeds::All).response()),
        Some(Misbehaviour::Answer(canned)) => Ok(canned.response()),
        Some(Misbehaviour::Close) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        Some(Misbehaviour::Hang) => {
            if behaved.changed().await.is_err() {
                pending::<()>().await;
            }
            Ok(shared.proper(&received, Heeds::All).response())
        }
        Some(Misbehaviour::Huge(bytes)) => Ok(shared.huge(&received, bytes).response()),
        Some(Misbehaviour::IgnoreConditions) => Ok(shared.proper(&received, Heeds::NoConditions).response()),
        Some(Misbehaviour::IgnoreParameters) => Ok(shared.proper(&received, Heeds::NoParameters).response()),
        Some(Misbehaviour::Trickle(pause)) => Ok(shared.proper(&received, Heeds::All).trickle(pause)),
        Some(Misbehaviour::Truncate) => Ok(shared.proper(&received, Heeds::All).cut()),
        Some(Misbehaviour::WrongResource(resource)) => {
            Ok(shared.written(&received, Answer::ok(resource)).response())
        }
    }
}

impl Shared {
    fn proper(&self, received: &Received, heeds: Heeds) -> Canned {
        let answer = {
            let mut world = locked(&self.world);
            world.heeds = heeds;
            match Call::received(received, &self.root) {
                Some(call) => world::answer(&mut world, &call),
                None => Err(Fault::unknown(format!("Nothing is at {}", received.path()))),
            }
        };
        self.written(
            received,
            answer.unwrap_or_else(|fault| Answer::ok(fault.outcome()).status(fault.status)),
        )
    }

    /// The proper answer with a comment long enough in it.
    fn huge(&self, received: &Received, bytes: usize) -> Canned {
        let mut canned = self.proper(received, Heeds::All);
        let mut resource: Value =
            serde_json::from_slice(&canned.body).unwrap_or_else(|_| json!({"resourceType": "Bundle"}));
        if let Some(map) = resource.as_object_mut() {
            map.insert("implicitRules".to_owned(), format!("urn:huge:{}", "x".repeat(bytes)).into());
        }
        canned.body = resource.to_string().into();
        canned
    }

    /// Writes an answer in the format that was asked for.
    fn written(&self, received: &Received, answer: Answer) -> Canned {
        let (media, body) = match answer.content {
            Content::Nothing => (None, Bytes::new()),
            Content::Raw { media, bytes } => (Some(media), bytes),
            Content::Resource(resource) => match format(received) {
                Format::Json => {
                    (Some("application/fhir+json;charset=UTF-8".to_owned()), resource.to_string().into())
                }
                Format::Xml => {
                    (Some("application/fhir+xml;charset=UTF-8".to_owned()), xml::write(&resource).into())
                }
                Format::Other => return not_acceptable(),
            },
        };
        let mut canned = marked(Canned::new(answer.status.as_u16(), body));
        for (name, value) in answer
            .headers
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .chain(media.map(|it| ("content-type", it)))
        {
            canned = canned.header(name, &value);
        }
        canned
    }
}

fn marked(canned: Canned) -> Canned {
    canned
        .header("server", "pforte-demo-fhir-server")
        .header("x-demo", "synthetic data, not for clinical use")
}

fn not_acceptable() -> Canned {
    let outcome = fault::outcome("error", "not-supported", "This server writes FHIR JSON and FHIR XML");
    let status = StatusCode::NOT_ACCEPTABLE.as_u16();
    marked(
        Canned::new(status, outcome.to_string())
            .header("content-type", "application/fhir+json;charset=UTF-8"),
    )
}

enum Format {
    Json,
    Other,
    Xml,
}

/// `_format` wins over `Accept` (FHIR R4 §3.1.0.1.11).
fn format(received: &Received) -> Format {
    let asked = super::serving::pairs(received.query().as_bytes());
    let asked = asked.into_iter().rev().find(|(name, _)| name == "_format").map(|(_, value)| value);
    let asked = asked.or_else(|| received.header("accept").map(str::to_owned)).unwrap_or_default();
    if asked.is_empty() {
        return Format::Json;
    }
    let first = asked.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
        media if media.contains("json") || matches!(media, "*/*" | "application/*") => Some(Format::Json),
        // What a browser sends names HTML first and XML after it: it gets JSON by `*/*`.
        media if media.contains("xml") && !media.contains("html") && media != "application/xml" => {
            Some(Format::Xml)
        }
        "application/xml" if !asked.contains("text/html") => Some(Format::Xml),
        _ => None,
    });
    first.unwrap_or(Format::Other)
}
