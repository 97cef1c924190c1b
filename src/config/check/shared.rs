//! The server that replicas share by: where it is, and who the gateway is there.

use url::Url;

use super::Check;
use super::limits::SHARED_TIMEOUT;
use super::secret::Kept;
use super::web::is_loopback;
use crate::config::file::SharedState;
use crate::config::settings;

/// What the names of keys begin with when the file does not say.
const PREFIX: &str = "pforte";

/// Longest prefix: it is in every key.
const LONGEST: usize = 64;

impl Check<'_> {
    /// What the keys of `[shared_state]` say beside the key of page links; absent when no server is named.
    pub(super) fn shared_state(&mut self, shared: &SharedState) -> Option<settings::SharedState> {
        let prefix = self.prefix(shared.prefix.as_deref());
        let timeout = self.period("shared_state.timeout", shared.timeout, SHARED_TIMEOUT);
        let Some(text) = shared.url.as_deref() else {
            self.without_server(shared);
            return None;
        };
        let (url, database) = self.server_url(text)?;
        if shared.ca.is_some() && url.scheme() != "rediss" {
            let mend = "write `rediss://`, or remove `ca`";
            self.wrong("shared_state.ca", "a `rediss://` URL beside it", mend);
        }
        let ca = shared.ca.as_deref().and_then(|ca| self.anchors("shared_state.ca", ca));
        let username = shared.username.clone();
        if username.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_whitespace)) {
            self.wrong("shared_state.username", "a user of Redis' access list", "write the user's name");
        }
        let named = shared.password_file.is_some() || shared.password_env.is_some();
        let password = if named || shared.username.is_some() {
            Some(self.secret(Kept {
                key: "shared_state.password",
                file: shared.password_file.as_deref(),
                environment: shared.password_env.as_deref(),
            })?)
        } else {
            None
        };
        let keeps_key = shared.seal_key_file.is_none();
        Some(settings::SharedState { url, database, username, password, ca, prefix, timeout, keeps_key })
    }

    /// What says how to reach a server is a misunderstanding where none is named.
    fn without_server(&mut self, shared: &SharedState) {
        // A URL that does not do has its own complaint.
        if self.is_written("shared_state.url") {
            return;
        }
        let unread = [
            ("shared_state.username", shared.username.is_some()),
            ("shared_state.password_file", shared.password_file.is_some()),
            ("shared_state.password_env", shared.password_env.is_some()),
            ("shared_state.ca", shared.ca.is_some()),
        ];
        for (key, _) in unread.into_iter().filter(|(_, written)| *written) {
            self.wrong(key, "`shared_state.url` beside it", "name the server, or remove this");
        }
    }

    fn server_url(&mut self, text: &str) -> Option<(Url, u32)> {
        const KEY: &str = "shared_state.url";
        const EXPECTED: &str = "a `redis://` or `rediss://` URL: host, port, number of the database";
        let parsed = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "redis" | "rediss")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && url.query().is_none()
                && url.fragment().is_none()
                && !text.contains(char::is_whitespace)
        });
        let Some(url) = parsed else {
            self.wrong(KEY, EXPECTED, "write `redis://127.0.0.1:6379/0` or the like");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            let mend = "use `username`, and `password_file` or `password_env`";
            self.wrong(KEY, "a URL without user and password", mend);
            return None;
        }
        let database = match url.path().trim_start_matches('/') {
            "" => Some(0),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().ok(),
            _ => None,
        };
        let Some(database) = database.filter(|number| *number < 65_536) else {
            self.wrong(KEY, EXPECTED, "write the number of the database after the port, such as `/0`");
            return None;
        };
        if url.scheme() == "redis" && !is_loopback(&address_like(&url)) {
            let mend = "use `rediss://`: who reads along can forge page links and nonces";
            self.warn(KEY, "TLS beyond loopback", mend);
        }
        Some((url, database))
    }

    fn prefix(&mut self, written: Option<&str>) -> String {
        let prefix = written.unwrap_or(PREFIX);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if prefix.is_empty() || prefix.len() > LONGEST || !prefix.bytes().all(letter) {
            let expected = format!("1 to {LONGEST} letters, digits, `.`, `_`, `:` or `-`");
            self.wrong("shared_state.prefix", expected, format!("write `{PREFIX}` or the like"));
        }
        prefix.to_owned()
    }
}

/// The same host under a scheme whose addresses are read as such: an IP address below `redis:` is a name.
fn address_like(url: &Url) -> Url {
    let host = url.host_str().unwrap_or_default();
    Url::parse(&format!("http://{host}/")).unwrap_or_else(|_| url.clone())
}
