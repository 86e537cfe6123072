//! All routes on one page. A row without saying who may call it does not compile.

use super::openapi::{Schema, schema};
use super::{health, metrics, openapi};
use crate::app::App;
use crate::members::Access;
use crate::{accounts, keys, members, verify};
use axum::http::Method;
use axum::routing::{MethodRouter, any, delete, get, patch, post};
use std::sync::Arc;
use stead_api::account::{
    CreateServiceAccount, CreatedServiceAccount, ServiceAccount, ServiceAccountList, Status, UpdateServiceAccount,
};
use stead_api::key::{
    ApiKey, ApiKeyList, ApiKeyPage, CreateApiKey, CreatedApiKey, OwnApiKey, RotateApiKey, UpdateApiKey,
};
use stead_api::permission::{SERVICE_ACCOUNT_WRITE, WORKSPACE_READ};
use stead_api::user::User;
use stead_api::verify::{Decision, Decisions, PastDecision, PastDecisions, Simulate, VerifyApiKey, VerifyApiKeys};

/// One route.
pub struct Route {
    /// The verb, the same in the handler, the operation and the clients.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The query's parameters with a word on each.
    pub query: &'static [(&'static str, &'static str)],
    /// The body's schema, if it takes one.
    pub body: Option<Schema>,
    /// The answer's schema; `None` for what has no fixed one.
    pub answer: Option<Schema>,
    /// What answers.
    pub handler: MethodRouter<Arc<App>>,
}

/// Reads what exists.
const READ: Access = Access::AccountManager(WORKSPACE_READ);
/// Gives power, or changes it.
const WRITE: Access = Access::AccountManager(SERVICE_ACCOUNT_WRITE);
/// Takes power away, which must go on when the workspace no longer has the feature (wire §7.5).
const WITHDRAW: Access = Access::Manager(SERVICE_ACCOUNT_WRITE);

/// The table.
pub fn routes() -> Vec<Route> {
    let row = |id, method, path, access, summary, handler| Route {
        id,
        method,
        path,
        access,
        summary,
        query: &[],
        body: None,
        answer: None,
        handler,
    };
    let (accounts, account) = ("/v1/service-accounts", "/v1/service-accounts/{service_account_user_id}");
    let (keys, key) = (
        "/v1/service-accounts/{service_account_user_id}/api-keys",
        "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}",
    );
    vec![
        Route {
            answer: Some(schema::<ServiceAccountList>),
            ..row(
                "list_service_accounts",
                Method::GET,
                accounts,
                READ,
                "List all service accounts with their keys",
                get(accounts::routes::list),
            )
        },
        Route {
            body: Some(schema::<CreateServiceAccount>),
            answer: Some(schema::<CreatedServiceAccount>),
            ..row(
                "create_service_account",
                Method::POST,
                accounts,
                WRITE,
                "Create a service account",
                post(accounts::routes::create),
            )
        },
        Route {
            answer: Some(schema::<ServiceAccount>),
            ..row(
                "get_service_account",
                Method::GET,
                account,
                READ,
                "Read one service account with its keys",
                get(accounts::routes::get),
            )
        },
        Route {
            body: Some(schema::<UpdateServiceAccount>),
            answer: Some(schema::<ServiceAccount>),
            ..row(
                "update_service_account",
                Method::PATCH,
                account,
                WRITE,
                "Rename, describe, disable or enable a service account",
                patch(accounts::routes::update),
            )
        },
        Route {
            answer: Some(schema::<Status>),
            ..row(
                "delete_service_account",
                Method::DELETE,
                account,
                WITHDRAW,
                "Delete a service account and revoke its keys, for good",
                delete(accounts::routes::delete),
            )
        },
        Route {
            answer: Some(schema::<ApiKeyList>),
            ..row(
                "list_service_account_api_keys",
                Method::GET,
                keys,
                READ,
                "List the keys of a service account",
                get(keys::routes::list),
            )
        },
        Route {
            body: Some(schema::<CreateApiKey>),
            answer: Some(schema::<CreatedApiKey>),
            ..row(
                "create_service_account_api_key",
                Method::POST,
                keys,
                WRITE,
                "Create a key; the secret is in this answer and nowhere else",
                post(keys::routes::create),
            )
        },
        Route {
            answer: Some(schema::<ApiKey>),
            ..row("get_service_account_api_key", Method::GET, key, READ, "Read one key", get(keys::routes::get))
        },
        Route {
            body: Some(schema::<UpdateApiKey>),
            answer: Some(schema::<ApiKey>),
            ..row(
                "update_service_account_api_key",
                Method::PATCH,
                key,
                WRITE,
                "Change a key; what is absent stays",
                patch(keys::routes::update),
            )
        },
        Route {
            answer: Some(schema::<Status>),
            ..row(
                "delete_service_account_api_key",
                Method::DELETE,
                key,
                WITHDRAW,
                "Revoke a key, for good",
                delete(keys::routes::revoke),
            )
        },
        Route {
            answer: Some(schema::<Status>),
            ..row(
                "disable_service_account_api_key",
                Method::POST,
                "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/disable",
                WITHDRAW,
                "Disable a key until it is enabled again",
                post(keys::routes::disable),
            )
        },
        Route {
            body: Some(schema::<RotateApiKey>),
            answer: Some(schema::<CreatedApiKey>),
            ..row(
                "rotate_service_account_api_key",
                Method::POST,
                "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/rotate",
                WRITE,
                "Create a successor that inherits everything; the old key goes on for the grace period",
                post(keys::routes::rotate),
            )
        },
        Route {
            answer: Some(schema::<ApiKey>),
            ..row(
                "undo_service_account_api_key_rotation",
                Method::POST,
                "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/rotate/undo",
                WRITE,
                "Give the old key its expiry back and revoke its successor, while the old key lives",
                post(keys::routes::undo_rotation),
            )
        },
        Route {
            query: keys::routes::SEARCH,
            answer: Some(schema::<ApiKeyPage>),
            ..row(
                "list_api_keys",
                Method::GET,
                "/v1/api-keys",
                Access::Manager(WORKSPACE_READ),
                "List the keys of all accounts, filtered, page by page",
                get(keys::routes::search),
            )
        },
        Route {
            body: Some(schema::<VerifyApiKey>),
            answer: Some(schema::<Decision>),
            ..row(
                "verify_api_key",
                Method::POST,
                "/v1/api-keys/verify",
                Access::Asker,
                "May this key do that?",
                post(verify::routes::verify_api_key),
            )
        },
        Route {
            body: Some(schema::<VerifyApiKeys>),
            answer: Some(schema::<Decisions>),
            ..row(
                "verify_api_keys",
                Method::POST,
                "/v1/api-keys/verify-batch",
                Access::Asker,
                "Up to 1,000 questions at once, 1 MiB; the answers come in their order",
                post(verify::routes::verify_api_keys),
            )
        },
        Route {
            answer: Some(schema::<Status>),
            ..row(
                "release_lease",
                Method::POST,
                "/v1/api-keys/leases/{lease_id}/release",
                Access::Asker,
                "Give back the place that a concurrency limit gave out, when the work is done",
                post(verify::routes::release_lease),
            )
        },
        Route {
            body: Some(schema::<Simulate>),
            answer: Some(schema::<Decision>),
            ..row(
                "simulate_api_key",
                Method::POST,
                "/v1/api-keys/{api_key_id}/simulate",
                Access::Manager(WORKSPACE_READ),
                "What would be decided about a key, with every check; takes nothing and needs no secret",
                post(verify::routes::simulate),
            )
        },
        Route {
            answer: Some(schema::<PastDecisions>),
            ..row(
                "list_decisions",
                Method::GET,
                "/v1/decisions",
                Access::Manager(WORKSPACE_READ),
                "The latest denials, and a sample of the rest, of the node that answers; the newest first",
                get(verify::routes::list_decisions),
            )
        },
        Route {
            answer: Some(schema::<PastDecision>),
            ..row(
                "get_decision",
                Method::GET,
                "/v1/decisions/{decision_id}",
                Access::Manager(WORKSPACE_READ),
                "Why a recent question was answered as it was",
                get(verify::routes::get_decision),
            )
        },
        Route {
            answer: Some(schema::<OwnApiKey>),
            ..row(
                "get_own_api_key",
                Method::GET,
                "/v1/api-keys/self",
                Access::AnyKey,
                "The key that makes this call; any key may ask",
                get(keys::routes::own),
            )
        },
        Route {
            query: verify::forward_auth::QUERY,
            ..row(
                "forward_auth",
                Method::GET,
                "/v1/forward-auth",
                Access::Subject,
                "May the request at a proxy pass? By any method; a yes has no body, and headers that say who calls",
                any(verify::forward_auth::forward_auth),
            )
        },
        row(
            "ext_authz_check",
            Method::POST,
            "/envoy.service.auth.v3.Authorization/Check",
            Access::Subject,
            "The same for Envoy, in gRPC: its external authorization",
            post(verify::ext_authz::check),
        ),
        Route {
            query: &[("api_key_name", "must be `self`")],
            answer: Some(schema::<Status>),
            ..row(
                "disable_own_api_key",
                Method::POST,
                "/v1/workspaces/api-keys/disable",
                Access::AnyKey,
                "Disable the key that makes this call",
                post(keys::routes::disable_self),
            )
        },
        Route {
            answer: Some(schema::<User>),
            ..row("get_user", Method::GET, "/v1/user", Access::AnyKey, "Who am I?", get(members::routes::whoami))
        },
        row("health", Method::GET, "/healthz", Access::Anyone, "Is the process alive?", get(health::healthz)),
        row(
            "ready",
            Method::GET,
            "/readyz",
            Access::Anyone,
            "Is the mirror filled and the store reachable?",
            get(health::readyz),
        ),
        row(
            "metrics",
            Method::GET,
            "/metrics",
            Access::Anyone,
            "Counts in Prometheus' text format, where the setting `metrics` lets them be seen",
            get(metrics::serve),
        ),
        row("openapi", Method::GET, "/openapi.json", Access::Anyone, "This description", get(openapi::serve)),
    ]
}
