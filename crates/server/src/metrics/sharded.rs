//! Counters that many threads add to at once: each thread has a shard, which lies on cache lines of its own, and a scrape
//! sums them up. Adding neither locks nor allocates.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// More than the threads that answer on most machines; two that share one only wait for each other's cache line.
const SHARDS: usize = 16;

/// `N` counters.
pub(super) struct Counters<const N: usize>(Box<[Shard<N>]>);

/// Two lines apart, since processors fetch them in pairs.
#[repr(align(128))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard(std::array::from_fn(|_| AtomicU64::new(0)))).collect())
    }
}

impl<const N: usize> Counters<N> {
    /// Adds to one of them.
    pub(super) fn add(&self, place: usize, count: u64) {
        if let Some(counter) = self.0[shard()].0.get(place) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// One of them, over all shards.
    pub(super) fn sum(&self, place: usize) -> u64 {
        self.0.iter().filter_map(|shard| shard.0.get(place)).map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

/// This thread's shard.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let known = SHARD.get();
    if known < SHARDS {
        return known;
    }
    let own = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    SHARD.set(own);
    own
}

/// Durations by size, in buckets that are fixed: `BOUNDS` in microseconds, ascending.
pub(super) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    /// Those up to each bound and above the one before.
    counts: [AtomicU64; N],
    above: AtomicU64,
    nanos: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one.
    pub(super) fn new(bounds: &'static [u64; N]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bounds, counts, above: AtomicU64::new(0), nanos: AtomicU64::new(0) }
    }

    /// Takes a duration in.
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| bound * 1000 < nanos);
        self.counts.get(place).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The bounds in microseconds with how many were not longer; how many there were; how long all of them took.
    pub(super) fn read(&self) -> (Vec<(u64, u64)>, u64, Duration) {
        let mut count = 0;
        let up_to = self.bounds.iter().zip(&self.counts).map(|(bound, within)| {
            count += within.load(Ordering::Relaxed);
            (*bound, count)
        });
        let up_to = up_to.collect();
        (up_to, count + self.above.load(Ordering::Relaxed), Duration::from_nanos(self.nanos.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counters = Counters::<3>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(1, 2)));
            }
        });
        counters.add(3, 1);
        assert_eq!([0, 1, 2, 3].map(|place| counters.sum(place)), [0, 64_000, 0, 0]);
    }

    #[test]
    fn a_duration_falls_into_the_bucket_that_holds_it() {
        let histogram = Histogram::new(&[1, 10]);
        for nanos in [1000, 1001, 10_000, 10_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        assert_eq!(histogram.read(), (vec![(1, 1), (10, 3)], 4, Duration::from_nanos(22_002)));
    }

    /// What counting costs a decision: `cargo test --release -p stead-server --lib -- --ignored --nocapture cost`.
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::print_stdout, reason = "it says what it measured")]
    fn the_cost_of_counting() {
        let counters = Counters::<60>::default();
        for threads in [1, 2] {
            let started = std::time::Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..20_000_000).for_each(|at| counters.add(std::hint::black_box(at % 60), 1)));
                }
            });
            println!("{threads} threads: {:?} each", started.elapsed() / 20_000_000);
        }
    }
}
