//! The SQL of what verification tells the store.

use crate::http::fields::MAX_NUMBER;
use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::{KeyId, LineageId, WorkspaceId};
use stead_api::time::Timestamp;

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
    let read = |row: &Row| Ok((row.get::<String>(0)?.into(), Timestamp(row.get(1)?)));
    tx.all("SELECT key_id, last_used_at FROM key_uses", &[], read)
}

/// Which lease.
pub(super) struct LeaseKey<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) lineage: &'a LineageId,
    /// The first instant of the month.
    pub(super) period: i64,
    pub(super) node: &'a str,
}

impl LeaseKey<'_> {
    fn of_lineage(&self) -> [Arg; 3] {
        [self.workspace.as_str().into(), self.lineage.as_str().into(), self.period.into()]
    }

    fn args(&self) -> [Arg; 4] {
        let [workspace, lineage, period] = self.of_lineage();
        [workspace, lineage, period, self.node.into()]
    }
}

/// A lineage's month.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) used: u64,
    pub(super) leased: u64,
    pub(super) forfeited: u64,
}

fn number(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(u64::try_from(row.get::<i64>(column)?).unwrap_or(0))
}

/// The wire can't carry more, so counting stops there.
fn arg(number: u64) -> Arg {
    i64::try_from(number).unwrap_or(MAX_NUMBER).min(MAX_NUMBER).into()
}

/// Reads a lineage's month and locks it: other nodes wait.
pub(super) fn lock_credits(tx: &mut Tx<'_>, lease: &LeaseKey<'_>) -> Result<Totals, Error> {
    tx.one(
        "INSERT INTO credits (workspace_id, lineage_id, period, used, leased, forfeited) VALUES ($1, $2, $3, 0, 0, 0) \
         ON CONFLICT (workspace_id, lineage_id, period) DO UPDATE SET used = credits.used RETURNING used, leased, forfeited",
        &lease.of_lineage(),
        |row| Ok(Totals { used: number(row, 0)?, leased: number(row, 1)?, forfeited: number(row, 2)? }),
    )
}

pub(super) fn save_credits(tx: &mut Tx<'_>, lease: &LeaseKey<'_>, totals: &Totals) -> Result<(), Error> {
    let [workspace, lineage, period] = lease.of_lineage();
    tx.run(
        "UPDATE credits SET used = $4, leased = $5, forfeited = $6 \
         WHERE workspace_id = $1 AND lineage_id = $2 AND period = $3",
        &[workspace, lineage, period, arg(totals.used), arg(totals.leased), arg(totals.forfeited)],
    )
    .map(drop)
}

/// What a lease was granted, and what of it was told to be spent.
pub(super) fn lease(tx: &mut Tx<'_>, lease: &LeaseKey<'_>) -> Result<Option<(u64, u64)>, Error> {
    tx.maybe(
        "SELECT granted, spent FROM credit_leases \
         WHERE workspace_id = $1 AND lineage_id = $2 AND period = $3 AND node_id = $4",
        &lease.args(),
        |row| Ok((number(row, 0)?, number(row, 1)?)),
    )
}

pub(super) fn save_lease(
    tx: &mut Tx<'_>,
    lease: &LeaseKey<'_>,
    granted: u64,
    spent: u64,
    now: Timestamp,
) -> Result<(), Error> {
    let [workspace, lineage, period, node] = lease.args();
    tx.run(
        "INSERT INTO credit_leases (workspace_id, lineage_id, period, node_id, granted, spent, renewed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (workspace_id, lineage_id, period, node_id) DO UPDATE SET \
         granted = excluded.granted, spent = excluded.spent, renewed_at = excluded.renewed_at",
        &[workspace, lineage, period, node, arg(granted), arg(spent), now.0.into()],
    )
    .map(drop)
}

pub(super) fn end_lease(tx: &mut Tx<'_>, lease: &LeaseKey<'_>) -> Result<(), Error> {
    tx.run(
        "DELETE FROM credit_leases WHERE workspace_id = $1 AND lineage_id = $2 AND period = $3 AND node_id = $4",
        &lease.args(),
    )
    .map(drop)
}

/// Turns other nodes' leases that were not renewed since `before` into forfeited credits; how many there were.
pub(super) fn forfeit(tx: &mut Tx<'_>, before: Timestamp, us: &str) -> Result<usize, Error> {
    let stale = tx.all(
        "SELECT workspace_id, lineage_id, period, node_id FROM credit_leases WHERE renewed_at < $1 AND node_id <> $2 \
         ORDER BY workspace_id, lineage_id, period, node_id",
        &[before.0.into(), us.into()],
        |row| {
            let (workspace, lineage): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((WorkspaceId::from(workspace), LineageId::from(lineage), row.get::<i64>(2)?, row.get::<String>(3)?))
        },
    )?;
    for (workspace, lineage, period, node) in &stale {
        let key = LeaseKey { workspace, lineage, period: *period, node };
        // Locked first, and only then read: its node may come back to life this very moment.
        let mut totals = lock_credits(tx, &key)?;
        let Some((granted, spent)) = lease(tx, &key)? else { continue };
        let open = granted.saturating_sub(spent);
        totals.forfeited = totals.forfeited.saturating_add(open);
        totals.leased = totals.leased.saturating_sub(open);
        end_lease(tx, &key)?;
        save_credits(tx, &key, &totals)?;
    }
    Ok(stale.len())
}

/// Workspace, lineage, first instant of the month, totals.
pub(super) type Month = (WorkspaceId, LineageId, i64, Totals);

pub(super) fn credits_since(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<Month>, Error> {
    tx.all(
        "SELECT workspace_id, lineage_id, period, used, leased, forfeited FROM credits WHERE period > $1",
        &[since.0.into()],
        |row| {
            let totals = Totals { used: number(row, 3)?, leased: number(row, 4)?, forfeited: number(row, 5)? };
            Ok((row.get::<String>(0)?.into(), row.get::<String>(1)?.into(), row.get(2)?, totals))
        },
    )
}
