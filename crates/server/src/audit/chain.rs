//! Whether a log is as it was written: a walk over its rows, without a store, so that it can be tried on any rows.

use super::AuditRow;
use stead_api::audit::AuditHead;
use stead_verify::pepper::{Label, Ring};

/// Most problems that are told one by one: a log that is broken throughout would fill the memory.
pub const MOST: usize = 100;

/// A walk under way.
#[derive(Clone)]
pub struct Chain<'a> {
    ring: &'a Ring,
    workspace: &'a str,
    /// A head that was saved earlier, which the log must still hold.
    saved: Option<&'a AuditHead>,
    seq: i64,
    head: Vec<u8>,
    told: usize,
    problems: Vec<String>,
}

impl<'a> Chain<'a> {
    /// A walk that begins before a workspace's first row.
    pub fn new(ring: &'a Ring, workspace: &'a str, saved: Option<&'a AuditHead>) -> Self {
        Self { ring, workspace, saved, seq: 0, head: Vec::new(), told: 0, problems: Vec::new() }
    }

    /// The next row, in the order of their numbers.
    pub fn take(&mut self, row: &AuditRow) {
        self.seq = self.seq.saturating_add(1);
        if row.seq != self.seq {
            self.tell(&format!("row {} is missing", self.seq));
            self.seq = row.seq;
            // What stood between is unknown, so this row's seal, which covers the one before it, can't be checked.
        } else if !self.ring.is_sealed(Label::Audit, &row.sealed_bytes(self.workspace, &self.head), &row.hash) {
            self.tell(&format!("row {} was edited or replaced", self.seq));
        }
        if let Some(saved) = self.saved.filter(|saved| saved.seq == row.seq)
            && saved.hash != crate::seal::hex(&row.hash)
        {
            self.tell(&format!("row {} is another than when the head was saved", row.seq));
        }
        self.head.clone_from(&row.hash);
    }

    /// Whether something is wrong already.
    pub fn is_broken(&self) -> bool {
        self.told > 0
    }

    /// Ends the walk: the last row must be the one that the workspace's own row names. Tells what is wrong; nothing if
    /// the log is whole.
    pub fn end(mut self, seq: i64, head: &[u8]) -> Vec<String> {
        if (self.seq, &*self.head) != (seq, head) {
            self.tell(&format!("ends at row {}, but row {seq} was its end", self.seq));
        }
        if let Some(saved) = self.saved.filter(|saved| saved.seq > self.seq) {
            self.tell(&format!("ends at row {}, but had {} rows when the head was saved", self.seq, saved.seq));
        }
        if self.told > self.problems.len() {
            let more = self.told - self.problems.len();
            self.problems
                .push(format!("audit log of {}: {more} more rows are not as they were written", self.workspace));
        }
        self.problems
    }

    fn tell(&mut self, what: &str) {
        self.told += 1;
        if self.problems.len() < MOST {
            self.problems.push(format!("audit log of {}: {what}", self.workspace));
        }
    }
}
