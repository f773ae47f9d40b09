//! The deployment's state machine.
//!
//! Three pure functions. [`decide`] turns an input into events, which hold the decision taken with
//! absolute deadlines; [`evolve`] folds one event into the state; [`outstanding`] says what must be
//! carried out for the state to move on. The orchestrator decides on a copy, commits the events,
//! and only then evolves and carries out what is outstanding. Recovery is the same code: fold the
//! events, carry out what is outstanding.
//!
//! What must hold:
//! - a node has at most one attempt that is not over;
//! - an attempt is ordered only while its agent is connected, so one that was never ordered is
//!   known never to have run;
//! - no answer is never success: an attempt of which nothing can be known ends as `Unknown`, and so
//!   does one of which an agent says that it was not started while there is proof that it ran;
//! - an attempt that was ordered under a journal which its agent lost is never ordered again;
//! - while a person is awaited the clocks of the step and of the deployment stand, and what waits
//!   for them holds nothing;
//! - what a person says of an attempt whose end is not known stands beside its agent's word, which
//!   is still taken when it comes;
//! - what is known to have succeeded is not started again: a late word settles what is still open;
//! - a terminal state is never left; what arrives later is recorded and changes no verdict.

mod asking;
mod back;
mod decide;
mod effect;
mod event;
mod evolve;
mod failure;
mod index;
mod input;
mod judge;
mod locks;
mod model;
mod resolution;
mod schedule;
mod status;
mod together;
mod unsuccessful;
mod verdict;
pub mod view;

#[cfg(test)]
mod tests;

pub use back::put_back;
pub use decide::decide;
pub use effect::{Effect, next_deadline, outstanding};
pub use event::{EVENT_FORMAT, Event, NodeEnd, OutputVariable, SkipReason};
pub use evolve::{evolve, fold};
pub use failure::Failure;
pub use index::NodeIndex;
pub use input::{
    AcquireEnd, Asked, CancelAnswer, Illegal, Input, JudgeCondition, Moment, Policy, Sent,
    StartAnswer,
};
pub use judge::{Evidence, judge};
pub use locks::{Blocked, Claim, LockKeeper, NothingHeld};
pub use model::{
    Acquisition, AcquisitionStatus, Attempt, AttemptStatus, Cancel, CancelCause, Closed, Exclusion,
    Interruption, Late, NodeState, OrderFitness, Phase, State, StepState, SubjectState, Verdict,
};
pub use resolution::{Resolution, ResolvedAs, Unresolvable, is_known_end, unresolved};
pub use together::{Together, decide_together};
pub use unsuccessful::{done_once, unsuccessful};
pub use verdict::went_on_despite;
