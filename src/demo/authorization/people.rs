//! Who can log in, which clients there are, and how a client proves who it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::demo::fhir_server;
use crate::demo::serving::Received;

/// The password of everybody; the login page shows it.
pub(super) const PASSWORD: &str = "demo";

/// Somebody who can log in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user name, and the `sub` of their tokens.
    pub name: String,
    /// As shown.
    pub title: String,
    /// Their own resource, such as `Practitioner/prac-1`.
    pub resource: String,
}

impl Person {
    /// The id of the patient this person is, if they are one.
    pub(super) fn as_patient(&self) -> Option<&str> {
        self.resource.strip_prefix("Patient/")
    }
}

/// A patient the login can be about.
#[derive(Clone, Debug)]
pub struct Pickable {
    /// The id of the Patient.
    pub id: String,
    /// As shown.
    pub title: String,
    /// The encounter given for `launch/encounter`.
    pub encounter: Option<String>,
}

/// What the access tokens of a client look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// A JWT that says everything.
    Jwt,
    /// A random string; introspection says everything.
    Opaque,
}

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// As shown to people.
    pub title: String,
    /// None: a public client.
    pub secret: Option<String>,
    /// Compared exactly.
    pub redirect_uris: Vec<String>,
    /// What its tokens look like.
    pub form: TokenForm,
}

impl Client {
    /// A public client.
    pub fn public(id: &str, redirect_uri: &str) -> Self {
        let (id, title) = (id.to_owned(), format!("Demo app {id}"));
        Self { id, title, secret: None, redirect_uris: vec![redirect_uri.to_owned()], form: TokenForm::Jwt }
    }

    /// A confidential client without redirects: for client credentials, introspection and revocation.
    pub fn confidential(id: &str, secret: &str) -> Self {
        let (id, title, secret) = (id.to_owned(), format!("Demo service {id}"), Some(secret.to_owned()));
        Self { id, title, secret, redirect_uris: Vec::new(), form: TokenForm::Jwt }
    }

    /// The same with opaque tokens.
    #[must_use]
    pub fn opaque(mut self) -> Self {
        self.form = TokenForm::Opaque;
        self
    }

    /// Completes redirect URIs that begin with a slash.
    pub(super) fn at(mut self, origin: &str) -> Self {
        for uri in self.redirect_uris.iter_mut().filter(|uri| uri.starts_with('/')) {
            *uri = format!("{origin}{uri}");
        }
        self
    }
}

/// The clients of `pforte demo`.
pub(super) fn clients() -> Vec<Client> {
    let mut app = Client::public("demo-app", "/app");
    app.title = "Pforte demo app".to_owned();
    vec![
        app,
        Client::public("demo-app-opaque", "/app").opaque(),
        Client::confidential("demo-service", "demo-service-secret"),
        Client::confidential("demo-service-opaque", "demo-service-secret").opaque(),
        Client::confidential("pforte", "pforte-demo-secret"),
    ]
}

/// The people of `pforte demo`.
pub(super) fn people() -> Vec<Person> {
    let person = |name: &str, title: &str, resource: &str| Person {
        name: name.into(),
        title: title.into(),
        resource: resource.into(),
    };
    let patients = fhir_server::people().take(2).enumerate().map(|(place, (id, title, _))| {
        person(&format!("patient{}", place + 1), &format!("{title} (patient)"), &format!("Patient/{id}"))
    });
    let staff = [
        person("petersen", "Dr. Paula Petersen (practitioner)", "Practitioner/prac-1"),
        person("quast", "Dr. Quentin Quast (practitioner)", "Practitioner/prac-2"),
    ];
    staff.into_iter().chain(patients).collect()
}

/// Everybody in the embedded FHIR server.
pub(super) fn patients() -> Vec<Pickable> {
    let all = fhir_server::people().enumerate();
    all.map(|(place, (id, name, born))| {
        let encounter = Some(format!("enc-{:02}-1", place + 1));
        Pickable { id, title: format!("{name}, born {born}"), encounter }
    })
    .collect()
}

/// The client that sent a request: by Basic (RFC 6749 §2.3.1), by the form, or a public one by its id alone.
///
/// `None` when it is unknown, its secret is wrong, or it proved itself twice.
pub(super) fn authenticated<'a>(
    clients: &'a [Client],
    received: &Received,
    form: &[(String, String)],
) -> Option<&'a Client> {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let basic = received.header("authorization").map(basic);
    let (id, secret) = match (basic, field("client_secret")) {
        (Some(_), Some(_)) | (Some(None), None) => return None,
        (Some(Some((id, secret))), None) => (id, Some(secret)),
        (None, secret) => (field("client_id")?, secret),
    };
    if field("client_id").is_some_and(|named| named != id) {
        return None;
    }
    clients.iter().find(|client| client.id == id && client.secret == secret)
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, text) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |part: &str| {
        percent_decode_str(&part.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((plain(id)?, plain(secret)?))
}
