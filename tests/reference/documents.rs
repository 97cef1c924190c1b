//! What needs no token (contract §3): discovery, CapabilityStatement, preflight.

use serde_json::Value;

use crate::house::House;

/// DISC-1 … DISC-20.
pub async fn all(house: &mut House<'_>) {
    discovery(house).await;
    statement(house).await;
    preflight(house).await;
}

async fn discovery(house: &House<'_>) {
    let target = ".well-known/smart-configuration";
    for (accept, suffix) in
        [("*/*", ""), ("text/html", ""), ("application/fhir+xml", ""), ("*/*", "?_format=xml")]
    {
        let asked = house.client.ask("GET", &format!("{target}{suffix}")).field("accept", accept);
        let answer = asked.field("origin", "https://anywhere.example").with(accept).send().await;
        answer.is(200).has("content-type", "application/json").has("etag", "");
        answer.has("access-control-allow-origin", "*");
    }
    let answer = house.client.ask("GET", target).send().await;
    let document = answer.json();
    let expected = [
        ("authorization_endpoint", "KEYCLOAK_AUTHORIZATION_URL"),
        ("token_endpoint", "KEYCLOAK_TOKEN_URL"),
        ("introspection_endpoint", "KEYCLOAK_INTROSPECTION_URL"),
        ("revocation_endpoint", "KEYCLOAK_REVOCATION_URL"),
        ("jwks_uri", "KEYCLOAK_JWKS_URL"),
        ("issuer", "KEYCLOAK_ISSUER"),
    ];
    for (member, setting) in expected {
        if document[member].as_str() != Some(house.stack.setting(setting)) {
            answer.wrong(&format!("`{member}` to be {}", house.stack.setting(setting)));
        }
    }
    // DISC-8: Keycloak announces `plain`; the gateway does not.
    if document["code_challenge_methods_supported"] != serde_json::json!(["S256"]) {
        answer.wrong("`code_challenge_methods_supported` to be S256 only");
    }
    for capability in ["permission-v2", "permission-v1"] {
        let listed =
            document["capabilities"].as_array().is_some_and(|all| all.iter().any(|it| it == capability));
        if !listed {
            answer.wrong(&format!("`capabilities` to have {capability}"));
        }
    }
    let again = house.client.ask("GET", target).field("if-none-match", answer.field("etag")).send().await;
    again.is(304);
    house.client.ask("HEAD", target).send().await.is(200);
    house.client.ask("POST", target).body("text/plain", "x").send().await.is(405).has("allow", "");

    let answer = house.client.ask("GET", "/.well-known/oauth-protected-resource/fhir").send().await;
    answer.is(200).holds(house.client.base()).holds(house.stack.setting("KEYCLOAK_ISSUER"));
    answer.holds(house.stack.setting("OIDC_ISSUER"));
    // RFC 9728 §2: proofs are checked, and certificates are not asked for with these settings.
    answer.holds("\"dpop_signing_alg_values_supported\":[\"ES256\"");
    answer.holds("\"tls_client_certificate_bound_access_tokens\":false");
}

/// DISC-17 … DISC-19.
async fn statement(house: &House<'_>) {
    let answer = house.client.ask("GET", "metadata").field("origin", "https://anywhere.example").send().await;
    answer.is(200).has("content-type", "application/fhir+json").has("access-control-allow-origin", "*");
    let statement = answer.json();
    if statement["resourceType"] != "CapabilityStatement"
        || statement["implementation"]["url"] != house.client.base()
    {
        answer.wrong("a CapabilityStatement of the public base");
    }
    let security = &statement["rest"][0]["security"];
    if security["cors"] != Value::Bool(true) || !security["service"].to_string().contains("SMART-on-FHIR") {
        answer.wrong("rest.security with cors and SMART-on-FHIR");
    }
    // Always refused, so not announced (DISC-19, OPS-6).
    answer.lacks("\"graphql\"").lacks("$expunge").lacks("\"reindex\"");
    let asked = house.client.ask("GET", "metadata").field("accept", "application/fhir+xml");
    let answer = asked.with("XML").send().await;
    answer.is(200).has("content-type", "application/fhir+xml").holds("<CapabilityStatement");
    answer.holds(house.client.base()).holds("SMART-on-FHIR");
    house
        .client
        .ask("GET", "metadata?_format=xml")
        .send()
        .await
        .is(200)
        .has("content-type", "application/fhir+xml");
    house.client.ask("HEAD", "metadata").send().await.is(200);
    house.client.ask("DELETE", "metadata").send().await.one_of(&[404, 405]);
}

/// DISC-14, HTTP-20: answered here, for listed origins only.
async fn preflight(house: &House<'_>) {
    let ask = |target: &str, origin: &str| {
        let asked = house.client.ask("OPTIONS", target).field("origin", origin);
        asked
            .field("access-control-request-method", "GET")
            .field("access-control-request-headers", "authorization")
    };
    let answer = ask("Patient/pat-in", "https://app.example").send().await;
    answer.one_of(&[200, 204]).has("access-control-allow-origin", "https://app.example");
    if !answer.field("access-control-allow-headers").to_lowercase().contains("authorization") {
        answer.wrong("`authorization` among access-control-allow-headers");
    }
    let answer = ask("Patient/pat-in", "https://evil.example").with("foreign origin").send().await;
    answer.without("access-control-allow-origin");
    let answer = ask(".well-known/smart-configuration", "https://evil.example").send().await;
    answer.one_of(&[200, 204]).has("access-control-allow-origin", "");
    let asked = house.client.ask("GET", "Patient/pat-in").field("origin", "https://app.example");
    asked
        .with("no token")
        .send()
        .await
        .refused(401, "no_credentials")
        .has("access-control-allow-origin", "https://app.example");
}
