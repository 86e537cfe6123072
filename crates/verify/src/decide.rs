//! The decision.
//!
//! [`CHECKS`] is the order of DESIGN §4, from the point where the key is known; what comes before it (a string that
//! can't be a key, a key that isn't there) has no record to decide about.

use crate::index::{EVERYONE, Held, KeyRecord, PoolKind, ResourceKey, Via};
use crate::limits::{Concurrency, PoolState, RateLimit, RateState, Standing};
use crate::permissions::PermissionSet;
use std::fmt;
use std::net::IpAddr;
use stead_api::id::GroupId;
use stead_api::permission::Catalogue;
use stead_api::resource::Role;
use stead_api::time::Timestamp;
use stead_api::verify::{CheckReport, DecisionCode, LimitKind};

/// The question: what the key is to be used for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// All of these must be held.
    pub permissions: PermissionSet,
    /// This role, or a stronger one, must be held on this resource.
    pub resource: Option<(ResourceKey, Role)>,
    /// The address the key was presented from, if known.
    pub ip: Option<IpAddr>,
    /// Where that address comes from.
    pub hop: Hop,
    /// Credits to be charged.
    pub cost: u64,
    /// What is to be under way, and for how many seconds at most.
    pub concurrency: Option<(Concurrency, u32)>,
}

/// How the address that a key was presented from is known, or why it isn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hop {
    /// Whoever asks says so, or doesn't.
    #[default]
    Asker,
    /// The other end of the connection.
    Peer,
    /// This entry of `X-Forwarded-For`, counted from the right, from 1.
    Forwarded(usize),
    /// The other end of the proxy's own connection, told by the proxy.
    Source,
    /// It isn't: who asks is no declared proxy.
    Undeclared,
    /// It isn't: the proxy tells no address.
    Untold,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asker => f.write_str("the question"),
            Self::Peer => f.write_str("the connection"),
            Self::Forwarded(entry) => write!(f, "entry {entry} from the right of X-Forwarded-For"),
            Self::Source => f.write_str("the connection to the proxy"),
            Self::Undeclared => f.write_str("nowhere: the peer is not among trusted-proxies"),
            Self::Untold => f.write_str("nowhere: the proxy sends no X-Forwarded-For"),
        }
    }
}

/// Everything a check reads.
#[derive(Clone, Copy)]
struct Question<'a> {
    key: &'a KeyRecord,
    standing: &'a Standing,
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

const CHECKS: [Check; 11] = [
    Check {
        name: "revoked",
        denial: DecisionCode::Revoked,
        passes: |q| !q.key.revoked,
        explain: |q, _| either(q.key.revoked, "the key was revoked for good", "the key is not revoked"),
    },
    Check {
        name: "workspace",
        denial: DecisionCode::WorkspaceDisabled,
        passes: |q| !q.key.is_workspace_disabled,
        explain: |q, _| either(q.key.is_workspace_disabled, "the workspace is disabled", "the workspace is active"),
    },
    Check {
        name: "account",
        denial: DecisionCode::AccountDisabled,
        passes: |q| !q.key.is_principal_disabled,
        explain: |q, _| {
            either(
                q.key.is_principal_disabled,
                "the key's account is disabled or deleted",
                "the key's account is active",
            )
        },
    },
    Check {
        name: "disabled",
        denial: DecisionCode::Disabled,
        passes: |q| !q.key.disabled,
        explain: |q, _| either(q.key.disabled, "the key is disabled", "the key is enabled"),
    },
    Check {
        name: "expiry",
        denial: DecisionCode::Expired,
        passes: |q| q.key.expires_at.is_none_or(|end| q.now < end),
        explain: |q, _| match q.key.expires_at {
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
        explain: |q, catalogue| match (q.key.permissions, missing(q.key, q.ask)) {
            (None, _) => "the key is unrestricted".into(),
            (_, missing) if missing.is_empty() => "the key holds every permission asked for".into(),
            (_, missing) => format!("the key lacks {}", missing.names(catalogue).join(", ")),
        },
    },
    Check {
        name: "resource",
        denial: DecisionCode::NoResourceAccess,
        passes: |q| q.ask.resource.is_none_or(|(_, wanted)| q.standing.held.role >= Some(wanted)),
        explain: explain_resource,
    },
    Check {
        name: "rate_limits",
        denial: DecisionCode::RateLimited,
        passes: |q| rates(q.key, q.standing).all(|(_, state)| state.retry_after == 0),
        explain: explain_rates,
    },
    Check {
        name: "concurrency",
        denial: DecisionCode::RateLimited,
        passes: |q| most_at_once(q.key, q.ask).is_none_or(|(_, most)| q.standing.under_way < most),
        explain: |q, _| match (q.ask.concurrency, most_at_once(q.key, q.ask)) {
            (None, _) => "nothing is asked to be under way".into(),
            (Some((kind, _)), None) => format!("the key has no limit of {} at once", kind.as_str()),
            (_, Some((kind, most))) => {
                format!("{} of {most} {} are under way", q.standing.under_way, kind.as_str())
            }
        },
    },
    Check {
        name: "credits",
        denial: DecisionCode::UsageExceeded,
        passes: |q| q.ask.cost == 0 || (covers_cap(q) && q.standing.pool.is_none_or(|pool| q.ask.cost <= pool.left())),
        explain: explain_credits,
    },
];

/// May `key` do what is asked, at `now`, as its limits stand? Pure: the same facts give the same answer. Whoever takes
/// what a yes grants holds the ledger since before its standing was read.
pub fn decide(key: &KeyRecord, standing: &Standing, ask: &Ask, now: Timestamp) -> DecisionCode {
    let question = Question { key, standing, ask, now };
    CHECKS.iter().find(|check| !(check.passes)(question)).map_or(DecisionCode::Valid, |check| check.denial)
}

/// Every check with its outcome and its reason, in order; also those after the first that failed.
pub fn explain(
    key: &KeyRecord,
    standing: &Standing,
    ask: &Ask,
    now: Timestamp,
    catalogue: &Catalogue,
) -> Vec<CheckReport> {
    let question = Question { key, standing, ask, now };
    let report = |check: &Check| CheckReport {
        check: check.name.into(),
        passed: (check.passes)(question),
        reason: (check.explain)(question, catalogue),
    };
    CHECKS.iter().map(report).collect()
}

/// The permissions asked for that the key doesn't hold.
pub fn missing(key: &KeyRecord, ask: &Ask) -> PermissionSet {
    key.permissions.map_or(PermissionSet::EMPTY, |held| ask.permissions.minus(held))
}

/// A limit that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Of which kind it is.
    pub kind: LimitKind,
    /// How much it allows.
    pub limit: u64,
    /// How much of it is left.
    pub remaining: u64,
    /// Microseconds after which it may be worth asking again.
    pub retry_after: u64,
}

/// The limit that a `RATE_LIMITED` or `USAGE_EXCEEDED` speaks of; of several rate limits, the one that takes longest.
pub fn hit<'a>(
    key: &'a KeyRecord,
    standing: &Standing,
    ask: &Ask,
    code: DecisionCode,
    now: Timestamp,
) -> Option<Hit<'a>> {
    match code {
        DecisionCode::RateLimited => {
            let slowest = rates(key, standing).max_by_key(|(_, state)| state.retry_after);
            let rate = slowest.filter(|(_, state)| state.retry_after > 0).map(|(rate, state)| Hit {
                name: &rate.name,
                kind: LimitKind::Rate,
                limit: rate.limit,
                remaining: state.remaining,
                retry_after: state.retry_after,
            });
            rate.or_else(|| {
                most_at_once(key, ask).map(|(kind, most)| Hit {
                    name: kind.as_str(),
                    kind: LimitKind::Concurrency,
                    limit: most,
                    remaining: most.saturating_sub(standing.under_way),
                    // One may also be given back at any time.
                    retry_after: standing.frees_after.clamp(1, 1_000_000),
                })
            })
        }
        DecisionCode::UsageExceeded => {
            let own = key.cap().map(|cap| ("character_limit", cap, cap.saturating_sub(standing.spent)));
            let shared = standing.pool.map(|pool| (pool_name(&pool), pool.cap, pool.left()));
            // The key's own first: it is what its holder knows of.
            let exceeded = |(_, _, left): &(&str, u64, u64)| *left < ask.cost;
            own.filter(exceeded).or(shared).map(|(name, limit, remaining)| Hit {
                name,
                kind: LimitKind::Credits,
                limit,
                remaining,
                retry_after: u64::try_from(standing.month_ends.0 - now.0).unwrap_or(0),
            })
        }
        _ => None,
    }
}

/// Each rate limit of a key and how it stands.
pub fn rates<'a>(
    key: &'a KeyRecord,
    standing: &Standing,
) -> impl Iterator<Item = (&'a RateLimit, RateState)> + use<'a> {
    let limits = key.limits.as_deref().map_or(&[][..], |limits| &limits.rate_limits);
    limits.iter().zip(standing.rates)
}

/// The concurrency limit that a question meets.
fn most_at_once(key: &KeyRecord, ask: &Ask) -> Option<(Concurrency, u64)> {
    let (kind, _) = ask.concurrency?;
    Some((kind, key.limits.as_ref()?.concurrency[kind as usize]?))
}

fn covers_cap(q: Question<'_>) -> bool {
    q.key.cap().is_none_or(|cap| q.standing.spent.saturating_add(q.ask.cost) <= cap)
}

/// What a denial calls a pool.
fn pool_name(pool: &PoolState) -> &'static str {
    if pool.kind == PoolKind::Account { "usage_limit" } else { "group_usage_limit" }
}

fn explain_credits(q: Question<'_>, _: &Catalogue) -> String {
    let own = q.key.cap().map(|cap| {
        format!(
            "{} of {cap} credits are gone this month ({} of them forfeited)",
            q.standing.spent, q.standing.forfeited
        )
    });
    let shared = q.standing.pool.map(|pool| {
        let whose = match pool.kind {
            PoolKind::Account => "the account's keys share".into(),
            PoolKind::Group(EVERYONE) => "the whole workspace shares".into(),
            PoolKind::Group(group) => format!("the group {} shares", GroupId::from_bits(group)),
        };
        format!("{} of {} credits that {whose} are gone this month", pool.spent, pool.cap)
    });
    let all: Vec<_> = own.into_iter().chain(shared).collect();
    if all.is_empty() {
        return "no monthly cap bounds the key".into();
    }
    let ends = q.standing.month_ends.seconds() - q.now.seconds();
    format!("{}; {} asked for; the next month begins in {ends} s", all.join("; "), q.ask.cost)
}

fn explain_resource(q: Question<'_>, _: &Catalogue) -> String {
    let Some((_, wanted)) = q.ask.resource else { return "no resource is asked about".into() };
    let (wanted, Held { role, via }) = (wanted.as_str(), q.standing.held);
    let held = role.map_or("no role", Role::as_str);
    let why = match via {
        Via::Unknown => return format!("{wanted} is needed, and there is no such resource"),
        Via::Nothing => return format!("{wanted} is needed, and nothing is shared with the account or its groups"),
        Via::Admin => "the account is a workspace admin".into(),
        Via::Creator => "the account made the resource".into(),
        Via::Direct => "account → resource".into(),
        Via::Group(EVERYONE, _) => "account → everybody (default) → resource".into(),
        Via::Group(group, false) => format!("account → group {} → resource", GroupId::from_bits(group)),
        Via::Group(group, true) => {
            format!("account → group {} with access to all resources", GroupId::from_bits(group))
        }
    };
    format!("{wanted} is needed, {held} is held: {why}")
}

fn explain_rates(q: Question<'_>, _: &Catalogue) -> String {
    let all: Vec<_> = rates(q.key, q.standing)
        .map(|(rate, state)| {
            let left =
                format!("{}: {} of {} in {} s left", rate.name, state.remaining, rate.limit, rate.window_seconds);
            match state.retry_after {
                0 => left,
                wait => format!("{left}, the next in {} s", wait.div_ceil(1_000_000)),
            }
        })
        .collect();
    if all.is_empty() { "the key has no rate limit".into() } else { all.join("; ") }
}

fn networks(key: &KeyRecord) -> &[ipnet::IpNet] {
    key.limits.as_ref().map_or(&[], |limits| &limits.allowed_ips)
}

fn address_is_allowed(q: Question<'_>) -> bool {
    let networks = networks(q.key);
    // An IPv4 address may come as ::ffff:a.b.c.d; a rule for the one must hold for the other.
    networks.is_empty() || q.ask.ip.is_some_and(|ip| networks.iter().any(|net| net.contains(&ip.to_canonical())))
}

fn explain_address(q: Question<'_>, _: &Catalogue) -> String {
    let (networks, hop) = (networks(q.key), q.ask.hop);
    match q.ask.ip {
        _ if networks.is_empty() => "the key may be used from anywhere".into(),
        None if hop == Hop::Asker => "the key has an allowlist, and no address was given".into(),
        None => format!("the key has an allowlist, and the address comes from {hop}"),
        Some(ip) if address_is_allowed(q) => format!("{} (from {hop}) is in the key's allowlist", ip.to_canonical()),
        Some(ip) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("{} (from {hop}) is not in the key's allowlist ({})", ip.to_canonical(), networks.join(", "))
        }
    }
}

fn either(holds: bool, yes: &str, no: &str) -> String {
    (if holds { yes } else { no }).into()
}

#[cfg(test)]
mod tests;
