//! Tables in Markdown, for people at a terminal and for docs/PERFORMANCE.md, and where the plots come from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::contestant::Peer;
use crate::limits::{LIMITS, ratios};
use crate::machine;
use crate::plot::{self, Bar};
use crate::rounds::{Figures, median};
use crate::standing::Figure;
use crate::work::{WORKS, Work};

/// All that was measured.
#[derive(Default)]
pub struct Results {
    pub works: Vec<(&'static str, Vec<Figures>)>,
    pub figures: Vec<Figure>,
    /// The table of what recording costs.
    pub audit: Option<String>,
}

impl Results {
    /// One figure of one contestant.
    pub fn figure(&self, name: &str, peer: Peer) -> Option<&Vec<f64>> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        figure.by.iter().find(|(by, _)| *by == peer).map(|(_, values)| values)
    }
}

/// The table of one work.
pub fn work(work: &Work, figures: &[Figures]) -> String {
    let mut text = format!(
        "**{}**\n\n| contestant | CPU µs/answer | times nginx | answers/s | MB/s | p50 | p99 |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        work.title
    );
    let nginx = figures.iter().find(|one| one.entrant.peer == Peer::Nginx);
    for one in figures {
        let times = nginx.map(|nginx| spread(&ratios(one, nginx), 2)).unwrap_or_default();
        let rate = median(&one.rate);
        let latency =
            |at: Option<Duration>| at.map_or("–".to_owned(), |time| milliseconds(time.as_secs_f64() * 1e3));
        text.push_str(&format!(
            "| {} | {} | {times} | {rate:.0} | {:.0} | {} | {} |\n",
            one.entrant.name(),
            spread(&one.cpu, if median(&one.cpu) < 1000.0 { 1 } else { 0 }),
            rate * one.size / 1e6,
            latency(one.latency.map(|(half, _)| half)),
            latency(one.latency.map(|(_, most)| most)),
        ));
    }
    text
}

/// The table of some figures that are not of answers.
pub fn figures(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        text.push_str(&format!(
            "**{}**\n\n| contestant | {} | times nginx |\n| --- | ---: | ---: |\n",
            figure.title, figure.unit
        ));
        let nginx = figure.by.iter().find(|(peer, _)| *peer == Peer::Nginx);
        for (peer, values) in &figure.by {
            let times =
                nginx.map_or("–".to_owned(), |(_, nginx)| format!("{:.2}", median(values) / median(nginx)));
            text.push_str(&format!("| {} | {} | {times} |\n", peer.name(), spread(values, 1)));
        }
        text.push('\n');
    }
    text
}

/// Each limit, what was measured, and whether it was reached.
pub fn limits(results: &Results) -> String {
    let mut text = "| limit | at most | aim | measured | |\n| --- | ---: | ---: | ---: | --- |\n".to_owned();
    for limit in LIMITS {
        let Some(measured) = limit.measured(results) else { continue };
        let aim = limit.aim.map(|aim| aim.to_string()).unwrap_or_default();
        text.push_str(&format!(
            "| {} | {} | {aim} | {measured:.2} | {} |\n",
            limit.text,
            limit.at_most,
            limit.verdict(measured)
        ));
    }
    text
}

/// The median, and what lies around it.
fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let middle = median(values);
    if values.len() < 2 {
        return format!("{middle:.digits$}");
    }
    format!("{middle:.digits$} ({least:.digits$}–{most:.digits$})")
}

fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2} ms") } else { format!("{value:.0} ms") }
}

const BEGIN: &str = "<!-- deploy/bench/run writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Writes tables between their marks, and the plots beside.
///
/// # Errors
/// When the marks are not there, or a file can't be written.
pub fn write(results: &Results, peers: &[Peer]) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = root.join("docs/PERFORMANCE.md");
    let text = machine::text(&page);
    let marks = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks.ok_or(format!("{} has no marks to write between", page.display()))?;
    let plots = root.join("docs/plots");
    let written = fs::create_dir_all(&plots)
        .and_then(|()| fs::write(&page, format!("{before}{BEGIN}\n{}\n{END}{after}", body(results, peers))))
        .and_then(|()| drawings(results).iter().try_for_each(|(name, svg)| fs::write(plots.join(name), svg)));
    written.map_err(|error| error.to_string())
}

fn body(results: &Results, peers: &[Peer]) -> String {
    let version = |peer: &Peer| Some(format!("{} {}", peer.program(), machine::version(peer.program())?));
    let mut programs: Vec<String> = peers.iter().filter_map(version).collect();
    programs.dedup();
    let mut parts = vec![
        format!("{}.", machine::described(&programs)),
        "### What must be reached".to_owned(),
        limits(results),
        "![Each limit, and what was measured](plots/limits.svg)".to_owned(),
        "### Answers".to_owned(),
    ];
    for (name, figures) in &results.works {
        parts.extend(WORKS.iter().find(|work| work.name == *name).map(|found| work(found, figures)));
        if ["read", "search", "large"].contains(name) {
            parts.push(format!("![CPU time for an answer](plots/{name}.svg)"));
        }
    }
    parts.push("### Connections and start".to_owned());
    parts.push(figures(&results.figures));
    if let Some(audit) = &results.audit {
        parts.push("### What recording costs".to_owned());
        parts.push(audit.clone());
    }
    let mut text = parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n");
    text.push('\n');
    text
}

fn drawings(results: &Results) -> Vec<(String, String)> {
    let bar = |limit: &crate::limits::Limit| {
        let measured = limit.measured(results)?;
        let (label, value) = (limit.text.replace('`', ""), measured / limit.at_most * 100.0);
        Some(Bar {
            label,
            value,
            ours: measured <= limit.at_most,
            text: format!("{measured:.2} of {}", limit.at_most),
        })
    };
    let bars: Vec<Bar> = LIMITS.iter().filter_map(bar).collect();
    let title = "What was measured, in percent of what is allowed";
    let mut all = vec![("limits.svg".to_owned(), plot::bars(title, &bars, Some(100.0)))];
    for (name, figures) in &results.works {
        let Some(work) = WORKS.iter().find(|work| work.name == *name) else { continue };
        if !["read", "search", "large"].contains(name) {
            continue;
        }
        let bar = |one: &Figures| Bar {
            label: one.entrant.name().replace('`', ""),
            value: median(&one.cpu),
            ours: one.entrant.peer == Peer::Pforte,
            text: format!("{:.0} µs", median(&one.cpu)),
        };
        let bars: Vec<Bar> = figures.iter().map(bar).collect();
        let title = format!("CPU time for an answer: {}", work.title);
        all.push((format!("{name}.svg"), plot::bars(&title, &bars, None)));
    }
    all
}
