//! People of a workspace: listed, locked, promoted, removed; seats; what a month may cost them.

use crate::harness::{Engine, Reply, World};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::members::SeatType::{WorkspaceAdmin, WorkspaceLiteMember, WorkspaceMember};

on_both_stores! {
    the_list_has_people_and_no_service_accounts
    a_locked_member_is_shut_out_and_comes_back
    a_seat_is_changed_under_either_name
    the_owner_stays_an_admin
    seats_are_counted_where_somebody_sits_down
    unlocking_takes_a_basic_seat_where_that_is_allowed
    nobody_raises_a_key_beyond_the_own_one
    removing_a_member_ends_what_they_hold
    who_may_remove_whom
    a_usage_limit_is_set_and_removed
    an_edited_member_can_only_be_removed
    a_basic_seat_makes_no_keys
    who_am_i
    what_is_wrong_with_a_body_is_told
}

const MEMBERS: &str = "/v1/workspace/members";

async fn update(world: &World, body: Value) -> Reply {
    world.call("POST", MEMBERS, body).await
}

async fn member(world: &World, email: &str) -> Value {
    let list = world.get(MEMBERS).await;
    let found = list.as_array().unwrap().iter().find(|member| member["email"] == email);
    found.unwrap_or_else(|| panic!("{email} is not in {list}")).clone()
}

/// The activities of the audit log, oldest first.
async fn activities(world: &World) -> Vec<String> {
    let sql = "SELECT activity FROM audit_log ORDER BY seq";
    world.app.store.read(move |tx| tx.all(sql, &[], |row| row.get(0))).await.unwrap()
}

async fn the_list_has_people_and_no_service_accounts(engine: Engine) {
    let world = World::new(engine).await;
    world.account("ci").await;
    let (id, secret) = world.person("ann@example.com", WorkspaceLiteMember).await;
    let group = world.group(&[], vec![id.clone()]).await;
    let list = world.call_as(&secret, "GET", MEMBERS, Value::Null).await.ok();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["is_owner"], &list[0]["seat_type"]), (&json!(true), &json!("workspace_admin")));
    let mut ann = list[1].clone();
    assert!(ann["created_at_unix"].take().is_i64());
    assert_eq!(
        ann,
        json!({
            "user_id": id, "email": "ann@example.com", "first_name": null, "seat_type": "workspace_lite_member",
            "is_owner": false, "is_locked": false, "group_ids": [group], "usage_limit": null, "created_at_unix": null,
        })
    );
    update(&world, json!({"email": "ann@example.com", "is_locked": true})).await.ok();
    assert_eq!(member(&world, "ann@example.com").await["is_locked"], true);
}

async fn a_locked_member_is_shut_out_and_comes_back(engine: Engine) {
    let world = World::new(engine).await;
    let (id, secret) = world.person("ann@example.com", WorkspaceMember).await;
    for _ in 0..2 {
        let answer = update(&world, json!({"email": "Ann@Example.com", "is_locked": true})).await.ok();
        assert_eq!(answer, json!({"status": "ok"}));
    }
    assert_eq!(world.verify(&secret).await, "ACCOUNT_DISABLED");
    world.call_as(&secret, "GET", "/v1/user", Value::Null).await.is(401, "account_disabled");
    update(&world, json!({"email": "ann@example.com", "is_locked": false})).await.ok();
    assert_eq!(world.verify(&secret).await, "VALID");
    // Locking what is locked is no change.
    let updates = activities(&world).await.iter().filter(|activity| *activity == "Workspace Member Update").count();
    assert_eq!(updates, 2);
    update(&world, json!({"email": "nobody@example.com", "is_locked": true})).await.is(404, "user_not_found");
    let theirs = world.foreign_admin().await;
    let body = json!({"email": "ann@example.com", "is_locked": true});
    world.call_as(&theirs, "POST", MEMBERS, body).await.is(404, "user_not_found");
    // A service account is disabled by its own route.
    let email = world.get(&format!("/v1/service-accounts/{}", world.account("ci").await)).await["email"].clone();
    update(&world, json!({"email": email, "is_locked": true})).await.is(404, "user_not_found");
    assert!(id.as_str().starts_with("usr_"));
}

async fn a_seat_is_changed_under_either_name(engine: Engine) {
    let world = World::new(engine).await;
    let (_, secret) = world.person("ann@example.com", WorkspaceMember).await;
    let seat = async || member(&world, "ann@example.com").await["seat_type"].as_str().unwrap().to_owned();
    world.call_as(&secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    update(&world, json!({"email": "ann@example.com", "workspace_role": "workspace_admin"})).await.ok();
    assert_eq!(seat().await, "workspace_admin");
    world.call_as(&secret, "GET", "/v1/service-accounts", Value::Null).await.ok();
    let both = json!({"email": "ann@example.com", "workspace_seat_type": "workspace_lite_member", "workspace_role": "workspace_lite_member"});
    update(&world, both).await.ok();
    assert_eq!(seat().await, "workspace_lite_member");
    world.call_as(&secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    // What a basic seat has already goes on.
    assert_eq!(world.verify(&secret).await, "VALID");
    let differ = json!({"email": "ann@example.com", "workspace_seat_type": "workspace_admin", "workspace_role": "workspace_member"});
    assert_eq!(update(&world, differ).await.blamed(), ["body.workspace_role"]);
    // Null and absent are "unchanged".
    let nothing =
        json!({"email": "ann@example.com", "is_locked": null, "workspace_seat_type": null, "workspace_role": null});
    update(&world, nothing).await.ok();
    assert_eq!(seat().await, "workspace_lite_member");
}

async fn the_owner_stays_an_admin(engine: Engine) {
    let world = World::new(engine).await;
    let (_, admin) = world.person("admin@example.com", WorkspaceAdmin).await;
    for key in [&world.admin, &admin] {
        for change in [json!({"is_locked": true}), json!({"workspace_seat_type": "workspace_member"})] {
            let mut body = json!({"email": "owner@localhost"});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            world.call_as(key, "POST", MEMBERS, body).await.is(403, "forbidden");
        }
        world.call_as(key, "DELETE", MEMBERS, json!({"email": "owner@localhost"})).await.is(403, "forbidden");
    }
    // Another admin may step down, and then no longer step up.
    let down = json!({"email": "admin@example.com", "workspace_seat_type": "workspace_member"});
    world.call_as(&admin, "POST", MEMBERS, down).await.ok();
    let up = json!({"email": "admin@example.com", "workspace_seat_type": "workspace_admin"});
    world.call_as(&admin, "POST", MEMBERS, up).await.is(403, "forbidden");
}

async fn seats_are_counted_where_somebody_sits_down(engine: Engine) {
    let world = World::with(engine, &[("seats", "2")]).await;
    world.person("ann@example.com", WorkspaceMember).await;
    world.person("lite@example.com", WorkspaceLiteMember).await;
    let seated = json!({"email": "lite@example.com", "workspace_seat_type": "workspace_member"});
    update(&world, seated.clone()).await.is(400, "limit_reached");
    // From seat to seat of the same kind is no new one.
    update(&world, json!({"email": "ann@example.com", "workspace_seat_type": "workspace_admin"})).await.ok();
    update(&world, json!({"email": "ann@example.com", "is_locked": true})).await.ok();
    update(&world, seated).await.ok();
    let back = json!({"email": "ann@example.com", "is_locked": false});
    let refused = update(&world, back.clone()).await;
    refused.is(400, "limit_reached");
    assert!(refused.text.contains("no full seat"));
    // A seat can be chosen for somebody who is locked: it is taken when they come back.
    update(&world, json!({"email": "ann@example.com", "workspace_seat_type": "workspace_member"})).await.ok();
    world.call("DELETE", MEMBERS, json!({"email": "lite@example.com"})).await.ok();
    update(&world, back).await.ok();
}

async fn unlocking_takes_a_basic_seat_where_that_is_allowed(engine: Engine) {
    let world = World::with(engine, &[("seats", "2")]).await;
    world.person("ann@example.com", WorkspaceAdmin).await;
    update(&world, json!({"email": "ann@example.com", "is_locked": true})).await.ok();
    world.person("bob@example.com", WorkspaceMember).await;
    let unlock =
        |may: bool| json!({"email": "ann@example.com", "is_locked": false, "allow_downgrade_to_basic_seat": may});
    update(&world, unlock(false)).await.is(400, "limit_reached");
    for n in 0..20 {
        world.person(&format!("lite{n}@example.com"), WorkspaceLiteMember).await;
    }
    let refused = update(&world, unlock(true)).await;
    refused.is(400, "limit_reached");
    world.call("DELETE", MEMBERS, json!({"email": "lite0@example.com"})).await.ok();
    update(&world, unlock(true)).await.ok();
    let ann = member(&world, "ann@example.com").await;
    assert_eq!((&ann["is_locked"], &ann["seat_type"]), (&json!(false), &json!("workspace_lite_member")));
    // The permission is for unlocking alone.
    world.call("DELETE", MEMBERS, json!({"email": "bob@example.com"})).await.ok();
    world.person("bob@example.com", WorkspaceMember).await;
    let raise = json!({"email": "ann@example.com", "workspace_seat_type": "workspace_admin", "allow_downgrade_to_basic_seat": true});
    update(&world, raise).await.is(400, "limit_reached");
}

async fn nobody_raises_a_key_beyond_the_own_one(engine: Engine) {
    let world = World::new(engine).await;
    let (_, whole) = world.person("ann@example.com", WorkspaceMember).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let narrow = world.key(&me, json!({"name": "narrow", "permissions": ["workspace_write"]})).await.secret;
    let promote = json!({"email": "ann@example.com", "workspace_seat_type": "workspace_admin"});
    world.call_as(&narrow, "POST", MEMBERS, promote).await.is(403, "stronger_than_caller");
    // To take away is always possible, to give back is not.
    world.call_as(&narrow, "POST", MEMBERS, json!({"email": "ann@example.com", "is_locked": true})).await.ok();
    let unlock = json!({"email": "ann@example.com", "is_locked": false});
    world.call_as(&narrow, "POST", MEMBERS, unlock).await.is(403, "stronger_than_caller");
    assert_eq!(world.verify(&whole).await, "ACCOUNT_DISABLED");
}

async fn removing_a_member_ends_what_they_hold(engine: Engine) {
    let world = World::new(engine).await;
    let (id, secret) = world.person("ann@example.com", WorkspaceAdmin).await;
    let second =
        world.call_as(&secret, "POST", &format!("/v1/service-accounts/{id}/api-keys"), json!({"name": "k"})).await.ok();
    world.group(&["service_accounts_manage"], vec![id.clone()]).await;
    world.call_as(&secret, "POST", "/v1/workspace/invites/add", json!({"email": "new@example.com"})).await.ok();
    assert_eq!(world.call("DELETE", MEMBERS, json!({"email": "ANN@example.com"})).await.ok(), json!({"status": "ok"}));
    for secret in [&secret, second["api_key"].as_str().unwrap()] {
        assert_eq!(world.verify(secret).await, "REVOKED");
        world.call_as(secret, "GET", "/v1/user", Value::Null).await.is(401, "api_key_revoked");
    }
    assert_eq!(world.get(MEMBERS).await.as_array().unwrap().len(), 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM members WHERE groups <> '[]'").await, 0);
    world.call("DELETE", MEMBERS, json!({"email": "ann@example.com"})).await.is(404, "user_not_found");
    update(&world, json!({"email": "ann@example.com", "is_locked": false})).await.is(404, "user_not_found");
    world.call("PUT", &format!("{MEMBERS}/{id}/usage-limit"), json!({})).await.is(404, "user_not_found");
    // Whom they invited may still come, and the address is free for another person.
    assert_eq!(world.get("/v1/workspace/invites").await["invites"][0]["invited_by"], json!(id));
    let (other, _) = world.person("ann@example.com", WorkspaceMember).await;
    assert_ne!(other, id);
    let log = activities(&world).await;
    let removal = log.iter().position(|activity| activity == "Workspace Member Removal").unwrap();
    assert_eq!(log[removal + 1..removal + 3], ["API Key Deletion", "API Key Deletion"]);
    // It is so after a restart, too.
    let world = world.restarted(crate::harness::pepper()).await;
    assert_eq!(world.verify(&secret).await, "REVOKED");
}

async fn who_may_remove_whom(engine: Engine) {
    let world = World::new(engine).await;
    let (manager, secret) = world.person("manager@example.com", WorkspaceMember).await;
    world.person("admin@example.com", WorkspaceAdmin).await;
    world.person("ann@example.com", WorkspaceMember).await;
    let remove =
        async |secret: &str, email: &str| world.call_as(secret, "DELETE", MEMBERS, json!({"email": email})).await;
    remove(&secret, "ann@example.com").await.is(403, "insufficient_permissions");
    world.group(&["workspace_members_remove"], vec![manager]).await;
    remove(&secret, "admin@example.com").await.is(403, "forbidden");
    remove(&secret, "owner@localhost").await.is(403, "forbidden");
    remove(&secret, "ann@example.com").await.ok();
    let theirs = world.foreign_admin().await;
    remove(&theirs, "manager@example.com").await.is(404, "user_not_found");
    // People may leave.
    remove(&secret, "manager@example.com").await.ok();
    remove(&secret, "manager@example.com").await.is(401, "api_key_revoked");
}

async fn a_usage_limit_is_set_and_removed(engine: Engine) {
    let world = World::new(engine).await;
    let (person, _) = world.person("ann@example.com", WorkspaceMember).await;
    let account = world.account("ci").await;
    for id in [person.as_str(), &account] {
        let path = format!("{MEMBERS}/{id}/usage-limit");
        for (body, limit) in [
            (json!({"usage_limit": 5}), Some(5)),
            (json!({"usage_limit": 5}), Some(5)),
            (json!({"usage_limit": 0}), Some(0)),
            (json!({"usage_limit": null}), None),
            (json!({"usage_limit": 7}), Some(7)),
            (json!({}), None),
        ] {
            assert_eq!(world.call("PUT", &path, body).await.ok(), json!({"status": "ok"}));
            if id == person.as_str() {
                assert_eq!(member(&world, "ann@example.com").await["usage_limit"], json!(limit));
            }
        }
        for bad in [json!(-1), json!("5"), json!(1.5), json!([]), json!(9_007_199_254_740_992_i64)] {
            let reply = world.call("PUT", &path, json!({"usage_limit": bad})).await;
            assert_eq!(reply.blamed(), ["body.usage_limit"], "{bad}");
        }
        let theirs = world.foreign_admin().await;
        world.call_as(&theirs, "PUT", &path, json!({})).await.is(404, "user_not_found");
    }
    let log = activities(&world).await;
    assert_eq!(log.iter().filter(|activity| *activity == "Workspace Member Usage Limit Update").count(), 10);
    world.call("PUT", &format!("{MEMBERS}/usr_0/usage-limit"), json!({})).await.is(404, "user_not_found");
}

async fn an_edited_member_can_only_be_removed(engine: Engine) {
    let world = World::new(engine).await;
    let (id, secret) = world.person("ann@example.com", WorkspaceMember).await;
    world.tamper("UPDATE members SET seat_type = 'workspace_admin' WHERE email = 'ann@example.com'").await;
    world.call_as(&secret, "GET", MEMBERS, Value::Null).await.is(401, "account_disabled");
    update(&world, json!({"email": "ann@example.com", "is_locked": true})).await.is(403, "not_trusted");
    let path = format!("{MEMBERS}/{id}/usage-limit");
    world.call("PUT", &path, json!({"usage_limit": 1})).await.is(403, "not_trusted");
    world.call("DELETE", MEMBERS, json!({"email": "ann@example.com"})).await.ok();
    assert_eq!(world.verify(&secret).await, "REVOKED");
}

async fn a_basic_seat_makes_no_keys(engine: Engine) {
    let world = World::new(engine).await;
    let (id, secret) = world.person("lite@example.com", WorkspaceLiteMember).await;
    world.group(&["service_accounts_manage"], vec![id.clone()]).await;
    let keys = format!("/v1/service-accounts/{id}/api-keys");
    world.call_as(&secret, "POST", &keys, json!({"name": "k"})).await.is(403, "feature_not_available");
    let own = world.call_as(&secret, "GET", &keys, Value::Null).await.ok()["api_keys"][0]["key_id"].clone();
    let rotate = format!("{keys}/{}/rotate", own.as_str().unwrap());
    world.call_as(&secret, "POST", &rotate, json!({})).await.is(403, "feature_not_available");
    // What it holds works, and it may still manage service accounts.
    assert_eq!(world.verify(&secret).await, "VALID");
    let account = world.account("ci").await;
    world
        .call_as(&secret, "POST", &format!("/v1/service-accounts/{account}/api-keys"), json!({"name": "k"}))
        .await
        .ok();
    update(&world, json!({"email": "lite@example.com", "workspace_seat_type": "workspace_member"})).await.ok();
    world.call_as(&secret, "POST", &keys, json!({"name": "k"})).await.ok();
}

async fn who_am_i(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let capped = world.key(&key.account, json!({"name": "capped", "character_limit": 10})).await;
    world.verify_with(json!({"cost": 3}), &capped.secret).await;
    let user = world.call_as(&capped.secret, "GET", "/v1/user", Value::Null).await.ok();
    let whole = world.call_as(&capped.secret, "GET", "/v1/user/subscription", Value::Null).await.ok();
    assert_eq!((&whole["character_count"], &whole["character_limit"]), (&json!(3), &json!(10)));
    // Whatever the user's plan says, the whole of it says, too.
    for (name, value) in user["subscription"].as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name}");
    }
    // Without these the JavaScript SDK throws (wire §13).
    for name in ["tier", "status"] {
        assert!(whole[name].is_string(), "{name}");
    }
    for name in [
        "character_count",
        "character_limit",
        "max_credit_limit_extension",
        "voice_slots_used",
        "professional_voice_slots_used",
        "professional_voice_slots_used_in_workspace",
        "voice_limit",
        "voice_add_edit_counter",
        "professional_voice_limit",
    ] {
        assert!(whole[name].is_i64(), "{name}");
    }
    for name in [
        "can_extend_character_limit",
        "allowed_to_extend_character_limit",
        "can_extend_voice_limit",
        "can_use_instant_voice_cloning",
        "can_use_professional_voice_cloning",
        "has_open_invoices",
    ] {
        assert!(whole[name].is_boolean(), "{name}");
    }
    assert_eq!((&whole["open_invoices"], &whole["next_invoice"]), (&json!([]), &Value::Null));
    assert!(whole["current_overage"]["amount"].is_string() && whole["current_overage"]["currency"].is_string());
    for name in ["user_id", "workspace_id", "seat_type"] {
        assert!(user[name].is_string(), "{name}");
    }
}

async fn what_is_wrong_with_a_body_is_told(engine: Engine) {
    let world = World::new(engine).await;
    let before = world.get(MEMBERS).await;
    for bad in [json!(7), json!(""), json!("x".repeat(255)), json!("a\u{0}@b"), json!(["a@b"]), json!(null)] {
        for method in ["POST", "DELETE"] {
            assert_eq!(world.call(method, MEMBERS, json!({"email": bad})).await.blamed(), ["body.email"], "{bad}");
        }
    }
    let reply = update(
        &world,
        json!({
            "is_locked": "true", "workspace_seat_type": "owner", "workspace_role": 7,
            "allow_downgrade_to_basic_seat": 1,
        }),
    );
    let blamed = [
        "body.email",
        "body.is_locked",
        "body.workspace_seat_type",
        "body.workspace_role",
        "body.allow_downgrade_to_basic_seat",
    ];
    assert_eq!(reply.await.blamed(), blamed);
    assert_eq!(world.get(MEMBERS).await, before);
}
