//! Clients that take their time, against the real server with its real deadlines.

use crate::harness::{Options, Server, Store};
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the documentation promises, with room for a slow machine.
const CLOSED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn fifty_slow_heads_are_closed_while_the_server_answers() {
    let server = Server::start(Options::on(Store::Sqlite));
    let address = server.base_url().strip_prefix("http://").unwrap().to_owned();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: ").await.unwrap();
        slow.push(tokio::spawn(async move {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            String::from_utf8(bytes).unwrap()
        }));
    }
    let closed = async {
        for task in slow {
            let answer = task.await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    };
    let served = async {
        loop {
            assert_eq!(server.call(Method::GET, "/healthz", None).await.0, StatusCode::OK);
        }
    };
    tokio::select! {
        closed = timeout(CLOSED, closed) => closed.expect("all are closed in time"),
        () = served => {}
    }
}
