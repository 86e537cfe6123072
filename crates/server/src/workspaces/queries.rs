//! The SQL of workspaces.

use super::WorkspaceRow;
use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::workspace::WorkspacePolicies;

macro_rules! columns {
    () => {
        "id, tag, name, seats, is_disabled, third_party_disable_allowed, billing_day, billing_zone, created_at, audit_seq, \
         audit_head, version, seal, max_accounts, max_keys_per_account, policies"
    };
}

fn read(row: &Row) -> Result<WorkspaceRow, Error> {
    Ok(WorkspaceRow {
        id: row.get(0)?,
        tag: row.get(1)?,
        name: row.get(2)?,
        seats: row.get(3)?,
        is_disabled: row.get(4)?,
        third_party_disable_allowed: row.get(5)?,
        billing_day: row.get(6)?,
        billing_zone: row.get(7)?,
        created_at: row.get(8)?,
        audit_seq: row.get(9)?,
        audit_head: row.get(10)?,
        version: row.get(11)?,
        seal: row.get(12)?,
        max_accounts: row.get(13)?,
        max_keys_per_account: row.get(14)?,
        policies: policies(&row.get::<String>(15)?),
    })
}

/// Policies that can't be read are none; then the seal, which is over what was read, doesn't fit, either.
fn policies(text: &str) -> WorkspacePolicies {
    serde_json::from_str(text).unwrap_or_default()
}

fn args(row: &WorkspaceRow) -> [Arg; 16] {
    [
        row.id.as_str().into(),
        row.tag.as_str().into(),
        row.name.as_str().into(),
        row.seats.into(),
        row.is_disabled.into(),
        row.third_party_disable_allowed.into(),
        row.billing_day.into(),
        row.billing_zone.as_str().into(),
        row.created_at.into(),
        row.audit_seq.into(),
        row.audit_head.clone().into(),
        row.version.into(),
        row.seal.clone().into(),
        row.max_accounts.into(),
        row.max_keys_per_account.into(),
        serde_json::json!(row.policies).to_string().into(),
    ]
}

/// Locks the row by writing to it, without a change.
pub(super) const LOCK: &str = concat!("UPDATE workspaces SET version = version WHERE id = $1 RETURNING ", columns!());

pub(super) fn lock(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<Option<WorkspaceRow>, Error> {
    tx.maybe(LOCK, &[id.as_str().into()], read)
}

pub(super) fn find(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<Option<WorkspaceRow>, Error> {
    tx.maybe(concat!("SELECT ", columns!(), " FROM workspaces WHERE id = $1"), &[id.as_str().into()], read)
}

pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<WorkspaceRow>, Error> {
    tx.all(concat!("SELECT ", columns!(), " FROM workspaces ORDER BY id"), &[], read)
}

/// A page, the oldest first, of those that come after a place.
pub(super) fn page(tx: &mut Tx<'_>, after: (i64, &str), limit: i64) -> Result<Vec<WorkspaceRow>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM workspaces WHERE created_at > $1 OR (created_at = $1 AND id > $2) ORDER BY created_at, id LIMIT $3"
    );
    tx.all(sql, &[after.0.into(), after.1.into(), limit.into()], read)
}

/// Whether there is a workspace. Two nodes that start on an empty database take turns here.
pub(super) fn any(tx: &mut Tx<'_>) -> Result<bool, Error> {
    tx.run("UPDATE change_clock SET seq = seq WHERE bucket = 0", &[])?;
    Ok(tx.maybe("SELECT id FROM workspaces LIMIT 1", &[], |_| Ok(()))?.is_some())
}

pub(super) fn insert(tx: &mut Tx<'_>, row: &WorkspaceRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO workspaces (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        ),
        &args(row),
    )
    .map(drop)
}

pub(super) fn save(tx: &mut Tx<'_>, row: &WorkspaceRow) -> Result<(), Error> {
    tx.run(
        "UPDATE workspaces SET tag = $2, name = $3, seats = $4, is_disabled = $5, third_party_disable_allowed = $6, \
         billing_day = $7, billing_zone = $8, created_at = $9, audit_seq = $10, audit_head = $11, version = $12, \
         seal = $13, max_accounts = $14, max_keys_per_account = $15, policies = $16 WHERE id = $1",
        &args(row),
    )
    .map(drop)
}
