//! `tcp.check`: waits until a port accepts connections.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::systemd::a_minute;
use super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};

/// The pause between two tries.
const INTERVAL: Duration = Duration::from_millis(500);
/// One try may take this long: a firewall that drops packets answers nothing at all.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// `tcp.check`.
pub(super) struct TcpCheck;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    host: Option<String>,
    #[serde(deserialize_with = "values::optional_number")]
    port: Option<u32>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
}

impl Inputs {
    /// Where it connects to; this machine unless a host is named.
    fn address(&self) -> Result<(String, u16), ActionError> {
        let host = self.host.as_deref().unwrap_or("localhost").trim();
        let port = self.port.and_then(|port| u16::try_from(port).ok());
        match port.filter(|port| *port > 0) {
            Some(port) if !host.is_empty() => Ok((host.to_owned(), port)),
            Some(_) => Err(ActionError::input("with.host: it is empty")),
            None => Err(ActionError::input("with.port: a port is from 1 to 65535")),
        }
    }
}

impl Action for TcpCheck {
    fn name(&self) -> &'static str {
        "tcp.check"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with)?.address().map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let (host, port) = inputs.address()?;
        let deadline = Instant::now() + inputs.within;
        loop {
            let error = match connect(&host, port, deadline) {
                Ok(()) => {
                    context.info(format!("{host}:{port} accepts connections"));
                    return Ok(ActionReport::default());
                }
                Err(error) => error,
            };
            context.verbose(format!("{host}:{port}: {error}"));
            if Instant::now() + INTERVAL >= deadline {
                return Err(ActionError::failed(format!(
                    "{host}:{port} did not accept a connection within {}: {error}; does the service listen there, and does a firewall let this machine through?",
                    values::show_duration(inputs.within)
                )));
            }
            context.stop.sleep(INTERVAL)?;
        }
    }
}

/// Tries every address of the name.
fn connect(host: &str, port: u16, deadline: Instant) -> std::io::Result<()> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        // At the deadline there is one short try still, so that `within: 0s` asks once.
        let timeout = left.clamp(Duration::from_millis(100), TRY_TIMEOUT);
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::json;

    use super::super::test_context::{Bench, message};
    use super::*;

    #[test]
    fn a_port_that_opens_is_waited_for_and_one_that_does_not_is_named() {
        let bench = Bench::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let with = |within: &str| json!({"host": "127.0.0.1", "port": port, "within": within});
        bench.run(&TcpCheck, with("10s")).unwrap();
        drop(listener);
        let error = message(bench.run(&TcpCheck, with("0s")));
        assert!(
            error.contains(&format!("127.0.0.1:{port} did not accept")),
            "{error}"
        );
        for port in [0, 65_536] {
            let error = message(bench.run(&TcpCheck, json!({"port": port})));
            assert!(error.contains("from 1 to 65535"), "{error}");
        }
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bench.run(&TcpCheck, with("30s")));
            while !bench.said.text().contains("refused") {
                std::thread::yield_now();
            }
            let again = TcpListener::bind(("127.0.0.1", port)).unwrap();
            waiting.join().unwrap().unwrap();
            drop(again);
        });
    }
}
