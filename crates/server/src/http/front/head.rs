//! The head of an HTTP/1 request and the gate in front of everything: what two readers could understand in two ways is
//! refused, before any of it is believed.

use super::target::{self, Target};
use httparse::Error;
use std::mem::MaybeUninit;
use stead_api::error::ErrorCode;

pub use httparse::Header;

/// Largest head, from the request line to the empty line.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most headers.
pub const MAX_HEADERS: usize = 100;
/// Longest request-target.
pub const MAX_TARGET: usize = 8 * 1024;
/// Largest body of a batch of questions.
pub const MAX_BODY: usize = 1024 * 1024;
/// Largest body of everything else: what is held before anybody knows who asks. Routes have smaller limits of their own.
const MAX_ORDINARY_BODY: usize = 128 * 1024;

/// The largest body of a request to a path.
pub(super) fn most(path: &str) -> usize {
    if path == "/v1/api-keys/verify-batch" { MAX_BODY } else { MAX_ORDINARY_BODY }
}

/// Room for the headers of one request.
pub(super) type Room<'a> = [MaybeUninit<Header<'a>>; MAX_HEADERS];

/// [`Room`] with nothing in it; it costs nothing to make.
pub(super) const fn room<'a>() -> Room<'a> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

/// Why a request is not read any further. The connection ends with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code for programs.
    pub code: ErrorCode,
    /// The sentence for people.
    pub message: &'static str,
}

/// A request that is wrong in a way without a code of its own.
pub(super) const fn bad(message: &'static str) -> Refusal {
    Refusal { code: ErrorCode::BadRequest, message }
}

/// A body over the largest of its path.
pub(super) const TOO_LARGE: Refusal =
    Refusal { code: ErrorCode::RequestTooLarge, message: "The body is larger than any that is taken here." };

const BARE_LF: Refusal = bad("A line of the request's head does not end with CR LF.");
const TARGET_TOO_LONG: Refusal =
    Refusal { code: ErrorCode::UriTooLong, message: "The request's target is longer than 8192 bytes." };

/// What an answer says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, which goes without saying in HTTP/1.1.
    Keep,
    /// It stays open, which an HTTP/1.0 client must be told.
    KeepTold,
    /// It ends with this answer.
    Close,
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, perhaps none.
    Length(usize),
    /// In chunks, of so many bytes together at most.
    Chunked(usize),
}

/// A request's head, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, any token but CONNECT and TRACE.
    pub method: &'a str,
    /// The path, as in `/v1/user`; `*` only with OPTIONS.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// Whether it is HTTP/1.0.
    pub is_http_10: bool,
    /// What the answer says of the connection.
    pub persistence: Persistence,
    /// How long the body is.
    pub framing: Framing,
    /// The client waits for an interim answer before it sends the body.
    pub expects_continue: bool,
    /// All headers in their order, names as they were written, values trimmed.
    pub headers: &'a [Header<'a>],
}

/// The values of one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// It didn't come.
    Absent,
    /// The one value.
    One(&'a [u8]),
    /// It came more than once.
    Several,
}

impl<'a> Head<'a> {
    /// Reads a whole head, which ends with its empty line, and lets it pass if it has one meaning.
    pub fn read<'b: 'a>(bytes: &'b [u8], room: &'a mut Room<'b>) -> Result<Self, Refusal> {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, room) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(bad("The request's head ends too early.")),
            Err(error) => return Err(told(error, bytes)),
        }
        let (Some(method), Some(raw), Some(version)) = (request.method, request.path, request.version) else {
            return Err(bad("The request line is incomplete."));
        };
        if raw.len() > MAX_TARGET {
            return Err(TARGET_TOO_LONG);
        }
        if matches!(method, "CONNECT" | "TRACE") {
            // 501 and not 405: no resource here has them, and 405 would have to name the methods of this one.
            let message = "This server knows neither CONNECT nor TRACE.";
            return Err(Refusal { code: ErrorCode::MethodNotImplemented, message });
        }
        let Target { path, query, authority } = target::read(method, raw)?;
        let is_http_10 = version == 0;
        let headers: &'a [Header<'b>] = request.headers;
        let special = Special::among(headers)?;
        special.check_host(authority, is_http_10)?;
        let persistence = match (is_http_10, special.close, special.keep_alive) {
            (_, true, _) | (true, false, false) => Persistence::Close,
            (true, false, true) => Persistence::KeepTold,
            (false, false, _) => Persistence::Keep,
        };
        Ok(Self {
            method,
            path,
            query,
            is_http_10,
            persistence,
            framing: special.framing(is_http_10, most(path))?,
            // HTTP/1.0 has no interim answers.
            expects_continue: special.expects()? && !is_http_10,
            headers,
        })
    }

    /// The value of a header, whatever case its name is written in.
    pub fn field(&self, name: &str) -> Field<'a> {
        let mut values = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some(header), None) => Field::One(header.value),
            (Some(_), Some(_)) => Field::Several,
        }
    }
}

/// The headers that say how a message is to be read.
#[derive(Default)]
struct Special<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
}

impl<'a> Special<'a> {
    fn among(headers: &[Header<'a>]) -> Result<Self, Refusal> {
        let mut special = Self::default();
        for Header { name, value } in headers {
            if name.eq_ignore_ascii_case("host") {
                once(&mut special.host, value, bad("More than one Host came."))?;
            } else if name.eq_ignore_ascii_case("content-length") {
                once(&mut special.length, value, bad("More than one Content-Length came."))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                once(&mut special.encoding, value, bad("More than one Transfer-Encoding came."))?;
            } else if name.eq_ignore_ascii_case("expect") {
                once(&mut special.expect, value, EXPECTATION)?;
            } else if name.eq_ignore_ascii_case("connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    special.close |= option.eq_ignore_ascii_case(b"close");
                    special.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(special)
    }

    fn check_host(&self, authority: Option<&str>, may_lack: bool) -> Result<(), Refusal> {
        match self.host {
            Some(host) if !target::is_authority(host) => Err(bad("Host is not a host with an optional port.")),
            None if !may_lack => Err(bad("No Host came.")),
            Some(host) if authority.is_some_and(|named| !named.as_bytes().eq_ignore_ascii_case(host)) => {
                Err(bad("Host is not the one that the target names."))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn framing(&self, is_http_10: bool, most: usize) -> Result<Framing, Refusal> {
        match (self.length, self.encoding) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => Err(bad("Both Content-Length and Transfer-Encoding came.")),
            (None, Some(_)) if is_http_10 => Err(bad("HTTP/1.0 has no Transfer-Encoding.")),
            (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked(most)),
            (None, Some(_)) => Err(bad("The only Transfer-Encoding here is chunked.")),
            (Some(length), None) => match decimal(length) {
                Some(length) if length <= most as u64 => Ok(Framing::Length(usize::try_from(length).unwrap_or(most))),
                Some(_) => Err(TOO_LARGE),
                None => Err(bad("Content-Length is not one number.")),
            },
        }
    }

    fn expects(&self) -> Result<bool, Refusal> {
        match self.expect {
            None => Ok(false),
            Some(expected) if expected.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(EXPECTATION),
        }
    }
}

const EXPECTATION: Refusal =
    Refusal { code: ErrorCode::ExpectationFailed, message: "The only Expect here is 100-continue, once." };

fn once<'a>(place: &mut Option<&'a [u8]>, value: &'a [u8], refusal: Refusal) -> Result<(), Refusal> {
    if place.replace(value).is_some() { Err(refusal) } else { Ok(()) }
}

/// Digits and nothing else: `parse` would take a plus sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn told(error: Error, bytes: &[u8]) -> Refusal {
    match error {
        Error::Version if names_a_version(bytes) => {
            Refusal { code: ErrorCode::HttpVersionNotSupported, message: "This server speaks HTTP/1.0, 1.1 and 2." }
        }
        Error::TooManyHeaders => {
            Refusal { code: ErrorCode::HeadersTooLarge, message: "The request has more than 100 headers." }
        }
        Error::HeaderName => bad("The name of a header is not a token with a colon right after it."),
        Error::HeaderValue => bad("The value of a header holds a character that has no place there."),
        Error::NewLine | Error::Status | Error::Token | Error::Version => {
            bad("The request line is not a method, a target and a version, with one space between each.")
        }
    }
}

/// Whether the request line would do but for its version: `HTTP/`, a digit, a point and a digit.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let (_, _, version, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) = version else { return false };
    rest.is_none() && major.is_ascii_digit() && minor.is_ascii_digit()
}

/// The search for the end of a head in bytes that come bit by bit. Looks at each byte once.
#[derive(Default)]
pub(super) struct Search {
    seen: usize,
}

impl Search {
    /// The length of the head that `bytes` begin with, once its end is there. The same bytes give the same outcome,
    /// however they were cut.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
        while let Some(step) = bytes[self.seen..].iter().position(|byte| *byte == b'\n') {
            let at = self.seen + step;
            self.seen = at + 1;
            match at.checked_sub(1).map(|before| bytes[before]) {
                // One empty line was forgiven before; nobody sends two.
                Some(b'\r') if at == 1 => return Err(bad("The request begins with empty lines.")),
                Some(b'\r') if bytes[at - 2] == b'\n' => return Ok(Some(at + 1)),
                Some(b'\r') => {}
                _ => return Err(BARE_LF),
            }
        }
        self.seen = bytes.len();
        if bytes.len() < MAX_HEAD { Ok(None) } else { Err(too_large(bytes)) }
    }
}

/// What is too large about a head that fills all its room.
fn too_large(bytes: &[u8]) -> Refusal {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if line.len() == bytes.len() || target.len() > MAX_TARGET {
        return TARGET_TOO_LONG;
    }
    Refusal { code: ErrorCode::HeadersTooLarge, message: "The request's head is larger than 16384 bytes." }
}
