//! Write-behind: every ten seconds what was counted becomes blocks, one or a few for each workspace that was busy. What
//! the store doesn't take is kept and told again under the same name, so that it is stored once, also if the first answer
//! got lost. Meanwhile the counter goes on within its bounds. A node that is killed loses what it counted since the last
//! flush; credits don't depend on it.

use super::block::{self, Cell, Totals};
use super::counter::Slot;
use super::queries::{self, Name};
use super::{Resolution, Usage};
use crate::app::App;
use crate::error::Failure;
use crate::store::{Tx, Written};
use std::sync::{Arc, MutexGuard, PoisonError};
use stead_api::id::WorkspaceId;
use stead_verify::index::KeyIndex;

/// Blocks written in one transaction: few enough that a management request between two of them doesn't wait long.
const BATCH: usize = 200;

/// A block on its way.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) workspace: WorkspaceId,
    pub(super) name: Name,
    pub(super) body: Arc<[u8]>,
}

/// What is in memory of a workspace, as blocks of minutes: those on their way, by name, and what no block was made of.
pub(super) type Unflushed = (Vec<Pending>, Vec<(i64, Vec<Cell>)>);

/// Tells the store what was counted. In a task of its own: a caller that goes away must not take what was taken out of
/// the counter with it.
pub async fn flush(app: &Arc<App>) -> Result<(), Failure> {
    let app = app.clone();
    let flushed = tokio::spawn(async move {
        let _turn = app.usage.turn.write().await;
        write(&app).await?;
        let worker = app.clone();
        let taken = tokio::task::spawn_blocking(move || worker.usage.take(&worker.index)).await;
        taken.map_err(|panic| Failure::Defect(panic.to_string()))?;
        write(&app).await
    });
    flushed.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

/// Writes what is on its way.
async fn write(app: &Arc<App>) -> Result<(), Failure> {
    loop {
        let batch: Vec<Pending> = app.usage.pending().iter().take(BATCH).cloned().collect();
        if batch.is_empty() {
            return Ok(());
        }
        let count = batch.len();
        let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
            for Pending { workspace, name, body } in &batch {
                queries::insert(tx, workspace, Resolution::Minutes, name, false, body)?;
            }
            Ok(())
        };
        match app.store.write(work, |()| {}).await {
            Written::Committed(()) => drop(app.usage.pending().drain(..count)),
            Written::Aborted(failure) => return Err(failure),
            Written::Unknown => return Err(Failure::OutcomeUnknown),
        }
    }
}

impl Usage {
    /// What is on its way. Only a flush, which holds the turn, adds to it or takes from it.
    pub(super) fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes blocks of what was counted.
    fn take(&self, index: &KeyIndex) {
        let lost = self.counter.lost();
        if lost > 0 {
            tracing::error!(
                decisions = lost,
                "not counted: there was no room, as the store has taken nothing for long"
            );
        }
        let mut blocks = Vec::new();
        for (workspace, starts_at, cells) in spans(self.counter.take()) {
            let Some(workspace) = index.workspace_numbered(workspace) else { continue };
            for body in block::encode(&cells) {
                let name = Name { starts_at, node: self.node.clone(), seq: self.next_seq() };
                blocks.push(Pending { workspace: workspace.id.clone(), name, body: body.into() });
            }
        }
        self.pending().extend(blocks);
    }

    /// What is in memory of a workspace.
    pub(super) fn unflushed(&self, index: &KeyIndex, workspace: &WorkspaceId) -> Unflushed {
        let pending = self.pending().iter().filter(|pending| pending.workspace == *workspace).cloned().collect();
        let Some(number) = index.workspace_number(workspace) else { return (pending, Vec::new()) };
        let counted = spans(self.counter.of(number)).into_iter().map(|(_, starts_at, cells)| (starts_at, cells));
        (pending, counted.collect())
    }
}

/// Counts by workspace and span, each gathered.
fn spans(mut counted: Vec<(Slot, Totals)>) -> Vec<(u32, i64, Vec<Cell>)> {
    let at = |slot: &Slot| i64::from(slot.minute) * 60;
    let span = |slot: &Slot| (slot.workspace, Resolution::Minutes.start_of(at(slot)));
    counted.sort_unstable_by_key(|(slot, _)| span(slot));
    let chunks = counted.chunk_by(|a, b| span(&a.0) == span(&b.0));
    let gathered = chunks.map(|chunk| {
        let (workspace, starts_at) = span(&chunk[0].0);
        let cell = |(slot, totals): &(Slot, Totals)| Cell {
            key: slot.key,
            unit: Resolution::Minutes.unit_of(at(slot)),
            outcome: slot.outcome,
            totals: *totals,
        };
        let mut cells: Vec<_> = chunk.iter().map(cell).collect();
        block::gather(&mut cells);
        (workspace, starts_at, cells)
    });
    gathered.collect()
}
