//! The Rust client against the real server: every call once, and how errors come back.

use crate::harness::{Options, Server, Store};
use stead_api::account::{CreateServiceAccount, UpdateServiceAccount};
use stead_api::group::{CreateGroup, GroupMember, UpdateGroup};
use stead_api::id::PrincipalId;
use stead_api::key::{Change, CreateApiKey, KeyStatus, Permissions, RotateApiKey, UpdateApiKey};
use stead_api::member::{AcceptInvite, CreateInvite, CreateInvites, UpdateMember};
use stead_api::resource::{CreateResource, Role, ShareResource, ShareTarget, UnshareResource, UpdateResource};
use stead_api::secret::Secret;
use stead_api::usage::{RequestsQuery, UsageOverTime, UsageQuery};
use stead_api::verify::{BatchResult, DecisionCode, Simulate, VerifyApiKey, VerifyApiKeys};
use stead_api::webhook::{DeliveryStatus, RotateWebhookSecret, UpdateWebhook, WebhookSettings};
use stead_api::workspace::{
    CreateWorkspace, ReportApiKey, UpdateOwnWorkspace, UpdateWorkspace, UpdateWorkspacePolicies,
};
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

/// People come and go.
async fn people(client: &Client) {
    let new = CreateInvite { email: "ann@example.com".into(), usage_limit: Some(5), ..CreateInvite::default() };
    let link = client.create_invite(&new).await.unwrap().invite_url.unwrap();
    let more = CreateInvites {
        emails: vec!["bob@example.com".into()],
        seat_type: Some("workspace_lite_member".into()),
        ..CreateInvites::default()
    };
    assert_eq!(client.create_invites(&more).await.unwrap().invites.len(), 1);
    client.delete_invite("bob@example.com").await.unwrap();
    assert_eq!(client.list_invites().await.unwrap().len(), 1);
    let token = Secret::new(link.expose().rsplit_once('/').unwrap().1);
    let joined = client.accept_invite(&AcceptInvite { token, first_name: Some("Ann".into()) }).await.unwrap();
    client.set_member_usage_limit(&joined.user_id, None).await.unwrap();
    let lock = UpdateMember { email: joined.email.clone(), is_locked: Some(true), ..UpdateMember::default() };
    client.update_member(&lock).await.unwrap();
    let members = client.list_members().await.unwrap();
    assert_eq!((members.len(), members[1].is_locked, members[1].usage_limit), (2, true, None));
    client.remove_member(&joined.email).await.unwrap();
    assert_eq!(client.list_members().await.unwrap().len(), 1);
    assert!(!client.user_subscription().await.unwrap().has_open_invoices);
}

#[tokio::test]
async fn every_call_of_the_client_works_on_the_real_server() {
    let server = Server::start(Options::on(Store::Sqlite));
    let client = Client::new(server.base_url(), Secret::new(server.admin_key())).unwrap();
    let me = client.user().await.unwrap();
    people(&client).await;
    let new = CreateServiceAccount { name: "ci".into(), ..CreateServiceAccount::default() };
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

    share_a_voice(&client, &account).await;
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

    let own = client.own_workspace().await.unwrap();
    let policies = UpdateWorkspacePolicies { disable_idle_after_days: Some(Change::Set(90)), ..Default::default() };
    let change = UpdateOwnWorkspace { name: Some("ours".into()), policies: Some(policies) };
    let changed = client.update_own_workspace(&change).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.policies.disable_idle_after_days), ("ours", Some(90)));
    client.set_third_party_disabling(Some(true)).await.unwrap();
    assert_eq!(client.own_workspace().await.unwrap().third_party_disable_allowed, Some(true));
    let account = client
        .create_service_account(&CreateServiceAccount { name: "loose".into(), ..CreateServiceAccount::default() })
        .await;
    let account = account.unwrap().service_account_id;
    let new = CreateApiKey { name: "k".into(), ..CreateApiKey::default() };
    let found = client.create_api_key(&account, &new).await.unwrap();
    let report = ReportApiKey { api_key: found.api_key, url: None, source: None, comment: None };
    client.report_api_key(&report).await.unwrap();
    let reason = client.get_api_key(&account, &found.key_id).await.unwrap().disable_reason;
    assert_eq!(reason.as_deref(), Some("exposed_publicly"));
    let held = client.create_api_key(&account, &new).await.unwrap();
    Client::new(server.base_url(), held.api_key).unwrap().disable_own_api_key().await.unwrap();
    client.delete_service_account(&account).await.unwrap();

    let credential = std::fs::read_to_string(server.data_dir().join("operator-key")).unwrap();
    let operator = Client::new(server.base_url(), Secret::new(credential.trim())).unwrap();
    let new =
        CreateWorkspace { name: "theirs".into(), owner_email: "o@example.com".into(), ..CreateWorkspace::default() };
    let made = operator.create_workspace(&new).await.unwrap();
    let id = made.workspace.workspace_id;
    assert_ne!(id, own.workspace_id);
    let theirs = Client::new(server.base_url(), made.api_key).unwrap();
    assert_eq!(theirs.own_workspace().await.unwrap().workspace_id, id);
    assert_eq!(operator.list_workspaces(&[("limit", "2")]).await.unwrap().workspaces.len(), 2);
    let change = UpdateWorkspace { is_disabled: Some(true), ..UpdateWorkspace::default() };
    assert!(operator.update_workspace(&id, &change).await.unwrap().is_disabled);
    assert!(operator.get_workspace(&id).await.unwrap().is_disabled);
    assert!(matches!(theirs.user().await.unwrap_err(), Error::Refused { status: 401, .. }));
    assert!(matches!(operator.user().await.unwrap_err(), Error::Refused { status: 401, .. }));
    assert!(matches!(client.get_workspace(&id).await.unwrap_err(), Error::Refused { status: 403, .. }));
    let gone = client.list_audit_logs(&[("activity_name", "Service Account Deletion"), ("limit", "1")]).await.unwrap();
    assert_eq!((gone.entries.len(), gone.has_more), (1, true));
    assert_eq!(gone.entries[0].unmapped.target.id, account.as_str());
    assert_eq!(gone.entries[0].actor.user.uid.as_deref(), Some(me.user_id.as_str()));
    let chain = client.check_audit_chain().await.unwrap();
    assert!(chain.verified && chain.entries > 10, "{chain:?}");
    let settings = WebhookSettings {
        auth_type: "hmac".into(),
        name: "ours".into(),
        webhook_url: "https://example.invalid/hook".into(),
        events: Some(vec!["api_key.revoked".into()]),
        ..WebhookSettings::default()
    };
    let hook = client.create_webhook(&settings).await.unwrap().webhook_id;
    assert_eq!(client.get_webhook(&hook).await.unwrap().events, client.list_webhooks().await.unwrap()[0].events);
    let rotation = RotateWebhookSecret { grace_period_seconds: Some(60) };
    assert!(client.rotate_webhook_secret(&hook, &rotation).await.unwrap().webhook_secret.expose().starts_with("wsec_"));
    let event = client.test_webhook(&hook).await.unwrap().event_id;
    let change = UpdateWebhook { is_disabled: true, name: "off".into(), ..UpdateWebhook::default() };
    client.update_webhook(&hook, &change).await.unwrap();
    let page = client.list_webhook_deliveries(&hook, &[("status", "dead")]).await.unwrap();
    assert_eq!((&page.deliveries[0].event_id, page.deliveries[0].status), (&event, DeliveryStatus::Dead));
    client.update_webhook(&hook, &UpdateWebhook { is_disabled: false, ..change }).await.unwrap();
    client.redeliver_webhook_event(&hook, &event).await.unwrap();
    client.delete_webhook(&hook).await.unwrap();

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

/// Groups, resources, and who can touch what.
async fn share_a_voice(client: &Client, account: &PrincipalId) {
    let new = CreateGroup { name: "Builders".into(), ..CreateGroup::default() };
    let group = client.create_group(&new).await.unwrap().id;
    let change = UpdateGroup { name: Some("Makers".into()), ..UpdateGroup::default() };
    assert_eq!(client.update_group(&group, &change).await.unwrap().name, "Makers");
    let member = GroupMember { email: client.get_service_account(account).await.unwrap().email };
    client.add_group_member(&group, &member).await.unwrap();
    assert_eq!(client.get_group(&group).await.unwrap().members, std::slice::from_ref(account));
    assert_eq!(client.search_groups("make").await.unwrap()[0].members_emails, std::slice::from_ref(&member.email));
    let new =
        CreateResource { resource_type: "voice".into(), resource_id: Some("anna".into()), ..CreateResource::default() };
    client.create_resource(&new).await.unwrap();
    let change = UpdateResource { resource_name: Some("Anna".into()) };
    client.update_resource("voice", "anna", &change).await.unwrap();
    let target = ShareTarget { group_id: Some(group.clone()), ..ShareTarget::default() };
    let share = ShareResource { role: Role::Editor, resource_type: "voice".into(), target: target.clone() };
    client.share_resource("anna", &share).await.unwrap();
    assert_eq!(
        client.get_resource("voice", "anna").await.unwrap().role_to_group_ids[&Role::Editor],
        std::slice::from_ref(&group)
    );
    let touchable = client.get_member_access(account, &[]).await.unwrap().resources;
    assert_eq!((touchable[0].role, &touchable[0].path[1].id), (Role::Editor, &Some(group.clone())));
    let who = client.get_resource_access("voice", "anna").await.unwrap().principals;
    assert!(who.iter().any(|principal| principal.user_id == *account && principal.role == Role::Editor));
    assert_eq!(client.list_resources(&[("resource_type", "voice")]).await.unwrap().resources.len(), 1);
    client.unshare_resource("anna", &UnshareResource { resource_type: "voice".into(), target }).await.unwrap();
    client.delete_resource("voice", "anna").await.unwrap();
    client.remove_group_member(&group, &member).await.unwrap();
    client.delete_group(&group).await.unwrap();
    assert_eq!(client.list_groups().await.unwrap().len(), 1, "everybody's");
}
