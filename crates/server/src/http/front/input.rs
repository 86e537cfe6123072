//! What a connection has read and nobody has used yet: one buffer, used again for each request.

/// Where a connection begins: most requests fit, and thousands of idle connections cost little.
const SMALL: usize = 2 * 1024;
/// What an idle connection may keep.
pub(super) const KEPT: usize = 8 * 1024;

/// The bytes between what was used and what was read.
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SMALL], start: 0, end: 0 }
    }

    /// What is there.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Takes bytes out of the middle of what is there.
    pub(super) fn cut(&mut self, at: usize, count: usize) {
        let from = self.start + at;
        self.bytes.copy_within(from + count..self.end, from);
        self.end -= count;
    }

    /// Where to read to; never empty. What was read is told with [`Self::filled`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                // Doubling, not what the head announces: who announces much and sends nothing shall cost nothing.
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Gives back what a large request took. Only while nothing is there.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > KEPT {
            *self = Self::new();
        }
    }
}
