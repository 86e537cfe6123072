//! What a lineage has used this month. Spent in memory; the store is told each second.

use crate::period::Month;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counter of one lineage.
#[derive(Debug)]
pub struct Credits {
    spent: Mutex<Spent>,
}

/// What a counter holds. Whoever has it locked can decide and spend in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    month: Month,
    used: u64,
    /// The part of `used` that the store has not been told yet.
    unsaved: u64,
}

impl Credits {
    /// A counter that stands at `used` in `month`.
    pub fn new(month: Month, used: u64) -> Self {
        Self { spent: Mutex::new(Spent { month, used, unsaved: 0 }) }
    }

    /// Holds the counter. For a few instructions only: other requests of the same lineage wait.
    pub fn lock(&self) -> MutexGuard<'_, Spent> {
        // A panic while it was held can't have left it half-written: both numbers are set together.
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    /// Credits used in `month`; a new month begins at nothing.
    pub fn used(&self, month: Month) -> u64 {
        if self.month == month { self.used } else { 0 }
    }

    /// Adds `cost` in `month` and says whether the store has to be told, i.e. whether nothing was waiting before.
    pub fn spend(&mut self, month: Month, cost: u64) -> bool {
        if self.month != month {
            // What an ended month has not told the store is lost with it: it decides nothing any more.
            *self = Self { month, used: 0, unsaved: 0 };
        }
        let first = self.unsaved == 0;
        self.used = self.used.saturating_add(cost);
        self.unsaved = self.unsaved.saturating_add(cost);
        first
    }

    /// What the store has not been told, if anything.
    pub fn unsaved(&self) -> Option<(Month, u64)> {
        (self.unsaved > 0).then_some((self.month, self.unsaved))
    }

    /// What the store holds, at start.
    pub fn restore(&mut self, month: Month, used: u64) {
        *self = Self { month, used, unsaved: 0 };
    }

    /// The store now holds `total` for `month`, `told` of it from here; other nodes may have added to it.
    pub fn saved(&mut self, month: Month, told: u64, total: u64) {
        if self.month == month {
            self.unsaved = self.unsaved.saturating_sub(told);
            self.used = total.saturating_add(self.unsaved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spending_adds_up_and_a_new_month_begins_at_nothing() {
        let credits = Credits::new(Month(1), 40);
        let mut spent = credits.lock();
        assert!(spent.spend(Month(1), 2));
        assert!(!spent.spend(Month(1), 3));
        assert_eq!(spent.used(Month(1)), 45);
        assert_eq!(spent.unsaved(), Some((Month(1), 5)));
        assert_eq!(spent.used(Month(2)), 0);
        assert!(spent.spend(Month(2), 1));
        assert_eq!(spent.used(Month(2)), 1);
    }

    #[test]
    fn the_store_and_other_nodes_are_reckoned_in() {
        let credits = Credits::new(Month(1), 0);
        let mut spent = credits.lock();
        spent.spend(Month(1), 5);
        spent.spend(Month(1), 2);
        spent.saved(Month(1), 5, 30);
        assert_eq!((spent.used(Month(1)), spent.unsaved()), (32, Some((Month(1), 2))));
    }
}
