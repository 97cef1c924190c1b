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

use std::sync::Arc;

use crate::fhir::{CompartmentKind, FhirVersion, Letter, Parameter, ResourceType, SearchQuery, Target};
use crate::matching::Criterion;
use crate::policy::admission::By;
use crate::policy::permit::{Counting, Join, SearchDuty};
use crate::policy::plan::{Part, State};
use crate::policy::search::Reached;
use crate::policy::term::Term;
use crate::token::Grant;

/// The query parameter of the public base that carries a sealed link.
pub const LINK_PARAMETER: &str = "_link";

/// What separates these seals from any other use of the key.
const CONTEXT: &[u8] = b"pforte sealed link 1";

/// The key that links are sealed with, and one before it that still opens them.
#[derive(Debug)]
pub struct SealKey {
    key: LessSafeKey,
    former: Option<LessSafeKey>,
}

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
    /// By which permission what it leads to may be shown: `r`, `s`, or either of them.
    #[serde(rename = "y", skip_serializing_if = "Option::is_none", default)]
    by: Option<char>,
    /// How its matches are held against the grant.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    search: Option<Search>,
    /// The parts of a search that are united, each where it is.
    #[serde(rename = "g", skip_serializing_if = "Vec::is_empty", default)]
    parts: Vec<Going>,
    /// When it stops working, in seconds since 1970.
    #[serde(rename = "x")]
    expires: i64,
}

/// A [`SearchDuty`] in words that outlive a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Search {
    #[serde(rename = "t")]
    searched: Vec<String>,
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty", default)]
    reversed: Vec<String>,
    #[serde(rename = "j", skip_serializing_if = "Vec::is_empty", default)]
    joins: Vec<(String, String, String)>,
    #[serde(rename = "p", skip_serializing_if = "Vec::is_empty", default)]
    pins: Vec<(String, String, String)>,
    #[serde(rename = "c", skip_serializing_if = "std::ops::Not::not", default)]
    counting: bool,
    #[serde(rename = "o", skip_serializing_if = "Vec::is_empty", default)]
    sort: Vec<String>,
    #[serde(rename = "n", skip_serializing_if = "Option::is_none", default)]
    count: Option<usize>,
}

/// A [`Part`] of a search on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Going {
    /// The searched type.
    #[serde(rename = "t")]
    resource: String,
    /// What it finds: the parameters, and a compartment as `Type/id`.
    #[serde(rename = "f", skip_serializing_if = "Vec::is_empty", default)]
    finds: Vec<(String, String)>,
    #[serde(rename = "w", skip_serializing_if = "Option::is_none", default)]
    within: Option<String>,
    /// The target below the base and how many of its entries were shown; none: it is at its end.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none", default)]
    page: Option<(String, usize)>,
}

impl Going {
    fn of(part: &Part) -> Self {
        let mut going =
            Self { resource: part.resource.to_string(), finds: Vec::new(), within: None, page: None };
        for term in &part.finds {
            match term {
                Term::Compartment(kind, id) => going.within = Some(format!("{}/{id}", kind.resource_type())),
                Term::Matches(criterion) => {
                    let parameter = criterion.parameter();
                    going.finds.push((parameter.name().to_owned(), parameter.value().to_owned()));
                }
            }
        }
        going.page = match &part.state {
            State::Begin => Some((Target::from_parts(part.path.clone(), part.query.clone()).to_string(), 0)),
            State::Page(target, shown) => Some((target.clone(), *shown)),
            State::Done => None,
        };
        going
    }

    fn part(&self, version: FhirVersion) -> Option<Part> {
        let resource = version.resource_type(&self.resource)?;
        let term = |(name, value): &(String, String)| {
            let parameter = Parameter::new(name.as_str(), value.as_str());
            Criterion::new(version, resource, &parameter).ok().map(Term::Matches)
        };
        let mut finds: Vec<Term> = self.finds.iter().map(term).collect::<Option<_>>()?;
        if let Some((focus, id)) = self.within.as_deref().and_then(|within| within.split_once('/')) {
            let kind = CompartmentKind::of(version.resource_type(focus)?)?;
            finds.push(Term::Compartment(kind, id.to_owned()));
        }
        let state = self.page.clone().map_or(State::Done, |(target, shown)| State::Page(target, shown));
        Some(Part { path: Vec::new(), query: SearchQuery::default(), resource, finds, state })
    }
}

impl Search {
    fn of(duty: &SearchDuty) -> Self {
        let names = |types: &[ResourceType]| types.iter().map(|t| t.as_str().to_owned()).collect();
        let join = |join: &Join| (join.from.to_string(), join.code.clone(), join.to.to_string());
        let pin = |criterion: &Criterion| {
            let parameter = criterion.parameter();
            (criterion.resource().to_string(), parameter.name().to_owned(), parameter.value().to_owned())
        };
        Self {
            searched: names(&duty.searched),
            reversed: names(&duty.reversed),
            joins: duty.joins.iter().map(join).collect(),
            pins: duty.pins.iter().map(pin).collect(),
            counting: duty.counting == Counting::Only,
            sort: duty.sort.clone(),
            count: duty.count,
        }
    }

    fn duty(&self, version: FhirVersion) -> Option<SearchDuty> {
        let types = |names: &[String]| {
            names.iter().map(|name| version.resource_type(name)).collect::<Option<Vec<_>>>()
        };
        let join = |(from, code, to): &(String, String, String)| {
            let (from, to) = (version.resource_type(from)?, version.resource_type(to)?);
            Some(Join { from, code: code.clone(), to })
        };
        let pin = |(of, name, value): &(String, String, String)| {
            Criterion::new(
                version,
                version.resource_type(of)?,
                &Parameter::new(name.as_str(), value.as_str()),
            )
            .ok()
        };
        Some(SearchDuty {
            searched: types(&self.searched)?,
            reversed: types(&self.reversed)?,
            joins: self.joins.iter().map(join).collect::<Option<_>>()?,
            pins: self.pins.iter().map(pin).collect::<Option<_>>()?,
            counting: if self.counting { Counting::Only } else { Counting::No },
            sort: self.sort.clone(),
            count: self.count,
        })
    }
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
            by: match terms.by {
                By::Either => None,
                By::Read => Some('r'),
                By::Search => Some('s'),
            },
            search: terms.search.as_deref().map(Search::of),
            parts: Vec::new(),
            expires: terms.expires,
        }
    }

    /// A link to the next page of several searches that are united; `target` is the client's own search.
    #[must_use]
    pub fn onward(target: String, parts: &[Part], terms: &Terms) -> Self {
        Self { parts: parts.iter().map(Going::of).collect(), ..Self::new(Leads::Page, target, terms) }
    }

    /// The parts of the searches that are united, if it leads to such.
    pub(super) fn parts(&self, version: FhirVersion) -> Option<Vec<Part>> {
        self.parts.iter().map(|going| going.part(version)).collect()
    }

    /// By which permission what it leads to may be shown, and how its matches are held against the grant; nothing when
    /// it names a type or parameter that this version does not have.
    pub(super) fn search(&self, version: FhirVersion) -> Option<(By, Option<SearchDuty>)> {
        let by = match self.by {
            None => By::Either,
            Some('r') => By::Read,
            Some('s') => By::Search,
            Some(_) => return None,
        };
        match &self.search {
            None => Some((by, None)),
            Some(search) => Some((by, Some(search.duty(version)?))),
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
    /// By which permission what they lead to may be shown.
    pub by: By,
    /// How its matches are held against the grant.
    pub search: Option<Arc<SearchDuty>>,
    /// How much of what was searched is reached.
    pub extent: Reached,
    /// When they stop working, in seconds since 1970.
    pub expires: i64,
}

impl SealKey {
    /// A key from 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        Some(Self { key: cipher(bytes)?, former: None })
    }

    /// The same, opening what another key sealed as well.
    #[must_use]
    pub fn succeeding(self, former: &[u8; 32]) -> Option<Self> {
        Some(Self { former: Some(cipher(former)?), ..self })
    }

    /// The text that stands for a link; `None` when the cipher fails, which leaves the link out.
    #[must_use]
    pub fn seal(&self, link: &Link) -> Option<String> {
        let mut sealed = serde_json::to_vec(link).ok()?;
        let hash = digest(&SHA256, &sealed);
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(CONTEXT), &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The link behind a text, when this key sealed it, or the one before, and not a bit was changed.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Link> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(12)?;
        let open = |key: &LessSafeKey| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let opened = key.open_in_place(nonce, Aad::from(CONTEXT), &mut sealed).ok()?;
            serde_json::from_slice(opened).ok()
        };
        open(&self.key).or_else(|| open(self.former.as_ref()?))
    }
}

fn cipher(bytes: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, bytes).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let binding =
            Binding { client: Some("app".into()), subject: None, issuer: None, patient: Some("p1".into()) };
        let terms = Terms {
            binding,
            needs: vec![("Patient".into(), "s".into())],
            by: By::Either,
            search: None,
            extent: Reached::Whole,
            expires: 100,
        };
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

    /// A key opens what the one before it sealed, and seals what only it opens.
    #[test]
    fn a_key_succeeds_another() {
        let key = |byte| SealKey::new(&[byte; 32]).expect("a key");
        let (first, second) = (key(1), key(2).succeeding(&[1; 32]).expect("a key"));
        let (old, new) = (first.seal(&link()).expect("sealed"), second.seal(&link()).expect("sealed"));
        assert_eq!(second.open(&old), Some(link()));
        assert_eq!(second.open(&new), Some(link()));
        assert_eq!((first.open(&new), key(2).open(&new)), (None, Some(link())));
        assert_eq!(key(3).succeeding(&[2; 32]).expect("a key").open(&old), None);
    }

    #[test]
    fn links_expire() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert!(!link().expired(at(99)));
        assert!(link().expired(at(100)));
    }
}
