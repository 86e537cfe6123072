//! The SQL of people.

use super::MemberRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

macro_rules! columns {
    () => {
        "id, email, name, seat_type, is_owner, is_locked, created_at, version, seal, workspace_id"
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
        created_at: row.get(6)?,
        version: row.get(7)?,
        seal: row.get(8)?,
    })
}

pub(super) fn insert(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &MemberRow) -> Result<(), Error> {
    tx.run(
        concat!("INSERT INTO members (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
        &[
            row.id.as_str().into(),
            row.email.as_str().into(),
            row.name.as_str().into(),
            row.seat_type.as_str().into(),
            row.is_owner.into(),
            row.is_locked.into(),
            row.created_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<MemberRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM members WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, MemberRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(9)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM members"), &[], read)
}

pub(super) fn owner(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Option<MemberRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM members WHERE workspace_id = $1 AND is_owner");
    tx.maybe(sql, &[workspace.as_str().into()], read)
}
