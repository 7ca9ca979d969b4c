//! Ports for servers that must come back on the same one.
//!
//! A port the kernel hands out (port 0) lies in the ephemeral range: while its server is down, any outgoing connection
//! may be given it, even a client's own reconnect, which then talks to itself. So a port is taken from below that
//! range, leased against other devkit processes by a file lock, and tried. Should a foreign program take it between the
//! try and the server's own bind, the server says so and the caller takes another.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::DevkitError;

const FIRST: u16 = 10_000;
/// Start of the ephemeral range where the system does not tell: Linux's default, below that of all others.
const DEFAULT_END: u16 = 32_768;

/// A port nobody else in any devkit process is given while this value lives.
#[derive(Debug)]
pub(crate) struct Lease {
    port: u16,
    _lock: Option<File>,
}

impl Lease {
    /// A free port of the loopback interface.
    pub(crate) fn take() -> Result<Lease, DevkitError> {
        let folder = std::env::temp_dir().join("odin-devkit-ports");
        std::fs::create_dir_all(&folder).map_err(DevkitError::io(format!("create {}", folder.display())))?;
        let end = ephemeral_start();
        let range = u64::from(end - FIRST);
        let start = RandomState::new().hash_one(std::process::id());
        for step in 0..range {
            let offset = (start % range + step) % range;
            let port = FIRST + u16::try_from(offset).expect("the offset is below a difference of two ports");
            if let Some(lease) = Lease::try_port(&folder, port) {
                return Ok(lease);
            }
        }
        Err(DevkitError::NoPort { from: FIRST, to: end })
    }

    /// A port chosen by a person: used as it is.
    pub(crate) fn fixed(port: u16) -> Lease {
        Lease { port, _lock: None }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn try_port(folder: &Path, port: u16) -> Option<Lease> {
        let path = folder.join(format!("{port}.lock"));
        // Any failure, as with a file of another user, only means: not this one.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
        lock.try_lock().ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some(Lease { port, _lock: Some(lock) })
    }
}

fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        // A machine tuned for load tests may begin at 1,024: then there is no range below, and ours is as good as any.
        .filter(|&start| start >= FIRST + 1_000)
        .unwrap_or(DEFAULT_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn leases_differ_and_can_be_bound() {
        let leases: Vec<Lease> = (0..20).map(|_| Lease::take().expect("a free port")).collect();
        let distinct: HashSet<u16> = leases.iter().map(Lease::port).collect();
        assert_eq!(distinct.len(), leases.len());
        for lease in &leases {
            TcpListener::bind((Ipv4Addr::LOCALHOST, lease.port())).expect("a leased port is free");
        }
    }
}
