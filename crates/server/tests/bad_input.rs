//! Bad input gets a clear error, all mistakes at once, and nothing is written.

use crate::harness::{Engine, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    mistakes_without_number_are_told_in_a_hundred
    every_field_of_every_body_is_checked
    bodies_that_are_no_json_objects
    names_that_hide_or_harm_are_refused_and_others_kept_as_they_are
    queries_and_paths
    every_error_has_a_body_and_two_equal_ids
}

async fn every_field_of_every_body_is_checked(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let (accounts, account, keys) = (
        "/v1/service-accounts".to_owned(),
        format!("/v1/service-accounts/{}", key.account),
        format!("/v1/service-accounts/{}/api-keys", key.account),
    );
    let before = world.get(&accounts).await;
    let long = "x".repeat(129);
    let very_long = "x".repeat(1001);
    let many: Vec<_> = (0..101).map(|n| format!("10.0.0.{n}")).collect();
    let past = START.seconds() - 1;
    let text = |name: &str| {
        vec![
            (name.to_owned(), json!("")),
            (name.to_owned(), json!("  ")),
            (name.to_owned(), json!(long)),
            (name.to_owned(), json!(7)),
            (name.to_owned(), json!(["a"])),
            (name.to_owned(), json!({})),
            (name.to_owned(), json!(true)),
            (name.to_owned(), json!("a\u{0}b")),
            (name.to_owned(), json!("a\u{202e}b")),
        ]
    };
    let one =
        |name: &str, values: Vec<Value>| values.into_iter().map(|value| (name.to_owned(), value)).collect::<Vec<_>>();
    let description = one("description", vec![json!(very_long), json!(7), json!("a\u{1b}[2J")]);
    let number = |name: &str| {
        one(
            name,
            vec![
                json!(-1),
                json!("5"),
                json!(1.5),
                json!(true),
                json!([1]),
                json!(1e300),
                json!(9_007_199_254_740_992_i64),
            ],
        )
    };
    let key_fields = [
        text("name"),
        description.clone(),
        one(
            "permissions",
            vec![
                json!("everything"),
                json!(""),
                json!(["fly"]),
                json!([7]),
                json!(7),
                json!({"all": true}),
                json!(["all"]),
            ],
        ),
        one(
            "allowed_ips",
            vec![
                json!([]),
                json!(many),
                json!(["10.0.0.1/33"]),
                json!(["::1/129"]),
                json!(["example.com"]),
                json!([""]),
                json!([7]),
                json!("10.0.0.1"),
                json!(["10.0.0.1", "10.0.0"]),
                json!(["1.2.3.4:80"]),
            ],
        ),
        number("character_limit"),
        number("tts_concurrency_limit"),
        number("dubbing_concurrency_limit"),
        number("music_concurrency_limit"),
        one("third_party_disable_allowed", vec![json!("true"), json!(1), json!([])]),
        one(
            "expires_at_unix",
            vec![json!(past), json!(0), json!(-1), json!("tomorrow"), json!(1.5), json!("9999999999")],
        ),
        one("expires_at", vec![json!(past), json!("tomorrow"), json!(true)]),
    ]
    .concat();
    let update_only = one("is_enabled", vec![json!("false"), json!(0), json!("yes"), json!("clear")]);
    let cases = [
        (
            "POST",
            &accounts,
            [
                text("name"),
                description.clone(),
                one(
                    "default_sharing_groups",
                    vec![json!("g"), json!([{"group_id": "g", "permission_level": "viewer"}])],
                ),
            ]
            .concat(),
        ),
        ("PATCH", &account, [text("name"), description, update_only.clone()].concat()),
        ("POST", &keys, key_fields.clone()),
        ("PATCH", &key.path(), [key_fields, update_only].concat()),
    ];
    for (method, path, fields) in cases {
        for (field, value) in fields {
            let mut body = if method == "POST" { json!({"name": "n"}) } else { json!({}) };
            body[&field] = value.clone();
            let blamed = world.call(method, path, body).await.blamed();
            let stem = format!("body.{}", field.trim_end_matches("_unix"));
            assert!(blamed.iter().all(|place| place.starts_with(&stem)), "{method} {field} {value:.60}: {blamed:?}");
        }
    }
    for path in [&accounts, &keys] {
        assert_eq!(world.call("POST", path, json!({})).await.blamed(), ["body.name"]);
        assert_eq!(world.call("POST", path, json!({"name": null})).await.blamed(), ["body.name"]);
    }
    let differ = json!({"name": "n", "expires_at": START.seconds() + 60, "expires_at_unix": START.seconds() + 61});
    assert_eq!(world.call("POST", &keys, differ).await.blamed(), ["body.expires_at"]);
    // All of them at once.
    let all = json!({"name": 1, "permissions": 2, "allowed_ips": 3, "character_limit": "4", "expires_at": "5"});
    assert_eq!(world.call("POST", &keys, all).await.blamed().len(), 5);
    assert_eq!(world.get(&accounts).await, before);
}

async fn bodies_that_are_no_json_objects(engine: Engine) {
    let world = World::new(engine).await;
    let json_type = [("content-type", "application/json")];
    let send = async |headers: &[(&str, &str)], body: String| {
        world.send(World::request("POST", "/v1/service-accounts", &world.admin, headers, body)).await
    };
    for malformed in
        ["{", "{\"name\":", "nonsense", "{\"name\":\"\\ud800\"}", "\u{feff}{}", "{\"name\":\"a\"}}", "{'name':'a'}"]
    {
        send(&json_type, malformed.into()).await.is(400, "malformed_json");
    }
    send(&json_type, "[".repeat(10_000)).await.is(400, "malformed_json");
    send(&json_type, format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200))).await.is(400, "malformed_json");
    for other in ["[]", "\"name\"", "7", "null", "true"] {
        assert_eq!(send(&json_type, other.into()).await.blamed(), ["body"]);
    }
    let bytes = World::request("POST", "/v1/service-accounts", &world.admin, &json_type, vec![b'{', 0xff, b'}']);
    world.send(bytes).await.is(400, "malformed_json");
    let body = json!({"name": "n"}).to_string();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""] {
        send(&[("content-type", wrong)], body.clone()).await.is(415, "invalid_content_type");
    }
    send(&[], body.clone()).await.is(415, "invalid_content_type");
    let padded = |size: usize| format!("{{\"name\":\"n\",\"pad\":\"{}\"}}", "x".repeat(size - 21));
    send(&json_type, padded(64 * 1024 + 1)).await.is(413, "request_too_large");
    assert_eq!(world.count("SELECT COUNT(*) FROM service_accounts").await, 0);
    send(&json_type, padded(64 * 1024)).await.ok();
    send(&[("content-type", "Application/JSON; charset=utf-8")], body).await.ok();
    // Unknown fields are ignored, as the SDKs need.
    send(&json_type, json!({"name": "n", "workspace_id": "ws_other", "is_admin": true, "id": "usr_mine"}).to_string())
        .await
        .ok();
}

async fn names_that_hide_or_harm_are_refused_and_others_kept_as_they_are(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let path = format!("/v1/service-accounts/{account}");
    for bad in [
        "\n",
        "a\rb",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{85}",
        "\u{200b}",
        "a\u{200f}",
        "\u{2067}x",
        "\u{feff}",
        "\u{2028}",
        "\t",
    ] {
        assert_eq!(world.call("PATCH", &path, json!({"name": bad})).await.blamed(), ["body.name"], "{bad:?}");
    }
    for good in [
        "'; DROP TABLE api_keys; --",
        "<script>alert(1)</script>",
        "{{7*7}}${7*7}",
        "=1+1",
        "..%2f../",
        "名前 🔑 naïve",
        "a/b:c,d*e+f",
        "null",
        "%s%n",
        &"é".repeat(128),
    ] {
        let shown = world.call("PATCH", &path, json!({"name": good})).await.ok();
        assert_eq!((&shown["name"], &world.get(&path).await["name"]), (&json!(good), &json!(good)));
    }
}

async fn queries_and_paths(engine: Engine) {
    let world = World::new(engine).await;
    for (query, blamed) in [
        ("status=alive", "query.status"),
        ("status=", "query.status"),
        ("expiring_within=soon", "query.expiring_within"),
        ("expiring_within=-1d", "query.expiring_within"),
        ("expiring_within=99999999d", "query.expiring_within"),
        ("unused_for=", "query.unused_for"),
        ("unused_for=1%C3%A9", "query.unused_for"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=1&limit=2", "query.limit"),
    ] {
        assert_eq!(
            world.call("GET", &format!("/v1/api-keys?{query}"), Value::Null).await.blamed(),
            [blamed],
            "{query}"
        );
    }
    let key = world.account_with_key().await;
    for id in
        ["nobody", "%00", "..", "%2e%2e", "%2F", "%F0%9F%94%91", "%ff", "'%20OR%201=1", &"x".repeat(5000), &key.id]
    {
        let reply = world.call("GET", &format!("/v1/service-accounts/{id}"), Value::Null).await;
        assert_eq!(reply.status, 404, "{id:.40}: {}", reply.text);
        let reply =
            world.call("GET", &format!("/v1/service-accounts/{}/api-keys/{id}x", key.account), Value::Null).await;
        assert_eq!(reply.status, 404, "{id:.40}: {}", reply.text);
    }
}

async fn every_error_has_a_body_and_two_equal_ids(engine: Engine) {
    let world = World::new(engine).await;
    let replies = [
        world.call("GET", "/v1/nowhere", Value::Null).await,
        world.call("PUT", "/v1/service-accounts", Value::Null).await,
        world.call("DELETE", "/v1/user", Value::Null).await,
        world.call_as("", "GET", "/v1/user", Value::Null).await,
        world.call("GET", "/v1/service-accounts/none", Value::Null).await,
        world.call("POST", "/v1/service-accounts", json!({})).await,
    ];
    for (reply, status) in replies.iter().zip([404, 405, 405, 401, 404, 422]) {
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.headers["x-request-id"], reply.headers["x-trace-id"]);
        assert!(reply.headers["x-request-id"].to_str().unwrap().starts_with("req_"));
        if let Some(id) = reply.body["detail"]["request_id"].as_str() {
            assert_eq!(id, reply.headers["x-request-id"].to_str().unwrap());
            for field in ["type", "code", "message", "status"] {
                assert!(!reply.body["detail"][field].as_str().unwrap().is_empty());
            }
        }
    }
    assert_eq!(replies[1].headers["allow"], "GET,HEAD,POST");
    let ids: std::collections::HashSet<_> = replies.iter().map(|reply| reply.headers["x-request-id"].clone()).collect();
    assert_eq!(ids.len(), replies.len());
}

async fn mistakes_without_number_are_told_in_a_hundred(engine: Engine) {
    let world = World::new(engine).await;
    let many = vec![0; 20_000];
    let asked = json!({"api_key": "x", "permissions": many});
    assert_eq!(world.call("POST", "/v1/api-keys/verify", asked.clone()).await.blamed().len(), 100);
    let batch = json!({"requests": vec![asked; 20]});
    assert!(world.call("POST", "/v1/api-keys/verify-batch", batch).await.blamed().len() <= 200);
    // No ledger of places could be kept beyond this.
    let account = world.account("ci").await;
    let body = json!({"name": "k", "tts_concurrency_limit": 10_001, "music_concurrency_limit": 10_000});
    let reply = world.call("POST", &format!("/v1/service-accounts/{account}/api-keys"), body).await;
    assert_eq!(reply.blamed(), ["body.tts_concurrency_limit"]);
}
