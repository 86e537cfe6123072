use crate::harness::{Engine, World};
use crate::on_both_stores;
use serde_json::{Value, json};

on_both_stores! {
    a_denial_can_be_asked_about_later
    a_rehearsal_takes_nothing_and_tells_every_check
    a_batch_answers_each_question_in_its_place
    a_batch_with_a_mistake_decides_nothing
    any_key_may_ask_who_it_is
}

async fn a_denial_can_be_asked_about_later(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world
        .key(&account, json!({"name": "deploy", "permissions": ["text_to_speech"], "allowed_ips": ["10.0.0.0/8"]}))
        .await;
    let asked = json!({"ip": "192.0.2.1", "permissions": ["voices_write"], "cost": 3});
    let denied = world.verify_with(asked, &key.secret).await;
    // What changes afterwards doesn't change why.
    world.call("PATCH", &key.path(), json!({"allowed_ips": "clear", "permissions": "all"})).await.ok();
    let path = format!("/v1/decisions/{}", denied["decision_id"].as_str().unwrap());
    let past = world.get(&path).await;
    assert_eq!(
        (&past["decision"]["code"], &past["decision"]["decision_id"]),
        (&json!("IP_NOT_ALLOWED"), &denied["decision_id"])
    );
    assert_eq!(
        past["asked"],
        json!({"permissions": ["voices_write"], "ip": "192.0.2.1", "cost": 3, "concurrency": null})
    );
    let failed: Vec<_> =
        past["decision"]["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false).collect();
    assert_eq!(failed[0]["reason"], "192.0.2.1 (from the question) is not in the key's allowlist (10.0.0.0/8)");
    assert_eq!(failed[1]["reason"], "the key lacks voices_write");
    assert_eq!(
        (&past["decision"]["key_name"], &past["decision"]["service_account_name"]),
        (&json!("deploy"), &json!("ci"))
    );
    assert!(!past.to_string().contains(&key.secret));
    // An unknown key's decision belongs to the workspace that asked.
    let unknown = world.verify_with(json!({}), "sk_0123456789abcdef0123456789abcdef").await;
    let unknown = world.get(&format!("/v1/decisions/{}", unknown["decision_id"].as_str().unwrap())).await;
    assert_eq!(unknown["decision"]["checks"][0]["check"], "known");
    // Among the latest, once, the newest first (grants that were drawn as samples may lie between); and nobody else's.
    let latest = world.get("/v1/decisions").await;
    let ids: Vec<_> =
        latest["decisions"].as_array().unwrap().iter().map(|past| &past["decision"]["decision_id"]).collect();
    let place = |id: &Value| ids.iter().position(|found| *found == id).unwrap();
    assert!(place(&unknown["decision"]["decision_id"]) < place(&denied["decision_id"]));
    let foreign = world.foreign_admin().await;
    world.call_as(&foreign, "GET", &path, Value::Null).await.is(404, "decision_not_found");
    let theirs = world.call_as(&foreign, "GET", "/v1/decisions", Value::Null).await.ok();
    assert!(!theirs.to_string().contains(&key.id));
    for nonsense in ["dec_0000000000000000000000", "nonsense", "%00"] {
        world.call("GET", &format!("/v1/decisions/{nonsense}"), Value::Null).await.is(404, "decision_not_found");
    }
}

async fn a_rehearsal_takes_nothing_and_tells_every_check(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let limits = json!([{"name": "r", "limit": 1, "window_seconds": 60}]);
    let key = world
        .key(&account, json!({"name": "deploy", "permissions": ["text_to_speech"], "character_limit": 5, "rate_limits": limits, "tts_concurrency_limit": 1}))
        .await;
    let path = format!("/v1/api-keys/{}/simulate", key.id);
    for _ in 0..3 {
        let body = json!({"permissions": ["text_to_speech"], "cost": 5, "concurrency": "tts"});
        let answer = world.call("POST", &path, body).await.ok();
        assert_eq!(
            (&answer["code"], &answer["remaining"], &answer["key_name"]),
            (&json!("VALID"), &json!(5), &json!("deploy"))
        );
        assert_eq!(answer["checks"].as_array().unwrap().len(), 11);
        assert!(answer.get("lease_id").is_none());
    }
    let beyond = world.call("POST", &path, json!({"cost": 6})).await.ok();
    assert_eq!((&beyond["code"], &beyond["limit"]["kind"]), (&json!("USAGE_EXCEEDED"), &json!("credits")));
    assert_eq!(world.get(&key.path()).await["last_used_at"], Value::Null);
    assert_eq!(world.count("SELECT COUNT(*) FROM credits").await, 0);
    let mistakes = world.call("POST", &path, json!({"permissions": ["fly"], "cost": -1, "ip": 7})).await;
    assert_eq!(mistakes.blamed(), ["body.permissions.0", "body.ip", "body.cost"]);
    // Not another workspace's, and not there, read the same.
    let foreign = world.foreign_admin().await;
    world.call_as(&foreign, "POST", &path, json!({})).await.is(404, "api_key_not_found");
    world.call("POST", "/v1/api-keys/nonsense/simulate", json!({})).await.is(404, "api_key_not_found");
}

async fn a_batch_answers_each_question_in_its_place(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "permissions": ["text_to_speech"], "character_limit": 5})).await;
    let question = |more: Value| {
        let mut question = json!({"api_key": key.secret});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question
    };
    let requests = [
        question(json!({"permissions": ["text_to_speech"]})),
        json!({"api_key": "nonsense"}),
        question(json!({"cost": 3})),
        question(json!({"cost": 3, "explain": true})),
        question(json!({"at_least": "3-999999"})),
        question(json!({"permissions": ["voices_read"]})),
    ];
    let answer = world.call("POST", "/v1/api-keys/verify-batch", json!({"requests": requests})).await.ok();
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<_> = results.iter().map(|result| result["code"].as_str().unwrap_or("?")).collect();
    assert_eq!(codes, ["VALID", "NOT_FOUND", "VALID", "USAGE_EXCEEDED", "?", "INSUFFICIENT_PERMISSIONS"]);
    assert!(results[3]["checks"].is_array());
    // What can't be known is neither a yes nor a no.
    assert_eq!((&results[4]["error"]["code"], results[4].get("valid")), (&json!("not_yet_available"), None));
    let parsed: stead_api::verify::Decisions = serde_json::from_value(answer.clone()).unwrap();
    assert_eq!(parsed.results.len(), 6);
    // A thousand, in one.
    let many = vec![question(json!({})); 1000];
    let answer = world.call("POST", "/v1/api-keys/verify-batch", json!({"requests": many})).await.ok();
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["valid"] == true));
}

async fn a_batch_with_a_mistake_decides_nothing(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "k", "character_limit": 5})).await;
    let post = async |body: Value| world.call("POST", "/v1/api-keys/verify-batch", body).await;
    let good = json!({"api_key": key.secret, "cost": 5});
    let blamed = post(json!({"requests": [good, {"api_key": 7}, 7, {"api_key": "x", "cost": -1}]})).await.blamed();
    assert_eq!(blamed, ["body.requests.1.api_key", "body.requests.2", "body.requests.3.cost"]);
    assert_eq!(world.get(&key.path()).await["character_count"], 0);
    for nothing in
        [json!({}), json!({"requests": []}), json!({"requests": 7}), json!({"requests": vec![good.clone(); 1001]})]
    {
        assert_eq!(post(nothing).await.blamed(), ["body.requests"]);
    }
    let padded = json!({"requests": [{"api_key": "x".repeat(1024 * 1024)}]});
    post(padded).await.is(413, "request_too_large");
    post(json!([])).await.blamed();
}

async fn any_key_may_ask_who_it_is(engine: Engine) {
    let world = World::new(engine).await;
    let account = world.account("ci").await;
    let key = world.key(&account, json!({"name": "bare", "permissions": [], "character_limit": 9})).await;
    let own = world.call_as(&key.secret, "GET", "/v1/api-keys/self", Value::Null).await.ok();
    assert_eq!((&own["key_id"], &own["name"], &own["permissions"]), (&json!(key.id), &json!("bare"), &json!([])));
    assert_eq!((&own["workspace_id"], &own["service_account_name"]), (&json!(world.workspace.as_str()), &json!("ci")));
    assert!(!own.to_string().contains(&key.secret));
    // Being asked who one is counts as a use, as every call does.
    assert!(own["last_used_at"].is_number());
}
