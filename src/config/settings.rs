//! What the gateway runs with: settings that cannot be inconsistent.
//!
//! Only `config` makes these, from a file that passed every check, so that the other rooms need no checks of their own.
//! Units live in the types: durations are `Duration`, sizes are bytes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::fhir::FhirVersion;
use crate::policy::{Rules, SealKey};

pub use crate::policy::CompartmentSearch;

/// Every capability of SMART App Launch 2.2; others are full URIs (DISC-7).
pub const CAPABILITIES: [&str; 20] = [
    "authorize-post",
    "client-confidential-asymmetric",
    "client-confidential-symmetric",
    "client-public",
    "context-banner",
    "context-ehr-encounter",
    "context-ehr-patient",
    "context-standalone-encounter",
    "context-standalone-patient",
    "context-style",
    "launch-ehr",
    "launch-standalone",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    "smart-app-state",
    "sso-openid-connect",
];

/// Everything the gateway runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which set of defaults was chosen.
    pub profile: Profile,
    /// Where and how clients connect.
    pub server: Server,
    /// The FHIR server behind the gateway.
    pub backend: Backend,
    /// Trusted issuers of access tokens; at least one, issuers distinct.
    pub authorization_servers: Vec<AuthorizationServer>,
    /// Overrides of the SMART discovery document, by member name; values checked.
    pub discovery: serde_json::Map<String, serde_json::Value>,
    /// What the pure rooms decide with: scopes, patient, rules and operations.
    pub rules: Rules,
    /// Sender-constrained tokens by DPoP.
    pub dpop: Dpop,
    /// Origins that may call FHIR endpoints from a browser.
    pub cors_origins: Vec<String>,
    /// Bounds on everything a client or backend can make us hold.
    pub limits: Limits,
    /// Where audit events are recorded.
    pub audit: Audit,
    /// What page links are sealed with; absent: a key that lives as long as the process.
    pub seal_key: Option<SealKeyFile>,
    /// Address of `/health`, `/ready`, `/metrics`; absent: no such listener.
    pub admin: Option<SocketAddr>,
    /// Log level and format.
    pub telemetry: Telemetry,
}

/// Which set of defaults was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// gematik ISiK Sicherheit/Connect.
    Isik,
    /// SMART App Launch 2.2.
    Smart,
}

/// Where and how clients connect.
#[derive(Debug, Clone)]
pub struct Server {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// The public FHIR base, without a trailing slash.
    pub public_url: Url,
    /// Certificate and key; absent only with `insecure_http = true`.
    pub tls: Option<ServerTls>,
}

/// TLS of the public listener.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Whether clients present certificates.
    pub client_certificates: ClientCertificates,
    /// PEM bundle of CAs for client certificates.
    pub client_ca: Option<PathBuf>,
    /// Which protocol versions, suites and groups are offered.
    pub suites: TlsSuites,
}

/// Whether clients present certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Never asked for.
    Off,
    /// Asked for; a client without one is served.
    Optional,
    /// A client without one is refused at the handshake.
    Required,
}

/// Which protocol versions, suites and groups are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSuites {
    /// BSI TR-02102-2 (TLS-3 … TLS-5).
    BsiTr021022,
    /// TLS 1.3 and 1.2, hybrid post-quantum key exchange preferred.
    Modern,
}

/// The FHIR server behind the gateway.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its FHIR base, without a trailing slash.
    pub url: Url,
    /// The FHIR version it serves.
    pub fhir_version: FhirVersion,
    /// How the gateway authenticates to it.
    pub credentials: BackendCredentials,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
    /// Whether `Patient/x/Observation` is asked of it.
    pub compartment_search: CompartmentSearch,
    /// Longest wait for its answer's headers, and for each next piece of its body.
    pub timeout: Duration,
    /// Header names that carry the caller's identity; always removed from what clients send.
    pub identity_headers: IdentityHeaders,
}

/// How the gateway authenticates to the backend.
#[derive(Debug, Clone)]
pub enum BackendCredentials {
    /// HTTP Basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// A fixed bearer token.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// The client's own token.
    Forward,
    /// No credentials.
    None,
}

/// Header names that carry the caller's identity to the backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// `fhirUser`, or the subject when the token has none.
    pub user: Option<http::HeaderName>,
    /// The launch patient's id.
    pub patient: Option<http::HeaderName>,
    /// The OAuth client id.
    pub client: Option<http::HeaderName>,
    /// The granted scopes, space separated.
    pub scopes: Option<http::HeaderName>,
}

/// A trusted issuer of access tokens.
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    /// Compared exactly with `iss`.
    pub issuer: String,
    /// Accepted `aud` values; at least one.
    pub audience: Vec<String>,
    /// How its tokens are checked.
    pub validation: Validation,
    /// Where its metadata is; absent: derived from the issuer (RFC 8414 §3, then OpenID Discovery).
    pub metadata_url: Option<Url>,
    /// Where its keys are; absent: from the metadata.
    pub jwks_url: Option<Url>,
    /// Accepted JWS algorithms; never `none`, never HMAC.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Which `typ` header an access token must carry.
    pub token_type: TokenType,
    /// Where tokens are introspected; absent: from the metadata.
    pub introspection_url: Option<Url>,
    /// How the gateway authenticates there; absent when nothing is introspected.
    pub client: Option<IssuerClient>,
    /// Longest time an introspection answer is reused; zero asks every time.
    pub introspection_cache: Duration,
    /// Longest wait for any call to this server.
    pub timeout: Duration,
    /// Tolerated clock difference, at most 60 s.
    pub clock_skew: Duration,
    /// Whether tokens that are no JWT belong to this server.
    pub opaque: bool,
    /// Tokens whose `exp` lies further ahead are refused.
    pub max_lifetime: Option<Duration>,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
    /// Which claims carry what.
    pub claims: crate::token::ClaimNames,
}

/// How an issuer's tokens are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// Signature and introspection must both agree.
    Both,
    /// RFC 7662.
    Introspection,
    /// Signature by the issuer's keys.
    Jwt,
}

/// Which `typ` header an access token must carry (TOK-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt`, `JWT` or none; never a foreign type.
    Any,
    /// RFC 9068: `at+jwt` or `application/at+jwt`.
    AccessToken,
}

/// How the gateway authenticates at an authorization server.
#[derive(Debug, Clone)]
pub struct IssuerClient {
    /// The gateway's client id there.
    pub id: String,
    /// The client authentication method.
    pub auth: IssuerClientAuth,
}

/// OAuth client authentication methods.
#[derive(Debug, Clone)]
pub enum IssuerClientAuth {
    /// RFC 6749 §2.3.1, in the `Authorization` header.
    SecretBasic(Secret),
    /// RFC 6749 §2.3.1, in the form body.
    SecretPost(Secret),
}

/// Sender-constrained tokens by DPoP (RFC 9449).
#[derive(Debug, Clone)]
pub struct Dpop {
    /// Whether the `DPoP` scheme is accepted.
    pub enabled: bool,
}

/// Bounds on everything a client or backend can make us hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all request header fields together.
    pub header_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Bytes of an answer that must be checked.
    pub checked_answer_bytes: usize,
    /// Entries of a batch or transaction.
    pub bundle_entries: usize,
    /// Client connections at once.
    pub connections: usize,
    /// Longest time from connect, or from the last answer's end, to complete request headers.
    pub header_timeout: Duration,
    /// Longest silence inside a body, and of an idle connection.
    pub idle_timeout: Duration,
    /// Requests of one OAuth client; absent: unlimited.
    pub requests_per_client: Option<Rate>,
    /// How long in-flight requests may take after SIGTERM.
    pub drain_timeout: Duration,
    /// Requests waiting for the backend at once.
    pub backend_requests: usize,
}

/// A request rate: so many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, at least 1.
    pub per_second: u32,
    /// Requests that may come at once, at least 1.
    pub burst: u32,
}

/// Where audit events are recorded.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Folder of the durable spool.
    pub path: PathBuf,
    /// What happens to requests that cannot be recorded.
    pub on_failure: OnAuditFailure,
}

/// What happens to requests that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// They are answered, and the loss is logged.
    Continue,
    /// They are refused with 503.
    Refuse,
}

/// The key of sealed page links, and where it was read. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct SealKeyFile {
    /// The file; read again when it changes.
    pub path: PathBuf,
    /// What was in it.
    pub key: Arc<SealKey>,
}

/// Log level and format.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// A `tracing` filter such as `info` or `pforte=debug`.
    pub log: String,
    /// How lines look.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A secret whose `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret read from a file or the environment.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
