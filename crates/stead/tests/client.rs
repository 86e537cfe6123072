//! The Rust client against the real server: every call once, and how errors come back.

use crate::harness::{Options, Server, Store};
use stead_api::account::{CreateServiceAccount, UpdateServiceAccount};
use stead_api::key::{Change, CreateApiKey, KeyStatus, Permissions, RotateApiKey, UpdateApiKey};
use stead_api::secret::Secret;
use stead_api::usage::{RequestsQuery, UsageOverTime, UsageQuery};
use stead_api::verify::{BatchResult, DecisionCode, Simulate, VerifyApiKey, VerifyApiKeys};
use stead_client::{Client, Error};

fn about(secret: &Secret) -> VerifyApiKey {
    VerifyApiKey {
        api_key: secret.clone(),
        permissions: Some(vec!["text_to_speech".into()]),
        ip: None,
        cost: Some(1),
        request_id: None,
        resource: None,
        concurrency: None,
        lease_seconds: None,
        explain: Some(true),
        at_least: None,
    }
}

#[tokio::test]
async fn every_call_of_the_client_works_on_the_real_server() {
    let server = Server::start(Options::on(Store::Sqlite));
    let client = Client::new(server.base_url(), Secret::new(server.admin_key())).unwrap();
    let me = client.user().await.unwrap();
    let new = CreateServiceAccount { name: "ci".into(), description: None };
    let account = client.create_service_account(&new).await.unwrap().service_account_id;

    let new = CreateApiKey {
        name: "deploy".into(),
        permissions: Some(Permissions::List(vec!["text_to_speech".into()])),
        character_limit: Some(10),
        ..CreateApiKey::default()
    };
    let twice = client.with_retry_key("once");
    let made = twice.create_api_key(&account, &new).await.unwrap();
    assert_eq!(twice.create_api_key(&account, &new).await.unwrap().api_key.expose(), made.api_key.expose());
    assert_eq!(client.list_api_keys(&account).await.unwrap().len(), 1);

    let decision = client.verify_api_key(&about(&made.api_key)).await.unwrap();
    assert_eq!((decision.code, decision.remaining), (DecisionCode::Valid, Some(9)));
    assert!(decision.checks.unwrap().iter().all(|check| check.passed));
    let questions = VerifyApiKeys { requests: vec![about(&made.api_key), about(&Secret::new("nonsense"))] };
    let answers = client.verify_api_keys(&questions).await.unwrap();
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            BatchResult::Decided(decision) => decision.code,
            BatchResult::Unknown { error } => panic!("{error:?}"),
        })
        .collect();
    assert_eq!(codes, [DecisionCode::Valid, DecisionCode::NotFound]);
    let asks = Simulate { cost: Some(11), ..Simulate::default() };
    let rehearsed = client.simulate_api_key(&made.key_id, &asks).await.unwrap();
    assert_eq!((rehearsed.code, rehearsed.limit.unwrap().remaining), (DecisionCode::UsageExceeded, 8));
    let own = Client::new(server.base_url(), made.api_key.clone()).unwrap().own_api_key().await.unwrap();
    assert_eq!((own.key.key_id, own.service_account_name.as_deref()), (made.key_id.clone(), Some("ci")));

    let change = UpdateApiKey { tts_concurrency_limit: Some(Change::Set(1)), ..UpdateApiKey::default() };
    client.update_api_key(&account, &made.key_id, &change).await.unwrap();
    let speaks = VerifyApiKey { concurrency: Some("tts".into()), cost: None, ..about(&made.api_key) };
    let lease = client.verify_api_key(&speaks).await.unwrap().lease_id.unwrap();
    let denied = client.verify_api_key(&speaks).await.unwrap();
    assert_eq!(denied.code, DecisionCode::RateLimited);
    let past = client.get_decision(&denied.decision_id).await.unwrap();
    assert_eq!((past.decision.code, past.asked.concurrency.as_deref()), (DecisionCode::RateLimited, Some("tts")));
    assert!(!client.list_decisions().await.unwrap().is_empty());
    client.release_lease(&lease).await.unwrap();
    assert!(client.verify_api_key(&speaks).await.unwrap().valid);

    let change =
        UpdateApiKey { character_limit: Some(Change::Clear), is_enabled: Some(true), ..UpdateApiKey::default() };
    assert_eq!(client.update_api_key(&account, &made.key_id, &change).await.unwrap().character_limit, None);
    let rotated =
        client.rotate_api_key(&account, &made.key_id, &RotateApiKey { grace_period_seconds: Some(60) }).await.unwrap();
    assert_eq!(rotated.rotation.unwrap().rotated_from, made.key_id);
    let old = client.undo_rotation(&account, &made.key_id).await.unwrap();
    assert_eq!((old.expires_at, old.status), (None, KeyStatus::Active));
    client.disable_api_key(&account, &made.key_id).await.unwrap();
    assert_eq!(client.get_api_key(&account, &made.key_id).await.unwrap().status, KeyStatus::Disabled);
    client.delete_api_key(&account, &made.key_id).await.unwrap();
    let revoked = client.search_api_keys(&[("status", "revoked"), ("account", account.as_str())]).await.unwrap();
    assert_eq!(revoked.api_keys.len(), 2);

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let (start_time, end_time) = (now - 3_600_000, now + 60_000);
    let question =
        UsageOverTime { start_time, end_time, group_by: Some(vec!["outcome".into()]), ..UsageOverTime::default() };
    let table = client.usage_by_product_over_time(&question).await.unwrap();
    assert_eq!(table.columns, ["timestamp", "outcome", "total_usage", "usage_count"]);
    assert!(table.rows.iter().any(|row| row[1] == "VALID"));
    let question = UsageQuery { start_time, end_time, interval_seconds: 86_400, ..UsageQuery::default() };
    assert!(!client.analytics_usage(&question).await.unwrap().rows.is_empty());
    let question = RequestsQuery { start_time: Some(start_time), ..RequestsQuery::default() };
    assert!(!client.analytics_requests(&question).await.unwrap().rows.is_empty());
    let (start, end) = (start_time.to_string(), end_time.to_string());
    let query = [("start_unix", start.as_str()), ("end_unix", &end), ("include_workspace_metrics", "true")];
    let stats = client.character_stats(&query).await.unwrap();
    assert!((stats.usage["All"].iter().sum::<f64>() - 2.0).abs() < 0.1, "{stats:?}");
    let usage = client.api_keys_usage(2).await.unwrap();
    assert_eq!((usage.days.len(), usage.api_keys[0].service_account_user_id.clone()), (2, account.clone()));

    let change = UpdateServiceAccount { name: Some("renamed".into()), ..UpdateServiceAccount::default() };
    assert_eq!(client.update_service_account(&account, &change).await.unwrap().name, "renamed");
    assert_eq!(client.get_service_account(&account).await.unwrap().name, "renamed");
    client.delete_service_account(&account).await.unwrap();
    assert!(client.list_service_accounts().await.unwrap().is_empty());

    let Error::Refused { status, body } = client.get_service_account(&account).await.unwrap_err() else {
        panic!("it is there")
    };
    assert_eq!((status, body.detail.code.as_str()), (404, "service_account_not_found"));
    let Error::Invalid(mistakes) = client.create_service_account(&CreateServiceAccount::default()).await.unwrap_err()
    else {
        panic!("it took an empty name")
    };
    assert_eq!(mistakes.len(), 1);
    let stranger = Client::new(server.base_url(), Secret::new("nobody's key")).unwrap();
    assert!(matches!(stranger.user().await.unwrap_err(), Error::Refused { status: 401, .. }));
    assert!(!format!("{client:?}").contains(server.admin_key()), "{}", me.user_id);
}
