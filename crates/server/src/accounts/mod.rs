//! Service accounts: members without a person. A new one has access to nothing.

mod queries;
pub mod routes;

use crate::app::App;
use crate::error::{Failure, field_error};
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, ChangeKind, Committed, Mutation, Target};
use crate::keys::{self, power};
use crate::members::Caller;
use crate::store::{Error, Tx};
use crate::{groups, resources, seal};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use stead_api::account::{
    CreateServiceAccount, CreatedServiceAccount, DefaultSharing, DefaultSharingGroup, ServiceAccount, Status,
    UpdateServiceAccount,
};
use stead_api::error::ErrorCode;
use stead_api::group::Groups;
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::key::ApiKey;
use stead_api::resource::Role;
use stead_api::time::Timestamp;
use stead_verify::facts::{Fact, PrincipalFacts};
use stead_verify::pepper::{Label, Ring};

/// A service account as stored.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Which.
    pub id: String,
    /// 1–128 printable characters.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Made by the server.
    pub email: String,
    /// While true, its keys are refused.
    pub is_disabled: bool,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// Credits a month, all its keys together.
    pub usage_limit: Option<i64>,
    /// What new resources of it are shared with: group and role.
    pub default_sharing_groups: Vec<(String, String)>,
    /// When it was made.
    pub created_at: i64,
    /// When it was deleted, for good.
    pub deleted_at: Option<i64>,
    /// Grows with each change.
    pub version: i64,
    /// Over what decisions read.
    pub seal: Vec<u8>,
}

impl AccountRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let who = (workspace, &self.id, &self.email);
        let state = (self.is_disabled, self.deleted_at, &self.groups, self.usage_limit, &self.default_sharing_groups);
        seal::bytes(&(who, state, self.version))
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed(Label::Account, &self.sealed_bytes(workspace.as_str()), &self.seal)
    }

    /// Whether its keys may work: neither disabled nor deleted, and as this server wrote it.
    pub fn works(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        let sealed = self.is_sealed(ring, workspace);
        if !sealed {
            tracing::error!(
                account = self.id,
                "the account's row was changed behind the server's back; its keys are refused"
            );
        }
        sealed && !self.is_disabled && self.deleted_at.is_none()
    }

    fn fact(&self, ring: &Ring, workspace: &WorkspaceId) -> Fact {
        let disabled = !self.works(ring, workspace);
        Fact::Principal(PrincipalFacts {
            id: self.id.as_str().into(),
            version: self.version,
            disabled,
            is_admin: false,
            groups: groups::mirrored(&self.groups),
            cap: self.usage_limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        })
    }

    fn target(&self) -> Target {
        Target::new("service_account", &self.id, &self.name)
    }
}

/// An account, deleted ones included.
pub fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<Option<AccountRow>, Error> {
    queries::find(tx, workspace, id.as_str())
}

/// An account that was not deleted, by its e-mail in lower case.
pub fn find_by_email(tx: &mut Tx<'_>, workspace: &WorkspaceId, email: &str) -> Result<Option<AccountRow>, Error> {
    queries::find_by_email(tx, workspace, email)
}

/// Every account of a workspace that was not deleted, the oldest first.
pub fn rows(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<AccountRow>, Error> {
    queries::all(tx, workspace)
}

/// Every account's facts, for the mirror.
pub fn facts(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<Fact>, Error> {
    Ok(queries::all_workspaces(tx)?.iter().map(|(workspace, row)| row.fact(ring, workspace)).collect())
}

/// One account's facts.
pub fn fact(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceId, id: &str) -> Result<Option<Fact>, Error> {
    Ok(queries::find(tx, workspace, id)?.map(|row| row.fact(ring, workspace)))
}

/// Every account whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let broken = |(workspace, row): &(WorkspaceId, AccountRow)| !row.is_sealed(ring, workspace);
    Ok(queries::all_workspaces(tx)?.into_iter().filter(broken).map(|(_, row)| row.id).collect())
}

/// An account that was not deleted, or the refusal that reads the same for one of another workspace.
pub fn live(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<AccountRow, Failure> {
    let row = queries::find(tx, workspace, id.as_str())?.filter(|row| row.deleted_at.is_none());
    row.ok_or_else(|| Failure::refused(ErrorCode::ServiceAccountNotFound, "There is no such service account."))
}

/// All accounts of the caller's workspace with their keys, oldest first.
pub async fn list(app: &Arc<App>, workspace: WorkspaceId) -> Result<Vec<ServiceAccount>, Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let accounts = queries::all(tx, &workspace)?;
        let mut keys: HashMap<String, Vec<ApiKey>> = HashMap::new();
        for key in keys::all_unrevoked(&worker, tx, &workspace)? {
            keys.entry(key.service_account_user_id.to_string()).or_default().push(key);
        }
        let uses: HashMap<_, _> = keys::last_uses(&worker, tx, &workspace)?;
        let groups = shared_by_default(&worker, tx, &workspace, &accounts)?;
        let view = |row: &AccountRow, keys| view(row, keys, uses.get(&row.id).copied(), &groups);
        Ok(accounts.iter().map(|row| view(row, keys.remove(&row.id).unwrap_or_default())).collect())
    };
    app.store.read(read).await
}

/// One account with its keys.
pub async fn get(app: &Arc<App>, workspace: WorkspaceId, id: PrincipalId) -> Result<ServiceAccount, Failure> {
    let worker = app.clone();
    app.store.read(move |tx| read_one(&worker, tx, &workspace, &id)).await
}

fn read_one(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<ServiceAccount, Failure> {
    let row = live(tx, workspace, id)?;
    let keys = keys::of_principal(app, tx, workspace, id)?;
    let used = keys::last_use_of(app, tx, workspace, id)?;
    let groups = shared_by_default(app, tx, workspace, std::slice::from_ref(&row))?;
    Ok(view(&row, keys, used, &groups))
}

/// The groups that any of these accounts shares with by default; most share with none.
fn shared_by_default(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    accounts: &[AccountRow],
) -> Result<Groups, Failure> {
    if accounts.iter().all(|row| row.default_sharing_groups.is_empty()) {
        return Ok(Groups::new());
    }
    groups::all(app, tx, workspace)
}

/// Makes an account. At most as many as the settings allow.
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    new: CreateServiceAccount,
) -> Result<Committed<CreatedServiceAccount>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        if queries::count(m.tx, &workspace)? >= m.workspace.most_accounts(&m.app.limits) {
            let message = format!(
                "The workspace has {} service accounts, which is as many as it may have.",
                m.workspace.most_accounts(&m.app.limits)
            );
            return Err(Failure::refused(ErrorCode::LimitReached, message));
        }
        let id = PrincipalId::from_random(m.app.entropy.id());
        let mut row = AccountRow {
            id: id.to_string(),
            name: new.name.clone(),
            description: new.description.clone().filter(|text| !text.is_empty()),
            // `.invalid` can never be anybody's domain (RFC 2606): nothing sent there arrives.
            email: format!("{id}@service-accounts.invalid").to_lowercase(),
            is_disabled: false,
            groups: Vec::new(),
            usage_limit: None,
            default_sharing_groups: Vec::new(),
            created_at: m.now.0,
            deleted_at: None,
            version: 0,
            seal: Vec::new(),
        };
        row.default_sharing_groups = default_sharing(m, new.default_sharing_groups.as_deref().unwrap_or_default())?;
        save(m, &mut row)?;
        m.audit(
            "Service Account Creation",
            row.target(),
            json!({ "default_sharing_groups": row.default_sharing_groups }),
        );
        m.event("service_account.created", told(&row));
        let created = Timestamp(row.created_at).seconds();
        let made = CreatedServiceAccount {
            hyphenated: id.clone(),
            service_account_user_id: id.clone(),
            service_account_id: id,
            name: row.name,
            description: row.description,
            email: row.email,
            created_at: created,
            created_at_unix: created,
        };
        Ok(made.into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Renames, describes, disables or enables an account.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    id: PrincipalId,
    change: UpdateServiceAccount,
) -> Result<Committed<ServiceAccount>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let old = live(m.tx, &workspace, &id)?;
        if !old.is_sealed(&m.app.ring, &workspace) {
            // A row that somebody else wrote must not get a seal.
            let message = "The account was changed behind the server's back and is refused. It can only be deleted.";
            return Err(Failure::refused(ErrorCode::NotTrusted, message));
        }
        let mut row = old.clone();
        if let Some(name) = &change.name {
            row.name.clone_from(name);
        }
        if let Some(description) = &change.description {
            row.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        if let Some(enabled) = change.is_enabled {
            row.is_disabled = !enabled;
        }
        if let Some(groups) = &change.default_sharing_groups {
            row.default_sharing_groups = default_sharing(m, groups)?;
        }
        let mut details = Map::new();
        keys::note_change(&mut details, "name", &old.name, &row.name);
        keys::note_change(&mut details, "description", &old.description, &row.description);
        keys::note_change(&mut details, "is_disabled", &old.is_disabled, &row.is_disabled);
        let (before, after) = (&old.default_sharing_groups, &row.default_sharing_groups);
        keys::note_change(&mut details, "default_sharing_groups", before, after);
        if !details.is_empty() {
            if old.is_disabled && !row.is_disabled {
                // Its keys begin to work: none of them may be stronger than the one that asks.
                for key in keys::rows_of_principal(m.tx, &workspace, &id)? {
                    power::check_whole(&m.authority, &key)?;
                    power::check_credits(m, &id, &key)?;
                }
                power::check_owner(m, &id)?;
            }
            save(m, &mut row)?;
            let mut data = told(&row);
            if old.is_disabled != row.is_disabled {
                let kind = if row.is_disabled { "service_account.disabled" } else { "service_account.enabled" };
                m.event(kind, data.clone());
            }
            data["changed"] = details.keys().map(String::as_str).collect();
            m.event("service_account.updated", data);
            m.audit("Service Account Update", row.target(), Value::Object(details));
        }
        let account = read_one(m.app, m.tx, &workspace, &id)?;
        Ok(account.into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Groups of the workspace that new resources of an account are to be shared with, each once.
fn default_sharing(m: &mut Mutation<'_, '_>, wanted: &[DefaultSharing]) -> Result<Vec<(String, String)>, Failure> {
    let workspace = m.workspace_id();
    let mut groups: Vec<(String, String)> = Vec::new();
    for (place, DefaultSharing { group_id, permission_level }) in wanted.iter().enumerate() {
        let is_new = groups.iter().all(|(known, _)| known != group_id);
        if !is_new || !groups::exists(m.tx, &workspace, group_id)? {
            let message =
                if is_new { "there is no such group in the workspace" } else { "the group stands here twice" };
            let mut mistake = field_error(&["body", "default_sharing_groups"], "value_error", message);
            mistake.loc.push(place.into());
            return Err(Failure::Invalid(vec![mistake]));
        }
        groups.push((group_id.clone(), permission_level.as_str().to_owned()));
    }
    Ok(groups)
}

/// Deletes an account and revokes its keys, for good.
pub async fn delete(app: &Arc<App>, caller: &Caller, id: PrincipalId) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let mut row = live(m.tx, &workspace, &id)?;
        row.deleted_at = Some(m.now.0);
        row.groups.clear();
        row.default_sharing_groups.clear();
        save(m, &mut row)?;
        let shares = resources::forget_grantee(m, &row.id)?;
        m.audit("Service Account Deletion", row.target(), json!({ "shared_resources": shares }));
        m.event("service_account.deleted", told(&row));
        for key in keys::rows_of_principal(m.tx, &workspace, &id)? {
            keys::revoke_row(m, key)?;
        }
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Writes a new or changed account: a new version, sealed anew, on its way to every mirror.
pub fn save(m: &mut Mutation<'_, '_>, row: &mut AccountRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.version += 1;
    row.seal = m.app.ring.seal(Label::Account, &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    m.changed(ChangeKind::Account, &row.id, row.version, row.fact(&m.app.ring, &workspace));
    Ok(())
}

/// What webhooks are told of an account.
fn told(row: &AccountRow) -> Value {
    json!({
        "service_account_user_id": row.id,
        "name": row.name,
        "email": row.email,
        "is_disabled": row.is_disabled,
    })
}

fn view(row: &AccountRow, keys: Vec<ApiKey>, last_used: Option<Timestamp>, groups: &Groups) -> ServiceAccount {
    let shared = row.default_sharing_groups.iter().filter_map(|(group, role)| {
        Some(DefaultSharingGroup { group: groups.get(group)?.clone(), permission_level: Role::parse(role)? })
    });
    let created = Timestamp(row.created_at).seconds();
    ServiceAccount {
        service_account_user_id: row.id.as_str().into(),
        service_account_id: row.id.as_str().into(),
        name: row.name.clone(),
        description: row.description.clone(),
        email: row.email.clone(),
        is_disabled: row.is_disabled,
        created_at_unix: created,
        created_at: created,
        api_key_count: keys.len(),
        last_used_at: last_used.map(Timestamp::seconds),
        api_keys: keys,
        default_sharing_groups: shared.collect(),
        groups: row.groups.clone(),
        usage_limit: row.usage_limit,
    }
}
