//! What each fault does to plain UDP packets, told by counters and by what arrives.

use super::*;
use crate::wait::wait_until;

const SOON: Duration = Duration::from_secs(10);

/// Sends back what it gets, and remembers from which ports it came.
struct EchoServer {
    addr: SocketAddr,
    ports: Arc<Mutex<Vec<u16>>>,
    _task: StopOnDrop,
}

fn echo_server() -> EchoServer {
    let socket = bind().unwrap();
    let addr = socket.local_addr().unwrap();
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if !seen.lock().unwrap().contains(&from.port()) {
                seen.lock().unwrap().push(from.port());
            }
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    });
    EchoServer {
        addr,
        ports,
        _task: StopOnDrop(task.abort_handle()),
    }
}

struct Client(UdpSocket);

impl Client {
    async fn of(proxy: &Proxy) -> Self {
        let socket = bind().unwrap();
        socket.connect(proxy.addr()).await.unwrap();
        Self(socket)
    }

    async fn send(&self, number: u32) {
        self.0.send(&number.to_be_bytes()).await.unwrap();
    }

    async fn receive(&self) -> u32 {
        let mut buffer = [0; 4];
        tokio::time::timeout(SOON, self.0.recv(&mut buffer))
            .await
            .expect("an answer in time")
            .unwrap();
        u32::from_be_bytes(buffer)
    }

    async fn round_trip(&self, number: u32) -> Duration {
        let start = tokio::time::Instant::now();
        self.send(number).await;
        assert_eq!(self.receive().await, number);
        start.elapsed()
    }
}

async fn rig() -> (EchoServer, Proxy, Client) {
    let server = echo_server();
    let proxy = Proxy::start(server.addr, 7).unwrap();
    let client = Client::of(&proxy).await;
    (server, proxy, client)
}

async fn received(proxy: &Proxy, direction: Direction, count: u64) {
    wait_until(&format!("{count} packets {direction:?}"), SOON, || {
        proxy.counts(direction).received >= count
    })
    .await;
}

#[tokio::test]
async fn a_perfect_line_keeps_order_and_clients_apart() {
    let (server, proxy, first) = rig().await;
    let second = Client::of(&proxy).await;
    for number in 0..200 {
        first.send(number).await;
        second.send(number + 1000).await;
    }
    for number in 0..200 {
        assert_eq!(first.receive().await, number);
        assert_eq!(second.receive().await, number + 1000);
    }
    assert_eq!(proxy.clients(), 2);
    assert_eq!(server.ports.lock().unwrap().len(), 2);
    assert_eq!(proxy.counts(Direction::ToServer).dropped, 0);
}

#[tokio::test]
async fn a_blackhole_swallows_and_pass_ends_it() {
    let (_server, proxy, client) = rig().await;
    client.round_trip(1).await;
    proxy.drop_all();
    client.send(2).await;
    received(&proxy, Direction::ToServer, 2).await;
    proxy.pass();
    client.send(3).await;
    assert_eq!(client.receive().await, 3, "2 was lost for good");
    assert_eq!(proxy.counts(Direction::ToServer).dropped, 1);
}

#[tokio::test]
async fn a_blackhole_swallows_what_already_waits() {
    let (_server, proxy, client) = rig().await;
    proxy.pause();
    client.send(1).await;
    received(&proxy, Direction::ToServer, 1).await;
    proxy.drop_all();
    wait_until("the packet is dropped", SOON, || {
        proxy.counts(Direction::ToServer).dropped == 1
    })
    .await;
    proxy.pass();
    client.round_trip(2).await;
}

#[tokio::test]
async fn a_pause_loses_nothing() {
    let (_server, proxy, client) = rig().await;
    proxy.pause();
    for number in 0..50 {
        client.send(number).await;
    }
    received(&proxy, Direction::ToServer, 50).await;
    assert_eq!(proxy.counts(Direction::ToServer).forwarded, 0);
    proxy.resume();
    for number in 0..50 {
        assert_eq!(client.receive().await, number);
    }
}

#[tokio::test]
async fn one_way_passes_that_way_only() {
    let (_server, proxy, client) = rig().await;
    proxy.one_way(Direction::ToServer);
    client.send(1).await;
    received(&proxy, Direction::ToClient, 1).await;
    assert_eq!(proxy.counts(Direction::ToServer).forwarded, 1);
    assert_eq!(proxy.counts(Direction::ToClient).dropped, 1);
}

#[tokio::test]
async fn delay_and_late_tails_take_their_time() {
    let (_server, proxy, client) = rig().await;
    proxy.delay(Duration::from_millis(60));
    assert!(client.round_trip(1).await >= Duration::from_millis(120));
    proxy.pass();
    proxy.set(Direction::ToServer, |faults| {
        faults.tail_late = Duration::from_millis(150);
    });
    let start = tokio::time::Instant::now();
    client.send(2).await;
    client.send(3).await;
    assert_eq!(client.receive().await, 2);
    let first = start.elapsed();
    assert_eq!(client.receive().await, 3);
    let last = start.elapsed();
    assert!(last >= Duration::from_millis(150), "{last:?}");
    assert!(first < last, "the first left when the second came");
}

async fn survivors(seed: u64) -> Vec<u32> {
    let server = echo_server();
    let proxy = Proxy::start(server.addr, seed).unwrap();
    let client = Client::of(&proxy).await;
    proxy.set(Direction::ToServer, |faults| faults.loss = 0.3);
    for number in 0..100 {
        client.send(number).await;
    }
    received(&proxy, Direction::ToServer, 100).await;
    proxy.pass();
    client.send(u32::MAX).await;
    let mut found = Vec::new();
    loop {
        match client.receive().await {
            u32::MAX => return found,
            number => found.push(number),
        }
    }
}

#[tokio::test]
async fn loss_is_decided_by_the_seed() {
    let first = survivors(7).await;
    assert_eq!(first, survivors(7).await);
    assert_ne!(first, survivors(8).await);
    assert!((50..90).contains(&first.len()), "{} of 100", first.len());
}

#[tokio::test]
async fn duplicates_come_twice_and_in_order() {
    let (_server, proxy, client) = rig().await;
    proxy.set(Direction::ToServer, |faults| faults.duplicate = 1.0);
    client.send(1).await;
    client.send(2).await;
    let got = [
        client.receive().await,
        client.receive().await,
        client.receive().await,
        client.receive().await,
    ];
    assert_eq!(got, [1, 1, 2, 2]);
    assert_eq!(proxy.counts(Direction::ToServer).duplicated, 2);
}

#[tokio::test]
async fn reordering_happens_only_when_asked() {
    let (_server, proxy, client) = rig().await;
    proxy.pause();
    proxy.set(Direction::ToServer, |faults| faults.reorder = 1.0);
    for number in 0..3 {
        client.send(number).await;
    }
    received(&proxy, Direction::ToServer, 3).await;
    proxy.resume();
    let got = [
        client.receive().await,
        client.receive().await,
        client.receive().await,
    ];
    assert_eq!(got, [1, 2, 0]);
    assert_eq!(proxy.counts(Direction::ToServer).reordered, 2);
}

#[tokio::test]
async fn a_slow_line_takes_its_time_and_drops_what_does_not_fit() {
    let (_server, proxy, client) = rig().await;
    client.round_trip(0).await;
    // A hundred packets of 1000 bytes at 8 Mbit/s take 100 ms.
    proxy.set(Direction::ToServer, |faults| {
        faults.rate = Some(Rate {
            bits_per_second: 8_000_000,
            queue_bytes: 200_000,
        });
    });
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        client.0.send(&[0; 1000]).await.unwrap();
    }
    wait_until("all packets are through", SOON, || {
        proxy.counts(Direction::ToServer).forwarded == 101
    })
    .await;
    assert!(start.elapsed() >= Duration::from_millis(95));
    proxy.set(Direction::ToServer, |faults| {
        faults.rate = Some(Rate {
            bits_per_second: 1,
            queue_bytes: 2500,
        });
        faults.paused = true;
    });
    for _ in 0..10 {
        client.0.send(&[0; 1000]).await.unwrap();
    }
    received(&proxy, Direction::ToServer, 111).await;
    assert_eq!(proxy.counts(Direction::ToServer).dropped, 8);
}

#[tokio::test]
async fn packets_over_the_mtu_vanish() {
    let (_server, proxy, client) = rig().await;
    proxy.mtu(1280);
    client.0.send(&[0; 1253]).await.unwrap();
    client.0.send(&[0; 1252]).await.unwrap();
    received(&proxy, Direction::ToClient, 1).await;
    assert_eq!(proxy.counts(Direction::ToServer).dropped, 1);
}

#[tokio::test]
async fn a_rebound_port_is_a_new_client_to_the_server_only() {
    let (server, proxy, client) = rig().await;
    client.round_trip(1).await;
    proxy.rebind_client_ports().unwrap();
    client.round_trip(2).await;
    assert_eq!(server.ports.lock().unwrap().len(), 2);
    assert_eq!(proxy.clients(), 1);
}

#[tokio::test]
async fn unknown_clients_can_be_kept_out() {
    let (_server, proxy, known) = rig().await;
    known.round_trip(1).await;
    proxy.kill_new();
    let stranger = Client::of(&proxy).await;
    stranger.send(2).await;
    wait_until("the stranger is ignored", SOON, || proxy.killed_new() == 1).await;
    known.round_trip(3).await;
    assert_eq!(proxy.clients(), 1);
}

#[tokio::test]
async fn the_answer_to_a_large_packet_is_lost_and_the_packet_is_not() {
    let (_server, proxy, client) = rig().await;
    client.round_trip(1).await;
    proxy.lose_answer_to(Direction::ToServer, 1000);
    client.round_trip(2).await;
    client.0.send(&[0; 1000]).await.unwrap();
    wait_until("the answer is lost", SOON, || {
        proxy.counts(Direction::ToClient).dropped == 1
    })
    .await;
    assert_eq!(proxy.counts(Direction::ToServer).dropped, 0);
    proxy.pass();
    client.round_trip(3).await;
}

#[tokio::test]
async fn another_server_takes_over() {
    let (_server, proxy, client) = rig().await;
    client.round_trip(1).await;
    let other = echo_server();
    proxy.set_upstream(other.addr).unwrap();
    client.round_trip(2).await;
    assert_eq!(other.ports.lock().unwrap().len(), 1);
}
