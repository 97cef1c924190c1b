//! How the gateway shows an authorization server that it is the client it says.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header};
use reqwest::header::HeaderValue;
use serde_json::json;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::error::CallError;
use crate::config::{AssertionKey, IssuerClient, IssuerClientAuth};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long a client assertion is good.
const ASSERTION_SECONDS: i64 = 60;

/// The gateway's credentials at one authorization server.
#[derive(Debug, Clone)]
pub struct Authentication {
    client: IssuerClient,
    signer: Option<Arc<EncodingKey>>,
}

impl Authentication {
    /// Takes the credentials and looks whether they can be used.
    ///
    /// # Errors
    /// A key that cannot sign.
    pub fn new(client: &IssuerClient) -> Result<Self, CallError> {
        let signer = match &client.auth {
            IssuerClientAuth::PrivateKeyJwt(key) => Some(Arc::new(signer(key)?)),
            IssuerClientAuth::SecretBasic(_) | IssuerClientAuth::SecretPost(_) | IssuerClientAuth::Tls(_) => {
                None
            }
        };
        Ok(Self { client: client.clone(), signer })
    }

    /// Adds what the method wants to a form, and gives the `Authorization` field if the credentials go there. `audience` is
    /// the server as an assertion names it: its issuer identifier, or the endpoint where that is not known.
    ///
    /// # Errors
    /// When no assertion can be made.
    pub fn apply(
        &self,
        form: &mut Serializer<'_, String>,
        audience: &str,
    ) -> Result<Option<HeaderValue>, CallError> {
        match &self.client.auth {
            IssuerClientAuth::SecretBasic(secret) => Ok(basic(&self.client.id, secret.reveal())),
            IssuerClientAuth::SecretPost(secret) => {
                form.append_pair("client_id", &self.client.id);
                form.append_pair("client_secret", secret.reveal());
                Ok(None)
            }
            IssuerClientAuth::PrivateKeyJwt(key) => {
                form.append_pair("client_id", &self.client.id);
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &self.assertion(key, audience)?);
                Ok(None)
            }
            // The certificate is in the handshake (RFC 8705 §2.1).
            IssuerClientAuth::Tls(_) => {
                form.append_pair("client_id", &self.client.id);
                Ok(None)
            }
        }
    }

    /// A client assertion (RFC 7523 §3), good for one minute and one use.
    fn assertion(&self, key: &AssertionKey, audience: &str) -> Result<String, CallError> {
        let unusable = |cause: String| CallError::KeyUnusable { client: self.client.id.clone(), cause };
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id)
            .map_err(|_| unusable("the system gives no random bytes".to_owned()))?;
        let now = now().as_second();
        let claims = json!({
            "iss": self.client.id, "sub": self.client.id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now, "exp": now.saturating_add(ASSERTION_SECONDS),
        });
        let mut header = Header::new(key.algorithm);
        header.kid.clone_from(&key.kid);
        let signer = self.signer.as_deref().ok_or_else(|| unusable("no key".to_owned()))?;
        jsonwebtoken::encode(&header, &claims, signer).map_err(|error| unusable(error.to_string()))
    }
}

/// Assertions are read against the clock of another machine.
#[expect(clippy::disallowed_methods, reason = "assertions are also made where there is no request")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn signer(key: &AssertionKey) -> Result<EncodingKey, CallError> {
    let pem = key.pem.reveal().as_bytes();
    let read = match key.algorithm.family() {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => Err(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat.into()),
    };
    let client = key.kid.clone().unwrap_or_default();
    read.map_err(|error| CallError::KeyUnusable { client, cause: error.to_string() })
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 §2.3.1, Appendix B.
    #[test]
    fn basic_credentials_are_form_encoded() {
        let table = [("pforte", "secret", "pforte:secret"), ("a:b", "p +%é", "a%3Ab:p+%2B%25%C3%A9")];
        for (id, secret, plain) in table {
            let expected = format!("Basic {}", STANDARD.encode(plain));
            assert_eq!(basic(id, secret).unwrap().to_str().unwrap(), expected);
        }
    }
}
