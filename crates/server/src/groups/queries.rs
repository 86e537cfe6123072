//! The SQL of groups.

use crate::store::{Error, Tx};
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};
use stead_api::time::Timestamp;

pub(super) fn permissions(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Vec<String>, Error> {
    tx.all(
        "SELECT g.permissions FROM group_members m JOIN member_groups g \
         ON g.workspace_id = m.workspace_id AND g.id = m.group_id WHERE m.workspace_id = $1 AND m.principal_id = $2",
        &[workspace.as_str().into(), principal.as_str().into()],
        |row| row.get(0),
    )
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    id: &GroupId,
    name: &str,
    permissions: &str,
    now: Timestamp,
) -> Result<(), Error> {
    tx.run(
        "INSERT INTO member_groups (workspace_id, id, name, permissions, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[workspace.as_str().into(), id.as_str().into(), name.into(), permissions.into(), now.0.into()],
    )
    .map(drop)
}

pub(super) fn add_member(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    group: &GroupId,
    principal: &PrincipalId,
) -> Result<(), Error> {
    tx.run(
        "INSERT INTO group_members (workspace_id, group_id, principal_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[workspace.as_str().into(), group.as_str().into(), principal.as_str().into()],
    )
    .map(drop)
}
