//! The gateway in front of the reference stack, and its client.

use std::net::SocketAddr;

use crate::stack::{Logins, Stack, Tokens};
use crate::support::{Client, Findings, Gateway};

/// Everything a part works with.
pub struct House<'a> {
    /// The servers behind and beside the gateway.
    pub stack: &'a Stack,
    /// Tokens by scope.
    pub tokens: Tokens<'a>,
    /// Tokens of people who logged in.
    pub logins: Logins<'a>,
    /// What talks to the gateway.
    pub client: Client,
    /// The gateway.
    pub gateway: Gateway,
    /// What is wrong.
    pub findings: Findings,
}

impl<'a> House<'a> {
    /// Runs the gateway.
    pub fn open(stack: &'a Stack, findings: &Findings) -> Self {
        let base = stack.setting("PFORTE_PUBLIC_URL");
        let address = address(base);
        let gateway = Gateway::run(
            address,
            "localhost",
            &settings(stack, &address.to_string(), Change::NONE),
            &[
                ("secret", stack.setting("INTROSPECTION_CLIENT_SECRET")),
                ("signed-secret", stack.setting("INTROSPECTION_SIGNED_CLIENT_SECRET")),
            ],
        );
        // No answer may name what is behind the gateway (RESP-6, HTTP-19).
        let hapi = stack.setting("HAPI_URL").trim_start_matches("http://").trim_end_matches("/fhir");
        let never = [hapi, "ca.uhn", "jetty", "Jetty"];
        let client = Client::new(base, address, gateway.certificate(), &never, findings);
        let (tokens, logins) = (Tokens::of(stack), Logins::of(stack));
        Self { stack, tokens, logins, client, gateway, findings: findings.clone() }
    }

    /// Runs the gateway anew, with other settings.
    pub fn change(&mut self, change: Change<'_>) {
        let address = address(self.client.base());
        let text = settings(self.stack, &address.to_string(), change);
        std::fs::write(self.gateway.folder.join("gateway.toml"), text).expect("the settings are written");
        self.gateway.restart(&self.findings);
    }

    /// The same client, showing a certificate: that and its key, PEM.
    pub fn showing(&self, own: &str) -> Client {
        let (base, certificate) = (self.client.base(), self.gateway.certificate());
        let http = Client::transport(base, address(base), certificate, Some(own));
        let mut client = self.client.clone();
        client.http = http;
        client
    }

    /// Ends the gateway and looks at what it wrote.
    pub fn close(&mut self) {
        self.gateway.close(&self.client, &self.findings);
    }
}

/// What differs from the usual settings.
#[derive(Clone, Copy)]
pub struct Change<'c> {
    /// Keys that stand above all tables.
    pub top: &'c str,
    /// Further tables.
    pub tables: &'c str,
    /// Further keys of `server.tls`, each with a comma before it.
    pub tls: &'c str,
    /// Keys of `[backend]`, in place of those for HAPI.
    pub backend: Option<&'c str>,
    /// Keys for Keycloak, in place of `validation` and `client`.
    pub keycloak: Option<&'c str>,
    /// Keys for oidc-provider, in place of `client`.
    pub oidc: Option<&'c str>,
}

impl Change<'_> {
    /// Nothing.
    pub const NONE: Self = Self { top: "", tables: "", tls: "", backend: None, keycloak: None, oidc: None };
}

/// Loopback, and the port of the public base.
fn address(base: &str) -> SocketAddr {
    let port = base.split('/').nth(2).and_then(|authority| authority.split(':').nth(1));
    let port = port.and_then(|port| port.parse().ok()).expect("a public base with a port");
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// What `deploy/reference/gateway.toml` says, for the ports in use.
fn settings(stack: &Stack, listen: &str, change: Change<'_>) -> String {
    let base = stack.setting("PFORTE_PUBLIC_URL");
    let client = format!(
        r#"client = {{ id = "{}", auth = "client_secret_basic", secret_file = "secret" }}"#,
        stack.setting("INTROSPECTION_CLIENT")
    );
    let hapi = format!("url = \"{}\"\ncompartment_search = false", stack.setting("HAPI_URL"));
    let signed = format!("validation = \"jwt\"\n{client}");
    format!(
        r#"
{top}
[server]
listen = "{listen}"
public_url = "{base}"
tls = {{ certificate = "server.pem", key = "server.key"{tls} }}

[backend]
{backend}

[[authorization_server]]
issuer = "{keycloak}"
audience = ["{base}"]
algorithms = ["ES256", "RS256"]
clock_skew = "1s"
{on_keycloak}

[[authorization_server]]
issuer = "{oidc}"
audience = ["{base}"]
validation = "introspection"
opaque = true
introspection_cache = "0s"
{on_oidc}

[cors]
origins = ["https://app.example"]

[telemetry]
log = "debug"
log_format = "json"

{tables}
"#,
        top = change.top,
        tables = change.tables,
        tls = change.tls,
        backend = change.backend.unwrap_or(&hapi),
        on_keycloak = change.keycloak.unwrap_or(&signed),
        on_oidc = change.oidc.unwrap_or(&client),
        keycloak = stack.setting("KEYCLOAK_ISSUER"),
        oidc = stack.setting("OIDC_ISSUER"),
    )
}
