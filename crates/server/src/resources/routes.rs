//! HTTP of resources (wire §10), and the two views of who can touch what.

use super::{RESOURCE_ID_RULE, access, addressed, is_resource_id};
use crate::accounts::routes::{NAME, workspace};
use crate::app::App;
use crate::error::Failure;
use crate::http::extract::{Ids, JsonObject, Query};
use crate::http::fields::{EMAIL, Fields};
use crate::http::pages::{Pages, limit};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, committed, json};
use crate::members::{self, Authority, Caller};
use crate::store::Tx;
use crate::workspaces;
use axum::extract::State;
use serde_json::{Map, Value};
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::permission::SERVICE_ACCOUNTS_MANAGE;
use stead_api::resource::{CreateResource, ResourcePage, Role, ShareTarget, UpdateResource};

/// Longest id.
const ID: usize = 64;

/// The query of routes about one resource.
pub const TYPE: &[Parameter] = &[Parameter::text("resource_type", "One of the server's resource types").required()];
/// The query of lists.
pub const PAGE: &[Parameter] = &[
    Parameter::text("resource_type", "Only of this type"),
    Parameter::number("limit", "Resources of a page, 1–200, 100 if absent", 1, 200),
    Parameter::text("cursor", "`next_cursor` of the page before"),
];

/// A resource type in a body.
pub(crate) fn kind(app: &App, fields: &mut Fields<'_>) -> String {
    let kind = fields.required_text("resource_type", ID);
    if !kind.is_empty() && !app.resource_types.has(&kind) {
        fields.mistake("resource_type", "enum", "Input should be one of this server's resource types");
    }
    kind
}

/// A resource type in the query.
fn kind_of(app: &App, query: &Map<String, Value>) -> Result<String, Failure> {
    match query.get("resource_type").and_then(Value::as_str) {
        Some(kind) if app.resource_types.has(kind) => Ok(kind.to_owned()),
        Some(_) => {
            let message = "Input should be one of this server's resource types";
            Err(Failure::invalid(&["query", "resource_type"], "enum", message))
        }
        None => Err(Failure::invalid(&["query", "resource_type"], "missing", "Field required")),
    }
}

/// `POST /v1/workspace/resources`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let new = CreateResource {
        resource_type: kind(&app, &mut fields),
        resource_id: fields.text("resource_id", 1, ID),
        resource_name: fields.text("resource_name", 0, NAME),
        creator_user_id: fields.text("creator_user_id", 1, ID),
    };
    if new.resource_id.as_ref().is_some_and(|id| !is_resource_id(id)) {
        fields.mistake("resource_id", "value_error", RESOURCE_ID_RULE);
    }
    let new = fields.finish(new)?;
    let made = super::create(&app, &caller, body.retry, new).await?;
    committed(&made, &made.value)
}

/// What a caller may do, by the store's present state.
fn authority(app: &App, tx: &mut Tx<'_>, caller: &Caller) -> Result<(WorkspaceId, Authority), Failure> {
    let id = caller.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
    let row = workspaces::find(tx, id)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
    Ok((id.clone(), members::authorize(tx, &app.ring, caller, &row, app.clock.now())?))
}

/// `GET /v1/workspace/resources/{resource_id}`.
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, Query(query): Query) -> Answer {
    let kind = kind_of(&app, &query)?;
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let (workspace, authority) = authority(&worker, tx, &caller)?;
        let whose = (&workspace, &authority);
        let (row, role) = addressed(tx, &worker.ring, whose, (&kind, &id), Role::Viewer)?;
        let mut resource = access::view(&row, role);
        resource.share_options = access::share_options(&worker, tx, &workspace, &resource)?;
        Ok::<_, Failure>(resource)
    };
    json(&app.store.read(read).await?)
}

/// `GET /v1/workspace/resources/{resource_id}/access`: who can touch this, each with the way. For its admins.
pub async fn access_of(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, Query(query): Query) -> Answer {
    let kind = kind_of(&app, &query)?;
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let (workspace, authority) = authority(&worker, tx, &caller)?;
        let whose = (&workspace, &authority);
        let (row, _) = addressed(tx, &worker.ring, whose, (&kind, &id), Role::Admin)?;
        access::who_can_touch(&worker, tx, &workspace, &row)
    };
    json(&app.store.read(read).await?)
}

/// `PATCH /v1/workspace/resources/{resource_id}`.
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([id]): Ids<1>,
    Query(query): Query,
    body: JsonObject,
) -> Answer {
    let kind = kind_of(&app, &query)?;
    let mut fields = Fields::new(&body.object);
    let change = UpdateResource { resource_name: fields.text("resource_name", 0, NAME) };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, (kind, id), change).await?;
    committed(&made, &made.value)
}

/// `DELETE /v1/workspace/resources/{resource_id}`.
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, Query(query): Query) -> Answer {
    let kind = kind_of(&app, &query)?;
    let made = super::delete(&app, &caller, (kind, id)).await?;
    committed(&made, &made.value)
}

/// `POST /v1/workspace/resources/{resource_id}/share`.
pub async fn share(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    if fields.value("role").is_none() {
        fields.mistake("role", "missing", "Field required");
    }
    let role = fields.role("role");
    let (kind, target) = (kind(&app, &mut fields), target(&mut fields));
    let target = fields.finish(target)?;
    let made = super::share(&app, &caller, body.retry, (kind, id), (target, role)).await?;
    committed(&made, &made.value)
}

/// `POST /v1/workspace/resources/{resource_id}/unshare`.
pub async fn unshare(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let (kind, target) = (kind(&app, &mut fields), target(&mut fields));
    let target = fields.finish(target)?;
    let made = super::share(&app, &caller, body.retry, (kind, id), (target, None)).await?;
    committed(&made, &made.value)
}

/// The one target of a share: none or several say nothing that is sure.
fn target(fields: &mut Fields<'_>) -> ShareTarget {
    let target = ShareTarget {
        user_email: fields.text("user_email", 1, EMAIL),
        group_id: fields.text("group_id", 1, ID),
        workspace_api_key_id: fields.text("workspace_api_key_id", 1, ID),
    };
    let names = ["user_email", "group_id", "workspace_api_key_id"];
    if names.iter().filter(|name| fields.value(name).is_some()).count() != 1 {
        let message = "exactly one of user_email, group_id and workspace_api_key_id must be given";
        fields.mistake("user_email", "value_error", message);
    }
    target
}

/// `GET /v1/workspace/resources`: what the caller may see.
pub async fn list(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let own = caller.key().map(|key| key.principal_id.clone());
    let own = own.ok_or_else(|| Failure::Defect("a caller without a key".into()))?;
    touchable(&app, caller, own, query).await
}

/// `GET /v1/workspace/members/{user_id}/access`: what a member, of either kind, can touch. One's own, or with the right
/// to manage service accounts.
pub async fn access_by(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, Query(query): Query) -> Answer {
    touchable(&app, caller, id.into(), query).await
}

async fn touchable(app: &Arc<App>, caller: Caller, whose: PrincipalId, query: Map<String, Value>) -> Answer {
    let kind = query.contains_key("resource_type").then(|| kind_of(app, &query)).transpose()?;
    let mut mistakes = Vec::new();
    let limit = limit(&query, 100, 200, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let pages = Pages::new(app, &("resources", &workspace(&caller)?, &whose, &kind));
    let after = pages.after(&query, |kind, id| Some((kind.to_owned(), id.to_owned())))?;
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let (workspace, authority) = authority(&worker, tx, &caller)?;
        let is_own = caller.key().is_some_and(|key| key.principal_id == whose);
        let may = is_own || authority.is_admin || authority.group_permissions.contains(SERVICE_ACCOUNTS_MANAGE);
        let there = members::principal(tx, &workspace, &whose)?;
        let there = there.filter(|principal| may && principal.is_sealed(&worker.ring, &workspace));
        let principal = there.ok_or_else(|| Failure::refused(ErrorCode::UserNotFound, "There is no such member."))?;
        access::touchable(&worker, tx, &workspace, &principal, (kind.as_deref(), after, limit))
    };
    let (resources, has_more) = app.store.read(read).await?;
    let last = resources.last().filter(|_| has_more);
    let next_cursor = last.map(|last| pages.cursor(&last.resource_type, &last.resource_id));
    json(&ResourcePage { resources, has_more, next_cursor })
}
