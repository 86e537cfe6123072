//! The Rust client of Stead, with the server's own wire types. What the official SDKs call, and what they lack: reading,
//! changing and deleting accounts, rotation and its undoing, the workspace's list of keys, verification.
//!
//! Each call is one request; nothing is retried by itself, since only the caller knows whether a second key would do
//! harm. Give [`Client::with_retry_key`] a key of your own to send a creation again safely.

mod sharing;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stead_api::account::{
    CreateServiceAccount, CreatedServiceAccount, ServiceAccount, ServiceAccountList, Status, UpdateServiceAccount,
};
use stead_api::audit::{AuditChain, AuditLogPage};
use stead_api::error::{ErrorBody, FieldError, ValidationBody};
use stead_api::id::{DecisionId, EventId, KeyId, LeaseId, PrincipalId, WebhookId, WorkspaceId};
use stead_api::key::{
    ApiKey, ApiKeyList, ApiKeyPage, CreateApiKey, CreatedApiKey, OwnApiKey, RotateApiKey, UpdateApiKey,
};
use stead_api::member::{
    AcceptInvite, AcceptedInvite, ByEmail, CreateInvite, CreateInvites, CreatedInvite, CreatedInvites, Invite,
    InviteList, Member, MemberList, SetUsageLimit, UpdateMember,
};
use stead_api::secret::Secret;
use stead_api::usage::{CharacterStats, KeysUsage, RequestsQuery, Table, UsageOverTime, UsageQuery};
use stead_api::user::{User, WholeSubscription};
use stead_api::verify::{
    BatchResult, Decision, Decisions, PastDecision, PastDecisions, Simulate, VerifyApiKey, VerifyApiKeys,
};
use stead_api::webhook::{
    CreateWebhook, CreatedWebhook, RotateWebhookSecret, RotatedWebhookSecret, TestedWebhook, UpdateWebhook, Webhook,
    WebhookDeliveryPage, WebhookList, WebhookSettings,
};
use stead_api::workspace::{
    CreateWorkspace, CreatedWorkspace, OwnWorkspace, ReportApiKey, ThirdPartyDisabling, UpdateOwnWorkspace,
    UpdateWorkspace, Workspace, WorkspacePage,
};

/// A connection to one server with one key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    api_key: Secret,
    retry_key: Option<String>,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("{status}: {}", .body.detail.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Code, message and request id.
        body: Box<ErrorBody>,
    },
    /// The input has mistakes.
    #[error("the input has {} mistakes", .0.len())]
    Invalid(Vec<FieldError>),
    /// The server couldn't be reached, or answered something that is not its own.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

impl Client {
    /// A client for the server at `base_url`, with or without a slash at its end.
    pub fn new(base_url: &str, api_key: Secret) -> Result<Self, Error> {
        // No redirects: the key must not follow one to another host.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(no_answer)?;
        Ok(Self { http, base_url: base_url.trim_end_matches('/').to_owned(), api_key, retry_key: None })
    }

    /// The same client, whose next POSTs carry an `Idempotency-Key`: sent again within a day, with the same body to the
    /// same route, they get their first outcome.
    #[must_use]
    pub fn with_retry_key(&self, key: impl Into<String>) -> Self {
        Self { retry_key: Some(key.into()), ..self.clone() }
    }

    /// Who am I?
    pub async fn user(&self) -> Result<User, Error> {
        self.call(Method::GET, "/v1/user", None::<&()>).await
    }

    /// What the key that asks has used and may use this month.
    pub async fn user_subscription(&self) -> Result<WholeSubscription, Error> {
        self.call(Method::GET, "/v1/user/subscription", None::<&()>).await
    }

    /// All people of the workspace, locked ones included, oldest first.
    pub async fn list_members(&self) -> Result<Vec<Member>, Error> {
        let MemberList(members) = self.call(Method::GET, "/v1/workspace/members", None::<&()>).await?;
        Ok(members)
    }

    /// Locks or unlocks a person, or gives them another seat.
    pub async fn update_member(&self, change: &UpdateMember) -> Result<Status, Error> {
        self.call(Method::POST, "/v1/workspace/members", Some(change)).await
    }

    /// Removes a person and revokes their keys, for good.
    pub async fn remove_member(&self, email: &str) -> Result<Status, Error> {
        self.call(Method::DELETE, "/v1/workspace/members", Some(&ByEmail { email: email.into() })).await
    }

    /// Sets what a person or service account may spend in a month; `None` removes the limit.
    pub async fn set_member_usage_limit(&self, member: &PrincipalId, limit: Option<i64>) -> Result<Status, Error> {
        let path = format!("/v1/workspace/members/{member}/usage-limit");
        self.call(Method::PUT, &path, Some(&SetUsageLimit { usage_limit: limit })).await
    }

    /// Everybody who was invited and has not joined yet, oldest first.
    pub async fn list_invites(&self) -> Result<Vec<Invite>, Error> {
        let list: InviteList = self.call(Method::GET, "/v1/workspace/invites", None::<&()>).await?;
        Ok(list.invites)
    }

    /// Invites somebody. Where the server sends no mail, the link is in this answer and nowhere else.
    pub async fn create_invite(&self, new: &CreateInvite) -> Result<CreatedInvite, Error> {
        self.call(Method::POST, "/v1/workspace/invites/add", Some(new)).await
    }

    /// Invites up to 100 people; all of them, or none.
    pub async fn create_invites(&self, new: &CreateInvites) -> Result<CreatedInvites, Error> {
        self.call(Method::POST, "/v1/workspace/invites/add-bulk", Some(new)).await
    }

    /// Takes an invite back.
    pub async fn delete_invite(&self, email: &str) -> Result<Status, Error> {
        self.call(Method::DELETE, "/v1/workspace/invites", Some(&ByEmail { email: email.into() })).await
    }

    /// Joins a workspace. The client's own key has no part in it.
    pub async fn accept_invite(&self, invite: &AcceptInvite) -> Result<AcceptedInvite, Error> {
        self.call(Method::POST, "/v1/workspace/invites/accept", Some(invite)).await
    }

    /// All service accounts with their keys, oldest first.
    pub async fn list_service_accounts(&self) -> Result<Vec<ServiceAccount>, Error> {
        let list: ServiceAccountList = self.call(Method::GET, "/v1/service-accounts", None::<&()>).await?;
        Ok(list.service_accounts)
    }

    /// Makes a service account.
    pub async fn create_service_account(&self, new: &CreateServiceAccount) -> Result<CreatedServiceAccount, Error> {
        self.call(Method::POST, "/v1/service-accounts", Some(new)).await
    }

    /// One service account with its keys.
    pub async fn get_service_account(&self, account: &PrincipalId) -> Result<ServiceAccount, Error> {
        self.call(Method::GET, &account_path(account), None::<&()>).await
    }

    /// Renames, describes, disables or enables a service account.
    pub async fn update_service_account(
        &self,
        account: &PrincipalId,
        change: &UpdateServiceAccount,
    ) -> Result<ServiceAccount, Error> {
        self.call(Method::PATCH, &account_path(account), Some(change)).await
    }

    /// Deletes a service account and revokes its keys, for good.
    pub async fn delete_service_account(&self, account: &PrincipalId) -> Result<Status, Error> {
        self.call(Method::DELETE, &account_path(account), None::<&()>).await
    }

    /// The keys of an account, oldest first.
    pub async fn list_api_keys(&self, account: &PrincipalId) -> Result<Vec<ApiKey>, Error> {
        let list: ApiKeyList =
            self.call(Method::GET, &format!("{}/api-keys", account_path(account)), None::<&()>).await?;
        Ok(list.api_keys)
    }

    /// Makes a key. The secret is in this answer and nowhere else.
    pub async fn create_api_key(&self, account: &PrincipalId, new: &CreateApiKey) -> Result<CreatedApiKey, Error> {
        self.call(Method::POST, &format!("{}/api-keys", account_path(account)), Some(new)).await
    }

    /// One key.
    pub async fn get_api_key(&self, account: &PrincipalId, key: &KeyId) -> Result<ApiKey, Error> {
        self.call(Method::GET, &key_path(account, key), None::<&()>).await
    }

    /// Changes a key; what is `None` stays.
    pub async fn update_api_key(
        &self,
        account: &PrincipalId,
        key: &KeyId,
        change: &UpdateApiKey,
    ) -> Result<ApiKey, Error> {
        self.call(Method::PATCH, &key_path(account, key), Some(change)).await
    }

    /// Disables a key until it is enabled again.
    pub async fn disable_api_key(&self, account: &PrincipalId, key: &KeyId) -> Result<Status, Error> {
        self.call(Method::POST, &format!("{}/disable", key_path(account, key)), None::<&()>).await
    }

    /// Makes a successor that inherits everything; the old key goes on for the grace period.
    pub async fn rotate_api_key(
        &self,
        account: &PrincipalId,
        key: &KeyId,
        rotation: &RotateApiKey,
    ) -> Result<CreatedApiKey, Error> {
        self.call(Method::POST, &format!("{}/rotate", key_path(account, key)), Some(rotation)).await
    }

    /// Gives the old key its expiry back and revokes its successor.
    pub async fn undo_rotation(&self, account: &PrincipalId, key: &KeyId) -> Result<ApiKey, Error> {
        self.call(Method::POST, &format!("{}/rotate/undo", key_path(account, key)), None::<&()>).await
    }

    /// Revokes a key, for good.
    pub async fn delete_api_key(&self, account: &PrincipalId, key: &KeyId) -> Result<Status, Error> {
        self.call(Method::DELETE, &key_path(account, key), None::<&()>).await
    }

    /// A page of the keys of all accounts. `query` are the filters by name, as in `("expiring_within", "30d")`.
    pub async fn search_api_keys(&self, query: &[(&str, &str)]) -> Result<ApiKeyPage, Error> {
        self.query("/v1/api-keys", query).await
    }

    /// May a key do something?
    pub async fn verify_api_key(&self, question: &VerifyApiKey) -> Result<Decision, Error> {
        self.call(Method::POST, "/v1/api-keys/verify", Some(question)).await
    }

    /// Up to 1,000 questions at once; the answers come in their order.
    pub async fn verify_api_keys(&self, questions: &VerifyApiKeys) -> Result<Vec<BatchResult>, Error> {
        let answer: Decisions = self.call(Method::POST, "/v1/api-keys/verify-batch", Some(questions)).await?;
        Ok(answer.results)
    }

    /// Gives back the place that a concurrency limit gave out.
    pub async fn release_lease(&self, lease: &LeaseId) -> Result<Status, Error> {
        self.call(Method::POST, &format!("/v1/api-keys/leases/{lease}/release"), None::<&()>).await
    }

    /// What would be decided about a key, with every check. Takes nothing.
    pub async fn simulate_api_key(&self, key: &KeyId, question: &Simulate) -> Result<Decision, Error> {
        self.call(Method::POST, &format!("/v1/api-keys/{key}/simulate"), Some(question)).await
    }

    /// Why a recent question was answered as it was.
    pub async fn get_decision(&self, decision: &DecisionId) -> Result<PastDecision, Error> {
        self.call(Method::GET, &format!("/v1/decisions/{decision}"), None::<&()>).await
    }

    /// The latest decisions that are kept, the newest first.
    pub async fn list_decisions(&self) -> Result<Vec<PastDecision>, Error> {
        let list: PastDecisions = self.call(Method::GET, "/v1/decisions", None::<&()>).await?;
        Ok(list.decisions)
    }

    /// The caller's workspace: its seats, its limits and what it asks of keys.
    pub async fn own_workspace(&self) -> Result<OwnWorkspace, Error> {
        self.call(Method::GET, "/v1/workspace", None::<&()>).await
    }

    /// Renames the caller's workspace, or changes what it asks of keys from now on.
    pub async fn update_own_workspace(&self, change: &UpdateOwnWorkspace) -> Result<OwnWorkspace, Error> {
        self.call(Method::PATCH, "/v1/workspace", Some(change)).await
    }

    /// Says for all keys whether their holders may disable them, or (`None`) leaves it to each key.
    pub async fn set_third_party_disabling(&self, allowed: Option<bool>) -> Result<Status, Error> {
        let body = ThirdPartyDisabling { third_party_disable_allowed: allowed };
        self.call(Method::POST, "/v1/workspaces/api-keys/third-party-disabling", Some(&body)).await
    }

    /// Disables the key that makes this call.
    pub async fn disable_own_api_key(&self) -> Result<Status, Error> {
        self.call(Method::POST, "/v1/workspaces/api-keys/disable?api_key_name=self", None::<&()>).await
    }

    /// Reports a key that was found where it should not be. The client's own key is sent along, and not asked for.
    pub async fn report_api_key(&self, report: &ReportApiKey) -> Result<Status, Error> {
        self.call(Method::POST, "/v1/api-keys/report", Some(report)).await
    }

    /// For the operator: makes a workspace. The secret of its owner's key is in this answer and nowhere else.
    pub async fn create_workspace(&self, new: &CreateWorkspace) -> Result<CreatedWorkspace, Error> {
        self.call(Method::POST, "/v1/workspaces", Some(new)).await
    }

    /// For the operator: a page of all workspaces. `query` may have `limit` and `cursor`.
    pub async fn list_workspaces(&self, query: &[(&str, &str)]) -> Result<WorkspacePage, Error> {
        self.query("/v1/workspaces", query).await
    }

    /// For the operator: one workspace.
    pub async fn get_workspace(&self, workspace: &WorkspaceId) -> Result<Workspace, Error> {
        self.call(Method::GET, &format!("/v1/workspaces/{workspace}"), None::<&()>).await
    }

    /// For the operator: renames a workspace, suspends it or lets it go on, changes its seats, months and limits.
    pub async fn update_workspace(
        &self,
        workspace: &WorkspaceId,
        change: &UpdateWorkspace,
    ) -> Result<Workspace, Error> {
        self.call(Method::PATCH, &format!("/v1/workspaces/{workspace}"), Some(change)).await
    }

    /// A page of the audit log, newest first. `query` are the filters by name, as in `("actor_uid", "usr_…")`.
    pub async fn list_audit_logs(&self, query: &[(&str, &str)]) -> Result<AuditLogPage, Error> {
        self.query("/v1/workspace/audit-logs", query).await
    }

    /// Whether every entry of the audit log is there and as it was written.
    pub async fn check_audit_chain(&self) -> Result<AuditChain, Error> {
        self.call(Method::GET, "/v1/workspace/audit-logs/chain", None::<&()>).await
    }

    /// The key that makes this call.
    pub async fn own_api_key(&self) -> Result<OwnApiKey, Error> {
        self.call(Method::GET, "/v1/api-keys/self", None::<&()>).await
    }

    /// All webhooks with their events, the oldest first.
    pub async fn list_webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let list: WebhookList =
            self.call(Method::GET, "/v1/workspace/webhooks?include_usages=true", None::<&()>).await?;
        Ok(list.webhooks)
    }

    /// Makes a webhook. The secret is in this answer and nowhere else.
    pub async fn create_webhook(&self, settings: &WebhookSettings) -> Result<CreatedWebhook, Error> {
        let body = CreateWebhook { settings: settings.clone() };
        self.call(Method::POST, "/v1/workspace/webhooks", Some(&body)).await
    }

    /// One webhook.
    pub async fn get_webhook(&self, webhook: &WebhookId) -> Result<Webhook, Error> {
        self.call(Method::GET, &webhook_path(webhook), None::<&()>).await
    }

    /// Changes a webhook; of what may be absent, what is `None` stays.
    pub async fn update_webhook(&self, webhook: &WebhookId, change: &UpdateWebhook) -> Result<Status, Error> {
        self.call(Method::PATCH, &webhook_path(webhook), Some(change)).await
    }

    /// Deletes a webhook with what waits for it, for good.
    pub async fn delete_webhook(&self, webhook: &WebhookId) -> Result<Status, Error> {
        self.call(Method::DELETE, &webhook_path(webhook), None::<&()>).await
    }

    /// Makes a new secret, which signs after the grace period.
    pub async fn rotate_webhook_secret(
        &self,
        webhook: &WebhookId,
        rotation: &RotateWebhookSecret,
    ) -> Result<RotatedWebhookSecret, Error> {
        self.call(Method::POST, &format!("{}/rotate-secret", webhook_path(webhook)), Some(rotation)).await
    }

    /// Sends a `webhook.test` event.
    pub async fn test_webhook(&self, webhook: &WebhookId) -> Result<TestedWebhook, Error> {
        self.call(Method::POST, &format!("{}/test", webhook_path(webhook)), None::<&()>).await
    }

    /// A page of what was sent to a webhook and what waits. `query` are the filters by name, as in `("status", "dead")`.
    pub async fn list_webhook_deliveries(
        &self,
        webhook: &WebhookId,
        query: &[(&str, &str)],
    ) -> Result<WebhookDeliveryPage, Error> {
        self.query(&format!("{}/deliveries", webhook_path(webhook)), query).await
    }

    /// Sends an event once more, with the same id and the same bytes.
    pub async fn redeliver_webhook_event(&self, webhook: &WebhookId, event: &EventId) -> Result<Status, Error> {
        let path = format!("{}/deliveries/{event}/redeliver", webhook_path(webhook));
        self.call(Method::POST, &path, None::<&()>).await
    }

    /// Credits and decisions by bucket of time and by group.
    pub async fn usage_by_product_over_time(&self, question: &UsageOverTime) -> Result<Table, Error> {
        self.call(Method::POST, "/v1/workspace/analytics/query/usage-by-product-over-time", Some(question)).await
    }

    /// Charges by day.
    pub async fn analytics_usage(&self, question: &UsageQuery) -> Result<Table, Error> {
        self.call(Method::POST, "/v1/workspace/analytics/usage", Some(question)).await
    }

    /// Recent decisions of the node that answers.
    pub async fn analytics_requests(&self, question: &RequestsQuery) -> Result<Table, Error> {
        self.call(Method::POST, "/v1/workspace/analytics/requests", Some(question)).await
    }

    /// Series of credits or requests. `query` are the parameters by name; `start_unix` and `end_unix` must be there.
    pub async fn character_stats(&self, query: &[(&str, &str)]) -> Result<CharacterStats, Error> {
        self.query("/v1/usage/character-stats", query).await
    }

    /// Grants, denials and credits of each key in the last days, today among them.
    pub async fn api_keys_usage(&self, days: u32) -> Result<KeysUsage, Error> {
        self.call(Method::GET, &format!("/v1/workspace/usage/api-keys?days={days}"), None::<&()>).await
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base_url));
        if let Some(key) = self.retry_key.as_ref().filter(|_| method == Method::POST) {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    /// A GET with a query.
    pub(crate) async fn query<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base_url), query);
        self.send(self.http.get(url.map_err(no_answer)?)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = request.header("xi-api-key", self.api_key.expose()).send().await.map_err(no_answer)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(no_answer);
        }
        Err(refusal(status, &bytes))
    }
}

/// An error answer in either of its shapes.
fn refusal(status: StatusCode, bytes: &[u8]) -> Error {
    let strange = || Error::NoAnswer(format!("{status}, and the body is none of this server's"));
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return strange() };
    if body["detail"].is_array() {
        return serde_json::from_value(body)
            .map_or_else(|_| strange(), |body: ValidationBody| Error::Invalid(body.detail));
    }
    let refused = |body| Error::Refused { status: status.as_u16(), body: Box::new(body) };
    serde_json::from_value(body).map_or_else(|_| strange(), refused)
}

/// The library's errors may name the URL, which never holds a secret here.
fn no_answer(error: impl std::fmt::Display) -> Error {
    Error::NoAnswer(error.to_string())
}

fn account_path(account: &PrincipalId) -> String {
    format!("/v1/service-accounts/{account}")
}

fn webhook_path(webhook: &WebhookId) -> String {
    format!("/v1/workspace/webhooks/{webhook}")
}

fn key_path(account: &PrincipalId, key: &KeyId) -> String {
    format!("{}/api-keys/{key}", account_path(account))
}
