//! Where one HTTP/1.1 message ends and the next begins, read strictly.
//!
//! hyper repairs what RFC 9112 lets a server repair: `Content-Length` beside `Transfer-Encoding`, bare line feeds, a
//! shorter spelling of chunk framing. A server in front of or behind us may repair it differently, which is request
//! smuggling. So every byte is followed here before hyper sees it, across keep-alive and pipelining (HTTP-3). Pure and
//! bounded: a head is looked at once more only when it is complete.

use memchr::memmem;

use super::admissible::Refusal;

/// Bounds of a request head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    /// Bytes of the request target.
    pub(super) target: usize,
    /// Bytes of all field lines.
    pub(super) fields: usize,
}

impl HeadLimits {
    /// Longest method and version around a target: they are bounded so that a request line is.
    const LINE_SLACK: usize = 64;
    /// Field lines of one head, as hyper bounds them too.
    const LINES: usize = 100;
}

/// Longest chunk-size line: 16 hex digits and a few extensions nobody uses.
const CHUNK_LINE: usize = 256;

/// Follows the bytes of one connection.
#[derive(Debug)]
pub(super) struct Framer {
    limits: HeadLimits,
    state: State,
    heads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Inside a head of which so many bytes were searched for its end; `blank` when an empty line came before it.
    Head { searched: usize, line_read: bool, blank: bool },
    /// Inside a body with so many bytes left.
    Sized(u64),
    /// At a chunk-size line.
    ChunkLine,
    /// Inside a chunk with so many bytes left.
    Chunk(u64),
    /// At the line end after a chunk.
    ChunkEnd,
    /// In the trailer section, of which so many bytes have passed.
    Trailers(usize),
}

const AT_HEAD: State = State::Head { searched: 0, line_read: false, blank: false };

/// Why the bytes cannot be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A body is not framed as announced.
    Body,
    /// The head is refused; an answer can still be sent.
    Head(Refusal),
}

impl Framer {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, state: AT_HEAD, heads: 0 }
    }

    /// Whether the client still owes bytes of a body.
    pub(super) fn in_body(&self) -> bool {
        !matches!(self.state, State::Head { .. })
    }

    /// How many request heads have been handed on.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// How many leading bytes may be handed on. The rest must be presented again, with more bytes behind them.
    ///
    /// # Errors
    /// The fault at the very front; a fault further back shows when its bytes come to the front.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(passed);
            }
            match self.step(rest) {
                Ok(0) => return Ok(passed),
                Ok(taken) => passed += taken,
                Err(_later) if passed > 0 => return Ok(passed),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self.state {
            State::Head { searched: 0, line_read: false, blank: false } if bytes.first() == Some(&b'\r') => {
                self.blank_line(bytes).map_err(Fault::Head)
            }
            State::Head { searched, line_read, blank } => {
                self.head(bytes, searched, line_read, blank).map_err(Fault::Head)
            }
            State::Sized(left) => Ok(self.run(bytes, left, State::Sized, AT_HEAD)),
            State::Chunk(left) => Ok(self.run(bytes, left, State::Chunk, State::ChunkEnd)),
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkLine;
                    Ok(2)
                }
                [b'\r'] => Ok(0),
                _ => Err(Fault::Body),
            },
            State::ChunkLine => self.chunk_line(bytes),
            State::Trailers(passed) => self.trailer(bytes, passed),
        }
    }

    fn run(&mut self, bytes: &[u8], left: u64, more: fn(u64) -> State, then: State) -> usize {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - taken as u64;
        self.state = if left == 0 { then } else { more(left) };
        taken
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some(end) = line_end(bytes, CHUNK_LINE)? else { return Ok(0) };
        let line = bytes.get(..end).unwrap_or_default();
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at_checked(digits).ok_or(Fault::Body)?;
        // RFC 9112 §7.1.1: extensions are ignored; here they may only be printable.
        let plain = matches!(extension.first(), None | Some(b';'))
            && extension.iter().all(|b| (b' '..=b'~').contains(b) || *b == b'\t');
        let size = std::str::from_utf8(size).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let Some(size) = size.filter(|_| plain && digits <= 16) else { return Err(Fault::Body) };
        self.state = if size == 0 { State::Trailers(0) } else { State::Chunk(size) };
        Ok(end + 2)
    }

    fn trailer(&mut self, bytes: &[u8], passed: usize) -> Result<usize, Fault> {
        let Some(end) = line_end(bytes, self.limits.fields)? else { return Ok(0) };
        let line = bytes.get(..end).unwrap_or_default();
        if line.is_empty() {
            self.state = AT_HEAD;
            return Ok(2);
        }
        let passed = passed + end + 2;
        if passed > self.limits.fields || field(line).is_none() {
            return Err(Fault::Body);
        }
        self.state = State::Trailers(passed);
        Ok(end + 2)
    }

    /// RFC 9112 §2.2: one empty line before a request line is tolerated.
    fn blank_line(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match bytes {
            [_] => Ok(0),
            [b'\r', b'\n', ..] => {
                self.state = State::Head { searched: 0, line_read: false, blank: true };
                Ok(2)
            }
            _ => Err(Refusal::HeadMalformed),
        }
    }

    fn head(
        &mut self,
        bytes: &[u8],
        searched: usize,
        line_read: bool,
        blank: bool,
    ) -> Result<usize, Refusal> {
        if !line_read {
            self.request_line(bytes)?;
        }
        let line_read = line_read || memmem::find(bytes, b"\r\n").is_some();
        let from = searched.saturating_sub(3);
        let Some(at) = bytes.get(from..).and_then(|rest| memmem::find(rest, b"\r\n\r\n")) else {
            if bytes.len() > self.limits.target + self.limits.fields + HeadLimits::LINE_SLACK {
                return Err(Refusal::HeadersTooLarge);
            }
            // Anything but CRLF ends a line nowhere: say so now rather than wait for an end that never comes.
            if stray_line_end(bytes.get(from..).unwrap_or_default()) {
                return Err(Refusal::HeadMalformed);
            }
            self.state = State::Head { searched: bytes.len(), line_read, blank };
            return Ok(0);
        };
        let end = from + at;
        self.state = self.complete(bytes.get(..end).unwrap_or_default())?;
        self.heads += 1;
        Ok(end + 4)
    }

    /// Judges the request line as far as it is there.
    fn request_line(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(end) = memmem::find(bytes, b"\r\n") else {
            if !bytes.first().is_some_and(|b| token(*b)) {
                return Err(Refusal::HeadMalformed);
            }
            let too_long = bytes.len() > self.limits.target + HeadLimits::LINE_SLACK;
            return if too_long { Err(Refusal::TargetTooLong) } else { Ok(()) };
        };
        let mut parts = bytes.get(..end).unwrap_or_default().split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::HeadMalformed);
        };
        if method.is_empty() || !method.iter().all(|b| token(*b)) {
            return Err(Refusal::HeadMalformed);
        }
        if target.len() > self.limits.target {
            return Err(Refusal::TargetTooLong);
        }
        // What hyper cannot read as a target it answers by itself, without a word of why.
        let visible = target.iter().all(|b| (b'!'..=b'~').contains(b));
        if !visible || http::Uri::try_from(target).is_err() {
            return Err(Refusal::HeadMalformed);
        }
        match version {
            b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
            [b'H', b'T', b'T', b'P', b'/', ..] => Err(Refusal::VersionUnsupported),
            _ => Err(Refusal::HeadMalformed),
        }
    }

    /// Reads the framing out of a complete head (without its empty line).
    fn complete(&self, head: &[u8]) -> Result<State, Refusal> {
        if stray_line_end(head) {
            return Err(Refusal::HeadMalformed);
        }
        let mut lines = memmem::find_iter(head, b"\r\n").chain([head.len()]);
        let line_end = lines.next().unwrap_or(head.len());
        let old = head.get(..line_end).is_some_and(|line| line.ends_with(b"1.0"));
        let mut at = line_end + 2;
        if head.len().saturating_sub(at) > self.limits.fields {
            return Err(Refusal::HeadersTooLarge);
        }
        let (mut count, mut length, mut chunked) = (0, None, false);
        for end in lines {
            let line = head.get(at..end).unwrap_or_default();
            at = end + 2;
            count += 1;
            // One field may take half of what all may.
            if count > HeadLimits::LINES || line.len() > self.limits.fields / 2 {
                return Err(Refusal::HeadersTooLarge);
            }
            let (name, value) = field(line).ok_or(Refusal::HeadMalformed)?;
            if name.eq_ignore_ascii_case(b"content-length") {
                let digits = number(value).ok_or(Refusal::FramingAmbiguous)?;
                if length.replace(digits).is_some() {
                    return Err(Refusal::FramingAmbiguous);
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if chunked || old || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::FramingAmbiguous);
                }
                chunked = true;
            }
        }
        match (length, chunked) {
            (Some(_), true) => Err(Refusal::FramingAmbiguous),
            (None, true) => Ok(State::ChunkLine),
            (None | Some(0), false) => Ok(AT_HEAD),
            (Some(left), false) => Ok(State::Sized(left)),
        }
    }
}

/// Where the line at the front ends, if its end is there and within bounds.
fn line_end(bytes: &[u8], limit: usize) -> Result<Option<usize>, Fault> {
    match bytes.iter().position(|b| *b == b'\r' || *b == b'\n') {
        Some(at) if at > limit => Err(Fault::Body),
        Some(at) => match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => Ok(Some(at)),
            (Some(b'\r'), None) => Ok(None),
            _ => Err(Fault::Body),
        },
        None if bytes.len() > limit => Err(Fault::Body),
        None => Ok(None),
    }
}

/// Whether a CR or LF stands alone (RFC 9112 §2.2); a CR at the very end may still get its LF.
fn stray_line_end(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', bytes).any(|at| match bytes.get(at) {
        Some(b'\r') => bytes.get(at + 1).is_some_and(|next| *next != b'\n'),
        _ => at > 0 && bytes.get(at - 1) != Some(&b'\r'),
    })
}

/// Name and trimmed value of a field line; nothing when it is folded, has a space before its colon or a control
/// character (RFC 9112 §5.1, §5.2).
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let clean = !name.is_empty()
        && name.iter().all(|b| token(*b))
        && value.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f));
    clean.then(|| (name, value.trim_ascii()))
}

/// Digits only: no sign, no list, no blank, and within 64 bits.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

/// RFC 9110 §5.6.2.
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framer() -> Framer {
        Framer::new(HeadLimits { target: 64, fields: 512 })
    }

    /// Feeds pieces as a connection would and tells what was handed on and how it ended.
    fn feed(pieces: &[&[u8]]) -> (Vec<u8>, u64, Option<Fault>) {
        let (mut framer, mut held, mut passed) = (framer(), Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            loop {
                match framer.advance(&held) {
                    Ok(0) => break,
                    Ok(n) => passed.extend(held.drain(..n)),
                    Err(fault) => return (passed, framer.heads(), Some(fault)),
                }
            }
        }
        (passed, framer.heads(), None)
    }

    fn judged(message: &str) -> (u64, Option<Fault>) {
        let whole = feed(&[message.as_bytes()]);
        let bytes: Vec<_> = message.as_bytes().chunks(1).collect();
        let dribbled = feed(&bytes);
        assert_eq!(
            (whole.1, whole.2),
            (dribbled.1, dribbled.2),
            "pieces change the judgement of {message:?}"
        );
        (whole.1, whole.2)
    }

    type Row<'a> = (&'a str, u64, Option<Fault>);

    const MALFORMED: Option<Fault> = Some(Fault::Head(Refusal::HeadMalformed));
    const AMBIGUOUS: Option<Fault> = Some(Fault::Head(Refusal::FramingAmbiguous));
    const LARGE: Option<Fault> = Some(Fault::Head(Refusal::HeadersTooLarge));
    const BODY: Option<Fault> = Some(Fault::Body);

    fn check(table: &[Row<'_>]) {
        let wrong: Vec<_> = table
            .iter()
            .map(|row| (row, judged(row.0)))
            .filter(|(row, found)| (row.1, row.2) != *found)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
    }

    /// HTTP-3, HTTP-14: request lines and sizes; each row also byte by byte.
    #[test]
    fn heads() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A:\r\n".repeat(101));
        let big = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(300));
        let full = format!("GET / HTTP/1.1\r\n{}\r\n", "Abcdefg: 0123456789012345\r\n".repeat(20));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64));
        let endless = "G".repeat(200);
        check(&[
            (get, 1, None),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, None),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, MALFORMED),
            ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, MALFORMED),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, MALFORMED),
            ("GET /\r\n", 0, MALFORMED),
            ("GET  / HTTP/1.1\r\n\r\n", 0, MALFORMED),
            ("GET / HTTP/2.0\r\n\r\n", 0, Some(Fault::Head(Refusal::VersionUnsupported))),
            ("GET /\x01 HTTP/1.1\r\n\r\n", 0, MALFORMED),
            ("\x16\x03\x01", 0, MALFORMED),
            (&long, 0, Some(Fault::Head(Refusal::TargetTooLong))),
            (&endless, 0, Some(Fault::Head(Refusal::TargetTooLong))),
            (&many, 0, LARGE),
            (&big, 0, LARGE),
            (&full, 0, LARGE),
        ]);
    }

    /// HTTP-3 and the hostile class `h1-framing`: what a head may say of its body.
    #[test]
    fn announced_lengths() {
        check(&[
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length: 18446744073709551621\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\nabcde", 0, MALFORMED),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 0, AMBIGUOUS),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                0,
                AMBIGUOUS,
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", 0, MALFORMED),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n", 0, MALFORMED),
            ("POST / HTTP/1.1\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n", 0, MALFORMED),
            ("POST / HTTP/1.1\nHost: a\n\n", 0, MALFORMED),
            ("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 0, AMBIGUOUS),
            ("POST / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 0, MALFORMED),
            ("POST / HTTP/1.1\r\nX: a\0b\r\n\r\n", 0, MALFORMED),
            ("POST / HTTP/1.1\r\nno colon\r\n\r\n", 0, MALFORMED),
        ]);
    }

    /// HTTP-3, HTTP-11: bodies, and what follows them on the connection.
    #[test]
    fn bodies() {
        check(&[
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, None),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, None),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n\
                 GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                2,
                None,
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\nGET / HTTP/1.1\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", 1, BODY),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", 1, BODY),
        ]);
    }

    /// A faulty request behind a good one does not take the good one with it.
    #[test]
    fn good_bytes_pass_before_a_fault() {
        let good = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = [&good[..], b"GET /b HTTP/1.1\r\nHost : a\r\n\r\n"].concat();
        let (passed, heads, fault) = feed(&[&both]);
        assert_eq!(
            (passed.as_slice(), heads, fault),
            (&good[..], 1, Some(Fault::Head(Refusal::HeadMalformed)))
        );
    }

    /// A long chunk extension is bounded (hostile H1-027).
    #[test]
    fn chunk_extension_is_bounded() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(judged(&format!("{head}1;{}", "a".repeat(300))), (1, Some(Fault::Body)));
        assert_eq!(judged(&format!("{head}1;{}", "a".repeat(200))), (1, None));
    }
}
