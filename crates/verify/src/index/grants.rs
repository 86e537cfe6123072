//! Who has which role on which resource: groups, memberships and what is shared, as the store has them.

use super::KeyRecord;
use crate::facts::{GroupFacts, ResourceFacts};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use stead_api::resource::Role;

const SHARDS: usize = 64;
/// What stands for the group of everybody among the ids of groups, which are random.
pub const EVERYONE: u128 = 0;

/// A resource of whatever workspace, by 128 bits of a hash over its type and id: a question names it before it is known
/// whose key it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceKey(u128);

impl ResourceKey {
    /// The key of a type and an id. The type holds no NUL.
    pub fn new(kind: &str, id: &str) -> Self {
        let hash = Sha256::new_with_prefix(kind).chain_update([0]).chain_update(id).finalize();
        Self(hash.iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte)))
    }
}

/// The role that somebody has on a resource, and where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The strongest one.
    pub role: Option<Role>,
    /// Where it comes from.
    pub via: Via,
}

/// Where a role comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Nowhere: nothing is shared with them.
    #[default]
    Nothing,
    /// There is no such resource.
    Unknown,
    /// They are a workspace admin.
    Admin,
    /// They made it.
    Creator,
    /// It is shared with them.
    Direct,
    /// It is shared with this group of theirs, or, with `true`, the group has access to everything.
    Group(u128, bool),
}

/// A group, as far as decisions go.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// [`EVERYONE`], or the bits of its id.
    pub(super) bits: u128,
    state: RwLock<GroupState>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct GroupState {
    version: i64,
    /// Until it is heard of, and once it is deleted, it gives nothing.
    pub(super) live: bool,
    pub(super) all_resources: bool,
    pub(super) cap: Option<u64>,
}

impl Default for GroupState {
    fn default() -> Self {
        // What it limits is not known either: so nothing is left.
        Self { version: -1, live: false, all_resources: false, cap: Some(0) }
    }
}

impl Group {
    pub(super) fn new(bits: u128) -> Self {
        Self { bits, state: RwLock::default() }
    }

    pub(super) fn state(&self) -> GroupState {
        *self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, facts: &GroupFacts) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.version < facts.version {
            let GroupFacts { version, deleted, all_resources, cap, .. } = *facts;
            *state = GroupState { version, live: !deleted, all_resources, cap };
        }
    }

    pub(super) fn forget(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = GroupState::default();
    }
}

/// What a member's own row says beside whether it works.
#[derive(Debug, Default)]
pub(super) struct Membership {
    pub(super) is_admin: bool,
    /// Places of groups.
    pub(super) groups: Box<[u32]>,
    pub(super) cap: Option<u64>,
}

/// By workspace and resource.
type Shard = RwLock<HashMap<(u32, ResourceKey), Shared>>;

/// What is shared of every resource.
pub(super) struct Grants {
    shards: Box<[Shard]>,
    live: AtomicUsize,
}

/// What is shared of one.
#[derive(Debug)]
struct Shared {
    version: i64,
    live: bool,
    creator: Option<u128>,
    /// Ordered by whom.
    shares: Box<[(u128, Role)]>,
}

impl Default for Grants {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), live: AtomicUsize::new(0) }
    }
}

impl Grants {
    fn shard(&self, key: ResourceKey) -> &Shard {
        &self.shards[key.0 as usize % SHARDS]
    }

    pub(super) fn put(&self, workspace: u32, facts: ResourceFacts) {
        let key = ResourceKey::new(&facts.kind, &facts.id);
        let mut shares = facts.shares;
        shares.sort_unstable_by_key(|(grantee, _)| *grantee);
        let shared = Shared {
            version: facts.version,
            live: !facts.deleted,
            creator: facts.creator.and_then(|creator| creator.bits()),
            shares,
        };
        let mut shard = self.shard(key).write().unwrap_or_else(PoisonError::into_inner);
        let old = shard.get(&(workspace, key));
        if old.is_none_or(|old| old.version < shared.version) {
            self.live.fetch_add(usize::from(shared.live), Ordering::Relaxed);
            self.live.fetch_sub(usize::from(old.is_some_and(|old| old.live)), Ordering::Relaxed);
            shard.insert((workspace, key), shared);
        }
    }

    pub(super) fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.write().unwrap_or_else(PoisonError::into_inner).clear());
        self.live.store(0, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The strongest role, and where it comes from; of two that are as strong, the nearest.
    pub(super) fn held<'a>(
        &self,
        key: &KeyRecord,
        resource: ResourceKey,
        (owner, membership): (Option<u128>, &Membership),
        groups: impl Iterator<Item = &'a Group> + Clone,
    ) -> Held {
        let shard: RwLockReadGuard<'_, _> = self.shard(resource).read().unwrap_or_else(PoisonError::into_inner);
        let Some(shared) = shard.get(&(key.workspace, resource)).filter(|shared| shared.live) else {
            return Held { role: None, via: Via::Unknown };
        };
        let everything = |via| Held { role: Some(Role::Admin), via };
        if membership.is_admin {
            return everything(Via::Admin);
        }
        if owner.is_some() && shared.creator == owner {
            return everything(Via::Creator);
        }
        let of = |grantee: u128| {
            let place = shared.shares.binary_search_by_key(&grantee, |(grantee, _)| *grantee);
            place.ok().map(|place| shared.shares[place].1)
        };
        let mut held = match owner.and_then(of) {
            Some(role) => Held { role: Some(role), via: Via::Direct },
            None => Held::default(),
        };
        for group in groups {
            let state = group.state();
            if !state.live {
                continue;
            }
            if state.all_resources {
                return everything(Via::Group(group.bits, true));
            }
            let role = of(group.bits);
            if role > held.role {
                held = Held { role, via: Via::Group(group.bits, false) };
            }
        }
        held
    }
}
