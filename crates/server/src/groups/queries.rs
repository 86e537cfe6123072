//! The SQL of groups.

use super::GroupRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

macro_rules! columns {
    () => {
        "id, name, permissions, usage_limit, created_at, version, seal, workspace_id"
    };
}

fn read(row: &Row) -> Result<GroupRow, Error> {
    Ok(GroupRow {
        id: row.get(0)?,
        name: row.get(1)?,
        // A list that can't be read is none; then the seal doesn't fit, either.
        permissions: serde_json::from_str(&row.get::<String>(2)?).unwrap_or_default(),
        usage_limit: row.get(3)?,
        created_at: row.get(4)?,
        version: row.get(5)?,
        seal: row.get(6)?,
    })
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<GroupRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM member_groups WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, GroupRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(7)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM member_groups"), &[], read)
}

/// The groups of a workspace, the oldest first.
pub(super) fn list(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<GroupRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM member_groups WHERE workspace_id = $1 ORDER BY created_at, id");
    tx.all(sql, &[workspace.as_str().into()], read)
}

pub(super) fn count(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<usize, Error> {
    let sql = "SELECT COUNT(*) FROM member_groups WHERE workspace_id = $1";
    let count: i64 = tx.one(sql, &[workspace.as_str().into()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) fn delete(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<(), Error> {
    let sql = "DELETE FROM member_groups WHERE workspace_id = $1 AND id = $2";
    tx.run(sql, &[workspace.as_str().into(), id.into()]).map(drop)
}

/// Writes a whole row, new or changed. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &GroupRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO member_groups (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (workspace_id, id) DO UPDATE SET \
             name = excluded.name, permissions = excluded.permissions, usage_limit = excluded.usage_limit, \
             version = excluded.version, seal = excluded.seal"
        ),
        &[
            row.id.as_str().into(),
            row.name.as_str().into(),
            serde_json::json!(row.permissions).to_string().into(),
            row.usage_limit.into(),
            row.created_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}
