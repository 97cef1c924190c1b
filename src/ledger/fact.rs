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
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' - 10 + value };
        let mut text = [0; 64];
        for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *digits = [digit(byte >> 4), digit(byte & 0x0f)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Why a text is no [`struct@Hash`].
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

/// A number as SQLite keeps it.
pub(super) fn number(natural: u64) -> i64 {
    i64::try_from(natural).unwrap_or(i64::MAX)
}

/// A number that SQLite kept; 0 when it is none of ours.
pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// What is about to be kept.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) kept: Vec<u8>,
    /// Milliseconds since the epoch.
    pub(super) recorded: i64,
    pub(super) patient: Option<String>,
    pub(super) user: Option<String>,
    pub(super) fhir_user: Option<String>,
    pub(super) client: Option<String>,
}

impl Fact {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            kept: entry.kept(),
            recorded: entry.recorded.as_millisecond(),
            patient: entry.subject_patient(),
            user: entry.subject.clone(),
            fhir_user: entry.fhir_user.clone(),
            client: entry.client.clone(),
        }
    }
}

impl Fact {
    /// What an announced write is recorded as when its end is not known; nothing when it cannot be read.
    ///
    /// It may have been done, so it is about the patient that it would be about had it succeeded.
    pub(super) fn interrupted(kept: &[u8]) -> Option<Self> {
        let mut entry = Entry::read(kept).ok()?;
        (entry.status, entry.reason) = (200, None);
        entry.about = entry.subject_patient();
        entry.interrupted();
        Some(Self::of(&entry))
    }

    /// What it is found by.
    pub(super) fn found_by(&self) -> (i64, [Option<&str>; 4]) {
        (self.recorded, [&self.patient, &self.user, &self.fhir_user, &self.client].map(Option::as_deref))
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
