//! The SQL of what verification tells the store.

use crate::http::fields::MAX_NUMBER;
use crate::store::{Error, Tx};
use stead_api::id::{KeyId, LineageId, WorkspaceId};
use stead_api::time::Timestamp;
use stead_verify::period::Month;

pub(super) fn save_use(tx: &mut Tx<'_>, workspace: &WorkspaceId, key: &KeyId, at: Timestamp) -> Result<(), Error> {
    tx.run(
        "INSERT INTO key_uses (workspace_id, key_id, last_used_at) VALUES ($1, $2, $3) \
         ON CONFLICT (workspace_id, key_id) DO UPDATE SET last_used_at = excluded.last_used_at \
         WHERE key_uses.last_used_at < excluded.last_used_at",
        &[workspace.as_str().into(), key.as_str().into(), at.0.into()],
    )
    .map(drop)
}

pub(super) fn uses(tx: &mut Tx<'_>) -> Result<Vec<(KeyId, Timestamp)>, Error> {
    let read = |row: &crate::store::Row| Ok((row.get::<String>(0)?.into(), Timestamp(row.get(1)?)));
    tx.all("SELECT key_id, last_used_at FROM key_uses", &[], read)
}

/// Adds to a lineage's month and returns its total, other nodes' charges included.
pub(super) fn add_credits(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    lineage: &LineageId,
    month: Month,
    amount: u64,
) -> Result<u64, Error> {
    // Stops at the largest number the wire can carry: a sum that overflowed would fail, and with it every other key's.
    let amount = i64::try_from(amount).unwrap_or(MAX_NUMBER).min(MAX_NUMBER);
    let total: i64 = tx.one(
        "INSERT INTO credits (workspace_id, lineage_id, month, used) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (workspace_id, lineage_id, month) DO UPDATE SET used = CASE \
         WHEN credits.used > $5 - excluded.used THEN $5 ELSE credits.used + excluded.used END RETURNING used",
        &[workspace.as_str().into(), lineage.as_str().into(), month.0.into(), amount.into(), MAX_NUMBER.into()],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(total).unwrap_or(u64::MAX))
}

pub(super) fn credits(tx: &mut Tx<'_>, month: Month) -> Result<Vec<(LineageId, i64)>, Error> {
    let read = |row: &crate::store::Row| Ok((row.get::<String>(0)?.into(), row.get(1)?));
    tx.all("SELECT lineage_id, used FROM credits WHERE month = $1", &[month.0.into()], read)
}
