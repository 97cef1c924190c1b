//! A case: who asks what, of which backend. Everything follows from a seed.

use pforte::fhir::Format;
use serde_json::{Value, json};

use crate::ask::{Ask, Kind};
use crate::backend::{Answer, Backend};
use crate::chance::Chance;
use crate::config::Config;
use crate::grants;
use crate::naive::{Grant, Reach};
use crate::records::Records;
use crate::requests::{Requests, named_types};
use crate::world::{TYPES, text};

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    /// Which configuration.
    pub config: usize,
    pub claims: Value,
    pub ask: Ask,
    /// What is there before a write.
    pub stored: Option<Value>,
    pub answer: Answer,
}

impl Case {
    /// The case that belongs to a seed.
    pub fn of(seed: u64, configs: &[Config]) -> Self {
        let mut chance = Chance::new(seed);
        let config = chance.below(configs.len());
        let claims = grants::claims(&mut chance);
        let mut markers = 0;
        let records = Records { chance: &mut chance, markers: &mut markers };
        let grant = Grant::new(&claims, &configs[config]);
        let mut ask = Requests { records, types: named_types(&claims), grant: &grant }.any();
        let mut records = Records { chance: &mut chance, markers: &mut markers };
        let stored = stored(&mut records, &mut ask);
        let format = if records.chance.percent(92) { ask.format } else { other(ask.format) };
        let answer = Backend::new(records, format).answer(&ask);
        Self { seed, config, claims, ask, stored, answer }
    }

    /// As `pforte explain --jsonl` reads it.
    pub fn value(&self) -> Value {
        let mut value = asked(&self.ask, &self.claims);
        value["id"] = format!("seed {}", self.seed).into();
        if let Some(stored) = &self.stored {
            value["stored"] = stored.clone();
        }
        value["response"] = self.answer.value();
        value
    }

    /// The same with other claims.
    pub fn with_claims(&self, claims: Value) -> Self {
        Self { claims, ..self.clone() }
    }

    /// The same request, met by another answer.
    pub fn with_answer(&self, answer: Answer) -> Self {
        Self { answer, ..self.clone() }
    }
}

/// A request in the words of a case.
pub fn asked(ask: &Ask, claims: &Value) -> Value {
    let headers: serde_json::Map<String, Value> =
        ask.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    let mut value = json!({"method": ask.method, "target": ask.target, "headers": headers, "claims": claims});
    if !ask.body.is_empty() {
        value["body"] = ask.body.clone().into();
    }
    value
}

fn other(format: Format) -> Format {
    match format {
        Format::Json => Format::Xml,
        Format::Xml => Format::Json,
    }
}

/// What is there before a write: now and then nothing, something else, or nearly what is sent.
fn stored(records: &mut Records<'_>, ask: &mut Ask) -> Option<Value> {
    let target = if ask.kind.is_bundle() {
        ask.entries.iter_mut().rev().find(|entry| entry.kind.writes() && entry.kind != Kind::Create)?
    } else {
        ask
    };
    let by_id = target.kind.writes() && !matches!(target.kind, Kind::Create | Kind::ConditionalCreate);
    let called = matches!(target.kind, Kind::Operation(_)) && !target.id.is_empty();
    if !by_id && !called || records.chance.percent(6) {
        return None;
    }
    let id = if target.id.is_empty() { "o1" } else { target.id.as_str() };
    let (kind, id) = match records.chance.below(40) {
        0 => (target.resource.as_str(), "o8".to_owned()),
        1 => (records.chance.pick(&TYPES), id.to_owned()),
        _ => (target.resource.as_str(), id.to_owned()),
    };
    let (mut value, marker) = records.resource(kind, &id);
    if let Some(sent) = target.submitted.as_ref().filter(|_| records.chance.percent(50)) {
        let version = value["meta"]["versionId"].clone();
        let old = text(sent, "extension.valueString").unwrap_or("-").to_owned();
        value = serde_json::from_str(&sent.to_string().replace(&old, &marker)).expect("as it was");
        value["id"] = id.clone().into();
        value["meta"]["versionId"] = version;
    }
    if target.kind == Kind::ConditionalUpdate && records.chance.percent(60) {
        rewrite_id(target, &id);
    }
    if records.chance.percent(4) {
        value["meta"].as_object_mut().expect("an object").shift_remove("versionId");
    }
    Some(value)
}

/// Puts the id of the one match into the body of a conditional update, as a careful client would.
fn rewrite_id(ask: &mut Ask, id: &str) {
    let Some(sent) = &mut ask.submitted else { return };
    let old = text(sent, "id").unwrap_or("-").to_owned();
    sent["id"] = id.into();
    ask.body = ask.body.replacen(&format!("\"id\":\"{old}\""), &format!("\"id\":\"{id}\""), 1);
    ask.body = ask.body.replacen(&format!("<id value=\"{old}\"/>"), &format!("<id value=\"{id}\"/>"), 1);
}

/// Whether the grant reaches only a part of something that the request needs, so that content must be looked at.
pub fn constrained(ask: &Ask, grant: &Grant<'_>) -> bool {
    if ask.kind.is_bundle() {
        return ask.entries.iter().any(|entry| constrained(entry, grant));
    }
    if ask.kind == Kind::Cursor {
        return !grant.sees_everything();
    }
    if ask.needs.is_empty() {
        return TYPES.iter().any(|kind| grant.reach(kind, "s") != Reach::All);
    }
    ask.needs.iter().any(|(kind, letters)| grant.reach(kind, letters) == Reach::Part)
}

/// Whether something that the request needs is not reached at all.
pub fn unreached(ask: &Ask, grant: &Grant<'_>) -> bool {
    ask.needs.iter().any(|(kind, letters)| grant.reach(kind, letters) == Reach::None)
}

/// The configurations, read once.
pub fn grant<'c>(case: &'c Case, configs: &'c [Config]) -> Grant<'c> {
    Grant::new(&case.claims, &configs[case.config])
}
