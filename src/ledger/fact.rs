//! One record: what is kept, what it is found by, and its link in the chain.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};

use crate::audit::Entry;

/// The hash of a record and of all before it: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first record of all follows.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a record: of the hash before it, its number and what is kept.
    #[must_use]
    pub fn of(before: Self, sequence: u64, kept: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&before.0);
        context.update(&sequence.to_be_bytes());
        context.update(kept);
        Self(context.finish().as_ref().try_into().unwrap_or_default())
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no [`Hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(NoHash) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.as_deref().and_then(Self::from_slice).ok_or(NoHash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// What is about to be kept.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) kept: Vec<u8>,
    /// Milliseconds since the epoch.
    pub(super) recorded: i64,
    pub(super) patient: Option<String>,
    pub(super) user: Option<String>,
    pub(super) client: Option<String>,
}

impl Fact {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            kept: entry.kept(),
            recorded: entry.recorded.as_millisecond(),
            patient: entry.subject_patient(),
            user: entry.subject.clone(),
            client: entry.client.clone(),
        }
    }
}

impl Fact {
    /// What it is found by.
    pub(super) fn found_by(&self) -> (i64, [Option<&str>; 3]) {
        (self.recorded, [&self.patient, &self.user, &self.client].map(Option::as_deref))
    }
}

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number: from 1, without gaps.
    pub sequence: u64,
    /// Its link in the chain.
    pub hash: Hash,
    /// What it says.
    pub entry: Entry,
}

impl Kept {
    /// The id of its AuditEvent, wherever it is sent: a UUID (RFC 9562 §5.8) of the chain's hash. The same record has
    /// the same id each time, and whoever holds the events elsewhere holds a piece of the chain.
    #[must_use]
    pub fn id(&self) -> String {
        let mut bytes: [u8; 16] = self.hash.0.first_chunk().copied().unwrap_or_default();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut id = String::with_capacity(36);
        for (at, byte) in bytes.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                id.push('-');
            }
            id.push_str(&format!("{byte:02x}"));
        }
        id
    }
}
