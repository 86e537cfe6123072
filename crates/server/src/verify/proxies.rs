//! Who is the client, and what does it want? What a proxy says about the request it asks for. Pure.
//!
//! Only a declared proxy is believed, and of it only headers in one spelling that came once. What could be somebody
//! else's word is refused and never cleaned: whether the service behind the proxy would clean it the same way is not known.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// The proxies whose word is believed: the setting `trusted-proxies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<IpNet>,
    unix: bool,
}

/// The other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// An address.
    Address(IpAddr),
    /// Somebody on this machine, through a Unix socket.
    UnixSocket,
    /// Not known: believed by nobody.
    Unknown,
}

/// The client's address, and how it is known or why it isn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `None`: not known.
    pub ip: Option<IpAddr>,
    /// How.
    pub hop: Hop,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// This entry of `X-Forwarded-For`, counted from the right, from 1.
    Forwarded(usize),
    /// The other end of the proxy's own connection, told by Envoy.
    Source,
    /// Nowhere: who asks is no declared proxy.
    Undeclared,
    /// Nowhere: the proxy tells no address.
    Untold,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded(entry) => write!(f, "entry {entry} from the right of X-Forwarded-For"),
            Self::Source => f.write_str("the connection to the proxy"),
            Self::Undeclared => f.write_str("nowhere: the peer is not among trusted-proxies"),
            Self::Untold => f.write_str("nowhere: the proxy sends no X-Forwarded-For"),
        }
    }
}

/// Why a set of headers is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// A header that only Stead sets.
    Identity,
    /// `X_Forwarded_For`: some services read it as `X-Forwarded-For`.
    Spelling,
    /// A header that must come once came twice.
    Twice,
    /// `Connection` names a header that must not get lost on the way.
    Dropped,
    /// Two headers that say the same say different things.
    Contradiction,
    /// An entry of `X-Forwarded-For` is no plain address.
    NoAddress,
    /// A header that some services take for the real method or path.
    Override,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "the request brings an x-stead-… header of its own",
            Self::Spelling => "a forwarding, identity or key header is spelled with an underscore",
            Self::Twice => "a forwarding header came more than once",
            Self::Dropped => "Connection names a forwarding, identity or key header",
            Self::Contradiction => "two forwarding headers contradict each other",
            Self::NoAddress => "an entry of X-Forwarded-For is no plain IP address",
            Self::Override => "a header asks for another method or path",
        })
    }
}

/// What the forwarding headers of a request say, believed or not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    addresses: Option<&'a [u8]>,
    /// The client's method.
    pub method: Option<&'a [u8]>,
    /// The client's path with its query.
    pub uri: Option<&'a [u8]>,
    /// Whether a header would have the service take another method or path than the request's own.
    pub overrides: bool,
}

/// Headers that services take for the real method or path, if they are told to.
const OVERRIDES: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

impl<'a> Told<'a> {
    /// Reads all headers of a request. `keys` are the names that a key may come by.
    pub fn read(headers: impl Iterator<Item = (&'a str, &'a [u8])>, keys: &[&str]) -> Result<Self, Odd> {
        let mut told = Self::default();
        let (mut original_method, mut original_uri, mut host, mut forwarded) = (None, None, None, None);
        for (name, value) in headers {
            if begins(name, "x-stead-") {
                return Err(Odd::Identity);
            }
            if name.contains('_') && is_guarded(name, keys) {
                return Err(Odd::Spelling);
            }
            let place = match name {
                _ if same(name, "x-forwarded-for") => &mut told.addresses,
                _ if same(name, "x-forwarded-method") => &mut told.method,
                _ if same(name, "x-forwarded-uri") => &mut told.uri,
                _ if same(name, "x-forwarded-host") => &mut host,
                _ if same(name, "x-original-method") => &mut original_method,
                _ if same(name, "x-original-uri") => &mut original_uri,
                _ if same(name, "forwarded") => &mut forwarded,
                _ if same(name, "connection") => {
                    let mut named = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                    // What is no text names none of ours.
                    if named.any(|name| str::from_utf8(name).is_ok_and(|name| is_guarded(name, keys))) {
                        return Err(Odd::Dropped);
                    }
                    continue;
                }
                _ => {
                    told.overrides |= OVERRIDES.iter().any(|known| same(name, known));
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(Odd::Twice);
            }
        }
        if forwarded.is_some() && told.addresses.is_some() {
            return Err(Odd::Contradiction);
        }
        told.method = agreed(told.method, original_method)?;
        told.uri = agreed(told.uri, original_uri)?;
        Ok(told)
    }

    /// The client's address by `X-Forwarded-For`: from the right, the first that is no declared proxy. Only for who is
    /// one. All are read: an odd one to the left is no proxy's work either.
    pub fn client(&self, trusted: &Trusted) -> Result<Seen, Odd> {
        let Some(list) = self.addresses else { return Ok(Seen { ip: None, hop: Hop::Untold }) };
        let address = |entry: &[u8]| str::from_utf8(entry.trim_ascii()).ok()?.parse::<IpAddr>().ok();
        let mut client = None;
        for (entry, number) in list.rsplit(|byte| *byte == b',').zip(1..) {
            let ip = address(entry).ok_or(Odd::NoAddress)?.to_canonical();
            if client.is_none_or(|(ip, _)| trusted.has(ip)) {
                client = Some((ip, number));
            }
        }
        let (ip, number) = client.ok_or(Odd::NoAddress)?;
        Ok(Seen { ip: Some(ip), hop: Hop::Forwarded(number) })
    }
}

impl Trusted {
    /// Reads the setting: networks, addresses and the word `unix`, apart by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut trusted = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "unix" {
                trusted.unix = true;
                continue;
            }
            let network = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            let network: IpNet = network.map_err(|_| "must be networks as in 10.0.0.0/8, addresses, and `unix`")?;
            match network {
                IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
                    return Err("an IPv4 network in IPv6 form fits no address: write it as IPv4".into());
                }
                _ if network.prefix_len() == 0 => {
                    return Err("a network of /0 would believe everybody".into());
                }
                _ => trusted.networks.push(network),
            }
        }
        Ok(trusted)
    }

    /// Whether this is the address of a declared proxy.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip.to_canonical()))
    }

    /// Whether the other end of a connection is a declared proxy.
    pub fn believes(&self, sender: Sender) -> bool {
        match sender {
            Sender::Address(ip) => self.has(ip),
            Sender::UnixSocket => self.unix,
            Sender::Unknown => false,
        }
    }
}

fn agreed<'a>(one: Option<&'a [u8]>, other: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Odd> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Odd::Contradiction),
        _ => Ok(one.or(other)),
    }
}

/// Whether losing or doubling this header would change what is decided.
fn is_guarded(name: &str, keys: &[&str]) -> bool {
    ["x-stead-", "x-forwarded-", "x-original-"].iter().any(|prefix| begins(name, prefix))
        || ["forwarded", "x-real-ip"].iter().chain(keys).any(|known| same(name, known))
}

/// Whether two names are one to a service that, as CGI does, takes `_` for `-`.
fn same(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

fn begins(name: &str, prefix: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(one, other)| plain(one) == other)
}

#[cfg(test)]
mod tests;
