//! Places that concurrency limits have given out: which lineage's ledger a lease is in.

use crate::app::App;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::id::WorkspaceId;
use stead_verify::index::KeyRecord;
use stead_verify::limits::Ledger;

/// Leases by id, until they are released or end.
#[derive(Default)]
pub struct Places(Mutex<HashMap<u128, Place>>);

struct Place {
    workspace: WorkspaceId,
    ledger: Arc<Ledger>,
    /// By the time since the start, in microseconds.
    ends: u64,
}

impl Places {
    /// Notes a place that was taken.
    pub(super) fn taken(&self, app: &App, key: &KeyRecord, lease: u128, ends: u64) {
        let Some(limits) = &key.limits else { return };
        let place = Place { workspace: app.index.workspace(key).id.clone(), ledger: limits.ledger.clone(), ends };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lease, place);
    }

    /// Gives a place back; false if there is none, or it is not the workspace's.
    pub(super) fn release(&self, app: &App, within: Option<&WorkspaceId>, lease: u128) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_theirs = |place: &Place| within.is_none_or(|workspace| *workspace == place.workspace);
        if !places.get(&lease).is_some_and(is_theirs) {
            return false;
        }
        let place = places.remove(&lease);
        drop(places);
        place.is_some_and(|place| place.ledger.lock().release(lease, app.elapsed()))
    }

    /// Forgets the places whose time is over.
    pub fn forget_ended(&self, elapsed: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, place| place.ends > elapsed);
    }
}
