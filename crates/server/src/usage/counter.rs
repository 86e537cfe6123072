//! Counting on the path of a decision: a lock that hardly anybody else wants, a look-up, an addition. Nothing is
//! allocated once the tables have grown to the keys in use: what a flush takes away it brings back empty.

use super::block::Totals;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many threads can count at once.
const SHARDS: usize = 64;
/// Most counts of a shard by key, about a million in all, with 64 bytes each. Further keys are counted together.
const MOST: usize = 16_384;
/// The key of decisions about strings that are no key of the workspace.
pub const UNKNOWN: u128 = 0;
/// The key of those that were counted together, for want of room.
pub const OTHERS: u128 = 1;

/// What has been counted since the last flush.
pub struct Counter {
    shards: Box<[Shard]>,
    most: usize,
    lost: AtomicU64,
}

/// On cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    counts: Counts,
    /// Empty, to take the place of the others.
    spare: Counts,
}

type Counts = HashMap<Slot, Totals, BuildHasherDefault<Spread>>;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The workspace's number in the mirror.
    pub workspace: u32,
    /// Minutes since the epoch.
    pub minute: u32,
    /// The bits of the key's id, [`UNKNOWN`] or [`OTHERS`].
    pub key: u128,
    /// The number of the outcome.
    pub outcome: u8,
}

impl Hash for Slot {
    #[allow(clippy::cast_possible_truncation, reason = "the bits of an id are random: half of them are enough")]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let rest = u64::from(self.workspace) << 40 ^ u64::from(self.minute) << 8 ^ u64::from(self.outcome);
        state.write_u64(self.key as u64 ^ rest.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

/// Ids are random, so there is little left to do; and nobody chooses his own.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        // The table takes its places from the low bits, and a product has its best ones above.
        self.0.rotate_left(26)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::with_room_for(MOST)
    }
}

impl Counter {
    fn with_room_for(most: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), most, lost: AtomicU64::new(0) }
    }

    /// Counts a decision.
    pub fn add(&self, slot: Slot, credits: u64) {
        let one = Totals { count: 1, credits };
        let mut tables = self.shard(slot);
        if let Some(totals) = tables.counts.get_mut(&slot) {
            *totals += one;
            return;
        }
        let room = tables.counts.len();
        if room < self.most {
            tables.counts.insert(slot, one);
            return;
        }
        // Rare: so many keys in a few seconds, or a store that hasn't taken anything for long.
        let together = Slot { key: if slot.key == UNKNOWN { UNKNOWN } else { OTHERS }, ..slot };
        if let Some(totals) = tables.counts.get_mut(&together) {
            *totals += one;
        } else if room < 2 * self.most {
            tables.counts.insert(together, one);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes everything away.
    pub fn take(&self) -> Vec<(Slot, Totals)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut taken = {
                let mut tables = shard.lock();
                let spare = std::mem::take(&mut tables.spare);
                std::mem::replace(&mut tables.counts, spare)
            };
            all.extend(taken.drain());
            shard.lock().spare = taken;
        }
        all
    }

    /// What a workspace has in it.
    pub fn of(&self, workspace: u32) -> Vec<(Slot, Totals)> {
        let mut ours = Vec::new();
        for shard in &self.shards {
            let tables = shard.lock();
            ours.extend(tables.counts.iter().filter(|(slot, _)| slot.workspace == workspace).map(|(s, t)| (*s, *t)));
        }
        ours
    }

    /// How many decisions could not even be counted together, since this was asked last.
    pub fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    #[allow(clippy::cast_possible_truncation, reason = "bits are cut out on purpose")]
    fn shard(&self, slot: Slot) -> MutexGuard<'_, Tables> {
        // Other bits than those the table goes by; and decisions about no key spread over workspaces.
        let bits = (slot.key >> 64) as u32 ^ slot.workspace;
        self.shards[bits as usize % SHARDS].lock()
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: u128, minute: u32) -> Slot {
        // Ids are random; a number would fill one shard.
        let key = if key < 2 { key } else { key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) };
        Slot { workspace: 3, minute, key, outcome: 0 }
    }

    fn sum(counted: &[(Slot, Totals)]) -> Totals {
        counted.iter().fold(Totals::default(), |mut sum, (_, totals)| {
            sum += *totals;
            sum
        })
    }

    #[test]
    fn nothing_is_lost_between_threads_and_flushes() {
        let counter = Counter::default();
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let counter = &counter;
                scope.spawn(move || (0..10_000).for_each(|n| counter.add(slot(2 + n % 100, thread % 2), 3)));
            }
            (0..50).for_each(|_| taken.lock().unwrap().extend(counter.take()));
        });
        taken.lock().unwrap().extend(counter.take());
        let sum = sum(&taken.lock().unwrap());
        assert_eq!(sum, Totals { count: 80_000, credits: 240_000 });
        assert!(counter.take().is_empty() && counter.of(3).is_empty());
    }

    #[test]
    fn keys_beyond_its_room_are_counted_together() {
        let counter = Counter::with_room_for(4);
        (2..10_002).for_each(|key| counter.add(slot(key, 0), 1));
        (2..10_002).for_each(|key| counter.add(slot(key, 0), 1));
        let (ours, theirs) = (counter.of(3), counter.of(4));
        assert!(theirs.is_empty());
        assert!(ours.len() <= SHARDS * 5, "{}", ours.len());
        assert_eq!((sum(&ours), counter.lost()), (Totals { count: 20_000, credits: 20_000 }, 0));
        // Minute after minute with nobody to take it: bounded, and told.
        (0..100_000).for_each(|minute| counter.add(slot(2, minute), 1));
        assert!(counter.take().len() <= SHARDS * 8);
        assert!(counter.lost() > 0);
        assert_eq!(counter.lost(), 0);
    }

    /// What counting costs a decision: `cargo test --release -p stead-server --lib -- --ignored --nocapture usage`.
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::print_stdout, reason = "it says what it measured")]
    fn the_cost_of_counting_usage() {
        for keys in [1, 1_000, 200_000] {
            let counter = Counter::default();
            let slots: Vec<_> = (2..keys + 2).map(|key| slot(key, 0)).collect();
            for slot in &slots {
                counter.add(*slot, 0);
            }
            for threads in [1, 2] {
                let started = std::time::Instant::now();
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (counter, slots) = (&counter, &slots);
                        scope.spawn(move || {
                            let mut at = thread * 7919;
                            for _ in 0..5_000_000 {
                                at = (at + 7919) % slots.len();
                                counter.add(slots[at], 1);
                            }
                        });
                    }
                });
                println!("{keys} keys, {threads} threads: {:?} each", started.elapsed() / 5_000_000);
            }
        }
    }
}
