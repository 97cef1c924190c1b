//! Where clients connect.

use std::net::SocketAddr;

use super::Check;
use super::web::PlainHttp;
use crate::config::file;
use crate::config::settings::{Profile, Server};

const LISTEN: &str = "127.0.0.1:8443";

impl Check<'_> {
    pub(super) fn server(&mut self, server: file::Server, profile: Profile) -> Option<Server> {
        let insecure = server.insecure_http.unwrap_or(false);
        let listen = self.listen(server.listen);
        let public_url = server.public_url.as_deref().and_then(|text| self.public_url(text, insecure));
        let tls = match (server.tls, insecure) {
            (Some(tls), false) => Some(self.tls(tls, profile, public_url.as_ref())?),
            (Some(_), true) => {
                let mend = "remove `[server.tls]`, or remove `insecure_http` to serve by TLS";
                self.wrong("server.insecure_http", "no `[server.tls]` beside it", mend);
                None
            }
            (None, true) => {
                if profile == Profile::Isik {
                    let mend = "use `[server.tls]`, or end TLS in a proxy on the same host";
                    self.warn("server.insecure_http", "TLS for ISiK in production (TLS-2)", mend);
                }
                if listen.iter().flatten().any(|address| !address.ip().is_loopback()) {
                    let mend = "listen on 127.0.0.1, or let only the proxy that ends TLS reach this port";
                    self.warn("server.insecure_http", "loopback addresses to listen on without TLS", mend);
                }
                None
            }
            (None, false) => {
                // A misspelt `insecure_http` value has its complaint already.
                if !self.is_written("server.insecure_http") || server.insecure_http.is_some() {
                    let mend = "add `[server.tls]` with `certificate` and `key` (or `insecure_http = true` behind a proxy)";
                    self.missing("server.tls", "a certificate and its key", mend);
                }
                None
            }
        };
        Some(Server { listen: listen?, public_url: public_url?, tls, proxies: None })
    }

    fn public_url(&mut self, text: &str, insecure: bool) -> Option<url::Url> {
        let plain = if insecure { PlainHttp::Allowed } else { PlainHttp::Refused };
        self.base("server.public_url", text, plain)
    }

    fn listen(
        &mut self,
        written: Option<crate::config::values::OneOrMany<String>>,
    ) -> Option<Vec<SocketAddr>> {
        let several = self.is_written("server.listen[1]");
        let written = written.map_or_else(|| vec![LISTEN.to_owned()], |listen| listen.into_vec());
        if written.is_empty() {
            self.wrong("server.listen", "at least one address", format!("write `\"{LISTEN}\"`"));
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut sound = !written.is_empty();
        for (i, text) in written.iter().enumerate() {
            let key = if several { format!("server.listen[{}]", i + 1) } else { "server.listen".to_owned() };
            match self.address(&key, text) {
                Some(address) if address.port() != 0 && addresses.contains(&address) => {
                    self.wrong(&key, "each address once", "remove one of the two");
                    sound = false;
                }
                Some(address) => addresses.push(address),
                None => sound = false,
            }
        }
        sound.then_some(addresses)
    }
}
