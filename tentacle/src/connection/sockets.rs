//! The UDP sockets from which servers are dialled.
//!
//! An agent has one for each dial, so that nothing of a connection that failed is left for the next.
//! A program that is many agents at once shares a few among all of them: a socket each would cost it a
//! descriptor and two buffers for each agent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::Endpoint;

use super::endpoint;

/// Where dials come from. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
}

impl Sockets {
    /// One of its own for each dial.
    pub fn own() -> Self {
        Self::default()
    }

    /// So many at each of these addresses of this machine, taken in turn. To be called within the runtime
    /// that will use them.
    pub fn shared(locals: &[IpAddr], each: usize) -> io::Result<Self> {
        let endpoints = locals
            .iter()
            .flat_map(|local| std::iter::repeat_n(*local, each))
            .map(endpoint::bound)
            .collect::<io::Result<Vec<_>>>()?;
        if endpoints.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no address to dial from",
            ));
        }
        Ok(Self(Some(Arc::new(Shared {
            endpoints,
            next: AtomicUsize::new(0),
        }))))
    }

    /// The endpoint for a dial of this peer.
    pub(super) fn endpoint(&self, peer: SocketAddr) -> io::Result<Endpoint> {
        let Some(shared) = &self.0 else {
            return endpoint::client(peer);
        };
        let at = shared.next.fetch_add(1, Ordering::Relaxed) % shared.endpoints.len();
        shared
            .endpoints
            .get(at)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether others use the same socket.
    pub(super) fn are_shared(&self) -> bool {
        self.0.is_some()
    }
}
