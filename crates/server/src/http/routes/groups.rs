//! Groups (wire §9.1–9.3).

use super::Route;
use crate::groups::routes as handlers;
use crate::members::{Access, Object};
use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use stead_api::account::Status;
use stead_api::group::{CreateGroup, FoundGroups, Group, GroupMember, GroupsById, UpdateGroup};
use stead_api::permission::{GROUP_MEMBERS_MANAGE, WORKSPACE_READ, WORKSPACE_WRITE};

/// The heading these stand under.
pub(super) const TAG: &str = "Groups";

const READ: Access = Access::Member(WORKSPACE_READ);
const WRITE: Access = Access::Admin(WORKSPACE_WRITE);
const MEMBERS: Access = Access::Manager(GROUP_MEMBERS_MANAGE, GROUP_MEMBERS_MANAGE);

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v1/workspace/groups", "/v1/workspace/groups/{group_id}");
    vec![
        Route::new(
            "list_groups",
            Method::GET,
            all,
            READ,
            Object::Workspace,
            "All groups with their members, by id",
            get(handlers::list),
        )
        .answer::<GroupsById>(),
        Route::new(
            "search_groups",
            Method::GET,
            "/v1/workspace/groups/search",
            READ,
            Object::Workspace,
            "Groups by a part of their name",
            get(handlers::search),
        )
        .query(handlers::SEARCH)
        .answer::<FoundGroups>(),
        Route::new(
            "create_group",
            Method::POST,
            all,
            WRITE,
            Object::Workspace,
            "Create a group",
            post(handlers::create),
        )
        .body::<CreateGroup>()
        .answer::<Group>(),
        Route::new(
            "get_group",
            Method::GET,
            one,
            READ,
            Object::Group,
            "Read one group with its members",
            get(handlers::get),
        )
        .answer::<Group>(),
        Route::new(
            "update_group",
            Method::PATCH,
            one,
            WRITE,
            Object::Group,
            "Rename a group, or change what it gives its members; what is absent stays",
            patch(handlers::update),
        )
        .body::<UpdateGroup>()
        .answer::<Group>(),
        Route::new(
            "delete_group",
            Method::DELETE,
            one,
            WRITE,
            Object::Group,
            "Delete a group; its members lose what they had through it",
            delete(handlers::delete),
        )
        .answer::<Status>(),
        Route::new(
            "add_group_member",
            Method::POST,
            "/v1/workspace/groups/{group_id}/members",
            MEMBERS,
            Object::OwnGroup,
            "Add a person or a service account to a group; who is no admin, to a group of their own",
            post(handlers::add_member),
        )
        .body::<GroupMember>()
        .answer::<Status>(),
        Route::new(
            "remove_group_member",
            Method::POST,
            "/v1/workspace/groups/{group_id}/members/remove",
            MEMBERS,
            Object::OwnGroup,
            "Remove a person or a service account from a group",
            post(handlers::remove_member),
        )
        .body::<GroupMember>()
        .answer::<Status>(),
    ]
}
