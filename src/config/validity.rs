//! From when until when certificates, revocation lists and OCSP responses hold, and when that is worth a warning (TLS-9).

use jiff::Timestamp;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// An end nearer than this is worth a warning, unless the whole time is so short that this would be always.
const NEAR_SECONDS: i64 = 30 * 86_400;

/// From when until when something holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore` or `thisUpdate`.
    pub from: Timestamp,
    /// `notAfter` or `nextUpdate`.
    pub until: Timestamp,
}

/// How an instant lies to a [`Validity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Before it.
    Coming,
    /// After it.
    Ended,
    /// In it, with fewer than 30 days left, and less than a third of its time.
    Near,
    /// In it.
    Sound,
}

impl Validity {
    /// Of a certificate in DER; absent when that is none.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self { from: instant(validity.not_before)?, until: instant(validity.not_after)? })
    }

    /// Of a certificate revocation list in DER; absent when that is none, or does not say when the next one comes.
    #[must_use]
    pub fn of_revocations(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        Some(Self { from: instant(list.last_update())?, until: instant(list.next_update()?)? })
    }

    /// How an instant lies to it.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let (from, until, now) = (self.from.as_second(), self.until.as_second(), now.as_second());
        if now > until {
            Standing::Ended
        } else if now < from {
            Standing::Coming
        } else if until - now < NEAR_SECONDS.min((until - from) / 3) {
            Standing::Near
        } else {
            Standing::Sound
        }
    }

    /// The days left, rounded down; none after the end.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.until.as_second() - now.as_second()).max(0) / 86_400
    }
}

fn instant(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS-9: thirty days before the end, or a third of a short life.
    #[test]
    fn standing() {
        let day = |days: i64| Timestamp::from_second(days * 86_400).unwrap();
        let of = |from, until| Validity { from: day(from), until: day(until) };
        let table = [
            // from, until, now, how
            (10, 375, 9, Standing::Coming),
            (10, 375, 10, Standing::Sound),
            (10, 375, 345, Standing::Sound),
            (10, 375, 346, Standing::Near),
            (10, 375, 375, Standing::Near),
            (10, 375, 376, Standing::Ended),
            (0, 6, 3, Standing::Sound),
            (0, 6, 5, Standing::Near),
            (0, 6, 7, Standing::Ended),
        ];
        for (from, until, now, how) in table {
            assert_eq!(of(from, until).standing(day(now)), how, "{from}..{until} on {now}");
        }
        assert_eq!([3, 6, 9].map(|now| of(0, 6).days_left(day(now))), [3, 0, 0]);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        assert_eq!(Validity::of_certificate(b"nothing"), None);
        assert_eq!(Validity::of_revocations(b"nothing"), None);
    }
}
