//! The gate by itself: what passes, what doesn't, and that neither depends on how the bytes were cut.

use super::chunks::Chunks;
use super::head::{Field, Framing, Head, MAX_HEAD, Persistence, Refusal, Search, room};
use super::target::is_authority;
use proptest::prelude::*;
use stead_api::error::ErrorCode;

/// What the gate makes of bytes that come in these pieces: the head's length and framing, or why not.
fn head_of(pieces: &[&[u8]]) -> Result<Option<(usize, Framing)>, Refusal> {
    let (mut search, mut bytes) = (Search::default(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        if let Some(length) = search.end(&bytes)? {
            let head = Head::read(&bytes[..length], &mut room())?.framing;
            return Ok(Some((length, head)));
        }
    }
    Ok(None)
}

fn chunks_of(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let (mut chunks, mut used) = (Chunks::default(), 0);
    for piece in pieces {
        used += chunks.take(piece, super::head::MAX_BODY)?;
    }
    let is_done = chunks.is_done();
    Ok((chunks.body, used, is_done))
}

fn cut(bytes: &[u8], at: usize) -> [&[u8]; 2] {
    let (first, second) = bytes.split_at(at.min(bytes.len()));
    [first, second]
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let bytes =
        b"POST /a/b?c=d%20e HTTP/1.1\r\nHost: h:80\r\nX-A:  one \r\nx-b: 1\r\nX-B: 2\r\nContent-Length: 7\r\n\r\n";
    let mut room = room();
    let head = Head::read(bytes, &mut room).unwrap();
    assert_eq!((head.method, head.path, head.query), ("POST", "/a/b", Some("c=d%20e")));
    assert_eq!((head.framing, head.persistence), (Framing::Length(7), Persistence::Keep));
    assert_eq!((head.field("x-a"), head.field("x-b")), (Field::One(b"one"), Field::Several));
    assert_eq!((head.field("x-c"), head.headers.len()), (Field::Absent, 5));
}

#[test]
fn targets_are_taken_apart() {
    for (line, wanted) in [
        ("GET / HTTP/1.1", ("/", None)),
        ("GET /? HTTP/1.1", ("/", Some(""))),
        ("GET //x/../y HTTP/1.1", ("//x/../y", None)),
        ("GET http://H HTTP/1.1", ("/", None)),
        ("GET HTTP://h?q HTTP/1.1", ("/", Some("q"))),
        ("GET https://h/a?b?c HTTP/1.1", ("/a", Some("b?c"))),
        ("OPTIONS * HTTP/1.1", ("*", None)),
    ] {
        let bytes = format!("{line}\r\nHost: h\r\n\r\n");
        let mut room = room();
        let head = Head::read(bytes.as_bytes(), &mut room).unwrap();
        assert_eq!((head.path, head.query), wanted, "{line}");
    }
}

#[test]
fn connections_persist_as_their_version_says() {
    for (version, connection, wanted) in [
        ("1.1", "", Persistence::Keep),
        ("1.1", "Connection: upgrade\r\n", Persistence::Keep),
        ("1.1", "Connection: te, CLOSE\r\n", Persistence::Close),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", Persistence::Close),
        ("1.0", "", Persistence::Close),
        ("1.0", "Connection: Keep-Alive\r\n", Persistence::KeepTold),
        ("1.0", "Connection: keep-alive, close\r\n", Persistence::Close),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n");
        let mut room = room();
        assert_eq!(Head::read(bytes.as_bytes(), &mut room).unwrap().persistence, wanted, "{bytes}");
    }
}

#[test]
fn hosts_are_names_or_addresses_with_an_optional_port() {
    for fine in ["h", "a.b-c_d", "127.0.0.1:80", "[::1]", "[2001:db8::1]:65535", "H:0"] {
        assert!(is_authority(fine.as_bytes()), "{fine}");
    }
    for wrong in [
        "", ":80", "h:", "h:a", "h:65536", "h:+1", "h:1:2", "a b", "a,b", "u@h", "h/", "h?", "h#", "[::1", "[::1]x",
        "[h]", "::1", "h\t", "hé", "a%20b", "h:000080",
    ] {
        assert!(!is_authority(wrong.as_bytes()), "{wrong}");
    }
}

#[test]
fn the_limits_of_a_head_are_exact() {
    let of = |filler: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(filler));
    let rest = of(0).len();
    assert!(head_of(&[of(MAX_HEAD - rest).as_bytes()]).unwrap().is_some());
    assert_eq!(head_of(&[of(MAX_HEAD - rest + 1).as_bytes()]).unwrap_err().code, ErrorCode::HeadersTooLarge);
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1));
    assert!(head_of(&[target(8 * 1024).as_bytes()]).unwrap().is_some());
    assert_eq!(head_of(&[target(8 * 1024 + 1).as_bytes()]).unwrap_err().code, ErrorCode::UriTooLong);
    assert_eq!(head_of(&[target(20 * 1024).as_bytes()]).unwrap_err().code, ErrorCode::UriTooLong);
    let headers = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a:b\r\n".repeat(count - 1));
    assert!(head_of(&[headers(100).as_bytes()]).unwrap().is_some());
    assert_eq!(head_of(&[headers(101).as_bytes()]).unwrap_err().code, ErrorCode::HeadersTooLarge);
}

#[test]
fn chunks_are_put_together_and_trailers_dropped() {
    let bytes = b"3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\nGET";
    let whole = (b"abc0123456789".to_vec(), bytes.len() - 3, true);
    assert_eq!(chunks_of(&[bytes]).unwrap(), whole);
    for at in 0..bytes.len() {
        assert_eq!(chunks_of(&cut(bytes, at)).unwrap(), whole, "cut at {at}");
    }
}

#[test]
fn chunks_that_could_be_read_in_two_ways_are_refused() {
    let long = format!("0\r\nx: {}\r\n\r\n", "a".repeat(5000));
    for wrong in [
        "",
        "g\r\n",
        "+1\r\na\r\n",
        "-1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1;a=b\r\n",
        "1;\r\n",
        "\r\n",
        "1\na\r\n",
        "1\r\r",
        "1\r\nab",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r0\r\n",
        "000000001\r\n",
        "fffffffffffffffff\r\n",
        "0\r\n\n",
        "0\r\n x: 1\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nx : 1\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx: \0\r\n\r\n",
        "0\r\nx: 1\n\r\n",
        "0\r\nx: 1\r\n y\r\n\r\n",
        long.as_str(),
    ] {
        let read = chunks_of(&[wrong.as_bytes()]);
        if wrong.is_empty() {
            assert!(!read.unwrap().2);
        } else {
            assert_eq!(read.unwrap_err().code, ErrorCode::BadRequest, "{wrong:?}");
        }
    }
    assert_eq!(chunks_of(&[b"100001\r\n"]).unwrap_err().code, ErrorCode::RequestTooLarge);
    assert_eq!(chunks_of(&[b"1\r\na\r\n100000\r\n"]).unwrap_err().code, ErrorCode::RequestTooLarge);
    assert_eq!(chunks_of(&[b"ffffffff\r\n"]).unwrap_err().code, ErrorCode::RequestTooLarge);
}

/// Bytes that look like heads more often than chance would have it.
fn likely_heads() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /v1/user HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET",
        " ",
        "/",
        "http://h/",
        "HTTP/1.1",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        "x: y\r\n",
        "x",
        ":",
        "\t",
        "\0",
        "\u{e9}",
    ]);
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat().into_bytes())
}

fn likely_chunks() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "0",
        "1",
        "a",
        "f",
        "\r\n",
        "\r",
        "\n",
        "1\r\na\r\n",
        "0\r\n",
        "\r\n\r\n",
        "x: y\r\n",
        ";",
        "0x",
    ]);
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_a_head_is_cut_changes_nothing(bytes in likely_heads(), at in 0_usize..200) {
        prop_assert_eq!(head_of(&cut(&bytes, at)), head_of(&[&bytes]));
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(head_of(&single), head_of(&[&bytes]));
    }

    #[test]
    fn where_chunks_are_cut_changes_nothing(bytes in likely_chunks(), at in 0_usize..60) {
        prop_assert_eq!(chunks_of(&cut(&bytes, at)), chunks_of(&[&bytes]));
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(chunks_of(&single), chunks_of(&[&bytes]));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (head_of(&[&bytes]), chunks_of(&[&bytes]), Head::read(&bytes, &mut room()).map(|head| head.framing));
    }

    /// Whatever passes has lines that end in CR LF only, one host and one length.
    #[test]
    fn what_passes_has_one_meaning(bytes in likely_heads()) {
        if let Ok(Some((length, _))) = head_of(&[&bytes]) {
            let head = std::str::from_utf8(&bytes[..length]).unwrap().replace("\r\n", "|");
            prop_assert!(!head.contains(['\r', '\n', '\0']));
            prop_assert!(head.matches("|Host:").count() < 2);
            prop_assert!(head.matches("|Content-Length:").count() + head.matches("|Transfer-Encoding:").count() < 2);
        }
    }
}
