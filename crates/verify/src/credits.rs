//! A lineage's credits of the month: spent in memory from a lease that the store has granted, so that few charges wait
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
    /// Whether the store may hold a lease of this month that this node has not heard of.
    in_doubt: bool,
    /// Leases of months that have ended, still to be closed. A month has one lease at most, here or in `lease`.
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
        if let Some(over) = self.period.filter(|_| self.lease.granted > 0 || self.in_doubt) {
            // Not to be spent from even if the clock is set back: it may be closed meanwhile.
            self.ended.push((over, Lease { until: 0, ..self.lease }));
        }
        (self.settled, self.forfeited, self.elsewhere) = (0, 0, 0);
        let back = self.take_ended(period);
        // Nothing is known of it but that the store may have it: so it stays, whichever month it is.
        self.in_doubt = back.is_some_and(|lease| lease.granted == 0);
        self.lease = back.unwrap_or_default();
        (self.period, self.heard_at) = (Some(period), None);
    }

    fn take_ended(&mut self, period: Period) -> Option<Lease> {
        let place = self.ended.iter().position(|(ended, _)| *ended == period)?;
        Some(self.ended.swap_remove(place).1)
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

    /// Whether there is anything to tell, to find out or to close: something spent, a lease that nobody has spent from
    /// since `idle_since`, or a month that has ended.
    pub fn wants_exchange(&self, idle_since: u64) -> bool {
        self.lease.spent > self.lease.told || self.in_doubt || !self.ended.is_empty() || self.is_idle(idle_since)
    }

    /// Whether the lease lies idle and is to be given back.
    pub fn is_idle(&self, idle_since: u64) -> bool {
        (self.lease.granted > 0 || self.in_doubt) && self.spent_at < idle_since
    }

    /// Whether a lease is open, or may be.
    pub fn is_open(&self) -> bool {
        self.lease.granted > 0 || self.in_doubt || !self.ended.is_empty()
    }

    /// What there is to tell, the months that have ended first, the present one last.
    pub fn reports(&self) -> Vec<Report> {
        let report =
            |period, lease: &Lease, is_over| Report { period, spent: lease.spent, is_open: lease.granted > 0, is_over };
        let ended = self.ended.iter().map(|(period, lease)| report(*period, lease, true));
        ended.chain(self.period.map(|period| report(period, &self.lease, false))).collect()
    }

    /// Takes in what the store said to a report. `until` is when the lease ends unless it is renewed.
    pub fn heard(&mut self, report: &Report, word: &Word, now: u64, until: u64) {
        if self.period == Some(report.period) {
            (self.settled, self.forfeited, self.elsewhere) = (word.used, word.forfeited, word.elsewhere);
            (self.heard_at, self.in_doubt) = (Some(now), false);
            self.lease = self.lease.after(word, until);
            return;
        }
        // The month has ended, before it was told or meanwhile: what is open of its lease waits to be closed.
        let lease = self.take_ended(report.period).unwrap_or_default().after(word, 0);
        if lease.granted > 0 {
            self.ended.push((report.period, lease));
        }
    }

    /// Takes in that nobody knows whether the store took a report in: it may have granted a lease.
    pub fn not_heard(&mut self, report: &Report) {
        if self.period == Some(report.period) {
            self.in_doubt = true;
        } else if self.ended.iter().all(|(period, _)| *period != report.period) {
            self.ended.push((report.period, Lease::default()));
        }
    }

    /// What the store holds, at start and when the mirror is filled anew.
    pub fn restore(&mut self, period: Period, word: &Word) {
        self.turn(period);
        if self.lease.granted == 0 {
            (self.settled, self.forfeited, self.elsewhere) = (word.used, word.forfeited, word.elsewhere);
        }
    }
}

impl Lease {
    /// What it is by the store's word.
    fn after(self, word: &Word, until: u64) -> Self {
        let spent = if word.was_lost || word.granted == 0 {
            // Whatever was spent of it lies within what was forfeited, or was told when it was closed.
            word.spent
        } else {
            self.spent.max(word.spent)
        };
        Self { granted: word.granted.max(spent), spent, told: word.spent, until }
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
            let spent = self.lease.map_or(0, |(_, before)| report.spent.max(before));
            self.used += spent - before;
            self.leased -= spent - before;
            if close || report.is_over {
                self.leased -= granted - spent;
                self.lease = None;
                return Word { used: self.used, forfeited: self.forfeited, elsewhere: self.leased, ..Word::default() };
            }
            let left = self.cap - self.used - self.leased - self.forfeited;
            let grant = if was_lost { 0 } else { want.min(left) };
            self.leased += grant;
            if granted + grant > 0 {
                self.lease = Some((granted + grant, spent));
            }
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

    #[test]
    fn a_lease_that_was_never_heard_of_is_closed_though_its_month_ended_and_came_back() {
        let mut world = World::new(45);
        world.ask(1, false);
        world.turn();
        world.hear(true);
        world.turn();
        assert!(world.credits.is_open());
        world.ask(0, true);
        world.hear(false);
        assert_eq!((world.books[0].leased, world.books[0].lease, world.credits.is_open()), (0, None, false));
    }

    /// A node and the books of two months, with at most one exchange under way between them.
    struct World {
        credits: Credits,
        books: [Books; 2],
        granted: [u64; 2],
        under_way: Option<Vec<(Report, Word)>>,
        month: usize,
    }

    const MONTHS: [Period; 2] = [MONTH, NEXT];

    impl World {
        fn new(cap: u64) -> Self {
            let books = Books { cap, ..Books::default() };
            let mut credits = Credits::default();
            credits.turn(MONTH);
            Self { credits, books: [books.clone(), books], granted: [0; 2], under_way: None, month: 0 }
        }

        fn spend(&mut self, cost: u64) {
            if self.credits.spent() + cost <= self.books[0].cap && self.credits.spend(cost, 0) {
                self.granted[self.month] += cost;
            }
        }

        /// Reports, unless an exchange is under way; the answer comes later.
        fn ask(&mut self, want: u64, close: bool) {
            if self.under_way.is_some() {
                return;
            }
            if close {
                self.credits.freeze();
            }
            let mut words = Vec::new();
            for report in self.credits.reports() {
                let books = &mut self.books[usize::from(report.period == NEXT)];
                words.push((report, books.exchange(&report, want, close)));
            }
            self.under_way = Some(words);
        }

        fn hear(&mut self, is_lost: bool) {
            for (report, word) in self.under_way.take().into_iter().flatten() {
                if is_lost {
                    self.credits.not_heard(&report);
                } else {
                    self.credits.heard(&report, &word, 0, 1000);
                }
            }
        }

        fn turn(&mut self) {
            self.month = 1 - self.month;
            self.credits.turn(MONTHS[self.month]);
        }

        /// The node ends in the middle, its leases are swept, and a new one starts.
        fn crash(&mut self) {
            self.books.iter_mut().for_each(Books::forfeit);
            (self.credits, self.under_way) = (Credits::default(), None);
            let books = &self.books[self.month];
            let word =
                Word { used: books.used, forfeited: books.forfeited, elsewhere: books.leased, ..Word::default() };
            self.credits.restore(MONTHS[self.month], &word);
        }
    }

    proptest! {
        /// Whatever happens, with answers late or lost on the way, leases closed or forfeited, months that end (and
        /// clocks set back) while the store is asked: never more granted than the cap, every credit that was granted is
        /// used or forfeited in the end, each is counted once, and the books are always whole.
        #[test]
        fn never_over_the_cap_and_nothing_granted_is_lost(
            cap in 0_u64..200, steps in prop::collection::vec((0..16, 1_u64..30), 1..120)
        ) {
            let (mut world, mut clean) = (World::new(cap), true);
            for (what, amount) in steps {
                match what {
                    0..=4 => world.spend(amount),
                    5..=7 => world.ask(amount, false),
                    8 => world.ask(0, true),
                    9..=11 => world.hear(false),
                    12 => world.hear(true),
                    13 => world.turn(),
                    // Swept, though the node lives.
                    14 => {
                        world.books.iter_mut().for_each(Books::forfeit);
                        clean = false;
                    }
                    _ => {
                        world.crash();
                        clean = false;
                    }
                }
                for (books, granted) in world.books.iter().zip(world.granted) {
                    prop_assert!(books.used + books.leased + books.forfeited <= cap);
                    prop_assert!(granted <= cap);
                }
            }
            // A clean stop: what is under way ends, and the rest is given back.
            world.hear(false);
            if world.credits.is_open() {
                world.ask(0, true);
                world.hear(false);
            }
            prop_assert!(!world.credits.is_open());
            for (books, granted) in world.books.iter().zip(world.granted) {
                prop_assert_eq!((books.leased, books.lease), (0, None));
                prop_assert!(granted <= books.used + books.forfeited);
                prop_assert!(books.used <= granted);
                prop_assert!(!clean || (granted == books.used && books.forfeited == 0));
            }
        }
    }
}
