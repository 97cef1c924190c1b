//! The scenarios of gematik's security suite for ISiK (G-1 … G-13), with tokens that people and systems got from Keycloak.

use serde_json::Value;

use crate::house::{Change, House};
use crate::support::Answer;

/// What a practitioner sees of patients is a user policy (G-13); the rest is the profile.
const ISIK: Change<'_> = Change {
    top: "profile = \"isik\"",
    tables: "[[rule]]\ncontexts = [\"user\"]\nlimit = [\"Patient?general-practitioner={fhirUser}\"]",
    ..Change::NONE
};

const PATIENT: &str = "patient/Patient.rs patient/Condition.rs launch/patient";
const VISIT: &str = "patient/Patient.rs patient/Condition.rs launch/patient launch/encounter";

/// Every scenario, in the order of the suite.
pub async fn all(house: &mut House<'_>) {
    house.change(ISIK);
    discovery(house).await;
    let answer = house.client.ask("GET", "Patient/pat-in").with("G-2").send().await;
    answer.refused(401, "no_credentials");
    patient(house).await;
    encounter(house).await;
    system(house).await;
    user(house).await;
}

/// G-1.
async fn discovery(house: &House<'_>) {
    let answer = house.client.ask("GET", ".well-known/smart-configuration").with("G-1").send().await;
    let document = answer.is(200).json();
    for member in ["authorization_endpoint", "token_endpoint"] {
        if !document[member].as_str().is_some_and(|url| url.starts_with("http")) {
            answer.wrong(&format!("a URL in `{member}`"));
        }
    }
    let has = |member: &str, value: &str| {
        document[member].as_array().is_some_and(|all| all.iter().any(|it| it == value))
    };
    for (member, value) in [
        ("grant_types_supported", "authorization_code"),
        ("grant_types_supported", "client_credentials"),
        ("code_challenge_methods_supported", "S256"),
        ("capabilities", "permission-v2"),
    ] {
        if !has(member, value) {
            answer.wrong(&format!("{value} in `{member}`"));
        }
    }
    if has("code_challenge_methods_supported", "plain") {
        answer.wrong("no `plain`");
    }
    if let Some(scopes) = document["scopes_supported"].as_array() {
        for context in ["patient/", "system/", "user/"] {
            if !scopes.iter().any(|scope| scope.as_str().is_some_and(|scope| scope.starts_with(context))) {
                answer.wrong(&format!("one of {context} among the scopes"));
            }
        }
    }
}

/// G-3 … G-7: what belongs to the launch patient, and nothing else.
async fn patient(house: &House<'_>) {
    let token = house.logins.jwt("patient-in", PATIENT);
    let ask = |target: &str| house.client.ask("GET", target).bearer(&token);
    ask("Patient/pat-in").with("G-3").send().await.is(200).holds("Inwood");
    ask("Patient/pat-out").with("G-4").send().await.refused(404, "not_found").lacks("Outhwaite");
    let found = ask("Condition").with("G-5").send().await;
    all_of(&found, "Patient/pat-in");
    first(house, &found, &token, "G-5").await;
    let none = ask("Condition?subject=Patient/pat-out").with("G-6").send().await;
    if !none.is(200).entries().is_empty() {
        none.wrong("no entries");
    }
    ask("Encounter").with("G-7").send().await.refused(403, "insufficient_scope");
    // Otto Outhwaite's conditions are there for him.
    let other = house.logins.jwt("patient-out", PATIENT);
    let found = house.client.read("Condition", &other).await;
    all_of(&found, "Patient/pat-out");
}

/// G-8, G-9: in the profile the launch encounter limits, too.
async fn encounter(house: &House<'_>) {
    let token = house.logins.jwt("patient-in", VISIT);
    let ask = |target: &str| house.client.ask("GET", target).bearer(&token);
    let found = ask("Condition").with("G-8").send().await;
    all_of(&found, "Patient/pat-in");
    let all = house.stack.hapi("GET", "Condition?patient=pat-in&_count=200", None).await.1;
    let all = all["entry"].as_array().map_or(0, Vec::len);
    let other = found.resources().iter().any(|it| it["encounter"]["reference"] != "Encounter/enc-1");
    if found.entries().len() >= all || other {
        found.wrong(&format!("fewer than {all} Conditions, all of enc-1"));
    }
    first(house, &found, &token, "G-8").await;
    let answer = ask("Condition/cond-problem-enc-2").with("G-9").send().await;
    answer.refused(404, "not_found");
    ask("Condition/cond-problem-enc-3").with("G-9, another patient's").send().await.refused(404, "not_found");
    // A Patient is in no encounter's compartment but by the encounters it has: it stays readable.
    ask("Patient/pat-in").with("G-8").send().await.is(200);
}

/// G-10, G-11.
async fn system(house: &House<'_>) {
    let one = house.tokens.get("system/Patient.r").await;
    let ask = |target: &str| house.client.ask("GET", target).bearer(&one).with("G-10");
    ask("Patient/pat-in").send().await.is(200);
    ask("Patient?_id=unknown").send().await.refused(403, "insufficient_scope");
    ask("Encounter").send().await.refused(403, "insufficient_scope");
    let every = house.tokens.get("system/*.r").await;
    let ask = |target: &str| house.client.ask("GET", target).bearer(&every).with("G-11");
    ask("Patient/pat-in").send().await.is(200);
    ask("Encounter/enc-1").send().await.is(200);
    ask("Patient?family=Inwood").send().await.refused(403, "insufficient_scope");
}

/// G-12, G-13.
async fn user(house: &House<'_>) {
    let token = house.logins.jwt("practitioner", "user/Patient.rs openid fhirUser");
    let ask = |target: &str| house.client.ask("GET", target).bearer(&token);
    ask("Patient?family=Inwood").with("G-12").send().await.is(200).only(&["Patient"]).holds("Inwood");
    ask("Encounter").with("G-12").send().await.refused(403, "insufficient_scope");
    let mine = ask("Patient").with("G-13").send().await;
    let ids = mine.is(200).ids();
    let foreign =
        mine.resources().iter().any(|it| it["generalPractitioner"][0]["reference"] != "Practitioner/prac-1");
    let system = house.tokens.get("system/Patient.rs").await;
    let all = house.client.ask("GET", "Patient").bearer(&system).with("G-13").send().await;
    let total = all.is(200).json()["total"].as_u64().unwrap_or_default();
    if foreign || ids.is_empty() || ids.len() as u64 >= total {
        mine.wrong(&format!("fewer than {total} patients, and at least one, all of prac-1"));
    }
    ask("Patient/pat-3").with("of prac-1").send().await.is(200);
    ask("Patient/pat-out").with("of prac-2").send().await.refused(404, "not_found");
    let none = ask("Patient?family=Outhwaite").with("of prac-2").send().await;
    if !none.is(200).entries().is_empty() {
        none.wrong("no entries");
    }
    // The rule names user/ only.
    house.client.read("Patient/pat-out", &system).await.is(200);
}

/// At least one entry, and all have this subject.
fn all_of(answer: &Answer, patient: &str) {
    let found = answer.is(200).resources();
    if found.is_empty() || found.iter().any(|it: &Value| it["subject"]["reference"] != patient) {
        answer.wrong(&format!("at least one entry, and all of {patient}"));
    }
}

/// What was found first can be read.
async fn first(house: &House<'_>, found: &Answer, token: &str, words: &str) {
    match found.ids().first() {
        Some(id) => {
            house.client.ask("GET", id).bearer(token).with(words).send().await.is(200);
        }
        None => found.wrong("an entry to read"),
    }
}
