//! The secret: the full string of an API key.
//!
//! Form: `stead_<6 tag><32 random><6 check>` in base62. The tag is the workspace's random routing tag, the 32
//! characters carry 190 bits from the operating system, the check is the CRC-32 of everything before it, so that a
//! mistyped or made-up string is refused without hashing or looking up.
//!
//! Scanners find one with [`SCANNER_PATTERN`] and tell a real one by the check.

use crate::id::BASE62;
use serde::{Deserialize, Deserializer, Serializer};
use std::fmt;
use zeroize::Zeroize;

/// The regular expression for secret scanners, for the default prefix. The check makes false positives vanish.
pub const SCANNER_PATTERN: &str = r"\bstead_[0-9A-Za-z]{44}\b";
/// What the operator's credential begins with. Under the default prefix no key can begin so: its form is another.
pub const OPERATOR_PREFIX: &str = "stead_operator_";
/// The prefix of a fresh installation, without the underscore.
pub const DEFAULT_PREFIX: &str = "stead";
/// Our own form must stay within one SHA-256 block with its padding.
pub const MAX_NATIVE_LENGTH: usize = 55;
/// Longest string taken for a key at all; foreign forms (imported, or an admin key from the environment) may use it.
pub const MAX_LENGTH: usize = 256;

const TAG: usize = 6;
const RANDOM: usize = 32;
const CHECK: usize = 6;

/// A secret in the clear. Prints as `[secret]`, is wiped when dropped, and has one door out.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a string that is a secret from here on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The one door out. Whoever calls it answers for where the text goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters, which lists show so that a person can tell keys apart.
    pub fn hint(&self) -> String {
        let start = self.0.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        self.0[start..].to_owned()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// Writes a secret into a response or a request. `Secret` itself is not `Serialize`, so each field that may
/// carry one names this function.
pub(crate) fn reveal<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// What a string presented as a key looks like, before any hashing.
#[derive(Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// Our own form with a right check; `tag` names the workspace that made it.
    Native {
        /// The workspace's routing tag.
        tag: &'a str,
    },
    /// Does not begin with our prefix: may be an imported key or an admin key from the environment.
    Foreign,
}

/// Why a string can't be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing there.
    Empty,
    /// Longer than [`MAX_LENGTH`] bytes.
    TooLong,
    /// Has a character outside printable ASCII, or a blank.
    NotPrintableAscii,
    /// Begins with our prefix, but isn't as long as our keys are.
    WrongLength,
    /// Begins with our prefix, but has a character outside base62.
    NotBase62,
    /// Begins with our prefix, but the check doesn't fit: mistyped, cut or made up.
    WrongCheck,
}

/// The form of an installation's secrets: the prefix is a setting.
#[derive(Clone, Debug)]
pub struct Format {
    /// With the underscore.
    prefix: Box<str>,
}

impl Format {
    /// A form with the given prefix (without underscore): 1–10 lower-case letters or digits, so that the whole
    /// stays within [`MAX_NATIVE_LENGTH`]. `None` if it is not that.
    pub fn new(prefix: &str) -> Option<Self> {
        let fits = (1..=MAX_NATIVE_LENGTH - 1 - TAG - RANDOM - CHECK).contains(&prefix.len());
        let plain = prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (fits && plain).then(|| Self { prefix: format!("{prefix}_").into() })
    }

    /// A new secret. `random` is a stream of random bytes, of which about 33 are taken: bytes that would
    /// make some characters likelier than others are passed over.
    pub fn mint(&self, tag: &str, mut random: impl FnMut() -> u8) -> Secret {
        debug_assert_eq!(tag.len(), TAG);
        let mut text = String::with_capacity(MAX_NATIVE_LENGTH);
        text.push_str(&self.prefix);
        text.push_str(tag);
        text.extend((0..RANDOM).map(|_| base62_digit(&mut random)));
        text.extend(check(&text).map(char::from));
        Secret(text)
    }

    /// A random routing tag for a new workspace.
    pub fn tag(mut random: impl FnMut() -> u8) -> String {
        (0..TAG).map(|_| base62_digit(&mut random)).collect()
    }

    /// The text with everything in it that looks like a secret of ours blotted out: free text goes to places where none
    /// may be.
    pub fn redacted(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(&*self.prefix) {
            let (before, found) = rest.split_at(at);
            clean.push_str(before);
            let end = self.prefix.len() + run(&found[self.prefix.len()..]);
            clean.push_str(if end > self.prefix.len() + RANDOM { "[secret]" } else { &found[..end] });
            rest = &found[end..];
        }
        clean.push_str(rest);
        clean
    }

    /// What `text` looks like; see [`Form`] and [`Malformed`].
    pub fn inspect<'a>(&self, text: &'a str) -> Result<Form<'a>, Malformed> {
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(Malformed::TooLong);
        }
        // Looking at every byte, without stopping at the first that is wrong, takes a few instructions for all of them.
        if !text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic()) {
            return Err(Malformed::NotPrintableAscii);
        }
        let Some(rest) = text.strip_prefix(&*self.prefix) else {
            return Ok(Form::Foreign);
        };
        if rest.len() != TAG + RANDOM + CHECK {
            return Err(Malformed::WrongLength);
        }
        if !rest.bytes().fold(true, |all, byte| all & byte.is_ascii_alphanumeric()) {
            return Err(Malformed::NotBase62);
        }
        let (body, given) = text.split_at(text.len() - CHECK);
        if check(body) != given.as_bytes() {
            return Err(Malformed::WrongCheck);
        }
        Ok(Form::Native { tag: &rest[..TAG] })
    }
}

/// How long the run of base62 digits is that a text begins with.
fn run(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphanumeric).count()
}

/// A new credential for the operator, as strong as a key's secret. `random` as for [`Format::mint`].
pub fn mint_operator(mut random: impl FnMut() -> u8) -> Secret {
    let mut text = String::with_capacity(MAX_NATIVE_LENGTH);
    text.push_str(OPERATOR_PREFIX);
    text.extend((0..RANDOM).map(|_| base62_digit(&mut random)));
    text.extend(check(&text).map(char::from));
    Secret(text)
}

impl Default for Format {
    fn default() -> Self {
        Self { prefix: format!("{DEFAULT_PREFIX}_").into() }
    }
}

/// The last six characters: CRC-32 (IEEE) of all before them.
fn check(body: &str) -> [u8; CHECK] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// One unbiased base62 digit: a byte of 248 and over would favour the first digits, so the next is taken.
fn base62_digit(random: &mut impl FnMut() -> u8) -> char {
    loop {
        let byte = random();
        if byte < 248 {
            return char::from(BASE62[usize::from(byte % 62)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minted() -> String {
        let mut byte = 7_u8;
        let secret = Format::default().mint("aB3dE6", || {
            byte = byte.wrapping_mul(31).wrapping_add(17);
            byte
        });
        secret.expose().to_owned()
    }

    #[test]
    fn a_minted_secret_is_native_and_names_its_workspace() {
        let text = minted();
        assert_eq!(text.len(), 50);
        assert_eq!(Format::default().inspect(&text), Ok(Form::Native { tag: "aB3dE6" }));
    }

    #[test]
    fn every_prefix_extension_and_one_character_change_is_refused() {
        let (text, format) = (minted(), Format::default());
        for end in "stead_".len()..text.len() {
            assert_eq!(format.inspect(&text[..end]), Err(Malformed::WrongLength));
        }
        assert_eq!(format.inspect(&format!("{text}0")), Err(Malformed::WrongLength));
        for at in "stead_".len()..text.len() {
            for digit in BASE62.iter().map(|&b| char::from(b)) {
                let mut changed: Vec<char> = text.chars().collect();
                if changed[at] != digit {
                    changed[at] = digit;
                    let changed: String = changed.into_iter().collect();
                    assert_eq!(format.inspect(&changed), Err(Malformed::WrongCheck), "{at}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        let format = Format::default();
        assert_eq!(format.inspect(""), Err(Malformed::Empty));
        assert_eq!(format.inspect(&"x".repeat(257)), Err(Malformed::TooLong));
        assert_eq!(format.inspect("with a blank"), Err(Malformed::NotPrintableAscii));
        assert_eq!(format.inspect("schlüssel"), Err(Malformed::NotPrintableAscii));
        assert_eq!(format.inspect(&format!("stead_{}", "-".repeat(44))), Err(Malformed::NotBase62));
        assert_eq!(format.inspect("sk_0123456789abcdef"), Ok(Form::Foreign));
    }

    #[test]
    fn a_secret_prints_as_nothing_and_hints_at_its_end() {
        let secret = Secret::new("stead_abcdwxyz");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.hint(), "wxyz");
    }

    #[test]
    fn the_operators_credential_is_no_key() {
        let mut byte = 0_u8;
        let credential = mint_operator(|| {
            byte = byte.wrapping_mul(31).wrapping_add(17);
            byte
        });
        assert_eq!(credential.expose().len(), 53);
        assert_eq!(Format::default().inspect(credential.expose()), Err(Malformed::WrongLength));
    }

    #[test]
    fn secrets_are_blotted_out_of_free_text() {
        let (text, format) = (minted(), Format::default());
        assert_eq!(
            format.redacted(&format!("https://h/{text}?a=stead_1&b={text}")),
            "https://h/[secret]?a=stead_1&b=[secret]"
        );
        for plain in ["", "stead_", "a stead_fast friend", "schlüssel stead_ä"] {
            assert_eq!(format.redacted(plain), plain);
        }
    }

    #[test]
    fn a_prefix_must_leave_room_for_one_hash_block() {
        assert!(Format::new("acme").is_some());
        for bad in ["", "elevenchars", "Acme", "a_b", "ä"] {
            assert!(Format::new(bad).is_none(), "{bad}");
        }
    }
}
