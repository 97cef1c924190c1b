//! The key that links and nonces are made with, agreed upon through the server.
//!
//! Whoever comes first puts its own there. A replica that started alone takes the common key over when the server is
//! there, and another one that an operator puts there, within half a minute; the key before goes on opening.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::server::{Health, Server};
use super::{SharedError, bytes, hex};

/// How often it is looked whether the key is still the same.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Rest after a question that had no answer.
const REST: Duration = Duration::from_secs(1);

/// The key in force, and the one before. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey {
    /// What new links and nonces are made with.
    pub secret: [u8; 32],
    /// What older ones were made with.
    pub former: Option<[u8; 32]>,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The key, and whether it is known to be that of all replicas.
#[derive(Debug)]
pub(super) struct Agreement {
    key: watch::Sender<SharedKey>,
    reached: watch::Sender<bool>,
}

impl Agreement {
    /// A key of this process.
    pub(super) fn new() -> Result<Self, SharedError> {
        let mut secret = [0; 32];
        let failed = |_| SharedError::Unusable("the system gives no random bytes".to_owned());
        aws_lc_rs::rand::fill(&mut secret).map_err(failed)?;
        let key = SharedKey { secret, former: None };
        Ok(Self { key: watch::Sender::new(key), reached: watch::Sender::new(false) })
    }

    /// The key, now and later.
    pub(super) fn key(&self) -> watch::Receiver<SharedKey> {
        self.key.subscribe()
    }

    /// Whether it was agreed upon.
    pub(super) fn reached(&self) -> watch::Receiver<bool> {
        self.reached.subscribe()
    }

    /// Agrees with the other replicas whenever the server is there, for ever.
    pub(super) async fn keep(self: Arc<Self>, server: Arc<Server>) {
        let mut health = server.health();
        while health.wait_for(|health| *health == Health::Up).await.is_ok() {
            match self.agree(&server).await {
                Ok(()) => {
                    self.reached.send_replace(true);
                    // A server that is back may have forgotten it.
                    let lost = health.wait_for(|health| *health != Health::Up);
                    let _either = tokio::time::timeout(LOOK_EVERY, lost).await.is_ok();
                }
                Err(cause) => {
                    tracing::warn!(cause, "the shared key of links and nonces is not agreed upon");
                    sleep(REST).await;
                }
            }
        }
    }

    async fn agree(&self, server: &Server) -> Result<(), String> {
        let name = server.key("key");
        let own = hex(&self.key.borrow().secret);
        server.ask::<()>(redis::cmd("SET").arg(&name).arg(own).arg("NX")).await?;
        let common: String = server.ask(redis::cmd("GET").arg(&name)).await?;
        let common = bytes(&common).ok_or_else(|| format!("`{name}` is not 64 hexadecimal digits"))?;
        self.key.send_if_modified(|key| {
            let changed = key.secret != common;
            if changed {
                *key = SharedKey { secret: common, former: Some(key.secret) };
            }
            changed
        });
        Ok(())
    }
}
