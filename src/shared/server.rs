//! The server that replicas share by (Redis or Valkey): one connection that is kept up, and questions with a deadline.
//!
//! A server that does not answer costs those who wait for it at that moment one deadline; from then on nobody waits until
//! it answered a trial again. Trials are writes, so that a server that only reads counts as away, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::SharedError;
use super::line::Dialler;
use crate::config::SharedState;

/// Questions that wait for an answer at once; beyond it they are refused rather than queued.
const WAITING: usize = 4096;

/// How often a server that answers is tried.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// Rests between attempts to connect, doubled from the first to the longest: a server that is back is noticed soon.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Least time for an attempt to connect: names, TCP, TLS and who we are take several turns.
const CONNECT: Duration = Duration::from_secs(1);

/// Proves that writing works, and marks since when proofs are remembered (see `proof.lua`).
const TRIAL: &str = include_str!("trial.lua");

/// A connection in use.
type Line = MultiplexedConnection;

/// How the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It cannot be used: why, for operators.
    Away(String),
    /// It was not tried yet.
    Untried,
    /// It takes what is written.
    Up,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// No answer, in time or at all.
    Away(String),
    /// It does not know the script yet.
    NoScript,
    /// An error for an answer.
    Refused(String),
}

/// What the server runs as one step.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    /// SHA-1, by which Redis knows scripts.
    name: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { text, name: super::hex(hash.as_ref()) }
    }
}

/// The server, and the connection to it.
#[derive(Debug)]
pub(super) struct Server {
    dialler: Dialler,
    prefix: String,
    patience: Duration,
    line: ArcSwapOption<Line>,
    places: Semaphore,
    lost: Notify,
    health: watch::Sender<Health>,
    trial: Script,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl Server {
    /// Contacts nobody yet.
    pub(super) fn new(settings: &SharedState) -> Result<Self, SharedError> {
        Ok(Self {
            dialler: Dialler::new(settings)?,
            prefix: settings.prefix.clone(),
            patience: settings.timeout,
            line: ArcSwapOption::empty(),
            places: Semaphore::new(WAITING),
            lost: Notify::new(),
            health: watch::Sender::new(Health::Untried),
            trial: Script::new(TRIAL),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// The name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// How it is doing, now and later.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// How many questions were asked, and how many of them had no usable answer.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// The trust anchors that were read for it.
    pub(super) fn anchors(&self) -> &[rustls::pki_types::CertificateDer<'static>] {
        self.dialler.anchors()
    }

    /// Longest wait for an answer.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A connection of one's own, for what waits at the server.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, String> {
        let limit = self.patience.max(CONNECT);
        timeout(limit, self.dialler.dial()).await.unwrap_or_else(|_| Err(format!("no answer in {limit:?}")))
    }

    /// Asks, within the deadline.
    ///
    /// # Errors
    /// Why there is no usable answer, for operators.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        self.counted(self.answer(command).await)
    }

    /// Runs a script with these keys and arguments.
    ///
    /// # Errors
    /// Why there is no usable answer, for operators.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<T, String> {
        let command = |how: &str, what: &str| {
            let mut command = redis::cmd(how);
            command.arg(what).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        let answer = match self.answer(&command("EVALSHA", &script.name)).await {
            Err(Fault::NoScript) => self.answer(&command("EVAL", script.text)).await,
            answer => answer,
        };
        self.counted(answer)
    }

    /// Keeps the connection up, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut rest = RESTS.0;
        loop {
            match self.dial().await {
                Ok(line) => {
                    let line = Arc::new(line);
                    self.line.store(Some(Arc::clone(&line)));
                    rest = RESTS.0;
                    self.look_for_eviction().await;
                    self.watch().await;
                }
                Err(cause) => {
                    self.became(Health::Away(cause));
                    sleep(rest).await;
                    rest = rest.saturating_mul(2).min(RESTS.1);
                }
            }
        }
    }

    /// Tries the connection now and then, until it is lost.
    async fn watch(&self) {
        while self.line.load().is_some() {
            let keys = [self.key("since"), self.key("alive")];
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            match self.run::<i64>(&self.trial, &keys, &[]).await {
                Ok(_) => self.became(Health::Up),
                Err(cause) => self.became(Health::Away(cause)),
            }
            tokio::select! {
                () = self.lost.notified() => return,
                () = sleep(TRIED_EVERY) => {}
            }
        }
    }

    /// What is thrown out for room could be used again: proofs, and revocations for those who start later.
    async fn look_for_eviction(&self) {
        let Ok(told) = self.ask::<String>(redis::cmd("INFO").arg("memory")).await else { return };
        let value = |name: &str| {
            told.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default()
        };
        let (limit, policy) = (value("maxmemory:"), value("maxmemory_policy:"));
        if !matches!(limit, "" | "0") && policy != "noeviction" {
            tracing::warn!(
                policy,
                "shared state may be thrown out for room: set `maxmemory-policy noeviction`"
            );
        }
    }

    async fn answer<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let Some(line) = self.line.load_full() else { return Err(Fault::Away(self.cause())) };
        let busy = |_| Fault::Away("too many questions wait for it".to_owned());
        let _place = self.places.try_acquire().map_err(busy)?;
        let mut connection = Line::clone(&line);
        match timeout(self.patience, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.fault(&line, &error)),
            Err(_) => {
                let cause = format!("no answer in {:?}", self.patience);
                self.hang_up(&line, &cause);
                Err(Fault::Away(cause))
            }
        }
    }

    fn fault(&self, line: &Arc<Line>, error: &RedisError) -> Fault {
        let kind = error.kind();
        if kind == ErrorKind::Server(ServerErrorKind::NoScript) {
            return Fault::NoScript;
        }
        // An error for an answer, and an answer that is not understood, leave the connection as it is.
        let answered = [ErrorKind::Extension, ErrorKind::UnexpectedReturnType].contains(&kind)
            || matches!(kind, ErrorKind::Server(_));
        if answered {
            return Fault::Refused(error.to_string());
        }
        self.hang_up(line, &error.to_string());
        Fault::Away(error.to_string())
    }

    /// Gives the connection up, once.
    fn hang_up(&self, line: &Arc<Line>, cause: &str) {
        let given_up = Some(Arc::clone(line));
        let before = self.line.compare_and_swap(&given_up, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, line)) {
            self.became(Health::Away(cause.to_owned()));
            self.lost.notify_one();
        }
    }

    fn counted<T>(&self, answer: Result<T, Fault>) -> Result<T, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        answer.map_err(|fault| {
            self.failed.fetch_add(1, Ordering::Relaxed);
            match fault {
                Fault::Away(cause) | Fault::Refused(cause) => cause,
                Fault::NoScript => "it does not keep scripts".to_owned(),
            }
        })
    }

    fn cause(&self) -> String {
        match &*self.health.borrow() {
            Health::Away(cause) => cause.clone(),
            Health::Untried | Health::Up => "not connected".to_owned(),
        }
    }

    fn became(&self, health: Health) {
        self.health.send_if_modified(|before| {
            match (&before, &health) {
                (Health::Away(_), Health::Away(_)) | (Health::Up, Health::Up) => {}
                (_, Health::Away(cause)) => {
                    tracing::warn!(server = ?self.dialler, cause, "shared state is away")
                }
                (_, Health::Up) => tracing::info!(server = ?self.dialler, "shared state is there"),
                (_, Health::Untried) => {}
            }
            let changed = *before != health;
            *before = health;
            changed
        });
    }
}
