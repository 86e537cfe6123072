//! Resources: things of the platform's own, and with whom they are shared. Roles come through a share with a member, with
//! a group of theirs or with everybody; whoever made a resource keeps `admin`, and workspace admins have it everywhere.
//!
//! - [`mod@self`]: register, rename, delete, share, unshare
//! - `access`: who can touch what, and by which way
//! - `queries`, [`routes`]: SQL and HTTP

mod access;
mod queries;
pub mod routes;

use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, ChangeKind, Committed, Mutation, Target};
use crate::groups::{self, DEFAULT};
use crate::keys;
use crate::members::{self, Authority, Caller};
use crate::seal;
use crate::store::{Error, Tx};
use serde_json::json;
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{GroupId, KeyId, PrincipalId, ResourceId, WorkspaceId};
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_api::resource::{CreateResource, Resource, Role, ShareTarget, UpdateResource};
use stead_verify::facts::{Fact, ResourceFacts};
use stead_verify::index::EVERYONE;
use stead_verify::pepper::{Label, Ring};

pub use access::{beyond, path};

/// Most members and groups that a resource is shared with (wire §10).
const MAX_SHARES: usize = 100;
/// Longest id.
pub const RESOURCE_ID: usize = 64;
/// What an id is made of, for people.
pub const RESOURCE_ID_RULE: &str = "must be 1–64 of A–Z, a–z, 0–9, _ and -";

/// Whether a text may be the id of a resource.
pub fn is_resource_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=RESOURCE_ID).contains(&text.len()) && text.bytes().all(plain)
}

/// A resource as stored, with what is shared of it.
#[derive(Clone, Debug)]
pub struct ResourceRow {
    /// Its type.
    pub kind: String,
    /// Which of that type.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whose it is.
    pub creator_id: Option<String>,
    /// When it was registered.
    pub created_at: i64,
    /// When it was deleted.
    pub deleted_at: Option<i64>,
    /// Grows with each change.
    pub version: i64,
    /// Over all of these but the name.
    pub seal: Vec<u8>,
    /// Role by whom it is shared with, in the order of their ids.
    pub shares: Vec<(String, Role)>,
}

impl ResourceRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let what = (workspace, &self.kind, &self.id, &self.creator_id, self.deleted_at);
        seal::bytes(&(what, &self.shares, self.version))
    }

    /// Whether the row, and everything shared of it, is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        let sealed = ring.is_sealed(Label::Resource, &self.sealed_bytes(workspace.as_str()), &self.seal);
        if !sealed {
            tracing::error!(
                kind = self.kind,
                resource = self.id,
                "the resource, or what is shared of it, was changed behind the server's back; nobody has access"
            );
        }
        sealed
    }

    fn fact(&self, ring: &Ring, workspace: &WorkspaceId) -> Fact {
        Fact::Resource(ResourceFacts {
            workspace_id: workspace.clone(),
            kind: self.kind.as_str().into(),
            id: self.id.as_str().into(),
            version: self.version,
            deleted: self.deleted_at.is_some() || !self.is_sealed(ring, workspace),
            creator: self.creator_id.as_deref().map(PrincipalId::from),
            shares: self.shares.iter().filter_map(|(grantee, role)| Some((bits(grantee)?, *role))).collect(),
        })
    }

    fn target(&self) -> Target {
        Target::new("resource", &format!("{}/{}", self.kind, self.id), self.name.as_deref().unwrap_or_default())
    }
}

/// A member or a group as the mirror knows it.
fn bits(grantee: &str) -> Option<u128> {
    if grantee == DEFAULT {
        return Some(EVERYONE);
    }
    PrincipalId::from(grantee).bits().or_else(|| GroupId::from(grantee).bits())
}

/// Hands over every resource's facts, for the mirror.
pub fn each_fact(tx: &mut Tx<'_>, ring: &Ring, take: impl Fn(Fact)) -> Result<(), Error> {
    queries::each(tx, |workspace, row| {
        take(row.fact(ring, &workspace));
        Ok(())
    })
}

/// Every resource whose row, or what is shared of it, somebody else wrote, by `<type>/<id>`.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let mut broken = Vec::new();
    queries::each(tx, |workspace, row| {
        if !row.is_sealed(ring, &workspace) {
            broken.push(format!("{}/{}", row.kind, row.id));
        }
        Ok(())
    })?;
    Ok(broken)
}

/// One resource's facts, by `<type>/<id>`.
pub fn fact(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceId, which: &str) -> Result<Option<Fact>, Error> {
    let Some((kind, id)) = which.split_once('/') else { return Ok(None) };
    Ok(queries::find(tx, workspace, kind, id)?.map(|row| row.fact(ring, workspace)))
}

/// The refusal for what is not there, or may not be seen.
fn not_found() -> Failure {
    Failure::refused(ErrorCode::ResourceNotFound, "There is no such resource.")
}

/// A resource that a caller has at least a role on. Whoever may not even see it hears that it isn't there.
fn addressed(
    tx: &mut Tx<'_>,
    ring: &Ring,
    (workspace, authority): (&WorkspaceId, &Authority),
    (kind, id): (&str, &str),
    needed: Role,
) -> Result<(ResourceRow, Role), Failure> {
    let row = queries::find(tx, workspace, kind, id)?.filter(|row| row.deleted_at.is_none());
    let row = row.filter(|row| row.is_sealed(ring, workspace)).ok_or_else(not_found)?;
    let held = access::role_of(authority, &row).ok_or_else(not_found)?;
    if held < needed {
        let message = format!("You need the role {} on the resource and have {}.", needed.as_str(), held.as_str());
        return Err(Failure::refused(ErrorCode::NoResourceAccess, message));
    }
    Ok((row, held))
}

/// Registers a resource: its creator has `admin`, and what a service account shares by default is shared.
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    new: CreateResource,
) -> Result<Committed<Resource>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let own = m.authority.key.as_ref().map(|key| PrincipalId::from(key.principal_id.as_str()));
        let creator = match &new.creator_user_id {
            Some(id) if own.as_ref().map(PrincipalId::as_str) == Some(id) => own,
            Some(_) if !m.authority.is_admin && !has_all(&m.authority) => {
                let message =
                    "Only workspace admins, and who has access to all resources, register one for somebody else.";
                return Err(Failure::param(ErrorCode::Forbidden, "creator_user_id", message));
            }
            Some(id) => Some(PrincipalId::from(id.as_str())),
            None => own,
        };
        let creator = creator.map(|id| members::principal(m.tx, &workspace, &id)).transpose()?.flatten();
        let Some(creator) = creator else {
            return Err(Failure::invalid(&["body", "creator_user_id"], "value_error", "there is no such member"));
        };
        let id = new.resource_id.clone();
        let id = id.unwrap_or_else(|| ResourceId::from_random(m.app.entropy.id()).to_string());
        let old = queries::find(m.tx, &workspace, &new.resource_type, &id)?;
        if old.as_ref().is_some_and(|old| old.deleted_at.is_none()) {
            let message = "There is a resource of this type with this id already.";
            return Err(Failure::param(ErrorCode::AlreadyExists, "resource_id", message));
        }
        let was_others = old.as_ref().is_some_and(|old| old.creator_id.as_deref() != Some(creator.id().as_str()));
        if was_others && !m.authority.is_admin && !has_all(&m.authority) {
            // Whoever had a weak role on it before, or none, would be its admin.
            let message = "A resource with this id was deleted, and was somebody else's. Ask a workspace admin.";
            return Err(Failure::param(ErrorCode::Forbidden, "resource_id", message));
        }
        let mut row = ResourceRow {
            kind: new.resource_type.clone(),
            id,
            name: new.resource_name.clone().filter(|name| !name.is_empty()),
            creator_id: Some(creator.id().to_string()),
            created_at: m.now.0,
            deleted_at: None,
            version: old.map_or(0, |old| old.version),
            seal: Vec::new(),
            shares: default_shares(m, &creator)?,
        };
        save(m, &mut row)?;
        m.audit("Resource Creation", row.target(), json!({ "creator": row.creator_id, "shares": row.shares }));
        Ok(access::view(&row, Role::Admin).into())
    };
    let made = mutation::mutate(app, caller, retry, operation).await?;
    Ok(with_options(app, caller, made).await)
}

/// Adds those it could be shared with, outside the write: there may be many. It is committed, so an answer goes out in any
/// case.
async fn with_options(app: &Arc<App>, caller: &Caller, mut made: Committed<Resource>) -> Committed<Resource> {
    let (worker, workspace, resource) = (app.clone(), caller.workspace_id().cloned(), made.value.clone());
    let read = move |tx: &mut Tx<'_>| {
        let workspace = workspace.ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
        access::share_options(&worker, tx, &workspace, &resource)
    };
    if let Ok(options) = app.store.read(read).await {
        made.value.share_options = options;
    }
    made
}

/// What new resources of a member are shared with: groups that have been deleted since are left out.
fn default_shares(m: &mut Mutation<'_, '_>, creator: &members::Principal) -> Result<Vec<(String, Role)>, Failure> {
    let members::Principal::Account(account) = creator else { return Ok(Vec::new()) };
    let workspace = m.workspace_id();
    let mut shares = Vec::new();
    for (group, role) in &account.default_sharing_groups {
        if let (Some(role), true) = (Role::parse(role), groups::exists(m.tx, &workspace, group)?) {
            shares.push((group.clone(), role));
        }
    }
    shares.sort();
    Ok(shares)
}

/// Renames a resource.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    (kind, id): (String, String),
    change: UpdateResource,
) -> Result<Committed<Resource>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let whose = (&workspace, &m.authority);
        let (mut row, role) = addressed(m.tx, &m.app.ring, whose, (&kind, &id), Role::Admin)?;
        if let Some(name) = change.resource_name.clone().map(|name| Some(name).filter(|name| !name.is_empty()))
            && name != row.name
        {
            let details = json!({ "name": { "from": row.name, "to": name } });
            row.name = name;
            save(m, &mut row)?;
            m.audit("Resource Update", row.target(), details);
        }
        Ok(access::view(&row, role).into())
    };
    let made = mutation::mutate(app, caller, None, operation).await?;
    Ok(with_options(app, caller, made).await)
}

/// Forgets a resource and everything shared of it.
pub async fn delete(
    app: &Arc<App>,
    caller: &Caller,
    (kind, id): (String, String),
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let whose = (&workspace, &m.authority);
        let found = queries::find(m.tx, &workspace, &kind, &id)?;
        let mut row = match found.filter(|row| row.deleted_at.is_none() && !row.is_sealed(&m.app.ring, &workspace)) {
            // Whoever wrote it: to forget it is the one thing that can still be done.
            Some(forged) if m.authority.is_admin => forged,
            _ => addressed(m.tx, &m.app.ring, whose, (&kind, &id), Role::Admin)?.0,
        };
        row.deleted_at = Some(m.now.0);
        let shares = std::mem::take(&mut row.shares);
        save(m, &mut row)?;
        m.audit("Resource Deletion", row.target(), json!({ "shares": shares }));
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Shares a resource with somebody, or (without a role) no longer.
pub async fn share(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    (kind, id): (String, String),
    (target, role): (ShareTarget, Option<Role>),
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let whose = (&workspace, &m.authority);
        let (mut row, _) = addressed(m.tx, &m.app.ring, whose, (&kind, &id), Role::Admin)?;
        let grantee = grantee(m, &target)?;
        if row.creator_id.as_ref() == Some(&grantee) {
            let message = "Whoever made a resource keeps the role admin on it.";
            return if role == Some(Role::Admin) {
                Ok(Status::ok().into())
            } else {
                Err(Failure::refused(ErrorCode::CreatorKeepsAccess, message))
            };
        }
        let before = row.shares.iter().find(|(id, _)| *id == grantee).map(|(_, role)| *role);
        if before == role {
            return Ok(Status::ok().into());
        }
        row.shares.retain(|(id, _)| *id != grantee);
        if let Some(role) = role {
            if row.shares.len() >= MAX_SHARES {
                let message = format!("A resource can be shared with at most {MAX_SHARES} members and groups.");
                return Err(Failure::refused(ErrorCode::LimitReached, message));
            }
            row.shares.push((grantee.clone(), role));
            row.shares.sort();
        }
        save(m, &mut row)?;
        let activity = if role.is_some() { "Resource Access Granted" } else { "Resource Access Revoked" };
        m.audit(activity, row.target(), json!({ "with": grantee, "role": { "from": before, "to": role } }));
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// The id of whom a resource is to be shared with.
fn grantee(m: &mut Mutation<'_, '_>, target: &ShareTarget) -> Result<String, Failure> {
    let workspace = m.workspace_id();
    if let Some(email) = &target.user_email {
        let found = members::principal_by_email(m.tx, &workspace, email)?;
        let found = found.ok_or_else(|| Failure::refused(ErrorCode::UserNotFound, "There is no such member."))?;
        return Ok(found.id().to_string());
    }
    if let Some(group) = &target.group_id {
        return Ok(groups::live(m.tx, &workspace, group)?.id);
    }
    let key = KeyId::from(target.workspace_api_key_id.as_deref().unwrap_or_default());
    let key = keys::find(m.tx, &workspace, &key)?.filter(|key| key.revoked_at.is_none());
    Ok(key.ok_or_else(keys::not_found)?.principal_id)
}

/// Takes back everything that is shared with a member or a group that is no more; how many resources that was.
pub fn forget_grantee(m: &mut Mutation<'_, '_>, grantee: &str) -> Result<usize, Failure> {
    let workspace = m.workspace_id();
    let shared = queries::shared_with(m.tx, &workspace, grantee)?;
    for mut row in shared.iter().cloned() {
        // A row that somebody else wrote gets no seal: it gives nothing anyway.
        if row.is_sealed(&m.app.ring, &workspace) {
            row.shares.retain(|(id, _)| id != grantee);
            save(m, &mut row)?;
        }
    }
    Ok(shared.len())
}

fn save(m: &mut Mutation<'_, '_>, row: &mut ResourceRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.version += 1;
    row.seal = m.app.ring.seal(Label::Resource, &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    let which = format!("{}/{}", row.kind, row.id);
    m.changed(ChangeKind::Resource, &which, row.version, row.fact(&m.app.ring, &workspace));
    Ok(())
}

/// Whether a member has access to everything through a group.
fn has_all(authority: &Authority) -> bool {
    authority.group_permissions.contains(ALL_RESOURCES_ACCESS)
}
