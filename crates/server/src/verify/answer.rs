//! A verdict as it is told. Written straight from the facts: nothing is allocated but the bytes that go out.

use super::Verdict;
use crate::app::App;
use crate::feed::Revision;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use stead_api::id::{DIGITS, DecisionId, KeyId, LeaseId, digits};
use stead_api::permission::Catalogue;
use stead_api::resource::{GrantStep, Role};
use stead_api::time::Timestamp;
use stead_api::verify::{CheckReport, DecisionCode, LimitHit, LimitKind};
use stead_verify::decide::{hit, missing, rates};
use stead_verify::index::KeyRecord;
use stead_verify::limits::Standing;
use stead_verify::permissions::PermissionSet;

/// What an answer carries beside the verdict.
#[derive(Default)]
pub struct Beside {
    /// The state it was made by.
    pub revision: Option<Revision>,
    /// For how long this node has not been able to confirm its state, if that has to be told.
    pub stale_seconds: Option<u64>,
    /// The trail.
    pub checks: Option<Vec<CheckReport>>,
    /// What the mirror doesn't know.
    pub names: Names,
}

/// What only an explanation says.
#[derive(Default)]
pub struct Names {
    /// The key's.
    pub key: Option<String>,
    /// Its owner's.
    pub owner: Option<String>,
    /// From the owner to the resource.
    pub path: Option<Vec<GrantStep>>,
}

/// [`stead_api::verify::Decision`], borrowed.
#[derive(Serialize)]
struct Told<'a> {
    valid: bool,
    code: DecisionCode,
    decision_id: Id,
    key_id: Option<Id>,
    service_account_user_id: Option<&'a str>,
    workspace_id: Option<&'a str>,
    permissions: Option<PermissionNames<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_permissions: Option<PermissionNames<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource<'a>>,
    expires_at: Option<i64>,
    character_limit: Option<u64>,
    character_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    character_forfeited: Option<u64>,
    remaining: Option<u64>,
    resets_at: Option<i64>,
    rate_limits: Rates<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Hit<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_id: Option<&'a LeaseId>,
    revision: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [CheckReport]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_name: Option<&'a str>,
}

/// Writes a verdict as JSON behind what is in `out`.
pub fn write(app: &App, verdict: &Verdict, beside: &Beside, out: &mut Vec<u8>) {
    let key = verdict.key.as_ref();
    let cap = key.and_then(KeyRecord::cap);
    let lacking = key.filter(|_| verdict.code == DecisionCode::InsufficientPermissions);
    let names = |set| PermissionNames { set, catalogue: &app.catalogue };
    let after = &verdict.after;
    let told = Told {
        valid: verdict.code == DecisionCode::Valid,
        code: verdict.code,
        decision_id: Id(DecisionId::PREFIX, verdict.decision),
        key_id: key.map(|key| Id(KeyId::PREFIX, key.bits())),
        service_account_user_id: key.map(|key| app.index.principal(key).id.as_str()),
        workspace_id: key.map(|key| app.index.workspace(key).id.as_str()),
        permissions: key.and_then(|key| key.permissions).map(names),
        missing_permissions: lacking.map(|key| names(missing(key, &verdict.ask))),
        resource: key.and(verdict.ask.resource).map(|(_, role)| Resource {
            role,
            role_held: verdict.before.held.role,
            path: beside.names.path.as_deref(),
        }),
        expires_at: key.and_then(|key| key.expires_at).map(Timestamp::seconds),
        character_limit: cap,
        character_count: key.map(|_| after.used),
        character_forfeited: cap.and(Some(after.forfeited).filter(|lost| *lost > 0)),
        remaining: remaining(cap, after),
        resets_at: cap.or(after.pool.map(|pool| pool.cap)).map(|_| after.month_ends.seconds()),
        rate_limits: Rates { key, standing: after, at: verdict.at },
        limit: key.and_then(|key| limit(key, verdict)),
        lease_id: verdict.lease.as_ref(),
        revision: Place(beside.revision),
        stale_seconds: beside.stale_seconds,
        checks: beside.checks.as_deref(),
        key_name: beside.names.key.as_deref(),
        service_account_name: beside.names.owner.as_deref(),
    };
    let start = out.len();
    if told.serialize(&mut serde_json::Serializer::new(&mut *out)).is_err() {
        // Can't be: all of it is text and numbers, and memory takes them.
        out.truncate(start);
    }
}

/// What is left of the key's own credits and of those it shares, whichever is less.
fn remaining(cap: Option<u64>, after: &Standing) -> Option<u64> {
    let own = cap.map(|cap| cap.saturating_sub(after.spent));
    let shared = after.pool.map(|pool| pool.left());
    own.into_iter().chain(shared).min()
}

/// The role asked for on a resource and the one held.
#[derive(Serialize)]
struct Resource<'a> {
    role: Role,
    role_held: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a [GrantStep]>,
}

/// The limit that a denial speaks of.
#[derive(Serialize)]
pub(crate) struct Hit<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: LimitKind,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Seconds, rounded up.
    pub(crate) retry_after: u64,
}

impl Hit<'_> {
    /// The same, owned.
    pub(crate) fn told(self) -> LimitHit {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        LimitHit {
            name: self.name.to_owned(),
            kind: self.kind,
            limit: number(self.limit),
            remaining: number(self.remaining),
            retry_after: number(self.retry_after),
        }
    }
}

/// The limit that a verdict speaks of, if it is one of those denials.
pub(crate) fn limit<'a>(key: &'a KeyRecord, verdict: &Verdict) -> Option<Hit<'a>> {
    let hit = hit(key, &verdict.before, &verdict.ask, verdict.code, verdict.at)?;
    let retry_after = hit.retry_after.div_ceil(1_000_000);
    Some(Hit { name: hit.name, kind: hit.kind, limit: hit.limit, remaining: hit.remaining, retry_after })
}

/// An id, made when it is written.
struct Id(&'static str, u128);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 8 + DIGITS];
        let (prefix, end) = (self.0.len(), self.0.len() + DIGITS);
        text[..prefix].copy_from_slice(self.0.as_bytes());
        text[prefix..end].copy_from_slice(&digits(self.1));
        serializer.serialize_str(std::str::from_utf8(&text[..end]).unwrap_or_default())
    }
}

/// A revision; without a workspace there is none to tell.
struct Place(Option<Revision>);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(revision) => serializer.collect_str(revision),
            None => serializer.serialize_str(""),
        }
    }
}

/// Permissions by name.
struct PermissionNames<'a> {
    set: PermissionSet,
    catalogue: &'a Catalogue,
}

impl Serialize for PermissionNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.set.places().try_for_each(|place| list.serialize_element(self.catalogue.name(place)))?;
        list.end()
    }
}

/// How a key's rate limits stand.
struct Rates<'a> {
    key: Option<&'a KeyRecord>,
    standing: &'a Standing,
    at: Timestamp,
}

#[derive(Serialize)]
struct Rate<'a> {
    name: &'a str,
    limit: u64,
    remaining: u64,
    reset_at: i64,
}

impl Serialize for Rates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (rate, state) in self.key.into_iter().flat_map(|key| rates(key, self.standing)) {
            let full = Timestamp(self.at.0.saturating_add_unsigned(state.resets_after).saturating_add(999_999));
            let (name, limit, remaining) = (&*rate.name, rate.limit, state.remaining);
            list.serialize_element(&Rate { name, limit, remaining, reset_at: full.seconds() })?;
        }
        list.end()
    }
}
