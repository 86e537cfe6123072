//! The SQL of the outbox.

use super::MailRow;
use crate::store::{Error, Tx};
use stead_api::time::Timestamp;

pub(super) fn insert(tx: &mut Tx<'_>, row: &MailRow) -> Result<(), Error> {
    tx.run(
        "INSERT INTO mails (workspace_id, id, recipient, subject, body, created_at, attempts, next_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            row.workspace_id.as_str().into(),
            row.id.as_str().into(),
            row.recipient.as_str().into(),
            row.subject.as_str().into(),
            row.body.clone().into(),
            row.created_at.into(),
            row.attempts.into(),
            row.next_at.into(),
        ],
    )
    .map(drop)
}

/// The mail that waits longest of those whose time has come.
pub(super) fn due(tx: &mut Tx<'_>, now: Timestamp) -> Result<Option<MailRow>, Error> {
    tx.maybe(
        "SELECT workspace_id, id, recipient, subject, body, created_at, attempts, next_at FROM mails \
         WHERE next_at <= $1 ORDER BY next_at LIMIT 1",
        &[now.0.into()],
        |row| {
            Ok(MailRow {
                workspace_id: row.get(0)?,
                id: row.get(1)?,
                recipient: row.get(2)?,
                subject: row.get(3)?,
                body: row.get(4)?,
                created_at: row.get(5)?,
                attempts: row.get(6)?,
                next_at: row.get(7)?,
            })
        },
    )
}

/// Counts a try and sets the time of the next one; whether nobody else did so first.
pub(super) fn put_off(tx: &mut Tx<'_>, row: &MailRow, next: Timestamp) -> Result<bool, Error> {
    let touched = tx.run(
        "UPDATE mails SET attempts = attempts + 1, next_at = $4 WHERE workspace_id = $1 AND id = $2 AND attempts = $3",
        &[row.workspace_id.as_str().into(), row.id.as_str().into(), row.attempts.into(), next.0.into()],
    )?;
    Ok(touched == 1)
}

pub(super) fn delete(tx: &mut Tx<'_>, workspace: &str, id: &str) -> Result<(), Error> {
    let sql = "DELETE FROM mails WHERE workspace_id = $1 AND id = $2";
    tx.run(sql, &[workspace.into(), id.into()]).map(drop)
}

/// Forgets mails that were made before an instant; which.
pub(super) fn forget_before(tx: &mut Tx<'_>, before: Timestamp) -> Result<Vec<String>, Error> {
    tx.all("DELETE FROM mails WHERE created_at < $1 RETURNING id", &[before.0.into()], |row| row.get(0))
}
