//! Resources and sharing (wire §10).

use super::Route;
use crate::members::{Access, Object};
use crate::resources::routes as handlers;
use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use stead_api::account::Status;
use stead_api::permission::{SERVICE_ACCOUNTS_MANAGE, WORKSPACE_READ, WORKSPACE_WRITE};
use stead_api::resource::{
    CreateResource, Resource, ResourceAccess, ResourcePage, Role, ShareResource, UnshareResource, UpdateResource,
};

/// The heading these stand under.
pub(super) const TAG: &str = "Resources";

const READ: Access = Access::Member(WORKSPACE_READ);
const WRITE: Access = Access::Member(WORKSPACE_WRITE);

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v1/workspace/resources", "/v1/workspace/resources/{resource_id}");
    vec![
        Route::new(
            "list_resources",
            Method::GET,
            all,
            Access::Member(WORKSPACE_READ), Object::Workspace,
            "What the caller can touch, with role and way, page by page",
            get(handlers::list),
        )
        .query(handlers::PAGE)
        .answer::<ResourcePage>(),
        Route::new(
            "create_resource",
            Method::POST,
            all,
            Access::Member(WORKSPACE_WRITE), Object::Workspace,
            "Register a resource; its creator has the role admin, and default sharing groups are applied",
            post(handlers::create),
        )
        .body::<CreateResource>()
        .answer::<Resource>(),
        Route::new(
            "get_resource",
            Method::GET,
            one,
            READ, Object::Resource(Role::Viewer),
            "Read a resource, and with whom it is shared; needs the role viewer",
            get(handlers::get),
        )
        .query(handlers::TYPE)
        .answer::<Resource>(),
        Route::new(
            "update_resource",
            Method::PATCH,
            one,
            WRITE, Object::Resource(Role::Admin),
            "Rename a resource; needs the role admin",
            patch(handlers::update),
        )
        .query(handlers::TYPE)
        .body::<UpdateResource>()
        .answer::<Resource>(),
        Route::new(
            "delete_resource",
            Method::DELETE,
            one,
            WRITE, Object::Resource(Role::Admin),
            "Forget a resource and everything shared of it; needs the role admin",
            delete(handlers::delete),
        )
        .query(handlers::TYPE)
        .answer::<Status>(),
        Route::new(
            "share_resource",
            Method::POST,
            "/v1/workspace/resources/{resource_id}/share",
            WRITE, Object::Resource(Role::Admin),
            "Give a member, a group or everybody a role in place of the one they have; needs the role admin",
            post(handlers::share),
        )
        .body::<ShareResource>()
        .answer::<Status>(),
        Route::new(
            "unshare_resource",
            Method::POST,
            "/v1/workspace/resources/{resource_id}/unshare",
            WRITE, Object::Resource(Role::Admin),
            "Take a role back; needs the role admin",
            post(handlers::unshare),
        )
        .body::<UnshareResource>()
        .answer::<Status>(),
        Route::new(
            "get_resource_access",
            Method::GET,
            "/v1/workspace/resources/{resource_id}/access",
            READ, Object::Resource(Role::Admin),
            "Who can touch this, each with role and way; needs the role admin",
            get(handlers::access_of),
        )
        .query(handlers::TYPE)
        .answer::<ResourceAccess>(),
        Route::new(
            "get_member_access",
            Method::GET,
            "/v1/workspace/members/{user_id}/access",
            Access::Member(WORKSPACE_READ), Object::Oneself(SERVICE_ACCOUNTS_MANAGE),
            "What a person or a service account can touch, with role and way; one's own, or as who manages service accounts",
            get(handlers::access_by),
        )
        .query(handlers::PAGE)
        .answer::<ResourcePage>(),
    ]
}
