//! Power only shrinks (DESIGN §5), dimension by dimension, through every door.

use crate::harness::{DAY, Engine, Key, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::members::SeatType;

on_both_stores! {
    a_key_makes_nothing_stronger_than_itself
    a_change_may_shrink_what_is_stronger_but_not_widen_it
    a_weak_key_brings_no_stronger_one_back_to_life
    what_exceeds_the_caller_can_not_be_rotated_or_enabled
    a_manager_hands_out_no_group_right_they_lack
    a_right_taken_away_is_gone_in_the_next_transaction
}

/// A key of the owner's own with less power than the first.
async fn limited(world: &World, restriction: Value) -> Key {
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let mut body =
        json!({"name": "limited", "permissions": ["service_account_write", "workspace_read", "text_to_speech"]});
    body.as_object_mut().unwrap().extend(restriction.as_object().unwrap().clone());
    world.key(&me, body).await
}

async fn a_key_makes_nothing_stronger_than_itself(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let path = format!("/v1/service-accounts/{account}/api-keys");
    let end = START.seconds() + 10 * DAY;
    let maker = limited(
        &world,
        json!({
            "expires_at": end, "allowed_ips": ["127.0.0.0/8"], "character_limit": 100,
            "tts_concurrency_limit": 2, "dubbing_concurrency_limit": 2, "music_concurrency_limit": 2,
        }),
    )
    .await;
    let within = json!({
        "name": "child", "permissions": ["text_to_speech"], "expires_at": end, "allowed_ips": ["127.0.0.1", "127.5.0.0/16"],
        "character_limit": 100, "tts_concurrency_limit": 2, "dubbing_concurrency_limit": 1, "music_concurrency_limit": 2,
    });
    let create = async |body: Value| world.call_as(&maker.secret, "POST", &path, body).await;
    create(within.clone()).await.ok();
    for (field, beyond) in [
        ("permissions", json!("all")),
        ("permissions", json!(["voices_read"])),
        ("expires_at", json!(end + 1)),
        ("expires_at", Value::Null),
        ("allowed_ips", json!(["127.0.0.1", "10.0.0.1"])),
        ("allowed_ips", Value::Null),
        ("character_limit", json!(101)),
        ("character_limit", Value::Null),
        ("tts_concurrency_limit", json!(3)),
        ("dubbing_concurrency_limit", Value::Null),
        ("music_concurrency_limit", json!(3)),
    ] {
        let mut body = within.clone();
        body[field] = beyond.clone();
        let reply = create(body).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (403, "stronger_than_caller"), "{field} {beyond}");
    }
    // Without permissions: what the maker holds, and no more.
    let mut body = within;
    body.as_object_mut().unwrap().remove("permissions");
    assert_eq!(
        create(body).await.ok()["permissions"],
        json!(["service_account_write", "workspace_read", "text_to_speech"])
    );
    assert_eq!(world.get(&path).await["api_keys"].as_array().unwrap().len(), 2);
}

async fn a_change_may_shrink_what_is_stronger_but_not_widen_it(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let maker = limited(&world, json!({})).await;
    let strong = world
        .key(&account, json!({"name": "strong", "permissions": ["voices_read", "voices_write"], "character_limit": 5}))
        .await;
    let change = async |key: &Key, body: Value| world.call_as(&maker.secret, "PATCH", &key.path(), body).await;
    change(&strong, json!({"name": "renamed"})).await.ok();
    change(&strong, json!({"permissions": ["voices_read"]})).await.ok();
    change(&strong, json!({"permissions": ["voices_read", "voices_write"]})).await.is(403, "stronger_than_caller");
    change(&strong, json!({"permissions": "all"})).await.is(403, "stronger_than_caller");
    change(&strong, json!({"permissions": ["text_to_speech"]})).await.ok();
    change(&strong, json!({"character_limit": "clear"})).await.ok();
    // Nor may it widen itself.
    change(&maker, json!({"permissions": "all"})).await.is(403, "stronger_than_caller");
}

async fn what_exceeds_the_caller_can_not_be_rotated_or_enabled(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let maker = limited(&world, json!({})).await;
    let strong = world.key(&account, json!({"name": "strong", "permissions": ["voices_read"]})).await;
    let as_maker = async |method: &str, path: &str, body: Value| world.call_as(&maker.secret, method, path, body).await;
    as_maker("POST", &format!("{}/rotate", strong.path()), json!({})).await.is(403, "stronger_than_caller");
    // Taking power away is always allowed.
    as_maker("POST", &format!("{}/disable", strong.path()), Value::Null).await.ok();
    as_maker("PATCH", &strong.path(), json!({"is_enabled": true})).await.is(403, "stronger_than_caller");
    let path = format!("/v1/service-accounts/{account}");
    world.call("PATCH", &strong.path(), json!({"is_enabled": true})).await.ok();
    as_maker("PATCH", &path, json!({"is_enabled": false})).await.ok();
    as_maker("PATCH", &path, json!({"is_enabled": true})).await.is(403, "stronger_than_caller");
    assert_eq!(world.verify(&strong.secret).await, "ACCOUNT_DISABLED");
    as_maker("DELETE", &strong.path(), Value::Null).await.ok();
    as_maker("PATCH", &path, json!({"is_enabled": true})).await.ok();
}

async fn a_manager_hands_out_no_group_right_they_lack(engine: Engine) {
    let world = World::new(engine).await;
    let (member, secret) = world.person("m@example.com", SeatType::WorkspaceMember).await;
    let (plain, strong) = (world.account("plain").await, world.account("strong").await);
    world.group(&["service_accounts_manage"], vec![member]).await;
    world.group(&["all_resources_access"], vec![strong.as_str().into()]).await;
    let create = async |account: &str| {
        world.call_as(&secret, "POST", &format!("/v1/service-accounts/{account}/api-keys"), json!({"name": "k"})).await
    };
    create(&plain).await.ok();
    let refused = create(&strong).await;
    refused.is(403, "insufficient_permissions");
    assert_eq!(refused.body["detail"]["missing_permissions"], json!(["all_resources_access"]));
    let key = world.key(&strong, json!({"name": "k"})).await;
    let as_member = async |method: &str, path: &str, body: Value| world.call_as(&secret, method, path, body).await;
    as_member("POST", &format!("{}/rotate", key.path()), json!({})).await.is(403, "insufficient_permissions");
    as_member("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    as_member("PATCH", &key.path(), json!({"is_enabled": true})).await.is(403, "insufficient_permissions");
    let end = json!({"expires_at": START.seconds() + DAY});
    as_member("PATCH", &key.path(), end).await.ok();
    as_member("PATCH", &key.path(), json!({"expires_at": "clear"})).await.is(403, "insufficient_permissions");
}

/// The gate reads first, the transaction judges again: what was allowed at the gate and taken away meanwhile is
/// refused. (Grafana CVE-2026-33381: tokens could be minted for seconds after the right was gone.)
async fn a_right_taken_away_is_gone_in_the_next_transaction(engine: Engine) {
    let world = std::sync::Arc::new(World::new(engine).await);
    let account = world.account("ci").await;
    let path = format!("/v1/service-accounts/{account}/api-keys");
    let maker = limited(&world, json!({})).await;
    let mut minting = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (world, path, secret) = (world.clone(), path.clone(), maker.secret.clone());
        minting.spawn(async move {
            let mut made = 0;
            // Until the first refusal: then the right is gone.
            while world.call_as(&secret, "POST", &path, json!({"name": "k", "permissions": []})).await.status == 200 {
                made += 1;
            }
            made
        });
    }
    let own = maker.path();
    while world.count("SELECT COUNT(*) FROM api_keys").await < 20 {
        tokio::task::yield_now().await;
    }
    world.call("DELETE", &own, Value::Null).await.ok();
    let at_revocation = world.count("SELECT COUNT(*) FROM api_keys").await;
    let made: i64 = minting.join_all().await.into_iter().sum();
    assert_eq!(world.count("SELECT COUNT(*) FROM api_keys").await, at_revocation);
    // The owner's key and the maker's are the two others.
    assert_eq!(made, at_revocation - 2);
}

/// An expired, address-bound or used-up key is no weaker than its permissions: widening any one dimension of it makes
/// the whole of it work again.
async fn a_weak_key_brings_no_stronger_one_back_to_life(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let maker = limited(&world, json!({})).await;
    let ended =
        world.key(&account, json!({"name": "k", "permissions": "all", "expires_at": START.seconds() + 60})).await;
    let bound = world.key(&account, json!({"name": "k", "permissions": "all", "allowed_ips": ["10.0.0.1"]})).await;
    let spent = world.key(&account, json!({"name": "k", "permissions": "all", "character_limit": 1})).await;
    world.clock.advance(61);
    for (key, change) in [
        (&ended, json!({"expires_at": "clear"})),
        (&ended, json!({"expires_at": START.seconds() + 1000})),
        (&bound, json!({"allowed_ips": "clear"})),
        (&spent, json!({"character_limit": 1000})),
    ] {
        let reply = world.call_as(&maker.secret, "PATCH", &key.path(), change).await;
        reply.is(403, "stronger_than_caller");
    }
    assert_eq!(world.verify(&ended.secret).await, "EXPIRED");
}
