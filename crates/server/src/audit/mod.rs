//! The audit log: one row for each change, in the change's own transaction, chained per workspace.
//!
//! A row's hash is a seal over the row and the hash before it, made with the pepper: who can write to the database
//! but hasn't the pepper can neither edit a row nor chain the rows anew. The workspace's sealed row names the chain's
//! end, so a cut tail shows, too.

mod queries;

use crate::seal;
use crate::store::{Error, Tx};
use crate::workspaces::WorkspaceRow;
use stead_api::id::{AuditId, WorkspaceId};
use stead_verify::pepper::{Label, Ring};

/// A row as it is stored. `actor`, `target` and `details` are JSON.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// The place in the workspace's chain, from 1.
    pub seq: i64,
    /// Which.
    pub id: String,
    /// When.
    pub at: i64,
    /// What was done, by the wire's names (§15.7).
    pub activity: String,
    /// Who did it, from where.
    pub actor: String,
    /// To what.
    pub target: String,
    /// What changed; never a secret.
    pub details: String,
    /// Over the row and the hash before it.
    pub hash: Vec<u8>,
}

impl AuditRow {
    fn sealed_bytes(&self, workspace: &str, before: &[u8]) -> Vec<u8> {
        let what = (&self.activity, &self.actor, &self.target, &self.details);
        seal::bytes(&(before, workspace, self.seq, &self.id, self.at, what))
    }
}

/// Appends a row to a locked workspace's chain.
pub fn append(tx: &mut Tx<'_>, ring: &Ring, workspace: &mut WorkspaceRow, mut row: AuditRow) -> Result<(), Error> {
    row.seq = workspace.audit_seq + 1;
    row.hash = ring.seal(Label::Audit, &row.sealed_bytes(&workspace.id, &workspace.audit_head)).to_vec();
    queries::insert(tx, &workspace.id, &row)?;
    workspace.audit_seq = row.seq;
    workspace.audit_head = row.hash;
    Ok(())
}

/// Walks a workspace's chain and tells what is wrong with it; empty if it is whole.
pub fn verify(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceRow) -> Result<Vec<String>, Error> {
    let (mut seq, mut head, mut wrong) = (0, Vec::new(), Vec::new());
    queries::each(tx, &workspace.id, |row| {
        seq += 1;
        if row.seq != seq {
            wrong.push(format!("audit log of {}: row {seq} is missing", workspace.id));
            seq = row.seq;
        } else if !ring.is_sealed(Label::Audit, &row.sealed_bytes(&workspace.id, &head), &row.hash) {
            wrong.push(format!("audit log of {}: row {seq} was edited or replaced", workspace.id));
        }
        head = row.hash;
        Ok(())
    })?;
    if (seq, &head) != (workspace.audit_seq, &workspace.audit_head) {
        wrong.push(format!(
            "audit log of {}: ends at row {seq}, but row {} was its end",
            workspace.id, workspace.audit_seq
        ));
    }
    Ok(wrong)
}

/// Statement and arguments that find a certain row.
pub fn proof(workspace: &WorkspaceId, seq: i64, id: &AuditId) -> (&'static str, Vec<crate::store::Arg>) {
    (queries::FIND, vec![workspace.as_str().into(), seq.into(), id.as_str().into()])
}

/// The last rows of a workspace's log, newest first.
pub fn recent(tx: &mut Tx<'_>, workspace: &WorkspaceId, limit: i64) -> Result<Vec<AuditRow>, Error> {
    queries::recent(tx, workspace, limit)
}
