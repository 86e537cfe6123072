//! Where a webhook's URL leads, read in the one way in which it will be used. What another reader could take for another
//! host (numbers in place of names, blanks, user names, Unicode) is refused, not mended.

use super::address::{Allowed, is_public};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL, in bytes.
pub const MAX_URL: usize = 2048;
/// Ports on the public Internet; HTTPS alone is spoken there.
const PORTS: [u16; 2] = [443, 8443];

/// A URL, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether by TLS.
    pub is_https: bool,
    /// The name or the address.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// The value of the header `Host`.
    pub authority: String,
    /// Path and query, as they were given.
    pub path: String,
}

/// Whom to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name in lower case, to be resolved at each delivery.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Target {
    /// Reads a URL; else says what is wrong with it. An address in it is judged here, a name's when it is resolved.
    pub fn parse(url: &str, allowed: &Allowed) -> Result<Self, &'static str> {
        if url.len() > MAX_URL {
            return Err("must have at most 2,048 characters");
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without blanks; write a name of other letters as xn--…");
        }
        if url.contains(['\\', '#', '"', '<', '>', '^', '`', '{', '|', '}']) {
            return Err("must have no fragment, and none of \\ \" < > ^ ` { | }");
        }
        let (is_https, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") && !allowed.is_empty() => (false, rest),
            _ => return Err("must begin with https://"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("must hold no user name and no password");
        }
        let (host, port) = split_port(authority)?;
        let host = host_of(host, !allowed.is_empty())?;
        let usual = if is_https { 443 } else { 80 };
        let port = port.unwrap_or(usual);
        let name = match &host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(v4)) => v4.to_string(),
            Host::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
        };
        let authority = if port == usual { name } else { format!("{name}:{port}") };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let target = Self { is_https, host, port, authority, path };
        match &target.host {
            Host::Address(address) => target.check(*address, allowed)?,
            // Where something beyond the public Internet is allowed, the address will tell.
            Host::Name(_) if allowed.is_empty() => target.check_port()?,
            Host::Name(_) => {}
        }
        Ok(target)
    }

    /// Whether a delivery may go to this address of it.
    pub fn check(&self, address: IpAddr, allowed: &Allowed) -> Result<(), &'static str> {
        if allowed.contains(address) {
            return Ok(());
        }
        if !is_public(address) {
            return Err("must lead to the public Internet; ask the operator to allow another network");
        }
        if !self.is_https {
            return Err("must begin with https://");
        }
        self.check_port()
    }

    fn check_port(&self) -> Result<(), &'static str> {
        if PORTS.contains(&self.port) { Ok(()) } else { Err("must have the port 443 or 8443") }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let after_host = if authority.starts_with('[') {
        authority.find(']').map_or(authority.len(), |at| at + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(after_host);
    let wrong = "must have a port from 1 to 65535, or none";
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((host, None)),
        None => Err(wrong),
        Some(digits) => {
            let plain = (1..=5).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && !digits.starts_with('0');
            let port = digits.parse().ok().filter(|_| plain);
            port.map(|port| (host, Some(port))).ok_or(wrong)
        }
    }
}

fn host_of(text: &str, may_be_short: bool) -> Result<Host, &'static str> {
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address = inside.parse::<Ipv6Addr>();
        return address.map(|v6| Host::Address(v6.into())).map_err(|_| "must have a valid IPv6 address in [ ]");
    }
    let wrong = "must have a host: a name as in hooks.example.com, or an address";
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(wrong);
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    // A name that ends in a number is an address, for some in octal, hexadecimal or fewer than four parts.
    let is_hexadecimal = |text: &str| {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if last.bytes().all(|byte| byte.is_ascii_digit()) || is_hexadecimal(last) {
        // Strict: four decimal numbers without leading zeros.
        let address = text.parse::<Ipv4Addr>();
        return address.map(|v4| Host::Address(v4.into())).map_err(|_| "must have an address of four decimal numbers");
    }
    if !text.contains('.') && !may_be_short {
        return Err(wrong);
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests;
