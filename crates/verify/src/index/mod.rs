//! The mirror: every key of the store in memory, found by digest. Filled at start, fed by the change log.
//!
//! - `table`: a shard: records in a row, found by digest
//! - `ids`: where each key is, by its id
//! - `holders`: workspaces and owners, which switch off many keys at once
//! - `grants`: groups, memberships, and what is shared of each resource
//! - `pools`: credits that several keys share
//! - `appended`: what many keys share (workspaces, owners, sets of permissions), kept once
//!
//! A record is a hundred bytes and holds no other allocation, unless the key has limits. A look-up takes one shard's
//! read lock, copies what a decision needs, and lets it go: it waits only while that very shard, a four-thousandth of
//! all, takes in a change. A change with an older version than what is there is passed over, so it does no harm if
//! changes arrive twice or out of order.

#![allow(clippy::cast_possible_truncation, reason = "bits are cut out on purpose, and places fit in theirs")]

mod appended;
mod grants;
mod holders;
mod ids;
mod pools;
mod table;

use crate::facts::{Fact, GroupFacts, KeyFacts, PrincipalFacts, WorkspaceFacts};
use crate::limits::{Ledger, Limits};
use crate::pepper::Digest;
use crate::period::Billing;
use crate::permissions::PermissionSet;
use appended::Appended;
pub use grants::{EVERYONE, Held, ResourceKey, Via};
use grants::{Grants, Group, Membership};
use holders::Switch;
pub use holders::{Principal, Workspace};
use ids::Ids;
pub use pools::{Pool, PoolKind};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use stead_api::id::{GroupId, KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::time::Timestamp;
use table::{Shard, shard_of};

const SHARDS: usize = 4096;
const LEDGER_SHARDS: usize = 64;
/// The place, among the sets of permissions, of a key without restriction.
const UNRESTRICTED: u32 = u32::MAX;
/// The expiry of a key without one.
const NEVER: i64 = i64::MAX;

/// All keys of the store.
pub struct KeyIndex {
    shards: Box<[RwLock<Shard>]>,
    ids: Ids,
    workspaces: Appended<Workspace>,
    principals: Appended<Principal>,
    permissions: Appended<PermissionSet>,
    groups: Appended<Group>,
    grants: Grants,
    /// Where each of these is.
    known: RwLock<Known>,
    /// Of the lineages that have limits, or were charged.
    ledgers: Box<[Mutex<Ledgers>]>,
    has_ledgers: AtomicBool,
    /// Keys of a form that is not ours. While there are none, a foreign string needs no hashing.
    foreign: AtomicUsize,
    /// Odd while the index is being filled anew: what isn't found may only not be there yet.
    filling: AtomicUsize,
    /// Writers take turns: they come at the rate of management requests.
    turn: Mutex<()>,
}

type Ledgers = HashMap<u128, Arc<Ledger>>;

#[derive(Default)]
struct Known {
    workspaces: HashMap<WorkspaceId, u32>,
    principals: HashMap<PrincipalId, u32>,
    permissions: HashMap<PermissionSet, u32>,
    groups: HashMap<GroupId, u32>,
}

/// A key as it is kept. Ids are their 128 bits, and as two words, since as one they would have to begin at every 16th byte.
struct Record {
    digest: Digest,
    id: [u64; 2],
    lineage: [u64; 2],
    expires_at: i64,
    last_used: AtomicI64,
    limits: Option<Arc<Limits>>,
    workspace: u32,
    principal: u32,
    permissions: u32,
    version: u32,
    revoked: bool,
    disabled: bool,
    foreign: bool,
    /// Whether the last use waits to be told to the store.
    use_waits: AtomicBool,
}

/// One key with all that its decision needs: a copy of the moment of the look-up.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each with a check of its own")]
pub struct KeyRecord {
    place: Place,
    id: u128,
    lineage: u128,
    workspace: u32,
    principal: u32,
    /// The version of its row.
    pub version: i64,
    /// Refused for good.
    pub revoked: bool,
    /// Refused until enabled.
    pub disabled: bool,
    /// All keys of its workspace are refused.
    pub is_workspace_disabled: bool,
    /// All keys of its owner are refused.
    pub is_principal_disabled: bool,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
    /// `None` means unrestricted.
    pub permissions: Option<PermissionSet>,
    /// What else bounds it.
    pub limits: Option<Arc<Limits>>,
}

/// Where a key's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl KeyRecord {
    /// Where it is kept.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        KeyId::from_bits(self.id)
    }

    /// The bits of the key's id.
    pub fn bits(&self) -> u128 {
        self.id
    }

    /// The key and its successors by rotation.
    pub fn lineage_id(&self) -> LineageId {
        LineageId::from_bits(self.lineage)
    }

    /// The bits of the lineage's id.
    pub fn lineage_bits(&self) -> u128 {
        self.lineage
    }

    /// Credits a month.
    pub fn cap(&self) -> Option<u64> {
        self.limits.as_ref()?.character_limit
    }

    /// Its tenant's number, which stays the same for as long as the index lives.
    pub fn workspace_number(&self) -> u32 {
        self.workspace
    }
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            ids: Ids::default(),
            workspaces: Appended::default(),
            principals: Appended::default(),
            permissions: Appended::default(),
            groups: Appended::default(),
            grants: Grants::default(),
            known: RwLock::default(),
            ledgers: (0..LEDGER_SHARDS).map(|_| Mutex::default()).collect(),
            has_ledgers: AtomicBool::new(false),
            foreign: AtomicUsize::new(0),
            filling: AtomicUsize::new(0),
            turn: Mutex::new(()),
        }
    }
}

impl KeyIndex {
    /// The key with this digest.
    pub fn find(&self, digest: &Digest) -> Option<KeyRecord> {
        let number = shard_of(digest, SHARDS);
        let shard = self.read(number);
        let place = shard.find(digest)?;
        Some(self.copy(shard.get(place)?, Place::new(number, place)))
    }

    /// The key with this id.
    pub fn get(&self, id: &KeyId) -> Option<KeyRecord> {
        let bits = id.bits()?;
        self.ids.candidates(bits).find_map(|place| {
            let place = Place(place);
            let shard = self.read(place.shard());
            let record = shard.get(place.within()).filter(|record| join(record.id) == bits)?;
            Some(self.copy(record, place))
        })
    }

    /// How many keys there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a key of a form that is not ours exists.
    pub fn has_foreign(&self) -> bool {
        self.foreign.load(Ordering::Relaxed) > 0
    }

    /// The version of a key's row as known here; -1 if it isn't.
    pub fn key_version(&self, id: &KeyId) -> i64 {
        self.get(id).map_or(-1, |record| record.version)
    }

    /// A key's tenant.
    pub fn workspace(&self, key: &KeyRecord) -> &Workspace {
        self.workspaces.get(key.workspace).unwrap_or_else(|| unreachable!("a record's workspace is kept for good"))
    }

    /// A key's owner.
    pub fn principal(&self, key: &KeyRecord) -> &Principal {
        self.principals.get(key.principal).unwrap_or_else(|| unreachable!("a record's owner is kept for good"))
    }

    /// A tenant.
    pub fn workspace_of(&self, id: &WorkspaceId) -> Option<&Workspace> {
        let place = *self.known.read().unwrap_or_else(PoisonError::into_inner).workspaces.get(id)?;
        self.workspaces.get(place)
    }

    /// A tenant's number, as [`KeyRecord::workspace_number`] has it.
    pub fn workspace_number(&self, id: &WorkspaceId) -> Option<u32> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).workspaces.get(id).copied()
    }

    /// The tenant with this number.
    pub fn workspace_numbered(&self, number: u32) -> Option<&Workspace> {
        self.workspaces.get(number)
    }

    /// Every tenant.
    pub fn workspaces(&self) -> impl Iterator<Item = &Workspace> {
        self.workspaces.iter()
    }

    /// The ledger of a lineage, made if there is none.
    pub fn ledger(&self, lineage: u128) -> Arc<Ledger> {
        self.has_ledgers.store(true, Ordering::Relaxed);
        self.ledgers_of(lineage).entry(lineage).or_default().clone()
    }

    /// The ledger of a lineage, if anything was ever taken from it.
    pub fn find_ledger(&self, lineage: u128) -> Option<Arc<Ledger>> {
        // Where nothing is charged nor limited, that is known without a lock.
        if !self.has_ledgers.load(Ordering::Relaxed) {
            return None;
        }
        self.ledgers_of(lineage).get(&lineage).cloned()
    }

    fn ledgers_of(&self, lineage: u128) -> MutexGuard<'_, Ledgers> {
        let shard = (lineage >> 32) as usize % LEDGER_SHARDS;
        self.ledgers[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a changed fact.
    pub fn apply(&self, fact: Fact) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match fact {
            Fact::Workspace(WorkspaceFacts { id, version, disabled, billing }) => {
                let place = self.workspace_place(&id);
                if let Some(workspace) = self.workspaces.get(place)
                    && workspace.switch.update(version, disabled)
                {
                    let period = billing.period(Timestamp(0));
                    *workspace.billing.write().unwrap_or_else(PoisonError::into_inner) = (billing, period);
                }
            }
            Fact::Group(facts) => self.put_group(&facts),
            Fact::Resource(facts) => self.grants.put(self.workspace_place(&facts.workspace_id), facts),
            Fact::Principal(PrincipalFacts { id, version, disabled, is_admin, groups, cap }) => {
                let groups = groups.iter().map(|group| self.group_place(group)).collect();
                let place = self.principal_place(&id);
                if let Some(principal) = self.principals.get(place)
                    && principal.switch.update(version, disabled)
                {
                    *principal.membership.write().unwrap_or_else(PoisonError::into_inner) =
                        Membership { is_admin, groups, cap };
                }
            }
            Fact::Key(facts) => self.put(&facts),
        }
    }

    /// Drops a key: its row can't be trusted. It is found by nobody until a newer version comes.
    pub fn remove(&self, id: &KeyId) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = self.get(id) {
            self.take_out(&record);
        }
    }

    fn take_out(&self, key: &KeyRecord) {
        let removed = self.write(key.place.shard()).remove(key.place.within());
        self.ids.remove(key.id, key.place.0);
        self.foreign.fetch_sub(usize::from(removed.is_some_and(|record| record.foreign)), Ordering::Relaxed);
    }

    /// A mark to be compared with a later one: the same even number before and after a search means that what was
    /// not found is not there.
    pub fn mark(&self) -> usize {
        self.filling.load(Ordering::SeqCst)
    }

    /// Whether it is being filled anew, so that nothing is known for sure.
    pub fn is_filling(&self) -> bool {
        !self.mark().is_multiple_of(2)
    }

    /// The end of what [`KeyIndex::clear`] began.
    pub fn filled(&self) {
        self.filling.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets everything but what lineages have taken: the store has gone back in time, and versions compare with
    /// nothing. Until it is [`KeyIndex::filled`] again, nobody knows which keys there are.
    pub fn clear(&self) {
        self.filling.fetch_add(1, Ordering::SeqCst);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in &self.shards {
            *shard.write().unwrap_or_else(PoisonError::into_inner) = Shard::default();
        }
        self.ids.clear();
        self.workspaces.iter().for_each(|workspace| workspace.switch.forget());
        self.workspaces.iter().for_each(|workspace| workspace.everyone.forget());
        self.groups.iter().for_each(Group::forget);
        self.grants.clear();
        self.principals.iter().for_each(|principal| {
            principal.switch.forget();
            *principal.membership.write().unwrap_or_else(PoisonError::into_inner) = Membership::default();
        });
        self.foreign.store(0, Ordering::Relaxed);
    }

    /// The role that a key's owner has on a resource.
    pub fn held(&self, key: &KeyRecord, resource: ResourceKey) -> Held {
        let owner = self.principal(key);
        let membership = owner.membership.read().unwrap_or_else(PoisonError::into_inner);
        self.grants.held(key, resource, (owner.id.bits(), &membership), self.groups_of(key, &membership))
    }

    /// How many resources there are.
    pub fn resources(&self) -> usize {
        self.grants.len()
    }

    /// The groups that an owner is in, the one of everybody last.
    fn groups_of<'a>(&'a self, key: &KeyRecord, membership: &'a Membership) -> impl Iterator<Item = &'a Group> + Clone {
        let groups = membership.groups.iter().filter_map(|place| self.groups.get(*place));
        groups.chain([&self.workspace(key).everyone])
    }

    /// Makes room for so many keys, ahead of filling.
    pub fn reserve(&self, keys: usize) {
        // Digests spread evenly, so a shard seldom holds more than its share and a few standard deviations.
        let share = keys / SHARDS;
        let most = share + 2 * share.isqrt() + 1;
        if share > 0 {
            (0..SHARDS).for_each(|number| self.write(number).reserve(most));
            self.ids.reserve(keys);
        }
    }

    /// Notes that a key was accepted; whether the store has to be told, i.e. nothing was waiting before.
    pub fn touch(&self, key: &KeyRecord, now: Timestamp) -> bool {
        let shard = self.read(key.place.shard());
        // Another key may have the place by now.
        let record = shard.get(key.place.within()).filter(|record| join(record.id) == key.id);
        let Some(record) = record else { return false };
        record.last_used.fetch_max(now.0, Ordering::SeqCst);
        // Read first: most uses find that the key waits already, and then write to no shared line but the one above.
        !record.use_waits.load(Ordering::SeqCst) && !record.use_waits.swap(true, Ordering::SeqCst)
    }

    /// When a key was last accepted.
    pub fn last_used(&self, place: Place) -> Option<Timestamp> {
        let at = self.read(place.shard()).get(place.within())?.last_used.load(Ordering::Relaxed);
        (at != 0).then_some(Timestamp(at))
    }

    /// A use to be told to the store. The key still counts as waiting, so that further uses don't queue it anew.
    pub fn use_to_tell(&self, place: Place) -> Option<(WorkspaceId, KeyId, Timestamp)> {
        let shard = self.read(place.shard());
        let record = shard.get(place.within())?;
        let at = record.last_used.load(Ordering::SeqCst);
        let workspace = self.workspaces.get(record.workspace)?;
        (at != 0).then(|| (workspace.id.clone(), KeyId::from_bits(join(record.id)), Timestamp(at)))
    }

    /// A key waits no longer: its next use queues it. False if it was used after `told`, which was then not queued: the
    /// key waits again, and the caller has to queue it.
    pub fn rest(&self, place: Place, told: Timestamp) -> bool {
        let shard = self.read(place.shard());
        let Some(record) = shard.get(place.within()) else { return true };
        record.use_waits.store(false, Ordering::SeqCst);
        record.last_used.load(Ordering::SeqCst) <= told.0 || record.use_waits.swap(true, Ordering::SeqCst)
    }

    /// Sets what the store knows of a key's last use, at start.
    pub fn restore_last_used(&self, id: &KeyId, at: Timestamp) {
        if let Some(key) = self.get(id)
            && let Some(record) = self.read(key.place.shard()).get(key.place.within())
        {
            record.last_used.fetch_max(at.0, Ordering::Relaxed);
        }
    }

    fn put(&self, facts: &KeyFacts) {
        let (Some(id), Some(lineage)) = (facts.id.bits(), facts.lineage_id.bits()) else { return };
        let old = self.get(&facts.id);
        if old.as_ref().is_some_and(|old| old.version >= facts.version) {
            return;
        }
        let number = shard_of(&facts.digest, SHARDS);
        let mut record = self.record(id, lineage, facts);
        // Added before it is taken away, so that the count is never too small in between.
        self.foreign.fetch_add(usize::from(record.foreign), Ordering::Relaxed);
        if let Some(old) = old {
            let mut shard = self.write(old.place.shard());
            if let Some(kept) = shard.get_mut(old.place.within()) {
                record.last_used = AtomicI64::new(kept.last_used.load(Ordering::SeqCst));
                record.use_waits = AtomicBool::new(kept.use_waits.load(Ordering::SeqCst));
                self.foreign.fetch_sub(usize::from(kept.foreign), Ordering::Relaxed);
                if kept.digest == record.digest {
                    *kept = record;
                    return;
                }
                kept.foreign = false;
            }
            drop(shard);
            self.take_out(&old);
        }
        let within = self.write(number).insert(record);
        if let Some(within) = within {
            self.ids.insert(id, Place::new(number, within).0);
        }
    }

    fn record(&self, id: u128, lineage: u128, facts: &KeyFacts) -> Record {
        let limits = facts.has_limits().then(|| {
            Arc::new(Limits {
                allowed_ips: facts.allowed_ips.clone(),
                character_limit: facts.character_limit,
                rate_limits: facts.rate_limits.iter().take(crate::limits::MAX_RATE_LIMITS).cloned().collect(),
                concurrency: facts.concurrency,
                ledger: self.ledger(lineage),
            })
        });
        Record {
            digest: facts.digest,
            id: split(id),
            lineage: split(lineage),
            expires_at: facts.expires_at.map_or(NEVER, |at| at.0),
            last_used: AtomicI64::new(0),
            limits,
            workspace: self.workspace_place(&facts.workspace_id),
            principal: self.principal_place(&facts.principal_id),
            permissions: facts.permissions.map_or(UNRESTRICTED, |set| self.permissions_place(set)),
            version: u32::try_from(facts.version).unwrap_or(u32::MAX),
            revoked: facts.revoked,
            disabled: facts.disabled,
            foreign: facts.foreign,
            use_waits: AtomicBool::new(false),
        }
    }

    fn copy(&self, record: &Record, place: Place) -> KeyRecord {
        let is_off = |switch: Option<&Switch>| switch.is_none_or(Switch::is_off);
        KeyRecord {
            place,
            id: join(record.id),
            lineage: join(record.lineage),
            workspace: record.workspace,
            principal: record.principal,
            version: record.version.into(),
            revoked: record.revoked,
            disabled: record.disabled,
            is_workspace_disabled: is_off(self.workspaces.get(record.workspace).map(|workspace| &workspace.switch)),
            is_principal_disabled: is_off(self.principals.get(record.principal).map(|principal| &principal.switch)),
            expires_at: (record.expires_at != NEVER).then_some(Timestamp(record.expires_at)),
            // A set that isn't there would be a defect; it holds nothing.
            permissions: (record.permissions != UNRESTRICTED)
                .then(|| self.permissions.get(record.permissions).copied().unwrap_or(PermissionSet::EMPTY)),
            limits: record.limits.clone(),
        }
    }

    fn workspace_place(&self, id: &WorkspaceId) -> u32 {
        let make = || Workspace {
            id: id.clone(),
            switch: Switch::unknown(),
            billing: RwLock::new((Billing::default(), Billing::default().period(Timestamp(0)))),
            everyone: Group::new(EVERYONE),
        };
        self.place_of(|known| &mut known.workspaces, id, || self.workspaces.push(make()))
    }

    fn principal_place(&self, id: &PrincipalId) -> u32 {
        let make = || Principal { id: id.clone(), switch: Switch::unknown(), membership: RwLock::default() };
        self.place_of(|known| &mut known.principals, id, || self.principals.push(make()))
    }

    fn group_place(&self, id: &GroupId) -> u32 {
        // Text that is no id of a group names none: it gets a place where nothing is ever put.
        let make = || Group::new(id.bits().unwrap_or(EVERYONE));
        self.place_of(|known| &mut known.groups, id, || self.groups.push(make()))
    }

    fn put_group(&self, facts: &GroupFacts) {
        if facts.id.bits().is_some() {
            if let Some(group) = self.groups.get(self.group_place(&facts.id)) {
                group.update(facts);
            }
        } else if let Some(workspace) = self.workspaces.get(self.workspace_place(&facts.workspace_id)) {
            workspace.everyone.update(facts);
        }
    }

    fn permissions_place(&self, set: PermissionSet) -> u32 {
        self.place_of(|known| &mut known.permissions, &set, || self.permissions.push(set))
    }

    fn place_of<K: Clone + Eq + std::hash::Hash>(
        &self,
        of: fn(&mut Known) -> &mut HashMap<K, u32>,
        what: &K,
        add: impl FnOnce() -> u32,
    ) -> u32 {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let places = of(&mut known);
        if let Some(place) = places.get(what) {
            return *place;
        }
        let place = add();
        places.insert(what.clone(), place);
        place
    }

    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        // A panic while it was held would have to come from an allocation that failed, which ends the process.
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    const WITHIN_BITS: u32 = 20;

    fn new(shard: usize, within: u32) -> Self {
        Self(((shard as u32) << Self::WITHIN_BITS) | within)
    }

    fn shard(self) -> usize {
        (self.0 >> Self::WITHIN_BITS) as usize
    }

    fn within(self) -> u32 {
        self.0 & ((1 << Self::WITHIN_BITS) - 1)
    }
}

fn split(bits: u128) -> [u64; 2] {
    [bits as u64, (bits >> 64) as u64]
}

fn join([low, high]: [u64; 2]) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests;
