//! Whether the sinks of audit events can be reached, and take what they will be sent. Nothing is sent.

use serde_json::Value;

use super::backend::{rows, server_part};
use super::probe::Report;
use crate::config::{AuditSink, AuditSinkKind, FhirSink, SinkWrite};
use crate::sink::{Reached, reach};
use crate::token::Quoted;

/// A sink's name, kind and place.
pub(super) fn named(sink: &AuditSink) -> String {
    let place = match &sink.kind {
        AuditSinkKind::Fhir(fhir) => format!("{} (FHIR {})", fhir.url, fhir.fhir_version),
        AuditSinkKind::File(file) => format!("file {}", file.path.display()),
        AuditSinkKind::Syslog(syslog) => format!("syslog over TLS at {}, port {}", syslog.host, syslog.port),
    };
    format!("{}: {place}", sink.name)
}

/// Reaches a sink as the gateway does.
pub(super) async fn reached(sink: &AuditSink) -> Report {
    let mut report = Report::default();
    match reach(sink).await {
        Err(problem) => report.misfit(format_args!("{problem}; mend the sink's keys, or the way there")),
        Ok(Reached::File) => report.fits("it can be written"),
        Ok(Reached::Receiver) => {
            report.fits("TLS is agreed on; syslog does not tell whether messages are understood");
        }
        Ok(Reached::Repository(statement)) => {
            if let AuditSinkKind::Fhir(fhir) = &sink.kind {
                repository(fhir, &statement, &mut report);
            }
        }
    }
    report
}

fn repository(sink: &FhirSink, statement: &Value, report: &mut Report) {
    if statement.get("resourceType").and_then(Value::as_str) != Some("CapabilityStatement") {
        return report.misfit("`metadata` is no CapabilityStatement; mend `url`");
    }
    let version = statement.get("fhirVersion").and_then(Value::as_str).unwrap_or_default();
    let label = sink.fhir_version.label();
    if version.strip_prefix(label).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-'])) {
        report.fits(format_args!("FHIR {version}"));
    } else {
        let version = Quoted::new(version);
        report.misfit(format_args!("it serves FHIR `{version}`: expected {label}; mend `fhir_version`"));
    }
    transactions(statement, report);
    let row = rows(statement).find(|row| row.get("type").and_then(Value::as_str) == Some("AuditEvent"));
    match row {
        Some(row) => written(sink.write, row, report),
        None => report.misfit("its CapabilityStatement has no AuditEvent; mend `url`, or switch the type on"),
    }
}

/// The codes of a list of interactions; none when there is no such list.
fn codes(of: &Value) -> Option<Vec<&str>> {
    let listed = of.get("interaction")?.as_array()?;
    Some(listed.iter().filter_map(|one| one.get("code")?.as_str()).collect())
}

fn transactions(statement: &Value, report: &mut Report) {
    match server_part(statement).find_map(codes) {
        Some(codes) if codes.contains(&"transaction") => report.fits("transactions"),
        Some(_) => report.misfit("it offers no transactions, by which events are written; switch them on"),
        None => report.note("its CapabilityStatement does not say whether it offers transactions"),
    }
}

/// Whether events can be written so that none is there twice.
fn written(write: SinkWrite, row: &Value, report: &mut Report) {
    let (interaction, member, other) = match write {
        SinkWrite::Create => ("create", "conditionalCreate", "update"),
        SinkWrite::Update => ("update", "updateCreate", "create"),
    };
    if codes(row).is_some_and(|codes| !codes.contains(&interaction)) {
        return report.misfit(format_args!(
            "it offers no `{interaction}` of AuditEvent; switch it on, or write `write = \"{other}\"`"
        ));
    }
    match row.get(member).and_then(Value::as_bool) {
        Some(true) => report.fits(format_args!("AuditEvent by `{interaction}`, with `{member}`")),
        Some(false) => report.misfit(format_args!(
            "it says that `{member}` of AuditEvent is not offered; switch it on, or write `write = \"{other}\"`"
        )),
        None => report.note(format_args!(
            "it offers `{interaction}` of AuditEvent and does not say `{member}`; see that the first events arrive"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::settings;

    /// What a CapabilityStatement may say of a repository, and what comes of it.
    #[test]
    fn repositories_are_told_of() {
        let of = |version: &str, transaction: &str, row: Value| {
            json!({ "resourceType": "CapabilityStatement", "fhirVersion": version, "rest": [{ "mode": "server",
                "interaction": [{ "code": transaction }], "resource": [{ "type": "Patient" }, row] }] })
        };
        let row = |code: &str, update: bool, create: bool| {
            json!({ "type": "AuditEvent", "interaction": [{ "code": code }], "updateCreate": update,
                "conditionalCreate": create })
        };
        let table = [
            (
                "update",
                of("4.0.1", "transaction", row("update", true, false)),
                0,
                "by `update`, with `updateCreate`",
            ),
            ("create", of("4.0.1", "transaction", row("create", false, true)), 0, "by `create`, with `cond"),
            (
                "update",
                of("4.0.1", "transaction", row("update", false, true)),
                1,
                "write `write = \"create\"`",
            ),
            (
                "create",
                of("4.0.1", "transaction", row("create", true, false)),
                1,
                "write `write = \"update\"`",
            ),
            ("update", of("4.0.1", "transaction", row("create", true, true)), 1, "no `update` of AuditEvent"),
            ("update", of("4.0.1", "batch", row("update", true, true)), 1, "no transactions"),
            ("update", of("5.0.0", "transaction", row("update", true, true)), 1, "serves FHIR `5.0.0`"),
            ("update", of("4.0.1", "transaction", json!({ "type": "AuditEvent" })), 0, "does not say"),
            ("update", of("4.0.1", "transaction", json!({ "type": "Group" })), 1, "has no AuditEvent"),
            ("update", json!({ "resourceType": "OperationOutcome" }), 1, "no CapabilityStatement"),
        ];
        for (write, statement, misfits, expected) in table {
            let sinks = format!(
                "[[audit.sink]]\nkind = \"fhir\"\nurl = \"http://127.0.0.1/fhir\"\nwrite = \"{write}\"\n"
            );
            let sinks = settings(&sinks).audit.sinks;
            let AuditSinkKind::Fhir(sink) = &sinks[0].kind else { panic!("fhir") };
            let mut report = Report::default();
            repository(sink, &statement, &mut report);
            let mut out = Vec::new();
            report.print(&mut out).expect("written");
            let text = String::from_utf8(out).expect("text");
            assert_eq!(report.misfits(), misfits, "{text}");
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }
}
