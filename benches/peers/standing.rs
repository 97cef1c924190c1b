//! What is measured besides answers: handshakes, memory of idle connections, many large answers at once, and the start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::client::{Ask, Client, Connection, Protocol, Words};
use crate::contestant::{Contestant, Peer};
use crate::machine::{self, Spent};
use crate::rounds::Effort;
use crate::setting::Setting;
use crate::work::{Grant, Purse};

/// One figure of several contestants, round by round.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub by: Vec<(Peer, Vec<f64>)>,
}

/// Parts that are not works.
pub const PARTS: &[(&str, &str)] = &[
    ("handshake", "full TLS 1.3 handshakes, X25519 and a P-256 certificate"),
    ("memory", "memory with no, 1,000 and 9,500 idle TLS connections"),
    ("streams", "memory while 100 clients read 10 MiB slowly"),
    ("start", "from the start of the process to the first answer"),
];

/// Idle connections, at most: what the usual limit of 20,000 open files leaves to each side.
const IDLE: usize = 9500;

/// What the parts are measured with.
pub struct Stand<'a> {
    pub setting: &'a Setting,
    pub client: &'a Client,
    pub purse: &'a Purse,
    pub present: &'a [Peer],
    pub effort: Effort,
}

impl Stand<'_> {
    /// Measures the part of this name.
    ///
    /// # Errors
    /// When a contestant doesn't answer as it must.
    pub async fn measure(&self, part: &str) -> Result<Vec<Figure>, String> {
        match part {
            "handshake" => self.handshakes().await,
            "memory" => self.memory().await,
            "streams" => self.streams().await,
            "start" => self.starts().await,
            other => Err(format!("`{other}` is no part")),
        }
    }

    fn among(&self, peers: &[Peer]) -> Vec<Peer> {
        peers.iter().copied().filter(|peer| self.present.contains(peer)).collect()
    }

    fn read(&self) -> Bytes {
        self.wire("/fhir/Patient/pat-01")
    }

    fn wire(&self, target: &str) -> Bytes {
        let words = Words {
            target,
            media: "application/fhir+json",
            authorization: format!("Bearer {}", self.purse.hot(Grant::Everything)),
            dpop: None,
            body: None,
        };
        match words.ask(Protocol::Http1) {
            Ask::Http1(wire) => wire,
            Ask::Http2(_) => Bytes::new(),
        }
    }

    /// CPU time for a handshake, and handshakes in a second. Nothing is asked; the client says farewell.
    async fn handshakes(&self) -> Result<Vec<Figure>, String> {
        let peers = self.among(&[Peer::Nginx, Peer::Haproxy, Peer::Pforte]);
        let running: Vec<_> =
            peers.iter().map(|peer| (*peer, Contestant::start(*peer, self.setting))).collect();
        let mut cpu: Vec<(Peer, Vec<f64>)> = peers.iter().map(|peer| (*peer, Vec::new())).collect();
        let mut rate = cpu.clone();
        for round in 0..=self.effort.rounds {
            for (place, (_, contestant)) in running.iter().enumerate() {
                let (each, a_second) = self.shaken(contestant, round).await?;
                // The first round is for warming up.
                if round > 0 {
                    cpu.get_mut(place).into_iter().for_each(|(_, values)| values.push(each));
                    rate.get_mut(place).into_iter().for_each(|(_, values)| values.push(a_second));
                }
            }
        }
        Ok(vec![
            Figure { name: "handshake", title: "full handshake, CPU", unit: "µs", by: cpu },
            Figure { name: "handshake-rate", title: "full handshakes in a second", unit: "/s", by: rate },
        ])
    }

    async fn shaken(&self, contestant: &Contestant, round: usize) -> Result<(f64, f64), String> {
        let count = ((self.effort.seconds * 600.0) as usize).max(100);
        let (before, begun) = (Spent::of(contestant.process()), Instant::now());
        let to = address(contestant);
        let mut working = JoinSet::new();
        for task in 0..16 {
            let client = self.client.clone();
            working.spawn_local(async move {
                for number in (task..count).step_by(16) {
                    // What is closed keeps its port for a minute.
                    let connection = client.connect(to, Some(source(round * 7 + number))).await;
                    connection.map_err(|error| error.to_string())?.close().await;
                }
                Ok::<(), String>(())
            });
        }
        while let Some(ended) = working.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let spent = Spent::of(contestant.process()).since(&before).as_secs_f64();
        Ok((spent * 1e6 / count as f64, count as f64 / elapsed))
    }

    /// Memory of a process that has just started, and of each connection that has been answered once and then is idle.
    async fn memory(&self) -> Result<Vec<Figure>, String> {
        let peers = self.among(&[Peer::Nginx, Peer::Haproxy, Peer::Pforte]);
        let mut none = Vec::new();
        let mut some = Vec::new();
        let mut many = Vec::new();
        for peer in peers {
            let contestant = Contestant::start(peer, self.setting);
            none.push((peer, vec![settled(&contestant).await / 1024.0]));
            self.settle(&contestant).await?;
            let mut held = Vec::new();
            self.hold(&contestant, &mut held, 1).await?;
            // What the first one costs is not each one's.
            let begin = settled(&contestant).await;
            self.hold(&contestant, &mut held, 1000).await?;
            let added = |now: f64, count: usize| vec![(now - begin) / count as f64];
            some.push((peer, added(settled(&contestant).await, held.len() - 1)));
            self.hold(&contestant, &mut held, IDLE).await?;
            let open = machine::open_files(contestant.process());
            if open < IDLE {
                return Err(format!("{} holds {open} files open, not {IDLE} connections", peer.name()));
            }
            many.push((peer, added(settled(&contestant).await, held.len() - 1)));
        }
        let figure = |name, title, unit, by| Figure { name, title, unit, by };
        Ok(vec![
            figure("memory-none", "memory with no connection", "MiB", none),
            figure("memory-1000", "memory of each of 1,000 idle connections", "KiB", some),
            figure("memory-9500", "memory of each of 9,500 idle connections", "KiB", many),
        ])
    }

    /// More connections that have been answered once, until there are so many; some are opened at a time.
    async fn hold(
        &self,
        contestant: &Contestant,
        held: &mut Vec<Connection>,
        most: usize,
    ) -> Result<(), String> {
        while held.len() < most {
            let mut opening = JoinSet::new();
            for number in held.len()..(held.len() + 32).min(most) {
                opening.spawn_local(idle(self.client.clone(), address(contestant), self.read(), number));
            }
            while let Some(opened) = opening.join_next().await {
                held.push(opened.map_err(|error| error.to_string())??);
            }
        }
        Ok(())
    }

    /// The most memory that is in use while a hundred clients read 10 MiB each, slower than it could be sent.
    async fn streams(&self) -> Result<Vec<Figure>, String> {
        let mut by = Vec::new();
        for peer in self.among(&[Peer::Nginx, Peer::Haproxy, Peer::Pforte]) {
            let contestant = Contestant::start(peer, self.setting);
            self.settle(&contestant).await?;
            let wire = Rc::new(self.wire("/fhir/Observation?_count=10000"));
            let mut working = JoinSet::new();
            for _ in 0..100 {
                let connection = self.client.connect(address(&contestant), None).await;
                let mut connection = connection.map_err(|error| error.to_string())?;
                let wire = Rc::clone(&wire);
                working.spawn_local(async move {
                    connection.send(&wire).await.map_err(|error| error.to_string())?;
                    sip_all(&mut connection).await
                });
            }
            let mut most = 0;
            while !working.is_empty() {
                most = most.max(machine::resident(contestant.process()));
                let ended = tokio::time::timeout(Duration::from_millis(10), working.join_next()).await;
                if let Ok(Some(ended)) = ended {
                    ended.map_err(|error| error.to_string())??;
                }
            }
            by.push((peer, vec![most as f64 / f64::from(1 << 20)]));
        }
        Ok(vec![Figure {
            name: "streams",
            title: "most memory while 100 clients read 10 MiB each slowly",
            unit: "MiB",
            by,
        }])
    }

    /// How long it takes from nothing to a good answer to an authorized request.
    async fn starts(&self) -> Result<Vec<Figure>, String> {
        let peers = self.among(&[Peer::Nginx, Peer::Haproxy, Peer::Pforte]);
        let mut by: Vec<(Peer, Vec<f64>)> = peers.iter().map(|peer| (*peer, Vec::new())).collect();
        for _ in 0..self.effort.rounds {
            for (peer, values) in &mut by {
                let begun = Instant::now();
                let (running, port) = Contestant::launch(*peer, self.setting);
                let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                while !self.answered(to).await {
                    if begun.elapsed() > Duration::from_secs(10) {
                        return Err(format!("{} does not answer after its start", peer.name()));
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                values.push(begun.elapsed().as_secs_f64() * 1e3);
                drop(running);
            }
        }
        Ok(vec![Figure { name: "start", title: "from start to first answer", unit: "ms", by }])
    }

    /// Waits for the first good answer: keys of the authorization server may be on their way.
    ///
    /// # Errors
    /// When there is none within a few seconds.
    pub async fn settle(&self, contestant: &Contestant) -> Result<(), String> {
        for _ in 0..200 {
            if self.answered(address(contestant)).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("it does not answer as it must".to_owned())
    }

    async fn answered(&self, to: SocketAddr) -> bool {
        let Ok(mut connection) = self.client.connect(to, None).await else { return false };
        let mut buffer = vec![0; 16 << 10];
        let answer = connection.exchange(&self.read(), &mut buffer, |_| ()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }
}

/// A connection that has been answered once.
async fn idle(client: Client, to: SocketAddr, wire: Bytes, number: usize) -> Result<Connection, String> {
    let failed = |error: std::io::Error| format!("connection {number}: {error}");
    let mut connection = client.connect(to, Some(source(number))).await.map_err(failed)?;
    let mut buffer = vec![0; 16 << 10];
    match connection.exchange(&wire, &mut buffer, |_| ()).await.map_err(failed)?.status {
        200 => Ok(connection),
        status => Err(format!("connection {number}: status {status}")),
    }
}

/// Reads an answer of 10 MiB in sips of 64 KiB, some 3 MB a second.
async fn sip_all(connection: &mut Connection) -> Result<(), String> {
    let mut buffer = vec![0; 64 << 10];
    // URLs are rewritten to shorter ones, so an answer is a little less than 10 MiB.
    let mut left: usize = 10_200_000;
    let mut since = 0;
    while left > 0 {
        let read = connection.sip(&mut buffer).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("an answer ended before its time".to_owned());
        }
        left = left.saturating_sub(read);
        since += read;
        if since > 64 << 10 {
            since = 0;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Memory in KiB once it doesn't move any more.
async fn settled(contestant: &Contestant) -> f64 {
    tokio::time::sleep(Duration::from_millis(700)).await;
    machine::memory(contestant.process()) as f64 / 1024.0
}

fn address(contestant: &Contestant) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, contestant.port))
}

/// One of a hundred source addresses of loopback.
fn source(number: usize) -> IpAddr {
    let last = u8::try_from(number % 100).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(127, 0, 7, last + 1))
}
