//! People: who they are, how they join and leave (wire §9.4–9.8, §13.1–13.2).

use super::Route;
use crate::members::{Access, Object};
use crate::{invites, members};
use axum::http::Method;
use axum::routing::{delete, get, post, put};
use stead_api::account::Status;
use stead_api::member::{
    AcceptInvite, AcceptedInvite, ByEmail, CreateInvite, CreateInvites, CreatedInvite, CreatedInvites, InviteList,
    MemberList, SetUsageLimit, UpdateMember,
};
use stead_api::permission::{
    WORKSPACE_MEMBERS_INVITE, WORKSPACE_MEMBERS_READ, WORKSPACE_MEMBERS_REMOVE, WORKSPACE_WRITE,
};
use stead_api::user::{User, WholeSubscription};

/// The heading these stand under.
pub(super) const TAG: &str = "Members";

const INVITE: Access = Access::Manager(WORKSPACE_MEMBERS_INVITE, WORKSPACE_MEMBERS_INVITE);
const REMOVE: Access = Access::Manager(WORKSPACE_MEMBERS_REMOVE, WORKSPACE_MEMBERS_REMOVE);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "get_user",
            Method::GET,
            "/v1/user",
            Access::AnyKey,
            Object::Caller,
            "Who am I?",
            get(members::routes::whoami),
        )
        .answer::<User>(),
        Route::new(
            "get_user_subscription",
            Method::GET,
            "/v1/user/subscription",
            Access::AnyKey,
            Object::Caller,
            "What the key that asks has used and may use this month",
            get(members::routes::subscription),
        )
        .answer::<WholeSubscription>(),
        Route::new(
            "list_members",
            Method::GET,
            "/v1/workspace/members",
            Access::Member(WORKSPACE_MEMBERS_READ),
            Object::Workspace,
            "List all people of the workspace, locked ones included",
            get(members::routes::list),
        )
        .answer::<MemberList>(),
        Route::new(
            "update_member",
            Method::POST,
            "/v1/workspace/members",
            Access::Admin(WORKSPACE_WRITE),
            Object::Person,
            "Lock or unlock a person, or give them another seat",
            post(members::routes::update),
        )
        .body::<UpdateMember>()
        .answer::<Status>(),
        Route::new(
            "remove_member",
            Method::DELETE,
            "/v1/workspace/members",
            REMOVE,
            Object::Person,
            "Remove a person and revoke their keys, for good",
            delete(members::routes::remove),
        )
        .body::<ByEmail>()
        .answer::<Status>(),
        Route::new(
            "set_member_usage_limit",
            Method::PUT,
            "/v1/workspace/members/{user_id}/usage-limit",
            Access::Admin(WORKSPACE_WRITE),
            Object::Member,
            "Set or remove what a person or service account may spend in a month",
            put(members::routes::set_usage_limit),
        )
        .body::<SetUsageLimit>()
        .answer::<Status>(),
        Route::new(
            "list_invites",
            Method::GET,
            "/v1/workspace/invites",
            INVITE,
            Object::Workspace,
            "List those who were invited and have not joined yet",
            get(invites::routes::list),
        )
        .answer::<InviteList>(),
        Route::new(
            "create_invite",
            Method::POST,
            "/v1/workspace/invites/add",
            INVITE,
            Object::Workspace,
            "Invite somebody: by mail, or with a link to pass on where the server sends none",
            post(invites::routes::create),
        )
        .body::<CreateInvite>()
        .answer::<CreatedInvite>(),
        Route::new(
            "create_invites",
            Method::POST,
            "/v1/workspace/invites/add-bulk",
            INVITE,
            Object::Workspace,
            "Invite up to 100 people; all of them, or none",
            post(invites::routes::create_bulk),
        )
        .body::<CreateInvites>()
        .answer::<CreatedInvites>(),
        Route::new(
            "delete_invite",
            Method::DELETE,
            "/v1/workspace/invites",
            INVITE,
            Object::Invite,
            "Take an invite back; its link stops working",
            delete(invites::routes::revoke),
        )
        .body::<ByEmail>()
        .answer::<Status>(),
        Route::new(
            "accept_invite",
            Method::POST,
            "/v1/workspace/invites/accept",
            Access::Guest,
            Object::Carried,
            "Join the workspace by the token of an invite",
            post(invites::routes::accept),
        )
        .body::<AcceptInvite>()
        .answer::<AcceptedInvite>(),
        Route::new(
            "show_invite",
            Method::GET,
            "/invite/{token}",
            Access::Guest,
            Object::Carried,
            "The page that an invite's link leads to; changes nothing",
            get(invites::routes::show),
        ),
        Route::new(
            "accept_invite_by_form",
            Method::POST,
            "/invite/{token}",
            Access::Guest,
            Object::Carried,
            "Join the workspace from that page",
            post(invites::routes::accept_form),
        ),
    ]
}
