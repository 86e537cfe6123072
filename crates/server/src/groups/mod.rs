//! Groups: their members get group permissions, and what is shared with the group. Groups do not nest. Who is in a
//! group stands in the member's own row; everybody is in [`DEFAULT`].

mod queries;
pub mod routes;

use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, ChangeKind, Committed, Mutation, Target};
use crate::members::{self, Caller, Principal};
use crate::store::{Error, Tx};
use crate::verify::credits;
use crate::{keys, resources, seal};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::group::{CreateGroup, FoundGroup, Group, Groups};
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};
use stead_api::key::Change;
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_api::time::Timestamp;
use stead_verify::facts::{Fact, GroupFacts};
use stead_verify::pepper::{Label, Ring};

/// The group of everybody.
pub const DEFAULT: &str = "default";

/// Most groups of a workspace.
const MAX_GROUPS: usize = 1000;
/// Most groups of a member.
const MAX_GROUPS_OF_MEMBER: usize = 100;

/// A group as stored.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// Which.
    pub id: String,
    /// 1–128 printable characters.
    pub name: String,
    /// Group permissions (wire §15.2).
    pub permissions: Vec<String>,
    /// Credits a month, all its members' keys together.
    pub usage_limit: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// Grows with each change.
    pub version: i64,
    /// Over what decisions read.
    pub seal: Vec<u8>,
}

impl GroupRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        seal::bytes(&(workspace, &self.id, &self.permissions, self.usage_limit, self.version))
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        let sealed = ring.is_sealed(Label::Group, &self.sealed_bytes(workspace.as_str()), &self.seal);
        if !sealed {
            tracing::error!(group = self.id, "the group's row was changed behind the server's back; it gives nothing");
        }
        sealed
    }

    fn fact(&self, ring: &Ring, workspace: &WorkspaceId) -> Fact {
        Fact::Group(GroupFacts {
            workspace_id: workspace.clone(),
            id: self.id.as_str().into(),
            version: self.version,
            deleted: !self.is_sealed(ring, workspace),
            all_resources: self.permissions.iter().any(|permission| permission == ALL_RESOURCES_ACCESS),
            cap: self.usage_limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        })
    }

    /// What an audit row calls it.
    pub fn target(&self) -> Target {
        Target::new("group", &self.id, &self.name)
    }
}

/// Groups as the mirror has them.
pub fn mirrored(groups: &[String]) -> Box<[GroupId]> {
    groups.iter().map(|group| group.as_str().into()).collect()
}

/// Every group permission that the members of these groups have, with what everybody has. A row that somebody else
/// wrote gives nothing.
pub fn permissions_of(
    tx: &mut Tx<'_>,
    ring: &Ring,
    workspace: &WorkspaceId,
    groups: &[String],
) -> Result<BTreeSet<String>, Error> {
    let mut permissions = BTreeSet::new();
    for id in groups.iter().map(String::as_str).chain([DEFAULT]) {
        if let Some(group) = queries::find(tx, workspace, id)?.filter(|group| group.is_sealed(ring, workspace)) {
            permissions.extend(group.permissions);
        }
    }
    Ok(permissions)
}

/// The least that any of these groups, or that of everybody, lets its members spend in a month.
pub fn least_limit(
    tx: &mut Tx<'_>,
    ring: &Ring,
    workspace: &WorkspaceId,
    groups: &[String],
) -> Result<Option<i64>, Error> {
    let mut least = None;
    for id in groups.iter().map(String::as_str).chain([DEFAULT]) {
        let group = queries::find(tx, workspace, id)?.filter(|group| group.is_sealed(ring, workspace));
        least = least.into_iter().chain(group.and_then(|group| group.usage_limit)).min();
    }
    Ok(least)
}

/// Every group's facts, for the mirror.
pub fn facts(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<Fact>, Error> {
    Ok(queries::all(tx)?.iter().map(|(workspace, row)| row.fact(ring, workspace)).collect())
}

/// Every group whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let broken = |(workspace, row): &(WorkspaceId, GroupRow)| !row.is_sealed(ring, workspace);
    Ok(queries::all(tx)?.into_iter().filter(broken).map(|(_, row)| row.id).collect())
}

/// One group's facts, as a change of this version left them; of one that is gone, that it is.
pub fn fact(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceId, id: &str, version: i64) -> Result<Fact, Error> {
    let row = queries::find(tx, workspace, id)?;
    Ok(row.map_or_else(|| gone(workspace, id, version), |row| row.fact(ring, workspace)))
}

fn gone(workspace: &WorkspaceId, id: &str, version: i64) -> Fact {
    let (workspace_id, id) = (workspace.clone(), id.into());
    Fact::Group(GroupFacts { workspace_id, id, version, deleted: true, all_resources: false, cap: None })
}

/// A group, or the refusal that reads the same for one of another workspace.
pub fn live(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<GroupRow, Failure> {
    let row = queries::find(tx, workspace, id)?;
    row.ok_or_else(|| Failure::refused(ErrorCode::GroupNotFound, "There is no such group."))
}

/// A group, whoever wrote its row.
pub fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<GroupRow>, Error> {
    queries::find(tx, workspace, id)
}

/// Whether there is such a group.
pub fn exists(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<bool, Error> {
    Ok(queries::find(tx, workspace, id)?.is_some())
}

/// Every group of a workspace, the oldest first.
pub fn rows(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<GroupRow>, Error> {
    queries::list(tx, workspace)
}

/// The group of everybody, which each workspace has from its start: a part of making it, and no act of its own.
pub fn create_default(m: &mut Mutation<'_, '_>) -> Result<(), Failure> {
    insert(m, DEFAULT.into(), "Everyone", &[], None).map(drop)
}

/// Makes a group with some group permissions.
pub fn create(m: &mut Mutation<'_, '_>, name: &str, permissions: &[&str]) -> Result<GroupId, Failure> {
    let id = GroupId::from_random(m.app.entropy.id());
    let permissions: Vec<_> = permissions.iter().map(ToString::to_string).collect();
    let row = insert(m, id.to_string(), name, &permissions, None)?;
    m.audit("Group Creation", row.target(), json!({ "permissions": row.permissions, "usage_limit": row.usage_limit }));
    Ok(id)
}

fn insert(
    m: &mut Mutation<'_, '_>,
    id: String,
    name: &str,
    permissions: &[String],
    usage_limit: Option<i64>,
) -> Result<GroupRow, Failure> {
    let mut row = GroupRow {
        id,
        name: name.to_owned(),
        permissions: permissions.to_vec(),
        usage_limit,
        created_at: m.now.0,
        version: 0,
        seal: Vec::new(),
    };
    save(m, &mut row)?;
    Ok(row)
}

fn save(m: &mut Mutation<'_, '_>, row: &mut GroupRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.version += 1;
    row.seal = m.app.ring.seal(Label::Group, &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    m.changed(ChangeKind::Group, &row.id, row.version, row.fact(&m.app.ring, &workspace));
    Ok(())
}

/// The groups of a workspace, by id, each with its members.
pub async fn list(app: &Arc<App>, workspace: WorkspaceId) -> Result<Groups, Failure> {
    let worker = app.clone();
    app.store.read(move |tx| all(&worker, tx, &workspace)).await
}

/// One group with its members.
pub async fn get(app: &Arc<App>, workspace: WorkspaceId, id: String) -> Result<Group, Failure> {
    let worker = app.clone();
    app.store.read(move |tx| view(&worker, tx, &workspace, &id)).await
}

/// The groups whose names hold a text, in any case, with their members' e-mails.
pub async fn search(app: &Arc<App>, workspace: WorkspaceId, text: String) -> Result<Vec<FoundGroup>, Failure> {
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let text = text.to_lowercase();
        let principals = members::principals(tx, &workspace)?;
        let found = queries::list(tx, &workspace)?.into_iter().filter(|row| row.name.to_lowercase().contains(&text));
        let emails = |id: &str| {
            let members = principals.iter().filter(|principal| is_in(principal, id));
            members.map(|principal| principal.email().to_owned()).collect()
        };
        Ok(found.map(|row| FoundGroup { members_emails: emails(&row.id), name: row.name, id: row.id }).collect())
    };
    app.store.read(read).await
}

/// The same within a transaction.
pub fn all(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Groups, Failure> {
    views(app, tx, workspace, |_| true)
}

fn is_in(principal: &Principal, group: &str) -> bool {
    group == DEFAULT || principal.groups().iter().any(|id| id == group)
}

fn view(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Group, Failure> {
    live(tx, workspace, id)?;
    let mut views = views(app, tx, workspace, |group| group == id)?;
    views.remove(id).ok_or_else(|| Failure::Defect("a group that is there has no view".into()))
}

fn views(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Groups, Failure> {
    let principals = members::principals(tx, workspace)?;
    let rows = queries::list(tx, workspace)?.into_iter().filter(|row| is_wanted(&row.id));
    let view = |row: GroupRow| {
        let members = principals.iter().filter(|principal| is_in(principal, &row.id));
        let count = row.usage_limit.and_then(|_| credits::used_of(app, workspace, pool(workspace, &row.id)?));
        let group = Group {
            members: members.map(Principal::id).collect(),
            name: row.name,
            permissions: row.permissions,
            group_usage_limit: row.usage_limit,
            group_pvc_limit: None,
            group_concurrency_limit: None,
            group_dubbing_concurrency_limit: None,
            group_music_concurrency_limit: None,
            character_count: count,
            is_scim_synced: false,
            scim_frozen: false,
            created_at_unix: Timestamp(row.created_at).seconds(),
            id: row.id.clone(),
        };
        (row.id, group)
    };
    Ok(rows.map(view).collect())
}

/// What the ledger of a group's shared credits is known by.
fn pool(workspace: &WorkspaceId, id: &str) -> Option<u128> {
    if id == DEFAULT { workspace.bits() } else { GroupId::from(id).bits() }
}

/// Makes a group at an admin's wish.
pub async fn make(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    new: CreateGroup,
) -> Result<Committed<Group>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        if queries::count(m.tx, &workspace)? >= MAX_GROUPS {
            let message = format!("The workspace has {MAX_GROUPS} groups, which is as many as it may have.");
            return Err(Failure::refused(ErrorCode::LimitReached, message));
        }
        check_name(m, None, &new.name)?;
        let id = GroupId::from_random(m.app.entropy.id()).to_string();
        let permissions = new.permissions.clone().unwrap_or_default();
        let row = insert(m, id, &new.name, &permissions, new.group_usage_limit)?;
        m.audit(
            "Group Creation",
            row.target(),
            json!({ "permissions": row.permissions, "usage_limit": row.usage_limit }),
        );
        m.event("group.created", json!({ "group_id": row.id, "name": row.name }));
        Ok(view(m.app, m.tx, &workspace, &row.id)?.into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// No two groups of a workspace are called the same: people share by these names.
fn check_name(m: &mut Mutation<'_, '_>, own: Option<&str>, name: &str) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let is_taken = queries::list(m.tx, &workspace)?
        .iter()
        .any(|row| own != Some(row.id.as_str()) && row.name.to_lowercase() == name.to_lowercase());
    if is_taken {
        return Err(Failure::param(ErrorCode::AlreadyExists, "name", "There is a group of this name already."));
    }
    Ok(())
}

/// What a change of a group sets.
pub struct GroupChange {
    /// The new name.
    pub name: Option<String>,
    /// All of the permissions it is to give.
    pub permissions: Option<Vec<String>>,
    /// Credits a month, or none.
    pub usage_limit: Option<Change<i64>>,
}

/// Renames a group, or changes what it gives.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    id: String,
    change: GroupChange,
) -> Result<Committed<Group>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let old = sealed(m, &id)?;
        let mut row = old.clone();
        if let Some(name) = &change.name {
            check_name(m, Some(&id), name)?;
            row.name.clone_from(name);
        }
        if let Some(permissions) = &change.permissions {
            row.permissions.clone_from(permissions);
        }
        if let Some(limit) = &change.usage_limit {
            row.usage_limit = limit.clone().into_option();
        }
        let mut details = Map::new();
        keys::note_change(&mut details, "name", &old.name, &row.name);
        keys::note_change(&mut details, "permissions", &old.permissions, &row.permissions);
        keys::note_change(&mut details, "usage_limit", &old.usage_limit, &row.usage_limit);
        if !details.is_empty() {
            save(m, &mut row)?;
            m.audit("Group Update", row.target(), Value::Object(details));
            m.event("group.updated", json!({ "group_id": row.id, "name": row.name }));
        }
        Ok(view(m.app, m.tx, &workspace, &id)?.into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// A group whose row may get a seal.
fn sealed(m: &mut Mutation<'_, '_>, id: &str) -> Result<GroupRow, Failure> {
    let workspace = m.workspace_id();
    let row = live(m.tx, &workspace, id)?;
    if row.is_sealed(&m.app.ring, &workspace) {
        return Ok(row);
    }
    let message = "The group was changed behind the server's back and gives nothing. It can only be deleted.";
    Err(Failure::refused(ErrorCode::NotTrusted, message))
}

/// Deletes a group: its members lose what they had through it.
pub async fn delete(app: &Arc<App>, caller: &Caller, id: String) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = live(m.tx, &workspace, &id)?;
        if id == DEFAULT {
            return Err(Failure::refused(ErrorCode::EverybodysGroup, "The group of everybody can't be deleted."));
        }
        let mut left = 0_usize;
        for mut principal in members::principals(m.tx, &workspace)? {
            let shares_by_default = matches!(&principal, Principal::Account(account)
                if account.default_sharing_groups.iter().any(|(group, _)| *group == id));
            if !(is_in(&principal, &id) || shares_by_default) || !principal.is_sealed(&m.app.ring, &workspace) {
                continue;
            }
            left += usize::from(is_in(&principal, &id));
            principal.groups_mut().retain(|group| *group != id);
            if let Principal::Account(account) = &mut principal {
                account.default_sharing_groups.retain(|(group, _)| *group != id);
            }
            principal.save(m)?;
        }
        let shares = resources::forget_grantee(m, &id)?;
        queries::delete(m.tx, &workspace, &id)?;
        m.changed(ChangeKind::Group, &id, row.version + 1, gone(&workspace, &id, row.version + 1));
        m.audit("Group Deletion", row.target(), json!({ "members": left, "shared_resources": shares }));
        m.event("group.deleted", json!({ "group_id": row.id, "name": row.name }));
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Adds a member to a group, or removes it, by e-mail.
pub async fn change_member(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    (group, email): (String, String),
    joins: bool,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = live(m.tx, &workspace, &group)?;
        // Who is no admin may pass on what they have themselves, and no more: who is in a group has all it gives.
        if !m.authority.is_admin && group != DEFAULT && !m.authority.groups.contains(&group) {
            let message = "Only workspace admins manage groups that they are not in.";
            return Err(Failure::refused(ErrorCode::Forbidden, message));
        }
        if group == DEFAULT {
            let message = "Everybody is in this group: nobody can join or leave it.";
            return Err(Failure::refused(ErrorCode::EverybodysGroup, message));
        }
        if !m.authority.is_admin && !joins && row.usage_limit.is_some() {
            let message = "Only workspace admins take members out of a group that limits what they spend.";
            return Err(Failure::refused(ErrorCode::Forbidden, message));
        }
        let member = members::principal_by_email(m.tx, &workspace, &email)?;
        let member = member.ok_or_else(|| Failure::refused(ErrorCode::UserNotFound, "There is no such member."))?;
        if joins {
            join(m, &row, member)?;
        } else {
            leave(m, &row, member)?;
        }
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Adds a member to a group.
pub fn add_member(m: &mut Mutation<'_, '_>, group: &GroupId, principal: &PrincipalId) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let group = live(m.tx, &workspace, group.as_str())?;
    let member = members::principal(m.tx, &workspace, principal)?;
    let member = member.ok_or_else(|| Failure::refused(ErrorCode::UserNotFound, "There is no such member."))?;
    join(m, &group, member)
}

fn join(m: &mut Mutation<'_, '_>, group: &GroupRow, mut member: Principal) -> Result<(), Failure> {
    if is_in(&member, &group.id) {
        return Ok(());
    }
    if member.groups().len() >= MAX_GROUPS_OF_MEMBER {
        let message = format!("A member can be in at most {MAX_GROUPS_OF_MEMBER} groups.");
        return Err(Failure::refused(ErrorCode::LimitReached, message));
    }
    check_member(m, &member)?;
    member.groups_mut().push(group.id.clone());
    member.save(m)?;
    m.audit("Group Member Addition", group.target(), json!({ "member": member.id(), "name": member.name() }));
    m.event("group.member_added", json!({ "group_id": group.id, "user_id": member.id() }));
    Ok(())
}

fn leave(m: &mut Mutation<'_, '_>, group: &GroupRow, mut member: Principal) -> Result<(), Failure> {
    if !is_in(&member, &group.id) {
        return Ok(());
    }
    check_member(m, &member)?;
    member.groups_mut().retain(|id| *id != group.id);
    member.save(m)?;
    m.audit("Group Member Removal", group.target(), json!({ "member": member.id(), "name": member.name() }));
    m.event("group.member_removed", json!({ "group_id": group.id, "user_id": member.id() }));
    Ok(())
}

/// A row that somebody else wrote must not get a seal.
fn check_member(m: &Mutation<'_, '_>, member: &Principal) -> Result<(), Failure> {
    if member.is_sealed(&m.app.ring, &m.workspace_id()) {
        return Ok(());
    }
    let message = "The member's row was changed behind the server's back and is refused.";
    Err(Failure::refused(ErrorCode::NotTrusted, message))
}
