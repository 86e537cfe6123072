//! What a request is about: the request-target and the host, by RFC 9112 §3.2 and no further.

use super::head::{Refusal, bad};

/// A request-target, taken apart.
pub(super) struct Target<'a> {
    /// The path, never empty.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// The host that the target itself names.
    pub authority: Option<&'a str>,
}

/// Takes a target apart: a path, a URL of http or https, or the asterisk of OPTIONS.
pub(super) fn read<'a>(method: &str, raw: &'a str) -> Result<Target<'a>, Refusal> {
    check(raw.as_bytes())?;
    if raw.starts_with('/') {
        return Ok(of(raw, None));
    }
    if raw == "*" && method == "OPTIONS" {
        return Ok(Target { path: raw, query: None, authority: None });
    }
    let Some(rest) = without_scheme(raw) else {
        return Err(bad("The target is neither a path nor a URL of http or https."));
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err(bad("The target's host is not a host with an optional port."));
    }
    Ok(of(rest, Some(authority)))
}

fn of<'a>(raw: &'a str, authority: Option<&'a str>) -> Target<'a> {
    let (path, query) = match raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (raw, None),
    };
    Target { path: if path.is_empty() { "/" } else { path }, query, authority }
}

fn without_scheme(raw: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (first, rest) = raw.split_at_checked(scheme.len())?;
        first.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Only what a URL is made of (RFC 3986, and the brackets that many leave as they are): what else there is, one program
/// cuts off where another goes on.
fn check(raw: &[u8]) -> Result<(), Refusal> {
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'#' => return Err(bad("The target holds a fragment.")),
            b'%' => {
                let digits = raw.get(at + 1..at + 3).unwrap_or_default();
                if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(bad("The target holds a percent sign without two hexadecimal digits."));
                }
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => return Err(UNFIT),
            0x21..=0x7e => {}
            _ => return Err(UNFIT),
        }
    }
    Ok(())
}

const UNFIT: Refusal = bad("The target holds a character that must be percent-encoded.");

/// Whether it is `host` or `host:port`: a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (host_fits, rest) = if let Some(inner) = text.strip_prefix('[') {
        let Some((address, rest)) = inner.split_once(']') else { return false };
        (address.parse::<std::net::Ipv6Addr>().is_ok(), rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        (!host.is_empty() && host.bytes().all(is_host_byte), rest)
    };
    let port_fits = match rest.strip_prefix(':') {
        Some(port) => {
            (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
        }
        None => rest.is_empty(),
    };
    host_fits && port_fits
}

/// What names are made of in practice. RFC 3986 allows more (`!$&'()*+,;=`, percent signs), which no name has and some
/// readers cut at.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
