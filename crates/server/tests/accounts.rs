use crate::harness::{Engine, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    an_account_is_made_listed_read_changed_and_deleted
    a_disabled_account_refuses_its_keys_until_it_is_enabled
    one_more_than_a_workspace_may_have_is_refused
    one_seat_has_no_service_accounts_but_can_withdraw_keys
    every_change_has_its_audit_row
}

async fn an_account_is_made_listed_read_changed_and_deleted(engine: Engine) {
    let world = World::new(engine).await;
    let made = world.call("POST", "/v1/service-accounts", json!({"name": "ci", "description": "builds"})).await.ok();
    let id = made["service-account-user-id"].as_str().unwrap().to_owned();
    assert_eq!((&made["service_account_user_id"], &made["service_account_id"]), (&json!(id), &json!(id)));
    let second = world.account("second").await;

    let listed = world.get("/v1/service-accounts").await;
    assert_eq!(listed["service-accounts"], listed["service_accounts"]);
    let names: Vec<_> =
        listed["service_accounts"].as_array().unwrap().iter().map(|account| account["name"].clone()).collect();
    assert_eq!(names, ["ci", "second"]);

    let path = format!("/v1/service-accounts/{id}");
    let account = world.get(&path).await;
    assert_eq!(
        (&account["name"], &account["description"], &account["api_key_count"]),
        (&json!("ci"), &json!("builds"), &json!(0))
    );
    assert_eq!(account["api-keys"], json!([]));
    assert!(account["email"].as_str().unwrap().contains('@'));

    let changed = world.call("PATCH", &path, json!({"name": "builds", "description": ""})).await.ok();
    assert_eq!((&changed["name"], &changed["description"]), (&json!("builds"), &Value::Null));

    let key = world.key(&id, json!({"name": "k", "permissions": []})).await;
    world.call("DELETE", &path, Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "REVOKED");
    world.call("GET", &path, Value::Null).await.is(404, "service_account_not_found");
    world.call("GET", &key.path(), Value::Null).await.is(404, "service_account_not_found");
    assert_eq!(world.get("/v1/service-accounts").await["service_accounts"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(&format!("/v1/service-accounts/{second}")).await["name"], "second");
}

async fn a_disabled_account_refuses_its_keys_until_it_is_enabled(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let path = format!("/v1/service-accounts/{}", key.account);
    world.call("PATCH", &path, json!({"is_enabled": false})).await.ok();
    assert_eq!(world.verify(&key.secret).await, "ACCOUNT_DISABLED");
    world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.is(401, "account_disabled");
    // What is made meanwhile is refused, too.
    let later = world.key(&key.account, json!({"name": "later"})).await;
    assert_eq!(world.verify(&later.secret).await, "ACCOUNT_DISABLED");
    world.call("PATCH", &path, json!({"is_enabled": true})).await.ok();
    assert_eq!((world.verify(&key.secret).await, world.verify(&later.secret).await), ("VALID".into(), "VALID".into()));
}

async fn one_more_than_a_workspace_may_have_is_refused(engine: Engine) {
    let world = World::with(engine, &[("max-accounts", "3"), ("max-keys-per-account", "2")]).await;
    let account = world.account("one").await;
    world.account("two").await;
    world.account("three").await;
    world.call("POST", "/v1/service-accounts", json!({"name": "four"})).await.is(400, "limit_reached");
    assert_eq!(world.count("SELECT COUNT(*) FROM service_accounts").await, 3);

    let first = world.key(&account, json!({"name": "a"})).await;
    world.key(&account, json!({"name": "b"})).await;
    let path = format!("/v1/service-accounts/{account}/api-keys");
    world.call("POST", &path, json!({"name": "c"})).await.is(400, "limit_reached");
    // Revoked ones and deleted ones don't count.
    world.call("DELETE", &first.path(), Value::Null).await.ok();
    world.key(&account, json!({"name": "c"})).await;
    world.call("DELETE", &format!("/v1/service-accounts/{account}"), Value::Null).await.ok();
    world.account("four").await;
}

async fn one_seat_has_no_service_accounts_but_can_withdraw_keys(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    world.as_system(|m| m.workspace.seats = 1).await;
    world
        .as_system(|m| {
            // The row is written with the next change of the workspace.
            m.workspace.seats = 1;
            m.workspace_changed();
            m.audit(
                "Workspace Metadata Update",
                stead_server::feed::mutation::Target::new("workspace", "", ""),
                json!({}),
            );
        })
        .await;
    world.call("GET", "/v1/service-accounts", Value::Null).await.is(403, "feature_not_available");
    world.call("POST", "/v1/service-accounts", json!({"name": "x"})).await.is(403, "feature_not_available");
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.is(403, "feature_not_available");
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "REVOKED");
}

async fn every_change_has_its_audit_row(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let account = format!("/v1/service-accounts/{}", key.account);
    world.call("PATCH", &account, json!({"name": "new name"})).await.ok();
    world.call("PATCH", &account, json!({"name": "new name"})).await.ok();
    world.call("PATCH", &key.path(), json!({"permissions": ["text_to_speech"]})).await.ok();
    world.call("PATCH", &key.path(), json!({})).await.ok();
    world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    world.call("POST", &format!("{}/rotate/undo", key.path()), json!({})).await.ok();
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    world.call("DELETE", &account, Value::Null).await.ok();
    let workspace = world.workspace.clone();
    let rows = world.app.store.read(move |tx| stead_server::audit::recent(tx, &workspace, 100)).await.unwrap();
    let activities: Vec<_> = rows.iter().rev().map(|row| row.activity.as_str()).collect();
    assert_eq!(
        activities,
        [
            "Workspace Creation",
            "User Creation",
            "User API Key Creation",
            "Service Account Creation",
            "API Key Creation",
            "Service Account Update",
            "API Key Update",
            "API Key Creation",
            "API Key Update",
            "API Key Update",
            "API Key Deletion",
            "API Key Update",
            "API Key Deletion",
            "Service Account Deletion",
        ]
    );
    // Who, from where, to what; and of the change both values.
    let update = rows.iter().find(|row| row.details.contains("text_to_speech")).unwrap();
    assert!(update.actor.contains("127.0.0.1") && update.actor.contains("owner@localhost"), "{}", update.actor);
    assert!(update.target.contains(&key.id), "{}", update.target);
    assert_eq!(update.details, r#"{"permissions":{"from":null,"to":["text_to_speech"]}}"#);
    assert!(rows.iter().all(|row| !format!("{row:?}").contains(&key.secret)));
}
