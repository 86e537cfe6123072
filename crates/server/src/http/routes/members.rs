//! People: who they are, how they join and leave (wire §9.4–9.8, §13.1–13.2).

use super::Route;
use crate::members;
use crate::members::Access;
use axum::http::Method;
use axum::routing::get;
use stead_api::user::User;

/// The heading these stand under.
pub(super) const TAG: &str = "Members";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new("get_user", Method::GET, "/v1/user", Access::AnyKey, "Who am I?", get(members::routes::whoami))
            .answer::<User>(),
    ]
}
