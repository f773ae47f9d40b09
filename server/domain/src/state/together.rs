//! Deciding about what arrived together.
//!
//! Looking at what follows from a state takes work in proportion to the whole fleet. When a thousand agents
//! say within a moment that they have begun, that look is due once and not a thousand times: what agents
//! say of their attempts is taken in first, one after the other, and then it is looked at what follows.

use std::borrow::Cow;

use super::decide::{respond, take};
use super::event::Event;
use super::input::{Illegal, Input, Moment};
use super::model::State;
use super::schedule;

/// What several inputs change, and everything that follows from them at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Together {
    /// The state that the events lead to.
    pub next: State,
    /// The events.
    pub events: Vec<Event>,
    /// The inputs that the state had no place for; nothing came of them.
    pub illegal: Vec<Illegal>,
}

/// As [`decide`](super::decide()) for one input after the other, on the state that those before it lead
/// to; but of neighbours that say how attempts and acquisitions are, only the last is followed by a look
/// at what they lead to.
pub fn decide_together(
    state: &State,
    inputs: impl IntoIterator<Item = Input>,
    moment: &Moment<'_>,
) -> Together {
    // Most looks find nothing new: the state is copied once it changes.
    let mut next = Cow::Borrowed(state);
    let (mut events, mut illegal) = (Vec::new(), Vec::new());
    let mut look_is_due = false;
    for input in inputs {
        let waits = can_wait(&input);
        if look_is_due && !waits {
            schedule::advance(&mut next, moment, &mut events);
            look_is_due = false;
        }
        match respond(&next, input, moment) {
            Ok(said) => {
                for event in said {
                    take(next.to_mut(), event, &mut events);
                }
                look_is_due = waits;
                if !waits {
                    schedule::advance(&mut next, moment, &mut events);
                }
            }
            Err(why) => illegal.push(why),
        }
    }
    if look_is_due {
        schedule::advance(&mut next, moment, &mut events);
    }
    Together {
        next: next.into_owned(),
        events,
        illegal,
    }
}

/// Whether what follows from an input may be looked at after its neighbours were taken in: it says how
/// one attempt or acquisition is, and what it changes by itself is that alone. What people say and what
/// concerns everything that waits is judged by all that came before.
fn can_wait(input: &Input) -> bool {
    match input {
        Input::AcquireEnded { .. }
        | Input::StartAnswered { .. }
        | Input::AttemptEnded { .. }
        | Input::AttemptSeenRunning { .. }
        | Input::CancelAnswered { .. }
        | Input::Tick => true,
        Input::Begin { .. }
        | Input::Refuse { .. }
        | Input::OrderImpossible { .. }
        | Input::AttemptForgotten { .. }
        | Input::AttemptResolved { .. }
        | Input::CancelRequested { .. }
        | Input::InterruptionAnswered { .. }
        | Input::AgentRevoked { .. } => false,
    }
}
