//! One client of the proxy: its socket towards the server, its two lanes and the tasks that move
//! packets through them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Direction, Lane, Shared};

pub(super) struct Session {
    to_server: Arc<Lane>,
    to_client: Arc<Lane>,
    socket: watch::Sender<Arc<UdpSocket>>,
    /// Ends the tasks with the session.
    _tasks: JoinSet<()>,
}

fn connect(upstream: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = super::bind()?;
    socket2::SockRef::from(&socket).connect(&upstream.into())?;
    Ok(Arc::new(socket))
}

impl Session {
    /// Must be called within a runtime. `number` tells the clients' dice apart.
    pub(super) fn start(
        shared: &Arc<Shared>,
        client: SocketAddr,
        upstream: SocketAddr,
        number: u64,
    ) -> io::Result<Self> {
        let lane = |direction, n: u64| {
            let way = shared.way(direction);
            let seed = shared.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number << 1 | n);
            let (faults, counters) = (Arc::clone(&way.faults), Arc::clone(&way.counters));
            Arc::new(Lane::new(faults, counters, seed))
        };
        let to_server = lane(Direction::ToServer, 0);
        let to_client = lane(Direction::ToClient, 1);
        let (socket, current) = watch::channel(connect(upstream)?);
        // The sessions hang off `shared`, so its tasks hold it weakly.
        let weak = Arc::downgrade(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(send_to_server(Arc::clone(&to_server), current.clone()));
        tasks.spawn(read_server(
            Weak::clone(&weak),
            Arc::clone(&to_client),
            current,
        ));
        tasks.spawn(send_to_client(weak, Arc::clone(&to_client), client));
        Ok(Self {
            to_server,
            to_client,
            socket,
            _tasks: tasks,
        })
    }

    pub(super) fn lane(&self, direction: Direction) -> Arc<Lane> {
        match direction {
            Direction::ToServer => Arc::clone(&self.to_server),
            Direction::ToClient => Arc::clone(&self.to_client),
        }
    }

    /// Goes on from another port.
    pub(super) fn rebind(&self, upstream: SocketAddr) -> io::Result<()> {
        self.socket.send_replace(connect(upstream)?);
        Ok(())
    }
}

async fn send_to_server(lane: Arc<Lane>, socket: watch::Receiver<Arc<UdpSocket>>) {
    loop {
        let packet = lane.next().await;
        let socket = Arc::clone(&socket.borrow());
        // Nobody listens: as on a real network, the sender is not told.
        let _ = socket.send(&packet).await;
    }
}

async fn read_server(
    shared: Weak<Shared>,
    lane: Arc<Lane>,
    mut current: watch::Receiver<Arc<UdpSocket>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let socket = Arc::clone(&current.borrow_and_update());
        tokio::select! {
            read = socket.recv(&mut buffer) => match read {
                Ok(length) => {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.offer(Direction::ToClient, &lane, &buffer[..length]);
                }
                Err(_) => tokio::task::yield_now().await,
            },
            changed = current.changed() => if changed.is_err() { return },
        }
    }
}

async fn send_to_client(shared: Weak<Shared>, lane: Arc<Lane>, client: SocketAddr) {
    loop {
        let packet = lane.next().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let _ = shared.front.send_to(&packet, client).await;
    }
}
