//! Keys that others than the workspace disable: their holders, and whoever finds them.

use crate::harness::{Engine, Key, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::audit::AuditRow;
use stead_server::http::Door;
use stead_server::members::SeatType;

on_both_stores! {
    the_effective_rule_is_the_workspaces_word_else_the_keys_else_yes
    a_found_key_is_disabled_for_good_and_its_successor_works
    a_found_key_that_may_not_be_disabled_is_told_of_all_the_same
    a_report_says_nothing_of_what_is_known
    a_report_is_told_of_once_an_hour
    a_report_of_a_disabled_key_keeps_it_from_being_enabled
    reasons_are_kept
    what_comes_with_a_report_leaks_no_secret
    reports_come_in_lists_too
    bad_reports_change_nothing
}

const SELF: &str = "/v1/workspaces/api-keys/disable?api_key_name=self";
const THIRD_PARTY: &str = "/v1/workspaces/api-keys/third-party-disabling";

/// Reports a key as nobody.
async fn report(world: &World, body: Value) {
    let reply = world.call_as("", "POST", "/v1/api-keys/report", body).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, r#"{"status":"ok"}"#));
}

/// The audit log, the newest first.
async fn log(world: &World) -> Vec<AuditRow> {
    let id = world.workspace.clone();
    world.app.store.read(move |tx| stead_server::audit::recent(tx, &id, 100)).await.unwrap()
}

async fn rows(world: &World) -> i64 {
    world.count("SELECT COUNT(*) FROM audit_log").await
}

async fn key(world: &World, account: &str, own: Option<bool>) -> Key {
    world.key(account, json!({"name": "k", "third_party_disable_allowed": own})).await
}

async fn the_effective_rule_is_the_workspaces_word_else_the_keys_else_yes(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    for (workspace, own, allowed) in [
        (None, None, true),
        (None, Some(true), true),
        (None, Some(false), false),
        (Some(true), None, true),
        (Some(true), Some(false), true),
        (Some(false), None, false),
        (Some(false), Some(true), false),
    ] {
        world.call("POST", THIRD_PARTY, json!({"third_party_disable_allowed": workspace})).await.ok();
        assert_eq!(world.get("/v1/workspace").await["third_party_disable_allowed"], json!(workspace));
        let (held, found) = (key(&world, &account, own).await, key(&world, &account, own).await);
        // Lists show the key's own setting.
        assert_eq!(world.get(&held.path()).await["third_party_disable_allowed"], json!(own));
        let reply = world.call_as(&held.secret, "POST", SELF, Value::Null).await;
        if allowed {
            reply.ok();
        } else {
            reply.is(403, "self_disable_not_allowed");
        }
        report(&world, json!({"api_key": found.secret})).await;
        let expected = if allowed { "DISABLED" } else { "VALID" };
        let case = format!("{workspace:?} {own:?}");
        assert_eq!(world.verify(&held.secret).await, expected, "{case}");
        assert_eq!(world.verify(&found.secret).await, expected, "{case}");
        let reason = |word: &str| if allowed { json!(word) } else { Value::Null };
        assert_eq!(world.get(&held.path()).await["disable_reason"], reason("self_disabled"), "{case}");
        assert_eq!(world.get(&found.path()).await["disable_reason"], reason("exposed_publicly"), "{case}");
    }
    // Without a word, the workspace's own is taken back; the same again leaves no trace.
    world.call("POST", THIRD_PARTY, json!({})).await.ok();
    let before = rows(&world).await;
    world.call("POST", THIRD_PARTY, Value::Null).await.ok();
    assert_eq!(world.get("/v1/workspace").await["third_party_disable_allowed"], Value::Null);
    assert_eq!(rows(&world).await, before);
}

async fn a_found_key_is_disabled_for_good_and_its_successor_works(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let url = "https://git.example.com/acme/app/blob/main/.env";
    report(&world, json!({"token": key.secret, "url": url, "source": "commit", "comment": "in the clear"})).await;
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
    let shown = world.get(&key.path()).await;
    assert_eq!((&shown["disable_reason"], &shown["is_disabled"]), (&json!("exposed_publicly"), &json!(true)));
    assert!(shown["exposed_at"].is_i64());
    let row = &log(&world).await[0];
    assert_eq!(row.activity, "API Key Update");
    assert!(row.actor.contains(r#""type":"guest""#) && row.actor.contains("127.0.0.1"), "{}", row.actor);
    assert!(row.target.contains(&key.id) && row.details.contains(url), "{row:?}");
    assert!(!format!("{row:?}").contains(&key.secret));

    // In no way does it come back, whoever asks and however often.
    for body in [json!({"is_enabled": true}), json!({"is_enabled": true, "name": "x"})] {
        world.call("PATCH", &key.path(), body).await.is(400, "api_key_exposed");
    }
    world.call("PATCH", &key.path(), json!({"is_enabled": false, "name": "found"})).await.ok();
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.is(400, "api_key_exposed");
    // Nor by switching its account off and on.
    let account = format!("/v1/service-accounts/{}", key.account);
    for enabled in [false, true] {
        world.call("PATCH", &account, json!({"is_enabled": enabled})).await.ok();
    }
    assert_eq!(world.verify(&key.secret).await, "DISABLED");

    let rotated = world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    let successor = Key::of(&key.account, &rotated);
    assert_eq!(
        (world.verify(&successor.secret).await, world.verify(&key.secret).await),
        ("VALID".into(), "DISABLED".into())
    );
    let shown = world.get(&successor.path()).await;
    assert_eq!(
        (&shown["disable_reason"], &shown["exposed_at"], &shown["name"]),
        (&Value::Null, &Value::Null, &json!("found"))
    );
    // The rotation can't be undone: the old key is not to live again.
    world.call("POST", &format!("{}/rotate/undo", key.path()), Value::Null).await.is(409, "not_rotated");
    world.call("PATCH", &key.path(), json!({"expires_at": "clear"})).await.ok();
    world.call("POST", &format!("{}/rotate/undo", key.path()), Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
    let world = world.restarted(pepper()).await;
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
}

async fn a_found_key_that_may_not_be_disabled_is_told_of_all_the_same(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = key(&world, &account, Some(false)).await;
    report(&world, json!({"api_key": key.secret})).await;
    assert_eq!(world.verify(&key.secret).await, "VALID");
    let shown = world.get(&key.path()).await;
    assert!(shown["exposed_at"].is_i64() && shown["is_disabled"] == false);
    assert!(log(&world).await[0].details.contains("reported"));
    // An admin decides; what an admin has disabled an admin may enable.
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    assert_eq!(world.verify(&key.secret).await, "VALID");
}

async fn a_report_says_nothing_of_what_is_known(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let known = key(&world, &account, None).await;
    let revoked = key(&world, &account, None).await;
    world.call("DELETE", &revoked.path(), Value::Null).await.ok();
    let mut mistyped = known.secret.clone();
    mistyped.replace_range(10..11, if &known.secret[10..11] == "x" { "y" } else { "x" });
    let foreign = "a-key-of-somebody-elses-0123456789";
    let before = rows(&world).await;
    for unknown in [revoked.secret.as_str(), &mistyped, foreign, "stead_", "x", crate::harness::OPERATOR] {
        report(&world, json!({"api_key": unknown})).await;
    }
    assert_eq!(rows(&world).await, before);
    report(&world, json!({"api_key": known.secret})).await;
    assert_eq!(rows(&world).await, before + 1);
    // An owner's key is a key like any other.
    report(&world, json!({"api_key": world.admin})).await;
    world.call("GET", "/v1/user", Value::Null).await.is(401, "api_key_disabled");
}

async fn a_report_is_told_of_once_an_hour(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = key(&world, &account, Some(false)).await;
    report(&world, json!({"api_key": key.secret})).await;
    let before = rows(&world).await;
    for _ in 0..3 {
        report(&world, json!({"api_key": key.secret, "url": "https://elsewhere.example.com"})).await;
    }
    world.clock.advance(3590);
    report(&world, json!({"api_key": key.secret})).await;
    assert_eq!(rows(&world).await, before);
    // A node that knows nothing of it asks the store, which does.
    let world = world.restarted(pepper()).await;
    report(&world, json!({"api_key": key.secret})).await;
    assert_eq!(rows(&world).await, before);
    world.clock.advance(20);
    report(&world, json!({"api_key": key.secret})).await;
    assert_eq!(rows(&world).await, before + 1);
    // Many at once are one.
    world.clock.advance(3600);
    let again = || report(&world, json!({"api_key": key.secret}));
    tokio::join!(again(), again(), again(), again());
    assert_eq!(rows(&world).await, before + 2);
}

async fn a_report_of_a_disabled_key_keeps_it_from_being_enabled(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let (by_admin, by_holder) = (key(&world, &account, None).await, key(&world, &account, None).await);
    world.call("POST", &format!("{}/disable", by_admin.path()), Value::Null).await.ok();
    world.call_as(&by_holder.secret, "POST", SELF, Value::Null).await.ok();
    for key in [by_admin, by_holder] {
        report(&world, json!({"api_key": key.secret})).await;
        assert_eq!(world.get(&key.path()).await["disable_reason"], "exposed_publicly");
        world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.is(400, "api_key_exposed");
    }
}

async fn reasons_are_kept(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = key(&world, &account, None).await;
    world.call_as(&key.secret, "POST", SELF, Value::Null).await.ok();
    let reason = async || world.get(&key.path()).await["disable_reason"].clone();
    for (method, path, body) in [
        ("POST", format!("{}/disable", key.path()), Value::Null),
        ("PATCH", key.path(), json!({"is_enabled": false})),
        ("PATCH", key.path(), json!({"name": "renamed"})),
    ] {
        world.call(method, &path, body).await.ok();
        assert_eq!(reason().await, "self_disabled");
    }
    world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.is(400, "not_rotatable");
    // Who manages accounts without being an admin may not override the holder; an admin may.
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    world.group(&["service_accounts_manage"], vec![manager]).await;
    let enable = json!({"is_enabled": true});
    world.call_as(&secret, "PATCH", &key.path(), enable.clone()).await.is(403, "forbidden");
    world.call("PATCH", &key.path(), enable).await.ok();
    assert_eq!((reason().await, world.verify(&key.secret).await), (Value::Null, "VALID".into()));
    // A reason that was edited away is one more edit that is refused.
    world.call_as(&key.secret, "POST", SELF, Value::Null).await.ok();
    world.tamper("UPDATE api_keys SET disable_reason = NULL").await;
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.is(403, "not_trusted");
}

async fn what_comes_with_a_report_leaks_no_secret(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let (found, other) = (key(&world, &account, None).await, key(&world, &account, None).await);
    let text = format!("https://h.example.com/?a={}&b={}", found.secret, other.secret);
    report(&world, json!({"api_key": found.secret, "url": text, "source": text[..120], "comment": text})).await;
    let row = format!("{:?}", log(&world).await[0]);
    for secret in [&found.secret, &other.secret] {
        assert!(!row.contains(&secret[12..44]), "{row}");
    }
    assert!(row.contains("https://h.example.com/?a=[secret]&b=[secret]"), "{row}");
}

async fn reports_come_in_lists_too(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(key(&world, &account, None).await);
    }
    let one =
        |key: &Key| json!({"type": "stead", "token": key.secret, "url": "https://git.example.com", "source": "commit"});
    report(&world, json!([one(&keys[0]), {"token": "nothing"}, one(&keys[0])])).await;
    report(&world, json!({"reports": [one(&keys[1])]})).await;
    assert_eq!(world.verify(&keys[0].secret).await, "DISABLED");
    assert_eq!(world.verify(&keys[1].secret).await, "DISABLED");
    let path = "/v1/api-keys/report";
    // One that is wrong, and nothing is done.
    let reply = world.call_as("", "POST", path, json!([one(&keys[2]), {"url": "x"}])).await;
    assert_eq!(reply.blamed(), ["body.1.api_key"]);
    assert_eq!(world.verify(&keys[2].secret).await, "VALID");
    let many: Vec<_> = (0..101).map(|_| json!({"token": "x"})).collect();
    assert_eq!(world.call_as("", "POST", path, json!(many)).await.blamed(), ["body"]);
    report(&world, json!([])).await;
}

async fn bad_reports_change_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let before = rows(&world).await;
    let path = "/v1/api-keys/report";
    for (body, blamed) in [
        (json!({}), "body.api_key"),
        (json!({"api_key": null}), "body.api_key"),
        (json!({"api_key": ""}), "body.api_key"),
        (json!({"api_key": 7}), "body.api_key"),
        (json!({"api_key": "x".repeat(257)}), "body.api_key"),
        (json!({"api_key": "a\u{0}b"}), "body.api_key"),
        (json!({"api_key": key.secret, "token": "another"}), "body.token"),
        (json!({"api_key": key.secret, "url": 7}), "body.url"),
        (json!({"api_key": key.secret, "url": "x".repeat(2001)}), "body.url"),
        (json!({"api_key": key.secret, "source": "x".repeat(201)}), "body.source"),
        (json!({"api_key": key.secret, "comment": "a\u{202e}b"}), "body.comment"),
        (json!("text"), "body"),
    ] {
        let reply = world.call_as("", "POST", path, body).await;
        assert!(!reply.text.contains(&key.secret), "{}", reply.text);
        assert_eq!(reply.blamed(), [blamed]);
    }
    let huge = World::request("POST", path, "", &[("content-type", "application/json")], "x".repeat(70_000));
    world.send(huge).await.is(413, "request_too_large");
    let form = World::request("POST", path, "", &[("content-type", "text/plain")], "api_key=x");
    // Only where changes are made.
    let json = [("content-type", "application/json")];
    let apart = World::request("POST", path, "", &json, json!({"api_key": key.secret}).to_string());
    world.send_by(Door::Verification, apart).await.is(404, "route_not_found");
    world.send(form).await.is(415, "invalid_content_type");
    let deep = World::request("POST", path, "", &[("content-type", "application/json")], "[".repeat(60_000));
    world.send(deep).await.is(400, "malformed_json");
    assert_eq!(rows(&world).await, before);
    assert_eq!(world.verify(&key.secret).await, "VALID");
}
