//! The workspace's settings and policies, and the operator's API.

use super::Route;
use crate::members::{Access, Object};
use crate::{keys, workspaces};
use axum::http::Method;
use axum::routing::{get, patch, post};
use stead_api::account::Status;
use stead_api::permission::{WORKSPACE_READ, WORKSPACE_WRITE};
use stead_api::workspace::{
    CreateWorkspace, CreatedWorkspace, OwnWorkspace, ReportApiKeys, ThirdPartyDisabling, UpdateOwnWorkspace,
    UpdateWorkspace, Workspace, WorkspacePage,
};

/// The heading these stand under.
pub(super) const TAG: &str = "Workspaces";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "create_workspace",
            Method::POST,
            "/v1/workspaces",
            Access::Operator, Object::AnyWorkspace,
            "Create a workspace with its owner; the secret of the owner's key is in this answer and nowhere else",
            post(workspaces::routes::create),
        )
        .body::<CreateWorkspace>()
        .answer::<CreatedWorkspace>(),
        Route::new(
            "list_workspaces",
            Method::GET,
            "/v1/workspaces",
            Access::Operator, Object::AnyWorkspace,
            "List all workspaces, page by page, the oldest first",
            get(workspaces::routes::list),
        )
        .query(workspaces::routes::LIST)
        .answer::<WorkspacePage>(),
        Route::new(
            "get_workspace",
            Method::GET,
            "/v1/workspaces/{workspace_id}",
            Access::Operator, Object::AnyWorkspace,
            "Read one workspace",
            get(workspaces::routes::get),
        )
        .answer::<Workspace>(),
        Route::new(
            "update_workspace",
            Method::PATCH,
            "/v1/workspaces/{workspace_id}",
            Access::Operator, Object::AnyWorkspace,
            "Rename a workspace, suspend it or let it go on, change its seats, months and limits",
            patch(workspaces::routes::update),
        )
        .body::<UpdateWorkspace>()
        .answer::<Workspace>(),
        Route::new(
            "get_own_workspace",
            Method::GET,
            "/v1/workspace",
            Access::Member(WORKSPACE_READ), Object::Workspace,
            "The caller's workspace: its seats, its limits and what it asks of keys",
            get(workspaces::routes::own),
        )
        .answer::<OwnWorkspace>(),
        Route::new(
            "update_own_workspace",
            Method::PATCH,
            "/v1/workspace",
            Access::Admin(WORKSPACE_WRITE), Object::Workspace,
            "Rename the caller's workspace, or change what it asks of keys from now on",
            patch(workspaces::routes::update_own),
        )
        .body::<UpdateOwnWorkspace>()
        .answer::<OwnWorkspace>(),
        Route::new(
            "set_third_party_disabling",
            Method::POST,
            "/v1/workspaces/api-keys/third-party-disabling",
            Access::Admin(WORKSPACE_WRITE), Object::Workspace,
            "Say for all keys whether their holders may disable them, or leave it to each key",
            post(workspaces::routes::set_third_party_disabling),
        )
        .body::<ThirdPartyDisabling>()
        .answer::<Status>(),
        Route::new(
            "report_api_key",
            Method::POST,
            "/v1/api-keys/report",
            Access::Anyone, Object::Carried,
            "Report a key that was found where it should not be; one, or a list of up to 100. The answer is the same for every string",
            post(keys::routes::report),
        )
        .body::<ReportApiKeys>()
        .answer::<Status>(),
    ]
}
