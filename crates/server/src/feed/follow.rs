//! Filling the mirror at start, and following what other nodes commit.
//!
//! A sequence or a timestamp would lose changes that commit out of order; the clock's rows are locked to the end of each
//! write, so whoever sees number n of a bucket sees everything before it.

use super::mutation::ChangeKind;
use super::queries::{self, Change};
use crate::app::App;
use crate::error::Failure;
use crate::store::{Error, Tx};
use crate::{accounts, groups, keys, members, resources, verify, workspaces};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stead_verify::facts::Fact;
use tokio::sync::watch;

/// How often the change clock is looked at. Bounds how long another node's revocation stays unseen.
const POLL: Duration = Duration::from_millis(100);
/// Changes taken at once.
const PAGE: i64 = 1000;
/// How long the log is kept; a node that was away for longer fills its mirror anew.
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// Fills the mirror from one consistent snapshot of the store.
pub async fn load(app: &Arc<App>) -> Result<(), Failure> {
    let target = app.clone();
    let read = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        let app = &*target;
        let (now, asked) = (app.clock.now(), app.clock.elapsed());
        let clock = queries::clock(tx)?;
        for fact in workspaces::facts(tx, &app.ring)? {
            app.index.apply(fact);
        }
        for fact in members::facts(tx, &app.ring)?.into_iter().chain(accounts::facts(tx, &app.ring)?) {
            app.index.apply(fact);
        }
        for fact in groups::facts(tx, &app.ring)? {
            app.index.apply(fact);
        }
        resources::each_fact(tx, &app.ring, |fact| app.index.apply(fact))?;
        app.index.reserve(keys::count_all(tx)?);
        // The log is apart from the rows: a row put back to an older state is behind its last change.
        let newest: HashMap<_, _> = queries::versions(tx, ChangeKind::Key.as_str())?.into_iter().collect();
        keys::each_fact(tx, &app.ring, &app.catalogue, now, |fact| match &fact {
            Fact::Key(key) if newest.get(key.id.as_str()).is_some_and(|version| *version > key.version) => {
                tracing::error!(key = %key.id, "the key's row was put back to an older state; it is refused");
            }
            _ => app.index.apply(fact),
        })?;
        verify::usage::restore(tx, &app.index, now)?;
        for (bucket, seq) in clock {
            app.progress.advance(bucket, seq);
        }
        app.progress.confirm(asked);
        Ok(())
    };
    app.store.read(read).await
}

/// Follows the change log until the server stops. Only where other nodes may write to the same store.
pub async fn follow(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut reachable = true;
    while !*stop.borrow() {
        // Woken by this node's own writes, and by verifications that wait for a revision.
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = app.progress.wake.notified() => {}
            _ = stop.changed() => return,
        }
        match catch_up(&app, &stop).await {
            Ok(()) => reachable = true,
            Err(failure) if reachable => {
                tracing::error!("the change log can't be read: {failure:?}");
                reachable = false;
            }
            Err(_) => {}
        }
    }
}

/// Takes in every change that is there now.
async fn catch_up(app: &Arc<App>, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let target = app.clone();
    let asked = app.clock.elapsed();
    // A session of its own: it must not wait behind writes that wait for each other.
    match app.store.read_ahead(move |tx| take_changes(&target, tx)).await? {
        Taken::All => {}
        Taken::Gap => {
            tracing::warn!("this node was away for longer than the change log reaches back: filling the mirror anew");
            refill(app, stop).await;
        }
        Taken::Backwards => {
            tracing::error!(
                "the store has gone back in time, as after a failover or a restore: filling the mirror anew"
            );
            app.progress.restart();
            refill(app, stop).await;
        }
    }
    app.progress.confirm(asked);
    Ok(())
}

/// Fills the mirror from nothing: what the store no longer says, or what is no longer trusted, must not stay. Until it
/// succeeds nothing is decided.
async fn refill(app: &Arc<App>, stop: &watch::Receiver<bool>) {
    app.index.clear();
    while let Err(failure) = load(app).await {
        tracing::error!("the mirror can't be filled: {failure:?}");
        if *stop.borrow() {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    app.index.filled();
}

/// What became of following.
enum Taken {
    All,
    /// Changes after the mirror's last are forgotten already.
    Gap,
    /// The store's clock is behind the mirror.
    Backwards,
}

/// Takes in the changes after those the mirror has.
fn take_changes(app: &App, tx: &mut Tx<'_>) -> Result<Taken, Failure> {
    for (bucket, newest) in queries::clock(tx)? {
        if app.progress.seqs[bucket].load(Ordering::Acquire) > newest {
            return Ok(Taken::Backwards);
        }
        while app.progress.seqs[bucket].load(Ordering::Acquire) < newest {
            let known = app.progress.seqs[bucket].load(Ordering::Acquire);
            let changes = queries::after(tx, bucket, known, PAGE)?;
            if changes.first().is_none_or(|first| first.seq != known + 1) {
                return Ok(Taken::Gap);
            }
            for change in changes {
                apply(app, tx, &change)?;
                app.progress.advance(bucket, change.seq);
            }
        }
    }
    Ok(Taken::All)
}

/// Takes in one change by reading the row it speaks of.
fn apply(app: &App, tx: &mut Tx<'_>, change: &Change) -> Result<(), Error> {
    let (workspace, ring) = (&change.workspace_id, &app.ring);
    let kind = ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == change.kind);
    let fact = match kind {
        Some(ChangeKind::Workspace) => workspaces::fact(tx, ring, workspace)?,
        Some(ChangeKind::Member) => members::fact(tx, ring, workspace, &change.id)?,
        Some(ChangeKind::Group) => Some(groups::fact(tx, ring, workspace, &change.id, change.version)?),
        Some(ChangeKind::Resource) => resources::fact(tx, ring, workspace, &change.id)?,
        Some(ChangeKind::Account) => accounts::fact(tx, ring, workspace, &change.id)?,
        Some(ChangeKind::Key) => {
            let id = change.id.as_str().into();
            if app.index.key_version(&id) >= change.version {
                return Ok(());
            }
            let fact = keys::fact(tx, ring, &app.catalogue, workspace, &id)?;
            let behind = !matches!(&fact, Some(Fact::Key(key)) if key.version >= change.version);
            if behind {
                tracing::error!(key = %id, "the key's row is missing, was edited or was put back; it is refused");
                app.index.remove(&id);
                return Ok(());
            }
            fact
        }
        // Written by a newer version of this program, about something this one doesn't mirror.
        None => None,
    };
    if let Some(fact) = fact {
        app.index.apply(fact);
    }
    Ok(())
}

/// Forgets changes that every node has long taken in.
pub fn forget_old(tx: &mut Tx<'_>, now: stead_api::time::Timestamp) -> Result<(), Error> {
    queries::forget_before(tx, now.plus_seconds(-KEPT_SECONDS))
}
