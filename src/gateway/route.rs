//! The pure part of the path: from a request's head to what may leave, and from an answer to what may be shown.
//!
//! `serve` and `explain` both go through here, so that what is explained is what happens.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::concerned::{self, Effect};
use crate::fhir::links::{BadBase, Mapping, Mention};
use crate::fhir::{
    Asked, Body, BundleAction, FhirRequest, FhirVersion, Format, Kind, Reading, SearchQuery, Target,
    Unreadable, Wanted,
};
use crate::policy::{
    self, Decision, Denial, Duties, Facts, LINK_PARAMETER, Leads, Link, Need, Part, Question as Inquiry,
    Refused, Rules, SealKey,
};
use crate::reject::Rejection;
use crate::release::{self, Credentials, Unless};
use crate::rewrite::{self, Bases, Outbound};
use crate::token::{Caller, TokenError};

/// How long a page link works, in seconds: a working day's break, not a working day.
const LINK_SECONDS: i64 = 3600;

/// One backend under one public base.
#[derive(Debug)]
pub struct Route {
    rules: Arc<Rules>,
    base_path: String,
    mapping: Arc<Mapping>,
    seal: Arc<SealKey>,
    credentials: Credentials,
}

/// A request whose head was read.
#[derive(Debug, Clone)]
pub enum Question {
    /// A FHIR interaction.
    Fhir(Box<Asked>),
    /// A sealed link that was opened.
    Link {
        /// What was sealed.
        link: Box<Link>,
        /// The method, HEAD as HEAD.
        method: Method,
        /// What the client wants to read.
        wanted: Wanted,
    },
}

impl Question {
    /// The interaction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Fhir(asked) => asked.kind(),
            Self::Link { link, .. } => match link.leads {
                Leads::Export => Kind::Operation,
                Leads::Page => Kind::SearchSystem,
            },
        }
    }

    /// What the client wants to read.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        match self {
            Self::Fhir(asked) => asked.wanted(),
            Self::Link { wanted, .. } => *wanted,
        }
    }

    /// Whether a body may follow.
    #[must_use]
    pub fn takes_body(&self) -> bool {
        match self {
            Self::Fhir(asked) => asked.takes_body(),
            Self::Link { .. } => false,
        }
    }
}

/// A request on its way: what leaves, and what its answer is held against.
#[derive(Debug)]
pub struct Passage {
    /// What leaves; nothing when every entry of a batch is answered here.
    pub outbound: Option<Outbound>,
    /// What the answer is held against.
    pub duties: Duties,
    /// What the request needed, and what granted it.
    pub needs: Vec<Need>,
    /// The entries of a batch or transaction, as read.
    pub entries: Vec<Result<FhirRequest, Unreadable>>,
    /// What the backend was asked on the way.
    pub facts: Facts,
    /// What it may do to what is stored.
    pub effect: Effect,
    /// Whom that concerns, as far as it is known before it leaves.
    pub written: Vec<Mention>,
    /// The client's own target below the base, a form's parameters included.
    pub own: String,
    unless: Unless,
    kind: Kind,
    method: Method,
    format: Format,
    action: Option<BundleAction>,
}

/// How far a request came.
#[derive(Debug)]
pub enum Step {
    /// It may leave.
    Pass(Box<Passage>),
    /// These must be asked of the backend first.
    Ask(Vec<Inquiry>),
}

impl Route {
    /// A route by its rules.
    ///
    /// # Errors
    /// When a base is no URL that can be looked for in bodies.
    pub fn new(rules: Rules, seal: Arc<SealKey>, credentials: Credentials) -> Result<Self, BadBase> {
        let mapping = Arc::new(mapping(&rules)?);
        let base_path =
            rules.public_base.splitn(4, '/').nth(3).map_or(String::new(), |path| format!("/{path}"));
        Ok(Self { rules: Arc::new(rules), base_path, mapping, seal, credentials })
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The path of the public base, without a trailing slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Backend URLs to public ones.
    #[must_use]
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    fn version(&self) -> FhirVersion {
        self.rules.version()
    }

    /// What a client wants to read, also of a request that cannot be read otherwise.
    #[must_use]
    pub fn wanted(&self, raw_target: &str, headers: &HeaderMap) -> Wanted {
        let query = raw_target.split_once('?').map_or("", |(_, query)| query);
        let query = SearchQuery::parse(query).unwrap_or_default();
        Wanted::by(headers, &query, self.version())
    }

    /// Reads a request's head; `raw_target` is path and query as in the request line.
    ///
    /// # Errors
    /// When it is not below the base, ambiguous, or has no row in the table.
    pub fn ask(&self, method: &Method, raw_target: &str, headers: &HeaderMap) -> Result<Question, Rejection> {
        let target = Target::below(&self.base_path, raw_target).map_err(Unreadable::from);
        self.ask_target(method, target.map_err(Rejection::Unreadable)?, headers)
    }

    /// The same for a target that was read, relative to the base.
    ///
    /// # Errors
    /// When it has no row in the table.
    pub fn ask_target(
        &self,
        method: &Method,
        target: Target,
        headers: &HeaderMap,
    ) -> Result<Question, Rejection> {
        if target.segments().is_empty()
            && *method != Method::POST
            && let Some(sealed) = target.query().first(LINK_PARAMETER)
        {
            // A link is followed as it was made: nothing may stand beside it but the wanted format.
            let alone = target.query().iter().filter(|parameter| parameter.name() != "_format").count() == 1;
            let link = self.seal.open(sealed.value()).filter(|_| alone).ok_or_else(link_refused)?;
            let wanted = Wanted::by(headers, target.query(), self.version());
            return Ok(Question::Link { link: Box::new(link), method: method.clone(), wanted });
        }
        Asked::classify(self.version(), method, target, headers)
            .map(|asked| Question::Fhir(Box::new(asked)))
            .map_err(Rejection::Unreadable)
    }

    /// Refuses what no body could save, so that none is read (REST-6, HTTP-9).
    ///
    /// # Errors
    /// When the grant does not name what the head alone needs.
    pub fn before_body(&self, question: &Question, caller: &Caller) -> Result<(), Rejection> {
        match question {
            Question::Fhir(asked) => policy::before_body(asked, caller, &self.rules)
                .map_or(Ok(()), |refused| Err(Rejection::Denied(refused))),
            Question::Link { .. } => Ok(()),
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When it does not fit the interaction or could be read in two ways.
    pub fn read(&self, asked: Asked, body: Bytes) -> Result<FhirRequest, Rejection> {
        asked.with_body(body, self.reading()).map_err(Rejection::Unreadable)
    }

    /// What is asked of the backend for a question of policy.
    #[must_use]
    pub fn inquire(&self, question: &Inquiry) -> Outbound {
        rewrite::inquire(question, self.bases())
    }

    /// What leaves for one part of a search that became several.
    #[must_use]
    pub fn part(&self, passage: &Passage, part: &Part) -> Option<Outbound> {
        rewrite::part(passage.outbound.as_ref()?, part, self.bases())
    }

    /// The client's search in public words, as a `self` link shows it (SRCH-24).
    fn own(&self, request: &FhirRequest) -> String {
        let query = request.query().rebased(&self.rules.backend_base, &self.rules.public_base);
        let mut path = request.asked().target().segments().to_vec();
        // A search by POST is shown as what GET would ask.
        path.retain(|segment| segment != "_search");
        Target::from_parts(path, query).to_string()
    }

    fn bases(&self) -> Bases<'_> {
        Bases { public: &self.rules.public_base, backend: &self.rules.backend_base }
    }

    /// What a reader of requests must know.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            version: self.version(),
            public_base: &self.rules.public_base,
            bundle_entries: self.rules.bundle_entries,
        }
    }

    /// Decides on a request that was read whole, with what is known so far, and writes what leaves.
    ///
    /// # Errors
    /// When the decision is no.
    pub fn pass(&self, request: &FhirRequest, caller: &Caller, facts: &Facts) -> Result<Step, Rejection> {
        // TOK-2, TOK-3: a second credential, and one that would be logged or sent on.
        if request.query().first("access_token").is_some() {
            return Err(Rejection::Unauthenticated(TokenError::SeveralCredentials));
        }
        let permit = match policy::decide(request, caller, &self.rules, facts) {
            Decision::Allow(permit) => permit,
            Decision::Ask(questions) => return Ok(Step::Ask(questions)),
            Decision::Deny(refused) => return Err(Rejection::Denied(refused)),
        };
        let needs = permit.needs().to_vec();
        let (outbound, duties) = rewrite::confine(request, permit, self.bases());
        let effect = Effect::of(request, &needs, &duties);
        let written = match effect {
            Effect::Changes => concerned::written(request, &duties, (facts, &self.mapping)),
            Effect::Reads => Vec::new(),
        };
        let asked = request.asked();
        let (entries, action) = match request.body() {
            Body::Bundle(bundle) => (bundle.entries.clone(), Some(bundle.action)),
            Body::Empty | Body::Form(_) | Body::JsonPatch(_) | Body::Raw(_) | Body::Resource(_) => {
                (Vec::new(), None)
            }
        };
        Ok(Step::Pass(Box::new(Passage {
            outbound,
            duties,
            needs,
            entries,
            facts: facts.clone(),
            effect,
            written,
            own: self.own(request),
            unless: Unless {
                none_match: asked.conditions().if_none_match.clone(),
                modified_since: asked.conditions().if_modified_since.clone(),
            },
            kind: asked.kind(),
            method: asked.method().clone(),
            format: asked.wanted().for_outcome(),
            action,
        })))
    }

    /// Decides on following a link, and writes what leaves.
    ///
    /// # Errors
    /// When it has expired, was made for somebody else, or needs what the grant no longer has.
    pub fn follow(
        &self,
        link: &Link,
        (method, wanted): (&Method, Wanted),
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Passage, Rejection> {
        let Caller::Holder(grant) = caller else {
            return Err(Rejection::Denied(Refused { denial: Denial::Anonymous, needs: Vec::new() }));
        };
        if link.expired(now) {
            return Err(link_refused());
        }
        let asked_as = if *method == Method::HEAD { &Method::GET } else { method };
        let permit = match policy::decide_link(link, asked_as, grant, &self.rules) {
            Decision::Allow(permit) => permit,
            Decision::Ask(_) => return Err(link_refused()),
            Decision::Deny(refused) => return Err(Rejection::Denied(refused)),
        };
        let needs = permit.needs().to_vec();
        let (outbound, duties) = rewrite::follow(link, method, wanted, permit);
        let kind = match link.leads {
            Leads::Export => Kind::Operation,
            Leads::Page => Kind::SearchSystem,
        };
        let format = wanted.for_outcome();
        Ok(Passage {
            outbound: Some(outbound),
            duties,
            needs,
            entries: Vec::new(),
            facts: Facts::default(),
            // An export may be given up by a link to it.
            effect: if *asked_as == Method::GET { Effect::Reads } else { Effect::Changes },
            written: Vec::new(),
            own: link.target.clone(),
            unless: Unless::default(),
            kind,
            method: method.clone(),
            format,
            action: None,
        })
    }

    /// What an answer to this passage is released under.
    #[must_use]
    pub fn terms<'a>(&'a self, passage: &'a Passage, now: Timestamp) -> release::Terms<'a> {
        release::Terms {
            version: self.version(),
            kind: passage.kind,
            method: &passage.method,
            format: passage.format,
            public_base: &self.rules.public_base,
            backend_base: &self.rules.backend_base,
            mapping: &self.mapping,
            is_uri,
            seal: &self.seal,
            links_expire: now.as_second().saturating_add(LINK_SECONDS),
            credentials: self.credentials,
            action: passage.action,
            facts: &passage.facts,
            unless: &passage.unless,
        }
    }
}

impl Passage {
    /// The interaction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The format the client wants.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Batch or transaction, when it is one.
    #[must_use]
    pub fn action(&self) -> Option<BundleAction> {
        self.action
    }
}

/// The backend's base under its own name, and under the public one: a backend that believes `X-Forwarded-Host` writes
/// the public host before its own path. `http` and `https` denote the same where no port tells otherwise (COMP-7).
fn mapping(rules: &Rules) -> Result<Mapping, BadBase> {
    let origin: String = rules.public_base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let path = rules.backend_base.splitn(4, '/').nth(3).map_or(String::new(), |path| format!("/{path}"));
    let alias = format!("{origin}{path}");
    let mut bases: Vec<&str> = vec![&rules.backend_base];
    let twin = twin(&rules.backend_base).filter(|twin| *twin != rules.public_base);
    bases.extend(twin.as_deref());
    // What is public already stays: it may begin like the backend's base under the public name.
    if alias != rules.public_base && !path.is_empty() {
        bases.push(&alias);
    }
    bases.push(&rules.public_base);
    Mapping::new(&bases, &rules.public_base)
}

/// The same base with the other scheme, where it names no port.
fn twin(base: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let other = if scheme == "https" { "http" } else { "https" };
    let host = rest.split('/').next().unwrap_or("");
    (!host.contains(':')).then(|| format!("{other}://{rest}"))
}

/// Whether elements of that name hold a URI; one list serves all versions.
pub fn is_uri(name: &str) -> bool {
    FhirVersion::R4.is_uri_element(name)
}

fn link_refused() -> Rejection {
    Rejection::Denied(Refused { denial: Denial::Link, needs: Vec::new() })
}
