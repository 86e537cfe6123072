//! Workspaces: the tenants. Everything belongs to exactly one.

mod queries;

use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::{self, Made, Mutation, Target};
use crate::members::Caller;
use crate::store::{Arg, Error, Tx};
use crate::{groups, keys, members, seal};
use serde_json::json;
use std::sync::Arc;
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::secret::{Format, Secret};
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

    fn sealed_bytes(&self) -> Vec<u8> {
        let settings = (&self.id, &self.tag, self.seats, self.is_disabled, self.third_party_disable_allowed);
        let settings = (settings, self.billing_day, &self.billing_zone);
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

/// Locks a workspace for a write and reads it. Every write begins with this.
pub fn lock(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<WorkspaceRow, Failure> {
    queries::lock(tx, id)?.ok_or_else(|| Failure::Defect("a write in a workspace that is not there".into()))
}

/// Reads a workspace.
pub fn find(tx: &mut Tx<'_>, id: &WorkspaceId) -> Result<Option<WorkspaceRow>, Error> {
    queries::find(tx, id)
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

/// What the first start made.
pub struct FirstStart {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its owner.
    pub owner_id: PrincipalId,
    /// The owner's key, if it was made here; a key from the settings is known already.
    pub admin_api_key: Option<Secret>,
}

/// A workspace to be made.
pub struct NewWorkspace {
    /// What people call it.
    pub name: String,
    /// How many people it may have.
    pub seats: i64,
    /// The day of the month on which its credits begin anew, and the IANA name of its zone.
    pub billing: (i64, String),
    /// The owner's e-mail.
    pub owner_email: String,
    /// The owner's key, if it is given.
    pub admin_api_key: Option<Secret>,
}

/// Makes a workspace with an owner and the owner's key. With `only_first`, does nothing where there is a workspace.
pub async fn create(app: &Arc<App>, new: NewWorkspace, only_first: bool) -> Result<Option<FirstStart>, Failure> {
    let workspace_id = WorkspaceId::from_random(app.entropy.id());
    let (id, name, seats, billing) = (workspace_id.clone(), new.name.clone(), new.seats, new.billing.clone());
    let open = move |app: &App, tx: &mut Tx<'_>| {
        if only_first && queries::any(tx)? {
            return Ok(None);
        }
        let mut row = WorkspaceRow {
            id: id.to_string(),
            tag: Format::tag(app.entropy.stream()),
            name: name.clone(),
            seats,
            billing_day: billing.0,
            billing_zone: billing.1.clone(),
            created_at: app.clock.now().0,
            ..WorkspaceRow::default()
        };
        row.reseal(&app.ring);
        queries::insert(tx, &row)?;
        Ok(Some(row))
    };
    let operation = move |m: &mut Mutation<'_, '_>| {
        m.workspace_changed();
        let (id, name) = (m.workspace.id.clone(), m.workspace.name.clone());
        m.audit("Workspace Creation", Target::new("workspace", &id, &name), json!({ "seats": seats }));
        groups::create_default(m)?;
        let owner = members::add(m, &new.owner_email, "", members::SeatType::WorkspaceAdmin, true)?;
        let secret = keys::create_for_owner(m, &owner, new.admin_api_key.as_ref())?;
        Ok(Made::with_secret(owner, secret))
    };
    let made = mutation::write(app, workspace_id.clone(), Caller::system(), None, open, operation).await?;
    Ok(made.map(|made| FirstStart { workspace_id, owner_id: made.value, admin_api_key: made.secret }))
}

/// Statement and arguments that wait until no write of a workspace is under way.
pub fn touch(id: &WorkspaceId) -> (&'static str, Vec<Arg>) {
    (queries::LOCK, vec![id.as_str().into()])
}
