//! What the wire has and this server does without.

use super::Route;
use crate::http::absent::{auth_connections, single_use_tokens};
use crate::members::{Access, Object};
use axum::http::Method;
use axum::routing::{delete, get, patch, post};

/// The heading these stand under.
pub(super) const TAG: &str = "Not implemented";

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v1/workspace/auth-connections", "/v1/workspace/auth-connections/{auth_connection_id}");
    let absent = "Answers 501: this server holds no connections to other services";
    let row = |id, method, path, handler| Route::new(id, method, path, Access::AnyKey, Object::Server, absent, handler);
    vec![
        row("list_auth_connections", Method::GET, all, get(auth_connections)),
        row("create_auth_connection", Method::POST, all, post(auth_connections)),
        row("update_auth_connection", Method::PATCH, one, patch(auth_connections)),
        row("delete_auth_connection", Method::DELETE, one, delete(auth_connections)),
        Route::new(
            "create_single_use_token",
            Method::POST,
            "/v1/single-use-token/{token_type}",
            Access::AnyKey,
            Object::Server,
            "Answers 501: this server makes no single-use tokens",
            post(single_use_tokens),
        ),
    ]
}
