//! What a workspace's policies ask of keys. Judged when a key is made or changed: a key that is older than a policy
//! keeps working, and can be changed in any way that doesn't take it further beyond.

use super::KeyRow;
use crate::error::{Failure, field_error};
use ipnet::IpNet;
use stead_api::error::FieldError;
use stead_api::time::Timestamp;
use stead_api::workspace::{ExpiryRequired, WorkspacePolicies};

/// What of a key policies are about.
#[derive(Clone, Copy)]
struct Terms<'a> {
    permissions: Option<&'a [String]>,
    expires_at: Option<i64>,
    allowed_ips: Option<&'a [String]>,
}

impl<'a> Terms<'a> {
    fn of(key: &'a KeyRow) -> Self {
        Self {
            permissions: key.permissions.as_deref(),
            expires_at: key.expires_at,
            allowed_ips: key.allowed_ips.as_deref(),
        }
    }
}

/// A new key.
pub(super) fn check_new(
    policies: &WorkspacePolicies,
    key: &KeyRow,
    is_persons: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    finish(mistakes(policies, None, Terms::of(key), is_persons, now))
}

/// A changed key: only what the change takes further beyond a policy is a mistake.
pub(super) fn check_change(
    policies: &WorkspacePolicies,
    old: &KeyRow,
    new: &KeyRow,
    is_persons: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    finish(mistakes(policies, Some(Terms::of(old)), Terms::of(new), is_persons, now))
}

fn finish(mistakes: Vec<FieldError>) -> Result<(), Failure> {
    if mistakes.is_empty() { Ok(()) } else { Err(Failure::Invalid(mistakes)) }
}

/// When a key ends that was made without an expiry.
pub(super) fn default_expiry(policies: &WorkspacePolicies, now: Timestamp) -> Option<i64> {
    policies.default_expiry_seconds.map(|seconds| now.plus_seconds(seconds).0)
}

/// What is allowed of the permissions that a key would get without having asked for any; `None` is everything.
pub(super) fn allowed(policies: &WorkspacePolicies, permissions: Option<Vec<String>>) -> Option<Vec<String>> {
    match (&policies.allowed_permissions, permissions) {
        (None, held) => held,
        (Some(allowed), None) => Some(allowed.clone()),
        (Some(allowed), Some(held)) => Some(held.into_iter().filter(|name| allowed.contains(name)).collect()),
    }
}

/// When a successor ends: when the old key would have, but no later than a new key might. A rotation is never refused
/// for a policy: that would keep old secrets in use.
pub(super) fn inherited_expiry(
    policies: &WorkspacePolicies,
    old: Option<i64>,
    is_persons: bool,
    now: Timestamp,
) -> Option<i64> {
    let latest = policies.max_expiry_seconds.map(|seconds| now.plus_seconds(seconds).0);
    match old {
        Some(old) => Some(latest.map_or(old, |latest| old.min(latest))),
        None if must_end(policies, is_persons) => latest.or_else(|| default_expiry(policies, now)),
        None => None,
    }
}

/// Whether a key must have an expiry. Where there is a maximum and nothing else is said, one without would be beyond it.
fn must_end(policies: &WorkspacePolicies, is_persons: bool) -> bool {
    match policies.expiry_required {
        ExpiryRequired::All => true,
        ExpiryRequired::UserKeys => is_persons,
        ExpiryRequired::None => policies.max_expiry_seconds.is_some(),
    }
}

fn mistakes(
    policies: &WorkspacePolicies,
    old: Option<Terms<'_>>,
    new: Terms<'_>,
    is_persons: bool,
    now: Timestamp,
) -> Vec<FieldError> {
    let told = |field: &str, message: String| {
        field_error(&["body", field], "value_error", format!("the workspace's policy {message}"))
    };
    let mut mistakes = Vec::new();
    mistakes.extend(expiry(policies, old, new, is_persons, now).map(|message| told("expires_at_unix", message)));
    if let Some(allowed) = &policies.allowed_permissions {
        // What the key held already it may go on to hold.
        let kept = old.map(|old| old.permissions);
        let is_fine = |name: &String| {
            allowed.contains(name) || kept.is_some_and(|held| held.is_none_or(|held| held.contains(name)))
        };
        let fits = match new.permissions {
            None => kept == Some(None),
            Some(names) => names.iter().all(is_fine),
        };
        if !fits {
            mistakes.push(told("permissions", format!("allows no others than: {}", allowed.join(", "))));
        }
    }
    let was_anywhere = old.is_some_and(|old| is_anywhere(old.allowed_ips));
    if policies.allowed_ips_required && is_anywhere(new.allowed_ips) && !was_anywhere {
        mistakes.push(told("allowed_ips", "requires a list of addresses".into()));
    }
    mistakes
}

fn expiry(
    policies: &WorkspacePolicies,
    old: Option<Terms<'_>>,
    new: Terms<'_>,
    is_persons: bool,
    now: Timestamp,
) -> Option<String> {
    let Some(end) = new.expires_at else {
        let was_without = old.is_some_and(|old| old.expires_at.is_none());
        return (must_end(policies, is_persons) && !was_without).then(|| "requires an expiry".into());
    };
    let max = policies.max_expiry_seconds?;
    let is_later = old.is_none_or(|old| old.expires_at.is_some_and(|old| end > old));
    let is_beyond = end > now.plus_seconds(max).0;
    (is_beyond && is_later).then(|| format!("allows an expiry at most {max} seconds ahead"))
}

/// Whether a list of addresses keeps nobody out.
fn is_anywhere(allowed_ips: Option<&[String]>) -> bool {
    let is_all = |network: &String| network.parse::<IpNet>().is_ok_and(|network| network.prefix_len() == 0);
    allowed_ips.is_none_or(|networks| networks.iter().any(is_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn fields(policies: &WorkspacePolicies, old: Option<Terms<'_>>, new: Terms<'_>, is_persons: bool) -> Vec<String> {
        let mistakes = mistakes(policies, old, new, is_persons, NOW);
        mistakes.iter().map(|mistake| mistake.loc[1].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the rows have it")]
    fn in_seconds(seconds: i64) -> Option<i64> {
        Some(NOW.plus_seconds(seconds).0)
    }

    const BARE: Terms<'_> = Terms { permissions: None, expires_at: None, allowed_ips: None };

    #[test]
    fn without_policies_everything_goes() {
        let none = WorkspacePolicies::default();
        assert!(fields(&none, None, BARE, true).is_empty());
        assert_eq!((default_expiry(&none, NOW), allowed(&none, None)), (None, None));
        assert_eq!(inherited_expiry(&none, Some(7), true, NOW), Some(7));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let all = WorkspacePolicies {
            expiry_required: ExpiryRequired::All,
            allowed_permissions: Some(names(&["a"])),
            allowed_ips_required: true,
            ..WorkspacePolicies::default()
        };
        assert_eq!(fields(&all, None, BARE, false), ["expires_at_unix", "permissions", "allowed_ips"]);
    }

    #[test]
    fn who_must_end() {
        let of = |expiry_required, max_expiry_seconds| WorkspacePolicies {
            expiry_required,
            max_expiry_seconds,
            ..WorkspacePolicies::default()
        };
        for (required, max, persons, accounts) in [
            (ExpiryRequired::None, None, false, false),
            (ExpiryRequired::None, Some(60), true, true),
            (ExpiryRequired::All, None, true, true),
            (ExpiryRequired::UserKeys, None, true, false),
            (ExpiryRequired::UserKeys, Some(60), true, false),
        ] {
            let policies = of(required, max);
            assert_eq!((must_end(&policies, true), must_end(&policies, false)), (persons, accounts), "{policies:?}");
        }
    }

    #[test]
    fn an_expiry_may_not_lie_beyond_the_maximum_but_may_come_nearer() {
        let policies = WorkspacePolicies { max_expiry_seconds: Some(60), ..WorkspacePolicies::default() };
        let ends = |seconds| Terms { expires_at: in_seconds(seconds), ..BARE };
        assert!(fields(&policies, None, ends(60), false).is_empty());
        assert_eq!(fields(&policies, None, ends(61), false), ["expires_at_unix"]);
        // An old key that lives for ever, or for too long.
        assert!(fields(&policies, Some(BARE), BARE, false).is_empty());
        assert!(fields(&policies, Some(BARE), ends(100), false).is_empty());
        assert!(fields(&policies, Some(ends(200)), ends(100), false).is_empty());
        assert_eq!(fields(&policies, Some(ends(200)), ends(201), false), ["expires_at_unix"]);
        assert_eq!(fields(&policies, Some(ends(200)), BARE, false), ["expires_at_unix"]);
        assert_eq!(inherited_expiry(&policies, in_seconds(200), false, NOW), in_seconds(60));
        assert_eq!(inherited_expiry(&policies, in_seconds(20), false, NOW), in_seconds(20));
        assert_eq!(inherited_expiry(&policies, None, false, NOW), in_seconds(60));
        let people = WorkspacePolicies { expiry_required: ExpiryRequired::UserKeys, ..policies };
        assert_eq!(inherited_expiry(&people, None, false, NOW), None);
    }

    #[test]
    fn permissions_are_the_allowed_ones_and_those_held_already() {
        let policies =
            WorkspacePolicies { allowed_permissions: Some(names(&["a", "b"])), ..WorkspacePolicies::default() };
        let (a, ac, c) = (names(&["a"]), names(&["a", "c"]), names(&["c"]));
        let held = |names| Terms { permissions: Some(names), ..BARE };
        assert!(fields(&policies, None, held(&a), false).is_empty());
        assert_eq!(fields(&policies, None, held(&ac), false), ["permissions"]);
        assert_eq!(fields(&policies, None, BARE, false), ["permissions"]);
        assert!(fields(&policies, Some(held(&ac)), held(&c), false).is_empty());
        assert!(fields(&policies, Some(BARE), held(&c), false).is_empty());
        assert!(fields(&policies, Some(BARE), BARE, false).is_empty());
        assert_eq!(fields(&policies, Some(held(&a)), held(&ac), false), ["permissions"]);
        assert_eq!(fields(&policies, Some(held(&ac)), BARE, false), ["permissions"]);
        assert_eq!(allowed(&policies, None), Some(names(&["a", "b"])));
        assert_eq!(allowed(&policies, Some(ac)), Some(a));
    }

    #[test]
    fn a_list_of_everywhere_is_no_list() {
        let policies = WorkspacePolicies { allowed_ips_required: true, ..WorkspacePolicies::default() };
        let (all, some) = (names(&["10.0.0.0/8", "::/0"]), names(&["10.0.0.0/8"]));
        let at = |list| Terms { allowed_ips: Some(list), ..BARE };
        assert!(fields(&policies, None, at(&some), false).is_empty());
        assert_eq!(fields(&policies, None, at(&all), false), ["allowed_ips"]);
        assert_eq!(fields(&policies, Some(at(&some)), BARE, false), ["allowed_ips"]);
        assert!(fields(&policies, Some(BARE), at(&all), false).is_empty());
    }
}
