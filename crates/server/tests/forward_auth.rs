//! `/v1/forward-auth` through the router: each denial has its status, a yes its headers, and doubt is no yes.

use crate::harness::{DAY, Engine, Key, Reply, START, World};
use crate::on_both_stores;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use std::net::IpAddr;
use stead_server::http::Door;
use stead_server::http::actor::Peer;
use stead_server::http::router::router;
use tower::ServiceExt;

on_both_stores! {
    a_yes_says_who_calls
    every_denial_has_its_status
    a_key_comes_once_by_one_of_its_headers
    the_address_is_what_a_declared_proxy_says
    no_set_of_headers_is_believed_but_the_proxys
    path_rules_decide_by_the_proxys_method_and_path
    what_a_proxy_asks_is_answered_whole_or_not_at_all
    it_is_served_where_keys_may_be_asked_about
}

const PROXY: &str = "10.0.0.1";

/// A path rule for each of two permissions, in a file of its own.
fn rules() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
        [[rule]]
        methods = ["GET"]
        path = "/v1/voices/{id}"
        permissions = ["voices_read"]
        [[rule]]
        path = "/v1/text-to-speech/{*rest}"
        permissions = ["text_to_speech"]
        cost = 7
    "#;
    std::fs::write(file.path(), text).unwrap();
    file
}

/// A request from an address, by whatever method.
fn from(peer: Option<&str>, method: &str, query: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = World::request(method, &format!("/v1/forward-auth{query}"), "", headers, "");
    request.extensions_mut().insert(Peer(peer.map(|ip| ip.parse().unwrap())));
    request
}

async fn ask(world: &World, query: &str, headers: &[(&str, &str)]) -> Reply {
    world.send(from(Some(PROXY), "GET", query, headers)).await
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers[name].to_str().unwrap()
}

async fn a_yes_says_who_calls(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let all = world.key(&account, json!({"name": "all", "permissions": "all"})).await;
    let two = world.key(&account, json!({"name": "two", "permissions": ["voices_read", "text_to_speech"]})).await;
    let none = world.key(&account, json!({"name": "none", "permissions": []})).await;
    for (key, permissions) in [(&all, "all"), (&two, "text_to_speech,voices_read"), (&none, "")] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "made-up"] {
            let reply = world.send(from(Some(PROXY), method, "", &[("xi-api-key", &key.secret)])).await;
            assert_eq!((reply.status.as_u16(), &*reply.text), (200, ""), "{method}");
            assert_eq!(header(&reply, "x-stead-workspace-id"), world.workspace.as_str());
            assert_eq!(header(&reply, "x-stead-account-id"), account);
            assert_eq!(header(&reply, "x-stead-key-id"), key.id);
            assert_eq!(header(&reply, "x-stead-permissions"), permissions);
            assert_eq!(header(&reply, "x-stead-path"), "");
            assert_eq!(header(&reply, "cache-control"), "no-store");
        }
    }
    ask(&world, "?permissions=voices_read,text_to_speech&cost=3", &[("xi-api-key", &two.secret)]).await;
    assert_eq!(world.verify_with(json!({}), &two.secret).await["character_count"], 3);
}

async fn every_denial_has_its_status(engine: Engine) {
    let world = World::with(engine, &[("trusted-proxies", PROXY)]).await;
    let account = world.account("ci").await;
    let body = json!({"name": "k", "permissions": ["text_to_speech"], "expires_at": START.seconds() + DAY,
        "allowed_ips": ["192.0.2.0/24"], "character_limit": 10});
    let key = world.key(&account, body).await;
    let asks =
        async |query: &str, ip: &str| ask(&world, query, &[("xi-api-key", &key.secret), ("x-forwarded-for", ip)]).await;
    assert_eq!(asks("?cost=9&permissions=text_to_speech", "192.0.2.1").await.status, 200);
    // Strangers get a bare code.
    for stranger in ["garbage", "stead_0000000000000000000000000000000000000000000000", "\u{e9}", ""] {
        let reply = ask(&world, "", &[("xi-api-key", stranger), ("x-forwarded-for", "192.0.2.1")]).await;
        reply.is(401, "invalid_api_key");
        assert_eq!(reply.body["detail"]["decision"], Value::Null);
        assert!(reply.headers.contains_key("www-authenticate"));
    }
    let reply = asks("", "203.0.113.1").await;
    reply.is(403, "ip_not_allowed");
    let seen =
        json!({"code": "IP_NOT_ALLOWED", "ip": "203.0.113.1", "ip_from": "entry 1 from the right of X-Forwarded-For"});
    let mut decision = reply.body["detail"]["decision"].clone();
    let id = decision.as_object_mut().unwrap().remove("decision_id").unwrap();
    assert_eq!(decision, seen);
    // Whoever has the id can ask why.
    let past = world.get(&format!("/v1/decisions/{}", id.as_str().unwrap())).await;
    assert_eq!(past["decision"]["code"], "IP_NOT_ALLOWED");
    let reply = asks("?permissions=voices_write,text_to_speech,voices_read", "192.0.2.1").await;
    reply.is(403, "insufficient_permissions");
    assert_eq!(reply.body["detail"]["missing_permissions"], json!(["voices_read", "voices_write"]));
    let reply = asks("?cost=2", "192.0.2.1").await;
    reply.is(429, "usage_exceeded");
    let left: i64 = header(&reply, "retry-after").parse().unwrap();
    assert!((8 * DAY..9 * DAY).contains(&left), "{left}");
    let decision = &reply.body["detail"]["decision"];
    assert_eq!((&decision["limit"]["limit"], &decision["limit"]["remaining"]), (&json!(10), &json!(1)));
    // A rate limit is told as such, and never as a key that isn't one.
    let limits = json!([{"name": "slow", "limit": 1, "window_seconds": 30}]);
    let limited = world.key(&account, json!({"name": "k", "rate_limits": limits})).await;
    let often = async || ask(&world, "", &[("xi-api-key", &limited.secret), ("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(often().await.status, 200);
    let reply = often().await;
    reply.is(429, "rate_limit_exceeded");
    assert_eq!(header(&reply, "retry-after"), "30");
    assert_eq!(reply.body["detail"]["decision"]["limit"]["name"], "slow");
    let state = async |change: &str, code: &str| {
        world.call("POST", &format!("{}{change}", key.path()), Value::Null).await.ok();
        asks("", "192.0.2.1").await.is(401, code);
    };
    state("/disable", "api_key_disabled").await;
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": false})).await.ok();
    asks("", "192.0.2.1").await.is(401, "account_disabled");
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": true})).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    world.clock.advance(DAY);
    asks("", "192.0.2.1").await.is(401, "api_key_expired");
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    asks("", "192.0.2.1").await.is(401, "api_key_revoked");
    if engine == Engine::Postgres {
        world.clock.elapse(3600);
        let reply = asks("", "192.0.2.1").await;
        assert_eq!(reply.status, 503, "{}", reply.text);
    }
}

async fn a_key_comes_once_by_one_of_its_headers(engine: Engine) {
    let world = World::with(engine, &[("forward-auth-header", "X-My-Key")]).await;
    let key = world.account_with_key().await.secret;
    let (bearer, odd_bearer) = (format!("Bearer {key}"), format!("bEARER   {key} "));
    for headers in [
        vec![("xi-api-key", &*key)],
        vec![("authorization", &*bearer)],
        vec![("authorization", &*odd_bearer)],
        vec![("x-my-key", &*key)],
        vec![("xi-api-key", &*key), ("authorization", "Basic dTpw")],
    ] {
        assert_eq!(ask(&world, "", &headers).await.status, 200, "{:?}", headers[0].0);
    }
    for headers in [
        vec![("xi-api-key", &*key), ("xi-api-key", &*key)],
        vec![("xi-api-key", &*key), ("x-my-key", &*key)],
        vec![("xi-api-key", &*key), ("authorization", &*bearer)],
        vec![("authorization", "Basic dTpw"), ("authorization", &*bearer)],
        vec![("xi-api-key", ""), ("x-my-key", &*key)],
    ] {
        ask(&world, "", &headers).await.is(401, "invalid_authorization_header");
    }
    for headers in
        [vec![], vec![("authorization", "Basic dTpw")], vec![("cookie", &*key)], vec![("authorization", &*key)]]
    {
        ask(&world, "", &headers).await.is(401, "missing_api_key");
    }
    for headers in [
        vec![("authorization", "Bearer")],
        vec![("authorization", "Bearer ")],
        vec![("xi-api-key", &*bearer)],
        vec![("xi-api-key", &*format!("{key},{key}"))],
        vec![("xi-api-key", &*"x".repeat(60_000))],
    ] {
        ask(&world, "", &headers).await.is(401, "invalid_api_key");
    }
}

async fn the_address_is_what_a_declared_proxy_says(engine: Engine) {
    let declared = World::with(engine, &[("trusted-proxies", "10.0.0.0/8,unix")]).await;
    let bare = World::new(engine).await;
    for (world, peer, list, status) in [
        (&declared, Some(PROXY), Some("192.0.2.1"), 200),
        (&declared, Some("::ffff:10.0.0.1"), Some("::ffff:192.0.2.1"), 200),
        (&declared, None, Some("192.0.2.1"), 200),
        (&declared, Some(PROXY), Some("203.0.113.1, 192.0.2.1, 10.0.0.2"), 200),
        // The client's own words, to the left of its address.
        (&declared, Some(PROXY), Some("192.0.2.1, 203.0.113.1"), 403),
        (&declared, Some(PROXY), Some("192.0.2.1, 203.0.113.1, 10.0.0.2"), 403),
        // The proxy says nothing: the proxy's own address is not the client's.
        (&declared, Some(PROXY), None, 403),
        // Who is no proxy has no word, and even its own address is not believed: it may be a proxy that nobody declared.
        (&declared, Some("192.0.2.1"), Some("192.0.2.1"), 403),
        (&declared, Some("192.0.2.1"), None, 403),
        (&bare, Some(PROXY), Some("192.0.2.1"), 403),
        (&bare, Some("192.0.2.1"), None, 403),
        (&bare, None, Some("192.0.2.1"), 403),
    ] {
        let account = world.account("ci").await;
        let listed = json!({"name": "k", "permissions": "all", "allowed_ips": ["192.0.2.0/24"]});
        let listed = world.key(&account, listed).await.secret;
        let free = world.key(&account, json!({"name": "free", "permissions": "all"})).await.secret;
        for (key, status) in [(listed, status), (free, 200)] {
            let mut headers = vec![("xi-api-key", &*key)];
            headers.extend(list.map(|list| ("x-forwarded-for", list)));
            let reply = world.send(from(peer, "GET", "", &headers)).await;
            assert_eq!(reply.status, status, "{peer:?} {list:?} {}", reply.text);
        }
    }
    let key = bare.account_with_key().await;
    bare.call("PATCH", &key.path(), json!({"allowed_ips": ["192.0.2.0/24"]})).await.ok();
    let reply = ask(&bare, "", &[("xi-api-key", &key.secret), ("x-forwarded-for", "192.0.2.1")]).await;
    assert!(reply.text.contains("not among trusted-proxies"), "{}", reply.text);
}

/// Every forwarding header in every spelling, once, twice, contradicting, listed by `Connection`, with every kind of
/// value, and with keys that are none: whatever of it comes, without a good key there is no yes, and with a key that has
/// an allowlist only where the proxy says the right address.
async fn no_set_of_headers_is_believed_but_the_proxys(engine: Engine) {
    let world = World::with(engine, &[("trusted-proxies", PROXY)]).await;
    let account = world.account("ci").await;
    let listed =
        world.key(&account, json!({"name": "k", "permissions": "all", "allowed_ips": ["192.0.2.0/24"]})).await.secret;
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-original-uri",
        "x-real-ip",
        "forwarded",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-stead-account-id",
        "x-stead-key-id",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-cluster-client-ip",
    ];
    let values = [
        "192.0.2.1",
        "192.0.2.1:80",
        "[::ffff:192.0.2.1]",
        "::ffff:192.0.2.1%eth0",
        "unknown",
        "_hidden",
        "",
        ",",
        "192.0.2.1,",
        "for=192.0.2.1",
        "192.0.2.1 192.0.2.1",
        "0xc0.0.2.1",
        "192.0.2.001",
        "203.0.113.9, 192.0.2.1",
        "/v1/../admin",
    ];
    let (mut sets, mut yes) = (0, 0);
    for name in names {
        let underscored = name.replace('-', "_");
        for value in values {
            let spellings = [
                vec![(name, value)],
                vec![(&*underscored, value)],
                vec![(name, value), (name, value)],
                vec![(name, value), (&*underscored, value)],
                vec![("connection", name), (name, value)],
                vec![(name, value), ("x-forwarded-for", "203.0.113.9")],
            ];
            for headers in spellings {
                sets += 1;
                // Not a declared proxy: never, whatever it says.
                let with = |key| [&headers[..], &[("xi-api-key", key)]].concat();
                let spoofed = world.send(from(Some("203.0.113.9"), "GET", "", &with(&listed))).await;
                assert!(!spoofed.status.is_success(), "{headers:?}");
                // No principal: never, whoever says it.
                for key in ["", "made-up", "stead_0000000000000000000000000000000000000000000000"] {
                    let nobody = ask(&world, "", &with(key)).await;
                    assert!(!nobody.status.is_success(), "{headers:?}");
                }
                assert!(!ask(&world, "", &headers).await.status.is_success(), "{headers:?}");
                // The declared proxy: only by the one header, once, with the address last.
                let said =
                    headers == [("x-forwarded-for", value)] && ["192.0.2.1", "203.0.113.9, 192.0.2.1"].contains(&value);
                let reply = ask(&world, "", &with(&listed)).await;
                assert_eq!(reply.status.is_success(), said, "{headers:?}: {}", reply.text);
                yes += usize::from(said);
            }
        }
    }
    assert!(sets >= 500 && yes == 2, "{sets} sets, {yes} times yes");
    // Nothing of it was a charge, a use or a change; and the key is good.
    assert_eq!(ask(&world, "", &[("xi-api-key", &listed), ("x-forwarded-for", "192.0.2.1")]).await.status, 200);
}

async fn path_rules_decide_by_the_proxys_method_and_path(engine: Engine) {
    let file = rules();
    let settings = [("trusted-proxies", PROXY), ("path-rules", file.path().to_str().unwrap())];
    let world = World::with(engine, &settings).await;
    let account = world.account("ci").await;
    let reader = world.key(&account, json!({"name": "k", "permissions": ["voices_read"]})).await;
    let speaker: Key = world.key(&account, json!({"name": "s", "permissions": ["text_to_speech"]})).await;
    let asks = async |key: &Key, headers: &[(&str, &str)]| {
        ask(&world, "", &[headers, &[("xi-api-key", &*key.secret)]].concat()).await
    };
    let caddy = |method, uri| [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
    let reply = asks(&reader, &caddy("GET", "/v1/%76oices/a?permissions=x")).await;
    assert_eq!((reply.status.as_u16(), header(&reply, "x-stead-path")), (200, "/v1/voices/a"));
    let nginx = [("x-original-method", "HEAD"), ("x-original-uri", "/v1/voices/a/")];
    assert_eq!(asks(&reader, &nginx).await.status, 200);
    let reply = asks(&speaker, &caddy("GET", "/v1/voices/a")).await;
    reply.is(403, "insufficient_permissions");
    assert_eq!(reply.body["detail"]["missing_permissions"], json!(["voices_read"]));
    asks(&reader, &caddy("POST", "/v1/voices/a")).await.is(403, "path_not_allowed");
    asks(&reader, &caddy("GET", "/v1/voices")).await.is(403, "path_not_allowed");
    asks(&reader, &caddy("get", "/v1/voices/a")).await.is(403, "ambiguous_path");
    for uri in
        ["/v1/voices/../text-to-speech", "/v1//voices/a", "/v1/voices/%2e%2e", "/v1/voices/a;x", "/v1/voices\\a", ""]
    {
        asks(&reader, &caddy("GET", uri)).await.is(403, "ambiguous_path");
    }
    let contradiction =
        [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/v1/voices/a"), ("x-original-uri", "/v1/voices/b")];
    asks(&reader, &contradiction).await.is(403, "ambiguous_headers");
    for name in ["x-http-method-override", "X-Original-URL", "x_rewrite_url"] {
        let [method, uri] = caddy("GET", "/v1/voices/a");
        asks(&reader, &[method, uri, (name, "x")]).await.is(403, "ambiguous_headers");
    }
    // Half of it, nothing of it, or from somebody else: the path is not known.
    asks(&reader, &[("x-forwarded-uri", "/v1/voices/a")]).await.is(403, "path_not_allowed");
    asks(&reader, &[]).await.is(403, "path_not_allowed");
    let [method, uri] = caddy("GET", "/v1/voices/a");
    let stranger = from(Some("10.0.0.2"), "GET", "", &[method, uri, ("xi-api-key", &reader.secret)]);
    world.send(stranger).await.is(403, "path_not_allowed");
    // A stranger hears nothing of which paths there are.
    for uri in ["/v1/voices/a", "/nowhere", "//"] {
        ask(&world, "", &[&caddy("GET", uri)[..], &[("xi-api-key", "made-up")]].concat())
            .await
            .is(401, "invalid_api_key");
    }
    // The rule's cost and the proxy's are added, and nothing is charged for a refusal.
    let speech = caddy("POST", "/v1/text-to-speech/a/stream");
    let paid = [&speech[..], &[("xi-api-key", &*speaker.secret)]].concat();
    assert_eq!(ask(&world, "?cost=3", &paid).await.status, 200);
    ask(&world, "?permissions=voices_read", &paid).await.is(403, "insufficient_permissions");
    assert_eq!(world.verify_with(json!({}), &speaker.secret).await["character_count"], 10);
}

async fn what_a_proxy_asks_is_answered_whole_or_not_at_all(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await.secret;
    for query in [
        "?permissions=no_such_permission",
        "?permissions=text_to_speech&permissions=voices_read",
        "?permission=text_to_speech",
        "?cost=-1",
        "?cost=",
        "?cost=1.5",
        "?cost=99999999999999999999",
        "?resource=voice:a",
        "?x",
        "?permissions=%ff",
    ] {
        let reply = ask(&world, query, &[("xi-api-key", &key)]).await;
        reply.is(500, "proxy_misconfigured");
    }
    for query in ["", "?", "?permissions=", "?cost=0", "?permissions=text_to_speech,&cost=1"] {
        assert_eq!(ask(&world, query, &[("xi-api-key", &key)]).await.status, 200, "{query}");
    }
}

async fn it_is_served_where_keys_may_be_asked_about(engine: Engine) {
    let world = World::with(engine, &[("verify-listen", "127.0.0.1:1")]).await;
    let key = world.account_with_key().await.secret;
    let request = || {
        let mut request = World::request("GET", "/v1/forward-auth", &key, &[], "");
        request.extensions_mut().insert(Peer(Some(IpAddr::from([127, 0, 0, 1]))));
        request
    };
    world.send(request()).await.is(404, "route_not_found");
    let verification = router(world.app.clone(), Door::Verification);
    assert_eq!(verification.oneshot(request()).await.unwrap().status(), 200);
}
