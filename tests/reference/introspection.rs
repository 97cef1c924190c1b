//! How the gateway asks about tokens: by private_key_jwt, by certificate, with answers that are signed (TOK-40 … TOK-48).

use jsonwebtoken::Algorithm;

use crate::house::{Change, House};
use crate::proof::Holder;
use crate::stack::Stack;

/// A way to authenticate, or to be answered.
struct Way {
    words: &'static str,
    /// Keys for Keycloak.
    keycloak: Option<String>,
    /// Keys for oidc-provider.
    oidc: Option<String>,
    /// What a good token of each then gets.
    status: u16,
}

/// Every way to ask, and those that must fail.
pub async fn all(house: &mut House<'_>) {
    for way in ways(house.stack) {
        house.change(Change { keycloak: way.keycloak.as_deref(), oidc: way.oidc.as_deref(), ..Change::NONE });
        let (jwt, opaque) =
            (house.stack.jwt("system/Patient.r").await, house.stack.opaque("system/Patient.r").await);
        let asked =
            [(&jwt, way.keycloak.is_some(), "Keycloak"), (&opaque, way.oidc.is_some(), "oidc-provider")];
        for (token, _, server) in asked.iter().filter(|(_, asked, _)| *asked) {
            let asked = house.client.ask("GET", "Patient/pat-in").bearer(token);
            let answer = asked.with(&format!("{}, {server}", way.words)).send().await;
            answer.is(way.status);
            if way.status == 503 {
                // TOK-45: the gateway's own trouble is no fault of the token.
                answer.without("www-authenticate").has("retry-after", "");
            }
        }
        if way.oidc.is_some() && way.status == 200 {
            let unknown = house.client.ask("GET", "Patient/pat-in").bearer("V2h5IGRpZCB5b3UgZGVjb2RlIHRoaXM");
            unknown.with(way.words).send().await.refused(401, "token_inactive");
            bound(house, way.words).await;
        }
    }
}

/// What a token is bound to comes with the answer about it.
async fn bound(house: &House<'_>, words: &str) {
    let holder = Holder::new(Algorithm::ES256);
    let token = house.stack.bound_to_key("OIDC_TOKEN_URL", "opaque-dpop", "system/Patient.r", &holder).await;
    let url = format!("{}/Patient/pat-in", house.client.base());
    let asked = house.client.ask("GET", "Patient/pat-in").token("DPoP", &token).with(words);
    asked.field("dpop", &holder.proof("GET", &url, Some(&token), |_| ())).send().await.is(200);
    let asked = house.client.ask("GET", "Patient/pat-in").bearer(&token).with(words);
    asked.with("bound, as Bearer").send().await.is(401);
}

fn ways(stack: &Stack) -> Vec<Way> {
    let key = |file: &str, kid: &str| {
        format!(
            "client = {{ id = \"{}\", auth = \"private_key_jwt\", key_file = \"{}\", kid = \"{}\" }}",
            stack.setting("INTROSPECTION_JWT_CLIENT"),
            stack.setting(file),
            stack.setting(kid),
        )
    };
    let own = key("INTROSPECTION_JWT_KEY", "INTROSPECTION_JWT_KID");
    let foreign = key("BACKEND_SERVICES_KEY", "BACKEND_SERVICES_KID");
    let certificate = |name: &str| {
        let folder = stack.setting("TLS_FOLDER");
        format!(
            "introspection_url = \"{}\"\nca = \"{folder}/ca.pem\"\nclient = {{ id = \"{}\", auth = \"tls\", \
             certificate = \"{folder}/{name}.pem\", key_file = \"{folder}/{name}.key\" }}",
            stack.setting("KEYCLOAK_TLS_INTROSPECTION_URL"),
            stack.setting("INTROSPECTION_TLS_CLIENT"),
        )
    };
    let secret = |id: &str, auth: &str, file: &str| {
        format!("client = {{ id = \"{id}\", auth = \"{auth}\", secret_file = \"{file}\" }}")
    };
    let signed = |id: &str, file: &str| {
        format!("{}\nintrospection_response = \"jwt\"", secret(id, "client_secret_basic", file))
    };
    let asks = |client: &str| {
        Some(format!("validation = \"introspection\"\nintrospection_cache = \"0s\"\n{client}"))
    };
    let agree = |client: &str| Some(format!("validation = \"both\"\nintrospection_cache = \"0s\"\n{client}"));
    let gateway = stack.setting("INTROSPECTION_CLIENT");
    let signs = stack.setting("INTROSPECTION_SIGNED_CLIENT");
    let post = secret(gateway, "client_secret_post", "secret");
    let way = |words, keycloak, oidc, status| Way { words, keycloak, oidc, status };
    vec![
        way("client_secret_post", agree(&post), Some(post), 200),
        way("private_key_jwt", asks(&own), Some(own.clone()), 200),
        way("private_key_jwt, both", agree(&own), None, 200),
        way("private_key_jwt, a key that is not registered", asks(&foreign), Some(foreign), 503),
        way("certificate", asks(&certificate("pforte")), None, 200),
        way("certificate of somebody else", asks(&certificate("other")), None, 503),
        way("signed answers", None, Some(signed(signs, "signed-secret")), 200),
        way("signed answers, by RS256", None, Some(signed(gateway, "secret")), 200),
        way("plain answers where signed ones are due", asks(&signed(gateway, "secret")), None, 503),
    ]
}
