//! The SQL of usage.

use super::Resolution;
use crate::store::{Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

/// What a block is known by, beside its workspace and resolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    /// Seconds.
    pub(super) starts_at: i64,
    /// Who wrote it.
    pub(super) node: String,
    /// Its number among those of the node.
    pub(super) seq: i64,
}

/// Blocks read at once: with the largest ones, 16 MiB.
const PAGE: usize = 64;

fn micros(seconds: i64) -> i64 {
    Timestamp::from_seconds(seconds).0
}

fn name(row: &Row) -> Result<Name, Error> {
    Ok(Name { starts_at: Timestamp(row.get(0)?).seconds(), node: row.get(1)?, seq: row.get(2)? })
}

/// Writes a block; the same one again does nothing.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resolution: Resolution,
    name: &Name,
    is_folded: bool,
    body: &[u8],
) -> Result<(), Error> {
    tx.run(
        "INSERT INTO usage_blocks (workspace_id, resolution, starts_at, node_id, seq, is_folded, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (workspace_id, resolution, starts_at, node_id, seq) DO NOTHING",
        &[
            workspace.as_str().into(),
            resolution.unit().into(),
            micros(name.starts_at).into(),
            name.node.as_str().into(),
            name.seq.into(),
            is_folded.into(),
            body.into(),
        ],
    )
    .map(drop)
}

/// Every block of the spans that begin in `from..to`, page by page.
pub(super) fn each<E: From<Error>>(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resolution: Resolution,
    (from, to): (i64, i64),
    mut take: impl FnMut(Name, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = Name { starts_at: from, node: String::new(), seq: -1 };
    loop {
        let page = tx.all(
            "SELECT starts_at, node_id, seq, body FROM usage_blocks WHERE workspace_id = $1 AND resolution = $2 \
             AND (starts_at, node_id, seq) > ($3, $4, $5) AND starts_at < $6 ORDER BY starts_at, node_id, seq LIMIT $7",
            &[
                workspace.as_str().into(),
                resolution.unit().into(),
                micros(after.starts_at).into(),
                after.node.as_str().into(),
                after.seq.into(),
                micros(to).into(),
                i64::try_from(PAGE).unwrap_or(i64::MAX).into(),
            ],
            |row| Ok((name(row)?, row.get::<Vec<u8>>(3)?)),
        )?;
        let is_last = page.len() < PAGE;
        for (name, body) in page {
            after.clone_from(&name);
            take(name, body)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Spans that began up to an instant and have blocks; with `loose`, such that were not gathered. The oldest first.
pub(super) fn spans(
    tx: &mut Tx<'_>,
    resolution: Resolution,
    up_to: i64,
    loose: bool,
    limit: usize,
) -> Result<Vec<(WorkspaceId, i64)>, Error> {
    let sql = if loose {
        "SELECT DISTINCT starts_at, workspace_id FROM usage_blocks WHERE resolution = $1 AND starts_at <= $2 \
         AND NOT is_folded ORDER BY starts_at, workspace_id LIMIT $3"
    } else {
        "SELECT DISTINCT starts_at, workspace_id FROM usage_blocks WHERE resolution = $1 AND starts_at <= $2 \
         ORDER BY starts_at, workspace_id LIMIT $3"
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.all(sql, &[resolution.unit().into(), micros(up_to).into(), limit.into()], |row| {
        Ok((row.get::<String>(1)?.into(), Timestamp(row.get(0)?).seconds()))
    })
}

/// The blocks of a span with their sizes; with `loose`, those that were not gathered.
pub(super) fn of_span(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resolution: Resolution,
    starts_at: i64,
    loose: bool,
) -> Result<Vec<(Name, usize)>, Error> {
    tx.all(
        "SELECT starts_at, node_id, seq, CAST(LENGTH(body) AS BIGINT) FROM usage_blocks WHERE workspace_id = $1 \
         AND resolution = $2 AND starts_at = $3 AND (NOT is_folded OR NOT $4) ORDER BY node_id, seq",
        &[workspace.as_str().into(), resolution.unit().into(), micros(starts_at).into(), loose.into()],
        |row| Ok((name(row)?, usize::try_from(row.get::<i64>(3)?).unwrap_or(0))),
    )
}

/// A block's bytes.
pub(super) fn body(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resolution: Resolution,
    name: &Name,
) -> Result<Option<Vec<u8>>, Error> {
    tx.maybe(
        "SELECT body FROM usage_blocks WHERE workspace_id = $1 AND resolution = $2 AND starts_at = $3 AND node_id = $4 \
         AND seq = $5",
        &[
            workspace.as_str().into(),
            resolution.unit().into(),
            micros(name.starts_at).into(),
            name.node.as_str().into(),
            name.seq.into(),
        ],
        |row| row.get(0),
    )
}

/// Deletes a block; false if it is not there any more.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resolution: Resolution,
    name: &Name,
) -> Result<bool, Error> {
    let deleted = tx.run(
        "DELETE FROM usage_blocks WHERE workspace_id = $1 AND resolution = $2 AND starts_at = $3 AND node_id = $4 \
         AND seq = $5",
        &[
            workspace.as_str().into(),
            resolution.unit().into(),
            micros(name.starts_at).into(),
            name.node.as_str().into(),
            name.seq.into(),
        ],
    )?;
    Ok(deleted > 0)
}

/// Forgets the spans that began up to an instant.
pub(super) fn forget(tx: &mut Tx<'_>, resolution: Resolution, up_to: i64) -> Result<(), Error> {
    let sql = "DELETE FROM usage_blocks WHERE resolution = $1 AND starts_at <= $2";
    tx.run(sql, &[resolution.unit().into(), micros(up_to).into()]).map(drop)
}
