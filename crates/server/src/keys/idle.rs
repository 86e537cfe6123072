//! Keys that nobody uses are disabled where the workspace wants it. Never those of workspace admins: a workspace whose
//! only key rests must not lock itself out.

use super::row::IDLE;
use super::{disable_row, queries, use_in_memory};
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::{self, Mutation};
use crate::members::{self, Caller};
use crate::store::Tx;
use crate::workspaces;
use std::sync::Arc;
use stead_api::id::{KeyId, WorkspaceId};
use stead_api::time::Timestamp;

/// Keys that are looked at, and disabled, in one transaction.
const PAGE: i64 = 200;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Disables every key that was not used for as long as its workspace says, nor made or enabled since. What other nodes
/// have not told the store yet is a minute old at most, which is little beside days.
pub async fn disable_idle(app: &Arc<App>) -> Result<(), Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let all = workspaces::all(tx)?.into_iter().filter(|row| !row.is_disabled && row.is_sealed(&worker.ring));
        Ok(all.filter_map(|row| Some((row.id(), row.policies.disable_idle_after_days?))).collect::<Vec<_>>())
    };
    for (workspace, days) in app.store.read(read).await? {
        let mut after = Some((i64::MIN, String::new()));
        while let Some(place) = after {
            after = disable_page(app, workspace.clone(), days, place).await?;
        }
    }
    Ok(())
}

/// Does so for a page, and returns the place where the next one begins.
async fn disable_page(
    app: &Arc<App>,
    workspace: WorkspaceId,
    days: i64,
    after: (i64, String),
) -> Result<Option<(i64, String)>, Failure> {
    let (worker, id) = (app.clone(), workspace.clone());
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let now = worker.clock.now();
        let since = now.plus_seconds(-days * DAY_SECONDS);
        let rows = queries::idle(tx, &id, now, since, (after.0, &after.1), PAGE)?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
        let next = rows.last().filter(|_| is_full).map(|row| (row.created_at, row.id.clone()));
        let mut idle: Vec<KeyId> = Vec::new();
        for row in rows {
            let owner = members::principal(tx, &id, &row.principal_id.as_str().into())?;
            if !is_used(&worker, &row.id(), since) && !owner.is_some_and(|owner| owner.is_admin()) {
                idle.push(row.id());
            }
        }
        Ok((idle, next))
    };
    let (idle, next) = app.store.read(read).await?;
    if !idle.is_empty() {
        disable(app, workspace, days, idle).await?;
    }
    Ok(next)
}

async fn disable(app: &Arc<App>, workspace: WorkspaceId, days: i64, idle: Vec<KeyId>) -> Result<(), Failure> {
    let id = workspace.clone();
    let open = move |_: &App, tx: &mut Tx<'_>| workspaces::lock(tx, &id).map(Some);
    let operation = move |m: &mut Mutation<'_, '_>| {
        if m.workspace.policies.disable_idle_after_days != Some(days) {
            // Changed since it was read: the next time is another one's.
            return Ok(().into());
        }
        let (workspace, since) = (m.workspace_id(), m.now.plus_seconds(-days * DAY_SECONDS));
        for key in &idle {
            let used = queries::last_used(m.tx, &workspace, key)?;
            let row = queries::find(m.tx, &workspace, key.as_str())?;
            let row = row.filter(|row| {
                let is_resting = [used, row.enabled_at].into_iter().flatten().all(|at| at < since.0);
                let is_trusted = row.is_sealed(&m.app.ring, &workspace);
                row.revoked_at.is_none() && is_resting && is_trusted && !is_used(m.app, key, since)
            });
            let Some(row) = row else { continue };
            // Perhaps an admin only since it was read.
            let owner = members::principal(m.tx, &workspace, &row.principal_id.as_str().into())?;
            if !owner.is_some_and(|owner| owner.is_admin()) {
                disable_row(m, row, Some(IDLE))?;
            }
        }
        Ok(().into())
    };
    mutation::write(app, workspace, Caller::system(), None, open, operation).await.map(drop)
}

/// Whether this node knows of a use that it may not have told the store.
fn is_used(app: &App, key: &KeyId, since: Timestamp) -> bool {
    use_in_memory(app, key).is_some_and(|at| at >= since)
}
