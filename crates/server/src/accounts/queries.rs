//! The SQL of service accounts.

use super::AccountRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

macro_rules! columns {
    () => {
        "id, name, description, email, is_disabled, groups, usage_limit, default_sharing_groups, created_at, deleted_at, \
         version, seal, workspace_id"
    };
}

fn read(row: &Row) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        email: row.get(3)?,
        is_disabled: row.get(4)?,
        // A list that can't be read is none; then the seal doesn't fit, either.
        groups: serde_json::from_str(&row.get::<String>(5)?).unwrap_or_default(),
        usage_limit: row.get(6)?,
        default_sharing_groups: serde_json::from_str(&row.get::<String>(7)?).unwrap_or_default(),
        created_at: row.get(8)?,
        deleted_at: row.get(9)?,
        version: row.get(10)?,
        seal: row.get(11)?,
    })
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<AccountRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM service_accounts WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

pub(super) fn find_by_email(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    email: &str,
) -> Result<Option<AccountRow>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM service_accounts WHERE workspace_id = $1 AND email = $2 AND deleted_at IS NULL"
    );
    tx.maybe(sql, &[workspace.as_str().into(), email.into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<AccountRow>, Error> {
    tx.all(
        concat!(
            "SELECT ",
            columns!(),
            " FROM service_accounts WHERE workspace_id = $1 AND deleted_at IS NULL ORDER BY created_at, id"
        ),
        &[workspace.as_str().into()],
        read,
    )
}

pub(super) fn all_workspaces(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, AccountRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(12)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM service_accounts"), &[], read)
}

pub(super) fn count(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<usize, Error> {
    let sql = "SELECT COUNT(*) FROM service_accounts WHERE workspace_id = $1 AND deleted_at IS NULL";
    let count: i64 = tx.one(sql, &[workspace.as_str().into()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Writes a whole row, new or changed. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &AccountRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO service_accounts (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (workspace_id, id) DO UPDATE \
             SET name = excluded.name, description = excluded.description, is_disabled = excluded.is_disabled, \
             groups = excluded.groups, usage_limit = excluded.usage_limit, \
             default_sharing_groups = excluded.default_sharing_groups, deleted_at = excluded.deleted_at, version = excluded.version, seal = excluded.seal"
        ),
        &[
            row.id.as_str().into(),
            row.name.as_str().into(),
            row.description.as_deref().into(),
            row.email.as_str().into(),
            row.is_disabled.into(),
            serde_json::json!(row.groups).to_string().into(),
            row.usage_limit.into(),
            serde_json::json!(row.default_sharing_groups).to_string().into(),
            row.created_at.into(),
            row.deleted_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}
