//! Workspaces and owners: what switches off many keys at once.

use super::grants::{Group, Membership};
use crate::period::{Billing, Period};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::time::Timestamp;

/// A tenant, as far as decisions go.
pub struct Workspace {
    /// Which.
    pub id: WorkspaceId,
    pub(super) switch: Switch,
    /// With the month that was asked for last.
    pub(super) billing: RwLock<(Billing, Period)>,
    pub(super) everyone: Group,
}

/// A user or a service account, as far as decisions go.
pub struct Principal {
    /// Which.
    pub id: PrincipalId,
    pub(super) switch: Switch,
    pub(super) membership: RwLock<Membership>,
}

/// What switches off many keys at once.
pub(super) struct Switch {
    version: AtomicI64,
    disabled: AtomicBool,
}

impl Switch {
    /// Nobody that has not been heard of may pass: what is unknown counts as disabled.
    pub(super) fn unknown() -> Self {
        Self { version: AtomicI64::new(-1), disabled: AtomicBool::new(true) }
    }

    pub(super) fn is_off(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }

    /// Takes in a newer state; whether it was newer.
    pub(super) fn update(&self, version: i64, disabled: bool) -> bool {
        let newer = self.version.load(Ordering::Relaxed) < version;
        if newer {
            self.disabled.store(disabled, Ordering::Release);
            self.version.store(version, Ordering::Relaxed);
        }
        newer
    }

    pub(super) fn forget(&self) {
        self.disabled.store(true, Ordering::Release);
        self.version.store(-1, Ordering::Relaxed);
    }
}

impl Workspace {
    /// The month of credits that holds an instant.
    pub fn period(&self, now: Timestamp) -> Period {
        let (_, period) = *self.billing.read().unwrap_or_else(PoisonError::into_inner);
        if period.contains(now) {
            return period;
        }
        let mut billing = self.billing.write().unwrap_or_else(PoisonError::into_inner);
        billing.1 = billing.0.period(now);
        billing.1
    }
}
