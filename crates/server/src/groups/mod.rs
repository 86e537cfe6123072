//! Groups: members and the group permissions they get. Groups do not nest.

mod queries;

use crate::error::Failure;
use crate::feed::mutation::{Mutation, Target};
use crate::store::{Error, Tx};
use serde_json::json;
use std::collections::BTreeSet;
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};

/// Every permission that a member has through its groups.
pub fn permissions_of(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<BTreeSet<String>, Error> {
    let lists = queries::permissions(tx, workspace, principal)?;
    // A list that can't be read grants nothing.
    Ok(lists.iter().flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap_or_default()).collect())
}

/// Makes a group with some group permissions.
pub fn create(m: &mut Mutation<'_, '_>, name: &str, permissions: &[&str]) -> Result<GroupId, Failure> {
    let id = GroupId::from_random(m.app.entropy.id());
    let (workspace, now) = (m.workspace_id(), m.now);
    queries::insert(m.tx, &workspace, &id, name, &json!(permissions).to_string(), now)?;
    m.audit("Group Creation", Target::new("group", id.as_str(), name), json!({ "permissions": permissions }));
    Ok(id)
}

/// Adds a member to a group.
pub fn add_member(m: &mut Mutation<'_, '_>, group: &GroupId, principal: &PrincipalId) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    queries::add_member(m.tx, &workspace, group, principal)?;
    m.audit("Group Member Addition", Target::new("group", group.as_str(), ""), json!({ "member": principal }));
    Ok(())
}
