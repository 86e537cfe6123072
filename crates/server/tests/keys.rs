use crate::harness::{DAY, Engine, Key, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    a_key_is_made_listed_read_changed_and_revoked
    every_field_and_token_of_a_patch
    a_key_is_shown_once_and_hints_at_its_end
    the_filters_of_the_workspaces_list
    pages_follow_each_other_without_gap_or_repeat
    the_holder_of_a_key_may_disable_it_unless_told_otherwise
    an_owner_manages_keys_of_their_own
    whoami_tells_what_the_sdks_need
    who_is_no_admin_sees_no_other_persons_keys
}

async fn a_key_is_made_listed_read_changed_and_revoked(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let body = json!({"name": "deploy", "permissions": ["text_to_speech"], "description": "d", "character_limit": 10, "expires_at": START.seconds() + DAY});
    let path = format!("/v1/service-accounts/{account}/api-keys");
    let made = world.call("POST", &path, body).await.ok();
    assert_eq!((&made["xi-api-key"], &made["key_id"]), (&made["api_key"], &made["api_key_id"]));
    assert_eq!(
        (&made["expires_at"], &made["expires_at_unix"]),
        (&json!(START.seconds() + DAY), &json!(START.seconds() + DAY))
    );
    let key = Key::of(&account, &made);

    let listed = world.get(&path).await;
    assert_eq!(listed["api-keys"], listed["api_keys"]);
    assert_eq!(listed["api_keys"][0], world.get(&key.path()).await);
    let shown = &listed["api_keys"][0];
    assert_eq!(shown["permissions"], json!(["text_to_speech"]));
    assert_eq!(
        (&shown["status"], &shown["is_disabled"], &shown["character_limit"]),
        (&json!("active"), &json!(false), &json!(10))
    );
    assert_eq!(world.verify(&key.secret).await, "VALID");

    let changed = world.call("PATCH", &key.path(), json!({"is_enabled": false, "name": "renamed"})).await.ok();
    assert_eq!(
        (&changed["status"], &changed["name"], &changed["description"]),
        (&json!("disabled"), &json!("renamed"), &json!("d"))
    );
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    assert_eq!(world.verify(&key.secret).await, "VALID");

    world.clock.advance(DAY);
    assert_eq!(world.verify(&key.secret).await, "EXPIRED");
    assert_eq!(world.get(&path).await["api_keys"][0]["status"], "expired");
    world.call("PATCH", &key.path(), json!({"expires_at_unix": "clear"})).await.ok();
    assert_eq!(world.verify(&key.secret).await, "VALID");

    world.call("DELETE", &key.path(), Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "REVOKED");
    assert_eq!(world.get(&path).await["api_keys"], json!([]));
    world.call("DELETE", &key.path(), Value::Null).await.is(404, "api_key_not_found");
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.is(404, "api_key_not_found");
    assert_eq!(world.get("/v1/api-keys?status=revoked").await["api_keys"][0]["key_id"], json!(key.id));
}

async fn every_field_and_token_of_a_patch(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": []})).await;
    let later = START.seconds() + DAY;
    let set = json!({
        "permissions": ["voices_read", "voices_read", "text_to_speech"], "character_limit": 100,
        "allowed_ips": ["10.1.2.3", "10.0.0.77/8", "::ffff:192.0.2.1", "2001:DB8::/32"],
        "third_party_disable_allowed": false, "tts_concurrency_limit": 1, "dubbing_concurrency_limit": 2,
        "music_concurrency_limit": 3, "expires_at_unix": later, "description": "what for",
    });
    let shown = world.call("PATCH", &key.path(), set).await.ok();
    assert_eq!(shown["permissions"], json!(["voices_read", "text_to_speech"]));
    assert_eq!(shown["allowed_ips"], json!(["10.1.2.3/32", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]));
    assert_eq!(
        shown["platform_limits"],
        json!({"concurrency": {"limit": 1}, "dubbing_concurrency": {"limit": 2}, "music_concurrency": {"limit": 3}})
    );
    assert_eq!(
        (&shown["character_limit"], &shown["third_party_disable_allowed"], &shown["expires_at"]),
        (&json!(100), &json!(false), &json!(later))
    );

    for unchanged in [
        json!({}),
        json!({"permissions": "no_update", "character_limit": "no_update", "allowed_ips": "no_update", "third_party_disable_allowed": "no_update", "is_enabled": "no_update", "expires_at_unix": "no_update", "tts_concurrency_limit": "no_update"}),
        json!({"permissions": null, "character_limit": null, "allowed_ips": null, "name": null, "is_enabled": null, "expires_at": null, "description": null}),
        json!({"unknown": 1}),
    ] {
        assert_eq!(world.call("PATCH", &key.path(), unchanged).await.ok(), shown);
    }

    let cleared = json!({
        "permissions": "all", "character_limit": "clear", "allowed_ips": "clear", "third_party_disable_allowed": "clear",
        "tts_concurrency_limit": "clear", "dubbing_concurrency_limit": "clear", "music_concurrency_limit": "clear",
        "expires_at": "clear", "description": "",
    });
    let shown = world.call("PATCH", &key.path(), cleared).await.ok();
    for field in [
        "permissions",
        "character_limit",
        "allowed_ips",
        "third_party_disable_allowed",
        "expires_at",
        "expires_at_unix",
        "description",
    ] {
        assert_eq!(shown[field], Value::Null, "{field}");
    }
    assert_eq!(shown["platform_limits"]["music_concurrency"]["limit"], Value::Null);
}

async fn a_key_is_shown_once_and_hints_at_its_end(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let path = format!("/v1/service-accounts/{}/api-keys", key.account);
    for list in [world.get(&path).await, world.get("/v1/service-accounts").await, world.get("/v1/api-keys").await] {
        let text = list.to_string();
        assert!(text.contains(&format!(r#""hint":"{}""#, &key.secret[46..])));
        assert!(!text.contains(&key.secret));
    }
    let made = world.call("POST", &path, json!({"name": "other"})).await;
    assert_eq!(made.headers["cache-control"], "no-store");
}

async fn the_filters_of_the_workspaces_list(engine: Engine) {
    let world = World::new(engine).await;
    let (a, b) = (world.account("a").await, world.account("b").await);
    world.key(&a, json!({"name": "soon", "expires_at": START.seconds() + 10 * DAY})).await;
    let late = world.key(&a, json!({"name": "late", "expires_at": START.seconds() + 100 * DAY})).await;
    world.key(&a, json!({"name": "gone", "expires_at": START.seconds() + DAY})).await;
    let off = world.key(&b, json!({"name": "off"})).await;
    world.call("PATCH", &off.path(), json!({"is_enabled": false})).await.ok();
    let dead = world.key(&b, json!({"name": "dead"})).await;
    world.call("DELETE", &dead.path(), Value::Null).await.ok();
    world.clock.advance(2 * DAY);
    assert_eq!(world.verify(&late.secret).await, "VALID");
    let search = async |query: &str| -> Vec<String> {
        let page = world.get(&format!("/v1/api-keys?{query}")).await;
        page["api_keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(search("").await, ["Owner's key", "soon", "late", "gone", "off"]);
    assert_eq!(search("status=active").await, ["Owner's key", "soon", "late"]);
    assert_eq!(search("status=expired").await, ["gone"]);
    assert_eq!(search("status=disabled").await, ["off"]);
    assert_eq!(search("status=revoked").await, ["dead"]);
    assert_eq!(search("expiring_within=30d").await, ["soon"]);
    assert_eq!(search("expiring_within=2400h").await, ["soon", "late"]);
    assert_eq!(search(&format!("account={b}")).await, ["off"]);
    for nobody in ["usr_nobody", "%00", "", "%F0%9F%94%91"] {
        assert_eq!(search(&format!("account={nobody}")).await, Vec::<String>::new());
    }
    // What was used a moment ago is only in memory yet, and counts all the same.
    assert_eq!(search("unused_for=1d").await, ["soon", "gone", "off"]);
    world.clock.advance(3 * DAY);
    assert_eq!(search(&format!("unused_for=2d&account={a}")).await, ["soon", "late", "gone"]);
}

async fn pages_follow_each_other_without_gap_or_repeat(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("a").await;
    for n in 0..7 {
        world.key(&account, json!({"name": format!("k{n}")})).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/api-keys?limit=3&account={account}{cursor}")).await;
        seen.extend(page["api_keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(page["has_more"], true);
                cursor = format!("&cursor={next}");
            }
            None => break,
        }
    }
    assert_eq!(seen, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    // A cursor is this workspace's own, and whole.
    let cursor = cursor.trim_start_matches("&cursor=");
    let foreign = world.foreign_admin().await;
    for (key, cursor) in
        [(&foreign, cursor), (&world.admin, &cursor[..cursor.len() - 1]), (&world.admin, "1.2.3"), (&world.admin, "x")]
    {
        world
            .call_as(key, "GET", &format!("/v1/api-keys?cursor={cursor}"), Value::Null)
            .await
            .is(400, "invalid_cursor");
    }
}

async fn the_holder_of_a_key_may_disable_it_unless_told_otherwise(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("a").await;
    let path = "/v1/workspaces/api-keys/disable?api_key_name=self";
    let key = world.key(&account, json!({"name": "k", "permissions": []})).await;
    assert_eq!(
        world
            .call_as(&key.secret, "POST", "/v1/workspaces/api-keys/disable?api_key_name=other", Value::Null)
            .await
            .blamed(),
        ["query.api_key_name"]
    );
    assert_eq!(
        world.call_as(&key.secret, "POST", "/v1/workspaces/api-keys/disable", Value::Null).await.blamed(),
        ["query.api_key_name"]
    );
    world.call_as(&key.secret, "POST", path, Value::Null).await.ok();
    assert_eq!(world.verify(&key.secret).await, "DISABLED");
    assert_eq!(world.get(&key.path()).await["disable_reason"], "self_disabled");
    world.call_as(&key.secret, "POST", path, Value::Null).await.is(401, "api_key_disabled");

    let kept = world.key(&account, json!({"name": "k", "third_party_disable_allowed": false})).await;
    world.call_as(&kept.secret, "POST", path, Value::Null).await.is(403, "self_disable_not_allowed");
    assert_eq!(world.verify(&kept.secret).await, "VALID");
}

async fn an_owner_manages_keys_of_their_own(engine: Engine) {
    let world = World::new(engine).await;
    let me = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
    let spare = world.key(&me, json!({"name": "spare"})).await;
    assert_eq!(world.call_as(&spare.secret, "GET", "/v1/user", Value::Null).await.ok()["user_id"], json!(me));
    let path = format!("/v1/service-accounts/{me}/api-keys");
    let first = world.get(&path).await["api_keys"][0]["key_id"].as_str().unwrap().to_owned();
    // The first key can be replaced by one that nobody has seen on a screen.
    world.call_as(&spare.secret, "DELETE", &format!("{path}/{first}"), Value::Null).await.ok();
    world.call("GET", "/v1/user", Value::Null).await.is(401, "api_key_revoked");
    // Nobody else's person can be reached by this way.
    let (_, other) = world.person("second@example.com", stead_server::members::SeatType::WorkspaceAdmin).await;
    world.call_as(&other, "GET", &path, Value::Null).await.is(404, "service_account_not_found");
}

async fn whoami_tells_what_the_sdks_need(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": [], "character_limit": 10})).await;
    world.verify_with(json!({"cost": 3}), &key.secret).await;
    let me = world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.ok();
    assert_eq!(
        (&me["user_id"], &me["workspace_id"], &me["first_name"]),
        (&json!(account), &json!(world.workspace), &json!("ci"))
    );
    assert_eq!(
        (&me["subscription"]["character_count"], &me["subscription"]["character_limit"]),
        (&json!(3), &json!(10))
    );
    assert_eq!(me["xi_api_key_preview"], key.secret[46..]);
}

async fn who_is_no_admin_sees_no_other_persons_keys(engine: Engine) {
    let world = World::new(engine).await;
    let (manager, secret) = world.person("m@example.com", stead_server::members::SeatType::WorkspaceMember).await;
    world.group(&["service_accounts_manage"], vec![manager.clone()]).await;
    let key = world.account_with_key().await;
    let page = world.call_as(&secret, "GET", "/v1/api-keys", Value::Null).await.ok();
    let owners: Vec<_> =
        page["api_keys"].as_array().unwrap().iter().map(|key| key["service_account_id"].clone()).collect();
    assert_eq!(owners, [json!(manager), json!(key.account)]);
    assert_eq!(world.get("/v1/api-keys").await["api_keys"].as_array().unwrap().len(), 3);
    // Nor do they rehearse with them.
    let owners = world.get("/v1/api-keys/self").await["key_id"].as_str().unwrap().to_owned();
    let own = world.call_as(&secret, "GET", "/v1/api-keys/self", Value::Null).await.ok();
    let simulate = |id: &str| format!("/v1/api-keys/{id}/simulate");
    world.call_as(&secret, "POST", &simulate(&owners), json!({})).await.is(404, "api_key_not_found");
    for id in [own["key_id"].as_str().unwrap(), &key.id] {
        world.call_as(&secret, "POST", &simulate(id), json!({})).await.ok();
        world.call("POST", &simulate(id), json!({})).await.ok();
    }
}
