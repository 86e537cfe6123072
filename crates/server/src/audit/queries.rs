//! The SQL of the audit log.

use super::AuditRow;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;

pub(super) const FIND: &str = "SELECT seq FROM audit_log WHERE workspace_id = $1 AND seq = $2 AND id = $3";

fn read(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        seq: row.get(0)?,
        id: row.get(1)?,
        at: row.get(2)?,
        activity: row.get(3)?,
        actor: row.get(4)?,
        target: row.get(5)?,
        details: row.get(6)?,
        hash: row.get(7)?,
    })
}

pub(super) fn insert(tx: &mut Tx<'_>, workspace: &str, row: &AuditRow) -> Result<(), Error> {
    tx.run(
        "INSERT INTO audit_log (workspace_id, seq, id, at, activity, actor, target, details, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            workspace.into(),
            row.seq.into(),
            row.id.as_str().into(),
            row.at.into(),
            row.activity.as_str().into(),
            row.actor.as_str().into(),
            row.target.as_str().into(),
            row.details.as_str().into(),
            row.hash.clone().into(),
        ],
    )
    .map(drop)
}

pub(super) fn each(
    tx: &mut Tx<'_>,
    workspace: &str,
    mut take: impl FnMut(AuditRow) -> Result<(), Error>,
) -> Result<(), Error> {
    tx.each(
        "SELECT seq, id, at, activity, actor, target, details, hash FROM audit_log WHERE workspace_id = $1 ORDER BY seq",
        &[workspace.into()],
        |row| take(read(&row)?),
    )
}

pub(super) fn recent(tx: &mut Tx<'_>, workspace: &WorkspaceId, limit: i64) -> Result<Vec<AuditRow>, Error> {
    tx.all(
        "SELECT seq, id, at, activity, actor, target, details, hash FROM audit_log WHERE workspace_id = $1 \
         ORDER BY seq DESC LIMIT $2",
        &[workspace.as_str().into(), limit.into()],
        read,
    )
}
