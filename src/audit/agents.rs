//! Who took part: client, server and user, in the roles of AUD-4, with the token's evidence (AUD-5).
//!
//! By BALP 1.1.4: the client also carries `Application`, where OAuth's patterns look for it; organization and home
//! community of the user become agents of their own, as BALP maps them.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::audit::Entry;
use crate::audit::attributes::Coding;
use crate::audit::codes::{self, Code};
use crate::audit::interaction::Pattern;
use crate::fhir::is_id;

const SOURCE: Code = Code::new(codes::DICOM, "110153", "Source Role ID");
const DESTINATION: Code = Code::new(codes::DICOM, "110152", "Destination Role ID");
const APPLICATION: Code = Code::new(codes::DICOM, "110150", "Application");
const KEEPER: Code = Code::new(codes::PROVENANCE, "custodian", "Custodian");
const RECIPIENT: Code = Code::new(codes::PARTICIPATION, "IRCP", "information recipient");
const AUTHOR: Code = Code::new(codes::PARTICIPATION, "AUT", "author (originator)");
const CUSTODIAN: Code = Code::new(codes::PARTICIPATION, "CST", "custodian");
const OAUTH_USER: Code = Code::new(codes::BALP_AGENT, "UserOauthAgent", "User OAuth Agent participant");
const PROVIDER: Code = Code::new(codes::ROLE_CLASS, "PROV", "healthcare provider");
const COMMUNITY: Code = Code::new(codes::COMMUNITY, "homeCommunityId", "IHE homeCommunityId");
const NATIONAL_PROVIDER: Code = Code::new(codes::IDENTIFIER_TYPE, "NPI", "National provider identifier");
const PERSON: Code = Code::new(codes::IDENTIFIER_TYPE, "PRN", "Provider number");

/// What is not written as it is in a URN's own part (RFC 8141 §2).
const NOT_URN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The types that `agent.who` may refer to, in R4 and R5; an R5 care team is no user.
const PARTIES: [&str; 6] =
    ["Device", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson"];

/// A participant, in no version's form.
#[derive(Debug, Clone, Default)]
pub(super) struct Agent<'e> {
    pub(super) types: Vec<Code>,
    pub(super) roles: &'e [Coding],
    pub(super) who: Who<'e>,
    pub(super) requestor: bool,
    /// What vouches for the participant: the token, by a name of it.
    pub(super) policy: Option<String>,
    pub(super) network: Option<Network<'e>>,
    pub(super) purposes: &'e [Coding],
    pub(super) other_ids: Vec<(Code, &'e str)>,
}

/// Who a participant is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Who<'e> {
    pub(super) reference: Option<&'e str>,
    /// System and value.
    pub(super) identifier: Option<(Option<&'e str>, &'e str)>,
    pub(super) display: Option<&'e str>,
    /// What else the participant is called.
    pub(super) alternative: Option<&'e str>,
}

/// Where a machine is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Network<'e> {
    /// An IP address.
    Address(&'e str),
    /// A URI.
    Uri(&'e str),
}

/// The agents of an event.
pub(super) fn of(entry: &Entry) -> Vec<Agent<'_>> {
    let (client, server, user) = roles(entry.interaction.pattern());
    let mut agents = vec![client_agent(entry, client), server_agent(entry, server)];
    agents.extend(has_user(entry).then(|| user_agent(entry, user)));
    agents.extend(organization(entry));
    agents.extend(community(entry));
    agents
}

/// Who recorded the event: the gateway, in its place the server (AUD-10).
pub(super) fn observer(entry: &Entry) -> Who<'_> {
    Who { identifier: Some((Some(codes::URI), &entry.observer)), ..Who::default() }
}

/// Whether somebody stands behind the client. Tokens a client gets for itself carry its id as `sub` (RFC 9068 §2.2).
pub(super) fn has_user(entry: &Entry) -> bool {
    entry.fhir_user.is_some() || (entry.subject.is_some() && entry.subject != entry.client)
}

/// BALP's OAuth profiles that the agents meet (AUD-5): of whoever holds a token with an id.
///
/// The comprehensive one knows users as recipients only; an author is left to the minimal one.
pub(super) fn profiles(entry: &Entry) -> impl Iterator<Item = &'static str> {
    let (user, named) = (has_user(entry), entry.jti.is_some());
    let (_, _, role) = roles(entry.interaction.pattern());
    let known = !user || (role == RECIPIENT && entry.subject.is_some());
    let minimal = (named && user).then_some("OAUTHaccessTokenUse.Minimal");
    let comprehensive =
        (named && entry.client.is_some() && known).then_some("OAUTHaccessTokenUse.Comprehensive");
    minimal.into_iter().chain(comprehensive)
}

/// Client, server and user; DICOM's roles follow the data, or the parameters of a search (AUD-4).
fn roles(pattern: Pattern) -> (Code, Code, Code) {
    match pattern {
        Pattern::Create | Pattern::Update => (SOURCE, DESTINATION, AUTHOR),
        Pattern::Delete => (APPLICATION, KEEPER, CUSTODIAN),
        Pattern::Other | Pattern::Query => (SOURCE, DESTINATION, RECIPIENT),
        Pattern::Read => (DESTINATION, SOURCE, RECIPIENT),
    }
}

fn client_agent(entry: &Entry, role: Code) -> Agent<'_> {
    let who = match &entry.client {
        Some(client) => Who { identifier: Some((entry.issuer.as_deref(), client)), ..Who::default() },
        None => Who { display: Some("unidentified client"), ..Who::default() },
    };
    let mut types = vec![role];
    types.extend((entry.client.is_some() && role != APPLICATION).then_some(APPLICATION));
    let alone = !has_user(entry);
    Agent {
        types,
        who,
        policy: alone.then(|| policy(entry)).flatten(),
        network: Some(Network::Address(&entry.peer)),
        purposes: if alone { &entry.purpose } else { &[] },
        ..Agent::default()
    }
}

fn server_agent(entry: &Entry, role: Code) -> Agent<'_> {
    Agent {
        types: vec![role],
        who: observer(entry),
        network: Some(Network::Uri(&entry.observer)),
        ..Agent::default()
    }
}

fn user_agent(entry: &Entry, role: Code) -> Agent<'_> {
    let attributes = entry.attributes.as_deref();
    let user = entry.fhir_user.as_deref();
    let reference = user.filter(|user| is_party(user));
    let alternative = user.filter(|_| reference.is_none());
    let name = attributes.and_then(|attributes| attributes.name.as_deref());
    let mut other_ids = Vec::new();
    if let Some(attributes) = attributes {
        other_ids.extend(attributes.national_provider.as_deref().map(|id| (NATIONAL_PROVIDER, id)));
        other_ids.extend(attributes.person.as_deref().map(|id| (PERSON, id)));
    }
    Agent {
        types: vec![role, OAUTH_USER],
        roles: attributes.map_or(&[], |attributes| &attributes.roles),
        who: Who {
            reference,
            identifier: entry.subject.as_deref().map(|subject| (entry.issuer.as_deref(), subject)),
            display: name,
            alternative,
        },
        requestor: true,
        policy: policy(entry),
        network: None,
        purposes: &entry.purpose,
        other_ids,
    }
}

fn organization(entry: &Entry) -> Option<Agent<'_>> {
    let attributes = entry.attributes.as_deref()?;
    let (name, id) = (attributes.organization.as_deref(), attributes.organization_id.as_deref());
    (name.is_some() || id.is_some()).then(|| Agent {
        types: vec![PROVIDER],
        who: Who { identifier: id.map(identified), display: name, ..Who::default() },
        ..Agent::default()
    })
}

fn community(entry: &Entry) -> Option<Agent<'_>> {
    let id = entry.attributes.as_deref()?.home_community.as_deref()?;
    Some(Agent {
        types: vec![COMMUNITY],
        who: Who { identifier: Some(identified(id)), ..Who::default() },
        ..Agent::default()
    })
}

/// An identifier that should be a URI, with the system that says so when it is one.
fn identified(id: &str) -> (Option<&str>, &str) {
    ((id.starts_with("urn:") || id.contains("://")).then_some(codes::URI), id)
}

/// The name of the token that vouches: its own id, else a name made of its digest (never of its characters).
fn policy(entry: &Entry) -> Option<String> {
    match (&entry.jti, &entry.token) {
        (Some(jti), _) => Some(format!("urn:ietf:params:oauth:jti:{}", utf8_percent_encode(jti, NOT_URN))),
        (None, Some(digest)) => Some(format!("urn:pforte:token:sha256:{digest}")),
        (None, None) => None,
    }
}

/// Whether `user` is a reference that an agent may have: `Practitioner/x`, or an absolute URL that ends in one.
fn is_party(user: &str) -> bool {
    let absolute = user.starts_with("https://") || user.starts_with("http://");
    let mut segments = user.rsplit('/');
    let (id, kind) = (segments.next().unwrap_or(""), segments.next().unwrap_or(""));
    is_id(id) && PARTIES.contains(&kind) && (absolute || segments.next().is_none())
}
