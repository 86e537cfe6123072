//! The change log: what every committed change leaves behind, so that each node's mirror can follow.
//!
//! A change has a place: a bucket (from its workspace) and a number that follows the order of the commits within the
//! bucket. Answers carry the place as a [`Revision`].
//!
//! - [`mutation`]: the one way to write: state, audit rows and change-log rows in one transaction
//! - [`follow`]: filling the mirror at start, and following other nodes' changes
//! - [`idempotency`]: first outcomes, for retries

pub mod follow;
pub mod idempotency;
pub mod mutation;
mod queries;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use stead_api::id::WorkspaceId;
use tokio::sync::Notify;

/// Rows of the clock: writes of workspaces in different buckets don't wait for each other's commit.
pub const BUCKETS: usize = 16;

/// The place of a committed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    bucket: usize,
    seq: i64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.bucket, self.seq)
    }
}

impl FromStr for Revision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (bucket, seq) = text.split_once('-').ok_or(())?;
        let revision = Self { bucket: bucket.parse().map_err(drop)?, seq: seq.parse().map_err(drop)? };
        // Only the spelling that `Display` gives: `+1` and `01` parse as numbers, too.
        if revision.bucket < BUCKETS && revision.to_string() == text { Ok(revision) } else { Err(()) }
    }
}

/// The bucket of a workspace's changes.
pub fn bucket(workspace: &WorkspaceId) -> usize {
    crc32fast::hash(workspace.as_str().as_bytes()) as usize % BUCKETS
}

/// How far this node's mirror has come.
#[derive(Default)]
pub struct Progress {
    seqs: [AtomicI64; BUCKETS],
    moved: Notify,
    /// When the mirror was last known to be whole, by [`crate::clock::Clock::elapsed`]; milliseconds.
    confirmed: AtomicU64,
    /// Wakes the follower ahead of its next poll.
    pub wake: Notify,
}

impl Progress {
    /// The state of a workspace that the mirror has reached.
    pub fn of(&self, workspace: &WorkspaceId) -> Revision {
        let bucket = bucket(workspace);
        Revision { bucket, seq: self.seqs[bucket].load(Ordering::Acquire) }
    }

    /// How many changes the mirror has reached, all buckets together.
    pub fn sum(&self) -> i64 {
        self.seqs.iter().map(|seq| seq.load(Ordering::Acquire)).sum()
    }

    /// The state of all workspaces that the mirror has reached, to be told of one of them once it is known which.
    pub fn reached(&self) -> Reached {
        Reached(std::array::from_fn(|bucket| self.seqs[bucket].load(Ordering::Acquire)))
    }

    /// Whether the mirror has reached a revision.
    pub fn has(&self, revision: Revision) -> bool {
        self.seqs[revision.bucket].load(Ordering::Acquire) >= revision.seq
    }

    /// Waits until the mirror has reached a revision.
    pub async fn reach(&self, revision: Revision) {
        loop {
            let moved = self.moved.notified();
            if self.has(revision) {
                return;
            }
            self.wake.notify_one();
            moved.await;
        }
    }

    /// For how many seconds the mirror was not known to be whole.
    pub fn staleness(&self, now: Duration) -> u64 {
        now.saturating_sub(Duration::from_millis(self.confirmed.load(Ordering::Relaxed))).as_secs()
    }

    fn confirm(&self, now: Duration) {
        self.confirmed.fetch_max(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes that the mirror is being filled anew from a store that has gone back in time.
    fn restart(&self) {
        self.seqs.iter().for_each(|seq| seq.store(0, Ordering::Release));
    }

    /// Notes that every change of a bucket up to `seq` is in the mirror.
    fn advance(&self, bucket: usize, seq: i64) {
        self.seqs[bucket].fetch_max(seq, Ordering::AcqRel);
        self.moved.notify_waiters();
    }
}

/// How far a mirror had come.
pub struct Reached([i64; BUCKETS]);

impl Reached {
    /// For a workspace.
    pub fn of(&self, workspace: &WorkspaceId) -> Revision {
        let bucket = bucket(workspace);
        Revision { bucket, seq: self.0[bucket] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_as_itself_and_nothing_else_does() {
        let revision = Revision { bucket: 3, seq: 41 };
        assert_eq!(revision.to_string().parse(), Ok(revision));
        for bad in ["", "3", "16-1", "-1-1", "3-", "03-1", "3-+1", "3-x"] {
            assert_eq!(bad.parse::<Revision>(), Err(()), "{bad}");
        }
    }
}
