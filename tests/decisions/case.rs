//! A case: what is asked, what is expected, and by which configuration.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use pforte::cli::explain::Explainer;
use pforte::config::{Settings, Source, Surroundings};
use pforte::gateway::Route;
use pforte::policy::SealKey;
use pforte::release::Credentials;
use serde_json::{Map, Value};

use crate::answer;
use crate::expect;
use crate::laws;
use crate::variants;

/// The files beside this one.
pub const FILES: [&str; 16] = [
    "scopes.jsonl",
    "interactions.jsonl",
    "bundles.jsonl",
    "searches.jsonl",
    "operations.jsonl",
    "answers.jsonl",
    "versions.jsonl",
    "hostile.jsonl",
    "granular.jsonl",
    "context.jsonl",
    "compartment.jsonl",
    "narrowing.jsonl",
    "checked.jsonl",
    "constrained_writes.jsonl",
    "constrained_bundles.jsonl",
    "rules.jsonl",
];
/// The backend's host: it must never reach a client.
pub const BACKEND: &str = "upstream.internal";
const NOW: i64 = 1_780_000_000;

/// A configuration that is refused is a fault of the cases that name it, not of the others.
fn explainer(config: &Value) -> Result<Explainer, String> {
    let text = variants::configuration(config);
    let now = Timestamp::from_second(NOW).expect("a time");
    let checked = Settings::check(&Source::new("case", text.as_str()), &Surroundings::new(".", now));
    let (settings, _) =
        checked.map_err(|complaints| format!("the configuration is refused: {complaints:?}"))?;
    let names =
        settings.authorization_servers.first().map(|server| server.claims.clone()).unwrap_or_default();
    let key = SealKey::new(&[7; 32]).expect("a key");
    let route = Route::new(settings.rules, key.into(), Credentials::Gateway).expect("a route");
    Ok(Explainer::new(route, names, now))
}

/// A file of cases, with an explainer for each configuration in it.
pub struct Suite {
    /// The cases in order.
    pub cases: Vec<Case>,
    explainers: HashMap<String, Result<Explainer, String>>,
}

impl Suite {
    /// Reads a file.
    #[expect(clippy::disallowed_methods, reason = "the cases are data")]
    pub fn read(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions").join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases: Vec<Case> = text.lines().filter(|line| !line.trim().is_empty()).map(Case::read).collect();
        let explainers =
            cases.iter().map(|case| (case.config.to_string(), explainer(&case.config))).collect();
        Self { cases, explainers }
    }

    fn explain(&self, config: &Value, asked: Map<String, Value>) -> Value {
        let explained = match &self.explainers[&config.to_string()] {
            Ok(explainer) => explainer.explain(&Value::Object(asked)).map_err(|error| error.to_string()),
            Err(refused) => Err(refused.clone()),
        };
        explained.unwrap_or_else(|error| serde_json::json!({"error": error}))
    }

    /// Whether a client could tell this decision from that of another case (REST-7).
    fn unlike(&self, other: &Value, got: &Value) -> Option<String> {
        let other = other.as_str().expect("`same_as` is the id of a case");
        let case = self.cases.iter().find(|case| case.id == other);
        let shown = case.unwrap_or_else(|| panic!("no case `{other}`")).decision(self);
        expect::unlike(got, &shown).map(|how| format!("same_as {other}: {how}"))
    }
}

/// One case.
pub struct Case {
    /// Its name.
    pub id: String,
    /// The requirements it shows, separated by spaces.
    pub source: String,
    /// What is expected.
    pub expect: Value,
    config: Value,
    /// What is done with a link of the answer.
    then: Vec<Value>,
    asked: Map<String, Value>,
}

impl Case {
    fn read(line: &str) -> Self {
        let mut asked: Map<String, Value> =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut take = |name: &str| asked.remove(name);
        let text = |value: Option<Value>| {
            value.as_ref().and_then(Value::as_str).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let (source, config, expect) = (text(take("source")), take("config"), take("expect"));
        let then = take("then").map(|then| then.as_array().expect("`then` is a list").clone());
        Self {
            id: text(asked.get("id").cloned()),
            source,
            expect: expect.unwrap_or_else(|| panic!("no `expect`: {line}")),
            config: config.unwrap_or(Value::Null),
            then: then.unwrap_or_default(),
            asked,
        }
    }

    /// As it is given to `explain`.
    pub fn line(&self) -> String {
        Value::Object(self.asked.clone()).to_string()
    }

    /// Which decisions it expects, of its own request, its entries, and the links followed after it: `true` for a
    /// permit. An answer that is withheld, or not the backend's 200, is a no. One that may be either is left out.
    pub fn expectations(&self) -> Vec<bool> {
        let followed = self.then.iter().map(|then| &then["expect"]);
        let entries = self.expect["entries"].as_array().into_iter().flatten();
        std::iter::once(&self.expect).chain(followed).chain(entries).filter_map(permitted).collect()
    }

    /// Whether it needs no configuration of its own.
    pub fn plain(&self) -> bool {
        self.config.is_null()
    }

    /// What is decided.
    pub fn decision(&self, suite: &Suite) -> Value {
        suite.explain(&self.config, self.asked.clone())
    }

    /// What is not as expected, of the case and of the links followed after it.
    pub fn faults(&self, suite: &Suite) -> Vec<String> {
        let mut got = self.decision(suite);
        if let Some(error) = got["error"].as_str() {
            return vec![error.to_owned()];
        }
        let mut faults = laws::faults(&got);
        faults.extend(expect::faults(&self.expect, &got));
        faults.extend(self.expect.get("same_as").and_then(|other| suite.unlike(other, &got)));
        for (step, then) in self.then.iter().enumerate() {
            let Some((next, expected)) = follow(then, &got, &self.asked) else {
                faults.push(format!("then {step}: the answer has no such link: {}", got["returned"]));
                break;
            };
            got = suite.explain(&self.config, next);
            let more = laws::faults(&got).into_iter().chain(expect::faults(&expected, &got));
            faults.extend(more.map(|fault| format!("then {step}: {fault}")));
        }
        faults
    }
}

/// Whether an expectation is a permit.
fn permitted(expect: &Value) -> Option<bool> {
    let statuses = |name: &str| {
        let written = &expect[name];
        let one = || (!written.is_null()).then(|| written.clone()).into_iter().collect();
        written.as_array().cloned().unwrap_or_else(one)
    };
    let refuses = |status: &Value| status.as_u64().is_some_and(|status| status >= 400);
    let seen = statuses("seen_status");
    match expect["decision"].as_str() {
        _ if !seen.is_empty() => {
            let refused = seen.iter().filter(|status| refuses(status)).count();
            (refused == 0 || refused == seen.len()).then_some(refused == 0)
        }
        Some(decision) => Some(decision == "permit" && !statuses("returned_status").iter().any(refuses)),
        None => None,
    }
}

/// The case that follows a link of what was returned: `take` is a link's relation or a header field's name, `alter`
/// exchanges its last character.
fn follow(then: &Value, got: &Value, before: &Map<String, Value>) -> Option<(Map<String, Value>, Value)> {
    let take = then["take"].as_str()?;
    let returned = &got["returned"];
    let field = || returned["headers"][take].as_str().map(str::to_owned);
    let url = answer::link(&returned["body"], take).or_else(field)?;
    let mut target = url.strip_prefix("https://gw.test")?.to_owned();
    if then["alter"] == true {
        // Not the last character, some bits of which mean nothing in base64.
        let at = target.len() - 8;
        let other = if target.get(at..).is_some_and(|end| end.starts_with('A')) { "B" } else { "A" };
        target.replace_range(at..=at, other);
    }
    if let Some(more) = then["add"].as_str() {
        target.push_str(more);
    }
    let mut asked = Map::new();
    asked.insert("method".into(), then.get("method").cloned().unwrap_or_else(|| "GET".into()));
    asked.insert("target".into(), target.into());
    asked.insert("claims".into(), then.get("claims").or_else(|| before.get("claims"))?.clone());
    if let Some(response) = then.get("response") {
        asked.insert("response".into(), response.clone());
    }
    Some((asked, then["expect"].clone()))
}
