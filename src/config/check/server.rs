//! Where clients connect.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use ipnet::IpNet;

use super::Check;
use super::web::PlainHttp;
use crate::config::file;
use crate::config::settings::{Profile, Server, TrustedProxies};

const LISTEN: &str = "127.0.0.1:8443";

/// More threads than any machine this is built for has cores.
const WORKERS: usize = 1024;

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
        let networks = self.networks(server.trusted_proxies.unwrap_or_default());
        let proxies = self.proxies(networks, server.client_certificate_header.as_deref());
        let workers = server.workers.and_then(|written| self.workers(written));
        Some(Server { listen: listen?, public_url: public_url?, tls, proxies, workers })
    }

    fn workers(&mut self, written: u64) -> Option<NonZeroUsize> {
        let workers =
            usize::try_from(written).ok().filter(|workers| *workers <= WORKERS).and_then(NonZeroUsize::new);
        if workers.is_none() {
            let mend = "write how many cores may serve, or leave it out for all";
            self.wrong("server.workers", format!("between `1` and `{WORKERS}`"), mend);
        }
        workers
    }

    /// Networks of proxies that are believed (TOK-61).
    fn networks(&mut self, written: Vec<String>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (i, text) in written.iter().enumerate() {
            let key = format!("server.trusted_proxies[{}]", i + 1);
            let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            match network {
                Some(network) if network.prefix_len() == 0 => {
                    let expected = "the addresses of your proxies, not everybody's";
                    self.wrong(&key, expected, "name each proxy, or the network that only proxies are in");
                }
                Some(network) if network.trunc() != network => {
                    let mend = format!("write `{}`, or the address without `/`", network.trunc());
                    self.wrong(&key, "a network's first address before the `/`", mend);
                }
                Some(network) => networks.push(network),
                None => {
                    let expected = "an IP address, or a network such as `10.0.0.0/24`";
                    self.wrong(&key, expected, "write the address that the proxy connects from");
                }
            }
        }
        networks
    }

    /// Proxies, and the field that they pass certificates in: one is nothing without the other.
    fn proxies(&mut self, networks: Vec<IpNet>, header: Option<&str>) -> Option<TrustedProxies> {
        let key = "server.client_certificate_header";
        match (self.is_written("server.trusted_proxies[1]"), header) {
            (false, None) => None,
            (false, Some(_)) => {
                let mend = "add the addresses of the proxies that set it, or remove it";
                self.wrong(key, "`trusted_proxies` beside it", mend);
                None
            }
            (true, None) => {
                let mend = "write `client_certificate_header = \"Client-Cert\"`, or remove `trusted_proxies`";
                self.missing(key, "the field in which these proxies pass on the client's certificate", mend);
                None
            }
            (true, Some(header)) => {
                let header = self.header_name(key, header, "Client-Cert")?;
                Some(TrustedProxies { networks, header })
            }
        }
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
