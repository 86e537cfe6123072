//! What a decision reads, as the store hands it over: plain values, each with the version of its row.

use crate::limits::RateLimit;
use crate::pepper::Digest;
use crate::period::Billing;
use crate::permissions::PermissionSet;
use ipnet::IpNet;
use stead_api::id::{GroupId, KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::resource::Role;
use stead_api::time::Timestamp;

/// A changed fact, on its way from a committed transaction to the index.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A workspace.
    Workspace(WorkspaceFacts),
    /// A user or a service account.
    Principal(PrincipalFacts),
    /// A group.
    Group(GroupFacts),
    /// A resource.
    Resource(ResourceFacts),
    /// A key.
    Key(Box<KeyFacts>),
}

/// A workspace, as far as decisions go.
#[derive(Clone, Debug)]
pub struct WorkspaceFacts {
    /// Which.
    pub id: WorkspaceId,
    /// Grows with each change of the row.
    pub version: i64,
    /// All its keys are refused.
    pub disabled: bool,
    /// When its months begin.
    pub billing: Billing,
}

/// A user or a service account, as far as decisions go.
#[derive(Clone, Debug)]
pub struct PrincipalFacts {
    /// Which.
    pub id: PrincipalId,
    /// Grows with each change of the row.
    pub version: i64,
    /// Disabled, locked or deleted: all its keys are refused.
    pub disabled: bool,
    /// A workspace admin: has every role on every resource.
    pub is_admin: bool,
    /// The groups it is in, but for the one of everybody.
    pub groups: Box<[GroupId]>,
    /// Credits a month, all its keys together.
    pub cap: Option<u64>,
}

/// A group, as far as decisions go.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which; `default` is everybody.
    pub id: GroupId,
    /// Grows with each change of the row.
    pub version: i64,
    /// Deleted, or not to be trusted: gives nothing.
    pub deleted: bool,
    /// Its members are admins of every resource.
    pub all_resources: bool,
    /// Credits a month, all its members' keys together.
    pub cap: Option<u64>,
}

/// A resource with what is shared of it.
#[derive(Clone, Debug)]
pub struct ResourceFacts {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Its type.
    pub kind: Box<str>,
    /// Which of that type.
    pub id: Box<str>,
    /// Grows with each change of the row, also beyond its deletion.
    pub version: i64,
    /// Deleted, or not to be trusted: nobody has any role on it.
    pub deleted: bool,
    /// Whose it is.
    pub creator: Option<PrincipalId>,
    /// Role by whom it is shared with: the bits of a member's or a group's id, or [`crate::index::EVERYONE`].
    pub shares: Box<[(u128, Role)]>,
}

/// A key, as far as decisions go. Names are not in the mirror.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each with a check of its own")]
pub struct KeyFacts {
    /// Which.
    pub id: KeyId,
    /// Grows with each change of the row.
    pub version: i64,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Its owner.
    pub principal_id: PrincipalId,
    /// The key and its successors by rotation.
    pub lineage_id: LineageId,
    /// What is stored of its secret.
    pub digest: Digest,
    /// Whether the secret is of a form that is not ours (imported, or from the environment).
    pub foreign: bool,
    /// Refused for good.
    pub revoked: bool,
    /// Refused until enabled.
    pub disabled: bool,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
    /// `None` means unrestricted.
    pub permissions: Option<PermissionSet>,
    /// Where it may be used from; empty means anywhere.
    pub allowed_ips: Box<[IpNet]>,
    /// Credits a month for the lineage.
    pub character_limit: Option<u64>,
    /// How often it may be used.
    pub rate_limits: Box<[RateLimit]>,
    /// How much of each [`crate::limits::Concurrency`] it may have under way at once.
    pub concurrency: [Option<u64>; 3],
}

impl KeyFacts {
    /// Whether anything bounds the key beyond its permissions and its life: most keys have none of it.
    pub(crate) fn has_limits(&self) -> bool {
        !self.allowed_ips.is_empty()
            || self.character_limit.is_some()
            || !self.rate_limits.is_empty()
            || self.concurrency.iter().any(Option::is_some)
    }
}
