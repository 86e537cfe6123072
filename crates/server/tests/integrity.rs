//! Rows edited, put back or cut behind the server's back; the pepper's change and its loss.

use crate::harness::{Engine, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_verify::pepper::Ring;

on_both_stores! {
    a_row_edited_behind_the_servers_back_refuses
    a_row_put_back_to_an_older_state_refuses
    an_edited_account_or_workspace_refuses_its_keys
    any_edit_gap_or_cut_of_the_audit_log_is_found
    keys_outlive_a_change_of_the_pepper
    an_edited_row_gets_no_seal_by_a_later_change
    a_retry_finds_its_outcome_across_a_change_of_the_pepper
    no_secret_is_in_the_database
}

async fn a_row_edited_behind_the_servers_back_refuses(engine: Engine) {
    let edits = [
        "UPDATE api_keys SET permissions = NULL WHERE name = 'k'",
        "UPDATE api_keys SET is_disabled = NOT is_disabled WHERE name = 'k'",
        "UPDATE api_keys SET expires_at = NULL WHERE name = 'k'",
        "UPDATE api_keys SET revoked_at = NULL, version = version + 1 WHERE name = 'k'",
        "UPDATE api_keys SET allowed_ips = NULL WHERE name = 'k'",
        "UPDATE api_keys SET character_limit = 1000000 WHERE name = 'k'",
        "UPDATE api_keys SET principal_id = (SELECT id FROM members) WHERE name = 'k'",
    ];
    for edit in edits {
        let world = World::new(engine).await;
        let account = world.account("ci").await;
        let body = json!({"name": "k", "permissions": ["text_to_speech", "api_keys_verify"], "expires_at": crate::harness::START.seconds() + 1000, "allowed_ips": ["127.0.0.1"], "character_limit": 5});
        let key = world.key(&account, body).await;
        assert_eq!(world.verify_with(json!({"ip": "127.0.0.1"}), &key.secret).await["code"], "VALID");
        match engine {
            // STRICT columns know no NOT on numbers that are truth values: 1 - x is the same there.
            Engine::Sqlite if edit.contains("NOT") => {
                world.tamper("UPDATE api_keys SET is_disabled = 1 - is_disabled WHERE name = 'k'").await;
            }
            _ => world.tamper(edit).await,
        }
        // A management call judges by the row itself, at once.
        world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.is(401, "invalid_api_key");
        let workspace_keys = world.app.store.read(|tx| stead_server::keys::broken_seals(tx, &pepper())).await.unwrap();
        assert_eq!(workspace_keys, std::slice::from_ref(&key.id), "{edit}");
        // A mirror that is filled anew leaves it out.
        let world = world.restarted(pepper()).await;
        assert_eq!(world.verify_with(json!({"ip": "127.0.0.1"}), &key.secret).await["code"], "NOT_FOUND", "{edit}");
    }
}

async fn a_row_put_back_to_an_older_state_refuses(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    world.tamper("CREATE TABLE copy AS SELECT * FROM api_keys").await;
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    world.tamper("DELETE FROM api_keys").await;
    world.tamper("INSERT INTO api_keys SELECT * FROM copy").await;
    let world = world.restarted(pepper()).await;
    assert_eq!(world.verify(&key.secret).await, "NOT_FOUND");
}

async fn an_edited_account_or_workspace_refuses_its_keys(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    world.call("PATCH", &format!("/v1/service-accounts/{}", key.account), json!({"is_enabled": false})).await.ok();
    world
        .tamper(if engine == Engine::Sqlite {
            "UPDATE service_accounts SET is_disabled = 0"
        } else {
            "UPDATE service_accounts SET is_disabled = FALSE"
        })
        .await;
    let world = world.restarted(pepper()).await;
    assert_eq!(world.verify(&key.secret).await, "ACCOUNT_DISABLED");
    world.tamper("UPDATE workspaces SET seats = 1000").await;
    let world = world.restarted(pepper()).await;
    world.call("GET", "/v1/user", Value::Null).await.is(401, "workspace_disabled");
}

async fn any_edit_gap_or_cut_of_the_audit_log_is_found(engine: Engine) {
    let edits = [
        ("UPDATE audit_log SET details = '{}' WHERE seq = 5", "row 5"),
        ("UPDATE audit_log SET at = at + 1 WHERE seq = 2", "row 2"),
        ("UPDATE audit_log SET actor = '{\"type\":\"system\"}' WHERE seq = 6", "row 6"),
        ("DELETE FROM audit_log WHERE seq = 3", "row 3"),
        ("DELETE FROM audit_log WHERE seq >= 6", "ends at row 5"),
        ("UPDATE audit_log SET hash = (SELECT hash FROM audit_log WHERE seq = 1) WHERE seq = 4", "row 4"),
    ];
    for (edit, found) in edits {
        let world = World::new(engine).await;
        world.account_with_key().await;
        world.account("other").await;
        let wrong = async || {
            let id = world.workspace.clone();
            let look = move |tx: &mut stead_server::store::Tx<'_>| {
                let workspace = stead_server::workspaces::find(tx, &id)?.unwrap();
                stead_server::audit::verify(tx, &pepper(), &workspace)
            };
            world.app.store.read(look).await.unwrap()
        };
        assert_eq!(wrong().await, Vec::<String>::new());
        world.tamper(edit).await;
        let told = wrong().await.join("\n");
        assert!(told.contains(found), "{edit}: {told}");
    }
}

async fn keys_outlive_a_change_of_the_pepper(engine: Engine) {
    let world = World::new(engine).await;
    let old = world.account_with_key().await;
    let both = || Ring::new([(1, [42; 32]), (2, [43; 32])]).unwrap();
    let world = world.restarted(both()).await;
    assert_eq!(world.verify(&old.secret).await, "VALID");
    let new = world.account_with_key().await;
    world.call("POST", &format!("{}/disable", old.path()), Value::Null).await.ok();
    let world = world.restarted(both()).await;
    assert_eq!((world.verify(&old.secret).await, world.verify(&new.secret).await), ("DISABLED".into(), "VALID".into()));
    // Without its pepper the database is refused: every key would be unknown.
    let failure = format!("{:?}", world.fails_to_restart(Ring::new([(3, [44; 32])]).unwrap()).await);
    assert!(failure.contains("pepper"), "{failure}");
}

async fn no_secret_is_in_the_database(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    world.verify(&key.secret).await;
    let dump = async |sql: &'static str| -> String {
        let rows = world.app.store.read(move |tx| tx.all(sql, &[], |row| Ok(format!("{row:?}")))).await.unwrap();
        rows.join("\n")
    };
    let mut text = String::new();
    for sql in [
        "SELECT * FROM workspaces",
        "SELECT * FROM members",
        "SELECT * FROM service_accounts",
        "SELECT * FROM api_keys",
        "SELECT * FROM key_digests",
        "SELECT * FROM audit_log",
        "SELECT * FROM idempotency",
        "SELECT * FROM change_log",
    ] {
        text += &dump(sql).await;
    }
    assert!(text.contains(&key.id));
    for secret in [&key.secret, &world.admin] {
        assert!(!text.contains(&secret[..12]) && !text.contains(&secret[12..44]));
    }
}

async fn an_edited_row_gets_no_seal_by_a_later_change(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": ["text_to_speech"]})).await;
    world.tamper("UPDATE api_keys SET permissions = NULL WHERE name = 'k'").await;
    for (method, path, body) in [
        ("PATCH", key.path(), json!({"name": "renamed"})),
        ("POST", format!("{}/disable", key.path()), Value::Null),
        ("POST", format!("{}/rotate", key.path()), json!({})),
    ] {
        world.call(method, &path, body).await.is(403, "not_trusted");
    }
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "REVOKED");
    world.tamper("UPDATE service_accounts SET email = 'x'").await;
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"name": "n"})).await.is(403, "not_trusted");
    world.call("DELETE", &format!("/v1/service-accounts/{account}"), Value::Null).await.ok();
}

async fn a_retry_finds_its_outcome_across_a_change_of_the_pepper(engine: Engine) {
    let world = World::new(engine).await;
    let path = format!("/v1/service-accounts/{}/api-keys", world.account("ci").await);
    let headers = [("content-type", "application/json"), ("idempotency-key", "a")];
    let create = async |world: &World| {
        world.send(World::request("POST", &path, &world.admin, &headers, r#"{"name":"k"}"#)).await.ok()
    };
    let first = create(&world).await;
    let world = world.restarted(Ring::new([(1, [42; 32]), (2, [43; 32])]).unwrap()).await;
    assert_eq!(create(&world).await, first);
    let listed = world.get(&path).await;
    assert_eq!(listed["api_keys"].as_array().unwrap().len(), 1);
}
