//! Tokens that only their holder may use: bound to a key (RFC 9449; TOK-62 … TOK-66), bound to a certificate (RFC 8705;
//! TOK-60, TOK-61), of servers that really bind them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::house::{Change, House};
use crate::proof::{Holder, Proof};
use crate::support::{Answer, Ask};

const SCOPE: &str = "system/Patient.rs";

/// A key or certificate of one's own opens the gateway, and nothing else does.
pub async fn all(house: &mut House<'_>) {
    let tls = format!(
        ", client_certificates = \"optional\", client_ca = \"{}/ca.pem\"",
        house.stack.setting("TLS_FOLDER")
    );
    house.change(Change { tls: &tls, ..Change::NONE });
    let answer = house.client.ask("GET", "/.well-known/oauth-protected-resource/fhir").send().await;
    answer.is(200).holds("\"tls_client_certificate_bound_access_tokens\":true");
    keys(house).await;
    certificates(house).await;
}

/// A token that is bound to a key, and the key.
struct Bound<'h> {
    house: &'h House<'h>,
    token: String,
    holder: Holder,
    words: &'static str,
}

impl<'h> Bound<'h> {
    /// At Keycloak, whose tokens are signed.
    async fn signed(house: &'h House<'h>, algorithm: Algorithm, words: &'static str) -> Self {
        let holder = Holder::new(algorithm);
        let client = house.stack.setting("DPOP_CLIENT");
        let token = house.stack.bound_to_key("KEYCLOAK_TOKEN_URL", client, SCOPE, &holder).await;
        Self { house, token, holder, words }
    }

    /// At oidc-provider, whose tokens are opaque: introspection tells what they are bound to.
    async fn opaque(house: &'h House<'h>) -> Self {
        let holder = Holder::new(Algorithm::ES256);
        let token = house.stack.bound_to_key("OIDC_TOKEN_URL", "opaque-dpop", SCOPE, &holder).await;
        Self { house, token, holder, words: "opaque" }
    }

    fn proof(&self, method: &str, target: &str, change: impl FnOnce(&mut Proof)) -> String {
        let url = format!("{}/{target}", self.house.client.base());
        self.holder.proof(method, &url, Some(&self.token), change)
    }

    fn ask(&self, method: &str, target: &str, words: &str) -> Ask {
        let asked = self.house.client.ask(method, target);
        asked.token("DPoP", &self.token).with(&format!("{}, {words}", self.words))
    }

    async fn read(&self, proof: &str, words: &str) -> Answer {
        self.ask("GET", "Patient/pat-in", words).field("dpop", proof).send().await
    }

    /// A proof of the request's own opens; without it, or as a bearer token, the token does not.
    async fn holds(&self) {
        let proof = || self.proof("GET", "Patient/pat-in", |_| ());
        self.read(&proof(), "own key").await.is(200).holds("Inwood");
        let search = self.ask("GET", "Patient?family=Inwood", "a query is no part of `htu`");
        let search = search.field("dpop", &self.proof("GET", "Patient", |_| ()));
        search.send().await.is(200).holds("Inwood");
        let search = self.ask("POST", "Patient/_search", "POST");
        let search = search.body("application/x-www-form-urlencoded", "family=Inwood");
        let search = search.field("dpop", &self.proof("POST", "Patient/_search", |_| ()));
        search.send().await.is(200).holds("Inwood");

        let bearer = || self.house.client.ask("GET", "Patient/pat-in").bearer(&self.token).with(self.words);
        let answer = bearer().with("as Bearer").send().await;
        challenged(&answer, "invalid_token", "token_bound");
        let answer = bearer().with("as Bearer, beside a proof").field("dpop", &proof()).send().await;
        challenged(&answer, "invalid_token", "token_bound");
        let answer = self.ask("GET", "Patient/pat-in", "no proof").send().await;
        challenged(&answer, "invalid_dpop_proof", "dpop_proof_missing");
        let two = self.ask("GET", "Patient/pat-in", "two proofs").field("dpop", &proof());
        let answer = two.field("dpop", &proof()).send().await;
        challenged(&answer, "invalid_dpop_proof", "dpop_proof_missing");

        let other = Holder::new(Algorithm::ES256);
        let url = format!("{}/Patient/pat-in", self.house.client.base());
        let answer = self.read(&other.proof("GET", &url, Some(&self.token), |_| ()), "another key").await;
        answer.refused(401, "dpop_proof_key").has("www-authenticate", "DPoP ");
        self.once(&proof()).await;
    }

    /// TOK-64: a proof counts once, also when it comes several times at the same moment.
    async fn once(&self, proof: &str) {
        let read = || self.read(proof, "the same proof");
        let (a, b, c, d) = tokio::join!(read(), read(), read(), read());
        let answers = [a, b, c, d];
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        if served != 1 {
            let got: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            answers[0].wrong(&format!("one of four answers to one proof to be 200, not {got:?}"));
        }
        let answer = self.read(proof, "replayed").await;
        challenged(&answer, "invalid_dpop_proof", "dpop_proof_replayed");
    }
}

/// What spoils a proof that is good otherwise, and how.
type Spoiled = (&'static str, fn(&mut Proof), &'static str);

/// RFC 9449 §4.3.
const SPOILED: [Spoiled; 16] = [
    ("method of another request", |it| it.claims["htm"] = json!("POST"), "dpop_proof_method"),
    ("method in small letters", |it| it.claims["htm"] = json!("get"), "dpop_proof_method"),
    ("no method", |it| without(it, "htm"), "dpop_proof_malformed"),
    ("another resource", |it| it.claims["htu"] = json!(OTHER[0]), "dpop_proof_url"),
    ("another host", |it| it.claims["htu"] = json!(OTHER[1]), "dpop_proof_url"),
    ("the backend's URL", |it| it.claims["htu"] = json!(OTHER[2]), "dpop_proof_url"),
    ("hash of another token", |it| it.claims["ath"] = json!(OTHER[3]), "dpop_proof_token"),
    ("no hash of the token", |it| without(it, "ath"), "dpop_proof_malformed"),
    ("no jti", |it| without(it, "jti"), "dpop_proof_malformed"),
    ("ten minutes old", |it| moved(it, -600), "dpop_proof_time"),
    ("of in ten minutes", |it| moved(it, 600), "dpop_proof_time"),
    ("time as text", |it| it.claims["iat"] = json!(it.claims["iat"].to_string()), "dpop_proof_malformed"),
    ("another type", |it| it.header["typ"] = json!("JWT"), "dpop_proof_malformed"),
    ("alg none", |it| it.header["alg"] = json!("none"), "dpop_proof_malformed"),
    ("a private key in it", |it| it.header["jwk"]["d"] = json!("AAAA"), "dpop_proof_malformed"),
    ("a critical extension", |it| it.header["crit"] = json!(["exp"]), "dpop_proof_malformed"),
];

/// URLs and a hash that belong to other requests.
const OTHER: [&str; 4] = [
    "https://localhost:18443/fhir/Patient/pat-out",
    "https://evil.example/fhir/Patient/pat-in",
    "http://127.0.0.1:18080/fhir/Patient/pat-in",
    "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
];

fn moved(proof: &mut Proof, seconds: i64) {
    proof.claims["iat"] = json!(proof.claims["iat"].as_i64().unwrap_or_default() + seconds);
}

fn without(proof: &mut Proof, claim: &str) {
    proof.claims.as_object_mut().expect("claims").remove(claim);
}

/// TOK-62 … TOK-66.
async fn keys(house: &House<'_>) {
    let all = [
        Bound::signed(house, Algorithm::ES256, "ES256").await,
        Bound::signed(house, Algorithm::EdDSA, "EdDSA").await,
        Bound::signed(house, Algorithm::RS256, "RS256").await,
        Bound::opaque(house).await,
    ];
    for bound in &all {
        if let Some(claims) = bound.token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        {
            let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
            let fits = claims["cnf"]["jkt"] == bound.holder.thumbprint().as_str();
            house
                .findings
                .check(fits, format!("Keycloak bound a token to another key than the proof's: {claims}"));
        }
        bound.holds().await;
    }
    let bound = &all[0];
    for (words, spoil, reason) in SPOILED {
        let proof = bound.proof("GET", "Patient/pat-in", spoil);
        challenged(&bound.read(&proof, words).await, "invalid_dpop_proof", reason);
    }
    let signature = {
        let proof = bound.proof("GET", "Patient/pat-in", |_| ());
        bound.read(&proof, "after bad ones").await.is(200);
        proof.rsplit('.').next().unwrap_or_default().to_owned()
    };
    house.findings.check(!house.gateway.log().contains(&signature), "the log has a proof in it");

    // TOK-66: a token that is bound to nothing is no DPoP token.
    let token = house.stack.jwt(SCOPE).await;
    let unbound = Bound { house, token, holder: Holder::new(Algorithm::ES256), words: "not bound" };
    let proof = unbound.proof("GET", "Patient/pat-in", |_| ());
    unbound
        .read(&proof, "with a proof")
        .await
        .refused(401, "token_not_bound")
        .has("www-authenticate", "DPoP ");
    house.client.read("Patient/pat-in", &unbound.token).await.is(200);
    let answer = house.client.ask("GET", "Patient/pat-in").with("no token").send().await;
    answer.refused(401, "no_credentials");
    let offered = challenges(&answer);
    if !offered.contains("Bearer ") || !offered.contains("DPoP ") || !offered.contains("algs=\"") {
        answer.wrong("challenges for both schemes, with the algorithms of proofs (TOK-66)");
    }
}

/// TOK-60, TOK-61: the certificate of this connection, not one that a header tells of.
async fn certificates(house: &House<'_>) {
    let stack = house.stack;
    let (own, other) =
        (house.showing(&stack.certificate("client")), house.showing(&stack.certificate("other")));
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
    let forged = house.showing(&format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()));
    let client = stack.setting("CERTIFICATE_CLIENT");
    let tokens = [
        ("signed", stack.bound_to_certificate("KEYCLOAK_TLS_TOKEN_URL", client, SCOPE, "client").await),
        (
            "opaque",
            stack.bound_to_certificate("OIDC_TLS_TOKEN_URL", "opaque-certificate", SCOPE, "client").await,
        ),
    ];
    for (words, token) in &tokens {
        for _ in 0..3 {
            let asked = own.ask("GET", "Patient/pat-in").bearer(token).with(words);
            asked.send().await.is(200).holds("Inwood");
        }
        let wrong = [
            (&house.client, "no certificate", "token_certificate_missing"),
            (&other, "another certificate", "token_certificate_mismatch"),
            (&forged, "a self-signed certificate", "token_certificate_mismatch"),
        ];
        for (client, whose, reason) in wrong {
            let asked = client.ask("GET", "Patient/pat-in").bearer(token).with(words);
            let answer = asked.with(whose).send().await;
            answer.refused(401, reason).has("www-authenticate", "Bearer ");
            if !challenges(&answer).contains("error=\"invalid_token\"") {
                answer.wrong("the error invalid_token (RFC 8705 §3)");
            }
        }
        // Nobody in front of this gateway is trusted to tell of certificates.
        let told = der(&stack.certificate("client"));
        let asked = house.client.ask("GET", "Patient/pat-in").bearer(token).with(words);
        let asked = asked.field("client-cert", &format!(":{told}:")).with("certificate in a header");
        asked.send().await.refused(401, "token_certificate_missing");
    }
    let unbound = stack.jwt(SCOPE).await;
    own.ask("GET", "Patient/pat-in").bearer(&unbound).with("not bound, certificate").send().await.is(200);
}

/// The first certificate of a PEM file, as base64 on one line.
fn der(pem: &str) -> String {
    pem.lines().skip(1).take_while(|line| !line.starts_with("-----")).collect()
}

/// All challenges of an answer.
fn challenges(answer: &Answer) -> String {
    let all = answer.headers.get_all("www-authenticate").iter();
    all.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ")
}

/// 401 with a DPoP challenge that has this error.
fn challenged(answer: &Answer, error: &str, reason: &str) {
    answer.refused(401, reason);
    let challenges = challenges(answer);
    let said = challenges.contains("DPoP ") && challenges.contains(&format!("error=\"{error}\""));
    if !said || !challenges.contains("algs=\"") {
        answer.wrong(&format!("a DPoP challenge with algs and the error {error}, not `{challenges}`"));
    }
}
