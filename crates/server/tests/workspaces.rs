//! The operator's API, and how apart workspaces are.

use crate::harness::{DAY, Engine, OPERATOR, START, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use stead_server::audit::AuditRow;
use stead_server::http::Door;
use stead_server::members::SeatType;

on_both_stores! {
    the_operator_makes_lists_reads_and_changes_workspaces
    a_suspended_workspace_refuses_every_key_until_it_goes_on
    two_workspaces_see_nothing_of_each_other
    the_operators_credential_opens_nothing_else
    a_retry_makes_no_second_workspace
    many_retries_at_once_make_one_workspace
    a_workspace_has_limits_of_its_own
    bad_input_changes_nothing
    a_workspace_that_somebody_else_wrote_gets_no_seal
    members_see_their_workspace_and_admins_change_it
    pages_of_workspaces
}

/// A call as the operator.
async fn operate(world: &World, method: &str, path: &str, body: Value) -> Value {
    world.call_as(OPERATOR, method, path, body).await.ok()
}

/// Makes a workspace; returns its path and its owner's key.
async fn make(world: &World, name: &str) -> (String, String) {
    let body = json!({"name": name, "owner_email": format!("{name}@example.com"), "seats": 5});
    let made = operate(world, "POST", "/v1/workspaces", body).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (format!("/v1/workspaces/{}", text("workspace_id")), text("api_key"))
}

/// The audit log of a workspace, the oldest first.
async fn log(world: &World, path: &str) -> Vec<AuditRow> {
    let id = path.rsplit('/').next().unwrap().into();
    let mut rows = world.app.store.read(move |tx| stead_server::audit::recent(tx, &id, 100)).await.unwrap();
    rows.reverse();
    rows
}

async fn the_operator_makes_lists_reads_and_changes_workspaces(engine: Engine) {
    let world = World::new(engine).await;
    let body = json!({"name": "Acme", "owner_email": "Owner@Acme.example", "seats": 3, "billing_day": 15, "billing_zone": "Europe/Berlin"});
    let reply = world.call_as(OPERATOR, "POST", "/v1/workspaces", body).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let made = reply.ok();
    assert_eq!(made["xi-api-key"], made["api_key"]);
    assert_eq!(made["key_id"], made["api_key_id"]);
    let wanted = json!({
        "workspace_id": made["workspace_id"], "name": "Acme", "owner_user_id": made["owner_user_id"],
        "owner_email": "owner@acme.example", "seats": 3, "seats_used": 1, "is_disabled": false, "billing_day": 15,
        "billing_zone": "Europe/Berlin", "limits": {"service_accounts": null, "api_keys_per_account": null},
        "created_at": made["created_at"],
    });
    let path = format!("/v1/workspaces/{}", made["workspace_id"].as_str().unwrap());
    assert_eq!(operate(&world, "GET", &path, Value::Null).await, wanted);
    let owner = made["api_key"].as_str().unwrap();
    let me = world.call_as(owner, "GET", "/v1/user", Value::Null).await.ok();
    assert_eq!((&me["workspace_id"], &me["user_id"]), (&made["workspace_id"], &made["owner_user_id"]));
    assert_eq!(me["seat_type"], "workspace_admin");

    let listed = operate(&world, "GET", "/v1/workspaces", Value::Null).await;
    assert_eq!(listed["workspaces"].as_array().unwrap().len(), 2);
    assert_eq!((&listed["workspaces"][1], &listed["has_more"]), (&wanted, &json!(false)));
    assert!(!listed.to_string().contains(owner));

    let change = json!({"name": "Acme Ltd", "seats": 4, "billing_day": 1, "billing_zone": "UTC", "limits": {"service_accounts": 2}});
    let changed = operate(&world, "PATCH", &path, change.clone()).await;
    assert_eq!(
        (&changed["name"], &changed["seats"], &changed["limits"]["service_accounts"]),
        (&json!("Acme Ltd"), &json!(4), &json!(2))
    );
    // The same again, nothing and nulls change nothing, and leave no trace.
    for nothing in [change, json!({}), json!({"name": null, "seats": null, "limits": null, "is_disabled": "no_update"})]
    {
        assert_eq!(operate(&world, "PATCH", &path, nothing).await, changed);
    }
    let rows = log(&world, &path).await;
    let activities: Vec<_> = rows.iter().map(|row| row.activity.as_str()).collect();
    assert_eq!(
        activities,
        ["Workspace Creation", "User Creation", "User API Key Creation", "Workspace Metadata Update"]
    );
    for row in &rows {
        assert!(row.actor.contains(r#""type":"operator""#) && row.actor.contains("127.0.0.1"), "{}", row.actor);
        assert!(!format!("{row:?}").contains(owner) && !format!("{row:?}").contains(OPERATOR));
    }
    assert!(rows[3].details.contains(r#""seats":{"from":3,"to":4}"#), "{}", rows[3].details);
    world
        .call_as(OPERATOR, "GET", "/v1/workspaces/ws_0000000000000000000000", Value::Null)
        .await
        .is(404, "workspace_not_found");
    world
        .call_as(OPERATOR, "PATCH", "/v1/workspaces/nonsense", json!({"seats": 2}))
        .await
        .is(404, "workspace_not_found");
    // An owner who has lost the key gets another one from whoever has the data directory.
    let id = made["workspace_id"].as_str().unwrap().into();
    let spare = stead_server::app::create_owner_key(&world.app, Some(id)).await.unwrap();
    let me = world.call_as(spare.expose(), "GET", "/v1/user", Value::Null).await.ok();
    assert_eq!(me["user_id"], made["owner_user_id"]);
    assert!(stead_server::app::create_owner_key(&world.app, Some("ws_x".into())).await.is_err());
    // It is all there after a start.
    let world = world.restarted(pepper()).await;
    assert_eq!(operate(&world, "GET", &path, Value::Null).await, changed);
    assert_eq!(world.verify(owner).await, "NOT_FOUND");
    world.call_as(owner, "GET", "/v1/user", Value::Null).await.ok();
}

async fn a_suspended_workspace_refuses_every_key_until_it_goes_on(engine: Engine) {
    let world = World::new(engine).await;
    let (path, owner) = make(&world, "theirs").await;
    let account = world.call_as(&owner, "POST", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
    let keys = format!("/v1/service-accounts/{}/api-keys", account["service_account_id"].as_str().unwrap());
    let key =
        world.call_as(&owner, "POST", &keys, json!({"name": "k"})).await.ok()["api_key"].as_str().unwrap().to_owned();
    operate(&world, "PATCH", &path, json!({"is_disabled": true})).await;
    for secret in [&owner, &key] {
        world.call_as(secret, "GET", "/v1/user", Value::Null).await.is(401, "workspace_disabled");
        let ask = World::request(
            "POST",
            "/v1/api-keys/verify",
            "",
            &[("content-type", "application/json")],
            json!({"api_key": secret}).to_string(),
        );
        assert_eq!(world.send_by(Door::Verification, ask).await.ok()["code"], "WORKSPACE_DISABLED");
    }
    // Nobody else is concerned, and another start changes nothing.
    world.account_with_key().await;
    let world = world.restarted(pepper()).await;
    world.call_as(&key, "GET", "/v1/user", Value::Null).await.is(401, "workspace_disabled");
    assert_eq!(operate(&world, "PATCH", &path, json!({"is_disabled": false})).await["is_disabled"], false);
    world.call_as(&owner, "POST", "/v1/service-accounts", json!({"name": "again"})).await.ok();
    world.call_as(&key, "GET", "/v1/user", Value::Null).await.ok();
}

async fn two_workspaces_see_nothing_of_each_other(engine: Engine) {
    let world = World::new(engine).await;
    let ((_, a), (_, b)) = (make(&world, "a").await, make(&world, "b").await);
    let account = async |owner: &str| {
        let made = world.call_as(owner, "POST", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
        made["service_account_id"].as_str().unwrap().to_owned()
    };
    let (of_a, of_b) = (account(&a).await, account(&b).await);
    let keys = |account: &str| format!("/v1/service-accounts/{account}/api-keys");
    let made = world.call_as(&a, "POST", &keys(&of_a), json!({"name": "k"})).await.ok();
    let (id, secret) = (made["key_id"].as_str().unwrap(), made["api_key"].as_str().unwrap());
    for path in ["/v1/service-accounts", "/v1/api-keys", "/v1/workspace", "/v1/decisions", "/v1/user"] {
        let told = world.call_as(&b, "GET", path, Value::Null).await.ok().to_string();
        assert!(!told.contains(&of_a) && !told.contains(id), "{path}: {told}");
    }
    for (method, path) in
        [("GET", keys(&of_a)), ("POST", keys(&of_a)), ("DELETE", format!("/v1/service-accounts/{of_a}"))]
    {
        world.call_as(&b, method, &path, json!({"name": "x"})).await.is(404, "service_account_not_found");
    }
    world.call_as(&b, "DELETE", &format!("{}/{id}", keys(&of_b)), Value::Null).await.is(404, "api_key_not_found");
    let asked = world.call_as(&b, "POST", "/v1/api-keys/verify", json!({"api_key": secret})).await.ok();
    assert_eq!(asked["code"], "NOT_FOUND");
    // Both have an owner, a group of everybody and an audit log of their own, with the same first rows.
    assert_eq!(world.count("SELECT COUNT(*) FROM member_groups").await, 3);
    // What one suspends, limits or asks of keys is not the other's.
    world.call_as(&b, "PATCH", "/v1/workspace", json!({"policies": {"allowed_ips_required": true}})).await.ok();
    world.call_as(&a, "POST", &keys(&of_a), json!({"name": "free"})).await.ok();
    world
        .call_as(
            &b,
            "POST",
            "/v1/workspaces/api-keys/third-party-disabling",
            json!({"third_party_disable_allowed": false}),
        )
        .await
        .ok();
    world.call_as(secret, "POST", "/v1/workspaces/api-keys/disable?api_key_name=self", Value::Null).await.ok();
}

async fn the_operators_credential_opens_nothing_else(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    for (method, path) in [
        ("GET", "/v1/service-accounts".to_owned()),
        ("GET", "/v1/api-keys".to_owned()),
        ("GET", "/v1/user".to_owned()),
        ("GET", "/v1/workspace".to_owned()),
        ("GET", key.path()),
        ("DELETE", key.path()),
        ("POST", "/v1/api-keys/verify".to_owned()),
    ] {
        world.call_as(OPERATOR, method, &path, Value::Null).await.is(401, "invalid_api_key");
    }
    assert_eq!(world.verify(OPERATOR).await, "MALFORMED");
    // Nor is anything like it, and only the public listener knows it.
    let almost = format!("{}x", &OPERATOR[..OPERATOR.len() - 1]);
    for wrong in [&OPERATOR[1..], &almost, "stead_operator_", "x"] {
        world.call_as(wrong, "GET", "/v1/workspaces", Value::Null).await.is(401, "invalid_api_key");
    }
    let request = World::request("GET", "/v1/workspaces", OPERATOR, &[], "");
    world.send_by(Door::Verification, request).await.is(404, "route_not_found");
    let bearer = format!("Bearer {OPERATOR}");
    let request = World::request("GET", "/v1/workspaces", "", &[("authorization", &bearer)], "");
    world.send(request).await.is(401, "invalid_authorization_header");
    // A credential in a form of one's own does as well.
    let own = "operators-own-credential-0123456789";
    let world = World::with(engine, &[("operator-api-key", own)]).await;
    world.call_as(own, "GET", "/v1/workspaces", Value::Null).await.ok();
    assert_eq!(world.verify(own).await, "NOT_FOUND");
    world.call_as(own, "GET", "/v1/user", Value::Null).await.is(401, "invalid_api_key");
    world.call_as(OPERATOR, "GET", "/v1/workspaces", Value::Null).await.is(401, "invalid_api_key");
}

async fn a_retry_makes_no_second_workspace(engine: Engine) {
    let world = World::new(engine).await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let create = async |body: &str| {
        world.send(World::request("POST", "/v1/workspaces", OPERATOR, &headers, body.to_owned())).await
    };
    let body = r#"{"name":"Acme","owner_email":"o@example.com"}"#;
    let first = create(body).await.ok();
    assert_eq!(create(body).await.ok(), first);
    create(r#"{"name":"Other","owner_email":"o@example.com"}"#).await.is(422, "idempotency_key_reused");
    world.clock.advance(61);
    let later = create(body).await;
    later.is(409, "secret_already_shown");
    assert_eq!(later.body["detail"]["key_id"], first["key_id"]);
    assert_eq!(world.count("SELECT COUNT(*) FROM workspaces").await, 2);
    world.clock.advance(DAY);
    assert_ne!(create(body).await.ok()["workspace_id"], first["workspace_id"]);
}

async fn many_retries_at_once_make_one_workspace(engine: Engine) {
    let world = World::new(engine).await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let body = r#"{"name":"Acme","owner_email":"o@example.com"}"#;
    let create = || world.send(World::request("POST", "/v1/workspaces", OPERATOR, &headers, body));
    let (a, b, c, d) = tokio::join!(create(), create(), create(), create());
    let ids: Vec<_> = [a, b, c, d].into_iter().map(|reply| reply.ok()["workspace_id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.count("SELECT COUNT(*) FROM workspaces").await, 2);
}

async fn a_workspace_has_limits_of_its_own(engine: Engine) {
    let world = World::with(engine, &[("max-accounts", "2"), ("max-keys-per-account", "2")]).await;
    let (path, owner) = make(&world, "theirs").await;
    let limits = json!({"limits": {"service_accounts": 1, "api_keys_per_account": 3}});
    operate(&world, "PATCH", &path, limits).await;
    let own = world.call_as(&owner, "GET", "/v1/workspace", Value::Null).await.ok();
    assert_eq!(own["limits"], json!({"service_accounts": 1, "api_keys_per_account": 3}));
    let add = async || world.call_as(&owner, "POST", "/v1/service-accounts", json!({"name": "ci"})).await;
    let account = add().await.ok()["service_account_id"].as_str().unwrap().to_owned();
    add().await.is(400, "limit_reached");
    let keys = format!("/v1/service-accounts/{account}/api-keys");
    for _ in 0..3 {
        world.call_as(&owner, "POST", &keys, json!({"name": "k"})).await.ok();
    }
    world.call_as(&owner, "POST", &keys, json!({"name": "k"})).await.is(400, "limit_reached");
    // The other's are the settings', and so are these again.
    world.account("one").await;
    world.account("two").await;
    let cleared = json!({"limits": {"service_accounts": "clear", "api_keys_per_account": "clear"}});
    let changed = operate(&world, "PATCH", &path, cleared).await;
    assert_eq!(changed["limits"], json!({"service_accounts": null, "api_keys_per_account": null}));
    add().await.ok();
    add().await.is(400, "limit_reached");
}

async fn bad_input_changes_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let (path, owner) = make(&world, "theirs").await;
    let state = async || world.count("SELECT CAST(SUM(audit_seq) AS BIGINT) FROM workspaces").await;
    let before = state().await;
    let create = json!({"name": "n", "owner_email": "o@example.com"});
    for (field, values) in [
        (
            "name",
            vec![
                Value::Null,
                json!(""),
                json!(" "),
                json!(7),
                json!("x".repeat(129)),
                json!("a\u{202e}b"),
                json!("a\nb"),
            ],
        ),
        (
            "owner_email",
            vec![
                Value::Null,
                json!(""),
                json!(7),
                json!("nobody"),
                json!("@"),
                json!("a b@c"),
                json!(format!("{}@c", "x".repeat(253))),
            ],
        ),
        ("seats", vec![json!(0), json!(-1), json!(1.5), json!("5"), json!(1_000_001), json!(1e300)]),
        ("billing_day", vec![json!(0), json!(32), json!("1")]),
        ("billing_zone", vec![json!("Mars/Base"), json!(1), json!("../../etc/passwd"), json!("x".repeat(65))]),
    ] {
        for value in values {
            let mut body = create.clone();
            body[field] = value.clone();
            let reply = world.call_as(OPERATOR, "POST", "/v1/workspaces", body).await;
            assert_eq!(reply.blamed(), [format!("body.{field}")], "{value}");
            if !value.is_null() {
                let reply = world.call_as(OPERATOR, "PATCH", &path, json!({ field: value })).await;
                // An owner is not changed here.
                assert!(field == "owner_email" || reply.blamed() == [format!("body.{field}")], "{value}");
            }
        }
    }
    for (body, blamed) in [
        (json!({"is_disabled": "true"}), "body.is_disabled"),
        (json!({"limits": 3}), "body.limits"),
        (json!({"limits": {"service_accounts": -1}}), "body.limits.service_accounts"),
        (json!({"limits": {"api_keys_per_account": "many"}}), "body.limits.api_keys_per_account"),
    ] {
        assert_eq!(world.call_as(OPERATOR, "PATCH", &path, body).await.blamed(), [blamed]);
    }
    for (policy, values) in [
        ("default_expiry_seconds", vec![json!(59), json!("1d"), json!(315_360_001), json!(true)]),
        ("max_expiry_seconds", vec![json!(0), json!([]), json!(1e12)]),
        ("expiry_required", vec![json!("some"), json!(true), json!(1)]),
        ("allowed_permissions", vec![json!("all"), json!({}), json!([1]), json!(["nonsense"])]),
        ("allowed_ips_required", vec![json!("yes"), json!(0)]),
        ("disable_idle_after_days", vec![json!(0), json!(3651), json!("30")]),
    ] {
        for value in values {
            let reply = world.call_as(&owner, "PATCH", "/v1/workspace", json!({"policies": { policy: value }})).await;
            let blamed = reply.blamed();
            assert!(blamed.iter().all(|place| place.starts_with(&format!("body.policies.{policy}"))), "{blamed:?}");
        }
    }
    let crossed = json!({"policies": {"default_expiry_seconds": 120, "max_expiry_seconds": 60}});
    let reply = world.call_as(&owner, "PATCH", "/v1/workspace", crossed).await;
    assert_eq!(reply.blamed(), ["body.policies.default_expiry_seconds"]);
    for wrong in [json!("yes"), json!(1), json!([])] {
        let path = "/v1/workspaces/api-keys/third-party-disabling";
        let reply = world.call_as(&owner, "POST", path, json!({"third_party_disable_allowed": wrong})).await;
        assert_eq!(reply.blamed(), ["body.third_party_disable_allowed"]);
    }
    for query in ["limit=0", "limit=201", "limit=x", "limit=1&limit=2"] {
        assert_eq!(world.call_as(OPERATOR, "GET", &format!("/v1/workspaces?{query}"), Value::Null).await.status, 422);
    }
    world.call_as(OPERATOR, "GET", "/v1/workspaces?cursor=1.ws_x.00", Value::Null).await.is(400, "invalid_cursor");
    assert_eq!(state().await, before);
}

async fn a_workspace_that_somebody_else_wrote_gets_no_seal(engine: Engine) {
    let world = World::new(engine).await;
    let (path, owner) = make(&world, "theirs").await;
    world.tamper("UPDATE workspaces SET policies = '{\"expiry_required\":\"none\",\"allowed_ips_required\":false}', seats = 999").await;
    world.call_as(OPERATOR, "PATCH", &path, json!({"is_disabled": false, "name": "x"})).await.is(403, "not_trusted");
    // A report of its key can't make the row good again, either.
    world.call_as("", "POST", "/v1/api-keys/report", json!({"api_key": owner})).await.ok();
    let world = world.restarted(pepper()).await;
    world.call_as(&owner, "GET", "/v1/user", Value::Null).await.is(401, "workspace_disabled");
}

async fn members_see_their_workspace_and_admins_change_it(engine: Engine) {
    let world = World::new(engine).await;
    let (_, member) = world.person("m@example.com", SeatType::WorkspaceMember).await;
    world.person("lite@example.com", SeatType::WorkspaceLiteMember).await;
    let key = world.account_with_key().await;
    let shown = world.get("/v1/workspace").await;
    // The owner and the member; neither the basic seat nor the service account.
    assert_eq!((&shown["seats"], &shown["seats_used"]), (&json!(10), &json!(2)));
    assert_eq!(shown["limits"], json!({"service_accounts": 20, "api_keys_per_account": 1000}));
    let none = json!({
        "default_expiry_seconds": null, "max_expiry_seconds": null, "expiry_required": "none", "allowed_permissions": null,
        "allowed_ips_required": false, "disable_idle_after_days": null,
    });
    assert_eq!((&shown["policies"], &shown["third_party_disable_allowed"]), (&none, &Value::Null));
    for who in [&member, &key.secret] {
        assert_eq!(world.call_as(who, "GET", "/v1/workspace", Value::Null).await.ok(), shown);
        world.call_as(who, "PATCH", "/v1/workspace", json!({"name": "mine"})).await.is(403, "forbidden");
    }
    let all = json!({
        "default_expiry_seconds": 3600, "max_expiry_seconds": 7200, "expiry_required": "user_keys",
        "allowed_permissions": ["text_to_speech"], "allowed_ips_required": true, "disable_idle_after_days": 30,
    });
    let changed = world.call("PATCH", "/v1/workspace", json!({"name": "Ours", "policies": all})).await.ok();
    assert_eq!((&changed["name"], &changed["policies"]), (&json!("Ours"), &all));
    for nothing in [
        json!({}),
        json!({"policies": {}}),
        json!({"policies": {"max_expiry_seconds": null, "expiry_required": "no_update"}, "seats": 99}),
    ] {
        assert_eq!(world.call("PATCH", "/v1/workspace", nothing).await.ok(), changed);
    }
    let cleared = json!({"policies": {
        "default_expiry_seconds": "clear", "max_expiry_seconds": "clear", "expiry_required": "none",
        "allowed_permissions": "clear", "allowed_ips_required": false, "disable_idle_after_days": "clear",
    }});
    assert_eq!(world.call("PATCH", "/v1/workspace", cleared).await.ok()["policies"], none);
    let rows = log(&world, world.workspace.as_str()).await;
    let updates: Vec<_> = rows.iter().filter(|row| row.activity == "Workspace Metadata Update").collect();
    assert_eq!(updates.len(), 2);
    assert!(updates[0].details.contains("user_keys") && updates[0].actor.contains("owner@localhost"));
}

async fn pages_of_workspaces(engine: Engine) {
    let world = World::new(engine).await;
    for name in ["a", "b", "c", "d"] {
        make(&world, name).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = operate(&world, "GET", &format!("/v1/workspaces?limit=2{cursor}"), Value::Null).await;
        let found = page["workspaces"].as_array().unwrap();
        assert!(found.len() <= 2);
        names.extend(found.iter().map(|workspace| workspace["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["My workspace", "a", "b", "c", "d"]);
}

/// Asks a node who a key is until it answers so.
async fn until(node: &World, key: &str, status: u16) {
    let started = Instant::now();
    while node.call_as(key, "GET", "/v1/user", Value::Null).await.status != status {
        assert!(started.elapsed() < Duration::from_secs(30), "never {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_is_told_the_other_knows() {
    let here = World::new(Engine::Postgres).await;
    let there = here.another(pepper()).await;
    let jobs = (stead_server::jobs::start(&here.app), stead_server::jobs::start(&there.app));
    let (path, owner) = make(&here, "theirs").await;
    until(&there, &owner, 200).await;
    let account = there.call_as(&owner, "POST", "/v1/service-accounts", json!({"name": "ci"})).await.ok();
    let keys = format!("/v1/service-accounts/{}/api-keys", account["service_account_id"].as_str().unwrap());
    // Policies and the rule for others are read where the work is done: at once.
    here.call_as(&owner, "PATCH", "/v1/workspace", json!({"policies": {"expiry_required": "all"}})).await.ok();
    let refused = there.call_as(&owner, "POST", &keys, json!({"name": "k"})).await;
    assert_eq!(refused.blamed(), ["body.expires_at_unix"]);
    let new = json!({"name": "k", "expires_at": START.seconds() + DAY});
    let key = there.call_as(&owner, "POST", &keys, new).await.ok()["api_key"].as_str().unwrap().to_owned();
    until(&here, &key, 200).await;
    here.call_as("", "POST", "/v1/api-keys/report", json!({"api_key": key})).await.ok();
    until(&there, &key, 401).await;
    operate(&here, "PATCH", &path, json!({"is_disabled": true})).await;
    until(&there, &owner, 401).await;
    operate(&there, "PATCH", &path, json!({"is_disabled": false})).await;
    until(&here, &owner, 200).await;
    stead_server::jobs::finish(&here.app, jobs.0).await;
    stead_server::jobs::finish(&there.app, jobs.1).await;
}
