//! Workspaces: as the operator sees them, as their members do, and what they ask of keys.

use crate::id::{KeyId, PrincipalId, WorkspaceId};
use crate::key::Change;
use crate::secret::{Secret, reveal};
use serde::{Deserialize, Serialize};

/// A workspace as the operator sees it. Nothing of what is in it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Workspace {
    /// Which.
    pub workspace_id: WorkspaceId,
    /// 1–128 printable characters.
    pub name: String,
    /// The member who owns it.
    pub owner_user_id: Option<PrincipalId>,
    /// The owner's e-mail.
    pub owner_email: Option<String>,
    /// How many people it may have; one seat means no service accounts.
    pub seats: i64,
    /// People on a full seat who are not locked.
    pub seats_used: i64,
    /// Suspended: every key of it is refused.
    pub is_disabled: bool,
    /// The day of the month on which its credits begin anew.
    pub billing_day: i64,
    /// The zone of that day, by its IANA name.
    pub billing_zone: String,
    /// What it may have, where that is not what the server's settings say.
    pub limits: WorkspaceLimits,
    /// Seconds since the epoch.
    pub created_at: i64,
}

/// What a workspace may have. Null means what the server's settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceLimits {
    /// Service accounts.
    pub service_accounts: Option<i64>,
    /// Keys of one account that are not revoked.
    pub api_keys_per_account: Option<i64>,
}

/// The answer of `GET /v1/workspaces`: a page, the oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspacePage {
    /// The page.
    pub workspaces: Vec<Workspace>,
    /// Whether there is a further page.
    pub has_more: bool,
    /// To be given back as `cursor`.
    pub next_cursor: Option<String>,
}

/// The body of `POST /v1/workspaces`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateWorkspace {
    /// 1–128 printable characters.
    pub name: String,
    /// The e-mail of the person who will own it.
    pub owner_email: String,
    /// 1–1,000,000; absent means what the server's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<i64>,
    /// 1–31; absent means what the server's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_day: Option<i64>,
    /// The IANA name of a zone; absent means what the server's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_zone: Option<String>,
}

/// The answer of `POST /v1/workspaces`: the only place where the secret of the owner's first key appears.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedWorkspace {
    /// The secret of the owner's key, shown this once.
    #[serde(rename = "xi-api-key", serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub xi_api_key: Secret,
    /// The same, by the brief's name.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub api_key: Secret,
    /// The owner's key.
    pub key_id: KeyId,
    /// The same, by the brief's name.
    pub api_key_id: KeyId,
    /// The workspace.
    #[serde(flatten)]
    pub workspace: Workspace,
}

/// The body of `PATCH /v1/workspaces/{workspace_id}`: what is absent or null stays.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateWorkspace {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// True suspends: every key is refused from the next request on. False lets them work again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_disabled: Option<bool>,
    /// 1–1,000,000. Fewer than are used takes nobody's seat away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<i64>,
    /// 1–31.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_day: Option<i64>,
    /// The IANA name of a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_zone: Option<String>,
    /// What it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<UpdateWorkspaceLimits>,
}

/// Changes of [`WorkspaceLimits`]: a number, or `"clear"` for what the server's settings say.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateWorkspaceLimits {
    /// 0–100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::IntegerChange>))]
    pub service_accounts: Option<Change<i64>>,
    /// 0–1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::IntegerChange>))]
    pub api_keys_per_account: Option<Change<i64>>,
}

/// The answer of `GET /v1/workspace`: the caller's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnWorkspace {
    /// Which.
    pub workspace_id: WorkspaceId,
    /// 1–128 printable characters.
    pub name: String,
    /// How many people it may have.
    pub seats: i64,
    /// People on a full seat who are not locked.
    pub seats_used: i64,
    /// What it may have, never null here.
    pub limits: WorkspaceLimits,
    /// Whether holders may disable their keys, whatever a key's own setting says (wire §8.2); null: the key's counts.
    pub third_party_disable_allowed: Option<bool>,
    /// What it asks of keys.
    pub policies: WorkspacePolicies,
    /// Seconds since the epoch.
    pub created_at: i64,
}

/// The body of `PATCH /v1/workspace`: what is absent or null stays.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateOwnWorkspace {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it asks of keys from now on. Keys that are there keep working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<UpdateWorkspacePolicies>,
}

/// What a workspace asks of keys when they are made or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspacePolicies {
    /// A key made without an expiry ends after so many seconds.
    pub default_expiry_seconds: Option<i64>,
    /// No key may be given an expiry that lies further ahead, in seconds.
    pub max_expiry_seconds: Option<i64>,
    /// Which keys must have an expiry.
    pub expiry_required: ExpiryRequired,
    /// The permissions that keys may be given; null: every one, and `all`.
    pub allowed_permissions: Option<Vec<String>>,
    /// Whether a key must have a list of addresses.
    pub allowed_ips_required: bool,
    /// A key that was not used for so many days is disabled, with the reason `idle`.
    pub disable_idle_after_days: Option<i64>,
}

/// Which keys must have an expiry (wire §7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExpiryRequired {
    /// None, unless there is a maximum: then all.
    #[default]
    None,
    /// All.
    All,
    /// Those of people; service accounts' may live for ever.
    UserKeys,
}

impl ExpiryRequired {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::None, Self::All, Self::UserKeys];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::All => "all",
            Self::UserKeys => "user_keys",
        }
    }
}

/// Changes of [`WorkspacePolicies`]: what is absent or null stays, `"clear"` removes.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateWorkspacePolicies {
    /// 60 seconds to ten years; not more than the maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::IntegerChange>))]
    pub default_expiry_seconds: Option<Change<i64>>,
    /// 60 seconds to ten years.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::IntegerChange>))]
    pub max_expiry_seconds: Option<Change<i64>>,
    /// `none`, `all` or `user_keys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_required: Option<ExpiryRequired>,
    /// Permissions of the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::StringsChange>))]
    pub allowed_permissions: Option<Change<Vec<String>>>,
    /// Whether a key must have a list of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ips_required: Option<bool>,
    /// 1–3,650.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::IntegerChange>))]
    pub disable_idle_after_days: Option<Change<i64>>,
}

/// The body of `POST /v1/workspaces/api-keys/third-party-disabling` (wire §8.2).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThirdPartyDisabling {
    /// True: every key may be disabled by its holder; false: none may; null or absent: each key's own setting counts.
    #[serde(default)]
    pub third_party_disable_allowed: Option<bool>,
}

/// What `POST /v1/api-keys/report` takes: one report, or a list of up to 100.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described")]
pub enum ReportApiKeys {
    /// One.
    One(ReportApiKey),
    /// A list.
    List(Vec<ReportApiKey>),
}

/// The body of `POST /v1/api-keys/report`: somebody has found a key where it should not be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportApiKey {
    /// The secret, which is the proof. `token`, as secret scanners call it, is another name for it.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub api_key: Secret,
    /// Where it was found; up to 2,000 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What kind of place that is, as in `commit`; up to 200 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What else there is to say; up to 1,000 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}
