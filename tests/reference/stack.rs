//! The reference stack (`deploy/reference`), through its own script, and its tokens.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::proof::Holder;

/// HAPI FHIR, Keycloak and oidc-provider, running.
pub struct Stack {
    settings: HashMap<String, String>,
    http: reqwest::Client,
    ran_before: bool,
    /// The administrator's token, and since when.
    admin: Mutex<Option<(String, Instant)>>,
}

impl Stack {
    /// Starts what does not run.
    pub fn start() -> Result<Self, String> {
        let ran_before = script("stack", &["status"], Stdio::null()).is_ok();
        script("stack", &["start"], Stdio::inherit())?;
        let listed = script("stack", &["env"], Stdio::inherit())?;
        let pairs = listed.lines().filter_map(|line| line.split_once('='));
        let settings = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        Ok(Self { settings, http, ran_before, admin: Mutex::default() })
    }

    /// Starts again what a failed part left stopped.
    pub fn mend(&self) {
        self.turn("start", &[]);
    }

    /// Stops everything, unless it ran before.
    pub fn leave(&self) {
        if !self.ran_before {
            self.turn("stop", &[]);
        }
    }

    /// `start` or `stop` with these parts.
    pub fn turn(&self, verb: &str, parts: &[&str]) {
        let arguments: Vec<&str> = std::iter::once(verb).chain(parts.iter().copied()).collect();
        script("stack", &arguments, Stdio::inherit()).expect("the stack obeys");
    }

    /// One of the script's settings.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_else(|| panic!("`stack env` has no {name}"))
    }

    /// The backend asked directly, past the gateway: what is really there.
    pub async fn hapi(&self, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/{target}", self.setting("HAPI_URL"));
        let method = http::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut asked = self.http.request(method, &url).header("cache-control", "no-cache");
        if let Some(body) = body {
            asked = asked.header("content-type", "application/fhir+json").body(body.to_string());
        }
        let answer = asked.send().await.expect("HAPI answers");
        let status = answer.status().as_u16();
        let text = answer.bytes().await.expect("HAPI answers to the end");
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    /// A form to an endpoint of an authorization server.
    pub async fn form(&self, url: &str, client: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let secret = format!("{client}-secret");
        let asked = self.http.post(url).basic_auth(client, Some(secret)).form(fields);
        let answer = asked.send().await.expect("the authorization server answers");
        let status = answer.status().as_u16();
        let text = answer.bytes().await.expect("an answer to its end");
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    /// The administrator's interface of Keycloak, for the realm of the stack.
    pub async fn keycloak(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let token = self.administrator().await;
        let method = http::Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}/admin/realms/pforte/{path}", self.setting("KEYCLOAK_URL"));
        let mut asked = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            asked = asked.header("content-type", "application/json").body(body.to_string());
        }
        let answer = asked.send().await.expect("Keycloak answers");
        assert!(answer.status().is_success(), "Keycloak's {path} answered {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.expect("an answer to its end")).unwrap_or(Value::Null)
    }

    /// A token for it, which lives for a minute; logging in takes Keycloak a second of hashing.
    async fn administrator(&self) -> String {
        let known = self.admin.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((token, _)) = known.filter(|(_, since)| since.elapsed() < Duration::from_secs(30)) {
            return token;
        }
        let login = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", self.setting("KEYCLOAK_ADMIN")),
            ("password", self.setting("KEYCLOAK_ADMIN_PASSWORD")),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.setting("KEYCLOAK_URL"));
        let since = Instant::now();
        let answer = self.http.post(url).form(&login).send().await.expect("Keycloak answers");
        let token: Value = serde_json::from_slice(&answer.bytes().await.expect("a token")).expect("JSON");
        let token = token["access_token"].as_str().unwrap_or_default().to_owned();
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), since));
        token
    }

    /// An opaque access token of oidc-provider, which knows every well-formed scope.
    pub async fn opaque(&self, scope: &str) -> String {
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        let (status, answer) = self.form(self.setting("OIDC_TOKEN_URL"), "opaque-client", &fields).await;
        assert_eq!(status, 200, "oidc-provider refused a token for `{scope}`: {answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// A JWT of Keycloak for a client with a secret, when the realm has this scope.
    pub async fn jwt_of(&self, client: &str, scope: &str) -> Option<String> {
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        let (status, answer) = self.form(self.setting("KEYCLOAK_TOKEN_URL"), client, &fields).await;
        assert!(status == 200 || answer["error"] == "invalid_scope", "Keycloak answered {status}: {answer}");
        answer["access_token"].as_str().map(str::to_owned)
    }

    /// A JWT of Keycloak.
    pub async fn jwt(&self, scope: &str) -> String {
        let token = self.jwt_of("system-client", scope).await;
        token.unwrap_or_else(|| panic!("the realm does not have the scope `{scope}`"))
    }

    /// A token that only this key may use (RFC 9449 §5): the name of the endpoint's setting, and a client with a secret.
    pub async fn bound_to_key(&self, endpoint: &str, client: &str, scope: &str, holder: &Holder) -> String {
        let url = self.setting(endpoint);
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        let asked = self.http.post(url).basic_auth(client, Some(format!("{client}-secret"))).form(&fields);
        let asked = asked.header("dpop", holder.proof("POST", url, None, |_| ()));
        granted(asked, "DPoP").await
    }

    /// A token that only this certificate may use (RFC 8705 §3).
    pub async fn bound_to_certificate(
        &self,
        endpoint: &str,
        client: &str,
        scope: &str,
        name: &str,
    ) -> String {
        let read = |name: &str| self.file("TLS_FOLDER", name);
        let authority = reqwest::Certificate::from_pem(read("ca.pem").as_bytes()).expect("the stack's CA");
        let own = reqwest::Identity::from_pem(self.certificate(name).as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).identity(own);
        let http = http.build().expect("a client with a certificate");
        let fields = [("grant_type", "client_credentials"), ("scope", scope)];
        let asked = http.post(self.setting(endpoint)).basic_auth(client, Some(format!("{client}-secret")));
        granted(asked.form(&fields), "Bearer").await
    }

    /// A certificate of the stack and its key, PEM.
    pub fn certificate(&self, name: &str) -> String {
        let read = |suffix: &str| self.file("TLS_FOLDER", &format!("{name}.{suffix}"));
        format!("{}{}", read("pem"), read("key"))
    }

    #[expect(clippy::disallowed_methods, reason = "a file that the stack made for its tests")]
    fn file(&self, folder: &str, name: &str) -> String {
        let path = Path::new(self.setting(folder)).join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A JWT that a backend service got with its key (private_key_jwt).
    pub fn signed(&self, scope: &str) -> String {
        let answer =
            script("stack", &["token", self.setting("BACKEND_SERVICES_CLIENT"), scope], Stdio::inherit());
        access_token(&answer.expect("a token by private_key_jwt"))
    }

    /// A token by authorization code and PKCE.
    pub fn login(&self, arguments: &[&str]) -> String {
        access_token(&script("login.py", arguments, Stdio::inherit()).expect("a token by authorization code"))
    }
}

/// Tokens by scope, so that a table may name one often: of Keycloak when its realm has the scope, of oidc-provider
/// otherwise.
pub struct Tokens<'a> {
    stack: &'a Stack,
    known: Mutex<HashMap<String, String>>,
}

impl<'a> Tokens<'a> {
    /// None yet.
    pub fn of(stack: &'a Stack) -> Self {
        Self { stack, known: Mutex::default() }
    }

    /// One with this scope.
    pub async fn get(&self, scope: &str) -> String {
        if let Some(token) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(scope) {
            return token.clone();
        }
        let token = match self.stack.jwt_of("system-client", scope).await {
            Some(token) => token,
            None => self.stack.opaque(scope).await,
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), token.clone());
        token
    }
}

/// Tokens of people by authorization code and PKCE, so that a part logs each in once for each scope.
pub struct Logins<'a> {
    stack: &'a Stack,
    known: Mutex<HashMap<Vec<String>, String>>,
}

impl<'a> Logins<'a> {
    /// Nobody yet.
    pub fn of(stack: &'a Stack) -> Self {
        Self { stack, known: Mutex::default() }
    }

    /// A JWT of Keycloak, whose realm must have each of these scopes.
    pub fn jwt(&self, user: &str, scope: &str) -> String {
        self.kept(&["--user", user, "--scope", scope])
    }

    /// An opaque token of oidc-provider, which knows every well-formed scope, for another client.
    pub fn opaque(&self, user: &str, scope: &str) -> String {
        self.kept(&["--server", "oidc", "--client", "opaque-app", "--user", user, "--scope", scope])
    }

    fn kept(&self, arguments: &[&str]) -> String {
        let key: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert_with(|| self.stack.login(arguments)).clone()
    }
}

/// Sends a request for a token, which must be granted.
async fn granted(asked: reqwest::RequestBuilder, kind: &str) -> String {
    let answer = asked.send().await.expect("the authorization server answers");
    let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("a token")).expect("JSON");
    assert_eq!(answer["token_type"], kind, "a bound token: {answer}");
    answer["access_token"].as_str().expect("a token").to_owned()
}

fn access_token(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).expect("a token response");
    answer["access_token"].as_str().expect("an access token").to_owned()
}

/// Runs a script of the stack; what it prints, or what to do about its failure.
fn script(name: &str, arguments: &[&str], progress: Stdio) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/reference").join(name);
    let ran =
        Command::new("python3").arg(&path).args(arguments).stdin(Stdio::null()).stderr(progress).output();
    let ran = ran.map_err(|error| format!("python3 {}: {error}", path.display()))?;
    if !ran.status.success() {
        return Err(format!("{} {}: {}", path.display(), arguments.join(" "), ran.status));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
