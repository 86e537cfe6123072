//! A list that only grows, and whose items are read without a lock: items never move, so a reference stays good.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Items of the first chunk; each further one holds twice as many as the one before.
const FIRST: u32 = 64;
const CHUNKS: usize = 26;

/// The list. Whoever adds to it takes turns with the others who do.
pub(super) struct Appended<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    length: AtomicU32,
}

impl<T> Default for Appended<T> {
    fn default() -> Self {
        Self { chunks: std::array::from_fn(|_| OnceLock::new()), length: AtomicU32::new(0) }
    }
}

impl<T> Appended<T> {
    /// The item at a place that [`Appended::push`] gave.
    pub(super) fn get(&self, place: u32) -> Option<&T> {
        let (chunk, within) = locate(place);
        self.chunks.get(chunk)?.get()?.get(within)?.get()
    }

    /// Adds an item; its place.
    pub(super) fn push(&self, item: T) -> u32 {
        let place = self.length.load(Ordering::Relaxed);
        let (chunk, within) = locate(place);
        let items = self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
        // Empty, since places are given once.
        let _: Result<(), T> = items[within].set(item);
        self.length.store(place + 1, Ordering::Release);
        place
    }

    /// Every item.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.length.load(Ordering::Acquire)).filter_map(|place| self.get(place))
    }
}

/// The chunk of a place, and the place within it.
fn locate(place: u32) -> (usize, usize) {
    let shifted = u64::from(place) + u64::from(FIRST);
    let chunk = shifted.ilog2() - FIRST.ilog2();
    (chunk as usize, (shifted - (u64::from(FIRST) << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_at_its_place() {
        let list = Appended::default();
        for number in 0..1000_u32 {
            assert_eq!(list.push(number), number);
        }
        assert!((0..1000).all(|place| list.get(place) == Some(&place)));
        assert_eq!((list.get(1000), list.get(u32::MAX)), (None, None));
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }
}
