//! What is asked of the backend: who it says it is, then whether constrained grants can rest on it.

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION};
use reqwest::Client;
use serde_json::Value;
use url::Url;

use super::introspection::UNKNOWN_TOKEN;
use super::narrowing::narrowing;
use super::probe::{Answer, Report, ask};
use crate::config::{Backend, BackendCredentials, Settings, TokenRequest};
use crate::oauth::{Exchange, NoToken, OwnToken, Subject, monotonic};
use crate::token::AccessToken;
use crate::upstream::headers::{bearer, credentials};

/// The FHIR server behind the gateway, as the gateway talks to it.
pub(super) struct Fhir<'a> {
    http: &'a Client,
    backend: &'a Backend,
    authorization: Option<HeaderValue>,
}

impl Fhir<'_> {
    /// `GET` of a target relative to its base.
    pub(super) async fn read(&self, target: &str) -> Result<Answer, String> {
        let base = self.backend.url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/{target}")).map_err(|error| error.to_string())?;
        let request = self.http.get(url).header(ACCEPT, "application/fhir+json");
        ask(match &self.authorization {
            Some(field) => request.header(AUTHORIZATION, field.clone()),
            None => request,
        })
        .await
    }
}

/// What to show the backend, and whether a token endpoint gives it; nothing where each request carries its user's token.
async fn authorization(
    configured: &BackendCredentials,
    report: &mut Report,
) -> Result<Option<HeaderValue>, String> {
    match configured {
        BackendCredentials::Basic { .. } | BackendCredentials::Bearer { .. } | BackendCredentials::None => {
            credentials(configured, None).map_err(|error| error.to_string())
        }
        BackendCredentials::ClientCredentials(request) => {
            let own = OwnToken::new(request, monotonic()).map_err(|error| error.to_string())?;
            let issued = own.current().await.map_err(|none| none.to_string())?;
            report.fits(format_args!("a token as `{}` from {}", request.client.id, request.token_url));
            let token = bearer(issued.token().reveal()).map_err(|error| error.to_string())?;
            credentials(configured, Some(&token)).map_err(|error| error.to_string())
        }
        BackendCredentials::Forward => Ok(None),
        BackendCredentials::TokenExchange(request) => exchange(request, report).await.map(|()| None),
    }
}

/// RFC 8693: the gateway may exchange, and a token that nobody issued is not exchanged.
async fn exchange(request: &TokenRequest, report: &mut Report) -> Result<(), String> {
    let exchange = Exchange::new(request, monotonic()).map_err(|error| error.to_string())?;
    let unknown = AccessToken::new(UNKNOWN_TOKEN).map_err(|error| error.to_string())?;
    let (id, url) = (&request.client.id, &request.token_url);
    match exchange.of(&Subject::new(unknown, None)).await {
        Ok(_) => Err(format!("{url} exchanges a token that nobody issued: do not trust this server")),
        Err(NoToken::Refused(fault)) => {
            report.fits(format_args!(
                "token exchange as `{id}` at {url}: a token that nobody issued is refused"
            ));
            report.note(format_args!(
                "the refusal was: {fault}; try one of a user to see that scope and target fit"
            ));
            Ok(())
        }
        Err(none @ NoToken::Unavailable { .. }) => Err(none.to_string()),
    }
}

/// Asks the backend.
pub(super) async fn backend(http: &Client, settings: &Settings, report: &mut Report) {
    let backend = &settings.backend;
    let authorization = match authorization(&backend.credentials, report).await {
        Ok(authorization) => authorization,
        Err(problem) => {
            let mend = "mend `backend.credentials`, or what the authorization server knows of this client";
            return report.misfit(format_args!("{problem}; {mend}"));
        }
    };
    let fhir = Fhir { http, backend, authorization };
    let answer = match fhir.read("metadata").await {
        Ok(answer) => answer,
        Err(problem) => {
            return report.misfit(format_args!("`metadata`: {problem}; mend `backend.url` or the way there"));
        }
    };
    if answer.status == 401 || answer.status == 403 {
        return report.misfit(format_args!(
            "`metadata` is refused with status {}; check `backend.credentials`",
            answer.status
        ));
    }
    let statement = answer.json();
    if answer.status != 200
        || statement.get("resourceType").and_then(Value::as_str) != Some("CapabilityStatement")
    {
        let status = answer.status;
        return report
            .misfit(format_args!("`metadata`: status {status}, no CapabilityStatement; mend `backend.url`"));
    }
    capabilities(backend, &statement, report);
    let kept = answer.version == http::Version::HTTP_2
        || answer
            .headers
            .get(CONNECTION)
            .is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"close"));
    if kept {
        report.fits("connections are kept open");
    } else {
        report.note("it closes the connection after each answer; switch HTTP keep-alive on for speed");
    }
    if matches!(backend.credentials, BackendCredentials::Forward | BackendCredentials::TokenExchange(_)) {
        report.note("it wants tokens of users, so searches were not tried");
    } else {
        narrowing(&fhir, settings, &statement, report).await;
    }
}

fn capabilities(backend: &Backend, statement: &Value, report: &mut Report) {
    let version = statement.get("fhirVersion").and_then(Value::as_str).unwrap_or_default();
    let label = backend.fhir_version.label();
    if version.strip_prefix(label).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-'])) {
        report.fits(format_args!("FHIR {version}"));
    } else {
        report.misfit(format_args!(
            "it serves FHIR `{version}`: expected {label}; mend `backend.fhir_version`"
        ));
    }
    let formats: Vec<&str> = statement
        .get("format")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let offers = |name: &str| formats.iter().any(|format| format.contains(name));
    match (offers("json"), offers("xml")) {
        (true, true) => report.fits("JSON and XML"),
        (true, false) => report.note("it offers no XML, so clients that ask for it get its refusal"),
        (false, _) => report.misfit("it does not offer JSON, which the gateway asks for; switch it on"),
    }
    versioning(statement, report);
}

/// The part of a CapabilityStatement about the server itself.
pub(super) fn server_part(statement: &Value) -> impl Iterator<Item = &Value> {
    let parts = statement.get("rest").and_then(Value::as_array).into_iter().flatten();
    parts.filter(|part| part.get("mode").and_then(Value::as_str) == Some("server"))
}

/// The rows of `rest.resource`.
pub(super) fn rows(statement: &Value) -> impl Iterator<Item = &Value> {
    server_part(statement).filter_map(|part| part.get("resource")?.as_array()).flatten()
}

/// REST-13: a constrained write carries `If-Match` of the version that was checked. That cannot be tried without
/// writing, so what the CapabilityStatement says is all there is.
fn versioning(statement: &Value, report: &mut Report) {
    let says = |code: &str| -> Vec<&str> {
        let of = rows(statement).filter(|row| row.get("versioning").and_then(Value::as_str) == Some(code));
        of.filter_map(|row| row.get("type")?.as_str()).collect()
    };
    let (all, update) = (rows(statement).count(), says("versioned-update").len());
    let without = says("no-version");
    if !without.is_empty() {
        report.misfit(format_args!(
            "it keeps no versions of {}; switch versioning on: constrained writes of these types are not safe against \
             changes made at the same time, and are refused where the answer to a read has no version",
            first(&without)
        ));
    }
    if all > 0 && update == all {
        report.fits("versions are kept, and writes honour `If-Match` (`versioned-update`)");
    } else if update + without.len() < all {
        report.note(format_args!(
            "its CapabilityStatement says `versioned-update` of {update} of {all} types only; see that `If-Match` is \
             honoured for the others: constrained writes rest on it, and it cannot be tried without writing"
        ));
    } else if all == 0 {
        report.note("its CapabilityStatement lists no types, so nothing is known of versions");
    }
}

fn first(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more types"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// REST-13: what a CapabilityStatement may say of versions, and what comes of it.
    #[test]
    fn versions_are_told_of() {
        let of = |codes: &[&str]| {
            let rows: Vec<Value> =
                codes.iter().map(|code| json!({"type": "Patient", "versioning": code})).collect();
            json!({"rest": [{"mode": "server", "resource": rows}, {"mode": "client", "resource": [{"type": "List"}]}]})
        };
        let table = [
            (of(&["versioned-update", "versioned-update"]), 0, "writes honour `If-Match`"),
            (of(&["versioned-update", "versioned"]), 0, "of 1 of 2 types only"),
            (of(&["no-version", "versioned-update"]), 1, "keeps no versions of Patient"),
            (of(&["no-version", "versioned"]), 1, "of 0 of 2 types only"),
            (json!({}), 0, "lists no types"),
        ];
        for (statement, misfits, expected) in table {
            let mut report = Report::default();
            versioning(&statement, &mut report);
            let mut out = Vec::new();
            report.print(&mut out).expect("written");
            let text = String::from_utf8(out).expect("text");
            assert_eq!(report.misfits(), misfits, "{text}");
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }
}
