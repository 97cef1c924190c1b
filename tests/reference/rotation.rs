//! Keycloak changes its signing key while requests come in (TOK-30): none of them is wrongly refused, and what the removed
//! key signed stops working.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{Change, House};

/// How often the gateway fetches keys here.
const REFRESH: Duration = Duration::from_secs(5);

/// Requests at the same time, each with a token of its own.
const WORKERS: usize = 4;

/// One request of a worker in this time: 26 in a second, if the machine can.
const PACE: Duration = Duration::from_millis(150);

const KEYS: &str = "components?type=org.keycloak.keys.KeyProvider";

/// Adds, makes passive, removes.
pub async fn all(house: &mut House<'_>) {
    // The realm's own key stays; the one that goes was added before.
    let old = add(house, "rotation-old", "150").await;
    let keycloak = format!("validation = \"jwt\"\nrefresh = \"{}s\"", REFRESH.as_secs());
    house.change(Change { keycloak: Some(&keycloak), ..Change::NONE });
    let load = Load::default();
    let (served, ()) = tokio::join!(
        async {
            let (a, b, c, d) = tokio::join!(
                load.worker(house, 0),
                load.worker(house, 1),
                load.worker(house, 2),
                load.worker(house, 3)
            );
            a + b + c + d
        },
        rotate(house, &load, &old)
    );
    house.findings.check(served >= 200, format!("a load of {served} requests is none"));
}

/// What workers and director tell each other.
#[derive(Default)]
struct Load {
    rounds: [Cell<usize>; WORKERS],
    over: Cell<bool>,
}

impl Load {
    /// A fresh token and a request with it, again and again. Each must be served.
    async fn worker(&self, house: &House<'_>, number: usize) -> usize {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.over.get() {
            pace.tick().await;
            let token = house.stack.jwt("system/Patient.r").await;
            let asked = house.client.ask("GET", "Patient/pat-in").bearer(&token);
            asked.with(&format!("{}, fresh", kid(&token))).send().await.is(200);
            self.rounds[number].set(self.rounds[number].get() + 1);
        }
        self.rounds[number].get()
    }

    /// Until each worker has begun and ended a round.
    async fn rounds(&self) {
        let before: Vec<usize> = self.rounds.iter().map(Cell::get).collect();
        while self.rounds.iter().zip(&before).any(|(now, before)| now.get() < before + 2) {
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn rotate(house: &House<'_>, load: &Load, old: &str) {
    let held = house.stack.jwt("system/Patient.r").await;
    let read =
        async |words: &str| house.client.ask("GET", "Patient/pat-in").bearer(&held).with(words).send().await;
    read("held, old key active").await.is(200);
    tokio::time::sleep(REFRESH / 2).await;

    let new = add(house, "rotation-new", "200").await;
    load.rounds().await;
    let fresh = house.stack.jwt("system/Patient.r").await;
    house
        .findings
        .check(kid(&fresh) != kid(&held), "Keycloak signs with the old key although a new one goes first");
    for _ in 0..5 {
        read("held, new key active").await.is(200);
        tokio::time::sleep(REFRESH / 4).await;
    }

    passive(house, old).await;
    load.rounds().await;
    read("held, old key passive").await.is(200);
    tokio::time::sleep(REFRESH).await;
    read("held, old key passive for long").await.is(200);

    house.stack.keycloak("DELETE", &format!("components/{old}"), None).await;
    let begun = Instant::now();
    let answer = loop {
        let answer = read("held, old key removed").await;
        if answer.status != 200 || begun.elapsed() > REFRESH * 4 {
            break answer;
        }
        tokio::time::sleep(PACE).await;
    };
    answer.refused(401, "token_key_unknown").has("www-authenticate", "Bearer ");
    let lasted = begun.elapsed();
    house.findings.check(
        lasted < REFRESH + Duration::from_secs(3),
        format!("a removed key worked for {lasted:.1?} although keys are fetched every {REFRESH:?}"),
    );
    load.rounds().await;
    load.over.set(true);
    // The realm signs with its own key again.
    house.stack.keycloak("DELETE", &format!("components/{new}"), None).await;
}

/// A new RSA key that goes before those of lower priority; its id.
async fn add(house: &House<'_>, name: &str, priority: &str) -> String {
    // One that an interrupted run has left behind.
    let known = house.stack.keycloak("GET", KEYS, None).await;
    for left in known.as_array().into_iter().flatten().filter(|key| key["name"] == name) {
        let id = left["id"].as_str().unwrap_or_default();
        house.stack.keycloak("DELETE", &format!("components/{id}"), None).await;
    }
    let parent = known[0]["parentId"].clone();
    // Keycloak would take seconds to make one.
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("an RSA key");
    let key = json!({
        "name": name, "providerId": "rsa", "providerType": "org.keycloak.keys.KeyProvider", "parentId": parent,
        "config": {
            "priority": [priority], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"],
            "privateKey": [pair.serialize_pem()],
        },
    });
    house.stack.keycloak("POST", "components", Some(&key)).await;
    let known: Value = house.stack.keycloak("GET", KEYS, None).await;
    let made = known.as_array().into_iter().flatten().find(|key| key["name"] == name);
    made.and_then(|key| key["id"].as_str()).expect("the key that was added").to_owned()
}

/// It signs no more; what it signed is still good.
async fn passive(house: &House<'_>, id: &str) {
    let mut key = house.stack.keycloak("GET", &format!("components/{id}"), None).await;
    key["config"]["active"] = json!(["false"]);
    house.stack.keycloak("PUT", &format!("components/{id}"), Some(&key)).await;
}

/// The key that signed a token.
fn kid(token: &str) -> String {
    let header = jsonwebtoken::decode_header(token).expect("a JWT");
    header.kid.unwrap_or_default()
}
