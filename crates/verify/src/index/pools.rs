//! Credits that several keys share: those of an account and of its groups, where they have a limit.

use super::{KeyIndex, KeyRecord};
use crate::limits::Ledger;
use std::sync::{Arc, PoisonError};

/// Credits a month that several keys share.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Whose they are.
    pub kind: PoolKind,
    /// What the ledger is known by: the bits of an account's or a group's id, or, for everybody, of the workspace's.
    pub bits: u128,
    /// Credits a month.
    pub cap: u64,
    /// What was taken of them.
    pub ledger: Arc<Ledger>,
}

/// Whose shared credits they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The key's owner's.
    Account,
    /// A group's that the owner is in, or everybody's.
    Group(u128),
}

impl KeyIndex {
    /// The pools that a charge of this key takes from; for nearly all keys there are none.
    pub fn pools(&self, key: &KeyRecord) -> Vec<Pool> {
        let (owner, workspace) = (self.principal(key), self.workspace(key));
        let membership = owner.membership.read().unwrap_or_else(PoisonError::into_inner);
        let pool = |kind, bits, cap| Pool { kind, bits, cap, ledger: self.ledger(bits) };
        let own = membership.cap.zip(owner.id.bits()).map(|(cap, bits)| pool(PoolKind::Account, bits, cap));
        let groups = self.groups_of(key, &membership).filter_map(|group| {
            let state = group.state();
            let bits = if group.bits == super::EVERYONE { workspace.id.bits()? } else { group.bits };
            Some(pool(PoolKind::Group(group.bits), bits, state.cap?))
        });
        own.into_iter().chain(groups).collect()
    }
}
