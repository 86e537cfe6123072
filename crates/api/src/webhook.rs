//! Webhooks (wire §13.3), and what Stead adds: deliveries, a test, a new secret.

use crate::id::{EventId, WebhookId};
use crate::secret::{Secret, reveal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every event of this server, as webhooks subscribe to them and as `type` says it in a delivery.
pub const EVENTS: [&str; 26] = [
    "api_key.created",
    "api_key.updated",
    "api_key.rotated",
    "api_key.expiring",
    "api_key.expired",
    "api_key.disabled",
    "api_key.revoked",
    "api_key.limit_reached",
    "api_key.exposed",
    "service_account.created",
    "service_account.updated",
    "service_account.disabled",
    "service_account.enabled",
    "service_account.deleted",
    "member.joined",
    "member.locked",
    "member.unlocked",
    "member.removed",
    "invite.created",
    "invite.revoked",
    "group.created",
    "group.updated",
    "group.deleted",
    "group.member_added",
    "group.member_removed",
    "webhook.test",
];

/// The wire's own events (§15.8). A webhook may subscribe to them, as the SDKs do; this server never sends one.
pub const WIRE_EVENTS: [&str; 4] = ["voice_library_removal_notice", "speech_to_text", "agent_qa", "flows"];

/// A webhook as lists and reads show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Webhook {
    /// 1–128 printable characters.
    pub name: String,
    /// The id used in every path.
    pub webhook_id: WebhookId,
    /// Where deliveries go.
    pub webhook_url: String,
    /// While true, nothing is sent and no event is noted for it.
    pub is_disabled: bool,
    /// The same, after too many failures; a PATCH with `is_disabled: false` ends it.
    pub is_auto_disabled: bool,
    /// Seconds since the epoch.
    pub created_at_unix: i64,
    /// Always `hmac`.
    pub auth_type: String,
    /// What of the platform uses it: nothing here. Only with `include_usages`.
    pub usage: Option<Vec<WebhookUsage>>,
    /// The events it is told of. Only with `include_usages`, and where one webhook is read.
    pub events: Option<Vec<String>>,
    /// The HTTP status of the last failure; null if there was none, or no answer.
    pub most_recent_failure_error_code: Option<i64>,
    /// When that was; seconds since the epoch.
    pub most_recent_failure_timestamp: Option<i64>,
    /// Whether a delivery that fails is tried again. Stead's own.
    pub retry_enabled: bool,
    /// The names of the headers that are sent along; their values are secrets. Stead's own.
    pub request_header_names: Vec<String>,
    /// While a new secret waits: from when on it signs; seconds since the epoch. Stead's own.
    pub next_secret_active_from_unix: Option<i64>,
}

/// A use of a webhook (wire §15.8).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookUsage {
    /// As in `Speech to Text`.
    pub usage_type: String,
}

/// The answer of `GET /v1/workspace/webhooks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookList {
    /// The oldest first.
    pub webhooks: Vec<Webhook>,
}

/// The body of `POST /v1/workspace/webhooks`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateWebhook {
    /// What it is to be.
    pub settings: WebhookSettings,
}

/// A webhook to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookSettings {
    /// Must be `hmac`.
    pub auth_type: String,
    /// 1–128 printable characters.
    pub name: String,
    /// `https://…`; at most 2,048 characters.
    pub webhook_url: String,
    /// Up to 20 headers that are sent along. Kept as secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<BTreeMap<String, String>>,
    /// The events it is told of; absent or null: all. Stead's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Whether a delivery that fails is tried again, for up to 72 hours; absent: yes. Stead's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_enabled: Option<bool>,
}

/// The answer of `POST /v1/workspace/webhooks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedWebhook {
    /// The id used in every path.
    pub webhook_id: WebhookId,
    /// What deliveries are signed with: in this answer and nowhere else.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub webhook_secret: Secret,
}

/// The body of `PATCH /v1/workspace/webhooks/{webhook_id}`; of the rest, what is absent or null stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateWebhook {
    /// True stops it and gives up what waits; false lets it go on, also after it was disabled by itself.
    pub is_disabled: bool,
    /// 1–128 printable characters.
    pub name: String,
    /// Whether a delivery that fails is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_enabled: Option<bool>,
    /// All headers anew; one whose value is null keeps the value it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<BTreeMap<String, Option<String>>>,
    /// All events anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
}

/// The body of `POST …/rotate-secret`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotateWebhookSecret {
    /// So long the old secret goes on signing, 0 to 30 days; absent: the new one signs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
}

/// The answer of `POST …/rotate-secret`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotatedWebhookSecret {
    /// Whose.
    pub webhook_id: WebhookId,
    /// The new secret: in this answer and nowhere else.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub webhook_secret: Secret,
    /// From when on it signs, and the old one no longer does; seconds since the epoch.
    pub active_from_unix: i64,
}

/// The answer of `POST …/test`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestedWebhook {
    /// `ok`: the event is on its way.
    pub status: String,
    /// To be looked for among the deliveries.
    pub event_id: EventId,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Not tried yet.
    Pending,
    /// Tried in vain, and to be tried again.
    Failed,
    /// The receiver answered 2xx.
    Delivered,
    /// Given up: a dead letter. It can be sent again by hand.
    Dead,
}

impl DeliveryStatus {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Failed, Self::Delivered, Self::Dead];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The status of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// An event on its way to a webhook, or at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookDelivery {
    /// The same each time it is sent.
    pub event_id: EventId,
    /// As in `api_key.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// How often it was sent.
    pub attempts: i64,
    /// When the event happened; seconds since the epoch.
    pub created_at_unix: i64,
    /// When it was sent last; seconds since the epoch.
    pub last_attempt_at_unix: Option<i64>,
    /// When it is sent next; seconds since the epoch.
    pub next_attempt_at_unix: Option<i64>,
    /// What the receiver answered last, if it did.
    pub last_response_status: Option<i64>,
    /// Why the last attempt failed, or why it was given up.
    pub last_error: Option<String>,
}

/// A page of deliveries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookDeliveryPage {
    /// The newest event first.
    pub deliveries: Vec<WebhookDelivery>,
    /// Whether there are more.
    pub has_more: bool,
    /// To be given as `cursor` for the next page.
    pub next_cursor: Option<String>,
}
