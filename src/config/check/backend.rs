//! The FHIR server behind: where it is, and how the gateway shows it who it is.

use std::path::Path;

use super::Check;
use super::client;
use super::limits::{BACKEND_TIMEOUT, ISSUER_TIMEOUT};
use super::secret::Kept;
use super::web::{PlainHttp, Query};
use crate::config::file::{self, Credentials};
use crate::config::settings::{
    Backend, BackendCredentials, CertificateFiles, CompartmentSearch, Dpop, IssuerClient, TokenRequest,
};
use crate::fhir::FhirVersion;

/// The table whose keys these are.
const BACKEND: &str = "backend";

/// The FHIR version a file names; R4 when it names none.
pub(super) fn version(backend: Option<&file::Backend>) -> FhirVersion {
    match backend.and_then(|backend| backend.fhir_version) {
        Some(file::FhirRelease::R4) | None => FhirVersion::R4,
        Some(file::FhirRelease::R4b) => FhirVersion::R4B,
        Some(file::FhirRelease::R5) => FhirVersion::R5,
    }
}

/// The URL beside is plain http, where there is no handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainUrl;

impl Check<'_> {
    pub(super) fn backend(&mut self, backend: file::Backend) -> Option<Backend> {
        let fhir_version = version(Some(&backend));
        let url = backend.url.as_deref().and_then(|text| self.base("backend.url", text, PlainHttp::Warned));
        let plain = url.as_ref().is_some_and(|url| url.scheme() == "http");
        let own = (backend.client_certificate.as_deref(), backend.client_key.as_deref());
        let client_certificate = self.client_certificate(BACKEND, own, plain.then_some(PlainUrl));
        let credentials = match &backend.credentials {
            Some(credentials) => self.credentials("backend.credentials", credentials),
            None => Some(BackendCredentials::None),
        };
        let ca = backend.ca.as_deref().and_then(|ca| self.anchors("backend.ca", ca));
        if ca.is_some() && plain {
            self.wrong("backend.ca", "an https `backend.url` beside it", "use https, or remove `ca`");
        }
        let compartment_search = match backend.compartment_search {
            Some(file::CompartmentSearch::Fixed(true)) => CompartmentSearch::On,
            Some(file::CompartmentSearch::Fixed(false)) => CompartmentSearch::Off,
            Some(file::CompartmentSearch::Told(file::Auto::Auto)) | None => CompartmentSearch::Auto,
        };
        let timeout = self.period("backend.timeout", backend.timeout, BACKEND_TIMEOUT);
        let identity_headers = self.identity_headers(backend.identity_headers.unwrap_or_default());
        Some(Backend {
            url: url?,
            fhir_version,
            credentials: credentials?,
            ca,
            client_certificate,
            compartment_search,
            timeout,
            identity_headers,
        })
    }

    /// TLS-8: what is shown in a handshake, which only https has.
    pub(super) fn client_certificate(
        &mut self,
        table: &str,
        files: (Option<&Path>, Option<&Path>),
        plain: Option<PlainUrl>,
    ) -> Option<CertificateFiles> {
        if files == (None, None) {
            return None;
        }
        if plain.is_some() {
            let name = if files.0.is_some() { "client_certificate" } else { "client_key" };
            let expected = format!("an https `{table}.url` beside it");
            self.wrong(&format!("{table}.{name}"), expected, "use https, or remove it");
            return None;
        }
        self.certificate_files(table, ("client_certificate", "client_key"), files)
    }

    /// What a table of credentials says; `table` is its path.
    pub(super) fn credentials(
        &mut self,
        table: &str,
        credentials: &Credentials,
    ) -> Option<BackendCredentials> {
        let at = |name: &str| format!("{table}.{name}");
        match credentials {
            Credentials::Basic { username, password_file, password_env } => {
                let password = self.secret(Kept {
                    key: &at("password"),
                    file: password_file.as_deref(),
                    environment: password_env.as_deref(),
                });
                let username = username.clone()?;
                // RFC 7617 §2: the first colon ends the user name.
                if username.is_empty() || username.contains(':') || username.contains(char::is_control) {
                    let expected = "a user name without `:`";
                    self.wrong(&at("username"), expected, "write the account's name");
                    return None;
                }
                Some(BackendCredentials::Basic { username, password: password? })
            }
            Credentials::Bearer { token_file, token_env } => {
                let token = self.secret(Kept {
                    key: &at("token"),
                    file: token_file.as_deref(),
                    environment: token_env.as_deref(),
                });
                Some(BackendCredentials::Bearer { token: token? })
            }
            Credentials::ClientCredentials { .. } => {
                let request = self.token_request(table, &Written::of(credentials)?)?;
                Some(BackendCredentials::ClientCredentials(Box::new(request)))
            }
            Credentials::TokenExchange { .. } => {
                let request = self.token_request(table, &Written::of(credentials)?)?;
                Some(BackendCredentials::TokenExchange(Box::new(request)))
            }
            Credentials::Forward {} => Some(BackendCredentials::Forward),
            Credentials::None {} => Some(BackendCredentials::None),
        }
    }

    fn token_request(&mut self, table: &str, written: &Written<'_>) -> Option<TokenRequest> {
        let at = |name: &str| format!("{table}.{name}");
        let token_url = written
            .token_url
            .and_then(|text| self.url(&at("token_url"), text, (PlainHttp::Loopback, Query::Allowed)));
        let secret =
            Kept { key: &at("client_secret"), file: written.secret.0, environment: written.secret.1 };
        let auth = self.client_auth(&client::Written {
            table,
            auth: written.auth,
            secret,
            key_file: written.key_file,
            kid: written.kid,
            algorithm: written.algorithm,
            certificate: written.certificate,
        });
        let id = written.id.filter(|id| {
            // RFC 6749 appendix A.1.
            let fits = !id.is_empty() && id.bytes().all(|b| matches!(b, b' '..=b'~'));
            if !fits {
                let mend = "write the id that the authorization server knows";
                self.wrong(&at("client_id"), "a client id of visible ASCII", mend);
            }
            fits
        });
        let resource = written.resource.and_then(|text| self.resource(&at("resource"), text));
        let scope = written.scope.filter(|scope| {
            // RFC 6749 §3.3.
            let word = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
            };
            let fits = scope.split(' ').all(word);
            if !fits {
                self.wrong(
                    &at("scope"),
                    "scopes with one space between two",
                    "write such as `system/*.cruds`",
                );
            }
            fits
        });
        if written.audience.is_some_and(str::is_empty) {
            self.wrong(&at("audience"), "the name of the backend", "write it, or remove the key");
        }
        let timeout = self.period(&at("timeout"), written.timeout, ISSUER_TIMEOUT);
        let ca = written.ca.and_then(|ca| self.anchors(&at("ca"), ca));
        Some(TokenRequest {
            token_url: token_url?,
            client: IssuerClient { id: id?.to_owned(), auth: auth? },
            scope: scope.map(str::to_owned),
            audience: written.audience.map(str::to_owned),
            resource,
            timeout,
            ca,
        })
    }

    /// RFC 8707 §2: an absolute URI without a fragment, sent as it is written.
    fn resource(&mut self, key: &str, text: &str) -> Option<String> {
        let sound = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#');
        if sound && url::Url::parse(text).is_ok() {
            return Some(text.to_owned());
        }
        let mend = "write the backend's address, such as `https://fhir.example/fhir`";
        self.wrong(key, "an absolute URI without a fragment", mend);
        None
    }

    /// TOK-60, TOK-62: a token that is bound to a key of the client's is of no use to anybody else.
    pub(super) fn bound_tokens(&mut self, backend: Option<&Backend>, dpop: &Dpop) {
        let forwards =
            backend.is_some_and(|backend| matches!(backend.credentials, BackendCredentials::Forward));
        if forwards && dpop.enabled {
            let expected = "another kind while `dpop.enabled` is true: a token that is bound to a client's key is of no \
                            use to the gateway, and the backend will refuse it";
            let mend = "set `enabled = false` under `[dpop]`, or use `token_exchange`";
            self.warn("backend.credentials.kind", expected, mend);
        }
    }
}

/// The keys that both kinds with a token endpoint have.
struct Written<'w> {
    token_url: Option<&'w str>,
    id: Option<&'w str>,
    auth: Option<file::ClientAuth>,
    secret: (Option<&'w Path>, Option<&'w str>),
    key_file: Option<&'w Path>,
    kid: Option<&'w str>,
    algorithm: Option<&'w str>,
    certificate: Option<&'w Path>,
    scope: Option<&'w str>,
    audience: Option<&'w str>,
    resource: Option<&'w str>,
    timeout: Option<crate::config::values::Period>,
    ca: Option<&'w Path>,
}

impl<'w> Written<'w> {
    fn of(credentials: &'w Credentials) -> Option<Self> {
        let (Credentials::ClientCredentials {
            token_url,
            client_id,
            auth,
            client_secret_file,
            client_secret_env,
            key_file,
            kid,
            algorithm,
            certificate,
            scope,
            audience,
            resource,
            timeout,
            ca,
        }
        | Credentials::TokenExchange {
            token_url,
            client_id,
            auth,
            client_secret_file,
            client_secret_env,
            key_file,
            kid,
            algorithm,
            certificate,
            scope,
            audience,
            resource,
            timeout,
            ca,
        }) = credentials
        else {
            return None;
        };
        Some(Self {
            token_url: token_url.as_deref(),
            id: client_id.as_deref(),
            auth: *auth,
            secret: (client_secret_file.as_deref(), client_secret_env.as_deref()),
            key_file: key_file.as_deref(),
            kid: kid.as_deref(),
            algorithm: algorithm.as_deref(),
            certificate: certificate.as_deref(),
            scope: scope.as_deref(),
            audience: audience.as_deref(),
            resource: resource.as_deref(),
            timeout: *timeout,
            ca: ca.as_deref(),
        })
    }
}
