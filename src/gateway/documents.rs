//! The public documents, kept ready: discovery is answered while the authorization server or the backend is away
//! (DISC-15).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::{ClientCertificates, Server, Settings};
use crate::discovery::{
    Bindings, Document, Endpoints, SmartFacts, access_token_format, oauth_protected_resource_path,
    openid_configuration, protected_resource, smart_configuration,
};
use crate::fhir::Format;
use crate::issuer::Issuers;
use crate::token::PROOF_ALGORITHMS;

/// How long a CapabilityStatement is shown before the backend is asked again.
const STATEMENT_KEPT: Duration = Duration::from_secs(60);

/// The public documents of one public base.
#[derive(Debug)]
pub struct Documents {
    issuers: Vec<String>,
    overrides: Map<String, Value>,
    facts: SmartFacts,
    smart_path: String,
    openid_path: String,
    resource_path: String,
    public_base: String,
    publishes_openid: bool,
    bindings: Bindings<'static>,
    current: ArcSwapOption<Current>,
    statements: [ArcSwapOption<(Timestamp, Bytes)>; 2],
    compartment_search: AtomicBool,
}

/// What is built from the authorization server's metadata.
#[derive(Debug)]
struct Current {
    smart: Document,
    resource: Document,
    openid: Option<Document>,
    endpoints: Endpoints,
}

/// A public document that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `[base]/.well-known/openid-configuration`.
    Openid,
    /// `/.well-known/oauth-protected-resource[/path]`.
    Resource,
    /// `[base]/.well-known/smart-configuration`.
    Smart,
}

impl Documents {
    /// Documents of these settings; nothing is asked of anybody yet.
    #[must_use]
    pub fn new(settings: &Settings, base_path: &str, public_base: &str) -> Self {
        let mut overrides = settings.discovery.clone();
        if let Some(first) = settings.authorization_servers.first() {
            let format = access_token_format(first.validation);
            overrides.entry("access_token_format").or_insert(format.into());
        }
        let publishes_openid = overrides.remove("openid_configuration") == Some(Value::Bool(true));
        Self {
            issuers: settings.authorization_servers.iter().map(|server| server.issuer.clone()).collect(),
            overrides,
            facts: SmartFacts { scopes_v1: settings.rules.scopes.v1 },
            smart_path: format!("{base_path}/.well-known/smart-configuration"),
            openid_path: format!("{base_path}/.well-known/openid-configuration"),
            resource_path: oauth_protected_resource_path(&settings.server.public_url),
            public_base: public_base.to_owned(),
            publishes_openid,
            bindings: Bindings {
                proof_algorithms: settings.dpop.enabled.then_some(PROOF_ALGORITHMS.as_slice()),
                certificates: shows_certificates(&settings.server),
            },
            current: ArcSwapOption::empty(),
            statements: [ArcSwapOption::empty(), ArcSwapOption::empty()],
            compartment_search: AtomicBool::new(false),
        }
    }

    /// Which public document a path names.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Place> {
        match path {
            path if path == self.smart_path => Some(Place::Smart),
            path if path == self.resource_path => Some(Place::Resource),
            path if path == self.openid_path && self.publishes_openid => Some(Place::Openid),
            _ => None,
        }
    }

    /// Answers for a public document; `None` while it cannot be built.
    pub async fn answer(
        &self,
        place: Place,
        method: &Method,
        headers: &HeaderMap,
        issuers: &Issuers,
    ) -> Option<Response<Bytes>> {
        if self.current.load().is_none() {
            self.refresh(issuers).await;
        }
        let current = self.current.load_full()?;
        let document = match place {
            Place::Openid => current.openid.as_ref()?,
            Place::Resource => &current.resource,
            Place::Smart => &current.smart,
        };
        Some(document.answer(method, headers))
    }

    /// Builds the documents anew from the last good metadata.
    pub async fn refresh(&self, issuers: &Issuers) {
        let metadata = match self.issuers.first() {
            Some(issuer) => issuers.metadata(issuer).await,
            None => None,
        };
        let metadata = metadata.as_deref().and_then(Value::as_object);
        if let Some(current) = self.build(metadata) {
            self.current.store(Some(Arc::new(current)));
        }
    }

    fn build(&self, metadata: Option<&Map<String, Value>>) -> Option<Current> {
        let smart = smart_configuration(metadata, &self.overrides, self.facts)?;
        Some(Current {
            resource: protected_resource(
                &self.public_base,
                &self.issuers,
                smart.get("scopes_supported"),
                self.bindings,
            ),
            openid: metadata.and_then(openid_configuration),
            endpoints: Endpoints::of(&smart),
            smart: Document::new(smart),
        })
    }

    /// The OAuth endpoints, as far as they are known.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        self.current.load().as_ref().map(|current| current.endpoints.clone()).unwrap_or_default()
    }

    /// The CapabilityStatement as last shown: fresh enough to show again, or only good while the backend is away.
    #[must_use]
    pub fn statement(&self, format: Format, now: Timestamp) -> Option<(Freshness, Bytes)> {
        let kept = self.slot(format).load_full()?;
        let (since, bytes) = kept.as_ref();
        let age = now.duration_since(*since).unsigned_abs();
        let freshness = if age < STATEMENT_KEPT { Freshness::Fresh } else { Freshness::Stale };
        Some((freshness, bytes.clone()))
    }

    /// Keeps a CapabilityStatement.
    pub fn keep_statement(&self, format: Format, statement: Bytes, now: Timestamp) {
        self.slot(format).store(Some(Arc::new((now, statement))));
    }

    /// Whether the backend's statement says that it searches the Patient compartment; not while none was read.
    #[must_use]
    pub fn compartment_search(&self) -> bool {
        self.compartment_search.load(Ordering::Relaxed)
    }

    /// Reads what the backend says it can do: `rest.compartment` names the compartments it searches (COMP-15).
    pub fn learn(&self, statement: &[u8]) {
        let Ok(statement) = serde_json::from_slice::<Value>(statement) else { return };
        let rest = statement.get("rest").and_then(Value::as_array).into_iter().flatten();
        let compartments = rest.filter_map(|rest| rest.get("compartment")?.as_array()).flatten();
        let patient = compartments
            .filter_map(Value::as_str)
            .any(|url| url.split('|').next().unwrap_or(url).ends_with("/CompartmentDefinition/patient"));
        self.compartment_search.store(patient, Ordering::Relaxed);
    }

    fn slot(&self, format: Format) -> &ArcSwapOption<(Timestamp, Bytes)> {
        let [json, xml] = &self.statements;
        match format {
            Format::Json => json,
            Format::Xml => xml,
        }
    }
}

/// Whether a client's certificate can get here, by its own connection or a proxy's.
fn shows_certificates(server: &Server) -> bool {
    let asked = server.tls.as_ref().is_some_and(|tls| tls.client_certificates != ClientCertificates::Off);
    asked || server.proxies.is_some()
}

/// Whether a kept document is good enough to be shown without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Fresh,
    /// Only while there is nothing newer.
    Stale,
}
