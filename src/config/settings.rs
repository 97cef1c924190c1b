//! What the gateway runs with: settings that cannot be inconsistent.
//!
//! Only `config` makes these, from a file that passed every check, so that the other rooms need no checks of their own.
//! Units live in the types: durations are `Duration`, sizes are bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::fhir::FhirVersion;
use crate::policy::{Rules, SealKey};
use crate::token::NonceKey;

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
    /// Where replicas keep what they share; absent: each for itself.
    pub shared_state: Option<SharedState>,
    /// Address of `/health`, `/ready`, `/metrics`; absent: no such listener.
    pub admin: Option<SocketAddr>,
    /// Log level and format.
    pub telemetry: Telemetry,
    /// Every file that was read for this, secrets among them; read again when one changes.
    pub files: Vec<PathBuf>,
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
    /// Proxies whose word on client certificates counts; absent: nobody's.
    pub proxies: Option<TrustedProxies>,
    /// How many threads serve; absent: one for each core that the process may use.
    pub workers: Option<NonZeroUsize>,
}

/// Proxies in front of the gateway that pass on the client's certificate (TOK-61).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Where their connections come from.
    pub networks: Vec<ipnet::IpNet>,
    /// The field with the client's certificate.
    pub header: http::HeaderName,
}

impl TrustedProxies {
    /// Whether a connection from this address comes from one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // A socket for both families shows IPv4 addresses as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
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
    /// PEM revocation lists of these CAs.
    pub client_crl: Option<PathBuf>,
    /// DER OCSP response to staple.
    pub ocsp: Option<PathBuf>,
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
    /// What the gateway presents in the TLS handshake.
    pub client_certificate: Option<CertificateFiles>,
    /// Whether `Patient/x/Observation` is asked of it.
    pub compartment_search: CompartmentSearch,
    /// Longest wait for its answer's headers, and for each next piece of its body.
    pub timeout: Duration,
    /// Header names that carry the caller's identity; always removed from what clients send.
    pub identity_headers: IdentityHeaders,
}

/// How the gateway authenticates to the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// A token by the client credentials grant (RFC 6749 §4.4).
    ClientCredentials(Box<TokenRequest>),
    /// The client's token, exchanged (RFC 8693).
    TokenExchange(Box<TokenRequest>),
    /// The client's own token.
    Forward,
    /// No credentials.
    None,
}

/// How a token for the backend is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The token endpoint.
    pub token_url: Url,
    /// The gateway's credentials there.
    pub client: IssuerClient,
    /// The scope to ask for.
    pub scope: Option<String>,
    /// The audience to ask for.
    pub audience: Option<String>,
    /// The resource to ask for (RFC 8707).
    pub resource: Option<String>,
    /// Longest wait for the token endpoint.
    pub timeout: Duration,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub key: PathBuf,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Whether introspection answers must be signed (RFC 9701).
    pub introspection_response: IntrospectionResponse,
    /// What `authorization_details` mean (CTX-10).
    pub authorization_details: AuthorizationDetails,
    /// How old metadata and keys may become before they are fetched anew.
    pub refresh: Duration,
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

pub use super::file::{AuthorizationDetails, IntrospectionResponse};

/// Which `typ` header an access token must carry (TOK-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt`, `JWT` or none; never a foreign type.
    Any,
    /// RFC 9068: `at+jwt` or `application/at+jwt`.
    AccessToken,
}

/// How the gateway authenticates at an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerClient {
    /// The gateway's client id there.
    pub id: String,
    /// The client authentication method.
    pub auth: IssuerClientAuth,
}

/// OAuth client authentication methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerClientAuth {
    /// RFC 6749 §2.3.1, in the `Authorization` header.
    SecretBasic(Secret),
    /// RFC 6749 §2.3.1, in the form body.
    SecretPost(Secret),
    /// RFC 7523 §2.2.
    PrivateKeyJwt(AssertionKey),
    /// RFC 8705 §2.
    Tls(CertificateFiles),
}

/// The key that client assertions are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionKey {
    /// The PEM file's text.
    pub pem: Secret,
    /// Its id, for the header.
    pub kid: Option<String>,
    /// The algorithm; fits the key.
    pub algorithm: jsonwebtoken::Algorithm,
}

/// Sender-constrained tokens by DPoP (RFC 9449).
#[derive(Debug, Clone)]
pub struct Dpop {
    /// Whether the `DPoP` scheme is accepted.
    pub enabled: bool,
    /// How far a proof's `iat` may lie from now.
    pub window: Duration,
    /// Whether proofs must carry a nonce of the gateway.
    pub nonce: bool,
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
    /// Longest time from connect, or from the first byte of a further request, to complete request headers.
    pub header_timeout: Duration,
    /// Longest silence inside a body, and between two requests.
    pub idle_timeout: Duration,
    /// Requests of one OAuth client; absent: unlimited.
    pub requests_per_client: Option<Rate>,
    /// How long in-flight requests may take after SIGTERM.
    pub drain_timeout: Duration,
    /// Requests waiting for the backend at once.
    pub backend_requests: usize,
    /// Failures in a row after which the backend is left alone; none: it never is.
    pub backend_failures: u32,
    /// For how long it is left alone.
    pub backend_pause: Duration,
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
    /// When a file of the spool is closed and a new one begun.
    pub rotation: Rotation,
    /// How long events are kept that every sink has taken; absent: for ever.
    pub retention: Option<Duration>,
    /// Where they are sent as well.
    pub sinks: Vec<AuditSink>,
}

/// When a file of the spool is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// When it is larger than this.
    pub bytes: u64,
    /// When its first event is older than this.
    pub age: Duration,
}

/// Where audit events are sent as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSink {
    /// Its name, like no other's: in metrics, logs and the spool's memory of what it has taken.
    pub name: String,
    /// What it is.
    pub kind: AuditSinkKind,
}

/// The kinds of sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSinkKind {
    /// A FHIR audit record repository.
    Fhir(Box<FhirSink>),
    /// A file of JSON lines.
    File(FileSink),
    /// Syslog over TLS.
    Syslog(Box<SyslogSink>),
}

/// A FHIR audit record repository (ITI-20, FHIR feed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirSink {
    /// Its FHIR base, without a trailing slash.
    pub url: Url,
    /// The form of the events.
    pub fhir_version: FhirVersion,
    /// How an event is written.
    pub write: SinkWrite,
    /// How the gateway authenticates there: neither `Forward` nor `TokenExchange`.
    pub credentials: BackendCredentials,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
    /// What the gateway presents there.
    pub client_certificate: Option<CertificateFiles>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Most events in one transaction, at least 1.
    pub batch: usize,
}

/// How an event is written to a FHIR repository so that sending it twice makes it no two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkWrite {
    /// `POST` with `If-None-Exist` on a tag that is the event's id.
    Create,
    /// `PUT` to the event's own id.
    Update,
}

/// A file of AuditEvents, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// Its path.
    pub path: PathBuf,
    /// The form of the events.
    pub fhir_version: FhirVersion,
}

/// Syslog over TLS (RFC 5424, RFC 5425).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSink {
    /// Host name or address; the certificate must be for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
    /// What the gateway presents there.
    pub client_certificate: Option<CertificateFiles>,
    /// What a message holds.
    pub format: SyslogFormat,
    /// Longest wait for the connection, and for each write.
    pub timeout: Duration,
}

/// What a syslog message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogFormat {
    /// A DICOM AuditMessage in XML (PS3.15 A.5; ATNA ITI-20).
    Dicom,
    /// A FHIR AuditEvent in JSON.
    Fhir,
}

/// What happens to requests that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// They are answered, and the loss is logged.
    Continue,
    /// They are refused with 503.
    Refuse,
}

/// The keys of page links and nonces, and the file they were derived from. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct SealKeyFile {
    /// The file; read again when it changes.
    pub path: PathBuf,
    /// What was in it.
    pub keys: Keys,
}

/// The keys of everything that the gateway makes and must know again. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Seals page links.
    pub seal: Arc<SealKey>,
    /// Makes nonces.
    pub nonce: Arc<NonceKey>,
}

impl Keys {
    /// Derives them from 32 random bytes; absent when the cipher does not take these.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Option<Self> {
        let seal = Arc::new(SealKey::new(secret)?);
        Some(Self { seal, nonce: Arc::new(NonceKey::new(secret)) })
    }

    /// The same, where what was made with a secret before is still accepted.
    #[must_use]
    pub fn succeeding(secret: &[u8; 32], former: &[u8; 32]) -> Option<Self> {
        let seal = Arc::new(SealKey::new(secret)?.succeeding(former)?);
        Some(Self { seal, nonce: Arc::new(NonceKey::new(secret).succeeding(former)) })
    }
}

/// Where replicas keep what they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedState {
    /// `redis://` or `rediss://` with a host, without credentials.
    pub url: Url,
    /// The number of the database, from its path.
    pub database: u32,
    /// The user of Redis' access list.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Extra trust anchor, PEM.
    pub ca: Option<PathBuf>,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Whether the key of links and nonces is shared there, too: when no file has it.
    pub keeps_key: bool,
}

/// Log level and format.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// A `tracing` filter such as `info` or `pforte=debug`.
    pub log: String,
    /// How lines look.
    pub log_format: LogFormat,
    /// Whether each request has a log line of its own; refusals have one in any case.
    pub access_log: bool,
    /// Where traces are sent.
    pub traces: Option<Traces>,
}

/// OpenTelemetry traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector, OTLP over gRPC.
    pub collector: Url,
    /// The part of the requests that are traced when the client's trace context does not say, from 0 to 1.
    pub ratio: f64,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// TOK-61: an address is one of them however the socket shows it.
    #[test]
    fn addresses_of_trusted_proxies() {
        let networks = ["10.0.0.0/24", "192.0.2.7/32", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let header = http::HeaderName::from_static("client-cert");
        let proxies = TrustedProxies { networks: networks.to_vec(), header };
        let table = [
            ("10.0.0.1", true),
            ("10.0.1.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:10.0.1.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ];
        for (address, means) in table {
            assert_eq!(proxies.contains(address.parse().unwrap()), means, "{address}");
        }
    }
}
