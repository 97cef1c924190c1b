//! HTTP/2 by hand: frames, header blocks without compression, and what comes back.

use std::time::Duration;

use crate::house::House;
use crate::wire::{PATIENCE, Wire};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A number after a prefix (RFC 7541 §5.1).
fn number(prefix: u32, mask: u8, mut value: usize) -> Vec<u8> {
    let most = (1_usize << prefix) - 1;
    if value < most {
        return vec![mask | u8::try_from(value).expect("within the prefix")];
    }
    let mut out = vec![mask | u8::try_from(most).expect("a byte")];
    value -= most;
    while value >= 128 {
        out.push(u8::try_from(value % 128 + 128).expect("a byte"));
        value /= 128;
    }
    out.push(u8::try_from(value).expect("a byte"));
    out
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&number(7, 0, bytes.len())[..], bytes].concat()
}

/// A field as a literal that is not remembered (RFC 7541 §6.2.2); any bytes.
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A field that is remembered (RFC 7541 §6.2.1).
pub fn remembered(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// A header block.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Status(u16),
    /// The stream was reset, or the whole connection ended.
    Reset(u32),
    /// Nothing for long.
    Nothing,
}

/// A frame that came.
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The number in the first bytes, or behind them.
    fn code(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|four| four.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }
}

/// An HTTP/2 connection.
pub struct H2 {
    pub wire: Wire,
    held: Vec<u8>,
}

impl H2 {
    /// Connects and says the preface with empty settings.
    pub async fn open(house: &House) -> Self {
        Self::with(house, &[]).await
    }

    /// The same with settings: identifier and value.
    pub async fn with(house: &House, settings: &[(u16, u32)]) -> Self {
        let mut wire = Wire::open(house, "h2").await;
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        wire.say(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()).await;
        Self { wire, held: Vec::new() }
    }

    /// Sends one frame; false when the gateway has closed.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.wire.say(&frame(kind, flags, stream, payload)).await
    }

    /// Sends the same bytes again and again, as long as the gateway takes them.
    pub async fn flood(&mut self, times: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) -> usize {
        for part in 0..times.div_ceil(50) {
            let some: Vec<u8> = (part * 50..((part + 1) * 50).min(times)).flat_map(&mut bytes).collect();
            if !self.wire.say(&some).await {
                return part * 50;
            }
        }
        times
    }

    /// The next frame; none when the gateway has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, s0, s1, s2, s3, rest @ ..] = self.held.as_slice() {
                let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("three bytes");
                if let Some(payload) = rest.get(..length) {
                    let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]) & 0x7fff_ffff;
                    let frame = Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() };
                    self.held.drain(..9 + length);
                    return Some(frame);
                }
            }
            let piece = self.wire.piece().await;
            if piece.is_empty() {
                return None;
            }
            self.held.extend_from_slice(&piece);
        }
    }

    /// What comes of this stream. Settings and pings are acknowledged.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        let judged = async {
            while let Some(frame) = self.next().await {
                match frame.kind {
                    HEADERS if frame.stream == stream => return Outcome::Status(status(&frame.payload)),
                    RST_STREAM if frame.stream == stream => return Outcome::Reset(frame.code(0)),
                    GOAWAY if frame.code(4) != 0 => return Outcome::Reset(frame.code(4)),
                    SETTINGS | PING if frame.flags & 1 == 0 => {
                        let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                        self.send(frame.kind, 1, 0, &payload).await;
                    }
                    _ => {}
                }
            }
            Outcome::Reset(0)
        };
        tokio::time::timeout(PATIENCE, judged).await.unwrap_or(Outcome::Nothing)
    }

    /// The error that the connection ends with: of its GOAWAY, or 0 when it just closes. None when it does not end.
    pub async fn ended(&mut self, limit: Duration) -> Option<u32> {
        let ended = async {
            let mut told = 0;
            while let Some(frame) = self.next().await {
                if frame.kind == GOAWAY {
                    told = frame.code(4);
                }
            }
            told
        };
        tokio::time::timeout(limit, ended).await.ok()
    }
}

/// The status at the beginning of an answer's header block: hyper puts it first.
fn status(block: &[u8]) -> u16 {
    match block {
        [size @ 0x20..=0x3f, rest @ ..] if *size != 0x3f => status(rest),
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x48 | 0x08, length, rest @ ..] => {
            let value = rest.get(..usize::from(*length & 0x7f)).unwrap_or_default();
            if length & 0x80 == 0 { ascii(value) } else { huffman(value) }
        }
        _ => 0,
    }
}

fn ascii(value: &[u8]) -> u16 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Three digits (RFC 7541, appendix B): 0, 1 and 2 have five bits, the others six.
fn huffman(value: &[u8]) -> u16 {
    let bits: Vec<u16> =
        value.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1))).collect();
    let (mut at, mut status) = (0, 0);
    let read =
        |from: usize, count: usize| bits.iter().skip(from).take(count).fold(0, |sum, bit| sum * 2 + bit);
    for _ in 0..3 {
        let digit = if read(at, 5) <= 2 {
            at += 5;
            read(at - 5, 5)
        } else {
            at += 6;
            read(at - 6, 6) - 0b01_1001 + 3
        };
        status = status * 10 + digit;
    }
    status
}
