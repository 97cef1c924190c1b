//! What must be reached, as a table, and whether it was.

use crate::contestant::Peer;
use crate::report::Results;
use crate::rounds::{Figures, median};
use crate::work::Grant;

/// One limit.
pub struct Limit {
    pub text: &'static str,
    pub of: Of,
    pub at_most: f64,
    pub aim: Option<f64>,
}

/// What is held against it.
pub enum Of {
    /// CPU time of Pforte's answers, as a multiple of a peer's.
    Cpu { work: &'static str, grant: Grant, beside: Peer },
    /// A figure of Pforte's, in its own unit.
    Figure(&'static str),
    /// A figure of Pforte's, as a multiple of nginx's.
    Ratio(&'static str),
}

const fn cpu(
    text: &'static str,
    (work, grant, beside): (&'static str, Grant, Peer),
    at_most: f64,
    aim: Option<f64>,
) -> Limit {
    Limit { text, of: Of::Cpu { work, grant, beside }, at_most, aim }
}

use Grant::{Everything as All, OfAPatient as Checked};
use Peer::{HaproxyJwt, Nginx};

/// All of them.
pub const LIMITS: &[Limit] = &[
    cpu("small read, streamed, × nginx", ("read", All, Nginx), 1.2, Some(0.9)),
    cpu("small read, streamed, × HAProxy with jwt_verify", ("read", All, HaproxyJwt), 0.5, None),
    cpu("small read, `patient/`, checked, × nginx", ("read", Checked, Nginx), 1.6, Some(1.2)),
    cpu("10,000 tokens by RS256, warm, × nginx", ("tokens-rs256", All, Nginx), 1.3, None),
    cpu("10,000 tokens by ES256, warm, × nginx", ("tokens-es256", All, Nginx), 1.3, None),
    cpu("first sight of a token by RS256, × nginx", ("first-rs256", All, Nginx), 1.8, None),
    cpu("first sight of a token by RS256, × HAProxy", ("first-rs256", All, HaproxyJwt), 0.75, None),
    cpu("first sight of a token by ES256, × nginx", ("first-es256", All, Nginx), 3.2, None),
    cpu("first sight of a token by ES256, × HAProxy", ("first-es256", All, HaproxyJwt), 0.75, None),
    cpu("search, 100 KiB, JSON, streamed, × nginx", ("search", All, Nginx), 0.8, None),
    cpu("search, 100 KiB, JSON, checked, × nginx", ("search", Checked, Nginx), 1.3, None),
    cpu("search, 100 KiB, XML, checked, × nginx", ("search-xml", Checked, Nginx), 3.0, None),
    cpu("search, 10 MiB, JSON, streamed, × nginx", ("large", All, Nginx), 0.7, None),
    cpu("search, 10 MiB, JSON, checked, × nginx", ("large", Checked, Nginx), 1.2, None),
    Limit { text: "full handshake, × nginx", of: Of::Ratio("handshake"), at_most: 0.5, aim: None },
    Limit {
        text: "memory of each of 9,500 idle connections, KiB",
        of: Of::Figure("memory-9500"),
        at_most: 20.0,
        aim: Some(15.0),
    },
    Limit { text: "memory with none, MiB", of: Of::Figure("memory-none"), at_most: 16.0, aim: None },
    Limit {
        text: "memory with 100 streams of 10 MiB, MiB",
        of: Of::Figure("streams"),
        at_most: 256.0,
        aim: None,
    },
    Limit { text: "start to first answer, ms", of: Of::Figure("start"), at_most: 100.0, aim: None },
    Limit {
        text: "audit on, small read: answers in a second less by, %",
        of: Of::Figure("audit-read"),
        at_most: 15.0,
        aim: None,
    },
];

impl Limit {
    /// What was measured; nothing when that part didn't run.
    pub fn measured(&self, results: &Results) -> Option<f64> {
        match self.of {
            Of::Cpu { work, grant, beside } => {
                let figures = &results.works.iter().find(|(name, _)| *name == work)?.1;
                let own = figures
                    .iter()
                    .find(|one| one.entrant.peer == Peer::Pforte && one.entrant.grant == grant)?;
                let other = figures.iter().find(|one| one.entrant.peer == beside)?;
                Some(median(&ratios(own, other)))
            }
            Of::Figure(name) => Some(median(results.figure(name, Peer::Pforte)?)),
            Of::Ratio(name) => {
                let (own, other) = (results.figure(name, Peer::Pforte)?, results.figure(name, Peer::Nginx)?);
                Some(median(own) / median(other))
            }
        }
    }

    /// In one word, or with how much is missing.
    pub fn verdict(&self, measured: f64) -> String {
        match self.aim {
            Some(aim) if measured <= aim => "reached, and its aim".to_owned(),
            _ if measured <= self.at_most => "reached".to_owned(),
            _ => format!("missed by {:.0} %", (measured / self.at_most - 1.0) * 100.0),
        }
    }
}

/// CPU time as a multiple of another's, round by round.
pub fn ratios(own: &Figures, other: &Figures) -> Vec<f64> {
    own.cpu.iter().zip(&other.cpu).map(|(own, other)| own / other).collect()
}
