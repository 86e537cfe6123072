//! Events that nobody's request makes: a key's end that comes near or has come, and a month's credits that go. What comes
//! next is planned in the transaction that gives rise to it; a job tells it in the transaction that writes the outbox and
//! plans what follows. So no restart and no second node repeats or loses one.

use super::outbox;
use super::queries::{self, CreditNotice};
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::{self, Mutation};
use crate::keys::{self, KeyRow};
use crate::members::Caller;
use crate::store::{Error, Tx, Written};
use crate::workspaces;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stead_api::id::{LineageId, WorkspaceId};
use stead_api::time::Timestamp;

/// So many days before its end a key's workspace is warned; 0 is the end.
const DAYS: [i64; 5] = [30, 14, 7, 1, 0];
const DAY: i64 = 86_400;
/// So many hundredths of the month's credits are told of.
const PERCENT: [u64; 2] = [80, 100];
/// Most notices that are told in one go.
const BATCH: i64 = 200;
/// So long a workspace waits that could not be told, in seconds.
const LATER: i64 = 600;
/// Most goes of one run.
const GOES: usize = 50;
/// So long it is remembered what was told of credits: longer than a month.
const CREDITS_KEPT: i64 = 70 * DAY;

/// The first of the warnings that lies ahead, and when; the end itself always counts.
fn next(expires_at: i64, now: Timestamp, before: i64) -> (i64, i64) {
    let at = |days: i64| Timestamp(expires_at).plus_seconds(-days * DAY).0;
    let ahead = DAYS.into_iter().find(|days| *days < before && at(*days) > now.0);
    let days = ahead.unwrap_or(0);
    (days, at(days))
}

/// Plans the warnings of a key that was written: those that lie ahead, and none that were planned for this end already.
pub fn plan(tx: &mut Tx<'_>, workspace: &WorkspaceId, key: &KeyRow, now: Timestamp) -> Result<(), Error> {
    let Some(expires_at) = key.expires_at.filter(|_| key.revoked_at.is_none()) else { return Ok(()) };
    let (days, next_at) = next(expires_at, now, i64::MAX);
    queries::plan_notice(tx, workspace, &key.id, (expires_at, days, next_at), true)
}

/// Notes, in the transaction that counts them, that a lineage's credits of a month have reached a share of its cap.
pub fn note_credits(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    lineage: &LineageId,
    period: i64,
    used: u64,
    cap: u64,
) -> Result<(), Error> {
    for percent in PERCENT {
        if cap > 0 && u128::from(used) * 100 >= u128::from(cap) * u128::from(percent) {
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            queries::note_credits(
                tx,
                &CreditNotice {
                    workspace: workspace.clone(),
                    lineage: lineage.to_string(),
                    period,
                    percent: number(percent),
                    used: number(used),
                    cap: number(cap),
                },
            )?;
        }
    }
    Ok(())
}

/// What is due in a workspace.
#[derive(Clone, Default)]
struct Due {
    keys: Vec<String>,
    credits: Vec<CreditNotice>,
}

/// Tells what is due, and forgets what is told for long, whether or not all could be told.
pub async fn run(app: &Arc<App>) -> Result<(), Failure> {
    let told = tell_due(app).await;
    forget(app).await.and(told)
}

async fn tell_due(app: &Arc<App>) -> Result<(), Failure> {
    // The last workspace that could not be told: its credits must not fill every batch.
    let mut passed: Option<String> = None;
    for _ in 0..GOES {
        let (now, after) = (app.clock.now(), passed.clone().unwrap_or_default());
        let read = move |tx: &mut Tx<'_>| -> Result<_, Error> {
            Ok((queries::due_keys(tx, now, BATCH)?, queries::untold_credits(tx, &after, BATCH)?))
        };
        let (keys, credits) = app.store.read(read).await?;
        let is_last = keys.len().max(credits.len()) < usize::try_from(BATCH).unwrap_or(usize::MAX);
        let mut due: BTreeMap<WorkspaceId, Due> = BTreeMap::new();
        for (workspace, key) in keys {
            due.entry(workspace).or_default().keys.push(key);
        }
        let in_order: Vec<WorkspaceId> = credits.iter().map(|notice| notice.workspace.clone()).collect();
        for notice in credits {
            due.entry(notice.workspace.clone()).or_default().credits.push(notice);
        }
        let mut untold = BTreeSet::new();
        for (workspace, due) in due {
            match tell(app, workspace.clone(), due).await {
                Ok(true) => continue,
                Ok(false) => tracing::error!(
                    workspace = workspace.as_str(),
                    "the workspace was changed behind the server's back; its webhooks are told nothing"
                ),
                Err(failure) => tracing::warn!(
                    workspace = workspace.as_str(),
                    "what time brought could not be told, and is told later: {failure:?}"
                ),
            }
            put_off(app, workspace.clone(), now).await?;
            untold.insert(workspace);
        }
        passed = in_order.iter().rfind(|workspace| untold.contains(workspace)).map(ToString::to_string).or(passed);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Makes the warnings of a workspace that could not be told wait, so that they don't fill every batch.
async fn put_off(app: &Arc<App>, workspace: WorkspaceId, now: Timestamp) -> Result<(), Failure> {
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        Ok(queries::put_off_notices(tx, &workspace, now, now.plus_seconds(LATER))?)
    };
    match app.store.write(work, |()| {}).await {
        Written::Aborted(failure) => Err(failure),
        Written::Committed(()) | Written::Unknown => Ok(()),
    }
}

/// Tells what is due in a workspace; false if somebody else wrote its row.
async fn tell(app: &Arc<App>, workspace: WorkspaceId, due: Due) -> Result<bool, Failure> {
    let locked = workspace.clone();
    let open = move |app: &App, tx: &mut Tx<'_>| {
        Ok(Some(workspaces::lock(tx, &locked)?).filter(|row| row.is_sealed(&app.ring)))
    };
    let operation = move |m: &mut Mutation<'_, '_>| {
        for key in &due.keys {
            tell_of_key(m, key)?;
        }
        for notice in &due.credits {
            tell_of_credits(m, notice)?;
        }
        Ok(().into())
    };
    mutation::write(app, workspace, Caller::system(), None, open, operation).await.map(|told| told.is_some())
}

fn tell_of_key(m: &mut Mutation<'_, '_>, id: &str) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let Some((expires_at, mut days)) = queries::key_notice(m.tx, &workspace, id)? else { return Ok(()) };
    let key = keys::find(m.tx, &workspace, &id.into())?;
    let key = key.filter(|key| key.revoked_at.is_none() && key.expires_at == Some(expires_at));
    // Revoked, or its end was taken back: then there is nothing to tell.
    let Some(key) = key else { return Ok(queries::drop_notice(m.tx, &workspace, id)?) };
    loop {
        // Those that were missed while no server ran are told, too, each by its name.
        let at = Timestamp(expires_at).plus_seconds(-days * DAY);
        if at > m.now {
            return Ok(queries::plan_notice(m.tx, &workspace, id, (expires_at, days, at.0), false)?);
        }
        let mut data = keys::told(&key);
        if days == 0 {
            m.event("api_key.expired", data);
            return Ok(queries::drop_notice(m.tx, &workspace, id)?);
        }
        data["days"] = days.into();
        m.event("api_key.expiring", data);
        days = DAYS.into_iter().find(|next| *next < days).unwrap_or(0);
    }
}

fn tell_of_credits(m: &mut Mutation<'_, '_>, notice: &CreditNotice) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    if !queries::tell_credits(m.tx, notice, m.now)? {
        return Ok(());
    }
    // The lineage's present key: of a rotated one and its successor, the successor.
    let keys = keys::capped_of_lineage(m.tx, &workspace, &notice.lineage.as_str().into())?;
    if let Some(key) = keys.last() {
        let mut data = keys::told(key);
        let reached = json!({
            "percent": notice.percent,
            "character_limit": notice.cap,
            "character_count": notice.used,
            "period_start_unix": Timestamp(notice.period).seconds(),
        });
        if let (Some(data), Some(reached)) = (data.as_object_mut(), reached.as_object()) {
            data.extend(reached.clone());
        }
        m.event("api_key.limit_reached", data);
    }
    Ok(())
}

async fn forget(app: &Arc<App>) -> Result<(), Failure> {
    for _ in 0..GOES {
        let now = app.clock.now();
        let work = move |tx: &mut Tx<'_>| -> Result<More, Failure> {
            queries::forget_credits(tx, now.plus_seconds(-CREDITS_KEPT))?;
            Ok(More(outbox::forget(tx, now)?))
        };
        match app.store.write(work, |_| {}).await {
            Written::Committed(More(true)) => {}
            Written::Committed(More(false)) => break,
            Written::Aborted(failure) => return Err(failure),
            Written::Unknown => return Err(Failure::OutcomeUnknown),
        }
    }
    Ok(())
}

/// Whether there is more to forget.
struct More(bool);

impl crate::store::Provable for More {
    fn proof(&self) -> Option<crate::store::Proof> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_lie_behind_are_not_planned() {
        let now = Timestamp::from_seconds(1_000 * DAY);
        let ends_in = |seconds: i64| now.plus_seconds(seconds).0;
        for (life, days) in [
            (31 * DAY, 30),
            (30 * DAY, 14),
            (29 * DAY, 14),
            (14 * DAY + 1, 14),
            (5 * DAY, 1),
            (DAY, 0),
            (60, 0),
            (0, 0),
            (-60, 0),
        ] {
            let (next_days, at) = next(ends_in(life), now, i64::MAX);
            assert_eq!((next_days, at), (days, ends_in(life - days * DAY)), "{life}");
        }
    }
}
