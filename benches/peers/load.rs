//! Load on one contestant: as much as it takes (closed loop), or at a steady rate whatever it takes (open loop).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::client::{Asks, Client, Protocol, Slot};
use crate::machine::{self, Spent};

/// Whom the load is for.
#[derive(Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    pub process: u32,
    pub protocol: Protocol,
    pub connections: usize,
}

/// How long a load lasts.
#[derive(Clone, Copy)]
pub enum Lasting {
    /// Until so many were answered, all of them measured.
    Count(usize),
    /// This long, after a while that is not measured.
    Time(Duration),
}

/// What a closed loop was able to do.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub answers: u64,
    pub bytes: u64,
    pub elapsed: Duration,
    pub cpu: Duration,
}

/// What goes on, seen by all slots.
#[derive(Default)]
struct Tally {
    started: Cell<usize>,
    answers: Cell<u64>,
    bytes: Cell<u64>,
    stop: Cell<bool>,
    problem: RefCell<Option<String>>,
}

impl Tally {
    /// The next request's number, unless it's over.
    fn next(&self, most: usize) -> Option<usize> {
        let number = self.started.get();
        self.started.set(number + 1);
        (number < most && !self.stop.get()).then_some(number)
    }

    async fn exchange(&self, slot: &mut Slot, asks: &Asks, number: usize) -> bool {
        let Some(ask) = asks.get(number % asks.len()) else { return false };
        let problem = match slot.exchange(ask, |_| ()).await {
            Ok(answer) if answer.status == 200 => {
                self.answers.set(self.answers.get() + 1);
                self.bytes.set(self.bytes.get() + answer.bytes as u64);
                return true;
            }
            Ok(answer) => format!("status {}", answer.status),
            Err(error) => error.to_string(),
        };
        self.problem.replace(Some(problem));
        self.stop.set(true);
        false
    }

    fn problem(&self) -> Result<(), String> {
        self.problem.take().map_or(Ok(()), Err)
    }
}

/// How long a load by time goes on before it's measured.
const BEFORE: Duration = Duration::from_millis(150);

/// As much as the contestant takes.
///
/// # Errors
/// When an answer is not 200: figures of refusals mean nothing.
pub async fn closed(client: &Client, target: Target, asks: &Asks, lasting: Lasting) -> Result<Done, String> {
    let tally = Rc::new(Tally::default());
    let slots = client.slots(target.address, target.protocol, target.connections).await;
    let slots = slots.map_err(|error| error.to_string())?;
    let most = match lasting {
        Lasting::Count(count) => count,
        Lasting::Time(_) => usize::MAX,
    };
    let begin = || (Spent::of(target.process), Instant::now(), tally.answers.get(), tally.bytes.get());
    let mut begun = begin();
    let mut working = JoinSet::new();
    for mut slot in slots {
        let (tally, asks) = (Rc::clone(&tally), Rc::clone(asks));
        working.spawn_local(async move {
            while let Some(number) = tally.next(most) {
                if !tally.exchange(&mut slot, &asks, number).await {
                    return;
                }
            }
        });
    }
    if let Lasting::Time(time) = lasting {
        tokio::time::sleep(BEFORE).await;
        begun = begin();
        tokio::time::sleep(time).await;
    } else {
        while working.join_next().await.is_some() {}
    }
    let (spent, since, answers, bytes) = &begun;
    let done = Done {
        answers: tally.answers.get() - answers,
        bytes: tally.bytes.get() - bytes,
        elapsed: since.elapsed(),
        cpu: Spent::of(target.process).since(spent),
    };
    tally.stop.set(true);
    while working.join_next().await.is_some() {}
    tally.problem()?;
    Ok(done)
}

/// At so many requests a second; gives how long each took from the moment when it was due, in order of length. Who is slow to
/// answer makes those behind wait, and that counts.
///
/// # Errors
/// When an answer is not 200.
pub async fn open(
    client: &Client,
    target: Target,
    asks: &Asks,
    (rate, time): (f64, Duration),
) -> Result<Vec<Duration>, String> {
    let tally = Rc::new(Tally::default());
    let slots = client.slots(target.address, target.protocol, target.connections).await;
    let slots = slots.map_err(|error| error.to_string())?;
    let (send, due) = mpsc::unbounded_channel();
    let due = Rc::new(Mutex::new(due));
    let taken = Rc::new(RefCell::new(Vec::new()));
    let mut working = JoinSet::new();
    for mut slot in slots {
        let (tally, asks, due, taken) =
            (Rc::clone(&tally), Rc::clone(asks), Rc::clone(&due), Rc::clone(&taken));
        working.spawn_local(async move {
            loop {
                let next = due.lock().await.recv().await;
                let Some((number, due)): Option<(usize, Instant)> = next else { return };
                if !tally.exchange(&mut slot, &asks, number).await {
                    return;
                }
                taken.borrow_mut().push(due.elapsed());
            }
        });
    }
    let enough = std::sync::Arc::new(AtomicBool::new(false));
    let pacing = std::thread::spawn({
        let enough = std::sync::Arc::clone(&enough);
        move || {
            pace((rate, time), |number, at| {
                enough.load(Ordering::Relaxed) || send.send((number, at)).is_err()
            })
        }
    });
    while working.join_next().await.is_some() {}
    enough.store(true, Ordering::Relaxed);
    let _ended = pacing.join();
    tally.problem()?;
    let mut taken = taken.take();
    taken.sort_unstable();
    Ok(taken)
}

/// Says when each request is due, with gaps as they are between callers who know nothing of each other.
fn pace((rate, time): (f64, Duration), over: impl Fn(usize, Instant) -> bool) {
    machine::sleep_sharply();
    let begun = Instant::now();
    let mut at = 0.0;
    // A fixed seed: each contestant meets the same gaps.
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for number in 0.. {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let even = ((random >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        at -= even.ln() / rate;
        if at > time.as_secs_f64() {
            return;
        }
        let due = begun + Duration::from_secs_f64(at);
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        if over(number, due) {
            return;
        }
    }
}
