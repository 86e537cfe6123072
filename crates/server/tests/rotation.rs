use crate::harness::{DAY, Engine, Key, START, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    the_successor_inherits_everything_and_the_old_key_goes_on
    limits_and_usage_belong_to_the_lineage
    no_grace_ends_the_old_key_now
    the_old_key_never_outlives_its_own_expiry
    what_can_not_be_rotated_says_why
    a_rotation_can_be_undone_while_the_old_key_lives
    undoing_leaves_no_third_key_and_keeps_later_wishes
}

async fn rotate(world: &World, key: &Key, body: Value) -> (Key, Value) {
    let made = world.call("POST", &format!("{}/rotate", key.path()), body).await.ok();
    (Key::of(&key.account, &made), made)
}

async fn the_successor_inherits_everything_and_the_old_key_goes_on(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let settings = json!({
        "name": "deploy", "description": "d", "permissions": ["text_to_speech"], "character_limit": 100,
        "allowed_ips": ["10.0.0.0/8"], "third_party_disable_allowed": false, "tts_concurrency_limit": 4,
        "expires_at": START.seconds() + 50 * DAY,
    });
    let old = world.key(&account, settings).await;
    assert_eq!(world.verify_with(json!({"ip": "10.0.0.1"}), &old.secret).await["code"], "VALID");
    let (new, made) = rotate(&world, &old, json!({"grace_period_seconds": 3600})).await;
    let (before, after) = (world.get(&old.path()).await, world.get(&new.path()).await);
    for field in [
        "name",
        "description",
        "permissions",
        "character_limit",
        "allowed_ips",
        "third_party_disable_allowed",
        "platform_limits",
        "lineage_id",
        "service_account_user_id",
    ] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(after["expires_at"], START.seconds() + 50 * DAY);
    assert_eq!(
        (&made["rotated_from"], &after["rotated_from"], &before["rotated_to"]),
        (&json!(old.id), &json!(old.id), &json!(new.id))
    );
    assert_eq!(
        (&made["old_key_expires_at"], &before["expires_at"]),
        (&json!(START.seconds() + 3600), &json!(START.seconds() + 3600))
    );
    assert_eq!(made["old_key_last_used_at"], START.seconds());
    assert_ne!(old.secret, new.secret);
    for key in [&old, &new] {
        assert_eq!(world.verify_with(json!({"ip": "10.0.0.1"}), &key.secret).await["code"], "VALID");
    }
    world.clock.advance(3600);
    assert_eq!(world.verify_with(json!({"ip": "10.0.0.1"}), &old.secret).await["code"], "EXPIRED");
    assert_eq!(world.verify_with(json!({"ip": "10.0.0.1"}), &new.secret).await["code"], "VALID");
}

async fn limits_and_usage_belong_to_the_lineage(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let old = world.key(&account, json!({"name": "k", "character_limit": 10})).await;
    world.verify_with(json!({"cost": 6}), &old.secret).await;
    let (new, _) = rotate(&world, &old, json!({})).await;
    let charged = world.verify_with(json!({"cost": 3}), &new.secret).await;
    assert_eq!((&charged["character_count"], &charged["remaining"]), (&json!(9), &json!(1)));
    for key in [&old, &new] {
        assert_eq!(world.verify_with(json!({"cost": 2}), &key.secret).await["code"], "USAGE_EXCEEDED");
    }
    let world = world.restarted(crate::harness::pepper()).await;
    assert_eq!(world.get(&new.path()).await["character_count"], 9);
    assert_eq!(world.verify_with(json!({"cost": 2}), &old.secret).await["code"], "USAGE_EXCEEDED");
}

async fn no_grace_ends_the_old_key_now(engine: Engine) {
    let world = World::new(engine).await;
    let old = world.account_with_key().await;
    let (new, _) = rotate(&world, &old, json!({"grace_period_seconds": 0})).await;
    assert_eq!((world.verify(&old.secret).await, world.verify(&new.secret).await), ("EXPIRED".into(), "VALID".into()));
}

async fn the_old_key_never_outlives_its_own_expiry(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let old = world.key(&account, json!({"name": "k", "expires_at": START.seconds() + 60})).await;
    let (_, made) = rotate(&world, &old, json!({})).await;
    assert_eq!(
        (&made["old_key_expires_at"], &made["expires_at"]),
        (&json!(START.seconds() + 60), &json!(START.seconds() + 60))
    );
}

async fn what_can_not_be_rotated_says_why(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let rotation = async |key: &Key| world.call("POST", &format!("{}/rotate", key.path()), json!({})).await;
    let once = world.key(&account, json!({"name": "once"})).await;
    rotation(&once).await.ok();
    rotation(&once).await.is(409, "already_rotated");
    let off = world.key(&account, json!({"name": "off"})).await;
    world.call("POST", &format!("{}/disable", off.path()), Value::Null).await.ok();
    rotation(&off).await.is(400, "not_rotatable");
    let ended = world.key(&account, json!({"name": "ended", "expires_at": START.seconds() + 60})).await;
    world.clock.advance(60);
    rotation(&ended).await.is(400, "not_rotatable");
    let gone = world.key(&account, json!({"name": "gone"})).await;
    world.call("DELETE", &gone.path(), Value::Null).await.ok();
    rotation(&gone).await.is(404, "api_key_not_found");
    for (body, blamed) in [
        (json!({"grace_period_seconds": -1}), 1),
        (json!({"grace_period_seconds": 91 * DAY}), 1),
        (json!({"grace_period_seconds": "1h"}), 1),
    ] {
        let reply = world.call("POST", &format!("{}/rotate", off.path()), body).await;
        assert_eq!(reply.blamed().len(), blamed);
    }
}

async fn a_rotation_can_be_undone_while_the_old_key_lives(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let old = world.key(&account, json!({"name": "k", "expires_at": START.seconds() + 50 * DAY})).await;
    let undo = format!("{}/rotate/undo", old.path());
    world.call("POST", &undo, Value::Null).await.is(409, "not_rotated");
    let (new, _) = rotate(&world, &old, json!({"grace_period_seconds": 60})).await;
    let shown = world.call("POST", &undo, Value::Null).await.ok();
    assert_eq!((&shown["expires_at"], &shown["rotated_to"]), (&json!(START.seconds() + 50 * DAY), &Value::Null));
    assert_eq!((world.verify(&old.secret).await, world.verify(&new.secret).await), ("VALID".into(), "REVOKED".into()));
    world.call("POST", &undo, Value::Null).await.is(409, "not_rotated");
    let (newer, _) = rotate(&world, &old, json!({"grace_period_seconds": 60})).await;
    world.clock.advance(61);
    world.call("POST", &undo, Value::Null).await.is(409, "not_rotated");
    assert_eq!(world.verify(&newer.secret).await, "VALID");
}

async fn undoing_leaves_no_third_key_and_keeps_later_wishes(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let first = world.key(&account, json!({"name": "k", "expires_at": START.seconds() + 50 * DAY})).await;
    let (second, _) = rotate(&world, &first, json!({})).await;
    let (third, _) = rotate(&world, &second, json!({})).await;
    let undo = async |key: &Key| world.call("POST", &format!("{}/rotate/undo", key.path()), Value::Null).await;
    undo(&first).await.is(409, "already_rotated");
    undo(&second).await.ok();
    assert_eq!(world.verify(&third.secret).await, "REVOKED");
    world.call("PATCH", &first.path(), json!({"expires_at": START.seconds() + 100 * DAY})).await.ok();
    world.clock.advance(60 * DAY);
    assert_eq!(undo(&first).await.ok()["expires_at"], START.seconds() + 100 * DAY);
    assert_eq!(
        (world.verify(&first.secret).await, world.verify(&second.secret).await),
        ("VALID".into(), "REVOKED".into())
    );
}
