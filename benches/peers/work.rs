//! The work that is measured, as a table, and the requests that it is made of.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use jsonwebtoken::Algorithm;

use crate::authority::{Authority, EVERYTHING, MANY, OF_A_PATIENT};
use crate::client::{Asks, Protocol, Words};
use crate::contestant::Peer;
use crate::proof::Holder;
use crate::setting::{self, BASE, Setting};

/// What the tokens of requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Each bound to a key, with a proof of its own for each request.
    Bound,
    /// Ten thousand, each seen for the first time, by a gateway that has just started.
    First(Algorithm),
    /// One.
    Hot,
    /// Ten thousand in turn.
    Many(Algorithm),
    /// One that only introspection understands.
    Opaque,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Batch,
    Read,
    /// Of 100 KiB.
    Search,
    /// Of 10 MiB.
    LargeSearch,
}

/// What a token grants to Pforte's client; other contestants read no scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    Everything,
    OfAPatient,
}

/// One line of the table of works.
pub struct Work {
    /// By which it is chosen.
    pub name: &'static str,
    pub title: &'static str,
    pub errand: Errand,
    pub media: &'static str,
    pub tokens: Tokens,
    pub protocol: Protocol,
    pub peers: &'static [Peer],
    /// What Pforte is measured with.
    pub grants: &'static [Grant],
}

const JSON: &str = "application/fhir+json";
const XML: &str = "application/fhir+xml";
const BOTH: &[Grant] = &[Grant::Everything, Grant::OfAPatient];
const ONE: &[Grant] = &[Grant::Everything];

/// Everything that is measured by rounds.
pub const WORKS: &[Work] = &[
    Work {
        name: "read",
        title: "read, 1 KiB, one token",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::Haproxy, Peer::HaproxyJwt, Peer::Apache],
        grants: BOTH,
    },
    Work {
        name: "read-h2",
        title: "read, 1 KiB, one token, HTTP/2",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http2,
        peers: &[Peer::Nginx, Peer::Haproxy],
        grants: BOTH,
    },
    Work {
        name: "tokens-rs256",
        title: "read, 1 KiB, 10,000 tokens by RS256, seen before",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Many(Algorithm::RS256),
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::HaproxyJwt, Peer::Apache],
        grants: ONE,
    },
    Work {
        name: "tokens-es256",
        title: "read, 1 KiB, 10,000 tokens by ES256, seen before",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Many(Algorithm::ES256),
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::HaproxyJwt],
        grants: ONE,
    },
    Work {
        name: "first-rs256",
        title: "read, 1 KiB, each token by RS256 for the first time",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::First(Algorithm::RS256),
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::HaproxyJwt],
        grants: ONE,
    },
    Work {
        name: "first-es256",
        title: "read, 1 KiB, each token by ES256 for the first time",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::First(Algorithm::ES256),
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::HaproxyJwt],
        grants: ONE,
    },
    Work {
        name: "dpop",
        title: "read, 1 KiB, DPoP, a proof by ES256 for each",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Bound,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx],
        grants: ONE,
    },
    Work {
        name: "introspection",
        title: "read, 1 KiB, an opaque token, introspected before",
        errand: Errand::Read,
        media: JSON,
        tokens: Tokens::Opaque,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx],
        grants: ONE,
    },
    Work {
        name: "batch",
        title: "batch of 50 reads",
        errand: Errand::Batch,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::HaproxyJwt],
        grants: BOTH,
    },
    Work {
        name: "search",
        title: "search, 100 KiB, JSON",
        errand: Errand::Search,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::NginxWide, Peer::Haproxy, Peer::HaproxyJwt],
        grants: BOTH,
    },
    Work {
        name: "search-xml",
        title: "search, 100 KiB, XML",
        errand: Errand::Search,
        media: XML,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx],
        grants: BOTH,
    },
    Work {
        name: "search-h2",
        title: "search, 100 KiB, JSON, HTTP/2",
        errand: Errand::Search,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http2,
        peers: &[Peer::Nginx, Peer::Haproxy],
        grants: BOTH,
    },
    Work {
        name: "large",
        title: "search, 10 MiB, JSON",
        errand: Errand::LargeSearch,
        media: JSON,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx, Peer::NginxWide, Peer::Haproxy, Peer::HaproxyJwt],
        grants: BOTH,
    },
    Work {
        name: "large-xml",
        title: "search, 10 MiB, XML",
        errand: Errand::LargeSearch,
        media: XML,
        tokens: Tokens::Hot,
        protocol: Protocol::Http1,
        peers: &[Peer::Nginx],
        grants: BOTH,
    },
];

impl Work {
    /// Requests at the same time.
    pub fn connections(&self) -> usize {
        if self.errand == Errand::LargeSearch { 8 } else { 32 }
    }

    /// How many requests a round is when it isn't a time: where each may be sent once only, or takes long.
    pub fn count(&self, seconds: f64) -> Option<usize> {
        match (self.tokens, self.errand) {
            (Tokens::First(_), _) => Some(MANY),
            // At some 200 µs for a request and its proof.
            (Tokens::Bound, _) => Some((seconds * 4000.0) as usize),
            (_, Errand::LargeSearch) => Some(((seconds * 30.0) as usize).max(16)),
            (_, _) => None,
        }
    }

    /// Where it is sent.
    fn target(&self) -> &'static str {
        match self.errand {
            Errand::Batch => "/fhir",
            Errand::Read => "/fhir/Patient/pat-01",
            Errand::Search => "/fhir/Observation?_count=100",
            Errand::LargeSearch => "/fhir/Observation?_count=10000",
        }
    }

    fn words(&self, token: &str) -> Words<'static> {
        let body = (self.errand == Errand::Batch).then(|| Bytes::from(setting::batch()));
        Words {
            target: self.target(),
            media: self.media,
            authorization: format!("Bearer {token}"),
            dpop: None,
            body,
        }
    }

    /// The requests of one round; those with proofs are as many as asked for, made now.
    pub fn asks(&self, grant: Grant, purse: &Purse, count: usize) -> Asks {
        let one = |token: &String| self.words(token).ask(self.protocol);
        match self.tokens {
            Tokens::Hot => Rc::new([one(purse.hot(grant))]),
            Tokens::Opaque => Rc::new([one(&purse.opaque)]),
            Tokens::Many(algorithm) | Tokens::First(algorithm) => {
                purse.many(algorithm).iter().map(one).collect()
            }
            Tokens::Bound => (0..count).map(|number| self.proven(purse, number)).collect(),
        }
    }

    /// One request for each that must not be the last one to be measured: with the hot token.
    pub fn warming(&self, purse: &Purse) -> Asks {
        match self.tokens {
            Tokens::Bound | Tokens::First(_) => {
                Rc::new([self.words(purse.hot(Grant::Everything)).ask(self.protocol)])
            }
            Tokens::Hot | Tokens::Many(_) | Tokens::Opaque => self.asks(Grant::Everything, purse, 1),
        }
    }

    fn proven(&self, purse: &Purse, number: usize) -> crate::client::Ask {
        let (holder, token) = purse.bound.get(number % purse.bound.len()).expect("a holder");
        let url = format!("{BASE}{}", self.target().trim_start_matches("/fhir"));
        let words = Words {
            authorization: format!("DPoP {token}"),
            dpop: Some(holder.proof("GET", &url, Some(token), |_| ())),
            ..self.words(token)
        };
        words.ask(self.protocol)
    }
}

/// The tokens that clients have.
pub struct Purse {
    everything: String,
    of_a_patient: String,
    opaque: String,
    rs256: Vec<String>,
    es256: Vec<String>,
    /// More than one, because no key may fill the memory of used proofs alone.
    bound: Vec<(Holder, String)>,
}

impl Purse {
    /// Tokens for these works.
    pub fn filled(setting: &Setting, works: &[&Work]) -> Self {
        let Authority { rsa, ec, .. } = &setting.authority;
        let wanted = |algorithm| {
            works
                .iter()
                .any(|work| [Tokens::First(algorithm), Tokens::Many(algorithm)].contains(&work.tokens))
        };
        let many = |signer: &crate::authority::Signer, algorithm, kept: &Path| {
            if wanted(algorithm) { signer.many(kept) } else { Vec::new() }
        };
        let bound = (0..64).map(|number| {
            let holder = Holder::new(Algorithm::ES256);
            let token = ec.token(number, EVERYTHING, Some(holder.thumbprint()));
            (holder, token)
        });
        Self {
            everything: rsa.token(MANY, EVERYTHING, None),
            of_a_patient: rsa.token(MANY + 1, OF_A_PATIENT, None),
            opaque: "opaque-0123456789012345678901234567890123456789".to_owned(),
            rs256: many(rsa, Algorithm::RS256, &setting.kept),
            es256: many(ec, Algorithm::ES256, &setting.kept),
            bound: bound.collect(),
        }
    }

    /// The one token by RS256.
    pub fn hot(&self, grant: Grant) -> &String {
        match grant {
            Grant::Everything => &self.everything,
            Grant::OfAPatient => &self.of_a_patient,
        }
    }

    fn many(&self, algorithm: Algorithm) -> &[String] {
        if algorithm == Algorithm::ES256 { &self.es256 } else { &self.rs256 }
    }
}
