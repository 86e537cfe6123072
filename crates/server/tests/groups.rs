//! Groups (wire §9.1–9.3): who is in them and what they give.

use crate::harness::{Engine, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::members::SeatType;

on_both_stores! {
    a_group_is_made_changed_searched_and_deleted
    a_group_gives_its_permissions_while_one_is_in_it
    everybody_is_in_the_default_group
    who_is_no_admin_manages_the_groups_they_are_in
    a_restricted_key_hands_on_no_right_that_it_lacks
    whose_credits_are_limited_makes_nothing_beyond
    mistakes_are_told
    a_group_or_a_member_edited_behind_the_servers_back_gives_nothing
}

const GROUPS: &str = "/v1/workspace/groups";

async fn make(world: &World, name: &str, permissions: &[&str]) -> String {
    let group = world.call("POST", GROUPS, json!({"name": name, "permissions": permissions})).await.ok();
    group["id"].as_str().unwrap().to_owned()
}

async fn email(world: &World, account: &str) -> String {
    let account = world.get(&format!("/v1/service-accounts/{account}")).await;
    account["email"].as_str().unwrap().to_owned()
}

async fn member(world: &World, group: &str, how: &str, email: &str) -> Value {
    world.call("POST", &format!("{GROUPS}/{group}/{how}"), json!({"email": email})).await.ok()
}

async fn a_group_is_made_changed_searched_and_deleted(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let group = make(&world, "Builders", &["text_to_speech", "webhooks_manage"]).await;
    let robot = email(&world, &key.account).await;
    assert_eq!(member(&world, &group, "members", &robot.to_uppercase()).await, json!({"status": "ok"}));
    let all = world.get(GROUPS).await;
    let shown = &all[&group];
    assert_eq!(shown["members"], json!([key.account]));
    assert_eq!((&shown["name"], &shown["id"]), (&json!("Builders"), &json!(group)));
    assert_eq!(shown["permissions"], json!(["text_to_speech", "webhooks_manage"]));
    assert_eq!(all["default"]["members"].as_array().unwrap().len(), 2);
    let found = world.get(&format!("{GROUPS}/search?name=BUILD")).await;
    assert_eq!(found, json!([{"name": "Builders", "id": group, "members_emails": [robot]}]));
    assert_eq!(world.get(&format!("{GROUPS}/search?name=nobody")).await, json!([]));
    let path = format!("{GROUPS}/{group}");
    let change = json!({"name": "Makers", "permissions": [], "group_usage_limit": 500});
    let changed = world.call("PATCH", &path, change).await.ok();
    assert_eq!((&changed["name"], &changed["group_usage_limit"]), (&json!("Makers"), &json!(500)));
    assert_eq!(world.call("PATCH", &path, json!({})).await.ok(), changed);
    let unlimited = world.call("PATCH", &path, json!({"group_usage_limit": "unlimited"})).await.ok();
    assert_eq!(unlimited["group_usage_limit"], Value::Null);
    // What is there once is not there twice, and what is gone is gone.
    world.call("POST", GROUPS, json!({"name": "MAKERS"})).await.is(400, "resource_already_exists");
    assert_eq!(member(&world, &group, "members/remove", &robot).await, json!({"status": "ok"}));
    assert_eq!(member(&world, &group, "members/remove", &robot).await, json!({"status": "ok"}));
    member(&world, &group, "members", &robot).await;
    world.call("DELETE", &path, Value::Null).await.ok();
    world.call("GET", &path, Value::Null).await.is(404, "group_not_found");
    let account = world.get(&format!("/v1/service-accounts/{}", key.account)).await;
    assert_eq!(account["groups"], json!([]));
    // A new group of the same name starts with nobody.
    let again = make(&world, "Makers", &[]).await;
    assert_eq!(world.get(GROUPS).await[&again]["members"], json!([]));
}

async fn a_group_gives_its_permissions_while_one_is_in_it(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let robot = email(&world, &key.account).await;
    let (readers, managers) =
        (make(&world, "a", &["audit_log_read"]).await, make(&world, "b", &["service_accounts_manage"]).await);
    let may = async || world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.status == 200;
    assert!(!may().await);
    member(&world, &readers, "members", &robot).await;
    assert!(!may().await);
    member(&world, &managers, "members", &robot).await;
    assert!(may().await, "of several groups all permissions together");
    member(&world, &readers, "members/remove", &robot).await;
    assert!(may().await);
    world.call("PATCH", &format!("{GROUPS}/{managers}"), json!({"permissions": []})).await.ok();
    assert!(!may().await);
    world
        .call("PATCH", &format!("{GROUPS}/{managers}"), json!({"permissions": ["service_accounts_manage"]}))
        .await
        .ok();
    assert!(may().await);
    let world = world.restarted(pepper()).await;
    let may = async || world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.status == 200;
    assert!(may().await);
    world.call("DELETE", &format!("{GROUPS}/{managers}"), Value::Null).await.ok();
    assert!(!may().await);
}

async fn everybody_is_in_the_default_group(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let robot = email(&world, &key.account).await;
    for how in ["members", "members/remove"] {
        let path = format!("{GROUPS}/default/{how}");
        world.call("POST", &path, json!({"email": robot})).await.is(400, "everybodys_group");
    }
    world.call("DELETE", &format!("{GROUPS}/default"), Value::Null).await.is(400, "everybodys_group");
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    let change = json!({"permissions": ["service_accounts_manage"]});
    world.call("PATCH", &format!("{GROUPS}/default"), change).await.ok();
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.ok();
}

async fn who_is_no_admin_manages_the_groups_they_are_in(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let robot = email(&world, &key.account).await;
    let (_, secret) = world.person("lead@example.com", SeatType::WorkspaceMember).await;
    let (team, power) = (make(&world, "team", &["group_members_manage"]).await, make(&world, "power", &[]).await);
    let add = async |group: &str, email: &str| {
        world.call_as(&secret, "POST", &format!("{GROUPS}/{group}/members"), json!({"email": email})).await
    };
    add(&team, &robot).await.is(403, "insufficient_permissions");
    member(&world, &team, "members", "lead@example.com").await;
    add(&team, &robot).await.ok();
    // Neither others nor oneself into a group that one isn't in: it may give what one doesn't have.
    add(&power, &robot).await.is(403, "forbidden");
    add(&power, "lead@example.com").await.is(403, "forbidden");
    world.call_as(&secret, "POST", GROUPS, json!({"name": "mine"})).await.is(403, "forbidden");
    world.call_as(&secret, "PATCH", &format!("{GROUPS}/{team}"), json!({"permissions": []})).await.is(403, "forbidden");
    // A key needs the permission, too.
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let reader = world.key(&me, json!({"name": "reader", "permissions": ["workspace_read"]})).await;
    world.call_as(&reader.secret, "GET", GROUPS, Value::Null).await.ok();
    let path = format!("{GROUPS}/{team}/members");
    world.call_as(&reader.secret, "POST", &path, json!({"email": robot})).await.is(403, "insufficient_permissions");
}

async fn mistakes_are_told(engine: Engine) {
    let world = World::new(engine).await;
    let group = make(&world, "g", &[]).await;
    for (body, blamed) in [
        (json!({}), vec!["body.name"]),
        (json!({"name": ""}), vec!["body.name"]),
        (json!({"name": "x".repeat(129)}), vec!["body.name"]),
        (json!({"name": "a\u{202e}b"}), vec!["body.name"]),
        (json!({"name": 7, "permissions": "all"}), vec!["body.name", "body.permissions"]),
        (
            json!({"name": "n", "permissions": ["text_to_speech", "root", 5]}),
            vec!["body.permissions.1", "body.permissions.2"],
        ),
        (json!({"name": "n", "group_usage_limit": -1}), vec!["body.group_usage_limit"]),
        (json!({"name": "n", "group_usage_limit": "none"}), vec!["body.group_usage_limit"]),
    ] {
        assert_eq!(world.call("POST", GROUPS, body.clone()).await.blamed(), blamed, "{body}");
    }
    let path = format!("{GROUPS}/{group}/members");
    assert_eq!(world.call("POST", &path, json!({})).await.blamed(), ["body.email"]);
    assert_eq!(world.call("POST", &path, json!({"email": ["a"]})).await.blamed(), ["body.email"]);
    world.call("POST", &path, json!({"email": "nobody@example.com"})).await.is(404, "user_not_found");
    assert_eq!(world.call("GET", &format!("{GROUPS}/search"), Value::Null).await.blamed(), ["query.name"]);
    assert_eq!(world.get(GROUPS).await.as_object().unwrap().len(), 2);
}

async fn a_group_or_a_member_edited_behind_the_servers_back_gives_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let group = make(&world, "harmless", &[]).await;
    member(&world, &group, "members", &email(&world, &key.account).await).await;
    world
        .tamper("UPDATE member_groups SET permissions = '[\"service_accounts_manage\"]' WHERE name = 'harmless'")
        .await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    // Nor does a change give the forged row a seal.
    let change = json!({"name": "still harmless"});
    world.call("PATCH", &format!("{GROUPS}/{group}"), change).await.is(403, "not_trusted");
    world.call("DELETE", &format!("{GROUPS}/{group}"), Value::Null).await.ok();
    make(&world, "mighty", &["service_accounts_manage"]).await;
    world.tamper("UPDATE service_accounts SET groups = (SELECT '[\"' || id || '\"]' FROM member_groups WHERE name = 'mighty')").await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(401, "account_disabled");
}

async fn a_restricted_key_hands_on_no_right_that_it_lacks(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let robot = email(&world, &key.account).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let permissions = ["group_members_manage", "workspace_write", "workspace_members_invite"];
    let narrow = world.key(&me, json!({"name": "narrow", "permissions": permissions})).await.secret;
    let call = async |method: &str, path: &str, body: Value| world.call_as(&narrow, method, path, body).await;
    let mighty = make(&world, "mighty", &["service_accounts_manage"]).await;
    let join = format!("{GROUPS}/{mighty}/members");
    let refused = call("POST", &join, json!({"email": robot})).await;
    refused.is(403, "insufficient_permissions");
    assert_eq!(refused.body["detail"]["missing_permissions"], json!(["service_account_write"]));
    let gives = json!({"permissions": ["text_to_speech", "audit_log_read"]});
    call("PATCH", &format!("{GROUPS}/default"), gives.clone()).await.is(403, "insufficient_permissions");
    call("POST", GROUPS, json!({"name": "new", "permissions": ["webhooks_manage"]}))
        .await
        .is(403, "insufficient_permissions");
    let invite = json!({"email": "ann@example.com", "group_ids": [mighty]});
    call("POST", "/v1/workspace/invites/add", invite).await.is(403, "insufficient_permissions");
    // What it holds itself, or what lets nobody manage, it may.
    let gives = json!({"permissions": ["text_to_speech", "group_members_manage", "all_resources_access"]});
    call("PATCH", &format!("{GROUPS}/{mighty}"), gives).await.ok();
    call("POST", &join, json!({"email": robot})).await.ok();
    // To take away needs no right.
    call("PATCH", &format!("{GROUPS}/{mighty}"), json!({"permissions": []})).await.ok();
}

async fn whose_credits_are_limited_makes_nothing_beyond(engine: Engine) {
    let world = World::new(engine).await;
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    let rights = ["service_accounts_manage", "workspace_members_invite", "group_members_manage"];
    let team = make(&world, "team", &rights).await;
    member(&world, &team, "members", "manager@example.com").await;
    let key = world.account_with_key().await;
    let keys = format!("/v1/service-accounts/{}/api-keys", key.account);
    let call = async |path: &str, body: Value| world.call_as(&secret, "POST", path, body).await;
    call(&keys, json!({"name": "before"})).await.ok();
    let limit = format!("/v1/workspace/members/{manager}/usage-limit");
    world.call("PUT", &limit, json!({"usage_limit": 100})).await.ok();
    let all = async |code: Option<&str>| {
        for (path, body) in [
            (keys.as_str(), json!({"name": "k"})),
            ("/v1/service-accounts", json!({"name": "mine"})),
            ("/v1/workspace/invites/add", json!({"email": "alias@example.com"})),
        ] {
            match code {
                Some(code) => call(path, body).await.is(403, code),
                None => drop(call(path, body).await.ok()),
            }
        }
    };
    all(Some("stronger_than_caller")).await;
    // One's own keys are under one's own limit.
    call(&format!("/v1/service-accounts/{manager}/api-keys"), json!({"name": "own"})).await.ok();
    world.call("PUT", &limit, json!({"usage_limit": null})).await.ok();
    all(None).await;
    // The same through a group; nor does one get out of it by oneself, or with others.
    world.call("PATCH", &format!("{GROUPS}/{team}"), json!({"group_usage_limit": 100})).await.ok();
    all(Some("stronger_than_caller")).await;
    let leave = json!({"email": "manager@example.com"});
    call(&format!("{GROUPS}/{team}/members/remove"), leave).await.is(403, "forbidden");
    member(&world, &team, "members", &email(&world, &key.account).await).await;
    call(&keys, json!({"name": "under the same limit"})).await.ok();
    // A limit that was taken off behind the server's back leaves nothing.
    let charge = async |world: &World| world.verify_with(json!({"cost": 1}), &key.secret).await["code"].clone();
    assert_eq!(charge(&world).await, "VALID");
    world.tamper("UPDATE member_groups SET usage_limit = NULL WHERE name = 'team'").await;
    let world = world.restarted(pepper()).await;
    assert_eq!(charge(&world).await, "USAGE_EXCEEDED");
    assert_eq!(world.verify(&key.secret).await, "VALID");
}
