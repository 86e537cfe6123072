//! The front, from outside: bytes on a socket, and what comes back.

use crate::harness::{Engine, World};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::routing::{any, get};
use http_body_util::{BodyExt, Empty};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use stead_server::config::Place;
use stead_server::http::Door;
use stead_server::http::front::{Apart, Deadlines, Front, Listener, Service};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_millis(200);

/// Two streams of a kind that tests don't care about.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// A listener that serves.
struct Standing {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Standing {
    async fn serving(service: Service, deadlines: Deadlines, connections: usize, place: Place) -> Self {
        let listener = Listener::bind(&place).await.unwrap();
        let address = listener.address().to_owned();
        let (stop, stopped) = oneshot::channel();
        let front = Front { service, tls: None, deadlines, connections };
        let task = tokio::spawn(listener.serve(front, async move { drop(stopped.await) }));
        Self { address, stop: Some(stop), task }
    }

    async fn of(world: &World) -> Self {
        Self::serving(Service::new(world.app.clone(), Door::Public), Deadlines::default(), 512, anywhere()).await
    }

    /// With routes that echo, stream and wait, beside those of the server.
    async fn echoing(world: &World, deadlines: Deadlines, gate: Arc<Gate>) -> Self {
        let mut service = Service::new(world.app.clone(), Door::Public);
        service.router = routes(gate).fallback_service(service.router);
        Self::serving(service, deadlines, 512, anywhere()).await
    }

    fn socket(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    async fn connect(&self) -> Box<dyn Wire> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            return Box::new(UnixStream::connect(path).await.unwrap());
        }
        let stream = TcpStream::connect(self.socket()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Box::new(stream)
    }

    /// Sends bytes on a connection of their own and reads to its end.
    async fn talk(&self, bytes: &[u8]) -> Vec<Answer> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        answers(&rest(&mut stream).await, bytes.starts_with(b"HEAD"))
    }

    fn stop(&mut self) {
        drop(self.stop.take());
    }

    async fn ended(mut self) {
        self.stop();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

/// Where a request waits until the test lets it go on.
#[derive(Default)]
struct Gate {
    entered: Notify,
    leave: Notify,
}

fn anywhere() -> Place {
    Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(
            "/echo/{*rest}",
            any(|request: Request| async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body))
            }),
        )
        .route("/stream", get(|| async { Body::new(Pieces(vec!["first", "", "second piece"])) }))
        .route("/nothing", get(|| async { axum::http::StatusCode::NO_CONTENT }))
        .route("/large", get(|| async { "x".repeat(64 * 1024 * 1024) }))
        .route(
            "/wait",
            get(move || async move {
                gate.entered.notify_one();
                gate.leave.notified().await;
                "waited"
            }),
        )
}

/// A body of unknown length.
struct Pieces(Vec<&'static str>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.0.remove(0);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

/// An answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(at, _)| at == name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} came twice: {self:?}");
        value.map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"));
        assert_eq!(body["detail"]["request_id"], self.header("x-request-id").unwrap());
        assert_eq!(self.header("x-request-id"), self.header("x-trace-id"));
        body["detail"]["code"].as_str().unwrap().to_owned()
    }
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends").unwrap();
    bytes
}

/// Takes answers apart, and accepts nothing that a client could stumble over.
fn answers(mut bytes: &[u8], to_head: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, rest) = one(bytes, to_head && answers.is_empty()).expect("a whole answer");
        answers.push(answer);
        bytes = rest;
    }
    answers
}

fn one(bytes: &[u8], to_head: bool) -> Option<(Answer, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap().split(' ').next().unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    let mut answer = Answer { status, headers, body: String::new() };
    let mut rest = &bytes[end + 4..];
    if status >= 200 {
        assert_eq!(answer.header("date").unwrap().len(), 29);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match (answer.header("content-length"), answer.header("transfer-encoding")) {
        _ if to_head || matches!(status, 100 | 204 | 304) => {}
        (Some(length), None) => {
            let length = length.parse().unwrap();
            answer.body = text(rest.get(..length)?);
            rest = &rest[length..];
        }
        (None, Some("chunked")) => loop {
            let line = rest.windows(2).position(|two| two == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let data = rest.get(line + 2..line + 2 + size)?;
            answer.body += &text(data);
            rest = rest.get(line + 2 + size..)?.strip_prefix(b"\r\n".as_slice())?;
            if size == 0 {
                break;
            }
        },
        (None, None) => {
            assert!(answer.closes(), "nothing says where the body ends: {answer:?}");
            answer.body = text(rest);
            rest = &[];
        }
        other => panic!("{other:?}"),
    }
    Some((answer, rest))
}

/// Reads one answer of a connection that stays open.
async fn next(stream: &mut (impl AsyncRead + Unpin), to_head: bool) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer comes");
        bytes.push(read.expect("an answer, not the end"));
        if let Some((answer, rest)) = one(&bytes, to_head) {
            assert!(rest.is_empty());
            return answer;
        }
    }
}

const PLAIN: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const LAST: &[u8] = b"GET /the-last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// Requests, the status each must get, and whether the connection must end there (`!`) or goes on (`.`).
fn shapes() -> Vec<(Vec<u8>, u16, bool)> {
    let long = |head: &str, count: usize, tail: &str| [head.as_bytes(), &b"a".repeat(count), tail.as_bytes()].concat();
    let many =
        |count: usize| format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(count - 1)).into_bytes();
    let plain: &[(&str, u16, char)] = &[
        // What must pass.
        ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.1\r\nhOST:h:8080\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, '.'),
        ("\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: \t h \t\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: \u{e9}\ta\r\nY:\r\n\r\n", 200, '.'),
        ("GET /healthz?a=%20 HTTP/1.1\r\nHost: h\r\n\r\n", 200, '.'),
        ("GET http://h/healthz HTTP/1.1\r\nHost: H\r\n\r\n", 200, '.'),
        ("GET HTTPS://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200, '.'),
        ("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", 404, '.'),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404, '.'),
        ("OPTIONS /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405, '.'),
        ("HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200, '.'),
        ("BREW /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 200, '.'),
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 003\r\n\r\nabc", 404, '.'),
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 404, '.'),
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 404, '.'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", 200, '!'),
        (
            "GET /healthz HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            200,
            '.',
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200, '!'),
        ("GET /healthz HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 200, '.'),
        ("GET /healthz HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", 200, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n\r\n", 200, '.'),
        // Hosts.
        ("GET /healthz HTTP/1.1\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: u@h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h:99999\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h/x\r\n\r\n", 400, '!'),
        ("GET http://other/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET http://u@h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET http:///healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        // How long the body is.
        (
            "POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            '!',
        ),
        (
            "POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            400,
            '!',
        ),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1 2\r\n\r\nabc", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551617\r\n\r\na", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n", 413, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400, '!'),
        (
            "POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            '!',
        ),
        ("POST /healthz HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, '!'),
        // Chunks.
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\na\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n", 400, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", 413, '!'),
        ("POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx y\r\n\r\n", 400, '!'),
        // Lines and headers.
        ("GET /healthz HTTP/1.1\nHost: h\n\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\n\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\n Host: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost : h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX(y): z\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nX: a\x08b\r\n\r\n", 400, '!'),
        ("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        // Request lines.
        ("GET  /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz  HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.1 \r\nHost: h\r\n\r\n", 400, '!'),
        (" GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET\t/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz\r\n\r\n", 400, '!'),
        ("G(T /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz http/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.11\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz HTTP/1.2\r\nHost: h\r\n\r\n", 505, '!'),
        ("GET /healthz HTTP/2.0\r\nHost: h\r\n\r\n", 505, '!'),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505, '!'),
        ("GET /healthz#a HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /h\u{e9}althz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /healthz% HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET /health\\z HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, '!'),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501, '!'),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 501, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", 417, '!'),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n", 417, '!'),
    ];
    let mut shapes: Vec<_> =
        plain.iter().map(|(bytes, status, end)| (bytes.as_bytes().to_vec(), *status, *end == '!')).collect();
    shapes.extend([
        (many(100), 200, false),
        (many(101), 431, true),
        (long("GET /healthz HTTP/1.1\r\nHost: h\r\nX: ", 15_000, "\r\n\r\n"), 200, false),
        (long("GET /healthz HTTP/1.1\r\nHost: h\r\nX: ", 17_000, "\r\n\r\n"), 431, true),
        (long("GET /healthz HTTP/1.1\r\nHost: h\r\nX: ", 90_000, ""), 431, true),
        (long("GET /healthz?", 8_000, " HTTP/1.1\r\nHost: h\r\n\r\n"), 200, false),
        (long("GET /healthz?", 8_500, " HTTP/1.1\r\nHost: h\r\n\r\n"), 414, true),
        (long("GET /healthz?", 40_000, " HTTP/1.1\r\nHost: h\r\n\r\n"), 414, true),
        (b"GET /healthz HTTP/1.1\r\nHost: h\xff\r\n\r\n".to_vec(), 400, true),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(), 400, true),
        (long("POST /v1/user HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", 100_000, ""), 405, false),
        // Only a batch may be larger, which asks for a key first.
        (long("POST /v1/user HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n", 200_000, ""), 413, true),
        (
            long("POST /v1/api-keys/verify-batch HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n", 200_000, ""),
            401,
            false,
        ),
    ]);
    shapes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_of_a_request_gets_the_one_answer_it_must_get() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::of(&world).await;
    let shapes = shapes();
    assert!(shapes.len() >= 60);
    for (bytes, status, closes) in shapes {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let answers = standing.talk(&[&bytes, LAST].concat()).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        // The request after a bad one must not be answered: that is what smuggling lives on.
        let wanted = if closes { vec![status] } else { vec![status, 404] };
        assert_eq!(statuses, wanted, "{shown:?}");
        assert_eq!(answers[0].closes(), closes, "{shown:?}");
        assert!(answers.last().unwrap().closes());
        let code = match status {
            400 => "bad_request",
            413 => "request_too_large",
            414 => "uri_too_long",
            417 => "expectation_failed",
            431 => "headers_too_large",
            401 => "missing_api_key",
            501 => "method_not_implemented",
            505 => "http_version_not_supported",
            _ => continue,
        };
        assert_eq!(answers[0].code(), code, "{shown:?}");
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_cut_anywhere_gets_the_same_answer() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::echoing(&world, Deadlines::default(), Arc::default()).await;
    let requests: [&[u8]; 5] = [
        b"POST /echo/a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"\r\nPOST /echo/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"PUT /echo/p HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /echo/a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"POST /echo/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    ];
    for request in requests {
        let bytes = [request, LAST].concat();
        let whole = standing.talk(&bytes).await;
        let bodies = |answers: &[Answer]| -> Vec<_> {
            answers.iter().map(|answer| (answer.status, (answer.status == 200).then(|| answer.body.clone()))).collect()
        };
        // All first parts before all second ones, so that most first parts are read by themselves.
        let mut cut = Vec::new();
        for at in 1..request.len() {
            let mut stream = standing.connect().await;
            stream.write_all(&bytes[..at]).await.unwrap();
            cut.push((at, stream));
        }
        for (at, stream) in &mut cut {
            // The server may have refused already what came, and be gone.
            let _: std::io::Result<()> = stream.write_all(&bytes[*at..]).await;
        }
        for (at, mut stream) in cut {
            let answers = answers(&rest(&mut stream).await, false);
            assert_eq!(bodies(&answers), bodies(&whole), "{:?} cut at {at}", String::from_utf8_lossy(request));
        }
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_each_with_its_own_answer() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::echoing(&world, Deadlines::default(), Arc::default()).await;
    let mut runner = TestRunner::deterministic();
    // Each a kind of request; 6 and more end the connection.
    let mixes = proptest::collection::vec(0_usize..60, 1..40);
    for _ in 0..60 {
        let mix: Vec<_> = mixes.new_tree(&mut runner).unwrap().current();
        let (mut bytes, mut wanted, mut is_over) = (Vec::new(), Vec::new(), false);
        for (at, kind) in mix.iter().enumerate() {
            let (request, answer) = match kind {
                0..10 => (format!("GET /echo/{at} HTTP/1.1\r\nHost: h\r\n\r\n"), (200, format!("GET /echo/{at} "))),
                10..25 => (
                    format!("POST /echo/{at} HTTP/1.1\r\nHost: h\r\nContent-Length: 19\r\n\r\nGET / HTTP/1.1\r\nX: "),
                    (200, format!("POST /echo/{at} GET / HTTP/1.1\r\nX: ")),
                ),
                25..40 => (
                    format!(
                        "POST /echo/{at} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{at:02}\r\n1\r\nx\r\n0\r\n\r\n"
                    ),
                    (200, format!("POST /echo/{at} {at:02}x")),
                ),
                40..50 => (format!("GET /nowhere/{at} HTTP/1.1\r\nHost: h\r\n\r\n"), (404, String::new())),
                50..56 => (format!("GET /stream?{at} HTTP/1.1\r\nHost: h\r\n\r\n"), (200, "firstsecond piece".into())),
                56..58 => (format!("GET /echo/{at} HTTP/1.1\r\nHost : h\r\n\r\n"), (400, String::new())),
                _ => (
                    format!("GET /echo/{at} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                    (200, format!("GET /echo/{at} ")),
                ),
            };
            bytes.extend_from_slice(request.as_bytes());
            if !is_over {
                wanted.push(answer);
            }
            is_over |= *kind >= 56;
        }
        if !is_over {
            wanted.push((404, String::new()));
        }
        bytes.extend_from_slice(LAST);
        let answers = standing.talk(&bytes).await;
        let came: Vec<_> = answers
            .iter()
            .map(|answer| (answer.status, if answer.status == 200 { answer.body.clone() } else { String::new() }))
            .collect();
        assert_eq!(came, wanted, "{mix:?}");
        let ids: Vec<_> = answers.iter().filter_map(|answer| answer.header("x-request-id")).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_form_that_their_request_asks_for() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::echoing(&world, Deadlines::default(), Arc::default()).await;
    let mut stream = standing.connect().await;

    stream.write_all(PLAIN).await.unwrap();
    let whole = next(&mut stream, false).await;
    stream.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let head = next(&mut stream, true).await;
    assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")));
    assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));
    assert_eq!((whole.header("connection"), whole.body.as_str()), (None, r#"{"status":"ok"}"#));
    // Dates are those of the server's clock.
    assert_eq!(whole.header("date"), Some("Sun, 22 Nov 2026 12:00:00 GMT"));

    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let streamed = next(&mut stream, false).await;
    assert_eq!((streamed.header("transfer-encoding"), streamed.body.as_str()), (Some("chunked"), "firstsecond piece"));
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let nothing = next(&mut stream, false).await;
    assert_eq!(
        (nothing.status, nothing.header("content-length"), nothing.header("transfer-encoding")),
        (204, None, None)
    );
    stream.write_all(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    assert_eq!(next(&mut stream, false).await.header("connection"), Some("keep-alive"));
    // HTTP/1.0 has no chunks: the end of the connection is the end of the body.
    stream.write_all(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let [answer] = &answers(&rest(&mut stream).await, false)[..] else { panic!("not one answer") };
    assert_eq!((answer.closes(), answer.body.as_str()), (true, "firstsecond piece"));
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_it_is_told_to_go_on() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::echoing(&world, Deadlines::default(), Arc::default()).await;
    for (framing, body) in [("Content-Length: 2", "hi"), ("Transfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n")] {
        let head = format!("POST /echo/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n{framing}\r\n\r\n");
        let mut stream = standing.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(next(&mut stream, false).await.status, 100);
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = next(&mut stream, false).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "POST /echo/a hi"));
        // Who has sent the body already needs no permission to.
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
        assert_eq!(next(&mut stream, false).await.status, 200);
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_passes_and_is_whole() {
    let world = World::new(Engine::Sqlite).await;
    let standing = Standing::echoing(&world, Deadlines::default(), Arc::default()).await;
    let body: String = (0..128 * 1024).map(|at| char::from(b'a' + u8::try_from(at % 26).unwrap())).collect();
    let plain = format!("POST /echo/a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut chunked = "POST /echo/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for piece in body.as_bytes().chunks(1000) {
        let size = format!("{:X}", piece.len());
        chunked.extend([&size, "\r\n", std::str::from_utf8(piece).unwrap(), "\r\n"]);
    }
    chunked += "0\r\n\r\n";
    let bytes = [plain.as_bytes(), chunked.as_bytes(), LAST].concat();
    let (mut reader, mut writer) = tokio::io::split(standing.connect().await);
    let sent = tokio::spawn(async move { writer.write_all(&bytes).await.map(|()| writer) });
    let answers = answers(&rest(&mut reader).await, false);
    drop(sent.await.unwrap().unwrap());
    assert_eq!(answers.len(), 3);
    for answer in &answers[..2] {
        assert!(answer.body == format!("POST /echo/a {body}"), "{} bytes", answer.body.len());
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_with_whoever_begins_with_it() {
    let world = World::new(Engine::Sqlite).await;
    let mut standing = Standing::of(&world).await;
    let stream = TcpStream::connect(standing.socket()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for (path, status) in [("/healthz", 200), ("/v1/user", 401), ("/nowhere", 404)] {
        let uri = format!("http://h{path}");
        let request = hyper::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (status, hyper::Version::HTTP_2));
        assert!(response.headers().contains_key("x-request-id"));
        response.into_body().collect().await.unwrap();
    }
    // A stop ends it, too.
    standing.stop();
    tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_half_of_the_connections_and_no_more() {
    let world = World::new(Engine::Sqlite).await;
    let service = Service::new(world.app.clone(), Door::Public);
    let standing = Standing::serving(service, Deadlines::default(), 4, anywhere()).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = standing.connect().await;
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(next(&mut stream, false).await.status, 200);
        kept.push(stream);
    }
    let mut third = standing.connect().await;
    assert_eq!(rest(&mut third).await, b"");
    // Another of this machine's addresses is another client.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(standing.socket()).await.unwrap();
    other.write_all(LAST).await.unwrap();
    assert_eq!(answers(&rest(&mut other).await, false)[0].status, 404);
    // A place is free as soon as its connection is gone; when the server has noticed, only trying shows.
    drop(kept.pop());
    loop {
        let mut again = standing.connect().await;
        let _: std::io::Result<()> = again.write_all(LAST).await;
        let mut bytes = Vec::new();
        if again.read_to_end(&mut bytes).await.is_ok() && !bytes.is_empty() {
            break;
        }
    }
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_cap_the_next_connection_waits_until_one_ends() {
    let world = World::new(Engine::Sqlite).await;
    let directory = tempfile::tempdir().unwrap();
    let service = Service::new(world.app.clone(), Door::Verification);
    let place = Place::Unix(directory.path().join("s"));
    let standing = Standing::serving(service, Deadlines::default(), 2, place).await;
    let (mut first, mut second) = (standing.connect().await, standing.connect().await);
    for stream in [&mut first, &mut second] {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(next(stream, false).await.status, 200);
    }
    let third = UnixStream::connect(directory.path().join("s")).await.unwrap();
    third.writable().await.unwrap();
    assert_eq!(third.try_write(LAST).unwrap(), LAST.len());
    for _ in 0..200 {
        first.write_all(PLAIN).await.unwrap();
        assert_eq!(next(&mut first, false).await.status, 200);
    }
    assert_eq!(third.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(second);
    let mut third = third;
    assert_eq!(answers(&rest(&mut third).await, false)[0].status, 404);
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_idle_connections_at_once_and_lets_requests_end() {
    let world = World::new(Engine::Sqlite).await;
    let gate = Arc::<Gate>::default();
    let mut standing = Standing::echoing(&world, Deadlines::default(), gate.clone()).await;
    let (mut silent, mut idle, mut busy) =
        (standing.connect().await, standing.connect().await, standing.connect().await);
    idle.write_all(PLAIN).await.unwrap();
    assert_eq!(next(&mut idle, false).await.status, 200);
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    busy.write_all(PLAIN).await.unwrap();
    gate.entered.notified().await;
    standing.stop();
    // All of these end although `busy` is still being answered.
    assert_eq!(rest(&mut idle).await, b"");
    assert_eq!(rest(&mut silent).await, b"");
    assert!(TcpStream::connect(standing.socket()).await.is_err());
    gate.leave.notify_one();
    let answers = answers(&rest(&mut busy).await, false);
    assert_eq!(answers.len(), 1, "what was not begun is not begun any more");
    assert!(answers[0].closes() && answers[0].body == "waited");
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_are_cut_off_and_the_others_are_served_meanwhile() {
    let world = World::new(Engine::Sqlite).await;
    let deadlines =
        // The end of the server must not be what ends a stalled reader.
        Deadlines { head: SOON, body: SOON, write: SOON, drain: 2 * PATIENCE, ..Deadlines::default() };
    let standing = Standing::echoing(&world, deadlines, Arc::default()).await;
    let mut good = standing.connect().await;
    good.write_all(PLAIN).await.unwrap();
    assert_eq!(next(&mut good, false).await.status, 200);

    let trickle = |begin: &'static [u8], drip: &'static [u8]| {
        let connecting = standing.connect();
        async move {
            let (mut reader, mut writer) = tokio::io::split(connecting.await);
            writer.write_all(begin).await.unwrap();
            // Something always comes, so that only a deadline for the whole can end it.
            let dripping = tokio::spawn(async move {
                let mut ticks = tokio::time::interval(SOON / 20);
                while writer.write_all(drip).await.is_ok() {
                    ticks.tick().await;
                }
            });
            let bytes = rest(&mut reader).await;
            dripping.abort();
            answers(&bytes, false)
        }
    };
    let late = |answers: Vec<Answer>| {
        assert_eq!(answers.len(), 1);
        assert_eq!(
            (answers[0].status, answers[0].code().as_str(), answers[0].closes()),
            (408, "request_timeout", true)
        );
    };
    late(trickle(b"GET /healthz HTTP/1.1\r\nX: ", b"a").await);
    late(trickle(b"POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", b"a").await);
    late(trickle(b"POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n").await);
    late(trickle(b"PRI * HTT", b"").await);
    // The deadline of a head holds after a good request, too.
    let answers = trickle(b"GET /echo/a HTTP/1.1\r\nHost: h\r\n\r\nGET", b"T").await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 408]);
    // A reader that stalls: more than fits into the buffers between, and then nobody takes it.
    let mut stalled = standing.connect().await;
    stalled.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let first = stalled.read_u8().await.unwrap();
    assert_eq!(first, b'H');
    for _ in 0..100 {
        good.write_all(PLAIN).await.unwrap();
        assert_eq!(next(&mut good, false).await.status, 200);
    }
    // While the stalled one holds on, the server can end only once it has let go of it: well before the idle and
    // drain deadlines would.
    let unfinished = tokio::time::timeout(PATIENCE, async {
        standing.ended().await;
        let mut bytes = Vec::new();
        let _: std::io::Result<usize> = stalled.read_to_end(&mut bytes).await;
        bytes.len()
    });
    assert!(unfinished.await.unwrap() < 64 * 1024 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_ends_without_a_word() {
    let world = World::new(Engine::Sqlite).await;
    let deadlines = Deadlines { idle: SOON, ..Deadlines::default() };
    let standing = Standing::echoing(&world, deadlines, Arc::default()).await;
    let mut stream = standing.connect().await;
    stream.write_all(PLAIN).await.unwrap();
    assert_eq!(answers(&rest(&mut stream).await, false).len(), 1);
    standing.ended().await;
    // Nor does one that never said anything hear anything.
    let deadlines = Deadlines { first_byte: SOON, ..Deadlines::default() };
    let standing = Standing::echoing(&world, deadlines, Arc::default()).await;
    assert_eq!(rest(&mut standing.connect().await).await, b"");
    standing.ended().await;
}

fn post(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verification_listener_asks_for_no_key_and_manages_nothing() {
    let world = World::with(Engine::Sqlite, &[("verify-listen", "127.0.0.1:0")]).await;
    let key = world.account_with_key().await;
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("verify.sock");
    // What a server that died has left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    for place in [Place::Unix(path.clone()), anywhere()] {
        let apart = Apart::bind(&place).await.unwrap();
        let address = apart.address().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = Service::new(world.app.clone(), Door::Verification);
        let front = Front { service, tls: None, deadlines: Deadlines::default(), connections: 64 };
        let serving = apart.serve(front, async move { drop(stopped.await) });
        let standing = Standing { address, stop: None, task: tokio::spawn(async {}) };
        if place == Place::Unix(path.clone()) {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
            let refused = Listener::bind(&place).await.err().unwrap();
            assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
        }
        let asked = post("/v1/api-keys/verify", &json!({ "api_key": key.secret }));
        let [answer] = &standing.talk(&asked).await[..] else { panic!("not one answer") };
        let decision: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(answer.status == 200 && decision["code"] == "VALID", "{answer:?}");
        assert_eq!(decision["workspace_id"], world.workspace.as_str());
        // It asks the store, which lives on the other runtime.
        let ready = b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        assert_eq!(standing.talk(ready).await[0].status, 200);
        for path in ["/v1/user", "/v1/service-accounts", "/v1/api-keys"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: h\r\nxi-api-key: {}\r\nConnection: close\r\n\r\n", world.admin);
            assert_eq!(standing.talk(request.as_bytes()).await[0].code(), "route_not_found", "{path}");
        }
        drop(stop);
        serving.ended().await;
    }
    assert!(!path.exists(), "the socket's file is left behind");
    std::fs::write(&path, "precious").unwrap();
    let refused = Listener::bind(&Place::Unix(path.clone())).await.err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

/// What may differ between two answers to the same question.
fn without_ids(answer: Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    for place in ["/decision_id", "/detail/request_id", "/detail/decision/decision_id"] {
        if let Some(id) = body.pointer_mut(place) {
            *id = Value::Null;
        }
    }
    let ours = ["date", "content-length", "x-request-id", "x-trace-id", "connection"];
    let mut headers: Vec<_> = answer.headers.into_iter().filter(|(name, _)| !ours.contains(&&**name)).collect();
    headers.sort();
    (answer.status, headers, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_way_answers_like_the_long_one() {
    let world = World::with(Engine::Sqlite, &[("trusted-proxies", "127.0.0.1")]).await;
    let account = world.account("ci").await;
    let make = async |body: Value| world.key(&account, body).await.secret;
    let plain = make(json!({"name": "k", "permissions": ["text_to_speech"]})).await;
    let listed = make(json!({"name": "k", "allowed_ips": ["192.0.2.0/24"]})).await;
    let expiring = make(json!({"name": "k", "expires_at": 4_000_000_000_i64, "permissions": []})).await;
    let capped = make(json!({"name": "k", "character_limit": 10, "rate_limits": [{"name": "r", "limit": 1_000_000, "window_seconds": 1}]})).await;
    let spent = make(json!({"name": "k", "rate_limits": [{"name": "none", "limit": 0, "window_seconds": 60}]})).await;
    let standing = Standing::of(&world).await;
    let secrets = [&plain, &listed, &expiring, &capped, &spent, &world.admin, "stead_nonsense", "", "sk_foreign", "ü"];
    let asks = [
        json!({}),
        json!({"permissions": ["text_to_speech"]}),
        json!({"permissions": ["voices_read", "text_to_speech"], "ip": "192.0.2.7"}),
        json!({"ip": "::ffff:192.0.2.7", "cost": 0}),
        json!({"cost": 11}),
        json!({"ip": "nowhere"}),
        json!({"permissions": ["fly"]}),
    ];
    let mut valid = 0;
    for secret in secrets {
        for ask in &asks {
            let mut ask = ask.clone();
            ask["api_key"] = secret.into();
            if secret == capped && ask["cost"] == 11 {
                // Refused by either, and each refusal is by the same credits.
                ask["cost"] = 10_000.into();
            }
            let request = |kind: &str| {
                let body = ask.to_string();
                let (key, length) = (&world.admin, body.len());
                format!(
                    "POST /v1/api-keys/verify HTTP/1.1\r\nHost: h\r\nxi-api-key: {key}\r\nContent-Type: {kind}\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
            };
            // The short way is for the one spelling that clients send.
            let long = standing.talk(request("application/json; charset=utf-8").as_bytes()).await.remove(0);
            let short = standing.talk(request("application/json").as_bytes()).await.remove(0);
            valid += usize::from(short.body.contains("\"VALID\""));
            let (long, short) = (without_ids(long), without_ids(short));
            if ask["cost"] == 11 && long.2["code"] == "VALID" {
                // Charged twice, once by each.
                assert_eq!(
                    short.2["character_count"].as_u64(),
                    long.2["character_count"].as_u64().map(|count| count + 11)
                );
                continue;
            }
            if secret == capped {
                // A use each; how many are left of a million is another matter.
                assert_eq!((short.0, &short.2["code"]), (long.0, &long.2["code"]), "{ask}");
                continue;
            }
            assert_eq!(short, long, "{ask}");
        }
    }
    assert!(valid > 10, "{valid}");
    let mut passed = 0;
    for secret in secrets {
        for (query, address) in [
            ("", "192.0.2.7"),
            ("?permissions=text_to_speech", "192.0.2.7, 127.0.0.1"),
            ("?permissions=voices_read", "203.0.113.9"),
            ("?permissions=fly", "192.0.2.7"),
            ("", "unknown"),
        ] {
            let head = format!("xi-api-key: {secret}\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n");
            let short = format!("GET /v1/forward-auth{query} HTTP/1.1\r\nHost: h\r\n{head}");
            let long = World::request(
                "GET",
                &format!("/v1/forward-auth{query}"),
                "",
                &[("xi-api-key", secret), ("x-forwarded-for", address)],
                Body::empty(),
            );
            let long = world.send(long).await;
            let short = standing.talk(short.as_bytes()).await.remove(0);
            passed += usize::from(short.status == 200);
            let headers = long
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
            let long = Answer { status: long.status.as_u16(), headers: headers.collect(), body: long.text };
            assert_eq!(without_ids(short), without_ids(long), "{query} {address}");
        }
    }
    assert!(passed > 5, "{passed}");
    standing.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_the_one_listener_does_not_stop_the_other() {
    let world = World::new(Engine::Sqlite).await;
    let key = world.account_with_key().await;
    let standing = Standing::of(&world).await;
    let apart = Apart::bind(&anywhere()).await.unwrap();
    let flooded: SocketAddr = apart.address().parse().unwrap();
    // Each request keeps a thread of the runtime that it runs on, until the test lets go: more than it has.
    let (entered, arrived) = std::sync::mpsc::channel();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let router = Router::new().route(
        "/block",
        get(move || {
            entered.send(()).unwrap();
            let _ended = held.lock().unwrap().recv();
            async {}
        }),
    );
    let service = Service { app: world.app.clone(), router, door: Door::Verification };
    let front = Front { service, tls: None, deadlines: Deadlines::default(), connections: 512 };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = apart.serve(front, async move { drop(stopped.await) });
    let workers = std::thread::available_parallelism().unwrap().get();
    let mut flood = Vec::new();
    for _ in 0..4 * workers {
        let mut stream = TcpStream::connect(flooded).await.unwrap();
        stream.write_all(b"GET /block HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        flood.push(stream);
    }
    let arrived = tokio::task::spawn_blocking(move || {
        arrived.recv_timeout(PATIENCE).unwrap();
        arrived
    });
    let _arrived = arrived.await.unwrap();
    let revoke = format!(
        "DELETE {} HTTP/1.1\r\nHost: h\r\nxi-api-key: {}\r\nConnection: close\r\n\r\n",
        key.path(),
        world.admin
    );
    assert_eq!(standing.talk(revoke.as_bytes()).await[0].status, 200);
    assert_eq!(world.verify(&key.secret).await, "REVOKED");
    drop((hold, flood, stop));
    serving.ended().await;
    standing.ended().await;
}
