//! The client certificate that a trusted proxy passes on (TOK-61; RFC 9440).
//!
//! Whether the sender of the field is to be believed is for the caller to know: from anybody else it means nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;

use super::binding::Thumbprint;
use super::error::TokenError;

/// The one field with a standard form (RFC 9440 §2.2); all others hold URL-encoded PEM.
const CLIENT_CERT: &str = "client-cert";

impl Thumbprint {
    /// That of the certificate in this field of a trusted proxy. An absent or empty field is no certificate.
    ///
    /// # Errors
    /// [`TokenError::CertificateFieldUnreadable`] for more than one field, or none of the expected form.
    pub fn forwarded(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, TokenError> {
        let unreadable = || TokenError::CertificateFieldUnreadable { field: name.to_string() };
        let mut fields = headers.get_all(name).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        let text = field.to_str().map_err(|_| unreadable())?;
        if fields.next().is_some() {
            return Err(unreadable());
        }
        // A proxy that copies an empty variable says that there was none.
        if text.is_empty() {
            return Ok(None);
        }
        let der = if name.as_str() == CLIENT_CERT { byte_sequence(text) } else { encoded_pem(text) };
        let der = der.filter(|der| parse_x509_certificate(der).is_ok_and(|(rest, _)| rest.is_empty()));
        der.map(|der| Some(Self::of_certificate(&der))).ok_or_else(unreadable)
    }
}

/// A Byte Sequence of RFC 8941 §3.3.5, without parameters: RFC 9440 defines none.
fn byte_sequence(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix(':')?.strip_suffix(':')?).ok()
}

/// What nginx calls `$ssl_client_escaped_cert`: one certificate, and nothing with it.
fn encoded_pem(text: &str) -> Option<Vec<u8>> {
    let pem = percent_decode_str(text).decode_utf8().ok()?;
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    match (found.next(), found.next()) {
        (Some(Ok(one)), None) => Some(one.as_ref().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn escaped(pem: &str) -> String {
        percent_encoding::utf8_percent_encode(pem, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    fn read(name: &'static str, values: &[&str]) -> Result<Option<Thumbprint>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let name = HeaderName::from_static(name);
        Thumbprint::forwarded(&headers, &name).map_err(|refusal| refusal.reason_id())
    }

    /// TOK-61, RFC 9440 §2.2: each form, and what comes close to it.
    #[test]
    fn forms() {
        let made = rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap().cert;
        let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap().cert;
        let (der, pem) = (made.der().as_ref(), made.pem());
        let is = Ok(Some(Thumbprint::of_certificate(der)));
        let bad = Err("client_certificate_unreadable");
        let plain = STANDARD.encode(der);
        let sequence = format!(":{plain}:");
        let short = format!(":{}:", STANDARD.encode(&der[1..]));
        let long = format!(":{}:", STANDARD.encode([der, b"x"].concat()));
        let (rfc, nginx) = ("client-cert", "x-ssl-client-cert");
        let two = escaped(&format!("{pem}{}", other.pem()));
        let lines = pem.replace('\n', "%0A").replace(' ', "%20");
        let table: [(&'static str, Vec<&str>, Result<Option<Thumbprint>, &'static str>); 20] = [
            (rfc, vec![], Ok(None)),
            (rfc, vec![""], Ok(None)),
            (rfc, vec![&sequence], is),
            (rfc, vec![&sequence, &sequence], bad),
            (rfc, vec![&plain], bad),
            (rfc, vec![&short], bad),
            (rfc, vec![&long], bad),
            (rfc, vec!["::"], bad),
            (rfc, vec![":AAAA:"], bad),
            (rfc, vec![":%:"], bad),
            (rfc, vec!["", &sequence], bad),
            (nginx, vec![], Ok(None)),
            (nginx, vec![""], Ok(None)),
            (nginx, vec!["(null)"], bad),
            (nginx, vec![&lines], is),
            (nginx, vec![&sequence], bad),
            (nginx, vec![&two], bad),
            (nginx, vec!["%FF"], bad),
            (nginx, vec!["-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A"], bad),
            (nginx, vec![&plain], bad),
        ];
        for (name, values, means) in table {
            assert_eq!(read(name, &values), means, "{name} {values:?}");
        }
        assert_eq!(read(nginx, &[&escaped(&pem)]), is);
        assert_eq!(read(rfc, &[&format!("{sequence};a=b")]), bad);
    }
}
