//! Two machines with one identity: an image that was cloned after its agent had joined.
//!
//! Of several connections of one agent the newest wins, for the older one is most likely dead. But when
//! the newest comes from another machine than the older one, the older is asked for a sign of life. If it
//! gives one there are two machines, and the newcomer is turned away with the reason: the one that was
//! there first keeps its work, and neither gets that of the other. Which of them is the copy nobody can
//! know; an operator is told of both.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::fault;
use mantle_shared::ids::AgentId;
use mantle_shared::protocol::Hello;

use super::Shared;
use super::arrival::{Arrival, Refusal};

/// How long the older connection has for its sign of life. A line that takes longer for a packet and its
/// answer is as good as dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// When a machine that was turned away may ask again: the other may be gone by then.
pub(super) const ASK_AGAIN_MS: u32 = 30_000;
/// A copy that has not asked for so long has been switched off or has joined anew.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(5);
/// How many agents' copies are remembered: more is an attack, not a mistake.
const REMEMBERED: usize = 1024;

/// Tells machines apart: an agent says it of itself, and a copy that lies only harms itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Changes when it boots.
    boot_id: String,
    /// What it calls itself.
    pub(super) host_name: String,
}

impl Machine {
    pub(super) fn of(hello: &Hello) -> Self {
        Self {
            boot_id: hello.boot_id.clone(),
            host_name: hello.host_name.clone(),
        }
    }
}

/// A machine that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// What it calls itself.
    pub host_name: String,
    /// Where it came from.
    pub remote: SocketAddr,
}

/// The machines that were turned away of late. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    known: Arc<Mutex<HashMap<AgentId, (TurnedAway, Instant)>>>,
}

impl Copies {
    /// The other machine with this agent's identity, if one has asked to be let in of late.
    pub fn of(&self, agent: AgentId) -> Option<TurnedAway> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (copy, at) = known.get(&agent)?;
        (at.elapsed() < FORGOTTEN_AFTER).then(|| copy.clone())
    }

    /// Notes one; the answer is whether it is news.
    fn note(&self, agent: AgentId, copy: TurnedAway) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, at)| at.elapsed() < FORGOTTEN_AFTER);
        let same = |known: &(TurnedAway, Instant)| known.0.host_name == copy.host_name;
        let is_news = !known.get(&agent).is_some_and(same);
        if known.len() < REMEMBERED || known.contains_key(&agent) {
            known.insert(agent, (copy, Instant::now()));
        }
        is_news
    }
}

/// The name of the machine that has this agent's identity and is alive, if it is another than the one
/// that says this hello.
pub(super) async fn living_other(
    agent: AgentId,
    hello: &Hello,
    remote: SocketAddr,
    shared: &Shared,
) -> Option<String> {
    let sessions = &shared.parts.sessions;
    let (session, machine) = sessions.machine(agent)?;
    if machine == Machine::of(hello) || fault::sabotaged("copies-welcome") {
        return None;
    }
    let answer = sessions.ask_for_life(agent, session);
    let is_alive = tokio::time::timeout(SIGN_OF_LIFE, answer).await;
    if !is_alive.unwrap_or(false) {
        return None;
    }
    let copy = TurnedAway {
        host_name: hello.host_name.clone(),
        remote,
    };
    if sessions.copies().note(agent, copy) {
        tracing::warn!(
            agent.id = %agent,
            host.name = hello.host_name,
            host.other = machine.host_name,
            remote = %remote,
            "two machines have one agent's identity: the second is turned away; on the copy type 'tentacle join --force' with a new token"
        );
        let refusal = Refusal {
            remote,
            agent: Some(agent),
            reason: format!(
                "a copy of its machine: '{}' has its identity and is connected, '{}' asks to be",
                machine.host_name, hello.host_name
            ),
            more: 0,
        };
        // Told at leisure, as every refusal.
        let _ = shared.parts.arrivals.try_send(Arrival::Refused(refusal));
    }
    Some(machine.host_name)
}

/// What the machine that is turned away is told.
pub(super) fn reason(other: &str) -> String {
    format!(
        "the machine '{other}' is connected with this agent's identity, so one of the two is a copy of the other, as of a disk image; on the copy type 'tentacle join --force' with a new token and another --name"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::uuid::Uuid;

    use super::*;

    fn copy(host_name: &str) -> TurnedAway {
        TurnedAway {
            host_name: host_name.to_owned(),
            remote: ([127, 0, 0, 1], 7).into(),
        }
    }

    #[test]
    fn a_copy_is_news_once_and_another_one_again() {
        let copies = Copies::default();
        let agent = AgentId::from_uuid(Uuid::from_u128(1));
        assert_eq!(copies.of(agent), None);
        assert!(copies.note(agent, copy("clone")));
        assert!(!copies.note(agent, copy("clone")));
        assert!(copies.note(agent, copy("other")));
        assert_eq!(copies.of(agent), Some(copy("other")));
        assert_eq!(copies.of(AgentId::from_uuid(Uuid::from_u128(2))), None);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let copies = Copies::default();
        for n in 0..2 * REMEMBERED {
            copies.note(AgentId::from_uuid(Uuid::from_u128(n as u128)), copy("x"));
        }
        assert_eq!(copies.known.lock().unwrap().len(), REMEMBERED);
    }
}
