//! Where each key is, by its id. Eight bytes a slot: half of the id's bits, which are random, and where the key's record is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

const SHARDS: usize = 1024;

/// Places by id.
pub(super) struct Ids {
    shards: Box<[RwLock<Shard>]>,
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    /// The low half of an id above the place plus one; 0 is empty, [`GONE`] was taken out.
    slots: Box<[u64]>,
    /// Slots that are not empty.
    taken: usize,
}

const GONE: u64 = u64::MAX;
const PLACE: u64 = u32::MAX as u64;

impl Default for Ids {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), count: AtomicUsize::new(0) }
    }
}

impl Ids {
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Makes room for so many ids at once, so that filling a mirror moves nothing and leaves nothing behind.
    pub(super) fn reserve(&self, ids: usize) {
        let share = ids / SHARDS;
        let slots = (share + 2 * share.isqrt()) * 4 / 3 + 8;
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            if slots > shard.slots.len() {
                shard.grow(slots);
            }
        }
    }

    /// The places that an id may have; whoever asks looks which of them it is. Nearly always one.
    pub(super) fn candidates(&self, id: u128) -> impl Iterator<Item = u32> + use<> {
        let shard = self.shards[shard_of(id)].read().unwrap_or_else(PoisonError::into_inner);
        let (slots, tag) = (shard.slots.len(), tag(id));
        let mut found = Vec::new();
        let mut slot = home(id, slots);
        while slots > 0 && shard.slots[slot] != 0 {
            let held = shard.slots[slot];
            if held != GONE && held & !PLACE == tag {
                found.push((held & PLACE) as u32 - 1);
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        found.into_iter()
    }

    /// Notes where the key with an id is; the id is not there yet.
    pub(super) fn insert(&self, id: u128, place: u32) {
        let mut shard = self.shards[shard_of(id)].write().unwrap_or_else(PoisonError::into_inner);
        if (shard.taken + 1) * 4 > shard.slots.len() * 3 {
            let more = shard.slots.len() * 5 / 4 + 8;
            shard.grow(more);
        }
        let home = home(id, shard.slots.len());
        shard.put(home, tag(id) | (u64::from(place) + 1));
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets where a key was.
    pub(super) fn remove(&self, id: u128, place: u32) {
        let mut shard = self.shards[shard_of(id)].write().unwrap_or_else(PoisonError::into_inner);
        let (slots, held) = (shard.slots.len(), tag(id) | (u64::from(place) + 1));
        let mut slot = home(id, slots);
        while slots > 0 && shard.slots[slot] != 0 {
            if shard.slots[slot] == held {
                shard.slots[slot] = GONE;
                self.count.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.write().unwrap_or_else(PoisonError::into_inner) = Shard::default();
        }
        self.count.store(0, Ordering::Relaxed);
    }
}

impl Shard {
    fn put(&mut self, mut slot: usize, held: u64) {
        while self.slots[slot] != 0 {
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
        self.slots[slot] = held;
        self.taken += 1;
    }

    fn grow(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots].into_boxed_slice());
        self.taken = 0;
        for held in old.into_iter().filter(|held| *held != 0 && *held != GONE) {
            // The home follows from the tag, since that is all that is kept of the id.
            self.put(home_of_tag(held & !PLACE, slots), held);
        }
    }
}

/// An id's low 32 bits, as the upper half of a slot.
fn tag(id: u128) -> u64 {
    (id as u64) << 32
}

/// From bits that the tag doesn't hold, so that all of the tag tells apart.
fn shard_of(id: u128) -> usize {
    (id >> 64) as usize % SHARDS
}

fn home(id: u128, slots: usize) -> usize {
    home_of_tag(tag(id), slots)
}

fn home_of_tag(tag: u64, slots: usize) -> usize {
    (((tag >> 32) * slots as u64) >> 32) as usize
}
