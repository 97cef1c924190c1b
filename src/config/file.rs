//! `gateway.toml` as it is written: every key once, with what it means.
//!
//! The doc comments here are what `pforte schema` prints. Nothing is decided here: a key that must be there is an
//! `Option` marked `required`, so that the checks can go on after a first complaint and show all of them at once.
//! Unknown keys are errors everywhere.

mod access;
mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::access::{
    Answer, Context, Encounter, Level, Malformed, Need, Operation, Patient, Rule, Scopes, Unmatched, When,
};
pub use self::trust::{
    AuthorizationDetails, AuthorizationServer, Claims, Client, ClientAuth, Discovery, Dpop,
    IntrospectionResponse, Nonce, TokenType, Validation,
};
use super::values::{MaybePeriod, MaybeRate, OneOrMany, Period, Size};

/// Configuration of the Pforte gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Set of defaults: `smart` (SMART App Launch 2.2) or `isik` (gematik ISiK). Default: `smart`.
    pub profile: Option<Profile>,
    /// Where and how clients connect.
    #[schemars(required)]
    pub server: Option<Server>,
    /// The FHIR server behind the gateway.
    #[schemars(required)]
    pub backend: Option<Backend>,
    /// Trusted issuers of access tokens, at least one.
    #[schemars(required)]
    pub authorization_server: Option<Vec<AuthorizationServer>>,
    /// Members of the SMART discovery document that replace what the authorization server's metadata says.
    pub discovery: Option<Discovery>,
    /// How SMART scopes are read.
    pub scopes: Option<Scopes>,
    /// What `patient/` scopes reach.
    pub patient: Option<Patient>,
    /// Limits on top of scopes; all rules that match hold together.
    pub rule: Option<Vec<Rule>>,
    /// Rows added to, or changed in, the table of operations.
    pub operation: Option<Vec<Operation>>,
    /// Sender-constrained tokens (RFC 9449).
    pub dpop: Option<Dpop>,
    /// Browser apps that may call FHIR endpoints.
    pub cors: Option<Cors>,
    /// Bounds on what a client or the backend can make the gateway hold.
    pub limits: Option<Limits>,
    /// Where audit events are recorded.
    pub audit: Option<Audit>,
    /// What replicas share.
    pub shared_state: Option<SharedState>,
    /// Health, readiness and metrics, on a port of their own.
    pub admin: Option<Admin>,
    /// Logs and traces.
    pub telemetry: Option<Telemetry>,
    /// Several backends under several public paths. Not available in this version.
    pub route: Option<Vec<Route>>,
}

/// Set of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// gematik ISiK Sicherheit/Connect.
    Isik,
    /// SMART App Launch 2.2.
    Smart,
}

/// Where and how clients connect.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// One address or a list. Default: `127.0.0.1:8443`.
    pub listen: Option<OneOrMany<String>>,
    /// The FHIR base that clients use; its path is where the gateway serves.
    #[schemars(required, example = &"https://gw.example/fhir")]
    pub public_url: Option<String>,
    /// Serve without TLS: for tests, or behind a trusted proxy that ends TLS. Default: false.
    pub insecure_http: Option<bool>,
    /// Certificate and key; required unless `insecure_http = true`.
    pub tls: Option<Tls>,
    /// Proxies in front of the gateway, as addresses or networks such as `10.0.0.0/24`: what they say of a client's certificate
    /// counts, what others say does not. Default: none.
    pub trusted_proxies: Option<Vec<String>>,
    /// The field in which a trusted proxy passes on the client's certificate: `Client-Cert` (RFC 9440), or the name of a
    /// field with an URL-encoded PEM certificate, such as `X-SSL-Client-Cert`. Default: none.
    pub client_certificate_header: Option<String>,
    /// How many threads serve requests, 1 to 1024. Default: as many as there are cores that the process may use.
    pub workers: Option<u64>,
}

/// TLS of the public listener.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate chain, leaf first; re-read on change.
    #[schemars(required, example = &"certs/server.pem")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key (PKCS#8, PKCS#1 or SEC1).
    #[schemars(required, example = &"certs/server.key")]
    pub key: Option<PathBuf>,
    /// Whether clients present certificates. Default: `off`.
    pub client_certificates: Option<ClientCertificates>,
    /// PEM file with the CAs of client certificates; needed unless `client_certificates = "off"`.
    pub client_ca: Option<PathBuf>,
    /// PEM file with the revocation lists of these CAs, one of each; re-read on change. A certificate of which no list in force
    /// speaks is refused. Default: none.
    pub client_crl: Option<PathBuf>,
    /// DER file with the OCSP response that is stapled; re-read on change, left out when it is past its time. Default: none.
    pub ocsp: Option<PathBuf>,
    /// Protocol versions, suites and groups. Default: `modern`; with `profile = "isik"`: `bsi-tr-02102-2`.
    pub suites: Option<Suites>,
}

/// Whether clients present certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Never asked for.
    Off,
    /// Asked for; a client without one is served, and one that the client issued itself serves RFC 8705 binding.
    Optional,
    /// A client without one is refused at the handshake.
    Required,
}

/// Protocol versions, suites and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Suites {
    /// BSI TR-02102-2.
    #[serde(rename = "bsi-tr-02102-2")]
    BsiTr021022,
    /// TLS 1.3 and 1.2, hybrid post-quantum key exchange preferred.
    #[serde(rename = "modern")]
    Modern,
}

/// The FHIR server behind the gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its FHIR base.
    #[schemars(required, example = &"http://127.0.0.1:8080/fhir")]
    pub url: Option<String>,
    /// The FHIR version it serves. Default: `4.0`.
    pub fhir_version: Option<FhirRelease>,
    /// How the gateway authenticates to it. Default: `{ kind = "none" }`.
    pub credentials: Option<Credentials>,
    /// PEM file with an extra trust anchor for an https backend.
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate chain that the gateway presents to an https backend. Default: none.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of `client_certificate`.
    pub client_key: Option<PathBuf>,
    /// Whether `Patient/x/Observation` is asked of it: `"auto"` (as its CapabilityStatement tells), true or false.
    /// Default: `"auto"`.
    pub compartment_search: Option<CompartmentSearch>,
    /// Longest wait for its answer's headers, and for each next piece of its body. Default: `30s`.
    pub timeout: Option<Period>,
    /// Headers that carry the caller's identity; these names are always removed from what clients send. Default: none.
    pub identity_headers: Option<IdentityHeaders>,
}

/// A FHIR version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FhirRelease {
    /// FHIR R4 (4.0.1).
    #[serde(rename = "4.0")]
    R4,
    /// FHIR R4B (4.3.0).
    #[serde(rename = "4.3")]
    R4b,
    /// FHIR R5 (5.0.0).
    #[serde(rename = "5.0")]
    R5,
}

/// How the gateway authenticates to the backend.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::enum_variant_names, reason = "`client_credentials` is the grant's name in RFC 6749 §4.4")]
pub enum Credentials {
    /// HTTP Basic.
    Basic {
        /// User name.
        #[schemars(required, example = &"pforte")]
        username: Option<String>,
        /// File with the password.
        password_file: Option<PathBuf>,
        /// Environment variable with the password.
        password_env: Option<String>,
    },
    /// A fixed bearer token.
    Bearer {
        /// File with the token.
        token_file: Option<PathBuf>,
        /// Environment variable with the token.
        token_env: Option<String>,
    },
    /// A token by the client credentials grant (RFC 6749 §4.4), renewed before it expires.
    ClientCredentials {
        /// The token endpoint.
        #[schemars(required, example = &"https://as.example/token")]
        token_url: Option<String>,
        /// The gateway's client id there.
        #[schemars(required, example = &"pforte")]
        client_id: Option<String>,
        /// How the gateway authenticates there. Default: `client_secret_basic`.
        auth: Option<ClientAuth>,
        /// File with the client secret.
        client_secret_file: Option<PathBuf>,
        /// Environment variable with the client secret.
        client_secret_env: Option<String>,
        /// PEM file with the private key of `private_key_jwt` or `tls`.
        key_file: Option<PathBuf>,
        /// The key's id for `private_key_jwt`.
        kid: Option<String>,
        /// The signature algorithm of `private_key_jwt`. Default: by the key.
        algorithm: Option<String>,
        /// PEM file with the certificate of `tls`.
        certificate: Option<PathBuf>,
        /// The scope to ask for.
        scope: Option<String>,
        /// The audience to ask for.
        audience: Option<String>,
        /// The resource to ask for (RFC 8707).
        resource: Option<String>,
        /// Longest wait for the token endpoint. Default: `5s`.
        timeout: Option<Period>,
        /// PEM file with an extra trust anchor for the token endpoint.
        ca: Option<PathBuf>,
    },
    /// The client's own token.
    Forward {},
    /// No credentials.
    None {},
    /// The client's token, exchanged for one that the backend accepts (RFC 8693).
    TokenExchange {
        /// The token endpoint.
        #[schemars(required, example = &"https://as.example/token")]
        token_url: Option<String>,
        /// The gateway's client id there.
        #[schemars(required, example = &"pforte")]
        client_id: Option<String>,
        /// How the gateway authenticates there. Default: `client_secret_basic`.
        auth: Option<ClientAuth>,
        /// File with the client secret.
        client_secret_file: Option<PathBuf>,
        /// Environment variable with the client secret.
        client_secret_env: Option<String>,
        /// PEM file with the private key of `private_key_jwt` or `tls`.
        key_file: Option<PathBuf>,
        /// The key's id for `private_key_jwt`.
        kid: Option<String>,
        /// The signature algorithm of `private_key_jwt`. Default: by the key.
        algorithm: Option<String>,
        /// PEM file with the certificate of `tls`.
        certificate: Option<PathBuf>,
        /// The scope to ask for.
        scope: Option<String>,
        /// The audience to ask for.
        audience: Option<String>,
        /// The resource to ask for (RFC 8693 §2.1).
        resource: Option<String>,
        /// Longest wait for the token endpoint. Default: `5s`.
        timeout: Option<Period>,
        /// PEM file with an extra trust anchor for the token endpoint.
        ca: Option<PathBuf>,
    },
}

/// `"auto"`, `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CompartmentSearch {
    /// Always or never.
    Fixed(bool),
    /// As the CapabilityStatement tells.
    Told(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// `auto`.
    Auto,
}

impl JsonSchema for CompartmentSearch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CompartmentSearch".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["auto", true, false] })
    }
}

/// Headers that carry the caller's identity to the backend.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityHeaders {
    /// `fhirUser`, or the subject when the token has none, e.g. `X-Forwarded-User`.
    pub user: Option<String>,
    /// The launch patient's id, e.g. `X-Patient`.
    pub patient: Option<String>,
    /// The OAuth client id, e.g. `X-Client-Id`.
    pub client: Option<String>,
    /// The granted scopes, space separated, e.g. `X-Scopes`.
    pub scopes: Option<String>,
}

/// Browser apps that may call FHIR endpoints; discovery and metadata answer any origin.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://app.example`; no wildcard. Default: none.
    pub origins: Option<Vec<String>>,
}

/// Bounds on what a client or the backend can make the gateway hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// All request header fields together. Default: `32KiB`.
    pub header_bytes: Option<Size>,
    /// The request target. Default: `8KiB`.
    pub target_bytes: Option<Size>,
    /// A request body. Default: `16MiB`.
    pub body_bytes: Option<Size>,
    /// An answer that must be checked before it is returned. Default: `64MiB`.
    pub checked_answer_bytes: Option<Size>,
    /// Entries of a batch or transaction. Default: 1000.
    pub bundle_entries: Option<u64>,
    /// Client connections at once. Default: 10000.
    pub connections: Option<u64>,
    /// Requests waiting for the backend at once. Default: 512.
    pub backend_requests: Option<u64>,
    /// Failures in a row to reach the backend, or to hear from it in time, after which requests are refused (503) for
    /// `backend_pause` without asking it; 0: never. Default: 10.
    pub backend_failures: Option<u64>,
    /// For how long. After it one request goes first. Default: `2s`.
    pub backend_pause: Option<Period>,
    /// Longest time to complete the request headers. Default: `10s`.
    pub header_timeout: Option<Period>,
    /// Longest silence inside a body, and of an idle connection. Default: `60s`.
    pub idle_timeout: Option<Period>,
    /// Longest time that requests in flight may take after SIGTERM. Default: `30s`.
    pub drain_timeout: Option<Period>,
    /// Requests of one OAuth client, e.g. `200/s burst 400`. Default: `off`.
    pub requests_per_client: Option<MaybeRate>,
}

/// Where audit events are recorded.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Folder of the durable spool. Default: `audit`.
    pub path: Option<PathBuf>,
    /// What happens to requests that the spool cannot record. Default: `refuse`.
    pub on_failure: Option<OnFailure>,
    /// A file of the spool is closed when it is larger than this. Default: `256MiB`.
    pub rotate_bytes: Option<Size>,
    /// A file of the spool is closed when its first event is older than this. Default: `1d`.
    pub rotate_age: Option<Period>,
    /// How long events are kept that every sink has taken, or `off`: for ever. Default: `off`.
    pub retention: Option<MaybePeriod>,
    /// Where recorded events are sent as well. Default: none.
    pub sink: Option<Vec<Sink>>,
}

/// What happens to requests that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They are answered, and the loss is logged.
    Continue,
    /// They are refused with 503.
    Refuse,
}

/// Where recorded events are sent as well.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Sink {
    /// A FHIR audit record repository.
    Fhir {
        /// Its name in metrics, logs and the spool. Default: `fhir`.
        name: Option<String>,
        /// Its FHIR base.
        #[schemars(required, example = &"https://arr.example/fhir")]
        url: Option<String>,
        /// The form of the events. Default: `backend.fhir_version`.
        fhir_version: Option<FhirRelease>,
        /// How an event is written so that sending it twice makes it no two. Default: `update`.
        write: Option<SinkWrite>,
        /// How the gateway authenticates there: `none`, `basic`, `bearer` or `client_credentials`. Default: `none`.
        credentials: Option<Box<Credentials>>,
        /// PEM file with an extra trust anchor.
        ca: Option<PathBuf>,
        /// PEM file with the certificate chain that the gateway presents there.
        client_certificate: Option<PathBuf>,
        /// PEM file with its private key.
        client_key: Option<PathBuf>,
        /// Longest wait for an answer. Default: `30s`.
        timeout: Option<Period>,
        /// Most events in one transaction. Default: 100.
        batch: Option<usize>,
    },
    /// Syslog over TLS (RFC 5424, RFC 5425).
    Syslog {
        /// Its name in metrics, logs and the spool. Default: `syslog`.
        name: Option<String>,
        /// Its address, `tls://host:6514`.
        #[schemars(required, example = &"tls://arr.example:6514")]
        url: Option<String>,
        /// What a message holds. Default: `dicom`.
        format: Option<SyslogFormat>,
        /// PEM file with an extra trust anchor.
        ca: Option<PathBuf>,
        /// PEM file with the certificate chain that the gateway presents there.
        client_certificate: Option<PathBuf>,
        /// PEM file with its private key.
        client_key: Option<PathBuf>,
        /// Longest wait for the connection, and for each write. Default: `30s`.
        timeout: Option<Period>,
    },
    /// A file of AuditEvents, one a line.
    File {
        /// Its name in metrics, logs and the spool. Default: `file`.
        name: Option<String>,
        /// Its path.
        #[schemars(required, example = &"audit.ndjson")]
        path: Option<PathBuf>,
        /// The form of the events. Default: `backend.fhir_version`.
        fhir_version: Option<FhirRelease>,
    },
}

/// How an event is written to a FHIR repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkWrite {
    /// `POST` with `If-None-Exist` on a tag that is the event's id.
    Create,
    /// `PUT` to the event's own id.
    Update,
}

/// What a syslog message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// A DICOM AuditMessage in XML (ATNA ITI-20).
    Dicom,
    /// A FHIR AuditEvent in JSON.
    Fhir,
}

/// What replicas share.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedState {
    /// A Redis or Valkey server for replay memory, nonces, sealing keys, revocations and rate limits, e.g.
    /// `rediss://redis.example:6379/0`, or `redis://` without TLS; no password in it. Absent: kept in this process.
    pub url: Option<String>,
    /// The user of Redis' access list. Default: the default user.
    pub username: Option<String>,
    /// File with the password for Redis.
    pub password_file: Option<PathBuf>,
    /// Environment variable with the password for Redis.
    pub password_env: Option<String>,
    /// PEM file with an extra trust anchor for `rediss://`.
    pub ca: Option<PathBuf>,
    /// What the names of all keys begin with; replicas of one gateway have the same. Default: `pforte`.
    pub prefix: Option<String>,
    /// Longest wait for an answer of Redis. Default: `500ms`.
    pub timeout: Option<Period>,
    /// File with the key of the sealed page links: 32 bytes raw, as 64 hexadecimal digits or as base64; read again when it
    /// changes. With it links outlive a restart and open at every replica. Default: what replicas agree upon through `url`,
    /// or else random at start.
    pub seal_key_file: Option<PathBuf>,
}

/// Health, readiness and metrics.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of `/health`, `/ready` and `/metrics`, or `off`. Default: `127.0.0.1:9443`.
    pub listen: Option<String>,
}

/// Logs and traces.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A level, or a filter such as `info,pforte=debug`. Default: `info`.
    pub log: Option<String>,
    /// How log lines look. Default: `auto`.
    pub log_format: Option<LogFormat>,
    /// Whether each request has a log line of its own; refusals have one in any case. Default: `true`.
    pub access_log: Option<bool>,
    /// OpenTelemetry collector for traces, OTLP over gRPC. Absent: off.
    pub otlp: Option<String>,
    /// The part of the requests that are traced when the client's trace context does not say, from 0 to 1. Default: 1.
    pub trace_ratio: Option<f64>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// One of several backends. Not available in this version, so its keys are not read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct Route {
    /// Whatever is written there.
    #[serde(flatten)]
    pub unread: BTreeMap<String, serde_json::Value>,
}
