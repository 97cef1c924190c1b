//! The way back from the writer to those who wait.
//!
//! To wake a task from another thread takes a call into the system for each. So all who wait on one thread are told at one
//! desk there: it is woken once for a commit, and wakes them itself.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, oneshot};

use crate::ledger::LedgerError;
use crate::ledger::queue::Told;

/// What a waiter is told.
pub(super) type Answer = Result<Told, LedgerError>;

/// Where a waiter waits for it.
pub(super) type Waiter = oneshot::Sender<Answer>;

/// What those who wait on one thread are to be told. Whatever nobody attends to is told when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Desk {
    told: Mutex<Vec<(Waiter, Answer)>>,
    bell: Notify,
}

thread_local! {
    /// The desk of this thread, and of which runtime it is.
    static HERE: RefCell<Option<(Id, Weak<Desk>)>> = const { RefCell::new(None) };
}

impl Desk {
    /// The desk of this thread, which a task of its runtime attends to; none where there is no runtime.
    pub(super) fn here() -> Option<Arc<Self>> {
        let runtime = Handle::try_current().ok()?;
        let known = HERE.with_borrow(|here| {
            here.as_ref().filter(|(of, _)| *of == runtime.id()).and_then(|(_, desk)| desk.upgrade())
        });
        if known.is_some() {
            return known;
        }
        let desk = Arc::new(Self::default());
        HERE.set(Some((runtime.id(), Arc::downgrade(&desk))));
        runtime.spawn(attend(Arc::clone(&desk)));
        Some(desk)
    }

    /// Leaves an answer here. It is told once the bell is rung.
    pub(super) fn leave(&self, waiter: Waiter, answer: Answer) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push((waiter, answer));
    }

    /// Says that answers are here.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    fn tell_all(&self) {
        let told = mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        told.into_iter().for_each(|(waiter, answer)| tell(waiter, answer));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.tell_all();
    }
}

async fn attend(desk: Arc<Desk>) {
    loop {
        desk.bell.notified().await;
        desk.tell_all();
    }
}

/// Tells one waiter.
pub(super) fn tell(waiter: Waiter, answer: Answer) {
    // A waiter that is gone sends nothing, and needs no other answer.
    if let Err(Ok(Told::Intended(intent))) = waiter.send(answer) {
        intent.withdraw();
    }
}
