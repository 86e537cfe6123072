//! Resources and sharing (wire §10), and access to them in decisions.

use crate::harness::{Engine, Key, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_server::http::Door;
use stead_server::members::SeatType;

on_both_stores! {
    a_new_account_has_access_to_nothing_and_gets_it_by_share_or_group
    every_way_to_a_role_is_decided_by_and_explained
    roles_replace_each_other_and_hold_the_weaker_ones
    a_resource_is_registered_renamed_and_deleted
    default_sharing_groups_are_applied
    who_may_share
    shares_end_with_whom_they_are_with
    both_views_of_access_agree_with_the_decision
    mistakes_are_told
    shares_edited_behind_the_servers_back_give_nothing
    a_resource_is_shared_with_a_hundred
    proxies_ask_about_resources_too
    another_workspaces_resource_is_none
    usage_limits_bind_all_keys_of_an_account_or_a_group
    who_is_no_admin_makes_no_key_that_reaches_further
    who_manages_accounts_gets_at_nothing_through_them
    what_was_somebody_elses_is_nobodys_to_take
}

const RESOURCES: &str = "/v1/workspace/resources";

async fn register(world: &World, id: &str) {
    let new = json!({"resource_type": "voice", "resource_id": id, "resource_name": format!("The {id}")});
    world.call("POST", RESOURCES, new).await.ok();
}

async fn share(world: &World, id: &str, mut body: Value) -> Value {
    body["resource_type"] = "voice".into();
    let how = if body.get("role").is_some() { "share" } else { "unshare" };
    world.call("POST", &format!("{RESOURCES}/{id}/{how}"), body).await.ok()
}

/// The code, and the role held.
async fn ask(world: &World, key: &Key, id: &str, role: &str) -> (String, Value) {
    let resource = json!({"resource_type": "voice", "resource_id": id, "role": role});
    let plain = world.verify_with(json!({"resource": resource}), &key.secret).await;
    let explained = world.verify_with(json!({"resource": resource, "explain": true}), &key.secret).await;
    assert_eq!(plain["code"], explained["code"]);
    assert_eq!(plain["resource"]["role"], role);
    (plain["code"].as_str().unwrap().to_owned(), plain["resource"]["role_held"].clone())
}

async fn may(world: &World, key: &Key, id: &str, role: &str) -> bool {
    match ask(world, key, id, role).await.0.as_str() {
        "VALID" => true,
        "NO_RESOURCE_ACCESS" => false,
        other => panic!("{other}"),
    }
}

async fn email(world: &World, account: &str) -> String {
    let account = world.get(&format!("/v1/service-accounts/{account}")).await;
    account["email"].as_str().unwrap().to_owned()
}

async fn a_new_account_has_access_to_nothing_and_gets_it_by_share_or_group(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    assert_eq!(ask(&world, &key, "anna", "viewer").await, ("NO_RESOURCE_ACCESS".into(), Value::Null));
    assert_eq!(ask(&world, &key, "not-there", "viewer").await.0, "NO_RESOURCE_ACCESS");
    // A share names the account by e-mail or by one of its keys.
    share(&world, "anna", json!({"user_email": email(&world, &key.account).await, "role": "viewer"})).await;
    assert_eq!(ask(&world, &key, "anna", "viewer").await, ("VALID".into(), json!("viewer")));
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "editor"})).await;
    assert_eq!(ask(&world, &key, "anna", "editor").await, ("VALID".into(), json!("editor")));
    share(&world, "anna", json!({"workspace_api_key_id": key.id})).await;
    assert!(!may(&world, &key, "anna", "viewer").await);
    let group = world.group(&[], vec![key.account.as_str().into()]).await;
    share(&world, "anna", json!({"group_id": group, "role": "commenter"})).await;
    assert!(may(&world, &key, "anna", "commenter").await);
    let world = world.killed(pepper()).await;
    assert!(may(&world, &key, "anna", "commenter").await, "the mirror is filled with it");
    let leave = json!({"email": email(&world, &key.account).await});
    world.call("POST", &format!("/v1/workspace/groups/{group}/members/remove"), leave).await.ok();
    assert!(!may(&world, &key, "anna", "viewer").await);
}

async fn every_way_to_a_role_is_decided_by_and_explained(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    let explained = async |secret: &str| {
        let resource = json!({"resource_type": "voice", "resource_id": "anna", "role": "editor"});
        let told = world.verify_with(json!({"resource": resource, "explain": true}), secret).await;
        let check = told["checks"].as_array().unwrap().iter().find(|check| check["check"] == "resource").unwrap();
        (told["resource"]["path"].clone(), check["reason"].as_str().unwrap().to_owned())
    };
    let (path, reason) = explained(&key.secret).await;
    assert_eq!(path, json!([]));
    assert!(reason.contains("nothing is shared"), "{reason}");
    let account = json!({"type": "service_account", "id": key.account, "name": "ci"});
    let voice = json!({"type": "resource", "id": "voice/anna", "name": "The anna"});
    share(&world, "anna", json!({"group_id": "default", "role": "viewer"})).await;
    let (path, reason) = explained(&key.secret).await;
    assert_eq!(path, json!([account, {"type": "group", "id": "default", "name": "Everyone"}, voice]));
    assert!(reason.contains("editor is needed, viewer is held"), "{reason}");
    let group = world.group(&[], vec![key.account.as_str().into()]).await;
    share(&world, "anna", json!({"group_id": group, "role": "editor"})).await;
    let (path, reason) = explained(&key.secret).await;
    assert_eq!(path, json!([account, {"type": "group", "id": group, "name": "a group"}, voice]));
    assert!(reason.contains(group.as_str()), "{reason}");
    // Of two ways that are as strong the nearer is told.
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "editor"})).await;
    assert_eq!(explained(&key.secret).await.0, json!([account, voice]));
    // A workspace admin, here the one who made it as well, has every role.
    let (path, _) = explained(&world.admin).await;
    assert_eq!(path[1], json!({"type": "workspace_admin"}));
    // So has a group with access to everything.
    let all = world.group(&[ALL_RESOURCES_ACCESS], vec![key.account.as_str().into()]).await;
    let (path, reason) = explained(&key.secret).await;
    assert_eq!(path[1]["id"], json!(all));
    assert!(reason.contains("admin is held"), "{reason}");
    // A rehearsal and a past decision tell the same, and what was asked.
    let simulated = json!({"resource": {"resource_type": "voice", "resource_id": "anna", "role": "admin"}});
    let simulated = world.call("POST", &format!("/v1/api-keys/{}/simulate", key.id), simulated).await.ok();
    assert_eq!((&simulated["code"], &simulated["resource"]["path"]), (&json!("VALID"), &path));
    let denied = json!({"resource": {"resource_type": "voice", "resource_id": "gone"}});
    let denied = world.verify_with(denied, &key.secret).await;
    let past = world.get(&format!("/v1/decisions/{}", denied["decision_id"].as_str().unwrap())).await;
    assert_eq!(past["asked"]["resource_id"], "gone");
    assert_eq!(past["asked"]["role"], "viewer");
}

async fn roles_replace_each_other_and_hold_the_weaker_ones(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    let roles = ["viewer", "commenter", "editor", "admin"];
    for (place, role) in roles.into_iter().enumerate().rev() {
        share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": role})).await;
        for (other, asked) in roles.into_iter().enumerate() {
            assert_eq!(may(&world, &key, "anna", asked).await, other <= place, "{role} asked for {asked}");
        }
    }
    // No role in a question means viewer.
    let resource = json!({"resource_type": "voice", "resource_id": "anna"});
    assert_eq!(world.verify_with(json!({"resource": resource}), &key.secret).await["code"], "VALID");
    let batch = json!({"requests": [{"api_key": key.secret, "resource": resource},
        {"api_key": key.secret, "resource": {"resource_type": "voice", "resource_id": "anna", "role": "editor"}}]});
    let results = world.call("POST", "/v1/api-keys/verify-batch", batch).await.ok();
    assert_eq!(results["results"][0]["code"], "VALID");
    assert_eq!(results["results"][1]["code"], "NO_RESOURCE_ACCESS");
    assert_eq!(results["results"][1]["resource"], json!({"role": "editor", "role_held": "viewer"}));
}

async fn a_resource_is_registered_renamed_and_deleted(engine: Engine) {
    let world = World::new(engine).await;
    let made = world.call("POST", RESOURCES, json!({"resource_type": "voice"})).await.ok();
    let id = made["resource_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("res_"));
    let me = world.get("/v1/user").await["user_id"].clone();
    assert_eq!((&made["creator_user_id"], &made["resource_name"]), (&me, &Value::Null));
    assert_eq!(made["role_to_group_ids"], json!({"admin": [me]}));
    assert_eq!(made["anonymous_access_level_override"], Value::Null);
    let path = format!("{RESOURCES}/{id}?resource_type=voice");
    let renamed = world.call("PATCH", &path, json!({"resource_name": "Anna"})).await.ok();
    assert_eq!(renamed["resource_name"], "Anna");
    assert_eq!(world.get(&path).await, renamed);
    // The same id of another type is another thing.
    let other = format!("{RESOURCES}/{id}?resource_type=project");
    world.call("GET", &other, Value::Null).await.is(404, "resource_not_found");
    let again = json!({"resource_type": "voice", "resource_id": id});
    world.call("POST", RESOURCES, again.clone()).await.is(400, "resource_already_exists");
    // What was shared of the old one is not shared of a new one with its id.
    let key = world.account_with_key().await;
    share(&world, &id, json!({"group_id": "default", "role": "viewer"})).await;
    assert!(may(&world, &key, &id, "viewer").await);
    world.call("DELETE", &path, Value::Null).await.ok();
    world.call("GET", &path, Value::Null).await.is(404, "resource_not_found");
    assert!(!may(&world, &key, &id, "viewer").await);
    world.call("POST", RESOURCES, again).await.ok();
    assert!(!may(&world, &key, &id, "viewer").await);
    let world = world.restarted(pepper()).await;
    assert!(!may(&world, &key, &id, "viewer").await);
}

async fn default_sharing_groups_are_applied(engine: Engine) {
    let world = World::new(engine).await;
    let other = world.account_with_key().await;
    let team = world.group(&[], vec![other.account.as_str().into()]).await;
    let wanted = json!([{"group_id": team, "permission_level": "editor"}, {"group_id": "default", "permission_level": "viewer"}]);
    let new = json!({"name": "renderer", "default_sharing_groups": wanted});
    let made = world.call("POST", "/v1/service-accounts", new).await.ok();
    let account = made["service_account_id"].as_str().unwrap().to_owned();
    let shown = world.get(&format!("/v1/service-accounts/{account}")).await["default_sharing_groups"].clone();
    assert_eq!(shown[0]["group"]["members"], json!([other.account]));
    assert_eq!((&shown[0]["permission_level"], &shown[1]["group"]["id"]), (&json!("editor"), &json!("default")));
    let key = world.key(&account, json!({"name": "k", "permissions": "all"})).await;
    let new = json!({"resource_type": "voice", "resource_id": "anna"});
    let made = world.call_as(&key.secret, "POST", RESOURCES, new).await.ok();
    assert_eq!(made["role_to_group_ids"], json!({"viewer": ["default"], "editor": [team], "admin": [account]}));
    assert!(may(&world, &other, "anna", "editor").await && !may(&world, &other, "anna", "admin").await);
    assert!(may(&world, &key, "anna", "admin").await, "whoever made it keeps admin");
    // A deleted group is forgotten, and a changed list holds for what comes later.
    world.call("DELETE", &format!("/v1/workspace/groups/{team}"), Value::Null).await.ok();
    assert!(may(&world, &other, "anna", "viewer").await && !may(&world, &other, "anna", "editor").await);
    let path = format!("/v1/service-accounts/{account}");
    assert_eq!(world.get(&path).await["default_sharing_groups"].as_array().unwrap().len(), 1);
    world.call("PATCH", &path, json!({"default_sharing_groups": []})).await.ok();
    let made = world.call_as(&key.secret, "POST", RESOURCES, json!({"resource_type": "voice"})).await.ok();
    assert_eq!(made["role_to_group_ids"], json!({"admin": [account]}));
    for (list, blamed) in [
        (json!("default"), "body.default_sharing_groups"),
        (json!(["default"]), "body.default_sharing_groups.0"),
        (
            json!([{"group_id": "default", "permission_level": "commenter"}]),
            "body.default_sharing_groups.0.permission_level",
        ),
        (json!([{"permission_level": "viewer"}]), "body.default_sharing_groups.0.group_id"),
        (json!([{"group_id": team, "permission_level": "viewer"}]), "body.default_sharing_groups.0"),
    ] {
        let reply = world.call("PATCH", &path, json!({"default_sharing_groups": list})).await;
        assert_eq!(reply.blamed(), [blamed]);
    }
}

async fn who_may_share(engine: Engine) {
    let world = World::new(engine).await;
    register(&world, "anna").await;
    let (_, editor) = world.person("editor@example.com", SeatType::WorkspaceMember).await;
    let path = format!("{RESOURCES}/anna?resource_type=voice");
    let body = json!({"resource_type": "voice", "user_email": "editor@example.com", "role": "admin"});
    let share_it = async || world.call_as(&editor, "POST", &format!("{RESOURCES}/anna/share"), body.clone()).await;
    // Without a role it isn't there; with a weak one it is, but may not be shared.
    share_it().await.is(404, "resource_not_found");
    world.call_as(&editor, "GET", &path, Value::Null).await.is(404, "resource_not_found");
    share(&world, "anna", json!({"user_email": "editor@example.com", "role": "editor"})).await;
    assert_eq!(world.call_as(&editor, "GET", &path, Value::Null).await.ok()["access_level"], "editor");
    for (method, path, body) in [
        ("POST", format!("{RESOURCES}/anna/share"), body.clone()),
        ("POST", format!("{RESOURCES}/anna/unshare"), json!({"resource_type": "voice", "group_id": "default"})),
        ("DELETE", path.clone(), Value::Null),
        ("PATCH", path.clone(), json!({"resource_name": "mine"})),
        ("GET", format!("{RESOURCES}/anna/access?resource_type=voice"), Value::Null),
    ] {
        world.call_as(&editor, method, &path, body).await.is(403, "no_resource_access");
    }
    share(&world, "anna", json!({"user_email": "editor@example.com", "role": "admin"})).await;
    share_it().await.ok();
    // Whoever made it can't be shut out.
    let creator = json!({"resource_type": "voice", "user_email": "owner@localhost"});
    let unshare = format!("{RESOURCES}/anna/unshare");
    world.call_as(&editor, "POST", &unshare, creator).await.is(400, "creator_keeps_access");
    // For others one registers only as a workspace admin.
    let me = world.get("/v1/user").await["user_id"].clone();
    let theirs = json!({"resource_type": "voice", "creator_user_id": me});
    world.call_as(&editor, "POST", RESOURCES, theirs.clone()).await.is(403, "forbidden");
    world.call("POST", RESOURCES, theirs).await.ok();
}

async fn shares_end_with_whom_they_are_with(engine: Engine) {
    let world = World::new(engine).await;
    register(&world, "anna").await;
    let key = world.account_with_key().await;
    let group = world.group(&[], vec![key.account.as_str().into()]).await;
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "viewer"})).await;
    share(&world, "anna", json!({"group_id": group, "role": "editor"})).await;
    let shares =
        async || world.get(&format!("{RESOURCES}/anna?resource_type=voice")).await["role_to_group_ids"].clone();
    assert_eq!(shares().await.as_object().unwrap().len(), 3);
    world.call("DELETE", &format!("/v1/workspace/groups/{group}"), Value::Null).await.ok();
    assert!(!may(&world, &key, "anna", "editor").await && may(&world, &key, "anna", "viewer").await);
    world.call("DELETE", &format!("/v1/service-accounts/{}", key.account), Value::Null).await.ok();
    assert_eq!(shares().await.as_object().unwrap().len(), 1, "only its creator is left");
}

async fn both_views_of_access_agree_with_the_decision(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (world.account_with_key().await, world.account_with_key().await);
    let team = world.group(&[], vec![one.account.as_str().into()]).await;
    for number in 0..12 {
        register(&world, &format!("v{number:02}")).await;
        let role = ["viewer", "commenter", "editor", "admin"][number % 4];
        match number % 5 {
            0 => share(&world, &format!("v{number:02}"), json!({"group_id": "default", "role": role})).await,
            1 => share(&world, &format!("v{number:02}"), json!({"group_id": team, "role": role})).await,
            2 => share(&world, &format!("v{number:02}"), json!({"workspace_api_key_id": two.id, "role": role})).await,
            3 => share(&world, &format!("v{number:02}"), json!({"workspace_api_key_id": one.id, "role": role})).await,
            _ => Value::Null,
        };
    }
    for key in [&one, &two] {
        // Page by page, three at a time.
        let (mut touchable, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/workspace/members/{}/access?limit=3{cursor}", key.account);
            let page = world.get(&path).await;
            touchable.extend(page["resources"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let own = world.call_as(&key.secret, "GET", RESOURCES, Value::Null).await.ok();
        assert_eq!(own["resources"], json!(touchable));
        for number in 0..12 {
            let id = format!("v{number:02}");
            let (code, held) = ask(&world, key, &id, "viewer").await;
            let entry = touchable.iter().find(|entry| entry["resource_id"] == id.as_str());
            assert_eq!(entry.map_or(&Value::Null, |entry| &entry["role"]), &held, "{id}");
            assert_eq!(code == "VALID", entry.is_some());
            let who = world.get(&format!("{RESOURCES}/{id}/access?resource_type=voice")).await["principals"].clone();
            let theirs = who.as_array().unwrap().iter().find(|entry| entry["user_id"] == key.account.as_str());
            assert_eq!(theirs.map(|entry| &entry["role"]), entry.map(|entry| &entry["role"]));
            assert_eq!(theirs.map(|entry| &entry["path"]), entry.map(|entry| &entry["path"]));
        }
    }
    // The owner, an admin, reaches all of them; others may not ask about them.
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/workspace/members/{me}/access");
    assert_eq!(world.get(&path).await["resources"].as_array().unwrap().len(), 12);
    world.call_as(&one.secret, "GET", &path, Value::Null).await.is(404, "user_not_found");
    let page = world.get(&format!("{RESOURCES}?limit=1")).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let stolen = format!("{RESOURCES}?cursor={cursor}");
    world.call_as(&one.secret, "GET", &stolen, Value::Null).await.is(400, "invalid_cursor");
}

async fn mistakes_are_told(engine: Engine) {
    let world = World::new(engine).await;
    register(&world, "anna").await;
    for (body, blamed) in [
        (json!({}), vec!["body.resource_type"]),
        (json!({"resource_type": "castle"}), vec!["body.resource_type"]),
        (json!({"resource_type": "voice", "resource_id": "a/b"}), vec!["body.resource_id"]),
        (json!({"resource_type": "voice", "resource_id": "x".repeat(65)}), vec!["body.resource_id"]),
        (json!({"resource_type": "voice", "resource_name": "x".repeat(129)}), vec!["body.resource_name"]),
        (json!({"resource_type": "voice", "creator_user_id": "usr_nobody"}), vec!["body.creator_user_id"]),
    ] {
        assert_eq!(world.call("POST", RESOURCES, body.clone()).await.blamed(), blamed, "{body}");
    }
    let path = format!("{RESOURCES}/anna/share");
    for (body, blamed) in [
        (json!({"resource_type": "voice", "group_id": "default"}), "body.role"),
        (json!({"resource_type": "voice", "group_id": "default", "role": "owner"}), "body.role"),
        (json!({"resource_type": "voice", "role": "viewer"}), "body.user_email"),
        (
            json!({"resource_type": "voice", "role": "viewer", "group_id": "default", "user_email": "a@b.c"}),
            "body.user_email",
        ),
    ] {
        assert_eq!(world.call("POST", &path, body.clone()).await.blamed(), [blamed], "{body}");
    }
    let to = |target: Value| {
        let mut body = json!({"resource_type": "voice", "role": "viewer"});
        body.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        body
    };
    world.call("POST", &path, to(json!({"user_email": "nobody@example.com"}))).await.is(404, "user_not_found");
    world.call("POST", &path, to(json!({"group_id": "grp_x"}))).await.is(404, "group_not_found");
    world.call("POST", &path, to(json!({"workspace_api_key_id": "key_x"}))).await.is(404, "api_key_not_found");
    for query in ["", "?resource_type=", "?resource_type=castle"] {
        let reply = world.call("GET", &format!("{RESOURCES}/anna{query}"), Value::Null).await;
        assert_eq!(reply.blamed(), ["query.resource_type"]);
    }
    assert_eq!(world.call("GET", &format!("{RESOURCES}?limit=0"), Value::Null).await.blamed(), ["query.limit"]);
    world.call("GET", &format!("{RESOURCES}?cursor=x"), Value::Null).await.is(400, "invalid_cursor");
    let key = world.account_with_key().await;
    for (resource, blamed) in [
        (json!("voice"), "body.resource"),
        (json!({}), "body.resource.resource_type"),
        (json!({"resource_type": "castle", "resource_id": "x"}), "body.resource.resource_type"),
        (json!({"resource_type": "voice", "resource_id": "../x"}), "body.resource.resource_id"),
        (json!({"resource_type": "voice", "resource_id": "x", "role": "god"}), "body.resource.role"),
    ] {
        let ask = json!({"api_key": key.secret, "resource": resource});
        let reply = world.call("POST", "/v1/api-keys/verify", ask).await;
        assert!(reply.blamed().contains(&blamed.to_owned()), "{}", reply.text);
    }
}

async fn shares_edited_behind_the_servers_back_give_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    for id in ["anna", "bert", "carl"] {
        register(&world, id).await;
        share(&world, id, json!({"workspace_api_key_id": key.id, "role": "viewer"})).await;
    }
    world.tamper("UPDATE resource_shares SET role = 'admin' WHERE resource_id = 'anna'").await;
    world.tamper("UPDATE resources SET creator_id = (SELECT id FROM service_accounts LIMIT 1) WHERE id = 'bert'").await;
    let world = world.restarted(pepper()).await;
    for id in ["anna", "bert"] {
        assert!(!may(&world, &key, id, "viewer").await, "{id}");
        world
            .call("GET", &format!("{RESOURCES}/{id}?resource_type=voice"), Value::Null)
            .await
            .is(404, "resource_not_found");
    }
    assert!(may(&world, &key, "carl", "viewer").await);
    // It can be deleted, and registered anew.
    world.call("DELETE", &format!("{RESOURCES}/anna?resource_type=voice"), Value::Null).await.ok();
    register(&world, "anna").await;
    assert!(!may(&world, &key, "anna", "viewer").await);
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "viewer"})).await;
    assert!(may(&world, &key, "anna", "viewer").await);
}

async fn a_resource_is_shared_with_a_hundred(engine: Engine) {
    let world = World::with(engine, &[("max-accounts", "200")]).await;
    register(&world, "anna").await;
    let mut last = String::new();
    for number in 0..101 {
        last = email(&world, &world.account(&format!("a{number}")).await).await;
        let body = json!({"resource_type": "voice", "user_email": last, "role": "viewer"});
        let reply = world.call("POST", &format!("{RESOURCES}/anna/share"), body).await;
        if number < 100 { drop(reply.ok()) } else { reply.is(400, "limit_reached") }
    }
    share(&world, "anna", json!({"group_id": "default"})).await;
    let first = world.get("/v1/service-accounts").await["service_accounts"][0]["email"].clone();
    share(&world, "anna", json!({"user_email": first})).await;
    share(&world, "anna", json!({"user_email": last, "role": "viewer"})).await;
}

async fn proxies_ask_about_resources_too(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    let ask = async |query: &str| {
        let request = World::request("GET", &format!("/v1/forward-auth?{query}"), &key.secret, &[], "");
        world.send_by(Door::Public, request).await
    };
    ask("resource=voice/anna").await.is(403, "no_resource_access");
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "editor"})).await;
    assert_eq!(ask("resource=voice/anna").await.status, 200);
    assert_eq!(ask("resource=voice/anna&role=editor").await.status, 200);
    ask("resource=voice/anna&role=admin").await.is(403, "no_resource_access");
    for odd in
        ["resource=anna", "resource=castle/anna", "resource=voice/a%2Fb", "role=viewer", "resource=voice/anna&role=god"]
    {
        ask(odd).await.is(500, "proxy_misconfigured");
    }
}

async fn another_workspaces_resource_is_none(engine: Engine) {
    let world = World::new(engine).await;
    let foreign = world.foreign_admin().await;
    let new = json!({"resource_type": "voice", "resource_id": "anna"});
    world.call_as(&foreign, "POST", RESOURCES, new.clone()).await.ok();
    let everybody = json!({"resource_type": "voice", "group_id": "default", "role": "admin"});
    world.call_as(&foreign, "POST", &format!("{RESOURCES}/anna/share"), everybody).await.ok();
    let key = world.account_with_key().await;
    assert!(!may(&world, &key, "anna", "viewer").await);
    let path = format!("{RESOURCES}/anna?resource_type=voice");
    world.call("GET", &path, Value::Null).await.is(404, "resource_not_found");
    // The same id may be in use on both sides, each for itself.
    world.call("POST", RESOURCES, new).await.ok();
    assert!(!may(&world, &key, "anna", "viewer").await);
    world.call_as(&foreign, "DELETE", &path, Value::Null).await.ok();
    world.get(&path).await;
}

async fn usage_limits_bind_all_keys_of_an_account_or_a_group(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (world.account_with_key().await, world.account_with_key().await);
    let second = world.key(&one.account, json!({"name": "second", "permissions": "all"})).await;
    let group = world.group(&[], vec![one.account.as_str().into(), two.account.as_str().into()]).await;
    let path = format!("/v1/workspace/groups/{group}");
    world.call("PATCH", &path, json!({"group_usage_limit": 100})).await.ok();
    let charge = async |key: &Key, cost: u64| world.verify_with(json!({"cost": cost}), &key.secret).await;
    assert_eq!(charge(&one, 40).await["code"], "VALID");
    assert_eq!(charge(&second, 30).await["remaining"], 30);
    let denied = charge(&two, 31).await;
    assert_eq!((&denied["code"], &denied["limit"]["name"]), (&json!("USAGE_EXCEEDED"), &json!("group_usage_limit")));
    assert_eq!(denied["limit"]["remaining"], 30);
    assert_eq!(charge(&two, 30).await["code"], "VALID");
    assert_eq!(charge(&one, 1).await["code"], "USAGE_EXCEEDED");
    assert_eq!(world.get(&path).await["character_count"], 100);
    // What asks for nothing is never refused for it.
    assert_eq!(world.verify(&one.secret).await, "VALID");
    let explained = world.verify_with(json!({"cost": 1, "explain": true}), &one.secret).await;
    assert!(explained["checks"].to_string().contains(group.as_str()), "{explained}");
    let world = world.restarted(pepper()).await;
    let charge = async |key: &Key, cost: u64| world.verify_with(json!({"cost": cost}), &key.secret).await;
    assert_eq!(charge(&two, 1).await["code"], "USAGE_EXCEEDED", "counted in the store");
    world.call("PATCH", &path, json!({"group_usage_limit": 150})).await.ok();
    assert_eq!(charge(&two, 50).await["code"], "VALID");
    assert_eq!(charge(&two, 1).await["code"], "USAGE_EXCEEDED");
    // Whoever isn't in the group isn't bound by it; the limit of everybody binds all.
    let free = world.account_with_key().await;
    assert_eq!(charge(&free, 1000).await["code"], "VALID");
    world.call("PATCH", "/v1/workspace/groups/default", json!({"group_usage_limit": 10})).await.ok();
    assert_eq!(charge(&free, 11).await["limit"]["name"], "group_usage_limit");
    assert_eq!(charge(&free, 10).await["code"], "VALID");
    world.clock.advance(40 * 86_400);
    assert_eq!(charge(&two, 10).await["code"], "VALID", "a new month");
}

async fn who_is_no_admin_makes_no_key_that_reaches_further(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    world.group(&["service_accounts_manage"], vec![manager]).await;
    let path = format!("/v1/service-accounts/{}/api-keys", key.account);
    let make = async || world.call_as(&secret, "POST", &path, json!({"name": "k", "permissions": "all"})).await;
    make().await.ok();
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "editor"})).await;
    make().await.is(403, "stronger_than_caller");
    share(&world, "anna", json!({"user_email": "manager@example.com", "role": "viewer"})).await;
    make().await.is(403, "stronger_than_caller");
    share(&world, "anna", json!({"user_email": "manager@example.com", "role": "editor"})).await;
    make().await.ok();
    world.group(&[ALL_RESOURCES_ACCESS], vec![key.account.as_str().into()]).await;
    make().await.is(403, "insufficient_permissions");
}

async fn who_manages_accounts_gets_at_nothing_through_them(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    let group = world.group(&["service_accounts_manage"], vec![manager]).await;
    register(&world, "anna").await;
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "admin"})).await;
    let path = format!("/v1/service-accounts/{}", key.account);
    let wanted = json!({"default_sharing_groups": [{"group_id": group, "permission_level": "admin"}]});
    world.call_as(&secret, "PATCH", &path, wanted.clone()).await.is(403, "stronger_than_caller");
    share(&world, "anna", json!({"workspace_api_key_id": key.id})).await;
    world.call_as(&secret, "PATCH", &path, wanted).await.ok();
}

async fn what_was_somebody_elses_is_nobodys_to_take(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    register(&world, "anna").await;
    share(&world, "anna", json!({"workspace_api_key_id": key.id, "role": "viewer"})).await;
    world.call("DELETE", &format!("{RESOURCES}/anna?resource_type=voice"), Value::Null).await.ok();
    let again = json!({"resource_type": "voice", "resource_id": "anna"});
    world.call_as(&key.secret, "POST", RESOURCES, again.clone()).await.is(403, "forbidden");
    world.call("POST", RESOURCES, again).await.ok();
    // One's own may be registered again.
    let own = json!({"resource_type": "voice", "resource_id": "bert"});
    world.call_as(&key.secret, "POST", RESOURCES, own.clone()).await.ok();
    world.call_as(&key.secret, "DELETE", &format!("{RESOURCES}/bert?resource_type=voice"), Value::Null).await.ok();
    world.call_as(&key.secret, "POST", RESOURCES, own).await.ok();
    // Who has access to everything registers for others.
    world.group(&[ALL_RESOURCES_ACCESS], vec![key.account.as_str().into()]).await;
    let me = world.get("/v1/user").await["user_id"].clone();
    let theirs = json!({"resource_type": "voice", "resource_id": "carl", "creator_user_id": me});
    assert_eq!(world.call_as(&key.secret, "POST", RESOURCES, theirs).await.ok()["creator_user_id"], me);
}
