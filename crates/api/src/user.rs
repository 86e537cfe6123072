//! `GET /v1/user` and `GET /v1/user/subscription`: who am I? Carries every field without which the official JavaScript SDK throws (wire §13).

use crate::id::{PrincipalId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// The caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(clippy::struct_excessive_bools, reason = "the wire's shape")]
pub struct User {
    /// The user or service account that the key belongs to.
    pub user_id: PrincipalId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its plan.
    pub subscription: Subscription,
    /// Always false.
    pub is_new_user: bool,
    /// Always false.
    pub can_use_delayed_payment_methods: bool,
    /// Always true.
    pub is_onboarding_completed: bool,
    /// Always true.
    pub is_onboarding_checklist_completed: bool,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// `workspace_admin`, `workspace_member`, …; a service account takes no seat and says `service_account`.
    pub seat_type: String,
    /// The name of the user or service account.
    pub first_name: Option<String>,
    /// Always true: no key is stored in the clear.
    pub is_api_key_hashed: bool,
    /// The last four characters of the key that asks.
    pub xi_api_key_preview: Option<String>,
}

/// Wire §13.2. Stead sells nothing: what has no meaning here is zero or false.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(clippy::struct_excessive_bools, reason = "the wire's shape")]
pub struct Subscription {
    /// Always `self_hosted`.
    pub tier: String,
    /// Credits the key has used this month.
    pub character_count: i64,
    /// The key's credits a month; the largest exact JSON integer if it has no cap.
    pub character_limit: i64,
    /// Always 0.
    pub max_credit_limit_extension: i64,
    /// Always false.
    pub can_extend_character_limit: bool,
    /// Always false.
    pub allowed_to_extend_character_limit: bool,
    /// Always null: nothing is sold on top.
    pub max_character_limit_extension: Option<i64>,
    /// Seconds since the epoch.
    pub next_character_count_reset_unix: i64,
    /// Always 0.
    pub voice_slots_used: i64,
    /// Always 0.
    pub professional_voice_slots_used: i64,
    /// Always 0.
    pub professional_voice_slots_used_in_workspace: i64,
    /// Always 0.
    pub voice_limit: i64,
    /// Always 0.
    pub voice_add_edit_counter: i64,
    /// Always 0.
    pub professional_voice_limit: i64,
    /// Always false.
    pub can_extend_voice_limit: bool,
    /// Always false.
    pub can_use_instant_voice_cloning: bool,
    /// Always false.
    pub can_use_professional_voice_cloning: bool,
    /// Always nothing.
    pub current_overage: Overage,
    /// Always `active`.
    pub status: String,
    /// Always null: nothing is billed.
    pub currency: Option<String>,
    /// Always null.
    pub billing_period: Option<String>,
    /// Always `monthly_period`.
    pub character_refresh_period: String,
}

/// The answer of `GET /v1/user/subscription`. There are no invoices, so whatever speaks of them is empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WholeSubscription {
    /// What `GET /v1/user` has of it, too.
    #[serde(flatten)]
    pub subscription: Subscription,
    /// Always null.
    pub next_invoice: Option<serde_json::Value>,
    /// Always empty.
    pub open_invoices: Vec<serde_json::Value>,
    /// Always false.
    pub has_open_invoices: bool,
    /// Always null.
    pub pending_change: Option<serde_json::Value>,
}

/// A sum of money.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overage {
    /// A decimal number.
    pub amount: String,
    /// `usd`.
    pub currency: String,
}
