//! The same request, sent again, is charged once: the ids of the requests of the last ten minutes.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use stead_api::id::LeaseId;
use stead_api::time::Timestamp;
use stead_verify::decide::Ask;

/// How long a request is remembered.
const SECONDS: i64 = 10 * 60;
/// Most requests remembered at once of a lineage and those that share its bucket; the oldest is forgotten for a newer one.
/// 166 a second for ten minutes.
const MOST: usize = 100_000;
/// So that one lineage's requests don't push out everybody's.
const BUCKETS: usize = 64;

/// What this node has granted lately.
pub struct Requests([Mutex<Known>; BUCKETS]);

impl Default for Requests {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

#[derive(Default)]
struct Known {
    granted: HashMap<Key, (Timestamp, Option<LeaseId>)>,
    by_age: VecDeque<(Timestamp, Key)>,
}

/// A hash of lineage, cost, kind of concurrency, and the caller's id for the request.
type Key = [u8; 16];

/// A lineage's bits, what was asked, and the caller's id for it.
pub type Request<'a> = (u128, Ask, &'a str);

fn key((lineage, ask, id): Request<'_>) -> Key {
    let mut hash = Sha256::new();
    hash.update(lineage.to_le_bytes());
    hash.update(ask.cost.to_le_bytes());
    hash.update([ask.concurrency.map_or(0, |(kind, _)| kind as u8 + 1)]);
    hash.update(id);
    let hash: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|place| hash[place])
}

impl Requests {
    fn of(&self, (lineage, _, _): &Request<'_>) -> &Mutex<Known> {
        &self.0[(lineage % BUCKETS as u128) as usize]
    }

    /// The place that a request was granted, if it was granted anything within the last ten minutes. The caller holds
    /// the lineage's ledger from here to [`Requests::keep`], so two of the same can't both find that it wasn't.
    pub fn find(&self, request: Request<'_>, now: Timestamp) -> Option<Option<LeaseId>> {
        let known = self.of(&request).lock().unwrap_or_else(PoisonError::into_inner);
        let (at, lease) = known.granted.get(&key(request))?;
        (now < at.plus_seconds(SECONDS)).then(|| lease.clone())
    }

    /// Remembers that a request was granted, for ten minutes from the first time: were it from the last, the same id over
    /// and over would never be charged again.
    pub fn keep(&self, request: Request<'_>, lease: Option<&LeaseId>, now: Timestamp) {
        let mut known = self.of(&request).lock().unwrap_or_else(PoisonError::into_inner);
        let (key, old) = (key(request), now.plus_seconds(-SECONDS));
        while known.by_age.front().is_some_and(|(at, _)| *at < old) || known.by_age.len() >= MOST {
            let Some((at, oldest)) = known.by_age.pop_front() else { break };
            if known.granted.get(&oldest).is_some_and(|(granted, _)| *granted == at) {
                known.granted.remove(&oldest);
            }
        }
        if let Some(earlier) = known.granted.get_mut(&key).filter(|(at, _)| now < at.plus_seconds(SECONDS)) {
            earlier.1 = lease.cloned();
            return;
        }
        known.by_age.push_back((now, key));
        known.granted.insert(key, (now, lease.cloned()));
    }
}
