//! The gateway between the hostile client and the backend.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use pforte::demo::{Demo, Options};

use crate::backend::Backend;
use crate::grants::Holder;
use crate::support::{Findings, Gateway};

pub const HOST: &str = "gw.test";

pub struct House {
    pub gateway: Gateway,
    pub backend: Backend,
    pub findings: Findings,
    pub address: SocketAddr,
    demo: Demo,
    pub sent: Mutex<Vec<String>>,
    /// Request ids of answers, each with what was asked.
    pub answered: Mutex<Vec<(String, String)>>,
}

impl House {
    pub async fn open() -> Self {
        let address = free();
        let base = format!("https://{HOST}:{}/fhir", address.port());
        // Of the demo only the authorization server takes part.
        let demo = Demo::start(Options::behind(&base)).await.expect("an authorization server");
        let backend = Backend::start().await;
        let settings = format!(
            "[server]\nlisten = \"{address}\"\npublic_url = \"{base}\"\n\
             tls = {{ certificate = \"server.pem\", key = \"server.key\" }}\n\
             [backend]\nurl = \"http://{}/fhir\"\ncompartment_search = true\n\
             [[authorization_server]]\nissuer = \"{}\"\n\
             [telemetry]\nlog = \"debug\"\nlog_format = \"json\"\n",
            backend.address,
            demo.authorization.issuer(),
        );
        let gateway = Gateway::run(address, HOST, &settings, &[]);
        let (sent, answered) = (Mutex::default(), Mutex::default());
        Self { gateway, backend, findings: Findings::default(), address, demo, sent, answered }
    }

    /// The name and port of the gateway.
    pub fn authority(&self) -> String {
        format!("{HOST}:{}", self.address.port())
    }

    /// A token with these claims.
    pub fn token(&self, holder: &Holder) -> Option<String> {
        let token = self.demo.authorization.mint(holder.claims.clone()?);
        self.sent.lock().expect("no panic").push(token.clone());
        Some(token)
    }

    /// Ends the gateway, looks at what it wrote, and fails with all that was found.
    pub fn close(mut self) {
        self.gateway.terminate(&self.findings);
        let (log, spool) = (self.gateway.log(), self.gateway.spool());
        for token in self.sent.lock().expect("no panic").iter() {
            let secret = token.rsplit('.').next().unwrap_or_default();
            self.findings.check(!log.contains(secret), "a token is in the log");
            self.findings.check(!spool.contains(secret), "a token is in an audit event");
        }
        self.findings.check(!log.contains("panicked"), "the log tells of a panic");
        for (asked, id) in self.answered.lock().expect("no panic").iter() {
            self.findings
                .check(spool.contains(id.as_str()), format!("{asked}: no audit event of request {id}"));
        }
        let found = self.findings.take();
        assert!(found.is_empty(), "{} findings\n  {}", found.len(), found.join("\n  "));
    }
}

/// A port of loopback that nothing listens on, and that no other test here is given.
fn free() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = 31_000 + u16::try_from(std::process::id() % 90).unwrap_or_default() * 10;
    loop {
        let port = start + GIVEN.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
