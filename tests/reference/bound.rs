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
        challenged(&answer, "invalid_token");
        let answer = bearer().with("as Bearer, beside a proof").field("dpop", &proof()).send().await;
        challenged(&answer, "invalid_token");
        let answer = self.ask("GET", "Patient/pat-in", "no proof").send().await;
        challenged(&answer, "invalid_dpop_proof");
        let two = self.ask("GET", "Patient/pat-in", "two proofs").field("dpop", &proof());
        challenged(&two.field("dpop", &proof()).send().await, "invalid_dpop_proof");

        let other = Holder::new(Algorithm::ES256);
        let url = format!("{}/Patient/pat-in", self.house.client.base());
        let answer = self.read(&other.proof("GET", &url, Some(&self.token), |_| ()), "another key").await;
        answer.is(401).has("www-authenticate", "DPoP ");
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
        challenged(&self.read(proof, "replayed").await, "invalid_dpop_proof");
    }
}

/// RFC 9449 §4.3: each of these spoils a proof that is good otherwise.
const SPOILED: [(&str, fn(&mut Proof)); 16] = [
    ("method of another request", |proof| proof.claims["htm"] = json!("POST")),
    ("method in small letters", |proof| proof.claims["htm"] = json!("get")),
    ("no method", |proof| without(proof, "htm")),
    ("another resource", |proof| proof.claims["htu"] = json!("https://localhost:18443/fhir/Patient/pat-out")),
    ("another host", |proof| proof.claims["htu"] = json!("https://evil.example/fhir/Patient/pat-in")),
    ("the backend's URL", |proof| proof.claims["htu"] = json!("http://127.0.0.1:18080/fhir/Patient/pat-in")),
    ("hash of another token", |proof| {
        proof.claims["ath"] = json!("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }),
    ("no hash of the token", |proof| without(proof, "ath")),
    ("no jti", |proof| without(proof, "jti")),
    ("ten minutes old", |proof| {
        proof.claims["iat"] = json!(proof.claims["iat"].as_u64().unwrap_or_default() - 600);
    }),
    ("of in ten minutes", |proof| {
        proof.claims["iat"] = json!(proof.claims["iat"].as_u64().unwrap_or_default() + 600);
    }),
    ("time as text", |proof| proof.claims["iat"] = json!(proof.claims["iat"].to_string())),
    ("another type", |proof| proof.header["typ"] = json!("JWT")),
    ("alg none", |proof| proof.header["alg"] = json!("none")),
    ("a private key in it", |proof| proof.header["jwk"]["d"] = json!("AAAA")),
    ("a critical extension", |proof| proof.header["crit"] = json!(["exp"])),
];

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
    for (words, spoil) in SPOILED {
        let proof = bound.proof("GET", "Patient/pat-in", spoil);
        challenged(&bound.read(&proof, words).await, "invalid_dpop_proof");
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
    unbound.read(&proof, "with a proof").await.is(401).has("www-authenticate", "DPoP ");
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
        for (client, whose) in [(&house.client, "none"), (&other, "another"), (&forged, "a self-signed")] {
            let asked = client.ask("GET", "Patient/pat-in").bearer(token).with(words);
            let answer = asked.with(&format!("{whose} certificate")).send().await;
            answer.is(401).has("www-authenticate", "Bearer ").holds("OperationOutcome");
            if !challenges(&answer).contains("error=\"invalid_token\"") {
                answer.wrong("the error invalid_token (RFC 8705 §3)");
            }
        }
        // Nobody in front of this gateway is trusted to tell of certificates.
        let told = der(&stack.certificate("client"));
        let asked = house.client.ask("GET", "Patient/pat-in").bearer(token).with(words);
        let asked = asked.field("client-cert", &format!(":{told}:")).with("certificate in a header");
        asked.send().await.is(401);
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
fn challenged(answer: &Answer, error: &str) {
    answer.is(401).holds("OperationOutcome");
    let challenges = challenges(answer);
    let said = challenges.contains("DPoP ") && challenges.contains(&format!("error=\"{error}\""));
    if !said || !challenges.contains("algs=\"") {
        answer.wrong(&format!("a DPoP challenge with algs and the error {error}, not `{challenges}`"));
    }
}
