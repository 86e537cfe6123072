//! The bytes that seals are made over: the fields of a row as a JSON array, which reads the same in every release; and
//! how bytes are shown.

use serde::Serialize;

/// The fields, as a tuple, in bytes.
pub(crate) fn bytes(fields: &impl Serialize) -> Vec<u8> {
    // Only numbers, text, truth values and bytes are sealed, and writing those to memory can't fail; should it ever,
    // a panic refuses the write, where empty bytes would seal anything.
    serde_json::to_vec(fields).unwrap_or_else(|error| panic!("plain fields are JSON: {error}"))
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
