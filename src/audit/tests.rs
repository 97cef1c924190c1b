//! Tables by AUD id.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::audit::{Attributes, Coding, Entry, Interaction};
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
    let table: [(u16, Option<&'static str>, &str, &str); 12] = [
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
        (0, Some("interrupted"), "8", "interrupted: sent to the backend, whether it was done is not known"),
        (0, Some("token_missing"), "4", "token_missing"),
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
        (Kind::SearchSystem, "PatientQuery"),
        (Kind::SearchCompartment, "PatientQuery"),
    ];
    for (kind, profile) in table {
        // BALP's comprehensive pattern knows users as recipients only.
        let token: &[&str] = if kind.writes() {
            &["OAUTHaccessTokenUse.Minimal"]
        } else {
            &["OAUTHaccessTokenUse.Minimal", "OAUTHaccessTokenUse.Comprehensive"]
        };
        let mut entry = entry(kind);
        assert_eq!(claimed(&entry), [&[&*profile.replace("Patient", "")], token].concat());
        entry.patient = Some("p1".to_owned());
        assert_eq!(claimed(&entry), [&[profile], token].concat());
        entry.refused(403, "insufficient_scope");
        assert_eq!(claimed(&entry), token, "BALP's patterns of interactions are for what succeeded");
        entry.jti = None;
        assert!(claimed(&entry).is_empty(), "{kind}");
        entry.token = Some("00ff".to_owned());
        assert!(claimed(&entry).is_empty(), "no part of a token is recorded, so nothing is opaque either");
    }
    let mut unnamed = entry(Kind::Create);
    (unnamed.id, unnamed.jti) = (None, None);
    assert!(claimed(&unnamed).is_empty(), "a data entity without a reference");
    for kind in [Kind::Operation, Kind::HistoryType, Kind::UpdateConditional, Kind::Capabilities] {
        assert!(claimed(&entry(kind)).iter().all(|profile| profile.starts_with("OAUTH")), "{kind}");
    }
    // A client on its own: the minimal pattern demands a user, the comprehensive one does not.
    let mut alone = entry(Kind::Update);
    (alone.fhir_user, alone.subject) = (None, alone.client.clone());
    assert_eq!(claimed(&alone), ["Update", "OAUTHaccessTokenUse.Comprehensive"]);
    alone.client = None;
    assert_eq!(claimed(&alone), ["Update", "OAUTHaccessTokenUse.Minimal"], "then the subject is a user");
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

    // What is no party of FHIR's, and what is no reference at all.
    for user in ["Dr Ada", "Person/x", "Practitioner/", "x/Practitioner/y", "https://as.test/Person/x"] {
        whole.fhir_user = Some(user.to_owned());
        let shown = event(&whole);
        let found = [at(&shown, "/agent/2/who/display"), at(&shown, "/agent/2/altId")];
        assert_eq!(found, [user, user]);
        assert_eq!(shown.pointer("/agent/2/who/reference"), None);
    }
    whole.fhir_user = Some("https://fhir.example/fhir/Practitioner/x".to_owned());
    assert_eq!(at(&event(&whole), "/agent/2/who/reference"), "https://fhir.example/fhir/Practitioner/x");

    // The token's name as a URN: its id, else a half of its digest.
    let policies = [
        (Some("a b%/ü"), Some("00ff"), "urn:ietf:params:oauth:jti:a%20b%25/%C3%BC"),
        (None, Some("00ff"), "urn:pforte:token:sha256:00ff"),
        (None, None, "-"),
    ];
    for (jti, token, policy) in policies {
        (whole.jti, whole.token) = (jti.map(str::to_owned), token.map(str::to_owned));
        assert_eq!(at(&event(&whole), "/agent/2/policy/0"), policy);
    }
    whole.jti = Some("t-1".to_owned());

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
    assert_eq!(data(&written).unwrap(), json!({ "type": "Observation", "display": "Observation" }));
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
    assert_eq!(request(&part)["detail"][1], json!({ "type": "entry", "valueString": "3" }));
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

/// A user with everything that IUA names.
fn attributed(kind: Kind) -> Entry {
    let coding = |system: &str, code: &str| Coding {
        system: (!system.is_empty()).then(|| system.to_owned()),
        code: code.to_owned(),
        display: Some(format!("the {code}")),
    };
    let mut entry = entry(kind);
    entry.purpose = vec![
        coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT"),
        coding("1.0.14265.1", "12"),
        coding("house rules", "7"),
        coding("", "word"),
    ];
    entry.attributes = Some(Arc::new(Attributes {
        name: Some("Dr. Ada".to_owned()),
        roles: vec![coding("urn:oid:2.16.756.5.30.1.127.3.10.6", "HCP")],
        organization: Some("Central Hospital".to_owned()),
        organization_id: Some("urn:oid:1.2.3.4".to_owned()),
        home_community: Some("1.2.3".to_owned()),
        national_provider: Some("2000000090092".to_owned()),
        person: Some("7^^^&2.16&ISO".to_owned()),
    }));
    entry.encounter = Some("e1".to_owned());
    entry
}

/// AUD-5: what IUA names is where BALP maps it to, in both forms.
#[test]
fn aud_5_attributes() {
    let entry = attributed(Kind::Read);
    let kept = Entry::read(&entry.kept()).unwrap();
    assert_eq!(kept, entry);
    let table = [
        ("/agent/2/who/display", "Dr. Ada"),
        ("/agent/2/role/0/coding/0/code", "HCP"),
        ("/agent/2/extension/0/valueIdentifier/type/coding/0/code", "NPI"),
        ("/agent/2/extension/0/valueIdentifier/value", "2000000090092"),
        ("/agent/2/extension/1/valueIdentifier/type/coding/0/code", "PRN"),
        ("/agent/3/type/coding/0/code", "PROV"),
        ("/agent/3/who/display", "Central Hospital"),
        ("/agent/3/who/identifier/system", "urn:ietf:rfc:3986"),
        ("/agent/3/who/identifier/value", "urn:oid:1.2.3.4"),
        ("/agent/4/type/coding/0/code", "homeCommunityId"),
        ("/agent/4/who/identifier/value", "1.2.3"),
        ("/agent/4/who/identifier/system", "-"),
    ];
    let purposes = [
        ("/0/coding/0/code", "TREAT"),
        ("/1/coding/0/system", "urn:oid:1.0.14265.1"),
        ("/2/coding/0/system", "-"),
        ("/2/text", "house rules 7"),
        ("/3/coding/0/code", "word"),
    ];
    for (version, own, agents) in [
        (FhirVersion::R4, "/purposeOfEvent", "purposeOfUse"),
        (FhirVersion::R5, "/authorization", "authorization"),
    ] {
        let event = kept.to_audit_event_in(version, None);
        for (pointer, value) in table {
            assert_eq!(at(&event, pointer), value, "{pointer}");
        }
        for (pointer, value) in purposes {
            assert_eq!(at(&event, &format!("{own}{pointer}")), value, "{pointer}");
            assert_eq!(at(&event, &format!("/agent/2/{agents}{pointer}")), value, "{pointer}");
        }
    }
    assert_eq!(at(&event(&entry), "/agent/2/name"), "Dr. Ada");
}

/// AUD-2 … AUD-6 in the form of R5.
#[test]
fn aud_2_to_6_r5() {
    let shown = |entry: &Entry| entry.to_audit_event_in(FhirVersion::R5, Some("e-1"));
    let read = shown(&attributed(Kind::Read));
    let table = [
        ("/id", "e-1"),
        ("/meta/tag/0/system", "urn:pforte:audit-event"),
        ("/meta/tag/0/code", "e-1"),
        ("/category/0/coding/0/code", "rest"),
        ("/code/coding/0/code", "read"),
        ("/action", "R"),
        ("/severity", "informational"),
        ("/outcome/code/code", "success"),
        ("/encounter/reference", "Encounter/e1"),
        ("/patient/reference", "-"),
        ("/agent/0/networkString", "192.0.2.7"),
        ("/agent/1/networkUri", OBSERVER),
        ("/entity/0/role/coding/0/code", "XrequestId"),
        ("/entity/1/what/reference", "Observation/o1"),
    ];
    for (pointer, value) in table {
        assert_eq!(at(&read, pointer), value, "{pointer}");
    }
    assert_eq!(read.pointer("/meta/profile"), None, "BALP's profiles are of R4");
    let outcomes = [
        (403, Some("insufficient_scope"), "error", "warning", "insufficient_scope"),
        (502, Some("upstream_unreachable"), "fatal", "error", "upstream_unreachable"),
        (404, None, "error", "warning", "HTTP status 404"),
    ];
    for (status, reason, code, severity, words) in outcomes {
        let mut entry = entry(Kind::SearchType).of_patient("p1");
        (entry.status, entry.reason) = (status, reason.map(Into::into));
        let event = shown(&entry);
        assert_eq!(at(&event, "/outcome/code/code"), code);
        assert_eq!(at(&event, "/severity"), severity);
        assert_eq!(at(&event, "/outcome/detail/0/text"), words);
        assert_eq!(at(&event, "/patient/reference"), "Patient/p1");
        assert_eq!(at(&event, "/entity/1/role/coding/0/code"), "24");
    }
    assert_eq!(at(&shown(&entry(Interaction::Unread)), "/code/text"), "request that could not be read");
}

/// AUD-11: archives that choose ids themselves find an event by its tag.
#[test]
fn aud_11_tag() {
    let event = entry(Kind::Read).to_audit_event(Some("e-1"));
    assert_eq!(event["meta"]["tag"], json!([{ "system": "urn:pforte:audit-event", "code": "e-1" }]));
    assert_eq!(entry(Kind::Read).to_audit_event(None)["meta"].get("tag"), None);
}

/// AUD-5, AUD-6: a credential never reaches the disk, and nothing grows without bound.
#[test]
fn aud_5_6_kept() {
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
    let table = [
        ("Patient?name=a&access_token=s3cret&b=1", "Patient?name=a&access_token=***&b=1"),
        ("Patient?a=1;Token=s3cret#x", "Patient?a=1;Token=***#x"),
        ("Patient?a=1?id%5ftoken=s3cret", "Patient?a=1?id%5ftoken=***"),
        ("Patient?access_token:exact=s3cret", "Patient?access_token:exact=***"),
        (&format!("Patient?_x={jwt}&b=1"), "Patient?_x=***&b=1"),
        (&format!("Patient?_x=Bearer%20{jwt}"), "Patient?_x=***"),
        ("Patient?name=token", "Patient?name=token"),
        ("Patient?tokens=1&code=a.b.c", "Patient?tokens=1&code=a.b.c"),
    ];
    for (sent, kept) in table {
        let mut entry = entry(Kind::SearchType);
        (entry.target, entry.form) = (sent.to_owned(), Some(sent.replace("Patient?", "x=1\r\n&")));
        let words = String::from_utf8(entry.kept()).unwrap();
        assert!(!words.contains("s3cret") && !words.contains("eyJ"), "{words}");
        let read = Entry::read(words.as_bytes()).unwrap();
        assert_eq!(read.target, kept);
        assert_eq!(read.form, Some(kept.replace("Patient?", "x=1\r\n&")));
        assert_eq!(event(&read), event(&entry), "the event says the same before and after");
        assert_eq!(read.kept(), entry.kept());
    }
    let mut long = entry(Kind::SearchType);
    (long.target, long.form) = (format!("Patient?name={}", "ä".repeat(20_000)), Some("y".repeat(1 << 20)));
    let read = Entry::read(&long.kept()).unwrap();
    assert!(read.target.len() < (16 << 10) + 40 && read.target.ends_with(" [cut: 40013 bytes in all]"));
    let form = read.form.unwrap();
    assert!(form.len() < (64 << 10) + 40 && form.ends_with(" [cut: 1048576 bytes in all]"));
    long.form = Some("y".repeat(64 << 10));
    assert_eq!(Entry::read(&long.kept()).unwrap().form, long.form, "what fits is whole");
}

/// Controls that a client or an issuer sent do not make the resource unreadable.
#[test]
fn no_control_characters() {
    let mut entry = entry(Kind::Read);
    (entry.subject, entry.client) = (Some("a\u{0}b".to_owned()), Some("c\nd".to_owned()));
    entry.request_id = "r\u{7}".to_owned();
    for version in [FhirVersion::R4, FhirVersion::R5] {
        let event = entry.to_audit_event_in(version, None).to_string();
        assert!(
            event.contains("a\u{fffd}b") && event.contains("c\u{fffd}d") && !event.contains("\\u00"),
            "{event}"
        );
    }
}

/// AUD-11, PS3.15 A.5.1: element order, required parts, and what a client sent cannot break the message.
#[test]
fn aud_11_dicom() {
    let mut entry = attributed(Kind::SearchType);
    entry.target = "Observation?code=a%2Cb".to_owned();
    entry.client = Some("<\u{0}\"&'\u{ffff}>\n".to_owned());
    entry.about = Some("p1".to_owned());
    let message = entry.to_dicom("e-1");
    let parts = [
        "<AuditMessage><EventIdentification EventActionCode=\"E\" EventDateTime=\"2026-03-01T10:00:00.123Z\" \
         EventOutcomeIndicator=\"0\">",
        "<EventID csd-code=\"110112\" codeSystemName=\"DCM\" originalText=\"Query\"></EventID>",
        "<EventTypeCode csd-code=\"search-type\"",
        "<ActiveParticipant UserID=\"&lt;\u{fffd}&quot;&amp;&apos;\u{fffd}&gt;\u{fffd}\"",
        "NetworkAccessPointID=\"192.0.2.7\" NetworkAccessPointTypeCode=\"2\">",
        "<RoleIDCode csd-code=\"110153\" codeSystemName=\"DCM\"",
        "<ActiveParticipant UserID=\"u-7\" AlternativeUserID=\"Practitioner/pr1\" \
         UserName=\"Dr. Ada&lt;u-7@https://as.example&gt;\" UserIsRequestor=\"true\">",
        "<RoleIDCode csd-code=\"HCP\" codeSystemName=\"urn:oid:2.16.756.5.30.1.127.3.10.6\"",
        "<AuditSourceIdentification AuditSourceID=\"https://fhir.example/fhir\">",
        "<AuditSourceTypeCode csd-code=\"4\">",
        "<ParticipantObjectIdentification ParticipantObjectID=\"r-1\" ParticipantObjectTypeCode=\"4\">",
        "<ParticipantObjectDetail type=\"urn:pforte:audit-event\" value=\"ZS0x\">",
        "ParticipantObjectID=\"https://fhir.example/fhir/Observation\" ParticipantObjectTypeCode=\"2\" \
         ParticipantObjectTypeCodeRole=\"24\">",
        "<ParticipantObjectQuery>R0VUIE9ic2VydmF0aW9uP2NvZGU9YSUyQ2I=</ParticipantObjectQuery>",
        "ParticipantObjectID=\"p1^^^&amp;https://fhir.example/fhir&amp;URI\" ParticipantObjectTypeCode=\"1\" \
         ParticipantObjectTypeCodeRole=\"1\">",
    ];
    let mut from = 0;
    for part in parts {
        let found = message.get(from..).and_then(|rest| rest.find(part));
        from += found.unwrap_or_else(|| panic!("no {part} after {from} in {message}"));
    }
    let read = attributed(Kind::Read);
    assert!(read.to_dicom("e").contains("<EventID csd-code=\"rest\""), "not known to be of a patient");
    assert!(read.of_patient("p1").to_dicom("e").contains("<EventID csd-code=\"110110\""));
    let mut refused = read;
    refused.refused(403, "insufficient_scope");
    assert!(refused.to_dicom("e").contains(
        "EventOutcomeIndicator=\"4\"><EventID csd-code=\"rest\" codeSystemName=\"http://terminology.hl7.org/\
         CodeSystem/audit-event-type\" originalText=\"RESTful Operation\"></EventID><EventTypeCode csd-code=\"read\" \
         codeSystemName=\"http://hl7.org/fhir/restful-interaction\" originalText=\"read\"></EventTypeCode>\
         <EventOutcomeDescription>insufficient_scope</EventOutcomeDescription>"
    ));
    for kind in EVERY {
        let message = attributed(kind).to_dicom("e");
        let mut reader = quick_xml::Reader::from_str(&message);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    }
}
