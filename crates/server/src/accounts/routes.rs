//! HTTP of service accounts (wire §6).

use crate::app::App;
use crate::error::Failure;
use crate::http::extract::{Ids, JsonObject};
use crate::http::fields::Fields;
use crate::http::reply::{Answer, committed, json};
use crate::members::Caller;
use axum::extract::State;
use std::sync::Arc;
use stead_api::account::{CreateServiceAccount, DefaultSharing, ServiceAccountList, UpdateServiceAccount};
use stead_api::id::WorkspaceId;
use stead_api::resource::Role;

/// Longest name.
pub const NAME: usize = 128;
/// Most groups that new resources are shared with.
const MAX_SHARING: usize = 100;
/// Longest description.
pub const DESCRIPTION: usize = 1000;

/// The caller's workspace.
pub fn workspace(caller: &Caller) -> Result<WorkspaceId, Failure> {
    caller.workspace_id().cloned().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))
}

/// `GET /v1/service-accounts`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let accounts = super::list(&app, workspace(&caller)?).await?;
    json(&ServiceAccountList { hyphenated: accounts.clone(), service_accounts: accounts })
}

/// `POST /v1/service-accounts`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let new = CreateServiceAccount {
        name: fields.required_text("name", NAME),
        description: fields.text("description", 0, DESCRIPTION),
        default_sharing_groups: fields.objects("default_sharing_groups", MAX_SHARING, default_sharing),
    };
    let new = fields.finish(new)?;
    let made = super::create(&app, &caller, body.retry, new).await?;
    committed(&made, &made.value)
}

/// One of the groups that new resources are shared with. Their roles have no commenter (wire §15.4).
fn default_sharing(fields: &mut Fields<'_>) -> DefaultSharing {
    let group_id = fields.required_text("group_id", 64);
    if fields.value("permission_level").is_none() {
        fields.mistake("permission_level", "missing", "Field required");
    }
    let role = fields.role("permission_level");
    if role == Some(Role::Commenter) {
        fields.mistake("permission_level", "enum", "Input should be 'admin', 'editor' or 'viewer'");
    }
    DefaultSharing { group_id, permission_level: role.unwrap_or(Role::Viewer) }
}

/// `GET /v1/service-accounts/{id}`.
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    json(&super::get(&app, workspace(&caller)?, id.into()).await?)
}

/// `PATCH /v1/service-accounts/{id}`.
pub async fn update(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = UpdateServiceAccount {
        name: fields.text("name", 1, NAME),
        description: fields.text("description", 0, DESCRIPTION),
        is_enabled: fields.boolean_or_no_update("is_enabled"),
        default_sharing_groups: fields.objects("default_sharing_groups", MAX_SHARING, default_sharing),
    };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, id.into(), change).await?;
    committed(&made, &made.value)
}

/// `DELETE /v1/service-accounts/{id}`.
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    let made = super::delete(&app, &caller, id.into()).await?;
    committed(&made, &made.value)
}
