//! The form in which counts are stored: many in one block, since a row for each key and minute would cost more than the
//! verifications themselves. Pure: bytes in, counts out; whatever is not as [`encode`] writes it is refused.
//!
//! A block is a version, then the keys in ascending order, each with the number of its entries and the entries, then a
//! CRC-32 of all before it. An entry is how many units of time after the one before it, the outcome, the count, the
//! credits; a key's entries ascend by unit and outcome. Numbers are little-endian in groups of seven bits.

use std::ops::AddAssign;

/// The form that is written. Another one is refused, not guessed at.
const VERSION: u8 = 1;
/// A block ends with the key that reaches this, so that none is longer than 256 KiB: a key has at most some 16 KiB.
const FULL: usize = 192 * 1024;
const CHECK: usize = 4;

/// How many, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Totals {
    /// Decisions.
    pub count: u64,
    /// Credits that were charged.
    pub credits: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.credits = self.credits.saturating_add(other.credits);
    }
}

/// The decisions of one outcome about one key in one unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The bits of the key's id, or one of the numbers that stand for no key.
    pub key: u128,
    /// Which unit of the block's span.
    pub unit: u16,
    /// The number of an outcome.
    pub outcome: u8,
    /// How many.
    pub totals: Totals,
}

impl Cell {
    fn place(&self) -> (u128, u16, u8) {
        (self.key, self.unit, self.outcome)
    }
}

/// Bytes that are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Puts cells in order, and adds up those of the same place.
pub fn gather(cells: &mut Vec<Cell>) {
    cells.sort_unstable_by_key(Cell::place);
    cells.dedup_by(|next, kept| {
        let is_same = next.place() == kept.place();
        if is_same {
            kept.totals += next.totals;
        }
        is_same
    });
}

/// Gathered cells as blocks.
pub fn encode(cells: &[Cell]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut block = vec![VERSION];
    for run in cells.chunk_by(|a, b| a.key == b.key) {
        block.extend_from_slice(&run[0].key.to_be_bytes());
        write(&mut block, run.len() as u64);
        let mut before = 0;
        for cell in run {
            write(&mut block, u64::from(cell.unit - before));
            block.push(cell.outcome);
            write(&mut block, cell.totals.count);
            write(&mut block, cell.totals.credits);
            before = cell.unit;
        }
        if block.len() >= FULL {
            blocks.push(std::mem::replace(&mut block, vec![VERSION]));
        }
    }
    if block.len() > 1 {
        blocks.push(block);
    }
    for block in &mut blocks {
        let check = crc32fast::hash(block).to_le_bytes();
        block.extend_from_slice(&check);
    }
    blocks
}

/// Appends a block's cells, in order. Of one that is corrupt, none.
pub fn decode(block: &[u8], units: u16, cells: &mut Vec<Cell>) -> Result<(), Corrupt> {
    let start = cells.len();
    let read = read_all(block, units, cells);
    if read.is_none() {
        cells.truncate(start);
    }
    read.ok_or(Corrupt)
}

fn read_all(block: &[u8], units: u16, cells: &mut Vec<Cell>) -> Option<()> {
    let (content, check) = block.split_last_chunk::<CHECK>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*check) {
        return None;
    }
    let (version, mut rest) = content.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut last_key = None;
    while !rest.is_empty() {
        let (key, entries) = rest.split_first_chunk::<16>()?;
        let key = u128::from_be_bytes(*key);
        if last_key.is_some_and(|last| last >= key) {
            return None;
        }
        last_key = Some(key);
        rest = entries;
        let (mut unit, mut last) = (0_u16, None);
        for _ in 0..number(&mut rest)? {
            unit = unit.checked_add(u16::try_from(number(&mut rest)?).ok()?).filter(|unit| *unit < units)?;
            let (outcome, numbers) = rest.split_first()?;
            rest = numbers;
            if last.is_some_and(|last| last >= (unit, *outcome)) {
                return None;
            }
            last = Some((unit, *outcome));
            let totals = Totals { count: number(&mut rest)?, credits: number(&mut rest)? };
            cells.push(Cell { key, unit, outcome: *outcome, totals });
        }
        // A key without an entry would not have been written.
        last?;
    }
    Some(())
}

#[allow(clippy::cast_possible_truncation, reason = "seven bits are cut out on purpose")]
fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn cell() -> impl Strategy<Value = Cell> {
        // Few keys, so that many cells fall on the same place.
        let key = prop_oneof![0..4_u128, any::<u128>()];
        let numbers = prop_oneof![0..3_u64, any::<u64>()];
        (key, 0..60_u16, 0..4_u8, numbers.clone(), numbers).prop_map(|(key, unit, outcome, count, credits)| Cell {
            key,
            unit,
            outcome,
            totals: Totals { count, credits },
        })
    }

    fn decoded(blocks: &[Vec<u8>]) -> Result<Vec<Cell>, Corrupt> {
        let mut cells = Vec::new();
        for block in blocks {
            decode(block, 60, &mut cells)?;
        }
        Ok(cells)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(mut cells in vec(cell(), 0..200)) {
            gather(&mut cells);
            prop_assert_eq!(decoded(&encode(&cells)), Ok(cells));
        }

        #[test]
        fn gathering_loses_nothing(cells in vec(cell(), 0..200)) {
            let total = |cells: &[Cell]| {
                let add = |a: (u128, u128), cell: &Cell| (a.0 + u128::from(cell.totals.count), a.1 + u128::from(cell.totals.credits));
                cells.iter().fold((0, 0), add)
            };
            let small: Vec<_> = cells.iter().map(|cell| {
                let totals = Totals { count: cell.totals.count >> 10, credits: cell.totals.credits >> 10 };
                Cell { totals, ..*cell }
            }).collect();
            let mut gathered = small.clone();
            gather(&mut gathered);
            prop_assert_eq!(total(&gathered), total(&small));
            prop_assert!(gathered.is_sorted_by(|a, b| a.place() < b.place()));
        }

        #[test]
        fn a_changed_byte_or_a_cut_is_refused(mut cells in vec(cell(), 1..50), at in any::<usize>(), flip in 1..=255_u8) {
            gather(&mut cells);
            let block = encode(&cells).remove(0);
            let mut changed = block.clone();
            changed[at % block.len()] ^= flip;
            prop_assert_eq!(decode(&changed, 60, &mut Vec::new()), Err(Corrupt));
            prop_assert_eq!(decode(&block[..at % block.len()], 60, &mut Vec::new()), Err(Corrupt));
        }

        #[test]
        fn any_bytes_with_a_right_check_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200), real in any::<bool>()) {
            if real {
                bytes.insert(0, VERSION);
            }
            bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
            let mut cells = Vec::new();
            if decode(&bytes, 60, &mut cells).is_ok() {
                prop_assert!(cells.is_sorted_by(|a, b| a.place() < b.place()));
                prop_assert!(cells.iter().all(|cell| cell.unit < 60));
            } else {
                prop_assert!(cells.is_empty());
            }
        }
    }

    #[test]
    fn many_keys_make_several_blocks_none_of_them_large() {
        let totals = Totals { count: u64::MAX, credits: u64::MAX };
        let all =
            |key: u128| (0..60).flat_map(move |unit| (0..12).map(move |outcome| Cell { key, unit, outcome, totals }));
        let cells: Vec<_> = (0..50).flat_map(all).collect();
        let blocks = encode(&cells);
        assert!(blocks.len() > 3 && blocks.iter().all(|block| block.len() <= 256 * 1024));
        assert_eq!(decoded(&blocks), Ok(cells));
    }

    #[test]
    fn a_unit_beyond_the_span_is_refused() {
        let block = encode(&[Cell { key: 1, unit: 59, outcome: 0, totals: Totals::default() }]).remove(0);
        assert_eq!(decode(&block, 60, &mut Vec::new()), Ok(()));
        assert_eq!(decode(&block, 24, &mut Vec::new()), Err(Corrupt));
    }
}
