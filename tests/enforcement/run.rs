//! Tries the laws on many cases, on all processors, always the same ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pforte::cli::explain::Explainer;
use serde_json::{Value, json};

use crate::case::{Case, constrained, grant};
use crate::checks::{self, Checked};
use crate::config::{self, Config};
use crate::naive::Truth;
use crate::{laws, useful};

/// What decides: the program, or something that claims to.
pub trait Gateway: Sync {
    /// The decision on a case, as `pforte explain` writes it, under one of the configurations.
    fn explain(&self, config: usize, case: &Value) -> Value;

    /// Whether it enforces grants that reach only a part, and does not refuse them altogether.
    fn enforces(&self) -> bool {
        true
    }
}

/// The program itself.
pub struct Program {
    explainers: Vec<Explainer>,
}

impl Program {
    /// One explainer for each configuration.
    pub fn new(configs: &[Config]) -> Self {
        Self { explainers: configs.iter().map(Config::explainer).collect() }
    }
}

impl Gateway for Program {
    fn explain(&self, config: usize, case: &Value) -> Value {
        self.explainers[config].explain(case).unwrap_or_else(|error| json!({"error": error.to_string()}))
    }

    fn enforces(&self) -> bool {
        useful::ENFORCED
    }
}

/// A case that breaks laws.
pub struct Broken {
    pub case: Case,
    pub faults: Vec<String>,
}

/// How many cases of each law are told.
const TOLD: usize = 6;

/// What came of many cases.
#[derive(Default)]
pub struct Report {
    pub broken: Vec<Broken>,
    /// How often something happened.
    pub tally: BTreeMap<&'static str, usize>,
}

impl Report {
    fn count(&mut self, what: &'static str, times: usize) {
        *self.tally.entry(what).or_default() += times;
    }

    fn merge(&mut self, other: Self) {
        self.broken.extend(other.broken);
        for (what, times) in other.tally {
            self.count(what, times);
        }
    }

    /// How many cases break a law, for each law.
    pub fn by_law(&self) -> BTreeMap<String, usize> {
        let mut laws = BTreeMap::new();
        for broken in &self.broken {
            let mut names: Vec<_> =
                broken.faults.iter().filter_map(|fault| fault.split(':').next()).collect();
            names.dedup();
            names.into_iter().for_each(|name| *laws.entry(name.to_owned()).or_default() += 1);
        }
        laws
    }

    /// The first cases that break each law, so that they can be given to `pforte explain --jsonl`.
    pub fn text(&self, configs: &[Config]) -> String {
        let mut text = format!("{} cases break laws: {:?}\n", self.broken.len(), self.by_law());
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for broken in &self.broken {
            let laws = broken.faults.iter().filter_map(|fault| fault.split(':').next());
            let times = laws.map(|law| {
                let times = told.entry(law).or_default();
                *times += 1;
                *times
            });
            if times.min().is_none_or(|times| times > TOLD) {
                continue;
            }
            let _ = writeln!(text, "\nseed {}:", broken.case.seed);
            for fault in &broken.faults {
                let _ = writeln!(text, "  {fault}");
            }
            let _ = writeln!(text, "{}\n{}", configs[broken.case.config].toml(), broken.case.value());
        }
        text
    }
}

/// Tries every law on the cases of these seeds.
pub fn run(gateway: &dyn Gateway, configs: &[Config], seeds: std::ops::Range<u64>) -> Report {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let seeds = seeds.clone().skip(first).step_by(threads);
                scope.spawn(move || {
                    let mut report = Report::default();
                    seeds.for_each(|seed| one(gateway, configs, seed, &mut report));
                    report
                })
            })
            .collect();
        for worker in workers {
            report.merge(worker.join().expect("no law panics"));
        }
    });
    report.broken.sort_by_key(|broken| broken.case.seed);
    report
}

fn one(gateway: &dyn Gateway, configs: &[Config], seed: u64, report: &mut Report) {
    let case = Case::of(seed, configs);
    let decision = gateway.explain(case.config, &case.value());
    let grant = grant(&case, configs);
    let checked = Checked { case: &case, grant: &grant, decision: &decision };
    let mut faults = checks::faults(&checked);
    faults.extend(laws::faults(gateway, &checked, configs));
    let useful = useful::faults(gateway, &checked);
    tally(&checked, useful.is_some(), report);
    faults.extend(useful.unwrap_or_default());
    if let Some(error) = decision.get("error") {
        faults.push(format!("case: {error}"));
    }
    if !faults.is_empty() {
        report.broken.push(Broken { case, faults });
    }
}

/// Counts what shows that the laws were tried on something.
fn tally(checked: &Checked<'_>, useful: bool, report: &mut Report) {
    let limited = constrained(&checked.case.ask, checked.grant);
    let output = checked.output();
    let shown = |truth: Truth| {
        let items = checked.case.answer.items.iter().filter(|item| checked.allowed(item) == truth);
        items.filter(|item| output.as_ref().is_some_and(|output| output.contains(&item.marker))).count()
    };
    report.count("cases", 1);
    report.count("limited", usize::from(limited));
    report.count("forwarded", usize::from(checked.forward().is_some()));
    report.count("limited and forwarded", usize::from(limited && checked.forward().is_some()));
    report.count("items", checked.case.answer.items.len());
    report.count("items shown", shown(Truth::Yes));
    report.count("items shown by leave", shown(Truth::Maybe));
    report.count("something owed", usize::from(useful));
    report.count("something owed under a limit", usize::from(useful && limited));
}

/// The configurations of this version.
pub fn configs() -> Vec<Config> {
    config::all()
}
