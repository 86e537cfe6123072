//! What is set for a workspace: by the operator, who sees nothing of what is in it, and by its own admins.

use super::{WorkspaceRow, not_found, queries};
use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Mutation};
use crate::keys::note_change;
use crate::members::seats::Taken;
use crate::members::{self, Caller};
use crate::store::{Error, Tx};
use serde_json::{Map, Value};
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::id::WorkspaceId;
use stead_api::key::Change;
use stead_api::time::Timestamp;
use stead_api::workspace::{
    OwnWorkspace, UpdateOwnWorkspace, UpdateWorkspace, UpdateWorkspacePolicies, Workspace, WorkspaceLimits,
    WorkspacePolicies,
};
use stead_verify::period::Billing;

/// A workspace as the operator sees it.
pub(super) fn view(tx: &mut Tx<'_>, row: &WorkspaceRow) -> Result<Workspace, Error> {
    let id = row.id();
    let owner_user_id = members::owner(tx, &id)?;
    let owner = owner_user_id.as_ref().map(|owner| members::principal(tx, &id, owner)).transpose()?.flatten();
    Ok(Workspace {
        seats_used: seats_used(tx, &id)?,
        workspace_id: id,
        name: row.name.clone(),
        owner_user_id,
        owner_email: owner.map(|owner| owner.email().to_owned()),
        seats: row.seats,
        is_disabled: row.is_disabled,
        billing_day: row.billing_day,
        billing_zone: row.billing_zone.clone(),
        limits: WorkspaceLimits { service_accounts: row.max_accounts, api_keys_per_account: row.max_keys_per_account },
        created_at: Timestamp(row.created_at).seconds(),
    })
}

/// People on a full seat who are not locked: basic seats and service accounts take none.
pub fn seats_used(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<i64, Error> {
    Ok(Taken::by(&members::people(tx, workspace)?).full)
}

/// A page of all workspaces, the oldest first, and the place where the next one begins.
pub async fn list(
    app: &Arc<App>,
    after: Option<(i64, String)>,
    limit: usize,
) -> Result<(Vec<Workspace>, Option<(i64, String)>), Failure> {
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let (age, id) = after.clone().unwrap_or((i64::MIN, String::new()));
        let mut rows = queries::page(tx, (age, &id), i64::try_from(limit + 1).unwrap_or(i64::MAX))?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| (row.created_at, row.id.clone()));
        let views = rows.iter().map(|row| view(tx, row)).collect::<Result<_, _>>()?;
        Ok((views, next))
    };
    app.store.read(read).await
}

/// One workspace.
pub async fn get(app: &Arc<App>, id: WorkspaceId) -> Result<Workspace, Failure> {
    let read = move |tx: &mut Tx<'_>| {
        let row = queries::find(tx, &id)?.ok_or_else(not_found)?;
        Ok(view(tx, &row)?)
    };
    app.store.read(read).await
}

/// What the operator changes: suspends it, lets it go on, its seats, its months, its limits.
pub async fn update(
    app: &Arc<App>,
    caller: Caller,
    id: WorkspaceId,
    change: UpdateWorkspace,
) -> Result<Committed<Workspace>, Failure> {
    let locked = id.clone();
    let open = move |_: &App, tx: &mut Tx<'_>| queries::lock(tx, &locked)?.ok_or_else(not_found).map(Some);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let old = m.workspace.clone();
        let row = &mut m.workspace;
        set(&mut row.name, change.name.as_ref());
        set(&mut row.is_disabled, change.is_disabled.as_ref());
        set(&mut row.seats, change.seats.as_ref());
        set(&mut row.billing_day, change.billing_day.as_ref());
        set(&mut row.billing_zone, change.billing_zone.as_ref());
        let limits = change.limits.clone().unwrap_or_default();
        replace(&mut row.max_accounts, limits.service_accounts.as_ref());
        replace(&mut row.max_keys_per_account, limits.api_keys_per_account.as_ref());
        if Billing::new(row.billing_day, &row.billing_zone).is_none() {
            return Err(Failure::invalid(&["body", "billing_zone"], "value_error", "there is no such time zone"));
        }
        keep(m, &old);
        Ok(view(m.tx, &m.workspace)?.into())
    };
    let made = mutation::write(app, id, caller, None, open, operation).await?;
    made.ok_or_else(not_found)
}

/// The caller's own workspace.
pub async fn own(app: &Arc<App>, caller: &Caller) -> Result<OwnWorkspace, Failure> {
    let (worker, caller) = (app.clone(), caller.clone());
    let read = move |tx: &mut Tx<'_>| {
        let id = caller.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
        let row = queries::find(tx, id)?.ok_or_else(not_found)?;
        members::authorize(tx, &worker.ring, &caller, &row, worker.clock.now())?;
        Ok(own_view(&worker, tx, &row)?)
    };
    app.store.read(read).await
}

fn own_view(app: &App, tx: &mut Tx<'_>, row: &WorkspaceRow) -> Result<OwnWorkspace, Error> {
    let number = |count: usize| i64::try_from(count).ok();
    Ok(OwnWorkspace {
        workspace_id: row.id(),
        name: row.name.clone(),
        seats: row.seats,
        seats_used: seats_used(tx, &row.id())?,
        limits: WorkspaceLimits {
            service_accounts: number(row.most_accounts(&app.limits)),
            api_keys_per_account: number(row.most_keys_per_account(&app.limits)),
        },
        third_party_disable_allowed: row.third_party_disable_allowed,
        policies: row.policies.clone(),
        created_at: Timestamp(row.created_at).seconds(),
    })
}

/// What its admins change: its name, and what it asks of keys from now on.
pub async fn update_own(
    app: &Arc<App>,
    caller: &Caller,
    change: UpdateOwnWorkspace,
) -> Result<Committed<OwnWorkspace>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let old = m.workspace.clone();
        set(&mut m.workspace.name, change.name.as_ref());
        if let Some(change) = &change.policies {
            m.workspace.policies = changed(&old.policies, change)?;
        }
        keep(m, &old);
        Ok(own_view(m.app, m.tx, &m.workspace)?.into())
    };
    mutation::mutate(app, caller, None, operation).await
}

fn changed(old: &WorkspacePolicies, change: &UpdateWorkspacePolicies) -> Result<WorkspacePolicies, Failure> {
    let mut policies = old.clone();
    replace(&mut policies.default_expiry_seconds, change.default_expiry_seconds.as_ref());
    replace(&mut policies.max_expiry_seconds, change.max_expiry_seconds.as_ref());
    set(&mut policies.expiry_required, change.expiry_required.as_ref());
    replace(&mut policies.allowed_permissions, change.allowed_permissions.as_ref());
    set(&mut policies.allowed_ips_required, change.allowed_ips_required.as_ref());
    replace(&mut policies.disable_idle_after_days, change.disable_idle_after_days.as_ref());
    if let (Some(default), Some(max)) = (policies.default_expiry_seconds, policies.max_expiry_seconds)
        && default > max
    {
        let message = "the default expiry lies beyond the maximum";
        return Err(Failure::invalid(&["body", "policies", "default_expiry_seconds"], "value_error", message));
    }
    Ok(policies)
}

/// Says for all keys whether their holders may disable them, or leaves it to each key (wire §8.2).
pub async fn set_third_party_disabling(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    allowed: Option<bool>,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let old = m.workspace.clone();
        m.workspace.third_party_disable_allowed = allowed;
        keep(m, &old);
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Notes what differs: for the audit log, and with it for the store.
fn keep(m: &mut Mutation<'_, '_>, old: &WorkspaceRow) {
    let new = &m.workspace;
    let mut details = Map::new();
    note_change(&mut details, "name", &old.name, &new.name);
    note_change(&mut details, "is_disabled", &old.is_disabled, &new.is_disabled);
    note_change(&mut details, "seats", &old.seats, &new.seats);
    note_change(&mut details, "billing_day", &old.billing_day, &new.billing_day);
    note_change(&mut details, "billing_zone", &old.billing_zone, &new.billing_zone);
    note_change(&mut details, "service_accounts", &old.max_accounts, &new.max_accounts);
    note_change(&mut details, "api_keys_per_account", &old.max_keys_per_account, &new.max_keys_per_account);
    note_change(&mut details, "policies", &old.policies, &new.policies);
    let (before, after) = (&old.third_party_disable_allowed, &new.third_party_disable_allowed);
    note_change(&mut details, "third_party_disable_allowed", before, after);
    if !details.is_empty() {
        let target = new.target();
        m.workspace_changed();
        m.audit("Workspace Metadata Update", target, Value::Object(details));
    }
}

/// A field that a change may leave alone.
fn set<T: Clone>(field: &mut T, change: Option<&T>) {
    if let Some(change) = change {
        field.clone_from(change);
    }
}

/// The same where it may also be cleared.
fn replace<T: Clone>(field: &mut Option<T>, change: Option<&Change<T>>) {
    if let Some(change) = change {
        *field = change.clone().into_option();
    }
}
