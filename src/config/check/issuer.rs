//! Trusted issuers: who they are, how their tokens are checked, and that no two are confused.

use std::str::FromStr as _;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

use super::Check;
use super::client;
use super::limits::{CLOCK_SKEW, INTROSPECTION_CACHE, ISSUER_TIMEOUT, MAX_LIFETIME, REFRESH};
use super::secret::Kept;
use super::web::{PlainHttp, Query};
use crate::config::file;
use crate::config::settings::{
    AuthorizationServer, IntrospectionResponse, IssuerClient, Profile, TokenType, Validation,
};
use crate::config::values::OneOrMany;
use crate::token::ClaimNames;

const ALGORITHMS: [Algorithm; 4] = [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA];

fn introspects(validation: Validation) -> bool {
    matches!(validation, Validation::Introspection | Validation::Both)
}

impl Check<'_> {
    pub(super) fn authorization_servers(
        &mut self,
        written: Option<Vec<file::AuthorizationServer>>,
        public_url: Option<&Url>,
        profile: Profile,
    ) -> Option<Vec<AuthorizationServer>> {
        let written = written?;
        if written.is_empty() {
            self.wrong("authorization_server", "at least one", "add a table `[[authorization_server]]`");
        }
        self.distinct(&written);
        let opaque = self.opaque(&written);
        let count = written.len();
        let servers: Vec<_> = written
            .into_iter()
            .enumerate()
            .filter_map(|(i, server)| {
                let key = format!("authorization_server[{}]", i + 1);
                let mut server = self.authorization_server(&key, server, public_url)?;
                server.opaque = opaque == Some(i);
                self.revocation(&key, &server, profile);
                Some(server)
            })
            .collect();
        (servers.len() == count).then_some(servers)
    }

    /// TOK-24: an issuer stands for one set of keys and rules.
    fn distinct(&mut self, written: &[file::AuthorizationServer]) {
        for (i, server) in written.iter().enumerate() {
            let before = written.iter().take(i).position(|other| other.issuer == server.issuer);
            if let (Some(before), Some(_)) = (before, &server.issuer) {
                let expected =
                    format!("issuers that differ (this is that of the table number {})", before + 1);
                self.wrong(
                    &format!("authorization_server[{}].issuer", i + 1),
                    expected,
                    "remove one of the two",
                );
            }
        }
    }

    /// Which server tokens that are no JWT belong to (TOK-46).
    fn opaque(&mut self, written: &[file::AuthorizationServer]) -> Option<usize> {
        let introspecting = |server: &file::AuthorizationServer| {
            matches!(server.validation, Some(file::Validation::Introspection | file::Validation::Both))
        };
        let marked: Vec<usize> =
            (0..).zip(written).filter(|(_, s)| s.opaque == Some(true)).map(|(i, _)| i).collect();
        for (i, server) in (0..).zip(written).filter(|(_, server)| server.opaque == Some(true)) {
            let key = format!("authorization_server[{}].opaque", i + 1);
            if marked.first() != Some(&i) {
                self.wrong(&key, "at most one server with `opaque = true`", "remove it here or there");
            }
            if !introspecting(server) {
                let expected =
                    "`validation` of `introspection` or `both`: only that reads tokens that are no JWT";
                self.wrong(&key, expected, "change `validation`, or remove this");
            }
        }
        if !marked.is_empty() {
            return marked.first().copied();
        }
        let able: Vec<usize> = (0..)
            .zip(written)
            .filter(|(_, server)| introspecting(server) && server.opaque.is_none())
            .map(|(i, _)| i)
            .collect();
        match able.as_slice() {
            [only] => Some(*only),
            [] => None,
            [_, ..] => {
                let expected = "`opaque = true` in one of the servers that introspect";
                let mend = "mark one, or tokens that are no JWT are refused";
                self.warn("authorization_server", expected, mend);
                None
            }
        }
    }

    fn authorization_server(
        &mut self,
        key: &str,
        written: file::AuthorizationServer,
        public_url: Option<&Url>,
    ) -> Option<AuthorizationServer> {
        let issuer = written.issuer.as_deref().and_then(|text| {
            self.url(&format!("{key}.issuer"), text, (PlainHttp::Loopback, Query::Refused))
                .map(|_| text.to_owned())
        });
        let mut endpoint = |name: &str, text: Option<&str>| {
            text.and_then(|text| {
                self.url(&format!("{key}.{name}"), text, (PlainHttp::Loopback, Query::Allowed))
            })
        };
        let metadata_url = endpoint("metadata_url", written.metadata_url.as_deref());
        let jwks_url = endpoint("jwks_url", written.jwks_url.as_deref());
        let introspection_url = endpoint("introspection_url", written.introspection_url.as_deref());
        let audience = self.audience(key, written.audience, public_url);
        let validation = match written.validation {
            Some(file::Validation::Both) => Validation::Both,
            Some(file::Validation::Introspection) => Validation::Introspection,
            Some(file::Validation::Jwt) | None => Validation::Jwt,
        };
        let algorithms = self.algorithms(key, written.algorithms);
        let client = self.client(key, written.client, validation);
        self.signed_answers(key, written.introspection_response, validation);
        let max_lifetime = written.max_lifetime.and_then(|length| length.0).map(|length| {
            self.period(
                &format!("{key}.max_lifetime"),
                Some(crate::config::values::Period(length)),
                MAX_LIFETIME,
            )
        });
        let mut period = |name: &str, written, sane| self.period(&format!("{key}.{name}"), written, sane);
        let introspection_cache =
            period("introspection_cache", written.introspection_cache, INTROSPECTION_CACHE);
        let timeout = period("timeout", written.timeout, ISSUER_TIMEOUT);
        let refresh = period("refresh", written.refresh, REFRESH);
        let clock_skew = period("clock_skew", written.clock_skew, CLOCK_SKEW);
        let ca = written.ca.as_deref().and_then(|ca| self.anchors(&format!("{key}.ca"), ca));
        let claims = self.claims(key, written.claims.unwrap_or_default());
        Some(AuthorizationServer {
            issuer: issuer?,
            audience: audience?,
            validation,
            metadata_url,
            jwks_url,
            algorithms: algorithms?,
            token_type: match written.token_type {
                Some(file::TokenType::Any) => TokenType::Any,
                Some(file::TokenType::AccessToken) | None => TokenType::AccessToken,
            },
            introspection_url,
            client,
            introspection_cache,
            timeout,
            clock_skew,
            opaque: false,
            max_lifetime,
            introspection_response: written.introspection_response.unwrap_or_default(),
            authorization_details: written.authorization_details.unwrap_or_default(),
            refresh,
            ca,
            claims,
        })
    }

    /// TOK-25: some audience is always demanded.
    fn audience(
        &mut self,
        key: &str,
        written: Option<OneOrMany<String>>,
        public_url: Option<&Url>,
    ) -> Option<Vec<String>> {
        let Some(written) = written else {
            return public_url.map(|url| vec![url.as_str().trim_end_matches('/').to_owned()]);
        };
        let audience = written.into_vec();
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            let mend = "name the `aud` values of this gateway, or remove the key: `server.public_url` is the default";
            self.wrong(&format!("{key}.audience"), "at least one audience, none empty", mend);
            return None;
        }
        Some(audience)
    }

    /// TOK-20: asymmetric algorithms only.
    fn algorithms(&mut self, key: &str, written: Option<Vec<String>>) -> Option<Vec<Algorithm>> {
        let Some(written) = written else { return Some(ALGORITHMS.to_vec()) };
        if written.is_empty() {
            let mend = "remove the key for the default list";
            self.wrong(&format!("{key}.algorithms"), "at least one algorithm", mend);
            return None;
        }
        let mut algorithms = Vec::new();
        for (i, name) in written.iter().enumerate() {
            let key = format!("{key}.algorithms[{}]", i + 1);
            let known = Algorithm::from_str(name).ok();
            let symmetric = matches!(known, Some(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512));
            match known.filter(|_| !symmetric) {
                Some(algorithm) => algorithms.push(algorithm),
                None if symmetric || name.eq_ignore_ascii_case("none") => {
                    let expected = "an asymmetric algorithm; `none` and HMAC prove no issuer (TOK-20)";
                    self.wrong(&key, expected, "remove it");
                }
                None => {
                    let expected = "one of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`";
                    self.wrong(&key, expected, "write it as in RFC 7518");
                }
            }
        }
        (algorithms.len() == written.len()).then_some(algorithms)
    }

    fn client(
        &mut self,
        key: &str,
        written: Option<file::Client>,
        validation: Validation,
    ) -> Option<IssuerClient> {
        let key = format!("{key}.client");
        let Some(written) = written else {
            if introspects(validation) {
                let mend =
                    "add `client = { id = \"…\", auth = \"client_secret_basic\", secret_file = \"…\" }`";
                self.missing(&key, "the gateway's own client, because tokens are introspected", mend);
            }
            return None;
        };
        let secret = Kept {
            key: &format!("{key}.secret"),
            file: written.secret_file.as_deref(),
            environment: written.secret_env.as_deref(),
        };
        let auth = self.client_auth(&client::Written {
            table: &key,
            auth: written.auth,
            secret,
            key_file: written.key_file.as_deref(),
            kid: written.kid.as_deref(),
            algorithm: written.algorithm.as_deref(),
            certificate: written.certificate.as_deref(),
        });
        let id = written.id?;
        if id.is_empty() {
            self.wrong(&format!("{key}.id"), "the client id", "write the id the authorization server knows");
        }
        if !introspects(validation) {
            let mend = "set `validation` to `introspection` or `both`, or remove it";
            self.warn(&key, "a server that introspects: with `validation = \"jwt\"` nothing uses it", mend);
        }
        Some(IssuerClient { id, auth: auth? })
    }

    fn signed_answers(&mut self, key: &str, written: Option<IntrospectionResponse>, validation: Validation) {
        if written == Some(IntrospectionResponse::Jwt) && !introspects(validation) {
            let expected = "a server that introspects: with `validation = \"jwt\"` nothing is asked";
            let mend = "set `validation` to `introspection` or `both`, or remove it";
            self.warn(&format!("{key}.introspection_response"), expected, mend);
        }
    }

    fn claims(&mut self, key: &str, written: file::Claims) -> ClaimNames {
        let usual = ClaimNames::default();
        let claims = ClaimNames {
            scope: written.scope.map_or(usual.scope, OneOrMany::into_vec),
            patient: written.patient.unwrap_or(usual.patient),
            encounter: written.encounter.unwrap_or(usual.encounter),
            fhir_user: written.fhir_user.unwrap_or(usual.fhir_user),
            client: written.client.map_or(usual.client, OneOrMany::into_vec),
        };
        let unnamed = |names: &[String]| names.is_empty() || names.iter().any(String::is_empty);
        let parts = [
            ("scope", unnamed(&claims.scope)),
            ("patient", claims.patient.is_empty()),
            ("encounter", claims.encounter.is_empty()),
            ("fhir_user", claims.fhir_user.is_empty()),
            ("client", unnamed(&claims.client)),
        ];
        for (name, _) in parts.into_iter().filter(|(_, wrong)| *wrong) {
            let mend = "remove the key for the default name";
            self.wrong(&format!("{key}.claims.{name}"), "the name of a claim", mend);
        }
        claims
    }

    /// TOK-31: ISiK demands that a revoked token is refused at once.
    fn revocation(&mut self, key: &str, server: &AuthorizationServer, profile: Profile) {
        if profile != Profile::Isik {
            return;
        }
        if !introspects(server.validation) {
            let mend = "write `validation = \"both\"`, or keep token lifetimes very short";
            let expected = "`introspection` or `both`: ISiK wants revoked tokens refused at once (TOK-31)";
            self.warn(&format!("{key}.validation"), expected, mend);
        } else if server.introspection_cache > Duration::ZERO {
            let expected = "`0s`: ISiK wants revoked tokens refused at once (TOK-31)";
            self.warn(&format!("{key}.introspection_cache"), expected, "write `0s`");
        }
    }
}
