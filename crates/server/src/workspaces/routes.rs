//! HTTP of workspaces: for the operator, and for their own members (wire §8.2).

use super::founding::{self, NewWorkspace};
use super::settings;
use crate::accounts::routes::NAME;
use crate::app::App;
use crate::config;
use crate::error::Failure;
use crate::http::extract::{Ids, JsonObject, Query};
use crate::http::fields::{EMAIL, Fields};
use crate::http::pages::{Pages, limit};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, committed, json, no_store};
use crate::members::Caller;
use axum::extract::State;
use std::sync::Arc;
use stead_api::workspace::{
    CreatedWorkspace, ExpiryRequired, UpdateOwnWorkspace, UpdateWorkspace, UpdateWorkspaceLimits,
    UpdateWorkspacePolicies, WorkspacePage,
};
use stead_verify::period::Billing;

/// Longest e-mail address.
/// Longest name of a time zone.
const ZONE: usize = 64;
const MOST_SEATS: i64 = 1_000_000;
const MOST_ACCOUNTS: i64 = 100_000;
const MOST_KEYS: i64 = 1_000_000;
/// A key lives at least a minute, and a policy counts in at most ten years.
const SHORTEST_LIFE: i64 = 60;
const TEN_YEARS: i64 = 3650 * 86_400;
const MOST_DAYS: i64 = 3650;

/// `POST /v1/workspaces`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let defaults = &app.limits;
    let new = NewWorkspace {
        name: fields.required_text("name", NAME),
        owner_email: email(&mut fields),
        seats: fields.number("seats", 1, MOST_SEATS).unwrap_or(defaults.seats),
        billing: (
            fields.number("billing_day", 1, 31).unwrap_or(defaults.billing.0),
            zone(&mut fields).unwrap_or_else(|| defaults.billing.1.clone()),
        ),
        admin_api_key: None,
    };
    let new = fields.finish(new)?;
    let made = founding::create_for_operator(&app, caller, body.retry, new).await?;
    let secret = made.secret.clone().ok_or_else(|| Failure::Defect("a new workspace without a secret".into()))?;
    let body = CreatedWorkspace {
        xi_api_key: secret.clone(),
        api_key: secret,
        key_id: made.value.key_id.clone(),
        api_key_id: made.value.key_id.clone(),
        workspace: made.value.workspace.clone(),
    };
    committed(&made, &body).map(no_store)
}

fn email(fields: &mut Fields<'_>) -> String {
    let text = fields.required_text("owner_email", EMAIL);
    if text.is_empty() {
        // Told already.
        return text;
    }
    config::email(&text).unwrap_or_else(|wrong| {
        fields.mistake("owner_email", "value_error", wrong);
        String::new()
    })
}

fn zone(fields: &mut Fields<'_>) -> Option<String> {
    let zone = fields.text("billing_zone", 1, ZONE)?;
    if Billing::new(1, &zone).is_none() {
        fields.mistake("billing_zone", "value_error", "must be the name of a time zone, as in Europe/Berlin");
    }
    Some(zone)
}

/// The query of [`list`].
pub const LIST: &[Parameter] = &[
    Parameter::number("limit", "Workspaces of a page, 1–200, 100 if absent", 1, 200),
    Parameter::text("cursor", "`next_cursor` of the page before"),
];

/// `GET /v1/workspaces`.
pub async fn list(State(app): State<Arc<App>>, Query(query): Query) -> Answer {
    let mut mistakes = Vec::new();
    let limit = limit(&query, 100, 200, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let pages = Pages::new(&app, &"workspaces");
    let after = pages.after(&query, |age, id| Some((age.parse().ok()?, id.to_owned())))?;
    let (workspaces, next) = settings::list(&app, after, limit).await?;
    let next_cursor = next.map(|(age, id)| pages.cursor(age, id));
    json(&WorkspacePage { workspaces, has_more: next_cursor.is_some(), next_cursor })
}

/// `GET /v1/workspaces/{workspace_id}`.
pub async fn get(State(app): State<Arc<App>>, Ids([id]): Ids<1>) -> Answer {
    json(&settings::get(&app, id.into()).await?)
}

/// `PATCH /v1/workspaces/{workspace_id}`.
pub async fn update(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = UpdateWorkspace {
        name: fields.text("name", 1, NAME),
        is_disabled: fields.boolean_or_no_update("is_disabled"),
        seats: fields.number("seats", 1, MOST_SEATS),
        billing_day: fields.number("billing_day", 1, 31),
        billing_zone: zone(&mut fields),
        limits: fields.nested("limits", |limits| UpdateWorkspaceLimits {
            service_accounts: limits.number_change("service_accounts", 0, MOST_ACCOUNTS),
            api_keys_per_account: limits.number_change("api_keys_per_account", 0, MOST_KEYS),
        }),
    };
    let change = fields.finish(change)?;
    let made = settings::update(&app, caller, id.into(), change).await?;
    committed(&made, &made.value)
}

/// `GET /v1/workspace`.
pub async fn own(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&settings::own(&app, &caller).await?)
}

/// `PATCH /v1/workspace`.
pub async fn update_own(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = UpdateOwnWorkspace {
        name: fields.text("name", 1, NAME),
        policies: fields.nested("policies", |policies| UpdateWorkspacePolicies {
            default_expiry_seconds: policies.number_change("default_expiry_seconds", SHORTEST_LIFE, TEN_YEARS),
            max_expiry_seconds: policies.number_change("max_expiry_seconds", SHORTEST_LIFE, TEN_YEARS),
            expiry_required: expiry_required(policies),
            allowed_permissions: policies.permission_names_change("allowed_permissions", &app.catalogue),
            allowed_ips_required: policies.boolean_or_no_update("allowed_ips_required"),
            disable_idle_after_days: policies.number_change("disable_idle_after_days", 1, MOST_DAYS),
        }),
    };
    let change = fields.finish(change)?;
    let made = settings::update_own(&app, &caller, change).await?;
    committed(&made, &made.value)
}

fn expiry_required(fields: &mut Fields<'_>) -> Option<ExpiryRequired> {
    let value = fields.value("expiry_required").filter(|value| value.as_str() != Some("no_update"))?;
    let known = ExpiryRequired::ALL.into_iter().find(|word| value.as_str() == Some(word.as_str()));
    if known.is_none() {
        fields.mistake("expiry_required", "enum", "Input should be 'none', 'all' or 'user_keys'");
    }
    known
}

/// `POST /v1/workspaces/api-keys/third-party-disabling`.
pub async fn set_third_party_disabling(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let allowed = fields.boolean("third_party_disable_allowed");
    let allowed = fields.finish(allowed)?;
    let made = settings::set_third_party_disabling(&app, &caller, body.retry, allowed).await?;
    committed(&made, &made.value)
}
