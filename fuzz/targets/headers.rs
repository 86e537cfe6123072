//! Sets of headers, as the server's connections put them to forward-auth: without a key that holds there is no yes, and a key that has an
//! allowlist gets one only by the declared proxy's word, read naively here.
#![no_main]

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use stead_server::app::App;
use stead_server::clock::{SystemClock, SystemEntropy};
use stead_server::http::Door;
use stead_server::http::front::{Framing, Head, Header, Persistence};
use stead_server::http::router::router;
use stead_server::store::Location;
use stead_server::verify::quick;
use tower::ServiceExt;

const OWNER: &str = "the-owner-of-the-fuzzed-server-0000";
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// What attackers reach for, in their spellings. The input chooses among them, or spells its own.
const NAMES: [&str; 28] = [
    "xi-api-key",
    "authorization",
    "x-my-key",
    "xi_api_key",
    "cookie",
    "x-forwarded-for",
    "x_forwarded_for",
    "x-forwarded_for",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-host",
    "x-original-uri",
    "x-original-method",
    "x-original-url",
    "x-http-method-override",
    "forwarded",
    "connection",
    "x-real-ip",
    "x-stead-key-id",
    "x_stead_account_id",
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "upgrade",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x",
];

const VALUES: [&str; 15] = [
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "203.0.113.9",
    "10.0.0.1",
    "unknown",
    "_x",
    "[::1]:80",
    "x-forwarded-for",
    "close, X_Forwarded_For",
    "for=192.0.2.1",
    "/v1/../a",
    "GET",
    "Bearer ",
    "Basic dTpw",
    "192.0.2.1, 203.0.113.9",
];

struct World {
    app: Arc<App>,
    /// A key that holds, and one that holds only at 192.0.2.0/24.
    good: String,
    listed: String,
    _folder: tempfile::TempDir,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [("trusted-proxies", "10.0.0.1"), ("forward-auth-header", "x-my-key"), ("admin-api-key", OWNER)];
        let settings = settings.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
        let mut config =
            stead_server::config::Config::from_sources(&HashMap::new(), &settings, "").ok().expect("settings");
        config.database = Location::Sqlite { file: folder.path().join("stead.db"), durable: false };
        let ring = stead_server_ring();
        let built = stead_server::app::build(&config, ring, Box::new(SystemClock::new()), Box::new(SystemEntropy));
        let (app, _) = runtime.block_on(built).ok().expect("a server");
        let router = router(app.clone(), Door::Public);
        let call = |path: &str, body: Value| {
            let request = Request::post(path).header("xi-api-key", OWNER).header("content-type", "application/json");
            let answer = router.clone().oneshot(request.body(Body::from(body.to_string())).expect("a request"));
            let answer = runtime.block_on(async { answer.await.expect("an answer").into_body().collect().await });
            serde_json::from_slice::<Value>(&answer.expect("a body").to_bytes()).expect("JSON")
        };
        let account = call("/v1/service-accounts", json!({"name": "a"}))["service_account_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let key = |body: Value| {
            let made = call(&format!("/v1/service-accounts/{account}/api-keys"), body);
            made["api_key"].as_str().expect("a secret").to_owned()
        };
        let good = key(json!({"name": "good", "permissions": "all"}));
        let listed = key(json!({"name": "listed", "permissions": "all", "allowed_ips": ["192.0.2.0/24"]}));
        World { app, good, listed, _folder: folder }
    })
}

fn stead_server_ring() -> stead_verify::pepper::Ring {
    stead_verify::pepper::Ring::new([(1, [42; 32])]).expect("a ring")
}

fuzz_target!(|data: &[u8]| {
    let world = world();
    let [mode, data @ ..] = data else { return };
    let peer = match mode % 3 {
        0 => Some(PROXY),
        1 => Some(IpAddr::from([192, 0, 2, 1])),
        // Through a Unix socket.
        _ => None,
    };
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    // Each line is a header: an octet for its name, one for its value, and the value's rest.
    for line in data.split(|octet| *octet == b'\n').take(12) {
        let [name, value, rest @ ..] = line else { continue };
        let name = match NAMES.get(usize::from(*name) % 32) {
            Some(name) => HeaderName::from_static(name),
            None => match HeaderName::from_bytes(rest.split(|octet| *octet == b':').next().unwrap_or_default()) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        let beginning = match value % 32 {
            16 => world.good.as_str(),
            17 => world.listed.as_str(),
            18 => &format!("Bearer {}", world.good),
            19 => &format!("Bearer {}", world.listed),
            place => VALUES.get(usize::from(place)).copied().unwrap_or_default(),
        };
        if let Ok(value) = HeaderValue::from_bytes(&[beginning.as_bytes(), rest].concat()) {
            headers.push((name, value));
        }
    }
    let fields: Vec<_> =
        headers.iter().map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() }).collect();
    let head = Head {
        method: "GET",
        path: "/v1/forward-auth",
        query: None,
        is_http_10: false,
        persistence: Persistence::Keep,
        framing: Framing::Length(0),
        expects_continue: false,
        headers: &fields,
    };
    let mut out = Vec::new();
    // Nothing is charged, so nothing has to be waited for.
    assert!(quick::answer(&world.app, Door::Public, peer, &head, b"", &mut out));
    let answer = std::str::from_utf8(&out).expect("text");
    let status: u16 = answer["HTTP/1.1 ".len()..][..3].parse().expect("a status");
    if (200..300).contains(&status) {
        assert_eq!(status, 200);
        let named = |name: &str| {
            headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_bytes()).collect::<Vec<_>>()
        };
        let keys = ["xi-api-key", "x-my-key"].map(named).concat();
        let bearer = |value: &[u8]| {
            value
                .get(..7)
                .filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
                .map(|_| value[7..].trim_ascii().to_vec())
        };
        let mut keys: Vec<_> = keys.into_iter().map(<[u8]>::to_vec).collect();
        keys.extend(named("authorization").into_iter().filter_map(bearer));
        let [key] = &keys[..] else { panic!("a yes without one key") };
        if *key == world.listed.as_bytes() {
            assert_eq!(mode % 3, 0, "an address was believed of nobody");
            let [list] = &named("x-forwarded-for")[..] else { panic!("an address from nowhere") };
            let entries = std::str::from_utf8(list)
                .expect("text")
                .split(',')
                .map(|entry| entry.trim().parse::<IpAddr>().expect("an address"));
            let client = entries.map(|ip| ip.to_canonical()).filter(|ip| *ip != PROXY).last().expect("a client");
            assert!(client.to_string().starts_with("192.0.2."), "{client}");
        } else {
            assert!(*key == world.good.as_bytes(), "a yes for a key that there isn't");
        }
        for (name, _) in &headers {
            let plain = name.as_str().replace('_', "-");
            assert!(!plain.starts_with("x-stead-"), "the client says who it is");
            assert!(!(plain.starts_with("x-forwarded-") && plain != name.as_str()), "an odd spelling");
        }
        for name in ["x-stead-workspace-id", "x-stead-account-id", "x-stead-key-id", "x-stead-permissions"] {
            assert_eq!(answer.matches(&format!("\r\n{name}: ")).count(), 1);
        }
    } else {
        assert!(matches!(status, 401 | 403), "{status}");
    }
});
