use super::*;

const KEYS: [&str; 2] = ["xi-api-key", "authorization"];

fn trusted() -> Trusted {
    Trusted::parse("10.0.0.0/8, 2001:db8::/32,unix").unwrap()
}

fn read<'a>(headers: &[(&'a str, &'a str)]) -> Result<Told<'a>, Odd> {
    Told::read(headers.iter().map(|(name, value)| (*name, value.as_bytes())), &KEYS)
}

fn client(list: &str) -> Result<(Option<String>, Hop), Odd> {
    let seen = read(&[("x-forwarded-for", list)])?.client(&trusted())?;
    Ok((seen.ip.map(|ip| ip.to_string()), seen.hop))
}

#[test]
fn the_first_from_the_right_that_is_no_proxy_is_the_client() {
    for (list, ip, entry) in [
        ("203.0.113.9", "203.0.113.9", 1),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9", 1),
        ("1.2.3.4, 203.0.113.9, 10.1.1.1", "203.0.113.9", 2),
        ("203.0.113.9,10.1.1.1,\t10.1.1.2", "203.0.113.9", 3),
        ("::ffff:203.0.113.9", "203.0.113.9", 1),
        ("203.0.113.9, ::ffff:10.1.1.1", "203.0.113.9", 2),
        ("2001:db9::1, 2001:db8::1", "2001:db9::1", 2),
        // All are proxies: the one that was asked first.
        ("10.1.1.1, 10.1.1.2", "10.1.1.1", 2),
    ] {
        assert_eq!(client(list), Ok((Some(ip.into()), Hop::Forwarded(entry))), "{list}");
    }
    assert_eq!(Told::default().client(&trusted()), Ok(Seen { ip: None, hop: Hop::Untold }));
}

#[test]
fn what_is_no_plain_address_is_refused_wherever_it_stands() {
    let odd = [
        "",
        " ",
        "unknown",
        "_hidden",
        "203.0.113.9:80",
        "[2001:db9::1]",
        "[2001:db9::1]:80",
        "fe80::1%eth0",
        "localhost",
        "203.0.113.09",
        "203.0.113",
        "0x7f.1",
        "2130706433",
        "203.0.113.9/32",
        "for=203.0.113.9",
        "\"203.0.113.9\"",
        "203.0.113.9 10.0.0.1",
        "203.0.113.9;",
        "٢٠٣.0.113.9",
        "203.0.113.9\u{a0}",
        "::ffff:203.0.113.9%1",
        "1.2.3.4.5",
    ];
    for entry in odd {
        for list in [
            entry.to_owned(),
            format!("{entry}, 203.0.113.9"),
            format!("203.0.113.9,{entry}"),
            format!("1.1.1.1,{entry},10.0.0.1"),
        ] {
            assert_eq!(client(&list), Err(Odd::NoAddress), "{list:?}");
        }
    }
}

#[test]
fn each_header_comes_once_in_one_spelling_from_the_proxy_and_not_from_connection() {
    for name in [
        "x-forwarded-for",
        "x-forwarded-method",
        "x-forwarded-uri",
        "x-forwarded-host",
        "x-original-method",
        "x-original-uri",
    ] {
        assert!(read(&[(name, "1.2.3.4")]).is_ok());
        assert_eq!(read(&[(name, "1.2.3.4"), (name, "1.2.3.4")]).err(), Some(Odd::Twice));
        assert_eq!(read(&[(name, "a"), (&name.to_uppercase(), "a")]).err(), Some(Odd::Twice));
        for odd in [name.replace('-', "_"), name.replacen('-', "_", 1), name.to_uppercase().replacen('-', "_", 2)] {
            assert_eq!(read(&[(&odd, "1.2.3.4")]).err(), Some(Odd::Spelling), "{odd}");
            assert_eq!(read(&[("connection", &odd)]).err(), Some(Odd::Dropped), "{odd}");
        }
        for list in [name.to_owned(), format!("keep-alive,{name}"), format!("close , {} ,te", name.to_uppercase())] {
            assert_eq!(read(&[("connection", &list)]).err(), Some(Odd::Dropped), "{list}");
        }
    }
    for name in ["xi-api-key", "Authorization", "x-real-ip", "Forwarded"] {
        assert_eq!(read(&[("connection", name)]).err(), Some(Odd::Dropped), "{name}");
    }
    assert_eq!(read(&[("xi_api_key", "k")]).err(), Some(Odd::Spelling));
    assert_eq!(read(&[("X_Real_IP", "k")]).err(), Some(Odd::Spelling));
    for name in ["x-stead-key-id", "X-Stead-Anything", "x_stead_account_id", "X-STEAD_WORKSPACE-ID"] {
        assert_eq!(read(&[(name, "")]).err(), Some(Odd::Identity), "{name}");
    }
    assert!(read(&[("connection", "keep-alive, Upgrade"), ("some_header", "fine"), ("x-real-ip", "1.2.3.4")]).is_ok());
}

#[test]
fn what_contradicts_itself_is_refused() {
    let uris = |one, other| read(&[("x-forwarded-uri", one), ("x-original-uri", other)]).map(|told| told.uri);
    assert_eq!(uris("/a", "/a"), Ok(Some(&b"/a"[..])));
    assert_eq!(uris("/a", "/b"), Err(Odd::Contradiction));
    let methods = read(&[("x-forwarded-method", "GET"), ("x-original-method", "get")]);
    assert_eq!(methods.err(), Some(Odd::Contradiction));
    assert_eq!(read(&[("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "1.2.3.4")]).err(), Some(Odd::Contradiction));
    let forwarded = read(&[("forwarded", "for=1.2.3.4")]).unwrap();
    assert_eq!(forwarded.client(&trusted()).unwrap().ip, None);
    assert!(read(&[("X_HTTP_Method_Override", "DELETE")]).unwrap().overrides);
    assert!(!read(&[("x-http", "DELETE")]).unwrap().overrides);
}

#[test]
fn who_is_declared_is_believed_and_nobody_else() {
    let address = |ip: &str| Sender::Address(ip.parse().unwrap());
    for (sender, believed) in [
        (address("10.0.0.1"), true),
        (address("::ffff:10.0.0.1"), true),
        (address("11.0.0.1"), false),
        (address("2001:db8::1"), true),
        (Sender::UnixSocket, true),
        (Sender::Unknown, false),
    ] {
        assert_eq!(trusted().believes(sender), believed, "{sender:?}");
        assert!(!Trusted::default().believes(sender));
    }
    assert_eq!(Trusted::parse("").unwrap(), Trusted::default());
    assert!(Trusted::parse("10.0.0.1,::1").unwrap().has("::1".parse().unwrap()));
    for mistake in ["localhost", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "10.0.0.1:80", "Unix"] {
        assert!(Trusted::parse(mistake).is_err(), "{mistake}");
    }
}
