//! The authorization endpoint: request, login, patient picker, redirect (RFC 6749 §4.1, RFC 7636, SMART App Launch 2.2).

use http::{Method, Response, StatusCode};
use url::Url;

use super::people::{Client, PASSWORD, Person};
use super::{Shared, pages};
use crate::demo::chance;
use crate::demo::serving::{Body, Received, full, pairs, with_headers};

/// How long a code may be exchanged, in seconds (RFC 6749 §4.1.2 recommends at most ten minutes).
const CODE_SECONDS: i64 = 60;

/// How long a login may take, in seconds.
const FLOW_SECONDS: i64 = 900;

/// A request that was found in order, on its way to a code.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) state: String,
    pub(super) scope: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) launch: Option<Launch>,
    pub(super) person: Option<Person>,
    expires: i64,
}

/// The context of a launch.
#[derive(Clone, Debug, Default)]
pub(super) struct Launch {
    pub(super) patient: String,
    pub(super) encounter: Option<String>,
}

/// A code and what it stands for. It stays known after its use, so that a second use is noticed.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) flow: Flow,
    pub(super) expires: i64,
    pub(super) used: bool,
    /// Tokens given out for it: revoked when it comes a second time (RFC 6749 §4.1.2).
    pub(super) tokens: Vec<String>,
}

impl Flow {
    pub(super) fn asks(&self, scope: &str) -> bool {
        self.scope.iter().any(|asked| asked == scope)
    }

    fn needs_patient(&self) -> bool {
        self.launch.is_none()
            && self.scope.iter().any(|scope| scope == "launch/patient" || scope.starts_with("patient/"))
    }
}

pub(super) fn answer(shared: &Shared, received: &Received) -> Response<Body> {
    match (received.path(), &received.method) {
        (path, &Method::POST) if path.ends_with("/login") => login(shared, &pairs(&received.body)),
        (path, &Method::POST) if path.ends_with("/patient") => picked(shared, &pairs(&received.body)),
        (path, &Method::POST) if path.ends_with("/authorize") => begin(shared, &pairs(&received.body)),
        (path, &Method::GET) if path.ends_with("/authorize") => {
            begin(shared, &pairs(received.query().as_bytes()))
        }
        _ => pages::html(StatusCode::NOT_FOUND, &pages::message("Not found", "There is nothing here.")),
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn begin(shared: &Shared, pairs: &[(String, String)]) -> Response<Body> {
    // Until client and redirect URI are known to be good, nobody is sent anywhere: RFC 6749 §4.1.2.1.
    let client =
        value(pairs, "client_id").and_then(|id| shared.clients.iter().find(|client| client.id == id));
    let Some(client) = client else {
        return bad("The client is not known.");
    };
    let redirect_uri =
        value(pairs, "redirect_uri").filter(|uri| client.redirect_uris.iter().any(|known| known == uri));
    let Some(redirect_uri) = redirect_uri else {
        return bad("The redirect URI is not registered for this client.");
    };
    match flow(shared, pairs, client, redirect_uri) {
        Ok(flow) => {
            let name = chance::secret();
            let page = pages::login(shared, &name, client, &flow, None);
            shared.memory().flows.insert(name, flow);
            pages::html(StatusCode::OK, &page)
        }
        Err((error, text)) => {
            let state = value(pairs, "state").unwrap_or_default();
            back(shared, redirect_uri, &[("error", error), ("error_description", text), ("state", state)])
        }
    }
}

fn bad(text: &str) -> Response<Body> {
    pages::html(StatusCode::BAD_REQUEST, &pages::message("This login cannot start", text))
}

fn flow(
    shared: &Shared,
    pairs: &[(String, String)],
    client: &Client,
    redirect_uri: &str,
) -> Result<Flow, (&'static str, &'static str)> {
    let invalid = |text| Err(("invalid_request", text));
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two.first() == two.last()) {
        return invalid("a parameter is repeated");
    }
    if value(pairs, "response_type") != Some("code") {
        return Err(("unsupported_response_type", "response_type must be code"));
    }
    if value(pairs, "code_challenge_method") != Some("S256") {
        return invalid("code_challenge_method must be S256");
    }
    let Some(challenge) = value(pairs, "code_challenge").filter(|text| text.len() == 43) else {
        return invalid("code_challenge must be a SHA-256 in base64url");
    };
    let Some(state) = value(pairs, "state").filter(|state| !state.is_empty()) else {
        return invalid("state is missing");
    };
    let memory = shared.memory();
    let aud = value(pairs, "aud").map(|aud| aud.trim_end_matches('/'));
    if aud != Some(memory.audience.trim_end_matches('/')) {
        return invalid("aud is not the FHIR base this server issues tokens for");
    }
    let asked = value(pairs, "scope").unwrap_or_default().split_whitespace();
    // Nobody logs in for a system: those scopes are for client credentials.
    let scope: Vec<String> = asked.filter(|scope| !scope.starts_with("system/")).map(str::to_owned).collect();
    if scope.is_empty() {
        return Err(("invalid_scope", "no scope is left that can be granted"));
    }
    let launch = match value(pairs, "launch") {
        None => None,
        Some(name) => match memory.launches.get(name) {
            Some(launch) => Some(launch.clone()),
            None => return invalid("the launch is not known"),
        },
    };
    Ok(Flow {
        client: client.id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        challenge: challenge.to_owned(),
        state: state.to_owned(),
        scope,
        nonce: value(pairs, "nonce").map(str::to_owned),
        launch,
        person: None,
        expires: chance::now().as_second() + FLOW_SECONDS,
    })
}

/// Takes a flow that is still good.
fn taken(shared: &Shared, form: &[(String, String)]) -> Option<(String, Flow)> {
    let name = value(form, "flow")?;
    let flow = shared.memory().flows.remove(name)?;
    (flow.expires >= chance::now().as_second()).then(|| (name.to_owned(), flow))
}

fn login(shared: &Shared, form: &[(String, String)]) -> Response<Body> {
    let Some((name, mut flow)) = taken(shared, form) else {
        return bad("This login is over. Go back to the app and start again.");
    };
    if value(form, "decision") == Some("deny") {
        let state = flow.state.clone();
        return back(shared, &flow.redirect_uri, &[("error", "access_denied"), ("state", &state)]);
    }
    let person = shared.people.iter().find(|person| value(form, "user") == Some(person.name.as_str()));
    let Some(person) = person.filter(|_| value(form, "password") == Some(PASSWORD)) else {
        let client = shared.clients.iter().find(|client| client.id == flow.client);
        let page = client.map(|client| {
            pages::login(shared, &name, client, &flow, Some("User name or password is wrong."))
        });
        shared.memory().flows.insert(name, flow);
        return pages::html(StatusCode::UNAUTHORIZED, &page.unwrap_or_default());
    };
    flow.person = Some(person.clone());
    if !flow.needs_patient() {
        return finish(shared, flow);
    }
    if let Some(patient) = person.as_patient() {
        flow.launch = Some(launch_of(shared, patient));
        return finish(shared, flow);
    }
    let page = pages::picker(shared, &name, person);
    shared.memory().flows.insert(name, flow);
    pages::html(StatusCode::OK, &page)
}

fn launch_of(shared: &Shared, patient: &str) -> Launch {
    let known = shared.patients.iter().find(|known| known.id == patient);
    Launch { patient: patient.to_owned(), encounter: known.and_then(|known| known.encounter.clone()) }
}

fn picked(shared: &Shared, form: &[(String, String)]) -> Response<Body> {
    let Some((_, mut flow)) = taken(shared, form).filter(|(_, flow)| flow.person.is_some()) else {
        return bad("This login is over. Go back to the app and start again.");
    };
    let known = shared.patients.iter().find(|patient| value(form, "patient") == Some(patient.id.as_str()));
    let Some(patient) = known else {
        return bad("This patient cannot be picked.");
    };
    flow.launch = Some(launch_of(shared, &patient.id));
    finish(shared, flow)
}

fn finish(shared: &Shared, flow: Flow) -> Response<Body> {
    let code = chance::secret();
    let expires = chance::now().as_second() + CODE_SECONDS;
    let (redirect_uri, state) = (flow.redirect_uri.clone(), flow.state.clone());
    shared.memory().codes.insert(code.clone(), Code { flow, expires, used: false, tokens: Vec::new() });
    back(shared, &redirect_uri, &[("code", &code), ("state", &state)])
}

/// Sends the browser back to the app, naming the issuer (RFC 9207).
fn back(shared: &Shared, redirect_uri: &str, answers: &[(&str, &str)]) -> Response<Body> {
    let Ok(mut url) = Url::parse(redirect_uri) else {
        return bad("The redirect URI is no URL.");
    };
    url.query_pairs_mut().extend_pairs(answers).append_pair("iss", &shared.issuer);
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    with_headers(
        response,
        [("location", url.as_str()), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")],
    )
}
