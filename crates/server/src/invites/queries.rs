//! The SQL of invites.

use super::InviteRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

macro_rules! columns {
    () => {
        "id, email, token_digest, seat_type, group_ids, usage_limit, bounds, invited_by, created_at, expires_at, version, \
         seal, workspace_id"
    };
}

fn read(row: &Row) -> Result<InviteRow, Error> {
    Ok(InviteRow {
        id: row.get(0)?,
        email: row.get(1)?,
        token_digest: row.get(2)?,
        seat_type: row.get(3)?,
        // A list that can't be read is none; then the seal doesn't fit, either.
        groups: serde_json::from_str(&row.get::<String>(4)?).unwrap_or_default(),
        usage_limit: row.get(5)?,
        bounds: row.get(6)?,
        invited_by: row.get(7)?,
        created_at: row.get(8)?,
        expires_at: row.get(9)?,
        version: row.get(10)?,
        seal: row.get(11)?,
    })
}

/// Those whose time is not over, oldest first.
pub(super) fn open(tx: &mut Tx<'_>, workspace: &WorkspaceId, now: Timestamp) -> Result<Vec<InviteRow>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM invites WHERE workspace_id = $1 AND expires_at > $2 ORDER BY created_at, id"
    );
    tx.all(sql, &[workspace.as_str().into(), now.0.into()], read)
}

pub(super) fn by_token(tx: &mut Tx<'_>, workspace: &WorkspaceId, digest: &[u8]) -> Result<Option<InviteRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM invites WHERE workspace_id = $1 AND token_digest = $2");
    tx.maybe(sql, &[workspace.as_str().into(), digest.into()], read)
}

pub(super) fn by_email(tx: &mut Tx<'_>, workspace: &WorkspaceId, email: &str) -> Result<Option<InviteRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM invites WHERE workspace_id = $1 AND email = $2");
    tx.maybe(sql, &[workspace.as_str().into(), email.into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, InviteRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(12)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM invites"), &[], read)
}

pub(super) fn insert(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &InviteRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO invites (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        ),
        &[
            row.id.as_str().into(),
            row.email.as_str().into(),
            row.token_digest.clone().into(),
            row.seat_type.as_str().into(),
            serde_json::json!(row.groups).to_string().into(),
            row.usage_limit.into(),
            row.bounds.as_str().into(),
            row.invited_by.as_str().into(),
            row.created_at.into(),
            row.expires_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}

pub(super) fn delete(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<(), Error> {
    let sql = "DELETE FROM invites WHERE workspace_id = $1 AND id = $2";
    tx.run(sql, &[workspace.as_str().into(), id.into()]).map(drop)
}

pub(super) fn forget_before(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Error> {
    tx.run("DELETE FROM invites WHERE expires_at <= $1", &[now.0.into()]).map(drop)
}
