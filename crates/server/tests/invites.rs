//! Invites: who may ask whom, the link and what it opens, once; and the mail it travels by.

use crate::harness::{Engine, Reply, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::sync::Arc;
use stead_server::members::SeatType::{WorkspaceAdmin, WorkspaceLiteMember, WorkspaceMember};
use stead_verify::pepper::Ring;

on_both_stores! {
    an_invite_becomes_a_member_with_all_that_was_said
    a_basic_seat_comes_without_a_key
    the_page_shows_asks_and_answers
    every_link_that_does_not_work_is_answered_alike
    an_invite_works_once
    a_renewed_invite_ends_the_old_link
    an_invite_ends_after_a_week_or_with_its_makers_key
    open_invites_hold_their_seats
    of_two_who_want_the_last_seat_one_gets_it
    nobody_gives_what_they_do_not_have
    the_first_key_is_no_stronger_than_the_one_that_invited
    an_invite_ends_with_the_word_of_whoever_invited
    a_bulk_is_all_or_nothing
    a_retry_makes_nothing_new_and_shows_no_link
    an_invite_edited_or_put_back_opens_nothing
    a_link_outlives_a_change_of_the_pepper
    no_token_is_stored_or_listed
    what_is_wrong_with_an_invite_is_told
}

const INVITES: &str = "/v1/workspace/invites";
const ADD: &str = "/v1/workspace/invites/add";
const BULK: &str = "/v1/workspace/invites/add-bulk";
const ACCEPT: &str = "/v1/workspace/invites/accept";

async fn invite_as(world: &World, key: &str, body: Value) -> Reply {
    world.call_as(key, "POST", ADD, body).await
}

/// Invites as the owner; the token.
async fn invited(world: &World, body: Value) -> String {
    token(&invite_as(world, &world.admin, body).await.ok())
}

fn token(answer: &Value) -> String {
    assert_eq!(answer["status"], "ok");
    let url = answer["invite_url"].as_str().unwrap_or_else(|| panic!("no link in {answer}"));
    url.strip_prefix("http://127.0.0.1:8080/invite/").unwrap().to_owned()
}

async fn accept(world: &World, token: &str) -> Reply {
    world.call_as("", "POST", ACCEPT, json!({"token": token})).await
}

async fn open(world: &World) -> Vec<Value> {
    world.get(INVITES).await["invites"].as_array().unwrap().clone()
}

async fn an_invite_becomes_a_member_with_all_that_was_said(engine: Engine) {
    let world = World::new(engine).await;
    let group = world.group(&["service_accounts_manage"], vec![]).await;
    let body = json!({
        "email": "Ann.Lee@Example.com", "seat_type": "workspace_member", "group_ids": [group, "default"], "usage_limit": 50,
    });
    let reply = invite_as(&world, &world.admin, body).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let token = token(&reply.ok());
    let listed = open(&world).await;
    assert_eq!(listed.len(), 1);
    let me = world.get("/v1/user").await["user_id"].clone();
    assert_eq!(
        (
            &listed[0]["email"],
            &listed[0]["seat_type"],
            &listed[0]["group_ids"],
            &listed[0]["usage_limit"],
            &listed[0]["invited_by"]
        ),
        (&json!("ann.lee@example.com"), &json!("workspace_member"), &json!([group]), &json!(50), &me)
    );
    let (from, to) = (listed[0]["created_at_unix"].as_i64().unwrap(), listed[0]["expires_at_unix"].as_i64().unwrap());
    assert_eq!(to - from, 7 * 86_400);

    let reply = world.call_as("", "POST", ACCEPT, json!({"token": token, "first_name": "Ann"})).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let joined = reply.ok();
    assert_eq!((&joined["workspace_id"], &joined["email"]), (&json!(world.workspace), &json!("ann.lee@example.com")));
    assert_eq!((&joined["seat_type"], &joined["xi-api-key"]), (&json!("workspace_member"), &joined["api_key"]));
    let secret = joined["api_key"].as_str().unwrap();
    let user = world.call_as(secret, "GET", "/v1/user", Value::Null).await.ok();
    assert_eq!((&user["user_id"], &user["first_name"]), (&joined["user_id"], &json!("Ann")));
    let keys = format!("/v1/service-accounts/{}/api-keys", joined["user_id"].as_str().unwrap());
    let keys = world.call_as(secret, "GET", &keys, Value::Null).await.ok();
    assert_eq!(
        (&keys["api_keys"][0]["key_id"], &keys["api_keys"][0]["permissions"]),
        (&joined["key_id"], &Value::Null)
    );
    let members = world.get("/v1/workspace/members").await;
    assert_eq!((&members[1]["group_ids"], &members[1]["usage_limit"]), (&json!([group]), &json!(50)));
    assert!(open(&world).await.is_empty());
    let sql = "SELECT activity FROM audit_log WHERE actor LIKE '%guest%' ORDER BY seq";
    let log: Vec<String> = world.app.store.read(move |tx| tx.all(sql, &[], |row| row.get(0))).await.unwrap();
    assert_eq!(
        log,
        ["Workspace Invitation Accepted", "User Creation", "Group Member Addition", "User API Key Creation"]
    );
    let broken = world.app.store.read(|tx| stead_server::members::broken_seals(tx, &pepper())).await.unwrap();
    assert!(broken.is_empty());
    // They are a member now.
    invite_as(&world, &world.admin, json!({"email": "ANN.lee@example.com"})).await.is(400, "resource_already_exists");
}

async fn a_basic_seat_comes_without_a_key(engine: Engine) {
    let world = World::new(engine).await;
    let token = invited(&world, json!({"email": "lite@example.com", "seat_type": "workspace_lite_member"})).await;
    let joined = accept(&world, &token).await.ok();
    assert_eq!(joined["seat_type"], "workspace_lite_member");
    for absent in ["key_id", "xi-api-key", "api_key"] {
        assert!(joined.get(absent).is_none(), "{joined}");
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM api_keys").await, 1);
}

async fn post_form(world: &World, token: &str, body: &'static str) -> Reply {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    world.send(World::request("POST", &format!("/invite/{token}"), "", &headers, body)).await
}

fn is_a_page(reply: &Reply) {
    assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for foreign in ["src=", "href=", "http:", "https:", "<script", "style="] {
        assert!(!reply.text.contains(foreign), "{foreign}");
    }
}

async fn the_page_shows_asks_and_answers(engine: Engine) {
    let world = World::new(engine).await;
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    let path = format!("/invite/{token}");
    for method in ["GET", "GET", "HEAD", "GET"] {
        // However often programs that look through mails open it.
        let page = world.call_as("", method, &path, Value::Null).await;
        assert_eq!(page.status, 200);
        is_a_page(&page);
        if method == "GET" {
            for shown in ["My workspace", "owner@localhost", "ann@example.com", "<form method=\"post\">"] {
                assert!(page.text.contains(shown), "{shown}: {}", page.text);
            }
            assert!(!page.text.contains(&token));
        }
    }
    let bad = post_form(&world, &token, "first_name=%00").await;
    assert_eq!(bad.status, 422);
    is_a_page(&bad);
    let json = world.call_as("", "POST", &path, json!({"first_name": "Ann"})).await;
    assert_eq!(json.status, 415);
    let page = post_form(&world, &token, "first_name=Ann+%3Cb%3E&other=1").await;
    assert_eq!(page.status, 200, "{}", page.text);
    is_a_page(&page);
    let secret = page.text.split_once("<code>").unwrap().1.split_once("</code>").unwrap().0;
    let user = world.call_as(secret, "GET", "/v1/user", Value::Null).await.ok();
    assert_eq!(user["first_name"], "Ann <b>");
    let again = post_form(&world, &token, "first_name=Ann").await;
    assert_eq!(again.status, 404);
    is_a_page(&again);
    // Without a name, and for a basic seat.
    let token = invited(&world, json!({"email": "lite@example.com", "seat_type": "workspace_lite_member"})).await;
    let page = post_form(&world, &token, "").await;
    assert!(page.status == 200 && !page.text.contains("<code>"), "{}", page.text);
}

async fn every_link_that_does_not_work_is_answered_alike(engine: Engine) {
    let world = World::new(engine).await;
    let foreign = world.foreign_admin().await;
    let used = invited(&world, json!({"email": "used@example.com"})).await;
    accept(&world, &used).await.ok();
    let revoked = invited(&world, json!({"email": "revoked@example.com"})).await;
    assert_eq!(
        world.call("DELETE", INVITES, json!({"email": "Revoked@example.com"})).await.ok(),
        json!({"status": "ok"})
    );
    let expired = invited(&world, json!({"email": "expired@example.com"})).await;
    world.clock.advance(7 * 86_400);
    let theirs = token(&invite_as(&world, &foreign, json!({"email": "theirs@example.com"})).await.ok());
    let ours = invited(&world, json!({"email": "ours@example.com"})).await;
    let mixed = format!("{}{}", &ours[..22], &theirs[22..]);
    let made_up = ["0".repeat(44), "z".repeat(44), "short".into(), format!("{ours}0"), ours[..43].to_owned()];
    let mut answers = std::collections::HashSet::new();
    for token in [used, revoked, expired, mixed].iter().chain(&made_up) {
        let reply = accept(&world, token).await;
        reply.is(404, "invite_not_found");
        let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
        answers.insert(reply.text.replace(&id, ""));
        for method in ["GET", "POST"] {
            let page = world.call_as("", method, &format!("/invite/{token}"), Value::Null).await;
            assert_eq!(page.status, 404);
            answers.insert(page.text);
        }
    }
    // One in JSON, and one page.
    assert_eq!(answers.len(), 2, "{answers:?}");
    accept(&world, &ours).await.ok();
    accept(&world, &theirs).await.ok();
    // There is nothing to take back any more.
    for email in ["used@example.com", "revoked@example.com", "expired@example.com", "theirs@example.com"] {
        world.call("DELETE", INVITES, json!({"email": email})).await.is(404, "invite_not_found");
    }
}

async fn an_invite_works_once(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (world, token) = (world.clone(), token.clone());
        tries.spawn(async move { accept(&world, &token).await.status.as_u16() });
    }
    let mut statuses = tries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404, 404, 404, 404, 404, 404]);
    assert_eq!(world.count("SELECT COUNT(*) FROM members").await, 2);
    assert_eq!(world.count("SELECT COUNT(*) FROM api_keys").await, 2);
}

async fn a_renewed_invite_ends_the_old_link(engine: Engine) {
    let world = World::new(engine).await;
    let old = invited(&world, json!({"email": "ann@example.com", "seat_type": "workspace_admin"})).await;
    let new = invited(&world, json!({"email": "ANN@example.com", "seat_type": "workspace_member"})).await;
    assert_eq!(open(&world).await.len(), 1);
    accept(&world, &old).await.is(404, "invite_not_found");
    assert_eq!(accept(&world, &new).await.ok()["seat_type"], "workspace_member");
}

async fn an_invite_ends_after_a_week_or_with_its_makers_key(engine: Engine) {
    let world = World::new(engine).await;
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    world.clock.advance(7 * 86_400 - 10);
    assert_eq!(open(&world).await.len(), 1);
    assert_eq!(world.call_as("", "GET", &format!("/invite/{token}"), Value::Null).await.status, 200);
    world.clock.advance(10);
    assert!(open(&world).await.is_empty());
    accept(&world, &token).await.is(404, "invite_not_found");

    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let ends = crate::harness::START.seconds() + 8 * 86_400;
    let short = world.key(&me, json!({"name": "short", "expires_at": ends})).await.secret;
    let late = token_of(&world, &short, "late@example.com").await;
    let early = token_of(&world, &short, "early@example.com").await;
    assert_eq!(open(&world).await[0]["expires_at_unix"], ends);
    let joined = accept(&world, &early).await.ok();
    let secret = joined["api_key"].as_str().unwrap().to_owned();
    assert_eq!(world.verify(&secret).await, "VALID");
    world.clock.advance(86_400);
    assert_eq!(world.verify(&secret).await, "EXPIRED");
    accept(&world, &late).await.is(404, "invite_not_found");
}

async fn token_of(world: &World, key: &str, email: &str) -> String {
    token(&invite_as(world, key, json!({"email": email})).await.ok())
}

async fn open_invites_hold_their_seats(engine: Engine) {
    let world = World::with(engine, &[("seats", "3")]).await;
    for email in ["a@example.com", "b@example.com"] {
        invited(&world, json!({"email": email})).await;
    }
    let refused = invite_as(&world, &world.admin, json!({"email": "c@example.com"})).await;
    refused.is(400, "limit_reached");
    assert!(refused.text.contains("no full seat"));
    // The same again is no further one; a basic seat is another kind.
    invited(&world, json!({"email": "b@example.com", "seat_type": "workspace_admin"})).await;
    let lite: Vec<_> = (0..20).map(|n| format!("lite{n}@example.com")).collect();
    let body = json!({"emails": lite, "seat_type": "workspace_lite_member"});
    world.call("POST", BULK, body).await.ok();
    let more = json!({"email": "more@example.com", "seat_type": "workspace_lite_member"});
    let refused = invite_as(&world, &world.admin, more.clone()).await;
    refused.is(400, "limit_reached");
    assert!(refused.text.contains("no basic seat"));
    // Taking one back frees its seat, and so does the time.
    world.call("DELETE", INVITES, json!({"email": "a@example.com"})).await.ok();
    invited(&world, more).await;
    world.clock.advance(7 * 86_400);
    invited(&world, json!({"email": "c@example.com"})).await;
    invited(&world, json!({"email": "d@example.com"})).await;
    // A seat that was lost meanwhile is missed at the door.
    let token = invited(&world, json!({"email": "d@example.com"})).await;
    world.person("e@example.com", WorkspaceMember).await;
    world.person("f@example.com", WorkspaceMember).await;
    accept(&world, &token).await.is(400, "limit_reached");
    let page = post_form(&world, &token, "").await;
    assert!(page.status == 400 && page.text.contains("no full seat"));
    // The invite is still good.
    world.call("POST", "/v1/workspace/members", json!({"email": "e@example.com", "is_locked": true})).await.ok();
    accept(&world, &token).await.ok();
}

async fn of_two_who_want_the_last_seat_one_gets_it(engine: Engine) {
    let world = Arc::new(World::with(engine, &[("seats", "3")]).await);
    let tokens = [
        invited(&world, json!({"email": "a@example.com"})).await,
        invited(&world, json!({"email": "b@example.com"})).await,
    ];
    world.person("c@example.com", WorkspaceMember).await;
    let mut tries = tokio::task::JoinSet::new();
    for token in tokens {
        let world = world.clone();
        tries.spawn(async move { accept(&world, &token).await.status.as_u16() });
    }
    let mut statuses = tries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(world.count("SELECT COUNT(*) FROM members").await, 3);
    assert_eq!(open(&world).await.len(), 1);
}

async fn nobody_gives_what_they_do_not_have(engine: Engine) {
    let world = World::new(engine).await;
    let (member, manager) = world.person("manager@example.com", WorkspaceMember).await;
    let (lite, basic) = world.person("basic@example.com", WorkspaceLiteMember).await;
    let robot = world.account_with_key().await;
    let inviters = world.group(&["workspace_members_invite"], vec![]).await;
    invite_as(&world, &manager, json!({"email": "a@example.com"})).await.is(403, "insufficient_permissions");
    for id in [member, lite, robot.account.as_str().into()] {
        let group = inviters.clone();
        world
            .as_system(move |m| {
                stead_server::groups::add_member(m, &group, &id).map_err(|failure| format!("{failure:?}")).unwrap();
            })
            .await;
    }
    let strong = world.group(&["workspace_members_invite", "service_accounts_manage"], vec![]).await;
    let harmless = world.group(&[], vec![]).await;
    let seat = |seat: &str| json!({"email": "a@example.com", "seat_type": seat});
    // A group that gives no group permission may still have something shared with it.
    let others = world.group(&[], vec![]).await;
    for key in [&manager, &robot.secret] {
        let body = json!({"email": "a@example.com", "group_ids": [others]});
        invite_as(&world, key, body).await.is(403, "forbidden");
    }
    for key in [&manager, &robot.secret] {
        invite_as(&world, key, seat("workspace_admin")).await.is(403, "forbidden");
        // Not only for what a group may do: what is shared with it, too, only its members can hand on.
        for group in [&strong, &harmless] {
            let refused = invite_as(&world, key, json!({"email": "a@example.com", "group_ids": [group]})).await;
            refused.is(403, "forbidden");
        }
        invite_as(&world, key, json!({"email": "a@example.com", "group_ids": [inviters]})).await.ok();
        world
            .call_as(key, "POST", BULK, json!({"emails": ["b@example.com"], "seat_type": "workspace_admin"}))
            .await
            .is(403, "forbidden");
    }
    invite_as(&world, &basic, seat("workspace_member")).await.is(403, "forbidden");
    invite_as(&world, &basic, seat("workspace_lite_member")).await.ok();
    world.call_as(&manager, "GET", INVITES, Value::Null).await.ok();
    world.call_as(&manager, "DELETE", INVITES, json!({"email": "a@example.com"})).await.ok();
    // What was there for everybody may be given by everybody.
    invite_as(&world, &manager, json!({"email": "c@example.com", "group_ids": ["default"]})).await.ok();
    let (_, admin) = world.person("admin@example.com", WorkspaceAdmin).await;
    invite_as(&world, &admin, json!({"email": "d@example.com", "seat_type": "workspace_admin", "group_ids": [strong]}))
        .await
        .ok();
}

async fn the_first_key_is_no_stronger_than_the_one_that_invited(engine: Engine) {
    let world = World::new(engine).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let body = json!({
        "name": "narrow", "permissions": ["workspace_members_invite", "user_read"], "allowed_ips": ["127.0.0.1"],
        "character_limit": 5, "tts_concurrency_limit": 2,
        "rate_limits": [{"name": "calls", "limit": 100, "window_seconds": 60}],
    });
    let narrow = world.key(&me, body).await;
    let body = json!({"email": "ann@example.com", "seat_type": "workspace_admin"});
    let token = token(&invite_as(&world, &narrow.secret, body).await.ok());
    // Not even when the key was widened since.
    world.call("PATCH", &narrow.path(), json!({"permissions": "all", "character_limit": "clear"})).await.ok();
    let joined = accept(&world, &token).await.ok();
    let secret = joined["api_key"].as_str().unwrap();
    let own = world.call_as(secret, "GET", "/v1/api-keys/self", Value::Null).await.ok();
    assert_eq!(own["permissions"], json!(["workspace_members_invite", "user_read"]));
    assert_eq!((&own["allowed_ips"], &own["character_limit"]), (&json!(["127.0.0.1/32"]), &json!(5)));
    assert_eq!(own["platform_limits"]["concurrency"]["limit"], 2);
    assert_eq!(own["rate_limits"][0]["limit"], 100);
    // An admin, but with this key in hand no more than that.
    let keys = format!("/v1/service-accounts/{}/api-keys", joined["user_id"].as_str().unwrap());
    world.call_as(secret, "POST", &keys, json!({"name": "k"})).await.is(403, "insufficient_permissions");
    invite_as(&world, secret, json!({"email": "bob@example.com"})).await.ok();
}

async fn a_bulk_is_all_or_nothing(engine: Engine) {
    let world = World::new(engine).await;
    world.person("ann@example.com", WorkspaceMember).await;
    let refused = world.call("POST", BULK, json!({"emails": ["a@example.com", "Ann@example.com"]})).await;
    refused.is(400, "resource_already_exists");
    assert!(refused.text.contains("Address 2") && !refused.text.contains("example.com"));
    let blamed =
        world.call("POST", BULK, json!({"emails": ["a@example.com"], "group_ids": ["default", "grp_0", "x y"]})).await;
    assert_eq!(blamed.blamed(), ["body.group_ids.2"]);
    let blamed =
        world.call("POST", BULK, json!({"emails": ["a@example.com"], "group_ids": ["default", "grp_0"]})).await;
    assert_eq!(blamed.blamed(), ["body.group_ids.1"]);
    assert!(open(&world).await.is_empty());
    // The owner and Ann leave eight seats.
    let many: Vec<_> = (0..9).map(|n| format!("p{n}@example.com")).collect();
    world.call("POST", BULK, json!({"emails": many})).await.is(400, "limit_reached");
    assert!(open(&world).await.is_empty());
    let mut twice = many[..8].to_vec();
    twice.push("P0@example.com".into());
    let made = world.call("POST", BULK, json!({"emails": twice, "usage_limit": 9})).await;
    assert_eq!(made.headers["cache-control"], "no-store");
    let made = made.ok();
    assert_eq!((made["status"].as_str(), made["invites"].as_array().unwrap().len()), (Some("ok"), 8));
    for (link, email) in made["invites"].as_array().unwrap().iter().zip(&many) {
        assert_eq!(link["email"], json!(email));
        let token = link["invite_url"].as_str().unwrap().rsplit_once('/').unwrap().1;
        assert_eq!(accept(&world, token).await.ok()["email"], json!(email));
    }
}

async fn a_retry_makes_nothing_new_and_shows_no_link(engine: Engine) {
    let world = World::new(engine).await;
    let post = async |path: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
        world.send(World::request("POST", path, &world.admin, &headers, body.to_string())).await
    };
    let body = json!({"email": "ann@example.com"});
    let token = token(&post(ADD, body.clone()).await.ok());
    assert_eq!(post(ADD, body.clone()).await.ok(), json!({"status": "ok"}));
    assert_eq!(open(&world).await.len(), 1);
    assert_eq!(world.count("SELECT COUNT(*) FROM idempotency WHERE sealed_secret IS NOT NULL").await, 0);
    post(BULK, json!({"emails": ["ann@example.com"]})).await.is(422, "idempotency_key_reused");
    // The first link is the one that works.
    accept(&world, &token).await.ok();
    assert_eq!(post(ADD, body).await.ok(), json!({"status": "ok"}));
}

async fn an_invite_edited_or_put_back_opens_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let edits = [
        "UPDATE invites SET seat_type = 'workspace_admin'",
        "UPDATE invites SET group_ids = '[\"default\"]'",
        "UPDATE invites SET usage_limit = 1000000",
        "UPDATE invites SET bounds = '{}'",
        "UPDATE invites SET email = 'mallory@example.com'",
        "UPDATE invites SET expires_at = expires_at + 1000000",
        "UPDATE invites SET id = 'inv_0000000000000000000000'",
    ];
    for edit in edits {
        let token = invited(&world, json!({"email": "ann@example.com", "usage_limit": 5})).await;
        world.tamper(edit).await;
        accept(&world, &token).await.is(404, "invite_not_found");
        assert!(open(&world).await.is_empty());
        world.tamper("DELETE FROM invites").await;
    }
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    world.tamper("CREATE TABLE kept AS SELECT * FROM invites").await;
    accept(&world, &token).await.ok();
    world.call("DELETE", "/v1/workspace/members", json!({"email": "ann@example.com"})).await.ok();
    world.tamper("INSERT INTO invites SELECT * FROM kept").await;
    accept(&world, &token).await.is(404, "invite_not_found");
    assert_eq!(world.call_as("", "GET", &format!("/invite/{token}"), Value::Null).await.status, 404);
}

async fn a_link_outlives_a_change_of_the_pepper(engine: Engine) {
    let world = World::new(engine).await;
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    let world = world.restarted(Ring::new([(1, [42; 32]), (2, [43; 32])]).unwrap()).await;
    accept(&world, &token).await.ok();
}

async fn no_token_is_stored_or_listed(engine: Engine) {
    let world = World::new(engine).await;
    let token = invited(&world, json!({"email": "ann@example.com"})).await;
    let secret = token[22..].to_owned();
    assert!(!world.get(INVITES).await.to_string().contains(&secret));
    if engine == Engine::Sqlite {
        let stead_server::store::Location::Sqlite { file, .. } = &world.location else { unreachable!() };
        for file in std::fs::read_dir(file.parent().unwrap()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
    let sql = "SELECT details || actor || target FROM audit_log";
    let log: Vec<String> = world.app.store.read(move |tx| tx.all(sql, &[], |row| row.get(0))).await.unwrap();
    assert!(log.iter().all(|row| !row.contains(&secret)));
}

async fn what_is_wrong_with_an_invite_is_told(engine: Engine) {
    let world = World::new(engine).await;
    for bad in [
        json!(7),
        json!(""),
        json!("nobody"),
        json!("a@b@c"),
        json!("a b@c"),
        json!("a@b\r\nBcc: c@d"),
        json!("ä@b"),
        json!(format!("{}@example.com", "x".repeat(250))),
        json!(["a@b"]),
        json!(null),
        json!("<a@b>"),
    ] {
        assert_eq!(invite_as(&world, &world.admin, json!({"email": bad})).await.blamed(), ["body.email"], "{bad}");
        let reply = world.call("POST", BULK, json!({"emails": ["fine@example.com", bad]})).await;
        assert_eq!(reply.blamed(), ["body.emails.1"], "{bad}");
    }
    let many: Vec<_> = (0..101).map(|n| format!("p{n}@example.com")).collect();
    for bad in [json!(null), json!([]), json!("a@b"), json!({}), json!(many)] {
        assert_eq!(world.call("POST", BULK, json!({"emails": bad})).await.blamed(), ["body.emails"], "{bad}");
    }
    assert_eq!(world.call("POST", BULK, json!({})).await.blamed(), ["body.emails"]);
    let everything = json!({
        "seat_type": "owner", "group_ids": "default", "usage_limit": -1, "workspace_permission": 7,
    });
    let blamed = ["body.email", "body.seat_type", "body.workspace_permission", "body.group_ids", "body.usage_limit"];
    assert_eq!(invite_as(&world, &world.admin, everything).await.blamed(), blamed);
    for (group, at) in
        [(json!(7), "body.group_ids.0"), (json!("a b"), "body.group_ids.0"), (json!("grp_0"), "body.group_ids.0")]
    {
        let reply = invite_as(&world, &world.admin, json!({"email": "a@example.com", "group_ids": [group]})).await;
        assert_eq!(reply.blamed(), [at]);
    }
    let groups = vec!["default"; 101];
    let reply = invite_as(&world, &world.admin, json!({"email": "a@example.com", "group_ids": groups})).await;
    assert_eq!(reply.blamed(), ["body.group_ids"]);
    // The deprecated name counts where it is a seat, and is a mistake where it contradicts.
    let differ =
        json!({"email": "a@example.com", "seat_type": "workspace_admin", "workspace_permission": "workspace_member"});
    assert_eq!(invite_as(&world, &world.admin, differ).await.blamed(), ["body.workspace_permission"]);
    assert!(open(&world).await.is_empty());
    invited(
        &world,
        json!({"email": "a@example.com", "workspace_permission": "external", "seat_type": null, "group_ids": null}),
    )
    .await;
    assert_eq!(open(&world).await[0]["seat_type"], "workspace_member");
    for bad in [json!({}), json!({"token": 7}), json!({"token": ""}), json!({"token": "x".repeat(65)})] {
        assert_eq!(world.call_as("", "POST", ACCEPT, bad).await.blamed(), ["body.token"]);
    }
    let long = json!({"token": "x", "first_name": "x".repeat(129)});
    assert_eq!(world.call_as("", "POST", ACCEPT, long).await.blamed(), ["body.first_name"]);
}

async fn an_invite_ends_with_the_word_of_whoever_invited(engine: Engine) {
    let world = World::new(engine).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let made = json!({"name": "stolen", "permissions": "all"});
    let (stolen, other) = (world.key(&me, made.clone()).await, world.key(&me, made).await);
    let body = |email: &str| json!({"email": email, "seat_type": "workspace_admin"});
    let first = token(&invite_as(&world, &stolen.secret, body("a@example.com")).await.ok());
    let second = token(&invite_as(&world, &other.secret, body("b@example.com")).await.ok());
    world.call("POST", &format!("{}/disable", stolen.path()), Value::Null).await.ok();
    accept(&world, &first).await.is(404, "invite_not_found");
    world.call("PATCH", &stolen.path(), json!({"is_enabled": true})).await.ok();
    world.call("DELETE", &other.path(), Value::Null).await.ok();
    accept(&world, &second).await.is(404, "invite_not_found");
    accept(&world, &first).await.ok();
    // The same with whoever the key belongs to.
    let (_, manager) = world.person("manager@example.com", WorkspaceAdmin).await;
    let third = token(&invite_as(&world, &manager, body("c@example.com")).await.ok());
    let lock = |is_locked: bool| json!({"email": "manager@example.com", "is_locked": is_locked});
    world.call("POST", "/v1/workspace/members", lock(true)).await.ok();
    accept(&world, &third).await.is(404, "invite_not_found");
    world.call("POST", "/v1/workspace/members", lock(false)).await.ok();
    accept(&world, &third).await.ok();
}
