//! The bytes that seals are made over: the fields of a row as a JSON array, which reads the same in every release; what
//! must lie in the store unreadable; and how bytes are shown.

use crate::error::Failure;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::Serialize;
use zeroize::Zeroizing;

/// The fields, as a tuple, in bytes.
pub(crate) fn bytes(fields: &impl Serialize) -> Vec<u8> {
    // Only numbers, text, truth values and bytes are sealed, and writing those to memory can't fail; should it ever,
    // a panic refuses the write, where empty bytes would seal anything.
    serde_json::to_vec(fields).unwrap_or_else(|error| panic!("plain fields are JSON: {error}"))
}

/// Text under a key, bound to `with` (AES-256-GCM). `nonce` is random.
pub(crate) fn lock(key: &[u8; 32], nonce: [u8; NONCE_LEN], with: &[u8], text: &str) -> Result<Vec<u8>, Failure> {
    let mut locked = text.as_bytes().to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(with), &mut locked)
        .map_err(|_| Failure::Defect("a text could not be encrypted".into()))?;
    Ok([nonce.as_slice(), &locked].concat())
}

/// The text again; `None` if the key is another one, or anything was changed.
pub(crate) fn unlock(key: &[u8; 32], with: &[u8], locked: &[u8]) -> Option<Zeroizing<String>> {
    let (nonce, text) = locked.split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let opened = cipher(key).ok()?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(with), &mut text);
    String::from_utf8(opened.ok()?.to_vec()).ok().map(Zeroizing::new)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Failure> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| Failure::Defect("an AES key of 32 bytes".into()))
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
