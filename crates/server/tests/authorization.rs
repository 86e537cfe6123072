//! The walk: every route of the table as everybody who may not call it. A route that is new in the table and has no
//! line here fails.

use crate::harness::{DAY, Engine, Key, OPERATOR, Reply, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::http::routes::{ABSENT, Route, routes};
use stead_server::members::{Access, SeatType};

on_both_stores! {
    every_route_refuses_who_may_not_call_it
    not_yours_reads_like_not_there
    a_key_needs_the_permission_and_its_owner_the_right
    who_comes_before_what
}

/// What the example calls are about.
#[derive(Clone)]
pub(crate) struct Things {
    pub(crate) key: Key,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) workspace: String,
    pub(crate) webhook: String,
    pub(crate) event: String,
    pub(crate) decision: String,
    pub(crate) lease: String,
    /// Whose limit is set, and who is asked about.
    pub(crate) user: String,
    /// Who joins and leaves groups.
    pub(crate) email: String,
    /// Who is locked and removed.
    pub(crate) person: String,
    pub(crate) invited: String,
}

impl Things {
    pub(crate) async fn new(world: &World) -> Self {
        let group = world.group(&[], Vec::new()).await.to_string();
        let voice = json!({"resource_type": "voice", "resource_id": "a-voice"});
        world.call("POST", "/v1/workspace/resources", voice).await.ok();
        let key = world.account_with_key().await;
        Self { user: key.account.clone(), key, group, resource: "a-voice".into(), ..Self::nothing() }
    }

    /// Nothing that there is.
    pub(crate) fn nothing() -> Self {
        let key = Key {
            account: "usr_0000000000000000000000".into(),
            id: "key_0000000000000000000000".into(),
            secret: String::new(),
        };
        Self {
            user: key.account.clone(),
            key,
            group: "grp_0000000000000000000000".into(),
            resource: "no-voice".into(),
            workspace: "ws_0000000000000000000000".into(),
            webhook: "whk_0000000000000000000000".into(),
            event: "evt_0000000000000000000000".into(),
            decision: "dec_0000000000000000000000".into(),
            lease: "lea_0000000000000000000000".into(),
            email: "owner@localhost".into(),
            person: "lite@example.com".into(),
            invited: "invited@example.com".into(),
        }
    }
}

/// Of the form of an invite's token.
const NO_TOKEN: &str = "00000000000000000000000000000000000000000000";

/// How a route is called so that it would succeed: path with real ids, and a body.
pub(crate) fn example(route: &Route, things: &Things) -> Option<(String, Value)> {
    let key = &things.key;
    let path = route.path.replace("{service_account_user_id}", &key.account).replace("{api_key_id}", &key.id);
    let path = path.replace("{group_id}", &things.group);
    let path = path.replace("{resource_id}", &things.resource);
    let path = path.replace("{workspace_id}", &things.workspace);
    let path = path.replace("{lease_id}", &things.lease);
    let path = path.replace("{decision_id}", &things.decision);
    let path = path.replace("{user_id}", &things.user).replace("{token}", NO_TOKEN);
    let path = path.replace("{webhook_id}", &things.webhook);
    let path = path.replace("{event_id}", &things.event);
    let body = match route.id {
        "list_service_accounts"
        | "get_service_account"
        | "list_service_account_api_keys"
        | "get_service_account_api_key"
        | "delete_service_account"
        | "delete_service_account_api_key"
        | "disable_service_account_api_key"
        | "undo_service_account_api_key_rotation"
        | "list_api_keys"
        | "get_user"
        | "get_user_subscription"
        | "list_members"
        | "list_invites"
        | "show_invite"
        | "accept_invite_by_form"
        | "get_own_api_key"
        | "list_workspaces"
        | "get_workspace"
        | "get_own_workspace"
        | "get_api_keys_usage"
        | "get_decision"
        | "list_decisions"
        | "release_lease"
        | "list_groups"
        | "get_group"
        | "delete_group"
        | "list_resources"
        | "get_member_access"
        | "list_webhooks"
        | "get_webhook"
        | "delete_webhook"
        | "test_webhook"
        | "list_webhook_deliveries"
        | "redeliver_webhook_event"
        | "health"
        | "ready"
        | "forward_auth"
        | "ext_authz_check"
        | "metrics"
        | "list_auth_connections"
        | "create_auth_connection"
        | "update_auth_connection"
        | "delete_auth_connection"
        | "create_single_use_token"
        | "docs"
        | "list_audit_logs"
        | "check_audit_chain"
        | "openapi" => Value::Null,
        "create_workspace" => json!({"name": "made", "owner_email": "o@example.com"}),
        "set_third_party_disabling" => json!({"third_party_disable_allowed": false}),
        // Of a key that is none, since the secret is all that the route asks for.
        "report_api_key" => json!({"api_key": "stead_unknown"}),
        "create_service_account" | "create_service_account_api_key" => json!({"name": "made"}),
        "search_groups" => return Some((format!("{path}?name=a"), Value::Null)),
        "get_resource" | "delete_resource" | "get_resource_access" => {
            return Some((format!("{path}?resource_type=voice"), Value::Null));
        }
        "update_resource" => return Some((format!("{path}?resource_type=voice"), json!({"resource_name": "x"}))),
        "create_resource" => json!({"resource_type": "voice"}),
        "share_resource" => json!({"resource_type": "voice", "group_id": "default", "role": "viewer"}),
        "unshare_resource" => json!({"resource_type": "voice", "group_id": "default"}),
        "create_group" | "update_group" => json!({"name": "another"}),
        "add_group_member" | "remove_group_member" => json!({"email": things.email}),
        "update_service_account" | "update_service_account_api_key" | "update_workspace" | "update_own_workspace" => {
            json!({"name": "changed"})
        }
        "rotate_service_account_api_key" | "simulate_api_key" | "rotate_webhook_secret" => json!({}),
        "create_webhook" => {
            json!({"settings": {"auth_type": "hmac", "name": "made", "webhook_url": "https://example.com/"}})
        }
        "update_webhook" => json!({"is_disabled": false, "name": "changed"}),
        "verify_api_key" => json!({"api_key": key.secret}),
        "verify_api_keys" => json!({"requests": [{"api_key": key.secret}]}),
        "update_member" => json!({"email": things.person, "is_locked": true}),
        "remove_member" => json!({"email": things.person}),
        "set_member_usage_limit" => json!({"usage_limit": 5}),
        "create_invite" => json!({"email": "new@example.com"}),
        "create_invites" => json!({"emails": ["new@example.com"]}),
        "delete_invite" => json!({"email": things.invited}),
        "accept_invite" => json!({"token": NO_TOKEN}),
        "get_usage_by_product_over_time" => {
            json!({"start_time": 1_795_000_000_000_i64, "end_time": 1_795_003_600_000_i64})
        }
        "get_analytics_usage" => {
            json!({"start_time": 1_795_000_000_000_i64, "end_time": 1_795_003_600_000_i64, "interval_seconds": DAY})
        }
        "get_analytics_requests" => json!({"start_time": 1_795_000_000_000_i64}),
        "get_character_stats" => {
            let path = format!("{path}?start_unix=1795000000000&end_unix=1795003600000");
            return Some((path, Value::Null));
        }
        "disable_own_api_key" => return Some((format!("{path}?api_key_name=self"), Value::Null)),
        _ => return None,
    };
    Some((path, body))
}

async fn every_route_refuses_who_may_not_call_it(engine: Engine) {
    let world = World::new(engine).await;
    let things = Things::new(&world).await;
    let key = things.key.clone();
    let revoked = world.key(&key.account, json!({"name": "revoked"})).await;
    world.call("DELETE", &revoked.path(), Value::Null).await.ok();
    let disabled = world.key(&key.account, json!({"name": "disabled"})).await;
    world.call("POST", &format!("{}/disable", disabled.path()), Value::Null).await.ok();
    let expired = world.key(&key.account, json!({"name": "expired", "expires_at": START.seconds() + DAY})).await;
    world.clock.advance(DAY);
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let bare = world.key(&me, json!({"name": "without a permission", "permissions": []})).await;
    let (_, member) = world.person("member@example.com", SeatType::WorkspaceMember).await;
    let (_, lite) = world.person("lite@example.com", SeatType::WorkspaceLiteMember).await;
    world.call("POST", "/v1/workspace/invites/add", json!({"email": "invited@example.com"})).await.ok();
    let state = async || world.count("SELECT CAST(SUM(audit_seq) AS BIGINT) FROM workspaces").await;
    let before = state().await;
    for route in routes() {
        let (path, body) = example(&route, &things).unwrap_or_else(|| panic!("`{}` has no line in the walk", route.id));
        let call = async |secret: &str| world.call_as(secret, route.method.as_str(), &path, body.clone()).await;
        if route.access == Access::Anyone {
            assert_eq!(call("").await.status, 200, "{}", route.id);
            continue;
        }
        // A token is what opens, and a wrong one opens nothing, whatever key comes with it.
        if route.access == Access::Guest {
            for secret in ["", "garbage", &world.admin] {
                assert_eq!(call(secret).await.status, 404, "{}", route.id);
            }
            continue;
        }
        // A call of gRPC has a status of its own: the tests of ext_authz take the walk in Envoy's words.
        if route.id == "ext_authz_check" {
            assert!(call(&key.secret).await.headers.get("grpc-status").is_some_and(|status| status != "0"));
            continue;
        }
        for (who, secret, code) in [
            ("nobody", "", "missing_api_key"),
            ("garbage", "garbage", "invalid_api_key"),
            ("a mistyped key", "stead_0000000000000000000000000000000000000000000000", "invalid_api_key"),
            ("a revoked key", &revoked.secret, "api_key_revoked"),
            ("a disabled key", &disabled.secret, "api_key_disabled"),
            ("an expired key", &expired.secret, "api_key_expired"),
        ] {
            let reply = call(secret).await;
            assert_eq!((reply.status.as_u16(), reply.code()), (401, code), "{} as {who}: {}", route.id, reply.text);
            assert!(reply.headers.contains_key("www-authenticate"));
        }
        if let Some(permission) = route.access.permission() {
            let reply = call(&bare.secret).await;
            reply.is(403, "insufficient_permissions");
            assert_eq!(reply.body["detail"]["missing_permissions"], json!([permission]), "{}", route.id);
        }
        if let Some(permission) = route.access.group_permission() {
            for who in [&member, &lite, &key.secret] {
                let reply = call(who).await;
                reply.is(403, "insufficient_permissions");
                assert_eq!(reply.body["detail"]["missing_permissions"], json!([permission]), "{}", route.id);
            }
        }
        if route.access == Access::Operator {
            for who in [&world.admin, &bare.secret, &member, &lite, &key.secret] {
                call(who).await.is(403, "forbidden");
            }
        } else {
            // It opens nothing else.
            call(OPERATOR).await.is(401, "invalid_api_key");
        }
        if matches!(route.access, Access::Admin(_)) {
            for who in [&member, &lite, &key.secret] {
                call(who).await.is(403, "forbidden");
            }
        }
    }
    // None of it changed anything.
    assert_eq!(state().await, before);
}

/// What may differ between two answers that must tell nothing apart.
fn masked(reply: Reply) -> (u16, Vec<String>, String) {
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(reply.headers["x-trace-id"].to_str().unwrap(), id);
    let headers = reply.headers.iter().filter(|(name, _)| !name.as_str().ends_with("-id"));
    (reply.status.as_u16(), headers.map(|header| format!("{header:?}")).collect(), reply.text.replace(&id, "ID"))
}

async fn not_yours_reads_like_not_there(engine: Engine) {
    let world = World::new(engine).await;
    let ours = Things::new(&world).await;
    let foreign = world.foreign_admin().await;
    let theirs = world.call_as(&foreign, "POST", "/v1/service-accounts", json!({"name": "theirs"})).await.ok();
    let theirs = theirs["service_account_id"].as_str().unwrap().to_owned();
    let before = world.get("/v1/service-accounts").await;
    for route in routes().into_iter().filter(|route| route.path.contains('{') && route.access != Access::Operator) {
        let call = async |things: &Things| {
            let (path, body) = example(&route, things).unwrap();
            masked(world.call_as(&foreign, route.method.as_str(), &path, body).await)
        };
        let nothing = Things::nothing();
        let (not_yours, not_there) = (call(&ours).await, call(&nothing).await);
        if route.tag == ABSENT {
            assert_eq!((not_yours.0, &not_yours), (501, &not_there));
            continue;
        }
        assert_eq!(not_yours.0, 404, "{}: {}", route.id, not_yours.2);
        assert_eq!(not_yours, not_there, "{}", route.id);
        if route.path.contains("{api_key_id}") {
            // The foreign key under one's own account, too.
            let mixed = Things { key: Key { account: theirs.clone(), ..ours.key.clone() }, ..ours.clone() };
            let nothing = Things { key: Key { account: theirs.clone(), ..nothing.key.clone() }, ..nothing };
            assert_eq!(call(&mixed).await, call(&nothing).await, "{}", route.id);
        }
    }
    assert_eq!(world.get("/v1/service-accounts").await, before);
    // The other workspace's lists hold nothing of ours.
    let list = world.call_as(&foreign, "GET", "/v1/api-keys", Value::Null).await.ok().to_string();
    assert!(!list.contains(&ours.key.id));
}

async fn a_key_needs_the_permission_and_its_owner_the_right(engine: Engine) {
    let world = World::new(engine).await;
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    world.group(&["service_accounts_manage"], vec![manager]).await;
    world.call_as(&secret, "POST", "/v1/service-accounts", json!({"name": "by a manager"})).await.ok();
    // A service account in such a group may manage accounts, too.
    let key = world.account_with_key().await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");
    world.group(&["service_accounts_manage"], vec![key.account.as_str().into()]).await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.ok();
    // Reading and asking need their own permissions and no more.
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let asker = world.key(&key.account, json!({"name": "asker", "permissions": ["api_keys_verify"]})).await;
    world.call_as(&asker.secret, "POST", "/v1/api-keys/verify", json!({"api_key": key.secret})).await.ok();
    world.call_as(&asker.secret, "GET", "/v1/user", Value::Null).await.ok();
    let reader = world.key(&me, json!({"name": "reader", "permissions": ["workspace_read"]})).await;
    world.call_as(&reader.secret, "GET", "/v1/service-accounts", Value::Null).await.ok();
    world
        .call_as(&reader.secret, "POST", "/v1/service-accounts", json!({"name": "x"}))
        .await
        .is(403, "insufficient_permissions");
}

async fn who_comes_before_what(engine: Engine) {
    let world = World::new(engine).await;
    for body in [json!({}), json!([]), json!({"name": 7})] {
        world.call_as("", "POST", "/v1/service-accounts", body.clone()).await.is(401, "missing_api_key");
        world.call_as("wrong", "POST", "/v1/service-accounts", body).await.is(401, "invalid_api_key");
    }
    let huge =
        World::request("POST", "/v1/service-accounts", "wrong", &[("content-type", "text/plain")], "x".repeat(100_000));
    world.send(huge).await.is(401, "invalid_api_key");
    let bearer = format!("Bearer {}", world.admin);
    let request = World::request("GET", "/v1/user", "", &[("authorization", &bearer)], "");
    world.send(request).await.is(401, "invalid_authorization_header");
    let request = World::request("GET", "/v1/user", &world.admin, &[("xi-api-key", &world.admin)], "");
    world.send(request).await.is(401, "invalid_authorization_header");
}
