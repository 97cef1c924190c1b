//! Reads an OCSP response (RFC 6960 §4.2) that is to be stapled, and holds it against the certificate it is for.
//!
//! Its signature is not checked: clients do that, and the gateway trusts nothing on its word.

use aws_lc_rs::digest;
use der::Decode as _;
use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::validity::Validity;

/// RFC 6960 §4.2.1.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// Why a file is nothing to staple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StapleError {
    /// A response for another certificate, as after a renewal.
    #[error("it is for another certificate")]
    Another,
    /// It never says when it ends, so nobody could tell when to leave it out.
    #[error("it has no nextUpdate")]
    Endless,
    /// The responder said that the certificate is revoked.
    #[error("it says that the certificate is revoked")]
    Revoked,
    /// The responder does not know the certificate.
    #[error("it says that the certificate is unknown")]
    Unknown,
    /// No OCSP response.
    #[error("it is no OCSP response in DER")]
    Unreadable,
    /// The responder answered with an error.
    #[error("it is not a successful answer")]
    Unsuccessful,
}

/// From when until when a response says that the certificate is good.
///
/// # Errors
/// When it does not say so.
pub fn staple(response: &[u8], leaf: &[u8]) -> Result<Validity, StapleError> {
    let response = OcspResponse::from_der(response).map_err(|_| StapleError::Unreadable)?;
    if response.response_status != OcspResponseStatus::Successful {
        return Err(StapleError::Unsuccessful);
    }
    let bytes = response.response_bytes.filter(|bytes| bytes.response_type == BASIC);
    let bytes = bytes.ok_or(StapleError::Unreadable)?;
    let basic =
        BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|_| StapleError::Unreadable)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| StapleError::Another)?;
    let answers = basic.tbs_response_data.responses;
    let answer = answers.iter().find(|answer| is_for(&answer.cert_id, &leaf)).ok_or(StapleError::Another)?;
    match answer.cert_status {
        CertStatus::Good(_) => validity(answer),
        CertStatus::Revoked(_) => Err(StapleError::Revoked),
        CertStatus::Unknown(_) => Err(StapleError::Unknown),
    }
}

/// Same serial number by the same issuer. The hash of the issuer's key is left to clients: the issuer's certificate need
/// not be in the chain.
fn is_for(id: &CertId, leaf: &X509Certificate<'_>) -> bool {
    let algorithm = match id.hash_algorithm.oid {
        SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        SHA256 => &digest::SHA256,
        _ => return false,
    };
    let issuer = digest::digest(algorithm, leaf.issuer().as_raw());
    id.serial_number.as_bytes() == leaf.raw_serial() && id.issuer_name_hash.as_bytes() == issuer.as_ref()
}

fn validity(answer: &SingleResponse) -> Result<Validity, StapleError> {
    let until = answer.next_update.ok_or(StapleError::Endless)?;
    Ok(Validity { from: instant(answer.this_update)?, until: instant(until)? })
}

fn instant(time: OcspGeneralizedTime) -> Result<Timestamp, StapleError> {
    let seconds = time.0.to_unix_duration().as_secs();
    let seconds = i64::try_from(seconds).map_err(|_| StapleError::Unreadable)?;
    Timestamp::from_second(seconds).map_err(|_| StapleError::Unreadable)
}
