//! Resources: things of the platform's own that are shared (wire §10).

use crate::id::PrincipalId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What somebody may do with a resource; each role holds those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See it.
    Viewer,
    /// Comment on it.
    Commenter,
    /// Change it.
    Editor,
    /// Share and delete it.
    Admin,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Commenter, Self::Editor, Self::Admin];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Commenter => "commenter",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What kinds of resource there are: the wire's list (§15.5), and what the settings file adds.
#[derive(Clone, Debug)]
pub struct ResourceTypes(Vec<String>);

impl ResourceTypes {
    /// The wire's kinds (none, if `replace`), then `more`. Errors name the one that can't be.
    pub fn new(replace: bool, more: Vec<String>) -> Result<Self, String> {
        let mut names: Vec<_> = if replace { Vec::new() } else { WIRE.iter().map(ToString::to_string).collect() };
        for name in more {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if name.is_empty() || name.len() > 64 || !plain {
                return Err(format!("resource type `{name}`: a name is 1–64 of a-z, 0-9 and _"));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Self(names))
    }

    /// Whether there is this kind.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    /// All of them.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl Default for ResourceTypes {
    fn default() -> Self {
        Self(WIRE.iter().map(ToString::to_string).collect())
    }
}

/// Wire §15.5.
const WIRE: [&str; 45] = [
    "voice",
    "voice_collection",
    "pronunciation_dictionary",
    "dubbing",
    "dubbing_project",
    "project",
    "convai_agents",
    "convai_knowledge_base_documents",
    "convai_tools",
    "convai_settings",
    "convai_secrets",
    "workspace_auth_connections",
    "convai_phone_numbers",
    "convai_mcp_servers",
    "convai_api_integration_connections",
    "convai_api_integration_trigger_connections",
    "convai_batch_calls",
    "convai_agent_response_tests",
    "convai_test_suite_invocations",
    "convai_crawl_jobs",
    "convai_crawl_tasks",
    "convai_kb_external_sync_jobs",
    "convai_whatsapp_accounts",
    "convai_agent_versions",
    "convai_agent_branches",
    "convai_agent_versions_deployments",
    "convai_agent_experiments",
    "convai_memory_entries",
    "convai_templates",
    "convai_coaching_proposals",
    "dashboard",
    "dashboard_configuration",
    "convai_agent_drafts",
    "resource_locators",
    "assets",
    "content_generations",
    "content_templates",
    "content_skills",
    "songs",
    "transcription_tasks",
    "avatars",
    "avatar_video_generations",
    "resource_collection",
    "studio_projects",
    "convai_analysis_items",
];

/// The body of `POST /v1/workspace/resources`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateResource {
    /// One of the server's resource types.
    pub resource_type: String,
    /// 1–64 of A–Z, a–z, 0–9, `_` and `-`; made by the server if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Whose it is, if not the caller's; workspace admins only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_user_id: Option<String>,
}

/// The body of `PATCH /v1/workspace/resources/{resource_id}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateResource {
    /// What people call it; empty for no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
}

/// The body of `POST …/share` (wire §10.2). Exactly one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShareResource {
    /// The role that replaces whatever the target has.
    pub role: Role,
    /// One of the server's resource types.
    pub resource_type: String,
    /// Whom it is shared with.
    #[serde(flatten)]
    pub target: ShareTarget,
}

/// The body of `POST …/unshare` (wire §10.3). Exactly one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnshareResource {
    /// One of the server's resource types.
    pub resource_type: String,
    /// Whom it is no longer shared with.
    #[serde(flatten)]
    pub target: ShareTarget,
}

/// Whom a resource is shared with: one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShareTarget {
    /// A person or a service account, by e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_email: Option<String>,
    /// A group; `default` is everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// The owner of the key with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_api_key_id: Option<String>,
}

/// A resource with what is shared of it (wire §10.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resource {
    /// Which, among those of its type.
    pub resource_id: String,
    /// One of the server's resource types.
    pub resource_type: String,
    /// What people call it.
    pub resource_name: Option<String>,
    /// Whose it is.
    pub creator_user_id: Option<PrincipalId>,
    /// Always null: nothing is public.
    pub anonymous_access_level_override: Option<Role>,
    /// By role: the groups, people and service accounts that have it, by id.
    pub role_to_group_ids: BTreeMap<Role, Vec<String>>,
    /// Who doesn't have access yet and could get it.
    pub share_options: Vec<ShareOption>,
    /// The caller's own role.
    pub access_level: Role,
    /// When it was registered; seconds since the epoch.
    pub created_at_unix: i64,
}

/// Somebody a resource could be shared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShareOption {
    /// What they are called.
    pub name: String,
    /// Their id.
    pub id: String,
    /// `user`, `group` or `key`, which is a service account.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A page of resources that the caller may see.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourcePage {
    /// By type and id.
    pub resources: Vec<ResourceEntry>,
    /// Whether there are more.
    pub has_more: bool,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// One of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceEntry {
    /// Which, among those of its type.
    pub resource_id: String,
    /// One of the server's resource types.
    pub resource_type: String,
    /// What people call it.
    pub resource_name: Option<String>,
    /// Whose it is.
    pub creator_user_id: Option<PrincipalId>,
    /// The role of whoever is asked about.
    pub role: Role,
    /// Where the role comes from, from the member to the resource.
    pub path: Vec<GrantStep>,
}

/// Who can touch a resource, each with its path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceAccess {
    /// People first, then service accounts.
    pub principals: Vec<PrincipalAccess>,
}

/// One who can touch a resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PrincipalAccess {
    /// A person or a service account.
    pub user_id: PrincipalId,
    /// What they are called.
    pub name: String,
    /// `user` or `service_account`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The strongest role they have.
    pub role: Role,
    /// Where it comes from, from the member to the resource.
    pub path: Vec<GrantStep>,
}

/// One step of the way from a member to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantStep {
    /// `user`, `service_account`, `workspace_admin`, `group`, `creator` or `resource`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id; none for `workspace_admin` and `creator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is called, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_hold_those_before_them_and_read_back() {
        assert!(Role::ALL.is_sorted() && Role::Admin > Role::Viewer);
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role)));
        assert_eq!(Role::parse("owner"), None);
    }

    #[test]
    fn settings_add_kinds_and_are_checked() {
        let types = ResourceTypes::new(false, vec!["invoice".into(), "voice".into()]).unwrap();
        assert!(types.has("invoice") && types.has("voice") && !types.has("Voice"));
        assert_eq!(types.names().len(), WIRE.len() + 1);
        assert!(ResourceTypes::new(true, vec!["In/voice".into()]).is_err());
    }
}
