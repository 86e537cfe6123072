//! What a lineage has used this month. Spent in memory; the store is told each second.

use crate::period::Month;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counter of one lineage.
#[derive(Debug)]
pub struct Credits {
    spent: Mutex<Spent>,
}

/// What a counter holds. Whoever has it locked can decide and spend in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    month: Month,
    used: u64,
    /// The part of `used` that the store has not been told yet.
    unsaved: u64,
    /// What an ended month still has to tell.
    ended: Option<(Month, u64)>,
    /// Whether the counter waits in the queue of those that have something to tell.
    queued: bool,
}

impl Credits {
    /// A counter that stands at `used` in `month`.
    pub fn new(month: Month, used: u64) -> Self {
        Self { spent: Mutex::new(Spent { month, used, unsaved: 0, ended: None, queued: false }) }
    }

    /// Holds the counter. For a few instructions only: other requests of the same lineage wait.
    pub fn lock(&self) -> MutexGuard<'_, Spent> {
        // A panic while it was held can't have left it half-written: no step in between can panic.
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    /// Credits used in `month`; a new month begins at nothing.
    pub fn used(&self, month: Month) -> u64 {
        if self.month == month { self.used } else { 0 }
    }

    /// Adds `cost` in `month`.
    pub fn spend(&mut self, month: Month, cost: u64) {
        if self.month != month {
            self.ended = (self.unsaved > 0).then_some((self.month, self.unsaved)).or(self.ended);
            (self.month, self.used, self.unsaved) = (month, 0, 0);
        }
        self.used = self.used.saturating_add(cost);
        self.unsaved = self.unsaved.saturating_add(cost);
    }

    /// Takes a place in the queue, if there is something to tell; true if the caller has to put it there.
    pub fn enqueue(&mut self) -> bool {
        (self.unsaved > 0 || self.ended.is_some()) && !std::mem::replace(&mut self.queued, true)
    }

    /// Leaves the queue with what is to be told. What is spent from now on queues anew.
    pub fn dequeue(&mut self) -> impl Iterator<Item = (Month, u64)> + use<> {
        self.queued = false;
        self.ended.into_iter().chain((self.unsaved > 0).then_some((self.month, self.unsaved)))
    }

    /// What the store holds, at start and when the mirror is filled anew.
    pub fn restore(&mut self, month: Month, total: u64) {
        if self.month < month && self.unsaved > 0 {
            self.ended = Some((self.month, self.unsaved));
        }
        let unsaved = if self.month == month { self.unsaved } else { 0 };
        (self.month, self.used, self.unsaved) = (month, total.saturating_add(unsaved), unsaved);
    }

    /// The store now holds `total` for `month`, `told` of it from here; other nodes may have added to it.
    pub fn saved(&mut self, month: Month, told: u64, total: u64) {
        if self.month == month {
            self.unsaved = self.unsaved.saturating_sub(told);
            self.used = total.saturating_add(self.unsaved);
        } else if self.ended == Some((month, told)) {
            self.ended = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spent: &mut Spent) -> Vec<(Month, u64)> {
        spent.dequeue().collect()
    }

    #[test]
    fn spending_adds_up_and_a_new_month_begins_at_nothing() {
        let credits = Credits::new(Month(1), 40);
        let mut spent = credits.lock();
        spent.spend(Month(1), 2);
        spent.spend(Month(1), 3);
        assert_eq!((spent.used(Month(1)), spent.used(Month(2))), (45, 0));
        spent.spend(Month(2), 1);
        assert_eq!(spent.used(Month(2)), 1);
        // The ended month is still told.
        assert_eq!(told(&mut spent), [(Month(1), 5), (Month(2), 1)]);
        spent.saved(Month(1), 5, 45);
        assert_eq!(told(&mut spent), [(Month(2), 1)]);
    }

    #[test]
    fn a_counter_waits_in_the_queue_once() {
        let credits = Credits::new(Month(1), 0);
        let mut spent = credits.lock();
        assert!(!spent.enqueue());
        spent.spend(Month(1), 1);
        assert!(spent.enqueue() && !spent.enqueue());
        assert_eq!(told(&mut spent), [(Month(1), 1)]);
        // Spent while the store is told: waits again, and only the rest is told.
        spent.spend(Month(1), 2);
        assert!(spent.enqueue());
        spent.saved(Month(1), 1, 1);
        assert_eq!(told(&mut spent), [(Month(1), 2)]);
    }

    #[test]
    fn the_store_and_other_nodes_are_reckoned_in() {
        let credits = Credits::new(Month(1), 0);
        let mut spent = credits.lock();
        spent.spend(Month(1), 5);
        spent.spend(Month(1), 2);
        spent.saved(Month(1), 5, 30);
        assert_eq!((spent.used(Month(1)), told(&mut spent)), (32, vec![(Month(1), 2)]));
        // A mirror filled anew forgets nothing that was not told.
        spent.restore(Month(1), 50);
        assert_eq!((spent.used(Month(1)), told(&mut spent)), (52, vec![(Month(1), 2)]));
    }
}
