//! `POST /v1/api-keys/verify`: one question about one key, answered with one decision.

use crate::id::{DecisionId, KeyId, LeaseId, PrincipalId, WorkspaceId};
use crate::resource::{GrantStep, Role};
use crate::secret::{Secret, reveal};
use serde::{Deserialize, Serialize};

/// The question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyApiKey {
    /// The key in question.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub api_key: Secret,
    /// All of these must be held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// The address the key was presented from. A key with an allowlist and no address given is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Credits to charge if the answer is yes; absent or 0 charges nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// The same id, with the same key (or its successor by rotation) and cost, is charged once within ten minutes on a
    /// node. Each is a use for the rate limits all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// A role that the key's account must hold on a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceAsked>,
    /// What is to be under way: `tts`, `dubbing` or `music`. A yes takes a place, if the key has a limit of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// How long the place is held if nobody releases it; 300 if absent, a day at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u32>,
    /// Adds the trail of checks and the names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<bool>,
    /// A revision that an earlier answer carried: never decide by an older state. Waits up to a second, then 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
}

/// A role on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceAsked {
    /// One of the server's resource types.
    pub resource_type: String,
    /// Which of that type.
    pub resource_id: String,
    /// This one or a stronger one; `viewer` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// How the key's account stands to the resource asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceStanding {
    /// The role asked for.
    pub role: Role,
    /// The strongest one held; null if there is none, or no such resource.
    pub role_held: Option<Role>,
    /// With `explain`: where it comes from, from the account to the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<GrantStep>>,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// May it?
    pub valid: bool,
    /// `VALID`, or why not.
    pub code: DecisionCode,
    /// To ask about this decision later.
    pub decision_id: DecisionId,
    /// Null if the key is not known.
    pub key_id: Option<KeyId>,
    /// The key's owner.
    pub service_account_user_id: Option<PrincipalId>,
    /// The workspace the key belongs to.
    pub workspace_id: Option<WorkspaceId>,
    /// Null means unrestricted (or an unknown key).
    pub permissions: Option<Vec<String>>,
    /// The permissions asked for and not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_permissions: Option<Vec<String>>,
    /// How the account stands to the resource, if one was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceStanding>,
    /// Seconds since the epoch; null means never.
    pub expires_at: Option<i64>,
    /// Credits a month; null means no cap.
    pub character_limit: Option<i64>,
    /// Credits used this month, this charge included.
    pub character_count: Option<i64>,
    /// Credits left this month, also of what the account and its groups may use; null means no cap.
    pub remaining: Option<i64>,
    /// When the month's credits begin anew; seconds since the epoch.
    pub resets_at: Option<i64>,
    /// Credits lost this month with a node that ended in the middle; counted as gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_forfeited: Option<i64>,
    /// How the key's rate limits stand after this decision.
    #[serde(default)]
    pub rate_limits: Vec<RateLimitState>,
    /// With `RATE_LIMITED` and `USAGE_EXCEEDED`: the limit that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// The place that was taken, if the key has a limit of the concurrency asked for: to be released when the work is
    /// done. It is free again after `lease_seconds` anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// The state the decision was made by.
    pub revision: String,
    /// For how long this node has not been able to confirm its state; only from 5 seconds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
    /// With `explain`: each check in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<CheckReport>>,
    /// With `explain`: the key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// With `explain`: the owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// The body of `POST /v1/api-keys/verify-batch`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyApiKeys {
    /// 1–1,000 questions.
    pub requests: Vec<VerifyApiKey>,
}

/// The answers, in the order of the questions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decisions {
    /// Each a decision, or `{"error": {code, message}}` where it can't be known.
    pub results: Vec<BatchResult>,
}

/// What became of one question of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum BatchResult {
    /// Decided.
    Decided(Box<Decision>),
    /// Can't be known: never taken for a no, nor for a yes.
    Unknown {
        /// Why.
        error: Unknown,
    },
}

/// Why a question can't be answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unknown {
    /// One of the codes of status 503.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The body of `POST /v1/api-keys/{key_id}/simulate`: a question without the secret. Nothing is charged or taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Simulate {
    /// All of these must be held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// The address to be presented from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Credits that would be charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// What would be under way: `tts`, `dubbing` or `music`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// A role that the key's account must hold on a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceAsked>,
}

/// A decision of the recent past, with its trail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PastDecision {
    /// When; seconds since the epoch.
    pub decided_at: i64,
    /// What was asked.
    pub asked: Asked,
    /// The decision, always with its `checks` and names.
    pub decision: Decision,
}

/// The latest decisions of a workspace, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PastDecisions {
    /// At most 100.
    pub decisions: Vec<PastDecision>,
}

/// What was asked of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Asked {
    /// The permissions.
    pub permissions: Vec<String>,
    /// The address the key was presented from, as far as it was known.
    pub ip: Option<String>,
    /// Credits to be charged.
    pub cost: i64,
    /// What was to be under way.
    pub concurrency: Option<String>,
    /// The type of the resource asked about; absent also where a proxy asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which of that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// The role asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// How a rate limit stands after the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimitState {
    /// What the key's settings call it.
    pub name: String,
    /// Uses at once; as many come back evenly over the window.
    pub limit: i64,
    /// Uses left now.
    pub remaining: i64,
    /// When all of them are there again; seconds since the epoch, rounded up.
    pub reset_at: i64,
}

/// The limit that a denial speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitHit {
    /// What it is called.
    pub name: String,
    /// Of which kind it is.
    pub kind: LimitKind,
    /// How much it allows.
    pub limit: i64,
    /// How much of it is left.
    pub remaining: i64,
    /// Seconds after which it is worth asking again, rounded up.
    pub retry_after: i64,
}

/// The kinds of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Uses in a time.
    Rate,
    /// Things under way at once.
    Concurrency,
    /// Credits a month.
    Credits,
}

/// One check of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckReport {
    /// Which check.
    pub check: String,
    /// Whether it let the key through.
    pub passed: bool,
    /// Why, for people.
    pub reason: String,
}

/// The outcome of a verification as one word, in the order of the checks (DESIGN §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DecisionCode {
    /// Yes.
    Valid,
    /// Can't be a key: mistyped, cut, over-long or made up.
    Malformed,
    /// No key of this workspace.
    NotFound,
    /// Was revoked for good.
    Revoked,
    /// The workspace is disabled.
    WorkspaceDisabled,
    /// The key's account is disabled or deleted.
    AccountDisabled,
    /// The key is disabled.
    Disabled,
    /// The key's time is over.
    Expired,
    /// Not from this address, or no address was given.
    IpNotAllowed,
    /// A permission asked for isn't held.
    InsufficientPermissions,
    /// The key's account lacks the role asked for on the resource; `resource` says which it has.
    NoResourceAccess,
    /// Too often, or too much at once; `limit` says which limit and when to ask again.
    RateLimited,
    /// The month's credits don't cover the cost.
    UsageExceeded,
}
