//! HTTP of groups (wire §9.1–9.3).

use super::GroupChange;
use crate::accounts::routes::{NAME, workspace};
use crate::app::App;
use crate::error::Failure;
use crate::http::extract::{Ids, JsonObject, Query};
use crate::http::fields::{EMAIL, Fields, MAX_NUMBER};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, committed, json};
use crate::members::Caller;
use axum::extract::State;
use serde_json::Value;
use std::sync::Arc;
use stead_api::group::CreateGroup;
use stead_api::key::Change;
use stead_api::permission::GROUP_PERMISSIONS;

/// `GET /v1/workspace/groups`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&super::list(&app, workspace(&caller)?).await?)
}

/// The query of [`search`].
pub const SEARCH: &[Parameter] = &[Parameter::text("name", "A part of the name, in any case").required()];

/// `GET /v1/workspace/groups/search`.
pub async fn search(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let Some(name) = query.get("name").and_then(Value::as_str) else {
        return Err(Failure::invalid(&["query", "name"], "missing", "Field required"));
    };
    json(&super::search(&app, workspace(&caller)?, name.to_owned()).await?)
}

/// `POST /v1/workspace/groups`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let new = CreateGroup {
        name: fields.required_text("name", NAME),
        permissions: fields.words("permissions", &GROUP_PERMISSIONS),
        group_usage_limit: usage_limit(&mut fields).and_then(Change::into_option),
    };
    let new = fields.finish(new)?;
    let made = super::make(&app, &caller, body.retry, new).await?;
    committed(&made, &made.value)
}

/// `GET /v1/workspace/groups/{group_id}`.
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    json(&super::get(&app, workspace(&caller)?, id).await?)
}

/// `PATCH /v1/workspace/groups/{group_id}`.
pub async fn update(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = GroupChange {
        name: fields.text("name", 1, NAME),
        permissions: fields.words("permissions", &GROUP_PERMISSIONS),
        usage_limit: usage_limit(&mut fields),
    };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, id, change).await?;
    committed(&made, &made.value)
}

/// The wire's `"unlimited"` is our `"clear"`.
fn usage_limit(fields: &mut Fields<'_>) -> Option<Change<i64>> {
    match fields.value("group_usage_limit") {
        Some(value) if value.as_str() == Some("unlimited") => Some(Change::Clear),
        _ => fields.number_change("group_usage_limit", 0, MAX_NUMBER),
    }
}

/// `DELETE /v1/workspace/groups/{group_id}`.
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    let made = super::delete(&app, &caller, id).await?;
    committed(&made, &made.value)
}

/// `POST /v1/workspace/groups/{group_id}/members`.
pub async fn add_member(app: State<Arc<App>>, caller: Caller, id: Ids<1>, body: JsonObject) -> Answer {
    change_member(app, caller, id, body, true).await
}

/// `POST /v1/workspace/groups/{group_id}/members/remove`.
pub async fn remove_member(app: State<Arc<App>>, caller: Caller, id: Ids<1>, body: JsonObject) -> Answer {
    change_member(app, caller, id, body, false).await
}

async fn change_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([id]): Ids<1>,
    body: JsonObject,
    joins: bool,
) -> Answer {
    let mut fields = Fields::new(&body.object);
    let email = fields.required_text("email", EMAIL);
    let email = fields.finish(email)?;
    let made = super::change_member(&app, &caller, body.retry, (id, email), joins).await?;
    committed(&made, &made.value)
}
