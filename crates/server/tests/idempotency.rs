use crate::harness::{DAY, Engine, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    a_retry_gets_the_first_outcome_and_makes_nothing_new
    a_secret_is_repeated_for_a_minute_then_named_as_shown
    a_key_is_bound_to_its_caller_its_route_and_its_body
    many_retries_at_once_make_one_key
    a_refused_request_is_judged_anew
    the_store_never_holds_the_secret
}

async fn post(world: &World, key: &str, idempotency: &str, path: &str, body: Value) -> crate::harness::Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", idempotency)];
    world.send(World::request("POST", path, key, &headers, body.to_string())).await
}

async fn a_retry_gets_the_first_outcome_and_makes_nothing_new(engine: Engine) {
    let world = World::new(engine).await;
    let first = post(&world, &world.admin, "a", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
    let again = post(&world, &world.admin, "a", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
    assert_eq!(first, again);
    assert_eq!(world.count("SELECT COUNT(*) FROM service_accounts").await, 1);
    let account = first["service_account_id"].as_str().unwrap();
    let key = world.key(account, json!({"name": "k"})).await;
    let rotate = format!("{}/rotate", key.path());
    let first = post(&world, &world.admin, "b", &rotate, json!({})).await.ok();
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    assert_eq!(post(&world, &world.admin, "b", &rotate, json!({})).await.ok(), first);
    // After a day the key is free again.
    world.clock.advance(DAY);
    let other = post(&world, &world.admin, "a", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
    assert_ne!(other["service_account_id"], json!(account));
}

async fn a_secret_is_repeated_for_a_minute_then_named_as_shown(engine: Engine) {
    let world = World::new(engine).await;
    let path = format!("/v1/service-accounts/{}/api-keys", world.account("ci").await);
    let create = async || post(&world, &world.admin, "a", &path, json!({"name": "k"})).await;
    let first = create().await.ok();
    world.clock.advance(59);
    assert_eq!(create().await.ok(), first);
    world.clock.advance(2);
    let late = create().await;
    late.is(409, "secret_already_shown");
    assert_eq!(late.body["detail"]["key_id"], first["key_id"]);
    assert_eq!(world.get(&path).await["api_keys"].as_array().unwrap().len(), 1);
}

async fn a_key_is_bound_to_its_caller_its_route_and_its_body(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let path = format!("/v1/service-accounts/{account}/api-keys");
    post(&world, &world.admin, "a", &path, json!({"name": "k"})).await.ok();
    post(&world, &world.admin, "a", &path, json!({"name": "other"})).await.is(422, "idempotency_key_reused");
    post(&world, &world.admin, "a", "/v1/service-accounts", json!({"name": "k"}))
        .await
        .is(422, "idempotency_key_reused");
    let (_, second) = world.person("b@example.com", stead_server::members::SeatType::WorkspaceAdmin).await;
    post(&world, &second, "a", &path, json!({"name": "k"})).await.ok();
    assert_eq!(world.get(&path).await["api_keys"].as_array().unwrap().len(), 2);
    for bad in ["", &"x".repeat(256)] {
        assert_eq!(
            post(&world, &world.admin, bad, &path, json!({"name": "k"})).await.blamed(),
            ["header.Idempotency-Key"]
        );
    }
}

async fn many_retries_at_once_make_one_key(engine: Engine) {
    let world = std::sync::Arc::new(World::new(engine).await);
    let path = format!("/v1/service-accounts/{}/api-keys", world.account("ci").await);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (world, path) = (world.clone(), path.clone());
        tries.spawn(async move { post(&world, &world.admin, "a", &path, json!({"name": "k"})).await.ok().to_string() });
    }
    let answers: std::collections::HashSet<_> = tries.join_all().await.into_iter().collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(world.get(&path).await["api_keys"].as_array().unwrap().len(), 1);
}

async fn a_refused_request_is_judged_anew(engine: Engine) {
    let world = World::with(engine, &[("max-accounts", "1")]).await;
    let first = world.account("first").await;
    let second = json!({"name": "second"});
    post(&world, &world.admin, "a", "/v1/service-accounts", second.clone()).await.is(400, "limit_reached");
    world.call("DELETE", &format!("/v1/service-accounts/{first}"), Value::Null).await.ok();
    post(&world, &world.admin, "a", "/v1/service-accounts", second).await.ok();
}

async fn the_store_never_holds_the_secret(engine: Engine) {
    let world = World::new(engine).await;
    let path = format!("/v1/service-accounts/{}/api-keys", world.account("ci").await);
    let made = post(&world, &world.admin, "a", &path, json!({"name": "k"})).await.ok();
    let secret = made["api_key"].as_str().unwrap().to_owned();
    let rows: Vec<(String, Option<Vec<u8>>)> = world
        .app
        .store
        .read(|tx| tx.all("SELECT answer, sealed_secret FROM idempotency", &[], |row| Ok((row.get(0)?, row.get(1)?))))
        .await
        .unwrap();
    let [(answer, Some(sealed))] = rows.as_slice() else { panic!("one outcome with a sealed secret") };
    assert!(!answer.contains(&secret) && !String::from_utf8_lossy(sealed).contains(&secret[6..20]));
    // After a minute even the sealed form is gone.
    let jobs = stead_server::jobs::start(&world.app);
    world.clock.advance(61);
    while world.count("SELECT COUNT(*) FROM idempotency WHERE sealed_secret IS NOT NULL").await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stead_server::jobs::finish(&world.app, jobs).await;
}
