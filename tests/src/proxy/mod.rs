//! A UDP proxy with faults, between agents and the server, inside the test's process.
//!
//! Each client address gets a socket of its own towards the server, so that the server sees many
//! clients. Packets keep their order unless reordering is asked for. All dice come from one seed:
//! the same packets meet the same fate. What the faults mean is said at [`Faults`].
//!
//! ```no_run
//! # fn example(server: std::net::SocketAddr) -> std::io::Result<()> {
//! use mantle_tests::proxy::{Direction, Proxy};
//! let proxy = Proxy::start(server, 7)?;
//! proxy.loss(0.02);
//! proxy.one_way(Direction::ToClient); // what the client says is lost
//! proxy.pass();
//! # Ok(()) }
//! ```

mod lane;
mod profile;
#[cfg(test)]
mod quic_tests;
mod session;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use lane::{Counters, Lane};
pub use lane::{Counts, Faults, Rate};
pub use profile::{Played, Profile};
use session::Session;

/// The bytes of an IPv4 and a UDP header, which an MTU includes.
const HEADERS_BYTES: usize = 28;
/// As large as the system gives: a packet dropped by the kernel is a fault that nobody asked for.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The largest payload of a packet within this MTU.
fn payload_within(mtu_bytes: usize) -> usize {
    mtu_bytes.saturating_sub(HEADERS_BYTES)
}

/// Which way a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client (an agent) to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Both, for faults of the whole line.
pub const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// What a tap decides about the packet it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with it.
    Pass,
    /// Drop it.
    Drop,
}

type Tap = Box<dyn FnMut(&[u8]) -> Verdict + Send>;

/// One direction's settings and counters, shared by all clients.
#[derive(Default)]
struct Way {
    faults: Arc<Mutex<Faults>>,
    counters: Arc<Counters>,
    tap: Mutex<Option<Tap>>,
}

struct Shared {
    front: UdpSocket,
    addr: SocketAddr,
    upstream: Mutex<SocketAddr>,
    to_server: Way,
    to_client: Way,
    sessions: Mutex<HashMap<SocketAddr, Session>>,
    kill_new: AtomicBool,
    killed_new: AtomicU64,
    seed: u64,
}

/// The proxy. Clones are handles on the same one; it ends with the last of them.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    _reader: Arc<StopOnDrop>,
}

struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn bind_std() -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket on a port of the system's choice, with large buffers.
fn bind() -> io::Result<UdpSocket> {
    UdpSocket::from_std(bind_std()?)
}

impl Proxy {
    /// A perfect line to `upstream`; to be called within a runtime. `seed` decides every die that faults will throw.
    pub fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::at(bind()?, upstream, seed)
    }

    /// Like [`Self::start`], with the clients' end in the network of a process: a way out of it.
    pub fn start_in_network_of(pid: i32, upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = crate::namespaces::in_network_of(pid, bind_std)?;
        Self::at(UdpSocket::from_std(front)?, upstream, seed)
    }

    fn at(front: UdpSocket, upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            addr: front.local_addr()?,
            front,
            upstream: Mutex::new(upstream),
            to_server: Way::default(),
            to_client: Way::default(),
            sessions: Mutex::default(),
            kill_new: AtomicBool::new(false),
            killed_new: AtomicU64::new(0),
            seed,
        });
        let reader = tokio::spawn(read_clients(Arc::clone(&shared)));
        Ok(Self {
            shared,
            _reader: Arc::new(StopOnDrop(reader.abort_handle())),
        })
    }

    /// Where clients are to dial.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Ends every fault of both directions, including taps and [`Self::kill_new`].
    pub fn pass(&self) {
        self.shared.kill_new.store(false, Ordering::SeqCst);
        for direction in BOTH {
            *self.way(direction).tap.lock().unwrap() = None;
            self.set(direction, |faults| *faults = Faults::default());
        }
    }

    /// Changes the faults of one direction; holds for what waits already, too.
    pub fn set(&self, direction: Direction, change: impl FnOnce(&mut Faults)) {
        change(&mut self.way(direction).faults.lock().unwrap());
        for session in self.shared.sessions.lock().unwrap().values() {
            session.lane(direction).recheck();
        }
    }

    fn set_both(&self, change: impl Fn(&mut Faults)) {
        for direction in BOTH {
            self.set(direction, &change);
        }
    }

    /// A blackhole: everything vanishes, both ways, without any error at either end.
    pub fn drop_all(&self) {
        self.set_both(|faults| faults.blackhole = true);
    }

    /// Only packets of this direction pass; the other is a blackhole.
    pub fn one_way(&self, passing: Direction) {
        for direction in BOTH {
            self.set(direction, |faults| faults.blackhole = direction != passing);
        }
    }

    /// Nothing moves, nothing is lost.
    pub fn pause(&self) {
        self.set_both(|faults| faults.paused = true);
    }

    /// Ends [`Self::pause`]; what waited goes on at once.
    pub fn resume(&self) {
        self.set_both(|faults| faults.paused = false);
    }

    /// Every packet takes this much longer, each way.
    pub fn delay(&self, delay: Duration) {
        self.set_both(|faults| faults.delay = delay);
    }

    /// The last packet of every burst is late by this much, each way.
    pub fn tail_late(&self, delay: Duration) {
        self.set_both(|faults| faults.tail_late = delay);
    }

    /// This share of packets is lost, each way.
    pub fn loss(&self, share: f64) {
        self.set_both(|faults| faults.loss = share);
    }

    /// This share of packets comes twice, each way.
    pub fn duplicate(&self, share: f64) {
        self.set_both(|faults| faults.duplicate = share);
    }

    /// This share of packets overtakes the one before, each way.
    pub fn reorder(&self, share: f64) {
        self.set_both(|faults| faults.reorder = share);
    }

    /// The line's speed, each way.
    pub fn rate(&self, rate: Rate) {
        self.set_both(|faults| faults.rate = Some(rate));
    }

    /// Packets over this MTU (IP and UDP headers included) vanish without an ICMP answer.
    pub fn mtu(&self, bytes: usize) {
        let most = payload_within(bytes);
        self.set_both(|faults| faults.payload_bytes_max = Some(most));
    }

    /// From now on unknown clients are ignored; those that are known go on.
    pub fn kill_new(&self) {
        self.shared.kill_new.store(true, Ordering::SeqCst);
    }

    /// How many packets [`Self::kill_new`] ignored.
    pub fn killed_new(&self) -> u64 {
        self.shared.killed_new.load(Ordering::SeqCst)
    }

    /// Every client's port towards the server changes, as a NAT does after an idle time.
    pub fn rebind_client_ports(&self) -> io::Result<()> {
        let upstream = *self.shared.upstream.lock().unwrap();
        for session in self.shared.sessions.lock().unwrap().values() {
            session.rebind(upstream)?;
        }
        Ok(())
    }

    /// From now on the server is there instead.
    pub fn set_upstream(&self, upstream: SocketAddr) -> io::Result<()> {
        *self.shared.upstream.lock().unwrap() = upstream;
        self.rebind_client_ports()
    }

    /// Shows each packet of a direction to `tap` before any fault, until the next [`Self::pass`].
    ///
    /// Packets are encrypted, but their sizes speak: an order is a large packet towards the
    /// client. A tap may hold a clone of the proxy and change its faults, which is how an answer
    /// is lost exactly on its way back; it must not set a tap or call [`Self::pass`].
    pub fn tap(&self, direction: Direction, tap: impl FnMut(&[u8]) -> Verdict + Send + 'static) {
        *self.way(direction).tap.lock().unwrap() = Some(Box::new(tap));
    }

    /// As soon as a packet of at least `payload_bytes` passes in `direction`, everything of the
    /// other direction vanishes, until [`Self::pass`]: the request arrives, its answer is lost.
    pub fn lose_answer_to(&self, direction: Direction, payload_bytes: usize) {
        let proxy = Arc::downgrade(&self.shared);
        self.tap(direction, move |packet| {
            if packet.len() >= payload_bytes
                && let Some(shared) = proxy.upgrade()
            {
                let other = BOTH.into_iter().find(|d| *d != direction);
                if let Some(other) = other {
                    shared.way(other).faults.lock().unwrap().blackhole = true;
                }
            }
            Verdict::Pass
        });
    }

    /// What became of the packets of a direction so far.
    pub fn counts(&self, direction: Direction) -> Counts {
        self.way(direction).counters.snapshot()
    }

    /// How many client addresses were seen.
    pub fn clients(&self) -> usize {
        self.shared.sessions.lock().unwrap().len()
    }

    fn way(&self, direction: Direction) -> &Way {
        self.shared.way(direction)
    }
}

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Lets the tap look, then hands the packet to the lane.
    fn offer(&self, direction: Direction, lane: &Lane, packet: &[u8]) {
        // Held while it runs: what `pass` has ended must not go on, nor break the line anew.
        let verdict = match &mut *self.way(direction).tap.lock().unwrap() {
            Some(tap) => tap(packet),
            None => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => lane.offer(packet),
            Verdict::Drop => {
                let counters = &self.way(direction).counters;
                counters.received.fetch_add(1, Ordering::SeqCst);
                counters.dropped.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// The lane towards the server of this client, which may be new.
    fn lane_of(self: &Arc<Self>, client: SocketAddr) -> io::Result<Option<Arc<Lane>>> {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(session) = sessions.get(&client) {
            return Ok(Some(session.lane(Direction::ToServer)));
        }
        if self.kill_new.load(Ordering::SeqCst) {
            self.killed_new.fetch_add(1, Ordering::SeqCst);
            return Ok(None);
        }
        let number = sessions.len() as u64;
        let upstream = *self.upstream.lock().unwrap();
        let session = Session::start(self, client, upstream, number)?;
        let lane = session.lane(Direction::ToServer);
        sessions.insert(client, session);
        Ok(Some(lane))
    }
}

async fn read_clients(shared: Arc<Shared>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // An error is an ICMP answer to something sent earlier, not the end of the socket.
        let Ok((length, client)) = shared.front.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        if let Ok(Some(lane)) = shared.lane_of(client) {
            shared.offer(Direction::ToServer, &lane, &buffer[..length]);
        }
    }
}
