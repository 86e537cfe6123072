use crate::harness::{DAY, Engine, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    a_key_in_constant_use_is_told_of_once_a_minute
    every_denial_has_its_code
    an_explanation_names_each_check_and_the_key
    addresses_decide
    credits_are_charged_up_to_the_cap_and_begin_anew_each_month
    a_request_id_is_charged_once
    one_keys_huge_charges_harm_no_other
    what_is_not_decided_about_is_refused
    what_the_store_refuses_is_told_later_and_once
    no_more_is_granted_than_the_cap_however_many_ask
    what_is_merged_in_memory_is_seen_at_once_and_survives_a_restart
    a_verification_never_decides_by_an_older_state_than_asked_for
    a_key_of_another_workspace_is_nobodys
    what_can_not_be_a_key_is_malformed_and_nothing_else
}

async fn every_denial_has_its_code(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": ["text_to_speech"], "expires_at": START.seconds() + DAY, "allowed_ips": ["10.0.0.0/8"]})).await;
    let ask = async |ask: Value| world.verify_with(ask, &key.secret).await["code"].as_str().unwrap().to_owned();
    let good = json!({"ip": "10.0.0.1", "permissions": ["text_to_speech"]});
    assert_eq!(ask(good.clone()).await, "VALID");
    assert_eq!(ask(json!({"permissions": ["text_to_speech"]})).await, "IP_NOT_ALLOWED");
    let lacking = world
        .verify_with(
            json!({"ip": "10.0.0.1", "permissions": ["voices_read", "text_to_speech", "voices_write"]}),
            &key.secret,
        )
        .await;
    assert_eq!(
        (&lacking["code"], &lacking["missing_permissions"]),
        (&json!("INSUFFICIENT_PERMISSIONS"), &json!(["voices_read", "voices_write"]))
    );
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    assert_eq!(ask(good.clone()).await, "DISABLED");
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": false})).await.ok();
    assert_eq!(ask(good.clone()).await, "ACCOUNT_DISABLED");
    world.call("PATCH", &format!("/v1/service-accounts/{account}"), json!({"is_enabled": true})).await.ok();
    world.call("PATCH", &key.path(), json!({"is_enabled": true})).await.ok();
    world.clock.advance(DAY);
    assert_eq!(ask(good.clone()).await, "EXPIRED");
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    let revoked = world.verify_with(good, &key.secret).await;
    assert_eq!(
        (&revoked["code"], &revoked["valid"], &revoked["key_id"]),
        (&json!("REVOKED"), &json!(false), &json!(key.id))
    );
}

async fn an_explanation_names_each_check_and_the_key(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let answer = world.verify_with(json!({"explain": true}), &key.secret).await;
    let checks: Vec<_> =
        answer["checks"].as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(
        checks,
        [
            "revoked",
            "workspace",
            "account",
            "disabled",
            "expiry",
            "address",
            "permissions",
            "resource",
            "rate_limits",
            "concurrency",
            "credits"
        ]
    );
    assert!(answer["checks"].as_array().unwrap().iter().all(|check| check["passed"] == true));
    assert_eq!((&answer["key_name"], &answer["service_account_name"]), (&json!("deploy"), &json!("ci")));
    assert!(world.verify_with(json!({}), &key.secret).await.get("checks").is_none());
    assert_eq!(world.verify_with(json!({"explain": true}), "nonsense").await["checks"][0]["passed"], false);
}

async fn addresses_decide(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world
        .key(&account, json!({"name": "k", "permissions": "all", "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"]}))
        .await;
    for (ip, code) in [
        ("10.9.9.9", "VALID"),
        ("::ffff:10.9.9.9", "VALID"),
        ("2001:db8::1", "VALID"),
        ("11.0.0.1", "IP_NOT_ALLOWED"),
        ("2001:db9::1", "IP_NOT_ALLOWED"),
    ] {
        assert_eq!(world.verify_with(json!({"ip": ip}), &key.secret).await["code"], code, "{ip}");
    }
    // The same rule where the key is used here.
    world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.is(403, "ip_not_allowed");
    let here = world.key(&account, json!({"name": "k", "allowed_ips": ["127.0.0.1"]})).await;
    world.call_as(&here.secret, "GET", "/v1/user", Value::Null).await.ok();
}

async fn credits_are_charged_up_to_the_cap_and_begin_anew_each_month(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 100})).await;
    let charge = async |cost: u64| world.verify_with(json!({"cost": cost}), &key.secret).await;
    let first = charge(60).await;
    assert_eq!(
        (&first["character_count"], &first["remaining"], &first["character_limit"]),
        (&json!(60), &json!(40), &json!(100))
    );
    // 1 December 2026.
    assert_eq!(first["resets_at"], 1_796_083_200);
    let refused = charge(41).await;
    assert_eq!(
        (&refused["code"], &refused["character_count"], &refused["remaining"]),
        (&json!("USAGE_EXCEEDED"), &json!(60), &json!(40))
    );
    assert_eq!(charge(40).await["code"], "VALID");
    assert_eq!(charge(0).await["code"], "VALID");
    assert_eq!(charge(1).await["code"], "USAGE_EXCEEDED");
    world.clock.advance(10 * DAY);
    assert_eq!(charge(100).await["remaining"], 0);
    // A denied request is charged nothing.
    let lacking = world.key(&account, json!({"name": "k", "permissions": [], "character_limit": 5})).await;
    world.verify_with(json!({"cost": 5, "permissions": ["text_to_speech"]}), &lacking.secret).await;
    assert_eq!(world.get(&lacking.path()).await["character_count"], 0);
    // Raising the cap helps at once; what was used stays used.
    world.call("PATCH", &key.path(), json!({"character_limit": 101})).await.ok();
    assert_eq!(charge(1).await["code"], "VALID");
    world.call("PATCH", &key.path(), json!({"character_limit": "clear"})).await.ok();
    assert_eq!(charge(1_000_000).await["code"], "VALID");
}

async fn a_request_id_is_charged_once(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 10})).await;
    let charge = async |id: &str| world.verify_with(json!({"cost": 4, "request_id": id}), &key.secret).await;
    assert_eq!(charge("a").await["character_count"], 4);
    assert_eq!(charge("a").await["character_count"], 4);
    assert_eq!(charge("b").await["character_count"], 8);
    // Refused for want of credits, then sent again: still refused, and not taken for charged.
    assert_eq!(charge("c").await["code"], "USAGE_EXCEEDED");
    assert_eq!(charge("c").await["code"], "USAGE_EXCEEDED");
    assert_eq!(charge("b").await["code"], "VALID");
    // Another cost, or another key, is another charge.
    let other = world.key(&account, json!({"name": "other"})).await;
    assert_eq!(world.verify_with(json!({"cost": 1, "request_id": "a"}), &key.secret).await["character_count"], 9);
    assert_eq!(world.verify_with(json!({"cost": 4, "request_id": "a"}), &other.secret).await["character_count"], 4);
    // Ten minutes from the first, however often it came since: else the same id over and over were free for ever.
    world.clock.advance(300);
    assert_eq!(charge("a").await["code"], "VALID");
    world.clock.advance(301);
    assert_eq!(charge("a").await["code"], "USAGE_EXCEEDED");
}

async fn no_more_is_granted_than_the_cap_however_many_ask(engine: Engine) {
    let world = std::sync::Arc::new(World::new(engine).await);
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 50})).await;
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (world, secret) = (world.clone(), key.secret.clone());
        asks.spawn(async move { world.verify_with(json!({"cost": 1}), &secret).await["valid"] == true });
    }
    assert_eq!(asks.join_all().await.into_iter().filter(|granted| *granted).count(), 50);
    assert_eq!(world.get(&key.path()).await["character_count"], 50);
}

async fn what_is_merged_in_memory_is_seen_at_once_and_survives_a_restart(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": []})).await;
    let account_path = format!("/v1/service-accounts/{account}");
    assert_eq!(world.get(&key.path()).await["last_used_at"], Value::Null);
    assert_eq!(world.get(&account_path).await["last_used_at"], Value::Null);
    // Being refused is no use.
    world.verify_with(json!({"permissions": ["text_to_speech"]}), &key.secret).await;
    assert_eq!(world.get(&key.path()).await["last_used_at"], Value::Null);
    world.clock.advance(100);
    world.verify_with(json!({"cost": 7}), &key.secret).await;
    let now = START.seconds() + 100;
    assert_eq!(world.count("SELECT COUNT(*) FROM key_uses").await, 0);
    assert_eq!(
        (&world.get(&key.path()).await["last_used_at"], &world.get(&account_path).await["last_used_at"]),
        (&json!(now), &json!(now))
    );
    let world = world.restarted(crate::harness::pepper()).await;
    let shown = world.get(&key.path()).await;
    assert_eq!((&shown["last_used_at"], &shown["character_count"]), (&json!(now), &json!(7)));
    // Nothing is told twice.
    stead_server::verify::usage::flush(&world.app).await.unwrap();
    assert_eq!(world.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 7);
    // A revoked key's last use still counts for its account.
    world.call("DELETE", &key.path(), Value::Null).await.ok();
    assert_eq!(world.get(&account_path).await["last_used_at"], now);
}

async fn a_verification_never_decides_by_an_older_state_than_asked_for(engine: Engine) {
    let world = World::new(engine).await;
    let jobs = stead_server::jobs::start(&world.app);
    let key = world.account_with_key().await;
    let disabled = world.call("POST", &format!("{}/disable", key.path()), Value::Null).await;
    let revision = disabled.headers["x-stead-revision"].to_str().unwrap().to_owned();
    let answer = world.verify_with(json!({"at_least": revision}), &key.secret).await;
    assert_eq!((&answer["code"], &answer["revision"]), (&json!("DISABLED"), &json!(revision)));
    let (bucket, seq) = revision.split_once('-').unwrap();
    let future = format!("{bucket}-{}", seq.parse::<i64>().unwrap() + 1);
    let body = json!({"api_key": key.secret, "at_least": future});
    world.call("POST", "/v1/api-keys/verify", body).await.is(503, "not_yet_available");
    let body = json!({"api_key": key.secret, "at_least": "yesterday"});
    assert_eq!(world.call("POST", "/v1/api-keys/verify", body).await.blamed(), ["body.at_least"]);
    stead_server::jobs::finish(&world.app, jobs).await;
}

async fn a_key_of_another_workspace_is_nobodys(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let foreign = world.foreign_admin().await;
    let ask = async |secret: &str| {
        world.call_as(&foreign, "POST", "/v1/api-keys/verify", json!({"api_key": secret, "explain": true})).await.ok()
    };
    let (theirs, unknown) = (ask(&key.secret).await, ask("sk_0123456789abcdef0123456789abcdef").await);
    let masked = |mut answer: Value| {
        answer["decision_id"] = Value::Null;
        answer
    };
    assert_eq!(theirs["code"], "NOT_FOUND");
    assert_eq!(masked(theirs), masked(unknown));
    assert_eq!(world.get(&key.path()).await["last_used_at"], Value::Null);
}

async fn what_can_not_be_a_key_is_malformed_and_nothing_else(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let mut mistyped = key.secret.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    for malformed in [
        "",
        "stead_",
        &mistyped,
        &key.secret[..49],
        &"x".repeat(257),
        &"x".repeat(60_000),
        "schlüssel",
        "two words",
        "\u{0}",
    ] {
        assert_eq!(world.verify(malformed).await, "MALFORMED", "{malformed:.20}");
    }
    for unknown in ["sk_0123456789abcdef", "x", "Bearer"] {
        assert_eq!(world.verify(unknown).await, "NOT_FOUND", "{unknown}");
    }
    // A foreign form that is a key: the owner's, from the settings.
    let given = "an admin key from the environment".replace(' ', "-");
    let world = World::with(engine, &[("admin-api-key", &given)]).await;
    assert_eq!(world.call_as(&given, "GET", "/v1/user", Value::Null).await.status, 200);
    assert_eq!(world.call_as(&given[1..], "GET", "/v1/user", Value::Null).await.code(), "invalid_api_key");
}

async fn one_keys_huge_charges_harm_no_other(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let (huge, plain) =
        (world.key(&account, json!({"name": "huge"})).await, world.key(&account, json!({"name": "plain"})).await);
    for _ in 0..3 {
        for _ in 0..1100 {
            world.verify_with(json!({"cost": 9_007_199_254_740_991_i64}), &huge.secret).await;
        }
        world.verify_with(json!({"cost": 1}), &plain.secret).await;
        stead_server::verify::usage::flush(&world.app).await.unwrap();
    }
    assert_eq!(world.count("SELECT MIN(used) FROM credits").await, 3);
    assert_eq!(world.count("SELECT MAX(used) FROM credits").await, 9_007_199_254_740_991);
}

async fn what_is_not_decided_about_is_refused(engine: Engine) {
    let world = World::new(engine).await;
    let key = world.account_with_key().await;
    let ask = async |ask: Value| world.call("POST", "/v1/api-keys/verify", ask).await.blamed();
    let resource = json!({"resource_type": "castle", "resource_id": "v", "role": "viewer"});
    assert_eq!(
        ask(json!({"api_key": key.secret, "resource": resource, "concurrency": "tts"})).await,
        ["body.resource.resource_type"]
    );
    let wrong = json!({"permissions": ["fly"], "ip": "nowhere", "cost": -1, "explain": "yes", "request_id": "", "at_least": "0"});
    let blamed = ask(wrong).await;
    assert_eq!(
        blamed,
        [
            "body.api_key",
            "body.permissions.0",
            "body.ip",
            "body.cost",
            "body.at_least",
            "body.request_id",
            "body.explain"
        ]
    );
    assert_eq!(ask(json!({"api_key": 7})).await, ["body.api_key"]);
}

async fn what_the_store_refuses_is_told_later_and_once(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k"})).await;
    let flush = async || stead_server::verify::usage::flush(&world.app).await;
    world.verify_with(json!({"cost": 1}), &key.secret).await;
    world.tamper("ALTER TABLE credits RENAME TO credits_away").await;
    world.tamper("ALTER TABLE key_uses RENAME TO key_uses_away").await;
    for _ in 0..3 {
        assert!(flush().await.is_err());
        // From the lease, which reaches further than the store does.
        world.verify_with(json!({"cost": 1}), &key.secret).await;
    }
    // Beyond it nobody knows, and what isn't known is no no.
    let beyond = json!({"api_key": key.secret, "cost": 1000});
    assert_eq!(world.call("POST", "/v1/api-keys/verify", beyond.clone()).await.status, 500);
    world.tamper("ALTER TABLE credits_away RENAME TO credits").await;
    world.tamper("ALTER TABLE key_uses_away RENAME TO key_uses").await;
    for _ in 0..2 {
        flush().await.unwrap();
        assert_eq!(world.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 4);
    }
    world.call("POST", "/v1/api-keys/verify", beyond).await.ok();
    flush().await.unwrap();
    assert_eq!(world.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 1004);
    assert!(world.count("SELECT COUNT(*) FROM key_uses").await >= 1);
}

async fn a_key_in_constant_use_is_told_of_once_a_minute(engine: Engine) {
    let world = World::with(engine, &[("max-staleness", "3600")]).await;
    let key = world.account_with_key().await;
    let stored = async || world.count("SELECT MAX(last_used_at) FROM key_uses WHERE key_id LIKE 'key_%'").await;
    // The owner's key asks; what counts is that the question's key is told of at once, and then seldom.
    let used = async |seconds: i64| {
        world.clock.advance(seconds);
        world.clock.elapse(seconds.unsigned_abs());
        world.verify(&key.secret).await;
        stead_server::verify::usage::flush_uses(&world.app, false).await.unwrap();
        stored().await
    };
    let first = used(1).await;
    assert!(first >= START.0 + 1_000_000);
    assert_eq!((used(10).await, used(40).await), (first, first));
    // Readers see it at once all the same.
    assert_eq!(world.get(&key.path()).await["last_used_at"], START.seconds() + 51);
    let minute = used(10).await;
    assert!(minute >= START.0 + 61_000_000, "{minute}");
    assert_eq!(used(30).await, minute);
    // Nothing is left at a clean stop, nor where the store is asked who was unused.
    stead_server::verify::usage::flush(&world.app).await.unwrap();
    assert!(stored().await >= START.0 + 91_000_000);
    // After a pause the first use is told at once again.
    let paused = used(120).await;
    assert!(paused >= START.0 + 211_000_000, "{paused}");
}
