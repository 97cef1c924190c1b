//! The clock and the random numbers of the demo servers, in one place.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

/// The present instant.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo servers are processes of their own, with a clock of their own"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// Bytes nobody can guess.
///
/// A machine without randomness cannot run an authorization server, not even a demo: the process ends.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rand::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// 256 random bits in base64url: a code, a token, a flow.
pub(super) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// A random UUID (RFC 9562 §5.4).
pub(super) fn uuid() -> String {
    let bits = u128::from_be_bytes(random::<16>());
    let bits = bits & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_four_and_differ() {
        let (one, other) = (uuid(), uuid());
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert_ne!(one, other);
    }
}
