//! Whole result sets: pages, includes, and what a grant for some types sees of them (SRCH-7, SRCH-8, SRCH-25, SRCH-26).

use std::collections::BTreeSet;

use crate::house::House;
use crate::support::Answer;

/// Pages to the last, includes cut by type.
pub async fn all(house: &mut House<'_>) {
    for scope in ["system/Observation.rs", "system/*.rs"] {
        pages(house, scope).await;
    }
    foreign_links(house).await;
    includes(house).await;
    totals(house).await;
}

/// Every Observation once, page by page.
async fn pages(house: &House<'_>, scope: &str) {
    let (_, all) = house.stack.hapi("GET", "Observation?_count=500&_elements=id", None).await;
    let expected: BTreeSet<String> = all["entry"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["resource"]["id"].as_str())
        .map(|id| format!("Observation/{id}"))
        .collect();
    let token = house.tokens.get(scope).await;
    let mut answer =
        house.client.ask("GET", "Observation?_count=10&_sort=_id").bearer(&token).with(scope).send().await;
    let mut seen = Vec::new();
    for _ in 0..40 {
        answer.is(200).only(&["Observation"]);
        if scope != "system/*.rs" {
            // A cursor of the backend works for whoever has it (SRCH-25).
            answer.lacks("_getpages");
        }
        seen.extend(answer.ids());
        for relation in ["self", "next", "previous"] {
            if let Some(url) = link(&answer, relation)
                && !url.starts_with(house.client.base())
            {
                answer.wrong(&format!("a {relation} link below the public base, not {url}"));
            }
        }
        let Some(next) = link(&answer, "next") else { break };
        answer = house.client.ask("GET", &next).bearer(&token).with(scope).send().await;
    }
    let unique: BTreeSet<String> = seen.iter().cloned().collect();
    let fits = unique == expected && unique.len() == seen.len();
    house.findings.check(
        fits,
        format!(
            "pages under {scope}: expected {} Observations once each, got {} of {}",
            expected.len(),
            seen.len(),
            unique.len()
        ),
    );
}

/// A link works for the token it was made for and no other; raw cursors are not taken.
async fn foreign_links(house: &House<'_>) {
    let mine = house.tokens.get("system/Observation.rs").await;
    let answer = house.client.read("Observation?_count=5", &mine).await;
    let Some(next) = link(&answer, "next") else {
        answer.wrong("a next link");
        return;
    };
    let other = house.stack.opaque("system/Observation.rs").await;
    house
        .client
        .ask("GET", &next)
        .bearer(&other)
        .with("another client")
        .send()
        .await
        .one_of(&[403, 404])
        .lacks("\"entry\"");
    let less = house.tokens.get("system/Patient.rs").await;
    house.client.ask("GET", &next).bearer(&less).with("without Observation.s").send().await.is(403);
    house.client.ask("GET", &next).with("no token").send().await.is(401);
    let at = next.len() - 6;
    let changed = format!("{}AAAAAA", next.get(..at).unwrap_or_default());
    house
        .client
        .ask("GET", &changed)
        .bearer(&mine)
        .with("altered")
        .send()
        .await
        .one_of(&[400, 403, 404])
        .lacks("\"entry\"");
    let (_, direct) = house.stack.hapi("GET", "Observation?_count=5", None).await;
    let raw = direct["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "next");
    let raw = raw.and_then(|link| link["url"].as_str()).unwrap_or_default();
    let query = raw.split_once('?').map_or("", |(_, query)| query);
    for token in [&mine, &less] {
        let asked =
            house.client.ask("GET", &format!("?{query}")).bearer(token).with("the backend's own cursor");
        asked.send().await.one_of(&[400, 403, 404]);
    }
}

async fn includes(house: &House<'_>) {
    let one = "Observation?_id=obs-lab-enc-1&_include=Observation:subject";
    let observations = house.tokens.get("system/Observation.rs").await;
    let answer = house.client.read(one, &observations).await;
    answer.is(200).only(&["Observation"]).lacks("Inwood").has("x-intermediary", "");
    let both = house.tokens.get("system/Observation.rs system/Patient.r").await;
    house.client.read(one, &both).await.is(200).only(&["Observation", "Patient"]).holds("Inwood");
    let all = house.tokens.get("system/*.rs").await;
    house.client.read(one, &all).await.is(200).holds("Inwood");
    let every = "Observation?_id=obs-lab-enc-1&_include=*";
    house
        .client
        .read(every, &observations)
        .await
        .is(200)
        .only(&["Observation"])
        .lacks("Inwood")
        .lacks("Prantl");
    let reverse = "Patient?_id=pat-in&_revinclude=Observation:subject&_revinclude=Condition:subject";
    let patients = house.tokens.get("system/Patient.rs").await;
    house.client.read(reverse, &patients).await.is(200).only(&["Patient"]);
    let two = house.tokens.get("system/Patient.rs system/Condition.s").await;
    house.client.read(reverse, &two).await.is(200).only(&["Patient", "Condition"]);
    let iterate = "Observation?_id=obs-lab-enc-1&_include=Observation:subject&_include:iterate=Patient:general-practitioner";
    house.client.read(iterate, &both).await.is(200).only(&["Observation", "Patient"]).lacks("Prantl");
    let form = house.client.ask("POST", "Observation/_search").bearer(&observations);
    let form =
        form.body("application/x-www-form-urlencoded", "_id=obs-lab-enc-1&_include=Observation%3Asubject");
    form.send().await.is(200).only(&["Observation"]).lacks("Inwood");
}

/// SRCH-15, SRCH-16.
async fn totals(house: &House<'_>) {
    let (_, direct) = house.stack.hapi("GET", "Condition?_summary=count", None).await;
    let token = house.tokens.get("system/Condition.rs").await;
    for target in ["Condition?_summary=count", "Condition?_total=accurate&_count=1", "Condition?_count=0"] {
        let answer = house.client.read(target, &token).await;
        answer.is(200);
        let total = answer.json()["total"].clone();
        if total != direct["total"] {
            answer.wrong(&format!("the total {}, not {total}", direct["total"]));
        }
    }
}

/// The link of a Bundle with this relation.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let body = answer.json();
    let link = body["link"].as_array()?.iter().find(|link| link["relation"] == relation)?;
    link["url"].as_str().map(str::to_owned)
}
