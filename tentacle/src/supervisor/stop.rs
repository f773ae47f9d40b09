//! Why and how an attempt is being stopped, shared by the thread that watches and the one that works.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::actions::StopToken;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Somebody asked for it.
    Cancelled,
    /// The time is over.
    TimedOut,
}

/// The stop of one attempt: it is asked for once, the first reason counts.
#[derive(Debug, Clone)]
pub(super) struct StopState {
    token: StopToken,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    stop: Option<(StopReason, Duration)>,
    abandoned: Vec<String>,
}

impl StopState {
    /// Nothing is being stopped.
    pub(super) fn new(token: StopToken) -> Self {
        Self {
            token,
            inner: Arc::default(),
        }
    }

    /// Asks for a stop; processes have `grace` between the request and the kill.
    pub(super) fn stop(&self, reason: StopReason, grace: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.stop.get_or_insert((reason, grace));
        drop(inner);
        self.token.stop();
    }

    /// Reason and grace, if a stop was asked for.
    pub(super) fn asked(&self) -> Option<(StopReason, Duration)> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop
    }

    /// Notes processes that could not be killed.
    pub(super) fn abandon(&self, processes: impl IntoIterator<Item = String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.abandoned.extend(processes);
    }

    /// Processes that could not be killed.
    pub(super) fn abandoned(&self) -> Vec<String> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abandoned
            .clone()
    }

    /// The token that actions look at.
    pub(super) fn token(&self) -> &StopToken {
        &self.token
    }
}
