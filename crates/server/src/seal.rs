//! The bytes that seals are made over: the fields of a row as a JSON array, which reads the same in every release; how
//! bytes are shown; and secrets that are stored encrypted.

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

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Failure> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| Failure::Defect("an AES key of 32 bytes".into()))
}

/// Encrypts what must be readable again, under a key made from the pepper. `nonce` is random.
pub(crate) fn encrypt(key: &[u8; 32], nonce: [u8; NONCE_LEN], text: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut text = text.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
        .map_err(|_| Failure::Defect("a secret could not be sealed".into()))?;
    Ok([nonce.as_slice(), &text].concat())
}

/// The text; `None` if it was encrypted with another key, or is not whole.
pub(crate) fn decrypt(key: &[u8; 32], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let opened = cipher(key).ok()?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text).ok()?;
    Some(Zeroizing::new(opened.to_vec()))
}
