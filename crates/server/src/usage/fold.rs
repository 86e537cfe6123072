//! Folding: many small blocks of a span become few, minutes become hours, hours days, and days are forgotten. One step
//! deletes blocks and writes what they held in one transaction, so whatever happens in the middle nothing is lost or
//! counted twice. Two nodes at the same span: the one that comes second finds a block gone, and leaves it to the first.

use super::Resolution;
use super::block::{self, Cell};
use super::queries::{self, Name};
use crate::app::App;
use crate::error::Failure;
use crate::store::{Tx, Written};
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::WorkspaceId;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// For how long minutes, hours and days are kept as such, in seconds.
const KEPT: [i64; 3] = [48 * HOUR, 90 * DAY, 5 * 365 * DAY + DAY];
/// How long after its end a span's blocks are gathered: by then all nodes have told theirs, or what became of finer ones
/// has arrived. A straggler is gathered later.
const SETTLED: [i64; 3] = [300, KEPT[0] + 2 * HOUR, KEPT[1] + 2 * DAY];
/// Most spans of a kind in one run, so that a stop of the server doesn't wait for long.
const SPANS: usize = 500;
/// Most bytes that are folded at once; in memory they are some twenty times as much.
const BATCH: usize = 4 * 1024 * 1024;

/// Folds and forgets what is due.
pub async fn fold(app: &Arc<App>) -> Result<(), Failure> {
    let now = app.clock.now().seconds();
    for (place, from) in Resolution::ALL.into_iter().enumerate() {
        let ended = now - from.span();
        if let Some(to) = Resolution::ALL.get(place + 1) {
            for (workspace, starts_at) in spans(app, from, ended - KEPT[place], false).await? {
                fold_span(app, &workspace, starts_at, from, *to).await?;
            }
        }
        for (workspace, starts_at) in spans(app, from, ended - SETTLED[place], true).await? {
            fold_span(app, &workspace, starts_at, from, from).await?;
        }
    }
    let oldest = now - Resolution::Days.span() - KEPT[2];
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> { Ok(queries::forget(tx, Resolution::Days, oldest)?) };
    match app.store.write(work, |()| {}).await {
        Written::Aborted(failure) => Err(failure),
        Written::Committed(()) | Written::Unknown => Ok(()),
    }
}

async fn spans(
    app: &Arc<App>,
    resolution: Resolution,
    up_to: i64,
    loose: bool,
) -> Result<Vec<(WorkspaceId, i64)>, Failure> {
    let read = move |tx: &mut Tx<'_>| Ok(queries::spans(tx, resolution, up_to, loose, SPANS)?);
    app.store.read(read).await
}

/// Folds a span's blocks into blocks of another resolution or, if it is the same, into fewer.
async fn fold_span(
    app: &Arc<App>,
    workspace: &WorkspaceId,
    starts_at: i64,
    from: Resolution,
    to: Resolution,
) -> Result<(), Failure> {
    let id = workspace.clone();
    let is_gathering = from == to;
    let list =
        move |tx: &mut Tx<'_>| -> Result<_, Failure> { Ok(queries::of_span(tx, &id, from, starts_at, is_gathering)?) };
    let mut waiting = app.store.read(list).await?.into_iter().peekable();
    while waiting.peek().is_some() {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((name, size)) = waiting.next_if(|(_, size)| bytes == 0 || bytes + size <= BATCH) {
            bytes += size.max(1);
            batch.push(name);
        }
        if !fold_batch(app, workspace.clone(), batch, from, to).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// One step; false if another node is at it.
async fn fold_batch(
    app: &Arc<App>,
    workspace: WorkspaceId,
    batch: Vec<Name>,
    from: Resolution,
    to: Resolution,
) -> Result<bool, Failure> {
    let (id, names) = (workspace.clone(), batch.clone());
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let mut cells = Vec::new();
        for name in &names {
            let Some(body) = queries::body(tx, &id, from, name)? else { return Ok(None) };
            if block::decode(&body, from.units(), &mut cells).is_err() {
                // It would be met again and again, and nobody can read it.
                tracing::error!(
                    workspace = id.as_str(),
                    starts_at = name.starts_at,
                    "a block of usage is corrupt; dropped"
                );
            }
        }
        Ok(Some(cells))
    };
    let Some(mut cells) = app.store.read(read).await? else { return Ok(false) };
    let Some(starts_at) = batch.first().map(|name| name.starts_at) else { return Ok(true) };
    let target = to.start_of(starts_at);
    for cell in &mut cells {
        cell.unit = to.unit_of(starts_at + i64::from(cell.unit) * from.unit());
    }
    let made = blocks(app, target, cells).await?;
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        for name in &batch {
            if !queries::delete(tx, &workspace, from, name)? {
                return Err(Failure::refused(ErrorCode::ServiceUnavailable, "Another node folds this."));
            }
        }
        for (name, body) in &made {
            queries::insert(tx, &workspace, to, name, from == to, body)?;
        }
        Ok(())
    };
    match app.store.write(work, |()| {}).await {
        Written::Committed(()) => Ok(true),
        // Whether it was done shows when it is looked for the next time.
        Written::Aborted(Failure::Refused(_)) | Written::Unknown => Ok(false),
        Written::Aborted(failure) => Err(failure),
    }
}

async fn blocks(app: &Arc<App>, starts_at: i64, mut cells: Vec<Cell>) -> Result<Vec<(Name, Vec<u8>)>, Failure> {
    let encode = move || {
        block::gather(&mut cells);
        block::encode(&cells)
    };
    let encoded = tokio::task::spawn_blocking(encode).await.map_err(|panic| Failure::Defect(panic.to_string()))?;
    let name = || Name { starts_at, node: app.usage.node.clone(), seq: app.usage.next_seq() };
    Ok(encoded.into_iter().map(|body| (name(), body)).collect())
}
