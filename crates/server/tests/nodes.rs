//! Two nodes on one PostgreSQL: each follows what the other commits.

use crate::harness::{Engine, Key, World, pepper};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Asks a node until it gives the wanted answer; how long that took.
async fn until(node: &World, key: &Key, code: &str) -> Duration {
    let started = Instant::now();
    loop {
        let reply = node.call("POST", "/v1/api-keys/verify", json!({ "api_key": key.secret })).await;
        // While a mirror is filled anew the answer is that there is none, never "no such key".
        assert!(matches!(reply.status.as_u16(), 200 | 503), "{}", reply.text);
        let answer = reply.body["code"].as_str().unwrap_or("nothing").to_owned();
        assert!(answer != "NOT_FOUND" || code == "VALID");
        if answer == code {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "still {answer}, not {code}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_within_a_second_what_another_has_changed() {
    let here = World::new(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let jobs = (stead_server::jobs::start(&here.app), stead_server::jobs::start(&there.app));
    let mut slowest = Duration::ZERO;
    let key = here.account_with_key().await;
    slowest = slowest.max(until(&there, &key, "VALID").await);
    here.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    slowest = slowest.max(until(&there, &key, "DISABLED").await);
    there.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    slowest = slowest.max(until(&here, &key, "VALID").await);
    here.call("PATCH", &format!("/v1/service-accounts/{}", key.account), json!({"is_enabled": false})).await.ok();
    slowest = slowest.max(until(&there, &key, "ACCOUNT_DISABLED").await);
    there.call("PATCH", &format!("/v1/service-accounts/{}", key.account), json!({"is_enabled": true})).await.ok();
    slowest = slowest.max(until(&here, &key, "VALID").await);
    for _ in 0..20 {
        let next = here.key(&key.account, json!({"name": "k"})).await;
        until(&there, &next, "VALID").await;
        let revoked = there.call("DELETE", &next.path(), Value::Null).await;
        assert_eq!(there.verify(&next.secret).await, "REVOKED");
        // Asked for with the answer's revision, the other node never decides by an older state.
        let revision = revoked.headers["x-stead-revision"].to_str().unwrap().to_owned();
        let ask = json!({"at_least": revision});
        assert_eq!(here.verify_with(ask, &next.secret).await["code"], "REVOKED");
    }
    eprintln!("the slowest was seen after {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    stead_server::jobs::finish(&here.app, jobs.0).await;
    stead_server::jobs::finish(&there.app, jobs.1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_two_nodes_lose_nothing() {
    let here = std::sync::Arc::new(World::with(Engine::Postgres, &[("max-keys-per-account", "60")]).await);
    let there = std::sync::Arc::new(here.another(pepper()).await);
    let account = here.account("ci").await;
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let node = if n % 2 == 0 { here.clone() } else { there.clone() };
        let path = format!("/v1/service-accounts/{account}/api-keys");
        writers.spawn(async move { node.call("POST", &path, json!({"name": "k"})).await.status.as_u16() });
    }
    let answers = writers.join_all().await;
    // Counted and made in one step: exactly as many as there may be.
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 60);
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 40);
    // Every commit has its own place in the log, without a gap.
    let (count, last) = (
        here.count("SELECT COUNT(*) FROM change_log").await,
        here.count("SELECT CAST(SUM(seq) AS BIGINT) FROM change_clock").await,
    );
    assert_eq!(count, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_for_too_long_fills_its_mirror_anew() {
    let here = World::new(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let key = here.account_with_key().await;
    here.tamper("DELETE FROM change_log").await;
    let jobs = stead_server::jobs::start(&there.app);
    until(&there, &key, "VALID").await;
    stead_server::jobs::finish(&there.app, jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_of_two_nodes_add_up() {
    let here = World::new(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let jobs = stead_server::jobs::start(&there.app);
    let account = here.account("ci").await;
    let key = here.key(&account, json!({"name": "k", "character_limit": 100})).await;
    until(&there, &key, "VALID").await;
    here.verify_with(json!({"cost": 10}), &key.secret).await;
    there.verify_with(json!({"cost": 20}), &key.secret).await;
    for node in [&here, &there, &here] {
        stead_server::verify::usage::flush(&node.app).await.unwrap();
    }
    assert_eq!(here.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 30);
    here.verify_with(json!({"cost": 1}), &key.secret).await;
    stead_server::verify::usage::flush(&here.app).await.unwrap();
    assert_eq!(here.verify_with(json!({}), &key.secret).await["character_count"], 31);
    stead_server::jobs::finish(&there.app, jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_word_from_the_store_says_so_and_stops_in_the_end() {
    let world = World::new(Engine::Postgres).await;
    let key = world.account_with_key().await;
    let ask = async || world.call("POST", "/v1/api-keys/verify", json!({"api_key": key.secret})).await;
    assert_eq!(ask().await.ok().get("stale_seconds"), None);
    world.clock.elapse(6);
    assert_eq!(ask().await.ok()["stale_seconds"], 6);
    world.clock.elapse(55);
    ask().await.is(503, "not_yet_available");
    // Word from the store mends it.
    let jobs = stead_server::jobs::start(&world.app);
    while ask().await.status != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stead_server::jobs::finish(&world.app, jobs).await;
}

/// After a failover to a standby that was behind, the clock stands where it stood before, and other changes take the
/// numbers of those that were lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_went_back_in_time_fills_the_mirror_anew() {
    let world = World::new(Engine::Postgres).await;
    let key = world.account_with_key().await;
    let jobs = stead_server::jobs::start(&world.app);
    world.tamper("CREATE TABLE before AS SELECT * FROM api_keys").await;
    world.tamper("CREATE TABLE clock_before AS SELECT * FROM change_clock").await;
    world.tamper("CREATE TABLE workspaces_before AS SELECT * FROM workspaces").await;
    let disabled = world.call("POST", &format!("{}/disable", key.path()), Value::Null).await;
    let revision = disabled.headers["x-stead-revision"].to_str().unwrap().to_owned();
    assert_eq!(world.verify_with(json!({"at_least": revision}), &key.secret).await["code"], "DISABLED");
    world
        .tamper(
            "WITH a AS (UPDATE change_clock c SET seq = b.seq FROM clock_before b WHERE b.bucket = c.bucket), \
             l AS (DELETE FROM change_log g USING clock_before b WHERE g.bucket = b.bucket AND g.seq > b.seq), \
             k AS (UPDATE api_keys k SET is_disabled = b.is_disabled, version = b.version, seal = b.seal FROM before b WHERE b.id = k.id) \
             UPDATE workspaces w SET version = b.version, seal = b.seal, audit_seq = b.audit_seq, audit_head = b.audit_head \
             FROM workspaces_before b WHERE b.id = w.id",
        )
        .await;
    until(&world, &key, "VALID").await;
    stead_server::jobs::finish(&world.app, jobs).await;
}
