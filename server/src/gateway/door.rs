//! Who is let in, by address, number and rate, before anything is known of them.
//!
//! What must hold: a peer that is turned away can come again by itself (its first packet is repeated);
//! an address that was not proven uses up little of what that address may have; whatever was counted is
//! counted down again when the connection is gone.

use std::collections::{HashMap, hash_map::Entry};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::{
    ADDRESSES, CONNECTIONS_AN_ADDRESS, HANDSHAKES_A_SECOND, HANDSHAKES_A_SECOND_AN_ADDRESS,
    HANDSHAKES_AT_ONCE, HANDSHAKES_AT_ONCE_AN_ADDRESS, OPENING, RETRY_FROM, RETRY_FROM_AN_ADDRESS,
    STRANGERS, UNPROVEN_AN_ADDRESS,
};

/// What is done with a peer's first packet.
#[derive(Debug)]
pub(super) enum Entrance {
    /// The handshake may begin.
    Open(Admission),
    /// The peer must prove its address.
    Prove,
    /// It is not answered.
    Ignore,
}

/// Keeps count. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Door {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    opening: usize,
    strangers: usize,
    rate: Rate,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug, Default)]
struct Address {
    connections: u32,
    unproven: u32,
    rate: Rate,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Stranger,
    Agent,
}

/// A connection's place in the counts, for as long as it lives.
#[derive(Debug)]
pub(super) struct Admission {
    door: Door,
    address: IpAddr,
    stage: Stage,
}

impl Door {
    /// Judges a first packet.
    pub(super) fn knock(&self, from: IpAddr, is_proven: bool, now: Instant) -> Entrance {
        let address = network(from);
        let mut inside = self.lock();
        if inside.opening >= OPENING {
            return Entrance::Ignore;
        }
        let is_busy = inside.opening >= RETRY_FROM
            || inside.rate.left(now, GLOBAL) < f64::from(HANDSHAKES_AT_ONCE) / 2.0;
        let known = inside.addresses.get_mut(&address);
        let (unproven, connections, left) = known.map_or((0, 0, 1.0), |known| {
            let left = known.rate.left(now, ONE_ADDRESS);
            (known.unproven, known.connections, left)
        });
        if !is_proven && (is_busy || unproven >= RETRY_FROM_AN_ADDRESS) {
            return Entrance::Prove;
        }
        if unproven >= UNPROVEN_AN_ADDRESS
            || connections >= CONNECTIONS_AN_ADDRESS
            || left < 1.0
            || inside.rate.left(now, GLOBAL) < 1.0
        {
            return Entrance::Ignore;
        }
        if inside.addresses.len() >= ADDRESSES {
            inside.forget(now);
        }
        inside.opening += 1;
        inside.rate.take(now, GLOBAL);
        let known = inside.addresses.entry(address).or_default();
        known.connections += 1;
        known.unproven += 1;
        known.rate.take(now, ONE_ADDRESS);
        Entrance::Open(Admission {
            door: self.clone(),
            address,
            stage: Stage::Opening,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn forget(&mut self, now: Instant) {
        self.addresses.retain(|_, known| {
            let is_rested = known.rate.left(now, ONE_ADDRESS) >= f64::from(ONE_ADDRESS.at_once);
            known.connections > 0 || !is_rested
        });
    }
}

impl Admission {
    /// The handshake is done and shows a stranger, who may enrol; `false` if too many are at it.
    pub(super) fn is_stranger(&mut self) -> bool {
        let door = self.door.clone();
        let mut inside = door.lock();
        if inside.strangers >= STRANGERS {
            return false;
        }
        inside.opening -= 1;
        inside.strangers += 1;
        self.stage = Stage::Stranger;
        true
    }

    /// The handshake is done and shows an agent.
    pub(super) fn is_agent(&mut self) {
        let door = self.door.clone();
        let mut inside = door.lock();
        inside.opening -= 1;
        if let Some(known) = inside.addresses.get_mut(&self.address) {
            known.unproven -= 1;
        }
        self.stage = Stage::Agent;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        match self.stage {
            Stage::Opening => inside.opening -= 1,
            Stage::Stranger => inside.strangers -= 1,
            Stage::Agent => {}
        }
        if let Entry::Occupied(mut known) = inside.addresses.entry(self.address) {
            known.get_mut().connections -= 1;
            if self.stage != Stage::Agent {
                known.get_mut().unproven -= 1;
            }
        }
    }
}

/// What counts as one address: of IPv6 a whole network, since every host has one to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    a_second: u32,
    at_once: u32,
}

const GLOBAL: Allowance = Allowance {
    a_second: HANDSHAKES_A_SECOND,
    at_once: HANDSHAKES_AT_ONCE,
};
const ONE_ADDRESS: Allowance = Allowance {
    a_second: HANDSHAKES_A_SECOND_AN_ADDRESS,
    at_once: HANDSHAKES_AT_ONCE_AN_ADDRESS,
};

/// A bucket that fills with time: full at first.
#[derive(Debug, Default)]
struct Rate {
    state: Option<(f64, Instant)>,
}

impl Rate {
    fn left(&mut self, now: Instant, allowance: Allowance) -> f64 {
        let full = f64::from(allowance.at_once);
        let left = self.state.map_or(full, |(left, at)| {
            let filled =
                now.saturating_duration_since(at).as_secs_f64() * f64::from(allowance.a_second);
            (left + filled).min(full)
        });
        self.state = Some((left, now));
        left
    }

    fn take(&mut self, now: Instant, allowance: Allowance) {
        let left = self.left(now, allowance);
        self.state = Some((left - 1.0, now));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::*;

    const NAT: &str = "192.0.2.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn let_in(door: &Door, from: &str, now: Instant) -> Option<Admission> {
        match door.knock(ip(from), true, now) {
            Entrance::Open(admission) => Some(admission),
            Entrance::Prove | Entrance::Ignore => None,
        }
    }

    /// Dials as quinn does, in steps of 100 ms: a first packet without answer is repeated after 1, 3 and
    /// 7 s, the dial is given up after 10 s and begun again up to 30 s later (half of the agent's longest
    /// wait). A handshake takes 300 ms, the proof of an address 100 ms more.
    fn all_in_after(agents: usize) -> Duration {
        let door = Door::default();
        let start = Instant::now();
        let mut waiting: Vec<(u64, usize, bool)> = (0..agents).map(|_| (0, 0, false)).collect();
        let mut opening: VecDeque<(u64, Admission)> = VecDeque::new();
        let mut inside = Vec::new();
        for tick in 0..3000_u64 {
            let now = start + Duration::from_millis(tick * 100);
            while opening.front().is_some_and(|(done, _)| *done <= tick) {
                let (_, mut admission) = opening.pop_front().unwrap();
                admission.is_agent();
                inside.push(admission);
            }
            if inside.len() == agents {
                return Duration::from_millis(tick * 100);
            }
            waiting.retain_mut(|(at, tries, proven)| {
                if *at > tick {
                    return true;
                }
                match door.knock(ip(NAT), *proven, now) {
                    Entrance::Open(admission) => {
                        opening.push_back((tick + 3, admission));
                        return false;
                    }
                    Entrance::Prove => {
                        *proven = true;
                        *at = tick + 1;
                    }
                    Entrance::Ignore => {
                        let wait = *[10, 20, 40, 330].get(*tries % 4).unwrap();
                        *proven = *proven && *tries % 4 != 3;
                        *tries += 1;
                        *at = tick + wait;
                    }
                }
                true
            });
        }
        panic!("{} of {agents} are in after five minutes", inside.len());
    }

    #[test]
    fn a_thousand_agents_behind_one_address_are_in_within_a_minute() {
        assert!(
            all_in_after(1000) < Duration::from_secs(15),
            "{:?}",
            all_in_after(1000)
        );
        assert!(
            all_in_after(3000) < Duration::from_mins(1),
            "{:?}",
            all_in_after(3000)
        );
    }

    #[test]
    fn one_address_has_a_rate_and_leaves_the_others_theirs() {
        let (door, now) = (Door::default(), Instant::now());
        let knocks = |now| {
            (0..5000)
                .filter(|_| let_in(&door, NAT, now).is_some())
                .count()
        };
        assert_eq!(knocks(now), 1024);
        assert_eq!(knocks(now), 0);
        assert!(let_in(&door, "192.0.2.2", now).is_some());
        assert_eq!(knocks(now + Duration::from_secs(2)), 200);
    }

    #[test]
    fn under_load_an_address_is_to_be_proven_and_all_together_have_a_rate() {
        let (door, now) = (Door::default(), Instant::now());
        let mut outcomes = (0, 0, 0);
        for n in 0..4000_u32 {
            let from = IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            let entrance = door.knock(from, n >= 2000, now);
            match entrance {
                Entrance::Open(_) => outcomes.0 += 1,
                Entrance::Prove => outcomes.1 += 1,
                Entrance::Ignore => outcomes.2 += 1,
            }
        }
        // 1,025 are let in unproven, the rest of the 2,048 proven.
        assert_eq!(outcomes, (2048, 975, 977));
    }

    #[test]
    fn connections_of_an_address_are_bounded_and_come_free() {
        let door = Door::default();
        let mut now = Instant::now();
        let mut held = Vec::new();
        for _ in 0..40 {
            while let Some(mut admission) = let_in(&door, NAT, now) {
                admission.is_agent();
                held.push(admission);
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(held.len(), 4096);
        held.truncate(4000);
        now += Duration::from_secs(10);
        let again: Vec<_> = (0..500).map_while(|_| let_in(&door, NAT, now)).collect();
        assert_eq!(again.len(), 96);
    }

    #[test]
    fn strangers_count_until_they_are_gone() {
        let (door, now) = (Door::default(), Instant::now());
        let mut strangers: Vec<_> = (0..600).map_while(|_| let_in(&door, NAT, now)).collect();
        assert_eq!(strangers.len(), 512, "not yet an agent's");
        assert!(strangers.iter_mut().all(Admission::is_stranger));
        assert!(let_in(&door, NAT, now).is_none(), "they still count");
        let mut other = let_in(&door, "192.0.2.2", now).unwrap();
        assert!(!other.is_stranger(), "too many are at it");
        strangers.pop();
        assert!(other.is_stranger());
        drop((strangers, other));
        let inside = door.lock();
        assert_eq!((inside.opening, inside.strangers), (0, 0));
        assert!(
            inside
                .addresses
                .values()
                .all(|known| known.connections == 0 && known.unproven == 0)
        );
    }

    #[test]
    fn made_up_senders_take_little_of_an_address_and_no_memory() {
        let (door, now) = (Door::default(), Instant::now());
        let mut held = Vec::new();
        for _ in 0..1000 {
            if let Entrance::Open(admission) = door.knock(ip(NAT), false, now) {
                held.push(admission);
            }
        }
        assert_eq!(held.len(), 64);
        let mut later = now;
        for n in 0..100_000_u32 {
            later += Duration::from_millis(20);
            let from = IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            drop(door.knock(from, false, later));
        }
        assert!(door.lock().addresses.len() <= ADDRESSES);
    }

    #[test]
    fn of_ipv6_a_network_is_one_address() {
        assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::2:3:4:5")));
        assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip(NAT));
    }
}
