//! Write-behind: last uses are merged per key in memory and told to the store every few seconds and at shutdown.
//! Nothing on the path of a verification waits for it. The queue holds each key at most once, so it is bounded by the
//! number of keys: four bytes each.

use super::{credits, queries};
use crate::app::App;
use crate::error::Failure;
use crate::store::{Error, Tx, Written};
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::time::Timestamp;
use stead_verify::index::{KeyIndex, Place};

/// Keys written in one transaction.
const BATCH: usize = 500;

/// Keys whose last use the store has not been told yet.
#[derive(Default)]
pub struct Unsaved {
    used: Mutex<Vec<Place>>,
    /// One flush at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Unsaved {
    /// Queues a key that was used.
    pub fn push(&self, key: Place) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push_all(&self, keys: &[Place]) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(keys);
    }

    fn take(&self) -> Vec<Place> {
        std::mem::take(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells the store everything it has not been told.
pub async fn flush(app: &Arc<App>) -> Result<(), Failure> {
    let uses = flush_uses(app).await;
    uses.and(credits::settle(app).await)
}

/// The same, and gives the leases back: for a clean stop.
pub async fn close(app: &Arc<App>) -> Result<(), Failure> {
    let uses = flush_uses(app).await;
    uses.and(credits::close(app).await)
}

/// Tells the store of last uses. What fails is kept for the next time. In a task of its own: a caller that goes away
/// must not take what was taken out of the queue with it.
pub async fn flush_uses(app: &Arc<App>) -> Result<(), Failure> {
    let app = app.clone();
    let flushed = tokio::spawn(async move {
        let _turn = app.unsaved.turn.lock().await;
        let mut result = Ok(());
        for keys in app.unsaved.take().chunks(BATCH) {
            // A store that can't be reached is not asked again for each batch: these still count as waiting.
            if result.is_err() {
                app.unsaved.push_all(keys);
                continue;
            }
            result = flush_batch(&app, keys).await;
            if result.is_err() {
                // These were taken; what was used since waits again already.
                keys.iter().filter(|key| app.index.use_waits_again(**key)).for_each(|key| app.unsaved.push(*key));
            }
        }
        result
    });
    flushed.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

async fn flush_batch(app: &Arc<App>, keys: &[Place]) -> Result<(), Failure> {
    let mut uses: Vec<_> = keys.iter().filter_map(|key| app.index.take_use(*key)).collect();
    // Neighbours in the table, too: fewer pages are written.
    uses.sort_unstable();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        for (workspace, key, at) in &uses {
            queries::save_use(tx, workspace, key, *at)?;
        }
        Ok(())
    };
    match app.store.write(work, |()| {}).await {
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
    credits::restore(tx, index, now)
}
