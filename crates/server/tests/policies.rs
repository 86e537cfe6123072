//! What a workspace asks of keys, and keys that nobody uses.

use crate::harness::{DAY, Engine, Key, START, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::keys::idle;
use stead_server::members::SeatType;

on_both_stores! {
    a_key_without_an_expiry_gets_the_default
    a_key_must_end_and_not_too_late
    people_must_end_and_service_accounts_may_go_on
    keys_are_given_allowed_permissions_only
    a_key_needs_a_list_of_addresses
    an_older_key_keeps_working_and_goes_no_further
    a_rotation_is_never_refused_but_its_successor_ends_in_time
    the_owners_first_key_is_free
    the_first_key_of_who_is_invited_is_not
    idle_keys_are_disabled_and_the_others_not
    a_key_that_is_enabled_again_gets_its_days_anew
}

async fn ask(world: &World, policies: Value) {
    world.call("PATCH", "/v1/workspace", json!({ "policies": policies })).await.ok();
}

fn keys_of(account: &str) -> String {
    format!("/v1/service-accounts/{account}/api-keys")
}

async fn a_key_without_an_expiry_gets_the_default(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"default_expiry_seconds": DAY})).await;
    let account = world.account("ci").await;
    let made = world.call("POST", &keys_of(&account), json!({"name": "k"})).await.ok();
    assert_eq!(made["expires_at"], START.seconds() + DAY);
    let asked = START.seconds() + 9 * DAY;
    let made = world.call("POST", &keys_of(&account), json!({"name": "k", "expires_at": asked})).await.ok();
    assert_eq!(made["expires_at"], asked);
    // Nothing is required: it may be taken off again.
    let path = Key::of(&account, &made).path();
    assert_eq!(world.call("PATCH", &path, json!({"expires_at": "clear"})).await.ok()["expires_at"], Value::Null);
}

async fn a_key_must_end_and_not_too_late(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"max_expiry_seconds": DAY, "expiry_required": "all"})).await;
    let account = world.account("ci").await;
    let create =
        async |expiry: Value| world.call("POST", &keys_of(&account), json!({"name": "k", "expires_at": expiry})).await;
    let reply = create(Value::Null).await;
    assert_eq!(reply.blamed(), ["body.expires_at_unix"]);
    assert!(reply.text.contains("the workspace's policy requires an expiry"), "{}", reply.text);
    let reply = create(json!(START.seconds() + DAY + 60)).await;
    assert_eq!(reply.blamed(), ["body.expires_at_unix"]);
    assert!(reply.text.contains("86400 seconds"), "{}", reply.text);
    let key = Key::of(&account, &create(json!(START.seconds() + DAY)).await.ok());
    for wrong in [json!("clear"), json!(START.seconds() + 2 * DAY)] {
        let reply = world.call("PATCH", &key.path(), json!({"expires_at_unix": wrong})).await;
        assert_eq!(reply.blamed(), ["body.expires_at_unix"]);
    }
    // Sooner is always fine, and later as far as it lies ahead at the time.
    world.call("PATCH", &key.path(), json!({"expires_at": START.seconds() + 3600})).await.ok();
    world.clock.advance(1800);
    world.call("PATCH", &key.path(), json!({"expires_at": START.seconds() + DAY + 1800})).await.ok();
    // A maximum alone is required of all: a key without an end is beyond it.
    ask(&world, json!({"expiry_required": "none"})).await;
    assert_eq!(create(Value::Null).await.blamed(), ["body.expires_at_unix"]);
    ask(&world, json!({"default_expiry_seconds": 3600})).await;
    create(Value::Null).await.ok();
}

async fn people_must_end_and_service_accounts_may_go_on(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"expiry_required": "user_keys", "max_expiry_seconds": DAY})).await;
    let account = world.account("ci").await;
    world.call("POST", &keys_of(&account), json!({"name": "k"})).await.ok();
    let too_late = json!({"name": "k", "expires_at": START.seconds() + 9 * DAY});
    assert_eq!(world.call("POST", &keys_of(&account), too_late).await.blamed(), ["body.expires_at_unix"]);
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    assert_eq!(world.call("POST", &keys_of(&me), json!({"name": "k"})).await.blamed(), ["body.expires_at_unix"]);
    world.call("POST", &keys_of(&me), json!({"name": "k", "expires_at": START.seconds() + 3600})).await.ok();
}

async fn keys_are_given_allowed_permissions_only(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"allowed_permissions": ["text_to_speech", "voices_read"]})).await;
    let account = world.account("ci").await;
    let create = async |permissions: Value| {
        world.call("POST", &keys_of(&account), json!({"name": "k", "permissions": permissions})).await
    };
    for wrong in [json!("all"), json!(["voices_write"]), json!(["text_to_speech", "voices_write"])] {
        let reply = create(wrong).await;
        assert_eq!(reply.blamed(), ["body.permissions"]);
        assert!(reply.text.contains("text_to_speech, voices_read"), "{}", reply.text);
    }
    create(json!([])).await.ok();
    // Whoever asks for nothing gets what is allowed.
    let made = world.call("POST", &keys_of(&account), json!({"name": "k"})).await.ok();
    assert_eq!(made["permissions"], json!(["text_to_speech", "voices_read"]));
    let key = Key::of(&account, &create(json!(["text_to_speech"])).await.ok());
    for (permissions, fine) in [(json!(["voices_read"]), true), (json!(["voices_write"]), false), (json!("all"), false)]
    {
        let reply = world.call("PATCH", &key.path(), json!({"permissions": permissions})).await;
        assert_eq!(reply.status == 200, fine, "{}", reply.text);
    }
    // Of what is allowed a maker still gives only what it holds.
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    ask(&world, json!({"allowed_permissions": "clear"})).await;
    let maker = json!({"name": "maker", "permissions": ["service_account_write", "voices_read"]});
    let maker = world.key(&me, maker).await;
    ask(&world, json!({"allowed_permissions": ["text_to_speech", "voices_read"]})).await;
    let made = world.call_as(&maker.secret, "POST", &keys_of(&account), json!({"name": "k"})).await.ok();
    assert_eq!(made["permissions"], json!(["voices_read"]));
    let more = json!({"name": "k", "permissions": ["text_to_speech"]});
    world.call_as(&maker.secret, "POST", &keys_of(&account), more).await.is(403, "stronger_than_caller");
}

async fn a_key_needs_a_list_of_addresses(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"allowed_ips_required": true})).await;
    let account = world.account("ci").await;
    for wrong in [Value::Null, json!(["0.0.0.0/0"]), json!(["10.0.0.1", "::/0"])] {
        let body = json!({"name": "k", "allowed_ips": wrong});
        assert_eq!(world.call("POST", &keys_of(&account), body).await.blamed(), ["body.allowed_ips"]);
    }
    let key = world.key(&account, json!({"name": "k", "allowed_ips": ["10.0.0.0/8"]})).await;
    let cleared = world.call("PATCH", &key.path(), json!({"allowed_ips": "clear"})).await;
    assert_eq!(cleared.blamed(), ["body.allowed_ips"]);
    world.call("PATCH", &key.path(), json!({"allowed_ips": ["192.0.2.1"]})).await.ok();
}

async fn an_older_key_keeps_working_and_goes_no_further(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let policies = json!({
        "max_expiry_seconds": DAY, "expiry_required": "all", "allowed_permissions": ["voices_read"], "allowed_ips_required": true,
    });
    ask(&world, policies).await;
    let world = world.restarted(pepper()).await;
    assert_eq!(world.verify(&key.secret).await, "VALID");
    // What has nothing to do with a policy, and what comes nearer to it.
    for fine in [
        json!({"name": "renamed"}),
        json!({"is_enabled": false}),
        json!({"is_enabled": true}),
        json!({"permissions": "all", "expires_at": "clear", "allowed_ips": "clear"}),
        json!({"expires_at": START.seconds() + 9 * DAY}),
        json!({"permissions": ["voices_read", "voices_write"]}),
        json!({"permissions": ["voices_write"]}),
        json!({"allowed_ips": ["10.0.0.0/8"]}),
    ] {
        world.call("PATCH", &key.path(), fine).await.ok();
    }
    let back = json!({"permissions": "all", "expires_at": "clear", "allowed_ips": "clear"});
    let reply = world.call("PATCH", &key.path(), back).await;
    assert_eq!(reply.blamed(), ["body.expires_at_unix", "body.permissions", "body.allowed_ips"]);
}

async fn a_rotation_is_never_refused_but_its_successor_ends_in_time(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    ask(&world, json!({"max_expiry_seconds": DAY, "allowed_permissions": [], "allowed_ips_required": true})).await;
    let rotated = world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    let now = rotated["created_at"].as_i64().unwrap();
    assert_eq!((rotated["expires_at"].as_i64(), &rotated["permissions"]), (Some(now + DAY), &Value::Null));
    let successor = Key::of(&key.account, &rotated);
    assert_eq!(world.verify(&successor.secret).await, "VALID");
    // A nearer end is inherited as it is.
    world.call("PATCH", &successor.path(), json!({"expires_at": now + 3600})).await.ok();
    let again = world.call("POST", &format!("{}/rotate", successor.path()), json!({})).await.ok();
    assert_eq!(again["expires_at"], now + 3600);
}

async fn the_owners_first_key_is_free(engine: Engine) {
    let world = World::new(engine).await;
    ask(&world, json!({"expiry_required": "all", "allowed_permissions": [], "allowed_ips_required": true})).await;
    // `stead owner-key`: whoever was locked out by a policy of their own.
    let key = stead_server::app::create_owner_key(&world.app, None).await.unwrap();
    world
        .call_as(key.expose(), "PATCH", "/v1/workspace", json!({"policies": {"allowed_ips_required": false}}))
        .await
        .ok();
}

async fn idle_keys_are_disabled_and_the_others_not(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = async |name: &str| world.key(&account, json!({ "name": name })).await;
    let (never, long_ago, lately, in_memory) =
        (key("never").await, key("long ago").await, key("lately").await, key("in memory").await);
    let (member, members_key) = world.person("m@example.com", SeatType::WorkspaceMember).await;
    let (_, admins_key) = world.person("a@example.com", SeatType::WorkspaceAdmin).await;
    world.verify(&long_ago.secret).await;
    world.clock.advance(20 * DAY);
    world.verify(&lately.secret).await;
    stead_server::verify::usage::flush(&world.app).await.unwrap();
    let young = key("young").await;
    world.clock.advance(15 * DAY);
    // Told to nobody yet.
    world.verify(&in_memory.secret).await;
    let states = async || {
        let mut states = Vec::new();
        for secret in [&never, &long_ago, &lately, &in_memory, &young].map(|key| &key.secret) {
            let simulated = world.app.index.find(&world.app.ring.digest(secret).1).unwrap();
            states.push(simulated.disabled);
        }
        states
    };
    // Without the policy nothing happens.
    idle::disable_idle(&world.app).await.unwrap();
    assert_eq!(states().await, [false; 5]);
    ask(&world, json!({"disable_idle_after_days": 30})).await;
    idle::disable_idle(&world.app).await.unwrap();
    assert_eq!(states().await, [true, true, false, false, false]);
    let shown = world.get(&never.path()).await;
    assert_eq!((&shown["disable_reason"], &shown["status"]), (&json!("idle"), &json!("disabled")));
    // A member's key rests like any other; an admin's and the owner's never do.
    world.call_as(&members_key, "GET", "/v1/user", Value::Null).await.is(401, "api_key_disabled");
    world.call_as(&admins_key, "GET", "/v1/user", Value::Null).await.ok();
    let page = world.get(&format!("/v1/api-keys?account={member}")).await;
    assert_eq!(page["api_keys"][0]["disable_reason"], "idle");
    let id = world.workspace.clone();
    let rows = world.app.store.read(move |tx| stead_server::audit::recent(tx, &id, 3)).await.unwrap();
    assert!(rows.iter().all(|row| row.actor == r#"{"type":"system"}"# && row.details.contains("idle")), "{rows:?}");
    // Once is enough.
    let count = async || world.count("SELECT COUNT(*) FROM audit_log").await;
    let before = count().await;
    idle::disable_idle(&world.app).await.unwrap();
    assert_eq!(count().await, before);
}

async fn a_key_that_is_enabled_again_gets_its_days_anew(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    ask(&world, json!({"disable_idle_after_days": 2})).await;
    let sweep = async || idle::disable_idle(&world.app).await.unwrap();
    let status = async || world.get(&key.path()).await["status"].clone();
    world.clock.advance(2 * DAY + 1);
    sweep().await;
    assert_eq!(status().await, "disabled");
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    sweep().await;
    assert_eq!(status().await, "active");
    world.clock.advance(2 * DAY + 1);
    sweep().await;
    assert_eq!(status().await, "disabled");
    // More keys than are looked at in one go.
    let account = world.account("many").await;
    for _ in 0..205 {
        world.key(&account, json!({"name": "k"})).await;
    }
    world.clock.advance(2 * DAY + 1);
    sweep().await;
    let active = world.get(&format!("/v1/api-keys?status=active&account={account}")).await;
    assert_eq!(active["api_keys"], json!([]));
}

async fn the_first_key_of_who_is_invited_is_not(engine: Engine) {
    let world = World::new(engine).await;
    let join = async |email: &str| {
        let invited = world.call("POST", "/v1/workspace/invites/add", json!({ "email": email })).await.ok();
        let url = invited["invite_url"].as_str().unwrap();
        let token = url.rsplit('/').next().unwrap();
        world.call_as("", "POST", "/v1/workspace/invites/accept", json!({ "token": token })).await.ok()
    };
    ask(&world, json!({"max_expiry_seconds": DAY, "expiry_required": "all", "allowed_permissions": ["user_read"]}))
        .await;
    let secret = join("ann@example.com").await["api_key"].as_str().unwrap().to_owned();
    let key = world.call_as(&secret, "GET", "/v1/api-keys/self", Value::Null).await.ok();
    assert_eq!(key["permissions"], json!(["user_read"]));
    assert!(key["expires_at"].as_i64().unwrap() <= START.seconds() + DAY + 60, "{key}");
    // A list of addresses nobody can know before: then there is no key.
    ask(&world, json!({"allowed_ips_required": true})).await;
    assert_eq!(join("bob@example.com").await.get("api_key").filter(|key| !key.is_null()), None);
}
