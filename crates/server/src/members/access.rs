//! Who may call a route, and about what: each one of a few kinds, as data, beside the route in the table.

use stead_api::permission::{API_KEYS_VERIFY, SERVICE_ACCOUNTS_MANAGE};
use stead_api::resource::Role;

/// Who may call a route. The permission is what the key must hold; what its owner must be is said beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a key.
    Anyone,
    /// Whoever has a token that the request carries, without a key; the operation looks at it.
    Guest,
    /// Any key that works.
    AnyKey,
    /// Whoever may ask about keys: on the public listener a key with `api_keys_verify`, about its own workspace's keys;
    /// on the verification listener whoever gets there, about every key.
    Asker,
    /// Nobody in particular: the key that the request carries is the one in question. Only where the verification
    /// listener is, or, without one, the public listener.
    Subject,
    /// Whoever runs the server, by a credential that opens nothing else.
    Operator,
    /// Any member: a person or a service account.
    Member(&'static str),
    /// A workspace admin, or a member of a group with the second, a group permission.
    Manager(&'static str, &'static str),
    /// The same with `service_accounts_manage`, where the workspace has service accounts at all (more than one seat).
    AccountManager(&'static str),
    /// A workspace admin.
    Admin(&'static str),
}

impl Access {
    /// The kind as one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Guest => "guest",
            Self::AnyKey => "any_key",
            Self::Asker => "asker",
            Self::Subject => "subject",
            Self::Operator => "operator",
            Self::Member(_) => "member",
            Self::Manager(..) => "manager",
            Self::AccountManager(_) => "account_manager",
            Self::Admin(_) => "admin",
        }
    }

    /// The permission the key must hold.
    pub const fn permission(self) -> Option<&'static str> {
        match self {
            Self::Anyone | Self::Guest | Self::AnyKey | Self::Subject | Self::Operator => None,
            Self::Asker => Some(API_KEYS_VERIFY),
            Self::Member(permission)
            | Self::Manager(permission, _)
            | Self::AccountManager(permission)
            | Self::Admin(permission) => Some(permission),
        }
    }

    /// The group permission that makes up for not being a workspace admin, where being a member is not enough.
    pub const fn group_permission(self) -> Option<&'static str> {
        match self {
            Self::Manager(_, permission) => Some(permission),
            Self::AccountManager(_) => Some(SERVICE_ACCOUNTS_MANAGE),
            _ => None,
        }
    }

    /// Whether no key is asked for.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Anyone | Self::Guest)
    }

    /// Whether it is about managing: neither a question about keys nor a probe.
    pub const fn is_management(self) -> bool {
        !matches!(self, Self::Anyone | Self::Asker | Self::Subject)
    }

    /// Whether a caller is judged by the store's state before its request is read, and not by the mirror alone.
    pub const fn is_judged(self) -> bool {
        matches!(self, Self::Member(_) | Self::Manager(..) | Self::AccountManager(_) | Self::Admin(_))
    }
}

/// What a call is about. What is not there, what another workspace has, and what the caller may not even see read the same:
/// 404. The gate looks at [`Access`] alone; the operation looks at this, in the transaction that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Nothing of anybody's: the server itself.
    Server,
    /// The key that asks, and its owner.
    Caller,
    /// What the secret or the token opens that the request carries.
    Carried,
    /// The caller's workspace: its settings, a list of what is in it, or something new in it.
    Workspace,
    /// Any workspace, or all of them.
    AnyWorkspace,
    /// A service account.
    Account,
    /// Whose keys it is about: a service account, or the person who asks.
    KeyOwner,
    /// A key of a service account, or of the person who asks.
    Key,
    /// A key of a service account, or of the person who asks; for workspace admins anybody's. Revoked ones, too.
    VisibleKey,
    /// A person.
    Person,
    /// A person or a service account.
    Member,
    /// The caller; who is a workspace admin or in a group with this group permission, about anybody.
    Oneself(&'static str),
    /// Somebody who was invited.
    Invite,
    /// A group.
    Group,
    /// A group that the caller is in; any for workspace admins.
    OwnGroup,
    /// A resource, on which the caller has at least this role. With a weaker one it is 403.
    Resource(Role),
    /// A webhook.
    Webhook,
    /// A place that a concurrency limit gave out, to a key of the workspace.
    Lease,
    /// A decision about a key of the workspace.
    Decision,
}

impl Object {
    /// The kind as one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Caller => "caller",
            Self::Carried => "carried",
            Self::Workspace => "workspace",
            Self::AnyWorkspace => "any_workspace",
            Self::Account => "account",
            Self::KeyOwner => "key_owner",
            Self::Key => "key",
            Self::VisibleKey => "visible_key",
            Self::Person => "person",
            Self::Member => "member",
            Self::Oneself(_) => "oneself",
            Self::Invite => "invite",
            Self::Group => "group",
            Self::OwnGroup => "own_group",
            Self::Resource(_) => "resource",
            Self::Webhook => "webhook",
            Self::Lease => "lease",
            Self::Decision => "decision",
        }
    }

    /// The role that is needed on it.
    pub const fn role(self) -> Option<Role> {
        if let Self::Resource(role) = self { Some(role) } else { None }
    }

    /// The group permission that opens others' than the caller's own, but for workspace admins.
    pub const fn others(self) -> Option<&'static str> {
        if let Self::Oneself(permission) = self { Some(permission) } else { None }
    }
}
