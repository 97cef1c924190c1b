//! Servers that go away and come back, and a gateway that ends (contract §2, §4, §8; DISC-15, TOK-45, HTTP-15, HTTP-22).

use crate::house::House;

/// Opaque tokens cannot be told while oidc-provider is away.
pub async fn oidc(house: &mut House<'_>) {
    let opaque = house.stack.opaque("system/Patient.r").await;
    let jwt = house.stack.jwt("system/Patient.r").await;
    house.client.read("Patient/pat-in", &opaque).await.is(200);
    house.stack.turn("stop", &["oidc"]);
    let answer =
        house.client.ask("GET", "Patient/pat-in").bearer(&opaque).with("oidc-provider away").send().await;
    answer.refused(503, "issuer_unavailable").has("retry-after", "");
    house.client.ask("GET", "Patient/pat-in").bearer(&jwt).with("oidc-provider away").send().await.is(200);
    house.stack.turn("start", &["oidc"]);
    // It keeps tokens in memory, so the old one is unknown now, and a new one works.
    house
        .client
        .ask("GET", "Patient/pat-in")
        .bearer(&opaque)
        .with("forgotten")
        .send()
        .await
        .refused(401, "token_inactive");
    let opaque = house.stack.opaque("system/Patient.r").await;
    house.client.ask("GET", "Patient/pat-in").bearer(&opaque).with("oidc-provider back").send().await.is(200);
}

/// Keys and documents are kept while Keycloak is away; a gateway that never saw them says 503.
pub async fn keycloak(house: &mut House<'_>) {
    let (findings, client) = (house.findings.clone(), house.client.clone());
    let known = house.stack.jwt("system/Patient.r").await;
    let fresh = house.stack.jwt("system/Patient.rs").await;
    let opaque = house.stack.opaque("system/Patient.r").await;
    client.read("Patient/pat-in", &known).await.is(200);
    client.ask("GET", ".well-known/smart-configuration").send().await.is(200);
    house.stack.turn("stop", &["keycloak"]);
    client.ask("GET", "Patient/pat-in").bearer(&known).with("Keycloak away").send().await.is(200);
    client
        .ask("GET", "Patient/pat-in")
        .bearer(&fresh)
        .with("Keycloak away, token not seen before")
        .send()
        .await
        .is(200);
    client.ask("GET", ".well-known/smart-configuration").with("Keycloak away").send().await.is(200);
    house.gateway.restart(&findings);
    let answer =
        client.ask("GET", "Patient/pat-in").bearer(&known).with("restarted, Keycloak away").send().await;
    answer.refused(503, "issuer_unavailable").has("retry-after", "");
    client.ask("GET", "Patient/pat-in").bearer(&opaque).with("restarted, Keycloak away").send().await.is(200);
    client
        .ask("GET", ".well-known/smart-configuration")
        .with("restarted, Keycloak away")
        .send()
        .await
        .is(503);
    house.stack.turn("start", &["keycloak"]);
    // It is asked again once the pause announced in Retry-After is over.
    let pause = answer.field("retry-after").parse().unwrap_or(1);
    let limit = std::time::Duration::from_secs(pause + 20);
    let begun = std::time::Instant::now();
    loop {
        let answer = client.ask("GET", "Patient/pat-in").bearer(&known).with("Keycloak back").send().await;
        if answer.status != 503 || begun.elapsed() > limit {
            answer.is(200).holds("Inwood");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    client.ask("GET", ".well-known/smart-configuration").with("Keycloak back").send().await.is(200);
}

/// HTTP-22: everything in flight is answered, nothing new is taken, the exit code is 0.
pub async fn shutdown(house: &mut House<'_>) {
    const REQUESTS: usize = 12;
    let token = house.stack.jwt("system/*.rs").await;
    house.client.read("Patient/pat-in", &token).await.is(200);
    let mut flying = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        // Different pages of everything, so that HAPI has work to do.
        let target = format!("Observation?_count=200&_include=*&_sort=-_lastUpdated&code:not=no-{number}");
        let asked = house.client.ask("GET", &target).bearer(&token).with("in flight");
        flying.spawn(async move { asked.send().await });
    }
    // The first answer tells that the others are on their way.
    let first = flying.join_next().await.expect("a request").expect("an answer");
    house.gateway.signal("TERM");
    let mut answers = vec![first];
    while let Some(answer) = flying.join_next().await {
        answers.push(answer.expect("an answer"));
    }
    for answer in &answers {
        answer.is(200).holds("\"searchset\"");
        if let Some(why) = &answer.broken {
            answer.wrong(&format!("a whole answer ({why})"));
        }
    }
    let findings = house.findings.clone();
    house.gateway.ended(&findings);
    house.client.ask("GET", "Patient/pat-in").bearer(&token).with("after the end").send().await.is(0);
    house.gateway.start();
    house.client.ask("GET", "Patient/pat-in").bearer(&token).with("started again").send().await.is(200);
}

/// 502 while HAPI is away, 200 when it is back.
pub async fn hapi(house: &mut House<'_>) {
    let client = house.client.clone();
    let token = house.stack.jwt("system/Patient.cruds").await;
    client.read("Patient/pat-in", &token).await.is(200);
    client.ask("GET", "metadata").send().await.is(200);
    house.stack.turn("stop", &["hapi"]);
    let away = client.ask("GET", "Patient/pat-in").bearer(&token).with("HAPI away").send().await;
    away.refused(502, "backend_unreachable");
    let person = serde_json::json!({"resourceType": "Patient"});
    client.ask("POST", "Patient").bearer(&token).json(&person).with("HAPI away").send().await.is(502);
    client.ask("GET", "Patient/pat-in").with("HAPI away, no token").send().await.is(401);
    client.ask("GET", ".well-known/smart-configuration").with("HAPI away").send().await.is(200);
    client.ask("GET", "metadata").with("HAPI away, kept").send().await.is(200);
    house.stack.turn("start", &["hapi"]);
    let token = house.stack.jwt("system/Patient.r").await;
    client.ask("GET", "Patient/pat-in").bearer(&token).with("HAPI back").send().await.is(200).holds("Inwood");
}
