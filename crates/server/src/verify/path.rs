//! The path of a request, in the one form that rules are judged by. Pure.
//!
//! A proxy, Stead and the service behind the proxy each read a path in their own way; where two of them may differ, a rule for
//! the one is no rule for the other. So what has more than one reading is refused and never repaired: a client that
//! means no harm writes none of it.

use std::fmt;

/// The longest path with its query.
pub const MAX_PATH: usize = 8 * 1024;

/// A path with one reading: begins with `/`, has no empty, `.` or `..` segment, and no octet is encoded that needn't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath {
    text: String,
    /// The same, decoded. As many slashes, since an encoded one is refused.
    meant: String,
}

impl NormalPath {
    /// The text, with its escapes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands between the slashes, decoded: to RFC 3986 `%3A` is not `:`, to most services it is. A slash at the end is
    /// not told apart from none either.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.meant.split('/').filter(|segment| !segment.is_empty())
    }
}

/// Why a path is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// Longer than [`MAX_PATH`].
    TooLong,
    /// Not `/…`: another form of request target, or nothing.
    NotAPath,
    /// `//`.
    EmptySegment,
    /// `.` or `..` between slashes or at the end.
    DotSegment,
    /// An encoded slash, backslash, dot or semicolon.
    EncodedSeparator,
    /// `;`, which some take for the beginning of parameters.
    Parameter,
    /// A character that RFC 3986 doesn't allow in a path: a blank, a backslash, `#`, a control or a non-ASCII octet.
    NotAllowed,
    /// `%` without two hexadecimal digits.
    BrokenEscape,
    /// An escape of an escape.
    DoubleEscape,
    /// What the escapes stand for is no UTF-8, or has a control character.
    NotText,
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 8 KiB",
            Self::NotAPath => "it doesn't begin with a slash",
            Self::EmptySegment => "it has two slashes in a row",
            Self::DotSegment => "it has a segment of one or two dots",
            Self::EncodedSeparator => "it has an encoded slash, backslash, dot or semicolon",
            Self::Parameter => "it has a semicolon",
            Self::NotAllowed => "it has a character that a path may not have unencoded",
            Self::BrokenEscape => "it has a % without two hexadecimal digits",
            Self::DoubleEscape => "it has an encoded escape",
            Self::NotText => "its escapes stand for no UTF-8, or for a control character",
        })
    }
}

/// The normal form of a request target's path. The query is cut off: rules don't read it.
pub fn normalise(target: &[u8]) -> Result<NormalPath, Ambiguous> {
    if target.len() > MAX_PATH {
        return Err(Ambiguous::TooLong);
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let Some(b'/') = path.first() else { return Err(Ambiguous::NotAPath) };
    let mut normal = String::with_capacity(path.len());
    // What the path stands for, to see whether it is text.
    let mut meant = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'%' => {
                let [high, low, tail @ ..] = rest else { return Err(Ambiguous::BrokenEscape) };
                rest = tail;
                let octet = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                let octet = octet.ok_or(Ambiguous::BrokenEscape)?;
                meant.push(octet);
                match octet {
                    b'/' | b'\\' | b'.' | b';' => return Err(Ambiguous::EncodedSeparator),
                    _ if is_unreserved(octet) => normal.push(char::from(octet)),
                    _ => normal.extend([
                        '%',
                        char::from(high.to_ascii_uppercase()),
                        char::from(low.to_ascii_uppercase()),
                    ]),
                }
            }
            b';' => return Err(Ambiguous::Parameter),
            _ if is_unreserved(*byte) || b"/.!$&'()*+,=:@".contains(byte) => {
                normal.push(char::from(*byte));
                meant.push(*byte);
            }
            _ => return Err(Ambiguous::NotAllowed),
        }
    }
    // After decoding, since the digits behind a %25 may have been encoded themselves.
    if normal.match_indices("%25").any(|(at, _)| {
        let digits = normal.as_bytes().get(at + 3..at + 5);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }) {
        return Err(Ambiguous::DoubleEscape);
    }
    // Overlong forms and surrogates are no UTF-8 to Rust.
    let meant = String::from_utf8(meant).map_err(|_| Ambiguous::NotText)?;
    if meant.chars().any(char::is_control) {
        return Err(Ambiguous::NotText);
    }
    let mut segments = normal[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => return Err(Ambiguous::EmptySegment),
            "." | ".." => return Err(Ambiguous::DotSegment),
            _ => {}
        }
    }
    Ok(NormalPath { text: normal, meant })
}

/// What RFC 3986 §2.3 calls so, but for the dot, which has a meaning.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> Result<String, Ambiguous> {
        normalise(path.as_bytes()).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn what_has_one_reading_is_brought_to_one_form() {
        for (path, form) in [
            ("/", "/"),
            ("/v1/voices", "/v1/voices"),
            ("/v1/voices/", "/v1/voices/"),
            ("/v1/%76oices?x=//../%2f", "/v1/voices"),
            ("/a%c3%a4b", "/a%C3%A4b"),
            ("/a%20b%3f%23", "/a%20b%3F%23"),
            ("/%7Euser/%2d%5F", "/~user/-_"),
            ("/100%25", "/100%25"),
            ("/100%25g0", "/100%25g0"),
            ("/.../a..b/.c", "/.../a..b/.c"),
            ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(form), "{path}");
        }
        assert_eq!(normalise(b"/a/b%3Ac/").unwrap().segments().collect::<Vec<_>>(), ["a", "b:c"]);
        assert_eq!(normalise(b"/").unwrap().segments().count(), 0);
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        use Ambiguous::*;
        for (why, paths) in [
            (NotAPath, &["", "*", "v1", "http://h/v1", "?a", "%2fv1"][..]),
            (EmptySegment, &["//", "/a//b", "//a", "/a//"]),
            (DotSegment, &["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a/.", "/../"]),
            (EncodedSeparator, &["/a%2fb", "/a%2Fb", "/a%5cb", "/%2e/a", "/%2e%2e/a", "/a%2Eb", "/.%2e/", "/a%3bb"]),
            (Parameter, &["/a;x=1", "/..;/a", "/a;/b", "/;"]),
            (
                NotAllowed,
                &[
                    "/a\\b", "/a b", "/a#b", "/a\0", "/a\tb", "/a\"b", "/<a>", "/{a}", "/a|b", "/a^b", "/[a]", "/a`",
                    "/ä",
                ],
            ),
            (BrokenEscape, &["/%", "/%2", "/a%zz", "/%u002f", "/%%32f", "/%-1"]),
            (DoubleEscape, &["/%252f", "/a%252e%252e", "/%2500", "/%25%32%66", "/%25%326", "/%25%2525"]),
            (
                NotText,
                &[
                    "/%00",
                    "/a%0d%0a",
                    "/%7f",
                    "/%c0%af",
                    "/%c0%ae",
                    "/%e0%80%af",
                    "/%ff",
                    "/%ed%a0%80",
                    "/%c2%85",
                    "/%c3",
                ],
            ),
        ] {
            for path in paths {
                assert_eq!(normal(path), Err(why), "{path}");
            }
        }
        assert!(normal(&format!("/{}", "a".repeat(MAX_PATH - 1))).is_ok());
        assert_eq!(normal(&format!("/{}", "a".repeat(MAX_PATH))), Err(TooLong));
        assert_eq!(normalise(b"/\xff"), Err(NotAllowed));
    }

    proptest! {
        #[test]
        fn the_form_is_its_own_form(path in "/([a-c./%;\\\\]|%[0-9a-fA-F]{2}|[^a]){0,12}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/') && once.is_ascii() && !once.contains("//"));
            }
        }

        #[test]
        fn the_form_stands_for_the_same_octets(path in "/([a-c/]|%[0-9a-fA-F]{2}){0,12}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(decoded(once.as_bytes()), decoded(path.as_bytes()));
            }
        }

        #[test]
        fn any_octets_are_judged_without_a_panic(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = normalise(&path);
        }
    }

    /// As naive as can be, to be compared with.
    fn decoded(path: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut at = 0;
        while at < path.len() {
            if path[at] == b'%' {
                octets.push(u8::from_str_radix(std::str::from_utf8(&path[at + 1..at + 3]).unwrap(), 16).unwrap());
                at += 3;
            } else {
                octets.push(path[at]);
                at += 1;
            }
        }
        octets
    }
}
