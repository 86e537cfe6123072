//! One kept-alive connection, and no more of each protocol than the figures need: what the load generator spends,
//! it takes from what it measures.

use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer here.
const LARGEST_ANSWER: usize = 64 * 1024;

/// How to tell where an answer ends.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with a length.
    Http,
    /// What Redis speaks.
    Resp,
    /// PostgreSQL's messages; an answer goes to the next "ready for query".
    Postgres,
}

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    protocol: Protocol,
    buffer: Vec<u8>,
}

impl Line {
    /// One that speaks HTTP.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::speaking(Protocol::Http, address).await
    }

    pub(crate) async fn speaking(protocol: Protocol, address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, protocol, buffer: vec![0; LARGEST_ANSWER] })
    }

    /// Sends a request and gives the whole answer, which must not be an error (HTTP: must be 200).
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<&[u8]> {
        let (answer, is_fine) = self.exchange(request).await?;
        ensure!(is_fine, "refused: {}", String::from_utf8_lossy(answer));
        Ok(answer)
    }

    /// Sends a request and gives the whole answer, and whether it is a good one.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(&[u8], bool)> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection, or its answer is too long");
            filled += read;
            let end = match self.protocol {
                Protocol::Http => http(&self.buffer[..filled]),
                Protocol::Resp => resp(&self.buffer[..filled]),
                Protocol::Postgres => postgres(&self.buffer[..filled]),
            };
            if let Some((length, is_fine)) = end
                && filled >= length
            {
                return Ok((&self.buffer[..length], is_fine));
            }
        }
    }
}

/// The length of the answer, once it can be told, and whether it is 200.
fn http(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = end_of_head(bytes)?;
    Some((end + content_length(&bytes[..end]), bytes.starts_with(b"HTTP/1.1 200")))
}

/// Just behind the blank line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Line by line and not byte by byte: names come in upper and in lower case.
fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let named = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let line = head.split(|byte| *byte == b'\n').find(named).unwrap_or_default();
    number(line)
}

/// `$5\r\nhello\r\n`, `+OK\r\n`, `-ERR …\r\n`; `$-1\r\n` is "nothing there".
fn resp(bytes: &[u8]) -> Option<(usize, bool)> {
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    Some(match bytes[0] {
        b'$' if bytes[1] != b'-' => (line + number(&bytes[..line]) + 2, true),
        kind => (line, kind == b'+'),
    })
}

/// Each message has a letter, and a length that counts itself.
fn postgres(bytes: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut is_fine) = (0, true);
    loop {
        let (kind, length) = (bytes.get(at)?, bytes.get(at + 1..at + 5)?);
        at += 1 + usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        is_fine &= *kind != b'E';
        if *kind == b'Z' {
            return Some((at, is_fine));
        }
    }
}

/// The first digits.
fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// The body of an HTTP answer.
pub(crate) fn body(answer: &[u8]) -> &[u8] {
    &answer[end_of_head(answer).unwrap_or(answer.len())..]
}

/// The headers of an HTTP answer, but for those that any server adds by itself.
pub(crate) fn headers(answer: &[u8]) -> Result<Vec<(String, String)>> {
    let head = std::str::from_utf8(&answer[..end_of_head(answer).context("an answer has a head")?])?;
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let own = |name: &str| !["date", "content-length"].contains(&name.to_ascii_lowercase().as_str());
    Ok(pairs.filter(|(name, _)| own(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A POST of JSON as bytes.
pub(crate) fn post(path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nxi-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A GET as bytes, with a key in the header of that name.
pub(crate) fn get(path: &str, header: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}: {key}\r\n\r\n").into_bytes()
}

/// A DELETE as bytes.
pub(crate) fn delete(path: &str, key: &str) -> Vec<u8> {
    format!("DELETE {path} HTTP/1.1\r\nhost: localhost\r\nxi-api-key: {key}\r\n\r\n").into_bytes()
}

/// A text field of a JSON answer.
pub(crate) fn text(answer: &[u8], name: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_slice(body(answer))?;
    value[name].as_str().map(str::to_owned).with_context(|| format!("the answer has no {name}"))
}
