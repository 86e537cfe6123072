//! The decision.
//!
//! [`CHECKS`] is the order of DESIGN §4, from the point where the key is known; what comes before it (a string that
//! can't be a key, a key that isn't there) has no record to decide about. The resource check and the rate limits have
//! their place in the list, before the credits.

use crate::index::KeyRecord;
use crate::period::Month;
use crate::permissions::PermissionSet;
use std::net::IpAddr;
use stead_api::permission::Catalogue;
use stead_api::time::Timestamp;
use stead_api::verify::{CheckReport, DecisionCode};

/// The question: what the key is to be used for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// All of these must be held.
    pub permissions: PermissionSet,
    /// The address the key was presented from, if known.
    pub ip: Option<IpAddr>,
    /// Credits to be charged.
    pub cost: u64,
}

/// Everything a check reads.
#[derive(Clone, Copy)]
struct Question<'a> {
    key: &'a KeyRecord,
    /// Credits the lineage has used in the current month.
    used: u64,
    ask: &'a Ask,
    now: Timestamp,
}

/// One check: pure, and never allocating unless it is asked to explain itself.
struct Check {
    name: &'static str,
    /// What the decision is if the check fails.
    denial: DecisionCode,
    passes: fn(Question<'_>) -> bool,
    explain: fn(Question<'_>, &Catalogue) -> String,
}

const CHECKS: [Check; 8] = [
    Check {
        name: "revoked",
        denial: DecisionCode::Revoked,
        passes: |q| !q.key.facts.revoked,
        explain: |q, _| either(q.key.facts.revoked, "the key was revoked for good", "the key is not revoked"),
    },
    Check {
        name: "workspace",
        denial: DecisionCode::WorkspaceDisabled,
        passes: |q| !q.key.workspace.is_disabled(),
        explain: |q, _| either(q.key.workspace.is_disabled(), "the workspace is disabled", "the workspace is active"),
    },
    Check {
        name: "account",
        denial: DecisionCode::AccountDisabled,
        passes: |q| !q.key.principal.is_disabled(),
        explain: |q, _| {
            either(
                q.key.principal.is_disabled(),
                "the key's account is disabled or deleted",
                "the key's account is active",
            )
        },
    },
    Check {
        name: "disabled",
        denial: DecisionCode::Disabled,
        passes: |q| !q.key.facts.disabled,
        explain: |q, _| either(q.key.facts.disabled, "the key is disabled", "the key is enabled"),
    },
    Check {
        name: "expiry",
        denial: DecisionCode::Expired,
        passes: |q| q.key.facts.expires_at.is_none_or(|end| q.now < end),
        explain: |q, _| match q.key.facts.expires_at {
            None => "the key never expires".into(),
            Some(end) if q.now < end => format!("the key expires in {} s", end.seconds() - q.now.seconds()),
            Some(end) => format!("the key expired {} s ago", q.now.seconds() - end.seconds()),
        },
    },
    Check { name: "address", denial: DecisionCode::IpNotAllowed, passes: address_is_allowed, explain: explain_address },
    Check {
        name: "permissions",
        denial: DecisionCode::InsufficientPermissions,
        passes: |q| missing(q.key, q.ask).is_empty(),
        explain: |q, catalogue| match (q.key.facts.permissions, missing(q.key, q.ask)) {
            (None, _) => "the key is unrestricted".into(),
            (_, missing) if missing.is_empty() => "the key holds every permission asked for".into(),
            (_, missing) => format!("the key lacks {}", missing.names(catalogue).join(", ")),
        },
    },
    Check {
        name: "credits",
        denial: DecisionCode::UsageExceeded,
        passes: |q| {
            q.ask.cost == 0 || q.key.facts.character_limit.is_none_or(|cap| q.used.saturating_add(q.ask.cost) <= cap)
        },
        explain: |q, _| match q.key.facts.character_limit {
            None => "the key has no monthly cap".into(),
            Some(cap) => format!(
                "{} of {cap} credits are used this month, {} asked for; the next month begins in {} s",
                q.used,
                q.ask.cost,
                Month::containing(q.now).ends().seconds() - q.now.seconds(),
            ),
        },
    },
];

/// May `key` do what is asked, at `now`, with `used` credits spent this month? Pure: the same facts give the same
/// answer. The caller charges the cost, holding the counter since before it read `used`.
pub fn decide(key: &KeyRecord, used: u64, ask: &Ask, now: Timestamp) -> DecisionCode {
    let question = Question { key, used, ask, now };
    CHECKS.iter().find(|check| !(check.passes)(question)).map_or(DecisionCode::Valid, |check| check.denial)
}

/// Every check with its outcome and its reason, in order; also those after the first that failed.
pub fn explain(key: &KeyRecord, used: u64, ask: &Ask, now: Timestamp, catalogue: &Catalogue) -> Vec<CheckReport> {
    let question = Question { key, used, ask, now };
    let report = |check: &Check| CheckReport {
        check: check.name.into(),
        passed: (check.passes)(question),
        reason: (check.explain)(question, catalogue),
    };
    CHECKS.iter().map(report).collect()
}

/// The permissions asked for that the key doesn't hold.
pub fn missing(key: &KeyRecord, ask: &Ask) -> PermissionSet {
    key.facts.permissions.map_or(PermissionSet::EMPTY, |held| ask.permissions.minus(held))
}

fn address_is_allowed(q: Question<'_>) -> bool {
    let networks = &q.key.facts.allowed_ips;
    // An IPv4 address may come as ::ffff:a.b.c.d; a rule for the one must hold for the other.
    networks.is_empty() || q.ask.ip.is_some_and(|ip| networks.iter().any(|net| net.contains(&ip.to_canonical())))
}

fn explain_address(q: Question<'_>, _: &Catalogue) -> String {
    let networks = &q.key.facts.allowed_ips;
    match q.ask.ip {
        _ if networks.is_empty() => "the key may be used from anywhere".into(),
        None => "the key has an allowlist, and no address was given".into(),
        Some(ip) if address_is_allowed(q) => format!("{} is in the key's allowlist", ip.to_canonical()),
        Some(ip) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("{} is not in the key's allowlist ({})", ip.to_canonical(), networks.join(", "))
        }
    }
}

fn either(holds: bool, yes: &str, no: &str) -> String {
    (if holds { yes } else { no }).into()
}

#[cfg(test)]
mod tests;
