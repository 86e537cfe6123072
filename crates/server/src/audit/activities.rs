//! What can be done, in the words of the wire (§15.7), and where OCSF puts it (§11).

/// What was refused to a caller who was known. The wire has no name for it.
pub const REFUSED: &str = "Access Refused";

/// A class of events, by OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Members of either kind are made, changed and removed.
    AccountChange,
    /// People sign in.
    Authentication,
    /// Everything else that is made, changed and removed.
    EntityManagement,
    /// What a member may do is changed.
    UserAccess,
    /// Groups and who is in them.
    GroupManagement,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::AccountChange, Self::Authentication, Self::EntityManagement, Self::UserAccess, Self::GroupManagement];

    /// The number on the wire.
    pub const fn uid(self) -> i64 {
        match self {
            Self::AccountChange => 3001,
            Self::Authentication => 3002,
            Self::EntityManagement => 3004,
            Self::UserAccess => 3005,
            Self::GroupManagement => 3006,
        }
    }

    /// The words on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::EntityManagement => "Entity Management",
            Self::UserAccess => "User Access Management",
            Self::GroupManagement => "Group Management",
        }
    }

    /// The class with this number.
    pub fn of(uid: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.uid() == uid)
    }

    /// What OCSF calls each of its kinds of act, from 1.
    const fn acts(self) -> &'static [&'static str] {
        match self {
            Self::AccountChange => &[
                "Create",
                "Enable",
                "Password Change",
                "Password Reset",
                "Disable",
                "Delete",
                "Attach Policy",
                "Detach Policy",
                "Lock",
                "MFA Factor Enable",
                "MFA Factor Disable",
                "Unlock",
            ],
            Self::Authentication => &[
                "Logon",
                "Logoff",
                "Authentication Ticket",
                "Service Ticket Request",
                "Service Ticket Renew",
                "Preauth",
                "Account Switch",
            ],
            Self::EntityManagement => &[
                "Create",
                "Read",
                "Update",
                "Delete",
                "Move",
                "Enroll",
                "Unenroll",
                "Enable",
                "Disable",
                "Activate",
                "Deactivate",
                "Suspend",
                "Resume",
            ],
            Self::UserAccess => &["Assign Privileges", "Revoke Privileges"],
            Self::GroupManagement => &[
                "Assign Privileges",
                "Revoke Privileges",
                "Add User",
                "Remove User",
                "Delete",
                "Create",
                "Add Subgroup",
                "Remove Subgroup",
            ],
        }
    }

    /// What OCSF calls a kind of act.
    pub fn act(self, activity_id: i64) -> &'static str {
        let place = usize::try_from(activity_id).ok().and_then(|number| number.checked_sub(1));
        match (activity_id, place.and_then(|place| self.acts().get(place))) {
            (_, Some(act)) => act,
            (0, None) => "Unknown",
            _ => OTHER_NAME,
        }
    }
}

/// An act that OCSF has no number for.
const OTHER: i64 = 99;
const OTHER_NAME: &str = "Other";

/// Class and kind of an activity. One that is not in the table is some other management of an entity: a missing line
/// here must not stop a write (a test finds it).
pub fn place(activity: &str) -> (Class, i64) {
    let row = TABLE.iter().find(|(_, _, names)| names.contains(&activity));
    row.map_or((Class::EntityManagement, OTHER), |(class, act, _)| (*class, *act))
}

/// Whether the table has an activity.
pub fn is_known(activity: &str) -> bool {
    TABLE.iter().any(|(_, _, names)| names.contains(&activity))
}

/// Every name of the wire, and [`REFUSED`].
const TABLE: &[(Class, i64, &[&str])] = &[
    (Class::AccountChange, 1, &["SCIM User Creation", "Service Account Creation", "User Creation"]),
    (Class::AccountChange, 2, &["User Auto-Provisioning Enabled"]),
    (Class::AccountChange, 4, &["Password Reset Email Request", "Password Reset Link Generation"]),
    (Class::AccountChange, 5, &["User Auto-Provisioning Disabled"]),
    (
        Class::AccountChange,
        6,
        &["SCIM User Deletion", "Service Account Deletion", "User Self-Deletion", "Workspace Member Removal"],
    ),
    (Class::AccountChange, 10, &["MFA Factor Enrollment"]),
    (
        Class::AccountChange,
        11,
        &["MFA Factor Enrollment Reverted (unverified)", "MFA Factor Removal", "MFA Removal via Backup Code"],
    ),
    (
        Class::AccountChange,
        99,
        &[
            "Account Security Change",
            "Architect Member Spend Limits Update",
            "SCIM Provisioning Seat Type Updated",
            "SCIM User Management",
            "SCIM User Update",
            "Service Account Management",
            "Service Account Update",
            "User Metadata Update",
            "User Sharing Preferences Update",
            "User Sharing Preferences Update (Admin)",
            "Workspace Member Update",
            "Workspace Member Usage Limit Update",
        ],
    ),
    (Class::Authentication, 1, &["Logon", "Workspace Sign-In"]),
    (
        Class::Authentication,
        99,
        &[
            "Custom Auth Token Created",
            "Sensitive Action Verification",
            "Sign-In Request Approval",
            "Sign-In Request Decline",
        ],
    ),
    (
        Class::EntityManagement,
        1,
        &[
            "Agents User Property Created",
            "API Key Creation",
            "Auth Connection Creation",
            "Domain Verification Addition",
            "Encryption Key Registered",
            "Notification Preference Creation",
            "Resource Copied to Workspace",
            "Resource Locator Creation",
            "SCIM Token Generated",
            "User API Key Creation",
            "Resource Creation",
            "Webhook Creation",
            "Workspace Creation",
            "Workspace Invitation Sent",
        ],
    ),
    (Class::EntityManagement, 2, &["Agents User Memory Exported", "Agents User Memory Viewed", "Data Export Request"]),
    (
        Class::EntityManagement,
        3,
        &[
            "Agents User Properties Reordered",
            "Agents User Property Unarchived",
            "Agents User Property Updated",
            "API Key Update",
            "Auth Connection Update",
            "Content Generation Terms Update",
            "Domain Verification Status Update",
            "Identity Provider Update",
            "Model Approvals Update",
            "Notification Preference Update",
            "Reporting Workspace SSO Inheritance Update",
            "Resource Locator Update",
            "SCIM Token Rotated",
            "Shared SSO Sibling Workspaces Update",
            "SMB Reseller Tier Change",
            "SSO Provider Configuration",
            "User API Key Update",
            "Resource Update",
            "Webhook Update",
            "Workspace Metadata Update",
        ],
    ),
    (
        Class::EntityManagement,
        4,
        &[
            "Agents User Memory Entity Deleted",
            "Agents User Memory Erased",
            "Agents User Memory Fact Deleted",
            "Agents User Property Archived",
            "API Key Deletion",
            "Auth Connection Deletion",
            "Delete Scribe meeting",
            "Domain Verification Removal",
            "Encryption Key Deleted",
            "Notification Preference Deletion",
            "Resource Locator Deletion",
            "SCIM Token Deleted",
            "SSO Provider Removal",
            "User API Key Deletion",
            "Resource Deletion",
            "Webhook Deletion",
            "Workspace Deletion",
            "Workspace Invitation Revoked",
        ],
    ),
    (Class::EntityManagement, 10, &["Workspace Invitation Accepted"]),
    (Class::EntityManagement, 11, &["Workspace Invitation Declined"]),
    (Class::EntityManagement, 12, &["Encryption Key Paused"]),
    (Class::EntityManagement, 13, &["Encryption Key Unpaused"]),
    (
        Class::EntityManagement,
        99,
        &[
            "API Key Management",
            "Auth Connection Management",
            "Billing Management",
            "Domain Verification Management",
            "Enterprise Copying Toggle",
            "Gift Credit Code Applied",
            "Influencer Code Applied",
            "In-App Term Acceptance",
            "Notification Preference Management",
            "Resource Locator Management",
            "SCIM Token Management",
            "SMB Free Trial Activation",
            "SMB Reseller Subscription Lifecycle",
            "SMB Reseller Tier Assignment",
            "SSO Management",
            "User API Key Management",
            "Webhook Management",
            "Workspace Deletion Cancellation",
            "Workspace Invitation Management",
            "Workspace Invitation Reminder Sent",
            "Access Refused",
        ],
    ),
    (Class::UserAccess, 1, &["Resource Access Granted"]),
    (Class::UserAccess, 2, &["Resource Access Revoked"]),
    (
        Class::UserAccess,
        99,
        &[
            "Child Workspace Resource Override",
            "Create workspace custom role",
            "Delete workspace custom role",
            "Resource Access Management",
            "Resource Ownership Transferred",
            "Update workspace custom role",
            "Workspace Member Resource Transfer",
            "Workspace Ownership Transfer",
        ],
    ),
    (Class::GroupManagement, 3, &["Group Member Addition"]),
    (Class::GroupManagement, 4, &["Group Member Removal"]),
    (Class::GroupManagement, 5, &["Group Deletion", "SCIM Group Deletion"]),
    (Class::GroupManagement, 6, &["Group Creation", "SCIM Group Creation"]),
    (
        Class::GroupManagement,
        99,
        &[
            "Group Management",
            "Group to Billing Group Conversion",
            "Group Update",
            "SCIM Group Management",
            "SCIM Group Update",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::path::Path;

    #[test]
    fn every_name_stands_once_in_a_place_that_ocsf_has() {
        let mut names = HashSet::new();
        for (class, act, rows) in TABLE {
            assert!(*act == OTHER || usize::try_from(*act - 1).unwrap() < class.acts().len(), "{class:?} {act}");
            assert_eq!(class.act(*act) == OTHER_NAME, *act == OTHER);
            assert!(rows.iter().all(|name| names.insert(*name)), "{class:?} {act}");
        }
        // The wire's, and of our own what was refused and what becomes of resources.
        assert_eq!(names.len(), 130 + 4);
        assert_eq!(
            (place("API Key Creation"), place("Group Deletion")),
            ((Class::EntityManagement, 1), (Class::GroupManagement, 5))
        );
        assert_eq!(place("no such"), (Class::EntityManagement, OTHER));
    }

    /// What is said between `.audit(` and the next quote.
    fn said(source: &str) -> Vec<String> {
        let calls = source.split(".audit(").skip(1);
        calls.filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
    }

    fn sources(folder: &Path, take: &mut impl FnMut(&Path, String)) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, take);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                take(&path, std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_activity_that_the_server_writes_is_in_the_table() {
        let (mut found, mut strange) = (0, Vec::new());
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path, text| {
            // This file speaks of calls without making one.
            let calls = if path.ends_with("activities.rs") { Vec::new() } else { said(&text) };
            for name in calls {
                found += 1;
                if !is_known(&name) {
                    strange.push(format!("{}: {name}", path.display()));
                }
            }
        });
        assert!(found >= 10, "the sources are read: {found}");
        assert!(strange.is_empty(), "use a name of the wire (§15.7), or add one to the table:\n{}", strange.join("\n"));
    }
}
