//! The specification that can be run: one case a line, in the form of `pforte explain` (contract §9), each with the
//! requirement it comes from and the decision it expects.
#![cfg(test)]

#[path = "decisions/answer.rs"]
mod answer;
#[path = "decisions/case.rs"]
mod case;
#[path = "decisions/coverage.rs"]
mod coverage;
#[path = "decisions/expect.rs"]
mod expect;
#[path = "decisions/laws.rs"]
mod laws;
#[path = "decisions/variants.rs"]
mod variants;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use case::{Case, Suite};

/// Runs a file's cases and tells all that fail at once.
fn run(file: &str) {
    let suite = Suite::read(file);
    let mut failures = String::new();
    let mut failed = 0;
    for case in &suite.cases {
        let faults = case.faults(&suite);
        if !faults.is_empty() {
            failed += 1;
            let _ = writeln!(failures, "\n{} [{}] {}", case.id, case.source, case.line());
            for fault in faults {
                let _ = writeln!(failures, "    {fault}");
            }
        }
    }
    assert!(failed == 0, "{failed} of {} cases of {file} fail:\n{failures}", suite.cases.len());
}

/// SCOPE-1 … SCOPE-29, CTX-1, CTX-3, CTX-4, CTX-9.
#[test]
fn scopes() {
    run("scopes.jsonl");
}

/// REST-0 … REST-25, HTTP-6, HTTP-7, AUD-12.
#[test]
fn interactions() {
    run("interactions.jsonl");
}

/// REST-30 … REST-41.
#[test]
fn bundles() {
    run("bundles.jsonl");
}

/// SRCH-0 … SRCH-28.
#[test]
fn searches() {
    run("searches.jsonl");
}

/// OPS-1 … OPS-9, OPS-20, OPS-21, OPS-30.
#[test]
fn operations() {
    run("operations.jsonl");
}

/// RESP-2 … RESP-9: what is shown of the backend's answers.
#[test]
fn answers() {
    run("answers.jsonl");
}

/// R4, R4B and R5 where they differ.
#[test]
fn versions() {
    run("versions.jsonl");
}

/// Attacks, and legal requests that look like them.
#[test]
fn hostile() {
    run("hostile.jsonl");
}

/// SCOPE-40 … SCOPE-52: scopes with parameters.
#[test]
fn granular() {
    run("granular.jsonl");
}

/// CTX-1 … CTX-11: launch patient, launch encounter, user.
#[test]
fn context() {
    run("context.jsonl");
}

/// COMP-1 … COMP-16: who is in a patient's compartment.
#[test]
fn compartment() {
    run("compartment.jsonl");
}

/// SRCH-5 … SRCH-28 under a grant that reaches part: what the backend is asked.
#[test]
fn narrowing() {
    run("narrowing.jsonl");
}

/// RESP-1, REST-7, REST-18, REST-19, OPS-2 … OPS-9, OPS-40: what comes back is checked.
#[test]
fn checked() {
    run("checked.jsonl");
}

/// REST-12 … REST-25, COMP-10 … COMP-12: writes under a grant that reaches part.
#[test]
fn constrained_writes() {
    run("constrained_writes.jsonl");
}

/// REST-30 … REST-41 under a grant that reaches part.
#[test]
fn constrained_bundles() {
    run("constrained_bundles.jsonl");
}

/// SCOPE-26, SCOPE-28, contract §5: `[[rule]]`.
#[test]
fn rules() {
    run("rules.jsonl");
}

/// Each requirement is once permitted and once refused.
#[test]
fn every_requirement_has_a_yes_and_a_no() {
    let cases: Vec<Case> = case::FILES.iter().flat_map(|file| Suite::read(file).cases).collect();
    let mut ids = BTreeSet::new();
    let repeated: Vec<_> = cases.iter().filter(|case| !ids.insert(&case.id)).map(|case| &case.id).collect();
    assert!(repeated.is_empty(), "ids used twice: {repeated:?}");
    let missing = coverage::missing(&cases);
    assert!(missing.is_empty(), "requirements without both decisions:\n{}", missing.join("\n"));
}

/// Contract §9: the command decides as the library does, line by line.
#[test]
fn the_command_agrees_with_the_library() {
    let files = ["interactions.jsonl", "narrowing.jsonl", "checked.jsonl", "constrained_writes.jsonl"];
    let suites = files.map(Suite::read);
    let cases = suites.iter().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
    let cases: Vec<(&Suite, &Case)> = cases.filter(|(_, case)| case.plain()).step_by(3).collect();
    let written: String = cases.iter().map(|(_, case)| case.line() + "\n").collect();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("decisions");
    std::fs::create_dir_all(&folder).expect("a folder");
    let configuration = folder.join("gateway.toml");
    std::fs::write(&configuration, variants::configuration(&Value::Null)).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["explain", "--jsonl", "--config"])
        .arg(&configuration)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut input = child.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || input.write_all(written.as_bytes()));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("no panic").expect("written");
    assert!(output.status.success(), "{}", output.status);
    let shown: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(shown.len(), cases.len());
    for ((suite, case), shown) in cases.iter().zip(shown) {
        // Page links are sealed with a key of the process, so they never look alike.
        assert_eq!(unsealed(&shown), unsealed(&case.decision(suite)), "{}", case.id);
    }
}

/// A decision with sealed links blanked.
fn unsealed(decision: &Value) -> Value {
    let text = decision.to_string();
    let mut parts = text.split("_link=");
    let mut blanked = parts.next().unwrap_or("").to_owned();
    for part in parts {
        blanked.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_=".contains(c)));
    }
    serde_json::from_str(&blanked).expect("JSON")
}

/// The checker itself: the same answer reads alike in JSON and XML.
#[test]
fn answers_read_alike_in_json_and_xml() {
    let json = serde_json::json!({
        "resourceType": "Bundle", "type": "searchset", "total": 3,
        "link": [{"relation": "self", "url": "https://gw.test/fhir/Encounter"},
            {"relation": "next", "url": "https://gw.test/fhir?_link=abc"}],
        "entry": [{"resource": {"resourceType": "Encounter", "id": "e1"}},
            {"resource": {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "p1"}}]}},
            {"resource": {"resourceType": "OperationOutcome"}}],
    });
    let xml = serde_json::json!(concat!(
        r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><total value="3"/>"#,
        r#"<link><relation value="self"/><url value="https://gw.test/fhir/Encounter"/></link>"#,
        r#"<link><relation value="next"/><url value="https://gw.test/fhir?_link=abc"/></link>"#,
        r#"<entry><resource><Encounter xmlns="http://hl7.org/fhir"><id value="e1"/></Encounter></resource></entry>"#,
        r#"<entry><resource><Bundle><entry><resource><Patient><id value="p1"/></Patient></resource></entry></Bundle>"#,
        r#"</resource></entry><entry><resource><OperationOutcome/></resource></entry></Bundle>"#,
    ));
    for body in [&json, &xml] {
        assert_eq!(answer::ids(body), ["Encounter/e1", "Patient/p1"]);
        assert_eq!(answer::total(body), 3);
        assert_eq!(answer::kind_of_link(body, "next"), "sealed");
        assert_eq!(answer::kind_of_link(body, "self"), "open");
        assert_eq!(answer::kind_of_link(body, "prev"), Value::Null);
    }
    assert_eq!(answer::entries(&json), 3);
    let sent = serde_json::json!({"forward": {
        "target": "Patient/_search?a=%7C", "headers": {"content-type": "application/x-www-form-urlencoded"}, "body": "b=c%2Cd",
    }});
    let met =
        serde_json::json!({"forward_has": ["a=|", ["b=d,c", "b=c,d"]], "forward_has_not": ["c", "b=c"]});
    assert_eq!(expect::faults(&met, &sent), Vec::<String>::new());
    for unmet in [serde_json::json!({"forward_has": ["b=c"]}), serde_json::json!({"forward_has_not": ["a"]})]
    {
        assert_eq!(expect::faults(&unmet, &sent).len(), 1, "{unmet}");
    }
}

/// The checker itself: each kind of expectation notices when it is not met.
#[test]
fn expectations_notice_what_is_not_met() {
    let got = serde_json::json!({
        "decision": "permit", "interaction": "read", "types": ["Patient"], "constrained": false,
        "needs": [{"type": "Patient", "letter": "r", "granted_by": ["system/*.rs"]}],
        "forward": {"method": "GET", "target": "Patient/p1", "headers": {"accept": "application/fhir+json"}},
        "returned": {"status": 200, "headers": {"content-type": "application/fhir+json"}, "body": {"id": "p1"}},
    });
    let met = serde_json::json!({
        "decision": "permit", "interaction": "read", "types": ["Patient"], "needs": [["Patient", "r"]],
        "granted_by": ["system/*.rs"], "forward_method": "GET", "forward_target": "Patient/p1",
        "forward_headers": {"accept": "application/fhir+json", "prefer": null}, "returned_status": 200,
        "returned_contains": ["p1"], "returned_lacks": ["p2"], "constrained": false,
        "seen_status": [200, 304], "forward_path": "Patient/p1", "forward_has": [], "forward_has_not": ["_id"],
        "returned_entries": null, "returned_total": null, "returned_next": null,
    });
    assert_eq!(expect::faults(&met, &got), Vec::<String>::new());
    let unmet = [
        ("decision", serde_json::json!("deny")),
        ("status", serde_json::json!(403)),
        ("interaction", serde_json::json!("vread")),
        ("needs", serde_json::json!([["Patient", "s"]])),
        ("granted_by", serde_json::json!(["system/Patient.rs"])),
        ("forward_target", serde_json::json!("Patient/p2")),
        ("forward_headers", serde_json::json!({"accept": null})),
        ("forward_contains", serde_json::json!(["p2"])),
        ("forward_body_contains", serde_json::json!(["p1"])),
        ("no_forward", serde_json::json!(true)),
        ("returned_status", serde_json::json!([403, 404])),
        ("returned_contains", serde_json::json!(["p2"])),
        ("returned_lacks", serde_json::json!(["p1"])),
        ("returned_headers", serde_json::json!({"content-type": null})),
        ("entries", serde_json::json!([{"decision": "permit"}])),
        ("seen_status", serde_json::json!(404)),
        ("reason_id", serde_json::json!(["not_found"])),
        ("forward_path", serde_json::json!(["Patient", "Patient/p2"])),
        ("forward_has", serde_json::json!(["_id=p1"])),
        ("if_none_exist_has", serde_json::json!(["_id=p1"])),
        ("returned_ids", serde_json::json!(["Patient/p2"])),
        ("returned_entries", serde_json::json!(1)),
        ("returned_total", serde_json::json!([0, 1])),
        ("returned_next", serde_json::json!("sealed")),
        ("mistyped", serde_json::json!(1)),
    ];
    for (member, value) in unmet {
        assert_eq!(expect::faults(&serde_json::json!({member: value}), &got).len(), 1, "{member}");
    }
    let deny = serde_json::json!({"id": 1, "decision": "deny", "status": 403, "reason_id": "x", "reason": "x",
        "interaction": null, "types": [], "needs": [], "constrained": false});
    assert_eq!(laws::faults(&deny), Vec::<String>::new());
    let mut broken = deny.clone();
    broken["forward"] = serde_json::json!({"target": "Patient/../x", "method": "GET"});
    assert_eq!(laws::faults(&broken).len(), 2);
    broken["forward"] = Value::Null;
    broken["returned"] = serde_json::json!({"body": format!("see {}", case::BACKEND)});
    broken["reason_id"] = Value::Null;
    assert_eq!(laws::faults(&broken).len(), 2);
    let mut paged = deny.clone();
    paged["returned"] = serde_json::json!({"body": {"link": [{"relation": "next", "url": "https://gw.test/fhir?_getpages=a"}]}});
    assert_eq!(laws::faults(&paged), Vec::<String>::new());
    paged["constrained"] = Value::Bool(true);
    assert_eq!(laws::faults(&paged).len(), 1);
}
