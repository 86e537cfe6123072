//! Ids: a short prefix that says what it names, then 22 base62 characters made from 128 random bits.
//!
//! Only `[A-Za-z0-9_]` appears, since the official Python SDK doesn't encode path segments (wire §1).

use serde::{Deserialize, Serialize};
use std::fmt;

/// `0-9A-Za-z`, the alphabet of ids and secrets.
pub(crate) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The 22 digits of a value, most significant first.
pub const DIGITS: usize = 22;

/// A value as the digits of an id. Dividing 128 bits is dear, so that is done twice, and the rest in words of 32 bits,
/// half of which don't wait for the others.
#[allow(clippy::cast_possible_truncation, reason = "remainders of numbers that fit")]
pub fn digits(value: u128) -> [u8; DIGITS] {
    const TEN: u128 = 62_u128.pow(10);
    let (rest, low) = (value / TEN, value % TEN);
    let (high, middle) = (rest / TEN, rest % TEN);
    let mut digits = [b'0'; DIGITS];
    digits[0] = BASE62[(high / 62) as usize % 62];
    digits[1] = BASE62[(high % 62) as usize];
    ten(&mut digits[2..12], middle as u64);
    ten(&mut digits[12..], low as u64);
    digits
}

#[allow(clippy::cast_possible_truncation, reason = "remainders of numbers that fit")]
fn ten(digits: &mut [u8], value: u64) {
    const FIVE: u64 = 62_u64.pow(5);
    let (high, low) = digits.split_at_mut(5);
    five(high, (value / FIVE) as u32);
    five(low, (value % FIVE) as u32);
}

fn five(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
}

/// The value that [`digits`] writes so, if it does.
fn value(text: &[u8]) -> Option<u128> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    };
    if text.len() != DIGITS {
        return None;
    }
    text.iter().try_fold(0_u128, |value, byte| value.checked_mul(62)?.checked_add(digit(byte)?.into()))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// A new id from 16 random bytes.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                let mut text = String::with_capacity($prefix.len() + DIGITS);
                text.push_str($prefix);
                text.extend(digits(u128::from_le_bytes(bytes)).map(char::from));
                Self(text.into())
            }

            /// What the id begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id with these 128 bits.
            pub fn from_bits(bits: u128) -> Self {
                Self::from_random(bits.to_le_bytes())
            }

            /// The 128 bits of an id that this program made; `None` for any other text.
            pub fn bits(&self) -> Option<u128> {
                value(self.0.strip_prefix($prefix)?.as_bytes())
            }

            /// The id as it goes over the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            /// Takes any text: an id that a caller typed is looked up, and not found if it is none.
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

ids! {
    /// A tenant.
    WorkspaceId = "ws_";
    /// A member of a workspace: a person or a service account. The wire calls a service account's own
    /// id `service_account_user_id`, so the two share one space of ids.
    PrincipalId = "usr_";
    /// The record of an API key, never its secret.
    KeyId = "key_";
    /// A key and all its successors by rotation.
    LineageId = "lin_";
    /// A group of members.
    GroupId = "grp_";
    /// Somebody who was asked to join.
    InviteId = "inv_";
    /// A mail that waits to be sent.
    MailId = "mai_";
    /// A thing of the platform's own that got no id of its own.
    ResourceId = "res_";
    /// A webhook.
    WebhookId = "whk_";
    /// Something that webhooks are told of.
    EventId = "evt_";
    /// One row of the audit log.
    AuditId = "aud_";
    /// One verification, so that an admin can ask about it later.
    DecisionId = "dec_";
    /// One HTTP request.
    RequestId = "req_";
    /// A running server, among those that share a store.
    NodeId = "nod_";
    /// A place among those that a concurrency limit allows.
    LeaseId = "lea_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_22_characters() {
        assert_eq!(KeyId::from_random([0; 16]).as_str(), "key_0000000000000000000000");
        assert_eq!(KeyId::from_random([255; 16]).as_str(), "key_7n42DGM5Tflk9n8mt7Fhc7");
    }

    #[test]
    fn an_id_gives_its_bits_back_and_other_text_gives_none() {
        for bits in [0, 1, 61, 62, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            assert_eq!(KeyId::from_bits(bits).bits(), Some(bits));
        }
        for text in [
            "",
            "key_",
            "key_1",
            "usr_0000000000000000000000",
            "key_000000000000000000000-",
            "key_zzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(KeyId::from(text).bits(), None, "{text}");
        }
    }
}
