use crate::harness::{DAY, Engine, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::sync::Arc;
use stead_server::verify::usage;

on_both_stores! {
    a_rate_limit_says_which_it_is_and_when_to_come_again
    a_limit_per_lineage_is_shared_with_the_successor
    concurrency_is_held_until_it_is_released_or_ends
    a_limited_caller_is_told_429_and_never_invalid
    limits_are_read_and_changed_like_everything_else
    a_charge_that_was_acknowledged_survives_a_node_that_ends_in_the_middle
    what_a_clean_stop_gives_back_can_be_spent_again
    the_last_credit_is_granted_once
    months_begin_on_the_billing_day_in_its_zone
}

async fn ask(world: &World, secret: &str, ask: Value) -> Value {
    world.verify_with(ask, secret).await
}

async fn a_rate_limit_says_which_it_is_and_when_to_come_again(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let limits = json!([
        {"name": "burst", "limit": 2, "window_seconds": 10, "per": "key"},
        {"name": "hourly", "limit": 5, "window_seconds": 3600},
    ]);
    let key = world.key(&account, json!({"name": "k", "permissions": ["text_to_speech"], "rate_limits": limits})).await;
    let first = ask(&world, &key.secret, json!({})).await;
    let left = |answer: &Value| {
        answer["rate_limits"].as_array().unwrap().iter().map(|l| l["remaining"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((&first["code"], left(&first)), (&json!("VALID"), vec![1, 4]));
    // Being refused for something else takes nothing.
    ask(&world, &key.secret, json!({"permissions": ["voices_write"]})).await;
    assert_eq!(left(&ask(&world, &key.secret, json!({})).await), [0, 3]);
    let limited = ask(&world, &key.secret, json!({"explain": true})).await;
    assert_eq!((&limited["valid"], &limited["code"]), (&json!(false), &json!("RATE_LIMITED")));
    assert_eq!(
        limited["limit"],
        json!({"name": "burst", "kind": "rate", "limit": 2, "remaining": 0, "retry_after": 5})
    );
    let check = limited["checks"].as_array().unwrap().iter().find(|check| check["check"] == "rate_limits").unwrap();
    assert_eq!(check["reason"], "burst: 0 of 2 in 10 s left, the next in 5 s; hourly: 3 of 5 in 3600 s left");
    world.clock.elapse(4);
    assert_eq!(ask(&world, &key.secret, json!({})).await["code"], "RATE_LIMITED");
    world.clock.elapse(1);
    assert_eq!(ask(&world, &key.secret, json!({})).await["code"], "VALID");
    // The same request, sent again, is charged once, but it is a use each time.
    world.clock.elapse(5);
    let again = async || ask(&world, &key.secret, json!({"request_id": "r", "cost": 1})).await;
    assert_eq!(again().await["character_count"], 1);
    assert_eq!(again().await["code"], "RATE_LIMITED");
    world.clock.elapse(5);
    assert_eq!(again().await["character_count"], 1);
    // Both limits are reached now, and the one that takes longer is named.
    assert_eq!(ask(&world, &key.secret, json!({})).await["limit"]["name"], "hourly");
    // Setting the wall clock moves no limit.
    world.clock.advance(DAY);
    assert_eq!(ask(&world, &key.secret, json!({})).await["code"], "RATE_LIMITED");
}

async fn a_limit_per_lineage_is_shared_with_the_successor(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let limits = json!([
        {"name": "shared", "limit": 3, "window_seconds": 60, "per": "lineage"},
        {"name": "own", "limit": 2, "window_seconds": 60, "per": "key"},
    ]);
    let old = world.key(&account, json!({"name": "k", "rate_limits": limits})).await;
    let made = world.call("POST", &format!("{}/rotate", old.path()), json!({})).await.ok();
    let new = crate::harness::Key::of(&account, &made);
    let code = async |secret: &str| ask(&world, secret, json!({})).await;
    assert_eq!(code(&old.secret).await["code"], "VALID");
    assert_eq!(code(&old.secret).await["code"], "VALID");
    assert_eq!(code(&old.secret).await["limit"]["name"], "own");
    assert_eq!(code(&new.secret).await["code"], "VALID");
    assert_eq!(code(&new.secret).await["limit"]["name"], "shared");
}

async fn concurrency_is_held_until_it_is_released_or_ends(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "tts_concurrency_limit": 2})).await;
    let take =
        async |seconds: i64| ask(&world, &key.secret, json!({"concurrency": "tts", "lease_seconds": seconds})).await;
    let release = async |world: &World, admin: &str, lease: &Value| {
        world
            .call_as(admin, "POST", &format!("/v1/api-keys/leases/{}/release", lease.as_str().unwrap()), Value::Null)
            .await
    };
    let (first, second) = (take(60).await, take(600).await);
    let full = take(60).await;
    assert_eq!(
        (&full["code"], &full["limit"]),
        (
            &json!("RATE_LIMITED"),
            &json!({"name": "tts", "kind": "concurrency", "limit": 2, "remaining": 0, "retry_after": 1})
        )
    );
    assert!(full.get("lease_id").is_none());
    // Another kind has no limit, and so no lease; and no place is taken without asking for one.
    let music = ask(&world, &key.secret, json!({"concurrency": "music"})).await;
    assert_eq!((&music["code"], music.get("lease_id")), (&json!("VALID"), None));
    assert_eq!(ask(&world, &key.secret, json!({})).await["code"], "VALID");
    // Not another workspace's to give back; and each is given back once.
    let foreign = world.foreign_admin().await;
    release(&world, &foreign, &second["lease_id"]).await.is(404, "lease_not_found");
    release(&world, &world.admin, &second["lease_id"]).await.ok();
    release(&world, &world.admin, &second["lease_id"]).await.is(404, "lease_not_found");
    // The same request gets the same place again.
    let again = json!({"concurrency": "tts", "request_id": "r"});
    let lease = ask(&world, &key.secret, again.clone()).await["lease_id"].clone();
    assert_eq!(ask(&world, &key.secret, again).await["lease_id"], lease);
    assert_eq!(take(60).await["code"], "RATE_LIMITED");
    // But not one that was given back: then it takes another, like everybody.
    release(&world, &world.admin, &lease).await.ok();
    let another = ask(&world, &key.secret, json!({"concurrency": "tts", "request_id": "r"})).await["lease_id"].clone();
    assert!(another.is_string() && another != lease);
    assert_eq!(take(60).await["code"], "RATE_LIMITED");
    world.clock.elapse(60);
    assert_eq!(take(60).await["code"], "VALID");
    release(&world, &world.admin, &first["lease_id"]).await.is(404, "lease_not_found");
    let body = json!({"api_key": key.secret, "concurrency": "sleep", "lease_seconds": 0});
    assert_eq!(
        world.call("POST", "/v1/api-keys/verify", body).await.blamed(),
        ["body.concurrency", "body.lease_seconds"]
    );
}

async fn a_limited_caller_is_told_429_and_never_invalid(engine: Engine) {
    let world = World::new(engine).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let limits = json!([{"name": "slow", "limit": 1, "window_seconds": 30}]);
    let key = world.key(&me, json!({"name": "k", "permissions": "all", "rate_limits": limits})).await;
    world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.ok();
    let limited = world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await;
    limited.is(429, "rate_limit_exceeded");
    assert_eq!(limited.headers["retry-after"], "30");
    assert!(limited.text.contains("slow"), "{}", limited.text);
}

async fn limits_are_read_and_changed_like_everything_else(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let limits = json!([{"name": "a", "limit": 1, "window_seconds": 60, "per": "key"}]);
    let key = world.key(&account, json!({"name": "k", "rate_limits": limits})).await;
    assert_eq!(world.get(&key.path()).await["rate_limits"], limits);
    let patch = async |change: Value| world.call("PATCH", &key.path(), json!({"rate_limits": change})).await;
    let wider = json!([{"name": "b", "limit": 5, "window_seconds": 1, "per": "lineage"}]);
    assert_eq!(patch(wider.clone()).await.ok()["rate_limits"], wider);
    for nothing in [json!("no_update"), Value::Null] {
        assert_eq!(patch(nothing).await.ok()["rate_limits"], wider);
    }
    for none in [json!("clear"), json!([])] {
        assert_eq!(patch(none).await.ok()["rate_limits"], Value::Null);
    }
    let bad = json!([
        {"name": "", "limit": -1, "window_seconds": 0, "per": "planet"},
        7,
        {"limit": 1_000_000_001_i64, "window_seconds": 31 * DAY + 1},
        {"name": "twice", "limit": 1, "window_seconds": 1},
        {"name": "twice", "limit": 1, "window_seconds": 1},
    ]);
    assert_eq!(
        patch(bad).await.blamed(),
        [
            "body.rate_limits.0.limit",
            "body.rate_limits.0.window_seconds",
            "body.rate_limits.0.per",
            "body.rate_limits.0.name",
            "body.rate_limits.1",
            "body.rate_limits.2.limit",
            "body.rate_limits.2.window_seconds",
            "body.rate_limits.2.name",
            "body.rate_limits.4.name",
        ]
    );
    let nine: Vec<_> = (0..9).map(|n| json!({"name": n.to_string(), "limit": 1, "window_seconds": 1})).collect();
    assert_eq!(patch(json!(nine)).await.blamed(), ["body.rate_limits"]);
    // They come back after a restart, and are under the row's seal.
    patch(wider.clone()).await.ok();
    let world = world.restarted(pepper()).await;
    assert_eq!(world.get(&key.path()).await["rate_limits"], wider);
    assert_eq!(ask(&world, &key.secret, json!({})).await["rate_limits"][0]["limit"], 5);
    world.tamper("UPDATE api_keys SET rate_limits = NULL WHERE rate_limits IS NOT NULL").await;
    let world = world.restarted(pepper()).await;
    assert_eq!(world.verify(&key.secret).await, "NOT_FOUND");
}

async fn a_charge_that_was_acknowledged_survives_a_node_that_ends_in_the_middle(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 1000})).await;
    let charge = async |world: &World, cost: u64| ask(world, &key.secret, json!({"cost": cost})).await;
    assert_eq!(charge(&world, 30).await["remaining"], 970);
    usage::flush(&world.app).await.unwrap();
    assert_eq!(charge(&world, 40).await["remaining"], 930);
    // No flush: as after a kill. On PostgreSQL the sweep knows by the lease's age.
    let world = world.killed(pepper()).await;
    world.clock.advance(200);
    stead_server::verify::credits::sweep(&world.app, true).await.unwrap();
    let after = charge(&world, 1).await;
    // 30 were told, the rest of the lease counts as gone: 40 of it had been charged.
    let lost = 40;
    assert_eq!(
        (&after["character_count"], &after["character_forfeited"], &after["remaining"]),
        (&json!(31), &json!(lost), &json!(1000 - 31 - lost))
    );
    let shown = world.get(&key.path()).await;
    assert_eq!((&shown["character_count"], &shown["character_forfeited"]), (&json!(31), &json!(lost)));
    assert_eq!(charge(&world, 1000 - 31 - lost).await["code"], "VALID");
    assert_eq!(charge(&world, 1).await["code"], "USAGE_EXCEEDED");
    usage::close(&world.app).await.unwrap();
    assert_eq!(world.count("SELECT CAST(SUM(used + forfeited) AS BIGINT) FROM credits").await, 1000);
    assert_eq!(world.count("SELECT CAST(SUM(leased) AS BIGINT) FROM credits").await, 0);
}

async fn what_a_clean_stop_gives_back_can_be_spent_again(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 100})).await;
    assert_eq!(ask(&world, &key.secret, json!({"cost": 1})).await["code"], "VALID");
    // A node that has the store to itself holds more: nobody misses it.
    let leased = if engine == Engine::Sqlite { 10 } else { 1 };
    assert_eq!(world.count("SELECT CAST(SUM(leased) AS BIGINT) FROM credits").await, leased);
    let world = world.restarted(pepper()).await;
    assert_eq!(world.count("SELECT CAST(SUM(leased) AS BIGINT) FROM credits").await, 0);
    let rest = ask(&world, &key.secret, json!({"cost": 99})).await;
    assert_eq!(
        (&rest["code"], &rest["remaining"], rest.get("character_forfeited")),
        (&json!("VALID"), &json!(0), None)
    );
    // A lease that nobody spends from is given back while the node runs, too.
    world.call("PATCH", &key.path(), json!({"character_limit": 1000})).await.ok();
    assert_eq!(ask(&world, &key.secret, json!({"cost": 1})).await["code"], "VALID");
    world.clock.elapse(30);
    usage::flush(&world.app).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM credit_leases").await, 0);
    assert_eq!(ask(&world, &key.secret, json!({"cost": 899})).await["remaining"], 0);
}

async fn the_last_credit_is_granted_once(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let account = world.account("ci").await;
    // The whole of it, 10,000 races, is `cargo xtask races`.
    for cap in [1, 3, 150] {
        let key = world.key(&account, json!({"name": "k", "character_limit": cap})).await;
        let mut asks = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (world, secret) = (world.clone(), key.secret.clone());
            asks.spawn(async move {
                let answer = ask(&world, &secret, json!({"cost": 1})).await;
                assert!(answer["valid"] == true || answer["code"] == "USAGE_EXCEEDED", "{answer}");
                answer["valid"] == true
            });
        }
        let granted = asks.join_all().await.into_iter().filter(|granted| *granted).count();
        assert_eq!(granted, cap.min(64));
    }
}

async fn months_begin_on_the_billing_day_in_its_zone(engine: Engine) {
    let world = World::with(engine, &[("billing-day", "23"), ("billing-zone", "Europe/Berlin")]).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 10})).await;
    let first = ask(&world, &key.secret, json!({"cost": 10})).await;
    // 23 November 2026, midnight in Berlin; it is noon of the 22nd in UTC.
    assert_eq!((&first["remaining"], &first["resets_at"]), (&json!(0), &json!(1_795_388_400)));
    world.clock.advance(11 * 3600 - 1);
    assert_eq!(ask(&world, &key.secret, json!({"cost": 1})).await["code"], "USAGE_EXCEEDED");
    world.clock.advance(1);
    let next = ask(&world, &key.secret, json!({"cost": 1})).await;
    assert_eq!(
        (&next["code"], &next["character_count"], &next["resets_at"]),
        (&json!("VALID"), &json!(1), &json!(1_797_980_400))
    );
    // The ended month's lease is closed with the next word to the store.
    usage::close(&world.app).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM credit_leases").await, 0);
    assert_eq!(world.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 11);
}
