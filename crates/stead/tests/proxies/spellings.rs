//! The differential: every spelling of a path that somebody has ever passed a rule with is sent through a real proxy. It
//! is refused, or the service is served what Stead has judged, by whichever way a service may read it.

use super::rig::{Kind, Rig};
use super::{key, server};
use serde_json::json;

/// The bare forms of a path to what the key may not have, and one to what it may.
fn spellings() -> Vec<Vec<u8>> {
    let between: &[&[u8]] = &[
        b"/",
        b"//",
        b"///",
        b"/./",
        b"/.//",
        b"/../",
        b"/x/../",
        b"/..;/",
        b"/.;/",
        b"/;/",
        b"/;x=1/",
        b";/",
        b"%2f",
        b"%2F",
        b"/%2f",
        b"%2f/",
        b"%5c",
        b"%5C",
        b"\\",
        b"/\\",
        b"\\..\\",
        b"/%2e/",
        b"/%2E/",
        b"/%2e%2e/",
        b"/x/%2e%2e/",
        b"/.%2e/",
        b"/x/.%2e/",
        b"/x/%2e./",
        b"%2f..%2f",
        b"/%252e%252e/",
        b"%252f",
        b"%255c",
        b"/x/%252e%252e/",
        b"/%c0%ae%c0%ae/",
        b"%c0%af",
        b"%e0%80%af",
        b"%f0%80%80%af",
        b"/x/%c0%ae%c0%ae/",
        b"%00/",
        b"/%00",
        b"%00",
        b"/%0a",
        b"%0d%0a",
        b"/%09/",
        b"/%20/",
        b"/ /",
        b"\t/",
        b"/%7f/",
        b"/%c2%85/",
        b"/\xc0\xaf",
        b"/\xff/",
        b"/\xc3\xa4/",
        b"/%c3%a4/../",
        b"?/",
        b"#/",
        b"%23/",
        b"%3f/",
        b"%3b/",
        b"/%2",
        b"/%",
        b"/%zz/",
        b"/%u002f/",
        b"/%u002e%u002e/",
        b"%25%32%66",
        b"%%32%66",
        b"%%35%63",
        b"/...",
        b"/.../",
        b"/....//",
        b"/*/",
        b"/~/",
        b"/%7e/",
        b"/,/",
        b"/:/",
        b"/@/",
        b"/$/",
        b"/'/",
        b"/\"/",
        b"/</",
        b"/{/",
        b"/|/",
        b"/^/",
        b"/`/",
        b"/[/",
        b"/+/",
        b"/%2b/",
        b"/&/",
        b"/=/",
        b"/!/",
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for between in between {
        all.push([b"/admin", *between, b"x"].concat());
        all.push([b"/v1", *between, b"admin/x"].concat());
        all.push([b"/v1/voices", *between].concat());
        all.push([*between, b"admin/x"].concat());
        all.push([b"/admin", *between].concat());
        all.push([b"/v1", *between, b"..", *between, b"admin"].concat());
        all.push([b"/v1/voices", *between, b"../../admin/x"].concat());
        all.push([b"/%61dmin", *between, b"x?y=/../z"].concat());
        all.push([b"/v1/voices?x=", *between, b"admin"].concat());
        all.push([b"http://service.example", *between, b"admin/x"].concat());
        all.push([b"/v1/", *between, *between, b"/a"].concat());
    }
    for whole in [
        "/Admin/x",
        "/ADMIN/x",
        "/%61dmin/x",
        "/%41dmin/x",
        "/adm%69n/x",
        "/%2561dmin/x",
        "/admin",
        "/admin/",
        "/admin?",
        "/admin/?x",
        "/admin#",
        "/admin;",
        "/admin;x",
        "/admin.",
        "/admin%20",
        "/admin%00",
        "/admin.html",
        "/admin~",
        "/admin%09",
        "/admin/..",
        "/admin/.",
        "/admin/x/..",
        "/v1/..",
        "/v1/../admin",
        "/v1/../admin/x",
        "/v1/x/../../admin/x",
        "/..",
        "/.",
        "//",
        "/../admin",
        "/../../admin/x",
        "..",
        "admin/x",
        "*",
        "",
        "?",
        "http://service.example/admin/x",
        "http://service.example/v1/../admin/x",
        "http://service.example//admin/x",
        "HTTP://service.example/admin/x",
        "http:///admin/x",
        "//service.example/admin/x",
        "http://u:p@service.example/admin/x",
        "/http://service.example/admin/x",
        "service.example:80",
        "/v1/voices?../../admin",
        "/v1/voices?x=/../admin/x",
        "/v1/voices#/../../admin/x",
        "/v1/voices?#/../admin",
        "/v1/voices/%3F/../admin/x",
        "/v1/voices/..%3badmin",
        "/\u{ff41}dmin/x",
        "/%EF%BD%81dmin/x",
        "/a\u{301}",
        "/%CC%81",
        "/admin\u{200b}/x",
        "/%ef%bc%8fadmin",
        "/v1/voices/a",
        "/v1/voices/a/",
        "/v1/%76oices/a",
        "/v1/voices/%E2%82%AC",
        "/v1/voices/a%20b",
        "/v1/voices/a+b",
        "/",
        "/v1/voices/a:b@c,d",
        "/v1/voices/a%3Ab",
        "/v1/voices/100%25",
        "/v1/voices/a%26b%3Dc",
        "/v1/voices/a'b(c)!*$",
    ] {
        all.push(whole.as_bytes().to_vec());
    }
    all.push([b"/v1/", &[b'a'; 9000][..]].concat());
    all.push([&b"/"[..], &b"a/../".repeat(400), b"admin/x"].concat());
    all.sort();
    all.dedup();
    all
}

pub(super) async fn differential(kind: Kind) {
    let (server, _rules) = server();
    let rig = Rig::start(kind, server.base_url());
    let weak = key(&server, json!({"name": "weak", "permissions": ["text_to_speech"]})).await;
    let strong = key(&server, json!({"name": "strong", "permissions": "all"})).await;
    let all = spellings();
    let count = all.len();
    let (mut served, mut refused) = (0, 0);
    for (spelling, key) in all.into_iter().flat_map(|spelling| [(spelling.clone(), &weak), (spelling, &strong)]) {
        let head =
            format!(" HTTP/1.1\r\nHost: service.example\r\nConnection: close\r\nxi-api-key: {}\r\n\r\n", key.secret);
        let said = rig.send(&[b"GET ", &spelling[..], head.as_bytes()].concat()).await;
        let (requests, judged) = (rig.served(), rig.judged());
        let shown = String::from_utf8_lossy(&spelling).into_owned();
        if requests.is_empty() {
            assert!(said.status == 0 || said.status >= 300, "{shown:.200}: {said:?}");
            refused += 1;
            continue;
        }
        served += 1;
        let ([request], [judged]) = (&requests[..], &judged[..]) else {
            panic!("{shown}: judged {judged:?}, served {requests:?}")
        };
        let path = request.target.split(|octet| *octet == b'?').next().unwrap_or_default();
        let meant = trimmed(&decoded(judged.as_bytes()));
        for reading in readings(path) {
            assert_eq!(reading, meant, "{shown}: judged {judged}, served {}", String::from_utf8_lossy(path));
            assert!(!is_admin(&reading) || key.id == strong.id, "{shown} leads to what the key may not have");
        }
    }
    eprintln!("{kind:?}: {count} spellings by two keys: {served} served as judged, {refused} refused");
    assert!(served >= 20 && count >= 1000);
}

/// The key lacks what the rule for this asks for.
fn is_admin(path: &[u8]) -> bool {
    path == b"/admin" || path.starts_with(b"/admin/")
}

/// What services may take a path for: each decodes, resolves dots, merges slashes and cuts parameters in its own order.
fn readings(path: &[u8]) -> Vec<Vec<u8>> {
    let slashed =
        |path: &[u8]| path.iter().map(|octet| if *octet == b'\\' { b'/' } else { *octet }).collect::<Vec<_>>();
    let cut = |path: &[u8]| {
        let parts: Vec<_> = path.split(|octet| *octet == b'/').collect();
        let parts: Vec<_> =
            parts.iter().map(|part| part.split(|octet| *octet == b';').next().unwrap_or_default()).collect();
        parts.join(&b'/')
    };
    let ended = |path: &[u8]| path.split(|octet| *octet == 0).next().unwrap_or_default().to_vec();
    [
        decoded(path),
        resolved(&decoded(path)),
        decoded(&resolved(path)),
        resolved(&slashed(&decoded(path))),
        resolved(&cut(&decoded(path))),
        decoded(&resolved(&cut(path))),
        resolved(&ended(&decoded(path))),
        String::from_utf8_lossy(&decoded(path)).into_owned().into_bytes(),
    ]
    .iter()
    .map(|reading| trimmed(reading))
    .collect()
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    path.strip_suffix(b"/").unwrap_or(path).to_vec()
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        path.get(at).and_then(|octet| char::from(*octet).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    let (mut octets, mut at) = (Vec::new(), 0);
    while at < path.len() {
        match (path[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(high << 4 | low);
                at += 3;
            }
            (octet, ..) => {
                octets.push(octet);
                at += 1;
            }
        }
    }
    octets
}

fn resolved(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let all: Vec<_> = path.split(|octet| *octet == b'/').collect();
    for (at, part) in all.iter().enumerate() {
        match *part {
            b"" | b"." if at + 1 < all.len() => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", &parts.join(&b'/')[..]].concat()
}
