//! Groups (wire §9.1–9.3).

use crate::id::PrincipalId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/workspace/groups`: by id.
pub type Groups = BTreeMap<String, Group>;

/// A group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// What people call it.
    pub name: String,
    /// Which; `default` is everybody.
    pub id: String,
    /// People and service accounts.
    pub members: Vec<PrincipalId>,
    /// What its members may do (wire §15.2).
    pub permissions: Vec<String>,
    /// Credits a month, all its members' keys together; null for no limit.
    pub group_usage_limit: Option<i64>,
    /// Always null: there is no such limit here. The same holds for the next three.
    pub group_pvc_limit: Option<i64>,
    /// Always null.
    pub group_concurrency_limit: Option<i64>,
    /// Always null.
    pub group_dubbing_concurrency_limit: Option<i64>,
    /// Always null.
    pub group_music_concurrency_limit: Option<i64>,
    /// Credits used this month since it has a limit; null without one.
    pub character_count: Option<i64>,
    /// Always false.
    pub is_scim_synced: bool,
    /// Always false.
    pub scim_frozen: bool,
    /// When it was made; seconds since the epoch.
    pub created_at_unix: i64,
}

/// The answer of `GET /v1/workspace/groups`: every group, by its id.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "only described")]
pub struct GroupsById(BTreeMap<String, Group>);

/// The answer of `GET /v1/workspace/groups/search`: a plain list.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "only described")]
pub struct FoundGroups(Vec<FoundGroup>);

/// A group that was searched for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundGroup {
    /// What people call it.
    pub name: String,
    /// Which.
    pub id: String,
    /// Its members' e-mails.
    pub members_emails: Vec<String>,
}

/// The body of `POST /v1/workspace/groups`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateGroup {
    /// 1–128 printable characters; no other group of the workspace has it.
    pub name: String,
    /// What its members may do (wire §15.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// Credits a month, all its members' keys together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_usage_limit: Option<i64>,
}

/// The body of `PATCH /v1/workspace/groups/{group_id}`. What is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateGroup {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All of the permissions it is to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// A number, or `"unlimited"` or `"clear"` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::key::schema::UsageLimitChange>))]
    pub group_usage_limit: Option<serde_json::Value>,
}

/// The body of `POST …/members` and `POST …/members/remove`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupMember {
    /// A person's e-mail, or a service account's.
    pub email: String,
}
