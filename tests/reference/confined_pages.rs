//! Pages of what a launch patient finds: HAPI's cursors know no patient, so they leave sealed and nothing else is taken
//! (SRCH-25, SCOPE-44).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::house::House;
use crate::support::Answer;

const SCOPE: &str = "launch/patient patient/*.rs";

/// More pages than any of these searches has.
const PAGES: usize = 60;

/// All pages of one-parameter and of merged searches; links in the wrong hands.
pub async fn all(house: &mut House<'_>) {
    let mark = format!("pages-{}", std::process::id());
    let made = records(house, &mark).await;
    whole_results(house).await;
    foreign_hands(house).await;
    raw_cursors(house).await;
    for id in made {
        house.stack.hapi("DELETE", &id, None).await;
    }
}

/// Observations that are the launch patient's by one parameter, by the other, and by both.
async fn records(house: &House<'_>, mark: &str) -> Vec<String> {
    let (own, other) = ("Patient/pat-in", "Patient/pat-out");
    let mut made = Vec::new();
    for (number, (subject, performer)) in
        [(own, own), (own, other), (other, own), (other, other), (own, own)].into_iter().enumerate()
    {
        let id = format!("{mark}-{number}");
        let record = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"},
            "subject": {"reference": subject}, "performer": [{"reference": performer}],
            "effectiveDateTime": format!("2024-03-{:02}", 10 + number)});
        made.push(format!("Observation/{id}"));
        house.stack.hapi("PUT", &made[number], Some(&record)).await;
    }
    made
}

/// What HAPI has for these searches, asked directly.
async fn expected(house: &House<'_>, searches: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for search in searches {
        let (_, found) = house.stack.hapi("GET", &format!("{search}&_count=200"), None).await;
        for entry in found["entry"].as_array().into_iter().flatten() {
            let name = |key: &str| entry["resource"][key].as_str().unwrap_or_default().to_owned();
            all.insert(format!("{}/{}", name("resourceType"), name("id")));
        }
    }
    all
}

/// Every resource once, in order where one was asked for, on pages that are not longer than asked.
async fn whole_results(house: &House<'_>) {
    let token = house.logins.jwt("patient-in", SCOPE);
    let both = ["Observation?subject=Patient/pat-in", "Observation?performer=Patient/pat-in"];
    let cases: [(&str, &[&str]); 9] = [
        ("Observation?_count=3", &both),
        ("Observation?_count=3&_sort=_id", &both),
        ("Observation?_count=2&_sort=-date", &both),
        ("Observation?_count=1", &both),
        ("Observation?subject=Patient/pat-in&_count=4", &both[..1]),
        ("Patient/pat-in/Observation?_count=3", &both),
        ("Condition?_count=1", &["Condition?patient=pat-in"]),
        ("Condition?_count=4&_sort=-_id", &["Condition?patient=pat-in"]),
        ("Encounter?_count=1", &["Encounter?patient=pat-in"]),
    ];
    for (target, searches) in cases {
        let expected = expected(house, searches).await;
        let (pages, got) = pages(house, &token, target).await;
        let unique: BTreeSet<String> = got.iter().map(id).collect();
        let fits = unique == expected && got.len() == unique.len() && pages > 1;
        let missing: Vec<_> = expected.difference(&unique).collect();
        let more: Vec<_> = unique.difference(&expected).collect();
        house.findings.check(
            fits,
            format!(
                "{target}: {} resources of {} on {pages} pages; missing {missing:?}, more {more:?}",
                got.len(),
                expected.len()
            ),
        );
        let key = |it: &Value| match target.split_once("_sort=") {
            Some((_, "_id")) => it["id"].as_str().map(str::to_owned),
            Some((_, "-date")) => it["effectiveDateTime"].as_str().map(str::to_owned),
            _ => None,
        };
        let keys: Vec<String> = got.iter().filter_map(key).collect();
        let descending = target.ends_with("-date");
        let ordered =
            keys.windows(2).all(|pair| if descending { pair[0] >= pair[1] } else { pair[0] <= pair[1] });
        house.findings.check(ordered, format!("{target}: not in order: {keys:?}"));
    }
}

fn id(resource: &Value) -> String {
    let name = |key: &str| resource[key].as_str().unwrap_or_default();
    format!("{}/{}", name("resourceType"), name("id"))
}

/// How many pages there are, and the resources on all of them.
async fn pages(house: &House<'_>, token: &str, target: &str) -> (usize, Vec<Value>) {
    let mut all = Vec::new();
    let mut next = target.to_owned();
    let most: usize =
        target.split("_count=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok()).unwrap_or(50);
    for page in 1..=PAGES {
        let answer = house.client.ask("GET", &next).bearer(token).with(target).send().await;
        answer.is(200).lacks("_getpages").lacks("enc-3").lacks("Outhwaite");
        let found = answer.resources();
        if found.len() > most {
            answer.wrong(&format!("at most {most} entries"));
        }
        all.extend(found);
        match link(&answer, "next") {
            None => return (page, all),
            Some(url) if url.starts_with(&format!("{}?_link=", house.client.base())) => next = url,
            Some(url) => {
                answer.wrong(&format!("a sealed link, not {url}"));
                return (page, all);
            }
        }
    }
    house.findings.add(format!("{target}: more than {PAGES} pages"));
    (PAGES, all)
}

/// A link works for the client, user and patient it was made for, and as it was made.
async fn foreign_hands(house: &House<'_>) {
    let own = house.logins.jwt("patient-in", SCOPE);
    for target in ["Observation?_count=3", "Condition?_count=2", "Encounter?_count=1"] {
        let answer = house.client.read(target, &own).await;
        let Some(next) = link(&answer, "next") else {
            answer.wrong("a next link");
            continue;
        };
        let ask = |token: &str, words: &str| house.client.ask("GET", &next).bearer(token).with(words);
        let again = house.stack.login(&["--user", "patient-in", "--scope", SCOPE]);
        ask(&again, "the same person, logged in anew").send().await.is(200);
        let (other, client) =
            (house.logins.jwt("patient-out", SCOPE), house.logins.opaque("patient-in", SCOPE));
        for (token, words) in [(&other, "another patient"), (&client, "another client")] {
            ask(token, words).send().await.refused(403, "link_refused").lacks("\"entry\"");
        }
        let practitioner = house.logins.jwt("practitioner", SCOPE);
        ask(&practitioner, "another user, the same patient").send().await.is(403).lacks("\"entry\"");
        let system = house.tokens.get("system/*.rs").await;
        ask(&system, "system/").send().await.is(403).lacks("\"entry\"");
        let less = house.logins.jwt("patient-in", "launch/patient patient/Patient.rs");
        ask(&less, "without the type").send().await.is(403).lacks("\"entry\"");
        house.client.ask("GET", &next).with("no token").send().await.is(401);
        let begin = next.find("_link=").unwrap_or_default() + "_link=".len();
        for place in [begin, begin + 20, next.len() - 30, next.len() - 2] {
            let mut changed = next.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            let asked = house.client.ask("GET", &changed).bearer(&own).with("one character changed");
            asked.send().await.one_of(&[400, 403]).lacks("\"entry\"");
        }
        for more in ["&_count=100", "&patient=pat-out", "&_getpages=1"] {
            let asked = house.client.ask("GET", &format!("{next}{more}")).bearer(&own).with(more);
            asked.send().await.one_of(&[400, 403]).lacks("\"entry\"");
        }
    }
}

/// HAPI's own cursors, as it writes them, are refused; also one that another patient's data stand behind.
async fn raw_cursors(house: &House<'_>) {
    for search in
        ["Observation?subject=Patient/pat-out&_count=2", "Observation?subject=Patient/pat-in&_count=2"]
    {
        let (_, direct) = house.stack.hapi("GET", search, None).await;
        let url = direct["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "next");
        let url = url.and_then(|link| link["url"].as_str()).unwrap_or_default().to_owned();
        let Some((_, query)) = url.split_once('?') else {
            house.findings.add(format!("{search}: HAPI gives no next link: {direct}"));
            continue;
        };
        let token = house.logins.jwt("patient-in", SCOPE);
        for target in [format!("?{query}"), format!("/fhir/?{query}"), format!("Observation?{query}")] {
            let asked = house.client.ask("GET", &target).bearer(&token).with("raw cursor");
            asked.send().await.one_of(&[400, 403]).lacks("\"entry\"").lacks("pat-out\"");
        }
        let form = house.client.ask("POST", "_search").bearer(&token).with("raw cursor in a form");
        let form = form.body("application/x-www-form-urlencoded", query.to_owned());
        form.send().await.one_of(&[400, 403]).lacks("\"entry\"");
        let entry = json!({"resourceType": "Bundle", "type": "batch", "entry": [
            {"request": {"method": "GET", "url": format!("?{query}")}}]});
        let asked = house.client.ask("POST", "").bearer(&token).json(&entry).with("raw cursor in a batch");
        asked.send().await.one_of(&[200, 400, 403]).lacks("\"Observation\"").lacks("pat-out");
    }
}

/// The link of a Bundle with this relation.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let body = answer.json();
    let link = body["link"].as_array()?.iter().find(|link| link["relation"] == relation)?;
    link["url"].as_str().map(str::to_owned)
}
