//! Tables of decisions: what is permitted, and the neighbour that is refused.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::json;

use super::*;
use crate::fhir::{Asked, FhirVersion, OperationTable, Reading, SearchQuery, Target};
use crate::scope::{Level, Reader};
use crate::token::{Caller, ClaimNames, Grant};

fn rules() -> Arc<Rules> {
    let rules = Rules {
        scopes: Reader { version: FhirVersion::R4, v1: true },
        malformed: Malformed::Ignore,
        patient: PatientRules {
            encounter: EncounterContext::Hint,
            shared_types: Vec::new(),
            update_creates: UpdateCreates::No,
            unmatched: Unmatched::NotFound,
            linked: LinkedPatients::Hidden,
        },
        limits: Vec::new(),
        operations: OperationTable::delivered(),
        public_base: "https://gw.test/fhir".into(),
        backend_base: "http://upstream.internal/fhir".into(),
        bundle_entries: 100,
        compartment_search: CompartmentSearch::Off,
    };
    Arc::new(rules)
}

fn holder(claims: serde_json::Value, rules: &Rules) -> Caller {
    let reading = crate::token::Reading { scopes: rules.scopes, base: rules.public_base.clone() };
    let claims = claims.as_object().expect("claims").clone();
    Caller::Holder(Grant::from_claims(&claims, &ClaimNames::default(), &reading).expect("a grant"))
}

struct Case<'a> {
    scope: &'a str,
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'static str, &'a str)],
    body: &'a str,
}

fn decided(case: &Case<'_>, rules: &Arc<Rules>) -> Decision {
    let mut headers = HeaderMap::new();
    for (name, value) in case.headers {
        headers.insert(*name, value.parse().expect("a value"));
    }
    let method = Method::from_bytes(case.method.as_bytes()).expect("a method");
    let target = Target::relative(case.target).expect(case.target);
    let asked = Asked::classify(FhirVersion::R4, &method, target, &headers).expect(case.target);
    let reading = Reading { version: FhirVersion::R4, public_base: &rules.public_base, bundle_entries: 100 };
    let request = asked.with_body(Bytes::copy_from_slice(case.body.as_bytes()), reading).expect(case.body);
    decide(&request, &holder(json!({"scope": case.scope}), rules), rules, &Facts::default())
}

fn get(scope: &str, target: &str) -> Decision {
    decided(&Case { scope, method: "GET", target, headers: &[], body: "" }, &rules())
}

fn allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow(_))
}

fn sent(decision: &Decision) -> String {
    match decision {
        Decision::Allow(permit) => permit.duties().query.to_string(),
        Decision::Ask(questions) => format!("{questions:?}"),
        Decision::Deny(refused) => format!("{:?}", refused.denial),
    }
}

const JSON: (&str, &str) = ("content-type", "application/fhir+json");

/// Contract §6, SCOPE-20 … SCOPE-25, REST-6: every row with the letters it needs, once enough and once not.
#[test]
fn letters_of_every_interaction() {
    let observation = r#"{"resourceType":"Observation"}"#;
    let with_id = r#"{"resourceType":"Observation","id":"1"}"#;
    let patch = r#"[{"op":"remove","path":"/status"}]"#;
    let patch_type = ("content-type", "application/json-patch+json");
    let if_none_exist = ("if-none-exist", "identifier=x");
    let table: &[(&str, &str, &[(&'static str, &str)], &str, &str, &str)] = &[
        // method, target, headers, body, enough, not enough
        ("GET", "Observation/1", &[], "", "r", "cuds"),
        ("HEAD", "Observation/1", &[], "", "r", "cuds"),
        ("GET", "Observation/1/_history/2", &[], "", "r", "cuds"),
        ("GET", "Observation/1/_history", &[], "", "r", "cuds"),
        ("GET", "Observation?code=x", &[], "", "s", "crud"),
        ("GET", "Observation", &[], "", "s", "r"),
        ("POST", "Observation/_search", &[], "", "s", "crud"),
        ("GET", "Observation/_history", &[], "", "s", "crud"),
        ("GET", "Patient/p/Observation", &[], "", "s", "crud"),
        ("GET", "?_type=Observation", &[], "", "s", "crud"),
        ("POST", "_search?_type=Observation", &[], "", "s", "crud"),
        ("GET", "_history", &[], "", "s", "crud"),
        ("POST", "Observation", &[JSON], observation, "c", "ruds"),
        ("POST", "Observation", &[JSON, if_none_exist], observation, "cs", "c"),
        ("PUT", "Observation/1", &[JSON], with_id, "u", "crds"),
        ("PUT", "Observation?code=x", &[JSON], observation, "us", "u"),
        ("PUT", "Observation?code=x", &[JSON], observation, "us", "s"),
        ("PATCH", "Observation/1", &[patch_type], patch, "u", "crds"),
        ("PATCH", "Observation?code=x", &[patch_type], patch, "us", "u"),
        ("DELETE", "Observation/1", &[], "", "d", "crus"),
        ("DELETE", "Observation?code=x", &[], "", "ds", "d"),
        ("POST", "Observation/$validate", &[JSON], observation, "c", "rds"),
        ("POST", "Observation/$validate", &[JSON], observation, "u", "rds"),
        ("GET", "Observation/$lastn", &[], "", "s", "crud"),
        ("GET", "Observation/1/$meta", &[], "", "r", "cuds"),
        ("POST", "Observation/1/$meta-add", &[], "", "u", "crds"),
    ];
    for (method, target, headers, body, enough, not_enough) in table {
        for level in ["system", "user"] {
            for resource in ["Observation", "*"] {
                for (letters, permitted) in [(enough, true), (not_enough, false)] {
                    let scope = format!("{level}/{resource}.{letters}");
                    let decision = decided(&Case { scope: &scope, method, target, headers, body }, &rules());
                    assert_eq!(allowed(&decision), permitted, "{scope}: {method} {target}: {decision:?}");
                }
            }
        }
        let other = decided(&Case { scope: "system/Patient.cruds", method, target, headers, body }, &rules());
        // A history of the whole system is kept to the permitted types instead (REST-20).
        assert_eq!(allowed(&other), *target == "_history", "a scope for Patient: {method} {target}");
    }
}

/// SCOPE-24, SCOPE-45: scopes are a union, letter by letter.
#[test]
fn scopes_unite() {
    assert!(allowed(&get("system/Observation.r system/Observation.s", "Observation?code=x")));
    assert!(allowed(&get("user/Observation.s patient/Observation.r", "Observation")));
    assert!(!allowed(&get("user/Observation.r patient/Observation.s", "Observation")));
    assert!(allowed(&get("system/Observation.rs?category=x system/Observation.s", "Observation")));
    let read = get("system/Observation.rs?category=x system/Observation.s", "Observation/1");
    let Decision::Allow(read) = read else { panic!("refused") };
    assert_eq!(read.duties().masks, Some(Unmatched::NotFound));
}

/// Grants that reach part of a type are kept to it; what they do not reach at all is refused with its reason.
#[test]
fn grants_in_part_are_kept_or_refused_with_their_reason() {
    let constrained = rules();
    let table = [
        (json!({"scope": "patient/Observation.rs", "patient": "p1"}), "Observation", None),
        (json!({"scope": "patient/*.rs", "patient": "p1"}), "Observation/1", None),
        (json!({"scope": "patient/Observation.rs"}), "Observation", Some(Denial::NoLaunchPatient)),
        (
            json!({"scope": "patient/Observation.rs", "patient": ""}),
            "Observation",
            Some(Denial::NoLaunchPatient),
        ),
        (
            json!({"scope": "patient/Observation.rs", "patient": ["p1"]}),
            "Observation",
            Some(Denial::NoLaunchPatient),
        ),
        (
            json!({"scope": "patient/Practitioner.rs", "patient": "p1"}),
            "Practitioner",
            Some(Denial::InsufficientScope),
        ),
        (json!({"scope": "user/Observation.rs?category=x"}), "Observation", None),
        (json!({"scope": "user/Observation.rs", "fhirUser": "Patient/p1"}), "Observation", None),
        (
            json!({"scope": "user/Observation.rs", "fhirUser": "https://other.test/Patient/p1"}),
            "Observation",
            Some(Denial::InsufficientScope),
        ),
        (json!({"scope": "system/*.rs?category=x"}), "Observation", None),
        // SCOPE-50: Patient has no `category`.
        (json!({"scope": "system/*.rs?category=x"}), "Patient", Some(Denial::InsufficientScope)),
    ];
    for (claims, target, expected) in table {
        let asked = Asked::classify(
            FhirVersion::R4,
            &Method::GET,
            Target::relative(target).expect("target"),
            &HeaderMap::new(),
        );
        let reading = Reading { version: FhirVersion::R4, public_base: "", bundle_entries: 1 };
        let request = asked.expect("asked").with_body(Bytes::new(), reading).expect("read");
        match decide(&request, &holder(claims.clone(), &constrained), &constrained, &Facts::default()) {
            Decision::Deny(refused) => assert_eq!(Some(refused.denial), expected, "{claims} {target}"),
            Decision::Allow(permit) => {
                assert_eq!(expected, None, "{claims} {target}");
                assert_ne!(permit.duties().admit, Admit::All, "{claims} {target}");
                assert!(!permit.duties().streams(), "{claims} {target}");
            }
            Decision::Ask(questions) => panic!("asked {questions:?}: {claims} {target}"),
        }
    }
}

/// What is shown of a type is found out when it is asked for, in whatever order, and is what the grant reaches.
#[test]
fn what_may_be_shown_by_type() {
    let mut limited = rules();
    let r4 = |name| FhirVersion::R4.resource_type(name).expect("a type");
    Arc::make_mut(&mut limited).patient.shared_types = vec![r4("Practitioner")];
    let table = [
        // scopes, whether all is shown whole, whether the backend is asked about some of it
        ("system/Patient.rs system/Observation.r", true, false),
        ("system/Patient.rs patient/Observation.rs", false, false),
        ("patient/*.rs", false, false),
        ("patient/*.rs system/*.r", false, false),
        ("system/Observation.rs?category=laboratory", false, false),
        ("system/Observation.rs?category=laboratory system/Observation.rs", true, false),
        ("system/Observation.rs?code:in=http://x/vs", false, true),
        ("system/Observation.cud?code:in=http://x/vs system/Patient.rs", true, false),
        ("user/Patient.rs", true, false),
    ];
    for (scope, by_type, asks) in table {
        let caller = holder(json!({"scope": scope, "patient": "p1"}), &limited);
        let Caller::Holder(grant) = &caller else { panic!("no grant") };
        let holder = Holder::new(grant, &limited);
        let admit = admission::Seen::of(holder).by(By::Search);
        assert_eq!((admit.is_by_type(), admit.asks()), (by_type, asks), "{scope}");
        for name in ["Patient", "Observation", "Practitioner", "Account", "Observation", "Patient"] {
            let (read, search) =
                (holder.access(r4(name), &[Letter::Read]), holder.access(r4(name), &[Letter::Search]));
            let shown = [By::Read, By::Search, By::Either].map(|by| admit.access(name, by));
            assert_eq!(shown, [read.clone(), search.clone(), read.or(&search)], "{scope} {name}");
        }
        assert_eq!(admit.access("Nonsense", By::Either), Access::None, "{scope}");
        assert_eq!(admit, admission::Seen::of(holder).by(By::Search), "{scope}");
    }
}

/// COMP-8: shared types are readable by `patient/` scopes, and only readable; devices belong to patients (COMP-9).
#[test]
fn shared_types() {
    let mut shared = rules();
    let r4 = |name| FhirVersion::R4.resource_type(name).expect("a type");
    Arc::make_mut(&mut shared).patient.shared_types = vec![r4("Practitioner"), r4("Device")];
    let table = [
        ("Practitioner", Letter::Read, true),
        ("Practitioner", Letter::Search, true),
        ("Practitioner", Letter::Update, false),
        ("Organization", Letter::Read, false),
        ("Device", Letter::Read, false),
    ];
    let caller = holder(json!({"scope": "patient/*.cruds", "patient": "p1"}), &shared);
    let Caller::Holder(grant) = &caller else { panic!("no grant") };
    for (name, letter, reached) in table {
        let reach = Holder::new(grant, &shared).reaches_all(Some(r4(name)), &[letter]);
        assert_eq!(reach, reached, "{name} {letter:?}");
    }
}

use crate::fhir::Letter;

/// Contract §5: a matching rule limits its contexts and types, the neighbour is untouched.
#[test]
fn rules_limit_contexts() {
    let mut ruled = rules();
    Arc::make_mut(&mut ruled).limits.push(Rule {
        when: Some(When { claim: "groups".into(), test: Test::Contains("ward-7".into()) }),
        contexts: vec![Level::User],
        limit: vec![Limit {
            resource: FhirVersion::R4.resource_type("Patient"),
            only: SearchQuery::parse("general-practitioner={fhirUser}").expect("a query"),
        }],
    });
    let patient = FhirVersion::R4.resource_type("Patient");
    let observation = FhirVersion::R4.resource_type("Observation");
    let table = [
        (json!({"scope": "user/*.rs", "groups": ["ward-7"]}), patient, false),
        (json!({"scope": "user/*.rs", "groups": ["ward-7"]}), None, false),
        (json!({"scope": "user/*.rs", "groups": ["ward-7"]}), observation, true),
        (json!({"scope": "user/*.rs", "groups": ["ward-8"]}), patient, true),
        (json!({"scope": "system/*.rs", "groups": ["ward-7"]}), patient, true),
    ];
    for (claims, resource, reached) in table {
        let caller = holder(claims.clone(), &ruled);
        let Caller::Holder(grant) = &caller else { panic!("no grant") };
        assert_eq!(
            Holder::new(grant, &ruled).reaches_all(resource, &[Letter::Read]),
            reached,
            "{claims} {resource:?}"
        );
    }
}

/// SRCH-0 … SRCH-23: what parameters need, how they are sent on, and the neighbour that is refused.
#[test]
fn search_parameters() {
    let only = "system/Observation.rs";
    let both = "system/Observation.rs system/Patient.rs";
    let table: &[(&str, &str, Result<&str, ()>)] = &[
        (
            only,
            "Observation?code=http://loinc.org|1,x&date=ge2024",
            Ok("code=http://loinc.org%7C1,x&date=ge2024"),
        ),
        (
            only,
            "Observation?code:not=x&code:text=y&status:missing=true",
            Ok("code:not=x&code:text=y&status:missing=true"),
        ),
        (only, "Observation?subject=Patient/1&subject:Patient=1", Ok("subject=Patient/1&subject:Patient=1")),
        (only, "Observation?subject:identifier=s|v", Ok("subject:identifier=s%7Cv")),
        (only, "Observation?unknown=x", Ok("unknown=x")),
        (only, "Observation?_count=&category=", Ok("_count=&category=")),
        (
            only,
            "Observation?_id=1&_tag=x&_lastUpdated=gt2020&_sort=-date&_count=5&_total=none",
            Ok("_id=1&_tag=x&_lastUpdated=gt2020&_sort=-date&_count=5&_total=none"),
        ),
        (
            only,
            "Observation?_include=Observation:subject&_revinclude=Provenance:target&_include:iterate=Patient:link",
            Ok("_include=Observation:subject&_revinclude=Provenance:target&_include:iterate=Patient:link"),
        ),
        (only, "Observation?code:nonsense=x", Err(())),
        (only, "Observation?code:Patient=x", Err(())),
        (only, "Observation?_Include=x", Err(())),
        (only, "Observation?_unknown=x", Err(())),
        (only, "Observation?_getpages=abc", Err(())),
        (only, "Observation?_filter=code eq x", Err(())),
        (only, "Observation?_query=x", Err(())),
        (only, "Observation?_method=DELETE", Err(())),
        (only, "Observation?access_token=x", Err(())),
        // SRCH-2: a value set of a foreign host.
        (
            only,
            "Observation?code:in=http://hl7.org/fhir/ValueSet/x",
            Ok("code:in=http://hl7.org/fhir/ValueSet/x"),
        ),
        (only, "Observation?code:in=ValueSet/x", Ok("code:in=ValueSet/x")),
        (only, "Observation?code:in=http://evil.example/ValueSet/x", Err(())),
        // SRCH-5: chains.
        (only, "Observation?subject:Patient.name=x", Err(())),
        (both, "Observation?subject:Patient.name=x", Ok("subject:Patient.name=x")),
        (both, "Observation?patient.name=x", Ok("patient.name=x")),
        (only, "Observation?patient.name=x", Err(())),
        (both, "Observation?subject.birthdate=2000", Ok("subject:Patient.birthdate=2000")),
        ("system/*.rs", "Observation?subject.name=x", Ok("subject.name=x")),
        (both, "Observation?patient.organization.name=x", Err(())),
        (
            "system/Observation.s system/Patient.r system/Organization.r",
            "Observation?patient.organization.name=x",
            Ok("patient.organization.name=x"),
        ),
        (both, "Observation?nonsense.name=x", Err(())),
        (both, "Observation?code.name=x", Err(())),
        (both, "Observation?_sort=patient.birthdate", Ok("_sort=patient.birthdate")),
        (only, "Observation?_sort=patient.birthdate", Err(())),
        // SRCH-6: _has, nested too.
        ("system/Patient.rs", "Patient?_has:Observation:patient:code=x", Err(())),
        ("system/Patient.rs system/Observation.r", "Patient?_has:Observation:patient:code=x", Err(())),
        (
            "system/Patient.rs system/Observation.s",
            "Patient?_has:Observation:patient:code=x",
            Ok("_has:Observation:patient:code=x"),
        ),
        (
            "system/Patient.rs system/Observation.s",
            "Patient?_has:Observation:patient:_has:Provenance:target:agent=x",
            Err(()),
        ),
        (
            "system/Patient.rs system/Observation.s system/Provenance.s",
            "Patient?_has:Observation:patient:_has:Provenance:target:agent=x",
            Ok("_has:Observation:patient:_has:Provenance:target:agent=x"),
        ),
        ("system/*.rs", "Patient?_has:Observation:code:code=x", Err(())),
        ("system/*.rs", "Patient?_has:Observation:patient=x", Err(())),
        ("system/*.rs", "Patient?_has:Nonsense:patient:code=x", Err(())),
        // SRCH-11: lists.
        (only, "Observation?_list=42", Err(())),
        ("system/Observation.rs system/List.r", "Observation?_list=42", Ok("_list=42")),
        ("system/*.rs", "Observation?_list=$current-problems", Err(())),
        // SRCH-10, REST-20: types.
        (both, "?_type=Observation,Patient", Ok("_type=Observation,Patient")),
        (only, "?_type=Observation,Patient", Err(())),
        (only, "?_id=1", Ok("_id=1&_type=Observation")),
        ("system/*.rs", "?_id=1", Ok("_id=1")),
        ("system/*.rs", "?_type=Observation&_type=Patient", Err(())),
        ("system/*.rs", "?_type=Nonsense", Err(())),
        (both, "Patient/1/*", Ok("_type=Observation,Patient")),
        ("system/Practitioner.rs", "Patient/1/*", Err(())),
        ("system/*.rs", "Patient/1/Practitioner", Err(())),
        // Reads and histories take no search.
        (only, "Observation/1?_format=json&_elements=id", Ok("_format=json&_elements=id")),
        (only, "Observation/1?patient=2", Ok("")),
        (only, "Observation/1?_id=2", Err(())),
        (only, "Observation/1/_history?_since=2020&_count=3", Ok("_since=2020&_count=3")),
        (only, "Observation/_history?_include=x", Err(())),
    ];
    for (scope, target, expected) in table {
        let decision = get(scope, target);
        match expected {
            Ok(query) => assert_eq!(sent(&decision), *query, "{scope}: {target}"),
            Err(()) => assert!(!allowed(&decision), "{scope}: {target} was sent as {}", sent(&decision)),
        }
    }
}

/// OPS-1 … OPS-7: operations by their rows.
#[test]
fn operations() {
    let export = |body: &'static str| Case {
        scope: "system/Patient.s system/Observation.s",
        method: "POST",
        target: "$export",
        headers: &[JSON],
        body,
    };
    let table = [
        ("system/Patient.r", "Patient/1/$everything", true),
        ("system/Patient.s", "Patient/1/$everything", true),
        ("system/Patient.c", "Patient/1/$everything", false),
        ("system/Observation.rs", "Patient/1/$everything", false),
        ("system/*.cruds", "$graphql", false),
        ("system/*.cruds", "Patient/1/$graphql", false),
        ("system/*.cruds", "Patient/1/$expunge", false),
        ("system/*.cruds", "Patient/1/$EVERYTHING", false),
        ("system/*.cruds", "$reindex", false),
        ("system/*.s", "$export", true),
        ("system/Patient.s", "$export", false),
        ("system/Patient.s", "$export?_type=Patient", true),
        ("system/Patient.s", "$export?_type=Patient,Observation", false),
        ("user/*.s", "$export", false),
        ("system/*.s", "Group/1/$export", false),
        ("system/*.s system/Group.r", "Group/1/$export", true),
        ("system/*.s", "Patient/1/$export", false),
        ("system/*.s", "$export?_typeFilter=Patient%3Fname%3Dx", true),
        ("system/Patient.s", "$export?_type=Patient&_typeFilter=Observation%3Fcode%3Dx", false),
        (
            "system/Patient.s",
            "$export?_type=Patient&_typeFilter=Patient%3F_has:Observation:patient:code%3Dx",
            false,
        ),
        ("system/ValueSet.r", "ValueSet/$expand?url=x", true),
        ("system/CodeSystem.r", "ValueSet/$expand?url=x", false),
        ("system/Composition.r", "Composition/1/$document", true),
        ("system/Composition.r", "Composition/1/$document?persist=true", false),
        ("system/Composition.r system/Bundle.c", "Composition/1/$document?persist=true", true),
        ("system/Observation.s", "Observation/$lastn?subject:Patient.name=x", false),
        ("openid", "$versions", true),
    ];
    for (scope, target, permitted) in table {
        let decision = get(scope, target);
        assert_eq!(allowed(&decision), permitted, "{scope}: {target}: {decision:?}");
    }
    let typed = |types: &str| {
        format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"_type","valueString":"{types}"}}]}}"#)
    };
    let granted: &'static str = typed("Patient,Observation").leak();
    let beyond: &'static str = typed("Patient,Condition").leak();
    assert!(allowed(&decided(&export(granted), &rules())), "the types named in the body are granted");
    assert!(!allowed(&decided(&export(beyond), &rules())), "a type named in the body is not granted");
}

/// REST-30 … REST-32: entries stand alone in a batch and together in a transaction.
#[test]
fn bundles() {
    let bundle = |kind: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[
            {{"request":{{"method":"GET","url":"Patient/1"}}}},
            {{"request":{{"method":"GET","url":"Observation/1"}}}},
            {{"request":{{"method":"GET","url":"//evil"}}}}]}}"#
        )
    };
    let scope = "system/Patient.rs";
    let batch = bundle("batch");
    let decision =
        decided(&Case { scope, method: "POST", target: "", headers: &[JSON], body: &batch }, &rules());
    let Decision::Allow(permit) = decision else { panic!("a batch is answered entry by entry") };
    let forwarded: Vec<_> =
        permit.duties().entries.iter().map(|entry| matches!(entry, EntryDuty::Forward(_))).collect();
    assert_eq!(forwarded, [true, false, false]);
    let transaction = bundle("transaction");
    let decision =
        decided(&Case { scope, method: "POST", target: "", headers: &[JSON], body: &transaction }, &rules());
    let Decision::Deny(refused) = decision else { panic!("a transaction is all or nothing") };
    assert!(matches!(refused.denial, Denial::Entry { index: 1, .. }), "{refused:?}");
}

/// REST-16: a conditional reference in a transaction is a search.
#[test]
fn conditional_references_are_searches() {
    let body = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Observation","subject":{"reference":"Patient?identifier=x"}},"request":{"method":"POST","url":"Observation"}}]}"#;
    for (scope, permitted) in [
        ("system/Observation.c system/Patient.s", true),
        ("system/Observation.c", false),
        ("system/Observation.c system/Patient.r", false),
    ] {
        let decision = decided(&Case { scope, method: "POST", target: "", headers: &[JSON], body }, &rules());
        assert_eq!(allowed(&decision), permitted, "{scope}: {decision:?}");
    }
}

/// REST-12, REST-24, OPS-30, AUD-12: writes that read, add or deliver something else.
#[test]
fn writes_with_side_effects() {
    let observation = r#"{"resourceType":"Observation"}"#;
    let provenance = ("x-provenance", r#"{"resourceType":"Provenance"}"#);
    let subscription = r#"{"resourceType":"Subscription","criteria":"Observation?code=x"}"#;
    let test = r#"[{"op":"test","path":"/status","value":"final"}]"#;
    let patch = ("content-type", "application/json-patch+json");
    let table: &[(&str, &str, &str, &[(&'static str, &str)], &str, bool)] = &[
        ("system/Observation.c", "POST", "Observation", &[JSON, provenance], observation, false),
        (
            "system/Observation.c system/Provenance.c",
            "POST",
            "Observation",
            &[JSON, provenance],
            observation,
            true,
        ),
        ("system/*.c", "POST", "Observation", &[JSON, ("x-provenance", "{}")], observation, false),
        ("system/Subscription.c", "POST", "Subscription", &[JSON], subscription, false),
        ("system/Subscription.c system/Observation.rs", "POST", "Subscription", &[JSON], subscription, true),
        ("system/*.cruds", "POST", "AuditEvent", &[JSON], r#"{"resourceType":"AuditEvent"}"#, false),
        ("system/*.cruds", "DELETE", "AuditEvent/1", &[], "", false),
        ("system/Observation.u", "PATCH", "Observation/1", &[patch], test, false),
        ("system/Observation.ru", "PATCH", "Observation/1", &[patch], test, true),
        ("system/*.cruds", "DELETE", "Observation/1?_cascade=delete", &[], "", false),
        ("system/*.cruds", "DELETE", "Observation/1?_expunge=true", &[], "", false),
    ];
    for (scope, method, target, headers, body, permitted) in table {
        let decision = decided(&Case { scope, method, target, headers, body }, &rules());
        assert_eq!(allowed(&decision), *permitted, "{scope}: {method} {target}: {decision:?}");
    }
    let case =
        |scope| Case { scope, method: "POST", target: "Observation", headers: &[JSON], body: observation };
    for (scope, content) in
        [("system/Observation.c", Content::Withheld), ("system/Observation.cr", Content::Shown)]
    {
        let Decision::Allow(permit) = decided(&case(scope), &rules()) else { panic!("refused: {scope}") };
        assert_eq!(permit.duties().content, content, "{scope}");
    }
}

/// SCOPE-3: a malformed scope that would cover the request is named when the configuration says so.
#[test]
fn malformed_scopes_are_named() {
    let mut naming = rules();
    Arc::make_mut(&mut naming).malformed = Malformed::Refuse;
    let case = |scope, target| Case { scope, method: "GET", target, headers: &[], body: "" };
    let refused = |decision| match decision {
        Decision::Deny(refused) => refused.denial,
        Decision::Allow(_) | Decision::Ask(_) => panic!("permitted"),
    };
    let named = refused(decided(&case("system/Observation.sr", "Observation"), &naming));
    assert!(matches!(named, Denial::MalformedScope { ref scope, .. } if scope == "system/Observation.sr"));
    let other = refused(decided(&case("system/Observation.sr", "Patient"), &naming));
    assert_eq!(other, Denial::InsufficientScope);
    let ignored = refused(decided(&case("system/Observation.sr", "Observation"), &rules()));
    assert_eq!(ignored, Denial::InsufficientScope);
    assert!(allowed(&decided(&case("system/Observation.sr system/Observation.s", "Observation"), &naming)));
}

/// RESP-1, contract §7: only a grant for everything streams.
#[test]
fn what_may_stream() {
    for (scope, target, streams) in [
        ("system/*.rs", "Observation", true),
        ("system/*.r", "Observation/1", true),
        ("system/Observation.rs", "Observation", false),
        ("system/Observation.rs", "Observation/1", false),
    ] {
        let Decision::Allow(permit) = get(scope, target) else { panic!("refused: {scope} {target}") };
        assert_eq!(permit.duties().streams(), streams, "{scope} {target}");
    }
}

/// SRCH-25, SRCH-26: a sealed link is followed by whom it was made for, with what it needed, as of now.
#[test]
fn links_are_asked_again() {
    let all = rules();
    let grant_of = |claims: serde_json::Value| match holder(claims, &all) {
        Caller::Holder(grant) => grant,
        Caller::Anonymous => panic!("no grant"),
    };
    let made_for = grant_of(json!({"scope": "system/Observation.rs", "client_id": "a", "sub": "u"}));
    let terms = Terms {
        binding: Binding::of(&made_for),
        needs: vec![("Observation".into(), "s".into())],
        by: By::Either,
        search: None,
        extent: Reached::Whole,
        expires: 9,
    };
    let page = Link::new(Leads::Page, "?_getpages=x".into(), &terms);
    let export = Link::new(Leads::Export, "status?_jobId=1".into(), &terms);
    let table = [
        (&page, Method::GET, json!({"scope": "system/Observation.rs", "client_id": "a", "sub": "u"}), true),
        (&page, Method::GET, json!({"scope": "system/*.s", "client_id": "a", "sub": "u"}), true),
        (&page, Method::GET, json!({"scope": "system/Observation.r", "client_id": "a", "sub": "u"}), false),
        (&page, Method::GET, json!({"scope": "system/Observation.rs", "client_id": "b", "sub": "u"}), false),
        (&page, Method::GET, json!({"scope": "system/Observation.rs", "client_id": "a", "sub": "v"}), false),
        (&page, Method::DELETE, json!({"scope": "system/*.cruds", "client_id": "a", "sub": "u"}), false),
        (&export, Method::DELETE, json!({"scope": "system/*.cruds", "client_id": "a", "sub": "u"}), true),
    ];
    for (link, method, claims, followed) in table {
        let decision = decide_link(link, &method, &grant_of(claims.clone()), &all);
        assert_eq!(allowed(&decision), followed, "{method} {claims}: {decision:?}");
    }
}

/// CTX-8: a launch encounter of another patient makes `patient/` scopes unusable, and those only.
#[test]
fn contradictory_contexts() {
    let mut restricting = rules();
    Arc::make_mut(&mut restricting).patient.encounter = EncounterContext::Restrict;
    let r4 = |name| FhirVersion::R4.resource_type(name).expect("a type");
    let encounter = |patient: &str| {
        format!(r#"{{"resourceType":"Encounter","id":"e1","subject":{{"reference":"Patient/{patient}"}}}}"#)
    };
    let decided = |scope: &str, stored: Option<String>| {
        let claims = json!({"scope": scope, "patient": "p1", "encounter": "e1"});
        let target = Target::relative("Condition").expect("a target");
        let asked = Asked::classify(FhirVersion::R4, &Method::GET, target, &HeaderMap::new());
        let reading = Reading { version: FhirVersion::R4, public_base: "", bundle_entries: 1 };
        let request = asked.expect("asked").with_body(Bytes::new(), reading).expect("read");
        let mut facts = Facts::default();
        if let Some(stored) = stored {
            let version = Version::new((stored.into(), crate::fhir::Format::Json), r4("Encounter"), None);
            let version = version.expect("an Encounter");
            facts.put_stored(Question::Context("e1".into()), Stored::Present(version.into()));
        }
        decide(&request, &holder(claims, &restricting), &restricting, &facts)
    };
    let patients = "patient/Condition.rs";
    assert_eq!(decided(patients, None), Decision::Ask(vec![Question::Context("e1".into())]));
    assert!(allowed(&decided(patients, Some(encounter("p1")))));
    let Decision::Deny(refused) = decided(patients, Some(encounter("p2"))) else { panic!("permitted") };
    assert_eq!(refused.denial, Denial::ContradictoryContext);
    // Nothing of the launch context is used here, so nothing is asked.
    assert!(allowed(&decided("system/Condition.rs", None)));
}
