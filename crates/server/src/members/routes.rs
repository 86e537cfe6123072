//! HTTP of members (wire §9.5–9.7), and: who am I (wire §13.1–13.2)?

use super::{Caller, Change, SeatType};
use crate::accounts::routes::workspace;
use crate::app::App;
use crate::error::Failure;
use crate::http::extract::{Ids, JsonObject};
use crate::http::fields::{EMAIL, Fields, MAX_NUMBER};
use crate::http::reply::{Answer, committed, json};
use crate::store::Tx;
use crate::{keys, workspaces};
use axum::extract::State;
use std::sync::Arc;
use stead_api::member::MemberList;
use stead_api::time::Timestamp;
use stead_api::user::{Overage, Subscription, User, WholeSubscription};
use stead_verify::period::Period;

/// What a key without a cap shows as its limit: the largest number that is exact in every client.
const NO_CAP: i64 = MAX_NUMBER;

/// `GET /v1/workspace/members`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&MemberList(super::list(&app, workspace(&caller)?).await?))
}

/// `POST /v1/workspace/members`.
pub async fn update(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = Change {
        email: fields.required_text("email", EMAIL),
        is_locked: fields.boolean("is_locked"),
        seat: seat(&mut fields, "workspace_seat_type", "workspace_role", true),
        may_downgrade: fields.boolean("allow_downgrade_to_basic_seat").unwrap_or(false),
    };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, body.retry, change).await?;
    committed(&made, &made.value)
}

/// A seat under its name or under a deprecated one; two different ones are a mistake. If it is not `strict`, the
/// deprecated field may hold words of older times, which mean nothing here.
pub fn seat(fields: &mut Fields<'_>, name: &str, deprecated: &str, strict: bool) -> Option<SeatType> {
    let mut read = |name: &str, strict: bool| {
        let text = fields.value(name)?;
        let seat = text.as_str().and_then(SeatType::parse);
        if seat.is_none() && (strict || !text.is_string()) {
            let words = SeatType::ALL.map(SeatType::as_str).join("', '");
            fields.mistake(name, "enum", format!("Input should be one of '{words}'"));
        }
        seat
    };
    let (seat, twin) = (read(name, true), read(deprecated, strict));
    if seat.is_some() && twin.is_some() && seat != twin {
        fields.mistake(
            deprecated,
            "value_error",
            format!("{deprecated} and {name} are the same thing; they differ here"),
        );
    }
    seat.or(twin)
}

/// `DELETE /v1/workspace/members`.
pub async fn remove(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let email = fields.required_text("email", EMAIL);
    let email = fields.finish(email)?;
    let made = super::remove(&app, &caller, email).await?;
    committed(&made, &made.value)
}

/// `PUT /v1/workspace/members/{user_id}/usage-limit`.
pub async fn set_usage_limit(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([member]): Ids<1>,
    body: JsonObject,
) -> Answer {
    let mut fields = Fields::new(&body.object);
    let limit = fields.number("usage_limit", 0, MAX_NUMBER);
    let limit = fields.finish(limit)?;
    let made = super::set_usage_limit(&app, &caller, member.into(), limit).await?;
    committed(&made, &made.value)
}

/// `GET /v1/user`.
pub async fn whoami(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&user(&app, caller).await?)
}

/// `GET /v1/user/subscription`.
pub async fn subscription(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let user = user(&app, caller).await?;
    json(&WholeSubscription {
        subscription: user.subscription,
        next_invoice: None,
        open_invoices: Vec::new(),
        has_open_invoices: false,
        pending_change: None,
    })
}

async fn user(app: &Arc<App>, caller: Caller) -> Result<User, Failure> {
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
    let ((used, _), month) = keys::month_of(app, &mirrored, app.clock.now());
    Ok(User {
        user_id: asker.principal_id.clone(),
        workspace_id: asker.workspace_id.clone(),
        subscription: plan(used, key.character_limit.unwrap_or(NO_CAP), month),
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

fn plan(character_count: i64, character_limit: i64, month: Period) -> Subscription {
    Subscription {
        tier: "self_hosted".into(),
        character_count,
        character_limit,
        max_credit_limit_extension: 0,
        can_extend_character_limit: false,
        allowed_to_extend_character_limit: false,
        max_character_limit_extension: None,
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
        currency: None,
        billing_period: None,
        character_refresh_period: "monthly_period".into(),
    }
}
