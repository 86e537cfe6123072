//! One shard of the mirror: records in a row, and an open-addressing table of four bytes a slot that finds them by
//! digest. At ten million keys a look-up reads three places: the shard, the slot, the record.
//!
//! Tables grow by half and rows by an eighth, where doubling would leave a third of the memory empty on average.

use super::Record;
use crate::pepper::Digest;

/// A slot holds twelve bits of the digest and, below them, the record's place in the row plus one; 0 is empty.
const PLACE_BITS: u32 = 20;
/// Most records of a shard.
pub(super) const MOST: usize = (1 << PLACE_BITS) - 1;
const PLACE: u32 = (1 << PLACE_BITS) - 1;

/// The shard.
#[derive(Default)]
pub(super) struct Shard {
    slots: Box<[u32]>,
    records: Vec<Option<Record>>,
    /// Places of records that were taken out.
    vacant: Vec<u32>,
}

impl Shard {
    /// Where the key with a digest is.
    pub(super) fn find(&self, digest: &Digest) -> Option<u32> {
        self.slot_of(digest).ok().map(|slot| (self.slots[slot] & PLACE) - 1)
    }

    pub(super) fn get(&self, place: u32) -> Option<&Record> {
        self.records.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Record> {
        self.records.get_mut(place as usize)?.as_mut()
    }

    /// Puts in a record whose digest is not there; its place. `None` if the shard is full.
    pub(super) fn insert(&mut self, record: Record) -> Option<u32> {
        let count = self.records.len() - self.vacant.len() + 1;
        if count > MOST {
            return None;
        }
        self.make_room(count);
        let Err(slot) = self.slot_of(&record.digest) else { return None };
        let tag = tag(&record.digest);
        let place = if let Some(place) = self.vacant.pop() {
            self.records[place as usize] = Some(record);
            place
        } else {
            self.records.push(Some(record));
            u32::try_from(self.records.len() - 1).ok()?
        };
        self.slots[slot] = tag | (place + 1);
        Some(place)
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, place: u32) -> Option<Record> {
        let record = self.records.get_mut(place as usize)?.take()?;
        self.vacant.push(place);
        // Seldom enough to spare every look-up the marks of what was taken out.
        self.rebuild(self.slots.len());
        Some(record)
    }

    /// Makes room for `count` records at once, so that filling a mirror moves nothing.
    pub(super) fn reserve(&mut self, count: usize) {
        self.records.reserve_exact(count.saturating_sub(self.records.len()));
        let slots = count + count / 2;
        if slots > self.slots.len() {
            self.rebuild(slots);
        }
    }

    fn make_room(&mut self, count: usize) {
        if self.records.len() == self.records.capacity() && self.vacant.is_empty() {
            self.records.reserve_exact(self.records.len() / 8 + 4);
        }
        // At most three of four slots are taken.
        if count * 4 > self.slots.len() * 3 {
            self.rebuild(self.slots.len() * 3 / 2 + 8);
        }
    }

    fn rebuild(&mut self, slots: usize) {
        self.slots = vec![0; slots].into_boxed_slice();
        for place in 0..self.records.len() {
            let Some(digest) = self.records[place].as_ref().map(|record| record.digest) else { continue };
            let mut slot = home(&digest, slots);
            while self.slots[slot] != 0 {
                slot = if slot + 1 == slots { 0 } else { slot + 1 };
            }
            self.slots[slot] = tag(&digest) | (place as u32 + 1);
        }
    }

    /// The slot that holds a digest, or the empty one where it would be.
    fn slot_of(&self, digest: &Digest) -> Result<usize, usize> {
        let slots = self.slots.len();
        if slots == 0 {
            return Err(0);
        }
        let (tag, mut slot) = (tag(digest), home(digest, slots));
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                taken if taken & !PLACE == tag && self.is_at((taken & PLACE) - 1, digest) => return Ok(slot),
                _ => slot = if slot + 1 == slots { 0 } else { slot + 1 },
            }
        }
    }

    fn is_at(&self, place: u32, digest: &Digest) -> bool {
        self.get(place).is_some_and(|record| record.digest == *digest)
    }
}

/// Digests come out of an HMAC whose key no caller knows, so nobody can make these bits collide.
fn word(digest: &Digest, at: usize) -> u32 {
    u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]])
}

/// Which of so many shards a digest belongs to.
pub(super) fn shard_of(digest: &Digest, shards: usize) -> usize {
    word(digest, 0) as usize % shards
}

fn home(digest: &Digest, slots: usize) -> usize {
    ((u64::from(word(digest, 4)) * slots as u64) >> 32) as usize
}

fn tag(digest: &Digest) -> u32 {
    word(digest, 8) & !PLACE
}
