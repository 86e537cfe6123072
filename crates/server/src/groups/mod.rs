//! Groups: their members get group permissions, and what is shared with the group. Groups do not nest. Who is in a
//! group stands in the member's own row; everybody is in [`DEFAULT`].

mod queries;

use crate::error::Failure;
use crate::feed::mutation::{ChangeKind, Mutation, Target};
use crate::members;
use crate::seal;
use crate::store::{Error, Tx};
use serde_json::json;
use std::collections::BTreeSet;
use stead_api::error::ErrorCode;
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_verify::facts::{Fact, GroupFacts};
use stead_verify::pepper::{Label, Ring};

/// The group of everybody.
pub const DEFAULT: &str = "default";

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

/// Every group's facts, for the mirror.
pub fn facts(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<Fact>, Error> {
    Ok(queries::all(tx)?.iter().map(|(workspace, row)| row.fact(ring, workspace)).collect())
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

/// Adds a member to a group.
pub fn add_member(m: &mut Mutation<'_, '_>, group: &GroupId, principal: &PrincipalId) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let group = live(m.tx, &workspace, group.as_str())?;
    let member = members::principal(m.tx, &workspace, principal)?;
    let mut member = member.ok_or_else(|| Failure::refused(ErrorCode::UserNotFound, "There is no such member."))?;
    if !member.groups().contains(&group.id) {
        member.groups_mut().push(group.id.clone());
        member.save(m)?;
        m.audit("Group Member Addition", group.target(), json!({ "member": principal }));
    }
    Ok(())
}
