//! Used proofs in this process: kept until they can no longer be accepted, bounded in number, and in number of one key.
//!
//! Nothing is forgotten early. Where there is no room a new proof is refused; an old one is never accepted again
//! (RFC 9449 §11.1). A call costs a look-up and what has come due in its part of the memory; nothing is searched.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{SharedError, Use};

/// Most proofs at once, of all keys: at 60 to 90 bytes each.
const MOST: usize = 1_000_000;

/// Most proofs of one key, so that nobody fills the memory for all: 1000 a second with a window of a minute.
const MOST_OF_ONE_KEY: usize = MOST / 8;

/// Parts of the memory with a lock each.
const PARTS: usize = 64;

/// A proof of possession that was presented, and is good as far as it can be told from itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 over everything that makes it this proof and no other, its key included.
    pub digest: [u8; 32],
    /// SHA-256 of its key, such as the thumbprint (RFC 7638).
    pub holder: [u8; 32],
    /// Its `iat`.
    pub issued: Timestamp,
}

/// Half of a SHA-256: nobody finds a second proof for it, and if somebody did it would be refused.
type Id = [u8; 16];

/// The start of a key's digest.
type Holder = u64;

/// Seconds since the memory was made, by the monotonic clock.
type Second = u64;

/// The memory of used proofs.
#[derive(Debug)]
pub(super) struct Proofs {
    parts: [Mutex<Part>; PARTS],
    kept: AtomicUsize,
    /// The last second in which all parts were cleared of what had come due.
    cleared: AtomicU64,
    begun: Instant,
    bounds: Bounds,
}

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    all: usize,
    of_one: usize,
}

/// The proofs of some of the keys.
#[derive(Debug, Default)]
struct Part {
    used: HashSet<Id>,
    of: HashMap<Holder, usize>,
    due: BTreeMap<Second, Vec<(Id, Holder)>>,
}

impl Proofs {
    pub(super) fn new(begun: Instant) -> Self {
        Self::within(Bounds { all: MOST, of_one: MOST_OF_ONE_KEY }, begun)
    }

    fn within(bounds: Bounds, begun: Instant) -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            kept: AtomicUsize::new(0),
            cleared: AtomicU64::new(0),
            begun,
            bounds,
        }
    }

    /// Notes a use at `now`; it is known for `lifetime` at least, and a second longer at most.
    pub(super) fn note(&self, proof: &Proof, lifetime: Duration, now: Instant) -> Result<Use, SharedError> {
        let age = now.saturating_duration_since(self.begun);
        let second = age.as_secs();
        let due = age.saturating_add(lifetime).as_secs().saturating_add(1);
        let noted = self.try_note(proof, due, second);
        // What has come due elsewhere may still take room; it is looked for once in a second.
        if noted == Err(SharedError::Full) && self.cleared.fetch_max(second, Ordering::Relaxed) < second {
            self.clear(second);
            return self.try_note(proof, due, second);
        }
        noted
    }

    fn try_note(&self, proof: &Proof, due: Second, second: Second) -> Result<Use, SharedError> {
        let (id, holder) = (id(&proof.digest), holder(&proof.holder));
        let place = usize::try_from(holder).unwrap_or_default() % PARTS;
        let part = self.parts.get(place).ok_or(SharedError::Full)?;
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut part, second);
        if part.used.contains(&id) {
            return Ok(Use::Again);
        }
        let of_one = part.of.get(&holder).copied().unwrap_or_default();
        if of_one >= self.bounds.of_one {
            return Err(SharedError::Crowded);
        }
        let room = |kept: usize| (kept < self.bounds.all).then(|| kept.saturating_add(1));
        if self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(SharedError::Full);
        }
        part.used.insert(id);
        part.of.insert(holder, of_one.saturating_add(1));
        part.due.entry(due).or_default().push((id, holder));
        Ok(Use::First)
    }

    fn clear(&self, second: Second) {
        for part in &self.parts {
            self.forget(&mut part.lock().unwrap_or_else(PoisonError::into_inner), second);
        }
    }

    /// Forgets what has come due in one part.
    fn forget(&self, part: &mut Part, second: Second) {
        while let Some(first) = part.due.first_entry().filter(|first| *first.key() <= second) {
            let over = first.remove();
            self.kept.fetch_sub(over.len(), Ordering::Relaxed);
            for (id, holder) in over {
                part.used.remove(&id);
                match part.of.get_mut(&holder) {
                    Some(left) if *left > 1 => *left = left.saturating_sub(1),
                    Some(_) | None => drop(part.of.remove(&holder)),
                }
            }
        }
    }
}

fn id(digest: &[u8; 32]) -> Id {
    let mut id = Id::default();
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    id
}

fn holder(digest: &[u8; 32]) -> Holder {
    digest.first_chunk().copied().map(u64::from_be_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn proof(number: u64, key: u64) -> Proof {
        let wide = |number: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest[8..16].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            digest
        };
        Proof { digest: wide(number), holder: wide(key), issued: Timestamp::UNIX_EPOCH }
    }

    fn memory(all: usize, of_one: usize) -> (Proofs, impl Fn(u64) -> Instant) {
        let begun = Instant::now();
        (Proofs::within(Bounds { all, of_one }, begun), move |ms| begun + Duration::from_millis(ms))
    }

    /// TOK-64: a proof counts once while it could be accepted, whatever the moment within a second.
    #[test]
    fn a_proof_is_known_for_its_lifetime() {
        let table = [
            // noted at, lifetime, asked at, known
            (0, 60_000, 0, Use::Again),
            (0, 60_000, 59_999, Use::Again),
            (0, 60_000, 60_000, Use::Again),
            (0, 60_000, 61_000, Use::First),
            (999, 60_000, 60_999, Use::Again),
            (999, 60_000, 61_000, Use::First),
            (500, 1, 501, Use::Again),
            (500, 1, 1_000, Use::First),
            (0, u64::MAX, 3_600_000, Use::Again),
        ];
        for (at, lifetime, later, expected) in table {
            let (memory, at_ms) = memory(10, 10);
            let lifetime = Duration::from_millis(lifetime);
            assert_eq!(memory.note(&proof(1, 1), lifetime, at_ms(at)), Ok(Use::First));
            assert_eq!(memory.note(&proof(1, 1), lifetime, at_ms(later)), Ok(expected), "{at} {later}");
            assert_eq!(memory.note(&proof(2, 1), lifetime, at_ms(later)), Ok(Use::First), "a neighbour");
        }
    }

    /// A use that was refused as another one does not lengthen the first one's time.
    #[test]
    fn asking_again_changes_nothing() {
        let (memory, at) = memory(10, 10);
        assert_eq!(memory.note(&proof(1, 1), MINUTE, at(0)), Ok(Use::First));
        assert_eq!(memory.note(&proof(1, 1), MINUTE, at(59_000)), Ok(Use::Again));
        assert_eq!(memory.note(&proof(1, 1), MINUTE, at(61_000)), Ok(Use::First));
    }

    /// A full memory refuses new proofs, knows the old ones, and has room again when they are over, wherever they lie.
    #[test]
    fn a_full_memory_forgets_nothing_early() {
        let (memory, at) = memory(100, 100);
        for number in 0..100 {
            assert_eq!(memory.note(&proof(number, 64 * number), MINUTE, at(0)), Ok(Use::First));
        }
        for now in [0, 30_000, 60_000] {
            assert_eq!(memory.note(&proof(1000, 1), MINUTE, at(now)), Err(SharedError::Full), "{now}");
            for number in 0..100 {
                assert_eq!(
                    memory.note(&proof(number, 64 * number), MINUTE, at(now)),
                    Ok(Use::Again),
                    "{now}"
                );
            }
        }
        assert_eq!(memory.note(&proof(1000, 1), MINUTE, at(61_000)), Ok(Use::First));
        assert_eq!(memory.kept.load(Ordering::Relaxed), 1);
    }

    /// One key fills its share and no more; others go on, and it has room again.
    #[test]
    fn one_key_has_a_share() {
        let (memory, at) = memory(100, 10);
        for number in 0..10 {
            assert_eq!(memory.note(&proof(number, 7), MINUTE, at(number * 1000)), Ok(Use::First));
        }
        assert_eq!(memory.note(&proof(10, 7), MINUTE, at(10_000)), Err(SharedError::Crowded));
        assert_eq!(memory.note(&proof(3, 7), MINUTE, at(10_000)), Ok(Use::Again));
        assert_eq!(memory.note(&proof(10, 8), MINUTE, at(10_000)), Ok(Use::First));
        assert_eq!(memory.note(&proof(10, 7), MINUTE, at(61_000)), Ok(Use::First));
        assert_eq!(memory.note(&proof(11, 7), MINUTE, at(61_000)), Err(SharedError::Crowded));
        assert_eq!(memory.note(&proof(12, 7), MINUTE, at(1_000_000)), Ok(Use::First));
        let left: usize = memory.parts.iter().map(|part| part.lock().unwrap().of.len()).sum();
        assert_eq!(left, 2, "key 7, and key 8 in a part that nobody looked at");
        memory.clear(1_000_000);
        assert_eq!(memory.kept.load(Ordering::Relaxed), 0);
        assert!(memory.parts.iter().all(|part| part.lock().unwrap().of.is_empty()));
    }

    /// Of many that present the same proof at once, one is the first.
    #[test]
    fn one_of_many_at_once_is_the_first() {
        let (memory, at) = memory(10_000, 10_000);
        for number in 0..200 {
            let firsts: usize = std::thread::scope(|scope| {
                let asked: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| memory.note(&proof(number, number % 3), MINUTE, at(number))))
                    .collect();
                asked.into_iter().map(|one| one.join().unwrap()).filter(|one| *one == Ok(Use::First)).count()
            });
            assert_eq!(firsts, 1, "{number}");
        }
        assert_eq!(memory.kept.load(Ordering::Relaxed), 200);
    }
}
