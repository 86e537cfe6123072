//! Making a workspace with an owner and the owner's key: at the first start, and for the operator.

use super::settings::view;
use super::{WorkspaceRow, queries};
use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Made, Mutation};
use crate::members::{Caller, SeatType};
use crate::store::Tx;
use crate::{groups, keys, members};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use stead_api::id::{KeyId, PrincipalId, WorkspaceId};
use stead_api::secret::{Format, Secret};
use stead_api::workspace::Workspace;

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

/// A workspace that was made; the secret goes with it apart.
#[derive(Debug, Serialize, Deserialize)]
pub struct Founded {
    /// The workspace.
    pub workspace: Workspace,
    /// Its owner.
    pub owner_id: PrincipalId,
    /// The owner's key.
    pub key_id: KeyId,
}

/// Makes a workspace with an owner and the owner's key. With `only_first`, does nothing where there is a workspace.
pub async fn create(app: &Arc<App>, new: NewWorkspace, only_first: bool) -> Result<Option<FirstStart>, Failure> {
    let made = found(app, Caller::system(), None, new, only_first).await?;
    Ok(made.map(|made| FirstStart {
        workspace_id: made.value.workspace.workspace_id,
        owner_id: made.value.owner_id,
        admin_api_key: made.secret,
    }))
}

/// Makes one for the operator.
pub async fn create_for_operator(
    app: &Arc<App>,
    caller: Caller,
    retry: Option<Retry>,
    new: NewWorkspace,
) -> Result<Committed<Founded>, Failure> {
    let made = found(app, caller, retry, new, false).await?;
    made.ok_or_else(|| Failure::Defect("no workspace was made".into()))
}

async fn found(
    app: &Arc<App>,
    caller: Caller,
    retry: Option<Retry>,
    new: NewWorkspace,
    only_first: bool,
) -> Result<Option<Committed<Founded>>, Failure> {
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
        m.audit("Workspace Creation", m.workspace.target(), json!({ "seats": seats }));
        groups::create_default(m)?;
        let owner_id = members::add(m, &new.owner_email, "", SeatType::WorkspaceAdmin, true)?;
        let secret = keys::create_for_owner(m, &owner_id, new.admin_api_key.as_ref())?;
        let id = m.workspace_id();
        let key = keys::rows_of_principal(m.tx, &id, &owner_id)?.into_iter().next();
        let key_id = key.ok_or_else(|| Failure::Defect("the owner has no key".into()))?.id();
        let workspace = view(m.tx, &m.workspace)?;
        Ok(Made { value: Founded { workspace, owner_id, key_id: key_id.clone() }, secret, key_id: Some(key_id) })
    };
    mutation::write(app, workspace_id, caller, retry, open, operation).await
}
