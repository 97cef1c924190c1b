//! The configurations under which the laws are tried: each as `gateway.toml`, and as the naive evaluator reads it.

use jiff::Timestamp;
use pforte::cli::explain::Explainer;
use pforte::config::{Settings, Source, Surroundings};
use pforte::gateway::Route;
use pforte::policy::SealKey;
use pforte::release::Credentials;
use serde_json::Value;

use crate::world::{BACKEND, PUBLIC, each};

const NOW: i64 = 1_780_000_000;

/// One configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Whether the launch encounter limits.
    pub restrict: bool,
    /// Types outside the compartment that `patient/` scopes may read.
    pub shared: &'static [&'static str],
    /// Whether linked patients are reached.
    pub linked: bool,
    /// Whether PUT may create.
    pub update_creates: bool,
    /// Whether a resource outside is 403 and not 404.
    pub forbidden: bool,
    /// Whether the backend searches compartments; not said by default.
    pub compartment_search: Option<bool>,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// One `[[rule]]`.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// A claim that must contain a word.
    pub when: Option<(&'static str, &'static str)>,
    /// Which contexts it limits.
    pub contexts: &'static [&'static str],
    /// The limits.
    pub limit: &'static [&'static str],
}

const EVERY: &[&str] = &["patient", "user", "system"];
const RESTRICTED: Rule = Rule { when: None, contexts: EVERY, limit: &["*?_security:not=R"] };
const OWN_PATIENTS: Rule =
    Rule { when: None, contexts: &["user"], limit: &["Patient?general-practitioner={fhirUser}"] };
const WARD: Rule = Rule {
    when: Some(("groups", "ward-7")),
    contexts: &["user", "system"],
    limit: &["Observation?category={cats}", "Condition?clinical-status=active"],
};
const RECENT: Rule = Rule {
    when: None,
    contexts: &["patient"],
    limit: &["Observation?status:not=entered-in-error&date=ge2024-01-01", "Encounter?class=AMB"],
};

/// All configurations that this version accepts, the plain one first.
pub fn all() -> Vec<Config> {
    let every = vec![
        Config::default(),
        Config { compartment_search: Some(true), ..Config::default() },
        Config { restrict: true, ..Config::default() },
        Config {
            restrict: true,
            compartment_search: Some(true),
            rules: &[RESTRICTED, RECENT],
            ..Config::default()
        },
        Config { shared: &["Practitioner", "Medication", "Device"], forbidden: true, ..Config::default() },
        Config { update_creates: true, compartment_search: Some(false), ..Config::default() },
        Config { rules: &[RESTRICTED], ..Config::default() },
        Config { rules: &[OWN_PATIENTS, WARD], shared: &["Practitioner"], ..Config::default() },
        Config { rules: &[RECENT, RESTRICTED, WARD], update_creates: true, ..Config::default() },
        Config { linked: true, shared: &["Device"], ..Config::default() },
    ];
    every.into_iter().filter(|config| config.settings().is_some()).collect()
}

impl Config {
    /// The limits on a context for these claims: type or `*`, and the parameters.
    pub fn limits(
        &self,
        level: &str,
        claims: &Value,
    ) -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
        let holds = |rule: &&Rule| {
            rule.when.is_none_or(|(claim, word)| {
                claims.get(claim).is_some_and(|claim| each(claim).iter().any(|it| it.as_str() == Some(word)))
            })
        };
        let rules = self.rules.iter().filter(|rule| rule.contexts.contains(&level)).filter(holds);
        let taken_apart = |line: &&'static str| {
            let (kind, query) = line.split_once('?').expect("a search");
            (kind, query.split('&').map(|pair| pair.split_once('=').expect("a parameter")).collect())
        };
        rules.flat_map(|rule| rule.limit).map(taken_apart).collect()
    }

    /// As `gateway.toml`.
    pub fn toml(&self) -> String {
        let compartments = self.compartment_search.map_or("\"auto\"".to_owned(), |asked| asked.to_string());
        let rules: String = self.rules.iter().map(Rule::toml).collect();
        format!(
            "[server]\npublic_url = \"{PUBLIC}\"\ninsecure_http = true\n[backend]\nurl = \"{BACKEND}\"\n\
             compartment_search = {compartments}\n[[authorization_server]]\nissuer = \"https://as.test\"\n\
             [patient]\nencounter = \"{}\"\nshared_types = {:?}\nlinked_patients = {}\nupdate_creates = {}\n\
             unmatched = \"{}\"\n{rules}",
            if self.restrict { "restrict" } else { "hint" },
            self.shared,
            self.linked,
            self.update_creates,
            if self.forbidden { "forbidden" } else { "not_found" },
        )
    }

    fn settings(&self) -> Option<Settings> {
        let now = Timestamp::from_second(NOW).expect("a time");
        let text = self.toml();
        let checked = Settings::check(&Source::new("law", text.as_str()), &Surroundings::new(".", now));
        // What a version refuses to be configured for, it cannot be tried on.
        checked.map(|(settings, _)| settings).ok()
    }

    /// The program under this configuration.
    pub fn explainer(&self) -> Explainer {
        let settings = self.settings().expect("accepted");
        let names =
            settings.authorization_servers.first().map(|server| server.claims.clone()).unwrap_or_default();
        let key = SealKey::new(&[7; 32]).expect("a key");
        let route = Route::new(settings.rules, key.into(), Credentials::Gateway).expect("a route");
        Explainer::new(route, names, Timestamp::from_second(NOW).expect("a time"))
    }
}

impl Rule {
    fn toml(&self) -> String {
        let when = self
            .when
            .map(|(claim, word)| format!("when = {{ claim = \"{claim}\", contains = \"{word}\" }}\n"));
        format!(
            "[[rule]]\n{}contexts = {:?}\nlimit = {:?}\n",
            when.unwrap_or_default(),
            self.contexts,
            self.limit
        )
    }
}
