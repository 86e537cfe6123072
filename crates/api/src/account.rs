//! Service accounts (wire §6), with the brief's names beside the official ones.

use crate::group::Group;
use crate::id::PrincipalId;
use crate::key::ApiKey;
use crate::resource::Role;
use serde::{Deserialize, Serialize};

/// A service account as lists and reads show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceAccount {
    /// The id used in every path.
    pub service_account_user_id: PrincipalId,
    /// The same, by the brief's name.
    pub service_account_id: PrincipalId,
    /// 1–128 printable characters.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Made by the server; accepted wherever the wire takes a user's e-mail. Nothing is ever delivered to it.
    pub email: String,
    /// While true, every key of the account is refused.
    pub is_disabled: bool,
    /// Seconds since the epoch.
    pub created_at_unix: i64,
    /// The same, by the brief's name.
    pub created_at: i64,
    /// Keys that are not revoked.
    pub api_key_count: usize,
    /// When one of the account's keys was last accepted; seconds since the epoch.
    pub last_used_at: Option<i64>,
    /// The account's keys, without their secrets.
    #[serde(rename = "api-keys")]
    pub api_keys: Vec<ApiKey>,
    /// Groups that new resources of this account are shared with.
    pub default_sharing_groups: Vec<DefaultSharingGroup>,
    /// The groups it is in, by id, but for `default`.
    pub groups: Vec<String>,
    /// Credits a month, all its keys together; null for no limit.
    pub usage_limit: Option<i64>,
}

/// The answer of `GET /v1/service-accounts`: one list under the official and the brief's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceAccountList {
    /// The official name.
    #[serde(rename = "service-accounts")]
    pub hyphenated: Vec<ServiceAccount>,
    /// The brief's name.
    pub service_accounts: Vec<ServiceAccount>,
}

/// The body of `POST /v1/service-accounts`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateServiceAccount {
    /// 1–128 printable characters.
    pub name: String,
    /// Up to 1,000 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Groups that new resources of this account are shared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_sharing_groups: Option<Vec<DefaultSharing>>,
}

/// A group that new resources of an account are shared with, as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DefaultSharing {
    /// Which; `default` is everybody.
    pub group_id: String,
    /// `admin`, `editor` or `viewer`.
    pub permission_level: Role,
}

/// The same as it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DefaultSharingGroup {
    /// The group.
    pub group: Group,
    /// `admin`, `editor` or `viewer`.
    pub permission_level: Role,
}

/// The body of `PATCH /v1/service-accounts/{id}`: what is absent or null stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateServiceAccount {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new description; the empty string removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// False refuses every key of the account from the next request on; true lets them work again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_enabled: Option<bool>,
    /// All of the groups that new resources of this account are to be shared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_sharing_groups: Option<Vec<DefaultSharing>>,
}

/// The answer of `POST /v1/service-accounts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedServiceAccount {
    /// The official name, with hyphens.
    #[serde(rename = "service-account-user-id")]
    pub hyphenated: PrincipalId,
    /// The same with underscores.
    pub service_account_user_id: PrincipalId,
    /// The same, by the brief's name.
    pub service_account_id: PrincipalId,
    /// As asked for.
    pub name: String,
    /// As asked for.
    pub description: Option<String>,
    /// Made by the server.
    pub email: String,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// The same by the wire's name.
    pub created_at_unix: i64,
}

/// `{"status":"ok"}`, the answer where there is nothing to tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// `ok`.
    pub status: String,
}

impl Status {
    /// The one value there is.
    pub fn ok() -> Self {
        Self { status: "ok".into() }
    }
}
