//! Time and randomness are handed in, so that tests move the one and foresee the other. The only place that asks
//! the operating system for either.

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

/// The operating system's generator.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "this is the door; without randomness nothing may go on"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
