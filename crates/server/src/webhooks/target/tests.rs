use super::*;
use proptest::prelude::*;

/// What must not be taken for a webhook's URL where the operator has allowed nothing.
const REFUSED: &[&str] = &[
    "http://example.com/",
    "HTTP://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:70/_x",
    "unix:/var/run/docker.sock",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "dict://127.0.0.1:11211/",
    "ldap://127.0.0.1/",
    "tftp://127.0.0.1/",
    "ws://example.com/",
    "wss://example.com/",
    "jar:https://example.com!/",
    "netdoc:///etc/passwd",
    "//example.com/",
    "/etc/passwd",
    "example.com",
    "example.com/hook",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "https//example.com",
    "https:\\\\example.com",
    "https://",
    "https:///",
    "https://?x",
    "https://:443/",
    "https://@/",
    "https://.",
    "https://./",
    "https://../",
    "https://.example.com/",
    "https://example..com/",
    "https://example.com./",
    "https://example.com../",
    "https://127.0.0.1./",
    "https://-example.com/",
    "https://example-.com/",
    "https://exa_mple.com/",
    "https://exa mple.com/",
    "https://example.com /",
    "https://example.com/a b",
    " https://example.com/",
    "https://example.com/\t",
    "https://exam\tple.com/",
    "https://exam\nple.com/",
    "https://example.com\r\nHost: evil/",
    "https://example.com/\0",
    "https://example.com/ä",
    "https://exämple.com/",
    "https://ｅxample.com/",
    "https://example。com/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://example.com\u{200b}/",
    "https://example.com\u{202e}/",
    "https://user@example.com/",
    "https://user:pass@example.com/",
    "https://:@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://example.com%40127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.example.com/",
    "https://example.com\\.evil.com/",
    "https://example.com#@127.0.0.1/",
    "https://127.0.0.1#.example.com/",
    "https://example.com/#fragment",
    "https://example.com?#",
    "https://%65xample.com/",
    "https://127%2e0%2e0%2e1/",
    "https://127.0.0.1%00.example.com/",
    "https://example.com%00/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost:443/",
    "https://localhost./",
    "https://intranet/",
    "https://metadata/",
    "https://kubernetes/",
    "https://127.0.0.1/",
    "https://127.0.0.1:443/",
    "https://127.0.0.1:8443/",
    "https://127.0.0.1:5432/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127/",
    "https://0/",
    "https://0.0.0.0/",
    "https://00/",
    "https://0x0/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7F000001/",
    "https://0X7f000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://127.0.0.01/",
    "https://127.000.000.001/",
    "https://127.0.0.1.1/",
    "https://127.0.0.256/",
    "https://127.0.0.0x1/",
    "https://1.1.1.0x/",
    "https://256.256.256.256/",
    "https://999999999999/",
    "https://4294967296/",
    "https://425.510.425.510/",
    "https://3232235521/",
    "https://0xc0a80001/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254:443/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://169.16689662/",
    "https://0xa9.0xfe.0xa9.0xfe/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.168.0.1/",
    "https://192.168.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://168.63.129.16/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::1]:8443/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::FFFF:7F00:1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2001:db8::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[::1%25lo]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[::1/",
    "https://::1/",
    "https://::1]/",
    "https://[]/",
    "https://[127.0.0.1]/",
    "https://[example.com]/",
    "https://[v1.fe80::a+en1]/",
    "https://[2606:4700::1111]evil/",
    "https://[2606:4700::1111].evil.com/",
    "https://[2606:4700::1111]@127.0.0.1/",
    "https://[2606:4700::1111]:22/",
    "https://example.com:0/",
    "https://example.com:/",
    "https://example.com:80/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:5432/",
    "https://example.com:6379/",
    "https://example.com:8080/",
    "https://example.com:65536/",
    "https://example.com:99999/",
    "https://example.com:443443/",
    "https://example.com:0443/",
    "https://example.com:+443/",
    "https://example.com:-1/",
    "https://example.com:443:443/",
    "https://example.com:443a/",
    "https://example.com:https/",
    "https://example.com:4 43/",
    "https://example.com,127.0.0.1/",
    "https://example.com;127.0.0.1/",
    "https://example.com&127.0.0.1/",
    "https://example.com*/",
    "https://*.example.com/",
    "https://$(id).example.com/",
    "https://{a}.example.com/",
    "https://example.com/{}",
    "https://example.com/<a>",
    "https://example.com/\"",
    "https://example.com/|",
    "https://example.com/^",
    "https://example.com/`",
];

/// URL, authority, port, path.
const TAKEN: &[(&str, &str, u16, &str)] = &[
    ("https://example.com", "example.com", 443, "/"),
    ("https://example.com/", "example.com", 443, "/"),
    ("HTTPS://Example.COM/Hook", "example.com", 443, "/Hook"),
    ("https://example.com:443/", "example.com", 443, "/"),
    ("https://example.com:8443/a?b=c", "example.com:8443", 8443, "/a?b=c"),
    ("https://example.com//evil.example/x", "example.com", 443, "//evil.example/x"),
    ("https://example.com?x=1", "example.com", 443, "/?x=1"),
    ("https://example.com/?next=http://127.0.0.1/", "example.com", 443, "/?next=http://127.0.0.1/"),
    ("https://example.com/@evil", "example.com", 443, "/@evil"),
    ("https://example.com/../../x", "example.com", 443, "/../../x"),
    ("https://example.com/%0d%0aHost:%20evil", "example.com", 443, "/%0d%0aHost:%20evil"),
    ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
    ("https://a.b.c.d.e.example/", "a.b.c.d.e.example", 443, "/"),
    ("https://1.example.com/", "1.example.com", 443, "/"),
    ("https://127.0.0.1.nip.io/", "127.0.0.1.nip.io", 443, "/"),
    ("https://8.8.8.8/", "8.8.8.8", 443, "/"),
    ("https://[2606:4700:0:0::1111]/", "[2606:4700::1111]", 443, "/"),
    ("https://[2606:4700::1111]:8443/x", "[2606:4700::1111]:8443", 8443, "/x"),
    ("https://[::ffff:8.8.8.8]/", "[::ffff:8.8.8.8]", 443, "/"),
    ("https://[64:ff9b::8.8.8.8]/", "[64:ff9b::808:808]", 443, "/"),
    ("https://metadata.google.internal/", "metadata.google.internal", 443, "/"),
];

#[test]
fn every_form_that_hides_where_it_leads_is_refused() {
    assert!(REFUSED.len() + TAKEN.len() >= 150, "{}", REFUSED.len() + TAKEN.len());
    for url in REFUSED {
        let read = Target::parse(url, &Allowed::default());
        assert!(read.is_err(), "{url:?} was read as {read:?}");
    }
    let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
    assert!(Target::parse(&long, &Allowed::default()).is_err());
    for label in ["x".repeat(64), "x.".repeat(130)] {
        assert!(Target::parse(&format!("https://{label}.com/"), &Allowed::default()).is_err());
    }
}

#[test]
fn what_is_taken_leads_where_it_says() {
    for (url, authority, port, path) in TAKEN {
        let target = Target::parse(url, &Allowed::default()).unwrap_or_else(|why| panic!("{url}: {why}"));
        assert_eq!((target.authority.as_str(), target.port, target.path.as_str()), (*authority, *port, *path), "{url}");
        assert!(target.is_https);
    }
}

#[test]
fn an_operator_opens_networks_and_nothing_else() {
    let allowed = Allowed::parse("127.0.0.1/32,10.0.0.0/8,fd00::/8").unwrap();
    for url in [
        "http://127.0.0.1:9000/",
        "http://127.0.0.1/",
        "https://10.1.2.3:1/",
        "http://[fd00::1]:8080/x",
        "http://[::ffff:127.0.0.1]/",
        "http://receiver:9000/",
        "https://localhost:9000/",
        "https://example.com:9000/",
    ] {
        assert!(Target::parse(url, &allowed).is_ok(), "{url}");
    }
    for url in [
        "http://127.0.0.2/",
        "https://127.0.0.2/",
        "http://169.254.169.254/",
        "https://192.168.0.1/",
        "http://8.8.8.8/",
        "https://8.8.8.8:22/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://u@127.0.0.1/",
        "file:///etc/passwd",
        "http://[::1]/",
    ] {
        assert!(Target::parse(url, &allowed).is_err(), "{url}");
    }
    // A name is judged by each of its addresses.
    let named = Target::parse("http://receiver:9000/", &allowed).unwrap();
    assert!(named.check("10.0.0.7".parse().unwrap(), &allowed).is_ok());
    for address in ["8.8.8.8", "192.168.0.1", "::1", "169.254.169.254"] {
        assert!(named.check(address.parse().unwrap(), &allowed).is_err(), "{address}");
    }
    let public = Target::parse("https://example.com/", &Allowed::default()).unwrap();
    assert!(public.check("8.8.8.8".parse().unwrap(), &Allowed::default()).is_ok());
    assert!(public.check("127.0.0.1".parse().unwrap(), &Allowed::default()).is_err());
}

proptest! {
    /// What is read here another reader reads alike: a URL of the tables with a few characters changed.
    #[test]
    fn no_url_has_two_readings(
        at in 0..TAKEN.len() + REFUSED.len(),
        edits in prop::collection::vec((0_usize..80, 0_u8..3, prop::sample::select(&b"/:@?#.[]%\\0123456789xaX-_~&=+,;!'()*$ \t\n\r"[..])), 0..4),
    ) {
        let base = TAKEN.get(at).map_or_else(|| REFUSED[at - TAKEN.len()], |(url, ..)| url);
        let mut url: Vec<char> = base.chars().collect();
        for (place, edit, byte) in edits {
            let place = place.min(url.len());
            match edit {
                0 => url.insert(place, char::from(byte)),
                1 if place < url.len() => drop(url.remove(place)),
                _ if place < url.len() => url[place] = char::from(byte),
                _ => {}
            }
        }
        let url: String = url.into_iter().collect();
        let Ok(target) = Target::parse(&url, &Allowed::default()) else { return Ok(()) };
        let read: http::Uri = url.parse().expect("another reader reads it, too");
        let host = read.host().unwrap().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        match &target.host {
            Host::Name(name) => prop_assert_eq!(name, &host),
            Host::Address(address) => {
                prop_assert_eq!(Ok(*address), host.parse::<IpAddr>());
                prop_assert!(is_public(*address), "{}", address);
            }
        }
        prop_assert_eq!(read.port_u16().unwrap_or(443), target.port);
        prop_assert!(PORTS.contains(&target.port) && target.is_https);
        // Without a path the other reader leaves out the slash that a request begins with.
        let path = read.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        prop_assert_eq!(format!("{slash}{path}"), target.path.as_str());
        // And it can be asked for.
        let asked: http::Uri = target.path.parse().unwrap();
        prop_assert_eq!(asked.path_and_query().unwrap().as_str(), &target.path);
        prop_assert!(asked.host().is_none());
    }
}
