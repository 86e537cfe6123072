//! Write-behind: last uses and credits are merged per key in memory and told to the store each second and at shutdown.
//! Nothing on the path of a verification waits for it. A queue holds each key at most once, so it is bounded by the
//! number of keys: 8 bytes each.

use super::queries;
use crate::app::App;
use crate::error::Failure;
use crate::store::{Error, Tx, Written};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::id::LineageId;
use stead_api::time::Timestamp;
use stead_verify::credits::Spent;
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
    used: Queue,
    spent: Queue,
    requests: Mutex<Requests>,
    /// One flush at a time: two would tell the same charge twice.
    turn: tokio::sync::Mutex<()>,
}

type Queue = Mutex<Vec<Arc<KeyRecord>>>;

/// Charges made within the last minutes, by lineage, cost and the caller's id for the request.
#[derive(Default)]
struct Requests {
    known: HashMap<RequestKey, Timestamp>,
    by_age: VecDeque<(Timestamp, RequestKey)>,
}

type RequestKey = (LineageId, u64, String);

impl Unsaved {
    /// Notes that a key was accepted.
    pub fn used(&self, key: &Arc<KeyRecord>, now: Timestamp) {
        if key.last_used.touch(now) {
            push(&self.used, key);
        }
    }

    /// Notes that a key's lineage was charged; its counter is held by the caller.
    pub fn spent(&self, key: &Arc<KeyRecord>, spent: &mut Spent) {
        if spent.enqueue() {
            push(&self.spent, key);
        }
    }

    /// Whether the same charge was made for a request within the last ten minutes. The caller holds the lineage's
    /// counter from here to [`Unsaved::charged`], so two of the same request can't both find that it wasn't.
    pub fn was_charged(&self, key: &KeyRecord, cost: u64, request: &str, now: Timestamp) -> bool {
        let request = (key.facts.lineage_id.clone(), cost, request.to_owned());
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.known.get(&request).is_some_and(|at| now < at.plus_seconds(REQUEST_SECONDS))
    }

    /// Remembers that a request was charged.
    pub fn charged(&self, key: &KeyRecord, cost: u64, request: &str, now: Timestamp) {
        let request = (key.facts.lineage_id.clone(), cost, request.to_owned());
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
}

fn push(queue: &Queue, key: &Arc<KeyRecord>) {
    queue.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
}

fn take(queue: &Queue) -> Vec<Arc<KeyRecord>> {
    std::mem::take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Tells the store everything it has not been told. What fails is kept for the next time. In a task of its own: a
/// caller that goes away must not take what was taken out of the queues with it.
pub async fn flush(app: &Arc<App>) -> Result<(), Failure> {
    let uses = flush_queue(app, Kind::Use).await;
    uses.and(flush_queue(app, Kind::Credits).await)
}

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// When keys were last accepted.
    Use,
    /// What lineages were charged.
    Credits,
}

/// The same for one kind.
pub async fn flush_queue(app: &Arc<App>, kind: Kind) -> Result<(), Failure> {
    let app = app.clone();
    let flushed = tokio::spawn(async move {
        let _turn = app.unsaved.turn.lock().await;
        let queue = match kind {
            Kind::Use => &app.unsaved.used,
            Kind::Credits => &app.unsaved.spent,
        };
        let mut result = Ok(());
        for keys in take(queue).chunks(BATCH) {
            if result.is_err() {
                // A store that can't be reached is not asked again for each batch. These still count as waiting.
                for key in keys {
                    push(queue, key);
                }
                continue;
            }
            result = match kind {
                Kind::Use => flush_uses(&app, keys).await,
                Kind::Credits => flush_credits(&app, keys).await,
            };
            if result.is_err() {
                // These were taken; who was used or charged since waits again already.
                let again = |key: &&Arc<KeyRecord>| match kind {
                    Kind::Use => key.last_used.wait_again(),
                    Kind::Credits => key.credits.lock().enqueue(),
                };
                keys.iter().filter(again).for_each(|key| push(queue, key));
            }
        }
        result
    });
    flushed.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
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

/// A key whose lineage owes the store something, and what.
type Owed = (Arc<KeyRecord>, Month, u64);

async fn flush_credits(app: &Arc<App>, keys: &[Arc<KeyRecord>]) -> Result<(), Failure> {
    // Read once: what is spent meanwhile waits for the next flush.
    let owes = |key: &Arc<KeyRecord>| {
        let key = key.clone();
        let owed = key.credits.lock().dequeue();
        owed.map(move |(month, amount)| (key.clone(), month, amount))
    };
    let owed: Arc<Vec<Owed>> = Arc::new(keys.iter().flat_map(owes).collect());
    let totals: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (told, found) = (owed.clone(), totals.clone());
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        let mut totals = Vec::with_capacity(told.len());
        for (key, month, amount) in told.iter() {
            totals.push(queries::add_credits(tx, &key.facts.workspace_id, &key.facts.lineage_id, *month, *amount)?);
        }
        *found.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        Ok(())
    };
    settled(app.store.write(work, |()| {}).await)?;
    let totals = std::mem::take(&mut *totals.lock().unwrap_or_else(PoisonError::into_inner));
    for ((key, month, amount), total) in owed.iter().zip(totals) {
        key.credits.lock().saved(*month, *amount, total);
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
