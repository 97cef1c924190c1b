//! The pages people see: login, patient picker, messages. Plain HTML without scripts.

use http::{Response, StatusCode};

use super::authorize::Flow;
use super::people::{Client, PASSWORD, Person};
use super::{Endpoint, Shared, path};
use crate::demo::serving::{Body, full, with_headers};

const STYLE: &str = "body{font:1.05rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
    .demo{background:#7a3b00;color:#fff;padding:.5rem 1rem;font-weight:600}fieldset{border:1px solid #767676;margin:1rem 0;padding:.5rem 1rem}\
    label{display:block;padding:.3rem 0}.error{color:#a40000;font-weight:600}button{font:inherit;padding:.5rem 1.2rem;margin-right:.5rem}\
    code{background:#f0f0f0;padding:0 .2rem;overflow-wrap:anywhere}input[type=password]{font:inherit}:focus-visible{outline:3px solid #0b57d0}";

/// A page as an answer that nobody may frame or keep.
pub(super) fn html(status: StatusCode, page: &str) -> Response<Body> {
    let mut response = Response::new(full(page.to_owned()));
    *response.status_mut() = status;
    with_headers(
        response,
        [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'self' 'unsafe-inline'; connect-src *; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-demo", "not for production"),
        ],
    )
}

pub(in crate::demo) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} – Pforte demo</title><style>{STYLE}</style></head><body>\
         <p class=\"demo\">DEMO authorization server – synthetic people, no real login</p><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

/// A page that says one thing.
pub(super) fn message(title: &str, text: &str) -> String {
    page(&escaped(title), &format!("<p>{}</p>", escaped(text)))
}

/// The front page: where everything is.
pub(super) fn front(shared: &Shared) -> String {
    let link =
        |endpoint: Endpoint, text: &str| format!("<li><a href=\"{0}\">{0}</a> – {text}</li>", path(endpoint));
    let list = [
        link(Endpoint::App, "a SMART app to try"),
        link(Endpoint::OpenIdMetadata, "OpenID metadata"),
        link(Endpoint::OAuthMetadata, "RFC 8414 metadata"),
        link(Endpoint::Jwks, "the public keys"),
    ];
    page(
        "Pforte demo",
        &format!("<p>Issuer: <code>{}</code></p><ul>{}</ul>", escaped(&shared.issuer), list.concat()),
    )
}

/// Who are you, and may this app have that?
pub(super) fn login(
    shared: &Shared,
    name: &str,
    client: &Client,
    flow: &Flow,
    complaint: Option<&str>,
) -> String {
    let people: String = shared
        .people
        .iter()
        .enumerate()
        .map(|(place, person)| {
            let checked = if place == 0 { " checked" } else { "" };
            let (user, title) = (escaped(&person.name), escaped(&person.title));
            format!("<label><input type=\"radio\" name=\"user\" value=\"{user}\" required{checked}> {title} – user name <code>{user}</code></label>")
        })
        .collect();
    let scopes: String =
        flow.scope.iter().map(|scope| format!("<li><code>{}</code></li>", escaped(scope))).collect();
    let complaint = complaint
        .map(|text| format!("<p class=\"error\" role=\"alert\">{}</p>", escaped(text)))
        .unwrap_or_default();
    let body = format!(
        "{complaint}<p><strong>{}</strong> asks for:</p><ul>{scopes}</ul>\
         <form method=\"post\" action=\"/authorize/login\"><input type=\"hidden\" name=\"flow\" value=\"{name}\">\
         <fieldset><legend>Log in as</legend>{people}</fieldset>\
         <label>Password (it is <code>{PASSWORD}</code> for everybody) \
         <input type=\"password\" name=\"password\" value=\"{PASSWORD}\" autocomplete=\"off\"></label>\
         <p><button name=\"decision\" value=\"allow\">Log in and allow</button>\
         <button name=\"decision\" value=\"deny\" formnovalidate>Refuse</button></p></form>",
        escaped(&client.title)
    );
    page("Log in", &body)
}

/// Whose record is it about?
pub(super) fn picker(shared: &Shared, name: &str, person: &Person) -> String {
    let patients: String = shared
        .patients
        .iter()
        .enumerate()
        .map(|(place, patient)| {
            let checked = if place == 0 { " checked" } else { "" };
            let (id, title) = (escaped(&patient.id), escaped(&patient.title));
            format!("<label><input type=\"radio\" name=\"patient\" value=\"{id}\" required{checked}> {title} (<code>{id}</code>)</label>")
        })
        .collect();
    let body = format!(
        "<p>Logged in as {}. The app works with one patient:</p>\
         <form method=\"post\" action=\"/authorize/patient\"><input type=\"hidden\" name=\"flow\" value=\"{name}\">\
         <fieldset><legend>Patient</legend>{patients}</fieldset><p><button>Continue</button></p></form>",
        escaped(&person.title)
    );
    page("Pick a patient", &body)
}
