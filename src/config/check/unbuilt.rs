//! Keys this version knows but does not honour.
//!
//! Where ignoring one would change what is enforced or where something is sent, it is an error; where it would change
//! nothing that anybody relies on, a warning. None is passed over in silence.

use super::Check;
use crate::config::file::{ClientAuth, Credentials, Dpop, File, Nonce};

const LATER: &str = "nothing there: it is not available in this version";

impl Check<'_> {
    pub(super) fn refuse_unbuilt(&mut self, file: &File) {
        self.refuse_unbuilt_connections(file);
        if let Some(dpop) = &file.dpop {
            self.dpop(dpop);
        }
        // One sink that does not fit takes the list out of `file`, so the keys are looked at instead.
        let kinds: Vec<_> = (1..)
            .map(|i| format!("audit.sink[{i}].kind"))
            .take_while(|key| self.is_written(key))
            .filter(|key| !self.has_complaint(key))
            .collect();
        for key in kinds {
            self.wrong(&key, LATER, "remove this sink, and collect the records from the folder `audit.path`");
        }
        if file.shared_state.as_ref().is_some_and(|shared| shared.url.is_some()) {
            let mend = "remove it: rate limits are kept by each replica for itself";
            self.wrong("shared_state.url", LATER, mend);
        }
        if file.telemetry.as_ref().is_some_and(|telemetry| telemetry.otlp.is_some()) {
            self.wrong("telemetry.otlp", LATER, "remove it, and read logs and `/metrics`");
        }
        if file.route.is_some() {
            self.wrong("route", LATER, "remove it, and run one gateway for each backend");
        }
    }

    fn refuse_unbuilt_connections(&mut self, file: &File) {
        match file.backend.as_ref().and_then(|backend| backend.credentials.as_ref()) {
            Some(Credentials::ClientCredentials { .. } | Credentials::TokenExchange { .. }) => {
                let expected =
                    "`none`, `forward`, `basic` or `bearer`: this kind is not available in this version";
                self.wrong("backend.credentials.kind", expected, "use one of these");
            }
            Some(
                Credentials::Basic { .. }
                | Credentials::Bearer { .. }
                | Credentials::Forward {}
                | Credentials::None {},
            )
            | None => {}
        }
        for (i, server) in file.authorization_server.iter().flatten().enumerate() {
            let Some(client) = &server.client else { continue };
            let key = format!("authorization_server[{}].client", i + 1);
            if let Some(ClientAuth::PrivateKeyJwt | ClientAuth::Tls) = client.auth {
                let expected = "`client_secret_basic` or `client_secret_post`: this method is not available in this version";
                self.wrong(&format!("{key}.auth"), expected, "use one of these with `secret_file`");
                continue;
            }
            let unread = [
                ("key_file", client.key_file.is_some()),
                ("kid", client.kid.is_some()),
                ("certificate", client.certificate.is_some()),
            ];
            for (name, _) in unread.into_iter().filter(|(_, written)| *written) {
                self.wrong(&format!("{key}.{name}"), LATER, "remove it, and use `secret_file`");
            }
        }
    }

    fn dpop(&mut self, dpop: &Dpop) {
        if dpop.enabled == Some(true) {
            let mend =
                "write `false` to say so, or leave it: tokens bound to a key or certificate are refused";
            self.warn(
                "dpop.enabled",
                "no client to rely on it: proofs are not verified in this version",
                mend,
            );
        }
        self.period("dpop.clock_window", dpop.clock_window, super::limits::CLOCK_WINDOW);
        if dpop.nonce == Some(Nonce::Required) {
            self.wrong("dpop.nonce", "`off`: nonces are not available in this version", "write `off`");
        }
    }
}
