//! Who took part: client, server and user, in the roles of AUD-4, with the token's evidence (AUD-5).

use serde_json::{Map, Value, json};

use crate::audit::codes::{self, Code};
use crate::audit::entry::{Entry, Pattern};
use crate::fhir::is_id;

const SOURCE: Code = Code::new(codes::DICOM, "110153", "Source Role ID");
const DESTINATION: Code = Code::new(codes::DICOM, "110152", "Destination Role ID");
const APPLICATION: Code = Code::new(codes::DICOM, "110150", "Application");
const KEEPER: Code = Code::new(codes::PROVENANCE, "custodian", "Custodian");
const RECIPIENT: Code = Code::new(codes::PARTICIPATION, "IRCP", "information recipient");
const AUTHOR: Code = Code::new(codes::PARTICIPATION, "AUT", "author (originator)");
const CUSTODIAN: Code = Code::new(codes::PARTICIPATION, "CST", "custodian");
const OAUTH_USER: Code = Code::new(codes::BALP_AGENT, "UserOauthAgent", "User OAuth Agent participant");

/// The agents of an event.
pub(super) fn of(entry: &Entry, observer: &str) -> Vec<Value> {
    let (client, server, user) = roles(entry.interaction.pattern());
    let mut agents = vec![client_agent(entry, client), server_agent(observer, server)];
    agents.extend(has_user(entry).then(|| user_agent(entry, user)));
    agents
}

/// Who recorded the event: the gateway, an application server (AUD-10).
pub(super) fn source(observer: &str) -> Value {
    let kind = Code::new(codes::SOURCE_TYPE, "4", "Application Server");
    json!({ "observer": server(observer), "type": [kind.coding()] })
}

/// Whether somebody stands behind the client. Tokens a client gets for itself carry its id as `sub` (RFC 9068 §2.2).
pub(super) fn has_user(entry: &Entry) -> bool {
    entry.fhir_user.is_some() || (entry.subject.is_some() && entry.subject != entry.client)
}

/// Client, server and user; DICOM's roles follow the data, or the parameters of a search (AUD-4).
pub(super) fn roles(pattern: Pattern) -> (Code, Code, Code) {
    match pattern {
        Pattern::Create | Pattern::Update => (SOURCE, DESTINATION, AUTHOR),
        Pattern::Delete => (APPLICATION, KEEPER, CUSTODIAN),
        Pattern::Other | Pattern::Query => (SOURCE, DESTINATION, RECIPIENT),
        Pattern::Read => (DESTINATION, SOURCE, RECIPIENT),
    }
}

fn client_agent(entry: &Entry, role: Code) -> Value {
    let who = match (&entry.client, &entry.issuer) {
        (Some(client), Some(issuer)) => json!({ "identifier": { "system": issuer, "value": client } }),
        (Some(client), None) => json!({ "identifier": { "value": client } }),
        (None, _) => json!({ "display": "unidentified client" }),
    };
    let mut agent = Map::new();
    agent.insert("type".to_owned(), json!({ "coding": [role.coding()] }));
    agent.insert("who".to_owned(), who);
    agent.insert("requestor".to_owned(), json!(false));
    if let (false, Some(jti)) = (has_user(entry), &entry.jti) {
        agent.insert("policy".to_owned(), policy(jti));
    }
    // 2: IP address.
    agent.insert("network".to_owned(), json!({ "address": entry.peer, "type": "2" }));
    Value::Object(agent)
}

fn server_agent(observer: &str, role: Code) -> Value {
    json!({
        "type": { "coding": [role.coding()] },
        "who": server(observer),
        "requestor": false,
        // 5: URI.
        "network": { "address": observer, "type": "5" },
    })
}

fn server(observer: &str) -> Value {
    json!({ "identifier": { "system": codes::URI, "value": observer } })
}

fn user_agent(entry: &Entry, role: Code) -> Value {
    let mut coding = vec![role.coding()];
    coding.extend(entry.jti.as_ref().map(|_| OAUTH_USER.coding()));
    let mut who = Map::new();
    if let Some(user) = &entry.fhir_user {
        let member = if is_reference(user) { "reference" } else { "display" };
        who.insert(member.to_owned(), json!(user));
    }
    match (&entry.subject, &entry.issuer) {
        (Some(subject), Some(issuer)) => {
            who.insert("identifier".to_owned(), json!({ "system": issuer, "value": subject }));
        }
        (Some(subject), None) => {
            who.insert("identifier".to_owned(), json!({ "value": subject }));
        }
        (None, _) => {}
    }
    let mut agent = Map::new();
    agent.insert("type".to_owned(), json!({ "coding": coding }));
    agent.insert("who".to_owned(), Value::Object(who));
    agent.insert("requestor".to_owned(), json!(true));
    if let Some(jti) = &entry.jti {
        agent.insert("policy".to_owned(), policy(jti));
    }
    Value::Object(agent)
}

fn policy(jti: &str) -> Value {
    json!([format!("urn:ietf:params:oauth:jti:{jti}")])
}

/// Whether `user` reads as a FHIR reference: `Practitioner/x`, or an absolute URL.
fn is_reference(user: &str) -> bool {
    let relative = user.split_once('/').is_some_and(|(kind, id)| {
        !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic()) && is_id(id)
    });
    relative || user.starts_with("https://") || user.starts_with("http://")
}
