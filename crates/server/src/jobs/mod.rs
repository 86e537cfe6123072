//! What happens by itself: telling the store what verification merged, forgetting what is old, following other nodes.

use crate::app::App;
use crate::audit::refusals;
use crate::error::Failure;
use crate::feed::{follow, idempotency};
use crate::keys::idle;
use crate::metrics::denials::{self, Told};
use crate::store::{Tx, Written};
use crate::traces::Traces;
use crate::verify::{credits, usage};
use crate::webhooks::{notices, sender};
use crate::{invites, mail};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often charges are told to the store.
const CREDITS: Duration = Duration::from_secs(1);
/// How often last uses are: seldom enough to merge many of a busy key's.
const USES: Duration = Duration::from_secs(4);
/// How often the log is told of denials.
const DENIALS: Duration = Duration::from_secs(10);
/// How often the outbox is looked at.
const MAILS: Duration = Duration::from_secs(1);
/// How often keys that nobody uses are looked for: their time is counted in days.
const IDLE: Duration = Duration::from_hours(1);
/// How often refused calls of a minute that is over are written to the audit log.
const REFUSALS: Duration = Duration::from_secs(5);
/// How often counts are: what a node that is killed loses at most.
const USAGE: Duration = Duration::from_secs(10);
/// How often counts are folded.
const FOLD: Duration = Duration::from_mins(1);
const FORGET: Duration = Duration::from_secs(5);
/// How often it is looked for what time has brought: keys that end, credits that go.
const NOTICES: Duration = Duration::from_mins(1);

/// The jobs of a running server.
pub struct Jobs {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Starts the jobs; [`finish`] ends them.
pub fn start(app: &Arc<App>) -> Jobs {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let credits = |app: Arc<App>| async move { credits::settle(&app).await };
    let uses = |app: Arc<App>| async move { usage::flush_uses(&app, false).await };
    tasks.spawn(every(CREDITS, app.clone(), stopped.clone(), "save credits", credits));
    tasks.spawn(every(USES, app.clone(), stopped.clone(), "save last uses", uses));
    let refused = |app: Arc<App>| async move { refusals::write(&app, false).await };
    tasks.spawn(every(REFUSALS, app.clone(), stopped.clone(), "write refused calls", refused));
    let counts = |app: Arc<App>| async move { crate::usage::flush(&app).await };
    let fold = |app: Arc<App>| async move { crate::usage::fold(&app).await };
    tasks.spawn(every(USAGE, app.clone(), stopped.clone(), "save usage", counts));
    tasks.spawn(every(FOLD, app.clone(), stopped.clone(), "fold usage", fold));
    let told = Arc::<Mutex<Told>>::default();
    let denials = move |app: Arc<App>| {
        let told = told.clone();
        async move {
            denials::tell(&app, &mut told.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(())
        }
    };
    tasks.spawn(every(DENIALS, app.clone(), stopped.clone(), "tell of denials", denials));
    if app.mailer.is_some() {
        let stop = stopped.clone();
        let mails = move |app: Arc<App>| {
            let stop = stop.clone();
            async move { mail::send_while(&app, || !*stop.borrow()).await }
        };
        tasks.spawn(every(MAILS, app.clone(), stopped.clone(), "send mails", mails));
    }
    tasks.spawn(every(FORGET, app.clone(), stopped.clone(), "forget", forget));
    let idle = |app: Arc<App>| async move { idle::disable_idle(&app).await };
    tasks.spawn(every(IDLE, app.clone(), stopped.clone(), "disable idle keys", idle));
    let notices = |app: Arc<App>| async move { notices::run(&app).await };
    tasks.spawn(every(NOTICES, app.clone(), stopped.clone(), "tell of what time brings", notices));
    tasks.spawn(sender::run(app.clone(), stopped.clone()));
    if app.store.is_shared() {
        tasks.spawn(follow::follow(app.clone(), stopped));
    }
    Jobs { tasks, stop }
}

/// Lets the jobs end what they are at, and tells the store what is left to tell.
pub async fn finish(app: &Arc<App>, jobs: Jobs) {
    jobs.stop.send_replace(true);
    jobs.tasks.join_all().await;
    if let Err(failure) = usage::close(app).await {
        tracing::error!("the last uses, counts and credits could not be saved: {failure:?}");
    }
    if let Err(failure) = refusals::write(app, true).await {
        tracing::error!("the last refused calls could not be written to the audit log: {failure:?}");
    }
    if app.traces.is_some() {
        let app = app.clone();
        // It waits for the collector, on this thread.
        let ended = tokio::task::spawn_blocking(move || app.traces.as_ref().map(Traces::end));
        drop(ended.await);
    }
}

async fn every<F: Future<Output = Result<(), Failure>>>(
    period: Duration,
    app: Arc<App>,
    mut stop: watch::Receiver<bool>,
    name: &'static str,
    job: impl Fn(Arc<App>) -> F,
) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stop.borrow() {
        // Between two runs, never in one: what a job has begun it ends.
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        if let Err(failure) = job(app.clone()).await {
            tracing::warn!(job = name, "failed, and is tried again: {failure:?}");
        }
    }
}

async fn forget(app: Arc<App>) -> Result<(), Failure> {
    app.places.forget_ended(app.elapsed());
    if app.store.is_shared() {
        credits::sweep(&app, false).await?;
    }
    let now = app.clock.now();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        idempotency::forget_old(tx, now)?;
        invites::forget_old(tx, now)?;
        mail::forget_old(tx, now)?;
        Ok(follow::forget_old(tx, now)?)
    };
    match app.store.write(work, |()| {}).await {
        Written::Aborted(failure) => Err(failure),
        Written::Committed(()) | Written::Unknown => Ok(()),
    }
}
