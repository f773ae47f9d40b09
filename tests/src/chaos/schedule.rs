//! What is broken when: drawn from the seed alone, before anything runs.
//!
//! The same seed, length and number of agents give the same schedule on every machine. What a fault
//! meets when its time has come is not decided by it: a server that is down already is not killed.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::proxy::Direction;

/// Time between two faults.
const GAP_MS: std::ops::Range<u64> = 800..4_000;
/// How long a killed or stopped process stays down.
const DOWN_MS: std::ops::Range<u64> = 50..4_000;
/// How long a process is frozen, or a line cut.
const DARK_MS: std::ops::Range<u64> = 500..12_000;
/// How long a disk stays full.
const FULL_MS: std::ops::Range<u64> = 1_000..6_000;

/// Points of the server's code at which it is killed, and how often they may be passed before.
const SERVER_POINTS: &[(&str, u32)] = &[
    ("server.before_end_commit", 3),
    ("server.after_end_commit", 3),
    ("server.after_order_commit", 3),
    ("server.after_log_commit", 20),
];
/// The same of the agent and of what it starts.
const AGENT_POINTS: &[(&str, u32)] = &[
    ("agent.accepted_before_spawn", 2),
    ("agent.spawned_before_journal", 2),
    ("agent.spawned", 2),
];

/// Something that is broken for a while, or once.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The server is killed.
    KillServer,
    /// The server is stopped in good order.
    StopServer,
    /// The server stands still.
    FreezeServer,
    /// The server is started anew, and dies at this point.
    KillServerAt(String),
    /// The server's disk is full.
    FillServer,
    /// An agent is killed.
    KillAgent(usize),
    /// An agent is stopped in good order.
    StopAgent(usize),
    /// An agent stands still.
    FreezeAgent(usize),
    /// An agent is started anew, and dies at this point.
    KillAgentAt(usize, String),
    /// An agent's disk is full.
    FillAgent(usize),
    /// The supervisors of an agent are killed.
    KillSupervisors(usize),
    /// Nothing passes between an agent and the server.
    Cut(usize),
    /// Only this direction passes.
    OneWay(usize, Direction),
    /// This share of an agent's packets is lost, and as many come twice.
    Lossy(usize, f64),
    /// An agent comes from another port.
    Rebind(usize),
    /// One of the tasks that are under way is cancelled.
    Cancel(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillServer => write!(f, "kill the server"),
            Self::StopServer => write!(f, "stop the server"),
            Self::FreezeServer => write!(f, "freeze the server"),
            Self::KillServerAt(point) => write!(f, "kill the server at {point}"),
            Self::FillServer => write!(f, "fill the server's disk"),
            Self::KillAgent(agent) => write!(f, "kill agent {agent}"),
            Self::StopAgent(agent) => write!(f, "stop agent {agent}"),
            Self::FreezeAgent(agent) => write!(f, "freeze agent {agent}"),
            Self::KillAgentAt(agent, point) => write!(f, "kill agent {agent} at {point}"),
            Self::FillAgent(agent) => write!(f, "fill the disk of agent {agent}"),
            Self::KillSupervisors(agent) => write!(f, "kill the supervisors of agent {agent}"),
            Self::Cut(agent) => write!(f, "cut the line of agent {agent}"),
            Self::OneWay(agent, Direction::ToServer) => {
                write!(f, "let agent {agent} only speak")
            }
            Self::OneWay(agent, Direction::ToClient) => {
                write!(f, "let agent {agent} only hear")
            }
            Self::Lossy(agent, share) => {
                write!(f, "lose {:.0} % of agent {agent}", share * 100.0)
            }
            Self::Rebind(agent) => write!(f, "move agent {agent} to another port"),
            Self::Cancel(_) => write!(f, "cancel a task"),
        }
    }
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    /// When it begins, from the beginning of the run.
    pub at: Duration,
    /// How long it lasts; nothing for what is over at once.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.2} s  {}", self.at.as_secs_f64(), self.fault)?;
        if self.lasts.is_zero() {
            return Ok(());
        }
        write!(f, ", {:.2} s", self.lasts.as_secs_f64())
    }
}

/// The faults of a run of this length, in order. `small` agents have a disk that can be filled.
pub fn schedule(seed: u64, length: Duration, agents: usize, small: usize) -> Vec<Scheduled> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut at = Duration::from_millis(dice.random_range(GAP_MS));
    let mut all = Vec::new();
    while at < length {
        let fault = fault(&mut dice, agents, small);
        let lasts = match &fault {
            Fault::KillServer
            | Fault::StopServer
            | Fault::KillServerAt(_)
            | Fault::KillAgent(_)
            | Fault::StopAgent(_)
            | Fault::KillAgentAt(..) => DOWN_MS,
            Fault::FreezeServer
            | Fault::FreezeAgent(_)
            | Fault::Cut(_)
            | Fault::OneWay(..)
            | Fault::Lossy(..) => DARK_MS,
            Fault::FillServer | Fault::FillAgent(_) => FULL_MS,
            Fault::KillSupervisors(_) | Fault::Rebind(_) | Fault::Cancel(_) => 0..1,
        };
        let lasts = Duration::from_millis(dice.random_range(lasts));
        all.push(Scheduled { at, lasts, fault });
        at += Duration::from_millis(dice.random_range(GAP_MS));
    }
    all
}

fn fault(dice: &mut StdRng, agents: usize, small: usize) -> Fault {
    let agent = dice.random_range(0..agents);
    match dice.random_range(0..100) {
        0..14 => Fault::KillServer,
        14..17 => Fault::StopServer,
        17..21 => Fault::FreezeServer,
        21..27 => Fault::KillServerAt(point(dice, SERVER_POINTS)),
        27..29 => Fault::FillServer,
        29..45 => Fault::KillAgent(agent),
        45..49 => Fault::StopAgent(agent),
        49..54 => Fault::FreezeAgent(agent),
        54..63 => Fault::KillAgentAt(agent, point(dice, AGENT_POINTS)),
        63..67 if small > 0 => Fault::FillAgent(dice.random_range(0..small)),
        63..69 => Fault::KillSupervisors(agent),
        69..77 => Fault::Cut(agent),
        77..79 => Fault::OneWay(agent, Direction::ToServer),
        79..81 => Fault::OneWay(agent, Direction::ToClient),
        81..85 => Fault::Lossy(agent, f64::from(dice.random_range(1..20)) / 100.0),
        85..90 => Fault::Rebind(agent),
        _ => Fault::Cancel(dice.random_range(0..64)),
    }
}

fn point(dice: &mut StdRng, points: &[(&str, u32)]) -> String {
    let (name, passes) = points[dice.random_range(0..points.len())];
    format!("{name}:{}", dice.random_range(1..=passes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_alone_decides() {
        let hour = Duration::from_hours(1);
        let all = schedule(7, hour, 10, 2);
        assert_eq!(all, schedule(7, hour, 10, 2));
        assert_ne!(all, schedule(8, hour, 10, 2));
        // A shorter run is the beginning of a longer one.
        let short = schedule(7, Duration::from_mins(3), 10, 2);
        assert_eq!(short, all[..short.len()]);
        assert!(short.iter().all(|one| one.at < Duration::from_mins(3)));
    }

    #[test]
    fn an_hour_has_every_fault() {
        let all = schedule(1, Duration::from_hours(1), 10, 2);
        let kinds: std::collections::BTreeSet<String> = all
            .iter()
            .map(|one| {
                let text = format!("{:?}", one.fault);
                text.split(['(', ' ']).next().unwrap_or_default().to_owned()
            })
            .collect();
        assert_eq!(kinds.len(), 16, "{kinds:?}");
        assert!(all.len() > 1000, "{}", all.len());
    }
}
