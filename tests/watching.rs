//! What `deploy/` watches a gateway by: rules, their tests and the dashboard, held against promtool and against what
//! `/metrics` shows.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the files of deploy are read")]
#![expect(clippy::string_slice, reason = "every index comes from a search of the same text")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use pforte::telemetry::{
    Answered, Asking, Durations, Handshake, IssuerFigures, LedgerFigures, Metrics, Reload, SinkFigures,
    Spans, TokenFigures,
};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Everything that can be shown is shown, with every value of labels that the program fixes.
fn everything() -> String {
    let metrics = Metrics::new();
    let statuses = [StatusCode::OK, StatusCode::NOT_MODIFIED, StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY];
    let took = Duration::from_millis(3);
    for status in statuses {
        metrics.answered(&Answered { interaction: "read", status, reason: None, took, backend: took });
    }
    for asking in [Asking::Fact, Asking::Part, Asking::Request, Asking::Statement] {
        metrics.backend_answered(asking, took);
    }
    metrics.backend_failed("backend_timeout");
    metrics.audit_recorded(1, took);
    let oldest = Some("2026-01-01T00:00:00Z".parse().expect("an instant"));
    metrics.ledger(&LedgerFigures { oldest, free: Some(1), ..LedgerFigures::default() });
    metrics.audit_sinks(&[SinkFigures { name: "arr".to_owned(), ..SinkFigures::default() }]);
    for handshake in [Handshake::Done("1.3"), Handshake::Failed, Handshake::Refused, Handshake::Slow] {
        metrics.shaken(handshake);
    }
    metrics.shared_state(true, 1, 0);
    let figures = IssuerFigures {
        keys_age: Some(took),
        introspection_durations: Some(Durations::default()),
        ..IssuerFigures::default()
    };
    metrics.issuer("https://as.test", &figures);
    metrics.tokens(&TokenFigures::default());
    let checks = ["issuers", "audit", "backend_credentials", "backend", "issuer_keys", "certificates"];
    for check in checks.into_iter().chain(["shared_state", "audit_sinks"]) {
        metrics.checked(check, true);
    }
    for reload in [Reload::Failed, Reload::Taken] {
        metrics.reloaded(reload);
    }
    for spans in [Spans::Dropped, Spans::Exported, Spans::Failed] {
        metrics.spans(spans, 1);
    }
    metrics.encode()
}

/// Names of samples, each with its labels and their values.
type Shown = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn shown() -> Shown {
    let mut shown = Shown::new();
    for line in everything().lines().filter(|line| !line.starts_with('#')) {
        let (sample, _value) = line.rsplit_once(' ').expect("a sample and its value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let entry = shown.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').expect("a label");
            entry.entry(key.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    // What Prometheus makes itself.
    for labels in shown.values_mut() {
        labels.insert("job".to_owned(), BTreeSet::new());
        labels.insert("instance".to_owned(), BTreeSet::new());
    }
    let own = ["job", "instance"].map(|label| (label.to_owned(), BTreeSet::new()));
    shown.insert("up".to_owned(), own.into());
    shown
}

/// The quoted or plain value of each line of YAML with this key, folded lines joined.
fn values(yaml: &str, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim_start().trim_start_matches("- ");
        let Some(value) = bare.strip_prefix(key).and_then(|rest| rest.strip_prefix(':')) else { continue };
        let value = value.trim();
        if value != ">-" {
            found.push(value.trim_matches('"').to_owned());
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        let mut folded = Vec::new();
        while let Some(next) = lines.next_if(|next| next.len() - next.trim_start().len() > depth) {
            folded.push(next.trim());
        }
        found.push(folded.join(" "));
    }
    found
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_:".contains(c)
}

/// What an expression asks for: names, and with each the label matchers that follow it.
fn asked(expression: &str) -> Vec<(String, Vec<(String, String, String)>)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        // What stands in quotes is no name.
        if let Some(quote) = rest[..start].find('"') {
            let after = &rest[quote + 1..];
            rest = after.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let name: String = rest[start..].chars().take_while(|c| word(*c)).collect();
        rest = &rest[start + name.len()..];
        let ours = ["pforte_", "process_", "instance:"].iter().any(|begin| name.starts_with(begin));
        if !ours && name != "up" {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            for matcher in inside.split(',').filter(|matcher| !matcher.is_empty()) {
                let at = matcher.find(['=', '!']).expect("an operator");
                let (key, operated) = matcher.split_at(at);
                let operator: String = operated.chars().take_while(|c| *c != '"').collect();
                let value = operated[operator.len()..].trim_matches('"').to_owned();
                matchers.push((key.trim().to_owned(), operator, value));
            }
            rest = after;
        }
        found.push((name, matchers));
    }
    found
}

/// The labels that an expression groups by, or a legend names.
fn grouped(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for begin in ["by (", "on (", "without ("] {
        for (at, _) in expression.match_indices(begin) {
            let inside = expression[at + begin.len()..].split(')').next().unwrap_or_default();
            found.extend(inside.split(',').map(|label| label.trim().to_owned()));
        }
    }
    for piece in expression.split("{{").skip(1) {
        let inside = piece.split("}}").next().unwrap_or_default();
        found.insert(inside.trim().trim_start_matches("$labels.").to_owned());
    }
    found.remove("");
    found
}

/// What is wrong with the expressions of a file.
fn faults(file: &str, expressions: &[String], known: &Shown) -> Vec<String> {
    let reasons = text("docs/OPERATIONS.md");
    let labels: BTreeSet<&String> = known.values().flat_map(BTreeMap::keys).collect();
    let mut faults = Vec::new();
    for expression in expressions {
        for (name, matchers) in asked(expression) {
            let Some(has) = known.get(&name) else {
                faults.push(format!("{file}: `{name}` is not shown: {expression}"));
                continue;
            };
            for (key, operator, value) in matchers {
                let values = has.get(&key);
                // Grafana's variables and patterns are not held against values.
                let plain = !value.starts_with('$') && !value.contains('|');
                let right = match values {
                    None => false,
                    Some(_) if key == "reason" => value
                        .split('|')
                        .all(|reason| reasons.contains(&format!("`{reason}`")) || value.is_empty()),
                    Some(values) => {
                        values.is_empty() || !plain || operator.contains('~') || values.contains(&value)
                    }
                };
                if !right {
                    faults.push(format!("{file}: `{name}` has no {key}{operator}\"{value}\": {expression}"));
                }
            }
        }
        for label in grouped(expression).iter().filter(|label| !labels.contains(label)) {
            faults.push(format!("{file}: nothing has the label `{label}`: {expression}"));
        }
    }
    faults
}

fn with_records(mut known: Shown) -> Shown {
    let rules = text("deploy/prometheus/rules.yml");
    for record in values(&rules, "record") {
        let own = ["job", "instance"].map(|label| (label.to_owned(), BTreeSet::new()));
        known.insert(record, own.into());
    }
    known
}

/// Every name and label in rules and alerts is one that a gateway shows.
#[test]
fn rules_ask_for_what_there_is() {
    let rules = values(&text("deploy/prometheus/rules.yml"), "expr");
    assert!(rules.len() > 4, "{rules:?}");
    let found = faults("rules.yml", &rules, &shown());
    assert!(found.is_empty(), "{}", found.join("\n"));
    let alerts = text("deploy/prometheus/alerts.yml");
    let mut asked = values(&alerts, "expr");
    assert!(asked.len() > 20, "{asked:?}");
    asked.extend(values(&alerts, "summary"));
    let found = faults("alerts.yml", &asked, &with_records(shown()));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Each alert says where it is told what to do, and it is told there.
#[test]
fn each_alert_has_a_runbook() {
    let alerts = text("deploy/prometheus/alerts.yml");
    let (names, runbooks) = (values(&alerts, "alert"), values(&alerts, "runbook"));
    let page = text("docs/OPERATIONS.md");
    assert_eq!(names.len(), runbooks.len());
    for (name, runbook) in names.iter().zip(runbooks) {
        assert_eq!(runbook, format!("docs/OPERATIONS.md#{}", name.to_lowercase()));
        assert!(page.contains(&format!("\n### {name}\n")), "no section `### {name}` in docs/OPERATIONS.md");
    }
    let tests = text("deploy/prometheus/tests.yml");
    for name in names {
        for case in ["fires", "does not"] {
            assert!(tests.contains(&format!("name: {name} {case}\n")), "no case that {name} {case}");
        }
    }
}

/// The dashboard is one that Grafana takes, and asks for what there is.
#[test]
fn the_dashboard_asks_for_what_there_is() {
    let board: Value = serde_json::from_str(&text("deploy/grafana/pforte.json")).expect("JSON");
    assert!(board["schemaVersion"].as_u64().is_some_and(|version| version >= 39));
    let variables = board["templating"]["list"].as_array().expect("variables");
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut expressions = Vec::new();
    let mut places: BTreeMap<(u64, u64), &Value> = BTreeMap::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        for cell in (side("y")..side("y") + side("h"))
            .flat_map(|y| (side("x")..side("x") + side("w")).map(move |x| (y, x)))
        {
            assert!(cell.1 < 24, "{} does not fit", panel["title"]);
            let before = places.insert(cell, &panel["title"]);
            assert_eq!(before, None, "{} lies on another panel", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            expressions.push(target["expr"].as_str().expect("an expression").to_owned());
            expressions.push(target["legendFormat"].as_str().unwrap_or_default().to_owned());
        }
    }
    expressions.push(board["annotations"]["list"][1]["expr"].as_str().expect("an expression").to_owned());
    for row in ["Traffic", "Refusals", "Audit and its sinks", "TLS and connections", "Process"] {
        assert!(panels.iter().any(|panel| panel["type"] == "row" && panel["title"] == row), "no row {row}");
    }
    let found = faults("pforte.json", &expressions, &shown());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Whoever adds a metric says what it is, and whoever removes one takes the line away.
#[test]
fn the_page_tells_of_every_metric() {
    let page = text("docs/OPERATIONS.md");
    let shown = everything();
    let families = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut missing = Vec::new();
    for (family, kind) in families {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        if !page.contains(&format!("`{family}{suffix}`")) {
            missing.push(format!("{family}{suffix}"));
        }
    }
    assert!(missing.is_empty(), "not in docs/OPERATIONS.md: {missing:?}");
    for piece in page.split("`pforte_").skip(1) {
        let name: String = piece.chars().take_while(|c| word(*c)).collect();
        let full = format!("pforte_{name}");
        let is_shown =
            shown.lines().any(|line| line.starts_with(&full) && !line[full.len()..].starts_with(word));
        let is_family = shown.contains(&format!("# TYPE {full} histogram"));
        assert!(is_shown || is_family, "docs/OPERATIONS.md tells of `{full}`, which nothing shows");
    }
}

/// The checks see what is wrong.
#[test]
fn planted_faults_are_found() {
    let known = shown();
    let table = [
        ("rate(pforte_requests_total{status=\"5xx\"}[5m])", 0),
        ("rate(pforte_requests_total{status=\"6xx\"}[5m])", 1),
        ("rate(pforte_request_total[5m])", 1),
        ("sum by (intraction) (pforte_requests_total)", 1),
        ("pforte_requests_total{job=~\"$job\",reason=~\"throttled|no_credentials\"}", 0),
        ("pforte_requests_total{reason=\"no_such_reason\"}", 1),
        ("pforte_ready{check=\"audit\"}", 1),
        ("histogram_quantile(0.9, sum by (le) (rate(pforte_gateway_duration_seconds_bucket[5m])))", 0),
        ("{{interaction}}", 0),
        ("{{$labels.nobody}}", 1),
    ];
    for (expression, count) in table {
        let found = faults("x", &[expression.to_owned()], &known);
        assert_eq!(found.len(), count, "{expression}: {found:?}");
    }
}

fn promtool(arguments: &[&str], input: &str) -> String {
    let missing = "promtool runs (Debian's package `prometheus` has it; ./test installs it)";
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(path("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(missing);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("promtool ends");
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(ended.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// Prometheus reads the files, and the alerts fire when they must and only then.
#[test]
fn promtool_takes_the_files() {
    promtool(&["check", "rules", "rules.yml", "alerts.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["test", "rules", "tests.yml"], "");
}

/// Names, units and texts are as Prometheus wants them. promtool reads the older text format, in which a counter is called by
/// its whole name.
#[test]
fn promtool_takes_the_metrics() {
    let shown = everything();
    let kinds: BTreeMap<&str, &str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut older = String::new();
    for line in shown.lines() {
        let mut words = line.splitn(4, ' ');
        let (hash, what, name, rest) = (words.next(), words.next(), words.next(), words.next());
        let (Some("#"), Some(what), Some(name)) = (hash, what, name) else {
            if line != "# EOF" {
                older.push_str(&format!("{line}\n"));
            }
            continue;
        };
        let (suffix, kind) = match kinds.get(name) {
            Some(&"counter") => ("_total", "counter"),
            Some(&"info") => ("_info", "gauge"),
            Some(kind) => ("", *kind),
            None => continue,
        };
        match what {
            "HELP" => older.push_str(&format!("# HELP {name}{suffix} {}\n", rest.unwrap_or_default())),
            "TYPE" => older.push_str(&format!("# TYPE {name}{suffix} {kind}\n")),
            _ => {}
        }
    }
    let said = promtool(&["check", "metrics"], &older);
    assert_eq!(said.trim(), "");
}
