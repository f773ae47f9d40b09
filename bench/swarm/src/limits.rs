//! How many files this process may have open: each agent keeps its journal open.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything that is not an agent's: the runtime, standard streams, the cache.
const OTHERS: u64 = 256;

/// Raises the limit as far as is needed, or says what to type.
pub(crate) fn raise(agents: usize, sockets: usize) -> Result<()> {
    let needed = agents as u64 + sockets as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    let allowed = limit.maximum.is_none_or(|most| most >= needed);
    ensure!(
        allowed && setrlimit(Resource::Nofile, raised).is_ok(),
        "{agents} agents keep as many journals open, {needed} files in all, and this process may open {}; \
         type 'ulimit -n {needed}' before it, as root or with a higher limit in /etc/security/limits.conf",
        limit.maximum.unwrap_or(u64::MAX)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::raise;

    #[test]
    fn what_is_more_than_the_system_allows_is_said_with_the_command_that_helps() {
        assert!(raise(1, 1).is_ok());
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        // Where there is no limit nothing can be too much.
        if most.is_some_and(|most| most < 1 << 40) {
            let error = raise(1 << 40, 1).unwrap_err().to_string();
            assert!(error.contains("ulimit -n 1099511628033"), "{error}");
        }
    }
}
