//! Workspaces: the tenants. Everything belongs to exactly one.
//!
//! - [`mod@self`]: the row, and what everybody reads of it
//! - [`founding`]: making one, at the first start and for the operator
//! - [`settings`]: what the operator and its own admins set
//! - `queries`, [`routes`]: SQL and HTTP

pub mod founding;
mod queries;
pub mod routes;
pub mod settings;

pub use founding::{FirstStart, NewWorkspace, create};

use crate::config::Limits;
use crate::error::Failure;
use crate::feed::mutation::Target;
use crate::seal;
use crate::store::{Arg, Error, Tx};
use stead_api::error::ErrorCode;
use stead_api::id::WorkspaceId;
use stead_api::workspace::WorkspacePolicies;
use stead_verify::facts::{Fact, WorkspaceFacts};
use stead_verify::pepper::{Label, Ring};
use stead_verify::period::Billing;

/// A workspace as it is stored.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceRow {
    /// Which.
    pub id: String,
    /// What the workspace's secrets carry, so that a key tells where it belongs.
    pub tag: String,
    /// What people call it.
    pub name: String,
    /// How many people it may have; one seat means no service accounts.
    pub seats: i64,
    /// All its keys are refused.
    pub is_disabled: bool,
    /// Whether holders may disable their keys, whatever a key's own setting says; `None`: the key's counts.
    pub third_party_disable_allowed: Option<bool>,
    /// The day of the month on which its credits begin anew.
    pub billing_day: i64,
    /// The zone of that day, by its IANA name.
    pub billing_zone: String,
    /// Service accounts it may have; `None`: as many as the settings say.
    pub max_accounts: Option<i64>,
    /// Keys that one of its accounts may have; `None`: as many as the settings say.
    pub max_keys_per_account: Option<i64>,
    /// What it asks of keys.
    pub policies: WorkspacePolicies,
    /// When it was made.
    pub created_at: i64,
    /// The number of the last audit row.
    pub audit_seq: i64,
    /// The seal of the last audit row.
    pub audit_head: Vec<u8>,
    /// Grows with each write in the workspace.
    pub version: i64,
    /// Over all of these.
    pub seal: Vec<u8>,
}

impl WorkspaceRow {
    /// The id.
    pub fn id(&self) -> WorkspaceId {
        self.id.as_str().into()
    }

    /// Whether the feature is on at all.
    pub fn has_service_accounts(&self) -> bool {
        self.seats > 1
    }

    /// How many service accounts it may have.
    pub fn most_accounts(&self, limits: &Limits) -> usize {
        own_or(self.max_accounts, limits.accounts)
    }

    /// How many keys one of its accounts may have.
    pub fn most_keys_per_account(&self, limits: &Limits) -> usize {
        own_or(self.max_keys_per_account, limits.keys_per_account)
    }

    fn target(&self) -> Target {
        Target::new("workspace", &self.id, &self.name)
    }

    fn sealed_bytes(&self) -> Vec<u8> {
        let settings = (&self.id, &self.tag, self.seats, self.is_disabled, self.third_party_disable_allowed);
        let settings = (settings, self.billing_day, &self.billing_zone);
        let settings = (settings, self.max_accounts, self.max_keys_per_account, &self.policies);
        seal::bytes(&(settings, self.audit_seq, &self.audit_head, self.version))
    }

    fn reseal(&mut self, ring: &Ring) {
        self.seal = ring.seal(Label::Workspace, &self.sealed_bytes()).to_vec();
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring) -> bool {
        ring.is_sealed(Label::Workspace, &self.sealed_bytes(), &self.seal)
    }

    /// What decisions read of it. A row that somebody else wrote switches the workspace off.
    pub fn facts(&self, ring: &Ring) -> WorkspaceFacts {
        let trusted = self.is_sealed(ring);
        if !trusted {
            tracing::error!(
                workspace = self.id,
                "the workspace's row was changed behind the server's back; its keys are refused"
            );
        }
        // A zone that this program doesn't know can only come from a newer one; its months begin in UTC meanwhile.
        let billing = Billing::new(self.billing_day, &self.billing_zone).unwrap_or_default();
        WorkspaceFacts { id: self.id(), version: self.version, disabled: self.is_disabled || !trusted, billing }
    }
}

/// A workspace's own limit, or that of the settings.
fn own_or(own: Option<i64>, settings: usize) -> usize {
    own.map_or(settings, |own| usize::try_from(own).unwrap_or(0))
}

/// Locks a workspace for a write and reads it. Every write begins with this.
pub fn lock(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<WorkspaceRow, Failure> {
    queries::lock(tx, id)?.ok_or_else(|| Failure::Defect("a write in a workspace that is not there".into()))
}

/// Reads a workspace.
pub fn find(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<Option<WorkspaceRow>, Error> {
    queries::find(tx, id)
}

/// The refusal for a workspace that is not there.
pub fn not_found() -> Failure {
    Failure::refused(ErrorCode::WorkspaceNotFound, "There is no such workspace.")
}

/// Every workspace.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<WorkspaceRow>, Error> {
    queries::all(tx)
}

/// Writes the end of the audit chain, and whatever else of the row the write changed.
pub fn save_end(tx: &mut Tx<'_>, ring: &Ring, row: &mut WorkspaceRow) -> Result<(), Error> {
    row.version += 1;
    row.reseal(ring);
    queries::save(tx, row)
}

/// Every workspace's facts, for the mirror.
pub fn facts(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<Fact>, Error> {
    Ok(queries::all(tx)?.iter().map(|row| Fact::Workspace(row.facts(ring))).collect())
}

/// One workspace's facts.
pub fn fact(tx: &mut Tx<'_>, ring: &Ring, id: &WorkspaceId) -> Result<Option<Fact>, Error> {
    Ok(queries::find(tx, id)?.map(|row| Fact::Workspace(row.facts(ring))))
}

/// Statement and arguments that wait until no write of a workspace is under way.
pub fn touch(id: &WorkspaceId) -> (&'static str, Vec<Arg>) {
    (queries::LOCK, vec![id.as_str().into()])
}
