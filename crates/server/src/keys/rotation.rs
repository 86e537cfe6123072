//! Rotation: a successor now, the old key later. The successor inherits everything and shares the lineage, so limits,
//! usage and history go on.

use super::{
    KeyRow, NewKey, addressed_key, insert, is_persons, made, mint, policy, power, queries, revoke_row, save, standing,
    told, view,
};
use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Mutation};
use crate::members::Caller;
use serde_json::json;
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, PrincipalId};
use stead_api::key::{ApiKey, Rotation};
use stead_api::time::Timestamp;

/// How long the old key goes on if nothing else is asked for.
pub const DEFAULT_GRACE_SECONDS: i64 = 24 * 60 * 60;
/// The longest it may go on.
pub const MAX_GRACE_SECONDS: i64 = 90 * 24 * 60 * 60;

/// Makes a successor of a key. The old one ends after the grace period, or when it would have ended anyway.
pub async fn rotate(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    principal: PrincipalId,
    id: KeyId,
    grace_seconds: i64,
) -> Result<Committed<NewKey>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let mut old = addressed_key(m, &principal, &id)?;
        power::check_seat(m, &principal)?;
        check_rotatable(&old, m.now)?;
        power::check_whole(&m.authority, &old)?;
        power::check_owner(m, &principal)?;
        power::check_credits(m, &principal, &old)?;
        let is_persons = is_persons(m, &principal)?;
        let (secret, fresh) = mint(m, &principal);
        let mut successor = KeyRow {
            id: fresh.id,
            hint: fresh.hint,
            digest: fresh.digest,
            pepper_version: fresh.pepper_version,
            is_foreign: fresh.is_foreign,
            created_at: fresh.created_at,
            rotated_from: Some(old.id.clone()),
            rotated_to: None,
            unrotated_expires_at: None,
            // One whose secret is public is disabled for good; its successor's is not public.
            is_disabled: false,
            disable_reason: None,
            enabled_at: None,
            exposed_at: None,
            expires_at: policy::inherited_expiry(&m.workspace.policies, old.expires_at, is_persons, m.now),
            version: 0,
            seal: Vec::new(),
            ..old.clone()
        };
        let grace_seconds = if old.is_exposed() { 0 } else { grace_seconds };
        let ends = m.now.plus_seconds(grace_seconds).0;
        let ends = old.expires_at.map_or(ends, |already| already.min(ends));
        old.unrotated_expires_at = old.expires_at;
        old.expires_at = Some(ends);
        old.rotated_to = Some(successor.id.clone());
        insert(m, &mut successor)?;
        save(m, &mut old)?;
        m.audit(
            "API Key Creation",
            successor.target(),
            json!({ "owner": principal, "rotated_from": old.id, "expires_at": successor.expires_at }),
        );
        m.audit(
            "API Key Update",
            old.target(),
            json!({ "rotated_to": successor.id, "expires_at": { "from": old.unrotated_expires_at, "to": ends } }),
        );
        m.event("api_key.created", told(&successor));
        m.event("api_key.rotated", told(&old));
        let used = queries::last_used(m.tx, &m.workspace.id(), &id)?;
        let rotation = Rotation {
            rotated_from: id.clone(),
            old_key_expires_at: Timestamp(ends).seconds(),
            old_key_last_used_at: view(m.app, &old, used).last_used_at,
        };
        Ok(made(m.app, &successor, secret, Some(rotation)))
    };
    mutation::mutate(app, caller, retry, operation).await
}

fn check_rotatable(key: &KeyRow, now: Timestamp) -> Result<(), Failure> {
    if key.rotated_to.is_some() {
        let message = "The key was rotated already. Rotate its successor, or undo the rotation.";
        return Err(Failure::refused(ErrorCode::AlreadyRotated, message));
    }
    match standing(key, now) {
        None => Ok(()),
        Some(ErrorCode::ApiKeyDisabled) if key.is_exposed() => Ok(()),
        Some(ErrorCode::ApiKeyDisabled) => Err(Failure::refused(
            ErrorCode::NotRotatable,
            "The key is disabled, and its successor would be, too. Enable it first.",
        )),
        Some(_) => Err(Failure::refused(
            ErrorCode::NotRotatable,
            "The key has expired, and its successor would have, too. Give it a later expiry first.",
        )),
    }
}

/// Undoes a rotation while the old key lives: the old key gets its expiry back, the successor is revoked.
pub async fn undo(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    principal: PrincipalId,
    id: KeyId,
) -> Result<Committed<ApiKey>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let mut old = addressed_key(m, &principal, &id)?;
        let not_rotated = || Failure::refused(ErrorCode::NotRotated, "The key has no rotation that could be undone.");
        let successor_id = old.rotated_to.take().ok_or_else(not_rotated)?;
        if standing(&old, m.now) == Some(ErrorCode::ApiKeyExpired) {
            return Err(Failure::refused(
                ErrorCode::NotRotated,
                "The key's grace period is over; the rotation can't be undone.",
            ));
        }
        let successor = queries::find(m.tx, &m.workspace.id(), &successor_id)?;
        if successor.as_ref().is_some_and(|successor| successor.rotated_to.is_some()) {
            let message = "The successor was rotated in turn. Undo that rotation first.";
            return Err(Failure::refused(ErrorCode::AlreadyRotated, message));
        }
        let shortened = old.expires_at;
        old.expires_at = old.unrotated_expires_at.take();
        power::check_whole(&m.authority, &old)?;
        power::check_owner(m, &principal)?;
        power::check_credits(m, &principal, &old)?;
        save(m, &mut old)?;
        m.audit(
            "API Key Update",
            old.target(),
            json!({ "rotation_undone": successor_id, "expires_at": { "from": shortened, "to": old.expires_at } }),
        );
        let mut data = told(&old);
        data["changed"] = json!(["rotated_to", "expires_at"]);
        m.event("api_key.updated", data);
        if let Some(successor) = successor.filter(|successor| successor.revoked_at.is_none()) {
            revoke_row(m, successor)?;
        }
        let used = queries::last_used(m.tx, &m.workspace.id(), &id)?;
        Ok(view(m.app, &old, used).into())
    };
    mutation::mutate(app, caller, retry, operation).await
}
