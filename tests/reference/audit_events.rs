//! What AuditEvents say, judged by HAPI's validator: against FHIR R4 and R5, and against the profiles of IHE BALP that
//! they claim (AUD-2 … AUD-10); and their DICOM form, judged by DICOM's schema (AUD-11). Each rule also has a neighbour that must be refused: a validator that finds nothing
//! proves nothing.
#![cfg(test)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use pforte::audit::{Attributes, Coding, Entry, Interaction};
use pforte::fhir::{FhirVersion, Kind};
use serde_json::{Value, json};

const OBSERVER: &str = "https://fhir.example/fhir";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// One event and what HAPI must make of it.
struct Case {
    name: String,
    version: &'static str,
    event: String,
    /// Words of the error that must be found; none when the event must be good.
    wrong: Option<&'static str>,
}

/// Events of every pattern, then neighbours that are wrong.
#[test]
fn hapi_judges_audit_events() {
    let cases: Vec<Case> = good().into_iter().chain(spoilt()).collect();
    let verdicts = validated(&cases).expect("HAPI's validator");
    let wrong: Vec<String> = cases
        .iter()
        .zip(verdicts)
        .filter(|(case, verdict)| match case.wrong {
            None => !verdict.is_empty(),
            Some(words) => !verdict.contains(words),
        })
        .map(|(case, verdict)| {
            let wanted = case.wrong.unwrap_or("no error");
            format!("{} {}: expected {wanted}, found: {verdict}", case.version, case.name)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} misjudged:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The verdicts of HAPI's validator (`deploy/reference/stack validate`): one line of errors for each.
fn validated(cases: &[Case]) -> Result<Vec<String>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/reference/stack");
    let mut asked = Command::new("python3");
    asked.arg(&script).arg("validate").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = asked.spawn().map_err(|error| format!("python3 {}: {error}", script.display()))?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let lines: String = cases.iter().map(|case| format!("{} {}\n", case.version, case.event)).collect();
    // From another thread: the validator answers before it has read all.
    let fed = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let ran = child.wait_with_output().map_err(|error| error.to_string())?;
    fed.join().map_err(|_| "the writer panicked")?.map_err(|error| error.to_string())?;
    let verdicts: Vec<String> = String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect();
    if !ran.status.success() || verdicts.len() != cases.len() {
        return Err(format!("{}: {} verdicts on {} events", ran.status, verdicts.len(), cases.len()));
    }
    Ok(verdicts)
}

/// Who asks, how it ends, and about whom: each pattern, and what changes a pattern.
const VARIANTS: [(&str, &str, Option<&str>); 9] = [
    ("user", "done", Some("p1")),
    ("user", "refused", Some("p1")),
    ("user", "failed", None),
    ("user", "interrupted", None),
    ("claimed user", "done", None),
    ("client", "done", Some("p1")),
    ("client", "done", None),
    ("opaque", "done", None),
    ("nobody", "refused", None),
];

/// Every interaction in all variants.
fn good() -> Vec<Case> {
    let kinds = Kind::ALL.into_iter().map(Interaction::Known);
    let mut cases = Vec::new();
    for interaction in kinds.chain([Interaction::Transaction, Interaction::Unread]) {
        for (caller, end, patient) in VARIANTS {
            let mut entry = entry(interaction, caller);
            entry.about = patient.map(str::to_owned);
            match end {
                "refused" => entry.refused(403, "insufficient_scope"),
                "failed" => entry.answered(502),
                "interrupted" => entry.interrupted(),
                _ => {}
            }
            cases.extend(forms(&format!("{} by {caller}, {end}, {patient:?}", interaction.name()), &entry));
        }
    }
    let mut odd = entry(Kind::Read.into(), "user");
    (odd.fhir_user, odd.subject) = (Some("Person/x y".to_owned()), Some(" \u{0}a\"<&\u{1F600}\n".to_owned()));
    (odd.jti, odd.client) = (Some("a b#%ü?\\".to_owned()), Some("https://app.example/?x=y z".to_owned()));
    cases.extend(forms("odd characters", &odd));
    let part = odd.entry(3, "", "");
    cases.extend(forms("an unreadable entry of a batch", &part));
    let mut form = entry(Kind::SearchType.into(), "user");
    (form.method, form.form) = ("POST".to_owned(), Some("name=a&access_token=eyJ.a.b&".repeat(4000)));
    cases.extend(forms("a long form", &form));
    cases
}

/// In all forms, as sinks send them: read back from what was kept.
fn forms(name: &str, entry: &Entry) -> [Case; 3] {
    let kept = Entry::read(&entry.kept()).expect("what was kept");
    let forms = [
        ("R4", kept.to_audit_event_in(FhirVersion::R4, Some("e-1")).to_string()),
        ("R5", kept.to_audit_event_in(FhirVersion::R5, Some("e-1")).to_string()),
        ("XM", kept.to_dicom("e-1")),
    ];
    forms.map(|(version, event)| Case { name: name.to_owned(), version, event, wrong: None })
}

fn entry(interaction: Interaction, caller: &str) -> Entry {
    let recorded: Timestamp = "2026-03-01T10:00:00.123456789Z".parse().expect("an instant");
    let target = "Observation?code=a%2Cb&access_token=x";
    let mut entry = Entry::open(&OBSERVER.into(), "r-1", (recorded, "192.0.2.7"), ("GET", target));
    entry.interaction = interaction;
    entry.resource = FhirVersion::R4.resource_type("Observation");
    (entry.id, entry.version) = (Some("o1".to_owned()), Some("2".to_owned()));
    if caller != "nobody" {
        entry.client = Some("app".to_owned());
        entry.issuer = Some("https://as.example".to_owned());
        entry.subject = Some(if caller == "client" { "app" } else { "u-7" }.to_owned());
    }
    match caller {
        "opaque" => entry.token = Some("0123456789abcdef0123456789abcdef".to_owned()),
        "nobody" => {}
        _ => entry.jti = Some("t-1".to_owned()),
    }
    if caller.ends_with("user") {
        entry.fhir_user = Some("Practitioner/pr1".to_owned());
        entry.encounter = Some("e1".to_owned());
    }
    if caller == "claimed user" {
        claim(&mut entry);
    }
    entry.answered(200);
    entry
}

/// All that IUA names.
fn claim(entry: &mut Entry) {
    let coding = |system: Option<&str>, code: &str| Coding {
        system: system.map(str::to_owned),
        code: code.to_owned(),
        display: None,
    };
    entry.purpose = vec![
        coding(Some("http://terminology.hl7.org/CodeSystem/v3-ActReason"), "TREAT"),
        coding(Some("1.0.14265.1"), "12"),
        coding(Some("house rules"), "7"),
    ];
    entry.attributes = Some(Arc::new(Attributes {
        name: Some("Dr. Ada".to_owned()),
        roles: vec![coding(Some("urn:oid:2.16.756.5.30.1.127.3.10.6"), "HCP")],
        organization: Some("Central Hospital".to_owned()),
        organization_id: Some("urn:oid:1.2.3.4".to_owned()),
        home_community: Some("urn:oid:1.2.3".to_owned()),
        national_provider: Some("2000000090092".to_owned()),
        person: Some("7^^^&2.16&ISO".to_owned()),
    }));
}

/// Good events, each with one thing wrong.
fn spoilt() -> Vec<Case> {
    // interaction, patient, version, where, what it becomes (null: it goes), the error's words
    let r4: [(Kind, Option<&str>, &str, Value, &'static str); 19] = [
        (Kind::Read, Some("p1"), "/entity/2", Value::Null, "PatientRead"),
        (Kind::Read, None, "/meta/profile/0", json!(format!("{BALP}PatientRead")), "PatientRead"),
        (Kind::Read, None, "/meta/profile/0", json!(format!("{BALP}Reads")), "Reads"),
        (Kind::Read, None, "/outcome", json!("4"), "outcome"),
        (Kind::Read, None, "/action", json!("U"), "action"),
        (Kind::Read, None, "/action", json!("X"), "action"),
        (Kind::Read, None, "/subtype/0/code", json!("update"), "subtype"),
        (Kind::Read, None, "/agent/0/network", Value::Null, "network"),
        (Kind::Read, None, "/agent/0/requestor", Value::Null, "requestor"),
        (Kind::Read, None, "/agent/0/type/coding/1", Value::Null, "oClient"),
        (Kind::Read, None, "/agent/1/type/coding/0/code", json!("110152"), "server"),
        (Kind::Read, None, "/agent/2/network", json!({ "address": "x", "type": "2" }), "network"),
        (Kind::Read, None, "/agent/2/policy", json!(["urn:a:b", "urn:a:c"]), "policy"),
        (Kind::Read, None, "/agent/2/who", Value::Null, "who"),
        (Kind::Read, None, "/entity/1/role/code", json!("24"), "RestObjectRoles"),
        (Kind::SearchType, None, "/entity/1/what", json!({ "display": "x" }), "what"),
        (Kind::SearchType, Some("p1"), "/entity/2/role/code", json!("4"), "PatientQuery"),
        (Kind::Create, None, "/entity/1/role", Value::Null, "role"),
        (Kind::Delete, None, "/agent/1/type/coding/0/code", json!("x"), "server"),
    ];
    let r5 = [
        (Kind::Read, "/code", Value::Null, "code"),
        (Kind::Read, "/agent/0/who", Value::Null, "who"),
        (Kind::Read, "/severity", json!("bad"), "severity"),
        (Kind::Read, "/outcome/code", Value::Null, "code"),
        (Kind::Read, "/entity/0/type", json!({ "code": "2" }), "type"),
    ];
    let r5 = r5.into_iter().map(|(kind, at, value, words)| ("R5", kind, None, at, value, words));
    let r4 = r4.into_iter().map(|(kind, patient, at, value, words)| ("R4", kind, patient, at, value, words));
    r4.chain(r5)
        .map(|(version, kind, patient, at, value, words)| {
            let mut entry = entry(kind.into(), "user");
            entry.about = patient.map(str::to_owned);
            let form = if version == "R4" { FhirVersion::R4 } else { FhirVersion::R5 };
            let mut event = entry.to_audit_event_in(form, None);
            put(&mut event, at, value.clone());
            let name = format!("{kind} with {at} = {value}");
            Case { name, version, event: event.to_string(), wrong: Some(words) }
        })
        .chain(spoilt_messages())
        .collect()
}

/// A good message, each time with one word changed.
fn spoilt_messages() -> impl Iterator<Item = Case> {
    let table = [
        ("csd-code=\"rest\"", "code=\"rest\"", "EventID"),
        ("EventOutcomeIndicator=\"0\"", "EventOutcomeIndicator=\"1\"", "EventOutcomeIndicator"),
        ("2026-03-01T", "", "dateTime"),
        ("UserIsRequestor=\"true\"", "UserIsRequestor=\"yes\"", "boolean"),
        (" AuditSourceID=\"https://fhir.example/fhir\"", "", "AuditSourceID"),
        ("ParticipantObjectName>", "ParticipantObjectTitle>", "ParticipantObjectTitle"),
        ("TypeCodeRole=\"4\"", "TypeCodeRole=\"40\"", "ParticipantObjectTypeCodeRole"),
        ("</AuditMessage>", "", "start and end"),
    ];
    let message = entry(Kind::Read.into(), "user").to_dicom("e-1");
    table.into_iter().map(move |(from, to, words)| {
        assert!(message.contains(from), "no {from} in {message}");
        let name = format!("message with {to} for {from}");
        Case { name, version: "XM", event: message.replace(from, to), wrong: Some(words) }
    })
}

/// Sets what is at the end of a pointer, or takes it away.
fn put(event: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let parent = event.pointer_mut(parent).unwrap_or_else(|| panic!("nothing holds {pointer}"));
    match (parent, value) {
        (Value::Object(members), Value::Null) => {
            members.remove(last).unwrap_or_else(|| panic!("nothing at {pointer}"));
        }
        (Value::Object(members), value) => {
            members.insert(last.to_owned(), value);
        }
        (Value::Array(items), value) => {
            let place: usize = last.parse().expect("a place");
            let before = items.remove(place);
            if value != Value::Null {
                assert_ne!(before, value, "{pointer}");
                items.insert(place, value);
            }
        }
        _ => panic!("{pointer} is in no object or array"),
    }
}
