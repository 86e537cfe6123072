//! From a secret to what is stored of it, and seals over stored rows.
//!
//! digest = HMAC-SHA-256(pepper, SHA-256(secret)). A fast hash is right, since a secret carries 190 random bits; the
//! pepper, which never lies in the database, makes a stolen database useless even for weak imported keys.

use hmac::{Hmac, KeyInit, Mac};
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What is stored of a secret.
pub type Digest = [u8; 32];
/// The version of the pepper that made it, then an HMAC-SHA-256.
pub type Seal = [u8; 33];

/// What a seal is made over; a seal of one kind is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A workspace's row.
    Workspace,
    /// A person's row.
    Member,
    /// A service account's row.
    Account,
    /// A key's row.
    Key,
    /// A row of the audit log, with the seal before it.
    Audit,
    /// A group's row.
    Group,
    /// A resource's row, with what is shared of it.
    Resource,
    /// An invite's row.
    Invite,
    /// A webhook's row.
    Webhook,
}

impl Label {
    const ALL: [Self; 9] = [
        Self::Workspace,
        Self::Member,
        Self::Account,
        Self::Key,
        Self::Audit,
        Self::Group,
        Self::Resource,
        Self::Invite,
        Self::Webhook,
    ];

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Workspace => b"workspace",
            Self::Member => b"member",
            Self::Account => b"account",
            Self::Key => b"key",
            Self::Audit => b"audit",
            Self::Group => b"group",
            Self::Resource => b"resource",
            Self::Invite => b"invite",
            Self::Webhook => b"webhook",
        }
    }
}

/// The peppers of an installation: the newest makes digests and seals, older ones still check theirs, so that a
/// pepper can be changed without re-issuing a key.
pub struct Ring {
    /// Newest first; never empty.
    peppers: Vec<Pepper>,
}

struct Pepper {
    version: u8,
    digests: ShortHmac,
    /// Likewise for each [`Label`], since every row is checked when the mirror is filled.
    seals: [Hmac<Sha256>; Label::ALL.len()],
    root: Zeroizing<[u8; 32]>,
}

impl Ring {
    /// A ring of versioned peppers, in any order. `None` if there is none, or two of one version.
    pub fn new(peppers: impl IntoIterator<Item = (u8, [u8; 32])>) -> Option<Self> {
        let mut peppers: Vec<_> = peppers
            .into_iter()
            .map(|(version, root)| Pepper {
                version,
                digests: ShortHmac::new(&derive(&root, b"stead digest")),
                seals: Label::ALL.map(|label| keyed(&derive(&root, label.name()))),
                root: Zeroizing::new(root),
            })
            .collect();
        peppers.sort_by_key(|pepper| std::cmp::Reverse(pepper.version));
        let unique = peppers.windows(2).all(|pair| pair[0].version != pair[1].version);
        (unique && !peppers.is_empty()).then_some(Self { peppers })
    }

    /// The version that new digests are made with, and the digest.
    pub fn digest(&self, secret: &str) -> (u8, Digest) {
        let newest = &self.peppers[0];
        (newest.version, newest.digests.of(&sha256(secret)))
    }

    /// The digests a secret may be stored under, newest pepper first.
    pub fn digests(&self, secret: &str) -> impl Iterator<Item = Digest> {
        let hash = sha256(secret);
        self.peppers.iter().map(move |pepper| pepper.digests.of(&hash))
    }

    /// A seal over `bytes`.
    pub fn seal(&self, label: Label, bytes: &[u8]) -> Seal {
        self.peppers[0].seal(label, bytes)
    }

    /// Whether `seal` is one that this ring made over `bytes` under `label`.
    pub fn is_sealed(&self, label: Label, bytes: &[u8], seal: &[u8]) -> bool {
        let made_by = self.peppers.iter().find(|pepper| seal.first() == Some(&pepper.version));
        made_by.is_some_and(|pepper| pepper.seal(label, bytes).as_slice().ct_eq(seal).into())
    }

    /// Keys for another purpose, made from each pepper and `input`, the newest pepper's first.
    pub fn derived(&self, label: &str, input: &[u8]) -> impl Iterator<Item = Zeroizing<[u8; 32]>> {
        self.peppers.iter().map(move |pepper| {
            let mut mac = keyed(&derive(&pepper.root, label.as_bytes()));
            mac.update(input);
            Zeroizing::new(mac.finalize().into_bytes().into())
        })
    }

    /// The one made from the newest pepper.
    pub fn derive(&self, label: &str, input: &[u8]) -> Zeroizing<[u8; 32]> {
        self.derived(label, input).next().unwrap_or_else(|| unreachable!("a ring is never empty"))
    }
}

impl Pepper {
    fn seal(&self, label: Label, bytes: &[u8]) -> Seal {
        let mut mac = self.seals[label as usize].clone();
        mac.update(bytes);
        let mut seal = [self.version; 33];
        seal[1..].copy_from_slice(&mac.finalize().into_bytes());
        seal
    }
}

/// HMAC-SHA-256 of exactly 32 bytes, with what depends on the key alone done ahead: two compressions, where the general
/// one takes as long again to buffer and to copy (RFC 2104, RFC 6234).
struct ShortHmac {
    inner: [u32; 8],
    outer: [u32; 8],
}

/// Where SHA-256 begins (FIPS 180-4 §5.3.3).
const BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// What fits into one block beside its padding.
const ONE_BLOCK: usize = 55;

impl ShortHmac {
    fn new(key: &[u8; 32]) -> Self {
        let keyed = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = BEGIN;
            compress256(&mut state, &[block]);
            state
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    fn of(&self, message: &Digest) -> Digest {
        let inner = last_block(self.inner, message, 96);
        last_block(self.outer, &inner, 96)
    }
}

/// SHA-256. A secret is one block (its form sees to that), for which the general function buffers more than it hashes.
fn sha256(text: &str) -> Digest {
    if text.len() <= ONE_BLOCK { last_block(BEGIN, text.as_bytes(), text.len()) } else { Sha256::digest(text).into() }
}

/// Ends a hash with a block of at most 55 bytes, which are the last of `length`.
fn last_block(mut state: [u32; 8], bytes: &[u8], length: usize) -> Digest {
    let mut block = [0; 64];
    block[..bytes.len()].copy_from_slice(bytes);
    block[bytes.len()] = 0x80;
    block[56..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    compress256(&mut state, &[block]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.peppers.iter().map(|pepper| pepper.version).collect();
        write!(f, "Ring{versions:?}")
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    KeyInit::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

fn derive(root: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut mac: Hmac<Sha256> =
        KeyInit::new_from_slice(root).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(label);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_pepper_makes_other_digests_and_still_knows_the_old_ones() {
        let old = Ring::new([(1, [7; 32])]).unwrap();
        let both = Ring::new([(1, [7; 32]), (2, [9; 32])]).unwrap();
        let (version, digest) = both.digest("secret");
        assert_eq!(version, 2);
        assert_ne!(digest, old.digest("secret").1);
        assert_eq!(both.digests("secret").collect::<Vec<_>>(), [digest, old.digest("secret").1]);
        assert!(both.is_sealed(Label::Key, b"bytes", &old.seal(Label::Key, b"bytes")));
    }

    #[test]
    fn what_is_hashed_in_one_block_is_hashed_by_the_book() {
        for length in 0..130_u8 {
            let text: String =
                (0..length).map(|place| char::from(b'!' + place.wrapping_mul(37).wrapping_add(length) % 90)).collect();
            let hash: Digest = Sha256::digest(&text).into();
            assert_eq!(sha256(&text), hash, "{length}");
            let key = [length; 32];
            let mut book = keyed(&key);
            book.update(&hash);
            assert_eq!(ShortHmac::new(&key).of(&hash)[..], book.finalize().into_bytes()[..], "{length}");
        }
    }

    #[test]
    fn a_seal_fits_only_its_bytes_its_label_and_its_pepper() {
        let ring = Ring::new([(1, [7; 32])]).unwrap();
        let seal = ring.seal(Label::Key, b"bytes");
        assert!(ring.is_sealed(Label::Key, b"bytes", &seal));
        assert!(!ring.is_sealed(Label::Key, b"bytez", &seal));
        assert!(!ring.is_sealed(Label::Audit, b"bytes", &seal));
        assert!(!ring.is_sealed(Label::Key, b"bytes", &seal[..32]));
        assert!(!ring.is_sealed(Label::Key, b"bytes", &[]));
        assert!(!Ring::new([(1, [8; 32])]).unwrap().is_sealed(Label::Key, b"bytes", &seal));
    }

    #[test]
    fn a_ring_needs_a_pepper_and_no_two_of_one_version() {
        assert!(Ring::new([]).is_none());
        assert!(Ring::new([(1, [1; 32]), (1, [2; 32])]).is_none());
    }
}
