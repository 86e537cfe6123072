//! Write-behind: last uses are merged per key in memory. The first use after a pause is told to the store within
//! seconds, those of a key in constant use once a minute, and all at shutdown: telling each within seconds cost more than
//! all the rest of a verification, where many keys are busy. Nothing on the path of a verification waits for it. A key
//! is in one of the two queues at most, so they are bounded by the number of keys.

use super::{credits, queries};
use crate::app::App;
use crate::error::Failure;
use crate::store::{Error, Tx, Written};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::time::Timestamp;
use stead_verify::index::{KeyIndex, Place};

/// Keys written in one transaction: few enough that a management request between two of them doesn't wait long.
const BATCH: usize = 2000;
/// Keys put in order at once: neighbours in the table share pages, and a page is written once.
const SORTED: usize = 50_000;
/// A key in constant use is told of once in so long, in microseconds.
const PAUSE: u64 = 60_000_000;

/// Keys whose last use the store has not been told yet.
#[derive(Default)]
pub struct Unsaved {
    used: Mutex<Vec<Place>>,
    told: Mutex<VecDeque<Told>>,
    /// One flush at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A key whose use was told: further ones wait until its turn comes again.
#[derive(Clone, Copy)]
struct Told {
    key: Place,
    at: Timestamp,
    /// By the time since the start.
    again: u64,
}

impl Unsaved {
    /// How many keys wait.
    pub fn len(&self) -> usize {
        lock(&self.used).len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a key that was used.
    pub fn push(&self, key: Place) {
        lock(&self.used).push(key);
    }

    /// Queues those whose minute is over and who were used in it, or with `all`, whoever was used since it was told.
    fn wake(&self, index: &KeyIndex, now: u64, all: bool) {
        let mut told = lock(&self.told);
        while let Some(next) = told.pop_front_if(|next| next.again <= now) {
            if !index.rest(next.key, next.at) {
                self.push(next.key);
            }
        }
        if all {
            told.retain(|told| {
                let is_newer = index.last_used(told.key) > Some(told.at);
                if is_newer {
                    self.push(told.key);
                }
                !is_newer
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the store everything it has not been told.
pub async fn flush(app: &Arc<App>) -> Result<(), Failure> {
    let uses = flush_uses(app, true).await;
    uses.and(credits::settle(app).await)
}

/// The same with what was counted, and gives the leases back: for a clean stop.
pub async fn close(app: &Arc<App>) -> Result<(), Failure> {
    let uses = flush_uses(app, true).await;
    let counts = crate::usage::flush(app).await;
    uses.and(counts).and(credits::close(app).await)
}

/// Tells the store of last uses; with `all`, also of those whose minute is not over. What fails is kept for the next
/// time. In a task of its own: a caller that goes away must not take what was taken out of the queue with it.
pub async fn flush_uses(app: &Arc<App>, all: bool) -> Result<(), Failure> {
    let app = app.clone();
    let flushed = tokio::spawn(async move {
        let _turn = app.unsaved.turn.lock().await;
        app.unsaved.wake(&app.index, app.elapsed(), all);
        let keys = std::mem::take(&mut *lock(&app.unsaved.used));
        let mut result = Ok(());
        for keys in keys.chunks(SORTED) {
            let read = |key: &Place| app.index.use_to_tell(*key).map(|(workspace, id, at)| (workspace, id, at, *key));
            let mut uses: Vec<_> = keys.iter().filter_map(read).collect();
            uses.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            for uses in uses.chunks(BATCH) {
                // A store that can't be reached is not asked again for each batch: these go on waiting.
                if result.is_ok() {
                    result = tell(&app, uses.to_vec()).await;
                }
                if result.is_err() {
                    lock(&app.unsaved.used).extend(uses.iter().map(|(_, _, _, key)| *key));
                }
            }
        }
        result
    });
    flushed.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

/// Workspace, key, when it was used, where its record is.
type Use = (stead_api::id::WorkspaceId, stead_api::id::KeyId, Timestamp, Place);

async fn tell(app: &Arc<App>, uses: Vec<Use>) -> Result<(), Failure> {
    let again = app.elapsed() + PAUSE;
    let told: Vec<_> = uses.iter().map(|(_, _, at, key)| Told { key: *key, at: *at, again }).collect();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        for (workspace, key, at, _) in &uses {
            queries::save_use(tx, workspace, key, *at)?;
        }
        Ok(())
    };
    match app.store.write(work, |()| {}).await {
        Written::Committed(()) => lock(&app.unsaved.told).extend(told),
        Written::Aborted(failure) => return Err(failure),
        Written::Unknown => return Err(Failure::OutcomeUnknown),
    }
    Ok(())
}

/// Fills in what the store knows of uses and credits, at start.
pub fn restore(tx: &mut Tx<'_>, index: &KeyIndex, now: Timestamp) -> Result<(), Error> {
    for (key, at) in queries::uses(tx)? {
        index.restore_last_used(&key, at);
    }
    credits::restore(tx, index, now)
}
