//! Usage and analytics (wire §12).

use super::Route;
use crate::members::{Access, Object};
use crate::usage;
use axum::http::Method;
use axum::routing::{get, post};
use stead_api::permission::{SERVICE_ACCOUNTS_MANAGE, USER_READ, WORKSPACE_ANALYTICS_FULL_READ, WORKSPACE_READ};
use stead_api::usage::{CharacterStats, KeysUsage, RequestsQuery, Table, UsageOverTime, UsageQuery};

/// The heading these stand under.
pub(super) const TAG: &str = "Usage";

/// Reads what all keys of the workspace were used for.
const READ_ALL: Access = Access::Manager(WORKSPACE_ANALYTICS_FULL_READ, WORKSPACE_ANALYTICS_FULL_READ);
/// Reads about keys.
const MANAGE_READ: Access = Access::Manager(WORKSPACE_READ, SERVICE_ACCOUNTS_MANAGE);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "get_usage_by_product_over_time",
            Method::POST,
            "/v1/workspace/analytics/query/usage-by-product-over-time",
            READ_ALL,
            Object::Workspace,
            "Credits and decisions by bucket of time and by group",
            post(usage::routes::get_usage_by_product_over_time),
        )
        .body::<UsageOverTime>()
        .answer::<Table>(),
        Route::new(
            "get_analytics_usage",
            Method::POST,
            "/v1/workspace/analytics/usage",
            READ_ALL,
            Object::Workspace,
            "Charges by day; Stead sells nothing, so they cost 0",
            post(usage::routes::get_usage),
        )
        .body::<UsageQuery>()
        .answer::<Table>(),
        Route::new(
            "get_analytics_requests",
            Method::POST,
            "/v1/workspace/analytics/requests",
            READ_ALL,
            Object::Workspace,
            "Recent decisions of the node that answers: all denials and a sample of the grants, until newer ones come",
            post(usage::routes::get_requests),
        )
        .body::<RequestsQuery>()
        .answer::<Table>(),
        Route::new(
            "get_character_stats",
            Method::GET,
            "/v1/usage/character-stats",
            Access::Member(USER_READ),
            Object::Oneself(WORKSPACE_ANALYTICS_FULL_READ),
            "Series of credits or requests: of the caller's own keys, or with `workspace_analytics_full_read` of all",
            get(usage::routes::get_character_stats),
        )
        .query(usage::routes::CHARACTER_STATS)
        .answer::<CharacterStats>(),
        Route::new(
            "get_api_keys_usage",
            Method::GET,
            "/v1/workspace/usage/api-keys",
            MANAGE_READ,
            Object::Workspace,
            "Grants, denials and credits of each key, by day",
            get(usage::routes::get_api_keys_usage),
        )
        .query(usage::routes::API_KEYS_USAGE)
        .answer::<KeysUsage>(),
    ]
}
