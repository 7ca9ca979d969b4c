//! How many connections each address has, and how fast new ones come.
//!
//! An address is one of IPv4, or a /64 network of IPv6: what one customer of a provider has. Where no limit is set,
//! nothing is kept and nothing is locked. What is kept is bounded: a count for each address that has a connection, and
//! an entry for each that came within about a second.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::{Config, Limits},
    http::trusts,
};

mod pace;

use pace::{Pace, PaceOfEach};

/// Counts of this process, for every thread.
#[derive(Default)]
pub(crate) struct Addresses {
    counts: Mutex<HashMap<Network, u32>>,
    process: Pace,
    each: PaceOfEach,
}

/// A place that a connection takes. Dropped, it is free again.
#[derive(Debug, Default)]
pub(crate) struct Seat(Option<(Arc<Addresses>, Network)>);

impl Seat {
    /// Whether there is a limit that it counts for.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

/// Too many connections from one address, or too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressLimitReached {
    /// It has as many as it may.
    #[error("the address has {limit} connections")]
    Connections {
        /// As many.
        limit: u32,
    },
    /// New ones come too fast.
    #[error("more than {limit} new connections of the address in a second")]
    Rate {
        /// As many.
        limit: u32,
    },
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl Network {
    fn of(ip: IpAddr) -> Self {
        // An IPv4 client of a socket that takes both is `::ffff:1.2.3.4`.
        match ip.to_canonical() {
            IpAddr::V4(ip) => Network::V4(ip.to_bits()),
            IpAddr::V6(ip) => Network::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl Addresses {
    /// Whether the process takes one more connection now. Asking counts as one.
    pub(crate) fn may_connect(&self, limits: &Limits) -> bool {
        self.process.allows(limits.connects_per_second)
    }

    /// Takes a place for one more connection.
    ///
    /// A limit that was not there before counts those who come from now on.
    ///
    /// # Errors
    /// [`AddressLimitReached`]; the attempt counts against the rate, not against the number.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, limits: &Limits) -> Result<Seat, AddressLimitReached> {
        let network = Network::of(ip);
        if let Some(limit) = limits.connects_per_ip_per_second
            && !self.each.allows(limit, network)
        {
            return Err(AddressLimitReached::Rate { limit });
        }
        let Some(limit) = limits.connections_per_ip else {
            return Ok(Seat::default());
        };
        let mut counts = self.counts();
        let count = counts.entry(network).or_default();
        if *count >= limit {
            return Err(AddressLimitReached::Connections { limit });
        }
        *count += 1;
        Ok(Seat(Some((self.clone(), network))))
    }

    /// The same, but that proxies take no place: all their clients come from one address.
    ///
    /// # Errors
    /// [`AddressLimitReached`].
    pub(crate) fn enter_from(self: &Arc<Self>, ip: IpAddr, config: &Config) -> Result<Seat, AddressLimitReached> {
        if trusts(&config.http, ip) { Ok(Seat::default()) } else { self.enter(ip, &config.limits) }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Addresses {
    /// Without the addresses: every seat leads here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((addresses, network)) = self.0.take() else {
            return;
        };
        let mut counts = addresses.counts();
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: Option<u32>, rate: Option<u32>) -> Limits {
        Limits { connections_per_ip: connections, connects_per_ip_per_second: rate, ..Limits::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_has_as_many_connections_as_allowed_and_its_places_come_back() {
        let (addresses, limits) = (Arc::<Addresses>::default(), limits(Some(2), None));
        let first = addresses.enter(ip("10.0.0.1"), &limits).expect("a place");
        let second = addresses.enter(ip("10.0.0.1"), &limits).expect("a place");
        let refused = addresses.enter(ip("10.0.0.1"), &limits).expect_err("no place");
        assert_eq!(refused, AddressLimitReached::Connections { limit: 2 });
        let other = addresses.enter(ip("10.0.0.2"), &limits).expect("another address");
        drop(first);
        let third = addresses.enter(ip("10.0.0.1"), &limits).expect("a place that was left");
        drop((second, third, other));
        assert!(addresses.counts().is_empty(), "nobody is there, and nothing is kept");
    }

    #[test]
    fn an_ipv6_network_and_an_ipv4_address_in_ipv6_are_one_address() {
        let (addresses, limits) = (Arc::<Addresses>::default(), limits(Some(1), None));
        let _v6 = addresses.enter(ip("2001:db8:1:2::1"), &limits).expect("a place");
        assert!(addresses.enter(ip("2001:db8:1:2:ffff::2"), &limits).is_err(), "the same /64");
        let _next = addresses.enter(ip("2001:db8:1:3::1"), &limits).expect("another /64");
        let _v4 = addresses.enter(ip("192.0.2.1"), &limits).expect("a place");
        assert!(addresses.enter(ip("::ffff:192.0.2.1"), &limits).is_err(), "the same address");
        let _other = addresses.enter(ip("::ffff:192.0.2.2"), &limits).expect("another address");
    }

    #[test]
    fn without_limits_nothing_is_kept() {
        let addresses = Arc::<Addresses>::default();
        let seats: Vec<_> = (0..100).map(|_| addresses.enter(ip("10.0.0.1"), &limits(None, None))).collect();
        assert!(seats.iter().all(Result::is_ok) && addresses.counts().is_empty());
        assert!((0..1000).all(|_| addresses.may_connect(&limits(None, None))));
    }

    #[test]
    fn a_new_limit_holds_at_once_and_sends_nobody_away() {
        let addresses = Arc::<Addresses>::default();
        let wide = limits(Some(3), None);
        let seats: Vec<_> = (0..3).map(|_| addresses.enter(ip("10.0.0.1"), &wide).expect("a place")).collect();
        let narrow = limits(Some(1), None);
        assert!(addresses.enter(ip("10.0.0.1"), &narrow).is_err());
        drop(seats);
        assert!(addresses.enter(ip("10.0.0.1"), &narrow).is_ok());
    }

    #[test]
    fn an_address_that_comes_too_fast_is_refused_and_others_are_not() {
        let (addresses, limits) = (Arc::<Addresses>::default(), limits(Some(1000), Some(1)));
        let refused = (0..1000).find_map(|_| addresses.enter(ip("10.0.0.1"), &limits).err());
        assert_eq!(refused, Some(AddressLimitReached::Rate { limit: 1 }));
        assert!(addresses.counts().is_empty(), "a refused one takes no place");
        assert!(addresses.enter(ip("10.0.0.2"), &limits).is_ok());
    }
}
