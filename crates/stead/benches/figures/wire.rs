//! HTTP/1.1 over one kept-alive connection, and no more of it than the figures need: what the load generator spends,
//! it takes from what it measures.

use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer here.
const LARGEST_ANSWER: usize = 16 * 1024;

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; LARGEST_ANSWER] })
    }

    /// Sends a request and gives the body of its answer, which must be 200.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        let (mut filled, mut body) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection, or its answer is too long");
            filled += read;
            body = body.or_else(|| find_body(&self.buffer[..filled]));
            if let Some((start, length)) = body
                && filled >= start + length
            {
                let answer = &self.buffer[..start + length];
                let is_fine = answer.starts_with(b"HTTP/1.1 200");
                ensure!(is_fine, "refused: {}", String::from_utf8_lossy(answer));
                return Ok(&answer[start..]);
            }
        }
    }
}

/// Where the body begins and how long it is, once the head is there.
fn find_body(bytes: &[u8]) -> Option<(usize, usize)> {
    const LENGTH: &[u8] = b"content-length: ";
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = &bytes[..end];
    let at = head.windows(LENGTH.len()).position(|name| name == LENGTH)? + LENGTH.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some((end + 4, digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))))
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

/// A text field of an answer.
pub(crate) fn text(body: &[u8], name: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_slice(body)?;
    value[name].as_str().map(str::to_owned).with_context(|| format!("the answer has no {name}"))
}
