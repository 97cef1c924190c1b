//! Where the body of an answer ends: at its length, or at its last chunk (RFC 9112 §6).

use std::io;

/// What of a body is still to come.
pub enum Body {
    Chunked(Chunk),
    Length(usize),
}

/// Where in the chunked coding the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// In the line with the size; whether its digits are over.
    Size(usize, Digits),
    Data(usize),
    /// Before the line end that follows data.
    Behind,
    /// In the lines after the last chunk; how long the present one is.
    Trailer(usize),
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    Coming,
    Over,
}

/// Status and body of an answer by its head.
///
/// # Errors
/// When it isn't one, or doesn't say where its body ends.
pub fn head(head: &[u8]) -> io::Result<(u16, Body)> {
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status: u16 = status.ok_or_else(|| io::Error::other("no status line"))?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, Body::Length(value.parse().map_err(io::Error::other)?)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok((status, Body::Chunked(Chunk::Size(0, Digits::Coming))));
        }
    }
    if status == 204 || status == 304 {
        return Ok((status, Body::Length(0)));
    }
    Err(io::Error::other("the head doesn't say where the body ends"))
}

impl Body {
    /// Whether all of it came.
    pub fn ended(&self) -> bool {
        match self {
            Self::Chunked(chunk) => *chunk == Chunk::Ended,
            Self::Length(left) => *left == 0,
        }
    }

    /// Takes the next piece from the wire, and gives what of it is content.
    ///
    /// # Errors
    /// When more comes than belongs to it, or the coding is broken.
    pub fn take(&mut self, piece: &[u8], content: &mut impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Length(left) => {
                *left =
                    left.checked_sub(piece.len()).ok_or_else(|| io::Error::other("more than its length"))?;
                content(piece);
                Ok(())
            }
            Self::Chunked(chunk) => chunk.take(piece, content),
        }
    }
}

impl Chunk {
    fn take(&mut self, mut piece: &[u8], content: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while let Some((first, rest)) = piece.split_first() {
            if let Self::Data(left) = *self {
                let (data, behind) = piece.split_at_checked(left).unwrap_or((piece, &[]));
                content(data);
                *self = if data.len() == left { Self::Behind } else { Self::Data(left - data.len()) };
                piece = behind;
                continue;
            }
            *self = self.after(*first)?;
            piece = rest;
        }
        Ok(())
    }

    /// After one byte that is not data.
    fn after(self, byte: u8) -> io::Result<Self> {
        let broken = || io::Error::other("the chunks are broken");
        Ok(match (self, byte) {
            (Self::Size(0, _), b'\n') => Self::Trailer(0),
            (Self::Size(size, _), b'\n') => Self::Data(size),
            (Self::Size(size, Digits::Coming), digit) => match char::from(digit).to_digit(16) {
                Some(digit) => Self::Size(size * 16 + digit as usize, Digits::Coming),
                None => Self::Size(size, Digits::Over),
            },
            (Self::Size(size, Digits::Over), _) => Self::Size(size, Digits::Over),
            (Self::Behind, b'\n') => Self::Size(0, Digits::Coming),
            (Self::Behind, b'\r') => Self::Behind,
            (Self::Trailer(0), b'\n') => Self::Ended,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(length), b'\r') => Self::Trailer(length),
            (Self::Trailer(length), _) => Self::Trailer(length + 1),
            (Self::Data(_) | Self::Behind | Self::Ended, _) => return Err(broken()),
        })
    }
}
