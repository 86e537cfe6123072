//! What a key may do. The catalogue is data: the settings file adds or replaces entries, so that a product speaks of
//! `invoices_read` and not of voices. The default is the wire's list (§15.1) plus Stead's own.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A catalogue holds at most this many permissions, so that a set of them is four machine words.
pub const MAX_PERMISSIONS: usize = 256;
/// The permission a key needs to ask about other keys.
pub const API_KEYS_VERIFY: &str = "api_keys_verify";
/// The permission a key needs to manage service accounts and their keys.
pub const SERVICE_ACCOUNT_WRITE: &str = "service_account_write";
/// The permission a key needs to read the workspace: accounts, keys and what they did.
pub const WORKSPACE_READ: &str = "workspace_read";
/// The permission a key needs to change the workspace: its settings, groups, members and what is shared.
pub const WORKSPACE_WRITE: &str = "workspace_write";
/// The permission a key needs to read about its own owner.
pub const USER_READ: &str = "user_read";
/// The permission a key needs to list the workspace's members.
pub const WORKSPACE_MEMBERS_READ: &str = "workspace_members_read";
/// The permission a key needs to invite people, and by the same name the group permission of members who are no admins.
pub const WORKSPACE_MEMBERS_INVITE: &str = "workspace_members_invite";
/// The permission, and group permission, to remove people.
pub const WORKSPACE_MEMBERS_REMOVE: &str = "workspace_members_remove";
/// The permission, and group permission, to add members to groups and remove them.
pub const GROUP_MEMBERS_MANAGE: &str = "group_members_manage";
/// The permission, and group permission, to read the audit log.
pub const AUDIT_LOG_READ: &str = "audit_log_read";
/// The permission, and group permission, to read the usage of the whole workspace.
pub const WORKSPACE_ANALYTICS_FULL_READ: &str = "workspace_analytics_full_read";
/// The permission a key needs to manage webhooks.
pub const WEBHOOKS_WRITE: &str = "webhooks_write";
/// The group permission that lets a member who is no admin manage webhooks.
pub const WEBHOOKS_MANAGE: &str = "webhooks_manage";
/// The group permission that makes its members admins of every resource.
pub const ALL_RESOURCES_ACCESS: &str = "all_resources_access";
/// The group permission that lets a member who is no admin manage service accounts (wire §15.2).
pub const SERVICE_ACCOUNTS_MANAGE: &str = "service_accounts_manage";

/// One entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// `[a-z0-9_]`, at most 64 characters.
    pub name: String,
    /// One sentence for the person who picks it.
    pub description: String,
    /// The heading it stands under.
    pub group: String,
}

/// All permissions of an installation, each with a place in [0, 256) that sets of them use.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<Permission>,
    places: HashMap<String, u8>,
}

impl Catalogue {
    /// The default entries (none, if `replace`), then `more`; an entry with a known name replaces it.
    /// Errors name the entry that can't be.
    pub fn new(replace: bool, more: Vec<Permission>) -> Result<Self, String> {
        let mut entries = if replace { own_entries() } else { default_entries() };
        for entry in more {
            let plain = entry.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if entry.name.is_empty() || entry.name.len() > 64 || !plain || entry.name == "all" {
                return Err(format!("permission `{}`: a name is 1–64 of a-z, 0-9 and _, and not `all`", entry.name));
            }
            match entries.iter_mut().find(|known| known.name == entry.name) {
                Some(known) => *known = entry,
                None => entries.push(entry),
            }
        }
        if entries.len() > MAX_PERMISSIONS {
            return Err(format!("{} permissions: the catalogue holds at most {MAX_PERMISSIONS}", entries.len()));
        }
        let places = (0..=u8::MAX).zip(&entries).map(|(place, entry)| (entry.name.clone(), place)).collect();
        Ok(Self { entries, places })
    }

    /// The place of a permission, if there is one of that name.
    pub fn place(&self, name: &str) -> Option<u8> {
        self.places.get(name).copied()
    }

    /// The name at a place that [`Catalogue::place`] gave.
    pub fn name(&self, place: u8) -> &str {
        &self.entries[usize::from(place)].name
    }

    /// All entries in their order.
    pub fn entries(&self) -> &[Permission] {
        &self.entries
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new(false, Vec::new()).unwrap_or_else(|error| unreachable!("the default entries fit: {error}"))
    }
}

fn default_entries() -> Vec<Permission> {
    let mut entries: Vec<_> = WIRE.iter().map(entry).collect();
    entries.extend(own_entries());
    entries
}

/// Stead's own needs: these stay also where the settings replace the wire's list.
fn own_entries() -> Vec<Permission> {
    OWN.iter().map(entry).collect()
}

fn entry(&(group, name, description): &(&str, &str, &str)) -> Permission {
    Permission { name: name.into(), description: description.into(), group: group.into() }
}

/// What Stead's own routes ask for, and what of the wire's list its management routes use.
const OWN: [(&str, &str, &str); 13] = [
    ("Keys", API_KEYS_VERIFY, "Ask whether a key of this workspace may do something"),
    ("Workspace", WORKSPACE_READ, "Read service accounts, keys and members of the workspace"),
    ("Workspace", SERVICE_ACCOUNT_WRITE, "Create, change and remove service accounts and their keys"),
    ("Workspace", "create_user_api_key", "Create keys of one's own"),
    ("Workspace", "audit_log_read", "Read the audit log"),
    ("Workspace", "workspace_write", "Change the workspace's settings"),
    ("User", "user_read", "Read the account of the key's owner"),
    ("Workspace", "workspace_analytics_full_read", "Read the usage of the whole workspace"),
    ("Workspace", "webhooks_write", "Create, change and remove webhooks"),
    ("Workspace", "group_members_manage", "Add and remove members of groups"),
    ("Workspace", "workspace_members_read", "List the workspace's members"),
    ("Workspace", "workspace_members_invite", "Invite people to the workspace"),
    ("Workspace", "workspace_members_remove", "Remove people from the workspace"),
];

/// Wire §15.1, in its order, but for those of [`OWN`].
const WIRE: [(&str, &str, &str); 40] = [
    ("Speech", "text_to_speech", "Turn text into speech"),
    ("Speech", "speech_to_speech", "Change the voice of speech"),
    ("Speech", "speech_to_text", "Turn speech into text"),
    ("Models", "models_read", "List models"),
    ("Models", "models_write", "Change models"),
    ("Voices", "voices_read", "List and read voices"),
    ("Voices", "voices_write", "Create, change and remove voices"),
    ("Voices", "voice_collections_read", "List and read voice collections"),
    ("Voices", "voice_collections_write", "Create, change and remove voice collections"),
    ("Speech", "speech_history_read", "Read the history of generated speech"),
    ("Speech", "speech_history_write", "Remove from the history of generated speech"),
    ("Sound", "sound_generation", "Make sound effects"),
    ("Sound", "audio_isolation", "Separate a voice from its background"),
    ("Voices", "voice_generation", "Design voices"),
    ("Dubbing", "dubbing_read", "List and read dubbings"),
    ("Dubbing", "dubbing_write", "Create, change and remove dubbings"),
    ("Speech", "pronunciation_dictionaries_read", "List and read pronunciation dictionaries"),
    ("Speech", "pronunciation_dictionaries_write", "Create, change and remove pronunciation dictionaries"),
    ("User", "user_write", "Change the account of the key's owner"),
    ("Projects", "projects_read", "List and read studio projects"),
    ("Projects", "projects_write", "Create, change and remove studio projects"),
    ("Projects", "audio_native_read", "List and read embedded players"),
    ("Projects", "audio_native_write", "Create, change and remove embedded players"),
    ("Speech", "forced_alignment", "Align audio with its text"),
    ("Agents", "convai_read", "List and read agents and conversations"),
    ("Agents", "convai_write", "Create, change and remove agents"),
    ("Sound", "music_generation", "Make music"),
    ("Images", "image_video_generation", "Make images and video"),
    ("Projects", "flows", "Use flows"),
    ("Projects", "templates", "Use templates"),
    ("Voices", "add_voice_from_voice_library", "Add voices from the shared library"),
    ("Voices", "create_instant_voice_clone", "Clone a voice from a short sample"),
    ("Voices", "create_professional_voice_clone", "Clone a voice from long recordings"),
    ("Voices", "publish_voice_to_voice_library", "Publish voices in the shared library"),
    ("Voices", "share_voice_externally", "Share voices outside the workspace"),
    ("Workspace", "terms_of_service_accept", "Accept terms of service for the workspace"),
    ("Agents", "conversation_privacy_manage", "Manage the privacy of conversations"),
    ("Workspace", "copy_resources_cross_workspace", "Copy resources to other workspaces"),
    ("Sound", "synthid_detector", "Detect watermarks in generated audio"),
    ("Agents", "agents_architect", "Build agents with the architect"),
];

/// What a group may give its members (wire §15.2).
pub const GROUP_PERMISSIONS: [&str; 39] = [
    "text_to_speech",
    "speech_to_speech",
    "speech_to_text",
    "voice_lab",
    "sound_effects",
    "projects",
    "voiceover_studio",
    "dubbing",
    "audio_native",
    "conversational_ai",
    "conversational_ai_read",
    "voice_isolator",
    "ai_speech_classifier",
    "synthid_detector",
    "add_voice_from_voice_library",
    "create_instant_voice_clone",
    "create_professional_voice_clone",
    "create_user_api_key",
    "publish_studio_project",
    "music",
    "image_video_generation",
    "flows",
    "templates",
    "share_voice_externally",
    "publish_voice_to_voice_library",
    "view_fiat_balance",
    "workspace_analytics_full_read",
    "service_accounts_manage",
    "webhooks_manage",
    "group_members_manage",
    "workspace_members_invite",
    "workspace_members_remove",
    "terms_of_service_accept",
    "audit_log_read",
    "conversation_privacy_manage",
    "all_resources_access",
    "copy_resources_cross_workspace",
    "voice_design",
    "architect",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_catalogue_is_the_wires_52_and_our_own() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.entries().len(), 53);
        let place = catalogue.place("text_to_speech").unwrap();
        assert_eq!(catalogue.name(place), "text_to_speech");
        assert_eq!(catalogue.place("no_such"), None);
    }

    #[test]
    fn settings_add_replace_and_are_checked() {
        let one = |name: &str| Permission { name: name.into(), description: "d".into(), group: "g".into() };
        let catalogue = Catalogue::new(true, vec![one("invoices_read"), one(API_KEYS_VERIFY)]).unwrap();
        assert_eq!(catalogue.entries().len(), OWN.len() + 1);
        assert!(Catalogue::new(false, vec![one("Invoices")]).is_err());
        assert!(Catalogue::new(false, vec![one("all")]).is_err());
        assert!(Catalogue::new(false, (0..204).map(|i| one(&format!("p{i}"))).collect()).is_err());
    }
}
