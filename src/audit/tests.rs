//! Tables by AUD id.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Entry, Interaction};
use crate::fhir::{FhirVersion, Kind, ResourceType};

const OBSERVER: &str = "https://fhir.example/fhir";
const EVERY: [Kind; 18] = [
    Kind::Batch,
    Kind::Capabilities,
    Kind::Create,
    Kind::Delete,
    Kind::DeleteConditional,
    Kind::HistoryInstance,
    Kind::HistorySystem,
    Kind::HistoryType,
    Kind::Operation,
    Kind::Patch,
    Kind::PatchConditional,
    Kind::Read,
    Kind::SearchCompartment,
    Kind::SearchSystem,
    Kind::SearchType,
    Kind::Update,
    Kind::UpdateConditional,
    Kind::Vread,
];

fn resource(name: &str) -> Option<ResourceType> {
    FhirVersion::R4.resource_type(name)
}

/// A user's app that read an Observation.
fn entry(interaction: impl Into<Interaction>) -> Entry {
    let recorded: Timestamp = "2026-03-01T10:00:00.123456789Z".parse().unwrap();
    let mut entry = Entry::open(&OBSERVER.into(), "r-1", (recorded, "192.0.2.7"), ("GET", "Observation/o1"));
    entry.interaction = interaction.into();
    entry.resource = resource("Observation");
    entry.id = Some("o1".to_owned());
    entry.client = Some("app".to_owned());
    entry.subject = Some("u-7".to_owned());
    entry.issuer = Some("https://as.example".to_owned());
    entry.fhir_user = Some("Practitioner/pr1".to_owned());
    entry.jti = Some("t-1".to_owned());
    entry.answered(200);
    entry
}

fn event(entry: &Entry) -> Value {
    entry.to_audit_event(None)
}

fn at(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned()
}

/// The entity whose role or type has this code.
fn entity(event: &Value, system: &str, code: &str) -> Option<Value> {
    event["entity"].as_array().unwrap().iter().find_map(|entity| {
        let hit = [&entity["role"], &entity["type"]].iter().any(|coding| {
            coding["code"] == code && coding["system"].as_str().unwrap_or("").ends_with(system)
        });
        hit.then(|| entity.clone())
    })
}

fn query(event: &Value) -> Option<String> {
    let query = entity(event, "object-role", "24")?;
    Some(String::from_utf8(STANDARD.decode(query["query"].as_str()?).unwrap()).unwrap())
}

/// AUD-2, AUD-3, AUD-4: subtype, action and the roles of client, server and user.
#[test]
fn aud_2_3_4_interactions() {
    let roles = |action| match action {
        "C" | "U" => ("110153", "110152", "AUT"),
        "R" => ("110152", "110153", "IRCP"),
        "D" => ("110150", "custodian", "CST"),
        _ => ("110153", "110152", "IRCP"),
    };
    let table = [
        ("batch", "E"),
        ("capabilities", "R"),
        ("create", "C"),
        ("delete", "D"),
        ("delete", "D"),
        ("history-instance", "E"),
        ("history-system", "E"),
        ("history-type", "E"),
        ("operation", "E"),
        ("patch", "U"),
        ("patch", "U"),
        ("read", "R"),
        ("search", "E"),
        ("search-system", "E"),
        ("search-type", "E"),
        ("update", "U"),
        ("update", "U"),
        ("vread", "R"),
    ];
    for (kind, (subtype, action)) in EVERY.into_iter().zip(table) {
        let event = event(&entry(kind));
        let (client, server, user) = roles(action);
        let found = [
            at(&event, "/subtype/0/code"),
            at(&event, "/action"),
            at(&event, "/agent/0/type/coding/0/code"),
            at(&event, "/agent/1/type/coding/0/code"),
            at(&event, "/agent/2/type/coding/0/code"),
        ];
        assert_eq!(found, [subtype, action, client, server, user], "{kind}");
        assert_eq!(at(&event, "/resourceType"), "AuditEvent");
        assert_eq!(at(&event, "/type/code"), "rest");
        assert_eq!(at(&event, "/subtype/0/system"), "http://hl7.org/fhir/restful-interaction");
        assert_eq!(at(&event, "/recorded"), "2026-03-01T10:00:00.123Z");
    }
    assert_eq!(at(&event(&entry(Interaction::Transaction)), "/subtype/0/code"), "transaction");
    assert_eq!(event(&entry(Interaction::Unread)).get("subtype"), None);
}

/// AUD-2, AUD-8, AUD-9: outcome and its description.
#[test]
fn aud_2_8_9_outcomes() {
    let table: [(u16, Option<&'static str>, &str, &str); 10] = [
        (200, None, "0", "-"), // an empty search too (AUD-8)
        (201, None, "0", "-"),
        (304, None, "0", "-"),
        (404, None, "4", "HTTP status 404"),
        (401, Some("token_expired"), "4", "token_expired"),
        (403, Some("insufficient_scope"), "4", "insufficient_scope"),
        (502, Some("upstream_unreachable"), "8", "upstream_unreachable"),
        (500, None, "8", "HTTP status 500"),
        (200, Some("withheld"), "4", "withheld"),
        (0, None, "8", "no answer"),
    ];
    for (status, reason, outcome, description) in table {
        let mut entry = entry(Kind::SearchType);
        (entry.status, entry.reason) = (status, reason.map(Into::into));
        let event = event(&entry);
        assert_eq!([at(&event, "/outcome"), at(&event, "/outcomeDesc")], [outcome, description], "{status}");
    }
}

/// AUD-3: the profile claimed, and none for what BALP has no profile for or what failed.
#[test]
fn aud_3_profiles() {
    let balp = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
    let claimed = |entry: &Entry| -> Vec<String> {
        let event = event(entry);
        let profiles = event.pointer("/meta/profile").and_then(Value::as_array).cloned().unwrap_or_default();
        profiles.iter().map(|profile| profile.as_str().unwrap().replace(balp, "")).collect()
    };
    let table = [
        (Kind::Create, "PatientCreate"),
        (Kind::Read, "PatientRead"),
        (Kind::Vread, "PatientRead"),
        (Kind::Update, "PatientUpdate"),
        (Kind::Patch, "PatientUpdate"),
        (Kind::Delete, "PatientDelete"),
        (Kind::SearchType, "PatientQuery"),
    ];
    for (kind, profile) in table {
        let mut entry = entry(kind);
        assert_eq!(claimed(&entry), [&profile.replace("Patient", ""), "OAUTHaccessTokenUse.Minimal"]);
        entry.patient = Some("p1".to_owned());
        assert_eq!(claimed(&entry), [profile, "OAUTHaccessTokenUse.Minimal"]);
        entry.jti = None;
        assert_eq!(claimed(&entry), [profile]);
        entry.refused(403, "insufficient_scope");
        assert!(claimed(&entry).is_empty(), "{kind}");
    }
    let mut unnamed = entry(Kind::Create);
    (unnamed.id, unnamed.jti) = (None, None);
    assert!(claimed(&unnamed).is_empty(), "a data entity without a reference");
    for kind in [Kind::Operation, Kind::HistoryType, Kind::UpdateConditional, Kind::Capabilities] {
        assert_eq!(claimed(&entry(kind)), ["OAUTHaccessTokenUse.Minimal"], "{kind}");
    }
}

/// AUD-4: who and where; only a user is a requestor, and only machines have a network.
#[test]
fn aud_4_agents() {
    let event = event(&entry(Kind::Read));
    let requestors: Vec<_> = event["agent"].as_array().unwrap().iter().map(|a| &a["requestor"]).collect();
    assert_eq!(requestors, [false, false, true]);
    assert_eq!(at(&event, "/agent/0/network/address"), "192.0.2.7");
    assert_eq!(at(&event, "/agent/0/network/type"), "2");
    assert_eq!(at(&event, "/agent/1/network/address"), OBSERVER);
    assert_eq!(at(&event, "/agent/1/network/type"), "5");
    assert_eq!(at(&event, "/agent/1/who/identifier/value"), OBSERVER);
    assert_eq!(event.pointer("/agent/2/network"), None);
}

/// AUD-5: client, user and `jti`; a client on its own is no user; nobody is nobody.
#[test]
fn aud_5_oauth() {
    let mut whole = entry(Kind::Read);
    let shown = event(&whole);
    assert_eq!(at(&shown, "/agent/0/who/identifier/value"), "app");
    assert_eq!(shown.pointer("/agent/0/policy"), None);
    assert_eq!(at(&shown, "/agent/2/who/identifier/system"), "https://as.example");
    assert_eq!(at(&shown, "/agent/2/who/identifier/value"), "u-7");
    assert_eq!(at(&shown, "/agent/2/who/reference"), "Practitioner/pr1");
    assert_eq!(at(&shown, "/agent/2/policy/0"), "urn:ietf:params:oauth:jti:t-1");
    assert_eq!(at(&shown, "/agent/2/type/coding/1/code"), "UserOauthAgent");

    whole.fhir_user = Some("Dr Ada".to_owned());
    assert_eq!(at(&event(&whole), "/agent/2/who/display"), "Dr Ada");

    // RFC 9068 §2.2: without a resource owner `sub` is the client.
    (whole.fhir_user, whole.subject) = (None, Some("app".to_owned()));
    let alone = event(&whole);
    assert_eq!(alone["agent"].as_array().unwrap().len(), 2);
    assert_eq!(at(&alone, "/agent/0/policy/0"), "urn:ietf:params:oauth:jti:t-1");

    let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let mut nobody = Entry::open(&OBSERVER.into(), "r-2", (now, "192.0.2.7"), ("GET", "Patient/p1"));
    nobody.refused(401, "token_missing");
    let nobody = event(&nobody);
    assert_eq!(nobody["agent"].as_array().unwrap().len(), 2);
    assert_eq!(at(&nobody, "/agent/0/who/display"), "unidentified client");
    assert_eq!(at(&nobody, "/agent/0/network/address"), "192.0.2.7");
}

/// AUD-6: the data entity, version-specific after writes.
#[test]
fn aud_6_data() {
    let data = |entry: &Entry| entity(&event(entry), "object-role", "4").map(|data| data["what"].clone());
    let mut written = entry(Kind::Update);
    assert_eq!(data(&written).unwrap()["reference"], "Observation/o1");
    written.version = Some("3".to_owned());
    assert_eq!(data(&written).unwrap()["reference"], "Observation/o1/_history/3");
    written.id = None;
    assert_eq!(data(&written).unwrap(), serde_json::json!({ "type": "Observation" }));
    assert_eq!(data(&entry(Kind::SearchType)), None);
}

/// AUD-6: the query as sent, the form with it, and never a credential in it (AUD-5).
#[test]
fn aud_6_query() {
    let table = [
        ("GET", "Observation?code=a%2Cb&x=", None, "GET Observation?code=a%2Cb&x="),
        ("POST", "Observation/_search?a=1", Some("code=x"), "POST Observation/_search?a=1\r\n\r\ncode=x"),
        ("GET", "Patient?name=a&access_token=eyJ.x.y&b=1", None, "GET Patient?name=a&access_token=***&b=1"),
        ("GET", "Patient?Access%5Ftoken=eyJ.x.y", None, "GET Patient?Access%5Ftoken=***"),
        ("GET", "Patient?access_token", None, "GET Patient?access_token"),
        ("POST", "Patient/_search", Some("client_secret=x"), "POST Patient/_search\r\n\r\nclient_secret=***"),
        ("GET", "Patient?identifier=access_token", None, "GET Patient?identifier=access_token"),
        ("GET", "Patient?%zz=1&id_token=t", None, "GET Patient?%zz=1&id_token=***"),
    ];
    for (method, target, form, raw) in table {
        let mut entry = entry(Kind::SearchType);
        (entry.method, entry.target, entry.form) =
            (method.to_owned(), target.to_owned(), form.map(str::to_owned));
        let event = event(&entry);
        assert_eq!(query(&event).as_deref(), Some(raw));
        let kept = String::from_utf8(entry.kept()).unwrap();
        let secrets = ["eyJ.x.y", "client_secret=x", "id_token=t"];
        assert!(!secrets.iter().any(|secret| kept.contains(secret)), "{kept}");
        assert_eq!(self::event(&Entry::read(kept.as_bytes()).unwrap()), event);
        assert_eq!(entity(&event, "object-role", "24").unwrap().get("what"), None);
    }
    let shown: Vec<_> = EVERY.into_iter().filter(|kind| query(&event(&entry(*kind))).is_some()).collect();
    let hidden =
        [Kind::Capabilities, Kind::Create, Kind::Delete, Kind::Patch, Kind::Read, Kind::Update, Kind::Vread];
    assert!(EVERY.iter().all(|kind| shown.contains(kind) != hidden.contains(kind)), "{shown:?}");
    assert!(query(&event(&entry(Interaction::Unread))).is_some(), "evidence of what could not be read");
}

/// AUD-6, AUD-7: the request's id, and the place of a batch entry.
#[test]
fn aud_6_7_request() {
    let whole = entry(Kind::Batch);
    let part = whole.entry(3, "GET", "Patient/p1");
    let request = |entry: &Entry| entity(&event(entry), "BasicAuditEntityType", "XrequestId").unwrap();
    assert_eq!(request(&whole)["what"]["identifier"]["value"], "r-1");
    assert_eq!(request(&whole)["detail"].as_array().unwrap().len(), 2);
    assert_eq!(request(&part)["what"]["identifier"]["value"], "r-1");
    assert_eq!(request(&part)["detail"][2]["valueString"], "3");
    assert_eq!((part.client.as_deref(), part.status, part.id), (Some("app"), 0, None));
}

/// AUD-3, AUD-6, AUD-9: the patient, from the launch context or what was named; a refusal discloses nothing more.
#[test]
fn aud_3_6_9_patient() {
    // interaction, type, id, target, launch patient, refused → patient
    let table = [
        (Kind::Read, "Observation", Some("o1"), "Observation/o1", Some("p1"), false, Some("p1")),
        (Kind::Read, "Observation", Some("o1"), "Observation/o1", None, false, None),
        (Kind::Read, "Patient", Some("p2"), "Patient/p2", None, false, Some("p2")),
        (Kind::Read, "Patient", Some("p2"), "Patient/p2", None, true, None),
        (Kind::Read, "Patient", Some("p2"), "Patient/p2", Some("p1"), false, Some("p2")),
        (Kind::Read, "Patient", Some("p2"), "Patient/p2", Some("p1"), true, Some("p1")),
        (Kind::SearchType, "Condition", None, "Condition?patient=p3", None, false, Some("p3")),
        (Kind::SearchType, "Condition", None, "Condition?patient=Patient%2Fp3", None, false, Some("p3")),
        (Kind::SearchType, "Condition", None, "Condition?subject=Patient/p3", None, false, Some("p3")),
        (Kind::SearchType, "Condition", None, "Condition?subject=Group/p3", None, false, None),
        (Kind::SearchType, "Condition", None, "Condition?patient=p3,p4", None, false, None),
        (Kind::SearchType, "Condition", None, "Condition?patient=p3&patient=p4", None, false, None),
        (Kind::SearchType, "Condition", None, "Condition?patient=p3", None, true, None),
        (Kind::Create, "Condition", None, "Condition?patient=p3", None, false, None),
    ];
    for (kind, of, id, target, launch, refused, patient) in table {
        let mut entry = entry(kind);
        (entry.resource, entry.id) = (resource(of), id.map(str::to_owned));
        (entry.target, entry.patient) = (target.to_owned(), launch.map(str::to_owned));
        if refused {
            entry.refused(403, "insufficient_scope");
        }
        let found = entity(&event(&entry), "object-role", "1").map(|found| at(&found, "/what/reference"));
        assert_eq!(found, patient.map(|id| format!("Patient/{id}")), "{kind} {target} {refused}");
    }
}

/// AUD-10: who recorded it.
#[test]
fn aud_10_source() {
    let event = event(&entry(Kind::Read));
    assert_eq!(at(&event, "/source/observer/identifier/value"), OBSERVER);
    assert_eq!(at(&event, "/source/type/0/code"), "4");
}

/// AUD-11: a message is well-formed whatever clients sent.
#[test]
fn aud_11_dicom() {
    let mut entry = entry(Kind::SearchType);
    entry.target = "Observation?code=a%2Cb".to_owned();
    entry.client = Some("<\u{0}\"&'\u{ffff}>\n".to_owned());
    entry.about = Some("p1".to_owned());
    let message = entry.to_dicom("e-1");
    let mut reader = quick_xml::Reader::from_str(&message);
    while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    for part in [
        "UserID=\"&lt;\u{fffd}&quot;&amp;&apos;\u{fffd}&gt;\u{fffd}\"",
        r#"<EventID csd-code="110112" codeSystemName="DCM" originalText="Query"></EventID>"#,
        r#"ParticipantObjectID="p1^^^&amp;https://fhir.example/fhir&amp;URI""#,
        "<ParticipantObjectQuery>",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
}
