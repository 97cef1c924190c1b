//! Claims of a token: scopes of all levels, sound and unsound, and a launch context.

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::vocabulary::{UNUSABLE, parameter};
use crate::world::TYPES;

/// Words that look like scopes and grant nothing, or are none.
const OTHERS: [&str; 14] = [
    "openid",
    "fhirUser",
    "launch/patient",
    "offline_access",
    "patient/Observation.sr",
    "patient/observation.rs",
    "Patient/Observation.rs",
    "patient/Observation.rs?",
    "patient/Patient.read?_id=p1",
    "patient/*.",
    "patient/Resource.rs",
    "user/Observation.RS",
    "system/Observation.rrs",
    "patient/*.rs&_id=p1",
];

/// Claims as an authorization server might give them; now and then there is no token.
pub fn claims(chance: &mut Chance) -> Value {
    if chance.percent(1) {
        return Value::Null;
    }
    let count = 1 + chance.below(4);
    let mut scopes: Vec<String> = (0..count).map(|_| scope(chance)).collect();
    if chance.percent(20) {
        scopes.push(chance.pick(&OTHERS).to_owned());
    }
    let mut claims = json!({
        "scope": scopes.join(" "), "client_id": "app", "sub": "alice", "iss": "https://as.test",
    });
    let patients = [
        (84, Some(json!("p1"))),
        (4, Some(json!("Patient/p1"))),
        (3, Some(json!("p2"))),
        (1, Some(json!("Patient/p1/_history/1"))),
        (1, Some(json!(["p1"]))),
        (1, Some(json!(""))),
        (6, None),
    ];
    put(chance, &mut claims, "patient", &patients);
    let encounters = [
        (28, Some(json!("e1"))),
        (4, Some(json!("e2"))),
        (3, Some(json!("e3"))),
        (2, Some(json!("not an id"))),
        (63, None),
    ];
    put(chance, &mut claims, "encounter", &encounters);
    let users = [
        (40, Some(json!("Practitioner/dr1"))),
        (10, Some(json!("https://gw.test/fhir/Practitioner/dr1"))),
        (10, Some(json!("Patient/p1"))),
        (4, Some(json!("Patient/p2"))),
        (3, Some(json!("https://other.test/fhir/Patient/p1"))),
        (3, Some(json!("https://other.test/fhir/Practitioner/dr1"))),
        (2, Some(json!("nobody"))),
        (28, None),
    ];
    put(chance, &mut claims, "fhirUser", &users);
    if chance.percent(50) {
        claims["groups"] = chance.pick(&[&["ward-7"][..], &["ward-8"]]).into();
    }
    let categories = [
        (40, Some(json!(["laboratory", "vital-signs"]))),
        (20, Some(json!("laboratory"))),
        (5, Some(json!("laboratory,survey"))),
        (5, Some(json!("|laboratory"))),
        (5, Some(json!([]))),
        (25, None),
    ];
    put(chance, &mut claims, "cats", &categories);
    claims
}

fn put(chance: &mut Chance, claims: &mut Value, name: &str, from: &[(usize, Option<Value>)]) {
    let at: Vec<_> = from.iter().enumerate().map(|(at, (weight, _))| (*weight, at)).collect();
    if let Some(value) = &from[chance.weighted(&at)].1 {
        claims[name] = value.clone();
    }
}

fn scope(chance: &mut Chance) -> String {
    let level = chance.weighted(&[(60, "patient"), (24, "user"), (16, "system")]);
    let types = TYPES.len();
    let kind = match chance.below(100) {
        0..=24 => "*",
        25..=44 => "Observation",
        45..=54 => "Patient",
        55..=57 => "Binary",
        58 => "Bundle",
        _ => TYPES[chance.below(types)],
    };
    let letters = chance.pick(&[
        "r", "s", "rs", "rs", "rs", "cruds", "cruds", "cruds", "cud", "c", "u", "d", "ru", "us", "rus", "ds",
        "crs", "read", "write", "*",
    ]);
    let mut written = format!("{level}/{kind}.{letters}");
    if chance.percent(35) && !matches!(letters, "read" | "write" | "*") {
        written.push('?');
        written.push_str(&parameter(chance, kind));
        if chance.percent(25) {
            written.push('&');
            written.push_str(&parameter(chance, kind));
        }
        if chance.percent(6) {
            written.push('&');
            written.push_str(&chance.pick(&UNUSABLE).replace(' ', "%20"));
        }
    }
    written
}
