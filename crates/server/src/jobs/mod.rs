//! What happens by itself: telling the store what verification merged, forgetting what is old, following other nodes.

use crate::app::App;
use crate::error::Failure;
use crate::feed::{follow, idempotency};
use crate::store::{Tx, Written};
use crate::verify::usage;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const FLUSH: Duration = Duration::from_secs(1);
const FORGET: Duration = Duration::from_secs(5);

/// Starts the jobs. They end when the set is dropped; call [`finish`] first.
pub fn start(app: &Arc<App>) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    jobs.spawn(every(FLUSH, app.clone(), "flush", |app| async move { usage::flush(&app).await }));
    jobs.spawn(every(FORGET, app.clone(), "forget", forget));
    if app.store.is_shared() {
        jobs.spawn(follow::follow(app.clone()));
    }
    jobs
}

/// Ends the jobs and tells the store what is left to tell.
pub async fn finish(app: &Arc<App>, mut jobs: JoinSet<()>) {
    jobs.abort_all();
    while jobs.join_next().await.is_some() {}
    if let Err(failure) = usage::flush(app).await {
        tracing::error!("the last uses and credits could not be saved: {failure:?}");
    }
}

async fn every<F: Future<Output = Result<(), Failure>>>(
    period: Duration,
    app: Arc<App>,
    name: &'static str,
    job: impl Fn(Arc<App>) -> F,
) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(failure) = job(app.clone()).await {
            tracing::warn!(job = name, "failed, and is tried again: {failure:?}");
        }
    }
}

async fn forget(app: Arc<App>) -> Result<(), Failure> {
    let now = app.clock.now();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        idempotency::forget_old(tx, now)?;
        Ok(follow::forget_old(tx, now)?)
    };
    match app.store.write(work, |()| {}).await {
        Written::Aborted(failure) => Err(failure),
        Written::Committed(()) | Written::Unknown => Ok(()),
    }
}
