//! The audit log (wire §11): OCSF 1.6.0 with the profiles `datetime` and `host`. What OCSF has no field for stands in
//! [`Unmapped`].

use crate::id::{AuditId, KeyId, RequestId, WorkspaceId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `GET /v1/workspace/audit-logs`: a page, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLogPage {
    /// The entries.
    pub entries: Vec<AuditLogEntry>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// To be given as `cursor`, with the same filters; null at the end.
    pub next_cursor: Option<String>,
}

/// One entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLogEntry {
    /// Which.
    pub id: AuditId,
    /// What kind of act it is within its class, by OCSF's numbers; 99 is "other".
    pub activity_id: i64,
    /// What was done, by the wire's names (§15.7), as in `API Key Creation`; or `Access Refused`.
    pub activity_name: String,
    /// 1: it was done. 2: it was refused.
    pub status_id: i64,
    /// The entry in a sentence.
    pub message: String,
    /// Who.
    pub actor: AuditActor,
    /// When it was written; milliseconds since the epoch.
    pub time: i64,
    /// The same, RFC 3339.
    pub time_dt: String,
    /// `class_uid` × 100 + `activity_id`.
    pub type_uid: i64,
    /// Class and kind of act in words, as in `Entity Management: Create`.
    pub type_name: String,
    /// `Account Change`, `Authentication`, `Entity Management`, `User Access Management` or `Group Management`.
    pub class_name: String,
    /// 3001, 3002, 3004, 3005 or 3006.
    pub class_uid: i64,
    /// `Identity & Access Management`.
    pub category_name: String,
    /// 3.
    pub category_uid: i64,
    /// 1 informational; 2 low, for what was refused.
    pub severity_id: i64,
    /// Where the entry comes from.
    pub metadata: AuditMetadata,
    /// What OCSF has no field for.
    pub unmapped: Unmapped,
    /// Where the request came from; null for what the server did by itself.
    pub device: Option<AuditDevice>,
    /// The request; null for what the server did by itself. Of a merged entry: the first one.
    pub http_request: Option<AuditHttpRequest>,
}

/// Who did it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditActor {
    /// The member.
    pub user: AuditUser,
}

/// A member, as it was called then.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditUser {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id, or `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// 0 unknown, 1 user, 2 workspace admin, 3 the server itself, 4 service account.
    pub type_id: i64,
    /// The same in a word: `Unknown`, `User`, `Admin`, `System` or `Service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_addr: Option<String>,
}

/// Where an entry comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditMetadata {
    /// Of OCSF: `1.6.0`.
    pub version: String,
    /// The program.
    pub product: AuditProduct,
    /// `datetime` and `host`.
    pub profiles: Vec<String>,
    /// The workspace.
    pub tenant_uid: WorkspaceId,
    /// The place in the workspace's chain, from 1.
    pub sequence: i64,
}

/// The program that writes and shows the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditProduct {
    /// Its name.
    pub name: String,
    /// Who makes it.
    pub vendor_name: String,
    /// The version that shows the entry.
    pub version: String,
}

/// What OCSF has no field for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unmapped {
    /// To what it was done.
    pub target: AuditTarget,
    /// What was changed, or what was refused and why.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: serde_json::Value,
    /// The key that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// The `x-request-id` of the answer; of a merged entry, of the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// How many refusals were merged into this entry; absent for what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// The seal over this entry and the one before it; hex.
    pub hash: String,
}

/// What an entry is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditTarget {
    /// As in `api_key`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Which.
    #[serde(default)]
    pub id: String,
    /// What it was called then.
    #[serde(default)]
    pub name: String,
}

/// Where a request came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditDevice {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub ip: IpAddr,
    /// 99: other.
    pub type_id: i64,
}

/// A request. Its query is never kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditHttpRequest {
    /// As in `POST`.
    pub http_method: String,
    /// Where to.
    pub url: AuditUrl,
    /// What the client says it is; cut to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// A request's address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditUrl {
    /// The route's path, with the ids that are Stead's own filled in; of what was refused, without them.
    pub path: String,
}

/// `GET /v1/workspace/audit-logs/chain`: whether the log is as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditChain {
    /// How many entries there are.
    pub entries: i64,
    /// The seal of the last one; hex. Kept elsewhere, it finds a log that was cut together with the workspace's row.
    pub head: String,
    /// Whether every entry is there and as it was written.
    pub verified: bool,
    /// What is wrong, for people; the first 100.
    pub problems: Vec<String>,
}

/// The end of a workspace's chain, as `stead audit verify --save-head` writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The number of the last entry.
    pub seq: i64,
    /// Its seal; hex.
    pub hash: String,
}
