//! The same request, sent again, is charged once: the ids of the requests of the last ten minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use stead_api::id::LeaseId;
use stead_api::time::Timestamp;
use stead_verify::decide::Ask;

/// How long a request is remembered.
const SECONDS: i64 = 10 * 60;
/// Most requests remembered at once; the oldest is forgotten for a newer one.
const MOST: usize = 100_000;

/// What this node has granted lately.
#[derive(Default)]
pub struct Requests(Mutex<Known>);

#[derive(Default)]
struct Known {
    granted: HashMap<Key, (Timestamp, Option<LeaseId>)>,
    by_age: VecDeque<(Timestamp, Key)>,
}

/// Lineage, cost, kind of concurrency, and the caller's id for the request.
type Key = (u128, u64, Option<u8>, String);

/// A lineage's bits, what was asked, and the caller's id for it.
pub type Request<'a> = (u128, Ask, &'a str);

fn key((lineage, ask, id): Request<'_>) -> Key {
    (lineage, ask.cost, ask.concurrency.map(|(kind, _)| kind as u8), id.to_owned())
}

impl Requests {
    /// The place that a request was granted, if it was granted anything within the last ten minutes. The caller holds
    /// the lineage's ledger from here to [`Requests::keep`], so two of the same can't both find that it wasn't.
    pub fn find(&self, request: Request<'_>, now: Timestamp) -> Option<Option<LeaseId>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, lease) = known.granted.get(&key(request))?;
        (now < at.plus_seconds(SECONDS)).then(|| lease.clone())
    }

    /// Remembers that a request was granted.
    pub fn keep(&self, request: Request<'_>, lease: Option<&LeaseId>, now: Timestamp) {
        let key = key(request);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = now.plus_seconds(-SECONDS);
        while known.by_age.front().is_some_and(|(at, _)| *at < old) || known.by_age.len() >= MOST {
            let Some((at, oldest)) = known.by_age.pop_front() else { break };
            if known.granted.get(&oldest).is_some_and(|(granted, _)| *granted == at) {
                known.granted.remove(&oldest);
            }
        }
        known.by_age.push_back((now, key.clone()));
        known.granted.insert(key, (now, lease.cloned()));
    }
}
