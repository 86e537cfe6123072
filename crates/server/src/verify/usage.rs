//! Write-behind: last uses and credits are merged per key in memory and told to the store each second and at shutdown.
//! Nothing on the path of a verification waits for it. A queue holds each key at most once, so it is bounded by the
//! number of keys: 16 bytes each.

use super::queries;
use crate::app::App;
use crate::error::Failure;
use crate::store::{Error, Tx, Written};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::time::Timestamp;
use stead_verify::index::{KeyIndex, KeyRecord};
use stead_verify::period::Month;

/// Keys written in one transaction.
const BATCH: usize = 500;
/// How long a request id is remembered, so that the same is charged once.
const REQUEST_SECONDS: i64 = 10 * 60;
/// Most request ids remembered at once; the oldest is forgotten for a newer one.
const REQUESTS: usize = 100_000;

/// What the store has not been told yet.
#[derive(Default)]
pub struct Unsaved {
    used: Mutex<Vec<Arc<KeyRecord>>>,
    spent: Mutex<Vec<Arc<KeyRecord>>>,
    requests: Mutex<Requests>,
    /// One flush at a time: two would tell the same charge twice.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Requests {
    known: HashMap<String, Timestamp>,
    by_age: VecDeque<(Timestamp, String)>,
}

impl Unsaved {
    /// Queues a key that was accepted.
    pub fn used(&self, key: &Arc<KeyRecord>) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
    }

    /// Queues a key whose lineage was charged.
    pub fn spent(&self, key: &Arc<KeyRecord>) {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
    }

    /// Whether a request id was charged within the last ten minutes.
    pub fn was_charged(&self, request: &str, now: Timestamp) -> bool {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.known.get(request).is_some_and(|at| now < at.plus_seconds(REQUEST_SECONDS))
    }

    /// Remembers that a request id was charged.
    pub fn charged(&self, request: String, now: Timestamp) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let old = now.plus_seconds(-REQUEST_SECONDS);
        while requests.by_age.front().is_some_and(|(at, _)| *at < old) || requests.by_age.len() >= REQUESTS {
            let Some((at, oldest)) = requests.by_age.pop_front() else { break };
            if requests.known.get(&oldest) == Some(&at) {
                requests.known.remove(&oldest);
            }
        }
        requests.by_age.push_back((now, request.clone()));
        requests.known.insert(request, now);
    }

    fn take_used(&self) -> Vec<Arc<KeyRecord>> {
        std::mem::take(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_spent(&self) -> Vec<Arc<KeyRecord>> {
        std::mem::take(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the store everything it has not been told. What fails is kept for the next time.
pub async fn flush(app: &Arc<App>) -> Result<(), Failure> {
    let _turn = app.unsaved.turn.lock().await;
    let mut result = Ok(());
    for keys in app.unsaved.take_used().chunks(BATCH) {
        if let Err(failure) = flush_uses(app, keys).await {
            keys.iter().for_each(|key| app.unsaved.used(key));
            result = Err(failure);
        }
    }
    for keys in app.unsaved.take_spent().chunks(BATCH) {
        if let Err(failure) = flush_credits(app, keys).await {
            keys.iter().for_each(|key| app.unsaved.spent(key));
            result = Err(failure);
        }
    }
    result
}

async fn flush_uses(app: &Arc<App>, keys: &[Arc<KeyRecord>]) -> Result<(), Failure> {
    let uses: Vec<_> = keys.iter().filter_map(|key| Some((key.clone(), key.last_used.take()?))).collect();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        for (key, at) in &uses {
            queries::save_use(tx, &key.facts.workspace_id, &key.facts.id, *at)?;
        }
        Ok(())
    };
    settled(app.store.write(work, |()| {}).await)
}

async fn flush_credits(app: &Arc<App>, keys: &[Arc<KeyRecord>]) -> Result<(), Failure> {
    // Read once: what is spent meanwhile waits for the next flush.
    let owed: Vec<_> = keys.iter().filter_map(|key| Some((key.clone(), key.credits.lock().unsaved()?))).collect();
    let totals = Arc::new(Mutex::new(Vec::new()));
    let (told, found) = (owed.clone(), totals.clone());
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        let mut totals = Vec::with_capacity(owed.len());
        for (key, (month, amount)) in &owed {
            let amount = i64::try_from(*amount).unwrap_or(i64::MAX);
            let total = queries::add_credits(tx, &key.facts.workspace_id, &key.facts.lineage_id, *month, amount)?;
            totals.push(u64::try_from(total).unwrap_or(u64::MAX));
        }
        *found.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        Ok(())
    };
    settled(app.store.write(work, |()| {}).await)?;
    let totals = std::mem::take(&mut *totals.lock().unwrap_or_else(PoisonError::into_inner));
    for ((key, (month, amount)), total) in told.into_iter().zip(totals) {
        let mut spent = key.credits.lock();
        spent.saved(month, amount, total);
        if spent.unsaved().is_some() {
            // Spent while the store was told: `spend` saw something waiting and didn't queue.
            app.unsaved.spent(&key);
        }
    }
    Ok(())
}

fn settled(written: Written<(), Failure>) -> Result<(), Failure> {
    match written {
        Written::Committed(()) => Ok(()),
        Written::Aborted(failure) => Err(failure),
        Written::Unknown => Err(Failure::OutcomeUnknown),
    }
}

/// Fills in what the store knows of uses and credits, at start.
pub fn restore(tx: &mut Tx<'_>, index: &KeyIndex, now: Timestamp) -> Result<(), Error> {
    for (key, at) in queries::uses(tx)? {
        index.restore_last_used(&key, at);
    }
    let month = Month::containing(now);
    for (lineage, used) in queries::credits(tx, month)? {
        index.restore_credits(&lineage, month, u64::try_from(used).unwrap_or(0));
    }
    Ok(())
}
