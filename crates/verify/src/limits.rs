//! How often and how much: rate limits, concurrency limits and credits of a lineage, in one [`Ledger`] behind one lock,
//! so that a request takes of all of them or of none.
//!
//! A rate limit is a token bucket (GCRA reckons the same): `limit` uses at once, which come back evenly over the window. It is exact, and costs
//! two numbers however large the limit is; a log of timestamps would cost as many as the limit, and two
//! half-remembered windows would only be about right.

use crate::credits::Credits;
use crate::decide::Ask;
use crate::index::{Held, PoolKind};
use ipnet::IpNet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stead_api::time::Timestamp;

/// Most rate limits of a key.
pub const MAX_RATE_LIMITS: usize = 8;
/// Microseconds.
const SECOND: u64 = 1_000_000;

/// What bounds one key. Most keys have none of it, and cost the mirror a null.
#[derive(Debug)]
pub struct Limits {
    /// Where it may be used from; empty means anywhere.
    pub allowed_ips: Box<[IpNet]>,
    /// Credits a month for the lineage.
    pub character_limit: Option<u64>,
    /// How often it may be used.
    pub rate_limits: Box<[RateLimit]>,
    /// How much of each [`Concurrency`] may be under way at once.
    pub concurrency: [Option<u64>; 3],
    /// What was taken of all this.
    pub ledger: Arc<Ledger>,
}

/// At most `limit` uses at once, and `limit` more in each window after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// What a denial calls it.
    pub name: Box<str>,
    /// Uses.
    pub limit: u64,
    /// Seconds.
    pub window_seconds: u64,
    /// Whether the key's whole lineage shares it.
    pub per_lineage: bool,
}

/// What may be under way at once (wire §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Concurrency {
    /// Speech.
    Tts,
    /// Dubbings.
    Dubbing,
    /// Music.
    Music,
}

impl Concurrency {
    /// Every kind, in the order of [`Limits::concurrency`].
    pub const ALL: [Self; 3] = [Self::Tts, Self::Dubbing, Self::Music];

    /// The word in a question.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tts => "tts",
            Self::Dubbing => "dubbing",
            Self::Music => "music",
        }
    }

    /// The kind that a question names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What was taken of a lineage's limits.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Account>);

impl Ledger {
    /// Holds the ledger: for a few instructions only, since other requests of the lineage wait.
    pub fn lock(&self) -> MutexGuard<'_, Account> {
        // A panic while it was held can't have left it half-written: no step in between can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a [`Ledger`] holds.
#[derive(Debug, Default)]
pub struct Account {
    /// Credits of the month.
    pub credits: Credits,
    meters: Vec<Meter>,
    /// What is under way.
    places: Vec<Place>,
}

/// The fill of one token bucket.
#[derive(Debug)]
struct Meter {
    /// The limit as it was: one that was changed begins anew.
    limit: RateLimit,
    /// The key, unless the lineage shares the bucket.
    key: Option<u128>,
    /// What is missing to full, in uses times the window's microseconds: `limit` of it come back each microsecond,
    /// so nothing is ever rounded.
    missing: u128,
    /// When that was, by the time since the start.
    at: u64,
}

/// One thing under way.
#[derive(Debug)]
struct Place {
    kind: Concurrency,
    lease: u128,
    ends: u64,
}

/// How a rate limit stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    /// Uses left now.
    pub remaining: u64,
    /// Microseconds until there is a use; 0 if there is one.
    pub retry_after: u64,
    /// Microseconds until all are there.
    pub resets_after: u64,
}

/// How everything that a key's [`Limits`] bound stands at an instant: what a decision reads of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Credits gone this month: used, forfeited, or held by other nodes.
    pub spent: u64,
    /// The part of it that was used.
    pub used: u64,
    /// The part of it that was lost with a node that ended in the middle.
    pub forfeited: u64,
    /// When the next month begins.
    pub month_ends: Timestamp,
    /// In the order of [`Limits::rate_limits`].
    pub rates: [RateState; MAX_RATE_LIMITS],
    /// How much of the kind asked for is under way.
    pub under_way: u64,
    /// Microseconds until the next of it ends by itself.
    pub frees_after: u64,
    /// Of the shared credits that a charge takes from, those with the least left.
    pub pool: Option<PoolState>,
    /// The role that the key's owner has on the resource asked about.
    pub held: Held,
}

/// How credits that several keys share stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Whose they are.
    pub kind: PoolKind,
    /// Credits a month.
    pub cap: u64,
    /// Gone this month.
    pub spent: u64,
}

impl PoolState {
    /// What is left.
    pub fn left(&self) -> u64 {
        self.cap.saturating_sub(self.spent)
    }
}

impl RateLimit {
    /// What one use takes of the bucket.
    fn use_costs(&self) -> u128 {
        u128::from(self.window_seconds) * u128::from(SECOND)
    }

    fn state(&self, missing: u128) -> RateState {
        let (one, back) = (self.use_costs(), u128::from(self.limit));
        let whole = one * back;
        let left = whole.saturating_sub(missing);
        let micros = |amount: u128| u64::try_from(amount.div_ceil(back.max(1))).unwrap_or(u64::MAX);
        RateState {
            remaining: u64::try_from(left / one.max(1)).unwrap_or(u64::MAX),
            retry_after: if left >= one { 0 } else { micros((missing + one).saturating_sub(whole)).max(1) },
            resets_after: micros(missing),
        }
    }
}

impl Account {
    /// How the limits of a key stand. `elapsed` is the time since the start, in microseconds.
    pub fn standing(&self, key: u128, limits: Option<&Limits>, ask: &Ask, elapsed: u64) -> Standing {
        let credits = &self.credits;
        let mut standing = Standing {
            spent: credits.spent(),
            used: credits.used(),
            forfeited: credits.forfeited(),
            month_ends: credits.ends(),
            ..Standing::default()
        };
        let Some(limits) = limits else { return standing };
        for (limit, state) in limits.rate_limits.iter().zip(&mut standing.rates) {
            *state = limit.state(self.missing(limit, key, elapsed));
        }
        if let Some((kind, _)) = ask.concurrency {
            let under_way = self.places.iter().filter(|place| place.kind == kind && place.ends > elapsed);
            standing.frees_after = under_way.clone().map(|place| place.ends - elapsed).min().unwrap_or(0);
            standing.under_way = under_way.count() as u64;
        }
        standing
    }

    /// What is missing of a bucket by now.
    fn missing(&self, limit: &RateLimit, key: u128, elapsed: u64) -> u128 {
        let meter = self.meters.iter().find(|meter| meter.is_of(limit, key));
        meter.map_or(0, |meter| meter.missing_at(elapsed))
    }

    /// Takes one use of each rate limit, and a place of the concurrency asked for; `lease` names it. Whoever calls it
    /// has decided by the standing of this very instant that all of it is there.
    pub fn take(&mut self, key: u128, limits: &Limits, ask: &Ask, elapsed: u64, lease: u128) {
        for limit in &limits.rate_limits {
            let missing = self.missing(limit, key, elapsed) + limit.use_costs();
            if let Some(meter) = self.meters.iter_mut().find(|meter| meter.is_of(limit, key)) {
                (meter.missing, meter.at) = (missing, elapsed);
            } else {
                // Full buckets say nothing that a missing one doesn't.
                self.meters.retain(|meter| meter.missing_at(elapsed) > 0);
                let key = (!limit.per_lineage).then_some(key);
                self.meters.push(Meter { limit: limit.clone(), key, missing, at: elapsed });
            }
        }
        if let Some((kind, seconds)) = ask.concurrency.filter(|(kind, _)| limits.concurrency[*kind as usize].is_some())
        {
            self.places.retain(|place| place.ends > elapsed);
            self.places.push(Place { kind, lease, ends: elapsed + u64::from(seconds) * SECOND });
        }
    }

    /// Whether a place is still held.
    pub fn holds(&self, lease: u128, elapsed: u64) -> bool {
        self.places.iter().any(|place| place.lease == lease && place.ends > elapsed)
    }

    /// Gives a place back; whether there was one.
    pub fn release(&mut self, lease: u128, elapsed: u64) -> bool {
        let before = self.places.len();
        self.places.retain(|place| place.lease != lease);
        let released = self.places.len() < before;
        self.places.retain(|place| place.ends > elapsed);
        released
    }
}

impl Meter {
    fn is_of(&self, limit: &RateLimit, key: u128) -> bool {
        self.limit == *limit && self.key == (!limit.per_lineage).then_some(key)
    }

    fn missing_at(&self, elapsed: u64) -> u128 {
        let back = u128::from(elapsed.saturating_sub(self.at)) * u128::from(self.limit.limit);
        self.missing.saturating_sub(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(rates: &[(&str, u64, u64, bool)], tts: Option<u64>) -> Limits {
        let rate = |&(name, limit, window_seconds, per_lineage): &(&str, u64, u64, bool)| RateLimit {
            name: name.into(),
            limit,
            window_seconds,
            per_lineage,
        };
        Limits {
            allowed_ips: Box::default(),
            character_limit: None,
            rate_limits: rates.iter().map(rate).collect(),
            concurrency: [tts, None, None],
            ledger: Arc::default(),
        }
    }

    #[test]
    fn a_bucket_is_emptied_at_once_and_filled_evenly() {
        let limits = limits(&[("minute", 3, 60, false)], None);
        let (mut account, ask) = (Account::default(), Ask::default());
        let state = |account: &Account, second: u64| account.standing(1, Some(&limits), &ask, second * SECOND).rates[0];
        for left in [3, 2, 1] {
            assert_eq!((state(&account, 0).remaining, state(&account, 0).retry_after), (left, 0));
            account.take(1, &limits, &ask, 0, 0);
        }
        assert_eq!(state(&account, 0), RateState { remaining: 0, retry_after: 20 * SECOND, resets_after: 60 * SECOND });
        assert_eq!(state(&account, 19).retry_after, SECOND);
        assert_eq!(state(&account, 20), RateState { remaining: 1, retry_after: 0, resets_after: 40 * SECOND });
        assert_eq!(state(&account, 1000).remaining, 3);
        // A key of the same lineage has its own bucket, unless the limit is shared.
        assert_eq!(account.standing(2, Some(&limits), &ask, 0).rates[0].remaining, 3);
        let shared = super::tests::limits(&[("minute", 3, 60, true)], None);
        account.take(1, &shared, &ask, 0, 0);
        assert_eq!(account.standing(2, Some(&shared), &ask, 0).rates[0].remaining, 2);
    }

    #[test]
    fn nothing_is_ever_left_of_a_limit_of_nothing() {
        let limits = limits(&[("never", 0, 60, false)], Some(0));
        let ask = Ask { concurrency: Some((Concurrency::Tts, 60)), ..Ask::default() };
        let standing = Account::default().standing(1, Some(&limits), &ask, 0);
        assert_eq!(standing.rates[0].remaining, 0);
        assert!(standing.rates[0].retry_after > 0);
    }

    #[test]
    fn a_place_is_free_again_by_a_call_or_by_time() {
        let limits = limits(&[], Some(2));
        let mut account = Account::default();
        let ask = Ask { concurrency: Some((Concurrency::Tts, 60)), ..Ask::default() };
        account.take(1, &limits, &ask, 0, 11);
        account.take(1, &limits, &ask, 10 * SECOND, 12);
        let standing = account.standing(1, Some(&limits), &ask, 20 * SECOND);
        assert_eq!((standing.under_way, standing.frees_after), (2, 40 * SECOND));
        assert!(account.release(12, 20 * SECOND) && !account.release(12, 20 * SECOND));
        assert_eq!(account.standing(1, Some(&limits), &ask, 20 * SECOND).under_way, 1);
        assert_eq!(account.standing(1, Some(&limits), &ask, 60 * SECOND).under_way, 0);
        // Another kind has places of its own.
        let music = Ask { concurrency: Some((Concurrency::Music, 60)), ..Ask::default() };
        assert_eq!(account.standing(1, Some(&limits), &music, 20 * SECOND).under_way, 0);
    }

    proptest! {
        /// Against the definition: a bucket of `limit` tokens, one more each `window / limit`, reckoned in fractions.
        #[test]
        fn a_bucket_grants_what_its_definition_does(
            limit in 1_u64..20, window in 1_u64..20, steps in prop::collection::vec(0_u64..3_000_000, 1..200)
        ) {
            let limits = limits(&[("l", limit, window, false)], None);
            let (mut account, ask, mut now) = (Account::default(), Ask::default(), 0_u64);
            // Tokens times window microseconds.
            let one = u128::from(window * SECOND);
            let (full, mut tokens) = (one * u128::from(limit), one * u128::from(limit));
            let mut granted: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                tokens = full.min(tokens + u128::from(step) * u128::from(limit));
                let state = account.standing(1, Some(&limits), &ask, now).rates[0];
                prop_assert_eq!(state.remaining > 0, tokens >= one);
                prop_assert_eq!(u128::from(state.remaining), tokens / one);
                prop_assert_eq!(state.retry_after == 0, tokens >= one);
                if state.retry_after > 0 {
                    // Not a microsecond early, nor late.
                    let at = |wait: u64| tokens + u128::from(wait) * u128::from(limit);
                    prop_assert!(at(state.retry_after) >= one && at(state.retry_after - 1) < one);
                } else {
                    account.take(1, &limits, &ask, now, 0);
                    tokens -= one;
                    granted.push(now);
                    // In no window more than the burst and what came back in it.
                    let within = granted.iter().filter(|at| **at > now.saturating_sub(window * SECOND)).count() as u64;
                    prop_assert!(within <= 2 * limit);
                }
            }
        }
    }
}
