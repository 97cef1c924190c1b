//! Page links beyond one process: `shared_state.seal_key_file` (SRCH-25).

use std::time::{Duration, Instant};

use pforte::demo::authorization::Claims;

use crate::house::{HOST, House, Plan, free};
use crate::support::{Ask, Client, Gateway};

/// Longest wait for a reload to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
/// The same, written in another form.
const SAME: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const OTHER: &str = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

const SCOPE: &str = "system/Patient.rs";
const SEALED: Plan = Plan {
    backend: "",
    issuer: "",
    tables: "[shared_state]\nseal_key_file = \"seal.key\"",
    secrets: &[("seal.key", KEY)],
};

fn asked(house: &House, client: &Client, target: &str) -> Ask {
    let token = house.claiming(Claims::new(SCOPE).with("client_id", "app-1"));
    client.ask("GET", target).bearer(&token).with(SCOPE)
}

/// The query of the sealed link to the next page.
async fn next(house: &House) -> String {
    let answer = asked(house, &house.client, "Patient?_count=2").send().await;
    answer.is(200);
    let bundle = answer.json();
    let links = bundle["link"].as_array().cloned().unwrap_or_default();
    let next = links.iter().find(|link| link["relation"] == "next");
    let url = next.and_then(|link| link["url"].as_str()).unwrap_or_default();
    let query = url.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
    if !query.starts_with("?_link=") {
        answer.wrong("a sealed link to the next page");
    }
    query
}

/// A link opens at every replica with the key, in whatever form the key is written, and at no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_where_the_key_is() {
    let house = House::open(SEALED).await;
    let link = next(&house).await;
    asked(&house, &house.client, &link).send().await.is(200).only(&["Patient"]);
    let without = "[shared_state]";
    let with = "[shared_state]\nseal_key_file = \"seal.key\"";
    for (name, tables, key, opens) in [
        ("the same key", with, KEY, true),
        ("the same key as base64", with, SAME, true),
        ("another key", with, OTHER, false),
        ("no key file", without, KEY, false),
    ] {
        let at = free();
        // The replica has the public URL of the first; its own port is reached by a name of loopback.
        let listen = format!("listen = \"{at}\"");
        let settings = house.settings(&format!("listen = \"{}\"", house.address), &listen);
        let settings = settings.replacen(with, tables, 1);
        let mut replica = Gateway::run(at, "localhost", &settings, &[("seal.key", key)]);
        let base = format!("https://localhost:{}/fhir", at.port());
        let client = Client::new(&base, at, replica.certificate(), &[], &house.findings);
        let answer = asked(&house, &client, &link).with(name).send().await;
        if opens {
            answer.is(200).only(&["Patient"]).lacks(&format!("localhost:{}", at.port())).holds(HOST);
        } else {
            answer.refused(403, "link_refused");
        }
        replica.close(&client, &house.findings);
    }
    house.close();
}

/// Without a key file a link ends with the process that made it; with one it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_outlives_a_restart_with_the_key() {
    for (plan, opens) in [(SEALED, true), (Plan::default(), false)] {
        let mut house = House::open(plan).await;
        let link = next(&house).await;
        house.gateway.signal("HUP");
        asked(&house, &house.client, &link).with("after SIGHUP").send().await.is(200);
        house.gateway.restart(&house.findings.clone());
        let answer = asked(&house, &house.client, &link).with("after a restart").send().await;
        if opens {
            answer.is(200).only(&["Patient"]);
        } else {
            answer.refused(403, "link_refused");
        }
        house.close();
    }
}

/// HTTP-22: another key in the file is taken without a signal; a bad one is reported and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_taken() {
    let house = House::open(SEALED).await;
    let file = house.gateway.folder.join("seal.key");
    let link = next(&house).await;
    std::fs::write(&file, "no key\n").expect("written");
    let begun = Instant::now();
    while !house.gateway.log().contains("seal_key_file") {
        assert!(begun.elapsed() < PATIENCE, "a bad key is not reported:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked(&house, &house.client, &link).with("bad key in the file").send().await.is(200);
    std::fs::write(&file, OTHER).expect("written");
    let begun = Instant::now();
    while asked(&house, &house.client, &link).send().await.status == 200 {
        assert!(begun.elapsed() < PATIENCE, "the new key is not taken:\n{}", house.gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked(&house, &house.client, &link).with("the old key's link").send().await.refused(403, "link_refused");
    let link = next(&house).await;
    asked(&house, &house.client, &link).with("the new key's link").send().await.is(200);
    house.close();
}
