//! The SQL of people.

use super::MemberRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

macro_rules! columns {
    () => {
        "id, email, name, seat_type, is_owner, is_locked, groups, usage_limit, created_at, removed_at, version, seal, \
         workspace_id"
    };
}

fn read(row: &Row) -> Result<MemberRow, Error> {
    Ok(MemberRow {
        id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        seat_type: row.get(3)?,
        is_owner: row.get(4)?,
        is_locked: row.get(5)?,
        // A list that can't be read is none; then the seal doesn't fit, either.
        groups: serde_json::from_str(&row.get::<String>(6)?).unwrap_or_default(),
        usage_limit: row.get(7)?,
        created_at: row.get(8)?,
        removed_at: row.get(9)?,
        version: row.get(10)?,
        seal: row.get(11)?,
    })
}

/// Writes a whole row, new or changed. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &MemberRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO members (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (workspace_id, id) DO UPDATE \
             SET email = excluded.email, name = excluded.name, seat_type = excluded.seat_type, \
             is_owner = excluded.is_owner, is_locked = excluded.is_locked, groups = excluded.groups, \
             usage_limit = excluded.usage_limit, removed_at = excluded.removed_at, version = excluded.version, \
             seal = excluded.seal"
        ),
        &[
            row.id.as_str().into(),
            row.email.as_str().into(),
            row.name.as_str().into(),
            row.seat_type.as_str().into(),
            row.is_owner.into(),
            row.is_locked.into(),
            serde_json::json!(row.groups).to_string().into(),
            row.usage_limit.into(),
            row.created_at.into(),
            row.removed_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}

/// Everybody who was not removed, the oldest first.
pub(super) fn list(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<MemberRow>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM members WHERE workspace_id = $1 AND removed_at IS NULL ORDER BY created_at, id"
    );
    tx.all(sql, &[workspace.as_str().into()], read)
}

pub(super) fn find_by_email(tx: &mut Tx<'_>, workspace: &WorkspaceId, email: &str) -> Result<Option<MemberRow>, Error> {
    let sql =
        concat!("SELECT ", columns!(), " FROM members WHERE workspace_id = $1 AND email = $2 AND removed_at IS NULL");
    tx.maybe(sql, &[workspace.as_str().into(), email.into()], read)
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<MemberRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM members WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, MemberRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(12)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM members"), &[], read)
}

pub(super) fn owner(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Option<MemberRow>, Error> {
    let sql =
        concat!("SELECT ", columns!(), " FROM members WHERE workspace_id = $1 AND is_owner AND removed_at IS NULL");
    tx.maybe(sql, &[workspace.as_str().into()], read)
}
