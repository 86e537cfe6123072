//! Keys that are disabled by others than the workspace: by their holders (wire §8.1), and because somebody has found
//! them in public. Whether they may be is one rule for both.

use super::row::{EXPOSED, SELF_DISABLED};
use super::{KeyRow, disable_row, not_found, notice, queries, save};
use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Mutation};
use crate::members::{Caller, Request};
use crate::store::Tx;
use crate::verify;
use crate::workspaces::{self, WorkspaceRow};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::time::Timestamp;
use stead_api::workspace::ReportApiKey;

/// A key that is reported again within so long is not told of again: who holds a key could flood the log with it.
const QUIET_SECONDS: i64 = 60 * 60;
/// As many reported keys are remembered before those are forgotten whose hour is over.
const REMEMBERED: usize = 10_000;

/// Whether a key may be disabled by others (wire §8.3): the workspace's word, else the key's own, else yes.
pub fn may_be_disabled(workspace: &WorkspaceRow, key: &KeyRow) -> bool {
    workspace.third_party_disable_allowed.or(key.third_party_disable_allowed).unwrap_or(true)
}

/// Whether a disabled key may be enabled again by who asks.
pub(super) fn check_enabling(m: &Mutation<'_, '_>, key: &KeyRow) -> Result<(), Failure> {
    if key.is_exposed() {
        let message = "The key's secret was found in public, so the key can't be enabled again. Rotate it.";
        return Err(Failure::refused(ErrorCode::ApiKeyExposed, message));
    }
    if key.disable_reason.as_deref() == Some(SELF_DISABLED) && !m.authority.is_admin {
        let message = "Only workspace admins may enable a key that its holder has disabled.";
        return Err(Failure::refused(ErrorCode::Forbidden, message));
    }
    Ok(())
}

/// Disables the key that asks, if the workspace or the key itself lets its holder do so.
pub async fn disable_self(app: &Arc<App>, caller: &Caller, retry: Option<Retry>) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let row = m.authority.key.clone().ok_or_else(not_found)?;
        if !may_be_disabled(&m.workspace, &row) {
            let message = "This key may not be disabled by its holder. Ask a workspace admin.";
            return Err(Failure::refused(ErrorCode::SelfDisableNotAllowed, message));
        }
        notice::of_self_disabling(m, &row)?;
        disable_row(m, row, Some(SELF_DISABLED))?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Keys that were reported lately, so that the same report again costs no look at the store. The store has the last
/// word: this is each node's own, and gone with it.
#[derive(Default)]
pub struct Reported(Mutex<HashMap<u128, Timestamp>>);

impl Reported {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_recent(&self, key: u128, now: Timestamp) -> bool {
        self.lock().get(&key).is_some_and(|at| is_quiet(*at, now))
    }

    fn note(&self, key: u128, told_at: Timestamp, now: Timestamp) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, at| is_quiet(*at, now));
        }
        // All of them within the hour: then the store is asked about the others.
        if known.len() < REMEMBERED {
            known.insert(key, told_at);
        }
    }
}

fn is_quiet(at: Timestamp, now: Timestamp) -> bool {
    now < at.plus_seconds(QUIET_SECONDS)
}

/// Takes a report of a key that was found in public; the secret is the proof. The key is disabled if it may be, and
/// the workspace told in any case. A string that is no key of this server, or one that is revoked, is nothing.
pub async fn report(app: &Arc<App>, from: Request, report: ReportApiKey) -> Result<(), Failure> {
    let presented = report.api_key.expose();
    let Some(key) = verify::known(app, presented)?.filter(|key| !key.revoked) else { return Ok(()) };
    if app.reported.is_recent(key.bits(), app.clock.now()) {
        return Ok(());
    }
    let clean =
        |text: &Option<String>| text.as_ref().map(|text| app.format.redacted(&text.replace(presented, "[secret]")));
    let found = json!({
        "url": clean(&report.url),
        "source": clean(&report.source),
        "comment": clean(&report.comment),
    });
    let (workspace, id) = (app.index.workspace(&key).id.clone(), key.id());
    let locked = workspace.clone();
    // A workspace that somebody else wrote is refused anyway, and whoever reports need not know.
    let open = move |app: &App, tx: &mut Tx<'_>| {
        Ok(Some(workspaces::lock(tx, &locked)?).filter(|workspace| workspace.is_sealed(&app.ring)))
    };
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = queries::find(m.tx, &workspace, id.as_str())?;
        let row = row.filter(|row| row.revoked_at.is_none() && row.is_sealed(&m.app.ring, &workspace));
        let Some(row) = row else { return Ok((None, None).into()) };
        match row.exposed_at.map(Timestamp).filter(|at| is_quiet(*at, m.now)) {
            Some(before) => Ok((Some(before), None).into()),
            None => Ok((Some(m.now), Some(expose(m, row, &found)?)).into()),
        }
    };
    let done = mutation::write(app, workspace, Caller::guest(from), None, open, operation).await?;
    let (told_at, is_disabled) = done.map_or((None, None), |done| done.value);
    if let Some(is_disabled) = is_disabled {
        tracing::warn!(key = %key.id(), is_disabled, "a key was reported as found in public");
    }
    if let Some(told_at) = told_at {
        app.reported.note(key.bits(), told_at, app.clock.now());
    }
    Ok(())
}

/// Writes the report down, and whether the key is disabled with it.
fn expose(m: &mut Mutation<'_, '_>, mut row: KeyRow, found: &Value) -> Result<bool, Failure> {
    let is_disabled = may_be_disabled(&m.workspace, &row);
    let (was_disabled, old_reason) = (row.is_disabled, row.disable_reason.clone());
    row.exposed_at = Some(m.now.0);
    if is_disabled {
        // Whatever it was disabled for: from here on it must not be enabled again.
        row.is_disabled = true;
        row.disable_reason = Some(EXPOSED.into());
    }
    save(m, &mut row)?;
    let details = json!({
        "reported": found,
        "is_disabled": { "from": was_disabled, "to": row.is_disabled },
        "disable_reason": { "from": old_reason, "to": row.disable_reason },
    });
    m.audit("API Key Update", row.target(), details);
    m.event(
        "api_key.exposed",
        json!({
            "key_id": row.id,
            "name": row.name,
            "service_account_user_id": row.principal_id,
            "is_disabled": row.is_disabled,
            "disable_reason": row.disable_reason,
            "reported": found,
        }),
    );
    Ok(row.is_disabled)
}
