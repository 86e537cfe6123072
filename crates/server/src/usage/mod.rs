//! Usage: how many verifications of which outcome a key had in which minute, and what they cost.
//!
//! - [`counter`]: counting on the path of a decision
//! - [`block`]: the form in which counts are stored
//! - [`flush`]: from memory to the store, every few seconds
//! - [`fold`]: minutes become hours, hours days, and days are forgotten
//! - [`buckets`]: spans of time as people count them, in their zones
//! - [`columns`], [`filter`]: what counts can be told apart and chosen by
//! - [`report`]: questions and their answers as tables; [`stats`]: as series; [`recent`]: about single decisions
//! - [`routes`]: HTTP; [`reading`]: its input
//!
//! Each count is in one place at any time: in the counter, in a block on its way, or in one block of the store. So a
//! question sees it once, whenever it is asked, and folding needs no mark of how far it came.

pub mod block;
pub mod buckets;
pub mod columns;
pub mod counter;
pub mod filter;
pub mod flush;
pub mod fold;
mod queries;
mod reading;
pub mod recent;
pub mod report;
pub mod routes;
pub mod stats;

pub use flush::flush;
pub use fold::fold;

use crate::metrics::Via;
use crate::verify::{Manner, Verdict};
use counter::{Counter, Slot, UNKNOWN};
use flush::Pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use stead_api::verify::DecisionCode;
use stead_verify::index::{KeyIndex, KeyRecord};

/// What this node has counted and not yet told the store.
pub struct Usage {
    counter: Counter,
    pending: Mutex<Vec<Pending>>,
    /// Held by a flush, and shared by questions until they have seen memory and opened the store: meanwhile no count must
    /// move from the one to the other.
    turn: tokio::sync::RwLock<()>,
    node: String,
    seq: AtomicI64,
}

impl Usage {
    /// Of a node that has counted nothing. `node` is never the same for two starts.
    pub fn new(node: String) -> Self {
        Self {
            counter: Counter::default(),
            pending: Mutex::default(),
            turn: tokio::sync::RwLock::default(),
            node,
            seq: AtomicI64::new(1),
        }
    }

    /// Counts a decision about a key, or about a string that is none of the workspace that asks. Calls of Stead's own API
    /// are not counted: they are no verifications that anybody asked for.
    pub fn count(&self, index: &KeyIndex, key: Option<&KeyRecord>, manner: Manner<'_>, verdict: &Verdict) {
        if manner.via == Via::Management {
            return;
        }
        let (workspace, key) = match key {
            Some(key) => (key.workspace_number(), key.bits()),
            None => match manner.within.and_then(|workspace| index.workspace_number(workspace)) {
                Some(workspace) => (workspace, UNKNOWN),
                None => return,
            },
        };
        let credits = if verdict.code == DecisionCode::Valid { verdict.ask.cost } else { 0 };
        let minute = u32::try_from(verdict.at.0 / 60_000_000).unwrap_or(0);
        self.counter.add(Slot { workspace, minute, key, outcome: number(verdict.code) }, credits);
    }

    fn next_seq(&self) -> i64 {
        self.seq.fetch_add(1, Ordering::Relaxed)
    }
}

/// A unit of time in which counts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// For 48 hours.
    Minutes,
    /// For 90 days.
    Hours,
    /// For five years.
    Days,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Minutes, Self::Hours, Self::Days];

    /// Seconds.
    pub const fn unit(self) -> i64 {
        match self {
            Self::Minutes => 60,
            Self::Hours => 3_600,
            Self::Days => 86_400,
        }
    }

    /// How many of them the span of a block has: an hour, a day, four weeks.
    pub const fn units(self) -> u16 {
        match self {
            Self::Minutes => 60,
            Self::Hours => 24,
            Self::Days => 28,
        }
    }

    /// The span of a block, in seconds.
    pub fn span(self) -> i64 {
        self.unit() * i64::from(self.units())
    }

    /// When the span that holds an instant begins.
    pub fn start_of(self, at: i64) -> i64 {
        at - at.rem_euclid(self.span())
    }

    /// Which unit of its span holds an instant.
    pub fn unit_of(self, at: i64) -> u16 {
        u16::try_from(at.rem_euclid(self.span()) / self.unit()).unwrap_or(0)
    }
}

/// The number of an outcome in stored blocks. None is ever given to another outcome.
const fn number(code: DecisionCode) -> u8 {
    match code {
        DecisionCode::Valid => 0,
        DecisionCode::Malformed => 1,
        DecisionCode::NotFound => 2,
        DecisionCode::Revoked => 3,
        DecisionCode::WorkspaceDisabled => 4,
        DecisionCode::AccountDisabled => 5,
        DecisionCode::Disabled => 6,
        DecisionCode::Expired => 7,
        DecisionCode::IpNotAllowed => 8,
        DecisionCode::InsufficientPermissions => 9,
        DecisionCode::RateLimited => 10,
        DecisionCode::UsageExceeded => 11,
        DecisionCode::NoResourceAccess => 12,
    }
}

/// How many numbers there are.
const OUTCOMES: usize = 13;
/// The number of a yes.
const GRANTED: u8 = number(DecisionCode::Valid);

/// The outcomes by their numbers.
const NAMES: [&str; OUTCOMES] = [
    "VALID",
    "MALFORMED",
    "NOT_FOUND",
    "REVOKED",
    "WORKSPACE_DISABLED",
    "ACCOUNT_DISABLED",
    "DISABLED",
    "EXPIRED",
    "IP_NOT_ALLOWED",
    "INSUFFICIENT_PERMISSIONS",
    "RATE_LIMITED",
    "USAGE_EXCEEDED",
    "NO_RESOURCE_ACCESS",
];

/// An outcome by its number; a newer version may have written one that isn't known here.
fn outcome(number: u8) -> &'static str {
    NAMES.get(usize::from(number)).copied().unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_by_the_name_of_its_code() {
        for (place, name) in NAMES.into_iter().enumerate() {
            let code: DecisionCode = serde_json::from_value(name.into()).unwrap();
            assert_eq!(usize::from(number(code)), place, "{name}");
        }
        assert_eq!((outcome(GRANTED), outcome(200)), ("VALID", "UNKNOWN"));
    }

    #[test]
    fn spans_nest() {
        for at in [0, 1_795_348_800, 1_795_348_799, 1_795_348_801] {
            for pair in Resolution::ALL.windows(2) {
                let (fine, coarse) = (pair[0], pair[1]);
                assert_eq!(coarse.span() % fine.span(), 0);
                let start = fine.start_of(at);
                assert!((0..fine.span()).contains(&(at - start)));
                assert_eq!(coarse.start_of(start), coarse.start_of(start + fine.span() - 1));
                assert_eq!((at - start) / fine.unit(), i64::from(fine.unit_of(at)));
            }
        }
    }
}
