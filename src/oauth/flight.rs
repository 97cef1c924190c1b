//! One call in flight for all who want the same answer (TOK-30, TOK-47).
//!
//! A call runs on a task of its own, so a client that hangs up does not take it away from the others. The lock guards a
//! map look-up only and is never held across an await.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::telemetry::carried;

type Calls<K, T> = HashMap<K, Arc<watch::Sender<Option<T>>>>;
type Running<K, T> = Arc<Mutex<Calls<K, T>>>;

/// Calls in flight, by what they ask.
#[derive(Debug)]
pub struct Flights<K: Eq + Hash, T> {
    running: Running<K, T>,
}

/// A seat in a flight.
#[derive(Debug)]
pub struct Seat<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Seat<T> {
    /// The answer, if it comes within `limit`.
    pub async fn landed(mut self, limit: Duration) -> Option<T> {
        let answer = tokio::time::timeout(limit, self.0.wait_for(Option::is_some)).await;
        match answer {
            Ok(Ok(answer)) => answer.clone(),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl<K: Eq + Hash, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// A seat in the running call, or in the one this starts if it is `allowed` to; both are decided at one instant.
    pub fn join<F>(&self, key: K, allowed: impl FnOnce() -> bool, call: impl FnOnce() -> F) -> Option<Seat<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut running = lock(&self.running);
        if let Some(call) = running.get(&key) {
            return Some(Seat(call.subscribe()));
        }
        if !allowed() {
            return None;
        }
        let (land, answer) = watch::channel(None);
        let land = Arc::new(land);
        running.insert(key.clone(), Arc::clone(&land));
        drop(running);
        let over = Over { running: Arc::clone(&self.running), key };
        // In traces the call is a part of the request that began it.
        let call = carried(call());
        tokio::spawn(async move {
            let answer = call.await;
            // Whoever comes after the answer starts a new call: it must not get one from before it came.
            drop(over);
            land.send_replace(Some(answer));
        });
        Some(Seat(answer))
    }

    /// Seats taken in all flights, for tests that wait until everybody is aboard.
    #[cfg(test)]
    pub fn seats(&self) -> usize {
        lock(&self.running).values().map(|call| call.receiver_count()).sum()
    }
}

/// Takes the call off the map however its task ends.
struct Over<K: Eq + Hash, T> {
    running: Running<K, T>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Over<K, T> {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

fn lock<K, T>(running: &Running<K, T>) -> MutexGuard<'_, Calls<K, T>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
