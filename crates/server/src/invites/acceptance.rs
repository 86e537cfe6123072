//! Joining: whoever has the link becomes a member, once.

use super::{InviteRow, not_found, queries, token};
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::{self, Committed, Made, Mutation};
use crate::groups;
use crate::keys::{self, Bounds, KeyRow};
use crate::members::seats::Taken;
use crate::members::{self, Caller, Newcomer, Request, SeatType};
use crate::store::Tx;
use crate::workspaces::{self, WorkspaceRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{InviteId, KeyId, PrincipalId, WorkspaceId};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;

/// What the page of an invite shows.
pub struct Shown {
    /// The workspace's name.
    pub workspace: String,
    /// Who invited.
    pub inviter: String,
    /// Whom.
    pub email: String,
}

/// Somebody who has joined; the first key's secret goes with it apart.
#[derive(Serialize, Deserialize)]
pub struct Accepted {
    /// Where.
    pub workspace_id: WorkspaceId,
    /// The workspace's name.
    pub workspace: String,
    /// Who they are now.
    pub user_id: PrincipalId,
    /// Whom the invite was for.
    pub email: String,
    /// Their seat.
    pub seat_type: String,
    /// Their first key, with a full seat.
    pub key_id: Option<KeyId>,
}

/// What an invite is about. Changes nothing: programs that look through mails open links.
pub async fn show(app: &Arc<App>, token: Secret) -> Result<Shown, Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let (workspace, invite) = find(&worker, tx, &token)?.ok_or_else(not_found)?;
        let inviter = members::name(tx, &workspace.id(), &invite.invited_by.as_str().into())?;
        Ok(Shown { workspace: workspace.name, inviter: inviter.unwrap_or_default(), email: invite.email })
    };
    app.store.read(read).await
}

/// The workspace and the invite that a token opens.
fn find(app: &App, tx: &mut Tx<'_>, token: &Secret) -> Result<Option<(WorkspaceRow, InviteRow)>, Failure> {
    let Some(workspace) = token::workspace(token) else { return Ok(None) };
    let Some(workspace) = workspaces::find(tx, &workspace)? else { return Ok(None) };
    let invite = usable(app, tx, &workspace, token, app.clock.now())?;
    Ok(invite.map(|invite| (workspace, invite)))
}

/// The invite that a token opens in a workspace, unless it is too late or its row is not what this server wrote.
fn usable(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceRow,
    token: &Secret,
    now: Timestamp,
) -> Result<Option<InviteRow>, Failure> {
    if workspace.is_disabled || !workspace.is_sealed(&app.ring) {
        return Ok(None);
    }
    let id = workspace.id();
    for digest in token::digests(&app.ring, token) {
        let Some(invite) = queries::by_token(tx, &id, &digest)? else { continue };
        let works = invite.expires_at > now.0 && invite.is_sealed(&app.ring, &id);
        let Some(number) = number(&invite).filter(|_| works) else { return Ok(None) };
        let used = members::was_ever(tx, &id, &number)?;
        let stands = !used && inviter_stands(app, tx, &id, &invite)?;
        return Ok(Some(invite).filter(|_| stands));
    }
    Ok(None)
}

/// Whether the word of whoever invited is still good: a key that was stolen must not go on through those it let in.
fn inviter_stands(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId, invite: &InviteRow) -> Result<bool, Failure> {
    let bounds: Bounds = serde_json::from_str(&invite.bounds).unwrap_or_default();
    // By the server itself, which is bound by nothing.
    let Some(key) = bounds.key_id else { return Ok(invite.invited_by.is_empty()) };
    let key = keys::find(tx, workspace, &key.as_str().into())?;
    let is_good = |key: &KeyRow| key.revoked_at.is_none() && !key.is_disabled && key.is_sealed(&app.ring, workspace);
    if !key.as_ref().is_some_and(is_good) {
        return Ok(false);
    }
    let inviter = members::principal(tx, workspace, &invite.invited_by.as_str().into())?;
    Ok(inviter.is_some_and(|inviter| inviter.works(&app.ring, workspace)))
}

/// The id that whoever accepts will have.
fn number(invite: &InviteRow) -> Option<PrincipalId> {
    InviteId::from(invite.id.as_str()).bits().map(PrincipalId::from_bits)
}

/// Makes whoever has the token a member, with the seat, groups and limit of the invite, and with a full seat gives them
/// their first key: without it they could do nothing.
pub async fn accept(
    app: &Arc<App>,
    request: Request,
    token: Secret,
    first_name: Option<String>,
) -> Result<Committed<Accepted>, Failure> {
    // Made-up tokens must not queue where writes wait.
    let (worker, asked) = (app.clone(), token.clone());
    let found = app.store.read(move |tx| find(&worker, tx, &asked)).await?;
    let workspace = found.ok_or_else(not_found)?.0.id();
    let id = workspace.clone();
    let open = move |_: &App, tx: &mut Tx<'_>| workspaces::lock(tx, &id).map(Some);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let invite = usable(m.app, m.tx, &m.workspace, &token, m.now)?.ok_or_else(not_found)?;
        join(m, &invite, first_name.as_deref().unwrap_or_default())
    };
    let made = mutation::write(app, workspace, Caller::guest(request), None, open, operation).await?;
    made.ok_or_else(|| Failure::Defect("the workspace was opened, but nothing was done".into()))
}

fn join(m: &mut Mutation<'_, '_>, invite: &InviteRow, name: &str) -> Result<Made<Accepted>, Failure> {
    let workspace = m.workspace_id();
    let (Some(id), Some(seat)) = (number(invite), SeatType::parse(&invite.seat_type)) else { return Err(not_found()) };
    if members::principal_by_email(m.tx, &workspace, &invite.email)?.is_some() {
        let message = "This address is a member of the workspace already.";
        return Err(Failure::refused(ErrorCode::AlreadyExists, message));
    }
    let sitting = Taken::by(&members::people(m.tx, &workspace)?);
    sitting.and(1, Some(seat)).check(sitting, m.workspace.seats)?;
    queries::delete(m.tx, &workspace, &invite.id)?;
    m.audit(
        "Workspace Invitation Accepted",
        invite.target(),
        json!({ "user_id": id, "invited_by": invite.invited_by }),
    );
    let (email, usage_limit) = (invite.email.as_str(), invite.usage_limit);
    members::join(m, Newcomer { id: id.clone(), email, name, seat, is_owner: false, usage_limit })?;
    for group in &invite.groups {
        match groups::add_member(m, &group.as_str().into(), &id) {
            // Removed since: there is nothing left to be in.
            Err(Failure::Refused(refusal)) if refusal.code == ErrorCode::GroupNotFound => {}
            done => done?,
        }
    }
    let first = if seat == SeatType::WorkspaceLiteMember {
        None
    } else {
        let bounds = serde_json::from_str(&invite.bounds).map_err(|error| Failure::Defect(error.to_string()))?;
        keys::create_first(m, &id, &bounds)?
    };
    m.event(
        "member.joined",
        json!({ "user_id": id, "email": email, "seat_type": invite.seat_type, "invite_id": invite.id }),
    );
    let (key_id, secret) = first.unzip();
    let accepted = Accepted {
        workspace_id: workspace,
        workspace: m.workspace.name.clone(),
        user_id: id,
        email: email.to_owned(),
        seat_type: invite.seat_type.clone(),
        key_id,
    };
    Ok(Made::with_secret(accepted, secret))
}
