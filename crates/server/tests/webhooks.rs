//! Webhooks: made, told, tried again, given up; by whom, and of what.

use crate::harness::{DAY, Engine, Key, START, World, pepper};
use crate::on_both_stores;
use crate::receiver::{Heard, Receiver};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use stead_api::webhook::EVENTS;
use stead_server::members::SeatType;
use stead_server::webhooks::{notices, sender};

on_both_stores! {
    a_webhook_is_made_read_changed_and_deleted
    every_mistake_in_a_webhook_is_told
    who_may_manage_webhooks
    of_what_was_changed_others_are_told_in_order_and_signed
    only_what_is_subscribed_to_is_told_and_without_webhooks_nothing_is_kept
    a_failure_is_tried_again_with_the_same_bytes_and_holds_up_its_own_key_alone
    a_receiver_that_is_down_for_three_days_gets_everything_in_order
    what_is_given_up_is_a_dead_letter_that_can_be_sent_again
    a_receiver_that_hangs_holds_nobody_up
    a_webhook_that_only_fails_is_disabled_by_itself
    a_new_secret_signs_when_it_is_said
    deliveries_are_paged
    what_somebody_else_wrote_gets_nothing
    too_much_that_waits_is_given_up
    what_is_finished_is_forgotten
    the_end_of_a_key_is_told_of_in_time_and_once
    credits_that_go_are_told_of_once_a_month
    a_workspace_that_somebody_else_wrote_holds_no_other_up
    what_waited_behind_a_failure_goes_out_once_that_has_arrived
    one_workspace_does_not_fill_every_place
    an_invite_that_is_taken_back_is_told_of
    a_sender_that_was_killed_sends_again_under_the_same_id
    a_refused_change_tells_nothing
    secrets_are_in_no_row_in_the_clear
}

const WEBHOOKS: &str = "/v1/workspace/webhooks";

async fn world(engine: Engine) -> World {
    World::with(engine, &[("webhook-allow", "127.0.0.1")]).await
}

/// A webhook, by its id and its secret.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    fn path(&self) -> String {
        format!("{WEBHOOKS}/{}", self.id)
    }
}

async fn hook_with(world: &World, url: &str, mut settings: Value) -> Hook {
    settings["auth_type"] = "hmac".into();
    settings["webhook_url"] = url.into();
    if settings["name"].is_null() {
        settings["name"] = "ours".into();
    }
    let made = world.call("POST", WEBHOOKS, json!({"settings": settings})).await.ok();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Hook { id: text("webhook_id"), secret: text("webhook_secret") }
}

async fn hook(world: &World, receiver: &Receiver) -> Hook {
    hook_with(world, &receiver.url, json!({})).await
}

/// Sends until nothing is due; how many attempts were made.
async fn send_all(world: &World) -> usize {
    let mut count = 0;
    loop {
        match sender::pass(&world.app, &world.app.sender.outward).await.unwrap() {
            0 => return count,
            more => count += more,
        }
    }
}

fn kinds(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(Heard::kind).collect()
}

async fn deliveries(world: &World, hook: &Hook, status: &str) -> Vec<Value> {
    let page = world.get(&format!("{}/deliveries?status={status}", hook.path())).await;
    page["deliveries"].as_array().unwrap().clone()
}

/// Moves the clock to when the next attempt is due.
fn wait(world: &World, seconds: i64) {
    world.clock.advance(seconds + seconds / 10 + 1);
}

async fn a_webhook_is_made_read_changed_and_deleted(engine: Engine) {
    let world = World::new(engine).await;
    assert_eq!(world.get(WEBHOOKS).await, json!({"webhooks": []}));
    let settings = json!({"auth_type": "hmac", "name": "ours", "webhook_url": "https://example.com/hook?x=1", "request_headers": {"Authorization": "Bearer hidden-value"}});
    let reply = world.call("POST", WEBHOOKS, json!({"settings": settings})).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let made = reply.ok();
    let secret = made["webhook_secret"].as_str().unwrap();
    assert!(secret.starts_with("wsec_") && secret.len() == 69, "{secret}");
    let id = made["webhook_id"].as_str().unwrap();
    let path = format!("{WEBHOOKS}/{id}");
    let shown = json!({
        "name": "ours", "webhook_id": id, "webhook_url": "https://example.com/hook?x=1", "is_disabled": false,
        "is_auto_disabled": false, "created_at_unix": START.seconds(), "auth_type": "hmac", "usage": null, "events": null,
        "most_recent_failure_error_code": null, "most_recent_failure_timestamp": null, "retry_enabled": true,
        "request_header_names": ["authorization"], "next_secret_active_from_unix": null,
    });
    let list = world.get(WEBHOOKS).await;
    assert_eq!(list, json!({"webhooks": [shown]}));
    let with = world.get(&format!("{WEBHOOKS}?include_usages=true")).await;
    assert_eq!((&with["webhooks"][0]["usage"], &with["webhooks"][0]["events"]), (&json!([]), &json!(EVENTS)));
    assert_eq!(world.get(&path).await, with["webhooks"][0]);
    for bad in ["yes", "2"] {
        let reply = world.call("GET", &format!("{WEBHOOKS}?include_usages={bad}"), Value::Null).await;
        assert_eq!(reply.blamed(), ["query.include_usages"]);
    }

    let change = json!({
        "is_disabled": true, "name": "renamed", "retry_enabled": false, "events": ["api_key.created", "flows"],
        "request_headers": {"authorization": null, "X-New": "new-hidden", "x-unknown": null},
    });
    assert_eq!(world.call("PATCH", &path, change.clone()).await.ok(), json!({"status": "ok"}));
    let changed = world.get(&path).await;
    assert_eq!(changed["name"], "renamed");
    assert_eq!((&changed["is_disabled"], &changed["retry_enabled"]), (&json!(true), &json!(false)));
    assert_eq!(changed["events"], json!(["api_key.created", "flows"]));
    assert_eq!(changed["request_header_names"], json!(["authorization", "x-new"]));
    // What is absent or null stays; the same again is no change.
    let same = json!({"is_disabled": true, "name": "renamed", "retry_enabled": null, "events": null});
    let reply = world.call("PATCH", &path, same).await;
    assert!(!reply.headers.contains_key("x-stead-revision"));
    assert_eq!(world.get(&path).await, changed);
    let reply = world.call("PATCH", &path, json!({})).await;
    assert_eq!(reply.blamed(), ["body.is_disabled", "body.name"]);

    assert_eq!(world.call("DELETE", &path, Value::Null).await.ok(), json!({"status": "ok"}));
    world.call("GET", &path, Value::Null).await.is(404, "webhook_not_found");
    world.call("DELETE", &path, Value::Null).await.is(404, "webhook_not_found");
    assert_eq!(world.get(WEBHOOKS).await, json!({"webhooks": []}));

    let workspace = world.workspace.clone();
    let log = world.app.store.read(move |tx| stead_server::audit::recent(tx, &workspace, 3)).await.unwrap();
    let names: Vec<_> = log.iter().rev().map(|row| row.activity.as_str()).collect();
    assert_eq!(names, ["Webhook Creation", "Webhook Update", "Webhook Deletion"]);
    let log = format!("{log:?} {list} {changed}");
    assert!(!log.contains("hidden") && !log.contains("wsec_") && !log.contains("x=1\\\\"), "{log}");

    // A retry of a creation gets the same secret.
    let body = json!({"settings": settings}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let ask = || World::request("POST", WEBHOOKS, &world.admin, &headers, body.clone());
    let (one, two) = (world.send(ask()).await.ok(), world.send(ask()).await.ok());
    assert_eq!(one, two);
    world.clock.advance(61);
    world.send(ask()).await.is(409, "secret_already_shown");
    for _ in 1..50 {
        world.call("POST", WEBHOOKS, json!({"settings": settings})).await.ok();
    }
    world.call("POST", WEBHOOKS, json!({"settings": settings})).await.is(400, "limit_reached");
}

async fn every_mistake_in_a_webhook_is_told(engine: Engine) {
    let world = World::new(engine).await;
    let fine = json!({"auth_type": "hmac", "name": "n", "webhook_url": "https://example.com/"});
    for body in [json!({}), json!({"settings": null})] {
        assert_eq!(world.call("POST", WEBHOOKS, body).await.blamed(), ["body.settings"]);
    }
    world.call("POST", WEBHOOKS, json!({"settings": "x"})).await.blamed();
    let reply = world.call("POST", WEBHOOKS, json!({"settings": {}})).await;
    assert_eq!(reply.blamed(), ["body.settings.auth_type", "body.settings.name", "body.settings.webhook_url"]);
    let headers = |headers: Value| ("request_headers", headers);
    let many: serde_json::Map<String, Value> = (0..21).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let mut wrong = vec![
        ("auth_type", json!("oauth2")),
        ("auth_type", json!("mtls")),
        ("auth_type", json!("HMAC")),
        ("auth_type", json!(7)),
        ("name", json!("")),
        ("name", json!("x".repeat(129))),
        ("name", json!("a\u{202e}b")),
        ("name", json!(7)),
        ("webhook_url", json!(7)),
        ("webhook_url", json!("")),
        ("webhook_url", json!(format!("https://example.com/{}", "x".repeat(2048)))),
        ("retry_enabled", json!("yes")),
        ("retry_enabled", json!(1)),
        ("events", json!("api_key.created")),
        ("events", json!(["everything"])),
        ("events", json!([7])),
        headers(json!("x: y")),
        headers(json!(["x"])),
        headers(json!(many)),
    ];
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "ElevenLabs-Signature",
        "X-Stead-Event-Id",
        "",
        "a b",
        "ä",
        "a\r\nb",
        "x:",
    ] {
        wrong.push(headers(json!({name: "v"})));
    }
    for value in
        [json!("a\r\nx: y"), json!("a\nb"), json!("ä"), json!(" a"), json!("x".repeat(2049)), json!(7), json!(["a"])]
    {
        wrong.push(headers(json!({"x-own": value})));
    }
    wrong.push(headers(json!({"X-Twice": "a", "x-twice": "b"})));
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://2130706433/",
        "https://u:p@example.com/",
        "ftp://example.com",
        "https://example.com:22/",
        "nonsense",
        "https://exämple.com/",
    ] {
        wrong.push(("webhook_url", json!(url)));
    }
    let id =
        world.call("POST", WEBHOOKS, json!({"settings": fine})).await.ok()["webhook_id"].as_str().unwrap().to_owned();
    let before = world.get(&format!("{WEBHOOKS}?include_usages=true")).await;
    for (field, value) in wrong {
        let mut settings = fine.clone();
        settings[field] = value.clone();
        let reply = world.call("POST", WEBHOOKS, json!({"settings": settings})).await;
        assert!(
            reply.blamed().iter().all(|place| place == &format!("body.settings.{field}")),
            "{field}: {value} {}",
            reply.text
        );
        if !["auth_type", "webhook_url"].contains(&field) {
            let mut change = json!({"is_disabled": false, "name": "n"});
            change[field] = value;
            let reply = world.call("PATCH", &format!("{WEBHOOKS}/{id}"), change).await;
            assert!(reply.blamed().iter().all(|place| place == &format!("body.{field}")), "{}", reply.text);
        }
    }
    let rotate = format!("{WEBHOOKS}/{id}/rotate-secret");
    for grace in [json!(-1), json!("5"), json!(30 * DAY + 1), json!(1.5)] {
        let reply = world.call("POST", &rotate, json!({"grace_period_seconds": grace})).await;
        assert_eq!(reply.blamed(), ["body.grace_period_seconds"]);
    }
    for (query, blamed) in [
        ("status=all", "query.status"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=x", "query.limit"),
    ] {
        let reply = world.call("GET", &format!("{WEBHOOKS}/{id}/deliveries?{query}"), Value::Null).await;
        assert_eq!(reply.blamed(), [blamed]);
    }
    for cursor in ["", "1", "1.0000000000000000", "x.y"] {
        let path = format!("{WEBHOOKS}/{id}/deliveries?cursor={cursor}");
        world.call("GET", &path, Value::Null).await.is(400, "invalid_cursor");
    }
    assert_eq!(world.get(&format!("{WEBHOOKS}?include_usages=true")).await, before);
}

async fn who_may_manage_webhooks(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let ours = hook(&world, &receiver).await;
    let tested = world.call("POST", &format!("{}/test", ours.path()), Value::Null).await.ok();
    let event = tested["event_id"].as_str().unwrap().to_owned();
    // Another workspace's reads like none.
    let foreign = world.foreign_admin().await;
    let nothing = format!("{WEBHOOKS}/whk_0000000000000000000000");
    for (method, rest, body) in [
        ("GET", String::new(), Value::Null),
        ("PATCH", String::new(), json!({"is_disabled": true, "name": "theirs"})),
        ("DELETE", String::new(), Value::Null),
        ("POST", "/rotate-secret".into(), json!({})),
        ("POST", "/test".into(), Value::Null),
        ("GET", "/deliveries".into(), Value::Null),
        ("POST", format!("/deliveries/{event}/redeliver"), Value::Null),
    ] {
        let text = async |path: String| {
            let reply = world.call_as(&foreign, method, &path, body.clone()).await;
            reply.is(404, "webhook_not_found");
            reply.text.replace(reply.headers["x-request-id"].to_str().unwrap(), "")
        };
        assert_eq!(text(format!("{}{rest}", ours.path())).await, text(format!("{nothing}{rest}")).await);
    }
    // An event of one webhook is none of another.
    let other = hook(&world, &receiver).await;
    let path = format!("{}/deliveries/{event}/redeliver", other.path());
    world.call("POST", &path, Value::Null).await.is(404, "webhook_not_found");
    assert!(
        world.call_as(&foreign, "GET", WEBHOOKS, Value::Null).await.ok()["webhooks"].as_array().unwrap().is_empty()
    );
    // A member of a group may; a key without the permission may not.
    let (member, secret) = world.person("m@example.com", SeatType::WorkspaceMember).await;
    world.call_as(&secret, "GET", WEBHOOKS, Value::Null).await.is(403, "insufficient_permissions");
    world.group(&["webhooks_manage"], vec![member]).await;
    assert_eq!(
        world.call_as(&secret, "GET", WEBHOOKS, Value::Null).await.ok()["webhooks"].as_array().unwrap().len(),
        2
    );
    // What another workspace does is told to nobody here.
    send_all(&world).await;
    receiver.take();
    world.call_as(&foreign, "POST", "/v1/service-accounts", json!({"name": "theirs"})).await.ok();
    assert_eq!(send_all(&world).await, 0);
}

async fn of_what_was_changed_others_are_told_in_order_and_signed(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook_with(&world, &receiver.url, json!({"request_headers": {"X-Own": "mine"}})).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "deploy", "expires_at": START.seconds() + 5 * DAY})).await;
    world.call("PATCH", &key.path(), json!({"name": "renamed"})).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": false})).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    let rotated = world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    let successor = Key::of(&account, &rotated);
    world.call("POST", &format!("{}/rotate/undo", key.path()), Value::Null).await.ok();
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    let own = world.key(&account, json!({"name": "own"})).await;
    world.call_as(&own.secret, "POST", "/v1/workspaces/api-keys/disable?api_key_name=self", Value::Null).await.ok();
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": false})).await.ok();
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": true})).await.ok();
    world.call("DELETE", &format!("/v1/service-accounts/{account}"), Value::Null).await.ok();
    let sent = send_all(&world).await;
    let heard = receiver.take();
    assert_eq!(sent, heard.len());
    let about = |id: &str| -> Vec<&str> {
        let is_about = |heard: &&Heard| heard.body["data"]["api_key_id"] == id;
        heard.iter().filter(is_about).map(Heard::kind).collect()
    };
    assert_eq!(
        about(&key.id),
        [
            "api_key.created",
            "api_key.updated",
            "api_key.disabled",
            "api_key.updated",
            "api_key.updated",
            "api_key.rotated",
            "api_key.updated",
            "api_key.disabled",
            "api_key.revoked"
        ]
    );
    assert_eq!(about(&successor.id), ["api_key.created", "api_key.revoked"]);
    assert_eq!(about(&own.id), ["api_key.created", "api_key.disabled", "api_key.revoked"]);
    let accounts: Vec<_> = heard.iter().map(Heard::kind).filter(|kind| kind.starts_with("service")).collect();
    assert_eq!(
        accounts,
        [
            "service_account.created",
            "service_account.disabled",
            "service_account.updated",
            "service_account.enabled",
            "service_account.updated",
            "service_account.deleted"
        ]
    );
    let me = world.get("/v1/user").await["user_id"].clone();
    for one in &heard {
        assert!(one.is_signed(&hook.secret) && !one.is_signed("wsec_other"));
        assert_eq!(one.headers["x-stead-event-id"], one.id());
        assert!(one.headers["content-type"] == "application/json" && one.headers["x-own"] == "mine");
        assert!(one.raw.starts_with("{\"type\":\"") && one.body["event_timestamp"].as_i64() == Some(START.seconds()));
        assert_eq!(one.body["workspace_id"], world.workspace.as_str());
        assert!(EVENTS.contains(&one.kind()));
        for secret in [&key.secret, &successor.secret, &own.secret, &world.admin] {
            assert!(!one.raw.contains(secret));
        }
        assert!(!one.raw.contains("127.0.0.1"), "{}", one.raw);
    }
    let ids: BTreeSet<_> = heard.iter().map(Heard::id).collect();
    assert_eq!(ids.len(), heard.len());
    // Who did it, and why.
    let created = heard.iter().find(|one| one.kind() == "api_key.created" && one.body["data"]["api_key_id"] == key.id);
    let data = &created.unwrap().body["data"];
    assert_eq!((&data["actor"]["type"], &data["actor"]["id"]), (&json!("user"), &me));
    assert_eq!(data["expires_at"], START.seconds() + 5 * DAY);
    assert_eq!((&data["name"], &data["service_account_user_id"]), (&json!("deploy"), &json!(account)));
    let disabled =
        heard.iter().find(|one| one.kind() == "api_key.disabled" && one.body["data"]["api_key_id"] == own.id);
    let data = &disabled.unwrap().body["data"];
    assert_eq!((&data["disable_reason"], &data["actor"]["type"]), (&json!("self_disabled"), &json!("service_account")));
    let rotated = heard.iter().find(|one| one.kind() == "api_key.rotated").unwrap();
    assert_eq!(rotated.body["data"]["rotated_to"], successor.id);
    assert!(
        deliveries(&world, &hook, "delivered").await.len() == sent
            && deliveries(&world, &hook, "pending").await.is_empty()
    );
}

async fn only_what_is_subscribed_to_is_told_and_without_webhooks_nothing_is_kept(engine: Engine) {
    let world = world(engine).await;
    let account = world.account("before").await;
    assert_eq!(world.count("SELECT COUNT(*) FROM webhook_events").await, 0);
    let receiver = Receiver::new().await;
    let some = hook_with(&world, &receiver.url, json!({"events": ["api_key.revoked", "api_key.created"]})).await;
    let none = hook_with(&world, &receiver.url, json!({"events": []})).await;
    let disabled = hook(&world, &receiver).await;
    world.call("PATCH", &disabled.path(), json!({"is_disabled": true, "name": "off"})).await.ok();
    world.account("nobody asks").await;
    assert_eq!(world.count("SELECT COUNT(*) FROM webhook_events").await, 0);
    let key = world.key(&account, json!({"name": "k"})).await;
    world.call("PATCH", &key.path(), json!({"name": "kk"})).await.ok();
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    // A test comes whatever is subscribed to; but not to what is disabled.
    let tested = world.call("POST", &format!("{}/test", none.path()), json!({})).await.ok();
    world.call("POST", &format!("{}/test", disabled.path()), json!({})).await.is(400, "bad_request");
    assert_eq!(send_all(&world).await, 3);
    let heard = receiver.take();
    let mut told = kinds(&heard);
    told.sort_unstable();
    assert_eq!(told, ["api_key.created", "api_key.revoked", "webhook.test"]);
    let test = heard.iter().find(|one| one.kind() == "webhook.test").unwrap();
    assert!(test.is_signed(&none.secret) && !test.is_signed(&some.secret));
    assert_eq!((test.id(), &test.body["data"]["webhook_id"]), (tested["event_id"].as_str().unwrap(), &json!(none.id)));
}

async fn a_failure_is_tried_again_with_the_same_bytes_and_holds_up_its_own_key_alone(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let account = world.account("ci").await;
    let hook = hook(&world, &receiver).await;
    let one = world.key(&account, json!({"name": "one"})).await;
    let id = one.id.clone();
    receiver.answers(move |heard| if heard.body["data"]["api_key_id"] == id.as_str() { 500 } else { 200 });
    world.call("PATCH", &one.path(), json!({"name": "uno"})).await.ok();
    let two = world.key(&account, json!({"name": "two"})).await;
    world.call("DELETE", &two.path(), Value::Null).await.ok();
    assert_eq!(send_all(&world).await, 3);
    let first = receiver.take();
    let of = |heard: &[Heard], id: &str| heard.iter().filter(|one| one.body["data"]["api_key_id"] == id).count();
    assert_eq!((of(&first, &one.id), of(&first, &two.id)), (1, 2));
    let failed = deliveries(&world, &hook, "failed").await;
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["last_response_status"], &failed[0]["attempts"]), (&json!(500), &json!(1)));
    assert_eq!((&failed[0]["last_error"], &failed[0]["type"]), (&json!("status"), &json!("api_key.created")));
    let shown = world.get(&hook.path()).await;
    assert_eq!(shown["most_recent_failure_error_code"], 500);
    assert_eq!(shown["most_recent_failure_timestamp"], START.seconds());
    let mut tries = 1;
    let lost = first.iter().find(|heard| heard.body["data"]["api_key_id"] == one.id.as_str()).unwrap().clone();
    for seconds in [30, 120, 480] {
        world.clock.advance(seconds - 2);
        assert_eq!(send_all(&world).await, 0, "before {seconds}");
        wait(&world, 2 + seconds / 10);
        assert_eq!(send_all(&world).await, 1, "after {seconds}");
        let again = receiver.take();
        assert_eq!((again[0].raw.as_str(), again[0].id()), (lost.raw.as_str(), lost.id()));
        // Signed anew: receivers refuse what is old.
        assert!(again[0].is_signed(&hook.secret));
        assert_ne!(again[0].headers["elevenlabs-signature"], lost.headers["elevenlabs-signature"]);
        tries += 1;
        assert_eq!(deliveries(&world, &hook, "failed").await[0]["attempts"], tries);
    }
    receiver.answers(|_| 204);
    wait(&world, 1800);
    assert_eq!(send_all(&world).await, 2);
    assert_eq!(kinds(&receiver.take()), ["api_key.created", "api_key.updated"]);
    assert!(deliveries(&world, &hook, "failed").await.is_empty());
}

async fn a_receiver_that_is_down_for_three_days_gets_everything_in_order(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let account = world.account("ci").await;
    let hook = hook(&world, &receiver).await;
    // It has worked before, else it would be given up.
    world.call("POST", &format!("{}/test", hook.path()), json!({})).await.ok();
    send_all(&world).await;
    let tested = receiver.take();
    assert_eq!(tested.len(), 1);
    receiver.answers(|heard| [500, 503, 408, 429, 404, 302][heard.raw.len() % 6]);
    let mut keys = Vec::new();
    for n in 0..10 {
        let key = world.key(&account, json!({"name": format!("k{n}")})).await;
        world.call("PATCH", &key.path(), json!({"name": format!("l{n}")})).await.ok();
        world.call("DELETE", &key.path(), Value::Null).await.ok();
        keys.push(key);
    }
    let mut attempts = 0;
    for _ in 0..71 {
        attempts += send_all(&world).await;
        world.clock.advance(3600);
    }
    // Ten keys, each by its first event.
    assert!((60..=100).contains(&attempts), "{attempts}");
    let missed: BTreeSet<String> = receiver.take().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(missed.len(), 10);
    assert!(!world.get(&hook.path()).await["is_auto_disabled"].as_bool().unwrap());
    receiver.answers(|_| 200);
    world.clock.advance(2 * 3600);
    assert_eq!(send_all(&world).await, 30);
    let heard = receiver.take();
    for key in &keys {
        let about: Vec<_> =
            heard.iter().filter(|one| one.body["data"]["api_key_id"] == key.id.as_str()).map(Heard::kind).collect();
        assert_eq!(about, ["api_key.created", "api_key.updated", "api_key.revoked"]);
    }
    assert!(deliveries(&world, &hook, "dead").await.is_empty());
}

async fn what_is_given_up_is_a_dead_letter_that_can_be_sent_again(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    // It has worked before, else it would be disabled after ten failures.
    world.call("POST", &format!("{}/test", hook.path()), json!({})).await.ok();
    send_all(&world).await;
    receiver.take();
    receiver.answers(|_| 500);
    let account = world.account("ci").await;
    let mut attempts = 0;
    for _ in 0..100 {
        attempts += send_all(&world).await;
        world.clock.advance(3600);
    }
    // At once, after 30 s, 2 min, 8 min, 30 min, 2 h, 6 h, 24 h and 24 h, and at the end of the third day.
    assert_eq!(attempts, 10);
    let dead = deliveries(&world, &hook, "dead").await;
    assert_eq!((dead.len(), &dead[0]["attempts"], &dead[0]["next_attempt_at_unix"]), (1, &json!(10), &Value::Null));
    let lost = receiver.take();
    assert!(lost.iter().all(|one| one.raw == lost[0].raw));
    receiver.answers(|_| 200);
    let path = format!("{}/deliveries/{}/redeliver", hook.path(), lost[0].id());
    assert_eq!(world.call("POST", &path, Value::Null).await.ok(), json!({"status": "ok"}));
    assert_eq!(deliveries(&world, &hook, "pending").await.len(), 1);
    assert_eq!(send_all(&world).await, 1);
    assert_eq!(receiver.take()[0].raw, lost[0].raw);
    // What has arrived can be had again, too.
    world.call("POST", &path, Value::Null).await.ok();
    assert_eq!(send_all(&world).await, 1);
    let none = format!("{}/deliveries/evt_0000000000000000000000/redeliver", hook.path());
    world.call("POST", &none, Value::Null).await.is(404, "webhook_not_found");
    // Without retries one attempt is all.
    receiver.answers(|_| 500);
    world.call("PATCH", &hook.path(), json!({"is_disabled": false, "name": "once", "retry_enabled": false})).await.ok();
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"name": "x"})).await.ok();
    assert_eq!(send_all(&world).await, 1);
    assert_eq!(deliveries(&world, &hook, "dead").await.len(), 1);
    // Disabling gives up what waits; deleting forgets it.
    world.call("PATCH", &hook.path(), json!({"is_disabled": false, "name": "on", "retry_enabled": true})).await.ok();
    world.account("another").await;
    world.call("PATCH", &hook.path(), json!({"is_disabled": true, "name": "off"})).await.ok();
    let dead = deliveries(&world, &hook, "dead").await;
    assert_eq!((dead.len(), &dead[0]["last_error"]), (2, &json!("webhook_disabled")));
    let path = format!("{}/deliveries/{}/redeliver", hook.path(), dead[0]["event_id"].as_str().unwrap());
    world.call("POST", &path, Value::Null).await.is(400, "bad_request");
    world.call("PATCH", &hook.path(), json!({"is_disabled": false, "name": "on"})).await.ok();
    world.account("one more").await;
    world.call("DELETE", &hook.path(), Value::Null).await.ok();
    assert_eq!(send_all(&world).await, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM webhook_deliveries WHERE finished_at IS NULL").await, 0);
}

async fn a_receiver_that_hangs_holds_nobody_up(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    // Takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let hung = hook_with(&world, &url, json!({})).await;
    let nobody = hook_with(&world, "http://127.0.0.1:1/", json!({})).await;
    let fine = hook(&world, &receiver).await;
    for n in 0..20 {
        world.account(&format!("a{n}")).await;
    }
    let mut outward = world.app.sender.outward.clone();
    outward.timeout = Duration::from_millis(500);
    let started = Instant::now();
    let mut passes = 0;
    while deliveries(&world, &fine, "delivered").await.len() < 20 {
        sender::pass(&world.app, &outward).await.unwrap();
        passes += 1;
        if passes == 1 {
            // Neither stands in the other's way.
            assert_eq!(deliveries(&world, &fine, "delivered").await.len(), 4);
            for (hook, why) in [(&hung, "timeout"), (&nobody, "connection_failed")] {
                let failed = deliveries(&world, hook, "failed").await;
                assert!(failed.len() == 4 && failed.iter().all(|one| one["last_error"] == why), "{failed:?}");
                assert_eq!(failed[0]["last_response_status"], Value::Null);
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert_eq!((passes, receiver.take().len()), (5, 20));
    // A pass lasts as long as its slowest, and no longer.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

async fn a_webhook_that_only_fails_is_disabled_by_itself(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    receiver.answers(|_| 500);
    for n in 0..12 {
        world.account(&format!("a{n}")).await;
    }
    send_all(&world).await;
    let shown = world.get(&hook.path()).await;
    assert_eq!((&shown["is_auto_disabled"], &shown["is_disabled"]), (&json!(true), &json!(false)));
    assert_eq!(deliveries(&world, &hook, "dead").await.len(), 12);
    world.account("unheard").await;
    assert_eq!(deliveries(&world, &hook, "pending").await.len(), 0);
    // Enabled again, it begins anew.
    receiver.take();
    receiver.answers(|_| 200);
    world.call("PATCH", &hook.path(), json!({"is_disabled": false, "name": "on"})).await.ok();
    assert_eq!(world.get(&hook.path()).await["is_auto_disabled"], false);
    world.account("heard").await;
    assert_eq!((send_all(&world).await, receiver.take().len()), (1, 1));
    // With a success within the week it goes on.
    receiver.answers(|_| 500);
    world.account("one").await;
    world.account("two").await;
    for _ in 0..12 {
        send_all(&world).await;
        world.clock.advance(3600);
    }
    assert_eq!(world.get(&hook.path()).await["is_auto_disabled"], false);
    let log =
        world.count("SELECT COUNT(*) FROM audit_log WHERE activity = 'Webhook Update' AND actor LIKE '%system%'").await;
    assert_eq!(log, 1);
}

async fn a_new_secret_signs_when_it_is_said(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    let rotate = async |grace: Value| {
        let reply = world.call("POST", &format!("{}/rotate-secret", hook.path()), grace).await;
        assert_eq!(reply.headers["cache-control"], "no-store");
        let made = reply.ok();
        (made["webhook_secret"].as_str().unwrap().to_owned(), made["active_from_unix"].as_i64().unwrap())
    };
    let signed = async |secret: &str| {
        world.call("POST", &format!("{}/test", hook.path()), json!({})).await.ok();
        assert_eq!(send_all(&world).await, 1);
        receiver.take()[0].is_signed(secret)
    };
    assert!(signed(&hook.secret).await);
    let (second, from) = rotate(json!({})).await;
    assert_eq!(from, START.seconds());
    assert!(signed(&second).await);
    let (third, from) = rotate(json!({"grace_period_seconds": 3600})).await;
    assert_eq!(from, START.seconds() + 3600);
    assert_eq!(world.get(&hook.path()).await["next_secret_active_from_unix"], from);
    assert!(signed(&second).await);
    world.clock.advance(3600);
    assert!(signed(&third).await);
    assert_eq!(world.get(&hook.path()).await["next_secret_active_from_unix"], Value::Null);
    // The one that waited is the one that goes on.
    let (fourth, _) = rotate(json!({"grace_period_seconds": 3600})).await;
    assert!(signed(&third).await);
    // Another in between replaces the one that waits.
    let (fifth, _) = rotate(json!({"grace_period_seconds": 60})).await;
    world.clock.advance(7200);
    assert!(signed(&fifth).await);
    assert!(!signed(&fourth).await);
    // A change of the pepper keeps them readable.
    let ring = || stead_verify::pepper::Ring::new([(2, [7; 32]), (1, [42; 32])]).unwrap();
    let id = hook.id.clone();
    let world = world.restarted(ring()).await;
    let path = format!("{WEBHOOKS}/{id}/test");
    world.call("POST", &path, json!({})).await.ok();
    assert_eq!(send_all(&world).await, 1);
    assert!(receiver.take()[0].is_signed(&fifth));
}

async fn deliveries_are_paged(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    for n in 0..7 {
        world.account(&format!("a{n}")).await;
    }
    send_all(&world).await;
    let (mut path, mut ids, mut pages) = (format!("{}/deliveries?limit=3", hook.path()), Vec::new(), 0);
    loop {
        let page = world.get(&path).await;
        pages += 1;
        ids.extend(
            page["deliveries"].as_array().unwrap().iter().map(|one| one["event_id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        // A cursor of one webhook is none of another.
        let other = format!("{WEBHOOKS}/whk_1/deliveries?cursor={cursor}");
        world.call("GET", &other, Value::Null).await.is(400, "invalid_cursor");
        path = format!("{}/deliveries?limit=3&cursor={cursor}", hook.path());
    }
    let heard: Vec<_> = receiver.take().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!((pages, ids.len()), (3, 7));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), heard.iter().collect());
}

async fn what_somebody_else_wrote_gets_nothing(engine: Engine) {
    for edit in [
        "UPDATE webhooks SET url = 'http://127.0.0.1:9/stolen'",
        "UPDATE webhooks SET secret = next_secret",
        "UPDATE webhooks SET headers = secret",
        "UPDATE webhooks SET events = NULL",
        "UPDATE webhooks SET retry_enabled = is_disabled",
        "UPDATE webhook_events SET body = '{\"type\":\"api_key.created\",\"data\":{}}'",
        "UPDATE webhook_events SET kind = 'api_key.revoked'",
    ] {
        let world = world(engine).await;
        let receiver = Receiver::new().await;
        let hook = hook_with(&world, &receiver.url, json!({"events": ["service_account.created"]})).await;
        world.call("POST", &format!("{}/rotate-secret", hook.path()), json!({"grace_period_seconds": 60})).await.ok();
        world.account("told").await;
        world.tamper(edit).await;
        assert_eq!(send_all(&world).await, 0, "{edit}");
        assert!(receiver.take().is_empty(), "{edit}");
        let dead = deliveries(&world, &hook, "dead").await;
        assert_eq!((dead.len(), &dead[0]["last_error"]), (1, &json!("not_trusted")), "{edit}");
        if edit.starts_with("UPDATE webhooks ") {
            let broken = world.app.store.read(|tx| stead_server::webhooks::broken_seals(tx, &pepper())).await.unwrap();
            assert_eq!(broken, std::slice::from_ref(&hook.id));
            // It gets no seal by a change; it can be deleted.
            let change = json!({"is_disabled": false, "name": "x"});
            world.call("PATCH", &hook.path(), change).await.is(403, "not_trusted");
            for rest in ["rotate-secret", "test"] {
                world.call("POST", &format!("{}/{rest}", hook.path()), json!({})).await.is(403, "not_trusted");
            }
            world.get(WEBHOOKS).await;
            world.call("DELETE", &hook.path(), Value::Null).await.ok();
        }
    }
}

async fn too_much_that_waits_is_given_up(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    world
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
             INSERT INTO webhook_deliveries (workspace_id, webhook_id, seq, object_id, status, attempts, since, next_at, claimed_until) \
             SELECT w.workspace_id, w.id, -n.i, 'x', 'pending', 0, 0, 9000000000000000, 0 FROM webhooks w, n",
        )
        .await;
    world.account("fits").await;
    let started = Instant::now();
    world.account("too much").await;
    eprintln!("with 10,000 that wait a change took {:?}", started.elapsed());
    let dead = deliveries(&world, &hook, "dead").await;
    assert_eq!((dead.len(), &dead[0]["last_error"]), (1, &json!("too_many_pending")));
    assert_eq!(send_all(&world).await, 1);
    world.account("fits again").await;
    assert_eq!(send_all(&world).await, 1);
}

async fn what_is_finished_is_forgotten(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    world.account("one").await;
    send_all(&world).await;
    world.call("PATCH", &hook.path(), json!({"is_disabled": false, "name": "x", "retry_enabled": false})).await.ok();
    receiver.answers(|_| 500);
    world.account("two").await;
    send_all(&world).await;
    let rows = async || {
        notices::run(&world.app).await.unwrap();
        (
            world.count("SELECT COUNT(*) FROM webhook_deliveries").await,
            world.count("SELECT COUNT(*) FROM webhook_events").await,
        )
    };
    assert_eq!(rows().await, (2, 2));
    world.clock.advance(7 * DAY - 10);
    assert_eq!(rows().await, (2, 2));
    world.clock.advance(20);
    assert_eq!(rows().await, (1, 1));
    world.clock.advance(23 * DAY - 40);
    assert_eq!(rows().await, (1, 1));
    world.clock.advance(60);
    assert_eq!(rows().await, (0, 0));
}

/// What a key was told of by the job, as days before its end; 0 is the end.
fn warned(heard: &[Heard], key: &Key) -> Vec<i64> {
    let about = heard.iter().filter(|one| one.body["data"]["api_key_id"] == key.id.as_str());
    about
        .filter_map(|one| match one.kind() {
            "api_key.expiring" => one.body["data"]["days"].as_i64(),
            "api_key.expired" => Some(0),
            _ => None,
        })
        .collect()
}

async fn the_end_of_a_key_is_told_of_in_time_and_once(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let account = world.account("ci").await;
    hook(&world, &receiver).await;
    let ends = |days: i64| json!({"name": "k", "expires_at": START.seconds() + days * DAY});
    let (long, short) = (world.key(&account, ends(40)).await, world.key(&account, ends(5)).await);
    let (revoked, moved) = (world.key(&account, ends(20)).await, world.key(&account, ends(20)).await);
    let old = world.key(&account, json!({"name": "rotated"})).await;
    world.call("POST", &format!("{}/rotate", old.path()), json!({"grace_period_seconds": 2 * DAY})).await.ok();
    let forever = world.key(&account, json!({"name": "forever"})).await;
    let mut told: BTreeMap<i64, Vec<Heard>> = BTreeMap::new();
    for day in 0..=41 {
        if day == 3 {
            world.call("DELETE", &revoked.path(), Value::Null).await.ok();
            // Two days are added to it, which lie ahead anew.
            let change = json!({"expires_at": START.seconds() + 22 * DAY, "name": "later"});
            world.call("PATCH", &moved.path(), change).await.ok();
        }
        notices::run(&world.app).await.unwrap();
        notices::run(&world.app).await.unwrap();
        send_all(&world).await;
        told.insert(day, receiver.take());
        world.clock.advance(DAY);
    }
    let when = |key: &Key| -> Vec<(i64, i64)> {
        told.iter().flat_map(|(day, heard)| warned(heard, key).into_iter().map(|days| (*day, days))).collect()
    };
    assert_eq!(when(&long), [(10, 30), (26, 14), (33, 7), (39, 1), (40, 0)]);
    assert_eq!(when(&short), [(4, 1), (5, 0)]);
    assert_eq!(when(&revoked), []);
    assert_eq!(when(&moved), [(8, 14), (15, 7), (21, 1), (22, 0)]);
    assert_eq!(when(&old), [(1, 1), (2, 0)]);
    assert_eq!(when(&forever), []);
    assert_eq!(world.count("SELECT COUNT(*) FROM key_notices").await, 0);
    let one = told[&40].iter().find(|one| one.kind() == "api_key.expired").unwrap();
    assert_eq!(one.body["data"]["actor"]["type"], "system");
    // Of notices there is no audit row.
    assert_eq!(
        world.count("SELECT COUNT(*) FROM audit_log WHERE actor LIKE '%system%' AND activity LIKE 'API Key%'").await,
        0
    );
    // What was missed while nothing ran is told, each by its name; on two nodes and after a restart still once.
    let start = world.clock.clone();
    let late = world.key(&account, json!({"name": "late", "expires_at": START.seconds() + (42 + 40) * DAY})).await;
    start.advance(34 * DAY);
    let world = world.killed(pepper()).await;
    if engine == Engine::Postgres {
        let other = world.another(pepper()).await;
        let (one, two) = tokio::join!(notices::run(&world.app), notices::run(&other.app));
        one.unwrap();
        two.unwrap();
    }
    notices::run(&world.app).await.unwrap();
    send_all(&world).await;
    assert_eq!(warned(&receiver.take(), &late), [30, 14, 7]);
}

async fn credits_that_go_are_told_of_once_a_month(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let account = world.account("ci").await;
    let hook = hook_with(&world, &receiver.url, json!({"events": ["api_key.limit_reached"]})).await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 100})).await;
    let free = world.key(&account, json!({"name": "free"})).await;
    let spend = async |cost: i64| {
        world.verify_with(json!({ "cost": cost }), &key.secret).await;
        world.verify_with(json!({ "cost": cost }), &free.secret).await;
        stead_server::verify::usage::flush(&world.app).await.unwrap();
        notices::run(&world.app).await.unwrap();
        send_all(&world).await;
        receiver.take().iter().map(|one| one.body["data"].clone()).collect::<Vec<_>>()
    };
    assert!(spend(79).await.is_empty());
    let told = spend(1).await;
    assert_eq!(told.len(), 1);
    let data = &told[0];
    assert_eq!((&data["api_key_id"], &data["percent"]), (&json!(key.id), &json!(80)));
    assert_eq!((&data["character_limit"], &data["character_count"]), (&json!(100), &json!(80)));
    assert!(spend(10).await.is_empty());
    // A successor shares the month, and is the one that is told of.
    let rotated = world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    let told = spend(10).await;
    assert_eq!((told.len(), &told[0]["percent"], &told[0]["api_key_id"]), (1, &json!(100), &rotated["key_id"]));
    assert!(spend(1).await.is_empty());
    // With a higher cap it has been told all the same.
    let path = format!("/v1/service-accounts/{account}/api-keys/{}", rotated["key_id"].as_str().unwrap());
    let successor = rotated["api_key"].as_str().unwrap().to_owned();
    world.call("PATCH", &path, json!({"character_limit": 110})).await.ok();
    world.verify_with(json!({"cost": 10}), &successor).await;
    stead_server::verify::usage::flush(&world.app).await.unwrap();
    notices::run(&world.app).await.unwrap();
    assert_eq!(send_all(&world).await, 0);
    // The next month begins anew.
    world.clock.advance(30 * DAY);
    world.verify_with(json!({"cost": 100}), &successor).await;
    stead_server::verify::usage::flush(&world.app).await.unwrap();
    // Told also if the node ends before the job has looked.
    let world = world.killed(pepper()).await;
    notices::run(&world.app).await.unwrap();
    assert_eq!(send_all(&world).await, 1);
    assert_eq!(receiver.take()[0].body["data"]["percent"], 80);
    drop(hook);
}

async fn a_workspace_that_somebody_else_wrote_holds_no_other_up(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let silent = hook(&world, &receiver).await;
    let theirs = world.foreign_admin().await;
    let settings = json!({"auth_type": "hmac", "name": "theirs", "webhook_url": receiver.url});
    world.call_as(&theirs, "POST", WEBHOOKS, json!({"settings": settings})).await.ok();
    for (key, days) in [(&world.admin, 5), (&theirs, 5)] {
        let made = world.call_as(key, "POST", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
        let path = format!("/v1/service-accounts/{}/api-keys", made["service_account_id"].as_str().unwrap());
        let body = json!({"name": "k", "permissions": "all", "expires_at": START.seconds() + days * DAY});
        world.call_as(key, "POST", &path, body).await.ok();
    }
    send_all(&world).await;
    receiver.take();
    world.tamper("UPDATE workspaces SET seats = 1000 WHERE name = 'My workspace'").await;
    for many in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450) \
         INSERT INTO key_notices (workspace_id, key_id, expires_at, days, next_at) \
         SELECT w.id, 'key_' || CAST(n.i AS TEXT), 1, 0, 1 FROM workspaces w, n WHERE w.name = 'My workspace'",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450) \
         INSERT INTO credit_notices (workspace_id, lineage_id, period, percent, used, cap) \
         SELECT w.id, 'lin', n.i, 80, 1, 1 FROM workspaces w, n WHERE w.name = 'My workspace'",
        "INSERT INTO credit_notices (workspace_id, lineage_id, period, percent, used, cap, told_at) \
         SELECT id, 'lin', 1, 100, 1, 1, 1 FROM workspaces WHERE name = 'theirs'",
    ] {
        world.tamper(many).await;
    }
    world.clock.advance(5 * DAY + 1);
    notices::run(&world.app).await.unwrap();
    send_all(&world).await;
    assert_eq!(kinds(&receiver.take()), ["api_key.expiring", "api_key.expired"]);
    // What is told for long is forgotten all the same, and what could not be told is kept.
    assert_eq!(world.count("SELECT COUNT(*) FROM credit_notices WHERE told_at IS NOT NULL").await, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM credit_notices").await, 450);
    assert_eq!(world.count("SELECT COUNT(*) FROM key_notices").await, 451);
    drop(silent);
}

async fn what_waited_behind_a_failure_goes_out_once_that_has_arrived(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook = hook(&world, &receiver).await;
    let account = world.account("ci").await;
    send_all(&world).await;
    receiver.take();
    receiver.answers(|_| 500);
    let key = world.key(&account, json!({"name": "k"})).await;
    world.call("PATCH", &key.path(), json!({"name": "l"})).await.ok();
    for seconds in [30, 120, 480] {
        assert_eq!(send_all(&world).await, 1);
        wait(&world, seconds);
    }
    assert_eq!(send_all(&world).await, 1);
    // What comes on top waits as long, and is not looked at every second.
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    let open = "SELECT COUNT(DISTINCT next_at) FROM webhook_deliveries WHERE finished_at IS NULL";
    assert_eq!(world.count(open).await, 1);
    assert_eq!(send_all(&world).await, 0);
    receiver.take();
    receiver.answers(|_| 200);
    let failed = deliveries(&world, &hook, "failed").await;
    let path = format!("{}/deliveries/{}/redeliver", hook.path(), failed[0]["event_id"].as_str().unwrap());
    world.call("POST", &path, Value::Null).await.ok();
    assert_eq!(send_all(&world).await, 3);
    assert_eq!(kinds(&receiver.take()), ["api_key.created", "api_key.updated", "api_key.revoked"]);
}

async fn one_workspace_does_not_fill_every_place(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let mut hooks = Vec::new();
    for _ in 0..5 {
        hooks.push(hook(&world, &receiver).await);
    }
    for n in 0..4 {
        world.account(&format!("a{n}")).await;
    }
    let outward = &world.app.sender.outward;
    assert_eq!(sender::pass(&world.app, outward).await.unwrap(), 16);
    assert_eq!(sender::pass(&world.app, outward).await.unwrap(), 4);
    for hook in &hooks {
        assert_eq!(deliveries(&world, hook, "delivered").await.len(), 4);
    }
}

async fn an_invite_that_is_taken_back_is_told_of(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    hook_with(&world, &receiver.url, json!({"events": ["invite.created", "invite.revoked"]})).await;
    world.call("POST", "/v1/workspace/invites/add", json!({"email": "ann@example.com"})).await.ok();
    world.call("DELETE", "/v1/workspace/invites", json!({"email": "ann@example.com"})).await.ok();
    assert_eq!(send_all(&world).await, 2);
    let heard = receiver.take();
    assert_eq!(kinds(&heard), ["invite.created", "invite.revoked"]);
    let (made, revoked) = (&heard[0].body["data"], &heard[1].body["data"]);
    assert_eq!((&made["invite_id"], &made["email"]), (&revoked["invite_id"], &revoked["email"]));
}

async fn a_sender_that_was_killed_sends_again_under_the_same_id(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    hook(&world, &receiver).await;
    world.account("told").await;
    // It has arrived, but that is not written down: as if the process had ended in between.
    world.tamper("CREATE TABLE before AS SELECT * FROM webhook_deliveries").await;
    assert_eq!(send_all(&world).await, 1);
    world.tamper("DELETE FROM webhook_deliveries").await;
    world.tamper("INSERT INTO webhook_deliveries SELECT * FROM before").await;
    world.tamper("UPDATE webhook_deliveries SET claimed_by = 'nod_gone', claimed_until = next_at + 60000000").await;
    let world = world.killed(pepper()).await;
    // Somebody else may be at it.
    assert_eq!(send_all(&world).await, 0);
    let jobs = if engine == Engine::Sqlite {
        // Nobody else can be.
        Some(stead_server::jobs::start(&world.app))
    } else {
        world.clock.advance(61);
        assert_eq!(send_all(&world).await, 1);
        None
    };
    let started = Instant::now();
    let mut heard = receiver.take();
    while heard.len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
        heard.extend(receiver.take());
    }
    assert_eq!((heard[0].id(), &heard[0].raw), (heard[1].id(), &heard[1].raw));
    if let Some(jobs) = jobs {
        // The job itself sends what is new, at once.
        world.account("new").await;
        while receiver.take().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stead_server::jobs::finish(&world.app, jobs).await;
    }
}

async fn a_refused_change_tells_nothing(engine: Engine) {
    let world = World::with(engine, &[("webhook-allow", "127.0.0.1"), ("max-accounts", "1")]).await;
    let receiver = Receiver::new().await;
    hook(&world, &receiver).await;
    world.account("one").await;
    world.call("POST", "/v1/service-accounts", json!({"name": "two"})).await.is(400, "limit_reached");
    assert_eq!(send_all(&world).await, 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM webhook_events").await, 1);
}

async fn secrets_are_in_no_row_in_the_clear(engine: Engine) {
    let world = world(engine).await;
    let receiver = Receiver::new().await;
    let hook =
        hook_with(&world, &receiver.url, json!({"request_headers": {"authorization": "Bearer very-hidden"}})).await;
    world.account("told").await;
    send_all(&world).await;
    let Engine::Sqlite = engine else {
        let rows = "SELECT COUNT(*) FROM webhooks w WHERE w.secret::text LIKE '%777365635f%' OR w.headers::text LIKE '%76657279%'";
        assert_eq!(world.count(rows).await, 0);
        return;
    };
    let stead_server::store::Location::Sqlite { file, .. } = &world.location else { panic!("not a file") };
    for file in [file.clone(), file.with_extension("db-wal")] {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for secret in [hook.secret.as_str(), "very-hidden"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
        }
    }
}

/// Two nodes share the work: each event goes out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_send_each_event_once_and_in_order() {
    let here = world(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let receiver = Receiver::new().await;
    let hook = hook(&here, &receiver).await;
    let account = here.account("ci").await;
    let mut keys = Vec::new();
    for n in 0..20 {
        let key = here.key(&account, json!({"name": format!("k{n}")})).await;
        here.call("PATCH", &key.path(), json!({"name": "renamed"})).await.ok();
        here.call("DELETE", &key.path(), Value::Null).await.ok();
        keys.push(key);
    }
    let (one, two) = tokio::join!(send_all(&here), send_all(&there));
    eprintln!("{one} by the one, {two} by the other");
    // The one may have found nothing due while the other had it all under way.
    let rest = send_all(&here).await;
    let heard = receiver.take();
    assert_eq!((one + two + rest, heard.len()), (61, 61));
    for key in &keys {
        let about: Vec<_> =
            heard.iter().filter(|one| one.body["data"]["api_key_id"] == key.id.as_str()).map(Heard::kind).collect();
        assert_eq!(about, ["api_key.created", "api_key.updated", "api_key.revoked"]);
    }
    assert_eq!(deliveries(&here, &hook, "delivered").await.len(), 61);
}
