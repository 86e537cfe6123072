//! The SQL of the outbox.

use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

/// An event as stored.
#[derive(Clone, Debug)]
pub(super) struct EventRow {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) kind: String,
    /// Deliveries about the same thing keep their order.
    pub(super) object_id: String,
    /// What goes out, byte for byte.
    pub(super) body: String,
    pub(super) at: i64,
    pub(super) seal: Vec<u8>,
}

/// A delivery as stored; open while it has no `finished_at`.
#[derive(Clone, Debug)]
pub(super) struct DeliveryRow {
    pub(super) seq: i64,
    pub(super) event_id: String,
    pub(super) kind: String,
    pub(super) at: i64,
    pub(super) status: String,
    pub(super) attempts: i64,
    pub(super) next_at: i64,
    pub(super) last_at: Option<i64>,
    pub(super) last_status: Option<i64>,
    pub(super) last_error: Option<String>,
    pub(super) finished_at: Option<i64>,
}

/// Which delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose.
    pub workspace: WorkspaceId,
    /// To which webhook.
    pub webhook: String,
    /// Of which event.
    pub seq: i64,
}

impl Place {
    fn args<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
        let place = [self.workspace.as_str().into(), self.webhook.as_str().into(), self.seq.into()];
        place.into_iter().chain(more).collect()
    }
}

/// The last event's place. The workspace's lock makes the next one nobody else's.
pub(super) fn last_seq(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<i64, Error> {
    let sql = "SELECT seq FROM webhook_events WHERE workspace_id = $1 ORDER BY workspace_id, seq DESC LIMIT 1";
    Ok(tx.maybe(sql, &[workspace.as_str().into()], |row| row.get(0))?.unwrap_or(0))
}

pub(super) fn insert_event(tx: &mut Tx<'_>, workspace: &WorkspaceId, event: &EventRow) -> Result<(), Error> {
    tx.run(
        "INSERT INTO webhook_events (workspace_id, seq, id, kind, object_id, body, at, seal) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            workspace.as_str().into(),
            event.seq.into(),
            event.id.as_str().into(),
            event.kind.as_str().into(),
            event.object_id.as_str().into(),
            event.body.as_str().into(),
            event.at.into(),
            event.seal.clone().into(),
        ],
    )
    .map(drop)
}

/// When a delivery that is opened now can be sent: not before the open one in front of it about the same object.
fn first_at(tx: &mut Tx<'_>, place: &Place, object: &str, now: Timestamp) -> Result<i64, Error> {
    let before: Option<i64> = tx.maybe(
        "SELECT next_at FROM webhook_deliveries WHERE workspace_id = $1 AND webhook_id = $2 AND seq < $3 \
         AND object_id = $4 AND finished_at IS NULL ORDER BY seq DESC LIMIT 1",
        &place.args([object.into()]),
        |row| row.get(0),
    )?;
    Ok(before.map_or(now.0, |at| at.max(now.0)))
}

pub(super) fn insert_delivery(
    tx: &mut Tx<'_>,
    place: &Place,
    object: &str,
    now: Timestamp,
    given_up: Option<&str>,
) -> Result<(), Error> {
    let status = if given_up.is_some() { "dead" } else { "pending" };
    let next_at = first_at(tx, place, object, now)?;
    tx.run(
        "INSERT INTO webhook_deliveries (workspace_id, webhook_id, seq, object_id, status, attempts, since, next_at, \
         claimed_by, claimed_until, last_at, last_status, last_error, finished_at) \
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7, NULL, 0, NULL, NULL, $8, $9)",
        &place.args([
            object.into(),
            status.into(),
            now.0.into(),
            next_at.into(),
            given_up.into(),
            given_up.map(|_| now.0).into(),
        ]),
    )
    .map(drop)
}

/// How many deliveries of a webhook are open; no more than `most` are counted.
pub(super) fn count_open(tx: &mut Tx<'_>, workspace: &WorkspaceId, webhook: &str, most: i64) -> Result<i64, Error> {
    tx.one(
        "SELECT COUNT(*) FROM (SELECT 1 AS one FROM webhook_deliveries \
         WHERE workspace_id = $1 AND webhook_id = $2 AND finished_at IS NULL LIMIT $3) open",
        &[workspace.as_str().into(), webhook.into(), most.into()],
        |row| row.get(0),
    )
}

/// The place of an event, and what it is about.
pub(super) fn place_of(tx: &mut Tx<'_>, workspace: &WorkspaceId, event: &str) -> Result<Option<(i64, String)>, Error> {
    let sql = "SELECT seq, object_id FROM webhook_events WHERE workspace_id = $1 AND id = $2";
    tx.maybe(sql, &[workspace.as_str().into(), event.into()], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Opens a delivery anew; whether there is such a one.
pub(super) fn reopen(tx: &mut Tx<'_>, place: &Place, object: &str, now: Timestamp) -> Result<bool, Error> {
    let next_at = first_at(tx, place, object, now)?;
    let touched = tx.run(
        "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, since = $4, next_at = $5, claimed_by = NULL, \
         claimed_until = 0, finished_at = NULL WHERE workspace_id = $1 AND webhook_id = $2 AND seq = $3",
        &place.args([now.0.into(), next_at.into()]),
    )?;
    Ok(touched > 0)
}

/// The deliveries of a page and one more, which tells whether there is a next page. Newest first, before `before`.
pub(super) fn page(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    status: Option<&str>,
    before: i64,
    limit: i64,
) -> Result<Vec<DeliveryRow>, Error> {
    tx.all(
        "SELECT d.seq, e.id, e.kind, e.at, d.status, d.attempts, d.next_at, d.last_at, d.last_status, d.last_error, \
         d.finished_at FROM webhook_deliveries d JOIN webhook_events e \
         ON e.workspace_id = d.workspace_id AND e.seq = d.seq \
         WHERE d.workspace_id = $1 AND d.webhook_id = $2 AND d.seq < $3 \
         AND (CAST($4 AS TEXT) IS NULL OR d.status = $4) ORDER BY d.seq DESC LIMIT $5",
        &[workspace.as_str().into(), webhook.into(), before.into(), status.into(), limit.into()],
        |row: &Row| {
            Ok(DeliveryRow {
                seq: row.get(0)?,
                event_id: row.get(1)?,
                kind: row.get(2)?,
                at: row.get(3)?,
                status: row.get(4)?,
                attempts: row.get(5)?,
                next_at: row.get(6)?,
                last_at: row.get(7)?,
                last_status: row.get(8)?,
                last_error: row.get(9)?,
                finished_at: row.get(10)?,
            })
        },
    )
}

/// Gives up everything of a webhook that is open.
pub(super) fn give_up_open(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    why: &str,
    now: Timestamp,
) -> Result<u64, Error> {
    tx.run(
        "UPDATE webhook_deliveries SET status = 'dead', last_error = $3, finished_at = $4, claimed_by = NULL, \
         claimed_until = 0 WHERE workspace_id = $1 AND webhook_id = $2 AND finished_at IS NULL",
        &[workspace.as_str().into(), webhook.into(), why.into(), now.0.into()],
    )
}

/// Whether anything could be sent now.
pub(super) fn is_any_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    let sql =
        "SELECT 1 FROM webhook_deliveries WHERE finished_at IS NULL AND next_at <= $1 AND claimed_until <= $1 LIMIT 1";
    let one: Option<i64> = tx.maybe(sql, &[now.0.into()], |_| Ok(1))?;
    Ok(one.is_some())
}

/// The next webhook after another one that has open deliveries.
pub(super) fn next_webhook(tx: &mut Tx<'_>, after: &(String, String)) -> Result<Option<(String, String)>, Error> {
    tx.maybe(
        "SELECT workspace_id, webhook_id FROM webhook_deliveries WHERE finished_at IS NULL \
         AND (workspace_id, webhook_id) > ($1, $2) ORDER BY workspace_id, webhook_id LIMIT 1",
        &[after.0.as_str().into(), after.1.as_str().into()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// A delivery that may be sent now.
pub(super) struct Due {
    pub(super) attempts: i64,
    pub(super) since: i64,
    pub(super) event: EventRow,
}

/// What is due of a webhook and not under way: of each object only what comes first.
pub(super) fn due(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    now: Timestamp,
    most: i64,
) -> Result<Vec<Due>, Error> {
    tx.all(
        "SELECT d.attempts, d.since, e.seq, e.id, e.kind, e.object_id, e.body, e.at, e.seal \
         FROM webhook_deliveries d JOIN webhook_events e ON e.workspace_id = d.workspace_id AND e.seq = d.seq \
         WHERE d.workspace_id = $1 AND d.webhook_id = $2 AND d.finished_at IS NULL AND d.next_at <= $3 \
         AND d.claimed_until <= $3 AND NOT EXISTS (SELECT 1 FROM webhook_deliveries b \
             WHERE b.workspace_id = d.workspace_id AND b.webhook_id = d.webhook_id AND b.object_id = d.object_id \
             AND b.finished_at IS NULL AND b.seq < d.seq) \
         ORDER BY d.next_at, d.seq LIMIT $4",
        &[workspace.as_str().into(), webhook.into(), now.0.into(), most.into()],
        |row| {
            let event = EventRow {
                seq: row.get(2)?,
                id: row.get(3)?,
                kind: row.get(4)?,
                object_id: row.get(5)?,
                body: row.get(6)?,
                at: row.get(7)?,
                seal: row.get(8)?,
            };
            Ok(Due { attempts: row.get(0)?, since: row.get(1)?, event })
        },
    )
}

/// Takes a delivery for a node; false if another one was faster.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    place: &Place,
    node: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, Error> {
    let touched = tx.run(
        "UPDATE webhook_deliveries SET claimed_by = $4, claimed_until = $5 WHERE workspace_id = $1 AND webhook_id = $2 \
         AND seq = $3 AND finished_at IS NULL AND claimed_until <= $6",
        &place.args([node.into(), until.0.into(), now.0.into()]),
    )?;
    Ok(touched > 0)
}

/// Frees what other nodes have claimed: where no other node can be.
pub(super) fn free_claims(tx: &mut Tx<'_>, node: &str) -> Result<(), Error> {
    tx.run(
        "UPDATE webhook_deliveries SET claimed_by = NULL, claimed_until = 0 \
         WHERE finished_at IS NULL AND claimed_by IS NOT NULL AND claimed_by <> $1",
        &[node.into()],
    )
    .map(drop)
}

/// A delivery has arrived, whoever claims it meanwhile; false if it is finished already.
pub(super) fn arrived(tx: &mut Tx<'_>, place: &Place, status: i64, now: Timestamp) -> Result<bool, Error> {
    let touched = tx.run(
        "UPDATE webhook_deliveries SET status = 'delivered', attempts = attempts + 1, claimed_by = NULL, \
         claimed_until = 0, last_at = $4, last_status = $5, last_error = NULL, finished_at = $4 \
         WHERE workspace_id = $1 AND webhook_id = $2 AND seq = $3 AND finished_at IS NULL",
        &place.args([now.0.into(), status.into()]),
    )?;
    Ok(touched > 0)
}

/// How an attempt failed, and when the next one is; `None`: it is given up.
pub(super) struct Failed<'a> {
    pub(super) status: Option<i64>,
    pub(super) why: &'a str,
    pub(super) next_at: Option<i64>,
    /// Attempts before this one.
    pub(super) attempts: i64,
    pub(super) node: &'a str,
}

/// An attempt has failed; false if it is no longer this node's.
pub(super) fn failed(tx: &mut Tx<'_>, place: &Place, failed: &Failed<'_>, now: Timestamp) -> Result<bool, Error> {
    let status = if failed.next_at.is_some() { "failed" } else { "dead" };
    let finished_at = if failed.next_at.is_some() { None } else { Some(now.0) };
    let touched = tx.run(
        "UPDATE webhook_deliveries SET status = $4, attempts = attempts + 1, next_at = $5, claimed_by = NULL, \
         claimed_until = 0, last_at = $6, last_status = $7, last_error = $8, finished_at = $9 \
         WHERE workspace_id = $1 AND webhook_id = $2 AND seq = $3 AND finished_at IS NULL AND attempts = $10 \
         AND claimed_by = $11",
        &place.args([
            status.into(),
            failed.next_at.unwrap_or(now.0).into(),
            now.0.into(),
            failed.status.into(),
            failed.why.into(),
            finished_at.into(),
            failed.attempts.into(),
            failed.node.into(),
        ]),
    )?;
    Ok(touched > 0)
}

/// What waits behind a delivery about the same object waits as long, so that nobody looks at it meanwhile.
pub(super) fn hold_back(tx: &mut Tx<'_>, place: &Place, object: &str, until: i64) -> Result<(), Error> {
    tx.run(
        "UPDATE webhook_deliveries SET next_at = $5 WHERE workspace_id = $1 AND webhook_id = $2 AND seq > $3 \
         AND object_id = $4 AND finished_at IS NULL AND next_at < $5",
        &place.args([object.into(), until.into()]),
    )
    .map(drop)
}

/// What waited behind a delivery waits no longer.
pub(super) fn release(tx: &mut Tx<'_>, place: &Place, object: &str, now: Timestamp) -> Result<(), Error> {
    tx.run(
        "UPDATE webhook_deliveries SET next_at = $5 WHERE workspace_id = $1 AND webhook_id = $2 AND seq > $3 \
         AND object_id = $4 AND finished_at IS NULL AND next_at > $5",
        &place.args([object.into(), now.0.into()]),
    )
    .map(drop)
}

/// Forgets what is finished for long, and the events that nobody is to be told any more; how many rows that were.
pub(super) fn forget(
    tx: &mut Tx<'_>,
    delivered_before: Timestamp,
    dead_before: Timestamp,
    most: i64,
) -> Result<u64, Error> {
    let mut rows = 0;
    for (status, before) in [("delivered", delivered_before), ("dead", dead_before)] {
        rows += tx.run(
            "DELETE FROM webhook_deliveries WHERE (workspace_id, webhook_id, seq) IN (SELECT workspace_id, webhook_id, \
             seq FROM webhook_deliveries WHERE finished_at IS NOT NULL AND finished_at < $1 AND status = $2 \
             ORDER BY finished_at LIMIT $3)",
            &[before.0.into(), status.into(), most.into()],
        )?;
    }
    rows += tx.run(
        "DELETE FROM webhook_events WHERE (workspace_id, seq) IN (SELECT e.workspace_id, e.seq FROM webhook_events e \
         WHERE e.at < $1 AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.workspace_id = e.workspace_id \
         AND d.seq = e.seq) ORDER BY e.at LIMIT $2)",
        &[delivered_before.0.into(), most.into()],
    )?;
    Ok(rows)
}
