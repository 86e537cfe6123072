//! A lineage's credits of the month: spent in memory from a lease that the store has granted, so that no charge waits
//! for a write and none that was acknowledged is lost.
//!
//! The store holds for each lineage and month what was `used`, what is `leased` to nodes and what was `forfeited`, and
//! never lets their sum go over the cap. A node tells it now and then how much of its lease it has spent, as a running
//! total, so that telling the same twice counts once. A node that ends in the middle leaves an open lease behind, which
//! is forfeited as a whole: the charges it had accepted are within it.

use crate::period::Period;
use stead_api::time::Timestamp;

/// The counter of one lineage.
#[derive(Debug, Default)]
pub struct Credits {
    /// The month it counts.
    period: Option<Period>,
    /// By the store's last word: used by everybody, what this node had told by then included.
    settled: u64,
    forfeited: u64,
    /// By the store's last word: open leases of other nodes.
    elsewhere: u64,
    /// When the store's last word came, by the time since the start in microseconds.
    heard_at: Option<u64>,
    lease: Lease,
    /// Leases of months that have ended, still to be closed.
    ended: Vec<(Period, Lease)>,
    /// When the lease was last spent from.
    spent_at: u64,
}

/// This node's lease of a month: running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lease {
    granted: u64,
    spent: u64,
    /// The part of `spent` that the store knows.
    told: u64,
    /// Not to be spent from after this, since others may count it as forfeited; by the time since the start.
    until: u64,
}

/// What there is to tell the store about a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The month.
    pub period: Period,
    /// Spent of this node's lease since it was opened.
    pub spent: u64,
    /// Whether the store has a lease of this node to settle; without one nothing was spent.
    pub is_open: bool,
    /// Whether the month has ended, so that the lease is to be closed.
    pub is_over: bool,
}

/// What the store says after an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Used by everybody.
    pub used: u64,
    /// Lost with nodes that ended in the middle.
    pub forfeited: u64,
    /// Open leases of other nodes.
    pub elsewhere: u64,
    /// Granted to this node since its lease was opened; 0 if it has none.
    pub granted: u64,
    /// What it counts as spent of that.
    pub spent: u64,
    /// Whether the lease that was reported on was gone: what it held is forfeited.
    pub was_lost: bool,
}

impl Credits {
    /// Turns to the month of the present; what the last one still has to tell is kept.
    pub fn turn(&mut self, period: Period) {
        if self.period == Some(period) {
            return;
        }
        if let Some(over) = self.period.filter(|_| self.lease.granted > 0) {
            self.ended.push((over, self.lease));
        }
        (self.settled, self.forfeited, self.elsewhere, self.lease) = (0, 0, 0, Lease::default());
        (self.period, self.heard_at) = (Some(period), None);
    }

    /// When the month ends.
    pub fn ends(&self) -> Timestamp {
        self.period.map_or(Timestamp(0), |period| period.ends)
    }

    /// Used this month, by everybody as far as this node knows.
    pub fn used(&self) -> u64 {
        self.settled.saturating_add(self.lease.spent - self.lease.told)
    }

    /// Lost this month with nodes that ended in the middle.
    pub fn forfeited(&self) -> u64 {
        self.forfeited
    }

    /// Gone this month: used, forfeited, or held by other nodes.
    pub fn spent(&self) -> u64 {
        self.used().saturating_add(self.forfeited).saturating_add(self.elsewhere)
    }

    /// What can be spent now without asking the store.
    pub fn free(&self, elapsed: u64) -> u64 {
        if elapsed < self.lease.until { self.lease.granted - self.lease.spent } else { 0 }
    }

    /// What is left of the lease, whether or not it may still be spent from.
    pub fn held(&self) -> u64 {
        self.lease.granted - self.lease.spent
    }

    /// Spends nothing more of the lease until the store is heard again: it is about to be given back.
    pub fn freeze(&mut self) {
        self.lease.until = 0;
    }

    /// When the store was last heard on this month.
    pub fn heard_at(&self) -> Option<u64> {
        self.heard_at
    }

    /// Spends `cost`, if the lease has it.
    pub fn spend(&mut self, cost: u64, elapsed: u64) -> bool {
        let enough = cost <= self.free(elapsed);
        if enough {
            self.lease.spent += cost;
            self.spent_at = elapsed;
        }
        enough
    }

    /// Whether there is anything to tell or to close: something spent, a lease that nobody has spent from since
    /// `idle_since`, or a month that has ended.
    pub fn wants_exchange(&self, idle_since: u64) -> bool {
        self.lease.spent > self.lease.told
            || !self.ended.is_empty()
            || (self.lease.granted > 0 && self.spent_at < idle_since)
    }

    /// Whether the lease lies idle and is to be given back.
    pub fn is_idle(&self, idle_since: u64) -> bool {
        self.lease.granted > 0 && self.spent_at < idle_since
    }

    /// Whether a lease is open.
    pub fn is_open(&self) -> bool {
        self.lease.granted > 0 || !self.ended.is_empty()
    }

    /// What there is to tell, the months that have ended first, the present one last.
    pub fn reports(&self) -> Vec<Report> {
        let report =
            |period, lease: &Lease, is_over| Report { period, spent: lease.spent, is_open: lease.granted > 0, is_over };
        let ended = self.ended.iter().map(|(period, lease)| report(*period, lease, true));
        ended.chain(self.period.map(|period| report(period, &self.lease, false))).collect()
    }

    /// Takes in what the store said to a report. `until` is when the lease ends unless it is renewed.
    pub fn heard(&mut self, report: &Report, word: &Word, asked_at: u64, until: u64) {
        if report.is_over {
            self.ended.retain(|(period, _)| *period != report.period);
            return;
        }
        if self.period != Some(report.period) {
            // The month has ended meanwhile; its lease waits to be closed.
            if let Some((_, lease)) = self.ended.iter_mut().find(|(period, _)| *period == report.period) {
                lease.granted = word.granted;
            }
            return;
        }
        (self.settled, self.forfeited, self.elsewhere) = (word.used, word.forfeited, word.elsewhere);
        self.heard_at = Some(asked_at);
        let spent = if word.was_lost || word.granted == 0 {
            // Whatever was spent of it lies within what was forfeited, or was told when it was closed.
            word.spent
        } else {
            self.lease.spent.max(word.spent)
        };
        self.lease = Lease { granted: word.granted.max(spent), spent, told: word.spent, until };
    }

    /// What the store holds, at start and when the mirror is filled anew.
    pub fn restore(&mut self, period: Period, word: &Word) {
        self.turn(period);
        if self.lease.granted == 0 {
            (self.settled, self.forfeited, self.elsewhere) = (word.used, word.forfeited, word.elsewhere);
        }
    }
}

/// The months' key in the store: their first instant.
impl From<Period> for i64 {
    fn from(period: Period) -> Self {
        let Timestamp(micros) = period.starts;
        micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MONTH: Period = Period { starts: Timestamp(0), ends: Timestamp(100) };
    const NEXT: Period = Period { starts: Timestamp(100), ends: Timestamp(200) };

    /// The store's side of the protocol for one node, as the statements have it: what they are tested against.
    #[derive(Clone, Debug, Default)]
    struct Books {
        cap: u64,
        used: u64,
        leased: u64,
        forfeited: u64,
        /// granted, spent.
        lease: Option<(u64, u64)>,
    }

    impl Books {
        fn exchange(&mut self, report: &Report, want: u64, close: bool) -> Word {
            let was_lost = report.is_open && self.lease.is_none();
            let (granted, before) = self.lease.unwrap_or_default();
            let spent = if was_lost { 0 } else { report.spent };
            self.used += spent - before;
            self.leased -= spent - before;
            if close || report.is_over {
                self.leased -= granted - spent;
                self.lease = None;
                return Word { used: self.used, forfeited: self.forfeited, elsewhere: self.leased, ..Word::default() };
            }
            let grant = want.min(self.cap - self.used - self.leased - self.forfeited);
            self.leased += grant;
            self.lease = Some((granted + grant, spent));
            let elsewhere = self.leased - (granted + grant - spent);
            Word { used: self.used, forfeited: self.forfeited, elsewhere, granted: granted + grant, spent, was_lost }
        }

        /// What a sweep does to the lease of a node that has gone.
        fn forfeit(&mut self) {
            if let Some((granted, spent)) = self.lease.take() {
                self.forfeited += granted - spent;
                self.leased -= granted - spent;
            }
        }
    }

    fn told(credits: &mut Credits, books: &mut Books, want: u64) {
        for report in credits.reports() {
            let word = books.exchange(&report, want, false);
            credits.heard(&report, &word, 0, 1000);
        }
    }

    #[test]
    fn spent_from_a_lease_and_told_as_a_total() {
        let (mut credits, mut books) = (Credits::default(), Books { cap: 100, ..Books::default() });
        credits.turn(MONTH);
        assert!(!credits.spend(1, 0));
        told(&mut credits, &mut books, 10);
        assert!(credits.spend(7, 0) && !credits.spend(4, 0) && credits.spend(3, 0));
        assert_eq!((credits.used(), credits.spent(), credits.free(0)), (10, 10, 0));
        told(&mut credits, &mut books, 10);
        // The answer got lost, so it is told again: counted once.
        told(&mut credits, &mut books, 0);
        assert_eq!((credits.used(), credits.free(0), books.used, books.leased), (10, 10, 10, 10));
        // After its time, the lease is no longer spent from.
        assert_eq!((credits.free(999), credits.free(1000)), (10, 0));
    }

    #[test]
    fn a_month_begins_at_nothing_and_the_last_one_is_still_closed() {
        let (mut credits, mut books) = (Credits::default(), Books { cap: 100, ..Books::default() });
        credits.turn(MONTH);
        told(&mut credits, &mut books, 10);
        assert!(credits.spend(4, 0));
        credits.turn(NEXT);
        assert_eq!((credits.used(), credits.free(0)), (0, 0));
        let reports = credits.reports();
        assert_eq!((reports[0].spent, reports[0].is_over, reports[1].is_open), (4, true, false));
        let word = books.exchange(&reports[0], 0, false);
        credits.heard(&reports[0], &word, 0, 1000);
        assert_eq!((books.used, books.leased, credits.reports().len()), (4, 0, 1));
    }

    proptest! {
        /// Whatever is spent, told, lost on the way, closed or forfeited: never more granted than the cap, every credit
        /// that was granted is used or forfeited in the end, and the books are always whole.
        #[test]
        fn never_over_the_cap_and_nothing_granted_is_lost(
            cap in 0_u64..200, steps in prop::collection::vec((0..6, 1_u64..30), 1..80)
        ) {
            let (mut credits, mut books) = (Credits::default(), Books { cap, ..Books::default() });
            let (mut granted, mut clean) = (0, true);
            credits.turn(MONTH);
            for (what, amount) in steps {
                match what {
                    0 | 1 => {
                        if credits.spent() + amount <= cap && credits.spend(amount, 0) {
                            granted += amount;
                        }
                    }
                    2 => told(&mut credits, &mut books, amount),
                    // The store has it, the answer is lost.
                    3 => { for report in credits.reports() { books.exchange(&report, amount, false); } }
                    4 => {
                        // Given back while nobody spends.
                        for report in credits.reports() {
                            let word = books.exchange(&report, 0, true);
                            credits.heard(&report, &word, 0, 1000);
                        }
                    }
                    // The node ends in the middle, and a new one starts.
                    _ => {
                        books.forfeit();
                        clean = false;
                        credits = Credits::default();
                        let word = Word { used: books.used, forfeited: books.forfeited, elsewhere: books.leased, ..Word::default() };
                        credits.restore(MONTH, &word);
                    }
                }
                prop_assert!(books.used + books.leased + books.forfeited <= cap);
                prop_assert!(granted <= cap);
            }
            for report in credits.reports() {
                books.exchange(&report, 0, true);
            }
            prop_assert_eq!(books.leased, 0);
            // What was granted is used, or, after a crash, within what was forfeited.
            prop_assert!(granted <= books.used + books.forfeited);
            prop_assert!(!clean || (granted == books.used && books.forfeited == 0));
        }
    }
}
