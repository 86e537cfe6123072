//! Listing, changing and removing people (wire §9.5–9.7), and what a month may cost them or a service account.

use super::seats::Taken;
use super::{Caller, MemberRow, SeatType, principal, queries, save};
use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Mutation};
use crate::keys::{self, power};
use crate::resources;
use crate::store::{Error, Tx};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::member::Member;
use stead_api::time::Timestamp;

/// What is to be changed of a person; `None` stays.
pub struct Change {
    /// Whose, in any case.
    pub email: String,
    /// Whether nothing of theirs works.
    pub is_locked: Option<bool>,
    /// Another seat.
    pub seat: Option<SeatType>,
    /// Whoever is unlocked while only a basic seat is free takes that one.
    pub may_downgrade: bool,
}

/// Everybody who was not removed, the oldest first.
pub fn people(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<MemberRow>, Error> {
    queries::list(tx, workspace)
}

/// A person by e-mail, in any case, or the refusal that reads the same for one of another workspace.
fn by_email(tx: &mut Tx<'_>, workspace: &WorkspaceId, email: &str) -> Result<MemberRow, Failure> {
    queries::find_by_email(tx, workspace, &email.to_lowercase())?.ok_or_else(no_such_member)
}

fn no_such_member() -> Failure {
    Failure::refused(ErrorCode::UserNotFound, "There is no such member.")
}

fn not_trusted() -> Failure {
    let message = "The member was changed behind the server's back and is refused. They can only be removed.";
    Failure::refused(ErrorCode::NotTrusted, message)
}

/// Everybody, as the wire lists them.
pub async fn list(app: &Arc<App>, workspace: WorkspaceId) -> Result<Vec<Member>, Failure> {
    let people = app.store.read(move |tx| people(tx, &workspace)).await?;
    Ok(people.into_iter().map(view).collect())
}

fn view(row: MemberRow) -> Member {
    Member {
        user_id: row.id.into(),
        email: row.email,
        first_name: Some(row.name).filter(|name| !name.is_empty()),
        seat_type: row.seat_type,
        is_owner: row.is_owner,
        is_locked: row.is_locked,
        group_ids: row.groups.into_iter().map(Into::into).collect(),
        usage_limit: row.usage_limit,
        created_at_unix: Timestamp(row.created_at).seconds(),
    }
}

/// Locks or unlocks a person, or gives them another seat.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    change: Change,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let old = by_email(m.tx, &workspace, &change.email)?;
        if !old.is_sealed(&m.app.ring, &workspace) {
            return Err(not_trusted());
        }
        let row = changed(m, &old, &change)?;
        let mut details = Map::new();
        keys::note_change(&mut details, "is_locked", &old.is_locked, &row.is_locked);
        keys::note_change(&mut details, "seat_type", &old.seat_type, &row.seat_type);
        if !details.is_empty() {
            if is_raised(&old, &row) {
                // Their keys begin to work, or to do more: none of them may be stronger than the one that asks.
                for key in keys::rows_of_principal(m.tx, &workspace, &row.id.as_str().into())? {
                    power::check_whole(&m.authority, &key)?;
                }
            }
            let mut row = row;
            save(m, &mut row)?;
            m.audit("Workspace Member Update", row.target(), Value::Object(details));
            if old.is_locked != row.is_locked {
                let event = if row.is_locked { "member.locked" } else { "member.unlocked" };
                m.event(event, told(&row));
            }
        }
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// The row as a change leaves it, if there is a seat for it.
fn changed(m: &mut Mutation<'_, '_>, old: &MemberRow, change: &Change) -> Result<MemberRow, Failure> {
    let mut row = old.clone();
    row.is_locked = change.is_locked.unwrap_or(old.is_locked);
    if let Some(seat) = change.seat {
        seat.as_str().clone_into(&mut row.seat_type);
    }
    if row.is_owner && (row.is_locked || row.seat() != Some(SeatType::WorkspaceAdmin)) {
        let message = "The owner of a workspace can't be locked, and stays an admin.";
        return Err(Failure::refused(ErrorCode::Forbidden, message));
    }
    if row.is_locked {
        return Ok(row);
    }
    let mut others = queries::list(m.tx, &m.workspace.id())?;
    others.retain(|other| other.id != old.id);
    let others = Taken::by(&others);
    let before = if old.is_locked { others } else { others.and(1, old.seat()) };
    let seats = m.workspace.seats;
    let fits = others.and(1, row.seat()).check(before, seats);
    let basic = SeatType::WorkspaceLiteMember;
    if fits.is_err() && old.is_locked && change.may_downgrade && row.seat() != Some(basic) {
        others.and(1, Some(basic)).check(before, seats)?;
        basic.as_str().clone_into(&mut row.seat_type);
        return Ok(row);
    }
    fits.map(|()| row)
}

/// Whether a change gives somebody anything they didn't have.
fn is_raised(old: &MemberRow, new: &MemberRow) -> bool {
    let rank = |row: &MemberRow| match row.seat() {
        None => 0,
        Some(SeatType::WorkspaceLiteMember) => 1,
        Some(SeatType::WorkspaceMember) => 2,
        Some(SeatType::WorkspaceAdmin) => 3,
    };
    (old.is_locked && !new.is_locked) || rank(new) > rank(old)
}

/// What an event says of a person.
fn told(row: &MemberRow) -> Value {
    json!({ "user_id": row.id, "email": row.email, "seat_type": row.seat_type })
}

/// Removes a person, with all they hold, for good. Whoever may remove others may remove themselves.
pub async fn remove(app: &Arc<App>, caller: &Caller, email: String) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = by_email(m.tx, &workspace, &email)?;
        // Whoever wrote the row: to remove it is the one thing that can still be done. But not with the owner's, which
        // may be the owner's indeed.
        if row.is_owner {
            let message = "The owner of a workspace can't be removed.";
            return Err(Failure::refused(ErrorCode::Forbidden, message));
        }
        if row.is_admin() && !m.authority.is_admin {
            let message = "Only workspace admins may remove a workspace admin.";
            return Err(Failure::refused(ErrorCode::Forbidden, message));
        }
        end(m, row)?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Ends a membership: nothing of theirs works any more, and no group has them.
fn end(m: &mut Mutation<'_, '_>, mut row: MemberRow) -> Result<(), Failure> {
    let (workspace, id) = (m.workspace_id(), PrincipalId::from(row.id.as_str()));
    let groups = std::mem::take(&mut row.groups);
    row.removed_at = Some(m.now.0);
    save(m, &mut row)?;
    let shares = resources::forget_grantee(m, &row.id)?;
    let details = json!({ "seat_type": row.seat_type, "group_ids": groups, "shared_resources": shares });
    m.audit("Workspace Member Removal", row.target(), details);
    m.event("member.removed", told(&row));
    for key in keys::rows_of_principal(m.tx, &workspace, &id)? {
        keys::revoke_row(m, key)?;
    }
    Ok(())
}

/// Sets or removes what all keys of a person or service account may spend in a month.
pub async fn set_usage_limit(
    app: &Arc<App>,
    caller: &Caller,
    id: PrincipalId,
    limit: Option<i64>,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let mut member = principal(m.tx, &workspace, &id)?.ok_or_else(no_such_member)?;
        if !member.is_sealed(&m.app.ring, &workspace) {
            return Err(not_trusted());
        }
        let old = std::mem::replace(member.usage_limit_mut(), limit);
        if old != limit {
            member.save(m)?;
            let details = json!({ "usage_limit": { "from": old, "to": limit } });
            m.audit("Workspace Member Usage Limit Update", member.target(), details);
        }
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}
