//! Sealed links: the backend's own page cursors and export addresses, made fit to leave (SRCH-25, OPS-20).
//!
//! A cursor is a capability that most servers do not authorise again. It leaves encrypted and authenticated, bound to
//! client, subject, issuer and launch patient, with an expiry, and says which permissions the request that led to it
//! needed: a link is never a proof of permission, they are asked for again (SRCH-26).
//!
//! AES-256-GCM-SIV with a nonce derived from the content: two links with the same content are the same text, which
//! keeps answers cacheable and tells nobody anything new (RFC 8452 §4).

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fhir::{FhirVersion, Letter, ResourceType};
use crate::token::Grant;

/// The query parameter of the public base that carries a sealed link.
pub const LINK_PARAMETER: &str = "_link";

/// What separates these seals from any other use of the key.
const CONTEXT: &[u8] = b"pforte sealed link 1";

/// The key that links are sealed with.
#[derive(Debug)]
pub struct SealKey(LessSafeKey);

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leads {
    /// The status or a file of an export.
    #[serde(rename = "e")]
    Export,
    /// Another page of a search or history.
    #[serde(rename = "p")]
    Page,
}

/// Who may follow a link: the grant it was made under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    #[serde(rename = "c", skip_serializing_if = "Option::is_none", default)]
    client: Option<String>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none", default)]
    subject: Option<String>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none", default)]
    issuer: Option<String>,
    #[serde(rename = "p", skip_serializing_if = "Option::is_none", default)]
    patient: Option<String>,
}

impl Binding {
    /// The binding to this grant.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        Self {
            client: grant.client().map(str::to_owned),
            subject: grant.subject().map(str::to_owned),
            issuer: grant.issuer().map(str::to_owned),
            patient: grant.patient().map(str::to_owned),
        }
    }
}

/// A link that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it leads to.
    #[serde(rename = "l")]
    pub leads: Leads,
    /// The backend's target below its base, as the backend wrote it.
    #[serde(rename = "t")]
    pub target: String,
    /// Who may follow it.
    #[serde(rename = "b")]
    pub binding: Binding,
    /// What the request that led here needed: type (or `*`) and letters, any one of which is enough.
    #[serde(rename = "n")]
    needs: Vec<(String, String)>,
    /// When it stops working, in seconds since 1970.
    #[serde(rename = "x")]
    expires: i64,
}

impl Link {
    /// A link to a target, with what the request that led to it needed.
    #[must_use]
    pub fn new(leads: Leads, target: String, terms: &Terms) -> Self {
        Self {
            leads,
            target,
            binding: terms.binding.clone(),
            needs: terms.needs.clone(),
            expires: terms.expires,
        }
    }

    /// Whether it has expired.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        now.as_second() >= self.expires
    }

    /// What following it needs, or nothing when a type is none of this version.
    #[must_use]
    pub fn needs(&self, version: FhirVersion) -> Option<Vec<(Option<ResourceType>, Vec<Letter>)>> {
        let need = |(name, letters): &(String, String)| {
            let resource = match name.as_str() {
                "*" => None,
                name => Some(version.resource_type(name)?),
            };
            Some((resource, letters.chars().filter_map(Letter::from_char).collect()))
        };
        self.needs.iter().map(need).collect()
    }
}

/// On which terms links leave with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who may follow them.
    pub binding: Binding,
    /// What the request needed.
    pub needs: Vec<(String, String)>,
    /// When they stop working, in seconds since 1970.
    pub expires: i64,
}

impl SealKey {
    /// A key from 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM_SIV, bytes).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// The text that stands for a link; `None` when the cipher fails, which leaves the link out.
    #[must_use]
    pub fn seal(&self, link: &Link) -> Option<String> {
        let mut sealed = serde_json::to_vec(link).ok()?;
        let hash = digest(&SHA256, &sealed);
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(CONTEXT), &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The link behind a text, when this key sealed it and not a bit was changed.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Link> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(12)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::from(CONTEXT), &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let binding =
            Binding { client: Some("app".into()), subject: None, issuer: None, patient: Some("p1".into()) };
        let terms = Terms { binding, needs: vec![("Patient".into(), "s".into())], expires: 100 };
        Link::new(Leads::Page, "?_getpages=abc".into(), &terms)
    }

    /// SRCH-25: what was sealed opens, with the same key and unchanged only.
    #[test]
    fn only_what_was_sealed_opens() {
        let key = SealKey::new(&[7; 32]).expect("a key");
        let text = key.seal(&link()).expect("sealed");
        assert_eq!(key.open(&text), Some(link()));
        assert_eq!(key.seal(&link()), Some(text.clone()), "the same content is the same text");
        let other = SealKey::new(&[8; 32]).expect("a key");
        assert_eq!(other.open(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(&String::from_utf8(changed).expect("text")), None, "byte {at}");
        }
        for foreign in ["", "abc", "?_getpages=abc", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(key.open(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn links_expire() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert!(!link().expired(at(99)));
        assert!(link().expired(at(100)));
    }
}
