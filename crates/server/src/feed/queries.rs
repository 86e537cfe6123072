//! The SQL of the change log and of first outcomes.

use super::idempotency::Outcome;
use crate::store::{Error, Tx};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

/// A row of the change log.
pub(super) struct Change {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: String,
    pub(super) version: i64,
}

pub(super) fn clock(tx: &mut Tx<'_>) -> Result<Vec<(usize, i64)>, Error> {
    let read = |row: &crate::store::Row| Ok((usize::try_from(row.get::<i64>(0)?).unwrap_or(usize::MAX), row.get(1)?));
    tx.all("SELECT bucket, seq FROM change_clock", &[], read)
}

/// Waits until no other transaction is past this point.
pub(super) fn take_turns(tx: &mut Tx<'_>) -> Result<(), Error> {
    tx.run("UPDATE change_clock SET seq = seq WHERE bucket = 0", &[]).map(drop)
}

/// Moves a bucket's clock on by `count` and returns where it stands: the last of the numbers taken.
pub(super) fn bump(tx: &mut Tx<'_>, bucket: usize, count: usize) -> Result<i64, Error> {
    let args = [number(bucket), number(count)];
    tx.one("UPDATE change_clock SET seq = seq + $2 WHERE bucket = $1 RETURNING seq", &args, |row| row.get(0))
}

pub(super) fn append(tx: &mut Tx<'_>, bucket: usize, at: Timestamp, change: &Change) -> Result<(), Error> {
    tx.run(
        "INSERT INTO change_log (bucket, seq, kind, workspace_id, id, version, at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            number(bucket),
            change.seq.into(),
            change.kind.as_str().into(),
            change.workspace_id.as_str().into(),
            change.id.as_str().into(),
            change.version.into(),
            at.0.into(),
        ],
    )
    .map(drop)
}

pub(super) fn after(tx: &mut Tx<'_>, bucket: usize, seq: i64, limit: i64) -> Result<Vec<Change>, Error> {
    tx.all(
        "SELECT seq, kind, workspace_id, id, version FROM change_log WHERE bucket = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        &[number(bucket), seq.into(), limit.into()],
        |row| {
            Ok(Change {
                seq: row.get(0)?,
                kind: row.get(1)?,
                workspace_id: row.get::<String>(2)?.into(),
                id: row.get(3)?,
                version: row.get(4)?,
            })
        },
    )
}

/// The versions of each thing of a kind that the log still knows, the newest last.
pub(super) fn versions(tx: &mut Tx<'_>, kind: &str) -> Result<Vec<(String, i64)>, Error> {
    let sql = "SELECT id, version FROM change_log WHERE kind = $1 ORDER BY bucket, seq";
    tx.all(sql, &[kind.into()], |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(super) fn forget_before(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), Error> {
    tx.run("DELETE FROM change_log WHERE at < $1", &[before.0.into()]).map(drop)
}

pub(super) fn outcome(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    caller: &str,
    key_hash: &[u8],
) -> Result<Option<Outcome>, Error> {
    tx.maybe(
        "SELECT request_hash, at, answer, key_id, sealed_secret FROM idempotency \
         WHERE workspace_id = $1 AND caller_id = $2 AND key_hash = $3",
        &[workspace.as_str().into(), caller.into(), key_hash.into()],
        |row| {
            Ok(Outcome {
                request_hash: row.get(0)?,
                at: row.get(1)?,
                answer: row.get(2)?,
                key_id: row.get(3)?,
                sealed_secret: row.get(4)?,
            })
        },
    )
}

pub(super) fn save_outcome(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    caller: &str,
    key_hash: &[u8],
    outcome: Outcome,
) -> Result<(), Error> {
    tx.run(
        "INSERT INTO idempotency (workspace_id, caller_id, key_hash, request_hash, at, answer, key_id, sealed_secret) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (workspace_id, caller_id, key_hash) DO UPDATE SET \
         request_hash = excluded.request_hash, at = excluded.at, answer = excluded.answer, key_id = excluded.key_id, \
         sealed_secret = excluded.sealed_secret",
        &[
            workspace.as_str().into(),
            caller.into(),
            key_hash.into(),
            outcome.request_hash.into(),
            outcome.at.into(),
            outcome.answer.into(),
            outcome.key_id.into(),
            outcome.sealed_secret.into(),
        ],
    )
    .map(drop)
}

/// Forgets secrets made before `secrets` and whole outcomes made before `outcomes`.
pub(super) fn forget_outcomes(tx: &mut Tx<'_>, secrets: Timestamp, outcomes: Timestamp) -> Result<(), Error> {
    tx.run(
        "UPDATE idempotency SET sealed_secret = NULL WHERE at < $1 AND sealed_secret IS NOT NULL",
        &[secrets.0.into()],
    )?;
    tx.run("DELETE FROM idempotency WHERE at < $1", &[outcomes.0.into()]).map(drop)
}

fn number(value: usize) -> crate::store::Arg {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}
