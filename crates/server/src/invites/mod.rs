//! Invites: somebody is asked to join, and joins by a link that works once (wire §9.4).
//!
//! - [`mod@self`]: asking, taking back, listing; `acceptance`: joining
//! - `token`: what the link ends in; `page`: what it shows
//! - `queries`, [`routes`]: SQL and HTTP
//!
//! An invite gives nothing that its maker hasn't got: not to a non-admin's guest what their groups may not do, and to
//! nobody a first key that is stronger than the key that invited them.

mod acceptance;
mod page;
mod queries;
pub mod routes;
mod token;

pub use acceptance::{Accepted, Shown, accept, show};

use crate::app::App;
use crate::error::{Failure, Refusal, field_error};
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Mutation, Target};
use crate::keys::{Bounds, power};
use crate::members::seats::Taken;
use crate::members::{self, Caller, SeatType};
use crate::store::{Error, Tx};
use crate::{groups, mail, seal};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{InviteId, WorkspaceId};
use stead_api::member::{Invite, InviteLink};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_verify::pepper::{Label, Ring};

/// How long a link works.
pub const DAYS: i64 = 7;

/// An invite as stored. Once it is accepted, taken back or renewed, the row goes.
#[derive(Clone, Debug)]
pub struct InviteRow {
    /// Which. Whoever accepts it gets the same number as their own id, which nobody ever has twice: a used invite whose
    /// row is put back behind the server's back opens nothing.
    id: String,
    email: String,
    token_digest: Vec<u8>,
    seat_type: String,
    groups: Vec<String>,
    usage_limit: Option<i64>,
    /// What the first key may do, as JSON.
    bounds: String,
    invited_by: String,
    created_at: i64,
    expires_at: i64,
    version: i64,
    seal: Vec<u8>,
}

impl InviteRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let who = (workspace, &self.id, &self.email, seal::hex(&self.token_digest), &self.invited_by);
        let what = (&self.seat_type, &self.groups, self.usage_limit, &self.bounds);
        seal::bytes(&(who, what, self.created_at, self.expires_at, self.version))
    }

    fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        let sealed = ring.is_sealed(Label::Invite, &self.sealed_bytes(workspace.as_str()), &self.seal);
        if !sealed {
            tracing::error!(
                invite = self.id,
                "the invite's row was changed behind the server's back; it opens nothing"
            );
        }
        sealed
    }

    fn target(&self) -> Target {
        Target::new("invite", &self.id, &self.email)
    }
}

/// Who is to be asked, and to what.
pub struct Asked {
    /// Addresses in lower case.
    pub emails: Vec<String>,
    /// The seat each will have.
    pub seat: SeatType,
    /// The groups each will be in.
    pub groups: Vec<String>,
    /// Credits a month of each.
    pub usage_limit: Option<i64>,
}

/// What was made of it.
#[derive(Serialize, Deserialize)]
pub struct Invited {
    /// The links, where the server sends no mail. Not kept for retries: a retry's answer comes without them.
    #[serde(skip)]
    pub links: Vec<InviteLink>,
}

/// Invites people: all of them, or none.
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    asked: Asked,
) -> Result<Committed<Invited>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        check_groups(m, &asked.groups)?;
        check_power(m, &asked)?;
        let workspace = m.workspace_id();
        let mut emails: Vec<&str> = Vec::with_capacity(asked.emails.len());
        for (place, email) in asked.emails.iter().enumerate() {
            if members::principal_by_email(m.tx, &workspace, email)?.is_some() {
                return Err(is_member(place, asked.emails.len()));
            }
            if !emails.contains(&email.as_str()) {
                emails.push(email);
            }
        }
        check_seats(m, &asked, &emails)?;
        let mut links = Vec::new();
        for email in emails {
            links.extend(invite(m, &asked, email)?);
        }
        Ok(Invited { links }.into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

fn is_member(place: usize, of: usize) -> Failure {
    let message = match of {
        1 => "This address is a member of the workspace already.".into(),
        _ => format!("Address {} of the list is a member of the workspace already. Nobody was invited.", place + 1),
    };
    let param = if of == 1 { "email" } else { "emails" };
    Failure::Refused(Box::new(Refusal { param: Some(param), ..Refusal::new(ErrorCode::AlreadyExists, message) }))
}

fn check_groups(m: &mut Mutation<'_, '_>, wanted: &[String]) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let mut mistakes = Vec::new();
    for (place, group) in wanted.iter().enumerate() {
        match groups::live(m.tx, &workspace, group) {
            Ok(_) => {}
            Err(Failure::Refused(_)) => {
                let mut mistake = field_error(&["body", "group_ids"], "value_error", "there is no such group");
                mistake.loc.push(place.into());
                mistakes.push(mistake);
            }
            Err(failure) => return Err(failure),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Failure::Invalid(mistakes)) }
}

/// Who is no admin may hand out only what they have themselves.
fn check_power(m: &mut Mutation<'_, '_>, asked: &Asked) -> Result<(), Failure> {
    if m.authority.is_admin {
        return Ok(());
    }
    let lite = SeatType::WorkspaceLiteMember;
    if asked.seat == SeatType::WorkspaceAdmin || (m.authority.seat == lite.as_str() && asked.seat != lite) {
        let message = "Only workspace admins may invite people to a higher seat than their own.";
        return Err(Failure::param(ErrorCode::Forbidden, "seat_type", message));
    }
    let theirs = groups::permissions_of(m.tx, &m.app.ring, &m.workspace_id(), &asked.groups)?;
    let more: Vec<_> = theirs.difference(&m.authority.group_permissions).cloned().collect();
    if !more.is_empty() {
        return Err(Failure::lacks("The groups have group permissions that you do not have.", more));
    }
    // Who is in a group also has what is shared with it.
    let is_theirs = |group: &String| group == groups::DEFAULT || m.authority.groups.contains(group);
    if asked.groups.iter().all(is_theirs) {
        return Ok(());
    }
    let message = "Only workspace admins may invite people to groups that they are not in themselves.";
    Err(Failure::param(ErrorCode::Forbidden, "group_ids", message))
}

/// Whether there would be a seat for each if everybody came who is invited.
fn check_seats(m: &mut Mutation<'_, '_>, asked: &Asked, emails: &[&str]) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let sitting = Taken::by(&members::people(m.tx, &workspace)?);
    let others = queries::open(m.tx, &workspace, m.now)?;
    let others = others.iter().filter(|invite| !emails.contains(&invite.email.as_str()));
    let before = others.fold(sitting, |taken, invite| taken.and(1, SeatType::parse(&invite.seat_type)));
    let more = i64::try_from(emails.len()).unwrap_or(i64::MAX);
    before.and(more, Some(asked.seat)).check(before, m.workspace.seats)
}

/// Asks one address; an older invite of it stops working. Gives the link if nobody mails it.
fn invite(m: &mut Mutation<'_, '_>, asked: &Asked, email: &str) -> Result<Option<InviteLink>, Failure> {
    let workspace = m.workspace_id();
    let token = token::mint(m.app, &workspace)?;
    let mut bounds = m.authority.key.as_ref().map(Bounds::of).unwrap_or_default();
    // The newcomer doesn't share what bounds the maker's keys together.
    bounds.character_limit = power::most_credits(m)?;
    let ends = m.now.plus_seconds(DAYS * 24 * 60 * 60).0;
    let invited_by = m.authority.key.as_ref().map(|key| key.principal_id.clone()).unwrap_or_default();
    let mut row = InviteRow {
        id: InviteId::from_random(m.app.entropy.id()).to_string(),
        email: email.to_owned(),
        token_digest: token::digest(&m.app.ring, &token),
        seat_type: asked.seat.as_str().to_owned(),
        groups: Vec::new(),
        usage_limit: asked.usage_limit,
        // A key's word ends with the key.
        expires_at: bounds.expires_at.map_or(ends, |end| end.min(ends)),
        bounds: serde_json::to_string(&bounds).map_err(|error| Failure::Defect(error.to_string()))?,
        invited_by,
        created_at: m.now.0,
        version: 1,
        seal: Vec::new(),
    };
    for group in asked.groups.iter().filter(|group| *group != groups::DEFAULT) {
        if !row.groups.contains(group) {
            row.groups.push(group.clone());
        }
    }
    row.seal = m.app.ring.seal(Label::Invite, &row.sealed_bytes(workspace.as_str())).to_vec();
    let older = queries::by_email(m.tx, &workspace, email)?;
    if let Some(older) = &older {
        queries::delete(m.tx, &workspace, &older.id)?;
    }
    queries::insert(m.tx, &workspace, &row)?;
    let expires_at_unix = Timestamp(row.expires_at).seconds();
    m.audit(
        "Workspace Invitation Sent",
        row.target(),
        json!({
            "seat_type": row.seat_type,
            "group_ids": row.groups,
            "usage_limit": row.usage_limit,
            "expires_at_unix": expires_at_unix,
            "instead_of": older.map(|older| older.id),
        }),
    );
    m.event(
        "invite.created",
        json!({ "invite_id": row.id, "email": email, "seat_type": row.seat_type, "expires_at_unix": expires_at_unix }),
    );
    let link = Secret::new(format!("{}/invite/{}", m.app.url, token.expose()));
    if m.app.mailer.is_none() {
        return Ok(Some(InviteLink { email: email.to_owned(), invite_url: link }));
    }
    let authority = &m.authority;
    let inviter = if authority.name.is_empty() { &authority.email } else { &authority.name };
    let subject = format!("{inviter} invites you to {}", m.workspace.name);
    let body = Secret::new(format!(
        "{inviter} ({}) invites you to join the workspace \"{}\".\n\nTo join, open this link. It works once, for {DAYS} days at \
         most:\n\n{}\n\nIf you did not expect this, do nothing: without the link nobody joins in your name.\n",
        authority.email,
        m.workspace.name,
        link.expose(),
    ));
    mail::queue(m, email, &subject, &body)?;
    Ok(None)
}

/// Takes an invite back.
pub async fn revoke(app: &Arc<App>, caller: &Caller, email: String) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = queries::by_email(m.tx, &workspace, &email.to_lowercase())?;
        let row = row.filter(|row| row.expires_at > m.now.0).ok_or_else(not_found)?;
        queries::delete(m.tx, &workspace, &row.id)?;
        m.audit("Workspace Invitation Revoked", row.target(), json!({}));
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Everybody who was invited and may still come, oldest first.
pub async fn list(app: &Arc<App>, workspace: WorkspaceId) -> Result<Vec<Invite>, Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let mut rows = queries::open(tx, &workspace, worker.clock.now())?;
        rows.retain(|row| row.is_sealed(&worker.ring, &workspace));
        Ok(rows)
    };
    Ok(app.store.read(read).await?.into_iter().map(view).collect())
}

fn view(row: InviteRow) -> Invite {
    Invite {
        invite_id: row.id.into(),
        email: row.email,
        seat_type: row.seat_type,
        group_ids: row.groups.into_iter().map(Into::into).collect(),
        usage_limit: row.usage_limit,
        invited_by: row.invited_by.into(),
        created_at_unix: Timestamp(row.created_at).seconds(),
        expires_at_unix: Timestamp(row.expires_at).seconds(),
    }
}

/// The one refusal for an invite that never was, is too late, was used or was taken back.
fn not_found() -> Failure {
    Failure::refused(ErrorCode::InviteNotFound, "There is no such invite, or it no longer works.")
}

/// Every invite whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let broken = |(workspace, row): &(WorkspaceId, InviteRow)| !row.is_sealed(ring, workspace);
    Ok(queries::all(tx)?.into_iter().filter(broken).map(|(_, row)| row.id).collect())
}

/// Forgets invites whose time is over.
pub fn forget_old(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Error> {
    queries::forget_before(tx, now)
}
