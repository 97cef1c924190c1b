//! What must hold of every answer, whoever asked and whatever the backend said.

use serde_json::Value;

use crate::ask::{Ask, Kind};
use crate::backend::{Item, Place};
use crate::case::{Case, constrained, unreached};
use crate::compartment::only_points_at;
use crate::naive::{Grant, Reach, Role, Truth};
use crate::world::{CURSOR, HOST, PATIENTS, TYPES, at, canary, text, type_of};
use crate::writes;

/// A case with what became of it.
pub struct Checked<'c> {
    pub case: &'c Case,
    pub grant: &'c Grant<'c>,
    pub decision: &'c Value,
}

/// The laws that are broken, each with its name first.
pub fn faults(checked: &Checked<'_>) -> Vec<String> {
    let mut faults = checked.nothing_foreign();
    faults.extend(checked.nothing_internal());
    faults.extend(checked.nothing_unasked());
    faults.extend(checked.total());
    faults.extend(checked.in_entries());
    faults.extend(checked.document());
    faults.extend(checked.as_it_was());
    faults.extend(writes::faults(checked));
    faults
}

impl Checked<'_> {
    /// Everything that reaches the client, as one text.
    pub fn output(&self) -> Option<String> {
        let returned = self.decision.get("returned")?;
        Some(format!("{}\n{}", returned["headers"], self.body()?))
    }

    /// The body that reaches the client.
    pub fn body(&self) -> Option<String> {
        let body = self.decision.pointer("/returned/body")?;
        Some(body.as_str().map_or_else(|| body.to_string(), str::to_owned))
    }

    /// What would be sent to the backend.
    pub fn forward(&self) -> Option<&Value> {
        self.decision.get("forward").filter(|forward| !forward.is_null())
    }

    /// Whether content has to be looked at.
    fn limited(&self, ask: &Ask) -> bool {
        if ask.needs.is_empty() && !ask.kind.is_bundle() {
            // Which types a search of the whole system is kept to is for the gateway to say.
            return self.decision["constrained"] == true;
        }
        if ask.kind.is_bundle() {
            // Of which entry something speaks is looked at entry by entry.
            return ask.entries.iter().all(|entry| self.limited(entry));
        }
        constrained(ask, self.grant)
    }

    /// Whether something in the answer may be shown.
    pub fn allowed(&self, item: &Item) -> Truth {
        self.allowed_to(&self.case.ask, item)
    }

    /// Whether something in the answer may be shown to who asked this, which may be an entry of a batch.
    fn allowed_to(&self, ask: &Ask, item: &Item) -> Truth {
        match item.place {
            Place::Private => return Truth::No,
            // An operation on an instance that was looked at says nothing of others.
            Place::Head => {
                let called = matches!(ask.kind, Kind::Operation(_));
                return Truth::from(called || !self.limited(ask));
            }
            Place::Record => return Truth::from(self.names_record(ask)),
            // A backend's words are of the client's own input, or for those who may see everything (RESP-3).
            Place::Words => {
                let of_input = matches!(self.case.answer.status, 200..=299 | 400 | 422);
                return Truth::from(self.grant.sees_everything() || (!self.limited(ask) && of_input));
            }
            Place::Beside | Place::Include | Place::Inner | Place::Match | Place::Root | Place::Version => {}
        }
        if ask.method == "HEAD" && !self.limited(ask) {
            // What would have been in the body is not known to anybody.
            return Truth::Yes;
        }
        let letters = letters(ask, item);
        let role = if ask.kind == Kind::Vread || item.place == Place::Version {
            Role::OldVersion
        } else {
            Role::Read
        };
        let seen = item.readings.iter().map(|reading| self.grant.sees(reading, letters, role));
        seen.min().unwrap_or(Truth::No).min(self.chained(item))
    }

    /// RESP-9: a record is named to whom made it or addressed it, and to whom may see it.
    fn names_record(&self, ask: &Ask) -> bool {
        let made = ask.kind == Kind::Create && matches!(self.case.answer.status, 200..=299);
        let addressed = ask.kind.changes().is_some();
        let called = matches!(ask.kind, Kind::Operation(_) | Kind::Validate);
        // Outside of writes it is of the answer as a whole.
        let whole =
            !ask.kind.writes() && !self.limited(ask) || self.grant.reach(&ask.resource, "rs") == Reach::All;
        let root = |item: &&Item| item.place == Place::Root;
        let seen =
            self.case.answer.items.iter().filter(root).any(|item| self.allowed_to(ask, item) != Truth::No);
        made || addressed || called || whole || seen
    }

    /// SRCH-5: a match that was found through somebody else's record tells of that record.
    fn chained(&self, item: &Item) -> Truth {
        let query = &self.case.ask.query;
        let searched = |reading: &Value| query.searched.iter().any(|kind| kind == type_of(reading));
        let found = item.place == Place::Match && item.readings.iter().any(searched);
        let Some(path) = query.followed.filter(|_| found) else { return Truth::Yes };
        let Some(patient) = self.grant.plain_patient("Patient", "rs") else { return Truth::Yes };
        // What a resource contains is part of it.
        let contained = |it: &&Value| text(it, "reference").is_some_and(|url| url.starts_with('#'));
        let own = |reading: &Value| {
            at(reading, path).iter().all(contained) || only_points_at(reading, path, &patient)
        };
        Truth::from(item.readings.iter().all(own))
    }

    /// With an arbitrary backend, nothing outside the grant leaves.
    fn nothing_foreign(&self) -> Vec<String> {
        let Some(output) = self.output() else { return Vec::new() };
        let mut found = secrets(&output);
        found.extend(PATIENTS.iter().map(|patient| canary(patient)).filter(|name| output.contains(name)));
        found.iter().filter_map(|secret| self.foreign(secret)).collect()
    }

    /// What is wrong with a text that leaves.
    fn foreign(&self, secret: &str) -> Option<String> {
        let items = self.case.answer.items.iter();
        let owners: Vec<_> =
            items.filter(|item| item.marker == *secret || item.raw.contains(secret)).collect();
        if self.case.ask.body.contains(secret) || owners.iter().any(|item| self.allowed(item) != Truth::No) {
            return None;
        }
        let whose: Vec<_> =
            owners.iter().map(|item| (item.place, item.readings.first().map(type_of))).collect();
        Some(format!("foreign: {secret} leaves, which is of {whose:?}"))
    }

    /// In the answer to a batch, each entry is as if it had been asked alone.
    fn in_entries(&self) -> Vec<String> {
        let entries = self.body().and_then(|body| serde_json::from_str::<Value>(&body).ok());
        let entries = entries.as_ref().and_then(|body| body["entry"].as_array());
        let Some(entries) = entries.filter(|list| list.len() == self.case.ask.entries.len()) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for (ask, entry) in self.case.ask.entries.iter().zip(entries) {
            let text = entry.to_string();
            let shown = self.case.answer.items.iter().filter(|item| text.contains(&item.marker));
            let foreign = shown.filter(|item| self.allowed_to(ask, item) == Truth::No);
            faults.extend(
                foreign
                    .map(|item| format!("entry: {} is shown to {} {}", item.marker, ask.method, ask.target)),
            );
        }
        faults
    }

    /// A document is shown whole or not at all.
    fn document(&self) -> Vec<String> {
        let Some(body) = self.body().filter(|_| self.case.answer.is_document()) else { return Vec::new() };
        let parts = self.case.answer.items.iter().filter(|item| item.place == Place::Inner);
        let (there, cut): (Vec<_>, Vec<_>) = parts.partition(|item| body.contains(&item.marker));
        if there.is_empty() || cut.is_empty() {
            return Vec::new();
        }
        vec![format!("document: {} parts are missing of {}", cut.len(), there.len() + cut.len())]
    }

    /// Nothing of the backend itself leaves, and no cursor for those who may not see everything.
    fn nothing_internal(&self) -> Vec<String> {
        let Some(output) = self.output() else { return Vec::new() };
        let mut faults = Vec::new();
        if output.to_lowercase().contains(HOST) {
            faults.push("internal: the backend's host leaves".to_owned());
        }
        if output.contains(CURSOR) && !self.grant.sees_everything() {
            faults.push("internal: a cursor of the backend leaves".to_owned());
        }
        // A refusal is shown with its words, which the listener keeps from HEAD.
        let answered = self.decision.pointer("/returned/status") == Some(&200.into());
        if self.case.ask.method == "HEAD" && answered && self.body().is_some_and(|body| !body.is_empty()) {
            faults.push("internal: HEAD is answered with content".to_owned());
        }
        faults
    }

    /// Nothing is asked of the backend that no scope covers, or that the grant shows to be outside beforehand.
    fn nothing_unasked(&self) -> Vec<String> {
        let ask = &self.case.ask;
        let Some(forward) = self.forward() else { return Vec::new() };
        let limited = constrained(ask, self.grant);
        let named = matches!(ask.kind, Kind::HistoryInstance | Kind::Operation(_) | Kind::Read | Kind::Vread)
            && !ask.id.is_empty();
        let letters = ask.needs.first().map_or("r", |(_, letters)| letters);
        let everything = || {
            TYPES.iter().chain(&["Binary", "Bundle"]).any(|kind| self.grant.reach(kind, "s") == Reach::All)
        };
        let target = forward["target"].as_str().unwrap_or("");
        let wrong = [
            ("what no scope covers", unreached(ask, self.grant)),
            (
                "what the id shows to be outside",
                named && self.grant.excludes(&ask.resource, &ask.id, letters),
            ),
            ("what cannot be checked", limited && ask.query.reserved),
            (
                "another patient's",
                ask.query.names_another && self.grant.bound_elsewhere(&ask.resource, letters, "p2"),
            ),
            ("all history", ask.kind == Kind::HistorySystem && !everything()),
            (
                "a raw cursor",
                ask.kind == Kind::Cursor && target.contains("abc") && !self.grant.sees_everything(),
            ),
            ("something refused", self.decision["decision"] == "deny"),
        ];
        wrong
            .iter()
            .filter(|(_, holds)| *holds)
            .map(|(what, _)| format!("asked: {what} is asked for"))
            .collect()
    }

    /// A count is of what is shown.
    fn total(&self) -> Vec<String> {
        let ask = &self.case.ask;
        if ask.kind.is_bundle() {
            return Vec::new();
        }
        let total = self.body().and_then(|body| total(&body));
        let Some(total) = total else { return Vec::new() };
        let entry = |item: &&Item| {
            matches!(item.place, Place::Include | Place::Match | Place::Version | Place::Inner)
        };
        let items = || self.case.answer.items.iter().filter(entry);
        let counts = |item: &&Item| !ask.kind.searches() || item.place == Place::Match;
        let visible = items().filter(counts).filter(|item| self.allowed(item) != Truth::No).count();
        let cut = items().any(|item| self.allowed(item) == Truth::No);
        let limited = self.limited(ask) || cut;
        // What a bundle repeats, it counts again.
        let most = visible * (1 + usize::from(self.case.answer.repeats)) + self.case.answer.deletions;
        if limited && total > most && !self.grant.sees_everything() {
            return vec![format!("total: {total} of {visible} that may be seen")];
        }
        Vec::new()
    }

    /// What is shown is as the backend sent it, in its order.
    fn as_it_was(&self) -> Vec<String> {
        let Some(body) = self.body() else { return Vec::new() };
        let shown = |item: &&Item| !item.readings.is_empty() && body.contains(&item.marker);
        let mut faults = Vec::new();
        let mut before = 0;
        for item in self.case.answer.items.iter().filter(shown) {
            let expected = item.raw.replace(crate::world::BACKEND, crate::world::PUBLIC);
            if item.exact && !body.contains(&expected) {
                faults.push(format!("bytes: {} is not as it was: {expected}", item.marker));
            }
            let at = body.find(&item.marker).unwrap_or(0);
            if at < before && !self.case.answer.repeats {
                faults.push(format!("order: {} is not where it was", item.marker));
            }
            before = at;
        }
        faults
    }
}

/// The letters by which something may be shown where it stands. What was not asked for is shown by either, whatever the
/// backend calls it: it is within the grant.
pub fn letters(ask: &Ask, item: &Item) -> &'static str {
    let among =
        |types: &[String]| item.readings.iter().any(|it| types.iter().any(|kind| kind == type_of(it)));
    let asked =
        among(std::slice::from_ref(&ask.resource)) && matches!(item.place, Place::Root | Place::Version);
    let version = matches!(ask.kind, Kind::HistoryInstance | Kind::Read | Kind::Vread);
    let found = (item.place == Place::Match && among(&ask.query.searched))
        || (item.place == Place::Include && among(&ask.query.reverse));
    if ask.kind.writes() || (version && asked) {
        "r"
    } else if (ask.kind == Kind::HistoryType && asked) || (ask.kind.searches() && found) {
        "s"
    } else {
        "rs"
    }
}

/// Every marker in a text.
pub fn secrets(output: &str) -> Vec<String> {
    let mut found: Vec<String> = output
        .split("zqmk")
        .skip(1)
        .filter_map(|rest| rest.split_once("qz"))
        .filter(|(number, _)| number.len() == 4)
        .map(|(number, _)| format!("zqmk{number}qz"))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// `Bundle.total` of a body.
fn total(body: &str) -> Option<usize> {
    let bundle = body.contains("\"resourceType\":\"Bundle\"") || body.contains("<Bundle ");
    let rest = body.split("\"total\":").nth(1).or_else(|| body.split("<total value=\"").nth(1))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|_| bundle)
}
