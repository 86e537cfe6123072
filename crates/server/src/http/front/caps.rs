//! How many connections a listener has, in all and from one address.

use crate::metrics::Connections;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// File descriptors that are left for the store, the log and listeners.
const RESERVED: usize = 128;
/// Even where next to no descriptor is left, somebody gets through.
const FEWEST: usize = 16;

/// How many connections each of `listeners` may have: what was asked for, but no more than the process's limit of file
/// descriptors leaves room for. At that limit nothing works any more, a cap only lets the next one wait.
pub fn connections(wanted: usize, listeners: usize) -> usize {
    // Where there is no such file, as on macOS, the setting is all that is known.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let room = soft_limit(&limits).map_or(wanted, |limit| limit.saturating_sub(RESERVED) / listeners.max(1));
    wanted.min(room.max(FEWEST))
}

/// As in `Max open files            1024                 524288               files`.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The caps of one listener.
pub(super) struct Caps {
    slots: Arc<Semaphore>,
    per_address: usize,
    addresses: Arc<Addresses>,
    counts: Arc<Connections>,
}

type Addresses = Mutex<HashMap<IpAddr, usize>>;

/// A connection's place; it is free again when this is dropped.
pub(super) struct Ticket {
    _slot: OwnedSemaphorePermit,
    address: Option<(IpAddr, Arc<Addresses>)>,
    counts: Arc<Connections>,
}

impl Caps {
    pub(super) fn new(connections: usize, counts: Arc<Connections>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            per_address: connections.div_ceil(2),
            addresses: Arc::default(),
            counts,
        }
    }

    /// Waits until there is room for one more connection.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().acquire_owned().await.ok()
    }

    /// A place for a connection from an address; `None` if that has its share already.
    pub(super) fn admit(&self, slot: OwnedSemaphorePermit, peer: Option<IpAddr>) -> Option<Ticket> {
        let counts = self.counts.clone();
        let Some(peer) = peer.map(household) else {
            counts.opened();
            return Some(Ticket { _slot: slot, address: None, counts });
        };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(peer).or_default();
        if *count >= self.per_address {
            counts.refused();
            return None;
        }
        *count += 1;
        counts.opened();
        Some(Ticket { _slot: slot, address: Some((peer, self.addresses.clone())), counts })
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since a single machine commonly has all that follow.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counts.closed();
        let Some((address, addresses)) = &self.address else { return };
        let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_and_never_exceeded() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             63432                63432                processes \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(connections(5, 1), 5);
    }

    #[tokio::test]
    async fn an_address_has_half_of_the_slots_and_gets_them_back() {
        let caps = Caps::new(4, Arc::default());
        let peer = |text: &str| Some(text.parse().unwrap());
        let (first, _other) = (caps.slot().await.unwrap(), caps.slot().await.unwrap());
        let first = caps.admit(first, peer("2001:db8::1")).unwrap();
        let second = caps.admit(caps.slot().await.unwrap(), peer("2001:db8::2")).unwrap();
        assert!(caps.admit(caps.slot().await.unwrap(), peer("2001:db8::3")).is_none());
        // The slot of the one that was turned away is free again.
        let stranger = caps.admit(caps.slot().await.unwrap(), peer("2001:db8:0:1::1")).unwrap();
        drop(first);
        drop(caps.admit(caps.slot().await.unwrap(), peer("2001:db8::3")).unwrap());
        drop((second, stranger));
        assert!(caps.addresses.lock().unwrap().is_empty());
        assert_eq!(caps.slots.available_permits(), 3);
    }
}
