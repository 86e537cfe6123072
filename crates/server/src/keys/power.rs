//! Power only shrinks: a key can't make, change or rotate a key into something stronger than itself, in any dimension.
//! Judged when it is used, by what the caller's key is in the transaction that does the work.

use super::KeyRow;
use crate::error::Failure;
use crate::feed::mutation::Mutation;
use crate::members::{self, Authority, SeatType};
use crate::{groups, resources};
use ipnet::IpNet;
use stead_api::error::ErrorCode;
use stead_api::id::PrincipalId;
use stead_api::key::{RateLimit, RateLimitScope};
use stead_api::permission::{
    ALL_RESOURCES_ACCESS, AUDIT_LOG_READ, GROUP_MEMBERS_MANAGE, SERVICE_ACCOUNT_WRITE, SERVICE_ACCOUNTS_MANAGE,
    WEBHOOKS_MANAGE, WEBHOOKS_WRITE, WORKSPACE_ANALYTICS_FULL_READ, WORKSPACE_MEMBERS_INVITE, WORKSPACE_MEMBERS_REMOVE,
    WORKSPACE_WRITE,
};

/// One way in which a key can be stronger than another.
#[derive(Clone, Copy)]
struct Dimension {
    /// The field of the request that it comes from.
    param: &'static str,
    /// Whether the first key can do something there that the second can't.
    exceeds: fn(&KeyRow, &KeyRow) -> bool,
}

const DIMENSIONS: [Dimension; 7] = [
    Dimension { param: "permissions", exceeds: |a, b| beyond_list(a.permissions.as_deref(), b.permissions.as_deref()) },
    Dimension { param: "expires_at_unix", exceeds: |a, b| beyond_number(a.expires_at, b.expires_at) },
    Dimension {
        param: "allowed_ips",
        exceeds: |a, b| beyond_networks(a.allowed_ips.as_deref(), b.allowed_ips.as_deref()),
    },
    Dimension { param: "character_limit", exceeds: |a, b| beyond_number(a.character_limit, b.character_limit) },
    Dimension {
        param: "tts_concurrency_limit",
        exceeds: |a, b| {
            beyond_number(a.tts_concurrency_limit, b.tts_concurrency_limit)
                || beyond_number(a.music_concurrency_limit, b.music_concurrency_limit)
        },
    },
    Dimension {
        param: "rate_limits",
        exceeds: |a, b| beyond_rates(a.rate_limits.as_deref().unwrap_or(&[]), b.rate_limits.as_deref().unwrap_or(&[])),
    },
    Dimension {
        param: "dubbing_concurrency_limit",
        exceeds: |a, b| beyond_number(a.dubbing_concurrency_limit, b.dubbing_concurrency_limit),
    },
];

/// A new key, or one that begins to work: nothing of it may exceed the caller's.
pub fn check_whole(authority: &Authority, key: &KeyRow) -> Result<(), Failure> {
    let Some(caller) = &authority.key else { return Ok(()) };
    match beyond(&DIMENSIONS, key, caller) {
        None => Ok(()),
        Some(dimension) => Err(refused(dimension.param)),
    }
}

/// The first dimension in which one key exceeds another.
fn beyond<'a>(dimensions: &'a [Dimension], key: &KeyRow, caller: &KeyRow) -> Option<&'a Dimension> {
    dimensions.iter().find(|dimension| (dimension.exceeds)(key, caller))
}

/// A changed key: one that is given anything must as a whole not exceed the caller's. Judging each dimension by itself
/// would let a weak key bring a stronger one that has expired back to life.
pub fn check_change(authority: &Authority, old: &KeyRow, new: &KeyRow) -> Result<(), Failure> {
    if is_widened(old, new) { check_whole(authority, new) } else { Ok(()) }
}

/// Whether a change gives a key anything it didn't have.
pub fn is_widened(old: &KeyRow, new: &KeyRow) -> bool {
    is_widened_in(&DIMENSIONS, old, new)
}

fn is_widened_in(dimensions: &[Dimension], old: &KeyRow, new: &KeyRow) -> bool {
    (old.is_disabled && !new.is_disabled) || beyond(dimensions, new, old).is_some()
}

/// A key also acts with what its owner has through groups: who is no admin may hand out only what they have themselves.
pub fn check_owner(m: &mut Mutation<'_, '_>, owner: &PrincipalId) -> Result<(), Failure> {
    if m.authority.is_admin {
        return Ok(());
    }
    let workspace = m.workspace_id();
    let Some(owner) = members::principal(m.tx, &workspace, owner)? else { return Ok(()) };
    let theirs = groups::permissions_of(m.tx, &m.app.ring, &workspace, owner.groups())?;
    let more: Vec<_> = theirs.difference(&m.authority.group_permissions).cloned().collect();
    if !more.is_empty() {
        return Err(Failure::lacks("The account has group permissions that you do not have.", more));
    }
    check_credits(m, Some(&owner), &[])?;
    if owner.is_admin() || resources::beyond(m, &owner)? {
        let message = "The account has access to resources that you do not have.";
        return Err(Failure::refused(ErrorCode::StrongerThanCaller, message));
    }
    Ok(())
}

/// Keys of one's own need a full seat (wire §9.8).
pub fn check_seat(m: &Mutation<'_, '_>, owner: &PrincipalId) -> Result<(), Failure> {
    let own = m.authority.key.as_ref().is_some_and(|key| key.principal_id == owner.as_str());
    if own && m.authority.seat == SeatType::WorkspaceLiteMember.as_str() {
        let message = "Personal API keys need a full seat. Yours is a basic one.";
        return Err(Failure::refused(ErrorCode::FeatureNotAvailable, message));
    }
    Ok(())
}

/// A right to manage, by the group permission that gives it, and what a key must hold to use it.
const RIGHTS: [(&str, &str); 8] = [
    (SERVICE_ACCOUNTS_MANAGE, SERVICE_ACCOUNT_WRITE),
    (WEBHOOKS_MANAGE, WEBHOOKS_WRITE),
    (GROUP_MEMBERS_MANAGE, GROUP_MEMBERS_MANAGE),
    (WORKSPACE_MEMBERS_INVITE, WORKSPACE_MEMBERS_INVITE),
    (WORKSPACE_MEMBERS_REMOVE, WORKSPACE_MEMBERS_REMOVE),
    (AUDIT_LOG_READ, AUDIT_LOG_READ),
    (WORKSPACE_ANALYTICS_FULL_READ, WORKSPACE_ANALYTICS_FULL_READ),
    (ALL_RESOURCES_ACCESS, WORKSPACE_WRITE),
];

/// Group permissions that are handed on, by a group that gets them or by somebody who gets into one: a restricted key,
/// an admin's too, hands on no right to manage that it couldn't use itself.
pub fn check_rights<'a>(authority: &Authority, given: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let Some(caller) = &authority.key else { return Ok(()) };
    let needed = given.filter_map(|given| RIGHTS.iter().find(|(right, _)| *right == given));
    match needed.map(|(_, needed)| *needed).find(|needed| !caller.holds(needed)) {
        None => Ok(()),
        Some(needed) => Err(members::lacks_permission(needed)),
    }
}

/// What is made for others, who spend credits: whoever's own are limited, and is no admin, makes nothing that is not
/// under the same limit. `owner` is who will spend them, if there is one already, `groups` the groups of a new one.
pub fn check_credits(
    m: &mut Mutation<'_, '_>,
    owner: Option<&members::Principal>,
    groups: &[String],
) -> Result<(), Failure> {
    let Some(own) = m.authority.key.as_ref().map(|key| PrincipalId::from(key.principal_id.as_str())) else {
        return Ok(());
    };
    if m.authority.is_admin || owner.is_some_and(|owner| owner.id() == own) {
        return Ok(());
    }
    let workspace = m.workspace_id();
    let is_limited = members::principal(m.tx, &workspace, &own)?.is_some_and(|own| own.usage_limit().is_some());
    let of_owner = owner.map_or(groups, members::Principal::groups);
    let escapes = |group: &String| !of_owner.contains(group);
    let theirs: Vec<_> = m.authority.groups.iter().filter(|group| escapes(group)).cloned().collect();
    let mut is_beyond = is_limited;
    for group in theirs {
        is_beyond |= crate::groups::find(m.tx, &workspace, &group)?.is_some_and(|group| group.usage_limit.is_some());
    }
    if is_beyond {
        let message = "Your own credits are limited, and what is made here would not be.";
        return Err(Failure::refused(ErrorCode::StrongerThanCaller, message));
    }
    Ok(())
}

fn refused(param: &'static str) -> Failure {
    let message =
        format!("A key can't make another key stronger than itself: `{param}` goes beyond the key that asks.");
    Failure::param(ErrorCode::StrongerThanCaller, param, message)
}

/// `None` is everything.
fn beyond_list(a: Option<&[String]>, b: Option<&[String]>) -> bool {
    b.is_some_and(|b| a.is_none_or(|a| a.iter().any(|name| !b.contains(name))))
}

/// `None` is without end.
fn beyond_number(a: Option<i64>, b: Option<i64>) -> bool {
    b.is_some_and(|b| a.is_none_or(|a| a > b))
}

/// `None` is anywhere. A network that can't be read counts as outside.
fn beyond_networks(a: Option<&[String]>, b: Option<&[String]>) -> bool {
    let within = |a: &str, b: &[String]| {
        let inner = a.parse::<IpNet>();
        inner.is_ok_and(|inner| b.iter().any(|outer| outer.parse::<IpNet>().is_ok_and(|outer| outer.contains(&inner))))
    };
    b.is_some_and(|b| a.is_none_or(|a| a.iter().any(|network| !within(network, b))))
}

/// Each limit of the second needs one of the first that allows no more at once and no more in the long run.
fn beyond_rates(a: &[RateLimit], b: &[RateLimit]) -> bool {
    let slower = |a: &RateLimit, b: &RateLimit| {
        let (in_a, in_b) =
            (i128::from(a.limit) * i128::from(b.window_seconds), i128::from(b.limit) * i128::from(a.window_seconds));
        a.limit <= b.limit && in_a <= in_b && (b.per == RateLimitScope::Key || a.per == RateLimitScope::Lineage)
    };
    b.iter().any(|b| !a.iter().any(|a| slower(a, b)))
}

#[cfg(test)]
mod chains;

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "as the rows have it")]
    fn list(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_exceeds_what_has_no_bound_and_no_bound_exceeds_every_bound() {
        assert!(!beyond_number(None, None) && !beyond_number(Some(5), None) && !beyond_number(Some(5), Some(5)));
        assert!(beyond_number(None, Some(5)) && beyond_number(Some(6), Some(5)));
        let (ab, a, none) = (list(&["a", "b"]), list(&["a"]), list(&[]));
        assert!(
            !beyond_list(ab.as_deref(), None)
                && !beyond_list(a.as_deref(), ab.as_deref())
                && !beyond_list(none.as_deref(), a.as_deref())
        );
        assert!(
            beyond_list(ab.as_deref(), a.as_deref())
                && beyond_list(None, ab.as_deref())
                && beyond_list(a.as_deref(), none.as_deref())
        );
    }

    #[test]
    fn a_rate_must_be_as_slow_as_the_callers() {
        let rate = |limit, window_seconds, per| RateLimit { name: "r".into(), limit, window_seconds, per };
        let (ten, many) = (rate(10, 60, RateLimitScope::Key), rate(100, 60, RateLimitScope::Key));
        assert!(!beyond_rates(&[], &[]) && !beyond_rates(std::slice::from_ref(&ten), &[]));
        assert!(
            beyond_rates(&[], std::slice::from_ref(&ten))
                && beyond_rates(std::slice::from_ref(&many), std::slice::from_ref(&ten))
        );
        assert!(!beyond_rates(&[many, ten.clone()], std::slice::from_ref(&ten)));
        // As many at once, but sooner again; and as slow, but more at once.
        assert!(beyond_rates(&[rate(10, 30, RateLimitScope::Key)], std::slice::from_ref(&ten)));
        assert!(beyond_rates(&[rate(20, 120, RateLimitScope::Key)], std::slice::from_ref(&ten)));
        let shared = rate(10, 60, RateLimitScope::Lineage);
        assert!(
            beyond_rates(std::slice::from_ref(&ten), std::slice::from_ref(&shared)) && !beyond_rates(&[shared], &[ten])
        );
    }

    #[test]
    fn networks_must_lie_within_networks() {
        let (wide, narrow, other) =
            (list(&["10.0.0.0/8"]), list(&["10.1.0.0/16", "10.2.3.4/32"]), list(&["10.1.0.0/16", "2001:db8::/32"]));
        assert!(!beyond_networks(narrow.as_deref(), wide.as_deref()) && !beyond_networks(wide.as_deref(), None));
        assert!(
            beyond_networks(wide.as_deref(), narrow.as_deref()) && beyond_networks(other.as_deref(), wide.as_deref())
        );
        assert!(beyond_networks(None, wide.as_deref()));
    }
}
