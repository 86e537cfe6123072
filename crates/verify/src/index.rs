//! The mirror: every key of the store in memory, found by digest. Filled at start, fed by the change log.
//!
//! Readers never wait for a writer. Writers take turns behind one lock: they come at the rate of
//! management requests. A change with an older version than what is there is passed over, so it does no harm if
//! changes arrive twice or out of order.

use crate::credits::Credits;
use crate::facts::{Fact, KeyFacts, PrincipalFacts, WorkspaceFacts};
use crate::pepper::Digest;
use crate::period::Month;
use papaya::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::time::Timestamp;

/// All keys of the store.
#[derive(Default)]
pub struct KeyIndex {
    by_digest: HashMap<Digest, Arc<KeyRecord>, BuildHasherDefault<FirstBytes>>,
    by_id: HashMap<KeyId, Arc<KeyRecord>>,
    workspaces: HashMap<WorkspaceId, Arc<Holder>>,
    principals: HashMap<PrincipalId, Arc<Holder>>,
    credits: HashMap<LineageId, Arc<Credits>>,
    /// Keys of a form that is not ours. While there are none, a foreign string needs no hashing.
    foreign: AtomicUsize,
    /// Odd while the index is being filled anew: what isn't found may only not be there yet.
    filling: AtomicUsize,
    turn: Mutex<()>,
}

/// The hash of a digest: its first eight bytes. They come out of an HMAC whose key no caller knows, so nobody can make
/// them collide.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length of an array says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One key with all that its decision needs within reach.
#[derive(Debug)]
pub struct KeyRecord {
    /// The key's own facts.
    pub facts: KeyFacts,
    /// Its tenant.
    pub workspace: Arc<Holder>,
    /// Its owner.
    pub principal: Arc<Holder>,
    /// Its lineage's counter.
    pub credits: Arc<Credits>,
    /// When it was last accepted.
    pub last_used: Arc<LastUsed>,
}

/// A workspace or a principal: what switches off many keys at once.
#[derive(Debug)]
pub struct Holder {
    version: AtomicI64,
    disabled: AtomicBool,
}

impl Holder {
    /// Nobody that has not been heard of may pass: an unknown holder counts as disabled.
    fn unknown() -> Self {
        Self { version: AtomicI64::new(-1), disabled: AtomicBool::new(true) }
    }

    /// Whether its keys are refused.
    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }

    fn update(&self, version: i64, disabled: bool) {
        if self.version.load(Ordering::Relaxed) < version {
            self.disabled.store(disabled, Ordering::Release);
            self.version.store(version, Ordering::Relaxed);
        }
    }
}

/// The instant a key was last accepted, merged in memory and told to the store every few seconds.
#[derive(Debug, Default)]
pub struct LastUsed {
    at: AtomicI64,
    waiting: AtomicBool,
}

impl LastUsed {
    /// Notes a use and says whether the store has to be told, i.e. whether nothing was waiting before.
    pub fn touch(&self, now: Timestamp) -> bool {
        self.at.fetch_max(now.0, Ordering::SeqCst);
        // Read first: most uses find that the key waits already, and then write to no shared line but the one above.
        !self.waiting.load(Ordering::SeqCst) && !self.waiting.swap(true, Ordering::SeqCst)
    }

    /// The instant, if there was a use.
    pub fn get(&self) -> Option<Timestamp> {
        let at = self.at.load(Ordering::Relaxed);
        (at != 0).then_some(Timestamp(at))
    }

    /// Takes the instant to be told to the store; the next use waits anew.
    pub fn take(&self) -> Option<Timestamp> {
        self.waiting.swap(false, Ordering::SeqCst);
        self.get()
    }

    /// Waits again, since the store could not be told; true if the caller has to queue it.
    pub fn wait_again(&self) -> bool {
        !self.waiting.swap(true, Ordering::SeqCst)
    }
}

impl KeyIndex {
    /// The key with this digest.
    pub fn find(&self, digest: &Digest) -> Option<Arc<KeyRecord>> {
        self.by_digest.pin().get(digest).cloned()
    }

    /// The key with this id.
    pub fn get(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.by_id.pin().get(id).cloned()
    }

    /// How many keys there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.by_id.len()
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
        self.get(id).map_or(-1, |record| record.facts.version)
    }

    /// Takes in a changed fact.
    pub fn apply(&self, fact: Fact) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match fact {
            Fact::Workspace(WorkspaceFacts { id, version, disabled }) => {
                holder(&self.workspaces, &id).update(version, disabled);
            }
            Fact::Principal(PrincipalFacts { id, version, disabled }) => {
                holder(&self.principals, &id).update(version, disabled);
            }
            Fact::Key(facts) => self.put(*facts),
        }
    }

    /// Drops a key: its row can't be trusted. It is found by nobody until a newer version comes.
    pub fn remove(&self, id: &KeyId) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = self.by_id.pin().remove(id) {
            self.by_digest.pin().remove(&record.facts.digest);
            self.foreign.fetch_sub(usize::from(record.facts.foreign), Ordering::Relaxed);
        }
    }

    /// A mark to be compared with a later one: the same even number before and after a search means that what was
    /// not found is not there.
    pub fn mark(&self) -> usize {
        self.filling.load(Ordering::SeqCst)
    }

    /// The end of what [`KeyIndex::clear`] began.
    pub fn filled(&self) {
        self.filling.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets everything: the store has gone back in time, and versions compare with nothing. Until it is
    /// [`KeyIndex::filled`] again, nobody knows which keys there are.
    pub fn clear(&self) {
        self.filling.fetch_add(1, Ordering::SeqCst);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.by_digest.pin().clear();
        self.by_id.pin().clear();
        self.workspaces.pin().clear();
        self.principals.pin().clear();
        self.foreign.store(0, Ordering::Relaxed);
    }

    /// Sets what the store knows of a key's last use, at start.
    pub fn restore_last_used(&self, id: &KeyId, at: Timestamp) {
        if let Some(record) = self.get(id) {
            record.last_used.at.fetch_max(at.0, Ordering::Relaxed);
        }
    }

    /// The counter of a lineage.
    pub fn credits(&self, lineage: &LineageId) -> Arc<Credits> {
        self.credits.pin().get_or_insert_with(lineage.clone(), || Arc::new(Credits::new(Month(0), 0))).clone()
    }

    /// Sets what the store knows of a lineage's credits, at start.
    pub fn restore_credits(&self, lineage: &LineageId, month: Month, used: u64) {
        self.credits(lineage).lock().restore(month, used);
    }

    fn put(&self, facts: KeyFacts) {
        let old = self.get(&facts.id);
        if old.as_ref().is_some_and(|old| old.facts.version >= facts.version) {
            return;
        }
        let record = Arc::new(KeyRecord {
            workspace: holder(&self.workspaces, &facts.workspace_id),
            principal: holder(&self.principals, &facts.principal_id),
            credits: old.as_ref().map_or_else(|| self.credits(&facts.lineage_id), |old| old.credits.clone()),
            last_used: old.as_ref().map_or_else(Arc::default, |old| old.last_used.clone()),
            facts,
        });
        // Added before it is taken away, so that the count is never too small in between.
        self.foreign.fetch_add(usize::from(record.facts.foreign), Ordering::Relaxed);
        if let Some(old) = &old {
            self.foreign.fetch_sub(usize::from(old.facts.foreign), Ordering::Relaxed);
            if old.facts.digest != record.facts.digest {
                self.by_digest.pin().remove(&old.facts.digest);
            }
        }
        self.by_digest.pin().insert(record.facts.digest, record.clone());
        self.by_id.pin().insert(record.facts.id.clone(), record);
    }
}

fn holder<K: Clone + Eq + std::hash::Hash>(map: &HashMap<K, Arc<Holder>>, id: &K) -> Arc<Holder> {
    map.pin().get_or_insert_with(id.clone(), || Arc::new(Holder::unknown())).clone()
}
