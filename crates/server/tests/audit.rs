//! The audit log over the API: what an entry says, pages and filters, refused calls, and that nothing is left out.

use crate::authorization::{Things, example};
use crate::harness::{Engine, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use stead_server::audit::activities;
use stead_server::audit::refusals;
use stead_server::http::routes::{ABSENT, routes};
use stead_server::jobs;
use stead_server::members::{Access, SeatType};
use stead_server::store::Tx;

on_both_stores! {
    an_entry_says_who_did_what_and_from_where
    pages_follow_each_other_and_filters_narrow
    a_cursor_is_good_for_its_workspace_and_its_filters_alone
    bad_questions_are_told_and_odd_names_find_nothing
    a_refused_call_of_a_known_caller_is_written_once_a_minute
    who_is_not_let_in_and_who_mistypes_is_not_written
    a_server_that_stops_writes_what_was_refused
    refused_calls_give_no_tampered_workspace_a_seal
    admins_read_the_log_and_whom_a_group_lets
    the_chain_is_whole_until_somebody_touches_it
    no_route_changes_anything_without_an_entry
    clocks_that_go_back_lose_no_entry
}

const LOGS: &str = "/v1/workspace/audit-logs";

async fn logs(world: &World, query: &str) -> Value {
    world.get(&format!("{LOGS}{query}")).await
}

fn entries(page: &Value) -> &Vec<Value> {
    page["entries"].as_array().unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    entries(page).iter().map(|entry| entry["activity_name"].as_str().unwrap()).collect()
}

async fn an_entry_says_who_did_what_and_from_where(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let headers = [("content-type", "application/json"), ("user-agent", "rotator/1.2")];
    let request = World::request(
        "PATCH",
        &format!("{}?secret=hunter2", key.path()),
        &world.admin,
        &headers,
        r#"{"name":"new name"}"#,
    );
    let reply = world.send(request).await;
    let request_id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    reply.ok();
    let page = logs(&world, "").await;
    let names = names(&page);
    assert_eq!(names[..3], ["API Key Update", "API Key Creation", "Service Account Creation"]);
    assert_eq!(names.last(), Some(&"Workspace Creation"));
    assert_eq!((&page["has_more"], &page["next_cursor"]), (&json!(false), &Value::Null));
    for entry in entries(&page) {
        for text in ["id", "activity_name", "message", "time_dt", "type_name", "class_name", "category_name"] {
            assert!(entry[text].as_str().is_some_and(|text| !text.is_empty()), "{text} of {entry}");
        }
        for number in ["activity_id", "status_id", "time", "type_uid", "class_uid", "category_uid", "severity_id"] {
            assert!(entry[number].is_i64() || entry[number].is_u64(), "{number} of {entry}");
        }
        let number = |name: &str| entry[name].as_i64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert_eq!((&entry["status_id"], &entry["metadata"]["version"]), (&json!(1), &json!("1.6.0")));
        assert!(entry["actor"]["user"].is_object());
    }
    let change = &entries(&page)[0];
    let me = world.get("/v1/user").await;
    assert_eq!(change["actor"]["user"]["uid"], me["user_id"]);
    assert_eq!((&change["actor"]["user"]["type_id"], &change["actor"]["user"]["type"]), (&json!(2), &json!("Admin")));
    assert_eq!(change["device"], json!({"ip": "127.0.0.1", "type_id": 99}));
    let http = json!({"http_method": "PATCH", "url": {"path": key.path()}, "user_agent": "rotator/1.2"});
    assert_eq!(change["http_request"], http);
    assert_eq!(change["unmapped"]["target"], json!({"type": "api_key", "id": key.id, "name": "new name"}));
    assert_eq!(change["unmapped"]["request_id"], json!(request_id));
    assert_eq!(change["time"].as_i64().unwrap() / 1000, crate::harness::START.seconds());
    // The server's own: nobody's address, nobody's request.
    let first = entries(&page).last().unwrap();
    assert_eq!(
        (&first["actor"]["user"]["type"], &first["device"], &first["http_request"]),
        (&json!("System"), &Value::Null, &Value::Null)
    );
    // What was done with a service account's key is that account's.
    let manager = world.person("m@example.com", SeatType::WorkspaceAdmin).await.1;
    world.call_as(&manager, "POST", "/v1/service-accounts", json!({"name": "by another"})).await.ok();
    let made = logs(&world, "?limit=1").await;
    assert_eq!(entries(&made)[0]["actor"]["user"]["email_addr"], "m@example.com");
    let text = page.to_string();
    for secret in [key.secret.as_str(), world.admin.as_str(), "hunter2"] {
        assert!(!text.contains(secret), "{text}");
    }
}

async fn pages_follow_each_other_and_filters_narrow(engine: Engine) {
    let world = World::new(engine).await;
    let by_the_start = entries(&logs(&world, "").await).len();
    for number in 0..7 {
        world.clock.advance(10);
        world.account(&format!("account {number}")).await;
    }
    let whole = logs(&world, "?limit=100").await;
    let whole: Vec<_> = entries(&whole).iter().map(|entry| entry["id"].clone()).collect();
    for limit in [1, 2, 3, 5, 100] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = logs(&world, &format!("?limit={limit}{cursor}")).await;
            seen.extend(entries(&page).iter().map(|entry| entry["id"].clone()));
            assert_eq!(page["has_more"], page["next_cursor"].is_string());
            let Some(next) = page["next_cursor"].as_str() else { break };
            assert_eq!(entries(&page).len(), limit);
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole, "{limit} at a time");
    }
    // What is written meanwhile moves nothing.
    let page = logs(&world, "?limit=3").await;
    world.account("meanwhile").await;
    let second = logs(&world, &format!("?limit=3&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!(entries(&second).iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>(), whole[3..6]);

    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let count = async |query: &str| entries(&logs(&world, query).await).len();
    assert_eq!(count("?class_name=Account%20Change").await, 9);
    assert_eq!(count("?class_name=Entity+Management").await, by_the_start - 1);
    assert_eq!(count("?class_name=Authentication").await, 0);
    assert_eq!(count("?activity_name=Service%20Account%20Creation").await, 8);
    assert_eq!(count("?activity_name=Service%20Account%20Creation&class_name=Group%20Management").await, 0);
    assert_eq!((count(&format!("?actor_uid={me}")).await, count("?actor_uid=system").await), (8, by_the_start));
    assert_eq!(count(&format!("?actor_uid={me}&activity_name=User%20Creation")).await, 0);
    // Both ends of the time count.
    let times: Vec<_> = entries(&logs(&world, "?activity_name=Service%20Account%20Creation").await)
        .iter()
        .map(|entry| entry["time"].as_i64().unwrap())
        .collect();
    let (newest, oldest) = (times[2], times[5]);
    assert_eq!(count(&format!("?time_from_unix_ms={oldest}&time_to_unix_ms={newest}")).await, 4);
    assert_eq!(count(&format!("?time_from_unix_ms={}&time_to_unix_ms={}", oldest + 1, newest - 1)).await, 2);
    assert_eq!(count(&format!("?time_from_unix_ms={newest}&time_to_unix_ms={oldest}")).await, 0);
    // Filtered pages follow each other, too.
    let query = "?limit=3&activity_name=Service%20Account%20Creation";
    let first = logs(&world, query).await;
    let rest = logs(&world, &format!("{query}&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    let seen: BTreeSet<_> = entries(&first).iter().chain(entries(&rest)).map(|entry| entry["id"].to_string()).collect();
    assert_eq!((seen.len(), rest["has_more"].as_bool()), (6, Some(true)));
}

async fn clocks_that_go_back_lose_no_entry(engine: Engine) {
    let world = World::new(engine).await;
    let begun = entries(&logs(&world, "").await).len();
    for number in 0..6 {
        world.clock.advance(if number % 2 == 0 { 100 } else { -90 });
        world.account(&format!("account {number}")).await;
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = logs(&world, &format!("?limit=2{cursor}")).await;
        for entry in entries(&page) {
            assert!(seen.insert(entry["id"].to_string()), "twice");
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), begun + 6);
    assert_eq!(logs(&world, "/chain").await["verified"], true);
}

async fn a_cursor_is_good_for_its_workspace_and_its_filters_alone(engine: Engine) {
    let world = World::new(engine).await;
    let foreign = world.foreign_admin().await;
    for name in ["a", "b", "c"] {
        world.account(name).await;
        world.call_as(&foreign, "POST", "/v1/service-accounts", json!({"name": name})).await.ok();
    }
    let next = async |key: &str, query: &str| {
        let page = world.call_as(key, "GET", &format!("{LOGS}{query}"), Value::Null).await.ok();
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    let plain = next(&world.admin, "?limit=1").await;
    let filtered = next(&world.admin, "?limit=1&class_name=Account%20Change").await;
    let theirs = next(&foreign, "?limit=1").await;
    let flipped = if plain.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{flipped}", &plain[..plain.len() - 1]);
    for query in [
        format!("?cursor={theirs}"),
        format!("?cursor={filtered}"),
        format!("?class_name=Account%20Change&cursor={plain}"),
        format!("?class_name=Group%20Management&cursor={filtered}"),
        format!("?time_from_unix_ms=0&cursor={plain}"),
        format!("?cursor={forged}"),
        format!("?cursor=1.1.{}", &plain[plain.rfind('.').unwrap() + 1..]),
        "?cursor=".into(),
        "?cursor=..".into(),
        "?cursor=%00".into(),
    ] {
        world.call("GET", &format!("{LOGS}{query}"), Value::Null).await.is(400, "invalid_cursor");
    }
    // The page's size is no filter.
    logs(&world, &format!("?limit=7&cursor={plain}")).await;
}

async fn bad_questions_are_told_and_odd_names_find_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let whole = logs(&world, "").await;
    let blamed = async |query: &str| world.call("GET", &format!("{LOGS}{query}"), Value::Null).await.blamed();
    for limit in ["0", "101", "-1", "1.5", "x", "", "99999999999999999999"] {
        assert_eq!(blamed(&format!("?limit={limit}")).await, ["query.limit"], "{limit}");
    }
    for time in ["x", "", "-1", "1.5", "9223372036854775807", "2026-11-22"] {
        assert_eq!(blamed(&format!("?time_from_unix_ms={time}")).await, ["query.time_from_unix_ms"], "{time}");
        assert_eq!(blamed(&format!("?time_to_unix_ms={time}&limit=0")).await, ["query.limit", "query.time_to_unix_ms"]);
    }
    assert_eq!(blamed("?limit=1&limit=2").await, ["query.limit"]);
    let long = "x".repeat(5000);
    for odd in
        ["no%20such", "", "%00", "%ff", "%27%20OR%201%3D1--", "api%20key%20creation", "%F0%9F%92%A9", long.as_str()]
    {
        for filter in ["class_name", "activity_name", "actor_uid"] {
            let page = logs(&world, &format!("?{filter}={odd}")).await;
            assert_eq!(page, json!({"entries": [], "has_more": false, "next_cursor": null}), "{filter}={odd}");
        }
    }
    // The widest span, and what nobody asked for.
    let page = logs(&world, "?time_from_unix_ms=0&time_to_unix_ms=9007199254740991&surprise=1").await;
    assert_eq!(page, whole);
}

async fn refused(world: &World) -> Vec<Value> {
    let page = logs(world, "?activity_name=Access%20Refused").await;
    entries(&page).clone()
}

async fn a_refused_call_of_a_known_caller_is_written_once_a_minute(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let headers = [("content-type", "application/json"), ("user-agent", "prober/1")];
    let probe = async |path: &str| {
        let request = World::request("POST", path, &key.secret, &headers, r#"{"name":"x"}"#);
        world.send(request).await.is(403, "insufficient_permissions");
    };
    for _ in 0..3 {
        probe("/v1/service-accounts?token=hunter2").await;
    }
    probe(&format!("/v1/service-accounts/{}/api-keys", key.account)).await;
    // A key without the permission is stopped at the gate; it is known all the same.
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let bare = world.key(&me, json!({"name": "bare", "permissions": []})).await;
    world.call_as(&bare.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    let bound = world.key(&me, json!({"name": "bound", "allowed_ips": ["203.0.113.7"]})).await;
    world.call_as(&bound.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "ip_not_allowed");
    // What is not there, or not theirs, with a secret in the place of an id.
    let lost = format!("/v1/service-accounts/{}", key.secret);
    world.call("GET", &lost, Value::Null).await.is(404, "service_account_not_found");
    refusals::write(&world.app, false).await.unwrap();
    assert_eq!(refused(&world).await.len(), 0, "the minute is not over");
    world.clock.advance(60);
    probe("/v1/service-accounts").await;
    refusals::write(&world.app, false).await.unwrap();
    let rows = refused(&world).await;
    let told: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let of = &row["unmapped"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (
                text(&of["key_id"]),
                text(&of["target"]["id"]),
                text(&of["details"]["code"]),
                of["count"].as_i64().unwrap(),
            )
        })
        .collect();
    let admin_key = world.get("/v1/api-keys/self").await["key_id"].as_str().unwrap().to_owned();
    let line = |key: &str, route: &str, code: &str, count| (key.to_owned(), route.to_owned(), code.to_owned(), count);
    assert_eq!(
        told,
        BTreeSet::from([
            line(&key.id, "create_service_account", "insufficient_permissions", 3),
            line(&key.id, "create_service_account_api_key", "insufficient_permissions", 1),
            line(&bare.id, "list_service_accounts", "insufficient_permissions", 1),
            line(&bound.id, "list_service_accounts", "ip_not_allowed", 1),
            line(&admin_key, "get_service_account", "service_account_not_found", 1),
        ])
    );
    let merged = rows.iter().find(|row| row["unmapped"]["count"] == 3).unwrap();
    assert_eq!(
        (&merged["status_id"], &merged["severity_id"], &merged["class_uid"]),
        (&json!(2), &json!(2), &json!(3004))
    );
    assert_eq!(merged["actor"]["user"]["uid"], json!(key.account));
    assert_eq!((&merged["actor"]["user"]["type"], &merged["actor"]["user"]["name"]), (&json!("Service"), &json!("ci")));
    assert_eq!(merged["device"]["ip"], "127.0.0.1");
    let http = json!({"http_method": "POST", "url": {"path": "/v1/service-accounts"}, "user_agent": "prober/1"});
    assert_eq!(merged["http_request"], http);
    assert_eq!(merged["unmapped"]["details"]["missing_permissions"], json!(["service_accounts_manage"]));
    assert_eq!(merged["unmapped"]["target"]["name"], "POST /v1/service-accounts");
    let by_them = logs(&world, &format!("?actor_uid={}", key.account)).await;
    assert_eq!(entries(&by_them).len(), 2);
    // The next minute's is its own row.
    world.clock.advance(60);
    refusals::write(&world.app, false).await.unwrap();
    assert_eq!(refused(&world).await.len(), rows.len() + 1);
    let text = logs(&world, "?limit=100").await.to_string();
    assert!(!text.contains(&key.secret) && !text.contains("hunter2"));
    assert_eq!(logs(&world, "/chain").await["verified"], true);
}

async fn who_is_not_let_in_and_who_mistypes_is_not_written(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let disabled = world.key(&key.account, json!({"name": "disabled"})).await;
    world.call("POST", &format!("{}/disable", disabled.path()), Value::Null).await.ok();
    for secret in ["", "garbage", &disabled.secret] {
        assert_eq!(world.call_as(secret, "POST", "/v1/service-accounts", json!({"name": "x"})).await.status, 401);
    }
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.is(401, "api_key_revoked");
    assert_eq!(world.call("POST", "/v1/service-accounts", json!({"name": 7})).await.status, 422);
    let request =
        World::request("POST", "/v1/service-accounts", &world.admin, &[("content-type", "application/json")], "{");
    world.send(request).await.is(400, "malformed_json");
    world.call("GET", &format!("{LOGS}?cursor=x"), Value::Null).await.is(400, "invalid_cursor");
    world.call("GET", "/v1/no/such/route", Value::Null).await.is(404, "route_not_found");
    // A question about keys is no management.
    let asker = world.key(&world.account("asker").await, json!({"name": "k", "permissions": []})).await;
    let ask = json!({"api_key": "x"});
    world.call_as(&asker.secret, "POST", "/v1/api-keys/verify", ask).await.is(403, "insufficient_permissions");
    refusals::write(&world.app, true).await.unwrap();
    assert_eq!(refused(&world).await, Vec::<Value>::new());
}

async fn a_server_that_stops_writes_what_was_refused(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let running = jobs::start(&world.app);
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    jobs::finish(&world.app, running).await;
    assert_eq!(refused(&world).await.len(), 1);
}

async fn refused_calls_give_no_tampered_workspace_a_seal(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    let rows = world.count("SELECT COUNT(*) FROM audit_log").await;
    world.tamper("UPDATE workspaces SET seats = 1000").await;
    refusals::write(&world.app, true).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM audit_log").await, rows);
    let id = world.workspace.clone();
    let row = world.app.store.read(move |tx: &mut Tx<'_>| stead_server::workspaces::find(tx, &id)).await.unwrap();
    assert!(!row.unwrap().is_sealed(&pepper()));
}

async fn admins_read_the_log_and_whom_a_group_lets(engine: Engine) {
    let world = World::new(engine).await;
    let begun = logs(&world, "").await;
    let (reader, secret) = world.person("auditor@example.com", SeatType::WorkspaceMember).await;
    for path in [LOGS, "/v1/workspace/audit-logs/chain"] {
        world.call_as(&secret, "GET", path, Value::Null).await.is(403, "insufficient_permissions");
    }
    world.group(&["audit_log_read"], vec![reader]).await;
    for path in [LOGS, "/v1/workspace/audit-logs/chain"] {
        world.call_as(&secret, "GET", path, Value::Null).await.ok();
    }
    // Another workspace's log is another log.
    let foreign = world.foreign_admin().await;
    let theirs = world.call_as(&foreign, "GET", LOGS, Value::Null).await.ok();
    assert_eq!(entries(&theirs).len(), entries(&begun).len());
    assert!(!theirs.to_string().contains("auditor@example.com"));
    let ours = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let none = world.call_as(&foreign, "GET", &format!("{LOGS}?actor_uid={ours}"), Value::Null).await.ok();
    assert_eq!(entries(&none).len(), 0);
}

async fn the_chain_is_whole_until_somebody_touches_it(engine: Engine) {
    let world = World::new(engine).await;
    world.account("ci").await;
    let page = logs(&world, "").await;
    let count = entries(&page).len();
    let whole = logs(&world, "/chain").await;
    assert_eq!((&whole["entries"], &whole["verified"], &whole["problems"]), (&json!(count), &json!(true), &json!([])));
    let newest = logs(&world, "?limit=1").await;
    assert_eq!(whole["head"], entries(&newest)[0]["unmapped"]["hash"]);
    world.tamper("UPDATE audit_log SET actor_id = 'nobody' WHERE seq = 3").await;
    let broken = logs(&world, "/chain").await;
    assert_eq!(broken["verified"], false);
    assert!(broken["problems"][0].as_str().unwrap().contains("row 3 was edited"), "{broken}");
    // It can be read all the same.
    world.tamper("UPDATE audit_log SET actor = '{', target = '', class_uid = 7 WHERE seq = 4").await;
    assert_eq!(entries(&logs(&world, "").await).len(), count);
    world.tamper("DELETE FROM audit_log").await;
    assert_eq!(logs(&world, "/chain").await["problems"].as_array().unwrap().len(), 1);
}

/// Every row of every table that a change may touch.
async fn everything(world: &World, engine: Engine) -> Vec<String> {
    // Written behind verifications, which are no changes.
    const BEHIND: [&str; 3] = ["key_uses", "credits", "credit_leases"];
    let tables = match engine {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Engine::Postgres => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
        }
    };
    let read = move |tx: &mut Tx<'_>| {
        let tables: Vec<String> = tx.all(tables, &[], |row| row.get(0))?;
        let mut rows = Vec::new();
        for table in tables.iter().filter(|table| !BEHIND.contains(&table.as_str())) {
            let sql: &'static str = format!("SELECT * FROM {table}").leak();
            rows.extend(tx.all(sql, &[], |row| Ok(format!("{table}: {row:?}")))?);
        }
        rows.sort();
        Ok::<_, stead_server::store::Error>(rows)
    };
    world.app.store.read(read).await.unwrap()
}

/// Every route that may change something, called so that it would succeed, each on a server of its own.
async fn no_route_changes_anything_without_an_entry(engine: Engine) {
    let (mut done, mut strange) = (Vec::new(), BTreeSet::new());
    for route in routes() {
        if route.method == "GET" || !route.access.is_management() || route.access == Access::Operator {
            continue;
        }
        let world = World::new(engine).await;
        let things = Things::new(&world).await;
        if route.id.starts_with("undo_") {
            world.call("POST", &format!("{}/rotate", things.key.path()), json!({})).await.ok();
        }
        let (path, body) = example(&route, &things).unwrap_or_else(|| panic!("`{}` has no line in the walk", route.id));
        let rows = async || world.count("SELECT COUNT(*) FROM audit_log").await;
        let (before, rows_before) = (everything(&world, engine).await, rows().await);
        let reply = world.call(route.method.as_str(), &path, body).await;
        let (after, written) = (everything(&world, engine).await, rows().await - rows_before);
        if reply.status == 200 {
            done.push(route.id);
            assert_eq!(
                after != before,
                written > 0,
                "{}: changed something without an entry, or the reverse",
                route.id
            );
            assert_eq!(reply.headers.contains_key("x-stead-revision"), written > 0, "{}", route.id);
        } else {
            assert!(after == before, "{}: refused ({}), but changed something", route.id, reply.text);
            refusals::write(&world.app, true).await.unwrap();
            // Nobody who is known was refused, nothing is refused to anybody, or it was a mistake in the input.
            let is_nobodys = route.access == Access::Guest || route.tag == ABSENT;
            let is_noted = !is_nobodys && reply.status != 422 && reply.code() != "malformed_json";
            assert_eq!(rows().await - rows_before, i64::from(is_noted), "{}: {}", route.id, reply.text);
        }
        let activities = |tx: &mut Tx<'_>| tx.all("SELECT DISTINCT activity FROM audit_log", &[], |row| row.get(0));
        let activities: Vec<String> = world.app.store.read(activities).await.unwrap();
        strange.extend(activities.into_iter().filter(|name| !activities::is_known(name)));
    }
    assert!(strange.is_empty(), "not in the table of activities: {strange:?}");
    for route in [
        "create_service_account",
        "update_service_account",
        "delete_service_account",
        "create_service_account_api_key",
        "update_service_account_api_key",
        "delete_service_account_api_key",
        "disable_service_account_api_key",
        "rotate_service_account_api_key",
        "undo_service_account_api_key_rotation",
        "disable_own_api_key",
        "create_group",
        "update_group",
        "delete_group",
        "create_resource",
        "update_resource",
        "delete_resource",
        "share_resource",
        "create_invite",
        "create_invites",
        "create_webhook",
        "update_own_workspace",
        "set_third_party_disabling",
        "set_member_usage_limit",
    ] {
        assert!(done.contains(&route), "`{route}` did not succeed: its entry was not looked for");
    }
}
