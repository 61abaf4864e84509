//! How often a login may fail. It decides only, and is told the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// For how long failures count.
const WINDOW: Duration = Duration::from_secs(300);
/// Failures in that time from one address.
const OF_ADDRESS: u32 = 10;
/// Failures in that time with one name of a user, from all addresses together.
const OF_USER: u32 = 100;
/// How many addresses, and how many names, are remembered.
const REMEMBERED: usize = 4096;
/// How many bytes of a name are looked at.
const NAME: usize = 64;

/// The logins that failed lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    addresses: Mutex<Counts<IpAddr>>,
    users: Mutex<Counts<String>>,
}

#[derive(Debug)]
struct Counts<K>(HashMap<K, (Instant, u32)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    /// How many there were lately.
    fn of(&self, key: &K, now: Instant) -> u32 {
        self.0.get(key).filter(|(first, _)| is_recent(*first, now)).map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, key: K, now: Instant) {
        let count = self.of(&key, now);
        if count == 0 && self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            self.0.retain(|_, (first, _)| is_recent(*first, now));
            if self.0.len() >= REMEMBERED
                && let Some(oldest) = self.0.iter().min_by_key(|(_, (first, _))| *first).map(|(key, _)| key.clone())
            {
                self.0.remove(&oldest);
            }
        }
        let counted = self.0.entry(key).or_insert((now, 0));
        *counted = if count == 0 { (now, 1) } else { (counted.0, count.saturating_add(1)) };
    }
}

fn is_recent(first: Instant, now: Instant) -> bool {
    now.saturating_duration_since(first) < WINDOW
}

impl Throttle {
    /// Whether a login may be tried.
    pub(super) fn allows(&self, address: IpAddr, user: &str, now: Instant) -> bool {
        lock(&self.addresses).of(&network(address), now) < OF_ADDRESS
            && lock(&self.users).of(&name(user), now) < OF_USER
    }

    /// A login has failed.
    pub(super) fn failed(&self, address: IpAddr, user: &str, now: Instant) {
        lock(&self.addresses).add(network(address), now);
        lock(&self.users).add(name(user), now);
    }

    /// A login has succeeded, so that earlier failures from its address were slips.
    pub(super) fn succeeded(&self, address: IpAddr) {
        lock(&self.addresses).0.remove(&network(address));
    }
}

/// What counts as one address: of IPv6, the network, whose hosts all may be one attacker's.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

fn name(user: &str) -> String {
    user.chars().take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_too_often_must_wait_and_others_need_not() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..OF_ADDRESS {
            assert!(throttle.allows(address("10.0.0.1"), "root", start));
            throttle.failed(address("10.0.0.1"), "root", start);
        }
        assert!(!throttle.allows(address("10.0.0.1"), "root", start + WINDOW / 2));
        assert!(!throttle.allows(address("::ffff:10.0.0.1"), "another", start));
        assert!(throttle.allows(address("10.0.0.2"), "root", start));
        assert!(throttle.allows(address("10.0.0.1"), "root", start + WINDOW));
        throttle.failed(address("fd00::1"), "root", start);
        throttle.succeeded(address("fd00::1"));
        for host in 0..u128::from(OF_ADDRESS) {
            throttle.failed(Ipv6Addr::from_bits(0xfd00 << 112 | host).into(), "x", start);
        }
        assert!(!throttle.allows(address("fd00::ffff:1"), "root", start));
        assert!(throttle.allows(address("fd00:0:0:1::1"), "root", start));
    }

    #[test]
    fn a_user_is_not_guessed_from_many_addresses_either() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..OF_USER {
            throttle.failed(IpAddr::from(number.to_be_bytes()), "root", start);
        }
        assert!(!throttle.allows(address("10.1.1.1"), "root", start));
        assert!(throttle.allows(address("10.1.1.1"), "alice", start));
        assert!(throttle.allows(address("10.1.1.1"), "root", start + WINDOW));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..3 * REMEMBERED as u32 {
            throttle.failed(IpAddr::from(number.to_be_bytes()), &"x".repeat(number as usize % 300), start);
            assert!(lock(&throttle.addresses).0.len() <= REMEMBERED && lock(&throttle.users).0.len() <= NAME + 1);
        }
    }
}
