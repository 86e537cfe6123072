//! Questions about keys, and what was answered.

use super::Route;
use crate::members::{Access, Object};
use crate::verify;
use axum::http::Method;
use axum::routing::{any, get, post};
use stead_api::account::Status;
use stead_api::permission::{SERVICE_ACCOUNTS_MANAGE, WORKSPACE_READ};
use stead_api::verify::{Decision, Decisions, PastDecision, PastDecisions, Simulate, VerifyApiKey, VerifyApiKeys};

/// The heading these stand under.
pub(super) const TAG: &str = "Verification";

/// Reads about keys.
const MANAGE_READ: Access = Access::Manager(WORKSPACE_READ, SERVICE_ACCOUNTS_MANAGE);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "verify_api_key",
            Method::POST,
            "/v1/api-keys/verify",
            Access::Asker,
            Object::Carried,
            "May this key do that?",
            post(verify::routes::verify_api_key),
        )
        .body::<VerifyApiKey>()
        .answer::<Decision>(),
        Route::new(
            "verify_api_keys",
            Method::POST,
            "/v1/api-keys/verify-batch",
            Access::Asker,
            Object::Carried,
            "Up to 1,000 questions at once, 1 MiB; the answers come in their order",
            post(verify::routes::verify_api_keys),
        )
        .body::<VerifyApiKeys>()
        .answer::<Decisions>(),
        Route::new(
            "release_lease",
            Method::POST,
            "/v1/api-keys/leases/{lease_id}/release",
            Access::Asker,
            Object::Lease,
            "Give back the place that a concurrency limit gave out, when the work is done",
            post(verify::routes::release_lease),
        )
        .answer::<Status>(),
        Route::new(
            "simulate_api_key",
            Method::POST,
            "/v1/api-keys/{api_key_id}/simulate",
            MANAGE_READ,
            Object::VisibleKey,
            "What would be decided about a key, with every check; takes nothing and needs no secret",
            post(verify::routes::simulate),
        )
        .body::<Simulate>()
        .answer::<Decision>(),
        Route::new(
            "list_decisions",
            Method::GET,
            "/v1/decisions",
            MANAGE_READ,
            Object::Workspace,
            "The latest denials, and a sample of the rest, of the node that answers; the newest first",
            get(verify::routes::list_decisions),
        )
        .answer::<PastDecisions>(),
        Route::new(
            "get_decision",
            Method::GET,
            "/v1/decisions/{decision_id}",
            MANAGE_READ,
            Object::Decision,
            "Why a recent question was answered as it was",
            get(verify::routes::get_decision),
        )
        .answer::<PastDecision>(),
        Route::new(
            "forward_auth",
            Method::GET,
            "/v1/forward-auth",
            Access::Subject,
            Object::Carried,
            "May the request at a proxy pass? By any method; a yes has no body, and headers that say who calls",
            any(verify::forward_auth::forward_auth),
        )
        .query(verify::forward_auth::QUERY),
        Route::new(
            "ext_authz_check",
            Method::POST,
            "/envoy.service.auth.v3.Authorization/Check",
            Access::Subject,
            Object::Carried,
            "The same for Envoy, in gRPC: its external authorization",
            post(verify::ext_authz::check),
        ),
    ]
}
