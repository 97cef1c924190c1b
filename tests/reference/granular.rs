//! Inferno's rounds with granular scopes: what an unrestricted run found, cut to the granted categories, is what a
//! restricted run must find (SCOPE-44 … SCOPE-46).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::house::House;
use crate::support::{Answer, Ask};

const FORM: &str = "application/x-www-form-urlencoded";
const XML: &str = "application/fhir+xml";

/// More pages than any of these searches has.
const PAGES: usize = 60;

/// The searches of US Core that Inferno repeats, without and with granted categories in them.
const SEARCHES: [(&str, &str); 13] = [
    ("Condition", "patient=pat-in"),
    (
        "Condition",
        "patient=pat-in&category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
    ),
    ("Condition", "patient=pat-in&category=problem-list-item"),
    ("Condition", "patient=pat-in&clinical-status=active"),
    ("Condition", "patient=pat-in&encounter=Encounter/enc-2"),
    ("Condition", "patient=Patient/pat-in&code=http://snomed.info/sct|38341003"),
    ("Condition", "_count=2"),
    ("Observation", "patient=pat-in"),
    ("Observation", "patient=pat-in&category=laboratory&_count=1"),
    ("Observation", "patient=pat-in&code=http://loinc.org|8867-4"),
    ("Observation", "patient=pat-in&category=vital-signs&date=gt2020-01-01"),
    ("Observation", "patient=Patient/pat-in&_sort=-date&_count=3"),
    ("Observation", "_count=2"),
];

/// Both rounds.
pub async fn all(house: &mut House<'_>) {
    let open = house.logins.jwt("patient-in", "launch/patient patient/*.rs");
    let mut found = BTreeMap::new();
    let mut expected = Vec::new();
    for (kind, query) in SEARCHES {
        let ids = paged(house, &open, (kind, query), Way::Get).await;
        for id in &ids {
            found.insert(id.clone(), house.stack.hapi("GET", id, None).await.1);
        }
        expected.push(ids);
    }
    house.findings.check(found.len() > 16, format!("the unrestricted run found {} resources", found.len()));
    for group in ["SCOPES_G1", "SCOPES_G2"] {
        let scopes = house.stack.setting(group);
        let token = house.logins.jwt("patient-in", &format!("launch/patient {scopes}"));
        let granted = |id: &String| found.get(id).is_some_and(|resource| granted(resource, scopes));
        for ((kind, query), ids) in SEARCHES.iter().zip(&expected) {
            let expected: BTreeSet<String> = ids.iter().filter(|id| granted(id)).cloned().collect();
            for way in [Way::Get, Way::Post, Way::GetXml, Way::PostXml] {
                let got = paged(house, &token, (kind, query), way).await;
                let unique: BTreeSet<String> = got.iter().cloned().collect();
                let fits = unique == expected && got.len() == unique.len();
                let words = format!("{group} {way:?} {kind}?{query}");
                house
                    .findings
                    .check(fits, format!("{words}\n    expected {expected:?}\n    got      {got:?}"));
            }
        }
        reads(house, &token, &found, scopes).await;
    }
}

/// Whether a category of the resource is among the scopes, system and code.
fn granted(resource: &Value, scopes: &str) -> bool {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    let concepts = resource["category"].as_array().into_iter().flatten();
    let mut codings = concepts.flat_map(|concept| concept["coding"].as_array().into_iter().flatten());
    codings.any(|coding| {
        let text = |name: &str| coding[name].as_str().unwrap_or_default();
        let scope = format!("patient/{kind}.rs?category={}|{}", text("system"), text("code"));
        scopes.split(' ').any(|granted| granted == scope)
    })
}

/// How a search is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    GetXml,
    Post,
    PostXml,
}

impl Way {
    fn ask(self, house: &House<'_>, (kind, query): (&str, &str)) -> Ask {
        match self {
            Self::Get | Self::GetXml => house.client.ask("GET", &format!("{kind}?{query}")),
            Self::Post | Self::PostXml => {
                house.client.ask("POST", &format!("{kind}/_search")).body(FORM, query).with(query)
            }
        }
    }

    fn accepting(self, asked: Ask) -> Ask {
        match self {
            Self::Get | Self::Post => asked,
            Self::GetXml | Self::PostXml => asked.field("accept", XML),
        }
    }
}

/// The ids on all pages.
async fn paged(house: &House<'_>, token: &str, search: (&str, &str), way: Way) -> Vec<String> {
    let mut ids = Vec::new();
    let mut asked = way.ask(house, search);
    for _ in 0..PAGES {
        let answer = way.accepting(asked).bearer(token).with(&format!("{way:?}")).send().await;
        answer.is(200).lacks("enc-3").lacks("enc-4").lacks("Outhwaite").lacks("_getpages");
        let page = Page::of(&answer);
        ids.extend(page.ids);
        let Some(next) = page.next else { return ids };
        asked = house.client.ask("GET", &next);
    }
    house.findings.add(format!("{way:?} {search:?}: more than {PAGES} pages"));
    ids
}

/// What a page shows, in either format.
struct Page {
    ids: Vec<String>,
    next: Option<String>,
}

impl Page {
    fn of(answer: &Answer) -> Self {
        if answer.field("content-type").starts_with(XML) {
            let text = answer.text();
            let values = |name: &str| -> Vec<String> {
                let begin = format!("<{name} value=\"");
                let ends = text.split(&begin).skip(1).filter_map(|rest| rest.split_once('"'));
                ends.map(|(value, _)| value.replace("&amp;", "&")).collect()
            };
            let ids = values("fullUrl").iter().map(|url| last_two(url)).collect();
            let next = text.split_once("<relation value=\"next\"/>").and_then(|(_, rest)| {
                let (_, rest) = rest.split_once("<url value=\"")?;
                rest.split_once('"').map(|(url, _)| url.replace("&amp;", "&"))
            });
            return Self { ids, next };
        }
        let body = answer.json();
        let next = body["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "next");
        Self { ids: answer.ids(), next: next.and_then(|link| link["url"].as_str()).map(str::to_owned) }
    }
}

fn last_two(url: &str) -> String {
    let mut parts = url.rsplit('/');
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{kind}/{id}")
}

/// What matches is 200; what does not is neither that nor anything but an OperationOutcome.
async fn reads(house: &House<'_>, token: &str, found: &BTreeMap<String, Value>, scopes: &str) {
    for (id, resource) in found {
        let words = if granted(resource, scopes) { "granted category" } else { "another category" };
        for accept in ["application/fhir+json", XML] {
            let asked = house.client.ask("GET", id).bearer(token).field("accept", accept).with(words);
            let answer = asked.send().await;
            if granted(resource, scopes) {
                answer.is(200).has("content-type", accept);
            } else {
                answer.refused(404, "not_found").has("content-type", accept).lacks("pat-in");
            }
        }
    }
    for id in ["Condition/cond-diagnosis-enc-3", "Condition/cond-problem-enc-3", "Observation/obs-lab-enc-3"]
    {
        house.client.ask("GET", id).bearer(token).with("another patient's").send().await.is(404);
    }
    // No scope reaches these.
    for target in ["Patient/pat-in", "Encounter?patient=pat-in", "Encounter/enc-1"] {
        house.client.read(target, token).await.refused(403, "insufficient_scope");
    }
}
