//! HTTP of members: who am I?

use super::Caller;
use crate::app::App;
use crate::error::Failure;
use crate::http::reply::{Answer, json};
use crate::store::Tx;
use crate::{keys, workspaces};
use axum::extract::State;
use std::sync::Arc;
use stead_api::time::Timestamp;
use stead_api::user::{Overage, Subscription, User};
use stead_verify::period::Period;

/// What a key without a cap shows as its limit: the largest number that is exact in every client.
const NO_CAP: i64 = crate::http::fields::MAX_NUMBER;

/// `GET /v1/user`.
pub async fn whoami(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let (worker, asker) = (app.clone(), caller.clone());
    let read = move |tx: &mut Tx<'_>| {
        let id = asker.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
        let workspace = workspaces::find(tx, id)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
        super::authorize(tx, &worker.ring, &asker, &workspace, worker.clock.now())
    };
    let authority = app.store.read(read).await?;
    let (Some(asker), Some(key)) = (caller.key(), authority.key) else {
        return Err(Failure::Defect("a caller without a key".into()));
    };
    let mirrored = app.index.get(&asker.id).ok_or_else(keys::not_found)?;
    let ((used, _), month) = keys::month_of(&app, &mirrored, app.clock.now());
    json(&User {
        user_id: asker.principal_id.clone(),
        workspace_id: asker.workspace_id.clone(),
        subscription: subscription(used, key.character_limit.unwrap_or(NO_CAP), month),
        is_new_user: false,
        can_use_delayed_payment_methods: false,
        is_onboarding_completed: true,
        is_onboarding_checklist_completed: true,
        created_at: Timestamp(authority.created_at).seconds(),
        seat_type: authority.seat,
        first_name: Some(authority.name).filter(|name| !name.is_empty()),
        is_api_key_hashed: true,
        xi_api_key_preview: Some(key.hint),
    })
}

fn subscription(character_count: i64, character_limit: i64, month: Period) -> Subscription {
    Subscription {
        tier: "self_hosted".into(),
        character_count,
        character_limit,
        max_credit_limit_extension: 0,
        can_extend_character_limit: false,
        allowed_to_extend_character_limit: false,
        next_character_count_reset_unix: month.ends.seconds(),
        voice_slots_used: 0,
        professional_voice_slots_used: 0,
        professional_voice_slots_used_in_workspace: 0,
        voice_limit: 0,
        voice_add_edit_counter: 0,
        professional_voice_limit: 0,
        can_extend_voice_limit: false,
        can_use_instant_voice_cloning: false,
        can_use_professional_voice_cloning: false,
        current_overage: Overage { amount: "0".into(), currency: "usd".into() },
        status: "active".into(),
    }
}
