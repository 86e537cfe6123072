//! The headers that a webhook may send along.

/// Most of them.
pub const MAX_HEADERS: usize = 20;
/// Longest name and value, in bytes.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 2048;

/// What the message itself is made of, what belongs to one connection, and what is ours to say.
const TAKEN: [&str; 15] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "elevenlabs-signature",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header's name in lower case; `None` if it can't be sent along.
pub fn name(text: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = text.to_ascii_lowercase();
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_token);
    let free = !TAKEN.contains(&&*name) && !name.starts_with("x-stead-");
    (fits && free).then_some(name)
}

/// Whether a value can be sent: printable ASCII, blanks only within. Above all no line break.
pub fn is_value(text: &str) -> bool {
    text.len() <= MAX_VALUE
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_sent_along() {
        assert_eq!(name("Authorization").as_deref(), Some("authorization"));
        assert_eq!(name("X-Own_Header.1").as_deref(), Some("x-own_header.1"));
        for bad in [
            "",
            " ",
            "a b",
            "a:",
            "a\r\n",
            "ä",
            "Host",
            "CONTENT-LENGTH",
            "ElevenLabs-Signature",
            "X-Stead-Event-Id",
            "te",
            "a\0",
        ] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        assert!(name(&"x".repeat(128)).is_some() && name(&"x".repeat(129)).is_none());
        assert!(is_value("Bearer abc def") && is_value(""));
        for bad in [" x", "x ", "a\r\nb", "a\nb", "a\tb", "ä", "\0", "\u{7f}"] {
            assert!(!is_value(bad), "{bad:?}");
        }
        assert!(is_value(&"x".repeat(2048)) && !is_value(&"x".repeat(2049)));
    }
}
