//! The SQL of webhooks, of the outbox and of notices.

use super::row::WebhookRow;
use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

macro_rules! columns {
    () => {
        "id, name, url, is_disabled, is_auto_disabled, retry_enabled, events, headers, secret, next_secret, \
         next_secret_from, created_at, version, seal, workspace_id"
    };
}

fn read(row: &Row) -> Result<WebhookRow, Error> {
    let events: Option<String> = row.get(6)?;
    Ok(WebhookRow {
        id: row.get(0)?,
        name: row.get(1)?,
        url: row.get(2)?,
        is_disabled: row.get(3)?,
        is_auto_disabled: row.get(4)?,
        retry_enabled: row.get(5)?,
        // A list that can't be read is none; then the seal doesn't fit, either.
        events: events.map(|text| serde_json::from_str(&text).unwrap_or_default()),
        headers: row.get(7)?,
        secret: row.get(8)?,
        next_secret: row.get(9)?,
        next_secret_from: row.get(10)?,
        created_at: row.get(11)?,
        version: row.get(12)?,
        seal: row.get(13)?,
    })
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<WebhookRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM webhooks WHERE workspace_id = $1 AND id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

/// Every webhook of a workspace, the oldest first: by the key alone, and there are few.
pub(super) fn all(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<WebhookRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM webhooks WHERE workspace_id = $1 ORDER BY created_at, id");
    tx.all(sql, &[workspace.as_str().into()], read)
}

pub(super) fn all_workspaces(tx: &mut Tx<'_>) -> Result<Vec<(WorkspaceId, WebhookRow)>, Error> {
    let read = |row: &Row| Ok((row.get::<String>(14)?.into(), read(row)?));
    tx.all(concat!("SELECT ", columns!(), " FROM webhooks"), &[], read)
}

/// Writes a whole row, new or changed. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &WebhookRow) -> Result<(), Error> {
    let events: Option<String> = row.events.as_ref().and_then(|events| serde_json::to_string(events).ok());
    tx.run(
        "INSERT INTO webhooks (id, name, url, is_disabled, is_auto_disabled, retry_enabled, events, headers, secret, \
         next_secret, next_secret_from, created_at, version, seal, workspace_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (workspace_id, id) DO UPDATE SET name = excluded.name, is_disabled = excluded.is_disabled, \
         is_auto_disabled = excluded.is_auto_disabled, retry_enabled = excluded.retry_enabled, \
         events = excluded.events, headers = excluded.headers, secret = excluded.secret, \
         next_secret = excluded.next_secret, next_secret_from = excluded.next_secret_from, \
         version = excluded.version, seal = excluded.seal",
        &[
            row.id.as_str().into(),
            row.name.as_str().into(),
            row.url.as_str().into(),
            row.is_disabled.into(),
            row.is_auto_disabled.into(),
            row.retry_enabled.into(),
            events.into(),
            row.headers.clone().into(),
            row.secret.clone().into(),
            row.next_secret.clone().into(),
            row.next_secret_from.into(),
            row.created_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            workspace.as_str().into(),
        ],
    )
    .map(drop)
}

pub(super) fn delete(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<(), Error> {
    let args: [Arg; 2] = [workspace.as_str().into(), id.into()];
    // What is finished is forgotten later like everything that is: it may be much.
    tx.run(
        "DELETE FROM webhook_deliveries WHERE workspace_id = $1 AND webhook_id = $2 AND finished_at IS NULL",
        &args,
    )?;
    tx.run("DELETE FROM webhook_states WHERE workspace_id = $1 AND webhook_id = $2", &args)?;
    tx.run("DELETE FROM webhooks WHERE workspace_id = $1 AND id = $2", &args).map(drop)
}

/// How a webhook fares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Since the last success.
    pub(super) failures: i64,
    pub(super) last_success_at: Option<i64>,
    pub(super) last_failure_at: Option<i64>,
    pub(super) last_failure_status: Option<i64>,
}

pub(super) fn state(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<State, Error> {
    let state = tx.maybe(
        "SELECT failures, last_success_at, last_failure_at, last_failure_status FROM webhook_states \
         WHERE workspace_id = $1 AND webhook_id = $2",
        &[workspace.as_str().into(), id.into()],
        |row| {
            Ok(State {
                failures: row.get(0)?,
                last_success_at: row.get(1)?,
                last_failure_at: row.get(2)?,
                last_failure_status: row.get(3)?,
            })
        },
    )?;
    Ok(state.unwrap_or_default())
}

pub(super) fn save_state(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str, state: &State) -> Result<(), Error> {
    tx.run(
        "INSERT INTO webhook_states (workspace_id, webhook_id, failures, last_success_at, last_failure_at, \
         last_failure_status) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, webhook_id) DO UPDATE SET \
         failures = excluded.failures, last_success_at = excluded.last_success_at, \
         last_failure_at = excluded.last_failure_at, last_failure_status = excluded.last_failure_status",
        &[
            workspace.as_str().into(),
            id.into(),
            state.failures.into(),
            state.last_success_at.into(),
            state.last_failure_at.into(),
            state.last_failure_status.into(),
        ],
    )
    .map(drop)
}

/// A delivery has arrived.
pub(super) fn note_success(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str, now: Timestamp) -> Result<(), Error> {
    tx.run(
        "INSERT INTO webhook_states (workspace_id, webhook_id, failures, last_success_at, last_failure_at, \
         last_failure_status) VALUES ($1, $2, 0, $3, NULL, NULL) ON CONFLICT (workspace_id, webhook_id) DO UPDATE SET \
         failures = 0, last_success_at = excluded.last_success_at",
        &[workspace.as_str().into(), id.into(), now.0.into()],
    )
    .map(drop)
}

/// An attempt has failed. Counted where it is stored, since several nodes count.
pub(super) fn note_failure(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    id: &str,
    status: Option<i64>,
    now: Timestamp,
) -> Result<State, Error> {
    tx.one(
        "INSERT INTO webhook_states (workspace_id, webhook_id, failures, last_success_at, last_failure_at, \
         last_failure_status) VALUES ($1, $2, 1, NULL, $3, $4) ON CONFLICT (workspace_id, webhook_id) DO UPDATE SET \
         failures = webhook_states.failures + 1, last_failure_at = excluded.last_failure_at, \
         last_failure_status = excluded.last_failure_status RETURNING failures, last_success_at",
        &[workspace.as_str().into(), id.into(), now.0.into(), status.into()],
        |row| Ok(State { failures: row.get(0)?, last_success_at: row.get(1)?, ..State::default() }),
    )
}

/// The keys whose next notice is due, by workspace.
pub(super) fn due_keys(tx: &mut Tx<'_>, now: Timestamp, most: i64) -> Result<Vec<(WorkspaceId, String)>, Error> {
    tx.all(
        "SELECT workspace_id, key_id FROM key_notices WHERE next_at <= $1 ORDER BY next_at LIMIT $2",
        &[now.0.into(), most.into()],
        |row| Ok((row.get::<String>(0)?.into(), row.get(1)?)),
    )
}

/// Makes what is due in a workspace wait.
pub(super) fn put_off_notices(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE key_notices SET next_at = $3 WHERE workspace_id = $1 AND next_at <= $2";
    tx.run(sql, &[workspace.as_str().into(), now.0.into(), until.0.into()]).map(drop)
}

/// The end that a key's notices are about, and how many days before it the next one comes.
pub(super) fn key_notice(tx: &mut Tx<'_>, workspace: &WorkspaceId, key: &str) -> Result<Option<(i64, i64)>, Error> {
    tx.maybe(
        "SELECT expires_at, days FROM key_notices WHERE workspace_id = $1 AND key_id = $2",
        &[workspace.as_str().into(), key.into()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Plans a key's next notice; with `only_new`, not if there is one for the same end.
pub(super) fn plan_notice(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    key: &str,
    (expires_at, days, next_at): (i64, i64, i64),
    only_new: bool,
) -> Result<(), Error> {
    tx.run(
        "INSERT INTO key_notices (workspace_id, key_id, expires_at, days, next_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (workspace_id, key_id) DO UPDATE SET expires_at = excluded.expires_at, days = excluded.days, \
         next_at = excluded.next_at WHERE NOT $6 OR key_notices.expires_at <> excluded.expires_at",
        &[workspace.as_str().into(), key.into(), expires_at.into(), days.into(), next_at.into(), only_new.into()],
    )
    .map(drop)
}

pub(super) fn drop_notice(tx: &mut Tx<'_>, workspace: &WorkspaceId, key: &str) -> Result<(), Error> {
    let args = [workspace.as_str().into(), key.into()];
    tx.run("DELETE FROM key_notices WHERE workspace_id = $1 AND key_id = $2", &args).map(drop)
}

/// That a lineage has reached a share of its month.
#[derive(Clone, Debug)]
pub(super) struct CreditNotice {
    pub(super) workspace: WorkspaceId,
    pub(super) lineage: String,
    pub(super) period: i64,
    pub(super) percent: i64,
    pub(super) used: i64,
    pub(super) cap: i64,
}

pub(super) fn note_credits(tx: &mut Tx<'_>, notice: &CreditNotice) -> Result<(), Error> {
    tx.run(
        "INSERT INTO credit_notices (workspace_id, lineage_id, period, percent, used, cap, told_at) \
         VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (workspace_id, lineage_id, period, percent) DO NOTHING",
        &[
            notice.workspace.as_str().into(),
            notice.lineage.as_str().into(),
            notice.period.into(),
            notice.percent.into(),
            notice.used.into(),
            notice.cap.into(),
        ],
    )
    .map(drop)
}

/// What was not told yet, by workspace, of those whose ids follow `after`.
pub(super) fn untold_credits(tx: &mut Tx<'_>, after: &str, most: i64) -> Result<Vec<CreditNotice>, Error> {
    tx.all(
        "SELECT workspace_id, lineage_id, period, percent, used, cap FROM credit_notices WHERE told_at IS NULL \
         AND workspace_id > $1 ORDER BY workspace_id, lineage_id, period, percent LIMIT $2",
        &[after.into(), most.into()],
        |row| {
            Ok(CreditNotice {
                workspace: row.get::<String>(0)?.into(),
                lineage: row.get(1)?,
                period: row.get(2)?,
                percent: row.get(3)?,
                used: row.get(4)?,
                cap: row.get(5)?,
            })
        },
    )
}

/// Whether it was not told yet; from now on it is.
pub(super) fn tell_credits(tx: &mut Tx<'_>, notice: &CreditNotice, now: Timestamp) -> Result<bool, Error> {
    let told = tx.run(
        "UPDATE credit_notices SET told_at = $5 WHERE workspace_id = $1 AND lineage_id = $2 AND period = $3 \
         AND percent = $4 AND told_at IS NULL",
        &[
            notice.workspace.as_str().into(),
            notice.lineage.as_str().into(),
            notice.period.into(),
            notice.percent.into(),
            now.0.into(),
        ],
    )?;
    Ok(told > 0)
}

pub(super) fn forget_credits(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), Error> {
    tx.run("DELETE FROM credit_notices WHERE period < $1 AND told_at IS NOT NULL", &[before.0.into()]).map(drop)
}
