//! Service accounts and their keys (wire §6, §7).

use super::Route;
use crate::members::{Access, Object};
use crate::{accounts, keys};
use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use stead_api::account::{
    CreateServiceAccount, CreatedServiceAccount, ServiceAccount, ServiceAccountList, Status, UpdateServiceAccount,
};
use stead_api::key::{
    ApiKey, ApiKeyList, ApiKeyPage, CreateApiKey, CreatedApiKey, OwnApiKey, RotateApiKey, UpdateApiKey,
};
use stead_api::permission::{SERVICE_ACCOUNT_WRITE, SERVICE_ACCOUNTS_MANAGE, WORKSPACE_READ};

/// The heading these stand under.
pub(super) const TAG: &str = "Service Accounts";

/// Reads what exists.
const READ: Access = Access::AccountManager(WORKSPACE_READ);
/// Gives power, or changes it.
const WRITE: Access = Access::AccountManager(SERVICE_ACCOUNT_WRITE);
/// Takes power away, which must go on when the workspace no longer has the feature (wire §7.5).
const WITHDRAW: Access = Access::Manager(SERVICE_ACCOUNT_WRITE, SERVICE_ACCOUNTS_MANAGE);
/// Reads what exists, also when the workspace no longer has the feature.
const MANAGE_READ: Access = Access::Manager(WORKSPACE_READ, SERVICE_ACCOUNTS_MANAGE);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "list_service_accounts",
            Method::GET,
            "/v1/service-accounts",
            READ,
            Object::Workspace,
            "List all service accounts with their keys",
            get(accounts::routes::list),
        )
        .answer::<ServiceAccountList>(),
        Route::new(
            "create_service_account",
            Method::POST,
            "/v1/service-accounts",
            WRITE,
            Object::Workspace,
            "Create a service account",
            post(accounts::routes::create),
        )
        .body::<CreateServiceAccount>()
        .answer::<CreatedServiceAccount>(),
        Route::new(
            "get_service_account",
            Method::GET,
            "/v1/service-accounts/{service_account_user_id}",
            READ,
            Object::Account,
            "Read one service account with its keys",
            get(accounts::routes::get),
        )
        .answer::<ServiceAccount>(),
        Route::new(
            "update_service_account",
            Method::PATCH,
            "/v1/service-accounts/{service_account_user_id}",
            WRITE,
            Object::Account,
            "Rename, describe, disable or enable a service account",
            patch(accounts::routes::update),
        )
        .body::<UpdateServiceAccount>()
        .answer::<ServiceAccount>(),
        Route::new(
            "delete_service_account",
            Method::DELETE,
            "/v1/service-accounts/{service_account_user_id}",
            WITHDRAW,
            Object::Account,
            "Delete a service account and revoke its keys, for good",
            delete(accounts::routes::delete),
        )
        .answer::<Status>(),
        Route::new(
            "list_service_account_api_keys",
            Method::GET,
            "/v1/service-accounts/{service_account_user_id}/api-keys",
            READ,
            Object::KeyOwner,
            "List the keys of a service account",
            get(keys::routes::list),
        )
        .answer::<ApiKeyList>(),
        Route::new(
            "create_service_account_api_key",
            Method::POST,
            "/v1/service-accounts/{service_account_user_id}/api-keys",
            WRITE,
            Object::KeyOwner,
            "Create a key; the secret is in this answer and nowhere else",
            post(keys::routes::create),
        )
        .body::<CreateApiKey>()
        .answer::<CreatedApiKey>(),
        Route::new(
            "get_service_account_api_key",
            Method::GET,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}",
            READ,
            Object::Key,
            "Read one key",
            get(keys::routes::get),
        )
        .answer::<ApiKey>(),
        Route::new(
            "update_service_account_api_key",
            Method::PATCH,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}",
            WRITE,
            Object::Key,
            "Change a key; what is absent stays",
            patch(keys::routes::update),
        )
        .body::<UpdateApiKey>()
        .answer::<ApiKey>(),
        Route::new(
            "delete_service_account_api_key",
            Method::DELETE,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}",
            WITHDRAW,
            Object::Key,
            "Revoke a key, for good",
            delete(keys::routes::revoke),
        )
        .answer::<Status>(),
        Route::new(
            "disable_service_account_api_key",
            Method::POST,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/disable",
            WITHDRAW,
            Object::Key,
            "Disable a key until it is enabled again",
            post(keys::routes::disable),
        )
        .answer::<Status>(),
        Route::new(
            "rotate_service_account_api_key",
            Method::POST,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/rotate",
            WRITE,
            Object::Key,
            "Create a successor that inherits everything; the old key goes on for the grace period",
            post(keys::routes::rotate),
        )
        .body::<RotateApiKey>()
        .answer::<CreatedApiKey>(),
        Route::new(
            "undo_service_account_api_key_rotation",
            Method::POST,
            "/v1/service-accounts/{service_account_user_id}/api-keys/{api_key_id}/rotate/undo",
            WRITE,
            Object::Key,
            "Give the old key its expiry back and revoke its successor, while the old key lives",
            post(keys::routes::undo_rotation),
        )
        .answer::<ApiKey>(),
        Route::new(
            "list_api_keys",
            Method::GET,
            "/v1/api-keys",
            MANAGE_READ,
            Object::Workspace,
            "List the keys of all accounts, filtered, page by page",
            get(keys::routes::search),
        )
        .query(keys::routes::SEARCH)
        .answer::<ApiKeyPage>(),
        Route::new(
            "get_own_api_key",
            Method::GET,
            "/v1/api-keys/self",
            Access::AnyKey,
            Object::Caller,
            "The key that makes this call; any key may ask",
            get(keys::routes::own),
        )
        .answer::<OwnApiKey>(),
        Route::new(
            "disable_own_api_key",
            Method::POST,
            "/v1/workspaces/api-keys/disable",
            Access::AnyKey,
            Object::Caller,
            "Disable the key that makes this call",
            post(keys::routes::disable_self),
        )
        .query(keys::routes::DISABLE_SELF)
        .answer::<Status>(),
    ]
}
