//! A gateway between the demo servers.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use pforte::demo::authorization::Claims;
use pforte::demo::{Demo, Options};

use crate::support::{Answer, Ask, Client, Findings, Gateway};

/// The name the certificate is for.
pub const HOST: &str = "gw.test";

/// What a house is built with, in the words of `gateway.toml`.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    /// Lines of `[backend]`.
    pub backend: &'static str,
    /// Lines of `[[authorization_server]]`; none: signed tokens.
    pub issuer: &'static str,
    /// Further tables.
    pub tables: &'static str,
    /// Files with secrets, beside the settings.
    pub secrets: &'static [(&'static str, &'static str)],
}

/// A gateway, the servers behind and beside it, and a client.
pub struct House {
    /// The doubles.
    pub demo: Demo,
    /// What talks to the gateway.
    pub client: Client,
    /// The gateway.
    pub gateway: Gateway,
    /// What is wrong.
    pub findings: Findings,
    /// Where the gateway listens.
    pub address: SocketAddr,
    plan: Plan,
}

impl House {
    /// Starts everything.
    pub async fn open(plan: Plan) -> Self {
        let findings = Findings::default();
        let address = free();
        let base = format!("https://{HOST}:{}/fhir", address.port());
        let demo = Demo::start(Options::behind(&base)).await.expect("the demo servers start");
        let settings = settings(plan, &demo, address);
        let gateway = Gateway::run(address, HOST, &settings, plan.secrets);
        let behind = demo.fhir.address().to_string();
        let client = Client::new(
            &base,
            address,
            gateway.certificate(),
            &[&behind, "pforte-demo-fhir-server"],
            &findings,
        );
        Self { demo, client, gateway, findings, address, plan }
    }

    /// The text of the settings, with this put in place of the first text.
    pub fn settings(&self, old: &str, new: &str) -> String {
        let text = settings(self.plan, &self.demo, self.address);
        assert!(text.contains(old), "the settings have no `{old}`:\n{text}");
        text.replacen(old, new, 1)
    }

    /// Writes another file in the place of the settings.
    pub fn rewrite(&self, settings: &str) {
        std::fs::write(self.gateway.folder.join("gateway.toml"), settings).expect("the settings are written");
    }

    /// A signed token with this scope.
    pub fn token(&self, scope: &str) -> String {
        self.demo.token(scope)
    }

    /// A signed token with these claims.
    pub fn claiming(&self, claims: Claims) -> String {
        self.demo.authorization.mint(claims)
    }

    /// A request with a token of this scope.
    pub fn ask(&self, method: &str, target: &str, scope: &str) -> Ask {
        self.client.ask(method, target).bearer(&self.token(scope)).with(scope)
    }

    /// Sends what must not reach the backend.
    pub async fn kept_out(&self, asked: Ask) -> Answer {
        self.demo.fhir.forget();
        let answer = asked.send().await;
        let log = self.demo.fhir.log();
        if let Some(seen) = log.first() {
            answer.wrong(&format!("no request at the backend, not `{} {}`", seen.method, seen.target));
        }
        answer
    }

    /// Sends what the backend must see once; gives what it saw.
    pub async fn let_in(&self, asked: Ask) -> (Answer, Option<pforte::demo::Received>) {
        self.demo.fhir.forget();
        let answer = asked.send().await;
        let mut log = self.demo.fhir.log();
        if log.len() != 1 {
            answer.wrong(&format!("one request at the backend, not {}", log.len()));
        }
        (answer, log.pop())
    }

    /// Ends the gateway, looks at what it wrote, and fails with everything that was found.
    pub fn close(mut self) {
        self.gateway.close(&self.client, &self.findings);
        let found = self.findings.take();
        assert!(found.is_empty(), "{} findings\n  {}", found.len(), found.join("\n  "));
    }
}

/// A port of loopback that nothing listens on, and that no other test is given. It lies outside of what the system gives
/// to those who do not mind, so that none of them takes it in between.
pub fn free() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() % 100).unwrap_or_default() * 100;
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + start + step));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn settings(plan: Plan, demo: &Demo, address: SocketAddr) -> String {
    format!(
        r#"
[server]
listen = "{address}"
public_url = "https://{HOST}:{port}/fhir"
tls = {{ certificate = "server.pem", key = "server.key" }}

[backend]
url = "{backend}"
{on_backend}

[[authorization_server]]
issuer = "{issuer}"
{on_issuer}

{tables}

[telemetry]
log = "debug"
log_format = "json"
"#,
        port = address.port(),
        backend = demo.fhir.base(),
        on_backend = plan.backend,
        issuer = demo.authorization.issuer(),
        on_issuer = plan.issuer,
        tables = plan.tables,
    )
}
