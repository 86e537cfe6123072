//! People of a workspace: members, and those who were invited (wire §9.4–9.8).

use crate::id::{GroupId, InviteId, KeyId, PrincipalId, WorkspaceId};
use crate::secret::{Secret, reveal};
use serde::{Deserialize, Serialize, Serializer};

/// The answer of `GET /v1/workspace/members`: a plain list, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct MemberList(pub Vec<Member>);

/// A person, in the list that `GET /v1/workspace/members` answers. Service accounts are not among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Which.
    pub user_id: PrincipalId,
    /// Unique within the workspace; lower case.
    pub email: String,
    /// What others call them.
    pub first_name: Option<String>,
    /// `workspace_admin`, `workspace_member` or `workspace_lite_member`.
    pub seat_type: String,
    /// One member of each workspace is.
    pub is_owner: bool,
    /// While true, none of their keys works, and they take no seat.
    pub is_locked: bool,
    /// The groups they are in, without `default`, in which everybody is.
    pub group_ids: Vec<GroupId>,
    /// Credits a month, all their keys together; null without a limit.
    pub usage_limit: Option<i64>,
    /// When they joined; seconds since the epoch.
    pub created_at_unix: i64,
}

/// The body of `POST /v1/workspace/members`: what is absent or null stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateMember {
    /// Whose, in any case.
    pub email: String,
    /// True refuses all their keys from the next request on and frees their seat; false needs a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_locked: Option<bool>,
    /// `workspace_admin`, `workspace_member` or `workspace_lite_member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_seat_type: Option<String>,
    /// The same by its deprecated name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_role: Option<String>,
    /// When unlocking and only a basic seat is free: take that one instead of refusing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_downgrade_to_basic_seat: Option<bool>,
}

/// A body that names a person, or somebody who was invited: of `DELETE /v1/workspace/members` and of `DELETE
/// /v1/workspace/invites`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByEmail {
    /// Whose, in any case.
    pub email: String,
}

/// The body of `PUT /v1/workspace/members/{user_id}/usage-limit`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetUsageLimit {
    /// Credits a month, all keys of the member together, 0 to 2^53 − 1; null or absent removes the limit.
    #[serde(default)]
    pub usage_limit: Option<i64>,
}

/// The body of `POST /v1/workspace/invites/add`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateInvite {
    /// Whom, up to 254 ASCII characters. Somebody who was invited before gets a new link, and the old one stops working.
    pub email: String,
    /// `workspace_admin`, `workspace_member` (if absent) or `workspace_lite_member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat_type: Option<String>,
    /// Groups that they will be in, at most 100. `default` is accepted and adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_ids: Option<Vec<GroupId>>,
    /// Credits a month that they will have, 0 to 2^53 − 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_limit: Option<i64>,
}

/// The body of `POST /v1/workspace/invites/add-bulk`. All are invited, or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateInvites {
    /// Whom, 1 to 100 addresses.
    pub emails: Vec<String>,
    /// As for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat_type: Option<String>,
    /// As for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_ids: Option<Vec<GroupId>>,
    /// As for one; each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_limit: Option<i64>,
}

/// The answer of `POST /v1/workspace/invites/add`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedInvite {
    /// `ok`.
    pub status: String,
    /// The link to pass on, shown this once, where the server sends no mail. Whoever has it can join.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "reveal_some")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub invite_url: Option<Secret>,
}

/// The answer of `POST /v1/workspace/invites/add-bulk`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedInvites {
    /// `ok`.
    pub status: String,
    /// The links to pass on, shown this once, where the server sends no mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invites: Vec<InviteLink>,
}

/// A link for one address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteLink {
    /// Whose.
    pub email: String,
    /// Whoever has it can join.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub invite_url: Secret,
}

/// The answer of `GET /v1/workspace/invites`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteList {
    /// Those who were neither accepted, nor revoked, nor too late, oldest first.
    pub invites: Vec<Invite>,
}

/// Somebody who was asked to join. The link is never part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invite {
    /// Which.
    pub invite_id: InviteId,
    /// Whom; lower case.
    pub email: String,
    /// The seat they will have.
    pub seat_type: String,
    /// The groups they will be in.
    pub group_ids: Vec<GroupId>,
    /// Credits a month that they will have.
    pub usage_limit: Option<i64>,
    /// The user or service account that asked them.
    pub invited_by: PrincipalId,
    /// Seconds since the epoch.
    pub created_at_unix: i64,
    /// When the link stops working; seconds since the epoch.
    pub expires_at_unix: i64,
}

/// The body of `POST /v1/workspace/invites/accept`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptInvite {
    /// What follows `/invite/` in the link.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: Secret,
    /// What others are to call them, up to 128 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
}

/// The answer of `POST /v1/workspace/invites/accept`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedInvite {
    /// The workspace that was joined.
    pub workspace_id: WorkspaceId,
    /// The new member.
    pub user_id: PrincipalId,
    /// Where the invite was sent.
    pub email: String,
    /// The seat.
    pub seat_type: String,
    /// The member's first key; absent with a basic seat, since personal keys need a full one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// Its secret, shown this once. It may do what the key that invited may do, and no more.
    #[serde(rename = "xi-api-key", default, skip_serializing_if = "Option::is_none", serialize_with = "reveal_some")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub xi_api_key: Option<Secret>,
    /// The same, by the brief's name.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "reveal_some")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub api_key: Option<Secret>,
}

#[allow(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn reveal_some<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => reveal(secret, serializer),
        None => serializer.serialize_none(),
    }
}
