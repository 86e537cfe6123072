//! Bodies in chunks (RFC 9112 §7.1), read strictly: what one reader takes for a size and another for an extension is
//! how requests are smuggled.

use super::head::{Refusal, TOO_LARGE, bad};
use super::input::KEPT;

/// Most digits of a size: enough for every size that is not refused anyway.
const MAX_DIGITS: u8 = 8;
/// Most bytes of trailers.
const MAX_TRAILERS: usize = 4 * 1024;

const SIZE: Refusal = bad("A chunk's size is not hexadecimal digits followed by CR LF.");
const LINE: Refusal = bad("A chunk does not end with CR LF where its size says.");
const TRAILER: Refusal = bad("A trailer of the body is malformed.");

/// A body in chunks, as it comes.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// What the chunks held so far.
    pub body: Vec<u8>,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a size, with so many digits already.
    #[default]
    Start,
    Size {
        size: usize,
        digits: u8,
    },
    SizeLf(usize),
    Data(usize),
    DataCr,
    DataLf,
    /// At the beginning of a trailer, or of the empty line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl Chunks {
    /// Takes bytes in, `most` of a body at most. Tells how many belong to the body; whether the body is whole, [`Self::is_done`] tells.
    pub(super) fn take(&mut self, bytes: &[u8], most: usize) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let taken = left.min(bytes.len() - at);
                self.body.extend_from_slice(&bytes[at..at + taken]);
                at += taken;
                self.state = if taken == left { State::DataCr } else { State::Data(left - taken) };
            } else {
                self.state = self.step(bytes[at], most)?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the body and its trailers have ended.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing of a body has come yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.state == State::Start && self.body.is_empty()
    }

    /// Makes ready for the next body. A large one's room is given back.
    pub(super) fn clear(&mut self) {
        if self.body.capacity() > KEPT {
            self.body = Vec::new();
        }
        self.body.clear();
        (self.state, self.trailers) = (State::Start, 0);
    }

    fn step(&mut self, byte: u8, most: usize) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Start, _) => digit(0, 0, byte),
            (State::Size { size, .. }, b'\r') => Ok(State::SizeLf(size)),
            (State::Size { size, digits }, _) => digit(size, digits, byte),
            (State::SizeLf(0) | State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::SizeLf(size), b'\n') if size > most.saturating_sub(self.body.len()) => Err(TOO_LARGE),
            (State::SizeLf(size), b'\n') => Ok(State::Data(size)),
            (State::SizeLf(_), _) => Err(SIZE),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Start),
            (State::DataCr | State::DataLf, _) => Err(LINE),
            (State::Trailer, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::Trailer | State::TrailerName | State::TrailerValue, _) => self.trailer(byte),
            (State::EndLf | State::TrailerLf, _) => Err(TRAILER),
            (State::Data(_) | State::Done, _) => Ok(self.state),
        }
    }

    /// Trailers are dropped, but none is let by that could be read in two ways.
    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(bad("The body's trailers are larger than 4096 bytes."));
        }
        match (self.state, byte) {
            (State::Trailer | State::TrailerName, _) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerName, b':') | (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::TrailerValue),
            _ => Err(TRAILER),
        }
    }
}

fn digit(size: usize, digits: u8, byte: u8) -> Result<State, Refusal> {
    let value = char::from(byte).to_digit(16).ok_or(SIZE)?;
    if digits == MAX_DIGITS {
        return Err(bad("A chunk's size has more than 8 digits."));
    }
    Ok(State::Size { size: size << 4 | value as usize, digits: digits + 1 })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
