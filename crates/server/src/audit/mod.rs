//! The audit log: one row for each change, in the change's own transaction, chained per workspace; and one for the calls
//! of a known caller that were refused, merged by the minute.
//!
//! A row's hash is a seal over the row and the hash before it, made with the pepper: who can write to the database
//! but hasn't the pepper can neither edit a row nor chain the rows anew. The workspace's sealed row names the chain's
//! end, so a cut tail shows, too. Nothing is ever taken out of the log.
//!
//! - [`activities`]: what can be done, and where OCSF puts it
//! - [`chain`]: whether the rows are as they were written
//! - [`refusals`]: calls that were refused, until they are written
//! - [`ocsf`]: from a row to what goes over the wire; [`csv`]: to a line of a table
//! - [`examine`]: the whole log, for the command line

pub mod activities;
pub mod chain;
pub mod csv;
pub mod examine;
mod ocsf;
mod queries;
pub mod refusals;
pub mod routes;

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::seal;
use crate::store::{Error, Tx};
use crate::workspaces::{self, WorkspaceRow};
use chain::Chain;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::audit::{AuditChain, AuditHead, AuditLogEntry};
use stead_api::error::ErrorCode;
use stead_api::id::{AuditId, WorkspaceId};
use stead_api::time::Timestamp;
use stead_verify::pepper::{Label, Ring};

/// After so long a check that was refused may be asked for again.
const BUSY_SECONDS: u64 = 5;
/// `status` of what was done.
pub const DONE: i64 = 1;
/// `status` of what was refused.
pub const FAILED: i64 = 2;

/// A row as it is stored. `actor`, `target` and `details` are JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRow {
    /// The place in the workspace's chain, from 1.
    pub seq: i64,
    /// Which.
    pub id: String,
    /// When it was written.
    pub at: i64,
    /// What was done, by the wire's names (§15.7).
    pub activity: String,
    /// Where OCSF puts that.
    pub class_uid: i64,
    /// The kind of act within the class.
    pub activity_id: i64,
    /// [`DONE`] or [`FAILED`].
    pub status: i64,
    /// Who did it: a member's id, or `system`.
    pub actor_id: String,
    /// The same in full, and from where.
    pub actor: String,
    /// To what.
    pub target: String,
    /// What changed; never a secret.
    pub details: String,
    /// Over the row and the hash before it.
    pub hash: Vec<u8>,
}

impl AuditRow {
    /// A row that is yet to be appended.
    pub fn new(
        id: &AuditId,
        now: Timestamp,
        activity: &str,
        status: i64,
        actor: &Value,
        target: &Value,
        details: &Value,
    ) -> Self {
        let (class, activity_id) = activities::place(activity);
        // The server itself has no id, but a kind.
        let actor_id = actor["id"].as_str().or_else(|| actor["type"].as_str()).unwrap_or_default();
        Self {
            seq: 0,
            id: id.to_string(),
            at: now.0,
            activity: activity.to_owned(),
            class_uid: class.uid(),
            activity_id,
            status,
            actor_id: actor_id.to_owned(),
            actor: actor.to_string(),
            target: target.to_string(),
            details: details.to_string(),
            hash: Vec::new(),
        }
    }

    fn sealed_bytes(&self, workspace: &str, before: &[u8]) -> Vec<u8> {
        let kind = (&self.activity, self.class_uid, self.activity_id, self.status);
        let what = (kind, &self.actor_id, &self.actor, &self.target, &self.details);
        seal::bytes(&(seal::hex(before), workspace, self.seq, &self.id, self.at, what))
    }
}

/// Appends a row to a locked workspace's chain.
pub fn append(tx: &mut Tx<'_>, ring: &Ring, workspace: &mut WorkspaceRow, mut row: AuditRow) -> Result<(), Error> {
    link(ring, &workspace.id, (workspace.audit_seq, &workspace.audit_head), &mut row);
    queries::insert(tx, &workspace.id, &row)?;
    workspace.audit_seq = row.seq;
    workspace.audit_head = row.hash;
    Ok(())
}

/// Gives a row its number and its seal, as the one after the row with this number and seal.
pub fn link(ring: &Ring, workspace: &str, (seq, head): (i64, &[u8]), row: &mut AuditRow) {
    row.seq = seq + 1;
    row.hash = ring.seal(Label::Audit, &row.sealed_bytes(workspace, head)).to_vec();
}

/// Walks a workspace's chain and tells what is wrong with it; empty if it is whole.
pub fn verify(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceRow) -> Result<Vec<String>, Error> {
    walk(tx, ring, workspace, None, |_| Ok(()))
}

/// The same, beside a head that was saved; hands over each row.
fn walk<E: From<Error>>(
    tx: &mut Tx<'_>,
    ring: &Ring,
    workspace: &WorkspaceRow,
    saved: Option<&AuditHead>,
    mut take: impl FnMut(&AuditRow) -> Result<(), E>,
) -> Result<Vec<String>, E> {
    let mut chain = Chain::new(ring, &workspace.id, saved);
    queries::each(tx, &workspace.id, |row| {
        chain.take(&row);
        take(&row)
    })?;
    Ok(chain.end(workspace.audit_seq, &workspace.audit_head))
}

/// What is wrong with the row that names a chain's end.
fn broken_end(ring: &Ring, workspace: &WorkspaceRow) -> Option<String> {
    let told =
        || format!("workspace {}: its row, which names the end, was changed behind the server's back", workspace.id);
    (!workspace.is_sealed(ring)).then(told)
}

/// Statement and arguments that find a certain row.
pub fn proof(workspace: &WorkspaceId, seq: i64, id: &AuditId) -> (&'static str, Vec<crate::store::Arg>) {
    (queries::FIND, vec![workspace.as_str().into(), seq.into(), id.as_str().into()])
}

/// The last rows of a workspace's log, newest first.
pub fn recent(tx: &mut Tx<'_>, workspace: &WorkspaceId, limit: i64) -> Result<Vec<AuditRow>, Error> {
    queries::page(tx, workspace, &Filter::default(), limit)
}

/// The names of what was done something to since an instant.
pub fn targets_since(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    activity: &str,
    since: Timestamp,
) -> Result<Vec<String>, Error> {
    let filter = Filter { from: Some(since), activity: Some(activity.to_owned()), ..Filter::default() };
    let rows = queries::page(tx, workspace, &filter, i64::MAX)?;
    let name = |row: &AuditRow| Some(serde_json::from_str::<Value>(&row.target).ok()?["name"].as_str()?.to_owned());
    Ok(rows.iter().filter_map(name).collect())
}

/// Which entries of a log.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not written before.
    pub from: Option<Timestamp>,
    /// Not written after.
    pub to: Option<Timestamp>,
    /// By this member.
    pub actor: Option<String>,
    /// Of the class with this number.
    pub class_uid: Option<i64>,
    /// Of this name.
    pub activity: Option<String>,
    /// Older than the entry at this place, which is its time and its number.
    pub before: Option<(i64, i64)>,
}

impl Filter {
    /// Whether a row is one of them, wherever it stands.
    fn takes(&self, row: &AuditRow) -> bool {
        self.from.is_none_or(|from| row.at >= from.0)
            && self.to.is_none_or(|to| row.at <= to.0)
            && self.actor.as_ref().is_none_or(|actor| row.actor_id == *actor)
            && self.class_uid.is_none_or(|class| row.class_uid == class)
            && self.activity.as_ref().is_none_or(|activity| row.activity == *activity)
    }
}

/// A page of a workspace's log, newest first, and the place of its last entry if there are older ones.
pub async fn list(
    app: &Arc<App>,
    workspace: WorkspaceId,
    filter: Filter,
    limit: usize,
) -> Result<(Vec<AuditLogEntry>, Option<(i64, i64)>), Failure> {
    let id = workspace.clone();
    let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let read = move |tx: &mut Tx<'_>| queries::page(tx, &id, &filter, wanted);
    let mut rows = app.store.read(read).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| (row.at, row.seq));
    Ok((rows.iter().map(|row| ocsf::entry(&workspace, row)).collect(), next))
}

/// Who walks a whole log, or waits to: of each workspace one at a time, so that none makes the others wait for long, and
/// in all one, so that the other readers stay free.
#[derive(Default)]
pub struct Walks {
    turn: tokio::sync::Mutex<()>,
    of: Mutex<BTreeSet<WorkspaceId>>,
}

impl Walks {
    /// Takes a workspace's place; `None` if it is taken.
    fn enter(&self, workspace: &WorkspaceId) -> Option<Walk<'_>> {
        let entered = self.of.lock().unwrap_or_else(PoisonError::into_inner).insert(workspace.clone());
        entered.then(|| Walk { walks: self, workspace: workspace.clone() })
    }
}

/// A place that was taken, until it is dropped.
struct Walk<'a> {
    walks: &'a Walks,
    workspace: WorkspaceId,
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.walks.of.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.workspace);
    }
}

/// Whether a workspace's log is as it was written. Reads all of it, in a task of its own: a caller that goes away must
/// not give its place to another one while the log is still read.
pub async fn chain(app: &Arc<App>, workspace: WorkspaceId) -> Result<AuditChain, Failure> {
    let app = app.clone();
    let checked = tokio::spawn(async move { check(&app, workspace).await });
    checked.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

async fn check(app: &Arc<App>, workspace: WorkspaceId) -> Result<AuditChain, Failure> {
    let _place = app.audit_walks.enter(&workspace).ok_or_else(|| {
        let message = "The log is being checked already. Try again when that is done.";
        let refusal = Refusal::new(ErrorCode::RateLimitExceeded, message);
        Failure::Refused(Box::new(Refusal { retry_after: Some(BUSY_SECONDS), ..refusal }))
    })?;
    let _turn = app.audit_walks.turn.lock().await;
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| -> Result<AuditChain, Failure> {
        let row =
            workspaces::find(tx, &workspace)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
        let mut entries = 0;
        let mut problems = walk(tx, &worker.ring, &row, None, |_| -> Result<(), Error> {
            entries += 1;
            Ok(())
        })?;
        problems.extend(broken_end(&worker.ring, &row));
        Ok(AuditChain { entries, head: seal::hex(&row.audit_head), verified: problems.is_empty(), problems })
    };
    app.store.read(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_workspace_one_walks_at_a_time() {
        let walks = Walks::default();
        let (ours, theirs) = (WorkspaceId::from("wsp_1"), WorkspaceId::from("wsp_2"));
        let first = walks.enter(&ours);
        assert!(first.is_some() && walks.enter(&ours).is_none() && walks.enter(&theirs).is_some());
        drop(first);
        assert!(walks.enter(&ours).is_some());
    }
}
