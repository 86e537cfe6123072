//! Receivers that mean no good: nothing takes longer than the timeout, and nothing is read without end.

use super::*;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn outward() -> Outward {
    Outward { timeout: Duration::from_secs(2), ..Outward::new(Allowed::parse("127.0.0.1").unwrap()) }
}

fn letter(url: String) -> Letter {
    Letter {
        url,
        headers: BTreeMap::from([("x-own".into(), "mine".into())]),
        signature: "t=1,v0=00".into(),
        event_id: "evt_1".into(),
        body: "{}".into(),
    }
}

/// A receiver that reads a request and then says `answer`, again and again if `endless`, and stays.
async fn receiver(answer: Vec<u8>, endless: bool, close: bool) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        let mut block = [0; 4096];
        while !heard.ends_with(b"{}") {
            let read = stream.read(&mut block).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            heard.extend_from_slice(&block[..read]);
        }
        while stream.write_all(&answer).await.is_ok() && endless {}
        if !close {
            // Until the other side hangs up.
            while stream.read(&mut block).await.is_ok_and(|read| read > 0) {}
        }
        heard
    });
    (url, served)
}

async fn says(answer: &[u8], endless: bool, close: bool) -> (Result<u16, Unsent>, Duration) {
    let (url, served) = receiver(answer.to_vec(), endless, close).await;
    let started = Instant::now();
    let result = send(&outward(), letter(url)).await;
    let took = started.elapsed();
    // The connection is gone, too: the receiver's task ends.
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("the connection was left open").unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}");
    (result, took)
}

#[tokio::test]
async fn what_a_receiver_says_and_how_is_taken_as_what_it_is() {
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for (answer, result) in [
        (fine, Ok(200)),
        ("HTTP/1.1 204 No Content\r\n\r\n", Ok(204)),
        ("HTTP/1.0 200 OK\r\n\r\nfine", Ok(200)),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(200)),
        // A redirect is an answer, and the end.
        (
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            Err((Some(302), "status")),
        ),
        ("HTTP/1.1 307 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", Err((Some(307), "status"))),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Err((Some(404), "status"))),
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", Err((Some(500), "status"))),
        ("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Err((Some(101), "status"))),
        ("", Err((None, "no_answer"))),
        ("HTTP/1.1", Err((None, "no_answer"))),
        ("HTTP/1.1 200 OK\r\ncontent-le", Err((None, "no_answer"))),
        ("SSH-2.0-OpenSSH\r\n", Err((None, "no_answer"))),
        ("\0\0\0\0", Err((None, "no_answer"))),
        // Closes in the middle of the body: it has said that all is well.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf", Ok(200)),
        // A bomb stays packed.
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\u{1}\u{2}\u{3}\u{4}", Ok(200)),
    ] {
        assert_eq!(says(answer.as_bytes(), false, true).await.0, result, "{answer:?}");
    }
}

#[tokio::test]
async fn slow_huge_and_endless_answers_hold_nobody_up() {
    // Says nothing, or stops in the middle of the head, and stays.
    for silent in ["", "HTTP/1.1 200 OK\r\nx: "] {
        assert_eq!(says(silent.as_bytes(), false, false).await.0, Err((None, "timeout")));
    }
    // A head and then nothing; a body without end; chunks without end.
    let (result, took) = says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", false, false).await;
    assert_eq!(result, Ok(200));
    assert!(took < Duration::from_millis(1900), "{took:?}");
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(100_000, b'x');
    assert_eq!(says(&endless, true, false).await.0, Ok(200));
    // Headers without end, interim answers without end.
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.extend(b"x: y\r\n".repeat(1000));
    assert_eq!(says(&head, true, false).await.0, Err((None, "no_answer")));
    let result = says(b"HTTP/1.1 100 Continue\r\n\r\n", true, false).await.0;
    assert!(matches!(result, Err((None, "timeout" | "no_answer"))), "{result:?}");
}

#[tokio::test]
async fn a_request_says_what_it_should_and_no_more() {
    let (url, served) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), false, true).await;
    let mut own = letter(url.clone());
    own.headers.insert("authorization".into(), "Bearer x".into());
    assert_eq!(send(&outward(), own).await, Ok(200));
    let heard = String::from_utf8(served.await.unwrap()).unwrap();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.split("\r\n").collect();
    assert_eq!((lines.remove(0), body), ("POST /hook?x=1 HTTP/1.1", "{}"));
    lines.sort_unstable();
    let host = format!("host: {}", url.split('/').nth(2).unwrap());
    let agent = concat!("user-agent: Stead/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines,
        [
            "authorization: Bearer x",
            "content-length: 2",
            "content-type: application/json",
            "elevenlabs-signature: t=1,v0=00",
            &host,
            agent,
            "x-own: mine",
            "x-stead-event-id: evt_1"
        ]
    );
}

#[tokio::test]
async fn nothing_is_sent_to_where_nobody_allowed_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = Outward::new(Allowed::default());
    let elsewhere = Outward::new(Allowed::parse("10.0.0.0/8").unwrap());
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.0.0.1.", "2130706433", "[::1]", "0.0.0.0"] {
        for scheme in ["http", "https"] {
            for outward in [&closed, &elsewhere] {
                let sent = send(outward, letter(format!("{scheme}://{host}:{port}/"))).await;
                assert_eq!(sent, Err((None, "address_not_allowed")), "{scheme}://{host}");
            }
        }
    }
    // Not one connection was tried.
    assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    // A name that the resolver doesn't know.
    let unknown = send(&outward(), letter("http://no-such-host.invalid/".into())).await;
    assert!(matches!(unknown, Err((None, "name_not_found" | "timeout"))), "{unknown:?}");
}

#[tokio::test]
async fn what_speaks_no_tls_gets_no_request() {
    let (url, served) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), false, true).await;
    let sent = send(&outward(), letter(url.replace("http://", "https://"))).await;
    assert!(matches!(sent, Err((None, "tls_failed" | "timeout"))), "{sent:?}");
    served.abort();
    if let Ok(heard) = served.await {
        assert!(!String::from_utf8_lossy(&heard).contains("POST"));
    }
}

#[test]
fn one_bad_address_spoils_them_all() {
    let target = Target::parse("https://hooks.example.com/", &Allowed::default()).unwrap();
    let judged = |addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        judge(&target, &addresses, &Allowed::default())
    };
    assert_eq!(judged(&["8.8.8.8", "2606:4700::1111"]), Ok(()));
    for mixed in [&["8.8.8.8", "127.0.0.1"], &["10.0.0.1", "8.8.8.8"], &["8.8.8.8", "::ffff:169.254.169.254"]] {
        assert_eq!(judged(mixed), Err((None, "address_not_allowed")));
    }
    assert_eq!(judged(&[]), Err((None, "name_not_found")));
}
