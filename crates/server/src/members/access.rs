//! Who may call a route: one of a few kinds, as data, beside the route in the table.

use stead_api::permission::{API_KEYS_VERIFY, SERVICE_ACCOUNTS_MANAGE};

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
    /// Any member; the operation asks for a role on the resource it is about.
    Sharer(&'static str),
    /// A workspace admin, or a member of a group with the second, a group permission.
    Manager(&'static str, &'static str),
    /// The same with `service_accounts_manage`, where the workspace has service accounts at all (more than one seat).
    AccountManager(&'static str),
    /// A workspace admin.
    Admin(&'static str),
}

impl Access {
    /// The permission the key must hold.
    pub const fn permission(self) -> Option<&'static str> {
        match self {
            Self::Anyone | Self::Guest | Self::AnyKey | Self::Subject | Self::Operator => None,
            Self::Asker => Some(API_KEYS_VERIFY),
            Self::Member(permission)
            | Self::Sharer(permission)
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
        matches!(self, Self::Member(_) | Self::Sharer(_) | Self::Manager(..) | Self::AccountManager(_) | Self::Admin(_))
    }
}
