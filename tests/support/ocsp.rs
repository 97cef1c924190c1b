//! OCSP responses for tests. Nobody here checks their signatures, so they have none worth the name.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::{BitString, GeneralizedTime, Null, OctetString};
use der::{Decode, Encode};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, ResponderId, ResponseData,
    RevokedInfo, SingleResponse, Version,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a response says of a certificate.
#[derive(Clone, Copy)]
pub enum Says {
    Good,
    Revoked,
    Unknown,
}

/// A response in DER about a certificate in DER, for these seconds since the epoch.
pub fn response(certificate: &[u8], says: Says, from: u64, until: Option<u64>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(certificate).expect("a certificate");
    let octets = |bytes: &[u8]| OctetString::new(bytes).expect("short");
    // SHA-1 as responders name it: SEQUENCE { 1.3.14.3.2.26, NULL }.
    let sha1 = [0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
    // ecdsa-with-SHA256: SEQUENCE { 1.2.840.10045.4.3.2 }.
    let ecdsa = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let serial = certificate.tbs_certificate.raw_serial();
    let serial = [&[2, u8::try_from(serial.len()).expect("short")], serial].concat();
    let about = CertId {
        hash_algorithm: Decode::from_der(&sha1).expect("an algorithm"),
        issuer_name_hash: octets(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.issuer().as_raw()).as_ref()),
        issuer_key_hash: octets(&[0; 20]),
        serial_number: Decode::from_der(&serial).expect("a serial number"),
    };
    let cert_status = match says {
        Says::Good => CertStatus::good(),
        Says::Revoked => {
            CertStatus::revoked(RevokedInfo { revocation_time: time(from), revocation_reason: None })
        }
        Says::Unknown => CertStatus::Unknown(Null),
    };
    let answer = SingleResponse {
        cert_id: about,
        cert_status,
        this_update: time(from),
        next_update: until.map(time),
        single_extensions: None,
    };
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(octets(&[0; 20])),
        produced_at: time(from),
        responses: vec![answer],
        response_extensions: None,
    };
    let basic = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: Decode::from_der(&ecdsa).expect("an algorithm"),
        signature: BitString::from_bytes(&[0]).expect("short"),
        certs: None,
    };
    OcspResponse::successful(basic).and_then(|response| response.to_der()).expect("DER")
}

fn time(seconds: u64) -> OcspGeneralizedTime {
    let since = std::time::Duration::from_secs(seconds);
    OcspGeneralizedTime(GeneralizedTime::from_unix_duration(since).expect("a time"))
}
