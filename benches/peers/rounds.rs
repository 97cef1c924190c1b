//! Rounds in turn: each contestant does the same work in each round, so that what changes on the machine meets all.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::Client;
use crate::contestant::{Contestant, Peer};
use crate::load::{self, Done, Lasting, Target};
use crate::setting::{STRANGER, Setting};
use crate::work::{Errand, Grant, Purse, Tokens, Work};

/// A contestant and what its client is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entrant {
    pub peer: Peer,
    pub grant: Grant,
}

impl Entrant {
    /// How tables name it.
    pub fn name(self) -> String {
        match (self.peer, self.grant) {
            (Peer::Pforte, Grant::Everything) => "Pforte, `system/*.rs`".to_owned(),
            (Peer::Pforte, Grant::OfAPatient) => "Pforte, `patient/*.rs`, checked".to_owned(),
            (peer, _) => peer.name().to_owned(),
        }
    }
}

/// What was measured of one entrant, round by round.
#[derive(Clone, Debug)]
pub struct Figures {
    pub entrant: Entrant,
    /// CPU time for an answer, in microseconds.
    pub cpu: Vec<f64>,
    /// Answers in a second.
    pub rate: Vec<f64>,
    /// Bytes of an answer's body.
    pub size: f64,
    /// How long half and 99 of 100 answers took at half of that rate.
    pub latency: Option<(Duration, Duration)>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// For each entrant in each round.
    pub seconds: f64,
    /// The same for the latency.
    pub half_load: f64,
}

/// The entrants of a work, of which those that are not installed stay away.
pub fn entrants(work: &Work, present: &[Peer]) -> Vec<Entrant> {
    let others = work.peers.iter().filter(|peer| present.contains(peer));
    let others = others.map(|peer| Entrant { peer: *peer, grant: Grant::Everything });
    others.chain(work.grants.iter().map(|grant| Entrant { peer: Peer::Pforte, grant: *grant })).collect()
}

/// Measures one work.
///
/// # Errors
/// When an answer is not as it must be: the figures would mean nothing.
pub async fn measure(
    (setting, client, purse): (&Setting, &Client, &Purse),
    work: &Work,
    present: &[Peer],
    effort: Effort,
) -> Result<Vec<Figures>, String> {
    let mut figures: Vec<Figures> = entrants(work, present).into_iter().map(Figures::none).collect();
    let mut peers: Vec<Peer> = figures.iter().map(|figures| figures.entrant.peer).collect();
    peers.dedup();
    let mut running: Vec<(Peer, Contestant)> =
        peers.into_iter().map(|peer| (peer, Contestant::start(peer, setting))).collect();
    for round in 0..effort.rounds {
        // Who comes first changes: what warms up or wears out meets all.
        let count = figures.len();
        for place in 0..count {
            let Some(figures) = figures.get_mut((place + round) % count) else { continue };
            let entrant = figures.entrant;
            let own = running.iter_mut().find(|(peer, _)| *peer == entrant.peer);
            let Some((_, contestant)) = own else { continue };
            if matches!(work.tokens, Tokens::First(_)) && round > 0 && entrant.peer == Peer::Pforte {
                *contestant = Contestant::start(entrant.peer, setting);
            }
            let turn = Turn { work, entrant, target: target(contestant, work), client, purse };
            let done = turn.closed(round, effort.seconds).await;
            let done = done.map_err(|problem| format!("{}, {}: {problem}", work.name, entrant.name()))?;
            figures.note(done);
        }
    }
    // A token can be seen for the first time once only.
    if !matches!(work.tokens, Tokens::First(_)) && effort.half_load > 0.0 {
        for figures in &mut figures {
            let Some((_, own)) = running.iter().find(|(peer, _)| *peer == figures.entrant.peer) else {
                continue;
            };
            let turn = Turn { work, entrant: figures.entrant, target: target(own, work), client, purse };
            figures.latency = turn.open(median(&figures.rate) / 2.0, effort.half_load).await?;
        }
    }
    Ok(figures)
}

fn target(contestant: &Contestant, work: &Work) -> Target {
    Target {
        address: SocketAddr::from(([127, 0, 0, 1], contestant.port)),
        process: contestant.process(),
        protocol: work.protocol,
        connections: work.connections(),
    }
}

/// One entrant's turn.
struct Turn<'a> {
    work: &'a Work,
    entrant: Entrant,
    target: Target,
    client: &'a Client,
    purse: &'a Purse,
}

impl Turn<'_> {
    async fn closed(&self, round: usize, seconds: f64) -> Result<Done, String> {
        let count = self.work.count(seconds);
        if round == 0 || matches!(self.work.tokens, Tokens::First(_)) {
            self.right().await?;
            let warming = self.work.warming(self.purse);
            let until = if self.work.errand == Errand::LargeSearch { 8 } else { 2 * warming.len().max(500) };
            load::closed(self.client, self.target, &warming, Lasting::Count(until)).await?;
        }
        let asks = self.work.asks(self.entrant.grant, self.purse, count.unwrap_or(1));
        let lasting = count.map_or(Lasting::Time(Duration::from_secs_f64(seconds)), Lasting::Count);
        load::closed(self.client, self.target, &asks, lasting).await
    }

    async fn open(&self, rate: f64, seconds: f64) -> Result<Option<(Duration, Duration)>, String> {
        let count = (rate * seconds * 1.5) as usize + 100;
        let asks = self.work.asks(self.entrant.grant, self.purse, count);
        let time = Duration::from_secs_f64(seconds);
        let taken = load::open(self.client, self.target, &asks, (rate, time)).await?;
        let at = |part: usize| taken.get(taken.len() * part / 100).copied();
        Ok(at(50).zip(at(99)))
    }

    /// One answer, looked at: what must be cut is cut, and what must not is there.
    async fn right(&self) -> Result<(), String> {
        let asks = match self.work.tokens {
            Tokens::First(_) => self.work.warming(self.purse),
            Tokens::Bound | Tokens::Hot | Tokens::Many(_) | Tokens::Opaque => {
                self.work.asks(self.entrant.grant, self.purse, 1)
            }
        };
        let ask = asks.first().ok_or("no request")?;
        let mut last = String::new();
        // Keys of the authorization server may still be on their way.
        for _ in 0..100 {
            match self.client.fetch(self.target.address, ask).await {
                Ok((200, body)) => return self.seen(&String::from_utf8_lossy(&body)),
                Ok((status, body)) => last = format!("status {status}: {}", String::from_utf8_lossy(&body)),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(last)
    }

    fn seen(&self, body: &str) -> Result<(), String> {
        let searches = matches!(self.work.errand, Errand::Search | Errand::LargeSearch);
        let all = self.entrant.grant == Grant::Everything;
        if searches && body.contains(STRANGER) != all {
            return Err("what the grant excludes is not what is missing".to_owned());
        }
        if body.len() < 200 {
            return Err(format!("a short answer: {body}"));
        }
        Ok(())
    }
}

impl Figures {
    fn none(entrant: Entrant) -> Self {
        Self { entrant, cpu: Vec::new(), rate: Vec::new(), size: 0.0, latency: None }
    }

    fn note(&mut self, done: Done) {
        let answers = done.answers.max(1) as f64;
        self.cpu.push(done.cpu.as_secs_f64() * 1e6 / answers);
        self.rate.push(done.answers as f64 / done.elapsed.as_secs_f64());
        self.size = done.bytes as f64 / answers;
    }
}

/// The one in the middle; of an even number the upper of two.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
