//! An authorization server for `pforte demo` and the tests: OAuth 2.0 with PKCE, OpenID Connect, SMART launch context.
//!
//! It plays by the rules a gateway relies on (RFC 6749, 7636, 7662, 8414, 9068, 9207; SMART App Launch 2.2): S256 only,
//! exact redirect URIs, codes that work once, ES256 tokens of type `at+jwt`. It lets everybody in: the password stands on
//! its login page. Tests mint tokens directly, count calls, and make each endpoint misbehave.

mod authorize;
mod claims;
mod endpoint;
mod introspect;
mod keys;
mod metadata;
mod pages;
mod people;
mod token;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

pub use claims::Claims;
pub use endpoint::{Endpoint, Misbehaviour};
pub use people::{Client, Person, Pickable, TokenForm};

use super::app;
use super::chance;
use super::serving::{Body, Bound, Received, Serving, full, with_headers};
use endpoint::path;
use keys::Keys;
pub(super) use pages::escaped;

/// What a demo authorization server starts with.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Plain HTTP when there is none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The issuer; the origin it listens on when there is none.
    pub issuer: Option<String>,
    /// The FHIR base URL that tokens are for: what apps send as `aud`.
    pub audience: String,
    /// How long an access token lives.
    pub lifetime: Duration,
    /// Clients; the redirect URI `{issuer}/app` is written `/app`.
    pub clients: Vec<Client>,
    /// Who can log in.
    pub people: Vec<Person>,
    /// Who can be picked for `launch/patient`.
    pub patients: Vec<Pickable>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            issuer: None,
            audience: "https://127.0.0.1:8443/fhir".to_owned(),
            lifetime: Duration::from_secs(3600),
            clients: people::clients(),
            people: people::people(),
            patients: people::patients(),
        }
    }
}

/// A running authorization server; it ends when this is dropped.
pub struct AuthorizationServer {
    shared: Arc<Shared>,
    serving: Serving,
}

pub(super) struct Shared {
    origin: String,
    issuer: String,
    lifetime: Duration,
    clients: Vec<Client>,
    people: Vec<Person>,
    patients: Vec<Pickable>,
    memory: Mutex<Memory>,
    behaved: watch::Sender<u64>,
}

/// All that changes.
struct Memory {
    audience: String,
    keys: Keys,
    flows: HashMap<String, authorize::Flow>,
    codes: HashMap<String, authorize::Code>,
    refresh: HashMap<String, token::Refresh>,
    launches: HashMap<String, authorize::Launch>,
    tokens: HashMap<String, Issued>,
    calls: HashMap<Endpoint, usize>,
    trouble: HashMap<Endpoint, Misbehaviour>,
    metadata: Map<String, Value>,
}

/// An access token that was given out.
#[derive(Clone, Debug)]
struct Issued {
    claims: Map<String, Value>,
    revoked: bool,
}

impl AuthorizationServer {
    /// Binds, makes a key, and serves.
    ///
    /// # Errors
    /// When the address is taken, or no key can be made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let bound = Bound::bind(options.address, options.tls).await?;
        let origin = bound.origin();
        let issuer = options.issuer.unwrap_or_else(|| origin.clone());
        let clients = options.clients.into_iter().map(|client| client.at(&origin)).collect();
        let memory = Memory {
            audience: options.audience,
            keys: Keys::new()?,
            flows: HashMap::new(),
            codes: HashMap::new(),
            refresh: HashMap::new(),
            launches: HashMap::new(),
            tokens: HashMap::new(),
            calls: HashMap::new(),
            trouble: HashMap::new(),
            metadata: Map::new(),
        };
        let shared = Arc::new(Shared {
            origin,
            issuer,
            lifetime: options.lifetime,
            clients,
            people: options.people,
            patients: options.patients,
            memory: Mutex::new(memory),
            behaved: watch::Sender::new(0),
        });
        let handler = shared.clone();
        let serving = bound.serve(move |received| Box::pin(respond(handler.clone(), received)));
        Ok(Self { shared, serving })
    }

    /// The issuer, as it stands in metadata and tokens.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where it can be reached: `http://127.0.0.1:4711`.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The URL of an endpoint.
    pub fn url(&self, endpoint: Endpoint) -> String {
        format!("{}{}", self.shared.origin, path(endpoint))
    }

    /// Changes the FHIR base URL that tokens are for.
    pub fn set_audience(&self, audience: &str) {
        audience.clone_into(&mut self.shared.memory().audience);
    }

    /// Signs an access token with these claims; `iss`, `aud`, `sub`, `client_id`, `iat`, `exp` and `jti` are filled in when
    /// absent, and left out when given as null. Introspection knows it.
    pub fn mint(&self, claims: Claims) -> String {
        self.mint_with(&json!({}), claims)
    }

    /// The same with header members changed (`typ`, `alg`, `kid` …; null leaves one out). The signature is that of the
    /// key `kid` names when there is one of that name, of the active key otherwise.
    pub fn mint_with(&self, header: &Value, claims: Claims) -> String {
        let mut memory = self.shared.memory();
        let claims = self.shared.complete(&memory, claims);
        let token = memory.keys.sign(header, &claims);
        memory.tokens.insert(token.clone(), Issued { claims, revoked: false });
        token
    }

    /// A token that means these claims and says nothing: only introspection can tell.
    pub fn mint_opaque(&self, claims: Claims) -> String {
        let mut memory = self.shared.memory();
        let claims = self.shared.complete(&memory, claims);
        let token = chance::secret();
        memory.tokens.insert(token.clone(), Issued { claims, revoked: false });
        token
    }

    /// Makes introspection say `active: false` from now on.
    pub fn revoke(&self, token: &str) {
        if let Some(issued) = self.shared.memory().tokens.get_mut(token) {
            issued.revoked = true;
        }
    }

    /// A value for the `launch` parameter of an EHR launch in the context of this patient and encounter.
    pub fn launch(&self, patient: &str, encounter: Option<&str>) -> String {
        let (name, encounter) = (chance::secret(), encounter.map(str::to_owned));
        self.shared
            .memory()
            .launches
            .insert(name.clone(), authorize::Launch { patient: patient.to_owned(), encounter });
        name
    }

    /// Publishes one more key, which signs nothing yet; gives its `kid`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn add_key(&self) -> io::Result<String> {
        self.shared.memory().keys.add()
    }

    /// Publishes a new key and signs with it from now on; the old ones stay published. Gives its `kid`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate_key(&self) -> io::Result<String> {
        self.shared.memory().keys.rotate()
    }

    /// Takes a key out of the published set; [`mint_with`](Self::mint_with) can still sign with it.
    pub fn remove_key(&self, kid: &str) {
        self.shared.memory().keys.withdraw(kid);
    }

    /// The `kid` of the key that signs.
    pub fn active_key(&self) -> String {
        self.shared.memory().keys.active().to_owned()
    }

    /// The key set as it is published.
    pub fn jwks(&self) -> Value {
        self.shared.memory().keys.published()
    }

    /// How often an endpoint was called, misbehaviour included.
    pub fn calls(&self, endpoint: Endpoint) -> usize {
        self.shared.memory().calls.get(&endpoint).copied().unwrap_or_default()
    }

    /// Makes an endpoint misbehave until [`behave`](Self::behave).
    pub fn misbehave(&self, endpoint: Endpoint, misbehaviour: Misbehaviour) {
        self.shared.memory().trouble.insert(endpoint, misbehaviour);
    }

    /// Ends all misbehaviour, and lets go what was held.
    pub fn behave(&self) {
        self.shared.memory().trouble.clear();
        self.shared.behaved.send_modify(|times| *times += 1);
    }

    /// Sets members of the metadata; null takes one out.
    pub fn override_metadata(&self, members: &Value) {
        if let Some(members) = members.as_object() {
            self.shared.memory().metadata.extend(members.clone());
        }
    }

    /// Closes the socket: connections are refused until [`accept_connections`](Self::accept_connections).
    pub async fn refuse_connections(&self) {
        self.serving.refuse().await;
    }

    /// Listens again where it did.
    ///
    /// # Errors
    /// When the address was taken in between.
    pub async fn accept_connections(&self) -> io::Result<()> {
        self.serving.resume().await
    }
}

async fn respond(shared: Arc<Shared>, received: Received) -> io::Result<Response<Body>> {
    let Some(endpoint) = shared.endpoint(received.path()) else {
        return Ok(shared.elsewhere(&received));
    };
    // Subscribed before the misbehaviour is read: a `behave` in between is not missed.
    let mut behaved = shared.behaved.subscribe();
    let trouble = {
        let mut memory = shared.memory();
        *memory.calls.entry(endpoint).or_default() += 1;
        memory.trouble.get(&endpoint).cloned()
    };
    match trouble {
        None => {}
        Some(Misbehaviour::Answer(canned)) => return Ok(canned.response()),
        Some(Misbehaviour::Close) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        Some(Misbehaviour::Delay(pause)) => tokio::time::sleep(pause).await,
        // An error means that the server is gone, and this task with it.
        Some(Misbehaviour::Hold) => drop(behaved.changed().await),
    }
    Ok(shared.answer(endpoint, &received))
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, asked: &str) -> Option<Endpoint> {
        use Endpoint::{
            App, Authorization, Introspection, Jwks, OAuthMetadata, OpenIdMetadata, Revocation, Token,
        };
        let all = [App, Authorization, Introspection, Jwks, OAuthMetadata, OpenIdMetadata, Revocation, Token];
        // RFC 8414 §3.1 puts the path of the issuer behind the well-known place, OpenID before it.
        let tenant = self.issuer.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let bare = asked.strip_suffix(tenant.as_str()).filter(|rest| rest.starts_with("/.well-known/"));
        let bare = bare.or_else(|| asked.strip_prefix(tenant.as_str())).unwrap_or(asked);
        let form = bare.strip_prefix("/authorize/").map_or(bare, |_| "/authorize");
        all.into_iter().find(|endpoint| path(*endpoint) == form)
    }

    fn answer(&self, endpoint: Endpoint, received: &Received) -> Response<Body> {
        let methods: &[Method] = match endpoint {
            Endpoint::App | Endpoint::Jwks | Endpoint::OAuthMetadata | Endpoint::OpenIdMetadata => {
                &[Method::GET, Method::HEAD]
            }
            Endpoint::Authorization => &[Method::GET, Method::POST],
            Endpoint::Introspection | Endpoint::Revocation | Endpoint::Token => &[Method::POST],
        };
        if received.method == Method::OPTIONS && endpoint != Endpoint::Authorization {
            return preflight();
        }
        if !methods.contains(&received.method) {
            return refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "this method is not possible here",
            );
        }
        match endpoint {
            Endpoint::App => pages::html(StatusCode::OK, &app::page(&self.memory().audience, &self.issuer)),
            Endpoint::Authorization => authorize::answer(self, received),
            Endpoint::Introspection => introspect::introspect(self, received),
            Endpoint::Jwks => json_answer(StatusCode::OK, &self.memory().keys.published()),
            Endpoint::OAuthMetadata | Endpoint::OpenIdMetadata => {
                json_answer(StatusCode::OK, &metadata::document(self))
            }
            Endpoint::Revocation => introspect::revoke(self, received),
            Endpoint::Token => token::answer(self, received),
        }
    }

    fn elsewhere(&self, received: &Received) -> Response<Body> {
        match received.path() {
            "/" => pages::html(StatusCode::OK, &pages::front(self)),
            _ => pages::html(StatusCode::NOT_FOUND, &pages::message("Not found", "There is nothing here.")),
        }
    }

    /// The claims of an access token (RFC 9068 §2.2) with what is absent filled in and what is null left out.
    fn complete(&self, memory: &Memory, claims: Claims) -> Map<String, Value> {
        let now = chance::now().as_second();
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut all = Map::new();
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("aud", json!(memory.audience)),
            ("sub", json!("demo-subject")),
            ("client_id", json!("demo-client")),
            ("iat", json!(now)),
            ("exp", json!(now.saturating_add(lifetime))),
            ("jti", json!(chance::uuid())),
        ] {
            all.insert(name.to_owned(), value);
        }
        all.extend(claims.into_map());
        all.retain(|_, value| !value.is_null());
        all
    }
}

/// A JSON answer that any page may read and nobody may keep.
fn json_answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    with_headers(
        response,
        [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "*"),
            ("x-demo", "not for production"),
        ],
    )
}

/// An OAuth error (RFC 6749 §5.2).
fn refusal(status: StatusCode, error: &str, text: &str) -> Response<Body> {
    json_answer(status, &json!({"error": error, "error_description": text}))
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    with_headers(
        response,
        [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET, POST, OPTIONS"),
            ("access-control-allow-headers", "authorization, content-type, dpop"),
            ("access-control-max-age", "600"),
        ],
    )
}
