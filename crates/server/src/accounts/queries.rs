//! The SQL of service accounts.

use super::AccountRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

macro_rules! columns {
    () => {
        "id, name, description, email, is_disabled, created_at, deleted_at, version, seal, workspace_id"
    };
}

fn read(row: &Row) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        email: row.get(3)?,
        is_disabled: row.get(4)?,
        created_at: row.get(5)?,
        deleted_at: row.get(6)?,
        version: row.get(7)?,
        seal: row.get(8)?,
    })
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<AccountRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM service_accounts WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
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
    let read = |row: &Row| Ok((row.get::<String>(9)?.into(), read(row)?));
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
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (workspace_id, id) DO UPDATE SET \
             name = excluded.name, description = excluded.description, is_disabled = excluded.is_disabled, \
             deleted_at = excluded.deleted_at, version = excluded.version, seal = excluded.seal"
        ),
        &[
            row.id.as_str().into(),
            row.name.as_str().into(),
            row.description.as_deref().into(),
            row.email.as_str().into(),
            row.is_disabled.into(),
            row.created_at.into(),
            row.deleted_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}
