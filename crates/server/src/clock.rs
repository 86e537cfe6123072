//! Time and randomness are handed in, so that tests move the one and foresee the other. The only place that asks
//! the operating system for either.

use std::cell::RefCell;
use std::time::{Duration, Instant};
use stead_api::time::Timestamp;

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// The instant it is.
    fn now(&self) -> Timestamp;

    /// The time since some start, which no setting of the wall clock moves. For spans, never for what is stored.
    fn elapsed(&self) -> Duration;
}

/// A source of unguessable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy {
    /// 16 bytes, as ids take them.
    pub fn id(&self) -> [u8; 16] {
        self.bytes()
    }

    /// Some bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// An endless stream of bytes, taken from the source in blocks.
    pub fn stream(&self) -> impl FnMut() -> u8 {
        let mut block = [0_u8; 48];
        let mut at = block.len();
        move || {
            if at == block.len() {
                self.fill(&mut block);
                at = 0;
            }
            at += 1;
            std::mem::take(&mut block[at - 1])
        }
    }
}

/// The operating system's clock.
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    #[allow(clippy::new_without_default, reason = "a clock that starts to run is no default value")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's generator. Ids are taken from a block that is fetched at once: a verification needs two, and a
/// system call each would cost it more than the decision.
pub struct SystemEntropy;

/// Most bytes that are taken from the block; secrets are longer, and come fresh.
const SMALL: usize = 16;

thread_local! {
    /// A thread's block, and how much of it is given out.
    static BLOCK: RefCell<([u8; 1024], usize)> = const { RefCell::new(([0; 1024], 1024)) };
}

impl Entropy for SystemEntropy {
    #[allow(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "this is the door; without randomness nothing may go on"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        let from_the_system =
            |bytes: &mut [u8]| getrandom::fill(bytes).expect("the operating system gives random bytes");
        if bytes.len() > SMALL {
            return from_the_system(bytes);
        }
        BLOCK.with_borrow_mut(|(block, at)| {
            if *at + bytes.len() > block.len() {
                from_the_system(block);
                *at = 0;
            }
            let taken = &mut block[*at..*at + bytes.len()];
            bytes.copy_from_slice(taken);
            // Nothing that was given out stays behind.
            taken.fill(0);
            *at += bytes.len();
        });
    }
}
