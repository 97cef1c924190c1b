//! The id that names one request in answers, logs and audit events.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;

/// Counts the ids that had to be made without randomness.
static PLAIN: AtomicU64 = AtomicU64::new(0);

/// Random bytes of this many ids are drawn at once: each draw has a price of its own.
const DRAWN: usize = 64;

thread_local! {
    /// Random bytes that no id has used yet: the first ones that are left.
    static RANDOM: RefCell<([[u8; 16]; DRAWN], usize)> = const { RefCell::new(([[0; 16]; DRAWN], 0)) };
}

/// Names one request. At most 128 characters of `[A-Za-z0-9._-]`, so it can stand in any header, line or file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// A new one: 128 random bits in hexadecimal.
    #[must_use]
    pub fn fresh() -> Self {
        let Some(random) = random() else {
            // Unique is enough to go on with: nothing rests on these ids being hard to guess.
            return Self(format!("plain-{}", PLAIN.fetch_add(1, Ordering::Relaxed)).into());
        };
        let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' - 10 + value });
        let mut id = String::with_capacity(2 * random.len());
        random.iter().for_each(|byte| id.extend([digit(byte >> 4), digit(byte & 0x0f)]));
        Self(id.into())
    }

    /// The client's own, from `X-Request-Id` or else `X-Correlation-Id` (HTTP-18). Repeated or malformed ones are
    /// passed over, because they end up in logs and in answers.
    #[must_use]
    pub fn from_client(headers: &HeaderMap) -> Option<Self> {
        ["x-request-id", "x-correlation-id"].into_iter().find_map(|name| {
            let mut values = headers.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
            is_fit(only).then(|| Self(only.into()))
        })
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes that were never given before; none when the system has no randomness.
fn random() -> Option<[u8; 16]> {
    RANDOM.with_borrow_mut(|(drawn, left)| {
        if *left == 0 {
            aws_lc_rs::rand::fill(drawn.as_flattened_mut()).ok()?;
            *left = DRAWN;
        }
        *left -= 1;
        drawn.get(*left).copied()
    })
}

fn is_fit(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::RequestId;

    #[test]
    fn fresh_ids_are_128_bits_and_differ() {
        let ids: HashSet<_> = (0..1000).map(|_| RequestId::fresh()).collect();
        assert_eq!(ids.len(), 1000);
        let hexadecimal =
            |id: &RequestId| id.as_str().len() == 32 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit());
        assert!(ids.iter().all(hexadecimal));
    }

    /// HTTP-18.
    #[test]
    fn http_18_client_ids() {
        let (long, longest) = ("a".repeat(129), "a".repeat(128));
        let table: &[(&[(&str, &str)], Option<&str>)] = &[
            (&[("x-request-id", "a.B_9-c")], Some("a.B_9-c")),
            (&[("x-correlation-id", "c1")], Some("c1")),
            (&[("x-request-id", "r1"), ("x-correlation-id", "c1")], Some("r1")),
            (&[("x-request-id", "r 1"), ("x-correlation-id", "c1")], Some("c1")),
            (&[("x-request-id", &longest)], Some(&longest)),
            (&[("x-request-id", &long)], None),
            (&[("x-request-id", "")], None),
            (&[("x-request-id", "r1"), ("x-request-id", "r2")], None),
            (&[("x-request-id", "r1\"}")], None),
            (&[("x-request-id", "r/1")], None),
            (&[("x-request-id", "r\u{e9}")], None),
            (&[], None),
        ];
        for (sent, read) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *sent {
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(RequestId::from_client(&headers).as_ref().map(RequestId::as_str), *read, "{sent:?}");
        }
    }
}
