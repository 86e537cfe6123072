//! Recent decisions, so that an admin who has a `decision_id` can ask why: every denial of a known key or asked about by a
//! workspace, and a sample of the grants, of this node, until newer ones take their place. Kept as the facts they were made by; the trail is made when it is
//! asked for.

use super::Verdict;
use crate::feed::{BUCKETS, bucket};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use stead_api::id::WorkspaceId;
use stead_api::verify::DecisionCode;

/// Most decisions of a bucket of workspaces: a flood of denials in one leaves the others' alone.
const MOST: usize = 1024;
/// One grant of so many is kept.
const SAMPLE: u128 = 256;

/// The ring.
#[derive(Default)]
pub struct Decisions([Mutex<VecDeque<Kept>>; BUCKETS]);

struct Kept {
    workspace: WorkspaceId,
    decision: Box<PastVerdict>,
}

/// A decision as it is kept.
#[derive(Clone)]
pub struct PastVerdict {
    /// What was found.
    pub verdict: Verdict,
    /// Type and id of the resource asked about.
    pub resource: Option<(String, String)>,
}

/// Whether a decision is one of those that are kept. Its id is random, so it draws the sample.
pub fn is_kept(verdict: &Verdict) -> bool {
    verdict.code != DecisionCode::Valid || verdict.decision.is_multiple_of(SAMPLE)
}

impl Decisions {
    /// Keeps a decision about a workspace's key, or about an unknown one that the workspace asked about.
    pub fn note(&self, workspace: &WorkspaceId, verdict: &Verdict, resource: Option<(&str, &str)>) {
        let resource = resource.map(|(kind, id)| (kind.to_owned(), id.to_owned()));
        let decision = Box::new(PastVerdict { verdict: verdict.clone(), resource });
        let kept = Kept { workspace: workspace.clone(), decision };
        let mut ring = self.0[bucket(workspace)].lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == MOST {
            ring.pop_front();
        }
        ring.push_back(kept);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.iter().map(|ring| ring.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A decision of a workspace, if it is still kept.
    pub fn find(&self, workspace: &WorkspaceId, decision: u128) -> Option<PastVerdict> {
        let ring = self.0[bucket(workspace)].lock().unwrap_or_else(PoisonError::into_inner);
        let kept =
            ring.iter().rev().find(|kept| kept.decision.verdict.decision == decision && kept.workspace == *workspace);
        kept.map(|kept| (*kept.decision).clone())
    }

    /// The latest decisions of a workspace, the newest first.
    pub fn latest(&self, workspace: &WorkspaceId, count: usize) -> Vec<PastVerdict> {
        let ring = self.0[bucket(workspace)].lock().unwrap_or_else(PoisonError::into_inner);
        let ours = ring.iter().rev().filter(|kept| kept.workspace == *workspace);
        ours.take(count).map(|kept| (*kept.decision).clone()).collect()
    }
}
